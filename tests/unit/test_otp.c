/* One-time passwords and what an enrolment needs, on a real database (PEN-01, PEN-03, PEN-04, POR-02, R20, R21, R34). MDM_TEST_DB chooses the engine. */
#include <dlfcn.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include "people_test.h"

#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_otp.h"

/* ---------------------------------------------------------------- counting hashes (R21): ours stand before the library's */

static int hashes;

unsigned char *HMAC(const EVP_MD *md, const void *key, int key_len, const unsigned char *data, size_t n, unsigned char *out, unsigned int *len)
{
    static unsigned char *(*next)(const EVP_MD *, const void *, int, const unsigned char *, size_t, unsigned char *, unsigned int *);

    if (!next) {
        *(void **)&next = dlsym(RTLD_NEXT, "HMAC");
    }
    hashes++;
    return next(md, key, key_len, data, n, out, len);
}

unsigned char *SHA256(const unsigned char *data, size_t n, unsigned char *out)
{
    static unsigned char *(*next)(const unsigned char *, size_t, unsigned char *);

    if (!next) {
        *(void **)&next = dlsym(RTLD_NEXT, "SHA256");
    }
    hashes++;
    return next(data, n, out);
}

/* ---------------------------------------------------------------- fixture */

static void set(fix_t *f, const char *json)
{
    json_t *body = json_loads(json, 0, NULL);

    assert_int_equal(mdm_otp_conf_edit(f->db, body), APR_SUCCESS);
    json_decref(body);
}

static apr_status_t refused(fix_t *f, const char *json, const char *field)
{
    json_t *body = json_loads(json, 0, NULL);
    apr_status_t rv = mdm_otp_conf_edit(f->db, body);

    json_decref(body);
    assert_string_equal(f->t->ctx->fail_field, field);
    return rv;
}

/* One made for somebody by an administrator, its token, and its password (NULL: none). */
static mdm_pending_t *made(fix_t *f, const mdm_person_t *person, const char **token, const char **otp)
{
    const mdm_provision_t how = {.platform = "ios", .ownership = "corporate", .level = "managed", .origin = "single", .authorised_by = "boss"};
    mdm_pending_t *e;
    int first;

    assert_int_equal(mdm_pending_provision(f->db, person, &how, &e, token, &first), APR_SUCCESS);
    assert_true(first);
    if (mdm_otp_reveal(f->db, e->id, otp) != APR_SUCCESS) {
        *otp = NULL;
    }
    return e;
}

static const char *tried(fix_t *f, const char *token, const char *otp, const char *person)
{
    const mdm_otp_given_t given = {otp, person};
    const char *grant;

    assert_int_equal(mdm_db_begin(f->db), APR_SUCCESS);
    assert_int_equal(mdm_otp_try(f->db, token, &given, &grant), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(f->db), APR_SUCCESS);
    return grant;
}

static mdm_pending_t *now(fix_t *f, const mdm_pending_t *e)
{
    mdm_pending_t *fresh;

    assert_int_equal(mdm_pending_get(f->db, e->id, &fresh), APR_SUCCESS);
    return fresh;
}

static int proved(fix_t *f, const mdm_pending_t *e, const char *grant, const char *person)
{
    mdm_otp_conf_t *conf;

    assert_int_equal(mdm_otp_conf(f->db, &conf), APR_SUCCESS);
    return mdm_otp_proved(f->t->ctx, conf, now(f, e), grant, person);
}

/* The same with its first character changed. */
static const char *other(fix_t *f, const char *otp)
{
    char *text = apr_pstrdup(f->t->pool, otp);

    text[0] = text[0] == '7' ? '8' : '7';
    return text;
}

/* ---------------------------------------------------------------- settings and making */

