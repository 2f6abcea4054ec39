/* Policy keys of mail clients and both steps of Provision (PRV-01, PRV-02, POL-10). MDM_TEST_DB chooses the engine. */
#include "apple_test.h"

#include "domain/mdm_delivery.h"
#include "domain/mdm_devload.h"
#include "domain/mdm_eas_provision.h"
#include "domain/mdm_recompute.h"

#define SECURITY "00000002-0000-4000-8000-000000001010"
#define EMAIL "00000003-0000-4000-8000-000000001010"
#define PIN(n) "{\"security.password\": {\"corporate\": true, \"personal\": true}, \"security.min_length\": {\"corporate\": " #n ", \"personal\": " #n "}}"
#define ENCRYPT "{\"security.password\": {\"corporate\": true, \"personal\": true}, \"security.encrypt_device\": {\"corporate\": true, \"personal\": true}}"
#define LAX(v) "{\"email.unprovisioned\": {\"corporate\": " #v ", \"personal\": " #v "}}"

static zone_t *z;
static mdm_devcache_t *C;
static apr_uint64_t segment[1 << 15] __attribute__((aligned(4096)));
static const mdm_eas_back_t nothing = {NULL, 0};

static int setup(void **state)
{
    z = zone_make();
    memset(segment, 0, sizeof(segment));
    assert_int_equal(mdm_devcache_init(segment, sizeof(segment), (const unsigned char *)"0123456789abcdef", &C), APR_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

/* ---------------------------------------------------------------- words */

typedef struct client_t {
    const char *id, *device;
    mdm_devrec_t rec;
} client_t;

static mdm_db_t *begin(void)
{
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    return db;
}

static void end(mdm_db_t *db)
{
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
}

/* As the cache has it now. */
static void load(client_t *c)
{
    mdm_db_t *db = begin();

    assert_int_equal(mdm_devload_by_eas(db, C, z->person->id, c->id, &c->rec), APR_SUCCESS);
    end(db);
}

/* The effective policy of the device from now on. */
static void policy(client_t *c, const char *id, const char *type, const char *settings)
{
    mdm_db_t *db;

    sql(z, "INSERT INTO policy (id, type, name, published, created_ms) VALUES ('%s', '%s', '%s', 1, 0) ON CONFLICT DO NOTHING", id, type, id);
    sql(z, "INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES ('%s', 1, '%s', 0) "
           "ON CONFLICT (policy_id, number) DO UPDATE SET settings = excluded.settings", id, settings);
    sql(z, "DELETE FROM assignment WHERE object_id = '%s'", id);
    sql(z, "INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, conflict, position, created_ms) "
           "VALUES ('%s', 'policy', '%s', '%s', 'device', '%s', 'device_first', 1, 0)", mdm_uuid(z->t->pool), id, type, c->device);
    sql(z, "INSERT INTO recompute (target_kind, target_id) VALUES ('device', '%s')", c->device);
    db = begin();
    assert_int_equal(mdm_recompute_now(db, c->device), APR_SUCCESS);
    end(db);
    load(c);
}

static void enrolled(client_t *c, const char *id)
{
    mdm_eas_client_t who = {.person_id = z->person->id, .device_id = id, .device_type = "iPhone", .user_agent = "", .version = 141};
    mdm_db_t *db;

    c->id = id;
    assert_int_equal(mdm_eas_first_contact(z->t->ctx, &who), APR_SUCCESS);
    c->device = ask(z, "SELECT device_id FROM source_record WHERE kind = 'eas' AND native_id = '%s'", id);
    db = begin();
    assert_int_equal(mdm_eas_complete(db, z->person->id, c->device, "personal", &c->device), APR_SUCCESS);
    end(db);
    load(c);
}

static mdm_eas_query_t request(int version, mdm_eas_key_e kind, apr_uint32_t key)
{
    return (mdm_eas_query_t){.cmd = MDM_EAS_FOLDER_SYNC, .version = version, .key = kind, .policy_key = key};
}

/* What a request with this key is answered; *gave_up may be NULL. */
static int judged(client_t *c, int version, mdm_eas_key_e kind, apr_uint32_t key, int *gave_up)
{
    mdm_eas_query_t q = request(version, kind, key);
    int status, last, cached;

    load(c);
    cached = mdm_eas_key_judge(&c->rec, &q);
    if (!cached) {
        return 0;
    }
    assert_int_equal(mdm_eas_key_check(z->t->ctx, &c->rec, &q, &status, &last), APR_SUCCESS);
    if (gave_up) {
        *gave_up += last;
    }
    load(c);
    return status;
}

static mdm_wbnode_t *tree(mdm_blob_t b)
{
    mdm_wbnode_t *root;

    assert_int_equal(mdm_wbxml_parse(z->t->ctx, b.data, b.len, &root), APR_SUCCESS);
    return root;
}

static apr_uint32_t handed(client_t *c, int version, const mdm_eas_back_t *back, mdm_eas_policy_t *out)
{
    mdm_eas_query_t q = request(version, MDM_EAS_KEY_GIVEN, 0);
    mdm_eas_provided_t p;
    mdm_blob_t b;
    int gave_up;

    assert_int_equal(mdm_eas_offer(z->t->ctx, &c->rec, &q, back, 0, &b, &gave_up), APR_SUCCESS);
    assert_int_equal(mdm_eas_provided_read(z->t->ctx, b.data, b.len, &p), APR_SUCCESS);
    assert_int_equal(tree(b)->tag, MDM_WB_PV_Provision);
    assert_int_equal(p.policy_status, 1);
    mdm_eas_policy_read(z->t->pool, p.doc, out);
    return p.policy_key;
}

static apr_uint32_t acked(client_t *c, apr_uint32_t temp, int said, apr_uint32_t back_key, int *status)
{
    mdm_eas_provision_t p = {.kind = MDM_EAS_PROV_ACK, .key = MDM_EAS_KEY_GIVEN, .policy_key = temp, .status = said};
    apr_uint32_t back_temp, again, key;

    assert_int_equal(mdm_eas_ack(z->t->ctx, &c->rec, temp, &back_temp, &again), APR_SUCCESS);
    assert_int_equal(again, 0);
    assert_int_equal(mdm_eas_taken(z->t->ctx, &c->rec, &p, back_key, &key, status), APR_SUCCESS);
    load(c);
    return key;
}

static apr_uint32_t provisioned(client_t *c, int version)
{
    mdm_eas_policy_t p;
    int status;
    apr_uint32_t temp = handed(c, version, &nothing, &p), key = acked(c, temp, 1, 0, &status);

    assert_true(temp && key && temp != key && !status);
    return key;
}

static const char *delivery(client_t *c, const char *column)
{
    return ask(z, "SELECT %s FROM delivery WHERE device_id = '%s' AND channel = 'eas' AND hash <> ''", column, c->device);
}

static apr_int64_t value(const mdm_eas_policy_t *p, const char *name)
{
    int i = (int)(mdm_eas_setting_named(name) - mdm_eas_settings);

    return p->set[i] ? p->value[i] : -9;
}

/* ---------------------------------------------------------------- pure */

static void test_which_answer_for_which_key(void **state)
{
    enum { NONE = MDM_EAS_KEY_NONE, OURS = MDM_EAS_KEY_GIVEN, ZERO = 10, WRONG, FOREIGN };
    enum { P = MDM_DEVF_POLICY, OLD = MDM_DEVF_KEY_OLD, STUCK = MDM_DEVF_STUCK, LAX = MDM_DEVF_LAX };
    static const struct {
        apr_uint32_t flags, key; /* of the record */
        int sent, version, want;
    } all[] = {
        {0, 0, NONE, 141, 0}, {0, 0, ZERO, 141, 0}, {0, 0, WRONG, 121, 0}, /* nothing was ever agreed */
        {P, 0, NONE, 141, 142}, {P, 0, ZERO, 141, 142}, {P, 0, WRONG, 141, 142}, {P, 0, FOREIGN, 121, 142},
        {P, 7, OURS, 141, 0}, {P, 7, NONE, 141, 142}, {P, 7, ZERO, 141, 142}, {P, 7, WRONG, 141, 144}, {P, 7, FOREIGN, 121, 144},
        {P | OLD, 7, OURS, 141, 143}, {OLD, 7, OURS, 141, 143}, {P | OLD, 7, WRONG, 141, 144}, {P, 7, OURS, 160, 143},
        {0, 7, OURS, 141, 0}, {0, 7, NONE, 141, 142}, {0, 7, WRONG, 141, 144},
        {P | STUCK, 0, NONE, 141, 141}, {P | STUCK, 0, NONE, 121, 129}, {P | STUCK, 0, ZERO, 141, 129}, {P | STUCK, 7, WRONG, 141, 129},
        {P | STUCK | LAX, 0, NONE, 121, 0}, {P | STUCK | LAX, 7, WRONG, 141, 0}, {P | STUCK, 7, OURS, 141, 0},
        {P | STUCK | OLD, 7, OURS, 141, 129}, {P | STUCK | OLD | LAX, 7, OURS, 141, 0},
    };
    static const mdm_eas_cmd_e keyless[] = {MDM_EAS_OPTIONS, MDM_EAS_PING, MDM_EAS_PROVISION};

    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        mdm_devrec_t rec = {.flags = all[i].flags, .policy_key = all[i].key, .key_version = 141};
        mdm_eas_key_e kind = all[i].sent == NONE ? MDM_EAS_KEY_NONE : all[i].sent == FOREIGN ? MDM_EAS_KEY_FOREIGN : MDM_EAS_KEY_GIVEN;
        mdm_eas_query_t q = request(all[i].version, kind, all[i].sent == OURS ? 7 : all[i].sent == WRONG ? 8 : 0);

        rec.key_version = all[i].version == 121 ? 121 : 141;
        if (mdm_eas_key_judge(&rec, &q) != all[i].want) {
            fail_msg("row %u: %d", i, mdm_eas_key_judge(&rec, &q));
        }
        for (unsigned k = 0; k < 3; k++) {
            q.cmd = keyless[k];
            assert_int_equal(mdm_eas_key_judge(&rec, &q), 0);
        }
    }
}

static void test_flags_of_keys(void **state)
{
    const apr_int64_t day = MDM_EAS_TRIES_MS;
    const struct {
        mdm_eas_keys_t k;
        apr_uint32_t want;
    } all[] = {
        {{0}, 0},
        {{.rev = 5}, MDM_DEVF_POLICY},
        {{.rev = 5, .key = 1, .key_rev = 5}, MDM_DEVF_POLICY},
        {{.rev = 5, .key = 1, .key_rev = 4}, MDM_DEVF_POLICY | MDM_DEVF_KEY_OLD},
        {{.key = 1, .key_rev = 4}, MDM_DEVF_KEY_OLD},
        {{.rev = 5, .tries = MDM_EAS_TRIES - 1, .tries_rev = 5, .tries_ms = day, .lax = 1}, MDM_DEVF_POLICY},
        {{.rev = 5, .tries = MDM_EAS_TRIES, .tries_rev = 5, .tries_ms = day}, MDM_DEVF_POLICY | MDM_DEVF_STUCK},
        {{.rev = 5, .tries = MDM_EAS_TRIES, .tries_rev = 5, .tries_ms = day, .lax = 1}, MDM_DEVF_POLICY | MDM_DEVF_STUCK | MDM_DEVF_LAX},
        {{.rev = 5, .tries = MDM_EAS_TRIES, .tries_rev = 4, .tries_ms = day}, MDM_DEVF_POLICY},          /* another policy: asked anew */
        {{.rev = 5, .tries = MDM_EAS_TRIES, .tries_rev = 5, .tries_ms = 1}, MDM_DEVF_POLICY}, /* another day */
    };

    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_int_equal(mdm_eas_key_flags(&all[i].k, day + 2), all[i].want);
    }
}

