/* Enrolment that begins in the settings of a device (IOS-08, facts 2.5): discovery, the two requests of the device, and the log-in between them.
 * Nothing of this is an address of management yet: 401 is how Apple's protocol asks for the log-in. */
#include "enroll.h"

#include <string.h>
#include <apr_strings.h>
#include <http_core.h>

#include "base/mdm_json.h"
#include "domain/mdm_account.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_session.h"

#define BASE ENROLL_BASE "/account/"
#define AGAIN "again" /* the log-in of a device that is enrolled */
#define FIELD "user-identifier"
#define SCHEME "apple-remotemanagement-user-login"
#define FAILED "com.apple.well-known.failed"
#define REFUSED "com.apple.unrecognized.device"

/* ---------------------------------------------------------------- discovery */

static apr_status_t conf_read(mdm_web_call_t *call, mdm_account_conf_t *conf, const char **topic)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_account_conf(db, conf);
        if (rv == APR_SUCCESS && topic) {
            rv = enroll_topic(db, topic);
        }
        mdm_db_close(db);
    }
    return rv;
}

/* A refusal in the form that Apple's devices show to people. */
static int refusal(mdm_web_call_t *call, const char *code, const char *text)
{
    return mdm_web_json(call->r, HTTP_FORBIDDEN, json_pack("{s:s, s:s, s:s}", "code", code, "description", text, "message", text));
}

/* The same for everybody: neither the domain nor the person that is asked about is looked at, and a redirect drops both anyway. */
static int discovery_get(mdm_web_call_t *call)
{
    const char *topic, *base = apr_pstrcat(call->r->pool, call->svc->public_url(call->r->server), BASE, NULL);
    mdm_account_conf_t conf;
    apr_status_t rv = conf_read(call, &conf, &topic);

    if (rv != APR_SUCCESS) {
        return mdm_web_problem(call->r, call->ctx, rv);
    }
    if (!strcmp(conf.mode, "off")) { /* a device goes on to look for another server */
        return mdm_web_problem(call->r, call->ctx, APR_NOTFOUND);
    }
    if (!*topic || !call->svc->mdm_role()) {
        return refusal(call, FAILED, "This server can't enrol devices yet.");
    }
    return mdm_web_json(call->r, HTTP_OK, mdm_account_servers(&conf, base));
}

const mdm_route_t enroll_discovery_routes[] = {{"GET", "/", MDM_AUTH_PUBLIC, NULL, 0, 0, discovery_get}};
const int enroll_discovery_nroutes = sizeof(enroll_discovery_routes) / sizeof(enroll_discovery_routes[0]);

/* ---------------------------------------------------------------- the device's requests */

static const char *address(mdm_web_call_t *call, const char *page)
{
    return apr_pstrcat(call->r->pool, BASE, call->args[0], "/", page, NULL);
}

/* How Apple's protocol asks for a log-in; a token that is no good is asked for again in the same way, whatever is wrong with it. */
static int ask_login(mdm_web_call_t *call)
{
    request_rec *r = call->r;

    apr_table_setn(r->headers_out, "WWW-Authenticate",
                   apr_pstrcat(r->pool, "Bearer method=\"apple-as-web\", url=\"", call->svc->public_url(r->server), address(call, "login"), "\"",
                               NULL));
    return mdm_web_empty(r, HTTP_UNAUTHORIZED);
}

static apr_status_t read_report(mdm_web_call_t *call, mdm_enroll_facts_t *out)
{
    mdm_blob_t body;
    apr_status_t rv = enroll_signed_body(call, MDM_ACCOUNT_LIMIT, &body);

    return rv == APR_SUCCESS ? mdm_account_read(call->ctx, &body, call->args[0], out) : rv;
}

static apr_status_t profile_make(mdm_web_call_t *call, mdm_db_t *db, const mdm_pending_t *e, mdm_blob_t *out)
{
    mdm_apple_conf_t conf;
    mdm_ca_t *ca;
    apr_status_t rv = mdm_ca_load(db, call->r->pool, &ca);

    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? mdm_fail(call->ctx, MDM_EUNAVAIL, NULL, "The zone has no certification authority.") : rv;
    }
    enroll_conf_fill(call, &conf);
    if ((rv = enroll_topic(db, &conf.topic)) != APR_SUCCESS || (rv = mdm_db_begin(db)) != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_apple_enroll_profile(db, ca, &conf, e, out)) == APR_SUCCESS) {
        rv = mdm_pending_step(db, e->id, "profile", NULL);
    }
    return mdm_db_end(db, rv);
}

