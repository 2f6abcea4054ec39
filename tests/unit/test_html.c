/* The escaping writer: nothing that a person or a device says becomes markup (R24, R25). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <apr_general.h>

#include "wire/mdm_html.h"

static apr_pool_t *pool;

static const char *written(mdm_html_t *h)
{
    mdm_blob_t out = mdm_html_out(h);

    assert_int_equal(strlen((const char *)out.data), out.len);
    return (const char *)out.data;
}

static void test_text(void **state)
{
    mdm_html_t *h = mdm_html_make(pool);

    mdm_html_raw(h, "<p>");
    mdm_html_text(h, "<script>\"onx='&\x01\x7f\ttab\nline ü");
    mdm_html_text(h, NULL);
    mdm_html_raw(h, "</p>");
    assert_string_equal(written(h), "<p>&lt;script&gt;&quot;onx=&#39;&amp;\x7f\ttab\nline ü</p>");
}

static void test_attr(void **state)
{
    mdm_html_t *h = mdm_html_make(pool);

    mdm_html_raw(h, "<a");
    mdm_html_attr(h, "title", "\" onclick=\"x");
    mdm_html_attr(h, "lang", (const char *)NULL);
    mdm_html_raw(h, ">");
    assert_string_equal(written(h), "<a title=\"&quot; onclick=&quot;x\">");
}

static void test_urls(void **state)
{
    static const struct {
        const char *url, *out;
    } rows[] = {{"/portal/?a=1&b=2", "/portal/?a=1&b=2"}, {"https://example.org/x", "https://example.org/x"},
                {"http://example.org/", "http://example.org/"}, {"javascript:alert(1)", "#"}, {"JavaScript:x", "#"},
                {"//evil.example", "#"}, {"data:text/html,x", "#"}, {"", "#"}, {"/a b", "#"}, {"/a\\b", "#"},
                {" https://example.org", "#"}, {"https://e\n", "#"}, {"relative", "#"}};
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        assert_string_equal(mdm_html_safe_url(rows[i].url), rows[i].out);
    }
    assert_null(mdm_html_safe_url(NULL));
}

static void test_grows(void **state)
{
    mdm_html_t *h = mdm_html_make(pool);
    int i;

    for (i = 0; i < 10000; ++i) {
        mdm_html_text(h, "0123456789<");
    }
    assert_int_equal(mdm_html_out(h).len, 10000 * (10 + 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_attr), cmocka_unit_test(test_urls),
                                       cmocka_unit_test(test_grows)};
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    return failed;
}
