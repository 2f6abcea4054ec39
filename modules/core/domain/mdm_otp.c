/* One-time passwords: settings, making, sealing, showing. */
#include "domain/mdm_otp.h"

#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_notice.h"
#include "mdm_sql_gen.h"

#define SETTING "enroll.otp"
#define HOUR_MS (3600 * 1000LL)
#define VOID "the enrolment was reset"

/* No vowels, so that no words come out; no 0, O, 1, I, which look alike. */
static const struct {
    const char *name, *chars;
} alphabets[] = {{"digits", "0123456789"}, {"letters", "BCDFGHJKLMNPQRSTVWXZ"}, {"both", "BCDFGHJKLMNPQRSTVWXZ23456789"}};

static const char *chars_of(const char *alphabet)
{
    unsigned i;

    for (i = 0; i < sizeof(alphabets) / sizeof(alphabets[0]) - 1 && strcmp(alphabets[i].name, alphabet) != 0; ++i) {
    }
    return alphabets[i].chars;
}

/* ---------------------------------------------------------------- settings */

/* Reads what is given over what stands in out. */
static apr_status_t conf_read(mdm_ctx_t *ctx, json_t *set, mdm_otp_conf_t *out)
{
    static const char *const names[] = {"digits", "letters", "both", NULL};
    static const char *const needs[] = {"otp", "password", "both", "either", NULL};
    static const char *const asks[] = {"off", "optional", "required", NULL};
    apr_int64_t length = out->length, hours = out->life_ms / HOUR_MS, tries = out->tries;
    const mdm_jfield_t fields[] = {
        {.name = "length", .type = MDM_JF_INT, .min = MDM_OTP_LENGTH_MIN, .max = MDM_OTP_LENGTH_MAX, .out = &length},
        {.name = "alphabet", .type = MDM_JF_ENUM, .choices = names, .out = &out->alphabet},
        {.name = "life_hours", .type = MDM_JF_INT, .min = 1, .max = 720, .out = &hours},
        {.name = "tries", .type = MDM_JF_INT, .min = 1, .max = 10, .out = &tries},
        {.name = "ios", .type = MDM_JF_ENUM, .choices = needs, .out = &out->ios},
        {.name = "android", .type = MDM_JF_ENUM, .choices = needs, .out = &out->android},
        {.name = "authorise", .type = MDM_JF_BOOL, .out = &out->authorise},
        {.name = "phone", .type = MDM_JF_ENUM, .choices = asks, .out = &out->phone},
        {.name = NULL}};
    apr_status_t rv = mdm_json_fields(ctx, set, fields);

    out->length = (int)length;
    out->life_ms = hours * HOUR_MS;
    out->tries = (int)tries;
    return rv;
}

apr_status_t mdm_otp_conf(mdm_db_t *db, mdm_otp_conf_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_otp_conf_t *conf = apr_palloc(ctx->pool, sizeof(*conf));
    json_t *set;
    apr_status_t rv = mdm_setting_get(db, SETTING, &set);

    *conf = (mdm_otp_conf_t){8, "digits", 72 * HOUR_MS, 5, "either", "either", 1, "off"};
    if (rv == APR_SUCCESS && conf_read(ctx, set, conf) != APR_SUCCESS) {
        rv = mdm_fail(ctx, MDM_EUNAVAIL, NULL, "The settings of one-time passwords are damaged: save them again.");
    }
    *out = conf;
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

static json_t *conf_json(const mdm_otp_conf_t *conf)
{
    return json_pack("{s:i, s:s, s:I, s:i, s:s, s:s, s:b, s:s}", "length", conf->length, "alphabet", conf->alphabet, "life_hours",
                     (json_int_t)(conf->life_ms / HOUR_MS), "tries", conf->tries, "ios", conf->ios, "android", conf->android,
                     "authorise", conf->authorise, "phone", conf->phone);
}

apr_status_t mdm_otp_conf_json(mdm_db_t *db, const char *id, json_t **out)
{
    mdm_otp_conf_t *conf;
    apr_status_t rv = mdm_otp_conf(db, &conf);

    *out = rv == APR_SUCCESS ? conf_json(conf) : NULL;
    return rv;
}

apr_status_t mdm_otp_conf_edit(mdm_db_t *db, json_t *body)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_otp_conf_t *conf;
    json_t *before, *after;
    apr_status_t rv = mdm_otp_conf(db, &conf);

    before = mdm_json_own(ctx, conf_json(conf));
    if ((rv != APR_SUCCESS && rv != MDM_EUNAVAIL) || (rv = conf_read(ctx, body, conf)) != APR_SUCCESS) {
        return rv;
    }
    after = mdm_json_own(ctx, conf_json(conf));
    if ((rv = mdm_setting_set(db, SETTING, after, 0)) != APR_SUCCESS) {
        return rv;
    }
    return mdm_audit(db, "otp_settings.edit", "zone", "", "", "done",
                     mdm_json_own(ctx, json_pack("{s:O, s:O}", "before", before, "after", after)));
}

