/* CMS: signing, Mdm-Signature, enveloping (IOS-02, IOS-07, R08, R10), with the openssl command as
 * second opinion. */
#include "pki_test.h"

static const mdm_blob_t body = {(const unsigned char *)"<plist>\r\nhello\n</plist>", 23};

static mdm_blob_t blob(const char *s)
{
    mdm_blob_t b = {(const unsigned char *)s, strlen(s)};
    return b;
}

static void files(pki_t *t)
{
    put_cert(t, "ca.pem", t->ca);
    put_cert(t, "ra.pem", t->ra);
    put_key(t, "ra.key", t->ra_key);
    put_file(t, "body", body.data, body.len);
}

static void openssl_verifies_what_we_sign_IOS_07(void **state)
{
    pki_t *t = *state;
    mdm_key_t *key;
    mdm_cert_t *signer;
    apr_array_header_t *chain = apr_array_make(t->pool, 1, sizeof(mdm_cert_t *));
    mdm_blob_t out;
    const char *text;

    files(t);
    mdm_key_generate(t->ctx, MDM_KEY_RSA2048, &key);
    signer = make_cert(t->ctx, MDM_CERT_SIGNER, "Profiles", key, t->ca, t->ca_key);
    APR_ARRAY_PUSH(chain, mdm_cert_t *) = t->ca;
    assert_int_equal(mdm_cms_sign(t->ctx, &body, signer, key, chain, &out), APR_SUCCESS);
    put_file(t, "signed", out.data, out.len);
    assert_int_equal(run(t, &text,
                         "openssl cms -verify -inform DER -in signed -CAfile ca.pem -attime "
                         "1795000000 -binary -out got "
                         "-purpose any && cmp got body"),
                     0);
    assert_int_equal(
        run(t, &text, "openssl pkcs7 -inform DER -in signed -print_certs -noout | grep -c subject"),
        0);
    assert_int_equal(atoi(text), 2);
}

static void signature_made_by_openssl_is_verified(void **state)
{
    pki_t *t = *state;
    mdm_cert_t *signer;
    mdm_blob_t der, content;

    files(t);
    assert_int_equal(run(t, NULL,
                         "openssl cms -sign -binary -nodetach -in body -signer ra.pem -inkey "
                         "ra.key -outform DER -out s"),
                     0);
    der = get_file(t, "s");
    assert_int_equal(mdm_cms_verify(t->ctx, &der, NULL, 0, &signer, &content), APR_SUCCESS);
    assert_int_equal(content.len, body.len);
    assert_memory_equal(content.data, body.data, body.len);
    assert_memory_equal(mdm_cert_der(signer).data, mdm_cert_der(t->ra).data,
                        mdm_cert_der(t->ra).len);
    /* Attached where detached is due would let the body be swapped. */
    assert_int_equal(mdm_cms_verify(t->ctx, &der, &body, 0, &signer, &content), MDM_EINPUT);
}

static void mdm_signature_speaks_for_one_body_only_R10(void **state)
{
    pki_t *t = *state;
    mdm_blob_t der, other = blob("<plist>\r\nhellO\n</plist>"), empty = {NULL, 0};
    mdm_cert_t *signer;
    const char *header;

    files(t);
    assert_int_equal(
        run(t, NULL,
            "openssl cms -sign -binary -in body -signer ra.pem -inkey ra.key -outform DER -out s"),
        0);
    der = get_file(t, "s");
    header = mdm_b64(t->pool, der.data, der.len);
    assert_int_equal(mdm_cms_mdm_signature(t->ctx, header, &body, &signer), APR_SUCCESS);
    assert_memory_equal(mdm_cert_der(signer).data, mdm_cert_der(t->ra).data,
                        mdm_cert_der(t->ra).len);
    assert_int_equal(mdm_cms_mdm_signature(t->ctx, header, &other, &signer), MDM_EIDENTITY);
    assert_int_equal(mdm_cms_mdm_signature(t->ctx, header, &empty, &signer), MDM_EIDENTITY);
    assert_int_equal(mdm_cms_mdm_signature(t->ctx, "", &body, &signer), MDM_EINPUT);
    assert_int_equal(mdm_cms_mdm_signature(t->ctx, "@@@@", &body, &signer), MDM_EINPUT);
    assert_int_equal(mdm_cms_mdm_signature(t->ctx, "AAAA", &body, &signer), MDM_EINPUT);
}

static void signers_and_digests_are_limited(void **state)
{
    pki_t *t = *state;
    mdm_blob_t der;
    mdm_cert_t *signer;

    files(t);
    put_key(t, "ca.key", t->ca_key);
    assert_int_equal(run(t, NULL,
                         "openssl cms -sign -md sha1 -binary -in body -signer ra.pem -inkey ra.key "
                         "-outform DER -out s"),
                     0);
    der = get_file(t, "s");
    assert_int_equal(mdm_cms_verify(t->ctx, &der, &body, 0, &signer, NULL), MDM_EIDENTITY);
    assert_int_equal(mdm_cms_verify(t->ctx, &der, &body, 1, &signer, NULL), APR_SUCCESS);
    assert_int_equal(run(t, NULL,
                         "openssl cms -sign -md md5 -binary -in body -signer ra.pem -inkey ra.key "
                         "-outform DER -out s"),
                     0);
    der = get_file(t, "s");
    assert_int_equal(mdm_cms_verify(t->ctx, &der, &body, 1, &signer, NULL), MDM_EIDENTITY);
    assert_int_equal(run(t, NULL,
                         "openssl cms -sign -nocerts -binary -in body -signer ra.pem -inkey ra.key "
                         "-outform DER -out s"),
                     0);
    der = get_file(t, "s");
    assert_int_equal(mdm_cms_verify(t->ctx, &der, &body, 0, &signer, NULL), MDM_EIDENTITY);
    assert_int_equal(run(t, NULL,
                         "openssl cms -sign -binary -in body -signer ra.pem -inkey ra.key -signer "
                         "ca.pem -inkey ca.key "
                         "-outform DER -out s"),
                     0);
    der = get_file(t, "s");
    assert_int_equal(mdm_cms_verify(t->ctx, &der, &body, 0, &signer, NULL), MDM_EIDENTITY);
    assert_int_equal(
        run(t, NULL,
            "for i in 1 2 3 4 5 6 7 8 9 10; do openssl req -new -x509 -newkey ec -pkeyopt "
            "ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=$i -set_serial $i; done > "
            "many.pem; "
            "openssl cms -sign -certfile many.pem -binary -in body -signer ra.pem -inkey ra.key "
            "-outform DER "
            "-out s"),
        0);
    der = get_file(t, "s");
    assert_int_equal(mdm_cms_verify(t->ctx, &der, &body, 0, &signer, NULL), MDM_EIDENTITY);
}

