/* Owns bulk runs (PEN-06): a CSV file becomes rows, sealed, since they may hold one-time passwords. A job checks them all (the dry run), and, once
 * somebody has said so, makes the enrolments. Results are made from the rows and from what they led to when they are asked for; nothing stands
 * in clear. */
#ifndef MDM_BULK_H
#define MDM_BULK_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_job.h"
#include "domain/mdm_page.h"
#include "wire/mdm_csv.h"

#define MDM_BULK_JOB "bulk.run"
#define MDM_BULK_ROWS 50000
#define MDM_BULK_BYTES (20 * 1024 * 1024)
#define MDM_BULK_CELL 4096 /* bytes of a cell */
#define MDM_BULK_COUNT 20  /* enrolments of one row */
#define MDM_BULK_DAYS 7    /* so long rows and results are kept after the last step */

/* What holds for rows that say nothing. Words as in the file's columns; "" = nothing said. */
typedef struct mdm_bulk_options_t {
    const char *file; /* its name, for people */
    const char *ownership, *platform, *notify, *language;
    apr_int64_t otp_hours; /* 0: as the settings say */
} mdm_bulk_options_t;

/* ---- a file comes in, in any pieces: no connection is held in between */
typedef struct mdm_bulk_t mdm_bulk_t;
/* MDM_EINPUT: an option is none of the known words. */
apr_status_t mdm_bulk_begin(mdm_ctx_t *ctx, const mdm_bulk_options_t *options, mdm_bulk_t **out);
/* MDM_EINPUT names the column that the first row lacks; MDM_ETOOBIG: too many rows. A row that can't be read is kept with the reason. */
apr_status_t mdm_bulk_feed(mdm_bulk_t *b, const char *data, apr_size_t len);
/* The file has ended: its check begins. Audited; wake the jobs after it. */
apr_status_t mdm_bulk_end(mdm_bulk_t *b, const char **id);
/* It has not: what came of it is removed. */
void mdm_bulk_abort(mdm_bulk_t *b);

/* ---- runs; whoever is limited to folders sees his own ones only (APR_NOTFOUND) */
/* {"id", "state", "file", "options", "total", "walked", "good", "bad", "warned", "made", "unknown_columns", "error", "created_by", "created_at", "started_at",
 * "changed_at", "kept_until", "result"}; state: checking checked running done cancelled failed expired. New reference. */
apr_status_t mdm_bulk_json(mdm_db_t *db, const char *id, json_t **out);
/* One page, newest first, onto items. */
apr_status_t mdm_bulk_list(mdm_db_t *db, const mdm_page_t *page, json_t *items, const char **next);
/* One page of its rows, without secrets: {"id", "line", "username", "result", "field", "note", "made"}. result: "" = all, "good", "warning", "bad". */
apr_status_t mdm_bulk_rows(mdm_db_t *db, const char *id, const char *result, const mdm_page_t *page, json_t *items, const char **next);
/* Makes the enrolments of a checked run; lets one that has failed go on. MDM_ECONFLICT otherwise. In a transaction; audited. */
apr_status_t mdm_bulk_start(mdm_db_t *db, const char *id);
/* Rows that are not done stay undone. MDM_ECONFLICT: it does nothing now. In a transaction; audited. */
apr_status_t mdm_bulk_cancel(mdm_db_t *db, const char *id);
/* It is gone from now on; the job removes its rows, and with `open` cancels the enrolments that nobody has used. In a transaction; audited. */
apr_status_t mdm_bulk_remove(mdm_db_t *db, const char *id, int open);

/* ---- the result: original columns, then line, result, error, token, otp, link, expires; one line for each enrolment. It holds secrets. */
typedef struct mdm_bulk_result_t {
    mdm_ctx_t *ctx;
    const char *id, *base; /* of links */
    json_t *titles;
    apr_int64_t walked, after;
} mdm_bulk_result_t;
/* The first line; public_url: as for mdm_enroll_base(). MDM_ECONFLICT: there is none (yet, or any more). Audited, in a transaction of its own. */
apr_status_t mdm_bulk_result_begin(mdm_ctx_t *ctx, const char *id, const char *public_url, mdm_bulk_result_t **out, const char **text);
/* The next lines, in ctx's pool; NULL: that was all. */
apr_status_t mdm_bulk_result_next(mdm_ctx_t *ctx, mdm_bulk_result_t *r, const char **text);

