/* The device cache: exactness, races of put and drop, eviction, contacts, and torture by several processes of which some
 * are killed inside an update (PRF-07, PRF-12, REL-01, REL-05). */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static void point(const char *name);
#define MDM_DEVCACHE_HOOK(p) point(p)
#include "domain/mdm_devcache.c"
#include "domain/mdm_devcache_contact.c"

static long die_after;          /* torture: kill this process at the n-th point */
static const char *call_at;     /* race: call a function at a named point */
static void (*call_fn)(void);

static void point(const char *name)
{
    if (die_after && --die_after == 0) {
        kill(getpid(), SIGKILL);
    }
    if (call_at && !strcmp(name, call_at)) {
        call_at = NULL;
        call_fn();
    }
}

static const unsigned char SEED[16] = "0123456789abcdef";

static mdm_devcache_t *make(apr_size_t size)
{
    void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mdm_devcache_t *c;

    assert_ptr_not_equal(mem, MAP_FAILED);
    assert_int_equal(mdm_devcache_init(mem, size, SEED, &c), APR_SUCCESS);
    return c;
}

static mdm_devkey_t key_of(const mdm_devcache_t *c, char kind, apr_uint32_t n)
{
    return mdm_devcache_key(c, kind, &n, sizeof(n));
}

/* Every field follows from n, so that any mix of two records shows. */
static mdm_devrec_t rec_of(const mdm_devcache_t *c, apr_uint32_t n, apr_uint32_t version)
{
    mdm_devrec_t r = {0};
    int i;

    r.keys[MDM_DK_DEVICE] = key_of(c, 'd', n);
    r.keys[MDM_DK_CERT] = key_of(c, 'c', n);
    r.keys[MDM_DK_NATIVE] = key_of(c, 'u', n);
    for (i = 0; i < 16; i++) {
        r.device[i] = (unsigned char)(n >> (i % 4 * 8));
        r.record[i] = (unsigned char)(n >> (i % 4 * 8)) ^ 0x5a;
    }
    r.kind = 1 + n % 4;
    r.state = n * 2654435761u;
    r.policy_key = version;
    r.flags = version ^ n;
    r.loaded_ms = (apr_int64_t)n * 1000003 + version;
    return r;
}

static int put(mdm_devcache_t *c, apr_uint32_t n, apr_uint32_t version)
{
    mdm_devrec_t r = rec_of(c, n, version);
    apr_uint32_t t = mdm_devcache_ticket(c, &r.keys[MDM_DK_CERT]);

    return mdm_devcache_put(c, &r, &r.keys[MDM_DK_CERT], t);
}

/* 1 found and right, 0 not found, -1 wrong. */
static int right(mdm_devcache_t *c, char kind, apr_uint32_t n, apr_uint32_t *version)
{
    mdm_devkey_t k = key_of(c, kind, n);
    mdm_devrec_t got, want;

    if (mdm_devcache_get(c, &k, &got) != APR_SUCCESS) {
        return 0;
    }
    want = rec_of(c, n, got.policy_key);
    if (version) {
        *version = got.policy_key;
    }
    return memcmp(&got, &want, sizeof(got)) == 0 ? 1 : -1;
}

static void too_small_is_refused(void **state)
{
    static char mem[65536];
    mdm_devcache_t *c;

    assert_int_equal(mdm_devcache_init(mem, 65535, SEED, &c), APR_ENOMEM);
    c = make(65536);
    assert_true(mdm_devcache_slots(c) >= 100);
}

static void key_is_siphash_128(void **state)
{
    /* Published vector of SipHash-2-4-128: key 00..0f, message 00..0e (here: kind 0 and fourteen bytes). */
    unsigned char seed[16];
    mdm_devcache_t c = {0};
    mdm_devkey_t a, b;
    int i;

    for (i = 0; i < 16; i++) {
        seed[i] = (unsigned char)i;
    }
    memcpy(c.seed, seed, 16);
    a = mdm_devcache_key(&c, 0, "\1\2\3\4\5\6\7\10\11\12\13\14\15\16", 14);
    assert_int_equal(a.hi, 0x11a8b03399e99354ULL);
    assert_int_equal(a.lo, 0xd9c3cf970fec087eULL);
    b = mdm_devcache_key(&c, 'u', "x", 1);
    a = mdm_devcache_key(&c, 'c', "x", 1);
    assert_false(key_is(&a, &b));
}

