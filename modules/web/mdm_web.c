/* Bodies, answers and problems: what each of our handlers needs of httpd, and nothing of what they mean. */
#include "mdm_web.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>
#include <mpm_common.h>
#include <util_filter.h>

#include "base/mdm_json.h"

#define RETRY_AFTER_S 30
#define BODY_READ "mdm-body-read"
#define DRAIN_MAX 16384 /* smaller ones are read away to keep the connection */

const mdm_services_t *mdm_web_services(void)
{
    APR_OPTIONAL_FN_TYPE(mdm_services) *get = APR_RETRIEVE_OPTIONAL_FN(mdm_services);
    const mdm_services_t *svc = get ? get() : NULL;
    return svc && svc->api == MDM_SERVICES_API && svc->size >= sizeof(*svc) ? svc : NULL;
}

static apr_status_t append_brigade(request_rec *r, apr_bucket_brigade *bb, apr_size_t limit,
                                   char **buf, apr_size_t *len, apr_size_t *room, int *eos)
{
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        const char *data;
        apr_size_t n;
        apr_status_t rv;
        if (APR_BUCKET_IS_EOS(b)) {
            *eos = 1;
            break;
        }
        if (APR_BUCKET_IS_METADATA(b))
            continue;
        rv = apr_bucket_read(b, &data, &n, APR_BLOCK_READ);
        if (rv != APR_SUCCESS)
            return rv;
        if (n > limit - *len)
            return MDM_ETOOBIG;
        if (*len + n + 1 > *room) {
            apr_size_t want = *room * 2 > *len + n + 1 ? *room * 2 : *len + n + 1;
            char *bigger = apr_palloc(r->pool, want);
            memcpy(bigger, *buf, *len);
            *buf = bigger;
            *room = want;
        }
        memcpy(*buf + *len, data, n);
        *len += n;
    }
    return APR_SUCCESS;
}

/* What a failing read of the client's body means. The client went away or sent nonsense: its fault, never 5xx. */
static apr_status_t body_error(apr_status_t rv)
{
    if (rv == AP_FILTER_ERROR || rv == APR_ENOSPC)
        return MDM_ETOOBIG;
    return rv == MDM_ETOOBIG ? rv : MDM_EINPUT;
}

apr_status_t mdm_web_body(request_rec *r, apr_size_t limit, mdm_blob_t *out)
{
    const char *cl = apr_table_get(r->headers_in, "Content-Length");
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_size_t len = 0, room = 4096;
    apr_off_t announced = 0;
    int eos = 0;
    char *buf;
    apr_status_t rv = APR_SUCCESS;

    out->data = (const unsigned char *)"";
    out->len = 0;
    if (cl) {
        if (!ap_parse_strict_length(&announced, cl))
            return MDM_EINPUT;
        if (announced > (apr_off_t)limit)
            return MDM_ETOOBIG;
        room = (apr_size_t)announced + 1;
    }
    buf = apr_palloc(r->pool, room);
    while (!eos && rv == APR_SUCCESS) {
        rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, HUGE_STRING_LEN);
        if (rv == APR_SUCCESS)
            rv = append_brigade(r, bb, limit, &buf, &len, &room, &eos);
        apr_brigade_cleanup(bb);
    }
    if (rv != APR_SUCCESS) {
        if (rv == MDM_ETOOBIG) {
            r->connection->keepalive = AP_CONN_CLOSE; /* the rest is not read */
            out->data = (const unsigned char *)buf;
            out->len = len;
        }
        return body_error(rv);
    }
    apr_table_setn(r->notes, BODY_READ, "1");
    buf[len] = '\0';
    out->data = (const unsigned char *)buf;
    out->len = len;
    return APR_SUCCESS;
}

