/* Rendering: what effective settings become for the channels of a device; each combination of facts and policies once. */
#include "domain/mdm_delivery_priv.h"

#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_said.h"

void mdm_delivery_render_init(mdm_delivery_render_t *s, mdm_db_t *db)
{
    apr_hash_t **hashes[] = {&s->memo, &s->servers, &s->sources};

    s->ctx = mdm_db_ctx(db);
    s->db = db;
    s->public_host = "";
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++) {
        *hashes[i] = apr_hash_make(s->ctx->pool);
    }
}

/* ---------------------------------------------------------------- the mail account (EML-01, EML-02) */

static const json_t *value(const mdm_delivery_device_t *d, const char *setting)
{
    return json_object_get(json_object_get(d->settings[MDM_POLICY_EMAIL], setting), "value");
}

int mdm_delivery_direct(const mdm_delivery_device_t *d)
{
    return d->result_id[MDM_POLICY_EMAIL] && json_is_true(value(d, "email.direct"));
}

static const char *server_key(apr_pool_t *p, const char *id, const char *policy, apr_int64_t number)
{
    return apr_psprintf(p, "%s %s %" APR_INT64_T_FMT, id, policy, number);
}

static const char *user_name(apr_pool_t *p, const char *form, const char *domain, const mdm_q_delivery_facts_t *f)
{
    if (!strcmp(form, "mail")) {
        return f->person_mail;
    }
    return !strcmp(form, "domain_user") && *domain ? apr_pstrcat(p, domain, "\\", f->login, NULL) : f->login;
}

/* The server of a policy that goes past our proxy, as that was published with it; NULL: there is none, or it is disabled. */
static const mdm_q_delivery_servers_t *direct_server(mdm_delivery_render_t *s, const mdm_delivery_device_t *d)
{
    const json_t *found = json_object_get(d->settings[MDM_POLICY_EMAIL], "email.direct_server");
    const char *id = json_string_value(json_object_get(found, "value")), *policy = json_string_value(json_object_get(found, "policy"));
    apr_int64_t number = json_integer_value(json_object_get(found, "version"));
    const mdm_q_delivery_servers_t *server = NULL;

    if (id && policy && number) {
        server = apr_hash_get(s->servers, server_key(s->ctx->pool, id, policy, number), APR_HASH_KEY_STRING);
    }
    if (id && !server) {
        server = apr_hash_get(s->servers, server_key(s->ctx->pool, id, "", 0), APR_HASH_KEY_STRING);
    }
    return server && server->enabled ? server : NULL;
}

/* NULL: none can be made. */
const mdm_compile_account_t *mdm_delivery_account(mdm_delivery_render_t *s, const mdm_delivery_device_t *d, const mdm_q_delivery_facts_t *f)
{
    apr_pool_t *p = s->ctx->pool;
    mdm_compile_account_t *a = apr_pcalloc(p, sizeof *a);
    const char *at;
    const mdm_q_delivery_servers_t *direct;

    if (!d->result_id[MDM_POLICY_EMAIL] || !f->login || !f->person_mail || !*f->person_mail || !f->source_id) {
        return NULL;
    }
    a->mail = f->person_mail;
    if (mdm_delivery_direct(d)) {
        direct = direct_server(s, d);
        if (!direct) {
            return NULL;
        }
        a->host = direct->host;
        a->user = user_name(p, direct->user_form, direct->domain, f);
        return a;
    }
    at = strstr(f->base_url, "://");
    at = at ? at + 3 : f->base_url;
    a->host = *s->public_host ? s->public_host : apr_pstrmemdup(p, at, strcspn(at, "/"));
    a->user = user_name(p, f->simple ? "user" : "domain_user", f->domain ? f->domain : "", f);
    return *a->host && apr_hash_get(s->sources, f->source_id, APR_HASH_KEY_STRING) ? a : NULL;
}

/* ---------------------------------------------------------------- rendering */

static mdm_compile_facts_t compile_facts(const mdm_q_delivery_facts_t *f)
{
    mdm_compile_facts_t out = {.os_version = f->os_version, .supervised = (int)f->supervised, .user_enrolled = f->user_enrolled != 0,
                               .shared_ipad = f->shared_ipad != 0};

    out.channels = (f->record_id && strcmp(f->record_state, "leaving") != 0 ? MDM_CH_APPLE : 0) | (f->eas ? MDM_CH_EAS : 0)
                   | (f->agent ? MDM_CH_AGENT : 0);
    return out;
}

static const char *eas_hash(apr_pool_t *p, const mdm_eas_policy_t *policy)
{
    const char *text = "";

    for (int i = 0; policy && i < MDM_EAS_SETTING_COUNT; i++) {
        if (policy->set[i]) {
            text = apr_psprintf(p, "%s%d=%" APR_INT64_T_FMT " ", text, mdm_eas_settings[i].tag, policy->value[i]);
        }
    }
    return *text ? mdm_sha256_hex(p, text, strlen(text)) : "";
}

