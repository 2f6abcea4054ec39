/* Bytes and text: encodings, comparison, randomness, UTF-8, numbers, times. */
#include "base/mdm_text.h"

#include <string.h>
#include <time.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

static const char hexdigits[] = "0123456789abcdef";
static const char b64std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

char *mdm_hex(apr_pool_t *p, const void *data, apr_size_t len)
{
    const unsigned char *in = data;
    char *out = apr_palloc(p, len * 2 + 1);
    apr_size_t i;

    for (i = 0; i < len; i++) {
        out[i * 2] = hexdigits[in[i] >> 4];
        out[i * 2 + 1] = hexdigits[in[i] & 15];
    }
    out[len * 2] = '\0';
    return out;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

apr_status_t mdm_unhex(apr_pool_t *p, const char *hex, mdm_blob_t *out)
{
    apr_size_t len = hex ? strlen(hex) : 1, i;
    unsigned char *bytes;

    if (len % 2)
        return MDM_EINPUT;
    bytes = apr_palloc(p, len / 2 + 1);
    for (i = 0; i < len; i += 2) {
        int hi = hex_value(hex[i]), lo = hex_value(hex[i + 1]);

        if (hi < 0 || lo < 0)
            return MDM_EINPUT;
        bytes[i / 2] = (unsigned char)(hi << 4 | lo);
    }
    bytes[len / 2] = '\0';
    out->data = bytes;
    out->len = len / 2;
    return APR_SUCCESS;
}

static char *encode(apr_pool_t *p, const unsigned char *in, apr_size_t len, const char *set, int pad)
{
    char *out = apr_palloc(p, (len + 2) / 3 * 4 + 1), *o = out;

    for (; len >= 3; in += 3, len -= 3) {
        *o++ = set[in[0] >> 2];
        *o++ = set[(in[0] & 3) << 4 | in[1] >> 4];
        *o++ = set[(in[1] & 15) << 2 | in[2] >> 6];
        *o++ = set[in[2] & 63];
    }
    if (len) {
        *o++ = set[in[0] >> 2];
        *o++ = set[(in[0] & 3) << 4 | (len > 1 ? in[1] >> 4 : 0)];
        if (len > 1)
            *o++ = set[(in[1] & 15) << 2];
        else if (pad)
            *o++ = '=';
        if (pad)
            *o++ = '=';
    }
    *o = '\0';
    return out;
}

char *mdm_b64(apr_pool_t *p, const void *data, apr_size_t len)
{
    return encode(p, data, len, b64std, 1);
}

char *mdm_b64url(apr_pool_t *p, const void *data, apr_size_t len)
{
    return encode(p, data, len, b64safe, 0);
}

/* 0..63, or -1. Arithmetic instead of a look-up by secret index. */
static int b64_value(unsigned char c, int url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    if (c == (url ? '_' : '/'))
        return 63;
    return -1;
}

static apr_status_t decode(apr_pool_t *p, const char *text, apr_size_t len, int url, mdm_blob_t *out)
{
    unsigned char *bytes = apr_palloc(p, len / 4 * 3 + 4), *o = bytes;
    apr_uint32_t acc = 0;
    unsigned have = 0, pads = 0;
    apr_size_t i;

    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        int v;

        if (c == ' ' || (c >= '\t' && c <= '\r'))
            continue;
        if (c == '=' && !url) {
            pads++;
            continue;
        }
        v = b64_value(c, url);
        if (v < 0 || pads)
            return MDM_EINPUT;
        acc = acc << 6 | (apr_uint32_t)v;
        if (++have == 4) {
            *o++ = (unsigned char)(acc >> 16);
            *o++ = (unsigned char)(acc >> 8);
            *o++ = (unsigned char)acc;
            acc = 0;
            have = 0;
        }
    }
    if (have == 1 || (url ? pads : (have + pads) % 4) || pads > 2 || (!have && pads))
        return MDM_EINPUT;
    /* bits that carry nothing must be zero: one text for one value */
    if ((have == 2 && (acc & 15)) || (have == 3 && (acc & 3)))
        return MDM_EINPUT;
    if (have == 2) {
        *o++ = (unsigned char)(acc >> 4);
    } else if (have == 3) {
        *o++ = (unsigned char)(acc >> 10);
        *o++ = (unsigned char)(acc >> 2);
    }
    *o = '\0';
    out->data = bytes;
    out->len = (apr_size_t)(o - bytes);
    return APR_SUCCESS;
}

apr_status_t mdm_unb64(apr_pool_t *p, const char *text, apr_size_t len, mdm_blob_t *out)
{
    return text ? decode(p, text, len, 0, out) : MDM_EINPUT;
}

apr_status_t mdm_unb64url(apr_pool_t *p, const char *text, mdm_blob_t *out)
{
    return text ? decode(p, text, strlen(text), 1, out) : MDM_EINPUT;
}

int mdm_secret_equal(const char *a, const char *b)
{
    apr_size_t la, lb;

    if (!a || !b)
        return 0;
    la = strlen(a);
    lb = strlen(b);
    return la == lb && CRYPTO_memcmp(a, b, la) == 0;
}

