/* Mail clients: the server of a person's mail (EAS-01), verdicts, first contact, certain matches, finishing, leaving (GATE-01, -02, -05, MAT-01, -03, -07..09, POR-05, ENR-08, R17).
 * MDM_TEST_DB chooses the engine. */
#include "mail_test.h"

#include <apr_thread_proc.h>
#include "domain/mdm_apple_inventory.h"
#include "domain/mdm_device.h"
#include "domain/mdm_eas.h"
#include "domain/mdm_eas_home.h"
#include "domain/mdm_eas_server.h"

#define IPHONE "Apple-iPhone10C5/1606.250"

static void policy(const char *key_and_value, const char *now)
{
    sql(z, "UPDATE policy_version SET settings = REPLACE(settings, '%s', '%s')", key_and_value, now);
}

static apr_status_t contact_as(const char *person, const char *device_id, const char *type, const char *agent)
{
    mdm_eas_client_t c = {.person_id = person, .device_id = device_id, .device_type = type, .user_agent = agent, .version = 141};

    z->t->ctx->fail_text = NULL;
    return mdm_eas_first_contact(z->t->ctx, &c);
}

static apr_status_t contact(const char *device_id)
{
    return contact_as(z->person->id, device_id, "iPhone", IPHONE);
}

/* A field of the live mail record of (person, DeviceId). */
static const char *record_as(const char *person, const char *device_id, const char *column)
{
    return ask(z, "SELECT %s FROM source_record WHERE kind = 'eas' AND live = 1 AND person_id = '%s' AND native_id = '%s'", column, person,
               device_id);
}

static const char *record(const char *device_id, const char *column)
{
    return record_as(z->person->id, device_id, column);
}

static const char *dev(const char *id, const char *column)
{
    return ask(z, "SELECT %s FROM device WHERE id = '%s'", column, id);
}

static const char *count(const char *from_where)
{
    return ask(z, "SELECT COUNT(*) FROM %s", from_where);
}

/* The record as the cache has it. */
static mdm_eas_verdict_e verdict_as(const char *person, const char *device_id)
{
    static const char *const states[] = {"", "pending", "active", "wipe_pending", "retired", "blocked", "removed"};
    const char *state = record_as(person, device_id, "state"), *device = record_as(person, device_id, "device_id");
    mdm_devrec_t rec = {.kind = MDM_KIND_EAS, .flags = MDM_DEVF_LINKED};

    if (!*state) {
        return mdm_eas_decide(NULL);
    }
    rec.flags |= strcmp(state, "enrolled") ? 0 : MDM_DEVF_ENROLLED;
    rec.flags |= strcmp(state, "leaving") ? 0 : MDM_DEVF_ENROLLED | MDM_DEVF_LEAVING;
    for (rec.state = 1; strcmp(states[rec.state], dev(device, "state")); rec.state++) {
    }
    return mdm_eas_decide(&rec);
}

static const char *verdict(const char *device_id)
{
    return mdm_eas_verdict_text(verdict_as(z->person->id, device_id));
}

/* One call in a transaction. */
static apr_status_t complete(const char *device, const char *ownership, const char **final)
{
    mdm_db_t *db;
    apr_status_t rv;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    rv = mdm_db_begin(db);
    rv = rv == APR_SUCCESS ? mdm_eas_complete(db, z->person->id, device, ownership, final) : rv;
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

static apr_status_t with(const char *device, apr_status_t (*fn)(mdm_db_t *, const char *, const char *))
{
    mdm_db_t *db;
    apr_status_t rv;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    rv = mdm_db_begin(db);
    rv = rv == APR_SUCCESS ? fn(db, device, "test") : rv;
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

/* The phone answers DeviceInformation with this EASDeviceIdentifier; the statements that it took. */
static apr_uint64_t tells(const phone_t *d, const char *easid)
{
    mdm_plist_t *m = mdm_plist_dict(z->t->pool), *q = mdm_plist_add_dict(z->t->pool, m, "QueryResponses");
    apr_uint64_t before;
    mdm_db_t *db;

    mdm_plist_add_str(z->t->pool, q, "EASDeviceIdentifier", easid);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    before = z->t->statements;
    assert_int_equal(mdm_apple_absorb(db, d->device, "DeviceInformation", m), APR_SUCCESS);
    before = z->t->statements - before;
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
    return before;
}

static const char *message_on(const char *device)
{
    return ask(z, "SELECT text FROM message WHERE object_id = '%s' AND code = 'eas.second_person'", device);
}

/* ---------------------------------------------------------------- pure */

static void test_verdicts(void **state)
{
    const struct {
        mdm_device_state_e device;
        apr_uint32_t flags;
        mdm_eas_verdict_e want;
    } all[] = {{MDM_DEV_PENDING, 0, MDM_EAS_PENDING},
               {MDM_DEV_PENDING, MDM_DEVF_ENROLLED, MDM_EAS_PENDING},
               {MDM_DEV_ACTIVE, MDM_DEVF_ENROLLED, MDM_EAS_ALLOW},
               {MDM_DEV_ACTIVE, 0, MDM_EAS_UNKNOWN},
               {MDM_DEV_ACTIVE, MDM_DEVF_ENROLLED | MDM_DEVF_EXPELLED, MDM_EAS_BLOCKED},
               {MDM_DEV_ACTIVE, MDM_DEVF_ENROLLED | MDM_DEVF_LEAVING, MDM_EAS_WIPE},
               {MDM_DEV_WIPE_PENDING, MDM_DEVF_ENROLLED | MDM_DEVF_LEAVING, MDM_EAS_WIPE},
               {MDM_DEV_WIPE_PENDING, MDM_DEVF_ENROLLED, MDM_EAS_BLOCKED},
               {MDM_DEV_RETIRED, 0, MDM_EAS_BLOCKED},
               {MDM_DEV_RETIRED, MDM_DEVF_ENROLLED, MDM_EAS_BLOCKED},
               {MDM_DEV_BLOCKED, MDM_DEVF_ENROLLED, MDM_EAS_BLOCKED},
               {MDM_DEV_REMOVED, 0, MDM_EAS_UNKNOWN},
               {MDM_DEV_ACTIVE, MDM_DEVF_ENROLLED | MDM_DEVF_SERVER_ONLY, MDM_EAS_SERVER_ONLY},
               {MDM_DEV_ACTIVE, MDM_DEVF_SERVER_ONLY, MDM_EAS_UNKNOWN},
               {MDM_DEV_BLOCKED, MDM_DEVF_ENROLLED | MDM_DEVF_SERVER_ONLY, MDM_EAS_BLOCKED},
               {0, MDM_DEVF_ENROLLED, MDM_EAS_BLOCKED}};
    mdm_devrec_t rec = {.kind = MDM_KIND_MDM, .state = MDM_DEV_ACTIVE, .flags = MDM_DEVF_ENROLLED};

    assert_int_equal(mdm_eas_decide(NULL), MDM_EAS_UNKNOWN);
    assert_int_equal(mdm_eas_decide(&rec), MDM_EAS_BLOCKED); /* another kind of record never opens mail */
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        rec = (mdm_devrec_t){.kind = MDM_KIND_EAS, .state = all[i].device, .flags = all[i].flags | MDM_DEVF_LINKED};
        assert_int_equal(mdm_eas_decide(&rec), all[i].want);
    }
    assert_string_equal(mdm_eas_verdict_text(MDM_EAS_SERVER_ONLY), "server_only");
}

static void test_classes(void **state)
{
    const struct {
        const char *type, *agent, *class, *platform;
    } all[] = {{"iPhone", IPHONE, "native", "ios"},
               {"iPad", "", "native", "ios"},
               {"SAMSUNGSMA515F", "Android-SAMSUNG-SM-A515F/101.10", "native", "android"},
               {"Android", "Android-Mail/2020.11.01.342354497.Release", "native", "android"},
               {"Android", "Nine-abc/1.0", "other", "android"},
               {"Outlook", "Outlook-iOS-Android/1.0", "outlook:ios-android", "unknown"},
               {"Outlook", "", "outlook:app", "unknown"},
               {"WindowsOutlook", "Outlook/16.0", "other", "unknown"},
               {"WP8", "MSFT-WP/8.10", "native", "windows"},
               {"BlackBerry", "RIM-Q10/10.3", "native", "blackberry"},
               {"", "", "other", "unknown"},
               {"toaster", "x", "other", "unknown"}};

    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_string_equal(mdm_eas_class(z->t->pool, all[i].type, all[i].agent), all[i].class);
        assert_string_equal(mdm_eas_platform(all[i].type, all[i].agent), all[i].platform);
    }
}

