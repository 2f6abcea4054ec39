/* The zone's certification authority (IOS-06, SEC-04, R14). */
#include "ca_test.h"
#include "dbtest.h"
#include <pthread.h>

static apr_status_t load(mdm_ctx_t *ctx, mdm_ca_t **ca)
{
    mdm_db_t *db;
    apr_status_t rv;

    assert_int_equal(mdm_db_open(ctx, &db), APR_SUCCESS);
    rv = mdm_ca_load(db, ctx->pool, ca);
    mdm_db_close(db);
    return rv;
}

static int same(const mdm_cert_t *a, const mdm_cert_t *b)
{
    return a->der.len == b->der.len && !memcmp(a->der.data, b->der.data, a->der.len);
}

static void authority_is_made_once_and_sealed(void **state)
{
    dbtest_t *t = ca_fixture(NULL);
    mdm_ca_t *ca, *again;
    apr_array_header_t *rows;
    mdm_certinfo_t info;
    mdm_db_t *db;
    int i;

    assert_int_equal(load(t->ctx, &ca), APR_NOTFOUND);
    assert_int_equal(mdm_ca_ensure(t->ctx, "Example", MDM_KEY_P256), APR_SUCCESS);
    assert_int_equal(load(t->ctx, &ca), APR_SUCCESS);
    assert_false(mdm_key_is_rsa(ca->ca_key));
    assert_true(mdm_key_is_rsa(ca->ra_key));
    assert_true(mdm_cert_signed_by(ca->ca, ca->ca) && mdm_cert_signed_by(ca->ra, ca->ca) &&
                mdm_cert_signed_by(ca->signer, ca->ca));
    mdm_cert_info(t->ctx, ca->ca, &info);
    assert_string_equal(info.cn, "Example Device CA");
    assert_true(info.is_ca);
    mdm_cert_info(t->ctx, ca->ra, &info);
    assert_false(info.is_ca);
    assert_int_equal(mdm_ca_ensure(t->ctx, "Another name", MDM_KEY_RSA2048), APR_SUCCESS);
    assert_int_equal(load(t->ctx, &again), APR_SUCCESS);
    assert_true(same(ca->ca, again->ca) && same(ca->ra, again->ra) &&
                same(ca->signer, again->signer));
    mdm_db_open(t->ctx, &db);
    assert_int_equal(mdm_q_ca_all(db, &rows), APR_SUCCESS);
    mdm_db_close(db);
    assert_int_equal(rows->nelts, 3);
    for (i = 0; i < 3; i++) {
        assert_true(!strncmp(APR_ARRAY_IDX(rows, i, mdm_q_ca_all_t).private_key, "s1.", 3));
    }
    dbtest_end(t);
}

static void rsa_authority_has_its_own_ra(void **state)
{
    dbtest_t *t = ca_fixture(NULL);
    mdm_ca_t *ca;

    assert_int_equal(mdm_ca_ensure(t->ctx, NULL, MDM_KEY_RSA2048), APR_SUCCESS);
    assert_int_equal(load(t->ctx, &ca), APR_SUCCESS);
    assert_true(mdm_key_is_rsa(ca->ca_key));
    assert_false(same(ca->ca, ca->ra));
    dbtest_end(t);
}

typedef struct node_t {
    mdm_ctx_t *ctx;
    apr_status_t rv;
} node_t;

static void *node_main(void *baton)
{
    node_t *node = baton;

    node->rv = mdm_ca_ensure(node->ctx, "Example", MDM_KEY_P256);
    return NULL;
}

