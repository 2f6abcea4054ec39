/* Owns the tree of device folders and the static device groups, and puts devices into them (DEV-01). The fixed folders (the root and
 * "Pending Enrollment") can't be renamed, moved or deleted. All functions run inside the caller's transaction where they write; audited. For somebody with ctx->actor.limit only his folders, those
 * below them, and their devices are there. */
#ifndef MDM_FOLDER_H
#define MDM_FOLDER_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_page.h"

#define MDM_FOLDER_ROOT "00000000-0000-4000-8000-000000000001"
#define MDM_FOLDERS_MAX 5000
#define MDM_FOLDER_DEPTH 16
#define MDM_DEVICES_AT_ONCE 500 /* moved, or put into a group, by one call */

/* The whole tree as API members, a folder behind the one it is in; devices: in the folder itself, counted up to 1,000. New reference. */
apr_status_t mdm_folders_json(mdm_db_t *db, json_t **out);
apr_status_t mdm_folder_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);
/* MDM_ECONFLICT: the name is taken there; the tree is full or too deep. APR_NOTFOUND: no such parent. */
apr_status_t mdm_folder_create(mdm_db_t *db, const char *parent, const char *name, const char **id);
/* name, parent: NULL = as it is. MDM_ECONFLICT: fixed, a name that is taken, a folder below itself. */
apr_status_t mdm_folder_edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *name, const char *parent);
/* MDM_ECONFLICT while it holds devices or folders. */
apr_status_t mdm_folder_delete(mdm_db_t *db, const char *id, apr_int64_t version);
/* Moves devices, all or none. ids: array of device ids, at most MDM_DEVICES_AT_ONCE. Pending ones stay where they are (MDM_ECONFLICT). */
apr_status_t mdm_devices_move(mdm_db_t *db, json_t *ids, const char *folder);

/* One page by name, pushed onto items. */
apr_status_t mdm_groups_json(mdm_db_t *db, const mdm_page_t *page, json_t *items, const char **next);
apr_status_t mdm_group_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);
apr_status_t mdm_group_create(mdm_db_t *db, const char *name, apr_int64_t position, const char **id);
/* name NULL, position NULL: as it is. */
apr_status_t mdm_group_edit(mdm_db_t *db, const char *id, apr_int64_t version, const char *name, const apr_int64_t *position);
apr_status_t mdm_group_delete(mdm_db_t *db, const char *id, apr_int64_t version);
/* Puts devices in and takes others out, all or none; what is so already is no mistake. Either may be NULL. MDM_ECONFLICT for a dynamic group. */
apr_status_t mdm_group_change(mdm_db_t *db, const char *id, json_t *add, json_t *drop);

#endif
