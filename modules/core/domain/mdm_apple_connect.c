/* Connect messages (facts 3.4): the device asks for work and reports results. */
#include <stddef.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_account.h"
#include "domain/mdm_apple_inventory.h"
#include "domain/mdm_apple_priv.h"
#include "domain/mdm_apple_user.h"
#include "domain/mdm_command.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_identity.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_push.h"
#include "mdm_sql_gen.h"

#define MAX_CHAIN 10
#define MAX_ERROR_TEXT 500
#define MAX_USER_PROFILES 64
#define NOTNOW_MS (10 * 60 * 1000LL)
#define NOTNOW_CAP_MS (12 * 3600 * 1000LL)
#define UUID_LEN 36

typedef struct call_t {
    mdm_ctx_t *ctx;
    mdm_db_t *db;
    const mdm_apple_who_t *who;
    const mdm_plist_t *msg; /* NULL: the message could not be read */
    const char *record_id, *device_id;
    int user;         /* a user channel: its answers say nothing of the device */
    int queued;       /* something may wait */
    const char *uuid; /* of the command it reports; "" if there is none that could be ours */
    int asked;        /* its answer made us ask something more */
    int longer;       /* the message is longer than we read */
    mdm_apple_answer_t *a;
} call_t;

static void give(call_t *c, const mdm_command_offer_t *offer)
{
    if (!offer) {
        c->a->decision = "nothing";
        return;
    }
    c->a->type = "application/xml";
    c->a->body = offer->body;
    c->a->decision = apr_pstrcat(c->ctx->pool, "command ", offer->request_type, NULL);
}

/* The queue was seen empty: this node's cache asks again, and from then on Idle costs no SQL. Others find out when they are asked, or
 * within a minute; whoever queues something tells them all. */
static void seen_empty(call_t *c)
{
    const mdm_env_t *env = c->ctx->env;

    if (env->changed) {
        env->changed(env->changed_baton, c->user ? "device" : "cert", c->user ? c->device_id : c->who->fingerprint);
    }
}

/* ---------------------------------------------------------------- Idle */

static apr_status_t do_idle(call_t *c)
{
    mdm_command_offer_t *offer = NULL;
    apr_status_t rv = mdm_command_next(c->db, c->record_id, 0, &offer);

    if (APR_STATUS_IS_NOTFOUND(rv)) {
        offer = NULL;
        seen_empty(c);
        rv = APR_SUCCESS;
    }
    give(c, offer);
    return rv;
}

/* ---------------------------------------------------------------- results */

static json_t *chain_link(mdm_ctx_t *ctx, const mdm_plist_t *e)
{
    const char *domain = mdm_plist_str(e, "ErrorDomain"), *text = mdm_plist_str(e, "USEnglishDescription");

    text = text ? text : mdm_plist_str(e, "LocalizedDescription");
    return json_pack("{s:I, s:s, s:s}", "code", (json_int_t)mdm_plist_int(e, "ErrorCode", 0), "domain",
                     domain ? mdm_clean(ctx->pool, domain, MAX_ERROR_TEXT) : "", "text",
                     text ? mdm_clean(ctx->pool, text, MAX_ERROR_TEXT) : "");
}

static const char *error_text(mdm_ctx_t *ctx, const mdm_plist_t *msg)
{
    const mdm_plist_t *chain = mdm_plist_get(msg, "ErrorChain");
    json_t *list = json_array(), *j;
    const char *out;

    if (chain && chain->type == MDM_PL_ARRAY) {
        for (const mdm_plist_t *e = chain->child; e && json_array_size(list) < MAX_CHAIN; e = e->next) {
            if (e->type == MDM_PL_DICT) {
                json_array_append_new(list, chain_link(ctx, e));
            }
        }
    }
    j = json_pack("{s:o}", "chain", list);
    out = mdm_json_text(ctx->pool, j);
    json_decref(j);
    return out;
}

static apr_status_t absorb(call_t *c, const mdm_command_done_t *done)
{
    apr_status_t rv = mdm_apple_absorb(c->db, c->device_id, done->request_type, c->msg);

    if (rv != MDM_EINPUT && rv != MDM_ETOOBIG) {
        return rv;
    }
    mdm_log(c->ctx, MDM_LOG_INFO, "MDM0404", 0, "the answer to %s is of no use: %s", done->request_type,
            c->ctx->fail_text ? c->ctx->fail_text : "");
    return mdm_command_fail(c->db, c->record_id, done->id, c->ctx->fail_text ? c->ctx->fail_text : "The answer is of no use.");
}

