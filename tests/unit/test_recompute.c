/* Marks and what they reach (POL-05, POL-06, POL-09), both engines. MDM_TEST_DB chooses the engine. */
#include "apple_test.h"
#include "domain/mdm_folder.h"
#include "domain/mdm_recompute.h"

static zone_t *z;

#define ID(kind, n) "0000000" #n "-0000-4000-8000-0000000000" kind
#define DEV(n) ID("d0", n)
#define PERSON(n) ID("a0", n)
#define GROUP(n) ID("b0", n)
#define UGROUP(n) ID("c0", n)
#define UFOLDER(n) ID("e0", n)
#define FOLDER(n) ID("f0", n)
#define POLICY(n) ID("10", n)
#define SOURCE ID("20", 1)

static void device(const char *id, const char *folder, const char *person)
{
    sql(z, "INSERT INTO device (id, name, name_key, folder_id, person_id, state, mode, ownership, platform, created_ms) "
           "VALUES ('%s', 'd', 'd', '%s', %s%s%s, 'active', 'ios_mdm', 'corporate', 'ios', 0)",
        id, folder, person ? "'" : "", person ? person : "NULL", person ? "'" : "");
}

static void person(const char *id, const char *login, const char *folder)
{
    sql(z, "INSERT INTO person (id, source_id, folder_id, login, login_key, name, created_ms) VALUES ('%s', '%s', '%s', '%s', '%s', 'P', 0)",
        id, SOURCE, folder, login, login);
}

/* With the references' actions, as the engine has them. */
static void change(const char *fmt, const char *id)
{
    sql(z, "%s%s", strncmp(z->t->params, "pgsql:", 6) ? "PRAGMA foreign_keys = ON; " : "", apr_psprintf(z->t->pool, fmt, id));
}

/* Folders 1 > 2; user folders 1 > 2; person 1 in user folder 2 with devices 1 and 2; person 2 in user folder 1 with device 3. */
static int setup(void **state)
{
    z = zone_make();
    sql(z, "INSERT INTO folder (id, parent_id, name) VALUES ('%s', '%s', 'One'), ('%s', '%s', 'Two')", FOLDER(1), MDM_FOLDER_ROOT, FOLDER(2),
        FOLDER(1));
    sql(z, "INSERT INTO folder_above (folder_id, above_id) VALUES ('%s', '%s'), ('%s', '%s'), ('%s', '%s'), ('%s', '%s'), ('%s', '%s')",
        FOLDER(1), FOLDER(1), FOLDER(1), MDM_FOLDER_ROOT, FOLDER(2), FOLDER(2), FOLDER(2), FOLDER(1), FOLDER(2), MDM_FOLDER_ROOT);
    sql(z, "INSERT INTO user_source (id, name, kind, created_ms) VALUES ('%s', 'dir', 'ldap', 0)", SOURCE);
    sql(z, "INSERT INTO user_folder (id, source_id, parent_id, name) VALUES ('%s', '%s', NULL, 'All'), ('%s', '%s', '%s', 'Staff')",
        UFOLDER(1), SOURCE, UFOLDER(2), SOURCE, UFOLDER(1));
    sql(z, "INSERT INTO user_group (id, source_id, name, position) VALUES ('%s', '%s', 'G1', 1), ('%s', '%s', 'G2', 2)", UGROUP(1), SOURCE,
        UGROUP(2), SOURCE);
    person(PERSON(1), "one", UFOLDER(2));
    person(PERSON(2), "two", UFOLDER(1));
    device(DEV(1), FOLDER(1), PERSON(1));
    device(DEV(2), FOLDER(2), PERSON(1));
    device(DEV(3), MDM_FOLDER_ROOT, PERSON(2));
    sql(z, "INSERT INTO device_group (id, name, kind, position) VALUES ('%s', 'g1', 'static', 1), ('%s', 'g2', 'static', 2)", GROUP(1), GROUP(2));
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

static int empty(void **state)
{
    sql(z, "DELETE FROM device_group_member");
    sql(z, "DELETE FROM user_group_member");
    sql(z, "DELETE FROM recompute");
    sql(z, "DELETE FROM recompute_device");
    return 0;
}

/* The marks that there are, "kind:id kind:id", sorted; forgotten then. */
static const char *marks(void)
{
    const char *text = ask(z, "SELECT %s FROM (SELECT DISTINCT target_kind || ':' || target_id AS x FROM recompute ORDER BY 1) AS m",
                           strncmp(z->t->params, "pgsql:", 6) ? "group_concat(x, ' ')" : "string_agg(x, ' ' ORDER BY x)");

    sql(z, "DELETE FROM recompute");
    return text;
}

static apr_int64_t reach(const char *kind, const char *id)
{
    apr_int64_t n = -1;
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_recompute_reach(db, kind, id, 1000, &n), APR_SUCCESS);
    mdm_db_close(db);
    return n;
}

