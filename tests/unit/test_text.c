/* Text and byte helpers: every decoder gets bad input (SEC-03). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/mdm_text.h"

static apr_pool_t *pool;

static void test_hex(void **state)
{
    mdm_blob_t b;

    assert_string_equal(mdm_hex(pool, "\x00\xff\x1a", 3), "00ff1a");
    assert_int_equal(mdm_unhex(pool, "00FF1a", &b), APR_SUCCESS);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "\x00\xff\x1a", 4);
    assert_int_equal(mdm_unhex(pool, "0", &b), MDM_EINPUT);
    assert_int_equal(mdm_unhex(pool, "0g", &b), MDM_EINPUT);
    assert_int_equal(mdm_unhex(pool, NULL, &b), MDM_EINPUT);
    assert_int_equal(mdm_unhex(pool, "", &b), APR_SUCCESS);
    assert_int_equal(b.len, 0);
}

static void test_base64_round_trip(void **state)
{
    unsigned char raw[300];
    apr_size_t n;

    assert_int_equal(mdm_random(raw, sizeof(raw)), APR_SUCCESS);
    for (n = 0; n < sizeof(raw); n++) {
        char *std = mdm_b64(pool, raw, n), *url = mdm_b64url(pool, raw, n);
        mdm_blob_t b;

        assert_int_equal(strlen(std) % 4, 0);
        assert_null(strpbrk(url, "+/="));
        assert_int_equal(mdm_unb64(pool, std, strlen(std), &b), APR_SUCCESS);
        assert_int_equal(b.len, n);
        assert_memory_equal(b.data, raw, n);
        assert_int_equal(mdm_unb64url(pool, url, &b), APR_SUCCESS);
        assert_int_equal(b.len, n);
        assert_memory_equal(b.data, raw, n);
    }
}

static void test_base64_bad(void **state)
{
    static const char *const bad[] = {"Q",     "QQ",   "QQ=",  "QQ===", "=",    "QUJD=", "Q=Q=",
                                      "QQ==A", "QR==", "QUF=", "QQ-_",  "QQ*=", "====",  "QUJD=QQ="};
    static const char *const bad_url[] = {"Q", "QQ==", "QR", "QQ+/", "Q.Q"};
    mdm_blob_t b;
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(mdm_unb64(pool, bad[i], strlen(bad[i]), &b), MDM_EINPUT);
    for (i = 0; i < sizeof(bad_url) / sizeof(bad_url[0]); i++)
        assert_int_equal(mdm_unb64url(pool, bad_url[i], &b), MDM_EINPUT);
    assert_int_equal(mdm_unb64(pool, " Q\nU\tJ\r\nD ", 10, &b), APR_SUCCESS);
    assert_string_equal((const char *)b.data, "ABC");
    assert_int_equal(mdm_unb64(pool, "QUJDRA==", 8, &b), APR_SUCCESS);
    assert_string_equal((const char *)b.data, "ABCD");
}

static void test_compare_sec07(void **state)
{
    assert_true(mdm_secret_equal("abc", "abc"));
    assert_true(mdm_secret_equal("", ""));
    assert_false(mdm_secret_equal("abc", "abd"));
    assert_false(mdm_secret_equal("abc", "ab"));
    assert_false(mdm_secret_equal(NULL, NULL));
    assert_false(mdm_secret_equal("", NULL));
    assert_true(mdm_bytes_equal("a\0b", "a\0b", 3));
    assert_false(mdm_bytes_equal("a\0b", "a\0c", 3));
}

static void test_uuid(void **state)
{
    char *a = mdm_uuid(pool), *b = mdm_uuid(pool);
    unsigned char raw[16];

    assert_true(mdm_is_uuid(a));
    assert_string_not_equal(a, b);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    assert_int_equal(mdm_uuid_bytes(a, raw), APR_SUCCESS);
    assert_string_equal(mdm_uuid_text(pool, raw), a);
    assert_false(mdm_is_uuid(NULL));
    assert_false(mdm_is_uuid(""));
    assert_false(mdm_is_uuid("01234567-89ab-4cde-8f01-23456789abc"));
    assert_false(mdm_is_uuid("01234567-89ab-4cde-8f01-23456789abcdd"));
    assert_false(mdm_is_uuid("01234567089ab-4cde-8f01-23456789abcd"));
    assert_false(mdm_is_uuid("01234567-89ab-4cde-8f01-23456789abcg"));
    assert_true(mdm_is_uuid("01234567-89AB-4CDE-8F01-23456789ABCD"));
}

static void test_token(void **state)
{
    assert_int_equal(strlen(mdm_token(pool, 32)), 43);
    assert_string_not_equal(mdm_token(pool, 32), mdm_token(pool, 32));
    assert_null(mdm_token(pool, 257));
}

static void test_sha256(void **state)
{
    assert_string_equal(mdm_sha256_hex(pool, "abc", 3),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_utf8(void **state)
{
    static const char *const good[] = {"", "abc", "ü€😀", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
                                      "\xff", "\xc3", "\xe2\x82", "a\xf0\x9f\x98"};
    unsigned i;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(mdm_utf8_valid(good[i], strlen(good[i])));
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(mdm_utf8_valid(bad[i], strlen(bad[i])));
    assert_false(mdm_utf8_valid("a\0b", 3));
}

static void test_clean(void **state)
{
    assert_string_equal(mdm_clean(pool, "  a\r\nb\x01 \xff\xc2\x85ü  ", 100), "a  b ü");
    assert_string_equal(mdm_clean(pool, "aaü", 3), "aa");
    assert_string_equal(mdm_clean(pool, "aaü", 4), "aaü");
    assert_string_equal(mdm_clean(pool, "aa  b", 4), "aa");
    assert_string_equal(mdm_clean(pool, NULL, 4), "");
    assert_string_equal(mdm_clean(pool, "abc", 0), "");
    assert_string_equal(mdm_lower(pool, "ABCzÄ"), "abczÄ");
    assert_true(mdm_is_host("mail.example.org") && mdm_is_host("192.0.2.1") && mdm_is_host("2001:db8::1") && mdm_is_host("a_b"));
    assert_false(mdm_is_host("") || mdm_is_host("a b") || mdm_is_host("a/b") || mdm_is_host("a@b") || mdm_is_host("ä.example"));
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {"", "-", "+1", " 1", "1 ", "0x1", "1.0", "9223372036854775808",
                                      "-9223372036854775809", "99999999999999999999999", "11", "-1"};
    apr_int64_t v;
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(mdm_parse_i64(bad[i], 0, 10, &v), MDM_EINPUT);
    assert_int_equal(mdm_parse_i64(NULL, 0, 10, &v), MDM_EINPUT);
    assert_int_equal(mdm_parse_i64("-9223372036854775808", APR_INT64_MIN, 0, &v), APR_SUCCESS);
    assert_true(v == APR_INT64_MIN);
    assert_int_equal(mdm_parse_i64("9223372036854775807", 0, APR_INT64_MAX, &v), APR_SUCCESS);
    assert_true(v == APR_INT64_MAX);
}

static void test_times(void **state)
{
    assert_string_equal(mdm_time_text(pool, 0), "1970-01-01T00:00:00.000Z");
    assert_string_equal(mdm_time_text(pool, 1795255200123), "2026-11-21T10:00:00.123Z");
    assert_string_equal(mdm_time_text(pool, -1), "1969-12-31T23:59:59.999Z");
    assert_string_equal(mdm_time_text(pool, APR_INT64_MAX), "9999-12-31T23:59:59.999Z");
    assert_string_equal(mdm_time_text(pool, APR_INT64_MIN), "0001-01-01T00:00:00.000Z");
}

static void test_times_read(void **state)
{
    static const struct {
        const char *text;
        apr_int64_t ms;
    } good[] = {{"2026-11-21T10:00:00Z", 1795255200000}, {"2026-11-21t10:00:00.987z", 1795255200000}, {"2026-11-21 11:00:00+01:00", 1795255200000},
                {"2026-11-21T04:30-05:30", 1795255200000}, {"1970-01-01T00:00Z", 0}, {"2028-02-29T00:00Z", 1835395200000},
                /* by the clock of the server, here Berlin: winter, summer, midnight, the hour that summer time leaves out */
                {"2026-11-21T11:00", 1795255200000}, {"2026-07-01 12:00:00", 1782900000000}, {"2026-11-21", 1795215600000}, {"2026-03-29T02:30", 1774747800000}};
    static const char *const bad[] = {"", "soon", "2026-11-21T", "2026-11", "21.11.2026", "2026-02-30T10:00Z", "2026-02-30", "2026-13-01", "2026-00-10", "2026-11-21T24:00",
                                      "2026-11-21T10:60", "2026-11-21T10:00:60Z", "2026-11-21T10", "2026-11-21T10:00 Z", "2026-11-21T10:00+0100", "2026-11-21T10:00+25:00",
                                      "1969-12-31T23:59Z", "1970-01-01T00:00+01:00", "99999-01-01", "2026-11-21T10:00Zx", " 2026-11-21"};
    apr_int64_t ms;
    unsigned i;

    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(mdm_time_read(good[i].text, &ms), APR_SUCCESS);
        if (ms != good[i].ms) {
            fail_msg("%s is %" APR_INT64_T_FMT, good[i].text, ms);
        }
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (mdm_time_read(bad[i], &ms) != MDM_EINPUT) {
            fail_msg("%s is taken", bad[i]);
        }
    }
    assert_string_equal(mdm_time_local(pool, 1795255200000), "2026-11-21 11:00 CET");
    unsetenv("TZ");
    tzset();
}

static void test_mask(void **state)
{
    assert_string_equal(mdm_mask(pool, "C02ABCDEFGH"), "C02A…");
    assert_string_equal(mdm_mask(pool, "üüüüü"), "üüüü…");
    assert_string_equal(mdm_mask(pool, "abcd"), "…");
    assert_string_equal(mdm_mask(pool, NULL), "…");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hex),       cmocka_unit_test(test_base64_round_trip),
        cmocka_unit_test(test_base64_bad), cmocka_unit_test(test_compare_sec07),
        cmocka_unit_test(test_uuid),      cmocka_unit_test(test_token),
        cmocka_unit_test(test_sha256),    cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_clean),     cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_times), cmocka_unit_test(test_times_read),     cmocka_unit_test(test_mask),
    };
    int rc;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rc;
}
