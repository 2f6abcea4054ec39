/* Owns the reading of the change table: each child, of any generation, applies every row to its segment. */
#include "domain/mdm_access.h"
#include "mdm_private.h"
#include "mdm_sql_gen.h"

/* On PostgreSQL a poll begins at the oldest transaction that was open at the last one, because its rows may become visible
 * below those already seen; the rows of the last poll are remembered so that they are not applied twice. */
static struct {
    apr_int64_t mark;
    int known;             /* mark was taken over from the segment */
    apr_pool_t *pool[2];
    apr_hash_t *seen;      /* seq of the last poll's rows */
    int turn;
    int filters;           /* address filters are among what changed */
} own; /* steward thread only */

#define MAX_WATCHES 16

static struct {
    const char *kind;
    mdm_change_fn fn;
    int fresh; /* steward thread only: what it read still holds */
} watches[MAX_WATCHES]; /* kind and fn const after post_config */
static int nwatches;

apr_status_t mdm_changes_watch(const char *kind, mdm_change_fn fn)
{
    if (nwatches == MAX_WATCHES || mdm_core.threads_up) {
        return APR_ENOSPC;
    }
    watches[nwatches].kind = kind;
    watches[nwatches++].fn = fn;
    return APR_SUCCESS;
}

static void note(const char *kind)
{
    int i;

    own.filters |= !strcmp(kind, MDM_ACCESS_CHANGE);
    for (i = 0; i < nwatches; i++) {
        watches[i].fresh &= strcmp(watches[i].kind, kind) != 0;
    }
}

/* True if all is as it is in the database. */
static int read_again(mdm_ctx_t *ctx)
{
    int i, all = 1;

    for (i = 0; i < nwatches; i++) {
        if (!watches[i].fresh) {
            watches[i].fresh = watches[i].fn(ctx) == APR_SUCCESS;
        }
        all &= watches[i].fresh;
    }
    return all;
}

static apr_hash_t *next_set(void)
{
    own.turn = !own.turn;
    if (!own.pool[own.turn]) {
        apr_pool_create(&own.pool[own.turn], NULL);
    }
    apr_pool_clear(own.pool[own.turn]);
    return apr_hash_make(own.pool[own.turn]);
}

apr_status_t mdm_changes_poll(mdm_ctx_t *ctx)
{
    mdm_shm_t *m = mdm_core.shm;
    apr_int64_t mark, shared;
    apr_array_header_t *rows;
    apr_hash_t *now;
    apr_status_t rv;
    mdm_db_t *db;
    int i;

    if (!own.known) {
        own.mark = __atomic_load_n(&m->change_mark, __ATOMIC_SEQ_CST);
        own.known = 1;
    }
    rv = mdm_db_open(ctx, &db);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_cache_changes(db, own.mark, &rows);
    mdm_db_close(db);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    mark = own.mark;
    now = next_set();
    for (i = 0; i < rows->nelts; i++) {
        mdm_q_cache_changes_t *row = &APR_ARRAY_IDX(rows, i, mdm_q_cache_changes_t);

        mark = row->mark > mark ? row->mark : mark;
        if (row->seq_null || !row->kind || !row->key) {
            continue;
        }
        if (!own.seen || !apr_hash_get(own.seen, &row->seq, sizeof(row->seq))) {
            mdm_core_forget(ctx->pool, row->kind, row->key);
            note(row->kind);
        }
        apr_hash_set(now, apr_pmemdup(own.pool[own.turn], &row->seq, sizeof(row->seq)), sizeof(row->seq), "");
    }
    own.seen = now;
    own.mark = mark;
    shared = __atomic_load_n(&m->change_mark, __ATOMIC_SEQ_CST);
    while (mark > shared &&
           !__atomic_compare_exchange_n(&m->change_mark, &shared, mark, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    if (read_again(ctx) && own.filters) { /* the new lists are in use */
        own.filters = 0;
        mdm_hold_filters();
    }
    return APR_SUCCESS;
}
