/* What each request of a device adds to its counters (PXY-06). */
#include <string.h>

#include <httpd.h>
#include <http_config.h>

#include "domain/mdm_mailuse.h"
#include "eas.h"

extern module AP_MODULE_DECLARE_DATA mdm_eas_module;

eas_call_t *eas_call_of(request_rec *r)
{
    eas_call_t *c = ap_get_module_config(r->request_config, &mdm_eas_module);

    if (!c) {
        c = apr_pcalloc(r->pool, sizeof(*c));
        c->r = r;
        ap_set_module_config(r->request_config, &mdm_eas_module, c);
    }
    return c;
}

/* 449 is how a client of old versions is told to take its policy. */
static int failed(int http)
{
    return http >= HTTP_BAD_REQUEST && http != 449;
}

int eas_count(request_rec *r)
{
    static const unsigned char none[16];
    const eas_call_t *c = ap_get_module_config(r->request_config, &mdm_eas_module);
    mdm_mailsum_t sum = {.requests = 1};

    if (!c || !c->query || !memcmp(c->rec.record, none, sizeof(none))) {
        return DECLINED;
    }
    memcpy(sum.record, c->rec.record, sizeof(sum.record));
    sum.last_ms = mdm_now_ms(c->ctx);
    sum.cmd = (apr_uint16_t)c->query->cmd;
    sum.bytes_in = c->bytes_in;
    sum.bytes_out = r->bytes_sent > 0 ? (apr_uint64_t)r->bytes_sent : 0;
    sum.heartbeat_s = (apr_uint16_t)c->heartbeat_s;
    if (failed(r->status)) {
        sum.errors = 1;
        sum.error_ms = sum.last_ms;
        sum.error_http = (apr_uint16_t)r->status;
    } else if (c->served && r->status == HTTP_OK && (c->query->cmd == MDM_EAS_SYNC || c->query->cmd == MDM_EAS_PING)) {
        sum.sync_ms = sum.last_ms;
    }
    c->svc->mail_use(&sum);
    return DECLINED;
}
