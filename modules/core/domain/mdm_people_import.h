/* Owns people of the built-in source from CSV files (USR-06): what the rows say, what is wrong with them, and people made of the others. A file holds
 * passwords, so nothing of it is kept. */
#ifndef MDM_PEOPLE_IMPORT_H
#define MDM_PEOPLE_IMPORT_H

#include <jansson.h>
#include "base/mdm_ctx.h"

#define MDM_PEOPLE_ROWS 5000
#define MDM_PEOPLE_BYTES (1024 * 1024)
#define MDM_PEOPLE_BATCH 50 /* people of one call: a password's hash costs its while */

typedef struct mdm_people_row_t {
    int line; /* in the file, from 1 */
    const char *login, *name, *mail, *phone, *password;
    const char *field, *error; /* why this row makes nobody: a member (or NULL) and what is wrong; NULL: nothing is */
} mdm_people_row_t;

/* ---- reading, in any pieces: titles as people write them, "login" and "password" are required */
/* Takes one row; ctx and the row's texts live until it returns. Any error ends the reading. */
typedef apr_status_t (*mdm_people_row_fn)(void *data, mdm_ctx_t *ctx, mdm_people_row_t *row);
typedef struct mdm_people_csv_t mdm_people_csv_t;
mdm_people_csv_t *mdm_people_csv(mdm_ctx_t *ctx, mdm_people_row_fn fn, void *data);
/* MDM_EINPUT names the column that the first row lacks. */
apr_status_t mdm_people_csv_feed(mdm_people_csv_t *csv, const char *data, apr_size_t len);
/* The file has ended. MDM_EINPUT: it was empty. */
apr_status_t mdm_people_csv_end(mdm_people_csv_t *csv);

/* ---- one row: makes the person, unless the row has its error already. Only our own trouble fails; what the row does is told in it. */
apr_status_t mdm_people_row_make(mdm_ctx_t *ctx, mdm_people_row_t *row);

/* ---- a file as a whole, which is small */
typedef struct mdm_people_file_t mdm_people_file_t;
/* A file to be fed as by mdm_people_csv_*; MDM_ETOOBIG: it has more rows than MDM_PEOPLE_ROWS. */
mdm_people_file_t *mdm_people_file(mdm_ctx_t *ctx);
apr_status_t mdm_people_file_feed(mdm_people_file_t *f, const char *data, apr_size_t len);
/* The file has ended: checks its rows (dry), or makes people of those behind line `after`, MDM_PEOPLE_BATCH at most. Opens its own connections.
 * {"total", "walked" (rows looked at, with those up to `after`), "good", "bad", "rows": those that make nobody, {"line", "login", "field", "error"},
 * "next": the line to go on after; null: that was all}; good and bad are this call's. New reference. */
apr_status_t mdm_people_file_end(mdm_people_file_t *f, int dry, int after, json_t **report);

#endif
