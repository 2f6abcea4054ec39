/* Owns ActiveSync source records: what a mail client may do, its first contact, finishing its enrolment, leaving. A record is found
 * by (person, DeviceId), never by DeviceId alone (R17). */
#ifndef MDM_EAS_H
#define MDM_EAS_H

#include "db/mdm_db.h"
#include "mdm_types.h"

/* What the gate does with a request (GATE-01). */
typedef enum {
    MDM_EAS_UNKNOWN,     /* no record yet: mdm_eas_first_contact() */
    MDM_EAS_ALLOW,
    MDM_EAS_PENDING,     /* the person has to finish the enrolment: no mail */
    MDM_EAS_SERVER_ONLY, /* policies and wipe, no mail */
    MDM_EAS_BLOCKED,     /* an administrator's decision, or retired */
    MDM_EAS_WIPE         /* wipe pending */
} mdm_eas_verdict_e;

/* Pure: from the cached record alone. NULL: unknown. */
mdm_eas_verdict_e mdm_eas_decide(const mdm_devrec_t *rec);
/* "allow", "pending", … for logs and notes. */
const char *mdm_eas_verdict_text(mdm_eas_verdict_e v);

/* A mail client as a request shows it. */
typedef struct mdm_eas_client_t {
    const char *person_id;
    const char *device_id;   /* canonical, mdm_eas_query_t.device_id */
    const char *device_type, *user_agent; /* "" if unknown */
    int version;             /* protocol version, 0 if unknown */
} mdm_eas_client_t;

/* The first request of (person, DeviceId): makes the record. A certain match (MAT-01) with one device of the same person joins that device
 * at once; else a pending device is made in the folder "Pending Enrollment" if the person may enrol mail clients. Repeated and
 * concurrent calls make one record. MDM_EDENIED with a sentence for the person: no enrolment policy, too many devices, e-mail not allowed;
 * nothing is stored then but an audit row and, where the DeviceId is another person's, a message on that device (GATE-05).
 * Opens its own connection and transaction. */
apr_status_t mdm_eas_first_contact(mdm_ctx_t *ctx, const mdm_eas_client_t *client);

/* The person finishes a pending mail device in the portal (POR-05): mail flows from then on. MDM_ECONFLICT if it isn't pending, MDM_EDENIED
 * if the policy does not allow this ownership, APR_NOTFOUND if it is not this person's. In a transaction. */
apr_status_t mdm_eas_complete(mdm_db_t *db, const char *person_id, const char *device_id, const char *ownership);

/* Ends the mail records of a device: no mail from then on, on all nodes. Called by retiring, unenrolling, removing. In a transaction. */
apr_status_t mdm_eas_leave(mdm_db_t *db, const char *device_id, const char *reason);

/* An Apple record has told its serial or EASDeviceIdentifier, or was enrolled: joins the person's pending mail device with that DeviceId
 * (MAT-01, MAT-08: the pending object goes, its record and history move). In a transaction. */
apr_status_t mdm_eas_match_apple(mdm_db_t *db, const char *record_id);

#endif
