/* SCEP messages (IOS-06, R14, RFC 8894), read back as a device reads them and by the openssl
 * command. */
#include "pki_test.h"

static void request_opens_and_answer_carries_the_certificate(void **state)
{
    static const char *const ciphers[] = {"aes128", "aes256", "des3"};
    pki_t *t = *state;
    client_t c = client_make(t->ctx, "one time", "TX/+=1");
    mdm_scep_req_t *req;
    client_answer_t a;
    mdm_cert_t *issued = make_cert(t->ctx, MDM_CERT_IDENTITY, "dev", c.key, t->ca, t->ca_key);
    mdm_blob_t der, out;
    unsigned i;

    for (i = 0; i < 3; i++) {
        c.cipher = ciphers[i];
        der = client_message(t->ctx, &c, t->ra);
        assert_int_equal(mdm_scep_open(t->ctx, &der, t->ra, t->ra_key, 1, &req), APR_SUCCESS);
        assert_int_equal(req->type, MDM_SCEP_PKCSREQ);
        assert_string_equal(req->transaction_id, "TX/+=1");
        assert_string_equal(req->challenge, "one time");
        assert_string_equal(req->cipher, ciphers[i]);
        assert_int_equal(req->weak, i == 2);
        assert_int_equal(req->sender_nonce.len, 16);
        assert_true(mdm_cert_fits_key(req->signer, c.key));
        assert_int_equal(mdm_csr_check(t->ctx, req->csr), APR_SUCCESS);
        assert_int_equal(mdm_scep_success(t->ctx, req, issued, t->ca, t->ra, t->ra_key, &out),
                         APR_SUCCESS);
        a = client_read(t->ctx, &c, &out, t->ra);
        assert_int_equal(a.status, 0);
        assert_memory_equal(mdm_cert_der(a.cert).data, mdm_cert_der(issued).data,
                            mdm_cert_der(issued).len);
    }
    put_cert(t, "ca.pem", t->ca);
    put_cert(t, "dev.pem", c.cert);
    put_key(t, "dev.key", c.key);
    put_file(t, "rep", out.data, out.len);
    assert_int_equal(
        run(t, NULL,
            "openssl cms -verify -purpose any -inform DER -in rep -CAfile ca.pem -attime "
            "1795000000 -binary -out env && "
            "openssl cms -decrypt -inform DER -in env -recip dev.pem -inkey dev.key -binary -out "
            "p7 && "
            "openssl pkcs7 -inform DER -in p7 -print_certs -noout | grep 'subject=CN = dev'"),
        0);
}

static void failure_has_no_content(void **state)
{
    pki_t *t = *state;
    client_t c = client_make(t->ctx, "x", "2");
    mdm_blob_t der = client_message(t->ctx, &c, t->ra), out;
    mdm_scep_req_t *req;
    client_answer_t a;
    const char *text;

    assert_int_equal(mdm_scep_open(t->ctx, &der, t->ra, t->ra_key, 0, &req), APR_SUCCESS);
    assert_int_equal(mdm_scep_failure(t->ctx, req, MDM_SCEP_BADREQUEST, t->ra, t->ra_key, &out),
                     APR_SUCCESS);
    a = client_read(t->ctx, &c, &out, t->ra);
    assert_int_equal(a.status, 2);
    assert_int_equal(a.fail, 2);
    put_file(t, "rep", out.data, out.len);
    assert_int_equal(run(t, &text, "openssl cms -cmsout -print -inform DER -in rep -noout"), 0);
    assert_non_null(strstr(text, "eContent: <ABSENT>"));
}

static void weak_algorithms_need_leave_R14(void **state)
{
    pki_t *t = *state;
    client_t c = client_make(t->ctx, "x", "3");
    mdm_blob_t der;
    mdm_scep_req_t *req;

    c.md = EVP_sha1();
    der = client_message(t->ctx, &c, t->ra);
    assert_int_equal(mdm_scep_open(t->ctx, &der, t->ra, t->ra_key, 0, &req), MDM_EDENIED);
    assert_non_null(req);
    assert_null(req->csr);
    assert_int_equal(mdm_scep_open(t->ctx, &der, t->ra, t->ra_key, 1, &req), APR_SUCCESS);
    assert_true(req->weak);
    c.md = EVP_sha256();
    c.cipher = "des3";
    der = client_message(t->ctx, &c, t->ra);
    assert_int_equal(mdm_scep_open(t->ctx, &der, t->ra, t->ra_key, 0, &req), MDM_EDENIED);
    assert_true(strstr(mdm_scep_caps(0), "SHA-1") == NULL &&
                strstr(mdm_scep_caps(0), "DES3") == NULL);
    assert_true(strstr(mdm_scep_caps(1), "SHA-1\n") &&
                strstr(mdm_scep_caps(0), "POSTPKIOperation\n"));
}

