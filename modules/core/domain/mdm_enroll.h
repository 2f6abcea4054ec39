/* Owns pending enrolments: who may enrol what, links, single use, and how a finished one becomes a device object. */
#ifndef MDM_ENROLL_H
#define MDM_ENROLL_H

#include <apr_hash.h>
#include <jansson.h>
#include "domain/mdm_people.h"

/* What the effective enrolment policy of a person says (ENR-01..08); one policy as a whole. */
typedef struct mdm_enroll_policy_t {
    const char *policy_id, *policy_name;
    const char *ownership;   /* "choose", "corporate", "personal" */
    const char *level;       /* "choose", "managed", "email_only" */
    int ios, android, eas;   /* platforms that may enrol */
    const char *min_ios;     /* "8.0" */
    const char *min_android; /* "4.1" */
    const char *min_eas;     /* "12.1": protocol version of mail clients */
    int max_devices;         /* 0 = no limit */
    const char *unenroll_corporate, *unenroll_personal; /* "retire", "delete", "no" */
    const char *reenroll;    /* "unretire" (an administrator must), "self", "new" */
    int manual_reconcile;
    const void *rules;       /* json_t array: [{match:{…}, folder: id, name: template}] */
} mdm_enroll_policy_t;

/* MDM_EDENIED (with a sentence for the person) if no policy applies. */
apr_status_t mdm_enroll_policy(mdm_db_t *db, const mdm_person_t *person, mdm_enroll_policy_t **out);
/* The same, and the assignment that made it the one (POL-05). */
typedef struct mdm_policy_reason_t {
    const char *kind, *id, *name; /* of the target: person, user_group, user_folder, user_source */
} mdm_policy_reason_t;
apr_status_t mdm_enroll_policy_why(mdm_db_t *db, const mdm_person_t *person, mdm_enroll_policy_t **out, mdm_policy_reason_t *from);
/* Those of many people (JSON list of ids) by one query: person's id -> mdm_enroll_policy_t. Whoever has none, or one that can't be read, is not in it. */
apr_status_t mdm_enroll_policies(mdm_db_t *db, json_t *ids, apr_hash_t **out);
/* Checks the settings of an enrolment policy before they are saved: unknown fields, values, and template variables (ENR-04) are
 * MDM_EINPUT with the field's place ("settings.rules.0.name"). */
apr_status_t mdm_enroll_policy_check(mdm_ctx_t *ctx, json_t *settings);
/* The folders and groups that rules name are there; after mdm_enroll_policy_check(). MDM_EINPUT with the field's place. */
apr_status_t mdm_enroll_policy_there(mdm_db_t *db, json_t *settings);
/* What a new policy begins with: the defaults and the predefined rule (ENR-04). Owned by ctx->pool. */
apr_status_t mdm_enroll_policy_default(mdm_ctx_t *ctx, json_t **out);
/* The policy "Everyone" with defaults, assigned to a source; does nothing if it is there. For set-up. In a transaction or not. */
apr_status_t mdm_enroll_policy_create_demo(mdm_db_t *db, const char *source_id);
/* MDM_EINPUT, field "name", if a name template uses a variable that there is not. */
apr_status_t mdm_enroll_template_check(mdm_ctx_t *ctx, const char *pattern);
/* Replaces the variables of a name template; values[i] belongs to mdm_enroll_vars[i]. What it doesn't know stays as it is. */
#define MDM_ENROLL_VARS 7
extern const char *const mdm_enroll_vars[MDM_ENROLL_VARS];
char *mdm_enroll_expand(apr_pool_t *p, const char *pattern, const char *const values[MDM_ENROLL_VARS]);
/* MDM_EDENIED if the policy does not let this be enrolled: platform, level, ownership. */
apr_status_t mdm_enroll_allowed(mdm_ctx_t *ctx, const mdm_enroll_policy_t *policy, const char *platform, const char *ownership,
                                const char *level);
/* MDM_EDENIED if the policy wants a newer system on this platform (ENR-03). os_version NULL: not known, not held against it. */
apr_status_t mdm_enroll_system(mdm_ctx_t *ctx, const mdm_enroll_policy_t *policy, const char *platform, const char *os_version);
/* What the policy lets people do with a device of this ownership: "retire", "delete", "no" (ENR-05, ENR-07). */
const char *mdm_enroll_unenroll_mode(const mdm_enroll_policy_t *policy, const char *ownership);

