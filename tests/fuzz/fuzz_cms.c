/* CMS from outside: signatures and envelopes (R08). */
#include "fuzz_pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
