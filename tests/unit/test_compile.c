/* What effective settings become for each channel: CAT-01..03, POL-07. */
#include "ctxtest.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#include "domain/mdm_compile.h"
#include "domain/mdm_policy.h"

#define PASSCODE "com.apple.mobiledevice.passwordpolicy"
#define RESTRICTIONS "com.apple.applicationaccess"

static const mdm_compile_facts_t phone = {.channels = MDM_CH_APPLE, .os_version = "18.1", .supervised = 1};
static const mdm_compile_facts_t all_channels = {.channels = MDM_CH_APPLE | MDM_CH_EAS | MDM_CH_AGENT, .os_version = "18.1", .supervised = 1};
static const mdm_compile_account_t account = {"mail.example.org", "ann", "ann@example.org"};

/* {"<setting>": v} as the resolver gives it. */
static json_t *effective(json_t *values)
{
    json_t *out = mdm_json_own(ctx, json_object()), *v;
    const char *id;

    json_object_foreach(values, id, v)
        json_object_set_new(out, id, json_pack("{s:O}", "value", v));
    return out;
}

static json_t *parsed(const char *text)
{
    json_t *j = json_loads(text, 0, NULL);

    assert_non_null(j);
    return mdm_json_own(ctx, j);
}

static json_t *level(const char *type, int n)
{
    json_t *both = mdm_json_own(ctx, mdm_level_settings(type, n, n)), *out = mdm_json_own(ctx, json_object()), *row;
    const char *id;

    json_object_foreach(both, id, row)
        json_object_set(out, id, json_object_get(row, "corporate"));
    return effective(out);
}

static mdm_compiled_t *compiled(const mdm_compile_facts_t *facts, json_t *control, json_t *security, json_t *email)
{
    mdm_compile_in_t in = {control, security, email, &account};
    mdm_compiled_t *out;

    assert_int_equal(mdm_compile(ctx, facts, &in, &out), APR_SUCCESS);
    return out;
}

static void same(json_t *got, const char *wanted)
{
    json_t *w = parsed(wanted);

    if (!json_equal(got, w))
        fail_msg("got %s", got ? mdm_json_text(ctx->pool, got) : "nothing");
}

static json_t *apple(const mdm_compiled_t *c, const char *type, const char *payload)
{
    return json_object_get(json_object_get(c->apple, type), payload);
}

static apr_int64_t eas(const mdm_compiled_t *c, const char *element)
{
    const mdm_eas_setting_t *s = mdm_eas_setting_named(element);

    assert_non_null(s);
    return c->eas->set[s - mdm_eas_settings] ? c->eas->value[s - mdm_eas_settings] : -1;
}

static const char *reason(const mdm_compiled_t *c, const char *setting, const char *channel)
{
    json_t *o = json_object_get(json_object_get(c->outcomes, setting), channel);

    return json_object_get(o, "reason") ? json_string_value(json_object_get(o, "reason")) : json_string_value(json_object_get(o, "state"));
}

static void cat03_passcode_payload_of_each_level(void **state)
{
    static const char *const wanted[] = {
        [MDM_LEVEL_LOW] = "{\"forcePIN\":true,\"minLength\":4,\"allowSimple\":true}",
        [MDM_LEVEL_MODERATE] = "{\"forcePIN\":true,\"allowSimple\":false,\"requireAlphanumeric\":true,\"minLength\":6,\"maxPINAgeInDays\":30,"
                               "\"pinHistory\":5,\"maxInactivity\":5,\"maxFailedAttempts\":10,\"maxGracePeriod\":1}",
        [MDM_LEVEL_STRICT] = "{\"forcePIN\":true,\"allowSimple\":false,\"requireAlphanumeric\":true,\"minLength\":8,\"minComplexChars\":1,"
                             "\"maxPINAgeInDays\":30,\"pinHistory\":7,\"maxInactivity\":1,\"maxFailedAttempts\":7,\"maxGracePeriod\":0}",
        [MDM_LEVEL_HIGH] = "{\"forcePIN\":true,\"allowSimple\":false,\"requireAlphanumeric\":true,\"minLength\":8,\"minComplexChars\":2,"
                           "\"maxPINAgeInDays\":30,\"pinHistory\":10,\"maxInactivity\":1,\"maxFailedAttempts\":5,\"maxGracePeriod\":0}",
    };
    int n;

    assert_null(apple(compiled(&phone, NULL, level("security", MDM_LEVEL_NONE), NULL), "security", PASSCODE));
    for (n = MDM_LEVEL_LOW; n < MDM_LEVELS; n++)
        same(apple(compiled(&phone, NULL, level("security", n), NULL), "security", PASSCODE), wanted[n]);
}

