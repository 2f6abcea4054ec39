/* The push job: one long-lived HTTP/2 client per child, made anew when the certificate changes. */
#include <apr_strings.h>
#include <apr_thread_mutex.h>

#include "domain/mdm_job.h"
#include "domain/mdm_push.h"
#include "domain/mdm_push_cert.h"
#include "ios.h"

#define PERIOD_MS 5000
#define LEASE_S 600
#define STREAMS 80 /* fewer than a connection takes before the server has said how many it allows */
#define IDLE_S (12 * 3600) /* Apple wants connections kept for hours; a dead one is noticed when it is used */

static struct {
    apr_thread_mutex_t *lock;
    apr_pool_t *pool; /* of the client */
    mdm_http_t *client;
    const char *hash; /* of the configuration that it was made with */
    mdm_push_state_t state;
} push;

void ios_push_child_init(apr_pool_t *p)
{
    if (apr_thread_mutex_create(&push.lock, APR_THREAD_MUTEX_DEFAULT, p) != APR_SUCCESS) {
        push.lock = NULL;
    }
}

/* ---- the wire: all with the lock held */

/* The pool is nobody's child: the job's thread may end after pools of the child process. */
static apr_status_t wire_open(void *baton, mdm_ctx_t *ctx, const mdm_push_conf_t *conf)
{
    mdm_http_conf_t c = {.http2 = 1, .max_parallel = STREAMS, .max_connections = 2, .idle_s = IDLE_S};
    apr_status_t rv;

    if (push.client && !strcmp(push.hash, conf->hash)) {
        return APR_SUCCESS;
    }
    push.client = NULL;
    if (push.pool) {
        apr_pool_destroy(push.pool);
        push.pool = NULL;
    }
    memset(&push.state, 0, sizeof push.state);
    rv = apr_pool_create(&push.pool, NULL);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    push.hash = apr_pstrdup(push.pool, conf->hash);
    c.cert_pem = conf->cert_pem; /* the client keeps copies of its own, the key's where no dump sees it (SEC-04) */
    c.key_pem = conf->key_pem;
    c.ca_file = conf->server.ca_file;
    rv = mdm_http_make(ctx, push.pool, &c, &push.client);
    if (rv != APR_SUCCESS) {
        push.client = NULL;
    }
    return rv;
}

static int wire_room(void *baton)
{
    return mdm_http_room(push.client);
}

static void wire_add(void *baton, mdm_ctx_t *ctx, mdm_http_req_t *req)
{
    mdm_http_add(ctx, push.client, req);
}

static mdm_http_req_t *wire_step(void *baton, mdm_ctx_t *ctx, int wait_ms)
{
    if (wait_ms > 0 && !mdm_http_active(push.client)) {
        apr_sleep(apr_time_from_msec(wait_ms));
    }
    return mdm_http_step(ctx, push.client, wait_ms);
}

static void wire_abandon(void *baton)
{
    if (push.client) {
        mdm_http_abandon(push.client, APR_EINTR);
    }
}

static void wire_renew(void *baton)
{
    mdm_http_renew(push.client);
}

static apr_status_t run(mdm_ctx_t *ctx, mdm_job_t *job)
{
    static const mdm_push_wire_t wire = {NULL, wire_open, wire_room, wire_add, wire_step, wire_abandon, wire_renew};
    const mdm_services_t *svc = mdm_web_services();
    mdm_push_server_t server = {svc->conf_str(NULL, "MDMApnsURL"), svc->conf_str(NULL, "MDMApnsCAFile")};
    int sent = 0, more = 0;
    apr_status_t rv = push.lock ? apr_thread_mutex_trylock(push.lock) : APR_EINIT;

    if (APR_STATUS_IS_EBUSY(rv)) {
        return APR_SUCCESS; /* a run that lost its lease is still at it, and takes these as well */
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_push_run(ctx, &server, &wire, &push.state, job->stop, &sent, &more);
    apr_thread_mutex_unlock(push.lock);
    if (sent) {
        svc->count(MDM_N_PUSHES, (apr_uint64_t)sent);
        mdm_log(ctx, MDM_LOG_DEBUG, "MDM0471", 0, "%d pushes were accepted", sent);
    }
    if (more) {
        job->again_ms = mdm_now_ms(ctx);
    }
    return rv;
}

/* ---- the test of this node */

static apr_status_t test(mdm_ctx_t *ctx, mdm_job_t *job)
{
    const mdm_services_t *svc = mdm_web_services();
    mdm_push_server_t server = {svc->conf_str(NULL, "MDMApnsURL"), svc->conf_str(NULL, "MDMApnsCAFile")};
    mdm_push_conf_t *conf;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_push_conf(db, &server, &conf);
    mdm_db_close(db);
    if (rv == APR_SUCCESS) {
        job->result = mdm_push_test(ctx, conf);
    }
    return rv;
}

static const mdm_jobkind_t push_kind = {MDM_PUSH_JOB, "push", LEASE_S, PERIOD_MS, run};
/* Each node has a kind of its own, so that only it claims the test that is meant for it (NOD-04). */
static mdm_jobkind_t test_kind = {NULL, "test", 60, 0, test};

void ios_push_jobs(const mdm_services_t *svc)
{
    static char name[160];

    apr_snprintf(name, sizeof name, "%s@%s", MDM_PUSH_TEST, svc->node_name());
    test_kind.name = name;
    svc->job_kind(&push_kind);
    svc->job_kind(&test_kind);
}
