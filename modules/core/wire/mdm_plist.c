/* Reading property lists: SAX events of libxml2 into nodes of a pool. Nothing outside the buffer is ever opened. */
#include "wire/mdm_plist.h"

#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>

#define HASH_FROM 16 /* dicts with more keys than this get a hash to find duplicates */
#define PLIST_MAX_BYTES (64 * 1024 * 1024)

typedef enum { EL_NONE, EL_PLIST, EL_KEY, EL_VALUE, EL_TRUE, EL_FALSE } element_e;

typedef struct frame_t {
    mdm_plist_t *node; /* the dict or array */
    const char *key;   /* waiting for its value */
    apr_hash_t *seen;
} frame_t;

typedef struct state_t {
    mdm_ctx_t *ctx;
    xmlParserCtxtPtr xml;
    apr_status_t rv;
    int in_plist, done; /* inside <plist>; the root is complete or begun */
    element_e leaf;     /* an element with text is open */
    mdm_pl_type_e leaf_type;
    unsigned nodes;
    int depth;
    frame_t stack[MDM_PLIST_MAX_DEPTH];
    mdm_plist_t *root;
    char *text;
    apr_size_t used, size;
} state_t;

static const struct {
    const char *name;
    element_e el;
    mdm_pl_type_e type;
} elements[] = {
    {"key", EL_KEY, MDM_PL_STRING},      {"string", EL_VALUE, MDM_PL_STRING},
    {"dict", EL_VALUE, MDM_PL_DICT},     {"data", EL_VALUE, MDM_PL_DATA},
    {"true", EL_TRUE, MDM_PL_BOOL},      {"false", EL_FALSE, MDM_PL_BOOL},
    {"integer", EL_VALUE, MDM_PL_INT},   {"array", EL_VALUE, MDM_PL_ARRAY},
    {"date", EL_VALUE, MDM_PL_DATE},     {"real", EL_VALUE, MDM_PL_REAL},
    {"plist", EL_PLIST, MDM_PL_DICT},
};

/* Refuses the document: the first reason stays. */
static void refuse(state_t *st, apr_status_t rv, const char *why, const char *what)
{
    int line = st->xml->input ? st->xml->input->line : 0;

    if (st->rv != APR_SUCCESS)
        return;
    st->rv = mdm_fail(st->ctx, rv, NULL, "property list, line %d: %s%s%s", line, why,
                      what ? " " : "", what ? mdm_clean(st->ctx->pool, what, 60) : "");
    xmlStopParser(st->xml);
}

static int is_blank(const char *s, apr_size_t len)
{
    while (len && (*s == ' ' || *s == '\n' || *s == '\t' || *s == '\r')) {
        s++;
        len--;
    }
    return len == 0;
}

/* The text of a leaf without the white space around it. */
static char *trimmed(state_t *st)
{
    char *s = st->text, *end = st->text + st->used;

    while (s < end && is_blank(s, 1))
        s++;
    while (end > s && is_blank(end - 1, 1))
        end--;
    *end = '\0';
    return s;
}

int mdm_plist_date_ok(const char *s)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int i, month, day;

    for (i = 0; form[i]; i++) {
        if (form[i] == 'd' ? (s[i] < '0' || s[i] > '9') : s[i] != form[i])
            return 0;
    }
    month = (s[5] - '0') * 10 + s[6] - '0';
    day = (s[8] - '0') * 10 + s[9] - '0';
    return !s[i] && month >= 1 && month <= 12 && day >= 1 && day <= month_days[month - 1] &&
           strncmp(s + 11, "24", 2) < 0 && s[14] < '6' && s[17] < '6';
}

/* A finite decimal number, whatever the locale of the process is. */
static int real_ok(const char *s, double *out)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    char *end = NULL;
    int ok = *s && strspn(s, "0123456789+-.eE") == strlen(s) && c != (locale_t)0;

    if (ok)
        *out = strtod_l(s, &end, c);
    if (c != (locale_t)0)
        freelocale(c);
    return ok && end != s && !*end && isfinite(*out);
}

