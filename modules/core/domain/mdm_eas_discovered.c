/* Mail servers' own device lists: rows checked, people found, records made. */
#include "domain/mdm_eas_discovered.h"

#include <stdio.h>
#include <string.h>
#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_eas.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_match_run.h"
#include "domain/mdm_people.h"
#include "mdm_sql_gen.h"
#include "wire/mdm_eas_query.h"

#define BATCH 500
#define ERRORS_SHOWN 100
#define TEXT_MAX 255
#define USER_MAX 256

enum { C_USER, C_DEVICE, C_TYPE, C_MODEL, C_AGENT, C_FIRST, C_LAST, COLUMNS };

static const char *const names[COLUMNS + 1] = {"user", "device_id", "type", "model", "user_agent", "first_sync", "last_sync", NULL};
static const mdm_csv_column_t columns[COLUMNS] = {
    {"User|UserName|Login|PrimarySmtpAddress|Mailbox", 1}, {"DeviceId|Device", 1}, {"Type|DeviceType", 0}, {"Model|DeviceModel", 0},
    {"UserAgent|DeviceUserAgent", 0}, {"FirstSync|FirstSyncTime", 0}, {"LastSync|LastSuccessSync|LastSyncAttemptTime", 0}};

typedef struct row_t {
    int line;
    const char *field, *error; /* what was wrong when it was read; NULL: nothing */
    const char *cells[COLUMNS];
} row_t;

struct mdm_discovered_t {
    mdm_ctx_t *ctx, *sub;     /* sub: of the batch, its rows and what is made of them */
    const char *server_id, *name;
    int at[COLUMNS], headed;
    apr_array_header_t *batch; /* row_t */
    apr_int64_t rows, added, changed, bad;
    json_t *errors;
};

/* A row that is as it should be. */
typedef struct entry_t {
    const char *person, *device_id, *type, *agent, *attrs;
    apr_int64_t first_ms, last_ms;
} entry_t;

static void wrong(mdm_discovered_t *d, int line, const char *field, const char *reason)
{
    d->bad++;
    if (json_array_size(d->errors) < ERRORS_SHOWN) {
        json_array_append_new(d->errors, json_pack("{s:i, s:s, s:s}", "line", line, "field", field, "reason", reason));
    }
}

/* ---------------------------------------------------------------- one row */

/* Upper case, as the gate writes it; NULL: it is none. */
static const char *device_id(apr_pool_t *p, const char *text)
{
    char *out = apr_pstrdup(p, text), *c;

    for (c = out; *c; ++c) {
        if (!apr_isalnum(*c) && *c != '-' && *c != '_') {
            return NULL;
        }
        *c = (char)apr_toupper(*c);
    }
    return c > out && c - out <= MDM_EAS_DEVICE_ID_MAX ? out : NULL;
}

/* 2026-11-20, 2026-11-20T08:15:00Z, with blank for T, with fraction or offset. Others would be guesses. 0: none. */
static int time_of(const char *text, apr_int64_t *ms)
{
    apr_time_exp_t x;
    apr_time_t t;
    char zone = 'Z', sign = '+';
    int oh = 0, om = 0, n = 0, end = 0;

    *ms = 0;
    if (!*text) {
        return 1;
    }
    memset(&x, 0, sizeof(x));
    if (sscanf(text, "%4d-%2d-%2d%n", &x.tm_year, &x.tm_mon, &x.tm_mday, &n) != 3) {
        return 0;
    }
    if (text[n] == 'T' || text[n] == ' ') {
        text += n + 1;
        n = 0;
        if (sscanf(text, "%2d:%2d%n:%2d%n", &x.tm_hour, &x.tm_min, &n, &x.tm_sec, &n) < 2) {
            return 0;
        }
        n += text[n] == '.' ? 1 + (int)strspn(text + n + 1, "0123456789") : 0;
        zone = text[n] ? text[n] : 'Z';
        if (zone == '+' || zone == '-') {
            sign = zone;
            if (sscanf(text + n + 1, "%2d:%2d%n", &oh, &om, &end) != 2) {
                return 0;
            }
            n += 1 + end;
        } else {
            n += text[n] == 'Z';
        }
    }
    x.tm_year -= 1900;
    x.tm_mon -= 1;
    if (text[n] || x.tm_year < 70 || x.tm_year > 299 || x.tm_mon < 0 || x.tm_mon > 11 || x.tm_mday < 1 || x.tm_mday > 31 || x.tm_hour < 0 || x.tm_hour > 23
        || x.tm_min < 0 || x.tm_min > 59 || x.tm_sec < 0 || x.tm_sec > 60 || oh > 14 || om > 59 || oh < 0 || om < 0
        || apr_time_exp_gmt_get(&t, &x) != APR_SUCCESS) {
        return 0;
    }
    *ms = apr_time_as_msec(t) - (sign == '+' ? 1 : -1) * (oh * 60 + om) * 60000LL;
    return 1;
}

