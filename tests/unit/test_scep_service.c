/* Who gets a certificate by SCEP (SEC-02, R12, R14, IOS-06). */
#include "ca_test.h"
#include "dbtest.h"
#include <pthread.h>
#include "domain/mdm_scep_service.h"

static client_answer_t ask(dbtest_t *t, const mdm_ca_t *ca, const client_t *c,
                           const mdm_blob_t *der, int legacy)
{
    mdm_blob_t out;

    assert_int_equal(mdm_scep_pkioperation(t->ctx, ca, der, legacy, &out), APR_SUCCESS);
    return client_read(t->ctx, c, &out, ca->ra);
}

static client_answer_t enroll(dbtest_t *t, const mdm_ca_t *ca, const char *challenge)
{
    client_t c = client_make(t->ctx, challenge, "T1");
    mdm_blob_t der = client_message(t->ctx, &c, ca->ra);

    return ask(t, ca, &c, &der, 0);
}

#define REFUSED(answer, why)                                                                       \
    do {                                                                                           \
        client_answer_t a_ = (answer);                                                             \
        assert_int_equal(a_.status, 2);                                                            \
        assert_int_equal(a_.fail, (why));                                                          \
        assert_null(a_.cert);                                                                      \
    } while (0)

static void server_sets_the_subject_R14(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    client_answer_t a;
    mdm_certinfo_t info;
    mdm_pending_t *pending;
    mdm_db_t *db;

    add_pending(t);
    a = enroll(t, ca, new_challenge(t));
    assert_int_equal(a.status, 0);
    mdm_cert_info(t->ctx, a.cert, &info);
    assert_string_equal(info.subject, "CN=" PENDING);
    assert_false(info.is_ca);
    assert_true(mdm_cert_signed_by(a.cert, ca->ca));
    assert_string_equal(certificate_row(t, a.cert)->pending_id, PENDING);
    mdm_db_open(t->ctx, &db);
    assert_int_equal(mdm_pending_get(db, PENDING, &pending), APR_SUCCESS);
    mdm_db_close(db);
    assert_string_equal(pending->state, "issued");
    dbtest_end(t);
}

static void challenge_works_once_and_a_repeat_gets_the_same_R14(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    const char *challenge;
    client_t c;
    mdm_blob_t der;
    client_answer_t first, again;

    add_pending(t);
    challenge = new_challenge(t);
    c = client_make(t->ctx, challenge, "T1");
    der = client_message(t->ctx, &c, ca->ra);
    first = ask(t, ca, &c, &der, 0);
    again = ask(t, ca, &c, &der, 0);
    assert_int_equal(again.status, 0);
    assert_string_equal(fingerprint(t, first.cert), fingerprint(t, again.cert));
    REFUSED(enroll(t, ca, challenge), MDM_SCEP_BADREQUEST); /* another key */
    sql(t, "UPDATE pending_enrollment SET state = 'profile'"); /* the challenge itself is used up, not only its enrolment */
    REFUSED(enroll(t, ca, challenge), MDM_SCEP_BADREQUEST);
    sql(t, "UPDATE certificate SET status = 'revoked'");
    REFUSED(ask(t, ca, &c, &der, 0), MDM_SCEP_BADREQUEST);
    dbtest_end(t);
}

static void wrong_challenges_are_refused_R14(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    const char *challenge;

    add_pending(t);
    challenge = new_challenge(t);
    REFUSED(enroll(t, ca, "no such challenge"), MDM_SCEP_BADREQUEST);
    REFUSED(enroll(t, ca, NULL), MDM_SCEP_BADREQUEST);
    REFUSED(enroll(t, ca, apr_pstrcat(t->pool, challenge, "A", NULL)), MDM_SCEP_BADREQUEST);
    REFUSED(enroll(t, ca, "' OR 1=1 --"), MDM_SCEP_BADREQUEST);
    t->now += apr_time_from_sec(31 * 60);
    REFUSED(enroll(t, ca, challenge), MDM_SCEP_BADREQUEST);
    dbtest_end(t);
}

