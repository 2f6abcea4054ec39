/* What can be done to an Apple device now (facts 4.3): a table of needs, and the orders that pass it. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_action.h"
#include "domain/mdm_command.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

enum {
    N_MANAGED = 1, N_SUPERVISED = 2, N_LOST = 4, N_NOT_LOST = 8, N_UNLOCK = 16, N_NOT_UE = 32, N_LEAVING = 64, N_QUEUED = 128,
    N_RETIRED = 256, N_UNMANAGED = 512, N_NOT_LEAVING = 1024, N_MAIL = 4096,
    USERS = 2048 /* no need: users' channels take it, on a Mac as well as on a Shared iPad */
};

const mdm_action_t mdm_actions[] = {
    {"refresh", NULL, N_MANAGED, NULL, NULL},
    {"lock", "DeviceLock", N_MANAGED | N_NOT_LOST, NULL, NULL},
    {"unlock", "ClearPasscode", N_MANAGED | N_NOT_UE | N_UNLOCK | N_NOT_LOST, NULL, "SecurityInfo"},
    {"lost_on", "EnableLostMode", N_MANAGED | N_SUPERVISED | N_NOT_LOST, "9.3", "DeviceInformation"},
    {"lost_off", "DisableLostMode", N_MANAGED | N_SUPERVISED | N_LOST, "9.3", "DeviceInformation"},
    {"locate", "DeviceLocation", N_MANAGED | N_SUPERVISED | N_LOST, "9.3", NULL},
    {"play_sound", "PlayLostModeSound", N_MANAGED | N_SUPERVISED | N_LOST, "10.3", NULL},
    {"restart", "RestartDevice", N_MANAGED | N_SUPERVISED, "10.3", NULL},
    {"shut_down", "ShutDownDevice", N_MANAGED | N_SUPERVISED, "10.3", NULL},
    {"rename", "Settings", N_MANAGED | N_SUPERVISED, "9.0", "DeviceInformation"},
    {"settings", "Settings", N_MANAGED, NULL, "DeviceInformation"},
    {"install_profile", "InstallProfile", N_MANAGED | USERS, NULL, "ProfileList"},
    {"remove_profile", "RemoveProfile", N_MANAGED | USERS, NULL, "ProfileList"},
    {"install_app", "InstallApplication", N_MANAGED, NULL, "ManagedApplicationList"},
    {"remove_app", "RemoveApplication", N_MANAGED, NULL, "InstalledApplicationList"},
    {"redeem", "ApplyRedemptionCode", N_MANAGED | N_NOT_UE, NULL, "ManagedApplicationList"},
    {"invite", "InviteToProgram", N_MANAGED | N_NOT_UE, "7.0", NULL},
    {"configured", "DeviceConfigured", N_MANAGED | N_NOT_UE, "9.0", NULL},
    {"ask_information", "DeviceInformation", N_MANAGED, NULL, NULL},
    {"ask_security", "SecurityInfo", N_MANAGED, NULL, NULL},
    {"ask_apps", "InstalledApplicationList", N_MANAGED, NULL, NULL},
    {"ask_managed_apps", "ManagedApplicationList", N_MANAGED, NULL, NULL},
    {"ask_profiles", "ProfileList", N_MANAGED | USERS, NULL, NULL},
    {"ask_certificates", "CertificateList", N_MANAGED, NULL, NULL},
    {"ask_provisioning", "ProvisioningProfileList", N_MANAGED | N_NOT_UE, NULL, NULL},
    {"ask_restrictions", "Restrictions", N_MANAGED | N_NOT_UE, NULL, NULL},
    {"unenroll", NULL, N_MANAGED, NULL, NULL},
    {"wipe", NULL, N_MANAGED | N_NOT_UE, NULL, NULL},
    {"mail_unenroll", NULL, N_MAIL | N_NOT_LEAVING, NULL, NULL},
    {"mail_wipe", NULL, N_MAIL | N_NOT_LEAVING, NULL, NULL},
    {"cancel_leaving", NULL, N_QUEUED, NULL, NULL},
    {"give_up", NULL, N_LEAVING, NULL, NULL},
    {"retire", NULL, N_UNMANAGED, NULL, NULL},
    {"unretire", NULL, N_RETIRED | N_NOT_LEAVING, NULL, NULL},
    {NULL, NULL, 0, NULL, NULL},
};

