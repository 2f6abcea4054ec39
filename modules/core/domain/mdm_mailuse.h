/* Owns what mail clients did since it was written down last (PXY-06): sums by record in a piece of shared memory, added to with each request and
 * taken out every few seconds by whoever writes them behind. Knows no httpd and no database.
 *
 * Records stand in sets of a few places; a set is written by one at a time, who holds it for some dozen stores. Whoever meets another one looks
 * again for a moment and then gives up, and so does whoever finds a set full: figures, not accounts. A writer that is killed leaves an odd
 * counter with its pid; the next one takes the set over as it is. */
#ifndef MDM_MAILUSE_H
#define MDM_MAILUSE_H

#include <apr_errno.h>
#include "mdm_types.h"

typedef struct mdm_mailuse_t mdm_mailuse_t; /* lives in the segment */

/* What a record's requests add up to. */
typedef struct mdm_mailsum_t {
    unsigned char record[16];
    apr_int64_t last_ms, sync_ms, error_ms; /* of the last request; that was an answered Sync or Ping; that failed. 0: none was */
    apr_uint64_t bytes_in, bytes_out;       /* of bodies, in from the client */
    apr_uint32_t requests, errors;
    apr_uint16_t cmd, error_http;           /* of the last one */
    apr_uint16_t heartbeat_s;               /* how long the last one that said so was to wait at most; 0: none did */
    apr_uint16_t unused;
} mdm_mailsum_t;

/* Bytes for so many records. */
apr_size_t mdm_mailuse_size(apr_size_t records);
/* Formats `size` zeroed bytes at mem, 8-byte aligned. APR_ENOMEM if they hold no set. */
apr_status_t mdm_mailuse_init(void *mem, apr_size_t size, mdm_mailuse_t **out);

/* Adds to the record's sums, new or old: of each time the later one stays, with what belongs to it. 0: there was no room. */
int mdm_mailuse_add(mdm_mailuse_t *u, const mdm_mailsum_t *sum);
/* Takes sums out, at most `max`, from set *at on, which moves behind the last one looked at; begin with 0. Returns the number; less than
 * max: that was all. Each record comes once. If they can't be written, add them again. */
apr_size_t mdm_mailuse_take(mdm_mailuse_t *u, apr_size_t *at, mdm_mailsum_t *out, apr_size_t max);

#endif
