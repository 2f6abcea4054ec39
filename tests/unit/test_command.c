/* The command queue and the bodies of commands (IOS-05, IOS-09, DEV-14, DEV-15, SEC-04). MDM_TEST_DB chooses the engine. */
#include "apple_test.h"
#include "domain/mdm_apple_inventory.h"

static zone_t *z;
static phone_t *d;
static mdm_db_t *db;

static int setup(void **state)
{
    z = zone_make();
    d = dev_enrolled(z, "UDID-CMD");
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

static int empty(void **state)
{
    sql(z, "DELETE FROM command");
    sql(z, "DELETE FROM push");
    sql(z, "UPDATE source_record SET state = 'enrolled'");
    sql(z, "UPDATE device SET state = 'active'");
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    return 0;
}

static int closed(void **state)
{
    mdm_db_close(db);
    return 0;
}

static const char *add(const char *type, const char *key, apr_int64_t expires)
{
    mdm_command_add_t a = {.record_id = d->record, .request_type = type, .coalesce_key = key, .expires_ms = expires};
    const char *id;

    assert_int_equal(mdm_command_enqueue(db, &a, &id), APR_SUCCESS);
    return id;
}

static apr_status_t answered(const char *id, const char *state, mdm_command_done_t **done, mdm_command_offer_t **offer)
{
    mdm_command_said_t said = {.id = id, .state = state};

    return mdm_command_answer(db, d->record, &said, done, offer);
}

static const char *column(const char *id, const char *name)
{
    return ask(z, "SELECT %s FROM command WHERE id = '%s'", name, id);
}

static const char *next(int skip)
{
    mdm_command_offer_t *o;
    apr_status_t rv = mdm_command_next(db, d->record, skip, &o);

    assert_true(rv == APR_SUCCESS || APR_STATUS_IS_NOTFOUND(rv));
    return rv == APR_SUCCESS ? o->id : "";
}

/* DEV-15: order is by sequence, whatever the clock says. */
static void test_order_survives_clock(void **state)
{
    const char *one = add("DeviceLock", NULL, 0), *two;
    mdm_command_done_t *done;
    mdm_command_offer_t *offer;

    z->t->now -= apr_time_from_sec(86400);
    two = add("RestartDevice", NULL, 0);
    assert_string_equal(next(0), one);
    assert_string_equal(next(0), one); /* not answered: offered again */
    assert_int_equal(answered(one, "acknowledged", &done, &offer), APR_SUCCESS);
    assert_string_equal(done->request_type, "DeviceLock");
    assert_string_equal(offer->id, two);
    assert_int_equal(answered(one, "error", &done, &offer), APR_SUCCESS);
    assert_null(done);
    assert_string_equal(column(one, "state"), "acknowledged");
    z->t->now += apr_time_from_sec(86400);
}

/* IOS-05: a newer refresh replaces one that was not sent; a sent one stays. */
static void test_coalesce(void **state)
{
    const char *one = add("DeviceInformation", "info", 0), *two = add("DeviceInformation", "info", 0), *three;

    assert_string_equal(column(one, "state"), "superseded");
    assert_string_equal(next(0), two);
    three = add("DeviceInformation", "info", 0);
    assert_string_equal(column(two, "state"), "sent");
    assert_string_equal(column(three, "state"), "queued");
}

static void test_bounded(void **state)
{
    mdm_command_add_t a = {.record_id = d->record, .request_type = "DeviceLock"};

    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    for (int i = 0; i < MDM_COMMAND_MAX_OPEN; i++) {
        add("DeviceLock", NULL, 0);
    }
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    assert_int_equal(mdm_command_enqueue(db, &a, NULL), MDM_ECONFLICT);
    a.request_type = "EraseDevice";
    a.leaving = 1;
    assert_int_equal(mdm_command_enqueue(db, &a, NULL), APR_SUCCESS); /* a wipe always finds room */
    a.record_id = "00000000-0000-4000-8000-0000000000ff";
    assert_int_equal(mdm_command_enqueue(db, &a, NULL), APR_NOTFOUND);
}

/* DEV-14: one that is never answered lets the others pass, and is not lost. */
static void test_bad_command_blocks_nothing(void **state)
{
    const char *bad = add("DeviceLock", NULL, 0), *good = add("RestartDevice", NULL, 0);
    mdm_command_done_t *done;
    mdm_command_offer_t *offer;

    for (int i = 0; i < 5; i++) {
        assert_string_equal(next(0), bad);
    }
    assert_string_equal(next(0), good);
    assert_int_equal(answered(good, "acknowledged", &done, &offer), APR_SUCCESS);
    assert_string_equal(offer->id, bad);
}

static void test_expiry(void **state)
{
    const char *id = add("DeviceLock", NULL, mdm_now_ms(z->t->ctx) + 1000);
    int n;

    assert_string_equal(next(0), id);
    z->t->now += apr_time_from_sec(2);
    assert_string_equal(next(0), "");
    reload(z, d);
    assert_true(d->rec.flags & MDM_DEVF_QUEUED);
    assert_int_equal(mdm_command_expire(db, &n), APR_SUCCESS);
    assert_int_equal(n, 1);
    assert_string_equal(column(id, "state"), "expired");
    reload(z, d);
    assert_false(d->rec.flags & MDM_DEVF_QUEUED);
    assert_int_equal(mdm_command_expire(db, &n), APR_SUCCESS);
    assert_int_equal(n, 0);
}

/* Each command is announced, since a cache may have seen the queue empty a moment ago; several of one transaction once. */
static void test_announcements(void **state)
{
    const char *query = "SELECT count(*) FROM change WHERE kind = 'device'";
    int before = atoi(ask(z, query));

    add("DeviceLock", NULL, 0);
    add("DeviceLock", NULL, 0);
    assert_int_equal(atoi(ask(z, query)), before + 2);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_command_refresh(db, d->record), APR_SUCCESS);
    add("DeviceLock", NULL, 0);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    assert_int_equal(atoi(ask(z, query)), before + 3);
}

