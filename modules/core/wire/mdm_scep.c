/* SCEP (RFC 8894) messages: a signed CMS message around an enveloped one, with the transaction in
 * signed attributes. */
#include "wire/mdm_scep.h"
#include "wire/mdm_pki_int.h"
#include <apr_strings.h>
#include <openssl/pkcs7.h>
#include <string.h>

#define OID_MESSAGE_TYPE "2.16.840.1.113733.1.9.2"
#define OID_PKI_STATUS "2.16.840.1.113733.1.9.3"
#define OID_FAIL_INFO "2.16.840.1.113733.1.9.4"
#define OID_SENDER_NONCE "2.16.840.1.113733.1.9.5"
#define OID_RECIPIENT_NONCE "2.16.840.1.113733.1.9.6"
#define OID_TRANSACTION "2.16.840.1.113733.1.9.7"
#define MAX_TEXT 255
#define MAX_NONCE 64

/* ------------------------------------------------------------------ attributes */

/* The only value of an attribute that stands exactly once; NULL otherwise. */
static const ASN1_STRING *attr_get(CMS_SignerInfo *info, const char *oid, int type)
{
    ASN1_OBJECT *obj = OBJ_txt2obj(oid, 1);
    const ASN1_STRING *value = obj ? CMS_signed_get0_data_by_OBJ(info, obj, -3, type) : NULL;

    ASN1_OBJECT_free(obj);
    return value;
}

static const char *attr_text(apr_pool_t *p, CMS_SignerInfo *info, const char *oid)
{
    const ASN1_STRING *s = attr_get(info, oid, V_ASN1_PRINTABLESTRING);
    const unsigned char *data;
    int i, len;

    s = s ? s : attr_get(info, oid, V_ASN1_UTF8STRING);
    s = s ? s : attr_get(info, oid, V_ASN1_IA5STRING);
    len = s ? ASN1_STRING_length(s) : 0;
    if (len < 1 || len > MAX_TEXT) {
        return NULL;
    }
    data = ASN1_STRING_get0_data(s);
    for (i = 0; i < len; i++) {
        if (data[i] < 0x20 || data[i] > 0x7e) {
            return NULL;
        }
    }
    return apr_pstrmemdup(p, (const char *)data, (apr_size_t)len);
}

static int attr_add(CMS_SignerInfo *info, const char *oid, int type, const void *data,
                    apr_size_t len)
{
    return CMS_signed_add1_attr_by_txt(info, oid, type, data, (int)len);
}

static int attr_add_number(CMS_SignerInfo *info, const char *oid, int number)
{
    char text[16];

    apr_snprintf(text, sizeof(text), "%d", number);
    return attr_add(info, oid, V_ASN1_PRINTABLESTRING, text, strlen(text));
}

/* ------------------------------------------------------------------ requests */

static apr_status_t read_attributes(mdm_ctx_t *ctx, CMS_ContentInfo *cms, mdm_scep_req_t *req)
{
    CMS_SignerInfo *info = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
    const char *type = attr_text(ctx->pool, info, OID_MESSAGE_TYPE);
    const ASN1_STRING *nonce = attr_get(info, OID_SENDER_NONCE, V_ASN1_OCTET_STRING);
    apr_int64_t number;

    req->transaction_id = attr_text(ctx->pool, info, OID_TRANSACTION);
    if (!type || mdm_parse_i64(type, 0, 99, &number) != APR_SUCCESS || !req->transaction_id) {
        return mdm_fail(ctx, MDM_EINPUT, NULL, "the message has no type or no transaction");
    }
    req->type = (mdm_scep_type_e)number;
    if (!nonce || ASN1_STRING_length(nonce) < 1 || ASN1_STRING_length(nonce) > MAX_NONCE) {
        return mdm_fail(ctx, MDM_EINPUT, NULL, "the message has no nonce");
    }
    req->sender_nonce.len = (apr_size_t)ASN1_STRING_length(nonce);
    req->sender_nonce.data = (unsigned char *)apr_pstrmemdup(
        ctx->pool, (const char *)ASN1_STRING_get0_data(nonce), req->sender_nonce.len);
    return APR_SUCCESS;
}

static int des_is_there(void)
{
    EVP_CIPHER *des;

    ERR_set_mark();
    des = EVP_CIPHER_fetch(NULL, "DES-CBC", NULL);
    EVP_CIPHER_free(des);
    ERR_pop_to_mark();
    return des != NULL;
}

