/* The tree of device folders, static groups, and putting devices into them. */
#include "domain/mdm_folder.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_schedule.h"
#include "mdm_sql_gen.h"

#define NAME_BYTES 100

/* ---------------------------------------------------------------- shared by both */

static apr_status_t stale(mdm_ctx_t *ctx, const char *what)
{
    return mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this %s meanwhile: load it again.", what);
}

static apr_status_t name_take(mdm_ctx_t *ctx, const char *given, const char **out)
{
    *out = mdm_clean(ctx->pool, given, NAME_BYTES + 1);
    return **out && strlen(*out) <= NAME_BYTES
               ? APR_SUCCESS : mdm_fail(ctx, MDM_EINPUT, "name", "must be 1 to %d bytes of text", NAME_BYTES);
}

/* A uniqueness conflict in the caller's words. */
static apr_status_t taken(mdm_ctx_t *ctx, apr_status_t rv, const char *why)
{
    return rv == MDM_ECONFLICT ? mdm_fail(ctx, MDM_ECONFLICT, "name", "%s", why) : rv;
}

static apr_status_t audit_change(mdm_db_t *db, const char *action, const char *kind, const char *id, const char *name,
                                 json_t *detail)
{
    return mdm_audit(db, action, kind, id, name, "done", mdm_json_own(mdm_db_ctx(db), detail));
}

/* A list of device ids, each of them there. text: the same as JSON. */
static apr_status_t ids_check(mdm_db_t *db, const char *field, json_t *ids, int pending_too, const char **text)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    size_t i, n = json_array_size(ids);
    mdm_q_devices_of_list_t *row;
    apr_status_t rv;

    if (!n || n > MDM_DEVICES_AT_ONCE)
        return mdm_fail(ctx, MDM_EINPUT, field, "must be a list of 1 to %d devices", MDM_DEVICES_AT_ONCE);
    for (i = 0; i < n; i++) {
        const char *id = json_string_value(json_array_get(ids, i));
        size_t k;

        if (!id || !mdm_is_uuid(id))
            return mdm_fail(ctx, MDM_EINPUT, field, "must hold ids of devices");
        for (k = 0; k < i; k++) {
            if (strcmp(id, json_string_value(json_array_get(ids, k))) == 0)
                return mdm_fail(ctx, MDM_EINPUT, field, "names a device twice");
        }
    }
    *text = mdm_json_text(ctx->pool, ids);
    rv = mdm_q_devices_of_list(db, *text, ctx->actor.limit, &row);
    if (rv == APR_SUCCESS && row->found != (apr_int64_t)n)
        return mdm_fail(ctx, MDM_EINPUT, field, "names a device that does not exist");
    if (rv == APR_SUCCESS && row->pending && !pending_too)
        return mdm_fail(ctx, MDM_ECONFLICT, field, "A device whose enrollment is pending stays in its folder until it is finished.");
    return rv;
}

static apr_status_t changed(mdm_db_t *db, json_t *ids)
{
    apr_status_t rv = APR_SUCCESS;
    size_t i;

    for (i = 0; i < json_array_size(ids) && rv == APR_SUCCESS; i++)
        rv = mdm_change_add(db, "device", json_string_value(json_array_get(ids, i)));
    return rv;
}

/* ---------------------------------------------------------------- folders */

#define FOLDER_JSON(q)                                                                                            \
    json_pack("{s:s, s:o, s:s, s:s, s:I, s:I, s:o}", "id", (q)->id, "parent",                                      \
              (q)->parent_id ? json_string((q)->parent_id) : json_null(), "name", (q)->name, "kind", (q)->kind, "devices", \
              (json_int_t)(q)->devices, "version", (json_int_t)(q)->version, "schedule",                           \
              mdm_schedule_own((q)->settings))

apr_status_t mdm_folders_json(mdm_db_t *db, json_t **out)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_folder_list(db, mdm_db_ctx(db)->actor.limit, MDM_FOLDERS_MAX, &rows);
    int i;

    *out = json_array();
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++)
        json_array_append_new(*out, FOLDER_JSON(&APR_ARRAY_IDX(rows, i, mdm_q_folder_list_t)));
    return rv;
}

