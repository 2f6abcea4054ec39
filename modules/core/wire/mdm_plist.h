/* Owns Apple property lists (XML): strict bounded reading (libxml2 SAX, no DTD load, no entities, no network), writing. */
#ifndef MDM_PLIST_H
#define MDM_PLIST_H

#include <jansson.h>
#include "base/mdm_text.h"

#define MDM_PLIST_MAX_DEPTH 32
#define MDM_PLIST_MAX_NODES 200000

typedef enum { MDM_PL_DICT, MDM_PL_ARRAY, MDM_PL_STRING, MDM_PL_DATA, MDM_PL_INT, MDM_PL_REAL, MDM_PL_BOOL, MDM_PL_DATE } mdm_pl_type_e;

typedef struct mdm_plist_t mdm_plist_t;
struct mdm_plist_t {
    mdm_pl_type_e type;
    const char *key;          /* in a dict */
    mdm_plist_t *next;        /* sibling */
    mdm_plist_t *child, *last; /* DICT, ARRAY */
    unsigned count;           /* DICT, ARRAY: children */
    const char *str;          /* STRING, DATE (RFC 3339 text) */
    mdm_blob_t data;          /* DATA */
    apr_int64_t i;            /* INT, BOOL; unsigned integers above INT64_MAX are refused */
    double real;
};

/* Parses an XML property list into ctx->pool. MDM_EINPUT (mdm_fail: line and reason) for anything that is not exactly one well-formed
 * plist; MDM_ETOOBIG beyond depth or node limits. Internal DTD subsets and entities other than the five are refused; the usual
 * Apple DOCTYPE line is accepted and never fetched. Binary plists are MDM_EINPUT. Duplicate keys are refused. */
apr_status_t mdm_plist_parse(mdm_ctx_t *ctx, const void *buf, apr_size_t len, mdm_plist_t **out);

/* Dict access: NULL / default if absent or of another type. */
const mdm_plist_t *mdm_plist_get(const mdm_plist_t *dict, const char *key);
const char *mdm_plist_str(const mdm_plist_t *dict, const char *key);
const mdm_blob_t *mdm_plist_data(const mdm_plist_t *dict, const char *key);
apr_int64_t mdm_plist_int(const mdm_plist_t *dict, const char *key, apr_int64_t def);
double mdm_plist_real(const mdm_plist_t *dict, const char *key, double def); /* an INT will do as well */
int mdm_plist_bool(const mdm_plist_t *dict, const char *key, int def);
/* A required string of 1..max bytes: MDM_EINPUT names the key otherwise. */
apr_status_t mdm_plist_need_str(mdm_ctx_t *ctx, const mdm_plist_t *dict, const char *key, apr_size_t max, const char **out);

/* True for 2026-11-21T10:00:00Z with possible month, day and time, and nothing else. */
int mdm_plist_date_ok(const char *s);

/* Building. Strings are copied; a NULL string adds nothing. Each returns the new node. key NULL inside arrays. */
mdm_plist_t *mdm_plist_dict(apr_pool_t *p);
mdm_plist_t *mdm_plist_add_dict(apr_pool_t *p, mdm_plist_t *to, const char *key);
mdm_plist_t *mdm_plist_add_array(apr_pool_t *p, mdm_plist_t *to, const char *key);
mdm_plist_t *mdm_plist_add_str(apr_pool_t *p, mdm_plist_t *to, const char *key, const char *value);
mdm_plist_t *mdm_plist_add_data(apr_pool_t *p, mdm_plist_t *to, const char *key, const void *data, apr_size_t len);
mdm_plist_t *mdm_plist_add_int(apr_pool_t *p, mdm_plist_t *to, const char *key, apr_int64_t value);
mdm_plist_t *mdm_plist_add_real(apr_pool_t *p, mdm_plist_t *to, const char *key, double value);
mdm_plist_t *mdm_plist_add_bool(apr_pool_t *p, mdm_plist_t *to, const char *key, int value);
mdm_plist_t *mdm_plist_add_date(apr_pool_t *p, mdm_plist_t *to, const char *key, const char *rfc3339);
/* Moves a finished node in. */
void mdm_plist_append(mdm_plist_t *to, const char *key, mdm_plist_t *node);

/* XML text with Apple's DOCTYPE; characters that XML can't carry are dropped. */
apr_status_t mdm_plist_write(apr_pool_t *p, const mdm_plist_t *root, mdm_blob_t *out);

/* To and from JSON. Data becomes {"$data": "<base64>"}, dates {"$date": "…"}; the inverse understands the same. New reference. */
json_t *mdm_plist_to_json(const mdm_plist_t *node);
apr_status_t mdm_plist_from_json(mdm_ctx_t *ctx, json_t *j, mdm_plist_t **out);

#endif
