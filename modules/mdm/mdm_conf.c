/* Owns the directives: one row each, one setter per type. */
#include <apr_uri.h>
#include <unistd.h>
#include "mdm_private.h"

typedef enum { T_TEXT, T_URL, T_FILE, T_INT, T_SIZE, T_TIME, T_FLAG } type_e;

typedef struct {
    const char *directive;
    type_e type;
    int global;             /* not inside a virtual host */
    const char *sdef;
    apr_int64_t def, min, max; /* sizes in bytes, times in milliseconds */
    const char *help;
} field_t;

#define KB 1024LL
#define MB (1024LL * 1024)
#define GB (1024LL * 1024 * 1024)

static const field_t fields[MDM_C_COUNT] = {
    [MDM_C_PUBLIC_URL] = {.directive = "MDMPublicURL", .type = T_URL,
        .help = "where devices and people reach this server: https://host[:port]; default https:// and ServerName"},
    [MDM_C_NODE_NAME] = {.directive = "MDMNodeName", .type = T_TEXT, .global = 1, .max = 64,
        .help = "name of this node in the zone; default: the host name"},
    [MDM_C_KEY_FILE] = {.directive = "MDMKeyFile", .type = T_FILE, .global = 1,
        .help = "sealing keys, readable by root alone; the same file on all nodes"},
    [MDM_C_CACHE_SIZE] = {.directive = "MDMCacheSize", .type = T_SIZE, .global = 1, .def = 64 * MB, .min = MB, .max = 64 * GB,
        .help = "shared memory of the device cache, with K, M or G: 1M to 64G, default 64M (about 280,000 devices)"},
    [MDM_C_DB_TIMEOUT] = {.directive = "MDMDatabaseTimeout", .type = T_TIME, .global = 1, .def = 3000, .min = 500,
        .max = 60000, .help = "longest time of one statement, in seconds or with ms: 500ms to 60, default 3"},
    [MDM_C_DB_CONNECTIONS] = {.directive = "MDMDatabaseConnections", .type = T_INT, .global = 1, .def = 10, .min = 2,
        .max = 256, .help = "connections that a child uses at once: 2 to 256, default 10; not above DBDMax"},
    [MDM_C_JOB_THREADS] = {.directive = "MDMJobThreads", .type = T_INT, .global = 1, .def = 4, .min = 1, .max = 64,
        .help = "threads per child for background work: 1 to 64, default 4"},
    [MDM_C_ORGANISATION] = {.directive = "MDMOrganisation", .type = T_TEXT, .sdef = "Mobile Device Management", .max = 128,
        .help = "name that people see in profiles"},
    [MDM_C_SIGN_MESSAGE] = {.directive = "MDMSignMessage", .type = T_FLAG, .def = 0,
        .help = "on: devices sign each request (Mdm-Signature), for servers behind a TLS terminator; default off"},
    [MDM_C_PROFILE_SERVICE] = {.directive = "MDMProfileService", .type = T_FLAG, .def = 0,
        .help = "on: a device that enrols first says its serial number, and gets its identity only if it may enrol; default off"},
    [MDM_C_SCEP_LEGACY] = {.directive = "MDMScepLegacy", .type = T_FLAG, .def = 0,
        .help = "on: also accept 3DES and SHA-1 in SCEP; default off"},
    [MDM_C_TRUST_ANCHORS] = {.directive = "MDMTrustAnchors", .type = T_FILE,
        .help = "PEM file of roots to put into enrolment profiles when TLS is not publicly trusted"},
    [MDM_C_APNS_URL] = {.directive = "MDMApnsURL", .type = T_URL, .global = 1, .sdef = "https://api.push.apple.com",
        .help = "where pushes go; default https://api.push.apple.com"},
    [MDM_C_APNS_CA] = {.directive = "MDMApnsCAFile", .type = T_FILE, .global = 1,
        .help = "PEM file of roots that the push server must have; default: the system's"},
    [MDM_C_OUTBOUND_CA] = {.directive = "MDMOutboundCAFile", .type = T_FILE, .global = 1,
        .help = "PEM file of roots for other outgoing connections; default: the system's"},
    [MDM_C_OUTBOUND_LOCAL] = {.directive = "MDMOutboundLocal", .type = T_FLAG, .global = 1, .def = 0,
        .help = "on: services that administrators name may have addresses of this host; default off"},
    [MDM_C_OUTBOUND] = {.directive = "MDMOutbound", .type = T_FLAG, .global = 1, .def = 1,
        .help = "off: this node reaches nothing outside; other nodes push for it; default on"},
    [MDM_C_CHANGE_INTERVAL] = {.directive = "MDMChangeInterval", .type = T_TIME, .global = 1, .def = 1000, .min = 100,
        .max = 10000, .help = "how often each child reads the change table, in seconds or with ms: 100ms to 10, default 1"},
    [MDM_C_MAX_HELD] = {.directive = "MDMEasMaxHeld", .type = T_INT, .global = 1, .def = 50000, .min = 0, .max = 10000000,
        .help = "waiting requests of mail clients that this node holds at once, without a thread each: 0 to 10000000, default 50000"},
    [MDM_C_DRAIN] = {.directive = "MDMEasDrain", .type = T_TIME, .global = 1, .def = 3000, .min = 0, .max = 600000,
        .help = "over how long waiting requests of mail clients are ended when a process stops gracefully, in seconds or with ms: 0 to 600, "
                "default 3"},
    [MDM_C_AUDIT_DAYS] = {.directive = "MDMAuditDays", .type = T_INT, .global = 1, .def = 730, .min = 0, .max = 36500,
        .help = "days that audit rows are kept; 0: for ever; default 730"},
    [MDM_C_CORE_DUMPS] = {.directive = "MDMCoreDumps", .type = T_FLAG, .global = 1, .def = 0,
        .help = "on: children may write core dumps, which hold keys; for debugging only; default off"},
};