static apr_status_t unknown_result(const call_t *c)
{
    mdm_log(c->ctx, MDM_LOG_INFO, "MDM0405", 0, "a result for a command that is not open was ignored: %s",
            *c->uuid ? c->uuid : "no usable CommandUUID");
    return APR_SUCCESS;
}

/* It may have carried a policy. A result that comes again finds what a cut left undone. */
static apr_status_t policy_done(call_t *c, const mdm_command_said_t *said)
{
    return *said->id && !c->user ? mdm_delivery_answered(c->db, c->record_id, said->id, said->state, said->error, &c->asked) : APR_SUCCESS;
}

static apr_status_t finish(call_t *c, const mdm_command_done_t *done, const mdm_command_said_t *said)
{
    int ok = !strcmp(said->state, "acknowledged");
    apr_status_t rv;

    if (!done) {
        unknown_result(c);
        return policy_done(c, said);
    }
    if (done->leaving) {
        return ok ? mdm_apple_leave(c->db, c->record_id, "confirmed") : mdm_leave_refused(c->db, c->record_id, c->device_id, done);
    }
    if (done->coalesce_key && !strncmp(done->coalesce_key, MDM_DELIVERY_KEY, strlen(MDM_DELIVERY_KEY))) {
        rv = policy_done(c, said);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return ok && c->device_id && !c->user ? absorb(c, done) : APR_SUCCESS;
}

static apr_status_t in_transaction(call_t *c, const mdm_command_said_t *said, mdm_command_done_t **done,
                                    mdm_command_offer_t **next)
{
    apr_status_t rv = mdm_db_begin(c->db);

    if (rv == APR_SUCCESS) {
        rv = mdm_command_answer(c->db, c->record_id, said, done, next);
    }
    if (rv == APR_SUCCESS) {
        rv = finish(c, *done, said);
    }
    return mdm_db_end(c->db, rv);
}

/* What a user's channel says of profiles is no inventory of the device: names stay with the command. */
static const char *result_kept(call_t *c)
{
    const mdm_plist_t *list = c->msg ? mdm_plist_get(c->msg, "ProfileList") : NULL;
    json_t *names;

    if (!c->user || !list || list->type != MDM_PL_ARRAY) {
        return c->msg ? mdm_apple_result(c->ctx, c->msg) : NULL;
    }
    names = mdm_json_own(c->ctx, json_array());
    for (const mdm_plist_t *p = list->child; p && json_array_size(names) < MAX_USER_PROFILES; p = p->next) {
        int dict = p->type == MDM_PL_DICT;
        const char *id = dict ? mdm_plist_str(p, "PayloadIdentifier") : NULL, *name = dict ? mdm_plist_str(p, "PayloadDisplayName") : NULL;

        if (id && *id) {
            json_array_append_new(names, json_pack("{s:s, s:s}", "identifier", mdm_clean(c->ctx->pool, id, MAX_ERROR_TEXT), "name",
                                                   name ? mdm_clean(c->ctx->pool, name, MAX_ERROR_TEXT) : ""));
        }
    }
    return mdm_json_text(c->ctx->pool, mdm_json_own(c->ctx, json_pack("{s:O}", "profiles", names)));
}

/* An answer that brings nothing to store elsewhere is one statement and needs no transaction around it. A removal or wipe is not ended
 * that way: what is not found is looked for again, in a transaction. */
static apr_status_t result(call_t *c, const char *state, const char *error)
{
    mdm_command_said_t said = {c->uuid, state, error, result_kept(c), 0};
    int plain = c->msg && !mdm_apple_inventory_in(c->msg) && !(c->who->rec->flags & MDM_DEVF_LEAVING);
    mdm_command_done_t *done = NULL;
    mdm_command_offer_t *next = NULL;
    apr_status_t rv = plain ? mdm_command_answer(c->db, c->record_id, &said, &done, &next) : APR_SUCCESS;

    if (rv == APR_SUCCESS && done) {
        rv = finish(c, done, &said);
    } else if (rv == APR_SUCCESS) {
        said.leaving = 1;
        rv = in_transaction(c, &said, &done, &next);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!next && c->asked) {
        rv = mdm_command_next(c->db, c->record_id, 1, &next);
        next = rv == APR_SUCCESS ? next : NULL;
        rv = APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
    }
    if (rv == APR_SUCCESS && !next) {
        seen_empty(c);
    }
    give(c, done && done->leaving ? NULL : next);
    return rv;
}

static apr_status_t do_acknowledged(call_t *c)
{
    return result(c, "acknowledged", NULL);
}

static apr_status_t do_error(call_t *c)
{
    return result(c, "error", error_text(c->ctx, c->msg));
}

static apr_status_t do_format_error(call_t *c)
{
    return result(c, "format_error", error_text(c->ctx, c->msg));
}

/* The device does not remember the command, and asks again by itself only if this was its last word: it is pushed later. */
static apr_status_t do_notnow(call_t *c)
{
    mdm_command_offer_t *next = NULL;
    int offers = 0, known = 1;
    apr_status_t rv = mdm_db_begin(c->db);

    if (rv == APR_SUCCESS) {
        rv = mdm_command_notnow(c->db, c->record_id, c->uuid, &offers);
    }
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        rv = unknown_result(c);
        known = 0;
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_command_next(c->db, c->record_id, 1, &next);
        if (APR_STATUS_IS_NOTFOUND(rv)) {
            next = NULL;
            rv = APR_SUCCESS;
        }
    }
    if (rv == APR_SUCCESS && known) { /* behind the commands: the order of locks (sql/queries/delivery.sql) */
        rv = mdm_push_wake(c->db, c->record_id, mdm_backoff_ms(offers > 1 ? offers - 1 : 0, NOTNOW_MS, NOTNOW_CAP_MS));
    }
    give(c, next);
    return mdm_db_end(c->db, rv);
}

