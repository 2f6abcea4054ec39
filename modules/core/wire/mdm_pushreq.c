/* Requests for push certificates, and what comes back. */
#include "wire/mdm_pushreq.h"

#include <string.h>

#include <apr_strings.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include "wire/mdm_pki_int.h"
#include "wire/mdm_plist.h"

#define MAX_FILE (256 * 1024)
#define LINE 64

static int add_subject(X509_REQ *req, const char *const *pairs)
{
    X509_NAME *name = X509_NAME_new();
    int ok = name != NULL;

    for (; ok && pairs[0] && pairs[1]; pairs += 2) {
        ok = X509_NAME_add_entry_by_txt(name, pairs[0], MBSTRING_UTF8, (const unsigned char *)pairs[1], -1, -1, 0);
    }
    ok = ok && X509_REQ_set_subject_name(req, name);
    X509_NAME_free(name);
    return ok;
}

apr_status_t mdm_csr_make(mdm_ctx_t *ctx, const char *const *subject, const mdm_key_t *key, mdm_blob_t *der)
{
    X509_REQ *req;
    unsigned char *at;
    int ok, len = 0;

    ERR_set_mark();
    req = X509_REQ_new();
    ok = req && X509_REQ_set_version(req, 0) && add_subject(req, subject) && X509_REQ_set_pubkey(req, key->pkey)
         && X509_REQ_sign(req, key->pkey, EVP_sha256()) > 0 && (len = i2d_X509_REQ(req, NULL)) > 0;
    if (ok) {
        der->data = at = apr_pcalloc(ctx->pool, (apr_size_t)len + 1);
        der->len = (apr_size_t)len;
        ok = i2d_X509_REQ(req, &at) == len;
    }
    X509_REQ_free(req);
    ERR_pop_to_mark();
    return ok ? APR_SUCCESS : mdm_fail(ctx, MDM_EINPUT, NULL, "a request with this subject can't be made");
}

static char *lines(apr_pool_t *p, const char *text)
{
    apr_size_t len = strlen(text), n;
    char *out = apr_palloc(p, len + len / LINE + 2), *to = out;

    for (; len; text += n, len -= n) {
        n = len < LINE ? len : LINE;
        memcpy(to, text, n);
        to += n;
        *to++ = '\n';
    }
    *to = '\0';
    return out;
}

char *mdm_csr_pem(apr_pool_t *p, const mdm_blob_t *der)
{
    return apr_pstrcat(p, "-----BEGIN CERTIFICATE REQUEST-----\n", lines(p, mdm_b64(p, der->data, der->len)),
                       "-----END CERTIFICATE REQUEST-----\n", NULL);
}

/* ------------------------------------------------------------------ PKCS#12 */

static apr_status_t free_key(void *data)
{
    EVP_PKEY_free(data);
    return APR_SUCCESS;
}

static apr_status_t free_certs(void *data)
{
    sk_X509_pop_free(data, X509_free);
    return APR_SUCCESS;
}

static apr_status_t take_all(mdm_ctx_t *ctx, EVP_PKEY *pkey, X509 *cert, STACK_OF(X509) *more, mdm_key_t **key,
                             apr_array_header_t **certs)
{
    apr_array_header_t *list = apr_array_make(ctx->pool, 4, sizeof(mdm_cert_t *));
    mdm_key_t *k = apr_palloc(ctx->pool, sizeof *k);
    mdm_cert_t *first;

    k->pkey = pkey;
    apr_pool_cleanup_register(ctx->pool, pkey, free_key, apr_pool_cleanup_null);
    apr_pool_cleanup_register(ctx->pool, more, free_certs, apr_pool_cleanup_null);
    first = mdm_pki_cert(ctx->pool, cert);
    if (!first) {
        return mdm_fail(ctx, MDM_EINPUT, "p12", "has a certificate that can't be read");
    }
    APR_ARRAY_PUSH(list, mdm_cert_t *) = first;
    for (int i = 0; i < sk_X509_num(more) && i < 8; i++) {
        X509 *x = sk_X509_value(more, i);
        mdm_cert_t *c = X509_up_ref(x) ? mdm_pki_cert(ctx->pool, x) : NULL;
        if (c) {
            APR_ARRAY_PUSH(list, mdm_cert_t *) = c;
        }
    }
    *key = k;
    *certs = list;
    return APR_SUCCESS;
}

