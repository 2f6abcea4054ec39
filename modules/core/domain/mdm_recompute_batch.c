/* One batch: facts of its devices, results, and what differs. */
#include "domain/mdm_recompute_batch.h"

#include <string.h>
#include <apr_hash.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_policy.h"
#include "domain/mdm_policy_profile.h"
#include "mdm_sql_gen.h"

#define KEPT_MAX 2000            /* results and versions that a run remembers */
#define YOUNG_MS (12 * 3600000LL) /* half of what the sweep waits */

/* What a device gets that has the same assigned. */
typedef struct found_t {
    const char *result_id[MDM_POLICY_TYPES], *hash[MDM_POLICY_TYPES];
    json_t *settings[MDM_POLICY_TYPES], *policies[MDM_POLICY_TYPES];
    int stored;
} found_t;

struct mdm_recompute_memo_t {
    const mdm_ctx_t *run;
    mdm_ctx_t *ctx; /* of what is kept; anew when it is too much */
    apr_hash_t *found, *versions;
};

typedef struct device_t {
    const mdm_q_recompute_devices_t *row;
    apr_array_header_t *user, *device; /* targets as text, NULL-terminated */
    found_t *found;                    /* NULL: no policies */
} device_t;

typedef struct batch_t {
    mdm_db_t *db;
    mdm_ctx_t *ctx;
    mdm_recompute_memo_t *memo;
    const char *ids;
    apr_array_header_t *devices; /* of device_t */
    apr_hash_t *places;          /* "kind:owner" → array of targets */
    apr_hash_t *assigned;        /* target → array of rows */
} batch_t;

static void memo_reset(mdm_recompute_memo_t *m)
{
    if (m->ctx)
        apr_pool_destroy(m->ctx->pool);
    m->ctx = mdm_ctx_sub(m->run);
    m->found = apr_hash_make(m->ctx->pool);
    m->versions = apr_hash_make(m->ctx->pool);
}

mdm_recompute_memo_t *mdm_recompute_memo(const mdm_ctx_t *ctx)
{
    mdm_recompute_memo_t *m = apr_pcalloc(ctx->pool, sizeof(*m));

    m->run = ctx;
    memo_reset(m);
    return m;
}

/* ---------------------------------------------------------------- facts */

static const char *join(batch_t *b, const char *kind, const char *id)
{
    return apr_pstrcat(b->ctx->pool, kind, ":", id, NULL);
}

static apr_array_header_t *list_of(apr_pool_t *p, apr_hash_t *hash, const char *key)
{
    apr_array_header_t *list = apr_hash_get(hash, key, APR_HASH_KEY_STRING);

    if (!list) {
        list = apr_array_make(p, 4, sizeof(void *));
        apr_hash_set(hash, key, APR_HASH_KEY_STRING, list);
    }
    return list;
}

/* A set of ids as a JSON list. */
static void set_add(json_t *set, const char *id)
{
    if (id)
        json_object_set_new(set, id, json_null());
}

static const char *set_text(batch_t *b, json_t *set)
{
    json_t *list = mdm_json_own(b->ctx, json_array());
    const char *id;
    json_t *none;

    json_object_foreach(set, id, none)
        json_array_append_new(list, json_string(id));
    return mdm_json_text(b->ctx->pool, list);
}

static apr_status_t devices_read(batch_t *b)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_recompute_devices(b->db, b->ids, &rows);
    int i;

    if (rv != APR_SUCCESS)
        return rv;
    b->devices = apr_array_make(b->ctx->pool, rows->nelts + 1, sizeof(device_t));
    for (i = 0; i < rows->nelts; i++) {
        device_t *d = apr_array_push(b->devices);
        memset(d, 0, sizeof(*d));
        d->row = &APR_ARRAY_IDX(rows, i, mdm_q_recompute_devices_t);
    }
    return APR_SUCCESS;
}

