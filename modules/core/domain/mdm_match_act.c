/* What people decide about mail records: which phone they are, that they are one of their own, and that they are not (MAT-03, MAT-05, MAT-06); and the list
 * of those that nobody has decided about (MAT-04). */
#include "domain/mdm_match_priv.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_log_rows.h"

#define TOLD "discovered" /* only a mail server has told of it (EAS-05) */

const char *const mdm_match_codes[] = {"multiple_exact", "slot_taken", "ambiguous", "no_candidate", "owner_conflict", "too_many", "contradicts", "manual_pending",
                                         "manual_timed_out", NULL};
const char *const mdm_match_origins[] = {TOLD, "gate", NULL};

static int is(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* ---------------------------------------------------------------- the list */

static json_t *time_or_null(apr_pool_t *p, apr_int64_t ms, int null)
{
    return null || !ms ? json_null() : json_string(mdm_time_text(p, ms));
}

static json_t *attr(const json_t *attrs, const char *name)
{
    json_t *value = json_object_get(attrs, name);

    return value ? json_incref(value) : json_null();
}

static json_t *exception_json(mdm_ctx_t *ctx, const mdm_q_match_exception_list_t *q)
{
    json_t *attrs = mdm_json_own(ctx, json_loads(q->attrs, 0, NULL)), *candidates = json_loads(q->candidates, 0, NULL);
    json_t *device = q->device_id ? json_pack("{s:s, s:s, s:s}", "id", q->device_id, "name", q->device_name, "state", q->device_state) : json_null();

    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:{s:s, s:s, s:s, s:s}, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "id", q->record_id, "code", q->code,
                     "origin", is(q->state, TOLD) ? TOLD : mdm_match_origins[1], "since", time_or_null(ctx->pool, q->since_ms, 0), "ignored_at",
                     time_or_null(ctx->pool, q->ignored_ms, q->ignored_ms_null), "person", "id", q->person_id, "name", q->person_name, "login",
                     q->person_login, "mail", q->person_mail, "device", device, "device_id", q->native_id, "class", q->class, "platform", q->platform, "type", attr(attrs, "type"), "user_agent", attr(attrs, "user_agent"), "first_seen",
                     time_or_null(ctx->pool, q->first_seen_ms, 0), "last_seen", time_or_null(ctx->pool, q->last_seen_ms, 0), "candidates",
                     candidates ? candidates : json_array());
}

apr_status_t mdm_match_exceptions(mdm_db_t *db, const mdm_page_t *page, const mdm_match_filter_t *f, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows = NULL;
    apr_status_t rv = mdm_q_match_exception_list(db, page->first ? APR_INT64_MAX : page->num, page->id, f->code, f->ignored, f->origin, page->count + 1, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; ++i) {
        const mdm_q_match_exception_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_match_exception_list_t);

        json_array_append_new(items, exception_json(ctx, q));
        if (i == page->count - 1 && rows->nelts > page->count) {
            *next = mdm_page_next_num(ctx, page, q->since_ms, q->record_id);
        }
    }
    return rv;
}

/* ---------------------------------------------------------------- what all decisions begin and end with */

/* The record, with its person held: nobody else matches it meanwhile. */
static apr_status_t read_held(mdm_db_t *db, const char *record_id, mdm_q_match_mail_t **out)
{
    apr_status_t rv = mdm_q_match_mail(db, record_id, out);

    return rv != APR_SUCCESS || (rv = mdm_eas_hold(db, (*out)->person_id)) != APR_SUCCESS ? rv : mdm_q_match_mail(db, record_id, out);
}

static apr_status_t settled(mdm_db_t *db, const mdm_q_match_mail_t *q, const char *action, const char *device_id, json_t *detail)
{
    apr_status_t rv = mdm_q_match_exception_drop(db, q->id, NULL);

    if (rv == APR_SUCCESS && (rv = mdm_q_match_mark_add(db, q->person_id, NULL)) == APR_SUCCESS /* others of the person may be clear now */
        && (rv = mdm_device_event(db, device_id, NULL, action, detail)) == APR_SUCCESS
        && (rv = mdm_audit(db, action, "device", device_id, q->device_name, "done", detail)) == APR_SUCCESS) {
        rv = mdm_change_add(db, "device", device_id);
    }
    return rv;
}