/* ---------------------------------------------------------------- with the database */

static void test_handshake(void **state)
{
    client_t c;
    mdm_eas_policy_t p;
    apr_uint32_t temp, key, back_temp, again;
    int status;

    enrolled(&c, "HANDSHAKE01");
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_NONE, 0, NULL), 0); /* nothing is asked */
    policy(&c, SECURITY, "security", PIN(6));
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_NONE, 0, NULL), 142);
    temp = handed(&c, 141, &nothing, &p);
    assert_int_equal(value(&p, "MinDevicePasswordLength"), 6);
    assert_int_equal(mdm_eas_ack(z->t->ctx, &c.rec, temp + 1, &back_temp, &again), MDM_EDENIED);
    assert_int_equal(mdm_eas_ack(z->t->ctx, &c.rec, 0, &back_temp, &again), MDM_EDENIED);
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, temp, NULL), 142); /* not acknowledged yet */
    assert_string_equal(delivery(&c, "state"), "pending");
    key = acked(&c, temp, 1, 0, &status);
    assert_string_equal(delivery(&c, "state"), "applied");
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, key, NULL), 0);
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, key + 1, NULL), 144);
    /* its answer was lost: the same key again */
    assert_int_equal(mdm_eas_ack(z->t->ctx, &c.rec, temp, &back_temp, &again), APR_SUCCESS);
    assert_int_equal(again, key);
    /* another policy */
    policy(&c, SECURITY, "security", PIN(8));
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, key, NULL), 143);
    key = provisioned(&c, 141);
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, key, NULL), 0);
    /* none any more: its client hears of that, too */
    policy(&c, SECURITY, "security", "{}");
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, key, NULL), 143);
    handed(&c, 141, &nothing, &p);
    assert_int_equal(value(&p, "DevicePasswordEnabled"), 0);
}

