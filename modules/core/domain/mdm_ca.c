#include "domain/mdm_ca.h"
#include <apr_strings.h>
#include <stdint.h>
#include <string.h>
#include "base/mdm_seal.h"
#include "mdm_sql_gen.h"

#define DAY_MS (86400LL * 1000)
#define YEAR_MS (365 * DAY_MS)
#define CA_LIFE_MS (20 * YEAR_MS)
#define HELPER_LIFE_MS (10 * YEAR_MS)
#define HELPER_RENEW_MS (180 * DAY_MS)
#define BACKDATE_MS (2 * DAY_MS) /* clocks of devices may be behind (R48) */
#define CRL_LIFE_MS (7 * DAY_MS)

/* The rows of table ca, in the order in which they must exist. */
static const struct kind_t {
    const char *kind;
    const char *title; /* CN, after the organisation */
    mdm_certprofile_e profile;
    apr_int64_t life_ms;
} kinds[] = {
    {"ca", "Device CA", MDM_CERT_CA, CA_LIFE_MS},
    {"ra", "Device Enrollment", MDM_CERT_RA, HELPER_LIFE_MS},
    {"profile", "Device Profiles", MDM_CERT_SIGNER, HELPER_LIFE_MS},
};

/* ------------------------------------------------------------------ reading */

static apr_status_t open_row(mdm_ctx_t *ctx, const char *kind, const char *pem, const char *sealed,
                             mdm_cert_t **cert, mdm_key_t **key)
{
    const char *purpose = apr_pstrcat(ctx->pool, "ca.private_key:", kind, NULL);
    mdm_blob_t clear;
    apr_status_t rv = mdm_unseal(ctx, purpose, sealed, &clear);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_key_from_pem(ctx, (const char *)clear.data, NULL, key);
    mdm_wipe((void *)(uintptr_t)clear.data, clear.len);
    if (rv == APR_SUCCESS) {
        rv = mdm_cert_from_pem(ctx, pem, cert);
    }
    if (rv == APR_SUCCESS && !mdm_cert_fits_key(*cert, *key)) {
        rv = MDM_EINPUT;
    }
    if (rv != APR_SUCCESS) { /* stored by us: never the caller's fault */
        mdm_log(ctx, MDM_LOG_ERR, "MDM0050", rv,
                "the %s row of the certification authority can't be used", kind);
        rv = mdm_fail(ctx, MDM_EUNAVAIL, NULL, "the certification authority can't be used");
    }
    return rv;
}

/* A context whose results live in another pool. */
static mdm_ctx_t *ctx_in(const mdm_ctx_t *ctx, apr_pool_t *p)
{
    mdm_ctx_t *in = apr_pmemdup(p, ctx, sizeof(*ctx));

    in->pool = p;
    return in;
}

static apr_status_t place(mdm_ctx_t *in, const mdm_q_ca_all_t *row, mdm_ca_t *ca)
{
    if (!strcmp(row->kind, "ca")) {
        return open_row(in, "ca", row->certificate, row->private_key, &ca->ca, &ca->ca_key);
    }
    if (!strcmp(row->kind, "ra")) {
        return open_row(in, "ra", row->certificate, row->private_key, &ca->ra, &ca->ra_key);
    }
    if (!strcmp(row->kind, "profile")) {
        return open_row(in, "profile", row->certificate, row->private_key, &ca->signer,
                        &ca->signer_key);
    }
    return APR_SUCCESS;
}

apr_status_t mdm_ca_load(mdm_db_t *db, apr_pool_t *p, mdm_ca_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db), *in;
    mdm_ca_t *ca = apr_pcalloc(p, sizeof(*ca));
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_ca_all(db, &rows);
    int i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    in = ctx_in(ctx, p);
    for (i = 0; i < rows->nelts; i++) {
        rv = place(in, &APR_ARRAY_IDX(rows, i, mdm_q_ca_all_t), ca);
        if (rv != APR_SUCCESS) {
            return mdm_fail(ctx, rv, NULL, "the certification authority can't be used");
        }
    }
    if (!ca->ca || !ca->ra || !ca->signer) {
        return mdm_fail(ctx, APR_NOTFOUND, NULL, "the zone has no certification authority yet");
    }
    *out = ca;
    return APR_SUCCESS;
}