typedef struct mdm_pending_t {
    const char *id, *person_id, *policy_id, *ownership, *level, *platform, *origin, *state, *device_id, *step;
    const char *person_login, *person_name, *person_mail;
    const char *expected_serial, *expected_imei; /* NULL: any */
    const char *proof_hash; /* of what a browser holds that has proved what was needed (mdm_otp_try); NULL: none yet */
    const char *phone, *mail, *notify, *language; /* "" = none, the person's, nobody is told, as the zone has it */
    const char *account, *apple_account; /* begun on the device (IOS-08): "byod" or "adde", and the managed Apple account; else "" */
    const char *folder_id;  /* where its device comes to be; NULL: as the rules say */
    apr_int64_t created_ms, valid_from_ms /* 0: at once */, expires_ms, version;
    int early;              /* its time has not begun */
} mdm_pending_t; /* state is "expired" as soon as the time is over, whatever the row still says */

#define MDM_ENROLL_CHANGE "enrollment" /* change row: enrolment policies, or whom they are for */
#define MDM_PENDING_LIFE_MS (24 * 3600 * 1000LL)
#define MDM_PENDING_MAX_OPEN 5   /* of one person, who makes them himself or for whom one is made */
#define MDM_PENDING_MAX_BULK 20  /* with those of bulk runs */
#define MDM_PENDING_AHEAD_MS (366 * 24 * 3600 * 1000LL) /* so far ahead one may begin */

/* What is said of an enrolment that is made for somebody. All texts may be NULL. */
typedef struct mdm_otp_conf_t mdm_otp_conf_t; /* domain/mdm_otp.h */
typedef struct mdm_provision_t {
    const char *platform, *ownership, *level;  /* "": any; as the policy fixes it, else personal, managed */
    const char *phone, *mail;                  /* E.164; "": none / the person's */
    const char *origin;                        /* "single", "bulk", "self" */
    const char *authorised_by;                 /* log-in of who authorised it */
    const char *run_id; apr_int64_t run_row;   /* of a bulk run: the same pair again answers the enrolment of the first time, and *made is 0 */
    const char *notify;                        /* "", "mail", "sms", "both" */
    const char *otp;                           /* a given one; else one is made if enrolling can need it */
    apr_int64_t otp_life_ms;                   /* 0: as the settings say */
    apr_int64_t valid_from_ms;                 /* of no use before; 0: at once. Its life begins then */
    const char *folder_id;                     /* where its device comes to be, whatever the rules say; the caller may see it */
    const char *expected_serial, *expected_imei; /* only this device */
    const char *language;                      /* of the notices */
    mdm_enroll_policy_t *policy;               /* the person's, of mdm_enroll_policies(); NULL: it is looked for */
    const mdm_otp_conf_t *conf;                /* of mdm_otp_conf(); NULL: it is read */
} mdm_provision_t;

/* In the caller's transaction: makes a pending enrolment for somebody by an administrator (PEN-01), a bulk run (PEN-06), or himself; checks the
 * policy, makes the one-time password and the notices. MDM_EDENIED, MDM_EINPUT, MDM_ECONFLICT with the field. *token: of its link; out: NULL
 * if nobody looks at it. */
apr_status_t mdm_pending_provision(mdm_db_t *db, const mdm_person_t *person, const mdm_provision_t *how, mdm_pending_t **out,
                                   const char **token, int *made);
/* A phone number as E.164 ("+" and 7 to 15 digits) from what people write, with blanks, dashes, brackets, 00; "" stays. MDM_EINPUT by field. */
apr_status_t mdm_phone_check(mdm_ctx_t *ctx, const char *field, const char *text, const char **out);
/* A serial number, an IMEI, as they are kept to name the only device that may use an enrolment: as matching compares them; "" stays. MDM_EINPUT by field for what
 * would never come back from a device. */
apr_status_t mdm_serial_check(mdm_ctx_t *ctx, const char *field, const char *text, const char **out);
apr_status_t mdm_imei_check(mdm_ctx_t *ctx, const char *field, const char *text, const char **out);

