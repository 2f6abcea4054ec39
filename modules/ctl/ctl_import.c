/* mdmctl import: devices of another server (IOS-13), from its PostgreSQL database or from lines of JSON. One row after the other, in
 * batches of one transaction each: memory does not grow with the fleet but for 16 bytes a device, and a run that was cut off is run again. */
#include "ctl.h"

#include <stdlib.h>
#include <libpq-fe.h>
#include "base/mdm_json.h"
#include "domain/mdm_import.h"
#include "domain/mdm_log_rows.h"
#include "wire/mdm_x509.h"
#include "mdm_sql_gen.h"

#define BATCH 200
#define LINE_MAX_BYTES (512 * 1024)
#define PROGRESS_EVERY 10000
#define TOPICS 16

typedef struct source_t source_t;
struct source_t {
    /* The next row, in ctx's pool. APR_EOF: no more; MDM_EINPUT (mdm_fail): this one is bad, there are more; MDM_EUNAVAIL: broken. */
    apr_status_t (*next)(source_t *s, mdm_ctx_t *ctx, mdm_import_row_t *row);
    const char *unit; /* what messages call a row */
    apr_int64_t at;   /* its number */
    FILE *file;
    char *line;
    PGconn *pg;
    PGresult *page;
    int in_page;
    char *last; /* id */
    apr_int64_t disabled;
};

/* Values seen in this run: 64 bits of each one's hash, open addressing. */
typedef struct seen_t {
    apr_uint64_t *slots;
    apr_size_t size, used;
} seen_t;

typedef struct run_t {
    ctl_t *c;
    source_t *from;
    int dry;
    seen_t ids, certs;
    apr_int64_t outcomes[MDM_IMPORT_OUTCOMES], refused;
    struct {
        char name[256];
        apr_int64_t n;
    } topics[TOPICS];
    int ntopics;
} run_t;

/* A row of the batch, with its place in the source. */
typedef struct item_t {
    mdm_import_row_t row;
    apr_int64_t at;
    mdm_import_outcome_e outcome;
    const char *note;
    const char *refused; /* why */
} item_t;

/* ---------------------------------------------------------------- what was seen */

static int seen_place(const apr_uint64_t *slots, apr_size_t size, apr_uint64_t key, apr_size_t *place)
{
    for (*place = key % size; slots[*place]; *place = (*place + 1) % size) {
        if (slots[*place] == key) {
            return 1;
        }
    }
    return 0;
}

static int seen_grow(seen_t *s)
{
    apr_size_t size = s->size ? s->size * 2 : 4096, at;
    apr_uint64_t *slots = calloc(size, sizeof *slots);

    for (apr_size_t i = 0; slots && i < s->size; i++) {
        if (s->slots[i] && !seen_place(slots, size, s->slots[i], &at)) {
            slots[at] = s->slots[i];
        }
    }
    if (slots) {
        free(s->slots);
        s->slots = slots;
        s->size = size;
    }
    return slots != NULL;
}

/* True if the text came before in this run; mark: from now on it did. */
static int seen(seen_t *s, const char *text, int mark)
{
    unsigned char hash[32];
    apr_uint64_t key;
    apr_size_t at;

    mdm_sha256(text, strlen(text), hash);
    memcpy(&key, hash, sizeof key);
    key |= 1; /* 0 is an empty slot */
    if (s->used * 2 >= s->size && !seen_grow(s)) {
        fputs("mdmctl: there is no memory\n", stderr);
        exit(CTL_FAILED);
    }
    if (seen_place(s->slots, s->size, key, &at)) {
        return 1;
    }
    if (mark) {
        s->slots[at] = key;
        s->used++;
    }
    return 0;
}

/* ---------------------------------------------------------------- lines of JSON */

/* One line into s->line: its length, -1 at the end of the file, -2 if it is too long (it is skipped). */
static int read_line(source_t *s)
{
    int n = 0, ch, over = 0;

    while ((ch = getc(s->file)) != EOF && ch != '\n') {
        if (n < LINE_MAX_BYTES) {
            s->line[n++] = (char)ch;
        } else {
            over = 1;
        }
    }
    s->line[n] = '\0';
    return ch == EOF && n == 0 ? -1 : over ? -2 : n;
}

