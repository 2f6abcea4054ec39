/* The mail server of the zone: settings, sealed as a whole, and its test. */
#include "domain/mdm_notice_priv.h"

#include <string.h>
#include <strings.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"
#include "wire/mdm_mail.h"

#define REACH_MS 5000
#define TEXT_MAX 200
#define SECRET_MAX 500

static const char *const modes[] = {"none", "starttls", "tls", NULL};

static const char *text_of(mdm_ctx_t *ctx, const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? apr_pstrdup(ctx->pool, s) : "";
}

static apr_status_t read_conf(mdm_db_t *db, mdm_notice_conf_t *c)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *j = NULL;
    apr_status_t rv = mdm_setting_get(db, MDM_NOTICE_SETTING, &j);

    *c = (mdm_notice_conf_t){text_of(ctx, j, "host"), text_of(ctx, j, "tls"), text_of(ctx, j, "user"), text_of(ctx, j, "password"),
                             text_of(ctx, j, "from"), text_of(ctx, j, "from_name"), text_of(ctx, j, "pin"),
                             (int)json_integer_value(json_object_get(j, "port"))};
    c->tls = *c->tls ? c->tls : modes[1];
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

apr_status_t mdm_notice_conf(mdm_db_t *db, mdm_notice_conf_t **out)
{
    apr_status_t rv;

    *out = apr_pcalloc(mdm_db_ctx(db)->pool, sizeof(**out));
    rv = read_conf(db, *out);
    return rv == APR_SUCCESS && !*(*out)->host ? APR_NOTFOUND : rv;
}

/* Without the password. */
static json_t *open_json(const mdm_notice_conf_t *c)
{
    return json_pack("{s:s, s:i, s:s, s:s, s:b, s:s, s:s, s:s?}", "host", c->host, "port", c->port, "tls", c->tls, "user", c->user, "password_set",
                     *c->password != '\0', "from", c->from, "from_name", c->from_name, "pin", *c->pin ? c->pin : NULL);
}

static json_t *time_or_null(apr_pool_t *p, const json_t *j, const char *name)
{
    apr_int64_t ms = json_integer_value(json_object_get(j, name));

    return ms ? json_string(mdm_time_text(p, ms)) : json_null();
}

apr_status_t mdm_notice_state_json(mdm_db_t *db, const mdm_notice_way_t *way, json_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_notice_counts_t *n;
    json_t *away = NULL;
    apr_status_t rv = mdm_setting_get(db, way->away, &away);

    if (rv != APR_SUCCESS && !APR_STATUS_IS_NOTFOUND(rv)) {
        return rv;
    }
    if ((rv = mdm_q_notice_counts(db, way->channel, &n)) == APR_SUCCESS) {
        json_object_set_new(out, "waiting", json_integer(n->waiting));
        json_object_set_new(out, "failed", json_integer(n->failed));
        json_object_set_new(out, "away_since", time_or_null(ctx->pool, away, "since"));
        json_object_set_new(out, "next_try", time_or_null(ctx->pool, away, "next"));
        json_object_set_new(out, "trouble", json_string(text_of(ctx, away, "why")));
    }
    return rv;
}

apr_status_t mdm_notice_conf_json(mdm_db_t *db, json_t **out)
{
    mdm_notice_conf_t c;
    apr_status_t rv = read_conf(db, &c);

    *out = NULL;
    if (rv == APR_SUCCESS) {
        *out = open_json(&c);
        json_object_set_new(*out, "configured", json_boolean(*c.host != '\0'));
        rv = mdm_notice_state_json(db, &mdm_notice_mail_way, *out);
    }
    if (rv != APR_SUCCESS) {
        json_decref(*out);
        *out = NULL;
    }
    return rv;
}

/* ---------------------------------------------------------------- editing */

