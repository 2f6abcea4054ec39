/* The way out by SMS: as fast as the settings allow, at most so many a day. */
#include "domain/mdm_notice_priv.h"

#include <apr_strings.h>

#include "base/mdm_wait.h"
#include "domain/mdm_sms_conf.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define NAP apr_time_from_msec(20)

typedef struct link_t {
    mdm_sms_conf_t *conf;
    mdm_http_t *http;
    apr_int64_t sent; /* today */
    apr_int64_t day;  /* which one that is */
    apr_time_t last;  /* when a request went out */
} link_t;

static apr_status_t open_way(mdm_notice_sending_t *r, mdm_db_t *db)
{
    link_t *link = apr_pcalloc(r->ctx->pool, sizeof(*link));
    mdm_q_notice_sms_sent_t *sent = NULL;
    apr_status_t rv = mdm_sms_conf(db, &link->conf);

    r->conf = link->conf;
    r->link = link;
    link->day = mdm_now_ms(r->ctx) / DAY_MS;
    if (rv == APR_SUCCESS && (rv = mdm_q_notice_sms_sent(db, link->day * DAY_MS, &sent)) == APR_SUCCESS) {
        link->sent = sent->n;
    }
    return rv == APR_SUCCESS ? mdm_sms_client(r->ctx, link->conf, r->how->ca_file, &link->http) : rv;
}

/* 0: no more today; t says so. */
static int cap_left(mdm_notice_sending_t *r, link_t *link, mdm_notice_try_t *t)
{
    apr_int64_t now = mdm_now_ms(r->ctx), day = now / DAY_MS;

    link->sent = day == link->day ? link->sent : 0;
    link->day = day;
    if (!link->conf->daily_cap || link->sent < link->conf->daily_cap) {
        return 1;
    }
    t->result = MDM_NOTICE_AWAY;
    t->step = "cap";
    t->words = apr_psprintf(r->ctx->pool, "So many messages as the settings allow for a day (%d) have been sent.", link->conf->daily_cap);
    t->wait_ms = (day + 1) * DAY_MS - now;
    return 0;
}

static void pace(mdm_notice_sending_t *r, link_t *link)
{
    apr_time_t next = link->last + apr_time_from_sec(1) / link->conf->per_second;

    while (link->last && mdm_ticks() < next && !mdm_job_stopping(r->job)) {
        apr_sleep(next - mdm_ticks() < NAP ? next - mdm_ticks() : NAP);
    }
    link->last = mdm_ticks();
}

static apr_status_t send_sms(mdm_notice_sending_t *r, mdm_ctx_t *ctx, mdm_notice_try_t *t)
{
    static const mdm_notice_result_e results[] = {[MDM_SMS_SENT] = MDM_NOTICE_SENT, [MDM_SMS_REFUSED] = MDM_NOTICE_REFUSED,
                                                  [MDM_SMS_AWAY] = MDM_NOTICE_AWAY};
    const mdm_sms_t m = {t->to, t->text.sms, t->row->id};
    link_t *link = r->link;
    mdm_http_req_t req, *list = &req;
    mdm_sms_said_t said;

    if (mdm_sms_allowed(ctx, link->conf, t->to) != APR_SUCCESS) {
        t->words = apr_pstrcat(ctx->pool, "The number ", ctx->fail_text, ".", NULL);
        return MDM_EINPUT;
    }
    if (!cap_left(r, link, t)) {
        return APR_SUCCESS;
    }
    pace(r, link);
    mdm_sms_request(ctx->pool, &link->conf->gate, &m, &req);
    mdm_http_run(ctx, link->http, &list, 1, r->job->stop);
    mdm_sms_judge(ctx, &link->conf->gate, &m, &req, &said);
    t->result = results[said.result];
    t->touched = said.touched;
    t->step = "request";
    t->words = said.words;
    t->ref = said.ref;
    t->wait_ms = said.wait_ms;
    link->sent += said.result == MDM_SMS_SENT;
    return APR_SUCCESS;
}

const mdm_notice_way_t mdm_notice_sms_way = {
    .channel = "sms", .job = MDM_NOTICE_SMS_JOB, .away = "sms.away", .object = "sms", .code = "sms.away", .said = "said_sms_away",
    .name = "the SMS gateway", .unset = "No SMS gateway is set.", .lost = "The SMS gateway was away for too long.",
    .open = open_way, .send = send_sms};
