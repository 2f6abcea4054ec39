/* Bulk runs: files coming in, runs as people see them, results. */
#include "domain/mdm_bulk.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_enroll_conf.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_otp.h"
#include "mdm_sql_gen.h"

#define UPLOAD_BATCH 500
#define RESULT_BATCH 200
#define TITLE_MAX 100
#define FILE_MAX 200
#define DAY_MS (24 * 3600 * 1000LL)

/* ---------------------------------------------------------------- what is stored as JSON, or sealed */

const char *mdm_bulk_purpose(apr_pool_t *p, const char *run_id, apr_int64_t n)
{
    return apr_psprintf(p, "bulk_row.cells:%s:%" APR_INT64_T_FMT, run_id, n);
}

static mdm_csv_row_t row_of(apr_pool_t *p, const json_t *list)
{
    int n = (int)json_array_size(list), i;
    const char **cells = apr_pcalloc(p, (apr_size_t)(n + 1) * sizeof(*cells));

    for (i = 0; i < n; i++) {
        const char *s = json_string_value(json_array_get(list, (size_t)i));

        cells[i] = s ? s : "";
    }
    return (mdm_csv_row_t){.line = 1, .n = n, .cells = cells};
}

mdm_csv_row_t mdm_bulk_head(mdm_ctx_t *ctx, const char *titles)
{
    return row_of(ctx->pool, mdm_json_own(ctx, json_loads(titles, 0, NULL)));
}

apr_status_t mdm_bulk_cells(mdm_ctx_t *ctx, const char *run_id, apr_int64_t n, const char *sealed, mdm_csv_row_t *out)
{
    mdm_blob_t text;
    apr_status_t rv = mdm_unseal(ctx, mdm_bulk_purpose(ctx->pool, run_id, n), sealed, &text);

    if (rv == APR_SUCCESS) {
        *out = row_of(ctx->pool, mdm_json_own(ctx, json_loadb((const char *)text.data, text.len, 0, NULL)));
    }
    return rv;
}

static apr_status_t seal_cells(mdm_ctx_t *ctx, const char *run_id, apr_int64_t n, const mdm_csv_row_t *row, const char **out)
{
    json_t *list = mdm_json_own(ctx, json_array());
    const char *text;
    int i;

    for (i = 0; i < row->n; i++) {
        json_array_append_new(list, json_string(row->cells[i]));
    }
    text = mdm_json_text(ctx->pool, list);
    return mdm_seal(ctx, mdm_bulk_purpose(ctx->pool, run_id, n), text, strlen(text), out);
}

json_t *mdm_bulk_options_json(const mdm_bulk_options_t *o)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I}", "ownership", o->ownership, "platform", o->platform, "notify", o->notify, "language", o->language,
                     "otp_hours", (json_int_t)o->otp_hours);
}

void mdm_bulk_options_read(mdm_ctx_t *ctx, const char *text, mdm_bulk_options_t *out)
{
    json_t *j = mdm_json_own(ctx, json_loads(text, 0, NULL));
    const char *names[] = {"ownership", "platform", "notify", "language"}, **to[] = {&out->ownership, &out->platform, &out->notify, &out->language};
    int i;

    for (i = 0; i < 4; i++) {
        const char *s = json_string_value(json_object_get(j, names[i]));

        *to[i] = s ? s : "";
    }
    out->otp_hours = json_integer_value(json_object_get(j, "otp_hours"));
}

apr_status_t mdm_bulk_job_add(mdm_db_t *db, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *payload = mdm_json_own(ctx, json_pack("{s:s}", "run", id));

    return mdm_job_add(db, &(mdm_job_add_t){.kind = MDM_BULK_JOB, .unique_key = apr_pstrcat(ctx->pool, "bulk:", id, NULL), .payload = payload}, NULL);
}

/* ---------------------------------------------------------------- a file comes in */

