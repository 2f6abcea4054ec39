/* The table of mail log-ins. See the header for what it promises. */
#include "domain/mdm_logincache.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mdm_sip.h"
#include "base/mdm_text.h"

/* Tests kill a process at this point of an update. */
#ifndef MDM_LOGINCACHE_HOOK
#define MDM_LOGINCACHE_HOOK() ((void)0)
#endif

#define WAYS 8u
#define STRIPES 4096u
#define ASKING 1024u
#define ASKING_S 10
#define DAY_MS 86400000LL

typedef struct {
    mdm_loginkey_t key;
    apr_int64_t at_ms;
    apr_uint64_t ticket;
    apr_uint32_t good, stripe;
    mdm_mail_login_t who;
    char pad[4];
} entry_t;

#define WORDS (sizeof(entry_t) / 8)
_Static_assert(sizeof(entry_t) % 8 == 0 && sizeof(mdm_loginkey_t) == 32, "whole words");

typedef struct {
    apr_uint64_t lock; /* writer's pid << 32 | sequence (odd = being written) */
    apr_uint64_t word[WORDS];
} place_t;

struct mdm_logincache_t {
    apr_uint64_t secret[4];
    apr_uint64_t nsets;
    apr_uint64_t changes, cleared;  /* number of changes so far; of the last that cleared all */
    apr_uint64_t changed[STRIPES];  /* of the last that touched somebody of this stripe */
    apr_uint64_t asking[ASKING];    /* part of the key << 32 | second: who is being checked */
    place_t places[];
};

#define LD(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define LDS(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define ST(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define CAS(p, old, new) __atomic_compare_exchange_n((p), (old), (new), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

apr_size_t mdm_logincache_size(apr_size_t logins)
{
    return sizeof(mdm_logincache_t) + (logins + WAYS - 1) / WAYS * WAYS * sizeof(place_t);
}

apr_status_t mdm_logincache_init(void *mem, apr_size_t size, const unsigned char secret[32], mdm_logincache_t **out)
{
    mdm_logincache_t *c = mem;

    *out = NULL;
    if (size < mdm_logincache_size(1)) {
        return APR_ENOMEM;
    }
    memcpy(c->secret, secret, sizeof(c->secret));
    c->nsets = (size - sizeof(*c)) / (WAYS * sizeof(place_t));
    *out = c;
    return APR_SUCCESS;
}

apr_status_t mdm_logincache_key(const mdm_logincache_t *c, const char *login, const char *password, mdm_loginkey_t *out)
{
    apr_size_t n = strlen(login) + 1, m = strlen(password) + 1;
    unsigned char small[512], *text = n + m <= sizeof(small) ? small : malloc(n + m);
    int half;

    if (!text) {
        return MDM_EUNAVAIL;
    }
    memcpy(text, login, n); /* with the NULs: no other pair gives the same bytes */
    memcpy(text + n, password, m);
    for (half = 0; half < 2; half++) {
        mdm_sip(c->secret + 2 * half, (unsigned char)half, text, n + m, out->hash + 2 * half);
    }
    mdm_wipe(text, n + m);
    if (text != small) {
        free(text);
    }
    return APR_SUCCESS;
}

static place_t *set_of(const mdm_logincache_t *c, const mdm_loginkey_t *key)
{
    return (place_t *)&c->places[key->hash[1] % c->nsets * WAYS];
}

static apr_uint32_t stripe_of(const char *person_id)
{
    apr_uint32_t h = 2166136261u;

    for (; *person_id; person_id++) {
        h = (h ^ (unsigned char)*person_id) * 16777619u;
    }
    return h % STRIPES;
}

/* ---------------------------------------------------------------- places */

