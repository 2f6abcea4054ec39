/* The job that renews identities at half life (IOS-06): domain/mdm_identity decides, this knows the configuration. */
#include "domain/mdm_identity.h"
#include "domain/mdm_job.h"
#include "ios.h"

#define PERIOD_MS (3600 * 1000LL)
#define LEASE_S 600

static apr_status_t run(mdm_ctx_t *ctx, mdm_job_t *job)
{
    const mdm_services_t *svc = mdm_web_services();
    mdm_apple_conf_t conf = {.public_url = svc->public_url(NULL), .organisation = svc->conf_str(NULL, "MDMOrganisation"),
                             .sign_message = (int)svc->conf_int(NULL, "MDMSignMessage"), .rsa_bits = 2048,
                             .anchors_pem = mdm_apple_anchors(ctx, svc->conf_str(NULL, "MDMTrustAnchors"))};
    int asked = 0;
    apr_status_t rv = mdm_identity_run(ctx, &conf, job->stop, &asked);

    if (asked) {
        mdm_log(ctx, MDM_LOG_INFO, "MDM0453", 0, "%d devices are asked to renew their identity", asked);
    }
    return rv;
}

const mdm_jobkind_t ios_renew_kind = {MDM_IDENTITY_JOB, "cpu", LEASE_S, PERIOD_MS, run};
