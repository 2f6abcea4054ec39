/* Quick tasks (DEV-07, DEV-14, DEV-15): states, spread, expiry, cutting and going on, limits, bad input. MDM_TEST_DB chooses the engine. */
#include "apple_test.h"
#include "domain/mdm_task.h"

#define MINUTE APR_INT64_C(60000)

static zone_t *z;
static phone_t *one, *two, *three;
static mdm_db_t *db;

static int setup(void **state)
{
    z = zone_make();
    one = dev_enrolled(z, "UDID-TASK-1");
    two = dev_enrolled(z, "UDID-TASK-2");
    three = dev_enrolled(z, "UDID-TASK-3");
    sql(z, "UPDATE device SET supervised = 1, os_version = '17.6.1' WHERE id <> '%s'", three->device);
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

static int empty(void **state)
{
    sql(z, "DELETE FROM quick_task");
    sql(z, "DELETE FROM job");
    sql(z, "DELETE FROM command");
    sql(z, "DELETE FROM push");
    z->t->ctx->actor.limit = "";
    z->t->ctx->fail_field = z->t->ctx->fail_text = NULL;
    return 0;
}

static mdm_task_spec_t spec(const char *kind, const char *options, const char *devices)
{
    mdm_task_spec_t s = {.kind = kind, .expires_minutes = 20};

    assert_int_equal(mdm_device_filter_check(z->t->ctx, &s.filter), APR_SUCCESS);
    s.options = options ? mdm_json_own(z->t->ctx, json_loads(options, 0, NULL)) : NULL;
    s.devices = devices ? mdm_json_own(z->t->ctx, json_loads(devices, 0, NULL)) : NULL;
    return s;
}

static const char *list(const phone_t *a, const phone_t *b)
{
    return b ? apr_psprintf(z->t->pool, "[\"%s\", \"%s\"]", a->device, b->device) : apr_psprintf(z->t->pool, "[\"%s\"]", a->device);
}

static apr_status_t create(const mdm_task_spec_t *s, const char **id)
{
    apr_status_t rv;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    rv = mdm_db_end(db, mdm_task_create(db, s, id));
    mdm_db_close(db);
    return rv;
}

/* One run of the task's job, as a node would do it. */
static void run(const char *id)
{
    mdm_job_add_t add = {.kind = MDM_TASK_JOB, .unique_key = apr_pstrcat(z->t->pool, "task:", id, NULL)};
    mdm_job_t *job;

    add.payload = mdm_json_own(z->t->ctx, json_pack("{s:s}", "task", id));
    add.run_at_ms = 1;
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_job_add(db, &add, NULL), APR_SUCCESS);
    assert_int_equal(mdm_job_claim(db, MDM_TASK_JOB, "test", 60, &job), APR_SUCCESS);
    mdm_db_close(db);
    assert_int_equal(mdm_task_run(z->t->ctx, job, 60), APR_SUCCESS);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_job_finish(db, job, APR_SUCCESS, NULL), APR_SUCCESS);
    mdm_db_close(db);
}

static const char *started(mdm_task_spec_t s)
{
    const char *id;

    assert_int_equal(create(&s, &id), APR_SUCCESS);
    run(id);
    return id;
}

static json_int_t count(const char *id, const char *state)
{
    json_t *j;
    json_int_t n;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_task_json(db, id, &j), APR_SUCCESS);
    mdm_db_close(db);
    n = json_integer_value(json_object_get(json_object_get(j, "counts"), state));
    json_decref(j);
    return n;
}

static const char *task_state(const char *id)
{
    const char *text;
    json_t *j;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_task_json(db, id, &j), APR_SUCCESS);
    mdm_db_close(db);
    text = apr_pstrdup(z->t->pool, json_string_value(json_object_get(j, "state")));
    json_decref(j);
    return text;
}

static void answer(const phone_t *d, const char *said)
{
    mdm_command_offer_t *offer, *next;
    mdm_command_done_t *done;
    mdm_command_said_t s = {.state = said};

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_command_next(db, d->record, 0, &offer), APR_SUCCESS);
    if (said) {
        s.id = offer->id;
        assert_int_equal(mdm_command_answer(db, d->record, &s, &done, &next), APR_SUCCESS);
    }
    mdm_db_close(db);
}

