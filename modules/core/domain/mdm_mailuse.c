/* Sums of what mail clients did. See the header for what it promises. */
#include "domain/mdm_mailuse.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Tests kill a process at this point of an update. */
#ifndef MDM_MAILUSE_HOOK
#define MDM_MAILUSE_HOOK() ((void)0)
#endif

#define WAYS 8u
#define LOOKS 2000 /* at a set that somebody holds */

typedef struct {
    apr_uint64_t lock; /* writer's pid << 32 | sequence (odd = being written) */
    apr_uint32_t used, pad;
    mdm_mailsum_t sums[WAYS]; /* requests 0: free */
} set_t;

struct mdm_mailuse_t {
    apr_uint64_t nsets;
    set_t sets[];
};

_Static_assert(sizeof(mdm_mailsum_t) == 72, "no holes");

apr_size_t mdm_mailuse_size(apr_size_t records)
{
    return sizeof(mdm_mailuse_t) + (records + WAYS - 1) / WAYS * sizeof(set_t);
}

apr_status_t mdm_mailuse_init(void *mem, apr_size_t size, mdm_mailuse_t **out)
{
    mdm_mailuse_t *u = mem;

    *out = NULL;
    if (size < mdm_mailuse_size(1)) {
        return APR_ENOMEM;
    }
    u->nsets = (size - sizeof(*u)) / sizeof(set_t);
    *out = u;
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- one set */

static int try_hold(set_t *s, apr_uint64_t *mine)
{
    apr_uint64_t l = __atomic_load_n(&s->lock, __ATOMIC_SEQ_CST);
    pid_t writer = (pid_t)(l >> 32);

    if ((l & 1) && (writer == getpid() || kill(writer, 0) == 0 || errno != ESRCH)) {
        return 0;
    }
    *mine = (apr_uint64_t)getpid() << 32 | (((l & 0xffffffffULL) + ((l & 1) ? 2 : 1)) & 0xffffffffULL);
    return __atomic_compare_exchange_n(&s->lock, &l, *mine, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static int hold(set_t *s, apr_uint64_t *mine)
{
    int i;

    for (i = 0; i < LOOKS; i++) {
        if (try_hold(s, mine)) {
            return 1;
        }
        if (i % 100 == 99) {
            sched_yield();
        }
    }
    return 0;
}

static void let_go(set_t *s, apr_uint64_t mine)
{
    __atomic_store_n(&s->lock, (mine + 1) & 0xffffffffULL, __ATOMIC_SEQ_CST);
}

/* Where the record stands, else a free place, else NULL. */
static mdm_mailsum_t *place(set_t *s, const unsigned char record[16])
{
    mdm_mailsum_t *free_one = NULL;
    unsigned i;

    for (i = 0; i < WAYS; i++) {
        if (!s->sums[i].requests) {
            free_one = free_one ? free_one : &s->sums[i];
        } else if (!memcmp(s->sums[i].record, record, 16)) {
            return &s->sums[i];
        }
    }
    return free_one;
}

static void add(mdm_mailsum_t *to, const mdm_mailsum_t *more)
{
    if (more->last_ms >= to->last_ms) {
        to->last_ms = more->last_ms;
        to->cmd = more->cmd;
        to->heartbeat_s = more->heartbeat_s ? more->heartbeat_s : to->heartbeat_s;
    } else if (!to->heartbeat_s) {
        to->heartbeat_s = more->heartbeat_s;
    }
    if (more->sync_ms > to->sync_ms) {
        to->sync_ms = more->sync_ms;
    }
    if (more->error_ms && more->error_ms >= to->error_ms) {
        to->error_ms = more->error_ms;
        to->error_http = more->error_http;
    }
    to->bytes_in += more->bytes_in;
    to->bytes_out += more->bytes_out;
    to->errors += more->errors;
    to->requests += more->requests;
}

/* ---------------------------------------------------------------- what callers use */

int mdm_mailuse_add(mdm_mailuse_t *u, const mdm_mailsum_t *sum)
{
    apr_uint64_t part, mine;
    mdm_mailsum_t *to;
    set_t *s;

    memcpy(&part, sum->record + 8, sizeof(part)); /* random by itself */
    s = &u->sets[part % u->nsets];
    if (!hold(s, &mine)) {
        return 0;
    }
    to = place(s, sum->record);
    if (to && !to->requests) {
        memset(to, 0, sizeof(*to));
        memcpy(to->record, sum->record, sizeof(to->record));
        __atomic_store_n(&s->used, s->used + 1, __ATOMIC_RELAXED);
    }
    MDM_MAILUSE_HOOK();
    if (to) {
        add(to, sum);
    }
    let_go(s, mine);
    return to != NULL;
}

apr_size_t mdm_mailuse_take(mdm_mailuse_t *u, apr_size_t *at, mdm_mailsum_t *out, apr_size_t max)
{
    apr_size_t got = 0;
    apr_uint64_t mine;
    unsigned i;

    for (; *at < u->nsets && got + WAYS <= max; (*at)++) {
        set_t *s = &u->sets[*at];

        if (!__atomic_load_n(&s->used, __ATOMIC_RELAXED) || !hold(s, &mine)) {
            continue; /* somebody's: with the next round */
        }
        for (i = 0; i < WAYS; i++) {
            if (s->sums[i].requests) {
                out[got++] = s->sums[i];
                s->sums[i].requests = 0;
            }
        }
        __atomic_store_n(&s->used, 0, __ATOMIC_RELAXED);
        let_go(s, mine);
    }
    return got;
}
