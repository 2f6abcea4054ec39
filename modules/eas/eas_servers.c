/* The ActiveSync servers as this child knows them: the list from the database, exchanged by the background thread, what each offers, which are
 * away, and which of them has whose mail (EAS-01). */
#include <string.h>

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <apr_thread_rwlock.h>

#include "domain/mdm_eas_home.h"
#include "domain/mdm_enroll_conf.h"
#include "eas.h"
#include "mdm_web.h"
#include "wire/mdm_breaker.h"

#define OFFERS 64
#define PEOPLE 4096               /* places for what was learned of people; a place that is taken is given to the newer */
#define AWAY_AFTER 3              /* failed connections */
#define AWAY_MS 60000             /* longest pause between probes */
#define RETRY_S 60
#define HOME_MS (6 * 60000)       /* longer than the log-in that was read before it was written is kept */
#define REFUSED_MS (10 * 60000)   /* a server is not asked again for somebody whom it refused */
/* The log-in was checked by us within 5 minutes: a password that was changed since is refused by the right server, too. So that one is left only if
 * it refuses for longer. */
#define DOUBT_MS (5 * 60000 + 30000)
#define OLDEST 121 /* the versions that the gate speaks: from here to the newest that it can parse */

static struct {
    apr_thread_rwlock_t *lock;
    apr_pool_t *pool;                 /* of the list in use */
    const apr_array_header_t *routes; /* of mdm_eas_route_t; NULL: not read yet */
    const char *public_host, *link_base;
    eas_offer_t offers[OFFERS];       /* server[0] = 0: free */
} own;

/* What was learned of one person and one server: refused since and at last; server all zero: the person's own place, which says where the mail is. */
typedef struct learned_t {
    unsigned char person[16], server[16], home[16];
    apr_int64_t first_ms, last_ms;
    unsigned times; /* refused */
} learned_t;

static struct {
    apr_thread_mutex_t *lock;
    mdm_breakers_t *breakers;
    learned_t people[PEOPLE];
} seen;

/* Which servers one request has asked. */
typedef struct eas_walk_t {
    mdm_eas_server_t *servers;
    int n, at;
    apr_int64_t stamp;       /* of all */
    int settled;             /* the first one is where the mail is known to be */
    int away;                /* one that might have the mail could not be asked, or is in doubt */
    mdm_breaker_t *asking;   /* of the server in hand; NULL: told already */
    const mdm_eas_server_t *now; /* NULL: the next one is to be found */
} eas_walk_t;

apr_status_t eas_servers_child(apr_pool_t *p)
{
    apr_status_t rv = apr_thread_rwlock_create(&own.lock, p);

    if (rv == APR_SUCCESS) {
        rv = apr_thread_mutex_create(&seen.lock, APR_THREAD_MUTEX_DEFAULT, p);
    }
    if (rv == APR_SUCCESS) {
        seen.breakers = mdm_breakers_make(p, AWAY_AFTER, AWAY_MS);
    }
    return rv;
}

static apr_status_t load(mdm_ctx_t *ctx, apr_array_header_t **out, const char **host, const char **base)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_eas_routes(db, out);
        rv = rv == APR_SUCCESS ? mdm_eas_public_host(db, host) : rv;
        rv = rv == APR_SUCCESS ? mdm_enroll_base(db, "", base) : rv;
        mdm_db_close(db);
    }
    return rv;
}

