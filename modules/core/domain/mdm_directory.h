/* Owns people of LDAP sources: log-in through the directory, the cached rows, the background sync (USR-05, USR-07). */
#ifndef MDM_DIRECTORY_H
#define MDM_DIRECTORY_H

#include "domain/mdm_job.h"
#include "domain/mdm_ldap.h"
#include "domain/mdm_people.h"

/* A source as stored, read before any network is touched. */
typedef struct mdm_dirsource_t {
    const char *id, *name, *config, *secret; /* secret: sealed bind password or NULL */
} mdm_dirsource_t;

/* Configuration with the password opened. MDM_EUNAVAIL if what is stored can't be read. */
apr_status_t mdm_directory_conf(mdm_ctx_t *ctx, const mdm_dirsource_t *source, mdm_ldap_conf_t **out);

/* The id that the group of this DN has, or will have, among the cached rows of a source; NULL: this is no DN. */
const char *mdm_directory_group_id(apr_pool_t *p, const char *source_id, const char *dn);

/* Logs somebody in: finds the person (by log-in `user` if not NULL, else or then by address `mail` if not NULL), checks the
 * password by bind, brings the cached row up to date if anything in it is new, and answers it. MDM_EAUTH: unknown, wrong, locked. APR_NOTFOUND: unknown, when
 * `ask_nobody` is 0 (another source may know; else nobody's password is checked at the same cost, R21). MDM_EUNAVAIL: the
 * directory can't be asked. Holds no database connection while it asks. */
apr_status_t mdm_directory_login(mdm_ctx_t *ctx, const mdm_dirsource_t *source, const char *user, const char *mail,
                                 const char *password, int ask_nobody, mdm_person_t **out);

/* Runs one sync of job->payload's "source" (job kind "ldap.sync"); progress is kept with the job. Sets job->again_ms while the
 * source exists and is enabled. */
apr_status_t mdm_directory_sync(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s);
/* Has a source synchronised now, and from then on by its period. Call within the transaction that changed it. */
apr_status_t mdm_directory_sync_ask(mdm_db_t *db, const char *source_id);

#endif
