/* Enrolment policies: which one applies to a person, what it allows, how its rules name and place devices (ENR-01..08). */
#include "domain/mdm_enroll.h"

#include <stdlib.h>
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "mdm_sql_gen.h"

#define RULES_MAX 100

const char *const mdm_enroll_vars[MDM_ENROLL_VARS] = {"user.login",    "user.name",       "user.mail", "device.model",
                                                      "device.serial", "device.platform", "seq"};

static const char *const ownerships[] = {"choose", "corporate", "personal", NULL};
static const char *const levels[] = {"choose", "managed", "email_only", NULL};
static const char *const leave_modes[] = {"retire", "delete", "no", NULL};
static const char *const again_modes[] = {"unretire", "self", "new", NULL};

/* ---------------------------------------------------------------- templates */

/* Length of the variable's name behind "${", or 0 if it is not closed. */
static apr_size_t var_len(const char *s)
{
    const char *end = strchr(s, '}');

    return end ? (apr_size_t)(end - s) : 0;
}

static int var_find(const char *s, apr_size_t len)
{
    int i;

    for (i = 0; i < MDM_ENROLL_VARS; ++i) {
        if (strlen(mdm_enroll_vars[i]) == len && !strncmp(mdm_enroll_vars[i], s, len)) {
            return i;
        }
    }
    return -1;
}

char *mdm_enroll_expand(apr_pool_t *p, const char *pattern, const char *const values[MDM_ENROLL_VARS])
{
    char *out = apr_pstrdup(p, "");
    const char *var;

    while ((var = strstr(pattern, "${"))) {
        apr_size_t len = var_len(var + 2);
        int i = len ? var_find(var + 2, len) : -1;

        out = apr_pstrcat(p, out, apr_pstrmemdup(p, pattern, (apr_size_t)(var - pattern)),
                          i >= 0 ? (values[i] ? values[i] : "") : "${", NULL);
        pattern = i >= 0 ? var + 2 + len + 1 : var + 2;
    }
    return apr_pstrcat(p, out, pattern, NULL);
}

