/* Owns what happens to planned work when the time of day goes back (R48, DEV-15): it comes forward as far, and nobody waits longer than he was to. */
#ifndef MDM_CLOCK_H
#define MDM_CLOCK_H

#include "db/mdm_db.h"
#include "domain/mdm_job.h"

#define MDM_CLOCK_JOB "clock.back"

/* The clock was set back by step_ms. Jobs, pushes, notices and dynamic groups come forward at once; what may be as many as devices is left to the job
 * MDM_CLOCK_JOB. Does its own transaction. */
apr_status_t mdm_clock_back(mdm_db_t *db, apr_int64_t step_ms);
/* The job: refreshes of devices and the ends of commands come forward, in batches; where it stands is kept with each, so that none comes
 * forward twice wherever it is killed. */
apr_status_t mdm_clock_back_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s);

#endif
