/* Owns the ordered address filters of a zone and its nodes: kept, checked, compiled, asked (ACC-01..06). */
#ifndef MDM_ACCESS_H
#define MDM_ACCESS_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_cidr.h"

#define MDM_ACCESS_CHANGE "access" /* change kind: some list was saved */
#define MDM_ACCESS_MAX 10000       /* filters of a list */

/* console and API; portal and devices; downloads */
typedef enum { MDM_ACCESS_ADMIN, MDM_ACCESS_ENDPOINT, MDM_ACCESS_TOOLS, MDM_ACCESS_COUNT } mdm_access_e;

/* "admin", "endpoint", "tools". */
const char *mdm_access_name(mdm_access_e category);
/* APR_NOTFOUND for any other word. */
apr_status_t mdm_access_category(const char *name, mdm_access_e *out);

typedef struct mdm_filter_t {
    const char *source; /* "conf" (httpd.conf), "node", "zone": asked in this order */
    int position;       /* from 1, within its source */
    int allow;
    const char *addresses, *description;
    const apr_array_header_t *ranges; /* of mdm_range_t */
} mdm_filter_t;

/* Checks one filter; action is "allow" or "deny". MDM_EINPUT with the place of the mistake. Texts are borrowed. */
apr_status_t mdm_filter_make(mdm_ctx_t *ctx, const char *source, int position, const char *action, const char *addresses,
                             const char *description, mdm_filter_t *out);
/* Checks [{"addresses", "action", "description"}, …]; MDM_EINPUT names the member at fault as "filters[3].addresses".
 * *out is an array of mdm_filter_t. */
apr_status_t mdm_filters_read(mdm_ctx_t *ctx, const char *source, json_t *list, apr_array_header_t **out);

/* A compiled list. */
typedef struct mdm_access_t mdm_access_t;
/* filters: array of mdm_filter_t, must live as long as p. */
apr_status_t mdm_access_compile(apr_pool_t *p, const apr_array_header_t *filters, const mdm_access_t **out);
/* The filter that decides; NULL: none, so the address is allowed. */
const mdm_filter_t *mdm_access_find(const mdm_access_t *list, const mdm_addr_t *addr);

/* One list as it is kept; node_id NULL: the zone's. Version 0: nobody has saved it yet. */
apr_status_t mdm_access_get(mdm_db_t *db, const char *node_id, mdm_access_e category, apr_int64_t *version,
                            apr_array_header_t **filters);
/* Replaces it as a whole, within a transaction. MDM_ESTALE if it is not at `version`. Audited; all nodes are told. */
apr_status_t mdm_access_put(mdm_db_t *db, const char *node_id, mdm_access_e category, apr_int64_t version,
                            const apr_array_header_t *filters);
/* What holds on the node with this name, for each category: its filters, then the zone's, pushed onto lists[].
 * A filter that can't be read is left out and logged. */
apr_status_t mdm_access_load(mdm_db_t *db, const char *node_name, apr_array_header_t *lists[MDM_ACCESS_COUNT]);

#endif
