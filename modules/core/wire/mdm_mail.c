/* Messages: headers, encoded words, quoted-printable. */
#include "wire/mdm_mail.h"

#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define LINE_MAX_QP 75   /* and the "=" of a soft break */
#define WORD_BYTES 39    /* of text in an encoded word: 52 of base64, 64 with its frame, 73 behind "Subject: " */
#define SUBJECT_BYTES 300
#define NAME_BYTES 120
#define PLAIN_MAX 60     /* of a header's text that needs no encoding */
#define LOCAL_MAX 64

static const char atext[] = "!#$%&'*+-/=?^_`{|}~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Parts between dots, none of them empty. */
static int dotted(const char *s, apr_size_t len, const char *set, apr_size_t part_max)
{
    apr_size_t part = 0;

    for (apr_size_t i = 0; i < len; i++) {
        if (s[i] == '.') {
            if (part == 0) {
                return 0;
            }
            part = 0;
        } else if (!strchr(set, s[i]) || ++part > part_max) {
            return 0;
        }
    }
    return part > 0;
}

int mdm_mail_address_ok(const char *s)
{
    static const char host[] = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const char *at = s ? strchr(s, '@') : NULL;

    return at && strlen(s) <= MDM_MAIL_ADDRESS_MAX && at - s <= LOCAL_MAX && dotted(s, (apr_size_t)(at - s), atext, LOCAL_MAX)
           && dotted(at + 1, strlen(at + 1), host, 63) && at[1] != '-' && s[strlen(s) - 1] != '-';
}

/* ---------------------------------------------------------------- a growing text */

typedef struct out_t {
    apr_pool_t *pool;
    char *data;
    apr_size_t len, size;
} out_t;

static void put(out_t *o, const char *s, apr_size_t len)
{
    if (o->len + len + 1 > o->size) {
        char *was = o->data;

        o->size = (o->len + len + 1) * 2;
        o->data = apr_palloc(o->pool, o->size);
        if (o->len) {
            memcpy(o->data, was, o->len);
        }
    }
    memcpy(o->data + o->len, s, len);
    o->len += len;
    o->data[o->len] = '\0';
}

static void puts_all(out_t *o, const char *s)
{
    put(o, s, strlen(s));
}

/* ---------------------------------------------------------------- headers */

/* Text that may stand as it is. "=?" could be taken for an encoded word. */
static int plain(const char *s, const char *special)
{
    apr_size_t n = 0;

    for (const char *c = s; *c; c++, n++) {
        if (*c < 0x20 || *c > 0x7e || strchr(special, *c)) {
            return 0;
        }
    }
    return n <= PLAIN_MAX && !strstr(s, "=?") && *s != ' ' && (n == 0 || s[n - 1] != ' ');
}

/* A header's text, as encoded words where it must be (RFC 2047): each whole characters, each on a line of its own. */
static void put_words(out_t *o, const char *s, const char *special)
{
    apr_size_t len = strlen(s);

    if (plain(s, special)) {
        put(o, s, len);
        return;
    }
    for (apr_size_t at = 0; at < len;) {
        apr_size_t n = len - at > WORD_BYTES ? WORD_BYTES : len - at;

        while (at + n < len && ((unsigned char)s[at + n] & 0xc0) == 0x80) {
            n--;
        }
        puts_all(o, at ? "\r\n =?UTF-8?B?" : "=?UTF-8?B?");
        puts_all(o, mdm_b64(o->pool, s + at, n));
        puts_all(o, "?=");
        at += n;
    }
}

static void put_address(out_t *o, const char *header, const char *name, const char *address)
{
    const char *clean = mdm_clean(o->pool, name ? name : "", NAME_BYTES);

    puts_all(o, header);
    if (*clean) {
        put_words(o, clean, "()<>[]:;@\\,.\"");
        puts_all(o, "\r\n ");
    }
    puts_all(o, apr_pstrcat(o->pool, "<", address, ">\r\n", NULL));
}

static const char *date_text(apr_pool_t *p, apr_int64_t ms)
{
    char buf[APR_RFC822_DATE_LEN];

    apr_rfc822_date(buf, apr_time_from_msec(ms));
    return apr_pstrcat(p, apr_pstrndup(p, buf, strlen(buf) - strlen("GMT")), "+0000", NULL);
}

/* ---------------------------------------------------------------- bodies */

