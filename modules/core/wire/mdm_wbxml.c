/* WBXML 1.x without string references: a byte-wise machine, so that any division of the input gives the same events. */
#include "wire/mdm_wbxml.h"

#include <string.h>
#include <apr_strings.h>

enum { TOK_SWITCH_PAGE = 0x00, TOK_END = 0x01, TOK_STR_I = 0x03, TOK_OPAQUE = 0xc3, TOK_FIRST_TAG = 0x05,
       HAS_CONTENT = 0x40, HAS_ATTRIBUTES = 0x80, TOKEN_BITS = 0x3f };

typedef enum {
    S_VERSION, S_PUBLIC_ID, S_PUBLIC_INDEX, S_CHARSET, S_TABLE_LENGTH, S_TABLE, S_BODY, S_PAGE, S_STRING, S_LENGTH, S_OPAQUE
} state_e;

static apr_status_t stop(mdm_wbxml_t *w, apr_status_t rv, const char *why)
{
    w->rv = rv;
    w->why = why;
    return rv;
}

void mdm_wbxml_init(mdm_wbxml_t *w, const mdm_wbxml_sink_t *sink, void *baton)
{
    memset(w, 0, sizeof(*w));
    w->sink = sink;
    w->baton = baton;
}

/* One more byte of a number of up to 32 bits; 1: it is complete. */
static int number(mdm_wbxml_t *w, unsigned c)
{
    if (w->digits == 0)
        w->number = 0;
    if (++w->digits > 5 || w->number >> 25) {
        stop(w, MDM_EINPUT, "a number of more than 32 bits");
        return 0;
    }
    w->number = w->number << 7 | (c & 0x7f);
    if (c & 0x80)
        return 0;
    w->digits = 0;
    return 1;
}

static void closed(mdm_wbxml_t *w)
{
    w->done = w->depth == 0;
}

static apr_status_t on_tag(mdm_wbxml_t *w, unsigned c)
{
    int tag = w->page << 8 | (int)(c & TOKEN_BITS);
    apr_status_t rv = w->sink->start ? w->sink->start(w->baton, tag) : APR_SUCCESS;

    if (rv != APR_SUCCESS)
        return stop(w, rv, "ended by the reader");
    if (c & HAS_CONTENT) {
        if (w->depth == MDM_WBXML_MAX_DEPTH)
            return stop(w, MDM_ETOOBIG, "nested too deeply");
        w->stack[w->depth++] = (unsigned short)tag;
        return APR_SUCCESS;
    }
    if (w->sink->end && (rv = w->sink->end(w->baton, tag)) != APR_SUCCESS)
        return stop(w, rv, "ended by the reader");
    closed(w);
    return APR_SUCCESS;
}

static apr_status_t on_end(mdm_wbxml_t *w)
{
    apr_status_t rv;

    if (!w->depth)
        return stop(w, MDM_EINPUT, "an end without a start");
    rv = w->sink->end ? w->sink->end(w->baton, w->stack[w->depth - 1]) : APR_SUCCESS;
    w->depth--;
    closed(w);
    return rv == APR_SUCCESS ? rv : stop(w, rv, "ended by the reader");
}

static apr_status_t body(mdm_wbxml_t *w, unsigned c)
{
    if (w->done)
        return stop(w, MDM_EINPUT, "something follows the document");
    if (c == TOK_SWITCH_PAGE) {
        w->state = S_PAGE;
    } else if (c == TOK_END) {
        return on_end(w);
    } else if (c == TOK_STR_I || c == TOK_OPAQUE) {
        if (!w->depth)
            return stop(w, MDM_EINPUT, "text outside of elements");
        w->state = c == TOK_STR_I ? S_STRING : S_LENGTH;
    } else if (c & HAS_ATTRIBUTES || (c & TOKEN_BITS) < TOK_FIRST_TAG) {
        return stop(w, MDM_EINPUT, "a token that ActiveSync does not use");
    } else {
        return on_tag(w, c);
    }
    return APR_SUCCESS;
}

/* States of one byte. The header's public identifier and character set are the same for all clients in effect. */
static apr_status_t step(mdm_wbxml_t *w, unsigned c)
{
    switch (w->state) {
    case S_VERSION:
        if (c > 3)
            return stop(w, MDM_EINPUT, "not WBXML");
        w->state = S_PUBLIC_ID;
        break;
    case S_PUBLIC_ID:
        if (number(w, c))
            w->state = w->number ? S_CHARSET : S_PUBLIC_INDEX;
        break;
    case S_PUBLIC_INDEX:
        if (number(w, c))
            w->state = S_CHARSET;
        break;
    case S_CHARSET:
        if (!number(w, c))
            break;
        if (w->number != 0x6a && w->number != 3 && w->number != 0)
            return stop(w, MDM_EINPUT, "not in UTF-8");
        w->state = S_TABLE_LENGTH;
        break;
    case S_TABLE_LENGTH:
        if (!number(w, c))
            break;
        if (w->number > MDM_WBXML_MAX_TABLE)
            return stop(w, MDM_ETOOBIG, "a string table");
        w->left = w->number;
        w->state = w->left ? S_TABLE : S_BODY;
        break;
    case S_PAGE:
        w->page = (int)c;
        w->state = S_BODY;
        break;
    case S_LENGTH:
        if (number(w, c)) {
            w->left = w->number;
            w->state = w->left ? S_OPAQUE : S_BODY;
        }
        break;
    default:
        return body(w, c);
    }
    return w->rv;
}

