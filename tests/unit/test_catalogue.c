/* The catalogue of policy settings: POL-04, CAT-03, and what is refused (issue 5, trouble). */
#include "ctxtest.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#include "domain/mdm_catalogue.h"
#include "wire/mdm_eas_doc.h"

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

static void pol04_dependencies_are_kept(void **state)
{
    /* what the parent forbids; a "no" of the child says the same */
    refused("device_control", "{\"apple.camera\":{\"corporate\":false},\"apple.facetime\":{\"corporate\":true}}", "settings.apple.facetime.corporate");
    assert_non_null(strstr(ctx->fail_text, "apple.camera"));
    assert_int_equal(check("device_control", "{\"apple.camera\":{\"corporate\":false},\"apple.facetime\":{\"corporate\":false}}"), APR_SUCCESS);
    assert_int_equal(check("device_control", "{\"apple.camera\":{\"corporate\":false},\"apple.facetime\":{\"corporate\":null}}"), APR_SUCCESS);
    assert_int_equal(check("device_control", "{\"apple.camera\":{\"corporate\":false},\"apple.facetime\":{\"personal\":true}}"), APR_SUCCESS);
    /* yes or inherit, and what is absent is inherited; not set is neither */
    assert_int_equal(check("device_control", "{\"apple.facetime\":{\"corporate\":true}}"), APR_SUCCESS);
    assert_int_equal(check("device_control", "{\"apple.safari\":{\"personal\":\"inherit\"},\"apple.safari_popups\":{\"personal\":true}}"), APR_SUCCESS);
    refused("device_control", "{\"apple.siri\":{\"personal\":null},\"apple.siri_locked\":{\"personal\":true}}", "settings.apple.siri_locked.personal");
    refused("device_control", "{\"apple.safari\":{\"personal\":false},\"apple.safari_cookies\":{\"personal\":\"none\"}}",
            "settings.apple.safari_cookies.personal");
    assert_int_equal(check("security", "{\"security.letters\":{\"corporate\":2}}"), APR_SUCCESS);
    refused("security", "{\"security.letters\":{\"corporate\":2},\"security.complex\":{\"corporate\":false}}", "settings.security.letters.corporate");
    /* a switch that must be yes */
    refused("security", "{\"security.expiration_days\":{\"corporate\":30}}", "settings.security.expiration_days.corporate");
    refused("security", "{\"security.wipe\":{\"corporate\":\"inherit\"},\"security.wipe_attempts\":{\"corporate\":5}}",
            "settings.security.wipe_attempts.corporate");
    assert_int_equal(check("security", "{\"security.wipe\":{\"corporate\":true},\"security.wipe_attempts\":{\"corporate\":5}}"), APR_SUCCESS);
    refused("email", "{\"email.direct\":{\"personal\":false},\"email.direct_server\":{\"personal\":\"0f0e0d0c-0b0a-4908-8706-050403020100\"}}",
            "settings.email.direct_server.personal");
}

static void pol04_effective_values_without_their_parent_do_not_hold(void **state)
{
    static const struct {
        const char *setting, *values;
        int ok;
    } cases[] = {
        {"apple.facetime", "{}", 1}, /* nothing restricts the camera */
        {"apple.facetime", "{\"apple.camera\":null}", 1},
        {"apple.facetime", "{\"apple.camera\":true}", 1},
        {"apple.facetime", "{\"apple.camera\":false}", 0},
        {"apple.safari_popups", "{\"apple.safari\":false,\"apple.safari_popups\":true}", 0},
        {"apple.safari_popups", "{\"apple.safari\":false,\"apple.safari_popups\":false}", 1}, /* for devices that keep Safari */
        {"security.letters", "{}", 0}, /* nothing asks for a complex password */
        {"security.letters", "{\"security.complex\":null}", 0},
        {"security.letters", "{\"security.complex\":true}", 1},
        {"security.expiration_days", "{\"security.expiration\":false}", 0},
        {"security.expiration_days", "{\"security.expiration\":true}", 1},
        {"security.min_length", "{}", 1},
    };
    apr_size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(mdm_setting_depends_ok(mdm_setting_find(cases[i].setting), parsed(cases[i].values)), cases[i].ok);
}

