/* Provision (PRV-01 to -03): until the handshake is ours, who may have mail is answered by the server. */
#include "eas.h"

int eas_provision(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    return verdict == MDM_EAS_ALLOW ? eas_pass(c, verdict) : eas_refuse(c, verdict);
}
