/* The short path /enroll: what a link with its token opens (PEN-09, POR-03). */
#include "enroll.h"

#include <apr_strings.h>
#include <http_core.h>

#include "domain/mdm_ca.h"
#include "wire/mdm_qr.h"

#define NOT_YET "proof" /* field of the refusal before something was proved */
#define EARLY "valid_from" /* before its time has begun */

/* need: what this browser still has to prove; NULL: not asked. */
static apr_status_t look(mdm_web_call_t *call, mdm_pending_t **out, const char **need)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_pending_look(db, call->args[0], out);
        if (rv == APR_SUCCESS && need) {
            rv = enroll_need(call, db, *out, need);
        }
        mdm_db_close(db);
    }
    return rv;
}

void enroll_hide_token(request_rec *r)
{
    const apr_size_t n = sizeof(ENROLL_BASE "/") - 1;
    const char *tail;

    if (strncmp(r->uri, ENROLL_BASE "/", n) != 0 || !r->uri[n]) {
        return;
    }
    tail = r->uri + n + strcspn(r->uri + n, "/");
    r->uri = apr_pstrcat(r->pool, ENROLL_BASE "/", mdm_mask(r->pool, apr_pstrmemdup(r->pool, r->uri + n, (apr_size_t)(tail - r->uri) - n)),
                         tail, NULL);
    r->unparsed_uri = r->uri;
    r->the_request = apr_pstrcat(r->pool, r->method, " ", r->uri, " ", r->protocol, NULL);
}

/* A step of its own transaction; a failure only costs the view. */
static void note(mdm_web_call_t *call, const mdm_pending_t *e, const char *step)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
            rv = mdm_pending_step(db, e->id, step, NULL);
        }
        rv = mdm_db_end(db, rv);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        mdm_log(call->ctx, MDM_LOG_ERR, "MDM0607", rv, "step %s of enrolment %s can't be noted", step, e->id);
    }
}

/* Before its time: from when it is good, by this server's clock. */
static int early_page(mdm_web_call_t *call)
{
    enroll_page_t *page;
    mdm_pending_t *e;

    if (look(call, &e, NULL) != APR_SUCCESS) {
        return enroll_page_error(call, HTTP_SERVICE_UNAVAILABLE, "error.title", "error.server");
    }
    page = enroll_page_begin(call, "link.early", NULL);
    mdm_html_raw(page->h, "<section class=\"card narrow\"><h1>");
    enroll_page_text(page, "link.early");
    mdm_html_raw(page->h, "</h1><p>");
    enroll_page_text(page, "link.early_text");
    mdm_html_raw(page->h, " <strong><time");
    mdm_html_attr(page->h, "datetime", mdm_time_text(call->r->pool, e->valid_from_ms));
    mdm_html_raw(page->h, ">");
    mdm_html_text(page->h, mdm_time_local(call->r->pool, e->valid_from_ms));
    mdm_html_raw(page->h, "</time></strong></p></section>");
    return enroll_page_end(page, HTTP_FORBIDDEN);
}

/* The same page for unknown, used, expired and cancelled links: it tells nothing of the organisation's people (R15). */
int enroll_bad_link(mdm_web_call_t *call, apr_status_t rv)
{
    if (rv == APR_NOTFOUND || rv == MDM_EDENIED) {
        mdm_log(call->ctx, MDM_LOG_INFO, "MDM0608", rv, "an enrolment link that is unknown, used, too early or expired was opened");
        if (rv == MDM_EDENIED && call->ctx->fail_field && !strcmp(call->ctx->fail_field, EARLY)) {
            return early_page(call);
        }
        return enroll_page_error(call, HTTP_FORBIDDEN, "link.bad", "link.bad_text");
    }
    mdm_log(call->ctx, MDM_LOG_ERR, "MDM0609", rv, "an enrolment link can't be served: %s",
            call->ctx->fail_text ? call->ctx->fail_text : "");
    return enroll_page_error(call, HTTP_SERVICE_UNAVAILABLE, "error.title", "error.server");
}

/* ---------------------------------------------------------------- the page */

