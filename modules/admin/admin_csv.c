/* Lists as CSV: streamed page by page, no connection held while a page is sent (UI-01, R33). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include "base/mdm_json.h"
#include "wire/mdm_csv.h"

#define PAGE "200"
#define COLUMNS_MAX 40

typedef struct column_t {
    const char *title, *path; /* "name", "person.name" */
} column_t;

/* "id name person:person.name": title and path, the same if there is one word. */
static int columns_read(apr_pool_t *p, const char *text, column_t *out)
{
    char *state = NULL, *word = apr_strtok(apr_pstrdup(p, text), " ", &state);
    int n = 0;

    for (; word && n < COLUMNS_MAX; word = apr_strtok(NULL, " ", &state), n++) {
        char *colon = strchr(word, ':');

        out[n] = (column_t){word, colon ? colon + 1 : word};
        if (colon)
            *colon = '\0';
    }
    return n;
}

static const char *cell(apr_pool_t *p, json_t *item, const char *path)
{
    const char *dot;

    for (; (dot = strchr(path, '.')); path = dot + 1)
        item = json_object_get(item, apr_pstrmemdup(p, path, (apr_size_t)(dot - path)));
    item = json_object_get(item, path);
    switch (item ? json_typeof(item) : JSON_NULL) {
    case JSON_NULL:
        return NULL;
    case JSON_STRING:
        return json_string_value(item);
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    default: /* numbers, and what is kept as JSON */
        return mdm_json_text(p, item);
    }
}

int mdm_adm_cut_off(request_rec *r)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);

    APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, r->pool, r->connection->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(r->connection->bucket_alloc));
    ap_pass_brigade(r->output_filters, bb);
    r->connection->keepalive = AP_CONN_CLOSE;
    return OK;
}

static int send_head(request_rec *r, const char *name, const column_t *columns, int n)
{
    const char *titles[COLUMNS_MAX];
    int i;

    for (i = 0; i < n; i++)
        titles[i] = columns[i].title;
    apr_table_setn(r->headers_out, "Content-Disposition", apr_psprintf(r->pool, "attachment; filename=\"%s.csv\"", name));
    mdm_adm_stream(r, "text/csv; charset=utf-8");
    return r->header_only || (mdm_adm_send(r, MDM_CSV_BOM) && mdm_adm_send(r, mdm_csv_row(r->pool, titles, n)));
}

static int send_rows(request_rec *r, apr_pool_t *p, json_t *items, const column_t *columns, int n)
{
    apr_array_header_t *lines = apr_array_make(p, (int)json_array_size(items) + 1, sizeof(char *));
    const char *cells[COLUMNS_MAX];
    json_t *item;
    size_t i;
    int c;

    json_array_foreach(items, i, item) {
        for (c = 0; c < n; c++)
            cells[c] = cell(p, item, columns[c].path);
        APR_ARRAY_PUSH(lines, const char *) = mdm_csv_row(p, cells, n);
    }
    return mdm_adm_send(r, apr_array_pstrcat(p, lines, 0));
}

static apr_status_t read_page(mdm_ctx_t *sub, const mdm_adm_list_t *list, const char *cursor, json_t *items, const char **next)
{
    mdm_page_t page = {NULL};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_page_read(sub, list->sig, PAGE, cursor, &page);

    if (rv == APR_SUCCESS && (rv = mdm_db_open(sub, &db)) == APR_SUCCESS) {
        rv = list->read(db, &page, list->arg, items, next);
        mdm_db_close(db);
    }
    return rv;
}

int mdm_adm_csv(mdm_web_call_t *call, const mdm_adm_list_t *list)
{
    request_rec *r = call->r;
    column_t columns[COLUMNS_MAX];
    int n = columns_read(r->pool, list->columns, columns), begun = 0;
    const char *cursor = NULL;
    apr_status_t rv;

    do {
        mdm_ctx_t *sub = mdm_ctx_sub(call->ctx);
        json_t *items = mdm_json_own(sub, json_array());
        const char *next = NULL;
        int there = 1;

        rv = read_page(sub, list, cursor, items, &next);
        if (rv == APR_SUCCESS) {
            there = (begun++ || send_head(r, list->name, columns, n)) && !r->header_only
                    && send_rows(r, sub->pool, items, columns, n);
        } else {
            mdm_fail(call->ctx, rv, sub->fail_field, "%s", sub->fail_text ? sub->fail_text : "");
        }
        cursor = next ? apr_pstrdup(r->pool, next) : NULL;
        apr_pool_destroy(sub->pool);
        if (!there)
            return OK;
    } while (rv == APR_SUCCESS && cursor);
    if (rv == APR_SUCCESS)
        return OK;
    return begun ? mdm_adm_cut_off(r) : mdm_adm_fail(call, rv);
}