static void two_nodes_at_once_end_with_one_authority(void **state)
{
    dbtest_t *t = ca_fixture(NULL);
    node_t nodes[2];
    pthread_t threads[2];
    apr_pool_t *pools[2];
    mdm_ca_t *a, *b;
    int i;

    for (i = 0; i < 2; i++) {
        mdm_env_t *env;
        apr_pool_create(&pools[i], NULL);
        env = apr_pmemdup(pools[i], &t->env, sizeof(t->env));
        assert_int_equal(mdm_dbpool_direct(pools[i], t->params, &env->dbpool), APR_SUCCESS);
        nodes[i].ctx = mdm_ctx_make(pools[i], env, NULL, NULL);
    }
    for (i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, node_main, &nodes[i]), 0);
    }
    for (i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(nodes[i].rv, APR_SUCCESS);
    }
    assert_int_equal(load(nodes[0].ctx, &a), APR_SUCCESS);
    assert_int_equal(load(nodes[1].ctx, &b), APR_SUCCESS);
    assert_true(same(a->ca, b->ca) && same(a->ra, b->ra) && same(a->signer, b->signer));
    assert_true(mdm_cert_signed_by(a->ra, a->ca) && mdm_cert_signed_by(a->signer, a->ca));
    apr_pool_destroy(pools[0]);
    apr_pool_destroy(pools[1]);
    dbtest_end(t);
}

static void helpers_are_renewed_before_they_end_and_the_root_is_not(void **state)
{
    mdm_ca_t *ca, *later;
    dbtest_t *t = ca_fixture(&ca);

    t->now = apr_time_from_sec((TEST_NOW_MS + 9 * YEAR_MS) / 1000);
    assert_int_equal(mdm_ca_ensure(t->ctx, "Example", MDM_KEY_P256), APR_SUCCESS);
    assert_int_equal(load(t->ctx, &later), APR_SUCCESS);
    assert_true(same(ca->ra, later->ra));
    t->now = apr_time_from_sec((TEST_NOW_MS + 10 * YEAR_MS - 86400000LL) / 1000);
    assert_int_equal(mdm_ca_ensure(t->ctx, "Example", MDM_KEY_P256), APR_SUCCESS);
    assert_int_equal(load(t->ctx, &later), APR_SUCCESS);
    assert_true(same(ca->ca, later->ca));
    assert_false(same(ca->ra, later->ra) || same(ca->signer, later->signer));
    assert_true(mdm_cert_signed_by(later->ra, ca->ca));
    dbtest_end(t);
}

static void keys_open_only_in_their_row_SEC_04(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);

    t->ctx->log = NULL; /* the error lines are due */
    sql(t, "UPDATE ca SET private_key = (SELECT private_key FROM ca WHERE kind = 'ca') WHERE kind "
           "= 'ra'");
    assert_int_equal(load(t->ctx, &ca), MDM_EUNAVAIL);
    t->env.keys = NULL;
    assert_int_equal(load(t->ctx, &ca), MDM_EUNAVAIL);
    assert_int_equal(mdm_ca_ensure(t->ctx, "Example", MDM_KEY_P256), MDM_EUNAVAIL);
    dbtest_end(t);
}

static mdm_cert_t *issue(dbtest_t *t, const mdm_ca_t *ca, const char *cn, const char *pending_id)
{
    mdm_key_t *key;
    mdm_blob_t der;
    mdm_csr_t *csr;
    mdm_cert_t *cert;
    mdm_db_t *db;

    mdm_key_generate(t->ctx, MDM_KEY_P256, &key);
    der = client_csr(t->ctx, key, "x", EVP_sha256());
    assert_int_equal(mdm_csr_from_der(t->ctx, der.data, der.len, &csr), APR_SUCCESS);
    mdm_db_open(t->ctx, &db);
    assert_int_equal(mdm_ca_issue_identity(db, ca, csr, cn, pending_id, NULL, &cert), APR_SUCCESS);
    mdm_db_close(db);
    return cert;
}

