/* Settling a batch: facts and rows are read once, each combination of facts and policies is rendered once, what differs is written once. */
#include "domain/mdm_delivery_priv.h"

#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_compliance.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_notice.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"

#define NEWLY_MS (24 * 3600 * 1000LL) /* enrolled within this: newly */
#define YOUNG_MS (12 * 3600000LL) /* half of what the sweep waits */
#define APPLE "mdm"
#define EAS "eas"
#define AGENT "agent"

typedef mdm_q_delivery_facts_t facts_t;
typedef mdm_q_delivery_rows_t row_t;

typedef struct settle_t {
    mdm_ctx_t *ctx;
    mdm_db_t *db;
    apr_int64_t now;
    mdm_delivery_render_t render;
    apr_hash_t *facts, *rows, *stored;
    apr_array_header_t *due; /* of mdm_delivery_due_t */
    json_t *put, *drop, *store, *devices, *messages, *events, *notices, *changes, *ids;
} settle_t;

/* One device of the batch. */
typedef struct device_t {
    const mdm_delivery_device_t *d;
    const facts_t *f;
    mdm_delivery_rendered_t *r;
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

static settle_t *settle_make(mdm_db_t *db)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    settle_t *s = apr_pcalloc(ctx->pool, sizeof *s);
    apr_hash_t **hashes[] = {&s->facts, &s->rows, &s->stored};
    json_t **lists[] = {&s->put, &s->drop, &s->store, &s->devices, &s->messages, &s->events, &s->notices, &s->changes, &s->ids};

    s->ctx = ctx;
    s->db = db;
    s->now = mdm_now_ms(ctx);
    s->due = apr_array_make(ctx->pool, 64, sizeof(mdm_delivery_due_t));
    mdm_delivery_render_init(&s->render, db);
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++) {
        *hashes[i] = apr_hash_make(ctx->pool);
    }
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        *lists[i] = mdm_json_own(ctx, json_array());
    }
    return s;
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

static void message(settle_t *s, const char *device_id, const char *code, const char *word)
{
    json_array_append_new(s->messages, json_pack("{s:s, s:s, s:i, s:s, s:s}", "id", mdm_uuid(s->ctx->pool), "device", device_id, "severity",
                                                 MDM_MSG_WARNING, "code", code, "text", mdm_said(s->ctx->pool, word, NULL)));
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
    return r && strcmp(r->state, "not_applicable") != 0 && (*r->applied || r->command_id || strcmp(r->state, "pending") != 0);
}

/* The policy's account waits for the one that was made by hand. */
static void hold(settle_t *s, const device_t *v, const row_t *was, row_t *r)
{
    if (!v->f->eas_native || is_there(was) || (was && was->held == 2)) {
        r->held = was ? was->held : 0;
        return;
    }
    r->held = 1;
    r->error = mdm_said(s->ctx->pool, "said_held", NULL);
    r->due_ms_null = 1;
    if (!was || was->held != 1) {
        message(s, v->d->device_id, "mail.by_hand", "said_mail_by_hand");
        event(s, v->d->device_id, "mail.by_hand", json_object());
        notice(s, v->d->device_id, "email_held");
    }
}

static void decide_apple(settle_t *s, const device_t *v, int type, const want_t *w, const row_t *was, row_t *r)
{
    int fresh = !was || strcmp(was->hash, w->hash) != 0 || !strcmp(was->state, "not_applicable");

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
    } else if (!was || strcmp(was->hash, w->hash) != 0 || !strcmp(was->state, "not_applicable")) {
        begin(s, r, w->hash, 0);
    }
    if (strcmp(was ? was->hash : "", r->hash) != 0) {
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
    json_t *row;
    int due;

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
    row = row_json(&r);
    due = v->up && !strcmp(w->channel, APPLE) && !r.due_ms_null && r.due_ms <= s->now;
    if (due) {
        APR_ARRAY_PUSH(s->due, mdm_delivery_due_t) = (mdm_delivery_due_t){.device_id = v->d->device_id, .type = name, .hash = r.hash,
                                                                          .record_id = v->f->record_id, .row = row};
    }
    if (due || !was || !same(was, &r)) {
        json_array_append(s->put, row);
    }
    json_array_append_new(v->rows, row);
}

/* ---------------------------------------------------------------- one device */

/* What its person is told by mail of a change (EML-03, EML-04). That there is no policy is news for who has just enrolled, where others have mail. */
static void tell_person(settle_t *s, const device_t *v, const char *was, const char *now)
{
    int none = !strcmp(now, "none"), had = *was && strcmp(was, "none") != 0;

    if (none && had && (v->f->eas || v->apple || v->f->agent)) {
        notice(s, v->d->device_id, "email_removed");
    } else if (none && !had && (v->f->eas || v->apple || v->f->agent) && v->f->enrolled_ms > s->now - NEWLY_MS && apr_hash_count(s->render.servers)) {
        notice(s, v->d->device_id, "email_none");
    } else if (!none && !had && v->f->agent && !v->f->eas) {
        notice(s, v->d->device_id, "email_settings");
    }
}

