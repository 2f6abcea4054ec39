/* What every handler of the API needs: parameters, versions, transactions, answers (API-01). */
#include "mdm_admin.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include <http_protocol.h>
#include "base/mdm_json.h"
#include "domain/mdm_device.h"

/* Folder limits in one place: whatever is below one device is not there for somebody whose folders don't hold it. Lists ask
 * for ctx->actor.limit in their queries. */
static int within(mdm_web_call_t *call, const char *pattern, int (*run)(mdm_web_call_t *call))
{
    static const char one[] = "/api/v1/devices/{id}";
    mdm_db_t *db = NULL;
    const char *id = NULL;
    apr_status_t rv = APR_SUCCESS;

    if (call->caller && call->caller->limited && strncmp(pattern, one, sizeof(one) - 1) == 0) {
        rv = mdm_adm_id(call, &id);
        if (rv == APR_SUCCESS)
            rv = mdm_db_open(call->ctx, &db);
        if (rv == APR_SUCCESS) {
            rv = mdm_device_within(db, id);
            mdm_db_close(db);
        }
    }
    return rv == APR_SUCCESS ? run(call) : mdm_adm_fail(call, rv);
}

#define ROUTE(method, pattern, auth, right, limit, json, run) \
    static int run##_within(mdm_web_call_t *call)             \
    {                                                         \
        return within(call, pattern, run);                    \
    }
#include "admin_routes.def"
#undef ROUTE

