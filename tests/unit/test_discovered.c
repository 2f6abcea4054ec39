/* Mail servers' own device lists (EAS-05): rows become mail records that give no right, and the gate takes them over. MDM_TEST_DB chooses the engine. */
#include "apple_test.h"

#include "domain/mdm_eas.h"
#include "domain/mdm_eas_discovered.h"

#define SERVER "00000000-0000-4000-8000-0000000000aa"
#define OTHER "00000000-0000-4000-8000-0000000000ab"
#define HEAD "User;Device-ID;DeviceType;User Agent;LastSync\r\n"

static zone_t *z;

static int setup(void **state)
{
    const char *ben;

    z = zone_make();
    assert_int_equal(mdm_person_create(z->t->ctx, "ben", "Ben Example", "ben@example.org", "", "correct horse battery", &ben), APR_SUCCESS);
    sql(z, "INSERT INTO eas_server (id, name, host, port, created_ms) VALUES ('%s', 'Post', 'mail.example.org', 443, 1)", SERVER);
    sql(z, "INSERT INTO eas_server (id, name, host, port, created_ms) VALUES ('%s', 'Other', 'mail.example.org', 443, 1)", OTHER);
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

/* "rows new changed same errors" */
static const char *take(const char *server, const char *csv, json_t **out)
{
    mdm_discovered_t *d;
    json_t *r;

    assert_int_equal(mdm_discovered_begin(z->t->ctx, server, &d), APR_SUCCESS);
    assert_int_equal(mdm_discovered_csv(d, csv, strlen(csv)), APR_SUCCESS);
    assert_int_equal(mdm_discovered_end(d, &r), APR_SUCCESS);
    if (out) {
        *out = r;
    }
#define N(name) (int)json_integer_value(json_object_get(r, name))
    return apr_psprintf(z->t->pool, "%d %d %d %d %d", N("rows"), N("new"), N("changed"), N("same"), N("errors"));
}

static const char *state_of(const char *native)
{
    return ask(z, "SELECT state FROM source_record WHERE kind = 'eas' AND live = 1 AND native_id = '%s'", native);
}

static void eas05_the_same_list_again_changes_nothing(void **state)
{
    static const char one[] = HEAD "ben;apple-1;iPhone;Apple-iPhone12C8/1906.77;2026-11-20T08:15:00Z\r\n"
                                   "ben@example.org;ANDROID42;Android;;2026-11-20 09:15:00+01:00\r\n";

    assert_string_equal(take(SERVER, one, NULL), "2 2 0 0 0");
    assert_string_equal(take(SERVER, one, NULL), "2 0 0 2 0");
    assert_string_equal(state_of("APPLE-1"), "discovered");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM source_record WHERE device_id IS NULL AND class = 'native' AND last_seen_ms = 1795162500000"), "2");
    assert_string_equal(take(SERVER, HEAD "ben;APPLE-1;iPhone;Apple-iPhone12C8/1906.77;2026-11-21T08:15:00Z", NULL), "1 0 1 0 0");
    assert_string_equal(take(SERVER, one, NULL), "2 0 0 2 0"); /* an older list */
    assert_string_equal(take(OTHER, one, NULL), "2 0 2 0 0");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM audit WHERE action = 'eas_server.discovered'"), "5");
}

static void eas05_wrong_rows_are_told(void **state)
{
    json_t *r, *e;
    char *csv = apr_pstrdup(z->t->pool, HEAD);
    int i;
    static const char *const wrong[][2] = {{"nobody;AAAAAAAA;;;", "user"}, {";AAAAAAAA;;;", "user"}, {"ben;;;;", "device_id"},
                                           {"ben;A B;;;", "device_id"}, {"ben;AAAAAAAA;;;11/20/2026", "last_sync"},
                                           {"ben;AAAAAAAA;;;2026-13-20", "last_sync"}, {"ben;AAAAAAAA;;;2026-11-20T25:00", "last_sync"},
                                           {"ben;AAAAAAAA;;;2026-11-20T08:15:00Zx", "last_sync"}, {"be\"n;AAAAAAAA;;;", ""}};

    for (i = 0; i < (int)(sizeof(wrong) / sizeof(wrong[0])); ++i) {
        csv = apr_pstrcat(z->t->pool, csv, wrong[i][0], "\n", NULL);
    }
    assert_string_equal(take(SERVER, apr_pstrcat(z->t->pool, csv, "ben;GOODGOOD\n", NULL), &r), "10 1 0 0 9");
    for (i = 0; i < (int)(sizeof(wrong) / sizeof(wrong[0])); ++i) {
        e = json_array_get(json_object_get(r, "first_errors"), (size_t)i);
        assert_int_equal(json_integer_value(json_object_get(e, "line")), i + 2);
        assert_string_equal(json_string_value(json_object_get(e, "field")), wrong[i][1]);
    }
    for (i = 0; i < 1200; ++i) { /* several batches, more errors than are told */
        csv = apr_pstrcat(z->t->pool, i ? csv : HEAD, i % 2 ? "ben;TWICETWICE\n" : "nobody;AAAAAAAA\n", NULL);
    }
    assert_string_equal(take(SERVER, csv, &r), "1200 1 0 599 600");
    assert_int_equal(json_array_size(json_object_get(r, "first_errors")), 100);
}

static void eas05_a_file_without_its_columns_is_refused(void **state)
{
    static const char *const bad[] = {"", "User;Model\nben;x\n", "DeviceId\nA\n"};
    mdm_discovered_t *d;
    int i;

    for (i = 0; i < 3; ++i) {
        assert_int_equal(mdm_discovered_begin(z->t->ctx, SERVER, &d), APR_SUCCESS);
        assert_int_equal(mdm_discovered_csv(d, bad[i], strlen(bad[i])), MDM_EINPUT);
    }
    assert_int_equal(mdm_discovered_begin(z->t->ctx, z->person->id, &d), APR_NOTFOUND);
}

/* A discovered record gives no mail and no verdict; the first contact takes it over, with what the list told. */
static void eas05_the_gate_takes_it_over(void **state)
{
    mdm_eas_client_t c = {.device_id = "ANDROID42", .device_type = "Android", .user_agent = "Android/14", .version = 141};
    mdm_q_cache_by_eas_t *row;
    mdm_db_t *db;
    const char *id;

    c.person_id = z->person->id;
    take(SERVER, apr_psprintf(z->t->pool, "User,DeviceId,Model,FirstSync\n%s,android42,Pixel 8,2026-01-02\n", z->person->login), NULL);
    id = ask(z, "SELECT id FROM source_record WHERE native_id = 'ANDROID42'");
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_q_cache_by_eas(db, z->person->id, "ANDROID42", &row), APR_NOTFOUND);
    mdm_db_close(db);
    assert_int_equal(mdm_eas_first_contact(z->t->ctx, &c), APR_SUCCESS);
    assert_string_equal(ask(z, "SELECT id FROM source_record WHERE native_id = 'ANDROID42'"), id);
    assert_string_equal(state_of("ANDROID42"), "authenticated");
    assert_non_null(strstr(ask(z, "SELECT attrs FROM source_record WHERE id = '%s'", id), "Pixel 8"));
    assert_non_null(strstr(ask(z, "SELECT attrs FROM source_record WHERE id = '%s'", id), "Android/14"));
    assert_string_equal(ask(z, "SELECT first_seen_ms FROM source_record WHERE id = '%s'", id), "1767312000000");
    assert_string_equal(take(SERVER, apr_psprintf(z->t->pool, "User,DeviceId,Model\n%s,ANDROID42,Other\n", z->person->login), NULL), "1 0 1 0 0");
    assert_string_equal(state_of("ANDROID42"), "authenticated");
    assert_null(strstr(ask(z, "SELECT attrs FROM source_record WHERE id = '%s'", id), "Other"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {T(eas05_the_same_list_again_changes_nothing), T(eas05_wrong_rows_are_told),
                                       T(eas05_a_file_without_its_columns_is_refused), T(eas05_the_gate_takes_it_over)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
