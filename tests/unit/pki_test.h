/* What the PKI tests share: a context, the openssl command as an independent second opinion, and a
 * SCEP client. */
#ifndef PKI_TEST_H
#define PKI_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "wire/mdm_pki_int.h"
#include "wire/mdm_scep.h"

#define TEST_NOW_MS 1795000000000LL /* November 2026 */
#define YEAR_MS (365LL * 86400 * 1000)
#define UNUSED __attribute__((unused))

typedef struct pki_t {
    apr_pool_t *pool;
    mdm_ctx_t *ctx;
    mdm_env_t env;
    char dir[64];
    mdm_key_t *ca_key, *ra_key;
    mdm_cert_t *ca, *ra;
} pki_t;

static UNUSED mdm_cert_t *make_cert(mdm_ctx_t *ctx, mdm_certprofile_e profile, const char *cn,
                                    const mdm_key_t *key, const mdm_cert_t *issuer,
                                    const mdm_key_t *signer)
{
    const char *subject[] = {"CN", cn, NULL};
    mdm_issue_t what = {.profile = profile,
                        .subject = subject,
                        .key = key,
                        .not_before_ms = TEST_NOW_MS - YEAR_MS,
                        .not_after_ms = TEST_NOW_MS + 5 * YEAR_MS};
    mdm_cert_t *cert = NULL;

    assert_int_equal(mdm_cert_issue(ctx, &what, issuer, signer, &cert), APR_SUCCESS);
    return cert;
}

static UNUSED int pki_setup(void **state)
{
    static pki_t t;

    memset(&t, 0, sizeof(t));
    apr_pool_create(&t.pool, NULL);
    t.ctx = mdm_ctx_make(t.pool, &t.env, NULL, NULL);
    apr_cpystrn(t.dir, "/tmp/mdm-pki-XXXXXX", sizeof(t.dir));
    if (!mkdtemp(t.dir)) {
        return -1;
    }
    mdm_key_generate(t.ctx, MDM_KEY_P256, &t.ca_key);
    mdm_key_generate(t.ctx, MDM_KEY_RSA2048, &t.ra_key);
    t.ca = make_cert(t.ctx, MDM_CERT_CA, "Test CA", t.ca_key, NULL, t.ca_key);
    t.ra = make_cert(t.ctx, MDM_CERT_RA, "Test RA", t.ra_key, t.ca, t.ca_key);
    *state = &t;
    return 0;
}

static UNUSED int pki_teardown(void **state)
{
    pki_t *t = *state;
    char *line = apr_psprintf(t->pool, "rm -rf %s", t->dir);
    int rc = system(line);

    apr_pool_destroy(t->pool);
    return rc;
}

static UNUSED const char *put_file(pki_t *t, const char *name, const void *data, apr_size_t len)
{
    const char *path = apr_psprintf(t->pool, "%s/%s", t->dir, name);
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
    return path;
}

static UNUSED mdm_blob_t get_file(pki_t *t, const char *name)
{
    static unsigned char buf[65536];
    FILE *f = fopen(apr_psprintf(t->pool, "%s/%s", t->dir, name), "rb");
    mdm_blob_t out = {NULL, 0};

    assert_non_null(f);
    out.len = fread(buf, 1, sizeof(buf), f);
    fclose(f);
    out.data = (unsigned char *)apr_pstrmemdup(t->pool, (char *)buf, out.len);
    return out;
}

static UNUSED void put_cert(pki_t *t, const char *name, const mdm_cert_t *cert)
{
    const char *pem = mdm_cert_pem(t->pool, cert);
    put_file(t, name, pem, strlen(pem));
}

static UNUSED void put_key(pki_t *t, const char *name, const mdm_key_t *key)
{
    const char *pem = mdm_key_pem(t->pool, key);
    put_file(t, name, pem, strlen(pem));
}

/* Runs a command in the test's directory; *out gets what it said on both channels. Answers its exit
 * status. */
static UNUSED int run(pki_t *t, const char **out, const char *command)
{
    static char buf[32768];
    FILE *f = popen(apr_psprintf(t->pool, "cd %s && %s 2>&1", t->dir, command), "r");
    size_t n;

    assert_non_null(f);
    n = fread(buf, 1, sizeof(buf) - 1, f);
    buf[n] = 0;
    if (out) {
        *out = apr_pstrdup(t->pool, buf);
    }
    return WEXITSTATUS(pclose(f));
}

