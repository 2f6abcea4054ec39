/* Policies on their way (POL-07, POL-08, POL-10, IOS-10, EML-01, EML-02): one phone, the server's half in full. MDM_TEST_DB chooses the engine. */
#include "apple_test.h"
#include "domain/mdm_compliance.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_policies.h"
#include "domain/mdm_recompute.h"
#include "domain/mdm_said.h"

static zone_t *z;

#define CONTROL "00000001-0000-4000-8000-000000001010"
#define SECURITY "00000002-0000-4000-8000-000000001010"
#define EMAIL "00000003-0000-4000-8000-000000001010"
#define SERVER "00000004-0000-4000-8000-000000001010"
#define DIRECT "00000005-0000-4000-8000-000000001010"
#define PAST_PROXY "{\"email.direct\": {\"corporate\": true, \"personal\": true}, \"email.direct_server\": {\"corporate\": \"" SERVER \
                   "\", \"personal\": \"" SERVER "\"}}"
#define PIN(n) "{\"security.password\": {\"corporate\": true, \"personal\": true}, \"security.min_length\": {\"corporate\": " #n ", \"personal\": " #n "}}"
#define CAMERA(v) "{\"apple.camera\": {\"corporate\": " #v ", \"personal\": " #v "}}"
#define DAYS "{\"email.days\": {\"corporate\": \"day7\", \"personal\": \"day7\"}}"

static int setup(void **state)
{
    z = zone_make();
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

/* ---------------------------------------------------------------- words */

static void policy(const char *id, const char *type, const char *settings, const char *device)
{
    sql(z, "INSERT INTO policy (id, type, name, published, created_ms) VALUES ('%s', '%s', '%s', 1, 0) ON CONFLICT DO NOTHING", id, type, id);
    sql(z, "INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES ('%s', 1, '%s', 0) "
           "ON CONFLICT (policy_id, number) DO UPDATE SET settings = excluded.settings", id, settings);
    sql(z, "DELETE FROM assignment WHERE object_id = '%s'", id);
    if (device) {
        sql(z, "INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, conflict, position, created_ms) "
               "VALUES ('%s', 'policy', '%s', '%s', 'device', '%s', 'device_first', 1, 0)", mdm_uuid(z->t->pool), id, type, device);
    }
}

/* The notices that its person gets. */
static const char *noticed(const phone_t *d)
{
    static const char *const events[] = {"device_unenrolled", "email_held", "email_none", "email_removed", "email_settings"};
    const char *all = "";

    for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        const char *n = ask(z, "SELECT count(*) FROM notice WHERE device_id = '%s' AND event = '%s'", d->device, events[i]);

        for (int k = atoi(n); k > 0; k--) {
            all = apr_pstrcat(z->t->pool, all, events[i], " ", NULL);
        }
    }
    return all;
}

/* What the job does for one device; the statements that it took. */
static apr_uint64_t compute(phone_t *d)
{
    apr_uint64_t before = z->t->statements;
    mdm_db_t *db;

    sql(z, "INSERT INTO recompute (target_kind, target_id) VALUES ('device', '%s')", d->device);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    z->t->ctx->fail_text = NULL;
    if (mdm_recompute_now(db, d->device) != APR_SUCCESS) {
        fail_msg("%s", z->t->ctx->fail_text ? z->t->ctx->fail_text : "computing failed");
    }
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
    reload(z, d);
    return z->t->statements - before;
}

static const char *row(const phone_t *d, const char *type, const char *column)
{
    return ask(z, "SELECT %s FROM delivery WHERE device_id = '%s' AND type = '%s' AND channel = 'mdm'", column, d->device, type);
}

static const char *open_commands(const phone_t *d)
{
    const char *one = ask(z, "SELECT request_type FROM command WHERE record_id = '%s' AND open = 1 ORDER BY seq", d->record);
    const char *n = ask(z, "SELECT count(*) FROM command WHERE record_id = '%s' AND open = 1", d->record);

    return apr_pstrcat(z->t->pool, n, " ", one, NULL);
}

/* Asks for the next command; what it is, and its plist. */
static const char *next(phone_t *d, const char **id, const mdm_plist_t **command)
{
    mdm_apple_answer_t *a;
    mdm_plist_t *root;
    const char *type;

    reload(z, d);
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), APR_SUCCESS);
    type = offered(z, a, id);
    if (*type && command) {
        assert_int_equal(mdm_plist_parse(z->t->ctx, a->body.data, a->body.len, &root), APR_SUCCESS);
        *command = mdm_plist_get(root, "Command");
    }
    return type;
}

/* Answers a command; what comes next. */
static const char *tell(phone_t *d, mdm_plist_t *m, apr_uint64_t *n)
{
    mdm_apple_answer_t *a;

    assert_int_equal(say(z, d, m, &a, n), APR_SUCCESS);
    return offered(z, a, NULL);
}

static const char *done(phone_t *d, const char *id)
{
    return tell(d, status_msg(z, d, "Acknowledged", id), NULL);
}

/* A list with the profile of the type as it should be, or (NULL) without. */
static const char *list(phone_t *d, const char *id, const char *hash, apr_uint64_t *n)
{
    mdm_plist_t *m = status_msg(z, d, "Acknowledged", id), *l = mdm_plist_add_array(z->t->pool, m, "ProfileList"), *p;

    p = mdm_plist_add_dict(z->t->pool, l, NULL);
    mdm_plist_add_str(z->t->pool, p, "PayloadIdentifier", "org.mod-mdm.enroll");
    mdm_plist_add_str(z->t->pool, p, "PayloadUUID", "X");
    if (hash) {
        p = mdm_plist_add_dict(z->t->pool, l, NULL);
        mdm_plist_add_str(z->t->pool, p, "PayloadIdentifier", "org.mod-mdm.policy.security");
        mdm_plist_add_str(z->t->pool, p, "PayloadUUID", mdm_policy_profile_uuid(z->t->pool, hash));
    }
    return tell(d, m, n);
}