/* Runs of bytes: text to its NUL, opaque bytes, the string table. Returns how many were taken. */
static apr_size_t run(mdm_wbxml_t *w, const unsigned char *at, apr_size_t len)
{
    const unsigned char *nul = w->state == S_STRING ? memchr(at, 0, len) : NULL;
    apr_size_t n = w->state == S_STRING ? (nul ? (apr_size_t)(nul - at) : len) : len < w->left ? len : w->left;
    int is_text = w->state != S_TABLE;
    apr_status_t rv = APR_SUCCESS;

    if (n && is_text && w->sink->text)
        rv = w->sink->text(w->baton, at, n, w->state == S_OPAQUE);
    if (w->state == S_STRING ? nul != NULL : (w->left -= n) == 0)
        w->state = S_BODY;
    if (rv != APR_SUCCESS)
        stop(w, rv, "ended by the reader");
    return n + (nul != NULL);
}

apr_status_t mdm_wbxml_push(mdm_wbxml_t *w, const void *data, apr_size_t len)
{
    const unsigned char *at = data, *end = at + len;

    while (at < end && w->rv == APR_SUCCESS) {
        if (w->state == S_STRING || w->state == S_OPAQUE || w->state == S_TABLE)
            at += run(w, at, (apr_size_t)(end - at));
        else
            step(w, *at++);
    }
    return w->rv;
}

apr_status_t mdm_wbxml_finish(mdm_wbxml_t *w)
{
    if (w->rv != APR_SUCCESS)
        return w->rv;
    return w->done && w->state == S_BODY ? APR_SUCCESS : stop(w, MDM_EINPUT, "cut off");
}

/* ---- tree ---- */

typedef struct tree_t {
    apr_pool_t *pool;
    mdm_wbnode_t *root, *stack[MDM_WBXML_MAX_DEPTH + 1];
    apr_size_t room[MDM_WBXML_MAX_DEPTH + 1];
    unsigned depth, nodes;
} tree_t;

static apr_status_t tree_start(void *baton, int tag)
{
    tree_t *t = baton;
    mdm_wbnode_t *node, *up = t->depth ? t->stack[t->depth - 1] : NULL;

    if (++t->nodes > MDM_WBXML_MAX_NODES || t->depth > MDM_WBXML_MAX_DEPTH)
        return MDM_ETOOBIG;
    node = apr_pcalloc(t->pool, sizeof(*node));
    node->tag = tag;
    node->content.data = (const unsigned char *)"";
    if (!up)
        t->root = node;
    else if (up->last)
        up->last = up->last->next = node;
    else
        up->child = up->last = node;
    t->room[t->depth] = 0;
    t->stack[t->depth++] = node;
    return APR_SUCCESS;
}

static apr_status_t tree_text(void *baton, const unsigned char *data, apr_size_t len, int opaque)
{
    tree_t *t = baton;
    mdm_wbnode_t *node = t->stack[t->depth - 1];
    apr_size_t used = node->content.len, *room = &t->room[t->depth - 1];
    unsigned char *buf = (unsigned char *)node->content.data;

    if (used + len + 1 > *room) {
        *room = (used + len + 1) * (used ? 2 : 1);
        buf = apr_palloc(t->pool, *room);
        memcpy(buf, node->content.data, used);
    }
    memcpy(buf + used, data, len);
    buf[used + len] = '\0';
    node->content = (mdm_blob_t){buf, used + len};
    node->opaque |= opaque;
    return APR_SUCCESS;
}

static apr_status_t tree_end(void *baton, int tag)
{
    ((tree_t *)baton)->depth--;
    return APR_SUCCESS;
}

apr_status_t mdm_wbxml_parse(mdm_ctx_t *ctx, const void *buf, apr_size_t len, mdm_wbnode_t **out)
{
    static const mdm_wbxml_sink_t sink = {tree_start, tree_text, tree_end};
    tree_t *t = apr_pcalloc(ctx->pool, sizeof(*t));
    mdm_wbxml_t w;

    *out = NULL;
    if (len > MDM_WBXML_MAX_TREE)
        return mdm_fail(ctx, MDM_ETOOBIG, NULL, "the document is larger than %d bytes", MDM_WBXML_MAX_TREE);
    t->pool = ctx->pool;
    mdm_wbxml_init(&w, &sink, t);
    mdm_wbxml_push(&w, buf, len);
    if (mdm_wbxml_finish(&w) != APR_SUCCESS)
        return mdm_fail(ctx, w.rv, NULL, "the document can't be read: %s", w.why);
    *out = t->root;
    return APR_SUCCESS;
}

