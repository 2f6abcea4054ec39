/* Audit, device events, messages, zone settings. */
#include "domain/mdm_log_rows.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"

/* Names come from people and devices. */
#define MAX_NAME 400
#define MAX_TEXT 2000

static const char *detail_text(apr_pool_t *p, const json_t *detail)
{
    return detail ? mdm_json_text(p, detail) : "{}";
}

static const char *some(apr_pool_t *p, const char *s, apr_size_t max)
{
    return s ? mdm_clean(p, s, max) : "";
}

static apr_status_t new_id(mdm_ctx_t *ctx, const char **id)
{
    *id = mdm_uuid(ctx->pool);
    return *id ? APR_SUCCESS : mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no random numbers");
}

apr_status_t mdm_audit(mdm_db_t *db, const char *action, const char *object_kind, const char *object_id,
                       const char *object_name, const char *outcome, json_t *detail)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const mdm_actor_t *a = &ctx->actor;
    apr_pool_t *p = ctx->pool;
    const char *id;
    apr_status_t rv = new_id(ctx, &id);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    return mdm_q_audit_add(db, id, mdm_now_ms(ctx), a->kind, a->id, some(p, a->name, MAX_NAME), a->ip, action,
                           object_kind, some(p, object_id, MAX_NAME), some(p, object_name, MAX_NAME), outcome,
                           detail_text(p, detail), some(p, a->request_id, MAX_NAME));
}

apr_status_t mdm_audit_refused(mdm_ctx_t *ctx, const char *action, const char *object_kind, const char *name)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
        rv = mdm_audit(db, action, object_kind, "", mdm_mask(ctx->pool, name), "refused", NULL);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

apr_status_t mdm_device_event(mdm_db_t *db, const char *device_id, const char *pending_id, const char *kind, json_t *detail)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *id;
    apr_status_t rv = new_id(ctx, &id);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    return mdm_q_device_event_add(db, id, device_id, pending_id, mdm_now_ms(ctx), kind, detail_text(ctx->pool, detail));
}

apr_status_t mdm_message(mdm_db_t *db, const char *object_kind, const char *object_id, int severity, const char *code,
                         const char *text)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *id;
    apr_status_t rv = new_id(ctx, &id);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    return mdm_q_message_put(db, id, object_kind, object_id, mdm_now_ms(ctx), severity, code,
                             text && *text == MDM_SAID_MARK ? text : some(ctx->pool, text, MAX_TEXT));
}

static const char *purpose(const mdm_ctx_t *ctx, const char *name)
{
    return apr_pstrcat(ctx->pool, "zone_setting.value:", name, NULL);
}

apr_status_t mdm_setting_get(mdm_db_t *db, const char *name, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_setting_get_t *row;
    mdm_blob_t clear;
    apr_status_t rv;

    *out = NULL;
    rv = mdm_q_setting_get(db, name, &row);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    clear.data = (const unsigned char *)row->value;
    clear.len = strlen(row->value);
    if (row->sealed) {
        rv = mdm_unseal(ctx, purpose(ctx, name), row->value, &clear);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return mdm_json_parse(ctx, (const char *)clear.data, clear.len, out);
}

static apr_status_t put(mdm_db_t *db, const char *name, const char *value, int secret)
{
    apr_status_t rv = mdm_q_setting_put(db, name, value, secret, mdm_now_ms(mdm_db_ctx(db)));

    return rv == APR_SUCCESS ? mdm_change_add(db, "zone", name) : rv;
}

apr_status_t mdm_setting_set(mdm_db_t *db, const char *name, json_t *value, int secret)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *text = mdm_json_text(ctx->pool, value);
    apr_status_t rv;

    secret = secret != 0;
    if (secret) {
        rv = mdm_seal(ctx, purpose(ctx, name), text, strlen(text), &text);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    if (mdm_db_in_tx(db)) {
        return put(db, name, text, secret);
    }
    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS) {
        rv = put(db, name, text, secret);
    }
    return mdm_db_end(db, rv);
}
