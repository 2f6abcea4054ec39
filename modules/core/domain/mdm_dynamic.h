/* Owns dynamic groups (DEV-01): their criteria and base, and who is in them. Whoever changes a device need not think of them: triggers of
 * sql/schema/0005_policies.sql mark it, and mdm_recompute asks here first. */
#ifndef MDM_DYNAMIC_H
#define MDM_DYNAMIC_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_job.h"

#define MDM_DYNAMIC_JOB "group.refresh"
#define MDM_DYNAMIC_DEFAULT 60 /* minutes between two refreshes */
#define MDM_DYNAMIC_LEAST 5
#define MDM_DYNAMIC_MOST 527040
#define MDM_DYNAMIC_LOOKED 2000 /* devices that a preview looks at */

/* {"criteria", "base": {"kind", "id"}, "refreshed_at", "waiting", "version"}. APR_NOTFOUND, also for a static group. New reference. */
apr_status_t mdm_dynamic_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);
/* Criteria and base of a group, which is dynamic from now on; its devices are looked for by the job. base: {"kind": "zone" | "folder" | "group",
 * "id"}; NULL = the zone. MDM_EINPUT names the member, MDM_ECONFLICT: the base stands on the group itself. In a transaction; audited. */
apr_status_t mdm_dynamic_set(mdm_db_t *db, const char *id, json_t *criteria, json_t *base);
/* Devices are looked for now. */
apr_status_t mdm_dynamic_hasten(mdm_db_t *db, const char *id);
/* {"matching", "looked_at", "complete", "devices": [{"id", "name"}, …]}: the first of the caller's devices. */
apr_status_t mdm_dynamic_preview(mdm_db_t *db, json_t *criteria, json_t *base, json_t **out);
/* {"minutes": n} */
apr_status_t mdm_dynamic_period_json(mdm_db_t *db, const char *id, json_t **out);
apr_status_t mdm_dynamic_period_set(mdm_db_t *db, apr_int64_t minutes);

/* Brings all groups in line for some devices. ids: JSON list of at most some hundreds; changed: ids of those that came or went are added to this
 * object as keys. hold: evaluations come one behind the other; without, somebody else's later one corrects what was read too early. */
apr_status_t mdm_dynamic_devices(mdm_db_t *db, const char *ids, int hold, json_t *changed);
/* The job: every group that is due, in batches of one transaction. */
apr_status_t mdm_dynamic_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s);

#endif
