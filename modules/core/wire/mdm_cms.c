/* CMS over OpenSSL. What comes from outside is bounded before anything costly is done with it. */
#include "wire/mdm_pki_int.h"
#include <openssl/pkcs7.h>
#include <string.h>

#define MAX_CMS (64 * 1024)
#define MAX_CERTS 10
#define MAX_HEADER (24 * 1024)

/* ------------------------------------------------------------------ signing */

static STACK_OF(X509) * cert_stack(const apr_array_header_t *chain)
{
    STACK_OF(X509) *certs = sk_X509_new_null();
    int i;

    for (i = 0; certs && chain && i < chain->nelts; i++) {
        if (sk_X509_push(certs, APR_ARRAY_IDX(chain, i, mdm_cert_t *)->x) <= 0) {
            sk_X509_free(certs);
            return NULL;
        }
    }
    return certs;
}

apr_status_t mdm_cms_sign(mdm_ctx_t *ctx, const mdm_blob_t *content, const mdm_cert_t *cert,
                          const mdm_key_t *key, const apr_array_header_t *chain, mdm_blob_t *out)
{
    STACK_OF(X509) * certs;
    CMS_ContentInfo *cms = NULL;
    BIO *in, *bio = NULL;
    int ok = 0;

    ERR_set_mark();
    certs = cert_stack(chain);
    in = BIO_new_mem_buf(content->data, (int)content->len);
    if (certs && in) {
        cms = CMS_sign(cert->x, key->pkey, certs, in, CMS_BINARY | CMS_NOSMIMECAP);
    }
    ok = cms && (bio = BIO_new(BIO_s_mem())) && i2d_CMS_bio(bio, cms);
    if (ok) {
        *out = mdm_pki_take(ctx->pool, bio);
    }
    sk_X509_free(certs);
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    BIO_free(bio);
    ERR_pop_to_mark();
    return ok ? APR_SUCCESS : mdm_fail(ctx, MDM_EUNAVAIL, NULL, "the content could not be signed");
}

/* ------------------------------------------------------------------ verifying */

/* Parses exactly one ContentInfo of the given type. */
static CMS_ContentInfo *parse_cms(const mdm_blob_t *der, int type)
{
    const unsigned char *at = der->data;
    CMS_ContentInfo *cms = NULL;

    if (der->len > 0 && der->len <= MAX_CMS) {
        cms = d2i_CMS_ContentInfo(NULL, &at, (long)der->len);
    }
    if (cms && (at != der->data + der->len || OBJ_obj2nid(CMS_get0_type(cms)) != type)) {
        CMS_ContentInfo_free(cms);
        cms = NULL;
    }
    return cms;
}

/* One signer whose certificate is inside, digest and key we accept. NULL, and no verdict on the
 * signature, otherwise. */
static X509 *one_signer(CMS_ContentInfo *cms, int *weak)
{
    STACK_OF(CMS_SignerInfo) *infos = CMS_get0_SignerInfos(cms);
    STACK_OF(X509) *certs = CMS_get1_certs(cms);
    X509_ALGOR *digest = NULL;
    EVP_PKEY *pkey = NULL;
    X509 *signer = NULL;
    int n = sk_X509_num(certs), nid;

    sk_X509_pop_free(certs, X509_free);
    if (sk_CMS_SignerInfo_num(infos) != 1 || n < 1 || n > MAX_CERTS) {
        return NULL;
    }
    CMS_set1_signers_certs(cms, NULL, 0);
    CMS_SignerInfo_get0_algs(sk_CMS_SignerInfo_value(infos, 0), &pkey, &signer, &digest, NULL);
    if (!signer || !pkey || !digest || mdm_pki_key_fault(pkey, 1024)) {
        return NULL;
    }
    nid = OBJ_obj2nid(digest->algorithm);
    *weak = nid == NID_sha1;
    return nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512 || nid == NID_sha1 ? signer
                                                                                          : NULL;
}

