/* Enrolment on a real database: policies, links, challenges, device objects (ENR-01..08, MAT-07, PEN-01, R14, R15, R34, R39). */
#include "people_test.h"

#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "enroll_test.h"

#define ROOT "00000000-0000-4000-8000-000000000001"

static void sql(fix_t *f, const char *text)
{
    assert_int_equal(dbtest_sql(f->t, text), 0);
}

static char *fmt(fix_t *f, const char *pattern, const char *a, const char *b)
{
    return apr_psprintf(f->t->pool, pattern, a, b);
}

static void later(fix_t *f, apr_int64_t ms)
{
    f->t->now += ms * 1000;
}

/* The demo policy's settings with one text replaced. */
static void settings(fix_t *f, const char *key_and_value, const char *now)
{
    sql(f, fmt(f, "UPDATE policy_version SET settings = REPLACE(settings, '%s', '%s')", key_and_value, now));
}

static mdm_pending_t *pending(fix_t *f, mdm_person_t *person, const char *origin, const char **token)
{
    mdm_pending_t *e = NULL;
    const char *dummy;

    assert_int_equal(pending_create(f->db, person, "ios", "personal", "managed", origin, &e, token ? token : &dummy), APR_SUCCESS);
    return e;
}

static apr_status_t begin(fix_t *f, const mdm_pending_t *e, const char *udid, const char *serial, const char **device,
                          const char **record)
{
    mdm_enroll_facts_t facts = {.kind = "mdm", .native_id = udid, .udid = udid, .serial = serial, .product = "iPhone12,8",
                                .os_version = "17.5.1", .platform = "ios", .name = "Anna's phone", .topic = "com.example"};
    apr_status_t rv;

    assert_int_equal(mdm_db_begin(f->db), APR_SUCCESS);
    if ((rv = mdm_enroll_begin(f->db, e, &facts, device, record)) == APR_SUCCESS) {
        return mdm_db_commit(f->db);
    }
    mdm_db_rollback(f->db);
    return rv;
}

/* A whole enrolment of a person's own device. */
static const char *enrol(fix_t *f, mdm_person_t *person, const char *udid, const char *serial, const char **record)
{
    mdm_pending_t *e = pending(f, person, "self", NULL);
    const char *device = NULL, *rec = NULL;

    assert_int_equal(begin(f, e, udid, serial, &device, &rec), APR_SUCCESS);
    assert_int_equal(mdm_enroll_complete(f->db, e->id, device, rec), APR_SUCCESS);
    if (record) {
        *record = rec;
    }
    return device;
}

static const char *name_of(fix_t *f, const char *device)
{
    mdm_q_enroll_device_name_t *row;

    assert_int_equal(mdm_q_enroll_device_name(f->db, device, &row), APR_SUCCESS);
    return row->name;
}

static const char *state_of(fix_t *f, const char *device)
{
    mdm_q_enroll_device_name_t *row;

    assert_int_equal(mdm_q_enroll_device_name(f->db, device, &row), APR_SUCCESS);
    return row->state;
}

/* ---------------------------------------------------------------- pure functions */

static void test_versions(void **state)
{
    assert_true(mdm_version_at_least("17.5.1", "8.0"));
    assert_true(mdm_version_at_least("8.0", "8"));
    assert_true(mdm_version_at_least("10", "9.9.9"));
    assert_false(mdm_version_at_least("7.1.2", "8.0"));
    assert_false(mdm_version_at_least("", "1"));
    assert_false(mdm_version_at_least(NULL, "1"));
    assert_false(mdm_version_at_least("x", "1"));
    assert_true(mdm_version_at_least(NULL, NULL));
}

static void test_expand(void **state)
{
    fix_t *f = *state;
    const char *const values[MDM_ENROLL_VARS] = {"anna", "Anna ${seq}", "a@b", "iPhone", NULL, "ios", "7"};

    assert_string_equal(mdm_enroll_expand(f->t->pool, "${device.model} ${user.name}", values), "iPhone Anna ${seq}");
    assert_string_equal(mdm_enroll_expand(f->t->pool, "${seq}${seq}${device.serial}!", values), "77!");
    assert_string_equal(mdm_enroll_expand(f->t->pool, "${nothing} ${ ${seq", values), "${nothing} ${ ${seq");
    assert_string_equal(mdm_enroll_expand(f->t->pool, "", values), "");
    assert_string_equal(mdm_enroll_expand(f->t->pool, "$${user.login}}", values), "$anna}");
}

