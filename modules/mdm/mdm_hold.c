/* Owns requests that wait without a thread (PXY-02). The connection is handed back to the MPM as one that waits for input (event MPM since
 * 2.4.63: CONN_STATE_ASYNC_WAITIO); while it waits, its socket object carries an eventfd instead of the client's descriptor, so that the MPM
 * runs the connection again exactly when we say so. One watcher thread of the child looks at clients, at the descriptors that are waited for, and at
 * clocks. Where the MPM can't do that, the worker thread waits on the same eventfd.
 *
 * All that the watcher and other threads touch is in slots, under one lock; requests and connections are touched by their worker only. */
#include <sys/eventfd.h>
#include <unistd.h>
#include "mdm_hold.h"
#include <ap_mpm.h>
#include <http_connection.h>
#include <http_request.h>
#include <mpm_common.h>
#include <util_filter.h>
#include "mdm_web.h"

#define PORTS_MAX 64

/* ---------------------------------------------------------------- configuration */

static struct {
    apr_port_t ports[PORTS_MAX]; /* where connections are ours; 0: all */
    int n;
    const char *cannot;          /* why threads wait instead of the MPM; NULL: it waits */
} conf = {.cannot = "not asked yet"};

apr_status_t mdm_hold_at(server_rec *s)
{
    const server_addr_rec *a;

    for (a = s->addrs; a && conf.n < PORTS_MAX; a = a->next) {
        conf.ports[conf.n++] = a->host_port;
    }
    if (!s->addrs && conf.n < PORTS_MAX) {
        conf.ports[conf.n++] = 0;
    }
    return conf.n < PORTS_MAX ? APR_SUCCESS : APR_ENOSPC;
}

static int is_ours(const conn_rec *c)
{
    int i;

    if (conf.cannot || c->master || !c->cs || c->clogging_input_filters) {
        return 0;
    }
    for (i = 0; i < conf.n && conf.ports[i] && conf.ports[i] != c->local_addr->port; i++) {
    }
    return i < conf.n;
}

/* ---------------------------------------------------------------- one connection */

/* Of a connection that was held once, until it ends. Only its worker touches it, and the pool's clean-up. */
typedef struct {
    conn_rec *c;
    request_rec *r;      /* held */
    mdm_hold_t h;
    mdm_slot_t *slot;
    int client;          /* the descriptor that belongs into the socket while it carries the other */
    int swapped;
    apr_interval_time_t keep; /* KeepAliveTimeout where the last request went */
    enum { AT_WORK, TO_HOLD, HELD, TO_KEEP, KEPT } state;
} held_t;

static held_t *held_of(conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &mdm_module);
}

static int fd_of(conn_rec *c)
{
    apr_os_sock_t fd = -1;

    apr_os_sock_get(&fd, ap_get_conn_socket(c->master ? c->master : c));
    return fd;
}

static void swap(held_t *x, int fd)
{
    apr_socket_t *sock = ap_get_conn_socket(x->c);
    apr_os_sock_t os = fd;

    apr_os_sock_put(&sock, &os, x->c->pool);
    x->swapped = fd != x->client;
}

static apr_status_t conn_ends(void *data)
{
    held_t *x = data;

    mdm_slot_stop(x->slot);
    if (x->swapped) {
        swap(x, x->client);
    }
    mdm_slot_free(x->slot);
    ap_set_module_config(x->c->conn_config, &mdm_module, NULL);
    return APR_SUCCESS;
}

static held_t *make(conn_rec *c)
{
    held_t *x = apr_pcalloc(c->pool, sizeof(*x));

    x->c = c;
    x->client = fd_of(c);
    x->slot = mdm_slot_get();
    if (!x->slot) {
        return NULL;
    }
    /* before the request goes, whose descriptors the slot knows */
    apr_pool_pre_cleanup_register(c->pool, x, conn_ends);
    ap_set_module_config(c->conn_config, &mdm_module, x);
    return x;
}

/* ---------------------------------------------------------------- holding */

/* Calls back. What has happened up to here is what the request is judged by. */
static int call(request_rec *r, const mdm_hold_t *h, mdm_woke_e why)
{
    if (why == MDM_WOKE_CHANGED || why == MDM_WOKE_FILTERS) {
        mdm_core_rconf(r)->born = mdm_slots_now();
    }
    if (why == MDM_WOKE_STOPPING) {
        r->connection->keepalive = AP_CONN_CLOSE;
    }
    return h->woken(r, h->baton, why);
}

#define COLLECTING "SSL/TLS Coalescing Filter"

/* mod_ssl collects the small pieces of answers in 8 KB that a connection has from its first answer to its end: one that waits for long goes
 * without. What the filter holds is sent before; so is the answer to a request before this one, which the client waits for. */
