/* Address filters: text to ranges, ordered ranges to disjoint intervals. */
#include "domain/mdm_cidr.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>

#define MAPPED 0xffff00000000ull /* ::ffff:0:0 */

static int less(mdm_addr_t a, mdm_addr_t b)
{
    return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
}

static int is_v4(mdm_addr_t a)
{
    return a.hi == 0 && a.lo >> 32 == MAPPED >> 32;
}

/* The next address, or the one before; callers know that there is one. */
static mdm_addr_t next(mdm_addr_t a)
{
    a.hi += ++a.lo == 0;
    return a;
}

static mdm_addr_t prev(mdm_addr_t a)
{
    a.hi -= a.lo-- == 0;
    return a;
}

static apr_uint64_t big_endian(const unsigned char *b)
{
    apr_uint64_t v = 0;
    int i;

    for (i = 0; i < 8; i++) {
        v = v << 8 | b[i];
    }
    return v;
}

apr_status_t mdm_addr_parse(const char *text, mdm_addr_t *out)
{
    unsigned char b[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    if (!text || (inet_pton(AF_INET, text, b + 12) != 1 && inet_pton(AF_INET6, text, b) != 1)) {
        return MDM_EINPUT;
    }
    out->hi = big_endian(b);
    out->lo = big_endian(b + 8);
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- reading */

typedef struct {
    const char *text, *s; /* whole text, place */
    const char *wrong;    /* where the mistake is, and what */
    const char *why;
} reader_t;

static int bad(reader_t *r, const char *where, const char *why)
{
    r->wrong = where;
    r->why = why;
    return 0;
}

static void space(reader_t *r)
{
    r->s += strspn(r->s, " \t\r\n");
}

static int address(reader_t *r, mdm_addr_t *out, int *v6)
{
    apr_size_t n = strspn(r->s, "0123456789abcdefABCDEF.:");
    char one[INET6_ADDRSTRLEN + 1];

    if (r->s[n] == '%') {
        return bad(r, r->s + n, "an address with a zone can't be used");
    }
    if (n == 0) {
        return bad(r, r->s, *r->s ? "an address is expected" : "an address is missing");
    }
    if (n > INET6_ADDRSTRLEN) {
        return bad(r, r->s, "this is not an address");
    }
    memcpy(one, r->s, n);
    one[n] = 0;
    if (mdm_addr_parse(one, out) != APR_SUCCESS) {
        return bad(r, r->s, "this is not an address");
    }
    *v6 = memchr(one, ':', n) != NULL;
    r->s += n;
    return 1;
}

/* "/24" behind an address: the range of all addresses with the same beginning. */
static int prefix(reader_t *r, int v6, mdm_range_t *range)
{
    int digits = (int)strspn(r->s, "0123456789"), bits = digits > 0 && digits <= 3 ? (int)strtol(r->s, NULL, 10) : -1;
    apr_uint64_t hi, lo;

    if (bits < 0 || bits > (v6 ? 128 : 32) || (digits > 1 && *r->s == '0')) {
        return bad(r, r->s, v6 ? "the prefix length must be 0 to 128" : "the prefix length must be 0 to 32");
    }
    r->s += digits;
    bits += v6 ? 0 : 96;
    hi = bits == 0 ? 0 : bits >= 64 ? ~0ull : ~0ull << (64 - bits);
    lo = bits <= 64 ? 0 : ~0ull << (128 - bits);
    range->from.hi &= hi;
    range->from.lo &= lo;
    range->to.hi = range->from.hi | ~hi;
    range->to.lo = range->from.lo | ~lo;
    return 1;
}

/* Clients with IPv4 addresses are not meant by "::/0". */
static void push(apr_array_header_t *ranges, mdm_range_t r)
{
    const mdm_addr_t first = {0, MAPPED}, last = {0, MAPPED | 0xffffffffu};

    if (is_v4(r.from) == is_v4(r.to) && (is_v4(r.from) || less(r.to, first) || less(last, r.from))) {
        APR_ARRAY_PUSH(ranges, mdm_range_t) = r;
        return;
    }
    if (less(r.from, first)) {
        mdm_range_t *low = apr_array_push(ranges);
        low->from = r.from;
        low->to = prev(first);
    }
    if (less(last, r.to)) {
        mdm_range_t *high = apr_array_push(ranges);
        high->from = next(last);
        high->to = r.to;
    }
}

static int item(reader_t *r, apr_array_header_t *ranges)
{
    mdm_range_t range;
    const char *begin;
    int v6, other;

    space(r);
    if (!address(r, &range.from, &v6)) {
        return 0;
    }
    range.to = range.from;
    space(r);
    if (*r->s == '/') {
        r->s++;
        if (!prefix(r, v6, &range)) {
            return 0;
        }
    } else if (*r->s == '-') {
        r->s++;
        space(r);
        begin = r->s;
        if (!address(r, &range.to, &other)) {
            return 0;
        }
        if (is_v4(range.from) != is_v4(range.to)) {
            return bad(r, begin, "both ends of a range must be IPv4 or both IPv6");
        }
        if (less(range.to, range.from)) {
            return bad(r, begin, "the range ends before it begins");
        }
    }
    push(ranges, range);
    space(r);
    return 1;
}

apr_status_t mdm_cidr_parse(mdm_ctx_t *ctx, const char *field, const char *text, apr_array_header_t **ranges, int *at)
{
    apr_array_header_t *made = apr_array_make(ctx->pool, 1, sizeof(mdm_range_t));
    reader_t r = {text, text, NULL, NULL};
    int place;

    *ranges = NULL;
    if (strlen(text) > MDM_CIDR_TEXT) {
        bad(&r, text + MDM_CIDR_TEXT, "the filter is too long: make several");
    } else {
        while (item(&r, made) && *r.s) {
            if (*r.s != ',') {
                bad(&r, r.s, "a comma is expected");
                break;
            }
            r.s++;
        }
    }
    if (r.wrong) {
        place = (int)(r.wrong - text) + 1;
        if (at) {
            *at = place;
        }
        return mdm_fail(ctx, MDM_EINPUT, field, "character %d: %s", place, r.why);
    }
    *ranges = made;
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- compiling */

typedef struct {
    mdm_range_t range;
    int filter;
} piece_t;

struct mdm_cidr_set_t {
    int n;
    const mdm_addr_t *from; /* from[i] to before from[i + 1]: filter[i]; from[0] is address 0 */
    const int *filter;
};

static int by_from(const void *a, const void *b)
{
    const piece_t *x = a, *y = b;

    return less(x->range.from, y->range.from) ? -1 : less(y->range.from, x->range.from) ? 1 : x->filter - y->filter;
}

/* A heap of the pieces that may cover the place, the earliest filter on top. */
typedef struct {
    const piece_t **at;
    int n;
} heap_t;

static void heap_add(heap_t *h, const piece_t *p)
{
    int i = h->n++;

    for (; i > 0 && h->at[(i - 1) / 2]->filter > p->filter; i = (i - 1) / 2) {
        h->at[i] = h->at[(i - 1) / 2];
    }
    h->at[i] = p;
}

static void heap_pop(heap_t *h)
{
    const piece_t *p = h->at[--h->n];
    int i = 0, k;

    for (; (k = 2 * i + 1) < h->n; i = k) {
        k += k + 1 < h->n && h->at[k + 1]->filter < h->at[k]->filter;
        if (p->filter <= h->at[k]->filter) {
            break;
        }
        h->at[i] = h->at[k];
    }
    h->at[i] = p;
}

typedef struct {
    mdm_addr_t *from;
    int *filter;
    int n;
} cover_t;

static void emit(cover_t *c, mdm_addr_t from, int filter)
{
    if (c->n && c->filter[c->n - 1] == filter) {
        return;
    }
    if (c->n && !less(c->from[c->n - 1], from)) {
        c->n--; /* only the gap before the first address */
    }
    c->from[c->n] = from;
    c->filter[c->n++] = filter;
}

/* Walks through all places where the answer may change: each piece begins once and ends at most once. */
static void sweep(const piece_t *pieces, int n, heap_t *heap, cover_t *c)
{
    const mdm_addr_t zero = {0, 0}, last = {~0ull, ~0ull};
    mdm_addr_t at = zero;
    int i = 0;

    emit(c, zero, -1);
    while (i < n || heap->n) {
        while (i < n && !less(at, pieces[i].range.from)) {
            heap_add(heap, &pieces[i++]);
        }
        while (heap->n && less(heap->at[0]->range.to, at)) {
            heap_pop(heap);
        }
        emit(c, at, heap->n ? heap->at[0]->filter : -1);
        if (heap->n && less(heap->at[0]->range.to, last)) {
            at = next(heap->at[0]->range.to);
            if (i < n && less(pieces[i].range.from, at)) {
                at = pieces[i].range.from;
            }
        } else if (i < n) {
            at = pieces[i].range.from;
        } else {
            break;
        }
    }
}

apr_status_t mdm_cidr_compile(apr_pool_t *p, const apr_array_header_t *const *filters, int n, const mdm_cidr_set_t **out)
{
    mdm_cidr_set_t *set = apr_palloc(p, sizeof(*set));
    heap_t heap = {NULL, 0};
    cover_t c = {NULL, NULL, 0};
    apr_pool_t *scratch;
    piece_t *pieces;
    int i, k, total = 0;
    apr_status_t rv = apr_pool_create(&scratch, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (i = 0; i < n; i++) {
        total += filters[i]->nelts;
    }
    pieces = apr_palloc(scratch, sizeof(*pieces) * (apr_size_t)(total + 1));
    heap.at = apr_palloc(scratch, sizeof(*heap.at) * (apr_size_t)(total + 1)); /* of pointers: NOLINT(bugprone-sizeof-expression) */
    c.from = apr_palloc(scratch, sizeof(*c.from) * (apr_size_t)(2 * total + 2));
    c.filter = apr_palloc(scratch, sizeof(*c.filter) * (apr_size_t)(2 * total + 2));
    for (total = 0, i = 0; i < n; i++) {
        for (k = 0; k < filters[i]->nelts; k++, total++) {
            pieces[total].range = APR_ARRAY_IDX(filters[i], k, mdm_range_t);
            pieces[total].filter = i;
        }
    }
    qsort(pieces, (size_t)total, sizeof(*pieces), by_from);
    sweep(pieces, total, &heap, &c);
    set->n = c.n;
    set->from = apr_pmemdup(p, c.from, sizeof(*c.from) * (apr_size_t)c.n);
    set->filter = apr_pmemdup(p, c.filter, sizeof(*c.filter) * (apr_size_t)c.n);
    apr_pool_destroy(scratch);
    *out = set;
    return APR_SUCCESS;
}

int mdm_cidr_find(const mdm_cidr_set_t *set, const mdm_addr_t *addr)
{
    const mdm_addr_t *base = set->from;
    int n = set->n;

    while (n > 1) { /* base begins at or before the address all the time */
        int half = n / 2;
        const mdm_addr_t *mid = base + half;
        /* without a branch: no prediction helps here */
        int before = (addr->hi < mid->hi) | ((addr->hi == mid->hi) & (addr->lo < mid->lo));

        base += half & (before - 1);
        n -= half;
    }
    return set->filter[base - set->from];
}