static void cat02_eas_policy_of_each_level(void **state)
{
    static const struct {
        const char *element;
        int at[MDM_LEVELS];
    } wanted[] = {
        {"DevicePasswordEnabled", {-1, 1, 1, 1, 1}}, {"AlphanumericDevicePasswordRequired", {-1, -1, 1, 1, 1}},
        {"AllowSimpleDevicePassword", {-1, 1, 0, 0, 0}}, {"MinDevicePasswordLength", {-1, 4, 6, 8, 8}},
        {"MinDevicePasswordComplexCharacters", {-1, -1, -1, 3, 4}}, {"DevicePasswordExpiration", {-1, -1, 30, 30, 30}},
        {"DevicePasswordHistory", {-1, -1, 5, 7, 10}}, {"MaxInactivityTimeDeviceLock", {-1, -1, 300, 60, 60}},
        {"MaxDevicePasswordFailedAttempts", {-1, -1, 10, 7, 5}}, {"RequireDeviceEncryption", {-1, 0, 0, 1, 1}},
        {"RequireStorageCardEncryption", {-1, 0, 0, 1, 1}}};
    unsigned i;
    int n;

    for (n = 0; n < MDM_LEVELS; n++) {
        mdm_compiled_t *c = compiled(&all_channels, NULL, level("security", n), NULL);

        for (i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
            if (eas(c, wanted[i].element) != wanted[i].at[n])
                fail_msg("%s at level %d is %d", wanted[i].element, n, (int)eas(c, wanted[i].element));
        }
    }
}

/* Each channel takes what it knows of the quality rules: iOS their sum, ActiveSync and Android the strictest. */
static void pol07_worked_example_of_quality(void **state)
{
    mdm_compiled_t *c = compiled(&all_channels, NULL,
                                 effective(parsed("{\"security.password\":true,\"security.biometric_weak\":false,\"security.simple\":true,"
                                                  "\"security.min_length\":8,\"security.numeric\":false,\"security.numeric_complex\":true,"
                                                  "\"security.alphabetic\":false,\"security.alphanumeric\":false}")),
                                 NULL);

    same(apple(c, "security", PASSCODE), "{\"forcePIN\":true,\"minLength\":8,\"allowSimple\":true}");
    assert_int_equal(eas(c, "AllowSimpleDevicePassword"), 1);
    assert_int_equal(eas(c, "AlphanumericDevicePasswordRequired"), -1);
    assert_int_equal(json_integer_value(json_object_get(c->android, "passwordQuality")), 0x30000);
    assert_string_equal(reason(c, "security.numeric_complex", "apple"), "unsupported");
    assert_string_equal(reason(c, "security.numeric_complex", "android"), "sent");
    assert_string_equal(reason(c, "security.alphabetic", "apple"), "nothing");
}

