/* Check-in and connect (IOS-01..05, SEC-01, DEV-14, PRF-01..03, R12, R38, R39). MDM_TEST_DB chooses the engine. */
#include "apple_test.h"
#include "domain/mdm_device.h"

static zone_t *z;

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

static const char *record(const phone_t *d, const char *column)
{
    return ask(z, "SELECT %s FROM source_record WHERE id = '%s'", column, d->record);
}

static const char *device(const phone_t *d, const char *column)
{
    return ask(z, "SELECT %s FROM device WHERE id = '%s'", column, d->device);
}

static const char *cert(const phone_t *d, const char *column)
{
    return ask(z, "SELECT %s FROM certificate WHERE fingerprint = '%s'", column, d->fingerprint);
}

static const char *state_of(const char *command)
{
    return ask(z, "SELECT state FROM command WHERE id = '%s'", command);
}

/* IOS-01: the whole enrolment, and what the device is asked first. */
static void test_enrolment(void **state)
{
    phone_t *d = dev_issue(z, "UDID-ENROL");
    mdm_apple_answer_t *a;

    assert_int_equal(say(z, d, token_msg(z, d, "tok", NULL), &a, NULL), MDM_EIDENTITY); /* not before Authenticate */
    assert_int_equal(say(z, d, authenticate_msg(z, d), &a, NULL), APR_SUCCESS);
    assert_int_equal(a->status, 200);
    assert_int_equal(a->body.len, 0);
    reload(z, d);
    assert_string_equal(cert(d, "status"), "active");
    assert_string_equal(record(d, "state"), "authenticated");
    assert_string_equal(record(d, "push_ok"), "0");
    assert_string_equal(device(d, "state"), "pending");
    assert_string_equal(device(d, "serial"), "SNUDID-ENROL");

    assert_int_equal(say(z, d, token_msg(z, d, "\x01\xfe", "secret"), &a, NULL), APR_SUCCESS);
    assert_true(a->wake);
    reload(z, d);
    assert_string_equal(record(d, "state"), "enrolled");
    assert_string_equal(record(d, "push_token"), "01fe");
    assert_string_equal(record(d, "push_ok"), "1");
    assert_string_equal(record(d, "topic"), "com.apple.mgmt.External.test");
    assert_null(strstr(record(d, "unlock_token"), "secret"));
    assert_memory_equal(record(d, "unlock_token"), "s1.k1.", 6);
    assert_string_equal(device(d, "state"), "active");
    assert_string_equal(ask(z, "SELECT state FROM pending_enrollment WHERE device_id = '%s'", d->device), "completed");
    assert_string_equal(ask(z, "SELECT count(*) FROM command WHERE record_id = '%s' AND open = 1", d->record), "7");
    assert_string_equal(ask(z, "SELECT count(*) FROM push WHERE record_id = '%s'", d->record), "1");
    assert_true(d->rec.flags & MDM_DEVF_QUEUED);
}

/* SEC-01, R12: one device's certificate with another's UDID is refused in every message, and both stay as they are. */
static void test_foreign_udid(void **state)
{
    static const char *const types[] = {"Authenticate", "TokenUpdate", "CheckOut", "SetBootstrapToken", "GetBootstrapToken"};
    static const char *const statuses[] = {"Idle", "Acknowledged", "Error", "CommandFormatError", "NotNow"};
    phone_t *one = dev_enrolled(z, "UDID-ONE"), *two = dev_enrolled(z, "UDID-TWO"), liar = *one;
    mdm_command_add_t lock = {.request_type = "DeviceLock"};
    const char *id = queue(z, two, &lock), *before = ask(z, "SELECT count(*) FROM change"), *next;
    mdm_apple_answer_t *a;

    liar.udid = two->udid;
    for (size_t i = 0; i < 5; i++) {
        mdm_plist_t *m = i ? i == 1 ? token_msg(z, &liar, "evil", NULL) : message(z, &liar, types[i]) : authenticate_msg(z, &liar);
        assert_int_equal(say(z, &liar, m, &a, NULL), MDM_EIDENTITY);
        assert_int_equal(say(z, &liar, status_msg(z, &liar, statuses[i], id), &a, NULL), MDM_EIDENTITY);
        assert_int_equal(a->body.len, 0);
    }
    /* The right UDID, but another record's command: ignored. */
    assert_int_equal(say(z, one, status_msg(z, one, "Acknowledged", id), &a, NULL), APR_SUCCESS);
    assert_string_equal(offered(z, a, &next), "");
    assert_string_equal(state_of(id), "queued");
    assert_string_equal(record(two, "push_token"), mdm_hex(z->t->pool, "UDID-TWO", 8));
    assert_string_equal(record(one, "state"), "enrolled");
    assert_string_equal(ask(z, "SELECT count(*) FROM change"), before);
}

/* A fresh certificate can't take over a device that somebody else has in use (R12); the portal hears why. */
static void test_fresh_certificate_for_known_udid(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-KNOWN"), *thief = dev_issue(z, "UDID-KNOWN");
    const char *person = mdm_uuid(z->t->pool);
    mdm_apple_answer_t *a;

    sql(z, "INSERT INTO person (id, login, login_key, name, created_ms) VALUES ('%s', 'eve', 'eve', 'Eve', 0)", person);
    sql(z, "UPDATE device SET person_id = '%s', last_contact_ms = 4000000000000 WHERE id = '%s'", person, d->device);
    assert_int_equal(say(z, thief, authenticate_msg(z, thief), &a, NULL), MDM_EDENIED);
    assert_string_equal(cert(thief, "status"), "issued");
    assert_string_equal(cert(thief, "record_id"), "");
    assert_string_equal(record(d, "state"), "enrolled");
    assert_string_equal(cert(d, "status"), "active");
}

