/* Owns pending enrolments: who may enrol what, links, single use, and how a finished one becomes a device object. */
#ifndef MDM_ENROLL_H
#define MDM_ENROLL_H

#include "domain/mdm_people.h"

/* What the effective enrolment policy of a person says (ENR-01..08); one policy as a whole. */
typedef struct mdm_enroll_policy_t {
    const char *policy_id, *policy_name;
    const char *ownership;   /* "choose", "corporate", "personal" */
    const char *level;       /* "choose", "managed", "email_only" */
    int ios, android, eas;   /* platforms that may enrol */
    const char *min_ios;     /* "8.0" */
    int max_devices;         /* 0 = no limit */
    const char *unenroll_corporate, *unenroll_personal; /* "retire", "delete", "no" */
    const char *reenroll;    /* "unretire" (an administrator must), "self", "new" */
    int manual_reconcile;
    const void *rules;       /* json_t array: [{match:{…}, folder: id, name: template}] */
} mdm_enroll_policy_t;

/* MDM_EDENIED (with a sentence for the person) if no policy applies. */
apr_status_t mdm_enroll_policy(mdm_db_t *db, const mdm_person_t *person, mdm_enroll_policy_t **out);

typedef struct mdm_pending_t {
    const char *id, *person_id, *policy_id, *ownership, *level, *platform, *origin, *state, *device_id, *step;
    const char *person_login, *person_name, *person_mail;
    apr_int64_t created_ms, expires_ms, version;
} mdm_pending_t;

/* Makes a pending enrolment for a person (at most 5 open; the number of devices is checked). *token is the link's token. */
apr_status_t mdm_pending_create(mdm_db_t *db, const mdm_person_t *person, const char *platform, const char *ownership,
                                const char *level, const char *origin, mdm_pending_t **out, const char **token);
apr_status_t mdm_pending_get(mdm_db_t *db, const char *id, mdm_pending_t **out);
/* By link token, constant-time by hash: APR_NOTFOUND for unknown, MDM_EDENIED for used, expired, cancelled (R15). */
apr_status_t mdm_pending_by_token(mdm_db_t *db, const char *token, mdm_pending_t **out);
apr_status_t mdm_pending_cancel(mdm_db_t *db, const char *id);

/* A fresh single-use SCEP challenge for a pending enrolment (30 minutes); an earlier unused one of it dies. */
apr_status_t mdm_challenge_create(mdm_db_t *db, const mdm_pending_t *pending, const char *subject, const char **challenge);

typedef struct mdm_challenge_t {
    const char *hash, *pending_id, *record_id, *subject;
    const char *fingerprint; /* not NULL: the same request came before, this was issued for it */
} mdm_challenge_t;
/* Takes a challenge: exactly one caller ever gets it. The same request (csr_hash) of the same client may repeat and gets the fingerprint
 * issued before. MDM_EDENIED for unknown, used or expired ones. Call in a transaction, then mdm_challenge_issued(). */
apr_status_t mdm_challenge_take(mdm_db_t *db, const char *challenge, const char *csr_hash, const char *transaction_id,
                                mdm_challenge_t **out);
apr_status_t mdm_challenge_issued(mdm_db_t *db, const char *hash, const char *fingerprint);

/* What Authenticate (or an agent's first call) says of the device. Any may be NULL. */
typedef struct mdm_enroll_facts_t {
    const char *kind;        /* source_record.kind */
    const char *native_id;   /* UDID or EnrollmentID */
    const char *udid, *serial, *imei, *product, *model, *os_version, *build, *platform, *name, *topic;
} mdm_enroll_facts_t;
/* In the caller's transaction: turns a pending enrolment plus facts into a device object and a live source record, applying the enrolment
 * rules (folder, name template, duplicate names), re-using the object that the same UDID or serial has (MAT-07, re-enrolment by the same
 * person; 15-decisions for another person), clearing the old queue (R39), raising generation. Device state stays pending until the channel
 * says enrolled. Denials are MDM_EDENIED with the reason. */
apr_status_t mdm_enroll_begin(mdm_db_t *db, const mdm_pending_t *pending, const mdm_enroll_facts_t *facts,
                              const char **device_id, const char **record_id);
/* The channel is up (first TokenUpdate): device active, pending completed, events and audit written. */
apr_status_t mdm_enroll_complete(mdm_db_t *db, const char *pending_id, const char *device_id, const char *record_id);
/* A step for the timeline and the portal's live view: "opened", "profile", "issued", "authenticated"; error NULL or a sentence. */
apr_status_t mdm_pending_step(mdm_db_t *db, const char *pending_id, const char *step, const char *error);

#endif
