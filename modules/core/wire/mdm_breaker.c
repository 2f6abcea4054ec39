/* Circuit breakers and back-off. */
#include "wire/mdm_breaker.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include "wire/mdm_http.h"

#define PAUSE_MS 1000
#define TARGETS_MAX 1024

struct mdm_breaker_t {
    const mdm_breakers_t *all;
    const char *target;
    int fails;    /* in a row */
    int trips;    /* times opened in a row */
    int probing;  /* one request was let through */
    apr_int64_t until_ms; /* open until then; 0: closed */
};

struct mdm_breakers_t {
    apr_pool_t *pool; /* own sub-pool, cleared by tidy */
    apr_hash_t *map;
    int fails_to_open;
    apr_int64_t pause_max_ms;
};

mdm_breakers_t *mdm_breakers_make(apr_pool_t *p, int fails, apr_int64_t pause_max_ms)
{
    mdm_breakers_t *all = apr_pcalloc(p, sizeof(*all));

    all->fails_to_open = fails;
    all->pause_max_ms = pause_max_ms;
    apr_pool_create(&all->pool, p);
    all->map = apr_hash_make(all->pool);
    return all;
}

mdm_breaker_t *mdm_breaker_for(mdm_breakers_t *all, const char *target)
{
    mdm_breaker_t *b = apr_hash_get(all->map, target, APR_HASH_KEY_STRING);

    if (!b) {
        b = apr_pcalloc(all->pool, sizeof(*b));
        b->all = all;
        b->target = apr_pstrdup(all->pool, target);
        apr_hash_set(all->map, b->target, APR_HASH_KEY_STRING, b);
    }
    return b;
}

void mdm_breakers_tidy(mdm_breakers_t *all)
{
    if (apr_hash_count(all->map) > TARGETS_MAX) {
        apr_pool_clear(all->pool);
        all->map = apr_hash_make(all->pool);
    }
}

int mdm_breaker_try(mdm_ctx_t *ctx, mdm_breaker_t *b)
{
    apr_int64_t left = b->until_ms - mdm_now_ms(ctx);

    if (!b->until_ms)
        return 1;
    /* more than the longest pause means that the clock was set back */
    if (b->probing || (left > 0 && left <= b->all->pause_max_ms * 2))
        return 0;
    b->probing = 1;
    return 1;
}

static void trip(mdm_ctx_t *ctx, mdm_breaker_t *b)
{
    apr_int64_t pause = mdm_backoff_ms(b->trips, PAUSE_MS, b->all->pause_max_ms);

    if (!b->trips++)
        mdm_log(ctx, MDM_LOG_NOTICE, "MDM0003", APR_SUCCESS,
                "%s can't be reached or does not answer: requests to it pause", b->target);
    b->until_ms = mdm_now_ms(ctx) + pause;
    b->probing = 0;
    b->fails = 0;
}

void mdm_breaker_note(mdm_ctx_t *ctx, mdm_breaker_t *b, mdm_br_result_e result)
{
    if (result == MDM_BR_ANSWERED) {
        if (b->trips)
            mdm_log(ctx, MDM_LOG_NOTICE, "MDM0004", APR_SUCCESS, "%s answers again", b->target);
        b->fails = b->trips = b->probing = 0;
        b->until_ms = 0;
    } else if (b->probing) {
        trip(ctx, b);
    } else if (result == MDM_BR_AWAY && !b->until_ms && ++b->fails >= b->all->fails_to_open) {
        trip(ctx, b);
    }
}

void mdm_breaker_cancel(mdm_breaker_t *b)
{
    b->probing = 0;
}

apr_int64_t mdm_backoff_ms(int attempt, apr_int64_t base_ms, apr_int64_t cap_ms)
{
    apr_int64_t d = base_ms > 0 ? base_ms : 1;
    apr_uint32_t dice = 0;

    if (cap_ms < 1)
        cap_ms = 1;
    for (; attempt > 0 && d < cap_ms; attempt--)
        d = d > cap_ms / 2 ? cap_ms : d * 2;
    if (d > cap_ms)
        d = cap_ms;
    /* three quarters, plus up to a half: without randomness the middle is lost, never the pause */
    (void)mdm_random(&dice, sizeof(dice));
    return d - d / 4 + (d / 2 > 0xffff ? d / 2 / 0xffff * (dice & 0xffff) : d / 2 * (dice & 0xffff) / 0xffff);
}