int mdm_bytes_equal(const void *a, const void *b, apr_size_t len)
{
    return a && b && CRYPTO_memcmp(a, b, len) == 0;
}

void mdm_wipe(void *data, apr_size_t len)
{
    if (data)
        OPENSSL_cleanse(data, len);
}

apr_status_t mdm_random(void *out, apr_size_t len)
{
    int ok;

    if (len > 0x7fffffff)
        return MDM_EUNAVAIL;
    ERR_set_mark();
    ok = RAND_bytes(out, (int)len) == 1;
    ERR_pop_to_mark();
    return ok ? APR_SUCCESS : MDM_EUNAVAIL;
}

char *mdm_token(apr_pool_t *p, apr_size_t nbytes)
{
    unsigned char buf[256];
    char *text;

    if (nbytes > sizeof(buf) || mdm_random(buf, nbytes) != APR_SUCCESS)
        return NULL;
    text = mdm_b64url(p, buf, nbytes);
    mdm_wipe(buf, nbytes);
    return text;
}

char *mdm_uuid_text(apr_pool_t *p, const unsigned char in[16])
{
    char *out = apr_palloc(p, 37), *o = out;
    int i;

    for (i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *o++ = '-';
        *o++ = hexdigits[in[i] >> 4];
        *o++ = hexdigits[in[i] & 15];
    }
    *o = '\0';
    return out;
}

char *mdm_uuid(apr_pool_t *p)
{
    unsigned char b[16];

    if (mdm_random(b, sizeof(b)) != APR_SUCCESS)
        return NULL;
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    return mdm_uuid_text(p, b);
}

apr_status_t mdm_uuid_bytes(const char *s, unsigned char out[16])
{
    unsigned char b[16];
    int i, n = 0;

    if (!s)
        return MDM_EINPUT;
    for (i = 0; i < 36;) {
        int hi, lo;

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (s[i++] != '-')
                return MDM_EINPUT;
            continue;
        }
        if ((hi = hex_value(s[i])) < 0 || (lo = hex_value(s[i + 1])) < 0)
            return MDM_EINPUT;
        b[n++] = (unsigned char)(hi << 4 | lo);
        i += 2;
    }
    if (s[36])
        return MDM_EINPUT;
    memcpy(out, b, sizeof(b));
    return APR_SUCCESS;
}

int mdm_is_uuid(const char *s)
{
    unsigned char b[16];

    return mdm_uuid_bytes(s, b) == APR_SUCCESS;
}

void mdm_sha256(const void *data, apr_size_t len, unsigned char out[32])
{
    SHA256(data, len, out);
}

char *mdm_sha256_hex(apr_pool_t *p, const void *data, apr_size_t len)
{
    unsigned char md[32];

    mdm_sha256(data, len, md);
    return mdm_hex(p, md, sizeof(md));
}

/* Length of the well-formed character at s (1..4), 0 if there is none. */
static apr_size_t utf8_char(const unsigned char *s, apr_size_t left)
{
    static const apr_uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    apr_uint32_t c = s[0];
    apr_size_t n, i;

    if (c < 0x80)
        return c ? 1 : 0;
    n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || n > left)
        return 0;
    c &= 0xffu >> (n + 1);
    for (i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    return n;
}

int mdm_utf8_valid(const char *s, apr_size_t len)
{
    const unsigned char *u = (const unsigned char *)s, *end = u + len;

    while (u < end) {
        apr_size_t n = utf8_char(u, (apr_size_t)(end - u));

        if (!n)
            return 0;
        u += n;
    }
    return 1;
}

static int is_control(const unsigned char *s)
{
    return s[0] < 0x20 || s[0] == 0x7f || (s[0] == 0xc2 && s[1] < 0xa0);
}

char *mdm_clean(apr_pool_t *p, const char *s, apr_size_t max)
{
    apr_size_t left = s ? strlen(s) : 0, used = 0;
    const unsigned char *u = (const unsigned char *)s;
    char *out = apr_palloc(p, (left < max ? left : max) + 1);

    while (left) {
        apr_size_t n = utf8_char(u, left), step = n ? n : 1;
        int space = *u == ' ' || (*u >= '\t' && *u <= '\r');

        if (space ? used > 0 : n && !is_control(u)) {
            if (used + step > max)
                break;
            if (space)
                out[used] = ' ';
            else
                memcpy(out + used, u, n);
            used += step;
        }
        u += step;
        left -= step;
    }
    while (used && out[used - 1] == ' ')
        used--;
    out[used] = '\0';
    return out;
}

int mdm_is_host(const char *s)
{
    static const char set[] = "-.:_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    apr_size_t len = strlen(s);

    return len && len <= 255 && strspn(s, set) == len;
}

char *mdm_lower(apr_pool_t *p, const char *s)
{
    char *out = apr_pstrdup(p, s), *c;

    for (c = out; c && *c; c++) {
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    }
    return out;
}

