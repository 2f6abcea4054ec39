/* Owns the way to directories of one process: how many may be asked at once, and a breaker for each, so that log-ins to a dead or
 * hanging directory do not hold all workers (REL-04, USR-11). Safe for threads. */
#ifndef MDM_LDAP_GATE_H
#define MDM_LDAP_GATE_H

#include "base/mdm_ctx.h"

typedef struct mdm_ldap_place_t mdm_ldap_place_t;

/* places: how many threads may be on their way at once, those that wait included; half of them to one directory (at least two). */
apr_status_t mdm_ldap_gate_make(apr_pool_t *p, int places, mdm_ldap_gate_t **out);

/* Takes a place, waiting for at most a second. MDM_EUNAVAIL with ctx->retry_after: too many are on their way, or the directory has
 * not answered three times in a row; it is tried again after a second, doubling to half a minute, by one caller. */
apr_status_t mdm_ldap_gate_enter(mdm_ctx_t *ctx, const char *host, int port, mdm_ldap_place_t **out);
/* Gives it back. answered: whatever the directory said, it was there. */
void mdm_ldap_gate_leave(mdm_ctx_t *ctx, mdm_ldap_place_t *place, int answered);

/* Callers that were refused so far. */
apr_uint64_t mdm_ldap_gate_refused(mdm_ldap_gate_t *g);

#endif
