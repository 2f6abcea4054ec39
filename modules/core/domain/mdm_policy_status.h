/* Owns what people see of policies at work (POL-06, POL-08): how far their delivery is, which settings a device has and where each came from. */
#ifndef MDM_POLICY_STATUS_H
#define MDM_POLICY_STATUS_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_page.h"

/* Words of the table delivery; end with NULL. */
extern const char *const mdm_delivery_states[];
extern const char *const mdm_delivery_channels[];

/* {"counts": [{"channel", "state", "devices"}]}; for somebody with ctx->actor.limit of his devices alone. APR_NOTFOUND. New reference. */
apr_status_t mdm_policy_status_json(mdm_db_t *db, const char *id, json_t **out);

typedef struct mdm_policy_devices_t {
    const char *policy, *channel, *state; /* "" = any channel, any state */
} mdm_policy_devices_t;
/* One page of the devices behind those counts. APR_NOTFOUND. */
apr_status_t mdm_policy_devices_json(mdm_db_t *db, const mdm_policy_devices_t *what, const mdm_page_t *page, json_t *items, const char **next);

/* All that policies do to a device: {"computing", "policies", "types", "deliveries"}. New reference. */
apr_status_t mdm_device_policies_json(mdm_db_t *db, const char *id, json_t **out);
/* What policies give to a person, whatever devices add (POL-05, POL-06): {"corporate", "personal"}, each [{"type", "settings"}] as for a device, of the
 * versions in force. APR_NOTFOUND. New reference. */
apr_status_t mdm_person_policies_json(mdm_db_t *db, const char *id, json_t **out);

#endif