static apr_status_t places_read(batch_t *b)
{
    json_t *people = mdm_json_own(b->ctx, json_object()), *folders = mdm_json_own(b->ctx, json_object());
    json_t *user_folders = mdm_json_own(b->ctx, json_object());
    apr_array_header_t *rows;
    apr_status_t rv;
    int i;

    for (i = 0; i < b->devices->nelts; i++) {
        const mdm_q_recompute_devices_t *d = APR_ARRAY_IDX(b->devices, i, device_t).row;
        set_add(people, d->person_id);
        set_add(folders, d->folder_id);
        set_add(user_folders, d->user_folder);
    }
    rv = mdm_q_recompute_places(b->db, b->ids, set_text(b, people), set_text(b, folders), set_text(b, user_folders), &rows);
    b->places = apr_hash_make(b->ctx->pool);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_recompute_places_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_recompute_places_t);
        APR_ARRAY_PUSH(list_of(b->ctx->pool, b->places, join(b, q->kind, q->owner)), const char *) = join(b, q->kind, q->target);
    }
    return rv;
}

static void places_add(batch_t *b, apr_array_header_t *targets, const char *kind, const char *owner)
{
    apr_array_header_t *list = owner ? apr_hash_get(b->places, join(b, kind, owner), APR_HASH_KEY_STRING) : NULL;

    if (list)
        apr_array_cat(targets, list);
}

/* Nearest first (POL-05). */
static void targets_of(batch_t *b, device_t *d)
{
    const mdm_q_recompute_devices_t *q = d->row;

    d->user = apr_array_make(b->ctx->pool, 8, sizeof(const char *));
    d->device = apr_array_make(b->ctx->pool, 8, sizeof(const char *));
    if (q->person_id) {
        APR_ARRAY_PUSH(d->user, const char *) = join(b, "person", q->person_id);
        places_add(b, d->user, "user_group", q->person_id);
        places_add(b, d->user, "user_folder", q->user_folder);
        if (q->source_id)
            APR_ARRAY_PUSH(d->user, const char *) = join(b, "user_source", q->source_id);
    }
    APR_ARRAY_PUSH(d->device, const char *) = join(b, "device", q->id);
    places_add(b, d->device, "device_group", q->id);
    places_add(b, d->device, "folder", q->folder_id);
    APR_ARRAY_PUSH(d->user, const char *) = NULL;
    APR_ARRAY_PUSH(d->device, const char *) = NULL;
}

static void targets_ask(json_t *list, json_t *seen, const apr_array_header_t *targets)
{
    int i;

    for (i = 0; i < targets->nelts - 1; i++) {
        const char *t = APR_ARRAY_IDX(targets, i, const char *), *colon = strchr(t, ':');
        if (json_object_get(seen, t))
            continue;
        json_object_set_new(seen, t, json_null());
        json_array_append_new(list, json_pack("{s:s%, s:s}", "k", t, (size_t)(colon - t), "i", colon + 1));
    }
}

static apr_status_t assigned_read(batch_t *b)
{
    json_t *list = mdm_json_own(b->ctx, json_array()), *seen = mdm_json_own(b->ctx, json_object());
    apr_array_header_t *rows;
    apr_status_t rv;
    int i;

    for (i = 0; i < b->devices->nelts; i++) {
        device_t *d = &APR_ARRAY_IDX(b->devices, i, device_t);
        targets_of(b, d);
        targets_ask(list, seen, d->user);
        targets_ask(list, seen, d->device);
    }
    rv = mdm_q_recompute_assigned(b->db, mdm_json_text(b->ctx->pool, list), &rows);
    b->assigned = apr_hash_make(b->ctx->pool);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        mdm_q_recompute_assigned_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_recompute_assigned_t);
        APR_ARRAY_PUSH(list_of(b->ctx->pool, b->assigned, join(b, q->target_kind, q->target_id)), void *) = q;
    }
    return rv;
}

/* ---------------------------------------------------------------- results */

/* A published version never changes; a sandbox does, so its text is part of the name. */
static apr_status_t version_of(batch_t *b, const mdm_q_recompute_assigned_t *a, int test, apr_int64_t *number, const char **name)
{
    apr_pool_t *p = b->ctx->pool;

    *number = test && a->sandbox ? 0 : a->published;
    *name = *number ? apr_psprintf(p, "%s/%" APR_INT64_T_FMT, a->policy_id, *number)
                    : apr_pstrcat(p, a->policy_id, "/0/", a->sandbox && test ? mdm_sha256_hex(p, a->sandbox, strlen(a->sandbox)) : "", NULL);
    return test && a->sandbox ? APR_SUCCESS : a->published ? APR_SUCCESS : APR_NOTFOUND;
}

