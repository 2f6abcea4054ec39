/* The matcher in the database, and what people decide (MAT-02..MAT-09): one phone, one device object. MDM_TEST_DB chooses the engine. */
#include "mail_test.h"

#include "domain/mdm_eas_priv.h"
#include "domain/mdm_eas_discovered.h"
#include "domain/mdm_match_run.h"
#include "domain/mdm_command.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define IPHONE "Apple-iPhone12C8/1906.77"

/* An iPhone that has told what it is, enrolled a day ago. */
static phone_t *phone(const char *udid, const char *serial, const char *product, const char *build)
{
    phone_t *d = dev_enrolled(z, udid);

    sql(z, "UPDATE device SET serial = '%s', product = '%s', model = 'iPhone', build = '%s', platform = 'ios' WHERE id = '%s'", serial, product, build,
        d->device);
    return d;
}

static const char *mail(const char *person, const char *device_id, const char *type, const char *agent)
{
    mdm_eas_client_t c = {.person_id = person, .device_id = device_id, .device_type = type, .user_agent = agent, .version = 141};

    assert_int_equal(mdm_eas_first_contact(z->t->ctx, &c), APR_SUCCESS);
    return ask(z, "SELECT id FROM source_record WHERE kind = 'eas' AND live = 1 AND person_id = '%s' AND native_id = '%s'", person, device_id);
}

static const char *where(const char *record)
{
    return ask(z, "SELECT device_id FROM source_record WHERE id = '%s'", record);
}

static const char *why(const char *record)
{
    return ask(z, "SELECT match_rule FROM source_record WHERE id = '%s'", record);
}

static const char *code(const char *record)
{
    return ask(z, "SELECT code FROM match_exception WHERE record_id = '%s'", record);
}

/* One run; its result. */
static json_t *run(void)
{
    volatile int stop = 0;
    mdm_job_t job = {.id = mdm_uuid(z->t->pool), .kind = MDM_MATCH_JOB, .lease_owner = "test", .stop = &stop};

    sql(z, "INSERT INTO job (id, kind, state, run_at_ms, lease_owner, lease_until_ms, created_ms) VALUES ('%s', '%s', 'running', 1, 'test', "
           "4000000000000, 1)", job.id, job.kind);
    assert_int_equal(mdm_match_run(z->t->ctx, &job, 60), APR_SUCCESS);
    assert_true(job.again_ms > mdm_now_ms(z->t->ctx));
    return mdm_json_own(z->t->ctx, job.result);
}

static int figure(json_t *result, const char *name)
{
    return (int)json_integer_value(json_object_get(result, name));
}

typedef apr_status_t (*decision_fn)(mdm_db_t *db, const void *arg);

static apr_status_t in_transaction(decision_fn fn, const void *arg)
{
    mdm_db_t *db;
    apr_status_t rv;

    z->t->ctx->fail_text = "";
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    rv = mdm_db_begin(db);
    rv = rv == APR_SUCCESS ? fn(db, arg) : rv;
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

typedef struct two_t {
    const char *a, *b;
    const char **out;
} two_t;

static apr_status_t link_fn(mdm_db_t *db, const void *arg)
{
    const two_t *x = arg;

    return mdm_match_link(db, x->a, x->b, "administrator");
}

static apr_status_t split_fn(mdm_db_t *db, const void *arg)
{
    const two_t *x = arg;

    return mdm_match_split(db, x->a, x->b, x->out);
}

static apr_status_t android_fn(mdm_db_t *db, const void *arg)
{
    const two_t *x = arg;

    return mdm_eas_platform_said(db, x->a, x->b, "android");
}

static apr_status_t own_fn(mdm_db_t *db, const void *arg)
{
    return mdm_match_own(db, arg, "administrator");
}

static apr_status_t ignore_fn(mdm_db_t *db, const void *arg)
{
    return mdm_match_ignore(db, arg);
}

static apr_status_t all_fn(mdm_db_t *db, const void *arg)
{
    return mdm_match_all(db);
}

/* ---------------------------------------------------------------- the run */

/* MAT-02, MAT-03, MAT-08: one that fits and no other is it; the object that was pending goes, and it is said why. */
static void mat02_likely_one_is_matched(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE), *pending = where(record);
    json_t *r;

    assert_string_not_equal(pending, d->device);
    r = run();
    assert_int_equal(figure(r, "attr"), 1);
    assert_int_equal(figure(r, "exceptions"), 0);
    assert_string_equal(where(record), d->device);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device WHERE id = '%s'", pending), "0");
    assert_string_equal(ask(z, "SELECT mode FROM device WHERE id = '%s'", d->device), "ios_mdm_eas");
    assert_non_null(strstr(why(record), "\"tier\":\"attr\""));
    assert_non_null(strstr(why(record), "model=,maker=,type=,build="));
    assert_non_null(strstr(why(record), "\"score\""));
    assert_string_equal(ask(z, "SELECT state FROM source_record WHERE id = '%s'", record), "enrolled");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device_event WHERE device_id = '%s' AND kind = 'mail.matched'", d->device), "1");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM audit WHERE action = 'device.match'"), "1");
}

/* MAT-10: who has nothing to be matched is not looked at, and a second run looks at nobody. */
static void mat10_only_what_changed_is_looked_at(void **state)
{
    phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM match_mark"), "0");
    mail(z->person->id, "DEVICEID0001", "Outlook", "Outlook-iOS-Android/1.0");
    assert_string_not_equal(ask(z, "SELECT COUNT(*) FROM match_mark"), "0");
    assert_int_equal(figure(run(), "people"), 1);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM match_mark"), "0");
    assert_int_equal(figure(run(), "people"), 0);
    sql(z, "UPDATE device SET last_contact_ms = 5, battery = 0.5");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM match_mark"), "0"); /* a poll is no news */
    sql(z, "UPDATE device SET os_version = '19.1'");
    assert_string_not_equal(ask(z, "SELECT COUNT(*) FROM match_mark"), "0");
    assert_int_equal(in_transaction(all_fn, NULL), APR_SUCCESS);
    assert_int_equal(figure(run(), "people"), 1);
}

