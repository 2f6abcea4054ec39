/* Waking devices (facts 5.1, REL-04, R36, R37): coalescing, judging, back-off, no lost wake. MDM_TEST_DB chooses the engine. */
#include "apple_test.h"
#include "domain/mdm_log_rows.h"

static zone_t *z;
static phone_t *d;

/* The scripted service. */
static struct {
    int status, requests;
    apr_status_t rv;
    const char *body, *url, *sent;
    const apr_table_t *headers;
    int wake_meanwhile;
    const char *error; /* with rv; NULL: "connect" */
    const char *hang; /* part of a URL that is never answered */
    int hung_ms;
    void (*while_hanging)(void);
} apns;

/* The wire: what was sent, in order; each answer comes with the next step, but for tokens that hang. */
#define STREAMS 64
static struct {
    mdm_http_req_t *queue[STREAMS], *hung[STREAMS];
    int n, nhung, opened, renewed;
} wire;

static mdm_push_state_t state_of_sender;
static volatile int stop;
static int more;

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
    sql(z, "DELETE FROM device_event");
    sql(z, "UPDATE source_record SET push_ok = 1");
    sql(z, "DELETE FROM zone_setting WHERE name = 'apns.stopped'");
    memset(&wire, 0, sizeof wire);
    memset(&state_of_sender, 0, sizeof state_of_sender);
    stop = 0;
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

static apr_status_t wire_open(void *baton, mdm_ctx_t *ctx, const mdm_push_conf_t *conf)
{
    assert_string_equal(conf->key_pem, "KEY");
    wire.opened++;
    return APR_SUCCESS;
}

static int wire_room(void *baton)
{
    return STREAMS - wire.n - wire.nhung;
}

static void wire_add(void *baton, mdm_ctx_t *ctx, mdm_http_req_t *req)
{
    apns.requests++;
    apns.url = apr_pstrdup(z->t->pool, req->url);
    apns.sent = apr_pstrmemdup(z->t->pool, req->body, req->body_len);
    apns.headers = apr_table_clone(z->t->pool, req->headers);
    if (apns.hang && strstr(req->url, apns.hang)) {
        wire.hung[wire.nhung++] = req;
    } else {
        wire.queue[wire.n++] = req;
    }
}

static mdm_http_req_t *answer(mdm_http_req_t *r, apr_status_t rv, int status, const char *error)
{
    const char *body = status ? apns.body : NULL;

    r->rv = rv;
    r->status = status;
    r->error = error;
    r->response.data = (const unsigned char *)(body ? body : "");
    r->response.len = body ? strlen(body) : 0;
    return r;
}

static mdm_http_req_t *wire_step(void *baton, mdm_ctx_t *ctx, int wait_ms)
{
    mdm_http_req_t *r;
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(ctx, &db), APR_SUCCESS); /* the only connection is free while sending */
    mdm_db_close(db);
    if (wire.n) {
        r = wire.queue[0];
        memmove(wire.queue, wire.queue + 1, (size_t)--wire.n * sizeof r);
        if (apns.wake_meanwhile) {
            apns.wake_meanwhile = 0;
            wake(0);
        }
        return answer(r, apns.rv, apns.rv ? 0 : apns.status, apns.rv ? apns.error ? apns.error : "connect" : NULL);
    }
    if (wait_ms) {
        z->t->now += apr_time_from_msec(wait_ms);
        apns.hung_ms += wait_ms;
        if (apns.while_hanging && apns.hung_ms >= 1000) {
            void (*call)(void) = apns.while_hanging;
            apns.while_hanging = NULL;
            call();
        }
    }
    if (wire.nhung && apns.hung_ms >= 15000) {
        return answer(wire.hung[--wire.nhung], MDM_EUNAVAIL, 0, "timeout");
    }
    return NULL;
}

static void wire_abandon(void *baton)
{
    while (wire.nhung) {
        wire.queue[wire.n++] = wire.hung[--wire.nhung];
    }
    apns.rv = APR_EINTR;
}

