/* Reads keys, certificates and requests; mdm_x509_issue.c makes them. */
#include "wire/mdm_pki_int.h"
#include <apr_strings.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#define MAX_DER (64 * 1024)
#define MAX_PEM_CERTS 64
#define MAX_CHALLENGE 255

/* ------------------------------------------------------------------ ownership */

static apr_status_t free_pkey(void *data)
{
    EVP_PKEY_free(data);
    return APR_SUCCESS;
}

static apr_status_t free_x509(void *data)
{
    X509_free(data);
    return APR_SUCCESS;
}

static apr_status_t free_req(void *data)
{
    X509_REQ_free(data);
    return APR_SUCCESS;
}

static mdm_key_t *own_key(apr_pool_t *p, EVP_PKEY *pkey)
{
    mdm_key_t *key = apr_palloc(p, sizeof(*key));
    key->pkey = pkey;
    apr_pool_cleanup_register(p, pkey, free_pkey, apr_pool_cleanup_null);
    return key;
}

mdm_cert_t *mdm_pki_cert(apr_pool_t *p, X509 *x)
{
    mdm_cert_t *cert = apr_palloc(p, sizeof(*cert));
    unsigned char *at;
    int len;

    cert->x = x;
    apr_pool_cleanup_register(p, x, free_x509, apr_pool_cleanup_null);
    len = i2d_X509(x, NULL);
    if (len <= 0) {
        return NULL;
    }
    at = apr_palloc(p, (apr_size_t)len + 1);
    cert->der.data = at;
    cert->der.len = (apr_size_t)len;
    if (i2d_X509(x, &at) != len) {
        return NULL;
    }
    *at = 0;
    return cert;
}

mdm_blob_t mdm_pki_take(apr_pool_t *p, BIO *bio)
{
    mdm_blob_t out = {NULL, 0};
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);

    if (len >= 0) {
        out.data = (unsigned char *)apr_pstrmemdup(p, data ? data : "", (apr_size_t)len);
        out.len = (apr_size_t)len;
    }
    return out;
}

/* ------------------------------------------------------------------ keys */

apr_status_t mdm_key_generate(mdm_ctx_t *ctx, mdm_keytype_e type, mdm_key_t **out)
{
    EVP_PKEY *pkey = NULL;

    ERR_set_mark();
    switch (type) {
    case MDM_KEY_RSA2048:
        pkey = EVP_RSA_gen(2048);
        break;
    case MDM_KEY_RSA3072:
        pkey = EVP_RSA_gen(3072);
        break;
    case MDM_KEY_P256:
        pkey = EVP_EC_gen("P-256");
        break;
    }
    ERR_pop_to_mark();
    if (!pkey) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "a key could not be generated");
    }
    *out = own_key(ctx->pool, pkey);
    return APR_SUCCESS;
}

/* Never let OpenSSL ask at a terminal. */
static int give_password(char *buf, int size, int writing, void *baton)
{
    const char *password = baton;
    apr_size_t len = password ? strlen(password) : 0;

    if (!password || len > (apr_size_t)size) {
        return -1;
    }
    memcpy(buf, password, len); /* NOLINT(bugprone-not-null-terminated-result): by length */
    return (int)len;
}

apr_status_t mdm_key_from_pem(mdm_ctx_t *ctx, const char *pem, const char *password,
                              mdm_key_t **out)
{
    EVP_PKEY *pkey = NULL;
    BIO *bio = NULL;
    apr_size_t len = strlen(pem);

    ERR_set_mark();
    if (len <= MAX_DER && (bio = BIO_new_mem_buf(pem, (int)len))) {
        pkey = PEM_read_bio_PrivateKey(bio, NULL, give_password, (void *)password);
    }
    BIO_free(bio);
    ERR_pop_to_mark();
    if (!pkey) {
        return mdm_fail(ctx, MDM_EINPUT, "key",
                        "this is not a private key in PEM form, or its password is wrong");
    }
    *out = own_key(ctx->pool, pkey);
    return APR_SUCCESS;
}

char *mdm_key_pem(apr_pool_t *p, const mdm_key_t *key)
{
    BIO *bio;
    char *text = NULL, *data = NULL;
    long len;

    ERR_set_mark();
    bio = BIO_new(BIO_s_secmem());
    if (bio && PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL)) {
        len = BIO_get_mem_data(bio, &data);
        if (len > 0) {
            text = apr_pstrmemdup(p, data, (apr_size_t)len);
        }
    }
    BIO_free(bio);
    ERR_pop_to_mark();
    return text;
}