static void push_certificate(void)
{
    sql(z, "DELETE FROM zone_setting WHERE name LIKE 'apns.%%'");
    sql(z, "INSERT INTO zone_setting (name, value, updated_ms) VALUES ('apns.certificate', '\"x\"', 0)");
}

/* IOS-05: why a command is where it is, in one sentence, for each state that it can be in. */
static void test_why(void **state)
{
    static const struct {
        const char *command, *record, *says, *code;
    } cases[] = {
        {"state = 'queued'", "push_ok = 1", "Waiting for the device", "waiting"},
        {"state = 'queued'", "push_ok = 0", "push token", "no_token"},
        {"state = 'sent', offers = 1", "push_ok = 1", "the answer is awaited", "sent"},
        {"state = 'sent', offers = 2", "push_ok = 1", "more than once", "sent_again"},
        {"state = 'sent', offers = 5", "push_ok = 1", "other commands go before it", "sent_often"},
        {"state = 'notnow'", "push_ok = 1", "locked or busy", "notnow"},
        {"state = 'notnow', leaving = 1, refusals = 2", "state = 'leaving'", "has refused it 2 times", "refused"},
        {"state = 'queued'", "state = 'leaving'", "being unenrolled", "leaving"},
        {"state = 'queued'", "state = 'authenticated'", "begun to enrol again", "enrolling"},
        {"state = 'queued', expires_ms = 1", "push_ok = 1", "time is over", "expired"},
    };
    static const struct {
        const char *name, *value, *says, *code;
    } zone[] = {{NULL, NULL, "there is no Apple push certificate", "no_certificate"},
                {"apns.stopped", "{\"reason\": \"BadCertificate\"}", "Apple refuses the push certificate (BadCertificate)", "certificate_refused"},
                {"apns.stopped", "{}", "Waiting for the device", "waiting"}};
    const char *id = add("DeviceLock", NULL, 0);
    apr_array_header_t *list;

    push_certificate();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sql(z, "UPDATE command SET offers = 0, leaving = 0, refusals = 0, expires_ms = NULL WHERE id = '%s'", id);
        sql(z, "UPDATE source_record SET state = 'enrolled', push_ok = 1 WHERE id = '%s'", d->record);
        sql(z, "UPDATE command SET %s WHERE id = '%s'", cases[i].command, id);
        sql(z, "UPDATE source_record SET %s WHERE id = '%s'", cases[i].record, d->record);
        assert_int_equal(mdm_command_list(db, d->device, 1, &list), APR_SUCCESS);
        assert_non_null(strstr(APR_ARRAY_IDX(list, 0, mdm_command_t).why, cases[i].says));
        assert_string_equal(APR_ARRAY_IDX(list, 0, mdm_command_t).why_code, cases[i].code);
    }
    sql(z, "UPDATE command SET expires_ms = NULL, state = 'queued' WHERE id = '%s'", id);
    for (size_t i = 0; i < sizeof zone / sizeof zone[0]; i++) {
        sql(z, "DELETE FROM zone_setting WHERE name LIKE 'apns.%%'");
        if (zone[i].name) {
            push_certificate();
            sql(z, "INSERT INTO zone_setting (name, value, updated_ms) VALUES ('%s', '%s', 0)", zone[i].name, zone[i].value);
        }
        assert_int_equal(mdm_command_list(db, d->device, 1, &list), APR_SUCCESS);
        assert_non_null(strstr(APR_ARRAY_IDX(list, 0, mdm_command_t).why, zone[i].says));
        assert_string_equal(APR_ARRAY_IDX(list, 0, mdm_command_t).why_code, zone[i].code);
    }
    sql(z, "UPDATE push SET last_error = 'TooManyRequests' WHERE record_id = '%s'", d->record);
    assert_int_equal(mdm_command_list(db, d->device, 1, &list), APR_SUCCESS);
    assert_non_null(strstr(APR_ARRAY_IDX(list, 0, mdm_command_t).why, "TooManyRequests"));
    assert_string_equal(APR_ARRAY_IDX(list, 0, mdm_command_t).why_code, "push_failed");
    assert_string_equal(APR_ARRAY_IDX(list, 0, mdm_command_t).why_value, "TooManyRequests");
}

