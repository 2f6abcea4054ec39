/* Which server is the right one, and the step-by-step test of a connection. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <apr_network_io.h>
#include <apr_strings.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include "domain/mdm_ldap_priv.h"
#include "wire/mdm_x509.h"

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

static json_t *certificate(mdm_ctx_t *ctx, mdm_blob_t der, int accepted)
{
    mdm_cert_t *cert;
    mdm_certinfo_t info;

    if (!der.data || mdm_cert_from_der(ctx, der.data, der.len, &cert) != APR_SUCCESS
        || mdm_cert_info(ctx, cert, &info) != APR_SUCCESS) {
        return NULL;
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "subject", mdm_clean(ctx->pool, info.subject, 500), "issuer",
                     mdm_clean(ctx->pool, info.issuer, 500), "not_before", mdm_time_text(ctx->pool, info.not_before_ms),
                     "not_after", mdm_time_text(ctx->pool, info.not_after_ms), "sha256", info.fingerprint, "accepted", accepted);
}

/* ---------------------------------------------------------------- steps */

static json_t *step(mdm_ctx_t *ctx, json_t *all, const char *name, apr_time_t began, int ok, const char *text)
{
    json_t *one = json_pack("{s:s, s:b, s:I, s:s}", "step", name, "ok", ok, "ms",
                            (json_int_t)apr_time_as_msec(apr_time_now() - began), "text", mdm_clean(ctx->pool, text, 1000));

    json_array_append_new(all, one);
    return one;
}

static int resolve(mdm_ctx_t *ctx, const mdm_ldap_conf_t *conf, json_t *all, struct addrinfo **found)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    apr_time_t began = apr_time_now();
    char host[NI_MAXHOST] = "";
    int rc = getaddrinfo(conf->host, apr_itoa(ctx->pool, conf->port), &hints, found);

    if (rc == 0) {
        getnameinfo((*found)->ai_addr, (*found)->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
    }
    step(ctx, all, "dns", began, rc == 0, rc ? gai_strerror(rc) : host);
    return rc == 0;
}

static int reach_one(const struct addrinfo *ai, int timeout_ms)
{
    int err = 0, s = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pollfd p = {s, POLLOUT, 0};
    socklen_t len = sizeof(err);

    if (s < 0) {
        return errno;
    }
    if (connect(s, ai->ai_addr, ai->ai_addrlen) != 0 && (err = errno) == EINPROGRESS) {
        if (poll(&p, 1, timeout_ms) != 1) {
            err = ETIMEDOUT;
        }
        else if (getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &len) != 0) {
            err = errno;
        }
    }
    close(s);
    return err;
}

static int reach(mdm_ctx_t *ctx, const mdm_ldap_conf_t *conf, json_t *all, const struct addrinfo *ai)
{
    apr_time_t began = apr_time_now();
    int err = EHOSTUNREACH, tries;
    char text[120];

    for (tries = 0; ai && err && tries < 4; ai = ai->ai_next, tries++) {
        err = reach_one(ai, conf->timeout_ms);
    }
    apr_strerror(APR_FROM_OS_ERROR(err), text, sizeof(text));
    step(ctx, all, "tcp", began, !err, err ? text : apr_psprintf(ctx->pool, "port %d", conf->port));
    return !err;
}

static int shake(mdm_ctx_t *ctx, const mdm_ldap_conf_t *conf, json_t *all, mdm_ldap_t **l)
{
    apr_time_t began = apr_time_now();
    apr_status_t rv = mdm_ldap_connect(ctx, conf, l);
    json_t *one, *cert;

    if (conf->tls == MDM_LDAP_NONE) {
        step(ctx, all, "tls", began, rv == APR_SUCCESS, rv ? ctx->fail_text : "not used: passwords travel in clear");
        return rv == APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_ldap_judge(ctx, conf, (*l)->cert);
    }
    one = step(ctx, all, "tls", began, rv == APR_SUCCESS, rv ? ctx->fail_text : "the accepted certificate");
    if ((cert = certificate(ctx, (*l)->cert, rv == APR_SUCCESS))) {
        json_object_set_new(one, "certificate", cert);
    }
    return rv == APR_SUCCESS;
}

static void ask(mdm_ctx_t *ctx, const mdm_ldap_conf_t *conf, json_t *all, mdm_ldap_t *l)
{
    apr_time_t began = apr_time_now();
    apr_status_t rv = mdm_ldap_bind(l);
    int i, n = 0;

    step(ctx, all, "bind", began, rv == APR_SUCCESS, rv ? ctx->fail_text : *conf->bind_dn ? conf->bind_dn : "anonymous");
    for (i = 0; rv == APR_SUCCESS && i < conf->containers->nelts; i++) {
        const char *dn = APR_ARRAY_IDX(conf->containers, i, const char *);

        began = apr_time_now();
        rv = mdm_ldap_count(l, dn, &n);
        step(ctx, all, "search", began, rv == APR_SUCCESS,
             rv ? apr_psprintf(ctx->pool, "%s: %s", dn, ctx->fail_text)
                : apr_psprintf(ctx->pool, "%s: %s%d people", dn, n >= 500 ? "at least " : "", n));
    }
}

json_t *mdm_ldap_test(mdm_ctx_t *ctx, const mdm_ldap_conf_t *conf)
{
    struct addrinfo *found = NULL;
    json_t *all = json_array();
    mdm_ldap_t *l = NULL;

    if (resolve(ctx, conf, all, &found) && reach(ctx, conf, all, found) && shake(ctx, conf, all, &l)) {
        ask(ctx, conf, all, l);
    }
    if (l) {
        mdm_ldap_close(l);
    }
    if (found) {
        freeaddrinfo(found);
    }
    return all;
}
