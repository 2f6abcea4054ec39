/* Schedules of the zone, of folders and devices (DEV-05, DEV-06). */
#include "mdm_admin.h"

#include "base/mdm_json.h"
#include "domain/mdm_schedule.h"

static apr_status_t read_folder(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    return mdm_schedule_json(db, MDM_SCHEDULE_FOLDER, id, out, version);
}

static apr_status_t read_device(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    return mdm_schedule_json(db, MDM_SCHEDULE_DEVICE, id, out, version);
}

static apr_status_t edit_folder(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    return mdm_schedule_edit(db, MDM_SCHEDULE_FOLDER, id, version, arg);
}

static apr_status_t edit_device(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    return mdm_schedule_edit(db, MDM_SCHEDULE_DEVICE, id, version, arg);
}

static apr_status_t read_edit(mdm_web_call_t *call, mdm_schedule_edit_t *e)
{
    const mdm_jfield_t fields[] = {{"refresh", MDM_JF_OBJECT, 0, 0, 0, NULL, 1, &e->refresh, &e->given_refresh},
                                   {"lost", MDM_JF_OBJECT, 0, 0, 0, NULL, 1, &e->lost, &e->given_lost},
                                   {NULL}};

    return mdm_json_fields(call->ctx, call->body, fields);
}

/* The devices concerned are looked at by a job. */
static int save(mdm_web_call_t *call, mdm_adm_edit_fn fn, mdm_adm_read_fn read)
{
    mdm_schedule_edit_t e = {0, 0, NULL, NULL};
    apr_status_t rv = read_edit(call, &e);
    int rc;

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rc = mdm_adm_edit(call, fn, &e, read);
    call->svc->job_wake();
    return rc;
}

static apr_status_t zone_json(mdm_web_call_t *call, json_t **out)
{
    apr_int64_t version;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_schedule_json(db, MDM_SCHEDULE_ZONE, "", out, &version);
        mdm_db_close(db);
    }
    return rv;
}

int mdm_adm_schedule(mdm_web_call_t *call)
{
    json_t *body = NULL;
    apr_status_t rv = mdm_adm_params(call, NULL);

    if (rv == APR_SUCCESS)
        rv = zone_json(call, &body);
    return rv == APR_SUCCESS ? mdm_adm_json(call, body) : mdm_adm_fail(call, rv);
}

int mdm_adm_schedule_save(mdm_web_call_t *call)
{
    mdm_schedule_edit_t e = {0, 0, NULL, NULL};
    json_t *body = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = read_edit(call, &e);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_schedule_edit(db, MDM_SCHEDULE_ZONE, "", 0, &e);
    rv = mdm_adm_end(db, rv);
    if (rv == APR_SUCCESS)
        rv = zone_json(call, &body);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    call->svc->job_wake();
    return mdm_web_json(call->r, HTTP_OK, body);
}

int mdm_adm_folder_schedule(mdm_web_call_t *call)
{
    return mdm_adm_one(call, read_folder);
}

int mdm_adm_folder_schedule_save(mdm_web_call_t *call)
{
    return save(call, edit_folder, read_folder);
}

int mdm_adm_device_schedule(mdm_web_call_t *call)
{
    return mdm_adm_one(call, read_device);
}

int mdm_adm_device_schedule_save(mdm_web_call_t *call)
{
    return save(call, edit_device, read_device);
}
