/* Owns what mail servers' own device lists tell (EAS-05). A device that the gate has not met becomes a mail record "discovered": it gives no right to mail,
 * the gate does not know it, and the device's first contact takes it over, since both have one key: person and DeviceId. What the gate knows stays as
 * it is; that the server has told of it is kept beside. Matching (mdm_match_run.h) may put such a record on one of its person's devices, for information. */
#ifndef MDM_EAS_DISCOVERED_H
#define MDM_EAS_DISCOVERED_H

#include "db/mdm_db.h"
#include "domain/mdm_page.h"
#include "wire/mdm_csv.h"

#define MDM_DISCOVERED_ROWS 1000 /* rows of one JSON call */
#define MDM_DISCOVERED_BYTES (20 * 1024 * 1024) /* of a CSV file */

/* One import into one server's list. Batches of rows are written as they are full, each in a transaction of its own: no connection is held
 * in between, and a list that is sent again changes nothing. */
typedef struct mdm_discovered_t mdm_discovered_t;
/* APR_NOTFOUND: no such server. */
apr_status_t mdm_discovered_begin(mdm_ctx_t *ctx, const char *server_id, mdm_discovered_t **out);
/* Rows as a JSON array of {user, device_id, type, model, user_agent, first_sync, last_sync}. A wrong row is counted, not refused; MDM_EINPUT: rows are no
 * objects of that kind. */
apr_status_t mdm_discovered_json(mdm_discovered_t *d, const json_t *rows);
/* A file with a head line; MDM_EINPUT names the column that is missing. */
apr_status_t mdm_discovered_csv(mdm_discovered_t *d, const char *data, apr_size_t len);
/* Writes the rest and the audit row, and calls the matcher. {"rows", "new", "changed", "same", "errors": counts, "first_errors": [{"line", "field", "reason"}]}, owned by the ctx. */
apr_status_t mdm_discovered_end(mdm_discovered_t *d, json_t **out);

/* What a server has told, by DeviceId. */
apr_status_t mdm_discovered_list(mdm_db_t *db, const char *server_id, const mdm_page_t *page, json_t *items, const char **next);

#endif