apr_status_t mdm_parse_i64(const char *s, apr_int64_t min, apr_int64_t max, apr_int64_t *out)
{
    apr_uint64_t v = 0, limit = APR_INT64_MAX;
    apr_int64_t value;
    int neg = s && *s == '-';

    if (!s || !*(s += neg))
        return MDM_EINPUT;
    limit += (apr_uint64_t)neg;
    for (; *s; s++) {
        apr_uint64_t d = (apr_uint64_t)(*s - '0');

        if (*s < '0' || *s > '9' || v > (limit - d) / 10)
            return MDM_EINPUT;
        v = v * 10 + d;
    }
    value = (apr_int64_t)(neg ? 0 - v : v);
    if (value < min || value > max)
        return MDM_EINPUT;
    *out = value;
    return APR_SUCCESS;
}

int mdm_version_at_least(const char *a, const char *b)
{
    char *end;

    a = a ? a : "";
    b = b ? b : "";
    while (*a || *b) {
        unsigned long x = strtoul(a, &end, 10), y;

        a = *end == '.' ? end + 1 : "";
        y = strtoul(b, &end, 10);
        b = *end == '.' ? end + 1 : "";
        if (x != y) {
            return x > y;
        }
    }
    return 1;
}

char *mdm_time_text(apr_pool_t *p, apr_int64_t ms)
{
    static const apr_int64_t first = -62135596800000, last = 253402300799999; /* years 1..9999 */
    apr_time_exp_t t;
    apr_int64_t frac;

    ms = ms < first ? first : ms > last ? last : ms;
    frac = ms % 1000;
    frac += frac < 0 ? 1000 : 0; /* before 1970 */
    apr_time_exp_gmt(&t, apr_time_from_sec((ms - frac) / 1000));
    return apr_psprintf(p, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", t.tm_year + 1900, t.tm_mon + 1,
                        t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, (int)frac);
}

/* n digits, not more; -1: they are none. */
static int digits(const char **s, int n)
{
    int value = 0;

    for (; n; n--, ++*s) {
        if (**s < '0' || **s > '9') {
            return -1;
        }
        value = value * 10 + **s - '0';
    }
    return value;
}

/* The next characters are a separator and two digits; else nothing is taken. */
static int pair_after(const char **s, const char *separators, int *out)
{
    const char *at = *s + 1;
    int value = **s && strchr(separators, **s) ? digits(&at, 2) : -1;

    if (value < 0) {
        return 0;
    }
    *out = value;
    *s = at;
    return 1;
}

/* "Z", "+01:00", or nothing. seconds: east of Greenwich. */
static int offset_read(const char *s, int *known, int *seconds)
{
    int sign = *s == '-' ? -1 : 1, h, m = 0;

    *known = *s != '\0';
    *seconds = 0;
    if (!*s || ((*s == 'Z' || *s == 'z') && !s[1])) {
        return 1;
    }
    if (!pair_after(&s, "+-", &h) || !pair_after(&s, ":", &m) || *s || h > 23 || m > 59) {
        return 0;
    }
    *seconds = sign * (h * 3600 + m * 60);
    return 1;
}

apr_status_t mdm_time_read(const char *s, apr_int64_t *ms)
{
    struct tm t = {.tm_isdst = -1}, same;
    int known, offset, month = 0;
    time_t at;

    t.tm_year = digits(&s, 4) - 1900;
    if (t.tm_year < 70 || t.tm_year > 9998 - 1900 || !pair_after(&s, "-", &month) || !pair_after(&s, "-", &t.tm_mday)) {
        return MDM_EINPUT;
    }
    t.tm_mon = month - 1;
    if (*s && (!pair_after(&s, "Tt ", &t.tm_hour) || !pair_after(&s, ":", &t.tm_min))) {
        return MDM_EINPUT;
    }
    if (pair_after(&s, ":", &t.tm_sec) && *s == '.') {
        s += 1 + strspn(s + 1, "0123456789");
    }
    same = t;
    if (!offset_read(s, &known, &offset) || t.tm_sec > 59) {
        return MDM_EINPUT;
    }
    at = known ? timegm(&t) : mktime(&t);
    /* A 31st of February becomes another day. The hour that summer time leaves out is the next one. */
    if (at < 0 || t.tm_mday != same.tm_mday || t.tm_mon != same.tm_mon || same.tm_hour > 23 || same.tm_min > 59) {
        return MDM_EINPUT;
    }
    *ms = ((apr_int64_t)at - offset) * 1000;
    return *ms >= 0 ? APR_SUCCESS : MDM_EINPUT;
}

char *mdm_time_local(apr_pool_t *p, apr_int64_t ms)
{
    time_t at = (time_t)(ms / 1000);
    struct tm t;
    char text[80];

    return localtime_r(&at, &t) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M %Z", &t) ? apr_pstrdup(p, text) : mdm_time_text(p, ms);
}

char *mdm_mask(apr_pool_t *p, const char *s)
{
    apr_size_t left = s ? strlen(s) : 0, used = 0;
    int chars;

    for (chars = 0; chars < 4 && used < left; chars++) {
        apr_size_t n = utf8_char((const unsigned char *)s + used, left - used);

        if (!n)
            break;
        used += n;
    }
    /* something as short as what is shown would be shown whole */
    if (used == left)
        used = 0;
    return apr_psprintf(p, "%.*s…", (int)used, s ? s : "");
}