/* A request with an optional challenge password and, to be ignored, a wish to be a CA named "evil".
 */
static UNUSED mdm_blob_t client_csr(mdm_ctx_t *ctx, const mdm_key_t *key, const char *challenge,
                                    const EVP_MD *md)
{
    X509_REQ *req = X509_REQ_new();
    X509_NAME *name = X509_NAME_new();
    STACK_OF(X509_EXTENSION) *exts = NULL;
    X509_EXTENSION *ext =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
    BIO *bio = BIO_new(BIO_s_mem());
    mdm_blob_t out;

    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"evil", -1, -1, 0);
    X509_REQ_set_subject_name(req, name);
    X509_REQ_set_pubkey(req, key->pkey);
    X509v3_add_ext(&exts, ext, -1);
    X509_REQ_add_extensions(req, exts);
    if (challenge) {
        X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword, MBSTRING_UTF8,
                                  (const unsigned char *)challenge, -1);
    }
    assert_true(X509_REQ_sign(req, key->pkey, md) > 0);
    i2d_X509_REQ_bio(bio, req);
    out = mdm_pki_take(ctx->pool, bio);
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    X509_EXTENSION_free(ext);
    X509_NAME_free(name);
    X509_REQ_free(req);
    BIO_free(bio);
    return out;
}

typedef struct client_t {
    mdm_key_t *key;   /* to be certified */
    mdm_cert_t *cert; /* signs the message */
    mdm_key_t *cert_key;
    int type;
    const char *challenge, *transaction, *cipher;
    const EVP_MD *md; /* of the message */
} client_t;

/* A device with a fresh key and a self-signed certificate. */
static UNUSED client_t client_make(mdm_ctx_t *ctx, const char *challenge, const char *transaction)
{
    client_t c = {.type = MDM_SCEP_PKCSREQ,
                  .challenge = challenge,
                  .transaction = transaction,
                  .cipher = "aes256",
                  .md = EVP_sha256()};

    mdm_key_generate(ctx, MDM_KEY_RSA2048, &c.key);
    c.cert_key = c.key;
    c.cert = make_cert(ctx, MDM_CERT_IDENTITY, "device", c.key, NULL, c.key);
    return c;
}

/* A pkiMessage around any inner bytes. */
static UNUSED mdm_blob_t client_wrap(mdm_ctx_t *ctx, const client_t *c, const mdm_blob_t *envelope)
{
    unsigned flags = CMS_BINARY | CMS_PARTIAL;
    BIO *in = BIO_new_mem_buf(envelope->data, (int)envelope->len), *bio = BIO_new(BIO_s_mem());
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, in, flags);
    CMS_SignerInfo *info = CMS_add1_signer(cms, c->cert->x, c->cert_key->pkey, c->md, flags);
    char type[8];
    mdm_blob_t out;

    apr_snprintf(type, sizeof(type), "%d", c->type);
    CMS_signed_add1_attr_by_txt(info, "2.16.840.1.113733.1.9.2", V_ASN1_PRINTABLESTRING, type,
                                (int)strlen(type));
    if (c->transaction) {
        CMS_signed_add1_attr_by_txt(info, "2.16.840.1.113733.1.9.7", V_ASN1_PRINTABLESTRING,
                                    c->transaction, (int)strlen(c->transaction));
    }
    CMS_signed_add1_attr_by_txt(info, "2.16.840.1.113733.1.9.5", V_ASN1_OCTET_STRING,
                                "0123456789abcdef", 16);
    assert_int_equal(CMS_final(cms, in, NULL, flags), 1);
    i2d_CMS_bio(bio, cms);
    out = mdm_pki_take(ctx->pool, bio);
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    BIO_free(bio);
    return out;
}

static UNUSED mdm_blob_t client_message(mdm_ctx_t *ctx, const client_t *c, const mdm_cert_t *ra)
{
    mdm_blob_t csr = client_csr(ctx, c->key, c->challenge, EVP_sha256()), envelope;

    assert_int_equal(mdm_cms_encrypt(ctx, &csr, ra, c->cipher, &envelope), APR_SUCCESS);
    return client_wrap(ctx, c, &envelope);
}