static void security_info(phone_t *d, const char *id, int compliant)
{
    mdm_plist_t *m = status_msg(z, d, "Acknowledged", id), *s = mdm_plist_add_dict(z->t->pool, m, "SecurityInfo");

    mdm_plist_add_bool(z->t->pool, s, "PasscodePresent", 1);
    mdm_plist_add_bool(z->t->pool, s, "PasscodeCompliant", compliant);
    mdm_plist_add_int(z->t->pool, s, "HardwareEncryptionCaps", 3);
    tell(d, m, NULL);
}

static phone_t *with_security(const char *udid)
{
    phone_t *d = dev_enrolled(z, udid);

    policy(SECURITY, "security", PIN(6), d->device);
    compute(d);
    return d;
}

/* Installed, listed, compliant. */
static phone_t *applied(const char *udid)
{
    phone_t *d = with_security(udid);
    const char *id;

    assert_string_equal(next(d, &id, NULL), "InstallProfile");
    assert_string_equal(done(d, id), "ProfileList");
    assert_string_equal(row(d, "security", "state"), "sent");
    next(d, &id, NULL);
    assert_string_equal(list(d, id, row(d, "security", "hash"), NULL), "SecurityInfo");
    next(d, &id, NULL);
    security_info(d, id, 1);
    assert_string_equal(row(d, "security", "state"), "applied");
    assert_string_equal(row(d, "security", "applied"), row(d, "security", "hash"));
    assert_string_equal(ask(z, "SELECT compliance FROM device WHERE id = '%s'", d->device), "compliant");
    return d;
}

static void refresh(phone_t *d)
{
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_command_refresh(db, d->record), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
    sql(z, "UPDATE command SET open = 0, state = 'acknowledged' WHERE record_id = '%s' AND open = 1 AND request_type NOT IN "
           "('InstallProfile', 'RemoveProfile', 'ProfileList')", d->record);
    reload(z, d);
}

static void tidy(void)
{
    mdm_db_t *db;
    int n;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_delivery_tidy(db, &n), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
}

/* ---------------------------------------------------------------- the profile itself */

