/* SCEP messages and the requests inside (R08, R14). */
#include "fuzz_pki.h"
#include "wire/mdm_scep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mdm_blob_t der = {data, size}, out;
    mdm_scep_req_t *req = NULL;
    mdm_csr_t *csr;
    apr_pool_t *p;
    mdm_ctx_t *ctx;

    if (!root) {
        start();
    }
    apr_pool_create(&p, root);
    ctx = mdm_ctx_make(p, &env, NULL, NULL);
    mdm_scep_open(ctx, &der, cert, key, 1, &req);
    if (req) {
        mdm_scep_failure(ctx, req, MDM_SCEP_BADREQUEST, cert, key, &out);
    }
    if (mdm_csr_from_der(ctx, data, size, &csr) == APR_SUCCESS) {
        mdm_csr_check(ctx, csr);
        mdm_csr_challenge(p, csr);
    }
    apr_pool_destroy(p);
    return 0;
}
