/* Inside of mdm_recompute: one batch of devices. */
#ifndef MDM_RECOMPUTE_BATCH_H
#define MDM_RECOMPUTE_BATCH_H

#include "domain/mdm_recompute.h"

/* What batches of one run share: devices to whom the same is assigned are resolved once. Not to be used after a batch has failed. */
typedef struct mdm_recompute_memo_t mdm_recompute_memo_t;
mdm_recompute_memo_t *mdm_recompute_memo(const mdm_ctx_t *ctx);

/* Computes devices that the caller holds (rows of recompute_device that his transaction has deleted): facts in a few statements, results, what differs
 * from effective_policy, delivery. ids: const char *. Those that are gone are passed over. */
apr_status_t mdm_recompute_batch(mdm_db_t *db, mdm_recompute_memo_t *memo, const apr_array_header_t *ids, apr_int64_t spread_ms);

#endif