static void all_opening_failures_look_alike(void **state)
{
    pki_t *t = *state;
    client_t c = client_make(t->ctx, "x", "4");
    mdm_blob_t garbage = {(const unsigned char *)"not a request", 13}, envelope, der;
    mdm_key_t *other_key;
    mdm_cert_t *other;
    mdm_scep_req_t *req;
    const char *first;
    unsigned char *key_at;

    /* A readable envelope with garbage in it. */
    mdm_cms_encrypt(t->ctx, &garbage, t->ra, "aes256", &envelope);
    der = client_wrap(t->ctx, &c, &envelope);
    assert_int_equal(mdm_scep_open(t->ctx, &der, t->ra, t->ra_key, 0, &req), MDM_EIDENTITY);
    first = apr_pstrdup(t->pool, t->ctx->fail_text);
    /* An encrypted key with wrong padding. */
    key_at = memmem(envelope.data, envelope.len, "\x04\x82\x01\x00", 4);
    assert_non_null(key_at);
    key_at[100] ^= 1;
    der = client_wrap(t->ctx, &c, &envelope);
    assert_int_equal(mdm_scep_open(t->ctx, &der, t->ra, t->ra_key, 0, &req), MDM_EIDENTITY);
    assert_string_equal(first, t->ctx->fail_text);
    /* A content with wrong padding. */
    key_at[100] ^= 1;
    ((unsigned char *)(uintptr_t)envelope.data)[envelope.len - 1] ^= 1;
    der = client_wrap(t->ctx, &c, &envelope);
    assert_int_equal(mdm_scep_open(t->ctx, &der, t->ra, t->ra_key, 0, &req), MDM_EIDENTITY);
    assert_string_equal(first, t->ctx->fail_text);
    /* For another recipient; and no envelope at all. */
    mdm_key_generate(t->ctx, MDM_KEY_RSA2048, &other_key);
    other = make_cert(t->ctx, MDM_CERT_RA, "Other RA", other_key, NULL, other_key);
    der = client_message(t->ctx, &c, other);
    assert_int_equal(mdm_scep_open(t->ctx, &der, t->ra, t->ra_key, 0, &req), MDM_EIDENTITY);
    assert_string_equal(first, t->ctx->fail_text);
    der = client_wrap(t->ctx, &c, &garbage);
    assert_int_equal(mdm_scep_open(t->ctx, &der, t->ra, t->ra_key, 0, &req), MDM_EIDENTITY);
    assert_string_equal(first, t->ctx->fail_text);
    assert_int_equal(ERR_peek_error(), 0);
}

static void broken_messages_are_refused_R08(void **state)
{
    pki_t *t = *state;
    client_t c = client_make(t->ctx, "x", "transaction-1");
    mdm_blob_t der = client_message(t->ctx, &c, t->ra), bad;
    unsigned char *copy = (unsigned char *)apr_pstrmemdup(t->pool, (const char *)der.data, der.len),
                  *at;
    mdm_scep_req_t *req;
    apr_size_t i;

    for (i = 0; i < der.len; i += 13) {
        bad = (mdm_blob_t){der.data, i};
        assert_int_equal(mdm_scep_open(t->ctx, &bad, t->ra, t->ra_key, 1, &req), MDM_EINPUT);
        assert_null(req);
    }
    bad = (mdm_blob_t){copy, der.len};
    at = memmem(copy, der.len, "transaction-1", 13);
    assert_non_null(at);
    *at ^= 1; /* under the signature */
    assert_int_equal(mdm_scep_open(t->ctx, &bad, t->ra, t->ra_key, 1, &req), MDM_EIDENTITY);
    assert_null(req);
    c.transaction = NULL;
    der = client_message(t->ctx, &c, t->ra);
    assert_int_equal(mdm_scep_open(t->ctx, &der, t->ra, t->ra_key, 1, &req), MDM_EINPUT);
    c.transaction = "new\nline";
    der = client_message(t->ctx, &c, t->ra);
    assert_int_equal(mdm_scep_open(t->ctx, &der, t->ra, t->ra_key, 1, &req), MDM_EINPUT);
    assert_int_equal(mdm_cms_sign(t->ctx, &der, c.cert, c.key, NULL, &bad), APR_SUCCESS);
    assert_int_equal(mdm_scep_open(t->ctx, &bad, t->ra, t->ra_key, 1, &req), MDM_EINPUT);
}

static void cacert_is_one_certificate_or_a_bundle(void **state)
{
    pki_t *t = *state;
    mdm_blob_t out;
    const char *type, *text;

    assert_int_equal(mdm_scep_cacert(t->ctx, t->ca, NULL, &out, &type), APR_SUCCESS);
    assert_string_equal(type, "application/x-x509-ca-cert");
    assert_memory_equal(out.data, mdm_cert_der(t->ca).data, out.len);
    assert_int_equal(mdm_scep_cacert(t->ctx, t->ca, t->ra, &out, &type), APR_SUCCESS);
    assert_string_equal(type, "application/x-x509-ca-ra-cert");
    put_file(t, "bundle", out.data, out.len);
    assert_int_equal(run(t, &text, "openssl pkcs7 -inform DER -in bundle -print_certs -noout"), 0);
    assert_non_null(strstr(text, "subject=CN = Test CA"));
    assert_non_null(strstr(text, "subject=CN = Test RA"));
    assert_int_equal(
        run(t, &text,
            "/usr/bin/python3 -c \"from cryptography.hazmat.primitives.serialization import pkcs7;"
            "print(len(pkcs7.load_der_pkcs7_certificates(open('bundle','rb').read())))\""),
        0);
    assert_int_equal(atoi(text), 2);
}

PKI_MAIN(cmocka_unit_test(request_opens_and_answer_carries_the_certificate),
         cmocka_unit_test(failure_has_no_content), cmocka_unit_test(weak_algorithms_need_leave_R14),
         cmocka_unit_test(all_opening_failures_look_alike),
         cmocka_unit_test(broken_messages_are_refused_R08),
         cmocka_unit_test(cacert_is_one_certificate_or_a_bundle))
