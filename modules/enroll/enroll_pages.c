/* Pages that work without scripts: log-in, start of an enrolment, errors; and the frame of those with scripts. */
#include "enroll.h"

#include <apr_strings.h>
#include <http_core.h>

#include "domain/mdm_otp.h"

static const char *file_url(const enroll_page_t *page, const char *name)
{
    return apr_psprintf(page->call->r->pool, "%s/ui/%s?v=%s", page->conf->portal, name,
                        page->conf->files ? page->conf->files->version : "");
}

void enroll_page_text(enroll_page_t *page, const char *key)
{
    mdm_html_text(page->h, enroll_text(page->conf, page->lang, key));
}

enroll_page_t *enroll_page_begin(mdm_web_call_t *call, const char *title_key, const char *script)
{
    enroll_page_t *page = apr_pcalloc(call->r->pool, sizeof(*page));
    mdm_html_t *h = mdm_html_make(call->r->pool);

    page->call = call;
    page->conf = call->data;
    page->h = h;
    page->lang = enroll_lang(call->r);
    mdm_html_raw(h, "<!doctype html>\n<html");
    mdm_html_attr(h, "lang", enroll_lang_name(page->lang));
    mdm_html_raw(h, "><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                    "<meta name=\"color-scheme\" content=\"light dark\"><title>");
    enroll_page_text(page, title_key);
    mdm_html_raw(h, "</title><link rel=\"icon\" type=\"image/svg+xml\"");
    mdm_html_url(h, "href", file_url(page, "icon.svg"));
    mdm_html_raw(h, "><link rel=\"stylesheet\"");
    mdm_html_url(h, "href", file_url(page, "portal.css"));
    mdm_html_raw(h, ">");
    if (script) {
        mdm_html_raw(h, "<script type=\"module\"");
        mdm_html_url(h, "src", file_url(page, script));
        mdm_html_raw(h, "></script>");
    }
    mdm_html_raw(h, "</head><body");
    mdm_html_attr(h, "data-portal", page->conf->portal);
    mdm_html_attr(h, "data-version", page->conf->files ? page->conf->files->version : "");
    mdm_html_raw(h, "><header class=\"bar\"><a class=\"brand\"");
    mdm_html_url(h, "href", apr_pstrcat(call->r->pool, page->conf->portal, "/", NULL));
    mdm_html_raw(h, "><img alt=\"\" width=\"28\" height=\"28\"");
    mdm_html_url(h, "src", file_url(page, "icon.svg"));
    mdm_html_raw(h, "><span>");
    mdm_html_text(h, call->svc->conf_str(call->r->server, "MDMOrganisation"));
    mdm_html_raw(h, "</span></a><div id=\"who\"></div></header><main id=\"main\">");
    return page;
}

int enroll_page_end(enroll_page_t *page, int status)
{
    mdm_blob_t out;

    mdm_html_raw(page->h, "</main></body></html>\n");
    out = mdm_html_out(page->h);
    apr_table_mergen(page->call->r->headers_out, "Vary", "Accept-Language");
    return mdm_web_bytes(page->call->r, status, "text/html; charset=utf-8", out.data, out.len);
}

int enroll_page_error(mdm_web_call_t *call, int status, const char *title_key, const char *text_key)
{
    enroll_page_t *page = enroll_page_begin(call, title_key, NULL);
    mdm_html_t *h = page->h;

    mdm_html_raw(h, "<section class=\"card narrow\"><h1>");
    enroll_page_text(page, title_key);
    mdm_html_raw(h, "</h1><p>");
    enroll_page_text(page, text_key);
    mdm_html_raw(h, "</p><p><a class=\"button\"");
    mdm_html_url(h, "href", apr_pstrcat(call->r->pool, page->conf->portal, "/", NULL));
    mdm_html_raw(h, ">");
    enroll_page_text(page, "to_portal");
    mdm_html_raw(h, "</a></p></section>");
    if (status == HTTP_SERVICE_UNAVAILABLE) {
        apr_table_setn(call->r->headers_out, "Retry-After", "30");
    }
    return enroll_page_end(page, status);
}

/* ---------------------------------------------------------------- home */

int enroll_page_home(mdm_web_call_t *call)
{
    const enroll_conf_t *conf = call->data;
    const mdm_caller_t *caller = call->svc->caller(call->r, "portal");
    enroll_page_t *page;

    if (!caller || caller->kind != MDM_CALLER_PERSON) {
        return mdm_web_redirect(call->r, apr_pstrcat(call->r->pool, conf->portal, "/login", NULL));
    }
    page = enroll_page_begin(call, "devices.title", "app.js");
    mdm_html_raw(page->h, "<div id=\"app\"></div><noscript><section class=\"card narrow\"><h1>");
    enroll_page_text(page, "enroll.title");
    mdm_html_raw(page->h, "</h1><p><a class=\"button\"");
    mdm_html_url(page->h, "href", apr_pstrcat(call->r->pool, conf->portal, "/start", NULL));
    mdm_html_raw(page->h, ">");
    enroll_page_text(page, "enroll.button");
    mdm_html_raw(page->h, "</a></p></section></noscript>");
    return enroll_page_end(page, HTTP_OK);
}

