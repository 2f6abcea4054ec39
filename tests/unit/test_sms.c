/* Text messages by a templated HTTP request: templates, encoders, answers, lengths (PEN-05, SEC-04, SEC-05). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <apr_date.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_notice_text.h"
#include "domain/mdm_sms_conf.h"
#include "domain/mdm_cidr.h"
#include "wire/mdm_sms.h"

static apr_pool_t *pool;
static mdm_ctx_t *ctx;

static const mdm_sms_t message = {"+4915112345678", "Grüße \"& <b>\nLink: https://x/?a=1", "id-1"};

static json_t *object(const char *text)
{
    json_t *j = json_loads(text, JSON_ENCODE_ANY, NULL);

    assert_non_null(j);
    return mdm_json_own(ctx, j);
}

static mdm_sms_gate_t gate(void)
{
    return (mdm_sms_gate_t){.method = "POST", .url = "https://sms.example.org/v1/send", .body = "{\"to\":\"${to}\",\"text\":\"${text}\"}", .sender = "Firma",
                            .headers = object("[{\"name\": \"Content-Type\", \"value\": \"application/json\"}]"), .country = "49",
                            .secrets = object("{\"token\": \"S3cr&t token\"}"), .ok_pointer = "", .ok_value = "", .id_pointer = "", .error_pointer = ""};
}

static const char *body_of(const char *type, const char *body)
{
    mdm_sms_gate_t g = gate();
    mdm_http_req_t req;

    g.headers = object(apr_psprintf(pool, "[{\"name\": \"content-type\", \"value\": \"%s\"}]", type));
    g.body = body;
    assert_int_equal(mdm_sms_check(ctx, &(mdm_sms_gate_t){.method = "POST", .url = "https://h/${to}${text}", .headers = g.headers, .body = body, .sender = "",
                                   .secrets = g.secrets, .country = "", .ok_pointer = "", .ok_value = "", .id_pointer = "", .error_pointer = ""}), APR_SUCCESS);
    mdm_sms_request(pool, &g, &message, &req);
    assert_int_equal(req.body_len, strlen(req.body));
    return req.body;
}

/* ---- filling in */

static void test_values_are_written_as_their_place_wants_them(void **state)
{
    assert_string_equal(body_of("application/json", "{\"t\":\"${text}\"}"), "{\"t\":\"Grüße \\\"& <b>\\nLink: https://x/?a=1\"}");
    assert_string_equal(body_of("application/x-www-form-urlencoded; charset=utf-8", "t=${text}&to=${to}"),
                        "t=Gr%C3%BC%C3%9Fe+%22%26+%3Cb%3E%0ALink%3A+https%3A%2F%2Fx%2F%3Fa%3D1&to=%2B4915112345678");
    assert_string_equal(body_of("text/xml", "<t>${text}</t>"), "<t>Grüße &quot;&amp; &lt;b&gt;\nLink: https://x/?a=1</t>");
    assert_string_equal(body_of("text/plain", "${text}"), message.text);
}

static void test_encoders(void **state)
{
    assert_string_equal(body_of("application/json", "${to|e164}|${to|e164_plus}|${to|national}|${to}"), "4915112345678|+4915112345678|015112345678|+4915112345678");
    assert_string_equal(body_of("application/json", "${to|e164_plus|url} ${sender|base64} ${id|none} ${secret.token|form}"), "%2B4915112345678 RmlybWE= id-1 S3cr%26t+token");
    assert_string_equal(body_of("text/plain", "${secret.token|base64|url} $ {to} 100%"), "UzNjciZ0IHRva2Vu $ {to} 100%");
}

static void test_numbers_of_other_countries(void **state)
{
    mdm_sms_gate_t g = gate();
    mdm_http_req_t req;

    g.body = "${to|national}";
    g.country = "43";
    mdm_sms_request(pool, &g, &message, &req);
    assert_string_equal(req.body, "004915112345678");
    g.country = "";
    mdm_sms_request(pool, &g, &message, &req);
    assert_string_equal(req.body, "004915112345678");
}