static const struct {
    const char *status;
    apr_status_t (*run)(call_t *c);
    int needs_uuid;
} statuses[] = {
    {"Idle", do_idle, 0},
    {"Acknowledged", do_acknowledged, 1},
    {"Error", do_error, 1},
    {"CommandFormatError", do_format_error, 1},
    {"NotNow", do_notnow, 1},
};

/* ---------------------------------------------------------------- who, what */

/* Lower case, as our ids are; "" if it can't be one. */
static const char *our_uuid(mdm_ctx_t *ctx, const char *s)
{
    s = s && strlen(s) == UUID_LEN ? mdm_lower(ctx->pool, s) : "";
    return mdm_is_uuid(s) ? s : "";
}

static apr_status_t who_is_it(call_t *c, const char *native)
{
    static const unsigned char none[16];
    const mdm_devrec_t *rec = c->who->rec;
    mdm_q_apple_record_t *row;
    apr_status_t rv;

    if (!(rec->flags & MDM_DEVF_LINKED)) {
        return mdm_fail(c->ctx, MDM_EIDENTITY, NULL, "The device has not authenticated yet.");
    }
    c->record_id = mdm_uuid_text(c->ctx->pool, rec->record);
    if (memcmp(rec->device, none, sizeof none) != 0) { /* a wipe outlives its object */
        c->device_id = c->a->device_id = mdm_uuid_text(c->ctx->pool, rec->device);
    }
    if (!native) {
        return APR_SUCCESS; /* an unreadable message: the certificate alone says whose queue it is */
    }
    if (c->who->is_native) {
        return c->who->is_native(rec, native) ? APR_SUCCESS : mdm_apple_mismatch(c->ctx, native);
    }
    rv = mdm_db_open(c->ctx, &c->db);
    if (rv == APR_SUCCESS) {
        rv = mdm_q_apple_record(c->db, c->record_id, &row);
        mdm_db_close(c->db);
    }
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        return mdm_fail(c->ctx, MDM_EIDENTITY, NULL, "The device is not enrolled.");
    }
    return rv == APR_SUCCESS && strcmp(row->native_id, native) != 0 ? mdm_apple_mismatch(c->ctx, native) : rv;
}

/* What the certificate's device shows beside it; one that leaves has only to go. */
static apr_status_t shown(const call_t *c)
{
    return c->who->rec->flags & MDM_DEVF_LEAVING ? APR_SUCCESS : mdm_account_bearer(c->ctx, c->who->rec, c->who->bearer);
}

static apr_status_t run(call_t *c, apr_status_t (*fn)(call_t *c))
{
    apr_status_t rv = mdm_db_open(c->ctx, &c->db);

    if (rv == APR_SUCCESS) {
        rv = fn(c);
        mdm_db_close(c->db); /* rolls back what was not committed */
    }
    return rv;
}

