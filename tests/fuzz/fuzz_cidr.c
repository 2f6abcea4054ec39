/* Fuzz target: address filters, one a line, compiled and asked (ACC-02, ACC-07). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "domain/mdm_cidr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int holds(const apr_array_header_t *ranges, mdm_addr_t a)
{
    int i;

    for (i = 0; i < ranges->nelts; i++) {
        const mdm_range_t *r = &APR_ARRAY_IDX(ranges, i, mdm_range_t);

        if ((r->from.hi < a.hi || (r->from.hi == a.hi && r->from.lo <= a.lo)) &&
            (a.hi < r->to.hi || (a.hi == r->to.hi && a.lo <= r->to.lo)))
            return 1;
    }
    return 0;
}

/* The first list that holds a place at either end of a range is the one that the set names. */
static void ask(apr_pool_t *p, const apr_array_header_t **lists, int n)
{
    const mdm_cidr_set_t *set;
    int i, k, first;

    if (mdm_cidr_compile(p, lists, n, &set) != APR_SUCCESS)
        abort();
    for (i = 0; i < n && i < 20; i++) {
        for (k = 0; k < lists[i]->nelts && k < 20; k++) {
            mdm_addr_t a = APR_ARRAY_IDX(lists[i], k, mdm_range_t).to;

            for (first = 0; !holds(lists[first], a); first++)
                ;
            if (mdm_cidr_find(set, &a) != first)
                abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    const apr_array_header_t *lists[200];
    char *text, *line, *state = NULL;
    mdm_addr_t a;
    mdm_ctx_t *ctx;
    int n = 0;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    ctx = mdm_ctx_make(root, NULL, NULL, NULL);
    text = apr_pstrmemdup(root, (const char *)data, size);
    for (line = apr_strtok(text, "\n", &state); line && n < 200; line = apr_strtok(NULL, "\n", &state)) {
        apr_array_header_t *one;
        int at = -1;

        mdm_addr_parse(line, &a);
        if (mdm_cidr_parse(ctx, "addresses", line, &one, &at) == APR_SUCCESS)
            lists[n++] = one;
        else if (at < 1 || (size_t)at > strlen(line) + 1 || one)
            abort();
    }
    ask(root, lists, n);
    apr_pool_clear(root);
    return 0;
}
