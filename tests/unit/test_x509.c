/* Keys, certificates, requests, revocation lists (IOS-06, R14), with the openssl command as second
 * opinion. */
#include "pki_test.h"
#include <openssl/rsa.h>

static void key_goes_through_pem(void **state)
{
    pki_t *t = *state;
    mdm_key_t *back;

    assert_int_equal(mdm_key_from_pem(t->ctx, mdm_key_pem(t->pool, t->ca_key), NULL, &back),
                     APR_SUCCESS);
    assert_true(mdm_cert_fits_key(t->ca, back));
    assert_false(mdm_cert_fits_key(t->ra, back));
    assert_false(mdm_key_is_rsa(back));
    assert_true(mdm_key_is_rsa(t->ra_key));
}

static void locked_key_needs_its_password_and_never_asks(void **state)
{
    pki_t *t = *state;
    mdm_key_t *back;
    mdm_blob_t pem;
    const char *text;

    put_key(t, "k.pem", t->ca_key);
    assert_int_equal(
        run(t, NULL, "openssl pkcs8 -topk8 -in k.pem -passout pass:hush -out locked.pem"), 0);
    pem = get_file(t, "locked.pem");
    text = (const char *)pem.data;
    assert_int_equal(mdm_key_from_pem(t->ctx, text, NULL, &back), MDM_EINPUT);
    assert_int_equal(mdm_key_from_pem(t->ctx, text, "wrong", &back), MDM_EINPUT);
    assert_int_equal(mdm_key_from_pem(t->ctx, text, "hush", &back), APR_SUCCESS);
    assert_true(mdm_cert_fits_key(t->ca, back));
}

static void broken_pem_and_der_are_refused(void **state)
{
    pki_t *t = *state;
    const char *const bad[] = {"", "-----BEGIN CERTIFICATE-----",
                               "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----",
                               "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
                               "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"};
    mdm_blob_t der = mdm_cert_der(t->ca);
    unsigned char *copy = apr_palloc(t->pool, der.len + 1);
    apr_array_header_t *list;
    mdm_cert_t *cert;
    mdm_csr_t *csr;
    mdm_key_t *key;
    apr_size_t i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mdm_cert_from_pem(t->ctx, bad[i], &cert), MDM_EINPUT);
        assert_int_equal(mdm_certs_from_pem(t->ctx, bad[i], &list), MDM_EINPUT);
        assert_int_equal(mdm_key_from_pem(t->ctx, bad[i], NULL, &key), MDM_EINPUT);
    }
    for (i = 0; i < der.len; i++) {
        assert_int_equal(mdm_cert_from_der(t->ctx, der.data, i, &cert), MDM_EINPUT);
        assert_int_equal(mdm_csr_from_der(t->ctx, der.data, i, &csr), MDM_EINPUT);
    }
    memcpy(copy, der.data, der.len);
    copy[der.len] = 0;
    assert_int_equal(mdm_cert_from_der(t->ctx, copy, der.len + 1, &cert), MDM_EINPUT);
}

static void certificates_go_through_pem_in_order(void **state)
{
    pki_t *t = *state;
    const char *both = apr_pstrcat(t->pool, "# comment\n", mdm_cert_pem(t->pool, t->ra), "\n",
                                   mdm_cert_pem(t->pool, t->ca), NULL);
    apr_array_header_t *list;
    mdm_blob_t der;

    assert_int_equal(mdm_certs_from_pem(t->ctx, both, &list), APR_SUCCESS);
    assert_int_equal(list->nelts, 2);
    assert_true(mdm_cert_fits_key(APR_ARRAY_IDX(list, 0, mdm_cert_t *), t->ra_key));
    assert_true(mdm_cert_fits_key(APR_ARRAY_IDX(list, 1, mdm_cert_t *), t->ca_key));
    assert_int_equal(mdm_pem_der(t->pool, both, &der), APR_SUCCESS);
    assert_int_equal(der.len, mdm_cert_der(t->ra).len);
    assert_memory_equal(der.data, mdm_cert_der(t->ra).data, der.len);
}

