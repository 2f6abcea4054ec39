/* Owns held requests (PXY-02). */
#include <poll.h>
#include "mdm_private.h"
#include <http_connection.h>

/* The client's end: data of a next request does not count, its leaving does. */
static mdm_woke_e watch(conn_rec *c, const mdm_hold_t *h)
{
    struct pollfd p[2] = {{h->fd, POLLIN, 0}, {-1, POLLRDHUP, 0}};
    apr_int64_t until = mdm_ms() + apr_time_as_msec(h->wait), left;
    apr_os_sock_t fd;

    if (apr_os_sock_get(&fd, ap_get_conn_socket(c->master ? c->master : c)) == APR_SUCCESS) {
        p[1].fd = fd;
    }
    while ((left = until - mdm_ms()) > 0) {
        if (poll(p, 2, left > 500 ? 500 : (int)left) > 0) {
            return p[0].revents ? MDM_WOKE_READY : MDM_WOKE_GONE;
        }
        if (mdm_core.stop) {
            return MDM_WOKE_STOPPING;
        }
    }
    return MDM_WOKE_DEADLINE;
}

int mdm_hold(request_rec *r, const mdm_hold_t *h)
{
    return h->woken(r, h->baton, watch(r->connection, h));
}
