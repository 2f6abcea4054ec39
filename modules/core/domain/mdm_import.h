/* Owns migration in (IOS-13): devices that another server managed go on with the identity, push token and address that they have. Where
 * the rows come from is not its affair. */
#ifndef MDM_IMPORT_H
#define MDM_IMPORT_H

#include <jansson.h>
#include "db/mdm_db.h"

#define MDM_IMPORT_CERTS 10 /* identities of one device */

/* One device. Texts may be NULL where nothing is known; native_id, topic, magic, token and one identity are needed. */
typedef struct mdm_import_row_t {
    const char *native_id; /* UDID, or EnrollmentID where the device tells none */
    const char *udid, *serial, *imei, *product, *model, *os_version, *build;
    const char *name;      /* of the device */
    const char *topic, *magic, *token; /* token: hex */
    const char *unlock, *bootstrap;    /* base64 */
    const char *login;     /* log-in or mail address of its person */
    const char *ownership; /* NULL: personal */
    const char *certs[MDM_IMPORT_CERTS]; /* each PEM or SHA-256 of the DER in hex; the one in use first */
    int ncerts;
    apr_int64_t token_ms, seen_ms, enrolled_ms; /* 0: not known */
} mdm_import_row_t;

/* What became of a row. */
typedef enum {
    MDM_IMPORT_ADDED,
    MDM_IMPORT_UPDATED,   /* imported before, has not spoken to us yet: the export's newer state was taken */
    MDM_IMPORT_UNCHANGED, /* imported before, and so it is */
    MDM_IMPORT_KEPT,      /* has spoken to us since, or left since: what we know is newer */
    MDM_IMPORT_OUTCOMES
} mdm_import_outcome_e;

/* Reads a line's object (docs/migration.md). MDM_EINPUT names the field. */
apr_status_t mdm_import_from_json(mdm_ctx_t *ctx, json_t *line, mdm_import_row_t *out);
/* Adds what the device's own Authenticate and TokenUpdate messages tell (XML; each may be NULL): facts, unlock token. What is set already
 * stays. MDM_EINPUT for what is no message. */
apr_status_t mdm_import_from_messages(mdm_ctx_t *ctx, const char *authenticate, const char *token_update, mdm_import_row_t *row);
/* Checks a row and brings it into the one form that is stored: ids, hex, lower case, sizes. MDM_EINPUT names the field. */
apr_status_t mdm_import_check(mdm_ctx_t *ctx, mdm_import_row_t *row);

/* Writes a checked row; call inside a transaction. *note (NULL: none) = what an administrator should know of a row that was taken.
 * MDM_EDENIED: refused by what is here already, nothing was written; all else but APR_SUCCESS: roll back. */
apr_status_t mdm_import_put(mdm_db_t *db, const mdm_import_row_t *row, mdm_import_outcome_e *outcome, const char **note);

#endif
