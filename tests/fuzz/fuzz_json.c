/* Fuzz target: JSON bodies through a field table, and JSON to property list (API-04, SEC-03). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/mdm_json.h"
#include "wire/mdm_plist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_fields(mdm_ctx_t *ctx, json_t *j)
{
    static const char *const modes[] = {"on", "off", NULL};
    const char *name = NULL, *id = NULL, *mode = NULL;
    apr_int64_t n = 0;
    int flag = 0;
    json_t *o = NULL, *a = NULL;
    const mdm_jfield_t fields[] = {
        {.name = "name", .type = MDM_JF_STR, .required = 1, .min = 1, .max = 20, .out = &name},
        {.name = "id", .type = MDM_JF_UUID, .nullable = 1, .out = &id},
        {.name = "mode", .type = MDM_JF_ENUM, .choices = modes, .out = &mode},
        {.name = "n", .type = MDM_JF_INT, .min = -5, .max = 5, .out = &n},
        {.name = "flag", .type = MDM_JF_BOOL, .out = &flag},
        {.name = "o", .type = MDM_JF_OBJECT, .out = &o},
        {.name = "a", .type = MDM_JF_ARRAY, .max = 3, .out = &a},
        {.name = NULL},
    };

    if (mdm_json_fields(ctx, j, fields) != APR_SUCCESS)
        return;
    if (!name || !*name || strlen(name) > 20 || n < -5 || n > 5 || (id && !mdm_is_uuid(id)) ||
        (a && json_array_size(a) > 3))
        abort();
}

static void to_plist(mdm_ctx_t *ctx, json_t *j)
{
    mdm_plist_t *pl, *back;
    mdm_blob_t text;

    if (mdm_plist_from_json(ctx, j, &pl) != APR_SUCCESS)
        return;
    if (mdm_plist_write(ctx->pool, pl, &text) != APR_SUCCESS)
        abort();
    /* keys that differ only in characters XML can't carry fall together: then it is refused */
    mdm_plist_parse(ctx, text.data, text.len, &back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    mdm_ctx_t *ctx;
    json_t *j, *again;
    char *text;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    ctx = mdm_ctx_make(root, NULL, NULL, NULL);
    if (mdm_json_parse(ctx, (const char *)data, size, &j) == APR_SUCCESS) {
        read_fields(ctx, j);
        to_plist(ctx, j);
        text = mdm_json_text(root, j);
        if (mdm_json_parse(ctx, text, strlen(text), &again) != APR_SUCCESS)
            abort();
    } else if (!ctx->fail_text[0]) {
        abort();
    }
    apr_pool_clear(root);
    return 0;
}