/* ------------------------------------------------------------------ making */

/* Reads one kind with a connection of its own; *pem is the certificate as stored. */
static apr_status_t find(mdm_ctx_t *ctx, const char *kind, mdm_cert_t **cert, mdm_key_t **key,
                         const char **pem)
{
    mdm_q_ca_find_t *row;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_ca_find(db, kind, &row);
    mdm_db_close(db);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    *pem = row->certificate;
    return open_row(ctx, kind, row->certificate, row->private_key, cert, key);
}

static apr_status_t issue_row(mdm_ctx_t *ctx, const struct kind_t *k, const char *organisation,
                              mdm_keytype_e type, const mdm_ca_t *ca, mdm_cert_t **cert,
                              mdm_key_t **key)
{
    const char *org =
        mdm_clean(ctx->pool, organisation && *organisation ? organisation : "MDM", 40);
    const char *subject[] = {"O", org, "CN", apr_pstrcat(ctx->pool, org, " ", k->title, NULL),
                             NULL};
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_issue_t what = {.profile = k->profile,
                        .subject = subject,
                        .not_before_ms = now - BACKDATE_MS,
                        .not_after_ms = now + k->life_ms};
    apr_status_t rv = mdm_key_generate(ctx, ca ? MDM_KEY_RSA2048 : type, key);

    if (rv == APR_SUCCESS) {
        what.key = *key;
        rv = mdm_cert_issue(ctx, &what, ca ? ca->ca : NULL, ca ? ca->ca_key : *key, cert);
    }
    return rv;
}

/* Writes a fresh row, or replaces the one whose certificate is `old`. A race that another node won
 * is no failure. */
static apr_status_t store(mdm_ctx_t *ctx, const char *kind, const mdm_cert_t *cert,
                          const mdm_key_t *key, const char *old)
{
    char *pem = mdm_key_pem(ctx->pool, key);
    const char *text = mdm_cert_pem(ctx->pool, cert), *sealed = NULL, *id = mdm_uuid(ctx->pool);
    mdm_db_t *db;
    apr_status_t rv;

    if (!pem || !id) {
        return MDM_EUNAVAIL;
    }
    rv = mdm_seal(ctx, apr_pstrcat(ctx->pool, "ca.private_key:", kind, NULL), pem, strlen(pem),
                  &sealed);
    mdm_wipe(pem, strlen(pem));
    if (rv == APR_SUCCESS) {
        rv = mdm_db_open(ctx, &db);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS && old) {
        rv = mdm_q_ca_replace(db, text, sealed, mdm_now_ms(ctx), kind, old, NULL);
    } else if (rv == APR_SUCCESS) {
        rv = mdm_q_ca_add(db, id, kind, text, sealed, mdm_now_ms(ctx));
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_change_add(db, MDM_CA_CHANGE, kind);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv == MDM_ECONFLICT ? APR_SUCCESS : rv;
}

static int ends_soon(mdm_ctx_t *ctx, const mdm_cert_t *cert)
{
    mdm_certinfo_t info;

    return mdm_cert_info(ctx, cert, &info) == APR_SUCCESS &&
           info.not_after_ms - mdm_now_ms(ctx) < HELPER_RENEW_MS;
}

/* One kind: there, or made. ca is NULL for the authority itself, which is never replaced. */
static apr_status_t ensure(mdm_ctx_t *ctx, const struct kind_t *k, const char *organisation,
                           mdm_keytype_e type, const mdm_ca_t *ca, mdm_cert_t **cert,
                           mdm_key_t **key)
{
    const char *pem = NULL;
    apr_status_t rv = find(ctx, k->kind, cert, key, &pem);

    if (rv == APR_SUCCESS && (!ca || !ends_soon(ctx, *cert))) {
        return APR_SUCCESS;
    }
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        return rv;
    }
    rv = issue_row(ctx, k, organisation, type, ca, cert, key);
    if (rv == APR_SUCCESS) {
        rv = store(ctx, k->kind, *cert, *key, pem);
    }
    if (rv == APR_SUCCESS) {
        rv = find(ctx, k->kind, cert, key, &pem); /* what counts is what the database holds */
    }
    if (rv == APR_SUCCESS) {
        mdm_log(ctx, MDM_LOG_NOTICE, "MDM0051", 0,
                "the certification authority has a new %s certificate", k->kind);
    }
    return rv;
}

