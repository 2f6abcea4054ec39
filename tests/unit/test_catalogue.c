/* The catalogue of policy settings: POL-04, CAT-03, and what is refused (issue 5, trouble). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#include "domain/mdm_catalogue.h"

static mdm_ctx_t *ctx;

static int setup(void **state)
{
    apr_pool_t *p;
    static mdm_env_t env;
    apr_initialize();
    apr_pool_create(&p, NULL);
    ctx = mdm_ctx_make(p, &env, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    apr_pool_destroy(ctx->pool);
    return 0;
}

static json_t *parsed(const char *text)
{
    json_t *j;
    assert_int_equal(mdm_json_parse(ctx, text, strlen(text), &j), APR_SUCCESS);
    return j;
}

static apr_status_t check(const char *type, const char *text)
{
    ctx->fail_field = ctx->fail_text = NULL;
    return mdm_settings_check(ctx, type, parsed(text));
}

static void refused(const char *type, const char *text, const char *field)
{
    assert_int_equal(check(type, text), MDM_EINPUT);
    assert_string_equal(ctx->fail_field, field);
    assert_true(*ctx->fail_text);
}

static void pol04_every_setting_is_found_by_its_id(void **state)
{
    const mdm_setting_t *s;
    apr_size_t n = 0;
    for (s = mdm_settings; s->id; s++, n++)
        assert_ptr_equal(mdm_setting_find(s->id), s);
    assert_int_equal(n, mdm_settings_count);
    assert_null(mdm_setting_find("apple"));
    assert_null(mdm_setting_find(""));
    assert_null(mdm_setting_find(NULL));
    assert_int_equal(mdm_level_named("none"), MDM_LEVEL_NONE);
    assert_int_equal(mdm_level_named("high"), MDM_LEVEL_HIGH);
    assert_int_equal(mdm_level_named("High"), -1);
    assert_int_equal(mdm_level_named(NULL), -1);
}

static void pol04_what_is_wrong_is_named(void **state)
{
    assert_int_equal(check("device_control", "{}"), APR_SUCCESS);
    assert_int_equal(check("device_control", "{\"apple.camera\":{\"corporate\":true,\"personal\":\"inherit\"}}"), APR_SUCCESS);
    assert_int_equal(check("device_control", "{\"apple.camera\":{\"personal\":null}}"), APR_SUCCESS);
    refused("device_control", "[]", "settings");
    refused("device_control", "\"inherit\"", "settings");
    refused("device_control", "{\"apple.teleport\":{\"corporate\":true}}", "settings.apple.teleport");
    refused("security", "{\"apple.camera\":{\"corporate\":true}}", "settings.apple.camera");
    refused("device_control", "{\"apple.camera\":true}", "settings.apple.camera");
    refused("device_control", "{\"apple.camera\":{\"both\":true}}", "settings.apple.camera.both");
    refused("device_control", "{\"apple.camera\":{\"corporate\":1}}", "settings.apple.camera.corporate");
    refused("device_control", "{\"apple.camera\":{\"corporate\":true,\"personal\":\"true\"}}", "settings.apple.camera.personal");
    refused("device_control", "{\"apple.camera\":{\"corporate\":[true]}}", "settings.apple.camera.corporate");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pol04_every_setting_is_found_by_its_id),
        cmocka_unit_test(pol04_what_is_wrong_is_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
