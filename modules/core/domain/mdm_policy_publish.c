/* What changes the effect of policies: the sandbox, publishing, deleting (POL-01, EML-05). Each locks the policy's row first, so that of two at
 * once one goes on and the other one is stale. */
#include "domain/mdm_policies_priv.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_recompute.h"

#define TEST_DEVICES 1000 /* more are marked by what the policy is assigned to */

/* A sandbox reaches test devices only: there are few of them in any zone. */
static apr_status_t mark_sandbox(mdm_db_t *db, const mdm_q_policy_get_t *policy)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *ids = mdm_json_own(ctx, json_array());
    apr_array_header_t *rows;
    apr_status_t rv;
    int i;

    if (!policy->assignments || mdm_policy_enrolls(policy->type))
        return APR_SUCCESS;
    rv = mdm_q_policy_test_devices(db, TEST_DEVICES + 1, &rows);
    if (rv != APR_SUCCESS)
        return rv;
    if (rows->nelts > TEST_DEVICES)
        return mdm_recompute_mark_policy(db, policy->id);
    for (i = 0; i < rows->nelts; i++)
        json_array_append_new(ids, json_string(APR_ARRAY_IDX(rows, i, mdm_q_policy_test_devices_t).id));
    return i ? mdm_recompute_mark_devices(db, ids) : APR_SUCCESS;
}

/* Everybody whom it reaches. */
static apr_status_t mark_all(mdm_db_t *db, const mdm_q_policy_get_t *policy)
{
    return mdm_policy_enrolls(policy->type) ? mdm_change_add(db, MDM_ENROLL_CHANGE, "") : mdm_recompute_mark_policy(db, policy->id);
}

static apr_status_t next(mdm_db_t *db, const mdm_q_policy_get_t *q, apr_int64_t published, int sandbox, int republish)
{
    int n = 0;
    apr_status_t rv = mdm_q_policy_next(db, q->id, q->version, published, sandbox, republish, &n);

    return rv == APR_SUCCESS && n != 1 ? mdm_policy_stale(mdm_db_ctx(db), "policy") : rv;
}

/* What the sandbox is compared with, and begins as: itself, else the version in force, else nothing. */
static apr_status_t sandbox_before(mdm_db_t *db, const mdm_q_policy_get_t *q, mdm_policy_stored_t *out)
{
    apr_status_t rv;

    if (q->has_sandbox || q->published) {
        rv = mdm_policy_version_load(db, q->id, q->has_sandbox ? MDM_POLICY_SANDBOX : q->published, out);
        if (rv == APR_SUCCESS && !q->has_sandbox)
            out->note = "";
        return rv;
    }
    *out = (mdm_policy_stored_t){mdm_json_own(mdm_db_ctx(db), json_object()), "none", "none", ""};
    return APR_SUCCESS;
}

static apr_status_t sandbox_write(mdm_db_t *db, const mdm_q_policy_get_t *q, const mdm_policy_stored_t *before, const mdm_policy_stored_t *s)
{
    apr_status_t rv = next(db, q, q->published, 1, q->republish != 0);

    if (rv == APR_SUCCESS)
        rv = mdm_policy_version_store(db, q->id, MDM_POLICY_SANDBOX, s);
    if (rv == APR_SUCCESS)
        rv = mark_sandbox(db, q);
    if (rv != APR_SUCCESS)
        return rv;
    return mdm_policy_audit(db, "policy.sandbox", q->id, q->name,
                            json_pack("{s:o, s:s, s:s}", "changes", mdm_policy_diff(q->type, before->settings, s->settings), "corporate",
                                      s->corporate, "personal", s->personal));
}

apr_status_t mdm_policy_sandbox_put(mdm_db_t *db, const char *id, apr_int64_t version, const mdm_policy_content_t *c)
{
    mdm_policy_stored_t before, s;
    mdm_q_policy_get_t *q;
    apr_status_t rv = mdm_policy_for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS)
        rv = sandbox_before(db, q, &before);
    if (rv == APR_SUCCESS)
        rv = mdm_policy_content_make(db, q->type, c, &before, &s);
    return rv == APR_SUCCESS ? sandbox_write(db, q, &before, &s) : rv;
}