static const char golden[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
    "<plist version=\"1.0\">\n<dict>\n<key>PayloadContent</key>\n<array>\n<dict>\n<key>allowSimple</key>\n<false/>\n<key>forcePIN</key>\n<true/>\n"
    "<key>minLength</key>\n<integer>6</integer>\n<key>PayloadDisplayName</key>\n<string>Security</string>\n"
    "<key>PayloadIdentifier</key>\n<string>org.mod-mdm.policy.security.passwordpolicy</string>\n"
    "<key>PayloadType</key>\n<string>com.apple.mobiledevice.passwordpolicy</string>\n"
    "<key>PayloadUUID</key>\n<string>@1</string>\n<key>PayloadVersion</key>\n<integer>1</integer>\n</dict>\n</array>\n"
    "<key>PayloadDescription</key>\n<string>Passcode rules, set by the organisation.</string>\n"
    "<key>PayloadDisplayName</key>\n<string>Security</string>\n%s"
    "<key>PayloadIdentifier</key>\n<string>org.mod-mdm.policy.security</string>\n"
    "<key>PayloadType</key>\n<string>Configuration</string>\n<key>PayloadUUID</key>\n<string>@2</string>\n"
    "<key>PayloadVersion</key>\n<integer>1</integer>\n</dict>\n</plist>\n";

/* Without white space and UUIDs, which the next test holds. */
static const char *bare(const char *s)
{
    char *out = apr_pstrdup(z->t->pool, s), *w = out;

    for (const char *c = s; *c; c++) {
        if (!strncmp(c, "<key>PayloadUUID</key>", 22)) {
            c = strstr(c + 22, "</string>") + 8;
        } else if (*c != '\n' && *c != '\t' && *c != ' ') {
            *w++ = *c;
        }
    }
    *w = '\0';
    return out;
}

static void test_profile_bytes(void **state)
{
    json_t *a = json_loads("{\"com.apple.mobiledevice.passwordpolicy\": {\"minLength\": 6, \"forcePIN\": true, \"allowSimple\": false}}", 0, NULL);
    json_t *b = json_loads("{\"com.apple.mobiledevice.passwordpolicy\": {\"allowSimple\": false, \"forcePIN\": true, \"minLength\": 6}}", 0, NULL);
    json_t *c = json_loads("{\"com.apple.mobiledevice.passwordpolicy\": {\"allowSimple\": false, \"forcePIN\": true, \"minLength\": 7}}", 0, NULL);
    json_t *real = json_loads("{\"com.apple.applicationaccess\": {\"safariAcceptCookies\": 2.0}}", 0, NULL);
    mdm_policy_profile_t one, two, three, locked;

    assert_int_equal(mdm_policy_profile(z->t->ctx, MDM_POLICY_SECURITY, a, 0, &one), APR_SUCCESS);
    assert_int_equal(mdm_policy_profile(z->t->ctx, MDM_POLICY_SECURITY, b, 0, &two), APR_SUCCESS);
    assert_int_equal(mdm_policy_profile(z->t->ctx, MDM_POLICY_SECURITY, c, 0, &three), APR_SUCCESS);
    assert_int_equal(mdm_policy_profile(z->t->ctx, MDM_POLICY_SECURITY, a, 1, &locked), APR_SUCCESS);
    assert_string_equal(one.hash, two.hash); /* the order of keys is nothing */
    assert_string_equal((const char *)one.body.data, (const char *)two.body.data);
    assert_string_not_equal(one.hash, three.hash);
    assert_string_not_equal(one.hash, locked.hash);
    assert_string_equal(bare((const char *)one.body.data), bare(apr_psprintf(z->t->pool, golden, "")));
    assert_string_equal(bare((const char *)locked.body.data),
                        bare(apr_psprintf(z->t->pool, golden, "<key>PayloadRemovalDisallowed</key>\n<true/>\n")));
    assert_non_null(strstr((const char *)one.body.data, mdm_policy_profile_uuid(z->t->pool, one.hash)));
    assert_null(strstr((const char *)three.body.data, mdm_policy_profile_uuid(z->t->pool, one.hash)));
    assert_int_equal(mdm_policy_profile(z->t->ctx, MDM_POLICY_CONTROL, real, 0, &one), APR_SUCCESS);
    assert_non_null(strstr((const char *)one.body.data, "<real>2"));
    json_decref(a);
    json_decref(b);
    json_decref(c);
    json_decref(real);
}

/* ---------------------------------------------------------------- there and back */

/* IOS-10, POL-08, POL-10: pending, sent, applied; the same again is nothing; a change is one delivery however often; gone with the policy. PRF-02. */
static void test_life(void **state)
{
    phone_t *d = with_security("UDID-LIFE");
    const mdm_plist_t *command;
    const mdm_blob_t *payload;
    apr_uint64_t n, all;
    const char *id, *hash = row(d, "security", "hash");

    assert_string_equal(row(d, "security", "state"), "pending");
    assert_string_equal(open_commands(d), "3 InstallProfile");
    assert_string_equal(ask(z, "SELECT payload FROM command WHERE record_id = '%s' AND request_type = 'InstallProfile'", d->record), "{}");
    for (int i = 7; i < 12; i++) { /* five changes before the phone comes */
        policy(SECURITY, "security", apr_psprintf(z->t->pool, "{\"security.password\": {\"corporate\": true, \"personal\": true}, "
               "\"security.min_length\": {\"corporate\": %d, \"personal\": %d}}", i, i), d->device);
        compute(d);
    }
    assert_string_equal(open_commands(d), "3 InstallProfile");
    assert_string_equal(ask(z, "SELECT count(*) FROM command WHERE record_id = '%s' AND state = 'superseded'", d->record), "0");
    policy(SECURITY, "security", PIN(6), d->device);
    compute(d);
    assert_string_equal(row(d, "security", "hash"), hash);
    assert_string_equal(next(d, &id, &command), "InstallProfile");
    payload = mdm_plist_data(command, "Payload");
    assert_non_null(payload);
    assert_non_null(strstr((const char *)payload->data, "<integer>6</integer>"));
    assert_string_equal(tell(d, status_msg(z, d, "Acknowledged", id), &all), "ProfileList");
    assert_int_equal(all - 1, 2); /* and the offer before: 3 */
    assert_string_equal(row(d, "security", "state"), "sent");
    next(d, &id, NULL);
    list(d, id, hash, &n);
    assert_string_equal(row(d, "security", "state"), "applied");
    next(d, &id, NULL);
    security_info(d, id, 1);
    assert_string_equal(open_commands(d), "0 ");
    compute(d);
    assert_string_equal(open_commands(d), "0 "); /* the same content is never sent twice */
    refresh(d);
    assert_string_equal(next(d, &id, NULL), "ProfileList");
    list(d, id, hash, &n);
    assert_int_equal(n - 1, 2); /* what is in line costs nothing more (PRF-02) */
    policy(SECURITY, "security", PIN(6), NULL);
    compute(d);
    assert_string_equal(next(d, &id, &command), "RemoveProfile");
    assert_string_equal(mdm_plist_str(command, "Identifier"), "org.mod-mdm.policy.security");
    assert_string_equal(done(d, id), "ProfileList");
    next(d, &id, NULL);
    list(d, id, NULL, NULL);
    assert_string_equal(row(d, "security", "count(*)"), "0");
}

/* POL-10: a profile that is missing or another is reported, and sent again; a device that loses it each time is not asked for ever. */
static void test_drift(void **state)
{
    phone_t *d = applied("UDID-DRIFT");
    const char *id;
    int sent = 0;

    refresh(d);
    assert_string_equal(next(d, &id, NULL), "ProfileList");
    list(d, id, NULL, NULL);
    assert_string_equal(row(d, "security", "state"), "pending");
    assert_string_equal(ask(z, "SELECT compliance FROM device WHERE id = '%s'", d->device), "noncompliant");
    assert_string_equal(ask(z, "SELECT count(*) FROM device_event WHERE device_id = '%s' AND kind = 'policy.drift'", d->device), "1");
    assert_string_equal(ask(z, "SELECT count(*) FROM message WHERE object_id = '%s' AND code = 'policy.drift'", d->device), "1");
    for (int i = 0; i < 40 && !strcmp(row(d, "security", "state"), "pending"); i++) {
        if (!strcmp(next(d, &id, NULL), "InstallProfile")) {
            sent++;
            done(d, id);
            assert_string_equal(next(d, &id, NULL), "ProfileList");
            list(d, id, NULL, NULL);
        }
        sql(z, "UPDATE command SET open = 0, state = 'acknowledged' WHERE record_id = '%s' AND open = 1 AND request_type = 'SecurityInfo'", d->record);
        z->t->now += apr_time_from_sec(6 * 3600);
        tidy();
    }
    assert_string_equal(row(d, "security", "state"), "failed");
    assert_int_equal(sent, 5);
    tidy();
    assert_string_equal(open_commands(d), "0 ");
    refresh(d); /* and each refresh is one more try */
    assert_string_equal(next(d, &id, NULL), "InstallProfile");
    done(d, id);
    next(d, &id, NULL);
    list(d, id, row(d, "security", "hash"), NULL);
    assert_string_equal(row(d, "security", "state"), "applied");
    assert_string_equal(row(d, "security", "attempts"), "0");
}

/* POL-08: what the device says stands there, clean; the next change or refresh tries again, nothing else. */
static void test_error(void **state)
{
    phone_t *d = with_security("UDID-ERR");
    const char *id;
    mdm_plist_t *m, *e;
    json_t *why;
    mdm_db_t *db;

    next(d, &id, NULL);
    m = status_msg(z, d, "Error", id);
    e = mdm_plist_add_dict(z->t->pool, mdm_plist_add_array(z->t->pool, m, "ErrorChain"), NULL);
    mdm_plist_add_int(z->t->pool, e, "ErrorCode", 4009);
    mdm_plist_add_str(z->t->pool, e, "ErrorDomain", "MCInstallationErrorDomain");
    mdm_plist_add_str(z->t->pool, e, "USEnglishDescription", "No <b>\n\t'room'; %s \xE2\x80\xAE here");
    assert_string_equal(tell(d, m, NULL), "ProfileList");
    assert_string_equal(row(d, "security", "state"), "failed");
    assert_non_null(strstr(row(d, "security", "error"), "(MCInstallationErrorDomain 4009)"));
    assert_null(strchr(row(d, "security", "error"), '\n'));
    assert_string_equal(ask(z, "SELECT compliance FROM device WHERE id = '%s'", d->device), "noncompliant");
    next(d, &id, NULL);
    list(d, id, NULL, NULL);
    sql(z, "UPDATE command SET open = 0, state = 'acknowledged' WHERE record_id = '%s' AND open = 1", d->record);
    compute(d);
    tidy();
    assert_string_equal(open_commands(d), "0 ");
    assert_string_equal(row(d, "security", "state"), "failed");
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_delivery_reasons(db, d->device, &why), APR_SUCCESS);
    mdm_db_close(db);
    assert_int_equal(json_array_size(why), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(why, 0), "reason")), "policy_failed");
    refresh(d);
    assert_string_equal(next(d, &id, NULL), "InstallProfile");
    assert_string_equal(tell(d, status_msg(z, d, "CommandFormatError", id), NULL), "ProfileList");
    assert_string_equal(row(d, "security", "state"), "failed");
}