/* ENR-04: what can't be used is refused at save, with the field's name. */
static void test_policy_check(void **state)
{
    static const struct {
        const char *json, *field;
    } rows[] = {
        {"{}", NULL},
        {"{\"ownership\":\"corporate\",\"rules\":[]}", NULL},
        {"{\"rules\":[{\"match\":{\"model\":[\"iPhone*\"]},\"folder\":\"" ROOT "\",\"name\":\"${seq} ${user.mail}\"}]}", NULL},
        {"{\"ownership\":\"mine\"}", "ownership"},
        {"{\"owner\":\"corporate\"}", "owner"},
        {"{\"max_devices\":-1}", "max_devices"},
        {"{\"platforms\":{\"toaster\":true}}", "settings.platforms.toaster"},
        {"{\"min_os\":{\"android\":\"9.\"}}", "settings.min_os.android"},
        {"{\"min_os\":{\"eas\":\"new\"}}", "settings.min_os.eas"},
        {"{\"min_os\":{\"ios\":\"17.0.1\"}}", NULL},
        {"{\"unenroll\":{\"personal\":\"burn\"}}", "personal"},
        {"{\"reenroll\":\"maybe\"}", "reenroll"},
        {"{\"rules\":{}}", "rules"},
        {"{\"rules\":[{\"folder\":\"x\",\"name\":\"a\"}]}", "folder"},
        {"{\"rules\":[{\"folder\":\"" ROOT "\",\"name\":\"${user.password}\"}]}", "name"},
        {"{\"rules\":[{\"folder\":\"" ROOT "\",\"name\":\"${user.name\"}]}", "name"},
        {"{\"rules\":[{\"folder\":\"" ROOT "\",\"name\":\"a\",\"match\":{\"colour\":\"red\"}}]}", "colour"},
        {"{\"rules\":[{\"folder\":\"" ROOT "\",\"name\":\"a\",\"match\":{\"model\":[1]}}]}", "settings.rules.0.match.model"},
        {"{\"rules\":[{\"folder\":\"" ROOT "\",\"name\":\"a\",\"match\":{\"os_min\":[\"16\"]}}]}", "os_min"},
        {"{\"rules\":[{\"folder\":\"" ROOT "\",\"name\":\"a\"},5]}", "settings.rules.1.match"},
    };
    fix_t *f = *state;
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        json_t *j;

        assert_int_equal(mdm_json_parse(f->t->ctx, rows[i].json, strlen(rows[i].json), &j), APR_SUCCESS);
        assert_int_equal(mdm_enroll_policy_check(f->t->ctx, j), rows[i].field ? MDM_EINPUT : APR_SUCCESS);
        if (rows[i].field && !strstr(f->t->ctx->fail_field, rows[i].field)) {
            fail_msg("%s: field %s", rows[i].json, f->t->ctx->fail_field);
        }
    }
}

/* ---------------------------------------------------------------- policies */

static void policy_add(fix_t *f, const char *name, const char *kind, const char *target, int position)
{
    const char *id = mdm_uuid(f->t->pool);

    sql(f, fmt(f, "INSERT INTO policy (id, type, name, published, created_ms) VALUES ('%s', 'enrollment', '%s', 1, 0)", id, name));
    sql(f, fmt(f, "INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES ('%s', 1, '{}', 0)", id, NULL));
    sql(f, apr_psprintf(f->t->pool,
                        "INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, position, created_ms) "
                        "VALUES ('%s', 'policy', '%s', 'enrollment', '%s', '%s', %d, 0)",
                        mdm_uuid(f->t->pool), id, kind, target, position));
}

/* Asked for alone, and together with somebody who is not there. */
static void expect_policy(fix_t *f, const char *name)
{
    json_t *ids = json_pack("[s, s]", "nobody", f->anna->id);
    mdm_enroll_policy_t *policy;
    apr_hash_t *all;

    assert_int_equal(mdm_enroll_policy(f->db, f->anna, &policy), APR_SUCCESS);
    assert_string_equal(policy->policy_name, name);
    assert_int_equal(mdm_enroll_policies(f->db, ids, &all), APR_SUCCESS);
    json_decref(ids);
    assert_int_equal(apr_hash_count(all), 1);
    policy = apr_hash_get(all, f->anna->id, APR_HASH_KEY_STRING);
    assert_string_equal(policy->policy_name, name);
}

/* ENR-01, POL-05: none = may not enrol; then source, root folder, folder, group by order, person: each beats the ones before. */
static void test_policy_precedence(void **state)
{
    fix_t *f = *state;
    mdm_enroll_policy_t *policy;
    mdm_pending_t *e;
    const char *token;

    assert_int_equal(mdm_enroll_policy(f->db, f->anna, &policy), MDM_EDENIED);
    assert_int_equal(pending_create(f->db, f->anna, "ios", "personal", "managed", "self", &e, &token), MDM_EDENIED);
    sql(f, fmt(f, "INSERT INTO user_folder (id, source_id, name) VALUES ('top', '%s', 'top')", f->source, NULL));
    sql(f, fmt(f, "INSERT INTO user_folder (id, source_id, parent_id, name) VALUES ('sub', '%s', 'top', 'sub')", f->source, NULL));
    sql(f, fmt(f, "INSERT INTO user_group (id, source_id, name, position) VALUES ('g1', '%s', 'one', 1)", f->source, NULL));
    sql(f, fmt(f, "INSERT INTO user_group (id, source_id, name, position) VALUES ('g2', '%s', 'two', 2)", f->source, NULL));
    sql(f, fmt(f, "UPDATE person SET folder_id = 'sub' WHERE id = '%s'", f->anna->id, NULL));
    sql(f, fmt(f, "INSERT INTO user_group_member (group_id, person_id) VALUES ('g1', '%s'), ('g2', '%s')", f->anna->id, f->anna->id));
    policy_add(f, "by source", "user_source", f->source, 0);
    expect_policy(f, "by source");
    policy_add(f, "by top", "user_folder", "top", 0);
    expect_policy(f, "by top");
    policy_add(f, "by sub", "user_folder", "sub", 0);
    expect_policy(f, "by sub");
    policy_add(f, "by two", "user_group", "g2", 0);
    expect_policy(f, "by two");
    policy_add(f, "by one", "user_group", "g1", 5);
    expect_policy(f, "by one");
    policy_add(f, "by one first", "user_group", "g1", 1);
    expect_policy(f, "by one first");
    policy_add(f, "by person", "person", f->anna->id, 0);
    expect_policy(f, "by person");
    sql(f, "UPDATE policy SET published = 0 WHERE name = 'by person'"); /* not published yet: not in force */
    expect_policy(f, "by one first");
}