static void test_hardware(void **state)
{
    const struct {
        const char *type, *agent, *product, *model, *build;
    } all[] = {{"iPhone", IPHONE, "iPhone10,5", "", "16F250"},
               {"iPad", "Apple-iPad1C1/902.206", "iPad1,1", "", "9B206"},
               {"iPhone", "Apple-iPhone3C1/508.01100001", "iPhone3,1", "", "5H11a"},
               {"iPhone", "Apple-iPhone14C5/2003.503200005", "iPhone14,5", "", "20C5032e"},
               {"iPhone", "Apple-iPhone14C5/nonsense", "iPhone14,5", "", ""},
               {"iPhone", "Apple-iPhone14C5/9999.99999999999999999999", "iPhone14,5", "", ""},
               {"iPhone", "Apple-iPhone", "", "iPhone", ""},
               {"SAMSUNG", "Android-SAMSUNG-SM-A515F/101.10", "", "SM-A515F", ""},
               {"SAMSUNG", "SAMSUNG-SGH-I317M/100.40102", "", "SGH-I317M", ""},
               {"SAMSUNG", "SAMSUNG GT-S5830/100.20303", "", "GT-S5830", ""},
               {"Android", "Android/5.0.1-EAS-2.0", "", "Android", ""},
               {"", "", "", "", ""}};

    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        mdm_eas_hardware_t hw = mdm_eas_hardware(z->t->pool, all[i].type, all[i].agent);

        assert_string_equal(hw.product, all[i].product);
        assert_string_equal(hw.model, all[i].model);
        assert_string_equal(hw.build, all[i].build);
    }
    assert_string_equal(mdm_eas_key(z->t->pool, "leddjvc7gt7886jh9n4t9lr1q0"), "LEDDJVC7GT7886JH9N4T9LR1Q0");
    assert_null(mdm_eas_key(z->t->pool, "short"));
    assert_null(mdm_eas_key(z->t->pool, NULL));
}

/* ---------------------------------------------------------------- first contact */

static void test_first_contact_makes_one_pending_device(void **state)
{
    const char *id;

    assert_string_equal(verdict("DEVICEID0001"), "unknown");
    assert_int_equal(contact("DEVICEID0001"), APR_SUCCESS);
    assert_int_equal(contact("DEVICEID0001"), APR_SUCCESS);
    assert_string_equal(verdict("DEVICEID0001"), "pending");
    id = record("DEVICEID0001", "device_id");
    assert_string_equal(dev(id, "state"), "pending");
    assert_string_equal(dev(id, "mode"), "eas");
    assert_string_equal(dev(id, "level"), "email_only");
    assert_string_equal(dev(id, "name"), "iPhone Anna Example");
    assert_string_equal(dev(id, "product"), "iPhone10,5");
    assert_string_equal(dev(id, "platform"), "ios");
    assert_string_equal(dev(id, "eas_device_id"), "DEVICEID0001");
    assert_string_equal(ask(z, "SELECT f.kind FROM device d JOIN folder f ON f.id = d.folder_id WHERE d.id = '%s'", id), "pending");
    assert_string_equal(record("DEVICEID0001", "class"), "native");
    assert_non_null(strstr(record("DEVICEID0001", "attrs"), "\"14.1\""));
    assert_string_equal(count("device"), "1");
    assert_string_equal(count("audit WHERE action = 'eas.first_contact'"), "1");
    assert_string_equal(count("device_event WHERE kind = 'mail.first'"), "1");
    assert_int_equal(contact_as(z->person->id, "", "iPhone", ""), MDM_EINPUT);
    assert_int_equal(contact_as(mdm_uuid(z->t->pool), "DEVICEID0002", "iPhone", ""), MDM_EDENIED);
}

static void test_hostile_client_texts(void **state)
{
    const char *id;

    assert_int_equal(contact_as(z->person->id, "HOSTILE00001", "<b>\xe2\x80\xae'\"\x01\xff", "x'; DROP TABLE device; --/\r\n1"), APR_SUCCESS);
    id = record("HOSTILE00001", "device_id");
    assert_string_equal(dev(id, "state"), "pending");
    assert_string_equal(record("HOSTILE00001", "class"), "other:1");
    assert_null(strchr(dev(id, "name"), '\x01'));
}