struct mdm_bulk_t {
    mdm_ctx_t *ctx, *sub; /* sub: of the batch */
    mdm_bulk_options_t options;
    mdm_csv_reader_t *reader;
    const char *id;
    int at[MDM_BULK_COLUMNS], titles; /* titles: how many there are; 0: the first row has not come */
    apr_int64_t rows;
    json_t *batch;
};

static void batch_begin(mdm_bulk_t *b)
{
    b->sub = mdm_ctx_sub(b->ctx);
    b->batch = mdm_json_own(b->sub, json_array());
}

static apr_status_t flush(mdm_bulk_t *b)
{
    mdm_db_t *db;
    apr_status_t rv = APR_SUCCESS;

    if (json_array_size(b->batch) && (rv = mdm_db_open(b->sub, &db)) == APR_SUCCESS) {
        rv = mdm_q_bulk_rows_add(db, b->id, mdm_json_text(b->sub->pool, b->batch), NULL);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        mdm_fail(b->ctx, rv, NULL, "The file was not taken to its end: send it again.");
    }
    apr_pool_destroy(b->sub->pool);
    batch_begin(b);
    return rv;
}

static apr_status_t take_titles(mdm_bulk_t *b, const mdm_csv_row_t *row)
{
    mdm_ctx_t *ctx = b->sub;
    json_t *titles = mdm_json_own(ctx, json_array()), *options = mdm_json_own(ctx, mdm_bulk_options_json(&b->options));
    mdm_db_t *db;
    int i;
    apr_status_t rv = mdm_csv_head(b->ctx, row, mdm_bulk_columns, MDM_BULK_COLUMNS, b->at);

    for (i = 0; rv == APR_SUCCESS && i < row->n; i++) {
        json_array_append_new(titles, json_string(mdm_clean(ctx->pool, row->cells[i], TITLE_MAX)));
    }
    if (rv == APR_SUCCESS && (rv = mdm_db_open(ctx, &db)) == APR_SUCCESS) {
        rv = mdm_q_bulk_add(db, b->id, b->options.file, mdm_json_text(ctx->pool, options), mdm_json_text(ctx->pool, titles), ctx->actor.id,
                            ctx->actor.limit, ctx->actor.name, mdm_now_ms(ctx), NULL);
        mdm_db_close(db);
    }
    b->titles = rv == APR_SUCCESS ? row->n : 0;
    return rv;
}

/* What is wrong with a row before anybody looks at what it says. */
static const char *unreadable(const mdm_bulk_t *b, const mdm_csv_row_t *row)
{
    int i;

    for (i = 0; !row->error && i < row->n; i++) {
        if (strlen(row->cells[i]) > MDM_BULK_CELL) {
            return "a cell is too long";
        }
        if (i >= b->titles && *row->cells[i]) {
            return "the row has more cells than the first row has titles";
        }
    }
    return row->error;
}

static apr_status_t take_row(void *data, const mdm_csv_row_t *row)
{
    mdm_bulk_t *b = data;
    const char *sealed = "", *otp = "", *error;
    apr_status_t rv = APR_SUCCESS;

    if (!b->titles) {
        return take_titles(b, row);
    }
    if (++b->rows > MDM_BULK_ROWS) {
        return mdm_fail(b->ctx, MDM_ETOOBIG, NULL, "The file has more than %d rows: part it.", MDM_BULK_ROWS);
    }
    error = unreadable(b, row);
    if (!error) {
        rv = seal_cells(b->sub, b->id, b->rows, row, &sealed);
        rv = rv == APR_SUCCESS ? mdm_bulk_row_otp(b->sub, row, b->at[MDM_BULK_OTP], &otp) : rv;
    }
    json_array_append_new(b->batch, json_pack("{s:I, s:i, s:s, s:s, s:s, s:s, s:s}", "n", (json_int_t)b->rows, "line", row->line, "cells", sealed, "otp", otp,
                                              "result", error ? "bad" : "", "field", "", "note", error ? error : ""));
    return rv == APR_SUCCESS && json_array_size(b->batch) >= UPLOAD_BATCH ? flush(b) : rv;
}

