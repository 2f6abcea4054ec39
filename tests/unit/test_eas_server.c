/* ActiveSync servers: what the gate reads, and the user name that each server wants (EAS-01, EAS-03, USR-13). */
#include "dbtest.h"

#include "base/mdm_json.h"
#include "domain/mdm_eas_server.h"

#define SOURCE_A "00000000-0000-4000-8000-0000000000a1"
#define SOURCE_B "00000000-0000-4000-8000-0000000000b1"

static int setup(void **state)
{
    *state = dbtest_make(1);
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(*state);
    return 0;
}

static const char *user_of(dbtest_t *t, const char *form, const char *domain, const mdm_eas_login_t *who)
{
    mdm_eas_server_t server = {.user_form = form, .domain = domain};
    const char *out = NULL;

    t->ctx->fail_field = "";
    return mdm_eas_server_user(t->ctx, &server, who, &out) == APR_SUCCESS ? out : NULL;
}

/* EAS-03: the device's form and the back end's may differ. */
static void test_user_forms(void **state)
{
    const mdm_eas_login_t anna = {"corp\\Anna", "anna", "anna@example.org"}, bare = {"bob", "bob", ""}, odd = {"a:b", "a:b", "a:b@c"};
    const mdm_eas_login_t nobody = {NULL, NULL, NULL};
    static const char *const forms[] = {"as_typed", "user", "domain_user", "mail"};
    dbtest_t *t = *state;
    unsigned i;

    assert_string_equal(user_of(t, "as_typed", "X", &anna), "corp\\Anna");
    assert_string_equal(user_of(t, "user", "X", &anna), "anna");
    assert_string_equal(user_of(t, "domain_user", "X", &anna), "X\\anna");
    assert_string_equal(user_of(t, "mail", "X", &anna), "anna@example.org");
    assert_null(user_of(t, "mail", "X", &bare));
    assert_string_equal(t->ctx->fail_field, "mail");
    for (i = 0; i < 4; i++) { /* a colon would move the password's beginning */
        assert_null(user_of(t, forms[i], "X", &odd));
        assert_null(user_of(t, forms[i], "X", &nobody));
    }
}

static const char *add(dbtest_t *t, mdm_db_t *db, const char *name, int enabled)
{
    json_t *given = json_pack("{s:s, s:s, s:b, s:[s, s]}", "name", name, "host", "mail.example.org", "enabled", enabled, "sources",
                              SOURCE_A, SOURCE_B);
    const char *id = NULL;

    assert_int_equal(mdm_eas_server_add(db, mdm_json_own(t->ctx, given), &id), APR_SUCCESS);
    return id;
}

static const char *routes(mdm_db_t *db, const char *source)
{
    apr_array_header_t *rows;
    const char *out = "";
    int i;

    assert_int_equal(mdm_eas_routes(db, &rows), APR_SUCCESS);
    for (i = 0; i < rows->nelts; i++) {
        const mdm_eas_route_t *r = &APR_ARRAY_IDX(rows, i, mdm_eas_route_t);

        if (!strcmp(r->source_id, source)) {
            out = apr_pstrcat(mdm_db_ctx(db)->pool, out, r->server.name, " ", NULL);
            assert_int_equal(r->server.port, 443);
            assert_true(r->server.tls && r->server.enabled == (strcmp(r->server.name, "off") != 0));
        }
    }
    return out;
}

/* USR-13: each source has its own order; disabled servers are among them, so that a source is known to have some. */
static void test_routes(void **state)
{
    dbtest_t *t = *state;
    const char *one, *two;
    apr_int64_t version = 0;
    json_t *order;
    mdm_db_t *db;

    assert_int_equal(dbtest_sql(t, "INSERT INTO user_source (id, name, kind, created_ms) VALUES ('" SOURCE_A "', 'A', 'ldap', 1), ('"
                                SOURCE_B "', 'B', 'ldap', 1)"), 0);
    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    one = add(t, db, "one", 1);
    two = add(t, db, "two", 1);
    add(t, db, "off", 0);
    assert_string_equal(routes(db, SOURCE_A), "one two off ");
    assert_int_equal(mdm_eas_order_json(db, SOURCE_B, &order, &version), APR_SUCCESS);
    assert_int_equal(json_array_size(json_object_get(mdm_json_own(t->ctx, order), "items")), 3);
    order = mdm_json_own(t->ctx, json_pack("[s, s]", two, one));
    assert_int_equal(mdm_eas_order_put(db, SOURCE_B, version + 1, order), MDM_ESTALE);
    assert_int_equal(mdm_eas_order_put(db, SOURCE_B, version, order), APR_SUCCESS);
    assert_string_equal(routes(db, SOURCE_A), "one two off ");
    assert_string_equal(routes(db, SOURCE_B), "two one ");
    assert_int_equal(mdm_eas_server_delete(db, one, 1), APR_SUCCESS);
    assert_string_equal(routes(db, SOURCE_A), "two off ");
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_user_forms, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_routes, setup, teardown)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