#define ROUTE(method, pattern, auth, right, limit, json, run) \
    {method, pattern, MDM_AUTH_##auth, right, limit, json, run##_within},
static const mdm_route_t table[] = {
#include "admin_routes.def"
};
#undef ROUTE

const mdm_route_t *mdm_adm_routes(int *n)
{
    *n = (int)(sizeof(table) / sizeof(table[0]));
    return table;
}

const mdm_admin_req_t *mdm_adm_req(const mdm_web_call_t *call)
{
    return call->data;
}

int mdm_adm_fail(mdm_web_call_t *call, apr_status_t rv)
{
    return mdm_web_problem(call->r, call->ctx, rv);
}

int mdm_adm_json(mdm_web_call_t *call, json_t *body)
{
    request_rec *r = call->r;
    const char *known = apr_table_get(r->headers_in, "If-None-Match");
    const char *text = mdm_json_text(r->pool, body), *etag;

    json_decref(body);
    if (!text)
        return mdm_adm_fail(call, APR_ENOMEM);
    etag = apr_psprintf(r->pool, "W/\"%.24s\"", mdm_sha256_hex(r->pool, text, strlen(text)));
    apr_table_setn(r->headers_out, "ETag", etag);
    if (known && strcmp(known, etag) == 0)
        return mdm_web_empty(r, HTTP_NOT_MODIFIED);
    return mdm_web_bytes(r, HTTP_OK, "application/json", text, strlen(text));
}

int mdm_adm_items(mdm_web_call_t *call, json_t *items, const char *next)
{
    return mdm_adm_json(call, json_pack("{s:o, s:o}", "items", items, "next", next ? json_string(next) : json_null()));
}

int mdm_adm_object(mdm_web_call_t *call, json_t *body, apr_int64_t version)
{
    request_rec *r = call->r;
    const char *etag = apr_psprintf(r->pool, "\"%" APR_INT64_T_FMT "\"", version);

    apr_table_setn(r->headers_out, "ETag", etag);
    return mdm_web_json(r, HTTP_OK, body);
}

int mdm_adm_created(mdm_web_call_t *call, const char *kind, const char *id, json_t *body)
{
    apr_table_setn(call->r->headers_out, "Location",
                   apr_pstrcat(call->r->pool, mdm_adm_req(call)->base, "/api/v1/", kind, "/", id, NULL));
    return mdm_web_json(call->r, HTTP_CREATED, body);
}

static int listed(const char *const *names, const char *name, apr_size_t len)
{
    for (; names && *names; names++) {
        if (strlen(*names) == len && strncmp(*names, name, len) == 0)
            return 1;
    }
    return 0;
}

static apr_status_t params_check(mdm_web_call_t *call, const char *const *allowed, const char *const *paging)
{
    const char *s = call->r->args;

    while (s && *s) {
        apr_size_t len = strcspn(s, "&"), name = strcspn(s, "&=");
        if (len && !listed(allowed, s, name) && !listed(paging, s, name))
            return mdm_fail(call->ctx, MDM_EINPUT, apr_pstrmemdup(call->r->pool, s, name < 60 ? name : 60),
                            "is not a parameter of this list");
        s += len + (s[len] == '&');
    }
    return APR_SUCCESS;
}

apr_status_t mdm_adm_params(mdm_web_call_t *call, const char *const *allowed)
{
    static const char *const paging[] = {"limit", "cursor", NULL};

    return params_check(call, allowed, paging);
}

apr_status_t mdm_adm_upload(mdm_web_call_t *call, int limit, mdm_web_piece_fn fn, void *data)
{
    apr_status_t rv = mdm_web_body_pieces(call->r, limit, fn, data);

    if (rv == MDM_ETOOBIG && !*call->ctx->fail_text)
        return mdm_fail(call->ctx, rv, NULL, "The file is larger than %d bytes: part it.", limit);
    return rv == MDM_EINPUT && !*call->ctx->fail_text ? mdm_fail(call->ctx, rv, NULL, "The body was cut off.") : rv;
}

apr_status_t mdm_adm_page(mdm_web_call_t *call, const char *const *allowed, const char *sig, mdm_page_t *page)
{
    const char *limit = NULL, *cursor = NULL;
    apr_status_t rv = mdm_adm_params(call, allowed);

    if (rv == APR_SUCCESS)
        rv = mdm_web_query(call->r, call->ctx, "limit", &limit);
    if (rv == APR_SUCCESS)
        rv = mdm_web_query(call->r, call->ctx, "cursor", &cursor);
    return rv == APR_SUCCESS ? mdm_page_read(call->ctx, sig, limit, cursor, page) : rv;
}

apr_status_t mdm_adm_if_match(mdm_web_call_t *call, apr_int64_t *version)
{
    const char *v = apr_table_get(call->r->headers_in, "If-Match");
    apr_size_t n = v ? strlen(v) : 0;

    if (!v)
        return mdm_fail(call->ctx, MDM_EPRECOND, "If-Match", "Send the ETag that you have read in If-Match.");
    if (n < 3 || v[0] != '"' || v[n - 1] != '"'
        || mdm_parse_i64(apr_pstrmemdup(call->r->pool, v + 1, n - 2), 0, APR_INT64_MAX, version) != APR_SUCCESS)
        return mdm_fail(call->ctx, MDM_ESTALE, "If-Match", "This is no version of this object.");
    return APR_SUCCESS;
}

apr_status_t mdm_adm_id(mdm_web_call_t *call, const char **id)
{
    if (!mdm_is_uuid(call->args[0]))
        return mdm_fail(call->ctx, APR_NOTFOUND, NULL, "There is no such object.");
    *id = mdm_lower(call->r->pool, call->args[0]);
    return APR_SUCCESS;
}

apr_status_t mdm_adm_word(mdm_web_call_t *call, const char *name, const char *const *words, const char **out)
{
    apr_status_t rv = mdm_web_query(call->r, call->ctx, name, out);

    *out = *out ? *out : "";
    if (rv != APR_SUCCESS || !**out)
        return rv;
    while (*words && strcmp(*words, *out) != 0)
        words++;
    return *words ? APR_SUCCESS : mdm_fail(call->ctx, MDM_EINPUT, name, "is none of the words that it can be");
}

apr_status_t mdm_adm_begin(mdm_web_call_t *call, mdm_db_t **db)
{
    apr_status_t rv = mdm_db_open(call->ctx, db);

    if (rv != APR_SUCCESS) {
        *db = NULL;
        return rv;
    }
    return mdm_db_begin(*db);
}

apr_status_t mdm_adm_end(mdm_db_t *db, apr_status_t rv)
{
    if (!db)
        return rv;
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

json_t *mdm_adm_time(apr_pool_t *p, apr_int64_t ms)
{
    return ms ? json_string(mdm_time_text(p, ms)) : json_null();
}

json_t *mdm_adm_text(const char *s)
{
    return s && *s ? json_string(s) : json_null();
}

json_t *mdm_adm_parsed(const char *text)
{
    json_t *j = text ? json_loads(text, 0, NULL) : NULL;

    return j ? j : json_object();
}

/* ---- whole routes */

apr_status_t mdm_adm_read(mdm_web_call_t *call, mdm_adm_read_fn fn, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv != APR_SUCCESS)
        return rv;
    rv = fn(db, id, out, version);
    mdm_db_close(db);
    return rv;
}

int mdm_adm_made(mdm_web_call_t *call, apr_status_t rv, const char *kind, const char *id, mdm_adm_read_fn fn)
{
    json_t *body = NULL;
    apr_int64_t version = 0;

    if (rv == APR_SUCCESS)
        rv = mdm_adm_read(call, fn, id, &body, &version);
    return rv == APR_SUCCESS ? mdm_adm_created(call, kind, id, body) : mdm_adm_fail(call, rv);
}

int mdm_adm_one(mdm_web_call_t *call, mdm_adm_read_fn fn)
{
    const char *id = NULL;
    json_t *body = NULL;
    apr_int64_t version = 0;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_params(call, NULL);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_read(call, fn, id, &body, &version);
    return rv == APR_SUCCESS ? mdm_adm_object(call, body, version) : mdm_adm_fail(call, rv);
}

/* *csv: the list is asked for as a file. */
static apr_status_t format_read(mdm_web_call_t *call, const mdm_adm_list_t *list, int *csv)
{
    static const char *const format[] = {"format", NULL};
    const char *wanted = NULL;
    apr_status_t rv = list->columns ? mdm_web_query(call->r, call->ctx, "format", &wanted) : APR_SUCCESS;

    *csv = wanted != NULL;
    if (rv == APR_SUCCESS && wanted && strcmp(wanted, "csv") != 0)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "format", "must be csv");
    return rv == APR_SUCCESS && *csv ? params_check(call, list->params, format) : rv;
}

