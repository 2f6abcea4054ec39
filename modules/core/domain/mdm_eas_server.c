/* ActiveSync servers as they are kept: rows, order, and the user name that each wants. */
#include "domain/mdm_eas_server.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_eas_home.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define TEXT_MAX 200
#define SOURCES_MAX 200
#define SERVERS_MAX 50
#define STALE "Somebody has changed this server meanwhile: load it again."
#define STALE_ORDER "Somebody has changed this order or source meanwhile: load it again."

static const char *const forms[] = {"as_typed", "user", "domain_user", "mail", NULL};

#define SERVER(q) \
    (mdm_eas_server_t){(q)->id, (q)->name, (q)->host, (q)->domain, (q)->user_form, (q)->pin, (int)(q)->port, (int)(q)->tls, 1}

apr_status_t mdm_eas_routes(mdm_db_t *db, apr_array_header_t **out)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_eas_routes(db, &rows);
    int i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    *out = apr_array_make(mdm_db_ctx(db)->pool, rows->nelts, sizeof(mdm_eas_route_t));
    for (i = 0; i < rows->nelts; i++) {
        const mdm_q_eas_routes_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_eas_routes_t);

        APR_ARRAY_PUSH(*out, mdm_eas_route_t) = (mdm_eas_route_t){q->source_id, SERVER(q), q->version + 1000};
        APR_ARRAY_IDX(*out, i, mdm_eas_route_t).server.enabled = q->enabled != 0;
    }
    return rv;
}

apr_status_t mdm_eas_public_host(mdm_db_t *db, const char **out)
{
    json_t *value = NULL;
    apr_status_t rv = mdm_setting_get(db, "eas.public_host", &value);

    *out = rv == APR_SUCCESS && json_is_string(value) ? apr_pstrdup(mdm_db_ctx(db)->pool, json_string_value(value)) : "";
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

apr_status_t mdm_eas_server_user(mdm_ctx_t *ctx, const mdm_eas_server_t *server, const mdm_eas_login_t *who, const char **out)
{
    const char *login = who->login ? who->login : "";

    *out = who->typed ? who->typed : "";
    if (!strcmp(server->user_form, "user")) {
        *out = login;
    }
    else if (!strcmp(server->user_form, "domain_user")) {
        *out = *login ? apr_pstrcat(ctx->pool, server->domain, "\\", login, NULL) : "";
    }
    else if (!strcmp(server->user_form, "mail")) {
        *out = who->mail ? who->mail : "";
        if (!**out) {
            return mdm_fail(ctx, MDM_EINPUT, "mail", "This server wants e-mail addresses, and the user source has none for this person.");
        }
    }
    if (!**out || strchr(*out, ':')) {
        return mdm_fail(ctx, MDM_EINPUT, "user", "No user name for this server can be made of this log-in.");
    }
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- reading */

static apr_status_t sources_json(mdm_db_t *db, const char *id, json_t **out)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_eas_server_sources(db, id, &rows);
    int i;

    *out = json_array();
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_eas_server_sources_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_eas_server_sources_t);

        json_array_append_new(*out, json_pack("{s:s, s:s, s:I}", "id", q->id, "name", q->name, "position", (json_int_t)q->position));
    }
    return rv;
}

#define SERVER_JSON(p, q, sources)                                                                                             \
    json_pack("{s:s, s:s, s:s, s:I, s:b, s:s, s:s, s:o, s:b, s:o, s:s, s:I}", "id", (q)->id, "name", (q)->name, "host", (q)->host, \
              "port", (json_int_t)(q)->port, "tls", (q)->tls != 0, "domain", (q)->domain, "user_form", (q)->user_form, "pin",  \
              *(q)->pin ? json_string((q)->pin) : json_null(), "enabled", (q)->enabled != 0, "sources", sources, "created_at",  \
              mdm_time_text(p, (q)->created_ms), "version", (json_int_t)(q)->version)

apr_status_t mdm_eas_server_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_q_eas_server_get_t *q;
    json_t *sources;
    apr_status_t rv = mdm_q_eas_server_get(db, id, &q);

    if (rv == APR_SUCCESS && (rv = sources_json(db, id, &sources)) == APR_SUCCESS) {
        *out = SERVER_JSON(mdm_db_ctx(db)->pool, q, sources);
        *version = q->version;
    }
    return rv;
}

