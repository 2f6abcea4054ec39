/* The work of quick tasks: walking the list, giving the orders, taking them back, noticing the end. Each batch is one transaction that also says
 * how far the task is: after a cut the next run goes on from there (DEV-07, DEV-14). */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_command.h"
#include "domain/mdm_eas_wipe.h"
#include "domain/mdm_push.h"
#include "domain/mdm_task.h"
#include "mdm_sql_gen.h"

#define BATCH 50         /* devices ordered in one transaction */
#define CANCEL_BATCH 500 /* devices taken back in one */
#define SLICE_MS 10000   /* then others of the same class have their turn */
#define LOOK_MS 5000     /* between two counts of the devices by state, at least */
#define LOOK_MAX_MS 600000
#define LOOK_SHARE 20     /* at most such a part of the time goes into counting */

/* What one run remembers from batch to batch. */
typedef struct place_t {
    char phase[16];         /* state of the task that `after` belongs to */
    apr_int64_t after;      /* number of the device that the batch before ended with */
    apr_int64_t created_ms, checked_ms, took_ms; /* took_ms: the last look */
    int look;               /* the counts are wanted now */
    int more;               /* there is another batch */
} place_t;

typedef struct run_t {
    mdm_ctx_t *ctx; /* of this batch */
    mdm_db_t *db;
    const char *id;
    mdm_q_task_options_t *task;
    place_t *at;
} run_t;

/* ---------------------------------------------------------------- the list */

/* One page of the list becomes rows. */
static apr_status_t walk(run_t *r)
{
    const char *next = NULL;
    mdm_device_filter_t f;
    apr_array_header_t *rows = NULL;
    json_t *list = mdm_json_own(r->ctx, json_array());
    mdm_page_t page;
    json_t *target = mdm_json_own(r->ctx, json_loads(r->task->target, 0, NULL));
    apr_status_t rv = mdm_device_filter_read(r->ctx, json_object_get(target, "filter"), &f);

    if (rv == APR_SUCCESS) {
        rv = mdm_page_read(r->ctx, mdm_device_filter_sig(r->ctx->pool, &f), "200", r->task->cursor, &page);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_device_list(r->db, &f, &page, &rows, &next);
    }
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_device_row_t *d = &APR_ARRAY_IDX(rows, i, mdm_device_row_t);
        json_array_append_new(list, json_pack("{s:s, s:s}", "id", d->id, "name", d->name));
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_task_rows_add(r->db, r->id, list, r->task->walked);
    }
    if (rv == APR_SUCCESS && rows->nelts) { /* else a stretch without any: only the cursor moves */
        rv = mdm_q_task_walked(r->db, r->id, next, r->task->walked + rows->nelts, r->task->walked);
    } else if (rv == APR_SUCCESS) {
        rv = mdm_q_task_walked(r->db, r->id, next, r->task->walked, r->task->walked);
    }
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        return mdm_fail(r->ctx, MDM_ECONFLICT, NULL, "somebody else has gone on with this task");
    }
    if (rv == APR_SUCCESS && !next) {
        rv = mdm_q_task_state_set(r->db, r->id, "preparing", "running", NULL);
        r->at->look = 1;
    }
    r->at->more = 1;
    return rv;
}

/* ---------------------------------------------------------------- orders */

/* Enrolled by mail alone: what its app does is no command of ours. */
static int leaves_by_mail(const mdm_task_order_t *o, const mdm_action_facts_t *f)
{
    const char *why;

    return o->by_mail && mdm_action_refused(o->action, f, &why) && !mdm_action_refused(o->by_mail, f, &why);
}

static apr_status_t order_leave(run_t *r, const mdm_task_order_t *o, const mdm_action_facts_t *f, apr_int64_t delay, const char **id)
{
    mdm_q_leave_open_t *row;
    apr_status_t rv = mdm_unenroll_apple(r->db, f->device_id, o->wipe, o->del, o->erase, o->reason);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_leave_open(r->db, f->device_id, &row);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_task_command_mark(r->db, row->id, r->id, NULL);
    }
    if (rv == APR_SUCCESS && delay) {
        rv = mdm_q_task_push_later(r->db, row->record_id, mdm_now_ms(r->ctx) + delay, NULL);
    }
    if (rv == APR_SUCCESS) {
        *id = row->id;
    }
    return rv;
}

