/* What the zone has and lacks for enrolment, and answers that a poll can compare. */
#include "enroll.h"

#include <apr_strings.h>
#include <http_protocol.h>

#include "base/mdm_json.h"
#include "domain/mdm_enroll_conf.h"
#include "domain/mdm_log_rows.h"

apr_status_t enroll_link_url(mdm_web_call_t *call, mdm_db_t *db, const char *token, const char **out)
{
    const char *base;
    apr_status_t rv = mdm_enroll_base(db, call->svc->public_url(call->r->server), &base);

    if (rv == APR_SUCCESS) {
        *out = mdm_enroll_link(call->r->pool, base, token, NULL);
    }
    return rv;
}

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
    return mdm_apple_anchors(call->ctx, call->svc->conf_str(call->r->server, "MDMTrustAnchors"));
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
