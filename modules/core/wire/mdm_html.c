#include "wire/mdm_html.h"

#include <string.h>
#include <apr_strings.h>

struct mdm_html_t {
    apr_pool_t *pool;
    char *buf;
    apr_size_t len, room;
};

mdm_html_t *mdm_html_make(apr_pool_t *p)
{
    mdm_html_t *h = apr_pcalloc(p, sizeof(*h));

    h->pool = p;
    h->room = 8192;
    h->buf = apr_palloc(p, h->room);
    h->buf[0] = '\0';
    return h;
}

void mdm_html_put(mdm_html_t *h, const char *data, apr_size_t len)
{
    if (h->len + len + 1 > h->room) {
        char *old = h->buf;

        h->room = (h->len + len + 1) * 2;
        h->buf = apr_palloc(h->pool, h->room);
        memcpy(h->buf, old, h->len);
    }
    memcpy(h->buf + h->len, data, len);
    h->len += len;
    h->buf[h->len] = '\0';
}

void mdm_html_text(mdm_html_t *h, const char *text)
{
    for (; text && *text; ++text) {
        switch (*text) {
        case '&': mdm_html_raw(h, "&amp;"); break;
        case '<': mdm_html_raw(h, "&lt;"); break;
        case '>': mdm_html_raw(h, "&gt;"); break;
        case '"': mdm_html_raw(h, "&quot;"); break;
        case '\'': mdm_html_raw(h, "&#39;"); break;
        default:
            if ((unsigned char)*text >= 0x20 || *text == '\n' || *text == '\t') {
                mdm_html_put(h, text, 1);
            }
        }
    }
}

void mdm_html_put_attr(mdm_html_t *h, const char *open, const char *value)
{
    if (value) {
        mdm_html_put(h, open, strlen(open));
        mdm_html_text(h, value);
        mdm_html_raw(h, "\"");
    }
}

const char *mdm_html_safe_url(const char *url)
{
    const char *c;

    if (!url) {
        return NULL;
    }
    for (c = url; *c; ++c) {
        if ((unsigned char)*c <= 0x20 || *c == '\\' || *c == 0x7f) {
            return "#";
        }
    }
    if (!strncmp(url, "https://", 8) || !strncmp(url, "http://", 7) || (url[0] == '/' && url[1] != '/')) {
        return url;
    }
    return "#";
}

mdm_blob_t mdm_html_out(const mdm_html_t *h)
{
    mdm_blob_t out = {(const unsigned char *)h->buf, h->len};

    return out;
}
