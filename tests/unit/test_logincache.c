/* Memory of mail log-ins: exactness, changes during a check, eviction, one check at a time, and processes killed in an update
 * (USR-09, REL-01). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <cmocka.h>

static void point(void);
#define MDM_LOGINCACHE_HOOK() point()
#include "domain/mdm_logincache.c"

static long die_after; /* kill this process at the n-th store of an update */

static void point(void)
{
    if (die_after && --die_after == 0) {
        kill(getpid(), SIGKILL);
    }
}

static const unsigned char SECRET[32] = "0123456789abcdef0123456789abcde";

static mdm_logincache_t *make(apr_size_t logins)
{
    apr_size_t size = mdm_logincache_size(logins);
    void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mdm_logincache_t *c;

    assert_ptr_not_equal(mem, MAP_FAILED);
    assert_int_equal(mdm_logincache_init(mem, size, SECRET, &c), APR_SUCCESS);
    return c;
}

static mdm_loginkey_t key_of(const mdm_logincache_t *c, const char *login, const char *password)
{
    mdm_loginkey_t key;

    assert_int_equal(mdm_logincache_key(c, login, password, &key), APR_SUCCESS);
    return key;
}

/* Every field follows from n, so that any mix of two shows. */
static mdm_mail_login_t who_of(unsigned n)
{
    mdm_mail_login_t w;

    memset(&w, 0, sizeof(w));
    snprintf(w.person_id, sizeof(w.person_id), "person-%u", n);
    snprintf(w.source_id, sizeof(w.source_id), "source-%u", n);
    snprintf(w.login, sizeof(w.login), "login-%u", n);
    snprintf(w.mail, sizeof(w.mail), "mail-%0200u", n);
    return w;
}

static mdm_loginkey_t nth(const mdm_logincache_t *c, unsigned n)
{
    char login[40];

    snprintf(login, sizeof(login), "user%u", n);
    return key_of(c, login, "pw");
}

static void put(mdm_logincache_t *c, unsigned n, apr_int64_t now)
{
    mdm_loginkey_t key = nth(c, n);
    mdm_mail_login_t who = who_of(n);

    mdm_logincache_put(c, &key, mdm_logincache_ticket(c), now, &who);
}

/* 1 found and right, 0 unknown, -1 wrong. */
static int right(const mdm_logincache_t *c, unsigned n)
{
    mdm_loginkey_t key = nth(c, n);
    mdm_mail_login_t got, want = who_of(n);
    apr_int64_t at = 0;
    mdm_login_e is = mdm_logincache_get(c, &key, &got, &at);

    return is == MDM_LOGIN_UNKNOWN ? 0 : is == MDM_LOGIN_GOOD && memcmp(&got, &want, sizeof(got)) == 0 ? 1 : -1;
}

static void only_the_same_login_and_password_is_known(void **state)
{
    mdm_logincache_t *c = make(64);
    mdm_loginkey_t good = key_of(c, "anna", "secret"), bad = key_of(c, "anna", "wrong"), k;
    mdm_mail_login_t who = who_of(1), got;
    apr_int64_t at = 0;
    char long_one[2000];

    mdm_logincache_put(c, &good, mdm_logincache_ticket(c), 1000, &who);
    mdm_logincache_put(c, &bad, mdm_logincache_ticket(c), 2000, NULL);
    assert_int_equal(mdm_logincache_get(c, &good, &got, &at), MDM_LOGIN_GOOD);
    assert_int_equal(at, 1000);
    assert_memory_equal(&got, &who, sizeof(who));
    assert_int_equal(mdm_logincache_get(c, &bad, &got, &at), MDM_LOGIN_BAD);
    assert_int_equal(at, 2000);
    k = key_of(c, "annas", "ecret"); /* the same letters in a row */
    assert_int_equal(mdm_logincache_get(c, &k, &got, &at), MDM_LOGIN_UNKNOWN);
    assert_string_equal(got.person_id, "");
    memset(long_one, 'x', sizeof(long_one) - 1);
    long_one[sizeof(long_one) - 1] = '\0';
    k = key_of(c, long_one, long_one);
    assert_int_equal(mdm_logincache_get(c, &k, &got, &at), MDM_LOGIN_UNKNOWN);
    mdm_logincache_put(c, &bad, mdm_logincache_ticket(c), 3000, &who); /* now it is right: one entry, not two */
    assert_int_equal(mdm_logincache_get(c, &bad, &got, &at), MDM_LOGIN_GOOD);
}

static void the_segment_holds_neither_name_nor_password(void **state)
{
    mdm_logincache_t *c = make(64);
    mdm_loginkey_t k = key_of(c, "typed-name-of-anna", "password-of-anna");
    mdm_mail_login_t who = who_of(1);

    mdm_logincache_put(c, &k, mdm_logincache_ticket(c), 1000, &who);
    assert_null(memmem(c, mdm_logincache_size(64), "password-of-anna", 16));
    assert_null(memmem(c, mdm_logincache_size(64), "typed-name-of-anna", 18));
    assert_non_null(memmem(c, mdm_logincache_size(64), "person-1", 8));
}

