/* The job that looks for the phones of mail records (MAT-02); it asks for its next run itself. */
#include "domain/mdm_match_run.h"
#include "enroll.h"

#define LEASE_S 120
#define PERIOD_MS 120000

static apr_status_t run(mdm_ctx_t *ctx, mdm_job_t *job)
{
    return mdm_match_run(ctx, job, LEASE_S);
}

const mdm_jobkind_t enroll_match_kind = {.name = MDM_MATCH_JOB, .target_class = "db", .lease_s = LEASE_S, .period_ms = PERIOD_MS, .run = run};
