/* Autodiscover: a short XML document in, a short one out. */
#include "wire/mdm_autodiscover.h"

#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include "wire/mdm_html.h"

#define TEXT_MAX 512
#define DEPTH_MAX 32
#define MOBILE "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006"

mdm_autodiscover_e mdm_autodiscover_path(const char *path)
{
    static const char base[] = "/autodiscover/autodiscover.";
    const char *kind;

    if (!path || strncasecmp(path, base, sizeof(base) - 1) != 0) {
        return MDM_AUTODISCOVER_NONE;
    }
    kind = path + sizeof(base) - 1;
    if (!strcasecmp(kind, "xml")) {
        return MDM_AUTODISCOVER_XML;
    }
    return !strncasecmp(kind, "json", 4) && (!kind[4] || (!strncasecmp(kind + 4, "/v1.0/", 6) && !strchr(kind + 10, '/')))
               ? MDM_AUTODISCOVER_JSON : MDM_AUTODISCOVER_NONE;
}

/* ---------------------------------------------------------------- reading */

typedef struct state_t {
    mdm_ctx_t *ctx;
    xmlParserCtxtPtr xml;
    apr_status_t rv;
    int depth, request;          /* of the element in hand; inside of Autodiscover/Request */
    char *field;                 /* where text goes; NULL: nowhere */
    char mail[TEXT_MAX + 1], schema[TEXT_MAX + 1];
} state_t;

static void refuse(state_t *st, const char *why)
{
    if (st->rv == APR_SUCCESS) {
        st->rv = mdm_fail(st->ctx, MDM_EINPUT, NULL, "%s", why);
    }
    xmlStopParser(st->xml);
}

static void on_doctype(void *data, const xmlChar *name, const xmlChar *id, const xmlChar *system)
{
    refuse(data, "a document type is not accepted");
}

static void on_start(void *data, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri, int n_ns, const xmlChar **ns, int n_attr,
                     int n_default, const xmlChar **attrs)
{
    state_t *st = data;
    const char *is = (const char *)name;

    st->field = NULL;
    if (++st->depth > DEPTH_MAX) {
        refuse(st, "the document is nested too deeply");
    } else if (st->depth == 1 && strcmp(is, "Autodiscover") != 0) {
        refuse(st, "the document is no Autodiscover request");
    } else if (st->depth == 2) {
        st->request = !strcmp(is, "Request");
    } else if (st->depth == 3 && st->request) {
        st->field = !strcmp(is, "EMailAddress") ? st->mail : !strcmp(is, "AcceptableResponseSchema") ? st->schema : NULL;
        if (st->field && *st->field) {
            refuse(st, "the request says something twice");
        }
    }
}

static void on_end(void *data, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    state_t *st = data;

    st->depth--;
    st->field = NULL;
}

static void on_text(void *data, const xmlChar *text, int len)
{
    state_t *st = data;
    apr_size_t has = st->field ? strlen(st->field) : 0;

    if (!st->field) {
        return;
    }
    if (has + (apr_size_t)len > TEXT_MAX) {
        refuse(st, "a value is too long");
        return;
    }
    memcpy(st->field + has, text, (apr_size_t)len);
    st->field[has + (apr_size_t)len] = '\0';
}

static void on_error(void *data, xmlErrorPtr error)
{
}

static const xmlSAXHandler handlers = {
    .internalSubset = on_doctype,
    .characters = on_text,
    .cdataBlock = on_text,
    .startElementNs = on_start,
    .endElementNs = on_end,
    .serror = (xmlStructuredErrorFunc)on_error,
    .initialized = XML_SAX2_MAGIC,
};

static apr_status_t parse(state_t *st, const void *data, apr_size_t len)
{
    xmlParserCtxtPtr xml = xmlCreateMemoryParserCtxt(data, (int)len);

    if (!xml) {
        return mdm_fail(st->ctx, MDM_EUNAVAIL, NULL, "no memory for an XML parser");
    }
    st->xml = xml;
    *xml->sax = handlers;
    xml->userData = st;
    xmlCtxtUseOptions(xml, XML_PARSE_NONET | XML_PARSE_IGNORE_ENC | XML_PARSE_NOCDATA);
    xmlParseDocument(xml);
    if (st->rv == APR_SUCCESS && !xml->wellFormed) {
        st->rv = mdm_fail(st->ctx, MDM_EINPUT, NULL, "not well-formed XML");
    }
    if (xml->myDoc) {
        xmlFreeDoc(xml->myDoc);
    }
    xml->myDoc = NULL;
    xmlFreeParserCtxt(xml);
    return st->rv;
}

apr_status_t mdm_autodiscover_read(mdm_ctx_t *ctx, const void *data, apr_size_t len, mdm_autodiscover_t *out)
{
    state_t *st = apr_pcalloc(ctx->pool, sizeof(*st));
    apr_status_t rv;

    memset(out, 0, sizeof(*out));
    st->ctx = ctx;
    if (!data || !len || len > MDM_AUTODISCOVER_MAX || !mdm_utf8_valid(data, len)) {
        return mdm_fail(ctx, MDM_EINPUT, NULL, "an Autodiscover request of at most %d bytes in UTF-8 is expected", MDM_AUTODISCOVER_MAX);
    }
    rv = parse(st, data, len);
    out->mail = mdm_clean(ctx->pool, st->mail, TEXT_MAX);
    out->mobile = !strcmp(mdm_clean(ctx->pool, st->schema, TEXT_MAX), MOBILE);
    return rv;
}

/* ---------------------------------------------------------------- writing */

#define HEAD "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">"

mdm_blob_t mdm_autodiscover_found(apr_pool_t *p, const char *name, const char *mail, const char *url)
{
    mdm_html_t *h = mdm_html_make(p);

    mdm_html_raw(h, HEAD "<Response xmlns=\"" MOBILE "\"><Culture>en:us</Culture><User><DisplayName>");
    mdm_html_text(h, name);
    mdm_html_raw(h, "</DisplayName><EMailAddress>");
    mdm_html_text(h, mail);
    mdm_html_raw(h, "</EMailAddress></User><Action><Settings><Server><Type>MobileSync</Type><Url>");
    mdm_html_text(h, url);
    mdm_html_raw(h, "</Url><Name>");
    mdm_html_text(h, url);
    mdm_html_raw(h, "</Name></Server></Settings></Action></Response></Autodiscover>");
    return mdm_html_out(h);
}

mdm_blob_t mdm_autodiscover_error(apr_pool_t *p, int code, const char *text)
{
    mdm_html_t *h = mdm_html_make(p);

    mdm_html_raw(h, HEAD "<Response><Error><ErrorCode>");
    mdm_html_text(h, apr_itoa(p, code));
    mdm_html_raw(h, "</ErrorCode><Message>");
    mdm_html_text(h, text);
    mdm_html_raw(h, "</Message><DebugData/></Error></Response></Autodiscover>");
    return mdm_html_out(h);
}