/* MAT-02, MAT-04, MAT-09: two that fit are none; who is it is told with its candidates; the same again writes nothing. */
static void mat04_two_that_fit_are_an_exception(void **state)
{
    const char *record, *before;

    phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    phone("U2", "F17TR2ABHG7L", "iPhone12,8", "19F77");
    record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);
    assert_int_equal(figure(run(), "exceptions"), 1);
    assert_string_equal(code(record), "ambiguous");
    before = ask(z, "SELECT since_ms FROM match_exception");
    assert_non_null(strstr(ask(z, "SELECT candidates FROM match_exception"), "model="));
    z->t->now += apr_time_from_sec(3600);
    assert_int_equal(in_transaction(all_fn, NULL), APR_SUCCESS);
    run();
    assert_string_equal(ask(z, "SELECT since_ms FROM match_exception"), before);
    assert_int_equal(in_transaction(ignore_fn, record), APR_SUCCESS);
    assert_int_equal(in_transaction(all_fn, NULL), APR_SUCCESS);
    assert_int_equal(figure(run(), "exceptions"), 0);
    sql(z, "UPDATE source_record SET attrs = REPLACE(attrs, 'iPhone12C8', 'iPhone99C1') WHERE id = '%s'", record);
    assert_int_equal(figure(run(), "exceptions"), 1); /* it is another one now */
    assert_string_equal(code(record), "no_candidate");
}

static apr_status_t set_fn(mdm_db_t *db, const void *arg)
{
    return mdm_match_set(db, (json_t *)arg);
}

static apr_status_t mode_set(const char *name)
{
    return in_transaction(set_fn, mdm_json_own(z->t->ctx, json_pack("{s:i, s:s}", "minutes", 2, "mode", name)));
}

/* Facts 7.4: the mode is the zone's; who could not be matched is looked at again when it changes, and what was joined stays. */
static void mat02_the_zones_mode(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record = mail(z->person->id, "0123456789ABCDEF0123456789ABCDEF", "Outlook", "Outlook-iOS-Android/1.0");

    assert_int_equal(mode_set("seed"), MDM_EINPUT);
    assert_int_equal(mode_set("strict"), APR_SUCCESS);
    run();
    assert_string_not_equal(where(record), d->device);
    assert_int_equal(mode_set("outlook_sole"), APR_SUCCESS);
    assert_int_equal(figure(run(), "attr"), 1);
    assert_string_equal(where(record), d->device);
    assert_non_null(strstr(why(record), "\"rule\":\"outlook_sole\""));
    assert_int_equal(mode_set("standard"), APR_SUCCESS);
    assert_int_equal(figure(run(), "attr"), 0);
    assert_string_equal(where(record), d->device);
    assert_non_null(strstr(ask(z, "SELECT detail FROM audit WHERE action = 'match.settings' ORDER BY at_ms DESC, id DESC LIMIT 1"), "\"mode\""));
}

/* MAT-09: never across people, whatever is equal; the owner of the phone is told to somebody. */
static void mat09_never_across_people(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record = mail(ben, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);

    sql(z, "INSERT INTO match_key (space, value, record_id) VALUES ('easid', 'LEDDJVC7GT7886JH9N4T9LR1Q0', '%s')", d->record);
    run();
    assert_string_not_equal(where(record), d->device);
    assert_string_equal(code(record), "owner_conflict");
    assert_int_equal(in_transaction(link_fn, &(two_t){record, d->device, NULL}), MDM_EINPUT);
}

/* A device with mail alone is no exception once its person has finished it. */
static void mat04_a_finished_mail_device_is_none(void **state)
{
    const char *record = mail(z->person->id, "androidc195792594", "Android", "Android-Mail/2023");

    run();
    assert_string_equal(code(record), "no_candidate");
    assert_int_equal(in_transaction(own_fn, record), APR_SUCCESS);
    run();
    assert_string_equal(code(record), "");
    assert_string_equal(ask(z, "SELECT state FROM device WHERE id = '%s'", where(record)), "active");
}

/* More than anybody has is not compared. */
static void mat10_too_many_are_left_to_people(void **state)
{
    int i;

    mail(z->person->id, "DEVICEID0000", "iPhone", IPHONE);
    for (i = 0; i < 2 * 50; i++) {
        sql(z, "INSERT INTO device (id, name, name_key, folder_id, person_id, state, mode, created_ms) SELECT 'd%d', 'd%d', 'd%d', folder_id, person_id, "
               "'pending', 'eas', 1 FROM device LIMIT 1", i, i, i);
        sql(z, "INSERT INTO source_record (id, device_id, person_id, kind, class, native_id, state, first_seen_ms, last_seen_ms) VALUES ('r%d', 'd%d', '%s', "
               "'eas', 'other:1', 'NATIVE%d', 'authenticated', 1, 1)", i, i, z->person->id, i);
    }
    assert_int_equal(figure(run(), "exceptions"), 101);
    assert_string_equal(code("r7"), "too_many");
}

/* ---------------------------------------------------------------- what only a mail server has told of (EAS-05) */

#define SERVER "00000000-0000-4000-8000-0000000000aa"
#define SE "iPhone;Apple-iPhone12C8/1906.77"

/* The server's list has one row; the record that it made. */
static const char *told(const char *login, const char *device_id, const char *rest)
{
    const char *csv = apr_psprintf(z->t->pool, "User;DeviceId;Type;UserAgent\n%s;%s;%s\n", login, device_id, rest);
    mdm_discovered_t *d;
    json_t *out;

    sql(z, "INSERT INTO eas_server (id, name, host, port, created_ms) VALUES ('" SERVER "', 'Post', 'mail.example.org', 443, 1) ON CONFLICT DO NOTHING");
    assert_int_equal(mdm_discovered_begin(z->t->ctx, SERVER, &d), APR_SUCCESS);
    assert_int_equal(mdm_discovered_csv(d, csv, strlen(csv)), APR_SUCCESS);
    assert_int_equal(mdm_discovered_end(d, &out), APR_SUCCESS);
    return ask(z, "SELECT id FROM source_record WHERE kind = 'eas' AND live = 1 AND native_id = '%s'", device_id);
}

/* "discovered <device>" */
static const char *stands(const char *record)
{
    return ask(z, "SELECT state || ' ' || COALESCE(device_id, '-') FROM source_record WHERE id = '%s'", record);
}