static apr_status_t settings_of(batch_t *b, const mdm_q_recompute_assigned_t *a, apr_int64_t number, const char *name, json_t **out)
{
    mdm_recompute_memo_t *m = b->memo;
    const char *text = a->sandbox;
    apr_status_t rv = APR_SUCCESS;

    *out = apr_hash_get(m->versions, name, APR_HASH_KEY_STRING);
    if (*out)
        return APR_SUCCESS;
    if (number) {
        mdm_q_recompute_version_t *row;
        rv = mdm_q_recompute_version(b->db, a->policy_id, number, &row);
        text = rv == APR_SUCCESS ? row->settings : NULL;
    }
    if (rv == APR_SUCCESS)
        rv = mdm_json_parse(m->ctx, text, strlen(text), out);
    if (rv == APR_SUCCESS)
        apr_hash_set(m->versions, apr_pstrdup(m->ctx->pool, name), APR_HASH_KEY_STRING, *out);
    return rv;
}

typedef struct collect_t {
    batch_t *b;
    const device_t *d;
    apr_array_header_t *list; /* of mdm_policy_assignment_t */
    apr_array_header_t *key;  /* of const char *: says all that the result depends on */
} collect_t;

static apr_status_t collect(collect_t *c, const apr_array_header_t *targets, const char *side)
{
    apr_pool_t *p = c->b->ctx->pool;
    int i, k;

    for (i = 0; i < targets->nelts - 1; i++) {
        const char *target = APR_ARRAY_IDX(targets, i, const char *);
        apr_array_header_t *rows = apr_hash_get(c->b->assigned, target, APR_HASH_KEY_STRING);

        for (k = 0; rows && k < rows->nelts; k++) {
            const mdm_q_recompute_assigned_t *a = APR_ARRAY_IDX(rows, k, void *);
            mdm_policy_assignment_t one = {.id = a->id, .policy_id = a->policy_id, .type = a->type, .target = target,
                                           .conflict = a->conflict, .position = a->position};
            const char *name;
            apr_status_t rv = version_of(c->b, a, c->d->row->test_device != 0, &one.number, &name);

            if (rv == APR_SUCCESS)
                rv = settings_of(c->b, a, one.number, name, &one.settings);
            if (rv == APR_NOTFOUND)
                continue; /* nothing of it was published yet */
            if (rv != APR_SUCCESS)
                return rv;
            APR_ARRAY_PUSH(c->list, mdm_policy_assignment_t) = one;
            APR_ARRAY_PUSH(c->key, const char *) = apr_psprintf(p, "%s %s %s %s %s %" APR_INT64_T_FMT "\n", side, target, a->id, name,
                                                                a->conflict, a->position);
        }
    }
    return APR_SUCCESS;
}

/* Copies what stays in the memo longer than the batch. */
static void keep(apr_pool_t *p, mdm_policy_assignment_t *a)
{
    a->id = apr_pstrdup(p, a->id);
    a->policy_id = apr_pstrdup(p, a->policy_id);
    a->type = apr_pstrdup(p, a->type);
    a->target = apr_pstrdup(p, a->target);
    a->conflict = apr_pstrdup(p, a->conflict);
}

static apr_status_t result_make(mdm_ctx_t *ctx, const mdm_policy_subject_t *who, const apr_array_header_t *list, int type, found_t *f)
{
    const mdm_policy_assignment_t *all = (const mdm_policy_assignment_t *)(void *)list->elts;
    mdm_policy_effective_t *e;
    apr_array_header_t *order;
    apr_status_t rv = mdm_policy_order(ctx, who, mdm_policy_types[type], all, list->nelts, &order);
    const char *text;
    json_t *parts;
    int i;

    if (rv != APR_SUCCESS || !order->nelts)
        return rv;
    rv = mdm_policy_resolve(ctx, who, mdm_policy_types[type], all, list->nelts, &e);
    if (rv != APR_SUCCESS)
        return rv;
    f->policies[type] = mdm_json_own(ctx, json_array());
    for (i = 0; i < order->nelts; i++) {
        const mdm_policy_assignment_t *a = APR_ARRAY_IDX(order, i, const mdm_policy_assignment_t *);
        json_array_append_new(f->policies[type], json_pack("{s:s, s:I}", "policy", a->policy_id, "number", (json_int_t)a->number));
    }
    f->settings[type] = e->settings;
    f->hash[type] = e->hash;
    parts = mdm_json_own(ctx, json_pack("[s, O, O]", mdm_policy_types[type], e->settings, f->policies[type]));
    text = mdm_json_text(ctx->pool, parts);
    f->result_id[type] = mdm_sha256_hex(ctx->pool, text, strlen(text));
    return APR_SUCCESS;
}

