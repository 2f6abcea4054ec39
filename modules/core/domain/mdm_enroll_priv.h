/* Inside of enrolment (mdm_enroll_*.c): one that is under way, and where its rules put it. */
#ifndef MDM_ENROLL_PRIV_H
#define MDM_ENROLL_PRIV_H

#include "domain/mdm_enroll.h"

#define MDM_NAME_BYTES 120 /* of a device */

/* One enrolment under way. */
typedef struct mdm_begin_t {
    mdm_db_t *db;
    mdm_ctx_t *ctx;
    const mdm_pending_t *pending;
    const mdm_enroll_facts_t *facts;
    mdm_person_t *person;
    mdm_enroll_policy_t *policy;
    const char *udid, *serial, *imei; /* NULL instead of empty */
    const char *model, *platform;
    const char *self; /* id of the object that is named, "" for a new one: its own name is free */
    apr_int64_t now;
    int preview; /* before the device has said all of itself */
    int rule;        /* number of the rule that fits, from 1; 0: none does */
    json_t *missed;  /* NULL, or what the rules before it asked for: [{"rule", "why"}] */
} mdm_begin_t;

mdm_begin_t mdm_begin_make(mdm_db_t *db, const mdm_pending_t *pending, const mdm_enroll_facts_t *facts);
/* Folder and name by the first rule that fits; b->rule says which. MDM_EDENIED: none. */
apr_status_t mdm_begin_place(mdm_begin_t *b, const char **folder, const char **name);
/* NULL instead of an empty text; another text instead of none. */
const char *mdm_some(const char *s);
const char *mdm_text_or(const char *s, const char *fallback);

#endif