static void test_the_url_and_headers(void **state)
{
    mdm_sms_gate_t g = gate();
    mdm_http_req_t req;

    g.method = "GET";
    g.body = "";
    g.url = "https://sms.example.org/send?to=${to|e164}&text=${text}&key=${secret.token}";
    g.headers = object("[{\"name\": \"Authorization\", \"value\": \"Bearer ${secret.token}\"}, {\"name\": \"X-Text\", \"value\": \"${text}\"}]");
    assert_int_equal(mdm_sms_check(ctx, &g), APR_SUCCESS);
    mdm_sms_request(pool, &g, &message, &req);
    assert_string_equal(req.url, "https://sms.example.org/send?to=4915112345678&text=Gr%C3%BC%C3%9Fe%20%22%26%20%3Cb%3E%0ALink%3A%20https%3A%2F%2Fx%2F%3Fa%3D1"
                                 "&key=S3cr%26t%20token");
    assert_string_equal(apr_table_get(req.headers, "Authorization"), "Bearer S3cr&t token");
    assert_null(strpbrk(apr_table_get(req.headers, "X-Text"), "\r\n"));
    assert_true(!req.body && req.timeout_ms <= 15000 && req.connect_ms <= 5000 && req.max_response <= 65536);
}

/* ---- checking */

static void refused(mdm_sms_gate_t g, const char *field)
{
    assert_int_equal(mdm_sms_check(ctx, &g), MDM_EINPUT);
    assert_string_equal(ctx->fail_field, field);
}

static void test_what_is_refused(void **state)
{
    static const char *const urls[] = {"", "sms.example.org", "http://sms.example.org/", "ftp://sms.example.org/", "https://", "https:///x", "https://${to}/",
                                       "https://a${secret.token}.example/", "https://user:pass@sms.example.org/", "https://h/ x", "https://h/#${to}", "https://h/\r\nX: y",
                                       "https://h/${to", "https://h/${nothing}", "https://h/${to|rot13}", "https://h/${text|national}", "https://h/${secret.none}",
                                       "https://h/${secret.}", "https://h/${}", "https://h/${to|}", "https://h/${to|url|url|url|url}"};
    static const char *const headers[] = {"[{\"name\": \"\", \"value\": \"x\"}]", "[{\"name\": \"A B\", \"value\": \"x\"}]", "[{\"name\": \"A\", \"value\": \"x\\r\\ny\"}]",
                                          "[{\"name\": \"Host\", \"value\": \"x\"}]", "[{\"name\": \"content-LENGTH\", \"value\": \"1\"}]", "[{\"name\": \"A\", \"value\": \"${x}\"}]"};
    static const char *const bodies[] = {"${to}", "${text}", "x", "${to} ${text} ${user.password}"};
    mdm_sms_gate_t g;

    for (unsigned i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        g = gate();
        g.url = urls[i];
        refused(g, "url");
    }
    for (unsigned i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        g = gate();
        g.headers = object(headers[i]);
        refused(g, "headers");
    }
    for (unsigned i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        g = gate();
        g.body = bodies[i];
        refused(g, "body");
    }
    g = gate();
    g.id_pointer = "id";
    refused(g, "id_pointer");
    g = gate();
    g.ok_value = "OK";
    refused(g, "ok_value");
    g = gate();
    g.url = "http://sms.example.org/";
    g.insecure = 1;
    assert_int_equal(mdm_sms_check(ctx, &g), APR_SUCCESS);
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {"", "+", "+49", "4915112345678", "+0151123456", "+49151 123456", "+1234567890123456", "+4915112345678x", "++4915112345678"};

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(mdm_sms_number_ok(bad[i]));
    assert_true(mdm_sms_number_ok("+4915112345678") && mdm_sms_number_ok("+1234567") && mdm_sms_number_ok("+123456789012345"));
}