/* When a device is to be woken, and until when it may answer. */
static void times(const run_t *r, const mdm_action_facts_t *f, apr_int64_t *delay, apr_int64_t *expires)
{
    apr_int64_t now = mdm_now_ms(r->ctx), due = r->task->created_ms + mdm_push_spread_ms(f->record_id, r->task->spread_ms);

    *delay = r->task->spread_ms && due > now ? due - now : 0;
    if (*delay > r->task->spread_ms) {
        *delay = r->task->spread_ms; /* the clock was set back: nobody waits longer than was said */
    }
    *expires = r->task->expiry_ms ? now + *delay + r->task->expiry_ms : 0;
}

static apr_status_t order_one(run_t *r, const mdm_task_order_t *o, const mdm_action_facts_t *f, const char **id)
{
    apr_int64_t delay, expires;

    times(r, f, &delay, &expires);
    if (!strcmp(o->kind, "unenroll")) {
        return order_leave(r, o, f, delay, id);
    }
    mdm_action_order_t order = {.device_id = f->device_id, .request_type = o->request_type, .payload = mdm_task_payload(r->ctx, o, f),
                                .raw = !strcmp(o->kind, "raw"), .task_id = r->id, .reason = o->reason, .expires_ms = expires,
                                .wake_after_ms = delay};
    return mdm_action_order(r->db, &order, id);
}

/* What became of a device, for the one statement that writes it down. */
static void tell(json_t *list, const char *device_id, const char *state, const char *reason, const char *command)
{
    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s?}", "device", device_id, "state", state, "reason", reason, "command", command));
}

/* What can't be ordered is told by its reason; only trouble of ours ends the batch. A refresh is left to the end of the batch. */
static apr_status_t give(run_t *r, const mdm_task_order_t *o, const mdm_action_facts_t *f, apr_array_header_t *asked, json_t *list)
{
    const char *why, *id = NULL, *word = mdm_task_refused(o, f, &why), *state = "ordered";
    apr_status_t rv = APR_SUCCESS;

    if (word) {
        state = "not_applicable";
        why = word;
    } else if (!strcmp(o->kind, "refresh")) {
        APR_ARRAY_PUSH(asked, const mdm_action_facts_t *) = f;
        return APR_SUCCESS;
    } else {
        r->ctx->fail_text = NULL;
        rv = leaves_by_mail(o, f) ? mdm_eas_unenroll(r->db, f->device_id, o->wipe, o->del, o->reason) : order_one(r, o, f, &id);
        state = id ? "ordered" : "mailed";
        why = "";
        if (rv == MDM_ECONFLICT || rv == MDM_EINPUT || rv == APR_NOTFOUND) {
            state = "failed";
            why = r->ctx->fail_text ? r->ctx->fail_text : "The device has left.";
            rv = APR_SUCCESS;
        }
    }
    tell(list, f->device_id, state, why, id);
    return rv;
}

static apr_status_t refresh_all(run_t *r, const apr_array_header_t *asked, json_t *list)
{
    apr_array_header_t *adds = apr_array_make(r->ctx->pool, asked->nelts + 1, sizeof(mdm_command_add_t));
    const char *ids[BATCH] = {NULL};
    apr_status_t rv;

    for (int i = 0; i < asked->nelts; i++) {
        const mdm_action_facts_t *f = APR_ARRAY_IDX(asked, i, const mdm_action_facts_t *);
        mdm_command_add_t *add = apr_array_push(adds);

        *add = (mdm_command_add_t){.record_id = f->record_id, .task_id = r->id};
        times(r, f, &add->wake_after_ms, &add->expires_ms);
    }
    rv = mdm_command_refresh_many(r->db, adds, ids);
    for (int i = 0; rv == APR_SUCCESS && i < asked->nelts; i++) {
        tell(list, APR_ARRAY_IDX(asked, i, const mdm_action_facts_t *)->device_id, ids[i] ? "ordered" : "failed",
             ids[i] ? "" : "The device has left, or too many commands wait for it.", ids[i]);
    }
    return rv;
}