int mdm_action_changes(const char *request_type)
{
    static const char *const changing[] = {"InstallProfile", "RemoveProfile", "InstallApplication", "RemoveApplication",
                                           "ApplyRedemptionCode", "InviteToProgram", "Settings", NULL};
    int i;

    for (i = 0; request_type && changing[i]; i++) {
        if (!strcmp(changing[i], request_type))
            return 1;
    }
    return 0;
}

/* ---------------------------------------------------------------- the rules, in the order in which people want to hear them */

static int managed(const mdm_action_facts_t *f)
{
    return f->record_state && !strcmp(f->record_state, "enrolled") && !strcmp(f->state, "active");
}

static int is_leaving(const mdm_action_facts_t *f)
{
    return (f->record_state && !strcmp(f->record_state, "leaving")) || (f->mail_state && !strcmp(f->mail_state, "leaving"));
}

static int not_leaving(const mdm_action_facts_t *f)
{
    return !is_leaving(f);
}

static int queued(const mdm_action_facts_t *f)
{
    return !f->mail_fetched && (!f->record_state || strcmp(f->record_state, "leaving") != 0 || (f->leaving && !strcmp(f->leaving, "queued")));
}

static int supervised(const mdm_action_facts_t *f)
{
    return f->supervised == 1;
}

static int not_user_enrolled(const mdm_action_facts_t *f)
{
    return !f->user_enrolled;
}

static int lost(const mdm_action_facts_t *f)
{
    return f->lost;
}

static int not_lost(const mdm_action_facts_t *f)
{
    return !f->lost;
}

static int unlock(const mdm_action_facts_t *f)
{
    return f->unlock;
}

static int retired(const mdm_action_facts_t *f)
{
    return !strcmp(f->state, "retired");
}

static int unmanaged(const mdm_action_facts_t *f)
{
    return !managed(f) && !retired(f) && !is_leaving(f);
}

static int by_mail(const mdm_action_facts_t *f)
{
    return !managed(f) && f->mail_state && !retired(f);
}

static const struct {
    unsigned need;
    int (*holds)(const mdm_action_facts_t *f);
    const char *reason, *why;
} rules[] = {
    {N_QUEUED, is_leaving, "not_leaving", "No removal or wipe of this device is pending."},
    {N_LEAVING, is_leaving, "not_leaving", "No removal or wipe of this device is pending."},
    {N_QUEUED, queued, "delivered", "The device has its removal or wipe already."},
    {N_RETIRED, retired, "not_retired", "The device is not retired."},
    {N_NOT_LEAVING, not_leaving, "leaving", "Its removal or wipe is still pending."},
    {N_MAIL, by_mail, "not_by_mail", "The device is not enrolled by mail alone."},
    {N_UNMANAGED, unmanaged, "managed", "The device is under management, retired, or leaving."},
    {N_MANAGED, managed, "not_managed", "The device is not under management."},
    {N_NOT_UE, not_user_enrolled, "user_enrolled", "The device is its owner's (user enrolment): that is not allowed."},
    {N_SUPERVISED, supervised, "not_supervised", "Only a supervised device does that."},
    {N_LOST, lost, "not_lost", "The device is not in lost mode."},
    {N_NOT_LOST, not_lost, "lost", "The device is in lost mode."},
    {N_UNLOCK, unlock, "no_unlock_token", "The device has given no unlock token."},
};

const mdm_action_t *mdm_action_named(const char *name)
{
    const mdm_action_t *a = mdm_actions;

    while (a->name && strcmp(a->name, name) != 0) {
        a++;
    }
    return a->name ? a : NULL;
}

static const char too_old[] = "os_too_old", too_old_why[] = "The device's system is too old for that.";

const char *mdm_action_why(const char *reason)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (!strcmp(rules[i].reason, reason)) {
            return rules[i].why;
        }
    }
    return strcmp(reason, too_old) ? NULL : too_old_why;
}

