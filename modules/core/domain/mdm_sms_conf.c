/* The SMS gateway of the zone: settings, sealed as a whole, their preview and test. */
#include "domain/mdm_sms_conf.h"

#include <stdlib.h>
#include <netinet/in.h>
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_uri.h>

#include "base/mdm_json.h"
#include "domain/mdm_cidr.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_notice_priv.h"

#define SETTING "sms"
#define SECRETS_MAX 20
#define PREFIXES_MAX 50
#define NETWORKS_MAX 50
#define DAY_MS (24 * 3600 * 1000LL)

static const char *const methods[] = {"POST", "GET", "PUT", NULL};

/* Settings as they are stored; strings are JSON members of the same name. */
typedef struct stored_t {
    const char *method, *url, *body, *sender, *country, *ok_pointer, *ok_value, *id_pointer, *error_pointer;
    json_t *headers, *secrets, *prefixes, *networks;
    apr_int64_t per_second, daily_cap;
    int insecure;
} stored_t;

static apr_status_t read_fields(mdm_ctx_t *ctx, json_t *body, stored_t *c)
{
    const mdm_jfield_t fields[] = {{"method", MDM_JF_ENUM, 0, 0, 0, methods, 0, &c->method, NULL},
                                   {"url", MDM_JF_STR, 0, 0, 2000, NULL, 0, &c->url, NULL},
                                   {"headers", MDM_JF_ARRAY, 0, 0, MDM_SMS_HEADERS_MAX, NULL, 0, &c->headers, NULL},
                                   {"body", MDM_JF_STR, 0, 0, 8192, NULL, 0, &c->body, NULL},
                                   {"secrets", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &c->secrets, NULL},
                                   {"sender", MDM_JF_STR, 0, 0, 16, NULL, 0, &c->sender, NULL},
                                   {"country", MDM_JF_STR, 0, 0, 3, NULL, 0, &c->country, NULL},
                                   {"ok_pointer", MDM_JF_STR, 0, 0, 200, NULL, 0, &c->ok_pointer, NULL},
                                   {"ok_value", MDM_JF_STR, 0, 0, 200, NULL, 0, &c->ok_value, NULL},
                                   {"id_pointer", MDM_JF_STR, 0, 0, 200, NULL, 0, &c->id_pointer, NULL},
                                   {"error_pointer", MDM_JF_STR, 0, 0, 200, NULL, 0, &c->error_pointer, NULL},
                                   {"insecure", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &c->insecure, NULL},
                                   {"per_second", MDM_JF_INT, 0, 1, 100, NULL, 0, &c->per_second, NULL},
                                   {"daily_cap", MDM_JF_INT, 0, 0, 10000000, NULL, 0, &c->daily_cap, NULL},
                                   {"prefixes", MDM_JF_ARRAY, 0, 0, PREFIXES_MAX, NULL, 0, &c->prefixes, NULL},
                                   {"networks", MDM_JF_ARRAY, 0, 0, NETWORKS_MAX, NULL, 0, &c->networks, NULL},
                                   {NULL}};

    return mdm_json_fields(ctx, body, fields);
}

static apr_status_t read_stored(mdm_db_t *db, stored_t *c)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *j = NULL;
    apr_status_t rv = mdm_setting_get(db, SETTING, &j);

    *c = (stored_t){methods[0], "", "", "", "", "", "", "", "", mdm_json_own(ctx, json_array()), mdm_json_own(ctx, json_object()),
                    mdm_json_own(ctx, json_array()), mdm_json_own(ctx, json_array()), 5, 1000, 0};
    return rv == APR_SUCCESS ? read_fields(ctx, j, c) : APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

static mdm_sms_gate_t gate_of(const stored_t *c)
{
    return (mdm_sms_gate_t){.method = c->method, .url = c->url, .headers = c->headers, .body = c->body, .secrets = c->secrets, .sender = c->sender,
                            .country = c->country, .ok_pointer = c->ok_pointer, .ok_value = c->ok_value, .id_pointer = c->id_pointer,
                            .error_pointer = c->error_pointer, .insecure = c->insecure};
}