static void put_qp(out_t *o, const char *s)
{
    static const char hex[] = "0123456789ABCDEF";
    int column = 0;

    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        int ends = s[1] == '\n' || s[1] == '\0';
        char code[3] = {(char)c};
        int n = 1;

        if (c == '\r') {
            continue;
        }
        if (c == '\n') {
            puts_all(o, "\r\n");
            column = 0;
            continue;
        }
        /* a blank at the end of a line would be lost; a dot alone or a "From " at its beginning are read by some on the way */
        if (c == '=' || c < 0x20 || c > 0x7e || (c == ' ' && ends) || (column == 0 && (c == '.' || c == 'F'))) {
            code[0] = '=';
            code[1] = hex[c >> 4];
            code[2] = hex[c & 15];
            n = 3;
        }
        if (column + n > LINE_MAX_QP) {
            puts_all(o, "=\r\n");
            column = 0;
        }
        put(o, code, (apr_size_t)n);
        column += n;
    }
    if (column) {
        puts_all(o, "\r\n");
    }
}

static void put_part(out_t *o, const char *boundary, const char *type, const char *body)
{
    puts_all(o, apr_pstrcat(o->pool, "--", boundary, "\r\nContent-Type: ", type, "; charset=utf-8\r\n"
                            "Content-Transfer-Encoding: quoted-printable\r\n\r\n", NULL));
    put_qp(o, body);
}

/* The HTML with its picture: as one part of the message, with a boundary of its own. */
static void put_related(out_t *o, const char *outer, const mdm_mail_t *m)
{
    const char *inner = apr_pstrcat(o->pool, "=_r", m->id, NULL), *text = mdm_b64(o->pool, m->png.data, m->png.len);

    puts_all(o, apr_pstrcat(o->pool, "--", outer, "\r\nContent-Type: multipart/related; type=\"text/html\";\r\n boundary=\"", inner, "\"\r\n\r\n", NULL));
    put_part(o, inner, "text/html", m->html);
    puts_all(o, apr_pstrcat(o->pool, "--", inner, "\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <",
                            MDM_MAIL_PNG + strlen("cid:"), ">\r\nContent-Disposition: inline\r\n\r\n", NULL));
    for (apr_size_t n; *text; text += n) {
        n = strlen(text) < LINE_MAX_QP ? strlen(text) : LINE_MAX_QP;
        put(o, text, n);
        puts_all(o, "\r\n");
    }
    puts_all(o, apr_pstrcat(o->pool, "--", inner, "--\r\n", NULL));
}

static int word_ok(const char *s)
{
    return s && *s && strspn(s, "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == strlen(s);
}

apr_status_t mdm_mail_compose(mdm_ctx_t *ctx, const mdm_mail_t *m, mdm_blob_t *out)
{
    out_t o = {.pool = ctx->pool};
    const char *boundary;

    if (!mdm_mail_address_ok(m->from)) {
        return mdm_fail(ctx, MDM_EINPUT, "from", "is no mail address that we can send from");
    }
    if (!mdm_mail_address_ok(m->to)) {
        return mdm_fail(ctx, MDM_EINPUT, "to", "is no mail address that we can send to");
    }
    if (!word_ok(m->id) || !word_ok(m->language)) {
        return mdm_fail(ctx, MDM_EINPUT, "id", "id or language of the message is missing");
    }
    boundary = apr_pstrcat(ctx->pool, "=_", m->id, NULL); /* never stands in quoted-printable text */
    put_address(&o, "From: ", m->from_name, m->from);
    put_address(&o, "To: ", m->to_name, m->to);
    puts_all(&o, "Subject: ");
    put_words(&o, mdm_clean(ctx->pool, m->subject, SUBJECT_BYTES), "");
    puts_all(&o, apr_pstrcat(ctx->pool, "\r\nDate: ", date_text(ctx->pool, m->date_ms), "\r\nMessage-ID: <", m->id, strchr(m->from, '@'),
                             ">\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Language: ", m->language,
                             "\r\nContent-Type: multipart/alternative;\r\n boundary=\"", boundary, "\"\r\n\r\n", NULL));
    put_part(&o, boundary, "text/plain", m->text);
    if (m->png.data) {
        put_related(&o, boundary, m);
    } else {
        put_part(&o, boundary, "text/html", m->html);
    }
    puts_all(&o, apr_pstrcat(ctx->pool, "--", boundary, "--\r\n", NULL));
    *out = (mdm_blob_t){(const unsigned char *)o.data, o.len};
    return APR_SUCCESS;
}
