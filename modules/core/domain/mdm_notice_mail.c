/* The way out by mail. */
#include "domain/mdm_notice_priv.h"

#include "wire/mdm_mail.h"
#include "wire/mdm_qr.h"

#define NO_ADDRESS "There is no person any more, or no mail address that can be used."

static apr_status_t open_way(mdm_notice_sending_t *r, mdm_db_t *db)
{
    mdm_notice_conf_t *conf = NULL;
    apr_status_t rv = mdm_notice_conf(db, &conf);

    r->conf = conf;
    return rv;
}

static apr_status_t compose(mdm_ctx_t *ctx, const mdm_notice_conf_t *conf, const mdm_notice_try_t *t, mdm_smtp_msg_t *m)
{
    mdm_mail_t mail = {.from = conf->from, .from_name = conf->from_name, .to = t->to, .to_name = t->name, .subject = t->text.subject,
                             .text = t->text.text, .html = t->text.html, .language = t->text.language, .id = t->row->id, .date_ms = t->row->created_ms};

    apr_status_t rv = t->qr ? mdm_qr_png(ctx, t->qr, &mail.png) : APR_SUCCESS;

    m->from = conf->from;
    m->to = t->to;
    return rv != APR_SUCCESS ? rv : mdm_mail_compose(ctx, &mail, &m->body);
}

static apr_status_t send_mail(mdm_notice_sending_t *r, mdm_ctx_t *ctx, mdm_notice_try_t *t)
{
    static const mdm_notice_result_e results[] = {[MDM_SMTP_SENT] = MDM_NOTICE_SENT, [MDM_SMTP_REFUSED] = MDM_NOTICE_REFUSED,
                                                  [MDM_SMTP_LATER] = MDM_NOTICE_LATER, [MDM_SMTP_AWAY] = MDM_NOTICE_AWAY};
    mdm_notice_conf_t *conf = r->conf;
    mdm_smtp_t *smtp = r->link;
    mdm_smtp_msg_t m = {.result = MDM_SMTP_REFUSED};
    apr_status_t rv;

    t->words = NO_ADDRESS;
    if (!mdm_mail_address_ok(t->to)) {
        return MDM_EINPUT;
    }
    rv = compose(ctx, conf, t, &m);
    if (rv == APR_SUCCESS && !smtp) {
        rv = mdm_notice_smtp(r->ctx, conf, r->how->ca_file, NULL, &smtp);
        rv = rv == MDM_EINPUT ? MDM_EUNAVAIL : rv; /* the settings are at fault, no message is */
        r->link = smtp;
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    mdm_smtp_send(ctx, smtp, &m, r->job->stop);
    t->result = results[m.result];
    t->touched = m.step >= MDM_SMTP_AT_RECIPIENT;
    t->step = mdm_smtp_step_name(m.step);
    t->words = m.words;
    return APR_SUCCESS;
}

static void close_way(mdm_notice_sending_t *r)
{
    if (r->link) {
        mdm_smtp_close(r->link);
    }
}

const mdm_notice_way_t mdm_notice_mail_way = {
    .channel = "mail", .job = MDM_NOTICE_JOB, .away = "smtp.away", .object = "smtp", .code = "mail.away", .said = "said_mail_away",
    .name = "the mail server", .unset = "No mail server is set.", .lost = "The mail server was away for too long.",
    .open = open_way, .send = send_mail, .close = close_way};