apr_status_t mdm_ca_ensure(mdm_ctx_t *ctx, const char *organisation, mdm_keytype_e type)
{
    mdm_ca_t ca = {0};
    apr_status_t rv = ensure(ctx, &kinds[0], organisation, type, NULL, &ca.ca, &ca.ca_key);

    if (rv == APR_SUCCESS) {
        rv = ensure(ctx, &kinds[1], organisation, type, &ca, &ca.ra, &ca.ra_key);
    }
    if (rv == APR_SUCCESS) {
        rv = ensure(ctx, &kinds[2], organisation, type, &ca, &ca.signer, &ca.signer_key);
    }
    return rv;
}

/* ------------------------------------------------------------------ identities */

/* A renewed identity is there: the one before it that was never used ends, and caches learn of it. */
static apr_status_t replace_next(mdm_db_t *db, const char *record_id, const char *fingerprint)
{
    mdm_q_certificate_device_t *row = NULL;
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_certificate_next_unused(db, record_id, fingerprint, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        rv = mdm_ca_revoke(db, APR_ARRAY_IDX(rows, i, mdm_q_certificate_next_unused_t).fingerprint, "superseded");
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_certificate_device(db, fingerprint, &row);
    }
    return rv == APR_SUCCESS && row->device_id ? mdm_change_add(db, "device", row->device_id) : rv;
}

apr_status_t mdm_ca_issue_identity(mdm_db_t *db, const mdm_ca_t *ca, const mdm_csr_t *csr,
                                   const char *cn, const char *pending_id, const char *record_id,
                                   mdm_cert_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *subject[] = {"CN", cn, NULL};
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_issue_t what = {.profile = MDM_CERT_IDENTITY,
                        .subject = subject,
                        .csr = csr,
                        .not_before_ms = now - BACKDATE_MS,
                        .crl_url = ca->crl_url};
    mdm_certinfo_t info;
    mdm_blob_t der;
    apr_status_t rv = mdm_cert_info(ctx, ca->ca, &info);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    what.not_after_ms = now + (pending_id || record_id ? MDM_IDENTITY_LIFE_MS : DAY_MS);
    if (what.not_after_ms > info.not_after_ms) {
        what.not_after_ms = info.not_after_ms;
    }
    rv = mdm_cert_issue(ctx, &what, ca->ca, ca->ca_key, out);
    if (rv == APR_SUCCESS) {
        rv = mdm_cert_info(ctx, *out, &info);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    der = mdm_cert_der(*out);
    rv = mdm_q_certificate_add(db, info.fingerprint, info.serial, info.subject, pending_id,
                               record_id, record_id ? "next" : "current", info.not_before_ms,
                               info.not_after_ms, now, now + (info.not_after_ms - now) / 2,
                               mdm_b64(ctx->pool, der.data, der.len));
    return rv == APR_SUCCESS && record_id ? replace_next(db, record_id, info.fingerprint) : rv;
}

apr_status_t mdm_ca_revoke(mdm_db_t *db, const char *fingerprint, const char *reason)
{
    mdm_q_certificate_device_t *row;
    apr_status_t rv;
    int n = 0;

    rv = mdm_q_certificate_revoke(db, mdm_now_ms(mdm_db_ctx(db)), reason, fingerprint, &n);
    if (rv != APR_SUCCESS || n == 0) {
        return rv;
    }
    rv = mdm_change_add(db, MDM_CERT_CHANGE, fingerprint);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_certificate_device(db, fingerprint, &row);
    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && !row->device_id)) {
        return APR_SUCCESS; /* never bound: nothing else knows it */
    }
    return rv == APR_SUCCESS ? mdm_change_add(db, "device", row->device_id) : rv;
}