static void test_unknown_and_revoked(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-REV"), ghost = *d;
    mdm_apple_answer_t *a;

    ghost.fingerprint = mdm_sha256_hex(z->t->pool, "ghost", 5);
    assert_int_equal(say(z, &ghost, token_msg(z, &ghost, "x", NULL), &a, NULL), MDM_EIDENTITY);
    sql(z, "UPDATE certificate SET status = 'revoked' WHERE fingerprint = '%s'", d->fingerprint);
    assert_int_equal(say(z, d, token_msg(z, d, "x", NULL), &a, NULL), MDM_EIDENTITY); /* the cache does not know yet */
    reload(z, d);
    assert_int_equal(say(z, d, token_msg(z, d, "x", NULL), &a, NULL), MDM_EIDENTITY);
    assert_int_equal(say(z, d, message(z, d, "CheckOut"), &a, NULL), MDM_EIDENTITY); /* the record lives on with another one */
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), MDM_EIDENTITY);
    assert_string_equal(record(d, "push_token"), mdm_hex(z->t->pool, "UDID-REV", 8));
}

/* IOS-03, R39: again Authenticate: queue cleared, push off until TokenUpdate, same object; the unlock token stays. */
static void test_reenrolment(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-AGAIN");
    mdm_command_add_t lock = {.request_type = "DeviceLock"};
    const char *id = queue(z, d, &lock), *object = d->device, *unlock = record(d, "unlock_token");
    mdm_apple_answer_t *a;

    assert_int_equal(say(z, d, authenticate_msg(z, d), &a, NULL), APR_SUCCESS);
    reload(z, d);
    assert_string_equal(d->device, object);
    assert_string_equal(state_of(id), "cancelled");
    assert_string_equal(record(d, "push_ok"), "0");
    assert_string_equal(ask(z, "SELECT count(*) FROM push WHERE record_id = '%s'", d->record), "0");
    assert_int_equal(say(z, d, token_msg(z, d, "UDID-AGAIN", NULL), &a, NULL), APR_SUCCESS);
    assert_string_equal(record(d, "state"), "enrolled");
    assert_string_equal(record(d, "push_ok"), "1");
    assert_string_equal(record(d, "unlock_token"), unlock);
    assert_string_equal(record(d, "generation"), "2");
    assert_string_equal(ask(z, "SELECT count(*) FROM command WHERE record_id = '%s' AND open = 1", d->record), "7");
}

/* PRF-03: an unchanged token is only looked at. */
static void test_unchanged_token(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-SAME");
    const char *seen;
    apr_uint64_t n;
    mdm_apple_answer_t *a;

    z->t->now += apr_time_from_sec(60);
    seen = ask(z, "SELECT last_seen_ms || '/' || (SELECT count(*) FROM change) FROM source_record WHERE id = '%s'", d->record);
    assert_int_equal(say(z, d, token_msg(z, d, "UDID-SAME", "unlock-me"), &a, &n), APR_SUCCESS);
    assert_string_equal(a->decision, "unchanged");
    assert_int_equal(n, 1);
    assert_string_equal(ask(z, "SELECT last_seen_ms || '/' || (SELECT count(*) FROM change) FROM source_record WHERE id = '%s'",
                            d->record), seen);
    assert_int_equal(say(z, d, token_msg(z, d, "UDID-NEW", "unlock-me"), &a, NULL), APR_SUCCESS);
    assert_string_equal(record(d, "push_token"), mdm_hex(z->t->pool, "UDID-NEW", 8));
    sql(z, "UPDATE source_record SET push_ok = 0 WHERE id = '%s'", d->record);
    assert_int_equal(say(z, d, token_msg(z, d, "UDID-NEW", "unlock-me"), &a, NULL), APR_SUCCESS);
    assert_string_equal(record(d, "push_ok"), "1");
}

/* PRF-01: an Idle with nothing queued takes no statement; PRF-02: a command cycle takes three. */
static void test_statement_counts(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-PRF");
    mdm_command_add_t info = {.request_type = "DeviceInformation"};
    mdm_plist_t *m, *q;
    const char *id, *given;
    apr_uint64_t n, all;
    mdm_apple_answer_t *a;

    /* One more each time: asking the database for the UDID is the tests' way: the cache answers that in the server. */
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, &n), APR_SUCCESS);
    assert_int_equal(n, 1);
    assert_int_equal(a->body.len, 0);
    id = queue(z, d, &info);
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, &n), APR_SUCCESS);
    all = n - 1;
    assert_string_equal(offered(z, a, &given), "DeviceInformation");
    assert_string_equal(given, id);
    m = status_msg(z, d, "Acknowledged", id);
    q = mdm_plist_add_dict(z->t->pool, m, "QueryResponses");
    mdm_plist_add_str(z->t->pool, q, "OSVersion", "18.1");
    mdm_plist_add_real(z->t->pool, q, "BatteryLevel", 0.5);
    assert_int_equal(say(z, d, m, &a, &n), APR_SUCCESS);
    all += n - 1;
    assert_int_equal(all, 3);
    assert_string_equal(offered(z, a, &given), "");
    assert_string_equal(state_of(id), "acknowledged");
    assert_string_equal(device(d, "os_version"), "18.1");
    reload(z, d); /* the queue is seen empty at once: the next Idle costs nothing */
    assert_false(d->rec.flags & MDM_DEVF_QUEUED);
}

