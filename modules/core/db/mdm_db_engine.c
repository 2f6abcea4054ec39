/* What differs between the engines: errors in words, session settings. */
#include <apr_strings.h>
#include <libpq-fe.h>
#include "db/mdm_db_priv.h"

typedef struct rule_t {
    const char *text;
    mdm_trouble_e trouble;
} rule_t;

/* First hit counts; SQLSTATE prefixes (PostgreSQL, appendix A of its manual). */
static const rule_t pg_rules[] = {
    {"23505", MDM_DB_CONFLICT}, {"23503", MDM_DB_CONFLICT}, {"23P01", MDM_DB_CONFLICT},
    {"22", MDM_DB_INPUT},       {"40001", MDM_DB_BUSY},     {"40P01", MDM_DB_BUSY},
    {"08", MDM_DB_LOST},        {"57P", MDM_DB_LOST},       {"25006", MDM_DB_LOST}, /* became a read-only standby */
    {"26000", MDM_DB_SCHEMA},   {"42P05", MDM_DB_SCHEMA},   {"0A000", MDM_DB_SCHEMA}, /* gone, another one's; its plan has other columns now */
    {NULL, MDM_DB_OTHER}};

/* SQLite's messages are always English. A statement that this connection's own DDL has made stale fails with a code but
 * without a text. */
static const rule_t lite_rules[] = {
    {"UNIQUE constraint failed", MDM_DB_CONFLICT}, {"FOREIGN KEY constraint failed", MDM_DB_CONFLICT},
    {"schema has changed", MDM_DB_SCHEMA},         {"not an error", MDM_DB_SCHEMA},
    {"is locked", MDM_DB_BUSY},
    {"disk I/O error", MDM_DB_LOST},               {"unable to open", MDM_DB_LOST},
    {"not a database", MDM_DB_LOST},               {"string or blob too big", MDM_DB_INPUT},
    {NULL, MDM_DB_OTHER}};

static const char *error_text(const mdm_conn_t *conn)
{
    const char *text = apr_dbd_error(conn->driver, conn->handle, 1);

    return text ? text : "";
}

/* "ERROR:  23505: duplicate key …" (verbose, any language) → "23505: …"; NULL if it has no SQLSTATE. */
static const char *pg_state(const char *text)
{
    const char *at = strstr(text, ":  ");

    return at && strlen(at) > 8 && at[8] == ':' ? at + 3 : NULL;
}

mdm_trouble_e mdm_db_trouble(const mdm_conn_t *conn, int rc)
{
    const char *text = error_text(conn);
    const rule_t *r;

    if (conn->sqlite) {
        for (r = lite_rules; r->text && !strstr(text, r->text); r++) {
        }
        return r->trouble;
    }
    if (PQstatus(apr_dbd_native_handle(conn->driver, conn->handle)) != CONNECTION_OK) {
        return MDM_DB_LOST;
    }
    text = pg_state(text);
    for (r = pg_rules; r->text && !(text && !strncmp(text, r->text, strlen(r->text))); r++) {
    }
    return r->trouble;
}

const char *mdm_db_error_line(const mdm_conn_t *conn, apr_pool_t *p)
{
    const char *text = error_text(conn), *state = conn->sqlite ? NULL : pg_state(text);
    apr_size_t len;

    if (state && !strncmp(state, "22", 2)) {
        return apr_pstrmemdup(p, state, 5); /* these quote the value */
    }
    if (state) {
        text = state;
    }
    len = strcspn(text, "\r\n"); /* DETAIL: and so on would name values */
    return len ? apr_pstrmemdup(p, text, len < 300 ? len : 300) : "no text";
}

const char *mdm_db_f64_text(apr_pool_t *p, double value)
{
    char buf[40];

    /* the C library's: apr's has no %g with 17 digits that it keeps */
    snprintf(buf, sizeof(buf), "%.17g", value);
    return apr_pstrdup(p, buf);
}

/* WAL: readers and the writer do not stop each other. synchronous=FULL: a commit is on disk before it is acknowledged,
 * so that nothing acknowledged is lost in a power cut (NORMAL in WAL mode only survives a crash of the process).
 * No busy_timeout: SQLite would sleep inside the driver's process-wide lock, which the thread that holds the database
 * lock needs in order to get on; driver and engine ask again instead. */
static const char *const lite_pragmas[] = {"PRAGMA foreign_keys=ON", "PRAGMA journal_mode=WAL",
                                           "PRAGMA synchronous=FULL", NULL};

static apr_status_t pragma(const mdm_conn_t *conn, apr_pool_t *p, const char *sql)
{
    apr_dbd_results_t *res = NULL;
    apr_dbd_row_t *row = NULL;
    int rc = -1;

    /* the change to WAL may meet another process that does the same */
    for (int i = 0; i < 40 && rc; i++) {
        if (i) {
            apr_sleep(apr_time_from_msec(50));
        }
        res = NULL;
        rc = apr_dbd_select(conn->driver, p, conn->handle, &res, sql, 1);
        if (rc && mdm_db_trouble(conn, rc) != MDM_DB_BUSY) {
            break;
        }
    }
    while (!rc && res && apr_dbd_get_row(conn->driver, p, res, &row, -1) == 0) {
    }
    return rc ? MDM_EUNAVAIL : APR_SUCCESS;
}

/* libpq prints notices to stderr, which is httpd's error log. */
static void no_notice(void *arg, const char *message)
{
}

apr_status_t mdm_conn_setup(mdm_conn_t *conn)
{
    apr_status_t rv = APR_SUCCESS;
    apr_pool_t *p;

    if (!conn->sqlite) {
        PGconn *pg = apr_dbd_native_handle(conn->driver, conn->handle);

        PQsetErrorVerbosity(pg, PQERRORS_VERBOSE); /* puts the SQLSTATE into the text, all that apr_dbd lets through */
        PQsetNoticeProcessor(pg, no_notice, NULL);
        return APR_SUCCESS;
    }
    apr_pool_create(&p, conn->pool);
    for (int i = 0; lite_pragmas[i] && rv == APR_SUCCESS; i++) {
        rv = pragma(conn, p, lite_pragmas[i]);
    }
    apr_pool_destroy(p);
    return rv;
}
