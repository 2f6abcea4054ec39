/* Answers to queries → device object (IOS-09): a table says which column each key fills. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_apple_inventory.h"
#include "domain/mdm_command.h"
#include "domain/mdm_eas.h"
#include "mdm_sql_gen.h"

#define MAX_APPS 5000
#define MAX_TEXT 255

const char *const mdm_apple_device_queries[] = {
    "DeviceName", "ModelName", "Model", "ModelNumber", "ProductName", "SerialNumber", "UDID", "EASDeviceIdentifier",
    "OrganizationInfo", "MDMOptions", "AwaitingConfiguration", "TimeZone", "IsMultiUser",
    "OSVersion", "BuildVersion", "SupplementalBuildVersion", "SupplementalOSVersionExtra",
    "WiFiMAC", "BluetoothMAC", "IsNetworkTethered", "PersonalHotspotEnabled",
    "ServiceSubscriptions", "ModemFirmwareVersion", "CellularTechnology",
    /* Systems before 16 answer these instead of ServiceSubscriptions. */
    "IMEI", "MEID", "ICCID", "PhoneNumber", "SubscriberCarrierNetwork", "CurrentCarrierNetwork", "CurrentMCC", "CurrentMNC",
    "SubscriberMCC", "SubscriberMNC", "IsRoaming", "DataRoamingEnabled", "VoiceRoamingEnabled",
    "BatteryLevel", "DeviceCapacity", "AvailableDeviceCapacity",
    "IsSupervised", "IsDeviceLocatorServiceEnabled", "IsActivationLockEnabled", "IsDoNotDisturbInEffect",
    "IsCloudBackupEnabled", "LastCloudBackupDate", "iTunesStoreAccountIsActive", "iTunesStoreAccountHash",
    "IsMDMLostModeEnabled", "DiagnosticSubmissionEnabled", "AppAnalyticsEnabled", NULL};

typedef struct found_t { /* columns; NULL = the device did not say */
    const char *model, *product, *serial, *udid, *imei, *eas_id, *os, *build, *phone;
    const apr_int64_t *supervised, *passcode, *compliant, *encryption;
    const double *battery, *capacity, *available;
} found_t;

static const char *text(mdm_ctx_t *ctx, const mdm_plist_t *dict, const char *key)
{
    const char *s = mdm_plist_str(dict, key);

    s = s ? mdm_clean(ctx->pool, s, MAX_TEXT) : NULL;
    return s && *s ? s : NULL;
}

static const apr_int64_t *number(mdm_ctx_t *ctx, const mdm_plist_t *dict, const char *key)
{
    const mdm_plist_t *n = mdm_plist_get(dict, key);
    apr_int64_t *out;

    if (!n || (n->type != MDM_PL_BOOL && n->type != MDM_PL_INT)) {
        return NULL;
    }
    out = apr_palloc(ctx->pool, sizeof *out);
    *out = n->i;
    return out;
}

static const double *real(mdm_ctx_t *ctx, const mdm_plist_t *dict, const char *key)
{
    const mdm_plist_t *n = mdm_plist_get(dict, key);
    double *out;

    if (!n || (n->type != MDM_PL_REAL && n->type != MDM_PL_INT)) {
        return NULL;
    }
    out = apr_palloc(ctx->pool, sizeof *out);
    *out = n->type == MDM_PL_REAL ? n->real : (double)n->i;
    /* −1 says unknown; NaN and infinity can't be stored as JSON either. */
    return *out >= 0 && *out < 1e9 ? out : NULL;
}

/* A section of the inventory as JSON text; white space of numbers and the like stay as the device said. */
static const char *section_text(mdm_ctx_t *ctx, const mdm_plist_t *dict)
{
    json_t *j = mdm_plist_to_json(dict);
    const char *out = j ? mdm_json_text(ctx->pool, j) : "{}";

    json_decref(j);
    return out;
}

