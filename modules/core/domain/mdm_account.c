#include "domain/mdm_account.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_otp.h"
#include "mdm_sql_gen.h"
#include "wire/mdm_cms.h"
#include "wire/mdm_plist.h"

#define SETTING "enroll.account"
#define TOKEN_BYTES 32
#define TOKEN_TEXT_MAX 100
#define MAX_WORD 64

/* ---------------------------------------------------------------- settings */

apr_status_t mdm_account_conf_read(mdm_ctx_t *ctx, json_t *set, mdm_account_conf_t *out)
{
    static const char *const modes[] = {"off", MDM_ACCOUNT_BYOD, MDM_ACCOUNT_ADDE, "both", NULL};
    const mdm_jfield_t fields[] = {{.name = "mode", .type = MDM_JF_ENUM, .choices = modes, .out = &out->mode},
                                   {.name = "domain", .type = MDM_JF_STR, .max = 200, .out = &out->domain},
                                   {.name = NULL}};
    apr_status_t rv = mdm_json_fields(ctx, set, fields);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    out->mode = out->mode ? out->mode : "off";
    out->domain = mdm_lower(ctx->pool, out->domain ? out->domain : "");
    return !*out->domain || (mdm_is_host(out->domain) && strchr(out->domain, '.') && !strchr(out->domain, ':'))
               ? APR_SUCCESS : mdm_fail(ctx, MDM_EINPUT, "domain", "must be a domain, like appleid.example.org");
}

apr_status_t mdm_account_conf(mdm_db_t *db, mdm_account_conf_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *set;
    apr_status_t rv = mdm_setting_get(db, SETTING, &set);

    *out = (mdm_account_conf_t){"off", ""};
    if (rv == APR_SUCCESS && mdm_account_conf_read(ctx, set, out) != APR_SUCCESS) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "The settings of account-driven enrolment are damaged: save them again.");
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

json_t *mdm_account_conf_json(const mdm_account_conf_t *conf)
{
    return json_pack("{s:s, s:s}", "mode", conf->mode, "domain", conf->domain);
}

apr_status_t mdm_account_conf_set(mdm_db_t *db, const mdm_account_conf_t *conf)
{
    return mdm_setting_set(db, SETTING, mdm_json_own(mdm_db_ctx(db), mdm_account_conf_json(conf)), 0);
}

int mdm_account_offers(const mdm_account_conf_t *conf, const char *kind)
{
    return (!strcmp(kind, MDM_ACCOUNT_BYOD) || !strcmp(kind, MDM_ACCOUNT_ADDE)) && (!strcmp(conf->mode, kind) || !strcmp(conf->mode, "both"));
}

json_t *mdm_account_servers(const mdm_account_conf_t *conf, const char *base)
{
    static const char *const kinds[] = {MDM_ACCOUNT_ADDE, MDM_ACCOUNT_BYOD}; /* a device takes the first that it knows */
    json_t *list = json_array();
    unsigned i;

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); ++i) {
        if (mdm_account_offers(conf, kinds[i])) {
            json_array_append_new(list, json_pack("{s:o, s:o}", "Version", json_sprintf("mdm-%s", kinds[i]), "BaseURL",
                                                  json_sprintf("%s%s", base, kinds[i])));
        }
    }
    return json_pack("{s:o}", "Servers", list);
}

const char *mdm_account_of(apr_pool_t *p, const mdm_account_conf_t *conf, const mdm_person_t *person)
{
    const char *mail = person->mail ? person->mail : "", *at = strrchr(mail, '@');

    if (*conf->domain) {
        const char *local = at ? apr_pstrmemdup(p, mail, (apr_size_t)(at - mail)) : person->login;

        return *local && !strchr(local, '@') ? mdm_lower(p, apr_pstrcat(p, local, "@", conf->domain, NULL)) : NULL;
    }
    return at && at > mail && at[1] ? mdm_lower(p, mail) : NULL;
}

/* ---------------------------------------------------------------- what a device says of itself */

static const char *word(mdm_ctx_t *ctx, const mdm_plist_t *dict, const char *key)
{
    const char *s = mdm_plist_str(dict, key);

    s = s ? mdm_clean(ctx->pool, s, MAX_WORD) : NULL;
    return s && *s ? s : NULL;
}

