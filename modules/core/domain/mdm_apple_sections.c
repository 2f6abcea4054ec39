/* Lists of an answer in the form in which they are kept: names of our own, bounded counts and sizes, whatever a device says. */
#include <math.h>
#include <string.h>

#include <apr_strings.h>

#include "domain/mdm_apple_inventory.h"
#include "domain/mdm_policy_profile.h"
#include "wire/mdm_x509.h"

#define MAX_TEXT 255
#define MAX_MEMBERS 200
#define MAX_LIST 500
#define MAX_LINES 8
#define MAX_DEPTH 4
#define MAX_DER 16384

static json_t *text(mdm_ctx_t *ctx, const char *s)
{
    s = s ? mdm_clean(ctx->pool, s, MAX_TEXT) : NULL;
    return s && *s ? json_string(s) : NULL;
}

static json_t *bounded(mdm_ctx_t *ctx, const mdm_plist_t *n, int depth);

static json_t *bounded_dict(mdm_ctx_t *ctx, const mdm_plist_t *n, int depth)
{
    json_t *out = json_object();

    for (const mdm_plist_t *c = n->child; c && json_object_size(out) < MAX_MEMBERS; c = c->next) {
        json_t *v = bounded(ctx, c, depth - 1);
        if (v) {
            json_object_set_new(out, mdm_clean(ctx->pool, c->key, MAX_TEXT), v);
        }
    }
    return out;
}

static json_t *bounded_array(mdm_ctx_t *ctx, const mdm_plist_t *n, int depth)
{
    json_t *out = json_array();

    for (const mdm_plist_t *c = n->child; c && json_array_size(out) < MAX_MEMBERS; c = c->next) {
        json_t *v = bounded(ctx, c, depth - 1);
        if (v) {
            json_array_append_new(out, v);
        }
    }
    return out;
}

static json_t *bounded(mdm_ctx_t *ctx, const mdm_plist_t *n, int depth)
{
    switch (n->type) {
    case MDM_PL_STRING:
        return json_string(mdm_clean(ctx->pool, n->str, MAX_TEXT));
    case MDM_PL_DATE:
        return json_string(mdm_clean(ctx->pool, n->str, 40));
    case MDM_PL_INT:
        return json_integer(n->i);
    case MDM_PL_BOOL:
        return json_boolean(n->i);
    case MDM_PL_REAL:
        return isfinite(n->real) ? json_real(n->real) : NULL;
    case MDM_PL_DICT:
        return depth > 0 ? bounded_dict(ctx, n, depth) : NULL;
    case MDM_PL_ARRAY:
        return depth > 0 ? bounded_array(ctx, n, depth) : NULL;
    default:
        return NULL; /* data: nothing that people read */
    }
}

json_t *mdm_apple_bounded(mdm_ctx_t *ctx, const mdm_plist_t *node)
{
    return bounded(ctx, node, MAX_DEPTH);
}

/* Which keys of a dictionary are kept under which name. */
typedef struct name_t {
    const char *key, *name;
} name_t;

static json_t *pick(mdm_ctx_t *ctx, const mdm_plist_t *dict, const name_t *names)
{
    json_t *out = json_object();

    for (; names->key; names++) {
        const mdm_plist_t *n = mdm_plist_get(dict, names->key);
        json_t *v = n ? bounded(ctx, n, 0) : NULL;
        if (v) {
            json_object_set_new(out, names->name, v);
        }
    }
    return out;
}

static json_t *each(mdm_ctx_t *ctx, const mdm_plist_t *list, json_t *(*one)(mdm_ctx_t *, const mdm_plist_t *))
{
    json_t *out = json_array();

    for (const mdm_plist_t *n = list->child; n && json_array_size(out) < MAX_LIST; n = n->next) {
        if (n->type == MDM_PL_DICT) {
            json_array_append_new(out, one(ctx, n));
        }
    }
    return out;
}

/* ---------------------------------------------------------------- profiles, certificates */

static json_t *payload(mdm_ctx_t *ctx, const mdm_plist_t *p)
{
    static const name_t names[] = {{"PayloadType", "type"}, {"PayloadDisplayName", "name"}, {"PayloadIdentifier", "identifier"},
                                   {NULL, NULL}};

    return pick(ctx, p, names);
}

static json_t *profile(mdm_ctx_t *ctx, const mdm_plist_t *p)
{
    static const name_t names[] = {
        {"PayloadIdentifier", "identifier"}, {"PayloadUUID", "uuid"}, {"PayloadDisplayName", "name"},
        {"PayloadOrganization", "organization"}, {"PayloadDescription", "description"}, {"PayloadVersion", "version"},
        {"PayloadRemovalDisallowed", "removal_disallowed"}, {"HasRemovalPasscode", "removal_passcode"},
        {"IsEncrypted", "encrypted"}, {"IsManaged", "managed"}, {"Source", "source"}, {NULL, NULL}};
    const mdm_plist_t *content = mdm_plist_get(p, "PayloadContent"), *signers = mdm_plist_get(p, "SignerCertificates");
    json_t *out = pick(ctx, p, names);
    int type = mdm_policy_profile_type(mdm_plist_str(p, "PayloadIdentifier"));

    if (content && content->type == MDM_PL_ARRAY) {
        json_object_set_new(out, "payloads", each(ctx, content, payload));
    }
    json_object_set_new(out, "signed", json_boolean(signers && signers->count));
    if (type >= 0) { /* ours: what it is called here */
        json_object_set_new(out, "policy", json_string(mdm_policy_types[type]));
    }
    return out;
}

