/* Waking devices through APNs (facts 5.1): claim, send, judge, settle. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_push.h"
#include "mdm_sql_gen.h"

#define LEASE_MS (5 * 60 * 1000LL)
#define STORED_S (7 * 86400) /* how long APNs keeps an undelivered push */
#define BACKOFF_MS (10 * 1000LL)
#define BACKOFF_CAP_MS (6 * 3600 * 1000LL)
#define TROUBLE_MS (15 * 60 * 1000LL)
#define MESSAGE_MS (24 * 3600 * 1000LL) /* the same trouble is told once a day */
#define TIMEOUT_MS 15000
#define MAX_REASON 60

apr_status_t mdm_push_wake(mdm_db_t *db, const char *record_id, apr_int64_t delay_ms)
{
    apr_int64_t now = mdm_now_ms(mdm_db_ctx(db));
    int rows = 0;
    apr_status_t rv = mdm_q_push_wake(db, record_id, now + delay_ms, &rows);

    return rv == APR_SUCCESS && rows && delay_ms == 0 ? mdm_q_push_hasten(db, MDM_PUSH_JOB, now, NULL) : rv;
}

/* ---------------------------------------------------------------- settings */

static apr_status_t setting(mdm_db_t *db, const char *name, const char **out)
{
    json_t *value;
    apr_status_t rv = mdm_setting_get(db, name, &value);

    *out = NULL;
    if (rv == APR_SUCCESS) {
        *out = apr_pstrdup(mdm_db_ctx(db)->pool, json_string_value(value));
        rv = *out && **out ? APR_SUCCESS : APR_NOTFOUND;
    }
    return rv;
}

static apr_status_t conf_read(mdm_db_t *db, const mdm_push_server_t *server, mdm_push_conf_t **out)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    mdm_push_conf_t *c = apr_pcalloc(p, sizeof *c);
    const char *all;
    apr_status_t rv = setting(db, "apns.topic", &c->topic);

    if (rv == APR_SUCCESS) {
        rv = setting(db, "apns.certificate", &c->cert_pem);
    }
    if (rv == APR_SUCCESS) {
        rv = setting(db, "apns.key", &c->key_pem);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    c->server.url = server->url && *server->url ? server->url : MDM_PUSH_URL;
    c->server.ca_file = server->ca_file && *server->ca_file ? server->ca_file : NULL;
    all = apr_pstrcat(p, c->topic, "\n", c->cert_pem, "\n", c->key_pem, "\n", c->server.url, "\n", c->server.ca_file, NULL);
    c->hash = mdm_sha256_hex(p, all, strlen(all));
    *out = c;
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- judging */

static const struct {
    const char *reason;
    mdm_push_verdict_e verdict;
} reasons[] = {
    {"BadDeviceToken", MDM_PUSH_DEAD},
    {"DeviceTokenNotForTopic", MDM_PUSH_DEAD},
    {"Unregistered", MDM_PUSH_DEAD},
    {"ExpiredToken", MDM_PUSH_DEAD},
    {"IdleTimeout", MDM_PUSH_AGAIN},
    {"TooManyRequests", MDM_PUSH_AGAIN},
};

static const char *reason_word(mdm_ctx_t *ctx, const mdm_http_req_t *req)
{
    json_t *j = NULL;
    const char *word;

    if (req->response.len == 0 || mdm_json_parse(ctx, (const char *)req->response.data, req->response.len, &j) != APR_SUCCESS) {
        return apr_psprintf(ctx->pool, "HTTP %d", req->status);
    }
    word = json_string_value(json_object_get(j, "reason"));
    return word ? mdm_clean(ctx->pool, word, MAX_REASON) : apr_psprintf(ctx->pool, "HTTP %d", req->status);
}

mdm_push_verdict_e mdm_push_judge(mdm_ctx_t *ctx, const mdm_http_req_t *req, const char **reason)
{
    if (req->rv != APR_SUCCESS) {
        *reason = req->error ? req->error : "not sent";
        return MDM_PUSH_AGAIN;
    }
    if (req->status == 200) {
        *reason = "";
        return MDM_PUSH_SENT;
    }
    *reason = reason_word(ctx, req);
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (!strcmp(*reason, reasons[i].reason)) {
            return reasons[i].verdict;
        }
    }
    if (req->status == 410) {
        return MDM_PUSH_DEAD;
    }
    /* Other 4xx: the certificate, the topic or the request is wrong; the same again would be refused again. */
    return req->status == 429 || req->status >= 500 ? MDM_PUSH_AGAIN : MDM_PUSH_TROUBLE;
}

