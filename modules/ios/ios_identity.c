/* Who speaks: certificate of the TLS connection, or signature over the message (IOS-02, SEC-01). Nothing is decoded for a known
 * certificate: its hash is all that the cache needs. */
#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <http_ssl.h>

#include "base/mdm_text.h"
#include "ios.h"
#include "wire/mdm_cms.h"

/* The certificate of a TLS connection does not change: its hash is computed once. */
static apr_status_t by_tls(request_rec *r, ios_identity_t *out)
{
    conn_rec *c = r->connection;
    ios_identity_t *kept = ap_get_module_config(c->conn_config, &mdm_ios_module);
    const char *pem;
    mdm_blob_t der;

    if (!kept) {
        if (!ap_ssl_conn_is_ssl(c)) {
            return APR_NOTFOUND;
        }
        pem = ap_ssl_var_lookup(r->pool, r->server, c, r, "SSL_CLIENT_CERT");
        if (!pem || !*pem) {
            return APR_NOTFOUND;
        }
        if (mdm_pem_der(r->pool, pem, &der) != APR_SUCCESS) {
            return MDM_EIDENTITY;
        }
        kept = apr_pcalloc(c->pool, sizeof *kept);
        mdm_sha256(der.data, der.len, kept->sha256);
        kept->hex = mdm_hex(c->pool, kept->sha256, sizeof kept->sha256);
        ap_set_module_config(c->conn_config, &mdm_ios_module, kept);
    }
    *out = *kept;
    return APR_SUCCESS;
}

static apr_status_t by_signature(request_rec *r, mdm_ctx_t *ctx, const mdm_blob_t *body, ios_identity_t *out)
{
    const char *header = apr_table_get(r->headers_in, "Mdm-Signature");
    mdm_cert_t *signer;
    mdm_certinfo_t info;
    mdm_blob_t der;
    apr_status_t rv;

    if (!header || !*header) {
        return mdm_fail(ctx, APR_NOTFOUND, NULL, "The request has neither a client certificate nor a signature.");
    }
    if (!body) {
        return APR_INCOMPLETE;
    }
    rv = mdm_cms_mdm_signature(ctx, header, body, &signer);
    if (rv == APR_SUCCESS) {
        rv = mdm_cert_info(ctx, signer, &info);
    }
    /* In TLS an expired certificate ends the handshake; here nobody else looks (R10). */
    if (rv == APR_SUCCESS && info.not_after_ms <= mdm_now_ms(ctx)) {
        rv = mdm_fail(ctx, MDM_EIDENTITY, NULL, "The certificate has expired.");
    }
    if (rv == APR_SUCCESS) {
        der = mdm_cert_der(signer);
        mdm_sha256(der.data, der.len, out->sha256);
        out->hex = mdm_hex(r->pool, out->sha256, sizeof out->sha256);
    }
    return rv;
}

apr_status_t ios_identity(request_rec *r, mdm_ctx_t *ctx, const mdm_blob_t *body, ios_identity_t *out)
{
    apr_status_t rv = by_tls(r, out);

    return APR_STATUS_IS_NOTFOUND(rv) ? by_signature(r, ctx, body, out) : rv;
}
