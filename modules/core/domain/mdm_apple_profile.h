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
    const char *account, *apple_account; /* as of mdm_pending_t; NULL or "": none */
} mdm_apple_conf_t;

#define MDM_APPLE_PROFILE_TYPE "application/x-apple-aspen-config"

/* The signed enrolment profile for one pending enrolment, with a fresh SCEP challenge.
 * MDM_ECONFLICT: no push topic yet. */
apr_status_t mdm_apple_enroll_profile(mdm_db_t *db, const mdm_ca_t *ca,
                                      const mdm_apple_conf_t *conf, const mdm_pending_t *pending,
                                      mdm_blob_t *out);
/* What is handed out instead where the device has to say its serial number first (IOS-07): a Profile Service at url, with a fresh challenge. */
apr_status_t mdm_apple_service_profile(mdm_db_t *db, const mdm_ca_t *ca, const mdm_apple_conf_t *conf, const mdm_pending_t *pending,
                                       const char *url, mdm_blob_t *out);
/* The answer to its first report: how to get the identity that signs the second. */
apr_status_t mdm_apple_report_profile(mdm_db_t *db, const mdm_ca_t *ca, const mdm_apple_conf_t *conf, const mdm_pending_t *pending,
                                      mdm_blob_t *out);
/* The same around a challenge that the caller has. A device that gets it again replaces the profile it has, and so gets a new identity
 * (IOS-06): then topic must be the device's own, which can't change in its life. cn: subject of the identity. */
apr_status_t mdm_apple_profile_with(mdm_ctx_t *ctx, const mdm_ca_t *ca, const mdm_apple_conf_t *conf, const char *cn,
                                    const char *challenge, mdm_blob_t *out);
/* The text of a file of trust anchors (at most 64 KB), NULL if path is NULL or "", or if it can't be read: that is logged. */
const char *mdm_apple_anchors(mdm_ctx_t *ctx, const char *path);
/* The signed trust profile (anchors only); APR_NOTFOUND if none are configured. */
apr_status_t mdm_apple_trust_profile(mdm_ctx_t *ctx, const mdm_ca_t *ca,
                                     const mdm_apple_conf_t *conf, mdm_blob_t *out);

#endif