static void weak_keys_and_algorithms_are_refused_and_spend_nothing_R14(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    EVP_PKEY *weak = EVP_RSA_gen(1024);
    client_t c;
    mdm_key_t small = {weak};
    mdm_blob_t der;
    client_answer_t a;

    add_pending(t);
    c = client_make(t->ctx, new_challenge(t), "T1");
    c.cert_key = c.key;
    c.key = &small;
    der = client_message(t->ctx, &c, ca->ra);
    REFUSED(ask(t, ca, &c, &der, 0), MDM_SCEP_BADREQUEST);
    c.key = c.cert_key;
    c.cipher = "des3";
    der = client_message(t->ctx, &c, ca->ra);
    REFUSED(ask(t, ca, &c, &der, 0), MDM_SCEP_BADALG);
    c.cipher = "aes128";
    c.md = EVP_sha1();
    der = client_message(t->ctx, &c, ca->ra);
    REFUSED(ask(t, ca, &c, &der, 0), MDM_SCEP_BADALG);
    a = ask(t, ca, &c, &der, 1); /* allowed by configuration; the challenge is still good */
    assert_int_equal(a.status, 0);
    EVP_PKEY_free(weak);
    dbtest_end(t);
}

static void other_operations_and_garbage_are_answered_without_harm(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    client_t c = client_make(t->ctx, "x", "T1");
    mdm_blob_t garbage = {(const unsigned char *)"garbage", 7}, der, out;

    c.type = MDM_SCEP_GETCRL;
    der = client_message(t->ctx, &c, ca->ra);
    REFUSED(ask(t, ca, &c, &der, 0), MDM_SCEP_BADREQUEST);
    c.type = MDM_SCEP_PKCSREQ;
    der = client_wrap(t->ctx, &c, &garbage);
    REFUSED(ask(t, ca, &c, &der, 0), MDM_SCEP_BADMESSAGECHECK);
    assert_int_equal(mdm_scep_pkioperation(t->ctx, ca, &garbage, 0, &out), MDM_EINPUT);
    dbtest_end(t);
}

static void a_missing_database_is_no_refusal(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    client_t c = client_make(t->ctx, "x", "T1");
    mdm_blob_t der = client_message(t->ctx, &c, ca->ra), out;
    const mdm_dbpool_t *pool = t->env.dbpool;

    t->env.dbpool = NULL;
    assert_int_equal(mdm_http_status(mdm_scep_pkioperation(t->ctx, ca, &der, 0, &out)), 503);
    t->env.dbpool = pool;
    dbtest_end(t);
}

typedef struct racer_t {
    mdm_ctx_t *ctx;
    const mdm_ca_t *ca;
    mdm_blob_t der, out;
    client_t client;
    apr_status_t rv;
} racer_t;

static void *race(void *baton)
{
    racer_t *r = baton;

    r->rv = mdm_scep_pkioperation(r->ctx, r->ca, &r->der, 0, &r->out);
    return NULL;
}

static void of_two_parallel_uses_one_wins_R14(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    racer_t racers[2];
    pthread_t threads[2];
    apr_pool_t *pools[2];
    const char *challenge;
    int i, won = 0;

    add_pending(t);
    challenge = new_challenge(t);
    for (i = 0; i < 2; i++) {
        mdm_env_t *env;
        apr_pool_create(&pools[i], NULL);
        env = apr_pmemdup(pools[i], &t->env, sizeof(t->env));
        assert_int_equal(mdm_dbpool_direct(pools[i], t->params, &env->dbpool), APR_SUCCESS);
        racers[i].ctx = mdm_ctx_make(pools[i], env, NULL, NULL);
        racers[i].ca = ca;
        racers[i].client = client_make(racers[i].ctx, challenge, "T1");
        racers[i].der = client_message(racers[i].ctx, &racers[i].client, ca->ra);
    }
    for (i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].rv, APR_SUCCESS);
        won += client_read(racers[i].ctx, &racers[i].client, &racers[i].out, ca->ra).status == 0;
    }
    assert_int_equal(won, 1);
    apr_pool_destroy(pools[0]);
    apr_pool_destroy(pools[1]);
    dbtest_end(t);
}

/* ---- renewal */

static const char *renewal_challenge(dbtest_t *t)
{
    const char *text = mdm_token(t->pool, 24);

    sql(t,
        "INSERT INTO challenge (hash, record_id, subject, expires_ms) VALUES ('%s', '" RECORD
        "', 'renewed', %" APR_INT64_T_FMT ")",
        mdm_sha256_hex(t->pool, text, strlen(text)), TEST_NOW_MS + YEAR_MS);
    return text;
}

