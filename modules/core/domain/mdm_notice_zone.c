/* What the zone says of itself in its notices: their language, and whom people may ask. */
#include "domain/mdm_notice.h"

#include <string.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "wire/mdm_mail.h"

#define SETTING "notices"
#define NAME_MAX_BYTES 200
#define PHONE_MAX 40

static apr_status_t read_fields(mdm_ctx_t *ctx, json_t *body, mdm_notice_zone_t *z)
{
    const mdm_jfield_t fields[] = {{"language", MDM_JF_ENUM, 0, 0, 0, mdm_notice_languages, 0, &z->language, NULL},
                                   {"organisation", MDM_JF_STR, 0, 0, NAME_MAX_BYTES, NULL, 0, &z->org, NULL},
                                   {"support_mail", MDM_JF_STR, 0, 0, MDM_MAIL_ADDRESS_MAX, NULL, 0, &z->support_mail, NULL},
                                   {"support_phone", MDM_JF_STR, 0, 0, PHONE_MAX, NULL, 0, &z->support_phone, NULL},
                                   {NULL}};

    return mdm_json_fields(ctx, body, fields);
}

apr_status_t mdm_notice_zone(mdm_db_t *db, mdm_notice_zone_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *j = NULL;
    apr_status_t rv = mdm_setting_get(db, SETTING, &j);

    *out = apr_palloc(ctx->pool, sizeof(**out));
    **out = (mdm_notice_zone_t){mdm_notice_languages[0], "", "", ""};
    return rv == APR_SUCCESS ? read_fields(ctx, j, *out) : APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

static json_t *zone_json(const mdm_notice_zone_t *z)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "language", z->language, "organisation", z->org, "support_mail", z->support_mail, "support_phone",
                     z->support_phone);
}

apr_status_t mdm_notice_zone_json(mdm_db_t *db, const char *id, json_t **out)
{
    mdm_notice_zone_t *z;
    apr_status_t rv = mdm_notice_zone(db, &z);

    *out = rv == APR_SUCCESS ? zone_json(z) : NULL;
    return rv;
}

static apr_status_t check(mdm_ctx_t *ctx, mdm_notice_zone_t *z)
{
    if (strpbrk(z->org, "\r\n")) {
        return mdm_fail(ctx, MDM_EINPUT, "organisation", "must be one line");
    }
    if (*z->support_mail && !mdm_mail_address_ok(z->support_mail)) {
        return mdm_fail(ctx, MDM_EINPUT, "support_mail", "must be a mail address");
    }
    if (strspn(z->support_phone, "+0123456789 ()/-") != strlen(z->support_phone)) {
        return mdm_fail(ctx, MDM_EINPUT, "support_phone", "must be a phone number"); /* as people write it, extensions too */
    }
    return APR_SUCCESS;
}

apr_status_t mdm_notice_zone_edit(mdm_db_t *db, json_t *body)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_notice_zone_t *was, now;
    json_t *detail, *value;
    apr_status_t rv = mdm_notice_zone(db, &was);

    if (rv == APR_SUCCESS) {
        now = *was;
        rv = read_fields(ctx, body, &now);
    }
    if (rv != APR_SUCCESS || (rv = check(ctx, &now)) != APR_SUCCESS) {
        return rv;
    }
    value = mdm_json_own(ctx, zone_json(&now));
    rv = mdm_setting_set(db, SETTING, value, 0);
    detail = mdm_json_own(ctx, json_pack("{s:o, s:O}", "before", zone_json(was), "after", value));
    return rv == APR_SUCCESS ? mdm_audit(db, "notices.edit", "zone", "notices", "", "done", detail) : rv;
}