static void wire_renew(void *baton)
{
    wire.renewed++;
}

static int run(void)
{
    static const mdm_push_wire_t by = {NULL, wire_open, wire_room, wire_add, wire_step, wire_abandon, wire_renew};
    const mdm_push_server_t server = {NULL, NULL};
    int sent;

    assert_int_equal(mdm_push_run(z->t->ctx, &server, &by, &state_of_sender, &stop, &sent, &more), APR_SUCCESS);
    assert_int_equal(wire.n + wire.nhung, 0);
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
    assert_int_equal(apns.requests, 0);
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
    assert_int_equal(apns.requests, 1);
}

static void test_dead_tokens(void **state)
{
    static const struct {
        int status;
        const char *body;
    } cases[] = {{410, "{\"reason\":\"Unregistered\",\"timestamp\":99999999999999}"}, {400, "{\"reason\":\"BadDeviceToken\"}"},
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
    assert_int_equal(apns.requests, 1);
    assert_string_equal(ask(z, "SELECT count(*) FROM message WHERE code = 'push.refused'"), "1");
    assert_string_equal(ask(z, "SELECT push_ok FROM source_record WHERE id = '%s'", d->record), "1");
    assert_string_equal(row("last_error"), "BadCertificate");
}

static void test_wake_while_sending(void **state)
{
    apns.wake_meanwhile = 1;
    wake(0);
    assert_int_equal(run(), 2);
    assert_int_equal(apns.requests, 2);
    assert_string_equal(row("record_id"), "");
}

static void test_later_wake(void **state)
{
    wake(60000);
    assert_int_equal(run(), 0);
    assert_int_equal(apns.requests, 0);
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

static void crowd(int n)
{
    sql(z, "DELETE FROM source_record WHERE id LIKE 'r%%'");
    sql(z, "INSERT INTO source_record (id, kind, native_id, state, push_ok, push_token, push_magic, first_seen_ms, last_seen_ms) "
           "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
           "SELECT 'r' || i, 'mdm', 'n' || i, 'enrolled', 1, 'ab', 'm', 0, 0 FROM n", n);
    sql(z, "INSERT INTO push (record_id, due_ms) SELECT id, 0 FROM source_record WHERE id LIKE 'r%%'");
}

/* R37: any number of rows goes in bounded batches. */
static void test_batches(void **state)
{
    crowd(250);
    assert_int_equal(run(), 250);
    assert_int_equal(apns.requests, 250);
    assert_int_equal(wire.opened, 1);
    assert_string_equal(ask(z, "SELECT count(*) FROM push"), "0");
}

/* What is asked while something hangs. */
static void others_are_done(void)
{
    assert_string_equal(ask(z, "SELECT count(*) FROM push WHERE record_id <> '%s'", d->record), "0");
    sql(z, "INSERT INTO push (record_id, due_ms) VALUES ('r1', 0)");
}

/* REL-04: a push without an answer delays nobody: the others are recorded, and later ones go out meanwhile. */
static void test_hanging(void **state)
{
    crowd(150);
    wake(0);
    apns.hang = "554449442d50555348";
    apns.while_hanging = others_are_done;
    assert_int_equal(run(), 151);
    assert_string_equal(ask(z, "SELECT count(*) FROM push"), "1");
    assert_string_equal(row("last_error"), "timeout");
    assert_string_equal(row("attempts"), "1");
}

static void stop_now(void)
{
    stop = 1;
}

/* The child stops in the middle: nothing is lost and nothing counts as a failure. */
static void test_stopped(void **state)
{
    crowd(150);
    apns.hang = "/3/device/ab";
    apns.while_hanging = stop_now;
    assert_int_equal(run(), 0);
    assert_string_equal(ask(z, "SELECT count(*) FROM push WHERE attempts = 0 AND lease_until_ms = 0 AND lease_owner IS NULL"), "150");
}

/* REL-06: nothing more is sent since a refusal, and the child stops: nobody waits for the push that gets no answer. */
static void test_stopped_after_a_refusal(void **state)
{
    crowd(20);
    wake(0);
    apns.hang = "554449442d50555348";
    apns.status = 403;
    apns.body = "{\"reason\":\"BadCertificate\"}";
    apns.while_hanging = stop_now;
    assert_int_equal(run(), 0);
    assert_true(apns.hung_ms < 2000);
    assert_string_equal(ask(z, "SELECT count(*) FROM push"), "21");
    assert_string_equal(row("attempts"), "0");
}

/* PSH-01: the service is away for an hour: nothing is lost, few tries meanwhile, and no storm when it is back. */
static void test_outage(void **state)
{
    apr_time_t end, back;
    int sent = 0, second;

    crowd(2000);
    apns.rv = APR_ECONNREFUSED;
    for (end = z->t->now + apr_time_from_sec(3600); z->t->now < end; z->t->now += apr_time_from_sec(5)) {
        assert_int_equal(run(), 0);
    }
    assert_true(apns.requests < 64 + 3600 / 5 + 10);
    assert_string_equal(ask(z, "SELECT count(*) FROM push"), "2000");
    apns.rv = APR_SUCCESS;
    back = z->t->now;
    for (second = 0; second < 3600 && sent < 2000; second++) {
        sent += run();
        if (z->t->now - back <= apr_time_from_sec(20)) {
            assert_true(sent <= 50 * 21 + 1);
        }
        z->t->now += apr_time_from_sec(5);
    }
    assert_int_equal(sent, 2000);
    assert_string_equal(ask(z, "SELECT count(*) FROM push"), "0");
    assert_true(z->t->now - back > apr_time_from_sec(20));
}

/* R38: a cut connection takes many pushes with it and says nothing of the service: soon again, and the others go on. */
static void test_cut_connection(void **state)
{
    crowd(50);
    apns.rv = APR_ECONNRESET;
    apns.error = "reset";
    assert_int_equal(run(), 0);
    assert_int_equal(apns.requests, 50);
    assert_string_equal(ask(z, "SELECT count(*) FROM push WHERE attempts = 1 AND due_ms <= %" APR_INT64_T_FMT,
                            mdm_now_ms(z->t->ctx) + 2000), "50");
    apns.rv = APR_SUCCESS;
    z->t->now += apr_time_from_sec(2);
    assert_int_equal(run(), 50);
}

/* The certificate is refused for all: one message, one push each quarter of an hour, and all go out when it is accepted again. */
static void test_refused_for_all(void **state)
{
    crowd(500);
    apns.status = 403;
    apns.body = "{\"reason\":\"BadCertificateEnvironment\"}";
    for (int i = 0; i < 100; i++) {
        assert_int_equal(run(), 0);
        z->t->now += apr_time_from_sec(5);
    }
    assert_true(apns.requests <= STREAMS);
    assert_string_equal(ask(z, "SELECT count(*) FROM message"), "1");
    assert_string_equal(ask(z, "SELECT count(*) FROM device_event WHERE kind = 'push.refused'"), "0");
    z->t->now += apr_time_from_sec(900);
    apns.requests = 0;
    assert_int_equal(run(), 0);
    assert_int_equal(apns.requests, 1);
    apns.status = 200;
    apns.body = NULL;
    z->t->now += apr_time_from_sec(1800);
    assert_int_equal(run(), 500);
    assert_string_equal(ask(z, "SELECT value FROM zone_setting WHERE name = 'apns.stopped'"), "{}");
}

/* DeviceTokenNotForTopic for many devices: the certificate was replaced (PSH-04). */
static void test_replaced_certificate(void **state)
{
    crowd(10);
    apns.status = 400;
    apns.body = "{\"reason\":\"DeviceTokenNotForTopic\"}";
    assert_int_equal(run(), 0);
    assert_string_equal(ask(z, "SELECT count(*) FROM message WHERE code = 'push.topic'"), "1");
    assert_string_equal(ask(z, "SELECT count(*) FROM source_record WHERE id LIKE 'r%%' AND push_ok = 1"), "0");
}

/* Our own mistake is told and not repeated. */
static void test_fault(void **state)
{
    apns.status = 400;
    apns.body = "{\"reason\":\"InvalidPushType\"}";
    wake(0);
    assert_int_equal(run(), 0);
    assert_string_equal(row("record_id"), "");
    assert_string_equal(ask(z, "SELECT push_ok FROM source_record WHERE id = '%s'", d->record), "1");
    assert_string_equal(ask(z, "SELECT count(*) FROM message WHERE code = 'push.fault'"), "1");
}

/* 410 about an earlier token: the newer one is kept, but not for ever. */
static void test_old_news(void **state)
{
    int i;

    apns.status = 410;
    apns.body = "{\"reason\":\"Unregistered\",\"timestamp\":1000}";
    sql(z, "UPDATE source_record SET push_token_ms = 2000 WHERE id = '%s'", d->record);
    wake(0);
    for (i = 0; i < 5; i++) {
        assert_int_equal(run(), 0);
        assert_string_equal(row("last_error"), "Unregistered");
        assert_string_equal(ask(z, "SELECT push_ok FROM source_record WHERE id = '%s'", d->record), "1");
        z->t->now += apr_time_from_sec(7 * 3600);
    }
    run();
    assert_string_equal(ask(z, "SELECT push_ok FROM source_record WHERE id = '%s'", d->record), "0");
}

static void test_renews_after_shutdown(void **state)
{
    apns.status = 503;
    apns.body = "{\"reason\":\"Shutdown\"}";
    wake(0);
    run();
    assert_int_equal(wire.renewed, 1);
}

static void test_spread(void **state)
{
    int early = 0;

    for (int i = 0; i < 1000; i++) {
        apr_int64_t at = mdm_push_spread_ms(apr_psprintf(z->t->pool, "record-%d", i), 60000);
        assert_true(at >= 0 && at < 60000);
        early += at < 6000;
    }
    assert_true(early > 50 && early < 200);
    assert_int_equal(mdm_push_spread_ms("record-1", 60000), mdm_push_spread_ms("record-1", 60000));
    assert_int_equal(mdm_push_spread_ms("x", 0), 0);
}

/* Each status and reason of the facts' table. */
static void test_verdicts(void **state)
{
    static const struct {
        int status;
        const char *reason;
        apr_int64_t timestamp, token;
        int attempts;
        mdm_push_verdict_e want;
    } cases[] = {
        {200, "", 0, 0, 0, MDM_PUSH_SENT},
        {400, "BadDeviceToken", 0, 0, 0, MDM_PUSH_DEAD},
        {400, "DeviceTokenNotForTopic", 0, 0, 0, MDM_PUSH_DEAD},
        {400, "BadTopic", 0, 0, 0, MDM_PUSH_STOP},
        {400, "MissingTopic", 0, 0, 0, MDM_PUSH_STOP},
        {400, "TopicDisallowed", 0, 0, 0, MDM_PUSH_STOP},
        {400, "InvalidPushType", 0, 0, 0, MDM_PUSH_FAULT},
        {400, "BadExpirationDate", 0, 0, 0, MDM_PUSH_FAULT},
        {400, "BadPriority", 0, 0, 0, MDM_PUSH_FAULT},
        {400, "BadMessageId", 0, 0, 0, MDM_PUSH_FAULT},
        {400, "BadCollapseId", 0, 0, 0, MDM_PUSH_FAULT},
        {400, "DuplicateHeaders", 0, 0, 0, MDM_PUSH_FAULT},
        {400, "MissingDeviceToken", 0, 0, 0, MDM_PUSH_FAULT},
        {400, "PayloadEmpty", 0, 0, 0, MDM_PUSH_FAULT},
        {400, "IdleTimeout", 0, 0, 0, MDM_PUSH_AGAIN},
        {403, "BadCertificate", 0, 0, 0, MDM_PUSH_STOP},
        {403, "BadCertificateEnvironment", 0, 0, 0, MDM_PUSH_STOP},
        {403, "Forbidden", 0, 0, 0, MDM_PUSH_STOP},
        {403, "ExpiredProviderToken", 0, 0, 0, MDM_PUSH_STOP},
        {403, "HTTP 403", 0, 0, 0, MDM_PUSH_STOP},
        {404, "BadPath", 0, 0, 0, MDM_PUSH_FAULT},
        {405, "MethodNotAllowed", 0, 0, 0, MDM_PUSH_FAULT},
        {410, "Unregistered", 0, 5000, 0, MDM_PUSH_DEAD},
        {410, "Unregistered", 5000, 5000, 0, MDM_PUSH_DEAD},
        {410, "Unregistered", 4999, 5000, 0, MDM_PUSH_AGAIN},
        {410, "Unregistered", 4999, 5000, 5, MDM_PUSH_DEAD},
        {410, "ExpiredToken", 9999, 5000, 0, MDM_PUSH_DEAD},
        {413, "PayloadTooLarge", 0, 0, 0, MDM_PUSH_FAULT},
        {429, "TooManyRequests", 0, 0, 0, MDM_PUSH_AGAIN},
        {429, "TooManyProviderTokenUpdates", 0, 0, 0, MDM_PUSH_AGAIN},
        {500, "InternalServerError", 0, 0, 0, MDM_PUSH_AGAIN},
        {503, "ServiceUnavailable", 0, 0, 0, MDM_PUSH_AGAIN},
        {503, "Shutdown", 0, 0, 0, MDM_PUSH_AGAIN},
        {418, "Anything", 0, 0, 0, MDM_PUSH_FAULT},
    };
    apr_int64_t pause;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mdm_push_verdict_e got = mdm_push_verdict(cases[i].status, cases[i].reason, cases[i].timestamp, cases[i].token,
                                                  cases[i].attempts, &pause);
        if (got != cases[i].want) {
            fail_msg("%d %s: %d", cases[i].status, cases[i].reason, got);
        }
        assert_true(got != MDM_PUSH_AGAIN || pause > 0);
    }
}

/* Answers that are no JSON, or not the right one. */
static void test_judge(void **state)
{
    static const struct {
        int status;
        const char *body;
        mdm_push_verdict_e want;
    } cases[] = {{200, "", MDM_PUSH_SENT}, {413, "x", MDM_PUSH_FAULT}, {400, "{\"reason\":17}", MDM_PUSH_FAULT},
                 {500, "", MDM_PUSH_AGAIN}, {410, "[[[[", MDM_PUSH_DEAD}, {410, "{\"reason\":\"\",\"timestamp\":\"x\"}", MDM_PUSH_DEAD},
                 {403, "[1]", MDM_PUSH_STOP}};
    const char *reason;
    apr_int64_t pause;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mdm_http_req_t req = {.status = cases[i].status};
        req.response.data = (const unsigned char *)cases[i].body;
        req.response.len = strlen(cases[i].body);
        assert_int_equal(mdm_push_judge(z->t->ctx, &req, 0, 0, &reason, &pause), cases[i].want);
        assert_non_null(reason);
    }
}

#define T(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_not_configured), T(test_request), T(test_dead_tokens), T(test_back_off), T(test_trouble), T(test_wake_while_sending),
        T(test_later_wake), T(test_lease), T(test_batches), T(test_hanging), T(test_stopped), T(test_stopped_after_a_refusal),
        T(test_outage), T(test_cut_connection),
        T(test_refused_for_all),
        T(test_replaced_certificate), T(test_fault), T(test_old_news), T(test_renews_after_shutdown), T(test_spread), T(test_verdicts),
        T(test_judge),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
