/* Owns the Apple enrolment profile and trust profile (IOS-07). */
#ifndef MDM_APPLE_PROFILE_H
#define MDM_APPLE_PROFILE_H

#include "domain/mdm_ca.h"
#include "domain/mdm_enroll.h"

typedef struct mdm_apple_conf_t {
    const char *public_url; /* https://mdm.example.org */
    const char *organisation;
    const char *topic; /* push topic com.apple.mgmt.External.…; NULL: not configured, enrolment
                          refused (POR-02) */
    int sign_message;  /* Mdm-Signature instead of (beside) client certificates */
    const char *anchors_pem; /* roots to put into the profile when TLS is not publicly trusted; may
                                be NULL */
    int rsa_bits;            /* 2048 */
} mdm_apple_conf_t;

#define MDM_APPLE_PROFILE_TYPE "application/x-apple-aspen-config"

/* The signed enrolment profile for one pending enrolment, with a fresh SCEP challenge.
 * MDM_ECONFLICT: no push topic yet. */
apr_status_t mdm_apple_enroll_profile(mdm_db_t *db, const mdm_ca_t *ca,
                                      const mdm_apple_conf_t *conf, const mdm_pending_t *pending,
                                      mdm_blob_t *out);
/* The signed trust profile (anchors only); APR_NOTFOUND if none are configured. */
apr_status_t mdm_apple_trust_profile(mdm_ctx_t *ctx, const mdm_ca_t *ca,
                                     const mdm_apple_conf_t *conf, mdm_blob_t *out);

#endif
