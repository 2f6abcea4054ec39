/* Owns this node's row (NOD-01): its name is held by one server start at a time. */
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <resolv.h>
#include <stdlib.h>
#include "base/mdm_json.h"
#include "domain/mdm_job.h"
#include "domain/mdm_nodes.h"
#include "mdm_private.h"
#include "mdm_sql_gen.h"

#define SILENT_MS 25000 /* a holder that has not been seen for so long is gone */

/* Somebody else holds the name. Alive is who renews; one that was killed stays silent, and its name comes free. */
static void rival(mdm_ctx_t *ctx, mdm_db_t *db, const char *name)
{
    mdm_shm_t *m = mdm_core.shm;
    mdm_q_core_node_seen_t *row;

    if (mdm_q_core_node_seen(db, name, &row) != APR_SUCCESS) {
        return;
    }
    if (m->node_rival_ms && row->seen_ms > m->node_rival_ms && !__atomic_exchange_n(&m->node_refused, 1, __ATOMIC_SEQ_CST)) {
        mdm_log(ctx, MDM_LOG_ERR, "MDM0221", 0, "another running server has the node name '%s': set MDMNodeName; this "
                "server works, but is not registered", name);
    }
    __atomic_store_n(&m->node_rival_ms, row->seen_ms, __ATOMIC_SEQ_CST);
}

/* ---------------------------------------------------------------- what administrators decided about this node */

static apr_status_t read_own(mdm_db_t *db, mdm_q_node_own_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *conf = mdm_conf_text(MDM_C_PUBLIC_URL), *url, *old;
    apr_status_t rv = mdm_q_node_own(db, mdm_conf_text(MDM_C_NODE_NAME), out);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    __atomic_store_n(&mdm_core.no_role, (*out)->mdm_role == 0, __ATOMIC_RELAXED);
    url = *(*out)->default_name ? mdm_node_url(ctx->pool, conf, (*out)->default_name) : NULL;
    old = __atomic_load_n(&mdm_core.given_url, __ATOMIC_ACQUIRE);
    if (url ? !old || strcmp(url, old) != 0 : old != NULL) {
        /* The old text may be in use for ever; an administrator changes it a few times. */
        __atomic_store_n(&mdm_core.given_url, url ? strdup(url) : NULL, __ATOMIC_RELEASE);
    }
    return APR_SUCCESS;
}

/* In each child: once, and after each change of a node. */
static apr_status_t read_again(mdm_ctx_t *ctx)
{
    mdm_q_node_own_t *own;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = read_own(db, &own);
        mdm_db_close(db);
    }
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv; /* not registered yet: a change row comes with it */
}

int mdm_node_goes_out(void)
{
    return mdm_conf_num(MDM_C_OUTBOUND) && !__atomic_load_n(&mdm_core.no_role, __ATOMIC_RELAXED);
}

/* ---------------------------------------------------------------- names (NOD-06) */

static json_t *conf_names; /* [{"name", "from"}]: const after post_config */

static int known(json_t *list, const char *name)
{
    json_t *item;
    size_t i;

    json_array_foreach(list, i, item) {
        if (!strcasecmp(json_string_value(json_object_get(item, "name")), name)) {
            return 1;
        }
    }
    return 0;
}

static void name_add(apr_pool_t *p, json_t *list, const char *name, const char *from)
{
    if (name && *name && mdm_is_host(name) && !known(list, name)) {
        json_array_append_new(list, json_pack("{s:s, s:s}", "name", mdm_lower(p, name), "from", from));
    }
}

/* Names of the addresses of this host, as its resolver says. Loopback and what has no name is left out. One second each: a child that
 * ends waits for its threads, and a resolver that is away would hold it for half a minute. */
static void reverse_names(apr_pool_t *p, mdm_job_t *job, json_t *list)
{
    struct ifaddrs *all = NULL, *a;
    char host[NI_MAXHOST];

    if (res_init() != 0 || getifaddrs(&all) != 0) {
        return;
    }
    _res.retrans = _res.retry = 1; /* this thread's own */
    for (a = all; a && !mdm_job_stopping(job); a = a->ifa_next) {
        int family = a->ifa_addr ? a->ifa_addr->sa_family : AF_UNSPEC;
        socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

        if ((family == AF_INET || family == AF_INET6) && !(a->ifa_flags & IFF_LOOPBACK) &&
            getnameinfo(a->ifa_addr, len, host, sizeof(host), NULL, 0, NI_NAMEREQD) == 0) {
            name_add(p, list, host, "address");
        }
    }
    freeifaddrs(all);
}

