/* The stream of pushes: claim what is due, send, settle what has ended. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_push.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"

#define LEASE_MS (5 * 60 * 1000LL)
#define RUN_MS (120 * 1000LL)          /* then the job begins anew */
#define LOOK_MS 1000                   /* how often is looked for more while something is under way */
#define SETTLE_MS 200                  /* how long what has ended waits for company */
#define STEP_MS 100
#define BACKOFF_CAP_MS (6 * 3600 * 1000LL)
#define STOP_AGAIN_MS (15 * 60 * 1000LL)
#define MESSAGE_MS (24 * 3600 * 1000LL) /* the same trouble is told once a day */
#define FAILED 32                      /* weight of a failure to reach it; a cut connection, which takes many with it, weighs 1 */
#define AWAY (5 * FAILED)              /* failures in a row */
#define RATE_FIRST 50                  /* pushes per second after an outage, … */
#define RATE_LAST 1600                 /* … doubling up to this, then without limit */
#define RATE_STEP_MS 30000
#define FOREIGN_MANY 5                 /* tokens of another topic in one run: the certificate was replaced, not renewed */

/* A row on its way. */
typedef struct item_t {
    mdm_q_push_rows_t *row;
    struct batch_t *batch;
    mdm_http_req_t *req; /* NULL: no usable token */
    struct item_t *next;
} item_t;

/* What was claimed together: one owner, one pool. */
typedef struct batch_t {
    mdm_ctx_t *ctx;
    const char *owner;
    item_t *items;
    int n, left; /* rows, and those that are not settled */
    json_t *sent, *released; /* ids, while settling */
    struct batch_t *next;
} batch_t;

typedef struct run_t {
    mdm_ctx_t *ctx;
    const mdm_push_server_t *server;
    const mdm_push_wire_t *wire;
    mdm_push_state_t *state;
    mdm_push_conf_t *conf;
    batch_t *batches;
    item_t *ready, **ready_at; /* claimed, not yet sent */
    item_t *ended, **ended_at; /* not yet settled */
    int nended, under_way, sent;
    int foreign;          /* DeviceTokenNotForTopic */
    int halt;             /* nothing more is claimed or sent */
    int left;             /* what was under way has been abandoned, because we are to stop */
    const char *refused, *fault; /* reasons to tell */
    apr_int64_t begun_ms, looked_ms, ended_ms;
} run_t;

static apr_status_t tell(mdm_db_t *db, const char *code, int severity, const char *text)
{
    mdm_q_push_message_at_t *last;
    apr_int64_t now = mdm_now_ms(mdm_db_ctx(db));
    apr_status_t rv = mdm_q_push_message_at(db, code, &last);

    if (rv == APR_SUCCESS && last->at_ms > now - MESSAGE_MS && last->at_ms <= now) {
        return APR_SUCCESS;
    }
    return rv == APR_SUCCESS || APR_STATUS_IS_NOTFOUND(rv) ? mdm_message(db, "zone", "apns", severity, code, text) : rv;
}

static void append(item_t ***at, item_t *item)
{
    item->next = NULL;
    **at = item;
    *at = &item->next;
}

static item_t *shift(item_t **first, item_t ***at)
{
    item_t *item = *first;

    if (item && (*first = item->next) == NULL) {
        *at = first;
    }
    return item;
}

/* ---------------------------------------------------------------- pace */

/* How many may be sent now. */
static int allowed(run_t *run)
{
    mdm_push_state_t *s = run->state;
    apr_int64_t now = mdm_now_ms(run->ctx);

    if (!s->rate) {
        return MDM_PUSH_BATCH;
    }
    if (now >= s->rate_ms + RATE_STEP_MS || now < s->rate_ms) {
        s->rate_ms = now;
        s->rate = s->rate >= RATE_LAST ? 0 : s->rate * 2;
    }
    if (now >= s->window_ms + 1000 || now < s->window_ms) {
        s->window_ms = now;
        s->window_sent = 0;
    }
    return s->rate ? s->rate - s->window_sent : MDM_PUSH_BATCH;
}

