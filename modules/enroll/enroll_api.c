/* The portal's JSON API and its route table. */
#include "enroll.h"

#include <apr_strings.h>
#include <http_core.h>

#include "base/mdm_json.h"
#include "domain/mdm_account.h"
#include "domain/mdm_command.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_match_run.h"
#include "domain/mdm_otp.h"
#include "domain/mdm_session.h"
#include "mdm_sql_gen.h"

/* ---------------------------------------------------------------- log-in */

static apr_status_t throttled(mdm_web_call_t *call, const char *account)
{
    int by_account = call->svc->throttle_check("login", account);
    int by_address = call->svc->throttle_check("login", call->r->useragent_ip);
    int wait = by_account > by_address ? by_account : by_address;

    if (!wait) {
        return APR_SUCCESS;
    }
    call->ctx->retry_after = wait;
    return mdm_fail(call->ctx, MDM_ETHROTTLED, NULL, "Too many tries. Wait %d seconds.", wait);
}

static apr_status_t session_begin(mdm_web_call_t *call, const mdm_person_t *person, const char **token)
{
    mdm_ctx_t *ctx = call->ctx;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    ctx->actor.kind = "person";
    ctx->actor.id = person->id;
    ctx->actor.name = person->login;
    if ((rv = mdm_db_begin(db)) == APR_SUCCESS
        && (rv = mdm_audit(db, "portal.login", "person", person->id, person->login, "done", NULL)) == APR_SUCCESS) {
        rv = mdm_session_create(db, "portal", person->id, apr_table_get(call->r->headers_in, "User-Agent"), token);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

apr_status_t enroll_check(mdm_web_call_t *call, const char *login, const char *domain, const char *password, mdm_person_t **out)
{
    mdm_ctx_t *ctx = call->ctx;
    mdm_login_t *who;
    const char *account, *name = mdm_lower(ctx->pool, mdm_clean(ctx->pool, login ? login : "", 256));
    apr_status_t rv = mdm_login_find(ctx, login, domain, &who);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    account = mdm_login_account(who);
    if ((rv = throttled(call, account)) != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_login_check(ctx, who, password, out);
    if (rv == MDM_EAUTH) {
        call->svc->throttle_note("login", account, 0);
        call->svc->throttle_note("login", call->r->useragent_ip, 0);
        mdm_log(ctx, MDM_LOG_INFO, "MDM0601", 0, "portal log-in of %s refused", mdm_mask(ctx->pool, name));
        rv = mdm_audit_refused(ctx, "portal.login", "person", name);
        return rv == APR_SUCCESS ? MDM_EAUTH : rv;
    }
    if (rv == APR_SUCCESS) {
        call->svc->throttle_note("login", account, 1);
    }
    return rv;
}

apr_status_t enroll_login(mdm_web_call_t *call, const char *login, const char *domain, const char *password)
{
    const char *token;
    mdm_person_t *person;
    apr_status_t rv = enroll_check(call, login, domain, password, &person);

    if (rv == APR_SUCCESS && (rv = session_begin(call, person, &token)) == APR_SUCCESS) {
        mdm_web_cookie_set(call->r, MDM_COOKIE_PORTAL, token, 0);
    }
    return rv;
}

static int session_post(mdm_web_call_t *call)
{
    const char *login = "", *domain = NULL, *password = "";
    const mdm_jfield_t fields[] = {
        {.name = "login", .type = MDM_JF_STR, .required = 1, .min = 0, .max = 512, .out = &login},
        {.name = "domain", .type = MDM_JF_STR, .min = 0, .max = 256, .nullable = 1, .out = &domain},
        {.name = "password", .type = MDM_JF_STR, .required = 1, .min = 0, .max = 4096, .out = &password},
        {.name = NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS) {
        rv = enroll_login(call, login, domain, password);
    }
    return rv == APR_SUCCESS ? mdm_web_empty(call->r, HTTP_NO_CONTENT) : mdm_web_problem(call->r, call->ctx, rv);
}

static int session_delete(mdm_web_call_t *call)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_session_end(db, call->caller->session_hash);
        mdm_db_close(db);
    }
    mdm_web_cookie_set(call->r, MDM_COOKIE_PORTAL, NULL, 0);
    return rv == APR_SUCCESS ? mdm_web_empty(call->r, HTTP_NO_CONTENT) : mdm_web_problem(call->r, call->ctx, rv);
}

static int me_get(mdm_web_call_t *call)
{
    return mdm_web_json(call->r, HTTP_OK, json_pack("{s:s, s:s}", "login", call->caller->login, "name", call->caller->name));
}

/* ---------------------------------------------------------------- what may be enrolled */

/* What is missing concerns administrators only (POR-02): somebody who is logged in at the console too. */
static int is_admin(mdm_web_call_t *call, mdm_db_t *db)
{
    const char *token = mdm_web_cookie_get(call->r, MDM_COOKIE_ADMIN);
    mdm_session_t *session;

    return token && mdm_session_find(db, "admin", token, &session) == APR_SUCCESS;
}

static json_t *kind_json(const char *kind, int allowed, const char *missing, int tell)
{
    json_t *j = json_pack("{s:s, s:b, s:b}", "kind", kind, "allowed", allowed, "available", missing == NULL);

    if (missing && tell) {
        json_object_set_new(j, "missing", json_string(missing));
    }
    return j;
}

/* How the person can begin in the settings of a device (IOS-08): {"mode", "id"}, or null. */
static apr_status_t account_way(mdm_db_t *db, const mdm_person_t *person, json_t **out)
{
    mdm_account_conf_t conf;
    mdm_enroll_policy_t *policy;
    apr_status_t rv = mdm_account_conf(db, &conf);
    const char *kind = rv == APR_SUCCESS && !strcmp(conf.mode, "both") ? MDM_ACCOUNT_BYOD : conf.mode;

    if (rv == APR_SUCCESS) {
        rv = mdm_account_may(db, person, kind, NULL, &policy);
    }
    *out = rv == APR_SUCCESS ? json_pack("{s:s, s:s}", "mode", conf.mode, "id", mdm_account_of(mdm_db_ctx(db)->pool, &conf, person)) : json_null();
    return rv == MDM_EDENIED ? APR_SUCCESS : rv;
}

static int policy_get(mdm_web_call_t *call)
{
    mdm_enroll_policy_t *policy = NULL;
    mdm_otp_conf_t *conf;
    mdm_person_t *person;
    const char *topic = "";
    json_t *account = NULL;
    mdm_db_t *db;
    int managed, mail = 0, agent = 0, tell = 0;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        tell = is_admin(call, db);
        if ((rv = mdm_person_get(db, call->caller->id, &person)) == APR_SUCCESS
            && (rv = enroll_topic(db, &topic)) == APR_SUCCESS && (rv = mdm_otp_conf(db, &conf)) == APR_SUCCESS
            && (rv = enroll_mail_ready(db, person->id, &mail)) == APR_SUCCESS && (rv = enroll_agent_there(db, &agent)) == APR_SUCCESS) {
            rv = mdm_enroll_policy(db, person, &policy);
        }
        if (rv == APR_SUCCESS && *topic && call->svc->mdm_role()) {
            rv = account_way(db, person, &account);
        }
        mdm_db_close(db);
    }
    if (rv == MDM_EDENIED) {
        return mdm_web_json(call->r, HTTP_OK, json_pack("{s:b, s:s}", "may", 0, "reason", call->ctx->fail_text));
    }
    if (rv != APR_SUCCESS) {
        return mdm_web_problem(call->r, call->ctx, rv);
    }
    managed = strcmp(policy->level, "email_only") != 0;
    return mdm_web_json(
        call->r, HTTP_OK,
        json_pack("{s:b, s:s, s:s, s:o, s:{s:s, s:s}, s:[o,o,o]}", "may", 1, "ownership", policy->ownership, "level", policy->level, "account",
                  account ? account : json_null(), "phone", "ask",
                  conf->phone, "number", strcmp(conf->phone, "off") ? person->phone : "", "kinds",
                  kind_json("ios", managed && policy->ios, !call->svc->mdm_role() ? "node" : *topic ? NULL : "apns", tell),
                  kind_json("android", managed && policy->android, agent ? NULL : "agent", tell),
                  kind_json("email", strcmp(policy->level, "managed") && policy->eas, mail ? NULL : "activesync", tell)));
}

/* ---------------------------------------------------------------- enrolments */

/* The link goes to the phone that was given (POR-02). */
static apr_status_t create_in(mdm_db_t *db, mdm_web_call_t *call, const mdm_provision_t *asked, mdm_pending_t **out, const char **token)
{
    mdm_provision_t how = *asked;
    mdm_otp_conf_t *conf;
    mdm_person_t *person;
    const char *topic;
    int made, agent = 0, ready;
    apr_status_t rv;

    if ((rv = mdm_person_get(db, call->caller->id, &person)) != APR_SUCCESS || (rv = enroll_topic(db, &topic)) != APR_SUCCESS
        || (rv = mdm_otp_conf(db, &conf)) != APR_SUCCESS || (rv = enroll_agent_there(db, &agent)) != APR_SUCCESS) {
        return rv;
    }
    ready = !strcmp(how.platform, "ios") ? *topic != '\0' : !strcmp(how.platform, "android") && agent;
    if (!ready || strcmp(how.level, "managed") != 0) {
        return mdm_fail(call->ctx, MDM_ECONFLICT, "platform", "This kind of enrolment is not available yet.");
    }
    how.phone = strcmp(conf->phone, "off") && how.phone ? how.phone + strspn(how.phone, " ") : "";
    if (!strcmp(conf->phone, "required") && !*how.phone) {
        return mdm_fail(call->ctx, MDM_EINPUT, "phone", "Give the number of your phone.");
    }
    how.origin = "self";
    how.notify = *how.phone ? "sms" : "";
    return mdm_pending_provision(db, person, &how, out, token, &made);
}

apr_status_t enroll_create(mdm_web_call_t *call, const mdm_provision_t *asked, mdm_pending_t **out, const char **token, const char **link)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
        rv = create_in(db, call, asked, out, token);
    }
    if (rv == APR_SUCCESS && link) {
        rv = enroll_link_url(call, db, *token, link);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

static int enrollments_post(mdm_web_call_t *call)
{
    static const char *const platforms[] = {"ios", "android", "windows", "blackberry", NULL};
    static const char *const ownerships[] = {"corporate", "personal", NULL};
    static const char *const levels[] = {"managed", "email_only", NULL};
    mdm_provision_t how = {.ownership = "personal", .level = "managed"};
    const char *token, *path, *link;
    const mdm_jfield_t fields[] = {
        {.name = "platform", .type = MDM_JF_ENUM, .required = 1, .choices = platforms, .out = &how.platform},
        {.name = "ownership", .type = MDM_JF_ENUM, .required = 1, .choices = ownerships, .out = &how.ownership},
        {.name = "level", .type = MDM_JF_ENUM, .choices = levels, .out = &how.level},
        {.name = "phone", .type = MDM_JF_STR, .max = 40, .nullable = 1, .out = &how.phone},
        {.name = NULL}};
    mdm_pending_t *e;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS) {
        rv = enroll_create(call, &how, &e, &token, &link);
    }
    if (rv != APR_SUCCESS) {
        return mdm_web_problem(call->r, call->ctx, rv);
    }
    path = apr_pstrcat(call->r->pool, ENROLL_BASE "/", token, NULL);
    return mdm_web_json(call->r, HTTP_CREATED,
                        json_pack("{s:s, s:s, s:s, s:o, s:s, s:I}", "id", e->id, "link", link, "path", path, "profile",
                                  json_sprintf("%s/profile.mobileconfig", path), "state", e->state, "expires",
                                  (json_int_t)e->expires_ms));
}

