/* Dynamic groups: evaluation, refresh, and what administrators ask for. */
#include "domain/mdm_dynamic.h"

#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_criteria.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define SETTING "groups.refresh_minutes"
#define MINUTE_MS 60000LL
#define DAY_MS 86400000.0
#define BATCH 500
#define SHOWN 20   /* devices of a preview by name */
#define STACKED 10 /* groups on groups */

/* ---------------------------------------------------------------- evaluation */

static void text_put(json_t *d, const char *name, const char *value)
{
    json_object_set_new(d, name, value ? json_string(value) : json_null());
}

static void int_put(json_t *d, const char *name, apr_int64_t value, int null)
{
    json_object_set_new(d, name, null ? json_null() : json_integer(value));
}

static void real_put(json_t *d, const char *name, double value, int null)
{
    json_object_set_new(d, name, null ? json_null() : json_real(value));
}

/* A device as criteria see it. New reference. */
static json_t *facts(mdm_ctx_t *ctx, const mdm_q_dynamic_devices_t *q)
{
    json_t *d = json_object(), *inventory = json_loads(q->inventory, 0, NULL), *apps = json_loads(q->apps, 0, NULL);
    double now = (double)mdm_now_ms(ctx);

    text_put(d, "name", q->name);
    text_put(d, "platform", q->platform);
    text_put(d, "model", q->model);
    text_put(d, "product", q->product);
    text_put(d, "serial", q->serial);
    text_put(d, "udid", q->udid);
    text_put(d, "imei", q->imei);
    text_put(d, "eas_device_id", q->eas_device_id);
    text_put(d, "os_version", q->os_version);
    text_put(d, "build", q->build);
    text_put(d, "phone", q->phone);
    text_put(d, "state", q->state);
    text_put(d, "mode", q->mode);
    text_put(d, "level", q->level);
    text_put(d, "ownership", q->ownership);
    text_put(d, "compliance", q->compliance);
    text_put(d, "department", q->department);
    text_put(d, "site", q->site);
    text_put(d, "location", q->location);
    int_put(d, "supervised", q->supervised, q->supervised_null);
    int_put(d, "test_device", q->test_device, 0);
    int_put(d, "passcode_present", q->passcode_present, q->passcode_present_null);
    int_put(d, "passcode_compliant", q->passcode_compliant, q->passcode_compliant_null);
    int_put(d, "encryption", q->encryption, q->encryption_null);
    real_put(d, "battery", q->battery, q->battery_null);
    real_put(d, "capacity_gb", q->capacity_gb, q->capacity_gb_null);
    real_put(d, "free_gb", q->free_gb, q->free_gb_null);
    real_put(d, "contact_days", (now - (double)q->last_contact_ms) / DAY_MS, q->last_contact_ms_null);
    real_put(d, "enrolled_days", (now - (double)q->enrolled_ms) / DAY_MS, q->enrolled_ms_null);
    json_object_set_new(d, "inventory", inventory ? inventory : json_object());
    json_object_set_new(d, "apps", apps ? apps : json_array());
    return d;
}

typedef struct eval_t {
    mdm_db_t *db;
    mdm_ctx_t *ctx;
    apr_array_header_t *groups; /* mdm_q_dynamic_groups_t */
    apr_hash_t *base, *member;  /* "group device" */
    json_t *add, *drop, *changed;
} eval_t;

static const char *pair(eval_t *e, const char *group, const char *device)
{
    return apr_pstrcat(e->ctx->pool, group, " ", device, NULL);
}

static void judge(eval_t *e, const char *group, const char *base_kind, const json_t *criteria, const mdm_q_dynamic_devices_t *q,
                  const json_t *device)
{
    const char *key = pair(e, group, q->id);
    int in_base = !strcmp(base_kind, "zone") || apr_hash_get(e->base, key, APR_HASH_KEY_STRING);
    int is = apr_hash_get(e->member, key, APR_HASH_KEY_STRING) != NULL;

    if ((in_base && mdm_criteria_match(criteria, device)) == is)
        return;
    json_array_append_new(is ? e->drop : e->add, json_pack("{s:s, s:s}", "g", group, "d", q->id));
    json_object_set_new(e->changed, q->id, json_null());
}

