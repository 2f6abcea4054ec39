/* The job that sends what waits. No connection to the database is held while the mail server is asked. */
#include "domain/mdm_notice_priv.h"

#include <string.h>
#include <apr_strings.h>
#include <apr_uri.h>

#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"
#include "wire/mdm_http.h"
#include "wire/mdm_mail.h"

#define BATCH 20
#define LEASE_MS 120000LL
#define BATCH_MS 60000LL            /* the last message of a batch begins within this: it ends before the lease does */
#define LATER_BASE_MS 60000LL       /* of one message */
#define LATER_CAP_MS (4 * 3600000LL)
#define AWAY_BASE_MS 15000LL        /* of the server */
#define AWAY_CAP_MS (30 * 60000LL)
#define AWAY_TELL 3                 /* tries in vain until administrators are told */
#define SOON_MS 5000LL
#define GIVE_UP_ROWS 500
#define NO_SERVER "No mail server is set."
#define NO_ADDRESS "There is no person any more, or no mail address that can be used."
#define TEXTS_MAX 128

typedef struct run_t {
    mdm_ctx_t *ctx;
    mdm_job_t *job;
    const mdm_notice_run_t *how;
    mdm_notice_conf_t *conf;  /* NULL: none is set */
    json_t *away;             /* NULL: the server is not known to be away */
    mdm_smtp_t *smtp;
    mdm_notice_text_t texts[TEXTS_MAX]; /* of the zone's language, in the order of mdm_notice_kinds */
    const char *mail_host;    /* that mail apps are given */
    apr_int64_t again_ms;     /* not before; 0: by what waits */
    int gone;                 /* the server took nothing: the run is over */
    int sent, failed, later;
} run_t;

typedef mdm_q_notice_rows_t row_t;

/* ---------------------------------------------------------------- what is needed */

static apr_status_t give_up(mdm_db_t *db, const char *why)
{
    apr_int64_t now = mdm_now_ms(mdm_db_ctx(db));
    int n = GIVE_UP_ROWS;
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && n == GIVE_UP_ROWS) {
        rv = mdm_q_notice_give_up(db, now, why, GIVE_UP_ROWS, &n);
    }
    return rv;
}

static apr_status_t read_texts(run_t *r, mdm_db_t *db)
{
    apr_status_t rv = APR_SUCCESS;

    for (int i = 0; rv == APR_SUCCESS && mdm_notice_kinds[i].event && i < TEXTS_MAX; i++) {
        rv = mdm_notice_text(db, &mdm_notice_kinds[i], r->conf->language, &r->texts[i]);
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
    rv = mdm_notice_conf(db, &r->conf);
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        r->conf = NULL;
        rv = APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = give_up(db, r->conf ? "The mail server was away for too long." : NO_SERVER);
    }
    if (rv == APR_SUCCESS && r->conf) {
        rv = mdm_setting_get(db, MDM_NOTICE_AWAY, &r->away);
        rv = APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
    }
    if (rv == APR_SUCCESS && r->conf) {
        rv = read_texts(r, db);
    }
    if (rv == APR_SUCCESS && r->conf) {
        rv = read_host(r, db);
    }
    mdm_db_close(db);
    return rv;
}

/* ---------------------------------------------------------------- one message */

