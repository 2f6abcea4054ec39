/* What people see of push: the certificate's state and dates, its warnings, the test on every node. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_job.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_notice.h"
#include "domain/mdm_push_cert.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"
#include "wire/mdm_x509.h"

#define DAY_MS (86400 * 1000LL)
#define SILENT_MS (60 * 1000LL) /* NOD-01: then a node is down */

static json_t *time_json(apr_pool_t *p, apr_int64_t ms)
{
    return json_string(mdm_time_text(p, ms));
}

#define WARN_DAYS 30

/* Days that are left, rounded up; 0 or less: over. */
static int days_left(apr_int64_t now, apr_int64_t until)
{
    return (int)((until - now + (until > now ? DAY_MS - 1 : 0)) / DAY_MS);
}

apr_status_t mdm_push_cert_info(mdm_db_t *db, mdm_certinfo_t *info)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_cert_t *cert = NULL;
    json_t *pem;
    apr_status_t rv = mdm_setting_get(db, "apns.certificate", &pem);

    if (rv == APR_SUCCESS) {
        rv = json_is_string(pem) ? mdm_cert_from_pem(ctx, json_string_value(pem), &cert) : APR_NOTFOUND;
    }
    return rv == APR_SUCCESS ? mdm_cert_info(ctx, cert, info) : rv;
}

/* That it ends soon, or has ended. */
static const char *ending(apr_pool_t *p, const mdm_certinfo_t *info, int days)
{
    const char *until = mdm_time_text(p, info->not_after_ms);

    return days > 0 ? mdm_said(p, "said_push_ending", until, apr_itoa(p, days), NULL) : mdm_said(p, "said_push_ended", until, NULL);
}

static apr_status_t cert_json(mdm_db_t *db, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_q_push_devices_t *n;
    mdm_certinfo_t i;
    apr_status_t rv = mdm_push_cert_info(db, &i);

    *out = NULL;
    if (rv == APR_SUCCESS) {
        rv = mdm_q_push_devices(db, i.uid ? i.uid : "", &n);
    }
    if (rv == APR_SUCCESS) {
        int days = days_left(now, i.not_after_ms);
        *out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:i, s:s, s:I}", "subject", i.subject, "issuer", i.issuer, "topic",
                         i.uid ? i.uid : "", "serial", i.serial, "key", i.key_text, "not_before", time_json(ctx->pool, i.not_before_ms),
                         "not_after", time_json(ctx->pool, i.not_after_ms), "days_left", days, "state",
                         days <= 0 ? "expired" : now < i.not_before_ms ? "not_yet" : days <= WARN_DAYS ? "expiring" : "valid",
                         "devices", (json_int_t)n->n);
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

