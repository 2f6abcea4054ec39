#include "domain/mdm_policy.h"

#include <apr_strings.h>
#include <stdlib.h>

#define INHERIT "inherit"

/* How the two sides join, by the conflict rule. */
static const struct {
    const char *rule;
    int user, device, device_first;
} joins[] = {
    {.rule = "user_first", .user = 1, .device = 1, .device_first = 0},
    {.rule = "device_first", .user = 1, .device = 1, .device_first = 1},
    {.rule = "device_only", .user = 0, .device = 1, .device_first = 1},
    {.rule = "user_only", .user = 1, .device = 0, .device_first = 0},
};

typedef struct ranked_t {
    const mdm_policy_assignment_t *a;
    int rank;
} ranked_t;

static int rank_of(const char *const *targets, const char *target)
{
    int i;
    for (i = 0; targets && targets[i]; i++) {
        if (strcmp(targets[i], target) == 0)
            return i;
    }
    return -1;
}

static int by_precedence(const void *x, const void *y)
{
    const ranked_t *a = x, *b = y;
    int c;

    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    if (a->a->position != b->a->position)
        return a->a->position < b->a->position ? -1 : 1;
    c = strcmp(a->a->policy_id, b->a->policy_id); /* the order of rows must never matter */
    return c ? c : strcmp(a->a->id, b->a->id);
}

/* The assignments of one side, nearest first. */
static apr_array_header_t *side(apr_pool_t *p, const char *const *targets, const char *type,
                                const mdm_policy_assignment_t *list, int n)
{
    apr_array_header_t *out = apr_array_make(p, n ? n : 1, sizeof(ranked_t));
    int i;

    for (i = 0; i < n; i++) {
        int rank = strcmp(list[i].type, type) == 0 ? rank_of(targets, list[i].target) : -1;
        if (rank >= 0) {
            ranked_t *r = apr_array_push(out);
            r->a = &list[i];
            r->rank = rank;
        }
    }
    qsort(out->elts, (size_t)out->nelts, sizeof(ranked_t), by_precedence);
    return out;
}

static void append(apr_array_header_t *order, const apr_array_header_t *from)
{
    int i, k;

    for (i = 0; i < from->nelts; i++) {
        const mdm_policy_assignment_t *a = APR_ARRAY_IDX(from, i, ranked_t).a;
        for (k = 0; k < order->nelts; k++) {
            if (strcmp(APR_ARRAY_IDX(order, k, const mdm_policy_assignment_t *)->policy_id, a->policy_id) == 0)
                break;
        }
        if (k == order->nelts)
            APR_ARRAY_PUSH(order, const mdm_policy_assignment_t *) = a;
    }
}

apr_status_t mdm_policy_order(mdm_ctx_t *ctx, const mdm_policy_subject_t *who, const char *type,
                              const mdm_policy_assignment_t *list, int n, apr_array_header_t **order)
{
    apr_array_header_t *user = side(ctx->pool, who->user_targets, type, list, n);
    apr_array_header_t *device = side(ctx->pool, who->device_targets, type, list, n);
    const char *rule = device->nelts ? APR_ARRAY_IDX(device, 0, ranked_t).a->conflict : "user_first";
    apr_size_t j = 0;

    while (j < sizeof(joins) / sizeof(joins[0]) && strcmp(joins[j].rule, rule) != 0)
        j++;
    if (j == sizeof(joins) / sizeof(joins[0]))
        return mdm_fail(ctx, MDM_EINPUT, "conflict", "is not a conflict rule: %s", mdm_clean(ctx->pool, rule, 40));
    *order = apr_array_make(ctx->pool, user->nelts + device->nelts + 1, sizeof(mdm_policy_assignment_t *));
    if (joins[j].device && joins[j].device_first)
        append(*order, device);
    if (joins[j].user)
        append(*order, user);
    if (joins[j].device && !joins[j].device_first)
        append(*order, device);
    return APR_SUCCESS;
}

static int is_inherit(const json_t *v)
{
    return !v || (json_is_string(v) && strcmp(json_string_value(v), INHERIT) == 0);
}

/* Takes what this policy says of settings that nobody nearer has decided. */
static apr_status_t take(mdm_ctx_t *ctx, const mdm_policy_assignment_t *a, const char *ownership, json_t *result,
                         json_t *values)
{
    const char *setting;
    json_t *columns;

    if (a->settings && !json_is_object(a->settings))
        return mdm_fail(ctx, MDM_EINPUT, "settings", "of policy %s are not an object", a->policy_id);
    json_object_foreach(a->settings, setting, columns) {
        json_t *v = json_object_get(columns, ownership);
        if (is_inherit(v) || json_object_get(result, setting))
            continue;
        json_object_set_new(result, setting,
                            json_pack("{s:O, s:s, s:I, s:s}", "value", v, "policy", a->policy_id, "version",
                                      (json_int_t)a->number, "via", a->target));
        json_object_set(values, setting, v);
    }
    return APR_SUCCESS;
}

apr_status_t mdm_policy_resolve(mdm_ctx_t *ctx, const mdm_policy_subject_t *who, const char *type,
                                const mdm_policy_assignment_t *list, int n, mdm_policy_effective_t **out)
{
    mdm_policy_effective_t *e = apr_pcalloc(ctx->pool, sizeof(*e));
    json_t *values = mdm_json_own(ctx, json_object());
    apr_array_header_t *order;
    apr_status_t rv;
    char *text;
    int i;

    e->settings = mdm_json_own(ctx, json_object());
    if (!e->settings || !values)
        return APR_ENOMEM;
    rv = mdm_policy_order(ctx, who, type, list, n, &order);
    for (i = 0; rv == APR_SUCCESS && i < order->nelts; i++)
        rv = take(ctx, APR_ARRAY_IDX(order, i, const mdm_policy_assignment_t *), who->ownership, e->settings, values);
    if (rv != APR_SUCCESS)
        return rv;
    /* Keys sorted: the hash must not depend on which policy came first. */
    text = json_dumps(values, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        return APR_ENOMEM;
    e->hash = mdm_sha256_hex(ctx->pool, text, strlen(text));
    free(text);
    *out = e;
    return APR_SUCCESS;
}