apr_status_t mdm_enroll_template_check(mdm_ctx_t *ctx, const char *pattern)
{
    const char *var = pattern;

    while ((var = strstr(var, "${"))) {
        apr_size_t len = var_len(var += 2);

        if (!len || var_find(var, len) < 0) {
            return mdm_fail(ctx, MDM_EINPUT, "name", "uses the unknown variable ${%s}",
                            mdm_clean(ctx->pool, apr_pstrmemdup(ctx->pool, var, len), 40));
        }
    }
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- checking settings */

/* Puts a place before the field that a refusal named. */
static apr_status_t under(mdm_ctx_t *ctx, apr_status_t rv, const char *place)
{
    if (rv == MDM_EINPUT) {
        ctx->fail_field = apr_pstrcat(ctx->pool, place, ".", ctx->fail_field, NULL);
    }
    return rv;
}

/* Digits and dots, as mdm_version_at_least() reads them. */
static apr_status_t version_check(mdm_ctx_t *ctx, const char *field, const char *text)
{
    apr_size_t i, len = text ? strlen(text) : 0;

    for (i = 0; i < len && (apr_isdigit(text[i]) || (text[i] == '.' && i && i + 1 < len && text[i - 1] != '.')); ++i) {
    }
    return text && (!len || len > 20 || i < len) ? mdm_fail(ctx, MDM_EINPUT, field, "must be a version like 17 or 16.4.1") : APR_SUCCESS;
}

static apr_status_t words_check(mdm_ctx_t *ctx, const char *field, json_t *value)
{
    size_t i;
    json_t *item;

    if (json_is_string(value)) {
        return APR_SUCCESS;
    }
    if (!json_is_array(value) || json_array_size(value) > 50) {
        return mdm_fail(ctx, MDM_EINPUT, field, "must be a word or a short list of words");
    }
    json_array_foreach(value, i, item) {
        if (!json_is_string(item)) {
            return mdm_fail(ctx, MDM_EINPUT, field, "must hold words only");
        }
    }
    return APR_SUCCESS;
}

static apr_status_t match_check(mdm_ctx_t *ctx, json_t *match)
{
    static const char *const keys[] = {"platform", "ownership",  "level",       "model",
                                       "os_min",   "user_group", "user_folder", NULL};
    const char *key;
    json_t *value;
    int i;

    json_object_foreach(match, key, value) {
        for (i = 0; keys[i] && strcmp(keys[i], key) != 0; ++i) {
        }
        if (!keys[i]) {
            return mdm_fail(ctx, MDM_EINPUT, mdm_clean(ctx->pool, key, 60), "is not a known criterion");
        }
        if (words_check(ctx, keys[i], value) != APR_SUCCESS) {
            return MDM_EINPUT;
        }
        if (!strcmp(key, "os_min") && (!json_is_string(value) || version_check(ctx, key, json_string_value(value)) != APR_SUCCESS)) {
            return mdm_fail(ctx, MDM_EINPUT, key, "must be a version like 17 or 16.4.1");
        }
    }
    return APR_SUCCESS;
}

/* saving: unknown variables are refused; in use they stay as they are. */
static apr_status_t rule_check(mdm_ctx_t *ctx, json_t *rule, int saving)
{
    json_t *match = NULL;
    const char *folder, *name = "";
    const mdm_jfield_t fields[] = {{.name = "match", .type = MDM_JF_OBJECT, .out = &match},
                                   {.name = "folder", .type = MDM_JF_UUID, .required = 1, .out = &folder},
                                   {.name = "name", .type = MDM_JF_STR, .required = 1, .min = 1, .max = 200, .out = &name},
                                   {.name = NULL}};
    apr_status_t rv = json_is_object(rule) ? mdm_json_fields(ctx, rule, fields) : mdm_fail(ctx, MDM_EINPUT, "match", "is missing");

    if (rv == APR_SUCCESS && saving && match) {
        rv = under(ctx, match_check(ctx, match), "match");
    }
    return rv == APR_SUCCESS && saving ? mdm_enroll_template_check(ctx, name) : rv;
}

static apr_status_t rules_check(mdm_ctx_t *ctx, json_t *rules, int saving)
{
    size_t i;
    json_t *rule;

    json_array_foreach(rules, i, rule) {
        apr_status_t rv = under(ctx, rule_check(ctx, rule, saving), apr_psprintf(ctx->pool, "rules.%u", (unsigned)i));

        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t versions_check(mdm_ctx_t *ctx, const mdm_enroll_policy_t *policy)
{
    apr_status_t rv = version_check(ctx, "ios", policy->min_ios);

    if (rv == APR_SUCCESS) {
        rv = version_check(ctx, "android", policy->min_android);
    }
    return rv == APR_SUCCESS ? version_check(ctx, "eas", policy->min_eas) : rv;
}

/* Reads settings into out; what is missing has the defaults of ENR-02..08. */
static apr_status_t settings_read(mdm_ctx_t *ctx, json_t *settings, int saving, mdm_enroll_policy_t *out)
{
    json_t *platforms = NULL, *min_os = NULL, *unenroll = NULL, *rules = NULL;
    apr_int64_t max_devices = 0;
    const mdm_jfield_t fields[] = {
        {.name = "ownership", .type = MDM_JF_ENUM, .choices = ownerships, .out = &out->ownership},
        {.name = "level", .type = MDM_JF_ENUM, .choices = levels, .out = &out->level},
        {.name = "platforms", .type = MDM_JF_OBJECT, .out = &platforms},
        {.name = "min_os", .type = MDM_JF_OBJECT, .out = &min_os},
        {.name = "max_devices", .type = MDM_JF_INT, .min = 0, .max = 10000, .out = &max_devices},
        {.name = "unenroll", .type = MDM_JF_OBJECT, .out = &unenroll},
        {.name = "reenroll", .type = MDM_JF_ENUM, .choices = again_modes, .out = &out->reenroll},
        {.name = "manual_reconcile", .type = MDM_JF_BOOL, .out = &out->manual_reconcile},
        {.name = "rules", .type = MDM_JF_ARRAY, .min = 0, .max = RULES_MAX, .out = &rules},
        {.name = NULL}};
    const mdm_jfield_t pfields[] = {{.name = "ios", .type = MDM_JF_BOOL, .out = &out->ios},
                                    {.name = "android", .type = MDM_JF_BOOL, .out = &out->android},
                                    {.name = "eas", .type = MDM_JF_BOOL, .out = &out->eas},
                                    {.name = NULL}};
    const mdm_jfield_t mfields[] = {{.name = "ios", .type = MDM_JF_STR, .min = 1, .max = 20, .out = &out->min_ios},
                                    {.name = "android", .type = MDM_JF_STR, .min = 1, .max = 20, .out = &out->min_android},
                                    {.name = "eas", .type = MDM_JF_STR, .min = 1, .max = 20, .out = &out->min_eas},
                                    {.name = NULL}};
    const mdm_jfield_t ufields[] = {
        {.name = "corporate", .type = MDM_JF_ENUM, .choices = leave_modes, .out = &out->unenroll_corporate},
        {.name = "personal", .type = MDM_JF_ENUM, .choices = leave_modes, .out = &out->unenroll_personal},
        {.name = NULL}};
    apr_status_t rv;

    out->ownership = out->level = "choose";
    out->ios = out->android = out->eas = 1;
    out->min_ios = "8.0";
    out->min_android = "4.1";
    out->min_eas = "12.1";
    out->unenroll_corporate = "retire";
    out->unenroll_personal = "delete";
    out->reenroll = "unretire";
    if ((rv = mdm_json_fields(ctx, settings, fields)) != APR_SUCCESS
        || (platforms && (rv = under(ctx, mdm_json_fields(ctx, platforms, pfields), "platforms")) != APR_SUCCESS)
        || (min_os && (rv = under(ctx, mdm_json_fields(ctx, min_os, mfields), "min_os")) != APR_SUCCESS)
        || (saving && (rv = under(ctx, versions_check(ctx, out), "min_os")) != APR_SUCCESS)
        || (unenroll && (rv = under(ctx, mdm_json_fields(ctx, unenroll, ufields), "unenroll")) != APR_SUCCESS)
        || (rules && (rv = rules_check(ctx, rules, saving)) != APR_SUCCESS)) {
        return rv;
    }
    out->max_devices = (int)max_devices;
    out->rules = rules;
    return APR_SUCCESS;
}

apr_status_t mdm_enroll_policy_check(mdm_ctx_t *ctx, json_t *settings)
{
    mdm_enroll_policy_t scratch = {0};

    return under(ctx, settings_read(ctx, settings, 1, &scratch), "settings");
}

/* kind: of the targets of assignments. value: an id or a list of them. */
static apr_status_t there(mdm_db_t *db, const char *kind, json_t *value, const char *field)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_assignment_target_name_t *q;
    apr_size_t i, n = json_is_array(value) ? json_array_size(value) : value != NULL;
    apr_status_t rv = APR_SUCCESS;

    for (i = 0; rv == APR_SUCCESS && i < n; ++i) {
        const char *id = json_string_value(json_is_array(value) ? json_array_get(value, i) : value);

        rv = id && mdm_is_uuid(id) ? mdm_q_assignment_target_name(db, kind, id, &q) : APR_NOTFOUND;
        if (rv == APR_NOTFOUND) {
            rv = mdm_fail(ctx, MDM_EINPUT, field, "is not there");
        }
    }
    return rv;
}

apr_status_t mdm_enroll_policy_there(mdm_db_t *db, json_t *settings)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    size_t i;
    json_t *rule;

    json_array_foreach(json_object_get(settings, "rules"), i, rule) {
        json_t *match = json_object_get(rule, "match");
        apr_status_t rv = there(db, "folder", json_object_get(rule, "folder"), "folder");

        if (rv == APR_SUCCESS) {
            rv = there(db, "user_group", json_object_get(match, "user_group"), "match.user_group");
        }
        if (rv == APR_SUCCESS) {
            rv = there(db, "user_folder", json_object_get(match, "user_folder"), "match.user_folder");
        }
        if (rv != APR_SUCCESS) {
            return under(ctx, rv, apr_psprintf(ctx->pool, "settings.rules.%u", (unsigned)i));
        }
    }
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- the policy of a person */

apr_status_t mdm_enroll_policy(mdm_db_t *db, const mdm_person_t *person, mdm_enroll_policy_t **out)
{
    mdm_policy_reason_t from;

    return mdm_enroll_policy_why(db, person, out, &from);
}

static apr_status_t policy_read(mdm_ctx_t *ctx, const char *id, const char *name, const char *text, mdm_enroll_policy_t **out)
{
    mdm_enroll_policy_t *policy = apr_pcalloc(ctx->pool, sizeof(*policy));
    json_t *settings;
    apr_status_t rv = mdm_json_parse(ctx, text, strlen(text), &settings);

    policy->policy_id = id;
    policy->policy_name = name;
    if (rv == APR_SUCCESS) {
        rv = settings_read(ctx, settings, 0, policy);
    }
    if (rv != APR_SUCCESS) {
        mdm_log(ctx, MDM_LOG_ERR, "MDM0600", rv, "enrolment policy %s can't be read: %s %s", id, ctx->fail_field ? ctx->fail_field : "",
                ctx->fail_text ? ctx->fail_text : "");
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "The enrolment policy is damaged. Tell your IT support.");
    }
    *out = policy;
    return APR_SUCCESS;
}

apr_status_t mdm_enroll_policy_why(mdm_db_t *db, const mdm_person_t *person, mdm_enroll_policy_t **out, mdm_policy_reason_t *from)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_enroll_policy_effective_t *row;
    apr_status_t rv = mdm_q_enroll_policy_effective(db, person->id, &row);

    *out = NULL;
    if (rv == APR_NOTFOUND) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "You may not enrol a device yet. Ask your IT support.");
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    *from = (mdm_policy_reason_t){row->target_kind, row->target_id, row->target_name ? row->target_name : ""};
    return policy_read(ctx, row->policy_id, row->policy_name, row->settings, out);
}

