/* mod_mdm_admin: the console and its JSON API as a location handler. Directives and hooks only. */
#include "mdm_admin.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_log.h>
#include <http_main.h>
#include <http_protocol.h>
#include <http_request.h>

extern module AP_MODULE_DECLARE_DATA mdm_admin_module;

typedef struct srv_conf_t {
    const char *files_dir;
    apr_hash_t *files; /* read in post_config; constant afterwards */
} srv_conf_t;

typedef struct dir_conf_t {
    const char *base; /* path of the <Location> that says MDMAdmin On */
    int on;           /* -1 = not said */
} dir_conf_t;

static void *make_srv(apr_pool_t *p, server_rec *s)
{
    return apr_pcalloc(p, sizeof(srv_conf_t));
}

static void *make_dir(apr_pool_t *p, char *path)
{
    dir_conf_t *c = apr_pcalloc(p, sizeof(*c));
    c->on = -1;
    return c;
}

static void *merge_dir(apr_pool_t *p, void *base, void *add)
{
    dir_conf_t *b = base, *a = add, *c = apr_pcalloc(p, sizeof(*c));

    *c = a->on >= 0 ? *a : *b;
    return c;
}

static const char *set_on(cmd_parms *cmd, void *conf, int on)
{
    dir_conf_t *c = conf;
    apr_size_t n = cmd->path ? strlen(cmd->path) : 0;

    if (!n || cmd->path[0] != '/' || ap_strchr_c(cmd->path, '*') || ap_strchr_c(cmd->path, '?'))
        return "MDMAdmin belongs into a <Location> with a plain path";
    while (n > 1 && cmd->path[n - 1] == '/')
        n--;
    c->base = apr_pstrmemdup(cmd->pool, cmd->path, n);
    c->on = on;
    return NULL;
}

static const char *set_files(cmd_parms *cmd, void *conf, const char *dir)
{
    srv_conf_t *c = ap_get_module_config(cmd->server->module_config, &mdm_admin_module);
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    if (err)
        return err;
    c->files_dir = ap_server_root_relative(cmd->pool, dir);
    return c->files_dir ? NULL : "MDMAdminFiles: not a path";
}

static const command_rec commands[] = {
    AP_INIT_FLAG("MDMAdmin", set_on, NULL, ACCESS_CONF, "On: the console and API live below this location"),
    AP_INIT_TAKE1("MDMAdminFiles", set_files, NULL, RSRC_CONF, "folder of the console's pages"),
    {NULL}};

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    srv_conf_t *c = ap_get_module_config(s->module_config, &mdm_admin_module);

    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
        return OK;
    c->files = c->files_dir ? mdm_adm_files_load(s, pconf, c->files_dir) : apr_hash_make(pconf);
    return OK;
}

static int handler(request_rec *r)
{
    const dir_conf_t *dir;
    const srv_conf_t *srv;
    const mdm_services_t *svc;
    mdm_admin_req_t *req;
    const mdm_route_t *routes;
    int n;

    if (!r->handler || strcmp(r->handler, "mdm-admin") != 0)
        return DECLINED;
    dir = ap_get_module_config(r->per_dir_config, &mdm_admin_module);
    srv = ap_get_module_config(ap_server_conf->module_config, &mdm_admin_module);
    svc = mdm_web_services();
    if (dir->on != 1 || !dir->base) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MDM0701: SetHandler mdm-admin without MDMAdmin On in the <Location>");
        return HTTP_NOT_FOUND;
    }
    if (!svc || !srv->files) {
        apr_table_setn(r->err_headers_out, "Retry-After", "30");
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (strcmp(r->uri, dir->base) == 0 && strcmp(dir->base, "/") != 0)
        return mdm_web_redirect(r, apr_pstrcat(r->pool, dir->base, "/", NULL));
    req = apr_pcalloc(r->pool, sizeof(*req));
    req->base = strcmp(dir->base, "/") == 0 ? "" : dir->base;
    req->files = srv->files;
    routes = mdm_adm_routes(&n);
    return mdm_web_dispatch(r, svc, dir->base, "admin", routes, n, req);
}

static void hooks(apr_pool_t *p)
{
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(mdm_admin) = {
    STANDARD20_MODULE_STUFF, make_dir, merge_dir, make_srv, NULL, commands, hooks, 0,
};
