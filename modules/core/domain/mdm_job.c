/* Jobs in the database: adding, leases, retries. */
#include "domain/mdm_job.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "mdm_sql_gen.h"
#include "wire/mdm_http.h"

#define BACKOFF_BASE_MS 1000
#define BACKOFF_CAP_MS (3600 * 1000)
#define DEFAULT_ATTEMPTS 10

apr_status_t mdm_job_add(mdm_db_t *db, const mdm_job_add_t *add, const char **id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    const char *uuid = mdm_uuid(ctx->pool);
    mdm_q_job_add_t *row;
    apr_status_t rv;

    if (!uuid) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no random numbers");
    }
    rv = mdm_q_job_add(db, uuid, add->kind, add->unique_key,
                       add->payload ? mdm_json_text(ctx->pool, add->payload) : "{}",
                       add->run_at_ms > 0 ? add->run_at_ms : now,
                       add->max_attempts > 0 ? add->max_attempts : DEFAULT_ATTEMPTS, now, ctx->actor.name, add->keep,
                       &row);
    if (rv == APR_SUCCESS && id) {
        *id = row->id;
    }
    return rv;
}

apr_status_t mdm_job_due(mdm_db_t *db, apr_array_header_t **kinds)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    apr_status_t rv;

    rv = mdm_q_job_due_kinds(db, mdm_now_ms(ctx), &rows);
    *kinds = apr_array_make(ctx->pool, rows->nelts + 1, sizeof(const char *));
    for (int i = 0; i < rows->nelts; i++) {
        APR_ARRAY_PUSH(*kinds, const char *) = APR_ARRAY_IDX(rows, i, mdm_q_job_due_kinds_t).kind;
    }
    return rv;
}

static apr_status_t claim_one(mdm_db_t *db, const char *kind, const char *owner, int lease_s, mdm_job_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    /* also a claim of the same owner that hangs must not end this one */
    const char *token = mdm_token(ctx->pool, 9);
    mdm_q_job_claim_t *row;
    mdm_job_t *job;
    apr_status_t rv;

    if (!token) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no random numbers");
    }
    owner = apr_pstrcat(ctx->pool, owner, "#", token, NULL);
    rv = mdm_q_job_claim(db, kind, owner, now, now + lease_s * 1000LL, &row);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    job = apr_pcalloc(ctx->pool, sizeof(*job));
    job->id = row->id;
    job->kind = apr_pstrdup(ctx->pool, kind);
    job->unique_key = row->unique_key;
    job->attempts = (int)row->attempts;
    job->max_attempts = (int)row->max_attempts;
    job->lease_owner = owner;
    job->cancelled = (int)row->cancel_asked;
    *out = job;
    rv = mdm_json_parse(ctx, row->payload, strlen(row->payload), &job->payload);
    if (rv != APR_SUCCESS) {
        job->payload = mdm_json_own(ctx, json_object());
    }
    return rv;
}

apr_status_t mdm_job_claim(mdm_db_t *db, const char *kind, const char *owner, int lease_s, mdm_job_t **out)
{
    mdm_job_t *job;
    apr_status_t rv;

    *out = NULL;
    for (;;) {
        const char *why = NULL;

        job = NULL;
        rv = claim_one(db, kind, owner, lease_s, &job);
        if (!job) {
            return rv;
        }
        if (rv != APR_SUCCESS) {
            job->attempts = job->max_attempts;
            why = "its payload is not JSON";
        } else if (job->attempts > job->max_attempts) {
            rv = MDM_EUNAVAIL;
            why = "each run ended without a result: the process died or the lease ran out";
        } else if (job->cancelled) {
            why = "cancelled before it ran";
        } else {
            *out = job;
            return APR_SUCCESS;
        }
        rv = mdm_job_finish(db, job, rv, why);
        if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
            return rv;
        }
    }
}

/* What the job's page shows: the run's own result, with the reason if it went wrong. */
static const char *result_text(const mdm_ctx_t *ctx, const mdm_job_t *job, apr_status_t rv, const char *why)
{
    json_t *all;
    const char *text;

    if (!job->result && rv == APR_SUCCESS && !why) {
        return NULL;
    }
    all = json_is_object(job->result) ? json_copy(job->result) : json_object();
    if (job->result && !json_is_object(job->result)) {
        json_object_set(all, "result", job->result);
    }
    if (rv != APR_SUCCESS || why) {
        char buf[120];

        if (!why) {
            why = mdm_error_text(rv);
        }
        json_object_set_new(all, "error", json_string(mdm_clean(ctx->pool, why ? why : apr_strerror(rv, buf, sizeof(buf)),
                                                                1000)));
    }
    text = mdm_json_text(ctx->pool, all);
    json_decref(all);
    return text;
}

apr_status_t mdm_job_finish(mdm_db_t *db, mdm_job_t *job, apr_status_t rv, const char *why)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx), at;
    const char *result = result_text(ctx, job, rv, why);

    if (job->cancelled) {
        rv = mdm_q_job_end(db, job->id, job->lease_owner, "cancelled", now, result);
    } else if (rv == APR_SUCCESS && !job->again_ms) {
        rv = mdm_q_job_end(db, job->id, job->lease_owner, "done", now, result);
    } else if (rv == APR_SUCCESS) {
        rv = mdm_q_job_wait(db, job->id, job->lease_owner, job->again_ms, 0, 1, result);
    } else if (job->attempts < job->max_attempts || job->again_ms) {
        at = now + mdm_backoff_ms(job->attempts - 1, BACKOFF_BASE_MS, BACKOFF_CAP_MS);
        if (job->again_ms && job->again_ms < at) {
            at = job->again_ms;
        }
        /* periodic work never ends: its count stays below the limit that marks a job as deadly */
        rv = mdm_q_job_wait(db, job->id, job->lease_owner, at,
                            job->attempts < job->max_attempts ? job->attempts : job->max_attempts - 1, 0, result);
    } else {
        rv = mdm_q_job_end(db, job->id, job->lease_owner, "failed", now, result);
        mdm_log(ctx, MDM_LOG_INFO, "MDM0091", 0, "job %s (%s) failed for good after %d tries: %s", job->id, job->kind,
                job->attempts, why ? why : "no reason given");
    }
    if (rv == APR_NOTFOUND) {
        mdm_log(ctx, MDM_LOG_INFO, "MDM0090", 0, "job %s (%s): the lease was lost, somebody else runs it now", job->id,
                job->kind);
    }
    return rv;
}

apr_status_t mdm_job_progress(mdm_ctx_t *ctx, mdm_job_t *job, apr_int64_t done, apr_int64_t total, int lease_s)
{
    mdm_q_job_progress_t *row;
    mdm_db_t *db;
    apr_status_t rv;

    rv = mdm_db_open(ctx, &db);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_job_progress(db, job->id, job->lease_owner, done, total, mdm_now_ms(ctx) + lease_s * 1000LL, &row);
    mdm_db_close(db);
    if (rv == APR_SUCCESS) {
        job->cancelled = row->cancel_asked != 0;
    } else if (rv == APR_NOTFOUND) {
        job->cancelled = 1; /* finishing it will find nothing to end */
    }
    return rv;
}

int mdm_job_stopping(const mdm_job_t *job)
{
    return job->cancelled || (job->stop && *job->stop);
}
