/* Owns the device cache's layout and algorithm over a piece of shared memory. Knows no httpd and no database.
 *
 * Readers take no lock. An index of 64-byte buckets maps (tag of a 128-bit key) to slot numbers with single-word atomic
 * stores; a slot is copied out under its sequence counter and then checked against the full key, so that a stale or torn
 * index word is only ever a miss. A writer that dies inside an update leaves an odd counter with its pid: readers miss,
 * the clock hand reclaims it. Full = evict (second chance). There are no pointers in the segment. */
#ifndef MDM_DEVCACHE_H
#define MDM_DEVCACHE_H

#include <apr_errno.h>
#include "mdm_types.h"

typedef struct mdm_devcache_t mdm_devcache_t; /* lives in the segment */

/* Formats `size` bytes at `mem` (zeroed, page aligned). seed: 16 random bytes for the key hash. APR_ENOMEM if size is
 * below 64 KB. Never fails later for lack of room. */
apr_status_t mdm_devcache_init(void *mem, apr_size_t size, const unsigned char seed[16], mdm_devcache_t **out);
/* Slots of a formatted segment. */
apr_size_t mdm_devcache_slots(const mdm_devcache_t *c);

/* Keyed hash (SipHash-2-4, 128 bit, seeded per segment) of one identity. kind: 'c' certificate SHA-256, 'u' UDID,
 * 'd' device uuid, 'e' EAS user+DeviceId. Never all zero. */
mdm_devkey_t mdm_devcache_key(const mdm_devcache_t *c, char kind, const void *data, apr_size_t len);

/* Copies the record that has `key` out; APR_NOTFOUND if there is none. Wait-free but for retries while that very slot is
 * being written. */
apr_status_t mdm_devcache_get(mdm_devcache_t *c, const mdm_devkey_t *key, mdm_devrec_t *out);

/* Guards a load against a change that happens meanwhile: take the ticket before reading the database, pass it to put.
 * (Ticket = number of drops so far; each stripe of keys remembers the number of its last one. So a drop by any of the
 * record's keys is noticed, also by those that the load learns only from the database.) */
apr_uint32_t mdm_devcache_ticket(const mdm_devcache_t *c, const mdm_devkey_t *key);
/* Stores rec under all its non-zero keys, replacing the slot of the same record. guard = the key the load began with.
 * Answers APR_EAGAIN, and stores nothing, if any key of the record was invalidated since the ticket was taken. */
apr_status_t mdm_devcache_put(mdm_devcache_t *c, const mdm_devrec_t *rec, const mdm_devkey_t *guard, apr_uint32_t ticket);
/* Forgets every record that has this key (a device may have several). Takes effect before it returns, also against a put
 * that is under way. */
void mdm_devcache_drop(mdm_devcache_t *c, const mdm_devkey_t *key);
/* Forgets everything. */
void mdm_devcache_clear(mdm_devcache_t *c);

/* Notes a contact of the record; nothing is stored if the same second was noted already. It has a place of its own and so
 * outlives a drop or an eviction of the record. addr: effective address of the client, peer: that of the connection (ACC-08), 16 bytes
 * each (IPv4 mapped). */
void mdm_devcache_contact(mdm_devcache_t *c, const mdm_devrec_t *rec, apr_int64_t now_ms, const unsigned char addr[16],
                          const unsigned char peer[16]);

/* Takes noted contacts (record, time, addresses, kind of the record) and forgets that they are to be written; at most `max`. If the write
 * then fails, note them again with mdm_devcache_contact_again() (a newer contact noted meanwhile stays). Returns the number. */
typedef struct mdm_contact_t {
    unsigned char record[16], addr[16], peer[16];
    apr_int64_t ms;
    apr_uint32_t kind; /* mdm_kind_e */
} mdm_contact_t;
apr_size_t mdm_devcache_contacts(mdm_devcache_t *c, mdm_contact_t *out, apr_size_t max);
void mdm_devcache_contact_again(mdm_devcache_t *c, const mdm_contact_t *list, apr_size_t n);
/* The record's last contact that is still known here, taken or not: exact to the second; 0 if none is. */
apr_int64_t mdm_devcache_contact_ms(const mdm_devcache_t *c, const unsigned char record[16]);

typedef struct mdm_devcache_stats_t {
    apr_uint64_t slots, used, hits, misses, puts, evictions, drops, reclaimed;
} mdm_devcache_stats_t;
void mdm_devcache_stats(const mdm_devcache_t *c, mdm_devcache_stats_t *out);

/* Walks the segment and checks its invariants; 0 or the number of faults. For tests and torture. */
int mdm_devcache_validate(const mdm_devcache_t *c);

#endif
