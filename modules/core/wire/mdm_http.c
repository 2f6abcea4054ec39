/* The HTTP client: one libcurl multi handle, one easy handle per request under way. */
#include "wire/mdm_http.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <apr_strings.h>
#include <curl/curl.h>
#include "mdm_types.h"
#include "base/mdm_seal.h"
#include "wire/mdm_breaker.h"
#include "wire/mdm_curl_tls.h"
#include "wire/mdm_probe.h"

#define HEADERS_MAX 200
#define HEADER_BYTES_MAX 65536
#define POLL_MS 200
#define FAILS_TO_OPEN 5
#define PAUSE_MAX_MS 300000

/* Why connections are not to be used again: mdm_http_t.stale. */
enum { TIMED_OUT = 1, RENEW_ASKED = 2 };

struct mdm_http_t {
    apr_pool_t *pool;
    mdm_http_conf_t conf; /* copied */
    CURLM *multi;
    mdm_breakers_t *breakers;
    struct xfer_t *list;               /* under way */
    int active;                        /* how many */
    mdm_http_req_t *ended, **ended_at; /* waiting for mdm_http_step(), in order */
    int stale;                         /* the connections are not to be used again */
};

/* A request under way. */
typedef struct xfer_t {
    mdm_ctx_t *ctx;
    mdm_http_t *h;
    mdm_http_req_t *req;
    mdm_breaker_t *breaker;
    CURL *easy;
    mdm_curl_tls_t tls;
    struct curl_slist *headers;
    char *body;
    apr_size_t used, size, max;
    apr_size_t header_bytes;
    int header_lines;
    int too_big, denied;
    char words[CURL_ERROR_SIZE]; /* libcurl's, of the failure */
    struct xfer_t *next;
} xfer_t;

void mdm_http_global_init(void)
{
    struct sigaction sa;

    curl_global_init(CURL_GLOBAL_DEFAULT);
    /* a TLS peer that goes away must not end the process */
    if (sigaction(SIGPIPE, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL) {
        sa.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &sa, NULL);
    }
}

/* ---- client */

static void drop(xfer_t *x);

static apr_status_t client_close(void *data)
{
    mdm_http_t *h = data;

    while (h->list)
        drop(h->list);
    if (h->multi)
        curl_multi_cleanup(h->multi);
    return APR_SUCCESS;
}

/* The multi handle owns the connections. */
static int connections_make(mdm_http_t *h)
{
    h->multi = curl_multi_init();
    if (h->multi) {
        curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
        curl_multi_setopt(h->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)h->conf.max_connections);
        curl_multi_setopt(h->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, 2L * h->conf.max_parallel); /* the server's limit counts */
        curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)h->conf.max_parallel);
    }
    h->stale = 0;
    return h->multi != NULL;
}

apr_status_t mdm_http_make(mdm_ctx_t *ctx, apr_pool_t *p, const mdm_http_conf_t *conf, mdm_http_t **out)
{
    mdm_http_t *h = apr_pcalloc(p, sizeof(*h));

    *out = NULL;
    h->pool = p;
    h->conf = *conf;
    h->conf.ca_file = apr_pstrdup(p, conf->ca_file);
    h->conf.ca_pem = apr_pstrdup(p, conf->ca_pem);
    h->conf.cert_pem = apr_pstrdup(p, conf->cert_pem);
    h->conf.pin = apr_pstrdup(p, conf->pin);
    h->conf.key_pem = mdm_secret_dup(p, conf->key_pem);
    h->conf.max_parallel = conf->max_parallel > 0 ? conf->max_parallel : 64;
    h->conf.max_connections = conf->max_connections > 0 ? conf->max_connections : 4;
    h->ended_at = &h->ended;
    apr_pool_cleanup_register(p, h, client_close, apr_pool_cleanup_null);
    if (!connections_make(h) || (conf->key_pem && !h->conf.key_pem))
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no memory for an HTTP client");
    h->breakers = mdm_breakers_make(p, FAILS_TO_OPEN, PAUSE_MAX_MS);
    *out = h;
    return APR_SUCCESS;
}

