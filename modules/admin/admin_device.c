/* Devices: list, page, edit, refresh, what belongs to one (DEV-02..04, DEV-08). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>
#include "base/mdm_json.h"
#include "domain/mdm_command.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_device.h"
#include "domain/mdm_log_rows.h"


static const char *const filters[] = {"q", "state", "mode", "platform", "ownership", "person", "folder", "group", "node", "lost", "source_removed", "sort", NULL};

static apr_status_t flag(mdm_web_call_t *call, const char *name, const char *text, int *out)
{
    *out = text && strcmp(text, "1") == 0;
    return !text || *out || strcmp(text, "0") == 0 ? APR_SUCCESS : mdm_fail(call->ctx, MDM_EINPUT, name, "must be 0 or 1");
}

static apr_status_t read_filter(mdm_web_call_t *call, mdm_device_filter_t *f)
{
    const char *lost = NULL, *orphan = NULL;
    const struct {
        const char *name, **to;
    } all[] = {{"q", &f->q}, {"state", &f->state}, {"mode", &f->mode}, {"platform", &f->platform},
               {"ownership", &f->ownership}, {"person", &f->person}, {"folder", &f->folder}, {"group", &f->group}, {"node", &f->node}, {"sort", &f->sort}, {"lost", &lost}, {"source_removed", &orphan}};
    unsigned i;
    apr_status_t rv = APR_SUCCESS;

    memset(f, 0, sizeof(*f));
    for (i = 0; i < sizeof(all) / sizeof(all[0]) && rv == APR_SUCCESS; i++)
        rv = mdm_web_query(call->r, call->ctx, all[i].name, all[i].to);
    if (rv == APR_SUCCESS)
        rv = flag(call, "lost", lost, &f->lost);
    if (rv == APR_SUCCESS)
        rv = flag(call, "source_removed", orphan, &f->orphan);
    return rv == APR_SUCCESS ? mdm_device_filter_check(call->ctx, f) : rv;
}

static json_t *row_json(apr_pool_t *p, const mdm_device_row_t *d)
{
    json_t *person = d->person_id ? json_pack("{s:s, s:s, s:s}", "id", d->person_id, "name", d->person_name, "login",
                                              d->person_login)
                                  : json_null();

    return json_pack("{s:s, s:s, s:o, s:{s:s, s:s}, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:b, s:i, s:I, s:o, s:o, s:o, s:o,"
                     " s:o, s:I}",
                     "id", d->id, "name", d->name, "person", person, "folder", "id", d->folder_id, "name", d->folder_name, "state", d->state, "mode", d->mode, "level", d->level,
                     "ownership", d->ownership, "platform", d->platform, "model", mdm_adm_text(d->model), "product",
                     mdm_adm_text(d->product), "serial", mdm_adm_text(d->serial), "os_version",
                     mdm_adm_text(d->os_version), "compliance", d->compliance, "test_device", d->test_device,
                     "severity", d->worst, "commands_open", (json_int_t)d->commands_open, "lost_since",
                     mdm_adm_time(p, d->lost_ms), "created_at", mdm_adm_time(p, d->created_ms), "enrolled_at",
                     mdm_adm_time(p, d->enrolled_ms), "last_contact_at", mdm_adm_time(p, d->last_contact_ms),
                     "last_eas_at", mdm_adm_time(p, d->last_eas_ms), "version", (json_int_t)d->version);
}

static apr_status_t page_of(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    apr_array_header_t *rows = NULL;
    apr_status_t rv = mdm_device_list(db, arg, page, &rows, next);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++)
        json_array_append_new(items, row_json(mdm_db_ctx(db)->pool, &APR_ARRAY_IDX(rows, i, mdm_device_row_t)));
    return rv;
}

int mdm_adm_devices(mdm_web_call_t *call)
{
    mdm_device_filter_t f;
    mdm_adm_list_t list = {.params = filters, .read = page_of, .arg = &f, .name = "devices",
                           .columns = "id name person:person.name login:person.login folder:folder.name state mode level ownership "
                                      "platform model product serial os_version compliance enrolled_at last_contact_at last_eas_at"};
    apr_status_t rv = read_filter(call, &f);

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.sig = mdm_device_filter_sig(call->r->pool, &f);
    return mdm_adm_list(call, &list);
}

/* ---- one device */

int mdm_adm_device(mdm_web_call_t *call)
{
    return mdm_adm_one(call, mdm_device_json);
}