static void test_demo_policy_is_made_once(void **state)
{
    fix_t *f = *state;
    mdm_enroll_policy_t *first, *again;

    assert_int_equal(mdm_enroll_policy(f->db, f->anna, &first), APR_SUCCESS);
    assert_int_equal(mdm_enroll_policy_create_demo(f->db, f->source), APR_SUCCESS);
    assert_int_equal(mdm_enroll_policy(f->db, f->anna, &again), APR_SUCCESS);
    assert_string_equal(first->policy_id, again->policy_id);
}

static void test_damaged_policy(void **state)
{
    fix_t *f = *state;
    mdm_enroll_policy_t *policy;

    sql(f, "UPDATE policy_version SET settings = '{\"ownership\":7}'");
    f->t->ctx->log = NULL;
    assert_int_equal(mdm_enroll_policy(f->db, f->anna, &policy), MDM_EUNAVAIL);
}

/* ---------------------------------------------------------------- links */

static void test_pending(void **state)
{
    fix_t *f = *state;
    const char *token, *again;
    mdm_pending_t *e = pending(f, f->anna, "self", &token), *found;
    int i;

    assert_string_equal(e->state, "created");
    assert_int_equal(mdm_pending_by_token(f->db, token, &found), APR_SUCCESS);
    assert_string_equal(found->id, e->id);
    assert_string_equal(found->person_name, "Anna Example");
    assert_int_equal(mdm_pending_token(f->db, e->id, &again), APR_SUCCESS);
    assert_string_equal(again, token);
    assert_int_equal(mdm_pending_by_token(f->db, "unknown", &found), APR_NOTFOUND);
    assert_int_equal(mdm_pending_by_token(f->db, "", &found), APR_NOTFOUND);
    assert_int_equal(mdm_pending_by_token(f->db, NULL, &found), APR_NOTFOUND);
    for (i = 1; i < MDM_PENDING_MAX_OPEN; ++i) {
        pending(f, f->anna, "self", NULL);
    }
    assert_int_equal(pending_create(f->db, f->anna, "ios", "personal", "managed", "self", &found, &again), MDM_ECONFLICT);
    pending(f, f->ben, "self", NULL); /* others have their own */
    assert_int_equal(mdm_pending_cancel(f->db, e->id), APR_SUCCESS);
    assert_int_equal(mdm_pending_cancel(f->db, e->id), MDM_ECONFLICT);
    assert_int_equal(mdm_pending_by_token(f->db, token, &found), MDM_EDENIED);
    assert_int_equal(mdm_pending_look(f->db, token, &found), APR_SUCCESS);
    assert_string_equal(found->state, "cancelled");
    e = pending(f, f->anna, "self", &token);
    later(f, MDM_PENDING_LIFE_MS);
    assert_int_equal(mdm_pending_by_token(f->db, token, &found), MDM_EDENIED);
    assert_int_equal(mdm_pending_get(f->db, e->id, &found), APR_SUCCESS);
    assert_string_equal(found->state, "expired");
}

static void test_what_the_policy_forbids(void **state)
{
    fix_t *f = *state;
    mdm_pending_t *e;
    const char *token;

    assert_int_equal(pending_create(f->db, f->anna, "toaster", "personal", "managed", "self", &e, &token), MDM_EDENIED);
    assert_int_equal(pending_create(f->db, f->anna, "ios", "stolen", "managed", "self", &e, &token), MDM_EDENIED);
    settings(f, "\"level\":\"choose\"", "\"level\":\"managed\"");
    assert_int_equal(pending_create(f->db, f->anna, "ios", "personal", "email_only", "self", &e, &token), MDM_EDENIED);
    settings(f, "\"ownership\":\"choose\"", "\"ownership\":\"corporate\"");
    assert_int_equal(pending_create(f->db, f->anna, "ios", "personal", "managed", "self", &e, &token), MDM_EDENIED);
    assert_int_equal(pending_create(f->db, f->anna, "ios", "corporate", "managed", "self", &e, &token), APR_SUCCESS);
    settings(f, "\"ios\":true", "\"ios\":false");
    assert_int_equal(pending_create(f->db, f->anna, "ios", "corporate", "managed", "self", &e, &token), MDM_EDENIED);
}