static void test_change_that_a_version_does_not_know(void **state)
{
    client_t c;
    apr_uint32_t key;

    enrolled(&c, "VERSIONS001");
    policy(&c, SECURITY, "security", "{\"security.password\": {\"corporate\": true, \"personal\": true}}");
    key = provisioned(&c, 120);
    assert_int_equal(judged(&c, 120, MDM_EAS_KEY_GIVEN, key, NULL), 0);
    policy(&c, SECURITY, "security", ENCRYPT); /* an element of 12.1 */
    assert_int_equal(judged(&c, 120, MDM_EAS_KEY_GIVEN, key, NULL), 0);
    assert_true(!(c.rec.flags & MDM_DEVF_KEY_OLD)); /* and is not looked up again */
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, key, NULL), 143);
}

static void test_stricter_of_the_servers(void **state)
{
    client_t c;
    mdm_eas_policy_t theirs = {.set = {0}}, p;
    mdm_eas_back_t back = {&theirs, 4711};
    apr_uint32_t temp, back_temp, again, key;
    int status;

    enrolled(&c, "BACKEND0001");
    mdm_eas_policy_set(&theirs, mdm_eas_setting_named("DevicePasswordEnabled")->tag, 1);
    mdm_eas_policy_set(&theirs, mdm_eas_setting_named("MinDevicePasswordLength")->tag, 4);
    mdm_eas_policy_set(&theirs, mdm_eas_setting_named("AllowCamera")->tag, 0);
    policy(&c, SECURITY, "security", PIN(6));
    temp = handed(&c, 141, &back, &p);
    assert_int_equal(value(&p, "MinDevicePasswordLength"), 6);
    assert_int_equal(value(&p, "AllowCamera"), 0);
    assert_int_equal(mdm_eas_ack(z->t->ctx, &c.rec, temp, &back_temp, &again), APR_SUCCESS);
    assert_int_equal(back_temp, 4711);
    key = acked(&c, temp, 1, 4712, &status);
    assert_int_equal(c.rec.back_key, 4712);
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, key, NULL), 0);
    assert_int_equal(mdm_eas_back_stale(z->t->ctx, &c.rec), APR_SUCCESS);
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, key, NULL), 142);
    assert_int_equal(c.rec.back_key, 0);
}

