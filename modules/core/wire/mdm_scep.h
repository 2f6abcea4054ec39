/* Owns the SCEP message codec (RFC 8894) for a server and for test clients; no policy, no database.
 */
#ifndef MDM_SCEP_H
#define MDM_SCEP_H

#include "wire/mdm_cms.h"

typedef enum {
    MDM_SCEP_CERTREP = 3,
    MDM_SCEP_RENEWAL = 17,
    MDM_SCEP_PKCSREQ = 19,
    MDM_SCEP_GETCERTINITIAL = 20,
    MDM_SCEP_GETCERT = 21,
    MDM_SCEP_GETCRL = 22
} mdm_scep_type_e;
typedef enum {
    MDM_SCEP_BADALG = 0,
    MDM_SCEP_BADMESSAGECHECK = 1,
    MDM_SCEP_BADREQUEST = 2,
    MDM_SCEP_BADTIME = 3,
    MDM_SCEP_BADCERTID = 4
} mdm_scep_fail_e;

/* A decoded pkiMessage from a client. */
typedef struct mdm_scep_req_t {
    mdm_scep_type_e type;
    const char *transaction_id; /* printable, at most 255 bytes */
    mdm_blob_t sender_nonce;    /* 16 bytes usually */
    mdm_cert_t *signer;         /* self-signed for a first request, the old identity for renewal */
    mdm_csr_t *csr;             /* PKCSReq, RenewalReq */
    mdm_blob_t csr_der;
    const char *challenge; /* challengePassword or NULL: a secret */
    const char *cipher;    /* content cipher, which the answer uses as well: "aes128", "aes192",
                              "aes256", "des3", "des" */
    int weak;              /* 3DES, DES or SHA-1 was used */
} mdm_scep_req_t;

/* Opens a pkiMessage with the RA (or RSA CA) certificate and key. MDM_EINPUT: not a SCEP message;
 * MDM_EIDENTITY: the signature does not fit, or the envelope can't be opened. MDM_EDENIED: 3DES, DES
 * or SHA-1 without legacy_ok, or DES without OpenSSL's legacy provider. *out is NULL unless the outer
 * message was read: then also a refusal can be answered. */
apr_status_t mdm_scep_open(mdm_ctx_t *ctx, const mdm_blob_t *der, const mdm_cert_t *ra,
                           const mdm_key_t *ra_key, int legacy_ok, mdm_scep_req_t **out);

/* CertRep with the issued certificate, encrypted to the request's signer; or with a failure. */
apr_status_t mdm_scep_success(mdm_ctx_t *ctx, const mdm_scep_req_t *req, const mdm_cert_t *issued,
                              const mdm_cert_t *ca, const mdm_cert_t *ra, const mdm_key_t *ra_key,
                              mdm_blob_t *out);
apr_status_t mdm_scep_failure(mdm_ctx_t *ctx, const mdm_scep_req_t *req, mdm_scep_fail_e why,
                              const mdm_cert_t *ra, const mdm_key_t *ra_key, mdm_blob_t *out);

/* GetCACert answer: the CA alone as DER (ra == NULL or same), else degenerate SignedData with RA
 * and CA; *type is the MIME type. */
apr_status_t mdm_scep_cacert(mdm_ctx_t *ctx, const mdm_cert_t *ca, const mdm_cert_t *ra,
                             mdm_blob_t *out, const char **type);
/* GetCACaps text. */
const char *mdm_scep_caps(int legacy_ok);

#endif