/* {"<setting>": {"<column>": value} or null} over settings, both columns of which are there; without columns: as a whole. */
static apr_status_t merge(mdm_ctx_t *ctx, const char *type, json_t *settings, json_t *changes)
{
    const char *id;
    json_t *row;

    json_object_foreach(changes, id, row) {
        json_t *old = json_object_get(settings, id);

        if (json_is_null(row))
            json_object_del(settings, id);
        else if (mdm_policy_enrolls(type))
            json_object_set(settings, id, row);
        else if (!json_is_object(row))
            return mdm_fail(ctx, MDM_EINPUT, apr_psprintf(ctx->pool, "settings.%s", mdm_clean(ctx->pool, id, 60)),
                            "must be an object with the columns corporate and personal, or null");
        else if (old)
            json_object_update(old, row);
        else
            json_object_set_new(settings, id, json_deep_copy(row));
    }
    return APR_SUCCESS;
}

apr_status_t mdm_policy_sandbox_patch(mdm_db_t *db, const char *id, apr_int64_t version, json_t *settings)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_policy_content_t c = {NULL};
    mdm_policy_stored_t before, s;
    mdm_q_policy_get_t *q;
    apr_status_t rv = mdm_policy_for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS)
        rv = sandbox_before(db, q, &before);
    if (rv == APR_SUCCESS && !(c.settings = mdm_json_own(ctx, json_deep_copy(before.settings))))
        rv = APR_ENOMEM;
    if (rv == APR_SUCCESS)
        rv = merge(ctx, q->type, c.settings, settings);
    if (rv == APR_SUCCESS)
        rv = mdm_policy_content_make(db, q->type, &c, &before, &s);
    return rv == APR_SUCCESS ? sandbox_write(db, q, &before, &s) : rv;
}

static apr_status_t sandbox_end(mdm_db_t *db, const char *id)
{
    return mdm_q_policy_version_drop(db, id, MDM_POLICY_SANDBOX, NULL);
}

apr_status_t mdm_policy_sandbox_drop(mdm_db_t *db, const char *id, apr_int64_t version)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_policy_get_t *q;
    apr_status_t rv = mdm_policy_for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS && !q->has_sandbox)
        rv = mdm_fail(ctx, MDM_ECONFLICT, NULL, "This policy has no sandbox.");
    if (rv == APR_SUCCESS && !q->published)
        rv = mdm_fail(ctx, MDM_ECONFLICT, NULL, "The sandbox is all that this policy has: publish it, or delete the policy.");
    if (rv == APR_SUCCESS)
        rv = next(db, q, q->published, 0, q->republish != 0);
    if (rv == APR_SUCCESS)
        rv = sandbox_end(db, id);
    if (rv == APR_SUCCESS)
        rv = mark_sandbox(db, q);
    return rv == APR_SUCCESS ? mdm_policy_audit(db, "policy.sandbox_discard", id, q->name, NULL) : rv;
}

/* ---------------------------------------------------------------- publishing */

/* As the next version of the same policy. */
static apr_status_t publish_here(mdm_db_t *db, const mdm_q_policy_get_t *q, apr_int64_t number, const mdm_policy_stored_t *s)
{
    int sandbox = q->has_sandbox && number != MDM_POLICY_SANDBOX;
    apr_status_t rv = next(db, q, q->published + 1, sandbox, 0);

    if (rv == APR_SUCCESS)
        rv = mdm_policy_version_store(db, q->id, q->published + 1, s);
    if (rv == APR_SUCCESS && number == MDM_POLICY_SANDBOX)
        rv = sandbox_end(db, q->id);
    if (rv == APR_SUCCESS)
        rv = mark_all(db, q);
    if (rv != APR_SUCCESS)
        return rv;
    return mdm_policy_audit(db, "policy.publish", q->id, q->name,
                            json_pack("{s:I, s:I}", "number", (json_int_t)q->published + 1, "from", (json_int_t)number));
}

