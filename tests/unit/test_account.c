/* Account-driven enrolment on a real database: settings, whose account it is, access tokens and what the cache keeps of one (IOS-08, R14, R21). MDM_TEST_DB
 * chooses the engine. */
#include "people_test.h"

#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_account.h"
#include "domain/mdm_otp.h"

static void set(fix_t *f, const char *mode, const char *domain)
{
    const mdm_account_conf_t conf = {mode, domain};

    assert_int_equal(mdm_account_conf_set(f->db, &conf), APR_SUCCESS);
}

static const char *servers(fix_t *f, const char *mode)
{
    const mdm_account_conf_t conf = {mode, ""};
    json_t *j = mdm_account_servers(&conf, "https://x/");
    const char *text = mdm_json_text(f->t->pool, j);

    json_decref(j);
    return text;
}

static void test_settings(void **state)
{
    fix_t *f = *state;
    static const char *const bad[] = {"{\"mode\": \"on\"}", "{\"domain\": \"no dot\"}", "{\"domain\": \"localhost\"}", "{\"domain\": \"a.b:1\"}", "{\"x\": 1}"};
    mdm_account_conf_t conf;

    assert_int_equal(mdm_account_conf(f->db, &conf), APR_SUCCESS);
    assert_string_equal(conf.mode, "off");
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *j = json_loads(bad[i], 0, NULL);
        assert_int_equal(mdm_account_conf_read(f->t->ctx, j, &conf), MDM_EINPUT);
        json_decref(j);
    }
    assert_string_equal(servers(f, "off"), "{\"Servers\":[]}");
    assert_string_equal(servers(f, "both"), "{\"Servers\":[{\"Version\":\"mdm-adde\",\"BaseURL\":\"https://x/adde\"},"
                                            "{\"Version\":\"mdm-byod\",\"BaseURL\":\"https://x/byod\"}]}");
    conf = (mdm_account_conf_t){"both", ""};
    assert_string_equal(mdm_account_of(f->t->pool, &conf, f->anna), "anna@example.org");
    assert_null(mdm_account_of(f->t->pool, &conf, f->ben));
    conf.domain = "id.example.org";
    assert_string_equal(mdm_account_of(f->t->pool, &conf, f->ben), "ben@id.example.org");
    assert_false(mdm_account_offers(&conf, "off"));
    assert_false(mdm_account_offers(&conf, "both"));
}

static void denied(fix_t *f, const mdm_person_t *who, const char *account, const char *field)
{
    mdm_enroll_policy_t *policy;

    assert_int_equal(mdm_account_may(f->db, who, "byod", account, &policy), MDM_EDENIED);
    assert_string_equal(f->t->ctx->fail_field, field);
}

static void test_who_may(void **state)
{
    fix_t *f = *state;
    mdm_enroll_policy_t *policy;
    json_t *otp = json_pack("{s:s}", "ios", "both");

    set(f, "adde", "");
    denied(f, f->anna, NULL, "off");
    set(f, "byod", "");
    assert_int_equal(mdm_account_may(f->db, f->anna, "byod", "ANNA@example.ORG", &policy), APR_SUCCESS);
    denied(f, f->anna, "ben@example.org", "other");
    denied(f, f->ben, NULL, "none");
    assert_int_equal(mdm_db_begin(f->db), APR_SUCCESS);
    assert_int_equal(mdm_otp_conf_edit(f->db, otp), APR_SUCCESS);
    assert_int_equal(mdm_db_end(f->db, APR_SUCCESS), APR_SUCCESS);
    denied(f, f->anna, NULL, "otp");
    json_decref(otp);
}