/* ---------------------------------------------------------------- values */

static const char *parse_number(cmd_parms *cmd, const field_t *f, const char *arg, apr_int64_t *out)
{
    char *end;
    apr_int64_t v, unit = 1;

    errno = 0;
    v = apr_strtoi64(arg, &end, 10);
    if (end == arg || errno == ERANGE || v < 0) {
        return apr_psprintf(cmd->pool, "%s: '%s' is not a number", f->directive, arg);
    }
    if (f->type == T_SIZE) {
        unit = *end == 'K' ? KB : *end == 'M' ? MB : *end == 'G' ? GB : 1;
        end += unit != 1;
    } else if (f->type == T_TIME) {
        unit = strcmp(end, "ms") == 0 ? 1 : 1000;
        end += unit == 1 ? 2 : *end == 's';
    }
    if (*end || v > f->max / unit || v * unit < f->min) {
        return apr_psprintf(cmd->pool, "%s: '%s' is out of range; %s", f->directive, arg, f->help);
    }
    *out = v * unit;
    return NULL;
}

static const char *parse_url(cmd_parms *cmd, const field_t *f, const char *arg, const char **out)
{
    apr_uri_t u;
    const char *why = NULL;

    if (apr_uri_parse(cmd->pool, arg, &u) != APR_SUCCESS || !u.hostname || !*u.hostname || !u.scheme) {
        why = "is not a URL with a host";
    } else if (strcmp(u.scheme, "https") != 0 &&
               (strcmp(u.scheme, "http") != 0 ||
                (strcmp(u.hostname, "localhost") != 0 && strcmp(u.hostname, "127.0.0.1") != 0))) {
        why = "must begin with https:// (http:// only for localhost)";
    } else if ((u.path && *u.path) || u.query || u.fragment || u.user || u.password) {
        why = "must end after the host or port";
    }
    if (why) {
        return apr_psprintf(cmd->pool, "%s: '%s' %s", f->directive, arg, why);
    }
    *out = apr_pstrdup(cmd->pool, arg);
    return NULL;
}

static const char *parse_text(cmd_parms *cmd, const field_t *f, const char *arg, const char **out)
{
    if (f->type == T_FILE) {
        *out = ap_server_root_relative(cmd->pool, arg);
        return *out ? NULL : apr_psprintf(cmd->pool, "%s: '%s' is not a usable path", f->directive, arg);
    }
    if (!*arg || strlen(arg) > (apr_size_t)f->max || !mdm_utf8_valid(arg, strlen(arg))) {
        return apr_psprintf(cmd->pool, "%s: want 1 to %d bytes of UTF-8", f->directive, (int)f->max);
    }
    *out = arg;
    return NULL;
}