/* ---- answers */

static mdm_sms_said_t said(mdm_sms_gate_t g, int status, const char *retry_after, const char *answer)
{
    mdm_http_req_t req = {.rv = APR_SUCCESS, .status = status, .response = {(const unsigned char *)answer, strlen(answer)}, .response_headers = apr_table_make(pool, 2)};
    mdm_sms_said_t out;

    if (retry_after)
        apr_table_set(req.response_headers, "retry-after", retry_after);
    mdm_sms_judge(ctx, &g, &message, &req, &out);
    assert_true(out.words && out.ref);
    return out;
}

static void test_what_answers_mean(void **state)
{
    static const struct {
        int status, result, touched;
    } rows[] = {{200, MDM_SMS_SENT, 0}, {202, MDM_SMS_SENT, 0}, {301, MDM_SMS_AWAY, 1}, {400, MDM_SMS_REFUSED, 0}, {401, MDM_SMS_AWAY, 1}, {402, MDM_SMS_AWAY, 1}, {403, MDM_SMS_AWAY, 1},
                {404, MDM_SMS_AWAY, 1}, {408, MDM_SMS_AWAY, 1}, {422, MDM_SMS_REFUSED, 0}, {429, MDM_SMS_AWAY, 0}, {500, MDM_SMS_AWAY, 1}, {502, MDM_SMS_AWAY, 1}, {503, MDM_SMS_AWAY, 0}};

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mdm_sms_said_t got = said(gate(), rows[i].status, NULL, "text");
        assert_true((int)got.result == rows[i].result && got.touched == rows[i].touched && got.wait_ms == 0);
    }
    assert_string_equal(said(gate(), 500, NULL, "out of\r\norder\x01").words, "HTTP 500: out of  order");
    assert_string_equal(said(gate(), 500, NULL, "").words, "HTTP 500");
}

static void test_retry_after(void **state)
{
    char date[APR_RFC822_DATE_LEN];
    apr_int64_t wait;

    assert_int_equal(said(gate(), 429, "120", "").wait_ms, 120000);
    assert_int_equal(said(gate(), 503, "999999999999", "").wait_ms, 86400000);
    assert_int_equal(said(gate(), 429, "-5", "").wait_ms, 0);
    assert_int_equal(said(gate(), 429, "soon", "").wait_ms, 0);
    assert_int_equal(said(gate(), 429, "Thu, 01 Jan 1998 00:00:00 GMT", "").wait_ms, 0);
    apr_rfc822_date(date, apr_time_now() + apr_time_from_sec(3600));
    wait = said(gate(), 429, date, "").wait_ms;
    assert_true(wait > 3000000 && wait <= 3600000);
}

static void test_pointers(void **state)
{
    mdm_sms_gate_t g = gate();

    g.ok_pointer = "/messages/0/a~1b~0";
    g.ok_value = "OK";
    g.id_pointer = "/id";
    g.error_pointer = "/error/text";
    assert_int_equal(said(g, 200, NULL, " {\"messages\": [{\"a/b~\": \"OK\"}], \"id\": 4711}").result, MDM_SMS_SENT);
    assert_string_equal(said(g, 200, NULL, "{\"messages\": [{\"a/b~\": \"OK\"}], \"id\": 4711}").ref, "4711");
    assert_string_equal(said(g, 200, NULL, "{\"messages\": [{\"a/b~\": \"BAD\"}], \"error\": {\"text\": \"no credit\"}}").words, "HTTP 200: no credit");
    for (unsigned i = 0; i < 6; i++) {
        static const char *const answers[] = {"{\"messages\": [{\"a/b~\": \"BAD\"}]}", "{\"messages\": []}", "{\"messages\": {}}", "OK", "", "{\"messages\": [{\"a/b~\": \"OK\"}]"};
        assert_int_equal(said(g, 200, NULL, answers[i]).result, MDM_SMS_REFUSED);
    }
    g.ok_pointer = "/ok";
    g.ok_value = "";
    assert_int_equal(said(g, 200, NULL, "{\"ok\": true}").result, MDM_SMS_SENT);
    assert_int_equal(said(g, 200, NULL, "{\"ok\": false}").result, MDM_SMS_REFUSED);
    assert_int_equal(said(g, 200, NULL, "{\"ok\": null}").result, MDM_SMS_REFUSED);
    g.ok_value = "true";
    assert_int_equal(said(g, 200, NULL, "{\"ok\": true}").result, MDM_SMS_SENT);
}

