/* What goes out to a back end: a request rebuilt from its parsed parts (R44), and what of an answer a phone may see. Cookies are named
 * after their server, so that none gets another's (facts 2.9). */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <http_core.h>

#include "eas_back.h"
#include "mdm_web.h"

#define BACK_END_PATH "/Microsoft-Server-ActiveSync"
#define COOKIE "mdm" /* mdm1a2b3c4d-name: eight digits of the server's id */
#define COOKIE_LEN 12

/* Headers of a client that go on; what the request line's parts say, who it is and where the body ends is written anew. */
static const char *const ahead[] = {
    "Accept", "Accept-Encoding", "Accept-Language", "Client-Request-Id", "Content-Encoding", "Content-Type", "User-Agent",
};
/* Those that go on with requests of our own. */
static const char *const ahead_own[] = {"Accept-Language", "User-Agent"};

/* Headers of a back end that come back, besides those that begin with MS-. */
static const char *const back[] = {
    "Cache-Control", "Content-Encoding", "Content-Length", "Content-Type", "Pragma", "Request-Id", "Retry-After", "Vary",
    "X-MS-ASThrottle", "X-MS-Credential-Service-Url", "X-MS-Credentials-Expire", "X-MS-RP",
};

static int is_listed(const char *const *list, unsigned n, const char *name)
{
    unsigned i;

    for (i = 0; i < n && (((*list[i] ^ *name) & 0xdf) || strcasecmp(list[i], name)); i++) /* most differ in the first letter */
        ;
    return i < n;
}

#define LISTED(list, name) is_listed(list, sizeof(list) / sizeof(list[0]), name)

/* ---------------------------------------------------------------- cookies */

static const char *cookie_prefix(apr_pool_t *p, const mdm_eas_server_t *s)
{
    return apr_psprintf(p, COOKIE "%.8s-", s->id);
}

/* Those of the client's cookies that this server has set, by the names that it gave them; NULL: none. */
static const char *cookies_for(apr_pool_t *p, const mdm_eas_server_t *s, const char *header)
{
    const char *prefix = cookie_prefix(p, s), *out = NULL;
    char *one, *last, *text = apr_pstrdup(p, header ? header : "");

    for (one = apr_strtok(text, ";", &last); one; one = apr_strtok(NULL, ";", &last)) {
        one += strspn(one, " \t");
        if (!strncmp(one, prefix, COOKIE_LEN)) {
            out = out ? apr_pstrcat(p, out, "; ", one + COOKIE_LEN, NULL) : one + COOKIE_LEN;
        }
    }
    return out;
}

/* A Set-Cookie of this server: its name is made its own; a domain would be that of the server, which the client does not talk to. */
static const char *cookie_of(apr_pool_t *p, const mdm_eas_server_t *s, const char *header)
{
    const char *out = NULL;
    char *one, *last, *text = apr_pstrdup(p, header);

    for (one = apr_strtok(text, ";", &last); one; one = apr_strtok(NULL, ";", &last)) {
        one += strspn(one, " \t");
        if (!out) {
            out = apr_pstrcat(p, cookie_prefix(p, s), one, NULL);
        } else if (strncasecmp(one, "Domain=", 7)) {
            out = apr_pstrcat(p, out, "; ", one, NULL);
        }
    }
    return out;
}

/* ---------------------------------------------------------------- what comes back */

typedef struct {
    apr_table_t *kept;
    const mdm_eas_server_t *server;
    apr_pool_t *pool;
} keeping_t;

static int keep_back(void *into, const char *name, const char *value)
{
    keeping_t *k = into;

    if (!strcasecmp(name, "Set-Cookie")) {
        const char *cookie = cookie_of(k->pool, k->server, value);

        if (cookie) {
            apr_table_addn(k->kept, "Set-Cookie", cookie);
        }
    } else if (LISTED(back, name) || !strncasecmp(name, "MS-", 3)) {
        apr_table_addn(k->kept, name, value);
    }
    return 1;
}

apr_table_t *eas_out_kept(apr_pool_t *p, const mdm_eas_server_t *server, const apr_table_t *headers)
{
    keeping_t k = {apr_table_make(p, 12), server, p};

    apr_table_do(keep_back, &k, headers, NULL);
    return k.kept;
}

/* ---------------------------------------------------------------- what goes out */

/* Where a status in the first bytes of the body matters, those bytes must not be packed; the others carry what is large. */
static int may_be_packed(mdm_eas_cmd_e cmd)
{
    return cmd == MDM_EAS_SYNC || cmd == MDM_EAS_ITEM_OPERATIONS || cmd == MDM_EAS_GET_ATTACHMENT || cmd == MDM_EAS_SEARCH ||
           cmd == MDM_EAS_FIND;
}

