/* Administrators and their tokens. */
#include "domain/mdm_admins.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_directory.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_roles.h"
#include "domain/mdm_session.h"
#include "mdm_sql_gen.h"

#define LOGIN_MAX 256
#define DN_MAX 1000
#define FOLDERS_MAX 200

/* ---- log-in */

apr_status_t mdm_admin_login(mdm_ctx_t *ctx, const char *login, const char *password, const char **id)
{
    mdm_q_admin_login_local_t *row = NULL;
    const char *key;
    mdm_db_t *db;
    apr_status_t rv = APR_NOTFOUND;

    if (!password || !*password)
        return mdm_login_refused(ctx);
    key = mdm_lower(ctx->pool, mdm_clean(ctx->pool, login ? login : "", LOGIN_MAX));
    if (*key) {
        rv = mdm_db_open(ctx, &db);
        if (rv != APR_SUCCESS)
            return rv;
        rv = mdm_q_admin_login_local(db, key, &row);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND)
        return rv;
    rv = mdm_login_password(ctx, password, row && !row->disabled ? row->password : NULL);
    if (rv == MDM_EAUTH)
        return mdm_login_refused(ctx);
    if (rv == APR_SUCCESS && row)
        *id = row->id;
    return rv;
}

static apr_status_t has_rights(mdm_ctx_t *ctx, const char *id, const char *rights)
{
    apr_array_header_t *rows = NULL;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);
    int i;

    if (rv != APR_SUCCESS)
        return rv;
    rv = mdm_q_admin_rights_of(db, id, &rows);
    mdm_db_close(db);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        if (mdm_rights_cover(APR_ARRAY_IDX(rows, i, mdm_q_admin_rights_of_t).rights, rights))
            return APR_SUCCESS;
    }
    return rv == APR_SUCCESS ? mdm_login_refused(ctx) : rv;
}

apr_status_t mdm_admin_authorise(mdm_ctx_t *ctx, const char *login, const mdm_login_t *who, const char *password, const char *rights,
                                 const char **by, int *person)
{
    mdm_person_t *found = NULL;
    const char *id = NULL;
    apr_status_t rv = mdm_admin_login(ctx, login, password, &id);

    *person = rv == MDM_EAUTH;
    *by = mdm_clean(ctx->pool, login, LOGIN_MAX);
    if (*person && (rv = mdm_login_check(ctx, who, password, &found)) == APR_SUCCESS) {
        id = found->id;
        *by = found->directory ? apr_psprintf(ctx->pool, "%s (%s)", found->login, found->directory) : found->login;
    }
    return rv != APR_SUCCESS || (found && found->authoriser) ? rv : has_rights(ctx, id, rights);
}

/* ---- reading */

static json_t *time_or_null(apr_pool_t *p, int null, apr_int64_t ms)
{
    return null ? json_null() : json_string(mdm_time_text(p, ms));
}

static json_t *source_json(const char *id, const char *name)
{
    return id ? json_pack("{s:s, s:s}", "id", id, "name", name) : json_null();
}

static apr_status_t folders_json(mdm_db_t *db, const char *id, apr_int64_t count, json_t **out)
{
    apr_array_header_t *rows;
    apr_status_t rv = APR_SUCCESS;
    int i;

    *out = json_array();
    if (count)
        rv = mdm_q_admins_folders(db, id, &rows);
    for (i = 0; count && rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_admins_folders_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admins_folders_t);
        json_array_append_new(*out, json_pack("{s:s, s:s?}", "id", q->id, "name", q->name));
    }
    if (rv != APR_SUCCESS)
        json_decref(*out);
    return rv;
}

#define ADMIN_JSON(p, q, folders)                                                                                        \
    json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:{s:s, s:s}, s:b, s:b, s:o, s:o, s:o, s:I}", "id", (q)->id, "login",       \
              (q)->login, "name", (q)->name, "mail", (q)->mail, "kind", (q)->kind, "source",                              \
              source_json((q)->source_id, (q)->source), "role", "id", (q)->role_id, "name", (q)->role, "alerts",          \
              (q)->alerts != 0, "disabled", (q)->disabled != 0, "folders", folders, "created_at",                         \
              time_or_null(p, 0, (q)->created_ms), "last_seen_at", time_or_null(p, (q)->used_ms_null, (q)->used_ms),     \
              "version", (json_int_t)(q)->version)

