/* Owns the circuit breakers of what we connect to, one per target (REL-04, R36). One thread at a time: callers have a lock, or a client
 * of their own. */
#ifndef MDM_BREAKER_H
#define MDM_BREAKER_H

#include "base/mdm_text.h"

typedef struct mdm_breakers_t mdm_breakers_t;
typedef struct mdm_breaker_t mdm_breaker_t;
typedef enum { MDM_BR_ANSWERED, MDM_BR_AWAY, MDM_BR_OTHER } mdm_br_result_e;

/* They open after so many failures in a row, for a second at first, at most for pause_max_ms, doubling, with jitter. */
mdm_breakers_t *mdm_breakers_make(apr_pool_t *p, int fails, apr_int64_t pause_max_ms);
/* The breaker of "scheme://host:port"; valid until mdm_breakers_tidy(). */
mdm_breaker_t *mdm_breaker_for(mdm_breakers_t *all, const char *target);
/* True if a request may start now. The one that starts after the pause is the probe. */
int mdm_breaker_try(mdm_ctx_t *ctx, mdm_breaker_t *b);
/* Tells how a started request ended. */
void mdm_breaker_note(mdm_ctx_t *ctx, mdm_breaker_t *b, mdm_br_result_e result);
/* A started request was given up by us: says nothing about the target. */
void mdm_breaker_cancel(mdm_breaker_t *b);
/* Forgets all if there are too many; only while no request is under way. */
void mdm_breakers_tidy(mdm_breakers_t *all);

#endif