/* groups: rows of dynamic_groups or of dynamic_groups_hold, which are the same. */
static apr_status_t evaluate(mdm_db_t *db, const char *ids, const char *group, int hold, json_t *changed)
{
    eval_t e = {.db = db, .ctx = mdm_db_ctx(db), .changed = changed};
    apr_array_header_t *rows, *held;
    json_t **criteria;
    apr_status_t rv = hold ? mdm_q_dynamic_groups_hold(db, group, &held) : mdm_q_dynamic_groups(db, group, &e.groups);
    int i, k;

    if (rv == APR_SUCCESS && hold) {
        e.groups = apr_array_make(e.ctx->pool, held->nelts + 1, sizeof(mdm_q_dynamic_groups_t));
        for (i = 0; i < held->nelts; i++) {
            const mdm_q_dynamic_groups_hold_t *g = &APR_ARRAY_IDX(held, i, mdm_q_dynamic_groups_hold_t);
            APR_ARRAY_PUSH(e.groups, mdm_q_dynamic_groups_t) = (mdm_q_dynamic_groups_t){.id = g->id, .criteria = g->criteria,
                                                                                       .base_kind = g->base_kind};
        }
    }
    if (rv != APR_SUCCESS || !e.groups->nelts)
        return rv;
    e.base = apr_hash_make(e.ctx->pool);
    e.member = apr_hash_make(e.ctx->pool);
    e.add = mdm_json_own(e.ctx, json_array());
    e.drop = mdm_json_own(e.ctx, json_array());
    rv = mdm_q_dynamic_places(db, ids, group, &rows);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_dynamic_places_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_dynamic_places_t);
        apr_hash_set(*q->kind == 'b' ? e.base : e.member, pair(&e, q->group_id, q->device_id), APR_HASH_KEY_STRING, "");
    }
    if (rv == APR_SUCCESS)
        rv = mdm_q_dynamic_devices(db, ids, &rows);
    if (rv != APR_SUCCESS)
        return rv;
    criteria = apr_pcalloc(e.ctx->pool, sizeof(*criteria) * (apr_size_t)e.groups->nelts);
    for (k = 0; k < e.groups->nelts; k++)
        criteria[k] = mdm_json_own(e.ctx, json_loads(APR_ARRAY_IDX(e.groups, k, mdm_q_dynamic_groups_t).criteria, 0, NULL));
    for (i = 0; i < rows->nelts; i++) {
        const mdm_q_dynamic_devices_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_dynamic_devices_t);
        json_t *device = facts(e.ctx, q);

        for (k = 0; k < e.groups->nelts; k++) {
            const mdm_q_dynamic_groups_t *g = &APR_ARRAY_IDX(e.groups, k, mdm_q_dynamic_groups_t);
            judge(&e, g->id, g->base_kind, criteria[k], q, device);
        }
        json_decref(device);
    }
    if (json_array_size(e.add))
        rv = mdm_q_dynamic_add(db, mdm_json_text(e.ctx->pool, e.add), NULL);
    if (rv == APR_SUCCESS && json_array_size(e.drop))
        rv = mdm_q_dynamic_drop(db, mdm_json_text(e.ctx->pool, e.drop), NULL);
    return rv;
}

apr_status_t mdm_dynamic_devices(mdm_db_t *db, const char *ids, int hold, json_t *changed)
{
    return evaluate(db, ids, "", hold, changed);
}

/* ---------------------------------------------------------------- refresh */