/* ---------------------------------------------------------------- what is needed */

static int rank_of(const char *need)
{
    return !strcmp(need, "both") ? 3 : !strcmp(need, "otp") ? 2 : !strcmp(need, "password") ? 1 : 0;
}

const char *mdm_otp_need(const mdm_otp_conf_t *conf, const char *platform, const char *origin)
{
    const char *need = !strcmp(platform, "ios") ? conf->ios : !strcmp(platform, "android") ? conf->android
                       : rank_of(conf->ios) > rank_of(conf->android) ? conf->ios : conf->android;

    if (strcmp(origin, "self") != 0) {
        return need;
    }
    /* Who made it in the portal has given the password for it. */
    return !strcmp(need, "both") || !strcmp(need, "otp") ? "otp" : "";
}

/* ---------------------------------------------------------------- making */

apr_status_t mdm_otp_text(mdm_ctx_t *ctx, const mdm_otp_conf_t *conf, const char **out)
{
    const char *chars = chars_of(conf->alphabet);
    unsigned n = (unsigned)strlen(chars), fair = 256 - 256 % n;
    char *text = apr_pcalloc(ctx->pool, (apr_size_t)conf->length + 1);
    unsigned char byte;
    int i = 0;

    while (i < conf->length) {
        if (mdm_random(&byte, 1) != APR_SUCCESS) {
            return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no random numbers");
        }
        if (byte < fair) { /* the rest would come more often than others */
            text[i++] = chars[byte % n];
        }
    }
    *out = text;
    return APR_SUCCESS;
}

const char *mdm_otp_plain(apr_pool_t *p, const char *typed)
{
    char *out = apr_pstrdup(p, typed), *o = out;

    for (; *typed; ++typed) {
        if (*typed != ' ' && *typed != '-' && *typed != '\t') {
            *o++ = (char)apr_toupper(*typed);
        }
    }
    *o = '\0';
    return out;
}

const char *mdm_otp_grouped(apr_pool_t *p, const char *otp)
{
    apr_size_t len = strlen(otp), group = len % 4 && len % 5 == 0 ? 5 : 4, i;
    char *out = apr_palloc(p, len * 2 + 1), *o = out;

    for (i = 0; i < len; ++i) {
        if (i && i % group == 0) {
            *o++ = ' ';
        }
        *o++ = otp[i];
    }
    *o = '\0';
    return out;
}

apr_status_t mdm_otp_check(mdm_ctx_t *ctx, const mdm_otp_conf_t *conf, const char *text, const char **out)
{
    const char *chars = chars_of(conf->alphabet), *got = mdm_otp_plain(ctx->pool, text);

    if (strlen(got) != (apr_size_t)conf->length) {
        return mdm_fail(ctx, MDM_EINPUT, "otp", "must have %d characters", conf->length);
    }
    if (strspn(got, chars) != strlen(got)) {
        return mdm_fail(ctx, MDM_EINPUT, "otp", "may only have the characters %s", chars);
    }
    *out = got;
    return APR_SUCCESS;
}

const char *mdm_otp_purpose(mdm_ctx_t *ctx, const char *id)
{
    return apr_pstrcat(ctx->pool, "pending_enrollment.otp:", id, NULL);
}

apr_status_t mdm_otp_index(mdm_ctx_t *ctx, const char *otp, const char **out)
{
    return mdm_seal_index(ctx, "pending_enrollment.otp", otp, out);
}

apr_status_t mdm_otp_free(mdm_db_t *db, const char *otp)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_otp_taken_t *taken;
    const char *index;
    apr_status_t rv = mdm_otp_index(ctx, otp, &index);

    if (rv == APR_SUCCESS && (rv = mdm_q_otp_taken(db, index, mdm_now_ms(ctx), &taken)) == APR_SUCCESS) {
        return mdm_fail(ctx, MDM_EINPUT, "otp", "is that of another open enrolment: choose another one");
    }
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

apr_status_t mdm_otp_seal(mdm_ctx_t *ctx, const char *pending_id, const char *otp, const char **sealed, const char **index)
{
    apr_status_t rv = mdm_seal(ctx, mdm_otp_purpose(ctx, pending_id), otp, strlen(otp), sealed);

    return rv == APR_SUCCESS ? mdm_otp_index(ctx, otp, index) : rv;
}