/* What answers that are no JSON say; the first group, else all that fits. */
static void test_regular_expressions(void **state)
{
    mdm_sms_gate_t g = gate();

    g.ok_pointer = "re:^OK ";
    g.id_pointer = "re:^OK ([0-9]+)";
    g.error_pointer = "re:ERR [0-9]+: [^\n]*";
    assert_int_equal(said(g, 200, NULL, "OK 4711\n").result, MDM_SMS_SENT);
    assert_string_equal(said(g, 200, NULL, "OK 4711\n").ref, "4711");
    assert_int_equal(said(g, 200, NULL, "NOT OK 1").result, MDM_SMS_REFUSED);
    assert_string_equal(said(g, 200, NULL, "x ERR 7: no credit\nmore").words, "HTTP 200: ERR 7: no credit");
    assert_string_equal(said(g, 500, NULL, "in disorder").words, "HTTP 500: in disorder");
    assert_int_equal(said(g, 200, NULL, apr_psprintf(pool, "%5000sOK ", "")).result, MDM_SMS_REFUSED);
    g.ok_pointer = "re:status=([A-Z]*)";
    g.ok_value = "SENT";
    assert_int_equal(said(g, 200, NULL, "status=SENT;id=1").result, MDM_SMS_SENT);
    assert_int_equal(said(g, 200, NULL, "status=LOST;id=1").result, MDM_SMS_REFUSED);
    for (unsigned i = 0; i < 6; i++) {
        static const char *const bad[] = {"re:", "re:(", "re:(a)\\1", "re:a{255}{255}", "OK", "re:[z-a]"};
        g = gate();
        g.id_pointer = bad[i];
        refused(g, "id_pointer");
    }
}

/* SEC-08: by the address that is connected: public ones, allowed networks, and this host only if it is allowed as a whole. */
static void test_where_a_gateway_may_be(void **state)
{
    static const struct {
        const char *addr;
        int plain, local; /* without and with MDMOutboundLocal */
    } rows[] = {{"192.0.2.1", 1, 1}, {"10.1.2.3", 1, 1}, {"10.2.0.1", 0, 0}, {"172.16.0.1", 0, 0}, {"172.32.0.1", 1, 1}, {"192.168.1.1", 0, 0}, {"100.64.0.1", 0, 0},
                {"127.0.0.1", 0, 1}, {"169.254.169.254", 0, 1}, {"2001:db8::1", 1, 1}, {"fd00::1", 0, 0}, {"fd12::5", 1, 1}, {"fe80::1", 0, 1}, {"::1", 0, 1},
                {"::ffff:10.1.2.3", 1, 1}, {"::ffff:10.2.2.3", 0, 0}, {"64:ff9b::a02:1", 0, 0}, {"2002:a02:1::1", 0, 0}};
    apr_array_header_t *networks;
    mdm_sms_conf_t conf = {.local = 0};

    assert_int_equal(mdm_cidr_parse(ctx, "networks", "10.1.0.0/16, fd12::/64", &networks, NULL), APR_SUCCESS);
    conf.networks = networks;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sockaddr_in four = {.sin_family = AF_INET};
        struct sockaddr_in6 six = {.sin6_family = AF_INET6};
        const struct sockaddr *sa = strchr(rows[i].addr, ':') ? (const struct sockaddr *)&six : (const struct sockaddr *)&four;

        assert_int_equal(inet_pton(sa->sa_family, rows[i].addr, sa->sa_family == AF_INET ? (void *)&four.sin_addr : (void *)&six.sin6_addr), 1);
        conf.local = 0;
        if (mdm_sms_may(&conf, sa) != rows[i].plain) {
            fail_msg("%s", rows[i].addr);
        }
        conf.local = 1;
        assert_int_equal(mdm_sms_may(&conf, sa), rows[i].local);
    }
}

