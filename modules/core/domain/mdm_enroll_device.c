/* How a finished enrolment becomes a device object: finding the object again, naming, placing, and who may take it over. */
#include "domain/mdm_enroll_priv.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_ca.h"
#include "domain/mdm_command.h"
#include "domain/mdm_eas.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_match.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"

/* ---------------------------------------------------------------- records */

/* Whatever was asked of an earlier enrolment is not asked of the next, and its identities die (R39). */
static apr_status_t forget(mdm_begin_t *b, const char *record_id, const char *reason)
{
    apr_status_t rv = mdm_command_clear(b->db, record_id);

    return rv == APR_SUCCESS ? mdm_ca_revoke_record(b->db, record_id, "", b->pending->id, reason) : rv;
}

static apr_status_t record_end(mdm_begin_t *b, const char *record_id, const char *reason)
{
    apr_status_t rv = forget(b, record_id, reason);

    if (rv == APR_SUCCESS && (rv = mdm_q_match_key_drop(b->db, record_id, NULL)) == APR_SUCCESS) {
        rv = mdm_q_enroll_record_end(b->db, record_id, b->now, NULL);
    }
    return rv;
}

/* Ends all live records of this kind that a device has, but for one. */
static apr_status_t records_end(mdm_begin_t *b, const char *device_id, const char *keep, const char *reason)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_enroll_device_records(b->db, device_id, b->facts->kind, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; ++i) {
        const char *id = APR_ARRAY_IDX(rows, i, mdm_q_enroll_device_records_t).id;

        if (!keep || strcmp(keep, id) != 0) {
            rv = record_end(b, id, reason);
        }
    }
    return rv == APR_SUCCESS ? mdm_change_add(b->db, "device", device_id) : rv;
}

static apr_status_t keys_add(mdm_begin_t *b, const char *record_id)
{
    const struct {
        const char *space, *value;
    } keys[] = {{"udid", b->udid}, {"serial", b->serial}, {"imei", b->imei}};
    apr_status_t rv = mdm_q_match_key_drop(b->db, record_id, NULL);
    unsigned i;

    for (i = 0; rv == APR_SUCCESS && i < sizeof(keys) / sizeof(keys[0]); ++i) {
        if (keys[i].value) {
            rv = mdm_q_match_key_add(b->db, keys[i].space, mdm_lower(b->ctx->pool, keys[i].value), record_id, NULL);
        }
    }
    return rv;
}

/* The live record of the device for this identity: the one it has, raised by a generation, or a new one. */
static apr_status_t record_make(mdm_begin_t *b, const char *device_id, const char **out)
{
    json_t *attrs = mdm_json_own(b->ctx, json_object());
    const char *text, *uuid;
    mdm_q_enroll_live_record_t *row;
    apr_status_t rv;

    if (b->facts->name) {
        json_object_set_new(attrs, "name", json_string(mdm_clean(b->ctx->pool, b->facts->name, MDM_NAME_BYTES)));
    }
    text = mdm_json_text(b->ctx->pool, attrs);
    rv = mdm_q_enroll_live_record(b->db, b->facts->kind, b->facts->native_id, &row);
    if (rv == APR_SUCCESS && row->device_id && !strcmp(row->device_id, device_id)) {
        if ((rv = forget(b, row->id, "superseded by a new enrolment")) != APR_SUCCESS
            || (rv = mdm_q_enroll_record_again(b->db, row->id, b->person->id, mdm_some(b->facts->topic), text, b->now))
                   != APR_SUCCESS
            || (rv = records_end(b, device_id, row->id, "superseded by a new enrolment")) != APR_SUCCESS) {
            return rv;
        }
        *out = row->id;
        return keys_add(b, row->id);
    }
    if (rv == APR_SUCCESS) { /* left over on an object that this one does not continue */
        rv = record_end(b, row->id, "the device was enrolled as another object");
    }
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        return rv;
    }
    if ((rv = records_end(b, device_id, NULL, "superseded by a new enrolment")) != APR_SUCCESS) {
        return rv;
    }
    if (!(uuid = mdm_uuid(b->ctx->pool))) {
        return MDM_EUNAVAIL;
    }
    rv = mdm_q_enroll_record_add(b->db, uuid, device_id, b->person->id, b->facts->kind, b->facts->native_id,
                                 mdm_some(b->facts->topic), text, b->now, NULL);
    *out = uuid;
    return rv == APR_SUCCESS ? keys_add(b, uuid) : rv;
}

/* ---------------------------------------------------------------- which object */

