/* Owns what administrators do with the nodes of the zone: MDM role, names that devices are given, the end of a node (NOD-02..06, NOD-08). */
#ifndef MDM_NODES_H
#define MDM_NODES_H

#include <jansson.h>
#include "db/mdm_db.h"

#define MDM_NODE_DOWN_MS 60000                /* silent for so long: down (NOD-01) */
#define MDM_NODE_ROLE_WAIT_MS (30 * 60000LL)  /* between taking the role and giving it back */
#define MDM_NODE_NAMES_MAX 20                 /* extra names */
#define MDM_NODE_CHANGE "node"                /* kind of the change rows: a node reads its own row again */
#define MDM_NODE_NAMES_JOB "node.names"       /* "node.names@<node>": each finds its own */

/* API members. New references. */
apr_status_t mdm_nodes_json(mdm_db_t *db, json_t **out);
apr_status_t mdm_node_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);

typedef struct mdm_node_edit_t {
    int role;                 /* 0, 1; -1: as it is */
    const char *default_name; /* "" = the configuration's; NULL: as it is */
    json_t *extra_names;      /* array of texts; NULL: as it is */
    int confirm;              /* the consequences were read */
} mdm_node_edit_t;
/* In a transaction; audited. MDM_ECONFLICT with the field "confirm" and the consequences until they are confirmed; MDM_ECONFLICT, too, for
 * a role that is given back too early. The role of the last node takes the push certificate with it (NOD-03). */
apr_status_t mdm_node_edit(mdm_db_t *db, const char *id, apr_int64_t version, const mdm_node_edit_t *edit);
/* MDM_ECONFLICT unless it is down and has no role. */
apr_status_t mdm_node_delete(mdm_db_t *db, const char *id, apr_int64_t version);

/* The URL with another host; NULL if it is no URL. name "": the URL itself. */
const char *mdm_node_url(apr_pool_t *p, const char *url, const char *name);

#endif
