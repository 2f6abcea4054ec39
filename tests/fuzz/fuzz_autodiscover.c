/* Fuzz target: Autodiscover requests (PXY-04): a value that is short and clean, or a sentence that says why not. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <apr_general.h>
#include "wire/mdm_autodiscover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const mdm_env_t env;
    static apr_pool_t *root;
    mdm_autodiscover_t a;
    mdm_ctx_t *ctx;
    apr_status_t rv;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    ctx = mdm_ctx_make(root, &env, NULL, NULL);
    rv = mdm_autodiscover_read(ctx, data, size, &a);
    if (rv != APR_SUCCESS && (rv != MDM_EINPUT || !ctx->fail_text))
        abort();
    if (rv == APR_SUCCESS && (strlen(a.mail) > 600 || !mdm_utf8_valid(a.mail, strlen(a.mail))))
        abort();
    apr_pool_clear(root);
    return 0;
}
