/* Property lists: strict reading, writing, JSON form (SEC-03, SEC-05). */
#include "ctxtest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "wire/mdm_plist.h"

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" \
             "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" " \
             "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
#define P(x) "<plist version=\"1.0\">" x "</plist>"
#define D(x) P("<dict>" x "</dict>")
#define A(x) P("<array>" x "</array>")

static mdm_plist_t *must(const char *text)
{
    mdm_plist_t *pl;

    if (mdm_plist_parse(ctx, text, strlen(text), &pl) != APR_SUCCESS)
        fail_msg("%s: %s", text, ctx->fail_text);
    return pl;
}

static void refused(const char *text, apr_status_t want)
{
    mdm_plist_t *pl;
    apr_status_t rv = mdm_plist_parse(ctx, text, strlen(text), &pl);

    if (rv != want)
        fail_msg("%.200s: %d instead of %d (%s)", text, rv, want, ctx->fail_text);
    assert_null(pl);
    assert_true(*ctx->fail_text != '\0');
}

static void test_idle_message(void **state)
{
    mdm_plist_t *pl = must(HEAD D("\n\t<key>Status</key>\n\t<string>Idle</string>\n"
                                  "\t<key>UDID</key><string>0000-A&amp;B&#252;</string>"));

    assert_int_equal(pl->type, MDM_PL_DICT);
    assert_int_equal(pl->count, 2);
    assert_string_equal(mdm_plist_str(pl, "Status"), "Idle");
    assert_string_equal(mdm_plist_str(pl, "UDID"), "0000-A&Bü");
    assert_null(mdm_plist_str(pl, "None"));
    assert_null(mdm_plist_data(pl, "UDID"));
}

static void test_all_types(void **state)
{
    mdm_plist_t *pl = must(D("<key>d</key><data>\n QUJD\n</data><key>t</key><true/><key>f</key><false></false>"
                             "<key>i</key><integer> -9223372036854775808 </integer><key>r</key><real>0.25e1</real>"
                             "<key>s</key><string/><key>a</key><array><string>x</string><dict/></array>"
                             "<key>w</key><date>2026-02-28T23:59:59Z</date><!-- c --><?pi x?>"
                             "<key>c</key><string><![CDATA[<&]]></string>"));
    const mdm_plist_t *a = mdm_plist_get(pl, "a");

    assert_int_equal(mdm_plist_data(pl, "d")->len, 3);
    assert_memory_equal(mdm_plist_data(pl, "d")->data, "ABC", 4);
    assert_int_equal(mdm_plist_bool(pl, "t", 0), 1);
    assert_int_equal(mdm_plist_bool(pl, "f", 1), 0);
    assert_int_equal(mdm_plist_bool(pl, "i", 7), 7);
    assert_true(mdm_plist_int(pl, "i", 0) == APR_INT64_MIN);
    assert_true(mdm_plist_real(pl, "r", 0) == 2.5);
    assert_string_equal(mdm_plist_str(pl, "s"), "");
    assert_int_equal(a->count, 2);
    assert_string_equal(a->child->str, "x");
    assert_int_equal(a->child->next->type, MDM_PL_DICT);
    assert_string_equal(mdm_plist_get(pl, "w")->str, "2026-02-28T23:59:59Z");
    assert_string_equal(mdm_plist_str(pl, "c"), "<&");
}

