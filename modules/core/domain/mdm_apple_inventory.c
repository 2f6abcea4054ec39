/* Answers to queries → device object (IOS-09): a table says which column each key fills. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_apple_inventory.h"
#include "domain/mdm_command.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_eas.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define MAX_APPS 5000
#define MAX_TEXT 255
#define MAX_SECTION 524288 /* bytes of JSON */
#define MAX_RESULT 16384
#define MAX_RESULT_KEYS 50

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

int mdm_apple_query_hidden(const char *query)
{
    static const char *const hidden[] = {
        "UDID", "SerialNumber", "AwaitingConfiguration", "WiFiMAC", "BluetoothMAC", "PersonalHotspotEnabled", "ServiceSubscriptions",
        "ModemFirmwareVersion", "IMEI", "MEID", "ICCID", "PhoneNumber", "SubscriberCarrierNetwork", "CurrentCarrierNetwork", "CurrentMCC",
        "CurrentMNC", "SubscriberMCC", "SubscriberMNC", "IsRoaming", "DataRoamingEnabled", "VoiceRoamingEnabled", "IsActivationLockEnabled",
        "IsDoNotDisturbInEffect", "IsCloudBackupEnabled", "LastCloudBackupDate", "iTunesStoreAccountIsActive", "iTunesStoreAccountHash",
        "IsMDMLostModeEnabled", NULL};
    const char *const *h = hidden;

    while (query && *h && strcmp(*h, query) != 0) {
        h++;
    }
    return query && *h;
}

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

/* ---------------------------------------------------------------- storing, noticing changes */

/* The values whose change people want to see: names of our own, which pages and events show. */
static const struct {
    const char *section, *key, *name;
} watched[] = {
    {"device", "DeviceName", "name"}, {"device", "OSVersion", "os_version"}, {"device", "BuildVersion", "build"},
    {"device", "IsSupervised", "supervised"}, {"device", "DataRoamingEnabled", "data_roaming"},
    {"device", "IsActivationLockEnabled", "activation_lock"}, {"device", "IsDeviceLocatorServiceEnabled", "locator"},
    {"device", "IsCloudBackupEnabled", "cloud_backup"}, {"device", "iTunesStoreAccountIsActive", "store_account"},
    {"device", "IsMDMLostModeEnabled", "lost_mode"}, {"device", "EASDeviceIdentifier", "eas_device_id"},
    {"security", "PasscodePresent", "passcode_present"}, {"security", "PasscodeCompliant", "passcode_compliant"},
    {"security", "HardwareEncryptionCaps", "encryption"},
};
static const char *const watched_line[] = {"phone", "iccid", "imei", "home_carrier", "roaming", NULL};

static json_t *watch_of(mdm_ctx_t *ctx, const char *section, json_t *body)
{
    json_t *out = mdm_json_own(ctx, json_object()), *line = json_array_get(json_object_get(body, "lines"), 0);

    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++) {
        json_t *v = strcmp(watched[i].section, section) == 0 ? json_object_get(body, watched[i].key) : NULL;
        if (v) {
            json_object_set(out, watched[i].name, v);
        }
    }
    for (const char *const *name = watched_line; line && *name; name++) {
        json_t *v = json_object_get(line, *name);
        if (v) {
            json_object_set(out, *name, v);
        }
    }
    return out;
}

/* An identifier that mail clients say as well, told for the first time. */
static apr_status_t match_mail(mdm_db_t *db, const char *device_id, const char *key)
{
    const char *record_id;
    apr_status_t rv = mdm_command_record(db, device_id, &record_id);

    return rv == APR_SUCCESS ? mdm_eas_match_apple(db, record_id, key) : rv;
}

/* What the device said before and says otherwise now becomes one event. */
static apr_status_t note_changes(mdm_db_t *db, const char *device_id, json_t *watch, const char *was_text)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *was = mdm_json_own(ctx, json_loads(was_text ? was_text : "{}", 0, NULL));
    json_t *changes = mdm_json_own(ctx, json_object()), *now;
    const char *name;

    json_object_foreach(watch, name, now) {
        json_t *before = json_object_get(was, name);
        if (before && !json_equal(before, now)) {
            json_object_set_new(changes, name, json_pack("{s:O, s:O}", "before", before, "after", now));
        }
    }
    return json_object_size(changes) ? mdm_device_event(db, device_id, NULL, "changed", changes) : APR_SUCCESS;
}