/* As one list of ranges. */
static apr_status_t read_networks(mdm_ctx_t *ctx, const json_t *list, apr_array_header_t **out)
{
    const char *text = "";
    json_t *item;
    size_t i;

    *out = apr_array_make(ctx->pool, 1, sizeof(mdm_range_t));
    json_array_foreach(list, i, item) {
        if (!json_is_string(item) || json_string_length(item) > 100 || strchr(json_string_value(item), ',')) {
            return mdm_fail(ctx, MDM_EINPUT, "networks", "must be addresses, networks like 10.1.0.0/16, or ranges");
        }
        text = apr_pstrcat(ctx->pool, text, *text ? ", " : "", json_string_value(item), NULL);
    }
    return *text ? mdm_cidr_parse(ctx, "networks", text, out, NULL) : APR_SUCCESS;
}

apr_status_t mdm_sms_conf(mdm_db_t *db, mdm_sms_conf_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *networks = NULL;
    stored_t c;
    apr_status_t rv = read_stored(db, &c);

    *out = apr_palloc(ctx->pool, sizeof(**out));
    rv = rv == APR_SUCCESS ? read_networks(ctx, c.networks, &networks) : rv;
    **out = (mdm_sms_conf_t){gate_of(&c), (int)c.per_second, (int)c.daily_cap, c.prefixes, networks, ctx->env && ctx->env->outbound_local};
    return rv == APR_SUCCESS && !*c.url ? APR_NOTFOUND : rv;
}

/* ---------------------------------------------------------------- showing */

/* Without the values of the secrets: their names instead. */
static json_t *open_json(const stored_t *c)
{
    json_t *names = json_array();
    const char *name;
    json_t *value;

    json_object_foreach(c->secrets, name, value) {
        json_array_append_new(names, json_string(name));
    }
    return json_pack("{s:s, s:s, s:O, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:O, s:O}", "method", c->method, "url", c->url, "headers", c->headers,
                     "body", c->body, "secrets", names, "sender", c->sender, "country", c->country, "ok_pointer", c->ok_pointer, "ok_value", c->ok_value,
                     "id_pointer", c->id_pointer, "error_pointer", c->error_pointer, "insecure", c->insecure, "per_second", (json_int_t)c->per_second,
                     "daily_cap", (json_int_t)c->daily_cap, "prefixes", c->prefixes, "networks", c->networks);
}

apr_status_t mdm_sms_conf_json(mdm_db_t *db, const char *id, json_t **out)
{
    mdm_q_notice_sms_sent_t *sent = NULL;
    stored_t c;
    apr_status_t rv = read_stored(db, &c);

    *out = NULL;
    if (rv != APR_SUCCESS || (rv = mdm_q_notice_sms_sent(db, mdm_now_ms(mdm_db_ctx(db)) / DAY_MS * DAY_MS, &sent)) != APR_SUCCESS) {
        return rv;
    }
    *out = open_json(&c);
    json_object_set_new(*out, "configured", json_boolean(*c.url != '\0'));
    json_object_set_new(*out, "sent_today", json_integer(sent->n));
    rv = mdm_notice_state_json(db, &mdm_notice_sms_way, *out);
    if (rv != APR_SUCCESS) {
        json_decref(*out);
        *out = NULL;
    }
    return rv;
}

/* ---------------------------------------------------------------- editing */

