/* Schedules: what is set where, what holds, and changing it. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_schedule_plan.h"
#include "mdm_sql_gen.h"

#define PARENTS_MAX 64 /* of a folder, should the tree ever be broken */

typedef struct folder_t {
    const char *id, *parent, *name;
    int refresh, lost; /* −1: as above */
} folder_t;

struct mdm_plan_t {
    apr_hash_t *folders;
    int refresh, lost; /* of the zone; −1: default */
};

/* ---------------------------------------------------------------- reading */

/* {"mode": "manual"} → 0, {"mode": "timed", "minutes": n} → n, else −1. */
static int refresh_of(json_t *j)
{
    const char *mode = json_string_value(json_object_get(j, "mode"));

    return !mode ? -1 : !strcmp(mode, "timed") ? (int)json_integer_value(json_object_get(j, "minutes")) : 0;
}

static int lost_of(json_t *j)
{
    return json_is_object(j) ? (int)json_integer_value(json_object_get(j, "days")) : -1;
}

static apr_status_t zone_setting(mdm_db_t *db, const char *name, json_t **out)
{
    apr_status_t rv = mdm_setting_get(db, name, out);

    if (APR_STATUS_IS_NOTFOUND(rv)) {
        *out = NULL;
        return APR_SUCCESS;
    }
    return rv;
}

apr_status_t mdm_plan_read(mdm_db_t *db, mdm_plan_t **out)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    mdm_plan_t *plan = apr_pcalloc(p, sizeof *plan);
    apr_array_header_t *rows;
    json_t *j;
    apr_status_t rv = zone_setting(db, "schedule.refresh", &j);

    plan->refresh = rv == APR_SUCCESS ? refresh_of(j) : -1;
    if (rv == APR_SUCCESS) {
        rv = zone_setting(db, "schedule.lost", &j);
    }
    plan->lost = rv == APR_SUCCESS ? lost_of(j) : -1;
    if (rv == APR_SUCCESS) {
        rv = mdm_q_schedule_folders(db, &rows);
    }
    plan->folders = apr_hash_make(p);
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_schedule_folders_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_schedule_folders_t);
        folder_t *f = apr_pcalloc(p, sizeof *f);
        json_t *s = json_loads(r->settings, 0, NULL);

        *f = (folder_t){r->id, r->parent_id, r->name, refresh_of(json_object_get(s, "refresh")), lost_of(json_object_get(s, "lost"))};
        json_decref(s);
        apr_hash_set(plan->folders, f->id, APR_HASH_KEY_STRING, f);
    }
    *out = plan;
    return rv;
}

/* The nearest folder that says something of it. */
static void nearest(const mdm_plan_t *plan, const char *folder, int lost, mdm_plan_found_t *out)
{
    const folder_t *f;
    int n = 0, value;

    for (; folder && n < PARENTS_MAX && (f = apr_hash_get(plan->folders, folder, APR_HASH_KEY_STRING)); folder = f->parent, n++) {
        value = lost ? f->lost : f->refresh;
        if (value >= 0) {
            *out = (mdm_plan_found_t){value, "folder", f->id, f->name};
            return;
        }
    }
    value = lost ? plan->lost : plan->refresh;
    *out = value >= 0 ? (mdm_plan_found_t){value, "zone", "", ""}
                      : (mdm_plan_found_t){lost ? 0 : MDM_SCHEDULE_DEFAULT, "default", "", ""};
}

void mdm_plan_refresh(const mdm_plan_t *plan, const char *folder, const char *settings, mdm_plan_found_t *out)
{
    json_t *s = settings ? json_loads(settings, 0, NULL) : NULL;
    int own = refresh_of(json_object_get(s, "refresh"));

    json_decref(s);
    if (own >= 0) {
        *out = (mdm_plan_found_t){own, "device", "", ""};
    } else {
        nearest(plan, folder, 0, out);
    }
}

