/* Owns database access: connections borrowed for a moment, typed queries generated from sql/queries, transactions.
 * The only code that speaks apr_dbd (modules/core/db). No SQL text anywhere else. */
#ifndef MDM_DB_H
#define MDM_DB_H

#include <apr_dbd.h>
#include <apr_tables.h>
#include <jansson.h>
#include "base/mdm_text.h"

typedef struct mdm_keep_t mdm_keep_t;

/* One physical connection as its owner (mod_dbd, mdmctl, a test) sees it. */
typedef struct mdm_conn_t {
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
    apr_pool_t *pool;  /* lives as long as the connection: statements are kept here */
    void **statements; /* MDM_Q_COUNT pointers, made on first use by mdm_db_open() */
    mdm_keep_t *keep;  /* those that PostgreSQL keeps (mdm_db_keep.c) */
    int sqlite;        /* else PostgreSQL */
    void *owner;       /* the owner's own handle (ap_dbd_t) */
} mdm_conn_t;

/* Where connections come from. acquire may wait a bounded time and answers MDM_EUNAVAIL when the breaker is open, the pool
 * is exhausted or the schema does not fit; release gets broken != 0 if the connection must not be used again.
 * guard/unguard bracket each statement so that a hanging one can be cut (may be NULL). */
struct mdm_dbpool_t {
    void *baton;
    apr_status_t (*acquire)(void *baton, mdm_ctx_t *ctx, mdm_conn_t **out);
    void (*release)(void *baton, mdm_conn_t *conn, int broken);
    void (*guard)(void *baton, mdm_conn_t *conn);   /* a statement begins */
    void (*unguard)(void *baton, mdm_conn_t *conn, int failed); /* it has ended; failed: connection class error */
    apr_uint64_t *statements; /* counts statements executed (not BEGIN/COMMIT), for PRF-01 and PRF-02; may be NULL */
};

/* Session settings of a new connection (SQLite: WAL, foreign keys, durability; PostgreSQL: SQLSTATE in error texts).
 * mdm_db_open() calls it itself for a connection without statements; owners that speak to a connection before that
 * may call it any number of times. */
apr_status_t mdm_conn_setup(mdm_conn_t *conn);

/* Borrows a connection. Close as soon as the last row is copied; never hold it across network I/O or a response.
 * A clean-up on ctx->pool closes (and rolls back) what was forgotten. MDM_EUNAVAIL if none can be had. */
apr_status_t mdm_db_open(mdm_ctx_t *ctx, mdm_db_t **out);
void mdm_db_close(mdm_db_t *db);

/* The context of a scope. */
mdm_ctx_t *mdm_db_ctx(const mdm_db_t *db);
int mdm_db_is_sqlite(const mdm_db_t *db);

/* BEGIN (SQLite: BEGIN IMMEDIATE), COMMIT, ROLLBACK. Not nested. Commit after any failed statement rolls back and answers
 * what that one did. Change keys announced with mdm_change_add()
 * are dropped from this node's cache after the commit. */
apr_status_t mdm_db_begin(mdm_db_t *db);
apr_status_t mdm_db_commit(mdm_db_t *db);
void mdm_db_rollback(mdm_db_t *db);
/* Ends a transaction by what came of its work: commits if rv is APR_SUCCESS and answers how that went, else rolls back and answers rv.
 * rv may be that of mdm_db_begin(). */
apr_status_t mdm_db_end(mdm_db_t *db, apr_status_t rv);
/* True between begin and commit or roll-back. */
int mdm_db_in_tx(const mdm_db_t *db);

/* Writes a row into the change table (15-decisions, Invalidation), and NOTIFYs on PostgreSQL. Inside a transaction it
 * takes effect with it. kind: "device", "policy", "zone", …; key: usually a uuid. */
apr_status_t mdm_change_add(mdm_db_t *db, const char *kind, const char *key);

/* The same for a list of keys, in one statement. */
apr_status_t mdm_change_add_many(mdm_db_t *db, const char *kind, json_t *keys);

/* Opens a stand-alone pool of one connection (tools, tests). params: "sqlite3:/path/file.db" or
 * "pgsql:host=… dbname=…". The pool has no breaker. Freed with p. */
apr_status_t mdm_dbpool_direct(apr_pool_t *p, const char *params, const mdm_dbpool_t **out);

/* Splits "sqlite3:…" / "pgsql:…" into apr_dbd driver name and parameters; MDM_EINPUT otherwise. */
apr_status_t mdm_db_params(mdm_ctx_t *ctx, const char *params, const char **driver, const char **rest);

/* Schema (db/mdm_migrate.c). Version compiled in, version found (0 = empty database). */
extern const int mdm_schema_version;
apr_status_t mdm_schema_found(mdm_db_t *db, int *version);
/* Brings the schema up to date; safe when two nodes do it at once (advisory lock / BEGIN IMMEDIATE), each migration in one
 * transaction. *applied = number of migrations run. A database newer than we know: MDM_ECONFLICT. */
apr_status_t mdm_migrate(mdm_ctx_t *ctx, int *applied);

/* ------------------------------------------------------------------ for the generated code (db/mdm_sql_gen.[ch]) */

typedef enum { MDM_T_TEXT, MDM_T_I64, MDM_T_F64 } mdm_sqltype_e;

typedef struct mdm_query_t {
    const char *name;
    const char *sql_pgsql;  /* apr_dbd format: %s %lld %lf, %% */
    const char *sql_sqlite;
    int nargs;
    const mdm_sqltype_e *args;
    int ncols;
    const mdm_sqltype_e *cols;
    int keep;       /* PostgreSQL may keep it with its plan */
    int idempotent; /* may be retried once on a fresh connection after a connection class error, outside transactions */
    /* The number of the argument for each placeholder: a parameter may stand several times, in another order per engine. */
    int npgsql;
    const unsigned char *pgsql_order;
    int nsqlite;
    const unsigned char *sqlite_order;
} mdm_query_t;

typedef struct mdm_arg_t {
    mdm_sqltype_e type;
    int is_null;
    const char *text;
    apr_int64_t i64;
    double f64;
} mdm_arg_t;

typedef struct mdm_cell_t {
    int is_null;
    const char *text; /* dies with the row call-back */
    apr_int64_t i64;
    double f64;
} mdm_cell_t;

typedef apr_status_t (*mdm_row_fn)(void *baton, const mdm_cell_t *cells);

/* Runs a select; row is called for each row, its error stops delivery (rows are still drained) and is returned. */
apr_status_t mdm_db_select(mdm_db_t *db, int query, const mdm_arg_t *args, mdm_row_fn row, void *baton);
/* Runs a statement; *affected (may be NULL) = rows changed. A uniqueness or foreign key conflict: MDM_ECONFLICT. */
apr_status_t mdm_db_exec(mdm_db_t *db, int query, const mdm_arg_t *args, int *affected);

/* One step of the schema: NULL-terminated statements for each engine. */
typedef struct mdm_migration_t {
    int version;
    const char *name;
    const char *const *pgsql;
    const char *const *sqlite;
} mdm_migration_t;

#endif
