/* Owns the formats on the way to a push certificate (facts 5.2): PKCS#10 request, the vendor's signed file, PKCS#12. */
#ifndef MDM_PUSHREQ_H
#define MDM_PUSHREQ_H

#include "wire/mdm_x509.h"

/* A request signed with its key. subject: "CN", "x", "O", "y", …, NULL. */
apr_status_t mdm_csr_make(mdm_ctx_t *ctx, const char *const *subject, const mdm_key_t *key, mdm_blob_t *der);
char *mdm_csr_pem(apr_pool_t *p, const mdm_blob_t *der);

/* Key and certificates of a PKCS#12 file, the key's own certificate first. MDM_EINPUT says whether the password is at fault. */
apr_status_t mdm_pkcs12_open(mdm_ctx_t *ctx, const void *data, apr_size_t len, const char *password, mdm_key_t **key,
                             apr_array_header_t **certs /* of mdm_cert_t * */);

/* The vendor's signed file: the property list itself or its base64. MDM_EINPUT unless it is about this request and the first
 * certificate of its chain has signed it (SHA-256, RSA; SHA-1 is taken too, as some vendors still sign so). *file: base64 of the
 * list, what Apple's portal takes. */
apr_status_t mdm_pushreq_signed(mdm_ctx_t *ctx, const char *text, apr_size_t len, const mdm_blob_t *csr, const char **file);

#endif
