/* Marks and what they reach (POL-05, POL-06, POL-09), both engines. MDM_TEST_DB chooses the engine. */
#include "apple_test.h"
#include "domain/mdm_folder.h"
#include "domain/mdm_recompute.h"

#include <apr_thread_proc.h>

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
    sql(z, "INSERT INTO job (id, kind, state, lease_owner, run_at_ms, created_ms) VALUES ('run', 'test', 'running', 'test', 0, 0)");
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
        {"INSERT INTO user_group (id, source_id, name, position) VALUES ('" UGROUP(2) "', '" SOURCE "', 'G2', 2)", ""},
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
        {"INSERT INTO eas_server (id, name, host, port, created_ms) VALUES ('e1', 'e1', 'h', 443, 0), ('e2', 'e2', 'h', 443, 0)", ""},
        {"INSERT INTO eas_server_source (server_id, source_id, position) VALUES ('e1', '" SOURCE "', 1)", ""}, /* no e-mail policy yet */
        {"INSERT INTO policy (id, type, name, created_ms) VALUES ('" POLICY(9) "', 'email', 'mail', 0)", ""},
        {"INSERT INTO eas_server_source (server_id, source_id, position) VALUES ('e2', '" SOURCE "', 2)", "user_source:" SOURCE},
        {"UPDATE eas_server SET name = 'e', host = 'i', version = 2 WHERE id = 'e1'", ""}, /* EML-05: waits for publishing */
        {"UPDATE eas_server SET enabled = 0 WHERE id = 'e1'", "user_source:" SOURCE},
        {"UPDATE eas_server SET enabled = 0 WHERE id = 'e1'", ""},
        {"DELETE FROM eas_server WHERE id IN ('e1', 'e2')", "user_source:" SOURCE},
        {"INSERT INTO user_domain (domain, source_id) VALUES ('corp', '" SOURCE "')", "user_source:" SOURCE},
        {"DELETE FROM user_domain", "user_source:" SOURCE},
        {"UPDATE user_source SET simple = 2, version = 2 WHERE id = '" SOURCE "'", "user_source:" SOURCE},
        {"UPDATE user_source SET name = 'other', simple = 2 WHERE id = '" SOURCE "'", ""},
        {"UPDATE user_source SET name = 'dir', simple = 0 WHERE id = '" SOURCE "'", "user_source:" SOURCE},
        {"INSERT INTO zone_setting (name, value, updated_ms) VALUES ('other', '1', 0)", ""},
        {"INSERT INTO zone_setting (name, value, updated_ms) VALUES ('eas.public_host', '\"a\"', 0)", "folder:" MDM_FOLDER_ROOT},
        {"UPDATE zone_setting SET value = '\"b\"' WHERE name = 'eas.public_host'", "folder:" MDM_FOLDER_ROOT},
        {"UPDATE zone_setting SET value = '\"b\"', updated_ms = 1 WHERE name = 'eas.public_host'", ""},
        {"DELETE FROM zone_setting WHERE name IN ('other', 'eas.public_host')", "folder:" MDM_FOLDER_ROOT},
        {"DELETE FROM policy WHERE id = '" POLICY(9) "'", ""},
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
    sql(z, "DELETE FROM job WHERE id = 'j'");
}

/* ---------------------------------------------------------------- computing */

static void policy(const char *id, const char *type, const char *settings)
{
    sql(z, "INSERT INTO policy (id, type, name, published, created_ms) VALUES ('%s', '%s', '%s', 1, 0)", id, type, id);
    sql(z, "INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES ('%s', 1, '%s', 0)", id, settings);
}

static void assign(const char *policy_id, const char *kind, const char *id, const char *conflict, int position)
{
    sql(z, "INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, conflict, position, created_ms) "
           "VALUES ('%s/%s/%s', 'policy', '%s', 'security', '%s', '%s', '%s', %d, 0)",
        policy_id, kind, id, policy_id, kind, id, conflict, position);
    sql(z, "INSERT INTO recompute (target_kind, target_id) VALUES ('%s', '%s')", kind, id);
}

static void compute_with(mdm_ctx_t *ctx)
{
    mdm_job_t job = {.id = "run", .kind = MDM_RECOMPUTE_JOB, .lease_owner = "test"};

    assert_int_equal(mdm_recompute_run(ctx, &job, 60), APR_SUCCESS);
}

