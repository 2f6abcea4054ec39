/* People of the local source (USR-06). Passwords are written only, never read (R30). */
#include "mdm_admin.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_people.h"
#include "domain/mdm_people_import.h"
#include "domain/mdm_session.h"
#include "mdm_sql_gen.h"

#define TEXT_MAX 200
#define PASSWORD_MAX 500
#define HITS_MAX 200

#define PERSON_JSON(p, q)                                                                                            \
    json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:b, s:o, s:o, s:I, s:I}", "id", (q)->id, "login", (q)->login,     \
              "name", (q)->name, "mail", (q)->mail, "phone", (q)->phone, "source", mdm_adm_text((q)->source_name),   \
              "source_kind", mdm_adm_text((q)->source_kind), "disabled", (q)->disabled != 0, "gone_at",              \
              mdm_adm_time(p, (q)->gone_ms_null ? 0 : (q)->gone_ms), "created_at", mdm_adm_time(p, (q)->created_ms), \
              "devices", (json_int_t)(q)->devices, "version", (json_int_t)(q)->version)

static apr_status_t all(mdm_db_t *db, const mdm_page_t *page, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows = NULL;
    apr_status_t rv = mdm_q_admin_people_list(db, page->key, page->id, page->count + 1, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_admin_people_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admin_people_list_t);
        json_array_append_new(items, PERSON_JSON(ctx->pool, q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next(ctx, page, q->name, q->id);
    }
    return rv;
}

/* A search answers its first hits only: whoever sees 200 refines. */
static apr_status_t search(mdm_db_t *db, const char *text, json_t *items)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    apr_array_header_t *rows = NULL;
    apr_status_t rv = mdm_q_admin_people_search(db, mdm_lower(p, text), text, HITS_MAX, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_admin_people_search_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admin_people_search_t);
        json_array_append_new(items, PERSON_JSON(p, q));
    }
    return rv;
}

static apr_status_t page_of(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    return arg ? search(db, arg, items) : all(db, page, items, next);
}

int mdm_adm_people(mdm_web_call_t *call)
{
    static const char *const params[] = {"q", NULL};
    const char *text = NULL;
    mdm_adm_list_t list = {.sig = "people", .params = params, .read = page_of, .name = "people",
                           .columns = "id login name mail phone source disabled gone_at created_at devices"};
    apr_status_t rv = mdm_web_query(call->r, call->ctx, "q", &text);

    if (rv == APR_SUCCESS && text && strlen(text) > TEXT_MAX)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "q", "must be at most %d bytes", TEXT_MAX);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.arg = text && *text ? text : NULL;
    return mdm_adm_list(call, &list);
}

/* Groups and folders of people come from their sources: shown, so that something can be assigned to them. */
typedef struct sets_t {
    const char *kind, *q, *source;
} sets_t;

static apr_status_t sets_page(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    const sets_t *f = arg;
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows = NULL;
    apr_status_t rv = mdm_q_admin_user_sets(db, f->kind, f->source, page->key, page->id, mdm_lower(ctx->pool, f->q), page->count + 1, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_admin_user_sets_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admin_user_sets_t);
        json_array_append_new(items, json_pack("{s:s, s:s, s:o, s:{s:s, s:s}}", "id", q->id, "name", q->name, "dn", mdm_adm_text(q->dn),
                                               "source", "id", q->source_id, "name", q->source_name));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next(ctx, page, q->name, q->id);
    }
    return rv;
}

static int sets(mdm_web_call_t *call, const char *kind, const char *name)
{
    static const char *const params[] = {"q", "source", NULL};
    sets_t f = {kind, NULL, NULL};
    mdm_adm_list_t list = {.params = params, .read = sets_page, .arg = &f, .name = name, .columns = "id name dn source:source.name"};
    apr_status_t rv = mdm_web_query(call->r, call->ctx, "q", &f.q);

    if (rv == APR_SUCCESS)
        rv = mdm_web_query(call->r, call->ctx, "source", &f.source);
    f.q = f.q ? f.q : "";
    f.source = f.source ? f.source : "";
    if (rv == APR_SUCCESS && strlen(f.q) > TEXT_MAX)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "q", "must be at most %d bytes", TEXT_MAX);
    if (rv == APR_SUCCESS && *f.source && !mdm_is_uuid(f.source))
        rv = mdm_fail(call->ctx, MDM_EINPUT, "source", "must be a UUID");
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.sig = apr_pstrcat(call->ctx->pool, name, "|", f.source, "|", f.q, NULL);
    return mdm_adm_list(call, &list);
}

