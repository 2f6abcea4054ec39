/* Policies at work: counts, devices behind them, one device. */
#include "domain/mdm_policy_status.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_assignment.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_policy.h"
#include "domain/mdm_policy_profile.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"

#define RESULTS_AT_ONCE 100

const char *const mdm_delivery_states[] = {"pending", "sent", "applied", "failed", "not_applicable", NULL};
const char *const mdm_delivery_channels[] = {"mdm", "eas", "agent", NULL};

apr_status_t mdm_policy_status_json(mdm_db_t *db, const char *id, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    mdm_q_policy_get_t *policy;
    json_t *counts;
    apr_status_t rv = mdm_q_policy_get(db, id, &policy);
    int i;

    if (rv == APR_SUCCESS)
        rv = mdm_q_policy_delivery_counts(db, id, ctx->actor.limit, &rows);
    if (rv != APR_SUCCESS)
        return rv;
    counts = json_array();
    for (i = 0; i < rows->nelts; i++) {
        const mdm_q_policy_delivery_counts_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_policy_delivery_counts_t);

        json_array_append_new(counts, json_pack("{s:s, s:s, s:I}", "channel", q->channel, "state", q->state, "devices", (json_int_t)q->n));
    }
    *out = json_pack("{s:o}", "counts", counts);
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- the devices behind the counts */

/* Where a page begins: "<result>|<channel>|<state>", and the device. The order is that of the index, so that no page visits what others have. */
typedef struct place_t {
    const char *result, *channel, *state, *device;
} place_t;

static place_t place_read(apr_pool_t *p, const mdm_page_t *page)
{
    char *key = apr_pstrdup(p, page->key), *channel = strchr(key, '|'), *state = channel ? strchr(channel + 1, '|') : NULL;

    if (!state)
        return (place_t){"", "", "", ""};
    *channel++ = '\0';
    *state++ = '\0';
    return (place_t){key, channel, state, page->id};
}

static void device_push(apr_pool_t *p, json_t *items, const mdm_q_policy_delivery_walk_t *q, apr_int64_t number)
{
    json_array_append_new(items, json_pack("{s:s, s:s, s:s?, s:s, s:s, s:s, s:o, s:I, s:I, s:s}", "id", q->device_id, "name", q->name, "person",
                                           q->person, "channel", q->channel, "state", q->state, "error",
                                           mdm_said_text(p, q->error), "said", mdm_said_json(p, q->error), "attempts",
                                           (json_int_t)q->attempts, "number", (json_int_t)number, "updated_at",
                                           mdm_time_text(p, q->updated_ms)));
}

/* Fills the page from one result on; *more: there is something behind it. */
static apr_status_t walk_result(mdm_db_t *db, const mdm_policy_devices_t *what, const mdm_q_policy_results_t *result, place_t *at, const mdm_page_t *page,
                                json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    int i, room = page->count - (int)json_array_size(items);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_policy_delivery_walk(db, result->id, at->channel, at->state, at->device, what->channel, what->state,
                                                 ctx->actor.limit, room + 1, &rows);

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < room; i++) {
        const mdm_q_policy_delivery_walk_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_policy_delivery_walk_t);

        device_push(ctx->pool, items, q, result->number);
        *at = (place_t){result->id, q->channel, q->state, q->device_id};
    }
    if (rv == APR_SUCCESS && rows->nelts > room)
        *next = mdm_page_next(ctx, page, apr_pstrcat(ctx->pool, at->result, "|", at->channel, "|", at->state, NULL), at->device);
    return rv;
}

apr_status_t mdm_policy_devices_json(mdm_db_t *db, const mdm_policy_devices_t *what, const mdm_page_t *page, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    place_t at = place_read(ctx->pool, page);
    const char *from = at.result;
    apr_array_header_t *results = NULL;
    mdm_q_policy_get_t *policy;
    apr_status_t rv = mdm_q_policy_get(db, what->policy, &policy);
    int i, full;

    *next = NULL;
    do {
        if (rv == APR_SUCCESS)
            rv = mdm_q_policy_results(db, what->policy, from, RESULTS_AT_ONCE + 1, &results);
        full = rv == APR_SUCCESS && results->nelts > RESULTS_AT_ONCE;
        for (i = 0; rv == APR_SUCCESS && !*next && i < results->nelts - full; i++) {
            const mdm_q_policy_results_t *q = &APR_ARRAY_IDX(results, i, mdm_q_policy_results_t);

            if (strcmp(q->id, at.result) != 0)
                at = (place_t){q->id, "", "", ""};
            rv = walk_result(db, what, q, &at, page, items, next);
        }
        if (full)
            from = APR_ARRAY_IDX(results, RESULTS_AT_ONCE, mdm_q_policy_results_t).id;
    } while (rv == APR_SUCCESS && full && !*next);
    return rv;
}

/* ---------------------------------------------------------------- one device */

