/* A mail client's first contact, the end of its enrolment, its leaving. */
#include "domain/mdm_eas_priv.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_notice.h"
#include "domain/mdm_said.h"
#include "wire/mdm_eas_query.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define REFUSED_MAX 20 /* audit rows of refused first contacts, a person and day */
#define TEXT_MAX 255
#define NAME_PATTERN "${device.model} ${user.name}"

/* DeviceIds that stand for no device: connectivity tests and desktop services (facts 7.2). */
static const char *const placeholders[] = {"VALIDATE", "OUTLOOKSERVICE", NULL};

typedef struct first_t {
    mdm_db_t *db;
    mdm_ctx_t *ctx;
    const mdm_eas_client_t *client;
    const char *class, *platform;
    mdm_eas_hardware_t hw;
    mdm_person_t *person;
    mdm_enroll_policy_t *policy; /* NULL until asked for */
    mdm_q_eas_record_t *record;  /* NULL: none yet */
    mdm_q_eas_record_t *told;    /* what only a mail server has told of it; NULL: nothing, or it was here */
    apr_int64_t now;
} first_t;

static int is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

apr_status_t mdm_eas_hold(mdm_db_t *db, const char *person_id)
{
    mdm_q_eas_hold_t *row;

    return mdm_q_eas_hold(db, person_id, &row);
}

/* ---------------------------------------------------------------- joining */

static const char *match_text(mdm_ctx_t *ctx, const mdm_eas_join_t *j)
{
    json_t *why = mdm_json_own(ctx, json_pack("{s:s, s:s, s:s, s:I}", "tier", j->tier ? j->tier : "exact", "rule", j->rule, "value", j->value,
                                              "at_ms", (json_int_t)mdm_now_ms(ctx)));

    if (j->score > 0) {
        json_object_set_new(why, "score", json_real(j->score));
    }
    return mdm_json_text(ctx->pool, why);
}

static apr_status_t tell_match(mdm_db_t *db, const mdm_eas_join_t *j, const char *name)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *detail = mdm_json_own(ctx, json_pack("{s:s, s:s, s:s}", "rule", j->rule, "value", j->value, "device_id", j->native_id));
    apr_status_t rv = mdm_device_event(db, j->device_id, NULL, j->told ? "mail.told" : "mail.matched", detail);

    if (j->merged) {
        json_object_set_new(detail, "merged", json_string(j->merged));
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_audit(db, "device.match", "device", j->device_id, name, "done", detail);
    }
    return rv == APR_SUCCESS ? mdm_change_add(db, "device", j->device_id) : rv;
}

const char *mdm_eas_tier(mdm_ctx_t *ctx, const char *match_rule)
{
    const char *tier = json_string_value(json_object_get(mdm_json_own(ctx, json_loads(match_rule, 0, NULL)), "tier"));

    return tier ? tier : "";
}

apr_status_t mdm_eas_slot_free(mdm_db_t *db, const char *device_id, const char *class, const char *record_id, const char *exact)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_q_eas_told_place_t *loose;
    mdm_q_eas_slot_t *slot;
    const char *own;
    apr_status_t rv = mdm_q_eas_slot(db, device_id, class, record_id, &slot);

    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
    }
    if (is(slot->state, "discovered")) {
        return mdm_q_eas_told_place(db, slot->id, NULL, "{}", &loose);
    }
    if (exact && is(mdm_eas_tier(ctx, slot->match_rule), "attr") && is(slot->state, "enrolled")) {
        return mdm_eas_part(db, slot->id, 0, &own);
    }
    if (!is(exact, "easid") && !is(slot->state, "left") && slot->last_ms > now - MDM_EAS_SILENT_MS) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "The device has another mail client of this kind.");
    }
    return mdm_q_eas_record_end(db, slot->id, now, NULL);
}

/* Among those that were only told of there is one place, too; the device's word decides, else who was first. */
static apr_status_t told_join(mdm_db_t *db, const mdm_eas_join_t *j)
{
    mdm_q_eas_told_place_t *at;
    apr_status_t rv = mdm_q_eas_told_place(db, j->record_id, j->device_id, match_text(mdm_db_ctx(db), j), &at);

    return rv == APR_SUCCESS ? tell_match(db, j, at->name ? at->name : "") : rv;
}

