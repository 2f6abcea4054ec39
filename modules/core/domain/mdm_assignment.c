/* Assignments of policies. */
#include "domain/mdm_assignment.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_recompute.h"
#include "mdm_sql_gen.h"

const char *const mdm_target_kinds[] = {"person", "user_group", "user_folder", "user_source", "device", "device_group", "folder", NULL};
const char *const mdm_conflict_rules[] = {"user_first", "device_first", "device_only", "user_only", NULL};

static int device_side(const char *kind)
{
    return !strcmp(kind, "device") || !strcmp(kind, "device_group") || !strcmp(kind, "folder");
}

/* No enrolled device gets anything else by an enrollment policy (ENR-07): nothing to confirm, nothing to compute. */
static int enrolls(const char *type)
{
    return !strcmp(type, "enrollment");
}

/* ---------------------------------------------------------------- reading */

#define TARGET_JSON(q) \
    json_pack("{s:s, s:s, s:s?}", "kind", (q)->target_kind, "id", (q)->target_id, "name", (q)->target_name)
#define ASSIGNMENT_JSON(p, q)                                                                                                     \
    json_pack("{s:s, s:{s:s, s:s}, s:s, s:o, s:o, s:I, s:s, s:s, s:I}", "id", (q)->id, "policy", "id", (q)->policy_id, "name",         \
              (q)->policy_name, "type", (q)->type, "target", TARGET_JSON(q), "conflict",                                            \
              device_side((q)->target_kind) ? json_string((q)->conflict) : json_null(), "position", (json_int_t)(q)->position,      \
              "created_at", mdm_time_text(p, (q)->created_ms), "created_by", (q)->created_by, "version", (json_int_t)(q)->version)

static apr_status_t of_target(mdm_db_t *db, const mdm_assignment_filter_t *f, json_t *items)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_assignment_of_target(db, f->kind, f->target, ctx->actor.limit, MDM_ASSIGN_OF_TARGET, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_assignment_of_target_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_assignment_of_target_t);

        if (!*f->policy || !strcmp(f->policy, q->policy_id))
            json_array_append_new(items, ASSIGNMENT_JSON(ctx->pool, q));
    }
    return rv;
}

apr_status_t mdm_assignments_json(mdm_db_t *db, const mdm_assignment_filter_t *f, const mdm_page_t *page, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    apr_status_t rv;
    int i;

    *next = NULL;
    if (*f->kind)
        return of_target(db, f, items);
    rv = mdm_q_assignment_list(db, f->policy, ctx->actor.limit, page->key, page->id, page->count + 1, &rows);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_assignment_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_assignment_list_t);

        json_array_append_new(items, ASSIGNMENT_JSON(ctx->pool, q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next(ctx, page, q->target_kind, q->id);
    }
    return rv;
}

apr_status_t mdm_assignment_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_assignment_get_t *q;
    apr_status_t rv = mdm_q_assignment_get(db, id, ctx->actor.limit, &q);

    if (rv == APR_SUCCESS) {
        *out = ASSIGNMENT_JSON(ctx->pool, q);
        *version = q->version;
    }
    return rv;
}