/* PRF-02: no cycle of any query takes more than three statements, whatever has gone before; one that finds a change writes an event. */
static void test_cycles(void **state)
{
    static const struct {
        const char *type, *key, *json;
        int want;
    } cases[] = {
        {"DeviceLock", "MessageResult", "\"Success\"", 2},
        {"SecurityInfo", "SecurityInfo", "{\"PasscodePresent\": true}", 3},
        {"InstalledApplicationList", "InstalledApplicationList", "[{\"Identifier\": \"a.b\"}]", 3},
        {"ManagedApplicationList", "ManagedApplicationList", "{\"a.b\": {\"Status\": \"Managed\"}}", 3},
        {"ProfileList", "ProfileList", "[]", 3},
        {"CertificateList", "CertificateList", "[]", 3},
        {"Restrictions", "GlobalRestrictions", "{}", 3},
        {"SecurityInfo", "SecurityInfo", "{\"PasscodePresent\": false}", 4},
    };
    phone_t *d = dev_enrolled(z, "UDID-CYCLE");
    apr_uint64_t n, all;
    mdm_apple_answer_t *a;
    const char *id;

    sql(z, "INSERT INTO command (id, record_id, device_id, seq, request_type, payload, state, open, created_ms) "
           "SELECT 'h' || c.seq || d.id, c.record_id, c.device_id, -1000 - c.seq - length(d.id), 'DeviceLock', '{}', 'error', 0, 0 "
           "FROM command c JOIN device d ON d.id = c.device_id WHERE c.record_id = '%s'", d->record);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mdm_command_add_t add = {.request_type = cases[i].type};
        mdm_plist_t *m, *content;

        id = queue(z, d, &add);
        assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, &n), APR_SUCCESS);
        all = n - 1;
        assert_string_equal(offered(z, a, NULL), cases[i].type);
        m = status_msg(z, d, "Acknowledged", id);
        assert_int_equal(mdm_plist_from_json(z->t->ctx, mdm_json_own(z->t->ctx, json_loads(cases[i].json, JSON_DECODE_ANY, NULL)),
                                             &content), APR_SUCCESS);
        mdm_plist_append(m, cases[i].key, content);
        assert_int_equal(say(z, d, m, &a, &n), APR_SUCCESS);
        all += n - 1;
        assert_int_equal(all, cases[i].want);
        assert_string_equal(state_of(id), "acknowledged");
    }
    assert_string_equal(ask(z, "SELECT detail FROM device_event WHERE device_id = '%s' AND kind = 'changed'", d->device),
                        "{\"passcode_present\":{\"before\":true,\"after\":false}}");
    assert_string_equal(ask(z, "SELECT result FROM command WHERE device_id = '%s' AND request_type = 'DeviceLock' AND state = 'acknowledged' "
                               "AND result IS NOT NULL", d->device), "{\"MessageResult\":\"Success\"}");
}

/* DEV-15: a server's clock that steps by a day, both ways, strands nothing. */
static void test_clock_steps(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-CLOCK");
    mdm_command_add_t lock = {.request_type = "DeviceLock"};
    apr_time_t now = z->t->now;
    mdm_apple_answer_t *a;
    const char *ids[4], *given;

    for (int i = 0; i < 4; i++) {
        z->t->now = now + (i % 2 ? -1 : 1) * apr_time_from_sec(86400);
        ids[i] = queue(z, d, &lock);
    }
    z->t->now = now - apr_time_from_sec(2 * 86400);
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), APR_SUCCESS);
    for (int i = 0; i < 4; i++) {
        offered(z, a, &given);
        assert_string_equal(given, ids[i]);
        z->t->now += (i % 2 ? 3 : -1) * apr_time_from_sec(86400);
        assert_int_equal(say(z, d, status_msg(z, d, i == 1 ? "NotNow" : "Acknowledged", given), &a, NULL), APR_SUCCESS);
    }
    assert_string_equal(offered(z, a, NULL), "");
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), APR_SUCCESS);
    offered(z, a, &given);
    assert_string_equal(given, ids[1]);
    z->t->now = now;
}

