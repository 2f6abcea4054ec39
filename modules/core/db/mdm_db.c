/* The SQL engine over apr_dbd: statements, rows, transactions. What apr_dbd does not do (NULL, errors inside a
 * transaction, lost connections, changed schemas) is done here once. */
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "base/mdm_wait.h"
#include "db/mdm_db_priv.h"

/* SQLite answers "locked" while another writer works. It is asked again for this long; the driver itself sleeps between
 * its tries without holding its process-wide lock. */
#define BUSY_MS 4000

struct mdm_db_t {
    mdm_ctx_t *ctx;
    const mdm_dbpool_t *from;
    mdm_conn_t *conn;
    apr_pool_t *own;     /* this scope */
    apr_pool_t *scratch; /* one statement */
    int sqlite; /* stays when the connection is lost */
    int in_tx;
    int broken;                  /* the connection must not be used again */
    apr_status_t failed;         /* of the transaction: its first error */
    apr_array_header_t *changes; /* of the transaction: kind, key, kind, key, … */
};

/* One statement under way. */
typedef struct run_t {
    const mdm_query_t *query;
    int id;
    const mdm_arg_t *args;
    int *affected;  /* exec */
    mdm_row_fn row; /* select */
    void *baton;
    apr_status_t row_rv;
} run_t;

mdm_ctx_t *mdm_db_ctx(const mdm_db_t *db)
{
    return db->ctx;
}

int mdm_db_is_sqlite(const mdm_db_t *db)
{
    return db->sqlite;
}

int mdm_db_in_tx(const mdm_db_t *db)
{
    return db->in_tx;
}

/* ---------------------------------------------------------------- connections */

static apr_status_t attach(mdm_db_t *db)
{
    apr_status_t rv;

    db->conn = NULL;
    rv = db->from->acquire(db->from->baton, db->ctx, &db->conn);
    if (rv == APR_SUCCESS && !db->conn) {
        rv = MDM_EUNAVAIL;
    }
    if (rv == APR_SUCCESS && !db->conn->statements) {
        rv = mdm_conn_setup(db->conn);
        if (rv == APR_SUCCESS) {
            db->conn->statements = apr_pcalloc(db->conn->pool, MDM_Q_COUNT * sizeof(void *));
        } else {
            mdm_log(db->ctx, MDM_LOG_ERR, "MDM0083", 0, "a new database connection can't be set up");
            db->from->release(db->from->baton, db->conn, 1);
            db->conn = NULL;
        }
    }
    if (rv != APR_SUCCESS) {
        mdm_fail(db->ctx, MDM_EUNAVAIL, NULL, "the database can't be reached at the moment");
        return MDM_EUNAVAIL;
    }
    db->sqlite = db->conn->sqlite;
    return APR_SUCCESS;
}

static void detach(mdm_db_t *db)
{
    if (db->conn) {
        db->from->release(db->from->baton, db->conn, db->broken);
    }
    db->conn = NULL;
    db->broken = 0;
}

/* A fresh connection instead of a broken one. */
static apr_status_t reattach(mdm_db_t *db)
{
    db->broken = 1;
    detach(db);
    return attach(db);
}

static apr_status_t scope_end(void *data)
{
    mdm_db_t *db = data;

    mdm_db_rollback(db);
    detach(db);
    return APR_SUCCESS;
}

apr_status_t mdm_db_open(mdm_ctx_t *ctx, mdm_db_t **out)
{
    apr_pool_t *own;
    mdm_db_t *db;
    apr_status_t rv;

    *out = NULL;
    if (!ctx->env || !ctx->env->dbpool) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no database is configured");
    }
    apr_pool_create(&own, ctx->pool);
    db = apr_pcalloc(own, sizeof(*db));
    db->ctx = ctx;
    db->from = ctx->env->dbpool;
    db->own = own;
    apr_pool_create(&db->scratch, own);
    rv = attach(db);
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(own);
        return rv;
    }
    /* before the sub-pools go: the roll-back needs scratch */
    apr_pool_pre_cleanup_register(own, db, scope_end);
    *out = db;
    return APR_SUCCESS;
}