apr_status_t mdm_eas_server_list(mdm_db_t *db, const mdm_page_t *page, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    json_t *sources;
    apr_status_t rv = mdm_q_eas_server_list(db, page->key, page->id, page->count + 1, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_eas_server_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_eas_server_list_t);

        if ((rv = sources_json(db, q->id, &sources)) == APR_SUCCESS) {
            json_array_append_new(items, SERVER_JSON(ctx->pool, q, sources));
        }
        if (i == page->count - 1 && rows->nelts > page->count) {
            *next = mdm_page_next(ctx, page, q->name, q->id);
        }
    }
    return rv;
}

/* ---------------------------------------------------------------- editing */

typedef struct edit_t {
    const char *name, *host, *domain, *user_form;
    apr_int64_t port;
    int port_given, tls, tls_given, enabled, enabled_given;
    json_t *sources;
} edit_t;

static apr_status_t read_edit(mdm_ctx_t *ctx, json_t *given, int fresh, edit_t *e)
{
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, fresh, 1, TEXT_MAX, NULL, 0, &e->name, NULL},
                                   {"host", MDM_JF_STR, fresh, 1, 255, NULL, 0, &e->host, NULL},
                                   {"port", MDM_JF_INT, 0, 1, 65535, NULL, 0, &e->port, &e->port_given},
                                   {"tls", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &e->tls, &e->tls_given},
                                   {"domain", MDM_JF_STR, 0, 0, TEXT_MAX, NULL, 0, &e->domain, NULL},
                                   {"user_form", MDM_JF_ENUM, 0, 0, 0, forms, 0, &e->user_form, NULL},
                                   {"enabled", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &e->enabled, &e->enabled_given},
                                   {"sources", MDM_JF_ARRAY, 0, 0, SOURCES_MAX, NULL, 0, &e->sources, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(ctx, given, fields);

    if (rv == APR_SUCCESS && e->host) {
        e->host = mdm_lower(ctx->pool, e->host);
        rv = mdm_is_host(e->host) ? rv : mdm_fail(ctx, MDM_EINPUT, "host", "is not a host name or address");
    }
    if (rv == APR_SUCCESS && e->domain && strpbrk(e->domain, "\\@/: \t\n")) {
        rv = mdm_fail(ctx, MDM_EINPUT, "domain", "must be a name without \\ @ / : and spaces");
    }
    return rv;
}

/* The server as it will be; what is not given stays. */
static apr_status_t merge(mdm_ctx_t *ctx, const edit_t *e, mdm_eas_server_t *s)
{
    int moved = (e->host && strcmp(e->host, s->host) != 0) || (e->tls_given && e->tls != s->tls)
                || (e->port_given && e->port != s->port);

    s->name = e->name ? e->name : s->name;
    s->host = e->host ? e->host : s->host;
    s->domain = e->domain ? e->domain : s->domain;
    s->user_form = e->user_form ? e->user_form : s->user_form;
    s->tls = e->tls_given ? e->tls : s->tls;
    s->enabled = e->enabled_given ? e->enabled : s->enabled;
    s->port = e->port_given ? (int)e->port : s->port ? s->port : s->tls ? 443 : 80;
    s->pin = moved ? "" : s->pin; /* it was accepted for that server, not for another one */
    if (!strcmp(s->user_form, "domain_user") && !*s->domain) {
        return mdm_fail(ctx, MDM_EINPUT, "domain", "is needed for user names of the form domain\\user");
    }
    return APR_SUCCESS;
}

static apr_status_t note(mdm_db_t *db, const char *action, const char *id, const char *name, json_t *detail)
{
    apr_status_t rv = mdm_audit(db, action, "eas_server", id, name, "done", detail);

    json_decref(detail);
    if (rv == APR_SUCCESS) {
        rv = mdm_change_add(db, MDM_EAS_SERVER_CHANGE, id);
    }
    return rv == APR_SUCCESS ? mdm_eas_home_again(db) : rv;
}

static json_t *plain(const mdm_eas_server_t *s)
{
    return json_pack("{s:s, s:s, s:i, s:b, s:s, s:s, s:s, s:b}", "name", s->name, "host", s->host, "port", s->port, "tls", s->tls,
                     "domain", s->domain, "user_form", s->user_form, "pin", s->pin, "enabled", s->enabled);
}

static int among(const json_t *ids, const char *id)
{
    json_t *v;
    size_t i;

    json_array_foreach(ids, i, v) {
        const char *s = json_string_value(v);

        if (s && !strcmp(s, id)) {
            return 1;
        }
    }
    return 0;
}

