/* Check-in and connect messages up to the database (SEC-03, IOS-01): whatever a device sends has one of a few ends, and says why. */
#include <apr_general.h>
#include <stdint.h>
#include <stdlib.h>
#include "domain/mdm_apple.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(mdm_ctx_t *ctx, apr_status_t rv, const mdm_apple_answer_t *a)
{
    if (rv == APR_SUCCESS) {
        if (a->status != 200 && a->status != 410) {
            abort();
        }
    } else if (rv != MDM_EINPUT && rv != MDM_ETOOBIG && rv != MDM_EIDENTITY && rv != MDM_EUNAVAIL) {
        abort();
    } else if (rv != MDM_EUNAVAIL && !ctx->fail_text) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    static mdm_env_t env; /* no database */
    mdm_devrec_t rec = {.kind = MDM_KIND_MDM, .flags = MDM_DEVF_LINKED | MDM_DEVF_ENROLLED, .device = {1}, .record = {2}};
    mdm_apple_who_t who = {.fingerprint = "00", .rec = &rec};
    mdm_blob_t body = {data, size};
    mdm_apple_answer_t *a = NULL;
    mdm_ctx_t *ctx;
    apr_status_t rv;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    ctx = mdm_ctx_make(root, &env, NULL, NULL);
    rv = mdm_apple_checkin(ctx, &who, &body, &a);
    judge(ctx, rv, a);
    ctx->fail_text = NULL;
    rv = mdm_apple_connect(ctx, &who, &body, &a);
    judge(ctx, rv, a);
    apr_pool_clear(root);
    return 0;
}
