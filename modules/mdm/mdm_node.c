/* Owns this node's row (NOD-01): its name is held by one server start at a time. */
#include "mdm_private.h"
#include "mdm_sql_gen.h"

#define SILENT_MS 25000 /* a holder that has not been seen for so long is gone */

/* Somebody else holds the name. Alive is who renews; one that was killed stays silent, and its name comes free. */
static void rival(mdm_ctx_t *ctx, mdm_db_t *db, const char *name)
{
    mdm_shm_t *m = mdm_core.shm;
    mdm_q_core_node_seen_t *row;

    if (mdm_q_core_node_seen(db, name, &row) != APR_SUCCESS) {
        return;
    }
    if (m->node_rival_ms && row->seen_ms > m->node_rival_ms && !__atomic_exchange_n(&m->node_refused, 1, __ATOMIC_SEQ_CST)) {
        mdm_log(ctx, MDM_LOG_ERR, "MDM0221", 0, "another running server has the node name '%s': set MDMNodeName; this "
                "server works, but is not registered", name);
    }
    __atomic_store_n(&m->node_rival_ms, row->seen_ms, __ATOMIC_SEQ_CST);
}

void mdm_node_seen(mdm_ctx_t *ctx)
{
    const char *name = mdm_conf_text(MDM_C_NODE_NAME);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_db_t *db;
    int affected = 0;

    if (mdm_db_open(ctx, &db) != APR_SUCCESS) {
        return;
    }
    if (mdm_q_core_node_take(db, mdm_uuid(ctx->pool), name, mdm_conf_text(MDM_C_PUBLIC_URL), MDM_VERSION, mdm_core.holder, now,
                             now - SILENT_MS, &affected) == APR_SUCCESS) {
        if (affected > 0) {
            if (!mdm_core.shm->node_seen_ms) {
                mdm_log(ctx, MDM_LOG_INFO, "MDM0222", 0, "registered as node '%s'", name);
            }
            __atomic_store_n(&mdm_core.shm->node_seen_ms, now, __ATOMIC_SEQ_CST);
            __atomic_store_n(&mdm_core.shm->node_refused, 0, __ATOMIC_SEQ_CST);
        } else {
            rival(ctx, db, name);
        }
    }
    mdm_db_close(db);
}

void mdm_node_release(mdm_ctx_t *ctx)
{
    mdm_db_t *db;

    if (mdm_core.shm->node_seen_ms && mdm_db_open(ctx, &db) == APR_SUCCESS) {
        mdm_q_core_node_release(db, mdm_core.holder, mdm_core.shm->node_seen_ms, NULL);
        mdm_db_close(db);
    }
}
