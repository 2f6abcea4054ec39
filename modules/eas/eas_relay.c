/* The way of a relayed request (PXY-01, PXY-02): it goes out rebuilt (eas_out.c), waits for its answer without a thread, and of what comes
 * back the phone sees only what it may. Bodies pass in pieces, both ways. */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <mod_proxy.h>
#include <poll.h>
#include <util_filter.h>

#include "base/mdm_wait.h"
#include "eas_back.h"
#include "mdm_web.h"

#define RETRY_S 60
#define OFFER_FRESH apr_time_from_sec(600)
#define LIST_WAIT_STEP apr_time_from_msec(20)
#define LIST_WAIT_STEPS 100 /* for the first list of a new child */
#define KEPT_BODY (64 * 1024) /* of a request: so much is kept for a second try */
#define PIECE (16 * 1024)
#define DRAIN_MAX (64 * 1024)
#define LONGEST_POLL apr_time_from_sec(3600) /* a little more than the protocol's longest */
#define POLL_GRACE apr_time_from_sec(60)
#define OTHERS_LONGEST apr_time_from_sec(300)
#define SHORT_WAIT_MS 20 /* most answers come within this: it costs less than putting the request aside */

/* Codes that a phone may see. 401 and 500 are not among them: it would ask for the password, or load whole folders again. */
static const struct {
    int status;
    const char *line; /* httpd has no words for it */
} codes[] = {
    {400, NULL}, {403, NULL}, {413, NULL}, {441, "441 Certificate problem"}, {456, "456 Blocked"}, {457, "457 Password expired"},
    {501, NULL}, {503, NULL}, {507, NULL},
};

/* One request at the back end. */
typedef struct relay_t {
    eas_call_t *call;
    mdm_eas_server_t server;
    eas_back_t *back;
    apr_bucket_brigade *in;  /* of the client's body */
    char *body;              /* its first bytes */
    apr_size_t body_len;
    int body_whole;          /* they are all */
    apr_off_t body_left;     /* what LimitRequestBody still allows; negative: anything */
    mdm_eas_hold_t wants;    /* how long a long poll is to wait */
    apr_int64_t until;       /* in ticks: no answer after this */
    int again, followed, held;
    int sent_rest;           /* more of the body is gone than is kept */
    int status, retry_s;     /* of the answer instead; 0: none */
    const char *line, *why;
    eas_head_t answer;
    apr_table_t *headers;    /* kept ones */
    eas_offer_t *offer;      /* to OPTIONS */
} relay_t;

static int woken(request_rec *r, void *baton, mdm_woke_e why);
static int start(relay_t *x);

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

int eas_own_options(eas_call_t *c)
{
    eas_offer_t own;

    eas_offer_own(&own);
    return offer(c, &own);
}

/* The answer that stands for one that is not passed on. why: NULL for what a back end may say. */
static void stand_in(relay_t *x, int status, const char *line, const char *why)
{
    x->status = status;
    x->line = line;
    x->why = why;
}

/* Requests that were held come back at the same moment when a server goes: not all at once. */
static int spread(const relay_t *x)
{
    unsigned char dice = 0;

    if (x->held) {
        apr_generate_random_bytes(&dice, 1);
    }
    return x->held ? RETRY_S / 2 + dice % RETRY_S : RETRY_S;
}

static int answer_instead(relay_t *x)
{
    eas_call_t *c = x->call;
    request_rec *r = c->r;
    eas_offer_t old;

    eas_back_close(x->back);
    if (x->headers) {
        r->headers_out = x->headers;
        apr_table_unset(r->headers_out, "Content-Type");
        apr_table_unset(r->headers_out, "Content-Length");
        apr_table_unset(r->headers_out, "Content-Encoding");
    }
    if (x->why) {
        mdm_log(c->ctx, x->headers && x->answer.status != HTTP_UNAUTHORIZED ? MDM_LOG_WARN : MDM_LOG_INFO, "MDM0810", 0, "mail server %s, %s of %s: %s", x->server.name,
                mdm_eas_cmd_name(c->query->cmd), mdm_mask(r->pool, c->who.login), x->why);
    }
    if (c->query->cmd == MDM_EAS_OPTIONS) {
        if (x->status == HTTP_OK && !x->why) {
            eas_offer_put(x->offer);
            return offer(c, x->offer);
        }
        if (eas_offer_get(x->server.id, &old)) { /* older than we like, better than nothing */
            return offer(c, &old);
        }
        if (x->answer.status == HTTP_UNAUTHORIZED) { /* what is spoken here is no matter of its mailbox */
            return eas_own_options(c);
        }
        x->status = x->status == HTTP_OK ? HTTP_SERVICE_UNAVAILABLE : x->status;
    }
    return eas_answer(c, x->status, x->line, x->why ? "unavailable" : "allow",
                      x->status == HTTP_SERVICE_UNAVAILABLE && !apr_table_get(r->headers_out, "Retry-After") ? spread(x) : 0);
}