apr_status_t mdm_otp_put(mdm_db_t *db, const char *pending_id, const char *otp, apr_int64_t expires_ms)
{
    const char *sealed, *index;
    apr_status_t rv = mdm_otp_seal(mdm_db_ctx(db), pending_id, otp, &sealed, &index);

    return rv == APR_SUCCESS ? mdm_q_otp_put(db, pending_id, sealed, index, expires_ms) : rv;
}

apr_status_t mdm_otp_reveal(mdm_db_t *db, const char *pending_id, const char **otp)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_pending_t *e;
    mdm_q_otp_row_t *row;
    mdm_blob_t text;
    apr_status_t rv = mdm_pending_get(db, pending_id, &e);

    if (rv != APR_SUCCESS || (rv = mdm_q_otp_row(db, pending_id, &row)) != APR_SUCCESS) {
        return rv;
    }
    if (!row->otp || !mdm_pending_open(e) || row->otp_expires_ms_null || row->otp_expires_ms <= mdm_now_ms(ctx)) {
        return APR_NOTFOUND;
    }
    if ((rv = mdm_unseal(ctx, mdm_otp_purpose(ctx, pending_id), row->otp, &text)) == APR_SUCCESS) {
        *otp = (const char *)text.data;
    }
    return rv;
}

/* ---------------------------------------------------------------- for administrators */

apr_status_t mdm_otp_view(mdm_db_t *db, const char *pending_id, const char **otp, const char **token)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_pending_t *e;
    apr_status_t rv = mdm_pending_get(db, pending_id, &e);

    *otp = NULL;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!mdm_pending_open(e)) {
        return mdm_fail(ctx, MDM_ECONFLICT, "state", "The link was used, locked, cancelled or has expired.");
    }
    rv = mdm_otp_reveal(db, pending_id, otp);
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        return rv;
    }
    if ((rv = mdm_pending_token(db, pending_id, token)) != APR_SUCCESS) {
        return rv;
    }
    return mdm_audit(db, *otp ? "pending.otp_view" : "pending.link", "pending", pending_id, e->person_login, "done", NULL);
}

apr_status_t mdm_otp_reset(mdm_db_t *db, const char *pending_id, const char *notify)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx), until;
    mdm_otp_conf_t *conf;
    mdm_pending_t *e;
    const char *otp;
    apr_status_t rv = mdm_pending_get(db, pending_id, &e);

    if (rv != APR_SUCCESS || (rv = mdm_otp_conf(db, &conf)) != APR_SUCCESS || (rv = mdm_otp_text(ctx, conf, &otp)) != APR_SUCCESS) {
        return rv;
    }
    if (!strcmp(e->level, "email_only")) {
        return mdm_fail(ctx, MDM_ECONFLICT, "level", "Mail enrolments have no one-time password.");
    }
    if (*e->account) {
        return mdm_fail(ctx, MDM_ECONFLICT, "origin", "It was begun in the settings of a device: its person begins there again.");
    }
    if ((rv = mdm_pending_void(db, pending_id, VOID)) != APR_SUCCESS) { /* first what is handed out, then the row, in the order in which devices take them */
        return rv;
    }
    until = (e->valid_from_ms > now ? e->valid_from_ms : now) + conf->life_ms;
    rv = strcmp(e->state, "cancelled") ? mdm_q_otp_reset(db, pending_id, apr_psprintf(ctx->pool, "{\"created\":%" APR_INT64_T_FMT "}", now), until)
                                       : APR_NOTFOUND; /* also that of a person who may not log in any more */
    if (rv == APR_NOTFOUND) {
        return mdm_fail(ctx, MDM_ECONFLICT, "state", "This enrolment has ended.");
    }
    if (rv != APR_SUCCESS || (rv = mdm_otp_put(db, pending_id, otp, until)) != APR_SUCCESS
        || (rv = mdm_pending_void(db, pending_id, VOID)) != APR_SUCCESS) { /* and what somebody got before the row was held */
        return rv;
    }
    if ((rv = mdm_notice_pending(db, pending_id, "enroll_otp", notify ? notify : e->notify)) != APR_SUCCESS) {
        return rv;
    }
    return mdm_audit(db, "pending.otp_reset", "pending", pending_id, e->person_login, "done", NULL);
}

json_t *mdm_otp_state_json(mdm_ctx_t *ctx, const char *state, int has, const apr_int64_t *expires_ms, const apr_int64_t *used_ms, apr_int64_t tries)
{
    int late = expires_ms && *expires_ms <= mdm_now_ms(ctx);
    const char *word = !strcmp(state, "locked") ? "locked" : used_ms ? "used" : !has ? "none" : late ? "expired" : "open";

    return json_pack("{s:s, s:o, s:I}", "state", word, "expires_at", expires_ms && has ? json_string(mdm_time_text(ctx->pool, *expires_ms)) : json_null(),
                     "tries", (json_int_t)tries);
}