/* The next devices get their orders; those that are gone by now are told as such. */
static apr_status_t order_batch(run_t *r, const mdm_task_order_t *o)
{
    json_t *ids = mdm_json_own(r->ctx, json_array()), *list = mdm_json_own(r->ctx, json_array());
    apr_array_header_t *rows, *held, *facts = NULL, *asked = apr_array_make(r->ctx->pool, BATCH, sizeof(mdm_action_facts_t *));
    apr_int64_t before = r->at->after;
    apr_status_t rv = mdm_q_task_take(r->db, r->id, before, mdm_now_ms(r->ctx), BATCH, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_task_take_t *t = &APR_ARRAY_IDX(rows, i, mdm_q_task_take_t);

        json_array_append_new(ids, json_string(t->device_id));
        r->at->after = t->n > r->at->after ? t->n : r->at->after;
    }
    r->at->more = rv == APR_SUCCESS && rows->nelts > 0;
    if (r->at->more) {
        rv = mdm_q_task_hold(r->db, r->id, before, r->at->after, &held);
    }
    if (rv == APR_SUCCESS && r->at->more) {
        rv = mdm_action_facts_of(r->db, ids, &facts);
    }
    for (int i = 0; rv == APR_SUCCESS && r->at->more && i < facts->nelts; i++) {
        rv = give(r, o, &APR_ARRAY_IDX(facts, i, mdm_action_facts_t), asked, list);
    }
    if (rv == APR_SUCCESS && asked->nelts) {
        rv = refresh_all(r, asked, list);
    }
    for (int i = 0; rv == APR_SUCCESS && r->at->more && facts->nelts < rows->nelts && i < rows->nelts; i++) {
        const char *id = APR_ARRAY_IDX(rows, i, mdm_q_task_take_t).device_id;
        int k = 0;

        while (k < facts->nelts && strcmp(APR_ARRAY_IDX(facts, k, mdm_action_facts_t).device_id, id) != 0) {
            k++;
        }
        if (k == facts->nelts) {
            tell(list, id, "failed", "The device was deleted.", NULL);
        }
    }
    return rv == APR_SUCCESS && r->at->more ? mdm_q_task_devices_set(r->db, r->id, mdm_json_text(r->ctx->pool, list), mdm_now_ms(r->ctx), NULL)
                                            : rv;
}

static apr_status_t orders(run_t *r)
{
    const char *purpose = apr_pstrcat(r->ctx->pool, "quick_task.options:", r->id, NULL);
    mdm_task_order_t *o = NULL;
    mdm_blob_t text;
    json_t *options;
    apr_status_t rv = mdm_unseal(r->ctx, purpose, r->task->options, &text);

    if (rv == APR_SUCCESS) {
        rv = mdm_json_parse(r->ctx, (const char *)text.data, text.len, &options);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_task_check(r->ctx, r->task->kind, options, &o);
    }
    return rv == APR_SUCCESS ? order_batch(r, o) : rv;
}

/* ---------------------------------------------------------------- taking back */

/* Wipes that no mail app has fetched. taken: also of their devices. */
static apr_status_t take_back_mailed(run_t *r, apr_int64_t upto, json_t *taken)
{
    apr_array_header_t *rows = NULL;
    const char *was;
    apr_status_t rv = mdm_q_task_mailed(r->db, r->id, r->at->after, upto, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const char *id = APR_ARRAY_IDX(rows, i, mdm_q_task_mailed_t).device_id;

        rv = mdm_eas_wipe_cancel(r->db, id, &was);
        if (rv == APR_SUCCESS && was) {
            json_array_append_new(taken, json_string(id));
        }
        rv = rv == MDM_ECONFLICT ? APR_SUCCESS : rv;
    }
    return rv;
}

static apr_status_t take_back(run_t *r)
{
    apr_int64_t now = mdm_now_ms(r->ctx), upto = r->at->after + CANCEL_BATCH;
    json_t *taken = mdm_json_own(r->ctx, json_array());
    apr_array_header_t *rows = NULL;
    apr_status_t rv = mdm_q_task_hold(r->db, r->id, r->at->after, upto, &rows);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_task_recall(r->db, r->id, r->at->after, upto, now, &rows);
    }
    if (rv == APR_SUCCESS) {
        rv = take_back_mailed(r, upto, taken);
    }
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_task_recall_t *c = &APR_ARRAY_IDX(rows, i, mdm_q_task_recall_t);

        json_array_append_new(taken, json_string(c->id));
        rv = c->leaving && c->device_id ? mdm_leave_cancelled(r->db, c->record_id, c->device_id) : APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_task_recalled(r->db, r->id, r->at->after, upto, mdm_json_text(r->ctx->pool, taken), now, NULL);
    }
    r->at->after = upto;
    r->at->more = upto < r->task->walked;
    if (rv == APR_SUCCESS && !r->at->more) {
        rv = mdm_q_task_state_set(r->db, r->id, "cancelling", "cancelled", NULL);
        r->at->look = 1;
    }
    return rv;
}

/* ---------------------------------------------------------------- the job */

/* Whoever started the task acts, with his limit. */
static void act_as(mdm_ctx_t *ctx, const mdm_q_task_options_t *task)
{
    ctx->actor.kind = "admin";
    ctx->actor.name = task->created_by;
    ctx->actor.limit = task->limit_admin;
}