static apr_status_t check(mdm_ctx_t *ctx, const mdm_notice_conf_t *c)
{
    if (!*c->host) {
        return APR_SUCCESS;
    }
    if (!mdm_is_host(c->host)) {
        return mdm_fail(ctx, MDM_EINPUT, "host", "must be a host name or an address");
    }
    if (!mdm_mail_address_ok(c->from)) {
        return mdm_fail(ctx, MDM_EINPUT, "from", "must be a mail address");
    }
    if (*c->user && strcmp(c->tls, "none") == 0) {
        return mdm_fail(ctx, MDM_EINPUT, "tls", "must be on: a password is only sent over TLS");
    }
    if (*c->user && !*c->password) {
        return mdm_fail(ctx, MDM_EINPUT, "password", "is needed with a user name");
    }
    return APR_SUCCESS;
}

apr_status_t mdm_notice_back(mdm_db_t *db, const mdm_notice_way_t *way)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    apr_status_t rv = mdm_q_push_setting_drop(db, way->away, NULL);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_notice_message_done(db, way->object, now, ctx->actor.name, NULL);
    }
    return rv == APR_SUCCESS ? mdm_q_notice_now(db, way->channel, now, NULL) : rv;
}

static apr_status_t store(mdm_db_t *db, const mdm_notice_conf_t *c, const char *action, json_t *detail)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *value = mdm_json_own(ctx, open_json(c));
    apr_status_t rv;

    json_object_del(value, "password_set");
    json_object_set_new(value, "password", json_string(c->password));
    rv = mdm_setting_set(db, MDM_NOTICE_SETTING, value, 1);
    if (rv == APR_SUCCESS) {
        rv = mdm_notice_back(db, &mdm_notice_mail_way);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_notice_hasten(db, MDM_NOTICE_JOB);
    }
    return rv == APR_SUCCESS ? mdm_audit(db, action, "zone", "smtp", c->host, "done", detail) : rv;
}

apr_status_t mdm_notice_conf_edit(mdm_db_t *db, json_t *body)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t port = 0;
    int port_given = 0;
    mdm_notice_conf_t was, c;
    json_t *detail;
    apr_status_t rv = read_conf(db, &was);
    const mdm_jfield_t fields[] = {{"host", MDM_JF_STR, 0, 0, 255, NULL, 0, &c.host, NULL},
                                   {"port", MDM_JF_INT, 0, 1, 65535, NULL, 1, &port, &port_given},
                                   {"tls", MDM_JF_ENUM, 0, 0, 0, modes, 0, &c.tls, NULL},
                                   {"user", MDM_JF_STR, 0, 0, TEXT_MAX, NULL, 0, &c.user, NULL},
                                   {"password", MDM_JF_STR, 0, 0, SECRET_MAX, NULL, 0, &c.password, NULL},
                                   {"from", MDM_JF_STR, 0, 0, MDM_MAIL_ADDRESS_MAX, NULL, 0, &c.from, NULL},
                                   {"from_name", MDM_JF_STR, 0, 0, TEXT_MAX, NULL, 0, &c.from_name, NULL},
                                   {NULL}};

    c = was;
    if (rv == APR_SUCCESS) {
        rv = mdm_json_fields(ctx, body, fields);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    c.port = port_given && port ? (int)port : port_given || !was.port ? (!strcmp(c.tls, "tls") ? 465 : !strcmp(c.tls, "starttls") ? 587 : 25) : was.port;
    c.user = *c.host ? c.user : "";
    c.password = *c.user ? c.password : "";
    if (strcasecmp(c.host, was.host) != 0 || c.port != was.port || !strcmp(c.tls, "none")) {
        c.pin = "";
    }
    /* a password that was kept for one server is not for another that somebody names now */
    if (!json_object_get(body, "password") && *c.password && (strcasecmp(c.host, was.host) != 0 || strcmp(c.user, was.user) != 0)) {
        return mdm_fail(ctx, MDM_EINPUT, "password", "must be typed again for another server or user");
    }
    if ((rv = check(ctx, &c)) != APR_SUCCESS) {
        return rv;
    }
    detail = mdm_json_own(ctx, json_pack("{s:o, s:o}", "before", open_json(&was), "after", open_json(&c)));
    return store(db, &c, "smtp.edit", detail);
}

