/* CMS from outside: signatures, envelopes, and reports to a Profile Service (R08, IOS-07). */
#include "fuzz_pki.h"
#include "domain/mdm_ota.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mdm_blob_t der = {data, size}, body = {(const unsigned char *)"body", 4}, content = {NULL, 0};
    mdm_cert_t *signer = NULL;
    mdm_certinfo_t info;
    mdm_ota_report_t report;
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
    if (mdm_ota_read(ctx, &der, &report) == APR_SUCCESS && !(report.facts.udid && report.facts.serial && report.fingerprint)) {
        abort();
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
