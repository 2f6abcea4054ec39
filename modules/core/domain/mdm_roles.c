/* Rights and roles. */
#include "domain/mdm_roles.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_people.h"
#include "mdm_sql_gen.h"

#define SUPER "super_admin"

enum { READ = 1, WRITE = 2, TASK = 4, RAW = 8, EVERY = 15 };

static const struct {
    const char *name;
    int bit;
} acts[] = {{"read", READ}, {"write", WRITE}, {"task", TASK}, {"raw", RAW}};

static const struct {
    const char *name;
    int acts;
} areas[] = {{"device", READ | WRITE | TASK}, {"command", RAW}, {"folder", READ | WRITE}, {"group", READ | WRITE},
             {"pending", READ | WRITE}, {"exception", READ | WRITE}, {"task", READ | WRITE}, {"policy", READ | WRITE},
             {"bundle", READ | WRITE}, {"person", READ | WRITE}, {"source", READ | WRITE}, {"mail", READ | WRITE},
             {"zone", READ | WRITE}, {"admin", READ | WRITE}, {"audit", READ}};

#define AREAS (sizeof(areas) / sizeof(areas[0]))
#define ACTS (sizeof(acts) / sizeof(acts[0]))

json_t *mdm_rights_table(void)
{
    json_t *table = json_object();
    unsigned i, k;

    for (i = 0; i < AREAS; i++) {
        json_t *list = json_array();
        for (k = 0; k < ACTS; k++) {
            if (areas[i].acts & acts[k].bit)
                json_array_append_new(list, json_string(acts[k].name));
        }
        json_object_set_new(table, areas[i].name, list);
    }
    return table;
}

/* The bit of an act, every one for "*", 0 if there is none of this name. */
static int act_bit(const char *name)
{
    unsigned k;

    if (name && strcmp(name, "*") == 0)
        return EVERY;
    for (k = 0; name && k < ACTS; k++) {
        if (strcmp(name, acts[k].name) == 0)
            return acts[k].bit;
    }
    return 0;
}

static int area_acts(const char *name)
{
    unsigned i;

    if (strcmp(name, "*") == 0)
        return EVERY;
    for (i = 0; i < AREAS; i++) {
        if (strcmp(name, areas[i].name) == 0)
            return areas[i].acts;
    }
    return 0;
}

apr_status_t mdm_rights_check(mdm_ctx_t *ctx, json_t *rights)
{
    const char *area;
    json_t *list, *act;
    size_t k;

    json_object_foreach(rights, area, list) {
        const char *field = apr_pstrcat(ctx->pool, "rights.", mdm_clean(ctx->pool, area, 60), NULL);
        if (!area_acts(area))
            return mdm_fail(ctx, MDM_EINPUT, field, "is no area of rights");
        if (!json_is_array(list))
            return mdm_fail(ctx, MDM_EINPUT, field, "must be a list of acts");
        json_array_foreach(list, k, act) {
            const char *name = json_string_value(act);
            if (!name)
                return mdm_fail(ctx, MDM_EINPUT, field, "must hold names of acts");
            if (!(act_bit(name) & area_acts(area)))
                return mdm_fail(ctx, MDM_EINPUT, field, "has no act \"%s\"", mdm_clean(ctx->pool, name, 60));
        }
    }
    return APR_SUCCESS;
}

/* What a role gives in each area, "*" spelt out. */
static void spell(const char *text, int out[AREAS])
{
    json_t *rights = text ? json_loads(text, 0, NULL) : NULL, *list, *act;
    const char *area;
    size_t k;
    unsigned i;

    memset(out, 0, AREAS * sizeof(*out));
    json_object_foreach(rights, area, list) {
        int bits = 0;
        json_array_foreach(list, k, act) {
            bits |= act_bit(json_string_value(act));
        }
        for (i = 0; i < AREAS; i++) {
            if (strcmp(area, "*") == 0 || strcmp(area, areas[i].name) == 0)
                out[i] |= bits & areas[i].acts;
        }
    }
    json_decref(rights);
}

