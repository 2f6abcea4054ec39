/* What the files of mail records share; of no interest elsewhere. */
#ifndef MDM_EAS_PRIV_H
#define MDM_EAS_PRIV_H

#include "domain/mdm_eas.h"
#include "domain/mdm_enroll.h"
#include "mdm_sql_gen.h"

/* Holds the person's mail records for this transaction, so that no two of them are matched at once. APR_NOTFOUND: no such person. */
apr_status_t mdm_eas_hold(mdm_db_t *db, const char *person_id);

#define MDM_EAS_SILENT_MS (30 * 24 * 3600 * 1000LL) /* so long without a word, a mail client holds no place against another one */

/* Frees the place of this class on a device for a record ("" for a new one) that comes by this rule of the tier "exact", or NULL: by a guess or by hand.
 * What has left or been silent is ended; what was guessed is parted from the device by a certain one; what the device itself has told ("easid") ends every
 * other one. MDM_ECONFLICT: another DeviceId holds the place. One that only a mail server has told of always stands back. */
apr_status_t mdm_eas_slot_free(mdm_db_t *db, const char *device_id, const char *class, const char *record_id, const char *exact);

/* "exact", "attr", "manual", or "": why it stands where it stands. Of a record's match_rule. */
const char *mdm_eas_tier(mdm_ctx_t *ctx, const char *match_rule);
/* Takes a record off its device: the object that it had comes back with its history, groups and assignments, and the device has its own name again; where
 * none is known, there is a new one. It is as it was with as_it_was, else active, so that mail goes on. *out: its object; of one that was only told of, the
 * device that it was on. The person is held. */
apr_status_t mdm_eas_part(mdm_db_t *db, const char *record_id, int as_it_was, const char **out);
/* Remembers what that needs, before `from` goes. by_person: its owner wants it so. */
apr_status_t mdm_eas_undo_note(mdm_db_t *db, const char *record_id, const char *from, const char *to, int by_person);

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
 * objects that were in use gives name and folder (MAT-07). One that stands on a managed device is parted from that first. j: tier, rule, value, score and
 * device_id. MDM_ECONFLICT: the place is taken; one that was only told of never takes the place of a mail client that is here. The person is held. */
apr_status_t mdm_eas_take(mdm_db_t *db, const mdm_q_eas_record_t *mail, const mdm_eas_join_t *j);

/* ---- mdm_eas_promise.c: open enrolments for mail only, made for the person. All in a transaction that holds the person. */

/* The one that a device of this platform and serial number (NULL: not known) uses up: the closest, then the oldest. *out NULL: there is none. */
apr_status_t mdm_eas_promised(mdm_db_t *db, const char *person_id, const char *platform, const char *serial, mdm_q_eas_promised_t **out);
/* It is used up by this device; audited. */
apr_status_t mdm_eas_promise_use(mdm_db_t *db, const char *pending_id, const char *device_id, const char *name);
/* Finishes a device that waits for its person if such an enrolment fits and nothing is left to ask. *kept: it is active. */
apr_status_t mdm_eas_promise_keep(mdm_db_t *db, const char *person_id, const char *device_id, const char *platform, const mdm_enroll_policy_t *policy,
                                  int *kept);

#endif