static void test_max_devices(void **state)
{
    fix_t *f = *state;
    mdm_pending_t *e, *spare = pending(f, f->anna, "self", NULL);
    const char *token, *device, *record;

    settings(f, "\"max_devices\":0", "\"max_devices\":1");
    enrol(f, f->anna, "UDID-1", "SER1", NULL);
    assert_int_equal(pending_create(f->db, f->anna, "ios", "personal", "managed", "self", &e, &token), MDM_EDENIED);
    assert_int_equal(begin(f, spare, "UDID-2", "SER2", &device, &record), MDM_EDENIED); /* made before the first was there */
    assert_int_equal(begin(f, spare, "UDID-1", "SER1", &device, &record), APR_SUCCESS); /* the same one again is no second */
}

/* Steps only lead on, an error stands until the next step, ended enrolments don't change. */
static void test_steps(void **state)
{
    fix_t *f = *state;
    mdm_pending_t *e = pending(f, f->anna, "self", NULL), *found;
    static const char *const steps[] = {"opened", "trust", "profile", "opened", "nonsense"};
    unsigned i;

    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); ++i) {
        assert_int_equal(mdm_pending_step(f->db, e->id, steps[i], NULL), APR_SUCCESS);
    }
    assert_int_equal(mdm_pending_get(f->db, e->id, &found), APR_SUCCESS);
    assert_string_equal(found->state, "profile");
    assert_non_null(strstr(found->step, "\"trust\""));
    assert_int_equal(mdm_pending_step(f->db, e->id, "issued", "too weak"), APR_SUCCESS);
    assert_int_equal(mdm_pending_get(f->db, e->id, &found), APR_SUCCESS);
    assert_string_equal(found->state, "profile");
    assert_non_null(strstr(found->step, "too weak"));
    assert_int_equal(mdm_pending_step(f->db, e->id, "issued", NULL), APR_SUCCESS);
    assert_int_equal(mdm_pending_get(f->db, e->id, &found), APR_SUCCESS);
    assert_null(strstr(found->step, "too weak"));
    assert_int_equal(mdm_pending_cancel(f->db, e->id), APR_SUCCESS);
    assert_int_equal(mdm_pending_step(f->db, e->id, "completed", NULL), APR_SUCCESS);
    assert_int_equal(mdm_pending_get(f->db, e->id, &found), APR_SUCCESS);
    assert_string_equal(found->state, "cancelled");
    assert_int_equal(mdm_pending_step(f->db, "no-such-id", "opened", NULL), APR_NOTFOUND);
}

/* ---------------------------------------------------------------- challenges (R14) */

static void test_challenge(void **state)
{
    fix_t *f = *state;
    const char *token, *first, *second;
    mdm_pending_t *e = pending(f, f->anna, "self", &token), *found;
    mdm_challenge_t *c;

    assert_int_equal(mdm_challenge_create(f->db, e, "device-1", &first), APR_SUCCESS);
    assert_int_equal(mdm_challenge_create(f->db, e, "device-1", &second), APR_SUCCESS);
    assert_int_equal(mdm_challenge_take(f->db, first, "csr", "t1", &c), MDM_EDENIED); /* the newer one killed it */
    assert_int_equal(mdm_challenge_take(f->db, second, "csr", "t1", &c), APR_SUCCESS);
    assert_string_equal(c->pending_id, e->id);
    assert_string_equal(c->subject, "device-1");
    assert_null(c->fingerprint);
    assert_int_equal(mdm_challenge_take(f->db, second, "csr", "t1", &c), MDM_EDENIED); /* nothing was issued for it yet */
    assert_int_equal(mdm_challenge_take(f->db, second, "csr", "t1", &c), MDM_EDENIED);
    assert_int_equal(mdm_challenge_issued(f->db, mdm_sha256_hex(f->t->pool, second, strlen(second)), "abcd"), APR_SUCCESS);
    assert_int_equal(mdm_challenge_take(f->db, second, "csr", "t2", &c), APR_SUCCESS); /* the same request has its answer again */
    assert_string_equal(c->fingerprint, "abcd");
    assert_int_equal(mdm_challenge_take(f->db, second, "other", "t1", &c), MDM_EDENIED);
    assert_int_equal(mdm_pending_get(f->db, e->id, &found), APR_SUCCESS);
    assert_string_equal(found->state, "issued");
    assert_int_equal(mdm_pending_by_token(f->db, token, &found), MDM_EDENIED); /* the link is used up */
    assert_int_equal(mdm_challenge_create(f->db, e, "device-1", &first), MDM_EDENIED); /* by an old copy of the row */
    later(f, 30 * 60 * 1000);
    assert_int_equal(mdm_challenge_take(f->db, second, "csr", "t1", &c), MDM_EDENIED);
}