/* POL-05: each kind of target, with what is below it. */
static void test_reach(void **state)
{
    sql(z, "INSERT INTO device_group_member (group_id, device_id) VALUES ('%s', '%s'), ('%s', '%s')", GROUP(1), DEV(1), GROUP(1), DEV(3));
    sql(z, "INSERT INTO user_group_member (group_id, person_id) VALUES ('%s', '%s')", UGROUP(1), PERSON(1));
    assert_int_equal(reach("device", DEV(1)), 1);
    assert_int_equal(reach("device", FOLDER(1)), 0);
    assert_int_equal(reach("person", PERSON(1)), 2);
    assert_int_equal(reach("folder", MDM_FOLDER_ROOT), 3);
    assert_int_equal(reach("folder", FOLDER(1)), 2);
    assert_int_equal(reach("folder", FOLDER(2)), 1);
    assert_int_equal(reach("device_group", GROUP(1)), 2);
    assert_int_equal(reach("device_group", GROUP(2)), 0);
    assert_int_equal(reach("user_group", UGROUP(1)), 2);
    assert_int_equal(reach("user_folder", UFOLDER(1)), 3);
    assert_int_equal(reach("user_folder", UFOLDER(2)), 2);
    assert_int_equal(reach("user_source", SOURCE), 3);
    sql(z, "UPDATE device SET state = 'retired' WHERE id = '%s'", DEV(1));
    assert_int_equal(reach("folder", MDM_FOLDER_ROOT), 2);
    sql(z, "UPDATE device SET state = 'active' WHERE id = '%s'", DEV(1));
}

static void test_marks_are_left(void **state)
{
    mdm_recompute_left_t left;
    apr_int64_t n;
    mdm_db_t *db;
    json_t *ids = json_pack("[s, s]", DEV(1), DEV(2));

    sql(z, "INSERT INTO policy (id, type, name, created_ms) VALUES ('%s', 'security', 'p', 0)", POLICY(1));
    sql(z, "INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, created_ms) VALUES "
           "('x1', 'policy', '%s', 'security', 'folder', '%s', 0), ('x2', 'policy', '%s', 'security', 'person', '%s', 0)",
        POLICY(1), FOLDER(1), POLICY(1), PERSON(1));
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_recompute_left(db, &left), APR_SUCCESS);
    assert_int_equal(left.marks, 0);
    assert_int_equal(left.since_ms, 0);
    assert_int_equal(mdm_recompute_mark(db, "folder", FOLDER(2)), APR_SUCCESS);
    assert_int_equal(mdm_recompute_mark_devices(db, ids), APR_SUCCESS);
    assert_int_equal(mdm_recompute_mark_policy(db, POLICY(1)), APR_SUCCESS);
    assert_int_equal(mdm_recompute_mark(db, "planet", "x"), MDM_EINPUT);
    assert_int_equal(mdm_recompute_reach(db, "planet", "x", 5, &n), MDM_EINPUT);
    assert_int_equal(mdm_recompute_left(db, &left), APR_SUCCESS);
    assert_int_equal(left.marks, 5);
    assert_int_equal(left.since_ms, mdm_now_ms(z->t->ctx));
    mdm_db_close(db);
    json_decref(ids);
    assert_string_equal(marks(), "device:" DEV(1) " device:" DEV(2) " folder:" FOLDER(1) " folder:" FOLDER(2) " person:" PERSON(1));
    sql(z, "DELETE FROM assignment");
    sql(z, "DELETE FROM policy");
}

