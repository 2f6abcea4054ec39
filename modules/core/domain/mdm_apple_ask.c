/* Check-in messages by which a device asks for something beside management: tokens of services, declarations, return to service. */
#include <string.h>

#include <apr_strings.h>
#include <apr_time.h>

#include "base/mdm_json.h"
#include "domain/mdm_apple_priv.h"

#define MAX_ENDPOINT 200

/* ---------------------------------------------------------------- GetToken */

/* The services that Apple's systems know. A token for one needs an Apple server token of this zone, or a second server that trusts ours:
 * neither is there, so com.apple.mdm.token is not announced and an unasked-for question is answered with the 400 that Apple's
 * documentation wants for a service that a server does not have. */
static const char *const services[] = {"com.apple.maid", "com.apple.watch.pairing"};

apr_status_t mdm_apple_get_token(mdm_ctx_t *ctx, const mdm_plist_t *msg)
{
    const char *type;
    apr_status_t rv = mdm_plist_need_str(ctx, msg, "TokenServiceType", MDM_APPLE_MAX_ID, &type);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        if (!strcmp(type, services[i])) {
            return mdm_fail(ctx, MDM_EINPUT, "TokenServiceType", "This server has no tokens for %s.", type);
        }
    }
    return mdm_fail(ctx, MDM_EINPUT, "TokenServiceType", "The service is unknown.");
}

/* ---------------------------------------------------------------- DeclarativeManagement */

/* No declarations: a device that has none stays as it is, one that comes from another server drops what it has, and both go on with
 * commands (facts 8.1). The token never changes, as the set doesn't. */
#define NO_DECLARATIONS "0"

static const char *tokens(mdm_ctx_t *ctx)
{
    char at[APR_RFC822_DATE_LEN];
    apr_time_exp_t t;
    apr_size_t n;

    apr_time_exp_gmt(&t, apr_time_from_msec(mdm_now_ms(ctx)));
    apr_strftime(at, &n, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &t);
    return apr_pstrcat(ctx->pool, "{\"SyncTokens\":{\"DeclarationsToken\":\"" NO_DECLARATIONS "\",\"Timestamp\":\"", at, "\"}}", NULL);
}

static apr_status_t status_report(mdm_ctx_t *ctx, const mdm_plist_t *msg)
{
    const mdm_blob_t *data = mdm_plist_data(msg, "Data");
    json_t *report;

    if (!data || !data->len) {
        return mdm_fail(ctx, MDM_EINPUT, "Data", "A status report needs its data.");
    }
    return mdm_json_parse(ctx, (const char *)data->data, data->len, &report);
}

apr_status_t mdm_apple_declarative(mdm_ctx_t *ctx, const mdm_plist_t *msg, mdm_apple_answer_t *a)
{
    const char *endpoint, *text = NULL;
    apr_status_t rv = mdm_plist_need_str(ctx, msg, "Endpoint", MAX_ENDPOINT, &endpoint);

    a->decision = "no declarations";
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!strcmp(endpoint, "status")) {
        return status_report(ctx, msg);
    }
    if (!strcmp(endpoint, "tokens")) {
        text = tokens(ctx);
    } else if (!strcmp(endpoint, "declaration-items")) {
        text = "{\"Declarations\":{\"Activations\":[],\"Assets\":[],\"Configurations\":[],\"Management\":[]},"
               "\"DeclarationsToken\":\"" NO_DECLARATIONS "\"}";
    } else {
        return mdm_fail(ctx, MDM_EINPUT, "Endpoint", "There is no such endpoint or declaration.");
    }
    a->type = "application/json";
    a->body.data = (const unsigned char *)text;
    a->body.len = strlen(text);
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- ReturnToService */

/* Only a device whose automated enrolment profile wants it asks; no profile of ours does, so it must not erase itself. */
apr_status_t mdm_apple_return_to_service(mdm_ctx_t *ctx, mdm_apple_answer_t *a)
{
    mdm_plist_t *root = mdm_plist_dict(ctx->pool);

    mdm_plist_add_bool(ctx->pool, mdm_plist_add_dict(ctx->pool, root, "ReturnToService"), "Enabled", 0);
    a->type = "application/xml";
    a->decision = "not enabled";
    return mdm_plist_write(ctx->pool, root, &a->body);
}
