/* The job of bulk runs (PEN-06): one for each run, made when its file has come. */
#include "domain/mdm_bulk.h"
#include "enroll.h"

#define LEASE_S 60 /* kept while it goes on */

static apr_status_t run(mdm_ctx_t *ctx, mdm_job_t *job)
{
    return mdm_bulk_run(ctx, job, LEASE_S);
}

const mdm_jobkind_t enroll_bulk_kind = {.name = MDM_BULK_JOB, .target_class = "task", .lease_s = LEASE_S, .run = run};