/* It stands on its device for information, and gives no right; the first contact makes it the mail client of that device at once. */
static void eas05_a_told_one_is_matched_for_information(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record = told(z->person->login, "LEDDJVC7GT7886JH9N4T9LR1Q0", SE);
    json_t *r = run();

    assert_int_equal(figure(r, "attr"), 1);
    assert_int_equal(figure(r, "exceptions"), 0);
    assert_string_equal(stands(record), apr_pstrcat(z->t->pool, "discovered ", d->device, NULL));
    assert_non_null(strstr(why(record), "model=,maker=,type=,build="));
    assert_string_equal(ask(z, "SELECT mode || COALESCE(eas_device_id, '') FROM device WHERE id = '%s'", d->device), "ios_mdm");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device_event WHERE device_id = '%s' AND kind = 'mail.told'", d->device), "1");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM match_mark"), "0");
    assert_string_equal(told(z->person->login, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone;Apple-iPhone12C8/1907.1"), record); /* the list goes on */
    assert_string_equal(mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE), record);
    assert_string_equal(stands(record), apr_pstrcat(z->t->pool, "enrolled ", d->device, NULL));
    assert_string_equal(ask(z, "SELECT mode FROM device WHERE id = '%s'", d->device), "ios_mdm_eas");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device"), "1");
}

/* What the phone itself shows at its first contact decides: on another platform's device it does not land. */
static void eas05_the_first_contact_may_know_better(void **state)
{
    const char *record;

    phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    record = told(z->person->login, "ANDROIDC195792594", SE);
    run();
    mail(z->person->id, "ANDROIDC195792594", "Android", "Android-Mail/2023");
    assert_string_equal(ask(z, "SELECT d.state || ' ' || d.mode FROM source_record r JOIN device d ON d.id = r.device_id WHERE r.id = '%s'", record),
                        "pending eas");
}

/* MAT-01: the DeviceId that the device tells finds what the server has told of in that request; MAT-09: never somebody else's. */
static void eas05_a_certain_one_at_once(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record = told(z->person->login, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone;"), *bens = told("ben", "BENSDEVICE01", SE);
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_db_end(db, mdm_eas_match_apple(db, d->record, "leddjvc7gt7886jh9n4t9lr1q0")), APR_SUCCESS);
    mdm_db_close(db);
    assert_string_equal(stands(record), apr_pstrcat(z->t->pool, "discovered ", d->device, NULL));
    run();
    assert_string_equal(stands(bens), "discovered -");
    assert_string_equal(code(bens), "no_candidate");
    assert_int_equal(in_transaction(link_fn, &(two_t){bens, d->device, NULL}), MDM_EINPUT);
}

/* MAT-04, MAT-09: it is in nobody's way that is here, is an exception with its origin, and has no device that it could be made. */
static void eas05_it_stands_back(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record = told(z->person->login, "OLDONE000001", SE), *real;
    const mdm_page_t page = {.first = 1, .count = 10};
    json_t *items = json_array(), *one;
    const char *next = NULL;
    mdm_db_t *db;

    run();
    assert_string_equal(where(record), d->device);
    real = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);
    run();
    assert_string_equal(where(real), d->device);
    assert_string_equal(stands(record), "discovered -");
    run();
    assert_string_equal(code(record), "no_candidate");
    assert_int_equal(in_transaction(own_fn, record), MDM_ECONFLICT);
    assert_int_equal(in_transaction(link_fn, &(two_t){record, d->device, NULL}), MDM_ECONFLICT);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_match_exceptions(db, &page, &(mdm_match_filter_t){"", "gate", 0}, items, &next), APR_SUCCESS);
    assert_int_equal(json_array_size(items), 0);
    assert_int_equal(mdm_match_exceptions(db, &page, &(mdm_match_filter_t){"", "discovered", 0}, items, &next), APR_SUCCESS);
    mdm_db_close(db);
    one = json_array_get(items, 0);
    assert_string_equal(json_string_value(json_object_get(one, "origin")), "discovered");
    assert_true(json_is_null(json_object_get(one, "device")) && json_is_null(json_object_get(one, "first_seen")));
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(one, "candidates"), 0), "excluded")), "taken");
    json_decref(items);
    assert_int_equal(in_transaction(ignore_fn, record), APR_SUCCESS);
}

/* MAT-03, MAT-06: joined by hand, parted, never joined again by itself; a device that goes or changes hands leaves it behind. */
static void eas05_people_decide(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record, *made = NULL;

    phone("U2", "F17TR2ABHG7L", "iPhone12,8", "19F77");
    record = told(z->person->login, "LEDDJVC7GT7886JH9N4T9LR1Q0", SE);
    run();
    assert_string_equal(code(record), "ambiguous");
    assert_int_equal(in_transaction(link_fn, &(two_t){record, d->device, NULL}), APR_SUCCESS);
    assert_string_equal(stands(record), apr_pstrcat(z->t->pool, "discovered ", d->device, NULL));
    assert_string_equal(code(record), "");
    assert_int_equal(in_transaction(split_fn, &(two_t){d->device, record, &made}), APR_SUCCESS);
    assert_string_equal(made, d->device);
    assert_string_equal(stands(record), "discovered -");
    assert_int_equal(in_transaction(link_fn, &(two_t){record, d->device, NULL}), APR_SUCCESS);
    sql(z, "UPDATE device SET person_id = '%s' WHERE id = '%s'", ben, d->device);
    assert_string_equal(stands(record), "discovered -");
    sql(z, "UPDATE device SET person_id = '%s' WHERE id = '%s'", z->person->id, d->device);
    assert_int_equal(in_transaction(link_fn, &(two_t){record, d->device, NULL}), APR_SUCCESS);
    sql(z, "DELETE FROM device WHERE id = '%s'", d->device);
    assert_string_equal(stands(record), "discovered -");
}

/* A list may tell of more than is compared: what is here is matched nevertheless. */
static void eas05_too_many_told_ones(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *real = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);
    int i;

    for (i = 0; i < 2 * 50; i++) {
        sql(z, "INSERT INTO source_record (id, person_id, kind, class, native_id, state, first_seen_ms, last_seen_ms) VALUES ('r%d', '%s', 'eas', 'native', "
               "'NATIVE%d', 'discovered', 0, 1)", i, z->person->id, i);
    }
    assert_int_equal(figure(run(), "exceptions"), 100);
    assert_string_equal(code("r7"), "too_many");
    assert_string_equal(where(real), d->device);
}

