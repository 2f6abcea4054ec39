/* Owns waiting and intervals by a clock that nobody sets: whatever happens to the time of day, a second stays a second (R48). */
#ifndef MDM_WAIT_H
#define MDM_WAIT_H

#include <apr_pools.h>
#include <apr_time.h>

/* Microseconds of a clock that only goes on, the same for all processes of this host. For intervals and deadlines, never stored. */
apr_time_t mdm_ticks(void);

/* A lock and the condition that is waited for under it. */
typedef struct mdm_wait_t mdm_wait_t;

/* Lives as long as the pool. APR_ENOMEM, or what the system says. */
apr_status_t mdm_wait_make(apr_pool_t *p, mdm_wait_t **out);

void mdm_wait_lock(mdm_wait_t *w);
void mdm_wait_unlock(mdm_wait_t *w);

/* With the lock held, which it gives away while it waits: until somebody wakes, at most so many microseconds, perhaps shorter. */
void mdm_wait_for(mdm_wait_t *w, apr_interval_time_t at_most);
void mdm_wait_wake(mdm_wait_t *w);     /* one of those who wait */
void mdm_wait_wake_all(mdm_wait_t *w);

#endif
