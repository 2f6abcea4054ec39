/* Owns the life of a device's identity after it was issued: renewal at half life through MDM, the change from the old one to the new
 * one (IOS-06). */
#ifndef MDM_IDENTITY_H
#define MDM_IDENTITY_H

#include "domain/mdm_apple_profile.h"

#define MDM_IDENTITY_JOB "identity.renew"
/* Renewals asked for in one run, which comes each hour: a million devices take twelve weeks of the two and a half years. */
#define MDM_IDENTITY_BATCH 500
/* A device that did not renew is asked again after this time; until then the profile waits for it, and its challenge is good. */
#define MDM_IDENTITY_AGAIN_MS (7LL * 86400 * 1000)

/* An identity that ends within this time and whose renewal failed is told to administrators (MDM_IDENTITY_ENDING, once a day). */
#define MDM_IDENTITY_SOON_MS (30LL * 86400 * 1000)
#define MDM_IDENTITY_ENDING "identity.ending"

/* The renewed identity is used for the first time: it becomes the current one, those before it are superseded (accepted for
 * MDM_IDENTITY_GRACE_MS more). Of many calls at once one does it; the others, and calls for any other certificate, do nothing. A
 * transaction of its own. */
apr_status_t mdm_identity_promote(mdm_db_t *db, const char *fingerprint);

/* One run of the job: authority's helpers renewed if they end soon, superseded identities revoked when their grace is over, the next
 * due renewals asked for, administrators told of those that failed and end soon. Opens connections of its own, none while a profile is signed. conf->topic is not used: each device
 * keeps its own, and the address that it was enrolled with. *asked = renewals queued, a full batch means that more are due. */
apr_status_t mdm_identity_run(mdm_ctx_t *ctx, const mdm_apple_conf_t *conf, volatile int *stop, int *asked);

#endif
