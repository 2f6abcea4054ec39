/* Address filters against a plain first-match evaluator, and every way to write them wrong (ACC-02, ACC-07, ACC-10). */
#include "ctxtest.h"
#include <stdlib.h>
#include <string.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "domain/mdm_cidr.h"

#define MAXIMUM "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

static const mdm_cidr_set_t *compile(const char *const *texts, int n)
{
    const apr_array_header_t **lists = apr_pcalloc(pool, sizeof(*lists) * (apr_size_t)(n + 1));
    const mdm_cidr_set_t *set;
    int i;

    for (i = 0; i < n; i++) {
        apr_array_header_t *one;

        assert_int_equal(mdm_cidr_parse(ctx, "addresses", texts[i], &one, NULL), APR_SUCCESS);
        lists[i] = one;
    }
    assert_int_equal(mdm_cidr_compile(pool, lists, n, &set), APR_SUCCESS);
    return set;
}

static int find(const mdm_cidr_set_t *set, const char *text)
{
    mdm_addr_t a;

    assert_int_equal(mdm_addr_parse(text, &a), APR_SUCCESS);
    return mdm_cidr_find(set, &a);
}

static void test_mistakes_have_a_place(void **state)
{
    static const struct {
        const char *text;
        int at;
    } rows[] = {
        {"", 1}, {"   ", 4}, {",", 1}, {"10.0.0.1,", 10}, {"10.0.0.1,,10.0.0.2", 10}, {"10.0.0.1 10.0.0.2", 10},
        {"10.0.0", 1}, {"10.0.0.256", 1}, {"10.0.0.01", 1}, {"10.0.0.1/33", 10}, {"10.0.0.1/", 10}, {"10.0.0.1/-1", 10},
        {"10.0.0.1/08", 10}, {"10.0.0.0/255.0.0.0", 10}, {"10.0.0.0/8/8", 11}, {"::/129", 4}, {"::/1280", 4}, {"::g", 3},
        {":::", 1}, {"1:2:3:4:5:6:7:8:9", 1}, {"fe80::1%eth0", 8}, {"10.0.0.1, fe80::1%1/64", 18}, {"10.0.0.9-10.0.0.1", 10},
        {"10.0.0.1 - ", 12}, {"10.0.0.1 - ::1", 12}, {"::1 - 10.0.0.1", 7}, {"- 10.0.0.1", 1}, {"10.0.0.1-2", 10},
        {"10.0.0.1-10.0.0.9-10.0.0.12", 18}, {"10.0.0.0/8-11.0.0.0/8", 11}, {"example.org", 1}, {"all", 1}, {"*", 1},
        {"[::1]", 1}, {"10.0.0.1;", 9}, {"10.0.0.1\xc3\xa4", 9}, {"10.0.0.1:80", 1}, {"0x0a000001", 1},
        {"11111111111111111111111111111111111111111111111111111111111", 1}};
    char *lengthy = apr_pcalloc(pool, MDM_CIDR_TEXT + 2);
    apr_array_header_t *ranges;
    size_t i;
    int at;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        at = 0;
        if (mdm_cidr_parse(ctx, "addresses", rows[i].text, &ranges, &at) != MDM_EINPUT || at != rows[i].at) {
            fail_msg("'%s': %d, not %d", rows[i].text, at, rows[i].at);
        }
        assert_null(ranges);
        assert_string_equal(ctx->fail_field, "addresses");
        assert_non_null(strstr(ctx->fail_text, apr_psprintf(pool, "character %d: ", at)));
    }
    memset(lengthy, ' ', MDM_CIDR_TEXT + 1);
    memcpy(lengthy, "::1", 3);
    assert_int_equal(mdm_cidr_parse(ctx, "addresses", lengthy, &ranges, &at), MDM_EINPUT);
    lengthy[MDM_CIDR_TEXT] = 0;
    assert_int_equal(mdm_cidr_parse(ctx, "addresses", lengthy, &ranges, NULL), APR_SUCCESS);
}

