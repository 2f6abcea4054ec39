/* mdmctl key, reseal: rotation of the sealing keys (SEC-04). */
#include "ctl.h"

#include <apr_hash.h>
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define PAGE 200

/* Every sealed column: its name is the seal's purpose, and how to write it back if nobody has changed it meanwhile. */
typedef struct place_t {
    const char *name;
    apr_status_t (*write)(mdm_db_t *db, const char *id, const char *old, const char *value, int *affected);
} place_t;

static const place_t places[] = {
    {"bulk_row.cells", mdm_q_reseal_bulk},
    {"ca.private_key", mdm_q_reseal_ca},
    {"command.payload", mdm_q_reseal_command},
    {"pending_enrollment.otp", mdm_q_reseal_pending_otp},
    {"pending_enrollment.token", mdm_q_reseal_pending_token},
    {"quick_task.options", mdm_q_reseal_task},
    {"source_record.bootstrap_token", mdm_q_reseal_bootstrap_token},
    {"source_record.unlock_token", mdm_q_reseal_unlock_token},
    {"user_source.secret", mdm_q_reseal_source},
    {"zone_setting.value", mdm_q_reseal_setting},
    {NULL, NULL}};

typedef struct tally_t {
    int done, failed;
    apr_hash_t *by_key; /* key id → int * */
} tally_t;

typedef apr_status_t (*sealed_fn)(ctl_t *c, mdm_ctx_t *ctx, const mdm_q_ctl_sealed_t *row, tally_t *tally);

static const char *key_id(apr_pool_t *p, const char *sealed)
{
    const char *id = strchr(sealed, '.'), *end = id ? strchr(id + 1, '.') : NULL;

    return end ? apr_pstrmemdup(p, id + 1, (apr_size_t)(end - id - 1)) : "unreadable";
}

/* Calls fn for every value that is not under the newest key, a page at a time. */
static apr_status_t each_old(ctl_t *c, sealed_fn fn, tally_t *tally)
{
    const char *probe, *newest, *place = "", *id = "";
    apr_array_header_t *rows;
    apr_status_t rv;

    rv = mdm_seal(c->ctx, "probe", "", 0, &probe);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    newest = apr_pstrcat(c->p, "s1.", key_id(c->p, probe), ".", NULL);
    do {
        mdm_ctx_t *ctx = mdm_ctx_sub(c->ctx);
        mdm_db_t *db;

        rv = mdm_db_open(ctx, &db);
        if (rv == APR_SUCCESS) {
            rv = mdm_q_ctl_sealed(db, place, id, newest, PAGE, &rows);
            mdm_db_close(db);
        }
        for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
            rv = fn(c, ctx, &APR_ARRAY_IDX(rows, i, mdm_q_ctl_sealed_t), tally);
        }
        if (rv != APR_SUCCESS || rows->nelts < PAGE) {
            rows = NULL;
        } else {
            const mdm_q_ctl_sealed_t *last = &APR_ARRAY_IDX(rows, rows->nelts - 1, mdm_q_ctl_sealed_t);

            place = apr_pstrdup(c->p, last->place);
            id = apr_pstrdup(c->p, last->id);
        }
        apr_pool_destroy(ctx->pool);
    } while (rows);
    return rv;
}

static apr_status_t count(ctl_t *c, mdm_ctx_t *ctx, const mdm_q_ctl_sealed_t *row, tally_t *tally)
{
    const char *id = key_id(ctx->pool, row->value);
    int *n = apr_hash_get(tally->by_key, id, APR_HASH_KEY_STRING);

    if (!n) {
        n = apr_pcalloc(c->p, sizeof(*n));
        apr_hash_set(tally->by_key, apr_pstrdup(c->p, id), APR_HASH_KEY_STRING, n);
    }
    ++*n;
    tally->done++;
    return APR_SUCCESS;
}

int ctl_key_check(ctl_t *c)
{
    tally_t tally = {0, 0, apr_hash_make(c->p)};
    apr_status_t rv;

    if (!ctl_args(c, NULL, 0)) {
        return CTL_USAGE;
    }
    rv = each_old(c, count, &tally);
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, "sealed values");
    }
    for (apr_hash_index_t *at = apr_hash_first(c->p, tally.by_key); at; at = apr_hash_next(at)) {
        printf("%d under key %s\n", *(int *)apr_hash_this_val(at), (const char *)apr_hash_this_key(at));
    }
    puts(tally.done ? "run mdmctl reseal" : "everything is sealed under the newest key");
    return CTL_OK;
}

static apr_status_t reseal_row(mdm_ctx_t *ctx, const place_t *place, const char *id, const char *old, int *affected)
{
    const char *purpose = apr_pstrcat(ctx->pool, place->name, ":", id, NULL), *sealed;
    mdm_blob_t clear;
    mdm_db_t *db;
    apr_status_t rv;

    rv = mdm_unseal(ctx, purpose, old, &clear);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_seal(ctx, purpose, clear.data, clear.len, &sealed);
    mdm_wipe((void *)clear.data, clear.len);
    if (rv == APR_SUCCESS) {
        rv = mdm_db_open(ctx, &db);
    }
    if (rv == APR_SUCCESS) {
        rv = place->write(db, id, old, sealed, affected);
        mdm_db_close(db);
    }
    return rv;
}

static apr_status_t reseal(ctl_t *c, mdm_ctx_t *ctx, const mdm_q_ctl_sealed_t *row, tally_t *tally)
{
    const place_t *place = places;
    int n = 0;

    for (; place->name && strcmp(place->name, row->place); place++) {
    }
    if (!place->name) {
        return mdm_fail(c->ctx, MDM_EUNAVAIL, NULL, "no way to write %s", row->place);
    }
    if (reseal_row(ctx, place, row->id, row->value, &n) == APR_SUCCESS) {
        tally->done += n; /* 0: the server has just written a newer one */
    } else {
        fprintf(stderr, "mdmctl: %s of %s can't be opened (key %s)\n", row->place, row->id, key_id(ctx->pool, row->value));
        tally->failed++;
    }
    return APR_SUCCESS;
}

int ctl_reseal(ctl_t *c)
{
    tally_t tally = {0, 0, NULL};
    mdm_db_t *db;
    apr_status_t rv;

    if (!ctl_args(c, NULL, 0)) {
        return CTL_USAGE;
    }
    rv = each_old(c, reseal, &tally);
    if (rv == APR_SUCCESS && (rv = mdm_db_open(c->ctx, &db)) == APR_SUCCESS) {
        rv = mdm_audit(db, "key.reseal", "zone", "", "", tally.failed ? "failed" : "done", NULL);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, "reseal");
    }
    printf("%d sealed anew, %d failed\n", tally.done, tally.failed);
    return tally.failed ? CTL_FAILED : CTL_OK;
}

int ctl_key_new(ctl_t *c)
{
    if (!ctl_args(c, NULL, 0)) {
        return CTL_USAGE;
    }
    fputs(mdm_keyring_new(c->p), stdout);
    return CTL_OK;
}