static void test_settings(void **state)
{
    fix_t *f = *state;
    mdm_otp_conf_t *c;

    assert_int_equal(mdm_otp_conf(f->db, &c), APR_SUCCESS);
    assert_int_equal(c->length, 8);
    assert_int_equal(c->tries, 5);
    assert_string_equal(c->ios, "either");
    assert_string_equal(c->phone, "off");
    set(f, "{\"length\": 6, \"alphabet\": \"both\", \"life_hours\": 1, \"tries\": 1, \"ios\": \"both\", \"phone\": \"required\"}");
    assert_int_equal(mdm_otp_conf(f->db, &c), APR_SUCCESS);
    assert_int_equal(c->length, 6);
    assert_int_equal(c->life_ms, 3600000);
    assert_string_equal(c->android, "either"); /* what was not given stays */
    assert_int_equal(refused(f, "{\"length\": 5}", "length"), MDM_EINPUT);
    assert_int_equal(refused(f, "{\"length\": 17}", "length"), MDM_EINPUT);
    assert_int_equal(refused(f, "{\"tries\": 0}", "tries"), MDM_EINPUT);
    assert_int_equal(refused(f, "{\"tries\": 11}", "tries"), MDM_EINPUT); /* R20 */
    assert_int_equal(refused(f, "{\"ios\": \"none\"}", "ios"), MDM_EINPUT);
    assert_int_equal(refused(f, "{\"alphabet\": \"emoji\"}", "alphabet"), MDM_EINPUT);
    assert_int_equal(refused(f, "{\"secret\": 1}", "secret"), MDM_EINPUT);
}

static void test_text(void **state)
{
    fix_t *f = *state;
    static const char *const names[] = {"digits", "letters", "both"};
    int seen[128] = {0}, i, k, all;
    const char *text, *again;
    mdm_otp_conf_t c = {.length = 16};

    for (k = 0; k < 3; k++) {
        c.alphabet = names[k];
        memset(seen, 0, sizeof seen);
        for (i = 0; i < 200; i++) {
            assert_int_equal(mdm_otp_text(f->t->ctx, &c, &text), APR_SUCCESS);
            assert_int_equal(strlen(text), 16);
            assert_int_equal(mdm_otp_check(f->t->ctx, &c, text, &again), APR_SUCCESS);
            for (const char *s = text; *s; s++) {
                seen[(int)*s]++;
            }
        }
        for (all = 0, i = 0; i < 128; i++) {
            all += seen[i] > 0;
        }
        assert_int_equal(all, k == 0 ? 10 : k == 1 ? 20 : 28); /* 3,200 draws: each of them has come */
        assert_true(k == 0 || !(seen['O'] + seen['0'] + seen['I'] + seen['1'] + seen['A']));
    }
    assert_int_equal(mdm_otp_check(f->t->ctx, &c, "bcdf-ghjk lmnp-qrst", &again), APR_SUCCESS);
    assert_string_equal(again, "BCDFGHJKLMNPQRST");
    assert_int_equal(mdm_otp_check(f->t->ctx, &c, "BCDFGHJKLMNPQRSO", &again), MDM_EINPUT);
    assert_int_equal(mdm_otp_check(f->t->ctx, &c, "BCDF", &again), MDM_EINPUT);
}

static void test_phone(void **state)
{
    fix_t *f = *state;
    static const char *const good[][2] = {{"+49 30 123-4567", "+49301234567"}, {"0049 (30) 1234567", "+49301234567"}, {"", ""}, {"  ", ""}};
    static const char *const bad[] = {"030 1234567", "+49", "+0301234567", "+49301234567890123", "+49 30 1234567 ext 5", "tel:+49301234567", "+"};
    const char *out;
    unsigned i;

    for (i = 0; i < 4; i++) {
        assert_int_equal(mdm_phone_check(f->t->ctx, "phone", good[i][0], &out), APR_SUCCESS);
        assert_string_equal(out, good[i][1]);
    }
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(mdm_phone_check(f->t->ctx, "phone", bad[i], &out), MDM_EINPUT);
    }
}

/* MAT-01, PEN-06: as matching compares them. */
static void test_named_devices(void **state)
{
    fix_t *f = *state;
    static const char *const bad[] = {"UNKNOWN", "000000000", "C02*ABC123", "C02", "C02ABC123\xc3\xa9"}, *const no_imei[] = {"35209900176148X", "352099001761482", "3520990017614", "35****0176148"};
    const char *out;
    unsigned i;

    assert_int_equal(mdm_serial_check(f->t->ctx, "serial", " c02-abc 123", &out), APR_SUCCESS);
    assert_string_equal(out, "C02ABC123");
    assert_int_equal(mdm_serial_check(f->t->ctx, "serial", "", &out), APR_SUCCESS);
    assert_string_equal(out, "");
    assert_int_equal(mdm_imei_check(f->t->ctx, "imei", "35 209900-176148/1", &out), APR_SUCCESS);
    assert_string_equal(out, "35209900176148");
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(mdm_serial_check(f->t->ctx, "serial", bad[i], &out), MDM_EINPUT);
        assert_string_equal(f->t->ctx->fail_field, "serial");
    }
    for (i = 0; i < sizeof no_imei / sizeof no_imei[0]; i++) {
        assert_int_equal(mdm_imei_check(f->t->ctx, "imei", no_imei[i], &out), MDM_EINPUT);
    }
}

