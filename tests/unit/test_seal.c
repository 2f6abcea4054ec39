/* Sealing, key files, look-up indexes, password hashes (SEC-04, SEC-07, R21). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <apr_strings.h>
#include "base/mdm_seal.h"

#define K1 "old AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
#define K2 "new AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"

static apr_pool_t *pool;
static mdm_ctx_t *ctx;
static mdm_env_t env;

static int setup(void **state)
{
    mdm_keyring_t *ring;

    apr_pool_create(&pool, NULL);
    memset(&env, 0, sizeof(env));
    ctx = mdm_ctx_make(pool, &env, NULL, NULL);
    assert_int_equal(mdm_keyring_parse(ctx, pool, K1, &ring), APR_SUCCESS);
    env.keys = ring;
    return 0;
}

static int teardown(void **state)
{
    apr_pool_destroy(pool);
    return 0;
}

static void test_round_trip(void **state)
{
    const char *a, *b;
    mdm_blob_t out;

    assert_int_equal(mdm_seal(ctx, "t.c:1", "secret\0x", 8, &a), APR_SUCCESS);
    assert_int_equal(mdm_seal(ctx, "t.c:1", "secret\0x", 8, &b), APR_SUCCESS);
    assert_string_not_equal(a, b);
    assert_int_equal(strncmp(a, "s1.old.", 7), 0);
    assert_int_equal(mdm_unseal(ctx, "t.c:1", a, &out), APR_SUCCESS);
    assert_int_equal(out.len, 8);
    assert_memory_equal(out.data, "secret\0x", 9);
    assert_int_equal(mdm_seal(ctx, "t.c:1", "", 0, &a), APR_SUCCESS);
    assert_int_equal(mdm_unseal(ctx, "t.c:1", a, &out), APR_SUCCESS);
    assert_int_equal(out.len, 0);
}

static void test_changed_text_never_opens(void **state)
{
    static const char *const bad[] = {"", "s1.", "s1.old", "s1.old.", "s1..AAAA", "s1.none.AAAA",
                                      "s2.old.AAAA", "s1.old.AAAA", "s1.old.****", "s1.o d.AAAA",
                                      "s1.oldoldoldoldoldoldoldoldoldoldoldoldold.AAAA"};
    const char *a;
    mdm_blob_t out;
    apr_size_t i;

    assert_int_equal(mdm_seal(ctx, "t.c:1", "secret", 6, &a), APR_SUCCESS);
    assert_int_equal(mdm_unseal(ctx, "t.c:2", a, &out), MDM_EUNAVAIL);
    assert_null(out.data);
    for (i = 0; a[i]; i++) {
        char *copy = apr_pstrdup(pool, a);

        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        assert_int_equal(mdm_unseal(ctx, "t.c:1", copy, &out), MDM_EUNAVAIL);
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(mdm_unseal(ctx, "t.c:1", bad[i], &out), MDM_EUNAVAIL);
    assert_int_equal(mdm_unseal(ctx, "t.c:1", NULL, &out), MDM_EUNAVAIL);
}

static void test_rotation_sec04(void **state)
{
    const char *a, *b, *i1, *i2;
    mdm_keyring_t *ring;
    mdm_blob_t out;

    assert_int_equal(mdm_seal(ctx, "p", "x", 1, &a), APR_SUCCESS);
    assert_int_equal(mdm_seal_index(ctx, "otp", "1234", &i1), APR_SUCCESS);
    assert_int_equal(mdm_keyring_parse(ctx, pool, "# comment\n\n" K2 K1, &ring), APR_SUCCESS);
    env.keys = ring;
    assert_int_not_equal(strncmp(a, "s1.new.", 7), 0);
    assert_int_equal(mdm_unseal(ctx, "p", a, &out), APR_SUCCESS);
    assert_int_equal(mdm_seal(ctx, "p", "x", 1, &b), APR_SUCCESS);
    assert_int_equal(strncmp(b, "s1.new.", 7), 0);
    assert_int_equal(mdm_seal_index(ctx, "otp", "1234", &i2), APR_SUCCESS);
    assert_string_equal(i1, i2);
    assert_int_equal(strlen(i1), 64);
    assert_int_equal(mdm_seal_index(ctx, "other", "1234", &i2), APR_SUCCESS);
    assert_string_not_equal(i1, i2);
}

static void test_no_keys(void **state)
{
    const char *a;
    mdm_blob_t out;

    env.keys = NULL;
    assert_int_equal(mdm_seal(ctx, "p", "x", 1, &a), MDM_EUNAVAIL);
    assert_int_equal(mdm_unseal(ctx, "p", "s1.old.AAAA", &out), MDM_EUNAVAIL);
    assert_int_equal(mdm_seal_index(ctx, "p", "x", &a), MDM_EUNAVAIL);
}

static void test_bad_key_files(void **state)
{
    static const char *const bad[] = {
        "", "# only\n", "old\n", "old AAAA\n", K1 K1, "o/d AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "old AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n",
        "old AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= x\n",
        "old AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"};
    mdm_keyring_t *ring;
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mdm_keyring_parse(ctx, pool, bad[i], &ring), MDM_EINPUT);
        assert_null(ring);
        assert_null(strstr(ctx->fail_text, "AAAA"));
    }
}

static void test_file_mode(void **state)
{
    char path[] = "/tmp/mdm_seal_XXXXXX";
    int fd = mkstemp(path);
    char *text = mdm_keyring_new(pool);
    mdm_keyring_t *ring;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    assert_int_equal(mdm_keyring_load(ctx, pool, path, &ring), APR_SUCCESS);
    chmod(path, 0640);
    assert_int_equal(mdm_keyring_load(ctx, pool, path, &ring), MDM_EINPUT);
    assert_non_null(strstr(ctx->fail_text, "chmod 600"));
    unlink(path);
    assert_int_not_equal(mdm_keyring_load(ctx, pool, path, &ring), APR_SUCCESS);
    assert_int_equal(mdm_keyring_load(ctx, pool, "/dev/null", &ring), MDM_EINPUT);
    assert_int_equal(mdm_keyring_load(ctx, pool, "/tmp", &ring), MDM_EINPUT);
}

/* The kernel's flags of the mapping that holds addr contain "dd" (do not dump). */
static int excluded_from_dump(const void *addr)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    unsigned long lo, hi, at = (unsigned long)addr;
    int inside = 0, found = 0;
    char line[512];

    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2)
            inside = at >= lo && at < hi;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            found = strstr(line, " dd") != NULL;
    }
    fclose(f);
    return found;
}

