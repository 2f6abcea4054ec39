/* Folders and groups of devices, folders of policies (DEV-01, POL-01). */
#include "mdm_admin.h"

#include <http_protocol.h>
#include "base/mdm_json.h"
#include "domain/mdm_dynamic.h"
#include "domain/mdm_folder.h"
#include "domain/mdm_policies.h"

#define NAME_MAX_BYTES 200
#define POSITION_MAX 1000000

/* The folders of devices and those of policies: two trees, one way of speaking of them. */
typedef struct tree_t {
    const char *path, *root;
    apr_int64_t name_max; /* bytes */
    apr_status_t (*all)(mdm_db_t *db, json_t **items);
    mdm_adm_read_fn one;
    apr_status_t (*create)(mdm_db_t *db, const char *parent, const char *name, const char **id);
    apr_status_t (*edit)(mdm_db_t *db, const char *id, apr_int64_t version, const char *name, const char *parent);
} tree_t;

static const tree_t device_tree = {"folders", MDM_FOLDER_ROOT, NAME_MAX_BYTES, mdm_folders_json, mdm_folder_json, mdm_folder_create,
                                   mdm_folder_edit};
static const tree_t policy_tree = {"policy-folders", MDM_POLICY_FOLDER_ROOT, MDM_POLICY_NAME_MAX, mdm_policy_folders_json,
                                   mdm_policy_folder_json, mdm_policy_folder_create, mdm_policy_folder_edit};

static int tree_list(mdm_web_call_t *call, const tree_t *tree)
{
    json_t *items = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_params(call, NULL);

    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = tree->all(db, &items);
    mdm_db_close(db);
    mdm_json_own(call->ctx, items);
    return rv == APR_SUCCESS ? mdm_adm_items(call, json_incref(items), NULL) : mdm_adm_fail(call, rv);
}

static int tree_create(mdm_web_call_t *call, const tree_t *tree)
{
    const char *name = NULL, *parent = tree->root, *id = NULL;
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 1, 1, tree->name_max, NULL, 0, &name, NULL},
                                   {"parent", MDM_JF_UUID, 0, 0, 0, NULL, 0, &parent, NULL},
                                   {NULL}};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = tree->create(db, parent, name, &id);
    return mdm_adm_made(call, mdm_adm_end(db, rv), tree->path, id, tree->one);
}

static apr_status_t tree_edit(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    const tree_t *tree = arg;
    const char *name = NULL, *parent = NULL;
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 0, 1, tree->name_max, NULL, 0, &name, NULL},
                                   {"parent", MDM_JF_UUID, 0, 0, 0, NULL, 0, &parent, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? tree->edit(db, id, version, name, parent) : rv;
}

int mdm_adm_folders(mdm_web_call_t *call) { return tree_list(call, &device_tree); }
int mdm_adm_folder(mdm_web_call_t *call) { return mdm_adm_one(call, device_tree.one); }
int mdm_adm_folder_create(mdm_web_call_t *call) { return tree_create(call, &device_tree); }
int mdm_adm_folder_edit(mdm_web_call_t *call) { return mdm_adm_edit(call, tree_edit, &device_tree, device_tree.one); }
int mdm_adm_folder_delete(mdm_web_call_t *call) { return mdm_adm_drop(call, mdm_folder_delete); }

int mdm_adm_policy_folders(mdm_web_call_t *call) { return tree_list(call, &policy_tree); }
int mdm_adm_policy_folder(mdm_web_call_t *call) { return mdm_adm_one(call, policy_tree.one); }
int mdm_adm_policy_folder_create(mdm_web_call_t *call) { return tree_create(call, &policy_tree); }
int mdm_adm_policy_folder_edit(mdm_web_call_t *call) { return mdm_adm_edit(call, tree_edit, &policy_tree, policy_tree.one); }
int mdm_adm_policy_folder_delete(mdm_web_call_t *call) { return mdm_adm_drop(call, mdm_policy_folder_delete); }

int mdm_adm_devices_move(mdm_web_call_t *call)
{
    json_t *ids = NULL;
    const char *folder = NULL;
    const mdm_jfield_t fields[] = {{"devices", MDM_JF_ARRAY, 1, 1, MDM_DEVICES_AT_ONCE, NULL, 0, &ids, NULL},
                                   {"folder", MDM_JF_UUID, 1, 0, 0, NULL, 0, &folder, NULL},
                                   {NULL}};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_devices_move(db, ids, folder);
    rv = mdm_adm_end(db, rv);
    return rv == APR_SUCCESS ? mdm_web_empty(call->r, HTTP_NO_CONTENT) : mdm_adm_fail(call, rv);
}

/* ---- groups */

static apr_status_t groups(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    return mdm_groups_json(db, page, items, next);
}

int mdm_adm_groups(mdm_web_call_t *call)
{
    const mdm_adm_list_t list = {.sig = "groups", .read = groups, .name = "groups", .columns = "id name kind position devices"};

    return mdm_adm_list(call, &list);
}

int mdm_adm_group(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_group_json);
}

int mdm_adm_group_create(mdm_web_call_t *call)
{
    const char *name = NULL, *id = NULL;
    json_t *criteria = NULL, *base = NULL;
    apr_int64_t position = 0;
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 1, 1, NAME_MAX_BYTES, NULL, 0, &name, NULL},
                                   {"position", MDM_JF_INT, 0, 0, POSITION_MAX, NULL, 0, &position, NULL},
                                   {"criteria", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &criteria, NULL},
                                   {"base", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &base, NULL},
                                   {NULL}};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS && base && !criteria)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "criteria", "is missing");

    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_group_create(db, name, position, &id);
    if (rv == APR_SUCCESS && criteria)
        rv = mdm_dynamic_set(db, id, criteria, base);
    return mdm_adm_made(call, mdm_adm_end(db, rv), "groups", id, mdm_group_json);
}

static apr_status_t group_edit(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    const char *name = NULL;
    apr_int64_t position = 0;
    int given = 0;
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 0, 1, NAME_MAX_BYTES, NULL, 0, &name, NULL},
                                   {"position", MDM_JF_INT, 0, 0, POSITION_MAX, NULL, 0, &position, &given},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_group_edit(db, id, version, name, given ? &position : NULL) : rv;
}

int mdm_adm_group_edit(mdm_web_call_t *call)
{
    return mdm_adm_edit(call, group_edit, NULL, mdm_group_json);
}

int mdm_adm_group_delete(mdm_web_call_t *call)
{
    return mdm_adm_drop(call, mdm_group_delete);
}

int mdm_adm_group_devices(mdm_web_call_t *call)
{
    json_t *add = NULL, *drop = NULL;
    const char *id = NULL;
    const mdm_jfield_t fields[] = {{"add", MDM_JF_ARRAY, 0, 1, MDM_DEVICES_AT_ONCE, NULL, 0, &add, NULL},
                                   {"remove", MDM_JF_ARRAY, 0, 1, MDM_DEVICES_AT_ONCE, NULL, 0, &drop, NULL},
                                   {NULL}};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS && !add && !drop)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "add", "is missing");
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_group_change(db, id, add, drop);
    rv = mdm_adm_end(db, rv);
    return rv == APR_SUCCESS ? mdm_web_empty(call->r, HTTP_NO_CONTENT) : mdm_adm_fail(call, rv);
}
