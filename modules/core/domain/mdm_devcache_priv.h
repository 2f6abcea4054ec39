/* The segment's layout, shared by the two files of the device cache only. */
#ifndef MDM_DEVCACHE_PRIV_H
#define MDM_DEVCACHE_PRIV_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "domain/mdm_devcache.h"

/* Tests kill a process at these points of an update. */
#ifndef MDM_DEVCACHE_HOOK
#define MDM_DEVCACHE_HOOK(point) ((void)0)
#endif

#define MAGIC 0x4d444d4341434831ULL /* also the layout's version */
#define STRIPES 1024u
#define SHARDS 64u
#define WAYS 8u
#define INDEX_WORDS_PER_SLOT 5u /* 3 keys: 60 % full, 4 keys: 80 % */
#define POISON 0x80000000u
#define SEQ_MASK 0x7fffffffu
#define SCAN_LIMIT 65536u
#define CONTACT_PROBES 16u
#define MS_MASK 0xffffffffffffffULL
#define RECWORDS (sizeof(mdm_devrec_t) / 8)

typedef struct {
    apr_uint64_t hits, misses, puts, evictions, drops, reclaimed, pad[2];
} shard_t;

/* Three cache lines: two that a look-up copies, and one for a contact, which has a place of its own by the record's hash
 * and so outlives a drop or an eviction of the record. */
typedef struct {
    apr_uint64_t lock; /* writer's pid << 32 | poison | sequence (odd = being written) */
    apr_uint64_t rec[RECWORDS];
    apr_uint64_t c_lock; /* same form, for the words below */
    apr_uint64_t c_ms; /* kind of the record << 56 | milliseconds */
    apr_uint64_t c_addr[2], c_record[2], c_peer[2];
} slot_t;

struct mdm_devcache_t {
    apr_uint64_t magic, nslots, nbuckets;
    apr_uint64_t seed[2];
    apr_uint64_t off_stripes, off_index, off_slots, off_ref, off_dirty, size;
    apr_uint64_t hand __attribute__((aligned(64)));
    apr_uint32_t generation __attribute__((aligned(64))); /* counts drops and clears */
    apr_uint32_t cleared;                                  /* generation of the last clear */
    shard_t shards[SHARDS] __attribute__((aligned(64)));
};

_Static_assert(sizeof(mdm_devrec_t) == 120, "two cache lines with the lock word");
_Static_assert(sizeof(slot_t) == 192, "three cache lines");

#define LD(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define LDA(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define LDS(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define ST(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define CAS(p, old, new) \
    __atomic_compare_exchange_n((p), (old), (new), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

static inline void *at(const mdm_devcache_t *c, apr_uint64_t off)
{
    return (char *)c + off;
}

static inline slot_t *slots(const mdm_devcache_t *c)
{
    return at(c, c->off_slots);
}

static inline unsigned char *refs(const mdm_devcache_t *c)
{
    return at(c, c->off_ref);
}

static inline shard_t *shard(mdm_devcache_t *c)
{
    return &c->shards[(unsigned)sched_getcpu() % SHARDS];
}

#define COUNT(c, what) __atomic_fetch_add(&shard(c)->what, 1, __ATOMIC_RELAXED)

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* ---------------------------------------------------------------- layout */

static inline apr_uint64_t up(apr_uint64_t v, apr_uint64_t align)
{
    return (v + align - 1) / align * align;
}

/* Fills the offsets for n slots and answers the size needed. */
static inline apr_uint64_t lay_out(mdm_devcache_t *c, apr_uint64_t n)
{
    c->nslots = n;
    c->nbuckets = (n * INDEX_WORDS_PER_SLOT + WAYS - 1) / WAYS;
    c->off_stripes = up(sizeof(*c), 64);
    c->off_index = up(c->off_stripes + STRIPES * sizeof(apr_uint32_t), 64);
    c->off_slots = up(c->off_index + c->nbuckets * WAYS * 8, 64);
    c->off_ref = up(c->off_slots + n * sizeof(slot_t), 64);
    c->off_dirty = up(c->off_ref + n, 64);
    c->size = up(c->off_dirty + (n + 63) / 64 * 8, 64);
    return c->size;
}

static inline int key_set(const mdm_devkey_t *k)
{
    return (k->hi | k->lo) != 0;
}

static inline int key_is(const mdm_devkey_t *a, const mdm_devkey_t *b)
{
    return a->hi == b->hi && a->lo == b->lo;
}

static inline int has_key(const mdm_devrec_t *rec, const mdm_devkey_t *key)
{
    int i;

    for (i = 0; i < MDM_DEVKEYS; i++) {
        if (key_is(&rec->keys[i], key)) {
            return 1;
        }
    }
    return 0;
}

static inline apr_uint32_t *stripe(const mdm_devcache_t *c, const mdm_devkey_t *key)
{
    return (apr_uint32_t *)at(c, c->off_stripes) + (key->hi & (STRIPES - 1));
}

/* The two buckets that a key may stand in. */
static inline apr_uint64_t *bucket(const mdm_devcache_t *c, const mdm_devkey_t *key, int second)
{
    apr_uint64_t h = second ? key->lo : key->hi;
    apr_uint64_t b = (apr_uint64_t)(((unsigned __int128)h * c->nbuckets) >> 64);

    return (apr_uint64_t *)at(c, c->off_index) + b * WAYS;
}

static inline apr_uint64_t word_of(const mdm_devkey_t *key, apr_uint32_t slot)
{
    return (key->lo & 0xffffffffULL) << 32 | (slot + 1);
}

/* ---------------------------------------------------------------- slots */

static inline int busy(apr_uint64_t lock)
{
    return (int)(lock & 1);
}

static inline int writer_died(apr_uint64_t lock)
{
    pid_t pid = (pid_t)(lock >> 32);

    return pid != getpid() && kill(pid, 0) != 0 && errno == ESRCH;
}

static inline apr_uint64_t next_lock(apr_uint64_t lock)
{
    apr_uint64_t seq = ((lock & SEQ_MASK) + (busy(lock) ? 2 : 1)) & SEQ_MASK;

    return (apr_uint64_t)getpid() << 32 | seq;
}

/* Takes a lock word if it is free or its holder has died. *mine is needed to release it. */
static inline int try_lock(mdm_devcache_t *c, apr_uint64_t *lock, apr_uint64_t *mine)
{
    apr_uint64_t l = LDA(lock);
    int dead = 0;

    if (busy(l)) {
        if (!writer_died(l)) {
            return 0;
        }
        dead = 1;
    }
    *mine = next_lock(l);
    if (!CAS(lock, &l, *mine)) {
        return 0;
    }
    if (dead) {
        COUNT(c, reclaimed);
    }
    /* No store to the slot may become visible before the odd lock word. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return 1;
}

/* By the lock's holder: what stands in the slot, whatever its state. */
static inline void peek(const slot_t *s, mdm_devrec_t *out)
{
    apr_uint64_t words[RECWORDS] = {0};
    unsigned i;

    for (i = 0; i < RECWORDS; i++) {
        words[i] = LD(&s->rec[i]);
    }
    memcpy(out, words, sizeof(*out));
}

#endif
