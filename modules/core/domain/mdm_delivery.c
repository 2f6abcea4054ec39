/* Settling a batch: facts and rows are read once, each combination of facts and policies is rendered once, what differs is written once. */
#include "domain/mdm_delivery.h"

#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_compile.h"
#include "domain/mdm_compliance.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_notice.h"
#include "mdm_sql_gen.h"

#define NEWLY_MS (24 * 3600 * 1000LL) /* enrolled within this: newly */
#define HELD_TEXT "The person has to remove the mail account that was made by hand first."
#define YOUNG_MS (12 * 3600000LL) /* half of what the sweep waits */
#define APPLE "mdm"
#define EAS "eas"
#define AGENT "agent"

typedef mdm_q_delivery_facts_t facts_t;
typedef mdm_q_delivery_rows_t row_t;

/* What one combination of facts and policies becomes. The e-mail account is the one part that differs between people. */
typedef struct rendered_t {
    mdm_compiled_t *c;
    mdm_policy_profile_t profile[MDM_POLICY_TYPES]; /* hash NULL: not rendered; e-mail never here */
    const char *eas_hash;                           /* of the ActiveSync document; "" = it asks for nothing */
    const char *why[MDM_POLICY_TYPES];              /* nothing goes to Apple's channel: the reason */
    int eas[MDM_POLICY_TYPES];                      /* something of this type goes to the mail app */
} rendered_t;

typedef struct settle_t {
    mdm_ctx_t *ctx;
    mdm_db_t *db;
    apr_int64_t now;
    const char *public_host; /* "" = the host that the device knows */
    apr_hash_t *facts, *rows, *memo, *servers, *sources, *stored;
    json_t *put, *drop, *store, *devices, *messages, *events, *notices, *changes, *ids;
} settle_t;

/* One device of the batch. */
typedef struct device_t {
    const mdm_delivery_device_t *d;
    const facts_t *f;
    rendered_t *r;
    int apple, up; /* has the channel; takes commands now */
    json_t *rows;  /* as they will be, for compliance */
} device_t;

/* What a channel is to have of a type. */
typedef struct want_t {
    const char *channel, *hash, *why; /* hash "": nothing, and why */
    int encrypt;
} want_t;

static const char *row_key(apr_pool_t *p, const char *device_id, const char *type, const char *channel)
{
    return apr_pstrcat(p, device_id, " ", type, " ", channel, NULL);
}

/* ---------------------------------------------------------------- reading */

static apr_status_t read_rows(settle_t *s, const char *ids)
{
    apr_array_header_t *list;
    apr_status_t rv = mdm_q_delivery_facts(s->db, ids, &list);

    for (int i = 0; rv == APR_SUCCESS && i < list->nelts; i++) {
        facts_t *f = &APR_ARRAY_IDX(list, i, facts_t);
        apr_hash_set(s->facts, f->id, APR_HASH_KEY_STRING, f);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_delivery_rows(s->db, ids, &list);
    }
    for (int i = 0; rv == APR_SUCCESS && i < list->nelts; i++) {
        row_t *r = &APR_ARRAY_IDX(list, i, row_t);
        apr_hash_set(s->rows, row_key(s->ctx->pool, r->device_id, r->type, r->channel), APR_HASH_KEY_STRING, r);
    }
    return rv;
}

static apr_status_t read_servers(settle_t *s)
{
    apr_array_header_t *list;
    json_t *host = NULL;
    apr_status_t rv = mdm_q_delivery_servers(s->db, &list);

    for (int i = 0; rv == APR_SUCCESS && i < list->nelts; i++) {
        mdm_q_delivery_servers_t *r = &APR_ARRAY_IDX(list, i, mdm_q_delivery_servers_t);
        apr_hash_set(s->servers, r->id, APR_HASH_KEY_STRING, r);
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

static settle_t *settle_make(mdm_db_t *db)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    settle_t *s = apr_pcalloc(ctx->pool, sizeof *s);
    apr_hash_t **hashes[] = {&s->facts, &s->rows, &s->memo, &s->servers, &s->sources, &s->stored};
    json_t **lists[] = {&s->put, &s->drop, &s->store, &s->devices, &s->messages, &s->events, &s->notices, &s->changes, &s->ids};

    s->ctx = ctx;
    s->db = db;
    s->now = mdm_now_ms(ctx);
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++) {
        *hashes[i] = apr_hash_make(ctx->pool);
    }
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        *lists[i] = mdm_json_own(ctx, json_array());
    }
    return s;
}

