/* QR codes as pictures (PEN-07): both hold exactly the squares of the code, with the quiet zone around; what is too much is refused. */
#include "ctxtest.h"

#include <string.h>
#include <stdio.h>
#include <stdlib.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <qrencode.h>
#include <zlib.h>

#include "wire/mdm_qr.h"

static const char *text_of(apr_size_t len)
{
    char *s = apr_palloc(pool, len + 1);

    memset(s, 'x', len);
    memcpy(s, "https://mdm.example.org/enroll/", len < 31 ? len : 31);
    s[len] = '\0';
    return s;
}

static const apr_size_t lengths[] = {1, 60, 400, 401, 900, MDM_QR_MAX};

static QRcode *code_of(const char *text)
{
    QRcode *code = QRcode_encodeString8bit(text, 0, strlen(text) > 400 ? QR_ECLEVEL_L : QR_ECLEVEL_M);

    assert_non_null(code);
    return code;
}

static void test_svg(void **state)
{
    unsigned i;

    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        const char *text = text_of(lengths[i]), *at;
        QRcode *code = code_of(text);
        unsigned char *seen = calloc(1, (size_t)(code->width * code->width));
        int x, y, run, back, j;
        mdm_blob_t svg;

        assert_int_equal(mdm_qr_svg(ctx, text, &svg), APR_SUCCESS);
        assert_int_equal(strlen((const char *)svg.data), svg.len);
        assert_non_null(strstr((const char *)svg.data, apr_psprintf(pool, "viewBox=\"0 0 %d %d\"", code->width + 8, code->width + 8)));
        assert_string_equal((const char *)svg.data + svg.len - 9, "\"/></svg>");
        at = strstr((const char *)svg.data, "#000\" d=\"") + 9;
        while (sscanf(at, "M%d %dh%dv1h-%dz", &x, &y, &run, &back) == 4) {
            assert_int_equal(run, back);
            for (j = 0; j < run; j++)
                seen[(y - MDM_QR_MARGIN) * code->width + x - MDM_QR_MARGIN + j]++;
            at = strchr(at, 'z') + 1;
        }
        assert_int_equal(*at, '"');
        for (j = 0; j < code->width * code->width; j++)
            assert_int_equal(seen[j], code->data[j] & 1);
        free(seen);
        QRcode_free(code);
    }
}

static unsigned long get32(const unsigned char *s)
{
    return (unsigned long)s[0] << 24 | (unsigned long)s[1] << 16 | (unsigned long)s[2] << 8 | s[3];
}

/* The next chunk, its check sum judged. */
static const unsigned char *chunk(const unsigned char **at, const char *type, unsigned long *len)
{
    const unsigned char *data = *at + 8;

    *len = get32(*at);
    assert_memory_equal(*at + 4, type, 4);
    assert_int_equal(get32(data + *len), crc32(0, *at + 4, (uInt)*len + 4));
    *at = data + *len + 4;
    return data;
}

static void check_png(const char *text, const mdm_blob_t *png)
{
    QRcode *code = code_of(text);
    const unsigned char *at = png->data + 8, *head, *data;
    unsigned char *rows;
    unsigned long len, side, row;
    uLongf size;
    int x, y, n = code->width + 2 * MDM_QR_MARGIN, scale;

    assert_memory_equal(png->data, "\x89PNG\r\n\x1a\n", 8);
    head = chunk(&at, "IHDR", &len);
    assert_int_equal(len, 13);
    side = get32(head);
    assert_int_equal(get32(head + 4), side);
    assert_memory_equal(head + 8, "\1\0\0\0\0", 5);
    scale = (int)side / n;
    assert_int_equal(side, n * scale);
    assert_in_range(scale, 6, 12);
    data = chunk(&at, "IDAT", &len);
    row = 1 + (side + 7) / 8;
    size = row * side;
    rows = malloc(size);
    assert_int_equal(uncompress(rows, &size, data, len), Z_OK);
    assert_int_equal(size, row * side);
    for (y = 0; y < (int)side; y++) {
        assert_int_equal(rows[row * (unsigned long)y], 0);
        for (x = 0; x < (int)side; x++) {
            int cx = x / scale - MDM_QR_MARGIN, cy = y / scale - MDM_QR_MARGIN;
            int is = cx >= 0 && cy >= 0 && cx < code->width && cy < code->width && (code->data[cy * code->width + cx] & 1);
            int white = rows[row * (unsigned long)y + 1 + (unsigned)x / 8] >> (7 - x % 8) & 1;

            if (white == is)
                fail_msg("pixel %d %d", x, y);
        }
    }
    chunk(&at, "IEND", &len);
    assert_int_equal(len, 0);
    assert_ptr_equal(at, png->data + png->len);
    free(rows);
    QRcode_free(code);
}

static void test_png(void **state)
{
    unsigned i;

    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        mdm_blob_t png;

        assert_int_equal(mdm_qr_png(ctx, text_of(lengths[i]), &png), APR_SUCCESS);
        check_png(text_of(lengths[i]), &png);
    }
}

static void test_too_much(void **state)
{
    mdm_blob_t out;

    assert_int_equal(mdm_qr_svg(ctx, text_of(MDM_QR_MAX + 1), &out), MDM_EINPUT);
    assert_non_null(ctx->fail_text);
    assert_int_equal(mdm_qr_png(ctx, text_of(MDM_QR_MAX + 1), &out), MDM_EINPUT);
    assert_int_equal(mdm_qr_png(ctx, "", &out), MDM_EINPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_svg, setup, teardown), cmocka_unit_test_setup_teardown(test_png, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_too_much, setup, teardown)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
