/* Owns keyset cursors: opaque, bound to the list, its order and its filters, refused when changed (API-01, R26). */
#ifndef MDM_PAGE_H
#define MDM_PAGE_H

#include "base/mdm_text.h"

#define MDM_PAGE_DEFAULT 50
#define MDM_PAGE_MAX 200

/* Where a page begins. `sig` names list, order and filters; a cursor of one list is refused by every other. */
typedef struct mdm_page_t {
    const char *sig;
    int count;         /* rows wanted: 1..MDM_PAGE_MAX */
    int first;         /* 1: no cursor, from the beginning */
    const char *key;   /* sort key of the last row seen; "" with first */
    apr_int64_t num;   /* the same as a number, 0 if it is none */
    const char *id;    /* its id; "" with first */
} mdm_page_t;

/* Fills the page from what the caller sent: limit and cursor may be NULL. MDM_EINPUT names the parameter at fault. */
apr_status_t mdm_page_read(mdm_ctx_t *ctx, const char *sig, const char *limit, const char *cursor, mdm_page_t *page);
/* The cursor behind a row; NULL if there is no sealing key. */
const char *mdm_page_next(mdm_ctx_t *ctx, const mdm_page_t *page, const char *key, const char *id);
const char *mdm_page_next_num(mdm_ctx_t *ctx, const mdm_page_t *page, apr_int64_t key, const char *id);

#endif
