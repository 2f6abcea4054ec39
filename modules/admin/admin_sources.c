/* User sources (USR-01..05, USR-07, USR-08). The bind password is written only, never read (R30). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_directory.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_login_change.h"
#include "mdm_sql_gen.h"

#define TEXT_MAX 200
#define SECRET_MAX 500
#define DOMAINS_MAX 50
#define POSITION_MAX 1000
#define CHANGED "Somebody has changed this source meanwhile: load it again."

typedef struct source_edit_t {
    const char *name, *secret;
    int enabled, enabled_given, simple, secret_given, confirm;
    apr_int64_t position;
    int position_given;
    json_t *domains, *config;
} source_edit_t;

#define SOURCE_JSON(p, q, domains)                                                                                       \
    json_pack("{s:s, s:s, s:s, s:I, s:b, s:b, s:o, s:o, s:b, s:I, s:I, s:o, s:I}", "id", (q)->id, "name", (q)->name, "kind", \
              (q)->kind, "position", (json_int_t)(q)->position, "simple", (q)->simple != 0, "enabled", (q)->enabled != 0, \
              "domains", domains, "config", mdm_adm_parsed((q)->config), "secret_set", (q)->secret != NULL, "people",     \
              (json_int_t)(q)->people, "devices", (json_int_t)(q)->devices, "created_at",                                \
              mdm_adm_time(p, (q)->created_ms), "version", (json_int_t)(q)->version)

static apr_status_t domains_of(mdm_db_t *db, const char *id, json_t **out)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_source_domains(db, id, &rows);
    int i;

    *out = json_array();
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++)
        json_array_append_new(*out, json_string(APR_ARRAY_IDX(rows, i, mdm_q_source_domains_t).domain));
    return rv;
}

int mdm_adm_sources(mdm_web_call_t *call)
{
    json_t *items = mdm_json_own(call->ctx, json_array()), *domains = NULL;
    apr_array_header_t *rows = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_params(call, NULL);
    int i;

    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = mdm_q_source_list(db, &rows);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_source_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_source_list_t);
        rv = domains_of(db, q->id, &domains);
        json_array_append_new(items, SOURCE_JSON(call->r->pool, q, domains));
    }
    mdm_db_close(db);
    return rv == APR_SUCCESS ? mdm_adm_items(call, json_incref(items), NULL) : mdm_adm_fail(call, rv);
}

static apr_status_t source_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_q_source_get_t *q = NULL;
    json_t *domains = NULL;
    apr_status_t rv = mdm_q_source_get(db, id, &q);

    if (rv == APR_SUCCESS)
        rv = domains_of(db, id, &domains);
    if (rv == APR_SUCCESS) {
        *out = SOURCE_JSON(mdm_db_ctx(db)->pool, q, domains);
        *version = q->version;
    }
    return rv;
}

int mdm_adm_source(mdm_web_call_t *call)
{
    return mdm_adm_one(call, source_json);
}

/* ---- creating and editing */

/* Members of a body; `fresh`: name and config are needed. */
static apr_status_t read_body(mdm_web_call_t *call, int fresh, source_edit_t *e)
{
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, fresh, 1, TEXT_MAX, NULL, 0, &e->name, NULL},
                                   {"enabled", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &e->enabled, &e->enabled_given},
                                   {"simple", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &e->simple, NULL},
                                   {"position", MDM_JF_INT, 0, 0, POSITION_MAX, NULL, 0, &e->position, &e->position_given},
                                   {"secret", MDM_JF_STR, 0, 0, SECRET_MAX, NULL, 0, &e->secret, &e->secret_given},
                                   {"domains", MDM_JF_ARRAY, 0, 0, DOMAINS_MAX, NULL, 0, &e->domains, NULL},
                                   {"config", MDM_JF_OBJECT, fresh, 0, 0, NULL, 0, &e->config, NULL},
                                   {"confirm", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &e->confirm, NULL},
                                   {NULL}};
    mdm_ldap_conf_t *conf;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS && e->config && json_object_get(e->config, "pin"))
        rv = mdm_fail(call->ctx, MDM_EINPUT, "pin", "is set by accepting the certificate that the server shows");
    if (rv == APR_SUCCESS && e->config)
        rv = mdm_ldap_conf(call->ctx, e->config, &conf);
    return rv;
}

