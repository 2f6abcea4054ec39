/* Owns CMS (RFC 5652): signing profiles, verifying Mdm-Signature and enrolment posts, enveloping.
 */
#ifndef MDM_CMS_H
#define MDM_CMS_H

#include "wire/mdm_x509.h"

/* DER SignedData with the content attached (profiles); chain: extra certificates to include (of
 * mdm_cert_t *), may be NULL. */
apr_status_t mdm_cms_sign(mdm_ctx_t *ctx, const mdm_blob_t *content, const mdm_cert_t *cert,
                          const mdm_key_t *key, const apr_array_header_t *chain, mdm_blob_t *out);

/* Verifies the signature only (not the chain) of an attached (body == NULL) or detached SignedData
 * with exactly one signer whose certificate is inside (at most 10 certificates, 64 KB). Out:
 * signer's certificate, and the content if attached. SHA-1 digests are accepted only if weak_ok.
 * MDM_EINPUT: not CMS; MDM_EIDENTITY: signature does not fit. */
apr_status_t mdm_cms_verify(mdm_ctx_t *ctx, const mdm_blob_t *der, const mdm_blob_t *body,
                            int weak_ok, mdm_cert_t **signer, mdm_blob_t *content);

/* Mdm-Signature header value (base64 CMS, detached over body) to the signer's certificate. */
apr_status_t mdm_cms_mdm_signature(mdm_ctx_t *ctx, const char *header, const mdm_blob_t *body,
                                   mdm_cert_t **signer);

/* EnvelopedData for one recipient with AES-128-CBC, AES-256-CBC or (legacy) 3DES; and its inverse.
 * cipher: "aes128", "aes256", "des3". */
apr_status_t mdm_cms_encrypt(mdm_ctx_t *ctx, const mdm_blob_t *content, const mdm_cert_t *to,
                             const char *cipher, mdm_blob_t *out);
apr_status_t mdm_cms_decrypt(mdm_ctx_t *ctx, const mdm_blob_t *der, const mdm_cert_t *cert,
                             const mdm_key_t *key, mdm_blob_t *out);

#endif