apr_status_t mdm_target_name(mdm_db_t *db, const char *kind, const char *id, const char **name)
{
    mdm_q_assignment_target_name_t *q;
    apr_status_t rv = mdm_q_assignment_target_name(db, kind, id, &q);

    *name = rv == APR_SUCCESS ? q->name : "";
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

/* ---------------------------------------------------------------- assigning */

static apr_status_t may_reach(mdm_db_t *db, const char *kind, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_assignment_target_within_t *q;
    apr_status_t rv = APR_NOTFOUND;

    if (!ctx->actor.limit || !*ctx->actor.limit)
        return APR_SUCCESS;
    if (!strcmp(kind, "device") || !strcmp(kind, "folder"))
        rv = mdm_q_assignment_target_within(db, kind, id, ctx->actor.limit, &q);
    return rv == APR_NOTFOUND ? mdm_fail(ctx, MDM_EDENIED, NULL, "You see some folders only: assign to these and to their devices.") : rv;
}

typedef struct target_t {
    const char *kind, *id, *conflict, *name;
    apr_int64_t position;
    int position_given;
} target_t;

/* Puts "targets.<n>" before the field that a refusal named. */
static apr_status_t in_target(mdm_ctx_t *ctx, apr_status_t rv, size_t n)
{
    if (rv == MDM_EINPUT || rv == MDM_ECONFLICT)
        ctx->fail_field = apr_psprintf(ctx->pool, "targets.%u%s%s", (unsigned)n, *ctx->fail_field ? "." : "", ctx->fail_field);
    return rv;
}

static apr_status_t target_read(mdm_ctx_t *ctx, json_t *given, target_t *t)
{
    const mdm_jfield_t fields[] = {{"kind", MDM_JF_ENUM, 1, 0, 0, mdm_target_kinds, 0, &t->kind, NULL},
                                   {"id", MDM_JF_UUID, 1, 0, 0, NULL, 0, &t->id, NULL},
                                   {"conflict", MDM_JF_ENUM, 0, 0, 0, mdm_conflict_rules, 0, &t->conflict, NULL},
                                   {"position", MDM_JF_INT, 0, 0, MDM_ASSIGN_POSITION_MAX, NULL, 0, &t->position, &t->position_given},
                                   {NULL}};
    apr_status_t rv = json_is_object(given) ? mdm_json_fields(ctx, given, fields) : mdm_fail(ctx, MDM_EINPUT, "", "must be an object");

    if (rv == APR_SUCCESS && t->conflict && !device_side(t->kind))
        rv = mdm_fail(ctx, MDM_EINPUT, "conflict", "is for devices, groups of devices and folders");
    return rv;
}

/* What targets reach, added up. */
typedef struct preview_t {
    apr_int64_t devices;
    int exact;
    json_t *targets;
} preview_t;

static apr_status_t preview_one(mdm_db_t *db, const char *kind, const char *id, const char *name, preview_t *p)
{
    apr_int64_t n = 0;
    apr_status_t rv = mdm_recompute_reach(db, kind, id, MDM_ASSIGN_REACH_MAX, &n);

    if (rv != APR_SUCCESS)
        return rv;
    p->exact = !json_array_size(p->targets) && n < MDM_ASSIGN_REACH_MAX;
    p->devices += n;
    json_array_append_new(p->targets, json_pack("{s:s, s:s, s:s, s:I}", "kind", kind, "id", id, "name", name, "devices", (json_int_t)n));
    return APR_SUCCESS;
}

static apr_status_t preview_targets(mdm_db_t *db, json_t *targets, preview_t *p)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_assignment_target_name_t *q;
    json_t *given;
    size_t n;

    if (!json_array_size(targets) || json_array_size(targets) > MDM_ASSIGN_AT_ONCE)
        return mdm_fail(ctx, MDM_EINPUT, "targets", "must be a list of 1 to %d targets", MDM_ASSIGN_AT_ONCE);
    json_array_foreach(targets, n, given) {
        target_t t = {NULL};
        apr_status_t rv = target_read(ctx, given, &t);

        if (rv == APR_SUCCESS)
            rv = may_reach(db, t.kind, t.id);
        if (rv == APR_SUCCESS && (rv = mdm_q_assignment_target_name(db, t.kind, t.id, &q)) == APR_NOTFOUND)
            rv = mdm_fail(ctx, MDM_EINPUT, "id", "is not there");
        if (rv == APR_SUCCESS)
            rv = preview_one(db, t.kind, t.id, q->name, p);
        if (rv != APR_SUCCESS)
            return in_target(ctx, rv, n);
    }
    return APR_SUCCESS;
}

/* Many devices are reached only by who knows how many they are (UI-04). */
static apr_status_t confirmed(mdm_ctx_t *ctx, const preview_t *p, apr_int64_t confirm)
{
    if (p->devices <= MDM_ASSIGN_MANY || p->devices <= confirm)
        return APR_SUCCESS;
    return mdm_fail(ctx, confirm ? MDM_ECONFLICT : MDM_EINPUT, "confirm",
                    "%" APR_INT64_T_FMT "%s devices would get other settings: send this number as confirm.", p->devices,
                    p->devices >= MDM_ASSIGN_REACH_MAX ? " or more" : "");
}

