/* Owns the way to mod_dbd: a breaker for the node, a counting semaphore and a gate for the child, and the check that the
 * schema fits. mod_dbd's pool blocks without a limit when it is empty, and holds its lock while it connects: so nobody gets
 * near it who might wait there, but one. */
#include <apr_dbd.h>
#include <libpq-fe.h>
#include <mod_dbd.h>
#include <sys/socket.h>
#include "base/mdm_wait.h"
#include "mdm_private.h"

/* Connecting takes libpq up to four times connect_timeout: so nobody else begins after this time, and the first requests
 * of an outage are answered within five seconds. */
#define GATE_WAIT apr_time_from_msec(800)
#define PLACE_WAIT apr_time_from_sec(2)

/* A connection of mod_dbd as the library sees it; kept with it. */
#define KEPT "mdm-conn"

static struct {
    mdm_wait_t *lock;
    int in_use;  /* under lock */
    int opening; /* under lock: one thread is inside ap_dbd_open */
    apr_time_t opening_since;
    ap_dbd_t *(*open)(apr_pool_t *, server_rec *);
    void (*close)(server_rec *, ap_dbd_t *);
} glue;

static __thread int probing;   /* this thread may pass the open breaker */
static __thread int checking;  /* this thread reads the schema version */

int mdm_dbglue_away(void)
{
    return !mdm_core.shm || __atomic_load_n(&mdm_core.shm->away, __ATOMIC_SEQ_CST) ||
           __atomic_load_n(&mdm_core.shm->schema, __ATOMIC_SEQ_CST) == MDM_SCHEMA_MISMATCH;
}

void mdm_dbglue_open_breaker(const char *why)
{
    mdm_shm_t *m = mdm_core.shm;

    if (mdm_core.stop || __atomic_exchange_n(&m->away, 1, __ATOMIC_SEQ_CST)) {
        return;
    }
    __atomic_store_n(&m->away_ms, mdm_ms(), __ATOMIC_SEQ_CST);
    __atomic_store_n(&m->schema, MDM_SCHEMA_UNKNOWN, __ATOMIC_SEQ_CST);
    MDM_COUNT(db_away_times);
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, mdm_core.main, "MDM0210: the database is away: %s", why);
}

static void close_breaker(void)
{
    mdm_shm_t *m = mdm_core.shm;

    /* What changed meanwhile was not seen, or rows may be gone: start cold. */
    mdm_devcache_clear(mdm_core.cache);
    if (__atomic_exchange_n(&m->away, 0, __ATOMIC_SEQ_CST)) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, mdm_core.main, "MDM0211: the database is back after %" APR_INT64_T_FMT " ms",
                     mdm_ms() - m->away_ms);
        mdm_jobs_wake();
    }
}

/* One line when the schema does not fit, one when it does again. APR_SUCCESS if it fits. */
static apr_status_t check_schema(mdm_ctx_t *ctx)
{
    mdm_shm_t *m = mdm_core.shm;
    mdm_db_t *db;
    int found = 0, state;
    apr_status_t rv;

    checking = 1;
    rv = mdm_db_open(ctx, &db);
    if (rv == APR_SUCCESS) {
        rv = mdm_schema_found(db, &found);
        mdm_db_close(db);
    }
    checking = 0;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    state = found == mdm_schema_version ? MDM_SCHEMA_FITS : MDM_SCHEMA_MISMATCH;
    if (__atomic_exchange_n(&m->schema, (apr_uint32_t)state, __ATOMIC_SEQ_CST) != (apr_uint32_t)state) {
        if (state == MDM_SCHEMA_MISMATCH) {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, mdm_core.main, "MDM0212: the database has schema version %d, this "
                         "software needs %d: run `mdmctl migrate`; until then all requests get 503", found, mdm_schema_version);
        } else {
            ap_log_error(APLOG_MARK, APLOG_INFO, 0, mdm_core.main, "MDM0213: the database has schema version %d", found);
        }
    }
    return state == MDM_SCHEMA_FITS ? APR_SUCCESS : MDM_EUNAVAIL;
}

/* Takes a place and the gate, waiting a bounded time. */
static apr_status_t enter(void)
{
    apr_time_t deadline = mdm_ticks() + PLACE_WAIT, now;
    int max = (int)mdm_conf_num(MDM_C_DB_CONNECTIONS), slow;

    mdm_wait_lock(glue.lock);
    while (glue.in_use >= max || glue.opening) {
        now = mdm_ticks();
        slow = glue.opening && now - glue.opening_since > GATE_WAIT;
        if (slow || now > deadline || (!probing && !checking && mdm_dbglue_away())) {
            mdm_wait_unlock(glue.lock);
            MDM_COUNT(db_refused);
            if (slow) {
                mdm_dbglue_open_breaker("connecting takes too long");
            }
            return APR_TIMEUP;
        }
        mdm_wait_for(glue.lock, apr_time_from_msec(100));
    }
    glue.in_use++;
    __atomic_store_n(&mdm_core.child->db_in_use, (apr_uint32_t)glue.in_use, __ATOMIC_RELAXED);
    glue.opening = 1;
    glue.opening_since = mdm_ticks();
    mdm_wait_unlock(glue.lock);
    return APR_SUCCESS;
}