static void test_challenge_bad(void **state)
{
    fix_t *f = *state;
    mdm_pending_t *e = pending(f, f->anna, "self", NULL);
    const char *challenge;
    mdm_challenge_t *c;
    char big[300];

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    assert_int_equal(mdm_challenge_take(f->db, NULL, "csr", "t", &c), MDM_EDENIED);
    assert_int_equal(mdm_challenge_take(f->db, "", "csr", "t", &c), MDM_EDENIED);
    assert_int_equal(mdm_challenge_take(f->db, big, "csr", "t", &c), MDM_EDENIED);
    assert_int_equal(mdm_challenge_take(f->db, "unknown", "csr", "t", &c), MDM_EDENIED);
    assert_int_equal(mdm_challenge_create(f->db, e, "s", &challenge), APR_SUCCESS);
    later(f, 30 * 60 * 1000 + 1);
    assert_int_equal(mdm_challenge_take(f->db, challenge, "csr", "t", &c), MDM_EDENIED);
    assert_int_equal(mdm_challenge_create(f->db, e, "s", &challenge), APR_SUCCESS);
    sql(f, "UPDATE person SET disabled = 1 WHERE login = 'anna'");
    assert_int_equal(mdm_challenge_take(f->db, challenge, "csr", "t", &c), MDM_EDENIED);
    sql(f, "UPDATE person SET disabled = 0");
    assert_int_equal(mdm_pending_cancel(f->db, e->id), APR_SUCCESS);
    assert_int_equal(mdm_challenge_take(f->db, challenge, "csr", "t", &c), MDM_EDENIED);
}

/* ---------------------------------------------------------------- device objects */

static void test_new_device(void **state)
{
    fix_t *f = *state;
    mdm_pending_t *e = pending(f, f->anna, "self", NULL), *found;
    const char *device, *record;

    assert_int_equal(begin(f, e, "UDID-1", "SER1", &device, &record), APR_SUCCESS);
    assert_string_equal(state_of(f, device), "pending");
    assert_string_equal(name_of(f, device), "iPhone Anna Example");
    assert_int_equal(mdm_enroll_complete(f->db, e->id, device, record), APR_SUCCESS);
    assert_string_equal(state_of(f, device), "active");
    assert_int_equal(mdm_pending_get(f->db, e->id, &found), APR_SUCCESS);
    assert_string_equal(found->state, "completed");
    assert_string_equal(found->device_id, device);
    /* a used enrolment serves no other device, but the same one may say its first message again */
    assert_int_equal(begin(f, e, "UDID-2", "SER2", &device, &record), MDM_EDENIED);
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &device, &record), APR_SUCCESS);
}

/* ENR-04: duplicates get a number, the first free one. */
static void test_duplicate_names(void **state)
{
    fix_t *f = *state;
    int i;

    for (i = 1; i <= 9; ++i) {
        const char *udid = apr_psprintf(f->t->pool, "UDID-%d", i), *device = enrol(f, f->anna, udid, udid, NULL);

        assert_string_equal(name_of(f, device), i == 1 ? "iPhone Anna Example" : apr_psprintf(f->t->pool, "iPhone Anna Example (%d)", i));
    }
}

static void test_rules(void **state)
{
    fix_t *f = *state;
    mdm_pending_t *e;
    const char *device, *record, *folder = "11111111-1111-4111-8111-111111111111";

    sql(f, fmt(f, "INSERT INTO folder (id, parent_id, name) VALUES ('%s', '" ROOT "', 'Phones')", folder, NULL));
    settings(f, "{\"match\":{}", "{\"match\":{\"model\":\"iPad*\"},\"folder\":\"" ROOT "\",\"name\":\"never\"},"
                                 "{\"match\":{\"platform\":[\"ios\"],\"model\":[\"x\",\"IPHONE*\"],\"os_min\":\"17\"},"
                                 "\"folder\":\"11111111-1111-4111-8111-111111111111\",\"name\":\"P${seq} ${nothing} ${user.login}\"},"
                                 "{\"match\":{\"ownership\":\"corporate\"}");
    device = enrol(f, f->anna, "UDID-1", "SER1", NULL);
    assert_string_equal(name_of(f, device), "P1 ${nothing} anna");
    device = enrol(f, f->anna, "UDID-2", "SER2", NULL);
    assert_string_equal(name_of(f, device), "P2 ${nothing} anna");
    settings(f, "\"17\"", "\"18\"");
    e = pending(f, f->anna, "self", NULL);
    assert_int_equal(begin(f, e, "UDID-3", "SER3", &device, &record), MDM_EDENIED); /* no rule fits: a clear refusal */
    assert_non_null(strstr(f->t->ctx->fail_text, "rule"));
}

static void test_min_os_and_serial(void **state)
{
    fix_t *f = *state;
    mdm_pending_t *e = pending(f, f->anna, "self", NULL);
    const char *device, *record;

    settings(f, "\"ios\":\"8.0\"", "\"ios\":\"18.0\"");
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &device, &record), MDM_EDENIED);
    assert_string_equal(f->t->ctx->fail_field, "OSVersion");
    settings(f, "\"ios\":\"18.0\"", "\"ios\":\"8.0\"");
    sql(f, "UPDATE pending_enrollment SET expected_serial = 'ABC'");
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &device, &record), MDM_EDENIED);
    assert_int_equal(begin(f, e, "UDID-1", NULL, &device, &record), MDM_EDENIED);
    assert_int_equal(begin(f, e, "UDID-1", "abc", &device, &record), APR_SUCCESS);
    assert_int_equal(begin(f, e, "", "abc", &device, &record), MDM_EINPUT);
}

