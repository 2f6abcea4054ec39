/* Owns rights and roles: which areas and acts there are, what a role gives, who may give it on (USR-12). */
#ifndef MDM_ROLES_H
#define MDM_ROLES_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_page.h"

/* The one table of areas and their acts, in the order that people see: {"device": ["read", "write", "task"], …}. New reference. */
json_t *mdm_rights_table(void);
/* MDM_EINPUT naming the first area or act that does not exist; "*" stands for all of them. */
apr_status_t mdm_rights_check(mdm_ctx_t *ctx, json_t *rights);
/* True if everything that `wanted` gives is given by `held` (both JSON texts; NULL = nothing). */
int mdm_rights_cover(const char *held, const char *wanted);
/* APR_SUCCESS if the context's actor may give these rights to others or take them from others: he has them all himself, for all
 * devices. MDM_EDENIED otherwise. Tools on the server ("system") may. */
apr_status_t mdm_rights_grant(mdm_ctx_t *ctx, const char *wanted);

/* One page by name, as an array in API form. New references. */
apr_status_t mdm_roles_list(mdm_db_t *db, const mdm_page_t *page, json_t **items, const char **next);
apr_status_t mdm_role_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);

/* Each in a transaction; audited with before and after. Granting is checked against the actor. */
apr_status_t mdm_role_create(mdm_db_t *db, const char *name, json_t *rights, const char **id);
/* NULL = leave. super_admin is never changed, names of built-in roles neither. Sessions see new rights at once; where a role loses some,
 * tokens that its holders made for other roles end. */
apr_status_t mdm_role_edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *name, json_t *rights);
/* MDM_ECONFLICT for a built-in role, and while somebody or a token has it. */
apr_status_t mdm_role_delete(mdm_db_t *db, const char *id);

#endif
