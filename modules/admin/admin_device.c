/* Devices: list, page, edit, refresh, what belongs to one (DEV-02..04, DEV-08). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>
#include "base/mdm_json.h"
#include "domain/mdm_command.h"
#include "domain/mdm_device.h"
#include "domain/mdm_log_rows.h"


static const char *const filters[] = {"q", "state", "mode", "platform", "ownership", "person", "folder", "group", "lost", "sort", NULL};

static apr_status_t read_filter(mdm_web_call_t *call, mdm_device_filter_t *f)
{
    const char *lost = NULL;
    const struct {
        const char *name, **to;
    } all[] = {{"q", &f->q}, {"state", &f->state}, {"mode", &f->mode}, {"platform", &f->platform},
               {"ownership", &f->ownership}, {"person", &f->person}, {"folder", &f->folder}, {"group", &f->group}, {"sort", &f->sort}, {"lost", &lost}};
    unsigned i;
    apr_status_t rv = APR_SUCCESS;

    memset(f, 0, sizeof(*f));
    for (i = 0; i < sizeof(all) / sizeof(all[0]) && rv == APR_SUCCESS; i++)
        rv = mdm_web_query(call->r, call->ctx, all[i].name, all[i].to);
    if (rv == APR_SUCCESS && lost && strcmp(lost, "1") != 0 && strcmp(lost, "0") != 0)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "lost", "must be 0 or 1");
    f->lost = lost && *lost == '1';
    return rv == APR_SUCCESS ? mdm_device_filter_check(call->ctx, f) : rv;
}

static json_t *row_json(apr_pool_t *p, const mdm_device_row_t *d)
{
    json_t *person = d->person_id ? json_pack("{s:s, s:s, s:s}", "id", d->person_id, "name", d->person_name, "login",
                                              d->person_login)
                                  : json_null();

    return json_pack("{s:s, s:s, s:o, s:{s:s, s:s}, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:b, s:i, s:I, s:o, s:o, s:o, s:o,"
                     " s:o, s:I}",
                     "id", d->id, "name", d->name, "person", person, "folder", "id", d->folder_id, "name", d->folder_name, "state", d->state, "mode", d->mode, "level", d->level,
                     "ownership", d->ownership, "platform", d->platform, "model", mdm_adm_text(d->model), "product",
                     mdm_adm_text(d->product), "serial", mdm_adm_text(d->serial), "os_version",
                     mdm_adm_text(d->os_version), "compliance", d->compliance, "test_device", d->test_device,
                     "severity", d->worst, "commands_open", (json_int_t)d->commands_open, "lost_since",
                     mdm_adm_time(p, d->lost_ms), "created_at", mdm_adm_time(p, d->created_ms), "enrolled_at",
                     mdm_adm_time(p, d->enrolled_ms), "last_contact_at", mdm_adm_time(p, d->last_contact_ms),
                     "last_eas_at", mdm_adm_time(p, d->last_eas_ms), "version", (json_int_t)d->version);
}

static apr_status_t list_page(mdm_ctx_t *ctx, const mdm_device_filter_t *f, const mdm_page_t *page,
                              apr_array_header_t **rows, const char **next)
{
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS)
        return rv;
    rv = mdm_device_list(db, f, page, rows, next);
    mdm_db_close(db);
    return rv;
}

int mdm_adm_devices(mdm_web_call_t *call)
{
    apr_pool_t *p = call->r->pool;
    apr_array_header_t *rows = NULL;
    mdm_device_filter_t f;
    mdm_page_t page = {NULL};
    const char *next = NULL;
    json_t *items = NULL;
    int i;
    apr_status_t rv = read_filter(call, &f);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_page(call, filters, mdm_device_filter_sig(p, &f), &page);
    if (rv == APR_SUCCESS)
        rv = list_page(call->ctx, &f, &page, &rows, &next);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    items = json_array();
    for (i = 0; i < rows->nelts; i++)
        json_array_append_new(items, row_json(p, &APR_ARRAY_IDX(rows, i, mdm_device_row_t)));
    return mdm_adm_items(call, items, next);
}

/* ---- CSV: streamed page by page; a cell can't become a formula (R33) */