apr_status_t mdm_account_read(mdm_ctx_t *ctx, const mdm_blob_t *der, const char *kind, mdm_enroll_facts_t *out)
{
    int own = !strcmp(kind, MDM_ACCOUNT_BYOD);
    mdm_plist_t *dict = NULL;
    mdm_blob_t content = {NULL, 0};
    mdm_cert_t *signer;
    const char *product;
    apr_status_t rv = mdm_cms_verify(ctx, der, NULL, 1, &signer, &content); /* nobody vouches for the signer: what it says is a claim */

    if (rv != APR_SUCCESS || (rv = mdm_plist_parse(ctx, content.data, content.len, &dict)) != APR_SUCCESS
        || (rv = mdm_plist_need_str(ctx, dict, "PRODUCT", MAX_WORD, &product)) != APR_SUCCESS) {
        return rv;
    }
    *out = (mdm_enroll_facts_t){.kind = "mdm", .udid = own ? NULL : word(ctx, dict, "UDID"), .serial = own ? NULL : word(ctx, dict, "SERIAL"),
                                .product = mdm_clean(ctx->pool, product, MAX_WORD), .build = word(ctx, dict, "VERSION"),
                                .os_version = word(ctx, dict, "OS_VERSION"), .platform = "ios"};
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- the log-in */

static const char *hash_of(apr_pool_t *p, const char *token)
{
    apr_size_t len = token ? strlen(token) : 0;

    return len && len <= TOKEN_TEXT_MAX ? mdm_sha256_hex(p, token, len) : NULL;
}

static apr_status_t token_add(mdm_db_t *db, const char *person_id, const char *pending_id, const char **token)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    apr_status_t rv;

    if (!(*token = mdm_token(ctx->pool, TOKEN_BYTES))) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no random numbers");
    }
    if ((rv = mdm_q_account_token_drop_old(db, person_id, now, NULL)) != APR_SUCCESS) {
        return rv;
    }
    return mdm_q_account_token_add(db, hash_of(ctx->pool, *token), person_id, pending_id, now + MDM_ACCOUNT_TOKEN_MS, NULL);
}

apr_status_t mdm_account_may(mdm_db_t *db, const mdm_person_t *person, const char *kind, const char *account, mdm_enroll_policy_t **policy)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_account_conf_t conf;
    mdm_otp_conf_t *otp;
    const char *own;
    apr_status_t rv;

    if ((rv = mdm_account_conf(db, &conf)) != APR_SUCCESS || (rv = mdm_otp_conf(db, &otp)) != APR_SUCCESS) {
        return rv;
    }
    if (!mdm_account_offers(&conf, kind)) {
        return mdm_fail(ctx, MDM_EDENIED, "off", "Enrolling with an account is not switched on.");
    }
    if (*mdm_otp_need(otp, "ios", "self")) {
        return mdm_fail(ctx, MDM_EDENIED, "otp", "Enrolling needs a one-time password here: enrol in the portal.");
    }
    if (!(own = mdm_account_of(ctx->pool, &conf, person))) {
        return mdm_fail(ctx, MDM_EDENIED, "none", "This person has no managed Apple account.");
    }
    if (account && *account && strcasecmp(account, own) != 0) {
        return mdm_fail(ctx, MDM_EDENIED, "other", "The account on the device is somebody else's.");
    }
    if (person->disabled) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "This person may not enrol devices.");
    }
    if ((rv = mdm_enroll_policy(db, person, policy)) != APR_SUCCESS) {
        return rv;
    }
    return mdm_enroll_allowed(ctx, *policy, "ios", strcmp((*policy)->ownership, "choose") ? (*policy)->ownership : "personal", "managed");
}

apr_status_t mdm_account_begin(mdm_db_t *db, const mdm_person_t *person, const char *kind, const char *account, const char *ownership,
                               const char **token)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_provision_t how = {.platform = "ios", .level = "managed", .origin = "self", .notify = ""};
    mdm_account_conf_t conf;
    mdm_pending_t *e;
    const char *link;
    int made;
    apr_status_t rv = mdm_account_may(db, person, kind, account, &how.policy);

    if (rv != APR_SUCCESS || (rv = mdm_account_conf(db, &conf)) != APR_SUCCESS) {
        return rv;
    }
    how.ownership = strcmp(how.policy->ownership, "choose") ? how.policy->ownership : ownership ? ownership : "personal";
    if (strcmp(how.ownership, "personal") != 0 && strcmp(how.ownership, "corporate") != 0) {
        return mdm_fail(ctx, MDM_EINPUT, "ownership", "is not possible");
    }
    if ((rv = mdm_pending_provision(db, person, &how, &e, &link, &made)) != APR_SUCCESS
        || (rv = mdm_q_account_pending(db, e->id, kind, mdm_account_of(ctx->pool, &conf, person), mdm_now_ms(ctx) + MDM_ACCOUNT_LIFE_MS))
               != APR_SUCCESS) {
        return rv;
    }
    return token_add(db, person->id, e->id, token);
}

apr_status_t mdm_account_again(mdm_db_t *db, const mdm_person_t *person, const char **token)
{
    apr_status_t rv = token_add(db, person->id, NULL, token);

    return rv == APR_SUCCESS ? mdm_audit(db, "account.login_again", "person", person->id, person->login, "done", NULL) : rv;
}

/* ---------------------------------------------------------------- a device with a token */

static apr_status_t nobody(mdm_ctx_t *ctx)
{
    return mdm_fail(ctx, MDM_EAUTH, NULL, "The access token is missing, unknown, or used up.");
}