/* IOS-12: a raw command goes out as it was given, and lies sealed in the queue; nothing too long is taken. */
static void test_raw(void **state)
{
    json_t *payload = json_pack("{s:[i, b], s:{s:s}}", "Things", 1, 1, "Blob", "$data", "AAEC");
    mdm_command_add_t a = {.record_id = d->record, .request_type = "SomethingNew", .payload = payload};
    const char *id;
    mdm_command_offer_t *o;
    mdm_plist_t *root;

    assert_int_equal(mdm_command_enqueue(db, &a, NULL), MDM_EINPUT);
    a.raw = 1;
    assert_int_equal(mdm_command_enqueue(db, &a, &id), APR_SUCCESS);
    assert_null(strstr(column(id, "payload"), "Things"));
    assert_int_equal(mdm_command_next(db, d->record, 0, &o), APR_SUCCESS);
    assert_int_equal(mdm_plist_parse(z->t->ctx, o->body.data, o->body.len, &root), APR_SUCCESS);
    root = (mdm_plist_t *)mdm_plist_get(root, "Command");
    assert_string_equal(mdm_plist_str(root, "RequestType"), "SomethingNew");
    assert_int_equal(mdm_plist_get(root, "Things")->count, 2);
    assert_int_equal(mdm_plist_data(root, "Blob")->len, 3);
    json_object_set_new(payload, "Long", json_string(memset(apr_pcalloc(z->t->pool, MDM_COMMAND_MAX_BYTES + 1), 'x', MDM_COMMAND_MAX_BYTES)));
    assert_int_equal(mdm_command_enqueue(db, &a, NULL), MDM_ETOOBIG);
    json_decref(payload);
}