/* ---------------------------------------------------------------- what turns out later */

static apr_status_t tell_fn(mdm_db_t *db, const void *arg)
{
    const two_t *x = arg;

    return mdm_eas_match_apple(db, x->a, x->b);
}

static const char *tier(const char *record)
{
    return mdm_eas_tier(z->t->ctx, why(record));
}

/* Facts 7.11 I7, MAT-01: the device's own word corrects what was guessed, at once, and says so; the device that it was on is itself again. */
static void mat01_a_certain_key_corrects_a_guess(void **state)
{
    phone_t *wrong = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77"), *right;
    const char *record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);

    sql(z, "UPDATE device SET name = 'Wrong', name_key = 'wrong' WHERE id = '%s'", wrong->device);
    run();
    assert_string_equal(where(record), wrong->device);
    z->t->now += apr_time_from_sec(3 * 24 * 3600);
    right = phone("U2", "F17TR2ABHG7L", "iPhone12,8", "19F77");
    run();
    assert_string_equal(where(record), wrong->device); /* a guess is a guess, but not judged again after a day */
    assert_int_equal(in_transaction(tell_fn, &(two_t){right->record, "leddjvc7gt7886jh9n4t9lr1q0", NULL}), APR_SUCCESS);
    assert_string_equal(where(record), right->device);
    assert_string_equal(tier(record), "exact");
    assert_string_equal(ask(z, "SELECT mode || ' ' || name || COALESCE(eas_device_id, '') FROM device WHERE id = '%s'", wrong->device), "ios_mdm Wrong");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM message WHERE object_id = '%s' AND code = 'match.corrected'", right->device), "1");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device"), "2");
}

/* The same by the run, of keys that come by other ways; and a guess that was right becomes certain. */
static void mat02_the_run_corrects_a_guess(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77"), *right;
    const char *record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);

    run();
    assert_string_equal(tier(record), "attr");
    sql(z, "UPDATE source_record SET attrs = REPLACE(attrs, '\"type\"', '\"imei\":\"356722110123451\",\"type\"') WHERE id = '%s'", record);
    sql(z, "UPDATE device SET imei = '35 672211 012345 1' WHERE id = '%s'", d->device);
    assert_int_equal(figure(run(), "exact"), 1);
    assert_string_equal(where(record), d->device);
    assert_string_equal(tier(record), "exact");
    sql(z, "UPDATE source_record SET match_rule = REPLACE(match_rule, 'exact', 'attr') WHERE id = '%s'", record);
    right = phone("U2", "F17TR2ABHG7L", "iPhone12,8", "19F77");
    sql(z, "UPDATE device SET imei = CASE WHEN id = '%s' THEN '356722110123451' ELSE NULL END", right->device);
    assert_int_equal(figure(run(), "exact"), 1);
    assert_string_equal(where(record), right->device);
    run();
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM match_mark"), "0");
}

static void owned_by(const phone_t *d, const char *person)
{
    sql(z, "UPDATE device SET person_id = '%s' WHERE id = '%s'", person, d->device);
    sql(z, "UPDATE source_record SET person_id = '%s' WHERE id = '%s'", person, d->record);
}

/* MAT-09: a mailbox with a phone of its own is read on another person's phone of the same model. What two people have is never guessed; when a third one
 * reads it, too, it is known for a mailbox, and those who read it have their own mail on their own phones. */
static void mat09_a_shared_mailbox(void **state)
{
    phone_t *own = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77"), *desk = phone("U2", "F17TR2ABHG7L", "iPhone12,8", "19F77");
    const char *mine, *boxed, *third;

    owned_by(desk, ben);
    boxed = mail(ben, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);
    mine = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);
    assert_int_equal(figure(run(), "exceptions"), 2);
    assert_string_equal(code(boxed), "owner_conflict");
    assert_string_equal(code(mine), "owner_conflict");
    assert_int_equal(mdm_person_create(z->t->ctx, "cleo", "Cleo Example", "", "", "correct horse battery", &third), APR_SUCCESS);
    mail(third, "MTJ0ERHOAD0KR2URRVQOAKM100", "iPhone", IPHONE);
    mail(ben, "MTJ0ERHOAD0KR2URRVQOAKM100", "iPhone", IPHONE);
    assert_int_equal(in_transaction(all_fn, NULL), APR_SUCCESS);
    assert_int_equal(figure(run(), "attr"), 1);
    assert_string_equal(where(mine), own->device);
    assert_string_equal(code(boxed), "owner_conflict");
    assert_int_equal(in_transaction(tell_fn, &(two_t){own->record, "LEDDJVC7GT7886JH9N4T9LR1Q0", NULL}), APR_SUCCESS);
    run();
    assert_string_equal(tier(mine), "exact");
    assert_string_equal(code(boxed), "owner_conflict");
}

/* MAT-09: a mailbox's mail app was guessed to be on the mailbox's phone; that another person's device tells the DeviceId is certain, and undoes it. */
static void mat09_another_persons_device_tells(void **state)
{
    phone_t *own = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77"), *desk = phone("U2", "F17TR2ABHG7L", "iPhone12,8", "19F77");
    const char *boxed;

    owned_by(desk, ben);
    boxed = mail(ben, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);
    run();
    assert_string_equal(where(boxed), desk->device);
    z->t->now += apr_time_from_sec(3 * 24 * 3600);
    assert_int_equal(in_transaction(tell_fn, &(two_t){own->record, "LEDDJVC7GT7886JH9N4T9LR1Q0", NULL}), APR_SUCCESS);
    assert_int_equal(figure(run(), "exceptions"), 1);
    assert_string_not_equal(where(boxed), desk->device);
    assert_string_not_equal(where(boxed), own->device);
    assert_string_equal(code(boxed), "owner_conflict");
    run();
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM match_mark"), "0");
}

