/* What a link asks for before it hands out a profile: a one-time password, a log-in, both, or either (PEN-03, PEN-04). */
#include "enroll.h"

#include <apr_strings.h>
#include <http_core.h>

#include "domain/mdm_log_rows.h"
#include "domain/mdm_otp.h"
#include "domain/mdm_said.h"
#include "domain/mdm_session.h"

#define COOKIE "mdm_link" /* what a browser got that has given the right thing */

/* Whose session of the portal this browser has; NULL: nobody's. */
static apr_status_t session_person(mdm_web_call_t *call, mdm_db_t *db, const char **id)
{
    const char *token = mdm_web_cookie_get(call->r, MDM_COOKIE_PORTAL);
    mdm_session_t *s = NULL;
    apr_status_t rv = token && *token ? mdm_session_find(db, "portal", token, &s) : APR_NOTFOUND;

    *id = rv == APR_SUCCESS ? s->subject_id : NULL;
    return rv == APR_NOTFOUND || rv == MDM_EAUTH ? APR_SUCCESS : rv;
}

apr_status_t enroll_need(mdm_web_call_t *call, mdm_db_t *db, const mdm_pending_t *e, const char **need)
{
    const char *person;
    mdm_otp_conf_t *conf;
    apr_status_t rv = mdm_otp_conf(db, &conf);

    if (rv != APR_SUCCESS || (rv = session_person(call, db, &person)) != APR_SUCCESS) {
        return rv;
    }
    *need = mdm_otp_need(conf, e->platform, e->origin);
    if (mdm_otp_proved(call->ctx, conf, e, mdm_web_cookie_get(call->r, COOKIE), person)) {
        *need = "";
    }
    else if (!strcmp(*need, "both") && person && e->person_id && !strcmp(person, e->person_id)) {
        *need = "otp"; /* has logged in already */
    }
    return APR_SUCCESS;
}

int enroll_prove_page(mdm_web_call_t *call, const char *need)
{
    const char *self = enroll_link_path(call);
    int otp = strcmp(need, "password") != 0, login = strcmp(need, "otp") != 0, either = !strcmp(need, "either");
    enroll_page_t *page = enroll_page_begin(call, "prove.title", "prove.js");
    mdm_html_t *h = page->h;

    mdm_html_raw(h, "<section class=\"card narrow\"><h1>");
    enroll_page_text(page, "prove.title");
    mdm_html_raw(h, "</h1><p class=\"lead\">");
    enroll_page_text(page, either ? "prove.either" : otp && login ? "prove.both" : otp ? "prove.otp_text" : "prove.login_text");
    mdm_html_raw(h, "</p>");
    if (enroll_was_wrong(call)) {
        mdm_html_raw(h, "<p class=\"alert\" role=\"alert\">");
        enroll_page_text(page, "prove.wrong");
        mdm_html_raw(h, "</p>");
    }
    mdm_html_raw(h, "<form method=\"post\" id=\"prove\"");
    mdm_html_url(h, "action", enroll_self(call));
    mdm_html_attr(h, "data-status", apr_pstrcat(call->r->pool, self, "/status", NULL));
    mdm_html_raw(h, ">");
    if (otp) {
        enroll_page_field(page, &(enroll_field_t){"otp", "text", "prove.otp", "one-time-code", NULL, !either});
    }
    if (login) {
        enroll_page_field(page, &(enroll_field_t){"login", "text", "login.user", "username", NULL, !either});
        if (enroll_with_domain(call)) {
            enroll_page_field(page, &(enroll_field_t){"domain", "text", "login.domain", "off", NULL, 0});
        }
        enroll_page_field(page, &(enroll_field_t){"password", "password", "login.password", "current-password", NULL, !either});
    }
    mdm_html_raw(h, "<button class=\"button wide\" type=\"submit\">");
    enroll_page_text(page, "prove.button");
    mdm_html_raw(h, "</button></form></section>");
    return enroll_page_end(page, HTTP_OK);
}

/* ---------------------------------------------------------------- the answer */

