/* What is removed by its age: along an index, in batches of one transaction each (DEV-16). */
#include "domain/mdm_retention.h"

#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_bulk.h"
#include "domain/mdm_identity.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define SETTING "retention"
#define DAY_MS (24 * 3600 * 1000LL)
#define PROGRESS 20 /* batches between two looks at the lease */

/* ---------------------------------------------------------------- the setting */

typedef struct days_t {
    apr_int64_t history, messages, pending;
} days_t;

/* A value that mdmctl wrote and that is none counts as the default: nothing is removed sooner than asked for. */
static apr_int64_t days_of(const json_t *set, const char *name)
{
    json_t *j = json_object_get(set, name);
    json_int_t n = json_integer_value(j);

    return json_is_integer(j) && (!n || (n >= MDM_RETENTION_LEAST && n <= MDM_RETENTION_MOST)) ? n : MDM_RETENTION_DEFAULT;
}

static apr_status_t read_days(mdm_db_t *db, days_t *days)
{
    json_t *set = NULL;
    apr_status_t rv = mdm_setting_get(db, SETTING, &set);

    *days = (days_t){days_of(set, "history_days"), days_of(set, "message_days"), days_of(set, "pending_days")};
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

static json_t *days_json(const days_t *days)
{
    return json_pack("{s:I, s:I, s:I}", "history_days", (json_int_t)days->history, "message_days", (json_int_t)days->messages,
                     "pending_days", (json_int_t)days->pending);
}

apr_status_t mdm_retention_json(mdm_db_t *db, const char *id, json_t **out)
{
    days_t days;
    apr_status_t rv = read_days(db, &days);

    *out = rv == APR_SUCCESS ? days_json(&days) : NULL;
    return rv;
}

static apr_status_t check(mdm_ctx_t *ctx, const char *field, apr_int64_t days)
{
    return days && days < MDM_RETENTION_LEAST
               ? mdm_fail(ctx, MDM_EINPUT, field, "must be 0 (for ever) or %d days at least", MDM_RETENTION_LEAST) : APR_SUCCESS;
}

apr_status_t mdm_retention_edit(mdm_db_t *db, json_t *body)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    days_t was, days;
    const mdm_jfield_t fields[] = {{"history_days", MDM_JF_INT, 0, 0, MDM_RETENTION_MOST, NULL, 0, &days.history, NULL},
                                   {"message_days", MDM_JF_INT, 0, 0, MDM_RETENTION_MOST, NULL, 0, &days.messages, NULL},
                                   {"pending_days", MDM_JF_INT, 0, 0, MDM_RETENTION_MOST, NULL, 0, &days.pending, NULL},
                                   {NULL}};
    json_t *after;
    apr_status_t rv = read_days(db, &was);

    days = was;
    if (rv == APR_SUCCESS) {
        rv = mdm_json_fields(ctx, body, fields);
    }
    if (rv == APR_SUCCESS) {
        rv = check(ctx, "history_days", days.history);
    }
    if (rv == APR_SUCCESS) {
        rv = check(ctx, "message_days", days.messages);
    }
    if (rv == APR_SUCCESS) {
        rv = check(ctx, "pending_days", days.pending);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    after = mdm_json_own(ctx, days_json(&days));
    rv = mdm_setting_set(db, SETTING, after, 0);
    return rv != APR_SUCCESS ? rv : mdm_audit(db, "retention.edit", "zone", "", "", "done",
        mdm_json_own(ctx, json_pack("{s:o, s:O}", "before", days_json(&was), "after", after)));
}

/* ---------------------------------------------------------------- the walk */

typedef struct walk_t {
    mdm_db_t *db;
    apr_int64_t before;
    apr_int64_t at_ms;  /* commands: behind which one the next batch begins */
    char at_id[40];
    int removed, more;  /* of this batch */
} walk_t;

typedef apr_status_t (*step_fn)(walk_t *w);

static apr_status_t counted(walk_t *w, apr_status_t rv)
{
    w->more = rv == APR_SUCCESS && w->removed == MDM_RETENTION_BATCH;
    return rv;
}

static apr_status_t audit_step(walk_t *w)
{
    return counted(w, mdm_q_retention_audit(w->db, w->before, MDM_RETENTION_BATCH, &w->removed));
}

static apr_status_t event_step(walk_t *w)
{
    return counted(w, mdm_q_retention_events(w->db, w->before, MDM_RETENTION_BATCH, &w->removed));
}

static apr_status_t message_step(walk_t *w)
{
    return counted(w, mdm_q_retention_messages(w->db, w->before, MDM_IDENTITY_ENDING, MDM_RETENTION_BATCH, &w->removed));
}

static apr_status_t notice_step(walk_t *w)
{
    return counted(w, mdm_q_retention_notices(w->db, w->before, MDM_RETENTION_BATCH, &w->removed));
}

/* Enrolments whose time is over: their end is written down, whatever the days say (PEN-08). */
static apr_status_t late_step(walk_t *w)
{
    apr_int64_t now = mdm_now_ms(mdm_db_ctx(w->db));
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_retention_pending_late(w->db, now, MDM_RETENTION_BATCH, &rows);
    int done;

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_retention_pending_late_t *e = &APR_ARRAY_IDX(rows, i, mdm_q_retention_pending_late_t);

        rv = mdm_q_retention_pending_expire(w->db, e->id, now, &done);
        if (rv == APR_SUCCESS && done) {
            w->removed++;
            rv = mdm_audit(w->db, "pending.expire", "pending", e->id, e->person_login ? e->person_login : "", "done", NULL);
        }
    }
    return counted(w, rv);
}