/* POL-06: whatever policies depend on marks who is concerned by itself, and nothing else does. */
static void test_changes_mark_themselves(void **state)
{
    static const struct {
        const char *change, *marks;
    } cases[] = {
        {"UPDATE device SET folder_id = '" FOLDER(2) "' WHERE id = '" DEV(1) "'", "device:" DEV(1)},
        {"UPDATE device SET folder_id = '" FOLDER(1) "', name = 'n' WHERE id = '" DEV(1) "'", "device:" DEV(1)},
        {"UPDATE device SET folder_id = folder_id, name = 'm', last_contact_ms = 5, refresh_due_ms = 6 WHERE id = '" DEV(1) "'", ""},
        {"UPDATE device SET ownership = 'personal' WHERE id = '" DEV(2) "'", "device:" DEV(2)},
        {"UPDATE device SET ownership = 'corporate' WHERE id = '" DEV(2) "'", "device:" DEV(2)},
        {"UPDATE device SET test_device = 1 WHERE id = '" DEV(2) "'", "device:" DEV(2)},
        {"UPDATE device SET test_device = 0 WHERE id = '" DEV(2) "'", "device:" DEV(2)},
        {"UPDATE device SET state = 'retired' WHERE id = '" DEV(2) "'", "device:" DEV(2)},
        {"UPDATE device SET state = 'active' WHERE id = '" DEV(2) "'", "device:" DEV(2)},
        {"UPDATE device SET person_id = NULL WHERE id = '" DEV(3) "'", "device:" DEV(3)},
        {"UPDATE device SET person_id = '" PERSON(2) "' WHERE id = '" DEV(3) "'", "device:" DEV(3)},
        {"UPDATE device SET os_version = '17.1', supervised = 1 WHERE id = '" DEV(3) "'", "device:" DEV(3)},
        {"UPDATE device SET inventory = '{\"device\":{\"x\":1}}', battery = 0.5 WHERE id = '" DEV(3) "'", ""},
        {"INSERT INTO device_group_member (group_id, device_id) VALUES ('" GROUP(1) "', '" DEV(1) "'), ('" GROUP(1) "', '" DEV(2) "')",
         "device:" DEV(1) " device:" DEV(2)},
        {"UPDATE device_group SET name = 'other' WHERE id = '" GROUP(1) "'", ""},
        {"UPDATE device_group SET position = 9 WHERE id = '" GROUP(1) "'", "device_group:" GROUP(1)},
        {"DELETE FROM device_group_member WHERE device_id = '" DEV(2) "'", "device:" DEV(2)},
        {"DELETE FROM device_group WHERE id = '" GROUP(1) "'", "device:" DEV(1)},
        {"INSERT INTO device_group (id, name, kind, position) VALUES ('" GROUP(1) "', 'g1', 'static', 1)", ""},
        {"UPDATE folder SET parent_id = '" MDM_FOLDER_ROOT "' WHERE id = '" FOLDER(2) "'", "below:" FOLDER(2)},
        {"UPDATE folder SET parent_id = '" FOLDER(1) "', name = 'Zwei' WHERE id = '" FOLDER(2) "'", "below:" FOLDER(2)},
        {"UPDATE folder SET name = 'Two', settings = '{}' WHERE id = '" FOLDER(2) "'", ""},
        {"INSERT INTO user_group_member (group_id, person_id) VALUES ('" UGROUP(1) "', '" PERSON(1) "')", "person:" PERSON(1)},
        {"INSERT INTO user_group_member (group_id, person_id) VALUES ('" UGROUP(1) "', '" PERSON(1) "') ON CONFLICT DO NOTHING", ""},
        {"UPDATE user_group SET position = 7 WHERE id = '" UGROUP(1) "'", "user_group:" UGROUP(1)},
        {"DELETE FROM user_group WHERE id = '" UGROUP(2) "'", ""},
        {"DELETE FROM user_group_member", "person:" PERSON(1)},
        {"UPDATE person SET refreshed_ms = 7, name = 'P' WHERE id = '" PERSON(1) "'", ""},
        {"UPDATE person SET disabled = 1 WHERE id = '" PERSON(1) "'", "person:" PERSON(1)},
        {"UPDATE person SET folder_id = '" UFOLDER(1) "', disabled = 0 WHERE id = '" PERSON(1) "'", "person:" PERSON(1)},
        {"UPDATE person SET folder_id = '" UFOLDER(2) "' WHERE id = '" PERSON(1) "'", "person:" PERSON(1)},
        {"UPDATE user_folder SET parent_id = NULL WHERE id = '" UFOLDER(2) "'", "user_folder:" UFOLDER(2)},
        {"UPDATE user_folder SET parent_id = '" UFOLDER(1) "' WHERE id = '" UFOLDER(2) "'", "user_folder:" UFOLDER(2)},
        {"INSERT INTO source_record (id, device_id, kind, native_id, state, first_seen_ms, last_seen_ms) VALUES "
         "('r1', '" DEV(1) "', 'mdm', 'U1', 'authenticated', 0, 0)", "device:" DEV(1)},
        {"UPDATE source_record SET last_seen_ms = 4, push_token = 'x' WHERE id = 'r1'", ""},
        {"UPDATE source_record SET state = 'enrolled' WHERE id = 'r1'", "device:" DEV(1)},
        {"UPDATE source_record SET device_id = '" DEV(2) "' WHERE id = 'r1'", "device:" DEV(1) " device:" DEV(2)},
    };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *found;

        change("%s", cases[i].change);
        found = marks();
        if (strcmp(found, cases[i].marks) != 0)
            fail_msg("%s: marks '%s'", cases[i].change, found);
    }
    sql(z, "DELETE FROM source_record");
}