/* ---- addresses */

/* Called with each resolved address, so a name that points to a forbidden one is caught as well. */
static curl_socket_t on_socket(void *baton, curlsocktype purpose, struct curl_sockaddr *a)
{
    xfer_t *x = baton;

    const mdm_http_conf_t *c = &x->h->conf;

    if ((c->deny_local && mdm_addr_local(&a->addr)) || (c->may && !c->may(c->may_baton, &a->addr))) {
        x->denied = 1;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- receiving */

static size_t on_header(char *data, size_t one, size_t len, void *baton)
{
    xfer_t *x = baton;
    const char *colon;
    char *name;

    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        apr_table_clear(x->req->response_headers); /* after an interim answer */
        return len;
    }
    x->header_bytes += len;
    if (++x->header_lines > HEADERS_MAX || x->header_bytes > HEADER_BYTES_MAX) {
        x->too_big = 1;
        return 0;
    }
    colon = memchr(data, ':', len);
    if (!colon || colon == data)
        return len;
    name = apr_pstrmemdup(x->ctx->pool, data, (apr_size_t)(colon - data));
    apr_table_add(x->req->response_headers, mdm_lower(x->ctx->pool, name),
                  mdm_clean(x->ctx->pool,
                            apr_pstrmemdup(x->ctx->pool, colon + 1, len - (size_t)(colon + 1 - data)),
                            len));
    return len;
}

static size_t on_body(char *data, size_t one, size_t len, void *baton)
{
    xfer_t *x = baton;

    if (len > x->max - x->used) {
        x->too_big = 1;
        return 0;
    }
    if (len >= x->size - x->used) {
        char *grown;

        x->size = x->size ? x->size : 1024;
        while (len >= x->size - x->used)
            x->size *= 2;
        grown = apr_palloc(x->ctx->pool, x->size);
        if (x->used)
            memcpy(grown, x->body, x->used);
        x->body = grown;
    }
    memcpy(x->body + x->used, data, len);
    x->used += len;
    return len;
}

/* ---- preparing */

static int token_ok(const char *s)
{
    static const char set[] = "!#$%&'*+-.^_`|~0123456789"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    return s && *s && strspn(s, set) == strlen(s);
}

static int add_header(xfer_t *x, const char *line)
{
    struct curl_slist *more = curl_slist_append(x->headers, line);

    if (more)
        x->headers = more;
    return more != NULL;
}

static int put_header(void *baton, const char *name, const char *value)
{
    xfer_t *x = baton;

    if (!token_ok(name) || strpbrk(value, "\r\n"))
        return 0;
    /* "name;" is libcurl's form of a header without a value */
    return add_header(x, *value ? apr_pstrcat(x->ctx->pool, name, ": ", value, NULL)
                                : apr_pstrcat(x->ctx->pool, name, ";", NULL));
}

/* "https://host:port" of an acceptable URL, else NULL. */
static const char *target_of(apr_pool_t *p, const char *url)
{
    char *scheme = NULL, *host = NULL, *port = NULL;
    const char *target = NULL;
    CURLU *u = curl_url();

    if (u && curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        (strcmp(scheme, "https") == 0 || strcmp(scheme, "http") == 0) &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
        target = apr_pstrcat(p, scheme, "://", mdm_lower(p, host), ":", port, NULL);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return target;
}

static void set_method(xfer_t *x)
{
    const mdm_http_req_t *r = x->req;
    const char *method = r->method ? r->method : "GET";

    if (r->body || strcmp(method, "POST") == 0) {
        curl_easy_setopt(x->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
        curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, r->body ? (const char *)r->body : "");
    } else if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(x->easy, CURLOPT_NOBODY, 1L);
    }
    curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, method);
}

