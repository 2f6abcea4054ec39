/* Routing as data: one table per handler, one walk, every check in one order (R01, R02, API-04). */
#include "mdm_web.h"

#include <string.h>
#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>

#include "base/mdm_json.h"

/* True if the caller's role gives `right` ("device:write"); rights JSON: {"device":["read"]}, "*" on either side = all. */
static int may(const mdm_caller_t *caller, const char *right)
{
    const char *colon = right ? strchr(right, ':') : NULL;
    json_error_t err;
    json_t *rights;
    int yes = 0;
    const char *const areas[2] = {"*", NULL};
    int i;

    if (!caller || caller->kind != MDM_CALLER_ADMIN || !caller->rights || !colon)
        return 0;
    rights = json_loads(caller->rights, 0, &err);
    for (i = 0; i < 2 && !yes; i++) {
        const char *area = areas[i];
        json_t *acts, *act;
        size_t k;
        char name[64];
        if (!area) {
            apr_snprintf(name, sizeof(name), "%.*s", (int)(colon - right), right);
            area = name;
        }
        acts = json_object_get(rights, area);
        json_array_foreach(acts, k, act) {
            const char *a = json_string_value(act);
            if (a && (strcmp(a, "*") == 0 || strcmp(a, colon + 1) == 0))
                yes = 1;
        }
    }
    json_decref(rights);
    return yes;
}

/* Fits path against pattern; values of {…} go to args, which end with NULLs. A value is one non-empty segment. */
static int fits(apr_pool_t *p, const char *pattern, const char *path, const char **args)
{
    int n = 0;

    memset(args, 0, MDM_WEB_ARGS * sizeof(*args));
    while (*pattern) {
        if (*pattern == '{') {
            apr_size_t len = strcspn(path, "/");
            const char *close = strchr(pattern, '}');
            if (!len || len > 256 || n == MDM_WEB_ARGS || !close)
                return 0;
            args[n++] = apr_pstrmemdup(p, path, len);
            path += len;
            pattern = close + 1;
        } else if (*pattern++ != *path++) {
            return 0;
        }
    }
    return *path == '\0';
}

/* The path below base as every route sees it. r->uri is decoded and normalised once by httpd; whatever could still be read in two ways
 * (encoded separators, dots, parameters, control characters) is refused, so that access rules and routes never differ (R01). */
static const char *path_below(request_rec *r, const char *base)
{
    const apr_size_t n = strcmp(base, "/") == 0 ? 0 : strlen(base);
    const char *path = r->uri, *c;

    if (strncmp(path, base, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return NULL;
    path += n;
    for (c = path; *c; c++) {
        if ((unsigned char)*c < 0x21 || *c == 0x7f || *c == '\\' || *c == ';' || *c == '%')
            return "";
        if (c[0] == '/' && (c[1] == '/' || (c[1] == '.' && (c[2] == '/' || c[2] == '.' || !c[2]))))
            return "";
    }
    return *path ? path : "/";
}

static const mdm_route_t *find(request_rec *r, const char *path, const mdm_route_t *routes, int n,
                               const char **args, const char **allow)
{
    int i;

    *allow = NULL;
    for (i = 0; i < n; i++) {
        if (!fits(r->pool, routes[i].pattern, path, args))
            continue;
        if (strcmp(routes[i].method, r->method) == 0
            || (r->header_only && strcmp(routes[i].method, "GET") == 0))
            return &routes[i];
        *allow = *allow ? apr_pstrcat(r->pool, *allow, ", ", routes[i].method, NULL)
                        : (strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : routes[i].method);
    }
    return NULL;
}

static apr_status_t authorise(mdm_web_call_t *call, const mdm_route_t *route, const char *session_kind)
{
    if (route->auth == MDM_AUTH_PUBLIC || route->auth == MDM_AUTH_DEVICE)
        return APR_SUCCESS;
    call->caller = call->svc->caller(call->r, session_kind);
    if (!call->caller || call->caller->kind == MDM_CALLER_NONE)
        return mdm_fail(call->ctx, MDM_EAUTH, NULL, "Log in first.");
    if (call->caller->kind != (route->auth == MDM_AUTH_ADMIN ? MDM_CALLER_ADMIN : MDM_CALLER_PERSON))
        return mdm_fail(call->ctx, MDM_EDENIED, NULL, "This log-in has no place here.");
    call->ctx->actor.kind = call->caller->by_token ? "token"
                            : call->caller->kind == MDM_CALLER_ADMIN ? "admin" : "person";
    call->ctx->actor.id = call->caller->id;
    call->ctx->actor.name = call->caller->login;
    if (call->caller->kind == MDM_CALLER_ADMIN) {
        call->ctx->actor.rights = call->caller->rights;
        call->ctx->actor.limit = call->caller->limited ? call->caller->id : "";
    }
    apr_table_setn(call->r->notes, "mdm-user", call->caller->login);
    if (route->right && !may(call->caller, route->right))
        return mdm_fail(call->ctx, MDM_EDENIED, NULL, "Your role lacks the right %s.", route->right);
    return APR_SUCCESS;
}

static apr_status_t read_json(mdm_web_call_t *call, const mdm_route_t *route)
{
    const char *type = apr_table_get(call->r->headers_in, "Content-Type");
    mdm_blob_t body;
    apr_status_t rv;

    if (!type || strncasecmp(type, "application/json", 16) != 0)
        return mdm_fail(call->ctx, MDM_EMEDIA, NULL, "The body must be application/json.");
    rv = mdm_web_body(call->r, route->body_limit, &body);
    if (rv == MDM_ETOOBIG)
        return mdm_fail(call->ctx, rv, NULL, "The body is larger than %lu bytes.",
                        (unsigned long)route->body_limit);
    if (rv != APR_SUCCESS)
        return mdm_fail(call->ctx, rv, NULL, "The body was cut off.");
    return mdm_json_parse(call->ctx, (const char *)body.data, body.len, &call->body);
}

static int changes(const request_rec *r)
{
    return !r->header_only && strcmp(r->method, "GET") != 0 && strcmp(r->method, "OPTIONS") != 0;
}

static apr_status_t admit(mdm_web_call_t *call, const mdm_route_t *route, const char *session_kind)
{
    apr_status_t rv = authorise(call, route, session_kind);
    if (rv == APR_SUCCESS && route->auth != MDM_AUTH_DEVICE && changes(call->r))
        rv = mdm_web_same_origin(call->r, call->ctx, call->caller);
    if (rv == APR_SUCCESS && route->json)
        rv = read_json(call, route);
    return rv;
}

int mdm_web_dispatch(request_rec *r, const mdm_services_t *svc, const char *base, const char *session_kind,
                     const mdm_route_t *routes, int nroutes, void *data)
{
    mdm_web_call_t *call = apr_pcalloc(r->pool, sizeof(*call));
    const char *path = path_below(r, base), *allow;
    const mdm_route_t *route;
    apr_status_t rv;

    if (!path)
        return DECLINED;
    call->r = r;
    call->svc = svc;
    call->ctx = svc->request_ctx(r);
    call->data = data;
    route = find(r, path, routes, nroutes, call->args, &allow);
    if (!route)
        return allow ? mdm_web_method_not_allowed(r, allow) : mdm_web_problem(r, call->ctx, APR_NOTFOUND);
    rv = admit(call, route, session_kind);
    if (rv != APR_SUCCESS)
        return mdm_web_problem(r, call->ctx, rv);
    return route->run(call);
}
