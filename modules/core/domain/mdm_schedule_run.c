/* The work of schedules: asking who is due, spreading after a change, flagging who is silent. Bounded batches, each a transaction of its own. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_command.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_push.h"
#include "domain/mdm_schedule_plan.h"
#include "mdm_sql_gen.h"

#define MINUTE_MS 60000LL
#define DAY_MS (24 * 60 * MINUTE_MS)
#define DUE_BATCH 50
#define SPREAD_BATCH 500
#define SILENT_BATCH 500
#define LATE_MS (15 * MINUTE_MS) /* this late, and the server was away: then all wait at once */

typedef struct batch_t {
    mdm_ctx_t *ctx;
    mdm_db_t *db;
    mdm_job_t *job;
    mdm_plan_t *plan;
    apr_int64_t now;
    const char *after; /* where the walk is */
    apr_int64_t after_ms;
    apr_int64_t done;  /* rows of this batch */
    int more;
} batch_t;

typedef apr_status_t (*batch_fn)(batch_t *b);

/* One batch in its transaction; where the walk is, is copied into `keep`. */
static apr_status_t in_tx(mdm_ctx_t *ctx, batch_t *b, batch_fn fn, char keep[64])
{
    apr_status_t rv;

    b->ctx = mdm_ctx_sub(ctx);
    b->now = mdm_now_ms(ctx);
    b->done = b->more = 0;
    rv = mdm_db_open(b->ctx, &b->db);
    if (rv == APR_SUCCESS) {
        rv = mdm_db_begin(b->db);
        if (rv == APR_SUCCESS) {
            rv = mdm_plan_read(b->db, &b->plan);
        }
        if (rv == APR_SUCCESS) {
            rv = fn(b);
        }
        rv = mdm_db_end(b->db, rv);
        mdm_db_close(b->db);
    }
    if (b->after != keep) {
        apr_cpystrn(keep, b->after, 64);
    }
    b->after = keep;
    apr_pool_destroy(b->ctx->pool);
    return rv;
}

static apr_status_t batches(mdm_ctx_t *ctx, mdm_job_t *job, batch_fn fn, int lease_s)
{
    batch_t b = {.job = job, .after = "", .after_ms = -1, .more = 1};
    char keep[64] = "";
    apr_int64_t all = 0;
    apr_status_t rv;

    do {
        rv = in_tx(ctx, &b, fn, keep);
        all += b.done;
        if (rv == APR_SUCCESS && b.more) {
            mdm_ctx_t *sub = mdm_ctx_sub(ctx);
            rv = mdm_job_progress(sub, job, all, 0, lease_s);
            apr_pool_destroy(sub->pool);
        }
    } while (rv == APR_SUCCESS && b.more && !mdm_job_stopping(job));
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

static void due_put(json_t *list, const char *id, const apr_int64_t *due, const apr_int64_t *was)
{
    json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "id", id, "due", due ? json_integer(*due) : json_null(), "was",
                                          was ? json_integer(*was) : json_null()));
}

static apr_status_t due_set(batch_t *b, json_t *list)
{
    return json_array_size(list) ? mdm_q_schedule_due_set(b->db, mdm_json_text(b->ctx->pool, list), NULL) : APR_SUCCESS;
}

/* ---------------------------------------------------------------- who is due */

/* One that was not even sent the last question is only woken again: its queue does not grow with its absence. */
static apr_status_t ask(batch_t *b, const mdm_q_schedule_due_t *d, apr_array_header_t *asked)
{
    if (d->waiting) {
        return mdm_push_wake(b->db, d->record_id, 0);
    }
    APR_ARRAY_PUSH(asked, mdm_command_add_t) = (mdm_command_add_t){.record_id = d->record_id};
    return APR_SUCCESS;
}

static apr_status_t due_one(batch_t *b, const mdm_q_schedule_due_t *d, json_t *list, apr_array_header_t *asked)
{
    int managed = d->record_state && !strcmp(d->record_state, "enrolled") && !strcmp(d->state, "active");
    apr_int64_t period, next;
    mdm_plan_found_t found;

    mdm_plan_refresh(b->plan, d->folder_id, d->settings, &found);
    if (!managed || !found.value) {
        due_put(list, d->id, NULL, &d->due_ms);
        return APR_SUCCESS;
    }
    period = found.value * MINUTE_MS;
    next = d->due_ms + period;
    if (b->now - d->due_ms > LATE_MS || next <= b->now) {
        next = b->now + mdm_plan_random(period);
        due_put(list, d->id, &next, &d->due_ms);
        return APR_SUCCESS;
    }
    due_put(list, d->id, &next, &d->due_ms);
    return ask(b, d, asked);
}