static apr_status_t seal_secret(mdm_ctx_t *ctx, const char *id, const char *secret, const char **out)
{
    *out = NULL;
    return *secret ? mdm_seal(ctx, apr_pstrcat(ctx->pool, "user_source.secret:", id, NULL), secret, strlen(secret), out)
                   : APR_SUCCESS;
}

static apr_status_t put_domains(mdm_db_t *db, const char *id, const json_t *list)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = mdm_q_source_domains_clear(db, id, NULL);
    json_t *v;
    size_t i;

    json_array_foreach(list, i, v) {
        const char *domain = json_string_value(v);

        if (rv != APR_SUCCESS)
            break;
        if (!domain || !*domain || strlen(domain) > TEXT_MAX || strpbrk(domain, "\\@/ \t") || !mdm_utf8_valid(domain, strlen(domain)))
            return mdm_fail(ctx, MDM_EINPUT, "domains", "must be names without \\ @ / and spaces");
        rv = mdm_q_source_domain_add(db, id, mdm_lower(ctx->pool, domain), NULL);
        if (rv == MDM_ECONFLICT)
            return mdm_fail(ctx, rv, "domains", "is taken by a source already: %s", mdm_clean(ctx->pool, domain, TEXT_MAX));
    }
    return rv;
}

/* Simple enrolment moves here. */
static apr_status_t put_simple(mdm_db_t *db, const char *id)
{
    mdm_q_user_source_simple_t *before = NULL;
    apr_status_t rv = mdm_q_user_source_simple(db, &before);

    if (rv == APR_SUCCESS)
        rv = mdm_login_change(db, before->id);
    if (rv == APR_SUCCESS || APR_STATUS_IS_NOTFOUND(rv))
        rv = mdm_q_source_simple_none(db, NULL);
    return rv == APR_SUCCESS ? mdm_q_source_simple_set(db, id) : rv;
}

static apr_status_t note(mdm_db_t *db, const char *action, const char *id, const char *name, json_t *detail)
{
    apr_status_t rv = mdm_audit(db, action, "source", id, name, "done", detail);

    json_decref(detail);
    return rv == APR_SUCCESS ? mdm_change_add(db, "source", id) : rv;
}

static int has_text(const json_t *list, const char *text)
{
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v) {
        if (json_is_string(v) && strcasecmp(json_string_value(v), text) == 0)
            return 1;
    }
    return 0;
}

/* True if something that its people may type as the domain now is gone after the edit; without any domain that is the name (USR-05). */
static int domain_lost(const mdm_q_source_get_t *q, const json_t *was, const source_edit_t *e)
{
    const json_t *v;
    size_t i;

    if (json_array_size(was) == 0)
        return !q->simple && (e->simple || (e->domains && json_array_size(e->domains)) || (e->name && strcasecmp(e->name, q->name) != 0));
    json_array_foreach(was, i, v) {
        if (e->domains && !has_text(e->domains, json_string_value(v)))
            return 1;
    }
    return 0;
}

/* Who must write the log-in in another way afterwards has the old one in the phone's mail account: how many devices these are is
 * named first (USR-04, USR-05). q: NULL for a source that is being made. *lost: people of this source are among them. */
