/* What mdm_policies.c, mdm_policy_versions.c and mdm_policy_folder.c share. */
#ifndef MDM_POLICIES_PRIV_H
#define MDM_POLICIES_PRIV_H

#include "domain/mdm_policies.h"
#include "mdm_sql_gen.h"

/* MDM_EDENIED for somebody who does not see all devices. */
apr_status_t mdm_policy_may_change(mdm_ctx_t *ctx);
/* The policy for a change under this version: not stale, and the actor may. */
apr_status_t mdm_policy_for_edit(mdm_db_t *db, const char *id, apr_int64_t version, mdm_q_policy_get_t **q);
apr_status_t mdm_policy_stale(mdm_ctx_t *ctx, const char *what);
/* A name as it is kept; MDM_EINPUT. */
apr_status_t mdm_policy_name(mdm_ctx_t *ctx, const char *given, const char **out);
/* The uniqueness conflict of a name in words. */
apr_status_t mdm_policy_taken(mdm_ctx_t *ctx, apr_status_t rv, const char *why);
/* Audits an act on a policy; takes the reference. */
apr_status_t mdm_policy_audit(mdm_db_t *db, const char *action, const char *id, const char *name, json_t *detail);
/* MDM_EINPUT if there is no such folder. */
apr_status_t mdm_policy_folder_there(mdm_db_t *db, const char *field, const char *id);

/* A version's content, checked and ready to be stored. */
typedef struct mdm_policy_stored_t {
    json_t *settings; /* both columns each; owned by ctx->pool */
    const char *corporate, *personal, *note;
} mdm_policy_stored_t;
apr_status_t mdm_policy_content_make(mdm_db_t *db, const char *type, const mdm_policy_content_t *c, const mdm_policy_stored_t *before,
                                     mdm_policy_stored_t *out);
apr_status_t mdm_policy_version_load(mdm_db_t *db, const char *id, apr_int64_t number, mdm_policy_stored_t *out);
apr_status_t mdm_policy_version_store(mdm_db_t *db, const char *id, apr_int64_t number, const mdm_policy_stored_t *s);
/* Checks settings of a type as they are kept: catalogue, servers; of enrollment: what mdm_enroll.h says of them. */
apr_status_t mdm_policy_settings_ok(mdm_db_t *db, const char *type, json_t *settings);
int mdm_policy_enrolls(const char *type);
/* [{"setting", "column", "before", "after"}]; new reference. */
json_t *mdm_policy_diff(const char *type, const json_t *a, const json_t *b);
/* A new policy row with its first version. */
apr_status_t mdm_policy_add(mdm_db_t *db, const mdm_policy_new_t *what, const mdm_policy_stored_t *s, const char **id);

#endif
