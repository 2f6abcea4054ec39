/* Inside of mod_mdm_access: the lists of this child. */
#ifndef ACCESS_H
#define ACCESS_H

#include <apr_tables.h>
#include "domain/mdm_access.h"
#include "mdm_services.h"

/* What the lists say of an address. */
typedef struct access_verdict_t {
    int known;          /* 0: the database's lists have not been read yet */
    int decided, allow; /* by a filter */
    const char *source; /* of that filter; constant */
    int position;
} access_verdict_t;

/* conf: the rules of httpd.conf, one array of mdm_filter_t per category; database: whether more of them come from there. */
apr_status_t access_lists_child(apr_pool_t *p, apr_array_header_t *const conf[MDM_ACCESS_COUNT], int database);
/* Reads the database's lists and puts them into use; what is in use stays if that fails. */
apr_status_t access_lists_read(mdm_ctx_t *ctx);
access_verdict_t access_lists_ask(mdm_access_e category, const mdm_addr_t *addr);

#endif