static apr_status_t pending_step(walk_t *w)
{
    return counted(w, mdm_q_retention_pending_drop(w->db, w->before, MDM_RETENTION_BATCH, &w->removed));
}

/* A large task goes in several batches; it is there until its last device has gone. */
static apr_status_t task_step(walk_t *w)
{
    mdm_q_retention_task_t *task;
    apr_status_t rv = mdm_q_retention_task(w->db, w->before, &task);

    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
    }
    rv = mdm_q_retention_task_devices(w->db, task->id, MDM_RETENTION_BATCH, &w->removed);
    if (rv == APR_SUCCESS && w->removed < MDM_RETENTION_BATCH) {
        rv = mdm_q_retention_task_drop(w->db, task->id, NULL);
    }
    w->more = rv == APR_SUCCESS;
    return rv;
}

/* Rows and results of bulk runs hold secrets: they go early, and the run then only tells that it was. One that never came to its end goes whole. */
static apr_status_t bulk_step(walk_t *w)
{
    mdm_q_bulk_old_t *run;
    apr_status_t rv = mdm_q_bulk_old(w->db, w->before, &run);

    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
    }
    rv = mdm_q_bulk_rows_drop(w->db, run->id, MDM_RETENTION_BATCH, &w->removed);
    if (rv == APR_SUCCESS && w->removed < MDM_RETENTION_BATCH) {
        rv = strcmp(run->state, "uploading") ? mdm_q_bulk_ended(w->db, run->id, run->state, "expired", mdm_now_ms(mdm_db_ctx(w->db)))
                                             : mdm_q_bulk_drop(w->db, run->id, NULL);
    }
    w->more = rv == APR_SUCCESS;
    return rv;
}

static apr_status_t bulk_run_step(walk_t *w)
{
    return counted(w, mdm_q_bulk_forgotten(w->db, w->before, MDM_RETENTION_BATCH, &w->removed));
}