/* PEN-06: a new device comes to be where its enrolment says, whatever the rules say, while that is there; named devices are told apart as matching does. */
static void test_named_folder_and_device(void **state)
{
    fix_t *f = *state;
    mdm_enroll_facts_t facts = {.kind = "mdm", .native_id = "UDID-1", .udid = "UDID-1", .serial = "C02 ABC-123", .os_version = "17.5", .platform = "ios"};
    const char *folder = "11111111-1111-4111-8111-111111111111", *device, *record;
    mdm_q_folder_get_t *there;
    mdm_pending_t *e = pending(f, f->anna, "self", NULL);

    sql(f, fmt(f, "INSERT INTO folder (id, parent_id, name) VALUES ('%s', '" ROOT "', 'Phones')", folder, NULL));
    sql(f, fmt(f, "UPDATE pending_enrollment SET folder_id = '%s', expected_serial = 'C02ABC123', expected_imei = '35209900176148'", folder, NULL));
    assert_int_equal(mdm_enroll_preview(f->db, e, &facts), APR_SUCCESS); /* as it was read */
    assert_int_equal(mdm_pending_get(f->db, e->id, &e), APR_SUCCESS);
    assert_int_equal(mdm_enroll_preview(f->db, e, &facts), MDM_EDENIED); /* it does not tell its IMEI */
    assert_string_equal(f->t->ctx->fail_field, "IMEI");
    facts.imei = "35 209900 176149 1";
    assert_int_equal(mdm_enroll_preview(f->db, e, &facts), MDM_EDENIED);
    facts.imei = "35 209900 176148 1";
    assert_int_equal(mdm_db_begin(f->db), APR_SUCCESS);
    assert_int_equal(mdm_enroll_begin(f->db, e, &facts, &device, &record), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(f->db), APR_SUCCESS);
    assert_int_equal(mdm_q_folder_get(f->db, folder, "", &there), APR_SUCCESS);
    assert_int_equal(there->devices, 1);
    e = pending(f, f->ben, "self", NULL);
    sql(f, "UPDATE pending_enrollment SET folder_id = '22222222-1111-4111-8111-111111111111'"); /* that is gone */
    assert_int_equal(begin(f, e, "UDID-2", "SER2", &device, &record), APR_SUCCESS);
    assert_int_equal(mdm_q_folder_get(f->db, ROOT, "", &there), APR_SUCCESS);
    assert_int_equal(there->devices, 1);
}

static apr_int64_t count(fix_t *f, const char *what)
{
    mdm_q_enroll_live_record_t *row;
    apr_status_t rv = mdm_q_enroll_live_record(f->db, "mdm", what, &row);

    return rv == APR_SUCCESS;
}

/* MAT-07, R39: the same device comes back onto its object; what was queued for its earlier life is closed. */
static void test_again(void **state)
{
    fix_t *f = *state;
    const char *record, *record2, *device = enrol(f, f->anna, "UDID-1", "SER1", &record), *device2;
    mdm_q_enroll_device_records_t *r;
    apr_array_header_t *rows;

    sql(f, fmt(f, "UPDATE device SET name = 'My name', name_key = 'my name' WHERE id = '%s'", device, NULL));
    sql(f, fmt(f, "INSERT INTO command (id, record_id, device_id, seq, request_type, payload, state, created_ms) "
                  "VALUES ('c1', '%s', '%s', 1, 'DeviceLock', '{}', 'queued', 0)", record, device));
    sql(f, fmt(f, "INSERT INTO push (record_id, due_ms) VALUES ('%s', 1)", record, NULL));
    sql(f, fmt(f, "INSERT INTO certificate (fingerprint, serial, subject, pending_id, record_id, status, not_before_ms, not_after_ms, issued_ms)"
                  " VALUES ('old', '1', 's', 'earlier', '%s', 'active', 0, 1, 0)", record, NULL));
    device2 = enrol(f, f->anna, "UDID-1", "SER1", &record2);
    assert_string_equal(device2, device);
    assert_string_equal(record2, record);
    assert_string_equal(name_of(f, device), "My name");
    assert_string_equal(state_of(f, device), "active");
    sql(f, "DELETE FROM command WHERE id = 'c1' AND open = 0 AND state = 'cancelled'");
    sql(f, fmt(f, "INSERT INTO command (id, record_id, device_id, seq, request_type, payload, state, created_ms) "
                  "VALUES ('c1', '%s', '%s', 1, 'DeviceLock', '{}', 'queued', 0)", record, device)); /* fits only if it was deleted */
    sql(f, fmt(f, "INSERT INTO push (record_id, due_ms) VALUES ('%s', 1)", record, NULL)); /* likewise */
    /* another UDID, the same serial: still this object, with a new record */
    device2 = enrol(f, f->anna, "UDID-9", "SER1", &record2);
    assert_string_equal(device2, device);
    assert_string_not_equal(record2, record);
    assert_int_equal(count(f, "UDID-1"), 0);
    assert_int_equal(mdm_q_enroll_device_records(f->db, device, "mdm", &rows), APR_SUCCESS);
    assert_int_equal(rows->nelts, 1);
    r = &APR_ARRAY_IDX(rows, 0, mdm_q_enroll_device_records_t);
    assert_string_equal(r->native_id, "UDID-9");
}

static apr_int64_t noted_ms;

static apr_int64_t noted(void *baton, const char *record_id)
{
    return strcmp(baton, record_id) ? 0 : noted_ms;
}

