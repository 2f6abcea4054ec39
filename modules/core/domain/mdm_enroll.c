/* Pending enrolments: links, challenges, and the steps people watch. */
#include "domain/mdm_enroll.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_ca.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define TOKEN_BYTES 24
#define TOKEN_TEXT_MAX 64
#define CHALLENGE_LIFE_MS (30 * 60 * 1000LL)

/* ---------------------------------------------------------------- states */

/* Rank: a step only ever leads on. Ended ones have none. */
static const char *const ranks[] = {"created", "opened", "profile", "issued", "authenticated", "completed"};
enum { RANK_PROFILE = 2, RANK_COMPLETED = 5, RANK_ENDED = -1 };

static int rank_of(const char *state)
{
    int i;

    for (i = 0; i <= RANK_COMPLETED; ++i) {
        if (!strcmp(ranks[i], state)) {
            return i;
        }
    }
    return RANK_ENDED;
}

int mdm_pending_open(const mdm_pending_t *pending)
{
    int rank = rank_of(pending->state);

    return rank != RANK_ENDED && rank <= RANK_PROFILE;
}

int mdm_pending_usable(const mdm_pending_t *pending)
{
    return mdm_pending_open(pending) && !pending->early;
}

apr_status_t mdm_pending_refuse(mdm_ctx_t *ctx, const mdm_pending_t *e)
{
    return mdm_pending_open(e) && e->early
               ? mdm_fail(ctx, MDM_EDENIED, "valid_from", "This link can be used from %s on.", mdm_time_local(ctx->pool, e->valid_from_ms))
               : mdm_fail(ctx, MDM_EDENIED, NULL, "This link is used up or too old. Start again in the portal.");
}

static const char *purpose(mdm_ctx_t *ctx, const char *id)
{
    return apr_pstrcat(ctx->pool, "pending_enrollment.token:", id, NULL);
}

/* ---------------------------------------------------------------- links */

apr_status_t mdm_pending_link_make(mdm_ctx_t *ctx, const char *id, mdm_pending_link_t *out)
{
    if (!(out->token = mdm_token(ctx->pool, TOKEN_BYTES))) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no random numbers");
    }
    out->hash = mdm_sha256_hex(ctx->pool, out->token, strlen(out->token));
    out->head = apr_pstrmemdup(ctx->pool, out->token, MDM_PENDING_HEAD);
    return mdm_seal(ctx, purpose(ctx, id), out->token, strlen(out->token), &out->sealed);
}

const char *mdm_pending_head(apr_pool_t *p, const char *given)
{
    const char *path = strstr(given, "/enroll/"), *s = path ? path + sizeof("/enroll/") - 1 : given + strspn(given, " ");
    apr_size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

    return n >= MDM_PENDING_HEAD ? apr_pstrmemdup(p, s, MDM_PENDING_HEAD) : NULL;
}

apr_status_t mdm_pending_get(mdm_db_t *db, const char *id, mdm_pending_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_pending_get_t *row;
    mdm_pending_t *e;
    apr_status_t rv = mdm_q_pending_get(db, id, &row);

    *out = NULL;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    e = apr_pcalloc(ctx->pool, sizeof(*e));
    e->id = row->id;
    e->person_id = row->person_id;
    e->policy_id = row->policy_id;
    e->ownership = row->ownership;
    e->level = row->level;
    e->platform = row->platform;
    e->origin = row->origin;
    e->state = row->state;
    e->device_id = row->device_id;
    e->step = row->step;
    e->person_login = row->person_login ? row->person_login : "";
    e->person_name = row->person_name ? row->person_name : "";
    e->person_mail = row->person_mail ? row->person_mail : "";
    e->expected_serial = row->expected_serial;
    e->expected_imei = row->expected_imei;
    e->proof_hash = row->proof_hash;
    e->phone = row->phone;
    e->mail = row->mail;
    e->notify = row->notify;
    e->language = row->language;
    e->account = row->account;
    e->apple_account = row->apple_account;
    e->folder_id = row->folder_id;
    e->created_ms = row->created_ms;
    e->valid_from_ms = row->valid_from_ms;
    e->expires_ms = row->expires_ms;
    e->version = row->version;
    e->early = e->valid_from_ms > mdm_now_ms(ctx);
    if (e->expires_ms <= mdm_now_ms(ctx) && mdm_pending_open(e)) {
        e->state = "expired";
    }
    *out = e;
    return APR_SUCCESS;
}