/* MAT-09, MAT-11: whoever is renamed stays the same person; what is still told under the old name, by now another person's, does not go to that one's phone. */
static void mat09_renamed_people(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77"), *bens = phone("U2", "F17TR2ABHG7L", "iPhone12,8", "19F77");
    const char *old = apr_pstrdup(z->t->pool, z->person->login), *record, *stale;

    owned_by(bens, ben);
    sql(z, "UPDATE person SET login = 'newname', login_key = 'newname', mail = 'newname@example.org', mail_key = 'newname@example.org' WHERE id = '%s'", z->person->id);
    sql(z, "UPDATE person SET login = '%s', login_key = '%s' WHERE id = '%s'", old, old, ben);
    record = told("newname", "LEDDJVC7GT7886JH9N4T9LR1Q0", SE);
    run();
    assert_string_equal(where(record), d->device);
    told(old, "LEDDJVC7GT7886JH9N4T9LR1Q0", SE);
    stale = ask(z, "SELECT id FROM source_record WHERE kind = 'eas' AND person_id = '%s'", ben);
    run();
    assert_string_equal(where(stale), "");
    assert_string_equal(code(stale), "owner_conflict");
    assert_string_equal(mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE), record);
    assert_string_equal(where(record), d->device);
}

/* Facts 7.11 I7: what somebody has said stands, and whoever looks after it is told that the device says otherwise. */
static void mat09_peoples_word_stands(void **state)
{
    phone_t *said = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77"), *other = phone("U2", "F17TR2ABHG7L", "iPhone12,8", "19F77");
    const char *record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE), *own = NULL;

    assert_int_equal(in_transaction(link_fn, &(two_t){record, said->device, NULL}), APR_SUCCESS);
    run();
    assert_string_equal(code(record), "");
    assert_int_equal(in_transaction(tell_fn, &(two_t){other->record, "LEDDJVC7GT7886JH9N4T9LR1Q0", NULL}), APR_SUCCESS);
    assert_string_equal(where(record), said->device);
    assert_int_equal(figure(run(), "exceptions"), 1);
    assert_string_equal(code(record), "contradicts");
    assert_string_equal(where(record), said->device);
    assert_int_equal(in_transaction(split_fn, &(two_t){said->device, record, &own}), APR_SUCCESS);
    assert_int_equal(in_transaction(link_fn, &(two_t){record, other->device, NULL}), APR_SUCCESS);
    run();
    assert_string_equal(code(record), "");
}

/* Facts 7.11 I3, footnote 1: within a day, a second phone that fits as well makes it open again which one it is; mail goes on. After a day it stays. */
static void mat02_a_guess_is_judged_again_within_a_day(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE), *first = where(record);

    run();
    assert_string_equal(where(record), d->device);
    z->t->now += apr_time_from_sec(2 * 3600);
    phone("U2", "F17TR2ABHG7L", "iPhone12,8", "19F77");
    assert_int_equal(figure(run(), "exceptions"), 1);
    assert_string_equal(where(record), first); /* the object that it had */
    assert_string_equal(code(record), "ambiguous");
    assert_string_equal(ask(z, "SELECT state FROM device WHERE id = '%s'", first), "active");
    assert_string_equal(ask(z, "SELECT mode FROM device WHERE id = '%s'", d->device), "ios_mdm");
    assert_int_equal(figure(run(), "exceptions"), 1);
    sql(z, "UPDATE device SET product = 'iPhone14,5' WHERE udid = 'U2'");
    run();
    assert_string_equal(where(record), d->device);
    z->t->now += apr_time_from_sec(25 * 3600);
    phone("U3", "F17TR2ABHG7M", "iPhone12,8", "19F77");
    run();
    assert_string_equal(where(record), d->device);
}

/* ---------------------------------------------------------------- what people decide */

/* Everything that a match may change, in one text. */
static const char *picture(void)
{
    static const char *const of[] = {
        "SELECT d.id || d.name || d.folder_id || d.state || d.mode || COALESCE(d.eas_device_id, '-') || d.ownership || d.department || d.created_ms || "
        "COALESCE(d.enrolled_ms, 0) AS x FROM device d",
        "SELECT r.id || COALESCE(r.device_id, '-') || r.state || r.live || r.class || r.match_rule AS x FROM source_record r",
        "SELECT m.group_id || m.device_id AS x FROM device_group_member m", "SELECT a.id || a.target_id AS x FROM assignment a",
        "SELECT e.id || e.device_id AS x FROM device_event e WHERE e.kind NOT IN ('mail.matched', 'mail.undone')",
        "SELECT x.record_id || x.code || x.candidates || x.since_ms AS x FROM match_exception x", "SELECT u.record_id || u.at_ms AS x FROM match_undo u"};
    const char *text = "";
    size_t i;

    for (i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        text = apr_pstrcat(z->t->pool, text, "\n", ask(z, !strstr(z->t->params, "sqlite3") ? "SELECT string_agg(t.x, ' ' ORDER BY t.x) FROM (%s) t"
                                                                             : "SELECT group_concat(t.x, ' ') FROM (SELECT x FROM (%s) ORDER BY x) t", of[i]), NULL);
    }
    return text;
}

static apr_status_t part_fn(mdm_db_t *db, const void *arg)
{
    const char *own;

    return mdm_eas_part(db, arg, 1, &own);
}

