/* Autodiscover (PXY-04): where a mail client finds its ActiveSync, told to those who can log in; and to everybody where it always is. */
#include <string.h>

#include <apr_strings.h>
#include <apr_uri.h>
#include <http_core.h>
#include <http_protocol.h>

#include "domain/mdm_eas_home.h"
#include "eas.h"
#include "mdm_web.h"
#include "wire/mdm_autodiscover.h"

#define PATH "/Microsoft-Server-ActiveSync"
#define XML_TYPE "text/xml; charset=utf-8"

/* "https://mail.example.org": the zone's name for mail clients, else the public address. */
static const char *base_url(const eas_call_t *c)
{
    const char *host = eas_public_host(c->r->pool), *url = c->svc->public_url(c->r->server);
    apr_uri_t uri = {0};

    if (!*host && url && apr_uri_parse(c->r->pool, url, &uri) == APR_SUCCESS && uri.hostinfo) {
        host = uri.hostinfo;
    }
    return apr_pstrcat(c->r->pool, "https://", *host ? host : ap_get_server_name_for_url(c->r), NULL);
}

/* ---------------------------------------------------------------- JSON: the same for everybody, so it tells nothing of anybody */

static int json(eas_call_t *c)
{
    request_rec *r = c->r;
    const char *protocol = NULL, *path;

    if (r->method_number != M_GET) {
        return mdm_web_method_not_allowed(r, "GET");
    }
    if (mdm_web_query(r, c->ctx, "Protocol", &protocol) != APR_SUCCESS || !protocol || !*protocol) {
        protocol = "";
    }
    path = !strcasecmp(protocol, "ActiveSync") ? PATH : !strcasecmp(protocol, "AutodiscoverV1") ? "/autodiscover/autodiscover.xml" : NULL;
    if (!path) {
        return mdm_web_json(r, HTTP_BAD_REQUEST, json_pack("{s:s, s:s}", "ErrorCode", "InvalidProtocol", "ErrorMessage",
                                                           "The protocols that are known here are ActiveSync and AutodiscoverV1."));
    }
    return mdm_web_json(r, HTTP_OK, json_pack("{s:s, s:s}", "Protocol", !strcmp(path, PATH) ? "ActiveSync" : "AutodiscoverV1", "Url",
                                              apr_pstrcat(r->pool, base_url(c), path, NULL)));
}

/* ---------------------------------------------------------------- XML: for those who can log in */

static int answer(eas_call_t *c, mdm_blob_t body)
{
    return mdm_web_bytes(c->r, HTTP_OK, XML_TYPE, body.data, body.len);
}

/* DECLINED: go on; else what the client was answered. */
static int log_in(eas_call_t *c)
{
    apr_status_t rv = mdm_basic_parse(c->ctx, apr_table_get(c->r->headers_in, "Authorization"), &c->basic);

    if (rv == APR_SUCCESS) {
        rv = c->svc->mail_login(c->ctx, c->basic.login, c->basic.password, &c->who);
        mdm_wipe((char *)c->basic.password, strlen(c->basic.password));
    }
    if (rv == MDM_EAUTH) {
        mdm_log(c->ctx, MDM_LOG_INFO, "MDM0892", 0, "a log-in for Autodiscover was refused");
        apr_table_setn(c->r->headers_out, "WWW-Authenticate", "Basic realm=\"ActiveSync\", charset=\"UTF-8\"");
        return eas_answer(c, HTTP_UNAUTHORIZED, NULL, "log-in refused", c->ctx->retry_after);
    }
    return rv == APR_SUCCESS ? DECLINED : eas_unavailable(c, "MDM0893", rv, "a log-in for Autodiscover can't be checked");
}

/* The gate, or the server that the policies of the person's devices name. */
static apr_status_t where(eas_call_t *c, const char **name, const char **url)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(c->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_eas_home_direct(db, c->who.person_id, name, url);
        mdm_db_close(db);
    }
    *url = apr_pstrcat(c->r->pool, *url ? *url : base_url(c), PATH, NULL);
    return rv;
}

static int xml(eas_call_t *c)
{
    request_rec *r = c->r;
    const char *name = "", *url = NULL;
    mdm_autodiscover_t asked;
    mdm_blob_t body;
    apr_status_t rv;
    int rc;

    if (r->method_number != M_POST) { /* some ask first whether there is something: credentials go with the question only */
        return mdm_web_method_not_allowed(r, "POST");
    }
    if ((rc = log_in(c)) != DECLINED) {
        return rc;
    }
    rv = mdm_web_body(r, MDM_AUTODISCOVER_MAX, &body);
    if (rv == APR_SUCCESS) {
        rv = mdm_autodiscover_read(c->ctx, body.data, body.len, &asked);
    }
    if (rv != APR_SUCCESS) {
        mdm_log(c->ctx, MDM_LOG_INFO, "MDM0894", 0, "an Autodiscover request was refused: %s", c->ctx->fail_text ? c->ctx->fail_text : "its body");
        return rv == MDM_ETOOBIG ? mdm_web_empty(r, HTTP_REQUEST_ENTITY_TOO_LARGE)
                                 : answer(c, mdm_autodiscover_error(r->pool, 600, "Invalid Request"));
    }
    if (!asked.mobile) {
        return answer(c, mdm_autodiscover_error(r->pool, 601, "Provider is not available"));
    }
    if ((rv = where(c, &name, &url)) != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0893", rv, "Autodiscover can't look up where the mail is");
    }
    return answer(c, mdm_autodiscover_found(r->pool, *name ? name : c->who.login, *c->who.mail ? c->who.mail : asked.mail, url));
}

int eas_autodiscover(request_rec *r, const mdm_services_t *svc)
{
    eas_call_t *c = apr_pcalloc(r->pool, sizeof(*c));

    c->r = r;
    c->svc = svc;
    c->ctx = svc->request_ctx(r);
    apr_table_setn(r->notes, "mdm-action", "Autodiscover");
    return mdm_autodiscover_path(r->uri) == MDM_AUTODISCOVER_JSON ? json(c) : xml(c);
}
