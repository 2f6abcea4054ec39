/* Jobs: joining, leases, retries, cancel (15-decisions, Jobs; REL-05). */
#include "dbtest.h"
#include "domain/mdm_job.h"

static dbtest_t *t;
static mdm_db_t *db;

static int setup(void **state)
{
    t = dbtest_make(1);
    return mdm_db_open(t->ctx, &db);
}

static int teardown(void **state)
{
    mdm_db_close(db);
    dbtest_end(t);
    return 0;
}

static void later(int ms)
{
    t->now += apr_time_from_msec(ms);
}

static const char *add(const char *key, apr_int64_t run_at, int keep)
{
    mdm_job_add_t a = {.kind = "k", .unique_key = key, .run_at_ms = run_at, .keep = keep, .max_attempts = 3};
    const char *id;

    assert_int_equal(mdm_job_add(db, &a, &id), APR_SUCCESS);
    return id;
}

static mdm_job_t *claim(void)
{
    mdm_job_t *job;
    apr_status_t rv = mdm_job_claim(db, "k", "me", 10, &job);

    assert_true(rv == APR_SUCCESS || rv == APR_NOTFOUND);
    assert_int_equal(rv == APR_SUCCESS, job != NULL);
    return job;
}

static int due(void)
{
    apr_array_header_t *kinds;

    assert_int_equal(mdm_job_due(db, &kinds), APR_SUCCESS);
    return kinds->nelts;
}

static void test_claimed_once_and_done(void **state)
{
    json_t *payload = json_pack("{s:s}", "a", "ä");
    mdm_job_add_t a = {.kind = "k", .payload = payload};
    mdm_job_t *job;

    assert_int_equal(due(), 0);
    assert_int_equal(mdm_job_add(db, &a, NULL), APR_SUCCESS);
    assert_int_equal(due(), 1);
    job = claim();
    assert_true(json_equal(job->payload, payload));
    assert_int_equal(job->attempts, 1);
    assert_int_equal(job->max_attempts, 10);
    assert_null(job->unique_key);
    assert_null(claim());
    assert_int_equal(due(), 0);
    assert_int_equal(mdm_job_finish(db, job, APR_SUCCESS, NULL), APR_SUCCESS);
    assert_null(claim());
    assert_int_equal(mdm_job_finish(db, job, APR_SUCCESS, NULL), APR_NOTFOUND);
    json_decref(payload);
}

static void test_other_kinds_are_left_alone(void **state)
{
    mdm_job_t *job;

    add(NULL, 0, 0);
    assert_int_equal(mdm_job_claim(db, "other", "me", 10, &job), APR_NOTFOUND);
    assert_null(job);
    assert_non_null(claim());
}

static void test_not_before_its_time_and_oldest_first(void **state)
{
    apr_int64_t now = mdm_now_ms(t->ctx);
    const char *late = add(NULL, now + 2000, 0), *early = add(NULL, now + 1000, 0);

    assert_null(claim());
    later(5000);
    assert_string_equal(claim()->id, early);
    assert_string_equal(claim()->id, late);
}

static void test_unique_key_joins_and_moves_forward(void **state)
{
    apr_int64_t now = mdm_now_ms(t->ctx);
    const char *id = add("x", now + 60000, 0);

    assert_string_equal(add("x", now + 90000, 0), id);
    assert_null(claim());
    assert_string_equal(add("x", 0, 1), id); /* keep: as it was */
    assert_null(claim());
    assert_string_equal(add("x", 0, 0), id);
    assert_string_equal(claim()->id, id);
}

static void test_add_during_a_run_runs_once_more(void **state)
{
    const char *id = add("x", 0, 0);
    mdm_job_t *job = claim();

    assert_string_equal(add("x", 0, 0), id);
    assert_string_equal(add("x", 0, 0), id);
    assert_null(claim());
    assert_int_equal(mdm_job_finish(db, job, APR_SUCCESS, NULL), APR_SUCCESS);
    job = claim();
    assert_string_equal(job->id, id);
    assert_int_equal(job->attempts, 1);
    assert_int_equal(mdm_job_finish(db, job, APR_SUCCESS, NULL), APR_SUCCESS);
    assert_null(claim());
    assert_string_not_equal(add("x", 0, 0), id); /* the key is free again */
}

static void test_expired_lease_is_due_and_the_old_holder_is_out(void **state)
{
    mdm_job_t *first, *second;

    add("x", 0, 0);
    first = claim();
    later(9000);
    assert_null(claim());
    later(2000);
    assert_int_equal(due(), 1);
    second = claim();
    assert_string_equal(second->id, first->id);
    assert_int_equal(second->attempts, 2);
    assert_int_equal(mdm_job_finish(db, first, APR_SUCCESS, NULL), APR_NOTFOUND);
    mdm_db_close(db);
    assert_int_equal(mdm_job_progress(t->ctx, first, 1, 2, 10), APR_NOTFOUND);
    assert_true(mdm_job_stopping(first));
    assert_int_equal(mdm_job_progress(t->ctx, second, 1, 2, 10), APR_SUCCESS);
    assert_false(mdm_job_stopping(second));
    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_job_finish(db, second, APR_SUCCESS, NULL), APR_SUCCESS);
}

