/* Waking devices (facts 5.1, REL-04, R36, R37): coalescing, judging, back-off, no lost wake. MDM_TEST_DB chooses the engine. */
#include "apple_test.h"
#include "domain/mdm_log_rows.h"

static zone_t *z;
static phone_t *d;

/* The scripted service. */
static struct {
    int status, calls, requests;
    apr_status_t rv;
    const char *body, *url, *sent;
    const apr_table_t *headers;
    int wake_meanwhile;
} apns;

static int setup(void **state)
{
    z = zone_make();
    d = dev_enrolled(z, "UDID-PUSH");
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

static int fresh(void **state)
{
    memset(&apns, 0, sizeof apns);
    apns.status = 200;
    sql(z, "DELETE FROM push");
    sql(z, "DELETE FROM message");
    sql(z, "UPDATE source_record SET push_ok = 1");
    return 0;
}

static void set(const char *name, const char *value)
{
    json_t *j = json_string(value);
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_setting_set(db, name, j, !strcmp(name, "apns.key")), APR_SUCCESS);
    mdm_db_close(db);
    json_decref(j);
}

static void configure(void)
{
    set("apns.topic", "com.apple.mgmt.External.test");
    set("apns.certificate", "CERT");
    set("apns.key", "KEY");
}

static void wake(apr_int64_t delay)
{
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_push_wake(db, d->record, delay), APR_SUCCESS);
    mdm_db_close(db);
}

static apr_status_t deliver(void *baton, mdm_ctx_t *ctx, const mdm_push_conf_t *conf, mdm_http_req_t **reqs, int n, volatile int *stop)
{
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(ctx, &db), APR_SUCCESS); /* the only connection is free while sending */
    mdm_db_close(db);
    assert_string_equal(conf->key_pem, "KEY");
    apns.calls++;
    apns.requests += n;
    for (int i = 0; i < n; i++) {
        apns.url = apr_pstrdup(z->t->pool, reqs[i]->url);
        apns.sent = apr_pstrmemdup(z->t->pool, reqs[i]->body, reqs[i]->body_len);
        apns.headers = apr_table_clone(z->t->pool, reqs[i]->headers);
        reqs[i]->rv = apns.rv;
        reqs[i]->status = apns.rv ? 0 : apns.status;
        reqs[i]->error = apns.rv ? "connect" : NULL;
        reqs[i]->response.data = (const unsigned char *)(apns.body ? apns.body : "");
        reqs[i]->response.len = apns.body ? strlen(apns.body) : 0;
    }
    if (apns.wake_meanwhile) {
        apns.wake_meanwhile = 0;
        wake(0);
    }
    return APR_SUCCESS;
}

static int run(void)
{
    const mdm_push_server_t server = {NULL, NULL};
    int sent;

    assert_int_equal(mdm_push_run(z->t->ctx, &server, deliver, NULL, NULL, &sent), APR_SUCCESS);
    return sent;
}

static const char *row(const char *column)
{
    return ask(z, "SELECT %s FROM push WHERE record_id = '%s'", column, d->record);
}

/* Nothing configured: rows stay, one message for administrators, not one per run. Must be the first test. */
static void test_not_configured(void **state)
{
    wake(0);
    assert_int_equal(run(), 0);
    assert_int_equal(run(), 0);
    assert_int_equal(apns.calls, 0);
    assert_string_equal(row("attempts"), "0");
    assert_string_equal(ask(z, "SELECT count(*) FROM message WHERE code = 'push.unconfigured'"), "1");
}

static void test_request(void **state)
{
    configure();
    for (int i = 0; i < 5; i++) {
        wake(0); /* one push wakes the whole queue */
    }
    assert_int_equal(run(), 1);
    assert_int_equal(apns.requests, 1);
    assert_string_equal(apns.url, "https://api.push.apple.com/3/device/554449442d50555348");
    assert_string_equal(apns.sent, "{\"mdm\":\"MAGIC-1\"}");
    assert_string_equal(apr_table_get(apns.headers, "apns-topic"), "com.apple.mgmt.External.test");
    assert_string_equal(apr_table_get(apns.headers, "apns-push-type"), "mdm");
    assert_string_equal(apr_table_get(apns.headers, "apns-priority"), "10");
    assert_true(apr_atoi64(apr_table_get(apns.headers, "apns-expiration")) > mdm_now_ms(z->t->ctx) / 1000);
    assert_string_equal(row("record_id"), "");
    assert_int_equal(run(), 0);
    assert_int_equal(apns.calls, 1);
}

