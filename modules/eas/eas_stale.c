/* What a device is told when its back end no longer knows the policy that was taken in its name (PRV-02). */
#include "eas.h"

int eas_back_said_stale(eas_call_t *c, int status)
{
    return eas_status(c, status == 449 ? MDM_EAS_ST_NOT_PROVISIONED : status, "policy of the mail server", 0);
}
