/* Check-in messages (facts 3.3): enrolment, push tokens, leaving, bootstrap tokens. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_seal.h"
#include "domain/mdm_account.h"
#include "domain/mdm_apple_priv.h"
#include "domain/mdm_apple_user.h"
#include "domain/mdm_ca.h"
#include "domain/mdm_command.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_eas.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_identity.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_notice.h"
#include "domain/mdm_push.h"
#include "mdm_sql_gen.h"

#define MAX_TOKEN 200
#define MAX_SECRET 65536

typedef struct call_t {
    mdm_ctx_t *ctx;
    mdm_db_t *db;
    const mdm_apple_who_t *who;
    const mdm_plist_t *msg;
    const char *native;
    const char *user, *user_native; /* NULL: the device itself */
    mdm_q_apple_identity_t *id;
    mdm_apple_answer_t *a;
    mdm_pending_t *pending;    /* Authenticate of a fresh certificate */
    mdm_enroll_facts_t facts;
} call_t;

static int is(const char *a, const char *b)
{
    return a && !strcmp(a, b);
}

static const char *purpose(call_t *c, const char *column)
{
    return apr_pstrcat(c->ctx->pool, "source_record.", column, ":", c->id->record_id, NULL);
}

/* ---------------------------------------------------------------- shared with connect */

apr_status_t mdm_apple_native(mdm_ctx_t *ctx, const mdm_plist_t *msg, const char **out)
{
    const char *key = mdm_plist_get(msg, "EnrollmentID") ? "EnrollmentID" : "UDID";

    apr_status_t rv = mdm_plist_need_str(ctx, msg, key, MDM_APPLE_MAX_ID, out);

    return rv == APR_SUCCESS && strchr(*out, ':') ? mdm_fail(ctx, MDM_EINPUT, key, "The id must not have a colon.") : rv;
}

apr_status_t mdm_apple_mismatch(mdm_ctx_t *ctx, const char *native)
{
    mdm_log(ctx, MDM_LOG_INFO, "MDM0402", 0, "a certificate was used for another device: %s", mdm_mask(ctx->pool, native));
    return mdm_fail(ctx, MDM_EIDENTITY, "UDID", "The certificate belongs to another device.");
}

static void expelled(mdm_apple_answer_t *a)
{
    static const char text[] = "{\"code\":\"com.apple.unrecognized.device\","
                               "\"description\":\"This device is no longer managed by this server.\"}";

    a->status = 403;
    a->type = "application/json";
    a->body.data = (const unsigned char *)text;
    a->body.len = sizeof text - 1;
    a->decision = "expelled";
}

apr_status_t mdm_apple_standing(mdm_ctx_t *ctx, const mdm_apple_who_t *who, mdm_apple_answer_t *a)
{
    if (who->rec->kind != MDM_KIND_MDM) {
        return mdm_fail(ctx, MDM_EIDENTITY, NULL, "The certificate is not an Apple device's.");
    }
    if (who->rec->flags & MDM_DEVF_EXPELLED) {
        expelled(a);
        return APR_SUCCESS;
    }
    if ((who->rec->flags & MDM_DEVF_REVOKED) && strcmp(a->action, "CheckOut") != 0) {
        return mdm_fail(ctx, MDM_EIDENTITY, NULL, "The certificate is revoked.");
    }
    return APR_SUCCESS;
}

