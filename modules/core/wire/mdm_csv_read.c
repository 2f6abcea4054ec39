/* Reading CSV: one pass, one row in memory. */
#include "wire/mdm_csv.h"

#include <stddef.h>
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define TITLE_MAX 100
#define BROKEN '\xff' /* no character of UTF-8 has it */

typedef enum {
    AT_START, /* of a cell */
    IN_PLAIN,
    IN_QUOTES,
    AT_QUOTE  /* behind a quote in quotes: the end of the cell, or half of a doubled one */
} place_e;

typedef enum {
    UTF_8,
    UTF_16LE,
    UTF_16BE
} encoding_e;

struct mdm_csv_reader_t {
    mdm_csv_fn fn;
    void *data;
    place_e at;
    int line, begun;    /* where we are; where the row began */
    int first;          /* no row was brought yet */
    int bom;            /* bytes of a mark that were seen, -1: no longer looked for */
    unsigned char mark[3];
    encoding_e encoding;
    unsigned unit;      /* UTF-16: its first byte, */
    int half;           /* if this is set; */
    unsigned high;      /* a first surrogate that waits for its second one, or 0 */
    char sep;           /* 0: not known yet */
    char last;          /* the byte before: a line feed behind CR ends no further line */
    int n, anything;    /* cells begun in this row; anything in it but line ends */
    const char *error;  /* of this row */
    apr_size_t used;
    const char *cells[MDM_CSV_CELLS_MAX];
    char text[MDM_CSV_ROW_MAX + 1];
};

mdm_csv_reader_t *mdm_csv_reader(apr_pool_t *p, mdm_csv_fn fn, void *data)
{
    mdm_csv_reader_t *r = apr_palloc(p, sizeof(*r));

    memset(r, 0, offsetof(mdm_csv_reader_t, cells));
    r->fn = fn;
    r->data = data;
    r->line = r->begun = r->first = 1;
    return r;
}

/* The first fault is the one that is told. */
static void wrong(mdm_csv_reader_t *r, const char *error)
{
    if (!r->error) {
        r->error = error;
    }
}

static void put(mdm_csv_reader_t *r, char c)
{
    if (r->used >= MDM_CSV_ROW_MAX) {
        wrong(r, "the row is too long");
    } else if (!c) {
        wrong(r, "the row holds a NUL byte: save the file as \"CSV UTF-8\"");
    } else {
        r->text[r->used++] = c;
    }
}

static void begin_cell(mdm_csv_reader_t *r)
{
    if (r->n >= MDM_CSV_CELLS_MAX) {
        wrong(r, "the row has too many cells");
    } else {
        r->cells[r->n++] = r->text + r->used;
    }
    r->at = AT_START;
}

static void end_cell(mdm_csv_reader_t *r)
{
    if (!r->error && !mdm_utf8_valid(r->cells[r->n - 1], (apr_size_t)(r->text + r->used - r->cells[r->n - 1]))) {
        wrong(r, r->encoding == UTF_8 ? "the row is not UTF-8: save the file as \"CSV UTF-8\"" : "the row is not UTF-16: save the file as \"CSV UTF-8\"");
    }
    if (r->used >= MDM_CSV_ROW_MAX) {
        wrong(r, "the row is too long");
    } else {
        r->text[r->used++] = '\0';
    }
}

/* "sep=;" is for programs, not a row; its separator was seen behind it. */
static int says_separator(const mdm_csv_reader_t *r)
{
    return r->first && !r->error && r->n == 2 && !strcasecmp(r->cells[0], "sep=") && !*r->cells[1];
}

static apr_status_t end_row(mdm_csv_reader_t *r)
{
    mdm_csv_row_t row = {r->begun, 0, r->cells, NULL};
    apr_status_t rv = APR_SUCCESS;

    if (r->anything) {
        end_cell(r);
        row.error = r->error;
        row.n = r->error ? 0 : r->n;
        if (!says_separator(r)) {
            rv = r->fn(r->data, &row);
        }
        r->first = 0;
    }
    r->n = r->anything = 0;
    r->used = 0;
    r->error = NULL;
    r->at = AT_START;
    return rv;
}

