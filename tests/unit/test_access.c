/* Lists of address filters on a real database (ACC-02, ACC-03, R42). */
#include "dbtest.h"

#include "base/mdm_json.h"
#include "domain/mdm_access.h"

typedef struct fix_t {
    dbtest_t *t;
    mdm_db_t *db;
} fix_t;

#define NODE "00000000-0000-4000-8000-0000000000a1"
#define OTHER "00000000-0000-4000-8000-0000000000a2"

static int setup(void **state)
{
    dbtest_t *t = dbtest_make(1);
    fix_t *f = apr_pcalloc(t->pool, sizeof(*f));

    f->t = t;
    dbtest_sql(t, "INSERT INTO node (id, name, base_url, software, holder, started_ms, seen_ms) VALUES ('" NODE
                  "', 'one', 'https://one', '', 'x', 1, 1), ('" OTHER "', 'two', 'https://two', '', 'y', 1, 1)");
    assert_int_equal(mdm_db_open(t->ctx, &f->db), APR_SUCCESS);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fix_t *f = *state;

    mdm_db_close(f->db);
    dbtest_end(f->t);
    return 0;
}

static apr_status_t read_list(fix_t *f, const char *text, apr_array_header_t **out)
{
    json_t *j;

    assert_int_equal(mdm_json_parse(f->t->ctx, text, strlen(text), &j), APR_SUCCESS);
    return mdm_filters_read(f->t->ctx, "node", j, out);
}

static apr_status_t put(fix_t *f, const char *node, mdm_access_e c, apr_int64_t version, const char *text)
{
    apr_array_header_t *filters;
    apr_status_t rv;

    assert_int_equal(read_list(f, text, &filters), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(f->db), APR_SUCCESS);
    rv = mdm_access_put(f->db, node, c, version, filters);
    if (rv == APR_SUCCESS) {
        return mdm_db_commit(f->db);
    }
    mdm_db_rollback(f->db);
    return rv;
}

static void test_bad_filters_are_named(void **state)
{
    static const struct {
        const char *text, *field;
    } rows[] = {{"{}", "filters"},
                {"[3]", "filters[0]."},
                {"[{}]", "filters[0].addresses"},
                {"[{\"addresses\":\"::1\",\"action\":\"allow\"},{\"addresses\":\"10.0.0.1/33\",\"action\":\"deny\"}]",
                 "filters[1].addresses"},
                {"[{\"addresses\":\"\",\"action\":\"deny\"}]", "filters[0].addresses"},
                {"[{\"addresses\":\"::1\",\"action\":\"reject\"}]", "filters[0].action"},
                {"[{\"addresses\":\"::1\",\"action\":\"deny\",\"more\":1}]", "filters[0].more"},
                {"[{\"addresses\":\"::1\",\"action\":\"deny\",\"description\":7}]", "filters[0].description"}};
    fix_t *f = *state;
    apr_array_header_t *out;
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(read_list(f, rows[i].text, &out), MDM_EINPUT);
        assert_memory_equal(f->t->ctx->fail_field, rows[i].field, strlen(rows[i].field));
    }
}