/* ---------------------------------------------------------------- provisioning */

/* PEN-06: before its time nothing can be got by it, by the path of every other refusal; those entitled see it all the same. */
static void test_valid_from(void **state)
{
    fix_t *f = *state;
    apr_int64_t from = mdm_now_ms(f->t->ctx) + 3600 * 1000;
    mdm_provision_t how = {.origin = "single", .valid_from_ms = from, .otp_life_ms = 7200 * 1000, .platform = "ios"};
    const char *token, *otp, *challenge, *grant, *shown;
    mdm_pending_t *e, *found;
    int first;

    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &e, &token, &first), APR_SUCCESS);
    assert_true(e->early && mdm_pending_open(e) && !mdm_pending_usable(e));
    assert_true(e->expires_ms == from + 7200 * 1000);
    assert_int_equal(mdm_otp_view(f->db, e->id, &otp, &shown), APR_SUCCESS);
    assert_string_equal(shown, token);
    assert_int_equal(mdm_pending_by_token(f->db, token, &found), MDM_EDENIED);
    assert_string_equal(f->t->ctx->fail_field, "valid_from");
    assert_non_null(strstr(f->t->ctx->fail_text, mdm_time_local(f->t->pool, from)));
    assert_int_equal(mdm_challenge_create(f->db, e, "CN=x", &challenge), MDM_EDENIED);
    assert_int_equal(mdm_otp_try(f->db, token, &(mdm_otp_given_t){.otp = otp}, &grant), APR_SUCCESS);
    assert_null(grant);
    assert_int_equal(mdm_otp_reset(f->db, e->id, ""), APR_SUCCESS);
    assert_int_equal(mdm_pending_get(f->db, e->id, &e), APR_SUCCESS);
    assert_true(e->early && e->expires_ms == from + 72 * 3600 * 1000LL);
    assert_int_equal(mdm_otp_reveal(f->db, e->id, &otp), APR_SUCCESS);
    f->t->now += apr_time_from_sec(3600);
    assert_int_equal(mdm_otp_try(f->db, token, &(mdm_otp_given_t){.otp = otp}, &grant), APR_SUCCESS);
    assert_non_null(grant);
    assert_int_equal(mdm_pending_by_token(f->db, token, &found), APR_SUCCESS);
    assert_int_equal(mdm_challenge_create(f->db, found, "CN=x", &challenge), APR_SUCCESS);
}

static void test_provision(void **state)
{
    fix_t *f = *state;
    mdm_provision_t how = {.origin = "bulk", .run_id = "run", .run_row = 7, .phone = "+49 30 1234567", .mail = "home@example.org", .notify = "",
                           .expected_serial = "SER1", .expected_imei = "35 123", .language = "de"};
    const char *token, *again, *otp;
    mdm_pending_t *e, *same, *taken;
    int first;

    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &e, &token, &first), APR_SUCCESS);
    assert_true(first);
    assert_string_equal(e->platform, "unknown");
    assert_string_equal(e->ownership, "personal");
    assert_string_equal(e->level, "managed");
    assert_string_equal(e->phone, "+49301234567");
    assert_string_equal(e->mail, "home@example.org");
    assert_string_equal(e->expected_imei, "35 123");
    assert_int_equal(mdm_otp_reveal(f->db, e->id, &otp), APR_SUCCESS);
    /* the same row of the same run again (PEN-06) */
    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &same, &again, &first), APR_SUCCESS);
    assert_false(first);
    assert_string_equal(same->id, e->id);
    assert_string_equal(again, token);
    how.run_row = 8;
    how.otp = "1234-5678";
    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &same, &again, &first), APR_SUCCESS);
    assert_true(first && strcmp(same->id, e->id));
    assert_int_equal(mdm_otp_reveal(f->db, same->id, &otp), APR_SUCCESS);
    assert_string_equal(otp, "12345678");
    taken = same;
    how.run_row = 9;
    how.otp = "12";
    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &same, &again, &first), MDM_EINPUT);
    assert_string_equal(f->t->ctx->fail_field, "otp");
    how.otp = "12345678"; /* that of another one that is open */
    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &same, &again, &first), MDM_EINPUT);
    assert_non_null(strstr(f->t->ctx->fail_text, "another open enrolment"));
    assert_int_equal(mdm_pending_cancel(f->db, taken->id), APR_SUCCESS);
    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &same, &again, &first), APR_SUCCESS);
    how.run_row = 10;
    how.otp = NULL;
    how.valid_from_ms = mdm_now_ms(f->t->ctx) + MDM_PENDING_AHEAD_MS + 1;
    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &same, &again, &first), MDM_EINPUT);
    assert_string_equal(f->t->ctx->fail_field, "valid_from");
    how.valid_from_ms = 0;
    how.phone = "12";
    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &same, &again, &first), MDM_EINPUT);
    assert_string_equal(f->t->ctx->fail_field, "phone");
    how.phone = NULL;
    how.platform = "toaster";
    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &same, &again, &first), MDM_EDENIED);
    how.platform = "android";
    f->anna->disabled = 1;
    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &same, &again, &first), MDM_EDENIED);
}