apr_status_t mdm_admins_list(mdm_db_t *db, const mdm_page_t *page, json_t **items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows = NULL;
    json_t *folders;
    apr_status_t rv = mdm_q_admins_list(db, page->key, page->id, page->count + 1, &rows);
    int i;

    if (rv != APR_SUCCESS)
        return rv;
    *items = mdm_json_own(ctx, json_array());
    for (i = 0; i < rows->nelts && i < page->count; i++) {
        const mdm_q_admins_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admins_list_t);
        rv = folders_json(db, q->id, q->folders, &folders);
        if (rv != APR_SUCCESS)
            return rv;
        json_array_append_new(*items, ADMIN_JSON(ctx->pool, q, folders));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next(ctx, page, q->login_key, q->id);
    }
    json_incref(*items);
    return APR_SUCCESS;
}

static apr_status_t read_one(mdm_db_t *db, const char *id, mdm_q_admins_get_t **q, json_t **out)
{
    json_t *folders;
    apr_status_t rv = mdm_q_admins_get(db, id, q);

    if (rv == APR_SUCCESS)
        rv = folders_json(db, id, (*q)->folders, &folders);
    if (rv == APR_SUCCESS)
        *out = ADMIN_JSON(mdm_db_ctx(db)->pool, *q, folders);
    return rv;
}

apr_status_t mdm_admin_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_q_admins_get_t *q;
    apr_status_t rv = read_one(db, id, &q, out);

    if (rv == APR_SUCCESS && version)
        *version = q->version;
    return rv;
}

apr_status_t mdm_admin_find(mdm_db_t *db, const char *login, const char **id, const char **role_id)
{
    mdm_q_admins_by_login_t *q;
    apr_status_t rv = mdm_q_admins_by_login(db, mdm_lower(mdm_db_ctx(db)->pool, login), &q);

    if (rv == APR_SUCCESS) {
        *id = q->id;
        *role_id = q->role_id;
    }
    return rv;
}

/* ---- changing */

static apr_status_t audit(mdm_db_t *db, const char *action, const char *id, const char *login, json_t *before, json_t *after)
{
    json_t *detail = json_pack("{s:o*, s:o*}", "before", before, "after", after);
    apr_status_t rv = mdm_audit(db, action, "admin", id, login, "done", detail);

    json_decref(detail);
    return rv;
}

static apr_status_t finish(mdm_db_t *db, apr_status_t rv)
{
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

/* A role by id that the actor may give. */
static apr_status_t role_grant(mdm_db_t *db, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_roles_get_t *role;
    apr_status_t rv = mdm_q_roles_get(db, id, &role);

    if (rv == APR_NOTFOUND)
        return mdm_fail(ctx, MDM_EINPUT, "role_id", "does not exist");
    return rv == APR_SUCCESS ? mdm_rights_grant(ctx, role->rights) : rv;
}

static apr_status_t folders_set(mdm_db_t *db, const char *admin_id, json_t *folders)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_admins_folder_known_t *known;
    json_t *one;
    size_t i;
    apr_status_t rv = mdm_q_admins_folders_clear(db, admin_id, NULL);

    if (rv == APR_SUCCESS && json_array_size(folders) > FOLDERS_MAX)
        return mdm_fail(ctx, MDM_EINPUT, "folders", "must be at most %d", FOLDERS_MAX);
    json_array_foreach(folders, i, one) {
        const char *id = json_string_value(one);
        if (rv != APR_SUCCESS)
            break;
        if (!id || !mdm_is_uuid(id))
            return mdm_fail(ctx, MDM_EINPUT, "folders", "must hold ids of device folders");
        id = mdm_lower(ctx->pool, id);
        rv = mdm_q_admins_folder_known(db, id, &known);
        if (rv == APR_NOTFOUND)
            return mdm_fail(ctx, MDM_EINPUT, "folders", "holds one that does not exist");
        if (rv == APR_SUCCESS)
            rv = mdm_q_admins_folder_add(db, admin_id, id, NULL);
    }
    return rv;
}

/* Somebody who can log in must keep every right, everywhere. Call after the change. */
static apr_status_t super_left(mdm_db_t *db)
{
    mdm_q_admins_super_count_t *left;
    apr_status_t rv = mdm_q_admins_super_count(db, &left);

    if (rv == APR_SUCCESS && left->n < 1)
        rv = mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, NULL, "This is the last super_admin: nobody could administer any more.");
    return rv;
}

static int plain(mdm_ctx_t *ctx, const char *s, apr_size_t max)
{
    return s && *s && strlen(s) <= max && strcmp(s, mdm_clean(ctx->pool, s, max)) == 0;
}

