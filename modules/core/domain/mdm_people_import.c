/* People from CSV files. */
#include "domain/mdm_people_import.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_people.h"
#include "wire/mdm_csv.h"
#include "mdm_sql_gen.h"

enum { COL_LOGIN, COL_PASSWORD, COL_NAME, COL_MAIL, COL_PHONE, COLS };

struct mdm_people_csv_t {
    mdm_ctx_t *ctx;
    mdm_csv_reader_t *reader;
    mdm_people_row_fn fn;
    void *data;
    int at[COLS], begun;
};

/* ---------------------------------------------------------------- reading */

static apr_status_t csv_row(void *data, const mdm_csv_row_t *cells)
{
    static const mdm_csv_column_t columns[COLS] = {{"login|user name|user", 1}, {"password", 1}, {"name|display name", 0},
                                                   {"mail|e-mail", 0}, {"phone|mobile", 0}};
    mdm_people_csv_t *csv = data;
    mdm_people_row_t row = {.line = cells->line, .error = cells->error};
    const char **to[COLS] = {&row.login, &row.password, &row.name, &row.mail, &row.phone};
    mdm_ctx_t *ctx;
    apr_status_t rv;

    if (!csv->begun) {
        csv->begun = 1;
        return mdm_csv_head(csv->ctx, cells, columns, COLS, csv->at);
    }
    ctx = mdm_ctx_sub(csv->ctx);
    for (int i = 0; i < COLS; i++) {
        *to[i] = row.error ? "" : mdm_csv_cell(ctx->pool, cells, csv->at[i]);
    }
    rv = csv->fn(csv->data, ctx, &row);
    apr_pool_destroy(ctx->pool);
    return rv;
}

mdm_people_csv_t *mdm_people_csv(mdm_ctx_t *ctx, mdm_people_row_fn fn, void *data)
{
    mdm_people_csv_t *csv = apr_pcalloc(ctx->pool, sizeof(*csv));

    *csv = (mdm_people_csv_t){.ctx = ctx, .fn = fn, .data = data};
    csv->reader = mdm_csv_reader(ctx->pool, csv_row, csv);
    return csv;
}

apr_status_t mdm_people_csv_feed(mdm_people_csv_t *csv, const char *data, apr_size_t len)
{
    return mdm_csv_feed(csv->reader, data, len);
}

apr_status_t mdm_people_csv_end(mdm_people_csv_t *csv)
{
    apr_status_t rv = mdm_csv_end(csv->reader);

    return rv == APR_SUCCESS && !csv->begun ? mdm_fail(csv->ctx, MDM_EINPUT, NULL, "The file is empty.") : rv;
}

/* ---------------------------------------------------------------- one row */

/* A row's own fault becomes its error. */
static apr_status_t settle(mdm_ctx_t *ctx, mdm_people_row_t *row, apr_status_t rv)
{
    if (rv != MDM_EINPUT && rv != MDM_ECONFLICT) {
        return rv;
    }
    row->field = *ctx->fail_field ? ctx->fail_field : NULL;
    row->error = *ctx->fail_text ? ctx->fail_text : "is wrong";
    return APR_SUCCESS;
}

apr_status_t mdm_people_row_make(mdm_ctx_t *ctx, mdm_people_row_t *row)
{
    return row->error ? APR_SUCCESS
                      : settle(ctx, row, mdm_person_create(ctx, row->login, row->name, row->mail, row->phone, row->password, NULL));
}

/* ---------------------------------------------------------------- a file */

struct mdm_people_file_t {
    mdm_ctx_t *ctx;
    mdm_people_csv_t *csv;
    apr_array_header_t *rows; /* of mdm_people_row_t, all texts in ctx's pool */
};

static apr_status_t keep_row(void *data, mdm_ctx_t *ctx, mdm_people_row_t *row)
{
    mdm_people_file_t *f = data;
    apr_pool_t *p = f->ctx->pool;
    apr_status_t rv = row->error ? APR_SUCCESS
                                 : settle(ctx, row, mdm_person_ok(ctx, row->login, row->name, row->mail, row->phone, row->password));

    if (f->rows->nelts >= MDM_PEOPLE_ROWS) {
        return mdm_fail(f->ctx, MDM_ETOOBIG, NULL, "The file has more than %d rows: part it.", MDM_PEOPLE_ROWS);
    }
    APR_ARRAY_PUSH(f->rows, mdm_people_row_t) = (mdm_people_row_t){
        row->line, apr_pstrdup(p, row->login), apr_pstrdup(p, row->name), apr_pstrdup(p, row->mail), apr_pstrdup(p, row->phone),
        apr_pstrdup(p, row->password), apr_pstrdup(p, row->field), apr_pstrdup(p, row->error)};
    return rv;
}