/* The pieces of a brigade; *seen counts what came. */
static apr_status_t hand_on(apr_bucket_brigade *bb, apr_size_t limit, apr_size_t *seen, int *eos, mdm_web_piece_fn fn, void *data)
{
    apr_status_t rv = APR_SUCCESS;
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb) && !*eos && rv == APR_SUCCESS; b = APR_BUCKET_NEXT(b)) {
        const char *piece;
        apr_size_t n;

        *eos = APR_BUCKET_IS_EOS(b);
        if (APR_BUCKET_IS_METADATA(b))
            continue;
        rv = apr_bucket_read(b, &piece, &n, APR_BLOCK_READ);
        if (rv != APR_SUCCESS)
            return MDM_EINPUT;
        *seen += n;
        rv = *seen > limit ? MDM_ETOOBIG : fn(data, piece, n);
    }
    return rv;
}

apr_status_t mdm_web_body_pieces(request_rec *r, apr_size_t limit, mdm_web_piece_fn fn, void *data)
{
    const char *cl = apr_table_get(r->headers_in, "Content-Length");
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_size_t seen = 0;
    apr_off_t announced = 0;
    mdm_blob_t none = {(const unsigned char *)"", 0};
    int eos = 0;
    apr_status_t rv = APR_SUCCESS;

    if (cl && !ap_parse_strict_length(&announced, cl))
        return MDM_EINPUT;
    if (announced > (apr_off_t)limit)
        return MDM_ETOOBIG;
    while (!eos && rv == APR_SUCCESS) {
        rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, HUGE_STRING_LEN);
        if (rv == APR_SUCCESS) {
            rv = hand_on(bb, limit, &seen, &eos, fn, data);
        } else {
            rv = body_error(rv);
            eos = 1; /* nothing more will come */
        }
        apr_brigade_cleanup(bb);
    }
    if (rv != APR_SUCCESS && !eos)
        mdm_web_body_waste(r, 1, limit, &none);
    else if (rv == APR_SUCCESS)
        apr_table_setn(r->notes, BODY_READ, "1");
    return rv;
}

void mdm_web_body_waste(request_rec *r, apr_size_t keep, apr_size_t most, mdm_blob_t *head)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_size_t seen = head->len, len = head->len < keep ? head->len : keep;
    char *buf = apr_palloc(r->pool, keep);
    int eos = 0;

    memcpy(buf, head->data, len);
    while (!eos && seen < most && ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, HUGE_STRING_LEN) == APR_SUCCESS) {
        for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb) && !eos; b = APR_BUCKET_NEXT(b)) {
            const char *data;
            apr_size_t n = 0;

            eos = APR_BUCKET_IS_EOS(b) || (!APR_BUCKET_IS_METADATA(b) && apr_bucket_read(b, &data, &n, APR_BLOCK_READ) != APR_SUCCESS);
            seen += n;
            n = n < keep - len ? n : keep - len;
            if (n) {
                memcpy(buf + len, data, n);
                len += n;
            }
        }
        apr_brigade_cleanup(bb);
    }
    r->connection->keepalive = AP_CONN_CLOSE;
    head->data = (const unsigned char *)buf;
    head->len = len;
}

/* A body that nobody asked for is not read to its end: httpd would drain it before it answers (R09). */
static void leave_body(request_rec *r)
{
    const char *cl = apr_table_get(r->headers_in, "Content-Length");
    apr_off_t n;

    if (apr_table_get(r->notes, BODY_READ) || r->main)
        return;
    if (apr_table_get(r->headers_in, "Transfer-Encoding")
        || (cl && (!ap_parse_strict_length(&n, cl) || n > DRAIN_MAX)))
        r->connection->keepalive = AP_CONN_CLOSE;
}

static void security_headers(request_rec *r)
{
    apr_table_t *h = r->headers_out;
    if (!apr_table_get(h, "Cache-Control"))
        apr_table_setn(h, "Cache-Control", "no-store");
    apr_table_setn(h, "X-Content-Type-Options", "nosniff");
    apr_table_setn(h, "Referrer-Policy", "no-referrer");
    if (!apr_table_get(h, "Content-Security-Policy"))
        apr_table_setn(h, "Content-Security-Policy",
                   "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
                   "frame-ancestors 'none'");
}