/* "folder:<id>" as {"kind", "id", "name"}; each is asked for once. */
static apr_status_t via_json(mdm_db_t *db, json_t *known, const char *via, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *colon = strchr(via, ':'), *kind, *name = "";
    apr_status_t rv = APR_SUCCESS;

    if (!(*out = json_object_get(known, via))) {
        kind = colon ? apr_pstrmemdup(ctx->pool, via, (apr_size_t)(colon - via)) : "";
        rv = mdm_target_name(db, kind, colon ? colon + 1 : via, &name);
        *out = json_pack("{s:s, s:s, s:s}", "kind", kind, "id", colon ? colon + 1 : via, "name", name);
        json_object_set_new(known, via, *out);
    }
    return rv;
}

/* {"<setting>": {"value", "policy", "version", "via"}} as a list with names, and what became of each. */
static apr_status_t settings_json(mdm_db_t *db, json_t *settings, const json_t *policies, const json_t *outcomes, json_t *known, json_t *list)
{
    const char *id;
    json_t *v, *via;

    json_object_foreach(settings, id, v) {
        const char *text = json_string_value(json_object_get(v, "via")), *policy = json_string_value(json_object_get(v, "policy"));
        apr_status_t rv = via_json(db, known, text ? text : "", &via);

        if (rv != APR_SUCCESS)
            return rv;
        json_array_append_new(list, json_pack("{s:s, s:O, s:{s:s, s:O?}, s:O, s:O}", "setting", id, "value", json_object_get(v, "value"),
                                              "policy", "id", policy ? policy : "", "name", json_object_get(policies, policy ? policy : ""),
                                              "version", json_object_get(v, "version"), "via", via));
        json_object_set(json_array_get(list, json_array_size(list) - 1), "channels", json_object_get(outcomes, id));
    }
    return APR_SUCCESS;
}

/* names: policy → name. */
static apr_status_t reach_json(mdm_db_t *db, const char *id, json_t *names, json_t *list)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_device_policy_reach(db, id, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_device_policy_reach_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_device_policy_reach_t);

        json_array_append_new(list, json_pack("{s:s, s:s, s:s?, s:I}", "type", q->type, "id", q->policy_id, "name", q->name, "number",
                                              (json_int_t)q->number));
        if (q->name)
            json_object_set_new(names, q->policy_id, json_string(q->name));
    }
    return rv;
}

static apr_status_t types_json(mdm_db_t *db, const char *id, const json_t *names, json_t *list)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *known = mdm_json_own(ctx, json_object()), *parsed, *outcomes = NULL;
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_device_policy_effective(db, id, &rows);
    int i;

    if (rv == APR_SUCCESS && rows->nelts)
        rv = mdm_delivery_outcomes(db, id, &outcomes);
    rv = rv == APR_NOTFOUND ? APR_SUCCESS : rv;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_device_policy_effective_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_device_policy_effective_t);
        json_t *settings = mdm_json_own(ctx, json_array());

        if ((rv = mdm_json_parse(ctx, q->settings, strlen(q->settings), &parsed)) == APR_SUCCESS
            && (rv = settings_json(db, parsed, names, outcomes, known, settings)) == APR_SUCCESS)
            json_array_append_new(list, json_pack("{s:s, s:s, s:O}", "type", q->type, "computed_at", mdm_time_text(ctx->pool, q->computed_ms),
                                                  "settings", settings));
        if (rv == MDM_EINPUT)
            rv = mdm_fail(ctx, MDM_EUNAVAIL, NULL, "What was computed for this device can not be read.");
    }
    return rv;
}

static apr_status_t deliveries_json(mdm_db_t *db, const char *id, json_t *list)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_device_policy_deliveries(db, id, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_device_policy_deliveries_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_device_policy_deliveries_t);

        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:s}", "type", q->type, "channel", q->channel, "state", q->state,
                                              "error", mdm_said_text(p, q->error), "said", mdm_said_json(p, q->error), "attempts",
                                              (json_int_t)q->attempts, "updated_at", mdm_time_text(p, q->updated_ms)));
    }
    return rv;
}

apr_status_t mdm_device_policies_json(mdm_db_t *db, const char *id, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *names = mdm_json_own(ctx, json_object()), *reach = mdm_json_own(ctx, json_array());
    json_t *types = mdm_json_own(ctx, json_array()), *deliveries = mdm_json_own(ctx, json_array());
    mdm_q_device_policy_waits_t *waits = NULL;
    mdm_q_assignment_target_name_t *device;
    apr_status_t rv = mdm_q_assignment_target_name(db, "device", id, &device);

    if (rv == APR_SUCCESS)
        rv = reach_json(db, id, names, reach);
    if (rv == APR_SUCCESS)
        rv = types_json(db, id, names, types);
    if (rv == APR_SUCCESS)
        rv = deliveries_json(db, id, deliveries);
    if (rv == APR_SUCCESS)
        rv = mdm_q_device_policy_waits(db, id, &waits);
    if (rv == APR_SUCCESS)
        *out = json_pack("{s:b, s:O, s:O, s:O}", "computing", waits->n > 0, "policies", reach, "types", types, "deliveries", deliveries);
    return rv;
}

/* ---------------------------------------------------------------- one person */