/* Field "off": this way is switched off. */
static apr_status_t judge(mdm_web_call_t *call, const char *token, const mdm_enroll_facts_t *facts, mdm_blob_t *out)
{
    mdm_account_conf_t conf;
    mdm_pending_t *e;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_account_conf(db, &conf)) == APR_SUCCESS && !mdm_account_offers(&conf, call->args[0])) {
        rv = mdm_fail(call->ctx, MDM_EDENIED, "off", "Enrolling with an account is not switched on.");
    }
    if (rv == APR_SUCCESS) {
        rv = token ? mdm_account_admit(db, token, call->args[0], facts, &e) : MDM_EAUTH;
    }
    if (rv == APR_SUCCESS) {
        rv = profile_make(call, db, e, out);
    }
    mdm_db_close(db);
    return rv;
}

static int answer(mdm_web_call_t *call, const char *token, apr_status_t rv, const mdm_blob_t *profile)
{
    if (rv == APR_SUCCESS) {
        return mdm_web_bytes(call->r, HTTP_OK, MDM_APPLE_PROFILE_TYPE, profile->data, profile->len);
    }
    apr_table_setn(call->r->notes, "mdm-decision", rv == MDM_EAUTH ? "log in" : "refused");
    if (rv == MDM_EAUTH) {
        if (token) {
            mdm_log(call->ctx, MDM_LOG_INFO, "MDM0614", 0, "a device brought an access token that is unknown, too old or used up");
        }
        return ask_login(call);
    }
    if (rv == MDM_EDENIED) {
        mdm_log(call->ctx, MDM_LOG_INFO, "MDM0615", 0, "account-driven enrolment refused: %s", call->ctx->fail_text ? call->ctx->fail_text : "");
        return refusal(call, REFUSED, call->ctx->fail_text ? call->ctx->fail_text : "This device may not be enrolled.");
    }
    return mdm_web_device_fail(call->r, call->ctx, "MDM0616", rv);
}

int enroll_account_post(mdm_web_call_t *call)
{
    const mdm_services_t *svc = call->svc;
    const char *ip = call->r->useragent_ip, *token = mdm_web_bearer(call->r);
    mdm_enroll_facts_t facts;
    mdm_blob_t profile;
    apr_status_t rv;
    int wait = svc->throttle_check("scep", ip);

    if (wait > 0) {
        return mdm_web_throttled(call->r, wait);
    }
    rv = svc->db_away() || !svc->mdm_role() ? MDM_EUNAVAIL : read_report(call, &facts);
    if (rv == APR_SUCCESS) {
        rv = judge(call, token, &facts, &profile);
    }
    if ((token || rv != MDM_EAUTH) && mdm_http_status(rv) < 500) { /* the first request of a device has none, by the protocol */
        svc->throttle_note("scep", ip, rv == APR_SUCCESS);
    }
    return answer(call, token, rv, &profile);
}

/* ---------------------------------------------------------------- the log-in */

/* Who is logged in here, by the session that the log-in of these pages made; NULL: nobody. */
static const mdm_caller_t *who(mdm_web_call_t *call)
{
    const mdm_caller_t *caller = call->svc->caller(call->r, "portal");

    if (!caller || caller->kind != MDM_CALLER_PERSON) {
        return NULL;
    }
    call->ctx->actor.kind = "person";
    call->ctx->actor.id = caller->id;
    call->ctx->actor.name = caller->login;
    return call->caller = caller;
}

/* The way back to the device is a redirect from one of our forms, which browsers hold against their policy. */
static void allow_return(mdm_web_call_t *call)
{
    apr_table_setn(call->r->headers_out, "Content-Security-Policy",
                   "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self' " SCHEME ":; frame-ancestors 'none'");
}

static const char *with_account(mdm_web_call_t *call, const char *page, const char *account)
{
    return apr_pstrcat(call->r->pool, address(call, page), account ? "?" FIELD "=" : "",
                       account ? ap_escape_urlencoded(call->r->pool, account) : "", NULL);
}

/* The account that was typed on the device; NULL: not said, or nothing that could be one. */
static const char *account_asked(mdm_web_call_t *call)
{
    const char *s = NULL;

    if (mdm_web_query(call->r, call->ctx, FIELD, &s) != APR_SUCCESS) {
        call->ctx->fail_text = NULL;
        return NULL;
    }
    return s && *s && strlen(s) <= MDM_ACCOUNT_ID_MAX ? s : NULL;
}

