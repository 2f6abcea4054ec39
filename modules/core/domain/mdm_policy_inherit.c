/* What "inherit" comes to where a policy is assigned: shown in its editor. */
#include "domain/mdm_policies_priv.h"

#include <string.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_policy.h"
#include "mdm_sql_gen.h"

static const char *const columns[] = {"corporate", "personal"};
enum { COLUMNS = 2 };

typedef struct inherit_t {
    mdm_db_t *db;
    mdm_ctx_t *ctx;
    const char *policy_id, *type;
    apr_array_header_t *assigned; /* of mdm_policy_assignment_t: what other policies of the type say at all those places */
    json_t *names;                /* of policies, by id */
    json_t *out;
} inherit_t;

static apr_status_t assigned_read(inherit_t *in, json_t *targets)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_recompute_assigned(in->db, mdm_json_text(in->ctx->pool, targets), &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_recompute_assigned_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_recompute_assigned_t);
        mdm_policy_assignment_t a = {.id = q->id, .policy_id = q->policy_id, .type = q->type, .number = q->published,
                                     .target = apr_pstrcat(in->ctx->pool, q->target_kind, ":", q->target_id, NULL),
                                     .conflict = "user_first", .position = q->position};
        mdm_q_policy_version_get_t *version;
        mdm_q_policy_get_t *policy;

        if (!q->published || strcmp(q->type, in->type) != 0 || strcmp(q->policy_id, in->policy_id) == 0)
            continue;
        rv = mdm_q_policy_version_get(in->db, q->policy_id, q->published, &version);
        if (rv == APR_SUCCESS)
            rv = mdm_json_parse(in->ctx, version->settings, strlen(version->settings), &a.settings);
        if (rv == APR_SUCCESS)
            rv = mdm_q_policy_get(in->db, q->policy_id, &policy);
        if (rv == APR_NOTFOUND) { /* deleted this moment */
            rv = APR_SUCCESS;
            continue;
        }
        if (rv == APR_SUCCESS) {
            json_object_set_new(in->names, q->policy_id, json_string(policy->name));
            APR_ARRAY_PUSH(in->assigned, mdm_policy_assignment_t) = a;
        }
    }
    return rv;
}

/* One value at one place; where places differ, "value" goes and "places" comes. */
static void note(inherit_t *in, const char *setting, const char *column, const json_t *found, int first)
{
    json_t *row = json_object_get(in->out, setting), *cell, *value = json_object_get(found, "value");

    if (!row) {
        row = json_object();
        json_object_set_new(in->out, setting, row);
    }
    cell = json_object_get(row, column);
    if (!cell && first)
        json_object_set_new(row, column, json_pack("{s:O, s:{s:O, s:O}}", "value", value, "policy", "id", json_object_get(found, "policy"), "name",
                                                   json_object_get(in->names, json_string_value(json_object_get(found, "policy")))));
    else if (!cell || !json_equal(json_object_get(cell, "value"), value))
        json_object_set_new(row, column, json_pack("{s:b}", "places", 1));
}

/* What was the same at all places so far and is not said at this one differs, too. */
static void note_missing(inherit_t *in, const char *column, json_t *settings)
{
    const char *setting;
    json_t *row;

    json_object_foreach(in->out, setting, row) {
        if (json_object_get(row, column) && !json_object_get(settings, setting))
            json_object_set_new(row, column, json_pack("{s:b}", "places", 1));
    }
}

static apr_status_t place(inherit_t *in, const apr_array_header_t *targets, int first)
{
    int user = targets->nelts > 1 && (strncmp(APR_ARRAY_IDX(targets, 0, const char *), "user_", 5) == 0), c;
    apr_status_t rv = APR_SUCCESS;

    for (c = 0; rv == APR_SUCCESS && c < COLUMNS; c++) {
        const char *const *list = (const char *const *)(void *)targets->elts;
        mdm_policy_subject_t who = {user ? list : NULL, user ? NULL : list, columns[c]};
        mdm_policy_effective_t *e;
        const char *setting;
        json_t *found;

        rv = mdm_policy_resolve(in->ctx, &who, in->type, (mdm_policy_assignment_t *)(void *)in->assigned->elts, in->assigned->nelts, &e);
        if (rv != APR_SUCCESS)
            return rv;
        json_object_foreach(e->settings, setting, found)
            note(in, setting, columns[c], found, first);
        note_missing(in, columns[c], e->settings);
    }
    return rv;
}

static apr_status_t places(inherit_t *in, const apr_array_header_t *rows)
{
    apr_array_header_t *targets = apr_array_make(in->ctx->pool, 16, sizeof(const char *));
    int i, first = 1;
    apr_status_t rv = APR_SUCCESS;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_policy_inherit_places_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_policy_inherit_places_t);

        APR_ARRAY_PUSH(targets, const char *) = apr_pstrcat(in->ctx->pool, q->kind, ":", q->id, NULL);
        if (i + 1 < rows->nelts && strcmp(q->assignment_id, APR_ARRAY_IDX(rows, i + 1, mdm_q_policy_inherit_places_t).assignment_id) == 0)
            continue;
        APR_ARRAY_PUSH(targets, const char *) = NULL;
        rv = place(in, targets, first);
        first = 0;
        apr_array_clear(targets);
    }
    return rv;
}

apr_status_t mdm_policy_inherited_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    inherit_t in = {.db = db, .ctx = ctx, .policy_id = id, .assigned = apr_array_make(ctx->pool, 8, sizeof(mdm_policy_assignment_t)),
                    .names = mdm_json_own(ctx, json_object()), .out = json_object()};
    json_t *targets = mdm_json_own(ctx, json_array());
    mdm_q_policy_get_t *policy;
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_policy_get(db, id, &policy);
    int i;

    mdm_json_own(ctx, in.out);
    if (rv == APR_SUCCESS && mdm_policy_enrolls(policy->type)) { /* one is effective as a whole (ENR-01) */
        *version = policy->version;
        *out = json_incref(in.out);
        return APR_SUCCESS;
    }
    if (rv == APR_SUCCESS)
        rv = mdm_q_policy_inherit_places(db, id, &rows);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_policy_inherit_places_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_policy_inherit_places_t);
        json_array_append_new(targets, json_pack("{s:s, s:s}", "k", q->kind, "i", q->id));
    }
    if (rv == APR_SUCCESS) {
        in.type = policy->type;
        rv = assigned_read(&in, targets);
    }
    if (rv == APR_SUCCESS)
        rv = places(&in, rows);
    if (rv == APR_SUCCESS) {
        *version = policy->version;
        *out = json_incref(in.out);
    }
    return rv;
}