static void put_get_drop(void **state)
{
    mdm_devcache_t *c = make(1 << 20);
    mdm_devkey_t k;
    mdm_devrec_t got;

    assert_int_equal(right(c, 'c', 7, NULL), 0);
    assert_int_equal(put(c, 7, 1), APR_SUCCESS);
    assert_int_equal(right(c, 'c', 7, NULL), 1);
    assert_int_equal(right(c, 'd', 7, NULL), 1);
    assert_int_equal(right(c, 'u', 7, NULL), 1);
    assert_int_equal(right(c, 'e', 7, NULL), 0);
    assert_int_equal(put(c, 7, 2), APR_SUCCESS);
    k = key_of(c, 'u', 7);
    assert_int_equal(mdm_devcache_get(c, &k, &got), APR_SUCCESS);
    assert_int_equal(got.policy_key, 2);
    k = key_of(c, 'd', 7);
    mdm_devcache_drop(c, &k);
    assert_int_equal(right(c, 'c', 7, NULL), 0);
    assert_int_equal(right(c, 'u', 7, NULL), 0);
    assert_int_equal(mdm_devcache_validate(c), 0);
}

/* A device with several source records: its key drops them all. */
static void drop_forgets_every_record_of_a_device(void **state)
{
    mdm_devcache_t *c = make(1 << 20);
    mdm_devkey_t dev = key_of(c, 'd', 1);
    apr_uint32_t i;

    for (i = 100; i < 106; i++) {
        mdm_devrec_t r = rec_of(c, i, 1);

        r.keys[MDM_DK_DEVICE] = dev;
        assert_int_equal(mdm_devcache_put(c, &r, &dev, mdm_devcache_ticket(c, &dev)), APR_SUCCESS);
    }
    mdm_devcache_drop(c, &dev);
    for (i = 100; i < 106; i++) {
        mdm_devrec_t got;
        mdm_devkey_t k = key_of(c, 'c', i);

        assert_int_equal(mdm_devcache_get(c, &k, &got), APR_NOTFOUND);
    }
    assert_int_equal(mdm_devcache_validate(c), 0);
}

/* The load began by certificate, the change names the device: the put must notice. */
static void put_after_drop_by_another_key_is_refused(void **state)
{
    mdm_devcache_t *c = make(1 << 20);
    mdm_devrec_t r = rec_of(c, 5, 1);
    mdm_devkey_t other = key_of(c, 'd', 6);
    apr_uint32_t t = mdm_devcache_ticket(c, &r.keys[MDM_DK_CERT]);

    mdm_devcache_drop(c, &r.keys[MDM_DK_DEVICE]);
    assert_int_equal(mdm_devcache_put(c, &r, &r.keys[MDM_DK_CERT], t), APR_EAGAIN);
    assert_int_equal(right(c, 'c', 5, NULL), 0);
    t = mdm_devcache_ticket(c, &r.keys[MDM_DK_CERT]);
    mdm_devcache_drop(c, &other); /* another device's change does not disturb (but for one in 1024) */
    assert_int_equal(mdm_devcache_put(c, &r, &r.keys[MDM_DK_CERT], t), APR_SUCCESS);
    t = mdm_devcache_ticket(c, &r.keys[MDM_DK_CERT]);
    mdm_devcache_clear(c);
    assert_int_equal(right(c, 'c', 5, NULL), 0);
    assert_int_equal(mdm_devcache_put(c, &r, &r.keys[MDM_DK_CERT], t), APR_EAGAIN);
}

static mdm_devcache_t *race;

static void drop_5(void)
{
    mdm_devkey_t k = key_of(race, 'u', 5);

    mdm_devcache_drop(race, &k);
}

static void clear_all(void)
{
    mdm_devcache_clear(race);
}

/* A drop (or a clear) at each point inside a put: the record must never be found afterwards. */
static void drop_in_the_middle_of_a_put_wins(void **state)
{
    static const char *const points[] = {"put-locked", "put-keys", "put-word", "put-record"};
    unsigned i, j;

    race = make(1 << 20);
    for (i = 0; i < 4; i++) {
        for (j = 0; j < 2; j++) {
            call_at = points[i];
            call_fn = j ? clear_all : drop_5;
            assert_int_equal(put(race, 5, 1), APR_EAGAIN);
            assert_int_equal(right(race, 'c', 5, NULL), 0);
            assert_int_equal(right(race, 'd', 5, NULL), 0);
            assert_int_equal(right(race, 'u', 5, NULL), 0);
            assert_int_equal(mdm_devcache_validate(race), 0);
        }
    }
    assert_int_equal(put(race, 5, 2), APR_SUCCESS);
}

