/* mdmctl migrate, check, setting, push-cert, ca, policy. */
#include "ctl.h"

#include "base/mdm_json.h"
#include "domain/mdm_ca.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_push_cert.h"

#define DAY_MS (86400 * 1000LL)
#define EXPIRY_WARN_DAYS 30

int ctl_migrate(ctl_t *c)
{
    apr_status_t rv;
    int applied;

    if (!ctl_args(c, NULL, 0)) {
        return CTL_USAGE;
    }
    rv = mdm_migrate(c->ctx, &applied);
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, "migrate");
    }
    printf("schema %d, %d migration%s applied\n", mdm_schema_version, applied, applied == 1 ? "" : "s");
    return CTL_OK;
}

int ctl_ca_ensure(ctl_t *c)
{
    const char *organisation = "MDM";
    int rsa = 0;
    const ctl_option_t options[] = {{"organisation", &organisation, NULL}, {"rsa", NULL, &rsa}, {NULL, NULL, NULL}};
    apr_status_t rv;

    if (!ctl_args(c, options, 0)) {
        return CTL_USAGE;
    }
    rv = mdm_ca_ensure(c->ctx, organisation, rsa ? MDM_KEY_RSA3072 : MDM_KEY_P256);
    return rv == APR_SUCCESS ? CTL_OK : ctl_fail(c, rv, "certification authority");
}

int ctl_policy_demo(ctl_t *c)
{
    const char *source;
    mdm_db_t *db;
    apr_status_t rv;

    if (!ctl_args(c, NULL, 0)) {
        return CTL_USAGE;
    }
    rv = mdm_db_open(c->ctx, &db);
    if (rv == APR_SUCCESS) {
        rv = mdm_local_source(db, &source);
        if (rv == APR_SUCCESS) {
            rv = mdm_enroll_policy_create_demo(db, source);
        }
        mdm_db_close(db);
    }
    return rv == APR_SUCCESS ? CTL_OK : ctl_fail(c, rv, "policy");
}

/* ---------------------------------------------------------------- settings */

static apr_status_t get(ctl_t *c, const char *name, json_t **out)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(c->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_setting_get(db, name, out);
        mdm_db_close(db);
    }
    return rv;
}

int ctl_setting_get(ctl_t *c)
{
    json_t *value;
    apr_status_t rv;

    if (!ctl_args(c, NULL, 1)) {
        return CTL_USAGE;
    }
    rv = get(c, c->pos[0], &value);
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, c->pos[0]);
    }
    puts(mdm_json_text(c->p, value));
    return CTL_OK;
}

/* Writes settings (name, value, secret) and one audit row in one transaction. */
typedef struct setting_t {
    const char *name;
    json_t *value;
    int secret;
} setting_t;

static apr_status_t put(ctl_t *c, const setting_t *settings, int n, const char *action, const char *object)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(c->ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_db_begin(db);
    for (int i = 0; i < n && rv == APR_SUCCESS; i++) {
        rv = mdm_setting_set(db, settings[i].name, settings[i].value, settings[i].secret);
        rv = rv == APR_SUCCESS ? mdm_change_add(db, "setting", settings[i].name) : rv;
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_audit(db, action, "zone", object, object, "done", NULL);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

int ctl_setting_set(ctl_t *c)
{
    int secret = 0;
    const ctl_option_t options[] = {{"secret", NULL, &secret}, {NULL, NULL, NULL}};
    setting_t one = {NULL, NULL, 0};
    const char *text;
    apr_status_t rv;

    if (!ctl_args(c, options, 2)) {
        return CTL_USAGE;
    }
    text = strcmp(c->pos[1], "-") ? c->pos[1] : ctl_file(c, "/dev/stdin");
    if (!text) {
        return CTL_USAGE;
    }
    rv = mdm_json_parse(c->ctx, text, strlen(text), &one.value);
    if (rv == APR_SUCCESS) {
        one.name = c->pos[0];
        one.secret = secret;
        rv = put(c, &one, 1, "setting.write", one.name);
    }
    return rv == APR_SUCCESS ? CTL_OK : ctl_fail(c, rv, c->pos[0]);
}

/* ---------------------------------------------------------------- push certificate */

/* What is in force now. */
static int push_cert_tell(ctl_t *c)
{
    json_t *all = NULL, *cert;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(c->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_push_cert_state(db, &all);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, "push certificate");
    }
    cert = json_object_get(mdm_json_own(c->ctx, all), "certificate");
    if (!json_is_object(cert)) {
        fputs("mdmctl: there is no push certificate\n", stderr);
        return CTL_FAILED;
    }
    printf("topic %s\nsubject %s\nserial %s\nkey %s\nvalid until %s\n", json_string_value(json_object_get(cert, "topic")),
           json_string_value(json_object_get(cert, "subject")), json_string_value(json_object_get(cert, "serial")),
           json_string_value(json_object_get(cert, "key")), json_string_value(json_object_get(cert, "not_after")));
    return CTL_OK;
}

static int push_cert_import(ctl_t *c, mdm_push_import_t *in)
{
    apr_status_t rv = mdm_push_cert_import(c->ctx, in);

    if (rv == MDM_ECONFLICT && c->ctx->fail_field && !strcmp(c->ctx->fail_field, "new_topic")) {
        fprintf(stderr, "mdmctl: %s --new-topic confirms.\n", c->ctx->fail_text);
        return CTL_FAILED;
    }
    return rv == APR_SUCCESS ? push_cert_tell(c) : ctl_fail(c, rv, "push certificate");
}

int ctl_push_cert(ctl_t *c)
{
    mdm_push_import_t in = {NULL};
    const ctl_option_t options[] = {{"new-topic", NULL, &in.new_topic}, {NULL, NULL, NULL}};

    if (!ctl_args(c, options, 2) || !(in.certificate = ctl_file(c, c->pos[0])) || !(in.key = ctl_file(c, c->pos[1]))) {
        return CTL_USAGE;
    }
    return push_cert_import(c, &in);
}

int ctl_push_renew(ctl_t *c)
{
    mdm_push_import_t in = {NULL};

    if (!ctl_args(c, NULL, 1) || !(in.certificate = ctl_file(c, c->pos[0]))) {
        return CTL_USAGE;
    }
    return push_cert_import(c, &in);
}

int ctl_push_show(ctl_t *c)
{
    return ctl_args(c, NULL, 0) ? push_cert_tell(c) : CTL_USAGE;
}

int ctl_push_request(ctl_t *c)
{
    mdm_push_subject_t s = {NULL};
    int keep = 0;
    const ctl_option_t options[] = {{"organisation", &s.organisation, NULL}, {"unit", &s.unit, NULL}, {"name", &s.name, NULL},
                                    {"place", &s.place, NULL}, {"state", &s.state, NULL}, {"country", &s.country, NULL},
                                    {"mail", &s.mail, NULL}, {"keep-key", NULL, &keep}, {NULL, NULL, NULL}};
    const char *pem = NULL, *file;
    mdm_db_t *db;
    apr_status_t rv;

    if (!ctl_args(c, options, 0)) {
        return CTL_USAGE;
    }
    rv = mdm_push_request_make(c->ctx, &s, keep);
    if (rv == APR_SUCCESS && (rv = mdm_db_open(c->ctx, &db)) == APR_SUCCESS) {
        rv = mdm_push_request_files(db, &pem, &file);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, "request");
    }
    fputs(pem, stdout);
    return CTL_OK;
}

