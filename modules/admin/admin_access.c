/* Address filters: lists of nodes and of the zone, what they would say, who would be shut out (ACC-03..06). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include <apr_uri.h>
#include "base/mdm_json.h"
#include "domain/mdm_access.h"
#include "mdm_sql_gen.h"

typedef struct place_t {
    const char *node; /* id; NULL: the zone's list */
    mdm_access_e category;
    int here;         /* what holds on this node: httpd.conf's rules are known */
} place_t;

/* One list and what stands around it. */
typedef struct around_t {
    apr_array_header_t *nodes; /* of mdm_q_admin_nodes_t */
    apr_array_header_t *list, *zone; /* the place's; the zone's behind a node's (else empty) */
    apr_array_header_t *before;      /* this node's before the zone's */
    apr_int64_t version;
} around_t;

static const mdm_q_admin_nodes_t *node_by(const apr_array_header_t *nodes, const char *id, const char *name)
{
    int i;

    for (i = 0; i < nodes->nelts; i++) {
        const mdm_q_admin_nodes_t *q = &APR_ARRAY_IDX(nodes, i, mdm_q_admin_nodes_t);
        if ((id && strcmp(q->id, id) == 0) || (name && strcmp(q->name, name) == 0))
            return q;
    }
    return NULL;
}

static apr_status_t read_place(mdm_web_call_t *call, const char *node, const char *category, place_t *out)
{
    if (mdm_access_category(category && *category ? category : "admin", &out->category) != APR_SUCCESS)
        return mdm_fail(call->ctx, MDM_EINPUT, "category", "must be admin, endpoint or tools");
    if (node && *node && !mdm_is_uuid(node))
        return mdm_fail(call->ctx, MDM_EINPUT, "node", "must be a UUID, or absent for the zone");
    out->node = node && *node ? mdm_lower(call->r->pool, node) : NULL;
    return APR_SUCCESS;
}

static apr_status_t query_place(mdm_web_call_t *call, place_t *out)
{
    static const char *const params[] = {"node", "category", NULL};
    const char *node = NULL, *category = NULL;
    apr_status_t rv = mdm_adm_params(call, params);

    if (rv == APR_SUCCESS)
        rv = mdm_web_query(call->r, call->ctx, "node", &node);
    if (rv == APR_SUCCESS)
        rv = mdm_web_query(call->r, call->ctx, "category", &category);
    return rv == APR_SUCCESS ? read_place(call, node, category, out) : rv;
}

static apr_status_t read_around(mdm_web_call_t *call, mdm_db_t *db, place_t *at, around_t *a)
{
    const mdm_q_admin_nodes_t *own;
    apr_int64_t unused;
    apr_status_t rv = mdm_q_admin_nodes(db, &a->nodes);

    if (rv != APR_SUCCESS)
        return rv;
    own = node_by(a->nodes, NULL, call->svc->node_name());
    if (at->node && !node_by(a->nodes, at->node, NULL))
        return mdm_fail(call->ctx, APR_NOTFOUND, "node", "There is no such node.");
    at->here = !at->node || (own && strcmp(own->id, at->node) == 0);
    a->zone = a->before = apr_array_make(call->r->pool, 1, sizeof(mdm_filter_t));
    rv = mdm_access_get(db, at->node, at->category, &a->version, &a->list);
    if (rv == APR_SUCCESS && at->node)
        rv = mdm_access_get(db, NULL, at->category, &unused, &a->zone);
    else if (rv == APR_SUCCESS && own)
        rv = mdm_access_get(db, own->id, at->category, &unused, &a->before);
    return rv;
}

static apr_status_t open_around(mdm_web_call_t *call, place_t *at, around_t *a)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = read_around(call, db, at, a);
        mdm_db_close(db);
    }
    return rv;
}

static const apr_array_header_t *conf_rules(mdm_web_call_t *call, const place_t *at, int *database)
{
    APR_OPTIONAL_FN_TYPE(mdm_access_conf) *conf = APR_RETRIEVE_OPTIONAL_FN(mdm_access_conf);

    *database = 1;
    return conf && at->here ? conf(at->category, database) : apr_array_make(call->r->pool, 1, sizeof(mdm_filter_t));
}

/* All that holds at the place, with `list` instead of what is kept there. */
static apr_status_t compile(mdm_web_call_t *call, const place_t *at, const around_t *a, const apr_array_header_t *list,
                            const mdm_access_t **out)
{
    int database;
    apr_array_header_t *all = apr_array_copy(call->r->pool, conf_rules(call, at, &database));

    if (database) {
        apr_array_cat(all, a->before);
        apr_array_cat(all, list);
        apr_array_cat(all, a->zone);
    }
    return mdm_access_compile(call->r->pool, all, out);
}