static int fail(relay_t *x, const char *why)
{
    stand_in(x, HTTP_SERVICE_UNAVAILABLE, NULL, why);
    return answer_instead(x);
}

/* ---------------------------------------------------------------- what comes back */

/* True if a 200 can be an answer of ActiveSync. Attachments of old protocol versions have any type. */
static int is_mail(const relay_t *x)
{
    const char *type = apr_table_get(x->headers, "Content-Type");

    return !type || x->answer.bare || !strncasecmp(type, "application/vnd.ms-sync", 23) ||
           x->call->query->cmd == MDM_EAS_GET_ATTACHMENT;
}

static int make_offer(relay_t *x)
{
    const char *versions = apr_table_get(x->headers, "MS-ASProtocolVersions");

    return versions && eas_offer_make(x->offer, x->server.id, versions, apr_table_get(x->headers, "MS-ASProtocolCommands"));
}

/* Looks at status and headers; returns true if the body may pass. */
static int judge(relay_t *x)
{
    int status = x->answer.status;
    unsigned i;

    if (status == HTTP_OK && x->call->query->cmd == MDM_EAS_OPTIONS) {
        stand_in(x, HTTP_OK, NULL, make_offer(x) ? NULL : "the mail server offers no protocol version that is known here");
        return 0;
    }
    if (status == HTTP_OK) {
        if (!is_mail(x)) {
            stand_in(x, HTTP_SERVICE_UNAVAILABLE, NULL, "the mail server answered with a page instead of ActiveSync");
        }
        return !x->status;
    }
    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i].status == status) {
            stand_in(x, status, codes[i].line, NULL);
            return 0;
        }
    }
    stand_in(x, HTTP_SERVICE_UNAVAILABLE, NULL, status == HTTP_UNAUTHORIZED
             ? "the mail server refuses a log-in that the user source accepts"
             : apr_psprintf(x->call->r->pool, "the mail server answered %d", status));
    return 0;
}

/* The rest of an answer that nobody gets, if it is short: the connection can be used again then. */
static void drain(relay_t *x)
{
    apr_bucket_brigade *bb = apr_brigade_create(x->call->r->pool, x->call->r->connection->bucket_alloc);
    apr_off_t len, sum = 0;
    int end = 0;

    while (!end && sum < DRAIN_MAX && eas_back_read(x->back, bb, 0) == APR_SUCCESS) {
        end = APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb));
        sum += apr_brigade_length(bb, 1, &len) == APR_SUCCESS ? len : DRAIN_MAX;
        apr_brigade_cleanup(bb);
    }
}

/* What the answer, or its absence, says of server and person; true if another server shall be asked. A server that we were sent to is not one
 * of the person's order. */
static int told(relay_t *x, eas_told_e what)
{
    mdm_eas_server_t next;

    if (x->followed) {
        return 0;
    }
    eas_server_told(x->call, what);
    if ((what != EAS_TOLD_AWAY && what != EAS_TOLD_REFUSED) || x->sent_rest ||
        eas_server_next(x->call, &next) != APR_SUCCESS || !strcmp(next.id, x->server.id)) {
        return 0;
    }
    eas_back_close(x->back);
    x->back = NULL;
    x->server = next;
    x->again = 0;
    x->headers = NULL;
    return 1;
}

/* The answer of a back end that moved the mailbox: to a server that we know, we go ourselves (facts 2.9). */
static int moved(relay_t *x)
{
    const char *to = apr_table_get(x->answer.headers, "X-MS-Location");
    mdm_eas_server_t other;
    apr_uri_t uri;

    if (x->answer.status != 451 || !to || x->followed || !x->body_whole ||
        apr_uri_parse(x->call->r->pool, to, &uri) != APR_SUCCESS || !uri.hostname || !uri.scheme ||
        eas_server_at(x->call->r->pool, uri.hostname, &other) != APR_SUCCESS || !strcmp(other.id, x->server.id)) {
        return 0;
    }
    eas_back_close(x->back);
    x->server = other;
    x->followed = 1;
    x->again = 0;
    return 1;
}