static int blank(const char *line)
{
    return !line[strspn(line, " \t\r")];
}

static apr_status_t next_line(source_t *s, mdm_ctx_t *ctx, mdm_import_row_t *row)
{
    json_t *line;
    int n;
    apr_status_t rv;

    do {
        n = read_line(s);
        if (n == -1) {
            return ferror(s->file) ? mdm_fail(ctx, MDM_EUNAVAIL, NULL, "The file can't be read.") : APR_EOF;
        }
        s->at++;
    } while (n >= 0 && blank(s->line));
    if (n == -2) {
        return mdm_fail(ctx, MDM_EINPUT, NULL, "The line is longer than %d KB.", LINE_MAX_BYTES / 1024);
    }
    rv = mdm_json_parse(ctx, s->line, (apr_size_t)n, &line);
    return rv == APR_SUCCESS ? mdm_import_from_json(ctx, line, row) : rv;
}

/* ---------------------------------------------------------------- a NanoMDM database */

enum { N_ID, N_TYPE, N_ENABLED, N_TOPIC, N_MAGIC, N_TOKEN, N_TOKEN_MS, N_SEEN_MS, N_ENROLLED_MS, N_SERIAL, N_AUTHENTICATE, N_TOKEN_UPDATE,
       N_BOOTSTRAP, N_PEM, N_HASHES, N_COLUMNS };

static apr_status_t nano_page(source_t *s, mdm_ctx_t *ctx)
{
    const char *args[] = {s->last ? s->last : ""};

    PQclear(s->page);
    s->in_page = 0;
    s->page = PQexecParams(s->pg, mdm_foreign_nanomdm, 1, NULL, args, NULL, NULL, 0);
    if (PQresultStatus(s->page) != PGRES_TUPLES_OK || PQnfields(s->page) != N_COLUMNS) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "The other database: %s", mdm_clean(ctx->pool, PQerrorMessage(s->pg), 300));
    }
    return PQntuples(s->page) ? APR_SUCCESS : APR_EOF;
}

static const char *cell(const source_t *s, apr_pool_t *p, int column)
{
    return PQgetisnull(s->page, s->in_page, column) ? NULL : apr_pstrdup(p, PQgetvalue(s->page, s->in_page, column));
}

static apr_int64_t ms(const source_t *s, int column)
{
    apr_int64_t out;
    int none = PQgetisnull(s->page, s->in_page, column)
               || mdm_parse_i64(PQgetvalue(s->page, s->in_page, column), 0, APR_INT64_MAX, &out) != APR_SUCCESS;

    return none ? 0 : out;
}

/* The identities that were associated, the latest first; the certificate itself in place of its own hash. */
static void nano_certs(mdm_ctx_t *ctx, const char *hashes, const char *pem, mdm_import_row_t *row)
{
    char *list = apr_pstrdup(ctx->pool, hashes ? hashes : ""), *state, *hash;
    const char *own = "";
    mdm_blob_t der;

    if (pem && mdm_pem_der(ctx->pool, pem, &der) == APR_SUCCESS) {
        own = mdm_sha256_hex(ctx->pool, der.data, der.len);
    }
    for (hash = apr_strtok(list, " ", &state); hash && row->ncerts < MDM_IMPORT_CERTS; hash = apr_strtok(NULL, " ", &state)) {
        row->certs[row->ncerts++] = strcasecmp(hash, own) ? hash : pem;
    }
    if (!row->ncerts && *own) {
        row->certs[row->ncerts++] = pem;
    }
}

static apr_status_t nano_row(source_t *s, mdm_ctx_t *ctx, mdm_import_row_t *row)
{
    apr_pool_t *p = ctx->pool;

    memset(row, 0, sizeof *row);
    row->native_id = cell(s, p, N_ID);
    row->topic = cell(s, p, N_TOPIC);
    row->magic = cell(s, p, N_MAGIC);
    row->token = cell(s, p, N_TOKEN);
    row->serial = cell(s, p, N_SERIAL);
    row->bootstrap = cell(s, p, N_BOOTSTRAP);
    row->token_ms = ms(s, N_TOKEN_MS);
    row->seen_ms = ms(s, N_SEEN_MS);
    row->enrolled_ms = ms(s, N_ENROLLED_MS);
    nano_certs(ctx, cell(s, p, N_HASHES), cell(s, p, N_PEM), row);
    return mdm_import_from_messages(ctx, cell(s, p, N_AUTHENTICATE), cell(s, p, N_TOKEN_UPDATE), row);
}

