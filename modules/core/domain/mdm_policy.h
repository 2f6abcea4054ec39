/* Owns the policy resolver: which assigned policies apply to a device, in which order, and what each setting then is (POL-02,
 * POL-05, POL-06). Pure: no database, no clock; the same input in any order gives the same result and the same hash. */
#ifndef MDM_POLICY_H
#define MDM_POLICY_H

#include <apr_tables.h>

#include "base/mdm_json.h"

/* Who an assignment may reach, nearest first. A target is "<target_kind>:<target_id>" as in the assignment table:
 * user side   person:…, user_group:… (by group order), user_folder:… (nearest to root), user_source:…
 * device side device:…, device_group:… (by group order), folder:… (nearest to root) */
typedef struct mdm_policy_subject_t {
    const char *const *user_targets;   /* NULL-terminated; NULL = no owner */
    const char *const *device_targets; /* NULL-terminated; NULL = no device yet (enrolment) */
    const char *ownership;             /* "corporate" or "personal": the column that counts */
} mdm_policy_subject_t;

/* One row of the assignment table joined with the version of its policy that this device gets. */
typedef struct mdm_policy_assignment_t {
    const char *id;        /* assignment */
    const char *policy_id;
    const char *type;      /* device_control security email enrollment */
    apr_int64_t number;    /* version; 0 = sandbox */
    const char *target;
    const char *conflict;  /* device side: user_first device_first device_only user_only */
    apr_int64_t position;  /* among assignments to the same target */
    json_t *settings;      /* policy_version.settings; borrowed */
} mdm_policy_assignment_t;

/* The assignments of one type that apply, in order of precedence (pointers into `list`). The conflict rule of the nearest
 * device-side assignment decides how the two sides join; without one the user side stands alone. A policy that is reached by
 * several ways keeps its nearest place. */
apr_status_t mdm_policy_order(mdm_ctx_t *ctx, const mdm_policy_subject_t *who, const char *type,
                              const mdm_policy_assignment_t *list, int n, apr_array_header_t **order);

typedef struct mdm_policy_effective_t {
    json_t *settings;   /* {"<setting>": {"value": v, "policy": id, "version": n, "via": target}}; v null = not set. Owned by ctx->pool */
    const char *hash;   /* SHA-256 of the values alone: where they come from does not cause a delivery */
} mdm_policy_effective_t;

/* Setting by setting the first value that is not "inherit" (POL-06). Settings that nobody gives a value are absent. */
apr_status_t mdm_policy_resolve(mdm_ctx_t *ctx, const mdm_policy_subject_t *who, const char *type,
                                const mdm_policy_assignment_t *list, int n, mdm_policy_effective_t **out);

#endif