apr_status_t mdm_pending_look(mdm_db_t *db, const char *token, mdm_pending_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_pending_id_by_token_t *row;
    apr_size_t len = token ? strlen(token) : 0;
    apr_status_t rv;

    *out = NULL;
    if (!len || len > TOKEN_TEXT_MAX) {
        return APR_NOTFOUND;
    }
    rv = mdm_q_pending_id_by_token(db, mdm_sha256_hex(ctx->pool, token, len), &row);
    return rv == APR_SUCCESS ? mdm_pending_get(db, row->id, out) : rv;
}

apr_status_t mdm_pending_by_token(mdm_db_t *db, const char *token, mdm_pending_t **out)
{
    apr_status_t rv = mdm_pending_look(db, token, out);

    if (rv == APR_SUCCESS && !mdm_pending_usable(*out)) {
        rv = mdm_pending_refuse(mdm_db_ctx(db), *out);
        *out = NULL;
    }
    return rv;
}

apr_status_t mdm_pending_token(mdm_db_t *db, const char *id, const char **token)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_pending_token_t *row;
    mdm_blob_t text;
    apr_status_t rv = mdm_q_pending_token(db, id, &row);

    if (rv == APR_SUCCESS && (rv = mdm_unseal(ctx, purpose(ctx, id), row->token, &text)) == APR_SUCCESS) {
        *token = (const char *)text.data;
    }
    return rv;
}

apr_status_t mdm_pending_void(mdm_db_t *db, const char *id, const char *reason)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_challenge_drop_all(db, id, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; ++i) {
        const char *fingerprint = APR_ARRAY_IDX(rows, i, mdm_q_challenge_drop_all_t).fingerprint;

        rv = fingerprint ? mdm_ca_revoke(db, fingerprint, reason) : APR_SUCCESS;
    }
    return rv;
}

apr_status_t mdm_pending_cancel(mdm_db_t *db, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_q_pending_step_get_t *row;
    apr_status_t rv = mdm_q_pending_step_get(db, id, &row);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (rank_of(row->state) == RANK_ENDED || rank_of(row->state) == RANK_COMPLETED) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "This enrolment has ended already.");
    }
    if ((rv = mdm_q_pending_step_set(db, id, "cancelled", row->step, &now)) != APR_SUCCESS
        || (rv = mdm_pending_void(db, id, "cancelled")) != APR_SUCCESS) {
        return rv;
    }
    return mdm_audit(db, "pending.cancel", "pending", id, "", "done", NULL);
}

/* ---------------------------------------------------------------- steps */

/* Puts the step into the JSON of times; 0 if nothing changes. */
static int step_note(json_t *steps, const char *step, const char *error, apr_int64_t now, int advances)
{
    const char *old = json_string_value(json_object_get(steps, "error"));

    if (error) {
        json_object_set_new(steps, "error", json_string(error));
        json_object_set_new(steps, "error_ms", json_integer(now));
        return !old || strcmp(old, error) != 0;
    }
    if (!advances) {
        return 0;
    }
    json_object_set_new(steps, step, json_integer(now));
    json_object_del(steps, "error");
    json_object_del(steps, "error_ms");
    return 1;
}