/* Channels that the other server has switched off (the device has left, or its token died) are not taken. */
static apr_status_t next_nano(source_t *s, mdm_ctx_t *ctx, mdm_import_row_t *row)
{
    apr_status_t rv;
    int enabled;

    do {
        if (!s->page || s->in_page >= PQntuples(s->page)) {
            rv = nano_page(s, ctx);
            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
        s->at++;
        free(s->last);
        s->last = strdup(PQgetvalue(s->page, s->in_page, N_ID));
        enabled = PQgetvalue(s->page, s->in_page, N_ENABLED)[0] == '1';
        s->disabled += !enabled;
        rv = enabled ? nano_row(s, ctx, row) : APR_SUCCESS;
        s->in_page++;
    } while (!enabled);
    return s->last ? rv : mdm_fail(ctx, MDM_EUNAVAIL, NULL, "There is no memory.");
}

/* ---------------------------------------------------------------- telling */

static void tell(run_t *r, apr_int64_t at, const char *id, const char *what)
{
    fprintf(stderr, "mdmctl: %s %" APR_INT64_T_FMT "%s%s%s: %s\n", r->from->unit, at, id ? " (" : "", id ? id : "", id ? ")" : "", what);
}

static const char *why(const mdm_ctx_t *ctx, apr_status_t rv)
{
    const char *text = ctx->fail_text && *ctx->fail_text ? ctx->fail_text : mdm_error_text(rv);

    return apr_pstrcat(ctx->pool, ctx->fail_field && *ctx->fail_field ? ctx->fail_field : "",
                       ctx->fail_field && *ctx->fail_field ? ": " : "", text ? text : "it failed", NULL);
}

static void count_topic(run_t *r, const char *topic)
{
    int i;

    for (i = 0; i < r->ntopics && strcmp(r->topics[i].name, topic) != 0; i++) {
    }
    if (i == r->ntopics && i < TOPICS) {
        apr_cpystrn(r->topics[r->ntopics++].name, topic, sizeof r->topics[i].name);
    }
    if (i < TOPICS) {
        r->topics[i].n++;
    }
}

static void settle(run_t *r, const item_t *item)
{
    if (item->refused) {
        r->refused++;
        tell(r, item->at, item->row.native_id, item->refused);
        return;
    }
    r->outcomes[item->outcome]++;
    count_topic(r, item->row.topic);
    if (item->note) {
        tell(r, item->at, item->row.native_id, item->note);
    }
}

static apr_int64_t total(const run_t *r)
{
    apr_int64_t n = r->refused;

    for (int i = 0; i < MDM_IMPORT_OUTCOMES; i++) {
        n += r->outcomes[i];
    }
    return n;
}

/* ---------------------------------------------------------------- batches */

/* Rows [from, to) in one transaction. What a row's own check refuses is noted; anything else undoes all of them. */
static apr_status_t write_rows(run_t *r, mdm_ctx_t *ctx, apr_array_header_t *items, int from, int to)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_db_begin(db);
    for (int i = from; i < to && rv == APR_SUCCESS; i++) {
        item_t *item = &APR_ARRAY_IDX(items, i, item_t);

        item->refused = item->note = NULL;
        rv = mdm_import_put(db, &item->row, &item->outcome, &item->note);
        if (rv == MDM_EDENIED || rv == MDM_EINPUT) {
            item->refused = why(ctx, rv);
            rv = APR_SUCCESS;
        }
    }
    if (rv == APR_SUCCESS && r->dry) {
        mdm_db_rollback(db);
    } else {
        rv = mdm_db_end(db, rv);
    }
    mdm_db_close(db);
    return rv;
}

