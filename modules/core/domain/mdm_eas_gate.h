/* Owns how strict the gate is (GATE-03): on or detecting, with exceptions of single devices, and what mail is without an e-mail policy (spec 03). */
#ifndef MDM_EAS_GATE_H
#define MDM_EAS_GATE_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_eas.h"

/* Pure. What is done about a verdict: an exception of the device comes first, then detect mode lets everything pass but a wipe that is pending and a
 * device without a record of any kind. flags: MDM_DEVF_*. */
mdm_eas_verdict_e mdm_eas_enforce(mdm_eas_verdict_e verdict, apr_uint32_t flags, int detect);

typedef struct mdm_eas_gate_t {
    int detect;
    const char *language; /* of devices that don't say theirs: "en", "de" */
} mdm_eas_gate_t;
apr_status_t mdm_eas_gate(mdm_db_t *db, mdm_eas_gate_t *out);

/* {"mode": "on"|"detect", "without_policy": "auto"|"server_only"|"allow", "language": "en"|"de"}. New reference. */
apr_status_t mdm_eas_gate_json(mdm_db_t *db, const char *id, json_t **out);
/* Sets what is given in the body. MDM_EINPUT names the member. In a transaction; audited; obeyed on all nodes within seconds. */
apr_status_t mdm_eas_gate_edit(mdm_db_t *db, json_t *body);
/* The exception of one device: "allow", "block", "" for none. In a transaction; audited. APR_NOTFOUND: no such device. */
apr_status_t mdm_eas_gate_device(mdm_db_t *db, const char *device_id, const char *word);

#endif
