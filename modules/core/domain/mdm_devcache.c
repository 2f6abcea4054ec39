/* Owns the device cache's memory. See the header for what it promises.
 *
 * Rules that make it safe without a lock:
 *  - The index words of a slot are written only by the holder of that slot's lock word. Keys are stored before words are
 *    installed, and words are removed before keys are cleared: so the words of a slot always belong to keys that stand in
 *    it, even if its writer was killed between any two stores.
 *  - A readable slot (even lock word, any key set) has an index word for each of its keys, so a drop by any key finds it.
 *  - A drop does not wait for a writer: it poisons the lock word, and the writer wipes the slot itself on release.
 *  - Nobody waits for a second lock: it is tried, and another victim is taken. */
#include "base/mdm_sip.h"
#include "domain/mdm_devcache_priv.h"

apr_status_t mdm_devcache_init(void *mem, apr_size_t size, const unsigned char seed[16], mdm_devcache_t **out)
{
    mdm_devcache_t *c = mem;
    apr_uint64_t n = size / (sizeof(slot_t) + INDEX_WORDS_PER_SLOT * 8 + 1);

    *out = NULL;
    if (size < 64 * 1024) {
        return APR_ENOMEM;
    }
    if (n > 0x7ffffff0u) {
        n = 0x7ffffff0u; /* slot numbers are 32 bits */
    }
    while (lay_out(c, n) > size) {
        n -= n / 1024 + 1;
    }
    memcpy(c->seed, seed, 16);
    c->generation = 1;
    c->magic = MAGIC;
    *out = c;
    return APR_SUCCESS;
}

apr_size_t mdm_devcache_slots(const mdm_devcache_t *c)
{
    return c->nslots;
}

/* ---------------------------------------------------------------- keys */

mdm_devkey_t mdm_devcache_key(const mdm_devcache_t *c, char kind, const void *data, apr_size_t len)
{
    apr_uint64_t hash[2];
    mdm_devkey_t key;

    mdm_sip(c->seed, (unsigned char)kind, data, len, hash);
    key.hi = hash[0];
    key.lo = hash[1];
    if (!key.hi && !key.lo) {
        key.lo = 1;
    }
    return key;
}

/* Copies a slot out; 0 if it is being written. */
static int copy_out(const slot_t *s, mdm_devrec_t *out)
{
    apr_uint64_t l, words[RECWORDS];
    unsigned i;
    int tries;

    for (tries = 0; tries < 256; tries++) {
        l = LDA(&s->lock);
        if (busy(l)) {
            relax();
            continue;
        }
        for (i = 0; i < RECWORDS; i++) {
            words[i] = LD(&s->rec[i]);
        }
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (LD(&s->lock) == l) {
            memcpy(out, words, sizeof(*out));
            return 1;
        }
    }
    return 0;
}