static apr_status_t request_json(mdm_db_t *db, json_t **out)
{
    static const char *const names[] = {"organisation", "unit", "name", "place", "state", "country", "mail"};
    json_t *r;
    apr_status_t rv = mdm_setting_get(db, "apns.request", &r);

    *out = NULL;
    if (rv == APR_SUCCESS && json_object_get(r, "csr")) {
        *out = json_pack("{s:b, s:o}", "signed", json_object_get(r, "signed") != NULL, "made",
                         time_json(mdm_db_ctx(db)->pool, json_integer_value(json_object_get(r, "made_ms"))));
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            const char *v = json_string_value(json_object_get(r, names[i]));
            json_object_set_new(*out, names[i], json_string(v ? v : ""));
        }
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

static json_t *or_null(json_t *j)
{
    return j ? j : json_null();
}

/* Settings that are told as they are. */
static apr_status_t small(mdm_db_t *db, json_t *to)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *j = NULL;
    const char *url;
    apr_status_t rv = mdm_setting_get(db, "apns.signing", &j);

    url = rv == APR_SUCCESS ? json_string_value(json_object_get(j, "url")) : NULL;
    json_object_set_new(to, "signing_url", json_string(url ? url : ""));
    if (rv == APR_SUCCESS || APR_STATUS_IS_NOTFOUND(rv)) {
        rv = mdm_setting_get(db, "apns.stopped", &j);
    }
    json_object_set_new(to, "stopped", rv == APR_SUCCESS && json_is_string(json_object_get(j, "reason"))
                        ? json_pack("{s:O, s:o}", "reason", json_object_get(j, "reason"), "since",
                                    time_json(ctx->pool, json_integer_value(json_object_get(j, "at_ms"))))
                        : json_null());
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

apr_status_t mdm_push_cert_state(mdm_db_t *db, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *all = mdm_json_own(ctx, json_object()), *cert = NULL, *request = NULL;
    mdm_q_push_waiting_t *waiting = NULL;
    apr_array_header_t *nodes = NULL;
    int able = 0;
    apr_status_t rv = cert_json(db, &cert);

    json_object_set_new(all, "certificate", or_null(cert));
    if (rv == APR_SUCCESS) {
        rv = request_json(db, &request);
    }
    json_object_set_new(all, "request", or_null(request));
    if (rv == APR_SUCCESS) {
        rv = small(db, all);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_push_waiting(db, mdm_now_ms(ctx), &waiting);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_push_nodes(db, &nodes);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (int i = 0; i < nodes->nelts; i++) {
        able += APR_ARRAY_IDX(nodes, i, mdm_q_push_nodes_t).mdm_role != 0;
    }
    json_object_set_new(all, "mdm_nodes", json_integer(able));
    json_object_set_new(all, "waiting", json_integer(waiting->n));
    json_object_set_new(all, "failed", json_integer(waiting->failed));
    *out = json_incref(all);
    return APR_SUCCESS;
}

apr_status_t mdm_push_cert_brief(mdm_db_t *db, mdm_push_brief_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_certinfo_t info;
    json_t *found;
    apr_status_t rv = mdm_push_cert_info(db, &info);

    *out = (mdm_push_brief_t){0};
    if (rv == APR_SUCCESS) {
        int days = days_left(mdm_now_ms(ctx), info.not_after_ms);

        out->there = 1;
        out->trouble = days <= WARN_DAYS ? ending(ctx->pool, &info, days) : NULL;
        rv = mdm_setting_get(db, "apns.stopped", &found);
        if (rv == APR_SUCCESS && !out->trouble && json_is_string(json_object_get(found, "reason"))) {
            out->trouble = mdm_said(ctx->pool, "said_push_refused", json_string_value(json_object_get(found, "reason")), NULL);
        }
    } else if (APR_STATUS_IS_NOTFOUND(rv) && (rv = mdm_setting_get(db, "apns.request", &found)) == APR_SUCCESS && json_object_get(found, "csr")) {
        out->request = json_object_get(found, "signed") ? MDM_PUSH_SIGNED : MDM_PUSH_MADE;
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

/* ---------------------------------------------------------------- the test on every node (NOD-04) */

static const char *test_kind(apr_pool_t *p, const char *node)
{
    return apr_pstrcat(p, MDM_PUSH_TEST, "@", node, NULL);
}

static int is_down(const mdm_ctx_t *ctx, const mdm_q_push_nodes_t *n)
{
    return mdm_now_ms(ctx) - n->seen_ms > SILENT_MS;
}

apr_status_t mdm_push_test_ask(mdm_db_t *db)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *nodes;
    json_t *pem;
    apr_status_t rv = mdm_setting_get(db, "apns.certificate", &pem);

    if (APR_STATUS_IS_NOTFOUND(rv)) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "There is no push certificate to test.");
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_push_nodes(db, &nodes);
    }
    for (int i = 0; rv == APR_SUCCESS && i < nodes->nelts; i++) {
        const mdm_q_push_nodes_t *n = &APR_ARRAY_IDX(nodes, i, mdm_q_push_nodes_t);
        mdm_job_add_t add = {.kind = test_kind(ctx->pool, n->name), .max_attempts = 1};

        add.unique_key = add.kind;
        if (n->mdm_role && n->outbound && !is_down(ctx, n)) {
            rv = mdm_job_add(db, &add, NULL);
        }
    }
    return rv == APR_SUCCESS ? mdm_audit(db, "push_certificate.test", "zone", "apns", "", "done", NULL) : rv;
}

static json_t *result_of(mdm_ctx_t *ctx, const mdm_q_push_nodes_t *n, const mdm_q_push_test_t *t)
{
    json_t *r = json_object(), *found = NULL;
    const char *state = !t ? "never" : !strcmp(t->state, "waiting") || !strcmp(t->state, "running") ? t->state : "done";

    if (t && t->result && mdm_json_parse(ctx, t->result, strlen(t->result), &found) == APR_SUCCESS) {
        static const char *const members[] = {"ok", "step", "status", "reason", "text"};
        for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
            json_t *v = json_object_get(found, members[i]);
            if (v) {
                json_object_set(r, members[i], v);
            }
        }
    }
    json_object_set_new(r, "node", json_string(n->name));
    json_object_set_new(r, "state", json_string(is_down(ctx, n) ? "down" : state));
    json_object_set_new(r, "at", t ? time_json(ctx->pool, t->finished_ms_null ? t->created_ms : t->finished_ms) : json_null());
    return r;
}

apr_status_t mdm_push_test_results(mdm_db_t *db, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *list = mdm_json_own(ctx, json_array());
    apr_array_header_t *nodes;
    apr_status_t rv = mdm_q_push_nodes(db, &nodes);

    for (int i = 0; rv == APR_SUCCESS && i < nodes->nelts; i++) {
        const mdm_q_push_nodes_t *n = &APR_ARRAY_IDX(nodes, i, mdm_q_push_nodes_t);
        mdm_q_push_test_t *t = NULL;

        if (!n->mdm_role || !n->outbound) {
            continue;
        }
        rv = mdm_q_push_test(db, test_kind(ctx->pool, n->name), &t);
        rv = APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
        json_array_append_new(list, result_of(ctx, n, rv == APR_SUCCESS ? t : NULL));
    }
    *out = rv == APR_SUCCESS ? json_incref(list) : NULL;
    return rv;
}
