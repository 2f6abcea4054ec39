/* Device objects: reading, editing. */
#include "domain/mdm_device.h"
#include "domain/mdm_delivery.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_eas_home.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define NAME_MAX_BYTES 200
#define TEXT_MAX_BYTES 200
#define NOTES_MAX_BYTES 4000


/* ---- one device */

static json_t *text_or_null(const char *s)
{
    return s && *s ? json_string(s) : json_null();
}

static json_t *time_or_null(apr_pool_t *p, int null, apr_int64_t ms)
{
    return null || !ms ? json_null() : json_string(mdm_time_text(p, ms));
}

static json_t *bool_or_null(int null, apr_int64_t v)
{
    return null ? json_null() : json_boolean(v != 0);
}

static json_t *real_or_null(int null, double v)
{
    return null ? json_null() : json_real(v);
}

static json_t *json_or_empty(const char *text)
{
    json_t *j = json_loads(text, 0, NULL);

    return j ? j : json_object();
}

apr_status_t mdm_device_within(mdm_db_t *db, const char *id)
{
    const char *limit = mdm_db_ctx(db)->actor.limit;
    mdm_q_device_within_t *q;

    return *limit ? mdm_q_device_within(db, id, limit, &q) : APR_SUCCESS;
}

static json_t *inventory_json(const char *text)
{
    json_t *j = json_or_empty(text);

    mdm_device_lists_drop(j);
    return j;
}

apr_status_t mdm_device_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    mdm_q_device_full_t *d;
    apr_status_t rv = mdm_q_device_full(db, id, &d);
    json_t *j, *reasons;
    unsigned i;

    if (rv == APR_SUCCESS)
        rv = mdm_delivery_reasons(db, id, &reasons);
    if (rv != APR_SUCCESS)
        return rv;
    {
        const struct {
            const char *name;
            json_t *value;
        } members[] = {
            {"id", json_string(d->id)},
            {"name", json_string(d->name)},
            {"folder", json_pack("{s:s, s:s}", "id", d->folder_id, "name", d->folder_name)},
            {"person", d->person_id ? json_pack("{s:s, s:s, s:s}", "id", d->person_id, "name", d->person_name, "login",
                                                d->person_login)
                                    : json_null()},
            {"state", json_string(d->state)},
            {"mode", json_string(d->mode)},
            {"level", json_string(d->level)},
            {"ownership", json_string(d->ownership)},
            {"platform", json_string(d->platform)},
            {"model", text_or_null(d->model)},
            {"product", text_or_null(d->product)},
            {"serial", text_or_null(d->serial)},
            {"udid", text_or_null(d->udid)},
            {"imei", text_or_null(d->imei)},
            {"eas_device_id", text_or_null(d->eas_device_id)},
            {"os_version", text_or_null(d->os_version)},
            {"build", text_or_null(d->build)},
            {"phone", text_or_null(d->phone)},
            {"supervised", bool_or_null(d->supervised_null, d->supervised)},
            {"passcode_present", bool_or_null(d->passcode_present_null, d->passcode_present)},
            {"passcode_compliant", bool_or_null(d->passcode_compliant_null, d->passcode_compliant)},
            {"encryption", d->encryption_null ? json_null() : json_integer(d->encryption)},
            {"battery", real_or_null(d->battery_null, d->battery)},
            {"capacity_gb", real_or_null(d->capacity_gb_null, d->capacity_gb)},
            {"free_gb", real_or_null(d->free_gb_null, d->free_gb)},
            {"compliance", json_string(d->compliance)},
            {"compliance_reasons", json_incref(reasons)},
            {"mail_mode", text_or_null(d->mail)},
            {"mail_gate", text_or_null(d->mail_gate)},
            {"inventory", inventory_json(d->inventory)},
            {"inventory_at", time_or_null(p, d->inventory_ms_null, d->inventory_ms)},
            {"test_device", json_boolean(d->test_device != 0)},
            {"lost_since", time_or_null(p, d->lost_ms_null, d->lost_ms)},
            {"department", json_string(d->department)},
            {"site", json_string(d->site)},
            {"location", json_string(d->location)},
            {"notes", json_string(d->notes)},
            {"created_at", time_or_null(p, 0, d->created_ms)},
            {"enrolled_at", time_or_null(p, d->enrolled_ms_null, d->enrolled_ms)},
            {"last_contact_at", time_or_null(p, d->last_contact_ms_null, d->last_contact_ms)},
            {"last_contact_ip", text_or_null(d->last_contact_ip)},
            {"last_contact_peer", text_or_null(d->last_contact_peer)},
            {"last_eas_at", time_or_null(p, d->last_eas_ms_null, d->last_eas_ms)},
            {"version", json_integer(d->version)},
        };
        j = json_object();
        for (i = 0; i < sizeof(members) / sizeof(members[0]); i++)
            json_object_set_new(j, members[i].name, members[i].value);
    }
    *out = j;
    if (version)
        *version = d->version;
    return APR_SUCCESS;
}

