#include "domain/mdm_clock.h"

#include "base/mdm_json.h"
#include "mdm_sql_gen.h"

#define BATCH 500

/* The walks, one after the other, each by time and id: what has come forward lies behind. */
enum { WALK_REFRESH, WALK_EXPIRY, WALK_END };

typedef struct walk_t {
    mdm_ctx_t *ctx;
    mdm_db_t *db;
    apr_int64_t which, step, after_ms;
    const char *after;
} walk_t;

apr_status_t mdm_clock_back(mdm_db_t *db, apr_int64_t step_ms)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *payload = mdm_json_own(ctx, json_pack("{s:I}", "step", (json_int_t)step_ms));
    mdm_job_add_t rest = {.kind = MDM_CLOCK_JOB, .payload = payload};
    apr_int64_t now = mdm_now_ms(ctx);
    apr_status_t rv = mdm_db_begin(db);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_job_clock_back(db, now, step_ms, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_push_clock_back(db, now, step_ms, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_notice_clock_back(db, now, step_ms, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_clock_groups(db, now, step_ms, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_job_add(db, &rest, NULL); /* after the others have come forward */
    }
    return mdm_db_end(db, rv);
}

static void sooner(walk_t *w, json_t *list, const char *id, apr_int64_t was)
{
    apr_int64_t now = mdm_now_ms(w->ctx), at = was - w->step > now ? was - w->step : now;

    json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "id", id, "due", (json_int_t)at, "was", (json_int_t)was));
    w->after = id;
    w->after_ms = was;
}

static apr_status_t refreshes(walk_t *w, json_t *list)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_clock_refreshes(w->db, w->after_ms, w->after, BATCH, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_clock_refreshes_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_clock_refreshes_t);
        sooner(w, list, r->id, r->due_ms);
    }
    return rv == APR_SUCCESS && rows->nelts ? mdm_q_schedule_due_set(w->db, mdm_json_text(w->ctx->pool, list), NULL) : rv;
}

static apr_status_t expiries(walk_t *w, json_t *list)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_clock_expiries(w->db, w->after_ms, w->after, BATCH, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_clock_expiries_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_clock_expiries_t);
        sooner(w, list, r->id, r->expires_ms);
    }
    return rv == APR_SUCCESS && rows->nelts ? mdm_q_clock_expiries_set(w->db, mdm_json_text(w->ctx->pool, list), NULL) : rv;
}

/* One batch, and where the next one begins. */
static apr_status_t batch(walk_t *w, mdm_job_t *job)
{
    json_t *list = mdm_json_own(w->ctx, json_array()), *kept;
    apr_status_t rv = w->which == WALK_REFRESH ? refreshes(w, list) : expiries(w, list);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (json_array_size(list) < BATCH) {
        w->which++;
        w->after_ms = mdm_now_ms(w->ctx);
        w->after = "";
    }
    kept = json_pack("{s:I, s:I, s:I, s:s}", "step", (json_int_t)w->step, "walk", (json_int_t)w->which, "after_ms", (json_int_t)w->after_ms,
                     "after", w->after);
    rv = mdm_q_clock_job_set(w->db, job->id, job->lease_owner, mdm_json_text(w->ctx->pool, kept));
    if (rv == APR_SUCCESS) {
        json_object_update(job->payload, kept);
    }
    json_decref(kept);
    return rv;
}

static apr_status_t in_tx(mdm_ctx_t *ctx, mdm_job_t *job)
{
    const json_t *p = job->payload, *from = json_object_get(p, "after_ms");
    const char *after = json_string_value(json_object_get(p, "after"));
    walk_t w = {.ctx = ctx, .which = json_integer_value(json_object_get(p, "walk")), .step = json_integer_value(json_object_get(p, "step")),
                .after_ms = from ? json_integer_value(from) : mdm_now_ms(ctx), .after = after ? after : ""};
    apr_status_t rv = mdm_db_open(ctx, &w.db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_db_begin(w.db);
    if (rv == APR_SUCCESS) {
        rv = batch(&w, job);
    }
    rv = mdm_db_end(w.db, rv);
    mdm_db_close(w.db);
    return rv;
}

apr_status_t mdm_clock_back_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s)
{
    apr_int64_t done = 0;
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && !mdm_job_stopping(job) && json_integer_value(json_object_get(job->payload, "walk")) < WALK_END) {
        mdm_ctx_t *sub = mdm_ctx_sub(ctx);

        rv = in_tx(sub, job);
        done += BATCH;
        if (rv == APR_SUCCESS) {
            rv = mdm_job_progress(sub, job, done, 0, lease_s);
        }
        apr_pool_destroy(sub->pool);
    }
    if (rv == APR_SUCCESS && !job->cancelled && json_integer_value(json_object_get(job->payload, "walk")) < WALK_END) {
        job->again_ms = mdm_now_ms(ctx); /* the child stops: it goes on */
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv; /* somebody else runs it */
}
