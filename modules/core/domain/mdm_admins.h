/* Owns administrators and their API tokens (USR-12, API-03): who they are, what they may be given, and by whom. */
#ifndef MDM_ADMINS_H
#define MDM_ADMINS_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_page.h"
#include "domain/mdm_people.h"

/* Checks a log-in with a password kept here. MDM_EAUTH for everything that is the person's fault (R21). */
apr_status_t mdm_admin_login(mdm_ctx_t *ctx, const char *login, const char *password, const char **id);
/* Checks the credentials of somebody who may authorise an act, now (PEN-01): an administrator with a password kept here who has these rights (JSON); a
 * person of a directory whose group is such an administrator, or is among those whose members may authorise. who: where the log-in leads as that
 * of a person. MDM_EAUTH: wrong, or none of them. The caller throttles. *by: the log-in, with the directory's name if it is a person's (*person). */
apr_status_t mdm_admin_authorise(mdm_ctx_t *ctx, const char *login, const mdm_login_t *who, const char *password, const char *rights,
                                 const char **by, int *person);
/* Sets a password; sessions and tokens end (R35). own: whoever proved the old one needs no right over himself. */
apr_status_t mdm_admin_password(mdm_ctx_t *ctx, const char *id, const char *password, int own);

/* One page by log-in, as an array in API form; one object. No secrets. New references. */
apr_status_t mdm_admins_list(mdm_db_t *db, const mdm_page_t *page, json_t **items, const char **next);
apr_status_t mdm_admin_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);
/* Id and kind of whom this log-in names. */
apr_status_t mdm_admin_find(mdm_db_t *db, const char *login, const char **id, const char **role_id);

/* What can be said of one; NULL and -1 = leave as it is, or the default when creating. */
typedef struct mdm_admin_edit_t {
    const char *login, *kind; /* creating only. kind: local (password kept here), external (another httpd module authenticates),
                               * group (login is the DN of a group of the directory source_id: its members) */
    const char *source_id;    /* creating a group only */
    const char *password;     /* creating a local one only */
    const char *name, *mail, *role_id;
    json_t *folders;          /* ids of device folders that bound what is seen and done; [] = the whole zone */
    int alerts, disabled;
} mdm_admin_edit_t;

/* Creates one. Hashes, so it opens its own connection. Audited. The role's rights must be the actor's to give. */
apr_status_t mdm_admin_create(mdm_ctx_t *ctx, const mdm_admin_edit_t *a, const char **id);
/* Same by name of the role, for tools and tests. */
apr_status_t mdm_admin_create_named(mdm_ctx_t *ctx, const char *kind, const char *login, const char *name, const char *role,
                                    const char *password, const char **id);
/* Edits, deletes: in a transaction, audited with before and after. Another role, other folders or disabling ends sessions and tokens.
 * MDM_ECONFLICT if nobody who can log in would keep every right. */
apr_status_t mdm_admin_edit(mdm_db_t *db, const char *id, apr_int64_t version, const mdm_admin_edit_t *a);
apr_status_t mdm_admin_delete(mdm_db_t *db, const char *id);

/* Tokens of one administrator ("" = all), newest first. */
apr_status_t mdm_tokens_list(mdm_db_t *db, const char *admin_id, const mdm_page_t *page, json_t **items, const char **next);
/* Makes one with the rights of a role (NULL: the administrator's own) that are both his and the actor's. *secret is never shown again.
 * In a transaction; audited. */
apr_status_t mdm_admin_token(mdm_db_t *db, const char *admin_id, const char *role_id, const char *name, apr_int64_t expires_ms,
                             const char **id, const char **secret);
/* owner: "" or the administrator whose it must be. In a transaction; audited. */
apr_status_t mdm_token_delete(mdm_db_t *db, const char *id, const char *owner);
apr_status_t mdm_token_json(mdm_db_t *db, const char *id, json_t **out);

#endif