/* Has the trust profile been downloaded? */
static int has_trust(const mdm_pending_t *e)
{
    json_error_t bad;
    json_t *steps = json_loads(e->step, 0, &bad);
    int has = json_object_get(steps, "trust") != NULL;

    json_decref(steps);
    return has;
}

/* Which of the visible steps is the current one: 0 download, 1 install, 2 connect, 3 all done; where there is a trust profile, that is before them. */
static int position(const mdm_pending_t *e, int trust)
{
    static const struct {
        const char *state;
        int at;
    } map[] = {{"created", 0}, {"opened", 0}, {"profile", 1}, {"issued", 2}, {"authenticated", 2}, {"completed", 3}};
    unsigned i;

    for (i = 0; i < sizeof(map) / sizeof(map[0]); ++i) {
        if (!strcmp(map[i].state, e->state) && map[i].at) {
            return map[i].at + trust;
        }
    }
    return trust && has_trust(e);
}

static void step_begin(enroll_page_t *page, int n, int at, const char *name, const char *title)
{
    mdm_html_t *h = page->h;

    mdm_html_raw(h, "<li");
    mdm_html_attr(h, "data-step", name);
    mdm_html_attr(h, "class", n < at ? "step done" : n == at ? "step now" : "step");
    if (n == at) {
        mdm_html_attr(h, "aria-current", "step");
    }
    mdm_html_raw(h, "><h2>");
    enroll_page_text(page, title);
    mdm_html_raw(h, "</h2>");
}

static void button(enroll_page_t *page, const char *id, const char *url, const char *key, const char *class_name)
{
    mdm_html_raw(page->h, "<p><a");
    mdm_html_attr(page->h, "class", class_name);
    mdm_html_attr(page->h, "id", id);
    mdm_html_url(page->h, "href", url);
    mdm_html_raw(page->h, ">");
    enroll_page_text(page, key);
    mdm_html_raw(page->h, "</a></p>");
}

static void paragraph(enroll_page_t *page, const char *key)
{
    mdm_html_raw(page->h, "<p>");
    enroll_page_text(page, key);
    mdm_html_raw(page->h, "</p>");
}

static void how(enroll_page_t *page, const char *const *keys)
{
    mdm_html_raw(page->h, "<ol class=\"how\">");
    for (; *keys; ++keys) {
        mdm_html_raw(page->h, "<li>");
        enroll_page_text(page, *keys);
        mdm_html_raw(page->h, "</li>");
    }
    mdm_html_raw(page->h, "</ol>");
}

/* Only where the server's certificate is not one of a public authority. */
static void page_trust(enroll_page_t *page, const char *self, int at)
{
    static const char *const keys[] = {"link.install1", "link.install2", "link.install3", "link.trust4", NULL};

    step_begin(page, 0, at, "trust", "link.trust_title");
    paragraph(page, "link.trust_text");
    button(page, "trust", apr_pstrcat(page->call->r->pool, self, "/trust.mobileconfig", NULL), "link.trust", "button wide");
    how(page, keys);
    mdm_html_raw(page->h, "<p class=\"soft\"><a id=\"trusted\" href=\"#profile\">");
    enroll_page_text(page, "link.trusted");
    mdm_html_raw(page->h, "</a></p></li>");
}

static void page_steps(enroll_page_t *page, const mdm_pending_t *e, const char *self, int trust)
{
    static const char *const keys[] = {"link.install1", "link.install2", "link.install3", NULL};
    mdm_html_t *h = page->h;
    apr_pool_t *p = page->call->r->pool;
    int at = position(e, trust);

    mdm_html_raw(h, "<ol class=\"steps\" id=\"steps\">");
    if (trust) {
        page_trust(page, self, at);
    }
    step_begin(page, trust, at, "download", "link.download");
    paragraph(page, "link.download_text");
    button(page, "profile", apr_pstrcat(p, self, "/profile.mobileconfig", NULL), "link.download_button", "button wide");
    mdm_html_raw(h, "</li>");
    step_begin(page, trust + 1, at, "install", "link.install");
    paragraph(page, "link.install_text");
    how(page, keys);
    mdm_html_raw(h, "</li>");
    step_begin(page, trust + 2, at, "connect", "link.connect");
    paragraph(page, "link.connect_text");
    mdm_html_raw(h, "</li></ol>");
}