/* DEV-07: each state, seen where the command stands. */
static void test_states(void **state)
{
    const char *id = started(spec("restart", NULL, list(one, two)));

    assert_int_equal(count(id, "initiated"), 2);
    sql(z, "DELETE FROM push WHERE record_id = '%s'", one->record); /* accepted by Apple */
    assert_int_equal(count(id, "notified"), 1);
    answer(one, NULL);
    assert_int_equal(count(id, "delivered"), 1);
    answer(one, "acknowledged");
    assert_int_equal(count(id, "succeeded"), 1);
    answer(two, "error");
    assert_int_equal(count(id, "failed"), 1);
    assert_string_equal(task_state(id), "done");
}

/* DEV-07: what does not apply is told with its reason; nothing is queued for it. */
static void test_not_applicable(void **state)
{
    mdm_task_spec_t s = spec("restart", NULL, list(one, three));
    json_t *preview, *why;
    const char *id;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_task_preview(db, &s, &preview), APR_SUCCESS);
    mdm_db_close(db);
    assert_int_equal(json_integer_value(json_object_get(preview, "devices")), 2);
    assert_int_equal(json_integer_value(json_object_get(preview, "applies")), 1);
    why = json_array_get(json_object_get(preview, "reasons"), 0);
    assert_string_equal(json_string_value(json_object_get(why, "reason")), "not_supervised");
    json_decref(preview);
    id = started(s);
    assert_int_equal(count(id, "not_applicable"), 1);
    assert_string_equal(ask(z, "SELECT reason FROM quick_task_device WHERE state = 'not_applicable' AND task_id = '%s'", id), "not_supervised");
    assert_string_equal(mdm_action_why("not_supervised"), "Only a supervised device does that.");
    assert_null(mdm_action_why("The device has left."));
    assert_int_equal(count(id, "initiated"), 1);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM command WHERE device_id = '%s'", three->device), "0");
}

/* Expiry counts from the moment at which a device was to be notified; the spread is kept within its window. */
static void test_spread_and_expiry(void **state)
{
    mdm_task_spec_t s = spec("lock", "{\"message\": \"Hello\"}", list(one, two));
    apr_int64_t now = apr_time_as_msec(z->t->now), due, expires;
    const char *id;

    s.spread_minutes = 60;
    id = started(s);
    for (int i = 0; i < 2; i++) {
        const char *record = i ? two->record : one->record;
        due = apr_atoi64(ask(z, "SELECT due_ms FROM push WHERE record_id = '%s'", record));
        expires = apr_atoi64(ask(z, "SELECT expires_ms FROM command WHERE record_id = '%s'", record));
        assert_true(due >= now && due < now + 60 * MINUTE);
        assert_int_equal(due, now + mdm_push_spread_ms(record, 60 * MINUTE));
        assert_int_equal(expires, due + 20 * MINUTE);
    }
    z->t->now += apr_time_from_sec(81 * 60);
    assert_int_equal(count(id, "expired"), 2);
    assert_string_equal(task_state(id), "done");
    z->t->now -= apr_time_from_sec(81 * 60);
}

static void test_never_expires(void **state)
{
    mdm_task_spec_t s = spec("lock", NULL, list(one, NULL));

    s.expires_minutes = 0;
    started(s);
    assert_string_equal(ask(z, "SELECT expires_ms FROM command WHERE record_id = '%s'", one->record), "");
}

/* DEV-14: cut between any two batches, run again: each device has its one command. A second run changes nothing. */
static void test_resumes_without_doubles(void **state)
{
    const char *id = NULL;
    mdm_task_spec_t s = spec("lock", NULL, NULL);
    apr_status_t rv;

    s.filter.q = "";
    assert_int_equal(create(&s, &id), APR_SUCCESS);
    assert_string_equal(task_state(id), "preparing");
    /* the process dies in the middle of a batch: the transaction never was */
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    rv = mdm_task_rows_add(db, id, mdm_json_own(z->t->ctx, json_pack("[{s:s, s:s}]", "id", one->device, "name", "x")), 0);
    assert_int_equal(rv, APR_SUCCESS);
    mdm_db_rollback(db);
    mdm_db_close(db);
    run(id);
    run(id);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM quick_task_device WHERE task_id = '%s'", id), "3");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM command WHERE request_type = 'DeviceLock'"), "3");
    sql(z, "UPDATE quick_task_device SET state = 'waiting' WHERE task_id = '%s' AND device_id = '%s'", id, two->device);
    sql(z, "DELETE FROM command WHERE device_id = '%s'", two->device); /* as if its batch had been lost */
    run(id);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM command WHERE request_type = 'DeviceLock'"), "3");
}