/* MAT-07, 15-decisions: the old identity was used if this node has noted a contact that is not written yet, in the second in which
 * the enrolment was made or later, or if a command was fetched or answered. What was before does not count. */
static void test_other_person_when_contact_is_not_written(void **state)
{
    fix_t *f = *state;
    const char *first, *device = enrol(f, f->anna, "UDID-1", "SER1", &first), *mine, *record;
    static const char *const times[] = {"sent_ms", "notnow_ms", "done_ms"};
    mdm_pending_t *e;

    later(f, 60999);
    e = pending(f, f->ben, "self", NULL);
    sql(f, "UPDATE device SET last_contact_ms = 1");
    f->t->env.contact = noted;
    f->t->env.contact_baton = (void *)(uintptr_t)first;
    noted_ms = e->created_ms / 1000 * 1000;
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &mine, &record), MDM_EDENIED);
    noted_ms--;
    for (unsigned i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        sql(f, "DELETE FROM command");
        sql(f, apr_psprintf(f->t->pool, "INSERT INTO command (id, record_id, device_id, seq, request_type, payload, state, open, %s,"
                            " created_ms) VALUES ('c', '%s', '%s', 1, 'DeviceLock', '{}', 'acknowledged', 0, %" APR_INT64_T_FMT ", 0)",
                            times[i], first, device, e->created_ms));
        assert_int_equal(begin(f, e, "UDID-1", "SER1", &mine, &record), MDM_EDENIED);
    }
    sql(f, "UPDATE command SET state = 'cancelled'"); /* ended, but not by the device */
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &mine, &record), APR_SUCCESS);
    assert_string_equal(state_of(f, device), "retired");
}

/* 15-decisions: another person takes over only if that was proved and the old identity has been silent since. */
static void test_other_person(void **state)
{
    fix_t *f = *state;
    const char *device = enrol(f, f->anna, "UDID-1", "SER1", NULL), *mine, *record;
    mdm_pending_t *e;
    mdm_enroll_facts_t facts = {.kind = "mdm", .native_id = "UDID-1", .udid = "UDID-1", .serial = "SER1"};

    later(f, 60000);
    e = pending(f, f->ben, "single", NULL); /* by a link alone: not proved */
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &mine, &record), MDM_EDENIED);
    assert_string_equal(state_of(f, device), "active");
    assert_int_equal(mdm_enroll_refused(f->db, e, &facts, "somebody else's"), APR_SUCCESS);
    e = pending(f, f->ben, "self", NULL);
    sql(f, apr_psprintf(f->t->pool, "UPDATE device SET last_contact_ms = %" APR_INT64_T_FMT, e->created_ms + 1));
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &mine, &record), MDM_EDENIED); /* the first is still in use */
    assert_string_equal(state_of(f, device), "active");
    sql(f, "UPDATE device SET last_contact_ms = 1");
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &mine, &record), APR_SUCCESS);
    assert_string_not_equal(mine, device);
    assert_string_equal(state_of(f, device), "retired");
    assert_int_equal(mdm_enroll_complete(f->db, e->id, mine, record), APR_SUCCESS);
    /* Anna again, later: Ben's object is retired, a new one or her own continues by the policy ("self"). */
    later(f, 60000);
    sql(f, "UPDATE device SET last_contact_ms = 1");
    assert_string_equal(enrol(f, f->anna, "UDID-1", "SER1", NULL), device);
    assert_string_equal(state_of(f, mine), "retired");
}

/* ENR-08 and what blocks a return. */
static void test_retired_blocked_leaving(void **state)
{
    fix_t *f = *state;
    const char *record, *device = enrol(f, f->anna, "UDID-1", "SER1", &record), *next;
    mdm_pending_t *e = pending(f, f->anna, "self", NULL);

    sql(f, "UPDATE device SET state = 'blocked'");
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &next, &record), MDM_EDENIED);
    sql(f, "UPDATE device SET state = 'wipe_pending'");
    sql(f, "UPDATE source_record SET state = 'leaving'");
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &next, &record), MDM_EDENIED);
    sql(f, "UPDATE source_record SET state = 'left', live = 0");
    sql(f, "UPDATE device SET state = 'retired'");
    settings(f, "\"reenroll\":\"self\"", "\"reenroll\":\"unretire\"");
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &next, &record), MDM_EDENIED);
    assert_string_equal(state_of(f, device), "retired");
    settings(f, "\"reenroll\":\"unretire\"", "\"reenroll\":\"new\"");
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &next, &record), APR_SUCCESS);
    assert_string_not_equal(next, device);
    assert_string_equal(state_of(f, device), "retired");
    assert_string_equal(name_of(f, next), "iPhone Anna Example (2)");
}

static void test_person_gone(void **state)
{
    fix_t *f = *state;
    mdm_pending_t *e = pending(f, f->anna, "self", NULL);
    const char *device, *record;

    sql(f, "UPDATE person SET disabled = 1");
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &device, &record), MDM_EDENIED);
    sql(f, "UPDATE person SET disabled = 0");
    sql(f, "DELETE FROM assignment");
    assert_int_equal(begin(f, e, "UDID-1", "SER1", &device, &record), MDM_EDENIED);
}

