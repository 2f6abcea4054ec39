/* Policies: rows, names, folders they are in. */
#include "domain/mdm_policies_priv.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"

const char *const mdm_policy_type_names[] = {"device_control", "security", "email", MDM_POLICY_ENROLLMENT, NULL};
const char *const mdm_policy_level_names[] = {"none", "low", "moderate", "strict", "high", NULL};

/* ---------------------------------------------------------------- shared */

apr_status_t mdm_policy_may_change(mdm_ctx_t *ctx)
{
    if (ctx->actor.limit && *ctx->actor.limit)
        return mdm_fail(ctx, MDM_EDENIED, NULL, "You see some folders only: policies are changed by those who see all devices. You may assign "
                                                "them to your folders and devices.");
    return APR_SUCCESS;
}

apr_status_t mdm_policy_stale(mdm_ctx_t *ctx, const char *what)
{
    return mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this %s meanwhile: load it again.", what);
}

apr_status_t mdm_policy_name(mdm_ctx_t *ctx, const char *given, const char **out)
{
    *out = mdm_clean(ctx->pool, given, MDM_POLICY_NAME_MAX + 1);
    return **out && strlen(*out) <= MDM_POLICY_NAME_MAX
               ? APR_SUCCESS : mdm_fail(ctx, MDM_EINPUT, "name", "must be 1 to %d bytes of text", MDM_POLICY_NAME_MAX);
}

apr_status_t mdm_policy_taken(mdm_ctx_t *ctx, apr_status_t rv, const char *why)
{
    return rv == MDM_ECONFLICT ? mdm_fail(ctx, MDM_ECONFLICT, "name", "%s", why) : rv;
}

apr_status_t mdm_policy_audit(mdm_db_t *db, const char *action, const char *id, const char *name, json_t *detail)
{
    return mdm_audit(db, action, "policy", id, name, "done", mdm_json_own(mdm_db_ctx(db), detail));
}

apr_status_t mdm_policy_for_edit(mdm_db_t *db, const char *id, apr_int64_t version, mdm_q_policy_get_t **q)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = mdm_policy_may_change(ctx);

    if (rv == APR_SUCCESS)
        rv = mdm_q_policy_get(db, id, q);
    if (rv == APR_SUCCESS && (*q)->version != version)
        rv = mdm_policy_stale(ctx, "policy");
    return rv;
}

/* ---------------------------------------------------------------- reading */

#define POLICY_JSON(p, q)                                                                                                          \
    json_pack("{s:s, s:s, s:s, s:o, s:s, s:I, s:b, s:b, s:I, s:I, s:s, s:I}", "id", (q)->id, "type", (q)->type, "name", (q)->name,  \
              "folder", (q)->folder_id ? json_pack("{s:s, s:s}", "id", (q)->folder_id, "name", (q)->folder_name) : json_null(),      \
              "description", (q)->description, "published", (json_int_t)(q)->published, "sandbox", (q)->has_sandbox != 0,         \
              "republish", (q)->republish != 0, "assignments", (json_int_t)(q)->assignments, "devices", (json_int_t)(q)->devices,    \
              "created_at", mdm_time_text(p, (q)->created_ms), "version", (json_int_t)(q)->version)

apr_status_t mdm_policies_json(mdm_db_t *db, const mdm_policy_filter_t *f, const mdm_page_t *page, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_policy_list(db, page->key, page->id, f->type, f->folder, mdm_lower(ctx->pool, f->q), page->count + 1, &rows);
    int i;

    *next = NULL;
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_policy_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_policy_list_t);

        json_array_append_new(items, POLICY_JSON(ctx->pool, q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next(ctx, page, q->name, q->id);
    }
    return rv;
}

apr_status_t mdm_policy_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_q_policy_get_t *q;
    apr_status_t rv = mdm_q_policy_get(db, id, &q);

    if (rv == APR_SUCCESS) {
        *out = POLICY_JSON(mdm_db_ctx(db)->pool, q);
        *version = q->version;
    }
    return rv;
}

/* ---------------------------------------------------------------- making and changing */

