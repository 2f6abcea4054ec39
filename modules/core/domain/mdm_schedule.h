/* Owns schedules: how often devices are asked for their information (zone → folder → device, DEV-05), and after how many days of silence one counts
 * as lost (zone → folder, DEV-06). */
#ifndef MDM_SCHEDULE_H
#define MDM_SCHEDULE_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_job.h"

#define MDM_SCHEDULE_MIN 60        /* minutes between two refreshes, at least */
#define MDM_SCHEDULE_DEFAULT 120
#define MDM_SCHEDULE_MAX 527040    /* a leap year */
#define MDM_LOST_DAYS_MAX 3660
#define MDM_SPREAD_JOB "schedule.spread"

/* Whose schedule. */
typedef enum { MDM_SCHEDULE_ZONE, MDM_SCHEDULE_FOLDER, MDM_SCHEDULE_DEVICE } mdm_schedule_scope_e;

/* What is set there and what holds: {"refresh": {"mode", "minutes"} or null, "lost": {"days": n, 0 = never} or null, "effective": {"refresh",
 * "refresh_from", "lost", "lost_from"}}; null: as above. …_from: {"scope", "id", "name"}. A device has "next_at" as well, and no own "lost".
 * id: "" for the zone. *version: of the object, 0 for the zone. APR_NOTFOUND, also for what the actor's folders don't hold. New reference. */
apr_status_t mdm_schedule_json(mdm_db_t *db, mdm_schedule_scope_e scope, const char *id, json_t **out, apr_int64_t *version);
/* What a folder says by itself, of its stored settings: {"refresh", "lost"}; null: as above. New reference. */
json_t *mdm_schedule_own(const char *settings);
/* Sets what is given; given_refresh, given_lost: 0 = leave; NULL values: as above (the zone: the default). Devices concerned are spread anew by the
 * job MDM_SPREAD_JOB. MDM_ESTALE, MDM_EINPUT, APR_NOTFOUND. In a transaction; audited. */
typedef struct mdm_schedule_edit_t {
    int given_refresh, given_lost;
    json_t *refresh, *lost;
} mdm_schedule_edit_t;
apr_status_t mdm_schedule_edit(mdm_db_t *db, mdm_schedule_scope_e scope, const char *id, apr_int64_t version, const mdm_schedule_edit_t *edit);

/* ---- background; each in batches of one transaction */
/* Asks the devices that are due and says when they are due next. What is long overdue, because the server was away, is spread over its period. */
apr_status_t mdm_schedule_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s);
/* Spreads the devices of a changed schedule over its period, from where an earlier run was cut. */
apr_status_t mdm_schedule_spread(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s);
/* Flags devices that were silent for too long. */
apr_status_t mdm_schedule_lost(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s);
/* A folder came under another one, or devices did: their due times are made anew. In a transaction. */
apr_status_t mdm_schedule_moved(mdm_db_t *db, const char *folder);

#endif