/* Facts 7.11 I4, I5, I6: a second run writes nothing; all matches undone, in any order, leave what was there before; a change of one person touches nobody else. */
static void mat06_every_match_can_be_undone(void **state)
{
    enum { PHONES = 12 };
    const char *ids[PHONES], *before, *after, *swap;
    phone_t *d[PHONES];
    int i, k;

    for (i = 0; i < PHONES; i++) {
        d[i] = phone(apr_psprintf(z->t->pool, "UD%02d", i), apr_psprintf(z->t->pool, "F17TR2ABHG%02d", i), apr_psprintf(z->t->pool, "iPhone12,%d", i), "19F77");
        if (i % 2) {
            sql(z, "UPDATE device SET person_id = '%s' WHERE id = '%s'", ben, d[i]->device);
            sql(z, "UPDATE source_record SET person_id = '%s' WHERE id = '%s'", ben, d[i]->record);
        }
        z->t->now += apr_time_from_sec(i == 5 ? 40 : 1);
        ids[i] = mail(i % 2 ? ben : z->person->id, apr_psprintf(z->t->pool, "MAILOFPHONE%02d", i), "iPhone", apr_psprintf(z->t->pool, "Apple-iPhone12C%d/1906.77", i));
        if (i % 3 == 0) { /* in use before */
            assert_int_equal(in_transaction(own_fn, ids[i]), APR_SUCCESS);
            sql(z, "UPDATE source_record SET match_rule = '{}' WHERE id = '%s'", ids[i]);
            sql(z, "UPDATE device SET name = 'Field %d', created_ms = %d, department = 'D' WHERE id = '%s'", i, i, where(ids[i]));
            sql(z, "INSERT INTO device_group (id, name, kind) VALUES ('g%d', 'G%d', 'static')", i, i);
            sql(z, "INSERT INTO device_group_member (group_id, device_id) VALUES ('g%d', '%s')", i, where(ids[i]));
            sql(z, "INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, created_ms) VALUES ('a%d', 'policy', 'p%d', 'x', "
                   "'device', '%s', 1)", i, i, where(ids[i]));
        }
    }
    before = picture();
    assert_int_equal(figure(run(), "attr"), PHONES);
    after = picture();
    assert_string_not_equal(after, before);
    assert_int_equal(in_transaction(all_fn, NULL), APR_SUCCESS);
    assert_int_equal(figure(run(), "people"), 2);
    assert_string_equal(picture(), after);
    for (i = 0; i < PHONES; i++) {
        k = (i * 7 + 3) % PHONES;
        swap = ids[i], ids[i] = ids[k], ids[k] = swap;
    }
    for (i = 0; i < PHONES; i++) {
        assert_int_equal(in_transaction(part_fn, ids[i]), APR_SUCCESS);
    }
    assert_string_equal(picture(), before);
    run();
    run(); /* marks of the first one: while one was matched, others were not yet */
    sql(z, "UPDATE device SET os_version = '99.1' WHERE id = '%s'", d[0]->device);
    assert_int_equal(figure(run(), "people"), 1);
}

/* MAT-03, MAT-06: a wrong match is undone without losing anything, never made again by itself, and made again by hand. */
static void mat03_split_and_link_again(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE), *own = NULL;

    run();
    assert_string_equal(where(record), d->device);
    assert_int_equal(in_transaction(split_fn, &(two_t){d->device, record, &own}), APR_SUCCESS);
    assert_string_equal(where(record), own);
    assert_string_equal(ask(z, "SELECT mode || ' ' || state FROM device WHERE id = '%s'", own), "eas active");
    assert_string_equal(ask(z, "SELECT mode FROM device WHERE id = '%s'", d->device), "ios_mdm");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device_event WHERE kind = 'mail.split'"), "2");
    assert_int_equal(in_transaction(split_fn, &(two_t){d->device, record, &own}), APR_NOTFOUND);
    sql(z, "UPDATE source_record SET match_rule = '{}' WHERE id = '%s'", record); /* even if nobody's word stood for it */
    assert_int_equal(in_transaction(all_fn, NULL), APR_SUCCESS);
    run();
    assert_string_equal(where(record), own);
    assert_int_equal(in_transaction(link_fn, &(two_t){record, d->device, NULL}), APR_SUCCESS);
    assert_string_equal(where(record), d->device);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device WHERE id = '%s'", own), "0");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM match_split"), "0");
    assert_non_null(strstr(why(record), "\"tier\":\"manual\""));
}

/* How many devices the person may choose from for the one that waits. */
static size_t choices_of(const char *person, const char *record, const char *platform)
{
    json_t *list;
    mdm_db_t *db;
    size_t n, i;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_match_choices(db, person, where(record), platform, &list), APR_SUCCESS);
    mdm_db_close(db);
    n = json_array_size(list);
    for (i = 0; i < n; i++) {
        assert_int_equal(strlen(json_string_value(json_object_get(json_array_get(list, i), "hint"))), 4);
    }
    json_decref(list);
    return n;
}

static size_t choices(const char *person, const char *record)
{
    return choices_of(person, record, NULL);
}

/* MAT-05: of a mail app that does not tell its system the person says it, and chooses among devices of that system. */
static void mat05_the_platform_first(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record = mail(z->person->id, "DEVICEID0001", "Outlook", "Outlook-iOS-Android/1.0");

    assert_string_equal(ask(z, "SELECT platform FROM device WHERE id = '%s'", where(record)), "unknown");
    assert_int_equal(choices(z->person->id, record), 1);
    assert_int_equal(choices_of(z->person->id, record, "ios"), 1);
    assert_int_equal(choices_of(z->person->id, record, "android"), 0);
    assert_int_equal(in_transaction(android_fn, &(two_t){ben, where(record), NULL}), APR_SUCCESS);
    assert_string_equal(ask(z, "SELECT platform FROM device WHERE id = '%s'", where(record)), "unknown");
    assert_int_equal(in_transaction(android_fn, &(two_t){z->person->id, where(record), NULL}), APR_SUCCESS);
    assert_string_equal(ask(z, "SELECT platform FROM device WHERE id = '%s'", where(record)), "android");
    assert_int_equal(choices(z->person->id, record), 0);
    assert_int_equal(in_transaction(link_fn, &(two_t){record, d->device, NULL}), MDM_EINPUT);
    assert_int_equal(in_transaction(android_fn, &(two_t){z->person->id, d->device, NULL}), APR_SUCCESS); /* a managed one has told it */
    assert_string_equal(ask(z, "SELECT platform FROM device WHERE id = '%s'", d->device), "ios");
}

static void mat05_what_can_be_chosen(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record, *other;

    phone("U2", "F17TR2ABHG7L", "iPhone12,8", "19F77");
    record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);
    assert_int_equal(choices(z->person->id, record), 2);
    assert_int_equal(choices(ben, record), 0);
    assert_int_equal(in_transaction(link_fn, &(two_t){record, d->device, NULL}), APR_SUCCESS);
    other = mail(z->person->id, "MTJ0ERHOAD0KR2URRVQOAKM100", "iPhone", IPHONE);
    assert_int_equal(choices(z->person->id, other), 1); /* the place on the first one is taken */
    assert_int_equal(in_transaction(link_fn, &(two_t){other, d->device, NULL}), MDM_ECONFLICT);
    assert_int_equal(in_transaction(link_fn, &(two_t){other, "no such device", NULL}), MDM_EINPUT);
    assert_int_equal(in_transaction(link_fn, &(two_t){d->record, d->device, NULL}), APR_NOTFOUND);
}

static apr_status_t person_link_fn(mdm_db_t *db, const void *arg)
{
    const two_t *x = arg;

    return mdm_match_link(db, x->a, x->b, "person");
}