static int signature_fits(CMS_ContentInfo *cms, const mdm_blob_t *body, BIO *out)
{
    unsigned flags = CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY;
    BIO *in = NULL;
    int ok;

    if (body) {
        in = BIO_new_mem_buf(body->data ? (const void *)body->data : "", (int)body->len);
        if (!in) {
            return 0;
        }
    }
    ok = CMS_verify(cms, NULL, NULL, in, out, flags) == 1;
    BIO_free(in);
    return ok;
}

static apr_status_t verify_parsed(mdm_ctx_t *ctx, CMS_ContentInfo *cms, const mdm_blob_t *body,
                                  int weak_ok, mdm_cert_t **signer, mdm_blob_t *content, int *weak)
{
    ASN1_OCTET_STRING **inside = CMS_get0_content(cms);
    int attached = inside && *inside;
    BIO *out = NULL;
    X509 *x;

    if (attached != (body == NULL)) {
        return mdm_fail(ctx, MDM_EINPUT, NULL,
                        attached ? "the signature must be detached"
                                 : "the signed content is missing");
    }
    x = one_signer(cms, weak);
    if (!x || (*weak && !weak_ok)) {
        return mdm_fail(ctx, MDM_EIDENTITY, NULL,
                        "the signature has no signer, key or digest that is accepted");
    }
    if (attached && !(out = BIO_new(BIO_s_mem()))) {
        return APR_ENOMEM;
    }
    if (!signature_fits(cms, body, out)) {
        BIO_free(out);
        return mdm_fail(ctx, MDM_EIDENTITY, NULL, "the signature does not fit");
    }
    if (content && out) {
        *content = mdm_pki_take(ctx->pool, out);
    }
    BIO_free(out);
    X509_up_ref(x);
    *signer = mdm_pki_cert(ctx->pool, x);
    return *signer ? APR_SUCCESS
                   : mdm_fail(ctx, MDM_EIDENTITY, NULL, "the signer's certificate is damaged");
}

apr_status_t mdm_cms_open_signed(mdm_ctx_t *ctx, const mdm_blob_t *der, const mdm_blob_t *body,
                                 int weak_ok, CMS_ContentInfo **cms, mdm_cert_t **signer,
                                 mdm_blob_t *content, int *weak)
{
    apr_status_t rv;

    *weak = 0;
    ERR_set_mark();
    *cms = parse_cms(der, NID_pkcs7_signed);
    if (*cms) {
        rv = verify_parsed(ctx, *cms, body, weak_ok, signer, content, weak);
    } else {
        rv = mdm_fail(ctx, MDM_EINPUT, NULL, "this is not a signed CMS message");
    }
    if (rv != APR_SUCCESS) {
        CMS_ContentInfo_free(*cms);
        *cms = NULL;
    }
    ERR_pop_to_mark();
    return rv;
}

apr_status_t mdm_cms_verify(mdm_ctx_t *ctx, const mdm_blob_t *der, const mdm_blob_t *body,
                            int weak_ok, mdm_cert_t **signer, mdm_blob_t *content)
{
    CMS_ContentInfo *cms;
    int weak;
    apr_status_t rv = mdm_cms_open_signed(ctx, der, body, weak_ok, &cms, signer, content, &weak);

    CMS_ContentInfo_free(cms);
    return rv;
}

apr_status_t mdm_cms_mdm_signature(mdm_ctx_t *ctx, const char *header, const mdm_blob_t *body,
                                   mdm_cert_t **signer)
{
    apr_size_t len = strlen(header);
    mdm_blob_t der;

    if (len == 0 || len > MAX_HEADER || mdm_unb64(ctx->pool, header, len, &der) != APR_SUCCESS) {
        return mdm_fail(ctx, MDM_EINPUT, "Mdm-Signature", "the signature header is not base64");
    }
    /* SHA-1 is accepted: old systems sign with it, and forging needs a second preimage, not a
     * collision. */
    return mdm_cms_verify(ctx, &der, body, 1, signer, NULL);
}

/* ------------------------------------------------------------------ enveloping */

static const struct cipher_t {
    const char *name;
    int nid;
    const char *fetch;
} ciphers[] = {
    {"aes128", NID_aes_128_cbc, "AES-128-CBC"},
    {"aes192", NID_aes_192_cbc, "AES-192-CBC"},
    {"aes256", NID_aes_256_cbc, "AES-256-CBC"},
    {"des3", NID_des_ede3_cbc, "DES-EDE3-CBC"},
    {"des", NID_des_cbc, "DES-CBC"},
};
#define NCIPHERS (sizeof(ciphers) / sizeof(ciphers[0]))

