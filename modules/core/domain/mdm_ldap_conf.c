/* How a source is configured, what its kind of directory calls things, and the pure handling of filters and names. */
#include "domain/mdm_ldap.h"

#include <string.h>
#include <apr_strings.h>
#include <ldap.h>

#define CONTAINERS_MAX 50
#define AUTHORISERS_MAX 50
#define DN_MAX 1000

const char *const mdm_ldap_attr_names[MDM_LA_COUNT + 1] = {
    "person_class", "login", "mail", "name", "phone", "guid", "disabled", "group_class", "group_name", "member", "dynamic_class",
    NULL};

const char *const mdm_ldap_types[] = {"edirectory", "active_directory", "openldap", "dsfw", NULL};

static const char *const presets[][MDM_LA_COUNT] = {
    {"inetOrgPerson", "cn", "mail", "fullName", "mobile", "GUID", "loginDisabled", "groupOfNames", "cn", "member",
     "dynamicGroup"},
    {"user", "sAMAccountName", "mail", "displayName", "mobile", "objectGUID", "userAccountControl", "group", "cn", "member",
     "msExchDynamicDistributionList"},
    {"inetOrgPerson", "uid", "mail", "cn", "mobile", "entryUUID", "pwdAccountLockedTime", "groupOfNames", "cn", "member",
     "groupOfURLs"},
    {"user", "sAMAccountName", "mail", "displayName", "mobile", "objectGUID", "loginDisabled", "group", "cn", "member",
     "dynamicGroup"},
};

