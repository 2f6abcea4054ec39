/* The way to the back end and back (PXY-01), for now by mod_proxy: a request rebuilt from its parsed parts goes out (R44), and of what
 * comes back only what a phone may see. */
#include <string.h>

#include <apr_strings.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_filter.h>

#include "eas.h"
#include "mdm_web.h"

#define BACK_END_PATH "/Microsoft-Server-ActiveSync"
#define RETRY_S 60
#define OFFER_FRESH apr_time_from_sec(600)
#define LIST_WAIT_STEP apr_time_from_msec(20)
#define LIST_WAIT_STEPS 100 /* for the first list of a new child */

/* Headers of a client that go on; what the request line's parts say is written anew. Host is for mod_proxy's X-Forwarded-Host. */
static const char *const ahead[] = {
    "Accept", "Accept-Encoding", "Accept-Language", "Client-Request-Id", "Content-Encoding", "Content-Length", "Content-Type",
    "Cookie", "Host", "Transfer-Encoding", "User-Agent",
};

/* Headers of a back end that come back, besides those that begin with MS-. */
static const char *const back[] = {
    "Cache-Control", "Content-Encoding", "Content-Length", "Content-Type", "Date", "Pragma", "Request-Id", "Retry-After", "Set-Cookie",
    "Vary", "X-MS-ASThrottle", "X-MS-Credential-Service-Url", "X-MS-Credentials-Expire", "X-MS-RP",
};

/* Codes that a phone may see. 401 and 500 are not among them: it would ask for the password, or load whole folders again. */
static const struct {
    int status;
    const char *line; /* httpd has no words for it */
} codes[] = {
    {400, NULL}, {403, NULL}, {413, NULL}, {441, "441 Certificate problem"}, {449, "449 Retry after sending a PROVISION command"},
    {456, "456 Blocked"}, {457, "457 Password expired"}, {501, NULL}, {503, NULL}, {507, NULL},
};

/* One request at the back end. */
typedef struct relay_t {
    eas_call_t *call;
    mdm_eas_server_t server;
    int begun;              /* the answer is passing to the client */
    int status;             /* of an answer that is not passed on; 0: none came */
    const char *line, *why; /* of the answer instead */
    apr_table_t *headers;
    eas_offer_t offer;      /* to OPTIONS */
} relay_t;

static ap_filter_rec_t *judge_filter, *limit_filter;

/* ---------------------------------------------------------------- what comes back */

static int is_listed(const char *const *list, unsigned n, const char *name)
{
    unsigned i;

    for (i = 0; i < n && (((*list[i] ^ *name) & 0xdf) || strcasecmp(list[i], name)); i++) /* most differ in the first letter */
        ;
    return i < n;
}

#define LISTED(list, name) is_listed(list, sizeof(list) / sizeof(list[0]), name)

static int keep_back(void *into, const char *name, const char *value)
{
    if (LISTED(back, name) || !strncasecmp(name, "MS-", 3)) {
        apr_table_addn(into, name, value);
    }
    return 1;
}

static apr_table_t *kept_headers(request_rec *r)
{
    apr_table_t *kept = apr_table_make(r->pool, 12);

    apr_table_do(keep_back, kept, r->headers_out, NULL);
    return kept;
}

/* True if a 200 can be an answer of ActiveSync. Attachments of old protocol versions have any type. */
static int is_mail(const relay_t *x)
{
    const char *length = apr_table_get(x->headers, "Content-Length");
    const char *type = x->call->r->content_type;

    return !type || (length && !strcmp(length, "0")) || !strncasecmp(type, "application/vnd.ms-sync", 23) ||
           x->call->query->cmd == MDM_EAS_GET_ATTACHMENT;
}

static int make_offer(relay_t *x)
{
    const char *versions = apr_table_get(x->headers, "MS-ASProtocolVersions");

    return versions && eas_offer_make(&x->offer, x->server.id, versions, apr_table_get(x->headers, "MS-ASProtocolCommands"));
}

