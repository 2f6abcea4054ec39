/* Who speaks: certificate of the TLS connection, header of a listed proxy, or signature over the message (IOS-02, SEC-01). Nothing is decoded for a known
 * certificate: its hash is all that the cache needs. */
#include <string.h>

#include <apr_strings.h>
#include <httpd.h>
#include <http_config.h>
#include <http_ssl.h>

#include "base/mdm_text.h"
#include "domain/mdm_cidr.h"
#include "ios.h"
#include "wire/mdm_cms.h"
#include "wire/mdm_x509.h"

#define MAX_HEADER 16384

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

static void fill(apr_pool_t *p, const mdm_cert_t *cert, ios_identity_t *out)
{
    mdm_blob_t der = mdm_cert_der(cert);

    mdm_sha256(der.data, der.len, out->sha256);
    out->hex = mdm_hex(p, out->sha256, sizeof out->sha256);
}

static apr_status_t alive(mdm_ctx_t *ctx, const mdm_cert_t *cert)
{
    mdm_certinfo_t info;
    apr_status_t rv = mdm_cert_info(ctx, cert, &info);

    /* In TLS an expired certificate ends the handshake; here nobody else looks (R10). */
    return rv == APR_SUCCESS && info.not_after_ms <= mdm_now_ms(ctx)
               ? mdm_fail(ctx, MDM_EIDENTITY, NULL, "The certificate has expired.") : rv;
}

static apr_status_t by_signature(request_rec *r, mdm_ctx_t *ctx, const mdm_blob_t *body, ios_identity_t *out)
{
    const char *header = apr_table_get(r->headers_in, "Mdm-Signature");
    mdm_cert_t *signer;
    apr_status_t rv;

    if (!header || !*header) {
        return mdm_fail(ctx, APR_NOTFOUND, NULL, "The request has neither a client certificate nor a signature.");
    }
    if (!body) {
        return APR_INCOMPLETE;
    }
    rv = mdm_cms_mdm_signature(ctx, header, body, &signer);
    if (rv == APR_SUCCESS) {
        fill(r->pool, signer, out);
        rv = alive(ctx, signer);
    }
    return rv;
}

/* ---------------------------------------------------------------- a proxy's header */

static int from_proxy(request_rec *r, const ios_conf_t *conf)
{
    mdm_addr_t peer;

    /* The peer of the connection, whatever mod_remoteip made of the client (R10, R11). */
    return mdm_addr_parse(r->connection->client_ip, &peer) == APR_SUCCESS && mdm_cidr_find(conf->proxies, &peer) >= 0;
}

/* RFC 9440 (":base64:"), PEM with or without URL encoding, or base64 of the DER. */
static apr_status_t header_der(apr_pool_t *p, const char *value, mdm_blob_t *der)
{
    apr_size_t len = strlen(value);
    char *text;

    if (len > MAX_HEADER) {
        return MDM_EINPUT;
    }
    if (value[0] == ':') {
        return len > 2 && value[len - 1] == ':' ? mdm_unb64(p, value + 1, len - 2, der) : MDM_EINPUT;
    }
    if (!strncmp(value, "-----", 5)) {
        text = apr_pstrdup(p, value);
        if (strchr(text, '%') && ap_unescape_url_keep2f(text, 1) != OK) {
            return MDM_EINPUT;
        }
        return mdm_pem_der(p, text, der);
    }
    return mdm_unb64(p, value, len, der);
}

static apr_status_t by_header(request_rec *r, mdm_ctx_t *ctx, ios_identity_t *out)
{
    const ios_conf_t *conf = ap_get_module_config(r->server->module_config, &mdm_ios_module);
    const char *value = conf->header ? apr_table_get(r->headers_in, conf->header) : NULL;
    mdm_cert_t *cert;
    mdm_blob_t der;
    apr_status_t rv;

    if (!value || !*value) {
        return APR_NOTFOUND;
    }
    if (!from_proxy(r, conf)) {
        mdm_log(ctx, MDM_LOG_INFO, "MDM0454", 0, "the certificate header of %s was ignored: it is no listed proxy",
                r->connection->client_ip);
        return APR_NOTFOUND;
    }
    rv = header_der(r->pool, value, &der);
    if (rv == APR_SUCCESS) {
        rv = mdm_cert_from_der(ctx, der.data, der.len, &cert);
    }
    if (rv != APR_SUCCESS) {
        return mdm_fail(ctx, MDM_EIDENTITY, conf->header, "The proxy's header holds no certificate.");
    }
    fill(r->pool, cert, out);
    return alive(ctx, cert);
}

/* ---------------------------------------------------------------- all of them */

/* Takes one more: the first stays, a different one is told. */
static void join(const ios_identity_t *more, ios_identity_t *out, ios_identity_t *other, int *known, int *others)
{
    if (!*known) {
        *out = *more;
        *known = 1;
    } else if (memcmp(out->sha256, more->sha256, sizeof out->sha256) != 0) {
        *other = *out;
        *out = *more; /* what is nearest to the message speaks */
        *others = 1;
    }
}

apr_status_t ios_identity(request_rec *r, mdm_ctx_t *ctx, const mdm_blob_t *body, ios_identity_t *out, ios_identity_t *other,
                          int *others)
{
    ios_identity_t more;
    int known = 0;
    apr_status_t rv = by_tls(r, &more);

    *others = 0;
    if (rv == APR_SUCCESS) {
        join(&more, out, other, &known, others);
    }
    if (rv == APR_SUCCESS || APR_STATUS_IS_NOTFOUND(rv)) {
        rv = by_header(r, ctx, &more);
        if (rv == APR_SUCCESS) {
            join(&more, out, other, &known, others);
        }
    }
    if (*others) {
        return mdm_fail(ctx, MDM_EIDENTITY, NULL, "The proxy's certificate header is another certificate than that of its connection.");
    }
    if (rv == APR_SUCCESS || APR_STATUS_IS_NOTFOUND(rv)) {
        rv = by_signature(r, ctx, body, &more);
        if (rv == APR_SUCCESS) {
            join(&more, out, other, &known, others);
        }
    }
    if (APR_STATUS_IS_NOTFOUND(rv) && known) {
        ctx->fail_text = NULL;
        return APR_SUCCESS;
    }
    return rv;
}
