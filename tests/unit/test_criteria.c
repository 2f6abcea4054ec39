/* Criteria of dynamic groups (DEV-01): what is refused and where, what matches, and what always holds. */
#include "ctxtest.h"

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_criteria.h"

#define DEVICE                                                                                                              \
    "{\"name\": \"Anna's iPhone\", \"os_version\": \"17.10.1\", \"supervised\": 1, \"test_device\": 0, \"battery\": 0.5, \"site\": \"\"," \
    " \"serial\": null, \"apps\": [\"com.Example.Mail\"], \"inventory\": {\"device\": {\"IsRoaming\": true},"                  \
    " \"profiles\": [{\"identifier\": \"org.example.wifi\"}]}}"

#define F(field, op, value) "{\"field\": \"" field "\", \"op\": \"" op "\", \"value\": " value "}"

static json_t *load(const char *text)
{
    json_t *j = json_loads(text, 0, NULL);

    assert_non_null(j);
    return j;
}

static int matches(const char *criteria)
{
    json_t *c = load(criteria), *d = load(DEVICE);
    int is;

    assert_int_equal(mdm_criteria_check(ctx, c), APR_SUCCESS);
    is = mdm_criteria_match(c, d);
    json_decref(c);
    json_decref(d);
    return is;
}

static void test_what_matches(void **state)
{
    static const struct {
        const char *criteria;
        int is;
    } cases[] = {
        {F("name", "eq", "\"anna's IPHONE\""), 1}, {F("name", "contains", "\"iphone\""), 1}, {F("name", "starts", "\"Bob\""), 0},
        {F("name", "ends", "\"phone\""), 1}, {F("name", "in", "[\"x\", \"Anna's iPhone\"]"), 1}, {F("name", "in", "[\"x\"]"), 0},
        {F("os_version", "lt", "\"17.9\""), 0}, {F("os_version", "ge", "\"17.10\""), 1}, {F("os_version", "gt", "\"17.10.1\""), 0},
        {F("os_version", "eq", "\"17.10.1.0\""), 1}, {F("os_version", "lt", "\"18\""), 1}, {F("supervised", "is", "true"), 1},
        {F("test_device", "is", "true"), 0}, {F("battery", "lt", "0.6"), 1}, {F("battery", "gt", "1"), 0},
        {F("app", "has", "\"com.example.mail\""), 1}, {F("app", "lacks", "\"com.example.mail\""), 0}, {F("app", "lacks", "\"x\""), 1},
        {F("profile", "has", "\"org.example.wifi\""), 1}, {F("roaming", "is", "true"), 1}, {F("activation_lock", "is", "false"), 0},
        {F("serial", "eq", "\"x\""), 0}, {F("serial", "ne", "\"x\""), 1}, {F("serial", "set", "false"), 1}, {F("site", "set", "true"), 0},
        {"{\"not\": " F("serial", "eq", "\"x\"") "}", 1},
        {"{\"all\": [" F("supervised", "is", "true") ", " F("battery", "gt", "1") "]}", 0},
        {"{\"any\": [" F("supervised", "is", "true") ", " F("battery", "gt", "1") "]}", 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (matches(cases[i].criteria) != cases[i].is)
            fail_msg("%s: not %d", cases[i].criteria, cases[i].is);
    }
}

/* Bad input is refused with the path at fault. */
static void test_what_is_refused(void **state)
{
    static const struct {
        const char *criteria, *path;
    } cases[] = {
        {"[]", "criteria"}, {"{}", "criteria.field"}, {"{\"all\": []}", "criteria.all"}, {"{\"all\": {}}", "criteria.all"},
        {"{\"not\": []}", "criteria.not"}, {"{\"all\": [" F("name", "eq", "\"x\"") "], \"any\": []}", "criteria.all"},
        {F("colour", "eq", "\"x\""), "criteria.field"}, {"{\"all\": [" F("name", "eq", "\"x\"") ", " F("name", "lt", "\"x\"") "]}", "criteria.all[1].op"},
        {F("name", "like", "\"x\""), "criteria.op"}, {"{\"field\": \"name\", \"op\": \"eq\"}", "criteria.value"},
        {F("name", "eq", "5"), "criteria.value"}, {F("name", "eq", "\"\""), "criteria.value"}, {F("name", "in", "[]"), "criteria.value"},
        {F("name", "in", "[\"a\", 5]"), "criteria.value[1]"}, {F("battery", "lt", "\"x\""), "criteria.value"},
        {F("os_version", "lt", "\"17.\""), "criteria.value"}, {F("os_version", "lt", "\"x\""), "criteria.value"},
        {F("supervised", "is", "1"), "criteria.value"}, {F("supervised", "eq", "true"), "criteria.op"},
        {"{\"any\": [{\"not\": {\"field\": \"name\", \"op\": \"eq\", \"value\": \"x\", \"also\": 1}}]}", "criteria.any[0].not.also"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *c = load(cases[i].criteria);
        ctx->fail_field = NULL;
        assert_int_equal(mdm_criteria_check(ctx, c), MDM_EINPUT);
        assert_string_equal(ctx->fail_field, cases[i].path);
        json_decref(c);
    }
}

static void test_bounds(void **state)
{
    json_t *c = load(F("name", "eq", "\"x\"")), *list = json_array();

    for (int i = 0; i < MDM_CRITERIA_PARTS - 1; i++)
        json_array_append(list, c);
    json_decref(c);
    c = json_pack("{s:o}", "all", list);
    assert_int_equal(mdm_criteria_check(ctx, c), APR_SUCCESS);
    json_array_append_new(list, load(F("name", "eq", "\"x\"")));
    assert_int_equal(mdm_criteria_check(ctx, c), MDM_EINPUT);
    json_decref(c);
    c = load(F("name", "eq", "\"x\""));
    for (int i = 1; i < MDM_CRITERIA_DEPTH; i++)
        c = json_pack("{s:o}", "not", c);
    assert_int_equal(mdm_criteria_check(ctx, c), APR_SUCCESS);
    c = json_pack("{s:o}", "not", c);
    assert_int_equal(mdm_criteria_check(ctx, c), MDM_EINPUT);
    json_decref(c);
}

/* Whatever the conditions: not not x is x, the order of "all" and "any" never matters, and not all is any not. */
static void test_logic_holds(void **state)
{
    static const char *const leaves[] = {F("name", "contains", "\"anna\""), F("os_version", "lt", "\"17\""), F("serial", "ne", "\"x\""),
                                         F("site", "set", "true"), F("app", "lacks", "\"x\"")};
    enum { N = sizeof leaves / sizeof leaves[0] };
    for (int a = 0; a < N; a++) {
        assert_int_equal(matches(apr_psprintf(pool, "{\"not\": {\"not\": %s}}", leaves[a])), matches(leaves[a]));
        for (int b = 0; b < N; b++) {
            int both = matches(apr_psprintf(pool, "{\"all\": [%s, %s]}", leaves[a], leaves[b]));
            assert_int_equal(both, matches(apr_psprintf(pool, "{\"all\": [%s, %s]}", leaves[b], leaves[a])));
            assert_int_equal(both, matches(leaves[a]) && matches(leaves[b]));
            assert_int_equal(!both, matches(apr_psprintf(pool, "{\"any\": [{\"not\": %s}, {\"not\": %s}]}", leaves[a], leaves[b])));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_what_matches, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_what_is_refused, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_logic_holds, setup, teardown)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