static void test_no_answer(void **state)
{
    static const struct {
        apr_status_t rv;
        const char *error;
        int result, touched;
    } rows[] = {{MDM_EUNAVAIL, "connect", MDM_SMS_AWAY, 0}, {MDM_EUNAVAIL, "timeout", MDM_SMS_AWAY, 1}, {MDM_EUNAVAIL, "reset", MDM_SMS_AWAY, 1},
                {MDM_EDENIED, "local address", MDM_SMS_AWAY, 0}, {MDM_ETOOBIG, "too big", MDM_SMS_REFUSED, 1}, {APR_EINTR, "stopped", MDM_SMS_AWAY, 1}};
    const mdm_sms_gate_t g = gate();
    mdm_sms_said_t out;

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mdm_http_req_t req = {.rv = rows[i].rv, .error = rows[i].error};
        mdm_sms_judge(ctx, &g, &message, &req, &out);
        assert_true((int)out.result == rows[i].result && out.touched == rows[i].touched && *out.words);
    }
}

/* A gateway that sends back what it got: nothing of it reaches a log or the console. */
static void test_echoes_are_redacted(void **state)
{
    mdm_sms_gate_t g = gate();
    const char *echo = "key=S3cr&t token S3cr%26t%20token S3cr%26t+token UzNjciZ0IHRva2Vu to=+4915112345678 4915112345678 015112345678 %2B4915112345678 "
                       "{\"text\":\"Grüße \\\"& <b>\\nLink: https://x/?a=1\"}";
    const char *shown = mdm_sms_redact(pool, &g, &message, echo, 1000), *text = apr_psprintf(pool, "%60000s", "x");

    assert_null(strstr(shown, "S3cr"));
    assert_null(strstr(shown, "UzNj"));
    assert_null(strstr(shown, "15112345678"));
    assert_null(strstr(shown, "Link"));
    assert_non_null(strstr(shown, "key=*** "));
    assert_null(strstr(said(g, 500, NULL, echo).words, "S3cr"));
    assert_true(strlen(mdm_sms_redact(pool, &g, &message, text, 300)) <= 300);
}

/* ---- lengths */

static void length(const char *text, const char *encoding, int units, int parts)
{
    mdm_sms_length_t n;

    mdm_sms_count(text, &n);
    assert_string_equal(n.encoding, encoding);
    assert_int_equal(n.units, units);
    assert_int_equal(n.parts, parts);
}

static const char *times(const char *s, int n)
{
    const char *out = "";

    while (n--)
        out = apr_pstrcat(pool, out, s, NULL);
    return out;
}

static void test_lengths(void **state)
{
    length("", "gsm", 0, 1);
    length("Größe ñ Ω @£$ è\n", "gsm", 16, 1);
    length("5 € [x]", "gsm", 10, 1);
    length(times("a", 160), "gsm", 160, 1);
    length(times("a", 161), "gsm", 161, 2);
    length(times("a", 306), "gsm", 306, 2);
    length(times("a", 307), "gsm", 307, 3);
    length(apr_pstrcat(pool, times("a", 152), "€", times("a", 152), NULL), "gsm", 306, 3); /* its two halves stay together */
    length("„x“", "ucs2", 3, 1);
    length("`", "ucs2", 1, 1);
    length(times("ж", 70), "ucs2", 70, 1);
    length(times("ж", 71), "ucs2", 71, 2);
    length(times("😀", 35), "ucs2", 70, 1);
    length(times("😀", 36), "ucs2", 72, 2);
    length(apr_pstrcat(pool, times("ж", 66), times("😀", 33), "жж", NULL), "ucs2", 134, 3); /* 134 = 2 * 67, were it not for the cut */
}