static apr_status_t look_at_policies(mdm_db_t *db, const char *device_id, const char *section, json_t *body, const mdm_q_inventory_device_t *row)
{
    const mdm_delivery_news_t news = {device_id, row->deliveries, row->compliance, row->passcode_present, row->passcode_compliant,
                                      row->encryption, strcmp(section, "profiles") == 0 ? body : NULL};

    return mdm_delivery_reported(db, &news);
}

/* Takes the reference of body. */
static apr_status_t store(mdm_db_t *db, const char *device_id, const char *section, json_t *body, const found_t *f)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *watch = watch_of(ctx, section, mdm_json_own(ctx, body));
    const char *json = mdm_json_text(ctx->pool, body), *key = mdm_eas_key(ctx->pool, f->eas_id);
    mdm_q_inventory_device_t *row;
    apr_status_t rv;

    if (strlen(json) > MAX_SECTION) {
        return mdm_fail(ctx, MDM_ETOOBIG, section, "The answer is too long to keep.");
    }
    rv = mdm_q_inventory_device(db, device_id, section, json, mdm_json_text(ctx->pool, watch), mdm_now_ms(ctx), f->model,
                                f->product, f->serial, f->udid, f->imei, f->eas_id, key, f->os, f->build, f->phone, f->supervised,
                                f->passcode, f->compliant, f->encryption, f->battery, f->capacity, f->available, &row);
    if (rv == APR_SUCCESS && json_object_size(watch)) {
        rv = note_changes(db, device_id, watch, row->was);
    }
    if (rv == APR_SUCCESS && key && !row->eas_known) {
        rv = match_mail(db, device_id, key);
    }
    if (rv == APR_SUCCESS && (!strcmp(section, "profiles") || !strcmp(section, "security"))) {
        rv = look_at_policies(db, device_id, section, body, row);
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv; /* deleted meanwhile, or no longer managed */
}

/* ---------------------------------------------------------------- DeviceInformation, SecurityInfo */

/* What we asked for, and nothing else that a device may have said. */
static json_t *device_section(mdm_ctx_t *ctx, const mdm_plist_t *q, json_t *lines)
{
    json_t *out = json_object();

    for (const char *const *key = mdm_apple_device_queries; *key; key++) {
        const mdm_plist_t *n = mdm_plist_get(q, *key);
        json_t *v = n && strcmp(*key, "ServiceSubscriptions") != 0 ? mdm_apple_bounded(ctx, n) : NULL;
        if (v) {
            json_object_set_new(out, *key, v);
        }
    }
    json_object_set_new(out, "lines", lines);
    return out;
}

static apr_status_t device(mdm_db_t *db, const char *device_id, const mdm_plist_t *a)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const mdm_plist_t *q = mdm_plist_get(a, "QueryResponses");
    json_t *lines, *line;
    found_t f = {0};

    if (!q || q->type != MDM_PL_DICT) {
        return mdm_fail(ctx, MDM_EINPUT, "QueryResponses", "The answer has no query responses.");
    }
    lines = mdm_apple_lines(ctx, q);
    line = json_array_get(lines, 0);
    f.model = text(ctx, q, "ModelName");
    f.product = text(ctx, q, "ProductName");
    f.serial = text(ctx, q, "SerialNumber");
    f.udid = text(ctx, q, "UDID");
    f.eas_id = text(ctx, q, "EASDeviceIdentifier");
    f.os = text(ctx, q, "OSVersion");
    f.build = text(ctx, q, "BuildVersion");
    f.imei = json_string_value(json_object_get(line, "imei"));
    f.imei = f.imei ? f.imei : text(ctx, q, "IMEI");
    f.phone = json_string_value(json_object_get(line, "phone"));
    f.phone = f.phone ? f.phone : text(ctx, q, "PhoneNumber");
    f.supervised = number(ctx, q, "IsSupervised");
    f.battery = real(ctx, q, "BatteryLevel");
    f.capacity = real(ctx, q, "DeviceCapacity");
    f.available = real(ctx, q, "AvailableDeviceCapacity");
    return store(db, device_id, "device", device_section(ctx, q, lines), &f);
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
    return store(db, device_id, "security", mdm_apple_bounded(ctx, s), &f);
}

/* ---------------------------------------------------------------- apps */

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
                    "short_version", brief ? brief : "", "detail", mdm_apple_bounded(ctx, app));
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
    return mdm_q_inventory_apps(db, device_id, body, NULL);
}

