/* Messages as they go out, byte by byte, and the texts of notices (MAIL-01, MAIL-02, R05, R24). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_notice_text.h"
#include "wire/mdm_mail.h"

static apr_pool_t *pool;
static mdm_ctx_t *ctx;

static void test_addresses(void **state)
{
    static const char *const good[] = {"a@b", "anna.adler@example.org", "o'neil+tag@mail-1.example.org", "x@1.2"};
    static const char *const bad[] = {"", "a", "@b", "a@", "a@@b", "a b@c", "a@b c", ".a@b", "a.@b", "a..b@c", "a@-b", "a@b-", "a@b..c", "a@.b", "a@b.",
                                      "\"a\"@b", "a@[1.2.3.4]", "a<b@c", "a@b>", "a@b\r\nRCPT TO:<x@y>", "a\n@b", "\xc3\xa4@b", "a@b,c@d", "a@b_c"};
    char *lng = apr_palloc(pool, 400);

    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(mdm_mail_address_ok(good[i]));
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(mdm_mail_address_ok(bad[i]));
    assert_false(mdm_mail_address_ok(NULL));
    memset(lng, 'a', 399);
    memcpy(lng + 60, "@", 1);
    lng[64] = lng[128] = lng[192] = '.';
    lng[254] = '\0';
    assert_true(mdm_mail_address_ok(lng));
    lng[254] = 'a';
    lng[255] = '\0';
    assert_false(mdm_mail_address_ok(lng));
    memset(lng, 'a', 65);
    memcpy(lng + 65, "@b", 3);
    assert_false(mdm_mail_address_ok(lng));
}

static mdm_mail_t sample(void)
{
    return (mdm_mail_t){.from = "mdm@example.org", .from_name = "Devices", .to = "anna@example.org", .to_name = "Anna Adler", .subject = "Hello",
                        .text = "One\n\n.two=\n", .html = "<p>One</p>\n", .language = "en", .id = "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
                        .date_ms = 1800000000000LL};
}

static const char *composed(const mdm_mail_t *m)
{
    mdm_blob_t out;

    assert_int_equal(mdm_mail_compose(ctx, m, &out), APR_SUCCESS);
    assert_int_equal(strlen((const char *)out.data), out.len);
    return (const char *)out.data;
}

static void test_bytes(void **state)
{
    mdm_mail_t m = sample();

    assert_string_equal(composed(&m),
                        "From: Devices\r\n <mdm@example.org>\r\nTo: Anna Adler\r\n <anna@example.org>\r\nSubject: Hello\r\n"
                        "Date: Fri, 15 Jan 2027 08:00:00 +0000\r\nMessage-ID: <1b4e28ba-2fa1-41d2-883f-0016d3cca427@example.org>\r\n"
                        "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Language: en\r\nContent-Type: multipart/alternative;\r\n"
                        " boundary=\"=_1b4e28ba-2fa1-41d2-883f-0016d3cca427\"\r\n\r\n"
                        "--=_1b4e28ba-2fa1-41d2-883f-0016d3cca427\r\nContent-Type: text/plain; charset=utf-8\r\n"
                        "Content-Transfer-Encoding: quoted-printable\r\n\r\nOne\r\n\r\n=2Etwo=3D\r\n"
                        "--=_1b4e28ba-2fa1-41d2-883f-0016d3cca427\r\nContent-Type: text/html; charset=utf-8\r\n"
                        "Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>One</p>\r\n--=_1b4e28ba-2fa1-41d2-883f-0016d3cca427--\r\n");
    assert_string_equal(composed(&m), composed(&m));
}

/* Every header that we write, none that a name brings; no line too long. */
static void test_nothing_breaks_out_of_a_header(void **state)
{
    static const char *const names[] = {"x\r\nBcc: evil@example.org", "x\nBcc: evil@example.org", "\"quoted\" <a@b>", "=?UTF-8?B?QmNj?=", "\xe2\x80\xae" "gnp.exe",
                                        "J\xc3\xb6rg \xf0\x9f\x98\x80 M\xc3\xbcller mit einem sehr, sehr, sehr langen Namen, der nicht endet, nie, wirklich nie",
                                        "\xff\xfe broken", "a, b; c@d", "(comment)", ""};

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        mdm_mail_t m = sample();
        const char *out, *end;

        m.from_name = m.to_name = m.subject = names[i];
        out = composed(&m);
        end = strstr(out, "\r\n\r\n");
        assert_non_null(end);
        assert_true(!strstr(out, "\nBcc") && !strstr(out, "\r\nbcc"));
        for (const char *line = out; line < end; line = strstr(line, "\r\n") + 2) {
            assert_true((apr_size_t)(strstr(line, "\r\n") - line) <= 76);
            assert_true(*line == ' ' || strchr("FTSDMAC", *line));
        }
        for (const char *c = out; *c; c++) {
            assert_true((unsigned char)*c < 0x7f);
            assert_true(*c != '\n' || c[-1] == '\r');
        }
    }
}

