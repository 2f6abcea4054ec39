/* Administrators, roles, API tokens (USR-12, API-03). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_admins.h"
#include "domain/mdm_roles.h"

#define NAME_MAX_BYTES 200
#define PASSWORD_MAX 500
#define LOGIN_MAX 1000
#define TOKEN_COLUMNS "id name admin:admin.login role:role.name created_at expires_at used_at"
#define DAY_MS (86400 * 1000LL)

typedef apr_status_t (*list_fn)(mdm_db_t *db, const char *of, const mdm_page_t *page, json_t **items, const char **next);

typedef struct of_t {
    const char *of; /* an administrator's id, or "" */
    list_fn fn;
} of_t;

static apr_status_t page_of(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    const of_t *o = arg;
    json_t *got = NULL;
    apr_status_t rv = o->fn(db, o->of, page, &got, next);

    if (rv == APR_SUCCESS)
        json_array_extend(items, got);
    json_decref(got);
    return rv;
}

static int list(mdm_web_call_t *call, const char *name, const char *of, list_fn fn, const char *columns)
{
    const of_t arg = {of, fn};
    const mdm_adm_list_t l = {.sig = apr_pstrcat(call->r->pool, name, "\n", of, NULL), .read = page_of, .arg = &arg, .name = name,
                              .columns = columns};

    return mdm_adm_list(call, &l);
}

/* ---- administrators */

static apr_status_t admins(mdm_db_t *db, const char *of, const mdm_page_t *page, json_t **items, const char **next)
{
    return mdm_admins_list(db, page, items, next);
}

int mdm_adm_admins(mdm_web_call_t *call)
{
    return list(call, "admins", "", admins, "id login name mail kind source:source.name role:role.name alerts disabled folders created_at last_seen_at");
}

int mdm_adm_admin(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_admin_json);
}

int mdm_adm_admin_create(mdm_web_call_t *call)
{
    static const char *const kinds[] = {"local", "external", "group", NULL};
    mdm_admin_edit_t a = {.login = NULL};
    const mdm_jfield_t fields[] = {{"login", MDM_JF_STR, 1, 1, LOGIN_MAX, NULL, 0, &a.login, NULL},
                                   {"kind", MDM_JF_ENUM, 1, 0, 0, kinds, 0, &a.kind, NULL},
                                   {"source_id", MDM_JF_UUID, 0, 0, 0, NULL, 0, &a.source_id, NULL},
                                   {"role_id", MDM_JF_UUID, 1, 0, 0, NULL, 0, &a.role_id, NULL},
                                   {"password", MDM_JF_STR, 0, 1, PASSWORD_MAX, NULL, 0, &a.password, NULL},
                                   {"name", MDM_JF_STR, 0, 0, NAME_MAX_BYTES, NULL, 0, &a.name, NULL},
                                   {"mail", MDM_JF_STR, 0, 0, NAME_MAX_BYTES, NULL, 0, &a.mail, NULL},
                                   {"folders", MDM_JF_ARRAY, 0, 0, 0, NULL, 0, &a.folders, NULL},
                                   {"alerts", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &a.alerts, NULL},
                                   {"disabled", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &a.disabled, NULL},
                                   {NULL}};
    const char *id = NULL;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = mdm_admin_create(call->ctx, &a, &id);
    return mdm_adm_made(call, rv, "admins", id, mdm_admin_json);
}

static apr_status_t admin_edit(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    return mdm_admin_edit(db, id, version, arg);
}

int mdm_adm_admin_edit(mdm_web_call_t *call)
{
    mdm_admin_edit_t a = {.alerts = -1, .disabled = -1};
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 0, 0, NAME_MAX_BYTES, NULL, 0, &a.name, NULL},
                                   {"mail", MDM_JF_STR, 0, 0, NAME_MAX_BYTES, NULL, 0, &a.mail, NULL},
                                   {"role_id", MDM_JF_UUID, 0, 0, 0, NULL, 0, &a.role_id, NULL},
                                   {"folders", MDM_JF_ARRAY, 0, 0, 0, NULL, 0, &a.folders, NULL},
                                   {"alerts", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &a.alerts, NULL},
                                   {"disabled", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &a.disabled, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_adm_edit(call, admin_edit, &a, mdm_admin_json) : mdm_adm_fail(call, rv);
}

static apr_status_t admin_delete(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_admin_delete(db, id);
}

int mdm_adm_admin_delete(mdm_web_call_t *call)
{
    return mdm_adm_act(call, admin_delete, NULL, HTTP_NO_CONTENT);
}