/* Who made it in the portal has logged in for it; mail apps log in themselves. */
static void test_needs(void **state)
{
    fix_t *f = *state;
    mdm_provision_t how = {.platform = "ios", .ownership = "personal", .level = "managed", .origin = "self"};
    const char *token, *otp;
    mdm_pending_t *e;
    int first;

    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &e, &token, &first), APR_SUCCESS);
    assert_int_equal(mdm_otp_reveal(f->db, e->id, &otp), APR_NOTFOUND);
    assert_true(proved(f, e, NULL, NULL));
    set(f, "{\"ios\": \"both\"}");
    assert_false(proved(f, e, NULL, NULL)); /* open ones follow the settings */
    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &e, &token, &first), APR_SUCCESS);
    assert_int_equal(mdm_otp_reveal(f->db, e->id, &otp), APR_SUCCESS);
    assert_true(proved(f, e, tried(f, token, otp, NULL), NULL));
    how.level = "email_only";
    how.origin = "single";
    assert_int_equal(mdm_pending_provision(f->db, f->anna, &how, &e, &token, &first), APR_SUCCESS);
    assert_int_equal(mdm_otp_reveal(f->db, e->id, &otp), APR_NOTFOUND);
    assert_true(proved(f, e, NULL, NULL));
    assert_int_equal(mdm_otp_reset(f->db, e->id, NULL), MDM_ECONFLICT);
}

/* ---------------------------------------------------------------- trying */

/* Facts 8.2: as people read it; what they type back is the same. */
static void test_groups(void **state)
{
    static const char *const all[][2] = {{"123456", "1234 56"}, {"12345678", "1234 5678"}, {"BCDFGHJKLM", "BCDFG HJKLM"}, {"123456789012", "1234 5678 9012"}, {"", ""}};
    fix_t *f = *state;
    unsigned i;

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        assert_string_equal(mdm_otp_grouped(f->t->ctx->pool, all[i][0]), all[i][1]);
        assert_string_equal(mdm_otp_plain(f->t->ctx->pool, all[i][1]), all[i][0]);
    }
}

static void test_once(void **state)
{
    fix_t *f = *state;
    const char *token, *otp, *grant, *shown, *link;
    mdm_pending_t *e = made(f, f->anna, &token, &otp);

    assert_int_equal(strlen(otp), 8);
    assert_false(proved(f, e, NULL, NULL));
    assert_int_equal(mdm_otp_view(f->db, e->id, &shown, &link), APR_SUCCESS);
    assert_string_equal(shown, otp);
    assert_string_equal(link, token);
    assert_non_null(grant = tried(f, token, apr_pstrcat(f->t->pool, " ", otp, NULL), NULL));
    assert_true(proved(f, e, grant, NULL));
    assert_false(proved(f, e, otp, NULL));
    assert_false(proved(f, e, NULL, f->ben->id));
    assert_int_equal(mdm_otp_reveal(f->db, e->id, &shown), APR_NOTFOUND); /* used: never shown again */
    assert_int_equal(mdm_otp_view(f->db, e->id, &shown, &link), APR_SUCCESS);
    assert_null(shown);
    assert_null(tried(f, token, otp, NULL)); /* used once */
    assert_true(proved(f, e, grant, NULL)); /* what was proved stays */
}

