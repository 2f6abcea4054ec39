/* Owns the circuit breakers of outbound HTTP, one per target; private to the client (REL-04, R36). */
#ifndef MDM_HTTP_BREAKER_H
#define MDM_HTTP_BREAKER_H

#include "wire/mdm_http.h"

typedef struct mdm_breakers_t mdm_breakers_t;
typedef struct mdm_breaker_t mdm_breaker_t;
typedef enum { MDM_BR_ANSWERED, MDM_BR_AWAY, MDM_BR_OTHER } mdm_br_result_e;

mdm_breakers_t *mdm_breakers_make(apr_pool_t *p);
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
