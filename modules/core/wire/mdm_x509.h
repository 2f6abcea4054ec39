/* Owns keys, requests and certificates over OpenSSL 3. Each function leaves OpenSSL's error queue
 * as it found it. */
#ifndef MDM_X509_H
#define MDM_X509_H

#include <apr_tables.h>
#include "base/mdm_text.h"

typedef struct mdm_key_t mdm_key_t;   /* private key, freed with its pool */
typedef struct mdm_cert_t mdm_cert_t; /* certificate, freed with its pool */
typedef struct mdm_csr_t mdm_csr_t;   /* PKCS#10 request, freed with its pool */

typedef enum { MDM_KEY_RSA2048, MDM_KEY_RSA3072, MDM_KEY_P256 } mdm_keytype_e;

apr_status_t mdm_key_generate(mdm_ctx_t *ctx, mdm_keytype_e type, mdm_key_t **out);
apr_status_t mdm_key_from_pem(mdm_ctx_t *ctx, const char *pem, const char *password /* or NULL */,
                              mdm_key_t **out);
char *mdm_key_pem(apr_pool_t *p, const mdm_key_t *key); /* PKCS#8, in clear: seal before storing */
int mdm_key_is_rsa(const mdm_key_t *key);

apr_status_t mdm_cert_from_der(mdm_ctx_t *ctx, const void *der, apr_size_t len, mdm_cert_t **out);
apr_status_t mdm_cert_from_pem(mdm_ctx_t *ctx, const char *pem, mdm_cert_t **out);
/* All certificates of a PEM file's text, in order. */
apr_status_t mdm_certs_from_pem(mdm_ctx_t *ctx, const char *pem,
                                apr_array_header_t **out /* of mdm_cert_t * */);
char *mdm_cert_pem(apr_pool_t *p, const mdm_cert_t *cert);
mdm_blob_t mdm_cert_der(const mdm_cert_t *cert); /* lives with the certificate */
/* DER of the first certificate in PEM text without decoding it (fast path for fingerprints). */
apr_status_t mdm_pem_der(apr_pool_t *p, const char *pem, mdm_blob_t *out);

typedef struct mdm_certinfo_t {
    const char *subject, *issuer; /* RFC 2253 text */
    const char *cn, *uid; /* first CN and UID (0.9.2342.19200300.100.1.1) of the subject, or NULL */
    const char *serial;   /* hex */
    const char *fingerprint; /* SHA-256 of the DER, 64 hex */
    apr_int64_t not_before_ms, not_after_ms;
    const char *key_text; /* "RSA 2048", "EC P-256" */
    int is_ca;
} mdm_certinfo_t;
apr_status_t mdm_cert_info(mdm_ctx_t *ctx, const mdm_cert_t *cert, mdm_certinfo_t *out);
int mdm_cert_fits_key(const mdm_cert_t *cert, const mdm_key_t *key);
/* True if issuer's key signed cert and names fit. Validity times are not judged. */
int mdm_cert_signed_by(const mdm_cert_t *cert, const mdm_cert_t *issuer);

apr_status_t mdm_csr_from_der(mdm_ctx_t *ctx, const void *der, apr_size_t len, mdm_csr_t **out);
/* Checks the request's own signature and its key: RSA 2048..4096 with an odd public exponent >
 * 2^16, or P-256/P-384 (R14). */
apr_status_t mdm_csr_check(mdm_ctx_t *ctx, const mdm_csr_t *csr);
/* The challengePassword attribute (1.2.840.113549.1.9.7) or NULL. */
const char *mdm_csr_challenge(apr_pool_t *p, const mdm_csr_t *csr);

typedef enum {
    MDM_CERT_CA,       /* self-signed root: CA:TRUE pathlen 0, keyCertSign cRLSign */
    MDM_CERT_RA,       /* SCEP registration authority: digitalSignature keyEncipherment */
    MDM_CERT_IDENTITY, /* device identity: digitalSignature keyEncipherment, EKU clientAuth */
    MDM_CERT_TLS,      /* server: EKU serverAuth, SAN from sans */
    MDM_CERT_SIGNER    /* profile signer: digitalSignature, EKU emailProtection codeSigning */
} mdm_certprofile_e;

typedef struct mdm_issue_t {
    mdm_certprofile_e profile;
    const char *const
        *subject; /* "CN", "x", "O", "y", …, NULL: set by the server, never taken from a request */
    const mdm_key_t *key; /* public half to certify; or: */
    const mdm_csr_t *csr; /* take its public key only */
    apr_int64_t not_before_ms, not_after_ms;
    const char *const *sans; /* "DNS:…", "IP:…", NULL-terminated; may be NULL */
    const char *crl_url;     /* CRL distribution point; may be NULL */
} mdm_issue_t;
/* Issues with a random 128-bit serial, SHA-256. issuer NULL: self-signed with `signer`. */
apr_status_t mdm_cert_issue(mdm_ctx_t *ctx, const mdm_issue_t *what, const mdm_cert_t *issuer,
                            const mdm_key_t *signer, mdm_cert_t **out);

/* A CRL (RFC 5280) with the given revoked serials. */
typedef struct mdm_revoked_t {
    const char *serial; /* hex */
    apr_int64_t at_ms;
    int reason; /* CRLReason */
} mdm_revoked_t;
apr_status_t mdm_crl_make(mdm_ctx_t *ctx, const mdm_cert_t *ca, const mdm_key_t *key,
                          const mdm_revoked_t *list, int n, apr_int64_t number, apr_int64_t this_ms,
                          apr_int64_t next_ms, mdm_blob_t *der);

#endif