static void note_way(run_t *run, const mdm_http_req_t *req)
{
    mdm_push_state_t *s = run->state;

    if (req->rv == APR_SUCCESS && req->status < 500) {
        if (s->away >= AWAY) { /* back: not all at once */
            s->rate = RATE_FIRST;
            s->rate_ms = s->window_ms = mdm_now_ms(run->ctx);
            s->window_sent = 0;
        }
        s->away = 0;
    } else if (req->rv != APR_EINTR) {
        int cut = req->error && (!strcmp(req->error, "reset") || !strcmp(req->error, "protocol"));
        s->away += s->away < AWAY ? (cut ? 1 : FAILED) : 0;
        run->halt |= s->away >= AWAY;
    }
}

/* ---------------------------------------------------------------- claiming */

/* While the service is away or refuses, one push finds out whether it still does. */
static int how_many(const run_t *run)
{
    return run->state->away >= AWAY || run->conf->stopped ? 1 : MDM_PUSH_BATCH;
}

static apr_status_t configured(mdm_db_t *db, run_t *run)
{
    apr_status_t rv;

    if (run->conf) {
        return APR_SUCCESS;
    }
    rv = mdm_push_conf(db, run->server, &run->conf);
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        rv = tell(db, "push.unconfigured", MDM_MSG_WARNING, mdm_said(mdm_db_ctx(db)->pool, "said_push_unconfigured", NULL));
        return rv == APR_SUCCESS ? APR_NOTFOUND : rv;
    }
    if (rv == APR_SUCCESS && run->conf->stopped) {
        apr_int64_t left = run->conf->stopped_until_ms - mdm_now_ms(run->ctx);
        return left > 0 && left <= STOP_AGAIN_MS ? APR_NOTFOUND : APR_SUCCESS;
    }
    return rv;
}

static apr_status_t claim_rows(mdm_db_t *db, batch_t *b, int max, apr_array_header_t **rows)
{
    apr_int64_t now = mdm_now_ms(b->ctx);
    apr_array_header_t *ids;
    json_t *list;
    apr_status_t rv = mdm_q_push_claim(db, b->owner, now + LEASE_MS, now, max, &ids);

    if (rv != APR_SUCCESS || !ids->nelts) {
        return rv != APR_SUCCESS ? rv : APR_NOTFOUND;
    }
    list = mdm_json_own(b->ctx, json_array());
    for (int i = 0; i < ids->nelts; i++) {
        json_array_append_new(list, json_string(APR_ARRAY_IDX(ids, i, mdm_q_push_claim_t).record_id));
    }
    return mdm_q_push_rows(db, mdm_json_text(b->ctx->pool, list), rows);
}

static void prepare(run_t *run, batch_t *b, const apr_array_header_t *rows)
{
    b->n = b->left = rows->nelts;
    b->items = apr_pcalloc(b->ctx->pool, (apr_size_t)b->n * sizeof *b->items);
    for (int i = 0; i < b->n; i++) {
        item_t *item = &b->items[i];

        item->batch = b;
        item->row = &APR_ARRAY_IDX(rows, i, mdm_q_push_rows_t);
        if (item->row->push_ok) {
            item->req = mdm_push_request(b->ctx, run->conf, item->row->push_token, item->row->push_magic);
        }
        if (item->req) {
            item->req->baton = item;
            append(&run->ready_at, item);
        } else {
            append(&run->ended_at, item);
            run->nended++;
        }
    }
    b->next = run->batches;
    run->batches = b;
}

