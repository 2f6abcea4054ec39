/* What a device says of its policies (POL-08, POL-10): the end of a command, its list of profiles. What it has is what its list shows. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_command.h"
#include "domain/mdm_compliance.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_said.h"
#include "wire/mdm_http.h"
#include "mdm_sql_gen.h"

#define TRIES 5 /* so often a profile that a device has lost is sent again */
#define AGAIN_MS (10 * 60 * 1000LL)
#define AGAIN_CAP_MS (12 * 3600 * 1000LL)
#define MAX_ERROR 500

static const char *text(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));

    return s ? s : "";
}

/* ---------------------------------------------------------------- the end of a command */

/* One sentence of what the device said: the chain was made clean where it was read. */
static const char *error_of(mdm_ctx_t *ctx, const char *json)
{
    json_t *j = mdm_json_own(ctx, json ? json_loads(json, 0, NULL) : NULL), *chain = json_object_get(j, "chain"), *link;
    const char *out = text(j, "reason");
    size_t i;

    json_array_foreach(chain, i, link) {
        const char *one = apr_psprintf(ctx->pool, "%s (%s %" APR_INT64_T_FMT ")", text(link, "text"), text(link, "domain"),
                                       (apr_int64_t)json_integer_value(json_object_get(link, "code")));
        out = *out ? apr_pstrcat(ctx->pool, out, "; ", one, NULL) : one;
    }
    return *out ? mdm_clean(ctx->pool, out, MAX_ERROR) : mdm_said(ctx->pool, "said_no_reason", NULL);
}

/* Stored if it is not what was told before. */
static apr_status_t compliance_set(mdm_db_t *db, const char *device_id, const char *now, const char *was)
{
    apr_status_t rv = APR_SUCCESS;
    json_t *detail;

    if (strcmp(now, was) != 0) {
        detail = mdm_json_own(mdm_db_ctx(db), json_pack("{s:{s:s, s:s}}", "compliance", "before", was, "after", now));
        rv = mdm_q_delivery_compliance(db, device_id, now, NULL);
        if (rv == APR_SUCCESS) {
            rv = mdm_device_event(db, device_id, NULL, "changed", detail);
        }
    }
    return rv;
}

static apr_status_t facts_of(mdm_db_t *db, const char *device_id, mdm_q_compliance_facts_t **row, mdm_compliance_in_t *in)
{
    apr_status_t rv = mdm_q_compliance_facts(db, device_id, row);

    if (rv == APR_SUCCESS) {
        *in = (mdm_compliance_in_t){(*row)->passcode_present, (*row)->passcode_compliant, (*row)->encryption,
                                    mdm_json_own(mdm_db_ctx(db), json_loads((*row)->deliveries ? (*row)->deliveries : "[]", 0, NULL))};
    }
    return rv;
}

static apr_status_t judge_again(mdm_db_t *db, const char *device_id)
{
    mdm_q_compliance_facts_t *row;
    mdm_compliance_in_t in = {0};
    apr_status_t rv = facts_of(db, device_id, &row, &in);

    return rv == APR_SUCCESS ? compliance_set(db, device_id, mdm_compliance(mdm_db_ctx(db), &in, NULL), row->compliance) : rv;
}

apr_status_t mdm_delivery_reasons(mdm_db_t *db, const char *device_id, json_t **out)
{
    mdm_q_compliance_facts_t *row;
    mdm_compliance_in_t in = {0};
    apr_status_t rv = facts_of(db, device_id, &row, &in);

    *out = mdm_json_own(mdm_db_ctx(db), json_array());
    if (rv == APR_SUCCESS) {
        mdm_compliance(mdm_db_ctx(db), &in, *out);
    }
    return rv;
}

/* People see that a device refuses its policy, and why. */
static apr_status_t refused(mdm_db_t *db, const mdm_q_delivery_answered_t *row, const char *error)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *said = mdm_said_text(ctx->pool, error), *sentence = mdm_said(ctx->pool, "said_policy_failed", row->type, said, NULL);
    json_t *detail = mdm_json_own(ctx, json_pack("{s:s, s:s}", "type", row->type, "error", said));
    apr_status_t rv = mdm_device_event(db, row->device_id, NULL, "policy.failed", detail);

    if (rv == APR_SUCCESS) {
        rv = mdm_message(db, "device", row->device_id, MDM_MSG_WARNING, "policy.failed", sentence);
    }
    return rv == APR_SUCCESS ? judge_again(db, row->device_id) : rv;
}

