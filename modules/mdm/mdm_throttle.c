/* Owns the counters of failed tries (USR-10): a fixed table in shared memory, one word per key, lossy when crowded. */
#include <arpa/inet.h>
#include "mdm_private.h"

#define WAYS 8u
#define WINDOW_S 600
#define FIRST_WAIT_S 30
#define LONGEST_WAIT_S 900
#define PER_ACCOUNT 5u
#define PER_ADDRESS 20u
#define MINUTE_S 60
#define COUNT_MAX 60000u

/* Kinds that are counted by the minute: so many failures, then nothing until it is over. All others make people wait longer and longer. */
typedef struct rule_t {
    const char *kind;
    unsigned address, other;
} rule_t;
static const rule_t minutes[] = {{"otp", 10, 1000}}; /* facts 8.2; other: of all addresses together */

/* state: failures << 48 | second of the last one; of minutes: of the first one */
#define FAILS(st) ((unsigned)((st) >> 48))
#define LAST(st) ((apr_int64_t)((st) & 0xffffffffffffULL))

static unsigned limit_of(const char *key)
{
    unsigned char addr[16];

    return inet_pton(AF_INET, key, addr) == 1 || inet_pton(AF_INET6, key, addr) == 1 ? PER_ADDRESS : PER_ACCOUNT;
}

/* Seconds to wait after so many failures, counted from the last one: 30, 60, 120, … 900. */
static apr_int64_t wait_of(unsigned fails, unsigned limit)
{
    unsigned over = fails - limit;

    return fails < limit ? 0 : over >= 5 ? LONGEST_WAIT_S : FIRST_WAIT_S << over;
}

static const rule_t *rule_of(const char *kind)
{
    unsigned i;

    for (i = 0; i < sizeof(minutes) / sizeof(minutes[0]); i++) {
        if (!strcmp(minutes[i].kind, kind)) {
            return &minutes[i];
        }
    }
    return NULL;
}

/* Whoever has an IPv6 address has all of its /64. */
static const char *key_of(const char *key, char buf[INET6_ADDRSTRLEN])
{
    struct in6_addr addr;

    if (inet_pton(AF_INET6, key, &addr) != 1 || IN6_IS_ADDR_V4MAPPED(&addr)) {
        return key;
    }
    memset(&addr.s6_addr[8], 0, 8);
    return inet_ntop(AF_INET6, &addr, buf, INET6_ADDRSTRLEN);
}

static int is_minute(apr_uint64_t st, apr_int64_t now)
{
    return LAST(st) <= now && now - LAST(st) < MINUTE_S;
}

/* A state that counts no more. */
static int is_over(apr_uint64_t st, apr_int64_t now)
{
    return now - LAST(st) > LONGEST_WAIT_S || LAST(st) > now + LONGEST_WAIT_S;
}

static apr_uint64_t hash_of(const char *kind, const char *key)
{
    unsigned char sum[32];
    apr_uint64_t h;
    char buf[600];
    apr_size_t n = 16;

    memcpy(buf, mdm_core.shm->secret, 16);
    n += (apr_size_t)apr_snprintf(buf + 16, sizeof(buf) - 16, "%s|%s", kind, key);
    mdm_sha256(buf, n, sum);
    memcpy(&h, sum, sizeof(h));
    return h ? h : 1;
}

/* The key's counter; with make also a new one in place of the emptiest of its set. */
static mdm_counter_t *counter(apr_uint64_t h, apr_int64_t now, int make)
{
    mdm_counter_t *set = &mdm_core.shm->counters[(h % (MDM_COUNTERS / WAYS)) * WAYS], *victim = set;
    unsigned i;

    for (i = 0; i < WAYS; i++) {
        if (__atomic_load_n(&set[i].key, __ATOMIC_SEQ_CST) == h) {
            return &set[i];
        }
        if (is_over(set[i].state, now) || (!is_over(victim->state, now) && FAILS(set[i].state) < FAILS(victim->state))) {
            victim = &set[i];
        }
    }
    if (!make) {
        return NULL;
    }
    __atomic_store_n(&victim->state, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&victim->key, h, __ATOMIC_SEQ_CST);
    return victim;
}

int mdm_throttle_check(const char *kind, const char *key)
{
    apr_int64_t now = apr_time_sec(apr_time_now()), left;
    const rule_t *rule = rule_of(kind);
    char buf[INET6_ADDRSTRLEN];
    mdm_counter_t *c;
    apr_uint64_t st;

    if (!mdm_core.shm || !key || !*key || !(c = counter(hash_of(kind, key_of(key, buf)), now, 0))) {
        return 0;
    }
    st = __atomic_load_n(&c->state, __ATOMIC_SEQ_CST);
    if (rule) {
        unsigned limit = limit_of(key) == PER_ADDRESS ? rule->address : rule->other;

        return is_minute(st, now) && FAILS(st) >= limit ? (int)(LAST(st) + MINUTE_S - now) : 0;
    }
    left = is_over(st, now) ? 0 : LAST(st) + wait_of(FAILS(st), limit_of(key)) - now;
    return left > 0 ? (int)left : 0;
}

void mdm_throttle_note(const char *kind, const char *key, int ok)
{
    apr_int64_t now = apr_time_sec(apr_time_now());
    const rule_t *rule = rule_of(kind);
    char buf[INET6_ADDRSTRLEN];
    mdm_counter_t *c;
    apr_uint64_t st, next;

    if (!mdm_core.shm || !key || !*key || (rule && ok) || !(c = counter(hash_of(kind, key_of(key, buf)), now, !ok))) {
        return;
    }
    st = __atomic_load_n(&c->state, __ATOMIC_SEQ_CST);
    do {
        unsigned fails = FAILS(st);

        if (rule) {
            int goes_on = is_minute(st, now);

            fails = goes_on ? fails + (fails < COUNT_MAX) : 1;
            next = (apr_uint64_t)fails << 48 | (apr_uint64_t)(goes_on ? LAST(st) : now);
            continue;
        }

        /* a quiet window, longer than the wait that was due, forgives */
        if (is_over(st, now) || (now - LAST(st) > WINDOW_S && now > LAST(st) + wait_of(fails, limit_of(key)))) {
            fails = 0;
        }
        fails += fails < 1000;
        next = ok ? 0 : (apr_uint64_t)fails << 48 | (apr_uint64_t)now;
    } while (!__atomic_compare_exchange_n(&c->state, &st, next, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
}