/* Put off: the question behind it comes first, and is asked again once the profile was taken. A result that comes twice is the same. */
static void test_notnow(void **state)
{
    phone_t *d = with_security("UDID-NOTNOW");
    const char *install, *id;

    next(d, &install, NULL);
    assert_string_equal(tell(d, status_msg(z, d, "NotNow", install), NULL), "ProfileList");
    id = ask(z, "SELECT id FROM command WHERE record_id = '%s' AND request_type = 'ProfileList' AND open = 1", d->record);
    list(d, id, NULL, NULL);
    assert_string_equal(row(d, "security", "state"), "pending"); /* not lost: never there */
    sql(z, "UPDATE command SET open = 0, state = 'acknowledged' WHERE record_id = '%s' AND open = 1 AND request_type = 'SecurityInfo'", d->record);
    assert_string_equal(next(d, &id, NULL), "InstallProfile");
    assert_string_equal(id, install);
    assert_string_equal(done(d, id), "ProfileList"); /* in the same session */
    done(d, install);
    assert_string_equal(row(d, "security", "state"), "sent");
    assert_string_equal(ask(z, "SELECT count(*) FROM command WHERE record_id = '%s' AND request_type = 'ProfileList' AND open = 1", d->record), "1");
}

/* What waits is given the new content in its place, unless that would bring a question before what it asks about, or the device has it or has put it
 * off (IOS-10, POL-09). */
static void test_in_place(void **state)
{
    phone_t *d = with_security("UDID-PLACE");
    const char *first = row(d, "security", "command_id"), *id, *order = "SELECT seq - (SELECT min(seq) FROM command WHERE record_id = '%s' AND open = 1) "
               "FROM command WHERE record_id = '%s' AND open = 1 AND request_type = '%s' ORDER BY seq DESC";

    policy(SECURITY, "security", PIN(7), d->device);
    compute(d);
    assert_string_equal(row(d, "security", "command_id"), first);
    assert_string_equal(ask(z, "SELECT stored FROM command WHERE id = '%s'", first), row(d, "security", "hash"));
    policy(CONTROL, "device_control", CAMERA(false), d->device);
    compute(d); /* a second profile: what is asked afterwards comes after it */
    assert_string_equal(open_commands(d), "4 InstallProfile");
    assert_string_equal(row(d, "security", "command_id"), first);
    assert_string_equal(ask(z, order, d->record, d->record, "ProfileList"), "4");
    assert_string_equal(ask(z, order, d->record, d->record, "InstallProfile"), "3");
    assert_string_equal(next(d, &id, NULL), "InstallProfile");
    assert_string_equal(id, first);
    policy(SECURITY, "security", PIN(8), d->device);
    compute(d); /* it is out: another one follows */
    assert_string_not_equal(row(d, "security", "command_id"), first);
    assert_string_equal(ask(z, "SELECT count(*) FROM command WHERE record_id = '%s' AND open = 1 AND request_type = 'InstallProfile'", d->record), "3");
    id = row(d, "security", "command_id");
    sql(z, "UPDATE command SET state = 'notnow' WHERE id = '%s'", id);
    policy(SECURITY, "security", PIN(9), d->device);
    compute(d);
    assert_string_not_equal(row(d, "security", "command_id"), id);
    assert_string_equal(ask(z, "SELECT state FROM command WHERE id = '%s'", id), "superseded");
    policy(SECURITY, "security", PIN(9), NULL);
    id = row(d, "security", "command_id");
    compute(d); /* nothing is to be there any more: the same command takes it away */
    assert_string_equal(ask(z, "SELECT request_type FROM command WHERE id = '%s'", id), "RemoveProfile");
}