/* The user's record instead of the device's. APR_NOTFOUND: the channel is not known (any more). */
static apr_status_t find_user(call_t *c, const char *native)
{
    mdm_q_apple_user_t *row = NULL;
    mdm_devrec_t rec;
    apr_status_t rv;

    c->user = 1;
    if (c->who->by_native) {
        rv = c->who->by_native(c->ctx, native, &rec);
        if (rv == APR_SUCCESS && memcmp(rec.device, c->who->rec->device, sizeof rec.device) != 0) {
            return mdm_apple_mismatch(c->ctx, native);
        }
        if (rv == APR_SUCCESS) {
            c->record_id = mdm_uuid_text(c->ctx->pool, rec.record);
            c->queued = (rec.flags & MDM_DEVF_QUEUED) != 0;
        }
        return rv;
    }
    rv = mdm_db_open(c->ctx, &c->db);
    if (rv == APR_SUCCESS) {
        rv = mdm_q_apple_user(c->db, native, c->device_id, &row);
        mdm_db_close(c->db);
    }
    if (rv == APR_SUCCESS) {
        c->record_id = row->id;
        c->queued = row->queued > 0;
    }
    return rv;
}

static apr_status_t do_promote(call_t *c)
{
    return mdm_identity_promote(c->db, c->who->fingerprint);
}

static apr_status_t dispatch(call_t *c, const char *status)
{
    const char *uuid = mdm_plist_str(c->msg, "CommandUUID");

    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (strcmp(status, statuses[i].status) != 0) {
            continue;
        }
        if (statuses[i].needs_uuid && !uuid) {
            return mdm_fail(c->ctx, MDM_EINPUT, "CommandUUID", "A result needs its CommandUUID.");
        }
        if (!statuses[i].needs_uuid && !c->queued) {
            c->a->decision = "nothing";
            return APR_SUCCESS; /* PRF-01: no SQL */
        }
        c->uuid = our_uuid(c->ctx, uuid);
        return run(c, statuses[i].run);
    }
    return mdm_fail(c->ctx, MDM_EINPUT, "Status", "The status is unknown.");
}

/* ---------------------------------------------------------------- unreadable messages */

/* The command that a message without a name of one must be the answer to: a device does one at a time. */
static apr_status_t sent_last(call_t *c)
{
    mdm_q_command_sent_last_t *row;
    apr_status_t rv = mdm_q_command_sent_last(c->db, c->record_id, &row);

    if (rv == APR_SUCCESS) {
        c->uuid = row->id;
    }
    return rv;
}

static apr_status_t do_unreadable(call_t *c)
{
    json_t *j = json_pack("{s:s}", "reason", c->longer ? "The device's answer is too long." : "The device's answer could not be read.");
    const char *error = mdm_json_text(c->ctx->pool, j);
    mdm_q_apple_user_of_command_t *row;
    apr_status_t rv = *c->uuid ? APR_SUCCESS : sent_last(c);

    json_decref(j);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = c->device_id ? mdm_q_apple_user_of_command(c->db, c->uuid, c->device_id, &row) : APR_NOTFOUND;
    if (rv == APR_SUCCESS) { /* one of its users said it */
        c->record_id = row->id;
        c->user = 1;
    }
    return rv == APR_SUCCESS || APR_STATUS_IS_NOTFOUND(rv) ? result(c, "error", error) : rv;
}

/* A device repeats its result until it is accepted. If it is one that can't be understood, its queue would stand still (R38): so
 * the command that it names, if it is an open one of this certificate's record, is ended as failed, and the next one is given; said
 * again it is taken, too, since the answer may have been lost.
 * native: what it calls itself, NULL if that can't be read: then the certificate alone says who it is. */
static apr_status_t unusable(call_t *c, const char *uuid, const char *native, apr_status_t rv)
{
    const char *field = c->ctx->fail_field, *text = c->ctx->fail_text;
    apr_status_t did = APR_NOTFOUND;

    c->uuid = our_uuid(c->ctx, uuid);
    c->msg = NULL;
    c->user = 0;
    if ((*c->uuid || c->longer) && who_is_it(c, native) == APR_SUCCESS && shown(c) == APR_SUCCESS) {
        did = run(c, do_unreadable);
    }
    if (did == APR_SUCCESS) {
        c->a->action = c->longer ? "too long" : "unreadable";
        mdm_log(c->ctx, MDM_LOG_INFO, "MDM0406", 0, "the answer to command %s can't be understood, the command has failed: %s", c->uuid,
                text ? text : "");
        return APR_SUCCESS;
    }
    if (did == MDM_EUNAVAIL) { /* ours: it shall say it again */
        return did;
    }
    c->ctx->fail_field = field;
    c->ctx->fail_text = text;
    return rv;
}

