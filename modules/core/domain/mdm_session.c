/* Server-side sessions and API tokens: the database holds SHA-256 of what the client holds. */
#include "domain/mdm_session.h"

#include <string.h>
#include <apr_strings.h>
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define TOKEN_BYTES 32
#define TOKEN_TEXT_MAX 100
#define TOUCH_MS (60 * 1000LL)
#define AGENT_MAX 200
#define API_PREFIX "mdm_"

static const char *hash_of(mdm_ctx_t *ctx, const char *token)
{
    apr_size_t len = token ? strlen(token) : 0;

    return len && len <= TOKEN_TEXT_MAX ? mdm_sha256_hex(ctx->pool, token, len) : NULL;
}

apr_status_t mdm_session_create(mdm_db_t *db, const char *kind, const char *subject_id, const char *agent,
                                const char **token)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    const char *text = mdm_token(ctx->pool, TOKEN_BYTES);
    apr_status_t rv;

    if (!text) {
        return MDM_EUNAVAIL;
    }
    rv = mdm_q_session_add(db, hash_of(ctx, text), kind, subject_id, now, now + MDM_SESSION_ABSOLUTE_MS, ctx->actor.ip,
                           mdm_clean(ctx->pool, agent ? agent : "", AGENT_MAX), NULL);
    if (rv == APR_SUCCESS) {
        *token = text;
    }
    return rv;
}

static apr_status_t find_admin(mdm_db_t *db, mdm_session_t *s, apr_int64_t now)
{
    mdm_q_session_find_admin_t *row;
    apr_status_t rv = mdm_q_session_find_admin(db, s->hash, now, now - MDM_SESSION_IDLE_MS, &row);

    if (rv == APR_SUCCESS) {
        s->subject_id = row->subject_id;
        s->login = row->login;
        s->name = row->name;
        s->role = row->role;
        s->rights = row->rights;
        s->limited = row->folders > 0;
        s->created_ms = row->created_ms;
        s->used_ms = row->used_ms;
        s->expires_ms = row->expires_ms;
    }
    return rv;
}

static apr_status_t find_person(mdm_db_t *db, mdm_session_t *s, apr_int64_t now)
{
    mdm_q_session_find_person_t *row;
    apr_status_t rv = mdm_q_session_find_person(db, s->hash, now, now - MDM_SESSION_IDLE_MS, &row);

    if (rv == APR_SUCCESS) {
        s->subject_id = row->subject_id;
        s->login = row->login;
        s->name = row->name;
        s->role = s->rights = "";
        s->created_ms = row->created_ms;
        s->used_ms = row->used_ms;
        s->expires_ms = row->expires_ms;
    }
    return rv;
}

apr_status_t mdm_session_find(mdm_db_t *db, const char *kind, const char *token, mdm_session_t **out)
{
    static const struct {
        const char *kind;
        apr_status_t (*find)(mdm_db_t *db, mdm_session_t *s, apr_int64_t now);
    } kinds[] = {{"admin", find_admin}, {"portal", find_person}};
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_session_t *s = apr_pcalloc(ctx->pool, sizeof(*s));
    apr_status_t rv = APR_NOTFOUND;
    unsigned i;

    *out = NULL;
    s->hash = hash_of(ctx, token);
    s->kind = apr_pstrdup(ctx->pool, kind);
    for (i = 0; s->hash && i < sizeof(kinds) / sizeof(kinds[0]); ++i) {
        if (!strcmp(kinds[i].kind, kind)) {
            rv = kinds[i].find(db, s, now);
        }
    }
    if (rv == APR_NOTFOUND) {
        return mdm_fail(ctx, MDM_EAUTH, NULL, "Log in first.");
    }
    if (rv == APR_SUCCESS && s->used_ms + TOUCH_MS < now) {
        rv = mdm_q_session_touch(db, s->hash, now, NULL);
    }
    if (rv == APR_SUCCESS) {
        *out = s;
    }
    return rv;
}

apr_status_t mdm_session_end(mdm_db_t *db, const char *hash)
{
    return mdm_q_session_delete(db, hash, NULL);
}

apr_status_t mdm_sessions_end_all(mdm_db_t *db, const char *kind, const char *subject_id)
{
    apr_status_t rv = mdm_q_session_delete_subject(db, kind, subject_id, NULL);

    if (rv == APR_SUCCESS && !strcmp(kind, "admin")) {
        rv = mdm_q_api_token_delete_admin(db, subject_id, NULL); /* R35: tokens end with them */
    }
    return rv;
}

apr_status_t mdm_session_prune(mdm_db_t *db, int *removed)
{
    return mdm_q_session_delete_old(db, mdm_now_ms(mdm_db_ctx(db)), removed);
}

apr_status_t mdm_token_create(mdm_db_t *db, const char *admin_id, const char *role_id, const char *name,
                              apr_int64_t expires_ms, const char **id, const char **token)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    const char *uuid = mdm_uuid(ctx->pool), *secret = mdm_token(ctx->pool, TOKEN_BYTES), *text;
    const char *label = mdm_clean(ctx->pool, name ? name : "", AGENT_MAX);
    apr_status_t rv;

    if (!uuid || !secret) {
        return MDM_EUNAVAIL;
    }
    if (!*label) {
        return mdm_fail(ctx, MDM_EINPUT, "name", "must not be empty");
    }
    if (expires_ms <= now || expires_ms > now + MDM_TOKEN_MAX_MS) {
        return mdm_fail(ctx, MDM_EINPUT, "expires_at", "must lie in the future, at most a year ahead");
    }
    text = apr_pstrcat(ctx->pool, API_PREFIX, secret, NULL);
    rv = mdm_q_api_token_add(db, uuid, label, hash_of(ctx, text), admin_id, role_id, now, expires_ms, NULL);
    if (rv == APR_SUCCESS) {
        rv = mdm_audit(db, "token.create", "token", uuid, label, "done", NULL);
    }
    if (rv == APR_SUCCESS) {
        *id = uuid;
        *token = text;
    }
    return rv;
}

apr_status_t mdm_token_find(mdm_db_t *db, const char *token, mdm_session_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_q_api_token_find_t *row = NULL;
    const char *hash = hash_of(ctx, token);
    mdm_session_t *s;
    apr_status_t rv = APR_NOTFOUND;

    *out = NULL;
    if (hash && !strncmp(token, API_PREFIX, sizeof(API_PREFIX) - 1)) {
        rv = mdm_q_api_token_find(db, hash, now, &row);
    }
    if (rv == APR_NOTFOUND) {
        return mdm_fail(ctx, MDM_EAUTH, NULL, "The API token is not valid.");
    }
    if (rv == APR_SUCCESS && (row->used_ms_null || row->used_ms + TOUCH_MS < now)) {
        rv = mdm_q_api_token_touch(db, row->id, now, NULL);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    s = apr_pcalloc(ctx->pool, sizeof(*s));
    s->hash = hash;
    s->kind = "admin";
    s->subject_id = row->admin_id;
    s->login = row->login;
    s->name = row->name;
    s->role = row->role;
    s->rights = row->rights;
    s->limited = row->folders > 0;
    s->created_ms = row->created_ms;
    s->used_ms = row->used_ms_null ? 0 : row->used_ms;
    s->expires_ms = row->expires_ms;
    *out = s;
    return APR_SUCCESS;
}
