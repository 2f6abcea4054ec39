/* Bulk runs: a file comes in, is checked, run, looked at, removed (PEN-06, API-01). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_bulk.h"

/* ---- the file */

static apr_status_t read_options(mdm_web_call_t *call, mdm_bulk_options_t *o)
{
    static const char *const params[] = {"file", "ownership", "platform", "notify", "language", "otp_hours", NULL};
    const char *hours = NULL, **to[] = {&o->file, &o->ownership, &o->platform, &o->notify, &o->language, &hours};
    apr_status_t rv = mdm_adm_params(call, params);
    int i;

    for (i = 0; rv == APR_SUCCESS && params[i]; i++) {
        rv = mdm_web_query(call->r, call->ctx, params[i], to[i]);
        *to[i] = *to[i] ? *to[i] : "";
    }
    if (rv == APR_SUCCESS && *hours && mdm_parse_i64(hours, 1, 720, &o->otp_hours) != APR_SUCCESS)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "otp_hours", "must be a number from 1 to 720");
    return rv;
}

static apr_status_t piece(void *data, const char *text, apr_size_t len)
{
    return mdm_bulk_feed(data, text, len);
}

static apr_status_t take_file(mdm_web_call_t *call, mdm_bulk_t *b, const char **id)
{
    apr_status_t rv = mdm_adm_upload(call, MDM_BULK_BYTES, piece, b);

    if (rv == APR_SUCCESS)
        rv = mdm_bulk_end(b, id);
    if (rv != APR_SUCCESS)
        mdm_bulk_abort(b);
    return rv;
}

int mdm_adm_bulk_upload(mdm_web_call_t *call)
{
    const char *type = apr_table_get(call->r->headers_in, "Content-Type"), *id = NULL;
    mdm_bulk_options_t options = {NULL};
    mdm_bulk_t *b = NULL;
    json_t *body = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = read_options(call, &options);

    if (rv == APR_SUCCESS && (!type || strncasecmp(type, "text/csv", 8) != 0))
        rv = mdm_fail(call->ctx, MDM_EMEDIA, NULL, "The body must be text/csv.");
    if (rv == APR_SUCCESS)
        rv = mdm_bulk_begin(call->ctx, &options, &b);
    if (rv == APR_SUCCESS)
        rv = take_file(call, b, &id);
    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv == APR_SUCCESS) {
        rv = mdm_bulk_json(db, id, &body);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    call->svc->job_wake();
    apr_table_setn(call->r->headers_out, "Location", apr_pstrcat(call->r->pool, mdm_adm_req(call)->base, "/api/v1/bulk-runs/", id, NULL));
    return mdm_web_json(call->r, HTTP_ACCEPTED, body);
}

/* ---- showing */

static apr_status_t runs(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    return mdm_bulk_list(db, page, items, next);
}

int mdm_adm_bulk_runs(mdm_web_call_t *call)
{
    return mdm_adm_list(call, &(mdm_adm_list_t){.sig = "bulk_runs", .read = runs, .name = "bulk-runs",
        .columns = "id file state total walked good bad warned made created_at created_by started_at changed_at kept_until error"});
}

int mdm_adm_bulk_run(mdm_web_call_t *call)
{
    return mdm_adm_look(call, mdm_bulk_json);
}

typedef struct which_t {
    const char *id, *result;
} which_t;

static apr_status_t rows(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    const which_t *w = arg;

    return mdm_bulk_rows(db, w->id, w->result, page, items, next);
}

int mdm_adm_bulk_rows(mdm_web_call_t *call)
{
    static const char *const params[] = {"result", NULL}, *const results[] = {"good", "warning", "bad", NULL};
    which_t w = {NULL, NULL};
    apr_status_t rv = mdm_adm_id(call, &w.id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "result", results, &w.result);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    return mdm_adm_list(call, &(mdm_adm_list_t){.sig = apr_pstrcat(call->r->pool, "bulk\n", w.id, "\n", w.result, NULL), .params = params,
        .read = rows, .arg = &w, .name = "bulk-report", .columns = "row:id line username result field note made"});
}

/* Sent part by part; no connection to the database is held while a part goes out. */
static apr_status_t send_result(mdm_web_call_t *call, mdm_bulk_result_t *result)
{
    apr_status_t rv;
    int more;

    do {
        mdm_ctx_t *sub = mdm_ctx_sub(call->ctx);
        const char *text = NULL;

        rv = mdm_bulk_result_next(sub, result, &text);
        more = rv == APR_SUCCESS && text && mdm_adm_send(call->r, text);
        apr_pool_destroy(sub->pool);
    } while (more);
    return rv;
}

int mdm_adm_bulk_result(mdm_web_call_t *call)
{
    request_rec *r = call->r;
    const char *id = NULL, *text = NULL;
    mdm_bulk_result_t *result = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_params(call, NULL);
    if (rv == APR_SUCCESS)
        rv = mdm_bulk_result_begin(call->ctx, id, call->svc->public_url(r->server), &result, &text);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    apr_table_setn(r->headers_out, "Content-Disposition", "attachment; filename=\"bulk-result.csv\"");
    mdm_adm_stream(r, "text/csv; charset=utf-8");
    if (r->header_only || !mdm_adm_send(r, MDM_CSV_BOM) || !mdm_adm_send(r, text))
        return OK;
    return send_result(call, result) == APR_SUCCESS ? OK : mdm_adm_cut_off(r);
}

/* ---- changing */

static apr_status_t do_start(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_bulk_start(db, id);
}

static apr_status_t do_cancel(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_bulk_cancel(db, id);
}

static apr_status_t do_remove(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_bulk_remove(db, id, arg != NULL);
}

/* The job has something to do. */
static int woken(mdm_web_call_t *call, int rc)
{
    if (call->r->status == HTTP_ACCEPTED)
        call->svc->job_wake();
    return rc;
}

int mdm_adm_bulk_start(mdm_web_call_t *call)
{
    return woken(call, mdm_adm_act(call, do_start, NULL, HTTP_ACCEPTED));
}

int mdm_adm_bulk_cancel(mdm_web_call_t *call)
{
    return woken(call, mdm_adm_act(call, do_cancel, NULL, HTTP_ACCEPTED));
}

int mdm_adm_bulk_remove(mdm_web_call_t *call)
{
    static const char *const params[] = {"open", NULL}, *const words[] = {"cancel", "keep", NULL};
    const char *open = NULL;
    apr_status_t rv = mdm_adm_params(call, params);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "open", words, &open);
    return rv == APR_SUCCESS ? woken(call, mdm_adm_act(call, do_remove, *open == 'c' ? open : NULL, HTTP_ACCEPTED)) : mdm_adm_fail(call, rv);
}
