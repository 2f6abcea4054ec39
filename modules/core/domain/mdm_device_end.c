/* How an administrator ends a device: retire, take that back, delete the object (DEV-12, DEV-13). */
#include "domain/mdm_apple.h"
#include "domain/mdm_command.h"
#include "domain/mdm_device.h"
#include "domain/mdm_eas.h"
#include "domain/mdm_eas_wipe.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define LEAVING "Its removal or wipe is still pending: take it back, or wait no longer."

apr_status_t mdm_device_hold(mdm_db_t *db, const char *id)
{
    apr_array_header_t *rows;

    return mdm_q_eas_hold_device(db, id, &rows);
}

/* Ends the live Apple record, if there is one, without asking the device. */
static apr_status_t end_record(mdm_db_t *db, const char *id)
{
    const char *record;
    apr_status_t rv = mdm_command_record(db, id, &record);

    if (rv == APR_NOTFOUND)
        return APR_SUCCESS;
    return rv == APR_SUCCESS ? mdm_apple_leave(db, record, "given_up") : rv;
}

static apr_status_t note(mdm_db_t *db, const char *action, const mdm_q_device_full_t *d, const char *reason)
{
    json_t *detail = json_pack("{s:s, s:s, s:s}", "reason", reason ? reason : "", "state", d->state, "serial",
                               d->serial ? d->serial : "");
    apr_status_t rv = mdm_audit(db, action, "device", d->id, d->name, "done", detail);

    json_decref(detail);
    return rv == APR_SUCCESS ? mdm_change_add(db, "device", d->id) : rv;
}

apr_status_t mdm_device_retire(mdm_db_t *db, const char *id, const char *reason)
{
    mdm_q_device_full_t *d;
    apr_status_t rv = mdm_device_hold(db, id);

    if (rv == APR_SUCCESS)
        rv = mdm_q_device_full(db, id, &d);
    if (rv == APR_SUCCESS && strcmp(d->state, "retired") == 0)
        rv = mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, "state", "The device is retired already.");
    if (rv == APR_SUCCESS && mdm_leave_pending(db, id)) /* ending the record would take it back in silence */
        rv = mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, "state", LEAVING);
    if (rv == APR_SUCCESS)
        rv = mdm_q_device_state_set(db, id, "retired", NULL);
    if (rv == APR_SUCCESS)
        rv = end_record(db, id);
    if (rv == APR_SUCCESS)
        rv = mdm_eas_leave(db, id, "retired");
    if (rv == APR_SUCCESS)
        rv = mdm_device_event(db, id, NULL, "retired", NULL);
    return rv == APR_SUCCESS ? note(db, "device.retire", d, reason) : rv;
}

apr_status_t mdm_device_unretire(mdm_db_t *db, const char *id, const char *reason)
{
    mdm_q_device_full_t *d;
    apr_status_t rv = mdm_device_hold(db, id);

    if (rv == APR_SUCCESS)
        rv = mdm_q_device_full(db, id, &d);
    if (rv == APR_SUCCESS && strcmp(d->state, "retired") != 0)
        rv = mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, "state", "The device is not retired.");
    if (rv == APR_SUCCESS && mdm_leave_pending(db, id))
        rv = mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, "state", LEAVING);
    if (rv == APR_SUCCESS)
        rv = mdm_q_device_state_set(db, id, "removed", NULL);
    if (rv == APR_SUCCESS)
        rv = mdm_device_event(db, id, NULL, "unretired", NULL);
    return rv == APR_SUCCESS ? note(db, "device.unretire", d, reason) : rv;
}

apr_status_t mdm_device_delete(mdm_db_t *db, const char *id, const char *reason)
{
    mdm_q_device_full_t *d;
    int n, kept = 0;
    apr_status_t rv = mdm_device_hold(db, id);

    if (rv == APR_SUCCESS)
        rv = mdm_q_device_full(db, id, &d);
    if (rv == APR_SUCCESS)
        rv = mdm_leave_detach(db, id, &kept);
    if (rv == APR_SUCCESS)
        rv = mdm_eas_wipe_detach(db, id);
    if (rv == APR_SUCCESS && !kept)
        rv = end_record(db, id);
    if (rv == APR_SUCCESS)
        rv = mdm_q_device_certs_detach(db, id, &n);
    if (rv == APR_SUCCESS)
        rv = mdm_q_device_remove(db, id, &n); /* 0 rows: leaving has deleted it */
    return rv == APR_SUCCESS ? note(db, "device.delete", d, reason) : rv;
}
