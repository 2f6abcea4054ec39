/* mod_mdm_access: who may come from where (ACC-01..08). Directives, the check and its hooks. */
#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_request.h>
#include <apr_strings.h>

#include "access.h"
#include "mdm_web.h"

extern module AP_MODULE_DECLARE_DATA mdm_access_module;

#define WAIT_STEP apr_time_from_msec(20)
#define WAIT_STEPS 100 /* for the first lists of a new child */

typedef struct {
    apr_array_header_t *rules[MDM_ACCESS_COUNT]; /* MDMAccessRule, of mdm_filter_t */
    int off;                                     /* MDMAccessRules Off */
} srv_conf_t;

typedef struct {
    int set;
    mdm_access_e category;
    int deny; /* HTTP status */
} dir_conf_t;

/* ---------------------------------------------------------------- directives */

static void *make_srv(apr_pool_t *p, server_rec *s)
{
    srv_conf_t *c = apr_pcalloc(p, sizeof(*c));
    int i;

    for (i = 0; i < MDM_ACCESS_COUNT; i++) {
        c->rules[i] = apr_array_make(p, 4, sizeof(mdm_filter_t));
    }
    return c;
}

static void *make_dir(apr_pool_t *p, char *path)
{
    return apr_pcalloc(p, sizeof(dir_conf_t));
}

static void *merge_dir(apr_pool_t *p, void *base, void *add)
{
    return ((dir_conf_t *)add)->set ? add : base;
}

static const char *set_category(cmd_parms *cmd, const char *name, mdm_access_e *out)
{
    return mdm_access_category(name, out) == APR_SUCCESS
               ? NULL : apr_psprintf(cmd->pool, "%s: want admin, endpoint or tools", cmd->cmd->name);
}

static const char *set_access(cmd_parms *cmd, void *conf, const char *category, const char *deny)
{
    dir_conf_t *c = conf;

    c->set = 1;
    c->deny = deny && strcmp(deny, "deny=503") == 0 ? HTTP_SERVICE_UNAVAILABLE : HTTP_FORBIDDEN;
    if (deny && strcmp(deny, "deny=503") != 0 && strcmp(deny, "deny=403") != 0) {
        return "MDMAccess: the second word must be deny=503 or deny=403";
    }
    return set_category(cmd, category, &c->category);
}

static const char *set_rule(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    srv_conf_t *c = ap_get_module_config(cmd->server->module_config, &mdm_access_module);
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    mdm_ctx_t *ctx = mdm_ctx_make(cmd->pool, NULL, NULL, NULL);
    mdm_access_e category;
    mdm_filter_t f;

    if (!err && (argc < 3 || argc > 4)) {
        err = "MDMAccessRule: want a category, allow or deny, addresses (in quotes), and a description if you like";
    }
    if (!err) {
        err = set_category(cmd, argv[0], &category);
    }
    if (err) {
        return err;
    }
    if (mdm_filter_make(ctx, "conf", c->rules[category]->nelts + 1, argv[1], argv[2], argc > 3 ? argv[3] : "", &f) !=
            APR_SUCCESS || !mdm_utf8_valid(f.description, strlen(f.description))) {
        return apr_psprintf(cmd->pool, "MDMAccessRule: %s: %s", argv[2],
                            ctx->fail_text ? ctx->fail_text : "the description must be UTF-8");
    }
    APR_ARRAY_PUSH(c->rules[category], mdm_filter_t) = f;
    return NULL;
}