/* Says why not; the key is that of the refusal if there is one. */
static int refused_page(mdm_web_call_t *call, apr_status_t rv)
{
    static const char *const words[] = {"off", "other", "none", "otp"};
    const char *field = call->ctx->fail_field ? call->ctx->fail_field : "", *key = NULL;
    int status = mdm_http_status(rv);

    for (unsigned i = 0; rv == MDM_EDENIED && i < sizeof(words) / sizeof(words[0]); ++i) {
        key = strcmp(field, words[i]) ? key : apr_pstrcat(call->r->pool, "account.", words[i], NULL);
    }
    if (status >= 500) {
        mdm_log(call->ctx, MDM_LOG_ERR, "MDM0617", rv, "the log-in of a device can't be served: %s", call->ctx->fail_text ? call->ctx->fail_text : "");
    }
    return enroll_page_error(call, status, "error.title", key ? key : status == HTTP_FORBIDDEN ? "error.denied"
                             : status == HTTP_CONFLICT ? "error.conflict" : status < 500 ? "error.input" : "error.server");
}

/* Whether the log-in of this address can lead to anything now. */
static apr_status_t ready(mdm_web_call_t *call, mdm_account_conf_t *conf)
{
    apr_status_t rv = conf_read(call, conf, NULL);

    if (rv == APR_SUCCESS && strcmp(call->args[0], AGAIN) != 0 && !mdm_account_offers(conf, call->args[0])) {
        rv = mdm_fail(call->ctx, MDM_EDENIED, "off", "Enrolling with an account is not switched on.");
    }
    return rv;
}

/* What the log-in field begins with. Accounts of a domain of their own are no names that people log in with: their first part is. */
static const char *login_of(mdm_web_call_t *call, const mdm_account_conf_t *conf, const char *account)
{
    const char *at = account ? strrchr(account, '@') : NULL;

    return at && *conf->domain && !strcasecmp(at + 1, conf->domain) ? apr_pstrmemdup(call->r->pool, account, (apr_size_t)(at - account)) : account;
}

static int login_show(mdm_web_call_t *call, const enroll_login_t *form, int status, const char *error)
{
    allow_return(call);
    return enroll_login_page(call, form, status, error);
}

static enroll_login_t login_form(mdm_web_call_t *call, const char *account)
{
    return (enroll_login_t){.action = with_account(call, "login", account),
                            .lead = strcmp(call->args[0], AGAIN) ? "account.lead" : "account.lead_again"};
}

int enroll_account_login(mdm_web_call_t *call)
{
    const char *account = account_asked(call);
    enroll_login_t form = login_form(call, account);
    mdm_account_conf_t conf;
    apr_status_t rv = ready(call, &conf);

    if (rv != APR_SUCCESS) {
        return refused_page(call, rv);
    }
    form.login = login_of(call, &conf, account);
    return login_show(call, &form, HTTP_OK, NULL);
}

/* Ends what the log-in began here, and gives the token to the device. */
static int hand_over(mdm_web_call_t *call, const char *token)
{
    request_rec *r = call->r;

    mdm_web_cookie_set(r, MDM_COOKIE_PORTAL, NULL, 0);
    allow_return(call);
    apr_table_setn(r->headers_out, "Location", apr_pstrcat(r->pool, SCHEME "://authentication-results?access-token=", token, NULL));
    return mdm_web_empty(r, HTTP_PERMANENT_REDIRECT);
}

typedef struct token_for_t {
    const char *kind, *account, *ownership;
    const char *session; /* hash of one that ends with this; NULL: none */
} token_for_t;