static void compute(void)
{
    compute_with(z->t->ctx);
    assert_string_equal(ask(z, "SELECT (SELECT COUNT(*) FROM recompute) + (SELECT COUNT(*) FROM recompute_device)"), "0");
}

/* "value via" of a setting of a device's security policy; "" if it has none. */
static const char *effective(const char *device_id, const char *setting)
{
    const char *text = ask(z, "SELECT r.settings FROM effective_policy e JOIN policy_result r ON r.id = e.result_id "
                              "WHERE e.device_id = '%s' AND e.type = 'security'", device_id);
    json_t *all = json_loads(text, 0, NULL), *one = json_object_get(all, setting);
    const char *found = one ? apr_psprintf(z->t->pool, "%s %s", mdm_json_text(z->t->pool, json_object_get(one, "value")),
                                           json_string_value(json_object_get(one, "via"))) : "";

    json_decref(all);
    return found;
}

#define VALUE(name, c, p) "{\"" name "\": {\"corporate\": " c ", \"personal\": " p "}}"

static int no_policies(void **state)
{
    static const char *const tables[] = {"assignment", "effective_policy", "policy_result", "policy_version", "policy", "device_group_member",
                                         "user_group_member", "recompute", "recompute_device"};

    sql(z, "UPDATE device SET state = 'active', ownership = 'corporate', test_device = 0, folder_id = '%s'", MDM_FOLDER_ROOT);
    sql(z, "UPDATE device SET folder_id = '%s' WHERE id = '%s'", FOLDER(1), DEV(1));
    sql(z, "UPDATE device SET folder_id = '%s' WHERE id = '%s'", FOLDER(2), DEV(2));
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        sql(z, "DELETE FROM %s", tables[i]);
    return 0;
}

/* POL-05, POL-06: nearest first, on each side; devices that have the same share one result. */
static void test_precedence(void **state)
{
    policy(POLICY(1), "security", VALUE("len", "6", "4"));
    policy(POLICY(2), "security", VALUE("len", "8", "8"));
    policy(POLICY(3), "security", VALUE("len", "9", "\"inherit\""));
    policy(POLICY(4), "security", VALUE("len", "10", "10"));
    assign(POLICY(1), "folder", MDM_FOLDER_ROOT, "user_first", 0);
    compute();
    assert_string_equal(effective(DEV(1), "len"), "6 folder:" MDM_FOLDER_ROOT);
    assert_string_equal(effective(DEV(2), "len"), "6 folder:" MDM_FOLDER_ROOT);
    assert_string_equal(ask(z, "SELECT COUNT(DISTINCT result_id) FROM effective_policy"), "1");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM effective_policy"), "3");
    assert_string_equal(ask(z, "SELECT policy_id || ' ' || number FROM policy_result_policy"), POLICY(1) " 1");
    assign(POLICY(2), "folder", FOLDER(1), "user_first", 0);
    compute();
    assert_string_equal(effective(DEV(2), "len"), "8 folder:" FOLDER(1));
    assert_string_equal(effective(DEV(3), "len"), "6 folder:" MDM_FOLDER_ROOT);
    assign(POLICY(3), "device_group", GROUP(1), "user_first", 0);
    sql(z, "INSERT INTO device_group_member (group_id, device_id) VALUES ('%s', '%s')", GROUP(1), DEV(2));
    sql(z, "UPDATE device SET ownership = 'personal' WHERE id = '%s'", DEV(1));
    compute();
    assert_string_equal(effective(DEV(1), "len"), "8 folder:" FOLDER(1));
    assert_string_equal(effective(DEV(2), "len"), "9 device_group:" GROUP(1));
    assign(POLICY(4), "user_folder", UFOLDER(1), "user_first", 0);
    compute();
    assert_string_equal(effective(DEV(2), "len"), "10 user_folder:" UFOLDER(1));
    sql(z, "UPDATE device SET person_id = NULL WHERE id = '%s'", DEV(2));
    compute();
    assert_string_equal(effective(DEV(2), "len"), "9 device_group:" GROUP(1));
    sql(z, "UPDATE device SET person_id = '%s' WHERE id = '%s'", PERSON(1), DEV(2));
}