apr_status_t mdm_pkcs12_open(mdm_ctx_t *ctx, const void *data, apr_size_t len, const char *password, mdm_key_t **key,
                             apr_array_header_t **certs)
{
    const unsigned char *at = data;
    STACK_OF(X509) *more = NULL;
    EVP_PKEY *pkey = NULL;
    X509 *cert = NULL;
    PKCS12 *p12;
    int fits, ok = 0;

    ERR_set_mark();
    p12 = len && len <= MAX_FILE ? d2i_PKCS12(NULL, &at, (long)len) : NULL;
    if (!p12) {
        ERR_pop_to_mark();
        return mdm_fail(ctx, MDM_EINPUT, "p12", "is not a PKCS#12 file");
    }
    fits = PKCS12_verify_mac(p12, password ? password : "", -1)
           || ((!password || !*password) && PKCS12_verify_mac(p12, NULL, 0));
    ok = fits && PKCS12_parse(p12, password ? password : "", &pkey, &cert, &more) && pkey && cert;
    PKCS12_free(p12);
    ERR_pop_to_mark();
    if (ok) {
        return take_all(ctx, pkey, cert, more, key, certs);
    }
    EVP_PKEY_free(pkey);
    X509_free(cert);
    sk_X509_pop_free(more, X509_free);
    return fits ? mdm_fail(ctx, MDM_EINPUT, "p12", "has no key with its certificate, or is encrypted in a way that is out of date: "
                                                   "export it again, or give certificate and key as PEM")
                : mdm_fail(ctx, MDM_EINPUT, "password", "does not open this file");
}

/* ------------------------------------------------------------------ the vendor's signature */

static int verified(const mdm_cert_t *by, const EVP_MD *md, const mdm_blob_t *sig, const mdm_blob_t *data)
{
    EVP_MD_CTX *c;
    int ok;

    ERR_set_mark();
    c = EVP_MD_CTX_new();
    ok = c && EVP_DigestVerifyInit(c, NULL, md, NULL, X509_get0_pubkey(by->x)) == 1
         && EVP_DigestVerify(c, sig->data, sig->len, data->data, data->len) == 1;
    EVP_MD_CTX_free(c);
    ERR_pop_to_mark();
    return ok;
}

/* The list itself, whichever way it came. */
static apr_status_t list_of(mdm_ctx_t *ctx, const char *text, apr_size_t len, mdm_blob_t *out)
{
    while (len && strchr(" \t\r\n", *text)) {
        text++;
        len--;
    }
    if (!len || len > MAX_FILE) {
        return mdm_fail(ctx, MDM_EINPUT, "file", len ? "is too large" : "is empty");
    }
    if (*text == '<') {
        *out = (mdm_blob_t){(const unsigned char *)text, len};
        return APR_SUCCESS;
    }
    return mdm_unb64(ctx->pool, text, len, out) == APR_SUCCESS
               ? APR_SUCCESS : mdm_fail(ctx, MDM_EINPUT, "file", "is neither a property list nor its base64");
}

apr_status_t mdm_pushreq_signed(mdm_ctx_t *ctx, const char *text, apr_size_t len, const mdm_blob_t *csr, const char **file)
{
    mdm_blob_t list, der, sig;
    const char *request, *chain, *signature;
    apr_array_header_t *certs;
    mdm_plist_t *root;
    apr_status_t rv = list_of(ctx, text, len, &list);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (mdm_plist_parse(ctx, list.data, list.len, &root) != APR_SUCCESS) {
        return mdm_fail(ctx, MDM_EINPUT, "file", "is neither a property list nor its base64");
    }
    request = mdm_plist_str(root, "PushCertRequestCSR");
    chain = mdm_plist_str(root, "PushCertCertificateChain");
    signature = mdm_plist_str(root, "PushCertSignature");
    if (!request || !chain || !signature) {
        return mdm_fail(ctx, MDM_EINPUT, "file", "is no signed request: it has no request, chain or signature");
    }
    if (mdm_unb64(ctx->pool, request, strlen(request), &der) != APR_SUCCESS || der.len != csr->len
        || memcmp(der.data, csr->data, der.len) != 0) {
        return mdm_fail(ctx, MDM_EINPUT, "file", "is about another request than the present one: was a new request made since?");
    }
    if (mdm_certs_from_pem(ctx, chain, &certs) != APR_SUCCESS || mdm_unb64(ctx->pool, signature, strlen(signature), &sig) != APR_SUCCESS) {
        return mdm_fail(ctx, MDM_EINPUT, "file", "has a chain or signature that can't be read");
    }
    if (!verified(APR_ARRAY_IDX(certs, 0, mdm_cert_t *), EVP_sha256(), &sig, &der)
        && !verified(APR_ARRAY_IDX(certs, 0, mdm_cert_t *), EVP_sha1(), &sig, &der)) {
        return mdm_fail(ctx, MDM_EINPUT, "file", "has a signature that its first certificate did not make");
    }
    *file = lines(ctx->pool, mdm_b64(ctx->pool, list.data, list.len));
    return APR_SUCCESS;
}