static apr_status_t check_new(mdm_ctx_t *ctx, const mdm_admin_edit_t *a, const char **hash)
{
    int local = strcmp(a->kind, "local") == 0, group = strcmp(a->kind, "group") == 0;
    apr_status_t rv = mdm_text_check(ctx, "name", a->name);

    if (rv == APR_SUCCESS)
        rv = mdm_text_check(ctx, "mail", a->mail);
    if (rv == APR_SUCCESS && local)
        rv = mdm_login_ok(ctx, a->login);
    if (rv == APR_SUCCESS && group && (!plain(ctx, a->login, DN_MAX) || !mdm_ldap_dn_key(ctx->pool, a->login)))
        rv = mdm_fail(ctx, MDM_EINPUT, "login", "must be the DN of a directory's group");
    if (rv == APR_SUCCESS && group && !a->source_id)
        rv = mdm_fail(ctx, MDM_EINPUT, "source_id", "must be the directory whose group it is");
    if (rv == APR_SUCCESS && !group && a->source_id)
        rv = mdm_fail(ctx, MDM_EINPUT, "source_id", "is for groups only");
    if (rv == APR_SUCCESS && !local && !group && !plain(ctx, a->login, LOGIN_MAX))
        rv = mdm_fail(ctx, MDM_EINPUT, "login", "must be the name by which httpd knows this administrator");
    if (rv == APR_SUCCESS && !local && a->password)
        rv = mdm_fail(ctx, MDM_EINPUT, "password", "is kept here for local administrators only");
    if (rv == APR_SUCCESS && local)
        rv = mdm_password_ok(ctx, a->password);
    return rv == APR_SUCCESS && local ? mdm_password_hash(ctx, a->password, hash) : rv;
}

/* The row's key: the log-in, or of a group its DN with the directory, since several may have one of that DN. */
static apr_status_t new_key(mdm_db_t *db, const mdm_admin_edit_t *a, const char **key, const char **group)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_admins_directory_known_t *known;
    apr_status_t rv;

    *key = mdm_lower(ctx->pool, a->login);
    *group = NULL;
    if (!a->source_id)
        return APR_SUCCESS;
    rv = mdm_q_admins_directory_known(db, a->source_id, &known);
    if (rv == APR_NOTFOUND)
        return mdm_fail(ctx, MDM_EINPUT, "source_id", "is no directory");
    *group = mdm_directory_group_id(ctx->pool, a->source_id, a->login);
    *key = apr_pstrcat(ctx->pool, mdm_ldap_dn_key(ctx->pool, a->login), " ", a->source_id, NULL);
    return rv;
}

apr_status_t mdm_admin_create(mdm_ctx_t *ctx, const mdm_admin_edit_t *a, const char **id)
{
    const char *hash = NULL, *key, *group, *uuid = mdm_uuid(ctx->pool);
    mdm_q_admins_get_t *q;
    json_t *after = NULL;
    mdm_db_t *db;
    apr_status_t rv = uuid ? check_new(ctx, a, &hash) : MDM_EUNAVAIL;

    if (rv == APR_SUCCESS)
        rv = mdm_db_open(ctx, &db);
    if (rv != APR_SUCCESS)
        return rv;
    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS)
        rv = role_grant(db, a->role_id);
    if (rv == APR_SUCCESS)
        rv = new_key(db, a, &key, &group);
    if (rv == APR_SUCCESS) {
        rv = mdm_q_admins_add(db, uuid, a->login, key, a->name ? a->name : "", a->mail ? a->mail : "", a->kind, a->source_id, group, hash, a->role_id,
                              a->alerts > 0, a->disabled > 0, mdm_now_ms(ctx), NULL);
        if (rv == MDM_ECONFLICT)
            mdm_fail(ctx, rv, "login", "is taken");
    }
    if (rv == APR_SUCCESS && a->folders)
        rv = folders_set(db, uuid, a->folders);
    if (rv == APR_SUCCESS)
        rv = read_one(db, uuid, &q, &after);
    if (rv == APR_SUCCESS)
        rv = audit(db, "admin.create", uuid, a->login, NULL, after);
    rv = finish(db, rv);
    if (rv == APR_SUCCESS && id)
        *id = uuid;
    return rv;
}

apr_status_t mdm_admin_create_named(mdm_ctx_t *ctx, const char *kind, const char *login, const char *name, const char *role,
                                    const char *password, const char **id)
{
    mdm_admin_edit_t a = {.login = login, .kind = kind, .password = password, .name = name, .alerts = -1, .disabled = -1};
    mdm_q_role_by_name_t *row;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS)
        return rv;
    rv = mdm_q_role_by_name(db, role ? role : "", &row);
    mdm_db_close(db);
    if (rv == APR_NOTFOUND)
        return mdm_fail(ctx, MDM_EINPUT, "role", "does not exist");
    if (rv != APR_SUCCESS)
        return rv;
    a.role_id = row->id;
    return mdm_admin_create(ctx, &a, id);
}