/* GATE-02, ENR-01, ENR-03: each refusal has its sentence, stores nothing, and is audited once a day. */
static void test_refusals(void **state)
{
    static const char *const cases[][3] = {
        {"\"eas\":true", "\"eas\":false", "does not allow this kind of device"},
        {"\"level\":\"choose\"", "\"level\":\"managed\"", "does not allow this kind of enrolment"},
        {"\"eas\":\"12.1\"", "\"eas\":\"16.1\"", "too old"},
        {"\"object_kind\":1", "", "stands for no device"}};

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *id = i == 3 ? "VALIDATE" : apr_psprintf(z->t->pool, "REFUSED%05u", i);

        policy(cases[i][0], cases[i][1]);
        for (int again = 0; again < 3; again++) {
            assert_int_equal(contact(id), MDM_EDENIED);
            assert_non_null(strstr(z->t->ctx->fail_text, cases[i][2]));
        }
        policy(cases[i][1], cases[i][0]);
        assert_string_equal(count(apr_psprintf(z->t->pool, "audit WHERE object_name = '%s' AND outcome = 'refused'", id)), "1");
        assert_string_equal(verdict(id), "unknown");
    }
    assert_string_equal(count("device"), "0");
    z->t->now += apr_time_from_sec(25 * 3600);
    assert_int_equal(contact("VALIDATE"), MDM_EDENIED);
    assert_string_equal(count("audit WHERE object_name = 'VALIDATE'"), "2");
    for (int i = 0; i < 30; i++) { /* invented DeviceIds don't fill the audit log either */
        policy("\"eas\":true", "\"eas\":false");
        assert_int_equal(contact(apr_psprintf(z->t->pool, "INVENTED%04d", i)), MDM_EDENIED);
    }
    assert_string_equal(count("audit WHERE object_name LIKE 'INVENTED%'"), "19");
    sql(z, "DELETE FROM assignment");
    assert_int_equal(contact("NOPOLICY0001"), MDM_EDENIED);
    assert_non_null(strstr(z->t->ctx->fail_text, "may not enrol"));
}

static void test_limits(void **state)
{
    const char *id;

    policy("\"max_devices\":0", "\"max_devices\":2");
    assert_int_equal(contact("LIMITED00001"), APR_SUCCESS);
    assert_int_equal(contact("LIMITED00002"), APR_SUCCESS);
    assert_int_equal(contact("LIMITED00003"), MDM_EDENIED);
    assert_non_null(strstr(z->t->ctx->fail_text, "(2)"));
    id = record("LIMITED00001", "device_id");
    assert_int_equal(complete(id, "personal", NULL), APR_SUCCESS); /* it is one of the two */
    policy("\"max_devices\":2", "\"max_devices\":1");
    assert_int_equal(complete(record("LIMITED00002", "device_id"), "personal", NULL), MDM_EDENIED);
    policy("\"max_devices\":1", "\"max_devices\":0");
    for (int i = 0; i < MDM_EAS_PENDING_MAX - 1; i++) {
        assert_int_equal(contact(apr_psprintf(z->t->pool, "UNFINISHED%02d", i)), APR_SUCCESS);
    }
    assert_int_equal(contact("UNFINISHED99"), MDM_EDENIED);
}

/* GATE-05, R17: another person's DeviceId opens nothing, and both sides are told apart. */
static void test_second_person(void **state)
{
    const char *mine, *his;

    assert_int_equal(contact("SHARED000001"), APR_SUCCESS);
    mine = record("SHARED000001", "device_id");
    assert_int_equal(complete(mine, "personal", NULL), APR_SUCCESS);
    assert_string_equal(message_on(mine), "");
    assert_int_equal(contact_as(ben, "SHARED000001", "iPhone", IPHONE), APR_SUCCESS);
    his = record_as(ben, "SHARED000001", "device_id");
    assert_string_not_equal(mine, his);
    assert_string_equal(dev(his, "state"), "pending");
    assert_int_equal(verdict_as(ben, "SHARED000001"), MDM_EAS_PENDING);
    assert_string_equal(verdict("SHARED000001"), "allow");
    assert_non_null(strstr(message_on(mine), "ben"));
    assert_int_equal(complete(his, "personal", NULL), APR_NOTFOUND); /* by anna */
    assert_int_equal(with(mine, mdm_device_retire), APR_SUCCESS);
    assert_int_equal(verdict_as(ben, "SHARED000001"), MDM_EAS_PENDING);
    sql(z, "DELETE FROM message");
    sql(z, "DELETE FROM assignment");
    assert_int_equal(contact_as(ben, "SHARED000001", "iPhone", IPHONE), APR_SUCCESS); /* known: nothing happens */
    sql(z, "DELETE FROM device WHERE id = '%s'", his);
    assert_int_equal(contact_as(ben, "SHARED000001", "iPhone", IPHONE), MDM_EDENIED);
    assert_non_null(strstr(message_on(mine), "ben")); /* the attempt is told, too */
}

/* ---------------------------------------------------------------- certain matches */

static void test_match_by_told_id(void **state)
{
    phone_t *d = dev_enrolled(z, "TOLD");

    assert_true(tells(d, "leddjvc7gt7886jh9n4t9lr1q0") > 1);
    assert_int_equal(tells(d, "leddjvc7gt7886jh9n4t9lr1q0"), 1); /* known: one statement, as ever (PRF-02) */
    assert_int_equal(contact("LEDDJVC7GT7886JH9N4T9LR1Q0"), APR_SUCCESS);
    assert_string_equal(record("LEDDJVC7GT7886JH9N4T9LR1Q0", "device_id"), d->device);
    assert_string_equal(verdict("LEDDJVC7GT7886JH9N4T9LR1Q0"), "allow");
    assert_string_equal(dev(d->device, "mode"), "ios_mdm_eas");
    assert_non_null(strstr(record("LEDDJVC7GT7886JH9N4T9LR1Q0", "match_rule"), "\"rule\":\"easid\""));
    assert_string_equal(count("device"), "1");
    assert_string_equal(count("audit WHERE action = 'device.match'"), "1");
    /* The same id from somebody else's account stays outside. */
    assert_int_equal(contact_as(ben, "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", IPHONE), APR_SUCCESS);
    assert_int_equal(verdict_as(ben, "LEDDJVC7GT7886JH9N4T9LR1Q0"), MDM_EAS_PENDING);
    assert_non_null(strstr(message_on(d->device), "ben"));
}

static void test_match_by_serial(void **state)
{
    phone_t *d = dev_enrolled(z, "OLD1");

    policy("\"level\":\"choose\"", "\"level\":\"managed\""); /* mail of a managed device is no e-mail-only enrolment */
    assert_int_equal(contact("APPLSNOLD1"), APR_SUCCESS);
    assert_string_equal(record("APPLSNOLD1", "device_id"), d->device);
    assert_string_equal(verdict("APPLSNOLD1"), "allow");
    assert_int_equal(contact("APPLSNOLD2"), MDM_EDENIED);
}