apr_status_t mdm_ca_revoke_record(mdm_db_t *db, const char *record_id, const char *keep, const char *keep_pending,
                                  const char *reason)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_certificate_of_record(db, record_id, keep, keep_pending, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        rv = mdm_ca_revoke(db, APR_ARRAY_IDX(rows, i, mdm_q_certificate_of_record_t).fingerprint, reason);
    }
    return rv;
}

/* Our reasons as CRLReason (RFC 5280, 5.3.1); what is not here is unspecified. */
static int crl_reason(const char *why)
{
    static const struct {
        const char *why;
        int reason;
    } reasons[] = {{"superseded", 4}, {"enrolled again", 4}, {"superseded by a new enrolment", 4},
                   {"the device was enrolled as another object", 4}, {"checkout", 5}, {"confirmed", 5}, {"given_up", 5},
                   {"enrolled by another person", 5}};

    for (size_t i = 0; why && i < sizeof reasons / sizeof reasons[0]; i++) {
        if (!strcmp(reasons[i].why, why)) {
            return reasons[i].reason;
        }
    }
    return 0;
}

/* What tells one list from another: its authority, its entries, and the day. */
static const char *crl_tag(mdm_ctx_t *ctx, const mdm_ca_t *ca, const mdm_revoked_t *list, int n, apr_int64_t now)
{
    mdm_blob_t der = mdm_cert_der(ca->ca);
    apr_array_header_t *parts = apr_array_make(ctx->pool, n + 2, sizeof(char *));
    const char *text;

    APR_ARRAY_PUSH(parts, const char *) = mdm_sha256_hex(ctx->pool, der.data, der.len);
    APR_ARRAY_PUSH(parts, const char *) = apr_psprintf(ctx->pool, "%" APR_INT64_T_FMT, (apr_int64_t)(now / DAY_MS));
    for (int i = 0; i < n; i++) {
        APR_ARRAY_PUSH(parts, const char *) = apr_psprintf(ctx->pool, "%s %" APR_INT64_T_FMT, list[i].serial, list[i].at_ms);
    }
    text = apr_array_pstrcat(ctx->pool, parts, '\n');
    return apr_pstrmemdup(ctx->pool, mdm_sha256_hex(ctx->pool, text, strlen(text)), 24);
}

apr_status_t mdm_ca_crl(mdm_ctx_t *ctx, const mdm_ca_t *ca, mdm_blob_t *der, const char **tag)
{
    apr_int64_t now = mdm_now_ms(ctx);
    apr_array_header_t *rows;
    mdm_revoked_t *list;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);
    int i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_certificate_revoked(db, now, &rows);
    mdm_db_close(db);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    list = apr_pcalloc(ctx->pool, ((apr_size_t)rows->nelts + 1) * sizeof(*list));
    for (i = 0; i < rows->nelts; i++) {
        const mdm_q_certificate_revoked_t *row =
            &APR_ARRAY_IDX(rows, i, mdm_q_certificate_revoked_t);
        list[i].serial = row->serial;
        list[i].at_ms = row->revoked_ms;
        list[i].reason = crl_reason(row->reason);
    }
    *tag = crl_tag(ctx, ca, list, rows->nelts, now);
    return mdm_crl_make(ctx, ca->ca, ca->ca_key, list, rows->nelts, now / 1000, now - 60000,
                        now + CRL_LIFE_MS, der);
}
