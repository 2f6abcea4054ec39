/* How long history and messages are kept (DEV-16). */
#include "mdm_admin.h"

#include "domain/mdm_retention.h"

int mdm_adm_retention(mdm_web_call_t *call)
{
    json_t *body = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_params(call, NULL);

    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv == APR_SUCCESS) {
        rv = mdm_retention_json(db, &body);
        mdm_db_close(db);
    }
    return rv == APR_SUCCESS ? mdm_adm_json(call, body) : mdm_adm_fail(call, rv);
}

int mdm_adm_retention_save(mdm_web_call_t *call)
{
    json_t *body = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_begin(call, &db);

    if (rv == APR_SUCCESS)
        rv = mdm_retention_edit(db, call->body);
    if (rv == APR_SUCCESS)
        rv = mdm_retention_json(db, &body);
    rv = mdm_adm_end(db, rv);
    if (rv == APR_SUCCESS)
        return mdm_web_json(call->r, HTTP_OK, body);
    json_decref(body);
    return mdm_adm_fail(call, rv);
}