static void test_words_hold_whole_characters(void **state)
{
    mdm_mail_t m = sample();
    const char *out, *word;
    char *subject = apr_pstrdup(pool, "");
    mdm_blob_t got;

    for (int i = 0; i < 60; i++)
        subject = apr_pstrcat(pool, subject, "\xc3\xa4x", NULL);
    m.subject = subject;
    out = composed(&m);
    for (word = strstr(out, "=?UTF-8?B?"); word; word = strstr(word + 1, "=?UTF-8?B?")) {
        const char *end = strstr(word, "?=");

        assert_int_equal(mdm_unb64(pool, word + 10, (apr_size_t)(end - word - 10), &got), APR_SUCCESS);
        assert_true(mdm_utf8_valid((const char *)got.data, got.len) && got.len > 0);
    }
}

static void test_long_lines_and_blanks(void **state)
{
    mdm_mail_t m = sample();
    char *text = apr_palloc(pool, 3000);
    const char *out;

    memset(text, 'x', 2999);
    text[1500] = text[2998] = ' ';
    text[1501] = '\n';
    text[2999] = '\0';
    m.text = text;
    m.html = "From here\r\n\tTab\x01\n.\n";
    out = composed(&m);
    for (const char *line = out; *line; line = strstr(line, "\r\n") + 2)
        assert_true((apr_size_t)(strstr(line, "\r\n") - line) <= 76);
    assert_non_null(strstr(out, "=20\r\n"));
    assert_non_null(strstr(out, "=46rom here\r\n=09Tab=01\r\n=2E\r\n"));
}

static void test_what_is_no_message(void **state)
{
    mdm_blob_t out;

    for (int i = 0; i < 4; i++) {
        mdm_mail_t m = sample();

        *(i == 0 ? &m.from : i == 1 ? &m.to : i == 2 ? &m.id : &m.language) = i < 2 ? "a@b\r\nX: y" : "x\r\ny";
        assert_int_equal(mdm_mail_compose(ctx, &m, &out), MDM_EINPUT);
        assert_string_equal(ctx->fail_field, i == 0 ? "from" : i == 1 ? "to" : "id");
    }
}

/* ---- texts */

static int check_kinds(const mdm_notice_kind_t *k, const json_t *sample_values)
{
    int n = 0;

    for (; k->event; k++) {
        for (int i = 0; i < MDM_NOTICE_LANGUAGES; i++, n++) {
            mdm_notice_text_t out;

            assert_string_equal(k->texts[i].language, mdm_notice_languages[i]);
            if (mdm_notice_check(ctx, k, &k->texts[i]) != APR_SUCCESS)
                fail_msg("%s %s: %s %s", k->event, k->texts[i].language, ctx->fail_field, ctx->fail_text);
            mdm_notice_render(pool, &k->texts[i], sample_values, &out);
            assert_true(*out.subject && *out.text && !strstr(out.subject, "${") && !strstr(out.text, "${") && !strstr(out.html, "${"));
        }
    }
    return n;
}

static void test_shipped_texts_pass_their_own_check(void **state)
{
    json_t *sample_values = mdm_notice_sample(ctx, "https://mdm.example.org/enroll/");

    assert_true(check_kinds(mdm_notice_kinds, sample_values) >= 16);
    assert_true(check_kinds(mdm_notice_mailbox, sample_values) >= 10);
}

static void refused(const char *event, const char *field, const char *subject, const char *text, const char *html)
{
    mdm_notice_text_t t = {"en", subject, text, html, ""};

    assert_int_equal(mdm_notice_check(ctx, mdm_notice_kind(event), &t), MDM_EINPUT);
    assert_string_equal(ctx->fail_field, field);
}