static apr_status_t stale(mdm_ctx_t *ctx)
{
    return mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this administrator meanwhile: load it again.");
}

apr_status_t mdm_admin_edit(mdm_db_t *db, const char *id, apr_int64_t version, const mdm_admin_edit_t *a)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_admins_super_lock_t *held;
    mdm_q_admins_get_t *q, *now;
    json_t *before = NULL, *after = NULL;
    const char *role;
    int n = 0, disabled;
    apr_status_t rv = mdm_q_admins_super_lock(db, &held);

    if (rv == APR_SUCCESS)
        rv = read_one(db, id, &q, &before);
    if (rv != APR_SUCCESS)
        return rv;
    mdm_json_own(ctx, before);
    role = a->role_id ? a->role_id : q->role_id;
    disabled = a->disabled >= 0 ? a->disabled : q->disabled != 0;
    if (q->version != version)
        return stale(ctx);
    if ((rv = mdm_rights_grant(ctx, q->rights)) != APR_SUCCESS || (rv = role_grant(db, role)) != APR_SUCCESS
        || (rv = mdm_text_check(ctx, "name", a->name)) != APR_SUCCESS || (rv = mdm_text_check(ctx, "mail", a->mail)) != APR_SUCCESS)
        return rv;
    rv = mdm_q_admins_edit(db, id, version, a->name ? a->name : q->name, a->mail ? a->mail : q->mail, role,
                           a->alerts >= 0 ? a->alerts : q->alerts, disabled, &n);
    if (rv == APR_SUCCESS && n != 1)
        return stale(ctx);
    if (rv == APR_SUCCESS && a->folders)
        rv = folders_set(db, id, a->folders);
    if (rv == APR_SUCCESS)
        rv = super_left(db);
    if (rv == APR_SUCCESS && (strcmp(role, q->role_id) != 0 || (disabled && !q->disabled) || a->folders))
        rv = mdm_sessions_end_all(db, "admin", id);
    if (rv == APR_SUCCESS)
        rv = read_one(db, id, &now, &after);
    return rv == APR_SUCCESS ? audit(db, "admin.edit", id, q->login, json_incref(before), after) : rv;
}

apr_status_t mdm_admin_delete(mdm_db_t *db, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_admins_super_lock_t *held;
    mdm_q_admins_get_t *q;
    json_t *before = NULL;
    apr_status_t rv = mdm_q_admins_super_lock(db, &held);

    if (rv == APR_SUCCESS)
        rv = read_one(db, id, &q, &before);
    if (rv != APR_SUCCESS)
        return rv;
    mdm_json_own(ctx, before);
    rv = mdm_rights_grant(ctx, q->rights);
    if (rv == APR_SUCCESS)
        rv = mdm_sessions_end_all(db, "admin", id);
    if (rv == APR_SUCCESS)
        rv = mdm_q_admins_remove(db, id);
    if (rv == APR_SUCCESS)
        rv = super_left(db);
    return rv == APR_SUCCESS ? audit(db, "admin.delete", id, q->login, json_incref(before), NULL) : rv;
}

apr_status_t mdm_admin_password(mdm_ctx_t *ctx, const char *id, const char *password, int own)
{
    mdm_q_admins_get_t *q;
    const char *hash;
    mdm_db_t *db;
    apr_status_t rv = mdm_password_ok(ctx, password);

    if (rv == APR_SUCCESS)
        rv = mdm_password_hash(ctx, password, &hash);
    if (rv == APR_SUCCESS)
        rv = mdm_db_open(ctx, &db);
    if (rv != APR_SUCCESS)
        return rv;
    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS)
        rv = mdm_q_admins_get(db, id, &q);
    if (rv == APR_SUCCESS && !own)
        rv = mdm_rights_grant(ctx, q->rights);
    if (rv == APR_SUCCESS && strcmp(q->kind, "local") != 0)
        rv = mdm_fail(ctx, MDM_ECONFLICT, NULL, "This administrator's password is not kept here.");
    if (rv == APR_SUCCESS)
        rv = mdm_q_admin_set_password(db, id, hash);
    if (rv == APR_SUCCESS)
        rv = mdm_sessions_end_all(db, "admin", id);
    if (rv == APR_SUCCESS)
        rv = mdm_audit(db, "admin.password", "admin", id, q->login, "done", NULL);
    return finish(db, rv);
}