/* POL-05: an enrollment policy counts before there is a device. */
static apr_status_t people_only(mdm_ctx_t *ctx, json_t *targets)
{
    json_t *given;
    size_t n;

    json_array_foreach(targets, n, given) {
        if (device_side(json_string_value(json_object_get(given, "kind"))))
            return in_target(ctx, mdm_fail(ctx, MDM_EINPUT, "kind", "must be of people: an enrollment policy is assigned to persons, their groups, "
                                                                    "folders and sources"), n);
    }
    return APR_SUCCESS;
}

static apr_status_t target_hold(mdm_db_t *db, target_t *t)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_assignment_target_hold_t *held;
    mdm_q_assignment_count_t *count;
    apr_status_t rv = may_reach(db, t->kind, t->id);

    if (rv == APR_SUCCESS && (rv = mdm_q_assignment_target_hold(db, t->kind, t->id, &held)) == APR_NOTFOUND)
        return mdm_fail(ctx, MDM_EINPUT, "id", "is not there");
    if (rv == APR_SUCCESS)
        rv = mdm_q_assignment_count(db, t->kind, t->id, &count);
    if (rv == APR_SUCCESS && count->n >= MDM_ASSIGN_OF_TARGET)
        rv = mdm_fail(ctx, MDM_ECONFLICT, "", "%d policies are assigned there already.", MDM_ASSIGN_OF_TARGET);
    if (rv == APR_SUCCESS)
        t->name = held->name;
    return rv;
}

static apr_status_t assign_one(mdm_db_t *db, const char *policy, const mdm_q_policy_hold_t *q, json_t *given, json_t *made)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    target_t t = {NULL};
    json_t *row;
    apr_int64_t version;
    const char *id = mdm_uuid(ctx->pool);
    apr_status_t rv = id ? target_read(ctx, given, &t) : MDM_EUNAVAIL;

    if (rv == APR_SUCCESS)
        rv = target_hold(db, &t);
    if (rv == APR_SUCCESS) {
        rv = mdm_q_assignment_add(db, id, policy, q->type, t.kind, t.id, t.conflict ? t.conflict : mdm_conflict_rules[0],
                                  t.position_given ? &t.position : NULL, mdm_now_ms(ctx), ctx->actor.name, NULL);
        if (rv == MDM_ECONFLICT)
            rv = mdm_fail(ctx, rv, "", "The policy is assigned there already.");
    }
    if (rv == APR_SUCCESS)
        rv = enrolls(q->type) ? mdm_change_add(db, MDM_ENROLL_CHANGE, "") : mdm_recompute_mark(db, t.kind, t.id);
    if (rv == APR_SUCCESS)
        rv = mdm_assignment_json(db, id, &row, &version);
    if (rv != APR_SUCCESS)
        return rv;
    json_array_append_new(made, row);
    return mdm_audit(db, "assignment.create", "policy", policy, q->name, "done",
                     mdm_json_own(ctx, json_pack("{s:s, s:s, s:s, s:O}", "target_kind", t.kind, "target_id", t.id, "target_name", t.name,
                                                 "position", json_object_get(row, "position"))));
}

apr_status_t mdm_assign(mdm_db_t *db, const char *policy, json_t *targets, apr_int64_t confirm, json_t **made)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    preview_t reach = {.exact = 1, .targets = mdm_json_own(ctx, json_array())};
    mdm_q_policy_hold_t *q;
    json_t *given;
    size_t n;
    apr_status_t rv = mdm_q_policy_hold(db, policy, &q);

    if (rv == APR_NOTFOUND)
        return mdm_fail(ctx, MDM_EINPUT, "policy", "is not there");
    if (rv == APR_SUCCESS)
        rv = preview_targets(db, targets, &reach);
    if (rv == APR_SUCCESS && enrolls(q->type))
        rv = people_only(ctx, targets);
    else if (rv == APR_SUCCESS)
        rv = confirmed(ctx, &reach, confirm);
    if (rv != APR_SUCCESS)
        return rv;
    *made = json_array();
    json_array_foreach(targets, n, given) {
        rv = in_target(ctx, assign_one(db, policy, q, given, *made), n);
        if (rv != APR_SUCCESS) {
            json_decref(*made);
            *made = NULL;
            break;
        }
    }
    return rv;
}

