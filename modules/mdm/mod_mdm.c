/* The module record and the hooks of mod_mdm; what they do is in the other files. */
#define MDM_RECORD_FILE
#include <ap_mpm.h>
#include <mpm_common.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <http_request.h>
#include <apr_dbd.h>
#include <mod_watchdog.h>
#include "domain/mdm_ldap_gate.h"
#include "mdm_private.h"

static void register_hooks(apr_pool_t *p);
static const mdm_services_t *mdm_services(void);

AP_DECLARE_MODULE(mdm) = {STANDARD20_MODULE_STUFF, mdm_conf_dir, mdm_conf_dir_merge, mdm_conf_server,
                          mdm_conf_server_merge, mdm_conf_commands, register_hooks,
#if defined(AP_MODULE_FLAG_NONE)
                          AP_MODULE_FLAG_ALWAYS_MERGE
#endif
};

/* The tick only wakes our own threads: it can't block, and its result can't switch it off. */
static apr_status_t tick(int state, void *data, apr_pool_t *pool)
{
    if (state == AP_WATCHDOG_STATE_RUNNING) {
        mdm_steward_tick();
    }
    return APR_SUCCESS;
}

static void register_tick(server_rec *s, apr_pool_t *p)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance);
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *add = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    ap_watchdog_t *dog;
    apr_status_t rv = APR_ENOTIMPL;

    if (get && add && (rv = get(&dog, "_mdm_tick_", 0, 0, p)) == APR_SUCCESS) {
        rv = add(dog, apr_time_from_sec(1), NULL, tick);
    }
    if (rv != APR_SUCCESS) { /* the threads also wake by themselves */
        ap_log_error(APLOG_MARK, APLOG_INFO, rv, s, "MDM0201: no watchdog: load mod_watchdog");
    }
}

/* Random, and the same for all generations of one server start: a graceful restart does not lose the node's name. */
static const char *holder_name(apr_pool_t *p)
{
    char *kept = ap_retained_data_get("mdm-holder");

    if (!kept) {
        char *fresh = mdm_uuid(p);

        kept = ap_retained_data_create("mdm-holder", 40);
        apr_cpystrn(kept, fresh ? fresh : "no-randomness", 40);
    }
    return apr_pstrdup(p, kept);
}

static void load_keys(apr_pool_t *pconf)
{
    const char *path = mdm_conf_text(MDM_C_KEY_FILE);
    mdm_keyring_t *keys = NULL;
    mdm_ctx_t *ctx = mdm_core_ctx(pconf);
    apr_status_t rv;

    if (!path) {
        mdm_log(ctx, MDM_LOG_WARN, "MDM0202", 0, "no MDMKeyFile: secrets can't be stored, enrolment will not work");
        return;
    }
    rv = mdm_keyring_load(ctx, pconf, path, &keys);
    if (rv != APR_SUCCESS) {
        mdm_log(ctx, MDM_LOG_ERR, "MDM0203", rv, "the key file can't be used: %s", ctx->fail_text ? ctx->fail_text : "");
        return;
    }
    mdm_core.env.keys = keys;
}

static void register_jobs(void)
{
    const mdm_jobkind_t *kind;

    mdm_jobs_kind(&mdm_prune_kind);
    mdm_jobs_kind(&mdm_history_kind);
    mdm_jobs_kind(&mdm_commands_kind);
    mdm_jobs_kind(&mdm_tasks_kind);
    for (kind = mdm_schedule_kinds; kind->name; kind++) {
        mdm_jobs_kind(kind);
    }
    for (kind = mdm_policy_kinds; kind->name; kind++) {
        mdm_jobs_kind(kind);
    }
    mdm_jobs_kind(&mdm_ldapsync_kind);
    mdm_jobs_kind(&mdm_login_change_kind);
    mdm_jobs_kind(&mdm_mail_kind);
    mdm_jobs_kind(&mdm_sms_kind);
    mdm_jobs_kind(&mdm_expiry_kind);
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    apr_status_t rv;

    mdm_core.main = s;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK; /* first pass */
    }
    rv = mdm_shm_make(pconf, (apr_size_t)mdm_conf_num(MDM_C_CACHE_SIZE));
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "MDM0204: no shared memory of %" APR_INT64_T_FMT
                     " bytes for the device cache: lower MDMCacheSize", mdm_conf_num(MDM_C_CACHE_SIZE));
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (ap_coredumpdir_configured && !mdm_conf_num(MDM_C_CORE_DUMPS)) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "MDM0208: children write no core dumps in spite of CoreDumpDirectory, "
                     "because dumps would hold keys: MDMCoreDumps On allows them");
    }
    mdm_core_env_init();
    mdm_core.env.outbound_local = mdm_conf_num(MDM_C_OUTBOUND_LOCAL) != 0;
    mdm_core.holder = holder_name(pconf);
    load_keys(pconf);
    register_jobs();
    mdm_node_configure(pconf, s);
    register_tick(s, pconf);
    return OK;
}

static apr_status_t child_end(void *data)
{
    mdm_core.stop = 1;
    mdm_listen_stop();
    mdm_jobs_stop();
    mdm_steward_stop();
    mdm_slots_stop();
    mdm_shm_child_end();
    return APR_SUCCESS;
}

/* glibc keeps blocks as large as the largest that was ever freed, for many threads: a password's hash takes 16 MB. Such ones go back at once. */
#define LARGE_BLOCK (4 * 1024 * 1024)

static void child_init(apr_pool_t *p, server_rec *s)
{
    apr_status_t rv;
    int threads = 0;

    if (!mdm_core.shm) {
        return;
    }
    mdm_core.child = mdm_shm_child();
    if (!mdm_conf_num(MDM_C_CORE_DUMPS)) {
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* neither a core file nor a debugger of the same user sees keys (SEC-04) */
    }
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK);
#endif
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    rv = mdm_ldap_gate_make(p, threads / 2, &mdm_core.env.ldap_gate);
    if (rv == APR_SUCCESS) {
        rv = mdm_dbglue_child(p);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_hold_child(p);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_listen_child(p);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_steward_start(p);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_jobs_start(p);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, "MDM0205: a background thread can't be started");
    }
    mdm_core.threads_up = 1;
    /* before the sub-pools go: threads use the database pool that lives in one of them */
    apr_pool_pre_cleanup_register(p, NULL, child_end);
}

/* The optional function's name is its implementation's. */
static const mdm_services_t *mdm_services(void)
{
    return mdm_core.shm ? mdm_core_services() : NULL;
}

static void register_hooks(apr_pool_t *p)
{
    /* before mod_watchdog starts what was registered (it is last itself) */
    static const char *const before_watchdog[] = {"mod_watchdog.c", NULL};

    APR_REGISTER_OPTIONAL_FN(mdm_services);
    ap_hook_check_config(mdm_conf_check, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, NULL, before_watchdog, APR_HOOK_FIRST); /* feature modules find the services ready */
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_REALLY_LAST);        /* mod_dbd has made its pool by then */
    ap_hook_check_authn(mdm_auth_check, NULL, NULL, APR_HOOK_MIDDLE, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_handler(mdm_status_handler, NULL, NULL, APR_HOOK_MIDDLE);
    mdm_status_register(p);
    mdm_hold_register();
}