static apr_status_t answered(mdm_db_t *db, const char *record_id, const char *command_id, int ok, const char *error, int *asked)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_command_add_t list = {.record_id = record_id, .request_type = "ProfileList", .coalesce_key = "ProfileList"};
    mdm_q_delivery_answered_t *row;
    apr_status_t rv = mdm_q_delivery_answered(db, record_id, command_id, ok ? "sent" : "failed", error, mdm_now_ms(ctx), &row);

    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv; /* none of ours, or of content that has changed since */
    }
    if (!ok) {
        rv = refused(db, row, error);
    }
    if (rv == APR_SUCCESS && !row->asks) { /* it was put off, and the question behind it is answered already */
        *asked = 1;
        rv = mdm_command_enqueue(db, &list, NULL);
        rv = rv == MDM_ECONFLICT || APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
    }
    return rv;
}

apr_status_t mdm_delivery_answered(mdm_db_t *db, const char *record_id, const char *command_id, const char *state, const char *error, int *asked)
{
    int ok = !strcmp(state, "acknowledged");
    const char *why = ok ? "" : error_of(mdm_db_ctx(db), error);

    int whole = !mdm_db_in_tx(db);
    apr_status_t rv = whole ? mdm_db_begin(db) : APR_SUCCESS;

    *asked = 0;
    if (rv == APR_SUCCESS) {
        rv = answered(db, record_id, command_id, ok, why, asked);
    }
    return whole ? mdm_db_end(db, rv) : rv;
}

/* ---------------------------------------------------------------- its list of profiles */

typedef struct report_t {
    mdm_ctx_t *ctx;
    const mdm_delivery_news_t *news;
    json_t *list, *drift; /* rows that change; what people are told */
    int gone;
} report_t;

/* What the list says under our identifier: its UUID, NULL = not there. */
static const char *listed(const report_t *r, int type)
{
    json_t *p;
    size_t i;

    json_array_foreach(r->news->profiles, i, p) {
        if (!strcmp(text(p, "identifier"), mdm_policy_profile_ids[type])) {
            return text(p, "uuid");
        }
    }
    return NULL;
}

/* due: 0 = none */
static void change(report_t *r, json_t *row, const char *state, const char *applied, const char *error, json_int_t attempts, apr_int64_t due)
{
    json_object_set_new(row, "state", json_string(state));
    json_object_set_new(row, "applied", json_string(applied));
    json_object_set_new(row, "error", json_string(error));
    json_object_set_new(row, "attempts", json_integer(attempts));
    json_object_set_new(row, "due", due ? json_integer(due) : json_null());
    json_array_append(r->list, row);
}

/* It had to go. */
static void leaving(report_t *r, json_t *row, const char *there)
{
    if (!there) {
        const char *state = *text(row, "result") ? "not_applicable" : "gone";

        r->gone |= !strcmp(state, "gone");
        change(r, row, state, "", text(row, "error"), 0, 0);
    } else if (!*text(row, "command") && !strcmp(text(row, "state"), "sent")) {
        change(r, row, "pending", text(row, "applied"), "", 1, mdm_now_ms(r->ctx) + AGAIN_MS);
    }
}

/* Something was there and is not, or something else is: it is sent again, at once the first time, then later and later. */
static void lost(report_t *r, json_t *row, const char *there)
{
    json_int_t attempts = json_integer_value(json_object_get(row, "attempts")) + 1;
    int was = !strcmp(text(row, "state"), "applied");
    apr_int64_t wait = was && attempts == 1 ? 0 : mdm_backoff_ms((int)attempts - 1, AGAIN_MS, AGAIN_CAP_MS);

    if (was) {
        json_array_append_new(r->drift, json_pack("{s:s, s:s}", "type", text(row, "type"), "found", there ? "other" : "missing"));
    }
    if (attempts > TRIES) {
        change(r, row, "failed", there ? there : "", mdm_said(r->ctx->pool, "said_profile_lost", NULL), attempts, 0);
    } else {
        change(r, row, "pending", there ? there : "", "", attempts, mdm_now_ms(r->ctx) + wait);
    }
}