static void a_change_forgets_the_person_and_refusals(void **state)
{
    mdm_logincache_t *c = make(64);
    mdm_loginkey_t bad = key_of(c, "user1", "old");
    mdm_mail_login_t got;
    apr_int64_t at;

    put(c, 1, 1000);
    put(c, 2, 1000);
    mdm_logincache_put(c, &bad, mdm_logincache_ticket(c), 1000, NULL);
    mdm_logincache_drop(c, "person-1");
    assert_int_equal(right(c, 1), 0);
    assert_int_equal(right(c, 2), 1);
    assert_int_equal(mdm_logincache_get(c, &bad, &got, &at), MDM_LOGIN_UNKNOWN);
    put(c, 1, 2000);
    assert_int_equal(right(c, 1), 1);
    mdm_logincache_clear(c);
    assert_int_equal(right(c, 1), 0);
    assert_int_equal(right(c, 2), 0);
}

static void a_change_during_the_check_wins(void **state)
{
    mdm_logincache_t *c = make(64);
    mdm_loginkey_t k = nth(c, 1);
    mdm_mail_login_t who = who_of(1);
    apr_uint64_t ticket = mdm_logincache_ticket(c);

    mdm_logincache_drop(c, "person-1");
    mdm_logincache_put(c, &k, ticket, 1000, &who);
    assert_int_equal(right(c, 1), 0);
    ticket = mdm_logincache_ticket(c);
    mdm_logincache_drop(c, "person-2");
    mdm_logincache_put(c, &k, ticket, 1000, &who);
    assert_int_equal(right(c, 1), 1);
    ticket = mdm_logincache_ticket(c);
    mdm_logincache_clear(c);
    mdm_logincache_put(c, &k, ticket, 1000, &who);
    assert_int_equal(right(c, 1), 0);
}

static void refusals_and_the_oldest_go_first(void **state)
{
    mdm_logincache_t *c = make(8); /* one set */
    mdm_loginkey_t bad[WAYS + 4];
    unsigned i, n = 0;
    char login[40];

    for (i = 0; i < WAYS; i++) {
        put(c, i, 1000 + i);
    }
    put(c, 100, 5000);
    assert_int_equal(right(c, 0), 0);
    assert_int_equal(right(c, 1), 1);
    assert_int_equal(right(c, 100), 1);
    for (i = 0; i < WAYS + 4; i++) { /* guessing fills one place, not all */
        snprintf(login, sizeof(login), "nobody%u", i);
        bad[i] = key_of(c, login, "guess");
        mdm_logincache_put(c, &bad[i], mdm_logincache_ticket(c), 6000 + i, NULL);
    }
    for (i = 0; i < WAYS; i++) {
        n += right(c, i) == 1;
    }
    assert_int_equal(n + (right(c, 100) == 1), WAYS - 1);
}

static void one_checks_the_others_wait(void **state)
{
    mdm_logincache_t *c = make(64);
    mdm_loginkey_t a = nth(c, 1), b = nth(c, 2);

    assert_int_equal(mdm_logincache_begin(c, &a, 1000000), 1);
    assert_int_equal(mdm_logincache_begin(c, &a, 1000500), 0);
    assert_int_equal(mdm_logincache_begin(c, &b, 1000500), 1);
    mdm_logincache_end(c, &a);
    assert_int_equal(mdm_logincache_begin(c, &a, 1001000), 1);
    assert_int_equal(mdm_logincache_begin(c, &a, 1012000), 1); /* the one was killed */
    assert_int_equal(mdm_logincache_begin(c, &a, 900000), 1);  /* the clock was set back */
}

/* Children write, drop and are killed at any store of an update: what is read is always whole, and places come back. */
static void killed_writers_leave_nothing_wrong(void **state)
{
    mdm_logincache_t *c = make(16);
    unsigned round, n, used = 0;
    int status;

    for (round = 1; round <= 200; round++) {
        pid_t pid = fork();

        if (pid == 0) {
            die_after = (long)(round * 37 % (4 * WORDS)) + 1;
            for (n = 0;; n++) {
                put(c, (n * 7 + round) % 40, 1000 + round);
            }
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WTERMSIG(status), SIGKILL);
        for (n = 0; n < 40; n++) {
            assert_int_not_equal(right(c, n), -1);
        }
    }
    for (n = 0; n < 40; n++) {
        put(c, n, 5000);
    }
    for (n = 0; n < 40; n++) {
        used += right(c, n) == 1;
    }
    assert_int_equal(used, 16);
}

static void *writer(void *arg)
{
    mdm_logincache_t *c = arg;
    unsigned n;

    for (n = 0; n < 40000; n++) {
        put(c, n % 24, 1000 + n);
    }
    return NULL;
}

static void readers_beside_writers_see_whole_entries(void **state)
{
    mdm_logincache_t *c = make(8);
    pthread_t t[2];
    unsigned i;

    for (i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, writer, c), 0);
    }
    for (i = 0; i < 80000; i++) {
        assert_int_not_equal(right(c, i % 24), -1);
    }
    for (i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
    }
}

static void too_little_memory_is_refused(void **state)
{
    static apr_uint64_t mem[64];
    mdm_logincache_t *c;

    assert_int_equal(mdm_logincache_init(mem, sizeof(mem), SECRET, &c), APR_ENOMEM);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_same_login_and_password_is_known),
        cmocka_unit_test(the_segment_holds_neither_name_nor_password),
        cmocka_unit_test(a_change_forgets_the_person_and_refusals),
        cmocka_unit_test(a_change_during_the_check_wins),
        cmocka_unit_test(refusals_and_the_oldest_go_first),
        cmocka_unit_test(one_checks_the_others_wait),
        cmocka_unit_test(killed_writers_leave_nothing_wrong),
        cmocka_unit_test(readers_beside_writers_see_whole_entries),
        cmocka_unit_test(too_little_memory_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
