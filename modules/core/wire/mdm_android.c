#include "wire/mdm_android.h"

#include <stdlib.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_uri.h>

#include "base/mdm_json.h"

#define EXTRAS_MAX 20
#define EXTRA_NAME_MAX 100
#define EXTRA_VALUE_MAX 400

const char *const mdm_android_vars[MDM_ANDROID_VARS] = {"server.url", "enrol.link", "enrol.token", "enrol.otp"};

/* ---------------------------------------------------------------- small judges */

static int all_of(const char *s, const char *others)
{
    for (; *s; s++) {
        if (!apr_isalnum(*s) && !strchr(others, *s))
            return 0;
    }
    return 1;
}

static int printable(const char *s)
{
    for (; *s; s++) {
        if (*s < 0x21 || *s > 0x7e)
            return 0;
    }
    return 1;
}

static int is_hex(const char *s)
{
    return strspn(s, "0123456789abcdefABCDEF") == strlen(s);
}

/* "package/.Class" or "package/whole.Class" */
static int is_component(const char *s)
{
    const char *slash = strchr(s, '/');

    return apr_isalpha(*s) && slash && slash[1] && !strchr(slash + 1, '/') && strchr(s, '.') && all_of(s, "._$/");
}

static int is_https(apr_pool_t *p, const char *s)
{
    apr_uri_t uri;

    return strncmp(s, "https://", 8) == 0 && printable(s) && apr_uri_parse(p, s, &uri) == APR_SUCCESS && uri.hostname && *uri.hostname;
}