/* ---------------------------------------------------------------- the mail account (EML-01, EML-02) */

static const json_t *value(const mdm_delivery_device_t *d, const char *setting)
{
    return json_object_get(json_object_get(d->settings[MDM_POLICY_EMAIL], setting), "value");
}

static int is_direct(const mdm_delivery_device_t *d)
{
    return d->result_id[MDM_POLICY_EMAIL] && json_is_true(value(d, "email.direct"));
}

static const char *user_name(apr_pool_t *p, const char *form, const char *domain, const facts_t *f)
{
    if (!strcmp(form, "mail")) {
        return f->person_mail;
    }
    return !strcmp(form, "domain_user") && *domain ? apr_pstrcat(p, domain, "\\", f->login, NULL) : f->login;
}

/* NULL: none can be made. */
static const mdm_compile_account_t *account_of(settle_t *s, const mdm_delivery_device_t *d, const facts_t *f)
{
    apr_pool_t *p = s->ctx->pool;
    mdm_compile_account_t *a = apr_pcalloc(p, sizeof *a);
    const char *at, *server = json_string_value(value(d, "email.direct_server"));
    const mdm_q_delivery_servers_t *direct;

    if (!d->result_id[MDM_POLICY_EMAIL] || !f->login || !f->person_mail || !*f->person_mail || !f->source_id) {
        return NULL;
    }
    a->mail = f->person_mail;
    if (is_direct(d)) {
        direct = server ? apr_hash_get(s->servers, server, APR_HASH_KEY_STRING) : NULL;
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

static mdm_compile_facts_t compile_facts(const facts_t *f)
{
    mdm_compile_facts_t out = {.os_version = f->os_version, .supervised = (int)f->supervised, .user_enrolled = f->user_enrolled != 0,
                               .shared_ipad = f->shared_ipad != 0};

    out.channels = (f->record_id && strcmp(f->record_state, "leaving") ? MDM_CH_APPLE : 0) | (f->eas ? MDM_CH_EAS : 0)
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
static void outcomes(rendered_t *r)
{
    static const char several[] = "Nothing of this policy can be sent to this device; each setting says why.";
    const char *id;
    json_t *o;

    json_object_foreach(r->c->outcomes, id, o) {
        const mdm_setting_t *s = mdm_setting_find(id);
        int type = s ? mdm_policy_type_of(s->type) : -1;
        const char *why = json_string_value(json_object_get(json_object_get(o, "apple"), "why"));
        const char *state = json_string_value(json_object_get(json_object_get(o, EAS), "state"));

        if (type < 0) {
            continue;
        }
        r->eas[type] |= state && !strcmp(state, "sent");
        if (why) {
            r->why[type] = !r->why[type] || !strcmp(r->why[type], why) ? why : several;
        }
    }
    for (int i = 0; i < MDM_POLICY_TYPES; i++) {
        r->why[i] = r->why[i] ? r->why[i] : "The policy asks for nothing that this device could be told.";
    }
}

static json_t *payloads(const rendered_t *r, int type)
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

static apr_status_t render(settle_t *s, const mdm_delivery_device_t *d, const facts_t *f, const mdm_compile_account_t *account, rendered_t **out)
{
    mdm_compile_facts_t facts = compile_facts(f);
    mdm_compile_in_t in = {d->settings[MDM_POLICY_CONTROL], d->settings[MDM_POLICY_SECURITY], d->settings[MDM_POLICY_EMAIL], account};
    const char *key = memo_key(s->ctx->pool, &facts, d, account != NULL);
    rendered_t *r = apr_hash_get(s->memo, key, APR_HASH_KEY_STRING);
    apr_status_t rv = APR_SUCCESS;

    if (!r) {
        r = apr_pcalloc(s->ctx->pool, sizeof *r);
        rv = mdm_compile(s->ctx, &facts, &in, &r->c);
        if (rv == APR_SUCCESS) {
            r->eas_hash = eas_hash(s->ctx->pool, r->c->eas);
            outcomes(r);
            apr_hash_set(s->memo, key, APR_HASH_KEY_STRING, r);
        }
        for (int i = 0; rv == APR_SUCCESS && i < MDM_POLICY_EMAIL; i++) {
            if (payloads(r, i)) {
                rv = mdm_policy_profile(s->ctx, i, payloads(r, i), facts.supervised == 1 && !facts.user_enrolled, &r->profile[i]);
            }
        }
    }
    *out = r;
    return rv;
}

/* The account's profile: what was rendered, with this person's account in it. */
static apr_status_t email_profile(settle_t *s, const device_t *v, const mdm_compile_account_t *a, mdm_policy_profile_t *out)
{
    json_t *all = mdm_json_own(s->ctx, json_deep_copy(payloads(v->r, MDM_POLICY_EMAIL)));
    json_t *keys = json_object_get(all, "com.apple.eas.account");

    json_object_set_new(keys, "Host", json_string(a->host));
    json_object_set_new(keys, "UserName", json_string(a->user));
    json_object_set_new(keys, "EmailAddress", json_string(a->mail));
    json_object_set_new(keys, "SSL", json_true());
    return mdm_policy_profile(s->ctx, MDM_POLICY_EMAIL, all, v->f->supervised == 1 && !v->f->user_enrolled, out);
}

static void keep(settle_t *s, const mdm_policy_profile_t *profile)
{
    if (!apr_hash_get(s->stored, profile->hash, APR_HASH_KEY_STRING)) {
        apr_hash_set(s->stored, profile->hash, APR_HASH_KEY_STRING, profile->hash);
        json_array_append_new(s->store, json_pack("{s:s, s:s}", "hash", profile->hash, "body",
                                                  mdm_b64(s->ctx->pool, profile->body.data, profile->body.len)));
    }
}

/* ---------------------------------------------------------------- deciding */

static json_t *row_json(const row_t *r)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:I, s:I, s:I}", "device_id", r->device_id, "type", r->type, "channel",
                          r->channel, "result_id", r->result_id, "hash", r->hash, "applied", r->applied, "state", r->state, "error", r->error,
                          "command_id", r->command_id, "attempts", (json_int_t)r->attempts, "held", (json_int_t)r->held, "encrypt",
                          (json_int_t)r->encrypt);

    json_object_set_new(j, "due_ms", r->due_ms_null ? json_null() : json_integer(r->due_ms));
    return j;
}