static void test_saved_as_one_list(void **state)
{
    fix_t *f = *state;
    apr_array_header_t *filters;
    apr_int64_t version;

    assert_int_equal(mdm_access_get(f->db, NODE, MDM_ACCESS_ADMIN, &version, &filters), APR_SUCCESS);
    assert_int_equal(version, 0);
    assert_int_equal(filters->nelts, 0);
    assert_int_equal(put(f, NODE, MDM_ACCESS_ADMIN, 1, "[]"), MDM_ESTALE);
    assert_int_equal(put(f, NODE, MDM_ACCESS_ADMIN, 0, "[{\"addresses\":\"10.0.0.0/8, ::1\",\"action\":\"allow\",\"description\":"
                         "\"the <b>house</b>\"},{\"addresses\":\"0.0.0.0/0\",\"action\":\"deny\"}]"), APR_SUCCESS);
    assert_int_equal(put(f, NODE, MDM_ACCESS_ADMIN, 0, "[]"), MDM_ESTALE);
    assert_int_equal(mdm_access_get(f->db, NODE, MDM_ACCESS_ADMIN, &version, &filters), APR_SUCCESS);
    assert_int_equal(version, 1);
    assert_int_equal(filters->nelts, 2);
    assert_string_equal(APR_ARRAY_IDX(filters, 0, mdm_filter_t).addresses, "10.0.0.0/8, ::1");
    assert_string_equal(APR_ARRAY_IDX(filters, 0, mdm_filter_t).description, "the <b>house</b>");
    assert_int_equal(APR_ARRAY_IDX(filters, 1, mdm_filter_t).allow, 0);
    assert_int_equal(mdm_access_get(f->db, NULL, MDM_ACCESS_ADMIN, &version, &filters), APR_SUCCESS);
    assert_int_equal(version, 0);
    assert_int_equal(put(f, NODE, MDM_ACCESS_ADMIN, 1, "[]"), APR_SUCCESS);
    assert_int_equal(mdm_access_get(f->db, NODE, MDM_ACCESS_ADMIN, &version, &filters), APR_SUCCESS);
    assert_int_equal(version, 2);
    assert_int_equal(filters->nelts, 0);
}

static void test_node_before_zone_first_match(void **state)
{
    fix_t *f = *state;
    apr_array_header_t *lists[MDM_ACCESS_COUNT];
    const mdm_access_t *admin;
    const mdm_filter_t *by;
    mdm_addr_t a;
    int i;

    assert_int_equal(put(f, NULL, MDM_ACCESS_ADMIN, 0, "[{\"addresses\":\"10.0.0.0/8\",\"action\":\"deny\"}]"), APR_SUCCESS);
    assert_int_equal(put(f, NODE, MDM_ACCESS_ADMIN, 0, "[{\"addresses\":\"10.0.0.1\",\"action\":\"allow\"}]"), APR_SUCCESS);
    assert_int_equal(put(f, OTHER, MDM_ACCESS_ADMIN, 0, "[{\"addresses\":\"::/0\",\"action\":\"deny\"}]"), APR_SUCCESS);
    for (i = 0; i < MDM_ACCESS_COUNT; i++) {
        lists[i] = apr_array_make(f->t->pool, 1, sizeof(mdm_filter_t));
    }
    assert_int_equal(mdm_access_load(f->db, "one", lists), APR_SUCCESS);
    assert_int_equal(lists[MDM_ACCESS_ENDPOINT]->nelts, 0);
    assert_int_equal(mdm_access_compile(f->t->pool, lists[MDM_ACCESS_ADMIN], &admin), APR_SUCCESS);
    mdm_addr_parse("10.0.0.1", &a);
    by = mdm_access_find(admin, &a);
    assert_true(by->allow);
    assert_string_equal(by->source, "node");
    mdm_addr_parse("10.0.0.2", &a);
    by = mdm_access_find(admin, &a);
    assert_false(by->allow);
    assert_string_equal(by->source, "zone");
    assert_int_equal(by->position, 1);
    mdm_addr_parse("2001:db8::1", &a);
    assert_null(mdm_access_find(admin, &a));
}

static void test_a_broken_row_does_not_lose_the_others(void **state)
{
    fix_t *f = *state;
    apr_array_header_t *lists[MDM_ACCESS_COUNT];
    int i;

    assert_int_equal(put(f, NULL, MDM_ACCESS_TOOLS, 0, "[{\"addresses\":\"::1\",\"action\":\"deny\"},{\"addresses\":\"::2\","
                         "\"action\":\"deny\"}]"), APR_SUCCESS);
    dbtest_sql(f->t, "UPDATE access_filter SET addresses = 'nonsense' WHERE position = 1");
    for (i = 0; i < MDM_ACCESS_COUNT; i++) {
        lists[i] = apr_array_make(f->t->pool, 1, sizeof(mdm_filter_t));
    }
    f->t->ctx->log = NULL;
    assert_int_equal(mdm_access_load(f->db, "one", lists), APR_SUCCESS);
    assert_int_equal(lists[MDM_ACCESS_TOOLS]->nelts, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_bad_filters_are_named), T(test_saved_as_one_list),
                                       T(test_node_before_zone_first_match), T(test_a_broken_row_does_not_lose_the_others)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
