/* Owns partnerships that have gone silent (PXY-06): mail apps that have not synced for so many days, and what ends them. */
#ifndef MDM_EAS_STALE_H
#define MDM_EAS_STALE_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_page.h"

#define MDM_STALE_DAYS 30 /* if nothing else is said */
#define MDM_STALE_DAYS_MAX 3650
#define MDM_STALE_ENDS 100 /* of one call */

/* One page of them, the longest silent first; within the actor's folders. Apps that never synced count from their first request. A page visits a
 * bounded number of rows, and may be short with more behind it (PRF-09). */
apr_status_t mdm_eas_stale_list(mdm_db_t *db, apr_int64_t days, const mdm_page_t *page, json_t *items, const char **next);

/* What is to be ended, and how. */
typedef struct mdm_stale_end_t {
    apr_int64_t days;
    json_t *records; /* ids, at most MDM_STALE_ENDS; NULL: the longest silent ones, so many */
    int del;         /* an object that is known by mail alone goes; else it is retired */
    const char *reason;
} mdm_stale_end_t;
/* Ends them one after another, each in a transaction of its own, audited: the device object, if it is known by mail alone and has no other mail
 * app; else this app's part of it. One that has synced meanwhile, is gone, is leaving, or is none of the actor's, is passed over. {"ended", "passed"},
 * new reference; ended 0: no more can be ended. MDM_EINPUT names the field. Opens its own connection. */
apr_status_t mdm_eas_stale_end(mdm_ctx_t *ctx, const mdm_stale_end_t *what, json_t **out);

#endif