/* A device that begins anew has nothing of it any more; once it is up it gets all of it. Retired: rows go with the profiles. */
static void test_again(void **state)
{
    phone_t *d = applied("UDID-AGAIN");
    mdm_apple_answer_t *a;
    mdm_db_t *db;

    assert_int_equal(say(z, d, authenticate_msg(z, d), &a, NULL), APR_SUCCESS);
    reload(z, d);
    assert_string_equal(row(d, "security", "state"), "pending");
    assert_string_equal(row(d, "security", "applied"), "");
    compute(d);
    assert_string_equal(open_commands(d), "0 ");
    assert_int_equal(say(z, d, token_msg(z, d, "UDID-AGAIN", "unlock"), &a, NULL), APR_SUCCESS);
    reload(z, d);
    assert_string_equal(ask(z, "SELECT count(*) FROM command WHERE record_id = '%s' AND open = 1 AND request_type = 'InstallProfile'", d->record), "1");
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_command_cancel(db, d->device, row(d, "security", "command_id")), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    assert_string_equal(row(d, "security", "state"), "pending");
    assert_string_not_equal(row(d, "security", "error"), "");
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_apple_leave(db, d->record, "given_up"), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
    assert_string_equal(row(d, "security", "count(*)"), "0");
    compute(d);
    assert_string_equal(row(d, "security", "count(*)"), "0");
    assert_string_equal(noticed(d), "device_unenrolled ");
}

/* POL-09: a batch takes as many statements as one device, and shares its content; content that nobody has goes after a day. */
static void test_batch(void **state)
{
    apr_uint64_t one, many;
    phone_t *d[8];
    mdm_db_t *db;

    for (int i = 0; i < 8; i++) {
        d[i] = dev_enrolled(z, apr_psprintf(z->t->pool, "UDID-B%d", i));
        sql(z, "UPDATE device SET os_version = '17.6.1' WHERE id = '%s'", d[i]->device);
    }
    sql(z, "DELETE FROM delivery");
    sql(z, "DELETE FROM stored_profile");
    for (int n = 1; n <= 8; n += 7) {
        apr_array_header_t *devices = apr_array_make(z->t->pool, n, sizeof(mdm_delivery_device_t));
        json_t *settings = mdm_json_own(z->t->ctx, json_loads("{\"apple.camera\": {\"value\": false}}", 0, NULL));

        for (int i = 0; i < n; i++) {
            mdm_delivery_device_t *to = apr_array_push(devices);
            *to = (mdm_delivery_device_t){.device_id = d[n == 1 ? 0 : i]->device, .result_id = {n == 1 ? "r1" : "r2"}, .settings = {settings}};
        }
        sql(z, "DELETE FROM delivery");
        assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
        assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
        one = z->t->statements;
        assert_int_equal(mdm_delivery_settle(db, devices, 60000), APR_SUCCESS);
        many = z->t->statements - one;
        assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
        mdm_db_close(db);
        assert_in_range(many, 5, 22);
    }
    assert_string_equal(ask(z, "SELECT count(*) FROM delivery WHERE command_id IS NOT NULL"), "8");
    assert_string_equal(ask(z, "SELECT count(*) FROM stored_profile"), "1");
    z->t->now += apr_time_from_sec(2 * 86400);
    tidy();
    assert_string_equal(ask(z, "SELECT count(*) FROM stored_profile"), "1");
    sql(z, "DELETE FROM delivery");
    sql(z, "UPDATE command SET open = 0, state = 'cancelled' WHERE open = 1");
    tidy();
    assert_string_equal(ask(z, "SELECT count(*) FROM stored_profile"), "0");
}

/* ---------------------------------------------------------------- mail */

static void mail_record(phone_t *d)
{
    sql(z, "INSERT INTO source_record (id, device_id, person_id, kind, class, native_id, state, first_seen_ms, last_seen_ms) "
           "VALUES ('%s', '%s', '%s', 'eas', 'native', 'EASID%s', 'enrolled', 0, 0)", mdm_uuid(z->t->pool), d->device, z->person->id, d->udid);
}

static void mail_server(void)
{
    sql(z, "INSERT INTO eas_server (id, name, host, port, domain, user_form, created_ms) VALUES ('%s', 'ex', 'ex.example.org', 443, 'CORP', 'domain_user', 0) "
           "ON CONFLICT DO NOTHING", SERVER);
    sql(z, "INSERT INTO eas_server_source (server_id, source_id, position) SELECT '%s', source_id, 1 FROM person WHERE id = '%s' ON CONFLICT DO NOTHING",
        SERVER, z->person->id);
    sql(z, "INSERT INTO zone_setting (name, value, updated_ms) VALUES ('eas.public_host', '\"mail.example.org\"', 0) ON CONFLICT DO NOTHING");
}