static void test_keys_not_in_core_dumps_sec04(void **state)
{
    const char *secret;

    assert_true(excluded_from_dump(env.keys));
    assert_false(excluded_from_dump(pool));
    secret = mdm_secret_dup(pool, "secret");
    assert_string_equal(secret, "secret");
    assert_true(excluded_from_dump(secret));
    assert_null(mdm_secret_dup(pool, NULL));
}

static void test_passwords(void **state)
{
    const char *h, *h2;
    char big[1026];

    assert_int_equal(mdm_password_hash(ctx, "correct horse", &h), APR_SUCCESS);
    assert_int_equal(mdm_password_hash(ctx, "correct horse", &h2), APR_SUCCESS);
    assert_string_not_equal(h, h2);
    assert_int_equal(strncmp(h, "scrypt$14$8$1$", 14), 0);
    assert_int_equal(mdm_password_check(ctx, "correct horse", h), APR_SUCCESS);
    assert_int_equal(mdm_password_check(ctx, "correct hors", h), MDM_EAUTH);
    assert_int_equal(mdm_password_check(ctx, "", h), MDM_EAUTH);
    assert_int_equal(mdm_password_check(ctx, NULL, h), MDM_EAUTH);
    assert_int_equal(mdm_password_hash(ctx, "", &h), MDM_EINPUT);
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    assert_int_equal(mdm_password_hash(ctx, big, &h), MDM_EINPUT);
    assert_int_equal(mdm_password_check(ctx, big, h2), MDM_EAUTH);
}

static void test_bad_stored_hashes(void **state)
{
    static const char *const bad[] = {"", "x", "scrypt$14$8$1$AAAA", "scrypt$30$8$1$AAAAAAAAAAAA$AAAA",
                                      "scrypt$14$8$1$AAAAAAAAAAAAAAAA$AAAA", "$$$$$$$$",
                                      "scrypt$14$8$1$AAAAAAAAAAAAAAAA$AAAA$x"};
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(mdm_password_check(ctx, "x", bad[i]), MDM_EAUTH);
    assert_int_equal(mdm_password_check(ctx, "x", NULL), MDM_EAUTH);
}

static void test_scrypt_vector_rfc7914(void **state)
{
    /* RFC 7914, section 12, third vector cut to 32 bytes: N = 16384, r = 8, p = 1 */
    static const unsigned char want[] = {0x70, 0x23, 0xbd, 0xcb, 0x3a, 0xfd, 0x73, 0x48,
                                         0x46, 0x1c, 0x06, 0xcd, 0x81, 0xfd, 0x38, 0xeb,
                                         0xfd, 0xa8, 0xfb, 0xba, 0x90, 0x4f, 0x8e, 0x3e,
                                         0xa9, 0xb5, 0x43, 0xf6, 0x54, 0x5d, 0xa1, 0xf2};
    char *stored = apr_pstrcat(pool, "scrypt$14$8$1$", mdm_b64url(pool, "SodiumChloride", 14), "$",
                               mdm_b64url(pool, want, 32), NULL);

    assert_int_equal(mdm_password_check(ctx, "pleaseletmein", stored), APR_SUCCESS);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_round_trip), T(test_changed_text_never_opens), T(test_rotation_sec04), T(test_no_keys),
        T(test_bad_key_files), T(test_file_mode), T(test_keys_not_in_core_dumps_sec04),
        T(test_passwords), T(test_bad_stored_hashes), T(test_scrypt_vector_rfc7914)};
    int rc;

    apr_initialize();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rc;
}