int mdm_key_is_rsa(const mdm_key_t *key)
{
    return EVP_PKEY_get_base_id(key->pkey) == EVP_PKEY_RSA;
}

static const char *rsa_fault(const EVP_PKEY *pkey, int min_bits)
{
    BIGNUM *e = NULL;
    int bits = EVP_PKEY_get_bits(pkey), ok;

    if (bits < min_bits || bits > 4096) {
        return "the RSA key has a size that is not accepted";
    }
    ok = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) && BN_is_odd(e) &&
         BN_num_bits(e) > 16 && BN_num_bits(e) <= 64;
    BN_free(e);
    return ok ? NULL : "the RSA key has an exponent that is not accepted";
}

static const char *ec_fault(const EVP_PKEY *pkey)
{
    char group[32] = "";
    int explicit_params = 0;

    if (!EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) ||
        (strcmp(group, "prime256v1") != 0 && strcmp(group, "secp384r1") != 0)) {
        return "the elliptic curve is not accepted: use P-256 or P-384";
    }
    EVP_PKEY_get_int_param(pkey, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit_params);
    return explicit_params ? "the elliptic curve must be given by name" : NULL;
}

const char *mdm_pki_key_fault(const EVP_PKEY *pkey, int min_rsa)
{
    const char *fault = "the kind of key is not accepted: use RSA or an elliptic curve";

    ERR_set_mark();
    if (pkey && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA) {
        fault = rsa_fault(pkey, min_rsa);
    } else if (pkey && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC) {
        fault = ec_fault(pkey);
    }
    ERR_pop_to_mark();
    return fault;
}

/* ------------------------------------------------------------------ certificates */

apr_status_t mdm_cert_from_der(mdm_ctx_t *ctx, const void *der, apr_size_t len, mdm_cert_t **out)
{
    const unsigned char *at = der;
    mdm_cert_t *cert = NULL;
    X509 *x = NULL;

    ERR_set_mark();
    if (len > 0 && len <= MAX_DER) {
        x = d2i_X509(NULL, &at, (long)len);
    }
    if (x) {
        cert = mdm_pki_cert(ctx->pool, x);
    }
    ERR_pop_to_mark();
    /* One encoding only: the fingerprint is the identity. */
    if (!cert || cert->der.len != len || memcmp(cert->der.data, der, len) != 0) {
        return mdm_fail(ctx, MDM_EINPUT, "certificate", "this is not a certificate in DER form");
    }
    *out = cert;
    return APR_SUCCESS;
}

static apr_status_t pem_der_at(apr_pool_t *p, const char *pem, mdm_blob_t *out, const char **rest)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
    const char *from = strstr(pem, begin), *to;

    if (!from) {
        return APR_NOTFOUND;
    }
    from += sizeof(begin) - 1;
    to = strstr(from, end);
    if (!to || to - from > 2 * MAX_DER) {
        return MDM_EINPUT;
    }
    *rest = to + sizeof(end) - 1;
    return mdm_unb64(p, from, (apr_size_t)(to - from), out);
}

apr_status_t mdm_pem_der(apr_pool_t *p, const char *pem, mdm_blob_t *out)
{
    const char *rest;
    apr_status_t rv = pem_der_at(p, pem, out, &rest);

    if (rv == APR_SUCCESS && out->len > 0) {
        return APR_SUCCESS;
    }
    return MDM_EINPUT;
}

apr_status_t mdm_cert_from_pem(mdm_ctx_t *ctx, const char *pem, mdm_cert_t **out)
{
    mdm_blob_t der;

    if (mdm_pem_der(ctx->pool, pem, &der) != APR_SUCCESS) {
        return mdm_fail(ctx, MDM_EINPUT, "certificate", "this is not a certificate in PEM form");
    }
    return mdm_cert_from_der(ctx, der.data, der.len, out);
}

