/* Settings of a device (PRV-04): until they are read here, who may have mail is answered by the server. */
#include "eas.h"

int eas_settings(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    return verdict == MDM_EAS_ALLOW ? eas_pass(c, verdict) : eas_refuse(c, verdict);
}
