/* mod_mdm_eas: the ActiveSync gate and proxy. The directive MDMEas, hooks, what is checked at the start (PXY-03). */
#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_main.h>
#include <http_log.h>
#include <http_request.h>
#include <mod_proxy.h>

#include "domain/mdm_enroll.h"
#include "eas_back.h"
#include "mdm_web.h"
#include "wire/mdm_autodiscover.h"

APLOG_USE_MODULE(mdm_eas);
extern module AP_MODULE_DECLARE_DATA mdm_eas_module;

#define LONGEST_PING apr_time_from_sec(3540) /* the longest heartbeat of the protocol */

/* Per server and per directory alike. */
typedef struct place_t {
    int on, set;
} place_t;

static void *make_dir(apr_pool_t *p, char *dir)
{
    return apr_pcalloc(p, sizeof(place_t));
}

static void *make_srv(apr_pool_t *p, server_rec *s)
{
    return apr_pcalloc(p, sizeof(place_t));
}

static void *merge(apr_pool_t *p, void *base, void *add)
{
    return ((place_t *)add)->set ? add : base;
}

static const char *set_eas(cmd_parms *cmd, void *dir, int on)
{
    place_t *place = dir, *srv = ap_get_module_config(cmd->server->module_config, &mdm_eas_module);

    place->on = on;
    place->set = 1;
    srv->on |= on;
    srv->set |= on;
    return NULL;
}

static const command_rec commands[] = {
    AP_INIT_FLAG("MDMEas", set_eas, NULL, RSRC_CONF | ACCESS_CONF, "on: the address of ActiveSync is answered by the gate"),
    {NULL}};

/* ---------------------------------------------------------------- what is ours */

/* In any case of letters, so that no client gets around the gate; more than this the path may not be, see eas_gate.c. */
static int is_ours(request_rec *r)
{
    const place_t *place = ap_get_module_config(r->per_dir_config, &mdm_eas_module);

    return place->on && (mdm_eas_path_ok(r->uri) || mdm_autodiscover_path(r->uri));
}

/* Our address is no file: httpd need not look for it on disk, and no <Directory> holds for it. <Location> does as ever. */
static int find_ours(request_rec *r)
{
    if (is_ours(r)) {
        eas_call_of(r);
    }
    return DECLINED;
}

static int no_file(request_rec *r)
{
    return ap_get_module_config(r->request_config, &mdm_eas_module) ? OK : DECLINED;
}

static int handler(request_rec *r)
{
    const mdm_services_t *svc;

    if (!is_ours(r)) {
        return DECLINED;
    }
    svc = mdm_web_services();
    if (!svc) {
        apr_table_setn(r->headers_out, "Retry-After", "30");
        return mdm_web_empty(r, HTTP_SERVICE_UNAVAILABLE);
    }
    return mdm_autodiscover_path(r->uri) ? eas_autodiscover(r, svc) : eas_handler(r, svc);
}

/* ---------------------------------------------------------------- start */

static int has_http2(const server_rec *s)
{
    const core_server_config *core = ap_get_core_module_config(s->module_config);
    int i;

    for (i = 0; core->protocols && i < core->protocols->nelts; i++) {
        if (!strncmp(APR_ARRAY_IDX(core->protocols, i, const char *), "h2", 2)) {
            return 1;
        }
    }
    return 0;
}

static void check_timeout(server_rec *s, const module *proxy)
{
    const proxy_server_conf *conf = ap_get_module_config(s->module_config, proxy);
    apr_interval_time_t t = conf->timeout_set ? conf->timeout : s->timeout;

    if (t < LONGEST_PING) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "MDM0822: ProxyTimeout is %d s: a phone's waiting request (Ping) can take %d s",
                     (int)apr_time_sec(t), (int)apr_time_sec(LONGEST_PING));
    }
}

static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *main_server)
{
    module *proxy = ap_find_linked_module("mod_proxy.c");
    server_rec *s;

    if (!APR_RETRIEVE_OPTIONAL_FN(mdm_services)) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, main_server, "MDM0820: mod_mdm_eas needs mod_mdm: load it as well");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    for (s = main_server; s; s = s->next) {
        const place_t *srv = ap_get_module_config(s->module_config, &mdm_eas_module);

        if (!srv->on) {
            continue;
        }
        if (!proxy) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "MDM0820: MDMEas needs mod_proxy: load it as well");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        if (has_http2(s)) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "MDM0821: MDMEas does not go with HTTP/2: set Protocols http/1.1 in this "
                         "virtual host");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        if (eas_directive(s, "SSLProxyEngine", "on") && !eas_directive(s, "SSLProxyVerify", NULL)) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "MDM0824: SSLProxyEngine is on without SSLProxyVerify: passwords would go to mail "
                         "servers whose certificates nobody checks: set SSLProxyVerify require");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        check_timeout(s, proxy);
    }
    return OK;
}

/* Runs after post_config, before children exist. */
static void retrieve(void)
{
    const mdm_services_t *svc = mdm_web_services();
    server_rec *s;
    int any = 0;

    if (!svc) {
        return;
    }
    svc->change_watch(MDM_EAS_SERVER_CHANGE, eas_servers_read);
    svc->change_watch("setting", eas_servers_read);
    svc->change_watch("zone", eas_gate_read);
    svc->change_watch(MDM_ENROLL_CHANGE, eas_denied_forget);
    svc->change_watch("person", eas_denied_forget);
    for (s = ap_server_conf; s; s = s->next) {
        const place_t *place = ap_get_module_config(s->module_config, &mdm_eas_module);

        if (place->on) {
            svc->hold_at(s);
            eas_check_place(s);
            any = 1;
        }
    }
    if (any) {
        eas_check_server(ap_server_conf);
    }
}

static void child_init(apr_pool_t *p, server_rec *s)
{
    apr_status_t rv = eas_servers_child(p);

    if (rv == APR_SUCCESS) {
        rv = eas_denied_child(p);
    }
    if (rv == APR_SUCCESS) {
        rv = eas_settings_child(p);
    }
    if (rv == APR_SUCCESS && ap_find_linked_module("mod_proxy.c")) {
        rv = eas_back_child(p);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "MDM0823: mail servers can't be reached from this child");
    }
}

static void hooks(apr_pool_t *p)
{
    static const char *const before_proxy[] = {"mod_proxy.c", NULL};

    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_optional_fn_retrieve(retrieve, NULL, NULL, APR_HOOK_LAST);
    /* Before the thread that reads the list starts. */
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_translate_name(find_ours, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_map_to_storage(no_file, NULL, NULL, APR_HOOK_FIRST);
    /* A ProxyPass for the same address must not get around the gate. */
    ap_hook_handler(handler, NULL, before_proxy, APR_HOOK_REALLY_FIRST);
    ap_hook_log_transaction(eas_count, NULL, NULL, APR_HOOK_MIDDLE);
    eas_back_register();
    eas_body_register();
}

module AP_MODULE_DECLARE_DATA mdm_eas_module = {
    STANDARD20_MODULE_STUFF, make_dir, merge, make_srv, merge, commands, hooks, AP_MODULE_FLAG_NONE};