int mdm_adm_user_groups(mdm_web_call_t *call)
{
    return sets(call, "user_group", "user-groups");
}

int mdm_adm_user_folders(mdm_web_call_t *call)
{
    return sets(call, "user_folder", "user-folders");
}

static apr_status_t person_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_q_admin_person_t *q = NULL;
    apr_status_t rv = mdm_q_admin_person(db, id, &q);

    if (rv == APR_SUCCESS) {
        *out = PERSON_JSON(mdm_db_ctx(db)->pool, q);
        *version = q->version;
    }
    return rv;
}

int mdm_adm_person(mdm_web_call_t *call)
{
    return mdm_adm_one(call, person_json);
}

int mdm_adm_person_create(mdm_web_call_t *call)
{
    const char *login = NULL, *name = NULL, *mail = "", *phone = "", *password = NULL, *id = NULL;
    const mdm_jfield_t fields[] = {{"login", MDM_JF_STR, 1, 1, TEXT_MAX, NULL, 0, &login, NULL},
                                   {"name", MDM_JF_STR, 1, 1, TEXT_MAX, NULL, 0, &name, NULL},
                                   {"mail", MDM_JF_STR, 0, 0, TEXT_MAX, NULL, 0, &mail, NULL},
                                   {"phone", MDM_JF_STR, 0, 0, 60, NULL, 0, &phone, NULL},
                                   {"password", MDM_JF_STR, 1, 1, PASSWORD_MAX, NULL, 0, &password, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = mdm_person_create(call->ctx, login, name, mail, phone, password, &id);
    return mdm_adm_made(call, rv, "people", id, person_json);
}

/* ---- many at once, from a CSV file */

static apr_status_t piece(void *data, const char *text, apr_size_t len)
{
    return mdm_people_file_feed(data, text, len);
}

static apr_status_t import_how(mdm_web_call_t *call, const char **dry, apr_int64_t *after)
{
    static const char *const flags[] = {"0", "1", NULL}, *const params[] = {"dry_run", "after", NULL};
    const char *type = apr_table_get(call->r->headers_in, "Content-Type"), *text = NULL;
    apr_status_t rv = mdm_adm_params(call, params);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "dry_run", flags, dry);
    if (rv == APR_SUCCESS)
        rv = mdm_web_query(call->r, call->ctx, "after", &text);
    if (rv == APR_SUCCESS && text && mdm_parse_i64(text, 0, MDM_PEOPLE_BYTES, after) != APR_SUCCESS)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "after", "must be a line of the file");
    if (rv == APR_SUCCESS && (!type || strncasecmp(type, "text/csv", 8) != 0))
        rv = mdm_fail(call->ctx, MDM_EMEDIA, NULL, "The body must be text/csv.");
    return rv;
}

/* The whole file comes with each call: nothing of it is kept here, and no call takes longer than its part of the people. */
int mdm_adm_people_import(mdm_web_call_t *call)
{
    mdm_people_file_t *file = mdm_people_file(call->ctx);
    const char *dry = "";
    apr_int64_t after = 0;
    json_t *report = NULL;
    apr_status_t rv = import_how(call, &dry, &after);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_upload(call, MDM_PEOPLE_BYTES, piece, file);
    if (rv == APR_SUCCESS)
        rv = mdm_people_file_end(file, *dry == '1', (int)after, &report);
    return rv == APR_SUCCESS ? mdm_adm_json(call, report) : mdm_adm_fail(call, rv);
}

typedef struct person_edit_t {
    const char *name, *mail, *phone;
    int disabled, disabled_given;
} person_edit_t;

