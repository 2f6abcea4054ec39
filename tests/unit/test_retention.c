/* History and messages go by age (DEV-16): what goes, what stays, in batches that may be cut anywhere. MDM_TEST_DB chooses the engine. */
#include <signal.h>
#include <sys/wait.h>

#include "apple_test.h"
#include "domain/mdm_identity.h"
#include "domain/mdm_retention.h"

#define DAY APR_INT64_C(86400000)

static zone_t *z;
static phone_t *one, *two;
static mdm_db_t *db;

static int setup(void **state)
{
    z = zone_make();
    one = dev_enrolled(z, "UDID-RET-1");
    two = dev_enrolled(z, "UDID-RET-2");
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

static int empty(void **state)
{
    static const char *const tables[] = {"quick_task_device", "quick_task", "job", "command", "device_event", "message", "audit", NULL};

    for (const char *const *t = tables; *t; t++) {
        sql(z, "DELETE FROM %s", *t);
    }
    sql(z, "DELETE FROM zone_setting WHERE name = 'retention'");
    return 0;
}

static apr_int64_t ago(int days)
{
    return apr_time_as_msec(z->t->now) - days * DAY;
}

static int count(const char *what)
{
    return atoi(ask(z, "SELECT COUNT(*) FROM %s", what));
}

/* A command of the first device that was over so many days ago. */
static void ended(const char *id, int seq, const char *state, int days, const char *key)
{
    sql(z, "INSERT INTO command (id, record_id, device_id, seq, request_type, payload, open, state, coalesce_key, created_ms, done_ms) "
           "VALUES ('%s', '%s', '%s', %d, 'X', '{}', 0, '%s', '%s', 0, %" APR_INT64_T_FMT ")", id, one->record, one->device, 1000 + seq, state, key,
        ago(days));
}

static void message_row(const char *id, const char *object, const char *code, int at, int ack)
{
    sql(z, "INSERT INTO message (id, object_kind, object_id, at_ms, severity, code, text) VALUES ('%s', 'device', '%s', %" APR_INT64_T_FMT
           ", 1, '%s', '')", id, object, ago(at), code);
    if (ack >= 0) {
        sql(z, "UPDATE message SET ack_ms = %" APR_INT64_T_FMT " WHERE id = '%s'", ago(ack), id);
    }
}

static void event_row(const char *id, int days)
{
    sql(z, "INSERT INTO device_event (id, device_id, at_ms, kind) VALUES ('%s', '%s', %" APR_INT64_T_FMT ", 'x')", id, one->device, ago(days));
}

static void task_row(const char *id, const char *state, int days, const char *command)
{
    sql(z, "INSERT INTO quick_task (id, kind, summary, options, target, created_ms, created_by, state, checked_ms) "
           "VALUES ('%s', 'lock', '{}', '', '{}', %" APR_INT64_T_FMT ", '', '%s', %" APR_INT64_T_FMT ")", id, ago(days), state, ago(days));
    sql(z, "INSERT INTO quick_task_device (task_id, device_id, n, name, command_id, state, updated_ms) "
           "VALUES ('%s', '%s', 1, '', '%s', 'ordered', 0)", id, one->device, command);
}

/* One run under a real lease; NULL if another one has the job. */
static mdm_job_t *claim(mdm_ctx_t *ctx)
{
    mdm_job_add_t add = {.kind = "core.history", .unique_key = "history", .run_at_ms = 1};
    mdm_job_t *job = NULL;

    assert_int_equal(mdm_db_open(ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_job_add(db, &add, NULL), APR_SUCCESS);
    mdm_job_claim(db, "core.history", "test", 60, &job);
    mdm_db_close(db);
    return job;
}

static json_t *run(int audit_days)
{
    mdm_job_t *job = claim(z->t->ctx);

    assert_non_null(job);
    assert_int_equal(mdm_retention_run(z->t->ctx, job, audit_days, 60), APR_SUCCESS);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_job_finish(db, job, APR_SUCCESS, NULL), APR_SUCCESS);
    mdm_db_close(db);
    return job->result;
}

static int told(json_t *result, const char *what)
{
    return (int)json_integer_value(json_object_get(result, what));
}

static void test_what_is_old_goes(void **state)
{
    json_t *result;

    ended("old", 1, "acknowledged", 181, "");
    ended("young", 2, "error", 179, "");
    ended("open", 3, "queued", 400, "");
    sql(z, "UPDATE command SET open = 1, done_ms = NULL, created_ms = 0 WHERE id = 'open'");
    event_row("old", 181);
    event_row("young", 179);
    message_row("old", one->device, "a", 300, 181);
    message_row("young", one->device, "b", 300, 179);
    message_row("unseen", one->device, "c", 300, -1);
    sql(z, "INSERT INTO audit (id, at_ms, actor_kind, actor_id, actor_name, ip, action, object_kind, object_id, object_name, outcome) "
           "VALUES ('old', 1, '', '', '', '', '', '', '', '', '')");
    result = run(0);
    assert_int_equal(told(result, "commands") + told(result, "events") * 10 + told(result, "messages") * 100, 111);
    assert_int_equal(count("command WHERE id IN ('young', 'open')"), 2);
    assert_int_equal(count("command"), 2);
    assert_int_equal(count("device_event"), 1);
    assert_int_equal(count("message WHERE id <> 'old'"), 2);
    assert_int_equal(count("audit WHERE id = 'old'"), 1);
    run(730);
    assert_int_equal(count("audit WHERE id = 'old'"), 0);
}

/* A task tells its devices' states by their commands: they go with it, and it goes when it has ended. */
static void test_tasks_and_their_commands(void **state)
{
    const char *const ids[] = {"done", "young", "running"};

    for (int i = 0; i < 3; i++) {
        ended(ids[i], i, "acknowledged", 200, "");
        task_row(ids[i], i == 2 ? "running" : "done", i == 1 ? 100 : 200, ids[i]);
    }
    assert_int_equal(told(run(0), "commands"), 1);
    assert_int_equal(count("quick_task WHERE id IN ('young', 'running')"), 2);
    assert_int_equal(count("quick_task_device"), 2);
    assert_int_equal(count("command WHERE id IN ('young', 'running')"), 2);
    assert_int_equal(count("quick_task"), 2);
}

/* IOS-06: the last failed renewal, and that somebody has seen what was said of it, are what the job of identities asks. */
static void test_renewals_stay(void **state)
{
    ended("first", 1, "expired", 300, MDM_IDENTITY_JOB);
    ended("last", 2, "expired", 290, MDM_IDENTITY_JOB);
    ended("other", 3, "acknowledged", 280, "");
    message_row("seen", one->device, MDM_IDENTITY_ENDING, 250, 240);
    message_row("gone", "00000000-0000-4000-8000-000000000000", MDM_IDENTITY_ENDING, 250, 240);
    run(0);
    assert_string_equal(ask(z, "SELECT id FROM command"), "last");
    assert_int_equal(count("command"), 1);
    assert_string_equal(ask(z, "SELECT id FROM message"), "seen");
    assert_int_equal(count("message"), 1);
    ended("renewed", 4, "acknowledged", 279, MDM_IDENTITY_JOB);
    sql(z, "UPDATE certificate SET issued_ms = %" APR_INT64_T_FMT " WHERE fingerprint = '%s'", ago(1), one->fingerprint);
    run(0);
    assert_int_equal(count("command") + count("message"), 0);
    sql(z, "UPDATE certificate SET issued_ms = 0 WHERE fingerprint = '%s'", one->fingerprint);
}

static apr_status_t edit(const char *body)
{
    apr_status_t rv;

    z->t->ctx->fail_field = NULL;
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    rv = mdm_db_end(db, mdm_retention_edit(db, mdm_json_own(z->t->ctx, json_loads(body, 0, NULL))));
    mdm_db_close(db);
    return rv;
}

static void test_setting(void **state)
{
    static const char *const bad[][2] = {{"{\"history_days\": 13}", "history_days"}, {"{\"message_days\": -1}", "message_days"}, {"{\"pending_days\": 3}", "pending_days"},
                                         {"{\"history_days\": 36501}", "history_days"}, {"{\"history_days\": \"30\"}", "history_days"},
                                         {"{\"days\": 30}", "days"}};

    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(edit(bad[i][0]), MDM_EINPUT);
        assert_string_equal(z->t->ctx->fail_field, bad[i][1]);
    }
    assert_int_equal(count("audit"), 0);
    event_row("a", 20);
    message_row("a", one->device, "a", 400, 400);
    assert_int_equal(edit("{\"message_days\": 0}"), APR_SUCCESS);
    run(0);
    assert_int_equal(count("message") + count("device_event"), 2);
    assert_int_equal(edit("{\"history_days\": 14}"), APR_SUCCESS);
    run(0);
    assert_int_equal(count("message") * 10 + count("device_event"), 10);
    assert_int_equal(count("audit"), 2);
    assert_string_equal(ask(z, "SELECT value FROM zone_setting WHERE name = 'retention'"), "{\"history_days\":14,\"message_days\":0,\"pending_days\":180}");
    /* what was written past the API and is none removes nothing early */
    sql(z, "UPDATE zone_setting SET value = '{\"history_days\": 1, \"message_days\": \"x\"}' WHERE name = 'retention'");
    event_row("b", 20);
    run(0);
    assert_int_equal(count("device_event"), 1);
}