apr_status_t mdm_bulk_begin(mdm_ctx_t *ctx, const mdm_bulk_options_t *options, mdm_bulk_t **out)
{
    mdm_bulk_t *b = apr_pcalloc(ctx->pool, sizeof(*b));
    apr_status_t rv = mdm_bulk_options_check(ctx, options);

    *b = (mdm_bulk_t){.ctx = ctx, .options = *options, .id = mdm_uuid(ctx->pool)};
    b->options.file = mdm_clean(ctx->pool, options->file, FILE_MAX);
    b->reader = mdm_csv_reader(ctx->pool, take_row, b);
    batch_begin(b);
    *out = b;
    return rv == APR_SUCCESS && !b->id ? MDM_EUNAVAIL : rv;
}

apr_status_t mdm_bulk_feed(mdm_bulk_t *b, const char *data, apr_size_t len)
{
    return mdm_csv_feed(b->reader, data, len);
}

static apr_status_t uploaded(mdm_bulk_t *b, mdm_db_t *db)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = mdm_q_bulk_uploaded(db, b->id, b->rows, mdm_now_ms(ctx));

    rv = rv == APR_SUCCESS ? mdm_bulk_job_add(db, b->id) : rv;
    return rv == APR_SUCCESS ? mdm_audit(db, "bulk_run.upload", "bulk_run", b->id, b->options.file, "done",
                                         mdm_json_own(ctx, json_pack("{s:I}", "rows", (json_int_t)b->rows))) : rv;
}

apr_status_t mdm_bulk_end(mdm_bulk_t *b, const char **id)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_csv_end(b->reader);

    rv = rv == APR_SUCCESS ? flush(b) : rv;
    if (rv == APR_SUCCESS && !b->rows) {
        rv = mdm_fail(b->ctx, MDM_EINPUT, b->titles ? NULL : "username", b->titles ? "The file has no rows." : "is missing: the file is empty");
    }
    if (rv != APR_SUCCESS || (rv = mdm_db_open(b->ctx, &db)) != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_db_begin(db);
    rv = mdm_db_end(db, rv == APR_SUCCESS ? uploaded(b, db) : rv);
    mdm_db_close(db);
    *id = b->id;
    return rv;
}

void mdm_bulk_abort(mdm_bulk_t *b)
{
    mdm_db_t *db;

    if (b->titles && mdm_db_open(b->ctx, &db) == APR_SUCCESS) {
        mdm_q_bulk_drop(db, b->id, NULL); /* else it goes by its age */
        mdm_db_close(db);
    }
}

/* ---------------------------------------------------------------- runs */

static json_t *when(apr_pool_t *p, apr_int64_t ms)
{
    return ms ? json_string(mdm_time_text(p, ms)) : json_null();
}

/* Titles that nobody looks at. */
static json_t *warnings(mdm_ctx_t *ctx, const char *text)
{
    mdm_csv_row_t head = mdm_bulk_head(ctx, text);
    json_t *out = json_array();
    int at[MDM_BULK_COLUMNS], i, k;

    if (mdm_csv_head(ctx, &head, mdm_bulk_columns, MDM_BULK_COLUMNS, at) != APR_SUCCESS) {
        return out;
    }
    for (i = 0; i < head.n; i++) {
        for (k = 0; k < MDM_BULK_COLUMNS && at[k] != i; k++)
            ;
        if (k == MDM_BULK_COLUMNS) {
            json_array_append_new(out, json_string(head.cells[i]));
        }
    }
    return out;
}

static int ended(const char *state)
{
    return !strcmp(state, "done") || !strcmp(state, "cancelled") || !strcmp(state, "failed");
}