/* Only what was not delivered is taken back. */
static void test_cancel(void **state)
{
    const char *id = started(spec("restart", NULL, list(one, two)));

    answer(one, NULL);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_db_end(db, mdm_task_cancel(db, id)), APR_SUCCESS);
    mdm_db_close(db);
    run(id);
    assert_string_equal(task_state(id), "cancelled");
    assert_int_equal(count(id, "delivered"), 1);
    assert_int_equal(count(id, "cancelled"), 1);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_task_cancel(db, id), MDM_ECONFLICT);
    mdm_db_close(db);
}

/* A device that is enrolled by one mail app alone, which speaks 16.1 or 14.1. */
static const char *by_mail(const char *name, int version)
{
    const char *id = mdm_uuid(z->t->pool), *record = mdm_uuid(z->t->pool);

    sql(z, "INSERT INTO device (id, name, name_key, folder_id, person_id, state, mode, level, ownership, platform, created_ms)"
           " SELECT '%s', '%s', '%s', folder_id, person_id, 'active', 'eas', 'email_only', 'personal', 'ios', 1 FROM device WHERE id = '%s'",
        id, name, name, one->device);
    sql(z, "INSERT INTO source_record (id, device_id, person_id, kind, class, native_id, state, first_seen_ms, last_seen_ms)"
           " SELECT '%s', '%s', person_id, 'eas', 'native', '%s', 'enrolled', 1, 1 FROM device WHERE id = '%s'", record, id, name, one->device);
    sql(z, "INSERT INTO eas_client (record_id, key_version) VALUES ('%s', %d)", record, version);
    return id;
}

static const char *state_of(const char *task, const char *device)
{
    apr_array_header_t *rows;
    const mdm_page_t page = {.count = 50, .first = 1, .key = "", .id = ""};
    const char *next = NULL, *found = "";

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_task_devices(db, task, "", &page, &rows, &next), APR_SUCCESS);
    for (int i = 0; i < rows->nelts; i++) {
        const mdm_task_device_t *d = &APR_ARRAY_IDX(rows, i, mdm_task_device_t);
        found = strcmp(d->device_id, device) ? found : d->state;
    }
    mdm_db_close(db);
    return found;
}

/* DEV-12, PRV-03: devices that are enrolled by mail alone are told by their mail apps; what became of them is read from there. */
static void test_unenroll_by_mail(void **state)
{
    const char *newer = by_mail("TASKMAIL1", 161), *older = by_mail("TASKMAIL2", 141), *id, *list3;
    mdm_task_spec_t s;

    list3 = apr_psprintf(z->t->pool, "[\"%s\", \"%s\", \"%s\"]", newer, older, one->device);
    s = spec("unenroll", "{\"wipe\": \"full\", \"then\": \"retire\"}", list3);
    s.expires_minutes = 0;
    s.confirm = 3;
    id = started(s);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM eas_client WHERE wipe = 'full' AND wipe_state = 'asked'"), "2");
    assert_string_equal(state_of(id, newer), "initiated");
    assert_string_equal(state_of(id, one->device), "initiated");
    sql(z, "UPDATE eas_client SET wipe_state = 'sent' WHERE record_id = (SELECT id FROM source_record WHERE native_id = 'TASKMAIL1')");
    assert_string_equal(state_of(id, newer), "delivered");
    sql(z, "UPDATE eas_client SET wipe_state = 'failed' WHERE record_id = (SELECT id FROM source_record WHERE native_id = 'TASKMAIL1')");
    assert_string_equal(state_of(id, newer), "failed");
    sql(z, "UPDATE eas_client SET wipe_state = 'sent' WHERE record_id = (SELECT id FROM source_record WHERE native_id = 'TASKMAIL1')");
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_db_end(db, mdm_task_cancel(db, id)), APR_SUCCESS);
    mdm_db_close(db);
    run(id);
    assert_string_equal(state_of(id, older), "cancelled");
    assert_string_equal(state_of(id, newer), "delivered"); /* too late */
    assert_string_equal(ask(z, "SELECT state FROM device WHERE name = 'TASKMAIL2'"), "active");
    assert_string_equal(ask(z, "SELECT state FROM source_record WHERE native_id = 'TASKMAIL2'"), "enrolled");
    sql(z, "UPDATE eas_client SET wipe_state = 'done' WHERE record_id = (SELECT id FROM source_record WHERE native_id = 'TASKMAIL1')");
    sql(z, "UPDATE source_record SET state = 'left' WHERE native_id = 'TASKMAIL1'");
    assert_string_equal(state_of(id, newer), "succeeded");

    /* selective: an older app is told nothing, its mail just ends; keys of EraseDevice are not for mail apps */
    s = spec("unenroll", "{\"wipe\": \"selective\", \"then\": \"retire\"}", apr_psprintf(z->t->pool, "[\"%s\"]", older));
    s.expires_minutes = 0;
    id = started(s);
    assert_string_equal(state_of(id, older), "succeeded");
    newer = by_mail("TASKMAIL3", 161);
    s = spec("unenroll", "{\"wipe\": \"full\", \"then\": \"retire\", \"erase\": {\"PreserveDataPlan\": true}}", apr_psprintf(z->t->pool, "[\"%s\"]", newer));
    s.expires_minutes = 0;
    id = started(s);
    assert_string_equal(state_of(id, newer), "not_applicable");
    sql(z, "DELETE FROM device WHERE mode IN ('eas', 'unknown')");
}