/* Links what is new, unlinks what is no longer named; the places of the others stay. */
static apr_status_t put_sources(mdm_db_t *db, const char *id, const json_t *ids)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    mdm_q_eas_source_t *source;
    json_t *v;
    size_t n;
    int i;
    apr_status_t rv = mdm_q_eas_source_touch(db, id, NULL);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_server_sources(db, id, &rows);
    }
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const char *was = APR_ARRAY_IDX(rows, i, mdm_q_eas_server_sources_t).id;

        if (!among(ids, was)) {
            rv = mdm_q_eas_link_drop(db, id, was, NULL);
        }
    }
    json_array_foreach(ids, n, v) {
        const char *to = json_string_value(v);

        if (rv != APR_SUCCESS) {
            break;
        }
        rv = to && mdm_is_uuid(to) ? mdm_q_eas_source(db, to, &source) : APR_NOTFOUND;
        if (rv == APR_NOTFOUND) {
            return mdm_fail(ctx, MDM_EINPUT, "sources", "must be ids of user sources");
        }
        if (rv == APR_SUCCESS) {
            rv = mdm_q_eas_link_add(db, id, to, NULL);
        }
    }
    return rv == APR_SUCCESS ? mdm_q_eas_source_touch(db, id, NULL) : rv;
}

apr_status_t mdm_eas_server_add(mdm_db_t *db, json_t *given, const char **id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_eas_server_t s = {.host = "", .domain = "", .user_form = forms[0], .pin = "", .tls = 1, .enabled = 1};
    edit_t e = {NULL};
    apr_status_t rv = read_edit(ctx, given, 1, &e);

    if (rv == APR_SUCCESS) {
        rv = merge(ctx, &e, &s);
    }
    if (rv == APR_SUCCESS && !(*id = mdm_uuid(ctx->pool))) {
        rv = MDM_EUNAVAIL;
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_server_add(db, *id, s.name, s.host, s.port, s.tls, s.domain, s.user_form, s.enabled, mdm_now_ms(ctx), NULL);
    }
    if (rv == MDM_ECONFLICT) {
        return mdm_fail(ctx, rv, "name", "is taken");
    }
    if (rv == APR_SUCCESS && e.sources) {
        rv = put_sources(db, *id, e.sources);
    }
    return rv == APR_SUCCESS ? note(db, "eas_server.create", *id, s.name, plain(&s)) : rv;
}

static apr_status_t load(mdm_db_t *db, const char *id, apr_int64_t version, mdm_eas_server_t *s)
{
    mdm_q_eas_server_get_t *q;
    apr_status_t rv = mdm_q_eas_server_get(db, id, &q);

    if (rv == APR_SUCCESS && q->version != version) {
        rv = mdm_fail(mdm_db_ctx(db), MDM_ESTALE, NULL, STALE);
    }
    if (rv == APR_SUCCESS) {
        *s = SERVER(q);
        s->enabled = q->enabled != 0;
    }
    return rv;
}

static apr_status_t store(mdm_db_t *db, apr_int64_t version, const mdm_eas_server_t *s)
{
    int n = 0;
    apr_status_t rv = mdm_q_eas_server_edit(db, s->id, version, s->name, s->host, s->port, s->tls, s->domain, s->user_form, s->pin,
                                            s->enabled, &n);

    if (rv == MDM_ECONFLICT) {
        return mdm_fail(mdm_db_ctx(db), rv, "name", "is taken");
    }
    return rv == APR_SUCCESS && n != 1 ? mdm_fail(mdm_db_ctx(db), MDM_ESTALE, NULL, STALE) : rv;
}

apr_status_t mdm_eas_server_edit(mdm_db_t *db, const char *id, apr_int64_t version, json_t *given)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_eas_server_t was, s;
    edit_t e = {NULL};
    apr_status_t rv = read_edit(ctx, given, 0, &e);

    if (rv == APR_SUCCESS) {
        rv = load(db, id, version, &was);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    s = was;
    if ((rv = merge(ctx, &e, &s)) == APR_SUCCESS && (rv = store(db, version, &s)) == APR_SUCCESS && e.sources) {
        rv = put_sources(db, id, e.sources);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_server_republish(db, id, NULL);
    }
    return rv == APR_SUCCESS ? note(db, "eas_server.edit", id, s.name, json_pack("{s:o, s:o}", "before", plain(&was), "after", plain(&s)))
                             : rv;
}

apr_status_t mdm_eas_server_accept(mdm_db_t *db, const char *id, apr_int64_t version, const char *sha256)
{
    mdm_eas_server_t s;
    apr_status_t rv = load(db, id, version, &s);

    if (rv == APR_SUCCESS && *sha256 && (strlen(sha256) != 64 || strspn(sha256, "0123456789abcdef") != 64)) {
        rv = mdm_fail(mdm_db_ctx(db), MDM_EINPUT, "sha256", "must be a SHA-256 in lower-case hex");
    }
    if (rv == APR_SUCCESS && !s.tls) {
        rv = mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, "tls", "This server is reached without TLS.");
    }
    if (rv == APR_SUCCESS) {
        s.pin = sha256;
        rv = store(db, version, &s);
    }
    return rv == APR_SUCCESS ? note(db, "eas_server.certificate", id, s.name, json_pack("{s:s}", "sha256", sha256)) : rv;
}