static apr_status_t due_batch(batch_t *b)
{
    json_t *list = mdm_json_own(b->ctx, json_array());
    apr_array_header_t *rows, *asked = apr_array_make(b->ctx->pool, DUE_BATCH, sizeof(mdm_command_add_t));
    const char *ids[DUE_BATCH]; /* whose queue is full, or who leaves, gets nothing: that is no trouble */
    apr_status_t rv = mdm_q_schedule_due(b->db, b->now, DUE_BATCH, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        rv = due_one(b, &APR_ARRAY_IDX(rows, i, mdm_q_schedule_due_t), list, asked);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_command_refresh_many(b->db, asked, ids);
    }
    b->done = rv == APR_SUCCESS ? rows->nelts : 0;
    b->more = rv == APR_SUCCESS && rows->nelts == DUE_BATCH;
    return rv == APR_SUCCESS ? due_set(b, list) : rv;
}

apr_status_t mdm_schedule_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s)
{
    return batches(ctx, job, due_batch, lease_s);
}

/* ---------------------------------------------------------------- a schedule was changed */

static const char *payload_text(const mdm_job_t *job, const char *key)
{
    const char *text = json_string_value(json_object_get(job->payload, key));

    return text ? text : "";
}

/* A device with a schedule of its own keeps its time when the zone's or a folder's was changed. */
static apr_status_t spread_batch(batch_t *b)
{
    const char *folder = payload_text(b->job, "folder"), *device = payload_text(b->job, "device");
    json_t *list = mdm_json_own(b->ctx, json_array());
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_schedule_devices(b->db, folder, device, b->after, SPREAD_BATCH, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_schedule_devices_t *d = &APR_ARRAY_IDX(rows, i, mdm_q_schedule_devices_t);
        mdm_plan_found_t found;
        apr_int64_t due;

        b->after = d->id;
        mdm_plan_refresh(b->plan, d->folder_id, d->settings, &found);
        if (!*device && !strcmp(found.scope, "device")) {
            continue;
        }
        due = found.value ? b->now + mdm_plan_random(found.value * MINUTE_MS) : 0;
        due_put(list, d->id, d->managed && due ? &due : NULL, NULL);
    }
    b->done = rv == APR_SUCCESS ? rows->nelts : 0;
    b->more = rv == APR_SUCCESS && rows->nelts == SPREAD_BATCH;
    return rv == APR_SUCCESS ? due_set(b, list) : rv;
}

apr_status_t mdm_schedule_spread(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s)
{
    return batches(ctx, job, spread_batch, lease_s);
}

/* ---------------------------------------------------------------- who is silent */

static apr_status_t flag(batch_t *b, const mdm_q_schedule_silent_t *d)
{
    json_t *detail = mdm_json_own(b->ctx, json_pack("{s:s}", "last_contact_at", mdm_time_text(b->ctx->pool, d->contact_ms)));
    int n = 0;
    apr_status_t rv = mdm_q_schedule_lost_set(b->db, d->id, d->contact_ms, b->now, &n);

    if (rv == APR_SUCCESS && n) {
        rv = mdm_device_event(b->db, d->id, NULL, "lost", detail);
    }
    return rv == APR_SUCCESS && n ? mdm_change_add(b->db, "device", d->id) : rv;
}

static apr_status_t silent_batch(batch_t *b)
{
    int least = mdm_plan_lost_least(b->plan);
    apr_array_header_t *rows;
    apr_status_t rv;

    if (!least) {
        return APR_SUCCESS;
    }
    /* who was never in touch is not silent but new */
    rv = mdm_q_schedule_silent(b->db, b->after_ms < 0 ? 1 : b->after_ms, b->after, b->now - least * DAY_MS, SILENT_BATCH, &rows);
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_schedule_silent_t *d = &APR_ARRAY_IDX(rows, i, mdm_q_schedule_silent_t);
        mdm_plan_found_t found;

        b->after = d->id;
        b->after_ms = d->contact_ms;
        mdm_plan_lost(b->plan, d->folder_id, &found);
        if (!d->lost && !strcmp(d->state, "active") && found.value && d->contact_ms < b->now - found.value * DAY_MS) {
            rv = flag(b, d);
        }
    }
    b->done = rv == APR_SUCCESS ? rows->nelts : 0;
    b->more = rv == APR_SUCCESS && rows->nelts == SILENT_BATCH;
    return rv;
}

apr_status_t mdm_schedule_lost(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s)
{
    return batches(ctx, job, silent_batch, lease_s);
}
