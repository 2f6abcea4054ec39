/* Inside of schedules: the settings of zone and folders, in memory for one batch. */
#ifndef MDM_SCHEDULE_PLAN_H
#define MDM_SCHEDULE_PLAN_H

#include <apr_hash.h>

#include "domain/mdm_schedule.h"

typedef struct mdm_plan_t mdm_plan_t;
/* What holds, and where it was set. */
typedef struct mdm_plan_found_t {
    int value;         /* refresh: minutes, 0 = by hand; lost: days, 0 = never */
    const char *scope; /* "default", "zone", "folder", "device" */
    const char *id, *name;
} mdm_plan_found_t;

/* Reads zone and folders. */
apr_status_t mdm_plan_read(mdm_db_t *db, mdm_plan_t **out);
/* settings: JSON text of the device, may be NULL. */
void mdm_plan_refresh(const mdm_plan_t *plan, const char *folder, const char *settings, mdm_plan_found_t *out);
void mdm_plan_lost(const mdm_plan_t *plan, const char *folder, mdm_plan_found_t *out);
/* The shortest time in days after which somebody counts as lost; 0: nobody. */
int mdm_plan_lost_least(const mdm_plan_t *plan);
/* A number of [0, n), n > 0. */
apr_int64_t mdm_plan_random(apr_int64_t n);

#endif