/* MAT-09: what contradicts is not joined. */
static void test_no_match(void **state)
{
    phone_t *d = dev_enrolled(z, "NOPE1");

    tells(d, "TOLDNOPE00001");
    assert_int_equal(contact("APPLSNNOPE1"), APR_SUCCESS); /* the device has told another id */
    assert_string_equal(verdict("APPLSNNOPE1"), "pending");
    assert_int_equal(contact_as(z->person->id, "TOLDNOPE00001", "Android", "Android/9"), APR_SUCCESS); /* another platform */
    assert_string_equal(verdict("TOLDNOPE00001"), "pending");
    tells(d, "TOLDNOPE00002");
    assert_int_equal(contact_as(z->person->id, "TOLDNOPE00002", "Outlook", "Outlook-iOS-Android/1.0"), APR_SUCCESS); /* another client */
    assert_string_equal(verdict("TOLDNOPE00002"), "pending");
    assert_string_equal(dev(d->device, "mode"), "ios_mdm");
    tells(d, "TOLDNOPE00001"); /* nor later */
    tells(d, "TOLDNOPE00002");
    assert_string_equal(dev(d->device, "mode"), "ios_mdm");
    sql(z, "UPDATE device SET person_id = '%s' WHERE id = '%s'", ben, d->device);
    tells(d, "TOLDNOPE00003");
    assert_int_equal(contact("TOLDNOPE00003"), APR_SUCCESS); /* another owner */
    assert_string_equal(verdict("TOLDNOPE00003"), "pending");
}

/* MAT-08: the mail was there first; its own object goes when the device tells who it is. */
static void test_merge_later(void **state)
{
    const char *id, *managed;
    phone_t *d;

    assert_int_equal(contact("MERGED000001"), APR_SUCCESS);
    id = record("MERGED000001", "device_id");
    assert_int_equal(contact_as(ben, "MERGED000001", "iPhone", IPHONE), APR_SUCCESS);
    d = dev_enrolled(z, "MERGE1");
    managed = dev(d->device, "name");
    assert_string_equal(verdict("MERGED000001"), "pending");
    tells(d, "MERGED000001");
    assert_string_equal(record("MERGED000001", "device_id"), d->device);
    assert_string_equal(verdict("MERGED000001"), "allow");
    assert_int_equal(verdict_as(ben, "MERGED000001"), MDM_EAS_PENDING); /* never across people */
    assert_string_equal(dev(id, "id"), "");
    assert_string_equal(dev(d->device, "mode"), "ios_mdm_eas");
    assert_string_equal(dev(d->device, "name"), managed);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM device_event WHERE device_id = '%s' AND kind IN ('mail.first', 'mail.matched')",
                            d->device), "2");
    assert_non_null(strstr(message_on(d->device), "ben"));
    assert_non_null(strstr(ask(z, "SELECT detail FROM audit WHERE action = 'device.match'"), "\"merged\":\"iPhone Anna Example\""));
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM change WHERE kind = 'device' AND key = '%s'", id), "2"); /* made, gone */
}

/* The derived id needs no answer: it joins as soon as the channel is up. */
static void test_merge_at_enrolment(void **state)
{
    phone_t *d;

    assert_int_equal(contact("APPLSNEARLY"), APR_SUCCESS);
    assert_string_equal(verdict("APPLSNEARLY"), "pending");
    d = dev_enrolled(z, "EARLY");
    assert_string_equal(record("APPLSNEARLY", "device_id"), d->device);
    assert_string_equal(verdict("APPLSNEARLY"), "allow");
    assert_string_equal(dev(d->device, "mode"), "ios_mdm_eas");
    assert_string_equal(count("device"), "1");
}

/* MAT-07: a mail device in use that becomes a managed one keeps name, folder, groups and assignments. */
static void test_merge_keeps_what_was_in_use(void **state)
{
    const char *id;
    phone_t *d;

    assert_int_equal(contact("INUSE0000001"), APR_SUCCESS);
    id = record("INUSE0000001", "device_id");
    assert_int_equal(complete(id, "corporate", NULL), APR_SUCCESS);
    sql(z, "INSERT INTO folder (id, parent_id, name) VALUES ('f1', '00000000-0000-4000-8000-000000000001', 'Sales')");
    sql(z, "UPDATE device SET name = 'Boss', name_key = 'boss', folder_id = 'f1', notes = 'careful' WHERE id = '%s'", id);
    sql(z, "INSERT INTO device_group (id, name, kind) VALUES ('g1', 'VIP', 'static')");
    sql(z, "INSERT INTO device_group_member (group_id, device_id) VALUES ('g1', '%s')", id);
    sql(z, "INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, created_ms) "
           "VALUES ('a1', 'policy', 'p1', 'security', 'device', '%s', 0)", id);
    d = dev_enrolled(z, "INUSE");
    tells(d, "INUSE0000001");
    assert_string_equal(dev(id, "id"), "");
    assert_string_equal(dev(d->device, "name"), "Boss");
    assert_string_equal(dev(d->device, "folder_id"), "f1");
    assert_string_equal(dev(d->device, "notes"), "careful");
    assert_string_equal(ask(z, "SELECT device_id FROM device_group_member WHERE group_id = 'g1'"), d->device);
    assert_string_equal(ask(z, "SELECT target_id FROM assignment WHERE id = 'a1'"), d->device);
    assert_string_equal(verdict("INUSE0000001"), "allow");
}

static void test_merge_leaves_decisions_alone(void **state)
{
    phone_t *d = dev_enrolled(z, "DECIDED");
    const char *id;

    assert_int_equal(contact("DECIDED00001"), APR_SUCCESS);
    id = record("DECIDED00001", "device_id");
    sql(z, "UPDATE device SET state = 'blocked' WHERE id = '%s'", id);
    tells(d, "DECIDED00001");
    assert_string_equal(record("DECIDED00001", "device_id"), id);
    assert_string_equal(verdict("DECIDED00001"), "blocked");
    assert_string_equal(dev(d->device, "mode"), "ios_mdm");
}