int mdm_rights_cover(const char *held, const char *wanted)
{
    int have[AREAS], want[AREAS];
    unsigned i;

    spell(held, have);
    spell(wanted, want);
    for (i = 0; i < AREAS; i++) {
        if (want[i] & ~have[i])
            return 0;
    }
    return 1;
}

apr_status_t mdm_rights_grant(mdm_ctx_t *ctx, const char *wanted)
{
    if (strcmp(ctx->actor.kind, "system") == 0)
        return APR_SUCCESS;
    if (*ctx->actor.limit)
        return mdm_fail(ctx, MDM_EDENIED, NULL, "Who is limited to folders may not give rights to others.");
    if (!mdm_rights_cover(ctx->actor.rights, wanted))
        return mdm_fail(ctx, MDM_EDENIED, NULL, "Nobody may give, take or touch rights that he does not have himself.");
    return APR_SUCCESS;
}

/* ---- roles */

#define ROLE_JSON(q)                                                                                              \
    json_pack("{s:s, s:s, s:o, s:b, s:I, s:I, s:I}", "id", (q)->id, "name", (q)->name, "rights",                  \
              parsed((q)->rights), "builtin", (q)->builtin != 0, "admins", (json_int_t)(q)->admins, "tokens",     \
              (json_int_t)(q)->tokens, "version", (json_int_t)(q)->version)

static json_t *parsed(const char *text)
{
    json_t *j = json_loads(text, 0, NULL);

    return j ? j : json_object();
}

apr_status_t mdm_roles_list(mdm_db_t *db, const mdm_page_t *page, json_t **items, const char **next)
{
    apr_array_header_t *rows = NULL;
    apr_status_t rv = mdm_q_roles_list(db, page->key, page->id, page->count + 1, &rows);
    int i;

    if (rv != APR_SUCCESS)
        return rv;
    *items = json_array();
    for (i = 0; i < rows->nelts && i < page->count; i++) {
        const mdm_q_roles_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_roles_list_t);
        json_array_append_new(*items, ROLE_JSON(q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next(mdm_db_ctx(db), page, q->name, q->id);
    }
    return APR_SUCCESS;
}

apr_status_t mdm_role_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_q_roles_get_t *q;
    apr_status_t rv = mdm_q_roles_get(db, id, &q);

    if (rv == APR_SUCCESS) {
        *out = ROLE_JSON(q);
        if (version)
            *version = q->version;
    }
    return rv;
}

static apr_status_t name_ok(mdm_ctx_t *ctx, const char *name)
{
    if (!*name || strcmp(name, mdm_clean(ctx->pool, name, 200)) != 0)
        return mdm_fail(ctx, MDM_EINPUT, "name", "must be a name without outer spaces");
    return APR_SUCCESS;
}

static apr_status_t audit(mdm_db_t *db, const char *action, const char *id, const char *name, json_t *before, json_t *after)
{
    json_t *detail = json_pack("{s:o*, s:o*}", "before", before, "after", after);
    apr_status_t rv = mdm_audit(db, action, "role", id, name, "done", detail);

    json_decref(detail);
    return rv;
}

apr_status_t mdm_role_create(mdm_db_t *db, const char *name, json_t *rights, const char **id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *text = mdm_json_text(ctx->pool, rights), *uuid = mdm_uuid(ctx->pool);
    json_t *after = NULL;
    apr_status_t rv = text && uuid ? name_ok(ctx, name) : MDM_EUNAVAIL;

    if (rv == APR_SUCCESS)
        rv = mdm_rights_check(ctx, rights);
    if (rv == APR_SUCCESS)
        rv = mdm_rights_grant(ctx, text);
    if (rv != APR_SUCCESS)
        return rv;
    rv = mdm_q_roles_add(db, uuid, name, text, NULL);
    if (rv == MDM_ECONFLICT)
        return mdm_fail(ctx, rv, "name", "is taken");
    if (rv == APR_SUCCESS)
        rv = mdm_role_json(db, uuid, &after, NULL);
    if (rv == APR_SUCCESS)
        rv = audit(db, "role.create", uuid, name, NULL, after);
    if (rv == APR_SUCCESS)
        *id = uuid;
    return rv;
}