/* MAIL-02, R05, R24, R25 */
static void test_wrong_templates(void **state)
{
    static const char *const markup[] = {"<script>x</script>", "<img src=\"https://x\">", "<a href=\"javascript:x\">y</a>", "<a href=\"data:x\">y</a>", "<p onclick=\"x\">",
                                         "<p", "< p>", "<p style=x>", "<p style=\"${device.name}\">", "<a href=\"https://${device.name}\">x</a>", "<form>", "<iframe>",
                                         "<a href=\"https://x/${portal.url}\">x</a>", "<${device.name}>", "<p title=\"a>b\">", "<!-- x -->", "<a href='https://x'>y</a>",
                                         "<SCRIPT>", "<svg/onload=x>", "<p/onclick=\"x\">", "<a  href=\"JAVASCRIPT:x\">"};

    refused("email_none", "subject", "${date}", "x", "x");
    refused("email_none", "subject", "a\nb", "x", "x");
    refused("email_none", "text", "a", "${user.login}", "x");
    refused("email_none", "text", "a", "${", "x");
    refused("email_none", "text", "a", "${device.name", "x");
    refused("email_none", "text", "a", "${}", "x");
    refused("email_none", "text", "a", "${to.name }", "x");
    refused("email_none", "html", "a", "x", "${DEVICE.NAME}");
    refused("enroll_complete", "text", "a", "x", "${portal.url}");
    refused("enroll_complete", "html", "a", "${portal.url}", "x");
    for (unsigned i = 0; i < sizeof(markup) / sizeof(markup[0]); i++)
        refused("email_none", "html", "a", "x", markup[i]);
    assert_null(mdm_notice_kind("nothing"));
    assert_null(mdm_notice_default(mdm_notice_kind("email_none"), "fr"));
}

static void test_good_templates(void **state)
{
    const mdm_notice_text_t t = {"en", "${device.name} $ {x} 100%", "$$ ${to.name}",
                                 "<h1 class=\"a\">x</h1><br/><a href=\"${portal.url}\" title=\"t\">y</a><a href=\"mailto:a@b\">z</a> &lt; 1 > 0", ""};

    assert_int_equal(mdm_notice_check(ctx, mdm_notice_kind("email_none"), &t), APR_SUCCESS);
}

/* What a name holds is text, in each of the three; a variable in a value is not read again. */
static void test_values_are_text(void **state)
{
    const mdm_notice_text_t t = {"de", "S ${device.name}", "T ${device.name}|${to.name}|\n", "<p title=\"x\">${device.name}</p><a href=\"${portal.url}\">l</a>", ""};
    json_t *values = mdm_json_own(ctx, json_pack("{s:s, s:s}", "device.name", "<b>\"&'\r\nBcc: x\xe2\x80\xae${to.name}\xe2\x81\xa6", "portal.url", "https://x/\"onx=\""));
    mdm_notice_text_t out;

    mdm_notice_render(pool, &t, values, &out);
    assert_string_equal(out.subject, "S <b>\"&'  Bcc: x${to.name}");
    assert_string_equal(out.text, "T <b>\"&'  Bcc: x${to.name}||\n");
    assert_string_equal(out.html, "<!DOCTYPE html>\n<html lang=\"de\">\n<head><meta charset=\"utf-8\"><title>S &lt;b&gt;&quot;&amp;&#39;  Bcc: x${to.name}</title></head>\n"
                                  "<body>\n<p title=\"x\">&lt;b&gt;&quot;&amp;&#39;  Bcc: x${to.name}</p><a href=\"https://x/&quot;onx=&quot;\">l</a></body>\n</html>\n");
}

/* A picture goes with the HTML, as a part of its own; a client that shows none has the text. */
static void test_a_picture(void **state)
{
    static const unsigned char png[100] = {0x89, 'P', 'N', 'G'};
    mdm_mail_t m = sample();
    const char *got, *html, *image;

    m.png = (mdm_blob_t){png, sizeof(png)};
    got = composed(&m);
    html = strstr(got, "Content-Type: multipart/related; type=\"text/html\";\r\n boundary=\"=_r1b4e28ba-2fa1-41d2-883f-0016d3cca427\"\r\n\r\n--=_r1b4e28ba");
    assert_non_null(html);
    image = strstr(html, "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <picture>\r\nContent-Disposition: inline\r\n\r\niVBORw");
    assert_true(image && strstr(html, "text/html; charset=utf-8") < image);
    assert_non_null(strstr(image, "\r\n--=_r1b4e28ba-2fa1-41d2-883f-0016d3cca427--\r\n--=_1b4e28ba-2fa1-41d2-883f-0016d3cca427--\r\n"));
    for (const char *line = got; *line; line = strchr(line, '\n') + 1) {
        assert_true(strcspn(line, "\r") <= 78);
    }
}

