/* The way to a back end: requests of our own. */
#include "eas.h"

apr_status_t eas_back_ask(eas_call_t *c, const mdm_eas_server_t *server, mdm_eas_cmd_e cmd, apr_uint32_t policy_key,
                          const mdm_blob_t *body, eas_reply_t *out)
{
    memset(out, 0, sizeof(*out));
    return mdm_fail(c->ctx, MDM_EUNAVAIL, NULL, "the way to the mail server is being built");
}
