/* What the PKI codecs of wire/ share among themselves; nobody else includes it. */
#ifndef MDM_PKI_INT_H
#define MDM_PKI_INT_H

#include <openssl/bio.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include "wire/mdm_cms.h"

struct mdm_key_t {
    EVP_PKEY *pkey;
};

struct mdm_cert_t {
    X509 *x;
    mdm_blob_t der;
};

struct mdm_csr_t {
    X509_REQ *req;
};

/* Takes the reference over and frees it with the pool; NULL if the certificate has no encoding. */
mdm_cert_t *mdm_pki_cert(apr_pool_t *p, X509 *x);

/* Gives the pool what a memory BIO holds. */
mdm_blob_t mdm_pki_take(apr_pool_t *p, BIO *bio);

/* RSA of min_rsa..4096 bits with a sane exponent, or a named curve P-256 or P-384: NULL, else what
 * is wrong with it. */
const char *mdm_pki_key_fault(const EVP_PKEY *pkey, int min_rsa);

/* Verifies as mdm_cms_verify() and hands the parsed message on (caller frees). *weak: SHA-1 was
 * used. */
apr_status_t mdm_cms_open_signed(mdm_ctx_t *ctx, const mdm_blob_t *der, const mdm_blob_t *body,
                                 int weak_ok, CMS_ContentInfo **cms, mdm_cert_t **signer,
                                 mdm_blob_t *content, int *weak);

/* The content cipher of an EnvelopedData: "aes128", "aes192", "aes256", "des3", "des", or NULL. */
const char *mdm_cms_cipher(const mdm_blob_t *der);

#endif
