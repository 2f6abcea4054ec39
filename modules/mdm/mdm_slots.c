/* Owns the table of held requests and the one thread that watches over them. A slot knows descriptors, a deadline and whose it is; what
 * ends a hold makes its eventfd readable. */
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/mdm_wait.h"
#include "mdm_hold.h"
#include <ap_mpm.h>
#include <scoreboard.h>

#define BUCKETS 4096u
#define EVENTS 256
#define NONE (-1)
#define WRITTEN_LOOKS 1000

/* The lists that a slot is found by. */
enum { BY_DEVICE, BY_PERSON, BY_RECORD, LISTS };

struct mdm_slot_t {
    int at;                     /* in the table */
    apr_uint32_t turn;          /* of what the watcher was told; older news are not for it */
    int wake, client, other;    /* descriptors: its own for as long as it lives */
    enum { FREE, IDLE, HOLDING, KEEPING, WOKEN } state;
    mdm_woke_e why;
    int idle, ping, leaving;    /* leaving: its deadline is the process's end */
    apr_int64_t due;            /* ticks */
    int heap_at;
    unsigned char ids[LISTS][16];
    mdm_slot_t *next[LISTS], **from[LISTS];
    apr_uint32_t ticket;        /* pings that were announced before this one */
};

static struct {
    apr_thread_mutex_t *lock;   /* of everything here and of all slots in use */
    apr_thread_t *thread;
    int epoll, poke;
    int done, draining;
    mdm_slot_t **slots;         /* all that were ever made */
    int n, room;
    mdm_slot_t *free;           /* by next[0] */
    mdm_slot_t **heap;
    int heap_n, heap_room;
    mdm_slot_t *lists[LISTS][BUCKETS];
    apr_uint64_t now;           /* changes heard of */
    apr_uint64_t changed[256];  /* by the first byte of an id: the last of them */
    apr_uint64_t filters, all;
    apr_uint32_t heard;         /* of the pings that other children announced */
    apr_uint16_t *pings;        /* of this child, by bucket */
    apr_int64_t counted_ms;
    apr_uint64_t others;        /* held by other children */
} own;

static void lock(void)
{
    apr_thread_mutex_lock(own.lock);
}

static void unlock(void)
{
    apr_thread_mutex_unlock(own.lock);
}

static void ring(int fd)
{
    apr_uint64_t one = 1;

    if (write(fd, &one, sizeof(one)) < 0) { /* full: it is readable anyway */
        return;
    }
}

/* ---------------------------------------------------------------- deadlines: a binary heap */

static void put_at(int i, mdm_slot_t *s)
{
    own.heap[i] = s;
    s->heap_at = i;
}

static void sift(int i)
{
    mdm_slot_t *s = own.heap[i];
    int child;

    for (; i && own.heap[(i - 1) / 2]->due > s->due; i = (i - 1) / 2) {
        put_at(i, own.heap[(i - 1) / 2]);
    }
    for (; (child = 2 * i + 1) < own.heap_n; i = child) {
        child += child + 1 < own.heap_n && own.heap[child + 1]->due < own.heap[child]->due;
        if (own.heap[child]->due >= s->due) {
            break;
        }
        put_at(i, own.heap[child]);
    }
    put_at(i, s);
}

static void heap_add(mdm_slot_t *s)
{
    own.heap[own.heap_n] = s; /* there is room for each slot */
    sift(own.heap_n++);
    if (own.heap[0] == s) {
        ring(own.poke);
    }
}

static void heap_remove(mdm_slot_t *s)
{
    int i = s->heap_at;

    if (i == NONE) {
        return;
    }
    s->heap_at = NONE;
    if (i != --own.heap_n) {
        put_at(i, own.heap[own.heap_n]);
        sift(i);
    }
}

/* ---------------------------------------------------------------- lists */

static unsigned bucket_of(const unsigned char id[16])
{
    return (id[1] | (unsigned)id[2] << 8) % BUCKETS; /* UUIDs are random */
}

static int is_set(const unsigned char id[16])
{
    static const unsigned char none[16];

    return memcmp(id, none, 16) != 0;
}

