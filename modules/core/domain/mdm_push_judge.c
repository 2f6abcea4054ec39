/* One push and what its answer means (facts 5.1). */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_push.h"

#define STORED_S (7 * 86400) /* how long APNs keeps an undelivered push */
#define TIMEOUT_MS 15000
#define MAX_REASON 60
#define MAX_BODY 4096
#define OLD_NEWS 5 /* a 410 that is older than the token is believed when it has come so often */

#define SOON_MS 1000LL
#define PAUSE_MS (10 * 1000LL)
#define TOKEN_PAUSE_MS (60 * 1000LL)

/* The facts' table. Status 0: a reason that counts with any status. */
static const struct {
    int status;
    mdm_push_verdict_e verdict;
    const char *reason; /* NULL: any other of this status */
    apr_int64_t again_ms;
} rules[] = {
    {400, MDM_PUSH_DEAD, "BadDeviceToken", 0},
    {400, MDM_PUSH_DEAD, "DeviceTokenNotForTopic", 0},
    {0, MDM_PUSH_STOP, "BadTopic", 0},
    {0, MDM_PUSH_STOP, "MissingTopic", 0},
    {0, MDM_PUSH_STOP, "TopicDisallowed", 0},
    {0, MDM_PUSH_AGAIN, "IdleTimeout", SOON_MS},
    {0, MDM_PUSH_AGAIN, "Shutdown", PAUSE_MS},
    {400, MDM_PUSH_FAULT, NULL, 0}, /* InvalidPushType, BadExpirationDate, BadPriority, BadMessageId, … */
    {403, MDM_PUSH_STOP, NULL, 0},  /* BadCertificate, BadCertificateEnvironment, Forbidden, those of provider tokens */
    {410, MDM_PUSH_DEAD, NULL, 0},  /* Unregistered, ExpiredToken */
    {429, MDM_PUSH_AGAIN, NULL, TOKEN_PAUSE_MS},
};

mdm_push_verdict_e mdm_push_verdict(int status, const char *reason, apr_int64_t timestamp_ms, apr_int64_t token_ms, int attempts,
                                    apr_int64_t *again_ms)
{
    *again_ms = PAUSE_MS;
    if (status == 200) {
        return MDM_PUSH_SENT;
    }
    if (status == 410 && timestamp_ms > 0 && timestamp_ms < token_ms && attempts < OLD_NEWS) {
        return MDM_PUSH_AGAIN;
    }
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if ((!rules[i].status || rules[i].status == status) && (!rules[i].reason || !strcmp(rules[i].reason, reason))) {
            *again_ms = rules[i].again_ms;
            return rules[i].verdict;
        }
    }
    return status >= 500 ? MDM_PUSH_AGAIN : MDM_PUSH_FAULT; /* 404 BadPath, 405, 413 */
}

mdm_push_verdict_e mdm_push_judge(mdm_ctx_t *ctx, const mdm_http_req_t *req, apr_int64_t token_ms, int attempts,
                                  const char **reason, apr_int64_t *again_ms)
{
    const char *word = NULL;
    json_t *j = NULL, *at;

    *again_ms = PAUSE_MS;
    if (req->rv != APR_SUCCESS) {
        *reason = req->error ? req->error : "not sent";
        if (!strcmp(*reason, "reset") || !strcmp(*reason, "protocol")) {
            *again_ms = SOON_MS; /* the connection was cut, perhaps before the push was looked at */
        }
        return MDM_PUSH_AGAIN;
    }
    if (req->response.len && mdm_json_parse(ctx, (const char *)req->response.data, req->response.len, &j) == APR_SUCCESS) {
        word = json_string_value(json_object_get(j, "reason"));
    }
    *reason = word && *word ? mdm_clean(ctx->pool, word, MAX_REASON) : apr_psprintf(ctx->pool, "HTTP %d", req->status);
    at = json_object_get(j, "timestamp");
    return mdm_push_verdict(req->status, *reason, json_is_integer(at) ? json_integer_value(at) : 0, token_ms, attempts, again_ms);
}

static int is_hex(const char *s)
{
    return s && *s && strlen(s) <= 400 && strspn(s, "0123456789abcdef") == strlen(s);
}

