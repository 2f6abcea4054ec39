/* Marks: left, counted, and what they reach. */
#include "domain/mdm_recompute.h"

#include <string.h>
#include "base/mdm_json.h"
#include "mdm_sql_gen.h"

static int is_kind(const char *kind)
{
    static const char *const kinds[] = {"person", "user_group", "user_folder", "user_source", "device", "device_group", "folder", "criteria", NULL};
    int i;

    for (i = 0; kinds[i]; i++) {
        if (strcmp(kind, kinds[i]) == 0)
            return 1;
    }
    return 0;
}

apr_status_t mdm_recompute_mark(mdm_db_t *db, const char *kind, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);

    if (!is_kind(kind))
        return mdm_fail(ctx, MDM_EINPUT, "target", "is not a kind of target");
    return mdm_q_recompute_mark(db, kind, id, mdm_now_ms(ctx), NULL);
}

apr_status_t mdm_recompute_mark_devices(mdm_db_t *db, json_t *ids)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);

    if (!json_array_size(ids))
        return APR_SUCCESS;
    return mdm_q_recompute_mark_devices(db, mdm_json_text(ctx->pool, ids), mdm_now_ms(ctx), NULL);
}

apr_status_t mdm_recompute_mark_policy(mdm_db_t *db, const char *policy_id)
{
    return mdm_q_recompute_mark_policy(db, policy_id, mdm_now_ms(mdm_db_ctx(db)), NULL);
}

apr_status_t mdm_recompute_left(mdm_db_t *db, mdm_recompute_left_t *out)
{
    mdm_q_recompute_left_t *row;
    apr_status_t rv = mdm_q_recompute_left(db, &row);

    if (rv == APR_SUCCESS) {
        out->marks = row->marks;
        out->devices = row->devices;
        out->since_ms = row->since_ms_null ? 0 : row->since_ms;
    }
    return rv;
}

apr_status_t mdm_recompute_reach(mdm_db_t *db, const char *kind, const char *id, apr_int64_t most, apr_int64_t *count)
{
    mdm_q_recompute_reach_t *row;
    apr_status_t rv;

    if (!is_kind(kind))
        return mdm_fail(mdm_db_ctx(db), MDM_EINPUT, "target", "is not a kind of target");
    rv = mdm_q_recompute_reach(db, kind, id, most, &row);
    if (rv == APR_SUCCESS)
        *count = row->n;
    return rv;
}
