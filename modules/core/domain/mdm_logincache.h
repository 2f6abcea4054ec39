/* Owns the memory of verified and refused mail log-ins (USR-09): a fixed table in a piece of shared memory. Knows no httpd and no
 * database, and neither names nor passwords: a log-in is found by a keyed hash of both.
 *
 * No locks to wait for: a place is copied out under its sequence counter; a writer that meets another one gives up, one that is
 * killed leaves an odd counter with its pid and the place is taken back. Full = the oldest of a set goes, refusals first. What a
 * change makes void is not looked for: each entry carries the number of changes that its check had seen. */
#ifndef MDM_LOGINCACHE_H
#define MDM_LOGINCACHE_H

#include <apr_errno.h>
#include "mdm_types.h"

typedef struct mdm_logincache_t mdm_logincache_t; /* lives in the segment */
typedef struct mdm_loginkey_t {
    apr_uint64_t hash[4];
} mdm_loginkey_t;
typedef enum { MDM_LOGIN_UNKNOWN, MDM_LOGIN_GOOD, MDM_LOGIN_BAD } mdm_login_e;

/* Bytes for so many log-ins. */
apr_size_t mdm_logincache_size(apr_size_t logins);
/* Formats `size` zeroed bytes at mem, 8-byte aligned. secret: 32 random bytes. APR_ENOMEM if they hold no place. */
apr_status_t mdm_logincache_init(void *mem, apr_size_t size, const unsigned char secret[32], mdm_logincache_t **out);

/* Keyed hash of log-in and password, 256 bits: SipHash-2-4 under each half of the segment's secret. MDM_EUNAVAIL: no memory. */
apr_status_t mdm_logincache_key(const mdm_logincache_t *c, const char *login, const char *password, mdm_loginkey_t *out);

/* What is known of it and since when. out is filled for a good one. The caller judges the age. */
mdm_login_e mdm_logincache_get(const mdm_logincache_t *c, const mdm_loginkey_t *key, mdm_mail_login_t *out, apr_int64_t *at_ms);
/* Number of changes so far: take it before the check begins, pass it to put. */
apr_uint64_t mdm_logincache_ticket(const mdm_logincache_t *c);
/* Remembers what a check found; who == NULL: refused. */
void mdm_logincache_put(mdm_logincache_t *c, const mdm_loginkey_t *key, apr_uint64_t ticket, apr_int64_t now_ms,
                        const mdm_mail_login_t *who);
/* Forgets a person's log-ins, and all refusals; also what is being checked now. Takes effect before it returns. */
void mdm_logincache_drop(mdm_logincache_t *c, const char *person_id);
/* Forgets everything. */
void mdm_logincache_clear(mdm_logincache_t *c);

/* True for the one caller in the node that shall check this log-in; it says when it has finished. Others look again a little later.
 * Lasts ten seconds at most, in case the one dies. */
int mdm_logincache_begin(mdm_logincache_t *c, const mdm_loginkey_t *key, apr_int64_t now_ms);
void mdm_logincache_end(mdm_logincache_t *c, const mdm_loginkey_t *key);

#endif