void mdm_db_close(mdm_db_t *db)
{
    if (db) {
        apr_pool_destroy(db->own);
    }
}

/* ---------------------------------------------------------------- one statement */

static void guard(mdm_db_t *db)
{
    if (db->from->guard) {
        db->from->guard(db->from->baton, db->conn);
    }
}

static void unguard(mdm_db_t *db, mdm_trouble_e trouble)
{
    if (db->from->unguard) {
        db->from->unguard(db->from->baton, db->conn, trouble == MDM_DB_LOST);
    }
}

/* BEGIN and its kin. */
static mdm_trouble_e plain(mdm_db_t *db, const char *sql)
{
    mdm_trouble_e trouble;
    int n = 0, rc;

    apr_pool_clear(db->scratch);
    guard(db);
    rc = apr_dbd_query(db->conn->driver, db->conn->handle, &n, sql);
    trouble = rc ? mdm_db_trouble(db->conn, rc) : MDM_DB_FINE;
    unguard(db, trouble);
    return trouble;
}

static const void **bind_args(const mdm_db_t *db, const run_t *run)
{
    const mdm_query_t *q = run->query;
    int n = db->conn->sqlite ? q->nsqlite : q->npgsql;
    const unsigned char *order = db->conn->sqlite ? q->sqlite_order : q->pgsql_order;
    const void **bound = apr_pcalloc(db->scratch, (n + 1) * sizeof(*bound));

    for (int i = 0; i < n; i++) {
        const mdm_arg_t *a = &run->args[order[i]];

        if (a->is_null) {
            continue;
        }
        switch (a->type) {
        case MDM_T_TEXT:
            bound[i] = a->text;
            break;
        case MDM_T_I64:
            bound[i] = &a->i64;
            break;
        case MDM_T_F64:
            /* apr_dbd would send six digits to PostgreSQL; the generated text expects text there */
            bound[i] = db->conn->sqlite ? (const void *)&a->f64 : mdm_db_f64_text(db->scratch, a->f64);
            break;
        }
    }
    return bound;
}

static int cell_get(const apr_dbd_driver_t *driver, apr_dbd_row_t *row, int n, mdm_sqltype_e type, mdm_cell_t *cell)
{
    char *text = NULL;
    apr_status_t rv;

    memset(cell, 0, sizeof(*cell));
    switch (type) {
    case MDM_T_TEXT:
        rv = apr_dbd_datum_get(driver, row, n, APR_DBD_TYPE_STRING, &text);
        cell->text = text ? text : "";
        break;
    case MDM_T_I64:
        rv = apr_dbd_datum_get(driver, row, n, APR_DBD_TYPE_LONGLONG, &cell->i64);
        break;
    default:
        rv = apr_dbd_datum_get(driver, row, n, APR_DBD_TYPE_DOUBLE, &cell->f64);
        break;
    }
    cell->is_null = rv == APR_ENOENT;
    return rv == APR_SUCCESS || rv == APR_ENOENT;
}

/* Delivers all rows; keeps reading after an error, since unread rows would block the connection. */
static apr_status_t deliver(mdm_db_t *db, run_t *run, apr_dbd_results_t *res)
{
    const mdm_query_t *q = run->query;
    mdm_cell_t *cells = apr_palloc(db->scratch, (q->ncols + 1) * sizeof(*cells));
    apr_dbd_row_t *row = NULL;
    apr_status_t rv = APR_SUCCESS;

    while (apr_dbd_get_row(db->conn->driver, db->scratch, res, &row, -1) == 0) {
        int ok = 1;

        for (int i = 0; i < q->ncols && ok && rv == APR_SUCCESS; i++) {
            ok = cell_get(db->conn->driver, row, i, q->cols[i], &cells[i]);
        }
        if (!ok) {
            mdm_log(db->ctx, MDM_LOG_ERR, "MDM0084", 0, "%s: the result has not the declared columns", q->name);
            rv = MDM_EUNAVAIL;
        }
        if (rv == APR_SUCCESS && run->row) {
            rv = run->row(run->baton, cells);
        }
    }
    return rv;
}

