/* A pool of one connection over apr_dbd_open, for tools and tests. */
#include <apr_strings.h>
#include "db/mdm_db_priv.h"

typedef struct direct_t {
    mdm_dbpool_t pool;
    apr_pool_t *p;
    const char *driver, *params;
    mdm_conn_t conn;  /* conn.handle NULL: not open */
    int lent;
} direct_t;

static const char *const drivers[] = {"sqlite3", "pgsql", NULL};

static int split_params(const char *params, const char **driver, const char **rest)
{
    for (int i = 0; params && drivers[i]; i++) {
        apr_size_t len = strlen(drivers[i]);

        if (!strncmp(params, drivers[i], len) && params[len] == ':' && params[len + 1]) {
            *driver = drivers[i];
            *rest = params + len + 1;
            return 1;
        }
    }
    return 0;
}

apr_status_t mdm_db_params(mdm_ctx_t *ctx, const char *params, const char **driver, const char **rest)
{
    if (!split_params(params, driver, rest)) {
        return mdm_fail(ctx, MDM_EINPUT, "db", "must be sqlite3:/path/of/the/file or pgsql:host=… dbname=…");
    }
    return APR_SUCCESS;
}

static void direct_close(direct_t *d)
{
    if (d->conn.handle) {
        apr_dbd_close(d->conn.driver, d->conn.handle);
    }
    if (d->conn.pool) {
        apr_pool_destroy(d->conn.pool);
    }
    memset(&d->conn, 0, sizeof(d->conn));
}

static apr_status_t direct_open(direct_t *d, mdm_ctx_t *ctx)
{
    const char *error = NULL;
    apr_status_t rv;

    apr_pool_create(&d->conn.pool, d->p);
    d->conn.sqlite = !strcmp(d->driver, "sqlite3");
    rv = apr_dbd_get_driver(d->conn.pool, d->driver, &d->conn.driver);
    if (rv != APR_SUCCESS) {
        error = "the driver of apr_dbd can't be loaded";
    } else {
        rv = apr_dbd_open_ex(d->conn.driver, d->conn.pool, d->params, &d->conn.handle, &error);
    }
    if (rv != APR_SUCCESS) {
        const char *text = error ? error : "no text";

        mdm_log(ctx, MDM_LOG_ERR, "MDM0087", rv, "the %s database can't be opened: %.*s", d->driver,
                (int)strcspn(text, "\r\n"), text);
        d->conn.handle = NULL;
        direct_close(d);
        return mdm_fail(ctx, MDM_EUNAVAIL, "db", "the database can't be opened");
    }
    return APR_SUCCESS;
}

static apr_status_t direct_acquire(void *baton, mdm_ctx_t *ctx, mdm_conn_t **out)
{
    direct_t *d = baton;
    apr_status_t rv = APR_SUCCESS;

    if (d->lent) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "the only database connection is in use");
    }
    if (!d->conn.handle) {
        rv = direct_open(d, ctx);
    }
    if (rv == APR_SUCCESS) {
        d->lent = 1;
        *out = &d->conn;
    }
    return rv;
}

static void direct_release(void *baton, mdm_conn_t *conn, int broken)
{
    direct_t *d = baton;

    d->lent = 0;
    if (broken) {
        direct_close(d);
    }
}

static apr_status_t direct_cleanup(void *data)
{
    direct_close(data);
    return APR_SUCCESS;
}

apr_status_t mdm_dbpool_direct(apr_pool_t *p, const char *params, const mdm_dbpool_t **out)
{
    direct_t *d = apr_pcalloc(p, sizeof(*d));
    const char *rest;
    apr_status_t rv;

    if (!split_params(params, &d->driver, &rest)) {
        return MDM_EINPUT;
    }
    rv = apr_dbd_init(p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    d->params = apr_pstrdup(p, rest);
    if (!strcmp(d->driver, "pgsql") && !strstr(rest, "connect_timeout")) {
        d->params = apr_pstrcat(p, rest, " connect_timeout=5", NULL);
    }
    d->p = p;
    d->pool.baton = d;
    d->pool.acquire = direct_acquire;
    d->pool.release = direct_release;
    /* before its sub-pool with the statements goes */
    apr_pool_pre_cleanup_register(p, d, direct_cleanup);
    *out = &d->pool;
    return APR_SUCCESS;
}