static apr_status_t back_fn(mdm_db_t *db, const void *arg)
{
    const two_t *x = arg;

    return mdm_match_take_back(db, x->a, x->b, x->out);
}

/* The ids that the person may choose from, in order, each with what it is. */
static const char *list_of(const char *record)
{
    const char *text = "";
    json_t *list, *at;
    mdm_db_t *db;
    size_t i;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_match_choices(db, z->person->id, where(record), NULL, &list), APR_SUCCESS);
    mdm_db_close(db);
    json_array_foreach(list, i, at) {
        text = apr_pstrcat(z->t->pool, text, *text ? " " : "", json_string_value(json_object_get(at, "is")), ":", json_string_value(json_object_get(at, "name")), NULL);
    }
    json_decref(list);
    return text;
}

/* MAT-05, facts 7.6: a reset phone that was known by mail alone finds its object, which waits for it on top; then managed ones, then others with mail alone. */
static void mat05_devices_with_mail_alone(void **state)
{
    const char *old = mail(z->person->id, "BEFORERESET001", "iPhone", IPHONE), *outlook = mail(z->person->id, "OUTLOOK00000001", "Outlook", "Outlook-iOS-Android/1.0");
    const char *again, *object = where(old), *own = NULL;

    assert_int_equal(in_transaction(own_fn, old), APR_SUCCESS);
    assert_int_equal(in_transaction(own_fn, outlook), APR_SUCCESS);
    sql(z, "UPDATE device SET name = 'Old' WHERE id = '%s'", object);
    sql(z, "UPDATE device SET name = 'Outlook' WHERE id = '%s'", where(outlook));
    sql(z, "UPDATE device SET name = 'Managed' WHERE id = '%s'", phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77")->device);
    again = mail(z->person->id, "AFTERRESET0001", "iPhone", IPHONE);
    assert_string_equal(list_of(again), "managed:Managed mail:Outlook"); /* the old one's mail app is alive */
    sql(z, "UPDATE device SET state = 'removed', mode = 'unknown' WHERE id = '%s'", object);
    sql(z, "UPDATE source_record SET state = 'left' WHERE id = '%s'", old);
    assert_string_equal(list_of(again), "expected:Old managed:Managed mail:Outlook");
    assert_int_equal(in_transaction(person_link_fn, &(two_t){again, object, NULL}), APR_SUCCESS);
    assert_string_equal(where(again), object);
    assert_string_equal(ask(z, "SELECT state || ' ' || mode || ' ' || name || ' ' || eas_device_id FROM device WHERE id = '%s'", object), "active eas Old AFTERRESET0001");
    assert_string_equal(ask(z, "SELECT live FROM source_record WHERE id = '%s'", old), "0");
    run();
    assert_string_equal(where(again), object);
    assert_int_equal(in_transaction(split_fn, &(two_t){object, again, &own}), APR_SUCCESS);
    assert_string_equal(where(again), own);
    sql(z, "UPDATE source_record SET last_seen_ms = 1 WHERE id = '%s'", outlook); /* a month without a word */
    assert_int_equal(in_transaction(person_link_fn, &(two_t){mail(z->person->id, "OUTLOOK00000002", "Outlook", "Outlook-iOS-Android/1.0"), where(outlook), NULL}), APR_SUCCESS);
    assert_string_equal(ask(z, "SELECT live FROM source_record WHERE id = '%s'", outlook), "0");
}

/* MAT-05, facts 7.6: the person takes a wrong choice back, for a quarter of an hour; all is as before, and he may choose anew. */
static void mat05_the_person_takes_it_back(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record, *pending, *before, *own = NULL;
    two_t back = {z->person->id, d->device, &own};

    phone("U2", "F17TR2ABHG7L", "iPhone12,8", "19F77");
    record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);
    pending = where(record);
    before = picture();
    assert_int_equal(in_transaction(person_link_fn, &(two_t){record, d->device, NULL}), APR_SUCCESS);
    assert_int_equal(in_transaction(back_fn, &(two_t){ben, d->device, &own}), MDM_ECONFLICT);
    z->t->now += apr_time_from_sec(14 * 60);
    assert_int_equal(in_transaction(back_fn, &back), APR_SUCCESS);
    assert_string_equal(own, pending);
    sql(z, "DELETE FROM device_event WHERE kind IN ('mail.linked', 'mail.undone')");
    assert_string_equal(picture(), before);
    assert_int_equal(in_transaction(back_fn, &back), MDM_ECONFLICT);
    assert_int_equal(choices(z->person->id, record), 2);
    assert_int_equal(in_transaction(person_link_fn, &(two_t){record, d->device, NULL}), APR_SUCCESS);
    z->t->now += apr_time_from_sec(16 * 60);
    assert_int_equal(in_transaction(back_fn, &back), MDM_ECONFLICT);
    assert_string_equal(where(record), d->device);
}

/* MAT-05, facts 7.6, 7.7: whose owner is asked is told so; he is reminded once after three days, and after two weeks it is for administrators. */
static void mat05_asked_reminded_given_up(void **state)
{
    const char *record;
    int day;

    phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    phone("U2", "F17TR2ABHG7L", "iPhone12,8", "19F77");
    record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);
    run();
    assert_string_equal(code(record), "ambiguous");
    sql(z, "UPDATE person SET mail = 'anna@example.org' WHERE id = '%s'", z->person->id);
    sql(z, "UPDATE policy_version SET settings = REPLACE(settings, '\"manual_reconcile\":false', '\"manual_reconcile\":true')");
    assert_int_equal(in_transaction(all_fn, NULL), APR_SUCCESS);
    for (day = 0; day < 16; day += 2, z->t->now += apr_time_from_sec(2 * 24 * 3600)) {
        run();
        assert_string_equal(code(record), "manual_pending");
        assert_string_equal(ask(z, "SELECT COUNT(*) FROM match_exception WHERE reminded_ms IS NOT NULL"), day > 3 ? "1" : "0");
    }
    run();
    assert_string_equal(code(record), "manual_timed_out");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM notice WHERE key LIKE 'enroll_complete:%%:again'"), "1");
    assert_int_equal(in_transaction(all_fn, NULL), APR_SUCCESS);
    run();
    assert_string_equal(code(record), "manual_timed_out");
}