static apr_status_t step(run_t *r)
{
    place_t *at = r->at;
    const char *state;
    apr_status_t rv = mdm_q_task_options(r->db, r->id, &r->task);

    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv; /* pruned */
    }
    state = r->task->state;
    at->created_ms = r->task->created_ms;
    at->checked_ms = r->task->checked_ms;
    if (strcmp(at->phase, state) != 0) {
        apr_cpystrn(at->phase, state, sizeof at->phase);
        at->after = 0;
    }
    act_as(r->ctx, r->task);
    if (!strcmp(state, "cancelling")) {
        return take_back(r);
    }
    return !strcmp(state, "preparing") ? walk(r) : !strcmp(state, "running") ? orders(r) : APR_SUCCESS;
}

static apr_status_t step_in_tx(const mdm_ctx_t *parent, const char *id, place_t *at)
{
    run_t r = {.ctx = mdm_ctx_sub(parent), .id = id, .at = at};
    apr_status_t rv = mdm_db_open(r.ctx, &r.db);

    at->more = 0;
    if (rv == APR_SUCCESS) {
        rv = mdm_db_begin(r.db);
        if (rv == APR_SUCCESS) {
            rv = step(&r);
        }
        rv = mdm_db_end(r.db, rv);
        mdm_db_close(r.db);
    }
    at->more = at->more && rv == APR_SUCCESS;
    apr_pool_destroy(r.ctx->pool);
    return rv;
}

/* The older a task, the longer between two looks at its devices: a look reads them all. */
static apr_int64_t look_after(const place_t *at, apr_int64_t now)
{
    apr_int64_t wait = (now - at->created_ms) / 10, least = at->took_ms * LOOK_SHARE;

    wait = wait < least ? least : wait;
    return wait < LOOK_MS ? LOOK_MS : wait > LOOK_MAX_MS ? LOOK_MAX_MS : wait;
}

static int look_due(const place_t *at, apr_int64_t now)
{
    return at->look || now < at->checked_ms || now - at->checked_ms >= look_after(at, now);
}

/* Keeps the counts that others are shown; *open = devices that have not ended. */
static apr_status_t look(mdm_ctx_t *ctx, const char *id, place_t *at, apr_int64_t *open)
{
    mdm_ctx_t *sub = mdm_ctx_sub(ctx);
    apr_int64_t began = mdm_now_ms(sub);
    json_t *counts = NULL;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(sub, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_task_counts(db, id, &counts, open);
        if (rv == APR_SUCCESS) { /* while there is more to order, nothing has ended */
            at->checked_ms = mdm_now_ms(sub);
            at->took_ms = at->checked_ms > began ? at->checked_ms - began : 0;
            rv = mdm_q_task_counts_keep(db, id, mdm_json_text(sub->pool, counts), *open, *open || at->more ? "running" : "done",
                                        at->checked_ms, NULL);
        }
        mdm_db_close(db);
    }
    at->look = 0;
    json_decref(counts);
    apr_pool_destroy(sub->pool);
    return rv;
}

static apr_status_t progress(mdm_ctx_t *ctx, mdm_job_t *job, const char *id, int lease_s)
{
    mdm_ctx_t *sub = mdm_ctx_sub(ctx);
    mdm_q_task_progress_t *row = NULL;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(sub, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_task_progress(db, id, &row);
        mdm_db_close(db);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_job_progress(sub, job, row->done, row->total, lease_s);
    }
    apr_pool_destroy(sub->pool);
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

apr_status_t mdm_task_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s)
{
    const char *id = json_string_value(json_object_get(job->payload, "task"));
    apr_int64_t began = mdm_now_ms(ctx), now = began, open = 0;
    place_t at = {.more = 1};
    int batches = 0;
    apr_status_t rv = APR_SUCCESS;

    while (id && rv == APR_SUCCESS && at.more && !mdm_job_stopping(job) && now >= began && now - began < SLICE_MS) {
        rv = step_in_tx(ctx, id, &at);
        now = mdm_now_ms(ctx);
        open = at.more;
        if (rv == APR_SUCCESS && at.phase[0] && (!at.more || look_due(&at, now))) {
            rv = look(ctx, id, &at, &open);
        }
        if (rv == APR_SUCCESS && (batches++ % 20 == 0 || !at.more)) {
            rv = progress(ctx, job, id, lease_s);
        }
    }
    if (rv == APR_SUCCESS && at.more && id) {
        job->again_ms = now; /* others have their turn, or the child stops: it goes on */
    } else if (rv == APR_SUCCESS && open) {
        job->again_ms = now + look_after(&at, now); /* its devices are asked for until the last has ended */
    }
    return rv;
}