static json_t *run_json(mdm_ctx_t *ctx, const mdm_q_bulk_get_t *r)
{
    apr_pool_t *p = ctx->pool;
    int kept = ended(r->state) || !strcmp(r->state, "checked");

    return json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:b}", "id", r->id, "state", r->state, "file",
                     r->file, "options", json_loads(r->options, 0, NULL), "total", (json_int_t)r->total, "walked", (json_int_t)r->walked, "good",
                     (json_int_t)r->good, "bad", (json_int_t)r->bad, "warned", (json_int_t)r->warned, "made", (json_int_t)r->made, "unknown_columns",
                     warnings(ctx, r->titles), "error", *r->error ? json_string(r->error) : json_null(), "created_by", r->created_by, "created_at",
                     when(p, r->created_ms), "started_at", when(p, r->started_ms_null ? 0 : r->started_ms), "changed_at", when(p, r->changed_ms),
                     "kept_until", when(p, kept ? r->changed_ms + MDM_BULK_DAYS * DAY_MS : 0), "result", ended(r->state) && !r->started_ms_null);
}

apr_status_t mdm_bulk_json(mdm_db_t *db, const char *id, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_bulk_get_t *row;
    apr_status_t rv = mdm_q_bulk_get(db, id, ctx->actor.limit, &row);

    if (rv == APR_SUCCESS) {
        *out = run_json(ctx, row);
    }
    return rv;
}

apr_status_t mdm_bulk_list(mdm_db_t *db, const mdm_page_t *page, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_bulk_list(db, ctx->actor.limit, page->first ? APR_INT64_MAX : page->num, page->id, page->count + 1, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_bulk_list_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_bulk_list_t);
        mdm_q_bulk_get_t same;

        _Static_assert(sizeof(same) == sizeof(*r), "both have the columns of bulk_cols");
        memcpy(&same, r, sizeof(same));
        json_array_append_new(items, run_json(ctx, &same));
        if (i == page->count - 1 && rows->nelts > page->count) {
            *next = mdm_page_next_num(ctx, page, r->created_ms, r->id);
        }
    }
    return rv;
}

static const char *user_of(mdm_ctx_t *ctx, const char *run_id, const mdm_q_bulk_rows_of_t *r, int at)
{
    mdm_csv_row_t cells;

    return *r->cells && mdm_bulk_cells(ctx, run_id, r->n, r->cells, &cells) == APR_SUCCESS ? mdm_csv_cell(ctx->pool, &cells, at) : "";
}

apr_status_t mdm_bulk_rows(mdm_db_t *db, const char *id, const char *result, const mdm_page_t *page, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_bulk_get_t *run;
    mdm_csv_row_t head;
    apr_array_header_t *rows;
    int at[MDM_BULK_COLUMNS], i;
    apr_status_t rv = mdm_q_bulk_get(db, id, ctx->actor.limit, &run);

    if (rv == APR_SUCCESS) {
        head = mdm_bulk_head(ctx, run->titles);
        rv = mdm_csv_head(ctx, &head, mdm_bulk_columns, MDM_BULK_COLUMNS, at);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_bulk_rows_of(db, id, result, page->num, page->count + 1, &rows);
    }
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_bulk_rows_of_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_bulk_rows_of_t);

        json_array_append_new(items, json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:I}", "id", (json_int_t)r->n, "line", (json_int_t)r->line, "username",
                                               user_of(ctx, id, r, at[MDM_BULK_USERNAME]), "result", *r->result ? r->result : "waiting", "field", r->field,
                                               "note", r->note, "made", (json_int_t)r->made));
        if (i == page->count - 1 && rows->nelts > page->count) {
            *next = mdm_page_next_num(ctx, page, r->n, "");
        }
    }
    return rv;
}

/* The run, if it is in one of these states (separated by blanks). */
static apr_status_t in_state(mdm_db_t *db, const char *id, const char *states, mdm_q_bulk_get_t **run)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = mdm_q_bulk_get(db, id, ctx->actor.limit, run);

    return rv == APR_SUCCESS && !strstr(states, (*run)->state) ? mdm_fail(ctx, MDM_ECONFLICT, "state", "The run is in another state now.") : rv;
}