static apr_status_t for_edit(mdm_db_t *db, const char *id, apr_int64_t version, mdm_q_assignment_get_t **q)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = mdm_q_assignment_get(db, id, ctx->actor.limit, q);

    if (rv == APR_SUCCESS && (*q)->version != version)
        rv = mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this assignment meanwhile: load it again.");
    return rv == APR_SUCCESS ? may_reach(db, (*q)->target_kind, (*q)->target_id) : rv;
}

static apr_status_t changed(mdm_db_t *db, const mdm_q_assignment_get_t *q, const char *action, int n, json_t *detail)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = n == 1 ? APR_SUCCESS : mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this assignment meanwhile: load it again.");

    json_object_set_new(detail, "target_kind", json_string(q->target_kind));
    json_object_set_new(detail, "target_id", json_string(q->target_id));
    mdm_json_own(ctx, detail);
    if (rv == APR_SUCCESS)
        rv = enrolls(q->type) ? mdm_change_add(db, MDM_ENROLL_CHANGE, "") : mdm_recompute_mark(db, q->target_kind, q->target_id);
    return rv == APR_SUCCESS ? mdm_audit(db, action, "policy", q->policy_id, q->policy_name, "done", detail) : rv;
}

apr_status_t mdm_assignment_edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *conflict, const apr_int64_t *position)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_assignment_get_t *q;
    int n = 0;
    apr_status_t rv = for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS && conflict && !device_side(q->target_kind))
        rv = mdm_fail(ctx, MDM_EINPUT, "conflict", "is for devices, groups of devices and folders");
    if (rv == APR_SUCCESS)
        rv = mdm_q_assignment_set(db, id, version, conflict ? conflict : q->conflict, position ? *position : q->position, &n);
    if (rv != APR_SUCCESS)
        return rv;
    return changed(db, q, "assignment.edit", n,
                   json_pack("{s:{s:s, s:I}, s:{s:s, s:I}}", "before", "conflict", q->conflict, "position", (json_int_t)q->position, "after",
                             "conflict", conflict ? conflict : q->conflict, "position", (json_int_t)(position ? *position : q->position)));
}

apr_status_t mdm_assignment_delete(mdm_db_t *db, const char *id, apr_int64_t version, apr_int64_t confirm)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    preview_t reach = {.exact = 1, .targets = mdm_json_own(ctx, json_array())};
    mdm_q_assignment_get_t *q;
    int n = 0;
    apr_status_t rv = for_edit(db, id, version, &q);

    if (rv == APR_SUCCESS && !enrolls(q->type) && (rv = preview_one(db, q->target_kind, q->target_id, "", &reach)) == APR_SUCCESS)
        rv = confirmed(ctx, &reach, confirm);
    if (rv == APR_SUCCESS)
        rv = mdm_q_assignment_remove(db, id, version, &n);
    return rv == APR_SUCCESS ? changed(db, q, "assignment.delete", n, json_object()) : rv;
}

/* ---------------------------------------------------------------- preview */

static apr_status_t preview_policy(mdm_db_t *db, const char *policy, preview_t *p)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    mdm_q_policy_hold_t *q;
    apr_status_t rv = mdm_q_policy_hold(db, policy, &q);
    int i;

    if (rv == APR_NOTFOUND)
        return mdm_fail(ctx, MDM_EINPUT, "policy", "is not there");
    if (rv == APR_SUCCESS)
        rv = mdm_q_assignment_list(db, policy, ctx->actor.limit, "", "", MDM_ASSIGN_AT_ONCE + 1, &rows);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < MDM_ASSIGN_AT_ONCE; i++) {
        const mdm_q_assignment_list_t *a = &APR_ARRAY_IDX(rows, i, mdm_q_assignment_list_t);

        rv = preview_one(db, a->target_kind, a->target_id, a->target_name ? a->target_name : "", p);
    }
    return rv;
}

apr_status_t mdm_assign_preview(mdm_db_t *db, const char *policy, json_t *targets, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    preview_t p = {.exact = 1, .targets = mdm_json_own(ctx, json_array())};
    apr_status_t rv = policy ? preview_policy(db, policy, &p) : preview_targets(db, targets, &p);

    if (rv == APR_SUCCESS)
        *out = json_pack("{s:I, s:b, s:O}", "devices", (json_int_t)p.devices, "exact", p.exact, "targets", p.targets);
    return rv;
}
