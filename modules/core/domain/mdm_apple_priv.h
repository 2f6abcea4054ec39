/* What check-in and connect share; of no interest elsewhere. */
#ifndef MDM_APPLE_PRIV_H
#define MDM_APPLE_PRIV_H

#include "domain/mdm_apple.h"
#include "wire/mdm_plist.h"

#define MDM_APPLE_MAX_ID 255

/* The message's UDID or EnrollmentID; one with a colon, which divides the device from its users, is refused. */
apr_status_t mdm_apple_native(mdm_ctx_t *ctx, const mdm_plist_t *msg, const char **out);
/* Judges what the cache says of the certificate alone. APR_SUCCESS with *a answered: expelled. */
apr_status_t mdm_apple_standing(mdm_ctx_t *ctx, const mdm_apple_who_t *who, mdm_apple_answer_t *a);
/* A device under account-driven enrolment that does not show its access token: *a is answered 401 and APR_SUCCESS is the result (IOS-08). rv: what
 * looking at the token gave; anything but MDM_EAUTH stays as it is. */
apr_status_t mdm_apple_login_again(mdm_ctx_t *ctx, mdm_apple_answer_t *a, apr_status_t rv);
/* Logs and refuses a certificate that speaks for another device (R12). */
apr_status_t mdm_apple_mismatch(mdm_ctx_t *ctx, const char *native);

/* What a device asks for beside management (mdm_apple_ask.c): GetToken never has an answer, DeclarativeManagement and ReturnToService fill
 * *a. MDM_EINPUT for what does not exist. */
apr_status_t mdm_apple_get_token(mdm_ctx_t *ctx, const mdm_plist_t *msg);
apr_status_t mdm_apple_declarative(mdm_ctx_t *ctx, const mdm_plist_t *msg, mdm_apple_answer_t *a);
apr_status_t mdm_apple_return_to_service(mdm_ctx_t *ctx, mdm_apple_answer_t *a);

#endif