static void info_says_what_openssl_says(void **state)
{
    pki_t *t = *state;
    const char *subject[] = {"CN", "dev, \xc3\xa9", "UID", "com.apple.mgmt.External.1",
                             "O",  "Org",           NULL};
    const char *sans[] = {"DNS:mdm.example.org", "IP:192.0.2.1", "IP:2001:db8::1", NULL};
    mdm_issue_t what = {.profile = MDM_CERT_TLS,
                        .subject = subject,
                        .key = t->ra_key,
                        .sans = sans,
                        .not_before_ms = TEST_NOW_MS,
                        .not_after_ms = TEST_NOW_MS + 40 * YEAR_MS,
                        .crl_url = "https://mdm.example.org/crl"};
    mdm_cert_t *cert;
    mdm_certinfo_t info;
    const char *text;

    assert_int_equal(mdm_cert_issue(t->ctx, &what, t->ca, t->ca_key, &cert), APR_SUCCESS);
    assert_int_equal(mdm_cert_info(t->ctx, cert, &info), APR_SUCCESS);
    assert_string_equal(info.cn, "dev, \xc3\xa9");
    assert_string_equal(info.uid, "com.apple.mgmt.External.1");
    assert_string_equal(info.key_text, "RSA 2048");
    assert_string_equal(info.issuer, "CN=Test CA");
    assert_int_equal(info.not_before_ms, TEST_NOW_MS);
    assert_int_equal(info.not_after_ms, TEST_NOW_MS + 40 * YEAR_MS);
    assert_int_equal(strlen(info.serial), 32);
    assert_false(info.is_ca);
    put_cert(t, "tls.pem", cert);
    assert_int_equal(
        run(t, &text,
            "openssl x509 -in tls.pem -noout -serial -fingerprint -sha256 | tr -d : | tr A-F a-f"),
        0);
    assert_non_null(strstr(text, info.serial));
    assert_non_null(strstr(text, info.fingerprint));
    assert_int_equal(run(t, &text, "openssl x509 -in tls.pem -noout -text"), 0);
    assert_non_null(
        strstr(text, "DNS:mdm.example.org, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1"));
    assert_non_null(strstr(text, "URI:https://mdm.example.org/crl"));
    assert_non_null(strstr(text, "TLS Web Server Authentication"));
    assert_int_equal(mdm_cert_info(t->ctx, t->ca, &info), APR_SUCCESS);
    assert_true(info.is_ca);
    assert_string_equal(info.key_text, "EC P-256");
}

static void bad_subjects_and_names_are_refused(void **state)
{
    pki_t *t = *state;
    const char *unknown[] = {"NOPE", "x", NULL}, *good[] = {"CN", "x", NULL};
    const char *const bad_sans[][2] = {
        {"x", NULL}, {"IP:300.1.1.1", NULL}, {"DNS:", NULL}, {"URI:x", NULL}};
    mdm_issue_t what = {
        .profile = MDM_CERT_TLS, .subject = unknown, .not_before_ms = 0, .not_after_ms = YEAR_MS};
    mdm_cert_t *cert;
    unsigned i;

    assert_int_equal(mdm_cert_issue(t->ctx, &what, t->ca, t->ca_key, &cert), MDM_EINPUT);
    what.subject = good;
    for (i = 0; i < 4; i++) {
        what.sans = bad_sans[i];
        assert_int_equal(mdm_cert_issue(t->ctx, &what, t->ca, t->ca_key, &cert), MDM_EINPUT);
    }
    what.sans = NULL;
    assert_int_equal(mdm_cert_issue(t->ctx, &what, t->ca, t->ra_key, &cert), MDM_EINPUT);
}