/* *live: the device has a record of this kind; *leaving: one that is being removed or wiped and has not confirmed it. */
static apr_status_t records_look(mdm_begin_t *b, const char *device_id, int *live, int *leaving)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_enroll_device_records(b->db, device_id, b->facts->kind, &rows);
    int i;

    *live = *leaving = 0;
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; ++i) {
        *live = 1;
        *leaving = *leaving || !strcmp(APR_ARRAY_IDX(rows, i, mdm_q_enroll_device_records_t).state, "leaving");
    }
    return rv;
}

static apr_int64_t later_of(apr_int64_t a, apr_int64_t b)
{
    return a > b ? a : b;
}

/* When the old identity was last used. Contact times are written behind, so what this node has noted counts as well, and so do
 * commands that were fetched or answered, whatever node the device spoke to. */
static apr_status_t last_use(mdm_begin_t *b, const mdm_q_enroll_device_known_t *d, apr_int64_t *out)
{
    const mdm_env_t *env = b->ctx->env;
    mdm_q_enroll_record_used_t *used;
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_enroll_device_records(b->db, d->id, b->facts->kind, &rows);
    int i;

    *out = d->last_contact_ms_null ? 0 : d->last_contact_ms;
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; ++i) {
        const mdm_q_enroll_device_records_t *row = &APR_ARRAY_IDX(rows, i, mdm_q_enroll_device_records_t);

        *out = later_of(*out, row->last_seen_ms);
        if (env->contact) {
            *out = later_of(*out, env->contact(env->contact_baton, row->id));
        }
        if ((rv = mdm_q_enroll_record_used(b->db, row->id, &used)) == APR_SUCCESS) {
            *out = later_of(*out, used->ms);
        }
    }
    return rv;
}

/* The same person again. *use = 1: this object continues; 0: it stays as it is beside a new one. */
static apr_status_t same_person(mdm_begin_t *b, const mdm_q_enroll_device_known_t *d, int leaving, int *use)
{
    if (!strcmp(d->state, "blocked")) {
        return mdm_fail(b->ctx, MDM_EDENIED, NULL, "This device is blocked. Ask your IT support.");
    }
    if (leaving) {
        return mdm_fail(b->ctx, MDM_EDENIED, NULL, "A wipe or removal of this device is under way. Ask your IT support.");
    }
    *use = 1;
    if (!strcmp(d->state, "retired")) {
        if (!strcmp(b->policy->reenroll, "unretire")) {
            return mdm_fail(b->ctx, MDM_EDENIED, NULL,
                            "This device is retired. Your IT support has to release it before it can be enrolled again.");
        }
        *use = strcmp(b->policy->reenroll, "new") != 0;
    }
    return APR_SUCCESS;
}

/* Somebody else's device. The old object is retired only if the new enrolment was proved by a log-in or a one-time password and the old
 * identity has been silent since; else the first keeps its management. */
static apr_status_t other_person(mdm_begin_t *b, const mdm_q_enroll_device_known_t *d, int live, int leaving)
{
    int proved = !strcmp(b->pending->origin, "self") || !strcmp(b->pending->origin, "ade") || b->pending->proof_hash;
    apr_int64_t used;
    apr_status_t rv;

    if (!strcmp(d->state, "blocked")) {
        return mdm_fail(b->ctx, MDM_EDENIED, NULL, "This device is blocked. Ask your IT support.");
    }
    if (!live || !strcmp(d->state, "retired") || !strcmp(d->state, "removed")) {
        return APR_SUCCESS; /* managed no more: its object keeps its history */
    }
    if ((rv = last_use(b, d, &used)) != APR_SUCCESS) {
        return rv;
    }
    if (!proved || leaving || used / 1000 >= b->pending->created_ms / 1000) { /* contacts are noted once a second */
        return mdm_fail(b->ctx, MDM_EDENIED, "conflict",
                        "This device is enrolled by somebody else. Ask your IT support to release it.");
    }
    if ((rv = records_end(b, d->id, NULL, "enrolled by another person")) != APR_SUCCESS
        || (rv = mdm_q_enroll_device_retire(b->db, d->id)) != APR_SUCCESS
        || (rv = mdm_eas_leave(b->db, d->id, "retired")) != APR_SUCCESS
        || (rv = mdm_device_event(b->db, d->id, b->pending->id, "retired.other_person", NULL)) != APR_SUCCESS) {
        return rv;
    }
    return mdm_audit(b->db, "device.retire", "device", d->id, d->name, "done", NULL);
}

