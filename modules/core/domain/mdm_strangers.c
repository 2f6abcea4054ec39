/* Certificates that nobody knows, and the addresses that bring them. Every key in the table is a stranger's, so that a place that two writers
 * mix up still says nothing wrong. */
#include "domain/mdm_strangers.h"

#define PLACE(h) ((h) % MDM_STRANGERS)
#define STEP_MS (1000 / MDM_STRANGER_RATE)
#define FULL_MS ((apr_int64_t)MDM_STRANGER_BURST * STEP_MS)
/* address: tag << 48 | the time up to which it has used its share, ms */
#define TIME_MASK 0xffffffffffffULL
#define TAG(h) ((h) >> 48)

int mdm_stranger_known(const mdm_strangers_t *s, const mdm_devkey_t *key, apr_int64_t now_ms)
{
    const apr_uint64_t place = PLACE(key->lo);
    apr_int64_t ms = (apr_int64_t)__atomic_load_n(&s->certs[place].ms, __ATOMIC_SEQ_CST);

    return __atomic_load_n(&s->certs[place].key, __ATOMIC_SEQ_CST) == key->hi && ms <= now_ms && now_ms - ms < MDM_STRANGER_MS;
}

void mdm_stranger_note(mdm_strangers_t *s, const mdm_devkey_t *key, apr_int64_t now_ms)
{
    const apr_uint64_t place = PLACE(key->lo);

    __atomic_store_n(&s->certs[place].ms, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&s->certs[place].key, key->hi, __ATOMIC_SEQ_CST);
    __atomic_store_n(&s->certs[place].ms, (apr_uint64_t)now_ms, __ATOMIC_SEQ_CST);
}

void mdm_stranger_forget(mdm_strangers_t *s, const mdm_devkey_t *key)
{
    __atomic_store_n(&s->certs[PLACE(key->lo)].ms, 0, __ATOMIC_SEQ_CST);
}

void mdm_strangers_clear(mdm_strangers_t *s)
{
    for (unsigned i = 0; i < MDM_STRANGERS; i++) {
        __atomic_store_n(&s->certs[i].ms, 0, __ATOMIC_SEQ_CST);
    }
}

/* Up to when the address has used its share: now if it has used none, and whoever had the place before is nobody's affair. */
static apr_int64_t used(apr_uint64_t word, apr_uint64_t address, apr_int64_t now_ms)
{
    apr_int64_t ms = (apr_int64_t)(word & TIME_MASK);

    return TAG(word) != TAG(address) || ms < now_ms || ms > now_ms + FULL_MS + STEP_MS ? now_ms : ms;
}

int mdm_strangers_full(const mdm_strangers_t *s, apr_uint64_t address, apr_int64_t now_ms)
{
    apr_uint64_t word = __atomic_load_n(&s->addresses[PLACE(address)], __ATOMIC_SEQ_CST);

    return used(word, address, now_ms) - now_ms >= FULL_MS;
}

void mdm_strangers_count(mdm_strangers_t *s, apr_uint64_t address, apr_int64_t now_ms)
{
    apr_uint64_t *place = &s->addresses[PLACE(address)], word = __atomic_load_n(place, __ATOMIC_SEQ_CST), fresh;

    do {
        fresh = TAG(address) << 48 | (apr_uint64_t)(used(word, address, now_ms) + STEP_MS);
    } while (!__atomic_compare_exchange_n(place, &word, fresh, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
}