static void test_a_loop_ends(void **state)
{
    client_t c;
    int gave_up = 0, i;
    mdm_eas_policy_t p;

    enrolled(&c, "LOOP0000001");
    policy(&c, SECURITY, "security", PIN(6));
    policy(&c, EMAIL, "email", LAX(false));
    for (i = 0; i < MDM_EAS_TRIES / 2; i++) { /* it takes the key and never shows it */
        assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, 0, &gave_up), 142);
        if (i + 1 < MDM_EAS_TRIES / 2) {
            handed(&c, 141, &nothing, &p);
        }
    }
    assert_int_equal(gave_up, 0);
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, 0, &gave_up), 142);
    assert_int_equal(gave_up, 1);
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, 0, &gave_up), 129);
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_NONE, 0, &gave_up), 141);
    assert_int_equal(judged(&c, 121, MDM_EAS_KEY_NONE, 0, &gave_up), 129);
    assert_int_equal(gave_up, 1);
    assert_string_equal(delivery(&c, "state"), "failed");
    assert_string_equal(ask(z, "SELECT code FROM message WHERE object_id = '%s'", c.device), "eas.policy");
    policy(&c, EMAIL, "email", LAX(true)); /* people decide otherwise */
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, 0, &gave_up), 0);
    load(&c);
    assert_true(c.rec.flags & MDM_DEVF_LAX); /* from then on without the database */
    policy(&c, EMAIL, "email", LAX(false));
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, 0, &gave_up), 129);
    policy(&c, SECURITY, "security", PIN(7)); /* another policy is asked for anew */
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, 0, &gave_up), 142);
    assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, provisioned(&c, 141), NULL), 0);
}

