/* The link of an enrolment on an Android device (POR-04): the agent's package, what is entered in it, what it asks for; and the code for a new device. */
#include "enroll.h"

#include <apr_strings.h>
#include <apr_uri.h>
#include <http_core.h>

#include "domain/mdm_enroll_conf.h"
#include "domain/mdm_otp.h"
#include "wire/mdm_qr.h"
#include "mdm_sql_gen.h"

#define SAY(page, open, key, close) (mdm_html_raw((page)->h, open), enroll_page_text((page), (key)), mdm_html_raw((page)->h, close))

typedef struct android_t {
    mdm_android_agent_t agent;
    const char *base;  /* of the server, as people enter it */
    const char *asks;  /* what the agent asks for: "otp", "password", "both", "either", "" */
    const char *login, *domain; /* NULL: this browser has not shown that it is the person's */
} android_t;

int enroll_on_android(request_rec *r)
{
    const char *agent = apr_table_get(r->headers_in, "User-Agent");

    return agent && strstr(agent, "Android") != NULL;
}

apr_status_t enroll_agent_there(mdm_db_t *db, int *there)
{
    mdm_android_agent_t agent;
    apr_status_t rv = mdm_enroll_agent(db, &agent);

    *there = rv == APR_SUCCESS;
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

/* Who holds the link alone does not read whose it is. */
static apr_status_t account_read(mdm_db_t *db, const mdm_pending_t *e, int known, android_t *out)
{
    mdm_q_eas_account_t *account;
    apr_status_t rv;

    out->login = out->domain = NULL;
    if (!known || !e->person_id || (rv = mdm_q_eas_account(db, e->person_id, &account)) == APR_NOTFOUND) {
        return APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        out->login = account->login;
        out->domain = account->simple ? NULL : account->domain;
    }
    return rv;
}

/* APR_NOTFOUND: the zone has no agent. */
static apr_status_t android_read(mdm_web_call_t *call, const mdm_pending_t *e, int known, android_t *out)
{
    mdm_otp_conf_t *conf;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_enroll_agent(db, &out->agent)) == APR_SUCCESS
        && (rv = mdm_enroll_base(db, call->svc->public_url(call->r->server), &out->base)) == APR_SUCCESS
        && (rv = mdm_otp_conf(db, &conf)) == APR_SUCCESS) {
        out->asks = mdm_otp_need(conf, "android", e->origin);
        rv = account_read(db, e, known, out);
    }
    mdm_db_close(db);
    return rv;
}

/* ---------------------------------------------------------------- the page */

/* Opens the agent with the link, and where it is not installed its package; Android's own kind of address. */
static const char *open_url(mdm_web_call_t *call, const android_t *a)
{
    apr_pool_t *p = call->r->pool;
    apr_uri_t uri;

    if (apr_uri_parse(p, a->base, &uri) != APR_SUCCESS || !uri.hostinfo) {
        return NULL;
    }
    return apr_pstrcat(p, "intent://", uri.hostinfo, ENROLL_BASE "/", call->args[0], "#Intent;scheme=https;package=",
                       apr_pstrmemdup(p, a->agent.component, strcspn(a->agent.component, "/")), ";S.browser_fallback_url=",
                       ap_escape_urlencoded(p, a->agent.url), ";end", NULL);
}

/* The button appears where there are scripts. */
static void setting(enroll_page_t *page, const char *label, const char *value)
{
    mdm_html_t *h = page->h;

    SAY(page, "<dt>", label, "</dt><dd><span>");
    mdm_html_text(h, value);
    mdm_html_raw(h, "</span><button class=\"button quiet\" type=\"button\" hidden");
    mdm_html_attr(h, "data-copy", enroll_text(page->conf, page->lang, label));
    SAY(page, ">", "mail.copy", "</button></dd>");
}

static void settings(enroll_page_t *page, const android_t *a)
{
    mdm_html_raw(page->h, "<dl class=\"settings\">");
    setting(page, "android.server", a->base);
    if (a->login) {
        setting(page, "mail.user", a->login);
    }
    if (a->domain) {
        setting(page, "mail.domain", a->domain);
    }
    mdm_html_raw(page->h, "</dl>");
}

static void permissions(enroll_page_t *page)
{
    static const char *const keys[] = {"admin", "notify", "background", "install", "phone", "place"};
    unsigned i;

    SAY(page, "<details id=\"why\"><summary>", "android.why", "</summary><dl class=\"why\">");
    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); ++i) {
        SAY(page, "<dt>", apr_pstrcat(page->call->r->pool, "android.may_", keys[i], NULL), "</dt>");
        SAY(page, "<dd>", apr_pstrcat(page->call->r->pool, "android.why_", keys[i], NULL), "</dd>");
    }
    mdm_html_raw(page->h, "</dl></details>");
}

