/* Sessions and API tokens on a real database with a clock that we move (SEC-07, R35). */
#include "dbtest.h"

#include "domain/mdm_admins.h"
#include "domain/mdm_people.h"
#include "domain/mdm_session.h"

typedef struct fix_t {
    dbtest_t *t;
    mdm_db_t *db;
    const char *person, *admin;
} fix_t;

static int setup(void **state)
{
    dbtest_t *t = dbtest_make(1);
    fix_t *f = apr_pcalloc(t->pool, sizeof(*f));

    f->t = t;
    assert_int_equal(mdm_person_create(t->ctx, "anna", "Anna", "", "", "right-Pass-1", &f->person), APR_SUCCESS);
    assert_int_equal(mdm_admin_create_named(t->ctx, "local", "root", "Root", "auditor", "right-Pass-1", &f->admin), APR_SUCCESS);
    assert_int_equal(mdm_db_open(t->ctx, &f->db), APR_SUCCESS);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fix_t *f = *state;

    mdm_db_close(f->db);
    dbtest_end(f->t);
    return 0;
}

static void later(fix_t *f, apr_int64_t ms)
{
    f->t->now += ms * 1000;
}

static void test_find(void **state)
{
    fix_t *f = *state;
    const char *token;
    mdm_session_t *s;

    assert_int_equal(mdm_session_create(f->db, "portal", f->person, "Browser\n<b>", &token), APR_SUCCESS);
    assert_int_equal(mdm_session_find(f->db, "portal", token, &s), APR_SUCCESS);
    assert_string_equal(s->subject_id, f->person);
    assert_string_equal(s->login, "anna");
    assert_int_equal(mdm_session_find(f->db, "admin", token, &s), MDM_EAUTH); /* R34: for one purpose only */
    assert_int_equal(mdm_session_find(f->db, "other", token, &s), MDM_EAUTH);
    assert_int_equal(mdm_session_find(f->db, "portal", "", &s), MDM_EAUTH);
    assert_int_equal(mdm_session_find(f->db, "portal", NULL, &s), MDM_EAUTH);
    assert_int_equal(mdm_session_find(f->db, "portal", "nonsense", &s), MDM_EAUTH);
    assert_null(s);
}

static void test_idle_and_absolute(void **state)
{
    fix_t *f = *state;
    const char *token;
    mdm_session_t *s;
    int i;

    assert_int_equal(mdm_session_create(f->db, "admin", f->admin, NULL, &token), APR_SUCCESS);
    for (i = 0; i < 25; ++i) { /* used every 29 minutes: alive until the absolute end */
        later(f, MDM_SESSION_IDLE_MS - 60000);
        if ((i + 1) * (MDM_SESSION_IDLE_MS - 60000) < MDM_SESSION_ABSOLUTE_MS) {
            assert_int_equal(mdm_session_find(f->db, "admin", token, &s), APR_SUCCESS);
            assert_string_equal(s->role, "auditor");
        }
    }
    assert_int_equal(mdm_session_find(f->db, "admin", token, &s), MDM_EAUTH);
    assert_int_equal(mdm_session_create(f->db, "admin", f->admin, NULL, &token), APR_SUCCESS);
    later(f, MDM_SESSION_IDLE_MS + 1);
    assert_int_equal(mdm_session_find(f->db, "admin", token, &s), MDM_EAUTH);
    assert_int_equal(mdm_session_prune(f->db, &i), APR_SUCCESS);
    assert_int_equal(i, 1);
}

static void test_end_and_disable(void **state)
{
    fix_t *f = *state;
    const char *one, *two;
    mdm_session_t *s;

    assert_int_equal(mdm_session_create(f->db, "portal", f->person, NULL, &one), APR_SUCCESS);
    assert_int_equal(mdm_session_create(f->db, "portal", f->person, NULL, &two), APR_SUCCESS);
    assert_int_equal(mdm_session_find(f->db, "portal", one, &s), APR_SUCCESS);
    assert_int_equal(mdm_session_end(f->db, s->hash), APR_SUCCESS);
    assert_int_equal(mdm_session_find(f->db, "portal", one, &s), MDM_EAUTH);
    assert_int_equal(mdm_session_find(f->db, "portal", two, &s), APR_SUCCESS);
    dbtest_sql(f->t, "UPDATE person SET disabled = 1");
    assert_int_equal(mdm_session_find(f->db, "portal", two, &s), MDM_EAUTH);
}

static void test_api_tokens(void **state)
{
    fix_t *f = *state;
    const char *id, *token, *role = "00000000-0000-4000-8000-000000000012";
    apr_int64_t now = f->t->now / 1000;
    mdm_session_t *s;

    assert_int_equal(mdm_token_create(f->db, f->admin, role, "", now + 1000, &id, &token), MDM_EINPUT);
    assert_int_equal(mdm_token_create(f->db, f->admin, role, "script", now, &id, &token), MDM_EINPUT);
    assert_int_equal(mdm_token_create(f->db, f->admin, role, "script", now + 100000, &id, &token), APR_SUCCESS);
    assert_memory_equal(token, "mdm_", 4);
    assert_int_equal(mdm_token_find(f->db, token, &s), APR_SUCCESS);
    assert_string_equal(s->role, "help_desk"); /* the token's role, not the administrator's */
    assert_int_equal(mdm_token_find(f->db, token + 4, &s), MDM_EAUTH);
    assert_int_equal(mdm_token_find(f->db, "mdm_", &s), MDM_EAUTH);
    assert_int_equal(mdm_token_find(f->db, NULL, &s), MDM_EAUTH);
    later(f, 100001);
    assert_int_equal(mdm_token_find(f->db, token, &s), MDM_EAUTH);
    assert_int_equal(mdm_token_create(f->db, f->admin, role, "two", now + 1000000, &id, &token), APR_SUCCESS);
    assert_int_equal(mdm_sessions_end_all(f->db, "admin", f->admin), APR_SUCCESS); /* R35 */
    assert_int_equal(mdm_token_find(f->db, token, &s), MDM_EAUTH);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_find), T(test_idle_and_absolute), T(test_end_and_disable), T(test_api_tokens)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
