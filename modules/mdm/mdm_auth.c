/* Owns "who is it": AuthType MDM with sessions and API tokens, and administrators that another httpd module has proved. */
#include "domain/mdm_session.h"
#include "mdm_private.h"
#include "mdm_sql_gen.h"
#include "mdm_web.h"

static const mdm_caller_t *from_session(apr_pool_t *p, const mdm_session_t *s, int admin, int by_token)
{
    mdm_caller_t *c = apr_pcalloc(p, sizeof(*c));

    c->kind = admin ? MDM_CALLER_ADMIN : MDM_CALLER_PERSON;
    c->id = s->subject_id;
    c->login = s->login;
    c->name = s->name;
    c->role = s->role;
    c->rights = s->rights;
    c->limited = s->limited;
    c->by_token = by_token;
    c->session_hash = by_token ? NULL : s->hash;
    return c;
}

/* The token of "Authorization: Bearer mdm_…"; NULL if there is none of ours. */
static const char *bearer(request_rec *r)
{
    const char *h = mdm_web_bearer(r);

    return h && strncmp(h, "mdm_", 4) == 0 && strlen(h) < 200 ? h : NULL;
}

/* MDM_EAUTH without or with dead credentials. */
static apr_status_t by_credentials(request_rec *r, mdm_ctx_t *ctx, const char *kind, const mdm_caller_t **out)
{
    int admin = strcmp(kind, "admin") == 0;
    const char *token = admin ? bearer(r) : NULL;
    const char *cookie = token ? NULL : mdm_web_cookie_get(r, admin ? MDM_COOKIE_ADMIN : MDM_COOKIE_PORTAL);
    mdm_session_t *s;
    mdm_db_t *db;
    apr_status_t rv;

    if (!token && (!cookie || !*cookie || strlen(cookie) > 200)) {
        return mdm_fail(ctx, MDM_EAUTH, NULL, "Log in first.");
    }
    rv = mdm_db_open(ctx, &db);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = token ? mdm_token_find(db, token, &s) : mdm_session_find(db, kind, cookie, &s);
    mdm_db_close(db);
    if (rv == APR_SUCCESS) {
        *out = from_session(r->pool, s, admin, token != NULL);
    } else if (rv == APR_NOTFOUND) {
        rv = mdm_fail(ctx, MDM_EAUTH, NULL, "Log in first.");
    }
    return rv;
}

/* An administrator whom another httpd module has authenticated. */
static apr_status_t by_user(request_rec *r, mdm_ctx_t *ctx, const mdm_caller_t **out)
{
    static int said;
    mdm_q_admin_by_user_t *row;
    mdm_caller_t *c;
    mdm_db_t *db;
    apr_status_t rv;

    if (!r->user || !*r->user) {
        if (!__atomic_exchange_n(&said, 1, __ATOMIC_RELAXED)) {
            mdm_log(ctx, MDM_LOG_WARN, "MDM0230", 0, "refused: nobody is authenticated at %s: set AuthType MDM (or another "
                    "one) and Require valid-user there", r->uri);
        }
        return mdm_fail(ctx, MDM_EAUTH, NULL, "Log in first.");
    }
    rv = mdm_db_open(ctx, &db);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_admin_by_user(db, mdm_lower(r->pool, r->user), &row);
    mdm_db_close(db);
    if (rv == APR_NOTFOUND) {
        mdm_log(ctx, MDM_LOG_INFO, "MDM0231", 0, "refused: '%s' is no administrator here", mdm_mask(r->pool, r->user));
        return mdm_fail(ctx, MDM_EAUTH, NULL, "This account is no administrator here.");
    }
    if (rv == APR_SUCCESS) {
        c = apr_pcalloc(r->pool, sizeof(*c));
        c->kind = MDM_CALLER_ADMIN;
        c->id = row->id;
        c->by_group = strcmp(row->kind, "group") == 0;
        c->login = c->by_group ? apr_pstrdup(r->pool, r->user) : row->login;
        c->name = c->by_group ? "" : row->name;
        c->role = row->role;
        c->rights = row->rights;
        c->limited = row->folders > 0;
        *out = c;
    }
    return rv;
}

static int is_ours(request_rec *r)
{
    const char *type = ap_auth_type(r);

    return type && strcasecmp(type, "MDM") == 0;
}

/* Once per request and session kind. */
static apr_status_t who(request_rec *r, const char *kind)
{
    mdm_rconf_t *rc = mdm_core_rconf(r);
    mdm_ctx_t *ctx = mdm_core_request_ctx(r);

    if (rc->caller_kind && strcmp(rc->caller_kind, kind) == 0) {
        return rc->caller_rv;
    }
    rc->caller_kind = kind;
    rc->caller = NULL;
    /* A session counts where AuthType MDM is set, and in the portal, whose pages are open but know who is logged in. */
    rc->caller_rv = is_ours(r) || strcmp(kind, "admin") != 0 ? by_credentials(r, ctx, kind, &rc->caller)
                                                              : by_user(r, ctx, &rc->caller);
    return rc->caller_rv;
}

const mdm_caller_t *mdm_auth_caller(request_rec *r, const char *session_kind)
{
    return who(r, session_kind) == APR_SUCCESS ? mdm_core_rconf(r)->caller : NULL;
}

static int wants_page(request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");

    return r->method_number == M_GET && accept && strstr(accept, "text/html") != NULL;
}

static int refuse(request_rec *r, const mdm_dconf_t *d, apr_status_t rv)
{
    if (rv == MDM_EAUTH && d->login && wants_page(r)) {
        mdm_web_redirect(r, apr_pstrcat(r->pool, d->login, "?next=", ap_escape_urlencoded(r->pool, r->unparsed_uri), NULL));
        return DONE;
    }
    mdm_web_problem(r, mdm_core_request_ctx(r), rv);
    return DONE;
}

int mdm_auth_check(request_rec *r)
{
    mdm_dconf_t *d = ap_get_module_config(r->per_dir_config, &mdm_module);
    const char *kind = d->session ? d->session : "admin";
    const mdm_caller_t *c;
    apr_status_t rv;

    if (!is_ours(r)) {
        return DECLINED;
    }
    rv = who(r, kind);
    if (rv != APR_SUCCESS) {
        return refuse(r, d, rv);
    }
    c = mdm_core_rconf(r)->caller;
    r->user = apr_pstrdup(r->pool, c->login);
    r->ap_auth_type = apr_pstrdup(r->pool, "MDM");
    apr_table_setn(r->notes, "mdm-user", r->user);
    return OK;
}
