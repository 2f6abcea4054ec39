/* Owns the two threads of a child that keep it in order: the steward does what touches the database, the guard only looks at
 * clocks, so that it works while the steward waits. Both are joined when the child stops. */
#include "base/mdm_wait.h"
#include "domain/mdm_clock.h"
#include "mdm_private.h"

#define CLOCK_STEP_MS 60000 /* less is the ordinary care of a clock */

static struct {
    mdm_wait_t *lock;
    apr_thread_t *steward, *guard;
    int ticks;             /* under lock */
    int hurry;             /* under lock: there is something new */
    apr_int64_t changes_ms; /* steward only: last good poll */
    apr_int64_t polled_ms;  /* steward only: last poll, good or not */
    int seen_away;         /* steward only */
    volatile int done;     /* the steward has ended: so may the guard */
} own;

static void poll_changes(mdm_ctx_t *ctx)
{
    apr_status_t rv = mdm_changes_poll(ctx);

    if (rv == APR_SUCCESS) {
        own.changes_ms = mdm_ms();
    } else if (!mdm_dbglue_away() && mdm_ms() - own.changes_ms > 5000) {
        /* Without changes the cache may be wrong: nothing is answered from it. A busy pool alone gets five seconds. */
        mdm_dbglue_open_breaker("the change table can't be read");
    }
}

/* Notices that the time of day went back, once for all children: what waits for a time would wait so much longer (R48). */
static void watch_clock(mdm_ctx_t *ctx)
{
    apr_int64_t *kept = &mdm_core.shm->clock_ms, off = mdm_now_ms(ctx) - mdm_ms(), was = __atomic_load_n(kept, __ATOMIC_SEQ_CST);
    mdm_db_t *db;
    apr_status_t rv;

    if (was == off || !__atomic_compare_exchange_n(kept, &was, off, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
        || !was || was - off < CLOCK_STEP_MS) {
        return;
    }
    mdm_log(ctx, MDM_LOG_NOTICE, "MDM0224", 0, "the clock was set back by %" APR_INT64_T_FMT " s: planned work comes forward with it",
            (was - off) / 1000);
    rv = mdm_db_open(ctx, &db);
    if (rv == APR_SUCCESS) {
        rv = mdm_clock_back(db, was - off);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        __atomic_store_n(kept, was, __ATOMIC_SEQ_CST); /* noticed again in a moment */
    }
}

static void round_of_work(mdm_ctx_t *ctx, int hurry)
{
    mdm_shm_t *m = mdm_core.shm;

    if (mdm_dbglue_away()) {
        own.seen_away = 1;
        if (mdm_shm_turn(&m->probe_ms, 900)) {
            mdm_dbglue_probe(ctx);
        }
        return;
    }
    if (own.seen_away) {
        own.seen_away = 0;
        own.changes_ms = mdm_ms();
    }
    /* the tick and our own clock may both have woken us */
    if (hurry || mdm_ms() - own.polled_ms >= mdm_conf_num(MDM_C_CHANGE_INTERVAL) * 8 / 10 || mdm_ms() < own.polled_ms) {
        own.polled_ms = mdm_ms();
        poll_changes(ctx);
    }
    watch_clock(ctx);
    if (!mdm_dbglue_away() && mdm_shm_turn(&m->node_ms, 10000)) {
        mdm_node_seen(ctx);
    }
    if (!mdm_dbglue_away() && mdm_shm_turn(&m->contacts_ms, 5000)) {
        mdm_contacts_flush(ctx);
        mdm_mailuse_flush(ctx);
    }
    if (!mdm_dbglue_away() && mdm_shm_turn(&m->ensure_ms, 60000)) {
        mdm_jobs_ensure(ctx);
    }
}

static void *APR_THREAD_FUNC steward(apr_thread_t *t, void *data)
{
    apr_pool_t *p;
    int hurry = 0;

    apr_pool_create(&p, NULL);
    own.changes_ms = mdm_ms();
    while (!mdm_core.stop) {
        mdm_ctx_t *ctx = mdm_core_ctx(p);

        round_of_work(ctx, hurry);
        apr_pool_clear(p);
        mdm_wait_lock(own.lock);
        if (!own.ticks && !mdm_core.stop) {
            mdm_wait_for(own.lock, apr_time_from_msec(mdm_conf_num(MDM_C_CHANGE_INTERVAL)));
        }
        own.ticks = 0;
        hurry = own.hurry;
        own.hurry = 0;
        mdm_wait_unlock(own.lock);
    }
    if (!mdm_dbglue_away()) {
        mdm_ctx_t *ctx = mdm_core_ctx(p);

        mdm_contacts_flush(ctx);
        mdm_mailuse_flush(ctx);
        if (__atomic_sub_fetch(&mdm_core.shm->stewards, 1, __ATOMIC_SEQ_CST) == 0) {
            mdm_node_release(ctx);
        }
    }
    apr_pool_destroy(p);
    return NULL;
}

static void *APR_THREAD_FUNC watch(apr_thread_t *t, void *data)
{
    while (!own.done) {
        apr_sleep(apr_time_from_msec(100));
        mdm_dbguard_scan();
    }
    return NULL;
}

apr_status_t mdm_steward_start(apr_pool_t *pchild)
{
    apr_status_t rv = mdm_wait_make(pchild, &own.lock);

    if (rv == APR_SUCCESS) {
        rv = apr_thread_create(&own.guard, NULL, watch, NULL, pchild);
    }
    if (rv == APR_SUCCESS) {
        __atomic_add_fetch(&mdm_core.shm->stewards, 1, __ATOMIC_SEQ_CST);
        rv = apr_thread_create(&own.steward, NULL, steward, NULL, pchild);
    }
    return rv;
}

void mdm_steward_tick(void)
{
    if (own.steward) {
        mdm_wait_lock(own.lock);
        own.ticks = 1;
        mdm_wait_wake(own.lock);
        mdm_wait_unlock(own.lock);
    }
}

void mdm_steward_hurry(void)
{
    mdm_wait_lock(own.lock);
    own.hurry = 1;
    mdm_wait_unlock(own.lock);
    mdm_steward_tick();
}

void mdm_steward_stop(void)
{
    apr_status_t rv;

    mdm_steward_tick();
    if (own.steward) {
        apr_thread_join(&rv, own.steward); /* the guard still cuts a statement that hangs */
    }
    own.done = 1;
    if (own.guard) {
        apr_thread_join(&rv, own.guard);
    }
}
