/* Owns on which of its source's servers a person's mail is: the first that has accepted him (EAS-01), and that none does (spec 03). */
#ifndef MDM_EAS_HOME_H
#define MDM_EAS_HOME_H

#include "db/mdm_db.h"
#include "mdm_types.h"

/* A person whom no linked server accepts is server-only for so long; then they are asked again. */
#define MDM_EAS_REFUSED_MS (15 * 60000LL)

/* Fills in server_id and refused of who->person_id, whatever was in them. */
apr_status_t mdm_eas_home(mdm_db_t *db, mdm_mail_login_t *who);
/* This server has accepted the person: written down if that is news, with a line on the timelines of the person's mail devices. Opens its own
 * connection. */
apr_status_t mdm_eas_home_found(mdm_ctx_t *ctx, const char *person_id, const char *server_id);
/* No linked server accepts the person: the same, and a message for administrators on each of the devices. stamp: the sum of stamps of those that
 * were asked; does nothing if the servers are others by now. */
apr_status_t mdm_eas_home_refused(mdm_ctx_t *ctx, const char *person_id, apr_int64_t stamp);
/* Of a person whose devices reach their mail server directly by policy, and none by the gate: *url is its "https://host:port"; else NULL. *name: how the
 * person is called. APR_NOTFOUND: no such person. */
apr_status_t mdm_eas_home_direct(mdm_db_t *db, const char *person_id, const char **name, const char **url);
/* Somebody has changed servers or their order: all who were refused may try again. In a transaction. */
apr_status_t mdm_eas_home_again(mdm_db_t *db);

#endif
