/* For tests only: asks mod_mdm's services as the request's headers say and answers with what it got (see test_mail_services.py). */
#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>
#include <apr_strings.h>
#include <jansson.h>
#include "base/mdm_text.h"
#include "mdm_web.h"

module AP_MODULE_DECLARE_DATA probe_module;

static const char *sent(request_rec *r, const char *name)
{
    const char *v = apr_table_get(r->headers_in, name);

    return v ? v : "";
}

static json_t *login(request_rec *r, mdm_ctx_t *ctx, const mdm_services_t *svc, apr_status_t *rv)
{
    mdm_mail_login_t who;

    ctx->actor.ip = *sent(r, "X-Address") ? sent(r, "X-Address") : ctx->actor.ip;
    *rv = svc->mail_login(ctx, sent(r, "X-Login"), sent(r, "X-Password"), &who);
    return json_pack("{s:s, s:s, s:s, s:s, s:i}", "person", who.person_id, "source", who.source_id, "login", who.login, "mail",
                     who.mail, "retry_after", ctx->retry_after);
}

static json_t *device(request_rec *r, mdm_ctx_t *ctx, const mdm_services_t *svc, apr_status_t *rv)
{
    mdm_devrec_t rec;

    *rv = svc->device_by_eas(ctx, sent(r, "X-Person"), sent(r, "X-Device"), &rec);
    if (*rv == APR_SUCCESS) {
        svc->device_contact(ctx, &rec, r->useragent_ip, r->connection->client_ip);
    }
    return json_pack("{s:i, s:i, s:s}", "kind", (int)rec.kind, "state", (int)rec.state, "device",
                     mdm_uuid_text(r->pool, rec.device));
}

/* X-Throttle: "kind key wrong-tries other-key": counts, and says how long either has to wait. */
static json_t *throttle(request_rec *r, const mdm_services_t *svc)
{
    char *state, *text = apr_pstrdup(r->pool, sent(r, "X-Throttle")), *kind = apr_strtok(text, " ", &state), *key = apr_strtok(NULL, " ", &state);
    int n = atoi(apr_strtok(NULL, " ", &state));
    char *other = apr_strtok(NULL, " ", &state);

    while (n-- > 0) {
        svc->throttle_note(kind, key, 0);
    }
    return json_pack("[i, i]", svc->throttle_check(kind, key), svc->throttle_check(kind, other));
}

/* The clock of this child, ahead by what the last X-Ahead-Ms said. */
static apr_int64_t ahead_ms;

static apr_time_t shifted(void *baton)
{
    return apr_time_now() + 1000 * ahead_ms;
}

static int handler(request_rec *r)
{
    const mdm_services_t *svc = mdm_web_services();
    apr_status_t rv = APR_SUCCESS;
    mdm_ctx_t *ctx;
    json_t *out;

    if (!r->handler || strcmp(r->handler, "probe") != 0) {
        return DECLINED;
    }
    ahead_ms = apr_strtoi64(sent(r, "X-Ahead-Ms"), NULL, 10);
    ((mdm_env_t *)svc->env())->clock = shifted;
    ctx = svc->request_ctx(r);
    out = *sent(r, "X-Throttle") ? throttle(r, svc) : *sent(r, "X-Login") ? login(r, ctx, svc, &rv) : device(r, ctx, svc, &rv);
    return mdm_web_json(r, mdm_http_status(rv), out);
}

static void hooks(apr_pool_t *p)
{
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA probe_module = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, hooks, 0};
