/* What the zone has and lacks for enrolment, and answers that a poll can compare. */
#include "enroll.h"

#include <apr_file_io.h>
#include <apr_strings.h>
#include <http_protocol.h>

#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"

#define ANCHORS_MAX (64 * 1024)

apr_status_t enroll_topic(mdm_db_t *db, const char **topic)
{
    json_t *value;
    apr_status_t rv = mdm_setting_get(db, "apns.topic", &value);

    *topic = "";
    if (rv == APR_SUCCESS && json_is_string(value)) {
        *topic = apr_pstrdup(mdm_db_ctx(db)->pool, json_string_value(value));
    }
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

const char *enroll_anchors(mdm_web_call_t *call)
{
    const char *path = call->svc->conf_str(call->r->server, "MDMTrustAnchors");
    apr_pool_t *p = call->r->pool;
    apr_size_t len = 0;
    apr_file_t *f;
    char *buf;
    apr_status_t rv;

    if (!path || !*path) {
        return NULL;
    }
    rv = apr_file_open(&f, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_FPROT_OS_DEFAULT, p);
    if (rv == APR_SUCCESS) {
        buf = apr_pcalloc(p, ANCHORS_MAX + 1);
        rv = apr_file_read_full(f, buf, ANCHORS_MAX, &len);
        apr_file_close(f);
        if (rv == APR_EOF && len) {
            return buf;
        }
    }
    mdm_log(call->ctx, MDM_LOG_ERR, "MDM0605", rv, "MDMTrustAnchors %s can't be read, or is larger than 64 KB", path);
    return NULL;
}

int enroll_json_etag(mdm_web_call_t *call, json_t *body)
{
    request_rec *r = call->r;
    const char *text = mdm_json_text(r->pool, body), *etag, *have;

    json_decref(body);
    etag = apr_psprintf(r->pool, "\"%.32s\"", mdm_sha256_hex(r->pool, text, strlen(text)));
    apr_table_setn(r->headers_out, "ETag", etag);
    apr_table_setn(r->headers_out, "Cache-Control", "private, no-cache");
    have = apr_table_get(r->headers_in, "If-None-Match");
    if (have && ap_find_etag_weak(r->pool, have, etag)) {
        return mdm_web_empty(r, HTTP_NOT_MODIFIED);
    }
    return mdm_web_bytes(r, HTTP_OK, "application/json", text, strlen(text));
}
