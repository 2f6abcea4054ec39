/* Owns what has to be on a device because of its policies, and what is (POL-07, POL-08, POL-10, IOS-10): renders effective settings for the channels that
 * the device has, queues what changed, reads what came of it. */
#ifndef MDM_DELIVERY_H
#define MDM_DELIVERY_H

#include <jansson.h>
#include "db/mdm_db.h"

enum { MDM_POLICY_CONTROL, MDM_POLICY_SECURITY, MDM_POLICY_EMAIL, MDM_POLICY_TYPES }; /* that reach devices */
/* device_control security email */
extern const char *const mdm_policy_types[MDM_POLICY_TYPES];

/* One device with what the resolver found. */
typedef struct mdm_delivery_device_t {
    const char *device_id;
    const char *result_id[MDM_POLICY_TYPES]; /* NULL: no policy of that type */
    json_t *settings[MDM_POLICY_TYPES];      /* policy_result.settings; borrowed, shared between devices */
} mdm_delivery_device_t;

/* Brings the delivery rows of a batch in line and queues what must be sent or taken away; the same content is never sent twice. A bounded number of
 * statements for any batch. In the batch's transaction. spread_ms: over how long the devices are woken. */
apr_status_t mdm_delivery_settle(mdm_db_t *db, const apr_array_header_t *devices /* of mdm_delivery_device_t */, apr_int64_t spread_ms);

#endif
