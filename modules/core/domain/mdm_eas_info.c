/* What mail clients say of themselves, kept in their records (PRV-04). */
#include "domain/mdm_eas_priv.h"

#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_match.h"

#define TEXT_MAX 255

/* Puts a text that was said; what is not said now stays. Returns 1 if it is news. */
static int renew(json_t *attrs, const char *name, const char *text)
{
    const char *was = json_string_value(json_object_get(attrs, name));

    if (!text || !*text || (was && strcmp(was, text) == 0)) {
        return 0;
    }
    json_object_set_new(attrs, name, json_string(text));
    return 1;
}

static int renew_info(json_t *attrs, const mdm_eas_info_t *i)
{
    const struct {
        const char *name, *text;
    } all[] = {{"model", i->model}, {"imei", i->imei}, {"name", i->friendly_name}, {"os", i->os}, {"language", i->os_language},
               {"phone", i->phone_number}, {"operator", i->operator_name}, {"info_agent", i->user_agent}};
    int news = 0;

    for (unsigned k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
        news |= renew(attrs, all[k].name, all[k].text);
    }
    return news;
}

/* "16.5" of "iOS 16.5 20F66"; "" if there is no number with a dot. */
static const char *os_version(apr_pool_t *p, const char *os)
{
    for (; os && *os; os += strcspn(os, " "), os += *os == ' ') {
        apr_size_t n = strspn(os, "0123456789.");

        if (n > 1 && n < 16 && apr_isdigit(*os) && memchr(os, '.', n) && (!os[n] || os[n] == ' ')) {
            return apr_pstrmemdup(p, os, n);
        }
    }
    return "";
}

static apr_status_t tell_device(mdm_db_t *db, const char *record_id, const mdm_q_eas_said_t *row, const mdm_eas_info_t *info)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    const char *imei = info->imei ? mdm_match_imei(p, info->imei) : NULL;
    apr_status_t rv = APR_SUCCESS;

    if (imei && (rv = mdm_q_eas_imei_drop(db, record_id, imei, NULL)) == APR_SUCCESS) {
        rv = mdm_q_eas_imei_put(db, record_id, imei, NULL);
    }
    if (rv == APR_SUCCESS && row->device_id) {
        rv = mdm_q_eas_said_device(db, row->device_id, imei ? mdm_clean(p, info->imei, TEXT_MAX) : "", info->model ? info->model : "",
                                   os_version(p, info->os), NULL);
    }
    return rv;
}

static apr_status_t said(mdm_db_t *db, const char *record_id, const char *agent, int version, const mdm_eas_info_t *info)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *text = mdm_eas_version_text(version);
    mdm_q_eas_said_t *row;
    json_t *attrs;
    int news;
    apr_status_t rv = mdm_q_eas_said(db, record_id, &row);

    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? APR_SUCCESS : rv; /* gone meanwhile */
    }
    attrs = json_loads(row->attrs, 0, NULL);
    attrs = mdm_json_own(ctx, json_is_object(attrs) ? attrs : json_object());
    news = renew(attrs, "user_agent", mdm_clean(ctx->pool, agent, TEXT_MAX)) | renew(attrs, "version", text);
    news |= info && renew_info(attrs, info);
    if (!news) {
        return APR_SUCCESS;
    }
    rv = mdm_q_eas_said_put(db, record_id, mdm_json_text(ctx->pool, attrs), NULL);
    return rv == APR_SUCCESS && info ? tell_device(db, record_id, row, info) : rv;
}

apr_status_t mdm_eas_said(mdm_ctx_t *ctx, const char *record_id, const char *agent, int version, const mdm_eas_info_t *info)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
        rv = said(db, record_id, agent, version, info);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}