int mdm_web_bytes(request_rec *r, int status, const char *type, const void *data, apr_size_t len)
{
    security_headers(r);
    leave_body(r);
    r->status = status;
    r->status_line = ap_get_status_line(status);
    if (type)
        ap_set_content_type(r, type);
    ap_set_content_length(r, (apr_off_t)len);
    if (len && !r->header_only)
        ap_rwrite(data, (int)len, r);
    return OK;
}

int mdm_web_empty(request_rec *r, int status)
{
    return mdm_web_bytes(r, status, NULL, NULL, 0);
}

int mdm_web_throttled(request_rec *r, int wait)
{
    apr_table_setn(r->headers_out, "Retry-After", apr_itoa(r->pool, wait));
    apr_table_setn(r->notes, "mdm-decision", "throttled");
    return mdm_web_empty(r, HTTP_TOO_MANY_REQUESTS);
}

const char *mdm_web_bearer(const request_rec *r)
{
    const char *s = apr_table_get(r->headers_in, "Authorization");

    return s && !strncasecmp(s, "Bearer ", 7) ? s + 7 + strspn(s + 7, " ") : NULL;
}

int mdm_web_json(request_rec *r, int status, json_t *body)
{
    const char *text = mdm_json_text(r->pool, body);
    json_decref(body);
    if (!text)
        return HTTP_INTERNAL_SERVER_ERROR;
    return mdm_web_bytes(r, status, "application/json", text, strlen(text));
}

int mdm_web_redirect(request_rec *r, const char *location)
{
    apr_table_set(r->headers_out, "Location", location);
    return mdm_web_empty(r, HTTP_SEE_OTHER);
}

void mdm_web_trim(apr_pool_t *p)
{
    apr_allocator_t *a = apr_pool_allocator_get(p);

    apr_allocator_max_free_set(a, 1);
    apr_allocator_free(a, apr_allocator_alloc(a, 1)); /* the smallest piece is more than one byte: what comes back goes */
    apr_allocator_max_free_set(a, ap_max_mem_free);
}

int mdm_web_method_not_allowed(request_rec *r, const char *allow)
{
    /* err_headers_out would be for ErrorDocument; ours answers itself. */
    apr_table_set(r->headers_out, "Allow", allow);
    return mdm_web_empty(r, HTTP_METHOD_NOT_ALLOWED);
}

static void retry_after(request_rec *r, const mdm_ctx_t *ctx, int status)
{
    if (status == HTTP_SERVICE_UNAVAILABLE || status == HTTP_TOO_MANY_REQUESTS) {
        int s = ctx && ctx->retry_after > 0 ? ctx->retry_after : RETRY_AFTER_S;
        apr_table_setn(r->headers_out, "Retry-After", apr_psprintf(r->pool, "%d", s));
    }
}

static const char *reason(const mdm_ctx_t *ctx, apr_status_t rv)
{
    const char *text = ctx && ctx->fail_text && *ctx->fail_text ? ctx->fail_text : mdm_error_text(rv);
    if (!text)
        text = rv == APR_NOTFOUND ? "There is nothing at this address." : "The server has a problem; try again later.";
    return text;
}

/* What is away was logged when it went: not once more for each request that meets it. */
static int fault_level(apr_status_t rv)
{
    return rv == MDM_EUNAVAIL ? MDM_LOG_INFO : MDM_LOG_ERR;
}

int mdm_web_problem(request_rec *r, mdm_ctx_t *ctx, apr_status_t rv)
{
    int status = mdm_http_status(rv);
    const char *line = ap_get_status_line(status);
    const char *text = reason(ctx, rv);
    json_t *j = json_pack("{s:s, s:s, s:i, s:s}", "type", "about:blank", "title",
                          strlen(line) > 4 ? line + 4 : line, "status", status, "detail",
                          mdm_clean(r->pool, text, 500));
    const char *body;

    if (status >= 500 && ctx)
        mdm_log(ctx, fault_level(rv), "MDM0100", rv, "%s %s answered %d: %s", r->method,
                mdm_clean(r->pool, r->uri, 200), status, text);
    if (ctx && ctx->fail_field && *ctx->fail_field)
        json_object_set_new(j, "field", json_string(mdm_clean(r->pool, ctx->fail_field, 100)));
    if (ctx && ctx->actor.request_id && *ctx->actor.request_id)
        json_object_set_new(j, "instance", json_sprintf("urn:request:%s", ctx->actor.request_id));
    retry_after(r, ctx, status);
    body = mdm_json_text(r->pool, j);
    json_decref(j);
    return mdm_web_bytes(r, status, "application/problem+json", body ? body : "{}", body ? strlen(body) : 2);
}

