/* Schedules (DEV-05, DEV-06): inheritance, who is due, spreading, long absence of the server, silence. MDM_TEST_DB chooses the engine. */
#include "apple_test.h"
#include "domain/mdm_clock.h"
#include "domain/mdm_folder.h"
#include "domain/mdm_schedule.h"

#define MINUTE APR_INT64_C(60000)
#define DAY (24 * 60 * MINUTE)

static zone_t *z;
static phone_t *one, *two;
static mdm_db_t *db;
static const char *office;

static int setup(void **state)
{
    z = zone_make();
    one = dev_enrolled(z, "UDID-SCH-1");
    two = dev_enrolled(z, "UDID-SCH-2");
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_db_end(db, mdm_folder_create(db, MDM_FOLDER_ROOT, "Office", &office)), APR_SUCCESS);
    mdm_db_close(db);
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

static apr_int64_t now(void)
{
    return apr_time_as_msec(z->t->now);
}

static int empty(void **state)
{
    sql(z, "DELETE FROM command");
    sql(z, "DELETE FROM push");
    sql(z, "DELETE FROM job");
    sql(z, "DELETE FROM zone_setting WHERE name LIKE 'schedule.%%'");
    sql(z, "UPDATE folder SET settings = '{}'");
    sql(z, "UPDATE device SET settings = '{}', refresh_due_ms = NULL, lost_ms = NULL, state = 'active', folder_id = '%s'", MDM_FOLDER_ROOT);
    sql(z, "UPDATE device SET folder_id = '%s' WHERE id = '%s'", office, two->device);
    return 0;
}

static apr_status_t set(mdm_schedule_scope_e scope, const char *id, const char *refresh, const char *lost)
{
    mdm_schedule_edit_t e = {refresh != NULL, lost != NULL, NULL, NULL};
    apr_int64_t version = 0;
    apr_status_t rv;
    json_t *j;

    e.refresh = refresh && *refresh ? mdm_json_own(z->t->ctx, json_loads(refresh, 0, NULL)) : NULL;
    e.lost = lost && *lost ? mdm_json_own(z->t->ctx, json_loads(lost, 0, NULL)) : NULL;
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_schedule_json(db, scope, id, &j, &version), APR_SUCCESS);
    json_decref(j);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    rv = mdm_db_end(db, mdm_schedule_edit(db, scope, id, version, &e));
    mdm_db_close(db);
    return rv;
}

/* "timed 240 folder" */
static const char *holds(const phone_t *d)
{
    const char *mode, *scope;
    apr_int64_t version;
    int minutes = 0;
    json_t *j, *e;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_schedule_json(db, MDM_SCHEDULE_DEVICE, d->device, &j, &version), APR_SUCCESS);
    mdm_db_close(db);
    e = json_object_get(j, "effective");
    assert_int_equal(json_unpack(e, "{s:{s:s, s?i}, s:{s:s}}", "refresh", "mode", &mode, "minutes", &minutes, "refresh_from", "scope", &scope),
                     0);
    mode = apr_psprintf(z->t->pool, "%s %d %s", mode, minutes, scope);
    json_decref(j);
    return mode;
}

static void run(apr_status_t (*fn)(mdm_ctx_t *, mdm_job_t *, int), const char *folder)
{
    mdm_job_t job = {.id = "", .kind = "", .lease_owner = ""};

    job.payload = json_pack("{s:s}", "folder", folder);
    assert_int_equal(fn(z->t->ctx, &job, 60), APR_SUCCESS);
    json_decref(job.payload);
}

static apr_int64_t due(const phone_t *d)
{
    return apr_atoi64(ask(z, "SELECT COALESCE(refresh_due_ms, 0) FROM device WHERE id = '%s'", d->device));
}

static int questions(const phone_t *d)
{
    return atoi(ask(z, "SELECT COUNT(*) FROM command WHERE record_id = '%s' AND request_type = 'DeviceInformation'", d->record));
}

/* DEV-05: zone → folder → device, each overrides; what is taken away is inherited again. */
static void test_nearest_holds(void **state)
{
    assert_string_equal(holds(one), "timed 120 default");
    assert_int_equal(set(MDM_SCHEDULE_ZONE, "", "{\"mode\": \"timed\", \"minutes\": 600}", NULL), APR_SUCCESS);
    assert_int_equal(set(MDM_SCHEDULE_FOLDER, office, "{\"mode\": \"timed\", \"minutes\": 240}", NULL), APR_SUCCESS);
    assert_string_equal(holds(one), "timed 600 zone");
    assert_string_equal(holds(two), "timed 240 folder");
    assert_int_equal(set(MDM_SCHEDULE_DEVICE, two->device, "{\"mode\": \"manual\"}", NULL), APR_SUCCESS);
    assert_string_equal(holds(two), "manual 0 device");
    assert_int_equal(set(MDM_SCHEDULE_DEVICE, two->device, "", NULL), APR_SUCCESS);
    assert_string_equal(holds(two), "timed 240 folder");
    assert_int_equal(set(MDM_SCHEDULE_ZONE, "", "", NULL), APR_SUCCESS);
    assert_string_equal(holds(one), "timed 120 default");
}

