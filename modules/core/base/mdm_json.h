/* Owns JSON in and out: jansson with limits, typed field tables and refusal of unknown fields by name (API-04). */
#ifndef MDM_JSON_H
#define MDM_JSON_H

#include <jansson.h>
#include "base/mdm_text.h"

#define MDM_JSON_MAX_DEPTH 32

/* Parses one document; the result is released with pool p. MDM_EINPUT names line and reason; nesting is at most
 * MDM_JSON_MAX_DEPTH; duplicate keys are refused. */
apr_status_t mdm_json_parse(mdm_ctx_t *ctx, const char *text, apr_size_t len, json_t **out);
/* Ties a reference to ctx->pool and returns it (json_decref at pool clean-up). NULL stays NULL. */
json_t *mdm_json_own(const mdm_ctx_t *ctx, json_t *j);
/* Compact text in p. */
char *mdm_json_text(apr_pool_t *p, const json_t *j);

typedef enum { MDM_JF_STR, MDM_JF_INT, MDM_JF_BOOL, MDM_JF_UUID, MDM_JF_OBJECT, MDM_JF_ARRAY, MDM_JF_ENUM } mdm_jf_type_e;

/* One allowed field of an object. */
typedef struct mdm_jfield_t {
    const char *name;
    mdm_jf_type_e type;
    int required;
    apr_int64_t min, max;      /* STR: length in bytes; INT: value; ARRAY: count; both 0: no limit */
    const char *const *choices; /* ENUM: NULL-terminated */
    int nullable;
    void *out; /* STR/UUID/ENUM: const char **; INT: apr_int64_t *; BOOL: int *; OBJECT/ARRAY: json_t ** (borrowed).
                * Untouched if the field is absent; NULL / 0 if null was given. May be NULL. */
    int *given; /* set to 1 if the field is present; may be NULL */
} mdm_jfield_t;

/* Reads an object by its table (ends with name == NULL). Strings are checked UTF-8 without control characters except
 * \n and \t and copied to ctx->pool. MDM_EINPUT through mdm_fail() with the field's name. */
apr_status_t mdm_json_fields(mdm_ctx_t *ctx, json_t *obj, const mdm_jfield_t *fields);

#endif
