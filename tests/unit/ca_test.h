/* What the tests of the authority share: a migrated database, a key ring, a person, the CA. */
#ifndef CA_TEST_H
#define CA_TEST_H

#include "pki_test.h"
#include "dbtest.h"
#include "base/mdm_seal.h"
#include "domain/mdm_ca.h"
#include "domain/mdm_enroll.h"

#define PERSON "11111111-1111-4111-8111-111111111111"
#define PENDING "22222222-2222-4222-8222-222222222222"
#define DEVICE "33333333-3333-4333-8333-333333333333"
#define RECORD "44444444-4444-4444-8444-444444444444"

static UNUSED dbtest_t *ca_fixture(mdm_ca_t **ca)
{
    dbtest_t *t = dbtest_make(1);
    mdm_keyring_t *ring;
    mdm_db_t *db;

    t->now = apr_time_from_sec(TEST_NOW_MS / 1000);
    assert_int_equal(mdm_keyring_parse(t->ctx, t->pool, mdm_keyring_new(t->pool), &ring),
                     APR_SUCCESS);
    t->env.keys = ring;
    if (ca) {
        assert_int_equal(mdm_ca_ensure(t->ctx, "Example & Söhne", MDM_KEY_P256), APR_SUCCESS);
        assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
        assert_int_equal(mdm_ca_load(db, t->pool, ca), APR_SUCCESS);
        mdm_db_close(db);
    }
    return t;
}

static UNUSED void sql(dbtest_t *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    assert_int_equal(dbtest_sql(t, apr_pvsprintf(t->pool, fmt, ap)), 0);
    va_end(ap);
}

static UNUSED void add_pending(dbtest_t *t)
{
    sql(t, "INSERT INTO person (id, login, login_key, name, created_ms) VALUES ('" PERSON
           "', 'ann', 'ann', 'Ann', 1)");
    sql(t,
        "INSERT INTO pending_enrollment (id, token_hash, token, person_id, ownership, origin, "
        "state, created_ms, expires_ms) "
        "VALUES ('" PENDING "', 'h', 't', '" PERSON
        "', 'personal', 'self', 'created', 1, %" APR_INT64_T_FMT ")",
        TEST_NOW_MS + 10 * YEAR_MS);
}

/* The same call as the profile makes. */
static UNUSED const char *new_challenge(dbtest_t *t)
{
    mdm_pending_t *pending;
    const char *challenge = NULL;
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_pending_get(db, PENDING, &pending), APR_SUCCESS);
    assert_int_equal(mdm_challenge_create(db, pending, PENDING, &challenge), APR_SUCCESS);
    mdm_db_close(db);
    return challenge;
}

static UNUSED const char *fingerprint(dbtest_t *t, const mdm_cert_t *cert)
{
    mdm_certinfo_t info;

    assert_int_equal(mdm_cert_info(t->ctx, cert, &info), APR_SUCCESS);
    return info.fingerprint;
}

static UNUSED mdm_q_certificate_find_t *certificate_row(dbtest_t *t, const mdm_cert_t *cert)
{
    mdm_q_certificate_find_t *row = NULL;
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_q_certificate_find(db, fingerprint(t, cert), &row), APR_SUCCESS);
    mdm_db_close(db);
    return row;
}

#define CA_MAIN(...)                                                                               \
    int main(void)                                                                                 \
    {                                                                                              \
        const struct CMUnitTest tests[] = {__VA_ARGS__};                                           \
        int rc;                                                                                    \
        apr_initialize();                                                                          \
        rc = cmocka_run_group_tests(tests, NULL, NULL);                                            \
        apr_terminate();                                                                           \
        return rc;                                                                                 \
    }

#endif