void mdm_plan_lost(const mdm_plan_t *plan, const char *folder, mdm_plan_found_t *out)
{
    nearest(plan, folder, 1, out);
}

int mdm_plan_lost_least(const mdm_plan_t *plan)
{
    int least = plan->lost > 0 ? plan->lost : 0;
    apr_hash_index_t *at;

    for (at = apr_hash_first(NULL, plan->folders); at; at = apr_hash_next(at)) {
        const folder_t *f = apr_hash_this_val(at);
        if (f->lost > 0 && (!least || f->lost < least)) {
            least = f->lost;
        }
    }
    return least;
}

apr_int64_t mdm_plan_random(apr_int64_t n)
{
    apr_uint64_t v = 0;

    /* without randomness all would come at once: half of the period is better than that */
    return mdm_random(&v, sizeof v) == APR_SUCCESS ? (apr_int64_t)(v % (apr_uint64_t)n) : n / 2;
}

/* ---------------------------------------------------------------- one place: what is set there */

typedef struct place_t {
    mdm_schedule_scope_e scope;
    const char *id, *name, *kind; /* kind: for the audit */
    const char *folder;           /* whose settings hold for it; NULL: the zone */
    const char *device_settings;  /* NULL: no device */
    json_t *settings;             /* {"refresh", "lost"} as stored, and what else is kept beside it */
    apr_int64_t version, due_ms;
} place_t;

static apr_status_t zone_read(mdm_db_t *db, place_t *out)
{
    json_t *refresh, *lost;
    apr_status_t rv = zone_setting(db, "schedule.refresh", &refresh);

    if (rv == APR_SUCCESS) {
        rv = zone_setting(db, "schedule.lost", &lost);
    }
    *out = (place_t){.scope = MDM_SCHEDULE_ZONE, .id = "", .name = "", .kind = "zone"};
    if (rv == APR_SUCCESS) {
        out->settings = mdm_json_own(mdm_db_ctx(db), json_pack("{s:O?, s:O?}", "refresh", refresh, "lost", lost));
    }
    return rv;
}

static apr_status_t folder_read(mdm_db_t *db, const char *id, place_t *out)
{
    mdm_q_schedule_folder_t *f;
    apr_status_t rv = mdm_q_schedule_folder(db, id, mdm_db_ctx(db)->actor.limit, &f);

    if (rv == APR_SUCCESS) {
        *out = (place_t){.scope = MDM_SCHEDULE_FOLDER, .id = id, .name = f->name, .kind = "folder", .folder = id, .version = f->version,
                         .settings = mdm_json_own(mdm_db_ctx(db), json_loads(f->settings, 0, NULL))};
    }
    return rv;
}

static apr_status_t device_read(mdm_db_t *db, const char *id, place_t *out)
{
    mdm_q_schedule_device_t *d;
    apr_status_t rv = mdm_q_schedule_device(db, id, &d);

    if (rv == APR_SUCCESS) {
        *out = (place_t){.scope = MDM_SCHEDULE_DEVICE, .id = id, .name = d->name, .kind = "device", .folder = d->folder_id,
                         .device_settings = d->settings, .version = d->version, .due_ms = d->due_ms_null ? 0 : d->due_ms,
                         .settings = mdm_json_own(mdm_db_ctx(db), json_loads(d->settings, 0, NULL))};
    }
    return rv;
}

static apr_status_t place_read(mdm_db_t *db, mdm_schedule_scope_e scope, const char *id, place_t *out)
{
    apr_status_t rv = scope == MDM_SCHEDULE_ZONE ? zone_read(db, out)
                      : scope == MDM_SCHEDULE_FOLDER ? folder_read(db, id, out) : device_read(db, id, out);

    if (rv == APR_SUCCESS && !out->settings) {
        out->settings = mdm_json_own(mdm_db_ctx(db), json_object());
    }
    return rv;
}

