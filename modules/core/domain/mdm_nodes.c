#include "domain/mdm_nodes.h"

#include <string.h>
#include <apr_strings.h>
#include <apr_uri.h>
#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_push_cert.h"
#include "mdm_sql_gen.h"

#define NAME_MAX_BYTES 253

static json_t *time_json(apr_pool_t *p, apr_int64_t ms)
{
    return ms ? json_string(mdm_time_text(p, ms)) : json_null();
}

/* Stored JSON; an empty list if it is none. */
static json_t *list_of(const char *text)
{
    json_t *j = json_loads(text, 0, NULL);

    if (!json_is_array(j)) {
        json_decref(j);
        j = json_array();
    }
    return j;
}

const char *mdm_node_url(apr_pool_t *p, const char *url, const char *name)
{
    apr_uri_t u;

    if (!*name) {
        return url;
    }
    if (apr_uri_parse(p, url, &u) != APR_SUCCESS || !u.scheme || !u.hostname) {
        return NULL;
    }
    return apr_pstrcat(p, u.scheme, "://", strchr(name, ':') ? "[" : "", name, strchr(name, ':') ? "]" : "", u.port_str ? ":" : "",
                       u.port_str ? u.port_str : "", NULL);
}

static const char *host_of(apr_pool_t *p, const char *url)
{
    apr_uri_t u;

    return apr_uri_parse(p, url, &u) == APR_SUCCESS && u.hostname ? u.hostname : "";
}

/* ---------------------------------------------------------------- showing */

/* When a role that was taken may be given back; 0 = now. */
static apr_int64_t back_ms(apr_int64_t now, int role, int never, apr_int64_t removed)
{
    apr_int64_t at = removed + MDM_NODE_ROLE_WAIT_MS;

    return role || never || at <= now ? 0 : at;
}

static int has_name(json_t *all, const char *name)
{
    json_t *item;
    size_t i;

    json_array_foreach(all, i, item) {
        const char *known = json_string_value(json_object_get(item, "name"));

        if (known && name && !strcasecmp(known, name)) {
            return 1;
        }
    }
    return 0;
}

/* All names, each once: what the configuration says first, found ones, administrators'. */
static json_t *names_json(apr_pool_t *p, const char *conf_url, const char *found, const char *extra)
{
    json_t *all = json_array(), *list = list_of(found), *more = list_of(extra), *item;
    size_t i;

    if (*host_of(p, conf_url)) {
        json_array_append_new(all, json_pack("{s:s, s:s}", "name", host_of(p, conf_url), "from", "configuration"));
    }
    json_array_foreach(list, i, item) {
        if (!has_name(all, json_string_value(json_object_get(item, "name")))) {
            json_array_append(all, item);
        }
    }
    json_array_foreach(more, i, item) {
        if (!has_name(all, json_string_value(item))) {
            json_array_append_new(all, json_pack("{s:O, s:s}", "name", item, "from", "administrator"));
        }
    }
    json_decref(list);
    json_decref(more);
    return all;
}

/* The two generated row types are alike. */
#define NODE_JSON(ctx, q)                                                                                                       \
    json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:b, s:o, s:o, s:s, s:I, s:o, s:o, s:I}", "id", (q)->id, "name", (q)->name,  \
              "base_url", (q)->base_url, "software", (q)->software, "state",                                                    \
              mdm_now_ms(ctx) - (q)->seen_ms > MDM_NODE_DOWN_MS ? "offline" : "online", "mdm_role", (q)->mdm_role != 0,         \
              "role_back_at",                                                                                                   \
              time_json((ctx)->pool, back_ms(mdm_now_ms(ctx), (q)->mdm_role != 0, (q)->role_removed_ms_null, (q)->role_removed_ms)), \
              "outbound", (q)->outbound != 0, "names",                                                                          \
              names_json((ctx)->pool, (q)->conf_url, (q)->names, (q)->extra_names), "extra_names", list_of((q)->extra_names),   \
              "default_name", (q)->default_name, "devices", (json_int_t)(q)->devices, "started_at",                             \
              time_json((ctx)->pool, (q)->started_ms), "seen_at", time_json((ctx)->pool, (q)->seen_ms), "version",              \
              (json_int_t)(q)->version)

apr_status_t mdm_nodes_json(mdm_db_t *db, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_node_list(db, &rows);

    *out = json_array();
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_node_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_node_list_t);

        json_array_append_new(*out, NODE_JSON(ctx, q));
    }
    return rv;
}

apr_status_t mdm_node_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_node_get_t *q;
    apr_status_t rv = mdm_q_node_get(db, id, &q);

    if (rv == APR_SUCCESS) {
        *out = NODE_JSON(ctx, q);
        *version = q->version;
    }
    return rv;
}

/* ---------------------------------------------------------------- role */

static apr_status_t give_role(mdm_db_t *db, const mdm_q_node_get_t *n, apr_int64_t version)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t at = back_ms(mdm_now_ms(ctx), 0, n->role_removed_ms_null, n->role_removed_ms);

    if (at) {
        return mdm_fail(ctx, MDM_ECONFLICT, "mdm_role", "The role can be given back 30 minutes after it was taken: at %s.",
                        mdm_time_text(ctx->pool, at));
    }
    return mdm_q_node_role_set(db, n->id, version, 1, NULL);
}