apr_status_t mdm_enroll_policies(mdm_db_t *db, json_t *ids, apr_hash_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_hash_t *read = apr_hash_make(ctx->pool);
    apr_array_header_t *rows;
    int i;
    apr_status_t rv = mdm_q_enroll_policies_effective(db, mdm_json_text(ctx->pool, ids), &rows);

    *out = apr_hash_make(ctx->pool);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; ++i) {
        const mdm_q_enroll_policies_effective_t *row = &APR_ARRAY_IDX(rows, i, mdm_q_enroll_policies_effective_t);
        mdm_enroll_policy_t *policy = apr_hash_get(read, row->policy_id, APR_HASH_KEY_STRING);

        if (policy || policy_read(ctx, row->policy_id, row->policy_name, row->settings, &policy) == APR_SUCCESS) {
            apr_hash_set(read, row->policy_id, APR_HASH_KEY_STRING, policy);
            apr_hash_set(*out, row->person_id, APR_HASH_KEY_STRING, policy);
        }
    }
    return rv;
}

apr_status_t mdm_enroll_allowed(mdm_ctx_t *ctx, const mdm_enroll_policy_t *policy, const char *platform,
                                const char *ownership, const char *level)
{
    int email = !strcmp(level, "email_only");
    int may = email ? policy->eas : (!strcmp(platform, "ios") && policy->ios) || (!strcmp(platform, "android") && policy->android);

    if (!may) {
        return mdm_fail(ctx, MDM_EDENIED, "platform", "Your organisation does not allow this kind of device.");
    }
    if (strcmp(policy->level, "choose") != 0 && strcmp(policy->level, level) != 0) {
        return mdm_fail(ctx, MDM_EDENIED, "level", "Your organisation does not allow this kind of enrolment.");
    }
    if ((strcmp(ownership, "corporate") != 0 && strcmp(ownership, "personal") != 0)
        || (strcmp(policy->ownership, "choose") != 0 && strcmp(policy->ownership, ownership) != 0)) {
        return mdm_fail(ctx, MDM_EDENIED, "ownership", "Your organisation has fixed who owns enrolled devices.");
    }
    return APR_SUCCESS;
}