static void pol04_values_out_of_range_are_refused(void **state)
{
    static const struct {
        const char *type, *setting, *value;
        int ok;
    } cases[] = {
        {"security", "security.min_length", "1", 1},
        {"security", "security.min_length", "16", 1},
        {"security", "security.min_length", "0", 0},
        {"security", "security.min_length", "17", 0},
        {"security", "security.min_length", "-1", 0},
        {"security", "security.min_length", "4.0", 0},
        {"security", "security.min_length", "\"4\"", 0},
        {"security", "security.min_length", "true", 0},
        {"security", "security.min_length", "9223372036854775807", 0},
        {"security", "security.min_length", "\"inherit\"", 1},
        {"security", "security.min_length", "\"INHERIT\"", 0},
        {"security", "security.min_length", "{}", 0},
        {"device_control", "apple.rating_movies", "\"us.pg13\"", 1},
        {"device_control", "apple.rating_movies", "\"us.tvy\"", 0},
        {"device_control", "apple.rating_movies", "300", 0},
        {"device_control", "apple.rating_movies", "\"\"", 0},
        {"device_control", "apple.safari_cookies", "\"visited_sites\"", 1},
        {"device_control", "apple.safari_cookies", "1.5", 0},
        {"email", "email.account_name", "\"Post \xc3\xbc" "ber alles\"", 1},
        {"email", "email.account_name", "\"\"", 0},
        {"email", "email.account_name", "\"a\\nb\"", 0},
        {"email", "email.account_name", "\"a\\u0085b\"", 0},
        {"email", "email.account_name", "\"a\\u007fb\"", 0},
        {"email", "email.account_name", "[\"a\"]", 0},
    };
    apr_size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *text = apr_psprintf(ctx->pool, "{\"%s\":{\"personal\":%s}}", cases[i].setting, cases[i].value);
        if (cases[i].ok)
            assert_int_equal(check(cases[i].type, text), APR_SUCCESS);
        else
            refused(cases[i].type, text, apr_psprintf(ctx->pool, "settings.%s.personal", cases[i].setting));
    }
    /* the server of a mail account is named by its id; that it exists is another's question */
    assert_true(mdm_setting_value_ok(mdm_setting_find("email.direct_server"), parsed("\"0f0e0d0c-0b0a-4908-8706-050403020100\"")));
    assert_false(mdm_setting_value_ok(mdm_setting_find("email.direct_server"), parsed("\"mail.example.org\"")));
    assert_false(mdm_setting_value_ok(mdm_setting_find("email.direct_server"), NULL));
}

/* A refusal says what is possible, in bounded text, whatever was sent. */
static void pol04_hostile_documents_are_refused_in_short(void **state)
{
    apr_size_t n = 200000, i;
    char *huge = apr_palloc(ctx->pool, n + 1);
    json_t *many = mdm_json_own(ctx, json_object()), *row;

    memset(huge, 'x', n);
    huge[n] = '\0';
    assert_int_equal(check("email", apr_psprintf(ctx->pool, "{\"email.account_name\":{\"corporate\":\"%s\"}}", huge)), MDM_EINPUT);
    assert_string_equal(ctx->fail_field, "settings.email.account_name.corporate");
    assert_true(strlen(ctx->fail_text) < 500);
    assert_int_equal(check("email", apr_psprintf(ctx->pool, "{\"%s\":{\"corporate\":true}}", huge)), MDM_EINPUT);
    assert_true(strlen(ctx->fail_field) < 100);
    assert_int_equal(check("email", apr_psprintf(ctx->pool, "{\"email.days\":{\"%s\":true}}", huge)), MDM_EINPUT);
    assert_true(strlen(ctx->fail_field) < 100);
    assert_int_equal(check("device_control", "{\"apple.rating_movies\":{\"corporate\":\"x\"}}"), MDM_EINPUT);
    assert_true(strlen(ctx->fail_text) < 500);
    /* control characters of a name never reach a log or a page */
    assert_int_equal(check("email", "{\"\\u001b[2J<b>\":{}}"), MDM_EINPUT);
    assert_null(strchr(ctx->fail_field, 0x1b));
    row = json_pack("{s:b}", "corporate", 1);
    for (i = 0; i < 20000; i++)
        json_object_set(many, apr_psprintf(ctx->pool, "apple.none%d", (int)i), row);
    json_decref(row);
    assert_int_equal(mdm_settings_check(ctx, "device_control", many), MDM_EINPUT);
}

