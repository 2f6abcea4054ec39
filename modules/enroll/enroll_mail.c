/* The portal's mail part: account settings for a mail app, and the end of its enrolment (POR-05). */
#include "enroll.h"

#include <string.h>
#include <apr_strings.h>
#include <apr_uri.h>

#include "base/mdm_json.h"
#include "domain/mdm_eas.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_match_run.h"
#include "mdm_sql_gen.h"

apr_status_t enroll_mail_ready(mdm_db_t *db, const char *person_id, int *ready)
{
    mdm_q_eas_account_t *account;
    apr_status_t rv = mdm_q_eas_account(db, person_id, &account);

    *ready = rv == APR_SUCCESS && account->servers > 0;
    return rv;
}

/* The name that mail apps are given: the zone's setting, else that of the public address. */
static apr_status_t mail_host(mdm_web_call_t *call, mdm_db_t *db, const char **out)
{
    const char *url = call->svc->public_url(call->r->server);
    apr_uri_t uri = {0};
    json_t *value;
    apr_status_t rv = mdm_setting_get(db, "eas.public_host", &value);

    if (rv == APR_SUCCESS && json_is_string(value) && *json_string_value(value)) {
        *out = apr_pstrdup(call->ctx->pool, json_string_value(value));
        return APR_SUCCESS;
    }
    *out = url && apr_uri_parse(call->ctx->pool, url, &uri) == APR_SUCCESS && uri.hostinfo ? uri.hostinfo : "";
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static apr_status_t account_json(mdm_web_call_t *call, mdm_db_t *db, json_t **out)
{
    mdm_q_eas_account_t *account;
    const char *host;
    apr_status_t rv = mdm_q_eas_account(db, call->caller->id, &account);

    if (rv != APR_SUCCESS || (rv = mail_host(call, db, &host)) != APR_SUCCESS) {
        return rv;
    }
    if (!account->servers) {
        return mdm_fail(call->ctx, MDM_ECONFLICT, NULL, "Mail is not available yet. Ask your IT support.");
    }
    *out = json_pack("{s:s, s:s, s:s, s:s, s:b}", "server", host, "mail", account->mail, "user", account->login, "domain",
                     account->simple || !account->domain ? "" : account->domain, "tls", 1);
    return APR_SUCCESS;
}

/* The whole of a route that only reads. */
static int show(mdm_web_call_t *call, apr_status_t (*read)(mdm_web_call_t *call, mdm_db_t *db, json_t **out))
{
    json_t *body = NULL;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = read(call, db, &body);
        mdm_db_close(db);
    }
    return rv == APR_SUCCESS ? mdm_web_json(call->r, HTTP_OK, body) : mdm_web_problem(call->r, call->ctx, rv);
}

int enroll_mail_get(mdm_web_call_t *call)
{
    return show(call, account_json);
}

int enroll_mail_waits(const mdm_enroll_policy_t *policy, const char *state, const char *level, const char *mode)
{
    if (!policy || strcmp(level, "email_only") != 0) {
        return 0;
    }
    return (!strcmp(state, "pending") && !strcmp(mode, "eas"))
           || (!strcmp(state, "retired") && strcmp(policy->reenroll, "unretire") != 0);
}

static apr_status_t policy_of(mdm_web_call_t *call, mdm_db_t *db, mdm_enroll_policy_t **out)
{
    mdm_person_t *person;
    apr_status_t rv = mdm_person_get(db, call->caller->id, &person);

    return rv == APR_SUCCESS ? mdm_enroll_policy(db, person, out) : rv;
}

/* The person says which phone it is, or that it is none of those (MAT-05). */
static apr_status_t reconcile(mdm_web_call_t *call, mdm_db_t *db, const mdm_enroll_policy_t *policy, const char *same_as)
{
    mdm_q_eas_record_of_t *record;
    apr_status_t rv;

    if (!policy->manual_reconcile) {
        return mdm_fail(call->ctx, MDM_EDENIED, "same_as", "Your organisation does not let you choose a device.");
    }
    if ((rv = mdm_q_eas_record_of(db, call->caller->id, call->args[0], &record)) != APR_SUCCESS) {
        return rv;
    }
    return strcmp(same_as, "new") ? mdm_match_link(db, record->id, same_as, "person") : mdm_match_own(db, record->id, "person");
}

/* What the body of a request to finish says. */
typedef struct finish_t {
    const char *ownership, *same_as, *platform;
} finish_t;