static int same(const row_t *a, const row_t *b)
{
    return !strcmp(a->result_id, b->result_id) && !strcmp(a->hash, b->hash) && !strcmp(a->state, b->state) && !strcmp(a->error, b->error)
           && a->due_ms_null == b->due_ms_null && (a->due_ms_null || a->due_ms == b->due_ms) && a->held == b->held && a->encrypt == b->encrypt
           && !a->command_id == !b->command_id;
}

static void event(settle_t *s, const char *device_id, const char *kind, json_t *detail)
{
    json_array_append_new(s->events, json_pack("{s:s, s:s, s:s, s:o}", "id", mdm_uuid(s->ctx->pool), "device", device_id, "kind", kind,
                                               "detail", detail));
}

static void message(settle_t *s, const char *device_id, const char *code, const char *text)
{
    json_array_append_new(s->messages, json_pack("{s:s, s:s, s:i, s:s, s:s}", "id", mdm_uuid(s->ctx->pool), "device", device_id, "severity",
                                                 MDM_MSG_WARNING, "code", code, "text", text));
}

/* Its person is told by mail. */
static void notice(settle_t *s, const char *device_id, const char *what)
{
    json_array_append_new(s->notices, json_pack("{s:s, s:o, s:s}", "event", what, "key", json_sprintf("%s:%s", what, device_id), "device", device_id));
}

/* Its content is new: pending from the beginning. What was on its way counts as there until the device's list says otherwise. */
static void begin(settle_t *s, row_t *r, const char *hash, int up)
{
    if (!*r->applied && (r->command_id || !strcmp(r->state, "sent"))) {
        r->applied = r->hash;
    }
    r->hash = hash;
    r->state = "pending";
    r->error = "";
    r->command_id = NULL;
    r->attempts = r->held = 0;
    r->due_ms_null = !up;
    r->due_ms = s->now;
}

static void not_applicable(row_t *r, const char *why)
{
    r->hash = r->applied = "";
    r->state = "not_applicable";
    r->error = why;
    r->command_id = NULL;
    r->attempts = r->held = 0;
    r->due_ms_null = 1;
}