static void test_cancel_and_list(void **state)
{
    const char *one = add("DeviceLock", NULL, 0), *two = add("RestartDevice", NULL, 0);
    apr_array_header_t *list;
    const mdm_command_t *c;

    assert_int_equal(mdm_command_cancel(db, d->device, one), APR_SUCCESS);
    assert_int_equal(mdm_command_cancel(db, d->device, one), MDM_ECONFLICT);
    assert_int_equal(mdm_command_cancel(db, "00000000-0000-4000-8000-0000000000ff", two), APR_NOTFOUND);
    assert_string_equal(next(0), two);
    assert_int_equal(mdm_command_list(db, d->device, 10, &list), APR_SUCCESS);
    assert_int_equal(list->nelts, 2);
    c = &APR_ARRAY_IDX(list, 0, mdm_command_t);
    assert_string_equal(c->id, two);
    assert_string_equal(c->state, "sent");
    assert_non_null(c->why);
    assert_null(APR_ARRAY_IDX(list, 1, mdm_command_t).why);
    /* DEV-15: the clock went back a day between the two. */
    sql(z, "UPDATE command SET created_ms = created_ms - 86400000 WHERE id = '%s'", two);
    assert_int_equal(mdm_command_list(db, d->device, 10, &list), APR_SUCCESS);
    assert_string_equal(APR_ARRAY_IDX(list, 0, mdm_command_t).id, two);
    assert_int_equal(mdm_command_list(db, d->device, 1, &list), APR_SUCCESS);
    assert_string_equal(APR_ARRAY_IDX(list, 0, mdm_command_t).id, two);
    sql(z, "UPDATE source_record SET push_ok = 0");
    sql(z, "UPDATE command SET state = 'queued' WHERE id = '%s'", two);
    push_certificate();
    assert_int_equal(mdm_command_list(db, d->device, 1, &list), APR_SUCCESS);
    assert_int_equal(list->nelts, 1);
    assert_non_null(strstr(APR_ARRAY_IDX(list, 0, mdm_command_t).why, "push token"));
    sql(z, "UPDATE source_record SET push_ok = 1");
}

/* SEC-04: a secret payload is sealed in the database; copied to another command it does not open, and blocks nothing. */
static void test_sealed_payload(void **state)
{
    json_t *payload = json_pack("{s:{s:s}}", "Payload", "$data", "c2VjcmV0IHByb2ZpbGU=");
    mdm_command_add_t a = {.record_id = d->record, .request_type = "InstallProfile", .payload = payload, .secret = 1};
    const char *one, *two, *good;
    mdm_command_offer_t *o;
    mdm_plist_t *root;

    assert_int_equal(mdm_command_enqueue(db, &a, &one), APR_SUCCESS);
    assert_int_equal(mdm_command_enqueue(db, &a, &two), APR_SUCCESS);
    json_decref(payload);
    good = add("DeviceLock", NULL, 0);
    assert_null(strstr(column(one, "payload"), "c2VjcmV0"));
    assert_int_equal(mdm_command_next(db, d->record, 0, &o), APR_SUCCESS);
    assert_int_equal(mdm_plist_parse(z->t->ctx, o->body.data, o->body.len, &root), APR_SUCCESS);
    assert_memory_equal(mdm_plist_data(mdm_plist_get(root, "Command"), "Payload")->data, "secret profile", 14);
    sql(z, "UPDATE command SET payload = (SELECT payload FROM command WHERE id = '%s') WHERE id = '%s'", two, one);
    z->t->ctx->log = NULL; /* the error line is meant */
    assert_string_equal(next(0), two);
    sql(z, "UPDATE command SET payload = 'rubbish' WHERE id = '%s'", two);
    assert_string_equal(next(0), good);
    z->t->ctx->log = &mdm_log_stderr;
    assert_string_equal(column(one, "state"), "error");
    assert_string_equal(column(two, "state"), "error");
}

static const mdm_plist_t *body(const char *type, const char *json, apr_status_t want)
{
    json_t *payload = json ? json_loads(json, 0, NULL) : NULL;
    mdm_plist_t *root = NULL;
    mdm_blob_t out;
    apr_status_t rv = mdm_command_check(z->t->ctx, type, payload);

    if (rv == APR_SUCCESS) {
        rv = mdm_command_body(z->t->ctx, d->record, "0a0b0c0d-0000-4000-8000-00000000000f", type, payload, NULL, 0, &out);
    }
    assert_int_equal(rv, want);
    json_decref(payload);
    if (want != APR_SUCCESS) {
        return NULL;
    }
    assert_int_equal(mdm_plist_parse(z->t->ctx, out.data, out.len, &root), APR_SUCCESS);
    assert_string_equal(mdm_plist_str(root, "CommandUUID"), "0A0B0C0D-0000-4000-8000-00000000000F");
    assert_string_equal(mdm_plist_str(mdm_plist_get(root, "Command"), "RequestType"), type);
    return mdm_plist_get(root, "Command");
}