/* After a reset the device has another DeviceId: its own word replaces the old record; a mere derivation doesn't. */
static void test_one_place_per_class(void **state)
{
    phone_t *d = dev_enrolled(z, "RESET");

    tells(d, "BEFORERESET01");
    assert_int_equal(contact("BEFORERESET01"), APR_SUCCESS);
    tells(d, "AFTERRESET001");
    assert_string_equal(verdict("BEFORERESET01"), "allow");
    assert_int_equal(contact("AFTERRESET001"), APR_SUCCESS);
    assert_string_equal(verdict("AFTERRESET001"), "allow");
    assert_string_equal(record("BEFORERESET01", "id"), ""); /* ended */
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM source_record WHERE device_id = '%s' AND kind = 'eas' AND live = 1", d->device), "1");
    d = dev_enrolled(z, "TAKEN");
    sql(z, "INSERT INTO source_record (id, device_id, person_id, kind, class, native_id, state, first_seen_ms, last_seen_ms) "
           "VALUES ('%s', '%s', '%s', 'eas', 'native', 'FIRSTCLIENT01', 'enrolled', 0, %" APR_INT64_T_FMT ")", mdm_uuid(z->t->pool), d->device, z->person->id,
        mdm_now_ms(z->t->ctx));
    assert_int_equal(contact("APPLSNTAKEN"), APR_SUCCESS);
    assert_string_equal(verdict("APPLSNTAKEN"), "pending");
    assert_string_equal(verdict("FIRSTCLIENT01"), "allow");
    d = dev_enrolled(z, "SILENT");
    sql(z, "INSERT INTO source_record (id, device_id, person_id, kind, class, native_id, state, first_seen_ms, last_seen_ms) "
           "VALUES ('%s', '%s', '%s', 'eas', 'native', 'LONGSILENT01', 'enrolled', 0, 0)", mdm_uuid(z->t->pool), d->device, z->person->id);
    assert_int_equal(contact("APPLSNSILENT"), APR_SUCCESS); /* facts 7.4: a month without a word holds no place */
    assert_string_equal(verdict("APPLSNSILENT"), "allow");
    assert_string_equal(record("LONGSILENT01", "id"), "");
}

/* ---------------------------------------------------------------- finishing */

static void test_complete(void **state)
{
    const char *id, *other;

    policy("\"name\":\"${device.model} ${user.name}\"", "\"name\":\"${user.login}-${device.model}-${device.platform}\"");
    assert_int_equal(contact("COMPLETE0001"), APR_SUCCESS);
    id = record("COMPLETE0001", "device_id");
    assert_int_equal(complete(id, "stolen", NULL), MDM_EDENIED);
    assert_int_equal(complete(mdm_uuid(z->t->pool), "personal", NULL), APR_NOTFOUND);
    assert_int_equal(complete(id, "corporate", &other), APR_SUCCESS);
    assert_string_equal(other, id);
    assert_string_equal(verdict("COMPLETE0001"), "allow");
    assert_string_equal(dev(id, "name"), "anna-iPhone-ios");
    assert_string_equal(dev(id, "name_key"), "anna-iphone-ios");
    assert_string_equal(dev(id, "ownership"), "corporate");
    assert_string_equal(dev(id, "folder_id"), "00000000-0000-4000-8000-000000000001");
    assert_string_not_equal(dev(id, "enrolled_ms"), "");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM audit WHERE action = 'device.enroll' AND object_id = '%s'", id), "1");
    assert_int_equal(complete(id, "corporate", NULL), MDM_ECONFLICT);
    assert_int_equal(contact("COMPLETE0002"), APR_SUCCESS);
    assert_int_equal(complete(record("COMPLETE0002", "device_id"), "personal", NULL), APR_SUCCESS);
    assert_string_equal(dev(record("COMPLETE0002", "device_id"), "name"), "anna-iPhone-ios (2)");
    assert_int_equal(complete(dev_enrolled(z, "MANAGED")->device, "personal", NULL), MDM_ECONFLICT);
}

static void test_complete_obeys_the_policy(void **state)
{
    const char *id;

    assert_int_equal(contact("OBEYS0000001"), APR_SUCCESS);
    id = record("OBEYS0000001", "device_id");
    policy("\"match\":{}", "\"match\":{\"ownership\":\"corporate\"}");
    assert_int_equal(complete(id, "personal", NULL), MDM_EDENIED); /* no rule fits */
    policy("\"match\":{\"ownership\":\"corporate\"}", "\"match\":{}");
    policy("\"ownership\":\"choose\"", "\"ownership\":\"corporate\"");
    assert_int_equal(complete(id, "personal", NULL), MDM_EDENIED);
    policy("\"level\":\"choose\"", "\"level\":\"managed\"");
    assert_int_equal(complete(id, "corporate", NULL), MDM_EDENIED);
    policy("\"level\":\"managed\"", "\"level\":\"email_only\"");
    assert_string_equal(verdict("OBEYS0000001"), "pending");
    assert_int_equal(complete(id, "corporate", NULL), APR_SUCCESS);
    assert_string_equal(dev(id, "name"), "iPhone Anna Example"); /* its own name is no duplicate */
}

/* An enrolment for mail only that somebody else made for the person. */
static const char *promise(const char *platform, const char *ownership, const char *serial)
{
    mdm_provision_t how = {.platform = platform, .ownership = ownership, .level = "email_only", .origin = "bulk", .expected_serial = serial};
    mdm_pending_t *e = NULL;
    const char *token;
    mdm_db_t *db;
    int made;
    apr_status_t rv;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    rv = mdm_db_begin(db);
    rv = rv == APR_SUCCESS ? mdm_pending_provision(db, z->person, &how, &e, &token, &made) : rv;
    assert_int_equal(mdm_db_end(db, rv), APR_SUCCESS);
    mdm_db_close(db);
    return apr_pstrdup(z->t->pool, e->id);
}

static const char *promise_of(const char *id, const char *column)
{
    return ask(z, "SELECT %s FROM pending_enrollment WHERE id = '%s'", column, id);
}

