/* Owns the ActiveSync servers behind the gate: list, edit, order per user source, user name forms, connection test (EAS-01..04). */
#ifndef MDM_EAS_SERVER_H
#define MDM_EAS_SERVER_H

#include <jansson.h>
#include "db/mdm_db.h"

typedef struct mdm_eas_server_t {
    const char *id, *name, *host, *domain, *user_form, *pin;
    int port, tls, enabled;
} mdm_eas_server_t;

/* All enabled servers in the order of each source: what a node holds in memory, read again on changes of kind "eas_server". */
typedef struct mdm_eas_route_t {
    const char *source_id;
    mdm_eas_server_t server;
} mdm_eas_route_t;
apr_status_t mdm_eas_routes(mdm_db_t *db, apr_array_header_t **out /* of mdm_eas_route_t, by source and position */);

/* Who logs in at the back end (EAS-03). */
typedef struct mdm_eas_login_t {
    const char *typed, *login, *mail; /* as the client sent it; of the person: log-in, e-mail */
} mdm_eas_login_t;
/* The user name in this server's form; MDM_EINPUT with a sentence if the person lacks what it needs (an e-mail address). */
apr_status_t mdm_eas_server_user(mdm_ctx_t *ctx, const mdm_eas_server_t *server, const mdm_eas_login_t *who, const char **out);

#endif