apr_status_t mdm_pending_get(mdm_db_t *db, const char *id, mdm_pending_t **out);
/* By link token, constant-time by hash: APR_NOTFOUND for unknown, MDM_EDENIED for used, expired, cancelled (R15). */
apr_status_t mdm_pending_by_token(mdm_db_t *db, const char *token, mdm_pending_t **out);
/* The same in any state, for the page that shows how it goes. APR_NOTFOUND for unknown ones only. */
apr_status_t mdm_pending_look(mdm_db_t *db, const char *token, mdm_pending_t **out);
/* True until it has ended or the certificate was issued: created, opened, profile. */
int mdm_pending_open(const mdm_pending_t *pending);
/* True while the link may hand out a profile: open, and its time has begun. */
int mdm_pending_usable(const mdm_pending_t *pending);
/* MDM_EDENIED with the sentence for whoever comes with one that is not usable; of one that is too early it says from when, with the field "valid_from". */
apr_status_t mdm_pending_refuse(mdm_ctx_t *ctx, const mdm_pending_t *pending);
/* The token of a new link, as it is found and as it is kept. */
typedef struct mdm_pending_link_t {
    const char *token, *hash, *sealed, *head;
} mdm_pending_link_t;
/* So many characters name a link where the whole must not stand; what is left of it is more than 128 bits. */
#define MDM_PENDING_HEAD 8
/* Those of a link, a token, or a token's beginning; NULL: there are not so many. */
const char *mdm_pending_head(apr_pool_t *p, const char *given);
apr_status_t mdm_pending_link_make(mdm_ctx_t *ctx, const char *id, mdm_pending_link_t *out);
/* The link's token again, for its owner. */
apr_status_t mdm_pending_token(mdm_db_t *db, const char *id, const char **token);
/* What was handed out for it is good for nothing from now on: its challenges, used or not, and the identities that were issued for them. In a transaction. */
apr_status_t mdm_pending_void(mdm_db_t *db, const char *id, const char *reason);
/* Ends it, and what was handed out for it. MDM_ECONFLICT: it has ended. In a transaction; audited. */
apr_status_t mdm_pending_cancel(mdm_db_t *db, const char *id);

/* A fresh single-use SCEP challenge for a pending enrolment (30 minutes); an earlier unused one of it dies. */
apr_status_t mdm_challenge_create(mdm_db_t *db, const mdm_pending_t *pending, const char *subject, const char **challenge);
/* The same for the steps before (IOS-07): */
#define MDM_CHALLENGE_SERVICE "service" /* an answer to the Profile Service; SCEP does not take it */
#define MDM_CHALLENGE_REPORT "report"   /* the identity that signs the second answer: short-lived, and good for nothing else */
apr_status_t mdm_challenge_create_for(mdm_db_t *db, const mdm_pending_t *pending, const char *subject, const char *purpose,
                                      const char **challenge);

/* A fresh single-use challenge by which the device of a record renews its identity, good for life_ms; an earlier unused one dies. The
 * caller made the text (mdm_challenge_text), as it signs it into a profile before it has a connection. */
apr_status_t mdm_challenge_renew(mdm_db_t *db, const char *record_id, const char *challenge, const char *subject,
                                 apr_int64_t life_ms);
/* The random text of a challenge; NULL without randomness. */
const char *mdm_challenge_text(apr_pool_t *p);

typedef struct mdm_challenge_t {
    const char *hash, *pending_id, *record_id, *subject;
    const char *purpose;     /* "identity", or one of MDM_CHALLENGE_* */
    const char *fingerprint; /* not NULL: the same request came before, this was issued for it */
} mdm_challenge_t;
/* Takes a challenge: exactly one caller ever gets it. The same request (csr_hash) of the same client may repeat and gets the fingerprint
 * issued before. MDM_EDENIED for unknown, used or expired ones. Call in a transaction, then mdm_challenge_issued(). */
apr_status_t mdm_challenge_take(mdm_db_t *db, const char *challenge, const char *csr_hash, const char *transaction_id,
                                mdm_challenge_t **out);
apr_status_t mdm_challenge_issued(mdm_db_t *db, const char *hash, const char *fingerprint);
/* The same with a challenge of MDM_CHALLENGE_SERVICE; body_hash: of what the device said, which may be repeated. */
apr_status_t mdm_challenge_take_service(mdm_db_t *db, const char *challenge, const char *body_hash, mdm_challenge_t **out);
/* APR_SUCCESS if this identity was issued for the second answer of this enrolment, else APR_NOTFOUND. */
apr_status_t mdm_challenge_reporter(mdm_db_t *db, const char *pending_id, const char *fingerprint);

