/* Policies as objects: what is marked for computing, what is stale, what is left of what goes (POL-01, POL-05, EML-05). */
#include "dbtest.h"

#include "base/mdm_json.h"
#include "domain/mdm_assignment.h"
#include "domain/mdm_folder.h"
#include "domain/mdm_policies.h"

static int setup(void **state)
{
    *state = dbtest_make(1);
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(*state);
    return 0;
}

static mdm_db_t *begin(dbtest_t *t)
{
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    return db;
}

static const char *make(mdm_db_t *db, const char *name, int publish)
{
    const mdm_policy_new_t what = {.type = "security", .name = name, .publish = publish, .content = {.corporate = "low"}};
    const char *id = NULL;

    assert_int_equal(mdm_policy_create(db, &what, &id), APR_SUCCESS);
    return id;
}

static apr_int64_t version_of(mdm_db_t *db, const char *id)
{
    apr_int64_t version = 0;
    json_t *j;

    assert_int_equal(mdm_policy_json(db, id, &j, &version), APR_SUCCESS);
    json_decref(j);
    return version;
}

static void assign(mdm_db_t *db, const char *policy, const char *kind, const char *id)
{
    json_t *made = NULL;

    assert_int_equal(mdm_assign(db, policy, mdm_json_own(mdm_db_ctx(db), json_pack("[{s:s, s:s}]", "kind", kind, "id", id)), 0, &made), APR_SUCCESS);
    json_decref(made);
}

/* Marks that were left since the last look. */
static apr_int64_t marks(dbtest_t *t, mdm_db_t *db)
{
    mdm_q_recompute_left_t *left;

    assert_int_equal(mdm_q_recompute_left(db, &left), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    assert_int_equal(dbtest_sql(t, "DELETE FROM recompute"), 0);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    return left->marks;
}

static apr_status_t sandbox(mdm_db_t *db, const char *id, const char *level)
{
    const mdm_policy_content_t c = {.corporate = level};

    return mdm_policy_sandbox_put(db, id, version_of(db, id), &c);
}

/* POL-01, POL-09: a sandbox marks test devices alone; publishing and deleting mark each target once, whatever it reaches. */
static void test_what_is_marked(void **state)
{
    const mdm_policy_publish_t box = {.number = MDM_POLICY_SANDBOX};
    dbtest_t *t = *state;
    mdm_db_t *db;
    const char *id, *made;

    assert_int_equal(dbtest_sql(t, "INSERT INTO device (id, name, name_key, folder_id, state, mode, created_ms, test_device) VALUES "
                                "('d1', 'a', 'a', '" MDM_FOLDER_ROOT "', 'active', 'ios_mdm', 1, 1), "
                                "('d2', 'b', 'b', '" MDM_FOLDER_ROOT "', 'active', 'ios_mdm', 1, 0)"), 0);
    db = begin(t);
    marks(t, db);
    id = make(db, "Marked", 1);
    assert_int_equal(sandbox(db, id, "high"), APR_SUCCESS);
    assert_int_equal(marks(t, db), 0); /* assigned to nobody */
    assign(db, id, "folder", MDM_FOLDER_ROOT);
    assert_int_equal(marks(t, db), 1);
    assert_int_equal(sandbox(db, id, "strict"), APR_SUCCESS);
    assert_int_equal(marks(t, db), 1); /* d1 */
    assert_int_equal(mdm_policy_publish(db, id, version_of(db, id), &box, &made), APR_SUCCESS);
    assert_string_equal(made, id);
    assert_int_equal(marks(t, db), 1);
    assert_int_equal(mdm_policy_edit(db, id, version_of(db, id), "Renamed", NULL, NULL), APR_SUCCESS);
    assert_int_equal(marks(t, db), 0);
    assert_int_equal(mdm_policy_delete(db, id, version_of(db, id), 0), APR_SUCCESS);
    assert_int_equal(marks(t, db), 1);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
}

/* Issue 5, Trouble: what was read before somebody else's change is stale, whatever is done with it; nothing is changed by it. */
static void test_stale(void **state)
{
    const mdm_policy_publish_t box = {.number = MDM_POLICY_SANDBOX}, one = {.number = 1};
    const mdm_policy_content_t c = {.corporate = "high"};
    dbtest_t *t = *state;
    mdm_db_t *db = begin(t);
    const char *id = make(db, "Stale", 0), *made;
    apr_int64_t version = version_of(db, id), now;

    assert_int_equal(mdm_policy_publish(db, id, version, &box, &made), APR_SUCCESS);
    now = version_of(db, id);
    assert_true(now > version);
    assert_int_equal(mdm_policy_publish(db, id, version, &one, &made), MDM_ESTALE);
    assert_int_equal(mdm_policy_sandbox_put(db, id, version, &c), MDM_ESTALE);
    assert_int_equal(mdm_policy_sandbox_drop(db, id, version), MDM_ESTALE);
    assert_int_equal(mdm_policy_edit(db, id, version, "x", NULL, NULL), MDM_ESTALE);
    assert_int_equal(mdm_policy_note(db, id, version, 1, "x"), MDM_ESTALE);
    assert_int_equal(mdm_policy_delete(db, id, version, 0), MDM_ESTALE);
    assert_int_equal(version_of(db, id), now);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
}

/* USR-12: somebody who sees some folders only changes no policy. */
static void test_limited(void **state)
{
    const mdm_policy_new_t what = {.type = "email", .name = "No"};
    dbtest_t *t = *state;
    mdm_db_t *db = begin(t);
    const char *id = make(db, "Theirs", 1), *made;

    t->ctx->actor.limit = "00000000-0000-4000-8000-0000000000aa";
    assert_int_equal(mdm_policy_create(db, &what, &made), MDM_EDENIED);
    assert_int_equal(sandbox(db, id, "low"), MDM_EDENIED);
    assert_int_equal(mdm_policy_delete(db, id, version_of(db, id), 0), MDM_EDENIED);
    assert_int_equal(mdm_policy_folder_create(db, MDM_POLICY_FOLDER_ROOT, "No", &made), MDM_EDENIED);
    t->ctx->actor.limit = "";
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_marked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limited, setup, teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