/* DEV-12: more than one leave only by their number; taken back until delivered. */
static void test_unenroll(void **state)
{
    mdm_task_spec_t s = spec("unenroll", "{\"wipe\": \"full\", \"then\": \"delete\"}", list(one, two));
    const char *id;

    assert_int_equal(create(&s, &id), MDM_EINPUT);
    assert_string_equal(z->t->ctx->fail_field, "expires_minutes");
    s.expires_minutes = 0;
    assert_int_equal(create(&s, &id), MDM_EINPUT);
    assert_string_equal(z->t->ctx->fail_field, "confirm");
    s.confirm = 3;
    assert_int_equal(create(&s, &id), MDM_ECONFLICT);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM quick_task"), "0");
    s.confirm = 2;
    id = started(s);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device WHERE state = 'wipe_pending'"), "2");
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_db_end(db, mdm_task_cancel(db, id)), APR_SUCCESS);
    mdm_db_close(db);
    run(id);
    assert_int_equal(count(id, "cancelled"), 2);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device WHERE state = 'active'"), "3");
}

/* DEV-08: a newer refresh does not take a task's answer away. */
static void test_refresh_is_followed(void **state)
{
    const char *id = started(spec("refresh", NULL, list(one, NULL)));

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_db_end(db, mdm_command_refresh(db, one->record)), APR_SUCCESS);
    mdm_db_close(db);
    assert_int_equal(count(id, "initiated"), 1);
    answer(one, "acknowledged");
    assert_int_equal(count(id, "succeeded"), 1);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM command WHERE open = 1 AND request_type = 'SecurityInfo'"), "1");
}

/* DEV-15: the clock is set back by a day while a spread task runs: nobody waits longer than the spread. */
static void test_clock_steps_back(void **state)
{
    mdm_task_spec_t s = spec("lock", NULL, list(one, two));
    apr_int64_t now;
    const char *id;

    s.spread_minutes = 10;
    assert_int_equal(create(&s, &id), APR_SUCCESS);
    z->t->now -= apr_time_from_sec(86400);
    now = apr_time_as_msec(z->t->now);
    run(id);
    assert_true(apr_atoi64(ask(z, "SELECT MAX(due_ms) FROM push")) <= now + 10 * MINUTE);
    answer(one, "acknowledged");
    assert_int_equal(count(id, "succeeded"), 1);
    z->t->now += apr_time_from_sec(86400);
}