/* What the settings of each type came to: something for the mail app; and if nothing goes to Apple's channel, the reason if it is one and the same. */
static void outcomes(apr_pool_t *p, mdm_delivery_rendered_t *r)
{
    const char *id, *why[MDM_POLICY_TYPES] = {NULL};
    json_t *o;

    json_object_foreach(r->c->outcomes, id, o) {
        const mdm_setting_t *s = mdm_setting_find(id);
        int type = s ? mdm_policy_type_of(s->type) : -1;
        const char *reason = json_string_value(json_object_get(json_object_get(o, "apple"), "reason"));
        const char *state = json_string_value(json_object_get(json_object_get(o, "eas"), "state"));

        if (type < 0) {
            continue;
        }
        r->eas[type] |= state && !strcmp(state, "sent");
        if (reason) {
            reason = apr_pstrcat(p, MDM_COMPILE_SAID, reason, NULL);
            why[type] = !why[type] || !strcmp(why[type], reason) ? reason : "said_several";
        }
    }
    for (int i = 0; i < MDM_POLICY_TYPES; i++) {
        r->why[i] = mdm_said(p, why[i] ? why[i] : "said_nothing", NULL);
    }
}

json_t *mdm_delivery_payloads(const mdm_delivery_rendered_t *r, int type)
{
    json_t *p = json_object_get(r->c->apple, mdm_policy_types[type]);

    return json_object_size(p) ? p : NULL;
}

static const char *memo_key(apr_pool_t *p, const mdm_compile_facts_t *f, const mdm_delivery_device_t *d, int account)
{
    const char *key = apr_psprintf(p, "%u %s %d %d %d %d", f->channels, f->os_version, f->supervised, f->user_enrolled, f->shared_ipad, account);

    for (int i = 0; i < MDM_POLICY_TYPES; i++) {
        key = apr_pstrcat(p, key, " ", d->result_id[i] ? d->result_id[i] : "", NULL);
    }
    return key;
}

apr_status_t mdm_delivery_render(mdm_delivery_render_t *s, const mdm_delivery_device_t *d, const mdm_q_delivery_facts_t *f, const mdm_compile_account_t *account, mdm_delivery_rendered_t **out)
{
    mdm_compile_facts_t facts = compile_facts(f);
    mdm_compile_in_t in = {d->settings[MDM_POLICY_CONTROL], d->settings[MDM_POLICY_SECURITY], d->settings[MDM_POLICY_EMAIL], account};
    const char *key = memo_key(s->ctx->pool, &facts, d, account != NULL);
    mdm_delivery_rendered_t *r = apr_hash_get(s->memo, key, APR_HASH_KEY_STRING);
    apr_status_t rv = APR_SUCCESS;

    if (!r) {
        r = apr_pcalloc(s->ctx->pool, sizeof *r);
        rv = mdm_compile(s->ctx, &facts, &in, &r->c);
        if (rv == APR_SUCCESS) {
            r->eas_hash = eas_hash(s->ctx->pool, r->c->eas);
            outcomes(s->ctx->pool, r);
            apr_hash_set(s->memo, key, APR_HASH_KEY_STRING, r);
        }
        for (int i = 0; rv == APR_SUCCESS && i < MDM_POLICY_EMAIL; i++) {
            if (mdm_delivery_payloads(r, i)) {
                rv = mdm_policy_profile(s->ctx, i, mdm_delivery_payloads(r, i), facts.supervised == 1 && !facts.user_enrolled, &r->profile[i]);
            }
        }
    }
    *out = r;
    return rv;
}

apr_status_t mdm_delivery_email_profile(mdm_delivery_render_t *s, const mdm_delivery_rendered_t *r, const mdm_q_delivery_facts_t *f,
                                        const mdm_compile_account_t *a, mdm_policy_profile_t *out)
{
    json_t *all = mdm_json_own(s->ctx, json_deep_copy(mdm_delivery_payloads(r, MDM_POLICY_EMAIL)));
    json_t *keys = json_object_get(all, "com.apple.eas.account");

    json_object_set_new(keys, "Host", json_string(a->host));
    json_object_set_new(keys, "UserName", json_string(a->user));
    json_object_set_new(keys, "EmailAddress", json_string(a->mail));
    json_object_set_new(keys, "SSL", json_true());
    return mdm_policy_profile(s->ctx, MDM_POLICY_EMAIL, all, f->supervised == 1 && !f->user_enrolled, out);
}