/* ---------------------------------------------------------------- a batch */

static apr_status_t tell(mdm_db_t *db, const char *code, int severity, const char *text)
{
    mdm_q_push_message_at_t *last;
    apr_int64_t now = mdm_now_ms(mdm_db_ctx(db));
    apr_status_t rv = mdm_q_push_message_at(db, code, &last);

    if (rv == APR_SUCCESS && last->at_ms > now - MESSAGE_MS && last->at_ms <= now) {
        return APR_SUCCESS;
    }
    return rv == APR_SUCCESS || APR_STATUS_IS_NOTFOUND(rv) ? mdm_message(db, "zone", "apns", severity, code, text) : rv;
}

static int is_hex(const char *s)
{
    return s && *s && strlen(s) <= 400 && strspn(s, "0123456789abcdef") == strlen(s);
}

static mdm_http_req_t *request(mdm_ctx_t *ctx, const mdm_push_conf_t *conf, mdm_q_push_claimed_t *row)
{
    apr_pool_t *p = ctx->pool;
    mdm_http_req_t *req = apr_pcalloc(p, sizeof *req);
    apr_table_t *h = apr_table_make(p, 6);
    json_t *body = json_pack("{s:s}", "mdm", row->push_magic);

    apr_table_setn(h, "apns-topic", row->topic ? row->topic : conf->topic);
    apr_table_setn(h, "apns-push-type", "mdm");
    apr_table_setn(h, "apns-priority", "10");
    apr_table_setn(h, "apns-expiration", apr_psprintf(p, "%" APR_INT64_T_FMT, mdm_now_ms(ctx) / 1000 + STORED_S));
    apr_table_setn(h, "apns-id", mdm_uuid(p));
    apr_table_setn(h, "content-type", "application/json");
    req->method = "POST";
    req->url = apr_pstrcat(p, conf->server.url, "/3/device/", row->push_token, NULL);
    req->headers = h;
    req->body = body ? mdm_json_text(p, body) : "{}";
    req->body_len = strlen(req->body);
    req->timeout_ms = TIMEOUT_MS;
    req->max_response = 16384;
    req->baton = row;
    json_decref(body);
    return req;
}

static apr_status_t settle_one(mdm_db_t *db, const char *owner, const mdm_q_push_claimed_t *row, mdm_push_verdict_e verdict,
                               const char *reason)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    apr_status_t rv;

    switch (verdict) {
    case MDM_PUSH_SENT:
        return mdm_q_push_forget(db, row->record_id, owner, NULL);
    case MDM_PUSH_DEAD:
        mdm_log(ctx, MDM_LOG_INFO, "MDM0470", 0, "push to record %s is off until its next TokenUpdate: %s",
                mdm_mask(ctx->pool, row->record_id), reason);
        rv = row->push_token ? mdm_q_push_off(db, row->record_id, row->push_token, NULL) : APR_SUCCESS;
        if (rv == APR_SUCCESS && row->device_id) {
            json_t *detail = json_pack("{s:s}", "reason", reason);
            rv = mdm_device_event(db, row->device_id, NULL, "push.refused", detail);
            json_decref(detail);
        }
        return rv == APR_SUCCESS ? mdm_q_push_forget(db, row->record_id, owner, NULL) : rv;
    case MDM_PUSH_TROUBLE:
        return mdm_q_push_again(db, row->record_id, owner, now + TROUBLE_MS, reason, NULL);
    default:
        return mdm_q_push_again(db, row->record_id, owner,
                                now + mdm_backoff_ms(row->attempts > 30 ? 30 : (int)row->attempts, BACKOFF_MS, BACKOFF_CAP_MS),
                                reason, NULL);
    }
}

typedef struct batch_t {
    const mdm_push_server_t *server;
    const char *owner;
    apr_array_header_t *rows; /* mdm_q_push_claimed_t */
    mdm_push_conf_t *conf;
} batch_t;

