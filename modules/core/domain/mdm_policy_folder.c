/* The tree of folders that policies are kept in. */
#include "domain/mdm_policies_priv.h"

#include <string.h>
#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"

#define TAKEN "A folder of this name is there already."

#define FOLDER_JSON(q)                                                                                                        \
    json_pack("{s:s, s:o, s:s, s:I, s:I, s:I}", "id", (q)->id, "parent", (q)->parent_id ? json_string((q)->parent_id) : json_null(), \
              "name", (q)->name, "policies", (json_int_t)(q)->policies, "folders", (json_int_t)(q)->folders, "version",          \
              (json_int_t)(q)->version)

apr_status_t mdm_policy_folders_json(mdm_db_t *db, json_t **out)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_policy_folder_list(db, MDM_POLICY_FOLDERS_MAX, &rows);
    int i;

    *out = json_array();
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++)
        json_array_append_new(*out, FOLDER_JSON(&APR_ARRAY_IDX(rows, i, mdm_q_policy_folder_list_t)));
    return rv;
}

apr_status_t mdm_policy_folder_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_q_policy_folder_get_t *q;
    apr_status_t rv = mdm_q_policy_folder_get(db, id, &q);

    if (rv == APR_SUCCESS) {
        *out = FOLDER_JSON(q);
        *version = q->version;
    }
    return rv;
}

apr_status_t mdm_policy_folder_there(mdm_db_t *db, const char *field, const char *id)
{
    mdm_q_policy_folder_get_t *q;
    apr_status_t rv = mdm_q_policy_folder_get(db, id, &q);

    return rv == APR_NOTFOUND ? mdm_fail(mdm_db_ctx(db), MDM_EINPUT, field, "is no folder of policies") : rv;
}

static apr_status_t audit(mdm_db_t *db, const char *action, const char *id, const char *name, json_t *detail)
{
    return mdm_audit(db, action, "policy_folder", id, name, "done", mdm_json_own(mdm_db_ctx(db), detail));
}

/* A folder into which folders of this height may come, and which is not `below` or in it. */
static apr_status_t parent_check(mdm_db_t *db, const char *parent, const char *below, apr_int64_t height)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *up;
    apr_status_t rv = mdm_policy_folder_there(db, "parent", parent);
    int i;

    if (rv == APR_SUCCESS)
        rv = mdm_q_policy_folder_up(db, parent, MDM_POLICY_FOLDER_DEPTH + 1, &up);
    for (i = 0; rv == APR_SUCCESS && i < up->nelts; i++) {
        if (below && !strcmp(APR_ARRAY_IDX(up, i, mdm_q_policy_folder_up_t).id, below))
            return mdm_fail(ctx, MDM_ECONFLICT, "parent", "A folder can't come into itself or into one below it.");
    }
    if (rv == APR_SUCCESS && up->nelts + height > MDM_POLICY_FOLDER_DEPTH)
        return mdm_fail(ctx, MDM_ECONFLICT, "parent", "Folders can be %d deep.", MDM_POLICY_FOLDER_DEPTH);
    return rv;
}

apr_status_t mdm_policy_folder_create(mdm_db_t *db, const char *parent, const char *name, const char **id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_policy_folder_hold_t *held;
    mdm_q_policy_folder_count_t *count = NULL;
    apr_status_t rv = mdm_policy_may_change(ctx);

    if (rv == APR_SUCCESS)
        rv = mdm_policy_name(ctx, name, &name);
    if (rv == APR_SUCCESS)
        rv = mdm_q_policy_folder_hold(db, &held);
    if (rv == APR_SUCCESS)
        rv = parent_check(db, parent, NULL, 1);
    if (rv == APR_SUCCESS)
        rv = mdm_q_policy_folder_count(db, &count);
    if (rv == APR_SUCCESS && count->n >= MDM_POLICY_FOLDERS_MAX)
        rv = mdm_fail(ctx, MDM_ECONFLICT, NULL, "There are %d folders already.", MDM_POLICY_FOLDERS_MAX);
    if (rv == APR_SUCCESS && !(*id = mdm_uuid(ctx->pool)))
        rv = MDM_EUNAVAIL;
    if (rv == APR_SUCCESS)
        rv = mdm_policy_taken(ctx, mdm_q_policy_folder_add(db, *id, parent, name, NULL), TAKEN);
    return rv == APR_SUCCESS ? audit(db, "policy_folder.create", *id, name, json_pack("{s:s}", "parent", parent)) : rv;
}

static apr_status_t for_edit(mdm_db_t *db, const char *id, apr_int64_t version, mdm_q_policy_folder_get_t **q)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = mdm_policy_may_change(ctx);

    if (rv == APR_SUCCESS)
        rv = mdm_q_policy_folder_get(db, id, q);
    if (rv == APR_SUCCESS && (*q)->version != version)
        rv = mdm_policy_stale(ctx, "folder");
    if (rv == APR_SUCCESS && !(*q)->parent_id)
        rv = mdm_fail(ctx, MDM_ECONFLICT, NULL, "This folder is part of the system.");
    return rv;
}

apr_status_t mdm_policy_folder_edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *name, const char *parent)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_policy_folder_get_t *q;
    mdm_q_policy_folder_hold_t *held;
    mdm_q_policy_folder_height_t *height;
    int n = 0;
    apr_status_t rv = for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS && name)
        rv = mdm_policy_name(ctx, name, &name);
    if (rv != APR_SUCCESS)
        return rv;
    name = name ? name : q->name;
    parent = parent ? parent : q->parent_id;
    if (strcmp(parent, q->parent_id) != 0) {
        rv = mdm_q_policy_folder_hold(db, &held);
        if (rv == APR_SUCCESS)
            rv = mdm_q_policy_folder_height(db, id, MDM_POLICY_FOLDER_DEPTH + 1, &height);
        if (rv == APR_SUCCESS)
            rv = parent_check(db, parent, id, height->n);
    }
    if (rv == APR_SUCCESS)
        rv = mdm_policy_taken(ctx, mdm_q_policy_folder_set(db, id, version, parent, name, &n), TAKEN);
    if (rv == APR_SUCCESS && n != 1)
        rv = mdm_policy_stale(ctx, "folder");
    if (rv != APR_SUCCESS)
        return rv;
    return audit(db, "policy_folder.edit", id, name,
                 json_pack("{s:{s:s, s:s}, s:{s:s, s:s}}", "before", "name", q->name, "parent", q->parent_id, "after", "name", name,
                           "parent", parent));
}

apr_status_t mdm_policy_folder_delete(mdm_db_t *db, const char *id, apr_int64_t version)
{
    mdm_q_policy_folder_get_t *q;
    int n = 0;
    apr_status_t rv = for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_policy_folder_remove(db, id, version, &n);
        if (rv == MDM_ECONFLICT)
            rv = mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, NULL, "This folder is not empty: move its policies and folders first.");
        else if (rv == APR_SUCCESS && n != 1)
            rv = mdm_policy_stale(mdm_db_ctx(db), "folder");
    }
    return rv == APR_SUCCESS ? audit(db, "policy_folder.delete", id, q->name, NULL) : rv;
}