static void test_bad_input(void **state)
{
    static const char *const bad[] = {"{\"mode\": \"timed\", \"minutes\": 59}", "{\"mode\": \"timed\"}", "{\"mode\": \"daily\"}", "{}",
                                      "{\"mode\": \"manual\", \"minutes\": 120}", "{\"mode\": \"timed\", \"minutes\": 99999999}"};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(set(MDM_SCHEDULE_ZONE, "", bad[i], NULL), MDM_EINPUT);
        assert_true(!strncmp(z->t->ctx->fail_field, "refresh.", 8));
    }
    assert_int_equal(set(MDM_SCHEDULE_FOLDER, office, NULL, "{\"days\": -1}"), MDM_EINPUT);
    assert_int_equal(set(MDM_SCHEDULE_DEVICE, one->device, NULL, "{\"days\": 3}"), MDM_EINPUT);
}

/* A change spreads the devices over the period; those with a schedule of their own keep their time. */
static void test_change_spreads(void **state)
{
    sql(z, "UPDATE device SET refresh_due_ms = 7, settings = '{\"refresh\": {\"mode\": \"timed\", \"minutes\": 90}}' WHERE id = '%s'", two->device);
    assert_int_equal(set(MDM_SCHEDULE_ZONE, "", "{\"mode\": \"timed\", \"minutes\": 60}", NULL), APR_SUCCESS);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM job WHERE kind = 'schedule.spread'"), "1");
    run(mdm_schedule_spread, "");
    assert_true(due(one) >= now() && due(one) < now() + 60 * MINUTE);
    assert_int_equal(due(two), 7);
    assert_int_equal(set(MDM_SCHEDULE_ZONE, "", "{\"mode\": \"manual\"}", NULL), APR_SUCCESS);
    run(mdm_schedule_spread, "");
    assert_int_equal(due(one), 0);
}

static void test_due_is_asked(void **state)
{
    apr_int64_t at = now() - MINUTE;

    sql(z, "UPDATE device SET refresh_due_ms = %" APR_INT64_T_FMT, at);
    sql(z, "UPDATE device SET settings = '{\"refresh\": {\"mode\": \"manual\"}}' WHERE id = '%s'", two->device);
    run(mdm_schedule_run, "");
    assert_int_equal(questions(one), 1);
    assert_int_equal(due(one), at + 120 * MINUTE);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM push WHERE record_id = '%s'", one->record), "1");
    assert_int_equal(questions(two), 0);
    assert_int_equal(due(two), 0);
}

/* A device that is away does not collect questions. */
static void test_absent_device_is_woken_only(void **state)
{
    for (int i = 0; i < 3; i++) {
        sql(z, "UPDATE device SET refresh_due_ms = %" APR_INT64_T_FMT " WHERE id = '%s'", now(), one->device);
        sql(z, "DELETE FROM push");
        run(mdm_schedule_run, "");
        assert_int_equal(questions(one), 1);
        assert_string_equal(ask(z, "SELECT COUNT(*) FROM push"), "1");
    }
}

/* No storm: the server was away for hours, and nobody is asked at once. */
static void test_overdue_is_spread(void **state)
{
    sql(z, "UPDATE device SET refresh_due_ms = %" APR_INT64_T_FMT, now() - 300 * MINUTE);
    run(mdm_schedule_run, "");
    assert_int_equal(questions(one) + questions(two), 0);
    assert_true(due(one) >= now() && due(one) < now() + 120 * MINUTE);
    assert_true(due(two) >= now() && due(two) < now() + 120 * MINUTE);
}

/* Not for those that no channel can ask. */
static void test_unmanaged_is_left_alone(void **state)
{
    sql(z, "UPDATE device SET refresh_due_ms = %" APR_INT64_T_FMT ", state = 'retired'", now());
    run(mdm_schedule_run, "");
    assert_int_equal(questions(one), 0);
    assert_int_equal(due(one), 0);
}

/* DEV-06: off by default; by folder; at the day and not before; the next contact clears it (the contact flush, not here). */
static void test_lost(void **state)
{
    sql(z, "UPDATE device SET last_contact_ms = %" APR_INT64_T_FMT, now() - 8 * DAY);
    run(mdm_schedule_lost, "");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device WHERE lost_ms IS NOT NULL"), "0");
    assert_int_equal(set(MDM_SCHEDULE_ZONE, "", NULL, "{\"days\": 9}"), APR_SUCCESS);
    assert_int_equal(set(MDM_SCHEDULE_FOLDER, office, NULL, "{\"days\": 7}"), APR_SUCCESS);
    run(mdm_schedule_lost, "");
    assert_string_equal(ask(z, "SELECT id FROM device WHERE lost_ms IS NOT NULL"), two->device);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device_event WHERE kind = 'lost'"), "1");
    run(mdm_schedule_lost, "");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device_event WHERE kind = 'lost'"), "1");
    assert_int_equal(set(MDM_SCHEDULE_FOLDER, office, NULL, "{\"days\": 0}"), APR_SUCCESS);
    sql(z, "UPDATE device SET lost_ms = NULL, last_contact_ms = %" APR_INT64_T_FMT, now() - 10 * DAY);
    run(mdm_schedule_lost, "");
    assert_string_equal(ask(z, "SELECT id FROM device WHERE lost_ms IS NOT NULL"), one->device);
}