static json_t *filters_json(const apr_array_header_t *filters)
{
    json_t *out = json_array();
    int i;

    for (i = 0; i < filters->nelts; i++) {
        const mdm_filter_t *f = &APR_ARRAY_IDX(filters, i, mdm_filter_t);
        json_array_append_new(out, json_pack("{s:s, s:s, s:s}", "addresses", f->addresses, "action",
                                             f->allow ? "allow" : "deny", "description", f->description));
    }
    return out;
}

static int answer(mdm_web_call_t *call, const place_t *at, const apr_array_header_t *list, apr_int64_t version)
{
    int database;
    json_t *conf = filters_json(conf_rules(call, at, &database));

    return mdm_adm_object(call, json_pack("{s:o, s:s, s:I, s:o, s:o, s:b}", "node", mdm_adm_text(at->node), "category",
                                          mdm_access_name(at->category), "version", (json_int_t)version, "filters",
                                          filters_json(list), "conf", conf, "in_force", database), version);
}

int mdm_adm_access(mdm_web_call_t *call)
{
    place_t at = {0};
    around_t a = {0};
    apr_status_t rv = query_place(call, &at);

    if (rv == APR_SUCCESS)
        rv = open_around(call, &at, &a);
    return rv == APR_SUCCESS ? answer(call, &at, a.list, a.version) : mdm_adm_fail(call, rv);
}

/* ---- who would be shut out (ACC-06, R42) */

/* The filter that denies an address, as words; NULL if it may come. */
static const char *denied(mdm_web_call_t *call, const mdm_access_t *list, const char *ip)
{
    const mdm_filter_t *f;
    mdm_addr_t addr;

    if (mdm_addr_parse(ip, &addr) != APR_SUCCESS)
        return NULL;
    f = mdm_access_find(list, &addr);
    return f && !f->allow ? apr_psprintf(call->r->pool, "%s (%s)", ip, f->addresses) : NULL;
}

static int at_home(request_rec *r)
{
    return r->useragent_addr == r->connection->client_addr
           && (strncmp(r->useragent_ip, "127.", 4) == 0 || strcmp(r->useragent_ip, "::1") == 0);
}

/* The first denied address of a node's name, as words. Asks DNS: no connection to the database is open. */
static const char *node_denied(mdm_web_call_t *call, const mdm_access_t *list, const mdm_q_admin_nodes_t *node)
{
    apr_pool_t *p = call->r->pool;
    apr_sockaddr_t *sa = NULL;
    const char *why = NULL;
    apr_uri_t uri;
    char *ip;

    if (apr_uri_parse(p, node->base_url, &uri) != APR_SUCCESS || !uri.hostname
        || apr_sockaddr_info_get(&sa, uri.hostname, APR_UNSPEC, 0, 0, p) != APR_SUCCESS)
        return NULL;
    for (; sa && !why; sa = sa->next)
        why = apr_sockaddr_ip_get(&ip, sa) == APR_SUCCESS ? denied(call, list, ip) : NULL;
    return why;
}

static apr_status_t shut_out(mdm_web_call_t *call, const place_t *at, const around_t *a, const apr_array_header_t *list)
{
    const char *who = "", *why;
    const mdm_access_t *all;
    int i;
    apr_status_t rv = compile(call, at, a, list, &all);

    if (rv != APR_SUCCESS || at->category == MDM_ACCESS_TOOLS)
        return rv;
    if (at->category == MDM_ACCESS_ADMIN && !at_home(call->r) && (why = denied(call, all, call->r->useragent_ip)))
        who = apr_psprintf(call->r->pool, " your own address %s", why);
    for (i = 0; i < a->nodes->nelts; i++) {
        const mdm_q_admin_nodes_t *n = &APR_ARRAY_IDX(a->nodes, i, mdm_q_admin_nodes_t);
        if (strcmp(n->name, call->svc->node_name()) != 0 && (why = node_denied(call, all, n)))
            who = apr_psprintf(call->r->pool, "%s%s node %s at %s", who, *who ? ";" : "", n->name, why);
    }
    return *who ? mdm_fail(call->ctx, MDM_ECONFLICT, "confirm", "This list shuts out:%s. Confirm to save it.", who) : rv;
}

int mdm_adm_access_save(mdm_web_call_t *call)
{
    json_t *given = NULL;
    int confirm = 0;
    const mdm_jfield_t fields[] = {{.name = "filters", .type = MDM_JF_ARRAY, .required = 1, .max = MDM_ACCESS_MAX, .out = &given},
                                   {.name = "confirm", .type = MDM_JF_BOOL, .out = &confirm},
                                   {.name = NULL}};
    apr_array_header_t *list = NULL;
    apr_int64_t version = 0;
    mdm_db_t *db = NULL;
    place_t at = {0};
    around_t a = {0};
    apr_status_t rv = query_place(call, &at);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_if_match(call, &version);
    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS)
        rv = mdm_filters_read(call->ctx, at.node ? "node" : "zone", given, &list);
    if (rv == APR_SUCCESS)
        rv = open_around(call, &at, &a);
    if (rv == APR_SUCCESS && a.version != version)
        rv = mdm_fail(call->ctx, MDM_ESTALE, "If-Match", "Somebody else has changed this list. Read it again.");
    if (rv == APR_SUCCESS && !confirm)
        rv = shut_out(call, &at, &a, list);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_access_put(db, at.node, at.category, version, list);
    rv = mdm_adm_end(db, rv);
    return rv == APR_SUCCESS ? answer(call, &at, list, version + 1) : mdm_adm_fail(call, rv);
}