typedef struct client_answer_t {
    int status, fail; /* -1: not said */
    mdm_cert_t *cert;
} client_answer_t;

static UNUSED const ASN1_STRING *answer_attr(CMS_ContentInfo *cms, const char *oid, int type)
{
    ASN1_OBJECT *obj = OBJ_txt2obj(oid, 1);
    const ASN1_STRING *s = CMS_signed_get0_data_by_OBJ(
        sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0), obj, -3, type);

    ASN1_OBJECT_free(obj);
    return s;
}

static UNUSED mdm_cert_t *answer_cert(mdm_ctx_t *ctx, const client_t *c, const mdm_blob_t *envelope)
{
    mdm_blob_t inner;
    const unsigned char *at;
    PKCS7 *p7;
    X509 *x;

    assert_int_equal(mdm_cms_decrypt(ctx, envelope, c->cert, c->cert_key, &inner), APR_SUCCESS);
    at = inner.data;
    p7 = d2i_PKCS7(NULL, &at, (long)inner.len);
    assert_non_null(p7);
    assert_int_equal(sk_X509_num(p7->d.sign->cert), 1);
    x = sk_X509_value(p7->d.sign->cert, 0);
    X509_up_ref(x);
    PKCS7_free(p7);
    return mdm_pki_cert(ctx->pool, x);
}

/* Reads a CertRep as a device does: signature of the RA, its transaction, its nonce, status,
 * certificate. */
static UNUSED client_answer_t client_read(mdm_ctx_t *ctx, const client_t *c, const mdm_blob_t *der,
                                          const mdm_cert_t *ra)
{
    client_answer_t a = {-1, -1, NULL};
    const unsigned char *at = der->data;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)der->len);
    const ASN1_STRING *s;
    mdm_cert_t *signer = NULL;
    mdm_blob_t envelope = {NULL, 0}, nothing = {NULL, 0};

    assert_non_null(cms);
    s = answer_attr(cms, "2.16.840.1.113733.1.9.3", V_ASN1_PRINTABLESTRING);
    assert_non_null(s);
    a.status = ASN1_STRING_get0_data(s)[0] - '0';
    s = answer_attr(cms, "2.16.840.1.113733.1.9.4", V_ASN1_PRINTABLESTRING);
    a.fail = s ? ASN1_STRING_get0_data(s)[0] - '0' : -1;
    s = answer_attr(cms, "2.16.840.1.113733.1.9.2", V_ASN1_PRINTABLESTRING);
    assert_true(s && ASN1_STRING_length(s) == 1 && ASN1_STRING_get0_data(s)[0] == '3');
    s = answer_attr(cms, "2.16.840.1.113733.1.9.6", V_ASN1_OCTET_STRING);
    assert_true(s && ASN1_STRING_length(s) == 16 &&
                !memcmp(ASN1_STRING_get0_data(s), "0123456789abcdef", 16));
    s = answer_attr(cms, "2.16.840.1.113733.1.9.5", V_ASN1_OCTET_STRING);
    assert_true(s && ASN1_STRING_length(s) == 16);
    s = answer_attr(cms, "2.16.840.1.113733.1.9.7", V_ASN1_PRINTABLESTRING);
    assert_true(s && ASN1_STRING_length(s) == (int)strlen(c->transaction));
    assert_memory_equal(ASN1_STRING_get0_data(s), c->transaction, strlen(c->transaction));
    CMS_ContentInfo_free(cms);
    assert_int_equal(mdm_cms_verify(ctx, der, a.status ? &nothing : NULL, 0, &signer, &envelope),
                     APR_SUCCESS);
    assert_int_equal(mdm_cert_der(signer).len, mdm_cert_der(ra).len);
    assert_memory_equal(mdm_cert_der(signer).data, mdm_cert_der(ra).data, mdm_cert_der(ra).len);
    if (a.status == 0) {
        a.cert = answer_cert(ctx, c, &envelope);
    }
    return a;
}

#define PKI_MAIN(...)                                                                              \
    int main(void)                                                                                 \
    {                                                                                              \
        const struct CMUnitTest tests[] = {__VA_ARGS__};                                           \
        int rc;                                                                                    \
        apr_initialize();                                                                          \
        rc = cmocka_run_group_tests(tests, pki_setup, pki_teardown);                               \
        apr_terminate();                                                                           \
        return rc;                                                                                 \
    }

#endif