static apr_status_t owned(const char *type, json_t *payload, const mdm_plist_t **command)
{
    mdm_plist_t *root = NULL;
    mdm_blob_t out;
    apr_status_t rv = mdm_command_body(z->t->ctx, d->record, "0a0b0c0d-0000-4000-8000-00000000000f", type, payload, NULL, 1, &out);

    json_decref(payload);
    *command = rv == APR_SUCCESS && mdm_plist_parse(z->t->ctx, out.data, out.len, &root) == APR_SUCCESS ? mdm_plist_get(root, "Command") : NULL;
    return rv;
}

/* IOS-08: a user enrolment is asked for what is managed, for no number of the device, and is told nothing that it does not take. */
static void test_bodies_owned(void **state)
{
    static const char *const never[] = {"EraseDevice", "ClearPasscode", "Restrictions", "EnableLostMode", "DeviceLocation", "RestartDevice"};
    const mdm_plist_t *c, *queries;
    unsigned names = 0;

    for (unsigned i = 0; i < sizeof never / sizeof never[0]; i++) {
        assert_true(mdm_command_not_owned(never[i]));
        assert_int_equal(owned(never[i], NULL, &c), MDM_ECONFLICT);
    }
    assert_false(mdm_command_not_owned("DeviceLock"));
    assert_int_equal(owned("Unheard", NULL, &c), APR_SUCCESS);
    assert_int_equal(owned("ProfileList", NULL, &c), APR_SUCCESS);
    assert_true(mdm_plist_bool(c, "ManagedOnly", 0));
    assert_int_equal(owned("InstalledApplicationList", json_pack("{s:b}", "ManagedAppsOnly", 0), &c), APR_SUCCESS);
    assert_true(mdm_plist_bool(c, "ManagedAppsOnly", 0));
    assert_int_equal(owned("DeviceInformation", json_pack("{s:[s]}", "Queries", "UDID"), &c), APR_SUCCESS);
    queries = mdm_plist_get(c, "Queries");
    for (const mdm_plist_t *q = queries->child; q; q = q->next) {
        assert_false(mdm_apple_query_hidden(q->str));
        names += !strcmp(q->str, "DeviceName") || !strcmp(q->str, "EASDeviceIdentifier");
    }
    assert_int_equal(names, 2);
    assert_int_equal(owned("DeviceInformation", json_pack("{s:[s,s]}", "Queries", "IMEI", "OSVersion"), &c), APR_SUCCESS);
    assert_int_equal(mdm_plist_get(c, "Queries")->count, 1);
}