static const char *attrs_of(mdm_ctx_t *ctx, const row_t *row)
{
    json_t *attrs = mdm_json_own(ctx, json_object());
    int i;

    for (i = C_TYPE; i <= C_AGENT; ++i) {
        if (*row->cells[i]) {
            json_object_set_new(attrs, names[i], json_string(mdm_clean(ctx->pool, row->cells[i], TEXT_MAX)));
        }
    }
    return mdm_json_text(ctx->pool, attrs);
}

/* Whom the row is about; people are asked for once a batch. */
static apr_status_t person_of(mdm_discovered_t *d, apr_hash_t *people, const char *user, const char **id)
{
    mdm_ctx_t *sub;
    mdm_person_t *person;
    apr_status_t rv;

    if ((*id = apr_hash_get(people, user, APR_HASH_KEY_STRING))) {
        return APR_SUCCESS;
    }
    sub = mdm_ctx_sub(d->sub);
    rv = mdm_people_known(sub, user, &person);
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND && rv != MDM_EAUTH && rv != MDM_EINPUT) {
        return rv;
    }
    *id = rv == APR_SUCCESS ? apr_pstrdup(d->sub->pool, person->id) : "";
    apr_hash_set(people, user, APR_HASH_KEY_STRING, *id);
    apr_pool_destroy(sub->pool);
    return APR_SUCCESS;
}

/* *ok: e is filled; else the row is among the wrong ones. */
static apr_status_t check(mdm_discovered_t *d, apr_hash_t *people, const row_t *row, entry_t *e, int *ok)
{
    const char *user = row->cells[C_USER];
    apr_status_t rv;

    *ok = 0;
    if (row->error) {
        wrong(d, row->line, row->field, row->error);
        return APR_SUCCESS;
    }
    e->device_id = device_id(d->sub->pool, row->cells[C_DEVICE]);
    if (!*user || strlen(user) > USER_MAX) {
        wrong(d, row->line, "user", *user ? "is too long" : "is missing");
    } else if (!e->device_id) {
        wrong(d, row->line, "device_id", *row->cells[C_DEVICE] ? "is no DeviceId" : "is missing");
    } else if (!time_of(row->cells[C_FIRST], &e->first_ms)) {
        wrong(d, row->line, "first_sync", "is no time: 2026-11-20T08:15:00Z is one");
    } else if (!time_of(row->cells[C_LAST], &e->last_ms)) {
        wrong(d, row->line, "last_sync", "is no time: 2026-11-20T08:15:00Z is one");
    } else {
        if ((rv = person_of(d, people, user, &e->person)) != APR_SUCCESS) {
            return rv;
        }
        *ok = *e->person != '\0';
        if (!*ok) {
            wrong(d, row->line, "user", "is nobody who is known here");
        }
    }
    e->type = row->cells[C_TYPE];
    e->agent = row->cells[C_AGENT];
    e->attrs = attrs_of(d->sub, row);
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- a batch */

/* As the gate classes it; there may be several other clients. */
static const char *class_of(apr_pool_t *p, const entry_t *e)
{
    const char *class = mdm_eas_class(p, e->type, e->agent);

    return strcmp(class, "other") == 0 ? "other:1" : class;
}

/* What the rows of the batch come to: one entry for each person and DeviceId, the one of the latest sync. */
static apr_status_t entries(mdm_discovered_t *d, json_t **out)
{
    apr_pool_t *p = d->sub->pool;
    apr_hash_t *people = apr_hash_make(p), *seen = apr_hash_make(p);
    apr_hash_index_t *hi;
    int i, ok;

    for (i = 0; i < d->batch->nelts; ++i) {
        entry_t *e = apr_palloc(p, sizeof(*e)), *old;
        const char *key;
        apr_status_t rv = check(d, people, &APR_ARRAY_IDX(d->batch, i, row_t), e, &ok);

        if (rv != APR_SUCCESS) {
            return rv;
        }
        if (!ok) {
            continue;
        }
        key = apr_pstrcat(p, e->person, " ", e->device_id, NULL);
        old = apr_hash_get(seen, key, APR_HASH_KEY_STRING);
        if (!old || e->last_ms >= old->last_ms) {
            apr_hash_set(seen, key, APR_HASH_KEY_STRING, e);
        }
    }
    *out = mdm_json_own(d->sub, json_array());
    for (hi = apr_hash_first(p, seen); hi; hi = apr_hash_next(hi)) {
        const entry_t *e = apr_hash_this_val(hi);
        const char *id = mdm_uuid(p);

        if (!id) {
            return MDM_EUNAVAIL;
        }
        json_array_append_new(*out, json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "id", id, "person", e->person, "native", e->device_id, "class",
                                              class_of(p, e), "attrs", e->attrs, "first_ms", (json_int_t)e->first_ms, "last_ms", (json_int_t)e->last_ms));
    }
    return APR_SUCCESS;
}