#define PIECES 256

typedef struct {
    const char *piece[PIECES];
    int n, own, packed;
} writing_t;

static void add(writing_t *w, const char *text)
{
    if (w->n < PIECES) {
        w->piece[w->n++] = text;
    }
}

static void line(writing_t *w, const char *name, const char *value)
{
    if (value && w->n <= PIECES - 8) { /* what a client repeats without end is left out */
        add(w, name);
        add(w, ": ");
        add(w, value);
        add(w, "\r\n");
    }
}

/* One piece of memory for one moment: what waits for an hour must not keep it. */
static char *join(const writing_t *w, const char *end)
{
    apr_size_t len = strlen(end) + 1;
    char *text, *at;
    int i;

    for (i = 0; i < w->n; i++) {
        len += strlen(w->piece[i]);
    }
    at = text = malloc(len);
    for (i = 0; text && i < w->n; i++) {
        at = apr_cpystrn(at, w->piece[i], len - (apr_size_t)(at - text));
    }
    if (text) {
        apr_cpystrn(at, end, len - (apr_size_t)(at - text));
    }
    return text;
}

static int keep_ahead(void *into, const char *name, const char *value)
{
    writing_t *w = into;

    if (w->own ? LISTED(ahead_own, name) : LISTED(ahead, name) && (w->packed || strcasecmp(name, "Accept-Encoding"))) {
        line(w, name, value);
    }
    return 1;
}

/* The query in the client's form; in the plain one if the rewritten user name does not fit into the other. */
static apr_status_t rebuild(eas_call_t *c, const eas_out_t *o, const char *user, mdm_eas_line_t *out)
{
    mdm_eas_rebuild_t how = {MDM_EAS_FORM_SAME, user, o->has_key, o->key};
    apr_status_t rv = mdm_eas_query_build(c->ctx, o->query, &how, out);

    if (rv == MDM_EINPUT) {
        how.form = MDM_EAS_FORM_PLAIN;
        rv = mdm_eas_query_build(c->ctx, o->query, &how, out);
    }
    return rv;
}

static const char *authorization(eas_call_t *c, const char *user)
{
    char *both = apr_pstrcat(c->r->pool, user, ":", c->basic.password, NULL), *text;

    text = apr_pstrcat(c->r->pool, "Basic ", mdm_b64(c->r->pool, both, strlen(both)), NULL);
    mdm_wipe(both, strlen(both));
    return text;
}

static const char *host_of(apr_pool_t *p, const mdm_eas_server_t *s)
{
    const char *host = strchr(s->host, ':') ? apr_pstrcat(p, "[", s->host, "]", NULL) : s->host;

    return s->port == (s->tls ? 443 : 80) ? host : apr_psprintf(p, "%s:%d", host, s->port);
}

static void request_line(writing_t *w, const mdm_eas_query_t *q, const char *query)
{
    add(w, q->cmd == MDM_EAS_OPTIONS ? "OPTIONS " : "POST ");
    add(w, BACK_END_PATH);
    add(w, *query ? "?" : "");
    add(w, query);
    add(w, " HTTP/1.1\r\n");
}

apr_status_t eas_out_head(eas_call_t *c, const eas_out_t *o, const char *end, char **out)
{
    request_rec *r = c->r;
    writing_t w = {.own = o->own, .packed = may_be_packed(o->query->cmd)};
    const mdm_eas_login_t login = {c->basic.login, c->who.login, c->who.mail};
    const char *user;
    mdm_eas_line_t parts;
    apr_status_t rv = mdm_eas_server_user(c->ctx, o->server, &login, &user);

    if (rv == APR_SUCCESS) {
        rv = rebuild(c, o, user, &parts);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    request_line(&w, o->query, parts.query);
    line(&w, "Host", host_of(r->pool, o->server));
    line(&w, "Authorization", authorization(c, user));
    line(&w, "Cookie", cookies_for(r->pool, o->server, apr_table_get(r->headers_in, "Cookie")));
    line(&w, "MS-ASProtocolVersion", parts.version);
    line(&w, "X-MS-PolicyKey", parts.policy_key);
    line(&w, "MS-ASAcceptMultiPart", parts.multipart);
    line(&w, "X-Forwarded-For", r->useragent_ip);
    line(&w, "X-Forwarded-Host", apr_table_get(r->headers_in, "Host"));
    line(&w, "X-Forwarded-Server", r->server->server_hostname);
    apr_table_do(keep_ahead, &w, r->headers_in, NULL);
    *out = join(&w, end);
    return *out ? APR_SUCCESS : APR_ENOMEM;
}