static void test_lock(void **state)
{
    fix_t *f = *state;
    const char *token, *otp, *fresh, *link, *grant;
    mdm_pending_t *e = made(f, f->anna, &token, &otp);
    int i;

    for (i = 0; i < 5; i++) { /* whoever tries: no address comes into it */
        assert_string_equal(now(f, e)->state, "created");
        assert_null(tried(f, token, other(f, otp), NULL));
    }
    assert_string_equal(now(f, e)->state, "locked");
    assert_false(mdm_pending_usable(now(f, e)));
    assert_null(tried(f, token, otp, f->anna->id)); /* neither the right one nor the password helps */
    assert_int_equal(mdm_otp_view(f->db, e->id, &fresh, &link), MDM_ECONFLICT);
    assert_int_equal(mdm_otp_reset(f->db, e->id, NULL), APR_SUCCESS);
    assert_int_equal(mdm_otp_reveal(f->db, e->id, &fresh), APR_SUCCESS);
    assert_string_not_equal(fresh, otp);
    assert_null(tried(f, token, otp, NULL)); /* the old one is dead */
    assert_non_null(grant = tried(f, token, fresh, NULL));
    assert_int_equal(mdm_otp_reset(f->db, e->id, NULL), APR_SUCCESS);
    assert_false(proved(f, e, grant, NULL)); /* and so is what it opened */
    assert_int_equal(mdm_pending_cancel(f->db, e->id), APR_SUCCESS);
    assert_int_equal(mdm_otp_reset(f->db, e->id, NULL), MDM_ECONFLICT);
}

static void test_expired(void **state)
{
    fix_t *f = *state;
    const char *token, *otp, *fresh;
    mdm_pending_t *e = made(f, f->anna, &token, &otp);

    f->t->now += APR_INT64_C(72) * 3600 * 1000000;
    assert_string_equal(now(f, e)->state, "expired");
    assert_int_equal(mdm_otp_reveal(f->db, e->id, &fresh), APR_NOTFOUND);
    assert_null(tried(f, token, otp, f->anna->id));
    assert_int_equal(mdm_otp_reset(f->db, e->id, NULL), APR_SUCCESS); /* new value, new life */
    assert_int_equal(mdm_otp_reveal(f->db, e->id, &fresh), APR_SUCCESS);
    assert_non_null(tried(f, token, fresh, NULL));
}

static void test_what_is_needed(void **state)
{
    static const struct {
        const char *need;
        int otp, login, both;
    } cases[] = {{"otp", 1, 0, 1}, {"password", 0, 1, 1}, {"both", 0, 0, 1}, {"either", 1, 1, 1}};
    fix_t *f = *state;
    const char *token, *otp, *by_otp, *by_login, *by_both;

    for (unsigned i = 0; i < 4; i++) {
        mdm_pending_t *e = made(f, f->anna, &token, &otp);
        set(f, apr_psprintf(f->t->pool, "{\"ios\": \"%s\"}", cases[i].need));
        assert_null(tried(f, token, NULL, NULL));
        assert_null(tried(f, token, NULL, f->ben->id)); /* R34: somebody else's log-in */
        assert_int_equal((by_login = tried(f, token, NULL, f->anna->id)) != NULL, cases[i].login);
        assert_int_equal(proved(f, e, NULL, f->anna->id), cases[i].login); /* a session in the portal is a log-in */
        assert_int_equal((by_otp = tried(f, token, otp, f->ben->id)) != NULL, cases[i].otp);
        assert_int_equal((by_both = tried(f, token, otp, f->anna->id)) != NULL, cases[i].both && !(by_otp && !cases[i].login));
        assert_int_equal(mdm_pending_cancel(f->db, e->id), APR_SUCCESS);
        set(f, "{\"ios\": \"either\"}");
    }
}

/* R21, "same time" of the decisions: whatever is wrong, the same hashes are made. */
static void test_same_work(void **state)
{
    fix_t *f = *state;
    const char *token, *otp, *used, *used_otp, *locked, *locked_otp, *late, *late_otp, *gone, *gone_otp;
    mdm_pending_t *e;
    int i, one;

    made(f, f->anna, &late, &late_otp);
    f->t->now += APR_INT64_C(72) * 3600 * 1000000;
    made(f, f->anna, &token, &otp);
    made(f, f->anna, &used, &used_otp);
    assert_non_null(tried(f, used, used_otp, NULL));
    e = made(f, f->anna, &locked, &locked_otp);
    for (i = 0; i < 5; i++) {
        assert_null(tried(f, locked, other(f, locked_otp), NULL));
    }
    e = made(f, f->anna, &gone, &gone_otp);
    assert_int_equal(mdm_pending_cancel(f->db, e->id), APR_SUCCESS);
    const char *const tries[][2] = {{token, other(f, otp)}, {used, used_otp}, {late, late_otp}, {locked, locked_otp}, {gone, gone_otp}, {token, used_otp},
                                    {"unknown", otp}, {"", otp}, {token, ""}, {token, NULL}};
    hashes = 0;
    assert_null(tried(f, tries[0][0], tries[0][1], NULL));
    one = hashes;
    assert_true(one > 0);
    for (i = 1; i < (int)(sizeof tries / sizeof tries[0]); i++) {
        hashes = 0;
        assert_null(tried(f, tries[i][0], tries[i][1], NULL));
        assert_int_equal(hashes, one);
    }
    made(f, f->ben, &token, &otp);
    hashes = 0;
    assert_non_null(tried(f, token, otp, NULL)); /* nor does a right one differ */
    assert_int_equal(hashes, one);
}

