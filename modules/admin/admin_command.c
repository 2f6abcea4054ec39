/* What is done to one device: commands, typed and raw, and the four ways of leaving (DEV-08..13, IOS-09, IOS-12). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_action.h"
#include "domain/mdm_apple_user.h"
#include "domain/mdm_command.h"
#include "domain/mdm_device.h"
#include "domain/mdm_eas_wipe.h"
#include "domain/mdm_roles.h"
#include "wire/mdm_plist.h"

#define REASON_MAX 500
#define COMMANDS_SHOWN 200
#define EXPIRY_MAX_MIN 525600

/* ---- leaving */

typedef struct leave_t {
    const char *wipe, *then, *reason;
    json_t *erase; /* further keys of EraseDevice, may be NULL */
} leave_t;

static apr_status_t do_unenroll(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    const leave_t *l = arg;
    json_t *d = NULL;
    apr_status_t rv = mdm_device_json(db, id, &d, NULL);

    if (rv != APR_SUCCESS)
        return rv;
    json_decref(d);
    rv = mdm_unenroll_apple(db, id, strcmp(l->wipe, "full") == 0, strcmp(l->then, "delete") == 0, l->erase,
                            l->reason);
    if (rv == APR_NOTFOUND && !l->erase)
        rv = mdm_eas_unenroll(db, id, strcmp(l->wipe, "full") == 0, strcmp(l->then, "delete") == 0, l->reason);
    if (rv == APR_NOTFOUND)
        rv = mdm_fail(call->ctx, MDM_ECONFLICT, NULL, "The device is not under management: retire or delete it instead.");
    return rv;
}

int mdm_adm_device_unenroll(mdm_web_call_t *call)
{
    static const char *const wipes[] = {"selective", "full", NULL}, *const thens[] = {"retire", "delete", NULL};
    leave_t l = {NULL, NULL, "", NULL};
    const mdm_jfield_t fields[] = {{"wipe", MDM_JF_ENUM, 1, 0, 0, wipes, 0, &l.wipe, NULL},
                                   {"then", MDM_JF_ENUM, 1, 0, 0, thens, 0, &l.then, NULL},
                                   {"reason", MDM_JF_STR, 0, 0, REASON_MAX, NULL, 0, &l.reason, NULL},
                                   {"erase", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &l.erase, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);
    int rc;

    if (rv == APR_SUCCESS && l.erase && strcmp(l.wipe, "full") != 0)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "erase", "belongs to a full wipe");
    if (rv == APR_SUCCESS && l.erase && mdm_command_check(call->ctx, "EraseDevice", l.erase) != APR_SUCCESS)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "erase", "%s", call->ctx->fail_text);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rc = mdm_adm_act(call, do_unenroll, &l, HTTP_ACCEPTED);
    if (call->r->status == HTTP_ACCEPTED)
        call->svc->job_wake();
    return rc;
}

static apr_status_t do_retire(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_device_retire(db, id, arg);
}

static apr_status_t do_unretire(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_device_unretire(db, id, arg);
}

static apr_status_t do_delete(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_device_delete(db, id, arg);
}

static int with_reason(mdm_web_call_t *call, mdm_adm_act_fn fn)
{
    const char *reason = "";
    const mdm_jfield_t fields[] = {{"reason", MDM_JF_STR, 0, 0, REASON_MAX, NULL, 0, &reason, NULL}, {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_adm_act(call, fn, reason, HTTP_NO_CONTENT) : mdm_adm_fail(call, rv);
}

static apr_status_t do_cancel_leaving(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    json_t *d = NULL;
    apr_status_t rv = mdm_device_json(db, id, &d, NULL);

    json_decref(d);
    return rv == APR_SUCCESS ? mdm_leave_cancel(db, id) : rv;
}

int mdm_adm_device_unenroll_cancel(mdm_web_call_t *call)
{
    return mdm_adm_act(call, do_cancel_leaving, NULL, HTTP_NO_CONTENT);
}

static apr_status_t do_give_up(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    json_t *d = NULL;
    apr_status_t rv = mdm_device_json(db, id, &d, NULL);

    json_decref(d);
    return rv == APR_SUCCESS ? mdm_leave_give_up(db, id, arg) : rv;
}

int mdm_adm_device_give_up(mdm_web_call_t *call)
{
    return with_reason(call, do_give_up);
}

int mdm_adm_device_retire(mdm_web_call_t *call)
{
    return with_reason(call, do_retire);
}

int mdm_adm_device_unretire(mdm_web_call_t *call)
{
    return with_reason(call, do_unretire);
}

int mdm_adm_device_delete(mdm_web_call_t *call)
{
    return mdm_adm_act(call, do_delete, "", HTTP_NO_CONTENT);
}

/* ---- commands */

static apr_status_t list_commands(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    apr_array_header_t *rows = NULL;
    apr_status_t rv = mdm_command_list(db, id, COMMANDS_SHOWN, &rows);
    int i;

    if (rv != APR_SUCCESS)
        return rv;
    *out = json_array();
    for (i = 0; i < rows->nelts; i++) {
        const mdm_command_t *c = &APR_ARRAY_IDX(rows, i, mdm_command_t);
        json_array_append_new(
            *out, json_pack("{s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s?, s:o}", "id", c->id,
                            "request_type", c->request_type, "state", c->state, "open", c->open != 0, "leaving",
                            c->leaving != 0, "seq", (json_int_t)c->seq, "offers", (json_int_t)c->offers, "created_by",
                            c->created_by ? c->created_by : "", "created_at", mdm_adm_time(p, c->created_ms), "sent_at",
                            mdm_adm_time(p, c->sent_ms), "notnow_at", mdm_adm_time(p, c->notnow_ms), "done_at",
                            mdm_adm_time(p, c->done_ms), "expires_at", mdm_adm_time(p, c->expires_ms), "error",
                            c->error ? mdm_adm_parsed(c->error) : json_null(), "result",
                            c->result ? mdm_adm_parsed(c->result) : json_null(), "why", mdm_adm_text(c->why),
                            "why_code", mdm_adm_text(c->why_code), "why_value", mdm_adm_text(c->why_value),
                            "user", c->user, "task", mdm_adm_text(c->task_id)));
    }
    return APR_SUCCESS;
}

int mdm_adm_device_commands(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "commands", list_commands);
}

static apr_status_t do_cancel(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    json_t *detail = json_pack("{s:s}", "command", (const char *)arg);
    apr_status_t rv = mdm_command_cancel(db, id, arg);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_audit_device(db, "command.cancel", id, detail);
    json_decref(detail);
    return rv;
}

int mdm_adm_command_cancel(mdm_web_call_t *call)
{
    if (!mdm_is_uuid(call->args[1]))
        return mdm_adm_fail(call, APR_NOTFOUND);
    return mdm_adm_act(call, do_cancel, call->args[1], HTTP_NO_CONTENT);
}

static apr_status_t actions(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    return mdm_action_json(db, id, out);
}

int mdm_adm_device_actions(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "actions", actions);
}