apr_status_t mdm_enroll_system(mdm_ctx_t *ctx, const mdm_enroll_policy_t *policy, const char *platform, const char *os_version)
{
    const char *least = !strcmp(platform, "ios") ? policy->min_ios : !strcmp(platform, "android") ? policy->min_android : NULL;

    return least && os_version && !mdm_version_at_least(os_version, least)
               ? mdm_fail(ctx, MDM_EDENIED, "OSVersion", "This device needs at least version %s of its system.", least) : APR_SUCCESS;
}

const char *mdm_enroll_unenroll_mode(const mdm_enroll_policy_t *policy, const char *ownership)
{
    return !strcmp(ownership, "corporate") ? policy->unenroll_corporate : policy->unenroll_personal;
}

#define SETTINGS(reenroll)                                                                                                     \
    "{\"ownership\":\"choose\",\"level\":\"choose\",\"platforms\":{\"ios\":true,\"android\":true,\"eas\":true},"                   \
    "\"min_os\":{\"ios\":\"8.0\",\"android\":\"4.1\",\"eas\":\"12.1\"},\"max_devices\":0,"                                           \
    "\"unenroll\":{\"corporate\":\"retire\",\"personal\":\"delete\"},\"reenroll\":\"" reenroll "\",\"manual_reconcile\":false,"    \
    "\"rules\":[{\"match\":{},\"folder\":\"00000000-0000-4000-8000-000000000001\",\"name\":\"${device.model} ${user.name}\"}]}"

apr_status_t mdm_enroll_policy_default(mdm_ctx_t *ctx, json_t **out)
{
    static const char settings[] = SETTINGS("unretire");

    return mdm_json_parse(ctx, settings, sizeof(settings) - 1, out);
}

apr_status_t mdm_enroll_policy_create_demo(mdm_db_t *db, const char *source_id)
{
    static const char settings[] = SETTINGS("self");
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *id = mdm_uuid(ctx->pool), *assignment = mdm_uuid(ctx->pool);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_q_enroll_policy_by_name_t *row;
    apr_status_t rv;

    if (!id || !assignment) {
        return MDM_EUNAVAIL;
    }
    if ((rv = mdm_q_enroll_policy_add(db, id, "Everyone", "Everybody may enrol iPhones, iPads and mail apps.", now, NULL)) != APR_SUCCESS
        || (rv = mdm_q_enroll_policy_by_name(db, "Everyone", &row)) != APR_SUCCESS
        || (rv = mdm_q_enroll_policy_version_add(db, row->id, settings, now, NULL)) != APR_SUCCESS) {
        return rv;
    }
    return mdm_q_enroll_policy_assign(db, assignment, row->id, "user_source", source_id, now, NULL);
}