/* EML-01: the account is the person's own, by our proxy or directly; TLS always, never a password. */
static void test_account(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-MAIL");
    const mdm_plist_t *command;
    const char *id, *text;

    policy(EMAIL, "email", DAYS, d->device);
    compute(d);
    assert_string_equal(row(d, "email", "state"), "not_applicable"); /* no server is linked to the person's source */
    assert_string_equal(row(d, "email", "error"), "\x1fout_no_account");
    mail_server();
    compute(d);
    assert_string_equal(next(d, &id, &command), "InstallProfile");
    text = (const char *)mdm_plist_data(command, "Payload")->data;
    assert_non_null(strstr(text, "<string>mail.example.org</string>"));
    assert_non_null(strstr(text, "<string>anna@example.org</string>"));
    assert_non_null(strstr(text, "<key>SSL</key>"));
    assert_null(strstr(text, "Password"));
    assert_string_equal(ask(z, "SELECT mail FROM device WHERE id = '%s'", d->device), "proxy");
    done(d, id);
    policy(EMAIL, "email", PAST_PROXY, d->device);
    compute(d);
    sql(z, "UPDATE command SET open = 0 WHERE record_id = '%s' AND request_type = 'ProfileList'", d->record);
    assert_string_equal(next(d, &id, &command), "InstallProfile");
    text = (const char *)mdm_plist_data(command, "Payload")->data;
    assert_non_null(strstr(text, "<string>ex.example.org</string>"));
    assert_non_null(strstr(text, "<string>CORP\\anna</string>"));
    assert_string_equal(ask(z, "SELECT mail FROM device WHERE id = '%s'", d->device), "direct");
    policy(EMAIL, "email", DAYS, NULL);
    compute(d);
    assert_string_equal(ask(z, "SELECT mail FROM device WHERE id = '%s'", d->device), "none");
    assert_string_equal(ask(z, "SELECT count(*) FROM message WHERE object_id = '%s' AND code = 'mail.no_policy'", d->device), "1");
    compute(d);
    assert_string_equal(noticed(d), "email_removed ");
}

static void publish(const char *id, apr_int64_t number)
{
    const mdm_policy_publish_t what = {.number = number};
    const char *made;
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_policy_publish(db, id, atoi(ask(z, "SELECT version FROM policy WHERE id = '%s'", id)), &what, &made), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
}

/* EML-05: a server that was edited reaches devices with the next publication of its policy; one that is disabled makes no account. */
static void test_direct_server(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-DIRECT");
    const char *first, *second;

    mail_server();
    policy(DIRECT, "email", PAST_PROXY, d->device);
    publish(DIRECT, 1);
    compute(d);
    first = row(d, "email", "hash");
    assert_int_equal(strlen(first), 64);
    for (const char *const *set = (const char *const[]){"host = 'new.example.org'", "domain = 'NEW'", "user_form = 'mail'", NULL}; *set; set++) {
        sql(z, "UPDATE eas_server SET %s WHERE id = '%s'", *set, SERVER);
        compute(d);
        assert_string_equal(row(d, "email", "hash"), first);
    }
    publish(DIRECT, 2);
    compute(d);
    second = row(d, "email", "hash");
    assert_int_equal(strlen(second), 64);
    assert_string_not_equal(second, first);
    sql(z, "DELETE FROM recompute");
    sql(z, "UPDATE eas_server SET enabled = 0 WHERE id = '%s'", SERVER);
    assert_string_equal(ask(z, "SELECT count(*) FROM recompute WHERE target_kind = 'device' AND target_id = '%s'", d->device), "1");
    compute(d);
    assert_string_equal(row(d, "email", "hash"), "");
    sql(z, "UPDATE eas_server SET enabled = 1 WHERE id = '%s'", SERVER);
    compute(d);
    assert_string_equal(row(d, "email", "hash"), second);
    policy(DIRECT, "email", PAST_PROXY, NULL);
}

/* EML-03, EML-04: who has just enrolled hears that there is no mail, where others have it; an agent's mail app needs its settings. */
static void test_mail_news(void **state)
{
    phone_t *d[4] = {dev_enrolled(z, "UDID-NEWS0"), dev_enrolled(z, "UDID-NEWS1"), dev_enrolled(z, "UDID-NEWS2"), dev_enrolled(z, "UDID-NEWS3")};

    sql(z, "DELETE FROM eas_server_source");
    sql(z, "DELETE FROM eas_server");
    sql(z, "DELETE FROM notice");
    for (int i = 0; i < 4; i++) {
        if (i == 1) {
            mail_server();
        }
        if (i == 2) {
            sql(z, "UPDATE device SET enrolled_ms = 1000 WHERE id = '%s'", d[i]->device);
        }
        if (i == 3) {
            sql(z, "INSERT INTO source_record (id, device_id, kind, native_id, state, first_seen_ms, last_seen_ms) VALUES ('%s', '%s', 'agent', 'a', 'enrolled', 0, 0)",
                mdm_uuid(z->t->pool), d[i]->device);
            policy(EMAIL, "email", DAYS, d[i]->device);
        }
        sql(z, "UPDATE device SET mail = '' WHERE id = '%s'", d[i]->device);
        compute(d[i]);
        compute(d[i]);
    }
    assert_string_equal(noticed(d[0]), ""); /* nobody has mail here */
    assert_string_equal(noticed(d[1]), "email_none ");
    assert_string_equal(noticed(d[2]), ""); /* not new: the zone has begun to compute it */
    assert_string_equal(noticed(d[3]), "email_settings ");
    policy(EMAIL, "email", DAYS, NULL);
}