/* What a mail client did here (PXY-06); null: nothing yet, or the record is none. */
static json_t *use_json(apr_pool_t *p, const mdm_q_device_records_t *r)
{
    if (r->requests_null)
        return json_null();
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "requests", (json_int_t)r->requests, "errors", (json_int_t)r->errors,
                     "bytes_in", (json_int_t)r->bytes_in, "bytes_out", (json_int_t)r->bytes_out, "last_at", time_or_null(p, !r->last_ms, r->last_ms),
                     "last_command", text_or_null(r->last_cmd), "last_sync_at", time_or_null(p, !r->sync_ms, r->sync_ms), "heartbeat_seconds",
                     r->heartbeat_s ? json_integer(r->heartbeat_s) : json_null(), "last_error_at", time_or_null(p, !r->error_ms, r->error_ms),
                     "last_error_http", r->error_ms ? json_integer(r->error_http) : json_null());
}

/* What a mail client says of itself, and why the record came to this device (MAT-03); NULL members where there is nothing to say. */
static void add_reasons(json_t *record, const mdm_q_device_records_t *r)
{
    json_t *rule = json_or_empty(r->match_rule);

    json_object_set_new(record, "client", strcmp(r->kind, "eas") == 0 ? json_or_empty(r->attrs) : json_null());
    json_object_set_new(record, "server", r->server_id ? json_pack("{s:s, s:s}", "id", r->server_id, "name", r->server_name) : json_null());
    json_object_set_new(record, "withheld", text_or_null(r->withheld));
    json_object_set(record, "match", json_object_size(rule) ? rule : json_null());
    json_decref(rule);
}

apr_status_t mdm_device_records(mdm_db_t *db, const char *id, json_t **out)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_device_records(db, id, mdm_now_ms(mdm_db_ctx(db)) - MDM_EAS_REFUSED_MS, &rows);
    int i;

    if (rv != APR_SUCCESS)
        return rv;
    *out = json_array();
    for (i = 0; i < rows->nelts; i++) {
        const mdm_q_device_records_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_device_records_t);
        json_array_append_new(
            *out, json_pack("{s:s, s:s, s:s, s:b, s:s, s:s, s:b, s:I, s:I, s:b, s:o, s:o, s:o, s:o}", "id", r->id, "kind",
                            r->kind, "class", r->class, "live", r->live != 0, "native_id", r->native_id, "state", r->state,
                            "push_ok", r->push_ok && r->has_token, "generation", (json_int_t)r->generation, "queued",
                            (json_int_t)r->queued, "expelled", r->expelled != 0, "first_seen_at",
                            time_or_null(p, 0, r->first_seen_ms), "last_seen_at", time_or_null(p, 0, r->last_seen_ms),
                            "push_due_at", time_or_null(p, r->push_due_ms_null, r->push_due_ms), "push_error",
                            text_or_null(r->push_error)));
        add_reasons(json_array_get(*out, (size_t)i), r);
        json_object_set_new(json_array_get(*out, (size_t)i), "use", use_json(p, r));
    }
    return APR_SUCCESS;
}

apr_status_t mdm_device_apps(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_device_apps(db, id, page->key, page->count + 1, &rows);
    int i;

    *next = NULL;
    if (rv != APR_SUCCESS)
        return rv;
    *out = json_array();
    for (i = 0; i < rows->nelts && i < page->count; i++) {
        const mdm_q_device_apps_t *a = &APR_ARRAY_IDX(rows, i, mdm_q_device_apps_t);
        json_array_append_new(*out, json_pack("{s:s, s:s, s:s, s:s, s:o, s:b, s:s?}", "identifier", a->identifier, "name", a->name,
                                              "version", a->version, "short_version", a->short_version, "size",
                                              a->size_null ? json_null() : json_integer(a->size), "managed",
                                              a->managed && strcmp(a->managed, "Managed") == 0, "status", a->managed));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next(mdm_db_ctx(db), page, a->identifier, "");
    }
    return APR_SUCCESS;
}