static void pol07_stricter_of_both_channels_on_both(void **state)
{
    json_t *control = effective(parsed("{\"apple.camera\":true,\"eas.camera\":false,\"apple.safari\":false,\"eas.browser\":true}"));
    mdm_compiled_t *c = compiled(&all_channels, control, NULL, NULL);

    same(apple(c, "device_control", RESTRICTIONS), "{\"allowCamera\":false,\"allowSafari\":false}");
    assert_int_equal(eas(c, "AllowCamera"), 0);
    assert_int_equal(eas(c, "AllowBrowser"), 0);
    /* what only the other channel says holds here as well */
    c = compiled(&all_channels, effective(parsed("{\"eas.camera\":false}")), NULL, NULL);
    same(apple(c, "device_control", RESTRICTIONS), "{\"allowCamera\":false}");
    /* but not what is for a channel that the device does not have */
    c = compiled(&phone, control, NULL, NULL);
    same(apple(c, "device_control", RESTRICTIONS), "{\"allowCamera\":true,\"allowSafari\":false}");
    assert_null(c->eas);
    assert_null(c->android);
}

static void cat01_what_the_device_does_not_obey_is_not_sent(void **state)
{
    json_t *control = effective(parsed("{\"apple.camera\":true,\"apple.facetime\":false,\"apple.siri\":false,\"apple.siri_locked\":true,"
                                       "\"apple.safari_cookies\":\"visited_sites\",\"apple.airplay_incoming\":true,"
                                       "\"apple.rating_movies\":\"us.pg\"}"));
    mdm_compile_facts_t facts = phone;
    mdm_compiled_t *c = compiled(&facts, control, NULL, NULL);
    json_t *keys = apple(c, "device_control", RESTRICTIONS);

    assert_true(json_is_real(json_object_get(keys, "safariAcceptCookies")));
    assert_true(json_real_value(json_object_get(keys, "safariAcceptCookies")) == 1.5);
    assert_int_equal(json_integer_value(json_object_get(keys, "ratingMovies")), 200);
    assert_null(json_object_get(keys, "allowAssistantWhileLocked"));
    assert_string_equal(reason(c, "apple.siri_locked", "apple"), "parent");
    assert_string_equal(reason(c, "apple.airplay_incoming", "apple"), "unsupported");

    facts.supervised = 0;
    c = compiled(&facts, control, NULL, NULL);
    assert_string_equal(reason(c, "apple.facetime", "apple"), "supervision");
    facts.os_version = "12.4";
    c = compiled(&facts, control, NULL, NULL);
    assert_string_equal(reason(c, "apple.facetime", "apple"), "sent"); /* supervision is asked for since 13 */
    facts.os_version = "3.0";
    assert_string_equal(reason(compiled(&facts, control, NULL, NULL), "apple.camera", "apple"), "os_too_old");
    facts = phone;
    facts.user_enrolled = 1;
    c = compiled(&facts, control, NULL, NULL);
    assert_string_equal(reason(c, "apple.camera", "apple"), "user_enrollment");
    assert_string_equal(reason(c, "apple.siri", "apple"), "sent");
    facts = phone;
    facts.shared_ipad = 1;
    c = compiled(&facts, NULL, level("security", MDM_LEVEL_HIGH), NULL);
    assert_null(json_object_get(c->apple, "security"));
    assert_string_equal(reason(c, "security.password", "apple"), "shared_ipad");
    c = compiled(&facts, NULL, NULL, effective(parsed("{\"email.days\":\"day7\"}")));
    assert_null(json_object_get(c->apple, "email"));
    assert_string_equal(reason(c, "email.days", "apple"), "shared_ipad");
}

/* POL-04: what Safari must do loses its meaning with Safari, but only where the device obeys that there is none. */
static void pol04_a_parent_that_is_not_obeyed_takes_nothing_away(void **state)
{
    json_t *control = effective(parsed("{\"apple.safari\":false,\"apple.safari_fraud_warning\":true,\"apple.safari_cookies\":\"none\"}"));
    mdm_compile_facts_t facts = phone;
    mdm_compiled_t *c = compiled(&facts, control, NULL, NULL);

    same(apple(c, "device_control", RESTRICTIONS), "{\"allowSafari\":false}");
    assert_string_equal(reason(c, "apple.safari_fraud_warning", "apple"), "parent");
    facts.supervised = 0;
    c = compiled(&facts, control, NULL, NULL);
    assert_string_equal(reason(c, "apple.safari", "apple"), "supervision");
    same(apple(c, "device_control", RESTRICTIONS), "{\"safariForceFraudWarning\":true,\"safariAcceptCookies\":0.0}");
}