static void enlist(mdm_slot_t *s)
{
    int l;

    for (l = 0; l < LISTS; l++) {
        mdm_slot_t **head = &own.lists[l][bucket_of(s->ids[l])];

        s->from[l] = NULL;
        if (is_set(s->ids[l])) {
            s->next[l] = *head;
            if (*head) {
                (*head)->from[l] = &s->next[l];
            }
            *head = s;
            s->from[l] = head;
        }
    }
}

static void delist(mdm_slot_t *s)
{
    int l;

    for (l = 0; l < LISTS; l++) {
        if (s->from[l]) {
            *s->from[l] = s->next[l];
            if (s->next[l]) {
                s->next[l]->from[l] = s->from[l];
            }
            s->from[l] = NULL;
        }
    }
}

/* ---------------------------------------------------------------- waking */

static apr_uint16_t *pings_of(apr_uint16_t *table, const mdm_slot_t *s)
{
    return &table[s->ids[BY_RECORD][3] | s->ids[BY_RECORD][4] << 8];
}

static void unwatch(const mdm_slot_t *s)
{
    epoll_ctl(own.epoll, EPOLL_CTL_DEL, s->client, NULL);
    if (s->other >= 0) {
        epoll_ctl(own.epoll, EPOLL_CTL_DEL, s->other, NULL);
    }
}

/* Takes it from everything that could end it. */
static void disarm(mdm_slot_t *s)
{
    heap_remove(s);
    s->turn++;
    if (s->state != HOLDING) {
        return;
    }
    unwatch(s);
    delist(s);
    __atomic_fetch_sub(&mdm_core.child->held, 1, __ATOMIC_RELAXED);
    if (s->ping) {
        --*pings_of(own.pings, s);
        __atomic_fetch_sub(pings_of(mdm_core.shm->pings, s), 1, __ATOMIC_RELAXED);
    }
}

static void wake(mdm_slot_t *s, mdm_woke_e why)
{
    if (s->state == HOLDING) {
        disarm(s);
        s->state = WOKEN;
        s->why = why;
        __atomic_fetch_add(&mdm_core.shm->woken[why], 1, __ATOMIC_RELAXED);
        ring(s->wake);
    }
}

static void wake_list(int l, const unsigned char id[16], mdm_woke_e why, apr_uint32_t before)
{
    mdm_slot_t *s, *next;

    for (s = own.lists[l][bucket_of(id)]; s; s = next) {
        next = s->next[l];
        if (!memcmp(s->ids[l], id, 16) && (why != MDM_WOKE_NEWER || (s->ping && (apr_int32_t)(before - s->ticket) >= 0))) {
            wake(s, why);
        }
    }
}

static void wake_all(mdm_woke_e why)
{
    int i;

    for (i = 0; i < own.n; i++) {
        wake(own.slots[i], why);
    }
}

void mdm_hold_changed(const char *kind, const char *key)
{
    unsigned char id[16];
    int all = !strcmp(kind, "all") || !strcmp(kind, "source"), known = !all && mdm_uuid_bytes(key, id) == APR_SUCCESS;

    if (!own.lock || (!all && !known) || (!all && strcmp(kind, "device") && strcmp(kind, "person"))) {
        return;
    }
    lock();
    own.now++;
    if (all) {
        own.all = own.now;
        wake_all(MDM_WOKE_CHANGED);
    } else {
        own.changed[id[0]] = own.now;
        wake_list(!strcmp(kind, "device") ? BY_DEVICE : BY_PERSON, id, MDM_WOKE_CHANGED, 0);
    }
    unlock();
}

void mdm_hold_filters(void)
{
    if (own.lock) {
        lock();
        own.filters = ++own.now;
        wake_all(MDM_WOKE_FILTERS);
        unlock();
    }
}

apr_uint64_t mdm_slots_now(void)
{
    apr_uint64_t now = 0;

    if (own.lock) {
        lock();
        now = own.now;
        unlock();
    }
    return now;
}

/* ---------------------------------------------------------------- pings of one device in several children */

/* The device's older Ping ends, wherever it is. Of two that come at the same time in two children at least one sees the other: each takes
 * its ticket and is counted before it looks, and who announces himself is as old as his place. */
