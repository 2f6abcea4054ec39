/* Owns what follows when people of a user source have to write their log-in another way (USR-04, USR-05): accounts that policies have set up are
 * set up anew; who has set up the account by hand is told by mail. */
#ifndef MDM_LOGIN_CHANGE_H
#define MDM_LOGIN_CHANGE_H

#include "db/mdm_db.h"
#include "domain/mdm_job.h"

#define MDM_LOGIN_CHANGE_JOB "login.change"

/* In the transaction of the change. */
apr_status_t mdm_login_change(mdm_db_t *db, const char *source_id);
/* The job: writes the notices in batches of one transaction each. A run that was killed begins anew and tells nobody twice. */
apr_status_t mdm_login_change_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s);

#endif
