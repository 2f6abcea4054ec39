/* TLS of our libcurl clients. */
#include "wire/mdm_curl_tls.h"

#include <string.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

void mdm_curl_blob(CURL *easy, CURLoption opt, const char *pem)
{
    struct curl_blob blob = {(void *)pem, 0, CURL_BLOB_NOCOPY};

    if (!pem)
        return;
    blob.len = strlen(pem);
    curl_easy_setopt(easy, opt, &blob);
}

/* Keeps the server's certificate, and judges it by the pin if there is one. */
static int on_verify(X509_STORE_CTX *store, void *baton)
{
    mdm_curl_tls_t *t = baton;
    X509 *cert = X509_STORE_CTX_get0_cert(store);
    int len = cert ? i2d_X509(cert, NULL) : 0;
    unsigned char *der, *at;

    if (len <= 0)
        return 0;
    der = at = apr_palloc(t->pool, (apr_size_t)len);
    i2d_X509(cert, &at);
    *t->peer = (mdm_blob_t){der, (apr_size_t)len};
    if (!*t->pin)
        return X509_verify_cert(store);
    if (strcmp(t->pin, mdm_sha256_hex(t->pool, der, (apr_size_t)len)) == 0) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
}

static CURLcode on_tls(CURL *easy, void *tls, void *baton)
{
    SSL_CTX_set_cert_verify_callback(tls, on_verify, baton);
    return CURLE_OK;
}

void mdm_curl_tls_set(CURL *easy, mdm_curl_tls_t *t)
{
    int in_file = !t->ca_pem && t->ca_file && *t->ca_file;

    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, t->pin && *t->pin ? 0L : 2L);
    if (t->pin) {
        curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
        curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, t);
    }
    mdm_curl_blob(easy, CURLOPT_CAINFO_BLOB, t->ca_pem);
    if (in_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, t->ca_file);
    if (t->ca_pem || in_file)
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
}