/* MAT-07, facts 7.11: a reset phone tells another DeviceId: its object stays the same; a phone that changes hands keeps nobody's mail app by a guess. */
static void mat07_reset_and_new_owner(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *old = mail(z->person->id, "BEFORERESET001", "iPhone", IPHONE), *again, *bens;

    run();
    assert_string_equal(where(old), d->device);
    again = mail(z->person->id, "AFTERRESET0001", "iPhone", IPHONE);
    run();
    assert_string_not_equal(where(again), d->device); /* the place is taken, as far as anybody knows */
    assert_int_equal(in_transaction(tell_fn, &(two_t){d->record, "AFTERRESET0001", NULL}), APR_SUCCESS);
    assert_string_equal(where(again), d->device);
    assert_string_equal(tier(again), "exact");
    assert_string_not_equal(where(old), d->device); /* a guess goes back to its own object: it may be another phone */
    assert_string_equal(ask(z, "SELECT mode FROM device WHERE id = '%s'", where(old)), "eas");
    bens = mail(ben, "BENSOWNPHONE01", "iPhone", IPHONE);
    run();
    assert_string_not_equal(where(bens), d->device);
    assert_string_equal(code(bens), "no_candidate");
}

/* A device has any number of other mail apps. */
static void mat09_many_other_clients(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *one = mail(z->person->id, "NINE4383AF346860", "Nine", "Nine/1.0"), *two = mail(z->person->id, "NINE4383AF346861", "Nine", "Nine/1.0");

    assert_string_equal(ask(z, "SELECT class FROM source_record WHERE id = '%s'", two), "other:1");
    assert_int_equal(in_transaction(link_fn, &(two_t){one, d->device, NULL}), APR_SUCCESS);
    assert_int_equal(in_transaction(link_fn, &(two_t){two, d->device, NULL}), APR_SUCCESS);
    assert_string_equal(where(one), d->device);
    assert_string_equal(where(two), d->device);
}

/* A device of its own stays one, whatever appears beside it. */
static void mat05_as_a_new_device(void **state)
{
    const char *record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);

    assert_int_equal(in_transaction(own_fn, record), APR_SUCCESS);
    phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    run();
    assert_string_equal(ask(z, "SELECT mode FROM device WHERE id = '%s'", where(record)), "eas");
    assert_string_equal(code(record), "");
}

/* MAT-07: of two objects that were in use the older one gives its name. */
static void mat07_the_older_one_gives_its_name(void **state)
{
    const char *record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);
    phone_t *d;

    assert_int_equal(in_transaction(own_fn, record), APR_SUCCESS);
    sql(z, "UPDATE device SET name = 'Field 7', name_key = 'field 7', created_ms = 5");
    sql(z, "UPDATE source_record SET match_rule = '{}'");
    d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    run();
    assert_string_equal(where(record), d->device);
    assert_string_equal(ask(z, "SELECT name FROM device WHERE id = '%s'", d->device), "Field 7");
}

static apr_status_t wipe_fn(mdm_db_t *db, const void *arg)
{
    return mdm_unenroll_apple(db, arg, 1, 0, NULL, "lost");
}

/* Facts 7.9, DEV-12: a wipe takes a mail app along that is certainly the phone's; a guess may have been another phone, which just gets no mail. */
static void mat09_a_guess_is_never_wiped(void **state)
{
    phone_t *d = phone("U1", "F17TR2ABHG7K", "iPhone12,8", "19F77");
    const char *record = mail(z->person->id, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE);
    static const char *const tiers[] = {"attr", "manual", "exact"};
    size_t i;

    run();
    assert_string_equal(where(record), d->device);
    for (i = 0; i < 3; i++) {
        sql(z, "UPDATE source_record SET state = 'enrolled', match_rule = '{\"tier\":\"%s\"}' WHERE id = '%s'", tiers[i], record);
        sql(z, "UPDATE source_record SET state = 'enrolled' WHERE id = '%s'", d->record);
        assert_int_equal(in_transaction(wipe_fn, d->device), APR_SUCCESS);
        assert_string_equal(ask(z, "SELECT state FROM source_record WHERE id = '%s'", record), i < 2 ? "left" : "leaving");
        assert_string_equal(ask(z, "SELECT COUNT(*) FROM eas_client WHERE wipe_state = 'asked'"), i < 2 ? "0" : "1");
    }
}

static void mat04_settings_and_state(void **state)
{
    json_t *out, *body = json_pack("{s:i}", "minutes", 0);
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_match_set(db, body), MDM_EINPUT);
    json_object_set_new(body, "minutes", json_integer(15));
    assert_int_equal(mdm_match_set(db, body), APR_SUCCESS);
    json_decref(body);
    assert_int_equal(mdm_match_state(db, NULL, &out), APR_SUCCESS);
    assert_int_equal(json_integer_value(json_object_get(out, "minutes")), 15);
    assert_int_equal(json_integer_value(json_object_get(out, "open")), 0);
    assert_string_equal(json_string_value(json_object_get(out, "mode")), "standard");
    json_decref(out);
    mdm_db_close(db);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(mat02_likely_one_is_matched), T(mat10_only_what_changed_is_looked_at), T(mat04_two_that_fit_are_an_exception), T(mat02_the_zones_mode), T(mat09_never_across_people),
        T(mat04_a_finished_mail_device_is_none), T(mat10_too_many_are_left_to_people), T(mat03_split_and_link_again), T(mat05_what_can_be_chosen),
        T(eas05_a_told_one_is_matched_for_information), T(eas05_the_first_contact_may_know_better), T(eas05_a_certain_one_at_once),
        T(eas05_it_stands_back), T(eas05_people_decide), T(eas05_too_many_told_ones), T(mat05_the_platform_first), T(mat05_as_a_new_device), T(mat07_the_older_one_gives_its_name), T(mat09_a_guess_is_never_wiped), T(mat01_a_certain_key_corrects_a_guess),
        T(mat09_a_shared_mailbox), T(mat09_another_persons_device_tells), T(mat09_renamed_people), T(mat02_the_run_corrects_a_guess),
        T(mat09_peoples_word_stands), T(mat02_a_guess_is_judged_again_within_a_day), T(mat06_every_match_can_be_undone), T(mat05_devices_with_mail_alone),
        T(mat05_the_person_takes_it_back), T(mat05_asked_reminded_given_up), T(mat09_many_other_clients), T(mat07_reset_and_new_owner), T(mat04_settings_and_state)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
