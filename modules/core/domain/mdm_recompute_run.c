/* The job: marks become devices, devices are computed.
 *
 * Nothing is lost, wherever a run is killed and whatever happens meanwhile:
 * - A mark is committed with the change that made it, so who sees the mark sees the change. It is deleted in the transaction that adds its devices
 *   (of a big target: the last ones; before that it remembers how far it was walked. A device that comes to the target behind that has a mark of
 *   its own).
 * - A device is computed in the transaction that deletes its row of recompute_device, and the facts are read by later statements than that. A
 *   mark that comes meanwhile adds the device again: the INSERT waits for the row that is being deleted and puts it back (PostgreSQL);
 *   SQLite has one writer at a time.
 * - Of two runs at once neither waits for the rows of the other (SKIP LOCKED), so no device is computed twice at a time. Nor does a run wait for a
 *   device that is at work itself (check-in, refresh): it takes the device and its record at once, or later. */
#include "domain/mdm_recompute_batch.h"

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_dynamic.h"
#include "mdm_sql_gen.h"

#define WALK_MAX 10000  /* devices of a big target in one transaction */
#define MARKS_MAX 1000
#define BATCH_MAX 500   /* devices computed in one transaction */
#define TELL_EVERY apr_time_from_sec(1)
#define BUSY_WAIT apr_time_from_msec(50) /* for devices that are at work themselves */
#define BUSY_TRIES 100
#define WAKE_MS 2       /* between two devices that are woken because of one change */
#define WAKE_MAX_MS (10 * 60000LL)

typedef struct run_t {
    mdm_ctx_t *ctx; /* of this step */
    mdm_db_t *db;
    mdm_recompute_memo_t *memo;
    apr_int64_t spread_ms;
    int moved; /* marks or devices of this step */
    int busy;  /* devices wait that are at work themselves */
} run_t;

typedef apr_status_t (*step_fn)(run_t *r);

/* ---------------------------------------------------------------- marks */

static void device_put(json_t *list, const char *id, int criteria, int policies)
{
    json_array_append_new(list, json_pack("{s:s, s:i, s:i}", "id", id, "criteria", criteria, "policies", policies));
}

static apr_status_t devices_add(run_t *r, json_t *list, apr_int64_t since_ms)
{
    return json_array_size(list) ? mdm_q_recompute_add(r->db, mdm_json_text(r->ctx->pool, list), since_ms, NULL) : APR_SUCCESS;
}

/* Some devices of the oldest big mark. */
static apr_status_t walk(run_t *r)
{
    json_t *list = mdm_json_own(r->ctx, json_array());
    mdm_q_recompute_big_t *mark;
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_recompute_big(r->db, &mark);
    int i;

    if (rv != APR_SUCCESS)
        return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
    rv = mdm_q_recompute_reached(r->db, mark->kind, mark->id, mark->walked, WALK_MAX, &rows);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++)
        device_put(list, APR_ARRAY_IDX(rows, i, mdm_q_recompute_reached_t).device_id, !strcmp(mark->kind, "below"), 1);
    if (rv == APR_SUCCESS)
        rv = devices_add(r, list, mark->since_ms);
    if (rv != APR_SUCCESS)
        return rv;
    r->moved = 1;
    if (rows->nelts < WALK_MAX)
        return mdm_q_recompute_mark_drop(r->db, mark->seq, NULL);
    return mdm_q_recompute_walked(r->db, mark->seq, APR_ARRAY_IDX(rows, rows->nelts - 1, mdm_q_recompute_reached_t).device_id, NULL);
}

/* Marks of single devices and people. */
static apr_status_t gather(run_t *r)
{
    json_t *list = mdm_json_own(r->ctx, json_array()), *people = mdm_json_own(r->ctx, json_array());
    apr_int64_t since = mdm_now_ms(r->ctx);
    apr_array_header_t *rows, *owned;
    apr_status_t rv = mdm_q_recompute_small(r->db, MARKS_MAX, &rows);
    json_t *unique = mdm_json_own(r->ctx, json_object()), *flags;
    const char *id;
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_recompute_small_t *m = &APR_ARRAY_IDX(rows, i, mdm_q_recompute_small_t);

        since = m->since_ms < since ? m->since_ms : since;
        if (!strcmp(m->kind, "person")) {
            json_array_append_new(people, json_string(m->id));
            continue;
        }
        flags = json_object_get(unique, m->id);
        json_object_set_new(unique, m->id, json_integer((flags ? json_integer_value(flags) : 0) | (strcmp(m->kind, "criteria") != 0 ? 1 : 2)));
    }
    if (rv == APR_SUCCESS && json_array_size(people)) {
        rv = mdm_q_recompute_of_people(r->db, mdm_json_text(r->ctx->pool, people), &owned);
        for (i = 0; rv == APR_SUCCESS && i < owned->nelts; i++) {
            id = APR_ARRAY_IDX(owned, i, mdm_q_recompute_of_people_t).device_id;
            flags = json_object_get(unique, id);
            json_object_set_new(unique, id, json_integer((flags ? json_integer_value(flags) : 0) | 1));
        }
    }
    json_object_foreach(unique, id, flags)
        device_put(list, id, (json_integer_value(flags) & 2) != 0, json_integer_value(flags) & 1);
    r->moved = rv == APR_SUCCESS && rows->nelts > 0;
    return rv == APR_SUCCESS ? devices_add(r, list, since) : rv;
}

/* ---------------------------------------------------------------- devices */