/* ---------------------------------------------------------------- log-in */

void enroll_page_field(enroll_page_t *page, const enroll_field_t *f)
{
    mdm_html_t *h = page->h;

    mdm_html_raw(h, "<label");
    mdm_html_attr(h, "for", f->name);
    mdm_html_raw(h, ">");
    enroll_page_text(page, f->label);
    mdm_html_raw(h, "</label><input");
    mdm_html_attr(h, "id", f->name);
    mdm_html_attr(h, "name", f->name);
    mdm_html_attr(h, "type", f->type);
    mdm_html_attr(h, "autocomplete", f->complete);
    mdm_html_attr(h, "value", f->value);
    if (f->required) {
        mdm_html_raw(h, " required");
    }
    mdm_html_raw(h, " autocapitalize=\"none\" autocorrect=\"off\" spellcheck=\"false\" maxlength=\"512\">");
}

int enroll_with_domain(mdm_web_call_t *call)
{
    mdm_db_t *db;
    int needed = 0;

    if (mdm_db_open(call->ctx, &db) == APR_SUCCESS) {
        if (mdm_domain_needed(db, &needed) != APR_SUCCESS) {
            needed = 0;
        }
        mdm_db_close(db);
    }
    return needed;
}

int enroll_login_page(mdm_web_call_t *call, const enroll_login_t *form, int status, const char *error_key)
{
    enroll_page_t *page = enroll_page_begin(call, "login.title", NULL);
    mdm_html_t *h = page->h;

    mdm_html_raw(h, "<section class=\"card narrow\"><h1>");
    enroll_page_text(page, "login.title");
    mdm_html_raw(h, "</h1><p class=\"lead\">");
    enroll_page_text(page, form->lead);
    mdm_html_raw(h, "</p>");
    if (error_key) {
        mdm_html_raw(h, "<p class=\"alert\" role=\"alert\">");
        enroll_page_text(page, error_key);
        mdm_html_raw(h, "</p>");
    }
    mdm_html_raw(h, "<form method=\"post\"");
    mdm_html_url(h, "action", form->action);
    mdm_html_raw(h, ">");
    enroll_page_field(page, &(enroll_field_t){"login", "text", "login.user", "username", form->login, 1});
    if (enroll_with_domain(call)) {
        enroll_page_field(page, &(enroll_field_t){"domain", "text", "login.domain", "off", form->domain, 0});
    }
    enroll_page_field(page, &(enroll_field_t){"password", "password", "login.password", "current-password", NULL, 1});
    mdm_html_raw(h, "<button class=\"button wide\" type=\"submit\">");
    enroll_page_text(page, "login.button");
    mdm_html_raw(h, "</button></form></section>");
    return enroll_page_end(page, status);
}

int enroll_login_why(mdm_web_call_t *call, apr_status_t rv, const char **key)
{
    *key = "error.server";
    if (rv == MDM_EAUTH) {
        *key = "login.wrong";
        return HTTP_OK; /* a page to try again on, not a challenge of HTTP authentication */
    }
    if (rv == MDM_ETHROTTLED) {
        *key = "login.throttled";
        apr_table_set(call->r->headers_out, "Retry-After", apr_psprintf(call->r->pool, "%d", call->ctx->retry_after));
    }
    else {
        mdm_log(call->ctx, MDM_LOG_ERR, "MDM0606", rv, "the portal can't log people in: %s",
                call->ctx->fail_text ? call->ctx->fail_text : "");
        apr_table_setn(call->r->headers_out, "Retry-After", "30");
    }
    return mdm_http_status(rv);
}

static enroll_login_t portal_form(mdm_web_call_t *call)
{
    const enroll_conf_t *conf = call->data;

    return (enroll_login_t){.action = apr_pstrcat(call->r->pool, conf->portal, "/login", NULL), .lead = "login.lead"};
}

int enroll_page_login(mdm_web_call_t *call)
{
    enroll_login_t form = portal_form(call);

    return enroll_login_page(call, &form, HTTP_OK, NULL);
}

int enroll_page_login_post(mdm_web_call_t *call)
{
    const enroll_conf_t *conf = call->data;
    enroll_login_t again = portal_form(call);
    const char *key;
    apr_table_t *form;
    int status;
    apr_status_t rv = mdm_web_form(call->r, call->ctx, &form);

    if (rv != APR_SUCCESS) {
        return enroll_page_error(call, mdm_http_status(rv), "error.title", "error.input");
    }
    again.login = apr_table_get(form, "login");
    again.domain = apr_table_get(form, "domain");
    rv = enroll_login(call, again.login, again.domain, apr_table_get(form, "password"));
    if (rv == APR_SUCCESS) {
        return mdm_web_redirect(call->r, apr_pstrcat(call->r->pool, conf->portal, "/", NULL));
    }
    status = enroll_login_why(call, rv, &key);
    return enroll_login_page(call, &again, status, key);
}