static apr_status_t ask_first(mdm_db_t *db, const char *id, const mdm_q_source_get_t *q, const source_edit_t *e, int *lost)
{
    mdm_q_source_touched_t *touched = NULL;
    json_t *was = NULL;
    apr_status_t rv = q ? domains_of(db, id, &was) : APR_SUCCESS;

    *lost = rv == APR_SUCCESS && q && domain_lost(q, was, e);
    json_decref(was);
    if (rv != APR_SUCCESS || e->confirm)
        return rv;
    rv = mdm_q_source_touched(db, *lost ? id : "", e->simple && !(q && q->simple), id, &touched);
    return rv == APR_SUCCESS && touched->devices > 0
               ? mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, "confirm",
                          "People with %" APR_INT64_T_FMT " device%s write their log-in another way then. Mail accounts that policies have set up "
                          "are set up again; for the others, the new settings are mailed. Confirm to save it.", touched->devices, touched->devices == 1 ? "" : "s")
               : rv;
}

static apr_status_t create(mdm_db_t *db, const char *id, const char *sealed, const source_edit_t *e)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    int lost;
    apr_status_t rv = ask_first(db, id, NULL, e, &lost);

    if (rv != APR_SUCCESS)
        return rv;
    rv = mdm_q_source_add(db, id, e->name, mdm_json_text(ctx->pool, e->config), sealed, e->enabled_given ? e->enabled : 1,
                          e->position_given ? e->position : 100, mdm_now_ms(ctx), NULL);
    if (rv == MDM_ECONFLICT)
        return mdm_fail(ctx, rv, "name", "is taken");
    if (rv == APR_SUCCESS && e->domains)
        rv = put_domains(db, id, e->domains);
    if (rv == APR_SUCCESS && e->simple)
        rv = put_simple(db, id);
    if (rv == APR_SUCCESS)
        rv = mdm_directory_sync_ask(db, id);
    return rv == APR_SUCCESS ? note(db, "source.create", id, e->name, json_pack("{s:O}", "config", e->config)) : rv;
}

int mdm_adm_source_create(mdm_web_call_t *call)
{
    source_edit_t e = {NULL};
    const char *id = mdm_uuid(call->ctx->pool), *sealed = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = id ? read_body(call, 1, &e) : MDM_EUNAVAIL;

    if (rv == APR_SUCCESS && e.secret_given)
        rv = seal_secret(call->ctx, id, e.secret, &sealed);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = create(db, id, sealed, &e);
    return mdm_adm_made(call, mdm_adm_end(db, rv), "sources", id, source_json);
}

static apr_status_t load(mdm_db_t *db, const char *id, apr_int64_t version, mdm_q_source_get_t **q)
{
    apr_status_t rv = mdm_q_source_get(db, id, q);

    return rv == APR_SUCCESS && (*q)->version != version ? mdm_fail(mdm_db_ctx(db), MDM_ESTALE, NULL, CHANGED) : rv;
}

/* The accepted certificate stays with the server it was accepted for, and never goes to another one. */
static void keep_pin(json_t *config, json_t *was)
{
    static const char *const server[] = {"host", "port", "tls"};
    unsigned i;

    for (i = 0; i < sizeof(server) / sizeof(server[0]); i++) {
        json_t *a = json_object_get(config, server[i]), *b = json_object_get(was, server[i]);
        if (a != b && !(a && b && json_equal(a, b)))
            return;
    }
    if (json_object_get(was, "pin"))
        json_object_set(config, "pin", json_object_get(was, "pin"));
}

/* The bind password is kept for the same server only: else whoever may edit could have it sent to a server of theirs. */
static int moved(const json_t *config, const json_t *was)
{
    json_t *a = json_object_get(config, "host"), *b = json_object_get(was, "host");

    return !a || !b || !json_equal(a, b);
}

