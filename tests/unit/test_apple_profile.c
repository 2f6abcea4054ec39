/* The enrolment profile and the trust profile (IOS-07), read back by our parser, by openssl and by
 * Python's plistlib. */
#include "ca_test.h"
#include "dbtest.h"
#include "domain/mdm_apple_profile.h"
#include "wire/mdm_plist.h"

static const mdm_apple_conf_t conf_base = {.public_url = "https://mdm.example.org",
                                           .organisation = "Ex <&> ample",
                                           .topic = "com.apple.mgmt.External.1",
                                           .sign_message = 1,
                                           .rsa_bits = 2048};

static apr_status_t make(dbtest_t *t, const mdm_ca_t *ca, const mdm_apple_conf_t *conf,
                         mdm_blob_t *out)
{
    mdm_pending_t *pending;
    mdm_db_t *db;
    apr_status_t rv;

    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_pending_get(db, PENDING, &pending), APR_SUCCESS);
    rv = mdm_apple_enroll_profile(db, ca, conf, pending, out);
    mdm_db_close(db);
    return rv;
}

static mdm_plist_t *open_profile(dbtest_t *t, const mdm_ca_t *ca, const mdm_blob_t *der)
{
    mdm_cert_t *signer;
    mdm_plist_t *root;
    mdm_blob_t xml;

    assert_int_equal(mdm_cms_verify(t->ctx, der, NULL, 0, &signer, &xml), APR_SUCCESS);
    assert_memory_equal(signer->der.data, ca->signer->der.data, signer->der.len);
    assert_int_equal(mdm_plist_parse(t->ctx, xml.data, xml.len, &root), APR_SUCCESS);
    return root;
}

/* The only payload of a type. */
static const mdm_plist_t *payload(const mdm_plist_t *root, const char *type)
{
    const mdm_plist_t *p, *found = NULL;

    for (p = mdm_plist_get(root, "PayloadContent")->child; p; p = p->next) {
        if (!strcmp(mdm_plist_str(p, "PayloadType"), type)) {
            assert_null(found);
            found = p;
        }
    }
    assert_non_null(found);
    return found;
}

static void enrolment_profile_says_what_phones_need_IOS_07(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    const mdm_plist_t *scep, *mdm, *root_ca, *rdn;
    unsigned char sha1[20];
    mdm_plist_t *root;
    mdm_blob_t der;

    add_pending(t);
    assert_int_equal(make(t, ca, &conf_base, &der), APR_SUCCESS);
    root = open_profile(t, ca, &der);
    assert_string_equal(mdm_plist_str(root, "PayloadIdentifier"), "org.mod-mdm.enroll");
    assert_string_equal(mdm_plist_str(root, "PayloadType"), "Configuration");
    assert_string_equal(mdm_plist_str(root, "PayloadOrganization"), "Ex <&> ample");
    assert_int_equal(mdm_plist_int(root, "PayloadVersion", 0), 1);

    root_ca = payload(root, "com.apple.security.root");
    assert_memory_equal(mdm_plist_data(root_ca, "PayloadContent")->data, ca->ca->der.data,
                        ca->ca->der.len);

    scep = payload(root, "com.apple.security.scep");
    mdm = payload(root, "com.apple.mdm");
    assert_string_equal(mdm_plist_str(mdm, "IdentityCertificateUUID"),
                        mdm_plist_str(scep, "PayloadUUID"));
    assert_string_equal(mdm_plist_str(mdm, "ServerURL"), "https://mdm.example.org/mdm/connect");
    assert_string_equal(mdm_plist_str(mdm, "CheckInURL"), "https://mdm.example.org/mdm/checkin");
    assert_string_equal(mdm_plist_str(mdm, "Topic"), "com.apple.mgmt.External.1");
    assert_int_equal(mdm_plist_int(mdm, "AccessRights", 0), 8191);
    assert_true(mdm_plist_bool(mdm, "SignMessage", 0));
    assert_true(mdm_plist_bool(mdm, "CheckOutWhenRemoved", 0));
    assert_int_equal(mdm_plist_get(mdm, "ServerCapabilities")->count, 2);
    assert_string_equal(mdm_plist_get(mdm, "ServerCapabilities")->child->str, "com.apple.mdm.per-user-connections");
    assert_string_equal(mdm_plist_get(mdm, "ServerCapabilities")->last->str, "com.apple.mdm.bootstraptoken");

    scep = mdm_plist_get(scep, "PayloadContent");
    assert_string_equal(mdm_plist_str(scep, "URL"), "https://mdm.example.org/scep");
    assert_string_equal(mdm_plist_str(scep, "Key Type"), "RSA");
    assert_int_equal(mdm_plist_int(scep, "Key Usage", 0), 5);
    assert_int_equal(mdm_plist_int(scep, "Keysize", 0), 2048);
    assert_true(EVP_Digest(ca->ca->der.data, ca->ca->der.len, sha1, NULL, EVP_sha1(), NULL));
    assert_int_equal(mdm_plist_data(scep, "CAFingerprint")->len, 20);
    assert_memory_equal(mdm_plist_data(scep, "CAFingerprint")->data, sha1, 20);
    rdn = mdm_plist_get(scep, "Subject")->child->child->child;
    assert_string_equal(rdn->str, "CN");
    assert_string_equal(rdn->next->str, PENDING);
    dbtest_end(t);
}

