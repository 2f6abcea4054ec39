/* Which server is the right one, and the step-by-step test of a connection. */
#include <string.h>
#include <apr_strings.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include "domain/mdm_ldap_priv.h"

/* ---------------------------------------------------------------- the certificate */

/* Signed by the pinned authority, in its time, for this host. */
static int fits_ca(const mdm_ldap_conf_t *conf, mdm_blob_t der)
{
    const unsigned char *at = der.data;
    X509 *leaf, *ca;
    BIO *bio;
    int ok;

    ERR_set_mark();
    leaf = d2i_X509(NULL, &at, (long)der.len);
    bio = BIO_new_mem_buf(conf->ca, -1);
    ca = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    ok = leaf && ca && X509_check_issued(ca, leaf) == X509_V_OK && X509_verify(leaf, X509_get0_pubkey(ca)) == 1
         && X509_cmp_current_time(X509_get0_notBefore(leaf)) < 0 && X509_cmp_current_time(X509_get0_notAfter(leaf)) > 0
         && (X509_check_host(leaf, conf->host, 0, 0, NULL) == 1 || X509_check_ip_asc(leaf, conf->host, 0) == 1);
    X509_free(leaf);
    X509_free(ca);
    BIO_free(bio);
    ERR_pop_to_mark();
    return ok;
}

apr_status_t mdm_ldap_judge(mdm_ctx_t *ctx, const mdm_ldap_conf_t *conf, mdm_blob_t der)
{
    if (*conf->pin && !strcmp(conf->pin, mdm_sha256_hex(ctx->pool, der.data, der.len))) {
        return APR_SUCCESS;
    }
    if (*conf->ca && fits_ca(conf, der)) {
        return APR_SUCCESS;
    }
    if (*conf->pin) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "the server's certificate has changed: test the connection, compare it and accept it");
    }
    if (*conf->ca) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "the server's certificate is not one of the source's authority for this host");
    }
    return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "the server's certificate was not accepted yet: test the connection and accept it");
}

/* ---------------------------------------------------------------- steps */

static int shake(mdm_probe_t *p, const mdm_ldap_conf_t *conf, mdm_ldap_t **l)
{
    mdm_ctx_t *ctx = p->ctx;
    apr_status_t rv = mdm_ldap_connect(ctx, conf, l);

    if (conf->tls == MDM_LDAP_NONE) {
        mdm_probe_step(p, "tls", rv == APR_SUCCESS, rv ? ctx->fail_text : "not used: passwords travel in clear");
        return rv == APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_ldap_judge(ctx, conf, (*l)->cert);
    }
    mdm_probe_tls(p, (*l)->cert, rv == APR_SUCCESS, rv ? ctx->fail_text : "the accepted certificate");
    return rv == APR_SUCCESS;
}

static void ask(mdm_probe_t *p, const mdm_ldap_conf_t *conf, mdm_ldap_t *l)
{
    mdm_ctx_t *ctx = p->ctx;
    apr_status_t rv = mdm_ldap_bind(l);
    int i, n = 0;

    mdm_probe_step(p, "bind", rv == APR_SUCCESS, rv ? ctx->fail_text : *conf->bind_dn ? conf->bind_dn : "anonymous");
    for (i = 0; rv == APR_SUCCESS && i < conf->containers->nelts; i++) {
        const char *dn = APR_ARRAY_IDX(conf->containers, i, const char *);

        rv = mdm_ldap_count(l, dn, &n);
        mdm_probe_step(p, "search", rv == APR_SUCCESS,
                       rv ? apr_psprintf(ctx->pool, "%s: %s", dn, ctx->fail_text)
                          : apr_psprintf(ctx->pool, "%s: %s%d people", dn, n >= 500 ? "at least " : "", n));
    }
}

void mdm_ldap_test(mdm_probe_t *p, const mdm_ldap_conf_t *conf)
{
    mdm_ldap_t *l = NULL;

    if (mdm_probe_reach(p, conf->host, conf->port, conf->timeout_ms) && shake(p, conf, &l)) {
        ask(p, conf, l);
    }
    if (l) {
        mdm_ldap_close(l);
    }
}
