/* Handler "mdm-scep": SCEP over HTTP (RFC 8894, section 4), and the revocation list beside it (IOS-06). What is answered is decided by domain/mdm_scep_service. */
#include <string.h>

#include <httpd.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>

#include "domain/mdm_scep_service.h"
#include "ios.h"
#include "wire/mdm_scep.h"

#define MESSAGE_TYPE "application/x-pki-message"
#define MAX_OPERATION 32
#define CRL_PATH "/crl"
#define CRL_TYPE "application/pkix-crl"
#define CRL_FRESH_MS 3000 /* not made more often than this, whatever is revoked */
#define CRL_KEEP_MS (24 * 3600 * 1000) /* of the week that it is good for */
#define CRL_CACHE "public, max-age=300"

/* The authority is read once per child: its keys are opened, which is not cheap; and again when one of its certificates was renewed,
 * once in years. What requests may still hold stays. Its pool and that of the list are nobody's children: those of the child
 * process must not be touched by its threads. */
static struct {
    apr_thread_mutex_t *lock;
    mdm_ca_t *ca;
} authority;

/* The last revocation list: it is made again when something was revoked, and once a day, not for everybody who asks. */
static struct {
    apr_thread_mutex_t *lock;
    apr_pool_t *pool; /* of this list alone */
    mdm_blob_t der;
    const char *tag;
    const mdm_ca_t *ca;
    apr_int64_t made_ms;
    unsigned made_at; /* `revoked` before it was read */
    unsigned revoked; /* grows with every change; atomic */
} crl;

void ios_scep_child_init(apr_pool_t *p)
{
    if (apr_thread_mutex_create(&authority.lock, APR_THREAD_MUTEX_DEFAULT, p) != APR_SUCCESS
        || apr_thread_mutex_create(&crl.lock, APR_THREAD_MUTEX_DEFAULT, p) != APR_SUCCESS) {
        authority.lock = NULL;
    }
}

/* With the lock held. */
static apr_status_t load(mdm_ctx_t *ctx)
{
    mdm_db_t *db;
    apr_pool_t *p;
    mdm_ca_t *ca;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_create(&p, NULL);
    rv = mdm_ca_load(db, p, &ca);
    mdm_db_close(db);
    if (rv == APR_SUCCESS) {
        authority.ca = ca;
        return APR_SUCCESS;
    }
    apr_pool_destroy(p);
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        mdm_log(ctx, MDM_LOG_ERR, "MDM0420", 0, "the zone has no certification authority: run mdmctl ca ensure");
    }
    return MDM_EUNAVAIL;
}

static apr_status_t get_ca(mdm_ctx_t *ctx, const mdm_ca_t **out)
{
    apr_status_t rv = authority.lock ? apr_thread_mutex_lock(authority.lock) : APR_EINIT;

    if (rv != APR_SUCCESS) {
        return MDM_EUNAVAIL;
    }
    rv = authority.ca ? APR_SUCCESS : load(ctx);
    *out = authority.ca;
    apr_thread_mutex_unlock(authority.lock);
    return rv;
}

apr_status_t ios_scep_changed(mdm_ctx_t *ctx)
{
    apr_status_t rv = authority.lock ? apr_thread_mutex_lock(authority.lock) : APR_EINIT;

    if (rv == APR_SUCCESS) {
        authority.ca = NULL; /* the next request reads it */
        apr_thread_mutex_unlock(authority.lock);
    }
    return rv;
}

/* ---------------------------------------------------------------- the query */

/* The raw value of a query parameter and its length; NULL if there is none. '+' is left alone: it is base64 here. */
static const char *raw(request_rec *r, const char *name, apr_size_t *len)
{
    apr_size_t n = strlen(name);

    for (const char *s = r->args; s && *s; s += *s == '&') {
        apr_size_t part = strcspn(s, "&");
        if (part > n && s[n] == '=' && !strncmp(s, name, n)) {
            *len = part - n - 1;
            return s + n + 1;
        }
        s += part;
    }
    return NULL;
}

static int hex_digit(char c)
{
    return apr_isdigit(c) ? c - '0' : apr_isxdigit(c) ? (c | 0x20) - 'a' + 10 : -1;
}