static const json_t *preset(const json_t *settings, const char *id, const char *column)
{
    return json_object_get(json_object_get(settings, id), column);
}

/* CAT-03: the table of the guide, row by row. */
static void cat03_levels_of_the_security_policy(void **state)
{
    static const struct {
        const char *id, *value[MDM_LEVELS - 1];
    } rows[] = {
        {"password", {"true", "true", "true", "true"}},       {"simple", {"true", "false", "false", "false"}},
        {"min_length", {"4", "6", "8", "8"}},                 {"biometric_weak", {"false", "false", "false", "false"}},
        {"numeric", {"false", "false", "false", "false"}},    {"numeric_complex", {"false", "false", "false", "false"}},
        {"alphabetic", {"false", "false", "false", "false"}}, {"alphanumeric", {"false", "true", "true", "true"}},
        {"complex", {"false", "false", "true", "true"}},      {"complex_types", {"null", "null", "3", "4"}},
        {"complex_chars", {"null", "null", "1", "2"}},        {"letters", {"null", "null", "1", "2"}},
        {"numbers", {"null", "null", "1", "2"}},              {"lowercase", {"null", "null", "1", "2"}},
        {"uppercase", {"null", "null", "1", "2"}},            {"non_letters", {"null", "null", "2", "3"}},
        {"expiration", {"false", "true", "true", "true"}},    {"expiration_days", {"null", "30", "30", "30"}},
        {"history", {"false", "true", "true", "true"}},       {"history_count", {"null", "5", "7", "10"}},
        {"encrypt_device", {"false", "false", "true", "true"}}, {"encrypt_card", {"false", "false", "true", "true"}},
        {"inactivity", {"false", "true", "true", "true"}},    {"inactivity_minutes", {"null", "5", "1", "1"}},
        {"wipe", {"false", "true", "true", "true"}},          {"wipe_attempts", {"null", "10", "7", "5"}},
        {"grace", {"false", "true", "true", "true"}},
        {"grace_after", {"null", "\"min1\"", "\"immediately\"", "\"immediately\""}},
    };
    int level;
    apr_size_t i, n = sizeof(rows) / sizeof(rows[0]);
    for (level = MDM_LEVEL_LOW; level < MDM_LEVELS; level++) {
        json_t *j = mdm_json_own(ctx, mdm_level_settings("security", level, MDM_LEVEL_NONE));
        assert_int_equal(json_object_size(j), n);
        for (i = 0; i < n; i++) {
            const char *id = apr_pstrcat(ctx->pool, "security.", rows[i].id, NULL);
            assert_string_equal(mdm_json_text(ctx->pool, preset(j, id, "corporate")), rows[i].value[level - 1]);
            assert_string_equal(json_string_value(preset(j, id, "personal")), "inherit");
        }
    }
}

/* POL-03: presets per column; each of the 25 pairs of levels of each type is something that can be saved. */
static void pol03_presets_can_be_saved(void **state)
{
    static const char *const types[] = {"device_control", "security", "email"};
    int c, p;
    apr_size_t t;
    for (t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
        for (c = 0; c < MDM_LEVELS; c++) {
            for (p = 0; p < MDM_LEVELS; p++) {
                json_t *j = mdm_json_own(ctx, mdm_level_settings(types[t], c, p));
                assert_int_equal(mdm_settings_check(ctx, types[t], j), APR_SUCCESS);
                assert_int_equal(json_object_size(j) == 0, c == MDM_LEVEL_NONE && p == MDM_LEVEL_NONE);
            }
        }
        assert_int_equal(json_object_size(mdm_json_own(ctx, mdm_level_settings(types[t], -1, MDM_LEVELS))), 0);
    }
    assert_int_equal(json_object_size(mdm_json_own(ctx, mdm_level_settings("enrollment", MDM_LEVEL_HIGH, MDM_LEVEL_HIGH))), 0);
}

/* CAT-03: values(Low) ≤ Moderate ≤ Strict ≤ High for every setting, as the engine itself compares. */
static void cat03_no_level_is_weaker_than_the_one_below(void **state)
{
    const mdm_setting_t *s;
    int level;
    for (s = mdm_settings; s->id; s++) {
        for (level = MDM_LEVEL_LOW; level < MDM_LEVEL_HIGH; level++) {
            json_t *lower = json_loads(s->levels[level], JSON_DECODE_ANY, NULL);
            json_t *higher = json_loads(s->levels[level + 1], JSON_DECODE_ANY, NULL);
            assert_true(json_equal(mdm_setting_stricter(s, lower, higher), higher) || json_is_null(higher));
            assert_false(json_is_null(higher) && !json_is_null(lower));
            json_decref(lower);
            json_decref(higher);
        }
    }
}