static apr_status_t find_names(mdm_ctx_t *ctx, mdm_job_t *job)
{
    json_t *list = json_deep_copy(conf_names);
    const char *text;
    mdm_db_t *db;
    int n = 0;
    apr_status_t rv;

    reverse_names(ctx->pool, job, list);
    text = mdm_json_text(ctx->pool, list);
    json_decref(list);
    rv = mdm_db_open(ctx, &db);
    if (rv == APR_SUCCESS) {
        rv = mdm_q_node_names_found(db, mdm_conf_text(MDM_C_NODE_NAME), text, &n);
        mdm_db_close(db);
    }
    if (rv == APR_SUCCESS && !n) {
        job->again_ms = mdm_now_ms(ctx) + 1000; /* not registered yet */
    }
    return rv;
}

/* A kind of its own for each node, so that only it claims it. */
static mdm_jobkind_t names_kind = {.target_class = "dns", .lease_s = 120, .period_ms = 3600 * 1000LL, .run = find_names};

static apr_status_t names_drop(void *data)
{
    json_decref(conf_names);
    conf_names = NULL;
    return APR_SUCCESS;
}

void mdm_node_configure(apr_pool_t *pconf, server_rec *s)
{
    server_rec *v;
    int i;

    conf_names = json_array();
    apr_pool_cleanup_register(pconf, NULL, names_drop, apr_pool_cleanup_null);
    for (v = s; v; v = v->next) {
        name_add(pconf, conf_names, v->server_hostname, "ServerName");
        for (i = 0; v->names && i < v->names->nelts; i++) {
            name_add(pconf, conf_names, APR_ARRAY_IDX(v->names, i, const char *), "ServerAlias");
        }
    }
    names_kind.name = apr_pstrcat(pconf, MDM_NODE_NAMES_JOB "@", mdm_conf_text(MDM_C_NODE_NAME), NULL);
    mdm_jobs_kind(&names_kind);
    mdm_changes_watch(MDM_NODE_CHANGE, read_again);
}

/* ---------------------------------------------------------------- the row */

void mdm_node_seen(mdm_ctx_t *ctx)
{
    const char *name = mdm_conf_text(MDM_C_NODE_NAME);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_q_node_own_t *own;
    mdm_db_t *db;
    int affected = 0;

    if (mdm_db_open(ctx, &db) != APR_SUCCESS) {
        return;
    }
    read_own(db, &own); /* before the first registration there is none */
    if (mdm_q_core_node_take(db, mdm_uuid(ctx->pool), name, mdm_core_services()->public_url(NULL), mdm_conf_text(MDM_C_PUBLIC_URL),
                             MDM_VERSION, mdm_conf_num(MDM_C_OUTBOUND), mdm_core.holder, now, now - SILENT_MS, &affected) == APR_SUCCESS) {
        if (affected > 0) {
            if (read_own(db, &own) == APR_SUCCESS) {
                mdm_q_node_url_add(db, own->id, mdm_core_services()->public_url(NULL), NULL);
            }
            if (!mdm_core.shm->node_seen_ms) {
                mdm_change_add(db, MDM_NODE_CHANGE, name);
                mdm_log(ctx, MDM_LOG_INFO, "MDM0222", 0, "registered as node '%s'", name);
            }
            __atomic_store_n(&mdm_core.shm->node_seen_ms, now, __ATOMIC_SEQ_CST);
            __atomic_store_n(&mdm_core.shm->node_refused, 0, __ATOMIC_SEQ_CST);
        } else {
            rival(ctx, db, name);
        }
    }
    mdm_db_close(db);
}

void mdm_node_release(mdm_ctx_t *ctx)
{
    mdm_db_t *db;

    if (mdm_core.shm->node_seen_ms && mdm_db_open(ctx, &db) == APR_SUCCESS) {
        mdm_q_core_node_release(db, mdm_core.holder, mdm_core.shm->node_seen_ms, NULL);
        mdm_db_close(db);
    }
}
