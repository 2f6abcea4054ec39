/* Owns the jobs of commands: ending what nobody will answer any more (commands whose time is over, wipes that were never confirmed), and the
 * work of quick tasks. */
#include "domain/mdm_command.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_job.h"
#include "domain/mdm_task.h"
#include "mdm_private.h"

#define PERIOD_MS 60000

/* One bounded step in a transaction of its own; *n = how many it ended. */
static apr_status_t step(mdm_ctx_t *ctx, apr_status_t (*fn)(mdm_db_t *db, int *count), int *n)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    *n = 0;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS) {
        rv = fn(db, n);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

static apr_status_t run(mdm_ctx_t *ctx, mdm_job_t *job)
{
    int n;
    apr_status_t rv;

    do {
        rv = step(ctx, mdm_command_expire, &n);
    } while (rv == APR_SUCCESS && n && !mdm_job_stopping(job));
    if (rv == APR_SUCCESS) {
        rv = step(ctx, mdm_leave_silent, &n);
    }
    n = rv == APR_SUCCESS;
    while (rv == APR_SUCCESS && n && !mdm_job_stopping(job)) {
        rv = step(ctx, mdm_delivery_tidy, &n);
    }
    return rv;
}

const mdm_jobkind_t mdm_commands_kind = {
    .name = "command.tidy", .target_class = "db", .lease_s = 120, .period_ms = PERIOD_MS, .run = run};

#define TASK_LEASE_S 300 /* kept while it goes on */

static apr_status_t run_task(mdm_ctx_t *ctx, mdm_job_t *job)
{
    apr_status_t rv = mdm_task_run(ctx, job, TASK_LEASE_S);

    mdm_jobs_wake(); /* devices wait to be woken */
    return rv;
}

/* One job for each task, made when the task is. */
const mdm_jobkind_t mdm_tasks_kind = {.name = MDM_TASK_JOB, .target_class = "task", .lease_s = TASK_LEASE_S, .run = run_task};