/* What Authenticate (or an agent's first call) says of the device. Any may be NULL. */
typedef struct mdm_enroll_facts_t {
    const char *kind;        /* source_record.kind */
    const char *native_id;   /* UDID or EnrollmentID */
    const char *udid, *serial, *imei, *product, *model, *os_version, *build, *platform, *name, *topic;
} mdm_enroll_facts_t;

/* For enrolments without a link (mail clients). MDM_EDENIED if the person has as many devices as the policy allows; `has` of them are the
 * one in question. */
apr_status_t mdm_enroll_room(mdm_db_t *db, const mdm_enroll_policy_t *policy, const char *person_id, int has);
/* Folder and name that the policy's rules give to such a device (ENR-04); self: id of the object if there is one, else "". MDM_EDENIED:
 * no rule fits. */
apr_status_t mdm_enroll_place(mdm_db_t *db, mdm_person_t *person, mdm_enroll_policy_t *policy,
                              const mdm_enroll_facts_t *facts, const char *ownership, const char *level,
                              const char *self, const char **folder, const char **name);
/* Whether a person could enrol such a device now, which policy says so, and which rule would name it; changes nothing, not in a transaction.
 * ownership, level: "" = as the policy fixes it, else personal, managed. What facts don't say of the system is not held against it.
 * {"policy": {"id", "name", "target"}, "ownership", "level", "allowed", "reason", "field", "missed": [{"rule", "why"}], "rule", "name", "folder"};
 * why: the criterion that does not fit, "person" for groups and folders. APR_NOTFOUND: no such person. New reference. */
apr_status_t mdm_enroll_why_json(mdm_db_t *db, const char *person_id, const mdm_enroll_facts_t *facts, const char *ownership, const char *level,
                                 json_t **out);
/* A free name by this template. */
apr_status_t mdm_enroll_name(mdm_db_t *db, mdm_person_t *person, const mdm_enroll_facts_t *facts, const char *pattern,
                             const char **name);

/* In the caller's transaction: turns a pending enrolment plus facts into a device object and a live source record, applying the enrolment
 * rules (folder, name template, duplicate names), re-using the object that the same UDID or serial has (MAT-07). Another person's
 * object is retired if this enrolment was proved by a log-in and the old identity has not been used since it was made; else it is denied.
 * The old queue is cleared (R39), the generation raised. Device state stays pending until the channel says enrolled. Denials are
 * MDM_EDENIED with the reason. */
apr_status_t mdm_enroll_begin(mdm_db_t *db, const mdm_pending_t *pending, const mdm_enroll_facts_t *facts,
                              const char **device_id, const char **record_id);
/* Whether mdm_enroll_begin() would let this device in, in a transaction of its own that changes nothing (IOS-07). What the device did not
 * say yet is not held against it. */
apr_status_t mdm_enroll_preview(mdm_db_t *db, const mdm_pending_t *pending, const mdm_enroll_facts_t *facts);
/* Notes what the device says of itself before it has an identity. From then on the enrolment is for this device (UDID) alone, until its
 * profile is fetched and answered again. In the caller's transaction. */
apr_status_t mdm_pending_reported(mdm_db_t *db, const char *pending_id, const mdm_enroll_facts_t *facts);
/* The channel is up (first TokenUpdate): device active, pending completed, events and audit written. MDM_ECONFLICT: the device or its enrolment is not
 * at that any more, as one that was reset meanwhile. */
apr_status_t mdm_enroll_complete(mdm_db_t *db, const char *pending_id, const char *device_id, const char *record_id);
/* After a refusal of mdm_enroll_begin() and the rollback: writes what happened where people look (step, audit, and a message on the device
 * that the identifiers belong to). In a transaction of its own. */
apr_status_t mdm_enroll_refused(mdm_db_t *db, const mdm_pending_t *pending, const mdm_enroll_facts_t *facts, const char *why);
/* The same before there is an identity (mdm_enroll_preview()), in its own transaction: db is in none. MDM_EDENIED with the refusal that the context holds,
 * which is what the caller answers, whatever becomes of the note. */
apr_status_t mdm_enroll_refused_early(mdm_db_t *db, const mdm_pending_t *pending, const mdm_enroll_facts_t *facts);
/* A step for the timeline and the portal's live view: "opened", "profile", "issued", "authenticated"; error NULL or a sentence. */
apr_status_t mdm_pending_step(mdm_db_t *db, const char *pending_id, const char *step, const char *error);

#endif