/* As a policy of its own; a sandbox moves there, unless it is all that the old policy has. */
static apr_status_t publish_new(mdm_db_t *db, const mdm_q_policy_get_t *q, const mdm_policy_publish_t *what, const mdm_policy_stored_t *s,
                                const char **made)
{
    mdm_policy_new_t fresh = {.type = q->type, .name = what->name, .folder = what->folder ? what->folder : q->folder_id,
                              .description = q->description, .publish = 1};
    int moves = what->number == MDM_POLICY_SANDBOX && q->published;
    apr_status_t rv = next(db, q, q->published, q->has_sandbox && !moves, q->republish != 0);

    if (rv == APR_SUCCESS)
        rv = mdm_policy_add(db, &fresh, s, made);
    if (rv == APR_SUCCESS && moves && (rv = sandbox_end(db, q->id)) == APR_SUCCESS)
        rv = mark_sandbox(db, q);
    if (rv != APR_SUCCESS)
        return rv;
    return mdm_policy_audit(db, "policy.publish", *made, what->name,
                            json_pack("{s:i, s:I, s:s}", "number", 1, "from", (json_int_t)what->number, "of", q->id));
}

apr_status_t mdm_policy_publish(mdm_db_t *db, const char *id, apr_int64_t version, const mdm_policy_publish_t *what, const char **made)
{
    mdm_policy_stored_t s;
    mdm_q_policy_get_t *q;
    apr_status_t rv = mdm_policy_for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS && what->folder && !what->name)
        rv = mdm_fail(mdm_db_ctx(db), MDM_EINPUT, "folder", "is that of a new policy: give its name, too");
    if (rv == APR_SUCCESS)
        rv = mdm_policy_version_load(db, id, what->number, &s);
    if (rv == APR_SUCCESS) /* what it names may have gone since it was written */
        rv = mdm_policy_settings_ok(db, q->type, s.settings);
    if (rv != APR_SUCCESS)
        return rv;
    s.note = what->note ? what->note : what->number == MDM_POLICY_SANDBOX ? s.note : "";
    *made = id;
    return what->name ? publish_new(db, q, what, &s, made) : publish_here(db, q, what->number, &s);
}

apr_status_t mdm_policy_note(mdm_db_t *db, const char *id, apr_int64_t version, apr_int64_t number, const char *note)
{
    mdm_q_policy_get_t *q;
    mdm_policy_stored_t s;
    apr_status_t rv = mdm_policy_for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS)
        rv = mdm_policy_version_load(db, id, number, &s);
    if (rv == APR_SUCCESS)
        rv = next(db, q, q->published, q->has_sandbox != 0, q->republish != 0);
    if (rv == APR_SUCCESS)
        rv = mdm_q_policy_version_note(db, id, number, note, NULL);
    return rv == APR_SUCCESS ? mdm_policy_audit(db, "policy.note", id, q->name, json_pack("{s:I, s:s, s:s}", "number", (json_int_t)number,
                                                                                          "before", s.note, "after", note))
                             : rv;
}

/* ---------------------------------------------------------------- deleting */

apr_status_t mdm_policy_delete(mdm_db_t *db, const char *id, apr_int64_t version, apr_int64_t confirm)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_policy_get_t *q;
    int n = 0;
    apr_status_t rv = mdm_policy_for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS && q->devices > 1 && q->devices > confirm) /* fewer than were seen is no surprise, and while they are computed it is usual */
        return mdm_fail(ctx, confirm ? MDM_ECONFLICT : MDM_EINPUT, "confirm",
                        "%" APR_INT64_T_FMT "%s devices have this policy: send this number as confirm.", q->devices,
                        q->devices >= MDM_POLICY_COUNT_MAX ? " or more" : "");
    if (rv == APR_SUCCESS && (rv = mdm_q_policy_remove(db, id, version, &n)) == APR_SUCCESS && n != 1)
        rv = mdm_policy_stale(ctx, "policy");
    if (rv == APR_SUCCESS) /* who assigns it waits for the row, or has been waited for */
        rv = mark_all(db, q);
    if (rv == APR_SUCCESS)
        rv = mdm_q_assignment_drop_policy(db, id, NULL);
    return rv == APR_SUCCESS ? mdm_policy_audit(db, "policy.delete", id, q->name,
                                                json_pack("{s:s, s:I, s:I}", "type", q->type, "assignments", (json_int_t)q->assignments,
                                                          "devices", (json_int_t)q->devices)) : rv;
}