static int is_separator(mdm_csv_reader_t *r, char c)
{
    if (!r->sep && (c == ',' || c == ';' || c == '\t')) {
        r->sep = c;
    }
    return c == r->sep && c;
}

static void in_quotes(mdm_csv_reader_t *r, char c)
{
    if (c == '"') {
        r->at = AT_QUOTE;
    } else if (r->used >= MDM_CSV_ROW_MAX) {
        wrong(r, "a quoted cell is too long, or is not closed");
        r->at = IN_PLAIN; /* the row ends with its line: a forgotten quote doesn't take all others with it */
    } else {
        put(r, c);
    }
}

/* Outside of quotes, or behind one. */
static apr_status_t outside(mdm_csv_reader_t *r, char c)
{
    if (c == '\n' || c == '\r') {
        return end_row(r);
    }
    if (is_separator(r, c)) {
        end_cell(r);
        begin_cell(r);
    } else if (c == '"' && r->at == AT_START) {
        r->at = IN_QUOTES;
    } else if (c == '"' && r->at == AT_QUOTE) {
        put(r, c);
        r->at = IN_QUOTES;
    } else if (r->at == AT_QUOTE) {
        wrong(r, "a quoted cell has text behind its end");
    } else if (c == '"') {
        wrong(r, "a quote stands within a cell that does not begin with one");
    } else {
        put(r, c);
        r->at = IN_PLAIN;
    }
    return APR_SUCCESS;
}

static apr_status_t take(mdm_csv_reader_t *r, char c)
{
    int ends = c == '\r' || (c == '\n' && r->last != '\r');

    r->last = c;
    if (!r->anything && (c == '\n' || c == '\r')) {
        r->line += ends;
        return APR_SUCCESS;
    }
    if (!r->anything) {
        r->anything = 1;
        r->begun = r->line;
        begin_cell(r);
    }
    r->line += ends;
    if (r->at == IN_QUOTES) {
        in_quotes(r, c);
        return APR_SUCCESS;
    }
    return outside(r, c);
}

/* ---------------------------------------------------------------- bytes of the file */

static apr_status_t take_code(mdm_csv_reader_t *r, unsigned c)
{
    char text[4];
    int i, n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    apr_status_t rv = APR_SUCCESS;

    for (i = n - 1; i > 0; i--, c >>= 6) {
        text[i] = (char)(0x80 | (c & 0x3f));
    }
    text[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xf0) | c);
    for (i = 0; i < n && rv == APR_SUCCESS; i++) {
        rv = take(r, text[i]);
    }
    return rv;
}

/* Half a character is told as what is no text. */
static apr_status_t take_unit(mdm_csv_reader_t *r, unsigned u)
{
    unsigned high = r->high;
    int low = u >= 0xdc00 && u < 0xe000;
    apr_status_t rv;

    r->high = 0;
    if (high && low) {
        return take_code(r, 0x10000 + ((high - 0xd800) << 10) + (u - 0xdc00));
    }
    rv = high ? take(r, BROKEN) : APR_SUCCESS;
    if (rv != APR_SUCCESS || low) {
        return rv == APR_SUCCESS ? take(r, BROKEN) : rv;
    }
    if (u >= 0xd800 && u < 0xdc00) {
        r->high = u;
        return APR_SUCCESS;
    }
    return take_code(r, u);
}

static apr_status_t take_byte(mdm_csv_reader_t *r, char c)
{
    unsigned byte = (unsigned char)c;

    if (r->encoding == UTF_8) {
        return take(r, c);
    }
    if (!r->half) {
        r->unit = byte;
        r->half = 1;
        return APR_SUCCESS;
    }
    r->half = 0;
    return take_unit(r, r->encoding == UTF_16LE ? r->unit | byte << 8 : r->unit << 8 | byte);
}

static const struct {
    const char *mark;
    encoding_e encoding;
} marks[] = {{MDM_CSV_BOM, UTF_8}, {"\xff\xfe", UTF_16LE}, {"\xfe\xff", UTF_16BE}};
enum { MARKS = sizeof(marks) / sizeof(marks[0]) };

