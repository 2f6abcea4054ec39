/* From the database to the cache's record: ActiveSync records by (person, DeviceId), and their contact times (R17, GATE-01, PRF-12). */
#include "dbtest.h"

#include "domain/mdm_devload.h"

#define ROOT "00000000-0000-4000-8000-000000000001"
#define ANNA "10000000-0000-4000-8000-00000000000a"
#define BERT "10000000-0000-4000-8000-00000000000b"
#define PHONE "20000000-0000-4000-8000-000000000001"
#define MAIL_ONLY "20000000-0000-4000-8000-000000000002"
#define PHONE_MAIL "30000000-0000-4000-8000-000000000001"
#define MAIL_RECORD "30000000-0000-4000-8000-000000000002"
#define PHONE_OTHER "30000000-0000-4000-8000-000000000003"

static dbtest_t *T;
static mdm_devcache_t *C;
static apr_uint64_t segment[1 << 15] __attribute__((aligned(4096)));

static int setup(void **state)
{
    T = dbtest_make(1);
    memset(segment, 0, sizeof(segment));
    assert_int_equal(mdm_devcache_init(segment, sizeof(segment), (const unsigned char *)"0123456789abcdef", &C), APR_SUCCESS);
    assert_int_equal(dbtest_sql(T,
        "INSERT INTO person (id, login, login_key, name, created_ms) VALUES ('" ANNA "', 'anna', 'anna', 'Anna', 1), "
        "('" BERT "', 'bert', 'bert', 'Bert', 1)"), 0);
    assert_int_equal(dbtest_sql(T,
        "INSERT INTO device (id, name, name_key, folder_id, person_id, state, mode, created_ms, lost_ms, last_contact_ms) VALUES "
        "('" PHONE "', 'phone', 'phone', '" ROOT "', '" ANNA "', 'active', 'ios_mdm_eas', 1, 7, 70), "
        "('" MAIL_ONLY "', 'mail', 'mail', '" ROOT "', '" BERT "', 'pending', 'eas', 1, 7, 70)"), 0);
    assert_int_equal(dbtest_sql(T,
        "INSERT INTO source_record (id, device_id, person_id, kind, class, live, native_id, state, first_seen_ms, last_seen_ms) VALUES "
        "('30000000-0000-4000-8000-000000000001', '" PHONE "', '" ANNA "', 'eas', 'native', 1, 'DEV1', 'enrolled', 1, 1), "
        "('30000000-0000-4000-8000-000000000002', '" MAIL_ONLY "', '" BERT "', 'eas', 'native', 1, 'DEV1', 'issued', 1, 1), "
        "('30000000-0000-4000-8000-000000000003', '" PHONE "', '" ANNA "', 'eas', 'other:1', 0, 'GONE', 'left', 1, 1), "
        "('30000000-0000-4000-8000-000000000004', NULL, '" ANNA "', 'eas', 'other:2', 1, 'ALONE', 'enrolled', 1, 1), "
        "('30000000-0000-4000-8000-000000000005', '" PHONE "', '" ANNA "', 'mdm', '', 1, 'DEV1', 'enrolled', 1, 1)"), 0);
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(T);
    return 0;
}

static apr_status_t load(const char *person, const char *device_id, mdm_devrec_t *out)
{
    mdm_db_t *db;
    apr_status_t rv;

    assert_int_equal(mdm_db_open(T->ctx, &db), APR_SUCCESS);
    rv = mdm_devload_by_eas(db, C, person, device_id, out);
    mdm_db_close(db);
    return rv;
}

static void same_device_id_of_two_people_is_two_records(void **state)
{
    mdm_devrec_t a, b;

    assert_int_equal(load(ANNA, "DEV1", &a), APR_SUCCESS);
    assert_int_equal(load(BERT, "DEV1", &b), APR_SUCCESS);
    assert_int_equal(a.kind, MDM_KIND_EAS);
    assert_int_equal(a.state, MDM_DEV_ACTIVE);
    assert_int_equal(b.state, MDM_DEV_PENDING);
    assert_string_equal(mdm_uuid_text(T->pool, a.device), PHONE);
    assert_string_equal(mdm_uuid_text(T->pool, b.device), MAIL_ONLY);
    assert_int_equal(a.flags, MDM_DEVF_LINKED | MDM_DEVF_ENROLLED | MDM_DEVF_LOST);
    assert_int_equal(b.flags, MDM_DEVF_LINKED | MDM_DEVF_LOST);
    assert_memory_not_equal(&a.keys[MDM_DK_NATIVE], &b.keys[MDM_DK_NATIVE], sizeof(mdm_devkey_t));
}