int mdm_adm_device_edit(mdm_web_call_t *call)
{
    static const char *const ownership[] = {"corporate", "personal", NULL};
    mdm_device_edit_t e;
    int test = 0, test_given = 0;
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 0, 1, 200, NULL, 0, &e.name, NULL},
                                   {"ownership", MDM_JF_ENUM, 0, 0, 0, ownership, 0, &e.ownership, NULL},
                                   {"department", MDM_JF_STR, 0, 0, 200, NULL, 0, &e.department, NULL},
                                   {"site", MDM_JF_STR, 0, 0, 200, NULL, 0, &e.site, NULL},
                                   {"location", MDM_JF_STR, 0, 0, 200, NULL, 0, &e.location, NULL},
                                   {"notes", MDM_JF_STR, 0, 0, 4000, NULL, 0, &e.notes, NULL},
                                   {"test_device", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &test, &test_given},
                                   {NULL}};
    const char *id = NULL;
    apr_int64_t version = 0;
    json_t *body = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    memset(&e, 0, sizeof(e));
    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_if_match(call, &version);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    e.test_device = test_given ? test : -1;
    rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_device_edit(db, id, version, &e);
    if (rv == APR_SUCCESS)
        rv = mdm_device_json(db, id, &body, &version);
    rv = mdm_adm_end(db, rv);
    return rv == APR_SUCCESS ? mdm_adm_object(call, body, version)
                             : mdm_adm_fail(call, rv);
}

apr_status_t mdm_adm_audit_device(mdm_db_t *db, const char *action, const char *id, json_t *detail)
{
    json_t *d = NULL;
    apr_status_t rv = mdm_device_json(db, id, &d, NULL);

    if (rv == APR_SUCCESS) {
        rv = mdm_audit(db, action, "device", id, json_string_value(json_object_get(d, "name")), "done", detail);
        json_decref(d);
    }
    return rv;
}

static apr_status_t do_refresh(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    const char *record = NULL;
    json_t *d = NULL;
    apr_status_t rv = mdm_device_json(db, id, &d, NULL);

    if (rv != APR_SUCCESS)
        return rv;
    json_decref(d);
    rv = mdm_command_record(db, id, &record);
    if (rv == APR_NOTFOUND)
        return mdm_fail(call->ctx, MDM_ECONFLICT, NULL, "The device is not under management: there is nothing to refresh.");
    if (rv == APR_SUCCESS)
        rv = mdm_command_refresh(db, record);
    return rv == APR_SUCCESS ? mdm_adm_audit_device(db, "device.refresh", id, NULL) : rv;
}

static apr_status_t do_mail_release(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    json_t *d;
    apr_status_t rv = mdm_device_json(db, id, &d, NULL);

    if (rv == APR_SUCCESS) {
        json_decref(d);
        rv = mdm_delivery_release(db, id);
    }
    return rv == APR_SUCCESS ? mdm_adm_audit_device(db, "device.mail_release", id, NULL) : rv;
}

/* The account made by hand is gone, says an administrator (EML-02). */
int mdm_adm_device_mail_release(mdm_web_call_t *call)
{
    int rc = mdm_adm_act(call, do_mail_release, NULL, HTTP_ACCEPTED);

    if (call->r->status == HTTP_ACCEPTED)
        call->svc->job_wake();
    return rc;
}

int mdm_adm_device_refresh(mdm_web_call_t *call)
{
    int rc = mdm_adm_act(call, do_refresh, NULL, HTTP_ACCEPTED);

    if (call->r->status == HTTP_ACCEPTED)
        call->svc->job_wake();
    return rc;
}

/* ---- what belongs to one device. A list of an unknown device is 404, not empty. */

int mdm_adm_sub_list(mdm_web_call_t *call, const char *what, mdm_adm_sub_fn fn)
{
    const char *id = NULL, *next = NULL;
    json_t *device = NULL, *items = NULL;
    mdm_page_t page = {NULL};
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_page(call, NULL, apr_pstrcat(call->r->pool, what, "\n", id, NULL), &page);
    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = mdm_device_json(db, id, &device, NULL);
    json_decref(device);
    if (rv == APR_SUCCESS)
        rv = fn(db, id, &page, &items, &next);
    mdm_db_close(db);
    return rv == APR_SUCCESS ? mdm_adm_items(call, items, next) : mdm_adm_fail(call, rv);
}

static apr_status_t records(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    return mdm_device_records(db, id, out);
}

int mdm_adm_device_records(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "records", records);
}

int mdm_adm_device_apps(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "apps", mdm_device_apps);
}

int mdm_adm_device_events(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "events", mdm_device_events);
}

static apr_status_t profiles(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    return mdm_device_section(db, id, "profiles", page, out, next);
}

static apr_status_t certificates(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    return mdm_device_section(db, id, "certificates", page, out, next);
}

static apr_status_t restrictions(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next)
{
    return mdm_device_section(db, id, "restrictions", page, out, next);
}

int mdm_adm_device_profiles(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "profiles", profiles);
}

int mdm_adm_device_certificates(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "certificates", certificates);
}

int mdm_adm_device_restrictions(mdm_web_call_t *call)
{
    return mdm_adm_sub_list(call, "restrictions", restrictions);
}
