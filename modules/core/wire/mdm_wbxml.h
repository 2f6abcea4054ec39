/* Owns WBXML as ActiveSync uses it: a push parser without memory of its own, a small tree on top of it, a writer, names of tags. */
#ifndef MDM_WBXML_H
#define MDM_WBXML_H

#include "base/mdm_text.h"

#define MDM_WBXML_MAX_DEPTH 64
#define MDM_WBXML_MAX_NODES 20000      /* of a tree */
#define MDM_WBXML_MAX_TREE (64 * 1024) /* bytes of a document that becomes a tree */
#define MDM_WBXML_MAX_TABLE 1024       /* bytes of a string table, which is skipped */

/* A tag is its code page and its token: 0x0705 is token 05 of page 07. MDM_WB_<page>_<name> for those with a name. */
enum {
#define P(page, shortname, space)
#define T(shortname, page, token, name) MDM_WB_##shortname##_##name = (page) << 8 | (token),
#include "wire/mdm_wbxml_pages.def"
#undef P
#undef T
    MDM_WB_NONE = -1
};

/* A tag's name without its namespace, a page's namespace; NULL for unknown ones. */
const char *mdm_wbxml_name(int tag);
const char *mdm_wbxml_space(int tag);

/* Events of the parser. What a function returns other than APR_SUCCESS ends the parsing with that result. Any may be NULL.
 * Text comes in pieces as the input does; pieces of one value follow each other. An element without content has start and end too. */
typedef struct mdm_wbxml_sink_t {
    apr_status_t (*start)(void *baton, int tag);
    apr_status_t (*text)(void *baton, const unsigned char *data, apr_size_t len, int opaque);
    apr_status_t (*end)(void *baton, int tag);
} mdm_wbxml_sink_t;

/* State of one document; the fields are the parser's own. Needs no clean-up. */
typedef struct mdm_wbxml_t {
    const mdm_wbxml_sink_t *sink;
    void *baton;
    int state, page, depth, done;
    unsigned digits;      /* of the number being read */
    apr_uint32_t number;
    apr_size_t left;      /* bytes of the opaque value or string table */
    apr_status_t rv;
    const char *why;
    unsigned short stack[MDM_WBXML_MAX_DEPTH];
} mdm_wbxml_t;

void mdm_wbxml_init(mdm_wbxml_t *w, const mdm_wbxml_sink_t *sink, void *baton);

/* Takes the next bytes, in any division. MDM_EINPUT for what ActiveSync does not use (attributes, entities, literals, references into
 * the string table, extensions), MDM_ETOOBIG for too deep nesting, or the sink's result; it stays then. w->why says the reason.
 * Unknown pages and tags are events like others. */
apr_status_t mdm_wbxml_push(mdm_wbxml_t *w, const void *data, apr_size_t len);

/* At the end of the input: MDM_EINPUT unless exactly one element is complete. */
apr_status_t mdm_wbxml_finish(mdm_wbxml_t *w);

/* A small document as a tree. */
typedef struct mdm_wbnode_t mdm_wbnode_t;
struct mdm_wbnode_t {
    int tag;
    mdm_wbnode_t *next, *child, *last;
    mdm_blob_t content; /* text or opaque bytes of the element itself, joined; NUL-terminated behind len */
    int opaque;
};

/* Reads a document into ctx->pool; MDM_EINPUT or MDM_ETOOBIG with mdm_fail otherwise, *out is NULL then. */
apr_status_t mdm_wbxml_parse(mdm_ctx_t *ctx, const void *buf, apr_size_t len, mdm_wbnode_t **out);

/* The first child with this tag; NULL if there is none or node is NULL. */
const mdm_wbnode_t *mdm_wbxml_get(const mdm_wbnode_t *node, int tag);
/* The content of that child as clean UTF-8 of at most max bytes; NULL if it is not there. */
char *mdm_wbxml_str(apr_pool_t *p, const mdm_wbnode_t *node, int tag, apr_size_t max);
/* That child's content as a decimal number in [min,max]; def if it is absent, empty or something else. */
apr_int64_t mdm_wbxml_int(const mdm_wbnode_t *node, int tag, apr_int64_t min, apr_int64_t max, apr_int64_t def);

/* Writing. Tags are given with their page; the writer changes pages. */
typedef struct mdm_wbout_t {
    apr_pool_t *pool;
    unsigned char *buf;
    apr_size_t used, size;
    int page, depth;
} mdm_wbout_t;

void mdm_wbxml_begin(mdm_wbout_t *o, apr_pool_t *p);
void mdm_wbxml_open(mdm_wbout_t *o, int tag);
void mdm_wbxml_close(mdm_wbout_t *o);
void mdm_wbxml_empty(mdm_wbout_t *o, int tag);
/* A whole element: text (NULL: nothing is written, "": an empty tag), a number, bytes. */
void mdm_wbxml_put(mdm_wbout_t *o, int tag, const char *text);
void mdm_wbxml_put_int(mdm_wbout_t *o, int tag, apr_int64_t number);
void mdm_wbxml_put_opaque(mdm_wbout_t *o, int tag, const void *data, apr_size_t len);
/* A copy of a tree. */
void mdm_wbxml_put_node(mdm_wbout_t *o, const mdm_wbnode_t *node);
/* Closes what is open. */
mdm_blob_t mdm_wbxml_end(mdm_wbout_t *o);

#endif