static void test_what_a_client_says_of_its_policy(void **state)
{
    static const struct {
        const char *id, *lax;
        int said, status;
    } all[] = {{"SAYS0000002", LAX(true), 2, 0}, {"SAYS0000003", LAX(true), 3, 0}, {"SAYS0000004", LAX(true), 4, 0},
               {"SAYS0000012", LAX(false), 2, 139}, {"SAYS0000013", LAX(false), 3, 139}, {"SAYS0000014", LAX(false), 4, 145}};

    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        client_t c;
        mdm_eas_policy_t p;
        apr_uint32_t key;
        int status;

        enrolled(&c, all[i].id);
        policy(&c, SECURITY, "security", PIN(6));
        policy(&c, EMAIL, "email", all[i].lax);
        key = acked(&c, handed(&c, 141, &nothing, &p), all[i].said, 0, &status);
        assert_int_equal(status, all[i].status);
        assert_string_equal(delivery(&c, "state"), "failed");
        assert_true(strlen(delivery(&c, "error")) > 10);
        assert_string_equal(ask(z, "SELECT code FROM message WHERE object_id = '%s'", c.device), "eas.policy");
        assert_int_equal(judged(&c, 141, MDM_EAS_KEY_GIVEN, key, NULL), status ? 129 : 0);
        assert_true(!key == !!status);
    }
}

static void test_management_elsewhere_is_ours(void **state)
{
    client_t c;
    mdm_eas_policy_t p;
    int status;

    enrolled(&c, "MANAGED0001");
    policy(&c, SECURITY, "security", PIN(6));
    policy(&c, EMAIL, "email", LAX(false));
    sql(z, "UPDATE device SET mode = 'ios_mdm_eas' WHERE id = '%s'", c.device);
    assert_true(acked(&c, handed(&c, 141, &nothing, &p), 4, 0, &status));
    assert_string_equal(delivery(&c, "state"), "applied");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_answer_for_which_key),
        cmocka_unit_test(test_flags_of_keys),
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_change_that_a_version_does_not_know),
        cmocka_unit_test(test_stricter_of_the_servers),
        cmocka_unit_test(test_a_loop_ends),
        cmocka_unit_test(test_what_a_client_says_of_its_policy),
        cmocka_unit_test(test_management_elsewhere_is_ours),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