/* ---------------------------------------------------------------- lists that are kept as one section */

static json_t *location(mdm_ctx_t *ctx, const mdm_plist_t *a)
{
    static const char *const keys[] = {"Latitude", "Longitude", "HorizontalAccuracy", "VerticalAccuracy", "Altitude", "Speed",
                                       "Course", "Timestamp", NULL};
    json_t *out = json_object();

    for (const char *const *key = keys; *key; key++) {
        const mdm_plist_t *n = mdm_plist_get(a, *key);
        json_t *v = n ? mdm_apple_bounded(ctx, n) : NULL;
        if (v) {
            json_object_set_new(out, *key, v);
        }
    }
    return out;
}

/* Which key holds the content, of what type it is, and how it is kept. whole: from the answer itself. */
static const struct {
    const char *type, *key, *section;
    mdm_pl_type_e kind;
    json_t *(*keep)(mdm_ctx_t *ctx, const mdm_plist_t *content);
    int whole;
} kept[] = {
    {"ProfileList", "ProfileList", "profiles", MDM_PL_ARRAY, mdm_apple_profiles, 0},
    {"CertificateList", "CertificateList", "certificates", MDM_PL_ARRAY, mdm_apple_certificates, 0},
    {"ProvisioningProfileList", "ProvisioningProfileList", "provisioning", MDM_PL_ARRAY, mdm_apple_provisioning, 0},
    {"ManagedApplicationList", "ManagedApplicationList", "managed_apps", MDM_PL_DICT, mdm_apple_managed_apps, 0},
    {"Restrictions", "GlobalRestrictions", "restrictions", MDM_PL_DICT, mdm_apple_restrictions, 0},
    {"DeviceLocation", "Latitude", "location", MDM_PL_REAL, location, 1},
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
        return store(db, device_id, kept[i].section, kept[i].keep(ctx, kept[i].whole ? a : content), &none);
    }
    return APR_SUCCESS;
}

static const struct {
    const char *type, *key;
    apr_status_t (*take)(mdm_db_t *db, const char *device_id, const mdm_plist_t *answer);
} queries[] = {
    {"DeviceInformation", "QueryResponses", device},
    {"SecurityInfo", "SecurityInfo", security},
    {"InstalledApplicationList", "InstalledApplicationList", apps},
};

apr_status_t mdm_apple_absorb(mdm_db_t *db, const char *device_id, const char *request_type, const mdm_plist_t *answer)
{
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        if (!strcmp(request_type, queries[i].type)) {
            return queries[i].take(db, device_id, answer);
        }
    }
    return keep(db, device_id, request_type, answer);
}

static int stored_key(const char *key)
{
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        if (!strcmp(key, queries[i].key)) {
            return 1;
        }
    }
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (!strcmp(key, kept[i].key)) {
            return 1;
        }
    }
    return 0;
}

int mdm_apple_inventory_in(const mdm_plist_t *answer)
{
    for (const mdm_plist_t *n = answer->child; n; n = n->next) {
        if (stored_key(n->key)) {
            return 1;
        }
    }
    return 0;
}

const char *mdm_apple_result(mdm_ctx_t *ctx, const mdm_plist_t *answer)
{
    static const char *const common[] = {"UDID", "EnrollmentID", "Status", "CommandUUID", "RequestType", "ErrorChain", "UserID",
                                         "EnrollmentUserID", "UserShortName", "UserLongName", "NotOnConsole", NULL};
    json_t *out = NULL;
    const char *json;

    if (mdm_apple_inventory_in(answer)) {
        return NULL; /* kept with the device */
    }
    for (const mdm_plist_t *n = answer->child; n; n = n->next) {
        const char *const *c = common;
        while (*c && strcmp(*c, n->key) != 0) {
            c++;
        }
        if (!*c) {
            json_t *v = mdm_apple_bounded(ctx, n);
            out = out ? out : mdm_json_own(ctx, json_object());
            if (v && json_object_size(out) < MAX_RESULT_KEYS) {
                json_object_set_new(out, mdm_clean(ctx->pool, n->key, MAX_TEXT), v);
            } else {
                json_decref(v);
            }
        }
    }
    json = out && json_object_size(out) ? mdm_json_text(ctx->pool, out) : NULL;
    return json && strlen(json) > MAX_RESULT ? "{\"cut\":true}" : json;
}