/* Gives node its content from the collected text. */
static const char *leaf_value(state_t *st, mdm_plist_t *node)
{
    const char *s;

    switch (node->type) {
    case MDM_PL_STRING:
        node->str = apr_pstrmemdup(st->ctx->pool, st->text, st->used);
        return NULL;
    case MDM_PL_DATA:
        return mdm_unb64(st->ctx->pool, st->text, st->used, &node->data) == APR_SUCCESS
                   ? NULL
                   : "<data> is not base64";
    case MDM_PL_INT:
        s = trimmed(st);
        if (*s == '+')
            s += s[1] >= '0' && s[1] <= '9';
        return mdm_parse_i64(s, APR_INT64_MIN, APR_INT64_MAX, &node->i) == APR_SUCCESS
                   ? NULL
                   : "<integer> is not a decimal number of 64 bits";
    case MDM_PL_REAL:
        return real_ok(trimmed(st), &node->real) ? NULL : "<real> is not a finite number";
    case MDM_PL_DATE:
        s = trimmed(st);
        if (!mdm_plist_date_ok(s))
            return "<date> is not of the form 2026-11-21T10:00:00Z";
        node->str = apr_pstrdup(st->ctx->pool, s);
        return NULL;
    default:
        return is_blank(st->text, st->used) ? NULL : "<true/> and <false/> are empty";
    }
}

/* True if key was seen in this dict before. */
static int seen_before(state_t *st, frame_t *f, const char *key)
{
    const mdm_plist_t *n;

    if (f->node->count < HASH_FROM)
        return mdm_plist_get(f->node, key) != NULL;
    if (!f->seen) {
        f->seen = apr_hash_make(st->ctx->pool);
        for (n = f->node->child; n; n = n->next)
            apr_hash_set(f->seen, n->key, APR_HASH_KEY_STRING, n);
    }
    if (apr_hash_get(f->seen, key, APR_HASH_KEY_STRING))
        return 1;
    apr_hash_set(f->seen, key, APR_HASH_KEY_STRING, key);
    return 0;
}

static void end_key(state_t *st)
{
    frame_t *f = &st->stack[st->depth - 1];
    char *key = apr_pstrmemdup(st->ctx->pool, st->text, st->used);

    if (seen_before(st, f, key)) {
        refuse(st, MDM_EINPUT, "this key is there twice:", key);
        return;
    }
    f->key = key;
}

/* Makes the node for a value element and hangs it into its place; NULL if there is no place for it. */
static mdm_plist_t *place_node(state_t *st, mdm_pl_type_e type)
{
    frame_t *f = st->depth ? &st->stack[st->depth - 1] : NULL;
    mdm_plist_t *node;

    if (++st->nodes > MDM_PLIST_MAX_NODES) {
        refuse(st, MDM_ETOOBIG, "too many values", NULL);
        return NULL;
    }
    if (!f && st->done) {
        refuse(st, MDM_EINPUT, "more than one value", NULL);
        return NULL;
    }
    if (f && f->node->type == MDM_PL_DICT && !f->key) {
        refuse(st, MDM_EINPUT, "a value in a <dict> has no <key>", NULL);
        return NULL;
    }
    node = apr_pcalloc(st->ctx->pool, sizeof(*node));
    node->type = type;
    if (!f) {
        st->root = node;
        st->done = 1;
    } else {
        mdm_plist_append(f->node, f->key, node);
        f->key = NULL;
    }
    return node;
}

static void open_value(state_t *st, mdm_pl_type_e type)
{
    mdm_plist_t *node;

    if (type == MDM_PL_DICT || type == MDM_PL_ARRAY) {
        if (st->depth == MDM_PLIST_MAX_DEPTH) {
            refuse(st, MDM_ETOOBIG, "nested too deeply", NULL);
            return;
        }
        if ((node = place_node(st, type)) != NULL)
            st->stack[st->depth++] = (frame_t){node, NULL, NULL};
        return;
    }
    st->leaf = EL_VALUE;
    st->leaf_type = type;
    st->used = 0;
}

