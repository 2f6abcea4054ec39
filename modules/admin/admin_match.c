/* Exceptions of matching, what people decide about them, and the matcher itself (MAT-03, MAT-04, MAT-06). */
#include "mdm_admin.h"

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_device.h"
#include "domain/mdm_match_run.h"

/* ---------------------------------------------------------------- the list */

static apr_status_t page_of(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    return mdm_match_exceptions(db, page, arg, items, next);
}

int mdm_adm_exceptions(mdm_web_call_t *call)
{
    static const char *const params[] = {"code", "ignored", "origin", NULL}, *const flags[] = {"0", "1", NULL};
    const char *ignored;
    mdm_match_filter_t f = {"", "", 0};
    mdm_adm_list_t list = {.params = params, .read = page_of, .arg = &f, .name = "exceptions",
                           .columns = "id code origin since ignored_at person:person.name login:person.login mail:person.mail device:device.name device_id class platform type "
                                      "user_agent first_seen last_seen candidates"};
    apr_status_t rv = mdm_adm_word(call, "code", mdm_match_codes, &f.code);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "origin", mdm_match_origins, &f.origin);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "ignored", flags, &ignored);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    f.ignored = *ignored == '1';
    list.sig = apr_pstrcat(call->ctx->pool, "exceptions\n", f.code, "\n", f.origin, "\n", ignored, NULL);
    return mdm_adm_list(call, &list);
}

/* ---------------------------------------------------------------- decisions */

static apr_status_t join(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    const char *device = NULL;
    const mdm_jfield_t fields[] = {{"device", MDM_JF_UUID, 1, 0, 0, NULL, 0, &device, NULL}, {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_match_link(db, id, device, "administrator") : rv;
}

int mdm_adm_exception_link(mdm_web_call_t *call)
{
    return mdm_adm_act(call, join, NULL, HTTP_NO_CONTENT);
}

static apr_status_t own(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_match_own(db, id, "administrator");
}

int mdm_adm_exception_own(mdm_web_call_t *call)
{
    return mdm_adm_act(call, own, NULL, HTTP_NO_CONTENT);
}

static apr_status_t ignore(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_match_ignore(db, id);
}

int mdm_adm_exception_ignore(mdm_web_call_t *call)
{
    return mdm_adm_act(call, ignore, NULL, HTTP_NO_CONTENT);
}

int mdm_adm_device_split(mdm_web_call_t *call)
{
    const char *id = NULL, *record = NULL, *made = NULL;
    const mdm_jfield_t fields[] = {{"record", MDM_JF_UUID, 1, 0, 0, NULL, 0, &record, NULL}, {NULL}};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_match_split(db, id, record, &made);
    return mdm_adm_made(call, mdm_adm_end(db, rv), "devices", made, mdm_device_json);
}

/* ---------------------------------------------------------------- the matcher */

int mdm_adm_matching(mdm_web_call_t *call)
{
    return mdm_adm_look(call, mdm_match_state);
}

int mdm_adm_matching_save(mdm_web_call_t *call)
{
    return mdm_adm_set(call, mdm_match_set, mdm_match_state);
}

int mdm_adm_matching_run(mdm_web_call_t *call)
{
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_begin(call, &db);

    if (rv == APR_SUCCESS)
        rv = mdm_match_all(db);
    rv = mdm_adm_end(db, rv);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    call->svc->job_wake();
    return mdm_web_empty(call->r, HTTP_ACCEPTED);
}
