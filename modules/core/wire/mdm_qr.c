#include "wire/mdm_qr.h"

#include <errno.h>
#include <qrencode.h>
#include <apr_strings.h>
#include <zlib.h>

#define FINE 400 /* bytes of text; in a longer one fewer squares help a camera more than repair does */

static apr_status_t encode(mdm_ctx_t *ctx, const char *text, QRcode **out)
{
    apr_size_t len = strlen(text);

    if (!len || len > MDM_QR_MAX)
        return mdm_fail(ctx, MDM_EINPUT, NULL, len ? "This is more than a QR code holds." : "There is nothing to encode.");
    *out = QRcode_encodeString8bit(text, 0, len > FINE ? QR_ECLEVEL_L : QR_ECLEVEL_M);
    return *out ? APR_SUCCESS : APR_FROM_OS_ERROR(errno);
}

static int dark(const QRcode *code, int x, int y)
{
    return code->data[y * code->width + x] & 1;
}

apr_status_t mdm_qr_svg(mdm_ctx_t *ctx, const char *text, mdm_blob_t *out)
{
    QRcode *code;
    apr_size_t room, len;
    char *s;
    int x, y, n, run;
    apr_status_t rv = encode(ctx, text, &code);

    if (rv != APR_SUCCESS)
        return rv;
    n = code->width + 2 * MDM_QR_MARGIN;
    room = (apr_size_t)code->width * (apr_size_t)code->width * 12 + 400; /* every other square dark: "M123 123h1v1h-1z" each */
    s = apr_palloc(ctx->pool, room);
    len = (apr_size_t)apr_snprintf(s, room, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" shape-rendering=\"crispEdges\">"
                                   "<path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/><path fill=\"#000\" d=\"", n, n, n, n);
    for (y = 0; y < code->width; y++) {
        for (x = 0; x < code->width; x += run) {
            for (run = 1; x + run < code->width && dark(code, x + run, y) == dark(code, x, y); run++)
                ;
            if (dark(code, x, y))
                len += (apr_size_t)apr_snprintf(s + len, room - len, "M%d %dh%dv1h-%dz", x + MDM_QR_MARGIN, y + MDM_QR_MARGIN, run, run);
        }
    }
    len += (apr_size_t)apr_snprintf(s + len, room - len, "\"/></svg>");
    QRcode_free(code);
    out->data = (const unsigned char *)s;
    out->len = len;
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- PNG: one chunk of each kind that there must be */

static unsigned char *put32(unsigned char *o, unsigned long n)
{
    *o++ = (unsigned char)(n >> 24);
    *o++ = (unsigned char)(n >> 16);
    *o++ = (unsigned char)(n >> 8);
    *o++ = (unsigned char)n;
    return o;
}

/* data may stand where it has to be already: 8 bytes behind o. */
static unsigned char *chunk(unsigned char *o, const char *type, const unsigned char *data, apr_size_t len)
{
    o = put32(o, (unsigned long)len);
    memcpy(o, type, 4);
    if (len && data != o + 4)
        memcpy(o + 4, data, len);
    return put32(o + 4 + len, crc32(0, o, (uInt)len + 4));
}

/* Rows of the picture, each behind its filter byte 0; a set bit is white. */
static unsigned char *rows_of(apr_pool_t *p, const QRcode *code, int scale, apr_size_t row)
{
    int side = (code->width + 2 * MDM_QR_MARGIN) * scale, x, y;
    unsigned char *rows = apr_palloc(p, row * (apr_size_t)side);

    for (y = 0; y < side; y++) {
        unsigned char *line = rows + row * (apr_size_t)y;
        int cy = y / scale - MDM_QR_MARGIN;

        memset(line, 0xff, row);
        line[0] = 0;
        for (x = 0; cy >= 0 && cy < code->width && x < code->width * scale; x++) {
            if (dark(code, x / scale, cy)) {
                int at = x + MDM_QR_MARGIN * scale;
                line[1 + at / 8] &= (unsigned char)~(0x80 >> (at % 8));
            }
        }
    }
    return rows;
}

apr_status_t mdm_qr_png(mdm_ctx_t *ctx, const char *text, mdm_blob_t *out)
{
    unsigned char head[13] = {0}, *start, *o, *rows;
    QRcode *code;
    uLongf packed;
    apr_size_t row;
    int scale, side, ok;
    apr_status_t rv = encode(ctx, text, &code);

    if (rv != APR_SUCCESS)
        return rv;
    scale = code->width < 60 ? 12 : 6;
    side = (code->width + 2 * MDM_QR_MARGIN) * scale;
    row = 1 + ((apr_size_t)side + 7) / 8;
    rows = rows_of(ctx->pool, code, scale, row);
    QRcode_free(code);
    packed = compressBound((uLong)(row * (apr_size_t)side));
    o = start = apr_palloc(ctx->pool, 8 + 25 + 12 + packed + 12);
    memcpy(o, "\x89PNG\r\n\x1a\n", 8);
    put32(put32(head, (unsigned long)side), (unsigned long)side);
    head[8] = 1; /* bit depth; the rest is 0: greyscale, deflate, not interlaced */
    o = chunk(o + 8, "IHDR", head, sizeof(head));
    ok = compress2(o + 8, &packed, rows, (uLong)(row * (apr_size_t)side), Z_BEST_COMPRESSION) == Z_OK;
    o = chunk(chunk(o, "IDAT", o + 8, packed), "IEND", NULL, 0);
    out->data = start;
    out->len = (apr_size_t)(o - start);
    return ok ? APR_SUCCESS : MDM_EUNAVAIL;
}