static void full_evicts_the_unused_and_stays_sound(void **state)
{
    mdm_devcache_t *c = make(1 << 20);
    apr_uint32_t n = (apr_uint32_t)mdm_devcache_slots(c), i, kept = 0, bad = 0;
    mdm_devcache_stats_t st;

    for (i = 0; i < n * 4; i++) {
        assert_int_equal(put(c, i, 1), APR_SUCCESS);
        bad += right(c, 'd', i, NULL) != 1;
        right(c, 'c', 3, NULL); /* this one is in use all the time */
    }
    for (i = 0; i < n * 4; i++) {
        int r = right(c, 'c', i, NULL);

        kept += r == 1;
        bad += r < 0;
    }
    assert_int_equal(bad, 0);
    assert_int_equal(mdm_devcache_validate(c), 0);
    assert_true(kept > n * 9 / 10);
    assert_int_equal(right(c, 'c', 3, NULL), 1);
    mdm_devcache_stats(c, &st);
    assert_int_equal(st.used, kept);
    assert_int_equal(st.puts, n * 4);
    assert_true(st.evictions >= n * 3 - n / 10);
}

/* PRF-07: a million devices with three keys each fit into 256 MB, and all are found. */
static void million_devices_fit(void **state)
{
    mdm_devcache_t *c = make(256u << 20);
    apr_uint32_t i, missing = 0;

    for (i = 0; i < 1000000; i++) {
        put(c, i, 1);
    }
    for (i = 0; i < 1000000; i++) {
        missing += right(c, "cdu"[i % 3], i, NULL) != 1;
    }
    assert_int_equal(missing, 0);
    munmap(c, 256u << 20);
}

static void contacts_are_taken_once_and_survive_a_drop(void **state)
{
    mdm_devcache_t *c = make(1 << 20);
    static const unsigned char a[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1},
                               peer[16] = {0xfd, 1};
    mdm_contact_t got[100];
    apr_size_t i, n;
    mdm_devrec_t r;

    for (i = 0; i < 50; i++) {
        r = rec_of(c, (apr_uint32_t)i, 1);
        mdm_devcache_contact(c, &r, 1000000 + (apr_int64_t)i, a, peer);
        mdm_devcache_contact(c, &r, 1000001 + (apr_int64_t)i, a, peer);
    }
    mdm_devcache_drop(c, &r.keys[MDM_DK_DEVICE]);
    assert_int_equal(mdm_devcache_contacts(c, got, 20), 20);
    n = mdm_devcache_contacts(c, got + 20, 80);
    assert_int_equal(n, 30);
    assert_int_equal(mdm_devcache_contacts(c, got, 1), 0);
    assert_int_equal(mdm_devcache_contact_ms(c, r.record), 1000049); /* taken, and perhaps not written yet */
    r = rec_of(c, 99, 1);
    assert_int_equal(mdm_devcache_contact_ms(c, r.record), 0);
    for (i = 0; i < 50; i++) {
        r = rec_of(c, (apr_uint32_t)(got[i].ms - 1000000), 1);
        assert_memory_equal(got[i].record, r.record, 16);
        assert_memory_equal(got[i].addr, a, 16);
        assert_memory_equal(got[i].peer, peer, 16); /* ACC-08 */
        assert_int_equal(got[i].kind, r.kind);
    }
    /* the write failed: noted again; a newer contact of the same record meanwhile stays the newer one */
    r = rec_of(c, 7, 1);
    mdm_devcache_contact(c, &r, 5000000, a, peer);
    assert_int_equal(mdm_devcache_contact_ms(c, r.record), 5000000);
    mdm_devcache_contact_again(c, got, 50);
    n = mdm_devcache_contacts(c, got, 100);
    assert_int_equal(n, 50);
    for (i = 0; i < n; i++) {
        assert_true(memcmp(got[i].record, r.record, 16) != 0 || got[i].ms == 5000000);
    }
}

/* ---------------------------------------------------------------- torture */

typedef struct {
    apr_uint32_t versions[512]; /* committed truth per device: raised before the drop */
    apr_uint64_t wrong, stale, gets, found;
} truth_t;