/* EML-02: an account made by hand is there: nothing is sent before it is gone, by somebody's word or by its silence. */
static void test_by_hand(void **state)
{
    phone_t *d[2] = {dev_enrolled(z, "UDID-HAND0"), dev_enrolled(z, "UDID-HAND1")};
    mdm_db_t *db;

    mail_server();
    sql(z, "DELETE FROM notice");
    for (int i = 0; i < 2; i++) {
        mail_record(d[i]);
        policy(EMAIL, "email", DAYS, d[i]->device);
        compute(d[i]);
        assert_string_equal(row(d[i], "email", "held"), "1");
        assert_string_equal(open_commands(d[i]), "0 ");
        refresh(d[i]);
        assert_string_equal(ask(z, "SELECT count(*) FROM command WHERE record_id = '%s' AND open = 1 AND request_type = 'InstallProfile'", d[i]->record), "0");
        assert_string_equal(ask(z, "SELECT count(*) FROM message WHERE object_id = '%s' AND code = 'mail.by_hand'", d[i]->device), "1");
        compute(d[i]);
        assert_string_equal(noticed(d[i]), "email_held "); /* once */
    }
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_delivery_release(db, d[0]->device), APR_SUCCESS);
    assert_int_equal(mdm_delivery_release(db, d[0]->device), MDM_ECONFLICT);
    assert_int_equal(mdm_db_end(db, APR_SUCCESS), APR_SUCCESS);
    mdm_db_close(db);
    assert_true(atoi(ask(z, "SELECT count(*) FROM command WHERE record_id = '%s' AND open = 1 AND request_type = 'InstallProfile'", d[0]->record)) == 1);
    tidy();
    assert_string_equal(row(d[1], "email", "held"), "1");
    z->t->now += apr_time_from_sec(3 * 3600);
    tidy();
    assert_string_equal(row(d[1], "email", "held"), "2");
    assert_true(atoi(ask(z, "SELECT count(*) FROM command WHERE record_id = '%s' AND open = 1 AND request_type = 'InstallProfile'", d[1]->record)) == 1);
}

/* POL-07: the mail app's document, its revision for the cache, its acknowledgement. */
static void test_mail_app(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-EAS");
    mdm_eas_policy_t p;
    apr_uint32_t rev, again;
    mdm_db_t *db;

    mail_record(d);
    policy(SECURITY, "security", PIN(6), d->device);
    compute(d);
    assert_string_equal(ask(z, "SELECT state FROM delivery WHERE device_id = '%s' AND type = 'security' AND channel = 'eas'", d->device), "pending");
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_delivery_eas(db, d->device, 141, &p, &rev), APR_SUCCESS);
    assert_int_equal(rev, mdm_delivery_rev(ask(z, "SELECT hash FROM delivery WHERE device_id = '%s' AND type = 'security' AND channel = 'eas'", d->device)));
    assert_true(rev != 0);
    assert_int_equal(mdm_delivery_eas_said(db, d->device, rev + 1, NULL), APR_SUCCESS); /* an old one */
    assert_string_equal(ask(z, "SELECT state FROM delivery WHERE device_id = '%s' AND type = 'security' AND channel = 'eas'", d->device), "pending");
    assert_int_equal(mdm_delivery_eas_said(db, d->device, rev, mdm_said(z->t->pool, "said_mail_app_part", NULL)), APR_SUCCESS);
    assert_string_equal(ask(z, "SELECT compliance FROM device WHERE id = '%s'", d->device), "noncompliant");
    assert_int_equal(mdm_delivery_eas_said(db, d->device, rev, NULL), APR_SUCCESS);
    assert_string_equal(ask(z, "SELECT state FROM delivery WHERE device_id = '%s' AND type = 'security' AND channel = 'eas'", d->device), "applied");
    mdm_db_close(db);
    policy(SECURITY, "security", PIN(8), d->device);
    compute(d);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_delivery_eas(db, d->device, 141, &p, &again), APR_SUCCESS);
    assert_int_not_equal(again, rev);
    mdm_db_close(db);
    assert_string_equal(ask(z, "SELECT state FROM delivery WHERE device_id = '%s' AND type = 'security' AND channel = 'eas'", d->device), "pending");
}

/* What marks are left, and nothing else: as the job does it. */
static void follow(phone_t *d)
{
    mdm_db_t *db;

    assert_string_not_equal(ask(z, "SELECT count(*) FROM recompute WHERE target_id = '%s'", d->device), "0");
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_recompute_now(db, d->device), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
    sql(z, "DELETE FROM recompute");
    reload(z, d);
}

static const char *camera(phone_t *d)
{
    const char *body = ask(z, "SELECT s.body FROM stored_profile s JOIN delivery d ON d.hash = s.hash WHERE d.device_id = '%s' AND "
                              "d.type = 'device_control' AND d.channel = 'mdm'", d->device);
    mdm_blob_t text;
    const char *at;

    assert_int_equal(mdm_unb64(z->t->pool, body, strlen(body), &text), APR_SUCCESS);
    at = strstr((const char *)text.data, "<key>allowCamera</key>");
    return !at ? "" : strncmp(at + 22 + strspn(at + 22, " \n\t"), "<true/>", 7) == 0 ? "true" : "false";
}

/* POL-07: the mail app comes to the phone, and leaves: what both know is rendered again, and the profile follows. */
static void test_other_channel_comes_and_goes(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-JOIN");
    const char *hash;

    policy(CONTROL, "device_control", "{\"apple.camera\": {\"corporate\": true, \"personal\": true}, "
                                      "\"eas.camera\": {\"corporate\": false, \"personal\": false}}", d->device);
    compute(d);
    sql(z, "DELETE FROM recompute");
    hash = row(d, "device_control", "hash");
    assert_string_equal(camera(d), "true");
    mail_record(d);
    follow(d);
    assert_string_equal(camera(d), "false");
    assert_string_not_equal(row(d, "device_control", "hash"), hash);
    assert_string_equal(open_commands(d), "2 InstallProfile");
    sql(z, "UPDATE source_record SET live = 0, state = 'left' WHERE device_id = '%s' AND kind = 'eas'", d->device);
    follow(d);
    assert_string_equal(row(d, "device_control", "hash"), hash);
    assert_string_equal(ask(z, "SELECT count(*) FROM delivery WHERE device_id = '%s' AND channel = 'eas'", d->device), "0");
}