static void on_start(void *baton, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                     int nb_ns, const xmlChar **ns, int nb_attr, int nb_defaulted,
                     const xmlChar **attr)
{
    state_t *st = baton;
    element_e el = EL_NONE;
    unsigned i;

    for (i = 0; i < sizeof(elements) / sizeof(elements[0]); i++) {
        if (strcmp((const char *)name, elements[i].name) == 0) {
            el = elements[i].el;
            break;
        }
    }
    if (el == EL_NONE || prefix || nb_ns || (nb_attr && el != EL_PLIST)) {
        refuse(st, MDM_EINPUT, "unknown element", (const char *)name);
    } else if (st->leaf != EL_NONE) {
        refuse(st, MDM_EINPUT, "an element inside a simple value:", (const char *)name);
    } else if ((el == EL_PLIST) == st->in_plist) {
        refuse(st, MDM_EINPUT, "not in its place:", (const char *)name);
    } else if (el == EL_PLIST) {
        st->in_plist = 1;
    } else if (el == EL_KEY) {
        frame_t *f = st->depth ? &st->stack[st->depth - 1] : NULL;

        if (!f || f->node->type != MDM_PL_DICT || f->key)
            refuse(st, MDM_EINPUT, "a <key> is not in its place", NULL);
        st->leaf = EL_KEY;
        st->used = 0;
    } else {
        open_value(st, elements[i].type);
        if (el == EL_TRUE || el == EL_FALSE)
            st->leaf = el;
    }
}

static void end_leaf(state_t *st)
{
    const char *why;
    mdm_plist_t *node;
    element_e el = st->leaf;

    st->leaf = EL_NONE;
    st->text[st->used] = '\0';
    if (el == EL_KEY) {
        end_key(st);
        return;
    }
    if (!(node = place_node(st, st->leaf_type)))
        return;
    node->i = el == EL_TRUE;
    if ((why = leaf_value(st, node)) != NULL)
        refuse(st, MDM_EINPUT, why, NULL);
}

/* libxml2 has checked that tags match, so the innermost open thing is the one that ends. */
static void on_end(void *baton, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    state_t *st = baton;

    if (st->rv != APR_SUCCESS)
        return;
    if (st->leaf != EL_NONE) {
        end_leaf(st);
    } else if (st->depth) {
        if (st->stack[st->depth - 1].key)
            refuse(st, MDM_EINPUT, "a <key> has no value", NULL);
        st->depth--;
    }
}

static void on_text(void *baton, const xmlChar *s, int len)
{
    state_t *st = baton;
    apr_size_t n = (apr_size_t)len;

    if (st->leaf == EL_NONE) {
        if (!is_blank((const char *)s, n))
            refuse(st, MDM_EINPUT, "text outside of a value", NULL);
        return;
    }
    if (n >= st->size - st->used) {
        char *grown;

        while (n >= st->size - st->used)
            st->size *= 2;
        grown = apr_palloc(st->ctx->pool, st->size);
        memcpy(grown, st->text, st->used);
        st->text = grown;
    }
    memcpy(st->text + st->used, s, n);
    st->used += n;
}

/* The DOCTYPE line may name Apple's DTD, which is never loaded; an internal subset is refused before it is read. */
static void on_doctype(void *baton, const xmlChar *name, const xmlChar *public_id,
                       const xmlChar *system_id)
{
    state_t *st = baton;
    xmlParserInputPtr in = st->xml->input;

    if (in && in->cur && *in->cur == '[')
        refuse(st, MDM_EINPUT, "a DOCTYPE with declarations", NULL);
}

static xmlEntityPtr on_entity(void *baton, const xmlChar *name)
{
    refuse(baton, MDM_EINPUT, "an entity:", (const char *)name);
    return NULL;
}

static void on_reference(void *baton, const xmlChar *name)
{
    refuse(baton, MDM_EINPUT, "an entity:", (const char *)name);
}

static void on_error(void *baton, xmlErrorPtr err)
{
    if (err->level >= XML_ERR_ERROR)
        refuse(baton, MDM_EINPUT, err->message ? "not well-formed XML:" : "not well-formed XML",
               err->message);
}

static const xmlSAXHandler handlers = {
    .internalSubset = on_doctype,
    .getEntity = on_entity,
    .getParameterEntity = on_entity,
    .reference = on_reference,
    .characters = on_text,
    .ignorableWhitespace = on_text,
    .cdataBlock = on_text,
    .startElementNs = on_start,
    .endElementNs = on_end,
    .serror = (xmlStructuredErrorFunc)on_error,
    .initialized = XML_SAX2_MAGIC,
};