static json_t *refresh_json(int minutes)
{
    return minutes ? json_pack("{s:s, s:i}", "mode", "timed", "minutes", minutes) : json_pack("{s:s}", "mode", "manual");
}

static json_t *from_json(const mdm_plan_found_t *f)
{
    return json_pack("{s:s, s:s, s:s}", "scope", f->scope, "id", f->id, "name", f->name);
}

static json_t *own(json_t *settings, const char *key)
{
    json_t *v = json_object_get(settings, key);

    return json_is_object(v) ? json_incref(v) : json_null();
}

json_t *mdm_schedule_own(const char *settings)
{
    json_t *s = json_loads(settings, 0, NULL), *out = json_pack("{s:o, s:o}", "refresh", own(s, "refresh"), "lost", own(s, "lost"));

    json_decref(s);
    return out;
}

apr_status_t mdm_schedule_json(mdm_db_t *db, mdm_schedule_scope_e scope, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_plan_found_t refresh, lost;
    mdm_plan_t *plan;
    place_t at;
    apr_status_t rv = place_read(db, scope, id, &at);

    if (rv == APR_SUCCESS) {
        rv = mdm_plan_read(db, &plan);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    mdm_plan_refresh(plan, at.folder, at.device_settings, &refresh);
    mdm_plan_lost(plan, at.folder, &lost);
    *out = json_pack("{s:o, s:{s:o, s:o, s:{s:i}, s:o}}", "refresh", own(at.settings, "refresh"), "effective", "refresh",
                     refresh_json(refresh.value), "refresh_from", from_json(&refresh), "lost", "days", lost.value, "lost_from",
                     from_json(&lost));
    if (scope == MDM_SCHEDULE_DEVICE) {
        json_object_set_new(*out, "next_at", at.due_ms ? json_string(mdm_time_text(mdm_db_ctx(db)->pool, at.due_ms)) : json_null());
    } else {
        json_object_set_new(*out, "lost", own(at.settings, "lost"));
    }
    *version = at.version;
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- changing */

static apr_status_t refresh_check(mdm_ctx_t *ctx, json_t *j)
{
    static const char *const modes[] = {"manual", "timed", NULL};
    const char *mode = NULL;
    apr_int64_t minutes = 0;
    int given = 0;
    const mdm_jfield_t fields[] = {{"mode", MDM_JF_ENUM, 1, 0, 0, modes, 0, &mode, NULL},
                                   {"minutes", MDM_JF_INT, 0, MDM_SCHEDULE_MIN, MDM_SCHEDULE_MAX, NULL, 0, &minutes, &given},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(ctx, j, fields);

    if (rv == APR_SUCCESS && given != !strcmp(mode, "timed")) {
        rv = mdm_fail(ctx, MDM_EINPUT, "minutes", given ? "belongs to the mode timed" : "is missing");
    }
    if (rv == MDM_EINPUT) {
        ctx->fail_field = apr_pstrcat(ctx->pool, "refresh.", ctx->fail_field, NULL);
    }
    return rv;
}

static apr_status_t lost_check(mdm_ctx_t *ctx, json_t *j)
{
    apr_int64_t days;
    const mdm_jfield_t fields[] = {{"days", MDM_JF_INT, 1, 0, MDM_LOST_DAYS_MAX, NULL, 0, &days, NULL}, {NULL}};
    apr_status_t rv = mdm_json_fields(ctx, j, fields);

    if (rv == MDM_EINPUT) {
        ctx->fail_field = apr_pstrcat(ctx->pool, "lost.", ctx->fail_field, NULL);
    }
    return rv;
}

static apr_status_t edit_check(mdm_ctx_t *ctx, mdm_schedule_scope_e scope, const mdm_schedule_edit_t *e)
{
    apr_status_t rv = e->refresh ? refresh_check(ctx, e->refresh) : APR_SUCCESS;

    if (rv == APR_SUCCESS && e->given_lost && scope == MDM_SCHEDULE_DEVICE) {
        rv = mdm_fail(ctx, MDM_EINPUT, "lost", "is set for the zone and for folders");
    }
    return rv == APR_SUCCESS && e->lost ? lost_check(ctx, e->lost) : rv;
}

static apr_status_t write_place(mdm_db_t *db, const place_t *at, json_t *settings, const mdm_schedule_edit_t *e)
{
    const char *text = mdm_json_text(mdm_db_ctx(db)->pool, settings);
    apr_status_t rv = APR_SUCCESS;
    int n = 1;

    if (at->scope == MDM_SCHEDULE_ZONE) {
        json_t *none = mdm_json_own(mdm_db_ctx(db), json_null());
        if (e->given_refresh) {
            rv = mdm_setting_set(db, "schedule.refresh", e->refresh ? e->refresh : none, 0);
        }
        if (rv == APR_SUCCESS && e->given_lost) {
            rv = mdm_setting_set(db, "schedule.lost", e->lost ? e->lost : none, 0);
        }
        return rv;
    }
    rv = at->scope == MDM_SCHEDULE_FOLDER ? mdm_q_schedule_folder_set(db, at->id, at->version, text, &n)
                                          : mdm_q_schedule_device_set(db, at->id, at->version, text, &n);
    return rv == APR_SUCCESS && !n ? mdm_fail(mdm_db_ctx(db), MDM_ESTALE, NULL, "Somebody has changed this meanwhile: load it again.") : rv;
}

static apr_status_t spread_later(mdm_db_t *db, const place_t *at)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_job_add_t add = {.kind = MDM_SPREAD_JOB, .max_attempts = 1000};

    add.unique_key = apr_pstrcat(ctx->pool, "spread:", at->kind, ":", at->id, NULL);
    add.payload = mdm_json_own(ctx, json_pack("{s:s, s:s}", "folder", at->scope == MDM_SCHEDULE_FOLDER ? at->id : "", "device",
                                              at->scope == MDM_SCHEDULE_DEVICE ? at->id : ""));
    return mdm_job_add(db, &add, NULL);
}

apr_status_t mdm_schedule_moved(mdm_db_t *db, const char *folder)
{
    const place_t at = {.scope = MDM_SCHEDULE_FOLDER, .kind = "folder", .id = folder};

    return spread_later(db, &at);
}

static void merge(json_t *settings, const char *key, int given, json_t *value)
{
    if (given && value) {
        json_object_set(settings, key, value);
    } else if (given) {
        json_object_del(settings, key);
    }
}

apr_status_t mdm_schedule_edit(mdm_db_t *db, mdm_schedule_scope_e scope, const char *id, apr_int64_t version, const mdm_schedule_edit_t *e)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *before, *detail;
    place_t at = {0};
    apr_status_t rv = edit_check(ctx, scope, e);

    if (rv == APR_SUCCESS) {
        rv = place_read(db, scope, id, &at);
    }
    if (rv == APR_SUCCESS && scope != MDM_SCHEDULE_ZONE && at.version != version) {
        rv = mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this meanwhile: load it again.");
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    before = mdm_json_own(ctx, json_pack("{s:o, s:o}", "refresh", own(at.settings, "refresh"), "lost", own(at.settings, "lost")));
    merge(at.settings, "refresh", e->given_refresh, e->refresh);
    merge(at.settings, "lost", e->given_lost, e->lost);
    rv = write_place(db, &at, at.settings, e);
    if (rv == APR_SUCCESS && e->given_refresh) {
        rv = spread_later(db, &at);
    }
    detail = mdm_json_own(ctx, json_pack("{s:O, s:{s:o, s:o}}", "before", before, "after", "refresh", own(at.settings, "refresh"), "lost",
                                         own(at.settings, "lost")));
    return rv == APR_SUCCESS ? mdm_audit(db, "schedule.edit", at.kind, at.id, at.name, "done", detail) : rv;
}