apr_status_t mdm_eas_join(mdm_db_t *db, const mdm_eas_join_t *j)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_eas_device_joined_t *device;
    apr_status_t rv;

    if (j->told) {
        return told_join(db, j);
    }
    rv = mdm_q_eas_record_join(db, j->record_id, j->device_id, match_text(ctx, j), mdm_now_ms(ctx));

    if (rv == APR_SUCCESS && (rv = mdm_q_eas_device_joined(db, j->device_id, j->native_id, &device)) == APR_SUCCESS) {
        rv = tell_match(db, j, device->name);
    }
    return rv;
}

/* ---------------------------------------------------------------- certain matches (MAT-01) */

typedef struct hit_t {
    const char *device_id, *state, *rule, *value; /* device_id NULL: none */
} hit_t;

/* Not: a device that has told another DeviceId; one whose enrolment is not finished, and will look for this one then; what an earlier
 * enrolment has told of a device that is in use again. */
static int usable(const mdm_q_eas_known_t *k, const char *key)
{
    return !(is(k->space, "serial") && k->told && strcmp(k->told, key) != 0) && strcmp(k->device_state, "pending") != 0
           && (k->live || strcmp(k->device_state, "active") != 0);
}

/* The device that this DeviceId certainly belongs to. Two living candidates, or one that contradicts, are none (MAT-09). */
static apr_status_t find_known(first_t *f, hit_t *hit)
{
    static const char derived[] = "APPL";
    mdm_ctx_t *ctx = f->ctx;
    const char *key = mdm_eas_key(ctx->pool, f->client->device_id);
    const char *serial = key && !strncmp(key, derived, 4) ? mdm_lower(ctx->pool, key + 4) : "";
    apr_array_header_t *rows;
    apr_status_t rv;
    int i;

    memset(hit, 0, sizeof(*hit));
    if (!key || strcmp(f->class, "native") != 0 || (strcmp(f->platform, "ios") != 0 && strcmp(f->platform, "unknown") != 0)) {
        return APR_SUCCESS;
    }
    rv = mdm_q_eas_known(f->db, f->person->id, key, serial, &rows);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; ++i) {
        const mdm_q_eas_known_t *k = &APR_ARRAY_IDX(rows, i, mdm_q_eas_known_t);

        if (!usable(k, key)) {
            continue;
        }
        if (hit->device_id && k->live && strcmp(hit->device_id, k->device_id) != 0) {
            memset(hit, 0, sizeof(*hit));
            return APR_SUCCESS;
        }
        if (!hit->device_id) {
            *hit = (hit_t){k->device_id, k->device_state, k->space, is(k->space, "serial") ? serial : key};
        }
    }
    return rv;
}

/* A left record's own object is the next candidate, or the one that a mail server's word was matched with: the same DeviceId of the same person
 * (MAT-01), unless the device says otherwise. */
static void find_own(first_t *f, hit_t *hit)
{
    const mdm_q_eas_record_t *r = f->record ? f->record : f->told;
    const char *key = mdm_eas_key(f->ctx->pool, f->client->device_id);

    if (!hit->device_id && r && r->device_id && (!f->told || is(f->platform, "unknown") || is(f->platform, r->device_platform)) && !(r->device_told && is(r->class, "native") && key && strcmp(r->device_told, key) != 0)) {
        *hit = (hit_t){r->device_id, r->device_state, "device_id", f->client->device_id};
    }
}

/* ---------------------------------------------------------------- may this person (GATE-02) */

/* A refusal whose text the person finds in the inbox. */
static apr_status_t says(first_t *f, const char *word, apr_status_t rv)
{
    if (rv == MDM_EDENIED) {
        f->ctx->fail_field = word;
    }
    return rv;
}

static apr_status_t policy_read(first_t *f)
{
    return f->policy ? APR_SUCCESS : says(f, "policy", mdm_enroll_policy(f->db, f->person, &f->policy));
}

static const char *ownership_of(const mdm_enroll_policy_t *policy)
{
    return is(policy->ownership, "choose") ? "personal" : policy->ownership;
}

