/* Wipes on their way to a device (PRV-03): whoever is to be wiped is told so at every command, and hears what to do from Provision. Valid credentials are
 * needed; whether the person may have mail does not matter. */
#include "eas.h"

#include "domain/mdm_eas_wipe.h"

#define ACCOUNT_ONLY 161

int eas_wiping(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    if (c->rec.flags & MDM_DEVF_ACCOUNT && c->query->version < ACCOUNT_ONLY) {
        return eas_refuse(c, verdict); /* it can't be told to wipe the account alone */
    }
    c->svc->count(MDM_N_MAIL_WITHHELD, 1);
    return eas_status(c, MDM_EAS_ST_WIPE, "wipe", 0);
}

static mdm_eas_wipe_e what_of(const mdm_eas_provision_t *said)
{
    return said->kind == MDM_EAS_PROV_WIPE_ACK ? MDM_EAS_WIPE_FULL : said->kind == MDM_EAS_PROV_ACCOUNT_WIPE_ACK ? MDM_EAS_WIPE_ACCOUNT : MDM_EAS_WIPE_NONE;
}

int eas_wipe_said(eas_call_t *c, const mdm_eas_provision_t *said, int *by_server)
{
    mdm_eas_wipe_e what = what_of(said);
    apr_status_t rv = mdm_eas_wipe_said(c->ctx, &c->rec, what, said->status == 1, by_server);

    if (rv == MDM_EDENIED) { /* R18 */
        mdm_log(c->ctx, MDM_LOG_INFO, "MDM0847", 0, "mail device %s of %s %s", mdm_mask(c->r->pool, c->query->device_id),
                mdm_mask(c->r->pool, c->who.login), c->ctx->fail_text);
        return eas_status(c, 2, "bad request", 0);
    }
    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0848", rv, "what a mail client says of its wipe can't be stored");
    }
    return eas_document(c, "wipe", mdm_eas_provision_wiped(c->r->pool, said->status == 1, what == MDM_EAS_WIPE_ACCOUNT));
}

int eas_wipe_tell(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    mdm_eas_wipe_e what;
    apr_status_t rv;

    if (c->rec.flags & MDM_DEVF_ACCOUNT && c->query->version < ACCOUNT_ONLY) {
        return eas_refuse(c, verdict);
    }
    rv = mdm_eas_wipe_fetch(c->ctx, &c->rec, &what);
    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0848", rv, "the wipe of a mail client can't be looked up");
    }
    return what == MDM_EAS_WIPE_NONE ? eas_refuse(c, verdict)
                                     : eas_document(c, "wipe", mdm_eas_provision_wipe(c->r->pool, what == MDM_EAS_WIPE_ACCOUNT));
}

int eas_wipe_by_server(eas_call_t *c, int account)
{
    apr_status_t rv = mdm_eas_wipe_by_server(c->ctx, &c->rec, account ? MDM_EAS_WIPE_ACCOUNT : MDM_EAS_WIPE_FULL);

    return rv == APR_SUCCESS ? eas_document(c, "wipe by the mail server", mdm_eas_provision_wipe(c->r->pool, account))
                             : eas_unavailable(c, "MDM0848", rv, "the wipe that a mail server wants can't be stored");
}
