/* Audit, messages, device events, zone settings (R49, SEC-04). */
#include "dbtest.h"
#include "base/mdm_seal.h"
#include "domain/mdm_log_rows.h"

static dbtest_t *t;
static mdm_db_t *db;

static int setup(void **state)
{
    mdm_keyring_t *ring;

    t = dbtest_make(1);
    assert_int_equal(mdm_keyring_parse(t->ctx, t->pool, "k AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", &ring),
                     APR_SUCCESS);
    t->env.keys = ring;
    return mdm_db_open(t->ctx, &db);
}

static int teardown(void **state)
{
    mdm_db_close(db);
    dbtest_end(t);
    return 0;
}

/* Number of rows that a condition holds for. */
static int rows(const char *query)
{
    const apr_dbd_driver_t *driver;
    const char *name, *rest;
    apr_dbd_results_t *res = NULL;
    apr_dbd_row_t *row = NULL;
    apr_dbd_t *handle;
    int n;

    assert_int_equal(mdm_db_params(t->ctx, t->params, &name, &rest), APR_SUCCESS);
    assert_int_equal(apr_dbd_get_driver(t->pool, name, &driver), APR_SUCCESS);
    assert_int_equal(apr_dbd_open(driver, t->pool, rest, &handle), APR_SUCCESS);
    assert_int_equal(apr_dbd_select(driver, t->pool, handle, &res, query, 1), 0);
    assert_int_equal(apr_dbd_get_row(driver, t->pool, res, &row, -1), 0);
    n = atoi(apr_dbd_get_entry(driver, row, 0));
    while (apr_dbd_get_row(driver, t->pool, res, &row, -1) == 0) {
    }
    apr_dbd_close(driver, handle);
    return n;
}

static void test_audit_says_who_and_what(void **state)
{
    json_t *detail = json_pack("{s:s}", "reason", "test");

    t->ctx->actor = (mdm_actor_t){"admin", "a-1", "ro\not", "192.0.2.1", "req-1", "", ""};
    assert_int_equal(mdm_audit(db, "device.unenroll", "device", "d-1", "Bob's \x01phone", "done", detail), APR_SUCCESS);
    assert_int_equal(mdm_audit(db, "x", "zone", NULL, NULL, "failed", NULL), APR_SUCCESS);
    assert_int_equal(rows("SELECT COUNT(*) FROM audit WHERE actor_kind = 'admin' AND actor_id = 'a-1' AND ip = '192.0.2.1' "
                          "AND action = 'device.unenroll' AND object_id = 'd-1' AND outcome = 'done' "
                          "AND detail = '{\"reason\":\"test\"}' AND request_id = 'req-1' AND at_ms = 1800000000000"), 1);
    assert_int_equal(rows("SELECT COUNT(*) FROM audit WHERE object_name LIKE 'Bob''s %phone' AND LENGTH(object_name) < 14"), 1);
    assert_int_equal(rows("SELECT COUNT(*) FROM audit"), 2);
    json_decref(detail);
}

static void test_audit_goes_with_its_act(void **state)
{
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_audit(db, "x", "zone", "", "", "done", NULL), APR_SUCCESS);
    mdm_db_rollback(db);
    assert_int_equal(rows("SELECT COUNT(*) FROM audit"), 0);
}

static void test_device_event_needs_no_device(void **state)
{
    assert_int_equal(mdm_device_event(db, NULL, "p-1", "enroll.profile", NULL), APR_SUCCESS);
    assert_int_equal(mdm_device_event(db, "no such device", NULL, "x", NULL), MDM_ECONFLICT);
    assert_int_equal(rows("SELECT COUNT(*) FROM device_event WHERE pending_id = 'p-1' AND device_id IS NULL"), 1);
}

static void test_open_message_is_not_doubled(void **state)
{
    assert_int_equal(mdm_message(db, "zone", "", MDM_MSG_WARNING, "apns", "first"), APR_SUCCESS);
    t->now += apr_time_from_sec(60);
    assert_int_equal(mdm_message(db, "zone", "", MDM_MSG_ERROR, "apns", "second"), APR_SUCCESS);
    assert_int_equal(mdm_message(db, "zone", "", MDM_MSG_NORMAL, "other", "x"), APR_SUCCESS);
    assert_int_equal(rows("SELECT COUNT(*) FROM message"), 2);
    assert_int_equal(rows("SELECT COUNT(*) FROM message WHERE text = 'second' AND severity = 3 AND at_ms = 1800000060000"), 1);
    mdm_db_close(db);
    assert_int_equal(dbtest_sql(t, "UPDATE message SET ack_ms = 1"), 0);
    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_message(db, "zone", "", MDM_MSG_ERROR, "apns", "again"), APR_SUCCESS);
    assert_int_equal(rows("SELECT COUNT(*) FROM message"), 3);
}

static void test_settings(void **state)
{
    static const char *const values[] = {"\"text\"", "17", "true", "null", "[1,2]", "{\"a\":{\"b\":\"ä\"}}"};
    json_t *got;

    assert_int_equal(mdm_setting_get(db, "none", &got), APR_NOTFOUND);
    assert_null(got);
    for (unsigned i = 0; i < 2 * sizeof(values) / sizeof(values[0]); i++) {
        json_t *v = json_loads(values[i / 2], JSON_DECODE_ANY, NULL);

        assert_int_equal(mdm_setting_set(db, "s", v, i % 2), APR_SUCCESS);
        assert_int_equal(mdm_setting_get(db, "s", &got), APR_SUCCESS);
        assert_true(json_equal(v, got));
        json_decref(v);
    }
    assert_int_equal(rows("SELECT COUNT(*) FROM zone_setting"), 1);
    /* each write told the caches */
    assert_int_equal(rows("SELECT COUNT(*) FROM change WHERE kind = 'zone' AND key = 's'"), 12);
}

static void test_secret_settings_are_sealed(void **state)
{
    json_t *secret = json_string("hunter2"), *got;

    assert_int_equal(mdm_setting_set(db, "mail.password", secret, 1), APR_SUCCESS);
    assert_int_equal(rows("SELECT COUNT(*) FROM zone_setting WHERE sealed = 1 AND value LIKE 's1.k.%'"), 1);
    assert_int_equal(rows("SELECT COUNT(*) FROM zone_setting WHERE value LIKE '%hunter2%'"), 0);
    /* a sealed value copied to another name does not open */
    mdm_db_close(db);
    assert_int_equal(dbtest_sql(t, "UPDATE zone_setting SET name = 'other'"), 0);
    t->ctx->log = NULL;
    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_setting_get(db, "other", &got), MDM_EUNAVAIL);
    assert_null(got);
    t->env.keys = NULL;
    assert_int_equal(mdm_setting_set(db, "x", secret, 1), MDM_EUNAVAIL);
    json_decref(secret);
}

static void test_setting_follows_the_callers_transaction(void **state)
{
    json_t *v = json_true(), *got;

    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_setting_set(db, "s", v, 0), APR_SUCCESS);
    assert_true(mdm_db_in_tx(db));
    mdm_db_rollback(db);
    assert_int_equal(mdm_setting_get(db, "s", &got), APR_NOTFOUND);
    assert_int_equal(rows("SELECT COUNT(*) FROM change"), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_audit_says_who_and_what),
        T(test_audit_goes_with_its_act),
        T(test_device_event_needs_no_device),
        T(test_open_message_is_not_doubled),
        T(test_settings),
        T(test_secret_settings_are_sealed),
        T(test_setting_follows_the_callers_transaction),
    };
    int rc;

    apr_initialize();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rc;
}
