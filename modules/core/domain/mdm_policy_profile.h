/* Owns the configuration profiles that policies become on Apple devices (IOS-10): one for each policy type, whose identifier never changes and
 * whose UUIDs follow from the content, so that a device's list of profiles says exactly what it has. Pure. */
#ifndef MDM_POLICY_PROFILE_H
#define MDM_POLICY_PROFILE_H

#include "base/mdm_json.h"

enum { MDM_POLICY_CONTROL, MDM_POLICY_SECURITY, MDM_POLICY_EMAIL, MDM_POLICY_TYPES }; /* that reach devices */
/* device_control security email */
extern const char *const mdm_policy_types[MDM_POLICY_TYPES];
/* −1: none of them. */
int mdm_policy_type_of(const char *name);

/* org.mod-mdm.policy.control … */
extern const char *const mdm_policy_profile_ids[MDM_POLICY_TYPES];
/* −1: not ours. */
int mdm_policy_profile_type(const char *identifier);

typedef struct mdm_policy_profile_t {
    const char *hash; /* SHA-256 of all that is in it, 64 hex */
    mdm_blob_t body;  /* the plist. Not signed: it comes by the management channel, and only replacing a signed one needs a signature */
} mdm_policy_profile_t;

/* payloads: {"<payload type>": {"<key>": value}}, as mdm_compile() makes it for one type. locked: a supervised device, which is told
 * that the profile can't be removed; elsewhere that key is not legal, and a managed profile goes only with the management anyway. */
apr_status_t mdm_policy_profile(mdm_ctx_t *ctx, int type, json_t *payloads, int locked, mdm_policy_profile_t *out);
/* The PayloadUUID of the profile with this hash, as the device reports it. */
const char *mdm_policy_profile_uuid(apr_pool_t *p, const char *hash);

#endif