static const char *cell(apr_pool_t *p, const char *s)
{
    const char *c;
    char *out, *o;

    if (!s || !*s)
        return "";
    out = o = apr_palloc(p, strlen(s) * 2 + 4);
    *o++ = '"';
    if (strchr("=+-@\t\r", *s))
        *o++ = '\'';
    for (c = s; *c; c++) {
        if (*c == '"')
            *o++ = '"';
        *o++ = (*c == '\r' || *c == '\n') ? ' ' : *c;
    }
    *o++ = '"';
    *o = '\0';
    return out;
}

static const char *when(apr_pool_t *p, apr_int64_t ms)
{
    return ms ? mdm_time_text(p, ms) : "";
}

/* False if the client has gone away. */
static int send_text(request_rec *r, const char *text)
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

static int csv_rows(request_rec *r, apr_pool_t *p, const apr_array_header_t *rows)
{
    apr_array_header_t *lines = apr_array_make(p, rows->nelts, sizeof(char *));
    int i;

    for (i = 0; i < rows->nelts; i++) {
        const mdm_device_row_t *d = &APR_ARRAY_IDX(rows, i, mdm_device_row_t);
        APR_ARRAY_PUSH(lines, const char *) = apr_psprintf(
            p, "%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s\r\n", d->id, cell(p, d->name), cell(p, d->person_name),
            cell(p, d->person_login), d->state, d->mode, d->level, d->ownership, d->platform, cell(p, d->model),
            cell(p, d->product), cell(p, d->serial), cell(p, d->os_version), d->compliance, when(p, d->enrolled_ms),
            when(p, d->last_contact_ms));
    }
    return send_text(r, apr_array_pstrcat(p, lines, 0));
}

/* Ends an answer that has begun in a way that the client sees: without the last chunk. */
static int cut_off(request_rec *r)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);

    APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, r->pool, r->connection->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(r->connection->bucket_alloc));
    ap_pass_brigade(r->output_filters, bb);
    r->connection->keepalive = AP_CONN_CLOSE;
    return OK;
}

static int csv_head(request_rec *r)
{
    apr_table_t *h = r->headers_out;

    apr_table_setn(h, "Content-Disposition", "attachment; filename=\"devices.csv\"");
    apr_table_setn(h, "Cache-Control", "no-store");
    apr_table_setn(h, "X-Content-Type-Options", "nosniff");
    apr_table_setn(h, "Content-Security-Policy", "default-src 'none'; sandbox");
    ap_set_content_type(r, "text/csv; charset=utf-8");
    return r->header_only
           || send_text(r, "\xef\xbb\xbfid,name,person,login,state,mode,level,ownership,platform,model,product,serial,os_version,"
                      "compliance,enrolled_at,last_contact_at\r\n");
}

int mdm_adm_devices_csv(mdm_web_call_t *call)
{
    mdm_device_filter_t f;
    mdm_page_t page = {NULL};
    const char *cursor = NULL;
    apr_status_t rv = read_filter(call, &f);
    int begun = 0;

    if (rv == APR_SUCCESS)
        rv = mdm_adm_params(call, filters);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    do {
        mdm_ctx_t *sub = mdm_ctx_sub(call->ctx);
        apr_array_header_t *rows;
        const char *next = NULL;
        int gone = 0;
        rv = mdm_page_read(sub, mdm_device_filter_sig(sub->pool, &f), "200", cursor, &page);
        if (rv == APR_SUCCESS)
            rv = list_page(sub, &f, &page, &rows, &next);
        if (rv == APR_SUCCESS) {
            gone = (!begun++ && !csv_head(call->r))
                   || (!call->r->header_only && !csv_rows(call->r, sub->pool, rows));
            if (call->r->header_only)
                next = NULL;
        }
        cursor = next ? apr_pstrdup(call->r->pool, next) : NULL;
        apr_pool_destroy(sub->pool);
        if (gone)
            return OK;
    } while (rv == APR_SUCCESS && cursor);
    if (rv == APR_SUCCESS)
        return OK;
    return begun ? cut_off(call->r) : mdm_adm_fail(call, rv);
}

/* ---- one device */

int mdm_adm_device(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_device_json);
}

