/* Owns the jobs that compute effective policies again (POL-06, POL-09: marks call it; its period is for those that could not) and look for the
 * devices of dynamic groups (DEV-01). */
#include "domain/mdm_dynamic.h"
#include "domain/mdm_recompute.h"
#include "mdm_private.h"

#define LEASE_S 60 /* kept while it goes on; short, since a run that the database cut cannot give it back */

static apr_status_t run_recompute(mdm_ctx_t *ctx, mdm_job_t *job)
{
    apr_status_t rv = mdm_recompute_run(ctx, job, LEASE_S);

    mdm_jobs_wake(); /* devices wait to be woken */
    return rv;
}

static apr_status_t run_groups(mdm_ctx_t *ctx, mdm_job_t *job)
{
    return mdm_dynamic_run(ctx, job, LEASE_S);
}

const mdm_jobkind_t mdm_policy_kinds[] = {
    {.name = MDM_RECOMPUTE_JOB, .target_class = "db", .lease_s = LEASE_S, .period_ms = 10000, .run = run_recompute}, /* a call may meet its end */
    {.name = MDM_DYNAMIC_JOB, .target_class = "db", .lease_s = LEASE_S, .period_ms = 60000, .run = run_groups},
    {NULL}};
