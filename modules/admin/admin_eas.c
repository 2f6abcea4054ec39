/* ActiveSync servers, their order for each user source, their test (EAS-01..04, USR-13). */
#include "mdm_admin.h"

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_eas_discovered.h"
#include "domain/mdm_eas_server.h"

#define LOGIN_MAX 256
#define PASSWORD_MAX 256

static apr_status_t list(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    return mdm_eas_server_list(db, page, items, next);
}

int mdm_adm_eas_servers(mdm_web_call_t *call)
{
    const mdm_adm_list_t l = {.sig = "eas_servers", .read = list, .name = "mail-servers",
                              .columns = "id name host port tls domain user_form pin enabled"};

    return mdm_adm_list(call, &l);
}

int mdm_adm_eas_server(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_eas_server_json);
}

int mdm_adm_eas_server_create(mdm_web_call_t *call)
{
    const char *id = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_begin(call, &db);

    if (rv == APR_SUCCESS)
        rv = mdm_eas_server_add(db, call->body, &id);
    return mdm_adm_made(call, mdm_adm_end(db, rv), "eas-servers", id, mdm_eas_server_json);
}

static apr_status_t edit(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    return mdm_eas_server_edit(db, id, version, call->body);
}

int mdm_adm_eas_server_edit(mdm_web_call_t *call)
{
    return mdm_adm_edit(call, edit, NULL, mdm_eas_server_json);
}

int mdm_adm_eas_server_delete(mdm_web_call_t *call)
{
    return mdm_adm_drop(call, mdm_eas_server_delete);
}

static apr_status_t accept_pin(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    return mdm_eas_server_accept(db, id, version, arg);
}

/* The fingerprint that the administrator has seen is what counts, not what the server shows at this moment. */
int mdm_adm_eas_server_certificate(mdm_web_call_t *call)
{
    const char *sha256 = "";
    const mdm_jfield_t fields[] = {{"sha256", MDM_JF_STR, 1, 0, 64, NULL, 0, &sha256, NULL}, {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_adm_edit(call, accept_pin, sha256, mdm_eas_server_json) : mdm_adm_fail(call, rv);
}

static void test(mdm_probe_t *p, const void *what)
{
    mdm_eas_test(p, what);
}

int mdm_adm_eas_server_test(mdm_web_call_t *call)
{
    mdm_eas_test_t t = {.ca_file = call->svc->conf_str(NULL, "MDMOutboundCAFile")};
    const mdm_jfield_t fields[] = {{"login", MDM_JF_STR, 1, 1, LOGIN_MAX, NULL, 0, &t.user, NULL},
                                   {"password", MDM_JF_STR, 1, 1, PASSWORD_MAX, NULL, 0, &t.password, NULL},
                                   {NULL}};
    const char *id = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_params(call, NULL);
    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS && strpbrk(t.user, ":\r\n"))
        rv = mdm_fail(call->ctx, MDM_EINPUT, "login", "must be a name without colons");
    if (rv == APR_SUCCESS)
        rv = mdm_eas_test_read(call->ctx, id, &t);
    return rv == APR_SUCCESS ? mdm_adm_probe(call, test, &t) : mdm_adm_fail(call, rv);
}

/* ---- order */

int mdm_adm_eas_order(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_eas_order_json);
}

static apr_status_t put_order(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    return mdm_eas_order_put(db, id, version, (json_t *)arg);
}

int mdm_adm_eas_order_save(mdm_web_call_t *call)
{
    json_t *ids = NULL;
    const mdm_jfield_t fields[] = {{"servers", MDM_JF_ARRAY, 1, 0, 0, NULL, 0, &ids, NULL}, {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_adm_edit(call, put_order, ids, mdm_eas_order_json) : mdm_adm_fail(call, rv);
}

/* ---- servers' own device lists (EAS-05) */

static apr_status_t discovered(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    return mdm_discovered_list(db, arg, page, items, next);
}

int mdm_adm_eas_discovered(mdm_web_call_t *call)
{
    const char *id = NULL;
    mdm_adm_list_t l = {.read = discovered, .name = "mail-devices",
                        .columns = "device_id state person:person.name login:person.login device:device.name class type model user_agent first_sync last_sync "
                                   "told_at"};
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    l.arg = id;
    l.sig = apr_pstrcat(call->ctx->pool, "discovered\n", id, NULL);
    return mdm_adm_list(call, &l);
}

static apr_status_t discovered_begin(mdm_web_call_t *call, mdm_discovered_t **d)
{
    const char *id = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_params(call, NULL);
    return rv == APR_SUCCESS ? mdm_discovered_begin(call->ctx, id, d) : rv;
}

static int discovered_end(mdm_web_call_t *call, mdm_discovered_t *d, apr_status_t rv)
{
    json_t *out = NULL;

    if (rv == APR_SUCCESS)
        rv = mdm_discovered_end(d, &out);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    call->svc->job_wake();
    return mdm_web_json(call->r, HTTP_OK, json_incref(out));
}

int mdm_adm_eas_discovered_add(mdm_web_call_t *call)
{
    json_t *rows = NULL;
    const mdm_jfield_t fields[] = {{"rows", MDM_JF_ARRAY, 1, 0, MDM_DISCOVERED_ROWS, NULL, 0, &rows, NULL}, {NULL}};
    mdm_discovered_t *d = NULL;
    apr_status_t rv = discovered_begin(call, &d);

    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS)
        rv = mdm_discovered_json(d, rows);
    return discovered_end(call, d, rv);
}

int mdm_adm_eas_discovered_csv(mdm_web_call_t *call)
{
    const char *type = apr_table_get(call->r->headers_in, "Content-Type");
    mdm_discovered_t *d = NULL;
    mdm_blob_t file = {NULL, 0};
    apr_status_t rv = discovered_begin(call, &d);

    if (rv == APR_SUCCESS && (!type || strncasecmp(type, "text/csv", 8) != 0))
        rv = mdm_fail(call->ctx, MDM_EMEDIA, NULL, "The body must be text/csv.");
    if (rv == APR_SUCCESS && (rv = mdm_web_body(call->r, MDM_DISCOVERED_BYTES, &file)) != APR_SUCCESS)
        rv = rv == MDM_ETOOBIG ? mdm_fail(call->ctx, rv, NULL, "The file is larger than %d bytes.", MDM_DISCOVERED_BYTES)
                               : mdm_fail(call->ctx, rv, NULL, "The body was cut off.");
    if (rv == APR_SUCCESS)
        rv = mdm_discovered_csv(d, (const char *)file.data, file.len);
    return discovered_end(call, d, rv);
}