int mdm_adm_device_edit(mdm_web_call_t *call)
{
    static const char *const ownership[] = {"corporate", "personal", NULL};
    mdm_device_edit_t e;
    int test = 0, test_given = 0;
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 0, 1, 200, NULL, 0, &e.name, NULL},
                                   {"ownership", MDM_JF_ENUM, 0, 0, 0, ownership, 0, &e.ownership, NULL},
                                   {"department", MDM_JF_STR, 0, 0, 200, NULL, 0, &e.department, NULL},
                                   {"site", MDM_JF_STR, 0, 0, 200, NULL, 0, &e.site, NULL},
                                   {"location", MDM_JF_STR, 0, 0, 200, NULL, 0, &e.location, NULL},
                                   {"notes", MDM_JF_STR, 0, 0, 4000, NULL, 0, &e.notes, NULL},
                                   {"test_device", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &test, &test_given},
                                   {NULL}};
    const char *id = NULL;
    apr_int64_t version = 0;
    json_t *body = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    memset(&e, 0, sizeof(e));
    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_if_match(call, &version);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    e.test_device = test_given ? test : -1;
    rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_device_edit(db, id, version, &e);
    if (rv == APR_SUCCESS)
        rv = mdm_device_json(db, id, &body, &version);
    rv = mdm_adm_end(db, rv);
    return rv == APR_SUCCESS ? mdm_adm_object(call, body, version)
                             : mdm_adm_fail(call, rv);
}

apr_status_t mdm_adm_audit_device(mdm_db_t *db, const char *action, const char *id, json_t *detail)
{
    json_t *d = NULL;
    apr_status_t rv = mdm_device_json(db, id, &d, NULL);

    if (rv == APR_SUCCESS) {
        rv = mdm_audit(db, action, "device", id, json_string_value(json_object_get(d, "name")), "done", detail);
        json_decref(d);
    }
    return rv;
}

static apr_status_t do_refresh(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    const char *record = NULL;
    json_t *d = NULL;
    apr_status_t rv = mdm_device_json(db, id, &d, NULL);

    if (rv != APR_SUCCESS)
        return rv;
    json_decref(d);
    rv = mdm_command_record(db, id, &record);
    if (rv == APR_NOTFOUND)
        return mdm_fail(call->ctx, MDM_ECONFLICT, NULL, "The device is not under management: there is nothing to refresh.");
    if (rv == APR_SUCCESS)
        rv = mdm_command_refresh(db, record);
    return rv == APR_SUCCESS ? mdm_adm_audit_device(db, "device.refresh", id, NULL) : rv;
}

int mdm_adm_device_refresh(mdm_web_call_t *call)
{
    int rc = mdm_adm_act(call, do_refresh, NULL, HTTP_ACCEPTED);

    if (call->r->status == HTTP_ACCEPTED)
        call->svc->job_wake();
    return rc;
}

/* ---- what belongs to one device. A list of an unknown device is 404, not empty. */

int mdm_adm_sub_list(mdm_web_call_t *call, const char *what, mdm_adm_sub_fn fn)
{
    const char *id = NULL, *next = NULL;
    json_t *device = NULL, *items = NULL;
    mdm_page_t page = {NULL};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_page(call, NULL, apr_pstrcat(call->r->pool, what, "\n", id, NULL), &page);
    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = mdm_device_json(db, id, &device, NULL);
    json_decref(device);
    if (rv == APR_SUCCESS)
        rv = fn(db, id, &page, &items, &next);
    mdm_db_close(db);
    return rv == APR_SUCCESS ? mdm_adm_items(call, items, next) : mdm_adm_fail(call, rv);
}

static apr_status_t records(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    return mdm_device_records(db, id, out);
}

int mdm_adm_device_records(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "records", records);
}

int mdm_adm_device_apps(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "apps", mdm_device_apps);
}

int mdm_adm_device_events(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "events", mdm_device_events);
}

static apr_status_t profiles(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    return mdm_device_section(db, id, "profiles", page, out, next);
}

static apr_status_t certificates(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    return mdm_device_section(db, id, "certificates", page, out, next);
}

static apr_status_t restrictions(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    return mdm_device_section(db, id, "restrictions", page, out, next);
}

int mdm_adm_device_profiles(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "profiles", profiles);
}

int mdm_adm_device_certificates(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "certificates", certificates);
}

int mdm_adm_device_restrictions(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "restrictions", restrictions);
}