static apr_status_t run_parser(state_t *st, const void *buf, apr_size_t len)
{
    xmlParserCtxtPtr xml = xmlCreateMemoryParserCtxt(buf, (int)len);

    if (!xml)
        return mdm_fail(st->ctx, MDM_EUNAVAIL, NULL, "no memory for an XML parser");
    st->xml = xml;
    *xml->sax = handlers;
    xml->userData = st;
    /* read as UTF-8 (checked before), whatever the XML declaration says */
    xmlCtxtUseOptions(xml, XML_PARSE_NONET | XML_PARSE_IGNORE_ENC | XML_PARSE_NOCDATA);
    xmlParseDocument(xml);
    if (st->rv == APR_SUCCESS && !xml->wellFormed)
        refuse(st, MDM_EINPUT, "not well-formed XML", NULL);
    if (xml->myDoc)
        xmlFreeDoc(xml->myDoc);
    xml->myDoc = NULL;
    xmlFreeParserCtxt(xml);
    return st->rv;
}

apr_status_t mdm_plist_parse(mdm_ctx_t *ctx, const void *buf, apr_size_t len, mdm_plist_t **out)
{
    char first[1024];
    state_t st;
    apr_status_t rv;

    *out = NULL;
    if (!buf || !len)
        return mdm_fail(ctx, MDM_EINPUT, NULL, "a property list is expected, nothing came");
    if (len > PLIST_MAX_BYTES)
        return mdm_fail(ctx, MDM_ETOOBIG, NULL, "the property list is too large");
    if (len >= 6 && memcmp(buf, "bplist", 6) == 0)
        return mdm_fail(ctx, MDM_EINPUT, NULL, "binary property lists are not accepted, send XML");
    if (!mdm_utf8_valid(buf, len))
        return mdm_fail(ctx, MDM_EINPUT, NULL, "the property list is not UTF-8");
    memset(&st, 0, sizeof(st));
    st.ctx = ctx;
    st.text = first;
    st.size = sizeof(first);
    rv = run_parser(&st, buf, len);
    if (rv == APR_SUCCESS && !st.root)
        rv = mdm_fail(ctx, MDM_EINPUT, NULL, "the property list is empty");
    if (rv == APR_SUCCESS)
        *out = st.root;
    return rv;
}

/* ---- access */

const mdm_plist_t *mdm_plist_get(const mdm_plist_t *dict, const char *key)
{
    const mdm_plist_t *n;

    if (!dict || dict->type != MDM_PL_DICT)
        return NULL;
    for (n = dict->child; n; n = n->next) {
        if (strcmp(n->key, key) == 0)
            return n;
    }
    return NULL;
}

static const mdm_plist_t *typed(const mdm_plist_t *dict, const char *key, mdm_pl_type_e type)
{
    const mdm_plist_t *n = mdm_plist_get(dict, key);

    return n && n->type == type ? n : NULL;
}

const char *mdm_plist_str(const mdm_plist_t *dict, const char *key)
{
    const mdm_plist_t *n = typed(dict, key, MDM_PL_STRING);

    return n ? n->str : NULL;
}

const mdm_blob_t *mdm_plist_data(const mdm_plist_t *dict, const char *key)
{
    const mdm_plist_t *n = typed(dict, key, MDM_PL_DATA);

    return n ? &n->data : NULL;
}

apr_int64_t mdm_plist_int(const mdm_plist_t *dict, const char *key, apr_int64_t def)
{
    const mdm_plist_t *n = typed(dict, key, MDM_PL_INT);

    return n ? n->i : def;
}

double mdm_plist_real(const mdm_plist_t *dict, const char *key, double def)
{
    const mdm_plist_t *n = mdm_plist_get(dict, key);

    if (n && n->type == MDM_PL_INT)
        return (double)n->i;
    return n && n->type == MDM_PL_REAL ? n->real : def;
}

int mdm_plist_bool(const mdm_plist_t *dict, const char *key, int def)
{
    const mdm_plist_t *n = typed(dict, key, MDM_PL_BOOL);

    return n ? n->i != 0 : def;
}

apr_status_t mdm_plist_need_str(mdm_ctx_t *ctx, const mdm_plist_t *dict, const char *key,
                                apr_size_t max, const char **out)
{
    const char *s = mdm_plist_str(dict, key);

    *out = NULL;
    if (!s || !*s)
        return mdm_fail(ctx, MDM_EINPUT, key, "is missing or not a string");
    if (strlen(s) > max)
        return mdm_fail(ctx, MDM_EINPUT, key, "must not be longer than %lu bytes",
                        (unsigned long)max);
    *out = s;
    return APR_SUCCESS;
}
