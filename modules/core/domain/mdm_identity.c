/* The renewal of identities: who is due, the profile that renews, the change at the first use of the new one. */
#include "domain/mdm_identity.h"

#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_command.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_notice.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"

#define DAY_MS (86400LL * 1000)
#define SLACK_MS (3600LL * 1000) /* a command fetched at the last moment still finds its challenge alive */

/* ---------------------------------------------------------------- the change */

static apr_status_t promote(mdm_db_t *db, const char *fingerprint)
{
    apr_int64_t now = mdm_now_ms(mdm_db_ctx(db));
    mdm_q_certificate_device_t *row = NULL;
    int n = 0;
    apr_status_t rv = mdm_q_certificate_promote(db, fingerprint, now, &n);

    if (rv != APR_SUCCESS || n == 0) {
        return rv;
    }
    rv = mdm_q_certificate_supersede(db, fingerprint, now, NULL);
    if (rv == APR_SUCCESS) {
        rv = mdm_q_certificate_device(db, fingerprint, &row);
    }
    if (rv != APR_SUCCESS || !row->device_id) {
        return rv;
    }
    rv = mdm_device_event(db, row->device_id, NULL, "identity.renewed", NULL);
    if (rv == APR_SUCCESS) {
        rv = mdm_q_identity_ending_done(db, row->device_id, MDM_IDENTITY_ENDING, now, NULL);
    }
    return rv == APR_SUCCESS ? mdm_change_add(db, "device", row->device_id) : rv;
}

apr_status_t mdm_identity_promote(mdm_db_t *db, const char *fingerprint)
{
    apr_status_t rv = mdm_db_begin(db);

    if (rv == APR_SUCCESS) {
        rv = promote(db, fingerprint);
    }
    return mdm_db_end(db, rv);
}

/* ---------------------------------------------------------------- asking */

static apr_status_t queue(mdm_db_t *db, const mdm_q_identity_due_t *due, const char *challenge, const mdm_blob_t *profile,
                          int *asked)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_command_add_t add = {.record_id = due->record_id, .request_type = "InstallProfile", .coalesce_key = MDM_IDENTITY_JOB,
                             .secret = 1, .expires_ms = now + MDM_IDENTITY_AGAIN_MS};
    int n = 0;
    apr_status_t rv = mdm_q_identity_take(db, due->fingerprint, now, now + MDM_IDENTITY_AGAIN_MS, &n);

    if (rv != APR_SUCCESS || n == 0) {
        return rv; /* another node's, or changed since */
    }
    add.payload = json_pack("{s:{s:s}}", "Payload", "$data", mdm_b64(ctx->pool, profile->data, profile->len));
    rv = mdm_command_enqueue(db, &add, NULL);
    json_decref(add.payload);
    if (rv == MDM_ECONFLICT || APR_STATUS_IS_NOTFOUND(rv)) {
        return APR_SUCCESS; /* its queue is full, or it is leaving: the next time comes by itself */
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_challenge_renew(db, due->record_id, challenge, due->record_id, MDM_IDENTITY_AGAIN_MS + SLACK_MS);
    }
    *asked += rv == APR_SUCCESS;
    return rv;
}

static apr_status_t ask(mdm_ctx_t *ctx, const mdm_ca_t *ca, const mdm_apple_conf_t *conf, const mdm_q_identity_due_t *due,
                        int *asked)
{
    mdm_apple_conf_t own = *conf;
    const char *challenge = mdm_challenge_text(ctx->pool);
    mdm_blob_t profile;
    mdm_db_t *db;
    apr_status_t rv;

    own.topic = due->topic;
    own.account = due->account;
    own.apple_account = due->apple_account;
    if (*due->base_url) { /* the address in a profile is fixed for its life */
        own.public_url = due->base_url;
    }
    if (!challenge) {
        return MDM_EUNAVAIL;
    }
    rv = mdm_apple_profile_with(ctx, ca, &own, due->record_id, challenge, &profile);
    if (rv == APR_SUCCESS) {
        rv = mdm_db_open(ctx, &db);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS) {
        rv = queue(db, due, challenge, &profile, asked);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

/* ---------------------------------------------------------------- the run */

/* Those whose grace is over; in the revocation list from now on. */
static apr_status_t retire(mdm_db_t *db)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_db_begin(db);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_identity_old(db, mdm_now_ms(mdm_db_ctx(db)) - MDM_IDENTITY_GRACE_MS, MDM_IDENTITY_BATCH, &rows);
    }
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        rv = mdm_ca_revoke(db, APR_ARRAY_IDX(rows, i, mdm_q_identity_old_t).fingerprint, "superseded");
    }
    return mdm_db_end(db, rv);
}

/* Administrators are told while something can still be done: an expired identity can't even connect. */
static apr_status_t warn(mdm_db_t *db)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_db_begin(db);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_identity_ending(db, now + MDM_IDENTITY_SOON_MS, now - DAY_MS, MDM_IDENTITY_ENDING, MDM_IDENTITY_BATCH, &rows);
    }
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_identity_ending_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_identity_ending_t);
        apr_int64_t days = r->not_after > now ? (r->not_after - now + DAY_MS - 1) / DAY_MS : 0;
        const char *text = days ? mdm_said(ctx->pool, "said_identity_ending", apr_psprintf(ctx->pool, "%" APR_INT64_T_FMT, days), NULL)
                                : mdm_said(ctx->pool, "said_identity_ended", NULL);
        const mdm_notice_t told = {.event = "identity_expiring", .key = apr_pstrcat(ctx->pool, "identity_expiring:", r->device_id, NULL),
            .device_id = r->device_id, .quiet_ms = 13 * DAY_MS / 2, .vars = mdm_json_own(ctx, json_pack("{s:o, s:o}", "date",
                json_sprintf("%.10s", mdm_time_text(ctx->pool, r->not_after)), "days", json_sprintf("%" APR_INT64_T_FMT, days)))};
        rv = mdm_message(db, "device", r->device_id, days ? MDM_MSG_WARNING : MDM_MSG_ERROR, MDM_IDENTITY_ENDING, text);
        rv = rv == APR_SUCCESS ? mdm_notice_admins(db, &told) : rv;
    }
    return mdm_db_end(db, rv);
}

static apr_status_t look(mdm_ctx_t *ctx, mdm_ca_t **ca, apr_array_header_t **due)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_ca_load(db, ctx->pool, ca);
    if (rv == APR_SUCCESS) {
        rv = retire(db);
    }
    if (rv == APR_SUCCESS) {
        rv = warn(db);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_identity_due(db, mdm_now_ms(ctx), MDM_IDENTITY_BATCH, due);
    }
    mdm_db_close(db);
    return rv;
}

apr_status_t mdm_identity_run(mdm_ctx_t *ctx, const mdm_apple_conf_t *conf, volatile int *stop, int *asked)
{
    apr_array_header_t *due;
    mdm_ca_t *ca;
    apr_status_t rv = look(ctx, &ca, &due);

    *asked = 0;
    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv; /* no authority yet: nothing to renew */
    }
    rv = mdm_ca_ensure(ctx, conf->organisation, MDM_KEY_P256); /* the authority is there: only what ends soon is made anew */
    for (int i = 0; rv == APR_SUCCESS && i < due->nelts && !(stop && *stop); i++) {
        mdm_ctx_t *sub = mdm_ctx_sub(ctx);
        rv = ask(sub, ca, conf, &APR_ARRAY_IDX(due, i, mdm_q_identity_due_t), asked);
        apr_pool_destroy(sub->pool);
    }
    return rv;
}
