/* PRF-06: 10,000 address filters: time of a look-up, time of reading and compiling them. Prints one JSON line. */
#include <stdio.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <time.h>
#include "domain/mdm_cidr.h"

#define FILTERS 10000
#define LOOKUPS 5000000u
#define RELOADS 20

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static unsigned rnd(void)
{
    static unsigned seed = 7;

    seed = seed * 1664525u + 1013904223u;
    return seed >> 4;
}

static void write_filters(apr_pool_t *p, const char **texts)
{
    int i;

    for (i = 0; i < FILTERS; i++) {
        unsigned a = rnd(), b = rnd();

        texts[i] = i % 3 == 0   ? apr_psprintf(p, "10.%u.%u.%u", a & 255, a >> 8 & 255, b & 255)
                   : i % 3 == 1 ? apr_psprintf(p, "2001:db8:%x:%x::/64", a & 0xffff, b & 0xffff)
                                : apr_psprintf(p, "%u.%u.%u.0 - %u.%u.%u.99", a & 127, b & 255, b >> 8 & 255, a & 127, b & 255,
                                               b >> 8 & 255);
    }
}

static const mdm_cidr_set_t *load(mdm_ctx_t *ctx, const char **texts)
{
    const apr_array_header_t **lists = apr_palloc(ctx->pool, sizeof(*lists) * FILTERS);
    const mdm_cidr_set_t *set = NULL;
    int i;

    for (i = 0; i < FILTERS; i++) {
        apr_array_header_t *one;

        if (mdm_cidr_parse(ctx, "addresses", texts[i], &one, NULL) != APR_SUCCESS) {
            return NULL;
        }
        lists[i] = one;
    }
    return mdm_cidr_compile(ctx->pool, lists, FILTERS, &set) == APR_SUCCESS ? set : NULL;
}

int main(void)
{
    static const char *texts[FILTERS];
    const mdm_cidr_set_t *set = NULL;
    double start, reload, lookup;
    unsigned i, found = 0;
    apr_pool_t *p, *q;

    apr_initialize();
    apr_pool_create(&p, NULL);
    apr_pool_create(&q, NULL);
    write_filters(p, texts);
    start = now_s();
    for (i = 0; i < RELOADS; i++) {
        apr_pool_clear(q);
        set = load(mdm_ctx_make(q, NULL, NULL, NULL), texts);
    }
    reload = (now_s() - start) / RELOADS;
    if (!set) {
        return 1;
    }
    start = now_s();
    for (i = 0; i < LOOKUPS; i++) {
        mdm_addr_t a = {0, 0xffff00000000ull | rnd()};

        if (i & 1) {
            a.hi = 0x20010db800000000ull | rnd();
        }
        found += mdm_cidr_find(set, &a) >= 0;
    }
    lookup = (now_s() - start) / LOOKUPS;
    printf("{\"id\":\"PRF-06\",\"name\":\"access filters\",\"value\":%.0f,\"unit\":\"ns\",\"filters\":%d,\"reload_ms\":%.1f,"
           "\"found\":%u}\n", lookup * 1e9, FILTERS, reload * 1e3, found);
    return lookup > 200e-9 || reload > 50e-3;
}
