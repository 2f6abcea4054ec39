/* What a factory-fresh Android device reads (PEN-07): the keys it knows, nothing that was not asked for, ASCII whatever the names are. */
#include "ctxtest.h"

#include <string.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "wire/mdm_android.h"
#include "wire/mdm_qr.h"

#define SUM "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg"
#define AGENT "\"component\":\"org.example.agent/.AdminReceiver\",\"url\":\"https://mdm.example.org/agent.apk\",\"checksum\":\"" SUM "\""
#define X "android.app.extra.PROVISIONING_"

static const char *const values[] = {"https://mdm.example.org", "https://mdm.example.org/enroll/tok", "tok", "12345678"};
static const char *const no_otp[] = {"https://mdm.example.org", "https://mdm.example.org/enroll/tok", "tok", NULL};

static json_t *json(const char *text)
{
    json_t *out;

    assert_int_equal(mdm_json_parse(ctx, text, strlen(text), &out), APR_SUCCESS);
    return out;
}

static const char *text_of(const char *agent_text, const char *ask_text, const char *const v[])
{
    mdm_android_agent_t agent;
    mdm_android_ask_t ask;
    const char *out;

    assert_int_equal(mdm_android_agent_read(ctx, json(agent_text), &agent), APR_SUCCESS);
    assert_int_equal(mdm_android_ask_read(ctx, json(ask_text), &ask), APR_SUCCESS);
    assert_int_equal(mdm_android_owner_text(ctx, &agent, &ask, v, &out), APR_SUCCESS);
    return out;
}

static void test_whole(void **state)
{
    const char *text = text_of("{" AGENT ",\"checksum_of\":\"package\"}",
                               "{\"wifi_ssid\":\"Büro \\\"1\\\"\",\"wifi_password\":\"not-kept-1\",\"wifi_hidden\":true,\"locale\":\"de-DE\","
                               "\"time_zone\":\"Europe/Berlin\",\"otp\":true}", values);
    mdm_blob_t png;

    assert_string_equal(text, "{\"" X "DEVICE_ADMIN_COMPONENT_NAME\":\"org.example.agent/.AdminReceiver\","
                              "\"" X "DEVICE_ADMIN_PACKAGE_DOWNLOAD_LOCATION\":\"https://mdm.example.org/agent.apk\","
                              "\"" X "DEVICE_ADMIN_PACKAGE_CHECKSUM\":\"" SUM "\","
                              "\"" X "LEAVE_ALL_SYSTEM_APPS_ENABLED\":true,"
                              "\"" X "LOCALE\":\"de_DE\",\"" X "TIME_ZONE\":\"Europe/Berlin\","
                              "\"" X "WIFI_SSID\":\"B\\u00FCro \\\"1\\\"\",\"" X "WIFI_SECURITY_TYPE\":\"WPA\",\"" X "WIFI_PASSWORD\":\"not-kept-1\","
                              "\"" X "WIFI_HIDDEN\":true,\"" X "ADMIN_EXTRAS_BUNDLE\":{\"mdm.server_url\":\"https://mdm.example.org\","
                              "\"mdm.enrollment_token\":\"tok\",\"mdm.enrollment_otp\":\"12345678\"}}");
    assert_true(strlen(text) < 900); /* what cameras of phones read */
    assert_int_equal(mdm_qr_png(ctx, text, &png), APR_SUCCESS);
}

static void test_least(void **state)
{
    const char *text = text_of("{" AGENT ",\"system_apps\":false,\"extras\":{\"a.b\":\"${enrol.link}?${enrol.token}\",\"c\":\"x${enrol.otp}\",\"d\":\"plain\"}}",
                               "{\"mobile_data\":true,\"wifi_ssid\":null}", no_otp);

    assert_string_equal(text, "{\"" X "DEVICE_ADMIN_COMPONENT_NAME\":\"org.example.agent/.AdminReceiver\","
                              "\"" X "DEVICE_ADMIN_PACKAGE_DOWNLOAD_LOCATION\":\"https://mdm.example.org/agent.apk\","
                              "\"" X "DEVICE_ADMIN_SIGNATURE_CHECKSUM\":\"" SUM "\",\"" X "USE_MOBILE_DATA\":true,"
                              "\"" X "ADMIN_EXTRAS_BUNDLE\":{\"a.b\":\"https://mdm.example.org/enroll/tok?tok\",\"d\":\"plain\"}}");
}