json_t *mdm_apple_profiles(mdm_ctx_t *ctx, const mdm_plist_t *list)
{
    return each(ctx, list, profile);
}

static json_t *certificate(mdm_ctx_t *ctx, const mdm_plist_t *c)
{
    static const name_t names[] = {{"CommonName", "name"}, {"IsIdentity", "identity"}, {NULL, NULL}};
    const mdm_blob_t *der = mdm_plist_data(c, "Data");
    json_t *out = pick(ctx, c, names);
    mdm_cert_t *cert;
    mdm_certinfo_t info;

    if (!der || !der->len || der->len > MAX_DER || mdm_cert_from_der(ctx, der->data, der->len, &cert) != APR_SUCCESS
        || mdm_cert_info(ctx, cert, &info) != APR_SUCCESS) {
        return out;
    }
    json_object_set_new(out, "subject", text(ctx, info.subject));
    json_object_set_new(out, "issuer", text(ctx, info.issuer));
    json_object_set_new(out, "serial", text(ctx, info.serial));
    json_object_set_new(out, "fingerprint", json_string(info.fingerprint));
    json_object_set_new(out, "not_before", json_string(mdm_time_text(ctx->pool, info.not_before_ms)));
    json_object_set_new(out, "not_after", json_string(mdm_time_text(ctx->pool, info.not_after_ms)));
    return out;
}

json_t *mdm_apple_certificates(mdm_ctx_t *ctx, const mdm_plist_t *list)
{
    return each(ctx, list, certificate);
}

static json_t *provisioning(mdm_ctx_t *ctx, const mdm_plist_t *p)
{
    static const name_t names[] = {{"Name", "name"}, {"UUID", "uuid"}, {"ExpiryDate", "not_after"}, {NULL, NULL}};

    return pick(ctx, p, names);
}

json_t *mdm_apple_provisioning(mdm_ctx_t *ctx, const mdm_plist_t *list)
{
    return each(ctx, list, provisioning);
}

/* ---------------------------------------------------------------- managed apps, restrictions */

json_t *mdm_apple_managed_apps(mdm_ctx_t *ctx, const mdm_plist_t *dict)
{
    static const name_t names[] = {{"Status", "status"}, {"ManagementFlags", "flags"}, {"HasConfiguration", "configured"},
                                   {"HasFeedback", "feedback"}, {"IsValidated", "validated"}, {NULL, NULL}};
    json_t *out = json_object();

    for (const mdm_plist_t *n = dict->child; n && json_object_size(out) < MAX_LIST; n = n->next) {
        if (n->type == MDM_PL_DICT) {
            json_object_set_new(out, mdm_clean(ctx->pool, n->key, MAX_TEXT), pick(ctx, n, names));
        }
    }
    return out;
}

/* {"allowCamera": false, …}: the device groups what holds by the kind of value; who reads it wants one list. */
json_t *mdm_apple_restrictions(mdm_ctx_t *ctx, const mdm_plist_t *dict)
{
    static const name_t groups[] = {{"restrictedBool", "value"}, {"restrictedValue", "value"}, {"intersection", "values"},
                                    {"union", "values"}, {NULL, NULL}};
    json_t *out = json_object();

    for (const name_t *g = groups; g->key; g++) {
        const mdm_plist_t *group = mdm_plist_get(dict, g->key);
        for (const mdm_plist_t *n = group ? group->child : NULL; n && json_object_size(out) < MAX_LIST; n = n->next) {
            const mdm_plist_t *v = n->type == MDM_PL_DICT && n->key ? mdm_plist_get(n, g->name) : NULL;
            json_t *j = v ? bounded(ctx, v, 1) : NULL;
            if (j) {
                json_object_set_new(out, mdm_clean(ctx->pool, n->key, MAX_TEXT), j);
            }
        }
    }
    return out;
}

/* ---------------------------------------------------------------- mobile lines */

static const name_t line_names[] = {
    {"Slot", "slot"}, {"Label", "label"}, {"IMEI", "imei"}, {"MEID", "meid"}, {"ICCID", "iccid"}, {"EID", "eid"},
    {"PhoneNumber", "phone"}, {"CurrentCarrierNetwork", "carrier"}, {"SubscriberCarrierNetwork", "home_carrier"},
    {"CurrentMCC", "mcc"}, {"CurrentMNC", "mnc"}, {"CarrierSettingsVersion", "carrier_settings"}, {"IsRoaming", "roaming"},
    {"IsDataPreferred", "data"}, {"IsVoicePreferred", "voice"}, {NULL, NULL}};

json_t *mdm_apple_lines(mdm_ctx_t *ctx, const mdm_plist_t *responses)
{
    const mdm_plist_t *list = mdm_plist_get(responses, "ServiceSubscriptions");
    json_t *out = json_array(), *line;

    if (list && list->type == MDM_PL_ARRAY) {
        for (const mdm_plist_t *s = list->child; s && json_array_size(out) < MAX_LINES; s = s->next) {
            if (s->type == MDM_PL_DICT) {
                json_array_insert_new(out, mdm_plist_bool(s, "IsDataPreferred", 0) ? 0 : json_array_size(out),
                                      pick(ctx, s, line_names));
            }
        }
    }
    if (json_array_size(out) == 0) {
        line = pick(ctx, responses, line_names);
        if (json_object_size(line)) {
            json_array_append_new(out, line);
        } else {
            json_decref(line);
        }
    }
    return out;
}