/* IOS-09: every command of the table with its keys; others are refused by name. */
static void test_bodies(void **state)
{
    static const char *const bare[] = {"SecurityInfo", "InstalledApplicationList", "ManagedApplicationList", "ProfileList",
                                       "CertificateList", "Restrictions", "DeviceLock", "EraseDevice", "RestartDevice",
                                       "ShutDownDevice", "DisableLostMode", "DeviceLocation", "ProvisioningProfileList"};
    const mdm_plist_t *c;
    int services = 0;

    for (size_t i = 0; i < sizeof bare / sizeof bare[0]; i++) {
        c = body(bare[i], NULL, APR_SUCCESS);
        assert_int_equal(c->count, 1);
    }
    c = body("DeviceInformation", NULL, APR_SUCCESS);
    for (const mdm_plist_t *q = mdm_plist_get(c, "Queries")->child; q; q = q->next) {
        services += !strcmp(q->str, "ServiceSubscriptions") || !strcmp(q->str, "EASDeviceIdentifier");
    }
    assert_int_equal(services, 2);
    c = body("DeviceInformation", "{\"Queries\": [\"UDID\"]}", APR_SUCCESS);
    assert_int_equal(mdm_plist_get(c, "Queries")->count, 1);
    c = body("DeviceLock", "{\"Message\": \"<Come> & back\", \"PhoneNumber\": \"+1\"}", APR_SUCCESS);
    assert_string_equal(mdm_plist_str(c, "Message"), "<Come> & back");
    c = body("Settings", "{\"Settings\": [{\"Item\": \"DeviceName\", \"DeviceName\": \"x\"}]}", APR_SUCCESS);
    assert_string_equal(mdm_plist_str(mdm_plist_get(c, "Settings")->child, "Item"), "DeviceName");
    c = body("EraseDevice", "{\"PreserveDataPlan\": true}", APR_SUCCESS);
    assert_int_equal(mdm_plist_bool(c, "PreserveDataPlan", 0), 1);
    body("RemoveProfile", NULL, MDM_EINPUT);
    body("RemoveProfile", "{\"Identifier\": \"\"}", MDM_EINPUT);
    body("RemoveProfile", "{\"Identifier\": 1}", MDM_EINPUT);
    body("InstallProfile", "{\"Payload\": \"text\"}", MDM_EINPUT);
    body("DeviceLock", "{\"RequestType\": \"EraseDevice\"}", MDM_EINPUT);
    body("DeviceLock", "[]", MDM_EINPUT);
    body("DeviceLock", "{\"Message\": null}", MDM_EINPUT);
    body("DeviceInformation", "{\"Queries\": []}", MDM_EINPUT);
    body("DeviceInformation", "{\"Queries\": [1]}", MDM_EINPUT);
    body("EnableLostMode", NULL, MDM_EINPUT);
    body("EnableLostMode", "{\"Footnote\": \"Call us\"}", APR_SUCCESS);
    body("InstallApplication", "{\"ManagementFlags\": 1}", MDM_EINPUT);
    body("InstallApplication", "{\"iTunesStoreID\": 1, \"Identifier\": \"a.b\"}", MDM_EINPUT);
    body("InstallApplication", "{\"ManifestURL\": \"http://x/\"}", MDM_EINPUT);
    body("InstallApplication", "{\"iTunesStoreID\": 361309726, \"ChangeManagementState\": \"Managed\"}", APR_SUCCESS);
    body("InviteToProgram", "{\"ProgramID\": \"com.apple.cloudvpp\", \"InvitationURL\": \"https://x/\"}", APR_SUCCESS);
    body("Settings", "{\"Settings\": [{\"Item\": \"Nonsense\"}]}", MDM_EINPUT);
    body("Settings", "{\"Settings\": []}", MDM_EINPUT);
    body("EraseDevice", "{\"ReturnToService\": {\"Enabled\": true, \"WiFiProfileData\": {\"$data\": \"AAEC\"}}, \"PIN\": \"123456\"}", APR_SUCCESS);
    body("EraseDevice", "{\"ReturnToService\": {\"$data\": \"AAEC\"}}", MDM_EINPUT);
    body("InstallProfile", "{\"Payload\": {\"$data\": \"no base64!\"}}", MDM_EINPUT);
    body("FormatTheMoon", NULL, MDM_EINPUT);
    body("ClearPasscode", NULL, MDM_ECONFLICT); /* no unlock token known */
}

/* The unlock token is opened when the command is sent, and never lies in the queue. */
static void test_clear_passcode(void **state)
{
    const char *id = add("ClearPasscode", NULL, 0);
    mdm_command_offer_t *o;
    mdm_plist_t *root;

    assert_string_equal(column(id, "payload"), "{}");
    assert_int_equal(mdm_command_next(db, d->record, 0, &o), APR_SUCCESS);
    assert_int_equal(mdm_plist_parse(z->t->ctx, o->body.data, o->body.len, &root), APR_SUCCESS);
    assert_memory_equal(mdm_plist_data(mdm_plist_get(root, "Command"), "UnlockToken")->data, "unlock-me", 9);
}

#define T(f) cmocka_unit_test_setup_teardown(f, empty, closed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_order_survives_clock), T(test_coalesce), T(test_bounded), T(test_bad_command_blocks_nothing), T(test_expiry),
        T(test_announcements), T(test_why), T(test_raw), T(test_cancel_and_list), T(test_sealed_payload), T(test_bodies), T(test_bodies_owned), T(test_clear_passcode),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
