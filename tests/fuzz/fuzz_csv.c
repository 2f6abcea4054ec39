/* Fuzz target: CSV of others (SEC-03). Pieces of any length are the same file, and what was read can be written and read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "wire/mdm_csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct seen_t {
    apr_pool_t *p;
    unsigned char sum[32]; /* of all rows */
    int again;             /* rows are written and read once more */
} seen_t;

static void add(seen_t *s, const char *text)
{
    apr_size_t len = strlen(text);
    unsigned char *both = malloc(len + sizeof(s->sum));

    memcpy(both, s->sum, sizeof(s->sum));
    memcpy(both + sizeof(s->sum), text, len);
    mdm_sha256(both, len + sizeof(s->sum), s->sum);
    free(both);
}

static apr_status_t same(void *data, const mdm_csv_row_t *row)
{
    const mdm_csv_row_t *first = *(const mdm_csv_row_t **)data;
    int i;

    if (row->error || row->n != first->n)
        abort();
    for (i = 0; i < row->n; i++)
        if (!strchr("=+-@", *first->cells[i]) && !strpbrk(first->cells[i], "\r\n\t") && strlen(row->cells[i]) != strlen(first->cells[i]))
            abort();
    *(const mdm_csv_row_t **)data = NULL;
    return APR_SUCCESS;
}

static void once_more(apr_pool_t *p, const mdm_csv_row_t *row)
{
    const char *line = mdm_csv_row(p, row->cells, row->n);
    const mdm_csv_row_t *first = row;
    mdm_csv_reader_t *r = mdm_csv_reader(p, same, &first);

    if (strlen(line) < MDM_CSV_ROW_MAX / 2 && strlen(line) > 2) { /* not an empty line; room for apostrophes */
        if (mdm_csv_feed(r, line, strlen(line)) != APR_SUCCESS || mdm_csv_end(r) != APR_SUCCESS || first)
            abort();
    }
}

static apr_status_t take(void *data, const mdm_csv_row_t *row)
{
    seen_t *s = data;
    int i;

    if (row->line < 1 || (row->error ? row->n != 0 : row->n < 1 || row->n > MDM_CSV_CELLS_MAX))
        abort();
    add(s, apr_psprintf(s->p, "%d %d %s", row->line, row->n, row->error ? row->error : ""));
    for (i = 0; i < row->n; i++) {
        if (!mdm_utf8_valid(row->cells[i], strlen(row->cells[i])))
            abort();
        add(s, row->cells[i]);
    }
    if (s->again && row->n && !(row->n == 2 && !strcasecmp(row->cells[0], "sep=")))
        once_more(s->p, row);
    return APR_SUCCESS;
}

static void read_all(seen_t *s, const uint8_t *data, size_t size, size_t piece)
{
    mdm_csv_reader_t *r = mdm_csv_reader(s->p, take, s);
    size_t at;

    for (at = 0; at < size; at += piece)
        mdm_csv_feed(r, (const char *)data + at, size - at < piece ? size - at : piece);
    mdm_csv_end(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    seen_t whole = {.again = 1}, pieces = {.again = 0};

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    whole.p = pieces.p = root;
    read_all(&whole, data, size, size ? size : 1);
    read_all(&pieces, data, size, 3);
    if (memcmp(whole.sum, pieces.sum, sizeof(whole.sum)))
        abort();
    apr_pool_clear(root);
    return 0;
}
