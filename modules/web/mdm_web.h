/* Owns the stateless httpd side that all our modules share: bodies, answers, problems, routes, origin check, cookies.
 * The one place that maps apr_status_t to HTTP. Linked into each module as a static library. */
#ifndef MDM_WEB_H
#define MDM_WEB_H

#include <httpd.h>
#include <http_config.h>
#include <jansson.h>
#include "base/mdm_text.h"
#include "mdm_services.h"

/* Reads the whole body, at most `limit` bytes (MDM_ETOOBIG beyond, Content-Length or chunked alike; *out is what was read). In r->pool. */
apr_status_t mdm_web_body(request_rec *r, apr_size_t limit, mdm_blob_t *out);
/* Hands a body on in pieces as it comes, at most `limit` bytes (MDM_ETOOBIG beyond); what has failed is read to its end without fn, so that the
 * client gets to read an answer. fn's error, or MDM_EINPUT if the body was cut off. */
typedef apr_status_t (*mdm_web_piece_fn)(void *data, const char *piece, apr_size_t len);
apr_status_t mdm_web_body_pieces(request_rec *r, apr_size_t limit, mdm_web_piece_fn fn, void *data);
/* After MDM_ETOOBIG: reads the rest and throws it away, until `most` bytes were seen, so that the client gets to read
 * an answer; *head holds the first bytes, up to `keep`. The connection is closed afterwards. */
void mdm_web_body_waste(request_rec *r, apr_size_t keep, apr_size_t most, mdm_blob_t *head);

/* Hook results: each sets status, type, security headers (nosniff, no-store, CSP, Referrer-Policy), length, and writes. */
int mdm_web_bytes(request_rec *r, int status, const char *type, const void *data, apr_size_t len);
int mdm_web_json(request_rec *r, int status, json_t *body /* reference is taken */);
int mdm_web_empty(request_rec *r, int status);
/* 429 without a body, for devices: to come again in `wait` seconds. Noted as the decision for the log. */
int mdm_web_throttled(request_rec *r, int wait);
/* The token of "Authorization: Bearer …"; NULL: none. Of the request's memory. */
const char *mdm_web_bearer(const request_rec *r);
int mdm_web_redirect(request_rec *r, const char *location /* 303 */);
/* application/problem+json (RFC 9457) from ctx->fail_* for an API; logs 5xx once. Retry-After with 503 and 429. */
int mdm_web_problem(request_rec *r, mdm_ctx_t *ctx, apr_status_t rv);
/* For device URLs: an empty answer with mdm_http_status(rv), but never 401, 403, 404 or 410: those become 400 (identity and
 * input) or 503 + Retry-After (ours). Logs why with `id` and the device's masked id. */
int mdm_web_device_fail(request_rec *r, mdm_ctx_t *ctx, const char *id, apr_status_t rv);
/* Gives back to the system what this pool's allocator keeps for later (up to MaxMemFree): of a connection that will lie idle. */
void mdm_web_trim(apr_pool_t *p);
/* 405 with Allow. */
int mdm_web_method_not_allowed(request_rec *r, const char *allow);

/* APR_SUCCESS if a changing request comes from our own origin (Sec-Fetch-Site same-origin or none, else Origin equals the
 * request's scheme and host) or carries an API token; MDM_EDENIED otherwise (API-04). */
apr_status_t mdm_web_same_origin(request_rec *r, mdm_ctx_t *ctx, const mdm_caller_t *caller);

/* Cookies: "__Host-" name, Secure, HttpOnly, SameSite=Strict, Path=/. value NULL deletes. On plain http (development on
 * loopback) the prefix and Secure are left out. */
void mdm_web_cookie_set(request_rec *r, const char *name, const char *value, int max_age);
const char *mdm_web_cookie_get(request_rec *r, const char *name);

/* One query parameter, decoded (UTF-8, no NUL); NULL if absent; MDM_EINPUT through ctx if malformed or twice. */
apr_status_t mdm_web_query(request_rec *r, mdm_ctx_t *ctx, const char *name, const char **out);
/* A form body (application/x-www-form-urlencoded) as a table; at most 64 fields of 4 KB. */
apr_status_t mdm_web_form(request_rec *r, mdm_ctx_t *ctx, apr_table_t **out);

/* ---- routes are data (R02): no route without a declared authentication class */
typedef enum { MDM_AUTH_PUBLIC = 1, MDM_AUTH_ADMIN, MDM_AUTH_PERSON, MDM_AUTH_DEVICE } mdm_auth_e;

#define MDM_WEB_ARGS 4 /* {…} in one pattern, at most */

typedef struct mdm_web_call_t {
    request_rec *r;
    mdm_ctx_t *ctx;
    const mdm_services_t *svc;
    const mdm_caller_t *caller;   /* NULL for public and device routes */
    const char *args[MDM_WEB_ARGS]; /* values of {…} in the pattern, decoded; then NULLs */
    json_t *body;                 /* parsed JSON body of POST/PUT/PATCH with `json` set */
    void *data;                   /* the module's own per-request data */
} mdm_web_call_t;

typedef struct mdm_route_t {
    const char *method;           /* "GET" serves HEAD too */
    const char *pattern;          /* below the handler's base: "/api/v1/devices/{id}" */
    mdm_auth_e auth;
    const char *right;            /* admin: "device:read"; NULL with other classes */
    apr_size_t body_limit;        /* 0 = no body expected */
    int json;                     /* body must be application/json and is parsed */
    int (*run)(mdm_web_call_t *call); /* answers with mdm_web_* and returns its result */
} mdm_route_t;

/* Finds the route for r->uri below base and runs it after method, origin, authentication, right and body checks.
 * session_kind as for mdm_services_t.caller. Unknown path 404, wrong method 405 with Allow. DECLINED if uri is not below base. */
int mdm_web_dispatch(request_rec *r, const mdm_services_t *svc, const char *base, const char *session_kind,
                     const mdm_route_t *routes, int nroutes, void *data);

/* The service table, checked for version; NULL before mod_mdm is ready. */
const mdm_services_t *mdm_web_services(void);

#endif