/* PEN-01, POR-05: the first mail app of the person uses it up and needs no further word; the next one waits as ever. */
static void test_promised_mail(void **state)
{
    const char *any = promise("", "corporate", NULL), *android = promise("android", "personal", NULL), *old = promise("ios", "personal", NULL);
    const char *other = promise("ios", "personal", "SERIAL00X"), *early = promise("ios", "personal", NULL), *id;

    sql(z, "UPDATE pending_enrollment SET expires_ms = 1 WHERE id = '%s'", old);
    sql(z, "UPDATE pending_enrollment SET valid_from_ms = expires_ms - 1 WHERE id = '%s'", early);
    sql(z, "INSERT INTO folder (id, parent_id, name) SELECT 'aaaaaaaa-0000-4000-8000-000000000001', id, 'Promised' FROM folder WHERE kind = 'root'");
    sql(z, "UPDATE pending_enrollment SET folder_id = 'aaaaaaaa-0000-4000-8000-000000000001' WHERE id = '%s'", any);
    assert_int_equal(contact("PROMISED0001"), APR_SUCCESS);
    id = record("PROMISED0001", "device_id");
    assert_string_equal(verdict("PROMISED0001"), "allow");
    assert_string_equal(dev(id, "ownership"), "corporate"); /* as it was made */
    assert_string_equal(dev(id, "folder_id"), "aaaaaaaa-0000-4000-8000-000000000001");
    assert_string_equal(promise_of(any, "state"), "completed");
    assert_string_equal(promise_of(any, "device_id"), id);
    assert_string_not_equal(promise_of(any, "finished_ms"), "");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM audit WHERE action = 'pending.complete' AND object_id = '%s'", any), "1");
    assert_string_equal(count("notice WHERE event = 'enroll_complete'"), "0");
    assert_int_equal(contact("PROMISED0002"), APR_SUCCESS);
    assert_string_equal(verdict("PROMISED0002"), "pending");
    assert_int_equal(complete(record("PROMISED0002", "device_id"), "personal", NULL), APR_SUCCESS);
    assert_string_equal(promise_of(android, "state"), "created"); /* another system */
    assert_string_equal(promise_of(old, "state"), "created");     /* too late */
    assert_string_equal(promise_of(other, "state"), "created");   /* another device */
    assert_string_equal(promise_of(early, "state"), "created");   /* not yet */
}

/* What is left to ask is asked in the portal; the enrolment is used up then, and its word on whose the device is counts. */
static void test_promised_mail_that_is_asked(void **state)
{
    const char *id, *p;

    assert_int_equal(contact_as(z->person->id, "ASKED0000001", "Something", "x"), APR_SUCCESS); /* of what system? */
    p = promise("", "corporate", NULL);
    id = record("ASKED0000001", "device_id");
    assert_string_equal(verdict("ASKED0000001"), "pending");
    assert_int_equal(complete(id, "personal", NULL), APR_SUCCESS);
    assert_string_equal(dev(id, "ownership"), "corporate");
    assert_string_equal(promise_of(p, "state"), "completed");
    assert_string_equal(promise_of(p, "device_id"), id);
    p = promise("ios", "personal", NULL);
    policy("\"match\":{}", "\"match\":{\"ownership\":\"corporate\"}"); /* no rule fits */
    assert_int_equal(contact("ASKED0000002"), APR_SUCCESS);
    assert_string_equal(verdict("ASKED0000002"), "pending");
    assert_string_equal(promise_of(p, "state"), "created");
    policy("\"match\":{\"ownership\":\"corporate\"}", "\"match\":{}");
    policy("\"manual_reconcile\":false", "\"manual_reconcile\":true");
    dev_enrolled(z, "CHOICE");
    assert_int_equal(contact("ASKED0000003"), APR_SUCCESS); /* is it the managed one? */
    assert_string_equal(verdict("ASKED0000003"), "pending");
    assert_int_equal(complete(record("ASKED0000003", "device_id"), "personal", NULL), APR_SUCCESS);
    assert_string_equal(promise_of(p, "state"), "completed");
    assert_string_equal(count("audit WHERE action = 'pending.complete'"), "2");
}

/* ---------------------------------------------------------------- leaving */

/* ENR-08, MAT-07: a retired phone stays known and refused until somebody releases it; then it continues its object. */
static void test_retire_and_return(void **state)
{
    const char *id;

    policy("\"reenroll\":\"self\"", "\"reenroll\":\"unretire\"");
    assert_int_equal(contact("RETIRED00001"), APR_SUCCESS);
    id = record("RETIRED00001", "device_id");
    assert_int_equal(complete(id, "personal", NULL), APR_SUCCESS);
    assert_int_equal(with(id, mdm_device_retire), APR_SUCCESS);
    assert_string_equal(verdict("RETIRED00001"), "blocked");
    assert_string_equal(dev(id, "mode"), "unknown");
    assert_int_equal(contact("RETIRED00001"), MDM_EDENIED); /* even if somebody asked */
    assert_int_equal(complete(id, "personal", NULL), MDM_EDENIED);
    assert_int_equal(with(id, mdm_device_unretire), APR_SUCCESS);
    assert_string_equal(verdict("RETIRED00001"), "unknown");
    assert_int_equal(contact("RETIRED00001"), APR_SUCCESS);
    assert_string_equal(verdict("RETIRED00001"), "pending");
    assert_string_equal(record("RETIRED00001", "device_id"), id);
    assert_string_equal(dev(id, "folder_id"), "00000000-0000-4000-8000-000000000001");
    sql(z, "UPDATE device SET name = 'Kept', name_key = 'kept' WHERE id = '%s'", id);
    assert_int_equal(complete(id, "personal", NULL), APR_SUCCESS);
    assert_string_equal(dev(id, "name"), "Kept");
    assert_string_equal(verdict("RETIRED00001"), "allow");
    assert_int_equal(with(id, mdm_device_delete), APR_SUCCESS);
    assert_string_equal(verdict("RETIRED00001"), "unknown");
}

static void test_retired_comes_back_as_the_policy_says(void **state)
{
    const char *id, *other;

    assert_int_equal(contact("COMEBACK0001"), APR_SUCCESS);
    id = record("COMEBACK0001", "device_id");
    assert_int_equal(complete(id, "personal", NULL), APR_SUCCESS);
    assert_int_equal(with(id, mdm_device_retire), APR_SUCCESS);
    assert_int_equal(complete(id, "personal", &other), APR_SUCCESS); /* "self" */
    assert_string_equal(other, id);
    assert_string_equal(verdict("COMEBACK0001"), "allow");
    assert_int_equal(with(id, mdm_device_retire), APR_SUCCESS);
    policy("\"reenroll\":\"self\"", "\"reenroll\":\"new\"");
    assert_int_equal(complete(id, "personal", &other), APR_SUCCESS);
    assert_string_not_equal(other, id);
    assert_string_equal(record("COMEBACK0001", "device_id"), other);
    assert_string_equal(dev(id, "state"), "retired");
    assert_string_equal(dev(other, "state"), "active");
    assert_string_equal(verdict("COMEBACK0001"), "allow");
}

static void check_out(phone_t *d)
{
    mdm_apple_answer_t *a;

    reload(z, d);
    assert_int_equal(say(z, d, message(z, d, "CheckOut"), &a, NULL), APR_SUCCESS);
}

