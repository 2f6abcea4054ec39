/* Owns the threads that run background work. One of them at a time looks for due jobs; what it claims it runs itself, and
 * another one looks on. Leases in the database keep a job on one node, limits per class keep slow ones from taking all. */
#include "base/mdm_wait.h"
#include "domain/mdm_job.h"
#include "mdm_private.h"

#define MAX_KINDS 32
#define MAX_THREADS 64
#define LOOK_EVERY apr_time_from_sec(1)

static struct {
    const mdm_jobkind_t *kinds[MAX_KINDS]; /* const after post_config */
    int nkinds;
    mdm_wait_t *lock;
    int running[MAX_KINDS]; /* under lock */
    int looking;            /* under lock: a thread looks for due jobs */
    int woken;              /* under lock */
    apr_time_t looked;      /* under lock: when somebody last did, in ticks */
    int nthreads;
    apr_thread_t *threads[MAX_THREADS];
    volatile int stop;
} jobs;

apr_status_t mdm_jobs_kind(const mdm_jobkind_t *kind)
{
    int i;

    for (i = 0; i < jobs.nkinds; i++) {
        if (strcmp(jobs.kinds[i]->name, kind->name) == 0) {
            return APR_EEXIST;
        }
    }
    if (jobs.nkinds == MAX_KINDS || mdm_core.threads_up) {
        return APR_ENOSPC;
    }
    jobs.kinds[jobs.nkinds++] = kind;
    return APR_SUCCESS;
}

/* One class may take at most half of the threads (at least one), so that a slow peer never stops other work. */
static int class_full(int k)
{
    int i, n = 0, limit = jobs.nthreads / 2 > 1 ? jobs.nthreads / 2 : 1;

    for (i = 0; i < jobs.nkinds; i++) {
        if (strcmp(jobs.kinds[i]->target_class, jobs.kinds[k]->target_class) == 0) {
            n += jobs.running[i];
        }
    }
    return n >= limit;
}

/* Work that goes out to the internet is left to nodes that may (NOD-02, NOD-05). */
static int not_ours(int k)
{
    static const char *const outside[] = {"push", "test", "apple", "store", "sms"};
    unsigned i;

    for (i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        if (strcmp(jobs.kinds[k]->target_class, outside[i]) == 0) {
            return !mdm_node_goes_out();
        }
    }
    return 0;
}

/* Reserves a place in the class of a due kind; -1 if there is none. */
static int reserve(const char *name)
{
    int k, found = -1;

    mdm_wait_lock(jobs.lock);
    for (k = 0; k < jobs.nkinds; k++) {
        if (strcmp(jobs.kinds[k]->name, name) == 0 && !not_ours(k) && !class_full(k)) {
            jobs.running[k]++;
            found = k;
            break;
        }
    }
    mdm_wait_unlock(jobs.lock);
    return found;
}

static void give_back(int k)
{
    mdm_wait_lock(jobs.lock);
    jobs.running[k]--;
    mdm_wait_unlock(jobs.lock);
}

/* Claims one due job: the kind's index, or -1. Its place in the class stays reserved. */
static int find_job(mdm_ctx_t *ctx, mdm_job_t **job)
{
    apr_array_header_t *due;
    mdm_db_t *db;
    int i, k = -1;

    if (mdm_dbglue_away() || mdm_db_open(ctx, &db) != APR_SUCCESS) {
        return -1;
    }
    if (mdm_job_due(db, &due) == APR_SUCCESS) {
        for (i = 0; i < due->nelts && k < 0; i++) {
            k = reserve(APR_ARRAY_IDX(due, i, const char *));
            if (k >= 0 && mdm_job_claim(db, jobs.kinds[k]->name, mdm_conf_text(MDM_C_NODE_NAME), jobs.kinds[k]->lease_s,
                                        job) != APR_SUCCESS) {
                give_back(k);
                k = -1;
            }
        }
    }
    mdm_db_close(db);
    return k;
}