const char *mdm_action_refused(const mdm_action_t *action, const mdm_action_facts_t *facts, const char **why)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (action->needs & rules[i].need && !rules[i].holds(facts)) {
            *why = rules[i].why;
            return rules[i].reason;
        }
    }
    if (action->min_os && *facts->os_version && !mdm_version_at_least(facts->os_version, action->min_os)) {
        *why = too_old_why;
        return too_old;
    }
    *why = NULL;
    return NULL;
}

/* ---------------------------------------------------------------- what is known of a device */

static int said(json_t *section, const char *key)
{
    return json_is_true(json_object_get(section, key));
}

static void facts_take(const mdm_q_action_facts_t *row, mdm_action_facts_t *f)
{
    json_t *inventory = json_loads(row->inventory, 0, NULL);

    *f = (mdm_action_facts_t){.device_id = row->id, .name = row->name, .state = row->state, .os_version = row->os_version,
                              .record_id = row->record_id, .record_state = row->record_state, .leaving = row->leaving,
                              .mail_state = row->mail_state, .mail_fetched = row->mail_fetched != 0,
                              .model = row->model, .serial = row->serial, .platform = row->platform, .login = row->login,
                              .person = row->person, .mail = row->mail,
                              .supervised = row->supervised_null ? -1 : row->supervised != 0, .unlock = (int)row->unlock};
    f->user_enrolled = !strcmp(row->account, "byod") || said(json_object_get(json_object_get(inventory, "security"), "ManagementStatus"), "IsUserEnrollment");
    f->lost = said(json_object_get(inventory, "device"), "IsMDMLostModeEnabled");
    json_decref(inventory);
}

apr_status_t mdm_action_facts_of(mdm_db_t *db, json_t *ids, apr_array_header_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_action_facts(db, mdm_json_text(ctx->pool, ids), &rows);

    *out = apr_array_make(ctx->pool, 1, sizeof(mdm_action_facts_t));
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        facts_take(&APR_ARRAY_IDX(rows, i, mdm_q_action_facts_t), apr_array_push(*out));
    }
    return rv;
}

apr_status_t mdm_action_facts(mdm_db_t *db, const char *device_id, mdm_action_facts_t **out)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_action_facts_of(db, mdm_json_own(mdm_db_ctx(db), json_pack("[s]", device_id)), &rows);

    if (rv == APR_SUCCESS && !rows->nelts) {
        rv = APR_NOTFOUND;
    }
    *out = (mdm_action_facts_t *)rows->elts;
    return rv;
}

