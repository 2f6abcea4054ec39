/* Owns what a device answers to a Profile Service (IOS-07): reading its signed report, and whether it may have an identity. */
#ifndef MDM_OTA_H
#define MDM_OTA_H

#include "domain/mdm_ca.h"
#include "domain/mdm_enroll.h"

#define MDM_OTA_LIMIT (64 * 1024) /* longest report */

typedef struct mdm_ota_report_t {
    mdm_enroll_facts_t facts;
    const char *challenge;   /* NULL: none */
    const char *hash;        /* SHA-256 of what was signed, hex */
    mdm_cert_t *signer;      /* nobody vouches for it: a first report is a claim, checked again at each later step */
    const char *fingerprint; /* its SHA-256, hex */
    apr_int64_t not_after_ms;
} mdm_ota_report_t;

/* Reads a report: CMS with the property list inside, the signature must fit. MDM_EINPUT, MDM_EIDENTITY or MDM_ETOOBIG with the reason. */
apr_status_t mdm_ota_read(mdm_ctx_t *ctx, const mdm_blob_t *der, mdm_ota_report_t *out);

/* Judges it: a first one by its challenge, which is used up then (the same report may come again); a second one, signed by an identity that
 * our authority issued for this, by that. What the device says of itself is noted on the enrolment before it is judged; a refusal is written
 * where people look. *second: which it is. MDM_EDENIED: not let in. Outside of a transaction. */
apr_status_t mdm_ota_admit(mdm_db_t *db, const mdm_ca_t *ca, const mdm_pending_t *pending, const mdm_ota_report_t *report, int *second);

#endif
