/* Owns the shared segment: made once per generation, cold; old children keep theirs until they end. */
#include <apr_shm.h>
#include "mdm_private.h"

mdm_core_t mdm_core;

apr_int64_t mdm_ms(void)
{
    return apr_time_now() / 1000;
}

apr_status_t mdm_shm_make(apr_pool_t *pconf, apr_size_t cache_size, mdm_shm_t **shm, mdm_devcache_t **cache)
{
    apr_size_t head = APR_ALIGN(sizeof(mdm_shm_t), 4096);
    unsigned char seed[16];
    apr_shm_t *seg;
    char *base;
    apr_status_t rv = apr_shm_create(&seg, head + cache_size + 4096, NULL, pconf);

    if (rv == APR_SUCCESS) {
        rv = mdm_random(seed, sizeof(seed));
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    base = (char *)APR_ALIGN((apr_uintptr_t)apr_shm_baseaddr_get(seg), 4096);
    *shm = (mdm_shm_t *)base;
    rv = mdm_random((*shm)->secret, sizeof((*shm)->secret));
    return rv == APR_SUCCESS ? mdm_devcache_init(base + head, cache_size, seed, cache) : rv;
}

int mdm_shm_turn(apr_int64_t *lease, apr_int64_t every_ms)
{
    apr_int64_t now = mdm_ms(), last = __atomic_load_n(lease, __ATOMIC_SEQ_CST);

    /* a clock that went back must not stop the work */
    if (now >= last && now - last < every_ms) {
        return 0;
    }
    return __atomic_compare_exchange_n(lease, &last, now, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