static void unknown_left_and_hostile_ones_are_not_found(void **state)
{
    char big[4000];
    mdm_devrec_t r;

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    assert_int_equal(load(ANNA, "DEV2", &r), APR_NOTFOUND);
    assert_int_equal(load(ANNA, "GONE", &r), APR_NOTFOUND);
    assert_int_equal(load("", "DEV1", &r), APR_NOTFOUND);
    assert_int_equal(load(ANNA, "' OR 1=1 --", &r), APR_NOTFOUND);
    assert_int_equal(load(ANNA, big, &r), APR_NOTFOUND);
    assert_int_equal(r.kind, 0);
    mdm_devkey_eas(C, big, big); /* cut, not overrun */
}

static void record_without_device_answers(void **state)
{
    mdm_devrec_t r;

    assert_int_equal(load(ANNA, "ALONE", &r), APR_SUCCESS);
    assert_int_equal(r.keys[MDM_DK_DEVICE].hi | r.keys[MDM_DK_DEVICE].lo, 0);
    assert_int_equal(r.state, 0);
}

static void change_of_the_device_drops_its_mail_record(void **state)
{
    mdm_devkey_t key = mdm_devkey_eas(C, ANNA, "DEV1");
    apr_uint32_t ticket = mdm_devcache_ticket(C, &key);
    mdm_devrec_t r;

    assert_int_equal(load(ANNA, "DEV1", &r), APR_SUCCESS);
    assert_int_equal(mdm_devcache_put(C, &r, &key, ticket), APR_SUCCESS);
    assert_int_equal(mdm_devcache_get(C, &key, &r), APR_SUCCESS);
    mdm_devload_forget(C, T->pool, "device", PHONE);
    assert_int_equal(mdm_devcache_get(C, &key, &r), APR_NOTFOUND);
}

static void check_row(const char *device, const char *want)
{
    assert_int_equal(dbtest_sql(T, "CREATE TABLE seen (t TEXT UNIQUE)"), 0);
    assert_int_equal(dbtest_sql(T, apr_psprintf(T->pool, "INSERT INTO seen VALUES ('%s')", want)), 0);
    /* a second row of the same text does not go in: so what stands in the table is what was wanted */
    assert_int_not_equal(dbtest_sql(T, apr_psprintf(T->pool,
        "INSERT INTO seen SELECT COALESCE(CAST(last_eas_ms AS TEXT), '-') || ' ' || CAST(last_contact_ms AS TEXT) || ' ' || "
        "last_contact_ip || ' ' || last_contact_peer || ' ' || COALESCE(CAST(lost_ms AS TEXT), '-') FROM device WHERE id = '%s'", device)), 0);
    assert_int_equal(dbtest_sql(T, "DROP TABLE seen"), 0);
}

static void mail_contacts_are_kept_apart_from_management(void **state)
{
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(T->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_q_cache_mail_contacts(db,
        "[{\"id\":\"" PHONE_MAIL "\",\"ms\":900,\"ip\":\"192.0.2.1\",\"peer\":\"10.0.0.1\"},"
        "{\"id\":\"" PHONE_OTHER "\",\"ms\":500,\"ip\":\"192.0.2.9\",\"peer\":\"10.0.0.1\"},"
        "{\"id\":\"" MAIL_RECORD "\",\"ms\":600,\"ip\":\"192.0.2.2\",\"peer\":\"10.0.0.2\"}]", NULL), APR_SUCCESS);
    mdm_db_close(db);
    check_row(PHONE, "900 70   7"); /* two clients: the later; what management knows stays */
    check_row(MAIL_ONLY, "600 600 192.0.2.2 10.0.0.2 -");
    assert_int_equal(mdm_db_open(T->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_q_cache_mail_contacts(db, "[{\"id\":\"" PHONE_MAIL "\",\"ms\":800,\"ip\":\"\",\"peer\":\"\"}]", NULL), APR_SUCCESS);
    mdm_db_close(db);
    check_row(PHONE, "900 70   7"); /* an older one changes nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(same_device_id_of_two_people_is_two_records, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_left_and_hostile_ones_are_not_found, setup, teardown),
        cmocka_unit_test_setup_teardown(record_without_device_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(change_of_the_device_drops_its_mail_record, setup, teardown),
        cmocka_unit_test_setup_teardown(mail_contacts_are_kept_apart_from_management, setup, teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