apr_status_t mdm_cms_encrypt(mdm_ctx_t *ctx, const mdm_blob_t *content, const mdm_cert_t *to,
                             const char *cipher, mdm_blob_t *out)
{
    STACK_OF(X509) * certs;
    CMS_ContentInfo *cms = NULL;
    EVP_CIPHER *with = NULL;
    BIO *in, *bio = NULL;
    unsigned i;
    int ok;

    ERR_set_mark();
    for (i = 0; i < NCIPHERS; i++) {
        if (!strcmp(ciphers[i].name, cipher)) {
            with = EVP_CIPHER_fetch(NULL, ciphers[i].fetch, NULL);
        }
    }
    certs = sk_X509_new_null();
    in = BIO_new_mem_buf(content->data, (int)content->len);
    if (with && in && certs && sk_X509_push(certs, to->x) > 0) {
        cms = CMS_encrypt(certs, in, with, CMS_BINARY);
    }
    ok = cms && (bio = BIO_new(BIO_s_mem())) && i2d_CMS_bio(bio, cms);
    if (ok) {
        *out = mdm_pki_take(ctx->pool, bio);
    }
    sk_X509_free(certs);
    CMS_ContentInfo_free(cms);
    EVP_CIPHER_free(with);
    BIO_free(in);
    BIO_free(bio);
    ERR_pop_to_mark();
    return ok ? APR_SUCCESS
              : mdm_fail(ctx, MDM_EINPUT, NULL,
                         "the content can't be encrypted with this cipher to this key");
}

const char *mdm_cms_cipher(const mdm_blob_t *der)
{
    const unsigned char *at = der->data;
    const char *name = NULL;
    PKCS7 *p7 = NULL;
    unsigned i;
    int nid = NID_undef;

    ERR_set_mark();
    if (der->len > 0 && der->len <= MAX_CMS) {
        p7 = d2i_PKCS7(NULL, &at, (long)der->len);
    }
    if (p7 && PKCS7_type_is_enveloped(p7) && p7->d.enveloped && p7->d.enveloped->enc_data) {
        nid = OBJ_obj2nid(p7->d.enveloped->enc_data->algorithm->algorithm);
    }
    PKCS7_free(p7);
    ERR_pop_to_mark();
    for (i = 0; i < NCIPHERS; i++) {
        if (ciphers[i].nid == nid && nid != NID_undef) {
            name = ciphers[i].name;
        }
    }
    return name;
}

/* OpenSSL goes on with a random key when the encrypted key has bad padding, so a failure here says
 * nothing about it (RFC 3218); the only sentence for all failures keeps it that way. */
apr_status_t mdm_cms_decrypt(mdm_ctx_t *ctx, const mdm_blob_t *der, const mdm_cert_t *cert,
                             const mdm_key_t *key, mdm_blob_t *out)
{
    STACK_OF(CMS_RecipientInfo) * to;
    CMS_ContentInfo *cms = NULL;
    BIO *bio = NULL;
    int ok = 0;

    ERR_set_mark();
    if (mdm_cms_cipher(der) && (cms = parse_cms(der, NID_pkcs7_enveloped))) {
        to = CMS_get0_RecipientInfos(cms);
        ok = sk_CMS_RecipientInfo_num(to) >= 1 && sk_CMS_RecipientInfo_num(to) <= MAX_CERTS &&
             (bio = BIO_new(BIO_s_mem())) &&
             CMS_decrypt(cms, key->pkey, cert->x, NULL, bio, CMS_BINARY) == 1;
    }
    if (ok) {
        *out = mdm_pki_take(ctx->pool, bio);
    }
    CMS_ContentInfo_free(cms);
    BIO_free(bio);
    ERR_pop_to_mark();
    return ok ? APR_SUCCESS : mdm_fail(ctx, MDM_EIDENTITY, NULL, "the message can't be opened");
}