/* IOS-05: order, NotNow passed over in this session and offered again on Idle, results twice, unknown results. */
static void test_queue(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-QUEUE");
    mdm_command_add_t lock = {.request_type = "DeviceLock"}, list = {.request_type = "ProfileList"};
    const char *one = queue(z, d, &list), *two = queue(z, d, &lock), *given;
    mdm_apple_answer_t *a;

    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), APR_SUCCESS);
    offered(z, a, &given);
    assert_string_equal(given, one);
    assert_int_equal(say(z, d, status_msg(z, d, "NotNow", one), &a, NULL), APR_SUCCESS);
    offered(z, a, &given);
    assert_string_equal(given, two);
    assert_string_equal(ask(z, "SELECT count(*) FROM push WHERE record_id = '%s'", d->record), "1");
    assert_int_equal(say(z, d, status_msg(z, d, "Acknowledged", two), &a, NULL), APR_SUCCESS);
    assert_string_equal(offered(z, a, NULL), "");
    assert_int_equal(say(z, d, status_msg(z, d, "Acknowledged", two), &a, NULL), APR_SUCCESS); /* twice */
    assert_string_equal(offered(z, a, NULL), "");
    assert_int_equal(say(z, d, status_msg(z, d, "Acknowledged", mdm_uuid(z->t->pool)), &a, NULL), APR_SUCCESS);
    assert_int_equal(say(z, d, status_msg(z, d, "Acknowledged", "not a uuid"), &a, NULL), APR_SUCCESS);
    assert_int_equal(say(z, d, status_msg(z, d, "NotNow", two), &a, NULL), APR_SUCCESS);
    assert_string_equal(state_of(two), "acknowledged");
    assert_string_equal(state_of(one), "notnow");
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), APR_SUCCESS);
    offered(z, a, &given);
    assert_string_equal(given, one);
    assert_int_equal(say(z, d, status_msg(z, d, "CommandFormatError", given), &a, NULL), APR_SUCCESS);
    assert_string_equal(state_of(one), "format_error");
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), APR_SUCCESS);
    assert_string_equal(offered(z, a, NULL), "");
}

/* IOS-05: what is put off again and again is pushed for later and later, between minutes and half a day. */
static void test_notnow_backs_off(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-LATER");
    mdm_command_add_t list = {.request_type = "ProfileList"};
    const char *id = queue(z, d, &list);
    apr_int64_t now = mdm_now_ms(z->t->ctx), first = 0, due = 0;
    mdm_apple_answer_t *a;

    for (int i = 0; i < 12; i++) {
        sql(z, "DELETE FROM push WHERE record_id = '%s'", d->record);
        assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), APR_SUCCESS);
        assert_int_equal(say(z, d, status_msg(z, d, "NotNow", id), &a, NULL), APR_SUCCESS);
        due = apr_atoi64(ask(z, "SELECT due_ms FROM push WHERE record_id = '%s'", d->record)) - now;
        first = first ? first : due;
        assert_true(due >= 60 * 1000LL && due <= 24 * 3600 * 1000LL);
    }
    assert_true(due > 8 * first);
    assert_string_equal(state_of(id), "notnow");
}

static void test_error_chain(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-ERR");
    mdm_command_add_t lock = {.request_type = "DeviceLock"};
    const char *id = queue(z, d, &lock);
    mdm_plist_t *m = status_msg(z, d, "Error", id), *chain = mdm_plist_add_array(z->t->pool, m, "ErrorChain"), *e;
    mdm_apple_answer_t *a;

    for (int i = 0; i < 40; i++) {
        e = mdm_plist_add_dict(z->t->pool, chain, NULL);
        mdm_plist_add_int(z->t->pool, e, "ErrorCode", 12021);
        mdm_plist_add_str(z->t->pool, e, "USEnglishDescription", "It's \"bad\" <script>");
    }
    assert_int_equal(say(z, d, m, &a, NULL), APR_SUCCESS);
    assert_string_equal(state_of(id), "error");
    assert_non_null(strstr(ask(z, "SELECT error FROM command WHERE id = '%s'", id), "It's \\\"bad\\\" <script>"));
    assert_true(strlen(ask(z, "SELECT error FROM command WHERE id = '%s'", id)) < 1500);
}

/* R38: an answer of no use ends its command; the next one is delivered. */
static void test_useless_answers(void **state)
{
    static const char head[] = "<plist version=\"1.0\"><dict><key>CommandUUID</key>\n <string>", tail[] = "</string><key>Status";
    phone_t *d = dev_enrolled(z, "UDID-BAD");
    mdm_apple_who_t who = {.fingerprint = d->fingerprint, .rec = &d->rec};
    mdm_command_add_t info = {.request_type = "DeviceInformation"}, lock = {.request_type = "DeviceLock"};
    const char *one = queue(z, d, &info), *two = queue(z, d, &info), *three = queue(z, d, &lock), *given, *text;
    mdm_plist_t *m = status_msg(z, d, "Acknowledged", one);
    mdm_apple_answer_t *a;
    mdm_blob_t body;

    mdm_plist_add_str(z->t->pool, m, "QueryResponses", "no dictionary");
    assert_int_equal(say(z, d, m, &a, NULL), APR_SUCCESS);
    assert_string_equal(state_of(one), "error");
    offered(z, a, &given);
    assert_string_equal(given, two);
    text = apr_pstrcat(z->t->pool, head, two, tail, NULL);
    body.data = (const unsigned char *)text;
    body.len = strlen(text);
    assert_int_equal(mdm_apple_connect(z->t->ctx, &who, &body, &a), APR_SUCCESS);
    assert_string_equal(state_of(two), "error");
    offered(z, a, &given);
    assert_string_equal(given, three);
    /* The same again, as our answer was lost: a device repeats until it is accepted. */
    assert_int_equal(mdm_apple_connect(z->t->ctx, &who, &body, &a), APR_SUCCESS);
    offered(z, a, &given);
    assert_string_equal(given, three);
    assert_string_equal(state_of(two), "error");
    assert_string_equal(state_of(three), "sent");
    text = "rubbish";
    body = (mdm_blob_t){(const unsigned char *)text, 7};
    assert_int_equal(mdm_apple_connect(z->t->ctx, &who, &body, &a), MDM_EINPUT);
    body.len = 0;
    assert_int_equal(mdm_apple_connect(z->t->ctx, &who, &body, &a), MDM_EINPUT);
    assert_int_equal(mdm_apple_checkin(z->t->ctx, &who, &body, &a), MDM_EINPUT);
}