/* The answer that stands for one that is not passed on. why: NULL for what a back end may say. */
static void stand_in(relay_t *x, int status, const char *line, const char *why)
{
    x->status = status;
    x->line = line;
    x->why = why;
}

/* Looks at status and headers before the first byte passes; returns true if the body may. */
static int judge(relay_t *x)
{
    request_rec *r = x->call->r;
    unsigned i;

    x->headers = kept_headers(r);
    if (r->status == HTTP_OK && x->call->query->cmd == MDM_EAS_OPTIONS) {
        stand_in(x, HTTP_OK, NULL, make_offer(x) ? NULL : "the mail server offers no protocol version that is known here");
        return 0;
    }
    if (r->status == HTTP_OK) {
        if (!is_mail(x)) {
            stand_in(x, HTTP_SERVICE_UNAVAILABLE, NULL, "the mail server answered with a page instead of ActiveSync");
        }
        return !x->status;
    }
    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i].status == r->status) {
            stand_in(x, r->status, codes[i].line, NULL);
            return 0;
        }
    }
    stand_in(x, HTTP_SERVICE_UNAVAILABLE, NULL, r->status == HTTP_UNAUTHORIZED
             ? "the mail server refuses a log-in that the user source accepts"
             : apr_psprintf(r->pool, "the mail server answered %d", r->status));
    return 0;
}

/* True if the back end broke off before its answer began: mod_proxy would close the client's connection without a word. */
static int is_broken(apr_bucket_brigade *bb)
{
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (AP_BUCKET_IS_ERROR(b)) {
            return 1;
        }
    }
    return 0;
}

static apr_status_t judge_out(ap_filter_t *f, apr_bucket_brigade *bb)
{
    relay_t *x = f->ctx;

    if (!x->status && is_broken(bb)) {
        stand_in(x, HTTP_SERVICE_UNAVAILABLE, NULL, "the mail server broke off");
    }
    if (!x->status && judge(x)) {
        x->begun = 1;
        f->r->headers_out = x->headers;
        ap_remove_output_filter(f);
        return ap_pass_brigade(f->next, bb);
    }
    apr_brigade_cleanup(bb);
    return APR_SUCCESS;
}

/* httpd does not apply LimitRequestBody to proxied requests. Announced lengths are checked before (eas_gate.c); this is for chunked
 * bodies, which mod_proxy passes on in pieces whatever filters there are. */
static apr_status_t limit_in(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block, apr_off_t n)
{
    apr_off_t *left = f->ctx, len;
    apr_status_t rv = ap_get_brigade(f->next, bb, mode, block, n);

    if (rv == APR_SUCCESS && apr_brigade_length(bb, 0, &len) == APR_SUCCESS && len > 0 && (*left -= len) < 0) {
        apr_brigade_cleanup(bb);
        rv = APR_ENOSPC;
    }
    return rv;
}

static void limit_chunked(request_rec *r)
{
    apr_off_t limit = ap_get_limit_req_body(r);

    if (limit > 0 && apr_table_get(r->headers_in, "Transfer-Encoding")) {
        ap_add_input_filter_handle(limit_filter, apr_pmemdup(r->pool, &limit, sizeof(limit)), r, r->connection);
    }
}

void eas_relay_register(void)
{
    judge_filter = ap_register_output_filter("MDM_EAS_JUDGE", judge_out, NULL, AP_FTYPE_CONTENT_SET);
    limit_filter = ap_register_input_filter("MDM_EAS_LIMIT", limit_in, NULL, AP_FTYPE_CONTENT_SET);
}

/* ---------------------------------------------------------------- what goes out */

static int keep_ahead(void *into, const char *name, const char *value)
{
    if (LISTED(ahead, name)) {
        apr_table_addn(into, name, value);
    }
    return 1;
}

static void set_if(apr_table_t *t, const char *name, const char *value)
{
    if (value) {
        apr_table_setn(t, name, value);
    }
}

