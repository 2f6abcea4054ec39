/* Pending enrolments: list, create for a person, cancel (PEN, R30). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_admins.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_enroll_conf.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_otp.h"
#include "mdm_sql_gen.h"

const char *const mdm_adm_notify[] = {"", "mail", "sms", "both", NULL};

#define PENDING_JSON(c, q)                                                                                              \
    json_pack("{s:s, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "id", (q)->id, "token", mdm_adm_text((q)->token_head), "person", \
              (q)->person_id ? json_pack("{s:s, s:s, s:s}", "id", (q)->person_id, "name", (q)->person_name, "login",     \
                                         (q)->person_login)                                                             \
                             : json_null(),                                                                             \
              "ownership", (q)->ownership, "level", (q)->level, "platform", (q)->platform, "origin", (q)->origin,        \
              "state", (q)->state, "steps", mdm_adm_parsed((q)->step), "device_id", mdm_adm_text((q)->device_id),        \
              "created_at", mdm_adm_time((c)->pool, (q)->created_ms), "created_by", (q)->created_by, "valid_from",       \
              mdm_adm_time((c)->pool, (q)->valid_from_ms), "expires_at", mdm_adm_time((c)->pool, (q)->expires_ms), "finished_at",                                                   \
              mdm_adm_time((c)->pool, (q)->finished_ms_null ? 0 : (q)->finished_ms), "version", (json_int_t)(q)->version, \
              "serial", mdm_adm_text((q)->serial), "imei", mdm_adm_text((q)->imei), "phone", mdm_adm_text((q)->phone), "authorised_by", mdm_adm_text((q)->authorised_by), "otp",               \
              mdm_otp_state_json((c), (q)->state, (q)->has_otp != 0, (q)->otp_expires_ms_null ? NULL : &(q)->otp_expires_ms, \
                                 (q)->otp_used_ms_null ? NULL : &(q)->otp_used_ms, (q)->otp_tries))

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
    const char *token; /* NULL: the others count */
    const char *state, *person, *origin, *platform;
    int open;
} pending_filter_t;

static apr_status_t page_of(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const pending_filter_t *f = arg;
    apr_array_header_t *rows = NULL;
    int i;
    apr_status_t rv = mdm_q_admin_pending_list(db, page->first ? APR_INT64_MAX : page->num, page->id, f->open ? "" : f->state,
                                               f->open, f->person, f->origin, f->platform, page->count + 1, &rows);

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_admin_pending_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admin_pending_list_t);
        json_array_append_new(items, PENDING_JSON(ctx, q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next_num(ctx, page, q->created_ms, q->id);
    }
    return rv == APR_SUCCESS ? mdm_adm_told(db, items) : rv;
}

/* The same of those whose token begins so. */
static apr_status_t page_by_token(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const pending_filter_t *f = arg;
    apr_array_header_t *rows = NULL;
    int i;
    apr_status_t rv = mdm_q_admin_pending_by_token(db, f->token, page->first ? APR_INT64_MAX : page->num, page->id, page->count + 1, &rows);

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_admin_pending_by_token_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admin_pending_by_token_t);
        json_array_append_new(items, PENDING_JSON(ctx, q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next_num(ctx, page, q->created_ms, q->id);
    }
    return rv == APR_SUCCESS ? mdm_adm_told(db, items) : rv;
}

static apr_status_t filter_read(mdm_web_call_t *call, pending_filter_t *f)
{
    static const char *const origins[] = {"self", "account", "single", "bulk", "ade", NULL}, *const platforms[] = {"ios", "android", "unknown", NULL};
    mdm_ctx_t *ctx = call->ctx;
    const char *token = NULL;
    apr_status_t rv = mdm_web_query(call->r, ctx, "state", &f->state);

    if (rv == APR_SUCCESS)
        rv = mdm_web_query(call->r, ctx, "person", &f->person);
    if (rv == APR_SUCCESS)
        rv = mdm_web_query(call->r, ctx, "token", &token);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "origin", origins, &f->origin);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "platform", platforms, &f->platform);
    f->state = f->state ? f->state : "";
    f->person = f->person ? f->person : "";
    f->open = strcmp(f->state, "open") == 0;
    if (rv == APR_SUCCESS && *f->state && !f->open && !known_state(f->state))
        rv = mdm_fail(ctx, MDM_EINPUT, "state", "is none of the known values");
    if (rv == APR_SUCCESS && *f->person && !mdm_is_uuid(f->person))
        rv = mdm_fail(ctx, MDM_EINPUT, "person", "must be a UUID");
    if (rv == APR_SUCCESS && token && *token && !(f->token = mdm_pending_head(ctx->pool, token)))
        rv = mdm_fail(ctx, MDM_EINPUT, "token", "must be a link or the first %d characters of its token", MDM_PENDING_HEAD);
    return rv;
}