static const char *set_rules(cmd_parms *cmd, void *dir, int on)
{
    srv_conf_t *c = ap_get_module_config(cmd->server->module_config, &mdm_access_module);

    c->off = !on;
    return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

static const command_rec commands[] = {
    AP_INIT_TAKE12("MDMAccess", set_access, NULL, ACCESS_CONF, "whose address filters hold here, and deny=503 or deny=403"),
    AP_INIT_TAKE_ARGV("MDMAccessRule", set_rule, NULL, RSRC_CONF, "category, allow or deny, addresses, description"),
    AP_INIT_FLAG("MDMAccessRules", set_rules, NULL, RSRC_CONF, "Off: the database's filters do not hold on this node"),
    {NULL}};

/* ---------------------------------------------------------------- addresses */

static int address_of(const char *text, mdm_addr_t *out)
{
    char plain[64];

    apr_cpystrn(plain, text ? text : "", sizeof(plain));
    plain[strcspn(plain, "%")] = 0; /* of a link-local client */
    return mdm_addr_parse(plain, out) == APR_SUCCESS;
}

/* An end of the connection as the kernel knows it, whatever modules have made of it. */
static int socket_address(conn_rec *c, apr_interface_e end, mdm_addr_t *out)
{
    apr_socket_t *sock = ap_get_conn_socket(c->master ? c->master : c);
    apr_sockaddr_t *sa = NULL;
    char text[64];

    return sock && apr_socket_addr_get(&sa, end, sock) == APR_SUCCESS && sa &&
           apr_sockaddr_ip_getbuf(text, sizeof(text), sa) == APR_SUCCESS && address_of(text, out);
}

static int same(mdm_addr_t a, mdm_addr_t b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

static int is_loopback(mdm_addr_t a)
{
    return a.hi == 0 && (a.lo == 1 || a.lo >> 24 == (0xffff00000000ull | 0x7f000000u) >> 24);
}

/* The administrator who sits at the node itself: neither mod_remoteip nor the PROXY protocol said anything (ACC-06). */
static int from_here(request_rec *r)
{
    conn_rec *c = r->connection;
    mdm_addr_t peer, local, client;

    return r->useragent_addr == c->client_addr && socket_address(c, APR_REMOTE, &peer) &&
           address_of(r->useragent_ip, &client) && same(peer, client) &&
           (is_loopback(peer) || (socket_address(c, APR_LOCAL, &local) && same(peer, local)));
}

/* ---------------------------------------------------------------- the check */

static access_verdict_t ask(const mdm_services_t *svc, mdm_access_e category, const mdm_addr_t *addr)
{
    access_verdict_t v = access_lists_ask(category, addr);
    int i;

    for (i = 0; !v.known && !(v.decided && !strcmp(v.source, "conf")) && svc && !svc->db_away() && i < WAIT_STEPS; i++) {
        apr_sleep(WAIT_STEP);
        v = access_lists_ask(category, addr);
    }
    return v;
}

static int deny(request_rec *r, const dir_conf_t *dir, const mdm_services_t *svc, const access_verdict_t *v)
{
    const char *name = mdm_access_name(dir->category);

    apr_table_setn(r->notes, "mdm-decision", apr_psprintf(r->pool, "access-denied %s %s %d", name, v->source, v->position));
    if (svc) {
        svc->count(dir->category == MDM_ACCESS_ADMIN      ? MDM_N_ACCESS_ADMIN
                   : dir->category == MDM_ACCESS_ENDPOINT ? MDM_N_ACCESS_ENDPOINT
                                                          : MDM_N_ACCESS_TOOLS, 1);
        mdm_log(svc->request_ctx(r), MDM_LOG_INFO, "MDM0902", 0, "no access to %s for %s (peer %s): filter %d of %s", name,
                r->useragent_ip, r->connection->client_ip, v->position, v->source);
    }
    if (dir->deny == HTTP_SERVICE_UNAVAILABLE) {
        apr_table_setn(r->err_headers_out, "Retry-After", "300");
    }
    return dir->deny;
}

static int judge(request_rec *r, const dir_conf_t *dir)
{
    const mdm_services_t *svc = mdm_web_services();
    access_verdict_t v;
    mdm_addr_t addr;

    if (dir->category == MDM_ACCESS_ADMIN && from_here(r)) {
        return OK;
    }
    if (!address_of(r->useragent_ip, &addr)) {
        v = (access_verdict_t){1, 1, 0, "none", 0};
        return deny(r, dir, svc, &v);
    }
    v = ask(svc, dir->category, &addr);
    if (!v.known && !(v.decided && !strcmp(v.source, "conf"))) {
        apr_table_setn(r->err_headers_out, "Retry-After", "30"); /* who may come is not known: nobody, for a moment */
        return HTTP_SERVICE_UNAVAILABLE;
    }
    return v.decided && !v.allow ? deny(r, dir, svc, &v) : OK;
}

static int check(request_rec *r)
{
    const dir_conf_t *dir = ap_get_module_config(r->per_dir_config, &mdm_access_module);
    int *known = ap_get_module_config(r->request_config, &mdm_access_module);

    if (!dir->set) {
        return DECLINED;
    }
    if (!known) {
        known = apr_palloc(r->pool, sizeof(*known));
        *known = judge(r, dir);
        ap_set_module_config(r->request_config, &mdm_access_module, known);
    }
    return *known == OK ? DECLINED : *known;
}

/* For a request that was held while the filters changed. */
static int mdm_access_still(struct request_rec *r)
{
    const dir_conf_t *dir = ap_get_module_config(r->per_dir_config, &mdm_access_module);
    int in = !dir->set || judge(r, dir) == OK;

    if (!in) {
        apr_table_unset(r->err_headers_out, "Retry-After"); /* its answer is another one */
    }
    return in;
}

/* ---------------------------------------------------------------- hooks */

static srv_conf_t *main_conf;

static const apr_array_header_t *mdm_access_conf(int category, int *database)
{
    *database = !main_conf->off;
    return main_conf->rules[category];
}

static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    main_conf = ap_get_module_config(s->module_config, &mdm_access_module);
    if (!APR_RETRIEVE_OPTIONAL_FN(mdm_services)) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "MDM0903: mod_mdm_access needs mod_mdm: load it as well");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

/* Runs after post_config, before children exist. */
static void retrieve(void)
{
    const mdm_services_t *svc = mdm_web_services();

    if (svc && main_conf && !main_conf->off) {
        svc->change_watch(MDM_ACCESS_CHANGE, access_lists_read);
    }
}

static void child_init(apr_pool_t *p, server_rec *s)
{
    apr_status_t rv = access_lists_child(p, main_conf->rules, !main_conf->off);

    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "MDM0904: no memory for the address filters");
    }
}

static void hooks(apr_pool_t *p)
{
    APR_REGISTER_OPTIONAL_FN(mdm_access_conf);
    APR_REGISTER_OPTIONAL_FN(mdm_access_still);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_optional_fn_retrieve(retrieve, NULL, NULL, APR_HOOK_LAST);
    /* Before the thread that reads the lists starts. */
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_check_access(check, NULL, NULL, APR_HOOK_FIRST, AP_AUTH_INTERNAL_PER_URI);
    /* "Satisfy Any" turns a refusal into a question for a password; nothing gets past this one. */
    ap_hook_fixups(check, NULL, NULL, APR_HOOK_REALLY_FIRST);
}

AP_DECLARE_MODULE(mdm_access) = {
    STANDARD20_MODULE_STUFF, make_dir, merge_dir, make_srv, NULL, commands, hooks, 0,
};
