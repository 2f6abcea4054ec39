/* Owns when and for whom effective policies are computed again (POL-06, POL-09): whoever changes what they depend on leaves a mark in his own
 * transaction; a job finds the devices of the marks and computes them in batches. Who reads a device before that asks for it at once (DEV-08). */
#ifndef MDM_RECOMPUTE_H
#define MDM_RECOMPUTE_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_job.h"

#define MDM_RECOMPUTE_JOB "policy.recompute"

/* Leaves a mark: one INSERT, whatever it reaches; the job is moved forward. Kinds: person user_group user_folder user_source device device_group
 * folder; "criteria": a device whose dynamic groups are asked first. In the caller's transaction; before members or assignments go away.
 * For assigning and publishing: what devices, people, groups and folders themselves are is watched by the tables (triggers of
 * sql/schema/0005_policies.sql), so that who writes them need not think of it. */
apr_status_t mdm_recompute_mark(mdm_db_t *db, const char *kind, const char *id);
/* A list of devices: JSON ids. */
apr_status_t mdm_recompute_mark_devices(mdm_db_t *db, json_t *ids);
/* Every target that a policy is assigned to. */
apr_status_t mdm_recompute_mark_policy(mdm_db_t *db, const char *policy_id);
/* Computes one device now, if anything is marked. In the caller's transaction, which holds the device (mdm_delivery_hold). */
apr_status_t mdm_recompute_now(mdm_db_t *db, const char *device_id);
/* How much is left: marks, and devices found so far; since when (0: nothing). */
typedef struct mdm_recompute_left_t {
    apr_int64_t marks, devices, since_ms;
} mdm_recompute_left_t;
apr_status_t mdm_recompute_left(mdm_db_t *db, mdm_recompute_left_t *out);
/* The job; batches of one transaction each. */
apr_status_t mdm_recompute_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s);
/* How many devices a target reaches (POL: preview of an assignment), counted up to `most`. */
apr_status_t mdm_recompute_reach(mdm_db_t *db, const char *kind, const char *id, apr_int64_t most, apr_int64_t *count);

#endif