static mdm_trouble_e attempt(mdm_db_t *db, run_t *run)
{
    mdm_conn_t *conn = db->conn;
    apr_dbd_prepared_t *st;
    apr_dbd_results_t *res = NULL;
    mdm_trouble_e trouble;
    int rc, n = 0;

    apr_pool_clear(db->scratch);
    guard(db);
    rc = mdm_db_prepared(conn, run->id, &st);
    if (!rc) {
        const void **bound = bind_args(db, run);

        rc = run->row ? apr_dbd_pbselect(conn->driver, db->scratch, conn->handle, &res, st, 1, bound)
                      : apr_dbd_pbquery(conn->driver, db->scratch, conn->handle, &n, st, bound);
    }
    trouble = rc ? mdm_db_trouble(conn, rc) : MDM_DB_FINE;
    if (!rc && res) {
        run->row_rv = deliver(db, run, res);
    }
    unguard(db, trouble);
    if (db->from->statements) {
        __atomic_add_fetch(db->from->statements, 1, __ATOMIC_RELAXED);
    }
    if (!rc && run->affected) {
        *run->affected = n;
    }
    return trouble;
}

#define SCHEMA_TRIES 5

/* Repeats what may be repeated: after a lost connection never inside a transaction, whose statements went with it. */
static apr_status_t persist(mdm_db_t *db, run_t *run, mdm_trouble_e *trouble)
{
    apr_time_t until = mdm_ticks() + apr_time_from_msec(BUSY_MS);
    int schema = 0, lost = 0;
    apr_status_t rv;

    for (;;) {
        *trouble = attempt(db, run);
        if (*trouble == MDM_DB_SCHEMA) {
            mdm_db_forget(db->conn, run->id);
        }
        if (*trouble == MDM_DB_SCHEMA && (db->sqlite || !db->in_tx) && schema++ < SCHEMA_TRIES) {
            /* noticed before the statement did anything, so this is safe in a transaction of SQLite's as well (PostgreSQL's has
             * failed by it); again if others migrate */
        } else if (*trouble == MDM_DB_LOST && !db->in_tx && run->query->idempotent && !lost++) {
            mdm_log(db->ctx, MDM_LOG_NOTICE, "MDM0081", 0, "%s: database connection lost, trying another",
                    run->query->name);
            rv = reattach(db);
            if (rv != APR_SUCCESS) {
                return rv;
            }
        } else if (*trouble != MDM_DB_BUSY || db->in_tx || mdm_ticks() > until) {
            return APR_SUCCESS;
        }
    }
}

/* A transaction is not committed after its first error. */
static apr_status_t spoilt(mdm_db_t *db, apr_status_t rv)
{
    if (db->in_tx && !db->failed) {
        db->failed = rv;
    }
    return rv;
}

