/* How a device leaves (DEV-12): the one command that a leaving record may fetch, from asking to its end. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_action.h"
#include "domain/mdm_apple.h"
#include "domain/mdm_command.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_device.h"
#include "domain/mdm_eas.h"
#include "domain/mdm_eas_wipe.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_push.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"

#define NONE_PENDING "No removal or wipe of this device is pending."
#define AGAIN_MS (10 * 60 * 1000LL)
#define AGAIN_CAP_MS (12 * 3600 * 1000LL)
#define SILENT_MS (24 * 3600 * 1000LL)

/* ---------------------------------------------------------------- beginning */

static apr_status_t audit_leave(mdm_db_t *db, const char *device_id, const char *name, int wipe, int del, const char *reason)
{
    json_t *detail = json_pack("{s:s, s:s, s:s}", "how", wipe ? "wipe" : "selective", "then", del ? "delete" : "retire",
                               "reason", reason ? reason : "");
    apr_status_t rv = mdm_audit(db, "device.unenroll", "device", device_id, name, "done", detail);

    if (rv == APR_SUCCESS) {
        rv = mdm_device_event(db, device_id, NULL, "unenroll.asked", detail);
    }
    json_decref(detail);
    return rv;
}

static apr_status_t queue_leave(mdm_db_t *db, const char *record_id, int wipe, json_t *erase)
{
    json_t *payload = wipe ? (erase ? json_incref(erase) : json_object())
                           : json_pack("{s:s}", "Identifier", MDM_ENROLL_PROFILE_ID);
    mdm_command_add_t add = {.record_id = record_id, .request_type = wipe ? "EraseDevice" : "RemoveProfile",
                             .payload = payload, .leaving = 1};
    apr_status_t rv = mdm_command_enqueue(db, &add, NULL);

    json_decref(payload);
    return rv;
}

apr_status_t mdm_unenroll_apple(mdm_db_t *db, const char *device_id, int wipe, int del, json_t *erase, const char *reason)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_command_record_t *record;
    mdm_q_unenroll_device_t *device;
    apr_status_t rv = mdm_device_hold(db, device_id);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_command_record(db, device_id, &record);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (wipe && !strcmp(record->account, "byod")) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "%s Remove its management instead: all work data goes with it.",
                        mdm_action_why("user_enrolled"));
    }
    rv = mdm_q_unenroll_begin(db, record->id);
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "The device is being unenrolled already.");
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_unenroll_device(db, device_id, del ? "wipe_pending" : "retired", &device);
    }
    if (rv == APR_SUCCESS) {
        rv = audit_leave(db, device_id, device->name, wipe, del, reason);
    }
    if (rv == APR_SUCCESS) {
        rv = wipe ? mdm_eas_wipe_along(db, device_id) : mdm_eas_leave(db, device_id, "unenrolled");
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_command_clear(db, record->id);
    }
    return rv == APR_SUCCESS ? queue_leave(db, record->id, wipe, erase) : rv;
}

apr_status_t mdm_leave_cancelled(mdm_db_t *db, const char *record_id, const char *device_id)
{
    mdm_q_unenroll_device_t *device;
    const char *was;
    apr_status_t rv = mdm_eas_wipe_cancel(db, device_id, &was);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_unenroll_undo(db, record_id, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_unenroll_device(db, device_id, "active", &device);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_audit(db, "device.unenroll_cancel", "device", device_id, device->name, "done", NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_delivery_refresh(db, record_id);
    }
    return rv == APR_SUCCESS ? mdm_change_add(db, "device", device_id) : rv;
}

apr_status_t mdm_leave_cancel(mdm_db_t *db, const char *device_id)
{
    mdm_q_leave_open_t *row;
    const char *was;
    apr_status_t rv = mdm_device_hold(db, device_id);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_leave_open(db, device_id, &row);
    }
    if (!APR_STATUS_IS_NOTFOUND(rv)) {
        return rv == APR_SUCCESS ? mdm_command_cancel(db, device_id, row->id) : rv;
    }
    rv = mdm_eas_wipe_cancel(db, device_id, &was);
    return rv == APR_SUCCESS && !was ? mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, NULL, NONE_PENDING) : rv;
}

/* ---------------------------------------------------------------- refused, silent, given up */

