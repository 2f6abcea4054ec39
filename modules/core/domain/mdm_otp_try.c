/* What people with a link prove: one path for every try, whatever is wrong with it (PEN-04, R20, R21). */
#include "domain/mdm_otp.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define GRANT_BYTES 24
#define TYPED_MAX 64
#define NOTHING "*" /* no alphabet has it */

/* *fits: it is this one; compared by their keyed hashes, which say nothing of what was typed. Without a row, or without a password in it, a sealed nothing takes the place. */
static apr_status_t compare(mdm_ctx_t *ctx, const mdm_q_otp_try_row_t *row, const char *typed, int *fits)
{
    const char *nothing, *want, *got, *id = row ? row->id : "";
    apr_size_t len = typed ? strlen(typed) : 0;
    mdm_blob_t text;
    apr_status_t rv = mdm_seal(ctx, mdm_otp_purpose(ctx, id), NOTHING, 1, &nothing);

    if (rv == APR_SUCCESS) {
        rv = mdm_unseal(ctx, mdm_otp_purpose(ctx, id), row && row->otp ? row->otp : nothing, &text);
    }
    if (rv == APR_SUCCESS && (rv = mdm_otp_index(ctx, (const char *)text.data, &want)) == APR_SUCCESS) {
        rv = mdm_otp_index(ctx, mdm_otp_plain(ctx->pool, len && len <= TYPED_MAX ? typed : ""), &got);
    }
    *fits = rv == APR_SUCCESS && mdm_secret_equal(want, got);
    return rv;
}

/* What was proved against what is needed; otp, login: 0 or 1. */
static int enough(const char *need, int otp, int login)
{
    return !*need || (!strcmp(need, "otp") && otp) || (!strcmp(need, "password") && login) || (!strcmp(need, "both") && otp && login)
           || (!strcmp(need, "either") && (otp || login));
}

static apr_status_t note(mdm_db_t *db, const mdm_q_otp_try_row_t *row, int fits, int otp, int limit)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *detail = fits ? json_pack("{s:s}", "by", otp ? "otp" : "password")
                          : json_pack("{s:b}", "locked", row && row->usable && row->otp_tries + 1 >= limit);

    return mdm_audit(db, "pending.prove", "pending", row ? row->id : "", row ? row->person_login : "", fits ? "done" : "refused",
                     mdm_json_own(ctx, detail));
}

apr_status_t mdm_otp_try(mdm_db_t *db, const char *token, const mdm_otp_given_t *given, const char **grant)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *text = mdm_token(ctx->pool, GRANT_BYTES);
    mdm_q_otp_try_row_t *row = NULL;
    mdm_otp_conf_t *conf;
    apr_int64_t now = mdm_now_ms(ctx);
    int otp, login, fits, changed = 0;
    apr_status_t rv = mdm_otp_conf(db, &conf);

    *grant = NULL;
    if (rv != APR_SUCCESS || !text) {
        return text ? rv : mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no random numbers");
    }
    rv = mdm_q_otp_try_row(db, mdm_sha256_hex(ctx->pool, token, strlen(token)), &row);
    row = rv == APR_SUCCESS ? row : NULL;
    if ((rv != APR_SUCCESS && rv != APR_NOTFOUND) || (rv = compare(ctx, row, given->otp, &otp)) != APR_SUCCESS) {
        return rv;
    }
    otp = otp && row && row->otp && !row->otp_expires_ms_null && row->otp_expires_ms > now;
    login = row && given->person_id && mdm_secret_equal(row->person_id, given->person_id);
    fits = row && row->usable && row->valid_from_ms <= now && row->expires_ms > now && enough(mdm_otp_need(conf, row->platform, row->origin), otp, login);
    rv = mdm_q_otp_tried(db, row ? row->id : "", row ? row->version : 0, fits, fits && otp, conf->tries, now,
                         mdm_sha256_hex(ctx->pool, text, strlen(text)), &changed);
    fits = fits && changed;
    if (rv == APR_SUCCESS && (rv = note(db, row, fits, otp, conf->tries)) == APR_SUCCESS && fits) {
        *grant = text;
    }
    return rv;
}

int mdm_otp_proved(mdm_ctx_t *ctx, const mdm_otp_conf_t *conf, const mdm_pending_t *e, const char *grant, const char *person_id)
{
    const char *need = mdm_otp_need(conf, e->platform, e->origin);
    int login = person_id && e->person_id && !strcmp(person_id, e->person_id);

    return enough(need, 0, login) || !strcmp(e->level, "email_only")
           || (grant && e->proof_hash && mdm_secret_equal(mdm_sha256_hex(ctx->pool, grant, strlen(grant)), e->proof_hash));
}