/* "de", "de_DE" */
static int is_locale(const char *s)
{
    apr_size_t lang = strspn(s, "abcdefghijklmnopqrstuvwxyz"), region = 0;

    if (s[lang] == '_')
        region = 1 + strspn(s + lang + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return lang >= 2 && lang <= 3 && (region == 0 || region == 3) && !s[lang + region];
}

/* SHA-256 as people have it; NULL: it is none. */
static const char *sha256_of(mdm_ctx_t *ctx, const char *text)
{
    char *s = apr_pstrdup(ctx->pool, text), *o = s;
    mdm_blob_t bytes;
    const char *in;

    for (in = text; *in; in++) {
        if (*in != ':' && *in != ' ' && *in != '=')
            *o++ = *in == '+' ? '-' : *in == '/' ? '_' : *in;
    }
    *o = '\0';
    if ((is_hex(s) ? mdm_unhex(ctx->pool, s, &bytes) : mdm_unb64url(ctx->pool, s, &bytes)) != APR_SUCCESS || bytes.len != 32)
        return NULL;
    return mdm_b64url(ctx->pool, bytes.data, bytes.len);
}

/* ---------------------------------------------------------------- extras */

/* Which variable begins at s, which is at "${": its number and length; -1: none that there is. */
static int var_at(const char *s, apr_size_t *len)
{
    const char *end = strchr(s, '}');
    int i;

    for (i = 0; end && i < MDM_ANDROID_VARS; i++) {
        *len = (apr_size_t)(end - s) + 1;
        if (strlen(mdm_android_vars[i]) + 3 == *len && strncmp(s + 2, mdm_android_vars[i], *len - 3) == 0)
            return i;
    }
    return -1;
}

/* NULL: it uses a variable that there is not, or that has no value. */
static const char *expanded(apr_pool_t *p, const char *text, const char *const values[MDM_ANDROID_VARS])
{
    const char *out = "", *at;
    apr_size_t len = 0;

    while ((at = strstr(text, "${"))) {
        int i = var_at(at, &len);

        if (i < 0 || !values[i])
            return NULL;
        out = apr_pstrcat(p, out, apr_pstrmemdup(p, text, (apr_size_t)(at - text)), values[i], NULL);
        text = at + len;
    }
    return apr_pstrcat(p, out, text, NULL);
}

static apr_status_t extras_ok(mdm_ctx_t *ctx, json_t *extras)
{
    static const char *const any[MDM_ANDROID_VARS] = {"", "", "", ""};
    const char *name;
    json_t *value;

    if (json_object_size(extras) > EXTRAS_MAX)
        return mdm_fail(ctx, MDM_EINPUT, "extras", "may have %d entries", EXTRAS_MAX);
    json_object_foreach(extras, name, value) {
        const char *text = json_string_value(value);

        if (!*name || strlen(name) > EXTRA_NAME_MAX || !all_of(name, "._-"))
            return mdm_fail(ctx, MDM_EINPUT, "extras", "names have letters, digits and ._- and at most %d characters", EXTRA_NAME_MAX);
        if (!text || json_string_length(value) > EXTRA_VALUE_MAX || strlen(text) != json_string_length(value))
            return mdm_fail(ctx, MDM_EINPUT, "extras", "%s must be a text of at most %d bytes", name, EXTRA_VALUE_MAX);
        if (!expanded(ctx->pool, text, any))
            return mdm_fail(ctx, MDM_EINPUT, "extras", "%s uses a variable that there is not", name);
    }
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- the agent */

apr_status_t mdm_android_agent_read(mdm_ctx_t *ctx, json_t *body, mdm_android_agent_t *out)
{
    static const char *const of[] = {"signature", "package", NULL};
    const char *sum = "";
    json_t *extras = NULL;
    const mdm_jfield_t fields[] = {{"component", MDM_JF_STR, 1, 1, 255, NULL, 0, &out->component, NULL},
                                   {"url", MDM_JF_STR, 1, 1, 500, NULL, 0, &out->url, NULL},
                                   {"checksum", MDM_JF_STR, 1, 1, 120, NULL, 0, &sum, NULL},
                                   {"checksum_of", MDM_JF_ENUM, 0, 0, 0, of, 0, &out->checksum_of, NULL},
                                   {"system_apps", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &out->system_apps, NULL},
                                   {"extras", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &extras, NULL},
                                   {NULL}};
    apr_status_t rv;

    *out = (mdm_android_agent_t){"", "", "", "signature", 1, NULL};
    if ((rv = mdm_json_fields(ctx, body, fields)) != APR_SUCCESS)
        return rv;
    if (!is_component(out->component))
        return mdm_fail(ctx, MDM_EINPUT, "component", "must name package and receiver: org.example.agent/.AdminReceiver");
    if (!is_https(ctx->pool, out->url))
        return mdm_fail(ctx, MDM_EINPUT, "url", "must be an https address");
    if (!(out->checksum = sha256_of(ctx, sum)))
        return mdm_fail(ctx, MDM_EINPUT, "checksum", "must be a SHA-256 in hex or base64");
    out->extras = mdm_json_own(ctx, extras ? json_incref(extras)
                                           : json_pack("{s:s, s:s, s:s}", "mdm.server_url", "${server.url}", "mdm.enrollment_token",
                                                       "${enrol.token}", "mdm.enrollment_otp", "${enrol.otp}"));
    return extras_ok(ctx, out->extras);
}

json_t *mdm_android_agent_json(const mdm_android_agent_t *agent)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:O}", "component", agent->component, "url", agent->url, "checksum", agent->checksum,
                     "checksum_of", agent->checksum_of, "system_apps", agent->system_apps, "extras", agent->extras);
}

/* ---------------------------------------------------------------- one code */

static apr_status_t password_ok(mdm_ctx_t *ctx, const mdm_android_ask_t *ask)
{
    apr_size_t n = ask->password ? strlen(ask->password) : 0;

    if (!strcmp(ask->security, "none"))
        return n ? mdm_fail(ctx, MDM_EINPUT, "wifi_password", "an open network has none") : APR_SUCCESS;
    if (!strcmp(ask->security, "wpa"))
        return (n >= 8 && n <= 63) || (n == 64 && is_hex(ask->password))
                   ? APR_SUCCESS
                   : mdm_fail(ctx, MDM_EINPUT, "wifi_password", "must have 8 to 63 characters, or 64 hex digits");
    return n == 5 || n == 13 || ((n == 10 || n == 26) && is_hex(ask->password))
               ? APR_SUCCESS
               : mdm_fail(ctx, MDM_EINPUT, "wifi_password", "must have 5 or 13 characters, or 10 or 26 hex digits");
}