/* Takes up the answer's first part; a 140 to 144 or 449 in it is not the phone's business. */
static int stale(relay_t *x, apr_bucket_brigade *bb)
{
    char first[256];
    apr_size_t len = sizeof(first);
    int status;

    if (x->answer.bare || apr_table_get(x->headers, "Content-Encoding") || x->call->query->cmd == MDM_EAS_PROVISION ||
        apr_brigade_flatten(bb, first, &len) != APR_SUCCESS) {
        return 0;
    }
    status = mdm_eas_status_peek(x->call->query->cmd, first, len);
    return status >= MDM_EAS_ST_WIPE && status <= MDM_EAS_ST_BAD_KEY ? status : 0;
}

/* A part goes to the client. The last one frees the connection first, so that a slow client does not keep it. */
static apr_status_t pass(request_rec *r, apr_bucket_brigade *bb)
{
    apr_status_t rv = ap_pass_brigade(r->output_filters, bb);

    apr_brigade_cleanup(bb);
    return rv != APR_SUCCESS ? rv : r->connection->aborted ? APR_ECONNABORTED : APR_SUCCESS;
}

/* The client must notice that this is not the whole answer. */
static int cut_off(relay_t *x, apr_bucket_brigade *bb, apr_status_t rv)
{
    eas_call_t *c = x->call;
    request_rec *r = c->r;

    mdm_log(c->ctx, MDM_LOG_WARN, "MDM0831", rv, "mail server %s broke off within its answer to %s of %s", x->server.name,
            mdm_eas_cmd_name(c->query->cmd), mdm_mask(r->pool, c->who.login));
    apr_brigade_cleanup(bb);
    r->connection->keepalive = AP_CONN_CLOSE;
    APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, r->pool, bb->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
    pass(r, bb);
    r->connection->aborted = 1; /* a length that was announced is not made up for */
    eas_back_close(x->back);
    return OK;
}

/* What has come is passed on; only before the back end is waited for it is pushed out. */
static int stream(relay_t *x, apr_bucket_brigade *bb)
{
    request_rec *r = x->call->r;
    apr_status_t rv = APR_SUCCESS;
    int end;

    do {
        end = APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb));
        if (pass(r, bb) != APR_SUCCESS) {
            break; /* the client has left */
        }
        rv = end ? APR_SUCCESS : eas_back_read(x->back, bb, 0);
        if (rv == APR_EAGAIN) {
            APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(bb->bucket_alloc));
            if (pass(r, bb) != APR_SUCCESS) {
                break;
            }
            rv = eas_back_read(x->back, bb, 1);
        }
        if (rv != APR_SUCCESS) {
            return cut_off(x, bb, rv);
        }
    } while (!end);
    eas_back_close(x->back);
    return OK;
}

static int pass_answer(relay_t *x)
{
    eas_call_t *c = x->call;
    request_rec *r = c->r;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    const char *type = apr_table_get(x->headers, "Content-Type");
    apr_status_t rv = eas_back_read(x->back, bb, 1);
    int status;

    if (rv != APR_SUCCESS) {
        return fail(x, "the mail server broke off");
    }
    if ((status = stale(x, bb)) != 0) {
        apr_brigade_cleanup(bb);
        drain(x);
        eas_back_close(x->back);
        return eas_back_said_stale(c, status);
    }
    apr_table_unset(x->headers, "Content-Type");
    apr_table_unset(x->headers, "Content-Length");
    apr_table_unset(r->headers_in, "Range"); /* httpd would cut the answer up */
    r->headers_out = x->headers;
    r->status = HTTP_OK;
    if (type) {
        ap_set_content_type(r, type);
    }
    if (!x->answer.bare && apr_table_get(x->answer.headers, "Content-Length")) {
        apr_table_setn(r->headers_out, "Content-Length", apr_table_get(x->answer.headers, "Content-Length"));
    }
    return stream(x, bb);
}

