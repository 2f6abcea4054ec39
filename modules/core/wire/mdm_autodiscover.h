/* Owns Autodiscover for ActiveSync (PXY-04): its paths, what a client asks in XML, and what it is answered in XML and JSON. */
#ifndef MDM_AUTODISCOVER_H
#define MDM_AUTODISCOVER_H

#include "base/mdm_text.h"

#define MDM_AUTODISCOVER_MAX 65536 /* bytes of a request */

typedef enum { MDM_AUTODISCOVER_NONE, MDM_AUTODISCOVER_XML, MDM_AUTODISCOVER_JSON } mdm_autodiscover_e;
/* Which of the two addresses a path is, in any case of letters. JSON may have "/v1.0/<address>" behind it, which says nothing that is needed. */
mdm_autodiscover_e mdm_autodiscover_path(const char *path);

typedef struct mdm_autodiscover_t {
    const char *mail; /* as it was asked for, "" if it was not */
    int mobile;       /* the answer of mail clients of phones is wanted; else Outlook's or another's */
} mdm_autodiscover_t;
/* Reads a request. MDM_EINPUT: no well-formed XML in UTF-8 of this kind; document types are refused (R08). */
apr_status_t mdm_autodiscover_read(mdm_ctx_t *ctx, const void *data, apr_size_t len, mdm_autodiscover_t *out);

/* Where the mail is: url with ActiveSync's path. */
mdm_blob_t mdm_autodiscover_found(apr_pool_t *p, const char *name, const char *mail, const char *url);
/* What can't be answered: 600 for a request that is none, 601 for a kind of answer that we don't give. */
mdm_blob_t mdm_autodiscover_error(apr_pool_t *p, int code, const char *text);

#endif