static void test_bad_documents(void **state)
{
    static const char *const bad[] = {
        "x", "<plist>", P(""), P("<string>a</string><string>b</string>"), "<dict/>", P("x"),
        "<plist><dict></plist></dict>", P("<plist><dict/></plist>"), P("<bogus/>"), P("<Dict/>"),
        D("<key>a</key>"), D("<string>a</string>"), D("<key>a</key><key>b</key><true/>"),
        D("<key>a</key><true/><key>a</key><true/>"), D("text"), A("<key>a</key>"),
        P("<string>a<b/></string>"), P("<string>a<true/></string>"), P("<true>x</true>"),
        P("<integer></integer>"), P("<integer>0x10</integer>"), P("<integer>1.5</integer>"),
        P("<integer>+-1</integer>"), P("<integer>9223372036854775808</integer>"),
        P("<integer>18446744073709551615</integer>"), P("<real>nan</real>"), P("<real>inf</real>"),
        P("<real>1e999</real>"), P("<real></real>"), P("<real>1,5</real>"), P("<real>0x1p3</real>"),
        P("<data>Q</data>"), P("<data>QQ=</data>"), P("<data>Q*==</data>"), P("<data>QQ-_</data>"),
        P("<date></date>"), P("<date>2026-13-01T00:00:00Z</date>"), P("<date>2026-02-30T00:00:00Z</date>"),
        P("<date>2026-01-01T24:00:00Z</date>"), P("<date>2026-01-01T00:60:00Z</date>"),
        P("<date>2026-01-01T00:00:00+01:00</date>"), P("<date>2026-01-01</date>"),
        P("<dict a=\"1\"/>"), P("<x:dict xmlns:x=\"urn:x\"/>"), P("<dict xmlns=\"urn:x\"/>"),
        P("<true/>") "<plist/>", P("<true/>") "trailing", P("<string>&#1;</string>"),
        P("<string>&#xFFFF;</string>"), P("<string>\x01</string>"), P("<string>\xff</string>"),
        P("<string>\xed\xa0\x80</string>"), "bplist00\x01\x02", " <?xml version=\"1.0\"?>" P("<true/>"),
    };
    mdm_plist_t *pl;
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        refused(bad[i], MDM_EINPUT);
    assert_int_equal(mdm_plist_parse(ctx, NULL, 0, &pl), MDM_EINPUT);
    assert_int_equal(mdm_plist_parse(ctx, P("<string>a\0b</string>"), 44, &pl), MDM_EINPUT);
    refused(D("\n<key>k</key>\n<bogus/>"), MDM_EINPUT);
    assert_non_null(strstr(ctx->fail_text, "line 3"));
}

static void test_entities_and_dtd_sec03(void **state)
{
    static const char *const bad[] = {
        "<!DOCTYPE plist [<!ENTITY a \"x\">]>" P("<string>&a;</string>"),
        "<!DOCTYPE plist [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>" P("<string>&a;</string>"),
        "<!DOCTYPE plist [<!ENTITY % a SYSTEM \"http://127.0.0.1/x\"> %a;]>" P("<true/>"),
        "<!DOCTYPE plist [<!ELEMENT plist ANY>]>" P("<true/>"),
        "<!DOCTYPE plist [ ]>" P("<true/>"), "<!DOCTYPE plist[<!-- c -->]>" P("<true/>"),
        "<!DOCTYPE plist SYSTEM \"x.dtd\" [<!ATTLIST plist x CDATA \"y\">]>" P("<true/>"),
        HEAD P("<string>&undeclared;</string>"), P("<string>&nbsp;</string>"),
        HEAD "<plist version=\"&e;\"><true/></plist>",
        "<!DOCTYPE lolz [<!ENTITY l \"lol\"><!ENTITY m \"&l;&l;&l;&l;\">]>" P("<string>&m;</string>"),
    };
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        refused(bad[i], MDM_EINPUT);
    /* a DTD that would have to be fetched is neither fetched nor missed */
    must("<!DOCTYPE plist SYSTEM \"file:///nonexistent.dtd\">" P("<string>&lt;&gt;&amp;&apos;&quot;</string>"));
}

static char *times(const char *s, int n)
{
    apr_size_t len = strlen(s);
    char *out = apr_palloc(pool, len * (apr_size_t)n + 1);
    int i;

    for (i = 0; i < n; i++)
        memcpy(out + (apr_size_t)i * len, s, len);
    out[len * (apr_size_t)n] = '\0';
    return out;
}