/* Copies a place out; 0 if it is being written, or its writer died. */
static int copy_out(const place_t *p, entry_t *out)
{
    apr_uint64_t words[WORDS], l = __atomic_load_n(&p->lock, __ATOMIC_ACQUIRE);
    unsigned i;

    for (i = 0; i < WORDS; i++) {
        words[i] = LD(&p->word[i]);
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if ((l & 1) || LD(&p->lock) != l) {
        return 0;
    }
    memcpy(out, words, sizeof(*out));
    return 1;
}

/* Takes a place for writing if nobody alive writes it. */
static int try_lock(place_t *p, apr_uint64_t *mine)
{
    apr_uint64_t l = LDS(&p->lock);
    pid_t writer = (pid_t)(l >> 32);

    if ((l & 1) && (writer == getpid() || kill(writer, 0) == 0 || errno != ESRCH)) {
        return 0;
    }
    *mine = (apr_uint64_t)getpid() << 32 | (((l & 0xffffffffULL) + ((l & 1) ? 2 : 1)) & 0xffffffffULL);
    if (!CAS(&p->lock, &l, *mine)) {
        return 0;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* no store to the place before the odd lock word */
    return 1;
}

static void write_place(place_t *p, const entry_t *e)
{
    apr_uint64_t words[WORDS], mine;
    unsigned i;

    if (!try_lock(p, &mine)) {
        return; /* it is only a cache */
    }
    memcpy(words, e, sizeof(words));
    for (i = 0; i < WORDS; i++) {
        ST(&p->word[i], words[i]);
        MDM_LOGINCACHE_HOOK();
    }
    __atomic_store_n(&p->lock, (mine + 1) & 0xffffffffULL, __ATOMIC_SEQ_CST);
}

/* Does no change since the check speak against it? */
static int holds(const mdm_logincache_t *c, const entry_t *e)
{
    return e->ticket >= LDS(&c->cleared)
           && (e->good ? e->ticket >= LDS(&c->changed[e->stripe % STRIPES]) : e->ticket >= LDS(&c->changes));
}

/* ---------------------------------------------------------------- what callers use */

mdm_login_e mdm_logincache_get(const mdm_logincache_t *c, const mdm_loginkey_t *key, mdm_mail_login_t *out, apr_int64_t *at_ms)
{
    const place_t *set = set_of(c, key);
    entry_t e;
    unsigned i;

    for (i = 0; i < WAYS; i++) {
        if (LD(&set[i].word[0]) == key->hash[0] && copy_out(&set[i], &e) && mdm_bytes_equal(&e.key, key, sizeof(*key))
            && holds(c, &e)) {
            *at_ms = e.at_ms;
            *out = e.who;
            return e.good ? MDM_LOGIN_GOOD : MDM_LOGIN_BAD;
        }
    }
    memset(out, 0, sizeof(*out));
    return MDM_LOGIN_UNKNOWN;
}

apr_uint64_t mdm_logincache_ticket(const mdm_logincache_t *c)
{
    return LDS(&c->changes);
}

/* The place of this log-in already, or the one that is missed least: one that is no longer true, a refusal, the oldest. */
static place_t *place_for(mdm_logincache_t *c, const mdm_loginkey_t *key)
{
    place_t *set = set_of(c, key), *best = NULL;
    apr_int64_t rank, least = 0;
    entry_t e;
    unsigned i;

    for (i = 0; i < WAYS; i++) {
        if (!copy_out(&set[i], &e)) {
            memset(&e, 0, sizeof(e)); /* perhaps of a dead writer */
        }
        if (e.at_ms && mdm_bytes_equal(&e.key, key, sizeof(*key))) {
            return &set[i];
        }
        rank = !e.at_ms || !holds(c, &e) ? APR_INT64_MIN : e.good ? e.at_ms : e.at_ms - DAY_MS;
        if (!best || rank < least) {
            least = rank;
            best = &set[i];
        }
    }
    return best;
}

void mdm_logincache_put(mdm_logincache_t *c, const mdm_loginkey_t *key, apr_uint64_t ticket, apr_int64_t now_ms,
                        const mdm_mail_login_t *who)
{
    entry_t e;

    memset(&e, 0, sizeof(e));
    e.key = *key;
    e.at_ms = now_ms;
    e.ticket = ticket;
    if (who) {
        e.good = 1;
        e.who = *who;
        e.stripe = stripe_of(who->person_id);
    }
    if (holds(c, &e)) {
        write_place(place_for(c, key), &e);
    }
}

/* Several may do so at once: the greatest number stays. */
static void raise_to(apr_uint64_t *to, apr_uint64_t n)
{
    apr_uint64_t was = LDS(to);

    while (was < n && !CAS(to, &was, n)) {
    }
}

void mdm_logincache_drop(mdm_logincache_t *c, const char *person_id)
{
    raise_to(&c->changed[stripe_of(person_id)], __atomic_add_fetch(&c->changes, 1, __ATOMIC_SEQ_CST));
}

void mdm_logincache_clear(mdm_logincache_t *c)
{
    raise_to(&c->cleared, __atomic_add_fetch(&c->changes, 1, __ATOMIC_SEQ_CST));
}

int mdm_logincache_begin(mdm_logincache_t *c, const mdm_loginkey_t *key, apr_int64_t now_ms)
{
    apr_uint64_t *at = &c->asking[key->hash[2] % ASKING], was = LDS(at), tag = key->hash[3] >> 32;
    apr_int64_t since = now_ms / 1000 - (apr_int64_t)(was & 0xffffffffULL);

    if ((was >> 32) == tag && since >= 0 && since < ASKING_S) {
        return 0;
    }
    /* somebody else's place is taken over: that log-in may be checked twice then, no more */
    return CAS(at, &was, tag << 32 | ((apr_uint64_t)(now_ms / 1000) & 0xffffffffULL));
}

void mdm_logincache_end(mdm_logincache_t *c, const mdm_loginkey_t *key)
{
    apr_uint64_t *at = &c->asking[key->hash[2] % ASKING], was = LDS(at);

    if ((was >> 32) == key->hash[3] >> 32) {
        CAS(at, &was, 0);
    }
}