apr_status_t mdm_action_json(mdm_db_t *db, const char *device_id, json_t **out)
{
    mdm_action_facts_t *facts;
    apr_status_t rv = mdm_action_facts(db, device_id, &facts);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    *out = json_array();
    for (const mdm_action_t *a = mdm_actions; a->name; a++) {
        const char *why, *reason = mdm_action_refused(a, facts, &why);
        json_t *keys = a->command ? mdm_command_keys(a->command) : NULL;
        json_array_append_new(*out, json_pack("{s:s, s:s?, s:b, s:s?, s:s?, s:o}", "action", a->name, "command", a->command,
                                              "applies", reason == NULL, "reason", reason, "why", why, "keys",
                                              keys ? keys : json_array()));
    }
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- orders */

/* Which row of the table an order is: renaming needs more than other settings. */
static const mdm_action_t *action_of(const mdm_action_order_t *o)
{
    json_t *items = json_object_get(o->payload, "Settings"), *item;
    size_t i;
    int rename = 0;

    json_array_foreach(items, i, item) {
        const char *name = json_string_value(json_object_get(item, "Item"));
        rename = rename || (name && (!strcmp(name, "DeviceName") || !strcmp(name, "Wallpaper") || !strcmp(name, "Bluetooth")));
    }
    for (const mdm_action_t *a = mdm_actions; a->name; a++) {
        if (a->command && !strcmp(a->command, o->request_type) && (rename || strcmp(a->name, "rename") != 0)) {
            return a;
        }
    }
    return NULL;
}

static int leaves(const mdm_action_order_t *o)
{
    const char *profile = json_string_value(json_object_get(o->payload, "Identifier"));

    return !strcmp(o->request_type, "EraseDevice")
           || (!strcmp(o->request_type, "RemoveProfile") && profile && !strcmp(profile, MDM_ENROLL_PROFILE_ID));
}

static apr_status_t may_order(mdm_ctx_t *ctx, const mdm_action_order_t *o, const mdm_action_t *action,
                              const mdm_action_facts_t *facts)
{
    static const mdm_action_t any = {.name = "raw", .needs = N_MANAGED};
    const char *why;
    apr_status_t rv = o->raw ? APR_SUCCESS : mdm_command_check(ctx, o->request_type, o->payload);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (leaves(o)) {
        return mdm_fail(ctx, MDM_ECONFLICT, "request_type", "Wiping and removing management is done by unenrolling the device.");
    }
    if (!action && !o->raw) {
        return mdm_fail(ctx, MDM_EINPUT, "request_type", "There is no such command.");
    }
    if (o->record_id && !(action && action->needs & USERS)) {
        return mdm_fail(ctx, MDM_EINPUT, "request_type", "The channels of users don't take that: it is for the device.");
    }
    if (facts->user_enrolled && mdm_command_not_owned(o->request_type)) {
        return mdm_fail(ctx, MDM_ECONFLICT, "request_type", "%s", mdm_action_why("user_enrolled"));
    }
    return mdm_action_refused(o->raw ? &any : action, facts, &why) ? mdm_fail(ctx, MDM_ECONFLICT, "request_type", "%s", why)
                                                                   : APR_SUCCESS;
}

static apr_status_t audit_order(mdm_db_t *db, const mdm_action_order_t *o, const char *name, const char *id)
{
    json_t *keys = json_array(), *detail, *v;
    const char *key;
    apr_status_t rv;

    json_object_foreach(o->payload, key, v) {
        json_array_append_new(keys, json_string(key));
    }
    detail = json_pack("{s:s, s:s, s:o, s:b, s:s*}", "command", o->request_type, "id", id, "keys", keys, "raw", o->raw, "record", o->record_id);
    if (o->reason && *o->reason) {
        json_object_set_new(detail, "reason", json_string(o->reason));
    }
    rv = mdm_audit(db, o->raw ? "device.command_raw" : "device.command", "device", o->device_id, name, "done", detail);
    json_decref(detail);
    return rv;
}

/* The record that gets it: the device's own, or that of one of its users. */
static apr_status_t record_of(mdm_db_t *db, const mdm_action_order_t *o, const mdm_action_facts_t *facts, const char **record_id)
{
    mdm_q_apple_user_record_t *row;
    apr_status_t rv;

    *record_id = facts->record_id;
    if (!o->record_id) {
        return APR_SUCCESS;
    }
    rv = mdm_q_apple_user_record(db, o->record_id, o->device_id, &row);
    *record_id = rv == APR_SUCCESS ? row->id : NULL;
    return rv;
}

apr_status_t mdm_action_order(mdm_db_t *db, const mdm_action_order_t *o, const char **id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const mdm_action_t *action = action_of(o);
    mdm_action_facts_t *facts;
    const char *record_id = NULL;
    apr_status_t rv = mdm_action_facts(db, o->device_id, &facts);

    if (rv == APR_SUCCESS) {
        rv = record_of(db, o, facts, &record_id);
    }
    if (rv == APR_SUCCESS) {
        rv = may_order(ctx, o, action, facts);
    }
    if (rv == APR_SUCCESS) {
        mdm_command_add_t add = {.record_id = record_id, .request_type = o->request_type, .payload = o->payload,
                                 .raw = o->raw, .task_id = o->task_id, .expires_ms = o->expires_ms,
                                 .wake_after_ms = o->wake_after_ms};
        rv = mdm_command_enqueue(db, &add, id);
    }
    if (rv == APR_SUCCESS && action && action->after) {
        mdm_command_add_t look = {.record_id = record_id, .request_type = action->after, .coalesce_key = action->after,
                                  .wake_after_ms = o->wake_after_ms};
        rv = mdm_command_enqueue(db, &look, NULL);
    }
    return rv == APR_SUCCESS ? audit_order(db, o, facts->name, *id) : rv;
}
