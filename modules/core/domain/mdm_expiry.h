/* Owns the warnings of what ends some day (MAIL-02, PSH-05): certificates and tokens of the zone, told to administrators before they end, and enrolments,
 * of which their people are reminded. What more there is to watch is a row of the table in mdm_expiry.c. */
#ifndef MDM_EXPIRY_H
#define MDM_EXPIRY_H

#include "db/mdm_db.h"
#include "domain/mdm_job.h"

#define MDM_EXPIRY_JOB "zone.expiry"

typedef struct mdm_expiry_t {
    const char *public_url; /* whose TLS certificate is watched; "" or NULL: none */
} mdm_expiry_t;

/* The job. Each mark of each thing is told once, whatever becomes of the message: a message, an audit row, and a notice for administrators who receive
 * alerts. What was replaced in time is told no more. Holds no connection to the database while it asks public_url, and asks no longer
 * than the child lives. job may be NULL (tests). */
apr_status_t mdm_expiry_run(mdm_ctx_t *ctx, const mdm_job_t *job, const mdm_expiry_t *what);

#endif