apr_status_t mdm_pending_step(mdm_db_t *db, const char *pending_id, const char *step, const char *error)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_q_pending_step_get_t *row;
    json_error_t bad;
    json_t *steps, *detail;
    int have, trust = !strcmp(step, "trust"), want = trust ? 0 : rank_of(step), advances;
    apr_status_t rv = mdm_q_pending_step_get(db, pending_id, &row);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    have = rank_of(row->state);
    if (want == RANK_ENDED || have == RANK_ENDED) {
        return APR_SUCCESS; /* over: late news change nothing */
    }
    if (!(steps = mdm_json_own(ctx, json_loads(row->step, 0, &bad))) || !json_is_object(steps)) {
        steps = mdm_json_own(ctx, json_object());
    }
    /* The trust profile leads nowhere by itself: its time is noted once. */
    advances = trust ? !json_object_get(steps, step) : want > have;
    if (!step_note(steps, step, error ? mdm_clean(ctx->pool, error, 300) : NULL, now, advances)) {
        return APR_SUCCESS;
    }
    rv = mdm_q_pending_step_set(db, pending_id, error || want <= have ? row->state : step, mdm_json_text(ctx->pool, steps),
                                !error && want == RANK_COMPLETED ? &now : NULL);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    detail = error ? json_pack("{s:s}", "error", mdm_clean(ctx->pool, error, 300)) : NULL;
    rv = mdm_device_event(db, row->device_id, pending_id, apr_pstrcat(ctx->pool, "enroll.", step, NULL), detail);
    json_decref(detail);
    return rv;
}

apr_status_t mdm_pending_reported(mdm_db_t *db, const char *pending_id, const mdm_enroll_facts_t *facts)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_q_pending_step_get_t *row;
    json_error_t bad;
    json_t *steps, *device;
    apr_status_t rv = mdm_q_pending_step_get(db, pending_id, &row);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!(steps = mdm_json_own(ctx, json_loads(row->step, 0, &bad))) || !json_is_object(steps)) {
        steps = mdm_json_own(ctx, json_object());
    }
    device = json_pack("{s:s, s:s*, s:s*, s:s*, s:s*}", "udid", facts->udid, "serial", facts->serial, "product", facts->product,
                       "build", facts->build, "imei", facts->imei);
    json_object_set_new(steps, "device", device);
    json_object_set_new(steps, "reported", json_integer(now));
    json_object_del(steps, "error");
    json_object_del(steps, "error_ms");
    rv = mdm_q_pending_step_set(db, pending_id, row->state, mdm_json_text(ctx->pool, steps), NULL);
    return rv == APR_SUCCESS ? mdm_device_event(db, row->device_id, pending_id, "enroll.reported", device) : rv;
}

/* ---------------------------------------------------------------- challenges */

const char *mdm_challenge_text(apr_pool_t *p)
{
    return mdm_token(p, TOKEN_BYTES);
}

apr_status_t mdm_challenge_renew(mdm_db_t *db, const char *record_id, const char *challenge, const char *subject,
                                 apr_int64_t life_ms)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = mdm_q_identity_challenge_drop(db, record_id, NULL);

    return rv == APR_SUCCESS ? mdm_q_identity_challenge_add(db, mdm_sha256_hex(ctx->pool, challenge, strlen(challenge)), record_id,
                                                            subject, mdm_now_ms(ctx) + life_ms, NULL) : rv;
}

apr_status_t mdm_challenge_create(mdm_db_t *db, const mdm_pending_t *pending, const char *subject, const char **challenge)
{
    return mdm_challenge_create_for(db, pending, subject, "identity", challenge);
}

/* What the caller judged may have been reset meanwhile: the row is held, then read again. */
static apr_status_t still_proved(mdm_db_t *db, const mdm_pending_t *judged)
{
    mdm_q_pending_step_get_t *held;
    mdm_pending_t *fresh;
    apr_status_t rv = mdm_q_pending_step_get(db, judged->id, &held);

    if (rv != APR_SUCCESS || (rv = mdm_pending_get(db, judged->id, &fresh)) != APR_SUCCESS) {
        return rv;
    }
    if (!mdm_pending_usable(fresh) || strcmp(fresh->proof_hash ? fresh->proof_hash : "", judged->proof_hash ? judged->proof_hash : "") != 0) {
        return mdm_fail(mdm_db_ctx(db), MDM_EDENIED, NULL, "This enrolment was changed meanwhile. Open its link again.");
    }
    return APR_SUCCESS;
}

