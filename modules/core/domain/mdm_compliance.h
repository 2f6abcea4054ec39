/* Owns whether a device is compliant, and why not (POL-10). Pure. */
#ifndef MDM_COMPLIANCE_H
#define MDM_COMPLIANCE_H

#include "base/mdm_json.h"

typedef struct mdm_compliance_in_t {
    apr_int64_t passcode_present, passcode_compliant; /* as the device said last; −1: never */
    apr_int64_t encryption;                           /* HardwareEncryptionCaps: 3 = all of it; −1 */
    json_t *deliveries; /* [{"type", "channel", "state", "error", "attempts", "encrypt"}]; NULL: none */
} mdm_compliance_in_t;

/* "compliant": everything that a security policy asks for was confirmed. "noncompliant": something is known to be wrong. "unknown": no policy
 * asks for anything, or its answer is awaited. reasons (may be NULL) gets [{"reason": word, "why": sentence}] of everything that keeps it
 * from being compliant. */
const char *mdm_compliance(mdm_ctx_t *ctx, const mdm_compliance_in_t *in, json_t *reasons);

#endif