/* The same sum, as tools print it. */
static void test_checksums(void **state)
{
    static const char *const sums[] = {
        SUM, SUM "=", "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "9F:86:D0:81:88:4C:7D:65:9A:2F:EA:A0:C5:5A:D0:15:A3:BF:4F:1B:2B:0B:82:2C:D1:5D:6C:15:B0:F0:0A:08"};
    unsigned i;

    for (i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
        mdm_android_agent_t agent;
        json_t *body = json("{" AGENT "}"), *shown;

        json_object_set_new(body, "checksum", json_string(sums[i]));
        assert_int_equal(mdm_android_agent_read(ctx, body, &agent), APR_SUCCESS);
        assert_string_equal(agent.checksum, SUM);
        shown = mdm_json_own(ctx, mdm_android_agent_json(&agent));
        assert_int_equal(mdm_android_agent_read(ctx, shown, &agent), APR_SUCCESS); /* what is shown can be saved */
    }
}

static void test_bad_agents(void **state)
{
    static const struct {
        const char *member, *value;
    } rows[] = {{"component", "\"org.example.agent\""}, {"component", "\"org.example/.A/.B\""}, {"component", "\"/x.y\""}, {"component", "\"agent/Receiver\""},
                {"component", "\"org.example.agent/.Admin Receiver\""}, {"component", "\"\""}, {"component", "7"},
                {"url", "\"http://mdm.example.org/a.apk\""}, {"url", "\"https://\""}, {"url", "\"https://x/ y\""}, {"url", "\"javascript:alert(1)\""},
                {"checksum", "\"abc\""}, {"checksum", "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a\""}, {"checksum", "\"!\""},
                {"checksum_of", "\"moon\""}, {"extras", "[]"}, {"extras", "{\"a\":7}"}, {"extras", "{\"a b\":\"x\"}"}, {"extras", "{\"\":\"x\"}"},
                {"extras", "{\"a\":\"${enrol.password}\"}"}, {"extras", "{\"a\":\"${\"}"}, {"extras", "{\"a\":\"x\\u0000y\"}"}, {"more", "1"}};
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mdm_android_agent_t agent;
        json_t *body = json("{" AGENT "}");

        json_object_set_new(body, rows[i].member, json_loads(rows[i].value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));
        assert_int_equal(mdm_android_agent_read(ctx, body, &agent), MDM_EINPUT);
        assert_string_equal(ctx->fail_field, rows[i].member);
    }
}

static void test_many_extras(void **state)
{
    mdm_android_agent_t agent;
    json_t *body = json("{" AGENT "}"), *extras = json_object();
    char *big = apr_palloc(pool, 402);
    int i;

    json_object_set_new(body, "extras", extras);
    for (i = 0; i < 20; i++)
        json_object_set_new(extras, apr_psprintf(pool, "e%d", i), json_string("x"));
    assert_int_equal(mdm_android_agent_read(ctx, body, &agent), APR_SUCCESS);
    json_object_set_new(extras, "e20", json_string("x"));
    assert_int_equal(mdm_android_agent_read(ctx, body, &agent), MDM_EINPUT);
    json_object_clear(extras);
    memset(big, 'x', 401);
    big[401] = '\0';
    json_object_set_new(extras, "a", json_string(big));
    assert_int_equal(mdm_android_agent_read(ctx, body, &agent), MDM_EINPUT);
    json_object_clear(extras);
    json_object_set_new(extras, big, json_string("x"));
    assert_int_equal(mdm_android_agent_read(ctx, body, &agent), MDM_EINPUT);
}

static void test_bad_asks(void **state)
{
    static const struct {
        const char *text, *field;
    } rows[] = {{"{\"wifi_ssid\":\"\"}", "wifi_ssid"}, {"{\"wifi_ssid\":\"123456789012345678901234567890123\"}", "wifi_ssid"},
                {"{\"wifi_ssid\":\"a\"}", "wifi_password"}, {"{\"wifi_ssid\":\"a\",\"wifi_password\":\"1234567\"}", "wifi_password"},
                {"{\"wifi_ssid\":\"a\",\"wifi_security\":\"none\",\"wifi_password\":\"12345678\"}", "wifi_password"},
                {"{\"wifi_ssid\":\"a\",\"wifi_security\":\"wep\",\"wifi_password\":\"123456\"}", "wifi_password"},
                {"{\"wifi_ssid\":\"a\",\"wifi_security\":\"wep\",\"wifi_password\":\"123456789x\"}", "wifi_password"},
                {"{\"wifi_ssid\":\"a\",\"wifi_security\":\"eap\"}", "wifi_security"}, {"{\"wifi_password\":\"12345678\"}", "wifi_ssid"},
                {"{\"wifi_ssid\":\"a\",\"wifi_password\":\"12345678\",\"mobile_data\":true}", "mobile_data"}, {"{\"locale\":\"deutsch\"}", "locale"},
                {"{\"locale\":\"de_de\"}", "locale"}, {"{\"locale\":\"de_DE_x\"}", "locale"}, {"{\"time_zone\":\"../x y\"}", "time_zone"},
                {"{\"time_zone\":\"1\"}", "time_zone"}, {"{\"otp\":\"yes\"}", "otp"}, {"{\"host\":1}", "host"}, {"[]", ""}};
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mdm_android_ask_t ask;

        assert_int_equal(mdm_android_ask_read(ctx, json(rows[i].text), &ask), MDM_EINPUT);
        assert_string_equal(ctx->fail_field ? ctx->fail_field : "", rows[i].field);
        assert_null(strstr(ctx->fail_text, "12345678")); /* a refusal repeats no password */
    }
}

static void test_good_asks(void **state)
{
    static const char *const rows[] = {"{}", "{\"locale\":\"de\"}", "{\"time_zone\":\"Etc/GMT+1\"}", "{\"wifi_ssid\":\"a\",\"wifi_security\":\"none\"}",
                                       "{\"wifi_ssid\":\"a\",\"wifi_security\":\"wep\",\"wifi_password\":\"abcde\"}",
                                       "{\"wifi_ssid\":\"a\",\"wifi_password\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}"};
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mdm_android_ask_t ask;

        assert_int_equal(mdm_android_ask_read(ctx, json(rows[i]), &ask), APR_SUCCESS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown), cmocka_unit_test_setup_teardown(test_least, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checksums, setup, teardown), cmocka_unit_test_setup_teardown(test_bad_agents, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_extras, setup, teardown), cmocka_unit_test_setup_teardown(test_bad_asks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_good_asks, setup, teardown)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