/* Folder moves; DEV-13: a retired device has none; a policy that goes leaves nothing behind. */
static void test_moves_and_ends(void **state)
{
    policy(POLICY(1), "security", VALUE("len", "6", "4"));
    policy(POLICY(2), "security", VALUE("len", "8", "8"));
    assign(POLICY(1), "folder", MDM_FOLDER_ROOT, "user_first", 0);
    assign(POLICY(2), "folder", FOLDER(1), "user_first", 0);
    compute();
    sql(z, "DELETE FROM folder_above WHERE folder_id = '%s' AND above_id = '%s'", FOLDER(2), FOLDER(1));
    sql(z, "UPDATE folder SET parent_id = '%s' WHERE id = '%s'", MDM_FOLDER_ROOT, FOLDER(2));
    sql(z, "UPDATE device SET state = 'retired' WHERE id = '%s'", DEV(1));
    compute();
    assert_string_equal(effective(DEV(2), "len"), "6 folder:" MDM_FOLDER_ROOT);
    assert_string_equal(effective(DEV(1), "len"), "");
    sql(z, "UPDATE folder SET parent_id = '%s' WHERE id = '%s'", FOLDER(1), FOLDER(2));
    sql(z, "INSERT INTO folder_above (folder_id, above_id) VALUES ('%s', '%s')", FOLDER(2), FOLDER(1));
    sql(z, "INSERT INTO recompute (target_kind, target_id) SELECT target_kind, target_id FROM assignment");
    sql(z, "DELETE FROM assignment");
    sql(z, "DELETE FROM policy");
    compute();
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM effective_policy"), "0");
}

/* POL-01: a sandbox reaches test devices and nobody else; it is followed as it is edited. What was never published applies to nobody. */
static void test_sandbox(void **state)
{
    policy(POLICY(1), "security", VALUE("len", "6", "6"));
    sql(z, "INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES ('%s', 0, '%s', 0)", POLICY(1), VALUE("len", "7", "7"));
    sql(z, "UPDATE policy SET has_sandbox = 1");
    policy(POLICY(2), "security", VALUE("never", "1", "1"));
    sql(z, "UPDATE policy SET published = 0 WHERE id = '%s'", POLICY(2));
    sql(z, "UPDATE device SET test_device = 1 WHERE id = '%s'", DEV(1));
    assign(POLICY(1), "folder", MDM_FOLDER_ROOT, "user_first", 0);
    assign(POLICY(2), "folder", MDM_FOLDER_ROOT, "user_first", 1);
    compute();
    assert_string_equal(effective(DEV(1), "len"), "7 folder:" MDM_FOLDER_ROOT);
    assert_string_equal(effective(DEV(2), "len"), "6 folder:" MDM_FOLDER_ROOT);
    assert_string_equal(effective(DEV(2), "never"), "");
    sql(z, "UPDATE policy_version SET settings = '%s' WHERE number = 0", VALUE("len", "5", "5"));
    sql(z, "INSERT INTO recompute (target_kind, target_id) VALUES ('folder', '%s')", MDM_FOLDER_ROOT);
    compute();
    assert_string_equal(effective(DEV(1), "len"), "5 folder:" MDM_FOLDER_ROOT);
}

/* All that was computed, without the times. */
static const char *all_of_it(void)
{
    return ask(z, "SELECT %s FROM (SELECT device_id || ' ' || type || ' ' || result_id AS x FROM effective_policy ORDER BY 1) AS m",
               strncmp(z->t->params, "pgsql:", 6) ? "group_concat(x, ';')" : "string_agg(x, ';' ORDER BY x)");
}

