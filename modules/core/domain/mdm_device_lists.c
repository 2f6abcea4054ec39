/* The long lists of a device's inventory, page by page: profiles, certificates, restrictions (DEV-04). */
#include <string.h>

#include "base/mdm_json.h"
#include "domain/mdm_device.h"
#include "mdm_sql_gen.h"

static const char *const sections[] = {"profiles", "certificates", "provisioning", "managed_apps", "restrictions"};

void mdm_device_lists_drop(json_t *inventory)
{
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        json_object_del(inventory, sections[i]);
    json_object_del(inventory, "was");
    json_object_del(inventory, "watch");
}

/* {"allowCamera": false} → [{"name": "allowCamera", "value": false}]. */
static json_t *as_array(json_t *section)
{
    json_t *out, *v;
    const char *key;

    if (!json_is_object(section))
        return json_is_array(section) ? json_incref(section) : json_array();
    out = json_array();
    json_object_foreach(section, key, v)
        json_array_append_new(out, json_pack("{s:s, s:O}", "name", key, "value", v));
    return out;
}

apr_status_t mdm_device_section(mdm_db_t *db, const char *id, const char *section, const mdm_page_t *page, json_t **out,
                                const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_device_full_t *d;
    json_t *all;
    size_t from = page->first ? 0 : (size_t)page->num;
    apr_status_t rv = mdm_q_device_full(db, id, &d);

    *next = NULL;
    if (rv != APR_SUCCESS)
        return rv;
    all = mdm_json_own(ctx, as_array(json_object_get(mdm_json_own(ctx, json_loads(d->inventory, 0, NULL)), section)));
    *out = json_array();
    for (size_t i = from; i < json_array_size(all) && i < from + (size_t)page->count; i++)
        json_array_append(*out, json_array_get(all, i));
    if (from + (size_t)page->count < json_array_size(all))
        *next = mdm_page_next_num(ctx, page, (apr_int64_t)(from + (size_t)page->count), "");
    return APR_SUCCESS;
}
