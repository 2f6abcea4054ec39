/* Owns the checklist of a new zone (spec 12, Getting started): what is done is computed from what is there each time, never stored. */
#ifndef MDM_START_H
#define MDM_START_H

#include <jansson.h>
#include "db/mdm_db.h"

/* {"items": [{"id", "group" (first then), "state" (done open attention), "said", "text" (why it is not done, as domain/mdm_said.h has it; null and "" when
 * it is), "page" (of the console), "right" (to open it), "help" (page and section of the manual)}], "done", "total" (of the first group), "fresh" (no
 * device was ever enrolled)}. New reference. */
apr_status_t mdm_start_json(mdm_db_t *db, json_t **out);

#endif