/* The shipped texts cost one message or two: with the link of a usual address. */
static void test_shipped_texts_are_short(void **state)
{
    json_t *values = mdm_notice_sample(ctx, "https://mdm.example.org/enroll/");
    int seen = 0;

    for (const mdm_notice_kind_t *k = mdm_notice_kinds; k->event; k++)
        for (int i = 0; mdm_notice_has_sms(k) && i < MDM_NOTICE_LANGUAGES; i++, seen++) {
            mdm_notice_text_t out;
            mdm_sms_length_t n;

            mdm_notice_render(pool, &k->texts[i], values, &out);
            mdm_sms_count(out.sms, &n);
            assert_true(!strcmp(n.encoding, "gsm") && n.parts <= 2);
            assert_non_null(strstr(out.sms, "https://mdm.example.org/enroll/mS7x"));
        }
    assert_true(seen >= 4);
}

static void test_lines_without_a_one_time_password(void **state)
{
    const mdm_notice_kind_t *k = mdm_notice_kind("enroll_provisioned");
    json_t *values = json_copy(mdm_notice_sample(ctx, "https://mdm.example.org/enroll/"));
    mdm_notice_text_t out;

    mdm_json_own(ctx, values);
    assert_true(mdm_notice_tellable(k, values) && mdm_notice_tellable(mdm_notice_kind("enroll_otp"), values));
    json_object_del(values, "enrol.otp");
    assert_true(mdm_notice_tellable(k, values));
    assert_false(mdm_notice_tellable(mdm_notice_kind("enroll_otp"), values));
    mdm_notice_render(pool, &k->texts[0], values, &out);
    assert_null(strstr(out.text, "password"));
    assert_null(strstr(out.html, "password"));
    assert_null(strstr(out.sms, "password"));
    assert_null(strstr(out.text, "\n\n\n"));
    assert_non_null(strstr(out.text, "IT support"));
    json_object_del(values, "enrol.link");
    assert_false(mdm_notice_tellable(k, values));
}

static void test_sms_templates(void **state)
{
    const mdm_notice_kind_t *k = mdm_notice_kind("enroll_otp"), *mail = mdm_notice_kind("email_none");
    mdm_notice_text_t t = k->texts[0], other = mail->texts[0];
    static const char *const bad[] = {"", "no link ${enrol.otp}", "no password ${enrol.link}", "${enrol.link} ${enrol.otp} ${x}"};

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        t.sms = bad[i];
        assert_int_equal(mdm_notice_check(ctx, k, &t), MDM_EINPUT);
        assert_string_equal(ctx->fail_field, "sms");
    }
    other.sms = "x";
    assert_int_equal(mdm_notice_check(ctx, mail, &other), MDM_EINPUT);
    assert_string_equal(ctx->fail_field, "sms");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_written_as_their_place_wants_them), cmocka_unit_test(test_encoders), cmocka_unit_test(test_numbers_of_other_countries),
        cmocka_unit_test(test_the_url_and_headers), cmocka_unit_test(test_what_is_refused), cmocka_unit_test(test_numbers), cmocka_unit_test(test_what_answers_mean),
        cmocka_unit_test(test_retry_after), cmocka_unit_test(test_pointers), cmocka_unit_test(test_no_answer), cmocka_unit_test(test_regular_expressions),
        cmocka_unit_test(test_where_a_gateway_may_be), cmocka_unit_test(test_echoes_are_redacted),
        cmocka_unit_test(test_lengths), cmocka_unit_test(test_shipped_texts_are_short), cmocka_unit_test(test_lines_without_a_one_time_password),
        cmocka_unit_test(test_sms_templates)};
    static mdm_env_t env;
    int rc;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    ctx = mdm_ctx_make(pool, &env, NULL, NULL);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return rc;
}
