/* The push job: one long-lived HTTP/2 client per child, made anew when the certificate changes. */
#include <apr_strings.h>
#include <apr_thread_mutex.h>

#include "domain/mdm_job.h"
#include "domain/mdm_push.h"
#include "ios.h"

#define PERIOD_MS 5000
#define LEASE_S 600

static struct {
    apr_thread_mutex_t *lock;
    apr_pool_t *pool; /* of the client */
    mdm_http_t *client;
    const char *hash; /* of the configuration that it was made with */
} push;

void ios_push_child_init(apr_pool_t *p)
{
    if (apr_thread_mutex_create(&push.lock, APR_THREAD_MUTEX_DEFAULT, p) != APR_SUCCESS) {
        push.lock = NULL;
    }
}

/* With the lock held. The pool is nobody's child: the job's thread may end after pools of the child process. */
static apr_status_t client(mdm_ctx_t *ctx, const mdm_push_conf_t *conf)
{
    mdm_http_conf_t c = {.http2 = 1};
    apr_status_t rv;

    if (push.client && !strcmp(push.hash, conf->hash)) {
        return APR_SUCCESS;
    }
    push.client = NULL;
    if (push.pool) {
        apr_pool_destroy(push.pool);
        push.pool = NULL;
    }
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

static apr_status_t send_batch(void *baton, mdm_ctx_t *ctx, const mdm_push_conf_t *conf, mdm_http_req_t **reqs, int n,
                               volatile int *stop)
{
    apr_status_t rv = push.lock ? apr_thread_mutex_lock(push.lock) : APR_EINIT;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = client(ctx, conf);
    if (rv == APR_SUCCESS) {
        rv = mdm_http_run(ctx, push.client, reqs, n, stop);
    }
    apr_thread_mutex_unlock(push.lock);
    return rv;
}

static apr_status_t run(mdm_ctx_t *ctx, mdm_job_t *job)
{
    const mdm_services_t *svc = mdm_web_services();
    mdm_push_server_t server = {svc->conf_str(NULL, "MDMApnsURL"), svc->conf_str(NULL, "MDMApnsCAFile")};
    int sent = 0;
    apr_status_t rv = mdm_push_run(ctx, &server, send_batch, NULL, job->stop, &sent);

    if (sent) {
        mdm_log(ctx, MDM_LOG_DEBUG, "MDM0471", 0, "%d pushes were accepted", sent);
    }
    return rv;
}

const mdm_jobkind_t ios_push_kind = {MDM_PUSH_JOB, "push", LEASE_S, PERIOD_MS, run};