static void only_the_key_of_a_request_is_certified_R14(void **state)
{
    pki_t *t = *state;
    const char *subject[] = {"CN", "set by us", NULL};
    client_t c = client_make(t->ctx, NULL, "1");
    mdm_blob_t der = client_csr(t->ctx, c.key, "secret word", EVP_sha256());
    mdm_issue_t what = {.profile = MDM_CERT_IDENTITY,
                        .subject = subject,
                        .not_before_ms = TEST_NOW_MS - YEAR_MS,
                        .not_after_ms = TEST_NOW_MS + YEAR_MS};
    mdm_csr_t *csr;
    mdm_cert_t *cert;
    mdm_certinfo_t info;
    const char *text;

    assert_int_equal(mdm_csr_from_der(t->ctx, der.data, der.len, &csr), APR_SUCCESS);
    assert_int_equal(mdm_csr_check(t->ctx, csr), APR_SUCCESS);
    assert_string_equal(mdm_csr_challenge(t->pool, csr), "secret word");
    what.csr = csr;
    assert_int_equal(mdm_cert_issue(t->ctx, &what, t->ca, t->ca_key, &cert), APR_SUCCESS);
    mdm_cert_info(t->ctx, cert, &info);
    assert_string_equal(info.subject, "CN=set by us");
    assert_false(info.is_ca);
    assert_true(mdm_cert_fits_key(cert, c.key));
    assert_true(mdm_cert_signed_by(cert, t->ca));
    assert_false(mdm_cert_signed_by(cert, t->ra));
    assert_false(mdm_cert_signed_by(c.cert, t->ca));
    put_cert(t, "ca.pem", t->ca);
    put_cert(t, "dev.pem", cert);
    assert_int_equal(run(t, NULL,
                         "openssl verify -x509_strict -attime 1795000000 -purpose sslclient "
                         "-CAfile ca.pem dev.pem"),
                     0);
    assert_int_not_equal(
        run(t, NULL, "openssl verify -attime 1795000000 -purpose sslserver -CAfile ca.pem dev.pem"),
        0);
    assert_int_equal(
        run(t, &text,
            "openssl x509 -in dev.pem -noout -ext keyUsage,extendedKeyUsage,basicConstraints"),
        0);
    assert_non_null(strstr(text, "Digital Signature, Key Encipherment"));
    assert_non_null(strstr(text, "CA:FALSE"));
}

static void same_name_does_not_make_an_issuer_R12(void **state)
{
    pki_t *t = *state;
    mdm_key_t *other;
    mdm_cert_t *fake, *cert;

    mdm_key_generate(t->ctx, MDM_KEY_P256, &other);
    fake = make_cert(t->ctx, MDM_CERT_CA, "Test CA", other, NULL, other);
    cert = make_cert(t->ctx, MDM_CERT_IDENTITY, "x", t->ra_key, fake, other);
    assert_true(mdm_cert_signed_by(cert, fake));
    assert_false(mdm_cert_signed_by(cert, t->ca));
}

static apr_status_t check_made_by(pki_t *t, const char *how)
{
    mdm_blob_t der;
    mdm_csr_t *csr;

    assert_int_equal(
        run(t, NULL, apr_psprintf(t->pool, "%s -subj /CN=x -outform DER -out r.der", how)), 0);
    der = get_file(t, "r.der");
    assert_int_equal(mdm_csr_from_der(t->ctx, der.data, der.len, &csr), APR_SUCCESS);
    assert_null(mdm_csr_challenge(t->pool, csr));
    return mdm_csr_check(t->ctx, csr);
}

static void weak_and_odd_request_keys_are_refused_R14(void **state)
{
    pki_t *t = *state;

#define NEW "openssl req -new -nodes -keyout r.key "
    assert_int_equal(check_made_by(t, NEW "-newkey rsa:2048"), APR_SUCCESS);
    assert_int_equal(check_made_by(t, NEW "-newkey rsa:2048 -sha1"), APR_SUCCESS);
    assert_int_equal(check_made_by(t, NEW "-newkey ec -pkeyopt ec_paramgen_curve:P-256"),
                     APR_SUCCESS);
    assert_int_equal(check_made_by(t, NEW "-newkey ec -pkeyopt ec_paramgen_curve:P-384"),
                     APR_SUCCESS);
    assert_int_equal(check_made_by(t, NEW "-newkey rsa:1024"), MDM_EINPUT);
    assert_int_equal(check_made_by(t, NEW "-newkey rsa:2048 -pkeyopt rsa_keygen_pubexp:3"),
                     MDM_EINPUT);
    assert_int_equal(check_made_by(t, NEW "-newkey rsa:2048 -md5"), MDM_EINPUT);
    assert_int_equal(check_made_by(t, NEW "-newkey ec -pkeyopt ec_paramgen_curve:secp224r1"),
                     MDM_EINPUT);
    assert_int_equal(
        check_made_by(t, NEW
                      "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit"),
        MDM_EINPUT);
    assert_int_equal(check_made_by(t, NEW "-newkey ed25519"), MDM_EINPUT);
}