/* Decodes %xx; MDM_EINPUT for a broken or a NUL one. */
static apr_status_t decode(apr_pool_t *p, const char *s, apr_size_t len, char **out)
{
    char *o = *out = apr_palloc(p, len + 1);

    for (apr_size_t i = 0; i < len; i++) {
        int c = (unsigned char)s[i];
        if (c == '%') {
            int hi = i + 2 < len ? hex_digit(s[i + 1]) : -1;
            int lo = i + 2 < len ? hex_digit(s[i + 2]) : -1;
            if (hi < 0 || lo < 0) {
                return MDM_EINPUT;
            }
            c = hi * 16 + lo;
            i += 2;
        }
        if (!c) {
            return MDM_EINPUT;
        }
        *o++ = (char)c;
    }
    *o = '\0';
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- operations */

static int fail(request_rec *r, mdm_ctx_t *ctx, apr_status_t rv)
{
    apr_table_setn(r->notes, "mdm-decision", "refused");
    return mdm_web_device_fail(r, ctx, "MDM0421", rv);
}

/* Triple DES and SHA-1 for clients that know nothing else. */
static int legacy_ok(request_rec *r, const mdm_services_t *svc)
{
    return svc->conf_int(r->server, "MDMScepLegacy") != 0;
}

static int get_cacert(request_rec *r, mdm_ctx_t *ctx, const mdm_ca_t *ca)
{
    const char *type;
    mdm_blob_t out;
    apr_status_t rv = mdm_scep_cacert(ctx, ca->ca, ca->ra, &out, &type);

    return rv == APR_SUCCESS ? mdm_web_bytes(r, HTTP_OK, type, out.data, out.len) : fail(r, ctx, rv);
}

/* POST: the body; GET: the parameter, base64. A parameter beside a body is ignored: some clients repeat the message there. */
static apr_status_t message(request_rec *r, mdm_ctx_t *ctx, mdm_blob_t *out)
{
    const char *value;
    char *text;
    apr_size_t len;
    apr_status_t rv;

    if (r->method_number == M_POST) {
        rv = mdm_web_body(r, MDM_SCEP_LIMIT, out);
        return rv == APR_SUCCESS ? rv : mdm_fail(ctx, rv, NULL, "The message is too long or was cut off.");
    }
    value = raw(r, "message", &len);
    if (!value) {
        return mdm_fail(ctx, MDM_EINPUT, "message", "There is no message.");
    }
    rv = decode(r->pool, value, len, &text);
    if (rv == APR_SUCCESS) {
        rv = mdm_unb64(r->pool, text, strlen(text), out);
    }
    return rv == APR_SUCCESS ? rv : mdm_fail(ctx, MDM_EINPUT, "message", "The message is not base64.");
}

apr_status_t ios_scep_revoked(mdm_ctx_t *ctx)
{
    __atomic_add_fetch(&crl.revoked, 1, __ATOMIC_SEQ_CST);
    return APR_SUCCESS;
}

/* With the lock held. */
static apr_status_t crl_make(mdm_ctx_t *ctx, const mdm_ca_t *ca)
{
    unsigned revoked = __atomic_load_n(&crl.revoked, __ATOMIC_SEQ_CST);
    apr_int64_t now = mdm_now_ms(ctx), age = now - crl.made_ms;
    const char *tag;
    apr_status_t rv;
    mdm_blob_t der;

    if (crl.pool && crl.ca == ca && age >= 0 && age < (revoked == crl.made_at ? CRL_KEEP_MS : CRL_FRESH_MS)) {
        return APR_SUCCESS;
    }
    rv = mdm_ca_crl(ctx, ca, &der, &tag);
    if (rv == APR_SUCCESS) {
        if (crl.pool) {
            apr_pool_clear(crl.pool);
        } else {
            apr_pool_create(&crl.pool, NULL);
        }
        crl.der.data = apr_pmemdup(crl.pool, der.data, der.len);
        crl.der.len = der.len;
        crl.tag = apr_pstrcat(crl.pool, "W/\"", tag, "\"", NULL);
        crl.ca = ca;
        crl.made_ms = now;
        crl.made_at = revoked;
    }
    return rv;
}

static int get_crl(request_rec *r, mdm_ctx_t *ctx, const mdm_ca_t *ca)
{
    const char *known = apr_table_get(r->headers_in, "If-None-Match");
    void *copy = NULL;
    apr_size_t len = 0;
    int same = 0;
    apr_status_t rv = apr_thread_mutex_lock(crl.lock);

    if (rv == APR_SUCCESS) {
        rv = crl_make(ctx, ca);
        if (rv == APR_SUCCESS) {
            apr_table_set(r->headers_out, "ETag", crl.tag);
            same = known && !strcmp(known, crl.tag);
            copy = same ? NULL : apr_pmemdup(r->pool, crl.der.data, crl.der.len);
            len = crl.der.len;
        }
        apr_thread_mutex_unlock(crl.lock);
    }
    if (rv != APR_SUCCESS) {
        return fail(r, ctx, rv);
    }
    apr_table_setn(r->headers_out, "Cache-Control", CRL_CACHE);
    return same ? mdm_web_empty(r, HTTP_NOT_MODIFIED) : mdm_web_bytes(r, HTTP_OK, CRL_TYPE, copy, len);
}

static int pki_operation(request_rec *r, const mdm_services_t *svc, mdm_ctx_t *ctx, const mdm_ca_t *ca)
{
    mdm_ca_t issuer = *ca;
    mdm_blob_t in, out;
    apr_status_t rv;
    int wait = svc->throttle_check("scep", r->useragent_ip), refused;

    if (wait > 0) {
        return mdm_web_throttled(r, wait);
    }
    rv = message(r, ctx, &in);
    if (rv == APR_SUCCESS) {
        issuer.crl_url = apr_pstrcat(r->pool, svc->public_url(r->server), "/scep" CRL_PATH, NULL);
        rv = mdm_scep_pkioperation(ctx, &issuer, &in, legacy_ok(r, svc), &out);
    }
    /* A refusal inside SCEP is a success of HTTP, but has said why. */
    refused = rv == APR_SUCCESS ? ctx->fail_text != NULL : mdm_http_status(rv) < 500;
    if (refused || rv == APR_SUCCESS) {
        svc->throttle_note("scep", r->useragent_ip, !refused);
    }
    if (rv != APR_SUCCESS) {
        return fail(r, ctx, rv);
    }
    apr_table_setn(r->notes, "mdm-decision", refused ? "refused" : "issued");
    return mdm_web_bytes(r, HTTP_OK, MESSAGE_TYPE, out.data, out.len);
}

/* What is asked for: "crl", or the operation of the query. */
static apr_status_t asked(request_rec *r, mdm_ctx_t *ctx, int is_crl, char **operation)
{
    apr_size_t len = 0;
    const char *value = raw(r, "operation", &len);

    if (is_crl) {
        *operation = apr_pstrdup(r->pool, "crl");
        return APR_SUCCESS;
    }
    if (!value || len > MAX_OPERATION || decode(r->pool, value, len, operation) != APR_SUCCESS) {
        return mdm_fail(ctx, MDM_EINPUT, "operation", "There is no usable operation.");
    }
    return APR_SUCCESS;
}

int ios_scep_handler(request_rec *r, const mdm_services_t *svc)
{
    int is_crl = ap_strrchr_c(r->uri, '/') && !strcmp(ap_strrchr_c(r->uri, '/'), CRL_PATH);
    const mdm_ca_t *ca;
    char *operation;
    mdm_ctx_t *ctx;
    apr_status_t rv;

    if (r->method_number != M_GET && (is_crl || r->method_number != M_POST)) {
        return mdm_web_method_not_allowed(r, is_crl ? "GET, HEAD" : "GET, HEAD, POST");
    }
    ctx = svc->request_ctx(r);
    rv = asked(r, ctx, is_crl, &operation);
    if (rv != APR_SUCCESS) {
        return fail(r, ctx, rv);
    }
    apr_table_setn(r->notes, "mdm-action", mdm_clean(r->pool, operation, MAX_OPERATION));
    if (!strcmp(operation, "GetCACaps")) {
        const char *caps = mdm_scep_caps(legacy_ok(r, svc));
        return mdm_web_bytes(r, HTTP_OK, "text/plain", caps, strlen(caps));
    }
    rv = svc->db_away() ? MDM_EUNAVAIL : get_ca(ctx, &ca);
    if (rv != APR_SUCCESS) {
        apr_table_setn(r->headers_out, "Retry-After", "30");
        return mdm_web_empty(r, HTTP_SERVICE_UNAVAILABLE);
    }
    if (is_crl) {
        return get_crl(r, ctx, ca);
    }
    if (!strcmp(operation, "GetCACert")) {
        return get_cacert(r, ctx, ca);
    }
    if (!strcmp(operation, "PKIOperation")) {
        return pki_operation(r, svc, ctx, ca);
    }
    return fail(r, ctx, mdm_fail(ctx, MDM_EINPUT, "operation", "The operation is unknown."));
}