static apr_status_t own_pending(mdm_web_call_t *call, mdm_db_t *db, mdm_pending_t **out)
{
    apr_status_t rv = mdm_pending_get(db, call->args[0], out);

    /* Somebody else's looks like none. */
    return rv == APR_SUCCESS && (!(*out)->person_id || strcmp((*out)->person_id, call->caller->id)) ? APR_NOTFOUND : rv;
}

static json_t *pending_json(mdm_web_call_t *call, mdm_db_t *db, const mdm_pending_t *e)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "id", e->id, "state", e->state, "platform", e->platform, "level", e->level,
                          "ownership", e->ownership, "created", (json_int_t)e->created_ms, "expires", (json_int_t)e->expires_ms);
    json_error_t bad;
    json_t *steps = json_loads(e->step, 0, &bad), *error = json_object_get(steps, "error");
    const char *token;

    if (error) {
        json_object_set(j, "error", error);
    }
    json_decref(steps);
    if (mdm_pending_open(e) && mdm_pending_token(db, e->id, &token) == APR_SUCCESS) {
        json_object_set_new(j, "path", json_sprintf(ENROLL_BASE "/%s", token));
    }
    return j;
}

static int enrollment_get(mdm_web_call_t *call)
{
    mdm_pending_t *e;
    json_t *j = NULL;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        if ((rv = own_pending(call, db, &e)) == APR_SUCCESS) {
            j = pending_json(call, db, e);
        }
        mdm_db_close(db);
    }
    return rv == APR_SUCCESS ? enroll_json_etag(call, j) : mdm_web_problem(call->r, call->ctx, rv);
}

