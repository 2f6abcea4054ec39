/* Owns the background matcher (MAT-02, MAT-04, MAT-10) and what people decide where it could not (MAT-03, MAT-05, MAT-06). Triggers of
 * the schema leave a mark for everybody whose unmatched mail record, or device, has changed; nobody else is looked at. */
#ifndef MDM_MATCH_RUN_H
#define MDM_MATCH_RUN_H

#include <jansson.h>
#include "domain/mdm_job.h"
#include "domain/mdm_page.h"

#define MDM_MATCH_JOB "match.run"

/* The job: looks at marked people in batches of one transaction each, waits for nobody who is at work with one of them, and comes again after the set
 * time. Its result: {"people", "exact", "attr", "exceptions", "left", "took_ms"}. */
apr_status_t mdm_match_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s);
/* Everybody is looked at, and now (a change of rules; an administrator's wish). In a transaction. */
apr_status_t mdm_match_all(mdm_db_t *db);
/* Those with marks are looked at now. In a transaction. */
apr_status_t mdm_match_soon(mdm_db_t *db);

/* {"minutes", "mode": one of mdm_match_modes, "open": exceptions, "waiting": marks, "last": the result of the last run with its times or null}. New reference. */
apr_status_t mdm_match_state(mdm_db_t *db, const char *id, json_t **out);
/* {"minutes": 1..1440, "mode": if it is to change; then everybody is looked at once more, and what was joined stays}. In a transaction; audited. */
apr_status_t mdm_match_set(mdm_db_t *db, json_t *body);

/* ---- exceptions (MAT-04): id is the mail record's. Items: {id, code, origin, since, ignored, person, device, device_id, class, type, user_agent, first_seen,
 * last_seen, candidates: [{device, name, score, why, excluded}]} */
typedef struct mdm_match_filter_t {
    const char *code; /* "" = any */
    const char *origin; /* "" = any; mdm_match_origins */
    int ignored;      /* 1: those too */
} mdm_match_filter_t;
apr_status_t mdm_match_exceptions(mdm_db_t *db, const mdm_page_t *page, const mdm_match_filter_t *f, json_t *items, const char **next);
extern const char *const mdm_match_codes[]; /* NULL-terminated, as the next */
extern const char *const mdm_match_origins[]; /* "discovered": only a mail server has told of it, device may be null; "gate": it was here */

/* ---- decisions; each in a transaction, audited. record_id: a live mail record; APR_NOTFOUND: there is none.
 * Brings the record onto a device of the same person, whatever was split before. MDM_ECONFLICT: the place for this kind of client is taken, or it is there
 * already; MDM_EINPUT: another person's or platform's device. by: "administrator" or "person". */
apr_status_t mdm_match_link(mdm_db_t *db, const char *record_id, const char *device_id, const char *by);
/* It is a phone of its own: never matched in the background again. Finishes its enrolment if it waits for that. MDM_ECONFLICT: it was never here. */
apr_status_t mdm_match_own(mdm_db_t *db, const char *record_id, const char *by);
/* Not shown until something else is wrong with it. */
apr_status_t mdm_match_ignore(mdm_db_t *db, const char *record_id);
/* Parts a mail record from the device that it was joined with; it gets its object back or one of its own, mail goes on, and the pair is never matched automatically again
 * (MAT-03). *out: the new object; of one that was only told of, the device. MDM_ECONFLICT: the device has nothing to be parted from. */
apr_status_t mdm_match_split(mdm_db_t *db, const char *device_id, const char *record_id, const char **out);
#define MDM_MATCH_UNDO_MS (15 * 60 * 1000LL)
/* The person takes back what he has said of this device within that time: all is as it was before, and he is asked again. *out: the mail app's own object.
 * MDM_ECONFLICT: there is nothing, or it is too late. */
apr_status_t mdm_match_take_back(mdm_db_t *db, const char *person_id, const char *device_id, const char **out);
/* What a person may choose for a mail device that waits or is asked about (MAT-05), of its platform, without a living client of this kind: devices with mail
 * alone that were released to come back, managed devices, the likeliest first, devices in use with mail alone. [{id, name, model, os_version, last_contact
 * (ms or null), hint, is: "expected", "managed" or "mail"}], hint: the last four characters of serial number or IMEI. platform: as the person says if it is
 * not known, else NULL. New reference. */
apr_status_t mdm_match_choices(mdm_db_t *db, const char *person_id, const char *device_id, const char *platform, json_t **out);

#endif
