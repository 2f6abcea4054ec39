/* Who is to be woken, and with what. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_push.h"
#include "mdm_sql_gen.h"

#define STOPPED_MS (15 * 60 * 1000LL) /* between two tries with a certificate that was refused */

apr_status_t mdm_push_wake(mdm_db_t *db, const char *record_id, apr_int64_t delay_ms)
{
    apr_int64_t now = mdm_now_ms(mdm_db_ctx(db));
    int rows = 0;
    apr_status_t rv = mdm_q_push_wake(db, record_id, now + delay_ms, &rows);

    return rv == APR_SUCCESS && rows && delay_ms == 0 ? mdm_q_push_hasten(db, MDM_PUSH_JOB, now, NULL) : rv;
}

apr_status_t mdm_push_wake_many(mdm_db_t *db, json_t *list)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx), due;
    apr_status_t rv = json_array_size(list) ? mdm_q_push_wake_many(db, mdm_json_text(ctx->pool, list), NULL) : APR_SUCCESS;
    json_t *wake;
    int soon = 0;
    size_t i;

    json_array_foreach(list, i, wake) {
        due = json_integer_value(json_object_get(wake, "due"));
        soon |= due <= now;
    }
    return rv == APR_SUCCESS && soon ? mdm_q_push_hasten(db, MDM_PUSH_JOB, now, NULL) : rv;
}

apr_int64_t mdm_push_spread_ms(const char *record_id, apr_int64_t window_ms)
{
    unsigned char hash[32];
    apr_uint64_t n = 0;

    if (window_ms <= 0) {
        return 0;
    }
    mdm_sha256(record_id, strlen(record_id), hash);
    memcpy(&n, hash, sizeof n);
    return (apr_int64_t)(n % (apr_uint64_t)window_ms);
}

static apr_status_t setting(mdm_db_t *db, const char *name, const char **out)
{
    json_t *value;
    apr_status_t rv = mdm_setting_get(db, name, &value);

    *out = NULL;
    if (rv == APR_SUCCESS) {
        *out = apr_pstrdup(mdm_db_ctx(db)->pool, json_string_value(value));
        rv = *out && **out ? APR_SUCCESS : APR_NOTFOUND;
    }
    return rv;
}

static apr_status_t stopped_read(mdm_db_t *db, mdm_push_conf_t *c)
{
    const char *reason = NULL, *hash = NULL;
    json_int_t at = 0;
    json_t *j;
    apr_status_t rv = mdm_setting_get(db, "apns.stopped", &j);

    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
    }
    if (json_unpack(j, "{s:s, s:s, s:I}", "reason", &reason, "hash", &hash, "at_ms", &at) == 0 && !strcmp(hash, c->hash)) {
        c->stopped = apr_pstrdup(mdm_db_ctx(db)->pool, reason);
        c->stopped_until_ms = at + STOPPED_MS;
    }
    return APR_SUCCESS;
}

apr_status_t mdm_push_conf(mdm_db_t *db, const mdm_push_server_t *server, mdm_push_conf_t **out)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    mdm_push_conf_t *c = apr_pcalloc(p, sizeof *c);
    const char *all;
    apr_status_t rv = setting(db, "apns.topic", &c->topic);

    if (rv == APR_SUCCESS) {
        rv = setting(db, "apns.certificate", &c->cert_pem);
    }
    if (rv == APR_SUCCESS) {
        rv = setting(db, "apns.key", &c->key_pem);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    c->server.url = server->url && *server->url ? server->url : MDM_PUSH_URL;
    c->server.ca_file = server->ca_file && *server->ca_file ? server->ca_file : NULL;
    all = apr_pstrcat(p, c->topic, "\n", c->cert_pem, "\n", c->key_pem, "\n", c->server.url, "\n", c->server.ca_file, NULL);
    c->hash = mdm_sha256_hex(p, all, strlen(all));
    *out = c;
    return stopped_read(db, c);
}

apr_status_t mdm_push_stopped_set(mdm_db_t *db, const mdm_push_conf_t *conf, const char *reason)
{
    json_t *j = reason ? json_pack("{s:s, s:s, s:I}", "reason", reason, "hash", conf->hash, "at_ms",
                                   (json_int_t)mdm_now_ms(mdm_db_ctx(db)))
                       : json_object();
    apr_status_t rv = j ? mdm_setting_set(db, "apns.stopped", j, 0) : APR_ENOMEM;

    json_decref(j);
    return rv;
}