/* Names of secrets that are given, on top of those that are kept; null takes one away. */
static apr_status_t join_secrets(mdm_ctx_t *ctx, const stored_t *was, stored_t *c)
{
    json_t *all = mdm_json_own(ctx, json_copy(was->secrets)), *value;
    const char *name;

    json_object_foreach(c->secrets, name, value) {
        apr_size_t n = strlen(name);

        if (!n || n > 30 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != n
            || !(json_is_null(value) || (json_is_string(value) && json_string_length(value) && json_string_length(value) <= 2000))) {
            return mdm_fail(ctx, MDM_EINPUT, "secrets", "must be names of small letters, digits and _, with a text of at most 2,000 bytes or null each");
        }
        if (json_is_null(value)) {
            json_object_del(all, name);
        } else if (strpbrk(json_string_value(value), "\r\n")) {
            return mdm_fail(ctx, MDM_EINPUT, "secrets", "must be one line each");
        } else {
            json_object_set(all, name, value);
        }
    }
    c->secrets = all;
    return json_object_size(all) > SECRETS_MAX ? mdm_fail(ctx, MDM_EINPUT, "secrets", "must be at most %d", SECRETS_MAX) : APR_SUCCESS;
}

static const char *origin(apr_pool_t *p, const char *url)
{
    const char *host = strstr(url, "://");

    return host ? mdm_lower(p, apr_pstrmemdup(p, url, (apr_size_t)(host - url) + 3 + strcspn(host + 3, "/?"))) : "";
}

/* A secret that was kept for one server is not for another that somebody names now. */
static apr_status_t check_kept(mdm_ctx_t *ctx, const stored_t *was, const stored_t *c, const json_t *given)
{
    const char *name;
    json_t *value;

    if (*c->url && strcmp(origin(ctx->pool, was->url), origin(ctx->pool, c->url)) != 0) {
        json_object_foreach(c->secrets, name, value) {
            if (!json_object_get(given, name)) {
                return mdm_fail(ctx, MDM_EINPUT, "secrets", "must be typed again for another server: %s", name);
            }
        }
    }
    return APR_SUCCESS;
}

static apr_status_t check_lists(mdm_ctx_t *ctx, const stored_t *c)
{
    json_t *item;
    size_t i;

    json_array_foreach(c->prefixes, i, item) {
        const char *s = json_string_value(item);

        if (!s || s[0] != '+' || s[1] < '1' || s[1] > '9' || strspn(s + 1, "0123456789") != strlen(s + 1) || strlen(s) > 8) {
            return mdm_fail(ctx, MDM_EINPUT, "prefixes", "must be beginnings of numbers, like +49");
        }
    }
    json_array_foreach(c->headers, i, item) {
        if (!json_is_object(item) || json_object_size(item) != 2 || !json_is_string(json_object_get(item, "name"))
            || !json_is_string(json_object_get(item, "value")) || json_string_length(json_object_get(item, "value")) > 2000) {
            return mdm_fail(ctx, MDM_EINPUT, "headers", "must be names with values");
        }
    }
    return APR_SUCCESS;
}