/* R20, R35: what was judged before a reset gets nothing after it, and what was handed out is gone, used or not. */
static void test_reset_voids(void **state)
{
    fix_t *f = *state;
    const char *token, *otp, *challenge, *body = "body";
    mdm_challenge_t *c;
    mdm_pending_t *e = made(f, f->anna, &token, &otp), *judged;

    assert_non_null(tried(f, token, otp, NULL));
    assert_int_equal(mdm_pending_get(f->db, e->id, &judged), APR_SUCCESS);
    assert_int_equal(mdm_challenge_create_for(f->db, judged, "CN=x", MDM_CHALLENGE_REPORT, &challenge), APR_SUCCESS);
    assert_int_equal(mdm_challenge_take(f->db, challenge, body, "", &c), APR_SUCCESS);
    assert_int_equal(mdm_challenge_issued(f->db, c->hash, "fingerprint"), APR_SUCCESS);
    assert_int_equal(mdm_challenge_reporter(f->db, e->id, "fingerprint"), APR_SUCCESS);
    assert_int_equal(mdm_otp_reset(f->db, e->id, ""), APR_SUCCESS);
    assert_int_equal(mdm_challenge_reporter(f->db, e->id, "fingerprint"), APR_NOTFOUND);
    assert_int_equal(mdm_challenge_take(f->db, challenge, body, "", &c), MDM_EDENIED);
    assert_int_equal(mdm_challenge_create(f->db, judged, "CN=x", &challenge), MDM_EDENIED);
    assert_int_equal(dbtest_sql(f->t, "UPDATE pending_enrollment SET account = 'byod'"), 0);
    assert_int_equal(mdm_otp_reset(f->db, e->id, ""), MDM_ECONFLICT);
}

static void test_person_gone(void **state)
{
    fix_t *f = *state;
    const char *token, *otp, *text;
    mdm_pending_t *e = made(f, f->anna, &token, &otp);

    assert_int_equal(dbtest_sql(f->t, "UPDATE person SET disabled = 1 WHERE login = 'anna'"), 0);
    assert_null(tried(f, token, otp, f->anna->id));
    assert_int_equal(mdm_otp_reveal(f->db, e->id, &text), APR_NOTFOUND);
    assert_int_equal(mdm_otp_reset(f->db, e->id, NULL), MDM_ECONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_settings, people_setup_demo, people_teardown),       cmocka_unit_test_setup_teardown(test_text, people_setup_demo, people_teardown),
        cmocka_unit_test_setup_teardown(test_valid_from, people_setup_demo, people_teardown),
        cmocka_unit_test_setup_teardown(test_named_devices, people_setup_demo, people_teardown),
        cmocka_unit_test_setup_teardown(test_phone, people_setup_demo, people_teardown),          cmocka_unit_test_setup_teardown(test_provision, people_setup_demo, people_teardown),
        cmocka_unit_test_setup_teardown(test_needs, people_setup_demo, people_teardown),          cmocka_unit_test_setup_teardown(test_groups, people_setup_demo, people_teardown),
        cmocka_unit_test_setup_teardown(test_once, people_setup_demo, people_teardown),
        cmocka_unit_test_setup_teardown(test_lock, people_setup_demo, people_teardown),           cmocka_unit_test_setup_teardown(test_expired, people_setup_demo, people_teardown),
        cmocka_unit_test_setup_teardown(test_what_is_needed, people_setup_demo, people_teardown), cmocka_unit_test_setup_teardown(test_same_work, people_setup_demo, people_teardown),
        cmocka_unit_test_setup_teardown(test_reset_voids, people_setup_demo, people_teardown),
        cmocka_unit_test_setup_teardown(test_person_gone, people_setup_demo, people_teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