/* An enrolled device with its identity; *c is the device, holding it. */
static void managed(dbtest_t *t, const mdm_ca_t *ca, client_t *c)
{
    mdm_blob_t der;
    client_answer_t a;

    add_pending(t);
    *c = client_make(t->ctx, new_challenge(t), "T1");
    der = client_message(t->ctx, c, ca->ra);
    a = ask(t, ca, c, &der, 0);
    assert_int_equal(a.status, 0);
    sql(t,
        "INSERT INTO device (id, name, name_key, folder_id, state, mode, created_ms) VALUES "
        "('" DEVICE "', 'd', 'd', '00000000-0000-4000-8000-000000000001', 'active', 'ios_mdm', 1)");
    sql(t, "INSERT INTO source_record (id, device_id, kind, native_id, state, first_seen_ms, "
           "last_seen_ms) VALUES "
           "('" RECORD "', '" DEVICE "', 'mdm', 'UDID-1', 'enrolled', 1, 1)");
    sql(t, "UPDATE certificate SET status = 'active', record_id = '" RECORD "'");
    c->cert = a.cert;
}

static client_answer_t renew(dbtest_t *t, const mdm_ca_t *ca, client_t *c, int type,
                             const char *challenge)
{
    mdm_blob_t der;

    c->type = type;
    c->challenge = challenge;
    c->transaction = "T2";
    assert_int_equal(mdm_key_generate(t->ctx, MDM_KEY_RSA2048, &c->key), APR_SUCCESS);
    der = client_message(t->ctx, c, ca->ra);
    return ask(t, ca, c, &der, 0);
}

static void identity_renews_itself_IOS_06(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    client_t c, fresh;
    client_answer_t a;
    mdm_certinfo_t info;
    const char *challenge;

    managed(t, ca, &c);
    challenge = renewal_challenge(t);
    a = renew(t, ca, &c, MDM_SCEP_RENEWAL, challenge);
    assert_int_equal(a.status, 0);
    REFUSED(renew(t, ca, &c, MDM_SCEP_RENEWAL, challenge), MDM_SCEP_BADREQUEST);
    mdm_cert_info(t->ctx, a.cert, &info);
    assert_string_equal(info.subject, "CN=renewed");
    assert_string_equal(certificate_row(t, a.cert)->record_id, RECORD);
    /* Fails on the primary key unless it waits in the slot "next". */
    sql(t,
        "INSERT INTO role (id, name, rights) SELECT id, 'x', '' FROM role WHERE NOT EXISTS "
        "(SELECT 1 FROM certificate WHERE slot = 'next' AND fingerprint = '%s')",
        info.fingerprint);
    assert_int_equal(renew(t, ca, &c, MDM_SCEP_PKCSREQ, renewal_challenge(t)).status, 0);
    fresh =
        client_make(t->ctx, renewal_challenge(t), "T3"); /* as phones do with a new SCEP payload */
    {
        mdm_blob_t der = client_message(t->ctx, &fresh, ca->ra);
        assert_int_equal(ask(t, ca, &fresh, &der, 0).status, 0);
    }
    dbtest_end(t);
}

