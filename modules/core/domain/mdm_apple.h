/* Owns Apple's MDM protocol behind the HTTP edge: check-in and connect messages to database changes and answers (spec 05). */
#ifndef MDM_APPLE_H
#define MDM_APPLE_H

#include "db/mdm_db.h"
#include "mdm_types.h"

/* Who speaks: the presented certificate, and what the cache knows of it. */
typedef struct mdm_apple_who_t {
    const char *fingerprint;   /* SHA-256 of the certificate, 64 hex */
    const mdm_devrec_t *rec;
    const char *bearer;        /* access token of the request (IOS-08); NULL: none */
    /* True if the record's native id is this one (services->device_is_native). NULL: the database is asked. */
    int (*is_native)(const mdm_devrec_t *rec, const char *native_id);
    /* The live record with this native id, for user channels (services->device_by_udid). NULL: the database is asked. */
    apr_status_t (*by_native)(struct mdm_ctx_t *ctx, const char *native_id, mdm_devrec_t *out);
} mdm_apple_who_t;

typedef struct mdm_apple_answer_t {
    int status;            /* 200, 401 (its person has to log in again), 403 (expelled), 410 (UserAuthenticate) */
    const char *type;      /* NULL with an empty body */
    mdm_blob_t body;
    const char *action;    /* what was asked, for logs: "Authenticate", "Idle", … */
    const char *decision;  /* what we did: "enrolled", "command", "nothing", … */
    const char *device_id; /* may be NULL */
    int wake;              /* a push was asked for: services->job_wake() */
} mdm_apple_answer_t;

/* Both return APR_SUCCESS with *out filled, or MDM_EINPUT (malformed: mdm_fail has the field), MDM_EIDENTITY (certificate
 * and identity don't fit; nothing was touched), MDM_EDENIED (enrolment refused), MDM_EUNAVAIL. They open and close their own
 * connection; an Idle with nothing queued opens none. */
apr_status_t mdm_apple_checkin(mdm_ctx_t *ctx, const mdm_apple_who_t *who, const mdm_blob_t *body, mdm_apple_answer_t **out);
apr_status_t mdm_apple_connect(mdm_ctx_t *ctx, const mdm_apple_who_t *who, const mdm_blob_t *body, mdm_apple_answer_t **out);
/* The same for a message that is too long to be read, of which only the beginning is there: the command that it names, else the one that
 * the record was sent last, has failed, and the next is offered. MDM_ETOOBIG: it answers nothing that is open. */
apr_status_t mdm_apple_connect_long(mdm_ctx_t *ctx, const mdm_apple_who_t *who, const mdm_blob_t *head, mdm_apple_answer_t **out);

/* Ends a record's management: by CheckOut, after a removal was confirmed, or because an administrator gives up on a device
 * that never answered. Record left, certificates revoked, queue closed, push row gone; the device object becomes removed
 * (left by itself), stays retired, or is deleted (was wipe_pending). Audited. In a transaction.
 * why: "checkout", "confirmed", "given_up", "refused", "silent". */
apr_status_t mdm_apple_leave(mdm_db_t *db, const char *record_id, const char *why);

#endif
