/* Owns how long history and messages are kept (DEV-16), and removes what is older. */
#ifndef MDM_RETENTION_H
#define MDM_RETENTION_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_job.h"

#define MDM_RETENTION_DEFAULT 180 /* days */
#define MDM_RETENTION_LEAST 14    /* what a failed renewal of an identity says is asked for within a week */
#define MDM_RETENTION_MOST 36500
#define MDM_RETENTION_BATCH 500   /* rows that one transaction looks at */

/* {"history_days": n, "message_days": n, "pending_days": n}; 0 = for ever. Pending: enrolments, from the end of their life on (PEN-08). History: ended commands, steps of devices, ended quick tasks. Messages: those that were
 * acknowledged, from then on. New reference. */
apr_status_t mdm_retention_json(mdm_db_t *db, const char *id, json_t **out);
/* Sets what is given in the body. MDM_EINPUT names the member. In a transaction; audited. */
apr_status_t mdm_retention_edit(mdm_db_t *db, json_t *body);
/* The job: removes what is older, and audit rows of more than audit_days (0: none). Each batch is a transaction, so that it may be killed anywhere;
 * a run that the child's end cuts goes on at the next. job->result says how many of each. */
apr_status_t mdm_retention_run(mdm_ctx_t *ctx, mdm_job_t *job, apr_int64_t audit_days, int lease_s);

#endif