static void set_tls(xfer_t *x)
{
    const mdm_http_conf_t *c = &x->h->conf;

    x->tls = (mdm_curl_tls_t){x->ctx->pool, c->ca_file, c->ca_pem, c->pin, &x->req->peer};
    mdm_curl_tls_set(x->easy, &x->tls);
    mdm_curl_blob(x->easy, CURLOPT_SSLCERT_BLOB, c->cert_pem);
    mdm_curl_blob(x->easy, CURLOPT_SSLKEY_BLOB, c->key_pem);
}

static void set_limits(xfer_t *x)
{
    const mdm_http_req_t *r = x->req;
    CURL *e = x->easy;

    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROXY, ""); /* not from the environment */
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(r->timeout_ms > 0 ? r->timeout_ms : 30000));
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(r->connect_ms > 0 ? r->connect_ms : 5000));
    curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)x->max);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, x);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(e, CURLOPT_PRIVATE, x);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION,
                     (long)(x->h->conf.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(e, CURLOPT_PIPEWAIT, (long)(x->h->conf.http2 != 0));
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, x->words);
    if (x->h->conf.idle_s > 0)
        curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)x->h->conf.idle_s);
}

static void xfer_free(xfer_t *x)
{
    if (x->easy)
        curl_easy_cleanup(x->easy);
    curl_slist_free_all(x->headers);
    x->easy = NULL;
    x->headers = NULL;
}

static apr_status_t result(mdm_http_req_t *r, apr_status_t rv, const char *error)
{
    r->rv = rv;
    r->error = error;
    return rv;
}

/* Makes the easy handle; the request has its result if this fails. */
static apr_status_t prepare(xfer_t *x)
{
    mdm_http_req_t *r = x->req;
    int ok;

    x->max = r->max_response ? r->max_response : 1024 * 1024;
    x->easy = curl_easy_init();
    ok = x->easy && curl_easy_setopt(x->easy, CURLOPT_URL, r->url) == CURLE_OK;
    if (!ok)
        return result(r, MDM_EUNAVAIL, "out of memory");
    /* "Name:" keeps libcurl from adding its own */
    if (!add_header(x, "Expect:") ||
        ((!r->headers || !apr_table_get(r->headers, "Content-Type")) && !add_header(x, "Content-Type:")) ||
        ((!r->headers || !apr_table_get(r->headers, "User-Agent")) &&
         !add_header(x, "User-Agent: mod_mdm/" MDM_VERSION)))
        return result(r, MDM_EUNAVAIL, "out of memory");
    if (r->headers && !apr_table_do(put_header, x, r->headers, NULL))
        return result(r, MDM_EINPUT, "a header is not valid");
    curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
    set_method(x);
    set_tls(x);
    set_limits(x);
    return APR_SUCCESS;
}

/* Begins a request: NULL if it has its result already. */
static xfer_t *begin(mdm_ctx_t *ctx, mdm_http_t *h, mdm_http_req_t *r)
{
    const char *target = r->url ? target_of(ctx->pool, r->url) : NULL;
    xfer_t *x;

    if (!target || (r->method && !token_ok(r->method))) {
        result(r, MDM_EINPUT, "the URL or method is not valid");
        return NULL;
    }
    x = apr_pcalloc(ctx->pool, sizeof(*x));
    x->ctx = ctx;
    x->h = h;
    x->req = r;
    x->breaker = mdm_breaker_for(h->breakers, target);
    if (prepare(x) != APR_SUCCESS) {
        xfer_free(x);
        return NULL;
    }
    if (!mdm_breaker_try(ctx, x->breaker)) {
        result(r, MDM_EUNAVAIL, "breaker open");
        xfer_free(x);
        return NULL;
    }
    if (curl_multi_add_handle(h->multi, x->easy) != CURLM_OK) {
        mdm_breaker_cancel(x->breaker);
        result(r, MDM_EUNAVAIL, "out of memory");
        xfer_free(x);
        return NULL;
    }
    return x;
}