static mdm_apple_answer_t *too_long(phone_t *d, const char *head, apr_status_t want)
{
    mdm_apple_who_t who = {.fingerprint = d->fingerprint, .rec = &d->rec};
    mdm_blob_t body = {(const unsigned char *)head, strlen(head)};
    mdm_apple_answer_t *a;

    assert_int_equal(mdm_apple_connect_long(z->t->ctx, &who, &body, &a), want);
    return a;
}

/* IOS-05: an answer that nobody reads to its end: the command that its beginning names has failed, else the one that was sent last; never
 * another device's, and not one that was not sent. */
static void test_too_long_answers(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-LONG"), *other = dev_enrolled(z, "UDID-LONG2");
    mdm_command_add_t lock = {.request_type = "DeviceLock"};
    const char *one = queue(z, d, &lock), *two = queue(z, d, &lock), *three = queue(z, d, &lock), *foreign = queue(z, other, &lock), *given;
    char *named = apr_pstrcat(z->t->pool, "<plist version=\"1.0\"><dict><key>CommandUUID</key><string>", one, "</string><key>", NULL);
    mdm_apple_answer_t *a;

    too_long(d, "nothing was sent", MDM_ETOOBIG);
    assert_string_equal(state_of(one), "queued");
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), APR_SUCCESS);
    offered(z, too_long(d, named, APR_SUCCESS), &given);
    assert_string_equal(given, two);
    offered(z, too_long(d, named, APR_SUCCESS), &given); /* said again */
    assert_string_equal(given, two);
    assert_string_equal(state_of(one), "error");
    assert_non_null(strstr(ask(z, "SELECT error FROM command WHERE id = '%s'", one), "too long"));
    offered(z, too_long(d, "<plist>", APR_SUCCESS), &given);
    assert_string_equal(given, three);
    assert_string_equal(state_of(two), "error");
    assert_string_equal(state_of(three), "sent");
    memcpy(strstr(named, one), foreign, strlen(foreign));
    too_long(d, named, APR_SUCCESS);
    assert_string_equal(state_of(foreign), "queued");
}

/* R38: an answer that can be read and not be understood fails its command as well; it speaks for its own device only. */
static void test_meaningless_answers(void **state)
{
    static const char *const without[] = {"Status", "UDID", "UserID"};
    phone_t *d = dev_enrolled(z, "UDID-MEANING"), *other = dev_enrolled(z, "UDID-MEANING2"), liar = *d;
    mdm_command_add_t lock = {.request_type = "DeviceLock"};
    const char *ids[4], *foreign = queue(z, other, &lock), *given;
    mdm_apple_answer_t *a;

    for (size_t i = 0; i < 4; i++) {
        ids[i] = queue(z, d, &lock);
    }
    for (size_t i = 0; i < 3; i++) {
        mdm_plist_t *m = mdm_plist_dict(z->t->pool);
        for (size_t k = 0; k < 2; k++) { /* two of the keys, and rubbish in place of the third */
            if (k != i) {
                mdm_plist_add_str(z->t->pool, m, without[k], k ? d->udid : i == 2 ? "Acknowledged" : "Sleepy");
            }
        }
        if (i == 2) {
            mdm_plist_add_bool(z->t->pool, m, "UserID", 1);
        }
        mdm_plist_add_str(z->t->pool, m, "CommandUUID", ids[i]);
        assert_int_equal(say(z, d, m, &a, NULL), APR_SUCCESS);
        assert_string_equal(state_of(ids[i]), "error");
        offered(z, a, &given);
        assert_string_equal(given, ids[i + 1]);
    }
    liar.udid = other->udid;
    assert_int_equal(say(z, &liar, status_msg(z, &liar, "Sleepy", ids[3]), &a, NULL), MDM_EIDENTITY);
    assert_int_equal(say(z, &liar, status_msg(z, &liar, "Sleepy", foreign), &a, NULL), MDM_EIDENTITY);
    assert_int_equal(say(z, d, status_msg(z, d, "Sleepy", foreign), &a, NULL), APR_SUCCESS); /* not its own: ignored */
    assert_string_equal(state_of(ids[3]), "sent");
    assert_string_equal(state_of(foreign), "queued");
    assert_int_equal(say(z, d, status_msg(z, d, "Sleepy", "no uuid"), &a, NULL), MDM_EINPUT);
}

