/* The call context, status codes and log lines (API-01, REL-01, SEC-05). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include "base/mdm_ctx.h"

static apr_pool_t *pool;

typedef struct lines_t {
    int n, level;
    char last[4096];
    const char *id;
} lines_t;

static int cap_enabled(void *baton, int level)
{
    return level <= ((lines_t *)baton)->level;
}

static void cap_write(void *baton, int level, const char *id, apr_status_t rv, const char *text)
{
    lines_t *l = baton;

    l->n++;
    l->id = id;
    strcpy(l->last, text);
}

static const mdm_logsink_t cap = {cap_enabled, cap_write};

static apr_time_t fixed_clock(void *baton)
{
    return *(apr_time_t *)baton;
}

static void test_clock(void **state)
{
    apr_time_t t = 1234567890123456;
    mdm_env_t env = {.clock = fixed_clock, .clock_baton = &t};

    assert_int_equal(mdm_now_ms(mdm_ctx_make(pool, &env, NULL, NULL)), 1234567890123);
    assert_true(mdm_now_ms(mdm_ctx_make(pool, NULL, NULL, NULL)) > 1600000000000);
}

static void test_fail(void **state)
{
    mdm_ctx_t *ctx = mdm_ctx_make(pool, NULL, NULL, NULL), *sub;

    assert_string_equal(ctx->fail_field, "");
    assert_string_equal(ctx->actor.kind, "system");
    assert_int_equal(mdm_fail(ctx, MDM_EINPUT, "name", "must have %d", 3), MDM_EINPUT);
    assert_string_equal(ctx->fail_field, "name");
    assert_string_equal(ctx->fail_text, "must have 3");
    sub = mdm_ctx_sub(ctx);
    assert_ptr_not_equal(sub->pool, ctx->pool);
    assert_string_equal(sub->fail_text, "");
    mdm_fail(sub, MDM_ESTALE, NULL, "x");
    assert_string_equal(ctx->fail_text, "must have 3");
    apr_pool_destroy(sub->pool);
}

static void test_log_injection_sec05(void **state)
{
    lines_t l = {.level = MDM_LOG_INFO};
    mdm_ctx_t *ctx = mdm_ctx_make(pool, NULL, &cap, &l);

    mdm_log(ctx, MDM_LOG_INFO, "MDM9999", 0, "a%sb\x7f ü \xff", "\r\n[error] forged");
    assert_string_equal(l.last, "a\\x0d\\x0a[error] forgedb\\x7f ü \\xff");
    assert_string_equal(l.id, "MDM9999");
    mdm_log(ctx, MDM_LOG_INFO, "MDM9999", 0, "c1 \xc2\x85.");
    assert_string_equal(l.last, "c1 \\xc2\\x85.");
    mdm_log(ctx, MDM_LOG_DEBUG, "MDM9999", 0, "silent");
    assert_int_equal(l.n, 2);
    assert_false(mdm_log_enabled(ctx, MDM_LOG_DEBUG));
    assert_true(mdm_log_enabled(ctx, MDM_LOG_ERR));
    mdm_log(mdm_ctx_make(pool, NULL, NULL, NULL), MDM_LOG_ERR, "MDM9999", 0, "no sink");
}

static void test_log_is_cut(void **state)
{
    lines_t l = {.level = MDM_LOG_INFO};
    mdm_ctx_t *ctx = mdm_ctx_make(pool, NULL, &cap, &l);
    char big[3001];

    memset(big, 'x', 3000);
    big[3000] = '\0';
    mdm_log(ctx, MDM_LOG_INFO, "MDM9999", 0, "%s", big);
    assert_int_equal(strlen(l.last), 2000 - 1 + 1);
    memset(big, '\n', 3000);
    mdm_log(ctx, MDM_LOG_INFO, "MDM9999", 0, "%s", big);
    assert_int_equal(strlen(l.last), 2000);
}

static void test_statuses(void **state)
{
    apr_status_t rv;

    assert_int_equal(mdm_http_status(APR_SUCCESS), 200);
    assert_int_equal(mdm_http_status(APR_NOTFOUND), 404);
    assert_int_equal(mdm_http_status(MDM_EINPUT), 400);
    assert_int_equal(mdm_http_status(MDM_EIDENTITY), 400);
    assert_int_equal(mdm_http_status(MDM_ETOOBIG), 413);
    assert_int_equal(mdm_http_status(MDM_EPRECOND), 428);
    assert_int_equal(mdm_http_status(APR_ENOMEM), 503);
    assert_int_equal(mdm_http_status(MDM_E_LAST + 1), 503);
    for (rv = MDM_E_BASE + 1; rv <= MDM_E_LAST; rv++)
        assert_non_null(mdm_error_text(rv));
    assert_null(mdm_error_text(APR_ENOMEM));
    assert_null(mdm_error_text(MDM_E_BASE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_log_injection_sec05),
        cmocka_unit_test(test_log_is_cut),
        cmocka_unit_test(test_statuses),
    };
    int rc;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rc;
}