static apr_status_t edit(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg)
{
    const person_edit_t *e = arg;
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_admin_person_t *q = NULL;
    const char *mail;
    json_t *detail;
    int n = 0, disabled;
    apr_status_t rv = mdm_q_admin_person(db, id, &q);

    if (rv == APR_SUCCESS && q->version != version)
        rv = mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this person meanwhile: load it again.");
    if (rv == APR_SUCCESS && (!q->source_kind || strcmp(q->source_kind, "local") != 0))
        rv = mdm_fail(ctx, MDM_ECONFLICT, NULL, "This person is kept in another directory.");
    if (rv != APR_SUCCESS)
        return rv;
    mail = e->mail ? e->mail : q->mail;
    disabled = e->disabled_given ? e->disabled : q->disabled != 0;
    rv = mdm_q_admin_person_edit(db, id, version, e->name ? e->name : q->name, mail, mdm_lower(ctx->pool, mail),
                                 e->phone ? e->phone : q->phone, disabled, &n);
    if (rv == APR_SUCCESS && n != 1)
        rv = mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this person meanwhile: load it again.");
    if (rv == APR_SUCCESS && disabled && !q->disabled)
        rv = mdm_sessions_end_all(db, "portal", id); /* R35 */
    if (rv != APR_SUCCESS)
        return rv;
    detail = json_pack("{s:s, s:b, s:b}", "name", e->name ? e->name : q->name, "disabled", disabled, "was_disabled",
                       q->disabled != 0);
    rv = mdm_audit(db, "person.edit", "person", id, q->login, "done", detail);
    json_decref(detail);
    return rv == APR_SUCCESS ? mdm_change_add(db, "person", id) : rv;
}

int mdm_adm_person_edit(mdm_web_call_t *call)
{
    person_edit_t e = {NULL, NULL, NULL, 0, 0};
    const mdm_jfield_t fields[] = {{"name", MDM_JF_STR, 0, 1, TEXT_MAX, NULL, 0, &e.name, NULL},
                                   {"mail", MDM_JF_STR, 0, 0, TEXT_MAX, NULL, 0, &e.mail, NULL},
                                   {"phone", MDM_JF_STR, 0, 0, 60, NULL, 0, &e.phone, NULL},
                                   {"disabled", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &e.disabled, &e.disabled_given},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_adm_edit(call, edit, &e, person_json) : mdm_adm_fail(call, rv);
}

int mdm_adm_person_password(mdm_web_call_t *call)
{
    const char *password = NULL, *id = NULL;
    const mdm_jfield_t fields[] = {{"password", MDM_JF_STR, 1, 1, PASSWORD_MAX, NULL, 0, &password, NULL}, {NULL}};
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS)
        rv = mdm_person_password(call->ctx, id, password);
    return rv == APR_SUCCESS ? mdm_web_empty(call->r, HTTP_NO_CONTENT) : mdm_adm_fail(call, rv);
}

/* Why somebody may enrol a device, or not, and which rule would name it (ENR-01, ENR-04). */
int mdm_adm_person_enrollment(mdm_web_call_t *call)
{
    static const char *const params[] = {"platform", "ownership", "level", "model", "os_version", NULL};
    static const char *const platforms[] = {"ios", "android", "windows", "blackberry", NULL};
    static const char *const ownerships[] = {"corporate", "personal", NULL}, *const levels[] = {"managed", "email_only", NULL};
    const char *id = NULL, *ownership = "", *level = "", *const texts[] = {"model", "os_version"};
    mdm_enroll_facts_t facts = {.kind = "mdm"};
    const char **const into[] = {&facts.model, &facts.os_version};
    json_t *body = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);
    int i;

    if (rv == APR_SUCCESS)
        rv = mdm_adm_params(call, params);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "platform", platforms, &facts.platform);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "ownership", ownerships, &ownership);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "level", levels, &level);
    for (i = 0; rv == APR_SUCCESS && i < 2; i++) {
        if ((rv = mdm_web_query(call->r, call->ctx, texts[i], into[i])) == APR_SUCCESS && *into[i] && strlen(*into[i]) > TEXT_MAX)
            rv = mdm_fail(call->ctx, MDM_EINPUT, texts[i], "must be at most %d bytes", TEXT_MAX);
    }
    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = mdm_enroll_why_json(db, id, &facts, ownership, level, &body);
    mdm_db_close(db);
    return rv == APR_SUCCESS ? mdm_adm_json(call, body) : mdm_adm_fail(call, rv);
}