static void pol07_the_stricter_value(void **state)
{
    static const struct {
        const char *setting, *a, *b, *stricter;
    } cases[] = {
        {"apple.camera", "true", "false", "false"},
        {"security.password", "true", "false", "true"},
        {"security.min_length", "4", "8", "8"},
        {"security.expiration_days", "30", "90", "30"},
        {"security.grace_after", "\"min5\"", "\"immediately\"", "\"immediately\""},
        {"apple.safari_cookies", "\"visited_sites\"", "\"current_site\"", "\"current_site\""},
        {"apple.rating_movies", "\"us.r\"", "\"de.ab12\"", "\"de.ab12\""},
        {"eas.bluetooth", "\"hands_free\"", "\"on\"", "\"hands_free\""},
        {"apple.camera", "true", "null", "true"},
        {"security.min_length", "null", "4", "4"},
    };
    apr_size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const mdm_setting_t *s = mdm_setting_find(cases[i].setting);
        const json_t *a = parsed(cases[i].a), *b = parsed(cases[i].b);
        assert_string_equal(mdm_json_text(ctx->pool, mdm_setting_stricter(s, a, b)), cases[i].stricter);
        assert_string_equal(mdm_json_text(ctx->pool, mdm_setting_stricter(s, b, a)), cases[i].stricter);
        assert_ptr_equal(mdm_setting_stricter(s, a, NULL), a);
    }
    assert_ptr_equal(mdm_setting_stricter(mdm_setting_find("apple.camera"), NULL, json_true()), json_true());
    /* neither is stricter: the first one */
    assert_string_equal(json_string_value(mdm_setting_stricter(mdm_setting_find("apple.rating_region"), parsed("\"de\""), parsed("\"us\""))), "de");
}

/* CAT-02: an element that ActiveSync's document does not know would be lost without a word. */
static void cat01_activesync_knows_every_element(void **state)
{
    const mdm_setting_t *s;
    const mdm_carrier_t *k;
    int n = 0;
    for (s = mdm_settings; s->id; s++) {
        for (k = s->carriers; k && k->channel; k++) {
            const mdm_eas_setting_t *e = strcmp(k->channel, "eas") == 0 ? mdm_eas_setting_named(k->key) : NULL;
            if (strcmp(k->channel, "eas") != 0)
                continue;
            assert_non_null(e);
            assert_string_equal(k->since, apr_psprintf(ctx->pool, "%d.%d", e->since / 10, e->since % 10));
            if (s->kind == MDM_SET_INT) {
                assert_true((k->max ? k->min : s->min * (apr_int64_t)k->number) >= e->min);
                assert_true((k->max ? k->max : s->max * (apr_int64_t)k->number) <= e->max);
            }
            n++;
        }
    }
    assert_true(n > 20);
}

/* The console gets the file as it is. */
static void pol04_the_served_catalogue_is_the_table(void **state)
{
    json_t *all = json_object_get(parsed(mdm_settings_json), "settings"), *row;
    size_t i;
    assert_int_equal(json_array_size(all), mdm_settings_count);
    json_array_foreach(all, i, row)
        assert_string_equal(json_string_value(json_object_get(row, "id")), mdm_settings[i].id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pol04_every_setting_is_found_by_its_id),
        cmocka_unit_test(pol04_what_is_wrong_is_named),
        cmocka_unit_test(pol04_dependencies_are_kept),
        cmocka_unit_test(pol04_effective_values_without_their_parent_do_not_hold),
        cmocka_unit_test(pol04_values_out_of_range_are_refused),
        cmocka_unit_test(pol04_hostile_documents_are_refused_in_short),
        cmocka_unit_test(cat03_levels_of_the_security_policy),
        cmocka_unit_test(pol03_presets_can_be_saved),
        cmocka_unit_test(cat03_no_level_is_weaker_than_the_one_below),
        cmocka_unit_test(pol07_the_stricter_value),
        cmocka_unit_test(cat01_activesync_knows_every_element),
        cmocka_unit_test(pol04_the_served_catalogue_is_the_table),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
