/* Device objects and page cursors (API-01, DEV-02, R26): order, bounds, bad input. */
#include "dbtest.h"

#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_device.h"

#define ROOT "00000000-0000-4000-8000-000000000001"

static dbtest_t *T;

static int setup(void **state)
{
    mdm_keyring_t *keys;

    T = dbtest_make(1);
    assert_int_equal(mdm_keyring_parse(T->ctx, T->pool, mdm_keyring_new(T->pool), &keys), APR_SUCCESS);
    T->env.keys = keys;
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(T);
    return 0;
}

static const char *add(const char *name, const char *state, const char *contact)
{
    const char *id = mdm_uuid(T->pool);

    assert_int_equal(dbtest_sql(T, apr_psprintf(T->pool,
        "INSERT INTO device (id, name, name_key, folder_id, state, mode, serial, created_ms, last_contact_ms) VALUES "
        "('%s', '%s', '%s', '" ROOT "', '%s', 'ios_mdm', UPPER('SER%s'), 1, %s)", id, name, mdm_lower(T->pool, name), state, name,
        contact)), 0);
    return id;
}

static int walk(mdm_device_filter_t *f, const char *limit, apr_array_header_t *names)
{
    const char *cursor = NULL;
    int pages = 0;

    assert_int_equal(mdm_device_filter_check(T->ctx, f), APR_SUCCESS);
    do {
        apr_array_header_t *rows;
        mdm_page_t page;
        mdm_db_t *db;
        int i;
        assert_int_equal(mdm_page_read(T->ctx, mdm_device_filter_sig(T->pool, f), limit, cursor, &page), APR_SUCCESS);
        assert_int_equal(mdm_db_open(T->ctx, &db), APR_SUCCESS);
        assert_int_equal(mdm_device_list(db, f, &page, &rows, &cursor), APR_SUCCESS);
        mdm_db_close(db);
        for (i = 0; i < rows->nelts; i++)
            APR_ARRAY_PUSH(names, const char *) = APR_ARRAY_IDX(rows, i, mdm_device_row_t).name;
        assert_true(++pages < 100);
    } while (cursor);
    return pages;
}

static const char *joined(const char *sort, const char *state, const char *q)
{
    mdm_device_filter_t f = {.sort = sort, .state = state, .q = q};
    apr_array_header_t *names = apr_array_make(T->pool, 8, sizeof(char *));

    walk(&f, "2", names);
    return apr_array_pstrcat(T->pool, names, ' ');
}

static void test_pages_in_each_order(void **state)
{
    add("b", "active", "30");
    add("A", "active", "NULL");
    add("d", "retired", "20");
    add("c", "active", "20");
    add("a1", "active", "10");
    assert_string_equal(joined("name", "", ""), "A a1 b c d");
    assert_string_equal(joined("-name", "", ""), "d c b a1 A");
    assert_string_equal(joined("name", "active", ""), "A a1 b c");
    assert_string_equal(joined("name", "", "a"), "A a1");
    assert_string_equal(joined("-name", "", "A"), "a1 A");
    assert_string_equal(joined("name", "", "serd"), "d");
    assert_string_equal(joined("name", "", "%"), "");
    assert_string_equal(joined("name", "", "' OR 1=1--"), "");
    assert_int_equal(strncmp(joined("last_contact", "", ""), "A a1 ", 5), 0);
    assert_int_equal(strncmp(joined("-last_contact", "", ""), "b ", 2), 0);
    assert_int_equal(strlen(joined("last_contact", "", "")), strlen("A a1 b c d"));
}

/* PRF-09: a filter that few devices pass, and no index helps with, is walked in bounded stretches; one that an index helps with is not. */
static void test_rare_filters_walk_in_stretches(void **state)
{
    mdm_device_filter_t f = {.sort = "name", .ownership = "corporate"}, g = {.sort = "-last_contact", .state = "blocked"};
    apr_array_header_t *names = apr_array_make(T->pool, 8, sizeof(char *)), *others = apr_array_make(T->pool, 8, sizeof(char *));
    const char *first;

    assert_int_equal(dbtest_sql(T,
        "INSERT INTO device (id, name, name_key, folder_id, state, mode, ownership, created_ms, last_contact_ms) "
        "WITH RECURSIVE n (i) AS (SELECT 100000 UNION ALL SELECT i + 1 FROM n WHERE i < 145000) "
        "SELECT '00000000-0000-4000-9000-000000' || CAST(i AS TEXT), 'w' || CAST(i AS TEXT), 'w' || CAST(i AS TEXT), '" ROOT "', "
        "CASE WHEN i IN (100007, 144000) THEN 'blocked' ELSE 'active' END, 'ios_mdm', "
        "CASE WHEN i IN (100005, 121000, 144999) THEN 'corporate' ELSE 'personal' END, 1, i FROM n"), 0);
    assert_true(walk(&f, "200", names) > 3);
    assert_string_equal(apr_array_pstrcat(T->pool, names, ' '), "w100005 w121000 w144999");
    assert_int_equal(walk(&g, "200", others), 1);
    assert_string_equal(apr_array_pstrcat(T->pool, others, ' '), "w144000 w100007");
    f = (mdm_device_filter_t){.sort = "-name"};
    names->nelts = 0;
    {
        const char *next;
        apr_array_header_t *rows;
        mdm_page_t page;
        mdm_db_t *db;

        assert_int_equal(mdm_device_filter_check(T->ctx, &f), APR_SUCCESS);
        assert_int_equal(mdm_page_read(T->ctx, mdm_device_filter_sig(T->pool, &f), "1", NULL, &page), APR_SUCCESS);
        assert_int_equal(mdm_db_open(T->ctx, &db), APR_SUCCESS);
        assert_int_equal(mdm_device_list(db, &f, &page, &rows, &next), APR_SUCCESS);
        mdm_db_close(db);
        first = APR_ARRAY_IDX(rows, 0, mdm_device_row_t).name;
    }
    assert_string_equal(first, "w145000");
    assert_int_equal(dbtest_sql(T, "DELETE FROM device WHERE name_key LIKE 'w1%'"), 0);
}