static const char *set(cmd_parms *cmd, void *dir, const char *arg)
{
    const field_t *f = cmd->info;
    int row = (int)(f - fields);
    mdm_sconf_t *c = ap_get_module_config(cmd->server->module_config, &mdm_module);
    const char *err = ap_check_cmd_context(cmd, f->global ? GLOBAL_ONLY : NOT_IN_DIR_CONTEXT);

    if (err) {
        return err;
    }
    err = f->type == T_URL                          ? parse_url(cmd, f, arg, &c->str[row])
          : f->type == T_TEXT || f->type == T_FILE ? parse_text(cmd, f, arg, &c->str[row])
                                                    : parse_number(cmd, f, arg, &c->num[row]);
    c->set |= 1u << row;
    return err;
}

static const char *set_flag(cmd_parms *cmd, void *dir, int on)
{
    const field_t *f = cmd->info;
    mdm_sconf_t *c = ap_get_module_config(cmd->server->module_config, &mdm_module);
    const char *err = ap_check_cmd_context(cmd, f->global ? GLOBAL_ONLY : NOT_IN_DIR_CONTEXT);

    c->num[f - fields] = on != 0;
    c->set |= 1u << (f - fields);
    return err;
}

static const char *set_login(cmd_parms *cmd, void *dir, const char *arg)
{
    mdm_dconf_t *d = dir;

    if (arg[0] != '/' || arg[1] == '/' || strpbrk(arg, "?#\\ ")) {
        return "MDMLogin: want a path on this server, like /admin/login";
    }
    d->login = arg;
    return NULL;
}

static const char *set_session(cmd_parms *cmd, void *dir, const char *arg)
{
    mdm_dconf_t *d = dir;

    if (strcmp(arg, "admin") != 0 && strcmp(arg, "portal") != 0) {
        return "MDMSession: want admin or portal";
    }
    d->session = arg;
    return NULL;
}

#define TAKE(n, name) AP_INIT_TAKE1(name, set, (void *)&fields[n], RSRC_CONF, "see docs/operations.md")
#define FLAG(n, name) AP_INIT_FLAG(name, set_flag, (void *)&fields[n], RSRC_CONF, "On or Off")

const command_rec mdm_conf_commands[] = {
    TAKE(MDM_C_PUBLIC_URL, "MDMPublicURL"),
    TAKE(MDM_C_NODE_NAME, "MDMNodeName"),
    TAKE(MDM_C_KEY_FILE, "MDMKeyFile"),
    TAKE(MDM_C_CACHE_SIZE, "MDMCacheSize"),
    TAKE(MDM_C_DB_TIMEOUT, "MDMDatabaseTimeout"),
    TAKE(MDM_C_DB_CONNECTIONS, "MDMDatabaseConnections"),
    TAKE(MDM_C_JOB_THREADS, "MDMJobThreads"),
    TAKE(MDM_C_ORGANISATION, "MDMOrganisation"),
    FLAG(MDM_C_SIGN_MESSAGE, "MDMSignMessage"),
    FLAG(MDM_C_PROFILE_SERVICE, "MDMProfileService"),
    FLAG(MDM_C_SCEP_LEGACY, "MDMScepLegacy"),
    TAKE(MDM_C_TRUST_ANCHORS, "MDMTrustAnchors"),
    TAKE(MDM_C_APNS_URL, "MDMApnsURL"),
    TAKE(MDM_C_APNS_CA, "MDMApnsCAFile"),
    TAKE(MDM_C_OUTBOUND_CA, "MDMOutboundCAFile"),
    FLAG(MDM_C_OUTBOUND_LOCAL, "MDMOutboundLocal"),
    FLAG(MDM_C_OUTBOUND, "MDMOutbound"),
    TAKE(MDM_C_CHANGE_INTERVAL, "MDMChangeInterval"),
    TAKE(MDM_C_MAX_HELD, "MDMEasMaxHeld"),
    TAKE(MDM_C_DRAIN, "MDMEasDrain"),
    TAKE(MDM_C_AUDIT_DAYS, "MDMAuditDays"),
    FLAG(MDM_C_CORE_DUMPS, "MDMCoreDumps"),
    AP_INIT_TAKE1("MDMLogin", set_login, NULL, ACCESS_CONF, "log-in page for AuthType MDM"),
    AP_INIT_TAKE1("MDMSession", set_session, NULL, ACCESS_CONF, "whose sessions AuthType MDM accepts: admin or portal"),
    {NULL}};

/* ---------------------------------------------------------------- life */

void *mdm_conf_server(apr_pool_t *p, server_rec *s)
{
    mdm_sconf_t *c = apr_pcalloc(p, sizeof(*c));
    int i;

    for (i = 0; i < MDM_C_COUNT; i++) {
        c->str[i] = fields[i].sdef;
        c->num[i] = fields[i].def;
    }
    return c;
}