/* All that can go wrong inside the envelope looks alike to the sender: bad padding of the key, of
 * the content, garbage (RFC 3218). */
static apr_status_t read_envelope(mdm_ctx_t *ctx, const mdm_blob_t *envelope, const mdm_cert_t *ra,
                                  const mdm_key_t *ra_key, mdm_scep_req_t *req)
{
    apr_status_t rv = mdm_cms_decrypt(ctx, envelope, ra, ra_key, &req->csr_der);

    if (rv == APR_SUCCESS) {
        rv = mdm_csr_from_der(ctx, req->csr_der.data, req->csr_der.len, &req->csr);
    }
    if (rv != APR_SUCCESS) {
        return mdm_fail(ctx, MDM_EIDENTITY, NULL, "the message can't be opened");
    }
    req->challenge = mdm_csr_challenge(ctx->pool, req->csr);
    return APR_SUCCESS;
}

static apr_status_t judge_algorithms(mdm_ctx_t *ctx, mdm_scep_req_t *req, int legacy_ok)
{
    int des = req->cipher && !strcmp(req->cipher, "des");

    if (!req->cipher) {
        return mdm_fail(ctx, MDM_EIDENTITY, NULL, "the message can't be opened");
    }
    req->weak = req->weak || des || !strcmp(req->cipher, "des3");
    if (req->weak && !legacy_ok) {
        return mdm_fail(ctx, MDM_EDENIED, NULL,
                        "the message uses SHA-1, DES or triple DES, which is not allowed here");
    }
    if (des && !des_is_there()) {
        return mdm_fail(ctx, MDM_EDENIED, NULL,
                        "the message uses DES, which needs OpenSSL's legacy provider");
    }
    return APR_SUCCESS;
}

apr_status_t mdm_scep_open(mdm_ctx_t *ctx, const mdm_blob_t *der, const mdm_cert_t *ra,
                           const mdm_key_t *ra_key, int legacy_ok, mdm_scep_req_t **out)
{
    mdm_scep_req_t *req = apr_pcalloc(ctx->pool, sizeof(*req));
    mdm_blob_t envelope = {NULL, 0};
    CMS_ContentInfo *cms;
    apr_status_t rv;

    *out = NULL;
    rv = mdm_cms_open_signed(ctx, der, NULL, 1, &cms, &req->signer, &envelope, &req->weak);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    ERR_set_mark();
    rv = read_attributes(ctx, cms, req);
    ERR_pop_to_mark();
    CMS_ContentInfo_free(cms);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    *out = req;
    req->cipher = mdm_cms_cipher(&envelope);
    rv = judge_algorithms(ctx, req, legacy_ok);
    if (rv == APR_SUCCESS && (req->type == MDM_SCEP_PKCSREQ || req->type == MDM_SCEP_RENEWAL)) {
        rv = read_envelope(ctx, &envelope, ra, ra_key, req);
    }
    return rv;
}

/* ------------------------------------------------------------------ answers */

/* SignedData without content and signers that only carries certificates. */
static apr_status_t certs_only(mdm_ctx_t *ctx, const mdm_cert_t *const *certs, mdm_blob_t *out)
{
    PKCS7 *p7;
    BIO *bio = NULL;
    int ok;

    ERR_set_mark();
    p7 = PKCS7_new();
    ok = p7 && PKCS7_set_type(p7, NID_pkcs7_signed) && PKCS7_content_new(p7, NID_pkcs7_data) &&
         PKCS7_set_detached(p7, 1);
    for (; ok && *certs; certs++) {
        ok = PKCS7_add_certificate(p7, (*certs)->x);
    }
    ok = ok && (bio = BIO_new(BIO_s_mem())) && i2d_PKCS7_bio(bio, p7);
    if (ok) {
        *out = mdm_pki_take(ctx->pool, bio);
    }
    PKCS7_free(p7);
    BIO_free(bio);
    ERR_pop_to_mark();
    return ok ? APR_SUCCESS
              : mdm_fail(ctx, MDM_EUNAVAIL, NULL, "the certificates could not be packed");
}

