/* Owns what has to be on a device because of its policies, and what is (POL-07, POL-08, POL-10, IOS-10): renders effective settings for the channels that
 * the device has, queues what changed, reads what came of it.
 *
 * A row of `delivery` says what a channel has to have (hash) and what the device said that it has (applied). States: pending (to be queued, queued, or
 * waiting for something), sent (the device took it), applied (the device has shown that it has it), failed (its error), not_applicable (the reason).
 * A row that is due is queued by the next settling, refresh or tidying; command_id is the command that carries it. */
#ifndef MDM_DELIVERY_H
#define MDM_DELIVERY_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_policy_profile.h"
#include "wire/mdm_eas_doc.h"

/* One device with what the resolver found. */
typedef struct mdm_delivery_device_t {
    const char *device_id;
    const char *result_id[MDM_POLICY_TYPES]; /* NULL: no policy of that type */
    json_t *settings[MDM_POLICY_TYPES];      /* policy_result.settings; borrowed, shared between devices */
} mdm_delivery_device_t;

/* Brings the delivery rows of a batch in line and queues what must be sent or taken away; the same content is never sent twice. A bounded number of
 * statements for any batch. In the batch's transaction. spread_ms: over how long the devices are woken. */
apr_status_t mdm_delivery_settle(mdm_db_t *db, const apr_array_header_t *devices /* of mdm_delivery_device_t */, apr_int64_t spread_ms);

/* What became of each setting on each way to a device, as mdm_compiled_t.outcomes; owned by the pool. APR_NOTFOUND: nothing is known of the device. */
apr_status_t mdm_delivery_outcomes(mdm_db_t *db, const char *device_id, json_t **out);

/* The ActiveSync document of a device as its policies ask, without what a client of that version does not know; *rev as mdm_delivery_rev() makes it of the row's hash.
 * APR_NOTFOUND: no policy asks for anything there. Opens nothing: call it between open and close. */
apr_status_t mdm_delivery_eas(mdm_db_t *db, const char *device_id, int version, mdm_eas_policy_t *policy, apr_uint32_t *rev);
/* The revision of a document with this hash; 0: none. */
apr_uint32_t mdm_delivery_rev(const char *hash);
/* The mail app acknowledged the document with this revision (an older one: nothing happens). error: NULL, or what it does not do, by mdm_said(). */
apr_status_t mdm_delivery_eas_said(mdm_db_t *db, const char *device_id, apr_uint32_t rev, const char *error);

/* First in every transaction that comes to devices by their records and changes what they are to have or have: these records and their devices, in an
 * order that is always the same (records: JSON ids), so that no two wait for each other. SQLite has one writer. */
apr_status_t mdm_delivery_hold(mdm_db_t *db, json_t *records);

/* ---- queueing (mdm_delivery_send.c); each in a transaction */
#define MDM_DELIVERY_KEY "policy." /* begins the coalesce keys of commands that carry policies */
/* Queues what is due of these devices (JSON ids). *count (may be NULL) = rows. */
apr_status_t mdm_delivery_send(mdm_db_t *db, json_t *ids, apr_int64_t spread_ms, int *count);
/* A device is asked for everything: what failed gets another try first (POL-10), and what waited for the device is queued. */
apr_status_t mdm_delivery_refresh(mdm_db_t *db, const char *record_id);
/* The record's queue was cleared: a new enrolment begins or the old one ends. */
apr_status_t mdm_delivery_cleared(mdm_db_t *db, const char *record_id);
/* Apple's management of the device has ended, and its profiles went with it. */
apr_status_t mdm_delivery_left(mdm_db_t *db, const char *device_id);
/* The account made by hand is gone, says its person or an administrator: the policy's own may come (EML-02). MDM_ECONFLICT: none is waited for. */
apr_status_t mdm_delivery_release(mdm_db_t *db, const char *device_id);
/* One bounded step of the job command.tidy: queues what is due, releases where no mail was asked for since, sweeps contents that nothing names. */
apr_status_t mdm_delivery_tidy(mdm_db_t *db, int *count);

/* ---- what a device says (mdm_delivery_said.c) */
/* The end of a command that may carry a policy, however often it is told; state and error as in mdm_command_said_t. *asked = 1: the device is asked
 * what it has now, and that waits in its queue. No transaction is needed around it. */
apr_status_t mdm_delivery_answered(mdm_db_t *db, const char *record_id, const char *command_id, const char *state, const char *error, int *asked);
/* A device's ProfileList or SecurityInfo was stored: deliveries as mdm_q_inventory_device() gave them (JSON, NULL = none). profiles: the
 * list in the form in which it is kept; NULL for SecurityInfo. In a transaction. */
typedef struct mdm_delivery_news_t {
    const char *device_id, *deliveries, *compliance;
    apr_int64_t passcode_present, passcode_compliant, encryption;
    json_t *profiles;
} mdm_delivery_news_t;
apr_status_t mdm_delivery_reported(mdm_db_t *db, const mdm_delivery_news_t *news);
/* Why a device is not compliant: [{"reason", "why"}], owned by the pool. */
apr_status_t mdm_delivery_reasons(mdm_db_t *db, const char *device_id, json_t **out);

#endif