static apr_status_t period(mdm_db_t *db, apr_int64_t *minutes)
{
    json_t *set = NULL;
    apr_status_t rv = mdm_setting_get(db, SETTING, &set);

    *minutes = rv == APR_SUCCESS && json_integer_value(set) >= MDM_DYNAMIC_LEAST ? json_integer_value(set) : MDM_DYNAMIC_DEFAULT;
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

typedef struct walk_t {
    mdm_ctx_t *ctx;
    mdm_db_t *db;
    char group[40], after[40];
    apr_int64_t due_ms;
    int more; /* devices of the group, or groups */
} walk_t;

static const char *ids_of(walk_t *w, const apr_array_header_t *rows)
{
    json_t *ids = mdm_json_own(w->ctx, json_array());
    const char *last = "";

    for (int i = 0; i < rows->nelts; i++) {
        const char *id = APR_ARRAY_IDX(rows, i, mdm_q_dynamic_candidates_t).device_id;
        if (strcmp(id, last) != 0)
            json_array_append_new(ids, json_string(id));
        last = id;
    }
    return mdm_json_text(w->ctx->pool, ids);
}

/* Some devices of the group that is being refreshed, or else the next one that is due. */
static apr_status_t some(walk_t *w)
{
    json_t *changed = mdm_json_own(w->ctx, json_object());
    apr_int64_t now = mdm_now_ms(w->ctx), minutes;
    apr_array_header_t *groups, *rows;
    const mdm_q_dynamic_groups_t *g;
    mdm_q_dynamic_due_t *due;
    apr_status_t rv;

    w->more = 0;
    if (!*w->group) {
        rv = mdm_q_dynamic_due(w->db, now, &due);
        if (rv != APR_SUCCESS)
            return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
        apr_cpystrn(w->group, due->id, sizeof w->group);
        w->due_ms = due->due_ms;
        *w->after = '\0';
    }
    w->more = 1;
    rv = mdm_q_dynamic_groups(w->db, w->group, &groups);
    if (rv == APR_SUCCESS && !groups->nelts) { /* deleted meanwhile */
        *w->group = '\0';
        return APR_SUCCESS;
    }
    if (rv != APR_SUCCESS)
        return rv;
    g = &APR_ARRAY_IDX(groups, 0, mdm_q_dynamic_groups_t);
    rv = mdm_q_dynamic_candidates(w->db, g->id, g->base_kind, g->base_id ? g->base_id : "", "", w->after, BATCH, &rows);
    if (rv == APR_SUCCESS && rows->nelts)
        rv = evaluate(w->db, ids_of(w, rows), g->id, 1, changed);
    if (rv == APR_SUCCESS && rows->nelts == BATCH) {
        apr_cpystrn(w->after, APR_ARRAY_IDX(rows, BATCH - 1, mdm_q_dynamic_candidates_t).device_id, sizeof w->after);
        return APR_SUCCESS;
    }
    if (rv == APR_SUCCESS)
        rv = period(w->db, &minutes);
    if (rv == APR_SUCCESS)
        rv = mdm_q_dynamic_refreshed(w->db, w->group, w->due_ms, now + minutes * MINUTE_MS, now, NULL);
    *w->group = '\0';
    return rv;
}

apr_status_t mdm_dynamic_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s)
{
    walk_t w = {.more = 1};
    apr_int64_t done = 0;
    apr_status_t rv;

    do {
        w.ctx = mdm_ctx_sub(ctx);
        rv = mdm_db_open(w.ctx, &w.db);
        if (rv == APR_SUCCESS) {
            rv = mdm_db_begin(w.db);
            if (rv == APR_SUCCESS)
                rv = some(&w);
            rv = mdm_db_end(w.db, rv);
            mdm_db_close(w.db);
        }
        if (rv == APR_SUCCESS && w.more && ++done % 20 == 0)
            rv = mdm_job_progress(w.ctx, job, done, 0, lease_s);
        apr_pool_destroy(w.ctx->pool);
    } while (rv == APR_SUCCESS && w.more && !mdm_job_stopping(job));
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

/* ---------------------------------------------------------------- administrators */

static apr_status_t call_job(mdm_db_t *db)
{
    mdm_job_add_t add = {.kind = MDM_DYNAMIC_JOB, .unique_key = "period:" MDM_DYNAMIC_JOB};

    return mdm_job_add(db, &add, NULL);
}

apr_status_t mdm_dynamic_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_dynamic_get_t *q;
    apr_status_t rv = mdm_q_dynamic_get(db, id, &q);

    if (rv != APR_SUCCESS)
        return rv;
    *version = q->version;
    *out = json_pack("{s:o?, s:{s:s, s:s?}, s:s?, s:b, s:I}", "criteria", json_loads(q->criteria, 0, NULL), "base", "kind", q->base_kind, "id",
                     q->base_id, "refreshed_at", q->refreshed_ms_null ? NULL : mdm_time_text(ctx->pool, q->refreshed_ms), "waiting",
                     q->due_ms <= mdm_now_ms(ctx), "version", (json_int_t)q->version);
    return APR_SUCCESS;
}

typedef struct base_t {
    const char *kind, *id;
} base_t;

/* Somebody who sees some folders only looks for devices in one of them. */
static apr_status_t base_read(mdm_db_t *db, const char *group, json_t *given, base_t *out)
{
    static const char *const kinds[] = {"zone", "folder", "group", NULL};
    const mdm_jfield_t fields[] = {{"kind", MDM_JF_ENUM, 1, 0, 0, kinds, 0, &out->kind, NULL},
                                   {"id", MDM_JF_UUID, 0, 0, 0, NULL, 1, &out->id, NULL},
                                   {NULL}};
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_dynamic_stands_on_t *on;
    mdm_q_folder_get_t *folder;
    apr_status_t rv;

    *out = (base_t){"zone", NULL};
    if (given && (rv = mdm_json_fields(ctx, given, fields)) != APR_SUCCESS)
        return mdm_fail(ctx, rv, apr_pstrcat(ctx->pool, "base.", ctx->fail_field, NULL), "%s", apr_pstrdup(ctx->pool, ctx->fail_text));
    if (!strcmp(out->kind, "zone") == (out->id != NULL))
        return mdm_fail(ctx, MDM_EINPUT, "base.id", out->id ? "does not go with the zone" : "is missing");
    if (*ctx->actor.limit && strcmp(out->kind, "folder") != 0)
        return mdm_fail(ctx, MDM_EDENIED, "base", "must be one of your folders");
    if (!strcmp(out->kind, "folder")) {
        rv = mdm_q_folder_get(db, out->id, ctx->actor.limit, &folder);
        return APR_STATUS_IS_NOTFOUND(rv) ? mdm_fail(ctx, MDM_EINPUT, "base.id", "is no folder") : rv;
    }
    if (!strcmp(out->kind, "zone"))
        return APR_SUCCESS;
    rv = mdm_q_dynamic_stands_on(db, out->id, group, &on);
    if (rv == APR_SUCCESS && !on->n)
        return mdm_fail(ctx, MDM_EINPUT, "base.id", "is no group");
    if (rv == APR_SUCCESS && on->n >= STACKED)
        return mdm_fail(ctx, MDM_ECONFLICT, "base.id", on->n == 100 ? "A group can't stand on itself." : "Groups can stand on %d others.", STACKED);
    return rv;
}