/* POL-06: computing again changes nothing, and the order of assignments and of marks never matters. */
static void test_order_never_matters(void **state)
{
    static const struct {
        const char *policy, *kind, *id, *conflict;
        int position;
    } all[] = {
        {POLICY(1), "folder", MDM_FOLDER_ROOT, "device_first", 0}, {POLICY(2), "folder", MDM_FOLDER_ROOT, "user_first", 0},
        {POLICY(2), "person", PERSON(1), "user_first", 0},         {POLICY(3), "user_group", UGROUP(1), "user_first", 0},
        {POLICY(4), "user_group", UGROUP(2), "user_first", 0},     {POLICY(3), "device_group", GROUP(1), "user_first", 0},
        {POLICY(4), "device", DEV(3), "device_only", 0},           {POLICY(5), "user_source", SOURCE, "user_first", 0},
    };
    enum { N = sizeof all / sizeof all[0] };
    const char *first = NULL;
    unsigned seed = 7;

    policy(POLICY(1), "security", VALUE("a", "1", "2"));
    policy(POLICY(2), "security", VALUE("a", "3", "\"inherit\""));
    policy(POLICY(3), "security", VALUE("b", "4", "5"));
    policy(POLICY(4), "device_control", VALUE("c", "6", "7"));
    policy(POLICY(5), "email", VALUE("d", "8", "null"));
    sql(z, "UPDATE device SET ownership = 'personal' WHERE id = '%s'", DEV(2));
    sql(z, "INSERT INTO device_group_member (group_id, device_id) VALUES ('%s', '%s'), ('%s', '%s')", GROUP(1), DEV(1), GROUP(2), DEV(1));
    sql(z, "INSERT INTO user_group_member (group_id, person_id) VALUES ('%s', '%s'), ('%s', '%s')", UGROUP(1), PERSON(1), UGROUP(2), PERSON(1));
    for (int round = 0; round < 6; round++) {
        int order[N], i, k;

        for (i = 0; i < N; i++)
            order[i] = i;
        for (i = N - 1; i > 0; i--) {
            int was = order[i];
            seed = seed * 1103515245u + 12345u;
            k = (int)((seed >> 16) % (unsigned)(i + 1));
            order[i] = order[k];
            order[k] = was;
        }
        sql(z, "DELETE FROM assignment");
        for (i = 0; i < N; i++) {
            assign(all[order[i]].policy, all[order[i]].kind, all[order[i]].id, all[order[i]].conflict, all[order[i]].position);
            if (round & 1)
                compute();
        }
        compute();
        if (!first)
            first = all_of_it();
        assert_string_equal(all_of_it(), first);
        if (round == 0) {
            z->t->now += apr_time_from_sec(60);
            sql(z, "INSERT INTO recompute (target_kind, target_id) VALUES ('folder', '%s')", MDM_FOLDER_ROOT);
            compute();
            assert_string_equal(all_of_it(), first);
            assert_string_equal(ask(z, "SELECT COUNT(*) FROM effective_policy WHERE computed_ms = %" APR_INT64_T_FMT, mdm_now_ms(z->t->ctx)), "0");
        }
    }
}

/* DEV-08: one device at once, whatever else waits; nothing is read when nothing is marked. */
static void test_now(void **state)
{
    apr_uint64_t before;
    mdm_db_t *db;

    policy(POLICY(1), "security", VALUE("len", "6", "6"));
    assign(POLICY(1), "folder", MDM_FOLDER_ROOT, "user_first", 0);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_db_end(db, mdm_recompute_now(db, DEV(1))), APR_SUCCESS);
    assert_string_equal(effective(DEV(1), "len"), "6 folder:" MDM_FOLDER_ROOT);
    assert_string_equal(effective(DEV(2), "len"), "");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM recompute"), "1");
    mdm_db_close(db);
    compute();
    assert_string_equal(effective(DEV(2), "len"), "6 folder:" MDM_FOLDER_ROOT);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    before = z->t->statements;
    assert_int_equal(mdm_recompute_now(db, DEV(1)), APR_SUCCESS);
    assert_int_equal(z->t->statements - before, 1);
    mdm_db_close(db);
}

/* ---------------------------------------------------------------- two at once */

static void *APR_THREAD_FUNC run_in_thread(apr_thread_t *th, void *data)
{
    compute_with(data);
    return NULL;
}

static apr_thread_t *start(mdm_ctx_t *ctx)
{
    apr_thread_t *th;

    assert_int_equal(apr_thread_create(&th, NULL, run_in_thread, ctx, z->t->pool), APR_SUCCESS);
    return th;
}

