/* Owns HTML out: text and attribute values are escaped by construction, raw markup comes from string literals only (R24). */
#ifndef MDM_HTML_H
#define MDM_HTML_H

#include "base/mdm_text.h"

typedef struct mdm_html_t mdm_html_t;

mdm_html_t *mdm_html_make(apr_pool_t *p);
/* Markup: only a string literal compiles here. */
#define mdm_html_raw(h, literal) mdm_html_put((h), "" literal "", sizeof(literal) - 1)
/* Text between tags. NULL adds nothing. */
void mdm_html_text(mdm_html_t *h, const char *text);
/* name="value" with a blank before it; the name is a literal. A NULL value adds nothing. */
#define mdm_html_attr(h, name, value) mdm_html_put_attr((h), " " name "=\"", (value))
/* The same for an address: https:, http: or a path of this server; anything else becomes "#" (R25). */
#define mdm_html_url(h, name, url) mdm_html_put_attr((h), " " name "=\"", mdm_html_safe_url(url))
/* The whole so far. */
mdm_blob_t mdm_html_out(const mdm_html_t *h);

/* Behind the macros. */
void mdm_html_put(mdm_html_t *h, const char *data, apr_size_t len);
void mdm_html_put_attr(mdm_html_t *h, const char *open, const char *value);
const char *mdm_html_safe_url(const char *url);

#endif
