/* People of a source write their log-in another way. */
#include "domain/mdm_login_change.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_notice.h"
#include "domain/mdm_recompute.h"
#include "mdm_sql_gen.h"

#define BATCH 500 /* people */
#define EVENT "email_changed"

apr_status_t mdm_login_change(mdm_db_t *db, const char *source_id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_job_add_t add = {.kind = MDM_LOGIN_CHANGE_JOB, .unique_key = apr_pstrcat(ctx->pool, MDM_LOGIN_CHANGE_JOB ":", source_id, NULL),
                         .payload = mdm_json_own(ctx, json_pack("{s:s, s:I}", "source", source_id, "since", (json_int_t)mdm_now_ms(ctx)))};
    apr_status_t rv = mdm_recompute_mark(db, "user_source", source_id);

    return rv == APR_SUCCESS ? mdm_job_add(db, &add, NULL) : rv;
}

/* The notices of some people's devices. */
static json_t *notices(mdm_ctx_t *ctx, const apr_array_header_t *rows, apr_int64_t since)
{
    json_t *list = mdm_json_own(ctx, json_array());
    apr_int64_t quiet = mdm_now_ms(ctx) - since;

    for (int i = 0; i < rows->nelts; i++) {
        const char *device = APR_ARRAY_IDX(rows, i, mdm_q_login_change_devices_t).device_id;

        if (device) {
            json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:I}", "event", EVENT, "key", json_sprintf(EVENT ":%s", device), "device", device,
                                                  "quiet", (json_int_t)(quiet > 0 ? quiet : 1)));
        }
    }
    return list;
}

/* *after: log-in of the last person looked at, unchanged at the end. */
static apr_status_t batch(mdm_ctx_t *ctx, const char *source, apr_int64_t since, const char **after, apr_int64_t *told)
{
    apr_array_header_t *rows = NULL;
    json_t *list;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_db_begin(db)) == APR_SUCCESS && (rv = mdm_q_login_change_devices(db, source, *after, BATCH, &rows)) == APR_SUCCESS) {
        list = notices(ctx, rows, since);
        *told += (apr_int64_t)json_array_size(list);
        rv = mdm_notice_add_many(db, list);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    if (rv == APR_SUCCESS && rows->nelts > 0) {
        *after = APR_ARRAY_IDX(rows, rows->nelts - 1, mdm_q_login_change_devices_t).login_key;
    }
    return rv;
}

apr_status_t mdm_login_change_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s)
{
    const char *source = json_string_value(json_object_get(job->payload, "source")), *after = "", *was = NULL;
    apr_int64_t since = json_integer_value(json_object_get(job->payload, "since")), told = 0;
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && source && after != was && !mdm_job_stopping(job)) {
        mdm_ctx_t *sub = mdm_ctx_sub(ctx);

        was = after;
        rv = batch(sub, source, since, &after, &told);
        after = after != was ? apr_pstrdup(ctx->pool, after) : after;
        if (rv == APR_SUCCESS) {
            rv = mdm_job_progress(sub, job, told, 0, lease_s);
        }
        apr_pool_destroy(sub->pool);
    }
    job->result = mdm_json_own(ctx, json_pack("{s:I}", "told", (json_int_t)told));
    job->again_ms = rv == APR_SUCCESS && after != was && !job->cancelled ? mdm_now_ms(ctx) : 0; /* the child stops: another one goes on */
    return rv;
}