apr_status_t mdm_notice_conf_pin(mdm_db_t *db, const char *sha256)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_notice_conf_t c;
    apr_status_t rv = read_conf(db, &c);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (*sha256 && (strlen(sha256) != 64 || strspn(sha256, "0123456789abcdef") != 64)) {
        return mdm_fail(ctx, MDM_EINPUT, "sha256", "must be 64 lower-case hex digits");
    }
    if (!*c.host || !strcmp(c.tls, "none")) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "There is no mail server with TLS.");
    }
    c.pin = sha256;
    return store(db, &c, "smtp.certificate", mdm_json_own(ctx, json_pack("{s:s}", "sha256", sha256)));
}

/* ---------------------------------------------------------------- sending, testing */

apr_status_t mdm_notice_smtp(mdm_ctx_t *ctx, const mdm_notice_conf_t *c, const char *ca_file, mdm_blob_t *peer, mdm_smtp_t **out)
{
    const mdm_smtp_conf_t conf = {.host = c->host, .port = c->port, .user = c->user, .password = c->password, .ca_file = ca_file, .pin = c->pin,
                                  .tls = !strcmp(c->tls, "tls") ? MDM_SMTP_TLS : !strcmp(c->tls, "starttls") ? MDM_SMTP_STARTTLS : MDM_SMTP_NONE,
                                  .timeout_ms = 40000, .deny_local = !(ctx->env && ctx->env->outbound_local)};

    return mdm_smtp_make(ctx, &conf, peer, out);
}

typedef struct talk_t {
    mdm_probe_t *p;
    mdm_blob_t peer;
} talk_t;

static void put_step(talk_t *x, mdm_smtp_step_e step, int ok, const char *words)
{
    if (step == MDM_SMTP_AT_TLS) {
        mdm_probe_tls(x->p, x->peer, ok, ok ? "encrypted" : words);
    } else {
        mdm_probe_step(x->p, mdm_smtp_step_name(step), ok, words);
    }
}

static void on_step(void *baton, mdm_smtp_step_e step, const char *words)
{
    put_step(baton, step, 1, words);
}

static int test_message(mdm_probe_t *p, const mdm_notice_test_t *t, mdm_smtp_msg_t *m)
{
    const mdm_notice_conf_t *c = t->conf;
    int german = !strcmp(t->language, "de");
    const mdm_mail_t mail = {.from = c->from, .from_name = c->from_name, .to = t->to, .language = t->language, .id = mdm_uuid(p->ctx->pool),
        .date_ms = mdm_now_ms(p->ctx), .subject = german ? "Testnachricht der Geräteverwaltung" : "Test message of the device management",
        .text = german ? "Diese Nachricht kam an: Die Geräteverwaltung kann E-Mails senden.\n"
                       : "This message has arrived: the device management can send mail.\n",
        .html = german ? "<!DOCTYPE html>\n<html lang=\"de\"><head><meta charset=\"utf-8\"><title>Testnachricht</title></head><body>"
                         "<p>Diese Nachricht kam an: Die Geräteverwaltung kann E-Mails senden.</p></body></html>\n"
                       : "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Test message</title></head><body>"
                         "<p>This message has arrived: the device management can send mail.</p></body></html>\n"};

    *m = (mdm_smtp_msg_t){.from = c->from, .to = t->to};
    return mdm_mail_compose(p->ctx, &mail, &m->body) == APR_SUCCESS;
}

void mdm_notice_test(mdm_probe_t *p, const mdm_notice_test_t *t)
{
    talk_t x = {.p = p};
    mdm_smtp_msg_t m;
    mdm_smtp_t *smtp;

    if (!test_message(p, t, &m)) {
        mdm_probe_step(p, "message", 0, p->ctx->fail_text);
        return;
    }
    if (!mdm_probe_reach(p, t->conf->host, t->conf->port, REACH_MS)) {
        return;
    }
    if (mdm_notice_smtp(p->ctx, t->conf, t->ca_file, &x.peer, &smtp) != APR_SUCCESS) {
        mdm_probe_step(p, "connect", 0, p->ctx->fail_text);
        return;
    }
    mdm_smtp_tell(smtp, on_step, &x);
    mdm_smtp_send(p->ctx, smtp, &m, NULL);
    mdm_smtp_close(smtp);
    if (m.result != MDM_SMTP_SENT) {
        put_step(&x, m.step, 0, m.words);
    }
}
