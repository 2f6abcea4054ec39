/* The nodes of the zone: MDM role, names, end (NOD-02, NOD-03, NOD-06, NOD-08). Their devices are a filter of the device list. */
#include "mdm_admin.h"

#include "base/mdm_json.h"
#include "domain/mdm_nodes.h"

int mdm_adm_nodes(mdm_web_call_t *call)
{
    json_t *items = NULL;
    mdm_page_t page = {NULL};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_page(call, NULL, "nodes", &page);

    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = mdm_nodes_json(db, &items);
    mdm_db_close(db);
    if (rv == APR_SUCCESS)
        return mdm_adm_items(call, items, NULL);
    json_decref(items);
    return mdm_adm_fail(call, rv);
}

int mdm_adm_node(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_node_json);
}

static apr_status_t do_edit(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    return mdm_node_edit(db, id, version, arg);
}

int mdm_adm_node_edit(mdm_web_call_t *call)
{
    mdm_node_edit_t edit = {.role = -1};
    const mdm_jfield_t fields[] = {
        {.name = "mdm_role", .type = MDM_JF_BOOL, .out = &edit.role},
        {.name = "default_name", .type = MDM_JF_STR, .max = 253, .out = &edit.default_name},
        {.name = "extra_names", .type = MDM_JF_ARRAY, .max = MDM_NODE_NAMES_MAX, .out = &edit.extra_names},
        {.name = "confirm", .type = MDM_JF_BOOL, .out = &edit.confirm},
        {.name = NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_adm_edit(call, do_edit, &edit, mdm_node_json) : mdm_adm_fail(call, rv);
}

int mdm_adm_node_delete(mdm_web_call_t *call)
{
    return mdm_adm_drop(call, mdm_node_delete);
}