/* The answer has begun. */
static int take(relay_t *x)
{
    eas_call_t *c = x->call;
    apr_status_t rv = eas_back_head(x->back, &x->answer);

    if (rv != APR_SUCCESS) {
        return fail(x, rv == MDM_EINPUT ? "the mail server's answer is not HTTP" : "the mail server broke off");
    }
    x->headers = eas_out_kept(c->r->pool, &x->server, x->answer.headers);
    if (x->answer.status == 449) {
        told(x, EAS_TOLD_ACCEPTED);
        drain(x);
        eas_back_close(x->back);
        return eas_back_said_stale(c, 449);
    }
    if (moved(x) || (x->answer.status == HTTP_UNAUTHORIZED && told(x, EAS_TOLD_REFUSED))) {
        return start(x);
    }
    if (judge(x)) {
        told(x, EAS_TOLD_ACCEPTED);
        return pass_answer(x);
    }
    if (x->status < 500 && c->query->cmd != MDM_EAS_OPTIONS) {
        told(x, EAS_TOLD_ACCEPTED);
    }
    drain(x);
    return answer_instead(x);
}

/* ---------------------------------------------------------------- waiting */

static int is_poll(const relay_t *x)
{
    return x->call->query->cmd == MDM_EAS_PING || x->call->query->cmd == MDM_EAS_SYNC;
}

/* A request that has an effect at the back end each time it is made. */
static int only_once(const relay_t *x)
{
    mdm_eas_cmd_e cmd = x->call->query->cmd;

    return cmd == MDM_EAS_SEND_MAIL || cmd == MDM_EAS_SMART_FORWARD || cmd == MDM_EAS_SMART_REPLY;
}

/* How long the back end may take; never more than ProxyTimeout. */
static apr_interval_time_t patience(const relay_t *x)
{
    server_rec *s = x->call->r->server;
    const proxy_server_conf *conf = ap_get_module_config(s->module_config, ap_find_linked_module("mod_proxy.c"));
    apr_interval_time_t most = conf->timeout_set ? conf->timeout : s->timeout;
    apr_interval_time_t t = !is_poll(x)         ? OTHERS_LONGEST
                            : x->wants.seconds ? apr_time_from_sec(x->wants.seconds) + POLL_GRACE
                                               : LONGEST_POLL;

    return t < most ? t : most;
}

static int put_aside(relay_t *x)
{
    eas_call_t *c = x->call;
    apr_int64_t left = x->until - mdm_ticks();
    const mdm_hold_t h = {
        .fd = eas_back_fd(x->back),
        .wait = left > 0 ? left : 0,
        .rec = c->query->cmd == MDM_EAS_OPTIONS ? NULL : &c->rec,
        .person_id = c->who.person_id,
        .idle = is_poll(x),
        .ping = c->query->cmd == MDM_EAS_PING,
        .woken = woken,
        .baton = x,
    };

    x->held = 1;
    eas_back_rest(x->back);
    eas_forget_password(c);
    return c->svc->hold(c->r, &h);
}

/* A connection that was kept may have been closed by the other side just now: once more, on another one. */
static int may_try_again(relay_t *x)
{
    if (!eas_back_used(x->back) || x->again || !x->body_whole || only_once(x)) {
        return 0;
    }
    eas_back_close(x->back);
    x->again = 1;
    return 1;
}

static int look(relay_t *x)
{
    apr_status_t rv = eas_back_peek(x->back);

    if (rv == APR_SUCCESS) {
        return take(x);
    }
    if (rv == APR_EAGAIN) {
        return put_aside(x);
    }
    return may_try_again(x) ? start(x) : fail(x, "the mail server broke off");
}

/* The end of a long poll that the phone takes for an ordinary one: it comes again at once. */
static int end_poll(relay_t *x, const char *why)
{
    eas_call_t *c = x->call;
    mdm_blob_t none = {NULL, 0};

    eas_back_close(x->back);
    return eas_document(c, why, c->query->cmd == MDM_EAS_PING ? mdm_eas_ping_answer(c->r->pool, 1, 0) : none);
}

static int left(relay_t *x)
{
    eas_back_close(x->back);
    x->call->r->connection->aborted = 1;
    return eas_answer(x->call, HTTP_SERVICE_UNAVAILABLE, NULL, "client left", 0);
}

static int go_on(relay_t *x, mdm_woke_e why)
{
    switch (why) {
    case MDM_WOKE_READY:
        return look(x);
    case MDM_WOKE_GONE:
        return left(x);
    case MDM_WOKE_CHANGED:
    case MDM_WOKE_FILTERS:
        if (eas_still(x->call, why)) {
            return put_aside(x);
        }
        break;
    case MDM_WOKE_FULL:
        x->held = 1; /* not all at once */
        return fail(x, NULL);
    default:
        break;
    }
    if (is_poll(x)) {
        return end_poll(x, why == MDM_WOKE_CHANGED || why == MDM_WOKE_FILTERS ? "changed" : "allow");
    }
    return fail(x, why == MDM_WOKE_DEADLINE ? "the mail server did not answer in time" : NULL);
}