static void eml01_account(void **state)
{
    json_t *email = effective(parsed("{\"email.account_name\":\"Work\",\"email.days\":\"day14\",\"email.allow_move\":false,"
                                     "\"email.recents\":true,\"email.third_party\":false}"));
    mdm_compile_in_t in = {NULL, NULL, email, NULL};
    mdm_compiled_t *c = compiled(&phone, NULL, NULL, email);

    same(apple(c, "email", "com.apple.eas.account"),
         "{\"Host\":\"mail.example.org\",\"SSL\":true,\"UserName\":\"ann\",\"EmailAddress\":\"ann@example.org\",\"PayloadDisplayName\":\"Work\","
         "\"MailNumberOfPastDaysToSync\":14,\"PreventMove\":true,\"disableMailRecentsSyncing\":false,\"PreventAppSheet\":true}");
    /* a policy without a single value is an account still */
    c = compiled(&phone, NULL, NULL, effective(parsed("{}")));
    assert_int_equal(json_object_size(apple(c, "email", "com.apple.eas.account")), 4);
    assert_int_equal(mdm_compile(ctx, &phone, &in, &c), APR_SUCCESS);
    assert_null(json_object_get(c->apple, "email"));
    assert_string_equal(reason(c, "email.days", "apple"), "no_account");
}

/* Every setting with every preset and every choice on each kind of device: something sensible comes out, or a reason. */
static void cat01_every_setting_on_every_platform(void **state)
{
    static const mdm_compile_facts_t kinds[] = {
        {.channels = 7, .os_version = "27.1", .supervised = 1}, {.channels = 7, .os_version = "", .supervised = -1},
        {.channels = MDM_CH_APPLE, .os_version = "15.0", .supervised = 0, .user_enrolled = 1},
        {.channels = MDM_CH_APPLE, .os_version = "17.0", .supervised = 1, .shared_ipad = 1},
        {.channels = MDM_CH_EAS, .os_version = ""}, {.channels = MDM_CH_AGENT, .os_version = "14"}};
    const mdm_setting_t *s;
    unsigned k;
    int n;

    for (s = mdm_settings; s->id; s++) {
        for (n = MDM_LEVEL_LOW; n < MDM_LEVELS; n++) {
            json_t *v = mdm_json_own(ctx, json_loads(s->levels[n], JSON_DECODE_ANY, NULL)), *one = mdm_json_own(ctx, json_object());

            json_object_set(one, s->id, v);
            for (k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
                mdm_compiled_t *c = compiled(&kinds[k], effective(one), NULL, NULL);
                json_t *out = json_object_get(c->outcomes, s->id), *o;
                const char *channel;

                if (json_is_null(v))
                    assert_null(out);
                json_object_foreach(out, channel, o) {
                    const char *why = json_string_value(json_object_get(o, "why"));

                    assert_true(strcmp(reason(c, s->id, channel), "sent") == 0 || (why && *why));
                }
            }
        }
    }
}

/* ---- property: a stricter input never gives a weaker result */

static unsigned seed = 20261121;

static unsigned roll(unsigned n)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % n;
}

static json_t *any_value(const mdm_setting_t *s)
{
    unsigned n = 0;

    switch (s->kind) {
    case MDM_SET_BOOL: return json_boolean(roll(2));
    case MDM_SET_INT: return json_integer(s->min + roll((unsigned)(s->max - s->min + 1)));
    case MDM_SET_CHOICE:
        while (s->choices[n].id)
            n++;
        return json_string(s->choices[roll(n)].id);
    default: return json_string("x");
    }
}

static mdm_strict_e rule_of(const char *channel, const char *key)
{
    const mdm_setting_t *s;
    const mdm_carrier_t *k;

    for (s = mdm_settings; s->id; s++) {
        for (k = s->carriers; k && k->channel; k++) {
            if (strcmp(k->channel, channel) == 0 && strcmp(k->key, key) == 0)
                return k->strict;
        }
    }
    return MDM_STRICT_NONE;
}

