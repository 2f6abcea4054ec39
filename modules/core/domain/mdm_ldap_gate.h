/* Owns the way to directories of one process: how many may be asked at once, and a breaker for each, so that log-ins to a dead or
 * hanging directory do not hold all workers (REL-04, USR-11). Safe for threads. */
#ifndef MDM_LDAP_GATE_H
#define MDM_LDAP_GATE_H

#include "base/mdm_ctx.h"

typedef struct mdm_ldap_place_t mdm_ldap_place_t;
typedef struct mdm_ldap_line_t mdm_ldap_line_t; /* a connection, mdm_ldap_priv.h */

/* places: how many threads may be on their way at once, those that wait included; half of them to one directory (at least two). */
apr_status_t mdm_ldap_gate_make(apr_pool_t *p, int places, mdm_ldap_gate_t **out);

/* Takes a place, waiting for at most a second. MDM_EUNAVAIL with ctx->retry_after: too many are on their way, or the directory has
 * not answered three times in a row; it is tried again after a second, doubling to half a minute, by one caller. */
apr_status_t mdm_ldap_gate_enter(mdm_ctx_t *ctx, const char *host, int port, mdm_ldap_place_t **out);
/* Gives it back. answered: whatever the directory said, it was there. */
void mdm_ldap_gate_leave(mdm_ctx_t *ctx, mdm_ldap_place_t *place, int answered);

/* With a place held. Connections that are whole are kept for who comes next with the same key, which says how they were made and judged: at most eight of a
 * directory, a minute without use, five minutes in all. NULL: none. Who takes one binds anew, which also tells whether it is still there. */
mdm_ldap_line_t *mdm_ldap_gate_take(mdm_ctx_t *ctx, mdm_ldap_place_t *place, const char *key, apr_time_t *made);
/* made: ticks. Closes it if there is no room for it. */
void mdm_ldap_gate_keep(mdm_ctx_t *ctx, mdm_ldap_place_t *place, const char *key, mdm_ldap_line_t *line, apr_time_t made);
/* Ends a line (of mdm_ldap.c). */
void mdm_ldap_line_end(mdm_ldap_line_t *line);

/* Callers that were refused so far. */
apr_uint64_t mdm_ldap_gate_refused(mdm_ldap_gate_t *g);

#endif