static apr_status_t rule_set(mdm_db_t *db, const char *record_id, const char *rule, const char *by)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *why = mdm_json_own(ctx, json_pack("{s:s, s:s, s:s, s:I}", "tier", "manual", "rule", rule, "value", by, "at_ms", (json_int_t)mdm_now_ms(ctx)));

    return mdm_q_match_rule_set(db, record_id, mdm_json_text(ctx->pool, why));
}

/* ---------------------------------------------------------------- link */

/* A managed device, or one with mail alone; if the choice is possible at all. */
static apr_status_t link_check(mdm_db_t *db, const mdm_q_match_mail_t *q, const char *device_id, mdm_q_match_target_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_match_target_t *t;
    apr_status_t rv = mdm_q_match_target(db, device_id, &t);
    int by_mail = rv == APR_SUCCESS && is(t->level, "email_only") && (is(t->mode, "eas") || is(t->mode, "unknown"));

    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && ((!t->managed && !by_mail) || !is(t->person_id, q->person_id)))) {
        return mdm_fail(ctx, MDM_EINPUT, "device", "is no device of this person");
    }
    if (rv == APR_SUCCESS && is(device_id, q->device_id)) {
        return mdm_fail(ctx, MDM_ECONFLICT, "device", "The mail client is on this device already.");
    }
    if (rv == APR_SUCCESS && strcmp(t->state, "active") != 0 && !(by_mail && is(t->state, "removed"))) {
        return mdm_fail(ctx, MDM_ECONFLICT, "device", "The device is not active.");
    }
    if (rv == APR_SUCCESS && strcmp(t->platform, "unknown") != 0 && strcmp(q->platform, "unknown") != 0 && strcmp(t->platform, q->platform) != 0) {
        return mdm_fail(ctx, MDM_EINPUT, "device", "is of another platform");
    }
    *out = t;
    return rv;
}

apr_status_t mdm_match_link(mdm_db_t *db, const char *record_id, const char *device_id, const char *by)
{
    const mdm_eas_join_t j = {.device_id = device_id, .tier = "manual", .rule = by, .value = ""};
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_eas_record_t *record;
    mdm_q_match_target_t *t = NULL;
    mdm_q_match_mail_t *q;
    json_t *detail;
    apr_status_t rv = read_held(db, record_id, &q);

    if (rv != APR_SUCCESS || (rv = link_check(db, q, device_id, &t)) != APR_SUCCESS) {
        return rv;
    }
    if (q->device_id && strcmp(q->device_mode, "eas") != 0) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "The mail client belongs to another device: split that first.");
    }
    if ((rv = mdm_q_match_split_drop(db, record_id, device_id, NULL)) != APR_SUCCESS
        || (rv = mdm_q_eas_record(db, q->person_id, q->native_id, &record)) != APR_SUCCESS || (rv = mdm_eas_take(db, record, &j)) != APR_SUCCESS) {
        return rv;
    }
    if (is(t->state, "removed") && (rv = mdm_q_eas_device_complete(db, device_id, t->state, t->ownership, mdm_now_ms(ctx))) != APR_SUCCESS) {
        return rv; /* it had left, and is back */
    }
    detail = mdm_json_own(ctx, json_pack("{s:s, s:s}", "device_id", q->native_id, "by", by));
    return settled(db, q, "mail.linked", device_id, detail);
}

/* ---------------------------------------------------------------- a phone of its own */

