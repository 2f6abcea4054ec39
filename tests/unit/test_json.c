/* JSON reading with limits and field tables (API-04, SEC-03). */
#include "ctxtest.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"

static apr_status_t parse(const char *s, json_t **j)
{
    return mdm_json_parse(ctx, s, strlen(s), j);
}

static void test_bad_documents(void **state)
{
    static const char *const bad[] = {"", " ", "{", "{}x", "{\"a\":1,\"a\":2}", "[1,]", "{'a':1}",
                                      "\"\\u0000\"", "\"\xff\"", "[1e999]", "nul", "[\"\n\"]",
                                      "{\"a\":1}{\"b\":2}", "\"\\ud800\""};
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *j;

        assert_int_equal(parse(bad[i], &j), MDM_EINPUT);
        assert_null(j);
        assert_string_not_equal(ctx->fail_text, "");
    }
}

static void test_depth_sec03(void **state)
{
    char text[100001];
    json_t *j;

    memset(text, '[', 100000);
    text[100000] = '\0';
    assert_int_equal(parse(text, &j), MDM_EINPUT);
    assert_non_null(strstr(ctx->fail_text, "32"));
    memset(text, '[', 32);
    memset(text + 32, ']', 32);
    text[64] = '\0';
    assert_int_equal(parse(text, &j), APR_SUCCESS);
    assert_int_equal(parse(apr_pstrcat(pool, "[", text, "]", NULL), &j), MDM_EINPUT);
    /* brackets in strings do not count */
    memset(text, '[', 100);
    text[100] = '\0';
    assert_int_equal(parse(apr_pstrcat(pool, "{\"\\\"", text, "\":1}", NULL), &j), APR_SUCCESS);
}

static apr_status_t fields(const char *text, const mdm_jfield_t *f)
{
    json_t *j;

    assert_int_equal(parse(text, &j), APR_SUCCESS);
    return mdm_json_fields(ctx, j, f);
}

static void test_all_types(void **state)
{
    static const char *const colours[] = {"red", "blue", NULL};
    const char *s = NULL, *u = NULL, *e = NULL, *n = "x";
    apr_int64_t i = 0;
    int b = 0, given = 0, missing = 0;
    json_t *o = NULL, *a = NULL;
    const mdm_jfield_t f[] = {
        {.name = "s", .type = MDM_JF_STR, .required = 1, .min = 1, .max = 5, .out = &s},
        {.name = "i", .type = MDM_JF_INT, .min = -2, .max = 2, .out = &i, .given = &given},
        {.name = "b", .type = MDM_JF_BOOL, .out = &b},
        {.name = "u", .type = MDM_JF_UUID, .out = &u},
        {.name = "e", .type = MDM_JF_ENUM, .choices = colours, .out = &e},
        {.name = "o", .type = MDM_JF_OBJECT, .out = &o},
        {.name = "a", .type = MDM_JF_ARRAY, .max = 2, .out = &a},
        {.name = "n", .type = MDM_JF_STR, .nullable = 1, .out = &n, .given = &missing},
        {.name = NULL},
    };
    static const struct {
        const char *text, *field;
    } bad[] = {
        {"{}", "s"}, {"{\"s\":\"\"}", "s"}, {"{\"s\":\"123456\"}", "s"}, {"{\"s\":1}", "s"},
        {"{\"s\":null}", "s"}, {"{\"s\":\"\\u0007\"}", "s"}, {"{\"s\":\"\\u0085\"}", "s"},
        {"{\"s\":\"a\",\"i\":3}", "i"}, {"{\"s\":\"a\",\"i\":1.0}", "i"},
        {"{\"s\":\"a\",\"i\":\"1\"}", "i"}, {"{\"s\":\"a\",\"b\":1}", "b"},
        {"{\"s\":\"a\",\"u\":\"zz\"}", "u"}, {"{\"s\":\"a\",\"e\":\"green\"}", "e"},
        {"{\"s\":\"a\",\"o\":[]}", "o"}, {"{\"s\":\"a\",\"a\":{}}", "a"},
        {"{\"s\":\"a\",\"a\":[1,2,3]}", "a"}, {"{\"s\":\"a\",\"admin\":true}", "admin"},
    };
    unsigned k;

    for (k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
        assert_int_equal(fields(bad[k].text, f), MDM_EINPUT);
        assert_string_equal(ctx->fail_field, bad[k].field);
    }
    given = 0;
    assert_int_equal(fields("{\"s\":\"a\\n\\tb\",\"i\":-2,\"b\":true,\"e\":\"blue\",\"o\":{},\"a\":[1],"
                            "\"u\":\"01234567-89AB-4cde-8f01-23456789abcd\"}", f), APR_SUCCESS);
    assert_string_equal(s, "a\n\tb");
    assert_int_equal(i, -2);
    assert_int_equal(given, 1);
    assert_int_equal(b, 1);
    assert_string_equal(u, "01234567-89ab-4cde-8f01-23456789abcd");
    assert_string_equal(e, "blue");
    assert_true(json_is_object(o));
    assert_int_equal(json_array_size(a), 1);
    assert_string_equal(n, "x");
    assert_int_equal(missing, 0);
    assert_int_equal(fields("{\"s\":\"a\",\"n\":null}", f), APR_SUCCESS);
    assert_null(n);
    assert_int_equal(missing, 1);
}

static void test_not_an_object(void **state)
{
    const mdm_jfield_t none[] = {{.name = NULL}};

    assert_int_equal(fields("[]", none), MDM_EINPUT);
    assert_int_equal(fields("{}", none), APR_SUCCESS);
    assert_int_equal(mdm_json_fields(ctx, NULL, none), MDM_EINPUT);
}

static void test_text(void **state)
{
    json_t *j;

    assert_int_equal(parse(" { \"a\" : [ 1 , \"ü\" ] } ", &j), APR_SUCCESS);
    assert_string_equal(mdm_json_text(pool, j), "{\"a\":[1,\"ü\"]}");
    assert_string_equal(mdm_json_text(pool, mdm_json_own(ctx, json_string("x"))), "\"x\"");
    assert_null(mdm_json_own(ctx, NULL));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {T(test_bad_documents), T(test_depth_sec03), T(test_all_types),
                                       T(test_not_an_object), T(test_text)};
    int rc;

    apr_initialize();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rc;
}
