/* Owns quick tasks (DEV-07): one order for one, many, or all devices of a filter. Who is meant is frozen when a task begins; a job then gives each
 * device its command; what became of it is read from the commands and stored nowhere else. */
#ifndef MDM_TASK_H
#define MDM_TASK_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_action.h"
#include "domain/mdm_device.h"
#include "domain/mdm_job.h"

#define MDM_TASK_JOB "task.run"
#define MDM_TASK_LIST 500            /* devices that a list may name */
#define MDM_TASK_LOOK 5000           /* devices of a filter that a preview looks at, and that an unenrolment may have */
#define MDM_TASK_PROFILE_MAX 262144  /* bytes of a profile: each device gets a copy */
#define MDM_TASK_EXPIRY_MIN 20       /* minutes, if nothing else is said */
#define MDM_TASK_CHOICES 16          /* orders that there are, and one more */

/* What a caller asks for. */
typedef struct mdm_task_spec_t {
    const char *kind;            /* "refresh", "lock", "unenroll", …; NULL: a preview of all of them */
    json_t *options;             /* borrowed; may be NULL */
    json_t *devices;             /* list of ids; NULL: the filter's */
    mdm_device_filter_t filter;  /* checked by mdm_device_filter_check() */
    apr_int64_t spread_minutes;  /* 0 = all at once */
    apr_int64_t expires_minutes; /* 0 = never */
    apr_int64_t confirm;         /* unenrolment of more than one: how many they are */
} mdm_task_spec_t;

/* The orders that a task gives, found from kind and options by mdm_task_check(). */
typedef struct mdm_task_order_t {
    const char *kind;
    const mdm_action_t *action;  /* what must apply; NULL: raw, management is enough */
    const mdm_action_t *by_mail; /* or this, for devices that are enrolled by mail alone; NULL: nothing */
    const char *request_type;    /* NULL: refresh, unenroll */
    json_t *payload;             /* of the command, may be NULL */
    int wipe, del;               /* unenroll */
    json_t *erase;               /* keys of EraseDevice, may be NULL */
    const char *name;            /* rename: a name template; NULL: none */
    const char *reason;          /* for people, "" = none */
    json_t *summary;             /* what may be shown: no profiles, no payloads */
} mdm_task_order_t;
/* MDM_EINPUT names the option at fault as "options.<name>". */
apr_status_t mdm_task_check(mdm_ctx_t *ctx, const char *kind, json_t *options, mdm_task_order_t **out);
/* The command's payload for one device: the order's, or its own if the name is made of what the device is. Borrowed. */
json_t *mdm_task_payload(mdm_ctx_t *ctx, const mdm_task_order_t *order, const mdm_action_facts_t *facts);
/* Why an order can't be given to a device: a word, and *why = a sentence; NULL: it can. Pure. */
const char *mdm_task_refused(const mdm_task_order_t *order, const mdm_action_facts_t *facts, const char **why);

/* The i-th order that can be chosen, as far as it is known without options: returns the name of its action ("wipe" is the other unenrolment,
 * "raw" has none), NULL behind the last one. */
const char *mdm_task_choice(int i, mdm_task_order_t *out);

/* How many devices it would reach and why not the rest: {"devices", "applies", "complete", "reasons": [{"reason", "why", "devices",
 * "examples"}]}. complete is false if the filter has more than MDM_TASK_LOOK. Without a kind the same for each order that there is:
 * {"devices", "complete", "actions": [{"action", "applies", "reasons"}]}. New reference. */
apr_status_t mdm_task_preview(mdm_db_t *db, const mdm_task_spec_t *spec, json_t **out);
/* Begins a task: rows of a list are written here, those of a filter by the job. Unenrolment of several wants `confirm`, must be exactly what
 * the filter gives now, and knows neither expiry nor more than MDM_TASK_LOOK devices. Audited. In a transaction; wake the jobs after it. */
apr_status_t mdm_task_create(mdm_db_t *db, const mdm_task_spec_t *spec, const char **id);

/* One task as API members, its counts as of now, or, if it has many devices, of counted_at. Whoever is limited to folders sees his own tasks only (APR_NOTFOUND). New reference. */
apr_status_t mdm_task_json(mdm_db_t *db, const char *id, json_t **out);
/* Which ones a list shows. */
typedef struct mdm_task_filter_t {
    enum { MDM_TASK_SHOWN, MDM_TASK_HIDDEN_TOO, MDM_TASK_HIDDEN_ONLY } hidden;
    enum { MDM_TASK_ANY, MDM_TASK_RUNNING, MDM_TASK_ENDED } state;
} mdm_task_filter_t;
/* One page, newest first, onto items; it may be short with more behind it. Counts are as old as counted_at says. */
apr_status_t mdm_task_list(mdm_db_t *db, const mdm_page_t *page, const mdm_task_filter_t *f, json_t *items, const char **next);

/* One device of a task. */
typedef struct mdm_task_device_t {
    const char *device_id, *name, *state, *command_id, *error, *result; /* error, result: JSON or NULL */
    const char *reason, *why; /* word and sentence why it got nothing; "" = none */
    int there; /* the device object still exists */
    apr_int64_t n, created_ms, sent_ms, done_ms, expires_ms; /* times: 0 = not */
} mdm_task_device_t;
/* True for a state of a device in a task; "" counts as all of them. */
int mdm_task_is_state(const char *state);
apr_status_t mdm_task_devices(mdm_db_t *db, const char *id, const char *state, const mdm_page_t *page,
                              apr_array_header_t **rows /* of mdm_task_device_t */, const char **next);

/* Takes back what no device has got yet; the job does it. MDM_ECONFLICT if the task has ended. In a transaction; audited. */
apr_status_t mdm_task_cancel(mdm_db_t *db, const char *id);
/* Hides a task from the list or shows it again. In a transaction; audited. */
apr_status_t mdm_task_hide(mdm_db_t *db, const char *id, int hidden);

/* ---- background (mdm_task_run.c) */
/* The job MDM_TASK_JOB: walks the list, gives the orders, takes them back; in batches of one transaction each, so that it may be cut anywhere and
 * run again without doubles. After some seconds it waits for its next turn; then it comes back until the task's last device has ended. */
apr_status_t mdm_task_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s);
/* The devices of a page as rows of the task, from number `walked` on. */
apr_status_t mdm_task_rows_add(mdm_db_t *db, const char *id, json_t *list, apr_int64_t walked);
/* Counts of a task by state as of now: {"succeeded": n, …}; *open = how many have not ended. New reference. */
apr_status_t mdm_task_counts(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *open);

#endif