/* Somebody was faster: it is not what it was a moment ago. */
static apr_status_t changed(mdm_ctx_t *ctx, apr_status_t rv)
{
    return APR_STATUS_IS_NOTFOUND(rv) ? mdm_fail(ctx, MDM_ECONFLICT, "state", "The run is in another state now.") : rv;
}

apr_status_t mdm_bulk_start(mdm_db_t *db, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_bulk_get_t *run;
    apr_status_t rv = in_state(db, id, "checked failed", &run);

    if (rv == APR_SUCCESS) {
        rv = changed(ctx, mdm_q_bulk_start(db, id, mdm_now_ms(ctx)));
    }
    rv = rv == APR_SUCCESS ? mdm_bulk_job_add(db, id) : rv;
    return rv == APR_SUCCESS ? mdm_audit(db, "bulk_run.start", "bulk_run", id, run->file, "done", NULL) : rv;
}

apr_status_t mdm_bulk_cancel(mdm_db_t *db, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_bulk_get_t *run;
    apr_status_t rv = in_state(db, id, "checking running failed", &run);

    rv = rv == APR_SUCCESS ? changed(ctx, mdm_q_bulk_cancel(db, id, mdm_now_ms(ctx))) : rv;
    return rv == APR_SUCCESS ? mdm_audit(db, "bulk_run.cancel", "bulk_run", id, run->file, "done", NULL) : rv;
}

apr_status_t mdm_bulk_remove(mdm_db_t *db, const char *id, int open)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_bulk_get_t *run;
    apr_status_t rv = mdm_q_bulk_get(db, id, ctx->actor.limit, &run);

    rv = rv == APR_SUCCESS ? mdm_q_bulk_remove(db, id, open, mdm_now_ms(ctx)) : rv;
    rv = rv == APR_SUCCESS ? mdm_bulk_job_add(db, id) : rv;
    return rv == APR_SUCCESS ? mdm_audit(db, "bulk_run.remove", "bulk_run", id, run->file, "done",
                                         mdm_json_own(ctx, json_pack("{s:b}", "open", open))) : rv;
}

/* ---------------------------------------------------------------- the result */

static const char *const tail[] = {"line", "result", "error", "token", "otp", "link", "expires"};
enum { T_LINE, T_RESULT, T_ERROR, T_TOKEN, T_OTP, T_LINK, T_EXPIRES, T_COUNT };

/* Original cells, as many as there are titles, then ours. */
static const char *line_of(apr_pool_t *p, int titles, const mdm_csv_row_t *original, const char *const own[T_COUNT])
{
    const char **cells = apr_pcalloc(p, (apr_size_t)(titles + T_COUNT) * sizeof(*cells));

    for (int i = 0; i < original->n && i < titles; i++) {
        cells[i] = original->cells[i];
    }
    for (int i = 0; i < T_COUNT; i++) {
        cells[titles + i] = own[i];
    }
    return mdm_csv_row(p, cells, titles + T_COUNT);
}

static apr_status_t looked_at(mdm_db_t *db, const char *id, const char *public_url, mdm_q_bulk_get_t **run, const char **base)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = in_state(db, id, "done cancelled failed", run);

    if (rv == APR_SUCCESS && (*run)->started_ms_null) {
        rv = mdm_fail(ctx, MDM_ECONFLICT, "state", "The run has made nothing.");
    }
    rv = rv == APR_SUCCESS ? mdm_enroll_base(db, public_url, base) : rv;
    return rv == APR_SUCCESS ? mdm_audit(db, "bulk_run.result", "bulk_run", id, (*run)->file, "done", NULL) : rv;
}

apr_status_t mdm_bulk_result_begin(mdm_ctx_t *ctx, const char *id, const char *public_url, mdm_bulk_result_t **out, const char **text)
{
    const char *base = NULL;
    mdm_q_bulk_get_t *run = NULL;
    mdm_csv_row_t head;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_db_begin(db);
    rv = mdm_db_end(db, rv == APR_SUCCESS ? looked_at(db, id, public_url, &run, &base) : rv);
    mdm_db_close(db);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    *out = apr_pcalloc(ctx->pool, sizeof(**out));
    **out = (mdm_bulk_result_t){.ctx = ctx, .id = id, .base = base, .titles = mdm_json_own(ctx, json_loads(run->titles, 0, NULL)), .walked = run->walked};
    head = row_of(ctx->pool, (*out)->titles);
    *text = line_of(ctx->pool, head.n, &head, tail);
    return APR_SUCCESS;
}

