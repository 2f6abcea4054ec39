/* The end of the push certificate by an injected clock (PSH-05), not-yet-valid by both clocks (PSH-03), nodes and removal (NOD-03). */
#include "apple_test.h"
#include "domain/mdm_expiry.h"
#include "domain/mdm_push_cert.h"
#include "wire/mdm_x509.h"

#define DAY_MS (86400 * 1000LL)
#define TOPIC "com.apple.mgmt.External.unit"

static zone_t *z;
static mdm_key_t *key;

static int setup(void **state)
{
    z = zone_make();
    assert_int_equal(mdm_key_generate(z->t->ctx, MDM_KEY_P256, &key), APR_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

static const char *certificate(apr_int64_t from_days, apr_int64_t to_days)
{
    static const char *const subject[] = {"UID", TOPIC, "CN", "APSP:unit", NULL};
    apr_int64_t now = mdm_now_ms(z->t->ctx);
    mdm_issue_t what = {.profile = MDM_CERT_IDENTITY, .subject = subject, .key = key, .not_before_ms = now + from_days * DAY_MS,
                        .not_after_ms = now + to_days * DAY_MS};
    mdm_cert_t *cert;

    assert_int_equal(mdm_cert_issue(z->t->ctx, &what, NULL, key, &cert), APR_SUCCESS);
    return mdm_cert_pem(z->t->pool, cert);
}

static apr_status_t import(const char *pem)
{
    mdm_push_import_t in = {.certificate = pem, .key = mdm_key_pem(z->t->pool, key)};

    return mdm_push_cert_import(z->t->ctx, &in);
}

static const char *count(const char *table, const char *column, const char *value)
{
    return ask(z, "SELECT count(*) FROM %s WHERE %s = '%s'", table, column, value);
}

static apr_status_t watch(void)
{
    const mdm_expiry_t what = {.public_url = ""};

    return mdm_expiry_run(z->t->ctx, NULL, &what);
}

/* Each mark once, whether the message was acknowledged or not; a day that passes between two marks tells nothing. */
static void test_expiry(void **state)
{
    static const struct {
        int days; /* left */
        const char *told;
    } steps[] = {{40, "0"}, {31, "0"}, {30, "1"}, {29, "1"}, {15, "1"}, {14, "2"}, {8, "2"}, {7, "3"}, {2, "3"}, {1, "4"}, {-1, "5"}, {-9, "5"}};
    apr_time_t end = z->t->now + apr_time_from_sec(60 * 86400LL);

    sql(z, "INSERT INTO role (id, name, rights) VALUES ('r1', 'Mail', '{}')");
    sql(z, "INSERT INTO admin (id, login, login_key, name, mail, kind, role_id, alerts, disabled, created_ms) VALUES "
           "('a1', 'a1', 'a1', 'Root', 'root@example.org', 'local', 'r1', 1, 0, 0), ('a2', 'a2', 'a2', 'None', 'x@example.org', 'local', 'r1', 0, 0, 0), "
           "('a3', 'a3', 'a3', 'Off', 'y@example.org', 'local', 'r1', 1, 1, 0), ('a4', 'a4', 'a4', 'No mail', '', 'local', 'r1', 1, 0, 0)");
    assert_int_equal(watch(), APR_SUCCESS); /* no certificate: nothing to tell */
    assert_int_equal(import(certificate(-1, 60)), APR_SUCCESS);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        z->t->now = end - apr_time_from_sec(steps[i].days * 86400LL);
        assert_int_equal(watch(), APR_SUCCESS);
        assert_int_equal(watch(), APR_SUCCESS);
        if (strcmp(count("audit", "action", "push_certificate.expiring"), steps[i].told)) {
            fail_msg("%d days: %s", steps[i].days, count("audit", "action", "push_certificate.expiring"));
        }
        sql(z, "UPDATE message SET ack_ms = 1");
    }
    assert_string_equal(count("notice", "event", "push_expiring"), "1"); /* those that wait are one */
    assert_string_equal(ask(z, "SELECT mail FROM notice WHERE event = 'push_expiring'"), "root@example.org");
    assert_non_null(strstr(ask(z, "SELECT vars FROM notice WHERE event = 'push_expiring'"), "\"days\":\"0\""));
    z->t->now = end - apr_time_from_sec(60 * 86400LL);
}

static void test_not_yet(void **state)
{
    assert_int_equal(import(certificate(1, 60)), MDM_EINPUT);
    assert_string_equal(z->t->ctx->fail_field, "certificate");
    assert_non_null(strstr(z->t->ctx->fail_text, mdm_time_text(z->t->pool, mdm_now_ms(z->t->ctx))));
}

/* NOD-03: refused while nodes exist and none has the role; removal leaves nothing behind. */
static void test_nodes(void **state)
{
    mdm_db_t *db;

    sql(z, "INSERT INTO node (id, name, base_url, software, holder, mdm_role, started_ms, seen_ms) VALUES ('n', 'n', '', '', '', 0, 0, 0)");
    assert_int_equal(import(certificate(-1, 60)), MDM_ECONFLICT);
    sql(z, "UPDATE node SET mdm_role = 1");
    assert_int_equal(import(certificate(-1, 60)), APR_SUCCESS);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_db_end(db, mdm_push_cert_remove(db)), APR_SUCCESS);
    mdm_db_close(db);
    assert_string_equal(ask(z, "SELECT count(*) FROM zone_setting WHERE name LIKE 'apns.%%'"), "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expiry), cmocka_unit_test(test_not_yet), cmocka_unit_test(test_nodes)};

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