/* ---------------------------------------------------------------- start without scripts */

void enroll_page_ownership(enroll_page_t *page, int corporate)
{
    mdm_html_t *h = page->h;

    mdm_html_raw(h, "<fieldset><legend>");
    enroll_page_text(page, "enroll.whose");
    mdm_html_raw(h, "</legend><label class=\"choice\"><input type=\"radio\" name=\"ownership\" value=\"personal\"");
    if (!corporate) {
        mdm_html_raw(h, " checked");
    }
    mdm_html_raw(h, "> ");
    enroll_page_text(page, "enroll.personal");
    mdm_html_raw(h, "</label><label class=\"choice\"><input type=\"radio\" name=\"ownership\" value=\"corporate\"");
    if (corporate) {
        mdm_html_raw(h, " checked");
    }
    mdm_html_raw(h, "> ");
    enroll_page_text(page, "enroll.corporate");
    mdm_html_raw(h, "</label></fieldset>");
}

typedef struct start_t {
    mdm_enroll_policy_t *policy;
    mdm_person_t *person;
    mdm_otp_conf_t *conf;
} start_t;

static apr_status_t start_read(mdm_web_call_t *call, start_t *out)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        if ((rv = mdm_person_get(db, call->caller->id, &out->person)) == APR_SUCCESS && (rv = mdm_otp_conf(db, &out->conf)) == APR_SUCCESS) {
            rv = mdm_enroll_policy(db, out->person, &out->policy);
        }
        mdm_db_close(db);
    }
    return rv;
}

static int refused(mdm_web_call_t *call, apr_status_t rv)
{
    int status = mdm_http_status(rv);

    return enroll_page_error(call, status, "error.title",
                             status == HTTP_FORBIDDEN ? "error.denied" : status == HTTP_CONFLICT ? "error.conflict" : "error.server");
}

/* The form; error: what is wrong with what was given before, phone and ownership. */
static int start_page(mdm_web_call_t *call, const start_t *s, const char *error, const char *phone, const char *ownership)
{
    enroll_page_t *page = enroll_page_begin(call, "enroll.title", NULL);
    int corporate = ownership && !strcmp(ownership, "corporate"), required = !strcmp(s->conf->phone, "required");
    mdm_html_t *h = page->h;

    mdm_html_raw(h, "<section class=\"card narrow\"><h1>");
    enroll_page_text(page, "enroll.title");
    mdm_html_raw(h, "</h1>");
    if (error) {
        mdm_html_raw(h, "<p class=\"alert\" role=\"alert\">");
        enroll_page_text(page, error);
        mdm_html_raw(h, "</p>");
    }
    mdm_html_raw(h, "<form method=\"post\"");
    mdm_html_url(h, "action", apr_pstrcat(call->r->pool, page->conf->portal, "/start", NULL));
    mdm_html_raw(h, ">");
    if (!strcmp(s->policy->ownership, "choose")) {
        enroll_page_ownership(page, corporate);
    }
    if (strcmp(s->conf->phone, "off") != 0) {
        enroll_page_field(page, &(enroll_field_t){"phone", "tel", required ? "enroll.phone_required" : "enroll.phone_optional", "tel",
                                                  phone ? phone : s->person->phone, required});
    }
    mdm_html_raw(h, "<button class=\"button wide\" type=\"submit\">");
    enroll_page_text(page, "enroll.start");
    mdm_html_raw(h, "</button></form></section>");
    return enroll_page_end(page, error ? HTTP_BAD_REQUEST : HTTP_OK);
}

int enroll_page_start(mdm_web_call_t *call)
{
    start_t s;
    apr_status_t rv = start_read(call, &s);

    return rv == APR_SUCCESS ? start_page(call, &s, NULL, NULL, NULL) : refused(call, rv);
}

int enroll_page_start_post(mdm_web_call_t *call)
{
    const char *ownership, *token;
    mdm_pending_t *e;
    apr_table_t *form;
    start_t s;
    apr_status_t rv = mdm_web_form(call->r, call->ctx, &form);

    if (rv != APR_SUCCESS) {
        return enroll_page_error(call, mdm_http_status(rv), "error.title", "error.input");
    }
    if ((rv = start_read(call, &s)) == APR_SUCCESS) {
        ownership = strcmp(s.policy->ownership, "choose") ? s.policy->ownership : apr_table_get(form, "ownership");
        rv = enroll_create(call, &(mdm_provision_t){.platform = enroll_on_android(call->r) ? "android" : "ios", .ownership = ownership ? ownership : "personal", .level = "managed",
                                                    .phone = apr_table_get(form, "phone")}, &e, &token, NULL);
        if (rv == MDM_EINPUT && call->ctx->fail_field && !strcmp(call->ctx->fail_field, "phone")) {
            return start_page(call, &s, "enroll.phone_wrong", apr_table_get(form, "phone"), ownership);
        }
    }
    if (rv != APR_SUCCESS) {
        return refused(call, rv);
    }
    return mdm_web_redirect(call->r, apr_pstrcat(call->r->pool, ENROLL_BASE "/", token, NULL));
}
