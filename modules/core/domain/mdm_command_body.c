/* The bodies of Apple's commands (facts 4): one table says which keys a command has; JSON in, plist out. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_apple_inventory.h"
#include "domain/mdm_command.h"
#include "wire/mdm_plist.h"

typedef enum { K_END = 0, K_STR, K_INT, K_BOOL, K_DATA, K_ARRAY, K_DICT } kind_e;

typedef struct field_t {
    const char *key;
    kind_e kind;
    int required;
} field_t;

enum { B_QUERIES = 1, B_UNLOCK = 2 }; /* keys that the server adds */

typedef struct encoder_t {
    const char *type;
    int adds;
    field_t fields[8];
} encoder_t;

static const encoder_t encoders[] = {
    {"DeviceInformation", B_QUERIES, {{"Queries", K_ARRAY, 0}}},
    {"SecurityInfo", 0, {{NULL, K_END, 0}}},
    {"InstalledApplicationList", 0, {{"Identifiers", K_ARRAY, 0}, {"ManagedAppsOnly", K_BOOL, 0}, {"Items", K_ARRAY, 0}}},
    {"ManagedApplicationList", 0, {{"Identifiers", K_ARRAY, 0}}},
    {"ProfileList", 0, {{"ManagedOnly", K_BOOL, 0}}},
    {"CertificateList", 0, {{"ManagedOnly", K_BOOL, 0}}},
    {"ProvisioningProfileList", 0, {{"ManagedOnly", K_BOOL, 0}}},
    {"Restrictions", 0, {{"ProfileRestrictions", K_BOOL, 0}}},
    {"DeviceLock", 0, {{"Message", K_STR, 0}, {"PhoneNumber", K_STR, 0}}},
    {"ClearPasscode", B_UNLOCK, {{NULL, K_END, 0}}},
    {"EraseDevice", 0, {{"PreserveDataPlan", K_BOOL, 0}, {"DisallowProximitySetup", K_BOOL, 0}, {"ReturnToService", K_DICT, 0}}},
    {"RestartDevice", 0, {{NULL, K_END, 0}}},
    {"ShutDownDevice", 0, {{NULL, K_END, 0}}},
    {"EnableLostMode", 0, {{"Message", K_STR, 0}, {"PhoneNumber", K_STR, 0}, {"Footnote", K_STR, 0}}},
    {"DisableLostMode", 0, {{NULL, K_END, 0}}},
    {"PlayLostModeSound", 0, {{NULL, K_END, 0}}},
    {"DeviceLocation", 0, {{NULL, K_END, 0}}},
    {"InstallProfile", 0, {{"Payload", K_DATA, 1}}},
    {"RemoveProfile", 0, {{"Identifier", K_STR, 1}}},
    {"InstallApplication", 0,
     {{"iTunesStoreID", K_INT, 0}, {"Identifier", K_STR, 0}, {"ManifestURL", K_STR, 0}, {"Options", K_DICT, 0},
      {"ManagementFlags", K_INT, 0}, {"Configuration", K_DICT, 0}, {"Attributes", K_DICT, 0}}},
    {"RemoveApplication", 0, {{"Identifier", K_STR, 1}}},
    {"InviteToProgram", 0, {{"ProgramID", K_STR, 1}, {"InvitationURL", K_STR, 1}}},
    {"Settings", 0, {{"Settings", K_ARRAY, 1}}},
    {"DeviceConfigured", 0, {{NULL, K_END, 0}}},
};

static const encoder_t *find(const char *type)
{
    for (size_t i = 0; type && i < sizeof encoders / sizeof encoders[0]; i++) {
        if (!strcmp(encoders[i].type, type)) {
            return &encoders[i];
        }
    }
    return NULL;
}

static int fits(kind_e kind, const json_t *v)
{
    switch (kind) {
    case K_STR:
        return json_is_string(v) && json_string_length(v) > 0;
    case K_INT:
        return json_is_integer(v);
    case K_BOOL:
        return json_is_boolean(v);
    case K_DATA:
        return json_is_string(json_object_get(v, "$data"));
    case K_ARRAY:
        return json_is_array(v);
    case K_DICT:
        return json_is_object(v);
    default:
        return 0;
    }
}

static const field_t *field(const encoder_t *e, const char *key)
{
    for (const field_t *f = e->fields; f < e->fields + 8 && f->kind; f++) {
        if (!strcmp(f->key, key)) {
            return f;
        }
    }
    return NULL;
}

apr_status_t mdm_command_check(mdm_ctx_t *ctx, const char *request_type, json_t *payload)
{
    const encoder_t *e = find(request_type);
    const char *key;
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
    for (const field_t *f = e->fields; f < e->fields + 8 && f->kind; f++) {
        if (f->required && !json_object_get(payload, f->key)) {
            return mdm_fail(ctx, MDM_EINPUT, "payload", "%s needs the key %s.", e->type, f->key);
        }
    }
    return APR_SUCCESS;
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

apr_status_t mdm_command_body(mdm_ctx_t *ctx, const char *record_id, const char *id, const char *request_type, json_t *payload,
                              const char *unlock, mdm_blob_t *out)
{
    const encoder_t *e = find(request_type);
    mdm_plist_t *root, *command;
    apr_status_t rv = mdm_command_check(ctx, request_type, payload);
    char *uuid;

    if (rv == APR_SUCCESS) {
        if (payload) {
            rv = mdm_plist_from_json(ctx, payload, &command);
        } else {
            command = mdm_plist_dict(ctx->pool);
        }
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    mdm_plist_add_str(ctx->pool, command, "RequestType", request_type);
    if (e->adds & B_QUERIES) {
        add_queries(ctx, command);
    }
    if (e->adds & B_UNLOCK) {
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