void *mdm_conf_server_merge(apr_pool_t *p, void *base, void *add)
{
    mdm_sconf_t *b = base, *a = add, *c = apr_pmemdup(p, base, sizeof(*c));
    int i;

    for (i = 0; i < MDM_C_COUNT; i++) {
        if (a->set & (1u << i)) {
            c->str[i] = a->str[i];
            c->num[i] = a->num[i];
        }
    }
    c->set = a->set | b->set;
    return c;
}

void *mdm_conf_dir(apr_pool_t *p, char *dir)
{
    return apr_pcalloc(p, sizeof(mdm_dconf_t));
}

void *mdm_conf_dir_merge(apr_pool_t *p, void *base, void *add)
{
    mdm_dconf_t *b = base, *a = add, *c = apr_palloc(p, sizeof(*c));

    c->login = a->login ? a->login : b->login;
    c->session = a->session ? a->session : b->session;
    return c;
}

static int check_files(apr_pool_t *ptemp, server_rec *s, const mdm_sconf_t *c)
{
    apr_finfo_t info;
    int i;

    for (i = 0; i < MDM_C_COUNT; i++) {
        apr_status_t rv;

        if (fields[i].type != T_FILE || !c->str[i]) {
            continue;
        }
        rv = apr_stat(&info, c->str[i], APR_FINFO_TYPE, ptemp);
        if ((rv != APR_SUCCESS || info.filetype != APR_REG) && !APR_STATUS_IS_EACCES(rv)) {
            ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_STARTUP, rv, s, "MDM0206: %s: there is no file %s",
                         fields[i].directive, c->str[i]);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}

/* Runs for -t, each start and each restart. Keys are not read for -t -D DUMP_…, nor by somebody who may not. */
int mdm_conf_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    mdm_sconf_t *main = ap_get_module_config(s->module_config, &mdm_module);
    mdm_ctx_t *ctx;
    mdm_keyring_t *keys;
    server_rec *v;

    mdm_core.main = s;
    for (v = s; v; v = v->next) {
        mdm_sconf_t *c = ap_get_module_config(v->module_config, &mdm_module);

        if (check_files(ptemp, v, c) != OK) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        if (!c->str[MDM_C_PUBLIC_URL]) {
            c->str[MDM_C_PUBLIC_URL] = apr_pstrcat(pconf, "https://", v->server_hostname ? v->server_hostname : "localhost",
                                                   NULL);
        }
    }
    if (!main->str[MDM_C_NODE_NAME]) {
        char name[APRMAXHOSTLEN + 1] = "";

        apr_gethostname(name, APRMAXHOSTLEN, ptemp);
        main->str[MDM_C_NODE_NAME] = apr_pstrdup(pconf, *name ? name : "node");
    }
    if (main->str[MDM_C_KEY_FILE] && ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_CONFIG_DUMP &&
        access(main->str[MDM_C_KEY_FILE], R_OK) == 0) {
        apr_status_t rv;

        ctx = mdm_core_ctx(ptemp);
        rv = mdm_keyring_load(ctx, ptemp, main->str[MDM_C_KEY_FILE], &keys);
        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_STARTUP, 0, s, "MDM0207: MDMKeyFile: %s",
                         ctx->fail_text ? ctx->fail_text : "can't be used");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}

/* ---------------------------------------------------------------- answers */

static int row_of(const char *directive)
{
    int i;

    for (i = 0; i < MDM_C_COUNT && strcasecmp(fields[i].directive, directive) != 0; i++) {
    }
    return i < MDM_C_COUNT ? i : -1;
}

static const mdm_sconf_t *conf_of(server_rec *s)
{
    return ap_get_module_config((s ? s : mdm_core.main)->module_config, &mdm_module);
}

const char *mdm_conf_str(server_rec *s, const char *directive)
{
    int row = row_of(directive);

    return row < 0 ? NULL : conf_of(s)->str[row];
}

apr_int64_t mdm_conf_int(server_rec *s, const char *directive)
{
    int row = row_of(directive);

    return row < 0 ? 0 : conf_of(s)->num[row];
}

const char *mdm_conf_text(int row)
{
    return conf_of(NULL)->str[row];
}

apr_int64_t mdm_conf_num(int row)
{
    return conf_of(NULL)->num[row];
}