static void look(report_t *r, json_t *row)
{
    const char *state = text(row, "state"), *hash = text(row, "hash"), *there;
    int type = mdm_policy_type_of(text(row, "type"));

    if (type < 0 || strcmp(text(row, "channel"), "mdm") != 0 || !strcmp(state, "not_applicable")) {
        return;
    }
    there = listed(r, type);
    if (!*hash) {
        leaving(r, row, there);
    } else if (there && !strcasecmp(there, mdm_policy_profile_uuid(r->ctx->pool, hash))) {
        if (strcmp(state, "applied") != 0) {
            change(r, row, "applied", hash, "", 0, 0);
        }
    } else if (!*text(row, "command") && (!strcmp(state, "applied") || !strcmp(state, "sent"))) {
        lost(r, row, there);
    }
}

static apr_status_t tell_drift(mdm_db_t *db, const report_t *r)
{
    const char *id = r->news->device_id;
    json_t *detail = mdm_json_own(r->ctx, json_pack("{s:O}", "profiles", r->drift));
    apr_status_t rv = mdm_device_event(db, id, NULL, "policy.drift", detail);

    return rv == APR_SUCCESS ? mdm_message(db, "device", id, MDM_MSG_WARNING, "policy.drift",
                                           mdm_said(r->ctx->pool, "said_policy_drift", NULL))
                             : rv;
}

apr_status_t mdm_delivery_reported(mdm_db_t *db, const mdm_delivery_news_t *news)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *rows = mdm_json_own(ctx, json_loads(news->deliveries ? news->deliveries : "[]", 0, NULL)), *row;
    report_t r = {ctx, news, mdm_json_own(ctx, json_array()), mdm_json_own(ctx, json_array()), 0};
    mdm_compliance_in_t in = {news->passcode_present, news->passcode_compliant, news->encryption, rows};
    apr_status_t rv = APR_SUCCESS;
    size_t i;

    if (news->profiles) {
        json_array_foreach(rows, i, row) {
            look(&r, row);
        }
    }
    if (json_array_size(r.list)) {
        rv = mdm_q_delivery_said(db, news->device_id, mdm_json_text(ctx->pool, r.list), mdm_now_ms(ctx), NULL);
    }
    if (rv == APR_SUCCESS && r.gone) {
        rv = mdm_q_delivery_gone(db, news->device_id, NULL);
    }
    if (rv == APR_SUCCESS && json_array_size(r.drift)) {
        rv = tell_drift(db, &r);
    }
    if (rv == APR_SUCCESS && json_array_size(r.drift)) {
        rv = mdm_delivery_send(db, mdm_json_own(ctx, json_pack("[s]", news->device_id)), 0, NULL);
    }
    return rv == APR_SUCCESS ? compliance_set(db, news->device_id, mdm_compliance(ctx, &in, NULL), news->compliance) : rv;
}

/* ---------------------------------------------------------------- the mail app */

apr_status_t mdm_delivery_eas_said(mdm_db_t *db, const char *device_id, apr_uint32_t rev, const char *error)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_compliance_facts_t *facts;
    mdm_compliance_in_t in = {0};
    json_t *row;
    size_t i;
    int n = 0;
    apr_status_t rv = facts_of(db, device_id, &facts, &in);

    json_array_foreach(in.deliveries, i, row) {
        if (rv == APR_SUCCESS && !n && !strcmp(text(row, "channel"), "eas") && rev && mdm_delivery_rev(text(row, "hash")) == rev) {
            rv = mdm_q_delivery_eas_said(db, device_id, text(row, "hash"), error ? "failed" : "applied",
                                         error ? error : "", mdm_now_ms(ctx), &n);
        }
    }
    return rv == APR_SUCCESS && n ? judge_again(db, device_id) : rv;
}
