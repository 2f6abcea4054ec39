/* The bodies of Apple's commands (facts 4): one table says which keys a command has; JSON in, plist out. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_apple_inventory.h"
#include "domain/mdm_command.h"
#include "wire/mdm_plist.h"

typedef enum { K_END = 0, K_STR, K_INT, K_BOOL, K_DATA, K_STRS, K_DICT, K_URL, K_ITEMS } kind_e;
static const char *const kind_names[] = {"", "string", "integer", "boolean", "data", "strings", "object", "https address", "items"};

typedef struct field_t {
    const char *key;
    kind_e kind;
    int required;
} field_t;

enum {
    B_QUERIES = 1, B_UNLOCK = 2, /* keys that the server adds */
    B_SECRET = 4,                /* may hold passwords and keys: sealed */
    B_ANY = 8, B_ONE = 16,       /* needs one of its first three keys; exactly one */
    B_MANAGED = 32, B_MANAGED_APPS = 64, /* a user enrolment is asked for what is managed only */
    B_NOT_OWNED = 128            /* a user enrolment does not take it */
};
#define MAX_FIELDS 12

typedef struct encoder_t {
    const char *type;
    int flags;
    field_t fields[MAX_FIELDS];
} encoder_t;

#define NO_KEYS {{NULL, K_END, 0}}

static const encoder_t encoders[] = {
    {"DeviceInformation", B_QUERIES, {{"Queries", K_STRS, 0}}},
    {"SecurityInfo", 0, NO_KEYS},
    {"InstalledApplicationList", B_MANAGED_APPS, {{"Identifiers", K_STRS, 0}, {"ManagedAppsOnly", K_BOOL, 0}, {"Items", K_STRS, 0}}},
    {"ManagedApplicationList", 0, {{"Identifiers", K_STRS, 0}}},
    {"ProfileList", B_MANAGED, {{"ManagedOnly", K_BOOL, 0}}},
    {"CertificateList", B_MANAGED, {{"ManagedOnly", K_BOOL, 0}}},
    {"ProvisioningProfileList", B_NOT_OWNED, {{"ManagedOnly", K_BOOL, 0}}},
    {"Restrictions", B_NOT_OWNED, {{"ProfileRestrictions", K_BOOL, 0}}},
    {"DeviceLock", 0, {{"Message", K_STR, 0}, {"PhoneNumber", K_STR, 0}}},
    {"ClearPasscode", B_UNLOCK | B_NOT_OWNED, NO_KEYS},
    {"EraseDevice", B_SECRET | B_NOT_OWNED,
     {{"PreserveDataPlan", K_BOOL, 0}, {"DisallowProximitySetup", K_BOOL, 0}, {"ReturnToService", K_DICT, 0}, {"PIN", K_STR, 0},
      {"ObliterationBehavior", K_STR, 0}}},
    {"RestartDevice", B_NOT_OWNED, {{"NotifyUser", K_BOOL, 0}}},
    {"ShutDownDevice", B_NOT_OWNED, NO_KEYS},
    {"EnableLostMode", B_ANY | B_NOT_OWNED, {{"Message", K_STR, 0}, {"PhoneNumber", K_STR, 0}, {"Footnote", K_STR, 0}}},
    {"DisableLostMode", B_NOT_OWNED, NO_KEYS},
    {"PlayLostModeSound", B_NOT_OWNED, NO_KEYS},
    {"DeviceLocation", B_NOT_OWNED, NO_KEYS},
    {"InstallProfile", B_SECRET, {{"Payload", K_DATA, 1}}},
    {"RemoveProfile", 0, {{"Identifier", K_STR, 1}}},
    {"InstallApplication", B_ONE | B_SECRET,
     {{"iTunesStoreID", K_INT, 0}, {"Identifier", K_STR, 0}, {"ManifestURL", K_URL, 0}, {"Options", K_DICT, 0},
      {"ManagementFlags", K_INT, 0}, {"ChangeManagementState", K_STR, 0}, {"Configuration", K_DICT, 0}, {"Attributes", K_DICT, 0}}},
    {"RemoveApplication", 0, {{"Identifier", K_STR, 1}}},
    {"ApplyRedemptionCode", B_SECRET | B_NOT_OWNED, {{"Identifier", K_STR, 1}, {"RedemptionCode", K_STR, 1}}},
    {"InviteToProgram", B_NOT_OWNED, {{"ProgramID", K_STR, 1}, {"InvitationURL", K_URL, 1}}},
    {"Settings", B_SECRET, {{"Settings", K_ITEMS, 1}}},
    {"DeviceConfigured", B_NOT_OWNED, NO_KEYS},
};