apr_status_t mdm_apple_login_again(mdm_ctx_t *ctx, mdm_apple_answer_t *a, apr_status_t rv)
{
    if (rv != MDM_EAUTH) {
        return rv;
    }
    a->status = 401;
    a->decision = "log in again";
    ctx->fail_text = NULL;
    mdm_log(ctx, MDM_LOG_INFO, "MDM0483", 0, "a device under account-driven enrolment does not show its access token: its person is asked to log in");
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- Authenticate */

static const char *word(call_t *c, const char *key)
{
    const char *s = mdm_plist_str(c->msg, key);

    s = s ? mdm_clean(c->ctx->pool, s, MDM_APPLE_MAX_ID) : NULL;
    return s && *s ? s : NULL;
}

static apr_status_t enroll_pending(call_t *c)
{
    apr_status_t rv = c->id->pending_id ? mdm_pending_get(c->db, c->id->pending_id, &c->pending) : APR_NOTFOUND;

    return APR_STATUS_IS_NOTFOUND(rv) ? mdm_fail(c->ctx, MDM_EIDENTITY, NULL, "The certificate belongs to no enrolment.") : rv;
}

/* A user enrolment has no identifier but its own; whatever else is said is not kept. A device enrolment has no such thing. */
static apr_status_t fit_account(call_t *c)
{
    int own = is(c->pending->account, MDM_ACCOUNT_BYOD), said = mdm_plist_get(c->msg, "EnrollmentID") != NULL;

    if (*c->pending->account && own != said) {
        return mdm_fail(c->ctx, MDM_EDENIED, "EnrollmentID", own ? "This enrolment is a user enrolment." : "This enrolment is one of a device.");
    }
    if (own) {
        c->facts.udid = c->facts.serial = c->facts.imei = NULL;
    }
    return *c->pending->account ? mdm_account_shown_first(c->db, c->pending, c->who->bearer) : APR_SUCCESS;
}

static void read_facts(call_t *c)
{
    c->facts = (mdm_enroll_facts_t){.kind = "mdm", .native_id = c->native, .udid = word(c, "UDID"),
                                    .serial = word(c, "SerialNumber"), .imei = word(c, "IMEI"),
                                    .product = word(c, "ProductName"), .model = word(c, "ModelName"),
                                    .os_version = word(c, "OSVersion"), .build = word(c, "BuildVersion"), .platform = "ios",
                                    .name = word(c, "DeviceName"), .topic = word(c, "Topic")};
}

static apr_status_t enroll_first(call_t *c)
{
    const char *device_id, *record_id;
    apr_status_t rv = enroll_pending(c);

    if (rv == APR_SUCCESS) {
        read_facts(c);
        rv = fit_account(c);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_enroll_begin(c->db, c->pending, &c->facts, &device_id, &record_id);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_apple_cert_bind(c->db, c->who->fingerprint, record_id);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_ca_revoke_record(c->db, record_id, c->who->fingerprint, "", "enrolled again");
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_apple_authenticated(c->db, record_id, c->facts.topic, 0, mdm_now_ms(c->ctx));
    }
    if (rv == APR_SUCCESS) {
        c->a->device_id = device_id;
        c->a->decision = "authenticated";
    }
    return rv;
}

/* The enrolment was refused: its person sees why on the portal. */
static void note_refusal(call_t *c)
{
    const char *field = c->ctx->fail_field, *text = c->ctx->fail_text;
    apr_status_t rv = mdm_db_begin(c->db);

    if (rv == APR_SUCCESS) {
        rv = mdm_enroll_refused(c->db, c->pending, &c->facts, text);
    }
    rv = mdm_db_end(c->db, rv);
    if (rv != APR_SUCCESS) {
        mdm_log(c->ctx, MDM_LOG_ERR, "MDM0403", rv, "the refusal of an enrolment can't be noted");
    }
    c->ctx->fail_field = field;
    c->ctx->fail_text = text;
}

static apr_status_t authenticate_fresh(call_t *c)
{
    int taken = 0;
    apr_status_t rv = mdm_db_begin(c->db);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_apple_cert_take(c->db, c->who->fingerprint, mdm_now_ms(c->ctx), &taken);
    }
    if (rv == APR_SUCCESS && !taken) {
        mdm_db_rollback(c->db);
        return APR_EAGAIN; /* the same message came twice at once, and the other one was first */
    }
    if (rv == APR_SUCCESS) {
        rv = enroll_first(c);
    }
    if (rv == APR_SUCCESS) {
        return mdm_db_commit(c->db);
    }
    mdm_db_rollback(c->db);
    if (rv == MDM_ECONFLICT) {
        rv = MDM_EDENIED; /* a device can't do anything about either */
    }
    if (rv == MDM_EDENIED && c->pending) {
        note_refusal(c);
    }
    return rv;
}

