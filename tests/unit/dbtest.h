/* An empty, migrated database for a test: a temporary SQLite file, or what MDM_TEST_DB names (its schema is emptied). */
#ifndef DBTEST_H
#define DBTEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <apr_file_io.h>
#include <apr_strings.h>
#include "mdm_sql_gen.h"

typedef struct dbtest_t {
    apr_pool_t *pool;
    mdm_env_t env;
    mdm_dbpool_t dbpool; /* counts statements */
    mdm_ctx_t *ctx;
    const char *params;
    apr_uint64_t statements;
    apr_time_t now; /* the clock stands still */
    char *folder;
} dbtest_t;

static inline apr_time_t dbtest_clock(void *baton)
{
    return ((dbtest_t *)baton)->now;
}

/* Runs plain SQL beside the engine. */
static inline int dbtest_sql(dbtest_t *t, const char *sql)
{
    const apr_dbd_driver_t *driver;
    const char *name, *rest;
    apr_dbd_t *handle;
    apr_pool_t *p;
    int rc, n;

    apr_pool_create(&p, t->pool);
    assert_int_equal(mdm_db_params(t->ctx, t->params, &name, &rest), APR_SUCCESS);
    assert_int_equal(apr_dbd_get_driver(p, name, &driver), APR_SUCCESS);
    assert_int_equal(apr_dbd_open(driver, p, rest, &handle), APR_SUCCESS);
    rc = apr_dbd_query(driver, handle, &n, sql);
    apr_dbd_close(driver, handle);
    apr_pool_destroy(p);
    return rc;
}

/* Another connection to the same database. */
static inline mdm_ctx_t *dbtest_ctx(dbtest_t *t, const mdm_logsink_t *sink, void *baton)
{
    mdm_env_t *env = apr_pmemdup(t->pool, &t->env, sizeof(t->env));

    assert_int_equal(mdm_dbpool_direct(t->pool, t->params, &env->dbpool), APR_SUCCESS);
    return mdm_ctx_make(t->pool, env, sink, baton);
}

/* A migrated file, made once by each program: the tests of it begin with a copy. */
static char dbtest_template[] = "/tmp/mdmtest-template.XXXXXX";
static int dbtest_has_template;

static inline void dbtest_drop_template(void)
{
    unlink(dbtest_template);
}

static inline void dbtest_keep_template(dbtest_t *t)
{
    int fd = mkstemp(dbtest_template);

    assert_true(fd >= 0);
    close(fd);
    unlink(dbtest_template); /* the engine makes it */
    assert_int_equal(dbtest_sql(t, apr_psprintf(t->pool, "VACUUM INTO '%s'", dbtest_template)), 0);
    atexit(dbtest_drop_template);
    dbtest_has_template = 1;
}

static inline void dbtest_migrate(dbtest_t *t)
{
    int applied;

    if (t->folder && dbtest_has_template) {
        assert_int_equal(apr_file_copy(dbtest_template, strchr(t->params, ':') + 1, APR_FPROT_UREAD | APR_FPROT_UWRITE, t->pool), APR_SUCCESS);
        return;
    }
    assert_int_equal(mdm_migrate(t->ctx, &applied), APR_SUCCESS);
    if (t->folder) {
        dbtest_keep_template(t);
    }
}

static inline dbtest_t *dbtest_make(int migrate)
{
    const char *given = getenv("MDM_TEST_DB");
    const mdm_dbpool_t *direct;
    apr_pool_t *pool;
    dbtest_t *t;

    apr_pool_create(&pool, NULL);
    t = apr_pcalloc(pool, sizeof(*t));
    t->pool = pool;
    t->now = apr_time_from_sec(1800000000);
    t->env.clock = dbtest_clock;
    t->env.clock_baton = t;
    if (given && *given) {
        t->params = given;
    } else {
        t->folder = apr_pstrdup(pool, access("/dev/shm", W_OK) == 0 ? "/dev/shm/mdmtest.XXXXXX" : "/tmp/mdmtest.XXXXXX"); /* no disk to wait for */
        assert_non_null(mkdtemp(t->folder));
        t->params = apr_psprintf(pool, "sqlite3:%s/test.db", t->folder);
    }
    assert_int_equal(mdm_dbpool_direct(pool, t->params, &direct), APR_SUCCESS);
    t->dbpool = *direct;
    t->dbpool.statements = &t->statements;
    t->env.dbpool = &t->dbpool;
    t->ctx = mdm_ctx_make(pool, &t->env, &mdm_log_stderr, (void *)(intptr_t)MDM_LOG_ERR);
    if (!t->folder) {
        const char *file = strncmp(t->params, "sqlite3:", 8) ? NULL : t->params + 8;

        if (file) {
            unlink(file);
        } else {
            dbtest_sql(t, "SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        }
    }
    if (migrate) {
        dbtest_migrate(t);
    }
    return t;
}

static inline void dbtest_end(dbtest_t *t)
{
    char *folder = t->folder ? strdup(t->folder) : NULL;

    apr_pool_destroy(t->pool);
    if (folder) {
        char cmd[200];

        snprintf(cmd, sizeof(cmd), "rm -rf '%s'", folder);
        assert_int_equal(system(cmd), 0);
        free(folder);
    }
}

#endif
