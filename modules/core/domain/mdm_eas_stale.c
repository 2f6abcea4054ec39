/* Silent mail apps: found by the day of their last sync, ended by what ends devices anyway. */
#include "domain/mdm_eas_stale.h"

#include <string.h>
#include "base/mdm_json.h"
#include "domain/mdm_device.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define STRETCH 500 /* rows that one page looks at */
#define STRETCHES 20

/* Before this day: whoever synced last then has been silent for as many whole days at least. */
static apr_int64_t day_before(mdm_ctx_t *ctx, apr_int64_t days)
{
    return mdm_now_ms(ctx) / DAY_MS - days;
}

/* ---------------------------------------------------------------- the list */

static json_t *when(apr_pool_t *p, apr_int64_t ms)
{
    return ms ? json_string(mdm_time_text(p, ms)) : json_null();
}

static json_t *item_json(mdm_ctx_t *ctx, const mdm_q_eas_stale_t *q)
{
    json_t *said = mdm_json_own(ctx, json_loads(q->attrs, 0, NULL));
    json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?, s:o, s:o, s:o, s:I}", "id", q->record_id, "device_id", q->native_id, "class", q->class,
                            "state", q->state, "type", json_string_value(json_object_get(said, "type")), "user_agent",
                            json_string_value(json_object_get(said, "user_agent")), "first_seen_at", when(ctx->pool, q->first_ms), "last_at",
                            when(ctx->pool, q->last_ms), "last_sync_at", when(ctx->pool, q->sync_ms), "silent_days",
                            (json_int_t)(mdm_now_ms(ctx) / DAY_MS - q->alive_day));

    json_object_set_new(out, "device", json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", q->object_id, "name", q->object_name, "state", q->object_state,
                                                 "mode", q->mode, "platform", q->platform, "model", q->model));
    json_object_set_new(out, "person", q->person_id ? json_pack("{s:s, s:s, s:s}", "id", q->person_id, "name", q->person_name, "login", q->login)
                                                    : json_null());
    return out;
}

apr_status_t mdm_eas_stale_list(mdm_db_t *db, apr_int64_t days, const mdm_page_t *page, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const mdm_q_eas_stale_t *last = NULL;
    apr_array_header_t *rows;
    int i;
    apr_status_t rv = mdm_q_eas_stale(db, day_before(ctx, days), page->first ? APR_INT64_MIN : page->num, page->id, ctx->actor.limit, STRETCH, &rows);

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && (int)json_array_size(items) < page->count; i++) {
        last = &APR_ARRAY_IDX(rows, i, mdm_q_eas_stale_t);
        if (last->fits) {
            json_array_append_new(items, item_json(ctx, last));
        }
    }
    if (rv == APR_SUCCESS && last && (i < rows->nelts || rows->nelts == STRETCH)) {
        *next = mdm_page_next_num(ctx, page, last->alive_day, last->record_id);
    }
    return rv;
}

/* ---------------------------------------------------------------- ending one */

typedef struct ending_t {
    mdm_ctx_t *ctx;
    mdm_db_t *db;
    const mdm_stale_end_t *what;
} ending_t;

/* The device goes on without this app. */
static apr_status_t end_part(const ending_t *e, const mdm_q_eas_stale_one_t *q)
{
    json_t *detail = mdm_json_own(e->ctx, json_pack("{s:s, s:s, s:s}", "reason", "stale", "device_id", q->native_id, "why", e->what->reason));
    apr_status_t rv = mdm_q_eas_wipe_record_state(e->db, q->record_id, "left", mdm_now_ms(e->ctx), NULL);

    if (rv == APR_SUCCESS && !q->others) {
        rv = mdm_q_eas_device_left(e->db, q->object_id, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_count_left(e->db, q->object_id, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_device_event(e->db, q->object_id, NULL, "mail.left", detail);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_audit(e->db, "device.mail_end", "device", q->object_id, q->object_name, "done", detail);
    }
    return rv == APR_SUCCESS ? mdm_change_add(e->db, "device", q->object_id) : rv;
}

static apr_status_t end_one(const ending_t *e, const char *record_id)
{
    mdm_q_eas_stale_one_t *q;
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_eas_hold_record(e->db, record_id, &rows);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_stale_one(e->db, record_id, day_before(e->ctx, e->what->days), e->ctx->actor.limit, &q);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (strcmp(q->mode, "eas") != 0 || q->others) {
        return end_part(e, q);
    }
    return e->what->del ? mdm_device_delete(e->db, q->object_id, e->what->reason) : mdm_device_retire(e->db, q->object_id, e->what->reason);
}

/* *ended, *passed: counted. */
static apr_status_t end_in_tx(const ending_t *e, const char *record_id, int *ended, int *passed)
{
    apr_status_t rv = mdm_db_begin(e->db);

    if (rv == APR_SUCCESS) {
        rv = end_one(e, record_id);
    }
    rv = mdm_db_end(e->db, rv);
    *ended += rv == APR_SUCCESS;
    if (rv == APR_NOTFOUND || rv == MDM_ECONFLICT) {
        e->ctx->fail_text = NULL;
        (*passed)++;
        rv = APR_SUCCESS;
    }
    return rv;
}

/* ---------------------------------------------------------------- ending many */

static apr_status_t end_named(const ending_t *e, int *ended, int *passed)
{
    apr_status_t rv = APR_SUCCESS;
    size_t i;
    json_t *v;

    json_array_foreach(e->what->records, i, v) {
        if (!json_is_string(v) || !mdm_is_uuid(json_string_value(v))) {
            return mdm_fail(e->ctx, MDM_EINPUT, "records", "must hold ids of records");
        }
    }
    json_array_foreach(e->what->records, i, v) {
        if (rv == APR_SUCCESS) {
            rv = end_in_tx(e, json_string_value(v), ended, passed);
        }
    }
    return rv;
}

static apr_status_t end_oldest(const ending_t *e, int *ended, int *passed)
{
    apr_int64_t day = APR_INT64_MIN;
    const char *id = "";
    apr_array_header_t *rows = NULL;
    apr_status_t rv = APR_SUCCESS;
    int turn, i;

    for (turn = 0; rv == APR_SUCCESS && turn < STRETCHES && *ended < MDM_STALE_ENDS && (!turn || rows->nelts == STRETCH); turn++) {
        rv = mdm_q_eas_stale(e->db, day_before(e->ctx, e->what->days), day, id, e->ctx->actor.limit, STRETCH, &rows);
        for (i = 0; rv == APR_SUCCESS && i < rows->nelts && *ended < MDM_STALE_ENDS; i++) {
            const mdm_q_eas_stale_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_eas_stale_t);

            day = q->alive_day;
            id = q->record_id;
            rv = q->fits ? end_in_tx(e, id, ended, passed) : APR_SUCCESS;
        }
    }
    return rv;
}

apr_status_t mdm_eas_stale_end(mdm_ctx_t *ctx, const mdm_stale_end_t *what, json_t **out)
{
    ending_t e = {.ctx = ctx, .what = what};
    int ended = 0, passed = 0;
    apr_status_t rv = mdm_db_open(ctx, &e.db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = what->records ? end_named(&e, &ended, &passed) : end_oldest(&e, &ended, &passed);
    mdm_db_close(e.db);
    *out = rv == APR_SUCCESS ? json_pack("{s:i, s:i}", "ended", ended, "passed", passed) : NULL;
    return rv;
}