static apr_status_t check(mdm_ctx_t *ctx, const stored_t *c)
{
    const mdm_sms_gate_t gate = gate_of(c);
    apr_size_t n = strlen(c->sender), digits = strspn(c->sender, "0123456789");
    apr_array_header_t *networks;
    apr_status_t rv = check_lists(ctx, c);

    rv = rv == APR_SUCCESS ? read_networks(ctx, c->networks, &networks) : rv;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (strspn(c->country, "0123456789") != strlen(c->country) || *c->country == '0') {
        return mdm_fail(ctx, MDM_EINPUT, "country", "must be a country code like 49");
    }
    if (!(digits == n && n <= 15) && !mdm_sms_number_ok(c->sender)
        && (n > 11 || strspn(c->sender, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_.") != n)) {
        return mdm_fail(ctx, MDM_EINPUT, "sender", "must be a number, or at most 11 letters and digits");
    }
    return *c->url ? mdm_sms_check(ctx, &gate) : APR_SUCCESS;
}

/* The settings as they are with these changes. */
static apr_status_t edited(mdm_db_t *db, json_t *body, stored_t *was, stored_t *c)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *given = NULL;
    apr_status_t rv = read_stored(db, was);

    *c = *was;
    c->secrets = NULL;
    if (rv == APR_SUCCESS) {
        rv = read_fields(ctx, body, c);
        given = c->secrets;
    }
    if (rv == APR_SUCCESS) {
        rv = join_secrets(ctx, was, c);
    }
    if (rv == APR_SUCCESS) {
        rv = check_kept(ctx, was, c, given);
    }
    return rv == APR_SUCCESS ? check(ctx, c) : rv;
}

apr_status_t mdm_sms_conf_edit(mdm_db_t *db, json_t *body)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    stored_t was, c;
    json_t *value, *detail;
    apr_status_t rv = edited(db, body, &was, &c);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    detail = mdm_json_own(ctx, json_pack("{s:o, s:o}", "before", open_json(&was), "after", open_json(&c)));
    value = mdm_json_own(ctx, open_json(&c));
    json_object_set(value, "secrets", c.secrets);
    rv = *c.url ? mdm_setting_set(db, SETTING, value, 1) : mdm_q_push_setting_drop(db, SETTING, NULL);
    if (rv == APR_SUCCESS) {
        rv = mdm_notice_back(db, &mdm_notice_sms_way);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_notice_hasten(db, MDM_NOTICE_SMS_JOB);
    }
    return rv == APR_SUCCESS ? mdm_audit(db, "sms.edit", "zone", "sms", origin(ctx->pool, c.url), "done", detail) : rv;
}

/* ---------------------------------------------------------------- preview and test */

static json_t *masked(mdm_ctx_t *ctx, const json_t *secrets)
{
    json_t *out = mdm_json_own(ctx, json_object());
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)secrets, name, value) {
        json_object_set_new(out, name, json_string("***"));
    }
    return out;
}

static int put_header(void *list, const char *name, const char *value)
{
    json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "value", value));
    return 1;
}

/* The request as it can be shown. */
static json_t *request_json(mdm_ctx_t *ctx, const mdm_sms_gate_t *gate, const mdm_sms_t *m)
{
    mdm_sms_gate_t open = *gate;
    json_t *headers = json_array();
    mdm_http_req_t req;

    open.secrets = masked(ctx, gate->secrets);
    mdm_sms_request(ctx->pool, &open, m, &req);
    apr_table_do(put_header, headers, req.headers, NULL);
    return json_pack("{s:s, s:s, s:o, s:s}", "method", req.method, "url", req.url, "headers", headers, "body", req.body ? (const char *)req.body : "");
}

apr_status_t mdm_sms_preview(mdm_db_t *db, json_t *body, json_t **out)
{
    static const mdm_sms_t sample = {"+4915112345678", "Enrol your device: https://mdm.example.org/enroll/mS7xq0YbT1aVwR4k2LdN9g",
                                     "00000000-0000-4000-8000-000000000000"};
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    stored_t was, c;
    mdm_sms_gate_t gate;
    apr_status_t rv = edited(db, body, &was, &c);

    *out = NULL;
    if (rv == APR_SUCCESS && !*c.url) {
        rv = mdm_fail(ctx, MDM_EINPUT, "url", "must be given");
    }
    if (rv == APR_SUCCESS) {
        gate = gate_of(&c);
        *out = request_json(ctx, &gate, &sample);
    }
    return rv;
}

apr_status_t mdm_sms_allowed(mdm_ctx_t *ctx, const mdm_sms_conf_t *conf, const char *to)
{
    json_t *prefix;
    size_t i;

    if (!mdm_sms_number_ok(to)) {
        return mdm_fail(ctx, MDM_EINPUT, "to", "must be a phone number with country code, like +49 30 1234567");
    }
    json_array_foreach(conf->prefixes, i, prefix) {
        if (!strncmp(to, json_string_value(prefix), json_string_length(prefix))) {
            return APR_SUCCESS;
        }
    }
    return json_array_size(conf->prefixes) ? mdm_fail(ctx, MDM_EINPUT, "to", "begins with a country code that the settings don't allow") : APR_SUCCESS;
}