int mdm_adm_list(mdm_web_call_t *call, const mdm_adm_list_t *list)
{
    json_t *items = mdm_json_own(call->ctx, json_array());
    const char *next = NULL;
    mdm_page_t page = {NULL};
    mdm_db_t *db = NULL;
    int csv;
    apr_status_t rv = format_read(call, list, &csv);

    if (rv == APR_SUCCESS && csv)
        return mdm_adm_csv(call, list);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_page(call, list->params, list->sig, &page);
    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = list->read(db, &page, list->arg, items, &next);
    mdm_db_close(db);
    return rv == APR_SUCCESS ? mdm_adm_items(call, json_incref(items), next) : mdm_adm_fail(call, rv);
}

int mdm_adm_edit(mdm_web_call_t *call, mdm_adm_edit_fn fn, const void *arg, mdm_adm_read_fn read)
{
    const char *id = NULL;
    json_t *body = NULL;
    apr_int64_t version = 0;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_if_match(call, &version);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = fn(call, db, id, version, arg);
    rv = mdm_adm_end(db, rv);
    if (rv == APR_SUCCESS && read)
        rv = mdm_adm_read(call, read, id, &body, &version);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    return read ? mdm_adm_object(call, body, version) : mdm_web_empty(call->r, HTTP_NO_CONTENT);
}

static apr_status_t dropped(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    return (*(const mdm_adm_drop_fn *)arg)(db, id, version);
}

int mdm_adm_drop(mdm_web_call_t *call, mdm_adm_drop_fn fn)
{
    return mdm_adm_edit(call, dropped, &fn, NULL);
}

typedef struct drop_many_t {
    mdm_adm_drop_many_fn fn;
    apr_int64_t confirm;
} drop_many_t;

static apr_status_t dropped_many(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    const drop_many_t *d = arg;

    return d->fn(db, id, version, d->confirm);
}

