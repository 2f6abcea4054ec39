/* Owns outbound HTTP: libcurl multi, HTTP/2, hard limits on time and size, one breaker per target (REL-04, R36, R37). */
#ifndef MDM_HTTP_H
#define MDM_HTTP_H

#include <apr_tables.h>
#include "base/mdm_text.h"

struct sockaddr;

typedef struct mdm_http_t mdm_http_t; /* a client: connections live as long as it does; one thread at a time */

typedef struct mdm_http_conf_t {
    const char *ca_file;   /* PEM with trusted roots; NULL = the system's */
    const char *ca_pem;    /* trusted roots in memory instead */
    const char *cert_pem;  /* client certificate (chain) and key in memory; NULL = none */
    const char *key_pem;
    const char *pin;       /* SHA-256 (hex) of the one certificate that a server may show, whatever its authority and name; "": trusted
                            * roots and the name decide. Not NULL: the requests' `peer` is filled, and their pool outlives the client */
    int http2;             /* 1: HTTP/2 required by ALPN, streams multiplexed on few connections */
    int max_parallel;      /* requests under way at once (default 64) */
    int max_connections;   /* per host (default 4) */
    int idle_s;            /* a connection idle for longer is not used again (default: libcurl's two minutes) */
    int deny_local;        /* refuse loopback, link-local and metadata addresses after resolution (SEC-08) */
    int (*may)(void *baton, const struct sockaddr *sa); /* who may be connected beside that; NULL: all */
    void *may_baton;
} mdm_http_conf_t;

typedef struct mdm_http_req_t {
    const char *method, *url;        /* https:// or http:// only; never follows redirects */
    const apr_table_t *headers;      /* names and values with CR, LF or NUL are refused */
    const void *body;
    apr_size_t body_len;
    int timeout_ms;                  /* whole request, default 30,000 */
    int connect_ms;                  /* default 5,000 */
    apr_size_t max_response;         /* default 1 MB: larger is MDM_ETOOBIG */
    void *baton;                     /* the caller's */
    /* results, in the call's pool */
    apr_status_t rv;                 /* APR_SUCCESS: an HTTP answer of any status came */
    int status;
    apr_table_t *response_headers;   /* lower-case names */
    mdm_blob_t response;
    mdm_blob_t peer;                 /* DER of the server's certificate, accepted or not; with conf.pin, on a new connection */
    int tls_ms;                      /* how long the handshake took; -1: none was finished */
    const char *error;               /* class of the failure: dns, connect, tls, timeout, reset, too big, protocol, breaker open, … */
    const char *detail;              /* the library's own words for it, cleaned; NULL if there are none */
    struct mdm_http_req_t *next;     /* the client's */
} mdm_http_req_t;

/* Library-wide initialisation (curl_global_init); before threads, any number of times. */
void mdm_http_global_init(void);
/* A client in pool p, closed with it. Not shared between threads; never made before fork. */
apr_status_t mdm_http_make(mdm_ctx_t *ctx, apr_pool_t *p, const mdm_http_conf_t *conf, mdm_http_t **out);
/* Runs all requests to their end, at most max_parallel at once, in order of the list. stop may be NULL: *stop != 0 ends early
 * (the rest gets APR_EINTR). Each result is in its request. While a host's breaker is open its requests fail at once:
 * it opens after 5 failures to connect or time-outs in a row, for 1 s doubling to 5 min, with jitter, and lets one through then. */
apr_status_t mdm_http_run(mdm_ctx_t *ctx, mdm_http_t *h, mdm_http_req_t **reqs, int n, volatile int *stop);

/* The same in steps, for a caller that has more to send while some are under way; only without mdm_http_run() on the same client.
 * ctx: its pool takes the results and must live until the request has ended; so must the request. */
void mdm_http_add(mdm_ctx_t *ctx, mdm_http_t *h, mdm_http_req_t *req);
/* Moves what is under way, for at most wait_ms if nothing ends; the next request that has ended, or NULL. */
mdm_http_req_t *mdm_http_step(mdm_ctx_t *ctx, mdm_http_t *h, int wait_ms);
int mdm_http_active(const mdm_http_t *h); /* under way, or ended and not yet fetched by mdm_http_step() */
int mdm_http_room(const mdm_http_t *h);   /* may be added now within max_parallel */
/* Gives up what is under way: each ends with rv and is fetched by mdm_http_step(). */
void mdm_http_abandon(mdm_http_t *h, apr_status_t rv);
/* New connections as soon as nothing is under way. The client does so itself after a time-out that no answer followed: a dead
 * connection would be used again and again. */
void mdm_http_renew(mdm_http_t *h);

/* Retry delay with saturation and jitter: base_ms * 2^attempt, capped, ±25 %. */
apr_int64_t mdm_backoff_ms(int attempt, apr_int64_t base_ms, apr_int64_t cap_ms);

#endif
