#include "domain/mdm_apple_user.h"

#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_command.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_push.h"
#include "mdm_sql_gen.h"

#define EVERYBODY "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF" /* UserID on a Shared iPad */
#define MAX_NAME 120
#define CLASS "user:"

apr_status_t mdm_apple_user(mdm_ctx_t *ctx, const mdm_plist_t *msg, const char *device_native, const char **user,
                            const char **native)
{
    const char *key = mdm_plist_get(msg, "UserID") ? "UserID" : mdm_plist_get(msg, "EnrollmentUserID") ? "EnrollmentUserID" : NULL;
    apr_status_t rv;

    *user = *native = NULL;
    if (!key) {
        return APR_SUCCESS;
    }
    rv = mdm_plist_need_str(ctx, msg, key, MDM_APPLE_MAX_ID, user);
    if (rv == APR_SUCCESS && !strcasecmp(*user, EVERYBODY)) {
        rv = mdm_plist_need_str(ctx, msg, "UserShortName", MDM_APPLE_MAX_ID, user);
    }
    if (rv == APR_SUCCESS) {
        *native = apr_pstrcat(ctx->pool, device_native, ":", *user, NULL);
    }
    return rv;
}

static const char *attributes(mdm_ctx_t *ctx, const mdm_plist_t *msg)
{
    static const char *const keys[][2] = {{"UserShortName", "short_name"}, {"UserLongName", "long_name"}};
    json_t *j = json_object();
    const char *out;

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *s = mdm_plist_str(msg, keys[i][0]);
        if (s && *s) {
            json_object_set_new(j, keys[i][1], json_string(mdm_clean(ctx->pool, s, MAX_NAME)));
        }
    }
    out = mdm_json_text(ctx->pool, j);
    json_decref(j);
    return out;
}

static int same(const char *a, const char *b)
{
    return a && !strcmp(a, b);
}

static int unchanged(const mdm_q_apple_user_t *row, const mdm_apple_token_t *t)
{
    return row->push_ok == 1 && same(row->topic, t->topic) && same(row->push_token, t->token) && same(row->push_magic, t->magic) &&
           row->awaiting == t->awaiting;
}

/* ---------------------------------------------------------------- ending */

static apr_status_t end(mdm_db_t *db, const char *record_id)
{
    apr_status_t rv = mdm_command_clear(db, record_id);

    return rv == APR_SUCCESS ? mdm_q_apple_left(db, record_id, mdm_now_ms(mdm_db_ctx(db))) : rv;
}

static apr_status_t end_beyond(mdm_db_t *db, const char *device_id, int keep)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_apple_users(db, device_id, keep, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        rv = end(db, APR_ARRAY_IDX(rows, i, mdm_q_apple_users_t).id);
    }
    return rv;
}

apr_status_t mdm_apple_users_end(mdm_db_t *db, const char *device_id)
{
    return end_beyond(db, device_id, 0);
}

apr_status_t mdm_apple_user_leave(mdm_db_t *db, const char *device_id, const char *native)
{
    mdm_q_apple_user_t *row;
    apr_status_t rv = mdm_q_apple_user(db, native, device_id, &row);

    if (APR_STATUS_IS_NOTFOUND(rv)) {
        return APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_db_begin(db);
    }
    if (rv == APR_SUCCESS) {
        rv = end(db, row->id);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_device_event(db, device_id, NULL, "user.left", NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_change_add(db, "device", device_id);
    }
    return mdm_db_end(db, rv);
}

/* ---------------------------------------------------------------- tokens */

static apr_status_t add(mdm_db_t *db, const char *record_id, const char *device_id, const char *user, const char *native,
                        const char *attrs, const mdm_apple_token_t *t)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *uuid = mdm_uuid(ctx->pool);
    apr_status_t rv = uuid ? mdm_q_apple_user_add(db, uuid, record_id, apr_pstrcat(ctx->pool, CLASS, user, NULL), native, t->topic,
                                                  t->token, t->magic, t->awaiting, attrs, mdm_now_ms(ctx)) : MDM_EUNAVAIL;

    if (APR_STATUS_IS_NOTFOUND(rv)) {
        return mdm_fail(ctx, MDM_EDENIED, "UserID", "The device is not enrolled, or is being unenrolled.");
    }
    if (rv == MDM_ECONFLICT) {
        return MDM_EUNAVAIL; /* the same message twice at once: it comes again */
    }
    if (rv == APR_SUCCESS) {
        rv = end_beyond(db, device_id, MDM_APPLE_MAX_USERS);
    }
    return rv == APR_SUCCESS ? mdm_device_event(db, device_id, NULL, "user.joined", NULL) : rv;
}

