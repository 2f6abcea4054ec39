/* Shared by the files of modules/core/db only. */
#ifndef MDM_DB_PRIV_H
#define MDM_DB_PRIV_H

#include <string.h>
#include "mdm_sql_gen.h"

/* What went wrong with a statement, whatever the engine calls it. */
typedef enum {
    MDM_DB_FINE,
    MDM_DB_CONFLICT, /* uniqueness, foreign key */
    MDM_DB_INPUT,    /* a value that the engine can't take */
    MDM_DB_BUSY,     /* locked, deadlock, serialisation: the same may work a moment later */
    MDM_DB_SCHEMA,   /* the statement must be prepared again */
    MDM_DB_LOST,     /* the connection is of no use any more */
    MDM_DB_OTHER
} mdm_trouble_e;

/* Judges the last error of a connection; rc is apr_dbd's. */
mdm_trouble_e mdm_db_trouble(const mdm_conn_t *conn, int rc);
/* The last error as one line without values of rows, in p. */
const char *mdm_db_error_line(const mdm_conn_t *conn, apr_pool_t *p);
/* A double with all its digits. */
const char *mdm_db_f64_text(apr_pool_t *p, double value);
/* The statement of a query, prepared on this connection: *out lives until the next call. apr_dbd's code. */
int mdm_db_prepared(mdm_conn_t *conn, int query, apr_dbd_prepared_t **out);
/* After MDM_DB_SCHEMA: it is prepared again. */
void mdm_db_forget(mdm_conn_t *conn, int query);
/* Runs one statement of a migration; `what` names it in the log. */
apr_status_t mdm_db_plain(mdm_db_t *db, const char *what, const char *sql);

#endif
