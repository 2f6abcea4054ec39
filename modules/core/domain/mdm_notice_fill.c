/* What a notice says when it is sent: the text of its language, and values that are read only now, secrets among them. */
#include "domain/mdm_notice_priv.h"

#include <string.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_enroll_conf.h"
#include "domain/mdm_otp.h"

static void put(json_t *values, const char *name, const char *value)
{
    json_object_set_new(values, name, json_string(value));
}

static const char *text_of(const char *s)
{
    return s ? s : "";
}

/* "2031-05-12 16:30 UTC" */
static const char *minute_text(apr_pool_t *p, apr_int64_t ms)
{
    const char *t = mdm_time_text(p, ms);

    return apr_psprintf(p, "%.10s %.5s UTC", t, t + 11);
}

static apr_status_t mail_values(mdm_notice_sending_t *r, mdm_db_t *db, const char *person_id, json_t *values)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    mdm_q_eas_account_t *account;
    apr_status_t rv = mdm_q_eas_account(db, person_id, &account);

    if (rv == APR_SUCCESS) {
        int whole = account->simple || !account->domain;

        put(values, "mail.server", r->mail_host);
        put(values, "mail.address", account->mail);
        put(values, "mail.user", whole ? account->login : apr_pstrcat(p, account->domain, "\\", account->login, NULL));
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

/* The secrets of an enrolment that is still open. */
static apr_status_t secret_values(mdm_notice_sending_t *r, mdm_db_t *db, const mdm_pending_t *pending, json_t *values)
{
    const char *token = NULL, *otp = NULL;
    apr_status_t rv;

    if (!mdm_pending_open(pending)) {
        return APR_SUCCESS;
    }
    if ((rv = mdm_pending_token(db, pending->id, &token)) == APR_SUCCESS) {
        put(values, "enrol.token", token);
        put(values, "enrol.link", mdm_enroll_link(mdm_db_ctx(db)->pool, r->base, token, NULL));
        json_object_set(values, "enrol.qr", json_object_get(values, "enrol.link"));
        rv = mdm_otp_reveal(db, pending->id, &otp);
        if (rv == APR_SUCCESS) {
            put(values, "enrol.otp", mdm_otp_grouped(mdm_db_ctx(db)->pool, otp));
        }
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

static apr_status_t pending_values(mdm_notice_sending_t *r, mdm_db_t *db, const mdm_notice_kind_t *kind, const mdm_q_notice_rows_t *n, json_t *values)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    mdm_pending_t *pending;
    apr_status_t rv = mdm_pending_get(db, n->pending_id, &pending);

    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
    }
    put(values, "person.name", pending->person_name ? pending->person_name : "");
    put(values, "person.login", pending->person_login ? pending->person_login : "");
    put(values, "admin.name", n->created_by ? n->created_by : "");
    put(values, "enrol.ownership", pending->ownership);
    put(values, "enrol.expires", minute_text(p, pending->expires_ms));
    if (pending->early) {
        put(values, "enrol.from", minute_text(p, pending->valid_from_ms));
    }
    return strstr(kind->vars, " enrol.link ") ? secret_values(r, db, pending, values) : APR_SUCCESS;
}

static int language_index(const char *language)
{
    int i = 0;

    while (i < MDM_NOTICE_LANGUAGES - 1 && strcmp(mdm_notice_languages[i], language) != 0) {
        i++;
    }
    return i;
}

static apr_status_t find_text(mdm_notice_sending_t *r, mdm_db_t *db, const mdm_notice_kind_t *kind, const char *language, const mdm_notice_text_t **out)
{
    int lang = language_index(language);
    mdm_notice_text_t **slot = &r->texts[lang][kind - mdm_notice_kinds], t;
    apr_pool_t *p = r->ctx->pool; /* as long as the run */
    apr_status_t rv = APR_SUCCESS;

    if (!*slot && (rv = mdm_notice_text(db, kind, mdm_notice_languages[lang], &t)) == APR_SUCCESS) {
        *slot = apr_palloc(p, sizeof(**slot));
        **slot = (mdm_notice_text_t){apr_pstrdup(p, t.language), apr_pstrdup(p, t.subject), apr_pstrdup(p, t.text), apr_pstrdup(p, t.html),
                                     apr_pstrdup(p, t.sms)};
    }
    *out = *slot;
    return rv;
}

static apr_status_t read_values(mdm_notice_sending_t *r, mdm_db_t *db, const mdm_notice_kind_t *kind, const mdm_notice_try_t *t, json_t *values)
{
    const mdm_q_notice_rows_t *n = t->row;
    apr_status_t rv = APR_SUCCESS;

    if (n->person_id && strstr(kind->vars, " mail.server ")) {
        rv = mail_values(r, db, n->person_id, values);
    }
    if (rv == APR_SUCCESS && n->pending_id) {
        rv = pending_values(r, db, kind, n, values);
    }
    return rv;
}

apr_status_t mdm_notice_fill(mdm_notice_sending_t *r, mdm_ctx_t *ctx, mdm_notice_try_t *t)
{
    const mdm_notice_kind_t *kind = mdm_notice_kind(t->row->event);
    const mdm_notice_text_t *text = NULL;
    json_t *values = NULL;
    mdm_db_t *db;
    apr_status_t rv = mdm_json_parse(ctx, t->row->vars, strlen(t->row->vars), &values);

    values = rv == APR_SUCCESS && json_is_object(values) ? values : mdm_json_own(ctx, json_object());
    put(values, "to.name", t->name);
    put(values, "to.login", text_of(t->row->person_login));
    put(values, "device.name", t->row->device_name);
    put(values, "device.model", text_of(t->row->device_model));
    put(values, "device.platform", text_of(t->row->device_platform));
    put(values, "org.name", r->zone->org);
    put(values, "support.mail", r->zone->support_mail);
    put(values, "support.phone", r->zone->support_phone);
    put(values, "portal.url", mdm_enroll_link(ctx->pool, r->base, "", NULL));
    if (!kind) {
        return MDM_EINPUT;
    }
    if ((rv = mdm_db_open(ctx, &db)) != APR_SUCCESS) {
        return rv;
    }
    rv = read_values(r, db, kind, t, values);
    if (rv == APR_SUCCESS) {
        rv = find_text(r, db, kind, t->row->language && *t->row->language ? t->row->language : r->zone->language, &text);
    }
    mdm_db_close(db);
    if (rv == APR_SUCCESS && !mdm_notice_tellable(kind, values)) {
        rv = MDM_EINPUT;
    }
    if (rv == APR_SUCCESS) {
        mdm_notice_render(ctx->pool, text, values, &t->text);
        t->qr = mdm_notice_qr(text, values);
    }
    return rv;
}