static void leave(int was_open)
{
    mdm_wait_lock(glue.lock);
    glue.opening = was_open ? glue.opening : 0;
    glue.in_use -= was_open != 0;
    __atomic_store_n(&mdm_core.child->db_in_use, (apr_uint32_t)glue.in_use, __ATOMIC_RELAXED);
    mdm_wait_wake_all(glue.lock);
    mdm_wait_unlock(glue.lock);
}

static mdm_conn_t *conn_of(ap_dbd_t *dbd)
{
    mdm_conn_t *conn = apr_hash_get(dbd->prepared, KEPT, APR_HASH_KEY_STRING);

    if (!conn || conn->handle != dbd->handle) {
        conn = apr_pcalloc(dbd->pool, sizeof(*conn));
        conn->driver = dbd->driver;
        conn->handle = dbd->handle;
        conn->pool = dbd->pool;
        conn->sqlite = strcmp(apr_dbd_name(dbd->driver), "sqlite3") == 0;
        apr_hash_set(dbd->prepared, KEPT, APR_HASH_KEY_STRING, conn);
    }
    conn->owner = dbd;
    return conn;
}

static apr_status_t acquire(void *baton, mdm_ctx_t *ctx, mdm_conn_t **out)
{
    mdm_shm_t *m = mdm_core.shm;
    apr_time_t start = mdm_ticks();
    ap_dbd_t *dbd;
    apr_status_t rv;

    if (!glue.open) {
        return MDM_EUNAVAIL;
    }
    if (!checking) {
        if (!probing && mdm_dbglue_away()) {
            return MDM_EUNAVAIL;
        }
        if (__atomic_load_n(&m->schema, __ATOMIC_SEQ_CST) == MDM_SCHEMA_UNKNOWN) {
            mdm_ctx_t *sub = mdm_ctx_sub(ctx);

            rv = check_schema(sub);
            apr_pool_destroy(sub->pool);
            if (rv != APR_SUCCESS) {
                return MDM_EUNAVAIL;
            }
        }
    }
    rv = enter();
    if (rv != APR_SUCCESS) {
        return MDM_EUNAVAIL;
    }
    dbd = glue.open(ctx->pool, mdm_core.main);
    leave(0);
    if (!dbd) {
        leave(1);
        mdm_dbglue_open_breaker("no connection can be made");
        return MDM_EUNAVAIL;
    }
    if (mdm_ticks() - start > apr_time_from_sec(1)) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, mdm_core.main, "MDM0214: a database connection took %d ms",
                     (int)apr_time_as_msec(mdm_ticks() - start));
    }
    MDM_COUNT(db_opened);
    *out = conn_of(dbd);
    mdm_listen_like((*out)->sqlite ? NULL : apr_dbd_native_handle((*out)->driver, (*out)->handle));
    return APR_SUCCESS;
}

/* mod_dbd checks a connection before it gives it out again, and resets one that libpq knows to be lost: so that it knows. The server may well be
 * there, a standby by now. */
static void hang_up(mdm_conn_t *conn)
{
    PGconn *pg = conn->sqlite ? NULL : apr_dbd_native_handle(conn->driver, conn->handle);

    if (pg && PQstatus(pg) == CONNECTION_OK && PQsocket(pg) >= 0) {
        shutdown(PQsocket(pg), SHUT_RDWR);
        PQconsumeInput(pg);
    }
}

static void release(void *baton, mdm_conn_t *conn, int broken)
{
    if (broken) {
        hang_up(conn);
    }
    glue.close(mdm_core.main, conn->owner);
    leave(1);
}

void mdm_dbglue_probe(mdm_ctx_t *ctx)
{
    apr_status_t rv;

    probing = 1;
    rv = check_schema(ctx);
    probing = 0;
    if (rv == APR_SUCCESS && __atomic_load_n(&mdm_core.shm->away, __ATOMIC_SEQ_CST)) {
        close_breaker();
    } else if (__atomic_load_n(&mdm_core.shm->schema, __ATOMIC_SEQ_CST) == MDM_SCHEMA_MISMATCH) {
        __atomic_store_n(&mdm_core.shm->away, 0, __ATOMIC_SEQ_CST); /* it answers, though we can't use it */
    }
}

apr_status_t mdm_dbglue_child(apr_pool_t *p)
{
    apr_status_t rv = mdm_wait_make(p, &glue.lock);

    if (rv == APR_SUCCESS) {
        rv = mdm_dbguard_child(p);
    }
    glue.open = APR_RETRIEVE_OPTIONAL_FN(ap_dbd_open);
    glue.close = APR_RETRIEVE_OPTIONAL_FN(ap_dbd_close);
    if (!glue.open || !glue.close) {
        glue.open = NULL;
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, mdm_core.main, "MDM0215: there is no database: load mod_dbd and set DBDriver "
                     "and DBDParams");
        return rv;
    }
    mdm_core.dbpool.acquire = acquire;
    mdm_core.dbpool.release = release;
    mdm_core.dbpool.guard = mdm_dbguard_begin;
    mdm_core.dbpool.unguard = mdm_dbguard_end;
    mdm_core.dbpool.statements = &mdm_core.shm->db_statements;
    mdm_core.env.dbpool = &mdm_core.dbpool;
    return rv;
}
