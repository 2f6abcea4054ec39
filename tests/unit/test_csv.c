/* Rows of CSV (R33, UI-01): quoting, formulas, numbers, control characters; files of others as they come (EAS-05, SEC-03). */
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
                 {"-", "\"'-\""}, {"\t=1", "\"' =1\""}, {"\r\n@x", "\"'  @x\""}, {"a\r\nb", "\"a  b\""}, {"\x7f", "\" \""},
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

/* ---- reading */

/* Rows as "line:cell|cell" and "line!error", each ended by a line feed. */
static apr_status_t write_down(void *data, const mdm_csv_row_t *row)
{
    char **out = data;
    int i;

    *out = apr_psprintf(P, "%s%d%s%s", *out, row->line, row->error ? "!" : ":", row->error ? row->error : "");
    for (i = 0; i < row->n; i++)
        *out = apr_pstrcat(P, *out, i ? "|" : "", row->cells[i], NULL);
    *out = apr_pstrcat(P, *out, "\n", NULL);
    return APR_SUCCESS;
}

static const char *read_in(const char *data, apr_size_t len, apr_size_t piece)
{
    char *out = apr_pstrdup(P, "");
    mdm_csv_reader_t *r = mdm_csv_reader(P, write_down, &out);
    apr_size_t at;

    for (at = 0; at < len; at += piece)
        assert_int_equal(mdm_csv_feed(r, data + at, len - at < piece ? len - at : piece), APR_SUCCESS);
    assert_int_equal(mdm_csv_end(r), APR_SUCCESS);
    return out;
}

/* The same in one piece and byte for byte. */
static void reads_as(const char *data, apr_size_t len, const char *want)
{
    assert_string_equal(read_in(data, len, len ? len : 1), want);
    assert_string_equal(read_in(data, len, 1), want);
}

#define READS(text, want) reads_as(text, sizeof(text) - 1, want)

static void test_reading(void **state)
{
    READS("", "");
    READS("a,b\r\nc,d\r\n", "1:a|b\n2:c|d\n");
    READS("a;b,c\nd", "1:a|b,c\n2:d\n");
    READS("a,b;c\rd;e,f\r", "1:a|b;c\n2:d;e|f\n");
    READS("\xef\xbb\xbf" "a,b\n", "1:a|b\n");
    READS("\xef\xbb", "1!the row is not UTF-8: save the file as \"CSV UTF-8\"\n");
    READS("\xef\xbb" "a\nb", "1!the row is not UTF-8: save the file as \"CSV UTF-8\"\n2:b\n");
    READS("\xef\xbb\xbf", "");
    READS("\n\r\n\na\n\nb", "4:a\n6:b\n");
    READS("sep=;\r\na;b,c\n", "2:a|b,c\n");
    READS("a,b\nsep=,\n", "1:a|b\n2:sep=|\n");
    READS("\"a\r\nb\",\"c\"\"d\",\"\"\r\ne", "1:a\r\nb|c\"d|\n3:e\n");
    READS("\"a;b\",c\n", "1:a;b|c\n");
    READS(",\n", "1:|\n");
    READS("\"\"", "1:\n");
    READS(" a , b ", "1: a | b \n");
    READS("M\xc3\xbcller,\xf0\x9f\x93\xb1", "1:M\xc3\xbcller|\xf0\x9f\x93\xb1\n");
}

