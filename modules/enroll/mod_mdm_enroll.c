/* mod_mdm_enroll: the self-service portal and the enrolment links. Directives, hooks, handlers. */
#include "enroll.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>

APLOG_USE_MODULE(mdm_enroll);
extern module AP_MODULE_DECLARE_DATA mdm_enroll_module;

/* Per <Location>: the path of the portal. */
typedef struct place_t {
    const char *portal;
} place_t;

static void *place_make(apr_pool_t *p, char *dir)
{
    return apr_pcalloc(p, sizeof(place_t));
}

static void *place_merge(apr_pool_t *p, void *base, void *add)
{
    place_t *out = apr_pcalloc(p, sizeof(*out));

    out->portal = ((place_t *)add)->portal ? ((place_t *)add)->portal : ((place_t *)base)->portal;
    return out;
}

static void *conf_make(apr_pool_t *p, server_rec *s)
{
    return apr_pcalloc(p, sizeof(enroll_conf_t));
}

static void *conf_merge(apr_pool_t *p, void *base, void *add)
{
    const enroll_conf_t *b = base, *a = add;
    enroll_conf_t *out = apr_pcalloc(p, sizeof(*out));

    out->dir = a->dir ? a->dir : b->dir;
    out->portal = a->portal ? a->portal : b->portal;
    return out;
}

static const char *set_portal(cmd_parms *cmd, void *dir, int on)
{
    enroll_conf_t *conf = ap_get_module_config(cmd->server->module_config, &mdm_enroll_module);
    place_t *place = dir;
    apr_size_t len;

    if (!cmd->path || cmd->path[0] != '/' || ap_strchr_c(cmd->path, '*') || ap_strchr_c(cmd->path, '?')) {
        return "MDMPortal belongs into a <Location> with a plain path";
    }
    if (on) {
        for (len = strlen(cmd->path); len && cmd->path[len - 1] == '/';) {
            --len;
        }
        place->portal = conf->portal = apr_pstrmemdup(cmd->pool, cmd->path, len);
    }
    return NULL;
}

static const char *set_files(cmd_parms *cmd, void *dir, const char *arg)
{
    enroll_conf_t *conf = ap_get_module_config(cmd->server->module_config, &mdm_enroll_module);

    conf->dir = ap_server_root_relative(cmd->pool, arg);
    return conf->dir ? NULL : "MDMPortalFiles: not a path";
}

static const command_rec commands[] = {
    AP_INIT_FLAG("MDMPortal", set_portal, NULL, ACCESS_CONF, "on: this location is the self-service portal"),
    AP_INIT_TAKE1("MDMPortalFiles", set_files, NULL, RSRC_CONF, "folder of the portal's pages"),
    {NULL}};

static int read_files(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *main_server)
{
    const enroll_files_t *last = NULL;
    const char *last_dir = NULL;
    server_rec *s;

    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;
    }
    for (s = main_server; s; s = s->next) {
        enroll_conf_t *conf = ap_get_module_config(s->module_config, &mdm_enroll_module);

        if (!conf->portal) {
            conf->portal = "/portal";
        }
        if (!conf->dir) {
            continue;
        }
        if (!last || strcmp(last_dir, conf->dir)) {
            last = enroll_files_load(main_server, pconf, conf->dir);
            last_dir = conf->dir;
        }
        if (!(conf->files = last)) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}

static int answer(request_rec *r, const char *base, const mdm_route_t *routes, int n)
{
    const mdm_services_t *svc = mdm_web_services();
    enroll_conf_t *conf = ap_get_module_config(r->server->module_config, &mdm_enroll_module);

    if (!svc) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MDM0602: mod_mdm is not loaded or has another version");
        return HTTP_SERVICE_UNAVAILABLE;
    }
    return mdm_web_dispatch(r, svc, base, "portal", routes, n, conf);
}

static int handle(request_rec *r)
{
    const place_t *place;

    if (!r->handler) {
        return DECLINED;
    }
    if (!strcmp(r->handler, "mdm-enroll")) {
        return answer(r, ENROLL_BASE, enroll_link_routes, enroll_link_nroutes);
    }
    if (!strcmp(r->handler, "mdm-account")) {
        return answer(r, ENROLL_DISCOVERY, enroll_discovery_routes, enroll_discovery_nroutes);
    }
    if (strcmp(r->handler, "mdm-portal")) {
        return DECLINED;
    }
    place = ap_get_module_config(r->per_dir_config, &mdm_enroll_module);
    return place->portal ? answer(r, place->portal, enroll_portal_routes, enroll_portal_nroutes) : HTTP_NOT_FOUND;
}

/* Access logs get the address of a link without the link's proof. */
static int hide_link(request_rec *r)
{
    if (r->handler && !strcmp(r->handler, "mdm-enroll")) {
        enroll_hide_token(r);
    }
    else if (r->handler && !strcmp(r->handler, "mdm-account")) { /* nor whose account it is */
        r->unparsed_uri = r->uri;
        r->the_request = apr_pstrcat(r->pool, r->method, " ", r->uri, " ", r->protocol, NULL);
    }
    return DECLINED;
}

/* Runs after post_config, before children exist. */
static void retrieve(void)
{
    const mdm_services_t *svc = mdm_web_services();

    if (svc) {
        svc->job_kind(&enroll_match_kind);
        svc->job_kind(&enroll_bulk_kind);
    }
}

static void hooks(apr_pool_t *p)
{
    ap_hook_optional_fn_retrieve(retrieve, NULL, NULL, APR_HOOK_LAST);
    ap_hook_log_transaction(hide_link, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_post_config(read_files, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA mdm_enroll_module = {
    STANDARD20_MODULE_STUFF, place_make, place_merge, conf_make, conf_merge, commands, hooks, AP_MODULE_FLAG_NONE};
