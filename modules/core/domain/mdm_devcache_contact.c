/* The device cache's contact notes, figures and invariants. */
#include "domain/mdm_devcache_priv.h"

/* ---------------------------------------------------------------- contacts */

static apr_uint64_t *dirty_word(const mdm_devcache_t *c, apr_uint64_t n)
{
    return (apr_uint64_t *)at(c, c->off_dirty) + n / 64;
}

static void mark(mdm_devcache_t *c, apr_uint64_t n)
{
    apr_uint64_t bit = 1ULL << (n & 63);

    if (!(LDS(dirty_word(c, n)) & bit)) {
        __atomic_fetch_or(dirty_word(c, n), bit, __ATOMIC_SEQ_CST);
    }
}

static int is_dirty(const mdm_devcache_t *c, apr_uint64_t n)
{
    return (LD(dirty_word(c, n)) >> (n & 63)) & 1;
}

/* The record's place: where it stands already, else the first that holds nothing unflushed; -1 if there is none. */
static apr_int64_t contact_place(const mdm_devcache_t *c, const apr_uint64_t record[2])
{
    mdm_devkey_t h = mdm_devcache_key(c, 'k', record, 16);
    apr_int64_t room = -1;
    unsigned i;

    for (i = 0; i < CONTACT_PROBES; i++) {
        apr_uint64_t n = (h.hi + i) % c->nslots;
        const slot_t *s = &slots(c)[n];

        if (LD(&s->c_record[0]) == record[0] && LD(&s->c_record[1]) == record[1]) {
            return (apr_int64_t)n;
        }
        if (room < 0 && !is_dirty(c, n)) {
            room = (apr_int64_t)n;
        }
    }
    return room;
}

static void contact_store(mdm_devcache_t *c, const mdm_contact_t *contact, int again)
{
    apr_uint64_t mine, record[2], addr[2], peer[2], ms = (apr_uint64_t)contact->ms;
    apr_int64_t n;
    slot_t *s;
    int i, same;

    memcpy(record, contact->record, 16);
    memcpy(addr, contact->addr, 16);
    memcpy(peer, contact->peer, 16);
    n = contact_place(c, record);
    if (n < 0) {
        return; /* very many unflushed ones at this place: this contact time waits for the next request */
    }
    s = &slots(c)[n];
    same = LD(&s->c_record[0]) == record[0] && LD(&s->c_record[1]) == record[1];
    if (same && !again && (LD(&s->c_ms) & MS_MASK) / 1000 == ms / 1000) {
        return;
    }
    if (same && again) { /* what stands there is newer */
        mark(c, (apr_uint64_t)n);
        return;
    }
    if (!try_lock(c, &s->c_lock, &mine)) {
        return; /* a contact of this moment is being noted by somebody else */
    }
    for (i = 0; i < 2; i++) {
        ST(&s->c_record[i], record[i]);
        ST(&s->c_addr[i], addr[i]);
        ST(&s->c_peer[i], peer[i]);
    }
    ST(&s->c_ms, (apr_uint64_t)contact->kind << 56 | (ms & MS_MASK));
    MDM_DEVCACHE_HOOK("contact");
    __atomic_store_n(&s->c_lock, ((mine & SEQ_MASK) + 1) & SEQ_MASK, __ATOMIC_SEQ_CST);
    mark(c, (apr_uint64_t)n);
}

void mdm_devcache_contact(mdm_devcache_t *c, const mdm_devrec_t *rec, apr_int64_t now_ms, const unsigned char addr[16],
                          const unsigned char peer[16])
{
    mdm_contact_t contact = {.ms = now_ms, .kind = rec->kind};

    memcpy(contact.record, rec->record, 16);
    memcpy(contact.addr, addr, 16);
    memcpy(contact.peer, peer, 16);
    contact_store(c, &contact, 0);
}

static int contact_take(const slot_t *s, mdm_contact_t *out)
{
    apr_uint64_t l;
    int tries;

    for (tries = 0; tries < 256; tries++) {
        apr_uint64_t w[6], when;
        unsigned i;

        l = LDA(&s->c_lock);
        if (busy(l)) {
            relax();
            continue;
        }
        for (i = 0; i < 2; i++) {
            w[i] = LD(&s->c_record[i]);
            w[2 + i] = LD(&s->c_addr[i]);
            w[4 + i] = LD(&s->c_peer[i]);
        }
        when = LD(&s->c_ms);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (LD(&s->c_lock) == l) {
            memcpy(out->record, &w[0], 16);
            memcpy(out->addr, &w[2], 16);
            memcpy(out->peer, &w[4], 16);
            out->ms = (apr_int64_t)(when & MS_MASK);
            out->kind = (apr_uint32_t)(when >> 56);
            return 1;
        }
    }
    return 0; /* its writer marks it again when done; if he died, the time is lost */
}