static apr_status_t renew(mdm_db_t *db, const mdm_q_apple_user_t *row, const mdm_apple_token_t *t, int *wake)
{
    mdm_q_apple_token_t *out;
    apr_status_t rv = mdm_q_apple_token(db, row->id, t->topic, t->token, t->magic, NULL, t->awaiting,
                                        mdm_now_ms(mdm_db_ctx(db)), &out);

    *wake = rv == APR_SUCCESS && out->queued > 0;
    return *wake ? mdm_push_wake(db, row->id, 0) : rv;
}

apr_status_t mdm_apple_user_token(mdm_db_t *db, const char *record_id, const char *device_id, const char *user, const char *native,
                                  const mdm_plist_t *msg, const mdm_apple_token_t *token, int *news, int *wake)
{
    mdm_q_apple_user_t *row = NULL;
    apr_status_t rv = mdm_q_apple_user(db, native, device_id, &row);

    *news = *wake = 0;
    if (rv == APR_SUCCESS && unchanged(row, token)) {
        return APR_SUCCESS;
    }
    if (rv != APR_SUCCESS && !APR_STATUS_IS_NOTFOUND(rv)) {
        return rv;
    }
    *news = 1;
    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS) {
        rv = row ? renew(db, row, token, wake)
                 : add(db, record_id, device_id, user, native, attributes(mdm_db_ctx(db), msg), token);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_change_add(db, "device", device_id);
    }
    return mdm_db_end(db, rv);
}

/* ---------------------------------------------------------------- for people */

const char *mdm_apple_user_name(const char *class)
{
    return strncmp(class, CLASS, sizeof CLASS - 1) ? NULL : class + sizeof CLASS - 1;
}

static json_t *user_json(mdm_ctx_t *ctx, const mdm_q_apple_user_list_t *r)
{
    json_t *attrs = mdm_json_own(ctx, json_loads(r->attrs, 0, NULL));
    json_t *said = r->profiles ? mdm_json_own(ctx, json_loads(r->profiles, 0, NULL)) : NULL;
    apr_int64_t seen = r->used_ms > r->last_seen_ms ? r->used_ms : r->last_seen_ms;

    return json_pack("{s:s, s:s, s:O?, s:O?, s:b, s:I, s:s, s:s, s:O?}", "id", r->id, "user", mdm_apple_user_name(r->class), "short_name",
                     json_object_get(attrs, "short_name"), "long_name", json_object_get(attrs, "long_name"), "push_ok", r->push_ok != 0,
                     "waiting", (json_int_t)r->waiting, "first_seen_at", mdm_time_text(ctx->pool, r->first_seen_ms), "last_seen_at",
                     mdm_time_text(ctx->pool, seen), "profiles", json_object_get(said, "profiles"));
}

apr_status_t mdm_apple_users_json(mdm_db_t *db, const char *device_id, json_t **out)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_apple_user_list(db, device_id, MDM_APPLE_MAX_USERS, &rows);

    *out = json_array();
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        json_array_append_new(*out, user_json(mdm_db_ctx(db), &APR_ARRAY_IDX(rows, i, mdm_q_apple_user_list_t)));
    }
    return rv;
}