static apr_status_t admit(first_t *f)
{
    const char *version = mdm_eas_version_text(f->client->version);
    apr_status_t rv = policy_read(f);
    int i;

    for (i = 0; placeholders[i]; ++i) {
        if (is(f->client->device_id, placeholders[i])) {
            return mdm_fail(f->ctx, MDM_EDENIED, NULL, "This DeviceId stands for no device.");
        }
    }
    if (rv != APR_SUCCESS
        || (rv = mdm_enroll_allowed(f->ctx, f->policy, f->platform, ownership_of(f->policy), "email_only")) != APR_SUCCESS) {
        return f->policy ? says(f, "kind", rv) : rv;
    }
    if (version && !mdm_version_at_least(version, f->policy->min_eas)) {
        return mdm_fail(f->ctx, MDM_EDENIED, "kind", "This mail app is too old: it needs at least protocol version %s.",
                        f->policy->min_eas);
    }
    return APR_SUCCESS;
}

/* An unfinished object is nothing that was enrolled, but each one is a row that somebody must look at. */
static apr_status_t room(first_t *f)
{
    mdm_q_eas_pending_count_t *n;
    apr_status_t rv = says(f, "limit", mdm_enroll_room(f->db, f->policy, f->person->id, 0));

    if (rv == APR_SUCCESS && (rv = mdm_q_eas_pending_count(f->db, f->person->id, &n)) == APR_SUCCESS
        && n->n >= MDM_EAS_PENDING_MAX) {
        rv = mdm_fail(f->ctx, MDM_EDENIED, "unfinished", "You have %d mail devices that are not finished. Complete them in the portal, or ask your IT support.",
                      MDM_EAS_PENDING_MAX);
    }
    return rv;
}

/* ---------------------------------------------------------------- the record and its object */

static const char *attrs_text(first_t *f)
{
    const mdm_eas_client_t *c = f->client;
    json_t *attrs = mdm_json_own(f->ctx, json_pack("{s:s, s:s}", "type", mdm_clean(f->ctx->pool, c->device_type, TEXT_MAX),
                                                   "user_agent", mdm_clean(f->ctx->pool, c->user_agent, TEXT_MAX)));
    const char *version = mdm_eas_version_text(c->version);

    if (version) {
        json_object_set_new(attrs, "version", json_string(version));
    }
    return mdm_json_text(f->ctx->pool, attrs);
}

/* There may be several other clients on a device; a new object has none yet. */
static const char *class_stored(first_t *f)
{
    return is(f->class, "other") ? "other:1" : f->class;
}

static apr_status_t record_add(first_t *f, const char *device_id, const char **out)
{
    const char *id = mdm_uuid(f->ctx->pool);
    mdm_q_eas_record_add_t *made;
    apr_status_t rv = id ? mdm_q_eas_record_add(f->db, id, device_id, f->person->id, class_stored(f), f->client->device_id,
                                                attrs_text(f), f->now, &made)
                         : MDM_EUNAVAIL;

    if (rv == APR_SUCCESS) {
        *out = made->id; /* of the record that a mail server's list has made, if there is one */
    }
    return rv == APR_NOTFOUND ? MDM_EUNAVAIL : rv;
}

static mdm_enroll_facts_t facts_of(first_t *f)
{
    return (mdm_enroll_facts_t){.kind = "eas", .native_id = f->client->device_id, .product = f->hw.product, .model = f->hw.model,
                                .build = f->hw.build, .platform = f->platform};
}

/* A new object in the folder "Pending Enrollment". */
static apr_status_t object_add(first_t *f, const char **out)
{
    mdm_enroll_facts_t facts = facts_of(f);
    mdm_q_eas_promised_t *promised = NULL;
    const char *name;
    apr_status_t rv = room(f);

    if (rv != APR_SUCCESS || (rv = mdm_enroll_name(f->db, f->person, &facts, NAME_PATTERN, &name)) != APR_SUCCESS
        || (rv = mdm_eas_promised(f->db, f->person->id, f->platform, NULL, &promised)) != APR_SUCCESS) {
        return rv;
    }
    *out = mdm_uuid(f->ctx->pool);
    return *out ? mdm_q_eas_device_add(f->db, *out, name, mdm_lower(f->ctx->pool, name), f->person->id,
                                       promised ? promised->ownership : ownership_of(f->policy), f->platform, f->hw.model,
                                       f->hw.product, f->hw.build, f->client->device_id, f->now, NULL)
                : MDM_EUNAVAIL;
}