/* A user enrolment is found by its own id alone, which nobody but its person has: another one never takes it over. */
static apr_status_t owned_find(mdm_begin_t *b, const char **device_id)
{
    mdm_q_enroll_native_owner_t *row;
    apr_status_t rv = b->preview ? APR_NOTFOUND : mdm_q_enroll_native_owner(b->db, b->facts->kind, b->facts->native_id, &row);

    *device_id = NULL;
    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
    }
    if (!row->person_id || strcmp(row->person_id, b->person->id) != 0) {
        return mdm_fail(b->ctx, MDM_EDENIED, "conflict", "This user enrolment is somebody else's.");
    }
    if (!strcmp(row->state, "leaving")) {
        return mdm_fail(b->ctx, MDM_EDENIED, NULL, "A wipe or removal of this device is under way. Ask your IT support.");
    }
    *device_id = row->device_id;
    return APR_SUCCESS;
}

/* *device_id = the object to continue, or NULL for a new one. */
static apr_status_t object_find(mdm_begin_t *b, const char **device_id)
{
    apr_array_header_t *rows;
    apr_status_t rv;
    int i;

    if (!strcmp(b->pending->account, "byod")) {
        return owned_find(b, device_id);
    }
    *device_id = NULL;
    rv = mdm_q_enroll_device_known(b->db, b->udid, b->serial, &rows);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; ++i) {
        const mdm_q_enroll_device_known_t *d = &APR_ARRAY_IDX(rows, i, mdm_q_enroll_device_known_t);
        int live, leaving, use = 0;

        if ((rv = records_look(b, d->id, &live, &leaving)) != APR_SUCCESS) {
            break;
        }
        if (d->person_id && strcmp(d->person_id, b->person->id) != 0) {
            rv = other_person(b, d, live, leaving);
        }
        else if (!*device_id) { /* rows stand in order of preference: the first fitting one continues */
            rv = same_person(b, d, leaving, &use);
        }
        if (use) {
            *device_id = d->id;
        }
    }
    return rv;
}

static const char *mode_of(const mdm_begin_t *b)
{
    if (!strcmp(b->facts->kind, "mdm") || !strcmp(b->facts->kind, "ade")) {
        return "ios_mdm";
    }
    return !strcmp(b->facts->kind, "agent") ? "android_app" : "eas";
}

static apr_status_t object_add(mdm_begin_t *b, const char **out)
{
    const char *uuid = mdm_uuid(b->ctx->pool), *folder, *name;
    json_t *detail;
    apr_status_t rv;

    if (!uuid) {
        return MDM_EUNAVAIL;
    }
    if ((rv = mdm_enroll_room(b->db, b->policy, b->person->id, 0)) != APR_SUCCESS
        || (rv = mdm_begin_place(b, &folder, &name)) != APR_SUCCESS) {
        return rv;
    }
    *out = uuid;
    rv = mdm_q_enroll_device_add(b->db, uuid, name, mdm_lower(b->ctx->pool, name), folder, b->person->id, mode_of(b),
                                 b->pending->level, b->pending->ownership, b->platform, mdm_text_or(b->facts->model, ""),
                                 mdm_text_or(b->facts->product, ""), b->serial, b->udid, b->imei,
                                 mdm_text_or(b->facts->os_version, ""), mdm_text_or(b->facts->build, ""), b->now, NULL);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    detail = mdm_json_own(b->ctx, json_pack("{s:s, s:i, s:s}", "policy", b->policy->policy_name, "rule", b->rule, "name", name));
    return mdm_device_event(b->db, uuid, b->pending->id, "enroll.named", detail);
}

/* ---------------------------------------------------------------- the whole */

/* What said its serial number for this enrolment is what comes (IOS-07). */
static apr_status_t same_device(mdm_begin_t *b)
{
    json_error_t bad;
    json_t *steps = mdm_json_own(b->ctx, json_loads(b->pending->step, 0, &bad));
    const char *udid = json_string_value(json_object_get(json_object_get(steps, "device"), "udid"));

    return udid && (!b->udid || strcasecmp(udid, b->udid) != 0)
               ? mdm_fail(b->ctx, MDM_EDENIED, "UDID", "This enrolment was begun by another device.") : APR_SUCCESS;
}

/* As matching compares them: people and devices write them in many ways (MAT-01). A device that does not tell is none that was named. */
static int is_named(const char *(*plain)(apr_pool_t *p, const char *text), apr_pool_t *p, const char *named, const char *told)
{
    const char *want = plain(p, named), *have = told ? plain(p, told) : NULL;

    return want && have ? !strcmp(want, have) : told && !strcasecmp(named, told);
}