/* Opens, claims, closes. APR_NOTFOUND: nothing to do (or nothing that can be done). */
static apr_status_t claim(mdm_ctx_t *ctx, batch_t *b)
{
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_q_push_due_t *due;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_push_due(db, now, &due);
    if (rv == APR_SUCCESS && !due->waiting) {
        rv = APR_NOTFOUND;
    }
    if (rv == APR_SUCCESS) {
        rv = conf_read(db, b->server, &b->conf);
        if (APR_STATUS_IS_NOTFOUND(rv)) {
            rv = tell(db, "push.unconfigured", MDM_MSG_WARNING,
                      "Devices wait to be woken, but there is no Apple push certificate: import one with mdmctl push-cert import.");
            rv = rv == APR_SUCCESS ? APR_NOTFOUND : rv;
        }
    }
    if (rv == APR_SUCCESS) {
        b->owner = mdm_uuid(ctx->pool);
        rv = b->owner ? mdm_q_push_claim(db, b->owner, now + LEASE_MS, now, MDM_PUSH_BATCH, NULL) : MDM_EUNAVAIL;
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_push_claimed(db, b->owner, now + LEASE_MS, &b->rows);
    }
    mdm_db_close(db);
    return rv == APR_SUCCESS && b->rows->nelts == 0 ? APR_NOTFOUND : rv;
}

static apr_status_t settle(mdm_ctx_t *ctx, const batch_t *b, mdm_http_req_t *const *reqs, int *sent, int *trouble)
{
    mdm_db_t *db;
    const char *reason = "", *fault = NULL;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv; /* the lease runs out and the rows are pushed again: harmless */
    }
    rv = mdm_db_begin(db);
    for (int i = 0; rv == APR_SUCCESS && i < b->rows->nelts; i++) {
        mdm_push_verdict_e verdict = MDM_PUSH_DEAD;
        reason = "no usable token";
        if (reqs[i]) {
            verdict = mdm_push_judge(ctx, reqs[i], &reason);
        }
        *sent += verdict == MDM_PUSH_SENT;
        if (verdict == MDM_PUSH_TROUBLE) {
            *trouble = 1;
            fault = reason;
        }
        rv = settle_one(db, b->owner, &APR_ARRAY_IDX(b->rows, i, mdm_q_push_claimed_t), verdict, reason);
    }
    if (rv == APR_SUCCESS && fault) {
        rv = tell(db, "push.refused", MDM_MSG_ERROR,
                  apr_psprintf(ctx->pool, "Apple's push service refuses our certificate or topic (%s): devices can't be woken.",
                               fault));
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

static apr_status_t batch(mdm_ctx_t *ctx, const mdm_push_server_t *server, mdm_push_send_fn send, void *baton,
                          volatile int *stop, int *sent, int *trouble)
{
    batch_t b = {.server = server};
    mdm_http_req_t **reqs, **list;
    int n = 0;
    apr_status_t rv = claim(ctx, &b);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    reqs = apr_pcalloc(ctx->pool, (apr_size_t)b.rows->nelts * sizeof(mdm_http_req_t *));
    list = apr_pcalloc(ctx->pool, (apr_size_t)b.rows->nelts * sizeof(mdm_http_req_t *));
    for (int i = 0; i < b.rows->nelts; i++) {
        mdm_q_push_claimed_t *row = &APR_ARRAY_IDX(b.rows, i, mdm_q_push_claimed_t);
        if (row->push_ok && is_hex(row->push_token) && row->push_magic) {
            reqs[i] = list[n++] = request(ctx, b.conf, row);
        }
    }
    rv = n ? send(baton, ctx, b.conf, list, n, stop) : APR_SUCCESS;
    for (int i = 0; rv != APR_SUCCESS && i < n; i++) {
        list[i]->rv = list[i]->rv == APR_SUCCESS && list[i]->status == 0 ? rv : list[i]->rv;
    }
    return settle(ctx, &b, reqs, sent, trouble);
}

apr_status_t mdm_push_run(mdm_ctx_t *ctx, const mdm_push_server_t *server, mdm_push_send_fn send, void *baton, volatile int *stop,
                          int *sent)
{
    apr_status_t rv = APR_SUCCESS;
    int trouble = 0;

    *sent = 0;
    while (rv == APR_SUCCESS && !trouble && !(stop && *stop)) {
        mdm_ctx_t *sub = mdm_ctx_sub(ctx);
        rv = batch(sub, server, send, baton, stop, sent, &trouble);
        apr_pool_destroy(sub->pool);
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}