static int enrollment_delete(mdm_web_call_t *call)
{
    mdm_pending_t *e;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        if ((rv = mdm_db_begin(db)) == APR_SUCCESS && (rv = own_pending(call, db, &e)) == APR_SUCCESS) {
            rv = mdm_pending_cancel(db, e->id);
        }
        rv = mdm_db_end(db, rv);
        mdm_db_close(db);
    }
    return rv == APR_SUCCESS ? mdm_web_empty(call->r, HTTP_NO_CONTENT) : mdm_web_problem(call->r, call->ctx, rv);
}

/* Pending enrolments that are still open, newest first. */
static apr_status_t open_list(mdm_web_call_t *call, mdm_db_t *db, json_t *list)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_pending_of_person(db, call->caller->id, 20, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; ++i) {
        mdm_pending_t *e;

        rv = mdm_pending_get(db, APR_ARRAY_IDX(rows, i, mdm_q_pending_of_person_t).id, &e);
        if (rv == APR_SUCCESS
            && (mdm_pending_open(e) || !strcmp(e->state, "issued") || !strcmp(e->state, "authenticated"))) {
            json_array_append_new(list, pending_json(call, db, e));
        }
    }
    return rv;
}

static int enrollments_get(mdm_web_call_t *call)
{
    json_t *list = json_array();
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = open_list(call, db, list);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        json_decref(list);
        return mdm_web_problem(call->r, call->ctx, rv);
    }
    return enroll_json_etag(call, json_pack("{s:o}", "enrollments", list));
}