static void test_tabs_and_utf16(void **state)
{
    static const char broken[] = "1!the row is not UTF-16: save the file as \"CSV UTF-8\"\n";

    READS("a\tb,c;d\r\n\"e\tf\"\tg\r\n", "1:a|b,c;d\n2:e\tf|g\n");
    READS("a,b\tc\n", "1:a|b\tc\n");
    READS("sep=\t\na\tb\n", "2:a|b\n");
    READS("\xff\xfe" "a\0\t\0\xfc\0\r\0\n\0=\xd8\xf1\xdc\t\0\xac\x20", "1:a|\xc3\xbc\n2:\xf0\x9f\x93\xb1|\xe2\x82\xac\n");
    READS("\xfe\xff" "\0a\0;\0\xfc\0\n\xd8=\xdc\xf1", "1:a|\xc3\xbc\n2:\xf0\x9f\x93\xb1\n");
    READS("\xff\xfe", "");
    READS("\xff", "1!the row is not UTF-8: save the file as \"CSV UTF-8\"\n");
    READS("\xfe" "a\nb", "1!the row is not UTF-8: save the file as \"CSV UTF-8\"\n2:b\n");
    /* halves of characters: the end of the file, a first without a second, a second without a first */
    READS("\xff\xfe" "a\0b", broken);
    READS("\xff\xfe" "a\0=\xd8", broken);
    READS("\xff\xfe=\xd8" "b\0\n\0c\0", apr_pstrcat(P, broken, "2:c\n", NULL));
    READS("\xff\xfe=\xd8=\xd8\xf1\xdc\n\0c\0", apr_pstrcat(P, broken, "2:c\n", NULL));
    READS("\xfe\xff\xdc\xf1\0\n\0c", apr_pstrcat(P, broken, "2:c\n", NULL));
    READS("\xff\xfe" "a\0\0\0\n\0c\0", "1!the row holds a NUL byte: save the file as \"CSV UTF-8\"\n2:c\n");
    READS("a\0,\0b\0", "1!the row holds a NUL byte: save the file as \"CSV UTF-8\"\n"); /* no mark */
}

static void test_rows_that_are_wrong(void **state)
{
    READS("a,M\xfcller\nb", "1!the row is not UTF-8: save the file as \"CSV UTF-8\"\n2:b\n");
    READS("a,b\0c\nd", "1!the row holds a NUL byte: save the file as \"CSV UTF-8\"\n2:d\n");
    READS("a\"b,c\nd", "1!a quote stands within a cell that does not begin with one\n2:d\n");
    READS("\"a\"b,c\nd", "1!a quoted cell has text behind its end\n2:d\n");
    READS("a\n\"b\nc", "1:a\n2!a quoted cell is not closed\n");
    READS("\"", "1!a quoted cell is not closed\n");
}

static void test_sizes(void **state)
{
    const apr_size_t most = MDM_CSV_ROW_MAX - 1;
    char *big = apr_palloc(P, 1 << 20), *text;

    memset(big, 'x', 1 << 20);
    memcpy(big + most, "\ny\n", 3);
    reads_as(big, most + 3, apr_psprintf(P, "1:%.*s\n2:y\n", (int)most, big));
    memset(big, 'x', 1 << 20);
    memcpy(big + (1 << 20) - 3, "\ny\n", 3);
    reads_as(big, 1 << 20, "1!the row is too long\n2:y\n");
    big[0] = big[(1 << 20) - 4] = '"'; /* the same in quotes, with a line end in it */
    big[70000] = '\n';
    reads_as(big, 1 << 20, "1!a quoted cell is too long, or is not closed\n2!the row is too long\n3:y\n");
    memset(big, 'x', 1 << 20); /* a quote that was forgotten ends with the line in which the row gets too long */
    memcpy(big, "\"a\nb\n", 5);
    memcpy(big + 66000, "\n\"y\"\nz", 6);
    reads_as(big, 66006, "1!a quoted cell is too long, or is not closed\n4:y\n5:z\n");
    text = apr_palloc(P, MDM_CSV_CELLS_MAX + 2);
    memset(text, ',', MDM_CSV_CELLS_MAX);
    memcpy(text + MDM_CSV_CELLS_MAX, "\nz", 2);
    reads_as(text, MDM_CSV_CELLS_MAX + 2, "1!the row has too many cells\n2:z\n");
    memset(text, ',', MDM_CSV_CELLS_MAX - 1);
    memcpy(text + MDM_CSV_CELLS_MAX - 1, "\nz", 2);
    text[0] = ';';
    text[1] = ',';
    reads_as(text, MDM_CSV_CELLS_MAX + 1, apr_psprintf(P, "1:|%.*s\n2:z\n", MDM_CSV_CELLS_MAX - 2, text + 1));
}

