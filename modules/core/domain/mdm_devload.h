/* Owns the way from the database to a device cache record, and the meaning of its flags. Knows no shared memory but the
 * cache's key hash. */
#ifndef MDM_DEVLOAD_H
#define MDM_DEVLOAD_H

#include "db/mdm_db.h"
#include "domain/mdm_devcache.h"

/* The record that a certificate (SHA-256 of its DER) speaks for. APR_NOTFOUND: not issued by us. A certificate that is not
 * bound yet gives a record without MDM_DEVF_LINKED and without device: not to be cached. A revoked or superseded one, or one
 * of a record that is no longer live, has its own certificate key only, so that it never answers for the living. */
apr_status_t mdm_devload_by_cert(mdm_db_t *db, const mdm_devcache_t *cache, const unsigned char sha256[32],
                                 mdm_devrec_t *out);
/* The live Apple MDM record with this UDID or EnrollmentID. */
apr_status_t mdm_devload_by_native(mdm_db_t *db, const mdm_devcache_t *cache, const char *native_id, mdm_devrec_t *out);

/* The live ActiveSync record of (person, DeviceId): never one of the DeviceId alone (R17). Without device: not to be cached. */
apr_status_t mdm_devload_by_eas(mdm_db_t *db, const mdm_devcache_t *cache, const char *person_id, const char *device_id,
                                mdm_devrec_t *out);

/* The cache keys. */
mdm_devkey_t mdm_devkey_cert(const mdm_devcache_t *cache, const unsigned char sha256[32]);
mdm_devkey_t mdm_devkey_native(const mdm_devcache_t *cache, const char *native_id);
mdm_devkey_t mdm_devkey_eas(const mdm_devcache_t *cache, const char *person_id, const char *device_id);

/* Forgets what a row of the change table names: kind "device" (uuid) or "cert" (hex SHA-256), "all" clears. Others are not
 * the cache's affair. */
void mdm_devload_forget(mdm_devcache_t *cache, apr_pool_t *scratch, const char *kind, const char *key);

#endif