static int one_of(const char *c, const char *extra)
{
    return (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || (*c && strchr(extra, *c));
}

static int plain(const char *s, const char *extra, apr_size_t max)
{
    if (strlen(s) > max) {
        return 0;
    }
    for (; *s; s++) {
        if (!one_of(s, extra)) {
            return 0;
        }
    }
    return 1;
}

static apr_status_t read_attrs(mdm_ctx_t *ctx, json_t *obj, mdm_ldap_conf_t *c)
{
    mdm_jfield_t fields[MDM_LA_COUNT + 1];
    apr_status_t rv;
    int i;

    memset(fields, 0, sizeof(fields));
    for (i = 0; i < MDM_LA_COUNT; i++) {
        fields[i] = (mdm_jfield_t){mdm_ldap_attr_names[i], MDM_JF_STR, 0, 0, 64, NULL, 0, &c->attr[i], NULL};
    }
    rv = mdm_json_fields(ctx, obj, fields);
    for (i = 0; rv == APR_SUCCESS && i < MDM_LA_COUNT; i++) {
        if (!plain(c->attr[i], "-.;", 64)) {
            return mdm_fail(ctx, MDM_EINPUT, mdm_ldap_attr_names[i], "is not the name of an attribute or class");
        }
    }
    if (rv == APR_SUCCESS && (!*c->attr[MDM_LA_PERSON_CLASS] || !*c->attr[MDM_LA_LOGIN])) {
        rv = mdm_fail(ctx, MDM_EINPUT, "attributes", "person_class and login are needed");
    }
    return rv;
}

static apr_status_t read_containers(mdm_ctx_t *ctx, json_t *list, mdm_ldap_conf_t *c)
{
    json_t *v;
    size_t i;

    c->containers = apr_array_make(ctx->pool, 4, sizeof(const char *));
    json_array_foreach(list, i, v) {
        const char *dn = json_string_value(v);

        if (!dn || !*dn || strlen(dn) > DN_MAX || !mdm_ldap_dn_key(ctx->pool, dn)) {
            return mdm_fail(ctx, MDM_EINPUT, "containers", "must be distinguished names");
        }
        APR_ARRAY_PUSH(c->containers, const char *) = apr_pstrdup(ctx->pool, dn);
    }
    return APR_SUCCESS;
}

static apr_status_t read_authorisers(mdm_ctx_t *ctx, json_t *list, mdm_ldap_conf_t *c)
{
    json_t *v;
    size_t i;

    c->authorisers = apr_array_make(ctx->pool, 4, sizeof(const char *));
    json_array_foreach(list, i, v) {
        const char *dn = json_string_value(v), *key = dn && *dn && strlen(dn) <= DN_MAX ? mdm_ldap_dn_key(ctx->pool, dn) : NULL;

        if (!key) {
            return mdm_fail(ctx, MDM_EINPUT, "authorisers", "must be distinguished names of groups");
        }
        APR_ARRAY_PUSH(c->authorisers, const char *) = key;
    }
    return APR_SUCCESS;
}

static apr_status_t check_rest(mdm_ctx_t *ctx, const mdm_ldap_conf_t *c)
{
    if (!mdm_is_host(c->host)) {
        return mdm_fail(ctx, MDM_EINPUT, "host", "is not a host name or address");
    }
    if (*c->root && !mdm_ldap_dn_key(ctx->pool, c->root)) {
        return mdm_fail(ctx, MDM_EINPUT, "root", "must be a distinguished name");
    }
    if (*c->bind_dn && !strchr(c->bind_dn, '@') && !mdm_ldap_dn_key(ctx->pool, c->bind_dn)) {
        return mdm_fail(ctx, MDM_EINPUT, "bind_dn", "must be a distinguished name or user@domain");
    }
    if (*c->pin && (strlen(c->pin) != 64 || strspn(c->pin, "0123456789abcdef") != 64)) {
        return mdm_fail(ctx, MDM_EINPUT, "pin", "must be a SHA-256 in lower-case hex");
    }
    return APR_SUCCESS;
}

apr_status_t mdm_ldap_conf(mdm_ctx_t *ctx, json_t *config, mdm_ldap_conf_t **out)
{
    static const char *const modes[] = {"none", "ldaps", "starttls", NULL};
    mdm_ldap_conf_t *c = apr_pcalloc(ctx->pool, sizeof(*c));
    const char *tls = "ldaps";
    apr_int64_t port = 0, timeout = 5, sync = 60;
    json_t *containers = NULL, *attrs = NULL, *authorisers = NULL;
    const mdm_jfield_t fields[] = {{"type", MDM_JF_ENUM, 1, 0, 0, mdm_ldap_types, 0, &c->type, NULL},
                                   {"host", MDM_JF_STR, 1, 1, 255, NULL, 0, &c->host, NULL},
                                   {"port", MDM_JF_INT, 0, 1, 65535, NULL, 1, &port, NULL},
                                   {"tls", MDM_JF_ENUM, 0, 0, 0, modes, 0, &tls, NULL},
                                   {"root", MDM_JF_STR, 0, 0, DN_MAX, NULL, 0, &c->root, NULL},
                                   {"bind_dn", MDM_JF_STR, 0, 0, DN_MAX, NULL, 0, &c->bind_dn, NULL},
                                   {"containers", MDM_JF_ARRAY, 1, 1, CONTAINERS_MAX, NULL, 0, &containers, NULL},
                                   {"authorisers", MDM_JF_ARRAY, 0, 0, AUTHORISERS_MAX, NULL, 0, &authorisers, NULL},
                                   {"ignore_dynamic", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &c->ignore_dynamic, NULL},
                                   {"timeout_s", MDM_JF_INT, 0, 1, 30, NULL, 0, &timeout, NULL},
                                   {"sync_minutes", MDM_JF_INT, 0, 5, 10080, NULL, 0, &sync, NULL},
                                   {"pin", MDM_JF_STR, 0, 0, 64, NULL, 0, &c->pin, NULL},
                                   {"ca", MDM_JF_STR, 0, 0, 16384, NULL, 0, &c->ca, NULL},
                                   {"attributes", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &attrs, NULL},
                                   {NULL}};
    apr_status_t rv;
    int i;

    c->root = c->bind_dn = c->bind_password = c->pin = c->ca = "";
    if ((rv = mdm_json_fields(ctx, config, fields)) != APR_SUCCESS) {
        return rv;
    }
    for (i = 0; strcmp(mdm_ldap_types[i], c->type) != 0; i++)
        ;
    memcpy(c->attr, presets[i], sizeof(c->attr));
    c->tls = !strcmp(tls, "ldaps") ? MDM_LDAP_LDAPS : !strcmp(tls, "starttls") ? MDM_LDAP_STARTTLS : MDM_LDAP_NONE;
    c->port = port ? (int)port : c->tls == MDM_LDAP_LDAPS ? 636 : 389;
    c->timeout_ms = (int)timeout * 1000;
    c->sync_minutes = (int)sync;
    if ((rv = check_rest(ctx, c)) == APR_SUCCESS && (rv = read_containers(ctx, containers, c)) == APR_SUCCESS
        && (rv = read_authorisers(ctx, authorisers, c)) == APR_SUCCESS && attrs) {
        rv = read_attrs(ctx, attrs, c);
    }
    if (rv == APR_SUCCESS) {
        *out = c;
    }
    return rv;
}

/* ---------------------------------------------------------------- filters and names */

char *mdm_ldap_escape(apr_pool_t *p, const char *value)
{
    static const char hex[] = "0123456789abcdef";
    char *out = apr_palloc(p, 3 * strlen(value) + 1), *o = out;

    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;

        if (one_of(value, " .-_@") && c < 0x80) {
            *o++ = (char)c;
        }
        else {
            *o++ = '\\';
            *o++ = hex[c >> 4];
            *o++ = hex[c & 15];
        }
    }
    *o = '\0';
    return out;
}

char *mdm_ldap_equals(apr_pool_t *p, const char *attr, const char *value)
{
    return *attr ? apr_pstrcat(p, "(", attr, "=", mdm_ldap_escape(p, value), ")", NULL) : apr_pstrdup(p, "");
}

char *mdm_ldap_dn_key(apr_pool_t *p, const char *dn)
{
    char *norm, *key = NULL;
    LDAPDN parsed = NULL;

    if (ldap_str2dn(dn, &parsed, LDAP_DN_FORMAT_LDAPV3) == LDAP_SUCCESS && parsed
        && ldap_dn2str(parsed, &norm, LDAP_DN_FORMAT_LDAPV3) == LDAP_SUCCESS) {
        key = mdm_lower(p, norm);
        ldap_memfree(norm);
    }
    ldap_dnfree(parsed);
    return key;
}
