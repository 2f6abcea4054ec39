#include "domain/mdm_policy_profile.h"

#include <apr_strings.h>
#include <string.h>

#include "wire/mdm_plist.h"

#define FORM "mdm-policy-profile 1" /* raise it when the bytes change for the same content: then all are sent again */

const char *const mdm_policy_types[MDM_POLICY_TYPES] = {"device_control", "security", "email"};
const char *const mdm_policy_profile_ids[MDM_POLICY_TYPES] = {"org.mod-mdm.policy.control", "org.mod-mdm.policy.security",
                                                              "org.mod-mdm.policy.email"};
static const struct {
    const char *name, *text;
} words[MDM_POLICY_TYPES] = {
    {"Device control", "What this device may do, set by the organisation."},
    {"Security", "Passcode rules, set by the organisation."},
    {"Mail", "The organisation's mail account."},
};

static int find(const char *const *list, const char *s)
{
    for (int i = 0; s && i < MDM_POLICY_TYPES; i++) {
        if (strcmp(list[i], s) == 0) {
            return i;
        }
    }
    return -1;
}

int mdm_policy_type_of(const char *name)
{
    return find(mdm_policy_types, name);
}

int mdm_policy_profile_type(const char *identifier)
{
    return find(mdm_policy_profile_ids, identifier);
}

/* A UUID of version 8 (RFC 9562) for one part of the content. */
static const char *uuid_of(apr_pool_t *p, const char *hash, const char *part)
{
    const char *text = apr_pstrcat(p, hash, " ", part, NULL);
    unsigned char sum[32];
    char *out;

    mdm_sha256(text, strlen(text), sum);
    sum[6] = (unsigned char)((sum[6] & 0x0f) | 0x80);
    sum[8] = (unsigned char)((sum[8] & 0x3f) | 0x80);
    out = mdm_uuid_text(p, sum);
    for (char *c = out; *c; c++) {
        *c = *c >= 'a' && *c <= 'f' ? (char)(*c - 'a' + 'A') : *c;
    }
    return out;
}

const char *mdm_policy_profile_uuid(apr_pool_t *p, const char *hash)
{
    return uuid_of(p, hash, "profile");
}

static void head(apr_pool_t *p, mdm_plist_t *d, const char *type, const char *id, const char *uuid)
{
    mdm_plist_add_str(p, d, "PayloadIdentifier", id);
    mdm_plist_add_str(p, d, "PayloadType", type);
    mdm_plist_add_str(p, d, "PayloadUUID", uuid);
    mdm_plist_add_int(p, d, "PayloadVersion", 1);
}

static apr_status_t add_payload(mdm_ctx_t *ctx, mdm_plist_t *list, int type, const char *kind, json_t *keys, const char *hash)
{
    const char *dot = strrchr(kind, '.');
    mdm_plist_t *d;
    apr_status_t rv = mdm_plist_from_json(ctx, keys, &d);

    if (rv == APR_SUCCESS) {
        if (!mdm_plist_get(d, "PayloadDisplayName")) {
            mdm_plist_add_str(ctx->pool, d, "PayloadDisplayName", words[type].name);
        }
        head(ctx->pool, d, kind, apr_pstrcat(ctx->pool, mdm_policy_profile_ids[type], ".", dot ? dot + 1 : kind, NULL),
             uuid_of(ctx->pool, hash, kind));
        mdm_plist_append(list, NULL, d);
    }
    return rv;
}

apr_status_t mdm_policy_profile(mdm_ctx_t *ctx, int type, json_t *payloads, int locked, mdm_policy_profile_t *out)
{
    apr_pool_t *p = ctx->pool;
    char *text = json_dumps(payloads, JSON_COMPACT | JSON_SORT_KEYS);
    json_t *sorted = mdm_json_own(ctx, text ? json_loads(text, 0, NULL) : NULL), *keys;
    const char *kind, *all = apr_psprintf(p, "%s\n%s\n%d\n%s", FORM, mdm_policy_types[type], locked != 0, text ? text : "");
    mdm_plist_t *root = mdm_plist_dict(p), *list = mdm_plist_add_array(p, root, "PayloadContent");
    apr_status_t rv = sorted ? APR_SUCCESS : MDM_EINPUT;

    free(text);
    out->hash = mdm_sha256_hex(p, all, strlen(all));
    json_object_foreach(sorted, kind, keys) {
        if (rv == APR_SUCCESS) {
            rv = add_payload(ctx, list, type, kind, keys, out->hash);
        }
    }
    mdm_plist_add_str(p, root, "PayloadDescription", words[type].text);
    mdm_plist_add_str(p, root, "PayloadDisplayName", words[type].name);
    if (locked) {
        mdm_plist_add_bool(p, root, "PayloadRemovalDisallowed", 1);
    }
    head(p, root, "Configuration", mdm_policy_profile_ids[type], mdm_policy_profile_uuid(p, out->hash));
    return rv == APR_SUCCESS ? mdm_plist_write(p, root, &out->body) : rv;
}
