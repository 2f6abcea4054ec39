/* Owns ActiveSync source records: what a mail client may do, its first contact, finishing its enrolment, leaving, and the certain matches
 * with managed devices. A record is found by (person, DeviceId), never by DeviceId alone (R17), and always belongs to a device object.
 *
 * Its state: "authenticated" (waits for the person), "enrolled" (mail flows while the device is active), "leaving" (its own wipe is asked
 * of it), "left". A left record stays live and answers for its object, so that a retired phone is known and refused; live = 0 means
 * that another DeviceId took its place on the device. */
#ifndef MDM_EAS_H
#define MDM_EAS_H

#include "db/mdm_db.h"
#include "mdm_types.h"
#include "wire/mdm_eas_mailbox.h"

/* What the gate does with a request (GATE-01). */
typedef enum {
    MDM_EAS_UNKNOWN,     /* no record yet: mdm_eas_first_contact() */
    MDM_EAS_ALLOW,
    MDM_EAS_PENDING,     /* the person has to finish the enrolment: no mail */
    MDM_EAS_SERVER_ONLY, /* policies and wipe, no mail */
    MDM_EAS_BLOCKED,     /* an administrator's decision, or retired */
    MDM_EAS_WIPE,        /* wipe pending */
    MDM_EAS_DENIED       /* no record is made: the person may not have this device (mdm_eas_first_contact) */
} mdm_eas_verdict_e;

/* Pure: from the cached record alone. NULL: unknown. A left record of an object that is not retired, blocked or being wiped is unknown, too:
 * its next request is a first contact, which continues that object (MAT-07). */
mdm_eas_verdict_e mdm_eas_decide(const mdm_devrec_t *rec);
/* "allow", "pending", … for logs and notes. */
const char *mdm_eas_verdict_text(mdm_eas_verdict_e v);

/* What kind of client this is, by device type and user agent: "native" (the system's own), "outlook:<app>", or "other" (stored with a number
 * behind it: there may be several). Pure, as the next two. */
const char *mdm_eas_class(apr_pool_t *p, const char *device_type, const char *user_agent);
/* "ios", "android", "windows", "blackberry" or "unknown". */
const char *mdm_eas_platform(const char *device_type, const char *user_agent);
/* What the user agent tells of the hardware ("Apple-iPhone10C5/1606.250": product iPhone10,5, build 16F250). "" for what it doesn't. */
typedef struct mdm_eas_hardware_t {
    const char *product, *model, *build;
} mdm_eas_hardware_t;
mdm_eas_hardware_t mdm_eas_hardware(apr_pool_t *p, const char *device_type, const char *user_agent);

/* A mail client as a request shows it. */
typedef struct mdm_eas_client_t {
    const char *person_id;
    const char *device_id;   /* canonical, mdm_eas_query_t.device_id */
    const char *device_type, *user_agent; /* "" if unknown */
    int version;             /* protocol version, 0 if unknown */
} mdm_eas_client_t;

#define MDM_EAS_PENDING_MAX 10 /* unfinished mail devices of one person */

/* A request whose verdict is MDM_EAS_UNKNOWN: makes the record, or takes up a left one. A certain match (MAT-01) with one active device of the
 * same person joins that device at once; else there is a pending device in the folder "Pending Enrollment" if the person may enrol mail
 * clients. Repeated and concurrent calls make one record. MDM_EDENIED with a sentence for the person: no enrolment policy, too many
 * devices, e-mail not allowed, protocol too old, the matching device is retired or blocked; nothing is stored then but an audit row (one a
 * day for each DeviceId). Where the DeviceId is another person's, there is a message on that device in both cases (GATE-05). Then
 * fail_field is the word of the text that the person finds in the inbox ("policy", "limit", "unfinished", "kind"), or NULL: that device gets none.
 * Opens its own connection and transaction. Ask for the record again afterwards. */
apr_status_t mdm_eas_first_contact(mdm_ctx_t *ctx, const mdm_eas_client_t *client);

/* What a mail client says of itself (PRV-04): renewed in its record if it is not what is kept there, a certain IMEI as a match key, and what nobody else
 * tells in its device, if that is known by mail only. agent, version: "" and 0 if they are not said now; info: NULL if not. Opens its own connection. */
apr_status_t mdm_eas_said(mdm_ctx_t *ctx, const char *record_id, const char *agent, int version, const mdm_eas_info_t *info);

/* ---- the message in the inbox of a device that has no mail (GATE-02). No database. */

/* "en" or "de": what the device says of itself (MS-LCID of the base64 form, Accept-Language; 0, NULL: nothing), else the zone's. */
const char *mdm_eas_language(unsigned lcid, const char *accept, const char *zone);
/* The inbox's name. */
const char *mdm_eas_inbox(const char *language);
typedef struct mdm_eas_note_ask_t {
    const char *word;       /* "pending", or as mdm_eas_first_contact() says */
    const char *language;
    const char *name, *mail; /* of the person; mail "" if unknown */
    const char *public_url; /* "https://mdm.example.org" */
} mdm_eas_note_ask_t;
/* NULL: there is no text of that word. In ctx's pool. */
const mdm_eas_note_t *mdm_eas_note(mdm_ctx_t *ctx, const mdm_eas_note_ask_t *ask);

/* The person finishes a mail device in the portal (POR-05): rules of the policy applied, mail flows from then on. A retired one may be
 * finished if the policy lets people enrol again by themselves (ENR-08). *final (may be NULL) is the device's id afterwards: another one if the
 * policy asks for a new object. MDM_ECONFLICT if it isn't pending, MDM_EDENIED if the policy does not allow it, APR_NOTFOUND if it is not
 * this person's. An open enrolment for mail only that was made for the person is used up by it, and says whose the device is. In a transaction. */
apr_status_t mdm_eas_complete(mdm_db_t *db, const char *person_id, const char *device_id, const char *ownership, const char **final);

/* The person says what system a mail device has that waits; does nothing if that is known, or the device is not theirs. In a transaction. */
apr_status_t mdm_eas_platform_said(mdm_db_t *db, const char *person_id, const char *device_id, const char *platform);

/* Ends the mail of a device: none from then on, on all nodes. Does nothing if it has none. Call it after the device's state was set, whenever a
 * device is retired, unenrolled, or removed by its owner. reason: a word for the timeline. In a transaction. */
apr_status_t mdm_eas_leave(mdm_db_t *db, const char *device_id, const char *reason);

/* A live Apple record was enrolled (told: NULL), or has told its EASDeviceIdentifier: joins the person's mail record with that DeviceId, or with
 * the one derived from its serial number (MAT-01). The mail's own object goes, its record and history move (MAT-08). Contradictory
 * cases are left alone (MAT-09). In a transaction. */
apr_status_t mdm_eas_match_apple(mdm_db_t *db, const char *record_id, const char *told);
/* A DeviceId or EASDeviceIdentifier as match key (space "easid"): upper-case letters and digits, at least 8. NULL: it is none. */
const char *mdm_eas_key(apr_pool_t *p, const char *device_id);

#endif
