/* Log-in page, sessions, one's own account (SEC-07, R21, R23, R35). */
#include "mdm_admin.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_admins.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_session.h"
#include "wire/mdm_html.h"

#define LOGIN_MAX 200
#define PASSWORD_MAX 500
#define NEXT_MAX 1000

/* What the page says above the form. Nothing that anybody sent is ever put into it. */
enum { SAY_NOTHING, SAY_WRONG, SAY_WAIT, SAY_LATER, SAY_COUNT };

typedef struct words_t {
    const char *lang, *title, *lead, *user, *password, *submit, *say[SAY_COUNT];
} words_t;

static const words_t words[] = {
    {"en", "Log in", "Device management console", "User name", "Password", "Log in",
     {NULL, "User name or password is wrong.", "Too many tries. Please wait a little.",
      "The server can\xe2\x80\x99t check log-ins right now. Please try again shortly."}},
    {"de", "Anmelden", "Konsole der Ger\xc3\xa4teverwaltung", "Benutzername", "Passwort", "Anmelden",
     {NULL, "Benutzername oder Passwort ist falsch.", "Zu viele Versuche. Bitte kurz warten.",
      "Der Server kann Anmeldungen gerade nicht pr\xc3\xbc" "fen. Bitte gleich noch einmal versuchen."}}};

static const words_t *language(request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept-Language");

    return accept && strncasecmp(accept, "de", 2) == 0 ? &words[1] : &words[0];
}

static void page_head(mdm_html_t *h, const words_t *w)
{
    mdm_html_raw(h, "<!doctype html>\n<html");
    mdm_html_attr(h, "lang", w->lang);
    mdm_html_raw(h, "><head><meta charset=\"utf-8\">"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                    "<meta name=\"color-scheme\" content=\"light dark\"><title>");
    mdm_html_text(h, w->title);
    mdm_html_raw(h, " \xc2\xb7 mod_mdm</title><link rel=\"icon\" href=\"login/icon.svg\">"
                    "<link rel=\"stylesheet\" href=\"login/app.css\"></head><body class=\"login\">"
                    "<main class=\"login-card\"><img class=\"login-mark\" src=\"login/icon.svg\" alt=\"\">"
                    "<h1>mod_mdm</h1><p class=\"muted\">");
    mdm_html_text(h, w->lead);
    mdm_html_raw(h, "</p>");
}

/* Where to go after the log-in: a page below the console's base, else NULL. No other host, no way up, nothing to read twice. */
static const char *next_page(mdm_web_call_t *call, const char *next)
{
    const char *base = mdm_adm_req(call)->base, *c;
    const apr_size_t n = strcmp(base, "/") == 0 ? 0 : strlen(base);

    if (!next || strlen(next) > NEXT_MAX || strncmp(next, base, n) != 0 || next[n] != '/')
        return NULL;
    for (c = next; *c && *c != '?'; c++) {
        if (!apr_isalnum(*c) && !strchr("/-_.", *c))
            return NULL;
        if (c[0] == '/' && (c[1] == '/' || c[1] == '.'))
            return NULL;
    }
    for (; *c; c++) {
        if (!apr_isalnum(*c) && !strchr("?&=%+-_.", *c))
            return NULL;
    }
    return next;
}