static void renewal_needs_the_right_identity_and_challenge_R12_R14(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    const char *challenge, *first;
    client_t c;

    managed(t, ca, &c);
    challenge = renewal_challenge(t);
    REFUSED(renew(t, ca, &c, MDM_SCEP_RENEWAL, NULL), MDM_SCEP_BADREQUEST);
    /* A challenge for an enrolment is none for a renewal. */
    sql(t, "UPDATE pending_enrollment SET state = 'created'");
    first = new_challenge(t);
    REFUSED(renew(t, ca, &c, MDM_SCEP_RENEWAL, first), MDM_SCEP_BADREQUEST);
    REFUSED(renew(t, ca, &c, MDM_SCEP_PKCSREQ, first), MDM_SCEP_BADREQUEST);
    /* The record has an identity in use, but the signer is another one, revoked or not yet used. */
    sql(t,
        "INSERT INTO certificate (fingerprint, serial, subject, record_id, status, not_before_ms, "
        "not_after_ms, issued_ms) VALUES ('f', '01', 'CN=x', '" RECORD
        "', 'active', 1, %" APR_INT64_T_FMT ", 1)",
        TEST_NOW_MS + YEAR_MS);
    sql(t, "UPDATE certificate SET status = 'revoked' WHERE fingerprint <> 'f'");
    REFUSED(renew(t, ca, &c, MDM_SCEP_RENEWAL, challenge), MDM_SCEP_BADREQUEST);
    REFUSED(renew(t, ca, &c, MDM_SCEP_PKCSREQ, challenge), MDM_SCEP_BADREQUEST);
    sql(t, "UPDATE certificate SET status = 'issued' WHERE fingerprint <> 'f'");
    REFUSED(renew(t, ca, &c, MDM_SCEP_RENEWAL, challenge), MDM_SCEP_BADREQUEST);
    sql(t, "DELETE FROM certificate WHERE fingerprint = 'f'");
    sql(t, "UPDATE certificate SET status = 'superseded'");
    REFUSED(renew(t, ca, &c, MDM_SCEP_RENEWAL, challenge), MDM_SCEP_BADREQUEST);
    sql(t, "UPDATE certificate SET status = 'revoked'");
    REFUSED(renew(t, ca, &c, MDM_SCEP_PKCSREQ, challenge), MDM_SCEP_BADREQUEST);
    sql(t, "UPDATE certificate SET status = 'active'");
    sql(t, "UPDATE source_record SET expelled = 1");
    REFUSED(renew(t, ca, &c, MDM_SCEP_RENEWAL, challenge), MDM_SCEP_BADREQUEST);
    sql(t, "UPDATE source_record SET expelled = 0");
    t->now = apr_time_from_sec((TEST_NOW_MS + 6 * YEAR_MS) / 1000);
    sql(t, "UPDATE challenge SET expires_ms = expires_ms * 2");
    REFUSED(renew(t, ca, &c, MDM_SCEP_RENEWAL, challenge),
            MDM_SCEP_BADREQUEST); /* expired identity */
    t->now = apr_time_from_sec(TEST_NOW_MS / 1000);
    assert_int_equal(renew(t, ca, &c, MDM_SCEP_RENEWAL, challenge).status,
                     0); /* nothing of this has spent it */
    dbtest_end(t);
}

static void identity_of_another_device_renews_nothing_R12(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    client_t c;

    managed(t, ca, &c);
    sql(t, "INSERT INTO source_record (id, kind, native_id, state, first_seen_ms, last_seen_ms) "
           "VALUES "
           "('" DEVICE "', 'mdm', 'UDID-2', 'enrolled', 1, 1)");
    sql(t, "UPDATE certificate SET record_id = '" DEVICE "'");
    sql(t,
        "INSERT INTO certificate (fingerprint, serial, subject, record_id, status, not_before_ms, "
        "not_after_ms, issued_ms) "
        "VALUES ('f', '01', 'CN=x', '" RECORD "', 'active', 1, %" APR_INT64_T_FMT ", 1)",
        TEST_NOW_MS + YEAR_MS);
    REFUSED(renew(t, ca, &c, MDM_SCEP_RENEWAL, renewal_challenge(t)), MDM_SCEP_BADREQUEST);
    REFUSED(renew(t, ca, &c, MDM_SCEP_PKCSREQ, renewal_challenge(t)), MDM_SCEP_BADREQUEST);
    dbtest_end(t);
}

CA_MAIN(cmocka_unit_test(server_sets_the_subject_R14),
        cmocka_unit_test(challenge_works_once_and_a_repeat_gets_the_same_R14),
        cmocka_unit_test(wrong_challenges_are_refused_R14),
        cmocka_unit_test(weak_keys_and_algorithms_are_refused_and_spend_nothing_R14),
        cmocka_unit_test(other_operations_and_garbage_are_answered_without_harm),
        cmocka_unit_test(a_missing_database_is_no_refusal),
        cmocka_unit_test(of_two_parallel_uses_one_wins_R14),
        cmocka_unit_test(identity_renews_itself_IOS_06),
        cmocka_unit_test(renewal_needs_the_right_identity_and_challenge_R12_R14),
        cmocka_unit_test(identity_of_another_device_renews_nothing_R12))