/* The CommandUUID of a message that no parser can read; NULL: there is none. */
static const char *uuid_in(apr_pool_t *p, const mdm_blob_t *body)
{
    static const char key[] = "<key>CommandUUID</key>", open[] = "<string>";
    const char *end = (const char *)body->data + body->len, *at;

    at = body->len ? memmem(body->data, body->len, key, sizeof key - 1) : NULL;
    at = at ? at + sizeof key - 1 : end;
    while (at < end && apr_isspace(*at)) {
        at++;
    }
    if (end - at < (ptrdiff_t)(sizeof open - 1 + UUID_LEN) || memcmp(at, open, sizeof open - 1) != 0) {
        return NULL;
    }
    return apr_pstrmemdup(p, at + sizeof open - 1, UUID_LEN);
}

/* One that could be read: who says it, on which channel, and what. */
static apr_status_t listen_to(call_t *c, const mdm_plist_t *msg)
{
    mdm_ctx_t *ctx = c->ctx;
    const char *native, *user, *user_native;
    apr_status_t rv = mdm_plist_need_str(ctx, msg, "Status", 64, &c->a->action);

    if (rv == APR_SUCCESS) {
        rv = mdm_apple_native(ctx, msg, &native);
    }
    if (rv == APR_SUCCESS) {
        rv = who_is_it(c, native);
    }
    if (rv == APR_SUCCESS) {
        rv = shown(c);
    }
    if (rv == APR_SUCCESS && (c->who->rec->flags & MDM_DEVF_NEXT)) {
        rv = run(c, do_promote); /* once in an identity's life (IOS-06) */
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    c->msg = msg;
    c->queued = (c->who->rec->flags & MDM_DEVF_QUEUED) != 0;
    rv = mdm_apple_user(ctx, msg, native, &user, &user_native);
    if (rv == APR_SUCCESS && user) {
        rv = c->who->rec->flags & MDM_DEVF_LEAVING ? APR_NOTFOUND : find_user(c, user_native);
        if (APR_STATUS_IS_NOTFOUND(rv)) { /* it has to bring a token first, and gets nothing from a device that leaves */
            c->a->decision = "no such user channel";
            ctx->fail_text = NULL;
            return APR_SUCCESS;
        }
    }
    return rv == APR_SUCCESS ? dispatch(c, c->a->action) : rv;
}

static apr_status_t begin(call_t *c, mdm_apple_answer_t **out)
{
    *out = c->a = apr_pcalloc(c->ctx->pool, sizeof *c->a);
    c->a->status = 200;
    c->a->action = c->a->decision = c->uuid = "";
    return mdm_apple_standing(c->ctx, c->who, c->a);
}

apr_status_t mdm_apple_connect_long(mdm_ctx_t *ctx, const mdm_apple_who_t *who, const mdm_blob_t *head, mdm_apple_answer_t **out)
{
    call_t c = {.ctx = ctx, .who = who, .longer = 1};
    apr_status_t rv = begin(&c, out);

    return rv != APR_SUCCESS || c.a->status == 403
               ? rv : unusable(&c, uuid_in(ctx->pool, head), NULL, mdm_fail(ctx, MDM_ETOOBIG, NULL, "The message is too long."));
}

apr_status_t mdm_apple_connect(mdm_ctx_t *ctx, const mdm_apple_who_t *who, const mdm_blob_t *body, mdm_apple_answer_t **out)
{
    mdm_plist_t *msg;
    const char *native;
    call_t c = {.ctx = ctx, .who = who};
    apr_status_t rv = begin(&c, out);

    if (rv != APR_SUCCESS || c.a->status == 403) {
        return rv;
    }
    rv = mdm_plist_parse(ctx, body->data, body->len, &msg);
    if (rv == MDM_EINPUT || rv == MDM_ETOOBIG) {
        return unusable(&c, uuid_in(ctx->pool, body), NULL, rv);
    }
    rv = rv == APR_SUCCESS ? listen_to(&c, msg) : rv;
    if (rv == MDM_EINPUT || rv == MDM_ETOOBIG) {
        native = mdm_plist_str(msg, "UDID") ? mdm_plist_str(msg, "UDID") : mdm_plist_str(msg, "EnrollmentID");
        rv = unusable(&c, mdm_plist_str(msg, "CommandUUID"), native, rv);
    }
    return mdm_apple_login_again(ctx, c.a, rv);
}