static apr_status_t take_role(mdm_db_t *db, const mdm_q_node_get_t *n, apr_int64_t version, int confirm)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_q_node_alone_t *a;
    apr_status_t rv = mdm_q_node_alone(db, n->id, &a);

    if (rv == APR_SUCCESS && !confirm && (a->devices || !a->others)) {
        return mdm_fail(ctx, MDM_ECONFLICT, "confirm", "%s%s", a->devices ? apr_psprintf(ctx->pool,
                        "%s%" APR_INT64_T_FMT " devices know the address of this node alone: they must be enrolled anew, unless another "
                        "node takes over its name.%s", a->devices >= 1000 ? "At least " : "", a->devices, a->others ? "" : " ") : "",
                        a->others ? "" : "It is the last node with the MDM role: the push certificate and its key are deleted with it.");
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_node_role_set(db, n->id, version, 0, &now);
    }
    return rv == APR_SUCCESS && !a->others ? mdm_push_cert_remove(db) : rv;
}

/* ---------------------------------------------------------------- names */

static apr_status_t extra_check(mdm_ctx_t *ctx, json_t *list)
{
    json_t *item;
    size_t i;

    if (json_array_size(list) > MDM_NODE_NAMES_MAX) {
        return mdm_fail(ctx, MDM_EINPUT, "extra_names", "There may be %d names at most.", MDM_NODE_NAMES_MAX);
    }
    json_array_foreach(list, i, item) {
        const char *s = json_string_value(item);

        if (!s || !*s || strlen(s) > NAME_MAX_BYTES || !mdm_is_host(s)) {
            return mdm_fail(ctx, MDM_EINPUT, "extra_names", "Each must be a host name.");
        }
        json_array_set_new(list, i, json_string(mdm_lower(ctx->pool, s)));
    }
    return APR_SUCCESS;
}

static apr_status_t set_names(mdm_db_t *db, const mdm_q_node_get_t *n, apr_int64_t version, const mdm_node_edit_t *edit)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *name = edit->default_name ? mdm_lower(ctx->pool, edit->default_name) : n->default_name;
    const char *extra = n->extra_names, *url;
    json_t *all;
    apr_status_t rv;

    if (edit->extra_names) {
        if ((rv = extra_check(ctx, edit->extra_names)) != APR_SUCCESS) {
            return rv;
        }
        extra = mdm_json_text(ctx->pool, edit->extra_names);
    }
    all = mdm_json_own(ctx, names_json(ctx->pool, n->conf_url, n->names, extra));
    url = mdm_node_url(ctx->pool, n->conf_url, name);
    if (*name && (!has_name(all, name) || !url)) {
        return mdm_fail(ctx, edit->default_name ? MDM_EINPUT : MDM_ECONFLICT, edit->default_name ? "default_name" : "extra_names",
                        edit->default_name ? "It is none of the node's names." : "The default name can't be taken away.");
    }
    if (strcmp(url, n->base_url) != 0 && !edit->confirm) {
        return mdm_fail(ctx, MDM_ECONFLICT, "confirm", "The node's TLS certificate must cover %s. %s%" APR_INT64_T_FMT " enrolled devices keep "
                        "the old address, so that it must go on working. Mail policies are sent again.", host_of(ctx->pool, url),
                        n->devices >= 1000 ? "At least " : "", n->devices);
    }
    rv = mdm_q_node_names_set(db, n->id, version, extra, name, url);
    return rv == APR_SUCCESS ? mdm_q_node_url_add(db, n->id, url, NULL) : rv;
}

/* ---------------------------------------------------------------- the whole */

static apr_status_t read_for(mdm_db_t *db, const char *id, apr_int64_t version, mdm_q_node_get_t **out)
{
    apr_status_t rv = mdm_q_node_get(db, id, out);

    return rv == APR_SUCCESS && (*out)->version != version ? MDM_ESTALE : rv;
}

apr_status_t mdm_node_edit(mdm_db_t *db, const char *id, apr_int64_t version, const mdm_node_edit_t *edit)
{
    mdm_q_node_get_t *n;
    json_t *detail;
    apr_status_t rv = read_for(db, id, version, &n);
    int role = rv == APR_SUCCESS && edit->role >= 0 && edit->role != (n->mdm_role != 0);
    int names = edit->default_name || edit->extra_names;

    if (rv == APR_SUCCESS && role) {
        rv = edit->role ? give_role(db, n, version) : take_role(db, n, version, edit->confirm);
    }
    if (rv == APR_SUCCESS && names) {
        rv = set_names(db, n, version + role, edit);
    }
    if (rv != APR_SUCCESS || (!role && !names)) {
        return rv;
    }
    detail = mdm_json_own(mdm_db_ctx(db), json_pack("{s:b, s:b}", "role", role ? edit->role : n->mdm_role != 0, "names", names));
    if (edit->default_name) {
        json_object_set_new(detail, "default_name", json_string(edit->default_name));
    }
    rv = mdm_audit(db, "node.edit", "node", n->id, n->name, "done", detail);
    return rv == APR_SUCCESS ? mdm_change_add(db, MDM_NODE_CHANGE, n->name) : rv;
}

apr_status_t mdm_node_delete(mdm_db_t *db, const char *id, apr_int64_t version)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_node_get_t *n;
    apr_status_t rv = read_for(db, id, version, &n);

    if (rv == APR_SUCCESS && n->mdm_role) {
        return mdm_fail(ctx, MDM_ECONFLICT, "mdm_role", "It has the MDM role: take that first.");
    }
    if (rv == APR_SUCCESS && mdm_now_ms(ctx) - n->seen_ms <= MDM_NODE_DOWN_MS) {
        return mdm_fail(ctx, MDM_ECONFLICT, "state", "It is running: stop it first. A minute later it counts as down.");
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_node_delete(db, id, version);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_node_jobs_drop(db, n->name, NULL);
    }
    return rv == APR_SUCCESS ? mdm_audit(db, "node.delete", "node", n->id, n->name, "done", NULL) : rv;
}