apr_status_t mdm_certs_from_pem(mdm_ctx_t *ctx, const char *pem, apr_array_header_t **out)
{
    apr_array_header_t *list = apr_array_make(ctx->pool, 4, sizeof(mdm_cert_t *));
    mdm_blob_t der;
    mdm_cert_t *cert = NULL;
    apr_status_t rv;

    while ((rv = pem_der_at(ctx->pool, pem, &der, &pem)) == APR_SUCCESS) {
        if (list->nelts >= MAX_PEM_CERTS) {
            return mdm_fail(ctx, MDM_ETOOBIG, "certificate", "more than %d certificates",
                            MAX_PEM_CERTS);
        }
        rv = mdm_cert_from_der(ctx, der.data, der.len, &cert);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        APR_ARRAY_PUSH(list, mdm_cert_t *) = cert;
    }
    if (rv != APR_NOTFOUND || list->nelts == 0) {
        return mdm_fail(ctx, MDM_EINPUT, "certificate",
                        "this is not a list of certificates in PEM form");
    }
    *out = list;
    return APR_SUCCESS;
}

char *mdm_cert_pem(apr_pool_t *p, const mdm_cert_t *cert)
{
    const char *b64 = mdm_b64(p, cert->der.data, cert->der.len);
    apr_size_t len = strlen(b64), n = 0, at;
    char *text = apr_palloc(p, len + len / 64 + 80), *to;

    to = apr_cpystrn(text, "-----BEGIN CERTIFICATE-----\n", 32);
    for (at = 0; at < len; at += n) {
        n = len - at > 64 ? 64 : len - at;
        memcpy(to, b64 + at, n);
        to += n;
        *to++ = '\n';
    }
    apr_cpystrn(to, "-----END CERTIFICATE-----\n", 32);
    return text;
}

mdm_blob_t mdm_cert_der(const mdm_cert_t *cert)
{
    return cert->der;
}

static char *name_text(apr_pool_t *p, const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    mdm_blob_t text = {NULL, 0};

    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        text = mdm_pki_take(p, bio);
    }
    BIO_free(bio);
    return mdm_clean(p, text.data ? (const char *)text.data : "", 1024);
}

/* A string as UTF-8 without NUL; NULL if it can't be had. */
static char *asn1_text(apr_pool_t *p, const ASN1_STRING *s, apr_size_t max)
{
    unsigned char *utf8 = NULL;
    char *text = NULL;
    int len = s ? ASN1_STRING_to_UTF8(&utf8, s) : -1;

    if (len > 0 && (apr_size_t)len <= max && mdm_utf8_valid((char *)utf8, (apr_size_t)len)) {
        text = apr_pstrmemdup(p, (char *)utf8, (apr_size_t)len);
    }
    if (utf8) {
        OPENSSL_clear_free(utf8, len > 0 ? (size_t)len : 0);
    }
    return text;
}

static const char *name_part(apr_pool_t *p, const X509_NAME *name, int nid)
{
    int at = X509_NAME_get_index_by_NID(name, nid, -1);

    if (at < 0) {
        return NULL;
    }
    return asn1_text(p, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)), 1024);
}

static apr_int64_t time_ms(const ASN1_TIME *t)
{
    struct tm tm;

    if (!t || !ASN1_TIME_to_tm(t, &tm)) {
        return 0;
    }
    return (apr_int64_t)timegm(&tm) * 1000;
}

static const char *key_text(apr_pool_t *p, const EVP_PKEY *pkey)
{
    char group[64] = "";

    if (pkey && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA) {
        return apr_psprintf(p, "RSA %d", EVP_PKEY_get_bits(pkey));
    }
    if (pkey && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC &&
        EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL)) {
        return !strcmp(group, "prime256v1")  ? "EC P-256"
               : !strcmp(group, "secp384r1") ? "EC P-384"
                                             : apr_psprintf(p, "EC %s", group);
    }
    return "other";
}

apr_status_t mdm_cert_info(mdm_ctx_t *ctx, const mdm_cert_t *cert, mdm_certinfo_t *out)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert->x);
    const X509_NAME *subject = X509_get_subject_name(cert->x);
    apr_pool_t *p = ctx->pool;

    memset(out, 0, sizeof(*out));
    ERR_set_mark();
    out->subject = name_text(p, subject);
    out->issuer = name_text(p, X509_get_issuer_name(cert->x));
    out->cn = name_part(p, subject, NID_commonName);
    out->uid = name_part(p, subject, NID_userId);
    out->serial = mdm_hex(p, ASN1_STRING_get0_data(serial), (apr_size_t)ASN1_STRING_length(serial));
    out->fingerprint = mdm_sha256_hex(p, cert->der.data, cert->der.len);
    out->not_before_ms = time_ms(X509_get0_notBefore(cert->x));
    out->not_after_ms = time_ms(X509_get0_notAfter(cert->x));
    out->key_text = key_text(p, X509_get0_pubkey(cert->x));
    out->is_ca = X509_check_ca(cert->x) == 1;
    ERR_pop_to_mark();
    return APR_SUCCESS;
}