/* ---- ending */

static const struct {
    const char *error;
    CURLcode code;
    mdm_br_result_e kind;
} failures[] = {
    {"dns", CURLE_COULDNT_RESOLVE_HOST, MDM_BR_AWAY},
    {"connect", CURLE_COULDNT_CONNECT, MDM_BR_AWAY},
    {"timeout", CURLE_OPERATION_TIMEDOUT, MDM_BR_AWAY},
    {"tls", CURLE_SSL_CONNECT_ERROR, MDM_BR_AWAY},
    {"tls", CURLE_PEER_FAILED_VERIFICATION, MDM_BR_OTHER},
    {"tls", CURLE_SSL_CERTPROBLEM, MDM_BR_OTHER},
    {"tls", CURLE_SSL_CIPHER, MDM_BR_OTHER},
    {"tls", CURLE_SSL_CACERT_BADFILE, MDM_BR_OTHER},
    {"tls", CURLE_SSL_ISSUER_ERROR, MDM_BR_OTHER},
    {"reset", CURLE_SEND_ERROR, MDM_BR_OTHER},
    {"reset", CURLE_RECV_ERROR, MDM_BR_OTHER},
    {"reset", CURLE_GOT_NOTHING, MDM_BR_OTHER},
    {"too big", CURLE_FILESIZE_EXCEEDED, MDM_BR_ANSWERED},
};

static void failed(xfer_t *x, CURLcode code)
{
    mdm_br_result_e kind = MDM_BR_OTHER;
    const char *error = "protocol";
    unsigned i;

    for (i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        if (failures[i].code == code) {
            kind = failures[i].kind;
            error = failures[i].error;
            break;
        }
    }
    if (x->too_big || code == CURLE_FILESIZE_EXCEEDED) {
        result(x->req, MDM_ETOOBIG, "too big");
        kind = MDM_BR_ANSWERED;
    } else if (x->denied && code == CURLE_COULDNT_CONNECT) {
        /* our own refusal: says nothing about the target */
        result(x->req, MDM_EDENIED, "local address");
        mdm_breaker_cancel(x->breaker);
        return;
    } else {
        result(x->req, MDM_EUNAVAIL, error);
        x->req->detail = x->words[0] ? mdm_clean(x->ctx->pool, x->words, sizeof(x->words)) : NULL;
        x->h->stale |= code == CURLE_OPERATION_TIMEDOUT ? TIMED_OUT : 0;
    }
    mdm_breaker_note(x->ctx, x->breaker, kind);
}

static void finish(xfer_t *x, CURLcode code)
{
    mdm_http_req_t *r = x->req;
    curl_off_t connected = 0, secured = 0;
    long status = 0, version = 0;

    curl_easy_getinfo(x->easy, CURLINFO_CONNECT_TIME_T, &connected);
    curl_easy_getinfo(x->easy, CURLINFO_APPCONNECT_TIME_T, &secured);
    r->tls_ms = secured > 0 ? (int)((secured - connected) / 1000) : -1;
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(x->easy, CURLINFO_HTTP_VERSION, &version);
    if (code == CURLE_OK && (status < 200 || status > 599))
        code = CURLE_WEIRD_SERVER_REPLY;
    if (code == CURLE_OK && x->h->conf.http2 && version != CURL_HTTP_VERSION_2_0)
        code = CURLE_HTTP2;
    if (code != CURLE_OK) {
        failed(x, code);
        apr_table_clear(r->response_headers);
    } else {
        mdm_breaker_note(x->ctx, x->breaker, MDM_BR_ANSWERED);
        x->h->stale &= ~TIMED_OUT; /* it is alive after all */
        result(r, APR_SUCCESS, NULL);
        r->status = (int)status;
        if (x->used)
            x->body[x->used] = '\0';
        r->response.data = (const unsigned char *)(x->used ? x->body : "");
        r->response.len = x->used;
    }
}