/* Turns trouble into a status, logged once, remembered by the transaction. */
static apr_status_t judge(mdm_db_t *db, const char *what, mdm_trouble_e trouble)
{
    apr_status_t rv;

    switch (trouble) {
    case MDM_DB_FINE:
        return APR_SUCCESS;
    case MDM_DB_CONFLICT:
        rv = mdm_fail(db->ctx, MDM_ECONFLICT, NULL,
                      "another object has this name or key already, or something refers to this one");
        mdm_log(db->ctx, MDM_LOG_DEBUG, "MDM0085", 0, "%s: %s", what, mdm_db_error_line(db->conn, db->scratch));
        break;
    case MDM_DB_INPUT:
        rv = mdm_fail(db->ctx, MDM_EINPUT, NULL, "a value can't be stored");
        mdm_log(db->ctx, MDM_LOG_INFO, "MDM0086", 0, "%s: value refused by the database: %s", what,
                mdm_db_error_line(db->conn, db->scratch));
        break;
    default:
        rv = mdm_fail(db->ctx, MDM_EUNAVAIL, NULL, "the database can't be reached at the moment");
        mdm_log(db->ctx, MDM_LOG_ERR, "MDM0080", 0, "%s: database error: %s", what,
                mdm_db_error_line(db->conn, db->scratch));
        db->broken = db->broken || trouble == MDM_DB_LOST;
        break;
    }
    return spoilt(db, rv);
}

/* PostgreSQL refuses NUL-free text that is not UTF-8, SQLite stores it: refuse it on both. */
static apr_status_t check_args(mdm_db_t *db, const run_t *run)
{
    for (int i = 0; i < run->query->nargs; i++) {
        const mdm_arg_t *a = &run->args[i];

        if (a->type == MDM_T_TEXT && !a->is_null && !mdm_utf8_valid(a->text, strlen(a->text))) {
            return mdm_fail(db->ctx, MDM_EINPUT, NULL, "a text is not valid UTF-8");
        }
    }
    return APR_SUCCESS;
}

static apr_status_t statement(mdm_db_t *db, run_t *run, int query, const mdm_arg_t *args)
{
    mdm_trouble_e trouble = MDM_DB_FINE;
    apr_status_t rv;

    run->id = query;
    run->query = &mdm_queries[query];
    run->args = args;
    if (db->in_tx && db->failed) {
        return db->failed; /* PostgreSQL would refuse it, SQLite would do it: the same for both */
    }
    rv = check_args(db, run);
    if (rv != APR_SUCCESS) {
        return spoilt(db, rv);
    }
    if (!db->conn || db->broken) {
        rv = reattach(db);
    }
    if (rv == APR_SUCCESS) {
        rv = persist(db, run, &trouble);
    }
    if (rv == APR_SUCCESS) {
        rv = judge(db, run->query->name, trouble);
    }
    apr_pool_clear(db->scratch);
    return rv != APR_SUCCESS ? rv : run->row_rv;
}

apr_status_t mdm_db_select(mdm_db_t *db, int query, const mdm_arg_t *args, mdm_row_fn row, void *baton)
{
    run_t run = {.row = row, .baton = baton};

    return statement(db, &run, query, args);
}

apr_status_t mdm_db_exec(mdm_db_t *db, int query, const mdm_arg_t *args, int *affected)
{
    run_t run = {.affected = affected};

    if (affected) {
        *affected = 0;
    }
    return statement(db, &run, query, args);
}

/* ---------------------------------------------------------------- transactions */

apr_status_t mdm_db_begin(mdm_db_t *db)
{
    apr_time_t until = mdm_ticks() + apr_time_from_msec(BUSY_MS);
    apr_status_t rv = APR_SUCCESS;
    mdm_trouble_e trouble;
    int lost = 0;

    if (db->in_tx) {
        return mdm_fail(db->ctx, MDM_EUNAVAIL, NULL, "a transaction is open already");
    }
    if (!db->conn || db->broken) {
        rv = reattach(db);
    }
    while (rv == APR_SUCCESS) {
        trouble = plain(db, db->sqlite ? "BEGIN IMMEDIATE" : "BEGIN");
        if (trouble == MDM_DB_LOST && !lost++) {
            rv = reattach(db);
        } else if (trouble != MDM_DB_BUSY || mdm_ticks() > until) {
            rv = judge(db, "BEGIN", trouble);
            break;
        }
    }
    if (rv == APR_SUCCESS) {
        db->in_tx = 1;
        db->failed = APR_SUCCESS;
        db->changes = apr_array_make(db->own, 4, sizeof(const char *));
    }
    return rv;
}