/* A row that the database refuses (a conflict with a running server) is found by taking the batch apart. */
static apr_status_t write_batch(run_t *r, mdm_ctx_t *ctx, apr_array_header_t *items)
{
    apr_status_t rv = write_rows(r, ctx, items, 0, items->nelts);

    if (rv == APR_SUCCESS || items->nelts == 0) {
        return rv;
    }
    for (int i = 0; i < items->nelts; i++) {
        item_t *item = &APR_ARRAY_IDX(items, i, item_t);

        rv = write_rows(r, ctx, items, i, i + 1);
        if (rv == MDM_EUNAVAIL) {
            return rv;
        }
        if (rv != APR_SUCCESS) {
            item->refused = why(ctx, rv);
        }
    }
    return APR_SUCCESS;
}

static apr_status_t no_double(run_t *r, mdm_ctx_t *ctx, const mdm_import_row_t *row)
{
    if (seen(&r->ids, row->native_id, 0)) {
        return mdm_fail(ctx, MDM_EINPUT, "udid", "The device stands in this import twice; the first counts.");
    }
    for (int i = 0; i < row->ncerts; i++) {
        if (seen(&r->certs, row->certs[i], 0)) {
            return mdm_fail(ctx, MDM_EINPUT, "certificates", "The identity stands in this import twice; the first counts.");
        }
    }
    seen(&r->ids, row->native_id, 1);
    for (int i = 0; i < row->ncerts; i++) {
        seen(&r->certs, row->certs[i], 1);
    }
    return APR_SUCCESS;
}

/* Fills the batch; what is bad by itself is told at once. APR_EOF: these were the last. */
static apr_status_t read_batch(run_t *r, mdm_ctx_t *ctx, apr_array_header_t *items)
{
    while (items->nelts < BATCH) {
        item_t item = {.at = 0};
        apr_status_t rv = r->from->next(r->from, ctx, &item.row);

        item.at = r->from->at;
        if (rv == APR_EOF || rv == MDM_EUNAVAIL) {
            return rv;
        }
        if (rv == APR_SUCCESS) {
            rv = mdm_import_check(ctx, &item.row);
        }
        if (rv == APR_SUCCESS) {
            rv = no_double(r, ctx, &item.row);
        }
        if (rv == APR_SUCCESS) {
            APR_ARRAY_PUSH(items, item_t) = item;
        } else {
            item.refused = why(ctx, rv);
            settle(r, &item);
        }
    }
    return APR_SUCCESS;
}

static apr_status_t one_batch(run_t *r, int *last)
{
    mdm_ctx_t *ctx = mdm_ctx_sub(r->c->ctx);
    apr_array_header_t *items = apr_array_make(ctx->pool, BATCH, sizeof(item_t));
    apr_status_t rv = read_batch(r, ctx, items);

    *last = rv == APR_EOF;
    if (rv == APR_SUCCESS || rv == APR_EOF) {
        rv = write_batch(r, ctx, items);
        for (int i = 0; rv == APR_SUCCESS && i < items->nelts; i++) {
            settle(r, &APR_ARRAY_IDX(items, i, item_t));
        }
    }
    if (rv != APR_SUCCESS) {
        tell(r, r->from->at, NULL, why(ctx, rv));
    }
    apr_pool_destroy(ctx->pool);
    return rv;
}

/* ---------------------------------------------------------------- the end */

static apr_status_t finish(run_t *r, const char **topic)
{
    mdm_ctx_t *ctx = r->c->ctx;
    json_t *value = NULL, *detail;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (mdm_setting_get(db, "apns.topic", &value) == APR_SUCCESS && json_is_string(value)) {
        *topic = apr_pstrdup(r->c->p, json_string_value(value));
    }
    if (!r->dry) {
        detail = mdm_json_own(ctx, json_pack("{s:I, s:I, s:I, s:I, s:I}", "added", (json_int_t)r->outcomes[MDM_IMPORT_ADDED],
                                             "updated", (json_int_t)r->outcomes[MDM_IMPORT_UPDATED],
                                             "unchanged", (json_int_t)r->outcomes[MDM_IMPORT_UNCHANGED],
                                             "kept", (json_int_t)r->outcomes[MDM_IMPORT_KEPT], "refused", (json_int_t)r->refused));
        rv = mdm_audit(db, "device.import", "zone", "devices", "devices", "done", detail);
    }
    mdm_db_close(db);
    return rv;
}

