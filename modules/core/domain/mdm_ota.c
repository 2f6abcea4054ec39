#include "domain/mdm_ota.h"
#include <string.h>
#include "wire/mdm_cms.h"
#include "wire/mdm_plist.h"

#define MAX_WORD 64
#define MAX_CHALLENGE 128

static const char *word(mdm_ctx_t *ctx, const mdm_plist_t *dict, const char *key)
{
    const char *s = mdm_plist_str(dict, key);

    s = s ? mdm_clean(ctx->pool, s, MAX_WORD) : NULL;
    return s && *s ? s : NULL;
}

apr_status_t mdm_ota_read(mdm_ctx_t *ctx, const mdm_blob_t *der, mdm_ota_report_t *out)
{
    mdm_plist_t *dict = NULL;
    mdm_blob_t content = {NULL, 0};
    mdm_certinfo_t info;
    const char *udid, *serial;
    apr_status_t rv;

    memset(out, 0, sizeof *out);
    /* SHA-1 is accepted: certificates that Apple gave to old devices sign with it. */
    rv = mdm_cms_verify(ctx, der, NULL, 1, &out->signer, &content);
    if (rv == APR_SUCCESS) {
        rv = mdm_cert_info(ctx, out->signer, &info);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_plist_parse(ctx, content.data, content.len, &dict);
    }
    if (rv != APR_SUCCESS || (rv = mdm_plist_need_str(ctx, dict, "UDID", MAX_WORD, &udid)) != APR_SUCCESS
        || (rv = mdm_plist_need_str(ctx, dict, "SERIAL", MAX_WORD, &serial)) != APR_SUCCESS) {
        return rv;
    }
    if (strchr(udid, ':')) {
        return mdm_fail(ctx, MDM_EINPUT, "UDID", "The id must not have a colon.");
    }
    if (mdm_plist_get(dict, "CHALLENGE")
        && (rv = mdm_plist_need_str(ctx, dict, "CHALLENGE", MAX_CHALLENGE, &out->challenge)) != APR_SUCCESS) {
        return rv;
    }
    udid = mdm_clean(ctx->pool, udid, MAX_WORD);
    out->facts = (mdm_enroll_facts_t){.kind = "mdm", .native_id = udid, .udid = udid, .serial = mdm_clean(ctx->pool, serial, MAX_WORD),
                                      .imei = word(ctx, dict, "IMEI"), .product = word(ctx, dict, "PRODUCT"),
                                      .build = word(ctx, dict, "VERSION"), .os_version = word(ctx, dict, "OS_VERSION"),
                                      .platform = "ios"};
    out->hash = mdm_sha256_hex(ctx->pool, content.data, content.len);
    out->fingerprint = info.fingerprint;
    out->not_after_ms = info.not_after_ms;
    return *udid && *out->facts.serial ? APR_SUCCESS : mdm_fail(ctx, MDM_EINPUT, "SERIAL", "is empty");
}

/* ---------------------------------------------------------------- judging */

static apr_status_t first(mdm_db_t *db, const mdm_pending_t *pending, const mdm_ota_report_t *report)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_challenge_t *ch;
    apr_status_t rv = mdm_challenge_take_service(db, report->challenge, report->hash, &ch);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!ch->pending_id || strcmp(ch->pending_id, pending->id) != 0) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "The challenge belongs to another enrolment.");
    }
    rv = ch->fingerprint ? APR_SUCCESS : mdm_challenge_issued(db, ch->hash, report->fingerprint);
    return rv == APR_SUCCESS ? mdm_pending_reported(db, pending->id, &report->facts) : rv;
}

static apr_status_t again(mdm_db_t *db, const mdm_pending_t *pending, const mdm_ota_report_t *report)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = mdm_challenge_reporter(db, pending->id, report->fingerprint);

    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && report->not_after_ms <= mdm_now_ms(ctx))) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "The report is not signed by the identity of this enrolment.");
    }
    return rv;
}

apr_status_t mdm_ota_admit(mdm_db_t *db, const mdm_ca_t *ca, const mdm_pending_t *pending, const mdm_ota_report_t *report, int *second)
{
    mdm_pending_t *fresh = NULL;
    apr_status_t rv = mdm_db_begin(db);

    *second = mdm_cert_signed_by(report->signer, ca->ca);
    if (rv == APR_SUCCESS) {
        rv = *second ? again(db, pending, report) : first(db, pending, report);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_pending_get(db, pending->id, &fresh);
    }
    rv = mdm_db_end(db, rv);
    if (rv != APR_SUCCESS || !fresh) {
        return rv;
    }
    rv = mdm_enroll_preview(db, fresh, &report->facts);
    return rv == MDM_EDENIED ? mdm_enroll_refused_early(db, fresh, &report->facts) : rv;
}