static int woken(request_rec *r, void *baton, mdm_woke_e why)
{
    relay_t *x = baton;
    eas_call_t *c = x->call;
    int rc;

    eas_recall_password(c);
    rc = go_on(x, why);
    if (rc != SUSPENDED) {
        eas_forget_password(c);
    }
    return rc;
}

/* ---------------------------------------------------------------- the way out */

/* The client's body as it comes; it is over when *end is set. A hook result other than OK: the client's fault. */
static int read_body(relay_t *x, int *end)
{
    request_rec *r = x->call->r;
    apr_off_t len = 0;
    apr_status_t rv;

    apr_brigade_cleanup(x->in);
    rv = ap_get_brigade(r->input_filters, x->in, AP_MODE_READBYTES, APR_BLOCK_READ, PIECE);
    if (rv != APR_SUCCESS || APR_BRIGADE_EMPTY(x->in)) {
        return ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
    }
    *end = APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(x->in));
    apr_brigade_length(x->in, 1, &len);
    x->call->bytes_in += (apr_uint64_t)len;
    if (x->body_left >= 0 && (x->body_left -= len) < 0) {
        return HTTP_REQUEST_ENTITY_TOO_LARGE;
    }
    return OK;
}

/* The first bytes of the body, and all of it if it is short: with it the request can be made twice. The brigade keeps what is more. */
static int read_first(relay_t *x)
{
    request_rec *r = x->call->r;
    apr_size_t room = 0;
    int rc = OK, end = x->call->query->cmd == MDM_EAS_OPTIONS || !ap_request_has_body(r);

    mdm_eas_hold_init(&x->wants);
    while (rc == OK && !end && x->body_len <= KEPT_BODY - PIECE && (rc = read_body(x, &end)) == OK) {
        apr_size_t len = PIECE;

        if (room < x->body_len + PIECE) { /* most are a few hundred bytes, and wait for long */
            apr_off_t seen = 0;
            char *more;

            apr_brigade_length(x->in, 1, &seen);
            room = end ? x->body_len + (apr_size_t)seen : room ? KEPT_BODY : 2 * PIECE;
            more = apr_palloc(r->pool, room);
            if (x->body_len) {
                memcpy(more, x->body, x->body_len);
            }
            x->body = more;
        }
        apr_brigade_flatten(x->in, x->body + x->body_len, &len);
        if (is_poll(x)) {
            mdm_eas_hold_push(&x->wants, x->body + x->body_len, len);
        }
        x->body_len += len;
        apr_brigade_cleanup(x->in);
    }
    x->body_whole = end;
    x->call->heartbeat_s = x->wants.seconds;
    return rc;
}

/* Says where the body ends; framed: in chunks. */
static const char *body_end(const relay_t *x, int *framed)
{
    request_rec *r = x->call->r;
    const char *length = apr_table_get(r->headers_in, "Content-Length");

    *framed = !x->body_whole && !length;
    return x->body_whole && x->call->query->cmd == MDM_EAS_OPTIONS ? "\r\n"
           : x->body_whole ? apr_psprintf(r->pool, "Content-Length: %" APR_SIZE_T_FMT "\r\n\r\n", x->body_len)
           : length        ? apr_pstrcat(r->pool, "Content-Length: ", length, "\r\n\r\n", NULL)
                           : apr_psprintf(r->pool, "Transfer-Encoding: chunked\r\n\r\n%" APR_UINT64_T_HEX_FMT "\r\n",
                                          (apr_uint64_t)x->body_len);
}

/* What was read is sent with the headers in one piece, the rest as it comes. */
static apr_status_t send_first(relay_t *x, const char *head, int framed)
{
    eas_back_write(x->back, head, strlen(head));
    if (x->body_len) {
        eas_back_write(x->back, x->body, x->body_len);
    }
    if (framed) {
        eas_back_write(x->back, "\r\n", 2);
    }
    return eas_back_flush(x->back);
}