/* A move into a folder with a period wakes up those that were refreshed by hand. */
static void test_moves(void **state)
{
    json_t *ids = mdm_json_own(z->t->ctx, json_pack("[s]", one->device));

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_db_end(db, mdm_devices_move(db, ids, office)), APR_SUCCESS);
    mdm_db_close(db);
    assert_int_equal(due(one), now());
}

/* Claims the job that the step of the clock has left, and runs it as often as said. */
static void run_clock(int times)
{
    mdm_job_t *job;

    for (int i = 0; i < times; i++) {
        sql(z, "UPDATE job SET state = 'waiting', run_at_ms = 0 WHERE kind = '%s'", MDM_CLOCK_JOB); /* as if it had been killed at its end */
        assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
        assert_int_equal(mdm_job_claim(db, MDM_CLOCK_JOB, "me", 60, &job), APR_SUCCESS);
        mdm_db_close(db);
        assert_int_equal(mdm_clock_back_run(z->t->ctx, job, 60), APR_SUCCESS);
        assert_int_equal(job->again_ms, 0);
    }
}

static apr_int64_t number(const char *from, const char *id)
{
    return apr_atoi64(ask(z, "SELECT %s WHERE id = '%s'", from, id));
}

/* R48, DEV-15: the clock goes back by a day: jobs, refreshes and the ends of commands come forward as far, once, and none later than it was to. */
static void test_clock_back(void **state)
{
    enum { MANY = 1203 };
    static const char insert[] = "INSERT INTO command (id, record_id, device_id, seq, request_type, payload, state, created_ms, expires_ms) ";
    mdm_job_add_t soon = {.kind = "k", .unique_key = "soon", .run_at_ms = now() + MINUTE};
    mdm_job_add_t later = {.kind = "k", .unique_key = "later", .run_at_ms = now() + DAY + 10 * MINUTE};
    const char *soon_id, *later_id;

    sql(z, "UPDATE device SET refresh_due_ms = %" APR_INT64_T_FMT " WHERE id = '%s'", now() + DAY + 30 * MINUTE, one->device);
    sql(z, "UPDATE device SET refresh_due_ms = %" APR_INT64_T_FMT " WHERE id = '%s'", now() + 30 * MINUTE, two->device);
    sql(z, "%sWITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT 'c' || i, '%s', '%s', 1000 + i, 'DeviceLock', "
        "'{}', 'queued', 0, %" APR_INT64_T_FMT " + i %% 3 FROM n", insert, MANY, one->record, one->device, now() + 2 * DAY);
    sql(z, "UPDATE command SET open = 0 WHERE id = 'c7'");
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_job_add(db, &soon, &soon_id), APR_SUCCESS);
    assert_int_equal(mdm_job_add(db, &later, &later_id), APR_SUCCESS);
    assert_int_equal(mdm_clock_back(db, DAY), APR_SUCCESS);
    mdm_db_close(db);
    assert_int_equal(number("run_at_ms FROM job", soon_id), now());
    assert_int_equal(number("run_at_ms FROM job", later_id), now() + 10 * MINUTE);
    run_clock(2);
    assert_int_equal(due(one), now() + 30 * MINUTE);
    assert_int_equal(due(two), now());
    assert_int_equal(number("expires_ms FROM command", "c3"), now() + DAY);
    assert_int_equal(number("expires_ms FROM command", "c7"), now() + 2 * DAY + 1);
    assert_string_equal(ask(z, "SELECT count(*) FROM command WHERE open = 1 AND expires_ms BETWEEN %" APR_INT64_T_FMT " AND %" APR_INT64_T_FMT,
                            now() + DAY, now() + DAY + 2), apr_itoa(z->t->pool, MANY - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nearest_holds, empty),       cmocka_unit_test_setup(test_bad_input, empty),
        cmocka_unit_test_setup(test_change_spreads, empty),      cmocka_unit_test_setup(test_due_is_asked, empty),
        cmocka_unit_test_setup(test_absent_device_is_woken_only, empty), cmocka_unit_test_setup(test_overdue_is_spread, empty),
        cmocka_unit_test_setup(test_unmanaged_is_left_alone, empty), cmocka_unit_test_setup(test_lost, empty),
        cmocka_unit_test_setup(test_moves, empty),               cmocka_unit_test_setup(test_clock_back, empty),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
