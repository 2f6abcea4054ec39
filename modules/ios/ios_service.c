/* Handler "mdm-service": GET /MDMServiceConfig, by which Apple Configurator finds out about a server, and the roots that it names
 * (facts 2.3). Public: it says nothing but what every phone that enrols is given. */
#include <string.h>

#include <httpd.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_apple_profile.h"
#include "ios.h"

#define TYPE "application/json; charset=UTF8"
#define ANCHORS "/anchors"

static apr_status_t anchors(mdm_ctx_t *ctx, const char *path, json_t *list)
{
    const char *pem = mdm_apple_anchors(ctx, path);
    apr_array_header_t *certs;
    apr_status_t rv;

    if (!pem) {
        return path && *path ? MDM_EUNAVAIL : APR_SUCCESS; /* none: the certificate is publicly trusted */
    }
    rv = mdm_certs_from_pem(ctx, pem, &certs);
    for (int i = 0; rv == APR_SUCCESS && i < certs->nelts; i++) {
        mdm_blob_t der = mdm_cert_der(APR_ARRAY_IDX(certs, i, mdm_cert_t *));
        json_array_append_new(list, json_string(mdm_b64(ctx->pool, der.data, der.len)));
    }
    return rv == APR_SUCCESS ? rv : MDM_EUNAVAIL;
}

int ios_service_handler(request_rec *r, const mdm_services_t *svc)
{
    mdm_ctx_t *ctx = svc->request_ctx(r);
    apr_size_t len = strlen(r->uri), end = sizeof ANCHORS - 1;
    json_t *body;
    const char *text;
    apr_status_t rv = APR_SUCCESS;

    if (r->method_number != M_GET) {
        return mdm_web_method_not_allowed(r, "GET, HEAD");
    }
    if (len > end && !strcmp(r->uri + len - end, ANCHORS)) {
        body = json_array();
        rv = anchors(ctx, svc->conf_str(r->server, "MDMTrustAnchors"), body);
    } else {
        body = json_pack("{s:s}", "dep_anchor_certs_url",
                         apr_pstrcat(r->pool, svc->public_url(r->server), "/MDMServiceConfig" ANCHORS, NULL));
    }
    text = mdm_json_text(r->pool, body);
    json_decref(body);
    return rv == APR_SUCCESS ? mdm_web_bytes(r, HTTP_OK, TYPE, text, strlen(text)) : mdm_web_device_fail(r, ctx, "MDM0455", rv);
}
