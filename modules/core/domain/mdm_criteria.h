/* Owns the criteria of dynamic groups (DEV-01): what is allowed in them, and which devices they match. Pure: no database, no clock. */
#ifndef MDM_CRITERIA_H
#define MDM_CRITERIA_H

#include "base/mdm_json.h"

#define MDM_CRITERIA_DEPTH 8
#define MDM_CRITERIA_PARTS 100 /* conditions and joints in all */
#define MDM_CRITERIA_TEXT 200  /* bytes of a value */
#define MDM_CRITERIA_LIST 100  /* values of "in" */

/* {"all": [criteria, …]}, {"any": [criteria, …]}, {"not": criteria}, or {"field": "os_version", "op": "lt", "value": "17.2"}.
 * MDM_EINPUT names the path at fault, like criteria.all[1].op. */
apr_status_t mdm_criteria_check(mdm_ctx_t *ctx, const json_t *criteria);
/* Whether checked criteria match a device: {"<column>": value or null, …, "inventory": {…}, "apps": ["<identifier>", …]}. What is not known is
 * nothing: only ne, lacks and "set": false are true for it. */
int mdm_criteria_match(const json_t *criteria, const json_t *device);
/* Fields with their operators, for editors: [{"field", "type", "ops": […]}]. New reference. */
json_t *mdm_criteria_fields(void);

#endif
