/* Owns the watch over statements: the socket of one that is overdue is shut down, and it fails within a moment. */
#include <apr_dbd.h>
#include <libpq-fe.h>
#include <sys/socket.h>
#include "base/mdm_wait.h"
#include "mdm_private.h"

#define PLACES 256 /* MDMDatabaseConnections can't be more */

static struct {
    apr_thread_mutex_t *lock;
    struct {
        mdm_conn_t *conn; /* under lock; NULL: free */
        apr_time_t begun;
        int cut;
    } at[PLACES];
} guard;

void mdm_dbguard_begin(void *baton, mdm_conn_t *conn)
{
    int i;

    if (conn->sqlite) {
        return; /* no server that could hang; waiting for locks is bounded in the library */
    }
    apr_thread_mutex_lock(guard.lock);
    for (i = 0; i < PLACES; i++) {
        if (!guard.at[i].conn) {
            guard.at[i].conn = conn;
            guard.at[i].begun = mdm_ticks();
            guard.at[i].cut = 0;
            break;
        }
    }
    apr_thread_mutex_unlock(guard.lock);
}

void mdm_dbguard_end(void *baton, mdm_conn_t *conn, int failed)
{
    int i;

    if (conn->sqlite) {
        return;
    }
    apr_thread_mutex_lock(guard.lock);
    for (i = 0; i < PLACES; i++) {
        if (guard.at[i].conn == conn) {
            guard.at[i].conn = NULL;
        }
    }
    apr_thread_mutex_unlock(guard.lock);
}

void mdm_dbguard_scan(void)
{
    apr_time_t now = mdm_ticks(), limit = apr_time_from_msec(mdm_conf_num(MDM_C_DB_TIMEOUT));
    int i, cut = 0;

    if (mdm_dbglue_away() && limit > apr_time_from_sec(1)) {
        limit = apr_time_from_sec(1); /* others have found out already */
    }
    apr_thread_mutex_lock(guard.lock);
    for (i = 0; i < PLACES; i++) {
        if (guard.at[i].conn && !guard.at[i].cut && now - guard.at[i].begun > limit) {
            PGconn *pg = apr_dbd_native_handle(guard.at[i].conn->driver, guard.at[i].conn->handle);

            /* The owner can't free or reset the connection meanwhile: it would have to pass mdm_dbguard_end(). */
            if (pg && PQsocket(pg) >= 0) {
                shutdown(PQsocket(pg), SHUT_RDWR);
            }
            guard.at[i].cut = 1;
            cut++;
            MDM_COUNT(db_cut);
        }
    }
    apr_thread_mutex_unlock(guard.lock);
    if (cut) {
        mdm_dbglue_open_breaker("a statement got no answer in time");
    }
}

apr_status_t mdm_dbguard_child(apr_pool_t *p)
{
    return apr_thread_mutex_create(&guard.lock, APR_THREAD_MUTEX_DEFAULT, p);
}
