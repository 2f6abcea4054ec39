/* Dynamic groups (DEV-01): criteria, preview, update now, and how often all are refreshed. */
#include "domain/mdm_criteria.h"
#include "domain/mdm_dynamic.h"
#include "domain/mdm_folder.h"
#include "mdm_admin.h"

int mdm_adm_group_criteria(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_dynamic_json);
}

typedef struct criteria_t {
    json_t *criteria, *base;
} criteria_t;

static apr_status_t criteria_read(mdm_web_call_t *call, criteria_t *c)
{
    const mdm_jfield_t fields[] = {{"criteria", MDM_JF_OBJECT, 1, 0, 0, NULL, 0, &c->criteria, NULL},
                                   {"base", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &c->base, NULL},
                                   {NULL}};

    return mdm_json_fields(call->ctx, call->body, fields);
}

static apr_status_t criteria_set(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    criteria_t c = {NULL, NULL};
    json_t *was = NULL;
    apr_int64_t is;
    apr_status_t rv = criteria_read(call, &c);

    if (rv == APR_SUCCESS)
        rv = mdm_dynamic_json(db, id, &was, &is);
    json_decref(was);
    if (rv == APR_SUCCESS) /* whether the caller may, and whether it is still what he saw */
        rv = mdm_group_edit(db, id, version, NULL, NULL);
    return rv == APR_SUCCESS ? mdm_dynamic_set(db, id, c.criteria, c.base) : rv;
}

int mdm_adm_group_criteria_save(mdm_web_call_t *call)
{
    return mdm_adm_edit(call, criteria_set, NULL, mdm_dynamic_json);
}

static apr_status_t refresh(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_dynamic_hasten(db, id);
}

int mdm_adm_group_refresh(mdm_web_call_t *call)
{
    return mdm_adm_act(call, refresh, NULL, HTTP_ACCEPTED);
}

static apr_status_t preview(mdm_db_t *db, const void *arg, json_t **out)
{
    const criteria_t *c = arg;

    return mdm_dynamic_preview(db, c->criteria, c->base, out);
}

int mdm_adm_group_preview(mdm_web_call_t *call)
{
    criteria_t c = {NULL, NULL};

    return mdm_adm_ask(call, criteria_read(call, &c), preview, &c);
}

int mdm_adm_group_fields(mdm_web_call_t *call)
{
    apr_status_t rv = mdm_adm_params(call, NULL);

    return rv == APR_SUCCESS ? mdm_adm_json(call, json_pack("{s:o}", "fields", mdm_criteria_fields())) : mdm_adm_fail(call, rv);
}

int mdm_adm_group_period(mdm_web_call_t *call)
{
    return mdm_adm_look(call, mdm_dynamic_period_json);
}

static apr_status_t period_set(mdm_db_t *db, json_t *body)
{
    apr_int64_t minutes = 0;
    const mdm_jfield_t fields[] = {{"minutes", MDM_JF_INT, 1, MDM_DYNAMIC_LEAST, MDM_DYNAMIC_MOST, NULL, 0, &minutes, NULL}, {NULL}};
    apr_status_t rv = mdm_json_fields(mdm_db_ctx(db), body, fields);

    return rv == APR_SUCCESS ? mdm_dynamic_period_set(db, minutes) : rv;
}

int mdm_adm_group_period_save(mdm_web_call_t *call)
{
    return mdm_adm_set(call, period_set, mdm_dynamic_period_json);
}