/* ---------------------------------------------------------------- devices */

static json_t *device_json(const mdm_q_portal_devices_t *d, const mdm_enroll_policy_t *policy, const char *unenroll)
{
    apr_int64_t mdm = d->last_contact_ms_null ? 0 : d->last_contact_ms, mail = d->last_eas_ms_null ? 0 : d->last_eas_ms;
    apr_int64_t contact = mdm > mail ? mdm : mail;
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "id", d->id, "name", d->name, "model", d->model, "platform",
                          d->platform, "os_version", d->os_version, "state", d->state, "ownership", d->ownership, "level", d->level);

    json_object_set_new(j, "enrolled", d->enrolled_ms_null ? json_null() : json_integer(d->enrolled_ms));
    json_object_set_new(j, "last_contact", contact ? json_integer(contact) : json_null());
    json_object_set_new(j, "unenroll", json_string(unenroll));
    json_object_set_new(j, "complete", json_boolean(enroll_mail_waits(policy, d->state, d->level, d->mode)));
    json_object_set_new(j, "whose_known", json_boolean(d->promised != 0)); /* who made the enrolment has said it */
    json_object_set_new(j, "ask_which", json_boolean(policy && policy->manual_reconcile && d->unsettled)); /* it could be a managed one (MAT-05) */
    json_object_set_new(j, "undo", json_boolean(d->said != 0)); /* the person may have chosen the wrong one (MAT-05) */
    json_object_set_new(j, "mail_by_hand", json_boolean(d->by_hand != 0)); /* stands in the way of the organisation's (EML-02) */
    return j;
}

/* How the person may let go of this device (ENR-05, ENR-07): "retire", "delete", or "no". */
static const char *unenroll_of(const mdm_enroll_policy_t *policy, const char *state, const char *level, const char *ownership)
{
    int live = !strcmp(state, "active") || !strcmp(state, "pending");

    return live && policy && !strcmp(level, "managed") ? mdm_enroll_unenroll_mode(policy, ownership) : "no";
}

static apr_status_t device_list(mdm_web_call_t *call, mdm_db_t *db, json_t *list)
{
    mdm_enroll_policy_t *policy;
    apr_array_header_t *rows;
    mdm_person_t *person;
    apr_status_t rv;
    int i;

    if ((rv = mdm_person_get(db, call->caller->id, &person)) != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_enroll_policy(db, person, &policy);
    if (rv != APR_SUCCESS && rv != MDM_EDENIED) {
        return rv;
    }
    rv = mdm_q_portal_devices(db, call->caller->id, mdm_now_ms(call->ctx), mdm_now_ms(call->ctx) - MDM_MATCH_UNDO_MS, &rows);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; ++i) {
        const mdm_q_portal_devices_t *d = &APR_ARRAY_IDX(rows, i, mdm_q_portal_devices_t);

        json_array_append_new(list, device_json(d, policy, unenroll_of(policy, d->state, d->level, d->ownership)));
    }
    return rv;
}