static void announce(mdm_slot_t *s)
{
    mdm_shm_t *m = mdm_core.shm;
    mdm_newer_t *e;
    apr_uint32_t pos;
    apr_uint16_t mine;

    s->ticket = __atomic_load_n(&m->newer_pos, __ATOMIC_SEQ_CST);
    wake_list(BY_RECORD, s->ids[BY_RECORD], MDM_WOKE_NEWER, s->ticket);
    mine = ++*pings_of(own.pings, s);
    if (__atomic_add_fetch(pings_of(m->pings, s), 1, __ATOMIC_SEQ_CST) > mine) { /* perhaps another child has it */
        pos = __atomic_fetch_add(&m->newer_pos, 1, __ATOMIC_SEQ_CST);
        e = &m->newer[pos % MDM_NEWER];
        __atomic_store_n(&e->seq, 0, __ATOMIC_SEQ_CST);
        memcpy(e->record, s->ids[BY_RECORD], 16);
        e->pid = (apr_uint32_t)getpid();
        __atomic_store_n(&e->seq, pos + 1, __ATOMIC_SEQ_CST);
        s->ticket = pos + 1;
        ring(mdm_core.newer_fd);
    }
}

/* True once the place is written; who has taken it writes at once, unless he dies at it. */
static int is_written(const mdm_newer_t *e, apr_uint32_t pos)
{
    int i;

    for (i = 0; i < WRITTEN_LOOKS && __atomic_load_n(&e->seq, __ATOMIC_SEQ_CST) != pos + 1; i++) {
        sched_yield();
    }
    return i < WRITTEN_LOOKS;
}

static void hear(void)
{
    mdm_shm_t *m = mdm_core.shm;
    apr_uint32_t pos = __atomic_load_n(&m->newer_pos, __ATOMIC_SEQ_CST);

    if (pos - own.heard > MDM_NEWER) {
        own.heard = pos - MDM_NEWER;
    }
    for (; own.heard != pos; own.heard++) {
        const mdm_newer_t *e = &m->newer[own.heard % MDM_NEWER];
        unsigned char record[16];

        if (is_written(e, own.heard) && e->pid != (apr_uint32_t)getpid()) {
            memcpy(record, e->record, 16);
            wake_list(BY_RECORD, record, MDM_WOKE_NEWER, own.heard);
        }
    }
}

/* ---------------------------------------------------------------- slots */

