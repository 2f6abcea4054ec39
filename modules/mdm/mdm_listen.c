/* Owns this child's LISTEN connection (REL-06): a notification only wakes the steward, so that a change made elsewhere is read at
 * once. Without it the steward reads each MDMChangeInterval as ever. PostgreSQL only; mod_dbd's pool has no part in it. */
#include <libpq-fe.h>
#include <poll.h>
#include "base/mdm_wait.h"
#include "mdm_private.h"
#include "wire/mdm_http.h"

#define CONNECT_WAIT apr_time_from_sec(5)
#define STEP_MS 200 /* how soon a stopping child is noticed */
#define GATHER apr_time_from_msec(20)
#define STABLE apr_time_from_sec(10) /* what lasts less long is tried again less and less often */
#define PAUSE_MS 500
#define PAUSE_MAX_MS 30000
#define OPTIONS_MAX 64

static struct {
    apr_thread_mutex_t *lock;
    apr_pool_t *pool;    /* under lock */
    apr_thread_t *thread; /* under lock */
    const char *keywords[OPTIONS_MAX], *values[OPTIONS_MAX]; /* const once the thread runs */
} own;

/* ---------------------------------------------------------------- one connection */

/* Waits for the socket, at most a step. 0: nothing yet; -1: time is up or the child stops. */
static int wait_for(PGconn *pg, short events, apr_time_t deadline)
{
    struct pollfd p = {PQsocket(pg), events, 0};

    if (mdm_core.stop || (deadline && mdm_ticks() > deadline)) {
        return -1;
    }
    return poll(&p, 1, STEP_MS) > 0;
}

/* libpq would write them to stderr. */
static void no_notice(void *arg, const char *message)
{
}

static int connect_to(PGconn *pg)
{
    PostgresPollingStatusType st = PGRES_POLLING_WRITING;
    apr_time_t deadline = mdm_ticks() + CONNECT_WAIT;

    if (!pg || PQstatus(pg) == CONNECTION_BAD) {
        return 0;
    }
    PQsetNoticeProcessor(pg, no_notice, NULL);
    while (st != PGRES_POLLING_OK) {
        int ready = wait_for(pg, st == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline);

        if (ready < 0 || (ready && (st = PQconnectPoll(pg)) == PGRES_POLLING_FAILED)) {
            return 0;
        }
    }
    return 1;
}

static int subscribe(PGconn *pg)
{
    apr_time_t deadline = mdm_ticks() + CONNECT_WAIT;
    int ok = 0, ready;
    PGresult *res;

    if (!PQsendQuery(pg, "LISTEN mdm_change")) {
        return 0;
    }
    while (PQisBusy(pg)) {
        ready = wait_for(pg, POLLIN, deadline);
        if (ready < 0 || (ready && !PQconsumeInput(pg))) {
            return 0;
        }
    }
    while ((res = PQgetResult(pg))) {
        ok = PQresultStatus(res) == PGRES_COMMAND_OK;
        PQclear(res);
    }
    return ok;
}

/* Until the connection ends or the child stops. */
static void serve(PGconn *pg)
{
    int ready;

    while ((ready = wait_for(pg, POLLIN, 0)) >= 0) {
        PGnotify *n;
        unsigned got = 0;

        if (ready && !PQconsumeInput(pg)) {
            return;
        }
        while ((n = PQnotifies(pg))) {
            PQfreemem(n);
            got++;
        }
        if (got) {
            __atomic_fetch_add(&mdm_core.shm->notifications, got, __ATOMIC_RELAXED);
            mdm_steward_hurry();
            apr_sleep(GATHER); /* a burst is read at once */
        }
    }
}

/* ---------------------------------------------------------------- the thread */

static void pause_for(apr_int64_t ms)
{
    for (; ms > 0 && !mdm_core.stop; ms -= STEP_MS) {
        apr_sleep(apr_time_from_msec(ms < STEP_MS ? ms : STEP_MS));
    }
}

static void *APR_THREAD_FUNC listener(apr_thread_t *t, void *data)
{
    int attempt = 0, told = 0;

    while (!mdm_core.stop) {
        PGconn *pg = PQconnectStartParams(own.keywords, own.values, 0);

        if (connect_to(pg) && subscribe(pg)) {
            apr_time_t begun = mdm_ticks();

            __atomic_store_n(&mdm_core.child->listening, 1, __ATOMIC_RELAXED);
            if (told) {
                ap_log_error(APLOG_MARK, APLOG_INFO, 0, mdm_core.main, "MDM0262: changes of other nodes are heard of again");
                told = 0;
            }
            mdm_steward_hurry(); /* what came before we listened */
            serve(pg);
            __atomic_store_n(&mdm_core.child->listening, 0, __ATOMIC_RELAXED);
            attempt = mdm_ticks() - begun > STABLE ? 0 : attempt;
            if (!mdm_core.stop) {
                MDM_COUNT(listen_lost);
            }
        }
        if (!told && !mdm_core.stop) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, mdm_core.main, "MDM0261: this child does not hear of changes at once, only "
                         "each MDMChangeInterval: its connection for them has ended or can't be made");
            told = 1;
        }
        PQfinish(pg);
        pause_for(mdm_backoff_ms(attempt++, PAUSE_MS, PAUSE_MAX_MS));
    }
    return NULL;
}

/* ---------------------------------------------------------------- life */

static void add(int *n, const char *keyword, const char *value)
{
    if (*n < OPTIONS_MAX - 1) {
        own.keywords[*n] = keyword;
        own.values[(*n)++] = value;
    }
}

/* The last word on an option counts: what DBDParams says of keep-alives holds, the name is ours. */
static void take_options(PGconn *pg)
{
    PQconninfoOption *all = PQconninfo(pg), *o;
    int n = 0;

    add(&n, "keepalives_idle", "30");
    add(&n, "keepalives_interval", "10");
    add(&n, "keepalives_count", "3");
    for (o = all; o && o->keyword; o++) {
        if (o->val && *o->val) {
            add(&n, apr_pstrdup(own.pool, o->keyword), apr_pstrdup(own.pool, o->val));
        }
    }
    PQconninfoFree(all);
    add(&n, "application_name", "mod_mdm listen");
}

void mdm_listen_like(void *pg)
{
    if (!pg || __atomic_load_n(&own.thread, __ATOMIC_ACQUIRE)) {
        return;
    }
    apr_thread_mutex_lock(own.lock);
    if (!own.thread && !mdm_core.stop) {
        take_options(pg);
        apr_thread_create(&own.thread, NULL, listener, NULL, own.pool);
    }
    apr_thread_mutex_unlock(own.lock);
}

apr_status_t mdm_listen_child(apr_pool_t *p)
{
    apr_status_t rv = apr_pool_create(&own.pool, p);

    return rv == APR_SUCCESS ? apr_thread_mutex_create(&own.lock, APR_THREAD_MUTEX_DEFAULT, p) : rv;
}

void mdm_listen_stop(void)
{
    apr_thread_t *thread;
    apr_status_t rv;

    if (!own.lock) {
        return;
    }
    apr_thread_mutex_lock(own.lock);
    thread = own.thread;
    apr_thread_mutex_unlock(own.lock);
    if (thread) {
        apr_thread_join(&rv, thread);
    }
}