/* The device may have something of it. */
static int is_there(const row_t *r)
{
    return r && strcmp(r->state, "not_applicable") && (*r->applied || r->command_id || strcmp(r->state, "pending"));
}

/* The policy's account waits for the one that was made by hand. */
static void hold(settle_t *s, const device_t *v, const row_t *was, row_t *r)
{
    if (!v->f->eas_native || is_there(was) || (was && was->held == 2)) {
        r->held = was ? was->held : 0;
        return;
    }
    r->held = 1;
    r->error = HELD_TEXT;
    r->due_ms_null = 1;
    if (!was || was->held != 1) {
        message(s, v->d->device_id, "mail.by_hand", "A mail account that was made by hand is on this device. It has to be removed before the "
                "account of the e-mail policy can be installed.");
        event(s, v->d->device_id, "mail.by_hand", json_object());
        notice(s, v->d->device_id, "email_held");
    }
}

static void decide_apple(settle_t *s, const device_t *v, int type, const want_t *w, const row_t *was, row_t *r)
{
    int fresh = !was || strcmp(was->hash, w->hash) || !strcmp(was->state, "not_applicable");

    if (!*w->hash) {
        if (!is_there(was)) {
            not_applicable(r, w->why);
        } else if (*was->hash) {
            begin(s, r, "", v->up);
        }
        return;
    }
    if (!fresh) {
        if (was->held == 1 && !v->f->eas_native) { /* the account made by hand has gone */
            begin(s, r, w->hash, v->up);
        }
        return;
    }
    begin(s, r, w->hash, v->up);
    if (type == MDM_POLICY_EMAIL) {
        hold(s, v, was, r);
    } else if (was && !was->command_id && !strcmp(was->applied, w->hash)) { /* as it was before the last change, which never left */
        r->state = "applied";
        r->due_ms_null = 1;
    }
}

static void decide_mail(settle_t *s, const device_t *v, const want_t *w, const row_t *was, row_t *r)
{
    if (!*w->hash) {
        not_applicable(r, w->why);
    } else if (!was || strcmp(was->hash, w->hash) || !strcmp(was->state, "not_applicable")) {
        begin(s, r, w->hash, 0);
    }
    if (strcmp(was ? was->hash : "", r->hash)) {
        json_array_append_new(s->changes, json_string(v->d->device_id));
    }
}

static void drop(settle_t *s, const row_t *was)
{
    json_array_append_new(s->drop, json_pack("{s:s, s:s, s:s}", "device_id", was->device_id, "type", was->type, "channel", was->channel));
    if (!strcmp(was->channel, EAS) && *was->hash) {
        json_array_append_new(s->changes, json_string(was->device_id));
    }
}

/* One channel of one type. has: the device has the channel. */
static void decide(settle_t *s, device_t *v, int type, const want_t *w, int has)
{
    const char *result = v->d->result_id[type], *name = mdm_policy_types[type];
    const row_t *was = apr_hash_get(s->rows, row_key(s->ctx->pool, v->d->device_id, name, w->channel), APR_HASH_KEY_STRING);
    row_t r = {.device_id = v->d->device_id, .type = name, .channel = w->channel, .result_id = "", .hash = "", .applied = "", .state = "",
               .error = "", .due_ms_null = 1};

    if (!has || (!result && !(!strcmp(w->channel, APPLE) && is_there(was)))) {
        if (was) {
            drop(s, was);
        }
        return;
    }
    if (was) {
        r = *was;
    }
    r.result_id = result ? result : "";
    r.encrypt = w->encrypt;
    if (!strcmp(w->channel, APPLE)) {
        decide_apple(s, v, type, w, was, &r);
    } else if (!strcmp(w->channel, EAS)) {
        decide_mail(s, v, w, was, &r);
    } else {
        not_applicable(&r, w->why);
    }
    if (!was || !same(was, &r)) {
        json_array_append_new(s->put, row_json(&r));
    }
    json_array_append_new(v->rows, row_json(&r));
}

/* ---------------------------------------------------------------- one device */