static apr_status_t tell_others(first_t *f)
{
    apr_array_header_t *rows;
    const char *text = mdm_said(f->ctx->pool, "said_second_person", f->person->login, NULL);
    apr_status_t rv = mdm_q_eas_others(f->db, f->client->device_id, f->person->id, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; ++i) {
        rv = mdm_message(f->db, "device", APR_ARRAY_IDX(rows, i, mdm_q_eas_others_t).device_id, MDM_MSG_WARNING, "eas.second_person",
                         text);
    }
    return rv;
}

/* The record waits on its object, a new one or one that is continued, for its person. */
static apr_status_t wait_on(first_t *f, const char *device_id, const char *event)
{
    const char *id;
    json_t *detail = mdm_json_own(f->ctx, json_pack("{s:s}", "device_id", f->client->device_id));
    apr_status_t rv = f->record ? mdm_q_eas_record_state(f->db, f->record->id, device_id, "authenticated", f->now)
                                : record_add(f, device_id, &id);

    if (rv == APR_SUCCESS && (rv = mdm_device_event(f->db, device_id, NULL, event, detail)) == APR_SUCCESS
        && (rv = mdm_audit(f->db, "eas.first_contact", "device", device_id, f->client->device_id, "done", NULL)) == APR_SUCCESS
        && (rv = mdm_change_add(f->db, "device", device_id)) == APR_SUCCESS && f->record) {
        rv = mdm_change_add(f->db, "device", f->record->device_id);
    }
    return rv == APR_SUCCESS ? tell_others(f) : rv;
}

static apr_status_t make_pending(first_t *f)
{
    const char *device_id;
    apr_status_t rv = admit(f);

    if (rv == APR_SUCCESS && (rv = object_add(f, &device_id)) == APR_SUCCESS) {
        const mdm_notice_t told = {.event = "enroll_complete", .key = apr_pstrcat(f->ctx->pool, "enroll_complete:", device_id, NULL),
                                   .device_id = device_id};
        int kept = 0;

        if ((rv = wait_on(f, device_id, "mail.first")) == APR_SUCCESS) {
            rv = mdm_eas_promise_keep(f->db, f->person->id, device_id, f->platform, f->policy, &kept);
        }
        rv = rv == APR_SUCCESS && !kept ? mdm_notice_add(f->db, &told) : rv;
    }
    return rv;
}

static apr_status_t join_hit(first_t *f, const hit_t *hit)
{
    mdm_eas_join_t j = {.native_id = f->client->device_id, .device_id = hit->device_id, .rule = hit->rule, .value = hit->value};
    const char *class = f->record ? f->record->class : class_stored(f);
    apr_status_t rv = mdm_eas_slot_free(f->db, hit->device_id, class, f->record ? f->record->id : "", hit->rule);

    if (rv == MDM_ECONFLICT) {
        return make_pending(f);
    }
    j.record_id = f->record ? f->record->id : NULL;
    if (rv == APR_SUCCESS && !f->record) {
        rv = record_add(f, hit->device_id, &j.record_id);
    }
    if (rv == APR_SUCCESS && f->record && strcmp(f->record->device_id, hit->device_id) != 0) {
        rv = mdm_change_add(f->db, "device", f->record->device_id);
    }
    if (rv == APR_SUCCESS && (rv = mdm_eas_join(f->db, &j)) == APR_SUCCESS) {
        rv = tell_others(f);
    }
    return rv;
}

/* An object that was left: continued in the state that the policy asks for (ENR-08, MAT-07). */
static apr_status_t continue_hit(first_t *f, const hit_t *hit)
{
    apr_status_t rv;

    if (is(hit->state, "blocked")) {
        return mdm_fail(f->ctx, MDM_EDENIED, NULL, "This device is blocked. Ask your IT support.");
    }
    if (is(hit->state, "wipe_pending")) {
        return mdm_fail(f->ctx, MDM_EDENIED, NULL, "A wipe or removal of this device is under way. Ask your IT support.");
    }
    if ((rv = admit(f)) != APR_SUCCESS) {
        return rv;
    }
    if (is(hit->state, "retired") && is(f->policy->reenroll, "unretire")) {
        return mdm_fail(f->ctx, MDM_EDENIED, NULL,
                        "This device is retired. Your IT support has to release it before it can be enrolled again.");
    }
    if (is(hit->state, "retired") && is(f->policy->reenroll, "new")) {
        return make_pending(f);
    }
    if ((rv = room(f)) == APR_SUCCESS
        && (rv = mdm_q_eas_device_again(f->db, hit->device_id, hit->state, f->client->device_id, f->now)) == APR_SUCCESS) {
        rv = wait_on(f, hit->device_id, "mail.again");
    }
    return rv == APR_NOTFOUND ? MDM_EUNAVAIL : rv; /* it was changed meanwhile: the client asks again */
}

