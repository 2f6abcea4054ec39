/* Owns the job that brings people and groups of LDAP sources up to date (USR-07). */
#include "domain/mdm_directory.h"
#include "mdm_private.h"

#define LEASE_S 300 /* kept with each page */

static apr_status_t run(mdm_ctx_t *ctx, mdm_job_t *job)
{
    return mdm_directory_sync(ctx, job, LEASE_S);
}

/* One job for each source, made when the source is: no period of the kind itself. */
const mdm_jobkind_t mdm_ldapsync_kind = {.name = "ldap.sync", .target_class = "ldap", .lease_s = LEASE_S, .run = run};
