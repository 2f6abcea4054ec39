/* Policies and their versions (POL-01, POL-03, POL-04). */
#include "mdm_admin.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_catalogue.h"
#include "domain/mdm_policies.h"

/* ---- reading */

static apr_status_t query(mdm_web_call_t *call, const char *name, const char **out)
{
    apr_status_t rv = mdm_web_query(call->r, call->ctx, name, out);

    *out = *out ? *out : "";
    return rv;
}

static apr_status_t listed(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    return mdm_policies_json(db, arg, page, items, next);
}

int mdm_adm_policies(mdm_web_call_t *call)
{
    static const char *const params[] = {"type", "folder", "q", NULL};
    mdm_policy_filter_t f = {NULL};
    mdm_adm_list_t list = {.params = params, .read = listed, .arg = &f, .name = "policies",
                           .columns = "id type name folder:folder.name description published sandbox republish assignments devices created_at"};
    apr_status_t rv = mdm_adm_word(call, "type", mdm_policy_type_names, &f.type);

    if (rv == APR_SUCCESS)
        rv = query(call, "folder", &f.folder);
    if (rv == APR_SUCCESS)
        rv = query(call, "q", &f.q);
    if (rv == APR_SUCCESS && *f.folder && !mdm_is_uuid(f.folder))
        rv = mdm_fail(call->ctx, MDM_EINPUT, "folder", "must be the id of a folder");
    if (rv == APR_SUCCESS && strlen(f.q) > MDM_POLICY_NAME_MAX)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "q", "must be at most %d bytes", MDM_POLICY_NAME_MAX);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.sig = apr_pstrcat(call->ctx->pool, "policies|", f.type, "|", f.folder, "|", f.q, NULL);
    return mdm_adm_list(call, &list);
}

int mdm_adm_policy(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_policy_json);
}

int mdm_adm_policy_inherited(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_policy_inherited_json);
}

/* The catalogue is one text of the build: its ETag says which. */
int mdm_adm_policy_catalogue(mdm_web_call_t *call)
{
    request_rec *r = call->r;
    apr_size_t len = strlen(mdm_settings_json);
    const char *known = apr_table_get(r->headers_in, "If-None-Match"), *etag;
    apr_status_t rv = mdm_adm_params(call, NULL);

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    etag = apr_psprintf(r->pool, "\"%.24s\"", mdm_sha256_hex(r->pool, mdm_settings_json, len));
    apr_table_setn(r->headers_out, "ETag", etag);
    if (known && !strcmp(known, etag))
        return mdm_web_empty(r, HTTP_NOT_MODIFIED);
    return mdm_web_bytes(r, HTTP_OK, "application/json", mdm_settings_json, len);
}

/* ---- making, changing */

apr_status_t mdm_adm_policy_levels(mdm_ctx_t *ctx, json_t *levels, mdm_policy_content_t *c)
{
    const mdm_jfield_t fields[] = {{"corporate", MDM_JF_ENUM, 0, 0, 0, mdm_policy_level_names, 0, &c->corporate, NULL},
                                   {"personal", MDM_JF_ENUM, 0, 0, 0, mdm_policy_level_names, 0, &c->personal, NULL},
                                   {NULL}};

    return levels ? mdm_json_fields(ctx, levels, fields) : APR_SUCCESS;
}

int mdm_adm_policy_create(mdm_web_call_t *call)
{
    mdm_policy_new_t what = {NULL};
    json_t *levels = NULL;
    const mdm_jfield_t fields[] = {{"type", MDM_JF_ENUM, 1, 0, 0, mdm_policy_type_names, 0, &what.type, NULL},
                                   {"name", MDM_JF_STR, 1, 1, MDM_POLICY_NAME_MAX, NULL, 0, &what.name, NULL},
                                   {"folder", MDM_JF_UUID, 0, 0, 0, NULL, 0, &what.folder, NULL},
                                   {"description", MDM_JF_STR, 0, 0, MDM_POLICY_TEXT_MAX, NULL, 0, &what.description, NULL},
                                   {"levels", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &levels, NULL},
                                   {"settings", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &what.content.settings, NULL},
                                   {"note", MDM_JF_STR, 0, 0, MDM_POLICY_TEXT_MAX, NULL, 0, &what.content.note, NULL},
                                   {"publish", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &what.publish, NULL},
                                   {NULL}};
    const char *id = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_policy_levels(call->ctx, levels, &what.content);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_policy_create(db, &what, &id);
    return mdm_adm_made(call, mdm_adm_end(db, rv), "policies", id, mdm_policy_json);
}