/* Who takes the management off takes its mail along; it may come back as mail alone, on the same object. */
static void test_checkout_stops_mail(void **state)
{
    phone_t *d = dev_enrolled(z, "LEAVES");

    tells(d, "LEAVES000001");
    assert_int_equal(contact("LEAVES000001"), APR_SUCCESS);
    check_out(d);
    assert_string_equal(dev(d->device, "state"), "removed");
    assert_string_equal(dev(d->device, "mode"), "ios_mdm");
    assert_string_equal(verdict("LEAVES000001"), "unknown");
    policy("\"level\":\"choose\"", "\"level\":\"managed\"");
    assert_int_equal(contact("LEAVES000001"), MDM_EDENIED);
    policy("\"level\":\"managed\"", "\"level\":\"choose\"");
    assert_int_equal(contact("LEAVES000001"), APR_SUCCESS);
    assert_string_equal(verdict("LEAVES000001"), "pending");
    assert_string_equal(record("LEAVES000001", "device_id"), d->device);
    assert_int_equal(complete(d->device, "personal", NULL), APR_SUCCESS);
    assert_string_equal(dev(d->device, "mode"), "eas");
    assert_string_equal(verdict("LEAVES000001"), "allow");
}

/* Managed again: the same DeviceId is taken up without the person doing anything. */
static void test_managed_again_gets_its_mail_back(void **state)
{
    phone_t *d = dev_enrolled(z, "AGAIN"), *e;

    tells(d, "AGAIN0000001");
    assert_int_equal(contact("AGAIN0000001"), APR_SUCCESS);
    check_out(d);
    e = dev_enrolled(z, "AGAIN");
    assert_string_equal(e->device, d->device);
    assert_string_equal(dev(d->device, "mode"), "ios_mdm");
    assert_string_equal(verdict("AGAIN0000001"), "unknown");
    assert_int_equal(contact("AGAIN0000001"), APR_SUCCESS);
    assert_string_equal(verdict("AGAIN0000001"), "allow");
    assert_string_equal(dev(d->device, "mode"), "ios_mdm_eas");
    assert_non_null(strstr(record("AGAIN0000001", "match_rule"), "device_id"));
    check_out(e);
    e = dev_enrolled(z, "AGAIN");
    tells(e, "AGAIN0000001"); /* or the device says so before its mail does */
    assert_string_equal(verdict("AGAIN0000001"), "allow");
    check_out(e);
    e = dev_enrolled(z, "AGAIN");
    tells(e, "ERASED000001");
    assert_int_equal(contact("AGAIN0000001"), APR_SUCCESS); /* an erased phone has another id: the old one is no longer it */
    assert_string_equal(verdict("AGAIN0000001"), "pending");
    assert_string_not_equal(record("AGAIN0000001", "device_id"), d->device);
}

static apr_status_t unenrol(mdm_db_t *db, const char *device, const char *reason)
{
    return mdm_unenroll_apple(db, device, 0, 0, NULL, reason);
}

static apr_status_t unenrol_delete(mdm_db_t *db, const char *device, const char *reason)
{
    return mdm_unenroll_apple(db, device, 0, 1, NULL, reason);
}

static apr_status_t take_back(mdm_db_t *db, const char *device, const char *reason)
{
    return mdm_command_cancel(db, device, ask(z, "SELECT id FROM command WHERE device_id = '%s' AND open = 1 AND leaving = 1", device));
}

static void test_unenrolment_stops_mail_at_once(void **state)
{
    phone_t *d = dev_enrolled(z, "BYE1");

    tells(d, "BYE100000001");
    assert_int_equal(contact("BYE100000001"), APR_SUCCESS);
    assert_int_equal(with(d->device, unenrol), APR_SUCCESS);
    assert_string_equal(verdict("BYE100000001"), "blocked");
    assert_string_equal(dev(d->device, "mode"), "ios_mdm");
    assert_int_equal(with(d->device, take_back), APR_SUCCESS); /* before the device heard of it */
    assert_int_equal(contact("BYE100000001"), APR_SUCCESS);
    assert_string_equal(verdict("BYE100000001"), "allow");
    assert_string_equal(dev(d->device, "mode"), "ios_mdm_eas");
    d = dev_enrolled(z, "BYE2");
    tells(d, "BYE200000001");
    assert_int_equal(contact("BYE200000001"), APR_SUCCESS);
    assert_int_equal(with(d->device, unenrol_delete), APR_SUCCESS);
    assert_string_equal(verdict("BYE200000001"), "blocked"); /* a removal is no wipe by mail */
    d = dev_enrolled(z, "BYE3");
    tells(d, "BYE300000001");
    assert_int_equal(with(d->device, mdm_device_retire), APR_SUCCESS);
    policy("\"reenroll\":\"self\"", "\"reenroll\":\"unretire\"");
    assert_int_equal(contact("BYE300000001"), MDM_EDENIED); /* its mail comes only now: the phone is retired all the same */
    assert_non_null(strstr(z->t->ctx->fail_text, "retired"));
    policy("\"reenroll\":\"unretire\"", "\"reenroll\":\"new\"");
    assert_int_equal(contact("BYE300000001"), APR_SUCCESS);
    assert_string_not_equal(record("BYE300000001", "device_id"), d->device);
}

/* ---------------------------------------------------------------- at once */

#define RACERS 3
#define ROUNDS 5

typedef struct racer_t {
    mdm_ctx_t *ctx;
    const phone_t *const *phones; /* not NULL: they tell their DeviceIds; else mail clients make themselves known */
    apr_status_t error;
} racer_t;

static const char *race_id(apr_pool_t *p, int i)
{
    return apr_psprintf(p, "RACE%08d", i);
}