static const char *const setting_items[] = {"OrganizationInfo", "MDMOptions", "DeviceName", "Wallpaper", "DataRoaming", "VoiceRoaming",
                                            "PersonalHotspot", "Bluetooth", "ApplicationConfiguration", "ApplicationAttributes",
                                            "TimeZone", "AccessibilitySettings", NULL};

static const encoder_t *find(const char *type)
{
    for (size_t i = 0; type && i < sizeof encoders / sizeof encoders[0]; i++) {
        if (!strcmp(encoders[i].type, type)) {
            return &encoders[i];
        }
    }
    return NULL;
}

static int is_strings(const json_t *v)
{
    size_t i;
    json_t *item;

    json_array_foreach((json_t *)v, i, item) {
        if (!json_is_string(item) || json_string_length(item) == 0) {
            return 0;
        }
    }
    return json_is_array(v) && json_array_size(v) > 0;
}

static int is_items(const json_t *v)
{
    size_t i;
    json_t *item;

    json_array_foreach((json_t *)v, i, item) {
        const char *name = json_string_value(json_object_get(item, "Item"));
        const char *const *known = setting_items;

        while (name && *known && strcmp(*known, name) != 0) {
            known++;
        }
        if (!name || !*known) {
            return 0;
        }
    }
    return json_is_array(v) && json_array_size(v) > 0;
}

static int is_data(const json_t *v)
{
    return json_object_size(v) == 1 && json_is_string(json_object_get(v, "$data"));
}

static int fits(kind_e kind, const json_t *v)
{
    switch (kind) {
    case K_STR:
        return json_is_string(v) && json_string_length(v) > 0;
    case K_URL:
        return json_is_string(v) && !strncmp(json_string_value(v), "https://", 8);
    case K_INT:
        return json_is_integer(v);
    case K_BOOL:
        return json_is_boolean(v);
    case K_DATA:
        return is_data(v);
    case K_STRS:
        return is_strings(v);
    case K_ITEMS:
        return is_items(v);
    case K_DICT:
        return json_is_object(v) && !is_data(v);
    default:
        return 0;
    }
}

static const field_t *field(const encoder_t *e, const char *key)
{
    for (const field_t *f = e->fields; f < e->fields + MAX_FIELDS && f->kind; f++) {
        if (!strcmp(f->key, key)) {
            return f;
        }
    }
    return NULL;
}

static apr_status_t check_required(mdm_ctx_t *ctx, const encoder_t *e, json_t *payload)
{
    int some = 0;

    for (const field_t *f = e->fields; f < e->fields + MAX_FIELDS && f->kind; f++) {
        int there = json_object_get(payload, f->key) != NULL;

        if (f->required && !there) {
            return mdm_fail(ctx, MDM_EINPUT, "payload", "%s needs the key %s.", e->type, f->key);
        }
        some += there && f < e->fields + 3;
    }
    if ((e->flags & (B_ANY | B_ONE) && !some) || (e->flags & B_ONE && some > 1)) {
        return mdm_fail(ctx, MDM_EINPUT, "payload", "%s needs %s of %s, %s and %s.", e->type, e->flags & B_ONE ? "exactly one" : "one",
                        e->fields[0].key, e->fields[1].key, e->fields[2].key);
    }
    return APR_SUCCESS;
}

apr_status_t mdm_command_check(mdm_ctx_t *ctx, const char *request_type, json_t *payload)
{
    const encoder_t *e = find(request_type);
    const char *key;
    mdm_plist_t *plist;
    json_t *v;

    if (!e) {
        return mdm_fail(ctx, MDM_EINPUT, "request_type", "There is no such command.");
    }
    if (payload && !json_is_object(payload)) {
        return mdm_fail(ctx, MDM_EINPUT, "payload", "The command's keys must be an object.");
    }
    json_object_foreach(payload, key, v) {
        const field_t *f = field(e, key);
        if (!f) {
            return mdm_fail(ctx, MDM_EINPUT, "payload", "%s has no key \"%.40s\".", e->type, key);
        }
        if (!fits(f->kind, v)) {
            return mdm_fail(ctx, MDM_EINPUT, "payload", "The key %s of %s has a value of the wrong kind.", f->key, e->type);
        }
    }
    if (payload && mdm_plist_from_json(ctx, payload, &plist) != APR_SUCCESS) {
        return mdm_fail(ctx, MDM_EINPUT, "payload", "The keys of %s hold something that no property list can carry.", e->type);
    }
    return check_required(ctx, e, payload);
}