static void test_wrong_messages(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-WRONG");
    mdm_plist_t *m = message(z, d, "TokenUpdate");
    mdm_apple_answer_t *a;

    assert_int_equal(say(z, d, m, &a, NULL), MDM_EINPUT);
    assert_string_equal(z->t->ctx->fail_field, "Topic");
    assert_int_equal(say(z, d, message(z, d, "Nonsense"), &a, NULL), MDM_EINPUT);
    assert_int_equal(say(z, d, message(z, d, "DeclarativeManagement"), &a, NULL), MDM_EINPUT);
    assert_int_equal(say(z, d, message(z, d, "GetToken"), &a, NULL), MDM_EINPUT);
    assert_int_equal(say(z, d, status_msg(z, d, "Sleepy", NULL), &a, NULL), MDM_EINPUT);
    assert_int_equal(say(z, d, status_msg(z, d, "Acknowledged", NULL), &a, NULL), MDM_EINPUT);
    m = token_msg(z, d, "user", NULL);
    mdm_plist_add_str(z->t->pool, m, "UserID", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF");
    assert_int_equal(say(z, d, m, &a, NULL), MDM_EINPUT); /* a user's token never replaces the device's */
    assert_string_equal(record(d, "push_token"), mdm_hex(z->t->pool, "UDID-WRONG", 10));
    assert_int_equal(say(z, d, message(z, d, "UserAuthenticate"), &a, NULL), APR_SUCCESS);
    assert_int_equal(a->status, 410);
}

static void test_bootstrap_token(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-BOOT");
    mdm_plist_t *m = message(z, d, "SetBootstrapToken"), *got;
    mdm_apple_answer_t *a;

    mdm_plist_add_data(z->t->pool, m, "BootstrapToken", "boot\0strap", 10);
    assert_int_equal(say(z, d, m, &a, NULL), APR_SUCCESS);
    assert_memory_equal(record(d, "bootstrap_token"), "s1.k1.", 6);
    assert_int_equal(say(z, d, message(z, d, "GetBootstrapToken"), &a, NULL), APR_SUCCESS);
    assert_int_equal(mdm_plist_parse(z->t->ctx, a->body.data, a->body.len, &got), APR_SUCCESS);
    assert_int_equal(mdm_plist_data(got, "BootstrapToken")->len, 10);
    assert_int_equal(say(z, d, message(z, d, "SetBootstrapToken"), &a, NULL), APR_SUCCESS);
    assert_string_equal(record(d, "bootstrap_token"), "");
}

/* The person removes the profile: record left, identity revoked, queue closed; said twice it is still fine. */
static void test_checkout(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-OUT");
    mdm_command_add_t lock = {.request_type = "DeviceLock"};
    const char *id = queue(z, d, &lock);
    mdm_apple_answer_t *a;

    assert_int_equal(say(z, d, message(z, d, "CheckOut"), &a, NULL), APR_SUCCESS);
    assert_string_equal(record(d, "state"), "left");
    assert_string_equal(record(d, "live"), "0");
    assert_string_equal(record(d, "unlock_token"), "");
    assert_string_equal(device(d, "state"), "removed");
    assert_string_equal(cert(d, "status"), "revoked");
    assert_string_equal(state_of(id), "cancelled");
    assert_string_equal(ask(z, "SELECT count(*) FROM device_event WHERE device_id = '%s' AND kind = 'checkout'", d->device), "1");
    assert_string_equal(ask(z, "SELECT count(*) FROM audit WHERE object_id = '%s' AND action = 'device.left'", d->device), "1");
    reload(z, d);
    assert_int_equal(say(z, d, message(z, d, "CheckOut"), &a, NULL), APR_SUCCESS);
    assert_string_equal(a->decision, "left already");
    assert_int_equal(say(z, d, authenticate_msg(z, d), &a, NULL), MDM_EIDENTITY);
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), MDM_EIDENTITY);
}

static void unenroll(phone_t *d, int wipe, int del)
{
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_unenroll_apple(db, d->device, wipe, del, NULL, "lost"), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    assert_int_equal(mdm_unenroll_apple(db, d->device, wipe, del, NULL, "lost"), MDM_ECONFLICT);
    mdm_db_close(db);
    reload(z, d);
}

/* 15-decisions: a leaving device gets its removal and nothing else; revoked once that is confirmed. */
static void test_unenrol(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-LEAVE");
    mdm_command_add_t lock = {.request_type = "DeviceLock"};
    const char *waiting = queue(z, d, &lock), *id;
    mdm_apple_answer_t *a;
    mdm_db_t *db;

    unenroll(d, 0, 0);
    assert_string_equal(state_of(waiting), "cancelled");
    assert_string_equal(device(d, "state"), "retired");
    assert_string_equal(cert(d, "status"), "active");
    lock.record_id = d->record;
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_command_enqueue(db, &lock, NULL), MDM_ECONFLICT);
    mdm_db_close(db);
    assert_int_equal(say(z, d, authenticate_msg(z, d), &a, NULL), MDM_EDENIED); /* no way out of leaving */
    reload(z, d);
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), APR_SUCCESS);
    assert_string_equal(offered(z, a, &id), "RemoveProfile");
    assert_non_null(strstr((const char *)a->body.data, MDM_ENROLL_PROFILE_ID));
    assert_int_equal(say(z, d, status_msg(z, d, "Acknowledged", id), &a, NULL), APR_SUCCESS);
    assert_string_equal(record(d, "state"), "left");
    assert_string_equal(cert(d, "status"), "revoked");
    assert_string_equal(device(d, "state"), "retired");
    assert_string_equal(device(d, "mode"), "unknown");
}

