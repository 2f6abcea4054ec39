/* A fresh context without database, keys and log for each test. */
#ifndef CTXTEST_H
#define CTXTEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mdm_ctx.h"

static apr_pool_t *pool;
static mdm_ctx_t *ctx;

static int setup(void **state)
{
    apr_pool_create(&pool, NULL);
    ctx = mdm_ctx_make(pool, NULL, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    apr_pool_destroy(pool);
    return 0;
}

#endif
