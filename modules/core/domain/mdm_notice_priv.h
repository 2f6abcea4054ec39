/* What the files of notices share. */
#ifndef MDM_NOTICE_PRIV_H
#define MDM_NOTICE_PRIV_H

#include "domain/mdm_notice.h"
#include "wire/mdm_smtp.h"

#define MDM_NOTICE_SETTING "smtp"
#define MDM_NOTICE_AWAY "smtp.away" /* {"since", "next", "tries", "why"} while the mail server takes nothing */

/* The job runs as soon as somebody looks. */
apr_status_t mdm_notice_hasten(mdm_db_t *db);
/* The mail server counts as there again: what waits is due. */
apr_status_t mdm_notice_back(mdm_db_t *db);
/* A client for this server, in ctx's pool. peer may be NULL. */
apr_status_t mdm_notice_smtp(mdm_ctx_t *ctx, const mdm_notice_conf_t *conf, const char *ca_file, mdm_blob_t *peer, mdm_smtp_t **out);

#endif