/* ---------------------------------------------------------------- first contact */

static apr_status_t person_read(first_t *f)
{
    apr_status_t rv = mdm_eas_hold(f->db, f->client->person_id);

    if (rv == APR_SUCCESS) {
        rv = mdm_person_get(f->db, f->client->person_id, &f->person);
    }
    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && f->person->disabled)) {
        return mdm_fail(f->ctx, MDM_EDENIED, NULL, "This account may not read mail any more. Ask your IT support.");
    }
    if (rv == APR_SUCCESS) {
        f->ctx->actor.kind = "person";
        f->ctx->actor.id = f->person->id;
        f->ctx->actor.name = f->person->login;
    }
    return rv;
}

static apr_status_t first(first_t *f)
{
    hit_t hit;
    apr_status_t rv = person_read(f);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_eas_record(f->db, f->person->id, f->client->device_id, &f->record);
    if (rv == APR_NOTFOUND) {
        f->record = NULL;
    } else if (rv != APR_SUCCESS) {
        return rv;
    } else if (is(f->record->state, "discovered")) {
        f->told = f->record; /* record_add() takes it over */
        f->record = NULL;
    } else if (strcmp(f->record->state, "left") != 0) {
        return APR_SUCCESS; /* somebody was quicker */
    }
    if ((rv = find_known(f, &hit)) != APR_SUCCESS) {
        return rv;
    }
    find_own(f, &hit);
    if (!hit.device_id) {
        return make_pending(f);
    }
    if (is(hit.state, "pending")) {
        return APR_SUCCESS; /* its enrolment is under way, and takes the record up when it is finished */
    }
    return is(hit.state, "active") ? join_hit(f, &hit) : continue_hit(f, &hit);
}

/* A refused client asks again and again: one row a day says so. */
static apr_status_t refused(first_t *f)
{
    const char *why = f->ctx->fail_text, *id = mdm_mask(f->ctx->pool, f->client->device_id);
    json_t *detail = mdm_json_own(f->ctx, json_pack("{s:s, s:s}", "reason", why ? why : "", "type",
                                                    mdm_clean(f->ctx->pool, f->client->device_type, TEXT_MAX)));
    mdm_q_eas_refused_lately_t *n;
    apr_status_t rv = mdm_q_eas_refused_lately(f->db, f->client->person_id, f->client->device_id, f->now - DAY_MS, &n);

    if (rv != APR_SUCCESS || n->of_id > 0 || n->of_person >= REFUSED_MAX) {
        return rv;
    }
    mdm_log(f->ctx, MDM_LOG_INFO, "MDM0060", 0, "the first contact of mail client %s was refused: %s", id, why ? why : "");
    rv = mdm_audit(f->db, "eas.first_contact", "person", f->client->person_id, f->client->device_id, "refused", detail);
    return rv == APR_SUCCESS && f->person ? tell_others(f) : rv;
}

static apr_status_t note_refused(first_t *f)
{
    const char *field = f->ctx->fail_field, *text = f->ctx->fail_text;
    apr_status_t rv = mdm_db_begin(f->db);

    if (rv == APR_SUCCESS) {
        rv = refused(f);
    }
    rv = mdm_db_end(f->db, rv);
    f->ctx->fail_field = field;
    f->ctx->fail_text = text;
    return rv == APR_SUCCESS ? MDM_EDENIED : rv;
}

