/* Owns policies as objects (POL-01, POL-03): their names and folders, versions, the sandbox, publishing. What they then do to devices is
 * mdm_policy.h (resolver), mdm_recompute.h and mdm_delivery.h. Functions that write run in the caller's transaction, are audited, and leave their
 * mark for recomputing there.
 *
 * The version of a policy (ETag) counts every change of it, its sandbox and its versions, so that of two who publish at once one wins.
 * Policies of type enrollment have settings of their own, {"<name>": value} without columns and levels (mdm_enroll.h), and reach people
 * only: nothing is computed again for them (ENR-07). Somebody with ctx->actor.limit changes no policy (MDM_EDENIED): it may reach devices that he
 * does not see. */
#ifndef MDM_POLICIES_H
#define MDM_POLICIES_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_page.h"

#define MDM_POLICY_FOLDER_ROOT "00000000-0000-4000-8000-000000000003"
#define MDM_POLICY_FOLDERS_MAX 1000
#define MDM_POLICY_FOLDER_DEPTH 16
#define MDM_POLICY_NAME_MAX 100       /* bytes; folders too */
#define MDM_POLICY_TEXT_MAX 2000      /* description, note */
#define MDM_POLICY_COUNT_MAX 1000     /* where counting of devices and assignments ends */
#define MDM_POLICY_SANDBOX 0          /* its number */

/* device_control security email enrollment, ends with NULL */
extern const char *const mdm_policy_type_names[];
#define MDM_POLICY_ENROLLMENT "enrollment"
/* none low moderate strict high, ends with NULL */
extern const char *const mdm_policy_level_names[];

typedef struct mdm_policy_filter_t {
    const char *type, *folder, *q; /* "" = any; folder without those below it; q: part of the name */
} mdm_policy_filter_t;

/* One page by name, pushed onto items. */
apr_status_t mdm_policies_json(mdm_db_t *db, const mdm_policy_filter_t *f, const mdm_page_t *page, json_t *items, const char **next);
apr_status_t mdm_policy_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);

/* Settings of a version as they are given: settings, if there are any, as a whole; else the presets of the levels. */
typedef struct mdm_policy_content_t {
    json_t *settings;                /* borrowed; NULL */
    const char *corporate, *personal; /* names of levels; NULL = as before, "none" for a new policy */
    const char *note;                /* NULL = "" */
} mdm_policy_content_t;

typedef struct mdm_policy_new_t {
    const char *type, *name;
    const char *folder;      /* NULL = the root */
    const char *description; /* NULL = "" */
    int publish;             /* 1: as version 1 at once; 0: as sandbox */
    mdm_policy_content_t content;
} mdm_policy_new_t;
/* MDM_EINPUT names a setting "settings.<id>.<column>"; MDM_ECONFLICT: the name is taken. */
apr_status_t mdm_policy_create(mdm_db_t *db, const mdm_policy_new_t *what, const char **id);
/* NULL = as it is. */
apr_status_t mdm_policy_edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *name, const char *folder, const char *description);
/* A new policy, sandbox only, of a version of this one. */
apr_status_t mdm_policy_duplicate(mdm_db_t *db, const char *from, apr_int64_t number, const char *name, const char *folder, const char **id);

/* ---- versions (mdm_policy_versions.c) */
apr_status_t mdm_policy_versions_json(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t *items, const char **next);
/* With settings, and beside them the presets of the levels that it began with. *version is the policy's. */
apr_status_t mdm_policy_version_json(mdm_db_t *db, const char *id, apr_int64_t number, json_t **out, apr_int64_t *version);
apr_status_t mdm_policy_sandbox_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);
/* What changes from one version to another: [{"setting", "column", "before", "after"}], column null for enrollment. from < 0: the one in force (the
 * sandbox if there is none); to < 0: the sandbox. */
apr_status_t mdm_policy_diff_json(mdm_db_t *db, const char *id, apr_int64_t from, apr_int64_t to, json_t **out);
/* What "inherit" comes to where the policy is assigned (the first 20 places): {"<setting>": {"<column>": {"value", "policy": {"id", "name"}}}}; {"places":
 * true} where places differ. (mdm_policy_inherit.c) */
apr_status_t mdm_policy_inherited_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);
/* ---- the sandbox, publishing, deleting (mdm_policy_publish.c) */
/* Makes the sandbox or replaces what it holds. */
apr_status_t mdm_policy_sandbox_put(mdm_db_t *db, const char *id, apr_int64_t version, const mdm_policy_content_t *c);
/* Changes settings of the sandbox, which begins as the published version if there is none: {"<setting>": {"<column>": value} or null}. */
apr_status_t mdm_policy_sandbox_patch(mdm_db_t *db, const char *id, apr_int64_t version, json_t *settings);
apr_status_t mdm_policy_sandbox_drop(mdm_db_t *db, const char *id, apr_int64_t version);
/* Makes a version the next one that is in force. The sandbox ends with it if it is the one. name: as version 1 of a new policy instead, whose id
 * is *made; else *made is the policy's. */
typedef struct mdm_policy_publish_t {
    apr_int64_t number;        /* which; the sandbox or an earlier version */
    const char *note;          /* NULL = that of the sandbox */
    const char *name, *folder; /* NULL: of the same policy */
} mdm_policy_publish_t;
apr_status_t mdm_policy_publish(mdm_db_t *db, const char *id, apr_int64_t version, const mdm_policy_publish_t *what, const char **made);
apr_status_t mdm_policy_note(mdm_db_t *db, const char *id, apr_int64_t version, apr_int64_t number, const char *note);

/* With its versions and assignments; what it brought is taken away by recomputing. confirm: the number of devices that have it, as
 * mdm_policy_json() says it, if they are more than one (UI-04). */
apr_status_t mdm_policy_delete(mdm_db_t *db, const char *id, apr_int64_t version, apr_int64_t confirm);

/* ---- folders (mdm_policy_folder.c) */
apr_status_t mdm_policy_folders_json(mdm_db_t *db, json_t **out);
apr_status_t mdm_policy_folder_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);
apr_status_t mdm_policy_folder_create(mdm_db_t *db, const char *parent, const char *name, const char **id);
apr_status_t mdm_policy_folder_edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *name, const char *parent);
apr_status_t mdm_policy_folder_delete(mdm_db_t *db, const char *id, apr_int64_t version);

#endif