static apr_status_t command_step(walk_t *w)
{
    mdm_ctx_t *ctx = mdm_db_ctx(w->db);
    json_t *ids = mdm_json_own(ctx, json_array());
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_retention_commands(w->db, w->before, w->at_ms, w->at_id, MDM_RETENTION_BATCH, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_retention_commands_t *c = &APR_ARRAY_IDX(rows, i, mdm_q_retention_commands_t);

        if (!c->keep) {
            json_array_append_new(ids, json_string(c->id));
        }
        w->at_ms = c->done_ms;
        apr_cpystrn(w->at_id, c->id, sizeof w->at_id);
    }
    w->more = rv == APR_SUCCESS && rows->nelts == MDM_RETENTION_BATCH;
    return rv == APR_SUCCESS && json_array_size(ids)
               ? mdm_q_retention_commands_drop(w->db, mdm_json_text(ctx->pool, ids), w->before, &w->removed) : rv;
}

/* Tasks go before the commands that they hold. */
static const struct {
    const char *name;
    step_fn step;
    int kind; /* whose days: 0 of history, 1 of messages, 2 of the audit, 3 of bulk runs, 4 of enrolments, 5 whatever they are */
} steps[] = {{"expired", late_step, 5}, {"pending", pending_step, 4}, {"events", event_step, 0}, {"messages", message_step, 1}, {"tasks", task_step, 0}, {"commands", command_step, 0},
             {"notices", notice_step, 0}, {"audit", audit_step, 2}, {"bulk_rows", bulk_step, 3}, {"bulk_runs", bulk_run_step, 0}};

static apr_status_t in_tx(mdm_ctx_t *parent, walk_t *w, step_fn step)
{
    mdm_ctx_t *ctx = mdm_ctx_sub(parent);
    apr_status_t rv = mdm_db_open(ctx, &w->db);

    w->removed = w->more = 0;
    if (rv == APR_SUCCESS) {
        rv = mdm_db_begin(w->db);
        if (rv == APR_SUCCESS) {
            rv = step(w);
        }
        rv = mdm_db_end(w->db, rv);
        mdm_db_close(w->db);
    }
    apr_pool_destroy(ctx->pool);
    return rv;
}

static apr_status_t walk(mdm_ctx_t *ctx, mdm_job_t *job, unsigned n, apr_int64_t days, int lease_s, apr_int64_t *all)
{
    walk_t w = {.before = mdm_now_ms(ctx) - days * DAY_MS, .more = 1};
    apr_int64_t removed = 0;
    apr_status_t rv = APR_SUCCESS;

    for (int batches = 1; rv == APR_SUCCESS && w.more && !mdm_job_stopping(job); batches++) {
        rv = in_tx(ctx, &w, steps[n].step);
        removed += rv == APR_SUCCESS ? w.removed : 0;
        if (rv == APR_SUCCESS && batches % PROGRESS == 0) {
            mdm_ctx_t *sub = mdm_ctx_sub(ctx);
            rv = mdm_job_progress(sub, job, *all + removed, 0, lease_s);
            apr_pool_destroy(sub->pool);
        }
    }
    *all += removed;
    json_object_set_new(job->result, steps[n].name, json_integer(removed));
    return rv;
}

static apr_status_t days_now(mdm_ctx_t *ctx, days_t *days)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = read_days(db, days);
        mdm_db_close(db);
    }
    return rv;
}

apr_status_t mdm_retention_run(mdm_ctx_t *ctx, mdm_job_t *job, apr_int64_t audit_days, int lease_s)
{
    apr_int64_t all = 0;
    days_t set;
    apr_status_t rv = days_now(ctx, &set);

    job->result = mdm_json_own(ctx, json_object());
    for (unsigned i = 0; rv == APR_SUCCESS && i < sizeof steps / sizeof steps[0] && !mdm_job_stopping(job); i++) {
        const apr_int64_t days_of_kind[] = {set.history, set.messages, audit_days, MDM_BULK_DAYS, set.pending, 1};
        apr_int64_t days = days_of_kind[steps[i].kind];

        rv = days ? walk(ctx, job, i, days, lease_s, &all) : APR_SUCCESS;
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv; /* another one has the job now */
}