/* May this enrolment still become a device, and this device? */
static apr_status_t admit(mdm_begin_t *b)
{
    const mdm_pending_t *e = b->pending;
    apr_status_t rv;

    if (!strcmp(e->state, "completed")) {
        /* The same device says its first message again: an answer of ours got lost, or it was restored. */
        mdm_q_enroll_live_record_t *row;

        rv = mdm_q_enroll_live_record(b->db, b->facts->kind, b->facts->native_id, &row);
        if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && (!row->device_id || !e->device_id
                                                          || strcmp(row->device_id, e->device_id) != 0))) {
            rv = mdm_fail(b->ctx, MDM_EDENIED, NULL, "This enrolment was used for another device.");
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    else if (!mdm_pending_usable(e) && strcmp(e->state, "issued") != 0 && strcmp(e->state, "authenticated") != 0) {
        return mdm_pending_refuse(b->ctx, e);
    }
    if (e->expected_serial && *e->expected_serial && !is_named(mdm_match_serial, b->ctx->pool, e->expected_serial, b->serial)) {
        return mdm_fail(b->ctx, MDM_EDENIED, "SerialNumber", "This enrolment was made for another device.");
    }
    if (e->expected_imei && *e->expected_imei && !is_named(mdm_match_imei, b->ctx->pool, e->expected_imei, b->imei)) {
        return mdm_fail(b->ctx, MDM_EDENIED, "IMEI", "This enrolment was made for another device.");
    }
    if ((rv = same_device(b)) != APR_SUCCESS) {
        return rv;
    }
    rv = e->person_id ? mdm_person_get(b->db, e->person_id, &b->person) : APR_NOTFOUND;
    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && b->person->disabled)) {
        return mdm_fail(b->ctx, MDM_EDENIED, NULL, "The person of this enrolment may not enrol devices any more.");
    }
    if (rv != APR_SUCCESS || (rv = mdm_enroll_policy(b->db, b->person, &b->policy)) != APR_SUCCESS
        || (rv = mdm_enroll_allowed(b->ctx, b->policy, b->platform, e->ownership, e->level)) != APR_SUCCESS) {
        return rv;
    }
    return mdm_enroll_system(b->ctx, b->policy, b->platform, mdm_some(b->facts->os_version));
}

static apr_status_t object_again(mdm_begin_t *b, const char *device_id)
{
    return mdm_q_enroll_device_again(b->db, device_id, b->person->id, mode_of(b), b->pending->level, b->pending->ownership,
                                     b->platform, mdm_text_or(b->facts->model, ""), mdm_text_or(b->facts->product, ""), b->serial,
                                     b->udid, b->imei, mdm_text_or(b->facts->os_version, ""), mdm_text_or(b->facts->build, ""));
}

/* The history of the device tells by which way it came; once, though it may say its first message again (IOS-08). */
static apr_status_t way_note(mdm_begin_t *b, const char *device_id)
{
    const mdm_pending_t *e = b->pending;
    json_t *detail;

    if (!*e->account || !strcmp(e->state, "authenticated") || !strcmp(e->state, "completed")) {
        return APR_SUCCESS;
    }
    detail = mdm_json_own(b->ctx, json_pack("{s:s, s:s}", "kind", e->account, "account", e->apple_account));
    return mdm_device_event(b->db, device_id, e->id, "enroll.account", detail);
}

apr_status_t mdm_enroll_begin(mdm_db_t *db, const mdm_pending_t *pending, const mdm_enroll_facts_t *facts,
                              const char **device_id, const char **record_id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_begin_t b;
    mdm_q_pending_step_get_t *locked;
    mdm_pending_t *fresh;
    const char *device;
    apr_status_t rv;

    if (!facts->kind || !facts->native_id || !*facts->native_id) {
        return mdm_fail(ctx, MDM_EINPUT, "UDID", "is missing");
    }
    /* What the caller read may be old: the row is held, then read again. */
    if ((rv = mdm_q_pending_step_get(db, pending->id, &locked)) != APR_SUCCESS
        || (rv = mdm_pending_get(db, pending->id, &fresh)) != APR_SUCCESS) {
        return rv;
    }
    b = mdm_begin_make(db, fresh, facts);
    if ((rv = admit(&b)) != APR_SUCCESS || (rv = object_find(&b, &device)) != APR_SUCCESS
        || (rv = device ? object_again(&b, device) : object_add(&b, &device)) != APR_SUCCESS
        || (rv = record_make(&b, device, record_id)) != APR_SUCCESS
        || (rv = mdm_q_record_url(db, *record_id, fresh->id, NULL)) != APR_SUCCESS
        || (rv = mdm_q_pending_set_device(db, fresh->id, device)) != APR_SUCCESS || (rv = way_note(&b, device)) != APR_SUCCESS
        || (rv = mdm_pending_step(db, fresh->id, "authenticated", NULL)) != APR_SUCCESS) {
        return rv;
    }
    *device_id = device;
    return mdm_change_add(db, "device", device);
}