static apr_status_t edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *sealed, const source_edit_t *e)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_source_get_t *q = NULL;
    json_t *was, *config;
    int n = 0, enabled, lost;
    apr_status_t rv = load(db, id, version, &q);

    if (rv != APR_SUCCESS)
        return rv;
    was = mdm_json_own(ctx, mdm_adm_parsed(q->config));
    config = e->config ? mdm_json_own(ctx, json_deep_copy(e->config)) : was;
    enabled = e->enabled_given ? e->enabled : q->enabled != 0;
    if (e->config || e->secret_given) {
        if (strcmp(q->kind, "ldap") != 0)
            return mdm_fail(ctx, MDM_ECONFLICT, "config", "This source has no server.");
        keep_pin(config, was);
        if (moved(config, was) && q->secret && !e->secret_given)
            return mdm_fail(ctx, MDM_EINPUT, "secret", "must be given again when the server changes");
    }
    if ((rv = ask_first(db, id, q, e, &lost)) != APR_SUCCESS)
        return rv;
    rv = mdm_q_source_edit(db, id, version, e->name ? e->name : q->name, mdm_json_text(ctx->pool, config),
                           e->secret_given ? sealed : q->secret, enabled, e->position_given ? e->position : q->position, &n);
    if (rv == MDM_ECONFLICT)
        return mdm_fail(ctx, rv, "name", "is taken");
    if (rv == APR_SUCCESS && n != 1)
        rv = mdm_fail(ctx, MDM_ESTALE, NULL, CHANGED);
    if (rv == APR_SUCCESS && e->domains)
        rv = put_domains(db, id, e->domains);
    if (rv == APR_SUCCESS && e->simple && !q->simple)
        rv = put_simple(db, id);
    if (rv == APR_SUCCESS && lost)
        rv = mdm_login_change(db, id);
    if (rv == APR_SUCCESS && !enabled && q->enabled)
        rv = mdm_q_source_sessions_end(db, id, NULL); /* R35 */
    if (rv == APR_SUCCESS && enabled && strcmp(q->kind, "ldap") == 0)
        rv = mdm_directory_sync_ask(db, id);
    return rv == APR_SUCCESS
               ? note(db, "source.edit", id, e->name ? e->name : q->name,
                      json_pack("{s:O, s:O, s:b, s:b}", "before", was, "after", config, "enabled", enabled, "secret", e->secret_given))
               : rv;
}

int mdm_adm_source_edit(mdm_web_call_t *call)
{
    source_edit_t e = {NULL};
    const char *id = NULL, *sealed = NULL;
    json_t *body = NULL;
    apr_int64_t version = 0;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = read_body(call, 0, &e);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_if_match(call, &version);
    if (rv == APR_SUCCESS && e.secret_given)
        rv = seal_secret(call->ctx, id, e.secret, &sealed);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = edit(db, id, version, sealed, &e);
    rv = mdm_adm_end(db, rv);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_read(call, source_json, id, &body, &version);
    return rv == APR_SUCCESS ? mdm_adm_object(call, body, version) : mdm_adm_fail(call, rv);
}

/* Devices and people stay, without a source: they enrol anew (USR-08). */
static apr_status_t drop(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    mdm_q_source_get_t *q = NULL;
    apr_status_t rv = load(db, id, version, &q);

    if (rv == APR_SUCCESS && strcmp(q->kind, "ldap") != 0)
        rv = mdm_fail(call->ctx, MDM_ECONFLICT, NULL, "The built-in source can't be deleted.");
    if (rv == APR_SUCCESS)
        rv = mdm_q_source_sessions_end(db, id, NULL);
    if (rv == APR_SUCCESS)
        rv = mdm_q_source_delete(db, id);
    if (rv != APR_SUCCESS)
        return rv;
    return note(db, "source.delete", id, q->name,
                json_pack("{s:I, s:I}", "people", (json_int_t)q->people, "devices", (json_int_t)q->devices));
}

int mdm_adm_source_delete(mdm_web_call_t *call)
{
    return mdm_adm_edit(call, drop, NULL, NULL);
}

/* ---- the server's certificate, the test, the sync */