static int report(run_t *r)
{
    const char *topic = NULL;
    apr_status_t rv = finish(r, &topic);

    printf("%s%" APR_INT64_T_FMT " devices: %" APR_INT64_T_FMT " added, %" APR_INT64_T_FMT " updated, %" APR_INT64_T_FMT " unchanged, %"
           APR_INT64_T_FMT " kept, %" APR_INT64_T_FMT " refused\n", r->dry ? "dry run, nothing was written: " : "", total(r),
           r->outcomes[MDM_IMPORT_ADDED], r->outcomes[MDM_IMPORT_UPDATED], r->outcomes[MDM_IMPORT_UNCHANGED],
           r->outcomes[MDM_IMPORT_KEPT], r->refused);
    if (r->from->disabled) {
        printf("%" APR_INT64_T_FMT " that the other server has switched off were left out\n", r->from->disabled);
    }
    for (int i = 0; i < r->ntopics; i++) {
        int fits = topic && !strcmp(topic, r->topics[i].name);

        printf("topic %s: %" APR_INT64_T_FMT "%s\n", r->topics[i].name, r->topics[i].n,
               fits ? "" : ", which can't be woken: import the push certificate of this topic");
    }
    if (rv != APR_SUCCESS) {
        return ctl_fail(r->c, rv, "import");
    }
    return r->refused ? CTL_FAILED : CTL_OK;
}

static int work(run_t *r)
{
    apr_int64_t next = PROGRESS_EVERY;
    int last = 0;
    apr_status_t rv = APR_SUCCESS;

    while (!last && rv == APR_SUCCESS) {
        rv = one_batch(r, &last);
        if (total(r) >= next) {
            fprintf(stderr, "mdmctl: %" APR_INT64_T_FMT " devices, %" APR_INT64_T_FMT " added, %" APR_INT64_T_FMT " refused\n", total(r),
                    r->outcomes[MDM_IMPORT_ADDED], r->refused);
            next = total(r) + PROGRESS_EVERY;
        }
    }
    if (rv != APR_SUCCESS) {
        fputs("mdmctl: the import stopped; what was taken stays. Run it again when the cause is gone.\n", stderr);
        return CTL_FAILED;
    }
    return report(r);
}

int ctl_import_jsonl(ctl_t *c)
{
    source_t from = {.next = next_line, .unit = "line"};
    run_t r = {.c = c, .from = &from};
    const ctl_option_t options[] = {{"dry-run", NULL, &r.dry}, {NULL, NULL, NULL}};
    int rc;

    if (!ctl_args(c, options, 1)) {
        return CTL_USAGE;
    }
    from.file = strcmp(c->pos[0], "-") ? fopen(c->pos[0], "r") : stdin;
    if (!from.file) {
        perror(c->pos[0]);
        return CTL_USAGE;
    }
    from.line = apr_palloc(c->p, LINE_MAX_BYTES + 1);
    rc = work(&r);
    if (from.file != stdin) {
        fclose(from.file);
    }
    return rc;
}

int ctl_import_nanomdm(ctl_t *c)
{
    source_t from = {.next = next_nano, .unit = "row"};
    run_t r = {.c = c, .from = &from};
    const ctl_option_t options[] = {{"dry-run", NULL, &r.dry}, {NULL, NULL, NULL}};
    PGresult *begun;
    int rc = CTL_FAILED;

    if (!ctl_args(c, options, 1)) {
        return CTL_USAGE;
    }
    from.pg = PQconnectdb(c->pos[0]);
    begun = PQexec(from.pg, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"); /* one moment's state, and nothing can be changed */
    if (PQresultStatus(begun) == PGRES_COMMAND_OK) {
        rc = work(&r);
    } else {
        fprintf(stderr, "mdmctl: the other database: %s", PQerrorMessage(from.pg));
    }
    PQclear(begun);
    PQclear(from.page);
    PQfinish(from.pg);
    free(from.last);
    return rc;
}