static int devices_get(mdm_web_call_t *call)
{
    json_t *body = json_pack("{s:[], s:[]}", "devices", "enrollments");
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        if ((rv = device_list(call, db, json_object_get(body, "devices"))) == APR_SUCCESS) {
            rv = open_list(call, db, json_object_get(body, "enrollments"));
        }
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        json_decref(body);
        return mdm_web_problem(call->r, call->ctx, rv);
    }
    return enroll_json_etag(call, body);
}

static apr_status_t unenroll(mdm_web_call_t *call, mdm_db_t *db)
{
    mdm_enroll_policy_t *policy;
    mdm_q_portal_device_t *d;
    mdm_person_t *person;
    const char *mode;
    apr_status_t rv;

    if ((rv = mdm_q_portal_device(db, call->args[0], call->caller->id, &d)) != APR_SUCCESS
        || (rv = mdm_person_get(db, call->caller->id, &person)) != APR_SUCCESS
        || (rv = mdm_enroll_policy(db, person, &policy)) != APR_SUCCESS) {
        return rv;
    }
    mode = unenroll_of(policy, d->state, d->level, d->ownership);
    if (!strcmp(mode, "no")) {
        return mdm_fail(call->ctx, MDM_ECONFLICT, NULL, "You can't unenrol this device yourself. Ask your IT support.");
    }
    return mdm_unenroll_apple(db, d->id, 0, !strcmp(mode, "delete"), NULL, "unenrolled by its owner in the portal");
}

static int device_delete(mdm_web_call_t *call)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
            rv = unenroll(call, db);
        }
        rv = mdm_db_end(db, rv);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        return mdm_web_problem(call->r, call->ctx, rv);
    }
    call->svc->job_wake();
    return mdm_web_empty(call->r, HTTP_NO_CONTENT);
}

static int file_get(mdm_web_call_t *call)
{
    return enroll_files_answer(call, call->args[0]);
}

#define API "/api/v1"
const mdm_route_t enroll_portal_routes[] = {
    {"GET", "/", MDM_AUTH_PUBLIC, NULL, 0, 0, enroll_page_home},
    {"GET", "/login", MDM_AUTH_PUBLIC, NULL, 0, 0, enroll_page_login},
    {"POST", "/login", MDM_AUTH_PUBLIC, NULL, 65536, 0, enroll_page_login_post},
    {"GET", "/start", MDM_AUTH_PERSON, NULL, 0, 0, enroll_page_start},
    {"POST", "/start", MDM_AUTH_PERSON, NULL, 65536, 0, enroll_page_start_post},
    {"GET", "/ui/{file}", MDM_AUTH_PUBLIC, NULL, 0, 0, file_get},
    {"POST", API "/session", MDM_AUTH_PUBLIC, NULL, 16384, 1, session_post},
    {"DELETE", API "/session", MDM_AUTH_PERSON, NULL, 0, 0, session_delete},
    {"GET", API "/me", MDM_AUTH_PERSON, NULL, 0, 0, me_get},
    {"GET", API "/policy", MDM_AUTH_PERSON, NULL, 0, 0, policy_get},
    {"GET", API "/enrollments", MDM_AUTH_PERSON, NULL, 0, 0, enrollments_get},
    {"POST", API "/enrollments", MDM_AUTH_PERSON, NULL, 16384, 1, enrollments_post},
    {"GET", API "/enrollments/{id}", MDM_AUTH_PERSON, NULL, 0, 0, enrollment_get},
    {"DELETE", API "/enrollments/{id}", MDM_AUTH_PERSON, NULL, 0, 0, enrollment_delete},
    {"GET", API "/devices", MDM_AUTH_PERSON, NULL, 0, 0, devices_get},
    {"DELETE", API "/devices/{id}", MDM_AUTH_PERSON, NULL, 0, 0, device_delete},
    {"GET", API "/devices/{id}/choices", MDM_AUTH_PERSON, NULL, 0, 0, enroll_mail_choices},
    {"POST", API "/devices/{id}/complete", MDM_AUTH_PERSON, NULL, 16384, 1, enroll_mail_complete},
    {"POST", API "/devices/{id}/undo", MDM_AUTH_PERSON, NULL, 0, 0, enroll_mail_undo},
    {"GET", API "/mail", MDM_AUTH_PERSON, NULL, 0, 0, enroll_mail_get},
};
const int enroll_portal_nroutes = sizeof(enroll_portal_routes) / sizeof(enroll_portal_routes[0]);