static void each_profile_has_its_own_ids_and_challenge_SEC_02(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    const mdm_plist_t *p, *q, *old, *new;
    mdm_plist_t *a, *b;
    mdm_challenge_t *taken;
    mdm_blob_t der;
    mdm_db_t *db;

    add_pending(t);
    assert_int_equal(make(t, ca, &conf_base, &der), APR_SUCCESS);
    a = open_profile(t, ca, &der);
    assert_int_equal(make(t, ca, &conf_base, &der), APR_SUCCESS);
    b = open_profile(t, ca, &der);
    for (p = mdm_plist_get(a, "PayloadContent")->child; p; p = p->next) {
        for (q = mdm_plist_get(b, "PayloadContent")->child; q; q = q->next) {
            assert_string_not_equal(mdm_plist_str(p, "PayloadUUID"),
                                    mdm_plist_str(q, "PayloadUUID"));
        }
        for (q = p->next; q; q = q->next) {
            assert_string_not_equal(mdm_plist_str(p, "PayloadUUID"),
                                    mdm_plist_str(q, "PayloadUUID"));
            assert_string_not_equal(mdm_plist_str(p, "PayloadIdentifier"),
                                    mdm_plist_str(q, "PayloadIdentifier"));
        }
    }
    old = mdm_plist_get(payload(a, "com.apple.security.scep"), "PayloadContent");
    new = mdm_plist_get(payload(b, "com.apple.security.scep"), "PayloadContent");
    mdm_db_open(t->ctx, &db);
    assert_int_equal(mdm_challenge_take(db, mdm_plist_str(old, "Challenge"), "h", "t", &taken),
                     MDM_EDENIED);
    assert_int_equal(mdm_challenge_take(db, mdm_plist_str(new, "Challenge"), "h", "t", &taken),
                     APR_SUCCESS);
    mdm_db_close(db);
    assert_string_equal(taken->pending_id, PENDING);
    dbtest_end(t);
}

static void no_topic_no_profile_POR_02(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    mdm_apple_conf_t conf = conf_base;
    mdm_blob_t der;

    add_pending(t);
    conf.topic = NULL;
    assert_int_equal(make(t, ca, &conf, &der), MDM_ECONFLICT);
    assert_non_null(strstr(t->ctx->fail_text, "push certificate"));
    dbtest_end(t);
}

static void anchors_come_once_each_and_must_be_certificates(void **state)
{
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    mdm_apple_conf_t conf = conf_base;
    mdm_key_t *key;
    mdm_cert_t *anchor;
    mdm_plist_t *root;
    mdm_blob_t der;
    const char *pem;

    add_pending(t);
    mdm_key_generate(t->ctx, MDM_KEY_P256, &key);
    anchor = make_cert(t->ctx, MDM_CERT_CA, "TLS root", key, NULL, key);
    pem = mdm_cert_pem(t->pool, anchor);
    conf.anchors_pem = apr_pstrcat(t->pool, pem, mdm_cert_pem(t->pool, ca->ca), pem, NULL);
    assert_int_equal(make(t, ca, &conf, &der), APR_SUCCESS);
    root = open_profile(t, ca, &der);
    assert_int_equal(mdm_plist_get(root, "PayloadContent")->count, 4); /* CA, TLS root, SCEP, MDM */
    assert_int_equal(mdm_apple_trust_profile(t->ctx, ca, &conf, &der), APR_SUCCESS);
    root = open_profile(t, ca, &der);
    assert_string_equal(mdm_plist_str(root, "PayloadIdentifier"), "org.mod-mdm.trust");
    assert_int_equal(mdm_plist_get(root, "PayloadContent")->count, 2);
    conf.anchors_pem = "nonsense";
    assert_int_equal(mdm_apple_trust_profile(t->ctx, ca, &conf, &der), MDM_EINPUT);
    conf.anchors_pem = NULL;
    assert_int_equal(mdm_apple_trust_profile(t->ctx, ca, &conf, &der), APR_NOTFOUND);
    dbtest_end(t);
}

static void openssl_and_plistlib_read_the_profile(void **state)
{
    pki_t *pki = *state;
    mdm_ca_t *ca;
    dbtest_t *t = ca_fixture(&ca);
    mdm_blob_t der;
    const char *text;

    add_pending(t);
    assert_int_equal(make(t, ca, &conf_base, &der), APR_SUCCESS);
    put_file(pki, "p.mobileconfig", der.data, der.len);
    put_cert(pki, "zone.pem", ca->ca);
    assert_int_equal(run(pki, &text,
                         "openssl cms -verify -inform DER -in p.mobileconfig -CAfile zone.pem "
                         "-attime 1795000000 "
                         "-purpose smimesign -binary -out p.plist"),
                     0);
    assert_int_equal(
        run(pki, &text,
            "/usr/bin/python3 -c \"import plistlib;"
            "p=plistlib.load(open('p.plist','rb'));"
            "print(p['PayloadOrganization'], [x['PayloadType'] for x in p['PayloadContent']])\""),
        0);
    assert_string_equal(
        text,
        "Ex <&> ample ['com.apple.security.root', 'com.apple.security.scep', 'com.apple.mdm']\n");
    dbtest_end(t);
}

PKI_MAIN(cmocka_unit_test(enrolment_profile_says_what_phones_need_IOS_07),
         cmocka_unit_test(each_profile_has_its_own_ids_and_challenge_SEC_02),
         cmocka_unit_test(no_topic_no_profile_POR_02),
         cmocka_unit_test(anchors_come_once_each_and_must_be_certificates),
         cmocka_unit_test(openssl_and_plistlib_read_the_profile))