/* Opens, claims, closes. APR_NOTFOUND: nothing is due, or nothing can be done. */
static apr_status_t claim(run_t *run)
{
    mdm_ctx_t *ctx = mdm_ctx_sub(run->ctx);
    batch_t *b = apr_pcalloc(ctx->pool, sizeof *b);
    apr_array_header_t *rows = NULL;
    mdm_q_push_due_t *due;
    mdm_db_t *db;
    int fresh = !run->conf;
    apr_status_t rv;

    run->looked_ms = mdm_now_ms(ctx);
    b->ctx = ctx;
    b->owner = mdm_uuid(ctx->pool);
    rv = b->owner ? mdm_db_open(fresh ? run->ctx : ctx, &db) : MDM_EUNAVAIL;
    if (rv == APR_SUCCESS) {
        rv = mdm_q_push_due(db, run->looked_ms, &due);
        if (rv == APR_SUCCESS) {
            rv = due->waiting ? configured(db, run) : APR_NOTFOUND;
        }
        mdm_db_close(db);
    }
    if (rv == APR_SUCCESS && fresh) {
        rv = run->wire->open(run->wire->baton, run->ctx, run->conf);
    }
    if (rv == APR_SUCCESS && (rv = mdm_db_open(ctx, &db)) == APR_SUCCESS) {
        rv = claim_rows(db, b, how_many(run), &rows);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(ctx->pool);
        return rv;
    }
    prepare(run, b, rows);
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- settling */

static apr_status_t dead(mdm_db_t *db, const item_t *item, const char *reason)
{
    const mdm_q_push_rows_t *row = item->row;
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = APR_SUCCESS;

    mdm_log(ctx, MDM_LOG_INFO, "MDM0470", 0, "push to record %s is off until its next TokenUpdate: %s",
            mdm_mask(ctx->pool, row->record_id), reason);
    if (row->push_token) {
        rv = mdm_q_push_off(db, row->record_id, row->push_token, NULL);
    }
    if (rv == APR_SUCCESS && row->device_id) {
        json_t *detail = json_pack("{s:s}", "reason", reason);
        rv = mdm_device_event(db, row->device_id, NULL, "push.refused", detail);
        json_decref(detail);
    }
    return rv;
}

static apr_status_t again(mdm_db_t *db, const item_t *item, apr_int64_t base, const char *reason)
{
    int attempts = item->row->attempts > 30 ? 30 : (int)item->row->attempts;

    return mdm_q_push_again(db, item->row->record_id, item->batch->owner,
                            mdm_now_ms(mdm_db_ctx(db)) + mdm_backoff_ms(attempts, base, BACKOFF_CAP_MS), reason, NULL);
}

/* A record that was enrolled under another topic can't be woken with this certificate. */
static int other_topic(const run_t *run, const item_t *item)
{
    return item->row->topic && *item->row->topic && strcmp(item->row->topic, run->conf->topic) != 0;
}

static apr_status_t settle_one(run_t *run, mdm_db_t *db, item_t *item)
{
    const char *reason = "no usable token";
    mdm_push_verdict_e verdict = MDM_PUSH_DEAD;
    apr_int64_t pause = 0;
    json_t *id = json_string(item->row->record_id);

    if (item->req && (item->req->rv == APR_EINTR || (item->req->error && !strcmp(item->req->error, "breaker open")))) {
        return json_array_append_new(item->batch->released, id) == 0 ? APR_SUCCESS : APR_ENOMEM;
    }
    if (item->req) {
        verdict = mdm_push_judge(item->batch->ctx, item->req, item->row->token_ms, (int)item->row->attempts, &reason, &pause);
    }
    if (item->req && item->req->status >= 500) {
        run->wire->renew(run->wire->baton);
    }
    run->foreign += other_topic(run, item) || !strcmp(reason, "DeviceTokenNotForTopic");
    if (verdict == MDM_PUSH_AGAIN || verdict == MDM_PUSH_STOP) {
        json_decref(id);
        return again(db, item, verdict == MDM_PUSH_STOP ? STOP_AGAIN_MS : pause, reason);
    }
    run->sent += verdict == MDM_PUSH_SENT;
    if (verdict == MDM_PUSH_FAULT) {
        run->fault = apr_pstrdup(run->ctx->pool, reason);
    }
    json_array_append_new(item->batch->sent, id);
    return verdict == MDM_PUSH_DEAD ? dead(db, item, reason) : APR_SUCCESS;
}

/* What administrators must know, each at most once a day. */
static apr_status_t tell_all(run_t *run, mdm_db_t *db)
{
    apr_pool_t *p = run->ctx->pool;
    apr_status_t rv = APR_SUCCESS;

    if (run->refused) {
        mdm_log(run->ctx, MDM_LOG_ERR, "MDM0500", 0, "Apple's push service refuses the push certificate or its topic: %s; "
                "pushes stop until it is renewed", run->refused);
        rv = tell(db, "push.refused", MDM_MSG_ERROR,
                  mdm_said(p, "said_push_refused", run->refused, NULL));
        rv = rv == APR_SUCCESS ? mdm_push_stopped_set(db, run->conf, run->refused) : rv;
        run->refused = NULL;
    }
    if (rv == APR_SUCCESS && run->fault) {
        mdm_log(run->ctx, MDM_LOG_ERR, "MDM0501", 0, "Apple's push service refuses our request: %s", run->fault);
        rv = tell(db, "push.fault", MDM_MSG_ERROR,
                  mdm_said(p, "said_push_fault", run->fault, NULL));
        run->fault = NULL;
    }
    if (rv == APR_SUCCESS && run->foreign >= FOREIGN_MANY) {
        rv = tell(db, "push.topic", MDM_MSG_ERROR, mdm_said(p, "said_push_topic", NULL));
        run->foreign = -1000000; /* once in a run */
    }
    return rv;
}

static void settle_begin(run_t *run)
{
    for (batch_t *b = run->batches; b; b = b->next) {
        b->sent = json_array();
        b->released = json_array();
    }
}

static apr_status_t settle_lists(run_t *run, mdm_db_t *db, apr_status_t rv)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;

    for (batch_t *b = run->batches; b; b = b->next) {
        if (rv == APR_SUCCESS && json_array_size(b->sent)) {
            rv = mdm_q_push_forget(db, mdm_json_text(p, b->sent), b->owner, NULL);
        }
        if (rv == APR_SUCCESS && json_array_size(b->released)) {
            rv = mdm_q_push_release(db, mdm_json_text(p, b->released), b->owner, NULL);
        }
    }
    return rv;
}