static void send_and_uncollect(request_rec *r)
{
    conn_rec *c = r->connection;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
    ap_filter_t *f;

    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    ap_pass_brigade(c->output_filters, bb);
    apr_brigade_destroy(bb);
    for (f = r->output_filters; f->next && strcasecmp(f->next->frec->name, COLLECTING); f = f->next) {
    }
    if (f->next) {
        ap_filter_t *it = f->next;

        f->next = it->next;
        r->proto_output_filters = r->proto_output_filters == it ? it->next : r->proto_output_filters;
        c->output_filters = c->output_filters == it ? it->next : c->output_filters;
    }
}

/* In the worker's own thread, where nobody else can. */
static int wait_here(request_rec *r, const mdm_hold_t *h)
{
    mdm_slot_t *slot = mdm_slot_get();
    mdm_woke_e why = MDM_WOKE_DEADLINE;

    if (slot) {
        mdm_slot_start(slot, h, fd_of(r->connection), mdm_core_rconf(r)->born);
        why = mdm_slot_wait(slot);
        mdm_slot_free(slot);
    }
    return call(r, h, why);
}

int mdm_hold(request_rec *r, const mdm_hold_t *h)
{
    conn_rec *c = r->connection;
    held_t *x = held_of(c);

    if (!mdm_slots_room()) {
        if (!h->idle) {
            return wait_here(r, h);
        }
        MDM_COUNT(woken[MDM_WOKE_FULL]);
        return h->woken(r, h->baton, MDM_WOKE_FULL);
    }
    if (!is_ours(c) || r->main || r->prev || (!x && !(x = make(c)))) {
        if (conf.cannot && !__atomic_exchange_n(&mdm_core.shm->hold_told, 1, __ATOMIC_RELAXED)) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, mdm_core.main, "MDM0270: each waiting request of a mail client takes a thread: %s",
                         conf.cannot);
        }
        return wait_here(r, h);
    }
    send_and_uncollect(r);
    x->r = r;
    x->h = *h;
    x->keep = r->server->keep_alive_timeout;
    x->state = TO_HOLD;
    return SUSPENDED;
}

/* What httpd does with a handler's result. */
static void finish(request_rec *r, int rc)
{
    if (rc == DONE) {
        rc = OK;
    }
    if (rc == OK) {
        ap_finalize_request_protocol(r);
    } else {
        r->status = HTTP_OK;
        ap_die(rc, r);
    }
    ap_process_request_after_handler(r);
}

/* True if everything was sent. The MPM asks the last filter in the same way. */
static int is_sent(conn_rec *c)
{
    ap_filter_t *f = c->output_filters;

    while (f->next) {
        f = f->next;
    }
    return f->frec->filter_func.out_func(f, NULL) == APR_SUCCESS && !c->data_in_output_filters && !c->aborted;
}

/* After a request: another one waits already, or the connection is kept for one. MPMs close kept connections when all threads are busy, which
 * after a wake-up of thousands would be all of them; so they wait like held ones. */
static void keep(conn_rec *c)
{
    held_t *x = held_of(c);

    if (c->cs->state != CONN_STATE_WRITE_COMPLETION || c->keepalive != AP_CONN_KEEPALIVE || c->aborted || !x || !is_sent(c) ||
        c->data_in_input_filters) {
        return; /* the MPM closes it, sends the rest, or reads on */
    }
    x->state = TO_KEEP;
    c->cs->state = CONN_STATE_ASYNC_WAITIO;
    c->cs->sense = CONN_SENSE_WANT_READ;
}

static void after(conn_rec *c)
{
    held_t *x = held_of(c);

    if (c->cs->state == CONN_STATE_SUSPENDED && x && x->state == TO_HOLD) {
        c->cs->state = CONN_STATE_ASYNC_WAITIO;
        c->cs->sense = CONN_SENSE_WANT_READ;
        return;
    }
    keep(c);
    if (c->cs->state != CONN_STATE_WRITE_COMPLETION && c->cs->state != CONN_STATE_SUSPENDED &&
        c->cs->state != CONN_STATE_ASYNC_WAITIO && c->cs->state != CONN_STATE_LINGER) {
        c->cs->state = CONN_STATE_LINGER; /* something went wrong */
    }
}

/* A held request goes on. First of all hooks: the others prepare a new request. */
static int go_on(conn_rec *c)
{
    held_t *x = is_ours(c) ? held_of(c) : NULL;
    request_rec *r = x ? x->r : NULL;
    mdm_hold_t h;
    int rc;

    if (!r || x->state != AT_WORK) {
        return DECLINED;
    }
    h = x->h;
    x->r = NULL;
    c->cs->state = CONN_STATE_HANDLER;
    ap_update_child_status(c->sbh, SERVER_BUSY_WRITE, r);
    apr_socket_timeout_set(ap_get_conn_socket(c), MDM_HOLD_IO);
    rc = call(r, &h, mdm_slot_why(x->slot));
    if (rc == SUSPENDED) {
        c->cs->state = CONN_STATE_SUSPENDED;
    } else {
        finish(r, rc);
    }
    after(c);
    return OK;
}