static void store_words(slot_t *s, const mdm_devrec_t *rec, unsigned from, unsigned to)
{
    apr_uint64_t words[RECWORDS];
    unsigned i;

    memcpy(words, rec, sizeof(words));
    for (i = from; i < to; i++) {
        ST(&s->rec[i], words[i]);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#define KEYWORDS ((unsigned)(sizeof(mdm_devkey_t) * MDM_DEVKEYS / 8))

/* By the lock's holder: empties the slot. Words first, then keys. */
static void wipe(mdm_devcache_t *c, apr_uint32_t n)
{
    static const mdm_devrec_t none;
    slot_t *s = &slots(c)[n];
    mdm_devrec_t rec;
    unsigned i, j, b;

    peek(s, &rec);
    for (i = 0; i < MDM_DEVKEYS; i++) {
        for (b = 0; key_set(&rec.keys[i]) && b < 2; b++) {
            apr_uint64_t *words = bucket(c, &rec.keys[i], (int)b);

            for (j = 0; j < WAYS; j++) {
                apr_uint64_t w = word_of(&rec.keys[i], n);

                CAS(&words[j], &w, 0);
            }
        }
        MDM_DEVCACHE_HOOK("wipe-words");
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    store_words(s, &none, 0, RECWORDS);
    __atomic_store_n(&refs(c)[n], 0, __ATOMIC_RELAXED);
}

/* Releases; if somebody dropped a key meanwhile the slot is emptied first and 0 is the answer. */
static int release(mdm_devcache_t *c, apr_uint32_t n, apr_uint64_t mine)
{
    slot_t *s = &slots(c)[n];
    apr_uint64_t l = mine, free_word = ((mine & SEQ_MASK) + 1) & SEQ_MASK;

    if (CAS(&s->lock, &l, free_word)) {
        return 1;
    }
    wipe(c, n); /* poisoned */
    __atomic_store_n(&s->lock, free_word, __ATOMIC_SEQ_CST);
    return 0;
}

static int try_wipe(mdm_devcache_t *c, apr_uint32_t n)
{
    apr_uint64_t mine;

    if (!try_lock(c, &slots(c)[n].lock, &mine)) {
        return 0;
    }
    wipe(c, n);
    release(c, n, mine);
    return 1;
}

/* The slot that an index word names, or -1. */
static apr_int64_t slot_in(const mdm_devcache_t *c, apr_uint64_t word, const mdm_devkey_t *key)
{
    apr_uint64_t n = word & 0xffffffffULL;

    if (!n || n > c->nslots || (word >> 32) != (key->lo & 0xffffffffULL)) {
        return -1;
    }
    return (apr_int64_t)n - 1;
}

/* ---------------------------------------------------------------- look-up */

apr_status_t mdm_devcache_get(mdm_devcache_t *c, const mdm_devkey_t *key, mdm_devrec_t *out)
{
    unsigned b, i;

    for (b = 0; b < 2; b++) {
        const apr_uint64_t *words = bucket(c, key, (int)b);

        for (i = 0; i < WAYS; i++) {
            apr_int64_t n = slot_in(c, LDS(&words[i]), key);

            if (n >= 0 && copy_out(&slots(c)[n], out) && has_key(out, key)) {
                unsigned char *ref = &refs(c)[n];

                if (!(LD(ref) & 1)) {
                    __atomic_fetch_or(ref, 1, __ATOMIC_RELAXED);
                }
                COUNT(c, hits);
                return APR_SUCCESS;
            }
        }
    }
    memset(out, 0, sizeof(*out));
    COUNT(c, misses);
    return APR_NOTFOUND;
}

/* ---------------------------------------------------------------- changing */

/* Puts one index word for a key of slot n, which the caller has locked. When both buckets are full, another slot goes. */
static int install(mdm_devcache_t *c, const mdm_devkey_t *key, apr_uint32_t n)
{
    int attempt, pass;
    unsigned i, b;

    for (attempt = 0; attempt < 8; attempt++) {
        apr_uint64_t *both[2] = {bucket(c, key, 0), bucket(c, key, 1)};
        unsigned room[2] = {0, 0};

        for (b = 0; b < 2; b++) {
            for (i = 0; i < WAYS; i++) {
                room[b] += LD(&both[b][i]) == 0;
            }
        }
        b = room[1] > room[0];
        for (i = 0; room[b] && i < WAYS; i++) {
            apr_uint64_t none = 0;

            if (LD(&both[b][i]) == 0 && CAS(&both[b][i], &none, word_of(key, n))) {
                return 1;
            }
        }
        for (pass = 0; !room[b] && pass < 2; pass++) { /* first those not used lately */
            for (i = 0; i < 2 * WAYS; i++) {
                apr_uint64_t w = LD(&both[i / WAYS][i % WAYS]) & 0xffffffffULL;

                if (w && w <= c->nslots && w - 1 != n && (pass || !(LD(&refs(c)[w - 1]) & 1)) &&
                    try_wipe(c, (apr_uint32_t)w - 1)) {
                    COUNT(c, evictions);
                    pass = 2;
                    break;
                }
            }
        }
    }
    return 0;
}

/* A locked, emptied slot by the clock hand; 0 if every one that it met was taken. */
static int claim(mdm_devcache_t *c, apr_uint32_t *n, apr_uint64_t *mine)
{
    apr_uint64_t limit = c->nslots * 2 < SCAN_LIMIT ? c->nslots * 2 + 2 : SCAN_LIMIT, i;

    for (i = 0; i < limit; i++) {
        apr_uint32_t k = (apr_uint32_t)(__atomic_fetch_add(&c->hand, 1, __ATOMIC_RELAXED) % c->nslots);
        unsigned char *ref = &refs(c)[k];
        mdm_devrec_t rec;

        if ((LD(ref) & 1) && i + 64 < limit) {
            __atomic_fetch_and(ref, (unsigned char)~1u, __ATOMIC_RELAXED);
            continue;
        }
        if (!try_lock(c, &slots(c)[k].lock, mine)) {
            continue;
        }
        peek(&slots(c)[k], &rec);
        if (rec.kind) {
            COUNT(c, evictions);
        }
        wipe(c, k);
        *n = k;
        return 1;
    }
    return 0;
}

/* Finds the slots of rec's record by its keys: the first is locked and emptied for re-use, others are wiped.
 * 1 found, 0 none, -1 somebody else is writing it now. */
static int own_slot(mdm_devcache_t *c, const mdm_devrec_t *rec, apr_uint32_t *n, apr_uint64_t *mine)
{
    unsigned k, b, i;
    int found = 0;

    for (k = 0; k < MDM_DEVKEYS; k++) {
        for (b = 0; key_set(&rec->keys[k]) && b < 2; b++) {
            apr_uint64_t *words = bucket(c, &rec->keys[k], (int)b);

            for (i = 0; i < WAYS; i++) {
                apr_int64_t s = slot_in(c, LDS(&words[i]), &rec->keys[k]);
                mdm_devrec_t there;

                if (s < 0 || (found && s == *n)) {
                    continue;
                }
                peek(&slots(c)[s], &there); /* perhaps torn: a guess, checked by nothing but harmless either way */
                if (memcmp(there.record, rec->record, sizeof(rec->record)) != 0 &&
                    (k == MDM_DK_DEVICE || !has_key(&there, &rec->keys[k]))) {
                    continue; /* several records may share a device, but no other key */
                }
                if (found) {
                    try_wipe(c, (apr_uint32_t)s);
                } else if (try_lock(c, &slots(c)[s].lock, mine)) {
                    *n = (apr_uint32_t)s;
                    wipe(c, *n);
                    found = 1;
                } else {
                    return -1;
                }
            }
        }
    }
    return found;
}

static int newer(apr_uint32_t generation, apr_uint32_t ticket)
{
    return (apr_int32_t)(generation - ticket) > 0;
}

static int invalidated(const mdm_devcache_t *c, const mdm_devrec_t *rec, const mdm_devkey_t *guard, apr_uint32_t ticket)
{
    unsigned i;

    for (i = 0; i < MDM_DEVKEYS; i++) {
        if (key_set(&rec->keys[i]) && newer(LDS(stripe(c, &rec->keys[i])), ticket)) {
            return 1;
        }
    }
    return newer(LDS(stripe(c, guard)), ticket) || newer(LDS(&c->cleared), ticket);
}

apr_uint32_t mdm_devcache_ticket(const mdm_devcache_t *c, const mdm_devkey_t *key)
{
    return LDS(&c->generation);
}

static int fill(mdm_devcache_t *c, const mdm_devrec_t *rec, apr_uint32_t n)
{
    slot_t *s = &slots(c)[n];
    unsigned i, j;

    MDM_DEVCACHE_HOOK("put-locked");
    store_words(s, rec, 0, KEYWORDS);
    MDM_DEVCACHE_HOOK("put-keys");
    for (i = 0; i < MDM_DEVKEYS; i++) {
        for (j = 0; j < i && !key_is(&rec->keys[i], &rec->keys[j]); j++) {
        }
        if (j == i && key_set(&rec->keys[i]) && !install(c, &rec->keys[i], n)) {
            return 0;
        }
        MDM_DEVCACHE_HOOK("put-word");
    }
    store_words(s, rec, KEYWORDS, RECWORDS);
    MDM_DEVCACHE_HOOK("put-record");
    return 1;
}

apr_status_t mdm_devcache_put(mdm_devcache_t *c, const mdm_devrec_t *rec, const mdm_devkey_t *guard, apr_uint32_t ticket)
{
    apr_uint64_t mine;
    apr_uint32_t n;
    int found;

    if (invalidated(c, rec, guard, ticket)) {
        return APR_EAGAIN;
    }
    found = own_slot(c, rec, &n, &mine);
    if (found < 0) {
        return APR_SUCCESS; /* another writer stores the same record; its ticket decides */
    }
    if (!found && !claim(c, &n, &mine)) {
        return APR_EAGAIN;
    }
    /* The check comes after the words are in: a drop either sees them or has raised the generation before. */
    if (!fill(c, rec, n) || invalidated(c, rec, guard, ticket)) {
        wipe(c, n);
        release(c, n, mine);
        return APR_EAGAIN;
    }
    __atomic_store_n(&refs(c)[n], 3, __ATOMIC_RELAXED); /* in use, and just used */
    if (!release(c, n, mine)) {
        return APR_EAGAIN;
    }
    COUNT(c, puts);
    return APR_SUCCESS;
}

/* Empties slot n if it has the key (NULL: any). While somebody writes it, he is told to empty it himself. */
static void expel(mdm_devcache_t *c, apr_uint32_t n, const mdm_devkey_t *key)
{
    slot_t *s = &slots(c)[n];
    apr_uint64_t l, mine;
    mdm_devrec_t rec;

    for (;;) {
        l = LDS(&s->lock);
        if (busy(l)) {
            if ((l & POISON) || CAS(&s->lock, &l, l | POISON)) {
                return;
            }
            continue;
        }
        if (!try_lock(c, &s->lock, &mine)) {
            continue;
        }
        peek(s, &rec);
        if (!key || has_key(&rec, key)) {
            wipe(c, n);
        }
        release(c, n, mine);
        return;
    }
}

void mdm_devcache_drop(mdm_devcache_t *c, const mdm_devkey_t *key)
{
    apr_uint32_t gen = __atomic_add_fetch(&c->generation, 1, __ATOMIC_SEQ_CST);
    apr_uint32_t *st = stripe(c, key), old = LDS(st);
    unsigned b, i;

    while (newer(gen, old) && !CAS(st, &old, gen)) {
    }
    for (b = 0; b < 2; b++) {
        apr_uint64_t *words = bucket(c, key, (int)b);

        for (i = 0; i < WAYS; i++) {
            apr_int64_t n = slot_in(c, LDS(&words[i]), key);

            if (n >= 0) {
                expel(c, (apr_uint32_t)n, key);
            }
        }
    }
    COUNT(c, drops);
}

void mdm_devcache_clear(mdm_devcache_t *c)
{
    apr_uint32_t gen = __atomic_add_fetch(&c->generation, 1, __ATOMIC_SEQ_CST), old = LDS(&c->cleared);
    apr_uint64_t n;

    while (newer(gen, old) && !CAS(&c->cleared, &old, gen)) {
    }
    for (n = 0; n < c->nslots; n++) {
        if (busy(LDS(&slots(c)[n].lock)) || (LD(&refs(c)[n]) & 2)) {
            expel(c, (apr_uint32_t)n, NULL);
        }
    }
    COUNT(c, drops);
}