static apr_status_t resolve(batch_t *b, device_t *d)
{
    collect_t c = {.b = b, .d = d};
    mdm_recompute_memo_t *m = b->memo;
    const char *key;
    apr_status_t rv;
    int i;

    c.list = apr_array_make(b->ctx->pool, 8, sizeof(mdm_policy_assignment_t));
    c.key = apr_array_make(b->ctx->pool, 8, sizeof(const char *));
    APR_ARRAY_PUSH(c.key, const char *) = d->row->ownership;
    APR_ARRAY_PUSH(c.key, const char *) = "\n";
    rv = collect(&c, d->user, "user");
    if (rv == APR_SUCCESS)
        rv = collect(&c, d->device, "device");
    if (rv != APR_SUCCESS || !c.list->nelts)
        return rv;
    key = apr_array_pstrcat(b->ctx->pool, c.key, 0);
    d->found = apr_hash_get(m->found, key, APR_HASH_KEY_STRING);
    if (!d->found) {
        mdm_policy_subject_t who = {.user_targets = (const char *const *)(void *)d->user->elts,
                                    .device_targets = (const char *const *)(void *)d->device->elts, .ownership = d->row->ownership};
        found_t *f = apr_pcalloc(m->ctx->pool, sizeof(*f));

        for (i = 0; i < c.list->nelts; i++)
            keep(m->ctx->pool, &APR_ARRAY_IDX(c.list, i, mdm_policy_assignment_t));
        for (i = 0; rv == APR_SUCCESS && i < MDM_POLICY_TYPES; i++)
            rv = result_make(m->ctx, &who, c.list, i, f);
        if (rv == APR_SUCCESS)
            apr_hash_set(m->found, apr_pstrdup(m->ctx->pool, key), APR_HASH_KEY_STRING, f);
        d->found = f;
    }
    return rv;
}

/* ---------------------------------------------------------------- what differs */

/* Results that no device of this run had before. They are there already if another run found them. */
static apr_status_t results_store(batch_t *b)
{
    json_t *results = mdm_json_own(b->ctx, json_array()), *policies = mdm_json_own(b->ctx, json_array()), *one;
    apr_int64_t now = mdm_now_ms(b->ctx);
    apr_status_t rv;
    int i, t;
    size_t k;

    for (i = 0; i < b->devices->nelts; i++) {
        found_t *f = APR_ARRAY_IDX(b->devices, i, device_t).found;

        for (t = 0; f && !f->stored && t < MDM_POLICY_TYPES; t++) {
            if (!f->result_id[t])
                continue;
            json_array_append_new(results, json_pack("{s:s, s:s, s:s, s:s}", "i", f->result_id[t], "t", mdm_policy_types[t], "h", f->hash[t],
                                                     "s", mdm_json_text(b->ctx->pool, f->settings[t])));
            json_array_foreach(f->policies[t], k, one)
                json_array_append_new(policies, json_pack("{s:s, s:O, s:O}", "r", f->result_id[t], "p", json_object_get(one, "policy"), "n",
                                                          json_object_get(one, "number")));
        }
        if (f)
            f->stored = 1;
    }
    if (!json_array_size(results))
        return APR_SUCCESS;
    rv = mdm_q_recompute_results_put(b->db, mdm_json_text(b->ctx->pool, results), now, now - YOUNG_MS, NULL);
    return rv == APR_SUCCESS ? mdm_q_recompute_result_policies(b->db, mdm_json_text(b->ctx->pool, policies), NULL) : rv;
}