static void test_single_addresses(void **state)
{
    static const char *const wrong[] = {"", " ::1", "::1 ", "fe80::1%1", "10.0.0.0/8", "1.2.3", "localhost"};
    mdm_addr_t a, b;
    size_t i;

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(mdm_addr_parse(wrong[i], &a), MDM_EINPUT);
    }
    assert_int_equal(mdm_addr_parse(NULL, &a), MDM_EINPUT);
    assert_int_equal(mdm_addr_parse("::ffff:10.1.2.3", &a), APR_SUCCESS);
    assert_int_equal(mdm_addr_parse("10.1.2.3", &b), APR_SUCCESS);
    assert_true(a.hi == b.hi && a.lo == b.lo);
}

static void test_every_form_and_first_match(void **state)
{
    static const char *const list[] = {
        "10.0.0.5",                                     /* 0 */
        "10.0.0.0/24, 10.0.1.0 - 10.0.1.9,2001:db8::1", /* 1 */
        "10.0.0.0/8",                                   /* 2 */
        "2001:db8::/32\n,\tfd00::-fd00::ff",            /* 3 */
        "::ffff:192.0.2.0/120",                         /* 4: IPv4 in IPv6's clothes */
        "::/0",                                         /* 5: all of IPv6 */
        "203.0.113.7/0"};                               /* 6: all of IPv4 */
    static const struct {
        const char *addr;
        int filter;
    } rows[] = {{"10.0.0.5", 0}, {"::ffff:10.0.0.5", 0}, {"10.0.0.4", 1}, {"10.0.0.6", 1}, {"10.0.0.255", 1}, {"10.0.1.9", 1},
                {"10.0.1.10", 2}, {"10.255.255.255", 2}, {"11.0.0.0", 6}, {"0.0.0.0", 6}, {"255.255.255.255", 6},
                {"2001:db8::1", 1}, {"2001:db8::2", 3}, {"2001:db9::", 5}, {"fd00::ff", 3}, {"fd00::100", 5},
                {"192.0.2.255", 4}, {"192.0.3.0", 6}, {"::", 5}, {"::1", 5}, {MAXIMUM, 5}, {"::fffe:ffff:ffff", 5},
                {"::1:0:0:0", 5}};
    const mdm_cidr_set_t *set = compile(list, 7);
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (find(set, rows[i].addr) != rows[i].filter) {
            fail_msg("%s: %d", rows[i].addr, find(set, rows[i].addr));
        }
    }
}

static void test_ends_of_the_space(void **state)
{
    static const char *const ends[] = {"::", MAXIMUM, "::-::5", "ffff::-" MAXIMUM};
    static const char *const none[] = {"::ffff:1.2.3.4 - ::ffff:1.2.3.9"};
    const mdm_cidr_set_t *set = compile(NULL, 0);

    assert_int_equal(find(set, "::"), -1);
    assert_int_equal(find(set, MAXIMUM), -1);
    set = compile(ends, 4);
    assert_int_equal(find(set, "::"), 0);
    assert_int_equal(find(set, "::1"), 2);
    assert_int_equal(find(set, "::6"), -1);
    assert_int_equal(find(set, "ffff::"), 3);
    assert_int_equal(find(set, MAXIMUM), 1);
    assert_int_equal(find(set, "1.2.3.4"), -1);
    set = compile(none, 1);
    assert_int_equal(find(set, "1.2.3.3"), -1);
    assert_int_equal(find(set, "1.2.3.4"), 0);
    assert_int_equal(find(set, "1.2.3.10"), -1);
}

/* ---------------------------------------------------------------- property: as the plain evaluator says */

static uint64_t seed = 42;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static int below(mdm_addr_t a, mdm_addr_t b)
{
    return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
}

/* Near to others most of the time, so that filters touch and cover each other. */
static mdm_addr_t some(int v6)
{
    static const uint64_t highs[] = {0, 1, 0x20010db800000000ull, 0xfe80000000000000ull, ~0ull};
    mdm_addr_t a;

    if (!v6) {
        a.hi = 0;
        a.lo = 0xffff00000000ull | (rnd() % 3 ? 0x0a000000u | (rnd() & 0x3ff) : rnd() & 0xffffffffu);
        return a;
    }
    a.hi = highs[rnd() % 5];
    a.lo = rnd() % 3 ? rnd() & 0x3ff : rnd() % 4 ? ~(rnd() & 0x3ff) : rnd();
    return a;
}