/* The QR code stands in HTML alone; without an enrolment there is none. */
static void test_the_code_of_a_link(void **state)
{
    const mdm_notice_kind_t *k = mdm_notice_kind("enroll_provisioned");
    mdm_notice_text_t t = {"en", "s", "${enrol.link} ${enrol.otp}", "<p>${enrol.link}</p>\n<p>${enrol.otp}</p>\n<p>${enrol.qr}</p>", "${enrol.link} ${enrol.otp}"}, out;
    json_t *values = mdm_json_own(ctx, json_pack("{s:s, s:s}", "enrol.link", "https://x/enroll/t", "enrol.qr", "https://x/enroll/t"));

    assert_int_equal(mdm_notice_check(ctx, k, &t), APR_SUCCESS);
    mdm_notice_render(pool, &t, values, &out);
    assert_string_equal(mdm_notice_qr(&t, values), "https://x/enroll/t");
    assert_non_null(strstr(out.html, "<p>" MDM_NOTICE_QR_IMG "</p>"));
    json_object_del(values, "enrol.qr");
    mdm_notice_render(pool, &t, values, &out);
    assert_true(!mdm_notice_qr(&t, values) && !strstr(out.html, "<img"));
    for (int i = 0; i < 3; i++) {
        mdm_notice_text_t bad = t;

        *(i == 0 ? &bad.subject : i == 1 ? &bad.text : &bad.sms) = "${enrol.link} ${enrol.otp} ${enrol.qr}";
        assert_int_equal(mdm_notice_check(ctx, k, &bad), MDM_EINPUT);
        assert_string_equal(ctx->fail_field, i == 0 ? "subject" : i == 1 ? "text" : "sms");
    }
    t.html = "<img src=\"https://evil.example/x.png\">${enrol.link}${enrol.otp}";
    assert_int_equal(mdm_notice_check(ctx, k, &t), MDM_EINPUT);
    t.html = t.text = t.sms = "${enrol.link}"; /* the password is named, whether there is one or not */
    assert_int_equal(mdm_notice_check(ctx, k, &t), MDM_EINPUT);
}

/* PEN-06: who may not begin yet is told from when; others are told nothing of it. */
static void test_not_before(void **state)
{
    const mdm_notice_text_t *t = mdm_notice_default(mdm_notice_kind("enroll_provisioned"), "en");
    json_t *values = mdm_notice_sample(ctx, "https://mdm.example.org/enroll/");
    mdm_notice_text_t out;

    mdm_notice_render(pool, t, values, &out);
    assert_non_null(strstr(out.text, "\n\nThis is possible from 2031-05-10 06:00 UTC on.\n\nThis is possible until"));
    assert_non_null(strstr(out.html, "<p>This is possible from 2031-05-10 06:00 UTC on.</p>\n<p>This is possible until"));
    json_object_del(values, "enrol.from");
    mdm_notice_render(pool, t, values, &out);
    assert_null(strstr(out.text, "possible from"));
    assert_null(strstr(out.html, "possible from"));
    assert_non_null(strstr(out.text, "4093 7716\n\nThis is possible until"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_before), cmocka_unit_test(test_addresses), cmocka_unit_test(test_bytes), cmocka_unit_test(test_nothing_breaks_out_of_a_header),
        cmocka_unit_test(test_words_hold_whole_characters), cmocka_unit_test(test_long_lines_and_blanks), cmocka_unit_test(test_what_is_no_message),
        cmocka_unit_test(test_shipped_texts_pass_their_own_check), cmocka_unit_test(test_wrong_templates), cmocka_unit_test(test_good_templates),
        cmocka_unit_test(test_values_are_text), cmocka_unit_test(test_a_picture), cmocka_unit_test(test_the_code_of_a_link)};
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
