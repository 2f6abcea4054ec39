/* Owns CSV (RFC 4180). As we write it: every cell quoted, one line for a row, and no cell that a spreadsheet would take for a formula (R33).
 * As we read it: what people's programs write, in any pieces, with memory that does not depend on the file. */
#ifndef MDM_CSV_H
#define MDM_CSV_H

#include "base/mdm_text.h"

#define MDM_CSV_BOM "\xef\xbb\xbf" /* spreadsheets take a file without it for the system's old code page */

/* One row with CRLF in p. NULL cells are empty. Control characters become spaces; a text that begins with = + - @, a tab or
 * a line end gets an apostrophe before it. */
char *mdm_csv_row(apr_pool_t *p, const char *const *cells, int n);

/* ---- reading */

#define MDM_CSV_ROW_MAX 65536 /* bytes of one row's cells */
#define MDM_CSV_CELLS_MAX 256 /* cells of one row */

/* A row as it was read. Valid during the call that brings it. */
typedef struct mdm_csv_row_t {
    int line;                 /* where it begins, from 1; rows may have several lines */
    int n;                    /* cells, at least 1 */
    const char *const *cells; /* valid UTF-8 without NUL; "" if empty */
    const char *error;        /* what is wrong with this row: a constant text, then n is 0; NULL: nothing */
} mdm_csv_row_t;

/* Takes one row; any error ends the reading. */
typedef apr_status_t (*mdm_csv_fn)(void *data, const mdm_csv_row_t *row);

typedef struct mdm_csv_reader_t mdm_csv_reader_t;
/* A reader in p. A byte order mark is passed over: that of UTF-16, which spreadsheets write as "Unicode text", makes it read that, else it is UTF-8. The first
 * unquoted comma, semicolon or tab decides what separates cells, for the whole file ("sep=;" in the first line says the same); lines end with
 * CRLF, LF or CR; empty lines are no rows. A row that is wrong (too long, no such text, a NUL, a quote in the wrong place) is brought with its
 * error, and the next one is read. */
mdm_csv_reader_t *mdm_csv_reader(apr_pool_t *p, mdm_csv_fn fn, void *data);
/* The next piece of the file, of any length. */
apr_status_t mdm_csv_feed(mdm_csv_reader_t *reader, const char *data, apr_size_t len);
/* The file has ended: brings the last row if no line end stood behind it. */
apr_status_t mdm_csv_end(mdm_csv_reader_t *reader);

/* A column that somebody looks for by the titles in the first row. */
typedef struct mdm_csv_column_t {
    const char *titles; /* "User|UserName|…": the first that the file has counts, the first one names it in errors; case, spaces, - and _
                         * don't matter */
    int required;
} mdm_csv_column_t;
/* Fills at[i] with the cell of columns[i] (n of them), -1: the file has none. Further columns of the file don't matter. MDM_EINPUT with the
 * title as the field: a required one is missing, or is there twice; or the row itself is wrong. */
apr_status_t mdm_csv_head(mdm_ctx_t *ctx, const mdm_csv_row_t *head, const mdm_csv_column_t *columns, int n, int *at);
/* A cell without white space around it; "" for -1 and behind a short row. In p. */
const char *mdm_csv_cell(apr_pool_t *p, const mdm_csv_row_t *row, int at);

#endif