apr_status_t mdm_enroll_preview(mdm_db_t *db, const mdm_pending_t *pending, const mdm_enroll_facts_t *facts)
{
    mdm_begin_t b = mdm_begin_make(db, pending, facts);
    const char *device, *folder, *name;
    apr_status_t rv = mdm_db_begin(db);

    b.preview = 1;
    if (rv == APR_SUCCESS && (rv = admit(&b)) == APR_SUCCESS && (rv = object_find(&b, &device)) == APR_SUCCESS && !device
        && (rv = mdm_enroll_room(db, b.policy, b.person->id, 0)) == APR_SUCCESS) {
        rv = mdm_begin_place(&b, &folder, &name);
    }
    mdm_db_rollback(db); /* another person's device is taken over when it is enrolled, and not before */
    return rv;
}

/* Its identity was read before: meanwhile the enrolment may have been reset, for another device, or cancelled. */
static apr_status_t still_under_way(mdm_db_t *db, const char *pending_id)
{
    mdm_q_pending_step_get_t *held;
    apr_status_t rv = mdm_q_pending_step_get(db, pending_id, &held);

    if (rv == APR_SUCCESS && strcmp(held->state, "authenticated") != 0 && strcmp(held->state, "completed") != 0) {
        rv = mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, NULL, "The enrolment of this device was reset or cancelled.");
    }
    return rv;
}

apr_status_t mdm_enroll_complete(mdm_db_t *db, const char *pending_id, const char *device_id, const char *record_id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_enroll_device_name_t *device;
    apr_status_t rv = mdm_q_enroll_device_name(db, device_id, &device);

    if (rv == APR_SUCCESS && pending_id) {
        rv = still_under_way(db, pending_id);
    }
    if (rv != APR_SUCCESS || (rv = mdm_q_enroll_record_done(db, record_id)) != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_enroll_device_active(db, device_id, mdm_now_ms(ctx));
    if (rv == APR_NOTFOUND) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "The device is not being enrolled.");
    }
    if (rv == APR_SUCCESS && pending_id) {
        rv = mdm_pending_step(db, pending_id, "completed", NULL);
    }
    if (rv == APR_SUCCESS && (rv = mdm_change_add(db, "device", device_id)) == APR_SUCCESS) {
        rv = mdm_audit(db, "device.enroll", "device", device_id, device->name, "done", NULL);
    }
    return rv;
}

apr_status_t mdm_enroll_refused(mdm_db_t *db, const mdm_pending_t *pending, const mdm_enroll_facts_t *facts, const char *why)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *sentence = mdm_clean(ctx->pool, why ? why : "", 300);
    apr_array_header_t *rows;
    json_t *detail;
    apr_status_t rv;

    if ((rv = mdm_pending_step(db, pending->id, "authenticated", *sentence ? sentence : "The enrolment was refused.")) != APR_SUCCESS
        || (rv = mdm_q_enroll_device_known(db, mdm_some(facts->udid), mdm_some(facts->serial), &rows)) != APR_SUCCESS) {
        return rv;
    }
    if (rows->nelts) {
        const mdm_q_enroll_device_known_t *d = &APR_ARRAY_IDX(rows, 0, mdm_q_enroll_device_known_t);

        rv = mdm_message(db, "device", d->id, MDM_MSG_WARNING, "enroll.refused",
                         mdm_said(ctx->pool, "said_enroll_refused", pending->person_login, sentence, NULL));
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    detail = mdm_json_own(ctx, json_pack("{s:s}", "reason", sentence));
    return mdm_audit(db, "device.enroll", "pending", pending->id, pending->person_login, "refused", detail);
}

apr_status_t mdm_enroll_refused_early(mdm_db_t *db, const mdm_pending_t *pending, const mdm_enroll_facts_t *facts)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *field = ctx->fail_field, *text = ctx->fail_text;
    apr_status_t rv = mdm_db_begin(db);

    if (rv == APR_SUCCESS) {
        rv = mdm_enroll_refused(db, pending, facts, text);
    }
    rv = mdm_db_end(db, rv);
    if (rv != APR_SUCCESS) {
        mdm_log(ctx, MDM_LOG_ERR, "MDM0480", rv, "the refusal of enrolment %s can't be noted", pending->id);
    }
    ctx->fail_field = field;
    ctx->fail_text = text;
    return MDM_EDENIED;
}
