/* Owns the built-in certification authority of the zone: made once, sealed in the database, used by
 * SCEP and profile signing. */
#ifndef MDM_CA_H
#define MDM_CA_H

#include "db/mdm_db.h"
#include "wire/mdm_x509.h"

typedef struct mdm_ca_t {
    mdm_cert_t *ca, *ra, *signer; /* the RA is an RSA one whatever the CA's key is */
    mdm_key_t *ca_key, *ra_key, *signer_key;
    const char *crl_url; /* where issued identities say that the revocation list is; NULL: nowhere. Set by who serves it */
} mdm_ca_t;

/* Makes CA (P-256 or RSA), RSA RA and profile signer if the zone has none; two nodes at once end
 * with one. */
apr_status_t mdm_ca_ensure(mdm_ctx_t *ctx, const char *organisation, mdm_keytype_e type);
/* Loads and opens all three into p (callers cache it per child). APR_NOTFOUND if there is none. */
apr_status_t mdm_ca_load(mdm_db_t *db, apr_pool_t *p, mdm_ca_t **out);

#define MDM_IDENTITY_LIFE_MS (5LL * 365 * 86400 * 1000)
/* How long the identity that a renewed one replaced is still accepted: connections that are open, messages that are said again. */
#define MDM_IDENTITY_GRACE_MS (86400LL * 1000)
/* Kind of the change rows that say: read the authority again. */
#define MDM_CA_CHANGE "ca"
/* Kind of the change rows that name a certificate that was revoked or replaced. */
#define MDM_CERT_CHANGE "cert"

/* Issues a device identity for a checked request (5 years; a day if it is for neither an enrolment nor a record) and writes its certificate row (status
 * "issued"; slot "next" if it renews the identity of record_id: an earlier one that was never used is revoked then, and the
 * record's device announced); renewal is due at half life; subject CN from the challenge. */
apr_status_t mdm_ca_issue_identity(mdm_db_t *db, const mdm_ca_t *ca, const mdm_csr_t *csr,
                                   const char *cn, const char *pending_id, const char *record_id,
                                   mdm_cert_t **out);
/* Marks revoked and announces the change ("cert" fingerprint, and "device" if it was bound). Again
 * is no failure. */
apr_status_t mdm_ca_revoke(mdm_db_t *db, const char *fingerprint, const char *reason);
/* Revokes all identities of a source record but one certificate (keep) and those of one enrolment (keep_pending); "" = none. */
apr_status_t mdm_ca_revoke_record(mdm_db_t *db, const char *record_id, const char *keep, const char *keep_pending,
                                  const char *reason);
/* The revocation list of now with reasons, DER, good for a week (IOS-06). *tag: hex, the same for whoever makes it of the same entries on the
 * same day. Opens its own connection. */
apr_status_t mdm_ca_crl(mdm_ctx_t *ctx, const mdm_ca_t *ca, mdm_blob_t *der, const char **tag);

#endif