apr_size_t mdm_devcache_contacts(mdm_devcache_t *c, mdm_contact_t *out, apr_size_t max)
{
    apr_uint64_t base;
    apr_size_t got = 0;

    for (base = 0; base < c->nslots && got < max; base += 64) {
        apr_uint64_t bits = LD(dirty_word(c, base)) ? __atomic_exchange_n(dirty_word(c, base), 0, __ATOMIC_SEQ_CST) : 0;

        for (; bits && got < max; bits &= bits - 1) {
            apr_uint64_t n = base + (unsigned)__builtin_ctzll(bits);

            if (n < c->nslots && contact_take(&slots(c)[n], &out[got])) {
                got++;
            }
        }
        if (bits) { /* no room for these */
            __atomic_fetch_or(dirty_word(c, base), bits, __ATOMIC_SEQ_CST);
        }
    }
    return got;
}

apr_int64_t mdm_devcache_contact_ms(const mdm_devcache_t *c, const unsigned char record[16])
{
    apr_uint64_t want[2];
    mdm_contact_t found;
    mdm_devkey_t h;
    unsigned i;

    memcpy(want, record, 16);
    h = mdm_devcache_key(c, 'k', want, 16);
    for (i = 0; i < CONTACT_PROBES; i++) {
        if (contact_take(&slots(c)[(h.hi + i) % c->nslots], &found) && memcmp(found.record, record, 16) == 0) {
            return found.ms;
        }
    }
    return 0;
}

void mdm_devcache_contact_again(mdm_devcache_t *c, const mdm_contact_t *list, apr_size_t n)
{
    apr_size_t i;

    for (i = 0; i < n; i++) {
        contact_store(c, &list[i], 1);
    }
}

/* ---------------------------------------------------------------- figures and checks */

void mdm_devcache_stats(const mdm_devcache_t *c, mdm_devcache_stats_t *out)
{
    apr_uint64_t i;

    memset(out, 0, sizeof(*out));
    out->slots = c->nslots;
    for (i = 0; i < SHARDS; i++) {
        out->hits += LD(&c->shards[i].hits);
        out->misses += LD(&c->shards[i].misses);
        out->puts += LD(&c->shards[i].puts);
        out->evictions += LD(&c->shards[i].evictions);
        out->drops += LD(&c->shards[i].drops);
        out->reclaimed += LD(&c->shards[i].reclaimed);
    }
    for (i = 0; i < c->nslots; i++) {
        out->used += (LD(&refs(c)[i]) >> 1) & 1;
    }
}

static int word_found(const mdm_devcache_t *c, const mdm_devkey_t *key, apr_uint32_t n)
{
    unsigned i;
    int found = 0;

    for (i = 0; i < 2 * WAYS; i++) {
        found += LDS(&bucket(c, key, i >= WAYS)[i % WAYS]) == word_of(key, n);
    }
    return found;
}

static int check_slot(const mdm_devcache_t *c, apr_uint32_t n)
{
    mdm_devrec_t rec;
    int faults = 0;
    unsigned i;

    if (busy(LDS(&slots(c)[n].lock))) {
        return 0; /* being written, or its writer died: not readable either way */
    }
    peek(&slots(c)[n], &rec);
    for (i = 0; i < MDM_DEVKEYS; i++) {
        faults += key_set(&rec.keys[i]) && word_found(c, &rec.keys[i], n) < 1;
    }
    return faults + (rec.kind > MDM_KIND_ADE);
}

static int check_word(const mdm_devcache_t *c, apr_uint64_t at_word)
{
    apr_uint64_t w = LDS((apr_uint64_t *)at(c, c->off_index) + at_word), n = w & 0xffffffffULL;
    const apr_uint64_t *home = (apr_uint64_t *)at(c, c->off_index) + at_word / WAYS * WAYS;
    mdm_devrec_t rec;
    unsigned i;

    if (!w) {
        return 0;
    }
    if (!n || n > c->nslots) {
        return 1;
    }
    if (busy(LDS(&slots(c)[n - 1].lock))) {
        return 0;
    }
    peek(&slots(c)[n - 1], &rec);
    for (i = 0; i < MDM_DEVKEYS; i++) {
        if (key_set(&rec.keys[i]) && word_of(&rec.keys[i], (apr_uint32_t)n - 1) == w &&
            (bucket(c, &rec.keys[i], 0) == home || bucket(c, &rec.keys[i], 1) == home)) {
            return 0;
        }
    }
    return 1;
}

int mdm_devcache_validate(const mdm_devcache_t *c)
{
    mdm_devcache_t same = {0};
    apr_uint64_t i;
    int faults = c->magic != MAGIC || lay_out(&same, c->nslots) != c->size;

    for (i = 0; !faults && i < c->nslots; i++) {
        faults += check_slot(c, (apr_uint32_t)i);
    }
    for (i = 0; i < c->nbuckets * WAYS; i++) {
        faults += check_word(c, i);
    }
    return faults;
}