static void drop(xfer_t *x)
{
    xfer_t **at = &x->h->list;

    while (*at && *at != x)
        at = &(*at)->next;
    if (*at) {
        *at = x->next;
        x->h->active--;
    }
    curl_multi_remove_handle(x->h->multi, x->easy);
    xfer_free(x);
}

static void ended(mdm_http_t *h, mdm_http_req_t *r)
{
    r->next = NULL;
    *h->ended_at = r;
    h->ended_at = &r->next;
}

/* Takes what is done from the multi handle. */
static void collect(mdm_http_t *h)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(h->multi, &left)) != NULL) {
        CURLcode code = msg->data.result;
        char *baton = NULL;
        xfer_t *x;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &baton);
        x = (xfer_t *)(void *)baton;
        finish(x, code);
        ended(h, x->req);
        drop(x);
    }
}

/* ---- steps */

int mdm_http_active(const mdm_http_t *h)
{
    return h->active + (h->ended != NULL);
}

int mdm_http_room(const mdm_http_t *h)
{
    return h->conf.max_parallel - h->active;
}

void mdm_http_renew(mdm_http_t *h)
{
    h->stale |= RENEW_ASKED;
}

void mdm_http_add(mdm_ctx_t *ctx, mdm_http_t *h, mdm_http_req_t *r)
{
    xfer_t *x;

    r->status = 0;
    r->tls_ms = -1;
    r->peer = (mdm_blob_t){NULL, 0};
    r->detail = NULL;
    r->response = (mdm_blob_t){(const unsigned char *)"", 0};
    r->response_headers = apr_table_make(ctx->pool, 8);
    if (!h->active) {
        mdm_breakers_tidy(h->breakers);
        if (h->stale) {
            curl_multi_cleanup(h->multi);
            connections_make(h);
        }
    }
    if (!h->multi) {
        result(r, MDM_EUNAVAIL, "out of memory");
    } else if ((x = begin(ctx, h, r)) != NULL) {
        x->next = h->list;
        h->list = x;
        h->active++;
        return;
    }
    ended(h, r);
}

mdm_http_req_t *mdm_http_step(mdm_ctx_t *ctx, mdm_http_t *h, int wait_ms)
{
    mdm_http_req_t *r;
    int running;

    if (!h->ended && h->active) {
        if (curl_multi_perform(h->multi, &running) != CURLM_OK)
            mdm_http_abandon(h, MDM_EUNAVAIL);
        collect(h);
        if (!h->ended && wait_ms > 0) {
            curl_multi_poll(h->multi, NULL, 0, wait_ms, NULL);
            curl_multi_perform(h->multi, &running);
            collect(h);
        }
    }
    r = h->ended;
    if (r && (h->ended = r->next) == NULL)
        h->ended_at = &h->ended;
    return r;
}

void mdm_http_abandon(mdm_http_t *h, apr_status_t rv)
{
    while (h->list) {
        xfer_t *x = h->list;

        mdm_breaker_cancel(x->breaker);
        apr_table_clear(x->req->response_headers);
        result(x->req, rv, "stopped");
        ended(h, x->req);
        drop(x);
    }
}

apr_status_t mdm_http_run(mdm_ctx_t *ctx, mdm_http_t *h, mdm_http_req_t **reqs, int n, volatile int *stop)
{
    int next;

    for (next = 0; next < n; next++) {
        result(reqs[next], APR_EINTR, "stopped");
    }
    for (next = 0; next < n || mdm_http_active(h);) {
        if (stop && *stop) {
            mdm_http_abandon(h, APR_EINTR);
            while (mdm_http_step(ctx, h, 0))
                ;
            return APR_EINTR;
        }
        while (next < n && mdm_http_room(h) > 0)
            mdm_http_add(ctx, h, reqs[next++]);
        mdm_http_step(ctx, h, POLL_MS);
    }
    return APR_SUCCESS;
}