/* Whoever computes a device holds it; a change that comes meanwhile is seen by the next one. */
static void test_no_mark_is_lost(void **state)
{
    mdm_ctx_t *other = dbtest_ctx(z->t, &mdm_log_stderr, (void *)(intptr_t)MDM_LOG_ERR);
    mdm_q_recompute_take_t *row;
    apr_array_header_t *rows;
    apr_thread_t *th;
    apr_status_t rv;
    mdm_db_t *db;

    policy(POLICY(1), "security", VALUE("len", "6", "6"));
    assign(POLICY(1), "device", DEV(1), "user_first", 0);
    sql(z, "DELETE FROM recompute");
    sql(z, "INSERT INTO recompute_device (device_id, since_ms, criteria, policies) VALUES ('%s', 0, 0, 1)", DEV(1));
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_q_recompute_take(db, 10, &rows), APR_SUCCESS); /* this one reads the facts of now … */
    assert_int_equal(rows->nelts, 1);
    row = &APR_ARRAY_IDX(rows, 0, mdm_q_recompute_take_t);
    assert_string_equal(row->device_id, DEV(1));
    if (!mdm_db_is_sqlite(db)) /* there nobody can change anything before its end */
        sql(z, "INSERT INTO recompute (target_kind, target_id) VALUES ('device', '%s')", DEV(1));
    th = start(other); /* … and the other finds a change that came behind them */
    assert_int_equal(mdm_db_end(db, APR_SUCCESS), APR_SUCCESS);
    mdm_db_close(db);
    assert_int_equal(apr_thread_join(&rv, th), APR_SUCCESS);
    if (strncmp(z->t->params, "pgsql:", 6) != 0)
        sql(z, "INSERT INTO recompute (target_kind, target_id) VALUES ('device', '%s')", DEV(1));
    compute();
    assert_string_equal(effective(DEV(1), "len"), "6 device:" DEV(1));
}

/* Two runs and somebody who changes things: at the end all is as if it had been computed afterwards. */
static void test_two_runs_at_once(void **state)
{
    mdm_ctx_t *one = dbtest_ctx(z->t, &mdm_log_stderr, (void *)(intptr_t)MDM_LOG_ERR);
    mdm_ctx_t *two = dbtest_ctx(z->t, &mdm_log_stderr, (void *)(intptr_t)MDM_LOG_ERR);
    const char *during;

    assert_int_equal(apr_pool_create(&one->pool, NULL) + apr_pool_create(&two->pool, NULL), APR_SUCCESS); /* threads share no pool with the test */
    policy(POLICY(1), "security", VALUE("len", "6", "4"));
    policy(POLICY(2), "security", VALUE("len", "8", "7"));
    assign(POLICY(1), "folder", MDM_FOLDER_ROOT, "user_first", 0);
    assign(POLICY(2), "folder", FOLDER(1), "user_first", 0);
    for (int i = 0; i < 8; i++) {
        apr_thread_t *a = start(one), *b = start(two);
        apr_status_t rv;

        sql(z, "UPDATE device SET folder_id = '%s' WHERE id = '%s'", i & 1 ? FOLDER(2) : MDM_FOLDER_ROOT, DEV(3));
        sql(z, "UPDATE device SET ownership = '%s' WHERE id = '%s'", i & 1 ? "personal" : "corporate", DEV(1));
        sql(z, "INSERT INTO recompute (target_kind, target_id) VALUES ('folder', '%s')", MDM_FOLDER_ROOT);
        assert_int_equal(apr_thread_join(&rv, a), APR_SUCCESS);
        assert_int_equal(apr_thread_join(&rv, b), APR_SUCCESS);
    }
    apr_pool_destroy(one->pool);
    apr_pool_destroy(two->pool);
    compute();
    during = all_of_it();
    sql(z, "DELETE FROM effective_policy");
    sql(z, "INSERT INTO recompute (target_kind, target_id) VALUES ('folder', '%s')", MDM_FOLDER_ROOT);
    compute();
    assert_string_equal(all_of_it(), during);
    assert_string_equal(effective(DEV(1), "len"), "7 folder:" FOLDER(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reach, empty),
        cmocka_unit_test_setup(test_marks_are_left, empty),
        cmocka_unit_test_setup(test_changes_mark_themselves, empty),
        cmocka_unit_test_setup(test_a_mark_calls_the_job, empty),
        cmocka_unit_test_setup(test_precedence, no_policies),
        cmocka_unit_test_setup(test_moves_and_ends, no_policies),
        cmocka_unit_test_setup(test_sandbox, no_policies),
        cmocka_unit_test_setup(test_order_never_matters, no_policies),
        cmocka_unit_test_setup(test_now, no_policies),
        cmocka_unit_test_setup(test_no_mark_is_lost, no_policies),
        cmocka_unit_test_setup(test_two_runs_at_once, no_policies),
        cmocka_unit_test_setup(test_what_goes_marks_too, empty),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
