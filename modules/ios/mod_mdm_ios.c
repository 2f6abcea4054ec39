/* mod_mdm_ios: Apple's MDM protocol and SCEP. Handlers "mdm-device", "mdm-scep" and "mdm-service"; the jobs of push and renewal. */
#include <string.h>

#include <ap_expr.h>
#include <apr_strings.h>
#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_request.h>

#include "domain/mdm_ca.h"
#include "domain/mdm_cidr.h"
#include "ios.h"
#include "wire/mdm_http.h"

APLOG_USE_MODULE(mdm_ios);

static int run(request_rec *r, int (*handler)(request_rec *r, const mdm_services_t *svc))
{
    const mdm_services_t *svc = mdm_web_services();

    if (!svc) {
        apr_table_setn(r->headers_out, "Retry-After", "30");
        return mdm_web_empty(r, HTTP_SERVICE_UNAVAILABLE);
    }
    return handler(r, svc);
}

static int handler(request_rec *r)
{
    if (!r->handler) {
        return DECLINED;
    }
    if (!strcmp(r->handler, "mdm-device")) {
        return run(r, ios_device_handler);
    }
    if (!strcmp(r->handler, "mdm-scep")) {
        return run(r, ios_scep_handler);
    }
    if (!strcmp(r->handler, "mdm-service")) {
        return run(r, ios_service_handler);
    }
    return DECLINED;
}

static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    if (!APR_RETRIEVE_OPTIONAL_FN(mdm_services)) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "MDM0401: mod_mdm_ios needs mod_mdm: load it as well");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

/* Our addresses are no files: httpd need not look for them on disk (a walk of stats for each poll), and nothing that it meets
 * there, nor a <Directory> that denies all, may answer a device with 403. <Location> holds as ever. What handles the request is
 * known here, but no longer in map_to_storage. */
static int find_ours(request_rec *r)
{
    const core_dir_config *d = ap_get_core_module_config(r->per_dir_config);
    const char *err = NULL, *name = d->expr_handler ? ap_expr_str_exec(r, d->expr_handler, &err) : NULL;

    if (name && !err && (!strcmp(name, "mdm-device") || !strcmp(name, "mdm-scep") || !strcmp(name, "mdm-service"))) {
        ap_set_module_config(r->request_config, &mdm_ios_module, r);
    }
    return DECLINED;
}

static int no_file(request_rec *r)
{
    return ap_get_module_config(r->request_config, &mdm_ios_module) ? OK : DECLINED;
}

/* Runs after post_config, before children exist. */
static void retrieve(void)
{
    const mdm_services_t *svc = mdm_web_services();

    mdm_http_global_init();
    if (svc) {
        svc->job_kind(&ios_renew_kind);
        svc->change_watch(MDM_CA_CHANGE, ios_scep_changed);
        svc->change_watch(MDM_CERT_CHANGE, ios_scep_revoked);
        ios_push_jobs(svc);
    }
}

static void child_init(apr_pool_t *p, server_rec *s)
{
    ios_push_child_init(p);
    ios_scep_child_init(p);
}

static void hooks(apr_pool_t *p)
{
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_optional_fn_retrieve(retrieve, NULL, NULL, APR_HOOK_LAST);
    /* Before job threads start. */
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_translate_name(find_ours, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_map_to_storage(no_file, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
}

/* ---------------------------------------------------------------- configuration */

static void *conf_make(apr_pool_t *p, server_rec *s)
{
    return apr_pcalloc(p, sizeof(ios_conf_t));
}

static void *conf_merge(apr_pool_t *p, void *base, void *add)
{
    return ((ios_conf_t *)add)->header ? add : base;
}

static const char *set_header(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    ios_conf_t *conf = ap_get_module_config(cmd->server->module_config, &mdm_ios_module);
    mdm_ctx_t *ctx = mdm_ctx_make(cmd->temp_pool, NULL, NULL, NULL);
    apr_array_header_t *words = apr_array_make(cmd->temp_pool, 4, sizeof(char *)), *ranges;
    const apr_array_header_t *list[1];
    const char *err = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT);

    if (err) {
        return err;
    }
    if (argc < 3 || strcasecmp(argv[1], "from") != 0) {
        return "MDMCertificateHeader: want <header> from <addresses of the proxies>";
    }
    for (int i = 2; i < argc; i++) {
        apr_size_t len = strlen(argv[i]);
        APR_ARRAY_PUSH(words, char *) = apr_pstrmemdup(cmd->temp_pool, argv[i], len - (len && argv[i][len - 1] == ','));
    }
    if (mdm_cidr_parse(ctx, "", apr_array_pstrcat(cmd->temp_pool, words, ','), &ranges, NULL) != APR_SUCCESS) {
        return apr_psprintf(cmd->pool, "MDMCertificateHeader: %s", ctx->fail_text);
    }
    list[0] = ranges;
    if (mdm_cidr_compile(cmd->pool, list, 1, &conf->proxies) != APR_SUCCESS) {
        return "MDMCertificateHeader: the addresses can't be used";
    }
    conf->header = apr_pstrdup(cmd->pool, argv[0]);
    return NULL;
}

static const command_rec commands[] = {
    AP_INIT_TAKE_ARGV("MDMCertificateHeader", set_header, NULL, RSRC_CONF,
                      "<header> from <addresses>: proxies that say in this header which client certificate a device has"),
    {NULL}};

module AP_MODULE_DECLARE_DATA mdm_ios_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, conf_make, conf_merge, commands, hooks,
#if defined(AP_MODULE_FLAG_NONE)
    AP_MODULE_FLAG_NONE
#endif
};