static void steps(enroll_page_t *page, const android_t *a)
{
    mdm_html_t *h = page->h;

    SAY(page, "<ol class=\"steps\" id=\"steps\"><li class=\"step now\"><h2>", "android.install", "</h2>");
    SAY(page, "<p>", "android.install_text", "</p><p><a class=\"button wide\" id=\"agent\"");
    mdm_html_url(h, "href", a->agent.url);
    SAY(page, ">", "android.install_button", "</a></p></li>");
    SAY(page, "<li class=\"step now\"><h2>", "android.enter", "</h2>");
    if (enroll_on_android(page->call->r)) {
        SAY(page, "<p>", "android.open_text", "</p><p><a class=\"button wide second\" id=\"open\"");
        mdm_html_attr(h, "href", open_url(page->call, a));
        SAY(page, ">", "android.open_button", "</a></p>");
    }
    SAY(page, "<p>", "android.enter_text", "</p>");
    settings(page, a);
    if (*a->asks) {
        SAY(page, "<p id=\"asks\">", apr_pstrcat(page->call->r->pool, "android.asks_", a->asks, NULL), "</p>");
    }
    SAY(page, "</li><li class=\"step now\"><h2>", "android.allow", "</h2>");
    SAY(page, "<p>", "android.allow_text", "</p>");
    permissions(page);
    mdm_html_raw(h, "</li></ol>");
}

static void codes(enroll_page_t *page, const mdm_pending_t *e, const char *self)
{
    mdm_html_t *h = page->h;
    apr_pool_t *p = page->call->r->pool;

    enroll_page_code(page, self, "android.qr_text", enroll_on_android(page->call->r));
    if (!strcmp(e->ownership, "corporate")) {
        SAY(page, "<details id=\"owner\"><summary>", "android.new", "</summary>");
        SAY(page, "<p>", "android.new_text", "</p><p><img class=\"code\" width=\"232\" height=\"232\" loading=\"lazy\"");
        mdm_html_attr(h, "alt", enroll_text(page->conf, page->lang, "android.new_code"));
        mdm_html_url(h, "src", apr_pstrcat(p, self, "/owner.svg", NULL));
        mdm_html_raw(h, "></p></details>");
    }
}

int enroll_android_page(mdm_web_call_t *call, const mdm_pending_t *e, int known)
{
    const char *self = enroll_link_path(call);
    enroll_page_t *page;
    android_t a;
    apr_status_t rv = android_read(call, e, known, &a);

    if (rv == APR_NOTFOUND) {
        return enroll_page_error(call, HTTP_OK, "link.none", "link.android_text");
    }
    if (rv != APR_SUCCESS) {
        mdm_log(call->ctx, MDM_LOG_ERR, "MDM0618", rv, "the page of an Android enrolment can't be served: %s", call->ctx->fail_text ? call->ctx->fail_text : "");
        return enroll_page_error(call, HTTP_SERVICE_UNAVAILABLE, "error.title", "error.server");
    }
    page = enroll_page_begin(call, "android.title", "android.js");
    mdm_html_raw(page->h, "<section class=\"card\" id=\"link\"");
    mdm_html_attr(page->h, "data-status", apr_pstrcat(call->r->pool, self, "/status", NULL));
    SAY(page, "><h1>", "android.title", "</h1>");
    if (known) {
        SAY(page, "<p class=\"lead\">", "link.for", " <strong>");
        mdm_html_text(page->h, e->person_name);
        mdm_html_raw(page->h, "</strong></p>");
    }
    mdm_html_raw(page->h, "<p id=\"live\" class=\"live\" role=\"status\" aria-live=\"polite\"></p>");
    steps(page, &a);
    codes(page, e, self);
    mdm_html_raw(page->h, "<div id=\"finished\" hidden></div></section>");
    return enroll_page_end(page, HTTP_OK);
}

/* ---------------------------------------------------------------- the code for a new device */

static apr_status_t owner_text(mdm_web_call_t *call, mdm_db_t *db, const char **text)
{
    static const mdm_android_ask_t ask = {.security = "none"}; /* the device asks for its network */
    mdm_android_agent_t agent;
    mdm_pending_t *e;
    const char *base;
    apr_status_t rv = mdm_pending_by_token(db, call->args[0], &e);

    if (rv == APR_SUCCESS && (strcmp(e->level, "managed") || strcmp(e->ownership, "corporate") || !strcmp(e->platform, "ios"))) {
        rv = APR_NOTFOUND;
    }
    if (rv != APR_SUCCESS || (rv = mdm_enroll_agent(db, &agent)) != APR_SUCCESS
        || (rv = mdm_enroll_base(db, call->svc->public_url(call->r->server), &base)) != APR_SUCCESS) {
        return rv;
    }
    const char *const values[MDM_ANDROID_VARS] = {[MDM_ANDROID_SERVER] = base,
                                                  [MDM_ANDROID_LINK] = mdm_enroll_link(call->r->pool, base, call->args[0], NULL),
                                                  [MDM_ANDROID_TOKEN] = call->args[0]};
    return mdm_android_owner_text(call->ctx, &agent, &ask, values, text);
}

int enroll_android_owner(mdm_web_call_t *call)
{
    const char *text;
    mdm_blob_t out;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = owner_text(call, db, &text);
        mdm_db_close(db);
    }
    rv = rv == APR_SUCCESS ? mdm_qr_svg(call->ctx, text, &out) : rv;
    return rv == APR_SUCCESS ? mdm_web_bytes(call->r, HTTP_OK, "image/svg+xml", out.data, out.len) : enroll_bad_link(call, rv);
}
