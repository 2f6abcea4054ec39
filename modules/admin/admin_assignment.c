/* Assignments of policies (POL-05). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_assignment.h"

static apr_status_t listed(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    return mdm_assignments_json(db, arg, page, items, next);
}

/* A parameter that is an id; "" if it is absent. */
static apr_status_t id_read(mdm_web_call_t *call, const char *name, const char **out)
{
    apr_status_t rv = mdm_web_query(call->r, call->ctx, name, out);

    *out = *out ? mdm_lower(call->ctx->pool, *out) : "";
    return rv == APR_SUCCESS && **out && !mdm_is_uuid(*out) ? mdm_fail(call->ctx, MDM_EINPUT, name, "must be an id") : rv;
}

int mdm_adm_assignments(mdm_web_call_t *call)
{
    static const char *const params[] = {"policy", "kind", "target", NULL};
    mdm_assignment_filter_t f = {NULL};
    mdm_adm_list_t list = {.params = params, .read = listed, .arg = &f, .name = "assignments",
                           .columns = "id policy:policy.name type kind:target.kind target:target.name conflict position created_at created_by"};
    apr_status_t rv = id_read(call, "policy", &f.policy);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "kind", mdm_target_kinds, &f.kind);
    if (rv == APR_SUCCESS)
        rv = id_read(call, "target", &f.target);
    if (rv == APR_SUCCESS && !*f.kind != !*f.target)
        rv = mdm_fail(call->ctx, MDM_EINPUT, *f.kind ? "target" : "kind", "is missing: kind and target go together");
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.sig = apr_pstrcat(call->ctx->pool, "assignments|", f.policy, "|", f.kind, "|", f.target, NULL);
    return mdm_adm_list(call, &list);
}

int mdm_adm_assignment(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_assignment_json);
}

int mdm_adm_assign(mdm_web_call_t *call)
{
    const char *policy = NULL;
    json_t *targets = NULL, *made = NULL;
    apr_int64_t confirm = 0;
    const mdm_jfield_t fields[] = {{"policy", MDM_JF_UUID, 1, 0, 0, NULL, 0, &policy, NULL},
                                   {"targets", MDM_JF_ARRAY, 1, 0, 0, NULL, 0, &targets, NULL},
                                   {"confirm", MDM_JF_INT, 0, 1, APR_INT32_MAX, NULL, 0, &confirm, NULL},
                                   {NULL}};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_assign(db, policy, targets, confirm, &made);
    mdm_json_own(call->ctx, made);
    rv = mdm_adm_end(db, rv);
    return rv == APR_SUCCESS ? mdm_web_json(call->r, HTTP_CREATED, json_pack("{s:O}", "items", made)) : mdm_adm_fail(call, rv);
}

typedef struct preview_t {
    const char *policy;
    json_t *targets;
} preview_t;

static apr_status_t preview(mdm_db_t *db, const void *arg, json_t **out)
{
    const preview_t *p = arg;

    return mdm_assign_preview(db, p->policy, p->targets, out);
}

int mdm_adm_assign_preview(mdm_web_call_t *call)
{
    preview_t p = {NULL, NULL};
    const mdm_jfield_t fields[] = {{"policy", MDM_JF_UUID, 0, 0, 0, NULL, 0, &p.policy, NULL},
                                   {"targets", MDM_JF_ARRAY, 0, 0, 0, NULL, 0, &p.targets, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS && !p.policy == !p.targets)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "targets", "must be given, or policy for all that it is assigned to");
    return mdm_adm_ask(call, rv, preview, &p);
}

static apr_status_t edit(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    const char *conflict = NULL;
    apr_int64_t position = 0;
    int given = 0;
    const mdm_jfield_t fields[] = {{"conflict", MDM_JF_ENUM, 0, 0, 0, mdm_conflict_rules, 0, &conflict, NULL},
                                   {"position", MDM_JF_INT, 0, 0, MDM_ASSIGN_POSITION_MAX, NULL, 0, &position, &given},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_assignment_edit(db, id, version, conflict, given ? &position : NULL) : rv;
}

int mdm_adm_assignment_edit(mdm_web_call_t *call)
{
    return mdm_adm_edit(call, edit, NULL, mdm_assignment_json);
}

int mdm_adm_assignment_delete(mdm_web_call_t *call)
{
    return mdm_adm_drop_many(call, mdm_assignment_delete);
}
