/* Lists of address filters: rows, JSON and the compiled form. */
#include "domain/mdm_access.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define MAX_DESCRIPTION 200

static const char *const categories[MDM_ACCESS_COUNT] = {"admin", "endpoint", "tools"};
static const char *const actions[] = {"allow", "deny", NULL};

const char *mdm_access_name(mdm_access_e category)
{
    return categories[category];
}

apr_status_t mdm_access_category(const char *name, mdm_access_e *out)
{
    int i;

    for (i = 0; i < MDM_ACCESS_COUNT; i++) {
        if (strcmp(categories[i], name) == 0) {
            *out = (mdm_access_e)i;
            return APR_SUCCESS;
        }
    }
    return APR_NOTFOUND;
}

apr_status_t mdm_filter_make(mdm_ctx_t *ctx, const char *source, int position, const char *action, const char *addresses,
                             const char *description, mdm_filter_t *out)
{
    apr_array_header_t *ranges;
    int allow = strcmp(action, "allow") == 0;
    apr_status_t rv;

    if (!allow && strcmp(action, "deny") != 0) {
        return mdm_fail(ctx, MDM_EINPUT, "action", "must be allow or deny");
    }
    rv = mdm_cidr_parse(ctx, "addresses", addresses, &ranges, NULL);
    if (rv == APR_SUCCESS) {
        *out = (mdm_filter_t){source, position, allow, addresses, description, ranges};
    }
    return rv;
}

apr_status_t mdm_filters_read(mdm_ctx_t *ctx, const char *source, json_t *list, apr_array_header_t **out)
{
    apr_array_header_t *made;
    size_t i, n = json_array_size(list);

    *out = NULL;
    if (!json_is_array(list) || n > MDM_ACCESS_MAX) {
        return mdm_fail(ctx, MDM_EINPUT, "filters", "must be a list of at most %d filters", MDM_ACCESS_MAX);
    }
    made = apr_array_make(ctx->pool, (int)n + 1, sizeof(mdm_filter_t));
    for (i = 0; i < n; i++) {
        const char *action = "", *addresses = "", *description = "";
        const mdm_jfield_t fields[] = {
            {.name = "addresses", .type = MDM_JF_STR, .required = 1, .min = 1, .max = MDM_CIDR_TEXT, .out = &addresses},
            {.name = "action", .type = MDM_JF_ENUM, .required = 1, .choices = actions, .out = &action},
            {.name = "description", .type = MDM_JF_STR, .max = MAX_DESCRIPTION, .out = &description},
            {.name = NULL}};
        apr_status_t rv = mdm_json_fields(ctx, json_array_get(list, i), fields);

        if (rv == APR_SUCCESS) {
            rv = mdm_filter_make(ctx, source, (int)i + 1, action, addresses, description, apr_array_push(made));
        }
        if (rv != APR_SUCCESS) {
            ctx->fail_field = apr_psprintf(ctx->pool, "filters[%d].%s", (int)i, ctx->fail_field);
            return rv;
        }
    }
    *out = made;
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- asking */

struct mdm_access_t {
    const mdm_filter_t *filters;
    const mdm_cidr_set_t *set;
};

apr_status_t mdm_access_compile(apr_pool_t *p, const apr_array_header_t *filters, const mdm_access_t **out)
{
    mdm_access_t *a = apr_palloc(p, sizeof(*a));
    const apr_array_header_t **ranges = apr_palloc(p, sizeof(*ranges) * (apr_size_t)(filters->nelts + 1)); /* pointers: NOLINT(bugprone-sizeof-expression) */
    int i;

    a->filters = (const mdm_filter_t *)filters->elts;
    for (i = 0; i < filters->nelts; i++) {
        ranges[i] = a->filters[i].ranges;
    }
    *out = a;
    return mdm_cidr_compile(p, ranges, filters->nelts, &a->set);
}

const mdm_filter_t *mdm_access_find(const mdm_access_t *list, const mdm_addr_t *addr)
{
    int i = mdm_cidr_find(list->set, addr);

    return i < 0 ? NULL : &list->filters[i];
}

/* ---------------------------------------------------------------- keeping */

apr_status_t mdm_access_get(mdm_db_t *db, const char *node_id, mdm_access_e category, apr_int64_t *version,
                            apr_array_header_t **filters)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_access_list_t *list;
    apr_array_header_t *rows;
    int i;
    apr_status_t rv = mdm_q_access_list(db, node_id, categories[category], &list);

    *version = 0;
    *filters = apr_array_make(ctx->pool, 1, sizeof(mdm_filter_t));
    if (rv == APR_SUCCESS) {
        *version = list->version;
        rv = mdm_q_access_filters(db, list->id, &rows);
    } else {
        return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
    }
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_access_filters_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_access_filters_t);

        rv = mdm_filter_make(ctx, node_id ? "node" : "zone", (int)q->position, q->action, q->addresses, q->description,
                             apr_array_push(*filters));
    }
    return rv;
}