static int page(mdm_web_call_t *call, int status, int say, const char *next)
{
    request_rec *r = call->r;
    const words_t *w = language(r);
    mdm_html_t *h = mdm_html_make(r->pool);
    mdm_blob_t out;

    page_head(h, w);
    if (w->say[say]) {
        mdm_html_raw(h, "<p class=\"alert bad\" role=\"alert\" id=\"say\">");
        mdm_html_text(h, w->say[say]);
        mdm_html_raw(h, "</p>");
    }
    mdm_html_raw(h, "<form method=\"post\" action=\"login\"><label for=\"login\">");
    mdm_html_text(h, w->user);
    mdm_html_raw(h, "</label><input id=\"login\" name=\"login\" autocomplete=\"username\" autocapitalize=\"none\" "
                    "spellcheck=\"false\" maxlength=\"200\" required autofocus><label for=\"password\">");
    mdm_html_text(h, w->password);
    mdm_html_raw(h, "</label><input id=\"password\" name=\"password\" type=\"password\" "
                    "autocomplete=\"current-password\" maxlength=\"500\" required>"
                    "<button class=\"btn primary\" type=\"submit\">");
    mdm_html_text(h, w->submit);
    mdm_html_raw(h, "</button>");
    if (next) {
        mdm_html_raw(h, "<input type=\"hidden\" name=\"next\"");
        mdm_html_attr(h, "value", next);
        mdm_html_raw(h, ">");
    }
    mdm_html_raw(h, "</form></main></body></html>\n");
    out = mdm_html_out(h);
    apr_table_setn(r->headers_out, "Vary", "Accept-Language");
    return mdm_web_bytes(r, status, "text/html; charset=utf-8", out.data, out.len);
}

int mdm_adm_login_page(mdm_web_call_t *call)
{
    const char *next = NULL;

    if (mdm_web_query(call->r, call->ctx, "next", &next) != APR_SUCCESS)
        next = NULL; /* then to the first page */
    return page(call, HTTP_OK, SAY_NOTHING, next_page(call, next));
}

int mdm_adm_must_wait(mdm_web_call_t *call, const char *account)
{
    int a = call->svc->throttle_check("login", account);
    int b = call->svc->throttle_check("login", call->r->useragent_ip);

    return a > b ? a : b;
}

void mdm_adm_note_try(mdm_web_call_t *call, const char *account, int ok)
{
    call->svc->throttle_note("login", account, ok);
    if (!ok)
        call->svc->throttle_note("login", call->r->useragent_ip, 0);
}

static apr_status_t open_session(mdm_web_call_t *call, const char *admin_id, const char *login)
{
    mdm_ctx_t *ctx = call->ctx;
    const char *token = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv;

    ctx->actor.kind = "admin";
    ctx->actor.id = admin_id;
    ctx->actor.name = login;
    rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_session_create(db, "admin", admin_id, apr_table_get(call->r->headers_in, "User-Agent"), &token);
    if (rv == APR_SUCCESS)
        rv = mdm_audit(db, "session.login", "admin", admin_id, login, "done", NULL);
    rv = mdm_adm_end(db, rv);
    if (rv == APR_SUCCESS)
        mdm_web_cookie_set(call->r, MDM_COOKIE_ADMIN, token, 0);
    return rv;
}

int mdm_adm_login(mdm_web_call_t *call)
{
    const char *login, *password, *account, *next, *id = NULL;
    apr_table_t *form;
    apr_status_t rv = mdm_web_form(call->r, call->ctx, &form);
    int wait;

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    login = apr_table_get(form, "login");
    password = apr_table_get(form, "password");
    next = next_page(call, apr_table_get(form, "next"));
    if (!login || !password || strlen(login) > LOGIN_MAX || strlen(password) > PASSWORD_MAX)
        return page(call, HTTP_UNAUTHORIZED, SAY_WRONG, next);
    login = mdm_clean(call->r->pool, login, LOGIN_MAX);
    account = apr_pstrcat(call->r->pool, "admin:", mdm_lower(call->r->pool, login), NULL);
    wait = mdm_adm_must_wait(call, account);
    if (wait > 0) {
        apr_table_setn(call->r->headers_out, "Retry-After", apr_psprintf(call->r->pool, "%d", wait));
        return page(call, HTTP_TOO_MANY_REQUESTS, SAY_WAIT, next);
    }
    rv = mdm_admin_login(call->ctx, login, password, &id);
    if (rv == MDM_EAUTH) {
        mdm_adm_note_try(call, account, 0);
        mdm_log(call->ctx, MDM_LOG_INFO, "MDM0700", 0, "log-in of %s refused", mdm_mask(call->r->pool, login));
        rv = mdm_audit_refused(call->ctx, "session.login", "admin", login);
        if (rv == APR_SUCCESS)
            return page(call, HTTP_UNAUTHORIZED, SAY_WRONG, next);
    }
    else if (rv == APR_SUCCESS) {
        rv = open_session(call, id, login);
    }
    if (rv != APR_SUCCESS) {
        mdm_log(call->ctx, MDM_LOG_ERR, "MDM0703", rv, "a log-in could not be checked");
        apr_table_setn(call->r->headers_out, "Retry-After", "10");
        return page(call, HTTP_SERVICE_UNAVAILABLE, SAY_LATER, next);
    }
    mdm_adm_note_try(call, account, 1);
    return mdm_web_redirect(call->r, next ? next : apr_pstrcat(call->r->pool, mdm_adm_req(call)->base, "/", NULL));
}

