/* Certificates that nobody knows (SEC-03): remembered for seconds, bounded for each address; the clock is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "domain/mdm_strangers.h"

#define NOW APR_INT64_C(1800000000000)

static mdm_strangers_t s;

static int empty(void **state)
{
    memset(&s, 0, sizeof s);
    return 0;
}

static mdm_devkey_t key(unsigned i)
{
    return (mdm_devkey_t){.hi = 0x9e3779b97f4a7c15ULL * (i + 1), .lo = i};
}

static void test_remembered_for_seconds(void **state)
{
    mdm_devkey_t a = key(1), b = key(1 + MDM_STRANGERS);

    assert_false(mdm_stranger_known(&s, &a, NOW));
    mdm_stranger_note(&s, &a, NOW);
    assert_true(mdm_stranger_known(&s, &a, NOW + MDM_STRANGER_MS - 1));
    assert_false(mdm_stranger_known(&s, &a, NOW + MDM_STRANGER_MS));
    assert_false(mdm_stranger_known(&s, &a, NOW - 1)); /* a clock that steps back */
    assert_false(mdm_stranger_known(&s, &b, NOW)); /* the same place, another certificate */
    mdm_stranger_note(&s, &b, NOW);
    assert_true(mdm_stranger_known(&s, &b, NOW));
    assert_false(mdm_stranger_known(&s, &a, NOW));
    mdm_stranger_forget(&s, &b);
    assert_false(mdm_stranger_known(&s, &b, NOW));
    mdm_stranger_note(&s, &a, NOW);
    mdm_strangers_clear(&s);
    assert_false(mdm_stranger_known(&s, &a, NOW));
}

/* What an address may ask in so long, each time as soon as it may. */
static int asked(apr_uint64_t address, apr_int64_t from, int ms)
{
    int n = 0;

    for (int i = 0; i < ms; i++) {
        while (!mdm_strangers_full(&s, address, from + i)) {
            mdm_strangers_count(&s, address, from + i);
            n++;
        }
    }
    return n;
}

static void test_bounded_for_each_address(void **state)
{
    apr_uint64_t bad = 0x1234000000000001ULL, good = 0x4321000000000002ULL, same_place = 0x5678000000000001ULL + MDM_STRANGERS;
    int n = asked(bad, NOW, 10000);

    assert_in_range(n, MDM_STRANGER_BURST + 9 * MDM_STRANGER_RATE, MDM_STRANGER_BURST + 10 * MDM_STRANGER_RATE + 1);
    assert_true(mdm_strangers_full(&s, bad, NOW + 9999));
    assert_false(mdm_strangers_full(&s, good, NOW + 9999));
    assert_false(mdm_strangers_full(&s, same_place, NOW + 9999));
    assert_int_equal(asked(bad, NOW + 3600000, 1), MDM_STRANGER_BURST);
    assert_false(mdm_strangers_full(&s, bad, NOW - 86400000)); /* a clock that steps back shuts nobody out */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_remembered_for_seconds, empty),
        cmocka_unit_test_setup(test_bounded_for_each_address, empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