/* What began like a mark and goes on otherwise is text. */
static apr_status_t no_mark(mdm_csv_reader_t *r)
{
    int i, n = r->bom;
    apr_status_t rv = APR_SUCCESS;

    r->bom = -1;
    for (i = 0; i < n && rv == APR_SUCCESS; i++) {
        rv = take(r, (char)r->mark[i]);
    }
    return rv;
}

/* Only at the very beginning. */
static apr_status_t past_mark(mdm_csv_reader_t *r, char c)
{
    int i, may = 0;

    r->mark[r->bom++] = (unsigned char)c;
    for (i = 0; i < MARKS; i++) {
        if (!memcmp(r->mark, marks[i].mark, (apr_size_t)r->bom)) {
            if (!marks[i].mark[r->bom]) {
                r->encoding = marks[i].encoding;
                r->bom = -1;
                return APR_SUCCESS;
            }
            may = 1;
        }
    }
    return may ? APR_SUCCESS : no_mark(r);
}

apr_status_t mdm_csv_feed(mdm_csv_reader_t *r, const char *data, apr_size_t len)
{
    apr_status_t rv = APR_SUCCESS;
    apr_size_t i;

    for (i = 0; i < len && rv == APR_SUCCESS; i++) {
        rv = r->bom >= 0 ? past_mark(r, data[i]) : take_byte(r, data[i]);
    }
    return rv;
}

apr_status_t mdm_csv_end(mdm_csv_reader_t *r)
{
    apr_status_t rv = no_mark(r);

    if (rv == APR_SUCCESS && (r->half || r->high)) {
        rv = take(r, BROKEN);
    }
    if (r->at == IN_QUOTES) {
        r->error = "a quoted cell is not closed";
    }
    return rv == APR_SUCCESS ? end_row(r) : rv;
}

/* ---------------------------------------------------------------- columns by their titles */

/* Letters and digits in lower case, other bytes as they are; what people vary is left out. */
static void plain(char *out, const char *s, apr_size_t len)
{
    apr_size_t i, o = 0;

    for (i = 0; i < len && o < TITLE_MAX; i++) {
        if (!strchr(" -_\t", s[i])) {
            out[o++] = (char)apr_tolower(s[i]);
        }
    }
    out[o] = '\0';
}

/* The cell with this title; -1: none, -2: several. */
static int find_title(const mdm_csv_row_t *head, const char *title, apr_size_t len)
{
    char want[TITLE_MAX + 1], have[TITLE_MAX + 1];
    int k, found = -1;

    plain(want, title, len);
    for (k = 0; k < head->n; k++) {
        plain(have, head->cells[k], strlen(head->cells[k]));
        if (!strcmp(want, have)) {
            found = found == -1 ? k : -2;
        }
    }
    return found;
}

apr_status_t mdm_csv_head(mdm_ctx_t *ctx, const mdm_csv_row_t *head, const mdm_csv_column_t *columns, int n, int *at)
{
    int i;

    if (head->error) {
        return mdm_fail(ctx, MDM_EINPUT, "", "The first row has no titles: %s.", head->error);
    }
    for (i = 0; i < n; i++) {
        const char *title = columns[i].titles, *name = apr_pstrmemdup(ctx->pool, title, strcspn(title, "|"));

        for (at[i] = -1; *title && at[i] == -1; title += *title == '|') {
            apr_size_t len = strcspn(title, "|");

            at[i] = find_title(head, title, len);
            title += len;
        }
        if (at[i] == -2) {
            return mdm_fail(ctx, MDM_EINPUT, name, "stands twice among the titles in the first row");
        }
        if (at[i] == -1 && columns[i].required) {
            return mdm_fail(ctx, MDM_EINPUT, name, "is missing among the titles in the first row");
        }
    }
    return APR_SUCCESS;
}

const char *mdm_csv_cell(apr_pool_t *p, const mdm_csv_row_t *row, int at)
{
    const char *s = at >= 0 && at < row->n ? row->cells[at] : "";
    apr_size_t len;

    s += strspn(s, " \t\r\n");
    for (len = strlen(s); len && strchr(" \t\r\n", s[len - 1]); len--)
        ;
    return apr_pstrmemdup(p, s, len);
}