/* What the templates may name. */
static apr_status_t values_of(run_t *r, mdm_ctx_t *ctx, const row_t *n, const mdm_notice_kind_t *kind, const char *name, json_t **out)
{
    json_t *values = NULL;
    mdm_q_eas_account_t *account;
    mdm_db_t *db;
    apr_status_t rv = mdm_json_parse(ctx, n->vars, strlen(n->vars), &values);

    values = rv == APR_SUCCESS && json_is_object(values) ? values : mdm_json_own(ctx, json_object());
    json_object_set_new(values, "to.name", json_string(name));
    json_object_set_new(values, "device.name", json_string(n->device_name));
    json_object_set_new(values, "portal.url", json_string(apr_pstrcat(ctx->pool, r->how->public_url, "/enroll/", NULL)));
    *out = values;
    if (!n->person_id || !strstr(kind->vars, " mail.server ")) {
        return APR_SUCCESS;
    }
    if ((rv = mdm_db_open(ctx, &db)) != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_eas_account(db, n->person_id, &account);
    mdm_db_close(db);
    if (rv == APR_SUCCESS) {
        int whole = account->simple || !account->domain;

        json_object_set_new(values, "mail.server", json_string(r->mail_host));
        json_object_set_new(values, "mail.address", json_string(account->mail));
        json_object_set_new(values, "mail.user", json_string(whole ? account->login
                                                                   : apr_pstrcat(ctx->pool, account->domain, "\\", account->login, NULL)));
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

/* MDM_EINPUT: nobody can be told. */
static apr_status_t compose(run_t *r, mdm_ctx_t *ctx, const row_t *n, mdm_smtp_msg_t *m, const char **name)
{
    const mdm_notice_kind_t *kind = mdm_notice_kind(n->event);
    mdm_notice_text_t text;
    mdm_mail_t mail;
    json_t *values;
    apr_status_t rv;

    *name = n->person_id ? (n->person_name ? n->person_name : "") : n->to_name;
    m->from = r->conf->from;
    m->to = n->person_id ? (n->person_mail ? n->person_mail : "") : n->mail;
    if (!kind || !mdm_mail_address_ok(m->to)) {
        return MDM_EINPUT;
    }
    if ((rv = values_of(r, ctx, n, kind, *name, &values)) != APR_SUCCESS) {
        return rv;
    }
    mdm_notice_render(ctx->pool, &r->texts[kind - mdm_notice_kinds], values, &text);
    mail = (mdm_mail_t){.from = m->from, .from_name = r->conf->from_name, .to = m->to, .to_name = *name, .subject = text.subject, .text = text.text,
                        .html = text.html, .language = text.language, .id = n->id, .date_ms = n->created_ms};
    return mdm_mail_compose(ctx, &mail, &m->body);
}

static apr_status_t settle(run_t *r, mdm_ctx_t *ctx, const row_t *n, const mdm_smtp_msg_t *m, const char *name)
{
    apr_int64_t now = mdm_now_ms(ctx);
    int ends = m->result == MDM_SMTP_SENT || m->result == MDM_SMTP_REFUSED;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (ends) {
        rv = mdm_q_notice_done(db, n->id, r->job->lease_owner, m->result == MDM_SMTP_SENT ? "sent" : "failed", name, m->to,
                               m->result == MDM_SMTP_SENT ? "" : m->words, now, NULL);
    } else {
        rv = mdm_q_notice_later(db, n->id, r->job->lease_owner, now + mdm_backoff_ms((int)n->attempts, LATER_BASE_MS, LATER_CAP_MS), m->words, NULL);
    }
    mdm_db_close(db);
    *(ends ? m->result == MDM_SMTP_SENT ? &r->sent : &r->failed : &r->later) += 1;
    if (m->result == MDM_SMTP_REFUSED) {
        mdm_log(ctx, MDM_LOG_INFO, "MDM0094", 0, "a notice (%s) can't be delivered to %s: %s", n->event, mdm_mask(ctx->pool, m->to), m->words);
    }
    return rv;
}

/* ---------------------------------------------------------------- the server */

static apr_status_t write_away(run_t *r, const mdm_smtp_msg_t *m)
{
    apr_int64_t now = mdm_now_ms(r->ctx), since = json_integer_value(json_object_get(r->away, "since"));
    int tries = (int)json_integer_value(json_object_get(r->away, "tries"));
    json_t *note;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(r->ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    r->again_ms = now + mdm_backoff_ms(tries, AWAY_BASE_MS, AWAY_CAP_MS);
    note = mdm_json_own(r->ctx, json_pack("{s:I, s:I, s:i, s:s}", "since", (json_int_t)(since ? since : now), "next", (json_int_t)r->again_ms, "tries",
                                          tries + 1, "why", m->words));
    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS) {
        rv = mdm_setting_set(db, MDM_NOTICE_AWAY, note, 0);
    }
    if (rv == APR_SUCCESS && tries + 1 == AWAY_TELL) {
        rv = mdm_message(db, "zone", "smtp", MDM_MSG_WARNING, "mail.away",
                         mdm_said(r->ctx->pool, "said_mail_away", mdm_smtp_step_name(m->step), m->words, NULL));
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    mdm_log(r->ctx, tries ? MDM_LOG_INFO : MDM_LOG_NOTICE, "MDM0092", 0, "the mail server takes no mail (%s): %s", mdm_smtp_step_name(m->step), m->words);
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
        rv = mdm_notice_back(db);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    if (rv == APR_SUCCESS) {
        r->away = NULL;
        mdm_log(r->ctx, MDM_LOG_NOTICE, "MDM0093", 0, "the mail server takes mail again");
    }
    return rv;
}

/* A message that the server took or judged shows that it is there. */
static apr_status_t one(run_t *r, mdm_ctx_t *ctx, const row_t *n)
{
    mdm_smtp_msg_t m = {.result = MDM_SMTP_REFUSED, .words = NO_ADDRESS};
    const char *name = "";
    apr_status_t rv = compose(r, ctx, n, &m, &name);

    if (rv == MDM_EINPUT) {
        return settle(r, ctx, n, &m, name);
    }
    if (rv != APR_SUCCESS || (!r->smtp && (rv = mdm_notice_smtp(r->ctx, r->conf, r->how->ca_file, NULL, &r->smtp)) != APR_SUCCESS)) {
        return rv;
    }
    mdm_smtp_send(ctx, r->smtp, &m, r->job->stop);
    if (m.result != MDM_SMTP_AWAY) {
        rv = settle(r, ctx, n, &m, name);
        return rv == APR_SUCCESS && r->away ? write_back(r) : rv;
    }
    r->gone = 1;
    if (mdm_job_stopping(r->job)) {
        return APR_SUCCESS;
    }
    /* it may be this message that ends the connection: it stands in nobody's way */
    rv = m.step >= MDM_SMTP_AT_RECIPIENT ? settle(r, ctx, n, &m, name) : APR_SUCCESS;
    return rv == APR_SUCCESS ? write_away(r, &m) : rv;
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
    rv = mdm_q_notice_claim(db, r->job->lease_owner, now + LEASE_MS, now, BATCH, &claimed);
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
    rv = mdm_q_notice_next(db, &next);
    mdm_db_close(db);
    if (rv == APR_SUCCESS) {
        r->again_ms = next->due_ms > now ? next->due_ms : now + SOON_MS;
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

apr_status_t mdm_notice_run(mdm_ctx_t *ctx, mdm_job_t *job, const mdm_notice_run_t *how)
{
    run_t r = {.ctx = ctx, .job = job, .how = how};
    int more = 1;
    apr_status_t rv = begin(&r);

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
    if (r.smtp) {
        mdm_smtp_close(r.smtp);
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