static void test_limits_sec03(void **state)
{
    must(apr_pstrcat(pool, "<plist>", times("<array>", 32), times("</array>", 32), "</plist>", NULL));
    refused(apr_pstrcat(pool, "<plist>", times("<array>", 33), times("</array>", 33), "</plist>", NULL),
            MDM_ETOOBIG);
    refused(apr_pstrcat(pool, "<plist>", times("<array>", 100000), NULL), MDM_ETOOBIG);
    must(apr_pstrcat(pool, "<plist><array>", times("<true/>", 199999), "</array></plist>", NULL));
    refused(apr_pstrcat(pool, "<plist><array>", times("<true/>", 200000), "</array></plist>", NULL),
            MDM_ETOOBIG);
}

static void test_many_keys(void **state)
{
    const char *text = "<plist><dict>";
    char *body = apr_palloc(pool, 50000 * 40), *b = body;
    mdm_plist_t *pl;
    int i;

    for (i = 0; i < 50000; i++)
        b += sprintf(b, "<key>k%d</key><true/>", i);
    pl = must(apr_pstrcat(pool, text, body, "</dict></plist>", NULL));
    assert_int_equal(pl->count, 50000);
    refused(apr_pstrcat(pool, text, body, "<key>k3</key><true/></dict></plist>", NULL), MDM_EINPUT);
    refused(apr_pstrcat(pool, text, body, "<key>k49999</key><true/></dict></plist>", NULL), MDM_EINPUT);
}

static void test_long_text(void **state)
{
    char *big = times("abcdefghij", 200000);
    mdm_plist_t *pl = must(apr_pstrcat(pool, "<plist><string>", big, "</string></plist>", NULL));

    assert_string_equal(pl->str, big);
}

static void test_need_str(void **state)
{
    mdm_plist_t *pl = must(D("<key>a</key><string>abc</string><key>e</key><string/><key>i</key><integer>1</integer>"));
    const char *s;

    assert_int_equal(mdm_plist_need_str(ctx, pl, "a", 3, &s), APR_SUCCESS);
    assert_string_equal(s, "abc");
    assert_int_equal(mdm_plist_need_str(ctx, pl, "a", 2, &s), MDM_EINPUT);
    assert_string_equal(ctx->fail_field, "a");
    assert_int_equal(mdm_plist_need_str(ctx, pl, "e", 2, &s), MDM_EINPUT);
    assert_int_equal(mdm_plist_need_str(ctx, pl, "i", 2, &s), MDM_EINPUT);
    assert_int_equal(mdm_plist_need_str(ctx, NULL, "x", 2, &s), MDM_EINPUT);
    assert_null(s);
}

static mdm_plist_t *sample(void)
{
    mdm_plist_t *d = mdm_plist_dict(pool), *a;

    mdm_plist_add_str(pool, d, "s", "</string><true/>&amp;\r\n\x01\xff]]> ü");
    mdm_plist_add_str(pool, d, "none", NULL);
    mdm_plist_add_data(pool, d, "d", "\0\1\2\xff", 4);
    mdm_plist_add_data(pool, d, "e", NULL, 0);
    mdm_plist_add_int(pool, d, "i", APR_INT64_MIN);
    mdm_plist_add_real(pool, d, "r", 0.1);
    mdm_plist_add_real(pool, d, "r3", 1.0 / 3);
    mdm_plist_add_bool(pool, d, "<b>", 5);
    mdm_plist_add_date(pool, d, "w", "2026-11-21T10:00:00Z");
    a = mdm_plist_add_array(pool, d, "a");
    mdm_plist_add_str(pool, a, NULL, "x");
    mdm_plist_add_dict(pool, a, NULL);
    mdm_plist_append(a, NULL, mdm_plist_dict(pool));
    return d;
}