static void test_dead_tokens(void **state)
{
    static const struct {
        int status;
        const char *body;
    } cases[] = {{410, "{\"reason\":\"Unregistered\",\"timestamp\":1}"}, {400, "{\"reason\":\"BadDeviceToken\"}"},
                 {400, "{\"reason\":\"DeviceTokenNotForTopic\"}"}, {410, "rubbish"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fresh(state);
        apns.status = cases[i].status;
        apns.body = cases[i].body;
        wake(0);
        assert_int_equal(run(), 0);
        assert_string_equal(row("record_id"), "");
        assert_string_equal(ask(z, "SELECT push_ok FROM source_record WHERE id = '%s'", d->record), "0");
        wake(0); /* nothing until TokenUpdate */
        assert_string_equal(row("record_id"), "");
    }
}

/* R36: retries back off up to a cap, with jitter. */
static void test_back_off(void **state)
{
    apr_int64_t last = 0, now = mdm_now_ms(z->t->ctx);

    apns.status = 503;
    wake(0);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(run(), 0);
        last = apr_atoi64(row("due_ms")) - mdm_now_ms(z->t->ctx);
        assert_true(last > 0 && last <= 6 * 3600 * 1000LL * 5 / 4);
        assert_int_equal(atoi(row("attempts")), i + 1);
        z->t->now += apr_time_from_msec(last);
    }
    assert_true(last > 6 * 3600 * 1000LL / 2);
    assert_true(mdm_now_ms(z->t->ctx) > now);
    assert_string_equal(ask(z, "SELECT push_ok FROM source_record WHERE id = '%s'", d->record), "1");
    assert_string_equal(row("last_error"), "HTTP 503");
    apns.rv = APR_ECONNREFUSED;
    run();
    assert_string_equal(row("last_error"), "connect");
}

/* Our certificate is refused: the run ends, administrators are told once, devices keep their tokens. */
static void test_trouble(void **state)
{
    apns.status = 403;
    apns.body = "{\"reason\":\"BadCertificate\"}";
    wake(0);
    assert_int_equal(run(), 0);
    assert_int_equal(apns.calls, 1);
    assert_string_equal(ask(z, "SELECT count(*) FROM message WHERE code = 'push.refused'"), "1");
    assert_string_equal(ask(z, "SELECT push_ok FROM source_record WHERE id = '%s'", d->record), "1");
    assert_string_equal(row("last_error"), "BadCertificate");
}

static void test_wake_while_sending(void **state)
{
    apns.wake_meanwhile = 1;
    wake(0);
    assert_int_equal(run(), 2);
    assert_int_equal(apns.calls, 2);
    assert_string_equal(row("record_id"), "");
}

static void test_later_wake(void **state)
{
    wake(60000);
    assert_int_equal(run(), 0);
    assert_int_equal(apns.calls, 0);
    z->t->now += apr_time_from_sec(61);
    assert_int_equal(run(), 1);
}

/* A row whose sender died comes back when its lease is over. */
static void test_lease(void **state)
{
    wake(0);
    sql(z, "UPDATE push SET lease_owner = 'gone', lease_until_ms = %" APR_INT64_T_FMT, mdm_now_ms(z->t->ctx) + 1000);
    assert_int_equal(run(), 0);
    z->t->now += apr_time_from_sec(2);
    assert_int_equal(run(), 1);
}

/* R37: any number of rows goes in bounded batches. */
static void test_batches(void **state)
{
    sql(z, "INSERT INTO source_record (id, kind, native_id, state, push_ok, push_token, push_magic, first_seen_ms, last_seen_ms) "
           "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250) "
           "SELECT 'r' || i, 'mdm', 'n' || i, 'enrolled', 1, 'ab', 'm', 0, 0 FROM n");
    sql(z, "INSERT INTO push (record_id, due_ms) SELECT id, 0 FROM source_record WHERE id LIKE 'r%%'");
    assert_int_equal(run(), 250);
    assert_int_equal(apns.calls, 3);
    assert_string_equal(ask(z, "SELECT count(*) FROM push"), "0");
}

static void test_judge(void **state)
{
    static const struct {
        int status;
        const char *body;
        mdm_push_verdict_e want;
    } cases[] = {{200, "", MDM_PUSH_SENT}, {400, "{\"reason\":\"BadTopic\"}", MDM_PUSH_TROUBLE},
                 {400, "{\"reason\":\"IdleTimeout\"}", MDM_PUSH_AGAIN}, {404, "", MDM_PUSH_TROUBLE}, {413, "x", MDM_PUSH_TROUBLE},
                 {429, "{\"reason\":\"TooManyRequests\"}", MDM_PUSH_AGAIN}, {500, "", MDM_PUSH_AGAIN},
                 {503, "{\"reason\":\"Shutdown\"}", MDM_PUSH_AGAIN}, {400, "{\"reason\":17}", MDM_PUSH_TROUBLE},
                 {410, "[[[[", MDM_PUSH_DEAD}};
    const char *reason;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mdm_http_req_t req = {.status = cases[i].status};
        req.response.data = (const unsigned char *)cases[i].body;
        req.response.len = strlen(cases[i].body);
        assert_int_equal(mdm_push_judge(z->t->ctx, &req, &reason), cases[i].want);
        assert_non_null(reason);
    }
}

#define T(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_not_configured), T(test_request), T(test_dead_tokens), T(test_back_off), T(test_trouble), T(test_wake_while_sending),
        T(test_later_wake), T(test_lease), T(test_batches), T(test_judge),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