/* Whether the link leads to a profile: one for any platform does once it is opened on a device of Apple's. */
static int for_apple(const mdm_pending_t *e)
{
    return !strcmp(e->level, "managed") && !*e->account && (!strcmp(e->platform, "ios") || !strcmp(e->platform, "unknown"));
}

static int apple_page(mdm_web_call_t *call, const mdm_pending_t *e)
{
    const char *self = enroll_link_path(call);
    enroll_page_t *page = enroll_page_begin(call, "link.title", "link.js");
    mdm_html_t *h = page->h;

    mdm_html_raw(h, "<section class=\"card\" id=\"link\"");
    mdm_html_attr(h, "data-status", apr_pstrcat(call->r->pool, self, "/status", NULL));
    mdm_html_attr(h, "data-state", e->state);
    mdm_html_raw(h, "><h1>");
    enroll_page_text(page, "link.title");
    mdm_html_raw(h, "</h1><p class=\"lead\">");
    enroll_page_text(page, "link.for");
    mdm_html_raw(h, " <strong>");
    mdm_html_text(h, e->person_name);
    mdm_html_raw(h, "</strong></p><p id=\"live\" class=\"live\" role=\"status\" aria-live=\"polite\"></p>");
    enroll_page_code(page, self, "link.qr_text", enroll_on_apple(call->r));
    page_steps(page, e, self, enroll_anchors(call) != NULL);
    mdm_html_raw(h, "<div id=\"finished\" hidden></div></section>");
    return enroll_page_end(page, HTTP_OK);
}

static int page_get(mdm_web_call_t *call)
{
    mdm_pending_t *e;
    const char *need, *kind;
    apr_status_t rv = look(call, &e, &need);
    int usable;

    if (rv != APR_SUCCESS) {
        return enroll_bad_link(call, rv);
    }
    usable = mdm_pending_usable(e);
    if (!usable && strcmp(e->state, "issued") && strcmp(e->state, "authenticated")) {
        return enroll_bad_link(call, mdm_pending_refuse(call->ctx, e));
    }
    if (usable && !call->r->header_only) {
        note(call, e, "opened");
    }
    if ((rv = enroll_kind(call, e, &kind)) != APR_SUCCESS) {
        return rv == MDM_EDENIED ? enroll_page_error(call, HTTP_FORBIDDEN, "link.none", "error.denied") : enroll_bad_link(call, rv);
    }
    if (!*kind) {
        return enroll_choose_page(call);
    }
    if (!strcmp(kind, "android") && !strcmp(e->level, "managed")) {
        return enroll_android_page(call, e, !*need); /* the agent asks for what has to be proved */
    }
    if (usable && *need) {
        return enroll_prove_page(call, need);
    }
    if (!for_apple(e)) {
        return enroll_page_error(call, HTTP_OK, "link.none", *e->account ? "link.account_text" : strcmp(e->level, "managed") ? "link.mail_text" : "link.android_text");
    }
    return apple_page(call, e);
}

/* ---------------------------------------------------------------- status */

static int status_get(mdm_web_call_t *call)
{
    json_error_t bad;
    mdm_pending_t *e;
    json_t *steps, *error, *body, *device;
    const char *need;
    apr_status_t rv = look(call, &e, &need);

    if (rv == APR_NOTFOUND) {
        return mdm_web_problem(call->r, call->ctx, mdm_fail(call->ctx, MDM_EDENIED, NULL, "This link is not valid."));
    }
    if (rv != APR_SUCCESS) {
        enroll_hide_token(call->r);
        return mdm_web_problem(call->r, call->ctx, rv);
    }
    body = json_pack("{s:s, s:i, s:I, s:s}", "state", e->state, "at", position(e, enroll_anchors(call) != NULL), "expires",
                     (json_int_t)e->expires_ms, "need", need);
    steps = json_loads(e->step, 0, &bad);
    if ((error = json_object_get(steps, "error"))) {
        json_object_set(body, "error", error);
    }
    if ((device = json_object_get(steps, "device")) && !strcmp(e->state, "profile")) {
        json_object_set(body, "serial", json_object_get(device, "serial"));
    }
    json_decref(steps);
    return enroll_json_etag(call, body);
}

