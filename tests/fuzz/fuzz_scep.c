/* SCEP messages and the requests inside (R08, R14). */
#include <apr_general.h>
#include <stdint.h>
#include <stdlib.h>
#include "wire/mdm_pki_int.h"
#include "wire/mdm_scep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static apr_pool_t *root;
static mdm_env_t env;
static mdm_cert_t *ra;
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
        mdm_cert_issue(ctx, &what, NULL, key, &ra) != APR_SUCCESS) {
        abort();
    }
    held_cert = ra->x;
    held_key = key->pkey;
}

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
    mdm_scep_open(ctx, &der, ra, key, 1, &req);
    if (req) {
        mdm_scep_failure(ctx, req, MDM_SCEP_BADREQUEST, ra, key, &out);
    }
    if (mdm_csr_from_der(ctx, data, size, &csr) == APR_SUCCESS) {
        mdm_csr_check(ctx, csr);
        mdm_csr_challenge(p, csr);
        mdm_csr_subject(p, csr);
    }
    apr_pool_destroy(p);
    return 0;
}
