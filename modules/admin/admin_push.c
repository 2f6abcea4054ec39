/* The zone's Apple push certificate: request, signature, import, renewal, test (PSH-02..05, NOD-03, NOD-04). */
#include "mdm_admin.h"

#include <http_protocol.h>
#include "base/mdm_json.h"
#include "domain/mdm_push_cert.h"

#define PEM_MAX 65536
#define P12_MAX 131072
#define SIGNED_MAX 380000
#define FIELD_MAX 128
#define PASSWORD_MAX 256
#define URL_MAX 500

/* Reads with a connection of its own. */
typedef apr_status_t (*read_fn)(mdm_db_t *db, json_t **out);

static apr_status_t read_all(mdm_web_call_t *call, read_fn fn, json_t **out)
{
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_params(call, NULL);

    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return rv;
    rv = fn(db, out);
    mdm_db_close(db);
    return rv;
}

int mdm_adm_push(mdm_web_call_t *call)
{
    json_t *all = NULL;
    apr_status_t rv = read_all(call, mdm_push_cert_state, &all);

    return rv == APR_SUCCESS ? mdm_adm_json(call, all) : mdm_adm_fail(call, rv);
}

/* What changed something answers with the new state of everything. */
static int told(mdm_web_call_t *call, apr_status_t rv)
{
    return rv == APR_SUCCESS ? mdm_adm_push(call) : mdm_adm_fail(call, rv);
}

int mdm_adm_push_request(mdm_web_call_t *call)
{
    mdm_push_subject_t s = {NULL};
    int keep = 0;
    const mdm_jfield_t fields[] = {{"organisation", MDM_JF_STR, 1, 1, FIELD_MAX, NULL, 0, &s.organisation, NULL},
                                   {"unit", MDM_JF_STR, 0, 0, FIELD_MAX, NULL, 0, &s.unit, NULL},
                                   {"name", MDM_JF_STR, 0, 0, FIELD_MAX, NULL, 0, &s.name, NULL},
                                   {"place", MDM_JF_STR, 0, 0, FIELD_MAX, NULL, 0, &s.place, NULL},
                                   {"state", MDM_JF_STR, 0, 0, FIELD_MAX, NULL, 0, &s.state, NULL},
                                   {"country", MDM_JF_STR, 1, 1, FIELD_MAX, NULL, 0, &s.country, NULL},
                                   {"mail", MDM_JF_STR, 1, 1, FIELD_MAX, NULL, 0, &s.mail, NULL},
                                   {"keep_key", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &keep, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return told(call, rv == APR_SUCCESS ? mdm_push_request_make(call->ctx, &s, keep) : rv);
}

static int file(mdm_web_call_t *call, int is_signed)
{
    const char *pem = NULL, *with = NULL, *text;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_params(call, NULL);

    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv == APR_SUCCESS) {
        rv = mdm_push_request_files(db, &pem, &with);
        mdm_db_close(db);
    }
    text = is_signed ? with : pem;
    if (rv == APR_SUCCESS && !text)
        rv = mdm_fail(call->ctx, APR_NOTFOUND, NULL, "The request is not signed yet.");
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    apr_table_setn(call->r->headers_out, "Content-Disposition",
                   is_signed ? "attachment; filename=\"push-request-signed.txt\"" : "attachment; filename=\"push-request.csr\"");
    return mdm_web_bytes(call->r, HTTP_OK, is_signed ? "text/plain; charset=utf-8" : "application/pkcs10", text, strlen(text));
}

int mdm_adm_push_csr(mdm_web_call_t *call)
{
    return file(call, 0);
}

int mdm_adm_push_signed_file(mdm_web_call_t *call)
{
    return file(call, 1);
}

int mdm_adm_push_signed(mdm_web_call_t *call)
{
    const char *text = NULL;
    const mdm_jfield_t fields[] = {{"file", MDM_JF_STR, 1, 1, SIGNED_MAX, NULL, 0, &text, NULL}, {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return told(call, rv == APR_SUCCESS ? mdm_push_request_signed(call->ctx, text) : rv);
}

int mdm_adm_push_sign(mdm_web_call_t *call)
{
    return told(call, mdm_push_request_send(call->ctx, call->svc->conf_str(NULL, "MDMOutboundCAFile")));
}

int mdm_adm_push_signing(mdm_web_call_t *call)
{
    const char *url = "";
    const mdm_jfield_t fields[] = {{"url", MDM_JF_STR, 1, 0, URL_MAX, NULL, 0, &url, NULL}, {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return told(call, rv == APR_SUCCESS ? mdm_push_signing_set(call->ctx, url) : rv);
}

int mdm_adm_push_import(mdm_web_call_t *call)
{
    mdm_push_import_t in = {NULL};
    const mdm_jfield_t fields[] = {{"certificate", MDM_JF_STR, 0, 1, PEM_MAX, NULL, 0, &in.certificate, NULL},
                                   {"p12", MDM_JF_STR, 0, 1, P12_MAX, NULL, 0, &in.p12, NULL},
                                   {"key", MDM_JF_STR, 0, 1, PEM_MAX, NULL, 0, &in.key, NULL},
                                   {"password", MDM_JF_STR, 0, 0, PASSWORD_MAX, NULL, 0, &in.password, NULL},
                                   {"new_topic", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &in.new_topic, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = mdm_push_cert_import(call->ctx, &in);
    if (rv == APR_SUCCESS)
        call->svc->job_wake();
    return told(call, rv);
}

/* ---- the test on every node */

int mdm_adm_push_results(mdm_web_call_t *call)
{
    json_t *list = NULL;
    apr_status_t rv = read_all(call, mdm_push_test_results, &list);

    return rv == APR_SUCCESS ? mdm_adm_items(call, list, NULL) : mdm_adm_fail(call, rv);
}

int mdm_adm_push_test(mdm_web_call_t *call)
{
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_begin(call, &db);

    if (rv == APR_SUCCESS)
        rv = mdm_push_test_ask(db);
    rv = mdm_adm_end(db, rv);
    if (rv == APR_SUCCESS)
        call->svc->job_wake();
    return rv == APR_SUCCESS ? mdm_web_empty(call->r, HTTP_ACCEPTED) : mdm_adm_fail(call, rv);
}