static double number(const json_t *v)
{
    return json_is_boolean(v) ? json_is_true(v) : json_number_value(v);
}

/* What says nothing where the device has been told that there is no such thing at all. */
static int is_moot(const char *key, json_t *after)
{
    static const struct {
        const char *begins, *of;
    } all[] = {{"safari", "allowSafari"}, {"allowAssistantWhileLocked", "allowAssistant"}, {"allowVideoConferencing", "allowCamera"}};
    size_t i;

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strncmp(key, all[i].begins, strlen(all[i].begins)) == 0 && json_is_false(json_object_get(after, all[i].of)))
            return 1;
    }
    return 0;
}

static void not_weaker(const char *channel, json_t *before, json_t *after)
{
    const char *key;
    json_t *v;

    json_object_foreach(before, key, v) {
        json_t *now = json_object_get(after, key);

        if (!now && is_moot(key, after))
            continue;
        if (!now || mdm_strict_compare(rule_of(channel, key), number(now), number(v)) < 0)
            fail_msg("%s %s was %s and is %s", channel, key, json_dumps(v, JSON_ENCODE_ANY), now ? json_dumps(now, JSON_ENCODE_ANY) : "gone");
    }
}

static void pol07_stricter_input_never_gives_a_weaker_result(void **state)
{
    int round;

    for (round = 0; round < 300; round++) {
        apr_pool_t *keep = ctx->pool, *p;
        json_t *values, *v;
        mdm_compiled_t *before, *after;
        const mdm_setting_t *s, *one = NULL;

        apr_pool_create(&p, keep);
        ctx->pool = p;
        values = mdm_json_own(ctx, json_object());
        for (s = mdm_settings; s->id; s++) {
            if (strcmp(s->type, "email") == 0 || roll(3) == 0)
                continue;
            json_object_set_new(values, s->id, any_value(s));
            if (s->strict != MDM_STRICT_NONE && (!one || roll(12) == 0))
                one = s;
        }
        before = compiled(&all_channels, effective(values), NULL, NULL);
        v = any_value(one);
        if (mdm_setting_stricter(one, json_object_get(values, one->id), v) == v)
            json_object_set(values, one->id, v);
        json_decref(v);
        after = compiled(&all_channels, effective(values), NULL, NULL);
        not_weaker("apple", json_object_get(json_object_get(before->apple, "device_control"), RESTRICTIONS),
                   json_object_get(json_object_get(after->apple, "device_control"), RESTRICTIONS));
        not_weaker("apple", json_object_get(json_object_get(before->apple, "security"), PASSCODE),
                   json_object_get(json_object_get(after->apple, "security"), PASSCODE));
        not_weaker("android", before->android, after->android);
        ctx->pool = keep;
        apr_pool_destroy(p);
    }
}

/* ---- the same through the resolver */

#define POLICIES 5

static const char *const mine[] = {"person:p", "user_group:g", "user_source:s", NULL};
static const char *const its[] = {"device:d", "device_group:h", "folder:root", NULL};
static const char *const rules[] = {"user_first", "device_first", "device_only", "user_only"};

/* A policy of that type with some settings, both columns; somewhere on the way to the device, or to another one. */
static mdm_policy_assignment_t any_assignment(int n, const char *type)
{
    static const char *const where[] = {"person:p", "user_group:g", "user_source:s", "device:d", "device_group:h", "folder:root", "folder:other"};
    mdm_policy_assignment_t a = {.id = apr_itoa(ctx->pool, n), .policy_id = apr_psprintf(ctx->pool, "policy%d", n), .type = type, .number = 1,
                                 .target = where[roll(7)], .conflict = rules[roll(4)], .position = n,
                                 .settings = mdm_json_own(ctx, json_object())};
    const mdm_setting_t *s;

    for (s = mdm_settings; s->id; s++) {
        json_t *row;

        if (strcmp(s->type, type) != 0 || roll(2) == 0)
            continue;
        row = json_object();
        json_object_set_new(row, "corporate", roll(4) == 0 ? json_string("inherit") : roll(8) == 0 ? json_null() : any_value(s));
        json_object_set_new(row, "personal", any_value(s));
        json_object_set_new(a.settings, s->id, row);
    }
    return a;
}