int mdm_command_secret(const char *request_type)
{
    const encoder_t *e = find(request_type);

    return e && (e->flags & B_SECRET);
}

json_t *mdm_command_keys(const char *request_type)
{
    const encoder_t *e = find(request_type);
    json_t *out = e ? json_array() : NULL;

    for (const field_t *f = e ? e->fields : NULL; f && f < e->fields + MAX_FIELDS && f->kind; f++) {
        json_array_append_new(out, json_pack("{s:s, s:s, s:b}", "name", f->key, "kind", kind_names[f->kind], "required",
                                             f->required));
    }
    return out;
}

static void add_queries(mdm_ctx_t *ctx, mdm_plist_t *command)
{
    mdm_plist_t *list;

    if (mdm_plist_get(command, "Queries")) {
        return;
    }
    list = mdm_plist_add_array(ctx->pool, command, "Queries");
    for (const char *const *q = mdm_apple_device_queries; *q; q++) {
        mdm_plist_add_str(ctx->pool, list, NULL, *q);
    }
}

static apr_status_t add_unlock(mdm_ctx_t *ctx, mdm_plist_t *command, const char *record_id, const char *sealed)
{
    mdm_blob_t token;
    apr_status_t rv;

    if (!sealed) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "The device has given no unlock token.");
    }
    rv = mdm_unseal(ctx, apr_pstrcat(ctx->pool, "source_record.unlock_token:", record_id, NULL), sealed, &token);
    if (rv == APR_SUCCESS) {
        mdm_plist_add_data(ctx->pool, command, "UnlockToken", token.data, token.len);
    }
    return rv;
}

int mdm_command_not_owned(const char *request_type)
{
    const encoder_t *e = find(request_type);

    return e && (e->flags & B_NOT_OWNED);
}

/* Without what a user enrolment does not answer; what asks for nothing then asks for all that is left. */
static json_t *own_queries(json_t *asked)
{
    json_t *out = json_array(), *q;
    size_t i;
    int none;

    json_array_foreach(asked, i, q) {
        if (!mdm_apple_query_hidden(json_string_value(q))) {
            json_array_append(out, q);
        }
    }
    none = !json_array_size(out);
    for (const char *const *all = mdm_apple_device_queries; none && *all; all++) {
        if (!mdm_apple_query_hidden(*all)) {
            json_array_append_new(out, json_string(*all));
        }
    }
    return out;
}

/* What of a command is for a user enrolment. */
static json_t *own_payload(mdm_ctx_t *ctx, const encoder_t *e, json_t *payload)
{
    json_t *own = mdm_json_own(ctx, payload ? json_copy(payload) : json_object());

    if (e->flags & (B_MANAGED | B_MANAGED_APPS)) {
        json_object_set_new(own, e->flags & B_MANAGED ? "ManagedOnly" : "ManagedAppsOnly", json_true());
    }
    if (e->flags & B_QUERIES) {
        json_object_set_new(own, "Queries", own_queries(json_object_get(own, "Queries")));
    }
    return own;
}

apr_status_t mdm_command_body(mdm_ctx_t *ctx, const char *record_id, const char *id, const char *request_type, json_t *payload,
                              const char *unlock, int owners, mdm_blob_t *out)
{
    const encoder_t *e = find(request_type);
    mdm_plist_t *root, *command;
    apr_status_t rv = APR_SUCCESS;
    char *uuid;

    if (owners && e) {
        if (e->flags & B_NOT_OWNED) {
            return mdm_fail(ctx, MDM_ECONFLICT, NULL, "A user enrolment does not take that.");
        }
        payload = own_payload(ctx, e, payload);
    }
    if (payload) {
        rv = mdm_plist_from_json(ctx, payload, &command);
    } else {
        command = mdm_plist_dict(ctx->pool);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    mdm_plist_add_str(ctx->pool, command, "RequestType", request_type);
    if (e && e->flags & B_QUERIES) {
        add_queries(ctx, command);
    }
    if (e && e->flags & B_UNLOCK && !mdm_plist_get(command, "UnlockToken")) {
        rv = add_unlock(ctx, command, record_id, unlock);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    root = mdm_plist_dict(ctx->pool);
    mdm_plist_append(root, "Command", command);
    uuid = apr_pstrdup(ctx->pool, id);
    for (char *c = uuid; *c; c++) {
        *c = *c >= 'a' && *c <= 'f' ? (char)(*c - 'a' + 'A') : *c;
    }
    mdm_plist_add_str(ctx->pool, root, "CommandUUID", uuid);
    return mdm_plist_write(ctx->pool, root, out);
}
