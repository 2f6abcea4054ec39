/* Owns the command queue of a source record: adding, offering in order, ending, showing (IOS-05, DEV-14, DEV-15), and the
 * bodies of Apple's commands. Commands are ordered by sequence, never by clocks. */
#ifndef MDM_COMMAND_H
#define MDM_COMMAND_H

#include <jansson.h>
#include "db/mdm_db.h"

#define MDM_COMMAND_MAX_OPEN 200 /* open commands of one record */
#define MDM_COMMAND_MAX_BYTES 1048576 /* of one command's keys as JSON */
#define MDM_ENROLL_PROFILE_ID "org.mod-mdm.enroll"

typedef struct mdm_command_add_t {
    const char *record_id;
    const char *request_type;   /* one of the table in mdm_command_body.c, else MDM_EINPUT */
    int raw;                    /* any request type and keys (IOS-12) */
    json_t *payload;            /* borrowed: the Command dictionary's further keys, data as {"$data": base64}; NULL = {} */
    const char *coalesce_key;   /* not NULL: replaces an open one with this key that was not sent yet */
    int leaving;                /* removal or wipe */
    int secret;                 /* payload is sealed in the database; raw ones and those with secrets by nature always are */
    const char *task_id;        /* quick task, may be NULL; what a task follows is not replaced by a newer one of its coalesce_key */
    apr_int64_t expires_ms;     /* 0 = never */
    apr_int64_t wake_after_ms;  /* the device is woken so much later; 0 = now */
    const char *stored;         /* mdm_command_enqueue_many(): hash of the stored profile that InstallProfile carries, taken when it is offered */
} mdm_command_add_t;

/* Adds a command and wakes the record (mdm_push_wake); announces the change of the cached flag. Several statements: call
 * inside a transaction. MDM_ECONFLICT: queue full, or the record is leaving or gone; APR_NOTFOUND: no such live record.
 * id may be NULL. */
apr_status_t mdm_command_enqueue(mdm_db_t *db, const mdm_command_add_t *add, const char **id);
/* The same for many, in a number of statements that does not depend on theirs; those of one record follow each other as they stand. What was put
 * off is replaced, too. ids[i] is NULL where the record is gone or leaving, or its queue is full: the others go on. Not for raw or leaving
 * ones. */
apr_status_t mdm_command_enqueue_many(mdm_db_t *db, const apr_array_header_t *adds /* of mdm_command_add_t */, const char **ids);
/* The refresh commands (mdm_command_refreshes, NULL-terminated), each replacing its older, unsent one; a device under user enrolment is not
 * asked for restrictions. */
extern const char *const mdm_command_refreshes[];
apr_status_t mdm_command_refresh(mdm_db_t *db, const char *record_id);
/* The same for a quick task, which follows the first of them: task_id, expires_ms and wake_after_ms of `add` are read, *id is its id. */
apr_status_t mdm_command_refresh_task(mdm_db_t *db, const mdm_command_add_t *add, const char **id);
/* The same for many, each of adds one record's; ids[i] is NULL where it gets nothing. */
apr_status_t mdm_command_refresh_many(mdm_db_t *db, const apr_array_header_t *adds /* of mdm_command_add_t */, const char **ids);
/* The device's live Apple record; APR_NOTFOUND if it has none. */
apr_status_t mdm_command_record(mdm_db_t *db, const char *device_id, const char **record_id);

/* One line of a device's queue and history, newest first. */
typedef struct mdm_command_t {
    const char *id, *request_type, *state, *created_by, *error, *result; /* error, result: JSON or NULL */
    const char *task_id; /* the quick task that ordered it, may be NULL */
    apr_int64_t seq, open, leaving, offers;
    apr_int64_t created_ms, sent_ms, notnow_ms, done_ms, expires_ms; /* 0 = not */
    const char *user; /* whose channel; NULL: the device's own */
    const char *why; /* open ones: one sentence, why it is where it is (IOS-05) */
    const char *why_code, *why_value; /* the same as a stable word, and what the sentence has in it, may be NULL */
} mdm_command_t;
apr_status_t mdm_command_list(mdm_db_t *db, const char *device_id, int limit, apr_array_header_t **out /* of mdm_command_t */);
/* Takes an open command back; MDM_ECONFLICT if it has ended, APR_NOTFOUND if the device has no such command.
 * Removal and wipe can't be taken back after they were sent (MDM_ECONFLICT). */
apr_status_t mdm_command_cancel(mdm_db_t *db, const char *device_id, const char *id);
/* Closes everything open and forgets a wake that is due: re-enrolment, leaving (R39). */
apr_status_t mdm_command_clear(mdm_db_t *db, const char *record_id);

/* ---- offering and ending, for the connect engine */
typedef struct mdm_command_offer_t {
    const char *id, *request_type;
    mdm_blob_t body; /* plist */
} mdm_command_offer_t;
/* What ended with an answer. */
typedef struct mdm_command_done_t {
    const char *id, *request_type;
    const char *coalesce_key; /* NULL: none */
    int leaving;
} mdm_command_done_t;
/* What a device said to one command. */
typedef struct mdm_command_said_t {
    const char *id;     /* the command's */
    const char *state;  /* "acknowledged", "error", "format_error" */
    const char *error, *result; /* JSON or NULL */
    int leaving;        /* 0: not if it is a removal or wipe (which needs a transaction around) */
} mdm_command_said_t;