apr_status_t mdm_policy_add(mdm_db_t *db, const mdm_policy_new_t *what, const mdm_policy_stored_t *s, const char **id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *name, *folder = what->folder ? what->folder : MDM_POLICY_FOLDER_ROOT;
    const char *description = what->description ? what->description : "";
    apr_status_t rv = mdm_policy_name(ctx, what->name, &name);

    if (rv == APR_SUCCESS)
        rv = mdm_policy_folder_there(db, "folder", folder);
    if (rv != APR_SUCCESS)
        return rv;
    if (!(*id = mdm_uuid(ctx->pool)))
        return MDM_EUNAVAIL;
    rv = mdm_q_policy_add(db, *id, what->type, name, folder, description, what->publish, !what->publish, mdm_now_ms(ctx), NULL);
    rv = mdm_policy_taken(ctx, rv, "A policy of this type and name is there already.");
    return rv == APR_SUCCESS ? mdm_policy_version_store(db, *id, what->publish ? 1 : MDM_POLICY_SANDBOX, s) : rv;
}

apr_status_t mdm_policy_create(mdm_db_t *db, const mdm_policy_new_t *what, const char **id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_policy_stored_t s, none = {NULL, "none", "none", ""};
    apr_status_t rv = mdm_policy_may_change(ctx);

    if (rv == APR_SUCCESS)
        rv = mdm_policy_content_make(db, what->type, &what->content, &none, &s);
    if (rv == APR_SUCCESS)
        rv = mdm_policy_add(db, what, &s, id);
    if (rv != APR_SUCCESS)
        return rv;
    return mdm_policy_audit(db, "policy.create", *id, what->name,
                            json_pack("{s:s, s:b, s:s, s:s}", "type", what->type, "published", what->publish, "corporate", s.corporate,
                                      "personal", s.personal));
}

apr_status_t mdm_policy_edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *name, const char *folder, const char *description)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_policy_get_t *q;
    int n = 0;
    apr_status_t rv = mdm_policy_for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS && name)
        rv = mdm_policy_name(ctx, name, &name);
    if (rv == APR_SUCCESS && folder)
        rv = mdm_policy_folder_there(db, "folder", folder);
    if (rv != APR_SUCCESS)
        return rv;
    name = name ? name : q->name;
    folder = folder ? folder : q->folder_id ? q->folder_id : MDM_POLICY_FOLDER_ROOT;
    description = description ? description : q->description;
    rv = mdm_policy_taken(ctx, mdm_q_policy_set(db, id, version, name, folder, description, &n),
                          "A policy of this type and name is there already.");
    if (rv == APR_SUCCESS && n != 1)
        rv = mdm_policy_stale(ctx, "policy");
    if (rv != APR_SUCCESS)
        return rv;
    return mdm_policy_audit(db, "policy.edit", id, name,
                            json_pack("{s:{s:s, s:s?, s:s}, s:{s:s, s:s, s:s}}", "before", "name", q->name, "folder", q->folder_id,
                                      "description", q->description, "after", "name", name, "folder", folder, "description", description));
}

apr_status_t mdm_policy_duplicate(mdm_db_t *db, const char *from, apr_int64_t number, const char *name, const char *folder, const char **id)
{
    mdm_policy_stored_t s;
    mdm_q_policy_get_t *q;
    mdm_policy_new_t made = {.name = name, .folder = folder};
    apr_status_t rv = mdm_q_policy_get(db, from, &q);

    if (rv == APR_SUCCESS)
        rv = mdm_policy_for_edit(db, from, q->version, &q);
    if (rv == APR_SUCCESS)
        rv = mdm_policy_version_load(db, from, number, &s);
    if (rv == APR_SUCCESS)
        rv = mdm_policy_settings_ok(db, q->type, s.settings);
    if (rv != APR_SUCCESS)
        return rv;
    made.type = q->type;
    made.folder = folder ? folder : q->folder_id;
    made.description = q->description;
    s.note = "";
    rv = mdm_policy_add(db, &made, &s, id);
    if (rv != APR_SUCCESS)
        return rv;
    return mdm_policy_audit(db, "policy.create", *id, name, json_pack("{s:s, s:s, s:I}", "type", q->type, "of", from, "number",
                                                                      (json_int_t)number));
}
