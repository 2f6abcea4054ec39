/* Owns the wipe of mail clients (PRV-03, DEV-12): asked by an administrator or by the mail server, fetched and acknowledged by the one record that it is
 * for (R18), in the order asked, sent, done or failed. A client with a wipe gets no mail; its record is "leaving" until it has acknowledged. Account-only
 * wipes exist from protocol version 16.1 on. */
#ifndef MDM_EAS_WIPE_H
#define MDM_EAS_WIPE_H

#include "domain/mdm_eas.h"

/* ---- in the caller's transaction */

/* Unenrols a device that is enrolled by mail alone. full: it erases itself; else its account only, where the client speaks 16.1; other clients just get no
 * mail any more. del: the object goes when all have acknowledged, else it is retired at once. APR_NOTFOUND: it has no mail client; MDM_ECONFLICT: it is
 * leaving already. */
apr_status_t mdm_eas_unenroll(mdm_db_t *db, const char *device_id, int full, int del, const char *reason);
/* A managed device is erased: its own mail client is told as well if it is certainly its (tier "exact"); others get no mail any more, since what was matched
 * by likeness or by hand may be on another phone. */
apr_status_t mdm_eas_wipe_along(mdm_db_t *db, const char *device_id);
/* Takes wipes back that no client has fetched. Nothing happens if there is none; MDM_ECONFLICT: one was fetched. *was: what the device is again; "": its
 * management decides; NULL: none was pending. */
apr_status_t mdm_eas_wipe_cancel(mdm_db_t *db, const char *device_id, const char **was);
/* Waits no longer: the clients have left, and the device is what was asked for. APR_NOTFOUND: no wipe is pending. */
apr_status_t mdm_eas_wipe_give_up(mdm_db_t *db, const char *device_id);
/* The object goes, its clients' wipes stay. */
apr_status_t mdm_eas_wipe_detach(mdm_db_t *db, const char *device_id);
/* True if a mail client of the device still has to acknowledge. */
int mdm_eas_wipe_pending(mdm_db_t *db, const char *device_id);

/* ---- from the gate; each opens a connection and a transaction of its own */

typedef enum { MDM_EAS_WIPE_NONE, MDM_EAS_WIPE_FULL, MDM_EAS_WIPE_ACCOUNT } mdm_eas_wipe_e;

/* A client with a wipe asks what it is to do; it has been told afterwards. */
apr_status_t mdm_eas_wipe_fetch(mdm_ctx_t *ctx, const mdm_devrec_t *rec, mdm_eas_wipe_e *what);
/* What it said. by_server (may be NULL): the wipe was the mail server's. MDM_EDENIED: this client was not told to do so. */
apr_status_t mdm_eas_wipe_said(mdm_ctx_t *ctx, const mdm_devrec_t *rec, mdm_eas_wipe_e what, int done, int *by_server);
/* The mail server told it; it is told with this answer. */
apr_status_t mdm_eas_wipe_by_server(mdm_ctx_t *ctx, const mdm_devrec_t *rec, mdm_eas_wipe_e what);

#endif