/* Frees what is settled. If the database was away the leases run out and the rows are pushed again: harmless. */
static void settle_end(run_t *run)
{
    item_t *item;
    batch_t **at, *b;

    while ((item = shift(&run->ended, &run->ended_at)) != NULL) {
        item->batch->left--;
    }
    run->nended = 0;
    for (at = &run->batches; (b = *at) != NULL;) {
        json_decref(b->sent);
        json_decref(b->released);
        b->sent = b->released = NULL;
        if (b->left == 0) {
            *at = b->next;
            apr_pool_destroy(b->ctx->pool);
        } else {
            at = &b->next;
        }
    }
}

static apr_status_t settle(run_t *run)
{
    mdm_ctx_t *ctx = mdm_ctx_sub(run->ctx);
    int sent = run->sent;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    settle_begin(run);
    if (rv == APR_SUCCESS) {
        rv = mdm_db_begin(db);
        for (item_t *item = run->ended; rv == APR_SUCCESS && item; item = item->next) {
            rv = settle_one(run, db, item);
        }
        rv = settle_lists(run, db, rv);
        if (rv == APR_SUCCESS && run->conf->stopped && run->sent > sent) {
            rv = mdm_push_stopped_set(db, run->conf, NULL);
            run->conf->stopped = NULL;
        }
        rv = rv == APR_SUCCESS ? tell_all(run, db) : rv;
        rv = mdm_db_end(db, rv);
        mdm_db_close(db);
    }
    settle_end(run);
    apr_pool_destroy(ctx->pool);
    if (rv != APR_SUCCESS) {
        run->sent = sent;
    }
    return rv;
}

/* ---------------------------------------------------------------- the run */