/* ---- ACC-04 */

int mdm_adm_access_test(mdm_web_call_t *call)
{
    const char *node = NULL, *category = NULL, *address = NULL;
    json_t *given = NULL;
    const mdm_jfield_t fields[] = {
        {.name = "node", .type = MDM_JF_UUID, .nullable = 1, .out = &node},
        {.name = "category", .type = MDM_JF_STR, .required = 1, .min = 1, .max = 20, .out = &category},
        {.name = "address", .type = MDM_JF_STR, .required = 1, .min = 1, .max = 60, .out = &address},
        {.name = "filters", .type = MDM_JF_ARRAY, .max = MDM_ACCESS_MAX, .out = &given},
        {.name = NULL}};
    apr_array_header_t *list = NULL;
    const mdm_filter_t *f = NULL;
    const mdm_access_t *all;
    mdm_addr_t addr;
    place_t at = {0};
    around_t a = {0};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = read_place(call, node, category, &at);
    if (rv == APR_SUCCESS && mdm_addr_parse(address, &addr) != APR_SUCCESS)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "address", "must be one IPv4 or IPv6 address");
    if (rv == APR_SUCCESS && given)
        rv = mdm_filters_read(call->ctx, at.node ? "node" : "zone", given, &list);
    if (rv == APR_SUCCESS)
        rv = open_around(call, &at, &a);
    if (rv == APR_SUCCESS)
        rv = compile(call, &at, &a, list ? list : a.list, &all);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    f = mdm_access_find(all, &addr);
    return mdm_adm_json(call, json_pack("{s:b, s:o, s:o, s:o}", "allowed", !f || f->allow, "source",
                                        mdm_adm_text(f ? f->source : NULL), "number", f ? json_integer(f->position) : json_null(),
                                        "addresses", mdm_adm_text(f ? f->addresses : NULL)));
}

/* ---- ACC-05 */

static apr_status_t copy_to(mdm_web_call_t *call, mdm_db_t *db, const place_t *from, const char *node)
{
    apr_array_header_t *list, *old;
    apr_int64_t version;
    apr_status_t rv = mdm_access_get(db, from->node, from->category, &version, &list);

    if (rv == APR_SUCCESS)
        rv = mdm_access_get(db, node, from->category, &version, &old);
    return rv == APR_SUCCESS ? mdm_access_put(db, node, from->category, version, list) : rv;
}

int mdm_adm_access_copy(mdm_web_call_t *call)
{
    const char *node = NULL, *category = NULL;
    json_t *targets = NULL;
    int confirm = 0;
    const mdm_jfield_t fields[] = {
        {.name = "node", .type = MDM_JF_UUID, .nullable = 1, .out = &node},
        {.name = "category", .type = MDM_JF_STR, .required = 1, .min = 1, .max = 20, .out = &category},
        {.name = "nodes", .type = MDM_JF_ARRAY, .required = 1, .min = 1, .max = 200, .out = &targets},
        {.name = "confirm", .type = MDM_JF_BOOL, .out = &confirm},
        {.name = NULL}};
    mdm_db_t *db = NULL;
    place_t at = {0};
    around_t a = {0};
    size_t i;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = read_place(call, node, category, &at);
    if (rv == APR_SUCCESS)
        rv = open_around(call, &at, &a);
    for (i = 0; rv == APR_SUCCESS && i < json_array_size(targets); i++) {
        const char *id = json_string_value(json_array_get(targets, i));
        place_t to = {id, at.category, 0};
        around_t there = {0};

        if (!id || !node_by(a.nodes, id, NULL) || (at.node && strcmp(id, at.node) == 0))
            rv = mdm_fail(call->ctx, MDM_EINPUT, "nodes", "must name other nodes of the zone");
        if (rv == APR_SUCCESS && !confirm)
            rv = open_around(call, &to, &there);
        if (rv == APR_SUCCESS && !confirm)
            rv = shut_out(call, &to, &there, a.list);
    }
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    for (i = 0; rv == APR_SUCCESS && i < json_array_size(targets); i++)
        rv = copy_to(call, db, &at, json_string_value(json_array_get(targets, i)));
    rv = mdm_adm_end(db, rv);
    return rv == APR_SUCCESS ? mdm_web_empty(call->r, HTTP_NO_CONTENT) : mdm_adm_fail(call, rv);
}