static void child(mdm_devcache_t *c, truth_t *t, unsigned seed, long kill_after, double seconds)
{
    static const unsigned char a[16] = {1};
    apr_uint32_t n, v, before;
    struct timespec start, now;
    mdm_contact_t got[64];

    die_after = kill_after;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        int i;

        for (i = 0; i < 200; i++) {
            mdm_devrec_t r;
            int res;

            n = (apr_uint32_t)rand_r(&seed) % 512;
            before = __atomic_load_n(&t->versions[n], __ATOMIC_SEQ_CST);
            switch (rand_r(&seed) % 8) {
            case 0: /* a change: commit, then drop; nobody may see an older version from now on */
                v = __atomic_add_fetch(&t->versions[n], 1, __ATOMIC_SEQ_CST);
                r.keys[0] = key_of(c, "cdu"[v % 3], n);
                mdm_devcache_drop(c, &r.keys[0]);
                if (right(c, 'c', n, &before) == 1 && before < v) {
                    __atomic_fetch_add(&t->stale, 1, __ATOMIC_RELAXED);
                }
                break;
            case 1:
            case 2: { /* a load */
                mdm_devkey_t k = key_of(c, 'c', n);
                apr_uint32_t ticket = mdm_devcache_ticket(c, &k);

                v = __atomic_load_n(&t->versions[n], __ATOMIC_SEQ_CST);
                r = rec_of(c, n, v);
                mdm_devcache_put(c, &r, &k, ticket);
                break;
            }
            case 3:
                r = rec_of(c, n, 0);
                mdm_devcache_contact(c, &r, (apr_int64_t)n * 1000, a, r.device);
                if (n == 0) {
                    apr_size_t k = mdm_devcache_contacts(c, got, 64);

                    while (k--) {
                        r = rec_of(c, (apr_uint32_t)(got[k].ms / 1000), 0);
                        if (memcmp(got[k].record, r.record, 16) || memcmp(got[k].peer, r.device, 16)) {
                            __atomic_fetch_add(&t->wrong, 1, __ATOMIC_RELAXED);
                        }
                    }
                }
                break;
            default:
                res = right(c, "cdu"[n % 3], n, NULL);
                __atomic_fetch_add(&t->gets, 1, __ATOMIC_RELAXED);
                __atomic_fetch_add(res < 0 ? &t->wrong : &t->found, res != 0, __ATOMIC_RELAXED);
            }
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 < seconds);
    _exit(0);
}

/* Six processes, about 300 slots for 512 devices; every other process is killed inside an update and replaced. */
static void torture_with_killed_writers(void **state)
{
    mdm_devcache_t *c = make(64 * 1024);
    truth_t *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned i, killed = 0;
    mdm_devcache_stats_t st;

    for (i = 0; i < 60; i++) {
        pid_t p;

        if (i >= 6) {
            int status;

            assert_true(wait(&status) > 0);
            killed += WIFSIGNALED(status);
        }
        p = fork();
        assert_true(p >= 0);
        if (p == 0) {
            child(c, t, i * 7919 + 1, i & 1 ? (long)(i * 37 % 4000 + 1) : 0, 0.15);
        }
    }
    for (i = 0; i < 6; i++) {
        int status;

        assert_true(wait(&status) > 0);
        killed += WIFSIGNALED(status);
    }
    assert_true(killed >= 20);
    assert_int_equal(t->wrong, 0);
    assert_int_equal(t->stale, 0);
    assert_true(t->found > 1000);
    assert_int_equal(mdm_devcache_validate(c), 0);
    mdm_devcache_stats(c, &st);
    assert_true(st.reclaimed > 0);
    /* and everything works on: all slots of the dead are used again */
    for (i = 0; i < 4 * st.slots; i++) {
        put(c, 1000 + i, 1);
    }
    mdm_devcache_stats(c, &st);
    assert_true(st.used > st.slots * 9 / 10);
    assert_int_equal(mdm_devcache_validate(c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_small_is_refused),
        cmocka_unit_test(key_is_siphash_128),
        cmocka_unit_test(put_get_drop),
        cmocka_unit_test(drop_forgets_every_record_of_a_device),
        cmocka_unit_test(put_after_drop_by_another_key_is_refused),
        cmocka_unit_test(drop_in_the_middle_of_a_put_wins),
        cmocka_unit_test(full_evicts_the_unused_and_stays_sound),
        cmocka_unit_test(million_devices_fit),
        cmocka_unit_test(contacts_are_taken_once_and_survive_a_drop),
        cmocka_unit_test(torture_with_killed_writers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