static apr_status_t store(mdm_db_t *db, const char *device_id, const char *section, const char *body, const found_t *f)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *key = mdm_eas_key(ctx->pool, f->eas_id), *record_id;
    mdm_q_inventory_device_t *row;
    apr_status_t rv = mdm_q_inventory_device(db, device_id, section, body, mdm_now_ms(ctx), f->model, f->product, f->serial, f->udid,
                                             f->imei, f->eas_id, key, f->os, f->build, f->phone, f->supervised, f->passcode,
                                             f->compliant, f->encryption, f->battery, f->capacity, f->available, &row);

    if (rv == APR_SUCCESS && key && !row->eas_known && (rv = mdm_command_record(db, device_id, &record_id)) == APR_SUCCESS) {
        rv = mdm_eas_match_apple(db, record_id, key);
    }
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv; /* deleted meanwhile, or no longer managed */
}

/* The subscription that carries data, else the first: its IMEI and number are the device's. */
static const mdm_plist_t *main_line(const mdm_plist_t *responses)
{
    const mdm_plist_t *list = mdm_plist_get(responses, "ServiceSubscriptions"), *first = NULL;

    if (!list || list->type != MDM_PL_ARRAY) {
        return NULL;
    }
    for (const mdm_plist_t *s = list->child; s; s = s->next) {
        if (s->type == MDM_PL_DICT && mdm_plist_bool(s, "IsDataPreferred", 0)) {
            return s;
        }
        first = !first && s->type == MDM_PL_DICT ? s : first;
    }
    return first;
}

static apr_status_t device(mdm_db_t *db, const char *device_id, const mdm_plist_t *a)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const mdm_plist_t *q = mdm_plist_get(a, "QueryResponses"), *line;
    found_t f = {0};

    if (!q || q->type != MDM_PL_DICT) {
        return mdm_fail(ctx, MDM_EINPUT, "QueryResponses", "The answer has no query responses.");
    }
    line = main_line(q);
    f.model = text(ctx, q, "ModelName");
    f.product = text(ctx, q, "ProductName");
    f.serial = text(ctx, q, "SerialNumber");
    f.udid = text(ctx, q, "UDID");
    f.eas_id = text(ctx, q, "EASDeviceIdentifier");
    f.os = text(ctx, q, "OSVersion");
    f.build = text(ctx, q, "BuildVersion");
    f.imei = line ? text(ctx, line, "IMEI") : NULL;
    f.imei = f.imei ? f.imei : text(ctx, q, "IMEI");
    f.phone = line ? text(ctx, line, "PhoneNumber") : NULL;
    f.phone = f.phone ? f.phone : text(ctx, q, "PhoneNumber");
    f.supervised = number(ctx, q, "IsSupervised");
    f.battery = real(ctx, q, "BatteryLevel");
    f.capacity = real(ctx, q, "DeviceCapacity");
    f.available = real(ctx, q, "AvailableDeviceCapacity");
    return store(db, device_id, "device", section_text(ctx, q), &f);
}

static apr_status_t security(mdm_db_t *db, const char *device_id, const mdm_plist_t *a)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const mdm_plist_t *s = mdm_plist_get(a, "SecurityInfo");
    found_t f = {0};

    if (!s || s->type != MDM_PL_DICT) {
        return mdm_fail(ctx, MDM_EINPUT, "SecurityInfo", "The answer has no security information.");
    }
    f.encryption = number(ctx, s, "HardwareEncryptionCaps");
    f.passcode = number(ctx, s, "PasscodePresent");
    f.compliant = number(ctx, s, "PasscodeCompliant");
    return store(db, device_id, "security", section_text(ctx, s), &f);
}