/* ---------------------------------------------------------------- check */

static int note(int ok, const char *what, const char *text)
{
    printf("%-18s %s%s\n", what, ok ? "" : "PROBLEM: ", text);
    return ok ? CTL_OK : CTL_FAILED;
}

static int check_schema(ctl_t *c, int *fits)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(c->ctx, &db);
    int found = 0;

    *fits = 0;
    if (rv == APR_SUCCESS) {
        rv = mdm_schema_found(db, &found);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        return note(0, "database", c->ctx->fail_text);
    }
    note(1, "database", "can be reached");
    *fits = found == mdm_schema_version;
    return note(*fits, "schema", *fits ? apr_psprintf(c->p, "%d", found)
                                       : apr_psprintf(c->p, "found %d, needed %d: %s", found, mdm_schema_version,
                                                      found < mdm_schema_version ? "run mdmctl migrate"
                                                                                 : "install the newer version"));
}

static int check_ca(ctl_t *c)
{
    mdm_certinfo_t info;
    mdm_ca_t *ca;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(c->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_ca_load(db, c->p, &ca);
        mdm_db_close(db);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_cert_info(c->ctx, ca->ca, &info);
    }
    if (rv == APR_NOTFOUND) {
        return note(0, "authority", "there is none: run mdmctl ca ensure");
    }
    return rv == APR_SUCCESS
        ? note(1, "authority", apr_psprintf(c->p, "%s, valid until %s", info.subject, mdm_time_text(c->p, info.not_after_ms)))
        : note(0, "authority", "can't be opened: are these its keys?");
}

static int check_push(ctl_t *c)
{
    mdm_certinfo_t info;
    mdm_cert_t *cert = NULL;
    json_t *pem = NULL, *key;
    apr_int64_t days;
    apr_status_t rv = get(c, "apns.certificate", &pem);

    if (rv == APR_NOTFOUND) {
        return note(0, "push certificate", "there is none: run mdmctl push-cert import");
    }
    if (rv == APR_SUCCESS) {
        rv = get(c, "apns.key", &key);
    }
    if (rv == APR_SUCCESS && json_is_string(pem)) {
        rv = mdm_cert_from_pem(c->ctx, json_string_value(pem), &cert);
    }
    if (rv != APR_SUCCESS || !cert || mdm_cert_info(c->ctx, cert, &info) != APR_SUCCESS) {
        return note(0, "push certificate", "can't be opened: are these its keys?");
    }
    days = (info.not_after_ms - mdm_now_ms(c->ctx)) / DAY_MS;
    return note(days > EXPIRY_WARN_DAYS, "push certificate",
                apr_psprintf(c->p, "%s, valid until %s", info.uid ? info.uid : "no topic",
                             mdm_time_text(c->p, info.not_after_ms)));
}

int ctl_check(ctl_t *c)
{
    int rc, fits;

    if (!ctl_args(c, NULL, 0)) {
        return CTL_USAGE;
    }
    rc = check_schema(c, &fits);
    if (!c->env->keys) {
        return note(0, "keys", "no key file given: --keys FILE") | rc;
    }
    note(1, "keys", "can be read");
    if (fits) {
        rc |= check_ca(c);
        rc |= check_push(c);
    }
    return rc;
}
