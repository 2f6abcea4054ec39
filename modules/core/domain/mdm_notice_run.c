/* The jobs that send what waits, one for each way out. No connection to the database is held while the other side is asked. */
#include "domain/mdm_notice_priv.h"

#include <string.h>
#include <apr_strings.h>
#include <apr_uri.h>

#include "base/mdm_json.h"
#include "domain/mdm_enroll_conf.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_said.h"
#include "wire/mdm_http.h"

#define BATCH 20
#define LEASE_MS 120000LL
#define BATCH_MS 60000LL            /* the last message of a batch begins within this: it ends before the lease does */
#define LATER_BASE_MS 60000LL       /* of one message */
#define LATER_CAP_MS (4 * 3600000LL)
#define AWAY_BASE_MS 15000LL        /* of the other side */
#define AWAY_CAP_MS (30 * 60000LL)
#define AWAY_TELL 3                 /* tries in vain until administrators are told */
#define SOON_MS 5000LL
#define GIVE_UP_ROWS 500
#define OVER "What this was to tell is not there any more: the enrolment is over, or has another one-time password."

typedef mdm_notice_sending_t run_t;
typedef mdm_q_notice_rows_t row_t;

static const mdm_notice_way_t *const ways[] = {&mdm_notice_mail_way, &mdm_notice_sms_way};

/* ---------------------------------------------------------------- what is needed */

static apr_status_t give_up(run_t *r, mdm_db_t *db)
{
    apr_int64_t now = mdm_now_ms(mdm_db_ctx(db));
    int n = GIVE_UP_ROWS;
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && n == GIVE_UP_ROWS) {
        rv = mdm_q_notice_give_up(db, r->way->channel, now, r->conf ? r->way->lost : r->way->unset, GIVE_UP_ROWS, &n);
    }
    return rv;
}