static void test_bad_filters_are_named(void **state)
{
    mdm_device_filter_t f = {.sort = "serial"};

    assert_int_equal(mdm_device_filter_check(T->ctx, &f), MDM_EINPUT);
    assert_string_equal(T->ctx->fail_field, "sort");
    f = (mdm_device_filter_t){.state = "none"};
    assert_int_equal(mdm_device_filter_check(T->ctx, &f), MDM_EINPUT);
    assert_string_equal(T->ctx->fail_field, "state");
    f = (mdm_device_filter_t){.person = "x"};
    assert_int_equal(mdm_device_filter_check(T->ctx, &f), MDM_EINPUT);
    assert_string_equal(T->ctx->fail_field, "person");
}

static void test_cursor_is_bound_and_proved(void **state)
{
    static const char *const bad[] = {"", "x", "!!!", "WyJhIl0", "WzEsMiwzXQ", "bnVsbA"};
    mdm_page_t page;
    const char *cursor;
    char *changed;
    unsigned i;

    assert_int_equal(mdm_page_read(T->ctx, "list\nname", "5", NULL, &page), APR_SUCCESS);
    cursor = mdm_page_next(T->ctx, &page, "k\xc3\xa4" "se", "id");
    assert_int_equal(mdm_page_read(T->ctx, "list\nname", "5", cursor, &page), APR_SUCCESS);
    assert_string_equal(page.key, "k\xc3\xa4" "se");
    assert_string_equal(page.id, "id");
    assert_int_equal(page.first, 0);
    assert_int_equal(mdm_page_read(T->ctx, "list\n-name", "5", cursor, &page), MDM_EINPUT);
    assert_string_equal(T->ctx->fail_field, "cursor");
    changed = apr_pstrdup(T->pool, cursor);
    changed[12] = (char)(changed[12] == 'A' ? 'B' : 'A');
    assert_int_equal(mdm_page_read(T->ctx, "list\nname", "5", changed, &page), MDM_EINPUT);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(mdm_page_read(T->ctx, "list\nname", "5", bad[i], &page), MDM_EINPUT);
    assert_int_equal(mdm_page_read(T->ctx, "l", "0", NULL, &page), MDM_EINPUT);
    assert_string_equal(T->ctx->fail_field, "limit");
    assert_int_equal(mdm_page_read(T->ctx, "l", "201", NULL, &page), MDM_EINPUT);
}

static void test_edit_is_optimistic(void **state)
{
    const char *id = add("old", "active", "1");
    mdm_device_edit_t e = {.name = "New", .test_device = 1};
    apr_int64_t version;
    mdm_db_t *db;
    json_t *j;

    assert_int_equal(mdm_db_open(T->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_device_edit(db, id, 1, &e), APR_SUCCESS);
    assert_int_equal(mdm_device_edit(db, id, 1, &e), MDM_ESTALE);
    assert_int_equal(mdm_device_json(db, id, &j, &version), APR_SUCCESS);
    assert_int_equal(version, 2);
    assert_string_equal(json_string_value(json_object_get(j, "name")), "New");
    assert_true(json_is_true(json_object_get(j, "test_device")));
    json_decref(j);
    e = (mdm_device_edit_t){.name = " ", .test_device = -1};
    assert_int_equal(mdm_device_edit(db, id, 2, &e), MDM_EINPUT);
    e = (mdm_device_edit_t){.ownership = "nobody", .test_device = -1};
    assert_int_equal(mdm_device_edit(db, id, 2, &e), MDM_EINPUT);
    e = (mdm_device_edit_t){.ownership = "", .test_device = -1};
    assert_int_equal(mdm_device_edit(db, id, 2, &e), MDM_EINPUT);
    assert_string_equal(T->ctx->fail_field, "ownership");
    assert_int_equal(mdm_device_edit(db, ROOT, 1, &e), APR_NOTFOUND);
    mdm_db_rollback(db);
    mdm_db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_pages_in_each_order, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_rare_filters_walk_in_stretches, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_bad_filters_are_named, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_cursor_is_bound_and_proved, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_edit_is_optimistic, setup, teardown)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
