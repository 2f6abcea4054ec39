/* What the files of mail records share; of no interest elsewhere. */
#ifndef MDM_EAS_PRIV_H
#define MDM_EAS_PRIV_H

#include "domain/mdm_eas.h"
#include "domain/mdm_enroll.h"
#include "mdm_sql_gen.h"

/* Holds the person's mail records for this transaction, so that no two of them are matched at once. APR_NOTFOUND: no such person. */
apr_status_t mdm_eas_hold(mdm_db_t *db, const char *person_id);

/* Frees the place of this class on a device for a record ("" for a new one). MDM_ECONFLICT: another DeviceId holds it. by_word: the device itself
 * has told that the new one is its own; what held the place is ended then. One that only a mail server has told of always stands back. */
apr_status_t mdm_eas_slot_free(mdm_db_t *db, const char *device_id, const char *class, const char *record_id, int by_word);

/* Which record comes to which device, and why (MAT-03). */
typedef struct mdm_eas_join_t {
    const char *record_id, *native_id, *device_id;
    const char *tier;         /* NULL: "exact"; "attr": by likeness; "manual": somebody said so */
    const char *rule, *value; /* exact: "easid", "serial", "imei", "imei_id", "device_id"; else what was compared, or who said so */
    double score;             /* of a match by likeness */
    const char *merged;       /* name of the object that goes with this match, or NULL */
    int told;                 /* 1: only a mail server has told of it */
} mdm_eas_join_t;
/* Makes it an enrolled mail record of the device, whose place is free: mode and DeviceId of the device follow, timeline and audit say why. One that was
 * only told of stands on the device for information: it stays "discovered", and the device as it is (EAS-05). */
apr_status_t mdm_eas_join(mdm_db_t *db, const mdm_eas_join_t *join);

/* Brings a mail record onto a device: frees its place, joins, and lets the record's own object go with what belongs to the phone (MAT-08); the older of two
 * objects that were in use gives name and folder (MAT-07). j: tier, rule, value, score and device_id. by_word as above. MDM_ECONFLICT: the place is taken;
 * one that was only told of never takes the place of a mail client that is here.
 * The person is held. */
apr_status_t mdm_eas_take(mdm_db_t *db, const mdm_q_eas_record_t *mail, const mdm_eas_join_t *j, int by_word);

/* ---- mdm_eas_promise.c: open enrolments for mail only, made for the person. All in a transaction that holds the person. */

/* The one that a device of this platform and serial number (NULL: not known) uses up: the closest, then the oldest. *out NULL: there is none. */
apr_status_t mdm_eas_promised(mdm_db_t *db, const char *person_id, const char *platform, const char *serial, mdm_q_eas_promised_t **out);
/* It is used up by this device; audited. */
apr_status_t mdm_eas_promise_use(mdm_db_t *db, const char *pending_id, const char *device_id, const char *name);
/* Finishes a device that waits for its person if such an enrolment fits and nothing is left to ask. *kept: it is active. */
apr_status_t mdm_eas_promise_keep(mdm_db_t *db, const char *person_id, const char *device_id, const char *platform, const mdm_enroll_policy_t *policy,
                                  int *kept);

#endif