int mdm_adm_pending_list(mdm_web_call_t *call)
{
    static const char *const params[] = {"state", "person", "origin", "platform", "token", NULL};
    pending_filter_t f = {NULL, NULL, NULL, "", "", 0};
    mdm_adm_list_t list = {.params = params, .read = page_of, .arg = &f, .name = "pending",
                           .columns = "id token person:person.name login:person.login ownership level platform origin state device_id created_at "
                                      "created_by authorised_by valid_from expires_at finished_at serial imei phone otp:otp.state otp_expires_at:otp.expires_at"};
    apr_status_t rv = filter_read(call, &f);

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    if (f.token)
        list.read = page_by_token;
    list.sig = apr_pstrcat(call->ctx->pool, "pending\n", f.token ? f.token : "", "\n", f.state, "\n", f.person, "\n", f.origin, "\n", f.platform, NULL);
    return mdm_adm_list(call, &list);
}

static apr_status_t pending_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    mdm_q_admin_pending_t *q = NULL;
    apr_status_t rv = mdm_q_admin_pending(db, id, &q);

    if (rv == APR_SUCCESS) {
        json_t *one = mdm_json_own(mdm_db_ctx(db), json_pack("[o]", PENDING_JSON(mdm_db_ctx(db), q)));

        rv = mdm_adm_told(db, one);
        *out = json_incref(json_array_get(one, 0));
        *version = q->version;
    }
    return rv;
}

int mdm_adm_pending(mdm_web_call_t *call)
{
    return mdm_adm_one(call, pending_json);
}

/* ---------------------------------------------------------------- for somebody */

/* Tries of an administrator's log-in and of a person's are counted apart, as where they log in themselves (USR-10). */
static apr_status_t ask(mdm_web_call_t *call, const char *login, const char *password, const char **by)
{
    mdm_ctx_t *ctx = call->ctx;
    const char *admin = apr_pstrcat(ctx->pool, "admin:", mdm_lower(ctx->pool, mdm_clean(ctx->pool, login, 200)), NULL), *account;
    mdm_login_t *who = NULL;
    int wait, person = 0;
    apr_status_t rv = mdm_login_find(ctx, login, NULL, &who);

    if (rv != APR_SUCCESS)
        return rv;
    account = mdm_login_account(who);
    wait = call->svc->throttle_check("login", account);
    if ((ctx->retry_after = mdm_adm_must_wait(call, admin)) < wait)
        ctx->retry_after = wait;
    if (ctx->retry_after > 0)
        return mdm_fail(ctx, MDM_ETHROTTLED, "authoriser", "Too many tries. Wait a little.");
    rv = mdm_admin_authorise(ctx, login, who, password, "{\"pending\":[\"write\"]}", by, &person);
    if (rv == APR_SUCCESS || rv == MDM_EAUTH)
        mdm_adm_note_try(call, person ? account : admin, rv == APR_SUCCESS);
    if (rv == MDM_EAUTH)
        call->svc->throttle_note("login", person ? admin : account, 0);
    return rv;
}