static void add_app(mdm_ctx_t *ctx, json_t *apps, const mdm_plist_t *app)
{
    const char *id = text(ctx, app, "Identifier"), *name = text(ctx, app, "Name");
    const char *version = text(ctx, app, "Version"), *brief = text(ctx, app, "ShortVersion");
    apr_int64_t size = mdm_plist_int(app, "BundleSize", -1), more = mdm_plist_int(app, "DynamicSize", 0);
    json_t *row;

    if (!id || json_object_get(apps, id)) {
        return; /* apps that are just being installed have no identifier yet */
    }
    row = json_pack("{s:s, s:s, s:s, s:s, s:o}", "identifier", id, "name", name ? name : "", "version", version ? version : "",
                    "short_version", brief ? brief : "", "detail", mdm_plist_to_json(app));
    if (size >= 0 && size < APR_INT64_MAX / 2 && more >= 0 && more < APR_INT64_MAX / 2) {
        json_object_set_new(row, "size", json_integer(size + more));
    }
    json_object_set_new(apps, id, row);
}

static apr_status_t apps(mdm_db_t *db, const char *device_id, const mdm_plist_t *a)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const mdm_plist_t *list = mdm_plist_get(a, "InstalledApplicationList");
    json_t *by_id, *rows, *row;
    const char *body, *key;
    apr_status_t rv = APR_SUCCESS;

    if (!list || list->type != MDM_PL_ARRAY) {
        return mdm_fail(ctx, MDM_EINPUT, "InstalledApplicationList", "The answer has no list of apps.");
    }
    if (list->count > MAX_APPS) {
        return mdm_fail(ctx, MDM_EINPUT, "InstalledApplicationList", "The list has more than %d apps.", MAX_APPS);
    }
    by_id = json_object();
    for (const mdm_plist_t *app = list->child; app; app = app->next) {
        if (app->type == MDM_PL_DICT) {
            add_app(ctx, by_id, app);
        }
    }
    rows = json_array();
    json_object_foreach(by_id, key, row) {
        json_array_append(rows, row);
    }
    body = mdm_json_text(ctx->pool, rows);
    json_decref(rows);
    json_decref(by_id);
    if (mdm_db_is_sqlite(db)) {
        rv = mdm_q_inventory_apps_gone(db, device_id, body, NULL);
    }
    return rv == APR_SUCCESS ? mdm_q_inventory_apps(db, device_id, body, NULL) : rv;
}

/* Answers that are kept as they came: which key holds the content, and of what type. */
static const struct {
    const char *type, *key, *section;
    mdm_pl_type_e kind;
} kept[] = {
    {"ProfileList", "ProfileList", "profiles", MDM_PL_ARRAY},
    {"CertificateList", "CertificateList", "certificates", MDM_PL_ARRAY},
    {"ProvisioningProfileList", "ProvisioningProfileList", "provisioning", MDM_PL_ARRAY},
    {"ManagedApplicationList", "ManagedApplicationList", "managed_apps", MDM_PL_DICT},
    {"Restrictions", "GlobalRestrictions", "restrictions", MDM_PL_DICT},
};

static apr_status_t keep(mdm_db_t *db, const char *device_id, const char *request_type, const mdm_plist_t *a)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const found_t none = {0};

    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        const mdm_plist_t *content = mdm_plist_get(a, kept[i].key);
        if (strcmp(request_type, kept[i].type) != 0) {
            continue;
        }
        if (!content || content->type != kept[i].kind) {
            return mdm_fail(ctx, MDM_EINPUT, kept[i].key, "The answer has no %s.", kept[i].key);
        }
        return store(db, device_id, kept[i].section, section_text(ctx, content), &none);
    }
    return APR_SUCCESS;
}

apr_status_t mdm_apple_absorb(mdm_db_t *db, const char *device_id, const char *request_type, const mdm_plist_t *answer)
{
    if (!strcmp(request_type, "DeviceInformation")) {
        return device(db, device_id, answer);
    }
    if (!strcmp(request_type, "SecurityInfo")) {
        return security(db, device_id, answer);
    }
    if (!strcmp(request_type, "InstalledApplicationList")) {
        return apps(db, device_id, answer);
    }
    return keep(db, device_id, request_type, answer);
}