static void test_progress_keeps_the_lease(void **state)
{
    mdm_job_t *job;

    add(NULL, 0, 0);
    job = claim();
    later(9000);
    mdm_db_close(db);
    assert_int_equal(mdm_job_progress(t->ctx, job, 5, 10, 10), APR_SUCCESS);
    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    later(9000);
    assert_null(claim());
}

static void test_failure_backs_off_then_ends(void **state)
{
    mdm_job_t *job;
    int tries;

    add("x", 0, 0);
    for (tries = 0; tries < 10; tries++) {
        job = claim();
        if (!job) {
            break;
        }
        assert_int_equal(mdm_job_finish(db, job, MDM_EUNAVAIL, "the other side is away"), APR_SUCCESS);
        assert_null(claim()); /* not at once */
        later(3600 * 1000);
    }
    assert_int_equal(tries, 3);
    assert_int_equal(due(), 0);
}

static void test_periodic_work_never_ends(void **state)
{
    mdm_job_t *job;

    add("p", 0, 0);
    for (int i = 0; i < 8; i++) {
        job = claim();
        assert_non_null(job);
        job->again_ms = mdm_now_ms(t->ctx) + 5000;
        assert_int_equal(mdm_job_finish(db, job, i % 2 ? APR_SUCCESS : MDM_EUNAVAIL, NULL), APR_SUCCESS);
        assert_null(claim());
        later(5001);
    }
    for (int i = 0; i < 6; i++) {
        job = claim();
        assert_non_null(job);
        job->again_ms = mdm_now_ms(t->ctx) + 5000;
        assert_int_equal(mdm_job_finish(db, job, MDM_EUNAVAIL, NULL), APR_SUCCESS);
        later(5001);
    }
}

/* A job that kills its process must not kill one process after the other for ever. */
static void test_deadly_job_is_given_up(void **state)
{
    const char *next;

    add("deadly", 0, 0);
    for (int i = 0; i < 3; i++) {
        assert_non_null(claim());
        later(11000);
    }
    next = add(NULL, 0, 0);
    assert_string_equal(claim()->id, next);
    assert_null(claim());
    later(3600 * 1000);
    assert_string_equal(claim()->id, next); /* its lease has run out; the deadly one is gone */
    assert_null(claim());
}

static void test_cancel(void **state)
{
    mdm_job_t *job;
    int stop = 0;

    add("x", 0, 0);
    job = claim();
    job->stop = &stop;
    assert_false(mdm_job_stopping(job));
    stop = 1;
    assert_true(mdm_job_stopping(job));
    stop = 0;
    mdm_db_close(db);
    assert_int_equal(dbtest_sql(t, "UPDATE job SET cancel_asked = 1"), 0);
    assert_int_equal(mdm_job_progress(t->ctx, job, 1, 1, 10), APR_SUCCESS);
    assert_true(mdm_job_stopping(job));
    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_job_finish(db, job, APR_SUCCESS, NULL), APR_SUCCESS);
    assert_null(claim());
    /* one that waits is not begun */
    add("y", 0, 0);
    mdm_db_close(db);
    assert_int_equal(dbtest_sql(t, "UPDATE job SET cancel_asked = 1"), 0);
    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_null(claim());
    assert_int_equal(due(), 0);
}

static void test_damaged_payload_fails_and_the_next_runs(void **state)
{
    const char *good;

    add(NULL, 0, 0);
    mdm_db_close(db);
    assert_int_equal(dbtest_sql(t, "UPDATE job SET payload = '{', run_at_ms = 1"), 0);
    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    good = add(NULL, 0, 0);
    assert_string_equal(claim()->id, good);
    assert_null(claim());
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_claimed_once_and_done),
        T(test_other_kinds_are_left_alone),
        T(test_not_before_its_time_and_oldest_first),
        T(test_unique_key_joins_and_moves_forward),
        T(test_add_during_a_run_runs_once_more),
        T(test_expired_lease_is_due_and_the_old_holder_is_out),
        T(test_progress_keeps_the_lease),
        T(test_failure_backs_off_then_ends),
        T(test_periodic_work_never_ends),
        T(test_deadly_job_is_given_up),
        T(test_cancel),
        T(test_damaged_payload_fails_and_the_next_runs),
    };
    int rc;

    apr_initialize();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rc;
}