apr_status_t mdm_delivery_read_servers(mdm_delivery_render_t *s)
{
    apr_array_header_t *list;
    json_t *host = NULL;
    apr_status_t rv = mdm_q_delivery_servers(s->db, &list);

    for (int i = 0; rv == APR_SUCCESS && i < list->nelts; i++) {
        mdm_q_delivery_servers_t *r = &APR_ARRAY_IDX(list, i, mdm_q_delivery_servers_t);
        apr_hash_set(s->servers, server_key(s->ctx->pool, r->id, r->policy_id, r->number), APR_HASH_KEY_STRING, r);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_delivery_sources(s->db, &list);
    }
    for (int i = 0; rv == APR_SUCCESS && i < list->nelts; i++) {
        const char *id = APR_ARRAY_IDX(list, i, mdm_q_delivery_sources_t).source_id;
        apr_hash_set(s->sources, id, APR_HASH_KEY_STRING, id);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_setting_get(s->db, "eas.public_host", &host);
    }
    s->public_host = rv == APR_SUCCESS && json_is_string(host) ? json_string_value(host) : "";
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

/* ---------------------------------------------------------------- one device, for its page and for the mail gate */

/* What the resolver found last of each device. */
static apr_status_t found(mdm_db_t *db, json_t *ids, apr_array_header_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    json_t *id;
    size_t n;
    apr_status_t rv = mdm_q_delivery_results(db, mdm_json_text(ctx->pool, ids), &rows);

    *out = apr_array_make(ctx->pool, (int)json_array_size(ids), sizeof(mdm_delivery_device_t));
    json_array_foreach(ids, n, id) {
        mdm_delivery_device_t *d = apr_array_push(*out);

        memset(d, 0, sizeof *d);
        d->device_id = json_string_value(id);
        for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
            const mdm_q_delivery_results_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_delivery_results_t);
            int type = mdm_policy_type_of(r->type);

            if (type >= 0 && !strcmp(r->device_id, d->device_id)) {
                d->result_id[type] = r->result_id;
                d->settings[type] = mdm_json_own(ctx, json_loads(r->settings, 0, NULL));
            }
        }
    }
    return rv;
}

apr_uint32_t mdm_delivery_rev(const char *hash)
{
    apr_uint32_t rev = 0;

    for (int i = 0; hash && hash[i] && i < 8; i++) {
        rev = rev << 4 | (apr_uint32_t)(hash[i] <= '9' ? hash[i] - '0' : hash[i] - 'a' + 10);
    }
    return hash && *hash && !rev ? 1 : rev;
}

/* Begins with one device: what was found last and what is known of it; APR_NOTFOUND. */
static apr_status_t one_device(mdm_delivery_render_t *s, mdm_db_t *db, const char *device_id, const mdm_delivery_device_t **d,
                               const mdm_q_delivery_facts_t **f)
{
    json_t *ids = mdm_json_own(mdm_db_ctx(db), json_pack("[s]", device_id));
    apr_array_header_t *devices, *facts;
    apr_status_t rv;

    mdm_delivery_render_init(s, db);
    rv = found(s->db, ids, &devices);
    if (rv == APR_SUCCESS) {
        rv = mdm_q_delivery_facts(s->db, mdm_json_text(s->ctx->pool, ids), &facts);
    }
    if (rv == APR_SUCCESS && !facts->nelts) {
        rv = APR_NOTFOUND;
    }
    if (rv == APR_SUCCESS) {
        *d = &APR_ARRAY_IDX(devices, 0, mdm_delivery_device_t);
        *f = &APR_ARRAY_IDX(facts, 0, mdm_q_delivery_facts_t);
    }
    return rv;
}

apr_status_t mdm_delivery_outcomes(mdm_db_t *db, const char *device_id, json_t **out)
{
    mdm_delivery_render_t render, *s = &render;
    const mdm_delivery_device_t *d;
    const mdm_q_delivery_facts_t *f;
    mdm_delivery_rendered_t *r;
    apr_status_t rv = one_device(s, db, device_id, &d, &f);

    if (rv == APR_SUCCESS) {
        rv = mdm_delivery_read_servers(s);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_delivery_render(s, d, f, mdm_delivery_account(s, d, f), &r);
    }
    if (rv == APR_SUCCESS) {
        *out = r->c->outcomes;
    }
    return rv;
}

apr_status_t mdm_delivery_eas(mdm_db_t *db, const char *device_id, int version, mdm_eas_policy_t *policy, apr_uint32_t *rev)
{
    mdm_delivery_render_t render, *s = &render;
    const mdm_delivery_device_t *d;
    const mdm_q_delivery_facts_t *f;
    mdm_delivery_rendered_t *r;
    apr_status_t rv = one_device(s, db, device_id, &d, &f);

    if (rv == APR_SUCCESS) {
        rv = mdm_delivery_render(s, d, f, NULL, &r);
    }
    if (rv != APR_SUCCESS || !*r->eas_hash) {
        return rv == APR_SUCCESS ? APR_NOTFOUND : rv;
    }
    *policy = *r->c->eas;
    *rev = mdm_delivery_rev(r->eas_hash);
    for (int i = 0; i < MDM_EAS_SETTING_COUNT; i++) {
        policy->set[i] = policy->set[i] && mdm_eas_settings[i].since <= version;
    }
    return APR_SUCCESS;
}
