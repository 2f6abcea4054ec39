/* Places and breakers of directories. */
#include "domain/mdm_ldap_gate.h"

#include <string.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include "base/mdm_wait.h"
#include "wire/mdm_breaker.h"

#define FAILS_TO_OPEN 3
#define PAUSE_MAX_MS 30000
#define WAIT apr_time_from_sec(1)
#define RETRY_S 10
#define TARGETS_MAX 256

#define LINES_MAX 8
#define LINE_IDLE apr_time_from_sec(60)
#define LINE_LIFE apr_time_from_sec(300)
#define KEY_BYTES 160

typedef struct kept_t {
    mdm_ldap_line_t *line; /* NULL: free */
    char key[KEY_BYTES];
    apr_time_t made, left;
} kept_t;

struct mdm_ldap_place_t { /* one for each directory */
    mdm_breaker_t *breaker;
    int in_use;
    kept_t kept[LINES_MAX];
};

struct mdm_ldap_gate_t {
    mdm_wait_t *lock;
    apr_pool_t *parent, *pool; /* the rest is under lock */
    mdm_breakers_t *breakers;
    apr_hash_t *directories;
    int places, on_the_way; /* in use or waiting */
    apr_uint64_t refused;
};

static void begin_anew(mdm_ldap_gate_t *g)
{
    if (g->pool) {
        apr_pool_destroy(g->pool);
    }
    apr_pool_create(&g->pool, g->parent);
    g->breakers = mdm_breakers_make(g->pool, FAILS_TO_OPEN, PAUSE_MAX_MS);
    g->directories = apr_hash_make(g->pool);
}

apr_status_t mdm_ldap_gate_make(apr_pool_t *p, int places, mdm_ldap_gate_t **out)
{
    mdm_ldap_gate_t *g = apr_pcalloc(p, sizeof(*g));
    apr_status_t rv = mdm_wait_make(p, &g->lock);

    g->parent = p;
    g->places = places < 4 ? 4 : places;
    begin_anew(g);
    *out = rv == APR_SUCCESS ? g : NULL;
    return rv;
}

static apr_status_t end_all(void *data)
{
    mdm_ldap_place_t *d = data;
    int i;

    for (i = 0; i < LINES_MAX; i++) {
        if (d->kept[i].line) {
            mdm_ldap_line_end(d->kept[i].line);
            d->kept[i].line = NULL;
        }
    }
    return APR_SUCCESS;
}

/* Sources come and go: their addresses are forgotten when there are many. */
static mdm_ldap_place_t *directory_of(mdm_ldap_gate_t *g, const char *target)
{
    mdm_ldap_place_t *d;

    if (!g->on_the_way && apr_hash_count(g->directories) > TARGETS_MAX) {
        begin_anew(g);
    }
    if (!(d = apr_hash_get(g->directories, target, APR_HASH_KEY_STRING))) {
        d = apr_pcalloc(g->pool, sizeof(*d));
        d->breaker = mdm_breaker_for(g->breakers, target);
        apr_pool_cleanup_register(g->pool, d, end_all, apr_pool_cleanup_null);
        apr_hash_set(g->directories, apr_pstrdup(g->pool, target), APR_HASH_KEY_STRING, d);
    }
    return d;
}

/* With the lock held: NULL if it may begin, else why not. */
static const char *wait_in_line(mdm_ctx_t *ctx, mdm_ldap_gate_t *g, mdm_ldap_place_t *d)
{
    apr_time_t until = mdm_ticks() + WAIT;

    for (;;) {
        if (!mdm_breaker_try(ctx, d->breaker)) {
            return "it does not answer and is left alone for a moment";
        }
        if (d->in_use < g->places / 2) {
            return NULL;
        }
        mdm_breaker_cancel(d->breaker);
        if (mdm_ticks() >= until) {
            return "too many ask it at once";
        }
        mdm_wait_for(g->lock, until - mdm_ticks());
    }
}

apr_status_t mdm_ldap_gate_enter(mdm_ctx_t *ctx, const char *host, int port, mdm_ldap_place_t **out)
{
    mdm_ldap_gate_t *g = ctx->env->ldap_gate;
    const char *why = "too many ask directories at once", *target = apr_psprintf(ctx->pool, "directory %s:%d", host, port);

    mdm_wait_lock(g->lock);
    *out = directory_of(g, target);
    if (g->on_the_way < g->places) {
        g->on_the_way++;
        if (!(why = wait_in_line(ctx, g, *out))) {
            (*out)->in_use++;
        } else {
            g->on_the_way--;
        }
    }
    g->refused += why != NULL;
    mdm_wait_unlock(g->lock);
    if (!why) {
        return APR_SUCCESS;
    }
    *out = NULL;
    ctx->retry_after = RETRY_S;
    return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "%s", why);
}

void mdm_ldap_gate_leave(mdm_ctx_t *ctx, mdm_ldap_place_t *place, int answered)
{
    mdm_ldap_gate_t *g = ctx->env->ldap_gate;

    mdm_wait_lock(g->lock);
    place->in_use--;
    g->on_the_way--;
    mdm_breaker_note(ctx, place->breaker, answered ? MDM_BR_ANSWERED : MDM_BR_AWAY);
    mdm_wait_wake_all(g->lock);
    mdm_wait_unlock(g->lock);
}

/* With the lock held: the freshest one that fits; those that are too old are ended. */
static kept_t *fitting(mdm_ldap_place_t *d, const char *key)
{
    apr_time_t now = mdm_ticks();
    kept_t *best = NULL;
    int i;

    for (i = 0; i < LINES_MAX; i++) {
        kept_t *k = &d->kept[i];

        if (k->line && (now - k->left > LINE_IDLE || now - k->made > LINE_LIFE)) {
            mdm_ldap_line_end(k->line); /* says no good-bye, so it waits for nothing */
            k->line = NULL;
        }
        if (k->line && !strcmp(k->key, key) && (!best || k->left > best->left)) {
            best = k;
        }
    }
    return best;
}

mdm_ldap_line_t *mdm_ldap_gate_take(mdm_ctx_t *ctx, mdm_ldap_place_t *place, const char *key, apr_time_t *made)
{
    mdm_ldap_gate_t *g = ctx->env->ldap_gate;
    mdm_ldap_line_t *line = NULL;
    kept_t *k;

    mdm_wait_lock(g->lock);
    if ((k = fitting(place, key))) {
        line = k->line;
        *made = k->made;
        k->line = NULL;
    }
    mdm_wait_unlock(g->lock);
    return line;
}

void mdm_ldap_gate_keep(mdm_ctx_t *ctx, mdm_ldap_place_t *place, const char *key, mdm_ldap_line_t *line, apr_time_t made)
{
    mdm_ldap_gate_t *g = ctx->env->ldap_gate;
    kept_t *k = NULL;
    int i;

    mdm_wait_lock(g->lock);
    (void)fitting(place, key);
    for (i = 0; i < LINES_MAX && !k && strlen(key) < KEY_BYTES; i++) {
        k = place->kept[i].line ? NULL : &place->kept[i];
    }
    if (k) {
        k->line = line;
        k->made = made;
        k->left = mdm_ticks();
        apr_cpystrn(k->key, key, sizeof(k->key));
    }
    mdm_wait_unlock(g->lock);
    if (!k) {
        mdm_ldap_line_end(line);
    }
}

apr_uint64_t mdm_ldap_gate_refused(mdm_ldap_gate_t *g)
{
    apr_uint64_t n;

    mdm_wait_lock(g->lock);
    n = g->refused;
    mdm_wait_unlock(g->lock);
    return n;
}