/* ---------------------------------------------------------------- profiles */

void enroll_conf_fill(mdm_web_call_t *call, mdm_apple_conf_t *conf)
{
    server_rec *s = call->r->server;

    memset(conf, 0, sizeof(*conf));
    conf->public_url = call->svc->public_url(s);
    conf->organisation = call->svc->conf_str(s, "MDMOrganisation");
    conf->sign_message = (int)call->svc->conf_int(s, "MDMSignMessage");
    conf->anchors_pem = enroll_anchors(call);
    conf->rsa_bits = 2048;
}

static int send_profile(mdm_web_call_t *call, const char *name, const mdm_blob_t *data)
{
    apr_table_setn(call->r->headers_out, "Content-Disposition",
                   apr_pstrcat(call->r->pool, "attachment; filename=\"", name, "\"", NULL));
    return mdm_web_bytes(call->r, HTTP_OK, MDM_APPLE_PROFILE_TYPE, data->data, data->len);
}

static apr_status_t profile_make(mdm_web_call_t *call, mdm_db_t *db, mdm_blob_t *out)
{
    mdm_apple_conf_t conf;
    mdm_pending_t *e;
    mdm_ca_t *ca;
    const char *url, *need;
    apr_status_t rv = mdm_pending_by_token(db, call->args[0], &e);

    enroll_conf_fill(call, &conf);
    if (rv == APR_SUCCESS && (rv = enroll_need(call, db, e, &need)) == APR_SUCCESS && (*need || !for_apple(e))) {
        return mdm_fail(call->ctx, MDM_EDENIED, NOT_YET, "The link's page asks for something first.");
    }
    if (rv == APR_SUCCESS && !call->svc->mdm_role()) {
        return mdm_fail(call->ctx, MDM_EUNAVAIL, NULL, "This server does not manage devices any more.");
    }
    if (rv != APR_SUCCESS || (rv = enroll_topic(db, &conf.topic)) != APR_SUCCESS) {
        return rv;
    }
    if (!*conf.topic) {
        return mdm_fail(call->ctx, MDM_EUNAVAIL, NULL, "The zone has no push topic.");
    }
    if ((rv = mdm_ca_load(db, call->r->pool, &ca)) != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? mdm_fail(call->ctx, MDM_EUNAVAIL, NULL, "The zone has no certification authority.") : rv;
    }
    if (call->svc->conf_int(call->r->server, "MDMProfileService")) {
        url = apr_pstrcat(call->r->pool, conf.public_url, ENROLL_BASE "/", call->args[0], "/service", NULL);
        rv = mdm_apple_service_profile(db, ca, &conf, e, url, out);
    } else {
        rv = mdm_apple_enroll_profile(db, ca, &conf, e, out);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_pending_step(db, e->id, "profile", NULL);
    }
    return rv;
}

static int profile_get(mdm_web_call_t *call)
{
    mdm_pending_t *e;
    mdm_blob_t profile;
    mdm_db_t *db;
    apr_status_t rv;

    if (call->r->header_only) { /* asking about it makes no challenge */
        rv = look(call, &e, NULL);
        if (rv == APR_SUCCESS && mdm_pending_usable(e)) {
            return mdm_web_bytes(call->r, HTTP_OK, MDM_APPLE_PROFILE_TYPE, NULL, 0);
        }
        return enroll_bad_link(call, rv == APR_SUCCESS ? mdm_pending_refuse(call->ctx, e) : rv);
    }
    if ((rv = mdm_db_open(call->ctx, &db)) != APR_SUCCESS) {
        return enroll_bad_link(call, rv);
    }
    if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
        rv = profile_make(call, db, &profile);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    if (rv == MDM_EDENIED && call->ctx->fail_field && !strcmp(call->ctx->fail_field, NOT_YET)) {
        return mdm_web_redirect(call->r, enroll_link_path(call));
    }
    return rv == APR_SUCCESS ? send_profile(call, "enroll.mobileconfig", &profile) : enroll_bad_link(call, rv);
}