apr_status_t mdm_folder_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_q_folder_get_t *q;
    apr_status_t rv = mdm_q_folder_get(db, id, mdm_db_ctx(db)->actor.limit, &q);

    if (rv == APR_SUCCESS) {
        *out = FOLDER_JSON(q);
        *version = q->version;
    }
    return rv;
}

/* A folder into which folders of this height may come. */
static apr_status_t parent_check(mdm_db_t *db, const char *parent, int height, int more)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_folder_get_t *q;
    mdm_q_folder_count_t *n;
    apr_status_t rv = mdm_q_folder_get(db, parent, mdm_db_ctx(db)->actor.limit, &q);

    if (rv == APR_NOTFOUND)
        return mdm_fail(ctx, MDM_EINPUT, "parent", "is no folder");
    if (rv != APR_SUCCESS || (rv = mdm_q_folder_count(db, parent, &n)) != APR_SUCCESS)
        return rv;
    if (!strcmp(q->kind, "pending"))
        return mdm_fail(ctx, MDM_ECONFLICT, "parent", "This folder holds devices whose enrollment is pending and nothing else.");
    if (n->n + more > MDM_FOLDERS_MAX)
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "There are %d folders already.", MDM_FOLDERS_MAX);
    if (n->depth + height > MDM_FOLDER_DEPTH)
        return mdm_fail(ctx, MDM_ECONFLICT, "parent", "Folders can be %d deep.", MDM_FOLDER_DEPTH);
    return APR_SUCCESS;
}

apr_status_t mdm_folder_create(mdm_db_t *db, const char *parent, const char *name, const char **id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_folder_hold_t *held;
    apr_status_t rv = name_take(ctx, name, &name);

    if (rv != APR_SUCCESS || (rv = mdm_q_folder_hold(db, &held)) != APR_SUCCESS || (rv = parent_check(db, parent, 1, 1)) != APR_SUCCESS)
        return rv;
    if (!(*id = mdm_uuid(ctx->pool)))
        return MDM_EUNAVAIL;
    rv = taken(ctx, mdm_q_folder_add(db, *id, parent, name, NULL), "A folder of this name is there already.");
    if (rv == APR_SUCCESS)
        rv = mdm_q_folder_above_self(db, *id, NULL);
    if (rv == APR_SUCCESS)
        rv = mdm_q_folder_above_add(db, *id, parent, NULL);
    return rv == APR_SUCCESS ? audit_change(db, "folder.create", "folder", *id, name, json_pack("{s:s}", "parent", parent)) : rv;
}

static apr_status_t folder_for_edit(mdm_db_t *db, const char *id, apr_int64_t version, mdm_q_folder_get_t **q)
{
    apr_status_t rv = mdm_q_folder_get(db, id, mdm_db_ctx(db)->actor.limit, q);

    if (rv == APR_SUCCESS && (*q)->version != version)
        rv = stale(mdm_db_ctx(db), "folder");
    if (rv == APR_SUCCESS && strcmp((*q)->kind, "normal") != 0)
        rv = mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, NULL, "This folder is part of the system.");
    return rv;
}

static apr_status_t below(mdm_db_t *db, const char *id, const char *above, int *is)
{
    mdm_q_folder_is_below_t *q;
    apr_status_t rv = mdm_q_folder_is_below(db, id, above, &q);

    *is = rv == APR_SUCCESS;
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static apr_status_t folder_move(mdm_db_t *db, const char *id, const char *parent)
{
    mdm_q_folder_height_t *height;
    mdm_q_folder_hold_t *held;
    int is = 0;
    apr_status_t rv = mdm_q_folder_hold(db, &held);

    if (rv == APR_SUCCESS)
        rv = below(db, parent, id, &is);
    if (rv == APR_SUCCESS && is)
        return mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, "parent", "A folder can't come into itself or into one below it.");
    if (rv == APR_SUCCESS)
        rv = mdm_q_folder_height(db, id, &height);
    if (rv == APR_SUCCESS)
        rv = parent_check(db, parent, (int)height->n, 0);
    if (rv == APR_SUCCESS)
        rv = mdm_q_folder_above_drop(db, id, NULL);
    return rv == APR_SUCCESS ? mdm_q_folder_above_add(db, id, parent, NULL) : rv;
}