static apr_status_t redeem(mdm_db_t *db, const char *token, const char *kind, mdm_pending_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *hash = hash_of(ctx->pool, token);
    mdm_q_account_token_use_t *row;
    apr_status_t rv = hash ? mdm_q_account_token_use(db, hash, mdm_now_ms(ctx), &row) : APR_NOTFOUND;

    if (rv == APR_SUCCESS) {
        rv = mdm_pending_get(db, row->pending_id, out);
    }
    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && (strcmp((*out)->account, kind) != 0 || !mdm_pending_usable(*out)))) {
        return nobody(ctx);
    }
    return rv;
}

apr_status_t mdm_account_admit(mdm_db_t *db, const char *token, const char *kind, const mdm_enroll_facts_t *facts, mdm_pending_t **out)
{
    apr_status_t rv = mdm_db_begin(db);

    if (rv == APR_SUCCESS) {
        rv = redeem(db, token, kind, out);
    }
    rv = mdm_db_end(db, rv);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_enroll_preview(db, *out, facts);
    return rv == MDM_EDENIED ? mdm_enroll_refused_early(db, *out, facts) : rv;
}

apr_status_t mdm_account_shown_first(mdm_db_t *db, const mdm_pending_t *pending, const char *token)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *hash = hash_of(ctx->pool, token);
    mdm_q_account_token_of_t *row;
    apr_status_t rv = hash ? mdm_q_account_token_of(db, hash, pending->id, &row) : APR_NOTFOUND;

    return rv == APR_NOTFOUND ? nobody(ctx) : rv;
}

/* A new token of the device's person takes the old one's place. */
static apr_status_t take(mdm_db_t *db, const char *record_id, const char *hash)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_account_bearer_t *row;
    mdm_q_account_token_take_t *taken;
    apr_status_t rv = mdm_q_account_bearer(db, record_id, &row);

    if (rv == APR_SUCCESS && mdm_secret_equal(row->bearer, hash)) {
        return APR_SUCCESS; /* the cache did not know yet */
    }
    if (rv == APR_SUCCESS) {
        rv = row->person_id ? mdm_q_account_token_take(db, hash, row->person_id, mdm_now_ms(ctx), &taken) : APR_NOTFOUND;
    }
    if (rv == APR_NOTFOUND) {
        return nobody(ctx);
    }
    if (rv != APR_SUCCESS || (rv = mdm_q_account_bearer_set(db, record_id, hash)) != APR_SUCCESS || !row->device_id) {
        return rv;
    }
    rv = mdm_device_event(db, row->device_id, NULL, "enroll.login_again", NULL);
    return rv == APR_SUCCESS ? mdm_change_add(db, "device", row->device_id) : rv;
}

apr_status_t mdm_account_shown(mdm_db_t *db, const char *record_id, const char *bearer, const char *token)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *hash = hash_of(ctx->pool, token);
    apr_status_t rv;

    if (!*bearer || mdm_secret_equal(bearer, hash)) {
        return APR_SUCCESS;
    }
    if (!hash) {
        return nobody(ctx);
    }
    if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
        rv = take(db, record_id, hash);
    }
    return mdm_db_end(db, rv);
}

/* ---------------------------------------------------------------- as the cache knows it */

static void halves(const unsigned char *b, apr_uint32_t out[2])
{
    for (int i = 0; i < 2; i++, b += 4) {
        out[i] = (apr_uint32_t)b[0] << 24 | (apr_uint32_t)b[1] << 16 | (apr_uint32_t)b[2] << 8 | b[3];
    }
}

void mdm_account_mark(mdm_devrec_t *rec, const char *hash)
{
    apr_uint32_t h[2] = {0, 0};

    for (int i = 0; i < 16; i++) {
        h[i / 8] = h[i / 8] << 4 | (apr_uint32_t)(hash[i] <= '9' ? hash[i] - '0' : hash[i] - 'a' + 10);
    }
    rec->policy_key = h[0];
    rec->back_key = h[1];
    rec->flags |= MDM_DEVF_BEARER;
}

apr_status_t mdm_account_bearer(mdm_ctx_t *ctx, const mdm_devrec_t *rec, const char *token)
{
    apr_size_t len = token ? strlen(token) : 0;
    unsigned char sha[32];
    apr_uint32_t h[2];
    mdm_db_t *db;
    apr_status_t rv;

    if (!(rec->flags & MDM_DEVF_BEARER)) {
        return APR_SUCCESS;
    }
    if (!len || len > TOKEN_TEXT_MAX) {
        return nobody(ctx);
    }
    mdm_sha256(token, len, sha);
    halves(sha, h);
    if (!((h[0] ^ rec->policy_key) | (h[1] ^ rec->back_key))) {
        return APR_SUCCESS;
    }
    if ((rv = mdm_db_open(ctx, &db)) == APR_SUCCESS) {
        rv = mdm_account_shown(db, mdm_uuid_text(ctx->pool, rec->record), "?", token);
        mdm_db_close(db);
    }
    return rv;
}