/* Wipe and delete: the object goes once the wipe is confirmed; the identity stays known as revoked. */
static void test_wipe_and_delete(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-WIPE");
    const char *id;
    mdm_apple_answer_t *a;

    unenroll(d, 1, 1);
    assert_string_equal(device(d, "state"), "wipe_pending");
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), APR_SUCCESS);
    assert_string_equal(offered(z, a, &id), "EraseDevice");
    assert_int_equal(say(z, d, status_msg(z, d, "Acknowledged", id), &a, NULL), APR_SUCCESS);
    assert_string_equal(device(d, "state"), "");
    assert_string_equal(cert(d, "status"), "revoked");
    assert_string_equal(ask(z, "SELECT count(*) FROM notice WHERE key = 'device_unenrolled:%s' AND person_id IS NOT NULL", d->device), "1"); /* MAIL-02 */
    reload(z, d);
    assert_int_equal(say(z, d, message(z, d, "CheckOut"), &a, NULL), APR_SUCCESS);
}

static void test_wipe_taken_back(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-BACK");
    const char *id;
    mdm_db_t *db;

    unenroll(d, 1, 1);
    id = ask(z, "SELECT id FROM command WHERE record_id = '%s' AND leaving = 1", d->record);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_command_cancel(db, d->device, id), APR_SUCCESS);
    assert_int_equal(mdm_command_cancel(db, d->device, id), MDM_ECONFLICT);
    mdm_db_close(db);
    assert_string_equal(device(d, "state"), "active");
    assert_string_equal(record(d, "state"), "enrolled");
}

static const char *wipe_of(phone_t *d)
{
    return ask(z, "SELECT id FROM command WHERE record_id = '%s' AND leaving = 1", d->record);
}

static void act(apr_status_t (*fn)(mdm_db_t *db, const char *id, const char *reason), phone_t *d, apr_status_t want)
{
    apr_status_t rv;
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    rv = fn(db, d->device, "test");
    assert_int_equal(rv, want);
    assert_int_equal(mdm_db_end(db, rv), want);
    mdm_db_close(db);
}

/* DEV-12: a removal that the device refuses is asked for again, and ends after a few refusals; a refused wipe stays to be seen. */
static void test_refused(void **state)
{
    static const struct {
        const char *udid;
        int wipe, del;
        const char *state;
    } cases[] = {{"UDID-NO1", 0, 0, "retired"}, {"UDID-NO2", 0, 1, ""}, {"UDID-NO3", 1, 0, "retired"}, {"UDID-NO4", 1, 1, "retired"}};
    mdm_apple_answer_t *a;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        phone_t *d = dev_enrolled(z, cases[i].udid);
        const char *id;

        unenroll(d, cases[i].wipe, cases[i].del);
        id = wipe_of(d);
        for (int n = 0; n < MDM_LEAVE_REFUSALS; n++) {
            assert_string_equal(record(d, "state"), "leaving");
            assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), APR_SUCCESS);
            assert_string_equal(offered(z, a, NULL), cases[i].wipe ? "EraseDevice" : "RemoveProfile");
            assert_int_equal(say(z, d, status_msg(z, d, n ? "Error" : "CommandFormatError", id), &a, NULL), APR_SUCCESS);
            assert_string_equal(offered(z, a, NULL), "");
        }
        assert_string_equal(device(d, "state"), cases[i].state);
        assert_string_equal(cert(d, "status"), "revoked");
        assert_string_equal(ask(z, "SELECT count(*) FROM message WHERE object_id = '%s' AND code = 'wipe.refused'", d->device),
                            cases[i].wipe ? "1" : "0");
    }
}

/* DEV-12: an administrator gives up waiting; a device that is not leaving can't be given up. */
static void test_given_up(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-GIVEUP");
    mdm_apple_answer_t *a;

    act(mdm_leave_give_up, d, MDM_ECONFLICT);
    unenroll(d, 0, 0);
    act(mdm_device_unretire, d, MDM_ECONFLICT);
    sql(z, "UPDATE command SET open = 0, state = 'error' WHERE record_id = '%s'", d->record); /* one that could not be made */
    act(mdm_leave_give_up, d, APR_SUCCESS);
    assert_string_equal(record(d, "state"), "left");
    assert_string_equal(device(d, "state"), "retired");
    assert_string_equal(cert(d, "status"), "revoked");
    reload(z, d);
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), MDM_EIDENTITY);
    act(mdm_device_unretire, d, APR_SUCCESS);
    assert_string_equal(device(d, "state"), "removed");
}

/* DEV-12: the object is deleted while its wipe is pending: the wipe stays with its identity, and is delivered if the device returns. */
static void test_wipe_outlives_its_object(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-GHOST"), *back;
    mdm_apple_answer_t *a;
    const char *id, *gone;

    unenroll(d, 1, 1);
    act(mdm_device_delete, d, APR_SUCCESS);
    gone = d->device;
    assert_string_equal(device(d, "state"), "");
    assert_string_equal(record(d, "state"), "leaving");
    assert_string_equal(cert(d, "status"), "active");
    memset(d->rec.device, 0, sizeof d->rec.device); /* what the cache loads now */
    assert_int_equal(say(z, d, token_msg(z, d, "new token", NULL), &a, NULL), APR_SUCCESS);
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, NULL), APR_SUCCESS);
    assert_string_equal(offered(z, a, &id), "EraseDevice");
    assert_int_equal(say(z, d, status_msg(z, d, "Acknowledged", id), &a, NULL), APR_SUCCESS);
    assert_string_equal(record(d, "state"), "");
    assert_string_equal(cert(d, "status"), "revoked");
    assert_string_equal(ask(z, "SELECT count(*) FROM command WHERE id = '%s'", id), "0");

    back = dev_enrolled(z, "UDID-GHOST2");
    unenroll(back, 1, 0);
    act(mdm_device_delete, back, APR_SUCCESS);
    back = dev_enrolled(z, "UDID-GHOST2"); /* enrolled again, by a log-in: that ends the old identity and its wipe */
    assert_string_equal(device(back, "state"), "active");
    assert_string_not_equal(back->device, gone);
    assert_int_equal(say(z, back, status_msg(z, back, "Idle", NULL), &a, NULL), APR_SUCCESS);
    assert_string_equal(offered(z, a, NULL), "");
}

