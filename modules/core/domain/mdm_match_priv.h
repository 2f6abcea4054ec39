/* What the files of the matcher share; of no interest elsewhere. */
#ifndef MDM_MATCH_PRIV_H
#define MDM_MATCH_PRIV_H

#include "domain/mdm_eas_priv.h"
#include "domain/mdm_match.h"
#include "domain/mdm_match_run.h"

/* The living records of some people, and what the matcher makes of them. rows: of mdm_q_match_records_t, by person and id. */
apr_status_t mdm_match_read_people(mdm_db_t *db, const char *people, apr_array_header_t **rows, apr_array_header_t **splits);
/* One person: rows[from, to) -> records in rows' order, then decided; *records (of mdm_match_record_t) is in the order that found refers to. Only managed
 * records that are in use, and mail records, take part. told: 1 with those that only a mail server has told of. */
apr_array_header_t *mdm_match_person(mdm_ctx_t *ctx, const apr_array_header_t *rows, int from, int to, int told, const apr_array_header_t *splits,
                                     mdm_match_mode_e mode, apr_array_header_t **records);
/* The row of a record. */
const mdm_q_match_records_t *mdm_match_row(const apr_array_header_t *rows, int from, int to, const char *record_id);

#endif