/* What its person is told by mail of a change (EML-03, EML-04). That there is no policy is news for who has just enrolled, where others have mail. */
static void tell_person(settle_t *s, const device_t *v, const char *was, const char *now)
{
    int none = !strcmp(now, "none"), had = *was && strcmp(was, "none") != 0;

    if (none && had && (v->f->eas || v->apple || v->f->agent)) {
        notice(s, v->d->device_id, "email_removed");
    } else if (none && !had && (v->f->eas || v->apple || v->f->agent) && v->f->enrolled_ms > s->now - NEWLY_MS && apr_hash_count(s->servers)) {
        notice(s, v->d->device_id, "email_none");
    } else if (!none && !had && v->f->agent && !v->f->eas) {
        notice(s, v->d->device_id, "email_settings");
    }
}

/* What the mail of a device is by its policy (spec 03), and what is told when that goes (EML-04). */
static const char *mail_of(settle_t *s, const device_t *v)
{
    const char *now = !v->d->result_id[MDM_POLICY_EMAIL] ? "none" : is_direct(v->d) ? "direct" : "proxy", *was = v->f->mail;

    if (strcmp(was, now) && !strcmp(now, "none")) {
        if (*was && (v->f->eas || v->apple)) {
            message(s, v->d->device_id, "mail.no_policy", "No e-mail policy applies to this device any more: corporate mail does not flow.");
        }
        if (*was || v->f->eas) {
            event(s, v->d->device_id, "mail.no_policy", json_pack("{s:s}", "before", was));
        }
    }
    if (strcmp(was, now)) {
        tell_person(s, v, was, now);
    }
    return now;
}

static void tell_device(settle_t *s, const device_t *v)
{
    const mdm_compliance_in_t in = {v->f->passcode_present, v->f->passcode_compliant, v->f->encryption, v->rows};
    const char *compliance = mdm_compliance(s->ctx, &in, NULL), *mail = mail_of(s, v);

    if (strcmp(compliance, v->f->compliance) || strcmp(mail, v->f->mail)) {
        json_array_append_new(s->devices, json_pack("{s:s, s:s, s:s}", "id", v->d->device_id, "compliance", compliance, "mail", mail));
    }
    if (strcmp(mail, v->f->mail) && v->f->eas) {
        json_array_append_new(s->changes, json_string(v->d->device_id));
    }
}

static int asks_encryption(const mdm_delivery_device_t *d)
{
    return json_is_true(json_object_get(json_object_get(d->settings[MDM_POLICY_SECURITY], "security.encrypt_device"), "value"));
}

static apr_status_t settle_one(settle_t *s, const mdm_delivery_device_t *d, const facts_t *f)
{
    device_t v = {.d = d, .f = f, .rows = mdm_json_own(s->ctx, json_array())};
    const mdm_compile_account_t *account = account_of(s, d, f);
    mdm_policy_profile_t profile;
    apr_status_t rv = render(s, d, f, account, &v.r);

    v.apple = f->record_id && strcmp(f->record_state, "leaving");
    v.up = v.apple && !strcmp(f->record_state, "enrolled");
    for (int type = 0; rv == APR_SUCCESS && type < MDM_POLICY_TYPES; type++) {
        int encrypt = type == MDM_POLICY_SECURITY && asks_encryption(d);
        want_t apple = {APPLE, "", v.r->why[type], encrypt};
        want_t mail = {EAS, v.r->eas[type] ? v.r->eas_hash : "", "Mail apps can be asked for nothing of this policy.", encrypt};
        want_t agent = {AGENT, "", "The Android agent takes no policies yet.", encrypt};

        profile = v.r->profile[type];
        if (type == MDM_POLICY_EMAIL) {
            mail.why = "A mail app's account is its person's own; this policy decides whether mail goes through the proxy.";
            profile.hash = NULL;
            if (account && payloads(v.r, type)) {
                rv = email_profile(s, &v, account, &profile);
            }
        }
        if (rv == APR_SUCCESS && profile.hash && v.apple) {
            apple.hash = profile.hash;
            keep(s, &profile);
        }
        decide(s, &v, type, &apple, v.apple);
        decide(s, &v, type, &mail, f->eas > 0);
        decide(s, &v, type, &agent, f->agent > 0);
    }
    if (rv == APR_SUCCESS) {
        tell_device(s, &v);
    }
    return rv;
}

/* ---------------------------------------------------------------- the batch */