int mdm_cert_fits_key(const mdm_cert_t *cert, const mdm_key_t *key)
{
    int ok;

    ERR_set_mark();
    ok = X509_check_private_key(cert->x, key->pkey) == 1;
    ERR_pop_to_mark();
    return ok;
}

int mdm_cert_signed_by(const mdm_cert_t *cert, const mdm_cert_t *issuer)
{
    EVP_PKEY *pkey;
    int ok;

    ERR_set_mark();
    pkey = X509_get0_pubkey(issuer->x);
    ok = pkey && X509_check_issued(issuer->x, cert->x) == X509_V_OK &&
         X509_verify(cert->x, pkey) == 1;
    ERR_pop_to_mark();
    return ok;
}

/* ------------------------------------------------------------------ requests */

apr_status_t mdm_csr_from_der(mdm_ctx_t *ctx, const void *der, apr_size_t len, mdm_csr_t **out)
{
    const unsigned char *at = der;
    X509_REQ *req = NULL;
    int whole;

    ERR_set_mark();
    if (len > 0 && len <= MAX_DER) {
        req = d2i_X509_REQ(NULL, &at, (long)len);
    }
    ERR_pop_to_mark();
    whole = req && at == (const unsigned char *)der + len;
    if (!whole) {
        X509_REQ_free(req);
        return mdm_fail(ctx, MDM_EINPUT, "csr", "this is not a certificate request");
    }
    *out = apr_palloc(ctx->pool, sizeof(**out));
    (*out)->req = req;
    apr_pool_cleanup_register(ctx->pool, req, free_req, apr_pool_cleanup_null);
    return APR_SUCCESS;
}

/* SHA-1 is good enough to prove that the requester holds the key; MD5 and unknown ones are not
 * looked at. */
static int csr_digest_ok(const X509_REQ *req)
{
    int md = NID_undef, pk = NID_undef;

    if (!OBJ_find_sigid_algs(X509_REQ_get_signature_nid(req), &md, &pk)) {
        return 0;
    }
    return md == NID_sha256 || md == NID_sha384 || md == NID_sha512 || md == NID_sha1;
}

apr_status_t mdm_csr_check(mdm_ctx_t *ctx, const mdm_csr_t *csr)
{
    const char *fault;
    EVP_PKEY *pkey;
    int ok;

    ERR_set_mark();
    pkey = X509_REQ_get0_pubkey(csr->req);
    fault = mdm_pki_key_fault(pkey, 2048);
    ok = !fault && csr_digest_ok(csr->req) && X509_REQ_verify(csr->req, pkey) == 1;
    ERR_pop_to_mark();
    if (fault) {
        return mdm_fail(ctx, MDM_EINPUT, "csr", "%s", fault);
    }
    return ok ? APR_SUCCESS
              : mdm_fail(ctx, MDM_EINPUT, "csr", "the request is not signed by its own key");
}

const char *mdm_csr_challenge(apr_pool_t *p, const mdm_csr_t *csr)
{
    const char *text = NULL;
    X509_ATTRIBUTE *attr;
    ASN1_TYPE *value;
    int at, tag;

    ERR_set_mark();
    at = X509_REQ_get_attr_by_NID(csr->req, NID_pkcs9_challengePassword, -1);
    attr = at >= 0 ? X509_REQ_get_attr(csr->req, at) : NULL;
    if (attr && X509_ATTRIBUTE_count(attr) == 1 &&
        X509_REQ_get_attr_by_NID(csr->req, NID_pkcs9_challengePassword, at) < 0) {
        value = X509_ATTRIBUTE_get0_type(attr, 0);
        tag = value ? ASN1_TYPE_get(value) : 0;
        if (tag == V_ASN1_PRINTABLESTRING || tag == V_ASN1_UTF8STRING || tag == V_ASN1_IA5STRING ||
            tag == V_ASN1_T61STRING || tag == V_ASN1_BMPSTRING || tag == V_ASN1_UNIVERSALSTRING) {
            text = asn1_text(p, value->value.asn1_string, MAX_CHALLENGE);
        }
    }
    ERR_pop_to_mark();
    return text;
}