/* The rest of a long body. rc: the client's fault. */
static apr_status_t send_rest(relay_t *x, int framed, int *rc)
{
    apr_status_t rv = APR_SUCCESS;
    int end = x->body_whole;

    *rc = OK;
    x->sent_rest = !end;
    while (rv == APR_SUCCESS && !end && (*rc = read_body(x, &end)) == OK) {
        rv = eas_back_pass(x->back, x->in, framed);
    }
    if (rv == APR_SUCCESS && *rc == OK && framed) {
        eas_back_write(x->back, "0\r\n\r\n", 5);
        rv = eas_back_flush(x->back);
    }
    return rv;
}

static int await_answer(relay_t *x)
{
    struct pollfd p = {eas_back_fd(x->back), POLLIN, 0};

    x->until = mdm_ticks() + patience(x);
    return poll(&p, 1, x->call->query->cmd == MDM_EAS_PING ? 0 : SHORT_WAIT_MS) > 0 ? look(x) : put_aside(x);
}

/* Once for each server that is asked. */
static int start(relay_t *x)
{
    eas_call_t *c = x->call;
    const eas_out_t out = {&x->server, c->query, c->has_back_key, c->back_key, 0};
    apr_status_t rv;
    int framed, rc;
    char *head;

    if (c->query->cmd == MDM_EAS_OPTIONS) {
        x->offer = apr_palloc(c->r->pool, sizeof(*x->offer));
        if (eas_offer_get(x->server.id, x->offer) && apr_time_now() - x->offer->since < OFFER_FRESH) {
            return offer(c, x->offer);
        }
    }
    rv = eas_out_head(c, &out, body_end(x, &framed), &head);
    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0812", rv == MDM_EINPUT ? MDM_EUNAVAIL : rv, "a mail request can't be written for its server");
    }
    if (eas_back_open(c->r, &x->server, &x->back) != APR_SUCCESS) {
        free(head);
        return told(x, EAS_TOLD_AWAY) ? start(x) : fail(x, "the mail server can't be reached");
    }
    rv = send_first(x, head, framed);
    free(head);
    if (rv != APR_SUCCESS && !eas_back_used(x->back)) { /* TLS came to nothing */
        return told(x, EAS_TOLD_AWAY) ? start(x) : fail(x, "the mail server can't be reached");
    }
    rc = OK;
    if (rv == APR_SUCCESS) {
        told(x, EAS_TOLD_REACHED);
        rv = send_rest(x, framed, &rc);
    }
    if (rc != OK) { /* half a body: the back end must not take it for a whole one */
        eas_back_close(x->back);
        stand_in(x, rc == AP_FILTER_ERROR ? HTTP_BAD_REQUEST : rc, NULL, NULL);
        return answer_instead(x);
    }
    if (rv != APR_SUCCESS && eas_back_peek(x->back) != APR_SUCCESS) { /* it may have answered before it read all */
        return may_try_again(x) ? start(x) : fail(x, "the mail server broke off");
    }
    return await_answer(x);
}

/* ---------------------------------------------------------------- the way */

/* The person's server; a new child waits a moment for its list. */
static apr_status_t choose(eas_call_t *c, mdm_eas_server_t *out)
{
    apr_status_t rv = eas_server_next(c, out);
    int i;

    for (i = 0; rv == APR_EAGAIN && i < LIST_WAIT_STEPS && !c->svc->db_away(); i++) {
        apr_sleep(LIST_WAIT_STEP);
        rv = eas_server_next(c, out);
    }
    return rv;
}

int eas_relay(eas_call_t *c)
{
    relay_t *x = apr_pcalloc(c->r->pool, sizeof(*x));
    apr_status_t rv = choose(c, &x->server);
    int rc;

    x->call = c;
    if (rv == MDM_EDENIED && c->query->cmd == MDM_EAS_OPTIONS) {
        return eas_own_options(c);
    }
    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0811", MDM_EUNAVAIL, rv == APR_EAGAIN ? "the list of mail servers has not been read yet"
                                                                            : "no mail server can be asked");
    }
    x->in = apr_brigade_create(c->r->pool, c->r->connection->bucket_alloc);
    x->body_left = ap_get_limit_req_body(c->r) > 0 ? ap_get_limit_req_body(c->r) : -1;
    rc = read_first(x);
    if (rc != OK) {
        stand_in(x, rc == AP_FILTER_ERROR ? HTTP_BAD_REQUEST : rc, NULL, NULL);
        return answer_instead(x);
    }
    return start(x);
}