static apr_status_t authenticate_again(call_t *c)
{
    const mdm_q_apple_identity_t *id = c->id;
    apr_status_t rv;

    if (is(id->state, "leaving")) {
        return mdm_fail(c->ctx, MDM_EDENIED, NULL, "The device is being unenrolled.");
    }
    rv = mdm_db_begin(c->db);
    if (rv == APR_SUCCESS) {
        rv = mdm_q_apple_authenticated(c->db, id->record_id, word(c, "Topic"), 1, mdm_now_ms(c->ctx));
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_command_clear(c->db, id->record_id);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_apple_users_end(c->db, id->device_id);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_apple_device_os(c->db, id->device_id, word(c, "OSVersion"), word(c, "BuildVersion"),
                                   word(c, "ProductName"), NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_device_event(c->db, id->device_id, NULL, "enroll.again", NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_change_add(c->db, "device", id->device_id);
    }
    c->a->decision = "authenticated again";
    return mdm_db_end(c->db, rv);
}

static apr_status_t check_identity(call_t *c);

static apr_status_t do_authenticate(call_t *c)
{
    const char *topic;
    apr_status_t rv = mdm_plist_need_str(c->ctx, c->msg, "Topic", MDM_APPLE_MAX_ID, &topic);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = APR_EAGAIN;
    for (int tries = 0; APR_STATUS_IS_EAGAIN(rv) && tries < 2; tries++) {
        if (tries) {
            rv = check_identity(c);
            if (rv != APR_SUCCESS || *c->a->decision) {
                return rv;
            }
        }
        rv = c->id->record_id ? authenticate_again(c) : authenticate_fresh(c);
    }
    return APR_STATUS_IS_EAGAIN(rv) ? MDM_EUNAVAIL : rv;
}

/* ---------------------------------------------------------------- TokenUpdate */

typedef struct token_t {
    mdm_apple_token_t t;
    const mdm_blob_t *unlock; /* NULL: not given, or the same as the stored one */
} token_t;

/* Data that may be missing (NULL), but is nothing else and not too long. */
static apr_status_t secret_data(call_t *c, const char *key, const mdm_blob_t **out)
{
    const mdm_plist_t *node = mdm_plist_get(c->msg, key);

    *out = mdm_plist_data(c->msg, key);
    if (node && (!*out || (*out)->len > MAX_SECRET)) {
        return mdm_fail(c->ctx, MDM_EINPUT, key, "It must be data of at most %d bytes.", MAX_SECRET);
    }
    return APR_SUCCESS;
}

static apr_status_t read_token(call_t *c, token_t *t)
{
    const mdm_blob_t *data = mdm_plist_data(c->msg, "Token");
    apr_status_t rv = mdm_plist_need_str(c->ctx, c->msg, "Topic", MDM_APPLE_MAX_ID, &t->t.topic);

    if (rv == APR_SUCCESS) {
        rv = mdm_plist_need_str(c->ctx, c->msg, "PushMagic", MDM_APPLE_MAX_ID, &t->t.magic);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!data || data->len == 0 || data->len > MAX_TOKEN) {
        return mdm_fail(c->ctx, MDM_EINPUT, "Token", "The push token must have 1 to %d bytes.", MAX_TOKEN);
    }
    t->t.token = mdm_hex(c->ctx->pool, data->data, data->len);
    t->t.awaiting = mdm_plist_bool(c->msg, "AwaitingConfiguration", 0);
    return secret_data(c, "UnlockToken", &t->unlock);
}

/* An unlock token that we have already is not stored again: sealing it anew would be a write each time (PRF-03). */
static void drop_known_unlock(call_t *c, token_t *t)
{
    mdm_blob_t old;

    if (t->unlock && t->unlock->len == 0) {
        t->unlock = NULL;
    }
    if (!t->unlock || !c->id->unlock_token ||
        mdm_unseal(c->ctx, purpose(c, "unlock_token"), c->id->unlock_token, &old) != APR_SUCCESS) {
        return;
    }
    if (old.len == t->unlock->len && mdm_bytes_equal(old.data, t->unlock->data, old.len)) {
        t->unlock = NULL;
    }
}

static int unchanged(const mdm_q_apple_identity_t *id, const token_t *t)
{
    return (is(id->state, "enrolled") || is(id->state, "leaving")) && id->push_ok == 1 && is(id->topic, t->t.topic) &&
           is(id->push_token, t->t.token) && is(id->push_magic, t->t.magic) && id->awaiting == t->t.awaiting && !t->unlock;
}

/* The channel is up: the device object becomes active and is asked what it is. */
static apr_status_t came_up(call_t *c)
{
    const mdm_q_apple_identity_t *id = c->id;
    apr_status_t rv;

    if (id->pending_id && !is(id->pending_state, "completed")) {
        rv = mdm_enroll_complete(c->db, id->pending_id, id->device_id, id->record_id);
    } else {
        rv = mdm_q_apple_active(c->db, id->device_id, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_eas_match_apple(c->db, id->record_id, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_command_refresh(c->db, id->record_id);
    }
    c->a->decision = "enrolled";
    c->a->wake = 1;
    return rv;
}

static apr_status_t store_token(call_t *c, const token_t *t, const char *sealed)
{
    const mdm_q_apple_identity_t *id = c->id;
    mdm_q_apple_token_t *row;
    apr_status_t rv = mdm_db_begin(c->db);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_apple_token(c->db, id->record_id, t->t.topic, t->t.token, t->t.magic, sealed, t->t.awaiting, mdm_now_ms(c->ctx), &row);
    }
    c->a->decision = "token stored";
    if (rv == APR_SUCCESS && !is(id->state, "enrolled") && !is(id->state, "leaving")) {
        rv = came_up(c);
    } else if (rv == APR_SUCCESS && row->queued > 0) {
        rv = mdm_push_wake(c->db, id->record_id, 0);
        c->a->wake = 1;
    }
    if (rv == APR_SUCCESS && id->device_id) {
        rv = mdm_change_add(c->db, "device", id->device_id);
    }
    return mdm_db_end(c->db, rv);
}

static apr_status_t user_token(call_t *c, const mdm_apple_token_t *t)
{
    int news;
    apr_status_t rv = mdm_apple_user_token(c->db, c->id->record_id, c->id->device_id, c->user, c->user_native, c->msg, t, &news,
                                           &c->a->wake);

    c->a->decision = news ? "user token stored" : "unchanged";
    return rv;
}

static apr_status_t do_token(call_t *c)
{
    token_t t;
    const char *sealed = NULL;
    apr_status_t rv = read_token(c, &t);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (c->user) {
        return user_token(c, &t.t);
    }
    drop_known_unlock(c, &t);
    if (unchanged(c->id, &t)) {
        c->a->decision = "unchanged";
        return APR_SUCCESS;
    }
    if (t.unlock) {
        rv = mdm_seal(c->ctx, purpose(c, "unlock_token"), t.unlock->data, t.unlock->len, &sealed);
    }
    return rv == APR_SUCCESS ? store_token(c, &t, sealed) : rv;
}

/* ---------------------------------------------------------------- leaving */

static apr_status_t device_after(mdm_db_t *db, const mdm_q_apple_record_t *r, const char *record_id, const char *why)
{
    apr_status_t rv = mdm_change_add(db, "device", r->device_id);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (is(r->device_state, "wipe_pending")) {
        rv = mdm_q_apple_cert_unlink(db, record_id, NULL);
        return rv == APR_SUCCESS ? mdm_q_apple_device_delete(db, r->device_id, NULL) : rv;
    }
    if (is(r->device_state, "retired") || is(r->device_state, "blocked")) {
        rv = mdm_q_apple_device_left(db, r->device_id, r->device_state, "unknown", NULL);
    } else {
        rv = mdm_q_apple_device_left(db, r->device_id, "removed", "", NULL);
    }
    /* Mail came with the management: who takes that away has to enrol it as mail alone. */
    return rv == APR_SUCCESS ? mdm_eas_leave(db, r->device_id, why) : rv;
}

apr_status_t mdm_apple_leave(mdm_db_t *db, const char *record_id, const char *why)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_apple_record_t *r;
    json_t *detail;
    apr_status_t rv = mdm_q_apple_record(db, record_id, &r);

    if (rv == APR_SUCCESS) {
        rv = mdm_ca_revoke_record(db, record_id, "", "", why);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_command_clear(db, record_id);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_apple_left(db, record_id, mdm_now_ms(ctx));
    }
    if (rv == APR_SUCCESS && !r->device_id) { /* a wipe that outlived its object */
        rv = mdm_q_apple_cert_unlink(db, record_id, NULL);
        return rv == APR_SUCCESS ? mdm_q_leave_forget(db, record_id, NULL) : rv;
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_apple_users_end(db, r->device_id);
    if (rv == APR_SUCCESS) {
        rv = mdm_delivery_left(db, r->device_id);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    detail = json_pack("{s:s, s:s}", "why", why, "was", r->device_state ? r->device_state : "");
    rv = mdm_audit(db, "device.left", "device", r->device_id, r->device_name ? r->device_name : "", "done", detail);
    if (rv == APR_SUCCESS) {
        rv = mdm_device_event(db, r->device_id, NULL, is(why, "checkout") ? "checkout" : "unenroll.done", detail);
    }
    json_decref(detail);
    if (rv == APR_SUCCESS) {
        const mdm_notice_t told = {.event = "device_unenrolled", .key = apr_pstrcat(ctx->pool, "device_unenrolled:", r->device_id, NULL),
                                   .device_id = r->device_id};
        rv = mdm_notice_add(db, &told);
    }
    return rv == APR_SUCCESS ? device_after(db, r, record_id, why) : rv;
}

static apr_status_t do_checkout(call_t *c)
{
    apr_status_t rv;

    c->a->decision = "left";
    if (c->user) {
        return mdm_apple_user_leave(c->db, c->id->device_id, c->user_native);
    }
    rv = mdm_db_begin(c->db);
    if (rv == APR_SUCCESS) {
        rv = mdm_apple_leave(c->db, c->id->record_id, "checkout");
    }
    return mdm_db_end(c->db, rv);
}

/* ---------------------------------------------------------------- bootstrap token */

static apr_status_t do_set_bootstrap(call_t *c)
{
    const mdm_blob_t *token;
    const char *sealed = NULL;
    apr_status_t rv = secret_data(c, "BootstrapToken", &token);

    if (rv == APR_SUCCESS && token && token->len) {
        rv = mdm_seal(c->ctx, purpose(c, "bootstrap_token"), token->data, token->len, &sealed);
    }
    c->a->decision = sealed ? "token stored" : "token deleted";
    return rv == APR_SUCCESS ? mdm_q_apple_bootstrap(c->db, c->id->record_id, sealed) : rv;
}

static apr_status_t do_get_bootstrap(call_t *c)
{
    mdm_plist_t *dict = mdm_plist_dict(c->ctx->pool);
    mdm_blob_t token;
    apr_status_t rv = APR_SUCCESS;

    c->a->decision = "no token";
    if (c->id->bootstrap_token) {
        rv = mdm_unseal(c->ctx, purpose(c, "bootstrap_token"), c->id->bootstrap_token, &token);
        if (rv == APR_SUCCESS) {
            mdm_plist_add_data(c->ctx->pool, dict, "BootstrapToken", token.data, token.len);
            c->a->decision = "token given";
        }
    }
    c->a->type = "application/xml";
    return rv == APR_SUCCESS ? mdm_plist_write(c->ctx->pool, dict, &c->a->body) : rv;
}

static apr_status_t do_get_token(call_t *c)
{
    return mdm_apple_get_token(c->ctx, c->msg);
}

static apr_status_t do_declarative(call_t *c)
{
    return mdm_apple_declarative(c->ctx, c->msg, c->a);
}

static apr_status_t do_return_to_service(call_t *c)
{
    return mdm_apple_return_to_service(c->ctx, c->a);
}

/* ---------------------------------------------------------------- dispatch */

static const struct {
    const char *type;
    apr_status_t (*run)(call_t *c);
    int fresh; /* allowed before the certificate is bound */
    int user;  /* said on a user channel, too */
} messages[] = {
    {"Authenticate", do_authenticate, 1, 0},
    {"TokenUpdate", do_token, 0, 1},
    {"CheckOut", do_checkout, 0, 1},
    {"SetBootstrapToken", do_set_bootstrap, 0, 0},
    {"GetBootstrapToken", do_get_bootstrap, 0, 0},
    {"GetToken", do_get_token, 0, 1},
    {"DeclarativeManagement", do_declarative, 0, 1},
    {"ReturnToService", do_return_to_service, 0, 0},
};

/* Asks the database who the certificate is; the cache may be a second old, a check-in is rare and changes things. */
static apr_status_t check_identity(call_t *c)
{
    apr_status_t rv = mdm_q_apple_identity(c->db, c->who->fingerprint, mdm_now_ms(c->ctx) - MDM_IDENTITY_GRACE_MS, &c->id);

    if (APR_STATUS_IS_NOTFOUND(rv)) {
        return mdm_fail(c->ctx, MDM_EIDENTITY, NULL, "The certificate was not issued by this server.");
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!c->id->record_id && is(c->id->status, "revoked") && is(c->a->action, "CheckOut")) {
        c->a->decision = "left already"; /* its object was deleted with the confirmation of its removal */
        return APR_SUCCESS;
    }
    if (!c->id->record_id) {
        return is(c->id->status, "issued") ? APR_SUCCESS
                                           : mdm_fail(c->ctx, MDM_EIDENTITY, NULL, "The certificate is %s.", c->id->status);
    }
    if (!is(c->id->native_id, c->native)) {
        return mdm_apple_mismatch(c->ctx, c->native);
    }
    if (c->id->expelled) {
        expelled(c->a);
        return APR_SUCCESS;
    }
    if (!c->id->live && is(c->a->action, "CheckOut")) {
        c->a->decision = "left already"; /* said again, or after its removal was confirmed */
        return APR_SUCCESS;
    }
    /* "issued" and bound: a renewed identity, accepted beside the old one (IOS-06). */
    if ((!is(c->id->status, "active") && !is(c->id->status, "issued")) || !c->id->live ||
        (!c->id->device_id && !is(c->id->state, "leaving"))) { /* a wipe outlives its object */
        return mdm_fail(c->ctx, MDM_EIDENTITY, NULL, "The certificate is not in use any more.");
    }
    c->a->device_id = c->id->device_id;
    if (!is(c->id->state, "leaving") && !is(c->a->action, "CheckOut")) { /* whoever goes is not held up */
        rv = mdm_account_shown(c->db, c->id->record_id, c->id->bearer, c->who->bearer);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return is(c->id->slot, "next") ? mdm_identity_promote(c->db, c->who->fingerprint) : APR_SUCCESS;
}

static apr_status_t run(call_t *c, size_t i)
{
    apr_status_t rv = mdm_db_open(c->ctx, &c->db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = check_identity(c);
    if (rv == APR_SUCCESS && c->a->status != 403 && !*c->a->decision) {
        if (!c->id->record_id && !messages[i].fresh) {
            rv = mdm_fail(c->ctx, MDM_EIDENTITY, NULL, "The device has not authenticated yet.");
        } else {
            rv = messages[i].run(c);
        }
    }
    mdm_db_close(c->db); /* rolls back what was not committed */
    return rv;
}

static apr_status_t dispatch(call_t *c)
{
    if (!strcmp(c->a->action, "UserAuthenticate")) {
        c->a->status = 410; /* users of a directory that macOS asks about have no channel here; local and managed ones ask without it */
        c->a->decision = "declined";
        return APR_SUCCESS;
    }
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        if (strcmp(c->a->action, messages[i].type) != 0) {
            continue;
        }
        if (c->user && !messages[i].user) {
            return mdm_fail(c->ctx, MDM_EINPUT, "UserID", "%s is said by devices only.", messages[i].type);
        }
        return run(c, i);
    }
    return mdm_fail(c->ctx, MDM_EINPUT, "MessageType", "The message type is unknown.");
}

apr_status_t mdm_apple_checkin(mdm_ctx_t *ctx, const mdm_apple_who_t *who, const mdm_blob_t *body, mdm_apple_answer_t **out)
{
    mdm_plist_t *msg;
    mdm_apple_answer_t *a = apr_pcalloc(ctx->pool, sizeof *a);
    call_t c = {.ctx = ctx, .who = who, .a = a};
    apr_status_t rv = mdm_plist_parse(ctx, body->data, body->len, &msg);

    *out = a;
    a->status = 200;
    a->action = a->decision = "";
    if (rv == APR_SUCCESS) {
        rv = mdm_plist_need_str(ctx, msg, "MessageType", 64, &a->action);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_apple_native(ctx, msg, &c.native);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_apple_user(ctx, msg, c.native, &c.user, &c.user_native);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_apple_standing(ctx, who, a);
    }
    if (rv != APR_SUCCESS || a->status == 403) {
        return rv;
    }
    /* A revoked certificate gets here with a CheckOut only, and has no native id in the cache: the database judges it. */
    if ((who->rec->flags & (MDM_DEVF_LINKED | MDM_DEVF_REVOKED)) == MDM_DEVF_LINKED && who->is_native &&
        !who->is_native(who->rec, c.native)) {
        return mdm_apple_mismatch(ctx, c.native);
    }
    c.msg = msg;
    return mdm_apple_login_again(ctx, a, dispatch(&c));
}
