/* Owns what the zone answers to a SCEP request: who gets a certificate, under which name (SEC-02,
 * R14). */
#ifndef MDM_SCEP_SERVICE_H
#define MDM_SCEP_SERVICE_H

#include "domain/mdm_ca.h"

#define MDM_SCEP_LIMIT (64 * 1024) /* longest message */

/* PKIOperation: APR_SUCCESS with a CertRep to send as 200 application/x-pki-message, also when the
 * request is refused. MDM_EINPUT or MDM_EIDENTITY: no SCEP message, or its signature does not fit:
 * nobody to answer to (400). Anything else is our trouble (503). A repeated request of the same
 * client gets the same certificate again. Opens and closes its own connection. */
apr_status_t mdm_scep_pkioperation(mdm_ctx_t *ctx, const mdm_ca_t *ca, const mdm_blob_t *der,
                                   int legacy_ok, mdm_blob_t *out);

#endif