mdm_people_file_t *mdm_people_file(mdm_ctx_t *ctx)
{
    mdm_people_file_t *f = apr_pcalloc(ctx->pool, sizeof(*f));

    f->ctx = ctx;
    f->rows = apr_array_make(ctx->pool, 64, sizeof(mdm_people_row_t));
    f->csv = mdm_people_csv(ctx, keep_row, f);
    return f;
}

apr_status_t mdm_people_file_feed(mdm_people_file_t *f, const char *data, apr_size_t len)
{
    return mdm_people_csv_feed(f->csv, data, len);
}

/* Log-ins that are taken, of the rows from `from` on: a set of their keys. */
static apr_status_t taken(mdm_people_file_t *f, int from, apr_hash_t **out)
{
    json_t *keys = mdm_json_own(f->ctx, json_array());
    apr_array_header_t *rows = NULL;
    const char *list;
    mdm_db_t *db;
    apr_status_t rv;

    *out = apr_hash_make(f->ctx->pool);
    for (int i = from; i < f->rows->nelts; i++) {
        const mdm_people_row_t *row = &APR_ARRAY_IDX(f->rows, i, mdm_people_row_t);

        if (!row->error) {
            json_array_append_new(keys, json_string(mdm_lower(f->ctx->pool, row->login)));
        }
    }
    list = mdm_json_text(f->ctx->pool, keys);
    if ((rv = mdm_db_open(f->ctx, &db)) == APR_SUCCESS) {
        rv = mdm_q_people_taken(db, list, &rows);
        mdm_db_close(db);
    }
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        apr_hash_set(*out, APR_ARRAY_IDX(rows, i, mdm_q_people_taken_t).login_key, APR_HASH_KEY_STRING, "is taken");
    }
    return rv;
}

/* What only the others tell about a row: whose log-in is taken, here or by a row before it. */
static apr_status_t judge(mdm_people_file_t *f, int from)
{
    apr_hash_t *known;
    apr_status_t rv = taken(f, from, &known);

    for (int i = from; rv == APR_SUCCESS && i < f->rows->nelts; i++) {
        mdm_people_row_t *row = &APR_ARRAY_IDX(f->rows, i, mdm_people_row_t);
        const char *key = mdm_lower(f->ctx->pool, row->login);

        if (!row->error && (row->error = apr_hash_get(known, key, APR_HASH_KEY_STRING))) {
            row->field = "login";
        } else if (!row->error) {
            apr_hash_set(known, key, APR_HASH_KEY_STRING, "stands in the file twice; the first counts");
        }
    }
    return rv;
}

/* No connection is held while a password is hashed. */
static apr_status_t make(mdm_people_file_t *f, mdm_people_row_t *row)
{
    mdm_ctx_t *ctx = mdm_ctx_sub(f->ctx);
    apr_status_t rv = mdm_people_row_make(ctx, row);

    row->field = apr_pstrdup(f->ctx->pool, row->field);
    row->error = apr_pstrdup(f->ctx->pool, row->error);
    if (rv != APR_SUCCESS) {
        mdm_fail(f->ctx, rv, NULL, "%s", *ctx->fail_text ? ctx->fail_text : mdm_error_text(rv));
    }
    apr_pool_destroy(ctx->pool);
    return rv;
}

apr_status_t mdm_people_file_end(mdm_people_file_t *f, int dry, int after, json_t **report)
{
    json_t *bad = mdm_json_own(f->ctx, json_array());
    int i = 0, good = 0;
    apr_status_t rv = mdm_people_csv_end(f->csv);

    while (i < f->rows->nelts && APR_ARRAY_IDX(f->rows, i, mdm_people_row_t).line <= after) {
        i++;
    }
    if (rv == APR_SUCCESS) {
        rv = judge(f, i);
    }
    for (; rv == APR_SUCCESS && i < f->rows->nelts && (dry || good < MDM_PEOPLE_BATCH); i++) {
        mdm_people_row_t *row = &APR_ARRAY_IDX(f->rows, i, mdm_people_row_t);

        rv = dry ? APR_SUCCESS : make(f, row);
        if (row->error) {
            json_array_append_new(bad, json_pack("{s:i, s:s, s:s?, s:s}", "line", row->line, "login", row->login, "field", row->field,
                                                 "error", row->error));
        }
        good += !row->error;
    }
    if (rv == APR_SUCCESS) {
        *report = json_pack("{s:i, s:i, s:i, s:i, s:O, s:o}", "total", f->rows->nelts, "walked", i, "good", good, "bad",
                            (int)json_array_size(bad), "rows", bad, "next",
                            i < f->rows->nelts ? json_integer(APR_ARRAY_IDX(f->rows, i - 1, mdm_people_row_t).line) : json_null());
    }
    return rv;
}
