#include "domain/mdm_scep_service.h"
#include <apr_strings.h>
#include <string.h>
#include "domain/mdm_enroll.h"
#include "mdm_sql_gen.h"
#include "wire/mdm_scep.h"

#define MAX_CHALLENGE 128

/* What the request shows of itself before the database is asked. */
typedef struct ask_t {
    const mdm_scep_req_t *req;
    const char *csr_hash;
    const char *signer; /* fingerprint if the signer is an identity that our CA issued; NULL:
                           self-signed or foreign */
} ask_t;

static int is_refusal(apr_status_t rv)
{
    return rv == MDM_EINPUT || rv == MDM_EIDENTITY || rv == MDM_EDENIED || rv == APR_NOTFOUND;
}

/* ------------------------------------------------------------------ with the database */

/* A renewal is asked for by the identity itself, or, as phones do when MDM sends them a new SCEP
 * payload, by a fresh self-signed key: then the challenge, which went through the device's
 * authenticated channel, is the proof. */
static apr_status_t may_renew(mdm_db_t *db, const ask_t *ask, const mdm_challenge_t *ch)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_certificate_renewable_t *record;
    mdm_q_certificate_find_t *cert;
    apr_status_t rv = mdm_q_certificate_renewable(db, ch->record_id, &record);

    if (rv == APR_NOTFOUND) {
        return mdm_fail(ctx, MDM_EDENIED, NULL,
                        "the device is not in management or has no identity in use");
    }
    if (rv != APR_SUCCESS || !ask->signer) {
        return rv;
    }
    rv = mdm_q_certificate_find(db, ask->signer, &cert);
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        return rv;
    }
    if (rv == APR_NOTFOUND || !cert->record_id || strcmp(cert->record_id, ch->record_id) != 0 ||
        strcmp(cert->status, "active") != 0 || cert->not_after <= mdm_now_ms(ctx)) {
        return mdm_fail(ctx, MDM_EDENIED, NULL,
                        "the renewal is not signed by the device's identity in use");
    }
    return APR_SUCCESS;
}

static apr_status_t may_issue(mdm_db_t *db, const ask_t *ask, const mdm_challenge_t *ch)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);

    if (ch->record_id) {
        return may_renew(db, ask, ch);
    }
    if (!ch->pending_id) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "the challenge belongs to nothing");
    }
    if (ask->signer || ask->req->type != MDM_SCEP_PKCSREQ) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "a renewal needs a challenge for renewal");
    }
    return APR_SUCCESS;
}

/* The same request once more: its answer was lost. */
static apr_status_t issued_before(mdm_db_t *db, const char *fingerprint, mdm_cert_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_certificate_find_t *row;
    mdm_blob_t der;
    apr_status_t rv = mdm_q_certificate_find(db, fingerprint, &row);

    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && strcmp(row->status, "revoked") == 0)) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "what was issued for this request is revoked");
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (mdm_unb64(ctx->pool, row->der, strlen(row->der), &der) != APR_SUCCESS ||
        mdm_cert_from_der(ctx, der.data, der.len, out) != APR_SUCCESS) {
        mdm_log(ctx, MDM_LOG_ERR, "MDM0452", 0, "the stored certificate %s is damaged",
                mdm_mask(ctx->pool, fingerprint));
        return MDM_EUNAVAIL;
    }
    return APR_SUCCESS;
}

static apr_status_t issue_new(mdm_db_t *db, const mdm_ca_t *ca, const ask_t *ask,
                              const mdm_challenge_t *ch, mdm_cert_t **out)
{
    mdm_certinfo_t info = {0};
    /* One that signs a second answer belongs to no enrolment: management does not know it. */
    const char *pending = strcmp(ch->purpose, MDM_CHALLENGE_REPORT) ? ch->pending_id : NULL;
    apr_status_t rv = mdm_ca_issue_identity(db, ca, ask->req->csr, ch->subject, pending, ch->record_id, out);

    if (rv == APR_SUCCESS) {
        rv = mdm_cert_info(mdm_db_ctx(db), *out, &info);
    }
    /* This notes the step "issued" on the pending enrolment, too. */
    return rv == APR_SUCCESS ? mdm_challenge_issued(db, ch->hash, info.fingerprint) : rv;
}

