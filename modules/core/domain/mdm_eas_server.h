/* Owns the ActiveSync servers behind the gate: list, edit, order per user source, user name forms, connection test (EAS-01..04). */
#ifndef MDM_EAS_SERVER_H
#define MDM_EAS_SERVER_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_page.h"
#include "wire/mdm_probe.h"

#define MDM_EAS_SERVER_CHANGE "eas_server" /* change kind: a server or some order was edited; key: the server's or source's id */

typedef struct mdm_eas_server_t {
    const char *id, *name, *host, *domain, *user_form, *pin;
    int port, tls, enabled;
} mdm_eas_server_t;

/* All linked servers in the order of each source, disabled ones too: what a node holds in memory, read again on changes of kind "eas_server". */
typedef struct mdm_eas_route_t {
    const char *source_id;
    mdm_eas_server_t server;
    apr_int64_t stamp; /* changes with each edit of the server */
} mdm_eas_route_t;
apr_status_t mdm_eas_routes(mdm_db_t *db, apr_array_header_t **out /* of mdm_eas_route_t, by source and position */);

/* The zone's name for mail clients (setting eas.public_host); "": it has none of its own. */
apr_status_t mdm_eas_public_host(mdm_db_t *db, const char **out);

/* Who logs in at the back end (EAS-03). */
typedef struct mdm_eas_login_t {
    const char *typed, *login, *mail; /* as the client sent it; of the person: log-in, e-mail */
} mdm_eas_login_t;
/* The user name in this server's form; MDM_EINPUT with a sentence if the person lacks what it needs (an e-mail address). */
apr_status_t mdm_eas_server_user(mdm_ctx_t *ctx, const mdm_eas_server_t *server, const mdm_eas_login_t *who, const char **out);

/* ---- for the console. Within a transaction, audited, nodes are told; texts of refusals name the member at fault. */

/* A server as members of the API, its sources as [{id, name, position}]. APR_NOTFOUND. */
apr_status_t mdm_eas_server_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);
/* One page by name, pushed onto items; *next as mdm_page_next(). */
apr_status_t mdm_eas_server_list(mdm_db_t *db, const mdm_page_t *page, json_t *items, const char **next);
/* given: name, host, port, tls, domain, user_form, enabled, sources (ids; a new one stands behind the source's others).
 * Another host, port or protection drops the accepted certificate. MDM_ECONFLICT: the name is taken. */
apr_status_t mdm_eas_server_add(mdm_db_t *db, json_t *given, const char **id);
/* Only what is given changes; e-mail policies that use the server are marked for publishing (EAS-04). MDM_ESTALE by version. */
apr_status_t mdm_eas_server_edit(mdm_db_t *db, const char *id, apr_int64_t version, json_t *given);
/* MDM_ECONFLICT while an e-mail policy uses it. */
apr_status_t mdm_eas_server_delete(mdm_db_t *db, const char *id, apr_int64_t version);
/* From now on the server must show the certificate with this SHA-256 (lower-case hex); "": one of a trusted authority. */
apr_status_t mdm_eas_server_accept(mdm_db_t *db, const char *id, apr_int64_t version, const char *sha256);

/* The servers of a user source in their order (USR-13): {"items": [{id, name, host, enabled}]}; version is the source's. */
apr_status_t mdm_eas_order_json(mdm_db_t *db, const char *source_id, json_t **out, apr_int64_t *version);
/* Replaces it: ids of servers, the first to be asked first. MDM_ESTALE by the source's version. */
apr_status_t mdm_eas_order_put(mdm_db_t *db, const char *source_id, apr_int64_t version, json_t *ids);

/* ---- the test (EAS-02) */

/* Read before the network is asked, so that no connection to the database is held meanwhile. */
typedef struct mdm_eas_test_t {
    mdm_eas_server_t server;
    const char *user, *password; /* as somebody would type them into a phone; not kept */
    const char *ca_file;         /* trusted roots; NULL: the system's */
    int known;                   /* the log-in leads to a person of a user source: */
    const char *login, *mail;    /* theirs */
} mdm_eas_test_t;
/* Fills in server, known, login and mail for t->user at the server with this id. Opens and closes its own connections. */
apr_status_t mdm_eas_test_read(mdm_ctx_t *ctx, const char *id, mdm_eas_test_t *t);
/* Walks DNS, TCP, TLS, user name, OPTIONS, versions and FolderSync; stops where the next step makes no sense. */
void mdm_eas_test(mdm_probe_t *p, const mdm_eas_test_t *t);

#endif