/* ---- one row: no database (mdm_bulk_row.c) */
enum { MDM_BULK_USERNAME, MDM_BULK_EMAIL, MDM_BULK_MOBILE, MDM_BULK_OWNERSHIP, MDM_BULK_PLATFORM, MDM_BULK_MODE, MDM_BULK_COUNT_OF, MDM_BULK_OTP,
       MDM_BULK_OTP_HOURS, MDM_BULK_VALID_FROM, MDM_BULK_NOTIFY, MDM_BULK_LANGUAGE, MDM_BULK_SERIAL, MDM_BULK_IMEI, MDM_BULK_FOLDER, MDM_BULK_COLUMNS };
extern const mdm_csv_column_t mdm_bulk_columns[MDM_BULK_COLUMNS];

typedef struct mdm_bulk_row_t {
    const char *user, *mail, *phone, *otp, *folder; /* as typed, phone in E.164; "" = nothing said */
    const char *serial, *imei;                      /* as matching compares them; "" = any device */
    const char *ownership, *platform, *level, *notify, *language; /* in the words of mdm_provision_t; all but notify: "" = nothing said */
    const char *folder_id;                          /* NULL: none is named, or not looked for yet */
    apr_int64_t otp_life_ms, valid_from_ms, count;
    const char *warning;       /* NULL: none */
    const char *field, *error; /* why nothing can be done; NULL: it can */
} mdm_bulk_row_t;
/* Reads the cells by the places that mdm_csv_head() found, into ctx's pool. Never fails: the row tells what is wrong with it. */
void mdm_bulk_row_read(mdm_ctx_t *ctx, const mdm_csv_row_t *cells, const int at[MDM_BULK_COLUMNS], const mdm_bulk_options_t *options, mdm_bulk_row_t *out);
/* What is said of a row whose person is known: an address that is another one, a number that is missing. */
void mdm_bulk_row_person(mdm_bulk_row_t *row, const mdm_person_t *person);
/* By which the one-time passwords of rows, and of enrolments, are found equal; "": the row gives none. */
apr_status_t mdm_bulk_row_otp(mdm_ctx_t *ctx, const mdm_csv_row_t *cells, int at, const char **index);
/* MDM_EINPUT, field and sentence: an option is none of the words that a column may have. */
apr_status_t mdm_bulk_options_check(mdm_ctx_t *ctx, const mdm_bulk_options_t *options);

/* ---- folders as rows name them (mdm_bulk_folder.c): by id, by name, or by the end of the path, "Berlin/Sales"; capitals don't matter */
typedef struct mdm_bulk_folders_t mdm_bulk_folders_t;
/* Those that the actor may see, in ctx's pool. */
apr_status_t mdm_bulk_folders(mdm_db_t *db, mdm_bulk_folders_t **out);
/* NULL, and *id; or what is wrong with the text. */
const char *mdm_bulk_folder(apr_pool_t *p, const mdm_bulk_folders_t *folders, const char *text, const char **id);

/* ---- background (mdm_bulk_run.c) */
/* The job MDM_BULK_JOB: one for each run. Batches of one transaction each that also says how far it is, so that it may be cut anywhere and goes on from
 * there; what one row does never stops the others. After some seconds it waits for its next turn. */
apr_status_t mdm_bulk_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s);

/* ---- among its files */
const char *mdm_bulk_purpose(apr_pool_t *p, const char *run_id, apr_int64_t n);
/* The cells of a row as they came; MDM_EUNAVAIL: they don't open. In ctx's pool. */
apr_status_t mdm_bulk_cells(mdm_ctx_t *ctx, const char *run_id, apr_int64_t n, const char *sealed, mdm_csv_row_t *out);
/* The first row again, from its JSON. */
mdm_csv_row_t mdm_bulk_head(mdm_ctx_t *ctx, const char *titles);
json_t *mdm_bulk_options_json(const mdm_bulk_options_t *options);
void mdm_bulk_options_read(mdm_ctx_t *ctx, const char *text, mdm_bulk_options_t *out);
apr_status_t mdm_bulk_job_add(mdm_db_t *db, const char *id);

#endif