static void identity_lives_five_years_but_not_longer_than_its_authority(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    mdm_cert_t *cert = issue(t, ca, "device one", PENDING);
    mdm_certinfo_t info, root;
    mdm_q_certificate_find_t *row = certificate_row(t, cert);

    mdm_cert_info(t->ctx, cert, &info);
    assert_string_equal(info.subject, "CN=device one");
    assert_int_equal(info.not_after_ms, TEST_NOW_MS + MDM_IDENTITY_LIFE_MS);
    assert_true(info.not_before_ms <= TEST_NOW_MS - 86400000LL);
    assert_string_equal(row->status, "issued");
    assert_string_equal(row->pending_id, PENDING);
    assert_null(row->record_id);
    assert_int_equal(row->not_after, info.not_after_ms);
    assert_string_equal(row->der, mdm_b64(t->pool, cert->der.data, cert->der.len));
    mdm_cert_info(t->ctx, issue(t, ca, "for a report", NULL), &info);
    assert_int_equal(info.not_after_ms, TEST_NOW_MS + 86400000LL);
    t->now = apr_time_from_sec((TEST_NOW_MS + 19 * YEAR_MS) / 1000);
    mdm_cert_info(t->ctx, issue(t, ca, "late", PENDING), &info);
    mdm_cert_info(t->ctx, ca->ca, &root);
    assert_int_equal(info.not_after_ms, root.not_after_ms);
    dbtest_end(t);
}

static void revoked_identity_is_announced_and_listed_IOS_06(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    mdm_cert_t *gone = issue(t, ca, "gone", NULL), *stays = issue(t, ca, "stays", NULL);
    const unsigned char *at;
    mdm_certinfo_t info;
    mdm_blob_t der;
    X509_REVOKED *rev;
    X509_CRL *crl;
    mdm_db_t *db;
    const char *tag, *was;

    mdm_db_open(t->ctx, &db);
    assert_int_equal(mdm_ca_revoke(db, fingerprint(t, gone), "left"), APR_SUCCESS);
    assert_int_equal(mdm_ca_revoke(db, fingerprint(t, gone), "again"), APR_SUCCESS);
    assert_int_equal(mdm_ca_revoke(db, "no such", "left"), APR_SUCCESS);
    mdm_db_close(db);
    assert_string_equal(certificate_row(t, gone)->status, "revoked");
    sql(t, "CREATE TABLE one AS SELECT 1 AS x FROM change WHERE kind = 'cert' AND key = '%s'",
        fingerprint(t, gone));
    sql(t, "CREATE UNIQUE INDEX one_x ON one (x)");
    assert_true(dbtest_sql(t, "INSERT INTO one (x) VALUES (1)") != 0); /* announced, and once */
    assert_int_equal(mdm_ca_crl(t->ctx, ca, &der, &tag), APR_SUCCESS);
    at = der.data;
    crl = d2i_X509_CRL(NULL, &at, (long)der.len);
    assert_non_null(crl);
    assert_int_equal(X509_CRL_verify(crl, X509_get0_pubkey(ca->ca->x)), 1);
    assert_int_equal(X509_CRL_get0_by_cert(crl, &rev, gone->x), 1);
    assert_int_equal(X509_CRL_get0_by_cert(crl, &rev, stays->x), 0);
    was = tag;
    assert_int_equal(mdm_ca_crl(t->ctx, ca, &der, &tag), APR_SUCCESS);
    assert_string_equal(tag, was); /* whoever makes it */
    X509_CRL_free(crl);
    mdm_cert_info(t->ctx, gone, &info);
    t->now = apr_time_from_sec(info.not_after_ms / 1000 + 1);
    assert_int_equal(mdm_ca_crl(t->ctx, ca, &der, &tag), APR_SUCCESS);
    assert_string_not_equal(tag, was);
    at = der.data;
    crl = d2i_X509_CRL(NULL, &at, (long)der.len);
    assert_int_equal(X509_CRL_get0_by_cert(crl, &rev, gone->x), 0); /* expired: no need to list */
    X509_CRL_free(crl);
    dbtest_end(t);
}

CA_MAIN(cmocka_unit_test(authority_is_made_once_and_sealed),
        cmocka_unit_test(rsa_authority_has_its_own_ra),
        cmocka_unit_test(two_nodes_at_once_end_with_one_authority),
        cmocka_unit_test(helpers_are_renewed_before_they_end_and_the_root_is_not),
        cmocka_unit_test(keys_open_only_in_their_row_SEC_04),
        cmocka_unit_test(identity_lives_five_years_but_not_longer_than_its_authority),
        cmocka_unit_test(revoked_identity_is_announced_and_listed_IOS_06))