apr_status_t mdm_folder_edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *name, const char *parent)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_folder_get_t *q;
    int n = 0;
    apr_status_t rv = folder_for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS && name)
        rv = name_take(ctx, name, &name);
    if (rv != APR_SUCCESS)
        return rv;
    name = name ? name : q->name;
    parent = parent ? parent : q->parent_id;
    if (strcmp(parent, q->parent_id) != 0) {
        rv = folder_move(db, id, parent);
        if (rv == APR_SUCCESS)
            rv = mdm_schedule_moved(db, id);
    }
    if (rv == APR_SUCCESS)
        rv = taken(ctx, mdm_q_folder_set(db, id, version, parent, name, &n), "A folder of this name is there already.");
    if (rv == APR_SUCCESS && n != 1)
        rv = stale(ctx, "folder");
    if (rv != APR_SUCCESS)
        return rv;
    return audit_change(db, "folder.edit", "folder", id, name,
                        json_pack("{s:{s:s, s:s}, s:{s:s, s:s}}", "before", "name", q->name, "parent", q->parent_id, "after", "name",
                                  name, "parent", parent));
}

apr_status_t mdm_folder_delete(mdm_db_t *db, const char *id, apr_int64_t version)
{
    mdm_q_folder_get_t *q;
    int n = 0;
    apr_status_t rv = folder_for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_folder_remove(db, id, version, &n);
        if (rv == MDM_ECONFLICT)
            rv = mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, NULL, "This folder is not empty: move its devices and folders first.");
        else if (rv == APR_SUCCESS && n != 1)
            rv = stale(mdm_db_ctx(db), "folder");
    }
    return rv == APR_SUCCESS ? audit_change(db, "folder.delete", "folder", id, q->name, NULL) : rv;
}

apr_status_t mdm_devices_move(mdm_db_t *db, json_t *ids, const char *folder)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_folder_get_t *q;
    const char *text;
    apr_status_t rv = ids_check(db, "devices", ids, 0, &text);

    if (rv == APR_SUCCESS && (rv = mdm_q_folder_get(db, folder, mdm_db_ctx(db)->actor.limit, &q)) == APR_NOTFOUND)
        rv = mdm_fail(ctx, MDM_EINPUT, "folder", "is no folder");
    if (rv == APR_SUCCESS && !strcmp(q->kind, "pending"))
        rv = mdm_fail(ctx, MDM_ECONFLICT, "folder", "Only devices whose enrollment is pending are kept there.");
    if (rv == APR_SUCCESS)
        rv = mdm_q_devices_move(db, text, folder, NULL);
    if (rv == APR_SUCCESS)
        rv = changed(db, ids);
    if (rv == APR_SUCCESS)
        rv = mdm_q_devices_due(db, text, mdm_now_ms(ctx), NULL);
    return rv == APR_SUCCESS ? audit_change(db, "device.move", "folder", folder, q->name, json_pack("{s:O}", "devices", ids)) : rv;
}

/* ---------------------------------------------------------------- groups */

#define GROUP_JSON(q)                                                                                               \
    json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "id", (q)->id, "name", (q)->name, "kind", (q)->kind, "position",      \
              (json_int_t)(q)->position, "devices", (json_int_t)(q)->devices, "version", (json_int_t)(q)->version)

apr_status_t mdm_groups_json(mdm_db_t *db, const mdm_page_t *page, json_t *items, const char **next)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_group_list(db, page->key, page->count + 1, &rows);
    int i;

    *next = NULL;
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_group_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_group_list_t);

        json_array_append_new(items, GROUP_JSON(q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next(mdm_db_ctx(db), page, q->name, q->id);
    }
    return rv;
}