/* The query in the client's form; in the plain one if the rewritten user name does not fit into the other. */
static apr_status_t rebuild(relay_t *x, const char *user, mdm_eas_line_t *line)
{
    const mdm_eas_query_t *q = x->call->query;
    mdm_eas_rebuild_t how = {MDM_EAS_FORM_SAME, user, x->call->has_back_key, x->call->back_key};
    apr_status_t rv = mdm_eas_query_build(x->call->ctx, q, &how, line);

    if (rv == MDM_EINPUT) {
        how.form = MDM_EAS_FORM_PLAIN;
        rv = mdm_eas_query_build(x->call->ctx, q, &how, line);
    }
    return rv;
}

static apr_table_t *request_headers(relay_t *x, const char *user, const mdm_eas_line_t *line)
{
    request_rec *r = x->call->r;
    apr_table_t *t = apr_table_make(r->pool, 16);
    char *both = apr_pstrcat(r->pool, user, ":", x->call->basic.password, NULL);

    apr_table_do(keep_ahead, t, r->headers_in, NULL);
    apr_table_setn(t, "Authorization", apr_pstrcat(r->pool, "Basic ", mdm_b64(r->pool, both, strlen(both)), NULL));
    mdm_wipe(both, strlen(both));
    set_if(t, "MS-ASProtocolVersion", line->version);
    set_if(t, "X-MS-PolicyKey", line->policy_key);
    set_if(t, "MS-ASAcceptMultiPart", line->multipart);
    return t;
}

static char *target(relay_t *x, const char *query)
{
    const mdm_eas_server_t *s = &x->server;
    int is_v6 = strchr(s->host, ':') != NULL;
    apr_pool_t *p = x->call->r->pool;

    return apr_pstrcat(p, s->tls ? "proxy:https://" : "proxy:http://", is_v6 ? "[" : "", s->host, is_v6 ? "]:" : ":",
                       apr_itoa(p, s->port), *query ? BACK_END_PATH "?" : BACK_END_PATH, query, NULL);
}

/* The client sends its body now; the back end is not asked whether it wants one. */
static void let_body_come(request_rec *r)
{
    if (r->expecting_100) {
        r->status = HTTP_CONTINUE;
        ap_send_interim_response(r, 0);
        r->status = HTTP_OK;
    }
    if (ap_find_token(r->pool, apr_table_get(r->headers_in, "Connection"), "close")) {
        r->connection->keepalive = AP_CONN_CLOSE;
    }
}

/* Runs mod_proxy's handler on the rebuilt request; everything it needs is put back behind it. */
static int ask(relay_t *x, apr_table_t *headers, char *url)
{
    request_rec *r = x->call->r;
    apr_table_t *headers_in = r->headers_in;
    const char *handler = r->handler;
    char *filename = r->filename;
    int rc, proxyreq = r->proxyreq;
    ap_filter_t *filter;

    let_body_come(r);
    limit_chunked(r);
    filter = ap_add_output_filter_handle(judge_filter, x, r, r->connection);
    r->headers_in = headers;
    r->filename = url;
    r->handler = "proxy-server";
    r->proxyreq = PROXYREQ_REVERSE;
    rc = ap_run_handler(r);
    r->proxyreq = proxyreq;
    r->handler = handler;
    r->filename = filename;
    r->headers_in = headers_in;
    if (!x->begun) {
        ap_remove_output_filter(filter);
    }
    return rc;
}

/* ---------------------------------------------------------------- answers instead */

static int offer(eas_call_t *c, const eas_offer_t *o)
{
    apr_table_setn(c->r->headers_out, "MS-ASProtocolVersions", apr_pstrdup(c->r->pool, o->versions));
    if (*o->commands) {
        apr_table_setn(c->r->headers_out, "MS-ASProtocolCommands", apr_pstrdup(c->r->pool, o->commands));
    }
    apr_table_setn(c->r->headers_out, "Allow", "OPTIONS,POST");
    return eas_answer(c, HTTP_OK, NULL, "allow", 0);
}

