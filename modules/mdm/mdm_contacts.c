/* Owns the write-behind of contact times (PRF-12) and of what mail clients did (PXY-06): every five seconds a node writes what has come, in few
 * statements. */
#include <arpa/inet.h>
#include <jansson.h>
#include "base/mdm_json.h"
#include "mdm_private.h"
#include "wire/mdm_eas_query.h"
#include "mdm_sql_gen.h"

#define BATCH 20000
#define PIECE 5000 /* of one statement: when all phones come at once, 20,000 rows take a busy database longer than a statement may */

static const char *addr_text(const unsigned char addr[16], char *buf, socklen_t len)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    if (memcmp(addr, mapped, 12) == 0) {
        return inet_ntop(AF_INET, addr + 12, buf, len) ? buf : "";
    }
    return inet_ntop(AF_INET6, addr, buf, len) ? buf : "";
}

static json_t *as_json(apr_pool_t *p, const mdm_contact_t *list, apr_size_t n, int mail)
{
    json_t *out = json_array();
    char ip[64], peer[64];
    apr_size_t i;

    for (i = 0; i < n; i++) {
        if ((list[i].kind == MDM_KIND_EAS) != mail) {
            continue;
        }
        json_array_append_new(out, json_pack("{s:s, s:I, s:s, s:s}", "id", mdm_uuid_text(p, list[i].record), "ms", (json_int_t)list[i].ms, "ip",
                                             addr_text(list[i].addr, ip, sizeof(ip)), "peer",
                                             addr_text(list[i].peer, peer, sizeof(peer))));
    }
    return out;
}

/* One statement for those of one sort; none if there are none. */
static apr_status_t write_some(mdm_ctx_t *ctx, const mdm_contact_t *list, apr_size_t n, int mail)
{
    json_t *json = as_json(ctx->pool, list, n, mail);
    const char *text = json_array_size(json) ? mdm_json_text(ctx->pool, json) : NULL;
    apr_status_t rv = APR_SUCCESS;
    mdm_db_t *db;

    json_decref(json);
    if (text && (rv = mdm_db_open(ctx, &db)) == APR_SUCCESS) {
        rv = mail ? mdm_q_cache_mail_contacts(db, text, NULL) : mdm_q_cache_contacts(db, text, NULL);
        mdm_db_close(db);
    }
    return rv;
}

void mdm_contacts_flush(mdm_ctx_t *ctx)
{
    mdm_contact_t *list = apr_palloc(ctx->pool, BATCH * sizeof(*list));
    apr_size_t n = mdm_devcache_contacts(mdm_core.cache, list, BATCH), at = 0, piece;
    apr_status_t rv = APR_SUCCESS;

    for (; at < n; at += piece) {
        piece = n - at < PIECE ? n - at : PIECE;
        if ((rv = write_some(ctx, list + at, piece, 0)) != APR_SUCCESS || (rv = write_some(ctx, list + at, piece, 1)) != APR_SUCCESS) {
            break;
        }
    }
    __atomic_fetch_add(&mdm_core.shm->contacts_written, at, __ATOMIC_RELAXED);
    if (rv != APR_SUCCESS) {
        mdm_log(ctx, MDM_LOG_INFO, "MDM0220", rv, "%d contact times could not be written: tried again", (int)(n - at));
        mdm_devcache_contact_again(mdm_core.cache, list + at, n - at); /* what was written already is written once more */
    }
}

/* ---------------------------------------------------------------- what mail clients did */

static json_t *sums_json(apr_pool_t *p, const mdm_mailsum_t *list, apr_size_t n)
{
    json_t *out = json_array();
    apr_size_t i;

    for (i = 0; i < n; i++) {
        const mdm_mailsum_t *s = &list[i];

        json_array_append_new(out, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:i, s:I, s:i}", "id", mdm_uuid_text(p, s->record),
                                             "requests", (json_int_t)s->requests,
                                             "errors", (json_int_t)s->errors, "bytes_in", (json_int_t)s->bytes_in, "bytes_out",
                                             (json_int_t)s->bytes_out, "last_ms", (json_int_t)s->last_ms, "last_cmd",
                                             mdm_eas_cmd_name(s->cmd), "sync_ms", (json_int_t)s->sync_ms, "heartbeat_s", (int)s->heartbeat_s,
                                             "error_ms", (json_int_t)s->error_ms, "error_http", (int)s->error_http));
    }
    return out;
}

static apr_status_t write_sums(mdm_ctx_t *ctx, const mdm_mailsum_t *list, apr_size_t n)
{
    json_t *json = sums_json(ctx->pool, list, n);
    const char *text = mdm_json_text(ctx->pool, json);
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    json_decref(json);
    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_count_add(db, text, NULL);
        mdm_db_close(db);
    }
    return rv;
}

void mdm_mailuse_flush(mdm_ctx_t *ctx)
{
    mdm_mailsum_t *list = apr_palloc(ctx->pool, PIECE * sizeof(*list));
    apr_size_t at = 0, n = PIECE, i;
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && (n = mdm_mailuse_take(mdm_core.uses, &at, list, PIECE)) > 0) {
        rv = write_sums(ctx, list, n);
    }
    if (rv != APR_SUCCESS) {
        mdm_log(ctx, MDM_LOG_INFO, "MDM0226", rv, "what %d mail clients did could not be written: tried again", (int)n);
        for (i = 0; i < n; i++) {
            mdm_mailuse_add(mdm_core.uses, &list[i]);
        }
    }
}