/* Records first: what is kept of the server refers to them. */
static apr_status_t put(mdm_discovered_t *d, mdm_db_t *db, const char *list, apr_int64_t *added, apr_int64_t *changed)
{
    apr_array_header_t *got;
    int i, n = 0;
    apr_status_t rv = mdm_q_discovered_records(db, list, &got);

    for (i = 0; rv == APR_SUCCESS && i < got->nelts; ++i) {
        *added += APR_ARRAY_IDX(got, i, mdm_q_discovered_records_t).fresh != 0;
    }
    rv = rv == APR_SUCCESS ? mdm_q_discovered_told(db, d->server_id, list, mdm_now_ms(d->ctx), &n) : rv;
    *changed = n > *added ? n - *added : 0;
    return rv;
}

static apr_status_t flush(mdm_discovered_t *d)
{
    apr_int64_t added = 0, changed = 0;
    mdm_db_t *db;
    json_t *list;
    apr_status_t rv = entries(d, &list);

    if (rv == APR_SUCCESS && json_array_size(list) && (rv = mdm_db_open(d->sub, &db)) == APR_SUCCESS) {
        if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
            rv = put(d, db, mdm_json_text(d->sub->pool, list), &added, &changed);
        }
        rv = mdm_db_end(db, rv);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        mdm_fail(d->ctx, rv, d->sub->fail_field, "%s", d->sub->fail_text ? d->sub->fail_text : "The list was not taken to its end: send it again.");
    }
    d->added += added;
    d->changed += changed;
    apr_pool_destroy(d->sub->pool);
    d->sub = mdm_ctx_sub(d->ctx);
    d->batch = apr_array_make(d->sub->pool, BATCH, sizeof(row_t));
    return rv;
}

static apr_status_t add(mdm_discovered_t *d, const row_t *row)
{
    APR_ARRAY_PUSH(d->batch, row_t) = *row;
    return d->batch->nelts < BATCH ? APR_SUCCESS : flush(d);
}

/* ---------------------------------------------------------------- the two forms */

static apr_status_t take_csv(void *data, const mdm_csv_row_t *r)
{
    mdm_discovered_t *d = data;
    row_t row = {.line = r->line, .field = "", .error = r->error};
    int i;

    if (!d->headed++) {
        return mdm_csv_head(d->ctx, r, columns, COLUMNS, d->at);
    }
    d->rows++;
    for (i = 0; !r->error && i < COLUMNS; ++i) {
        row.cells[i] = mdm_csv_cell(d->sub->pool, r, d->at[i]);
    }
    return add(d, &row);
}

apr_status_t mdm_discovered_csv(mdm_discovered_t *d, const char *data, apr_size_t len)
{
    mdm_csv_reader_t *reader = mdm_csv_reader(d->ctx->pool, take_csv, d);
    apr_status_t rv = mdm_csv_feed(reader, data, len);

    rv = rv == APR_SUCCESS ? mdm_csv_end(reader) : rv;
    return rv == APR_SUCCESS && !d->headed ? mdm_fail(d->ctx, MDM_EINPUT, "User", "is missing: the file is empty") : rv;
}