typedef struct person_t {
    apr_array_header_t *targets; /* "<kind>:<id>", nearest first, NULL-terminated */
    apr_array_header_t *all;     /* of mdm_policy_assignment_t */
    json_t *names, *known;       /* policy → name; what via_json() asked for */
} person_t;

static apr_status_t person_targets(mdm_db_t *db, const char *id, person_t *who)
{
    static const char *const kinds[] = {"user_group", "user_folder"};
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    mdm_q_person_get_t *q;
    apr_status_t rv = mdm_q_person_get(db, id, &q);
    json_t *people = mdm_json_own(ctx, json_pack("[s]", id)), *folders = mdm_json_own(ctx, json_array());

    if (rv != APR_SUCCESS)
        return rv;
    if (q->folder_id)
        json_array_append_new(folders, json_string(q->folder_id));
    rv = mdm_q_recompute_places(db, "[]", mdm_json_text(ctx->pool, people), "[]", mdm_json_text(ctx->pool, folders), &rows);
    APR_ARRAY_PUSH(who->targets, const char *) = apr_pstrcat(ctx->pool, "person:", id, NULL);
    for (int k = 0; rv == APR_SUCCESS && k < 2; k++) {
        for (int i = 0; i < rows->nelts; i++) {
            const mdm_q_recompute_places_t *p = &APR_ARRAY_IDX(rows, i, mdm_q_recompute_places_t);

            if (!strcmp(p->kind, kinds[k]))
                APR_ARRAY_PUSH(who->targets, const char *) = apr_pstrcat(ctx->pool, p->kind, ":", p->target, NULL);
        }
    }
    if (q->source_id)
        APR_ARRAY_PUSH(who->targets, const char *) = apr_pstrcat(ctx->pool, "user_source:", q->source_id, NULL);
    APR_ARRAY_PUSH(who->targets, const char *) = NULL;
    return rv;
}

static apr_status_t person_assigned(mdm_db_t *db, person_t *who)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *list = mdm_json_own(ctx, json_array());
    apr_array_header_t *rows;
    apr_status_t rv;

    for (int i = 0; i < who->targets->nelts - 1; i++) {
        const char *t = APR_ARRAY_IDX(who->targets, i, const char *), *colon = strchr(t, ':');

        json_array_append_new(list, json_pack("{s:s%, s:s}", "k", t, (size_t)(colon - t), "i", colon + 1));
    }
    rv = mdm_q_person_policy_assigned(db, mdm_json_text(ctx->pool, list), &rows);
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_person_policy_assigned_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_person_policy_assigned_t);
        mdm_policy_assignment_t one = {.id = q->id, .policy_id = q->policy_id, .type = q->type, .number = q->number, .conflict = q->conflict,
                                       .target = apr_pstrcat(ctx->pool, q->target_kind, ":", q->target_id, NULL), .position = q->position};

        rv = mdm_json_parse(ctx, q->settings, strlen(q->settings), &one.settings);
        APR_ARRAY_PUSH(who->all, mdm_policy_assignment_t) = one;
        json_object_set_new(who->names, q->policy_id, json_string(q->name));
    }
    return rv == MDM_EINPUT ? mdm_fail(ctx, MDM_EUNAVAIL, NULL, "A policy of this person can not be read.") : rv;
}

static apr_status_t person_effective(mdm_db_t *db, const person_t *who, const char *ownership, json_t *list)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const mdm_policy_subject_t subject = {(const char *const *)(void *)who->targets->elts, NULL, ownership};
    apr_status_t rv = APR_SUCCESS;

    for (int t = 0; rv == APR_SUCCESS && t < MDM_POLICY_TYPES; t++) {
        json_t *settings = mdm_json_own(ctx, json_array());
        mdm_policy_effective_t *e;

        rv = mdm_policy_resolve(ctx, &subject, mdm_policy_types[t], (const mdm_policy_assignment_t *)(void *)who->all->elts, who->all->nelts, &e);
        if (rv == APR_SUCCESS && json_object_size(e->settings)
            && (rv = settings_json(db, e->settings, who->names, NULL, who->known, settings)) == APR_SUCCESS)
            json_array_append_new(list, json_pack("{s:s, s:O}", "type", mdm_policy_types[t], "settings", settings));
    }
    return rv;
}

apr_status_t mdm_person_policies_json(mdm_db_t *db, const char *id, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *corporate = mdm_json_own(ctx, json_array()), *personal = mdm_json_own(ctx, json_array());
    person_t who = {apr_array_make(ctx->pool, 8, sizeof(const char *)), apr_array_make(ctx->pool, 8, sizeof(mdm_policy_assignment_t)),
                    mdm_json_own(ctx, json_object()), mdm_json_own(ctx, json_object())};
    apr_status_t rv = person_targets(db, id, &who);

    if (rv == APR_SUCCESS)
        rv = person_assigned(db, &who);
    if (rv == APR_SUCCESS)
        rv = person_effective(db, &who, "corporate", corporate);
    if (rv == APR_SUCCESS)
        rv = person_effective(db, &who, "personal", personal);
    if (rv == APR_SUCCESS)
        *out = json_pack("{s:O, s:O}", "corporate", corporate, "personal", personal);
    return rv;
}