static apr_status_t conf_of(mdm_web_call_t *call, const char *id, mdm_ldap_conf_t **conf)
{
    mdm_q_source_get_t *q = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv != APR_SUCCESS)
        return rv;
    rv = mdm_q_source_get(db, id, &q);
    mdm_db_close(db);
    if (rv == APR_SUCCESS && strcmp(q->kind, "ldap") != 0)
        rv = mdm_fail(call->ctx, MDM_ECONFLICT, NULL, "This source has no server.");
    if (rv == APR_SUCCESS) {
        mdm_dirsource_t source = {q->id, q->name, q->config, q->secret};
        rv = mdm_directory_conf(call->ctx, &source, conf);
    }
    return rv;
}

static void test(mdm_probe_t *p, const void *conf)
{
    mdm_ldap_test(p, conf);
}

int mdm_adm_source_test(mdm_web_call_t *call)
{
    mdm_ldap_conf_t *conf = NULL;
    const char *id = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = conf_of(call, id, &conf);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    return mdm_adm_probe(call, test, conf);
}

static apr_status_t accept_pin(mdm_db_t *db, const char *id, apr_int64_t version, const char *sha256)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_source_get_t *q = NULL;
    mdm_ldap_conf_t *conf;
    json_t *config;
    int n = 0;
    apr_status_t rv = load(db, id, version, &q);

    if (rv == APR_SUCCESS && strcmp(q->kind, "ldap") != 0)
        rv = mdm_fail(ctx, MDM_ECONFLICT, NULL, "This source has no server.");
    if (rv != APR_SUCCESS)
        return rv;
    config = mdm_json_own(ctx, mdm_adm_parsed(q->config));
    json_object_set_new(config, "pin", json_string(sha256));
    if ((rv = mdm_ldap_conf(ctx, config, &conf)) != APR_SUCCESS)
        return mdm_fail(ctx, MDM_EINPUT, "sha256", "must be a SHA-256 in lower-case hex");
    rv = mdm_q_source_edit(db, id, version, q->name, mdm_json_text(ctx->pool, config), q->secret, q->enabled, q->position, &n);
    if (rv == APR_SUCCESS && n != 1)
        rv = mdm_fail(ctx, MDM_ESTALE, NULL, CHANGED);
    if (rv == APR_SUCCESS)
        rv = mdm_directory_sync_ask(db, id);
    return rv == APR_SUCCESS ? note(db, "source.certificate", id, q->name, json_pack("{s:s}", "sha256", sha256)) : rv;
}

/* The fingerprint that the administrator has seen is what counts, not what the server shows at this moment. */
int mdm_adm_source_certificate(mdm_web_call_t *call)
{
    const char *id = NULL, *sha256 = NULL;
    const mdm_jfield_t fields[] = {{"sha256", MDM_JF_STR, 1, 64, 64, NULL, 0, &sha256, NULL}, {NULL}};
    json_t *body = NULL;
    apr_int64_t version = 0;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_if_match(call, &version);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = accept_pin(db, id, version, sha256);
    rv = mdm_adm_end(db, rv);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_read(call, source_json, id, &body, &version);
    return rv == APR_SUCCESS ? mdm_adm_object(call, body, version) : mdm_adm_fail(call, rv);
}

int mdm_adm_source_sync(mdm_web_call_t *call)
{
    mdm_q_source_get_t *q = NULL;
    const char *id = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_q_source_get(db, id, &q);
    if (rv == APR_SUCCESS && (strcmp(q->kind, "ldap") != 0 || !q->enabled))
        rv = mdm_fail(call->ctx, MDM_ECONFLICT, NULL, "This source can't be synchronised.");
    if (rv == APR_SUCCESS)
        rv = mdm_directory_sync_ask(db, id);
    if (rv == APR_SUCCESS)
        rv = mdm_audit(db, "source.sync", "source", id, q->name, "done", NULL);
    rv = mdm_adm_end(db, rv);
    if (rv == APR_SUCCESS)
        call->svc->job_wake();
    return rv == APR_SUCCESS ? mdm_web_empty(call->r, HTTP_ACCEPTED) : mdm_adm_fail(call, rv);
}