/* facts 3.4: a wipe that was sent and never answered counts as done after a day; a selective removal does not. */
static void test_silent_wipe(void **state)
{
    phone_t *wiped = dev_enrolled(z, "UDID-SILENT"), *other = dev_enrolled(z, "UDID-SILENT2");
    apr_time_t now = z->t->now;
    mdm_apple_answer_t *a;
    mdm_db_t *db;
    int n;

    unenroll(wiped, 1, 1);
    unenroll(other, 0, 1);
    assert_int_equal(say(z, wiped, status_msg(z, wiped, "Idle", NULL), &a, NULL), APR_SUCCESS);
    assert_int_equal(say(z, other, status_msg(z, other, "Idle", NULL), &a, NULL), APR_SUCCESS);
    for (int hours = 23; hours <= 25; hours += 2) {
        z->t->now = now + apr_time_from_sec(hours * 3600);
        assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
        assert_int_equal(mdm_leave_silent(db, &n), APR_SUCCESS);
        mdm_db_close(db);
        assert_int_equal(n, hours > 24);
    }
    z->t->now = now;
    assert_string_equal(device(wiped, "state"), "");
    assert_string_equal(cert(wiped, "status"), "revoked");
    assert_string_equal(device(other, "state"), "wipe_pending");
}

/* IOS-04: the one 403, and only by an administrator's decision. */
static void test_expelled(void **state)
{
    phone_t *d = dev_enrolled(z, "UDID-EXP");
    apr_uint64_t n;
    mdm_apple_answer_t *a;

    sql(z, "UPDATE source_record SET expelled = 1 WHERE id = '%s'", d->record);
    assert_int_equal(say(z, d, token_msg(z, d, "x", NULL), &a, NULL), APR_SUCCESS); /* the cache does not know yet */
    assert_int_equal(a->status, 403);
    reload(z, d);
    assert_int_equal(say(z, d, status_msg(z, d, "Idle", NULL), &a, &n), APR_SUCCESS);
    assert_int_equal(a->status, 403);
    assert_int_equal(n, 0);
    assert_non_null(strstr((const char *)a->body.data, "\"com.apple.unrecognized.device\""));
    assert_string_equal(record(d, "push_token"), mdm_hex(z->t->pool, "UDID-EXP", 8));
}

/* An Idle with nothing queued, judged by the cache alone, works without a database at all. */
static int always(const mdm_devrec_t *rec, const char *native_id)
{
    return !strcmp(native_id, "UDID-NODB");
}

static void test_idle_needs_no_database(void **state)
{
    phone_t d = {.udid = "UDID-NODB", .fingerprint = "00"};
    mdm_env_t none = {0};
    mdm_ctx_t *ctx = mdm_ctx_make(z->t->pool, &none, NULL, NULL);
    mdm_apple_who_t who = {.fingerprint = d.fingerprint, .rec = &d.rec, .is_native = always};
    mdm_apple_answer_t *a;
    mdm_blob_t body;

    d.rec.kind = MDM_KIND_MDM;
    d.rec.flags = MDM_DEVF_LINKED | MDM_DEVF_ENROLLED;
    assert_int_equal(mdm_plist_write(z->t->pool, status_msg(z, &d, "Idle", NULL), &body), APR_SUCCESS);
    assert_int_equal(mdm_apple_connect(ctx, &who, &body, &a), APR_SUCCESS);
    assert_int_equal(a->body.len, 0);
    d.udid = "UDID-OTHER";
    assert_int_equal(mdm_plist_write(z->t->pool, status_msg(z, &d, "Idle", NULL), &body), APR_SUCCESS);
    assert_int_equal(mdm_apple_connect(ctx, &who, &body, &a), MDM_EIDENTITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enrolment),
        cmocka_unit_test(test_foreign_udid),
        cmocka_unit_test(test_fresh_certificate_for_known_udid),
        cmocka_unit_test(test_unknown_and_revoked),
        cmocka_unit_test(test_reenrolment),
        cmocka_unit_test(test_unchanged_token),
        cmocka_unit_test(test_statement_counts),
        cmocka_unit_test(test_cycles),
        cmocka_unit_test(test_clock_steps),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_notnow_backs_off),
        cmocka_unit_test(test_error_chain),
        cmocka_unit_test(test_useless_answers),
        cmocka_unit_test(test_too_long_answers),
        cmocka_unit_test(test_meaningless_answers),
        cmocka_unit_test(test_wrong_messages),
        cmocka_unit_test(test_bootstrap_token),
        cmocka_unit_test(test_checkout),
        cmocka_unit_test(test_unenrol),
        cmocka_unit_test(test_wipe_and_delete),
        cmocka_unit_test(test_wipe_taken_back),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_wipe_outlives_its_object),
        cmocka_unit_test(test_silent_wipe),
        cmocka_unit_test(test_expelled),
        cmocka_unit_test(test_idle_needs_no_database),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
