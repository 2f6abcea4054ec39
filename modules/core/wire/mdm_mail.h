/* Owns mail messages as they go out (RFC 5322, 2045, 2047): text and HTML in one, the same bytes for the same message. Knows no network. */
#ifndef MDM_MAIL_H
#define MDM_MAIL_H

#include "base/mdm_text.h"

#define MDM_MAIL_ADDRESS_MAX 254
#define MDM_MAIL_PNG "cid:picture"

/* True for an address that every mail server takes: ASCII, no quoted part, no address of a host in brackets. */
int mdm_mail_address_ok(const char *s);

typedef struct mdm_mail_t {
    const char *from, *to;           /* addresses */
    const char *from_name, *to_name; /* any text, "" = none */
    const char *subject;             /* any text */
    const char *text, *html;         /* UTF-8; lines end with \n */
    mdm_blob_t png;                  /* a picture that the HTML shows as MDM_MAIL_PNG; data NULL: none */
    const char *language;            /* "en" */
    const char *id;                  /* letters, digits, hyphens: the message's own, the same whenever it is sent again */
    apr_int64_t date_ms;
} mdm_mail_t;

/* The whole message with CRLF, headers first, lines of at most 76 characters (addresses apart). Whatever names and subject hold, they stay inside
 * their header. MDM_EINPUT names an address that is none. */
apr_status_t mdm_mail_compose(mdm_ctx_t *ctx, const mdm_mail_t *m, mdm_blob_t *out);

#endif
