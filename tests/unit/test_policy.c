/* The pure resolver: POL-02, POL-05, POL-06. */
#include "ctxtest.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#include "domain/mdm_policy.h"

static mdm_policy_assignment_t assign(const char *policy, const char *target, const char *conflict, const char *text)
{
    mdm_policy_assignment_t a = {.id = apr_pstrcat(ctx->pool, policy, "@", target, NULL), .policy_id = policy,
                                 .type = "security", .number = 1, .target = target, .conflict = conflict};
    assert_int_equal(mdm_json_parse(ctx, text, strlen(text), &a.settings), APR_SUCCESS);
    return a;
}

static const char *const user_side[] = {"person:p", "user_group:g1", "user_group:g2", "user_folder:f", "user_source:s", NULL};
static const char *const device_side[] = {"device:d", "device_group:h", "folder:child", "folder:root", NULL};
static const mdm_policy_subject_t corporate = {user_side, device_side, "corporate"};
static const mdm_policy_subject_t personal = {user_side, device_side, "personal"};

static json_t *value(mdm_policy_effective_t *e, const char *setting)
{
    return json_object_get(json_object_get(e->settings, setting), "value");
}

static mdm_policy_effective_t *resolve(const mdm_policy_subject_t *who, const mdm_policy_assignment_t *l, int n)
{
    mdm_policy_effective_t *e;
    assert_int_equal(mdm_policy_resolve(ctx, who, "security", l, n, &e), APR_SUCCESS);
    return e;
}

#define BOTH(v) "{\"min\":{\"corporate\":" v ",\"personal\":" v "}}"

static void pol05_nearest_target_wins(void **state)
{
    mdm_policy_assignment_t l[5];
    int n;
    l[0] = assign("source", "user_source:s", "user_first", BOTH("1"));
    l[1] = assign("folder", "user_folder:f", "user_first", BOTH("2"));
    l[2] = assign("group2", "user_group:g2", "user_first", BOTH("3"));
    l[3] = assign("group1", "user_group:g1", "user_first", BOTH("4"));
    l[4] = assign("person", "person:p", "user_first", BOTH("5"));
    for (n = 1; n <= 5; n++) {
        mdm_policy_effective_t *e = resolve(&corporate, l, n);
        json_t *min = json_object_get(e->settings, "min");
        assert_int_equal(json_integer_value(value(e, "min")), n);
        assert_string_equal(json_string_value(json_object_get(min, "via")), l[n - 1].target);
    }
}

static void pol05_conflict_rules_join_the_sides(void **state)
{
    static const struct {
        const char *rule;
        int expect, user_alone; /* user_alone: the setting that only the user side gives, 0 = absent */
    } cases[] = {{"user_first", 1, 9}, {"device_first", 2, 9}, {"device_only", 2, 0}, {"user_only", 1, 9}};
    apr_size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mdm_policy_assignment_t l[2];
        mdm_policy_effective_t *e;
        l[0] = assign("u", "person:p", "user_first", "{\"min\":{\"corporate\":1},\"alone\":{\"corporate\":9}}");
        l[1] = assign("d", "folder:child", cases[i].rule, BOTH("2"));
        e = resolve(&corporate, l, 2);
        assert_int_equal(json_integer_value(value(e, "min")), cases[i].expect);
        assert_int_equal(json_integer_value(value(e, "alone")), cases[i].user_alone);
    }
}

static void pol05_rule_of_the_nearest_device_assignment_decides(void **state)
{
    mdm_policy_assignment_t l[3];
    l[0] = assign("u", "person:p", "user_first", BOTH("1"));
    l[1] = assign("far", "folder:root", "user_first", BOTH("2"));
    l[2] = assign("near", "device:d", "device_only", BOTH("3"));
    assert_int_equal(json_integer_value(value(resolve(&corporate, l, 3), "min")), 3);
}

static void pol02_inherit_passes_on_and_not_set_stops(void **state)
{
    mdm_policy_assignment_t l[2];
    mdm_policy_effective_t *e;
    l[0] = assign("near", "person:p", "user_first",
                  "{\"a\":{\"corporate\":\"inherit\",\"personal\":true},\"b\":{\"corporate\":null},"
                  "\"c\":{\"corporate\":\"inherit\"}}");
    l[1] = assign("far", "user_source:s", "user_first", "{\"a\":{\"corporate\":7,\"personal\":8},\"b\":{\"corporate\":7}}");
    e = resolve(&corporate, l, 2);
    assert_int_equal(json_integer_value(value(e, "a")), 7);
    assert_true(json_is_null(value(e, "b")));
    assert_null(json_object_get(e->settings, "c")); /* nothing to inherit: not sent */
    e = resolve(&personal, l, 2);
    assert_true(json_is_true(value(e, "a")));
    assert_null(json_object_get(e->settings, "b"));
}