/* ---- tokens */

#define TOKEN_JSON(p, q)                                                                                                   \
    json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s}, s:o, s:o, s:o}", "id", (q)->id, "name", (q)->name, "admin", "id",    \
              (q)->admin_id, "login", (q)->login, "role", "id", (q)->role_id, "name", (q)->role, "created_at",             \
              time_or_null(p, 0, (q)->created_ms), "expires_at", time_or_null(p, 0, (q)->expires_ms), "used_at",           \
              time_or_null(p, (q)->used_ms_null, (q)->used_ms))

apr_status_t mdm_tokens_list(mdm_db_t *db, const char *admin_id, const mdm_page_t *page, json_t **items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows = NULL;
    apr_status_t rv = mdm_q_api_tokens_list(db, admin_id, page->first ? APR_INT64_MAX : page->num, page->id, page->count + 1, &rows);
    int i;

    if (rv != APR_SUCCESS)
        return rv;
    *items = json_array();
    for (i = 0; i < rows->nelts && i < page->count; i++) {
        const mdm_q_api_tokens_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_api_tokens_list_t);
        json_array_append_new(*items, TOKEN_JSON(ctx->pool, q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next_num(ctx, page, q->created_ms, q->id);
    }
    return APR_SUCCESS;
}

apr_status_t mdm_token_json(mdm_db_t *db, const char *id, json_t **out)
{
    mdm_q_api_token_get_t *q;
    apr_status_t rv = mdm_q_api_token_get(db, id, &q);

    if (rv == APR_SUCCESS)
        *out = TOKEN_JSON(mdm_db_ctx(db)->pool, q);
    return rv;
}

/* Own tokens may be made by those limited to folders, too: a token has its owner's limit. */
static apr_status_t token_grant(mdm_ctx_t *ctx, const mdm_q_admins_get_t *owner, const char *rights)
{
    if (!mdm_rights_cover(owner->rights, rights))
        return mdm_fail(ctx, MDM_EDENIED, NULL, "A token can't have more rights than its administrator.");
    if (strcmp(owner->id, ctx->actor.id) != 0)
        return mdm_rights_grant(ctx, owner->rights);
    if (!mdm_rights_cover(ctx->actor.rights, rights))
        return mdm_fail(ctx, MDM_EDENIED, NULL, "Nobody may give rights that he does not have himself.");
    return APR_SUCCESS;
}

apr_status_t mdm_admin_token(mdm_db_t *db, const char *admin_id, const char *role_id, const char *name, apr_int64_t expires_ms,
                             const char **id, const char **secret)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_admins_get_t *owner;
    mdm_q_roles_get_t *role;
    apr_status_t rv = mdm_q_admins_get(db, admin_id, &owner);

    if (rv == APR_NOTFOUND)
        return mdm_fail(ctx, MDM_EINPUT, "admin_id", "does not exist");
    if (rv == APR_SUCCESS && strcmp(owner->kind, "group") == 0)
        rv = mdm_fail(ctx, MDM_ECONFLICT, NULL, "A group has no tokens: who leaves it would keep them.");
    if (rv != APR_SUCCESS)
        return rv;
    rv = mdm_q_roles_get(db, role_id ? role_id : owner->role_id, &role);
    if (rv == APR_NOTFOUND)
        return mdm_fail(ctx, MDM_EINPUT, "role_id", "does not exist");
    if (rv == APR_SUCCESS)
        rv = token_grant(ctx, owner, role->rights);
    return rv == APR_SUCCESS ? mdm_token_create(db, admin_id, role->id, name, expires_ms, id, secret) : rv;
}

apr_status_t mdm_token_delete(mdm_db_t *db, const char *id, const char *owner)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_api_token_get_t *q;
    json_t *before;
    apr_status_t rv = mdm_q_api_token_get(db, id, &q);

    if (rv == APR_SUCCESS && *owner && strcmp(owner, q->admin_id) != 0)
        rv = APR_NOTFOUND;
    if (rv == APR_SUCCESS && !*owner)
        rv = mdm_rights_grant(ctx, q->rights);
    if (rv == APR_SUCCESS)
        rv = mdm_q_api_token_remove(db, id);
    if (rv != APR_SUCCESS)
        return rv;
    before = json_pack("{s:o}", "before", TOKEN_JSON(ctx->pool, q));
    rv = mdm_audit(db, "token.delete", "token", id, q->name, "done", before);
    json_decref(before);
    return rv;
}