/* Who authorises it gives credentials now, whoever is logged in; if the zone wants it so (PEN-01). *by: who it was. */
static apr_status_t authorised(mdm_web_call_t *call, json_t *given, int wanted, const char **by)
{
    mdm_ctx_t *ctx = call->ctx;
    const char *login = NULL, *password = NULL;
    const mdm_jfield_t fields[] = {{"login", MDM_JF_STR, 1, 1, 200, NULL, 0, &login, NULL},
                                   {"password", MDM_JF_STR, 1, 1, 500, NULL, 0, &password, NULL},
                                   {NULL}};
    apr_status_t rv;

    if (!given)
        return wanted ? mdm_fail(ctx, MDM_EINPUT, "authoriser", "is missing") : APR_SUCCESS;
    if ((rv = mdm_json_fields(ctx, given, fields)) != APR_SUCCESS)
        return mdm_fail(ctx, rv, apr_pstrcat(ctx->pool, "authoriser.", ctx->fail_field ? ctx->fail_field : "", NULL), "%s", ctx->fail_text);
    rv = ask(call, login, password, by);
    if (rv == MDM_EAUTH && (rv = mdm_audit_refused(ctx, "pending.authorise", "admin", login)) == APR_SUCCESS)
        return mdm_fail(ctx, MDM_EDENIED, "authoriser", "The log-in or the password is wrong, or this person may not authorise it.");
    return rv;
}

static apr_status_t make(mdm_db_t *db, const char *person_id, const mdm_provision_t *how, mdm_pending_t **made, const char **token)
{
    mdm_person_t *person = NULL;
    int is_new;
    apr_status_t rv = mdm_person_get(db, person_id, &person);

    if (rv == APR_NOTFOUND)
        return mdm_fail(mdm_db_ctx(db), MDM_EINPUT, "person_id", "There is no such person.");
    return rv == APR_SUCCESS ? mdm_pending_provision(db, person, how, made, token, &is_new) : rv;
}

static apr_status_t conf_read(mdm_web_call_t *call, mdm_otp_conf_t **conf)
{
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_otp_conf(db, conf);
        mdm_db_close(db);
    }
    return rv;
}

int mdm_adm_pending_create(mdm_web_call_t *call)
{
    static const char *const platforms[] = {"ios", "android", "unknown", NULL}, *const ownerships[] = {"corporate", "personal", NULL},
                             *const levels[] = {"managed", "email_only", NULL};
    const char *person_id = NULL, *token = NULL, *base = NULL, *from = NULL, *serial = NULL, *imei = NULL;
    mdm_provision_t how = {.origin = "single", .notify = ""};
    json_t *body = NULL, *by = NULL;
    const mdm_jfield_t fields[] = {{"person_id", MDM_JF_UUID, 1, 0, 0, NULL, 0, &person_id, NULL},
                                   {"platform", MDM_JF_ENUM, 0, 0, 0, platforms, 0, &how.platform, NULL},
                                   {"ownership", MDM_JF_ENUM, 0, 0, 0, ownerships, 0, &how.ownership, NULL},
                                   {"level", MDM_JF_ENUM, 0, 0, 0, levels, 0, &how.level, NULL},
                                   {"phone", MDM_JF_STR, 0, 0, 40, NULL, 1, &how.phone, NULL},
                                   {"notify", MDM_JF_ENUM, 0, 0, 0, mdm_adm_notify, 0, &how.notify, NULL},
                                   {"serial", MDM_JF_STR, 0, 0, 80, NULL, 1, &serial, NULL},
                                   {"imei", MDM_JF_STR, 0, 0, 40, NULL, 1, &imei, NULL},
                                   {"valid_from", MDM_JF_STR, 0, 1, 40, NULL, 1, &from, NULL},
                                   {"authoriser", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &by, NULL},
                                   {NULL}};
    mdm_otp_conf_t *conf = NULL;
    mdm_pending_t *made = NULL;
    apr_int64_t version = 0;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (!how.platform)
        how.platform = how.level && strcmp(how.level, "email_only") == 0 ? "unknown" : "ios";
    if (rv == APR_SUCCESS && from && (rv = mdm_time_read(from, &how.valid_from_ms)) != APR_SUCCESS)
        rv = mdm_fail(call->ctx, rv, "valid_from", "must be a time like 2026-12-01T08:00:00Z");
    if (rv == APR_SUCCESS && serial && *serial)
        rv = mdm_serial_check(call->ctx, "serial", serial, &how.expected_serial);
    if (rv == APR_SUCCESS && imei && *imei)
        rv = mdm_imei_check(call->ctx, "imei", imei, &how.expected_imei);
    if (rv == APR_SUCCESS)
        rv = conf_read(call, &conf);
    if (rv == APR_SUCCESS)
        rv = authorised(call, by, conf->authorise, &how.authorised_by);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = make(db, person_id, &how, &made, &token);
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