apr_status_t mdm_db_plain(mdm_db_t *db, const char *what, const char *sql)
{
    return db->in_tx && db->failed ? db->failed : judge(db, what, plain(db, sql));
}

static void announce(const mdm_db_t *db, const char *kind, const char *key)
{
    const mdm_env_t *env = db->ctx->env;

    if (env->changed) {
        env->changed(env->changed_baton, kind, key);
    }
}

apr_status_t mdm_db_commit(mdm_db_t *db)
{
    apr_status_t rv = db->failed;

    if (!db->in_tx) {
        return mdm_fail(db->ctx, MDM_EUNAVAIL, NULL, "no transaction is open");
    }
    if (rv == APR_SUCCESS) {
        rv = judge(db, "COMMIT", plain(db, "COMMIT"));
    }
    if (rv != APR_SUCCESS) {
        mdm_db_rollback(db);
        return rv;
    }
    db->in_tx = 0;
    for (int i = 0; i + 1 < db->changes->nelts; i += 2) {
        announce(db, APR_ARRAY_IDX(db->changes, i, const char *), APR_ARRAY_IDX(db->changes, i + 1, const char *));
    }
    return APR_SUCCESS;
}

void mdm_db_rollback(mdm_db_t *db)
{
    if (!db->in_tx) {
        return;
    }
    db->in_tx = 0;
    db->failed = APR_SUCCESS;
    if (db->conn) { /* of no use, but perhaps still there: SQLite's lock would stay with it */
        mdm_trouble_e trouble = plain(db, "ROLLBACK");

        /* SQLite says so after an error that has rolled back by itself */
        db->broken = db->broken || trouble == MDM_DB_LOST || (trouble != MDM_DB_FINE && !db->sqlite);
    }
}

apr_status_t mdm_db_end(mdm_db_t *db, apr_status_t rv)
{
    if (rv == APR_SUCCESS) {
        return mdm_db_commit(db);
    }
    mdm_db_rollback(db);
    return rv;
}

static int noted(const mdm_db_t *db, const char *kind, const char *key)
{
    for (int i = 0; db->in_tx && i + 1 < db->changes->nelts; i += 2) {
        if (!strcmp(APR_ARRAY_IDX(db->changes, i, const char *), kind)
            && !strcmp(APR_ARRAY_IDX(db->changes, i + 1, const char *), key)) {
            return 1;
        }
    }
    return 0;
}

/* This node's cache forgets it now, or once the transaction has ended well. */
static void told(mdm_db_t *db, const char *kind, const char *key)
{
    if (!db->in_tx) {
        announce(db, kind, key);
        return;
    }
    APR_ARRAY_PUSH(db->changes, const char *) = apr_pstrdup(db->own, kind);
    APR_ARRAY_PUSH(db->changes, const char *) = apr_pstrdup(db->own, key);
}

apr_status_t mdm_change_add(mdm_db_t *db, const char *kind, const char *key)
{
    apr_status_t rv;

    if (noted(db, kind, key)) {
        return APR_SUCCESS; /* one row tells a transaction's readers all */
    }
    rv = mdm_q_change_add(db, kind, key, mdm_now_ms(db->ctx), NULL);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    told(db, kind, key);
    return APR_SUCCESS;
}

apr_status_t mdm_change_add_many(mdm_db_t *db, const char *kind, json_t *keys)
{
    apr_status_t rv = APR_SUCCESS;
    json_t *key;
    size_t i;

    if (json_array_size(keys)) {
        rv = mdm_q_change_add_many(db, kind, mdm_json_text(db->ctx->pool, keys), mdm_now_ms(db->ctx), NULL);
    }
    json_array_foreach(keys, i, key) {
        if (rv == APR_SUCCESS) {
            told(db, kind, json_string_value(key));
        }
    }
    return rv;
}