int mdm_slots_room(void)
{
    apr_uint64_t most = (apr_uint64_t)mdm_conf_num(MDM_C_MAX_HELD), mine = __atomic_load_n(&mdm_core.child->held, __ATOMIC_RELAXED);
    apr_int64_t now = mdm_ms(), last = __atomic_load_n(&own.counted_ms, __ATOMIC_RELAXED);

    if (now - last > 1000 && __atomic_compare_exchange_n(&own.counted_ms, &last, now, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        __atomic_store_n(&own.others, mdm_shm_children().held - mine, __ATOMIC_RELAXED);
    }
    return mine + __atomic_load_n(&own.others, __ATOMIC_RELAXED) < most;
}

/* Table and heap have room for one more. */
static int grow(void)
{
    int room = own.room ? 2 * own.room : 256;
    void *slots, *heap;

    if (own.n < own.room) {
        return 1;
    }
    slots = realloc(own.slots, (size_t)room * sizeof(*own.slots));
    own.slots = slots ? slots : own.slots;
    heap = realloc(own.heap, (size_t)room * sizeof(*own.heap));
    own.heap = heap ? heap : own.heap;
    own.room = slots && heap ? room : own.room;
    /* cppcheck-suppress memleak; both are kept */
    return slots && heap;
}

mdm_slot_t *mdm_slot_get(void)
{
    mdm_slot_t *s;

    lock();
    s = own.free;
    if (s) {
        own.free = s->next[0];
    } else if (grow() && (s = calloc(1, sizeof(*s))) != NULL) {
        s->at = own.n;
        s->heap_at = NONE;
        s->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (s->wake < 0) {
            free(s);
            s = NULL;
        } else {
            own.slots[own.n++] = s;
        }
    }
    if (s) {
        s->state = IDLE;
    }
    unlock();
    return s;
}

void mdm_slot_free(mdm_slot_t *s)
{
    mdm_slot_stop(s);
    lock();
    s->state = FREE;
    s->next[0] = own.free;
    own.free = s;
    unlock();
}

int mdm_slot_fd(const mdm_slot_t *s)
{
    return s->wake;
}

/* False if the kernel has no room for it. */
static int watch(mdm_slot_t *s, int fd, apr_uint32_t events, int other)
{
    struct epoll_event e = {.events = events | EPOLLRDHUP | EPOLLONESHOT,
                            .data.u64 = (apr_uint64_t)s->turn << 32 | (apr_uint32_t)s->at << 1 | (apr_uint32_t)other};

    return epoll_ctl(own.epoll, EPOLL_CTL_ADD, fd, &e) == 0 || (errno == EEXIST && epoll_ctl(own.epoll, EPOLL_CTL_MOD, fd, &e) == 0);
}

/* What happened between judging the request and now. */
static mdm_woke_e missed(const mdm_slot_t *s, apr_uint64_t born)
{
    if (own.all > born || own.changed[s->ids[BY_DEVICE][0]] > born || own.changed[s->ids[BY_PERSON][0]] > born) {
        return MDM_WOKE_CHANGED;
    }
    return own.filters > born ? MDM_WOKE_FILTERS : MDM_WOKE_COUNT;
}

static apr_int64_t drain_due(void)
{
    apr_uint32_t dice = 0;

    apr_generate_random_bytes((unsigned char *)&dice, sizeof(dice));
    return mdm_ticks() + (apr_int64_t)((double)dice / 4294967296.0 * (double)mdm_conf_num(MDM_C_DRAIN) * 1000.0);
}

void mdm_slot_start(mdm_slot_t *s, const mdm_hold_t *h, int client, apr_uint64_t born)
{
    mdm_woke_e late;

    lock();
    memset(s->ids, 0, sizeof(s->ids));
    if (h->rec) {
        memcpy(s->ids[BY_DEVICE], h->rec->device, 16);
        memcpy(s->ids[BY_RECORD], h->rec->record, 16);
    }
    if (h->person_id && mdm_uuid_bytes(h->person_id, s->ids[BY_PERSON]) != APR_SUCCESS) {
        memset(s->ids[BY_PERSON], 0, 16);
    }
    s->client = client;
    s->other = h->fd;
    s->idle = h->idle;
    s->ping = h->ping && is_set(s->ids[BY_RECORD]);
    s->leaving = own.draining && s->idle;
    s->due = s->leaving ? drain_due() : mdm_ticks() + h->wait;
    s->turn++;
    if (s->ping) {
        announce(s);
    }
    __atomic_fetch_add(&mdm_core.child->held, 1, __ATOMIC_RELAXED);
    s->state = HOLDING;
    enlist(s);
    heap_add(s);
    late = watch(s, client, 0, 0) && (s->other < 0 || watch(s, s->other, EPOLLIN, 1)) ? missed(s, born) : MDM_WOKE_FULL;
    if (late != MDM_WOKE_COUNT) {
        wake(s, late);
    }
    unlock();
}

void mdm_slot_keep(mdm_slot_t *s, int client, apr_interval_time_t wait)
{
    lock();
    s->client = client;
    s->other = -1;
    s->leaving = 0;
    s->due = own.draining ? mdm_ticks() : mdm_ticks() + wait;
    s->turn++;
    s->state = KEEPING;
    heap_add(s);
    unlock();
}

void mdm_slot_stop(mdm_slot_t *s)
{
    apr_uint64_t drop;

    lock();
    if (s->state == HOLDING) { /* the MPM ends it, by its own time-out */
        s->why = MDM_WOKE_DEADLINE;
    }
    if (s->state == HOLDING || s->state == KEEPING) {
        disarm(s);
    }
    if (s->state == WOKEN && read(s->wake, &drop, sizeof(drop)) < 0) {
        drop = 0; /* nobody rang */
    }
    s->state = IDLE;
    unlock();
}

mdm_woke_e mdm_slot_why(const mdm_slot_t *s)
{
    return s->why;
}

/* The prefork MPM tells a process that is at work by a signal alone that there is a new generation; whichever thread gets it looks here. */
static void interrupted(void)
{
    int mine = 0;

    if (ap_mpm_query(AP_MPMQ_GENERATION, &mine) == APR_SUCCESS && mine != ap_scoreboard_image->global->running_generation) {
        mdm_slots_drain();
    }
}

mdm_woke_e mdm_slot_wait(mdm_slot_t *s)
{
    struct pollfd p = {s->wake, POLLIN, 0};

    while (poll(&p, 1, -1) < 1 && errno == EINTR) {
        interrupted();
    }
    mdm_slot_stop(s);
    return s->why;
}

/* ---------------------------------------------------------------- the watcher */

static void expire(void)
{
    apr_int64_t now = mdm_ticks();

    while (own.heap_n && own.heap[0]->due <= now) {
        mdm_slot_t *s = own.heap[0];

        if (s->state == KEEPING) {
            heap_remove(s);
            shutdown(s->client, SHUT_RD); /* the MPM sees the end of input */
        } else {
            wake(s, s->leaving ? MDM_WOKE_STOPPING : MDM_WOKE_DEADLINE);
        }
    }
}

static int until_next(void)
{
    apr_int64_t left = own.heap_n ? own.heap[0]->due - mdm_ticks() : -1;

    return !own.heap_n ? -1 : left <= 0 ? 0 : left > 3600000000LL ? 3600000 : (int)(left / 1000) + 1;
}

static void obey(const struct epoll_event *e)
{
    apr_uint32_t low = (apr_uint32_t)e->data.u64;
    mdm_slot_t *s = (int)(low >> 1) < own.n ? own.slots[low >> 1] : NULL;

    if (s && s->turn == (apr_uint32_t)(e->data.u64 >> 32)) {
        wake(s, low & 1 ? MDM_WOKE_READY : MDM_WOKE_GONE);
    }
}

#define POKED (~(apr_uint64_t)0)
#define NEWER (~(apr_uint64_t)1)

static void *APR_THREAD_FUNC watcher(apr_thread_t *t, void *data)
{
    struct epoll_event events[EVENTS];
    apr_uint64_t drop;
    int i, n, wait;

    lock();
    while (!own.done) {
        wait = until_next();
        unlock();
        n = epoll_wait(own.epoll, events, EVENTS, wait);
        if (n < 0 && errno == EINTR) {
            interrupted();
        }
        lock();
        for (i = 0; i < n; i++) {
            if (events[i].data.u64 == NEWER) {
                hear();
            } else if (events[i].data.u64 != POKED) {
                obey(&events[i]);
            } else if (read(own.poke, &drop, sizeof(drop)) < 0) {
                continue;
            }
        }
        expire();
    }
    unlock();
    return NULL;
}

void mdm_slots_drain(void)
{
    int i;

    if (!own.lock) {
        return;
    }
    lock();
    for (i = 0; i < own.n && !own.draining; i++) {
        mdm_slot_t *s = own.slots[i];

        if ((s->state == HOLDING && s->idle) || s->state == KEEPING) {
            heap_remove(s);
            s->leaving = s->state == HOLDING;
            s->due = s->leaving ? drain_due() : 0;
            heap_add(s);
        }
    }
    own.draining = 1;
    unlock();
    ring(own.poke);
}

void mdm_slots_stop(void)
{
    apr_status_t rv;

    if (own.thread) {
        lock();
        own.done = 1;
        unlock();
        ring(own.poke);
        apr_thread_join(&rv, own.thread);
        own.thread = NULL;
    }
}

apr_status_t mdm_slots_child(apr_pool_t *p)
{
    struct epoll_event poked = {.events = EPOLLIN, .data.u64 = POKED}, newer = {.events = EPOLLIN | EPOLLET, .data.u64 = NEWER};
    apr_thread_mutex_t *made;
    apr_status_t rv = apr_thread_mutex_create(&made, APR_THREAD_MUTEX_DEFAULT, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    own.epoll = epoll_create1(EPOLL_CLOEXEC);
    own.poke = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    own.pings = apr_pcalloc(p, sizeof(mdm_core.shm->pings));
    own.heard = __atomic_load_n(&mdm_core.shm->newer_pos, __ATOMIC_SEQ_CST);
    if (own.epoll < 0 || own.poke < 0 || epoll_ctl(own.epoll, EPOLL_CTL_ADD, own.poke, &poked) < 0 ||
        epoll_ctl(own.epoll, EPOLL_CTL_ADD, mdm_core.newer_fd, &newer) < 0) {
        return errno;
    }
    own.lock = made;
    return apr_thread_create(&own.thread, NULL, watcher, NULL, p);
}
