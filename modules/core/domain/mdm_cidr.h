/* Owns address filters: reading them, and finding the first of an ordered list that holds an address (ACC-02, ACC-07,
 * ACC-10). Pure. */
#ifndef MDM_CIDR_H
#define MDM_CIDR_H

#include <apr_tables.h>
#include "base/mdm_text.h"

#define MDM_CIDR_TEXT 4000 /* longest text of one filter */

/* A 128-bit address; an IPv4 address is ::ffff:a.b.c.d, so mapped and plain ones are the same. */
typedef struct mdm_addr_t {
    apr_uint64_t hi, lo;
} mdm_addr_t;

typedef struct mdm_range_t {
    mdm_addr_t from, to; /* both included */
} mdm_range_t;

/* One IPv4 or IPv6 address, nothing around it, no zone id. MDM_EINPUT otherwise. */
apr_status_t mdm_addr_parse(const char *text, mdm_addr_t *out);

/* One filter: addresses, CIDR and ranges "a - b", separated by commas. An IPv6 range does not hold IPv4 clients unless it
 * lies within ::ffff:0:0/96. MDM_EINPUT through mdm_fail() with `field`; the sentence begins with the place of the mistake,
 * which is also in *at (characters from 1; may be NULL). *ranges holds mdm_range_t in ctx->pool. */
apr_status_t mdm_cidr_parse(mdm_ctx_t *ctx, const char *field, const char *text, apr_array_header_t **ranges, int *at);

/* An ordered list, compiled: which filter is the first that holds an address, by one binary search. */
typedef struct mdm_cidr_set_t mdm_cidr_set_t;

/* filters[i] holds mdm_range_t. Made in p; scratch is freed before it returns. */
apr_status_t mdm_cidr_compile(apr_pool_t *p, const apr_array_header_t *const *filters, int n, const mdm_cidr_set_t **out);
/* The index of the deciding filter, -1 if none holds the address. */
int mdm_cidr_find(const mdm_cidr_set_t *set, const mdm_addr_t *addr);

#endif