const mdm_wbnode_t *mdm_wbxml_get(const mdm_wbnode_t *node, int tag)
{
    const mdm_wbnode_t *n = node ? node->child : NULL;

    while (n && n->tag != tag)
        n = n->next;
    return n;
}

char *mdm_wbxml_str(apr_pool_t *p, const mdm_wbnode_t *node, int tag, apr_size_t max)
{
    const mdm_wbnode_t *n = mdm_wbxml_get(node, tag);

    return n ? mdm_clean(p, (const char *)n->content.data, max) : NULL;
}

apr_int64_t mdm_wbxml_int(const mdm_wbnode_t *node, int tag, apr_int64_t min, apr_int64_t max, apr_int64_t def)
{
    const mdm_wbnode_t *n = mdm_wbxml_get(node, tag);
    apr_int64_t value;

    if (!n || strlen((const char *)n->content.data) != n->content.len ||
        mdm_parse_i64((const char *)n->content.data, min, max, &value) != APR_SUCCESS)
        return def;
    return value;
}

/* ---- writing ---- */

static void put(mdm_wbout_t *o, const void *data, apr_size_t len)
{
    if (o->size - o->used < len) {
        unsigned char *grown;

        o->size = (o->size + len) * 2;
        grown = apr_palloc(o->pool, o->size);
        memcpy(grown, o->buf, o->used);
        o->buf = grown;
    }
    memcpy(o->buf + o->used, data, len);
    o->used += len;
}

static void put_byte(mdm_wbout_t *o, int c)
{
    unsigned char byte = (unsigned char)c;

    put(o, &byte, 1);
}

static void put_tag(mdm_wbout_t *o, int tag, int content)
{
    if (tag >> 8 != o->page) {
        put_byte(o, TOK_SWITCH_PAGE);
        put_byte(o, o->page = tag >> 8);
    }
    put_byte(o, (tag & TOKEN_BITS) | content);
}

void mdm_wbxml_begin(mdm_wbout_t *o, apr_pool_t *p)
{
    memset(o, 0, sizeof(*o));
    o->pool = p;
    o->size = 256;
    o->buf = apr_palloc(p, o->size);
    put(o, "\x03\x01\x6a\x00", 4);
}

void mdm_wbxml_open(mdm_wbout_t *o, int tag)
{
    put_tag(o, tag, HAS_CONTENT);
    o->depth++;
}

void mdm_wbxml_close(mdm_wbout_t *o)
{
    put_byte(o, TOK_END);
    o->depth--;
}

void mdm_wbxml_empty(mdm_wbout_t *o, int tag)
{
    put_tag(o, tag, 0);
}

static void put_text(mdm_wbout_t *o, const char *text)
{
    put_byte(o, TOK_STR_I);
    put(o, text, strlen(text) + 1);
}

static void put_bytes(mdm_wbout_t *o, const void *data, apr_size_t len)
{
    int shift = 28;

    put_byte(o, TOK_OPAQUE);
    while (shift && !(len >> shift))
        shift -= 7;
    for (; shift; shift -= 7)
        put_byte(o, (int)(0x80 | (len >> shift & 0x7f)));
    put_byte(o, (int)(len & 0x7f));
    put(o, data, len);
}

void mdm_wbxml_put(mdm_wbout_t *o, int tag, const char *text)
{
    if (!text)
        return;
    if (!*text) {
        mdm_wbxml_empty(o, tag);
        return;
    }
    mdm_wbxml_open(o, tag);
    put_text(o, text);
    mdm_wbxml_close(o);
}

void mdm_wbxml_put_int(mdm_wbout_t *o, int tag, apr_int64_t n)
{
    mdm_wbxml_put(o, tag, apr_psprintf(o->pool, "%" APR_INT64_T_FMT, n));
}

void mdm_wbxml_put_opaque(mdm_wbout_t *o, int tag, const void *data, apr_size_t len)
{
    mdm_wbxml_open(o, tag);
    put_bytes(o, data, len);
    mdm_wbxml_close(o);
}

/* The depth is bounded because trees come from the parser or from code. */
void mdm_wbxml_put_node(mdm_wbout_t *o, const mdm_wbnode_t *node)
{
    const mdm_wbnode_t *n;

    if (!node->child && !node->content.len) {
        mdm_wbxml_empty(o, node->tag);
        return;
    }
    mdm_wbxml_open(o, node->tag);
    if (node->content.len && (node->opaque || memchr(node->content.data, 0, node->content.len)))
        put_bytes(o, node->content.data, node->content.len);
    else if (node->content.len)
        put_text(o, (const char *)node->content.data);
    for (n = node->child; n; n = n->next)
        mdm_wbxml_put_node(o, n);
    mdm_wbxml_close(o);
}

mdm_blob_t mdm_wbxml_end(mdm_wbout_t *o)
{
    while (o->depth)
        mdm_wbxml_close(o);
    put_byte(o, 0);
    return (mdm_blob_t){o->buf, o->used - 1};
}
