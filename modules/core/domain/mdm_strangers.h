/* Owns what is remembered of certificates that nobody knows (SEC-03): for some seconds the same one is not looked for again, and the different
 * ones of one address only so often. A table in shared memory, lossy when crowded; no locks. Knows no httpd and no database. */
#ifndef MDM_STRANGERS_H
#define MDM_STRANGERS_H

#include "mdm_types.h"

#define MDM_STRANGERS 4096u
#define MDM_STRANGER_MS 10000 /* so long a certificate stays unknown without being looked for */
#define MDM_STRANGER_BURST 200 /* unknown ones of an address that are looked for at once … */
#define MDM_STRANGER_RATE 20   /* … and then in a second */

typedef struct mdm_strangers_t { /* zeroed memory; changed by atomic operations only */
    struct {
        apr_uint64_t key, ms;
    } certs[MDM_STRANGERS];
    apr_uint64_t addresses[MDM_STRANGERS];
} mdm_strangers_t;

/* True if the certificate was not known a moment ago. */
int mdm_stranger_known(const mdm_strangers_t *s, const mdm_devkey_t *key, apr_int64_t now_ms);
/* It is not known. */
void mdm_stranger_note(mdm_strangers_t *s, const mdm_devkey_t *key, apr_int64_t now_ms);
/* It may be known now. */
void mdm_stranger_forget(mdm_strangers_t *s, const mdm_devkey_t *key);
/* All may be. */
void mdm_strangers_clear(mdm_strangers_t *s);
/* True if the address (keyed hash of it) has brought too many of late: a certificate of it that no cache knows is not looked for now. */
int mdm_strangers_full(const mdm_strangers_t *s, apr_uint64_t address, apr_int64_t now_ms);
/* The address has brought one more that had to be looked for. */
void mdm_strangers_count(mdm_strangers_t *s, apr_uint64_t address, apr_int64_t now_ms);

#endif