/* What the mail of a device is by its policy (spec 03), and what is told when that goes (EML-04). */
static const char *mail_of(settle_t *s, const device_t *v)
{
    const char *now = !v->d->result_id[MDM_POLICY_EMAIL] ? "none" : mdm_delivery_direct(v->d) ? "direct" : "proxy", *was = v->f->mail;

    if (strcmp(was, now) != 0 && !strcmp(now, "none")) {
        if (*was && (v->f->eas || v->apple)) {
            message(s, v->d->device_id, "mail.no_policy", "said_mail_no_policy");
        }
        if (*was || v->f->eas) {
            event(s, v->d->device_id, "mail.no_policy", json_pack("{s:s}", "before", was));
        }
    }
    if (strcmp(was, now) != 0) {
        tell_person(s, v, was, now);
    }
    return now;
}

static void tell_device(settle_t *s, const device_t *v)
{
    const mdm_compliance_in_t in = {v->f->passcode_present, v->f->passcode_compliant, v->f->encryption, v->rows};
    const char *compliance = mdm_compliance(s->ctx, &in, NULL), *mail = mail_of(s, v);

    if (strcmp(compliance, v->f->compliance) != 0 || strcmp(mail, v->f->mail) != 0) {
        json_array_append_new(s->devices, json_pack("{s:s, s:s, s:s}", "id", v->d->device_id, "compliance", compliance, "mail", mail));
    }
    if (strcmp(mail, v->f->mail) != 0 && v->f->eas) {
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
    const mdm_compile_account_t *account = mdm_delivery_account(&s->render, d, f);
    mdm_policy_profile_t profile;
    apr_status_t rv = mdm_delivery_render(&s->render, d, f, account, &v.r);

    v.apple = f->record_id && strcmp(f->record_state, "leaving") != 0;
    v.up = v.apple && !strcmp(f->record_state, "enrolled");
    for (int type = 0; rv == APR_SUCCESS && type < MDM_POLICY_TYPES; type++) {
        int encrypt = type == MDM_POLICY_SECURITY && asks_encryption(d);
        want_t apple = {APPLE, "", v.r->why[type], encrypt};
        want_t mail = {EAS, v.r->eas[type] ? v.r->eas_hash : "", mdm_said(s->ctx->pool, "said_mail_app_nothing", NULL), encrypt};
        want_t agent = {AGENT, "", mdm_said(s->ctx->pool, "said_agent_none", NULL), encrypt};

        profile = v.r->profile[type];
        if (type == MDM_POLICY_EMAIL) {
            mail.why = mdm_said(s->ctx->pool, "said_mail_app_account", NULL);
            profile.hash = NULL;
            if (account && mdm_delivery_payloads(v.r, type)) {
                rv = mdm_delivery_email_profile(&s->render, v.r, f, account, &profile);
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

/* What is due gets its commands, and its row says so when it is written. */
static apr_status_t queue(settle_t *s, apr_int64_t spread_ms)
{
    mdm_delivery_due_t *due = (mdm_delivery_due_t *)(void *)s->due->elts;
    apr_status_t rv = mdm_delivery_queue(s->db, due, s->due->nelts, spread_ms);

    for (int i = 0; rv == APR_SUCCESS && i < s->due->nelts; i++) {
        json_object_set_new(due[i].row, "command_id", due[i].command_id ? json_string(due[i].command_id) : json_null());
        json_object_set_new(due[i].row, "due_ms", due[i].command_id ? json_null() : json_integer(due[i].due_ms));
    }
    return rv;
}

static apr_status_t write_all(settle_t *s, apr_int64_t spread_ms)
{
    apr_pool_t *p = s->ctx->pool;
    apr_status_t rv = APR_SUCCESS;

    if (json_array_size(s->store)) {
        rv = mdm_q_delivery_store(s->db, mdm_json_text(p, s->store), s->now, s->now - YOUNG_MS, NULL);
    }
    if (rv == APR_SUCCESS && json_array_size(s->devices)) {
        rv = mdm_q_delivery_devices(s->db, mdm_json_text(p, s->devices), NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = queue(s, spread_ms);
    }
    if (rv == APR_SUCCESS && json_array_size(s->put)) {
        rv = mdm_q_delivery_put(s->db, mdm_json_text(p, s->put), s->now, NULL);
    }
    if (rv == APR_SUCCESS && json_array_size(s->drop)) {
        rv = mdm_q_delivery_drop(s->db, mdm_json_text(p, s->drop), NULL);
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
        rv = mdm_delivery_read_servers(&s->render);
    }
    for (int i = 0; rv == APR_SUCCESS && i < devices->nelts; i++) {
        const mdm_delivery_device_t *d = &APR_ARRAY_IDX(devices, i, mdm_delivery_device_t);
        const facts_t *f = apr_hash_get(s->facts, d->device_id, APR_HASH_KEY_STRING);

        if (f) { /* else deleted meanwhile */
            rv = settle_one(s, d, f);
        }
    }
    return rv == APR_SUCCESS ? write_all(s, spread_ms) : rv;
}