static int trust_get(mdm_web_call_t *call)
{
    mdm_apple_conf_t conf;
    mdm_blob_t profile;
    mdm_pending_t *e;
    mdm_ca_t *ca = NULL;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        if ((rv = mdm_pending_by_token(db, call->args[0], &e)) == APR_SUCCESS) {
            rv = mdm_ca_load(db, call->r->pool, &ca);
        }
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        return enroll_bad_link(call, rv == APR_NOTFOUND && !ca ? MDM_EDENIED : rv);
    }
    enroll_conf_fill(call, &conf);
    if (!conf.anchors_pem) {
        return enroll_page_error(call, HTTP_NOT_FOUND, "error.title", "link.no_trust");
    }
    if ((rv = mdm_apple_trust_profile(call->ctx, ca, &conf, &profile)) != APR_SUCCESS) {
        return enroll_bad_link(call, rv);
    }
    if (!call->r->header_only) {
        note(call, e, "trust");
    }
    return send_profile(call, "trust.mobileconfig", &profile);
}

/* ---------------------------------------------------------------- QR code */

static int qr_get(mdm_web_call_t *call)
{
    const char *url;
    mdm_pending_t *e;
    mdm_blob_t out;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        if ((rv = mdm_pending_by_token(db, call->args[0], &e)) == APR_SUCCESS) {
            rv = enroll_link_url(call, db, call->args[0], &url);
        }
        mdm_db_close(db);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_qr_svg(call->ctx, url, &out);
    }
    return rv == APR_SUCCESS ? mdm_web_bytes(call->r, HTTP_OK, "image/svg+xml", out.data, out.len) : enroll_bad_link(call, rv);
}

static int root_get(mdm_web_call_t *call)
{
    return enroll_page_error(call, HTTP_OK, "link.none", "link.none_text");
}

const mdm_route_t enroll_link_routes[] = {
    {"GET", "/", MDM_AUTH_PUBLIC, NULL, 0, 0, root_get},
    {"GET", "/{token}", MDM_AUTH_PUBLIC, NULL, 0, 0, page_get},
    {"POST", "/{token}", MDM_AUTH_PUBLIC, NULL, 0, 0, enroll_prove_post},
    {"GET", "/{token}/status", MDM_AUTH_PUBLIC, NULL, 0, 0, status_get},
    {"GET", "/{token}/profile.mobileconfig", MDM_AUTH_PUBLIC, NULL, 0, 0, profile_get},
    {"POST", "/account/{kind}", MDM_AUTH_DEVICE, NULL, 0, 0, enroll_account_post},
    {"GET", "/account/{kind}/login", MDM_AUTH_PUBLIC, NULL, 0, 0, enroll_account_login},
    {"POST", "/account/{kind}/login", MDM_AUTH_PUBLIC, NULL, 0, 0, enroll_account_login_post},
    {"GET", "/account/{kind}/start", MDM_AUTH_PUBLIC, NULL, 0, 0, enroll_account_start},
    {"POST", "/account/{kind}/start", MDM_AUTH_PUBLIC, NULL, 0, 0, enroll_account_start_post},
    {"POST", "/{token}/service", MDM_AUTH_DEVICE, NULL, 0, 0, enroll_service_post},
    {"GET", "/{token}/trust.mobileconfig", MDM_AUTH_PUBLIC, NULL, 0, 0, trust_get},
    {"GET", "/{token}/qr.svg", MDM_AUTH_PUBLIC, NULL, 0, 0, qr_get},
    {"GET", "/{token}/owner.svg", MDM_AUTH_PUBLIC, NULL, 0, 0, enroll_android_owner},
};
const int enroll_link_nroutes = sizeof(enroll_link_routes) / sizeof(enroll_link_routes[0]);
