/* Owns CSV as we write it (RFC 4180): every cell quoted, one line for a row, and no cell that a spreadsheet would take for a formula (R33). */
#ifndef MDM_CSV_H
#define MDM_CSV_H

#include "base/mdm_text.h"

#define MDM_CSV_BOM "\xef\xbb\xbf" /* spreadsheets take a file without it for the system's old code page */

/* One row with CRLF in p. NULL cells are empty. Control characters become spaces; a text that begins with = + - @ gets an
 * apostrophe before it. */
char *mdm_csv_row(apr_pool_t *p, const char *const *cells, int n);

#endif