/* "A", "B" and "C" */
static const char *policies_of(apr_pool_t *p, const apr_array_header_t *rows)
{
    const char *text = "";
    int i;

    for (i = 0; i < rows->nelts; i++) {
        text = apr_pstrcat(p, text, i ? ", " : "", "\"", APR_ARRAY_IDX(rows, i, mdm_q_eas_server_policies_t).name, "\"", NULL);
    }
    return text;
}

apr_status_t mdm_eas_server_delete(mdm_db_t *db, const char *id, apr_int64_t version)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *policies = NULL;
    mdm_eas_server_t s;
    int n = 0;
    apr_status_t rv = load(db, id, version, &s);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_source_touch(db, id, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_discovered_forget(db, id, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_server_delete(db, id, version, &n);
    }
    if (rv == APR_SUCCESS && n != 1) {
        rv = mdm_fail(ctx, MDM_ESTALE, NULL, STALE);
    }
    if (rv == APR_SUCCESS) { /* after it: whoever wrote it into a policy held its row */
        rv = mdm_q_eas_server_policies(db, id, &policies);
    }
    if (rv == APR_SUCCESS && policies->nelts) {
        rv = mdm_fail(ctx, MDM_ECONFLICT, NULL, "E-mail policies use this server: %s.", policies_of(ctx->pool, policies));
    }
    return rv == APR_SUCCESS ? note(db, "eas_server.delete", id, s.name, plain(&s)) : rv;
}

/* ---------------------------------------------------------------- the order of a source's servers */

apr_status_t mdm_eas_order_json(mdm_db_t *db, const char *source_id, json_t **out, apr_int64_t *version)
{
    apr_array_header_t *rows;
    mdm_q_eas_source_t *source;
    json_t *items;
    apr_status_t rv = mdm_q_eas_source(db, source_id, &source);
    int i;

    if (rv != APR_SUCCESS || (rv = mdm_q_eas_source_servers(db, source_id, &rows)) != APR_SUCCESS) {
        return rv;
    }
    items = json_array();
    for (i = 0; i < rows->nelts; i++) {
        const mdm_q_eas_source_servers_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_eas_source_servers_t);

        json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:b}", "id", q->id, "name", q->name, "host", q->host, "enabled",
                                               q->enabled != 0));
    }
    *out = json_pack("{s:o, s:I}", "items", items, "version", (json_int_t)source->version);
    *version = source->version;
    return rv;
}

apr_status_t mdm_eas_order_put(mdm_db_t *db, const char *source_id, apr_int64_t version, json_t *ids)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_eas_server_get_t *server;
    mdm_q_eas_source_t *source;
    int n = 0;
    json_t *v;
    size_t i;
    apr_status_t rv = mdm_q_eas_source(db, source_id, &source);

    if (rv == APR_SUCCESS && json_array_size(ids) > SERVERS_MAX) {
        rv = mdm_fail(ctx, MDM_EINPUT, "servers", "must be at most %d", SERVERS_MAX);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_source_next(db, source_id, version, &n);
    }
    if (rv == APR_SUCCESS && n != 1) {
        rv = mdm_fail(ctx, MDM_ESTALE, "If-Match", STALE_ORDER);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_source_clear(db, source_id, NULL);
    }
    json_array_foreach(ids, i, v) {
        const char *id = json_string_value(v);

        if (rv != APR_SUCCESS) {
            break;
        }
        rv = id && mdm_is_uuid(id) ? mdm_q_eas_server_get(db, id, &server) : APR_NOTFOUND;
        if (rv == APR_SUCCESS) {
            rv = mdm_q_eas_link_put(db, id, source_id, (apr_int64_t)i + 1, NULL);
        }
        if (rv == APR_NOTFOUND || rv == MDM_ECONFLICT) {
            return mdm_fail(ctx, MDM_EINPUT, "servers", "must be ids of ActiveSync servers, each once");
        }
    }
    if (rv == APR_SUCCESS) {
        json_t *detail = json_pack("{s:O}", "servers", ids);

        rv = mdm_audit(db, "eas_server.order", "source", source_id, source->name, "done", detail);
        json_decref(detail);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_change_add(db, MDM_EAS_SERVER_CHANGE, source_id);
    }
    return rv == APR_SUCCESS ? mdm_eas_home_again(db) : rv;
}
