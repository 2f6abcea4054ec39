/* Owns the shared segment: made once per generation, cold; old children keep theirs until they end. */
#include <apr_shm.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/mdm_wait.h"
#include "mdm_private.h"

mdm_core_t mdm_core;

apr_int64_t mdm_ms(void)
{
    return mdm_ticks() / 1000;
}

static apr_status_t close_newer(void *data)
{
    close(mdm_core.newer_fd);
    return APR_SUCCESS;
}

/* One log-in for each KB of the device cache, and sums of as many mail clients for each second one: mail clients are people's, and the pages of
 * those that never come are never touched. */
apr_status_t mdm_shm_make(apr_pool_t *pconf, apr_size_t cache_size)
{
    apr_size_t head = APR_ALIGN(sizeof(mdm_shm_t), 4096), logins = APR_ALIGN(mdm_logincache_size(cache_size / 1024), 4096);
    apr_size_t uses = APR_ALIGN(mdm_mailuse_size(cache_size / 2048), 4096);
    unsigned char seed[16], secret[32];
    apr_shm_t *seg;
    char *base;
    apr_status_t rv = apr_shm_create(&seg, head + logins + uses + cache_size + 4096, NULL, pconf);

    if (rv == APR_SUCCESS && (mdm_core.newer_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) {
        rv = errno;
    }
    if (rv == APR_SUCCESS && (rv = mdm_random(seed, sizeof(seed))) == APR_SUCCESS) {
        rv = mdm_random(secret, sizeof(secret));
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_cleanup_register(pconf, NULL, close_newer, apr_pool_cleanup_null);
    base = (char *)APR_ALIGN((apr_uintptr_t)apr_shm_baseaddr_get(seg), 4096);
    mdm_core.shm = (mdm_shm_t *)base;
    rv = mdm_random(mdm_core.shm->secret, sizeof(mdm_core.shm->secret));
    if (rv == APR_SUCCESS) {
        rv = mdm_logincache_init(base + head, logins, secret, &mdm_core.logins);
    }
    mdm_wipe(secret, sizeof(secret));
    if (rv == APR_SUCCESS) {
        rv = mdm_mailuse_init(base + head + logins, uses, &mdm_core.uses);
    }
    return rv == APR_SUCCESS ? mdm_devcache_init(base + head + logins + uses, cache_size, seed, &mdm_core.cache) : rv;
}

static int lives(apr_uint32_t pid)
{
    return pid && (kill((pid_t)pid, 0) == 0 || errno != ESRCH);
}

mdm_child_t *mdm_shm_child(void)
{
    static mdm_child_t beside;
    int i;

    for (i = 0; i < MDM_CHILDREN; i++) {
        mdm_child_t *c = &mdm_core.shm->children[i];
        apr_uint32_t was = __atomic_load_n(&c->pid, __ATOMIC_SEQ_CST);

        if (!lives(was) && __atomic_compare_exchange_n(&c->pid, &was, (apr_uint32_t)getpid(), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            c->db_in_use = c->listening = c->held = 0;
            return c;
        }
    }
    return &beside;
}

void mdm_shm_child_end(void)
{
    __atomic_store_n(&mdm_core.child->pid, 0, __ATOMIC_SEQ_CST);
}

mdm_child_t mdm_shm_children(void)
{
    mdm_child_t all = {0, 0, 0, 0};
    int i;

    for (i = 0; i < MDM_CHILDREN; i++) {
        const mdm_child_t *c = &mdm_core.shm->children[i];

        if (lives(__atomic_load_n(&c->pid, __ATOMIC_RELAXED))) {
            all.pid++;
            all.db_in_use += __atomic_load_n(&c->db_in_use, __ATOMIC_RELAXED);
            all.listening += __atomic_load_n(&c->listening, __ATOMIC_RELAXED);
            all.held += __atomic_load_n(&c->held, __ATOMIC_RELAXED);
        }
    }
    return all;
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