apr_status_t mdm_eas_first_contact(mdm_ctx_t *ctx, const mdm_eas_client_t *client)
{
    first_t f = {.ctx = ctx, .client = client, .now = mdm_now_ms(ctx)};
    apr_status_t rv;

    if (!client->device_id || !*client->device_id || strlen(client->device_id) > MDM_EAS_DEVICE_ID_MAX) {
        return mdm_fail(ctx, MDM_EINPUT, "DeviceId", "is missing or too long");
    }
    f.class = mdm_eas_class(ctx->pool, client->device_type, client->user_agent);
    f.platform = mdm_eas_platform(client->device_type, client->user_agent);
    f.hw = mdm_eas_hardware(ctx->pool, client->device_type, client->user_agent);
    if ((rv = mdm_db_open(ctx, &f.db)) != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_db_begin(f.db)) == APR_SUCCESS) {
        rv = first(&f);
    }
    rv = mdm_db_end(f.db, rv);
    if (rv == MDM_EDENIED) {
        rv = note_refused(&f);
    }
    mdm_db_close(f.db);
    return rv;
}

/* ---------------------------------------------------------------- finishing (POR-05) */

typedef struct finish_t {
    mdm_db_t *db;
    mdm_ctx_t *ctx;
    mdm_person_t *person;
    mdm_enroll_policy_t *policy;
    mdm_q_eas_device_t *device;
    mdm_q_eas_record_of_t *record;
    mdm_q_eas_promised_t *promised; /* NULL: none */
    const char *device_id, *ownership;
} finish_t;

static apr_status_t finish_read(finish_t *f, const char *person_id)
{
    apr_status_t rv = mdm_eas_hold(f->db, person_id);

    if (rv != APR_SUCCESS || (rv = mdm_q_eas_device(f->db, f->device_id, person_id, &f->device)) != APR_SUCCESS
        || (rv = mdm_person_get(f->db, person_id, &f->person)) != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_eas_record_of(f->db, person_id, f->device_id, &f->record);
    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && strcmp(f->device->level, "email_only") != 0)
        || (rv == APR_SUCCESS && strcmp(f->device->state, "pending") != 0 && strcmp(f->device->state, "retired") != 0)) {
        return mdm_fail(f->ctx, MDM_ECONFLICT, NULL, "This device does not wait for you to complete its enrolment.");
    }
    if (rv != APR_SUCCESS || (rv = mdm_enroll_policy(f->db, f->person, &f->policy)) != APR_SUCCESS
        || (rv = mdm_eas_promised(f->db, person_id, f->device->platform, f->device->serial, &f->promised)) != APR_SUCCESS) {
        return rv;
    }
    f->ownership = f->promised ? f->promised->ownership : f->ownership; /* who made it has said whose the device is */
    return mdm_enroll_allowed(f->ctx, f->policy, f->device->platform, f->ownership, "email_only");
}

/* A retired one comes back only as the policy says (ENR-08). */
static apr_status_t finish_retired(finish_t *f)
{
    const mdm_q_eas_device_t *d = f->device;
    const char *id = mdm_uuid(f->ctx->pool), *old = f->device_id;
    apr_int64_t now = mdm_now_ms(f->ctx);
    apr_status_t rv;

    if (is(f->policy->reenroll, "unretire")) {
        return mdm_fail(f->ctx, MDM_EDENIED, NULL,
                        "This device is retired. Your IT support has to release it before it can be enrolled again.");
    }
    if (!is(f->policy->reenroll, "new")) {
        return APR_SUCCESS;
    }
    if (!id) {
        return MDM_EUNAVAIL;
    }
    f->device_id = id;
    rv = mdm_q_eas_device_add(f->db, id, d->name, mdm_lower(f->ctx->pool, d->name), f->person->id, f->ownership, d->platform, d->model,
                              d->product, d->build, f->record->native_id, now, NULL);
    if (rv == APR_SUCCESS
        && (rv = mdm_q_eas_record_state(f->db, f->record->id, id, "authenticated", now)) == APR_SUCCESS
        && (rv = mdm_q_eas_device(f->db, id, f->person->id, &f->device)) == APR_SUCCESS) {
        rv = mdm_change_add(f->db, "device", old);
    }
    return rv;
}