static apr_status_t write_all(settle_t *s)
{
    apr_pool_t *p = s->ctx->pool;
    apr_status_t rv = APR_SUCCESS;

    if (json_array_size(s->store)) {
        rv = mdm_q_delivery_store(s->db, mdm_json_text(p, s->store), s->now, s->now - YOUNG_MS, NULL);
    }
    if (rv == APR_SUCCESS && json_array_size(s->put)) {
        rv = mdm_q_delivery_put(s->db, mdm_json_text(p, s->put), s->now, NULL);
    }
    if (rv == APR_SUCCESS && json_array_size(s->drop)) {
        rv = mdm_q_delivery_drop(s->db, mdm_json_text(p, s->drop), NULL);
    }
    if (rv == APR_SUCCESS && json_array_size(s->devices)) {
        rv = mdm_q_delivery_devices(s->db, mdm_json_text(p, s->devices), NULL);
    }
    if (rv == APR_SUCCESS && json_array_size(s->events)) {
        rv = mdm_q_delivery_events(s->db, mdm_json_text(p, s->events), s->now, NULL);
    }
    if (rv == APR_SUCCESS && json_array_size(s->messages)) {
        rv = mdm_q_delivery_messages(s->db, mdm_json_text(p, s->messages), s->now, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_notice_add_many(s->db, s->notices);
    }
    return rv == APR_SUCCESS ? mdm_change_add_many(s->db, "device", s->changes) : rv;
}

apr_status_t mdm_delivery_settle(mdm_db_t *db, const apr_array_header_t *devices, apr_int64_t spread_ms)
{
    settle_t *s = settle_make(db);
    apr_status_t rv;

    for (int i = 0; i < devices->nelts; i++) {
        json_array_append_new(s->ids, json_string(APR_ARRAY_IDX(devices, i, mdm_delivery_device_t).device_id));
    }
    rv = read_rows(s, mdm_json_text(s->ctx->pool, s->ids));
    if (rv == APR_SUCCESS) {
        rv = read_servers(s);
    }
    for (int i = 0; rv == APR_SUCCESS && i < devices->nelts; i++) {
        const mdm_delivery_device_t *d = &APR_ARRAY_IDX(devices, i, mdm_delivery_device_t);
        const facts_t *f = apr_hash_get(s->facts, d->device_id, APR_HASH_KEY_STRING);

        if (f) { /* else deleted meanwhile */
            rv = settle_one(s, d, f);
        }
    }
    if (rv == APR_SUCCESS) {
        rv = write_all(s);
    }
    return rv == APR_SUCCESS ? mdm_delivery_send(db, s->ids, 0, spread_ms, NULL) : rv;
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

/* One device with what was found last and what is known of it; APR_NOTFOUND. */
static apr_status_t one_device(settle_t *s, const char *device_id, const mdm_delivery_device_t **d, const facts_t **f)
{
    json_t *ids = mdm_json_own(s->ctx, json_pack("[s]", device_id));
    apr_array_header_t *devices, *facts;
    apr_status_t rv = found(s->db, ids, &devices);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_delivery_facts(s->db, mdm_json_text(s->ctx->pool, ids), &facts);
    }
    if (rv == APR_SUCCESS && !facts->nelts) {
        rv = APR_NOTFOUND;
    }
    if (rv == APR_SUCCESS) {
        *d = &APR_ARRAY_IDX(devices, 0, mdm_delivery_device_t);
        *f = &APR_ARRAY_IDX(facts, 0, facts_t);
    }
    return rv;
}

apr_status_t mdm_delivery_outcomes(mdm_db_t *db, const char *device_id, json_t **out)
{
    settle_t *s = settle_make(db);
    const mdm_delivery_device_t *d;
    const facts_t *f;
    rendered_t *r;
    apr_status_t rv = one_device(s, device_id, &d, &f);

    if (rv == APR_SUCCESS) {
        rv = read_servers(s);
    }
    if (rv == APR_SUCCESS) {
        rv = render(s, d, f, account_of(s, d, f), &r);
    }
    if (rv == APR_SUCCESS) {
        *out = r->c->outcomes;
    }
    return rv;
}

apr_status_t mdm_delivery_eas(mdm_db_t *db, const char *device_id, int version, mdm_eas_policy_t *policy, apr_uint32_t *rev)
{
    settle_t *s = settle_make(db);
    const mdm_delivery_device_t *d;
    const facts_t *f;
    rendered_t *r;
    apr_status_t rv = one_device(s, device_id, &d, &f);

    if (rv == APR_SUCCESS) {
        rv = render(s, d, f, NULL, &r);
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