apr_status_t mdm_android_ask_read(mdm_ctx_t *ctx, json_t *body, mdm_android_ask_t *out)
{
    static const char *const kinds[] = {"none", "wpa", "wep", NULL};
    const mdm_jfield_t fields[] = {{"wifi_ssid", MDM_JF_STR, 0, 1, 32, NULL, 1, &out->ssid, NULL},
                                   {"wifi_security", MDM_JF_ENUM, 0, 0, 0, kinds, 0, &out->security, NULL},
                                   {"wifi_password", MDM_JF_STR, 0, 0, 64, NULL, 1, &out->password, NULL},
                                   {"wifi_hidden", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &out->hidden, NULL},
                                   {"mobile_data", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &out->mobile_data, NULL},
                                   {"locale", MDM_JF_STR, 0, 1, 10, NULL, 1, &out->locale, NULL},
                                   {"time_zone", MDM_JF_STR, 0, 1, 64, NULL, 1, &out->time_zone, NULL},
                                   {"otp", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &out->otp, NULL},
                                   {NULL}};
    apr_status_t rv;
    char *c;

    *out = (mdm_android_ask_t){.security = "wpa"};
    if ((rv = mdm_json_fields(ctx, body, fields)) != APR_SUCCESS)
        return rv;
    if (!out->ssid && out->password && *out->password)
        return mdm_fail(ctx, MDM_EINPUT, "wifi_ssid", "is missing");
    if (out->ssid && out->mobile_data)
        return mdm_fail(ctx, MDM_EINPUT, "mobile_data", "devices take the wireless network if one is named: name one of both");
    if (out->ssid && (rv = password_ok(ctx, out)) != APR_SUCCESS)
        return rv;
    if (out->locale) {
        if ((c = strchr(out->locale, '-')))
            *c = '_';
        if (!is_locale(out->locale))
            return mdm_fail(ctx, MDM_EINPUT, "locale", "must be a language, or one of a country: de, de_DE");
    }
    if (out->time_zone && (!apr_isalpha(*out->time_zone) || !all_of(out->time_zone, "_+-/")))
        return mdm_fail(ctx, MDM_EINPUT, "time_zone", "must be a time zone: Europe/Berlin");
    return APR_SUCCESS;
}

#define PREFIX "android.app.extra.PROVISIONING_"

static void put(json_t *to, const char *name, const char *value)
{
    if (value && *value)
        json_object_set_new(to, name, json_string(value));
}

static void put_network(json_t *to, const mdm_android_ask_t *ask)
{
    if (ask->mobile_data)
        json_object_set_new(to, PREFIX "USE_MOBILE_DATA", json_true());
    if (!ask->ssid)
        return;
    put(to, PREFIX "WIFI_SSID", ask->ssid);
    put(to, PREFIX "WIFI_SECURITY_TYPE", !strcmp(ask->security, "none") ? "NONE" : !strcmp(ask->security, "wep") ? "WEP" : "WPA");
    put(to, PREFIX "WIFI_PASSWORD", ask->password);
    if (ask->hidden)
        json_object_set_new(to, PREFIX "WIFI_HIDDEN", json_true());
}

apr_status_t mdm_android_owner_text(mdm_ctx_t *ctx, const mdm_android_agent_t *agent, const mdm_android_ask_t *ask,
                                    const char *const values[MDM_ANDROID_VARS], const char **out)
{
    json_t *all = json_object(), *extras = json_object(), *value;
    const char *name;
    char *text;

    put(all, PREFIX "DEVICE_ADMIN_COMPONENT_NAME", agent->component);
    put(all, PREFIX "DEVICE_ADMIN_PACKAGE_DOWNLOAD_LOCATION", agent->url);
    put(all, strcmp(agent->checksum_of, "package") ? PREFIX "DEVICE_ADMIN_SIGNATURE_CHECKSUM" : PREFIX "DEVICE_ADMIN_PACKAGE_CHECKSUM", agent->checksum);
    if (agent->system_apps)
        json_object_set_new(all, PREFIX "LEAVE_ALL_SYSTEM_APPS_ENABLED", json_true());
    put(all, PREFIX "LOCALE", ask->locale);
    put(all, PREFIX "TIME_ZONE", ask->time_zone);
    put_network(all, ask);
    json_object_foreach(agent->extras, name, value)
        put(extras, name, expanded(ctx->pool, json_string_value(value), values));
    json_object_set_new(all, PREFIX "ADMIN_EXTRAS_BUNDLE", extras);
    text = json_dumps(all, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(all);
    *out = text ? apr_pstrdup(ctx->pool, text) : NULL;
    if (text)
        mdm_wipe(text, strlen(text));
    free(text);
    return *out ? APR_SUCCESS : APR_ENOMEM;
}