static apr_status_t edit(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    const char *name = NULL, *folder = NULL, *description = NULL;
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 0, 1, MDM_POLICY_NAME_MAX, NULL, 0, &name, NULL},
                                   {"folder", MDM_JF_UUID, 0, 0, 0, NULL, 0, &folder, NULL},
                                   {"description", MDM_JF_STR, 0, 0, MDM_POLICY_TEXT_MAX, NULL, 0, &description, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_policy_edit(db, id, version, name, folder, description) : rv;
}

int mdm_adm_policy_edit(mdm_web_call_t *call)
{
    return mdm_adm_edit(call, edit, NULL, mdm_policy_json);
}

int mdm_adm_policy_duplicate(mdm_web_call_t *call)
{
    const char *name = NULL, *folder = NULL, *from = NULL, *id = NULL;
    apr_int64_t number = 0;
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 1, 1, MDM_POLICY_NAME_MAX, NULL, 0, &name, NULL},
                                   {"folder", MDM_JF_UUID, 0, 0, 0, NULL, 0, &folder, NULL},
                                   {"number", MDM_JF_INT, 1, 0, APR_INT32_MAX, NULL, 0, &number, NULL},
                                   {NULL}};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &from);

    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_policy_duplicate(db, from, number, name, folder, &id);
    return mdm_adm_made(call, mdm_adm_end(db, rv), "policies", id, mdm_policy_json);
}

/* ---- versions */

/* A parameter that is a version's number; -1 if it is absent. */
static apr_status_t number_read(mdm_web_call_t *call, const char *field, apr_int64_t *number)
{
    const char *text = NULL;
    apr_status_t rv = query(call, field, &text);

    *number = -1;
    if (rv == APR_SUCCESS && *text && mdm_parse_i64(text, 0, APR_INT32_MAX, number) != APR_SUCCESS)
        rv = mdm_fail(call->ctx, MDM_EINPUT, field, "must be the number of a version; 0 is the sandbox");
    return rv;
}

static apr_status_t versions(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    return mdm_policy_versions_json(db, arg, page, items, next);
}

int mdm_adm_policy_versions(mdm_web_call_t *call)
{
    const char *id = NULL;
    mdm_adm_list_t list = {.read = versions};
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.arg = id;
    list.sig = apr_pstrcat(call->ctx->pool, "policy.versions|", id, NULL);
    return mdm_adm_list(call, &list);
}

int mdm_adm_policy_version(mdm_web_call_t *call)
{
    const char *id = NULL;
    apr_int64_t number = 0, version = 0;
    json_t *body = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_params(call, NULL);
    if (rv == APR_SUCCESS && mdm_parse_i64(call->args[1], 0, APR_INT32_MAX, &number) != APR_SUCCESS)
        rv = mdm_fail(call->ctx, APR_NOTFOUND, NULL, "There is no such version.");
    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = mdm_policy_version_json(db, id, number, &body, &version);
    mdm_db_close(db);
    return rv == APR_SUCCESS ? mdm_adm_object(call, body, version) : mdm_adm_fail(call, rv);
}

int mdm_adm_policy_sandbox(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_policy_sandbox_json);
}

int mdm_adm_policy_diff(mdm_web_call_t *call)
{
    static const char *const params[] = {"from", "to", NULL};
    const char *id = NULL;
    apr_int64_t from = -1, to = -1;
    json_t *items = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_params(call, params);
    if (rv == APR_SUCCESS)
        rv = number_read(call, "from", &from);
    if (rv == APR_SUCCESS)
        rv = number_read(call, "to", &to);
    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = mdm_policy_diff_json(db, id, from, to, &items);
    mdm_db_close(db);
    return rv == APR_SUCCESS ? mdm_adm_items(call, items, NULL) : mdm_adm_fail(call, rv);
}
