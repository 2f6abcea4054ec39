/* For PRF-05's floor only: a request that waits in httpd for nothing but its client's end. No thread, no back end, no state of ours. */
#include <httpd.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_protocol.h>
#include <http_request.h>
#include <ap_mpm.h>

module AP_MODULE_DECLARE_DATA park_module;

static int handler(request_rec *r)
{
    if (!r->handler || strcmp(r->handler, "park") != 0) {
        return DECLINED;
    }
    if (ap_discard_request_body(r) != OK) {
        return HTTP_BAD_REQUEST;
    }
    ap_set_module_config(r->connection->conn_config, &park_module, r);
    return SUSPENDED;
}

/* What http_core does with a connection, but that a suspended request waits for its client in the MPM. */
static int process(conn_rec *c)
{
    request_rec *r;

    if (ap_get_module_config(c->conn_config, &park_module)) { /* its client said something: it has left */
        c->cs->state = CONN_STATE_LINGER;
        return OK;
    }
    r = ap_read_request(c);
    c->keepalive = AP_CONN_UNKNOWN;
    if (r && r->status == HTTP_OK) {
        c->cs->state = CONN_STATE_HANDLER;
        ap_process_async_request(r);
    }
    if (ap_get_module_config(c->conn_config, &park_module)) {
        c->cs->state = CONN_STATE_ASYNC_WAITIO;
        c->cs->sense = CONN_SENSE_WANT_READ;
    } else if (c->cs->state != CONN_STATE_WRITE_COMPLETION) {
        c->cs->state = CONN_STATE_LINGER;
    }
    return OK;
}

static void hooks(apr_pool_t *p)
{
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_process_connection(process, NULL, NULL, APR_HOOK_LAST);
}

module AP_MODULE_DECLARE_DATA park_module = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, hooks, 0};
