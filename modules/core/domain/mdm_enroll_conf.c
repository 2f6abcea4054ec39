#include "domain/mdm_enroll_conf.h"

#include <string.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_account.h"
#include "domain/mdm_log_rows.h"

#define URL_SETTING "enroll.public_url"
#define AGENT_SETTING "android.agent"

/* ---------------------------------------------------------------- links */

apr_status_t mdm_enroll_base(mdm_db_t *db, const char *public_url, const char **out)
{
    json_t *set = NULL;
    apr_status_t rv = mdm_setting_get(db, URL_SETTING, &set);
    const char *url = rv == APR_SUCCESS ? json_string_value(set) : NULL;

    *out = url && *url ? url : public_url;
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

const char *mdm_enroll_link(apr_pool_t *p, const char *base, const char *token, const char *otp)
{
    return apr_pstrcat(p, base, "/enroll/", token, otp ? "#" : "", otp ? otp : "", NULL);
}

/* "https://host" or "https://host:port", as it is kept; NULL: it is none. */
static const char *url_of(apr_pool_t *p, const char *text)
{
    char *url = mdm_lower(p, text), *host, *port;
    apr_size_t n = strlen(url);
    apr_int64_t number;

    if (n && url[n - 1] == '/')
        url[--n] = '\0';
    if (strncmp(url, "https://", 8) != 0)
        return NULL;
    host = apr_pstrdup(p, url + 8);
    if ((port = strchr(host, ':'))) {
        *port++ = '\0';
        if (mdm_parse_i64(port, 1, 65535, &number) != APR_SUCCESS)
            return NULL;
    }
    return mdm_is_host(host) ? url : NULL;
}

/* ---------------------------------------------------------------- the agent */

apr_status_t mdm_enroll_agent(mdm_db_t *db, mdm_android_agent_t *out)
{
    json_t *set = NULL;
    apr_status_t rv = mdm_setting_get(db, AGENT_SETTING, &set);

    if (rv != APR_SUCCESS || json_is_null(set))
        return rv == APR_SUCCESS ? APR_NOTFOUND : rv;
    if (mdm_android_agent_read(mdm_db_ctx(db), set, out) != APR_SUCCESS)
        return mdm_fail(mdm_db_ctx(db), MDM_EUNAVAIL, NULL, "The settings of the agent's package are damaged: save them again.");
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- as the API has them */

apr_status_t mdm_enroll_conf_json(mdm_db_t *db, const char *id, json_t **out)
{
    mdm_account_conf_t account;
    mdm_android_agent_t agent;
    const char *url = "";
    apr_status_t rv = mdm_enroll_base(db, "", &url);
    int there = 0;

    if (rv == APR_SUCCESS)
        rv = mdm_account_conf(db, &account);

    if (rv == APR_SUCCESS) {
        rv = mdm_enroll_agent(db, &agent);
        there = rv == APR_SUCCESS;
    }
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND)
        return rv;
    *out = json_pack("{s:s, s:o, s:o}", "public_url", url, "agent", there ? mdm_android_agent_json(&agent) : json_null(), "account",
                     mdm_account_conf_json(&account));
    return *out ? APR_SUCCESS : APR_ENOMEM;
}

static apr_status_t agent_edit(mdm_db_t *db, json_t *body)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_android_agent_t agent;
    apr_status_t rv;

    if (!body)
        return mdm_setting_set(db, AGENT_SETTING, mdm_json_own(ctx, json_null()), 0);
    rv = mdm_android_agent_read(ctx, body, &agent);
    if (rv == MDM_EINPUT && ctx->fail_field)
        ctx->fail_field = apr_pstrcat(ctx->pool, "agent.", ctx->fail_field, NULL);
    return rv == APR_SUCCESS ? mdm_setting_set(db, AGENT_SETTING, mdm_json_own(ctx, mdm_android_agent_json(&agent)), 0) : rv;
}

static apr_status_t account_edit(mdm_db_t *db, json_t *body)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_account_conf_t conf;
    apr_status_t rv = mdm_account_conf(db, &conf);

    if (rv != APR_SUCCESS && rv != MDM_EUNAVAIL)
        return rv;
    rv = mdm_account_conf_read(ctx, body, &conf);
    if (rv == MDM_EINPUT && ctx->fail_field)
        ctx->fail_field = apr_pstrcat(ctx->pool, "account.", ctx->fail_field, NULL);
    return rv == APR_SUCCESS ? mdm_account_conf_set(db, &conf) : rv;
}

apr_status_t mdm_enroll_conf_edit(mdm_db_t *db, json_t *body)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *url = NULL, *checked = "";
    json_t *agent = NULL, *account = NULL;
    int agent_given = 0;
    const mdm_jfield_t fields[] = {{"public_url", MDM_JF_STR, 0, 0, 300, NULL, 0, &url, NULL},
                                   {"agent", MDM_JF_OBJECT, 0, 0, 0, NULL, 1, &agent, &agent_given},
                                   {"account", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &account, NULL},
                                   {NULL}};
    apr_status_t rv = mdm_json_fields(ctx, body, fields);

    if (rv == APR_SUCCESS && url && *url && !(checked = url_of(ctx->pool, url)))
        rv = mdm_fail(ctx, MDM_EINPUT, "public_url", "must be https:// with a name, and a port if it is not 443");
    if (rv == APR_SUCCESS && url)
        rv = mdm_setting_set(db, URL_SETTING, mdm_json_own(ctx, json_string(checked)), 0);
    if (rv == APR_SUCCESS && agent_given)
        rv = agent_edit(db, agent);
    if (rv == APR_SUCCESS && account)
        rv = account_edit(db, account);
    return rv == APR_SUCCESS ? mdm_audit(db, "enrollment.settings", "zone", "", "", "done", body) : rv;
}
