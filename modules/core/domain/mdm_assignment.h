/* Owns assignments of policies: to whom they are given, in which order, what wins between person and device (POL-05). Functions that write run in the
 * caller's transaction, are audited, and leave their mark for recomputing there. An assignment goes with its policy and with its target.
 *
 * Somebody with ctx->actor.limit assigns to his folders and their devices only (MDM_EDENIED for all else), and of the assignments to devices and
 * folders he sees those. */
#ifndef MDM_ASSIGNMENT_H
#define MDM_ASSIGNMENT_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_page.h"

#define MDM_ASSIGN_AT_ONCE 200
#define MDM_ASSIGN_OF_TARGET 200     /* policies on one target */
#define MDM_ASSIGN_REACH_MAX 100000  /* where counting devices ends */
#define MDM_ASSIGN_MANY 20           /* reaching more devices than these has to be confirmed by their number */
#define MDM_ASSIGN_POSITION_MAX 1000000

/* person user_group user_folder user_source device device_group folder, ends with NULL. */
extern const char *const mdm_target_kinds[];
/* user_first device_first device_only user_only, ends with NULL. */
extern const char *const mdm_conflict_rules[];

typedef struct mdm_assignment_filter_t {
    const char *policy;       /* "" = any */
    const char *kind, *target; /* both or none ("") */
} mdm_assignment_filter_t;
/* One page, pushed onto items; of a target all at once, in the order in which they count. */
apr_status_t mdm_assignments_json(mdm_db_t *db, const mdm_assignment_filter_t *f, const mdm_page_t *page, json_t *items, const char **next);
apr_status_t mdm_assignment_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);
/* Gives a policy to targets, all or none: [{"kind", "id", "conflict", "position"}]; the last two may be absent, conflict is for device, device_group
 * and folder. Refusals name "targets.<n>" or a member of it. MDM_ECONFLICT: it is assigned there already. confirm: how many devices the caller
 * takes this to reach, 0 if he did not say; refused under "confirm" if they are many and another number, as mdm_assign_preview() counts. *made: as
 * mdm_assignments_json() lists them. New reference. */
apr_status_t mdm_assign(mdm_db_t *db, const char *policy, json_t *targets, apr_int64_t confirm, json_t **made);
/* conflict, position: NULL = as it is. */
apr_status_t mdm_assignment_edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *conflict, const apr_int64_t *position);
/* confirm: as for mdm_assign(). */
apr_status_t mdm_assignment_delete(mdm_db_t *db, const char *id, apr_int64_t version, apr_int64_t confirm);
/* How many devices would be computed again: of these targets ([{"kind", "id"}]), or of all that the policy is assigned to (the other one is NULL).
 * {"devices", "exact", "targets": [{"kind", "id", "name", "devices"}]}; devices of several targets are added up, so that exact is false for them
 * and where counting ended. New reference. */
apr_status_t mdm_assign_preview(mdm_db_t *db, const char *policy, json_t *targets, json_t **out);
/* The name of a target; "" if it is not there. */
apr_status_t mdm_target_name(mdm_db_t *db, const char *kind, const char *id, const char **name);

#endif