apr_status_t eas_servers_read(mdm_ctx_t *ctx)
{
    apr_array_header_t *routes = NULL;
    const char *host = "", *base = "";
    apr_pool_t *p, *old = own.pool;
    apr_status_t rv = apr_pool_create(&p, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = load(mdm_web_services()->server_ctx(p), &routes, &host, &base);
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(p);
        return rv;
    }
    apr_thread_rwlock_wrlock(own.lock);
    own.routes = routes;
    own.public_host = host;
    own.link_base = base;
    own.pool = p;
    memset(own.offers, 0, sizeof(own.offers));
    apr_thread_rwlock_unlock(own.lock);
    if (old) {
        apr_pool_destroy(old);
    }
    apr_thread_mutex_lock(seen.lock);
    memset(seen.people, 0, sizeof(seen.people)); /* other servers, or another order: everybody is asked for anew */
    apr_thread_mutex_unlock(seen.lock);
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

/* ---------------------------------------------------------------- what was learned of people; all under seen.lock */

static void bytes_of(const char *uuid, unsigned char out[16])
{
    if (!uuid || mdm_uuid_bytes(uuid, out) != APR_SUCCESS) {
        memset(out, 0, 16);
    }
}

/* The place of (person, server); fresh if somebody else had it. make = 0: NULL instead. */
static learned_t *learned(const char *person_id, const char *server_id, int make)
{
    learned_t want, *l;
    apr_uint32_t at;

    memset(&want, 0, sizeof(want));
    bytes_of(person_id, want.person);
    bytes_of(server_id, want.server);
    memcpy(&at, want.person, sizeof(at)); /* random by themselves */
    if (server_id) {
        at ^= (apr_uint32_t)want.server[0] << 8 | want.server[1];
    }
    l = &seen.people[at % PEOPLE];
    if (!memcmp(l->person, want.person, sizeof(want.person)) && !memcmp(l->server, want.server, sizeof(want.server))) {
        return l;
    }
    if (!make) {
        return NULL;
    }
    *l = want;
    return l;
}

/* Where the mail is: what this child has found lately, else what was read with the log-in. */
static void home_of(const eas_call_t *c, unsigned char out[16])
{
    const learned_t *l = learned(c->who.person_id, NULL, 0);

    if (l && l->last_ms > mdm_now_ms(c->ctx) - HOME_MS) {
        memcpy(out, l->home, 16);
    } else {
        bytes_of(c->who.server_id, out);
    }
}

/* True if the server need not be asked. doubt: it has the mail, so it must have refused for long; else more than once (an account may be new there). */
static int refuses(const eas_call_t *c, const mdm_eas_server_t *s, int doubt)
{
    const learned_t *l = learned(c->who.person_id, s->id, 0);

    return l && l->last_ms > mdm_now_ms(c->ctx) - REFUSED_MS && (doubt ? l->last_ms - l->first_ms > DOUBT_MS : l->times > 1);
}

static void note_refusal(const eas_call_t *c, const mdm_eas_server_t *s)
{
    learned_t *l = learned(c->who.person_id, s->id, 1);
    apr_int64_t now = mdm_now_ms(c->ctx);

    if (l->last_ms < now - REFUSED_MS) {
        l->first_ms = now;
        l->times = 0;
    }
    l->last_ms = now;
    l->times++;
}

/* True if it is news. */
static int note_home(const eas_call_t *c, const mdm_eas_server_t *s)
{
    learned_t *l = learned(c->who.person_id, s->id, 0);
    unsigned char was[16], is[16];

    if (l) {
        memset(l, 0, sizeof(*l));
    }
    home_of(c, was);
    bytes_of(s->id, is);
    if (!memcmp(was, is, sizeof(is)) && !c->who.refused) {
        return 0;
    }
    l = learned(c->who.person_id, NULL, 1);
    if (c->who.refused && !memcmp(l->home, is, sizeof(is)) && l->last_ms > mdm_now_ms(c->ctx) - HOME_MS) {
        return 0; /* told already; the log-in in hand is older */
    }
    memcpy(l->home, is, sizeof(is));
    l->last_ms = mdm_now_ms(c->ctx);
    return 1;
}

/* ---------------------------------------------------------------- one request's way along the servers */

static int serves(const mdm_eas_route_t *route, const eas_call_t *c)
{
    return route->server.enabled && strcmp(route->source_id, c->who.source_id) == 0;
}

/* The source's enabled servers in order. */
static apr_status_t collect(const eas_call_t *c, eas_walk_t *w)
{
    apr_status_t rv = APR_EAGAIN;
    int i, n = 0;

    apr_thread_rwlock_rdlock(own.lock);
    if (own.routes) {
        const mdm_eas_route_t *routes = (const mdm_eas_route_t *)own.routes->elts;

        rv = APR_SUCCESS;
        for (i = 0; i < own.routes->nelts; i++) {
            n += serves(&routes[i], c);
        }
        w->servers = apr_palloc(c->r->pool, (apr_size_t)(n + 1) * sizeof(*w->servers));
        for (i = 0; i < own.routes->nelts; i++) {
            if (serves(&routes[i], c)) {
                copy(c->r->pool, &routes[i].server, &w->servers[w->n++]);
                w->stamp += routes[i].stamp;
            }
        }
    }
    apr_thread_rwlock_unlock(own.lock);
    return rv;
}

/* The one that has the mail comes to the front. */
static void home_first(const eas_call_t *c, eas_walk_t *w)
{
    unsigned char home[16], id[16];
    mdm_eas_server_t s;
    int i;

    home_of(c, home);
    for (i = 0; i < w->n; i++) {
        bytes_of(w->servers[i].id, id);
        if (!memcmp(id, home, sizeof(id))) {
            s = w->servers[i];
            memmove(w->servers + 1, w->servers, (size_t)i * sizeof(s));
            w->servers[0] = s;
            w->settled = 1;
            return;
        }
    }
}

/* A request that ends without a word has not shown anything. */
static apr_status_t let_go(void *data)
{
    eas_walk_t *w = data;

    apr_thread_mutex_lock(seen.lock);
    if (w->asking) {
        mdm_breaker_cancel(w->asking);
        w->asking = NULL;
    }
    apr_thread_mutex_unlock(seen.lock);
    return APR_SUCCESS;
}

static const char *target(apr_pool_t *p, const mdm_eas_server_t *s)
{
    return apr_psprintf(p, "mail server %s (%s://%s:%d)", s->name, s->tls ? "https" : "http", s->host, s->port);
}

static mdm_breaker_t *breaker_of(const eas_call_t *c, const mdm_eas_server_t *s)
{
    return mdm_breaker_for(seen.breakers, target(c->r->pool, s));
}

/* The next one that may be asked; under seen.lock. */
static const mdm_eas_server_t *step(eas_call_t *c, eas_walk_t *w)
{
    for (; w->at < w->n; w->at++) {
        const mdm_eas_server_t *s = &w->servers[w->at];
        mdm_breaker_t *b;

        if (refuses(c, s, w->settled && w->at == 0)) {
            continue;
        }
        b = breaker_of(c, s);
        if (!mdm_breaker_try(c->ctx, b)) {
            w->away = 1;
            continue;
        }
        w->at++;
        w->asking = b;
        return s;
    }
    return NULL;
}

/* No one is left. */
static apr_status_t none(eas_call_t *c, const eas_walk_t *w)
{
    apr_status_t rv;

    if (!w->n) {
        return mdm_fail(c->ctx, APR_NOTFOUND, NULL, "no enabled mail server serves this user source");
    }
    if (w->away) {
        c->ctx->retry_after = RETRY_S;
        return mdm_fail(c->ctx, MDM_EUNAVAIL, NULL, "the mail server is away, or refuses a log-in that was right a moment ago");
    }
    if (!c->who.refused && !c->svc->db_away()) {
        rv = mdm_eas_home_refused(c->ctx, c->who.person_id, w->stamp);
        mdm_log(c->ctx, rv == APR_SUCCESS ? MDM_LOG_INFO : MDM_LOG_ERR, "MDM0890", rv,
                "none of the %d linked mail servers accepts %s", w->n, mdm_mask(c->r->pool, c->who.login));
    }
    return mdm_fail(c->ctx, MDM_EDENIED, NULL, "no linked mail server accepts this person");
}

apr_status_t eas_server_next(eas_call_t *c, mdm_eas_server_t *out)
{
    eas_walk_t *w = c->walk;
    apr_status_t rv;

    if (!w) {
        w = apr_pcalloc(c->r->pool, sizeof(*w));
        if ((rv = collect(c, w)) != APR_SUCCESS) {
            return rv;
        }
        c->walk = w;
        apr_pool_cleanup_register(c->r->pool, w, let_go, apr_pool_cleanup_null);
    }
    if (!w->now) {
        apr_thread_mutex_lock(seen.lock);
        if (!w->at) {
            home_first(c, w);
        }
        w->now = step(c, w);
        apr_thread_mutex_unlock(seen.lock);
    }
    if (!w->now) {
        return none(c, w);
    }
    *out = *w->now;
    return APR_SUCCESS;
}

/* The one that has the mail has refused: not before it lasts is it left. Any other one may have the mail until it has refused again. */
static void doubt(eas_call_t *c, eas_walk_t *w)
{
    int settled = w->settled && w->now == w->servers;

    if (!refuses(c, w->now, settled)) {
        w->away = 1;
        w->at = settled ? w->n : w->at;
    }
}

void eas_server_told(eas_call_t *c, eas_told_e told)
{
    eas_walk_t *w = c->walk;
    const mdm_eas_server_t *s = w ? w->now : NULL;
    apr_status_t rv;
    int news = 0;

    if (!s) {
        return;
    }
    apr_thread_mutex_lock(seen.lock);
    if (w->asking) {
        mdm_breaker_note(c->ctx, w->asking, told == EAS_TOLD_AWAY ? MDM_BR_AWAY : MDM_BR_ANSWERED);
        w->asking = NULL;
    }
    if (told == EAS_TOLD_AWAY) {
        w->away = 1;
        w->now = NULL;
    } else if (told == EAS_TOLD_REFUSED) {
        note_refusal(c, s);
        doubt(c, w);
        w->now = NULL;
    } else if (told == EAS_TOLD_ACCEPTED) {
        news = note_home(c, s);
    }
    apr_thread_mutex_unlock(seen.lock);
    if (news && !c->svc->db_away()) {
        rv = mdm_eas_home_found(c->ctx, c->who.person_id, s->id);
        if (rv != APR_SUCCESS) { /* it is found again */
            mdm_log(c->ctx, MDM_LOG_INFO, "MDM0891", rv, "where the mail of %s is can't be written down", mdm_mask(c->r->pool, c->who.login));
        }
    }
}

mdm_eas_verdict_e eas_servers_verdict(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    int i, linked = 0;

    if (verdict != MDM_EAS_ALLOW || c->who.refused) {
        return verdict == MDM_EAS_ALLOW ? MDM_EAS_SERVER_ONLY : verdict;
    }
    apr_thread_rwlock_rdlock(own.lock);
    for (i = 0; own.routes && !linked && i < own.routes->nelts; i++) {
        linked = strcmp(APR_ARRAY_IDX(own.routes, i, mdm_eas_route_t).source_id, c->who.source_id) == 0;
    }
    linked |= !own.routes; /* not read yet: the relay waits for it */
    apr_thread_rwlock_unlock(own.lock);
    return linked ? verdict : MDM_EAS_SERVER_ONLY;
}

apr_status_t eas_server_at(apr_pool_t *p, const char *host, mdm_eas_server_t *out)
{
    apr_status_t rv = APR_NOTFOUND;
    int i;

    apr_thread_rwlock_rdlock(own.lock);
    for (i = 0; own.routes && rv != APR_SUCCESS && i < own.routes->nelts; i++) {
        const mdm_eas_route_t *route = &APR_ARRAY_IDX(own.routes, i, mdm_eas_route_t);

        if (!strcasecmp(route->server.host, host)) {
            copy(p, &route->server, out);
            rv = APR_SUCCESS;
        }
    }
    apr_thread_rwlock_unlock(own.lock);
    return rv;
}

const char *eas_public_host(apr_pool_t *p)
{
    const char *host;

    apr_thread_rwlock_rdlock(own.lock);
    host = own.public_host ? apr_pstrdup(p, own.public_host) : "";
    apr_thread_rwlock_unlock(own.lock);
    return host;
}

const char *eas_link_base(const eas_call_t *c)
{
    const char *base;

    apr_thread_rwlock_rdlock(own.lock);
    base = own.link_base && *own.link_base ? apr_pstrdup(c->r->pool, own.link_base) : c->svc->public_url(c->r->server);
    apr_thread_rwlock_unlock(own.lock);
    return base;
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

void eas_offer_own(eas_offer_t *out)
{
    static const char all[] = "Sync,SendMail,SmartForward,SmartReply,GetAttachment,FolderSync,FolderCreate,FolderDelete,FolderUpdate,MoveItems,"
                              "GetItemEstimate,MeetingResponse,Search,Settings,Ping,ItemOperations,Provision,ResolveRecipients,ValidateCert";

    eas_offer_make(out, "", "12.1,14.0,14.1,16.0,16.1", all);
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