static void check_sample(const mdm_plist_t *pl)
{
    assert_string_equal(mdm_plist_str(pl, "s"), "</string><true/>&amp;\r\n]]> ü");
    assert_int_equal(pl->count, 9);
    assert_memory_equal(mdm_plist_data(pl, "d")->data, "\0\1\2\xff", 4);
    assert_int_equal(mdm_plist_data(pl, "e")->len, 0);
    assert_true(mdm_plist_int(pl, "i", 0) == APR_INT64_MIN);
    assert_true(mdm_plist_real(pl, "r", 0) == 0.1);
    assert_true(mdm_plist_real(pl, "r3", 0) == 1.0 / 3);
    assert_int_equal(mdm_plist_bool(pl, "<b>", 0), 1);
    assert_int_equal(mdm_plist_get(pl, "w")->type, MDM_PL_DATE);
    assert_int_equal(mdm_plist_get(pl, "a")->count, 3);
}

static void test_write_escapes_sec05(void **state)
{
    mdm_blob_t out, again;
    mdm_plist_t *pl;

    assert_int_equal(mdm_plist_write(pool, sample(), &out), APR_SUCCESS);
    assert_int_equal(strlen((const char *)out.data), out.len);
    pl = must((const char *)out.data);
    check_sample(pl);
    assert_int_equal(mdm_plist_write(pool, pl, &again), APR_SUCCESS);
    assert_string_equal((const char *)again.data, (const char *)out.data);
}

static void test_write_refusals(void **state)
{
    mdm_plist_t *d = mdm_plist_dict(pool), *n = d;
    mdm_blob_t out;
    int i;

    for (i = 1; i < 32; i++)
        n = mdm_plist_add_dict(pool, n, "k");
    assert_int_equal(mdm_plist_write(pool, d, &out), APR_SUCCESS);
    mdm_plist_add_dict(pool, n, "k");
    assert_int_equal(mdm_plist_write(pool, d, &out), MDM_ETOOBIG);
    d = mdm_plist_dict(pool);
    mdm_plist_add_int(pool, d, NULL, 1);
    assert_int_equal(mdm_plist_write(pool, d, &out), MDM_EINPUT);
    d = mdm_plist_dict(pool);
    mdm_plist_add_real(pool, d, "x", strtod("inf", NULL));
    assert_int_equal(mdm_plist_write(pool, d, &out), MDM_EINPUT);
}

static void test_json_form(void **state)
{
    mdm_plist_t *d = sample(), *back;
    json_t *j;

    /* what JSON can't carry either */
    d->child->str = "</string><true/>&amp;\r\n]]> ü";
    j = mdm_json_own(ctx, mdm_plist_to_json(d));
    assert_string_equal(json_string_value(json_object_get(json_object_get(j, "d"), "$data")), "AAEC/w==");
    assert_int_equal(mdm_plist_from_json(ctx, j, &back), APR_SUCCESS);
    check_sample(back);
}

static void test_json_bad(void **state)
{
    static const char *const bad[] = {"{\"a\":null}", "[null]", "{\"$data\":\"*\"}", "{\"$date\":\"x\"}"};
    mdm_plist_t *pl;
    json_t *j;
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mdm_json_parse(ctx, bad[i], strlen(bad[i]), &j), APR_SUCCESS);
        assert_int_equal(mdm_plist_from_json(ctx, j, &pl), MDM_EINPUT);
        assert_null(pl);
    }
    assert_int_equal(mdm_plist_from_json(ctx, NULL, &pl), MDM_EINPUT);
    j = json_array();
    for (i = 0; i < 40; i++) {
        json_t *outer = json_array();

        json_array_append_new(outer, j);
        j = outer;
    }
    mdm_json_own(ctx, j);
    assert_int_equal(mdm_plist_from_json(ctx, j, &pl), MDM_ETOOBIG);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_idle_message), T(test_all_types), T(test_bad_documents), T(test_entities_and_dtd_sec03),
        T(test_limits_sec03), T(test_many_keys), T(test_long_text), T(test_need_str),
        T(test_write_escapes_sec05), T(test_write_refusals), T(test_json_form), T(test_json_bad)};
    int rc;

    apr_initialize();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rc;
}