/* Queues what the order says and answers 201 with the command's id. */
static int order(mdm_web_call_t *call, mdm_action_order_t *o, apr_int64_t minutes)
{
    const char *id = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &o->device_id);

    o->expires_ms = minutes ? mdm_now_ms(call->ctx) + minutes * 60000 : 0;
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_action_order(db, o, &id);
    rv = mdm_adm_end(db, rv);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    call->svc->job_wake();
    return mdm_web_json(call->r, HTTP_CREATED, json_pack("{s:s}", "id", id));
}

/* record: a channel of one of the device's users, NULL for the device. */
static int typed(mdm_web_call_t *call, const char *record)
{
    mdm_action_order_t o = {.record_id = record};
    apr_int64_t minutes = 0;
    const mdm_jfield_t fields[] = {{"request_type", MDM_JF_STR, 1, 1, 64, NULL, 0, &o.request_type, NULL},
                                   {"payload", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &o.payload, NULL},
                                   {"expires_minutes", MDM_JF_INT, 0, 1, EXPIRY_MAX_MIN, NULL, 0, &minutes, NULL},
                                   {"reason", MDM_JF_STR, 0, 0, REASON_MAX, NULL, 0, &o.reason, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS && mdm_action_changes(o.request_type)
        && !mdm_rights_cover(call->caller->rights, "{\"device\": [\"write\"]}"))
        rv = mdm_fail(call->ctx, MDM_EDENIED, NULL, "Your role lacks the right device:write.");
    return rv == APR_SUCCESS ? order(call, &o, minutes) : mdm_adm_fail(call, rv);
}

int mdm_adm_device_command(mdm_web_call_t *call)
{
    return typed(call, NULL);
}

/* ---- the channels of its users (IOS-01) */

static apr_status_t users(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    return mdm_apple_users_json(db, id, out);
}

int mdm_adm_device_users(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "users", users);
}

int mdm_adm_device_user_command(mdm_web_call_t *call)
{
    return mdm_is_uuid(call->args[1]) ? typed(call, call->args[1]) : mdm_adm_fail(call, APR_NOTFOUND);
}

int mdm_adm_device_command_raw(mdm_web_call_t *call)
{
    mdm_action_order_t o = {.raw = 1};
    apr_int64_t minutes = 0;
    json_t *command = NULL, *type;
    const mdm_jfield_t fields[] = {{"command", MDM_JF_OBJECT, 1, 0, 0, NULL, 0, &command, NULL},
                                   {"expires_minutes", MDM_JF_INT, 0, 1, EXPIRY_MAX_MIN, NULL, 0, &minutes, NULL},
                                   {"reason", MDM_JF_STR, 0, 0, REASON_MAX, NULL, 0, &o.reason, NULL},
                                   {NULL}};
    mdm_plist_t *plist;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    type = json_object_get(command, "RequestType");
    if (rv == APR_SUCCESS && (!json_is_string(type) || !json_string_length(type) || json_string_length(type) > 64))
        rv = mdm_fail(call->ctx, MDM_EINPUT, "command", "must be a dictionary with a RequestType");
    if (rv == APR_SUCCESS && mdm_plist_from_json(call->ctx, command, &plist) != APR_SUCCESS)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "command", "holds something that no property list can carry");
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    o.request_type = apr_pstrdup(call->r->pool, json_string_value(type));
    o.payload = mdm_json_own(call->ctx, json_copy(command));
    json_object_del(o.payload, "RequestType");
    return order(call, &o, minutes);
}
