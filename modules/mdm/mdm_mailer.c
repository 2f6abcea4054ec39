/* Owns the jobs that send notices, by mail and by SMS. Whoever writes one calls its job; the period is for those that wait for another try. And the
 * one that tells what ends soon. */
#include "domain/mdm_expiry.h"
#include "domain/mdm_notice.h"
#include "mdm_private.h"

#define LEASE_S 180 /* kept while it goes on */
#define PERIOD_MS (10 * 60000LL)

static apr_status_t run(mdm_ctx_t *ctx, mdm_job_t *job)
{
    const mdm_notice_run_t how = {.public_url = mdm_core_services()->public_url(NULL), .ca_file = mdm_conf_text(MDM_C_OUTBOUND_CA), .lease_s = LEASE_S};
    apr_status_t rv = mdm_notice_run(ctx, job, &how);
    apr_int64_t latest = mdm_now_ms(ctx) + PERIOD_MS;

    job->again_ms = job->again_ms && job->again_ms < latest ? job->again_ms : latest;
    return rv;
}

const mdm_jobkind_t mdm_mail_kind = {.name = MDM_NOTICE_JOB, .target_class = "smtp", .lease_s = LEASE_S, .period_ms = PERIOD_MS, .run = run};
const mdm_jobkind_t mdm_sms_kind = {.name = MDM_NOTICE_SMS_JOB, .target_class = "sms", .lease_s = LEASE_S, .period_ms = PERIOD_MS, .run = run};

static apr_status_t run_expiry(mdm_ctx_t *ctx, mdm_job_t *job)
{
    const mdm_expiry_t what = {.public_url = mdm_core_services()->public_url(NULL)};

    return mdm_expiry_run(ctx, job, &what);
}

const mdm_jobkind_t mdm_expiry_kind = {.name = MDM_EXPIRY_JOB, .target_class = "self", .lease_s = LEASE_S, .period_ms = 3600000, .run = run_expiry};