/* What is still secret and still good: a link that was used tells nothing any more, but which one it was is asked for. */
static apr_status_t secrets(mdm_db_t *db, const mdm_bulk_result_t *r, const mdm_q_bulk_made_t *made, const char **own)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = mdm_pending_token(db, made->id, &own[T_TOKEN]);

    if (rv == APR_SUCCESS) {
        own[T_LINK] = mdm_enroll_link(ctx->pool, r->base, own[T_TOKEN], NULL);
        own[T_EXPIRES] = mdm_time_text(ctx->pool, made->expires_ms);
        rv = mdm_otp_reveal(db, made->id, &own[T_OTP]);
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

/* The lines of one row: one for each enrolment, or the one that says why there is none. */
static apr_status_t lines_of(mdm_db_t *db, const mdm_bulk_result_t *r, const mdm_q_bulk_rows_t *row, const apr_array_header_t *made, int *m,
                             apr_array_header_t *lines)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_csv_row_t cells = {.n = 0};
    int done = row->n <= r->walked, bad = !strcmp(row->result, "bad"), any = 0, titles = (int)json_array_size(r->titles);
    apr_status_t rv = *row->cells ? mdm_bulk_cells(ctx, r->id, row->n, row->cells, &cells) : APR_SUCCESS;

    while (rv == APR_SUCCESS) {
        const mdm_q_bulk_made_t *e = *m < made->nelts ? &APR_ARRAY_IDX(made, *m, mdm_q_bulk_made_t) : NULL;
        int mine = e && e->run_row / 100 == row->n;
        const char *own[T_COUNT] = {apr_psprintf(ctx->pool, "%" APR_INT64_T_FMT, row->line),
                                    mine ? "created" : !done ? "not run" : bad ? "failed" : "removed", done ? row->note : ""};

        if (bad && *row->field) {
            own[T_ERROR] = apr_pstrcat(ctx->pool, row->field, ": ", row->note, NULL);
        }
        if (!mine && any) {
            return rv;
        }
        rv = mine ? secrets(db, r, e, own) : rv;
        if (rv == APR_SUCCESS) {
            APR_ARRAY_PUSH(lines, const char *) = line_of(ctx->pool, titles, &cells, own);
        }
        if (!mine) {
            return rv;
        }
        any = 1;
        ++*m;
    }
    return rv;
}

apr_status_t mdm_bulk_result_next(mdm_ctx_t *ctx, mdm_bulk_result_t *r, const char **text)
{
    apr_array_header_t *rows, *made = NULL, *lines = apr_array_make(ctx->pool, RESULT_BATCH, sizeof(const char *));
    mdm_db_t *db;
    int i, m = 0;
    apr_status_t rv = mdm_db_open(ctx, &db);

    *text = NULL;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_bulk_rows(db, r->id, r->after, RESULT_BATCH, &rows);
    if (rv == APR_SUCCESS && rows->nelts) {
        rv = mdm_q_bulk_made(db, r->id, APR_ARRAY_IDX(rows, 0, mdm_q_bulk_rows_t).n * 100,
                             APR_ARRAY_IDX(rows, rows->nelts - 1, mdm_q_bulk_rows_t).n * 100 + 99, &made);
    }
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_bulk_rows_t *row = &APR_ARRAY_IDX(rows, i, mdm_q_bulk_rows_t);

        rv = lines_of(db, r, row, made, &m, lines);
        r->after = row->n;
    }
    mdm_db_close(db);
    if (rv == APR_SUCCESS && lines->nelts) {
        *text = apr_array_pstrcat(ctx->pool, lines, 0);
    }
    return rv;
}