/* PEN-08: whose time is over ends as expired, and that is written down; later it goes, however it ended. */
static void test_pending(void **state)
{
    static const char *const rows[][2] = {{"open", "created"}, {"locked", "locked"}, {"done", "completed"}, {"off", "cancelled"}};

    sql(z, "DELETE FROM pending_enrollment");
    for (unsigned i = 0; i < 4; i++) {
        for (int days = -1; days < 200; days += 100) {
            sql(z, "INSERT INTO pending_enrollment (id, token_hash, token, ownership, origin, state, otp, created_ms, expires_ms) "
                   "VALUES ('%s%d', '%s%d', '', 'personal', 'single', '%s', 'x', 0, %" APR_INT64_T_FMT ")", rows[i][0], days, rows[i][0], days, rows[i][1],
                ago(days));
        }
    }
    sql(z, "DELETE FROM audit");
    run(0);
    assert_int_equal(count("pending_enrollment"), 8); /* those of 199 days ago have gone */
    assert_int_equal(count("pending_enrollment WHERE state = 'expired' AND otp IS NULL"), 2);
    assert_int_equal(count("pending_enrollment WHERE state IN ('created', 'locked')"), 2);
    assert_int_equal(count("audit WHERE action = 'pending.expire'"), 4);
    assert_int_equal(edit("{\"pending_days\": 90}"), APR_SUCCESS);
    run(0);
    assert_int_equal(count("pending_enrollment"), 4);
    assert_int_equal(count("audit WHERE action = 'pending.expire'"), 4);
}

