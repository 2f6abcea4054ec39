/* Owns taking answers to queries into the device object (IOS-09, DEV-04). Absent keys are normal and change nothing. */
#ifndef MDM_APPLE_INVENTORY_H
#define MDM_APPLE_INVENTORY_H

#include "db/mdm_db.h"
#include "wire/mdm_plist.h"

/* Takes the answer to one acknowledged command: one statement; more only if something changed that people want to see (a device event) or
 * that matching needs. Commands without an inventory answer are APR_SUCCESS without any. MDM_EINPUT, MDM_ETOOBIG: the answer is not
 * what the command asked for; nothing was changed. */
apr_status_t mdm_apple_absorb(mdm_db_t *db, const char *device_id, const char *request_type, const mdm_plist_t *answer);
/* True if an answer holds something that mdm_apple_absorb() would store, whatever the command was. */
int mdm_apple_inventory_in(const mdm_plist_t *answer);
/* What an answer says that is not stored with the device, as bounded JSON; NULL if it says nothing. */
const char *mdm_apple_result(mdm_ctx_t *ctx, const mdm_plist_t *answer);

/* The DeviceInformation query keys, NULL-terminated. */
extern const char *const mdm_apple_device_queries[];
/* True if Apple lets no user enrolment be asked for it (IOS-08): numbers of the device and of its lines, its owner's accounts and backups. */
int mdm_apple_query_hidden(const char *query);

/* ---- how lists of an answer are kept (mdm_apple_sections.c): bounded JSON with names of our own; new references */
json_t *mdm_apple_bounded(mdm_ctx_t *ctx, const mdm_plist_t *node); /* NULL if it can't be kept */
json_t *mdm_apple_profiles(mdm_ctx_t *ctx, const mdm_plist_t *list);
json_t *mdm_apple_certificates(mdm_ctx_t *ctx, const mdm_plist_t *list);
json_t *mdm_apple_provisioning(mdm_ctx_t *ctx, const mdm_plist_t *list);
json_t *mdm_apple_managed_apps(mdm_ctx_t *ctx, const mdm_plist_t *dict);
json_t *mdm_apple_restrictions(mdm_ctx_t *ctx, const mdm_plist_t *dict);
/* Mobile lines, the one that carries data first, from ServiceSubscriptions or, before system 26, from the flat keys. */
json_t *mdm_apple_lines(mdm_ctx_t *ctx, const mdm_plist_t *responses);

#endif