static void test_bad_input(void **state)
{
    static const struct {
        const char *kind, *options, *field;
    } bad[] = {{"fly", NULL, "kind"}, {"lock", "{\"wipe\": \"full\"}", "options.wipe"}, {"lock", "{\"colour\": \"red\"}", "options.colour"},
               {"install_profile", NULL, "options.profile"}, {"install_profile", "{\"profile\": \"!\"}", "options.profile"},
               {"install_profile", "{\"profile\": \"aGVsbG8=\"}", "options.profile"}, {"remove_profile", "{}", "options.identifier"},
               {"remove_profile", "{\"identifier\": \"" MDM_ENROLL_PROFILE_ID "\"}", "options.identifier"}, {"lost_on", "{}", "options"},
               {"raw", "{\"command\": {}}", "options.command"}, {"raw", "{\"command\": {\"RequestType\": \"EraseDevice\"}}", "options.command"},
               {"unenroll", "{\"wipe\": \"half\", \"then\": \"retire\"}", "options.wipe"}, {"unenroll", "{\"wipe\": \"full\"}", "options.then"}};
    mdm_task_order_t *o;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mdm_task_spec_t s = spec(bad[i].kind, bad[i].options, NULL);
        assert_int_equal(mdm_task_check(z->t->ctx, s.kind, s.options, &o), MDM_EINPUT);
        assert_string_equal(z->t->ctx->fail_field, bad[i].field);
    }
}

static void test_lists_are_checked(void **state)
{
    static const char *const bad[] = {"[]", "[\"x\"]", "[\"00000000-0000-4000-8000-0000000000ff\"]", "[7]"};
    const char *id;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mdm_task_spec_t s = spec("refresh", NULL, bad[i]);
        assert_int_equal(create(&s, &id), MDM_EINPUT);
        assert_string_equal(z->t->ctx->fail_field, "devices");
    }
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM quick_task"), "0");
}

/* Whoever may see some folders only neither reaches other devices nor sees others' tasks. */
static void test_folder_limit(void **state)
{
    mdm_task_spec_t s = spec("refresh", NULL, list(one, NULL));
    const char *own, *other = started(s);
    json_t *j;

    z->t->ctx->actor.limit = "00000000-0000-4000-8000-00000000aaaa";
    assert_int_equal(create(&s, &own), MDM_EINPUT);
    s = spec("refresh", NULL, NULL);
    own = started(s);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_task_json(db, other, &j), APR_NOTFOUND);
    assert_int_equal(mdm_task_json(db, own, &j), APR_SUCCESS);
    json_decref(j);
    mdm_db_close(db);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM quick_task_device WHERE task_id = '%s'", own), "0");
}

/* The task's own job comes back until the last device has ended, and keeps the counts; a cancelled one as well. */
static void test_settle(void **state)
{
    const char *id = started(spec("restart", NULL, list(one, two))), *job = apr_psprintf(z->t->pool, "task:%s", id);

    assert_string_equal(ask(z, "SELECT state || open FROM quick_task WHERE id = '%s'", id), "running2");
    assert_string_equal(ask(z, "SELECT state FROM job WHERE unique_key = '%s' AND run_at_ms > 1", job), "waiting");
    answer(one, "acknowledged");
    run(id);
    assert_string_equal(ask(z, "SELECT state || open FROM quick_task WHERE id = '%s'", id), "running1");
    answer(two, "acknowledged");
    run(id);
    assert_string_equal(ask(z, "SELECT state || open FROM quick_task WHERE id = '%s'", id), "done0");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM job WHERE unique_key = '%s'", job), "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_states, empty),
        cmocka_unit_test_setup(test_not_applicable, empty),
        cmocka_unit_test_setup(test_spread_and_expiry, empty),
        cmocka_unit_test_setup(test_never_expires, empty),
        cmocka_unit_test_setup(test_resumes_without_doubles, empty),
        cmocka_unit_test_setup(test_cancel, empty),
        cmocka_unit_test_setup(test_unenroll, empty),
        cmocka_unit_test_setup(test_unenroll_by_mail, empty),
        cmocka_unit_test_setup(test_refresh_is_followed, empty),
        cmocka_unit_test_setup(test_clock_steps_back, empty),
        cmocka_unit_test_setup(test_bad_input, empty),
        cmocka_unit_test_setup(test_lists_are_checked, empty),
        cmocka_unit_test_setup(test_folder_limit, empty),
        cmocka_unit_test_setup(test_settle, empty),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
