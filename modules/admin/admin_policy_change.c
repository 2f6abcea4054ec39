/* What changes the effect of policies: sandbox, publishing, deleting; and how far it has come (POL-01, POL-08, POL-09). */
#include "mdm_admin.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_policies.h"
#include "domain/mdm_policy_status.h"
#include "domain/mdm_recompute.h"

/* ---- sandbox */

static apr_status_t sandbox_put(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    return mdm_policy_sandbox_put(db, id, version, arg);
}

int mdm_adm_policy_sandbox_save(mdm_web_call_t *call)
{
    mdm_policy_content_t c = {NULL};
    json_t *levels = NULL;
    const mdm_jfield_t fields[] = {{"settings", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &c.settings, NULL},
                                   {"levels", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &levels, NULL},
                                   {"note", MDM_JF_STR, 0, 0, MDM_POLICY_TEXT_MAX, NULL, 0, &c.note, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_policy_levels(call->ctx, levels, &c);
    if (rv == APR_SUCCESS && !c.settings && !levels)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "settings", "is missing: send settings, or levels to begin with their presets");
    return rv == APR_SUCCESS ? mdm_adm_edit(call, sandbox_put, &c, mdm_policy_sandbox_json) : mdm_adm_fail(call, rv);
}

static apr_status_t sandbox_patch(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    json_t *settings = NULL;
    const mdm_jfield_t fields[] = {{"settings", MDM_JF_OBJECT, 1, 0, 0, NULL, 0, &settings, NULL}, {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_policy_sandbox_patch(db, id, version, settings) : rv;
}

int mdm_adm_policy_sandbox_edit(mdm_web_call_t *call)
{
    return mdm_adm_edit(call, sandbox_patch, NULL, mdm_policy_sandbox_json);
}

int mdm_adm_policy_sandbox_delete(mdm_web_call_t *call)
{
    return mdm_adm_drop(call, mdm_policy_sandbox_drop);
}

/* ---- publishing */

typedef struct publish_t {
    mdm_policy_publish_t what;
    const char *made;
} publish_t;

static apr_status_t publish(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    publish_t *p = (publish_t *)arg;

    return mdm_policy_publish(db, id, version, &p->what, &p->made);
}

/* The answer is the policy that the version is in force in: another one than in the path if it was published as a new one. */
int mdm_adm_policy_publish(mdm_web_call_t *call)
{
    publish_t p = {{0, NULL, NULL, NULL}, NULL};
    const mdm_jfield_t fields[] = {{"number", MDM_JF_INT, 0, 0, APR_INT32_MAX, NULL, 0, &p.what.number, NULL},
                                   {"note", MDM_JF_STR, 0, 0, MDM_POLICY_TEXT_MAX, NULL, 0, &p.what.note, NULL},
                                   {"name", MDM_JF_STR, 0, 1, MDM_POLICY_NAME_MAX, NULL, 0, &p.what.name, NULL},
                                   {"folder", MDM_JF_UUID, 0, 0, 0, NULL, 0, &p.what.folder, NULL},
                                   {NULL}};
    const char *id = NULL;
    json_t *body = NULL;
    apr_int64_t version = 0;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_if_match(call, &version);
    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = publish(call, db, id, version, &p);
    rv = mdm_adm_end(db, rv);
    if (rv != APR_SUCCESS || p.what.name)
        return mdm_adm_made(call, rv, "policies", p.made, mdm_policy_json);
    rv = mdm_adm_read(call, mdm_policy_json, id, &body, &version);
    return rv == APR_SUCCESS ? mdm_adm_object(call, body, version) : mdm_adm_fail(call, rv);
}

static apr_status_t note(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    const char *text = NULL;
    apr_int64_t number = 0;
    const mdm_jfield_t fields[] = {{"note", MDM_JF_STR, 1, 0, MDM_POLICY_TEXT_MAX, NULL, 0, &text, NULL}, {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS && mdm_parse_i64(call->args[1], 0, APR_INT32_MAX, &number) != APR_SUCCESS)
        rv = mdm_fail(call->ctx, APR_NOTFOUND, NULL, "There is no such version.");
    return rv == APR_SUCCESS ? mdm_policy_note(db, id, version, number, text) : rv;
}

int mdm_adm_policy_note(mdm_web_call_t *call)
{
    return mdm_adm_edit(call, note, NULL, mdm_policy_json);
}

/* ---- deleting */

int mdm_adm_policy_delete(mdm_web_call_t *call)
{
    return mdm_adm_drop_many(call, mdm_policy_delete);
}

/* ---- how far it has come */

static apr_status_t progress(mdm_db_t *db, const char *id, json_t **out)
{
    mdm_recompute_left_t left;
    apr_status_t rv = mdm_recompute_left(db, &left);

    if (rv == APR_SUCCESS)
        *out = json_pack("{s:I, s:I, s:o}", "marks", (json_int_t)left.marks, "devices", (json_int_t)left.devices, "since",
                         mdm_adm_time(mdm_db_ctx(db)->pool, left.since_ms));
    return rv;
}

int mdm_adm_policy_progress(mdm_web_call_t *call)
{
    return mdm_adm_look(call, progress);
}

int mdm_adm_policy_status(mdm_web_call_t *call)
{
    return mdm_adm_look(call, mdm_policy_status_json);
}

int mdm_adm_device_policies(mdm_web_call_t *call)
{
    return mdm_adm_look(call, mdm_device_policies_json);
}

int mdm_adm_person_policies(mdm_web_call_t *call)
{
    return mdm_adm_look(call, mdm_person_policies_json);
}

static apr_status_t devices(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    return mdm_policy_devices_json(db, arg, page, items, next);
}

int mdm_adm_policy_devices(mdm_web_call_t *call)
{
    static const char *const params[] = {"channel", "state", NULL};
    mdm_policy_devices_t what = {NULL};
    mdm_adm_list_t list = {.params = params, .read = devices, .arg = &what, .name = "policy-devices",
                           .columns = "id name person channel state error attempts number updated_at"};
    apr_status_t rv = mdm_adm_id(call, &what.policy);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "channel", mdm_delivery_channels, &what.channel);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "state", mdm_delivery_states, &what.state);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.sig = apr_pstrcat(call->ctx->pool, "policy.devices|", what.policy, "|", what.channel, "|", what.state, NULL);
    return mdm_adm_list(call, &list);
}