/* A token is for one enrolment, of its kind, in its time; what was begun is found again until it is used up. */
static void test_token(void **state)
{
    fix_t *f = *state;
    mdm_enroll_facts_t facts = {.kind = "mdm", .product = "iPhone15,4", .platform = "ios", .os_version = "17.0"};
    mdm_pending_t *e;
    const char *token, *late;

    set(f, "byod", "");
    assert_int_equal(mdm_db_begin(f->db), APR_SUCCESS);
    assert_int_equal(mdm_account_begin(f->db, f->anna, "byod", NULL, "nobody's", &token), MDM_EINPUT);
    assert_int_equal(mdm_account_begin(f->db, f->anna, "byod", NULL, "personal", &token), APR_SUCCESS);
    assert_int_equal(mdm_account_begin(f->db, f->anna, "byod", NULL, "personal", &late), APR_SUCCESS);
    assert_int_equal(mdm_db_end(f->db, APR_SUCCESS), APR_SUCCESS);
    assert_true(strlen(token) >= 43);
    assert_int_equal(mdm_account_admit(f->db, token, "adde", &facts, &e), MDM_EAUTH);
    assert_int_equal(mdm_account_admit(f->db, token, "byod", &facts, &e), APR_SUCCESS);
    assert_string_equal(e->apple_account, "anna@example.org");
    assert_int_equal(e->expires_ms - mdm_now_ms(f->t->ctx) <= MDM_ACCOUNT_LIFE_MS, 1);
    assert_int_equal(mdm_account_shown_first(f->db, e, token), APR_SUCCESS);
    assert_int_equal(mdm_account_shown_first(f->db, e, late), MDM_EAUTH);
    assert_int_equal(mdm_account_shown_first(f->db, e, NULL), MDM_EAUTH);
    f->t->now += apr_time_from_msec(MDM_ACCOUNT_TOKEN_MS + 1000);
    assert_int_equal(mdm_account_admit(f->db, late, "byod", &facts, &e), MDM_EAUTH);
    assert_int_equal(mdm_account_admit(f->db, token, "byod", &facts, &e), APR_SUCCESS);
    facts.os_version = "7.0";
    assert_int_equal(mdm_account_admit(f->db, token, "byod", &facts, &e), MDM_EDENIED);
    facts.os_version = "17.0";
    f->t->now += apr_time_from_msec(MDM_ACCOUNT_LIFE_MS);
    assert_int_equal(mdm_account_admit(f->db, token, "byod", &facts, &e), MDM_EAUTH);
}

/* The cached record judges without the database; anything it does not know is no answer of its own. */
static void test_cached(void **state)
{
    fix_t *f = *state;
    mdm_devrec_t rec;

    memset(&rec, 0, sizeof rec);
    assert_int_equal(mdm_account_bearer(f->t->ctx, &rec, NULL), APR_SUCCESS);
    mdm_account_mark(&rec, mdm_sha256_hex(f->t->pool, "token", 5));
    assert_true(rec.flags & MDM_DEVF_BEARER);
    assert_int_equal(mdm_account_bearer(f->t->ctx, &rec, "token"), APR_SUCCESS);
    assert_int_equal(mdm_account_bearer(f->t->ctx, &rec, NULL), MDM_EAUTH);
    assert_int_equal(mdm_account_bearer(f->t->ctx, &rec, ""), MDM_EAUTH);
    mdm_db_close(f->db); /* it opens its own */
    assert_int_equal(mdm_account_bearer(f->t->ctx, &rec, "Token"), MDM_EAUTH);
    assert_int_equal(mdm_account_bearer(f->t->ctx, &rec, apr_pstrcat(f->t->pool, mdm_token(f->t->pool, 90), NULL)), MDM_EAUTH);
    assert_int_equal(mdm_db_open(f->t->ctx, &f->db), APR_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_settings, people_setup_demo, people_teardown),
        cmocka_unit_test_setup_teardown(test_who_may, people_setup_demo, people_teardown),
        cmocka_unit_test_setup_teardown(test_token, people_setup_demo, people_teardown),
        cmocka_unit_test_setup_teardown(test_cached, people_setup_demo, people_teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
