/* What the files of mod_mdm_ios share. */
#ifndef IOS_H
#define IOS_H

#include <httpd.h>

#include "mdm_services.h"
#include "mdm_web.h"

/* The identity that a request can prove (IOS-02). */
typedef struct ios_identity_t {
    unsigned char sha256[32]; /* of the certificate's DER */
    const char *hex;
} ios_identity_t;

/* By the TLS client certificate, the header of a listed proxy, or Mdm-Signature over the body, each that is there (body NULL: not read
 * yet). *other is filled, and *others 1, if two of them are different certificates: they must belong to one device, which is the caller's
 * to judge. APR_NOTFOUND: the request brings none; APR_INCOMPLETE: there is a signature, read the body and ask again; MDM_EINPUT,
 * MDM_EIDENTITY: one does not fit. */
apr_status_t ios_identity(request_rec *r, mdm_ctx_t *ctx, const mdm_blob_t *body, ios_identity_t *out, ios_identity_t *other,
                          int *others);

/* MDMCertificateHeader: who may bring a certificate in which header; of a server. */
typedef struct ios_conf_t {
    const char *header;           /* NULL: nobody */
    const struct mdm_cidr_set_t *proxies;
} ios_conf_t;

/* Handlers "mdm-device", "mdm-scep" and "mdm-service". */
int ios_device_handler(request_rec *r, const mdm_services_t *svc);
int ios_scep_handler(request_rec *r, const mdm_services_t *svc);
int ios_service_handler(request_rec *r, const mdm_services_t *svc);

/* Registers the jobs of push, and what they need in each child. */
void ios_push_jobs(const mdm_services_t *svc);
void ios_push_child_init(apr_pool_t *p);
void ios_scep_child_init(apr_pool_t *p);
/* The authority has changed (MDM_CA_CHANGE). */
apr_status_t ios_scep_changed(mdm_ctx_t *ctx);
/* An identity was revoked (MDM_CERT_CHANGE): the revocation list is to be made again. */
apr_status_t ios_scep_revoked(mdm_ctx_t *ctx);

/* The job that renews identities. */
extern const mdm_jobkind_t ios_renew_kind;

extern module AP_MODULE_DECLARE_DATA mdm_ios_module;

#endif