apr_status_t mdm_challenge_create_for(mdm_db_t *db, const mdm_pending_t *pending, const char *subject, const char *purpose,
                                      const char **challenge)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *text = mdm_challenge_text(ctx->pool);
    apr_status_t rv;

    if (!text) {
        return MDM_EUNAVAIL;
    }
    if (!mdm_pending_usable(pending)) {
        return mdm_pending_refuse(ctx, pending);
    }
    if ((rv = mdm_q_challenge_drop_unused(db, pending->id, NULL)) == APR_SUCCESS) {
        rv = mdm_q_challenge_add(db, mdm_sha256_hex(ctx->pool, text, strlen(text)), pending->id, subject, purpose,
                                 mdm_now_ms(ctx) + CHALLENGE_LIFE_MS, NULL);
    }
    if (rv == APR_SUCCESS && (rv = still_proved(db, pending)) == APR_SUCCESS) {
        *challenge = text;
    }
    return rv;
}

/* Used before: only the very same request may have its answer again, while the challenge would still be alive. */
static apr_status_t take_again(mdm_db_t *db, const char *hash, int service, const char *csr_hash, mdm_challenge_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_challenge_get_t *row;
    apr_status_t rv = mdm_q_challenge_get(db, hash, &row);

    if (rv == APR_NOTFOUND) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "The challenge is unknown.");
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (service != !strcmp(row->purpose, MDM_CHALLENGE_SERVICE)) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "The challenge is for something else.");
    }
    if (row->used_ms_null || row->expires_ms <= mdm_now_ms(ctx)) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "The challenge or its enrolment is over.");
    }
    if (!row->fingerprint || !mdm_secret_equal(row->csr_hash, csr_hash)) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "The challenge was used for another request.");
    }
    out->pending_id = row->pending_id;
    out->record_id = row->record_id;
    out->subject = row->subject;
    out->purpose = row->purpose;
    out->fingerprint = row->fingerprint;
    return APR_SUCCESS;
}

static apr_status_t take(mdm_db_t *db, const char *challenge, int service, const char *csr_hash, const char *transaction_id,
                         mdm_challenge_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_challenge_t *c = apr_pcalloc(ctx->pool, sizeof(*c));
    apr_size_t len = challenge ? strlen(challenge) : 0;
    mdm_q_challenge_use_t *row;
    apr_status_t rv;

    *out = NULL;
    if (!len || len > TOKEN_TEXT_MAX) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "The challenge is missing or malformed.");
    }
    c->hash = mdm_sha256_hex(ctx->pool, challenge, len);
    rv = mdm_q_challenge_use(db, c->hash, service, mdm_now_ms(ctx), transaction_id ? transaction_id : "", csr_hash, &row);
    if (rv == APR_SUCCESS) {
        c->pending_id = row->pending_id;
        c->record_id = row->record_id;
        c->subject = row->subject;
        c->purpose = row->purpose;
    }
    else if (rv == APR_NOTFOUND) {
        rv = take_again(db, c->hash, service, csr_hash, c);
    }
    if (rv == APR_SUCCESS) {
        *out = c;
    }
    return rv;
}

apr_status_t mdm_challenge_take(mdm_db_t *db, const char *challenge, const char *csr_hash, const char *transaction_id,
                                mdm_challenge_t **out)
{
    return take(db, challenge, 0, csr_hash, transaction_id, out);
}

apr_status_t mdm_challenge_take_service(mdm_db_t *db, const char *challenge, const char *body_hash, mdm_challenge_t **out)
{
    return take(db, challenge, 1, body_hash, "", out);
}

apr_status_t mdm_challenge_reporter(mdm_db_t *db, const char *pending_id, const char *fingerprint)
{
    mdm_q_challenge_report_identity_t *row;

    return mdm_q_challenge_report_identity(db, pending_id, fingerprint, &row);
}

apr_status_t mdm_challenge_issued(mdm_db_t *db, const char *hash, const char *fingerprint)
{
    mdm_q_challenge_get_t *row;
    apr_status_t rv = mdm_q_challenge_set_issued(db, hash, fingerprint);

    if (rv == APR_SUCCESS && (rv = mdm_q_challenge_get(db, hash, &row)) == APR_SUCCESS && row->pending_id
        && !strcmp(row->purpose, "identity")) {
        rv = mdm_pending_step(db, row->pending_id, "issued", NULL);
    }
    return rv;
}