apr_status_t mdm_match_own(mdm_db_t *db, const char *record_id, const char *by)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_match_mail_t *q;
    const char *final;
    apr_status_t rv = read_held(db, record_id, &q);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (is(q->state, TOLD)) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "Only a mail server has told of this mail client: it gets a device at its first contact.");
    }
    if (strcmp(q->device_mode, "eas") != 0) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "The mail client belongs to another device: split that first.");
    }
    final = q->device_id;
    if (is(q->device_state, "pending") && (rv = mdm_eas_complete(db, q->person_id, q->device_id, q->ownership, &final)) != APR_SUCCESS) {
        return rv;
    }
    rv = rule_set(db, record_id, "own", by);
    return rv == APR_SUCCESS ? settled(db, q, "mail.own", final, mdm_json_own(ctx, json_pack("{s:s, s:s}", "device_id", q->native_id, "by", by))) : rv;
}

apr_status_t mdm_match_ignore(mdm_db_t *db, const char *record_id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_match_mail_t *q;
    apr_status_t rv = mdm_q_match_mail(db, record_id, &q);

    if (rv == APR_SUCCESS && (rv = mdm_q_match_exception_ignore(db, record_id, mdm_now_ms(ctx))) == APR_SUCCESS) {
        rv = q->device_id ? mdm_audit(db, "match.ignore", "device", q->device_id, q->device_name, "done", NULL)
                          : mdm_audit(db, "match.ignore", "person", q->person_id, q->native_id, "done", NULL);
    }
    return rv;
}

/* ---------------------------------------------------------------- split */

apr_status_t mdm_match_split(mdm_db_t *db, const char *device_id, const char *record_id, const char **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_match_undo_t *undo;
    mdm_q_match_mail_t *q;
    json_t *detail;
    int told;
    apr_status_t rv = read_held(db, record_id, &q);

    if (rv != APR_SUCCESS || !is(q->device_id, device_id)) {
        return rv == APR_SUCCESS ? APR_NOTFOUND : rv;
    }
    told = is(q->state, TOLD);
    if ((is(q->device_mode, "eas") && mdm_q_match_undo(db, record_id, device_id, &undo) != APR_SUCCESS) || (!told && strcmp(q->state, "enrolled") != 0)) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "This mail client was not joined with this device.");
    }
    if ((rv = mdm_q_match_split_add(db, record_id, device_id, mdm_now_ms(ctx), NULL)) != APR_SUCCESS
        || (rv = mdm_eas_part(db, record_id, 0, out)) != APR_SUCCESS || (rv = rule_set(db, record_id, "split", "administrator")) != APR_SUCCESS) {
        return rv;
    }
    detail = mdm_json_own(ctx, json_pack("{s:s, s:s, s:s}", "device_id", q->native_id, "from", device_id, "to", *out));
    if ((rv = mdm_device_event(db, device_id, NULL, "mail.split", detail)) == APR_SUCCESS && (rv = mdm_change_add(db, "device", device_id)) == APR_SUCCESS) {
        rv = settled(db, q, "mail.split", *out, detail);
    }
    return rv;
}

apr_status_t mdm_match_take_back(mdm_db_t *db, const char *person_id, const char *device_id, const char **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_match_undo_said_t *u;
    mdm_q_match_mail_t *q;
    json_t *detail;
    apr_status_t rv = mdm_q_match_undo_said(db, device_id, person_id, mdm_now_ms(ctx) - MDM_MATCH_UNDO_MS, &u);

    if (rv == APR_NOTFOUND) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "This can't be taken back any more. Ask your IT support.");
    }
    if (rv != APR_SUCCESS || (rv = read_held(db, u->record_id, &q)) != APR_SUCCESS || (rv = mdm_eas_part(db, q->id, 1, out)) != APR_SUCCESS) {
        return rv;
    }
    detail = mdm_json_own(ctx, json_pack("{s:s, s:s, s:s}", "device_id", q->native_id, "from", device_id, "to", *out));
    rv = mdm_device_event(db, device_id, NULL, "mail.undone", detail);
    return rv == APR_SUCCESS ? settled(db, q, "mail.undone", *out, detail) : rv;
}