/* POL-06: published again with the same values, moved to another policy with the same values: other results, nothing to send. */
static void test_same_values(void **state)
{
    phone_t *d = applied("UDID-SAME");
    const char *result = row(d, "security", "result_id"), *hash = row(d, "security", "hash");

    sql(z, "INSERT INTO policy_version (policy_id, number, settings, created_ms) SELECT policy_id, 2, settings, 0 FROM policy_version "
           "WHERE policy_id = '%s' AND number = 1", SECURITY);
    sql(z, "UPDATE policy SET published = 2 WHERE id = '%s'", SECURITY);
    compute(d);
    assert_string_not_equal(row(d, "security", "result_id"), result);
    assert_string_equal(row(d, "security", "hash"), hash);
    assert_string_equal(row(d, "security", "state"), "applied");
    assert_string_equal(open_commands(d), "0 ");
    sql(z, "DELETE FROM policy_version WHERE policy_id = '%s' AND number = 2", SECURITY);
    sql(z, "UPDATE policy SET published = 1 WHERE id = '%s'", SECURITY);
    policy(SECURITY, "security", PIN(6), NULL);
    policy(CONTROL "X", "security", PIN(6), d->device);
    compute(d);
    assert_string_equal(row(d, "security", "hash"), hash);
    assert_string_equal(row(d, "security", "state"), "applied");
    assert_string_equal(open_commands(d), "0 ");
    sql(z, "DELETE FROM assignment WHERE object_id = '%s'", CONTROL "X");
}

/* A full queue: what has to go is not forgotten, whether or not the device had confirmed that it is there. */
static void test_full_queue(void **state)
{
    phone_t *d = with_security("UDID-FULL");
    const char *id;

    assert_string_equal(next(d, &id, NULL), "InstallProfile");
    done(d, id); /* sent; not listed yet */
    sql(z, "UPDATE command SET open = 0, state = 'cancelled' WHERE record_id = '%s'", d->record);
    for (int i = 0; i < MDM_COMMAND_MAX_OPEN; i += 100) {
        sql(z, "INSERT INTO command (id, record_id, device_id, seq, request_type, payload, state, open, created_ms) "
               "SELECT 'full-' || (%d + n), '%s', '%s', 100000 + %d + n, 'DeviceInformation', '', 'queued', 1, 0 FROM %s", i, d->record, d->device, i,
            "(WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100) SELECT n FROM c) AS hundred");
    }
    policy(SECURITY, "security", PIN(8), d->device);
    compute(d);
    assert_string_equal(row(d, "security", "command_id"), "");
    policy(SECURITY, "security", PIN(8), NULL);
    compute(d);
    compute(d);
    assert_string_equal(row(d, "security", "state"), "pending");
    assert_string_equal(row(d, "security", "hash"), "");
    sql(z, "DELETE FROM command WHERE id LIKE 'full-%%'");
    z->t->now += apr_time_from_sec(2 * 3600);
    tidy();
    assert_string_equal(next(d, &id, NULL), "RemoveProfile");
}

/* ---------------------------------------------------------------- compliance */

static void test_compliance(void **state)
{
#define S(channel, state, more) "{\"type\": \"security\", \"channel\": \"" channel "\", \"state\": \"" state "\"" more "}"
    static const struct {
        apr_int64_t present, compliant, caps;
        const char *rows, *want, *reasons;
    } cases[] = {
        {-1, -1, -1, "[]", "unknown", ""},
        {1, 1, 3, "[]", "unknown", ""},
        {1, 0, 3, "[]", "noncompliant", "passcode "},
        {1, 1, 3, "[" S("mdm", "applied", "") "]", "compliant", ""},
        {1, 1, 3, "[" S("mdm", "sent", "") "]", "unknown", "policy_awaited "},
        {1, 1, 3, "[" S("mdm", "pending", ", \"attempts\": 1") "]", "noncompliant", "policy_missing "},
        {1, 1, 3, "[" S("mdm", "applied", "") ", " S("eas", "failed", "") "]", "noncompliant", "mail_app "},
        {1, 1, 3, "[" S("mdm", "not_applicable", "") ", " S("eas", "applied", "") "]", "compliant", ""},
        {1, 1, 1, "[" S("mdm", "applied", "") "]", "compliant", ""},
        {1, 1, 1, "[" S("mdm", "applied", ", \"encrypt\": 1") "]", "noncompliant", "encryption "},
        {0, 0, 3, "[" S("mdm", "failed", ", \"error\": \"no\"") "]", "noncompliant", "policy_failed passcode "},
        {1, 1, 3, "[{\"type\": \"email\", \"channel\": \"mdm\", \"state\": \"failed\"}]", "unknown", ""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *reasons = json_array(), *r, *rows = json_loads(cases[i].rows, 0, NULL);
        const mdm_compliance_in_t in = {cases[i].present, cases[i].compliant, cases[i].caps, rows};
        const char *said = "";
        size_t n;

        assert_string_equal(mdm_compliance(z->t->ctx, &in, reasons), cases[i].want);
        json_array_foreach(reasons, n, r) {
            said = apr_pstrcat(z->t->pool, said, json_string_value(json_object_get(r, "reason")), " ", NULL);
        }
        assert_string_equal(said, cases[i].reasons);
        json_decref(reasons);
        json_decref(rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_profile_bytes), cmocka_unit_test(test_life), cmocka_unit_test(test_drift), cmocka_unit_test(test_error),
        cmocka_unit_test(test_notnow), cmocka_unit_test(test_in_place), cmocka_unit_test(test_again), cmocka_unit_test(test_batch), cmocka_unit_test(test_account), cmocka_unit_test(test_direct_server),
        cmocka_unit_test(test_mail_news), cmocka_unit_test(test_by_hand), cmocka_unit_test(test_mail_app), cmocka_unit_test(test_compliance),
        cmocka_unit_test(test_other_channel_comes_and_goes), cmocka_unit_test(test_same_values), cmocka_unit_test(test_full_queue),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
