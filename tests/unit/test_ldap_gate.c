/* Places and breakers of directories (REL-04, USR-11): a dead one is left alone, its callers don't take the places of others. */
#include <pthread.h>
#include "ctxtest.h"

#include <apr_strings.h>
#include "base/mdm_wait.h"
#include "domain/mdm_ldap_priv.h"

static apr_time_t now;
static mdm_env_t env;

static apr_time_t frozen(void *baton)
{
    return now;
}

static int gate_setup(void **state)
{
    setup(state);
    now = apr_time_from_sec(1800000000);
    env.clock = frozen;
    ctx = mdm_ctx_make(pool, &env, NULL, NULL);
    return mdm_ldap_gate_make(pool, 8, &env.ldap_gate) != APR_SUCCESS;
}

static mdm_ldap_place_t *enter(const char *host)
{
    mdm_ldap_place_t *place = NULL;

    return mdm_ldap_gate_enter(ctx, host, 636, &place) == APR_SUCCESS ? place : NULL;
}

static void unanswered(const char *host)
{
    mdm_ldap_place_t *place = enter(host);

    assert_non_null(place);
    mdm_ldap_gate_leave(ctx, place, 0);
}

static void three_failures_close_the_way_and_one_probes(void **state)
{
    mdm_ldap_place_t *probe;
    int i;

    unanswered("dead");
    unanswered("dead");
    mdm_ldap_gate_leave(ctx, enter("dead"), 1); /* an answer between: counted anew */
    for (i = 0; i < 3; i++) {
        unanswered("dead");
    }
    assert_null(enter("dead"));
    assert_true(ctx->retry_after > 0);
    assert_int_equal(mdm_ldap_gate_refused(env.ldap_gate), 1);
    mdm_ldap_gate_leave(ctx, enter("alive"), 1);
    now += apr_time_from_sec(2);
    assert_non_null(probe = enter("dead"));
    assert_null(enter("dead")); /* one at a time */
    mdm_ldap_gate_leave(ctx, probe, 0);
    assert_null(enter("dead")); /* closed again */
    now += apr_time_from_sec(60);
    assert_non_null(probe = enter("dead"));
    mdm_ldap_gate_leave(ctx, probe, 1);
    mdm_ldap_gate_leave(ctx, enter("dead"), 1);
}

static void pause_stays_bounded(void **state)
{
    int i;

    for (i = 0; i < 3; i++) {
        unanswered("dead");
    }
    for (i = 0; i < 30; i++) {
        assert_null(enter("dead"));
        now += apr_time_from_sec(38); /* half a minute and its jitter */
        unanswered("dead");
    }
}

static void one_directory_has_half_of_the_places(void **state)
{
    mdm_ldap_place_t *slow[4], *other;
    int i;

    for (i = 0; i < 4; i++) {
        assert_non_null(slow[i] = enter("slow"));
    }
    assert_null(enter("slow"));
    assert_true(ctx->retry_after > 0);
    assert_non_null(other = enter("quick"));
    mdm_ldap_gate_leave(ctx, other, 1);
    mdm_ldap_gate_leave(ctx, slow[0], 1);
    assert_non_null(slow[0] = enter("slow"));
    for (i = 0; i < 4; i++) {
        mdm_ldap_gate_leave(ctx, slow[i], 1);
    }
}

static void all_places_taken_refuses_at_once(void **state)
{
    mdm_ldap_place_t *taken[8];
    int i;

    for (i = 0; i < 8; i++) {
        assert_non_null(taken[i] = enter(i % 2 ? "a" : "b"));
    }
    assert_null(enter("c"));
    for (i = 0; i < 8; i++) {
        mdm_ldap_gate_leave(ctx, taken[i], 1);
    }
    mdm_ldap_gate_leave(ctx, enter("c"), 1);
}

static void *release_soon(void *place)
{
    apr_pool_t *p;
    mdm_ctx_t *mine;

    apr_pool_create(&p, NULL);
    mine = mdm_ctx_make(p, &env, NULL, NULL);
    apr_sleep(apr_time_from_msec(50));
    mdm_ldap_gate_leave(mine, place, 1);
    apr_pool_destroy(p);
    return NULL;
}

static void a_place_that_comes_free_is_waited_for(void **state)
{
    mdm_ldap_place_t *slow[4];
    pthread_t t;
    int i;

    for (i = 0; i < 4; i++) {
        slow[i] = enter("slow");
    }
    assert_int_equal(pthread_create(&t, NULL, release_soon, slow[0]), 0);
    assert_non_null(slow[0] = enter("slow"));
    pthread_join(t, NULL);
    for (i = 0; i < 4; i++) {
        mdm_ldap_gate_leave(ctx, slow[i], 1);
    }
}

static void many_addresses_are_forgotten(void **state)
{
    int i;

    for (i = 0; i < 2000; i++) {
        mdm_ldap_gate_leave(ctx, enter(apr_psprintf(pool, "host%d", i)), 1);
    }
}

static mdm_ldap_line_t *line(void)
{
    return calloc(1, sizeof(mdm_ldap_line_t)); /* not connected; mdm_ldap_line_end() frees it */
}

/* USR-07: a connection that was left is for who comes with the same key, once, and not for ever; there are few of them. */
static void lines_are_kept_for_the_same_key(void **state)
{
    mdm_ldap_place_t *here = enter("here"), *there = enter("there");
    mdm_ldap_line_t *mine = line(), *more[12];
    apr_time_t made = 0, now_ticks = mdm_ticks();
    int i, n = 0;

    mdm_ldap_gate_keep(ctx, here, "key", mine, now_ticks);
    assert_null(mdm_ldap_gate_take(ctx, here, "other key", &made));
    assert_null(mdm_ldap_gate_take(ctx, there, "key", &made));
    assert_ptr_equal(mdm_ldap_gate_take(ctx, here, "key", &made), mine);
    assert_int_equal(made, now_ticks);
    assert_null(mdm_ldap_gate_take(ctx, here, "key", &made));
    mdm_ldap_gate_keep(ctx, here, "key", mine, now_ticks - apr_time_from_sec(301));
    assert_null(mdm_ldap_gate_take(ctx, here, "key", &made)); /* too old, and freed: the sanitizer would tell of a leak */
    for (i = 0; i < 12; i++) {
        mdm_ldap_gate_keep(ctx, here, i % 2 ? "a" : "b", line(), now_ticks);
    }
    for (i = 0; i < 12; i++) {
        if ((more[n] = mdm_ldap_gate_take(ctx, here, i % 2 ? "a" : "b", &made))) {
            n++;
        }
    }
    assert_int_equal(n, 8);
    for (i = 0; i < n; i++) {
        mdm_ldap_gate_keep(ctx, there, "left behind", more[i], now_ticks); /* ends with the gate */
    }
    mdm_ldap_gate_leave(ctx, here, 1);
    mdm_ldap_gate_leave(ctx, there, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(three_failures_close_the_way_and_one_probes, gate_setup, teardown),
        cmocka_unit_test_setup_teardown(pause_stays_bounded, gate_setup, teardown),
        cmocka_unit_test_setup_teardown(one_directory_has_half_of_the_places, gate_setup, teardown),
        cmocka_unit_test_setup_teardown(all_places_taken_refuses_at_once, gate_setup, teardown),
        cmocka_unit_test_setup_teardown(a_place_that_comes_free_is_waited_for, gate_setup, teardown),
        cmocka_unit_test_setup_teardown(many_addresses_are_forgotten, gate_setup, teardown),
        cmocka_unit_test_setup_teardown(lines_are_kept_for_the_same_key, gate_setup, teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