/* The person whose log-in was given with the form, or stands from before; NULL: nobody. */
static apr_status_t who(mdm_web_call_t *call, const apr_table_t *form, const char **id)
{
    const char *login = apr_table_get(form, "login"), *password = apr_table_get(form, "password");
    mdm_person_t *person;
    mdm_db_t *db;
    apr_status_t rv;

    *id = NULL;
    if ((login && *login) || (password && *password)) {
        rv = enroll_check(call, login, apr_table_get(form, "domain"), password, &person);
        *id = rv == APR_SUCCESS ? person->id : NULL;
        return rv == MDM_EAUTH || rv == MDM_EINPUT ? APR_SUCCESS : rv;
    }
    if ((rv = mdm_db_open(call->ctx, &db)) == APR_SUCCESS) {
        rv = session_person(call, db, id);
        mdm_db_close(db);
    }
    return rv;
}

static apr_status_t judge(mdm_web_call_t *call, const mdm_otp_given_t *given, const char **grant)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    *grant = NULL;
    if (rv == APR_SUCCESS) {
        if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
            rv = mdm_otp_try(db, call->args[0], given, grant);
        }
        rv = mdm_db_end(db, rv);
        mdm_db_close(db);
    }
    return rv;
}

static int later(mdm_web_call_t *call, int wait)
{
    apr_table_setn(call->r->headers_out, "Retry-After", apr_itoa(call->r->pool, wait ? wait : 30));
    return enroll_page_error(call, wait ? HTTP_TOO_MANY_REQUESTS : HTTP_SERVICE_UNAVAILABLE, "error.title", wait ? "login.throttled" : "error.server");
}

/* Seconds that this address has to wait, or everybody: somebody guesses with many addresses (R20). */
static int must_wait(mdm_web_call_t *call)
{
    int own = call->svc->throttle_check("otp", call->r->useragent_ip), all = call->svc->throttle_check("otp", MDM_THROTTLE_ALL);

    return own > all ? own : all;
}

/* Counts a wrong guess; the one that is too much is told to administrators. */
static void note_wrong(mdm_web_call_t *call)
{
    apr_status_t rv;
    mdm_db_t *db;

    call->svc->throttle_note("otp", call->r->useragent_ip, 0);
    call->svc->throttle_note("otp", MDM_THROTTLE_ALL, 0);
    if (!call->svc->throttle_check("otp", MDM_THROTTLE_ALL)) {
        return;
    }
    if ((rv = mdm_db_open(call->ctx, &db)) == APR_SUCCESS) {
        if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
            rv = mdm_message(db, "zone", "otp", MDM_MSG_ERROR, "otp.guessing", mdm_said(call->r->pool, "said_otp_guessing", NULL));
        }
        rv = mdm_db_end(db, rv);
        mdm_db_close(db);
    }
    mdm_log(call->ctx, MDM_LOG_WARN, "MDM0619", rv, "too many wrong one-time passwords in a minute: enrolment links ask everybody to wait");
}

int enroll_prove_post(mdm_web_call_t *call)
{
    const char *grant;
    int wait = must_wait(call);
    mdm_otp_given_t given = {NULL, NULL};
    apr_table_t *form;
    apr_status_t rv;

    if (wait) {
        return later(call, wait);
    }
    if ((rv = mdm_web_form(call->r, call->ctx, &form)) != APR_SUCCESS) {
        return enroll_page_error(call, mdm_http_status(rv), "error.title", "error.input");
    }
    given.otp = apr_table_get(form, "otp");
    if ((rv = who(call, form, &given.person_id)) == APR_SUCCESS) {
        rv = judge(call, &given, &grant);
    }
    if (rv == MDM_ETHROTTLED) {
        return later(call, call->ctx->retry_after);
    }
    if (rv != APR_SUCCESS) {
        mdm_log(call->ctx, MDM_LOG_ERR, "MDM0611", rv, "what a link asks for can't be judged: %s", call->ctx->fail_text ? call->ctx->fail_text : "");
        return later(call, 0);
    }
    if (!grant) {
        note_wrong(call);
        mdm_log(call->ctx, MDM_LOG_INFO, "MDM0612", 0, "a one-time password or log-in for an enrolment link was refused");
        return mdm_web_redirect(call->r, enroll_self_wrong(call));
    }
    mdm_web_cookie_set(call->r, COOKIE, grant, 0);
    return mdm_web_redirect(call->r, enroll_self(call));
}