static void cut_or_long_messages_are_refused_R08(void **state)
{
    pki_t *t = *state;
    mdm_blob_t der, part, big = {apr_pcalloc(t->pool, 70000), 70000};
    mdm_cert_t *signer;
    apr_size_t i;

    assert_int_equal(mdm_cms_sign(t->ctx, &body, t->ra, t->ra_key, NULL, &der), APR_SUCCESS);
    for (i = 0; i < der.len; i += 7) {
        part = (mdm_blob_t){der.data, i};
        assert_int_equal(mdm_cms_verify(t->ctx, &part, NULL, 1, &signer, NULL), MDM_EINPUT);
    }
    part.data = (unsigned char *)apr_pstrmemdup(t->pool, (const char *)der.data, der.len);
    part.len = der.len + 1;
    assert_int_equal(mdm_cms_verify(t->ctx, &part, NULL, 1, &signer, NULL), MDM_EINPUT);
    memcpy((void *)(uintptr_t)big.data, der.data, der.len);
    assert_int_equal(mdm_cms_verify(t->ctx, &big, NULL, 1, &signer, NULL), MDM_EINPUT);
}

static void envelopes_open_and_openssl_opens_ours(void **state)
{
    static const char *const ciphers[] = {"aes128", "aes192", "aes256", "des3"};
    pki_t *t = *state;
    mdm_blob_t der, out;
    unsigned i;

    files(t);
    for (i = 0; i < 4; i++) {
        assert_int_equal(mdm_cms_encrypt(t->ctx, &body, t->ra, ciphers[i], &der), APR_SUCCESS);
        assert_string_equal(mdm_cms_cipher(&der), ciphers[i]);
        assert_int_equal(mdm_cms_decrypt(t->ctx, &der, t->ra, t->ra_key, &out), APR_SUCCESS);
        assert_int_equal(out.len, body.len);
        assert_memory_equal(out.data, body.data, body.len);
        put_file(t, "e", der.data, der.len);
        assert_int_equal(run(t, NULL,
                             "openssl cms -decrypt -binary -inform DER -in e -recip ra.pem -inkey "
                             "ra.key -out got && cmp got body"),
                         0);
        assert_int_equal(
            run(t, NULL,
                apr_psprintf(t->pool,
                             "openssl cms -encrypt -binary -in body -%s -outform DER -out e ra.pem",
                             ciphers[i])),
            0);
        der = get_file(t, "e");
        assert_int_equal(mdm_cms_decrypt(t->ctx, &der, t->ra, t->ra_key, &out), APR_SUCCESS);
        assert_memory_equal(out.data, body.data, body.len);
    }
    assert_int_equal(mdm_cms_encrypt(t->ctx, &body, t->ra, "rot13", &der), MDM_EINPUT);
    assert_int_equal(mdm_cms_decrypt(t->ctx, &body, t->ra, t->ra_key, &out), MDM_EIDENTITY);
}

/* Whatever is changed in an envelope, there is one refusal: no padding oracle. */
static void damaged_envelopes_all_look_alike(void **state)
{
    pki_t *t = *state;
    mdm_blob_t der, out, bad;
    unsigned char *copy;
    const char *said = NULL;
    apr_status_t rv;
    apr_size_t i;

    assert_int_equal(mdm_cms_encrypt(t->ctx, &body, t->ra, "aes128", &der), APR_SUCCESS);
    copy = (unsigned char *)apr_pstrmemdup(t->pool, (const char *)der.data, der.len);
    bad = (mdm_blob_t){copy, der.len};
    for (i = 0; i < der.len; i += 3) {
        copy[i] ^= 0x5a;
        rv = mdm_cms_decrypt(t->ctx, &bad, t->ra, t->ra_key, &out);
        if (rv != APR_SUCCESS) {
            assert_int_equal(rv, MDM_EIDENTITY);
            assert_true(!said || !strcmp(said, t->ctx->fail_text));
            said = apr_pstrdup(t->pool, t->ctx->fail_text);
        }
        copy[i] ^= 0x5a;
    }
    assert_non_null(said);
    assert_int_equal(ERR_peek_error(), 0);
}

PKI_MAIN(cmocka_unit_test(openssl_verifies_what_we_sign_IOS_07),
         cmocka_unit_test(signature_made_by_openssl_is_verified),
         cmocka_unit_test(mdm_signature_speaks_for_one_body_only_R10),
         cmocka_unit_test(signers_and_digests_are_limited),
         cmocka_unit_test(cut_or_long_messages_are_refused_R08),
         cmocka_unit_test(envelopes_open_and_openssl_opens_ours),
         cmocka_unit_test(damaged_envelopes_all_look_alike))