static void pol06_other_types_and_strangers_do_not_count(void **state)
{
    mdm_policy_assignment_t l[3];
    l[0] = assign("x", "person:other", "user_first", BOTH("1"));
    l[1] = assign("y", "device:other", "device_only", BOTH("2"));
    l[2] = assign("z", "person:p", "user_first", BOTH("3"));
    l[2].type = "email";
    assert_int_equal(json_object_size(resolve(&corporate, l, 3)->settings), 0);
}

static void pol06_a_policy_reached_twice_keeps_its_nearest_place(void **state)
{
    mdm_policy_assignment_t l[3];
    apr_array_header_t *order;
    l[0] = assign("same", "user_source:s", "user_first", BOTH("1"));
    l[1] = assign("same", "person:p", "user_first", BOTH("1"));
    l[2] = assign("other", "user_group:g1", "user_first", BOTH("2"));
    assert_int_equal(mdm_policy_order(ctx, &corporate, "security", l, 3, &order), APR_SUCCESS);
    assert_int_equal(order->nelts, 2);
    assert_string_equal(APR_ARRAY_IDX(order, 0, mdm_policy_assignment_t *)->target, "person:p");
}

static void pol06_hash_is_of_values_not_of_origin(void **state)
{
    mdm_policy_assignment_t a = assign("a", "person:p", "user_first", BOTH("4"));
    mdm_policy_assignment_t b = assign("b", "user_source:s", "user_first", BOTH("4"));
    mdm_policy_assignment_t c = assign("c", "user_source:s", "user_first", BOTH("5"));
    assert_string_equal(resolve(&corporate, &a, 1)->hash, resolve(&corporate, &b, 1)->hash);
    assert_string_not_equal(resolve(&corporate, &a, 1)->hash, resolve(&corporate, &c, 1)->hash);
}

/* POL-06 property: the order of rows never matters, and resolving again changes nothing. */
static void pol06_row_order_never_matters(void **state)
{
    static const char *const targets[] = {"person:p", "user_group:g1", "user_group:g2", "user_folder:f", "user_source:s",
                                          "device:d", "device_group:h", "folder:child", "folder:root", "person:other"};
    static const char *const rules[] = {"user_first", "device_first", "device_only", "user_only"};
    static const char *const values[] = {"1", "\"inherit\"", "null", "true"};
    unsigned seed = 20261121;
    int round, i;
    for (round = 0; round < 300; round++) {
        mdm_policy_assignment_t l[8];
        int n = 1 + rand_r(&seed) % 8;
        mdm_policy_effective_t *first;
        for (i = 0; i < n; i++) {
            const char *v = values[rand_r(&seed) % 4], *w = values[rand_r(&seed) % 4];
            l[i] = assign(apr_psprintf(ctx->pool, "policy%d", rand_r(&seed) % 5), targets[rand_r(&seed) % 10],
                          rules[rand_r(&seed) % 4],
                          apr_psprintf(ctx->pool, "{\"s\":{\"corporate\":%s},\"t\":{\"corporate\":%s}}", v, w));
            l[i].id = apr_psprintf(ctx->pool, "%d", i);
            l[i].position = i; /* the database keeps one order per target */
        }
        first = resolve(&corporate, l, n);
        for (i = n - 1; i > 0; i--) {
            int k = rand_r(&seed) % (i + 1);
            mdm_policy_assignment_t t = l[i];
            l[i] = l[k];
            l[k] = t;
        }
        assert_true(json_equal(first->settings, resolve(&corporate, l, n)->settings));
        assert_string_equal(first->hash, resolve(&corporate, l, n)->hash);
    }
}

static void pol05_unknown_rule_and_broken_settings_are_refused(void **state)
{
    mdm_policy_assignment_t a = assign("a", "device:d", "sometimes", BOTH("1"));
    mdm_policy_effective_t *e;
    assert_int_equal(mdm_policy_resolve(ctx, &corporate, "security", &a, 1, &e), MDM_EINPUT);
    assert_string_equal(ctx->fail_field, "conflict");
    a = assign("a", "device:d", "user_first", "[]");
    assert_int_equal(mdm_policy_resolve(ctx, &corporate, "security", &a, 1, &e), MDM_EINPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pol05_nearest_target_wins),
        cmocka_unit_test(pol05_conflict_rules_join_the_sides),
        cmocka_unit_test(pol05_rule_of_the_nearest_device_assignment_decides),
        cmocka_unit_test(pol02_inherit_passes_on_and_not_set_stops),
        cmocka_unit_test(pol06_other_types_and_strangers_do_not_count),
        cmocka_unit_test(pol06_a_policy_reached_twice_keeps_its_nearest_place),
        cmocka_unit_test(pol06_hash_is_of_values_not_of_origin),
        cmocka_unit_test(pol06_row_order_never_matters),
        cmocka_unit_test(pol05_unknown_rule_and_broken_settings_are_refused),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
