/* Owns what the server says to administrators in rows that stay (messages, errors of deliveries): it is stored as a word with values, so that the console
 * says it in its reader's language; API and CSV give the English sentence as well. What devices and servers said themselves stays as it is. */
#ifndef MDM_SAID_H
#define MDM_SAID_H

#include <apr_pools.h>
#include <jansson.h>

#define MDM_SAID_MARK '\x1f'  /* begins a stored word and each value; mdm_clean() lets it through nowhere else */
#define MDM_SAID_VALUES 4
#define MDM_SAID_VALUE_MAX 1000

typedef struct mdm_said_t {
    const char *word; /* key of words.js */
    const char *text; /* {0}, {1}: the values */
} mdm_said_t;
/* All words, ends with {NULL}. */
extern const mdm_said_t mdm_said_table[];

/* The stored form of a word of the table and its values, which are made clean; ends with NULL. */
const char *mdm_said(apr_pool_t *p, const char *word, ...) __attribute__((sentinel));
/* A stored text as an English sentence; what is not ours as it stands. */
const char *mdm_said_text(apr_pool_t *p, const char *stored);
/* {"word", "values"} of a stored text, null for what is not ours. New reference. */
json_t *mdm_said_json(apr_pool_t *p, const char *stored);

#endif