int mdm_adm_admin_password(mdm_web_call_t *call)
{
    const char *password = NULL, *id = NULL;
    const mdm_jfield_t fields[] = {{"password", MDM_JF_STR, 1, 1, PASSWORD_MAX, NULL, 0, &password, NULL}, {NULL}};
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS)
        rv = mdm_admin_password(call->ctx, id, password, 0);
    return rv == APR_SUCCESS ? mdm_web_empty(call->r, HTTP_NO_CONTENT) : mdm_adm_fail(call, rv);
}

/* ---- roles */

int mdm_adm_rights(mdm_web_call_t *call)
{
    return mdm_adm_json(call, mdm_rights_table());
}

static apr_status_t roles(mdm_db_t *db, const char *of, const mdm_page_t *page, json_t **items, const char **next)
{
    return mdm_roles_list(db, page, items, next);
}

int mdm_adm_roles(mdm_web_call_t *call)
{
    return list(call, "roles", "", roles, "id name rights builtin admins tokens");
}

int mdm_adm_role(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_role_json);
}

int mdm_adm_role_create(mdm_web_call_t *call)
{
    const char *name = NULL, *id = NULL;
    json_t *rights = NULL;
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 1, 1, NAME_MAX_BYTES, NULL, 0, &name, NULL},
                                   {"rights", MDM_JF_OBJECT, 1, 0, 0, NULL, 0, &rights, NULL},
                                   {NULL}};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_role_create(db, name, rights, &id);
    return mdm_adm_made(call, mdm_adm_end(db, rv), "roles", id, mdm_role_json);
}

typedef struct role_edit_t {
    const char *name;
    json_t *rights;
} role_edit_t;

static apr_status_t role_edit(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    const role_edit_t *e = arg;

    return mdm_role_edit(db, id, version, e->name, e->rights);
}

int mdm_adm_role_edit(mdm_web_call_t *call)
{
    role_edit_t e = {NULL, NULL};
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 0, 1, NAME_MAX_BYTES, NULL, 0, &e.name, NULL},
                                   {"rights", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &e.rights, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_adm_edit(call, role_edit, &e, mdm_role_json) : mdm_adm_fail(call, rv);
}

static apr_status_t role_delete(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_role_delete(db, id);
}

int mdm_adm_role_delete(mdm_web_call_t *call)
{
    return mdm_adm_act(call, role_delete, NULL, HTTP_NO_CONTENT);
}

/* ---- API tokens */

/* A token makes none: a stolen one would outlive its expiry and its end. */
static int token_create(mdm_web_call_t *call, const char *owner)
{
    const char *name = NULL, *role = NULL, *id = NULL, *secret = NULL;
    apr_int64_t days = 0;
    json_t *body = NULL;
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 1, 1, NAME_MAX_BYTES, NULL, 0, &name, NULL},
                                   {"days", MDM_JF_INT, 1, 1, 365, NULL, 0, &days, NULL},
                                   {"role_id", MDM_JF_UUID, 0, 0, 0, NULL, 0, &role, NULL},
                                   {owner ? NULL : "admin_id", MDM_JF_UUID, 1, 0, 0, NULL, 0, &owner, NULL},
                                   {NULL}};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS && call->caller->by_token)
        rv = mdm_fail(call->ctx, MDM_EDENIED, NULL, "An API token can't make tokens: log in.");
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_admin_token(db, owner, role, name, mdm_now_ms(call->ctx) + days * DAY_MS, &id, &secret);
    if (rv == APR_SUCCESS)
        rv = mdm_token_json(db, id, &body);
    rv = mdm_adm_end(db, rv);
    if (rv != APR_SUCCESS) {
        json_decref(body);
        return mdm_adm_fail(call, rv);
    }
    json_object_set_new(body, "token", json_string(secret));
    return mdm_web_json(call->r, HTTP_CREATED, body);
}

static apr_status_t token_delete(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *owner)
{
    return mdm_token_delete(db, id, owner);
}

int mdm_adm_tokens(mdm_web_call_t *call)
{
    return list(call, "tokens", "", mdm_tokens_list, TOKEN_COLUMNS);
}

int mdm_adm_token_create(mdm_web_call_t *call)
{
    return token_create(call, NULL);
}

int mdm_adm_token_delete(mdm_web_call_t *call)
{
    return mdm_adm_act(call, token_delete, "", HTTP_NO_CONTENT);
}

int mdm_adm_me_tokens(mdm_web_call_t *call)
{
    return list(call, "tokens", call->caller->id, mdm_tokens_list, TOKEN_COLUMNS);
}

int mdm_adm_me_token_create(mdm_web_call_t *call)
{
    return token_create(call, call->caller->id);
}

int mdm_adm_me_token_delete(mdm_web_call_t *call)
{
    return mdm_adm_act(call, token_delete, call->caller->id, HTTP_NO_CONTENT);
}
