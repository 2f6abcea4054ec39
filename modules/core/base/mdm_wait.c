/* apr_thread_cond_timedwait() waits until a time of day: if that is set back by a day meanwhile, it waits for a day. */
#include "base/mdm_wait.h"

#include <pthread.h>
#include <time.h>

#define US 1000000LL

struct mdm_wait_t {
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

apr_time_t mdm_ticks(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (apr_time_t)t.tv_sec * US + t.tv_nsec / 1000;
}

static apr_status_t drop(void *data)
{
    mdm_wait_t *w = data;

    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
    return APR_SUCCESS;
}

apr_status_t mdm_wait_make(apr_pool_t *p, mdm_wait_t **out)
{
    mdm_wait_t *w = apr_pcalloc(p, sizeof *w);
    int rc = pthread_mutex_init(&w->lock, NULL);

    if (rc == 0 && (rc = pthread_cond_init(&w->cond, NULL)) != 0) {
        pthread_mutex_destroy(&w->lock);
    }
    if (rc != 0) {
        return rc;
    }
    apr_pool_cleanup_register(p, w, drop, apr_pool_cleanup_null);
    *out = w;
    return APR_SUCCESS;
}

void mdm_wait_lock(mdm_wait_t *w)
{
    pthread_mutex_lock(&w->lock);
}

void mdm_wait_unlock(mdm_wait_t *w)
{
    pthread_mutex_unlock(&w->lock);
}

void mdm_wait_for(mdm_wait_t *w, apr_interval_time_t at_most)
{
    apr_time_t until = mdm_ticks() + (at_most > 0 ? at_most : 0);
    struct timespec t = {.tv_sec = (time_t)(until / US), .tv_nsec = (long)(until % US) * 1000};

    pthread_cond_clockwait(&w->cond, &w->lock, CLOCK_MONOTONIC, &t);
}

void mdm_wait_wake(mdm_wait_t *w)
{
    pthread_cond_signal(&w->cond);
}

void mdm_wait_wake_all(mdm_wait_t *w)
{
    pthread_cond_broadcast(&w->cond);
}