mdm_http_req_t *mdm_push_request(mdm_ctx_t *ctx, const mdm_push_conf_t *conf, const char *token, const char *magic)
{
    apr_pool_t *p = ctx->pool;
    mdm_http_req_t *req = apr_pcalloc(p, sizeof *req);
    apr_table_t *h = apr_table_make(p, 6);
    json_t *body = magic && is_hex(token) ? json_pack("{s:s}", "mdm", magic) : NULL;

    if (!body) {
        return NULL;
    }
    apr_table_setn(h, "apns-topic", conf->topic);
    apr_table_setn(h, "apns-push-type", "mdm");
    apr_table_setn(h, "apns-priority", "10");
    apr_table_setn(h, "apns-expiration", apr_psprintf(p, "%" APR_INT64_T_FMT, mdm_now_ms(ctx) / 1000 + STORED_S));
    apr_table_setn(h, "apns-id", mdm_uuid(p));
    apr_table_setn(h, "content-type", "application/json");
    req->method = "POST";
    req->url = apr_pstrcat(p, conf->server.url, "/3/device/", token, NULL);
    req->headers = h;
    req->body = mdm_json_text(p, body);
    req->body_len = strlen(req->body);
    req->timeout_ms = TIMEOUT_MS;
    req->max_response = 16384;
    json_decref(body);
    return req->body_len <= MAX_BODY ? req : NULL;
}

/* ---------------------------------------------------------------- the test */

/* Where a request failed, for people: the class that mdm_http names, the step of the test, and what it means. */
static const struct {
    const char *error, *step, *text;
} steps[] = {
    {"dns", "dns", "The name of Apple's push service can't be resolved on this node"},
    {"connect", "tcp", "No connection to Apple's push service: does the firewall let this node out to port 443?"},
    {"timeout", "tcp", "Apple's push service did not answer in time: does a firewall swallow the packets?"},
    {"tls", "tls", "No TLS connection: the server's certificate is not trusted, or ours was refused"},
    {"reset", "tls", "The connection was ended: the certificate may have been refused"},
    {"protocol", "tls", "The connection was ended, or speaks no HTTP/2: the certificate may have been refused, or something stands between"},
};

static json_t *outcome(mdm_ctx_t *ctx, int ok, const char *step, int status, const char *reason, const char *text)
{
    return mdm_json_own(ctx, json_pack("{s:b, s:s, s:i, s:s, s:s}", "ok", ok, "step", step, "status", status, "reason", reason,
                                       "text", text));
}

static json_t *test_outcome(mdm_ctx_t *ctx, const mdm_http_req_t *req)
{
    const char *reason;
    apr_int64_t again;

    if (req->rv != APR_SUCCESS) {
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            if (req->error && !strcmp(req->error, steps[i].error)) {
                return outcome(ctx, 0, steps[i].step, 0, req->error,
                               req->detail ? apr_pstrcat(ctx->pool, steps[i].text, " (", req->detail, ").", NULL)
                                           : apr_pstrcat(ctx->pool, steps[i].text, ".", NULL));
            }
        }
        return outcome(ctx, 0, "http", 0, req->error ? req->error : "not sent", "What answers is not Apple's push service.");
    }
    mdm_push_judge(ctx, req, 0, 0, &reason, &again);
    if (req->status == 200 || (req->status == 400 && !strcmp(reason, "BadDeviceToken"))) {
        return outcome(ctx, 1, "apns", req->status, reason, "Apple's push service accepts the certificate.");
    }
    return outcome(ctx, 0, "apns", req->status, reason,
                   req->status == 403 ? "Apple's push service refuses the certificate."
                   : req->status >= 500 ? "Apple's push service has trouble: try again later."
                                        : "Apple's push service gave an unexpected answer.");
}

json_t *mdm_push_test(mdm_ctx_t *ctx, const mdm_push_conf_t *conf)
{
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    mdm_http_conf_t c = {.http2 = 1, .cert_pem = conf->cert_pem, .key_pem = conf->key_pem, .ca_file = conf->server.ca_file};
    mdm_http_req_t *req = mdm_push_request(ctx, conf, zeros, "test");
    mdm_http_t *h;

    if (!req || mdm_http_make(ctx, ctx->pool, &c, &h) != APR_SUCCESS) {
        return outcome(ctx, 0, "http", 0, "not sent", "There is no memory for the test.");
    }
    mdm_http_run(ctx, h, &req, 1, NULL);
    return test_outcome(ctx, req);
}
