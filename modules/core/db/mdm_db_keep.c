/* Statements that PostgreSQL keeps: it plans what it is sent anew each time, which costs more than a look-up by a key. Queries with "-- keep" that a
 * connection asks often are prepared there under a label of ours. A plan lives as long as its numbers are good: a table that was empty when
 * it was made may have a million rows a minute later. So all are let go and made again every now and then. */
#include <apr_strings.h>
#include <libpq-fe.h>
#include "base/mdm_wait.h"
#include "db/mdm_db_priv.h"

#define WARM 8                          /* calls since they were last let go: rarer ones are not worth a round trip */
#define KEEP_TIME apr_time_from_sec(30) /* from the first of them on */
#define KEEP_RUNS 5000                  /* calls of all of them */
#define STRIKES 3                       /* so often something between us and the server loses them: then none is kept any more */

struct mdm_keep_t {
    apr_pool_t *pool; /* of those that are kept now */
    apr_dbd_prepared_t *kept[MDM_Q_COUNT];
    unsigned char calls[MDM_Q_COUNT];
    apr_time_t since;
    int n, runs; /* kept, called */
    unsigned generation; /* in the labels: none is ever used twice on a connection, nor, behind a pooler, by two of ours */
    int backend; /* whose they are: after a reset it is another one, and they are gone */
    int strikes;
};

static mdm_keep_t *keep_of(mdm_conn_t *conn)
{
    mdm_keep_t *k = conn->keep;

    if (!k) {
        k = conn->keep = apr_pcalloc(conn->pool, sizeof(*k));
        apr_pool_create(&k->pool, conn->pool);
        mdm_random(&k->generation, sizeof(k->generation)); /* without randomness as good as any */
    }
    return k;
}

static void forget(mdm_keep_t *k)
{
    apr_pool_clear(k->pool);
    memset(k->kept, 0, sizeof(k->kept));
    memset(k->calls, 0, sizeof(k->calls));
    k->n = k->runs = 0;
    k->since = mdm_ticks();
    k->generation++;
}

static const char *label(const mdm_keep_t *k, int query)
{
    return apr_psprintf(k->pool, "mdm_%u_%d", k->generation, query);
}

/* Ours only: other modules may have statements of their own on a connection of mod_dbd. */
static int let_go(mdm_conn_t *conn, mdm_keep_t *k)
{
    apr_array_header_t *texts = apr_array_make(k->pool, k->n + 1, sizeof(const char *));
    int rc = 0, done = 0, i;

    for (i = 0; i < MDM_Q_COUNT; i++) {
        if (k->kept[i]) {
            APR_ARRAY_PUSH(texts, const char *) = apr_pstrcat(k->pool, "DEALLOCATE ", label(k, i), NULL);
        }
    }
    if (texts->nelts) {
        rc = apr_dbd_query(conn->driver, conn->handle, &done, apr_array_pstrcat(k->pool, texts, ';'));
    }
    forget(k);
    return rc;
}

/* Is this call one of a statement that is kept, or is to be? */
static int worth(mdm_keep_t *k, int query)
{
    if (k->strikes >= STRIKES || !mdm_queries[query].keep) {
        return 0;
    }
    k->calls[query] += k->calls[query] < WARM;
    return k->calls[query] == WARM;
}

static int kept(mdm_conn_t *conn, mdm_keep_t *k, int query, apr_dbd_prepared_t **out)
{
    int rc = 0;

    k->runs++;
    if (!k->kept[query]) {
        rc = apr_dbd_prepare(conn->driver, k->pool, conn->handle, mdm_queries[query].sql_pgsql, label(k, query), out);
        k->kept[query] = rc ? NULL : *out;
        k->n += !rc;
    }
    *out = k->kept[query];
    return rc;
}

/* Not kept by the server: the driver sends its text each time. SQLite's are always compiled. */
static int plain(mdm_conn_t *conn, int query, apr_dbd_prepared_t **out)
{
    const mdm_query_t *q = &mdm_queries[query];
    int rc = 0;

    *out = conn->statements[query];
    if (!*out) {
        rc = apr_dbd_prepare(conn->driver, conn->pool, conn->handle, conn->sqlite ? q->sql_sqlite : q->sql_pgsql, NULL, out);
        conn->statements[query] = rc ? NULL : *out;
    }
    return rc;
}

int mdm_db_prepared(mdm_conn_t *conn, int query, apr_dbd_prepared_t **out)
{
    mdm_keep_t *k;
    int rc = 0, backend;

    *out = NULL;
    if (conn->sqlite) {
        return plain(conn, query, out);
    }
    k = keep_of(conn);
    backend = PQbackendPID(apr_dbd_native_handle(conn->driver, conn->handle));
    if (backend != k->backend) {
        forget(k);
        k->backend = backend;
    } else if (k->runs >= KEEP_RUNS || mdm_ticks() - k->since > KEEP_TIME) {
        rc = let_go(conn, k);
    }
    return rc ? rc : worth(k, query) ? kept(conn, k, query, out) : plain(conn, query, out);
}

void mdm_db_forget(mdm_conn_t *conn, int query)
{
    if (conn->sqlite) {
        conn->statements[query] = NULL;
    } else if (conn->keep) { /* not deallocated: who knows which are there, and the error is still to be told */
        conn->keep->strikes++;
        forget(conn->keep);
    }
}