/* A new request, as httpd's own hook does it, which would close a connection in a state that it doesn't know. */
static int read_one(conn_rec *c)
{
    request_rec *r;

    if (!is_ours(c)) {
        return DECLINED;
    }
    ap_update_child_status_from_conn(c->sbh, SERVER_BUSY_READ, c);
    if (c->base_server->timeout > MDM_HOLD_IO) { /* it is as long as a Ping for the MPM's sake */
        apr_socket_timeout_set(ap_get_conn_socket(c), MDM_HOLD_IO);
    }
    r = ap_read_request(c);
    if (!r) {
        c->cs->state = CONN_STATE_LINGER;
        return OK;
    }
    if (r->status == HTTP_OK) {
        c->cs->state = CONN_STATE_HANDLER;
        ap_update_child_status(c->sbh, SERVER_BUSY_WRITE, r);
        ap_process_async_request(r); /* after it the request may be gone */
    }
    after(c);
    return OK;
}

/* ---------------------------------------------------------------- the MPM's side */

/* The last moment before the MPM polls. Also called for other reasons to wait. */
static void suspended(conn_rec *c, request_rec *unused)
{
    held_t *x = !conf.cannot && !c->master && c->cs && c->cs->state == CONN_STATE_ASYNC_WAITIO ? held_of(c) : NULL;

    if (x && x->state == TO_HOLD) {
        x->state = HELD;
        mdm_web_trim(c->pool);
        swap(x, mdm_slot_fd(x->slot));
        mdm_slot_start(x->slot, &x->h, x->client, mdm_core_rconf(x->r)->born);
    } else if (x && x->state == TO_KEEP) {
        x->state = KEPT;
        mdm_slot_keep(x->slot, x->client, x->keep);
    }
}

static void resumed(conn_rec *c, request_rec *unused)
{
    held_t *x = !conf.cannot && !c->master ? held_of(c) : NULL;

    if (x && (x->state == HELD || x->state == KEPT)) {
        mdm_slot_stop(x->slot);
        if (x->swapped) {
            swap(x, x->client);
        }
        x->state = AT_WORK;
    }
}

static void stopping(apr_pool_t *p, int graceful)
{
    mdm_slots_drain();
}

/* True if a pollset sees this socket as readable now. */
static int is_readable(apr_socket_t *sock, apr_pollset_t *set, apr_pool_t *p)
{
    const apr_pollfd_t what = {p, APR_POLL_SOCKET, APR_POLLIN, 0, {.s = sock}, NULL}, *seen;
    apr_int32_t n = 0;

    if (apr_pollset_add(set, &what) != APR_SUCCESS) {
        return -1;
    }
    apr_pollset_poll(set, 0, &n, &seen);
    return apr_pollset_remove(set, &what) == APR_SUCCESS ? n : -1;
}

/* What swap() rests on: a pollset looks at the descriptor that a socket has at the moment, here one that is readable in place of one that is not. */
static int swap_works(apr_pool_t *p)
{
    apr_os_sock_t quiet = eventfd(0, EFD_CLOEXEC), rung = eventfd(1, EFD_CLOEXEC), now = -1;
    apr_socket_t *sock = NULL;
    apr_pollset_t *set = NULL;
    apr_pool_t *own;
    int works;

    apr_pool_create(&own, p);
    works = apr_pollset_create(&set, 1, own, 0) == APR_SUCCESS && apr_os_sock_put(&sock, &quiet, own) == APR_SUCCESS &&
            is_readable(sock, set, own) == 0 && apr_os_sock_put(&sock, &rung, own) == APR_SUCCESS && is_readable(sock, set, own) == 1 &&
            apr_os_sock_put(&sock, &quiet, own) == APR_SUCCESS && is_readable(sock, set, own) == 0 &&
            apr_os_sock_get(&now, sock) == APR_SUCCESS && now == quiet;
    apr_pool_destroy(own);
    close(quiet);
    close(rung);
    return works;
}

apr_status_t mdm_hold_child(apr_pool_t *p)
{
    int yes = 0;

    conf.cannot = ap_mpm_query(AP_MPMQ_CAN_WAITIO, &yes) != APR_SUCCESS || !yes
                      ? "the event MPM of httpd 2.4.63 or later holds them without"
                  : swap_works(p) ? NULL : "this APR does not poll the descriptor that was put into a socket";
    return mdm_slots_child(p);
}

void mdm_hold_register(void)
{
    ap_hook_process_connection(go_on, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_process_connection(read_one, NULL, NULL, APR_HOOK_LAST); /* httpd's own is the very last */
    ap_hook_suspend_connection(suspended, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_resume_connection(resumed, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_child_stopping(stopping, NULL, NULL, APR_HOOK_MIDDLE);
}