static void run_job(mdm_ctx_t *ctx, int k, mdm_job_t *job)
{
    const mdm_jobkind_t *kind = jobs.kinds[k];
    apr_status_t rv;
    mdm_db_t *db;

    job->stop = &jobs.stop;
    ctx->fail_text = NULL;
    rv = kind->run(ctx, job);
    MDM_COUNT(jobs_run);
    if (rv != APR_SUCCESS) {
        MDM_COUNT(jobs_failed);
        mdm_log(ctx, MDM_LOG_INFO, "MDM0223", rv, "job %s (%s), try %d: %s", job->id, job->kind, job->attempts,
                ctx->fail_text && *ctx->fail_text ? ctx->fail_text : "failed");
    }
    if (kind->period_ms > 0 && !job->again_ms) {
        job->again_ms = mdm_now_ms(ctx) + kind->period_ms;
    }
    if (mdm_db_open(ctx, &db) == APR_SUCCESS) {
        mdm_job_finish(db, job, rv, rv == APR_SUCCESS ? NULL : ctx->fail_text);
        mdm_db_close(db);
    } /* else the lease runs out and it runs again */
}

/* Waits for the turn to look; 0 when the child stops. */
static int wait_turn(void)
{
    mdm_wait_lock(jobs.lock);
    while (!jobs.stop && (jobs.looking || (!jobs.woken && mdm_ticks() - jobs.looked < LOOK_EVERY))) {
        mdm_wait_for(jobs.lock, LOOK_EVERY);
    }
    jobs.looked = mdm_ticks();
    jobs.woken = 0;
    jobs.looking = 1;
    mdm_wait_unlock(jobs.lock);
    return !jobs.stop;
}

static void end_turn(int found)
{
    mdm_wait_lock(jobs.lock);
    jobs.looking = 0;
    if (found) { /* there may be more */
        jobs.woken = 1;
        mdm_wait_wake(jobs.lock);
    }
    mdm_wait_unlock(jobs.lock);
}

static void *APR_THREAD_FUNC worker(apr_thread_t *t, void *data)
{
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    while (wait_turn()) {
        mdm_ctx_t *ctx = mdm_core_ctx(p);
        mdm_job_t *job = NULL;
        int k = find_job(ctx, &job);

        end_turn(k >= 0);
        if (k >= 0) {
            run_job(ctx, k, job);
            give_back(k);
        }
        apr_pool_clear(p);
    }
    end_turn(1);
    apr_pool_destroy(p);
    return NULL;
}

apr_status_t mdm_jobs_start(apr_pool_t *pchild)
{
    apr_status_t rv = mdm_wait_make(pchild, &jobs.lock);
    int want = (int)mdm_conf_num(MDM_C_JOB_THREADS);

    jobs.nthreads = want;
    for (want = 0; rv == APR_SUCCESS && want < jobs.nthreads; want++) {
        rv = apr_thread_create(&jobs.threads[want], NULL, worker, NULL, pchild);
    }
    return rv;
}

void mdm_jobs_wake(void)
{
    if (jobs.lock) {
        mdm_wait_lock(jobs.lock);
        jobs.woken = 1;
        mdm_wait_wake(jobs.lock);
        mdm_wait_unlock(jobs.lock);
    }
}

void mdm_jobs_stop(void)
{
    apr_status_t rv;
    int i;

    jobs.stop = 1;
    if (jobs.lock) {
        mdm_wait_lock(jobs.lock);
        mdm_wait_wake_all(jobs.lock);
        mdm_wait_unlock(jobs.lock);
    }
    for (i = 0; i < jobs.nthreads; i++) {
        if (jobs.threads[i]) {
            apr_thread_join(&rv, jobs.threads[i]);
        }
    }
}

/* Keeps one row for each periodic kind. */
void mdm_jobs_ensure(mdm_ctx_t *ctx)
{
    mdm_db_t *db;
    int i;

    if (mdm_db_open(ctx, &db) != APR_SUCCESS) {
        return;
    }
    for (i = 0; i < jobs.nkinds; i++) {
        mdm_job_add_t add = {.kind = jobs.kinds[i]->name, .keep = 1};

        if (jobs.kinds[i]->period_ms > 0) {
            add.unique_key = apr_pstrcat(ctx->pool, "period:", jobs.kinds[i]->name, NULL);
            mdm_job_add(db, &add, NULL);
        }
    }
    mdm_db_close(db);
}
