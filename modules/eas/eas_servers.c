/* The ActiveSync servers as this child knows them: the list from the database, exchanged by the background thread, and what each offers. */
#include <string.h>

#include <apr_strings.h>
#include <apr_thread_rwlock.h>

#include "eas.h"
#include "mdm_web.h"

#define OFFERS 64
#define OLDEST 121 /* the versions that the gate speaks: from here to the newest that it can parse */

static struct {
    apr_thread_rwlock_t *lock;
    apr_pool_t *pool;                 /* of the list in use */
    const apr_array_header_t *routes; /* of mdm_eas_route_t; NULL: not read yet */
    eas_offer_t offers[OFFERS];       /* server[0] = 0: free */
} own;

apr_status_t eas_servers_child(apr_pool_t *p)
{
    return apr_thread_rwlock_create(&own.lock, p);
}

static apr_status_t load(mdm_ctx_t *ctx, apr_array_header_t **out)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_eas_routes(db, out);
        mdm_db_close(db);
    }
    return rv;
}

apr_status_t eas_servers_read(mdm_ctx_t *ctx)
{
    apr_array_header_t *routes = NULL;
    apr_pool_t *p, *old = own.pool;
    apr_status_t rv = apr_pool_create(&p, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = load(mdm_web_services()->server_ctx(p), &routes);
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(p);
        return rv;
    }
    apr_thread_rwlock_wrlock(own.lock);
    own.routes = routes;
    own.pool = p;
    memset(own.offers, 0, sizeof(own.offers));
    apr_thread_rwlock_unlock(own.lock);
    if (old) {
        apr_pool_destroy(old);
    }
    return APR_SUCCESS;
}

static void copy(apr_pool_t *p, const mdm_eas_server_t *from, mdm_eas_server_t *out)
{
    *out = *from;
    out->id = apr_pstrdup(p, from->id);
    out->name = apr_pstrdup(p, from->name);
    out->host = apr_pstrdup(p, from->host);
    out->domain = apr_pstrdup(p, from->domain);
    out->user_form = apr_pstrdup(p, from->user_form);
    out->pin = apr_pstrdup(p, from->pin);
}

apr_status_t eas_server_of(apr_pool_t *p, const char *source_id, mdm_eas_server_t *out)
{
    apr_status_t rv = APR_EAGAIN;
    int i;

    apr_thread_rwlock_rdlock(own.lock);
    if (own.routes) {
        rv = APR_NOTFOUND;
        for (i = 0; rv == APR_NOTFOUND && i < own.routes->nelts; i++) {
            const mdm_eas_route_t *route = &APR_ARRAY_IDX(own.routes, i, mdm_eas_route_t);

            if (strcmp(route->source_id, source_id) == 0) {
                copy(p, &route->server, out);
                rv = APR_SUCCESS;
            }
        }
    }
    apr_thread_rwlock_unlock(own.lock);
    return rv;
}

/* ---------------------------------------------------------------- what they offer */

static int version_known(const char *text)
{
    return mdm_eas_version_number(text) >= OLDEST;
}

static int command_known(const char *text)
{
    return mdm_eas_cmd_by_name(text) != MDM_EAS_CMD_COUNT;
}

/* Those items of a comma-separated list that are known, each once. */
static void cut(char *out, apr_size_t room, const char *list, int (*known)(const char *))
{
    char item[40], *o = out;

    *o = '\0';
    while (list && *list) {
        apr_size_t len = strcspn(list, ", ");

        if (len && len < sizeof(item)) {
            apr_cpystrn(item, list, len + 1);
            if (known(item) && (apr_size_t)(o - out) + len + 2 <= room) {
                o += apr_snprintf(o, room - (apr_size_t)(o - out), "%s%s", o > out ? "," : "", item);
            }
        }
        list += len;
        list += strspn(list, ", ");
    }
}

int eas_offer_make(eas_offer_t *out, const char *server_id, const char *versions, const char *commands)
{
    memset(out, 0, sizeof(*out));
    apr_cpystrn(out->server, server_id, sizeof(out->server));
    cut(out->versions, sizeof(out->versions), versions, version_known);
    cut(out->commands, sizeof(out->commands), commands, command_known);
    out->since = apr_time_now();
    return *out->versions != '\0';
}

/* The server's own place, else a free one, else the oldest. */
static eas_offer_t *place_of(const char *server_id)
{
    eas_offer_t *best = &own.offers[0];
    int i;

    for (i = 0; i < OFFERS; i++) {
        eas_offer_t *o = &own.offers[i];

        if (strcmp(o->server, server_id) == 0) {
            return o;
        }
        if (o->since < best->since) {
            best = o;
        }
    }
    return best;
}

void eas_offer_put(const eas_offer_t *offer)
{
    apr_thread_rwlock_wrlock(own.lock);
    *place_of(offer->server) = *offer;
    apr_thread_rwlock_unlock(own.lock);
}

int eas_offer_get(const char *server_id, eas_offer_t *out)
{
    const eas_offer_t *o;
    int found;

    apr_thread_rwlock_rdlock(own.lock);
    o = place_of(server_id);
    found = strcmp(o->server, server_id) == 0;
    if (found) {
        *out = *o;
    }
    apr_thread_rwlock_unlock(own.lock);
    return found;
}
