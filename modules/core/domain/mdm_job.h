/* Owns the job table: add, claim with a lease, progress, finish, retry (15-decisions, Jobs). No threads here. */
#ifndef MDM_JOB_H
#define MDM_JOB_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "mdm_services.h"

typedef struct mdm_job_t {
    const char *id, *kind, *unique_key;
    json_t *payload;            /* never NULL */
    int attempts, max_attempts;
    const char *lease_owner;    /* unique for this claim */
    volatile int *stop;         /* set when the child stops */
    int cancelled;              /* an administrator asked, as of the last mdm_job_progress() */
    json_t *result;             /* the run may set it: stored with the job */
    apr_int64_t again_ms;       /* the run may set it: run again at this time instead of finishing */
} mdm_job_t;

typedef struct mdm_job_add_t {
    const char *kind, *unique_key; /* unique_key NULL: always a new one */
    json_t *payload;               /* borrowed; NULL = {} */
    apr_int64_t run_at_ms;         /* 0 = now */
    int max_attempts;              /* 0 = 10 */
    int keep;                      /* an existing job of the key stays as it is (periodic work) */
} mdm_job_add_t;

/* Adds a job; with a unique key that is waiting already, joins it (and moves it forward, with the newer payload); one
 * that is running runs once more afterwards. *id may be NULL. */
apr_status_t mdm_job_add(mdm_db_t *db, const mdm_job_add_t *add, const char **id);
/* Kinds with a due job: one statement for a tick. Claims write, so ask this first. */
apr_status_t mdm_job_due(mdm_db_t *db, apr_array_header_t **kinds /* of const char * */);
/* Claims at most one due job of the kind for owner; APR_NOTFOUND if none. Expired leases count as due. */
apr_status_t mdm_job_claim(mdm_db_t *db, const char *kind, const char *owner, int lease_s, mdm_job_t **out);
/* Ends a claim by the run's result: done, again (again_ms), or waiting with back-off (1 s doubling to 1 h, but not after
 * again_ms), or failed for good: never if again_ms is set. `why` is kept with the job. APR_NOTFOUND if the lease was lost. */
apr_status_t mdm_job_finish(mdm_db_t *db, mdm_job_t *job, apr_status_t rv, const char *why);
/* Keeps the lease, stores progress, learns of a cancel. APR_NOTFOUND: the lease was lost, and mdm_job_stopping() is true. */
apr_status_t mdm_job_progress(mdm_ctx_t *ctx, mdm_job_t *job, apr_int64_t done, apr_int64_t total, int lease_s);
/* True if the run should end at the next clean point. */
int mdm_job_stopping(const mdm_job_t *job);

#endif
