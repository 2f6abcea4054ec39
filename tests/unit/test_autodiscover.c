/* Autodiscover (PXY-04): its addresses, what is asked, what is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <string.h>
#include "wire/mdm_autodiscover.h"

#define NS "http://schemas.microsoft.com/exchange/autodiscover/"
#define ASK(inner) "<?xml version=\"1.0\"?><Autodiscover xmlns=\"" NS "mobilesync/requestschema/2006\"><Request>" inner "</Request></Autodiscover>"
#define MOBILE "<AcceptableResponseSchema>" NS "mobilesync/responseschema/2006</AcceptableResponseSchema>"

static mdm_ctx_t *ctx;

static void test_paths(void **state)
{
    const struct {
        const char *path;
        mdm_autodiscover_e is;
    } cases[] = {{"/autodiscover/autodiscover.xml", MDM_AUTODISCOVER_XML}, {"/Autodiscover/Autodiscover.XML", MDM_AUTODISCOVER_XML},
                 {"/autodiscover/autodiscover.json", MDM_AUTODISCOVER_JSON}, {"/autodiscover/autodiscover.json/v1.0/a@b.c", MDM_AUTODISCOVER_JSON},
                 {"/autodiscover/autodiscover.json/v1.0/a/b", MDM_AUTODISCOVER_NONE}, {"/autodiscover/autodiscover.jsonx", MDM_AUTODISCOVER_NONE},
                 {"/autodiscover/autodiscover.xml/", MDM_AUTODISCOVER_NONE}, {"/autodiscover/autodiscover.svc", MDM_AUTODISCOVER_NONE},
                 {"/Autodiscover", MDM_AUTODISCOVER_NONE}, {"", MDM_AUTODISCOVER_NONE}, {NULL, MDM_AUTODISCOVER_NONE}};
    unsigned i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(mdm_autodiscover_path(cases[i].path), cases[i].is);
}

static apr_status_t read_in(const char *text, mdm_autodiscover_t *out)
{
    ctx->fail_text = NULL;
    return mdm_autodiscover_read(ctx, text, strlen(text), out);
}

static void test_requests(void **state)
{
    mdm_autodiscover_t a;

    assert_int_equal(read_in(ASK("<EMailAddress> Anna&amp;Co@example.org</EMailAddress>" MOBILE), &a), APR_SUCCESS);
    assert_string_equal(a.mail, "Anna&Co@example.org");
    assert_true(a.mobile);
    assert_int_equal(read_in(ASK("<AcceptableResponseSchema>" NS "outlook/responseschema/2006a</AcceptableResponseSchema>"), &a), APR_SUCCESS);
    assert_false(a.mobile || *a.mail);
    assert_int_equal(read_in(ASK("<x><EMailAddress>deep@example.org</EMailAddress></x>" MOBILE), &a), APR_SUCCESS);
    assert_true(a.mobile && !*a.mail);
}

static void test_what_is_refused(void **state)
{
    static const char *const bad[] = {
        "", "x", "<a/>", "<Autodiscover>", "<Autodiscover><Request></Autodiscover>",
        "<!DOCTYPE a [<!ENTITY x 'y'>]><Autodiscover><Request><EMailAddress>&x;</EMailAddress></Request></Autodiscover>",
        "<!DOCTYPE Autodiscover SYSTEM \"http://127.0.0.1/x\"><Autodiscover/>", "<Autodiscover>\xff</Autodiscover>",
        "<Autodiscover>&nbsp;</Autodiscover>",
        ASK("<EMailAddress>a@b</EMailAddress><EMailAddress>c@d</EMailAddress>")};
    char *deep = apr_pstrcat(ctx->pool, "<Autodiscover>", NULL), *big = apr_palloc(ctx->pool, 70001);
    mdm_autodiscover_t a;
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(read_in(bad[i], &a), MDM_EINPUT);
        assert_non_null(ctx->fail_text);
    }
    for (i = 0; i < 40; i++)
        deep = apr_pstrcat(ctx->pool, deep, "<a>", NULL);
    assert_int_equal(read_in(deep, &a), MDM_EINPUT);
    memset(big, 'a', 70000);
    big[70000] = '\0';
    assert_int_equal(read_in(big, &a), MDM_EINPUT);
    big[1000] = '\0';
    assert_int_equal(read_in(apr_psprintf(ctx->pool, ASK("<EMailAddress>%s</EMailAddress>"), big), &a), MDM_EINPUT);
}

static void test_answers(void **state)
{
    const char *text = (const char *)mdm_autodiscover_found(ctx->pool, "A <b> & \"c\"", "a@example.org", "https://mail.example.org/x").data;

    assert_non_null(strstr(text, "<DisplayName>A &lt;b&gt; &amp; "));
    assert_non_null(strstr(text, "<Type>MobileSync</Type><Url>https://mail.example.org/x</Url><Name>https://mail.example.org/x</Name>"));
    assert_non_null(strstr((const char *)mdm_autodiscover_error(ctx->pool, 601, "x").data, "<ErrorCode>601</ErrorCode><Message>x</Message>"));
}

int main(void)
{
    static const mdm_env_t env;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_paths), cmocka_unit_test(test_requests), cmocka_unit_test(test_what_is_refused),
                                       cmocka_unit_test(test_answers)};
    apr_pool_t *p;
    int failed;

    apr_initialize();
    apr_pool_create(&p, NULL);
    ctx = mdm_ctx_make(p, &env, NULL, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
