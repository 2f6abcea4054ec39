/* People and administrators on a real database (USR-05, USR-06, R21, R35). */
#include "dbtest.h"

#include "domain/mdm_admins.h"
#include "domain/mdm_people.h"
#include "domain/mdm_session.h"

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

static const char *add(dbtest_t *t, const char *login, const char *mail)
{
    const char *id = NULL;

    assert_int_equal(mdm_person_create(t->ctx, login, "Anna Example", mail, "", "right-Pass-1", &id), APR_SUCCESS);
    return id;
}

static apr_status_t login(dbtest_t *t, const char *typed, const char *domain, const char *password)
{
    mdm_person_t *person;

    return mdm_people_login(t->ctx, typed, domain, password, &person);
}

/* USR-05: user, domain\user, user@domain, user and domain field; nonsense is refused. */
static void test_split(void **state)
{
    static const struct {
        const char *typed, *field, *user, *domain;
        apr_status_t rv;
    } rows[] = {
        {"anna", NULL, "anna", "", APR_SUCCESS},          {"CORP\\Anna", NULL, "Anna", "corp", APR_SUCCESS},
        {"anna@Example.org", "", "anna", "example.org", APR_SUCCESS}, {" anna ", " Corp ", "anna", "corp", APR_SUCCESS},
        {"anna@example.org", "corp", "anna@example.org", "corp", APR_SUCCESS},
        {"CORP\\anna", "other", "anna", "corp", APR_SUCCESS},
        {"", NULL, NULL, NULL, MDM_EINPUT},               {"  ", NULL, NULL, NULL, MDM_EINPUT},
        {"CORP\\", NULL, NULL, NULL, MDM_EINPUT},         {"@example.org", NULL, NULL, NULL, MDM_EINPUT},
        {NULL, NULL, NULL, NULL, MDM_EINPUT},             {"an\nna", NULL, NULL, NULL, MDM_EINPUT},
        {"\xff\xfe", NULL, NULL, NULL, MDM_EINPUT},       {"anna", "\x01", NULL, NULL, MDM_EINPUT},
    };
    dbtest_t *t = *state;
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        const char *user, *domain;

        assert_int_equal(mdm_login_split(t->ctx, rows[i].typed, rows[i].field, &user, &domain), rows[i].rv);
        if (rows[i].rv == APR_SUCCESS) {
            assert_string_equal(user, rows[i].user);
            assert_string_equal(domain, rows[i].domain);
        }
    }
}

/* Long names are cut off before the database sees them. */
static void test_split_length(void **state)
{
    dbtest_t *t = *state;
    char name[400];
    const char *user, *domain;

    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(mdm_login_split(t->ctx, name, NULL, &user, &domain), MDM_EINPUT);
    assert_int_equal(login(t, name, NULL, "right-Pass-1"), MDM_EAUTH);
}

static void test_login(void **state)
{
    dbtest_t *t = *state;
    mdm_person_t *person;

    add(t, "Anna", "anna@example.org");
    assert_int_equal(mdm_people_login(t->ctx, "anna", NULL, "right-Pass-1", &person), APR_SUCCESS);
    assert_string_equal(person->login, "Anna");
    assert_int_equal(login(t, "ANNA@EXAMPLE.ORG", NULL, "right-Pass-1"), APR_SUCCESS);
    assert_int_equal(login(t, "anna", NULL, "wrong-Pass-1"), MDM_EAUTH);
    assert_int_equal(login(t, "anna", NULL, ""), MDM_EAUTH);
    assert_int_equal(login(t, "anna", NULL, NULL), MDM_EAUTH);
    assert_int_equal(login(t, "nobody", NULL, "right-Pass-1"), MDM_EAUTH);
    assert_int_equal(login(t, "anna", "nowhere", "right-Pass-1"), MDM_EAUTH);
    assert_int_equal(login(t, "anna' OR '1'='1", NULL, "x"), MDM_EAUTH);
}

static void test_domain_alias(void **state)
{
    dbtest_t *t = *state;

    add(t, "anna", "");
    dbtest_sql(t, "INSERT INTO user_domain (domain, source_id) SELECT 'corp.example', id FROM user_source");
    assert_int_equal(login(t, "CORP.example\\anna", NULL, "right-Pass-1"), APR_SUCCESS);
    assert_int_equal(login(t, "anna@corp.EXAMPLE", NULL, "right-Pass-1"), APR_SUCCESS);
    assert_int_equal(login(t, "anna", "corp.example", "right-Pass-1"), APR_SUCCESS);
    dbtest_sql(t, "DELETE FROM user_domain");
    dbtest_sql(t, "UPDATE user_source SET simple = 0");
    assert_int_equal(login(t, "anna", NULL, "right-Pass-1"), MDM_EAUTH);
    assert_int_equal(login(t, "anna", "local", "right-Pass-1"), APR_SUCCESS); /* the source's name (USR-05) */
    dbtest_sql(t, "UPDATE user_source SET enabled = 0");
    assert_int_equal(login(t, "anna", "local", "right-Pass-1"), MDM_EAUTH);
}