static int add_attributes(CMS_SignerInfo *info, const mdm_scep_req_t *req, int fail)
{
    unsigned char nonce[16];

    return mdm_random(nonce, sizeof(nonce)) == APR_SUCCESS &&
           attr_add_number(info, OID_MESSAGE_TYPE, MDM_SCEP_CERTREP) &&
           attr_add_number(info, OID_PKI_STATUS, fail < 0 ? 0 : 2) &&
           (fail < 0 || attr_add_number(info, OID_FAIL_INFO, fail)) &&
           attr_add(info, OID_TRANSACTION, V_ASN1_PRINTABLESTRING, req->transaction_id,
                    strlen(req->transaction_id)) &&
           attr_add(info, OID_SENDER_NONCE, V_ASN1_OCTET_STRING, nonce, sizeof(nonce)) &&
           attr_add(info, OID_RECIPIENT_NONCE, V_ASN1_OCTET_STRING, req->sender_nonce.data,
                    req->sender_nonce.len);
}

/* fail < 0: success with envelope; else a failure, which has no content (RFC 8894, 3.3.2.2). */
static apr_status_t cert_rep(mdm_ctx_t *ctx, const mdm_scep_req_t *req, int fail,
                             const mdm_blob_t *envelope, const mdm_cert_t *ca, const mdm_cert_t *ra,
                             const mdm_key_t *ra_key, mdm_blob_t *out)
{
    unsigned flags = CMS_BINARY | CMS_PARTIAL | CMS_NOSMIMECAP | (envelope ? 0 : CMS_DETACHED);
    CMS_SignerInfo *info = NULL;
    CMS_ContentInfo *cms;
    BIO *in, *bio = NULL;
    int ok;

    ERR_set_mark();
    in = BIO_new_mem_buf(envelope ? (const void *)envelope->data : "",
                         envelope ? (int)envelope->len : 0);
    cms = in ? CMS_sign(NULL, NULL, NULL, in, flags) : NULL;
    ok = cms && (info = CMS_add1_signer(cms, ra->x, ra_key->pkey, EVP_sha256(), flags)) &&
         add_attributes(info, req, fail) && (!ca || CMS_add1_cert(cms, ca->x)) &&
         CMS_final(cms, in, NULL, flags) && (bio = BIO_new(BIO_s_mem())) && i2d_CMS_bio(bio, cms);
    if (ok) {
        *out = mdm_pki_take(ctx->pool, bio);
    }
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    BIO_free(bio);
    ERR_pop_to_mark();
    return ok ? APR_SUCCESS : mdm_fail(ctx, MDM_EUNAVAIL, NULL, "the answer could not be signed");
}

apr_status_t mdm_scep_success(mdm_ctx_t *ctx, const mdm_scep_req_t *req, const mdm_cert_t *issued,
                              const mdm_cert_t *ca, const mdm_cert_t *ra, const mdm_key_t *ra_key,
                              mdm_blob_t *out)
{
    /* Only the issued one: clients take the first certificate, and a SET OF has no first. */
    const mdm_cert_t *const certs[] = {issued, NULL};
    mdm_blob_t inner, envelope;
    apr_status_t rv = certs_only(ctx, certs, &inner);

    if (rv == APR_SUCCESS) {
        rv = mdm_cms_encrypt(ctx, &inner, req->signer, req->cipher, &envelope);
    }
    if (rv == APR_SUCCESS) {
        rv = cert_rep(ctx, req, -1, &envelope, ca == ra ? NULL : ca, ra, ra_key, out);
    }
    return rv;
}

apr_status_t mdm_scep_failure(mdm_ctx_t *ctx, const mdm_scep_req_t *req, mdm_scep_fail_e why,
                              const mdm_cert_t *ra, const mdm_key_t *ra_key, mdm_blob_t *out)
{
    return cert_rep(ctx, req, (int)why, NULL, NULL, ra, ra_key, out);
}

apr_status_t mdm_scep_cacert(mdm_ctx_t *ctx, const mdm_cert_t *ca, const mdm_cert_t *ra,
                             mdm_blob_t *out, const char **type)
{
    const mdm_cert_t *const certs[] = {ra, ca, NULL};

    if (!ra || ra == ca) {
        *out = ca->der;
        *type = "application/x-x509-ca-cert";
        return APR_SUCCESS;
    }
    *type = "application/x-x509-ca-ra-cert";
    return certs_only(ctx, certs, out);
}

const char *mdm_scep_caps(int legacy_ok)
{
    return legacy_ok ? "Renewal\nSHA-1\nSHA-256\nAES\nDES3\nSCEPStandard\nPOSTPKIOperation\n"
                     : "Renewal\nSHA-256\nAES\nSCEPStandard\nPOSTPKIOperation\n";
}
