/* Building and writing property lists, and their JSON form. */
#include "wire/mdm_plist.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>
#include <openssl/evp.h>

static const char head[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
    "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
    "<plist version=\"1.0\">\n";

/* ---- building */

void mdm_plist_append(mdm_plist_t *to, const char *key, mdm_plist_t *node)
{
    node->key = key;
    node->next = NULL;
    if (to->last)
        to->last->next = node;
    else
        to->child = node;
    to->last = node;
    to->count++;
}

static mdm_plist_t *make(apr_pool_t *p, mdm_pl_type_e type)
{
    mdm_plist_t *n = apr_pcalloc(p, sizeof(*n));

    n->type = type;
    return n;
}

static mdm_plist_t *add(apr_pool_t *p, mdm_plist_t *to, const char *key, mdm_pl_type_e type)
{
    mdm_plist_t *n = make(p, type);

    mdm_plist_append(to, key ? apr_pstrdup(p, key) : NULL, n);
    return n;
}

mdm_plist_t *mdm_plist_dict(apr_pool_t *p)
{
    return make(p, MDM_PL_DICT);
}

mdm_plist_t *mdm_plist_add_dict(apr_pool_t *p, mdm_plist_t *to, const char *key)
{
    return add(p, to, key, MDM_PL_DICT);
}

mdm_plist_t *mdm_plist_add_array(apr_pool_t *p, mdm_plist_t *to, const char *key)
{
    return add(p, to, key, MDM_PL_ARRAY);
}

static mdm_plist_t *add_text(apr_pool_t *p, mdm_plist_t *to, const char *key, mdm_pl_type_e type,
                             const char *value)
{
    mdm_plist_t *n;

    if (!value)
        return NULL;
    n = add(p, to, key, type);
    n->str = apr_pstrdup(p, value);
    return n;
}

mdm_plist_t *mdm_plist_add_str(apr_pool_t *p, mdm_plist_t *to, const char *key, const char *value)
{
    return add_text(p, to, key, MDM_PL_STRING, value);
}

mdm_plist_t *mdm_plist_add_date(apr_pool_t *p, mdm_plist_t *to, const char *key, const char *rfc3339)
{
    return add_text(p, to, key, MDM_PL_DATE, rfc3339);
}

mdm_plist_t *mdm_plist_add_data(apr_pool_t *p, mdm_plist_t *to, const char *key, const void *data,
                                apr_size_t len)
{
    mdm_plist_t *n = add(p, to, key, MDM_PL_DATA);

    n->data.data = len ? apr_pmemdup(p, data, len) : (const unsigned char *)"";
    n->data.len = len;
    return n;
}

mdm_plist_t *mdm_plist_add_int(apr_pool_t *p, mdm_plist_t *to, const char *key, apr_int64_t value)
{
    mdm_plist_t *n = add(p, to, key, MDM_PL_INT);

    n->i = value;
    return n;
}

mdm_plist_t *mdm_plist_add_real(apr_pool_t *p, mdm_plist_t *to, const char *key, double value)
{
    mdm_plist_t *n = add(p, to, key, MDM_PL_REAL);

    n->real = value;
    return n;
}

mdm_plist_t *mdm_plist_add_bool(apr_pool_t *p, mdm_plist_t *to, const char *key, int value)
{
    mdm_plist_t *n = add(p, to, key, MDM_PL_BOOL);

    n->i = value != 0;
    return n;
}

/* ---- writing */

typedef struct writer_t {
    apr_pool_t *p;
    char *buf;
    apr_size_t used, size;
} writer_t;

static void put(writer_t *w, const char *s, apr_size_t n)
{
    if (n >= w->size - w->used) {
        char *grown;

        while (n >= w->size - w->used)
            w->size *= 2;
        grown = apr_palloc(w->p, w->size);
        memcpy(grown, w->buf, w->used);
        w->buf = grown;
    }
    memcpy(w->buf + w->used, s, n);
    w->used += n;
}

static void put_s(writer_t *w, const char *s)
{
    put(w, s, strlen(s));
}

/* Bytes of the character at s if XML 1.0 can carry it, else 0. */
static apr_size_t xml_char(const char *s, apr_size_t left)
{
    unsigned char c = (unsigned char)*s;
    apr_size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    if (n == 1)
        return c >= 0x20 || c == '\t' || c == '\n' || c == '\r';
    if (n > left || !mdm_utf8_valid(s, n))
        return 0;
    /* U+FFFE and U+FFFF */
    return c == 0xef && (unsigned char)s[1] == 0xbf && (unsigned char)s[2] >= 0xbe ? 0 : n;
}

/* Every text of a document passes here: nothing in it can become markup. */
static void put_escaped(writer_t *w, const char *s)
{
    apr_size_t left = s ? strlen(s) : 0, n;

    for (; left; s += n, left -= n) {
        n = xml_char(s, left);
        if (*s == '&')
            put_s(w, "&amp;");
        else if (*s == '<')
            put_s(w, "&lt;");
        else if (*s == '>')
            put_s(w, "&gt;");
        else if (*s == '\r')
            put_s(w, "&#13;");
        else
            put(w, s, n);
        n = n ? n : 1;
    }
}

static void put_real(writer_t *w, double v)
{
    char num[40], *c;

    snprintf(num, sizeof(num), "%.15g", v);
    if (strtod(num, NULL) != v)
        snprintf(num, sizeof(num), "%.17g", v);
    for (c = num; *c; c++) {
        /* a locale may have put another decimal separator */
        if (!strchr("0123456789+-eE", *c))
            *c = '.';
    }
    put_s(w, num);
}

static void put_indent(writer_t *w, int depth)
{
    while (depth-- > 0)
        put(w, "\t", 1);
}

static apr_status_t put_node(writer_t *w, const mdm_plist_t *node, int depth);

static apr_status_t put_children(writer_t *w, const mdm_plist_t *node, int depth)
{
    const char *tag = node->type == MDM_PL_DICT ? "dict" : "array";
    const mdm_plist_t *n;

    if (depth >= MDM_PLIST_MAX_DEPTH)
        return MDM_ETOOBIG;
    if (!node->child) {
        put_s(w, node->type == MDM_PL_DICT ? "<dict/>\n" : "<array/>\n");
        return APR_SUCCESS;
    }
    put_s(w, node->type == MDM_PL_DICT ? "<dict>\n" : "<array>\n");
    for (n = node->child; n; n = n->next) {
        apr_status_t rv;

        if (node->type == MDM_PL_DICT) {
            if (!n->key)
                return MDM_EINPUT;
            put_indent(w, depth + 1);
            put_s(w, "<key>");
            put_escaped(w, n->key);
            put_s(w, "</key>\n");
        }
        rv = put_node(w, n, depth + 1);
        if (rv != APR_SUCCESS)
            return rv;
    }
    put_indent(w, depth);
    put_s(w, "</");
    put_s(w, tag);
    put_s(w, ">\n");
    return APR_SUCCESS;
}

static apr_status_t put_node(writer_t *w, const mdm_plist_t *node, int depth)
{
    put_indent(w, depth);
    switch (node->type) {
    case MDM_PL_DICT:
    case MDM_PL_ARRAY:
        return put_children(w, node, depth);
    case MDM_PL_STRING:
        put_s(w, "<string>");
        put_escaped(w, node->str);
        put_s(w, "</string>\n");
        break;
    case MDM_PL_DATE:
        put_s(w, "<date>");
        put_escaped(w, node->str);
        put_s(w, "</date>\n");
        break;
    case MDM_PL_DATA:
        put_s(w, "<data>");
        put_s(w, mdm_b64(w->p, node->data.data, node->data.len));
        put_s(w, "</data>\n");
        break;
    case MDM_PL_INT:
        put_s(w, apr_psprintf(w->p, "<integer>%" APR_INT64_T_FMT "</integer>\n", node->i));
        break;
    case MDM_PL_REAL:
        if (!isfinite(node->real))
            return MDM_EINPUT;
        put_s(w, "<real>");
        put_real(w, node->real);
        put_s(w, "</real>\n");
        break;
    case MDM_PL_BOOL:
        put_s(w, node->i ? "<true/>\n" : "<false/>\n");
        break;
    }
    return APR_SUCCESS;
}

apr_status_t mdm_plist_write(apr_pool_t *p, const mdm_plist_t *root, mdm_blob_t *out)
{
    writer_t w = {p, apr_palloc(p, 1024), 0, 1024};
    apr_status_t rv;

    out->data = NULL;
    out->len = 0;
    put_s(&w, head);
    rv = put_node(&w, root, 0);
    if (rv != APR_SUCCESS)
        return rv;
    put_s(&w, "</plist>\n");
    w.buf[w.used] = '\0';
    out->data = (const unsigned char *)w.buf;
    out->len = w.used;
    return APR_SUCCESS;
}

/* ---- JSON */

static json_t *data_json(const mdm_blob_t *b)
{
    /* the result's owner has no pool: encode on the heap */
    unsigned char *text = malloc((b->len + 2) / 3 * 4 + 1);
    json_t *j;

    if (!text)
        return NULL;
    EVP_EncodeBlock(text, b->data, (int)b->len);
    j = json_pack("{s:s}", "$data", (const char *)text);
    free(text);
    return j;
}

static json_t *text_json(const char *s)
{
    json_t *j = json_string(s ? s : "");

    return j ? j : json_null();
}

json_t *mdm_plist_to_json(const mdm_plist_t *node)
{
    const mdm_plist_t *n;
    json_t *j;

    switch (node->type) {
    case MDM_PL_DICT:
        j = json_object();
        for (n = node->child; n; n = n->next)
            json_object_set_new(j, n->key ? n->key : "", mdm_plist_to_json(n));
        return j;
    case MDM_PL_ARRAY:
        j = json_array();
        for (n = node->child; n; n = n->next)
            json_array_append_new(j, mdm_plist_to_json(n));
        return j;
    case MDM_PL_DATA:
        return data_json(&node->data);
    case MDM_PL_DATE:
        j = json_object();
        json_object_set_new(j, "$date", text_json(node->str));
        return j;
    case MDM_PL_INT:
        return json_integer(node->i);
    case MDM_PL_REAL:
        j = json_real(node->real);
        return j ? j : json_null();
    case MDM_PL_BOOL:
        return json_boolean(node->i);
    default:
        return text_json(node->str);
    }
}

typedef struct reader_t {
    mdm_ctx_t *ctx;
    unsigned nodes;
} reader_t;

static apr_status_t from_json(reader_t *r, json_t *j, int depth, mdm_plist_t **out);

static apr_status_t from_children(reader_t *r, json_t *j, int depth, mdm_plist_t *node)
{
    mdm_plist_t *n;
    const char *key;
    apr_status_t rv;
    json_t *v;
    size_t i;

    if (depth >= MDM_PLIST_MAX_DEPTH)
        return mdm_fail(r->ctx, MDM_ETOOBIG, NULL, "nested too deeply");
    if (json_is_array(j)) {
        json_array_foreach(j, i, v) {
            if ((rv = from_json(r, v, depth + 1, &n)) != APR_SUCCESS)
                return rv;
            mdm_plist_append(node, NULL, n);
        }
        return APR_SUCCESS;
    }
    json_object_foreach(j, key, v) {
        if ((rv = from_json(r, v, depth + 1, &n)) != APR_SUCCESS)
            return rv;
        mdm_plist_append(node, apr_pstrdup(r->ctx->pool, key), n);
    }
    return APR_SUCCESS;
}

/* {"$data": …} and {"$date": …}; node->type stays DICT if j is neither. */
static apr_status_t from_special(reader_t *r, json_t *j, mdm_plist_t *node)
{
    const char *s;

    if (json_object_size(j) != 1)
        return APR_SUCCESS;
    if ((s = json_string_value(json_object_get(j, "$data"))) != NULL) {
        if (mdm_unb64(r->ctx->pool, s, strlen(s), &node->data) != APR_SUCCESS)
            return mdm_fail(r->ctx, MDM_EINPUT, "$data", "is not base64");
        node->type = MDM_PL_DATA;
    } else if ((s = json_string_value(json_object_get(j, "$date"))) != NULL) {
        if (!mdm_plist_date_ok(s))
            return mdm_fail(r->ctx, MDM_EINPUT, "$date", "must look like 2026-11-21T10:00:00Z");
        node->str = apr_pstrdup(r->ctx->pool, s);
        node->type = MDM_PL_DATE;
    }
    return APR_SUCCESS;
}

static apr_status_t from_json(reader_t *r, json_t *j, int depth, mdm_plist_t **out)
{
    mdm_plist_t *node = make(r->ctx->pool, MDM_PL_DICT);
    apr_status_t rv;

    *out = node;
    if (++r->nodes > MDM_PLIST_MAX_NODES)
        return mdm_fail(r->ctx, MDM_ETOOBIG, NULL, "too many values");
    switch (j ? json_typeof(j) : JSON_NULL) {
    case JSON_OBJECT:
        rv = from_special(r, j, node);
        if (rv != APR_SUCCESS || node->type != MDM_PL_DICT)
            return rv;
        return from_children(r, j, depth, node);
    case JSON_ARRAY:
        node->type = MDM_PL_ARRAY;
        return from_children(r, j, depth, node);
    case JSON_STRING:
        node->type = MDM_PL_STRING;
        node->str = apr_pstrdup(r->ctx->pool, json_string_value(j));
        return APR_SUCCESS;
    case JSON_INTEGER:
        node->type = MDM_PL_INT;
        node->i = json_integer_value(j);
        return APR_SUCCESS;
    case JSON_REAL:
        node->type = MDM_PL_REAL;
        node->real = json_real_value(j);
        return APR_SUCCESS;
    case JSON_TRUE:
    case JSON_FALSE:
        node->type = MDM_PL_BOOL;
        node->i = json_is_true(j);
        return APR_SUCCESS;
    default:
        return mdm_fail(r->ctx, MDM_EINPUT, NULL, "null has no place in a property list");
    }
}

apr_status_t mdm_plist_from_json(mdm_ctx_t *ctx, json_t *j, mdm_plist_t **out)
{
    reader_t r = {ctx, 0};
    apr_status_t rv = from_json(&r, j, 0, out);

    if (rv != APR_SUCCESS)
        *out = NULL;
    return rv;
}