static const char *text(mdm_addr_t a)
{
    if (a.hi == 0 && a.lo >> 32 == 0xffff && rnd() % 4) {
        return apr_psprintf(pool, "%d.%d.%d.%d", (int)(a.lo >> 24 & 255), (int)(a.lo >> 16 & 255), (int)(a.lo >> 8 & 255),
                            (int)(a.lo & 255));
    }
    return apr_psprintf(pool, "%x:%x:%x:%x:%x:%x:%x:%x", (int)(a.hi >> 48), (int)(a.hi >> 32 & 0xffff),
                        (int)(a.hi >> 16 & 0xffff), (int)(a.hi & 0xffff), (int)(a.lo >> 48), (int)(a.lo >> 32 & 0xffff),
                        (int)(a.lo >> 16 & 0xffff), (int)(a.lo & 0xffff));
}

typedef struct {
    mdm_addr_t from, to;
    int v6, filter;
} naive_t;

static naive_t masked(mdm_addr_t a, int bits)
{
    naive_t n = {a, a, 0, 0};
    int i;

    for (i = bits; i < 128; i++) { /* bit by bit: on purpose not as the code does it */
        uint64_t *f = i < 64 ? &n.from.hi : &n.from.lo, *t = i < 64 ? &n.to.hi : &n.to.lo, bit = 1ull << (63 - i % 64);

        *f &= ~bit;
        *t |= bit;
    }
    return n;
}

static const char *random_filter(naive_t *all, int *n, int filter)
{
    const char *out = "";
    int i, count = 1 + (int)(rnd() % 3);

    for (i = 0; i < count; i++) {
        int v6 = (int)(rnd() % 2), kind = (int)(rnd() % 3), bits;
        mdm_addr_t a = some(v6), b = some(v6), swap;
        const char *one = text(a);
        naive_t piece = {a, a, v6, filter};

        if (kind == 1) {
            bits = (int)(rnd() % (v6 ? 129 : 33));
            piece = masked(a, v6 ? bits : bits + 96);
            piece.v6 = v6;
            piece.filter = filter;
            one = apr_psprintf(pool, "%s/%d", one, v6 || strchr(one, ':') ? (v6 ? bits : bits + 96) : bits);
        } else if (kind == 2) {
            if (below(b, a)) {
                swap = a, a = b, b = swap;
            }
            piece.from = a;
            piece.to = b;
            one = apr_psprintf(pool, "%s%s%s", text(a), rnd() % 2 ? " - " : "-", text(b));
        }
        all[(*n)++] = piece;
        out = apr_pstrcat(pool, out, i ? rnd() % 2 ? ", " : "," : "", one, NULL);
    }
    return out;
}

static int naive_find(const naive_t *all, int n, mdm_addr_t a)
{
    int i, v6 = !(a.hi == 0 && a.lo >> 32 == 0xffff);

    for (i = 0; i < n; i++) {
        if (v6 == all[i].v6 && !below(a, all[i].from) && !below(all[i].to, a)) {
            return all[i].filter;
        }
    }
    return -1;
}

static void test_same_as_first_match(void **state)
{
    naive_t all[120];
    const char *texts[40];
    int round, i, n, filters;

    for (round = 0; round < 1000; round++) {
        const mdm_cidr_set_t *set;

        for (filters = (int)(rnd() % 40), n = 0, i = 0; i < filters; i++) {
            texts[i] = random_filter(all, &n, i);
        }
        set = compile(texts, filters);
        for (i = 0; i < 1000; i++) { /* 10^6 in all; half of them at the edges of filters */
            mdm_addr_t a = some((int)(rnd() % 2));

            if (n && rnd() % 2) {
                const naive_t *near = &all[rnd() % (uint64_t)n];

                a = rnd() % 2 ? near->from : near->to;
                a.lo += rnd() % 3 - 1;
            }
            if (mdm_cidr_find(set, &a) != naive_find(all, n, a)) {
                fail_msg("round %d: %s: %d, not %d", round, text(a), mdm_cidr_find(set, &a), naive_find(all, n, a));
            }
        }
        apr_pool_clear(pool);
        ctx = mdm_ctx_make(pool, NULL, NULL, NULL);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_mistakes_have_a_place), T(test_single_addresses),
                                       T(test_every_form_and_first_match), T(test_ends_of_the_space),
                                       T(test_same_as_first_match)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