static const char *const platforms[] = {"ios", "android", "windows", "blackberry", NULL};

/* A mail app that is enrolled, and could be on one of several managed devices, is asked about later (MAT-05). */
static apr_status_t is_later(mdm_web_call_t *call, mdm_db_t *db, int *later)
{
    mdm_q_portal_device_t *d;
    apr_status_t rv = mdm_q_portal_device(db, call->args[0], call->caller->id, &d);

    *later = rv == APR_SUCCESS && !strcmp(d->state, "active") && !strcmp(d->mode, "eas");
    return rv;
}

static apr_status_t complete_in(mdm_web_call_t *call, mdm_db_t *db, const finish_t *f, const char **final)
{
    mdm_enroll_policy_t *policy = NULL;
    const char *ownership = f->ownership;
    int later = 0;
    apr_status_t rv = !ownership || f->same_as ? policy_of(call, db, &policy) : APR_SUCCESS;

    if (rv != APR_SUCCESS || (f->platform && (rv = mdm_eas_platform_said(db, call->caller->id, call->args[0], f->platform)) != APR_SUCCESS)
        || (f->same_as && (rv = is_later(call, db, &later)) != APR_SUCCESS)) {
        return rv;
    }
    if (f->same_as && (later || strcmp(f->same_as, "new"))) {
        *final = strcmp(f->same_as, "new") ? f->same_as : call->args[0];
        return reconcile(call, db, policy, f->same_as);
    }
    if (!ownership && !strcmp(policy->ownership, "choose")) {
        return mdm_fail(call->ctx, MDM_EINPUT, "ownership", "is missing: whose device is it?");
    }
    rv = mdm_eas_complete(db, call->caller->id, call->args[0], ownership ? ownership : policy->ownership, final);
    return rv == APR_SUCCESS && f->same_as && !strcmp(*final, call->args[0]) ? reconcile(call, db, policy, f->same_as) : rv;
}

static apr_status_t choices_json(mdm_web_call_t *call, mdm_db_t *db, json_t **out)
{
    mdm_enroll_policy_t *policy;
    json_t *items = NULL;
    const char *platform = NULL;
    apr_status_t rv = mdm_web_query(call->r, call->ctx, "platform", &platform);

    if (rv == APR_SUCCESS && (rv = policy_of(call, db, &policy)) == APR_SUCCESS && policy->manual_reconcile) {
        rv = mdm_match_choices(db, call->caller->id, call->args[0], platform, &items);
    }
    if (rv == APR_SUCCESS) {
        *out = json_pack("{s:o}", "items", items ? items : json_array());
    }
    return rv;
}

int enroll_mail_choices(mdm_web_call_t *call)
{
    return show(call, choices_json);
}

int enroll_mail_complete(mdm_web_call_t *call)
{
    static const char *const ownerships[] = {"corporate", "personal", NULL};
    const char *final = NULL;
    finish_t f = {NULL, NULL, NULL};
    const mdm_jfield_t fields[] = {{.name = "ownership", .type = MDM_JF_ENUM, .choices = ownerships, .out = &f.ownership},
                                   {.name = "platform", .type = MDM_JF_ENUM, .choices = platforms, .out = &f.platform},
                                   {.name = "same_as", .type = MDM_JF_STR, .min = 3, .max = 36, .out = &f.same_as},
                                   {.name = NULL}};
    mdm_db_t *db;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS && (rv = mdm_db_open(call->ctx, &db)) == APR_SUCCESS) {
        if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
            rv = complete_in(call, db, &f, &final);
        }
        rv = mdm_db_end(db, rv);
        mdm_db_close(db);
    }
    return rv == APR_SUCCESS ? mdm_web_json(call->r, HTTP_OK, json_pack("{s:s, s:s}", "id", final, "state", "active"))
                             : mdm_web_problem(call->r, call->ctx, rv);
}

int enroll_mail_undo(mdm_web_call_t *call)
{
    const char *own = NULL;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
            rv = mdm_match_take_back(db, call->caller->id, call->args[0], &own);
        }
        rv = mdm_db_end(db, rv);
        mdm_db_close(db);
    }
    return rv == APR_SUCCESS ? mdm_web_json(call->r, HTTP_OK, json_pack("{s:s}", "id", own)) : mdm_web_problem(call->r, call->ctx, rv);
}
