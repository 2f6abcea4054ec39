/* Owns the jobs that remove what nobody needs any more: leftovers every few minutes, history by its age. */
#include "domain/mdm_job.h"
#include "domain/mdm_retention.h"
#include "domain/mdm_session.h"
#include "mdm_private.h"
#include "mdm_sql_gen.h"

#define HOUR_MS 3600000LL
#define DAY_MS (24 * HOUR_MS)

static apr_status_t run(mdm_ctx_t *ctx, mdm_job_t *job)
{
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_change_prune(db, now - HOUR_MS, NULL);
    if (rv == APR_SUCCESS) {
        rv = mdm_session_prune(db, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_core_prune_challenges(db, now - DAY_MS, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_core_prune_jobs(db, now - 30 * DAY_MS, NULL);
    }
    if (rv == APR_SUCCESS) { /* results that no device has any more */
        rv = mdm_q_recompute_sweep(db, now - DAY_MS, 2000, NULL);
    }
    mdm_db_close(db);
    return rv;
}

const mdm_jobkind_t mdm_prune_kind = {
    .name = "core.prune", .target_class = "db", .lease_s = 120, .period_ms = 10 * 60000, .run = run};

#define HISTORY_LEASE_S 300 /* kept while it goes on */

static apr_status_t run_history(mdm_ctx_t *ctx, mdm_job_t *job)
{
    return mdm_retention_run(ctx, job, mdm_conf_num(MDM_C_AUDIT_DAYS), HISTORY_LEASE_S);
}

const mdm_jobkind_t mdm_history_kind = {
    .name = "core.history", .target_class = "db", .lease_s = HISTORY_LEASE_S, .period_ms = HOUR_MS, .run = run_history};