static void ended(run_t *run, mdm_http_req_t *req)
{
    item_t *item = req->baton;
    const char *reason;
    apr_int64_t pause;

    run->under_way--;
    if (!run->nended++) {
        run->ended_ms = mdm_now_ms(run->ctx);
    }
    append(&run->ended_at, item);
    note_way(run, req);
    if (req->rv == APR_SUCCESS
        && mdm_push_judge(item->batch->ctx, req, item->row->token_ms, 0, &reason, &pause) == MDM_PUSH_STOP) {
        if (!run->halt || !run->refused) {
            run->refused = apr_pstrdup(run->ctx->pool, reason);
        }
        run->halt = 1;
    }
}

static void send_ready(run_t *run)
{
    int may = allowed(run);

    while (run->ready && !run->halt && may-- > 0 && run->wire->room(run->wire->baton) > 0) {
        item_t *item = shift(&run->ready, &run->ready_at);

        run->under_way++;
        run->state->window_sent++;
        run->wire->add(run->wire->baton, item->batch->ctx, item->req);
    }
}

/* Everything that was not sent ends as "not tried". */
static void give_up_ready(run_t *run)
{
    item_t *item;

    while ((item = shift(&run->ready, &run->ready_at)) != NULL) {
        item->req->rv = APR_EINTR;
        append(&run->ended_at, item);
        run->nended++;
    }
}

static void collect(run_t *run, int wait_ms)
{
    mdm_http_req_t *req = run->wire->step(run->wire->baton, run->ctx, wait_ms);

    while (req) {
        ended(run, req);
        req = run->nended < MDM_PUSH_BATCH && run->under_way ? run->wire->step(run->wire->baton, run->ctx, 0) : NULL;
    }
}

static int may_claim(const run_t *run, int found, apr_int64_t now)
{
    if (run->halt || run->ready || now > run->begun_ms + RUN_MS || (run->under_way && how_many(run) == 1)) {
        return 0;
    }
    return found || !run->under_way || now >= run->looked_ms + LOOK_MS || now < run->looked_ms;
}

static apr_status_t stream(run_t *run, volatile int *stop)
{
    apr_status_t rv = APR_SUCCESS;
    int found = 1; /* the last look found something */

    for (;;) {
        apr_int64_t now = mdm_now_ms(run->ctx);

        if (stop && *stop && !run->left) {
            run->halt = run->left = 1;
            run->wire->abandon(run->wire->baton);
        }
        if (!run->conf || may_claim(run, found, now)) {
            rv = claim(run);
            found = rv == APR_SUCCESS;
            if (!found && !APR_STATUS_IS_NOTFOUND(rv)) {
                run->halt = 1;
            } else {
                rv = APR_SUCCESS;
            }
        }
        send_ready(run);
        if (run->halt) {
            give_up_ready(run);
        }
        if (run->under_way || run->ready) {
            collect(run, STEP_MS);
        }
        if (run->nended && (run->nended >= MDM_PUSH_BATCH || !run->under_way || mdm_now_ms(run->ctx) >= run->ended_ms + SETTLE_MS)) {
            apr_status_t rs = settle(run);
            if (rs != APR_SUCCESS) {
                rv = rs;
                run->halt = 1;
            }
        }
        if (!run->under_way && !run->ready && !run->nended && (!found || run->halt || now > run->begun_ms + RUN_MS)) {
            return rv;
        }
    }
}

apr_status_t mdm_push_run(mdm_ctx_t *ctx, const mdm_push_server_t *server, const mdm_push_wire_t *wire, mdm_push_state_t *state,
                          volatile int *stop, int *sent, int *more)
{
    run_t run = {.ctx = ctx, .server = server, .wire = wire, .state = state, .begun_ms = mdm_now_ms(ctx)};
    apr_status_t rv;

    run.ready_at = &run.ready;
    run.ended_at = &run.ended;
    rv = stream(&run, stop);
    *sent = run.sent;
    *more = !run.halt && mdm_now_ms(ctx) > run.begun_ms + RUN_MS;
    return rv;
}