static apr_status_t refuse(void *data, const mdm_csv_row_t *row)
{
    ++*(int *)data;
    return MDM_ECONFLICT;
}

static void test_the_taker_ends_it(void **state)
{
    int n = 0;
    mdm_csv_reader_t *r = mdm_csv_reader(P, refuse, &n);

    assert_int_equal(mdm_csv_feed(r, "a\nb\nc\n", 6), MDM_ECONFLICT);
    assert_int_equal(n, 1);
}

/* What we write is what we read, but for the guard against formulas. */
static void test_round_trip(void **state)
{
    const char *cells[] = {"a\"b", "", "c,d;e", " f ", "g"};
    const char *row = mdm_csv_row(P, cells, 5);

    reads_as(row, strlen(row), "1:a\"b||c,d;e| f |g\n");
}

static void test_titles(void **state)
{
    static const mdm_env_t env;
    static const mdm_csv_column_t columns[] = {{"User|Login", 1}, {"DeviceId|Device ID", 1}, {"Type", 0}};
    const char *good[] = {"first seen", "LOGIN", "device_id", "Login"}, *both[] = {"Login", "User", "Device-Id"},
               *twice[] = {"user", "device id", "User", ""}, *none[] = {"user", "x"};
    mdm_csv_row_t row = {1, 3, good, NULL}, bad = {1, 0, NULL, "the row is too long"};
    mdm_ctx_t *ctx = mdm_ctx_make(P, &env, NULL, NULL);
    int at[3];

    assert_int_equal(mdm_csv_head(ctx, &row, columns, 3, at), APR_SUCCESS);
    assert_true(at[0] == 1 && at[1] == 2 && at[2] == -1);
    row.cells = both;
    assert_int_equal(mdm_csv_head(ctx, &row, columns, 3, at), APR_SUCCESS);
    assert_true(at[0] == 1 && at[1] == 2 && at[2] == -1);
    row = (mdm_csv_row_t){1, 4, good, NULL};
    assert_int_equal(mdm_csv_head(ctx, &row, columns, 3, at), MDM_EINPUT);
    assert_string_equal(ctx->fail_field, "User");
    row = (mdm_csv_row_t){1, 4, twice, NULL};
    assert_int_equal(mdm_csv_head(ctx, &row, columns, 3, at), MDM_EINPUT);
    assert_string_equal(ctx->fail_field, "User");
    row = (mdm_csv_row_t){1, 2, none, NULL};
    assert_int_equal(mdm_csv_head(ctx, &row, columns, 3, at), MDM_EINPUT);
    assert_string_equal(ctx->fail_field, "DeviceId");
    assert_int_equal(mdm_csv_head(ctx, &bad, columns, 3, at), MDM_EINPUT);
    assert_string_equal(mdm_csv_cell(P, &(mdm_csv_row_t){2, 2, (const char *[]){"\t a b ", " "}, NULL}, 0), "a b");
    assert_string_equal(mdm_csv_cell(P, &(mdm_csv_row_t){2, 2, (const char *[]){"a", " "}, NULL}, 1), "");
    assert_string_equal(mdm_csv_cell(P, &row, 7), "");
    assert_string_equal(mdm_csv_cell(P, &row, -1), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cells), cmocka_unit_test(test_long_and_empty_rows),
                                       cmocka_unit_test(test_reading), cmocka_unit_test(test_tabs_and_utf16), cmocka_unit_test(test_rows_that_are_wrong),
                                       cmocka_unit_test(test_sizes), cmocka_unit_test(test_the_taker_ends_it),
                                       cmocka_unit_test(test_round_trip), cmocka_unit_test(test_titles)};
    int failed;

    apr_initialize();
    apr_pool_create(&P, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