int mdm_adm_logout(mdm_web_call_t *call)
{
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_begin(call, &db);

    if (rv == APR_SUCCESS && call->caller->session_hash)
        rv = mdm_session_end(db, call->caller->session_hash);
    if (rv == APR_SUCCESS)
        rv = mdm_audit(db, "session.logout", "admin", call->caller->id, call->caller->login, "done", NULL);
    rv = mdm_adm_end(db, rv);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    mdm_web_cookie_set(call->r, MDM_COOKIE_ADMIN, NULL, 0);
    return mdm_web_empty(call->r, HTTP_NO_CONTENT);
}

int mdm_adm_me(mdm_web_call_t *call)
{
    const mdm_caller_t *c = call->caller;

    return mdm_adm_json(call, json_pack("{s:s, s:s, s:o, s:o, s:o, s:b, s:b, s:b, s:s}", "id", c->id, "login", c->login, "name",
                                        mdm_adm_text(c->name), "role", mdm_adm_text(c->role), "rights",
                                        mdm_adm_parsed(c->rights), "by_token", c->by_token, "by_group",
                                        c->by_group, "limited", c->limited, "software", MDM_VERSION));
}

int mdm_adm_me_password(mdm_web_call_t *call)
{
    const char *old = NULL, *fresh = NULL, *id = NULL, *account;
    const mdm_jfield_t fields[] = {{"old", MDM_JF_STR, 1, 1, PASSWORD_MAX, NULL, 0, &old, NULL},
                                   {"new", MDM_JF_STR, 1, 1, PASSWORD_MAX, NULL, 0, &fresh, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);
    int wait;

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    account = apr_pstrcat(call->r->pool, "admin:", mdm_lower(call->r->pool, call->caller->login), NULL);
    wait = mdm_adm_must_wait(call, account);
    if (wait > 0) {
        call->ctx->retry_after = wait;
        return mdm_adm_fail(call, mdm_fail(call->ctx, MDM_ETHROTTLED, NULL, "Too many tries. Please wait a little."));
    }
    rv = mdm_admin_login(call->ctx, call->caller->login, old, &id);
    if (rv == MDM_EAUTH || (rv == APR_SUCCESS && strcmp(id, call->caller->id) != 0)) {
        mdm_adm_note_try(call, account, 0);
        return mdm_adm_fail(call, mdm_fail(call->ctx, MDM_EINPUT, "old", "is not your password"));
    }
    if (rv == APR_SUCCESS)
        rv = mdm_admin_password(call->ctx, id, fresh, 1); /* ends all sessions: this browser gets a new one */
    if (rv == APR_SUCCESS && !call->caller->by_token)
        rv = open_session(call, id, call->caller->login);
    return rv == APR_SUCCESS ? mdm_web_empty(call->r, HTTP_NO_CONTENT) : mdm_adm_fail(call, rv);
}