static apr_status_t effective_store(batch_t *b)
{
    json_t *put = mdm_json_own(b->ctx, json_array()), *drop = mdm_json_own(b->ctx, json_array());
    apr_hash_t *have = apr_hash_make(b->ctx->pool);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_recompute_effective(b->db, b->ids, &rows);
    int i, t;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_recompute_effective_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_recompute_effective_t);
        apr_hash_set(have, join(b, q->type, q->device_id), APR_HASH_KEY_STRING, q->result_id);
    }
    for (i = 0; rv == APR_SUCCESS && i < b->devices->nelts; i++) {
        const device_t *d = &APR_ARRAY_IDX(b->devices, i, device_t);

        for (t = 0; t < MDM_POLICY_TYPES; t++) {
            const char *was = apr_hash_get(have, join(b, mdm_policy_types[t], d->row->id), APR_HASH_KEY_STRING);
            const char *is = d->found ? d->found->result_id[t] : NULL;

            if (is && (!was || strcmp(was, is) != 0))
                json_array_append_new(put, json_pack("{s:s, s:s, s:s}", "d", d->row->id, "t", mdm_policy_types[t], "r", is));
            else if (was && !is)
                json_array_append_new(drop, json_pack("{s:s, s:s}", "d", d->row->id, "t", mdm_policy_types[t]));
        }
    }
    if (rv == APR_SUCCESS && json_array_size(put))
        rv = mdm_q_recompute_effective_put(b->db, mdm_json_text(b->ctx->pool, put), mdm_now_ms(b->ctx), NULL);
    if (rv == APR_SUCCESS && json_array_size(drop))
        rv = mdm_q_recompute_effective_drop(b->db, mdm_json_text(b->ctx->pool, drop), NULL);
    return rv;
}

static apr_status_t deliver(batch_t *b, apr_int64_t spread_ms)
{
    apr_array_header_t *list = apr_array_make(b->ctx->pool, b->devices->nelts + 1, sizeof(mdm_delivery_device_t));
    int i, t;

    for (i = 0; i < b->devices->nelts; i++) {
        const device_t *d = &APR_ARRAY_IDX(b->devices, i, device_t);
        mdm_delivery_device_t *out = apr_array_push(list);

        memset(out, 0, sizeof(*out));
        out->device_id = d->row->id;
        for (t = 0; d->found && t < MDM_POLICY_TYPES; t++) {
            out->result_id[t] = d->found->result_id[t];
            out->settings[t] = d->found->settings[t];
        }
    }
    return list->nelts ? mdm_delivery_settle(b->db, list, spread_ms) : APR_SUCCESS;
}

/* Retired and removed devices have none, those whose enrolment is pending none yet (DEV-13). */
static int has_policies(const device_t *d)
{
    return strcmp(d->row->state, "pending") != 0 && strcmp(d->row->state, "retired") != 0 && strcmp(d->row->state, "removed") != 0;
}

apr_status_t mdm_recompute_batch(mdm_db_t *db, mdm_recompute_memo_t *memo, const apr_array_header_t *ids, apr_int64_t spread_ms)
{
    batch_t b = {.db = db, .ctx = mdm_db_ctx(db), .memo = memo};
    json_t *list = mdm_json_own(b.ctx, json_array());
    apr_status_t rv;
    int i;

    for (i = 0; i < ids->nelts; i++)
        json_array_append_new(list, json_string(APR_ARRAY_IDX(ids, i, const char *)));
    b.ids = mdm_json_text(b.ctx->pool, list);
    if (apr_hash_count(memo->found) + apr_hash_count(memo->versions) > KEPT_MAX)
        memo_reset(memo);
    rv = devices_read(&b);
    if (rv == APR_SUCCESS)
        rv = places_read(&b);
    if (rv == APR_SUCCESS)
        rv = assigned_read(&b);
    for (i = 0; rv == APR_SUCCESS && i < b.devices->nelts; i++) {
        device_t *d = &APR_ARRAY_IDX(b.devices, i, device_t);
        rv = has_policies(d) ? resolve(&b, d) : APR_SUCCESS;
    }
    if (rv == APR_SUCCESS)
        rv = results_store(&b);
    if (rv == APR_SUCCESS)
        rv = effective_store(&b);
    return rv == APR_SUCCESS ? deliver(&b, spread_ms) : rv;
}