static apr_status_t told(mdm_ctx_t *ctx, const phone_t *d, const char *easid)
{
    mdm_plist_t *m = mdm_plist_dict(ctx->pool);
    apr_status_t rv;
    mdm_db_t *db;

    mdm_plist_add_str(ctx->pool, mdm_plist_add_dict(ctx->pool, m, "QueryResponses"), "EASDeviceIdentifier", easid);
    if ((rv = mdm_db_open(ctx, &db)) != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_db_begin(db);
    rv = mdm_db_end(db, rv == APR_SUCCESS ? mdm_apple_absorb(db, d->device, "DeviceInformation", m) : rv);
    mdm_db_close(db);
    return rv;
}

static void *APR_THREAD_FUNC race(apr_thread_t *thread, void *data)
{
    racer_t *r = data;

    for (int i = 0; i < ROUNDS && !r->error; i++) {
        mdm_eas_client_t c = {.person_id = z->person->id, .device_id = race_id(r->ctx->pool, i), .device_type = "iPhone",
                              .user_agent = IPHONE, .version = 161};

        r->error = r->phones ? told(r->ctx, r->phones[i], c.device_id) : mdm_eas_first_contact(r->ctx, &c);
    }
    return NULL;
}

/* All at once, each on a connection of its own. */
static void run_race(const phone_t *const *phones)
{
    apr_thread_t *threads[RACERS];
    racer_t racers[RACERS] = {{0}};
    apr_pool_t *pools[RACERS];
    apr_status_t rv;

    for (int i = 0; i < RACERS; i++) {
        mdm_env_t *env;

        apr_pool_create(&pools[i], NULL); /* pools of threads are not related */
        env = apr_pmemdup(pools[i], &z->t->env, sizeof *env);
        assert_int_equal(mdm_dbpool_direct(pools[i], z->t->params, &env->dbpool), APR_SUCCESS);
        racers[i].ctx = mdm_ctx_make(pools[i], env, &mdm_log_stderr, (void *)(intptr_t)MDM_LOG_ERR);
        racers[i].phones = i == 0 ? phones : NULL;
    }
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(apr_thread_create(&threads[i], NULL, race, &racers[i], pools[i]), APR_SUCCESS);
    }
    for (int i = 0; i < RACERS; i++) {
        apr_thread_join(&rv, threads[i]);
        assert_int_equal(racers[i].error, APR_SUCCESS);
    }
    for (int i = 0; i < RACERS; i++) {
        apr_pool_destroy(pools[i]);
    }
}

static void test_concurrent_first_contacts(void **state)
{
    run_race(NULL);
    assert_string_equal(count("source_record WHERE kind = 'eas'"), "5");
    assert_string_equal(count("device"), "5");
    assert_string_equal(count("audit WHERE action = 'eas.first_contact'"), "5");
}

/* Whoever is first, the phone's own word or its mail: afterwards it is one device. */
static void test_mail_and_word_at_once(void **state)
{
    const phone_t *phones[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        phones[i] = dev_enrolled(z, apr_psprintf(z->t->pool, "RACER%d", i));
    }
    run_race(phones);
    assert_string_equal(count("device"), "5");
    for (int i = 0; i < ROUNDS; i++) {
        assert_string_equal(record(race_id(z->t->pool, i), "device_id"), phones[i]->device);
        assert_string_equal(verdict(race_id(z->t->pool, i)), "allow");
    }
}

static mdm_mail_login_t home(void)
{
    mdm_mail_login_t who = {.server_id = "x", .refused = 1};
    mdm_db_t *db;

    apr_cpystrn(who.person_id, z->person->id, sizeof(who.person_id));
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_eas_home(db, &who), APR_SUCCESS);
    mdm_db_close(db);
    return who;
}

/* Adds a server with this name, or deletes the one with this id. */
static const char *server(const char *name, const char *del)
{
    const char *id = NULL;
    json_t *given = mdm_json_own(z->t->ctx, json_pack("{s:s, s:s, s:[s]}", "name", name, "host", "mail.example.org", "sources",
                                                             ask(z, "SELECT id FROM user_source")));
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(del ? mdm_eas_server_delete(db, del, 1) : mdm_eas_server_add(db, given, &id), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
    return id;
}

/* EAS-01, spec 03: who is accepted where is written once and told on the timeline; refused by all holds for a while, or until somebody changes
 * the servers. */
static void test_home(void **state)
{
    const char *one = server("one", NULL), *two = server("two", NULL), *me = z->person->id;
    const phone_t *phone = dev_enrolled(z, "HOMEPHONE");
    mdm_ctx_t *ctx = z->t->ctx;

    sql(z, "INSERT INTO source_record (id, device_id, person_id, kind, class, native_id, state, first_seen_ms, last_seen_ms) "
           "VALUES ('r1', '%s', '%s', 'eas', 'native', 'HOME1', 'enrolled', 1, 1)", phone->device, me);
    assert_true(!*home().server_id && !home().refused);
    assert_int_equal(mdm_eas_home_found(ctx, me, one), APR_SUCCESS);
    assert_int_equal(mdm_eas_home_found(ctx, me, one), APR_SUCCESS);
    assert_string_equal(home().server_id, one);
    assert_string_equal(count("device_event WHERE kind = 'mail.server'"), "1");
    assert_int_equal(mdm_eas_home_found(ctx, me, two), APR_SUCCESS);
    assert_string_equal(home().server_id, two);
    assert_int_equal(mdm_eas_home_found(ctx, me, "00000000-0000-4000-8000-00000000dead"), APR_NOTFOUND);
    sql(z, "DELETE FROM change");

    assert_int_equal(mdm_eas_home_refused(ctx, me, 1001), APR_SUCCESS); /* by one who does not know the second one */
    assert_false(home().refused);
    assert_int_equal(mdm_eas_home_refused(ctx, me, 2002), APR_SUCCESS);
    assert_true(home().refused);
    assert_string_equal(count("message WHERE code = 'eas.refused'"), "1");
    assert_string_equal(ask(z, "SELECT key FROM change WHERE kind = 'person'"), me);
    z->t->now += apr_time_from_msec(MDM_EAS_REFUSED_MS);
    assert_false(home().refused);
    assert_int_equal(mdm_eas_home_refused(ctx, me, 2002), APR_SUCCESS);
    assert_int_equal(mdm_eas_home_found(ctx, me, two), APR_SUCCESS);
    assert_true(!home().refused && !strcmp(home().server_id, two));

    assert_int_equal(mdm_eas_home_refused(ctx, me, 2002), APR_SUCCESS);
    server("three", NULL);
    assert_true(!home().refused && !strcmp(home().server_id, two));
    server("", two);
    assert_string_equal(home().server_id, "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_verdicts), T(test_classes), T(test_hardware), T(test_first_contact_makes_one_pending_device),
        T(test_hostile_client_texts), T(test_refusals), T(test_limits), T(test_second_person), T(test_match_by_told_id),
        T(test_match_by_serial), T(test_no_match), T(test_merge_later), T(test_merge_at_enrolment),
        T(test_merge_keeps_what_was_in_use), T(test_merge_leaves_decisions_alone), T(test_one_place_per_class), T(test_complete),
        T(test_complete_obeys_the_policy), T(test_promised_mail), T(test_promised_mail_that_is_asked),
        T(test_retire_and_return), T(test_retired_comes_back_as_the_policy_says),
        T(test_checkout_stops_mail), T(test_managed_again_gets_its_mail_back), T(test_unenrolment_stops_mail_at_once),
        T(test_concurrent_first_contacts), T(test_mail_and_word_at_once), T(test_home),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
