/* Owns taking answers to queries into the device object (IOS-09). Absent keys are normal and change nothing. */
#ifndef MDM_APPLE_INVENTORY_H
#define MDM_APPLE_INVENTORY_H

#include "db/mdm_db.h"
#include "wire/mdm_plist.h"

/* Takes the answer to one acknowledged command: one statement (SQLite needs two for the list of apps); more only when it tells a new
 * EASDeviceIdentifier, which is then looked for among the person's mail clients (MAT-01). Commands without an
 * inventory answer are APR_SUCCESS without any. MDM_EINPUT: the answer is not what the command asked for; nothing was
 * changed. */
apr_status_t mdm_apple_absorb(mdm_db_t *db, const char *device_id, const char *request_type, const mdm_plist_t *answer);

/* The DeviceInformation query keys, NULL-terminated. */
extern const char *const mdm_apple_device_queries[];

#endif
