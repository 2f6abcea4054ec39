/* The Profile Service of a link: a device says which it is before it gets an identity (IOS-07, facts 2.3). */
#include "enroll.h"

#include <string.h>
#include <apr_strings.h>
#include <http_core.h>

#include "domain/mdm_ota.h"

#define REPORT_TYPE "application/pkcs7-signature"

static int refuse(mdm_web_call_t *call, apr_status_t rv)
{
    apr_table_setn(call->r->notes, "mdm-decision", "refused");
    enroll_hide_token(call->r);
    return mdm_web_device_fail(call->r, call->ctx, "MDM0481", rv);
}

apr_status_t enroll_signed_body(mdm_web_call_t *call, apr_size_t limit, mdm_blob_t *out)
{
    const char *type = apr_table_get(call->r->headers_in, "Content-Type");
    const apr_size_t n = sizeof(REPORT_TYPE) - 1;
    apr_status_t rv;

    if (!type || strncasecmp(type, REPORT_TYPE, n) != 0 || (type[n] && type[n] != ';' && type[n] != ' ')) {
        return mdm_fail(call->ctx, MDM_EMEDIA, "Content-Type", "is not " REPORT_TYPE);
    }
    if ((rv = mdm_web_body(call->r, limit, out)) != APR_SUCCESS) {
        return mdm_fail(call->ctx, rv, NULL, rv == MDM_ETOOBIG ? "The report is too long." : "The report was cut off.");
    }
    return APR_SUCCESS;
}

static apr_status_t read_report(mdm_web_call_t *call, mdm_ota_report_t *out)
{
    mdm_blob_t body;
    apr_status_t rv = enroll_signed_body(call, MDM_OTA_LIMIT, &body);

    return rv == APR_SUCCESS ? mdm_ota_read(call->ctx, &body, out) : rv;
}

static apr_status_t profile_make(mdm_web_call_t *call, mdm_db_t *db, const mdm_ca_t *ca, const mdm_pending_t *e, int second,
                                 mdm_blob_t *out)
{
    mdm_apple_conf_t conf;
    apr_status_t rv;

    enroll_conf_fill(call, &conf);
    if ((rv = enroll_topic(db, &conf.topic)) != APR_SUCCESS || (rv = mdm_db_begin(db)) != APR_SUCCESS) {
        return rv;
    }
    rv = second ? mdm_apple_enroll_profile(db, ca, &conf, e, out) : mdm_apple_report_profile(db, ca, &conf, e, out);
    return mdm_db_end(db, rv);
}

static apr_status_t judge(mdm_web_call_t *call, mdm_db_t *db, const mdm_ota_report_t *report, mdm_blob_t *out)
{
    mdm_pending_t *e;
    mdm_ca_t *ca;
    int second;
    apr_status_t rv = mdm_pending_by_token(db, call->args[0], &e);

    if (rv == APR_NOTFOUND) {
        return mdm_fail(call->ctx, MDM_EDENIED, NULL, "The link is unknown.");
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_ca_load(db, call->r->pool, &ca)) != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? mdm_fail(call->ctx, MDM_EUNAVAIL, NULL, "The zone has no certification authority.") : rv;
    }
    rv = mdm_ota_admit(db, ca, e, report, &second);
    return rv == APR_SUCCESS ? profile_make(call, db, ca, e, second, out) : rv;
}

int enroll_service_post(mdm_web_call_t *call)
{
    const mdm_services_t *svc = call->svc;
    const char *ip = call->r->useragent_ip;
    mdm_ota_report_t report;
    mdm_blob_t profile;
    mdm_db_t *db;
    apr_status_t rv;
    int wait = svc->throttle_check("scep", ip);

    if (wait > 0) {
        return mdm_web_throttled(call->r, wait);
    }
    rv = svc->db_away() ? MDM_EUNAVAIL : read_report(call, &report);
    if (rv == APR_SUCCESS && (rv = mdm_db_open(call->ctx, &db)) == APR_SUCCESS) {
        rv = judge(call, db, &report, &profile);
        mdm_db_close(db);
    }
    if (rv == APR_SUCCESS || mdm_http_status(rv) < 500) {
        svc->throttle_note("scep", ip, rv == APR_SUCCESS);
    }
    if (rv != APR_SUCCESS) {
        return refuse(call, rv);
    }
    return mdm_web_bytes(call->r, HTTP_OK, MDM_APPLE_PROFILE_TYPE, profile.data, profile.len);
}
