/* Owns the jobs of user sources: people and groups of LDAP sources are brought up to date (USR-07), people hear that their log-in changes (USR-04). */
#include "domain/mdm_directory.h"
#include "domain/mdm_login_change.h"
#include "mdm_private.h"

#define LEASE_S 300 /* kept with each page */

static apr_status_t run(mdm_ctx_t *ctx, mdm_job_t *job)
{
    return mdm_directory_sync(ctx, job, LEASE_S);
}

/* One job for each source, made when the source is: no period of the kind itself. */
const mdm_jobkind_t mdm_ldapsync_kind = {.name = "ldap.sync", .target_class = "ldap", .lease_s = LEASE_S, .run = run};

static apr_status_t tell(mdm_ctx_t *ctx, mdm_job_t *job)
{
    return mdm_login_change_run(ctx, job, LEASE_S);
}

const mdm_jobkind_t mdm_login_change_kind = {.name = MDM_LOGIN_CHANGE_JOB, .target_class = "cpu", .lease_s = LEASE_S, .run = tell};
