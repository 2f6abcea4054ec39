/* Mail apps that have gone silent: the list, and its clean-up (PXY-06). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_eas_stale.h"

#define REASON_MAX 500

static apr_status_t page_of(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    return mdm_eas_stale_list(db, *(const apr_int64_t *)arg, page, items, next);
}

static apr_status_t read_days(mdm_web_call_t *call, apr_int64_t *days)
{
    const char *text = NULL;
    apr_status_t rv = mdm_web_query(call->r, call->ctx, "days", &text);

    *days = MDM_STALE_DAYS;
    if (rv == APR_SUCCESS && text && mdm_parse_i64(text, 1, MDM_STALE_DAYS_MAX, days) != APR_SUCCESS)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "days", "must be a number from 1 to %d", MDM_STALE_DAYS_MAX);
    return rv;
}

int mdm_adm_stale_mail(mdm_web_call_t *call)
{
    static const char *const params[] = {"days", NULL};
    apr_int64_t days;
    mdm_adm_list_t list = {.params = params, .read = page_of, .arg = &days, .name = "silent-mail-apps",
                           .columns = "id device:device.name object:device.id object_state:device.state mode:device.mode person:person.name login:person.login "
                                      "device_id class type user_agent model:device.model first_seen_at last_at last_sync_at silent_days"};
    apr_status_t rv = read_days(call, &days);

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.sig = apr_psprintf(call->r->pool, "stale-mail\n%" APR_INT64_T_FMT, days);
    return mdm_adm_list(call, &list);
}

int mdm_adm_stale_mail_end(mdm_web_call_t *call)
{
    static const char *const thens[] = {"retire", "delete", NULL};
    mdm_stale_end_t what = {.reason = ""};
    const char *then = NULL;
    int all = 0;
    json_t *out = NULL;
    const mdm_jfield_t fields[] = {{.name = "days", .type = MDM_JF_INT, .required = 1, .min = 1, .max = MDM_STALE_DAYS_MAX, .out = &what.days},
                                   {.name = "then", .type = MDM_JF_ENUM, .required = 1, .choices = thens, .out = &then},
                                   {.name = "records", .type = MDM_JF_ARRAY, .min = 1, .max = MDM_STALE_ENDS, .out = &what.records},
                                   {.name = "all", .type = MDM_JF_BOOL, .out = &all},
                                   {.name = "reason", .type = MDM_JF_STR, .max = REASON_MAX, .out = &what.reason},
                                   {NULL}};
    apr_status_t rv = mdm_adm_params(call, NULL);

    if (rv == APR_SUCCESS)
        rv = mdm_json_fields(call->ctx, call->body, fields);
    if (rv == APR_SUCCESS && !all == !what.records)
        rv = mdm_fail(call->ctx, MDM_EINPUT, "records", "must be given, or all must be true");
    if (rv == APR_SUCCESS) {
        what.del = strcmp(then, "delete") == 0;
        rv = mdm_eas_stale_end(call->ctx, &what, &out);
    }
    return rv == APR_SUCCESS ? mdm_web_json(call->r, HTTP_OK, out) : mdm_adm_fail(call, rv);
}