static void changed_request_is_refused(void **state)
{
    pki_t *t = *state;
    mdm_blob_t der = client_csr(t->ctx, t->ra_key, "word", EVP_sha256());
    unsigned char *copy = (unsigned char *)apr_pstrmemdup(t->pool, (const char *)der.data, der.len);
    unsigned char *word = memmem(copy, der.len, "word", 4);
    mdm_csr_t *csr;

    assert_non_null(word);
    *word = 'W';
    assert_int_equal(mdm_csr_from_der(t->ctx, copy, der.len, &csr), APR_SUCCESS);
    assert_string_equal(mdm_csr_challenge(t->pool, csr), "Word");
    assert_int_equal(mdm_csr_check(t->ctx, csr), MDM_EINPUT);
}

static void revocation_list_is_understood_by_openssl_IOS_06(void **state)
{
    pki_t *t = *state;
    mdm_cert_t *dev = make_cert(t->ctx, MDM_CERT_IDENTITY, "x", t->ra_key, t->ca, t->ca_key);
    mdm_certinfo_t info;
    mdm_revoked_t list[2];
    mdm_blob_t der;
    const char *text;

    mdm_cert_info(t->ctx, dev, &info);
    list[0] = (mdm_revoked_t){.serial = info.serial, .at_ms = TEST_NOW_MS, .reason = 5};
    list[1] = (mdm_revoked_t){.serial = "0a", .at_ms = TEST_NOW_MS, .reason = 0};
    assert_int_equal(mdm_crl_make(t->ctx, t->ca, t->ca_key, list, 2, 7, TEST_NOW_MS - YEAR_MS,
                                  TEST_NOW_MS + YEAR_MS, &der),
                     APR_SUCCESS);
    put_cert(t, "ca.pem", t->ca);
    put_cert(t, "dev.pem", dev);
    put_file(t, "crl.der", der.data, der.len);
    assert_int_equal(
        run(t, &text, "openssl crl -inform DER -in crl.der -CAfile ca.pem -out crl.pem -text"), 0);
    assert_non_null(strstr(text, "verify OK"));
    assert_int_not_equal(
        run(t, &text,
            "openssl verify -attime 1795000000 -crl_check -CAfile ca.pem -CRLfile crl.pem dev.pem"),
        0);
    assert_non_null(strstr(text, "revoked"));
    list[0].serial = "not hex";
    assert_int_equal(
        mdm_crl_make(t->ctx, t->ca, t->ca_key, list, 2, 8, TEST_NOW_MS, TEST_NOW_MS, &der),
        MDM_EINPUT);
}

static void error_queue_is_left_as_found(void **state)
{
    pki_t *t = *state;
    mdm_cert_t *cert;
    mdm_key_t *key;
    mdm_csr_t *csr;

    ERR_clear_error();
    ERR_raise(ERR_LIB_USER, 42);
    mdm_cert_from_der(t->ctx, "0\x03xyz", 5, &cert);
    mdm_csr_from_der(t->ctx, "0\x03xyz", 5, &csr);
    mdm_key_from_pem(t->ctx, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", NULL,
                     &key);
    assert_false(mdm_cert_fits_key(t->ca, t->ra_key));
    assert_false(mdm_cert_signed_by(t->ra, t->ra));
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), 42);
    assert_int_equal(ERR_get_error(), 0);
}

PKI_MAIN(cmocka_unit_test(key_goes_through_pem),
         cmocka_unit_test(locked_key_needs_its_password_and_never_asks),
         cmocka_unit_test(broken_pem_and_der_are_refused),
         cmocka_unit_test(certificates_go_through_pem_in_order),
         cmocka_unit_test(info_says_what_openssl_says),
         cmocka_unit_test(bad_subjects_and_names_are_refused),
         cmocka_unit_test(only_the_key_of_a_request_is_certified_R14),
         cmocka_unit_test(same_name_does_not_make_an_issuer_R12),
         cmocka_unit_test(weak_and_odd_request_keys_are_refused_R14),
         cmocka_unit_test(changed_request_is_refused),
         cmocka_unit_test(revocation_list_is_understood_by_openssl_IOS_06),
         cmocka_unit_test(error_queue_is_left_as_found))
