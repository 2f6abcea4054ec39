/* What check-in and connect share; of no interest elsewhere. */
#ifndef MDM_APPLE_PRIV_H
#define MDM_APPLE_PRIV_H

#include "domain/mdm_apple.h"
#include "wire/mdm_plist.h"

#define MDM_APPLE_MAX_ID 255

/* The message's UDID or EnrollmentID. */
apr_status_t mdm_apple_native(mdm_ctx_t *ctx, const mdm_plist_t *msg, const char **out);
/* Judges what the cache says of the certificate alone. APR_SUCCESS with *a answered: expelled. */
apr_status_t mdm_apple_standing(mdm_ctx_t *ctx, const mdm_apple_who_t *who, mdm_apple_answer_t *a);
/* Logs and refuses a certificate that speaks for another device (R12). */
apr_status_t mdm_apple_mismatch(mdm_ctx_t *ctx, const char *native);

#endif
