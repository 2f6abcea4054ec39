/* Owns the jobs of schedules: who is due, who is silent, spreading after a change (DEV-05, DEV-06), and what a clock that was set back
 * brings forward (DEV-15). */
#include "domain/mdm_clock.h"
#include "domain/mdm_schedule.h"
#include "mdm_private.h"

#define LEASE_S 300 /* kept while they go on */
#define MINUTE_MS 60000

static apr_status_t run_due(mdm_ctx_t *ctx, mdm_job_t *job)
{
    apr_status_t rv = mdm_schedule_run(ctx, job, LEASE_S);

    mdm_jobs_wake(); /* devices wait to be woken */
    return rv;
}

static apr_status_t run_lost(mdm_ctx_t *ctx, mdm_job_t *job)
{
    return mdm_schedule_lost(ctx, job, LEASE_S);
}

static apr_status_t run_clock(mdm_ctx_t *ctx, mdm_job_t *job)
{
    return mdm_clock_back_run(ctx, job, LEASE_S);
}

static apr_status_t run_spread(mdm_ctx_t *ctx, mdm_job_t *job)
{
    return mdm_schedule_spread(ctx, job, LEASE_S);
}

const mdm_jobkind_t mdm_schedule_kinds[] = {
    {.name = "schedule.refresh", .target_class = "task", .lease_s = LEASE_S, .period_ms = MINUTE_MS, .run = run_due},
    {.name = "schedule.lost", .target_class = "db", .lease_s = LEASE_S, .period_ms = 60 * MINUTE_MS, .run = run_lost},
    {.name = MDM_SPREAD_JOB, .target_class = "task", .lease_s = LEASE_S, .run = run_spread}, /* one for each change */
    {.name = MDM_CLOCK_JOB, .target_class = "db", .lease_s = LEASE_S, .run = run_clock},                 /* one for each step of the clock */
    {NULL}};