/* USR-08: a source that goes takes its people's places; a person that goes leaves devices behind. */
static void test_what_goes_marks_too(void **state)
{
    sql(z, "UPDATE person SET source_id = NULL WHERE id = '%s'", PERSON(2));
    assert_string_equal(marks(), "person:" PERSON(2));
    change("DELETE FROM person WHERE id = '%s'", PERSON(2));
    assert_string_equal(marks(), "device:" DEV(3));
    sql(z, "INSERT INTO user_group_member (group_id, person_id) VALUES ('%s', '%s')", UGROUP(1), PERSON(1));
    marks();
    change("DELETE FROM user_source WHERE id = '%s'", SOURCE);
    assert_string_equal(marks(), "person:" PERSON(1));
}

/* The job is called by the mark itself, also while it runs. */
static void test_a_mark_calls_the_job(void **state)
{
    sql(z, "INSERT INTO job (id, kind, unique_key, run_at_ms, created_ms) VALUES ('j', 'policy.recompute', 'period:policy.recompute', 4000000000000, 0)");
    sql(z, "UPDATE device SET test_device = 1 WHERE id = '%s'", DEV(1));
    assert_string_equal(ask(z, "SELECT run_at_ms FROM job WHERE id = 'j'"), "1");
    sql(z, "UPDATE job SET state = 'running', run_at_ms = 0 WHERE id = 'j'");
    sql(z, "UPDATE device SET test_device = 0 WHERE id = '%s'", DEV(1));
    assert_string_equal(ask(z, "SELECT run_at_ms FROM job WHERE id = 'j'"), "1");
    sql(z, "DELETE FROM job");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reach, empty),
        cmocka_unit_test_setup(test_marks_are_left, empty),
        cmocka_unit_test_setup(test_changes_mark_themselves, empty),
        cmocka_unit_test_setup(test_a_mark_calls_the_job, empty),
        cmocka_unit_test_setup(test_what_goes_marks_too, empty),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
