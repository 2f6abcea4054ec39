/* Fuzz target: property lists. What can be read can be written, read again, and is the same then (SEC-03). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/mdm_json.h"
#include "wire/mdm_plist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    mdm_plist_t *first, *second, *third;
    mdm_blob_t text, again;
    mdm_ctx_t *ctx;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    ctx = mdm_ctx_make(root, NULL, NULL, NULL);
    if (mdm_plist_parse(ctx, data, size, &first) != APR_SUCCESS) {
        if (!ctx->fail_text[0])
            abort();
    } else {
        if (mdm_plist_write(root, first, &text) != APR_SUCCESS ||
            mdm_plist_parse(ctx, text.data, text.len, &second) != APR_SUCCESS ||
            mdm_plist_write(root, second, &again) != APR_SUCCESS || text.len != again.len ||
            memcmp(text.data, again.data, text.len) != 0)
            abort();
        mdm_plist_from_json(ctx, mdm_json_own(ctx, mdm_plist_to_json(first)), &third);
    }
    apr_pool_clear(root);
    return 0;
}