static apr_status_t in_transaction(mdm_db_t *db, const mdm_ca_t *ca, const ask_t *ask,
                                   mdm_cert_t **out)
{
    mdm_challenge_t *ch = NULL;
    apr_status_t rv =
        mdm_challenge_take(db, ask->req->challenge, ask->csr_hash, ask->req->transaction_id, &ch);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (ch->fingerprint) {
        return issued_before(db, ch->fingerprint, out);
    }
    rv = may_issue(db, ask, ch);
    return rv == APR_SUCCESS ? issue_new(db, ca, ask, ch, out) : rv;
}

static apr_status_t decide(mdm_ctx_t *ctx, const mdm_ca_t *ca, const ask_t *ask, mdm_cert_t **out)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS) {
        rv = in_transaction(db, ca, ask, out);
    }
    rv = mdm_db_end(db, rv); /* a refused request leaves the challenge to its owner */
    mdm_db_close(db);
    return rv;
}

/* ------------------------------------------------------------------ before and after */

static apr_status_t look(mdm_ctx_t *ctx, const mdm_ca_t *ca, const mdm_scep_req_t *req, ask_t *ask)
{
    mdm_certinfo_t info;
    apr_status_t rv;

    if (req->type != MDM_SCEP_PKCSREQ && req->type != MDM_SCEP_RENEWAL) {
        return mdm_fail(ctx, MDM_EINPUT, NULL, "this SCEP operation is not offered");
    }
    rv = mdm_csr_check(ctx, req->csr);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!req->challenge || strlen(req->challenge) > MAX_CHALLENGE) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "the request has no challenge");
    }
    ask->csr_hash = mdm_sha256_hex(ctx->pool, req->csr_der.data, req->csr_der.len);
    if (mdm_cert_signed_by(req->signer, ca->ca)) {
        rv = mdm_cert_info(ctx, req->signer, &info);
        ask->signer = info.fingerprint;
    } else if (req->type == MDM_SCEP_RENEWAL) {
        rv = mdm_fail(ctx, MDM_EDENIED, NULL, "the renewal is not signed by an identity of ours");
    }
    return rv;
}

static apr_status_t refuse(mdm_ctx_t *ctx, const mdm_ca_t *ca, const mdm_scep_req_t *req,
                           mdm_scep_fail_e why, mdm_blob_t *out)
{
    mdm_log(ctx, MDM_LOG_INFO, "MDM0451", 0, "SCEP request refused with failInfo %d: %s", (int)why,
            ctx->fail_text);
    return mdm_scep_failure(ctx, req, why, ca->ra, ca->ra_key, out);
}

apr_status_t mdm_scep_pkioperation(mdm_ctx_t *ctx, const mdm_ca_t *ca, const mdm_blob_t *der,
                                   int legacy_ok, mdm_blob_t *out)
{
    mdm_scep_req_t *req = NULL;
    mdm_cert_t *issued = NULL;
    ask_t ask = {NULL, NULL, NULL};
    apr_status_t rv = mdm_scep_open(ctx, der, ca->ra, ca->ra_key, legacy_ok, &req);

    if (rv != APR_SUCCESS) {
        if (req && is_refusal(rv)) {
            return refuse(ctx, ca, req,
                          rv == MDM_EDENIED ? MDM_SCEP_BADALG : MDM_SCEP_BADMESSAGECHECK, out);
        }
        mdm_log(ctx, MDM_LOG_INFO, "MDM0450", 0, "not a SCEP message: %s",
                ctx->fail_text ? ctx->fail_text : "");
        return rv;
    }
    ask.req = req;
    rv = look(ctx, ca, req, &ask);
    if (rv == APR_SUCCESS) {
        rv = decide(ctx, ca, &ask, &issued);
    }
    if (rv == APR_SUCCESS) {
        ctx->fail_field = ctx->fail_text = NULL; /* what was asked in vain on the way is no refusal */
        return mdm_scep_success(ctx, req, issued, ca->ca, ca->ra, ca->ra_key, out);
    }
    return is_refusal(rv) ? refuse(ctx, ca, req, MDM_SCEP_BADREQUEST, out) : rv;
}