static mdm_addr_t addr_of(const struct sockaddr *sa)
{
    unsigned char a[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    mdm_addr_t out = {0, 0};

    if (sa->sa_family == AF_INET) {
        memcpy(a + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    } else {
        memcpy(a, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
    }
    for (int i = 0; i < 8; i++) {
        out.hi = out.hi << 8 | a[i];
        out.lo = out.lo << 8 | a[8 + i];
    }
    return out;
}

static int reaches(const mdm_addr_t *a, const mdm_addr_t *b)
{
    return a->hi < b->hi || (a->hi == b->hi && a->lo <= b->lo);
}

int mdm_sms_may(void *baton, const struct sockaddr *sa)
{
    const mdm_sms_conf_t *conf = baton;
    mdm_addr_t a;

    if (mdm_addr_local(sa) || !mdm_addr_private(sa)) {
        return conf->local || !mdm_addr_local(sa);
    }
    a = addr_of(sa);
    for (int i = 0; i < conf->networks->nelts; i++) {
        const mdm_range_t *r = &APR_ARRAY_IDX(conf->networks, i, mdm_range_t);

        if (reaches(&r->from, &a) && reaches(&a, &r->to)) {
            return 1;
        }
    }
    return 0;
}

apr_status_t mdm_sms_client(mdm_ctx_t *ctx, const mdm_sms_conf_t *conf, const char *ca_file, mdm_http_t **out)
{
    const mdm_http_conf_t http = {.ca_file = ca_file, .max_parallel = 1, .max_connections = 1, .may = mdm_sms_may, .may_baton = (void *)conf};

    return mdm_http_make(ctx, ctx->pool, &http, out);
}

static int reach(mdm_probe_t *p, const char *url)
{
    apr_uri_t uri = {0};

    if (apr_uri_parse(p->ctx->pool, url, &uri) != APR_SUCCESS || !uri.hostname) {
        mdm_probe_step(p, "dns", 0, "the address can't be used");
        return 0;
    }
    return mdm_probe_reach(p, uri.hostname, uri.port ? uri.port : apr_uri_port_of_scheme(uri.scheme), 5000);
}

void mdm_sms_test(mdm_probe_t *p, const mdm_sms_test_t *t)
{
    const mdm_sms_t m = {t->to, t->text, mdm_uuid(p->ctx->pool)};
    json_t *shown = mdm_json_own(p->ctx, request_json(p->ctx, &t->conf->gate, &m));
    mdm_http_req_t req, *list = &req;
    mdm_sms_said_t said;
    mdm_http_t *http;

    mdm_probe_step(p, "request", 1, mdm_json_text(p->ctx->pool, shown));
    mdm_sms_request(p->ctx->pool, &t->conf->gate, &m, &req);
    p->may = mdm_sms_may;
    p->may_baton = (void *)t->conf;
    p->may_words = MDM_SMS_DENIED;
    if (!reach(p, req.url)) {
        return;
    }
    if (mdm_sms_client(p->ctx, t->conf, t->ca_file, &http) != APR_SUCCESS) {
        mdm_probe_step(p, "answer", 0, p->ctx->fail_text);
        return;
    }
    mdm_http_run(p->ctx, http, &list, 1, NULL);
    mdm_sms_judge(p->ctx, &t->conf->gate, &m, &req, &said);
    if (req.rv == APR_SUCCESS) {
        mdm_probe_step(p, "answer", 1, apr_psprintf(p->ctx->pool, "HTTP %d: %s", req.status,
                                                    mdm_sms_redact(p->ctx->pool, &t->conf->gate, &m, req.response.len ? (const char *)req.response.data : "", 900)));
    } else {
        mdm_probe_step(p, "answer", 0, said.words);
        return;
    }
    mdm_probe_step(p, "message", said.result == MDM_SMS_SENT, said.result == MDM_SMS_SENT ? said.ref : said.words);
}