/* Offers the next open command, marking it sent: one statement. skip_notnow: not those that the device put off. A leaving record
 * is offered its removal or wipe only. APR_NOTFOUND: nothing. A command whose body can't be made is ended, and the next is taken. */
apr_status_t mdm_command_next(mdm_db_t *db, const char *record_id, int skip_notnow, mdm_command_offer_t **out);
/* Ends a command as it was said, and offers the next one in the same statement. *done is NULL if the command is unknown, another
 * record's, or ended already; *next is NULL if nothing waits. */
apr_status_t mdm_command_answer(mdm_db_t *db, const char *record_id, const mdm_command_said_t *said,
                                mdm_command_done_t **done, mdm_command_offer_t **next);
/* Puts off. APR_NOTFOUND: unknown or ended. *offers = how often it was offered. */
apr_status_t mdm_command_notnow(mdm_db_t *db, const char *record_id, const char *id, int *offers);
/* Turns an ended command into a failed one: its answer was of no use (R38). */
apr_status_t mdm_command_fail(mdm_db_t *db, const char *record_id, const char *id, const char *why);
/* Ends commands whose time is over, a bounded number; *count = how many. In a transaction. */
apr_status_t mdm_command_expire(mdm_db_t *db, int *count);

/* How a command is kept: its keys as text, sealed if they are secrets (mdm_command.c). */
apr_status_t mdm_command_payload(mdm_ctx_t *ctx, const mdm_command_add_t *add, const char *id, int *sealed, const char **out);

/* ---- bodies (mdm_command_body.c) */
/* True if a user enrolment (IOS-08) does not take this command: it is never sent there. */
int mdm_command_not_owned(const char *request_type);
/* The command as a plist. owners: for a user enrolment, which is asked less; MDM_ECONFLICT if it does not take it at all. unlock: the record's sealed unlock token, may be NULL (ClearPasscode then fails with MDM_ECONFLICT). What it may
 * hold was checked when it was queued. */
apr_status_t mdm_command_body(mdm_ctx_t *ctx, const char *record_id, const char *id, const char *request_type, json_t *payload,
                              const char *unlock, int owners, mdm_blob_t *out);
/* MDM_EINPUT (mdm_fail) if the type is unknown or its payload lacks a required key or has one of a wrong kind. */
apr_status_t mdm_command_check(mdm_ctx_t *ctx, const char *request_type, json_t *payload);
/* True if this type's keys are secrets by nature. */
int mdm_command_secret(const char *request_type);
/* The keys of a type as JSON: [{"name", "kind", "required"}]; NULL for an unknown type. New reference. */
json_t *mdm_command_keys(const char *request_type);

/* ---- leaving (mdm_command_leave.c, DEV-12) */
#define MDM_LEAVE_REFUSALS 3 /* so often a device may refuse its removal or wipe */
/* Begins the unenrolment of a device's Apple record: queue cleared, the one command queued, audited. wipe: EraseDevice, else
 * RemoveProfile (selective). del: the object is deleted once the device confirms (state wipe_pending until then), else it is retired
 * at once (DEV-12). erase: further keys of EraseDevice, may be NULL. reason: for the audit, may be NULL. APR_NOTFOUND: no live Apple
 * record; MDM_ECONFLICT: leaving already. In a transaction. */
apr_status_t mdm_unenroll_apple(mdm_db_t *db, const char *device_id, int wipe, int del, json_t *erase, const char *reason);
/* A removal or wipe was taken back before it was delivered: the device is managed as before. In a transaction. */
apr_status_t mdm_leave_cancelled(mdm_db_t *db, const char *record_id, const char *device_id);
/* Takes back what is pending for the device, by management or by mail. MDM_ECONFLICT: nothing is, or it was fetched. In a transaction. */
apr_status_t mdm_leave_cancel(mdm_db_t *db, const char *device_id);
/* The device answered its removal or wipe with an error: it is asked again a few times, later and later; then its management ends here. A
 * device that refused to be wiped stays as a retired object with a message. In a transaction. */
apr_status_t mdm_leave_refused(mdm_db_t *db, const char *record_id, const char *device_id, const mdm_command_done_t *done);
/* An administrator waits no longer: management ends as if the device had confirmed. MDM_ECONFLICT if it isn't leaving. In a
 * transaction. */
apr_status_t mdm_leave_give_up(mdm_db_t *db, const char *device_id, const char *reason);
/* True while a removal or wipe of the device is pending. */
int mdm_leave_pending(mdm_db_t *db, const char *device_id);
/* The object is about to be deleted while its wipe is pending: record, identities and wipe stay without it, *kept = 1. Else *kept = 0
 * and nothing was done. In a transaction. */
apr_status_t mdm_leave_detach(mdm_db_t *db, const char *device_id, int *kept);
/* Wipes that were sent a day ago and never answered count as done. In a transaction. */
apr_status_t mdm_leave_silent(mdm_db_t *db, int *count);

#endif