/* Whoever deletes an object with its wipe pending wants the data gone: what refused stays to be seen. */
static apr_status_t wipe_refused(mdm_db_t *db, const char *record_id, const char *device_id)
{
    const char *text = mdm_said(mdm_db_ctx(db)->pool, "said_wipe_refused", NULL);
    mdm_q_unenroll_device_t *device;
    apr_status_t rv = APR_SUCCESS;

    if (device_id) {
        rv = mdm_q_unenroll_device(db, device_id, "retired", &device);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_message(db, device_id ? "device" : "zone", device_id ? device_id : "apple", MDM_MSG_ERROR, "wipe.refused", text);
    }
    return rv == APR_SUCCESS ? mdm_apple_leave(db, record_id, "refused") : rv;
}

apr_status_t mdm_leave_refused(mdm_db_t *db, const char *record_id, const char *device_id, const mdm_command_done_t *done)
{
    mdm_q_leave_again_t *row;
    apr_status_t rv = mdm_q_leave_again(db, done->id, record_id, mdm_now_ms(mdm_db_ctx(db)), MDM_LEAVE_REFUSALS, &row);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (row->open) {
        return mdm_push_wake(db, record_id, mdm_backoff_ms((int)row->refusals - 1, AGAIN_MS, AGAIN_CAP_MS));
    }
    if (!strcmp(done->request_type, "EraseDevice")) {
        return wipe_refused(db, record_id, device_id);
    }
    return mdm_apple_leave(db, record_id, "refused");
}

apr_status_t mdm_leave_silent(mdm_db_t *db, int *count)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_leave_silent(db, mdm_now_ms(mdm_db_ctx(db)) - SILENT_MS, &rows);

    *count = rv == APR_SUCCESS ? rows->nelts : 0;
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        rv = mdm_apple_leave(db, APR_ARRAY_IDX(rows, i, mdm_q_leave_silent_t).record_id, "silent");
    }
    return rv;
}

/* A leaving record may have no open command: one that could not be made was ended. */
static apr_status_t leaving_record(mdm_db_t *db, const char *device_id, const char **record_id)
{
    mdm_q_command_record_t *row;
    apr_status_t rv = mdm_q_command_record(db, device_id, &row);

    *record_id = rv == APR_SUCCESS ? row->id : NULL;
    return rv == APR_SUCCESS && strcmp(row->state, "leaving") != 0 ? APR_NOTFOUND : rv;
}

apr_status_t mdm_leave_give_up(mdm_db_t *db, const char *device_id, const char *reason)
{
    json_t *detail = mdm_json_own(mdm_db_ctx(db), json_pack("{s:s}", "reason", reason ? reason : ""));
    const char *record_id;
    apr_status_t rv = mdm_device_hold(db, device_id);
    int by_mail;

    if (rv == APR_SUCCESS) {
        rv = leaving_record(db, device_id, &record_id);
    }
    by_mail = APR_STATUS_IS_NOTFOUND(rv);
    if (by_mail && !mdm_eas_wipe_pending(db, device_id)) {
        return mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, NULL, NONE_PENDING);
    }
    if (rv == APR_SUCCESS || by_mail) {
        rv = mdm_audit(db, "device.give_up", "device", device_id, "", "done", detail);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    return by_mail ? mdm_eas_wipe_give_up(db, device_id) : mdm_apple_leave(db, record_id, "given_up");
}

int mdm_leave_pending(mdm_db_t *db, const char *device_id)
{
    const char *record_id;

    return leaving_record(db, device_id, &record_id) == APR_SUCCESS || mdm_eas_wipe_pending(db, device_id);
}

/* ---------------------------------------------------------------- the object goes first */

apr_status_t mdm_leave_detach(mdm_db_t *db, const char *device_id, int *kept)
{
    mdm_q_leave_open_t *row;
    apr_status_t rv = mdm_q_leave_open(db, device_id, &row);

    *kept = rv == APR_SUCCESS && !strcmp(row->request_type, "EraseDevice");
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        return APR_SUCCESS;
    }
    if (rv == APR_SUCCESS && *kept) {
        rv = mdm_q_leave_detach_commands(db, row->record_id, NULL);
    }
    if (rv == APR_SUCCESS && *kept) {
        rv = mdm_q_leave_detach_record(db, row->record_id, NULL);
    }
    return rv;
}
