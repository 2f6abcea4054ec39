/* Pending enrolments: list, create for a person, cancel (PEN, R30). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_enroll_conf.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define PENDING_JSON(p, q)                                                                                              \
    json_pack("{s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:I}", "id", (q)->id, "person",         \
              (q)->person_id ? json_pack("{s:s, s:s, s:s}", "id", (q)->person_id, "name", (q)->person_name, "login",     \
                                         (q)->person_login)                                                             \
                             : json_null(),                                                                             \
              "ownership", (q)->ownership, "level", (q)->level, "platform", (q)->platform, "origin", (q)->origin,        \
              "state", (q)->state, "steps", mdm_adm_parsed((q)->step), "device_id", mdm_adm_text((q)->device_id),        \
              "created_at", mdm_adm_time(p, (q)->created_ms), "created_by", (q)->created_by, "expires_at",              \
              mdm_adm_time(p, (q)->expires_ms), "finished_at",                                                          \
              mdm_adm_time(p, (q)->finished_ms_null ? 0 : (q)->finished_ms), "version", (json_int_t)(q)->version)

static int known_state(const char *s)
{
    static const char *const states[] = {"created",   "opened",  "profile",   "issued", "authenticated",
                                         "completed", "expired", "cancelled", "locked", NULL};
    int i;

    for (i = 0; states[i]; i++) {
        if (strcmp(states[i], s) == 0)
            return 1;
    }
    return 0;
}

typedef struct pending_filter_t {
    const char *state, *person;
    int open;
} pending_filter_t;

static apr_status_t page_of(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const pending_filter_t *f = arg;
    apr_array_header_t *rows = NULL;
    int i;
    apr_status_t rv = mdm_q_admin_pending_list(db, page->first ? APR_INT64_MAX : page->num, page->id, f->open ? "" : f->state,
                                               f->open, f->person, page->count + 1, &rows);

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_admin_pending_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admin_pending_list_t);
        json_array_append_new(items, PENDING_JSON(ctx->pool, q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next_num(ctx, page, q->created_ms, q->id);
    }
    return rv;
}

int mdm_adm_pending_list(mdm_web_call_t *call)
{
    static const char *const params[] = {"state", "person", NULL};
    mdm_ctx_t *ctx = call->ctx;
    pending_filter_t f = {NULL, NULL, 0};
    mdm_adm_list_t list = {.params = params, .read = page_of, .arg = &f, .name = "pending",
                           .columns = "id person:person.name login:person.login ownership level platform origin state device_id created_at "
                                      "created_by expires_at finished_at"};
    apr_status_t rv = mdm_web_query(call->r, ctx, "state", &f.state);

    if (rv == APR_SUCCESS)
        rv = mdm_web_query(call->r, ctx, "person", &f.person);
    f.state = f.state ? f.state : "";
    f.person = f.person ? f.person : "";
    f.open = strcmp(f.state, "open") == 0;
    if (rv == APR_SUCCESS && *f.state && !f.open && !known_state(f.state))
        rv = mdm_fail(ctx, MDM_EINPUT, "state", "is none of the known values");
    if (rv == APR_SUCCESS && *f.person && !mdm_is_uuid(f.person))
        rv = mdm_fail(ctx, MDM_EINPUT, "person", "must be a UUID");
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.sig = apr_pstrcat(ctx->pool, "pending\n", f.state, "\n", f.person, NULL);
    return mdm_adm_list(call, &list);
}

static apr_status_t pending_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_q_admin_pending_t *q = NULL;
    apr_status_t rv = mdm_q_admin_pending(db, id, &q);

    if (rv == APR_SUCCESS) {
        *out = PENDING_JSON(mdm_db_ctx(db)->pool, q);
        *version = q->version;
    }
    return rv;
}

int mdm_adm_pending(mdm_web_call_t *call)
{
    return mdm_adm_one(call, pending_json);
}

int mdm_adm_pending_create(mdm_web_call_t *call)
{
    static const char *const platforms[] = {"ios", NULL}, *const ownerships[] = {"corporate", "personal", NULL},
                             *const levels[] = {"managed", NULL};
    const char *person_id = NULL, *platform = "ios", *ownership = "personal", *level = "managed", *token = NULL, *base = NULL;
    const mdm_jfield_t fields[] = {{"person_id", MDM_JF_UUID, 1, 0, 0, NULL, 0, &person_id, NULL},
                                   {"platform", MDM_JF_ENUM, 0, 0, 0, platforms, 0, &platform, NULL},
                                   {"ownership", MDM_JF_ENUM, 0, 0, 0, ownerships, 0, &ownership, NULL},
                                   {"level", MDM_JF_ENUM, 0, 0, 0, levels, 0, &level, NULL},
                                   {NULL}};
    mdm_person_t *person = NULL;
    mdm_pending_t *made = NULL;
    json_t *body = NULL;
    apr_int64_t version = 0;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS) {
        rv = mdm_person_get(db, person_id, &person);
        if (rv == APR_NOTFOUND)
            rv = mdm_fail(call->ctx, MDM_EINPUT, "person_id", "There is no such person.");
    }
    if (rv == APR_SUCCESS)
        rv = mdm_pending_create(db, person, platform, ownership, level, "single", &made, &token);
    if (rv == APR_SUCCESS)
        rv = mdm_enroll_base(db, call->svc->public_url(call->r->server), &base);
    rv = mdm_adm_end(db, rv);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_read(call, pending_json, made->id, &body, &version);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    json_object_set_new(body, "link", json_string(mdm_enroll_link(call->r->pool, base, token, NULL)));
    return mdm_adm_created(call, "pending", made->id, body);
}

static apr_status_t do_cancel(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_pending_cancel(db, id);
}

int mdm_adm_pending_cancel(mdm_web_call_t *call)
{
    return mdm_adm_act(call, do_cancel, NULL, HTTP_NO_CONTENT);
}
