/* Fuzz target: ActiveSync queries and credentials. What is accepted can be written in both forms and means the same then (R44, R45).
 * Input: query, version, policy key, multipart and Authorization header, divided by line feeds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>
#include "wire/mdm_eas_query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int differ(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) != 0 : a != b;
}

static void must_be_same(const mdm_eas_query_t *a, const mdm_eas_query_t *b)
{
    if (a->cmd != b->cmd || a->version != b->version || a->key != b->key || a->policy_key != b->policy_key ||
        a->save_in_sent != b->save_in_sent || a->multipart != b->multipart || differ(a->device_id, b->device_id) ||
        differ(a->device_type, b->device_type) || differ(a->user, b->user) || differ(a->attachment_name, b->attachment_name) ||
        differ(a->collection_id, b->collection_id) || differ(a->item_id, b->item_id) || differ(a->long_id, b->long_id) ||
        differ(a->occurrence, b->occurrence))
        abort();
}

static void check(mdm_ctx_t *ctx, const mdm_eas_input_t *in)
{
    mdm_eas_query_t *first, *second;
    mdm_eas_line_t line, again;
    mdm_eas_rebuild_t how;
    int form;

    if (mdm_eas_query_parse(ctx, in, &first) != APR_SUCCESS) {
        if (!ctx->fail_text[0] || first)
            abort();
        return;
    }
    if (first->key == MDM_EAS_KEY_FOREIGN)
        first->key = MDM_EAS_KEY_NONE;
    for (form = MDM_EAS_FORM_SAME; form <= MDM_EAS_FORM_BASE64; form++) {
        mdm_eas_input_t back = {in->options, NULL, NULL, NULL, NULL};

        how = (mdm_eas_rebuild_t){(mdm_eas_form_e)form, NULL, first->key == MDM_EAS_KEY_GIVEN, first->policy_key};
        /* a User that became UTF-8 may be too long for a length byte; the plain form carries all */
        if (mdm_eas_query_build(ctx, first, &how, &line) != APR_SUCCESS) {
            if (form == MDM_EAS_FORM_PLAIN)
                abort();
            continue;
        }
        back.query = line.query;
        back.version = line.version;
        back.policy_key = line.policy_key;
        back.multipart = line.multipart;
        /* the plain form of long bytes may be longer than what is read */
        if (mdm_eas_query_parse(ctx, &back, &second) != APR_SUCCESS) {
            if (strlen(line.query) <= MDM_EAS_QUERY_MAX)
                abort();
            continue;
        }
        must_be_same(first, second);
        if (mdm_eas_query_build(ctx, second, &how, &again) != APR_SUCCESS || strcmp(line.query, again.query) != 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    char *part[5] = {NULL}, *text, *last;
    mdm_eas_input_t in = {0};
    mdm_basic_t basic;
    mdm_ctx_t *ctx;
    int i;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    ctx = mdm_ctx_make(root, NULL, NULL, NULL);
    text = apr_pstrmemdup(root, (const char *)data, size);
    for (i = 0, last = text; i < 5 && last; i++) {
        part[i] = last;
        if ((last = strchr(last, '\n')) != NULL)
            *last++ = '\0';
    }
    in.query = part[0];
    in.version = part[1] && *part[1] ? part[1] : NULL;
    in.policy_key = part[2];
    in.multipart = part[3];
    check(ctx, &in);
    in.options = 1;
    check(ctx, &in);
    if (mdm_basic_parse(ctx, part[4], &basic) == APR_SUCCESS &&
        (!*basic.password || !*basic.name || !mdm_utf8_valid(basic.login, strlen(basic.login)) ||
         !mdm_utf8_valid(basic.password, strlen(basic.password))))
        abort();
    apr_pool_clear(root);
    return 0;
}
