/* Owns the job that computes effective policies again (POL-06, POL-09). Marks call it; its period is for those that could not. */
#include "domain/mdm_recompute.h"
#include "mdm_private.h"

#define LEASE_S 300 /* kept while it goes on */

static apr_status_t run_recompute(mdm_ctx_t *ctx, mdm_job_t *job)
{
    apr_status_t rv = mdm_recompute_run(ctx, job, LEASE_S);

    mdm_jobs_wake(); /* devices wait to be woken */
    return rv;
}

const mdm_jobkind_t mdm_policy_kinds[] = {
    {.name = MDM_RECOMPUTE_JOB, .target_class = "db", .lease_s = LEASE_S, .period_ms = 60000, .run = run_recompute},
    {NULL}};