apr_status_t mdm_dynamic_set(mdm_db_t *db, const char *id, json_t *criteria, json_t *base)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    base_t b = {NULL, NULL};
    apr_status_t rv = mdm_criteria_check(ctx, criteria);

    if (rv == APR_SUCCESS)
        rv = base_read(db, id, base, &b);
    if (rv == APR_SUCCESS)
        rv = mdm_q_dynamic_set(db, id, mdm_json_text(ctx->pool, criteria), b.kind, b.id, NULL);
    if (rv == APR_SUCCESS)
        rv = call_job(db);
    return rv != APR_SUCCESS ? rv : mdm_audit(db, "group.criteria", "device_group", id, "", "done",
        mdm_json_own(ctx, json_pack("{s:O, s:{s:s, s:s?}}", "criteria", criteria, "base", "kind", b.kind, "id", b.id)));
}

apr_status_t mdm_dynamic_hasten(mdm_db_t *db, const char *id)
{
    mdm_q_dynamic_get_t *q;
    apr_status_t rv = mdm_q_dynamic_get(db, id, &q);

    if (rv == APR_SUCCESS)
        rv = mdm_q_dynamic_hasten(db, id, 0, NULL);
    return rv == APR_SUCCESS ? call_job(db) : rv;
}

apr_status_t mdm_dynamic_preview(mdm_db_t *db, json_t *criteria, json_t *base, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *devices = mdm_json_own(ctx, json_array());
    walk_t w = {.db = db, .more = 1};
    int looked = 0, matching = 0;
    apr_array_header_t *rows;
    base_t b;
    apr_status_t rv = mdm_criteria_check(ctx, criteria);

    if (rv == APR_SUCCESS)
        rv = base_read(db, "", base, &b);
    while (rv == APR_SUCCESS && w.more && looked < MDM_DYNAMIC_LOOKED) {
        rv = mdm_q_dynamic_candidates(db, "", b.kind, b.id ? b.id : "", ctx->actor.limit, w.after, BATCH, &rows);
        w.more = rv == APR_SUCCESS && rows->nelts == BATCH;
        if (rv != APR_SUCCESS || !rows->nelts)
            break;
        apr_cpystrn(w.after, APR_ARRAY_IDX(rows, rows->nelts - 1, mdm_q_dynamic_candidates_t).device_id, sizeof w.after);
        w.ctx = ctx;
        rv = mdm_q_dynamic_devices(db, ids_of(&w, rows), &rows);
        for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
            const mdm_q_dynamic_devices_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_dynamic_devices_t);
            json_t *device = facts(ctx, q);
            int is = mdm_criteria_match(criteria, device);

            json_decref(device);
            looked++;
            matching += is;
            if (is && matching <= SHOWN)
                json_array_append_new(devices, json_pack("{s:s, s:s}", "id", q->id, "name", q->name));
        }
    }
    if (rv == APR_SUCCESS)
        *out = json_pack("{s:i, s:i, s:b, s:O}", "matching", matching, "looked_at", looked, "complete", !w.more, "devices", devices);
    return rv;
}

apr_status_t mdm_dynamic_period_json(mdm_db_t *db, const char *id, json_t **out)
{
    apr_int64_t minutes;
    apr_status_t rv = period(db, &minutes);

    *out = rv == APR_SUCCESS ? json_pack("{s:I}", "minutes", (json_int_t)minutes) : NULL;
    return rv;
}

apr_status_t mdm_dynamic_period_set(mdm_db_t *db, apr_int64_t minutes)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t was;
    apr_status_t rv = period(db, &was);

    if (rv == APR_SUCCESS)
        rv = mdm_setting_set(db, SETTING, mdm_json_own(ctx, json_integer(minutes)), 0);
    if (rv == APR_SUCCESS)
        rv = mdm_q_dynamic_hasten(db, "", mdm_now_ms(ctx) + minutes * MINUTE_MS, NULL);
    return rv != APR_SUCCESS ? rv : mdm_audit(db, "group.period", "zone", "", "", "done",
        mdm_json_own(ctx, json_pack("{s:I, s:I}", "before", (json_int_t)was, "after", (json_int_t)minutes)));
}
