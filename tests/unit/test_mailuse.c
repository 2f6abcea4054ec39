/* Sums of what mail clients did: exactness beside other writers, full sets, and processes killed in an update (PXY-06, REL-01). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <cmocka.h>

static void point(void);
#define MDM_MAILUSE_HOOK() point()
#include "domain/mdm_mailuse.c"

static int die;

static void point(void)
{
    if (die) {
        kill(getpid(), SIGKILL);
    }
}

static mdm_mailuse_t *make(apr_size_t records)
{
    apr_size_t size = mdm_mailuse_size(records);
    void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mdm_mailuse_t *u;

    assert_ptr_not_equal(mem, MAP_FAILED);
    assert_int_equal(mdm_mailuse_init(mem, size, &u), APR_SUCCESS);
    return u;
}

static mdm_mailsum_t sum_of(unsigned n, apr_int64_t at)
{
    mdm_mailsum_t s = {.requests = 1, .last_ms = at, .bytes_in = 10, .bytes_out = 1000, .cmd = 18};

    memcpy(s.record + 4, &n, sizeof(n));
    memcpy(s.record + 8, &n, sizeof(n)); /* this part chooses the set */
    return s;
}

static mdm_mailsum_t only(mdm_mailuse_t *u)
{
    mdm_mailsum_t out[64];
    apr_size_t at = 0;

    assert_int_equal(mdm_mailuse_take(u, &at, out, 64), 1);
    return out[0];
}

static void requests_add_up_and_the_latest_says_what_it_was(void **state)
{
    mdm_mailuse_t *u = make(64);
    mdm_mailsum_t a = sum_of(1, 2000), b = sum_of(1, 3000), c = sum_of(1, 1000), got, none[8];
    apr_size_t at = 0;

    a.cmd = 0;
    a.sync_ms = 2000;
    a.heartbeat_s = 480;
    b.errors = 1;
    b.error_ms = 3000;
    b.error_http = 503;
    assert_true(mdm_mailuse_add(u, &a) && mdm_mailuse_add(u, &b) && mdm_mailuse_add(u, &c));
    got = only(u);
    assert_int_equal(got.requests, 3);
    assert_int_equal(got.bytes_in, 30);
    assert_int_equal(got.bytes_out, 3000);
    assert_int_equal(got.last_ms, 3000);
    assert_int_equal(got.cmd, 18);
    assert_int_equal(got.sync_ms, 2000);
    assert_int_equal(got.heartbeat_s, 480); /* which b did not say */
    assert_int_equal(got.errors, 1);
    assert_int_equal(got.error_http, 503);
    assert_memory_equal(got.record, a.record, 16);
    assert_int_equal(mdm_mailuse_take(u, &at, none, 8), 0); /* taken is taken */
    assert_true(mdm_mailuse_add(u, &got)); /* the database was away */
    assert_true(mdm_mailuse_add(u, &c));
    got = only(u);
    assert_int_equal(got.requests, 4);
    assert_int_equal(got.last_ms, 3000);
    assert_int_equal(got.error_ms, 3000);
}

static void a_full_set_loses_the_new_one_only(void **state)
{
    mdm_mailuse_t *u = make(8); /* one set */
    mdm_mailsum_t out[64], s;
    apr_size_t at = 0;
    unsigned n;

    for (n = 1; n <= WAYS; n++) {
        s = sum_of(n, 1000);
        assert_true(mdm_mailuse_add(u, &s));
    }
    s = sum_of(99, 1000);
    assert_false(mdm_mailuse_add(u, &s));
    s = sum_of(3, 2000);
    assert_true(mdm_mailuse_add(u, &s));
    assert_int_equal(mdm_mailuse_take(u, &at, out, 64), WAYS);
    s = sum_of(99, 1000);
    assert_true(mdm_mailuse_add(u, &s));
}

static void what_is_taken_in_parts_comes_once(void **state)
{
    mdm_mailuse_t *u = make(800);
    mdm_mailsum_t out[16];
    apr_size_t at = 0, n, all = 0;
    unsigned i, kept = 0;

    for (i = 1; i <= 300; i++) {
        mdm_mailsum_t s = sum_of(i, 1000);

        kept += mdm_mailuse_add(u, &s) != 0;
    }
    while ((n = mdm_mailuse_take(u, &at, out, 16)) > 0) {
        all += n;
    }
    assert_int_equal(kept, 300);
    assert_int_equal(all, kept);
}

#define TIMES 20000

static void *writer(void *arg)
{
    static apr_uint32_t lost;
    unsigned i;

    for (i = 0; i < TIMES; i++) {
        mdm_mailsum_t s = sum_of(i % 5, 1000 + i);

        if (!mdm_mailuse_add(arg, &s)) {
            __atomic_add_fetch(&lost, 1, __ATOMIC_RELAXED);
        }
    }
    return &lost;
}

/* Whoever had to give up knows it: nothing else is lost, and nothing doubled, while somebody takes sums out. */
static void writers_beside_the_taker_lose_nothing(void **state)
{
    mdm_mailuse_t *u = make(8);
    mdm_mailsum_t out[64];
    apr_uint64_t sum = 0, bytes = 0;
    apr_uint32_t *lost = NULL;
    pthread_t t[2];
    unsigned i, round;

    for (i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, writer, u), 0);
    }
    for (round = 0; round < 2000; round++) {
        apr_size_t at = 0, n = mdm_mailuse_take(u, &at, out, 64);

        for (i = 0; i < n; i++) {
            sum += out[i].requests;
            bytes += out[i].bytes_out;
        }
        if (round == 1998) {
            for (i = 0; i < 2; i++) {
                pthread_join(t[i], (void **)&lost);
            }
        }
    }
    assert_int_equal(sum + *lost, 2 * TIMES);
    assert_int_equal(bytes, sum * 1000);
}

static void a_killed_writer_does_not_keep_the_set(void **state)
{
    mdm_mailuse_t *u = make(8);
    mdm_mailsum_t s = sum_of(7, 1000);
    int status;
    pid_t pid;

    assert_true(mdm_mailuse_add(u, &s));
    pid = fork();
    if (pid == 0) {
        s = sum_of(8, 1000);
        die = 1;
        mdm_mailuse_add(u, &s);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_true(mdm_mailuse_add(u, &s));
    assert_int_equal(only(u).requests, 2);
}

static void too_little_memory_is_refused(void **state)
{
    static apr_uint64_t mem[8];
    mdm_mailuse_t *u;

    assert_int_equal(mdm_mailuse_init(mem, sizeof(mem), &u), APR_ENOMEM);
    assert_null(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_add_up_and_the_latest_says_what_it_was),
        cmocka_unit_test(a_full_set_loses_the_new_one_only),
        cmocka_unit_test(what_is_taken_in_parts_comes_once),
        cmocka_unit_test(writers_beside_the_taker_lose_nothing),
        cmocka_unit_test(a_killed_writer_does_not_keep_the_set),
        cmocka_unit_test(too_little_memory_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
