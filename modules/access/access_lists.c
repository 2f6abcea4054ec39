/* The compiled lists of a child: readers look into them under a shared lock, the background thread exchanges them. */
#include <apr_thread_rwlock.h>
#include "access.h"
#include "mdm_web.h"

static struct {
    apr_array_header_t *const *conf;
    apr_thread_rwlock_t *lock;
    apr_pool_t *pool;      /* of what is in use; NULL: only httpd.conf's rules, in the child's pool */
    const mdm_access_t *list[MDM_ACCESS_COUNT]; /* under lock */
    int known;             /* under lock */
} own;

apr_status_t access_lists_child(apr_pool_t *p, apr_array_header_t *const conf[MDM_ACCESS_COUNT], int database)
{
    apr_status_t rv = apr_thread_rwlock_create(&own.lock, p);
    int c;

    own.conf = conf;
    own.known = !database;
    for (c = 0; rv == APR_SUCCESS && c < MDM_ACCESS_COUNT; c++) {
        rv = mdm_access_compile(p, conf[c], &own.list[c]);
    }
    return rv;
}

static apr_status_t make(mdm_ctx_t *ctx, const char *node, const mdm_access_t *list[MDM_ACCESS_COUNT])
{
    apr_array_header_t *filters[MDM_ACCESS_COUNT];
    apr_status_t rv;
    mdm_db_t *db;
    int c;

    for (c = 0; c < MDM_ACCESS_COUNT; c++) {
        filters[c] = apr_array_copy(ctx->pool, own.conf[c]);
    }
    rv = mdm_db_open(ctx, &db);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_access_load(db, node, filters);
    mdm_db_close(db);
    for (c = 0; rv == APR_SUCCESS && c < MDM_ACCESS_COUNT; c++) {
        rv = mdm_access_compile(ctx->pool, filters[c], &list[c]);
    }
    return rv;
}

apr_status_t access_lists_read(mdm_ctx_t *ctx)
{
    const mdm_services_t *svc = mdm_web_services();
    const mdm_access_t *list[MDM_ACCESS_COUNT];
    apr_pool_t *p, *old = own.pool;
    apr_status_t rv = apr_pool_create(&p, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = make(svc->server_ctx(p), svc->node_name(), list);
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(p);
        return rv;
    }
    apr_thread_rwlock_wrlock(own.lock);
    memcpy(own.list, list, sizeof(list));
    own.pool = p;
    own.known = 1;
    apr_thread_rwlock_unlock(own.lock);
    if (old) {
        apr_pool_destroy(old);
    }
    return APR_SUCCESS;
}

access_verdict_t access_lists_ask(mdm_access_e category, const mdm_addr_t *addr)
{
    access_verdict_t v = {0, 0, 1, "none", 0};
    const mdm_filter_t *f;

    apr_thread_rwlock_rdlock(own.lock);
    v.known = own.known;
    f = mdm_access_find(own.list[category], addr);
    if (f) { /* nothing of it is used behind the lock but constants */
        v.decided = 1;
        v.allow = f->allow;
        v.source = f->source;
        v.position = f->position;
    }
    apr_thread_rwlock_unlock(own.lock);
    return v;
}
