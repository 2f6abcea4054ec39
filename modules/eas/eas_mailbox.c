/* The mailbox of a device that has no mail (GATE-02, PRV-05): none yet. */
#include "eas.h"

int eas_mailbox(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    return eas_refuse(c, verdict);
}