static apr_status_t read_host(run_t *r, mdm_db_t *db)
{
    apr_uri_t uri = {0};
    json_t *value;
    apr_status_t rv = mdm_setting_get(db, "eas.public_host", &value);

    r->mail_host = "";
    if (rv == APR_SUCCESS && json_is_string(value) && *json_string_value(value)) {
        r->mail_host = apr_pstrdup(r->ctx->pool, json_string_value(value));
    } else if (apr_uri_parse(r->ctx->pool, r->how->public_url, &uri) == APR_SUCCESS && uri.hostinfo) {
        r->mail_host = uri.hostinfo;
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

static apr_status_t begin(run_t *r)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(r->ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = r->way->open(r, db);
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        r->conf = NULL;
        rv = APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = give_up(r, db);
    }
    if (rv == APR_SUCCESS && r->conf) {
        rv = mdm_setting_get(db, r->way->away, &r->away);
        rv = APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
    }
    if (rv == APR_SUCCESS && r->conf) {
        mdm_notice_zone_t *zone;

        rv = mdm_notice_zone(db, &zone);
        r->zone = zone;
    }
    if (rv == APR_SUCCESS && r->conf) {
        rv = read_host(r, db);
    }
    if (rv == APR_SUCCESS && r->conf) {
        rv = mdm_enroll_base(db, r->how->public_url, &r->base);
    }
    mdm_db_close(db);
    return rv;
}

/* ---------------------------------------------------------------- one message */

static apr_status_t settle(run_t *r, mdm_ctx_t *ctx, const mdm_notice_try_t *t)
{
    apr_int64_t now = mdm_now_ms(ctx);
    int sent = t->result == MDM_NOTICE_SENT, ends = sent || t->result == MDM_NOTICE_REFUSED;
    int is_mail = r->way == &mdm_notice_mail_way;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (ends) {
        rv = mdm_q_notice_done(db, t->row->id, r->job->lease_owner, sent ? "sent" : "failed", t->name, is_mail ? t->to : "", t->ref,
                               sent ? "" : t->words, now, NULL);
    } else {
        rv = mdm_q_notice_later(db, t->row->id, r->job->lease_owner, now + mdm_backoff_ms((int)t->row->attempts, LATER_BASE_MS, LATER_CAP_MS), t->words,
                                NULL);
    }
    mdm_db_close(db);
    *(ends ? sent ? &r->sent : &r->failed : &r->later) += 1;
    if (t->result == MDM_NOTICE_REFUSED) {
        mdm_log(ctx, MDM_LOG_INFO, "MDM0094", 0, "a notice (%s) can't be delivered to %s: %s", t->row->event, mdm_mask(ctx->pool, t->to), t->words);
    }
    return rv;
}

/* ---------------------------------------------------------------- the other side */

static apr_status_t write_away(run_t *r, const mdm_notice_try_t *t)
{
    apr_int64_t now = mdm_now_ms(r->ctx), since = json_integer_value(json_object_get(r->away, "since"));
    int tries = (int)json_integer_value(json_object_get(r->away, "tries"));
    apr_int64_t ours = mdm_backoff_ms(tries, AWAY_BASE_MS, AWAY_CAP_MS);
    json_t *note;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(r->ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    r->again_ms = now + (t->wait_ms > ours ? t->wait_ms : ours);
    note = mdm_json_own(r->ctx, json_pack("{s:I, s:I, s:i, s:s}", "since", (json_int_t)(since ? since : now), "next", (json_int_t)r->again_ms, "tries",
                                          tries + 1, "why", t->words));
    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS) {
        rv = mdm_setting_set(db, r->way->away, note, 0);
    }
    if (rv == APR_SUCCESS && tries + 1 == AWAY_TELL) {
        rv = mdm_message(db, "zone", r->way->object, MDM_MSG_WARNING, r->way->code, mdm_said(r->ctx->pool, r->way->said, t->step, t->words, NULL));
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    mdm_log(r->ctx, tries ? MDM_LOG_INFO : MDM_LOG_NOTICE, "MDM0092", 0, "%s takes nothing (%s): %s", r->way->name, t->step, t->words);
    return rv;
}

static apr_status_t write_back(run_t *r)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(r->ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS) {
        rv = mdm_notice_back(db, r->way);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    if (rv == APR_SUCCESS) {
        r->away = NULL;
        mdm_log(r->ctx, MDM_LOG_NOTICE, "MDM0093", 0, "%s takes notices again", r->way->name);
    }
    return rv;
}

static const char *address_of(const run_t *r, const row_t *n)
{
    const char *to = r->way != &mdm_notice_mail_way ? n->phone : n->person_id ? n->person_mail : n->mail;

    return to ? to : "";
}

/* A message that the other side took or judged shows that it is there. */
static apr_status_t one(run_t *r, mdm_ctx_t *ctx, const row_t *n)
{
    mdm_notice_try_t t = {.row = n, .to = address_of(r, n), .result = MDM_NOTICE_REFUSED, .step = "", .words = OVER, .ref = ""};
    apr_status_t rv;

    t.name = n->person_id ? (n->person_name ? n->person_name : "") : n->to_name;
    rv = mdm_notice_fill(r, ctx, &t);
    if (rv == APR_SUCCESS) {
        rv = r->way->send(r, ctx, &t);
    }
    if (rv == MDM_EINPUT) { /* it can't be told: the other side was not asked */
        return settle(r, ctx, &t);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (t.result != MDM_NOTICE_AWAY) {
        rv = settle(r, ctx, &t);
        return rv == APR_SUCCESS && r->away ? write_back(r) : rv;
    }
    r->gone = 1;
    if (mdm_job_stopping(r->job)) {
        return APR_SUCCESS;
    }
    /* it may be this message that ends the connection: it stands in nobody's way */
    rv = t.touched ? settle(r, ctx, &t) : APR_SUCCESS;
    return rv == APR_SUCCESS ? write_away(r, &t) : rv;
}

/* ---------------------------------------------------------------- batches */

static apr_status_t claim(run_t *r, mdm_ctx_t *ctx, apr_array_header_t **rows, json_t **ids)
{
    apr_int64_t now = mdm_now_ms(ctx);
    apr_array_header_t *claimed;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    *ids = mdm_json_own(ctx, json_array());
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_notice_claim(db, r->way->channel, r->job->lease_owner, now + LEASE_MS, now, BATCH, &claimed);
    for (int i = 0; rv == APR_SUCCESS && i < claimed->nelts; i++) {
        json_array_append_new(*ids, json_string(APR_ARRAY_IDX(claimed, i, mdm_q_notice_claim_t).id));
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_notice_rows(db, mdm_json_text(ctx->pool, *ids), rows);
    }
    mdm_db_close(db);
    return rv;
}

static apr_status_t release(run_t *r, mdm_ctx_t *ctx, const json_t *ids)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_notice_release(db, r->job->lease_owner, mdm_json_text(ctx->pool, ids), NULL);
        mdm_db_close(db);
    }
    return rv;
}

/* *more: there may be others. */
static apr_status_t batch(run_t *r, mdm_ctx_t *ctx, int *more)
{
    apr_time_t began = apr_time_now();
    apr_array_header_t *rows = NULL;
    json_t *ids;
    int i = 0;
    apr_status_t rv = claim(r, ctx, &rows, &ids), released;

    *more = rv == APR_SUCCESS && rows->nelts > 0;
    for (; rv == APR_SUCCESS && i < rows->nelts && !r->gone && !mdm_job_stopping(r->job) && apr_time_as_msec(apr_time_now() - began) < BATCH_MS; i++) {
        mdm_ctx_t *sub = mdm_ctx_sub(ctx);

        rv = one(r, sub, &APR_ARRAY_IDX(rows, i, row_t));
        apr_pool_destroy(sub->pool);
    }
    if (json_array_size(ids) && (rv != APR_SUCCESS || r->gone || i < rows->nelts)) {
        released = release(r, ctx, ids); /* those that are settled have no lease any more */
        rv = rv == APR_SUCCESS ? released : rv;
    }
    return rv == APR_SUCCESS && *more ? mdm_job_progress(ctx, r->job, r->sent + r->failed, 0, r->how->lease_s) : rv;
}

/* When the next one is due; a lease that is still held is not waited for in a circle. */
static apr_status_t plan(run_t *r)
{
    apr_int64_t now = mdm_now_ms(r->ctx);
    mdm_q_notice_next_t *next;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(r->ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_notice_next(db, r->way->channel, &next);
    mdm_db_close(db);
    if (rv == APR_SUCCESS) {
        r->again_ms = next->due_ms > now ? next->due_ms : now + SOON_MS;
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

apr_status_t mdm_notice_run(mdm_ctx_t *ctx, mdm_job_t *job, const mdm_notice_run_t *how)
{
    run_t r = {.ctx = ctx, .job = job, .how = how, .way = ways[0]};
    int more = 1;
    apr_status_t rv;

    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        r.way = strcmp(ways[i]->job, job->kind) ? r.way : ways[i];
    }
    rv = begin(&r);

    if (rv != APR_SUCCESS || !r.conf) {
        return rv;
    }
    r.again_ms = json_integer_value(json_object_get(r.away, "next"));
    if (r.again_ms > mdm_now_ms(ctx)) {
        job->again_ms = r.again_ms;
        return APR_SUCCESS;
    }
    r.again_ms = 0;
    while (rv == APR_SUCCESS && more && !r.gone && !mdm_job_stopping(job)) {
        mdm_ctx_t *sub = mdm_ctx_sub(ctx);

        rv = batch(&r, sub, &more);
        apr_pool_destroy(sub->pool);
    }
    if (r.way->close) {
        r.way->close(&r);
    }
    if (rv == APR_SUCCESS && !r.again_ms) {
        rv = plan(&r);
    }
    if (r.sent + r.failed + r.later) {
        job->result = mdm_json_own(ctx, json_pack("{s:i, s:i, s:i}", "sent", r.sent, "failed", r.failed, "later", r.later));
    }
    job->again_ms = r.again_ms;
    return rv;
}