/* Out of "Pending Enrollment" by the rules; an object that was enrolled before stays where it is (MAT-07). */
static apr_status_t finish_place(finish_t *f)
{
    const mdm_q_eas_device_t *d = f->device;
    mdm_enroll_facts_t facts = {.kind = "eas", .model = d->model, .product = d->product, .serial = d->serial, .build = d->build,
                                .os_version = d->os_version, .platform = d->platform};
    mdm_q_enroll_folder_exists_t *there;
    const char *folder, *name;
    apr_status_t rv;

    if (strcmp(d->folder_kind, "pending") != 0) {
        return APR_SUCCESS;
    }
    rv = mdm_enroll_place(f->db, f->person, f->policy, &facts, f->ownership, "email_only", f->device_id, &folder, &name);
    if (rv == APR_SUCCESS && f->promised && f->promised->folder_id
        && (rv = mdm_q_enroll_folder_exists(f->db, f->promised->folder_id, &there)) != APR_NOTFOUND) {
        folder = f->promised->folder_id;
    }
    rv = rv == APR_NOTFOUND ? APR_SUCCESS : rv;
    if (rv == APR_SUCCESS && (rv = mdm_q_eas_device_place(f->db, f->device_id, name, mdm_lower(f->ctx->pool, name), folder)) == APR_SUCCESS) {
        f->device->name = name;
    }
    return rv;
}

apr_status_t mdm_eas_complete(mdm_db_t *db, const char *person_id, const char *device_id, const char *ownership, const char **final)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    finish_t f = {.db = db, .ctx = ctx, .device_id = device_id, .ownership = ownership};
    apr_int64_t now = mdm_now_ms(ctx);
    json_t *detail;
    int retired;
    apr_status_t rv = finish_read(&f, person_id);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    retired = is(f.device->state, "retired"); /* not among those that count as yet */
    if ((rv = mdm_enroll_room(db, f.policy, person_id, !retired)) != APR_SUCCESS
        || (retired && (rv = finish_retired(&f)) != APR_SUCCESS) || (rv = finish_place(&f)) != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_eas_device_complete(db, f.device_id, f.device->state, f.ownership, now);
    if (rv == APR_NOTFOUND) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "Your IT support has changed this device meanwhile: look again.");
    }
    if (rv != APR_SUCCESS || (rv = mdm_q_eas_record_state(db, f.record->id, f.device_id, "enrolled", now)) != APR_SUCCESS) {
        return rv;
    }
    if (final) {
        *final = f.device_id;
    }
    detail = mdm_json_own(ctx, json_pack("{s:s, s:s, s:s}", "level", "email_only", "ownership", f.ownership, "device_id", f.record->native_id));
    if ((rv = mdm_device_event(db, f.device_id, NULL, "mail.completed", detail)) == APR_SUCCESS
        && (rv = mdm_audit(db, "device.enroll", "device", f.device_id, f.device->name, "done", detail)) == APR_SUCCESS && f.promised) {
        rv = mdm_eas_promise_use(db, f.promised->id, f.device_id, f.device->name);
    }
    return rv == APR_SUCCESS ? mdm_change_add(db, "device", f.device_id) : rv;
}

apr_status_t mdm_eas_platform_said(mdm_db_t *db, const char *person_id, const char *device_id, const char *platform)
{
    int n = 0;
    apr_status_t rv = mdm_q_eas_device_platform(db, device_id, person_id, platform, &n);

    return rv == APR_SUCCESS && n
               ? mdm_device_event(db, device_id, NULL, "mail.platform", mdm_json_own(mdm_db_ctx(db), json_pack("{s:s}", "platform", platform)))
               : rv;
}

/* ---------------------------------------------------------------- leaving */

apr_status_t mdm_eas_leave(mdm_db_t *db, const char *device_id, const char *reason)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *detail = mdm_json_own(ctx, json_pack("{s:s}", "reason", reason));
    int n = 0;
    apr_status_t rv = mdm_q_eas_records_left(db, device_id, &n);

    if (rv != APR_SUCCESS || n == 0) {
        return rv;
    }
    if ((rv = mdm_q_eas_device_left(db, device_id, NULL)) == APR_SUCCESS && (rv = mdm_q_eas_count_left(db, device_id, NULL)) == APR_SUCCESS
        && (rv = mdm_device_event(db, device_id, NULL, "mail.left", detail)) == APR_SUCCESS) {
        rv = mdm_change_add(db, "device", device_id);
    }
    return rv;
}