apr_status_t mdm_group_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_q_group_get_t *q;
    apr_status_t rv = mdm_q_group_get(db, id, &q);

    if (rv == APR_SUCCESS) {
        *out = GROUP_JSON(q);
        *version = q->version;
    }
    return rv;
}

apr_status_t mdm_group_create(mdm_db_t *db, const char *name, apr_int64_t position, const char **id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = name_take(ctx, name, &name);

    if (rv != APR_SUCCESS)
        return rv;
    if (!(*id = mdm_uuid(ctx->pool)))
        return MDM_EUNAVAIL;
    rv = taken(ctx, mdm_q_group_add(db, *id, name, position, NULL), "A group of this name is there already.");
    return rv == APR_SUCCESS ? audit_change(db, "group.create", "device_group", *id, name, NULL) : rv;
}

/* Who is limited to folders changes no group that others have their devices in (USR-12). */
static apr_status_t group_for_edit(mdm_db_t *db, const char *id, apr_int64_t version, mdm_q_group_get_t **q)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_group_beyond_t *other;
    apr_status_t rv = mdm_q_group_get(db, id, q);

    if (rv == APR_SUCCESS && (*q)->version != version)
        return stale(ctx, "group");
    if (rv != APR_SUCCESS || !*ctx->actor.limit)
        return rv;
    rv = mdm_q_group_beyond(db, id, ctx->actor.limit, &other);
    if (rv == APR_SUCCESS)
        return mdm_fail(ctx, MDM_EDENIED, NULL, "The group holds devices that are in none of your folders.");
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

apr_status_t mdm_group_edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *name, const apr_int64_t *position)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_group_get_t *q;
    int n = 0;
    apr_status_t rv = group_for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS && name)
        rv = name_take(ctx, name, &name);
    if (rv != APR_SUCCESS)
        return rv;
    name = name ? name : q->name;
    rv = taken(ctx, mdm_q_group_set(db, id, version, name, position ? *position : q->position, &n), "A group of this name is there already.");
    if (rv == APR_SUCCESS && n != 1)
        rv = stale(ctx, "group");
    if (rv != APR_SUCCESS)
        return rv;
    return audit_change(db, "group.edit", "device_group", id, name,
                        json_pack("{s:{s:s, s:I}, s:{s:s, s:I}}", "before", "name", q->name, "position", (json_int_t)q->position, "after",
                                  "name", name, "position", (json_int_t)(position ? *position : q->position)));
}

apr_status_t mdm_group_delete(mdm_db_t *db, const char *id, apr_int64_t version)
{
    mdm_q_group_get_t *q;
    int n = 0;
    apr_status_t rv = group_for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS && (rv = mdm_q_group_remove(db, id, version, &n)) == APR_SUCCESS && n != 1)
        rv = stale(mdm_db_ctx(db), "group");
    return rv == APR_SUCCESS ? audit_change(db, "group.delete", "device_group", id, q->name, NULL) : rv;
}

apr_status_t mdm_group_change(mdm_db_t *db, const char *id, json_t *add, json_t *drop)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_group_get_t *q;
    const char *text;
    apr_status_t rv = mdm_q_group_get(db, id, &q);

    if (rv == APR_SUCCESS && strcmp(q->kind, "static") != 0)
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "The devices of this group are found by its criteria.");
    if (rv == APR_SUCCESS && drop && (rv = ids_check(db, "remove", drop, 1, &text)) == APR_SUCCESS
        && (rv = mdm_q_group_members_drop(db, id, text, NULL)) == APR_SUCCESS)
        rv = changed(db, drop);
    if (rv == APR_SUCCESS && add && (rv = ids_check(db, "add", add, 1, &text)) == APR_SUCCESS
        && (rv = mdm_q_group_members_add(db, id, text, NULL)) == APR_SUCCESS)
        rv = changed(db, add);
    if (rv != APR_SUCCESS)
        return rv;
    return audit_change(db, "group.devices", "device_group", id, q->name,
                        json_pack("{s:O?, s:O?}", "added", add, "removed", drop));
}