static mdm_compiled_t *resolved(const mdm_policy_assignment_t *l, int n, int supervised)
{
    static const mdm_policy_subject_t who = {mine, its, "corporate"};
    mdm_compile_facts_t facts = all_channels;
    mdm_policy_effective_t *control, *security;

    facts.supervised = supervised;
    assert_int_equal(mdm_policy_resolve(ctx, &who, "device_control", l, n, &control), APR_SUCCESS);
    assert_int_equal(mdm_policy_resolve(ctx, &who, "security", l, n, &security), APR_SUCCESS);
    return compiled(&facts, control->settings, security->settings, NULL);
}

/* Makes one value of one policy stricter, as it would be edited; "inherit" and "not set" say who decides and have no strictness. */
static int make_stricter(mdm_policy_assignment_t *a)
{
    const mdm_setting_t *s = &mdm_settings[roll((unsigned)mdm_settings_count)];
    json_t *row = json_object_get(a->settings, s->id), *old = json_object_get(row, "corporate"), *v = any_value(s);
    int does = old && !json_is_null(old) && mdm_setting_value_ok(s, old) && s->strict != MDM_STRICT_NONE
               && !(json_is_string(old) && strcmp(json_string_value(old), "inherit") == 0) && mdm_setting_stricter(s, old, v) == v;

    if (does)
        json_object_set(row, "corporate", v);
    json_decref(v);
    return does;
}

static void pol06_a_stricter_policy_never_gives_a_weaker_device(void **state)
{
    int round, changed = 0, felt = 0;

    for (round = 0; round < 300; round++) {
        apr_pool_t *keep = ctx->pool, *p;
        mdm_policy_assignment_t l[POLICIES];
        mdm_compiled_t *before, *after;
        int i, k;

        apr_pool_create(&p, keep);
        ctx->pool = p;
        for (i = 0; i < POLICIES; i++)
            l[i] = any_assignment(i, i & 1 ? "security" : "device_control");
        before = resolved(l, POLICIES, round & 1);
        for (i = 0, k = 0; i < 40; i++)
            k += make_stricter(&l[roll(POLICIES)]);
        after = resolved(l, POLICIES, round & 1);
        changed += k > 0;
        felt += !json_equal(before->apple, after->apple);
        not_weaker("apple", json_object_get(json_object_get(before->apple, "device_control"), RESTRICTIONS),
                   json_object_get(json_object_get(after->apple, "device_control"), RESTRICTIONS));
        not_weaker("apple", json_object_get(json_object_get(before->apple, "security"), PASSCODE),
                   json_object_get(json_object_get(after->apple, "security"), PASSCODE));
        not_weaker("android", before->android, after->android);
        for (i = 0; i < MDM_EAS_SETTING_COUNT; i++)
            assert_true(!before->eas->set[i] || after->eas->set[i]);
        ctx->pool = keep;
        apr_pool_destroy(p);
    }
    assert_true(changed > 200);
    assert_true(felt > 100); /* else nothing was shown */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cat03_passcode_payload_of_each_level), cmocka_unit_test(cat02_eas_policy_of_each_level),
        cmocka_unit_test(pol07_worked_example_of_quality), cmocka_unit_test(pol07_stricter_of_both_channels_on_both),
        cmocka_unit_test(cat01_what_the_device_does_not_obey_is_not_sent),
        cmocka_unit_test(pol04_a_parent_that_is_not_obeyed_takes_nothing_away), cmocka_unit_test(eml01_account),
        cmocka_unit_test(cat01_every_setting_on_every_platform), cmocka_unit_test(pol07_stricter_input_never_gives_a_weaker_result),
        cmocka_unit_test(pol06_a_stricter_policy_never_gives_a_weaker_device)};

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