/* None could be taken. Is one left? */
static apr_status_t look_again(run_t *r)
{
    mdm_q_recompute_more_t *left;
    apr_status_t rv = mdm_q_recompute_orphans(r->db, NULL);

    if (rv == APR_SUCCESS)
        rv = mdm_q_recompute_more(r->db, &left);
    r->busy = rv == APR_SUCCESS && left->more;
    return rv;
}

static apr_status_t compute(run_t *r)
{
    json_t *asked = mdm_json_own(r->ctx, json_array()), *wanted = mdm_json_own(r->ctx, json_object()), *none;
    apr_array_header_t *ids = apr_array_make(r->ctx->pool, BATCH_MAX, sizeof(const char *)), *rows;
    apr_status_t rv = mdm_q_recompute_take(r->db, BATCH_MAX, &rows);
    const char *id;
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_recompute_take_t *d = &APR_ARRAY_IDX(rows, i, mdm_q_recompute_take_t);
        if (d->criteria)
            json_array_append_new(asked, json_string(d->device_id));
        if (d->policies)
            json_object_set_new(wanted, d->device_id, json_null());
    }
    r->moved = rv == APR_SUCCESS ? rows->nelts : 0;
    if (rv == APR_SUCCESS && !rows->nelts)
        return look_again(r);
    if (rv == APR_SUCCESS && json_array_size(asked))
        rv = mdm_dynamic_devices(r->db, mdm_json_text(r->ctx->pool, asked), 1, wanted);
    json_object_foreach(wanted, id, none)
        APR_ARRAY_PUSH(ids, const char *) = id;
    return rv == APR_SUCCESS && ids->nelts ? mdm_recompute_batch(r->db, r->memo, ids, r->spread_ms) : rv;
}

apr_status_t mdm_recompute_now(mdm_db_t *db, const char *device_id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_recompute_waiting_t *row;
    apr_array_header_t *ids;
    apr_status_t rv = mdm_q_recompute_waiting(db, device_id, &row);

    if (rv != APR_SUCCESS || !row->waiting)
        return rv;
    /* Groups are not held, since somebody may have several devices computed in one transaction: what the job was to ask of them, it still asks. */
    rv = mdm_q_recompute_drop(db, device_id, NULL);
    if (rv == APR_SUCCESS)
        rv = mdm_dynamic_devices(db, apr_psprintf(ctx->pool, "[\"%s\"]", device_id), 0, mdm_json_own(ctx, json_object()));
    ids = apr_array_make(ctx->pool, 1, sizeof(const char *));
    APR_ARRAY_PUSH(ids, const char *) = device_id;
    return rv == APR_SUCCESS ? mdm_recompute_batch(db, mdm_recompute_memo(ctx), ids, 0) : rv;
}

/* ---------------------------------------------------------------- the job */

/* One step in its own transaction and memory. */
static apr_status_t step(const mdm_ctx_t *ctx, run_t *r, step_fn fn)
{
    apr_status_t rv;

    r->ctx = mdm_ctx_sub(ctx);
    r->moved = 0;
    rv = mdm_db_open(r->ctx, &r->db);
    if (rv == APR_SUCCESS) {
        rv = mdm_db_begin(r->db);
        if (rv == APR_SUCCESS)
            rv = fn(r);
        rv = mdm_db_end(r->db, rv);
        mdm_db_close(r->db);
    }
    apr_pool_destroy(r->ctx->pool);
    return rv;
}

/* How far it is; once in a while, and when it ends. */
static apr_status_t tell(const mdm_ctx_t *ctx, run_t *r, mdm_job_t *job, apr_int64_t done, apr_time_t *told, int lease_s)
{
    mdm_recompute_left_t left = {0};
    mdm_ctx_t *sub;
    mdm_db_t *db;
    apr_status_t rv;

    if (apr_time_now() >= *told && apr_time_now() - *told < TELL_EVERY)
        return APR_SUCCESS;
    *told = apr_time_now();
    sub = mdm_ctx_sub(ctx);
    rv = mdm_db_open(sub, &db);
    if (rv == APR_SUCCESS) {
        rv = mdm_recompute_left(db, &left);
        mdm_db_close(db);
    }
    r->spread_ms = left.devices > BATCH_MAX ? left.devices * WAKE_MS : 0;
    r->spread_ms = r->spread_ms > WAKE_MAX_MS ? WAKE_MAX_MS : r->spread_ms;
    if (rv == APR_SUCCESS)
        rv = mdm_job_progress(sub, job, done, done + left.devices, lease_s);
    apr_pool_destroy(sub->pool);
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv; /* somebody else runs it: mdm_job_stopping() tells */
}

apr_status_t mdm_recompute_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s)
{
    static const step_fn steps[] = {gather, walk, compute};
    run_t r = {.memo = mdm_recompute_memo(ctx)};
    apr_int64_t done = 0;
    apr_time_t told = 0;
    apr_status_t rv = APR_SUCCESS;
    int moved, waited = 0;

    do {
        moved = r.busy = 0;
        for (int i = 0; rv == APR_SUCCESS && i < 3; i++) {
            rv = step(ctx, &r, steps[i]);
            moved |= r.moved;
        }
        done += rv == APR_SUCCESS ? r.moved : 0;
        if (rv == APR_SUCCESS && moved)
            rv = tell(ctx, &r, job, done, &told, lease_s);
        if (rv == APR_SUCCESS && !moved && r.busy && waited++ < BUSY_TRIES) {
            apr_sleep(BUSY_WAIT);
            moved = 1;
        }
    } while (rv == APR_SUCCESS && moved && !mdm_job_stopping(job));
    return rv;
}