static const char *rows_text(apr_pool_t *p, const apr_array_header_t *filters)
{
    json_t *list = json_array();
    const char *text;
    int i;

    for (i = 0; i < filters->nelts; i++) {
        const mdm_filter_t *f = &APR_ARRAY_IDX(filters, i, mdm_filter_t);

        json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:s}", "position", i + 1, "action",
                                              f->allow ? "allow" : "deny", "addresses", f->addresses, "description",
                                              f->description));
    }
    text = mdm_json_text(p, list);
    json_decref(list);
    return text;
}

/* The list's row at its next version. */
static apr_status_t advance(mdm_db_t *db, const char *node_id, mdm_access_e category, apr_int64_t version, const char **id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_access_list_t *list = NULL;
    int n = 0;
    apr_status_t rv = mdm_q_access_list(db, node_id, categories[category], &list);

    if (rv == APR_NOTFOUND && version == 0) {
        *id = mdm_uuid(ctx->pool);
        rv = *id ? mdm_q_access_list_add(db, *id, node_id, categories[category], mdm_now_ms(ctx), NULL) : MDM_EUNAVAIL;
        return rv == MDM_ECONFLICT ? MDM_ESTALE : rv;
    }
    if (rv == APR_SUCCESS) {
        *id = list->id;
        rv = mdm_q_access_list_next(db, *id, version, mdm_now_ms(ctx), &n);
    }
    return rv == APR_NOTFOUND || (rv == APR_SUCCESS && n == 0) ? MDM_ESTALE : rv;
}

apr_status_t mdm_access_put(mdm_db_t *db, const char *node_id, mdm_access_e category, apr_int64_t version,
                            const apr_array_header_t *filters)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *id;
    json_t *detail;
    apr_status_t rv = advance(db, node_id, category, version, &id);

    if (rv == MDM_ESTALE) {
        return mdm_fail(ctx, rv, "If-Match", "Somebody else has changed this list. Read it again.");
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_access_filters_clear(db, id, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_access_filters_add(db, id, rows_text(ctx->pool, filters), NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_change_add(db, MDM_ACCESS_CHANGE, id);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    detail = json_pack("{s:s, s:i}", "node", node_id ? node_id : "", "filters", filters->nelts);
    rv = mdm_audit(db, "access.save", "access", id, categories[category], "done", detail);
    json_decref(detail);
    return rv;
}

apr_status_t mdm_access_load(mdm_db_t *db, const char *node_name, apr_array_header_t *lists[MDM_ACCESS_COUNT])
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    int i;
    apr_status_t rv = mdm_q_access_effective(db, node_name, &rows);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (i = 0; i < rows->nelts; i++) {
        const mdm_q_access_effective_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_access_effective_t);
        mdm_filter_t f;
        mdm_access_e c;

        if (mdm_access_category(q->category, &c) != APR_SUCCESS ||
            mdm_filter_make(ctx, q->of_node ? "node" : "zone", (int)q->position, q->action, q->addresses, q->description,
                            &f) != APR_SUCCESS) {
            mdm_log(ctx, MDM_LOG_ERR, "MDM0901", 0, "address filter %d of list %s can't be used: %s", (int)q->position,
                    q->category, ctx->fail_text ? ctx->fail_text : "unknown category");
            continue;
        }
        APR_ARRAY_PUSH(lists[c], mdm_filter_t) = f;
    }
    return APR_SUCCESS;
}