int mdm_web_device_fail(request_rec *r, mdm_ctx_t *ctx, const char *id, apr_status_t rv)
{
    int status = mdm_http_status(rv);
    const char *device = apr_table_get(r->notes, "mdm-device");

    /* A device takes 401, 403, 404 and 410 for an order to leave management (15-decisions). */
    if (status == HTTP_UNAUTHORIZED || status == HTTP_FORBIDDEN || status == HTTP_NOT_FOUND
        || status == HTTP_GONE || status == HTTP_CONFLICT)
        status = HTTP_BAD_REQUEST;
    retry_after(r, ctx, status);
    mdm_log(ctx, status >= 500 ? fault_level(rv) : MDM_LOG_INFO, id, rv, "device %s: %s answered %d: %s%s%s",
            device ? mdm_mask(r->pool, device) : "unknown", mdm_clean(r->pool, r->uri, 100), status,
            ctx->fail_field ? ctx->fail_field : "", ctx->fail_field && *ctx->fail_field ? ": " : "",
            reason(ctx, rv));
    return mdm_web_empty(r, status);
}

/* scheme://host[:port] of this request as a browser would write it in Origin. */
static const char *own_origin(request_rec *r)
{
    const char *host = apr_table_get(r->headers_in, "Host");
    return host ? apr_pstrcat(r->pool, ap_http_scheme(r), "://", host, NULL) : NULL;
}

apr_status_t mdm_web_same_origin(request_rec *r, mdm_ctx_t *ctx, const mdm_caller_t *caller)
{
    const char *site = apr_table_get(r->headers_in, "Sec-Fetch-Site");
    const char *origin = apr_table_get(r->headers_in, "Origin");
    const char *own;

    if (caller && caller->by_token)
        return APR_SUCCESS;
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return mdm_fail(ctx, MDM_EDENIED, NULL, "The request comes from another site.");
    if (site)
        return APR_SUCCESS;
    own = own_origin(r);
    if (origin && own && strcasecmp(origin, own) == 0)
        return APR_SUCCESS;
    return mdm_fail(ctx, MDM_EDENIED, NULL,
                    "A change needs a same-origin request (Origin or Sec-Fetch-Site) or an API token.");
}

static int is_tls(request_rec *r)
{
    return strcmp(ap_http_scheme(r), "https") == 0;
}

static const char *cookie_name(request_rec *r, const char *name)
{
    return is_tls(r) ? apr_pstrcat(r->pool, "__Host-", name, NULL) : name;
}

void mdm_web_cookie_set(request_rec *r, const char *name, const char *value, int max_age)
{
    const char *age = value ? (max_age > 0 ? apr_psprintf(r->pool, "; Max-Age=%d", max_age) : "")
                            : "; Max-Age=0";
    apr_table_addn(r->err_headers_out, "Set-Cookie",
                   apr_pstrcat(r->pool, cookie_name(r, name), "=", value ? value : "", "; Path=/", age,
                               is_tls(r) ? "; Secure" : "", "; HttpOnly; SameSite=Strict", NULL));
}

const char *mdm_web_cookie_get(request_rec *r, const char *name)
{
    const char *all = apr_table_get(r->headers_in, "Cookie");
    const char *want = cookie_name(r, name);
    const apr_size_t n = strlen(want);

    while (all && *all) {
        const char *end = strchr(all, ';');
        while (*all == ' ')
            all++;
        if (strncmp(all, want, n) == 0 && all[n] == '=') {
            const char *v = all + n + 1;
            apr_size_t len = end ? (apr_size_t)(end - v) : strlen(v);
            return len <= 512 ? apr_pstrmemdup(r->pool, v, len) : NULL;
        }
        all = end ? end + 1 : NULL;
    }
    return NULL;
}

