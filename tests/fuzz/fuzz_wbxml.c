/* Fuzz target: WBXML. The division of the input changes nothing; a tree that was read can be written, and is the same when read (R08). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>
#include "wire/mdm_wbxml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was told, in an order-dependent sum; text counts byte by byte. */
typedef struct told_t {
    uint64_t sum;
    int depth;
} told_t;

static void add(told_t *t, unsigned kind, unsigned value)
{
    t->sum = (t->sum ^ (kind << 16 | value)) * 1099511628211u;
}

static apr_status_t on_start(void *baton, int tag)
{
    add(baton, 1, (unsigned)tag);
    if (++((told_t *)baton)->depth > MDM_WBXML_MAX_DEPTH + 1)
        abort();
    return APR_SUCCESS;
}

static apr_status_t on_text(void *baton, const unsigned char *text, apr_size_t len, int opaque)
{
    while (len--)
        add(baton, opaque ? 2 : 3, *text++);
    return APR_SUCCESS;
}

static apr_status_t on_end(void *baton, int tag)
{
    add(baton, 4, (unsigned)tag);
    if (--((told_t *)baton)->depth < 0)
        abort();
    return APR_SUCCESS;
}

static uint64_t tell(const uint8_t *data, size_t size, uint32_t seed, apr_status_t *rv)
{
    static const mdm_wbxml_sink_t sink = {on_start, on_text, on_end};
    told_t told = {14695981039346656037u, 0};
    mdm_wbxml_t w;

    mdm_wbxml_init(&w, &sink, &told);
    while (size) {
        size_t n = size;

        if (seed) {
            seed = seed * 1664525 + 1013904223;
            n = 1 + (seed >> 24) % 7;
            n = n > size ? size : n;
        }
        mdm_wbxml_push(&w, data, n);
        data += n;
        size -= n;
    }
    *rv = mdm_wbxml_finish(&w);
    if ((*rv == APR_SUCCESS) != (w.why == NULL) || (*rv == APR_SUCCESS && told.depth != 0))
        abort();
    return told.sum;
}

static void round_trip(apr_pool_t *pool, const uint8_t *data, size_t size, apr_status_t rv)
{
    mdm_ctx_t *ctx = mdm_ctx_make(pool, NULL, NULL, NULL);
    mdm_wbnode_t *first, *second;
    mdm_blob_t one, two;
    mdm_wbout_t o;

    if (mdm_wbxml_parse(ctx, data, size, &first) != APR_SUCCESS) {
        if (first || !ctx->fail_text[0])
            abort();
        return;
    }
    mdm_wbxml_begin(&o, pool);
    mdm_wbxml_put_node(&o, first);
    one = mdm_wbxml_end(&o);
    /* page changes between all tags can make the copy larger than what is read */
    if (rv != APR_SUCCESS || (mdm_wbxml_parse(ctx, one.data, one.len, &second) != APR_SUCCESS) != (one.len > MDM_WBXML_MAX_TREE))
        abort();
    if (one.len > MDM_WBXML_MAX_TREE)
        return;
    mdm_wbxml_begin(&o, pool);
    mdm_wbxml_put_node(&o, second);
    two = mdm_wbxml_end(&o);
    if (one.len != two.len || memcmp(one.data, two.data, one.len) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    apr_status_t whole, parts;
    uint32_t seed = 1;
    size_t i;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    for (i = 0; i < size; i++)
        seed = seed * 31 + data[i];
    if (tell(data, size, 0, &whole) != tell(data, size, seed | 1, &parts) || whole != parts)
        abort();
    round_trip(root, data, size, whole);
    apr_pool_clear(root);
    return 0;
}
