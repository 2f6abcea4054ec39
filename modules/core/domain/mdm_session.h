/* Owns server-side sessions and API tokens (15-decisions, SEC-07). Only hashes are stored. */
#ifndef MDM_SESSION_H
#define MDM_SESSION_H

#include "db/mdm_db.h"

#define MDM_SESSION_IDLE_MS (30 * 60 * 1000LL)
#define MDM_SESSION_ABSOLUTE_MS (12 * 3600 * 1000LL)
#define MDM_TOKEN_MAX_MS (366 * 86400 * 1000LL)

typedef struct mdm_session_t {
    const char *hash, *kind, *subject_id;
    /* admin: who and what; person: login and name */
    const char *login, *name, *role, *rights;
    int limited; /* admin: to some folders */
    apr_int64_t created_ms, used_ms, expires_ms;
} mdm_session_t;

/* A new session after a proved log-in; *token goes into the cookie. */
apr_status_t mdm_session_create(mdm_db_t *db, const char *kind, const char *subject_id, const char *agent, const char **token);
/* Finds a live session of a live subject; MDM_EAUTH otherwise. Renews the idle time at most once a minute. */
apr_status_t mdm_session_find(mdm_db_t *db, const char *kind, const char *token, mdm_session_t **out);
apr_status_t mdm_session_end(mdm_db_t *db, const char *hash);
apr_status_t mdm_sessions_end_all(mdm_db_t *db, const char *kind, const char *subject_id);
/* Removes expired ones; for the pruning job. */
apr_status_t mdm_session_prune(mdm_db_t *db, int *removed);

/* API tokens of an administrator: "mdm_<token>". Creation: in a transaction; audited. */
apr_status_t mdm_token_create(mdm_db_t *db, const char *admin_id, const char *role_id, const char *name, apr_int64_t expires_ms,
                              const char **id, const char **token);
apr_status_t mdm_token_find(mdm_db_t *db, const char *token, mdm_session_t **out);

#endif