/* Decodes one application/x-www-form-urlencoded component; NULL if it is malformed, not UTF-8 or holds NUL. */
static char *form_decode(apr_pool_t *p, const char *s, apr_size_t len)
{
    char *out = apr_palloc(p, len + 1);
    apr_size_t i, o = 0;

    for (i = 0; i < len; i++) {
        if (s[i] == '+') {
            out[o++] = ' ';
        } else if (s[i] == '%') {
            char hex[3];
            if (i + 2 >= len || !apr_isxdigit(s[i + 1]) || !apr_isxdigit(s[i + 2]))
                return NULL;
            hex[0] = s[i + 1];
            hex[1] = s[i + 2];
            hex[2] = '\0';
            out[o] = (char)strtol(hex, NULL, 16);
            if (out[o++] == '\0')
                return NULL;
            i += 2;
        } else {
            out[o++] = s[i];
        }
    }
    out[o] = '\0';
    return mdm_utf8_valid(out, o) ? out : NULL;
}

typedef apr_status_t (*pair_fn)(void *baton, const char *name, const char *value);

static apr_status_t each_pair(request_rec *r, mdm_ctx_t *ctx, const char *s, pair_fn fn, void *baton)
{
    int n = 0;

    while (s && *s) {
        apr_size_t len = strcspn(s, "&");
        const char *eq = memchr(s, '=', len);
        apr_size_t nlen = eq ? (apr_size_t)(eq - s) : len;
        char *name = form_decode(r->pool, s, nlen);
        const char *value = eq ? form_decode(r->pool, eq + 1, len - nlen - 1) : "";
        apr_status_t rv;
        if (!name || !value || len > 8192 || ++n > 64)
            return mdm_fail(ctx, MDM_EINPUT, name, "is not properly encoded");
        rv = fn(baton, name, value);
        if (rv != APR_SUCCESS)
            return rv;
        s += len + (s[len] == '&');
    }
    return APR_SUCCESS;
}

typedef struct find_t {
    mdm_ctx_t *ctx;
    const char *name, *value;
} find_t;

static apr_status_t find_pair(void *baton, const char *name, const char *value)
{
    find_t *f = baton;
    if (strcmp(name, f->name) != 0)
        return APR_SUCCESS;
    if (f->value)
        return mdm_fail(f->ctx, MDM_EINPUT, f->name, "is given twice");
    f->value = value;
    return APR_SUCCESS;
}

apr_status_t mdm_web_query(request_rec *r, mdm_ctx_t *ctx, const char *name, const char **out)
{
    find_t f = {ctx, name, NULL};
    apr_status_t rv = each_pair(r, ctx, r->args, find_pair, &f);
    *out = f.value;
    return rv;
}

static apr_status_t add_pair(void *baton, const char *name, const char *value)
{
    apr_table_addn(baton, name, value);
    return APR_SUCCESS;
}

apr_status_t mdm_web_form(request_rec *r, mdm_ctx_t *ctx, apr_table_t **out)
{
    const char *type = apr_table_get(r->headers_in, "Content-Type");
    mdm_blob_t body;
    apr_status_t rv;

    *out = apr_table_make(r->pool, 8);
    if (!type || strncasecmp(type, "application/x-www-form-urlencoded", 33) != 0)
        return mdm_fail(ctx, MDM_EMEDIA, NULL, "The body must be a form.");
    rv = mdm_web_body(r, 64 * 1024, &body);
    if (rv != APR_SUCCESS)
        return mdm_fail(ctx, rv, NULL, rv == MDM_ETOOBIG ? "The form is too large." : "The body was cut off.");
    return each_pair(r, ctx, (const char *)body.data, add_pair, *out);
}