static void many(int n)
{
    const char *row = mdm_db_is_sqlite(db) ? "WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %d) "
                                           : "WITH s (i) AS (SELECT generate_series(1, %d)) ";

    sql(z, apr_pstrcat(z->t->pool, row, "INSERT INTO device_event (id, device_id, at_ms, kind) SELECT 'e' || i, '%s', i, 'x' FROM s", NULL), n,
        one->device);
    sql(z, apr_pstrcat(z->t->pool, row, "INSERT INTO command (id, record_id, device_id, seq, request_type, payload, open, state, created_ms, done_ms) "
                                        "SELECT 'c' || i, '%s', '%s', 2000 + i, 'X', '{}', 0, 'error', 0, 7 FROM s", NULL),
        n, one->record, one->device);
    task_row("large", "done", 300, "c1");
    sql(z, apr_pstrcat(z->t->pool, row, "INSERT INTO quick_task_device (task_id, device_id, n, name, state, updated_ms) "
                                        "SELECT 'large', 'd' || i, i + 1, '', 'cancelled', 0 FROM s", NULL), n);
}

static void open_for_many(int n)
{
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    many(n);
    mdm_db_close(db);
}

static void test_batches_walk_all(void **state)
{
    json_t *result;

    open_for_many(2 * MDM_RETENTION_BATCH + 1);
    result = run(0);
    assert_int_equal(told(result, "events"), 2 * MDM_RETENTION_BATCH + 1);
    assert_int_equal(told(result, "commands"), 2 * MDM_RETENTION_BATCH + 1);
    assert_int_equal(told(result, "tasks"), 2 * MDM_RETENTION_BATCH + 2);
    assert_int_equal(count("quick_task") + count("quick_task_device") + count("command") + count("device_event"), 0);
}

static pid_t worker(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        mdm_ctx_t *ctx = dbtest_ctx(z->t, &mdm_log_stderr, (void *)(intptr_t)MDM_LOG_ERR);
        mdm_job_t *job = claim(ctx);
        _exit(job && mdm_retention_run(ctx, job, 0, 60) == APR_SUCCESS ? 0 : 1);
    }
    return pid;
}

/* NFR of DEV-16: killed anywhere; each table has lost whole batches alone, and the next run ends the work. Two workers at once remove
 * no more than one. */
static void test_killed_and_twice_at_once(void **state)
{
    int n = 20 * MDM_RETENTION_BATCH, rc;

    open_for_many(n);
    event_row("young", 1);
    ended("young", 1, "error", 1, "");
    for (int i = 0; i < 6; i++) {
        pid_t a = worker(), b = i % 2 ? worker() : 0;

        usleep((useconds_t)(3000 * (i + 1)));
        kill(a, SIGKILL);
        assert_int_equal(waitpid(a, &rc, 0), a);
        if (b) {
            assert_int_equal(waitpid(b, &rc, 0), b);
        }
        sql(z, "DELETE FROM job"); /* the lease has run out */
        assert_int_equal(count("device_event WHERE id <> 'young'") % MDM_RETENTION_BATCH, 0);
        assert_int_equal(count("command WHERE id <> 'young'") % MDM_RETENTION_BATCH, 0);
    }
    run(0);
    assert_int_equal(count("device_event WHERE id = 'young'") + count("device_event"), 2);
    assert_int_equal(count("command WHERE id = 'young'") + count("command"), 2);
    assert_int_equal(count("quick_task"), 0);
}

/* DEV-16: one transaction looks at no more than a batch, and a child that ends stops between two. */
static void test_stop(void **state)
{
    volatile int stop = 1;
    mdm_job_t *job = claim(z->t->ctx);

    open_for_many(2 * MDM_RETENTION_BATCH);
    job->stop = &stop;
    assert_int_equal(mdm_retention_run(z->t->ctx, job, 0, 60), APR_SUCCESS);
    assert_int_equal(count("device_event"), 2 * MDM_RETENTION_BATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_is_old_goes, empty),
        cmocka_unit_test_setup(test_tasks_and_their_commands, empty),
        cmocka_unit_test_setup(test_renewals_stay, empty),
        cmocka_unit_test_setup(test_setting, empty),
        cmocka_unit_test_setup(test_pending, empty),
        cmocka_unit_test_setup(test_batches_walk_all, empty),
        cmocka_unit_test_setup(test_killed_and_twice_at_once, empty),
        cmocka_unit_test_setup(test_stop, empty),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