/* What mod_proxy said without an answer of the back end: the client's fault, else ours. */
static void note_result(relay_t *x, int rc)
{
    if (x->status) {
        return;
    }
    if (rc == HTTP_BAD_REQUEST || rc == HTTP_REQUEST_TIME_OUT || rc == HTTP_REQUEST_ENTITY_TOO_LARGE) {
        stand_in(x, rc, NULL, NULL);
    } else {
        stand_in(x, HTTP_SERVICE_UNAVAILABLE, NULL, apr_psprintf(x->call->r->pool, "the mail server can't be reached (%d)", rc));
    }
}

/* Nothing of what the proxy left in the request is sent. */
static void wipe_slate(request_rec *r, apr_table_t *headers)
{
    r->headers_out = headers ? headers : apr_table_make(r->pool, 4);
    apr_table_unset(r->headers_out, "Content-Type");
    apr_table_unset(r->headers_out, "Content-Length");
    apr_table_unset(r->headers_out, "Content-Encoding");
    r->err_headers_out = apr_table_make(r->pool, 2);
    r->content_type = NULL;
    r->eos_sent = 0; /* the swallowed answer's */
}

static int answer_instead(relay_t *x)
{
    eas_call_t *c = x->call;
    eas_offer_t old;

    wipe_slate(c->r, x->headers);
    if (x->why) {
        mdm_log(c->ctx, x->headers ? MDM_LOG_WARN : MDM_LOG_INFO, "MDM0810", 0, "mail server %s, %s of %s: %s", x->server.name,
                mdm_eas_cmd_name(c->query->cmd), mdm_mask(c->r->pool, c->who.login), x->why);
    }
    if (c->query->cmd == MDM_EAS_OPTIONS) {
        if (x->status == HTTP_OK && !x->why) {
            eas_offer_put(&x->offer);
            return offer(c, &x->offer);
        }
        if (eas_offer_get(x->server.id, &old)) { /* older than we like, better than nothing */
            return offer(c, &old);
        }
        x->status = x->status == HTTP_OK ? HTTP_SERVICE_UNAVAILABLE : x->status;
    }
    return eas_answer(c, x->status, x->line, x->why ? "unavailable" : "allow",
                      x->status == HTTP_SERVICE_UNAVAILABLE && !apr_table_get(c->r->headers_out, "Retry-After") ? RETRY_S : 0);
}

/* ---------------------------------------------------------------- the way */

/* The person's server; a new child waits a moment for its list. */
static apr_status_t choose(eas_call_t *c, mdm_eas_server_t *out)
{
    apr_status_t rv = eas_server_of(c->r->pool, c->who.source_id, out);
    int i;

    for (i = 0; rv == APR_EAGAIN && i < LIST_WAIT_STEPS && !c->svc->db_away(); i++) {
        apr_sleep(LIST_WAIT_STEP);
        rv = eas_server_of(c->r->pool, c->who.source_id, out);
    }
    return rv;
}

int eas_relay(eas_call_t *c)
{
    relay_t *x = apr_pcalloc(c->r->pool, sizeof(*x));
    const mdm_eas_login_t login = {c->basic.login, c->who.login, c->who.mail};
    const char *user;
    mdm_eas_line_t line;
    apr_status_t rv = choose(c, &x->server);
    int rc;

    x->call = c;
    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0811", MDM_EUNAVAIL, rv == APR_NOTFOUND ? "no enabled mail server serves this user source"
                                                                              : "the list of mail servers has not been read yet");
    }
    if (c->query->cmd == MDM_EAS_OPTIONS && eas_offer_get(x->server.id, &x->offer) &&
        apr_time_now() - x->offer.since < OFFER_FRESH) {
        return offer(c, &x->offer);
    }
    rv = mdm_eas_server_user(c->ctx, &x->server, &login, &user);
    if (rv == APR_SUCCESS) {
        rv = rebuild(x, user, &line);
    }
    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0812", rv == MDM_EINPUT ? MDM_EUNAVAIL : rv, "a mail request can't be written for its server");
    }
    rc = ask(x, request_headers(x, user, &line), target(x, line.query));
    if (x->begun) {
        return rc;
    }
    note_result(x, rc);
    return answer_instead(x);
}