apr_status_t mdm_discovered_json(mdm_discovered_t *d, const json_t *rows)
{
    size_t i;
    json_t *item;
    int c;

    json_array_foreach((json_t *)rows, i, item) {
        row_t row = {.line = (int)i + 1};
        mdm_jfield_t fields[COLUMNS + 1] = {{NULL}};
        apr_status_t rv;

        for (c = 0; c < COLUMNS; ++c) {
            row.cells[c] = "";
            fields[c] = (mdm_jfield_t){.name = names[c], .type = MDM_JF_STR, .max = 1024, .out = &row.cells[c]};
        }
        if (!json_is_object(item)) {
            return mdm_fail(d->ctx, MDM_EINPUT, "rows", "must be objects");
        }
        d->rows++;
        if (mdm_json_fields(d->sub, item, fields) != APR_SUCCESS) {
            row.field = d->sub->fail_field ? d->sub->fail_field : "";
            row.error = d->sub->fail_text ? d->sub->fail_text : "is wrong";
        }
        if ((rv = add(d, &row)) != APR_SUCCESS) {
            return rv;
        }
    }
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- the import */

apr_status_t mdm_discovered_begin(mdm_ctx_t *ctx, const char *server_id, mdm_discovered_t **out)
{
    mdm_discovered_t *d = apr_pcalloc(ctx->pool, sizeof(*d));
    mdm_q_eas_server_get_t *server;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_eas_server_get(db, server_id, &server);
    mdm_db_close(db);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    *d = (mdm_discovered_t){.ctx = ctx, .sub = mdm_ctx_sub(ctx), .server_id = server_id, .name = apr_pstrdup(ctx->pool, server->name),
                            .errors = mdm_json_own(ctx, json_array())};
    d->batch = apr_array_make(d->sub->pool, BATCH, sizeof(row_t));
    *out = d;
    return APR_SUCCESS;
}

apr_status_t mdm_discovered_end(mdm_discovered_t *d, json_t **out)
{
    json_t *result, *counts;
    mdm_db_t *db;
    apr_status_t rv = flush(d);

    if (rv != APR_SUCCESS || (rv = mdm_db_open(d->ctx, &db)) != APR_SUCCESS) {
        return rv;
    }
    counts = json_pack("{s:I, s:I, s:I, s:I, s:I}", "rows", (json_int_t)d->rows, "new", (json_int_t)d->added, "changed", (json_int_t)d->changed, "same",
                       (json_int_t)(d->rows - d->bad - d->added - d->changed), "errors", (json_int_t)d->bad);
    if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
        rv = mdm_audit(db, "eas_server.discovered", "eas_server", d->server_id, d->name, "done", counts);
        rv = rv == APR_SUCCESS && (d->added || d->changed) ? mdm_match_soon(db) : rv;
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    result = mdm_json_own(d->ctx, counts);
    json_object_set(result, "first_errors", d->errors);
    *out = result;
    return rv;
}

/* ---------------------------------------------------------------- the list */

static json_t *when(apr_pool_t *p, apr_int64_t ms)
{
    return ms ? json_string(mdm_time_text(p, ms)) : json_null();
}

static json_t *item_json(mdm_ctx_t *ctx, const mdm_q_discovered_list_t *q)
{
    json_t *said = mdm_json_own(ctx, json_loads(q->said, 0, NULL));
    json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?, s:s?, s:o, s:o, s:o}", "id", q->record_id, "device_id", q->native_id, "state", q->state, "class",
                            q->class, "type", json_string_value(json_object_get(said, "type")), "model",
                            json_string_value(json_object_get(said, "model")), "user_agent", json_string_value(json_object_get(said, "user_agent")),
                            "first_sync", when(ctx->pool, q->first_ms), "last_sync", when(ctx->pool, q->last_ms), "told_at", when(ctx->pool, q->told_ms));

    json_object_set_new(out, "person", q->person_id ? json_pack("{s:s, s:s, s:s}", "id", q->person_id, "name", q->person_name ? q->person_name : "", "login",
                                                                q->login ? q->login : "") : json_null());
    json_object_set_new(out, "device", q->object_id ? json_pack("{s:s, s:s}", "id", q->object_id, "name", q->object_name ? q->object_name : "") : json_null());
    return out;
}

apr_status_t mdm_discovered_list(mdm_db_t *db, const char *server_id, const mdm_page_t *page, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    mdm_q_eas_server_get_t *server;
    apr_status_t rv = mdm_q_eas_server_get(db, server_id, &server);
    int i;

    rv = rv == APR_SUCCESS ? mdm_q_discovered_list(db, server_id, page->key, page->id, page->count + 1, &rows) : rv;
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; ++i) {
        const mdm_q_discovered_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_discovered_list_t);

        json_array_append_new(items, item_json(ctx, q));
        if (i == page->count - 1 && rows->nelts > page->count) {
            *next = mdm_page_next(ctx, page, q->native_id, q->record_id);
        }
    }
    return rv;
}