static const char *why_text(json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);

    return json_is_string(v) ? json_string_value(v) : "null";
}

static void why(fix_t *f, const mdm_enroll_facts_t *facts, const char *ownership, json_t **out)
{
    assert_int_equal(mdm_enroll_why_json(f->db, f->anna->id, facts, ownership, "", out), APR_SUCCESS);
    mdm_json_own(f->t->ctx, *out);
}

/* The timeline tells once which rule named the device. */
static void named(fix_t *f, const char *device, const char *rule)
{
    apr_array_header_t *rows;
    int i, n = 0;

    assert_int_equal(mdm_q_device_events(f->db, device, APR_INT64_MAX, "", 50, &rows), APR_SUCCESS);
    for (i = 0; i < rows->nelts; i++) {
        const mdm_q_device_events_t *e = &APR_ARRAY_IDX(rows, i, mdm_q_device_events_t);

        n += !strcmp(e->kind, "enroll.named") && strstr(e->detail, rule);
    }
    assert_int_equal(n, 1);
}

/* ENR-01, ENR-03, ENR-04: says which policy counts and why, which rule would name the device and why not the one before, and what it would be called;
 * what refuses is named; nothing is changed, and the timeline has the rule. */
static void test_why(void **state)
{
    fix_t *f = *state;
    mdm_enroll_facts_t phone = {.kind = "mdm", .platform = "ios", .model = "iPhone 15", .os_version = "17.5"};
    const char *device;
    json_t *o;

    settings(f, "[{\"match\":{}", "[{\"match\":{\"platform\":\"android\"},\"folder\":\"" ROOT "\",\"name\":\"x\"},{\"match\":{\"os_min\":\"18\"},\"folder\":\"" ROOT
                "\",\"name\":\"y\"},{\"match\":{}");
    why(f, &phone, "", &o);
    assert_true(json_is_true(json_object_get(o, "allowed")));
    assert_int_equal(json_integer_value(json_object_get(o, "rule")), 3);
    assert_string_equal(why_text(o, "name"), "iPhone 15 Anna Example");
    assert_string_equal(why_text(json_object_get(o, "folder"), "id"), ROOT);
    assert_string_equal(why_text(json_object_get(json_object_get(o, "policy"), "target"), "kind"), "user_source");
    assert_int_equal(json_array_size(json_object_get(o, "missed")), 2);
    assert_string_equal(why_text(json_array_get(json_object_get(o, "missed"), 0), "why"), "platform");
    assert_string_equal(why_text(json_array_get(json_object_get(o, "missed"), 1), "why"), "os_min");
    phone.os_version = "7.1.2";
    why(f, &phone, "", &o);
    assert_true(json_is_false(json_object_get(o, "allowed")));
    assert_string_equal(why_text(o, "field"), "OSVersion");
    phone.os_version = "3.9";
    phone.platform = "android";
    why(f, &phone, "", &o);
    assert_string_equal(why_text(o, "field"), "OSVersion");
    phone.os_version = "4.4";
    why(f, &phone, "", &o);
    assert_int_equal(json_integer_value(json_object_get(o, "rule")), 1);
    phone.os_version = "3.9"; /* a mail app tells the version of its protocol, not of the system */
    assert_int_equal(mdm_enroll_why_json(f->db, f->anna->id, &phone, "", "email_only", &o), APR_SUCCESS);
    mdm_json_own(f->t->ctx, o);
    assert_true(json_is_true(json_object_get(o, "allowed")));
    phone.platform = "windows";
    why(f, &phone, "", &o);
    assert_string_equal(why_text(o, "field"), "platform");
    settings(f, "\"ownership\":\"choose\"", "\"ownership\":\"corporate\"");
    phone.platform = "ios";
    phone.os_version = "17.5";
    why(f, &phone, "personal", &o);
    assert_string_equal(why_text(o, "field"), "ownership");
    settings(f, "\"ownership\":\"corporate\"", "\"ownership\":\"choose\"");
    device = enrol(f, f->anna, "UDID-WHY", "SERWHY", NULL);
    named(f, device, "\"rule\":3");
    sql(f, "DELETE FROM assignment");
    why(f, &phone, "", &o);
    assert_true(json_is_null(json_object_get(o, "policy")));
    assert_string_not_equal(why_text(o, "reason"), "null");
    assert_int_equal(mdm_enroll_why_json(f->db, "00000000-0000-4000-8000-00000000ffff", &phone, "", "", &o), APR_NOTFOUND);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, people_setup_demo, people_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        T(test_expand), T(test_policy_check),
        cmocka_unit_test_setup_teardown(test_policy_precedence, people_setup, people_teardown),
        T(test_demo_policy_is_made_once), T(test_damaged_policy), T(test_pending), T(test_what_the_policy_forbids), T(test_max_devices), T(test_steps),
        T(test_challenge), T(test_challenge_bad), T(test_new_device), T(test_duplicate_names), T(test_rules),
        T(test_min_os_and_serial), T(test_again), T(test_other_person), T(test_other_person_when_contact_is_not_written),
        T(test_retired_blocked_leaving), T(test_person_gone), T(test_why), T(test_named_folder_and_device)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