apr_status_t mdm_device_events(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_device_events(db, id, page->first ? APR_INT64_MAX : page->num, page->id, page->count + 1, &rows);
    int i;

    *next = NULL;
    if (rv != APR_SUCCESS)
        return rv;
    *out = json_array();
    for (i = 0; i < rows->nelts && i < page->count; i++) {
        const mdm_q_device_events_t *e = &APR_ARRAY_IDX(rows, i, mdm_q_device_events_t);
        json_array_append_new(*out, json_pack("{s:s, s:s, s:s, s:o}", "id", e->id, "at",
                                              mdm_time_text(mdm_db_ctx(db)->pool, e->at_ms), "kind", e->kind, "detail",
                                              json_or_empty(e->detail)));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next_num(mdm_db_ctx(db), page, e->at_ms, e->id);
    }
    return APR_SUCCESS;
}

/* ---- editing */

/* Takes a new text: checked, and noted in the audit's detail if it differs. */
static apr_status_t take_text(mdm_ctx_t *ctx, json_t *detail, const char *field, apr_size_t max, int required,
                              const char *old, const char *given, const char **out)
{
    *out = old;
    if (!given)
        return APR_SUCCESS;
    if (strlen(given) > max || !mdm_utf8_valid(given, strlen(given)))
        return mdm_fail(ctx, MDM_EINPUT, field, "must be at most %d bytes of text", (int)max);
    if (required && !*mdm_clean(ctx->pool, given, max))
        return mdm_fail(ctx, MDM_EINPUT, field, "must not be empty");
    if (strcmp(old, given) != 0)
        json_object_set_new(detail, field, json_pack("{s:s, s:s}", "before", old, "after", given));
    *out = given;
    return APR_SUCCESS;
}

static apr_status_t merge_edit(mdm_ctx_t *ctx, const mdm_q_device_full_t *d, const mdm_device_edit_t *e, json_t *detail,
                               mdm_device_edit_t *to)
{
    const struct {
        const char *field;
        apr_size_t max;
        const char *old, *given, **out;
    } all[] = {{"name", NAME_MAX_BYTES, d->name, e->name ? mdm_clean(ctx->pool, e->name, NAME_MAX_BYTES + 1) : NULL, &to->name},
               {"ownership", 20, d->ownership, e->ownership, &to->ownership},
               {"department", TEXT_MAX_BYTES, d->department, e->department, &to->department},
               {"site", TEXT_MAX_BYTES, d->site, e->site, &to->site},
               {"location", TEXT_MAX_BYTES, d->location, e->location, &to->location},
               {"notes", NOTES_MAX_BYTES, d->notes, e->notes, &to->notes}};
    unsigned i;
    apr_status_t rv = APR_SUCCESS;

    for (i = 0; i < sizeof(all) / sizeof(all[0]) && rv == APR_SUCCESS; i++)
        rv = take_text(ctx, detail, all[i].field, all[i].max, i == 0, all[i].old, all[i].given, all[i].out);
    if (rv == APR_SUCCESS && strcmp(to->ownership, "corporate") != 0 && strcmp(to->ownership, "personal") != 0)
        rv = mdm_fail(ctx, MDM_EINPUT, "ownership", "must be corporate or personal");
    to->test_device = e->test_device < 0 ? d->test_device != 0 : e->test_device != 0;
    if (to->test_device != (d->test_device != 0))
        json_object_set_new(detail, "test_device",
                            json_pack("{s:b, s:b}", "before", d->test_device != 0, "after", to->test_device));
    return rv;
}

apr_status_t mdm_device_edit(mdm_db_t *db, const char *id, apr_int64_t version, const mdm_device_edit_t *edit)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *detail = mdm_json_own(ctx, json_object());
    mdm_device_edit_t to;
    mdm_q_device_full_t *d;
    int changed = 0;
    apr_status_t rv = mdm_q_device_full(db, id, &d);

    if (rv == APR_SUCCESS && d->version != version)
        rv = mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this device meanwhile: load it again.");
    if (rv == APR_SUCCESS)
        rv = merge_edit(ctx, d, edit, detail, &to);
    if (rv != APR_SUCCESS || json_object_size(detail) == 0)
        return rv;
    rv = mdm_q_device_edit(db, id, version, to.name, mdm_lower(ctx->pool, to.name), to.ownership, to.department, to.site,
                           to.location, to.notes, to.test_device, &changed);
    if (rv == APR_SUCCESS && changed != 1)
        rv = mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this device meanwhile: load it again.");
    if (rv == APR_SUCCESS)
        rv = mdm_audit(db, "device.edit", "device", id, to.name, "done", detail);
    if (rv == APR_SUCCESS)
        rv = mdm_change_add(db, "device", id);
    return rv;
}