int mdm_adm_drop_many(mdm_web_call_t *call, mdm_adm_drop_many_fn fn)
{
    static const char *const params[] = {"confirm", NULL};
    drop_many_t d = {fn, 0};
    const char *text = NULL;
    apr_status_t rv = mdm_adm_params(call, params);

    if (rv == APR_SUCCESS)
        rv = mdm_web_query(call->r, call->ctx, "confirm", &text);
    if (rv == APR_SUCCESS && text && mdm_parse_i64(text, 1, APR_INT32_MAX, &d.confirm) != APR_SUCCESS)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "confirm", "must be a number of devices");
    return rv == APR_SUCCESS ? mdm_adm_edit(call, dropped_many, &d, NULL) : mdm_adm_fail(call, rv);
}

int mdm_adm_look(mdm_web_call_t *call, mdm_adm_look_fn fn)
{
    const char *id = NULL;
    json_t *body = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = call->args[0] ? mdm_adm_id(call, &id) : APR_SUCCESS;

    if (rv == APR_SUCCESS)
        rv = mdm_adm_params(call, NULL);
    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = fn(db, id, &body);
    mdm_db_close(db);
    return rv == APR_SUCCESS ? mdm_adm_json(call, body) : mdm_adm_fail(call, rv);
}

int mdm_adm_ask(mdm_web_call_t *call, apr_status_t rv, mdm_adm_ask_fn fn, const void *arg)
{
    json_t *body = NULL;
    mdm_db_t *db = NULL;

    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = fn(db, arg, &body);
    mdm_db_close(db);
    return rv == APR_SUCCESS ? mdm_web_json(call->r, HTTP_OK, body) : mdm_adm_fail(call, rv);
}

int mdm_adm_set(mdm_web_call_t *call, mdm_adm_set_fn fn, mdm_adm_look_fn read)
{
    json_t *body = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_begin(call, &db);

    if (rv == APR_SUCCESS)
        rv = fn(db, call->body);
    if (rv == APR_SUCCESS)
        rv = read(db, NULL, &body);
    rv = mdm_adm_end(db, rv);
    if (rv == APR_SUCCESS)
        return mdm_web_json(call->r, HTTP_OK, body);
    json_decref(body);
    return mdm_adm_fail(call, rv);
}

int mdm_adm_act(mdm_web_call_t *call, mdm_adm_act_fn fn, const void *arg, int status)
{
    const char *id = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = fn(call, db, id, arg);
    rv = mdm_adm_end(db, rv);
    return rv == APR_SUCCESS ? mdm_web_empty(call->r, status) : mdm_adm_fail(call, rv);
}

/* ---- answers in parts, connection tests */

void mdm_adm_stream(request_rec *r, const char *type)
{
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    apr_table_setn(r->headers_out, "Content-Security-Policy", "default-src 'none'; sandbox");
    ap_set_content_type(r, type);
}

int mdm_adm_send(request_rec *r, const char *text)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_status_t rv = apr_brigade_puts(bb, NULL, NULL, text);

    if (rv == APR_SUCCESS) {
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(r->connection->bucket_alloc));
        rv = ap_pass_brigade(r->output_filters, bb);
    }
    apr_brigade_destroy(bb);
    return rv == APR_SUCCESS && !r->connection->aborted;
}

static void send_step(void *baton, const json_t *step)
{
    request_rec *r = baton;
    const char *text = mdm_json_text(r->pool, step);

    if (text)
        mdm_adm_send(r, apr_pstrcat(r->pool, text, "\n", NULL));
}

int mdm_adm_probe(mdm_web_call_t *call, mdm_adm_probe_fn fn, const void *arg)
{
    request_rec *r = call->r;
    const char *accept = apr_table_get(r->headers_in, "Accept");
    mdm_probe_t p = {.ctx = call->ctx, .steps = json_array(), .baton = r, .began = apr_time_now()};

    if (accept && ap_strcasestr(accept, "application/x-ndjson")) {
        mdm_adm_stream(r, "application/x-ndjson");
        p.told = send_step;
    }
    fn(&p, arg);
    if (!p.told)
        return mdm_web_json(r, HTTP_OK, json_pack("{s:o}", "steps", p.steps));
    json_decref(p.steps);
    return OK;
}