static apr_status_t may_edit(mdm_ctx_t *ctx, const mdm_q_roles_get_t *q, apr_int64_t version, const char *name)
{
    if (q->version != version)
        return mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this role meanwhile: load it again.");
    if (strcmp(q->name, SUPER) == 0 && q->builtin)
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "This role has every right, always.");
    if (q->builtin && name && strcmp(name, q->name) != 0)
        return mdm_fail(ctx, MDM_ECONFLICT, "name", "of a built-in role stays");
    return mdm_rights_grant(ctx, q->rights);
}

/* A role that grew: tokens must not have more rights than their administrators. */
static apr_status_t tokens_bound(mdm_db_t *db, const char *id, const char *rights)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_roles_tokens(db, id, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_roles_tokens_t *t = &APR_ARRAY_IDX(rows, i, mdm_q_roles_tokens_t);
        if (!mdm_rights_cover(t->owner_rights, rights))
            rv = mdm_q_api_token_remove(db, t->id);
    }
    return rv;
}

apr_status_t mdm_role_edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *name, json_t *rights)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *text;
    json_t *after = NULL;
    mdm_q_roles_get_t *q;
    int n = 0;
    apr_status_t rv = mdm_q_roles_get(db, id, &q);

    if (rv == APR_SUCCESS)
        rv = may_edit(ctx, q, version, name);
    if (rv == APR_SUCCESS && name)
        rv = name_ok(ctx, name);
    if (rv == APR_SUCCESS && rights)
        rv = mdm_rights_check(ctx, rights);
    if (rv != APR_SUCCESS)
        return rv;
    text = rights ? mdm_json_text(ctx->pool, rights) : q->rights;
    rv = mdm_rights_grant(ctx, text);
    if (rv == APR_SUCCESS)
        rv = mdm_q_roles_edit(db, id, version, name ? name : q->name, text, &n);
    if (rv == MDM_ECONFLICT)
        return mdm_fail(ctx, rv, "name", "is taken");
    if (rv == APR_SUCCESS && n != 1)
        return mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this role meanwhile: load it again.");
    if (rv == APR_SUCCESS && !mdm_rights_cover(text, q->rights))
        rv = mdm_q_roles_tokens_end(db, id, NULL);
    if (rv == APR_SUCCESS && !mdm_rights_cover(q->rights, text))
        rv = tokens_bound(db, id, text);
    if (rv == APR_SUCCESS)
        rv = mdm_role_json(db, id, &after, NULL);
    if (rv == APR_SUCCESS)
        rv = audit(db, "role.edit", id, name ? name : q->name, ROLE_JSON(q), after);
    return rv;
}

apr_status_t mdm_role_delete(mdm_db_t *db, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_roles_get_t *q;
    apr_status_t rv = mdm_q_roles_get(db, id, &q);

    if (rv == APR_SUCCESS && q->builtin)
        rv = mdm_fail(ctx, MDM_ECONFLICT, NULL, "A built-in role can't be deleted.");
    if (rv == APR_SUCCESS && (q->admins || q->tokens))
        rv = mdm_fail(ctx, MDM_ECONFLICT, NULL, "Administrators or tokens have this role: give them another one first.");
    if (rv == APR_SUCCESS)
        rv = mdm_rights_grant(ctx, q->rights);
    if (rv == APR_SUCCESS)
        rv = mdm_q_roles_remove(db, id);
    return rv == APR_SUCCESS ? audit(db, "role.delete", id, q->name, ROLE_JSON(q), NULL) : rv;
}