/* An address that two people share is nobody's; a directory that can't be asked is not a wrong password (USR-11). */
static void test_shared_address_and_directory(void **state)
{
    dbtest_t *t = *state;

    add(t, "anna", "team@example.org");
    add(t, "ben", "team@example.org");
    assert_int_equal(login(t, "team@example.org", NULL, "right-Pass-1"), MDM_EAUTH);
    dbtest_sql(t, "UPDATE user_source SET kind = 'ldap'");
    assert_int_equal(login(t, "anna", NULL, "right-Pass-1"), MDM_EUNAVAIL);
}

static void test_disabled_and_gone(void **state)
{
    dbtest_t *t = *state;

    add(t, "anna", "");
    dbtest_sql(t, "UPDATE person SET disabled = 1");
    assert_int_equal(login(t, "anna", NULL, "right-Pass-1"), MDM_EAUTH);
    dbtest_sql(t, "UPDATE person SET disabled = 0, gone_ms = 5");
    assert_int_equal(login(t, "anna", NULL, "right-Pass-1"), MDM_EAUTH);
}

static void test_create_refuses(void **state)
{
    static const char *const bad[] = {"", " anna", "a\\b", "a@b", "<b>", "a\"b", "a/b", "a\nb", "\xc3"};
    dbtest_t *t = *state;
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); ++i) {
        assert_int_equal(mdm_person_create(t->ctx, bad[i], "x", "", "", "right-Pass-1", NULL), MDM_EINPUT);
        assert_string_equal(t->ctx->fail_field, "login");
    }
    assert_int_equal(mdm_person_create(t->ctx, "anna", "x", "", "", "short", NULL), MDM_EINPUT);
    assert_string_equal(t->ctx->fail_field, "password");
    add(t, "anna", "");
    assert_int_equal(mdm_person_create(t->ctx, "ANNA", "x", "", "", "right-Pass-1", NULL), MDM_ECONFLICT);
}

/* R35: a new password ends the person's sessions. */
static void test_password_ends_sessions(void **state)
{
    dbtest_t *t = *state;
    const char *id = add(t, "anna", ""), *token;
    mdm_session_t *session;
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_session_create(db, "portal", id, "test", &token), APR_SUCCESS);
    assert_int_equal(mdm_session_find(db, "portal", token, &session), APR_SUCCESS);
    mdm_db_close(db);
    assert_int_equal(mdm_person_password(t->ctx, id, "other-Pass-2"), APR_SUCCESS);
    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_session_find(db, "portal", token, &session), MDM_EAUTH);
    mdm_db_close(db);
    assert_int_equal(login(t, "anna", NULL, "right-Pass-1"), MDM_EAUTH);
    assert_int_equal(login(t, "anna", NULL, "other-Pass-2"), APR_SUCCESS);
}

static void test_admins(void **state)
{
    dbtest_t *t = *state;
    const char *id, *found;

    assert_int_equal(mdm_admin_create_named(t->ctx, "local", "root", "Root", "no_such_role", "right-Pass-1", &id), MDM_EINPUT);
    assert_string_equal(t->ctx->fail_field, "role");
    assert_int_equal(mdm_admin_create_named(t->ctx, "local", "Root", "Root", "super_admin", "right-Pass-1", &id), APR_SUCCESS);
    assert_int_equal(mdm_admin_create_named(t->ctx, "local", "root", "Root", "auditor", "right-Pass-1", NULL), MDM_ECONFLICT);
    assert_int_equal(mdm_admin_login(t->ctx, " root ", "right-Pass-1", &found), APR_SUCCESS);
    assert_string_equal(found, id);
    assert_int_equal(mdm_admin_login(t->ctx, "root", "wrong-Pass", &found), MDM_EAUTH);
    assert_int_equal(mdm_admin_login(t->ctx, "root", "", &found), MDM_EAUTH);
    assert_int_equal(mdm_admin_login(t->ctx, "", "right-Pass-1", &found), MDM_EAUTH);
    assert_int_equal(mdm_admin_password(t->ctx, id, "other-Pass-2", 0), APR_SUCCESS);
    assert_int_equal(mdm_admin_login(t->ctx, "root", "other-Pass-2", &found), APR_SUCCESS);
    dbtest_sql(t, "UPDATE admin SET disabled = 1");
    assert_int_equal(mdm_admin_login(t->ctx, "root", "other-Pass-2", &found), MDM_EAUTH);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_split),          T(test_split_length),
                                       T(test_login),          T(test_domain_alias),
                                       T(test_shared_address_and_directory), T(test_disabled_and_gone),
                                       T(test_create_refuses), T(test_password_ends_sessions),
                                       T(test_admins)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
