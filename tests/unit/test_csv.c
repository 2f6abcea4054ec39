/* Rows of CSV (R33, UI-01): quoting, formulas, numbers, control characters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_pools.h>
#include <apr_strings.h>
#include <string.h>
#include "wire/mdm_csv.h"

static apr_pool_t *P;

static void row_is(const char *cell, const char *want)
{
    const char *cells[] = {cell, NULL, "x"};

    assert_string_equal(mdm_csv_row(P, cells, 3), apr_pstrcat(P, want, ",,\"x\"\r\n", NULL));
}

static void test_cells(void **state)
{
    const struct {
        const char *cell, *want;
    } cases[] = {{"plain", "\"plain\""}, {"", ""}, {"a\"b,c;d", "\"a\"\"b,c;d\""}, {"=1+1", "\"'=1+1\""}, {"+49 30", "\"'+49 30\""},
                 {"-cmd", "\"'-cmd\""}, {"@x", "\"'@x\""}, {"-5", "\"'-5\""}, {"5", "\"5\""},
                 {"-", "\"'-\""}, {"\t=1", "\" =1\""}, {"a\r\nb", "\"a  b\""}, {"\x7f", "\" \""},
                 {"\xf0\x9f\x93\xb1 \xe2\x80\xae", "\"\xf0\x9f\x93\xb1 \xe2\x80\xae\""}, {"\"\"\"", "\"\"\"\"\"\"\"\""}};
    unsigned i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        row_is(cases[i].cell, cases[i].want);
}

static void test_long_and_empty_rows(void **state)
{
    char *quotes = apr_palloc(P, 100001);
    const char *cells[] = {quotes};

    memset(quotes, '"', 100000);
    quotes[100000] = '\0';
    assert_int_equal(strlen(mdm_csv_row(P, cells, 1)), 200004);
    assert_string_equal(mdm_csv_row(P, cells, 0), "\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cells), cmocka_unit_test(test_long_and_empty_rows)};
    int failed;

    apr_initialize();
    apr_pool_create(&P, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
