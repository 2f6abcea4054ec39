/* CMS from outside: signatures and envelopes (R08). */
#include <apr_general.h>
#include <stdint.h>
#include <stdlib.h>
#include "wire/mdm_pki_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static apr_pool_t *root;
static mdm_env_t env;
static mdm_cert_t *cert;
static mdm_key_t *key;
/* The leak check does not look into pools. */
static X509 *held_cert;
static EVP_PKEY *held_key;

static void start(void)
{
    static const char *subject[] = {"CN", "fuzz", NULL};
    mdm_issue_t what = {.profile = MDM_CERT_RA,
                        .subject = subject,
                        .not_before_ms = 0,
                        .not_after_ms = 4000000000000LL};
    mdm_ctx_t *ctx;

    apr_initialize();
    apr_pool_create(&root, NULL);
    ctx = mdm_ctx_make(root, &env, NULL, NULL);
    if (mdm_key_generate(ctx, MDM_KEY_RSA2048, &key) != APR_SUCCESS ||
        mdm_cert_issue(ctx, &what, NULL, key, &cert) != APR_SUCCESS) {
        abort();
    }
    held_cert = cert->x;
    held_key = key->pkey;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mdm_blob_t der = {data, size}, body = {(const unsigned char *)"body", 4}, content = {NULL, 0};
    mdm_cert_t *signer = NULL;
    mdm_certinfo_t info;
    apr_pool_t *p;
    mdm_ctx_t *ctx;

    if (!root) {
        start();
    }
    apr_pool_create(&p, root);
    ctx = mdm_ctx_make(p, &env, NULL, NULL);
    if (mdm_cms_verify(ctx, &der, NULL, 1, &signer, &content) == APR_SUCCESS) {
        mdm_cert_info(ctx, signer, &info);
    }
    mdm_cms_verify(ctx, &der, &body, 1, &signer, NULL);
    mdm_cms_decrypt(ctx, &der, cert, key, &content);
    if (mdm_cert_from_der(ctx, data, size, &signer) == APR_SUCCESS) {
        mdm_cert_info(ctx, signer, &info);
        mdm_cert_signed_by(signer, cert);
    }
    apr_pool_destroy(p);
    return 0;
}