static apr_status_t token_make(mdm_web_call_t *call, const char *person_id, const token_for_t *t, const char **token)
{
    mdm_person_t *person;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_db_begin(db)) == APR_SUCCESS && (rv = mdm_person_get(db, person_id, &person)) == APR_SUCCESS) {
        rv = strcmp(t->kind, AGAIN) ? mdm_account_begin(db, person, t->kind, t->account, t->ownership, token) : mdm_account_again(db, person, token);
    }
    if (rv == APR_SUCCESS && t->session) {
        rv = mdm_session_end(db, t->session);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

/* A device that is enrolled needs no more than to know that it is its person. */
static int login_again(mdm_web_call_t *call, const enroll_login_t *form, const char *password)
{
    token_for_t t = {.kind = AGAIN};
    mdm_person_t *person;
    const char *token, *key;
    int status;
    apr_status_t rv = enroll_check(call, form->login, form->domain, password, &person);

    if (rv != APR_SUCCESS) {
        status = enroll_login_why(call, rv, &key);
        return login_show(call, form, status, key);
    }
    call->ctx->actor.kind = "person";
    call->ctx->actor.id = person->id;
    call->ctx->actor.name = person->login;
    rv = token_make(call, person->id, &t, &token);
    return rv == APR_SUCCESS ? hand_over(call, token) : refused_page(call, rv);
}

int enroll_account_login_post(mdm_web_call_t *call)
{
    const char *account = account_asked(call), *key;
    enroll_login_t again = login_form(call, account);
    mdm_account_conf_t conf;
    apr_table_t *form;
    int status;
    apr_status_t rv = mdm_web_form(call->r, call->ctx, &form);

    if (rv != APR_SUCCESS || (rv = ready(call, &conf)) != APR_SUCCESS) {
        return refused_page(call, rv);
    }
    again.login = apr_table_get(form, "login");
    again.domain = apr_table_get(form, "domain");
    if (!strcmp(call->args[0], AGAIN)) {
        return login_again(call, &again, apr_table_get(form, "password"));
    }
    rv = enroll_login(call, again.login, again.domain, apr_table_get(form, "password"));
    if (rv == APR_SUCCESS) {
        return mdm_web_redirect(call->r, with_account(call, "start", account));
    }
    status = enroll_login_why(call, rv, &key);
    return login_show(call, &again, status, key);
}

/* ---------------------------------------------------------------- what somebody agrees to */

static apr_status_t may(mdm_web_call_t *call, const char *person_id, const char *account, mdm_person_t **person, mdm_enroll_policy_t **policy)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        if ((rv = mdm_person_get(db, person_id, person)) == APR_SUCCESS) {
            rv = mdm_account_may(db, *person, call->args[0], account, policy);
        }
        mdm_db_close(db);
    }
    return rv;
}

int enroll_account_start(mdm_web_call_t *call)
{
    const char *account = account_asked(call);
    const mdm_caller_t *caller = who(call);
    mdm_enroll_policy_t *policy;
    mdm_person_t *person;
    enroll_page_t *page;
    mdm_html_t *h;
    apr_status_t rv;

    if (!caller) {
        return mdm_web_redirect(call->r, with_account(call, "login", account));
    }
    if ((rv = may(call, caller->id, account, &person, &policy)) != APR_SUCCESS) {
        return refused_page(call, rv);
    }
    allow_return(call);
    page = enroll_page_begin(call, "account.title", NULL);
    h = page->h;
    mdm_html_raw(h, "<section class=\"card narrow\"><h1>");
    enroll_page_text(page, "account.title");
    mdm_html_raw(h, "</h1><p class=\"lead\">");
    enroll_page_text(page, "link.for");
    mdm_html_raw(h, " <strong><bdi>");
    mdm_html_text(h, person->name);
    mdm_html_raw(h, "</bdi></strong></p><p>");
    enroll_page_text(page, strcmp(call->args[0], MDM_ACCOUNT_BYOD) ? "account.adde_text" : "account.byod_text");
    mdm_html_raw(h, "</p><form method=\"post\"");
    mdm_html_url(h, "action", with_account(call, "start", account));
    mdm_html_raw(h, ">");
    if (!strcmp(policy->ownership, "choose")) {
        enroll_page_ownership(page, 0);
    }
    mdm_html_raw(h, "<button class=\"button wide\" type=\"submit\">");
    enroll_page_text(page, "account.button");
    mdm_html_raw(h, "</button></form></section>");
    return enroll_page_end(page, HTTP_OK);
}

int enroll_account_start_post(mdm_web_call_t *call)
{
    const mdm_caller_t *caller = who(call);
    token_for_t t = {.kind = call->args[0], .account = account_asked(call)};
    const char *token;
    apr_table_t *form;
    apr_status_t rv;

    if (!caller) {
        return mdm_web_redirect(call->r, with_account(call, "login", t.account));
    }
    if (!strcmp(t.kind, AGAIN)) {
        return refused_page(call, MDM_EINPUT);
    }
    if ((rv = mdm_web_form(call->r, call->ctx, &form)) == APR_SUCCESS) {
        t.ownership = apr_table_get(form, "ownership");
        t.session = caller->session_hash;
        rv = token_make(call, caller->id, &t, &token);
    }
    return rv == APR_SUCCESS ? hand_over(call, token) : refused_page(call, rv);
}
