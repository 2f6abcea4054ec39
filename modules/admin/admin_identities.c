/* The identities of devices by their end, and how their renewal goes (IOS-06). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "mdm_sql_gen.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define DAYS_DEFAULT 90
#define DAYS_MAX 3650

static const char *renewal(const mdm_q_identity_list_t *q)
{
    static const struct {
        const char *command, *renewal;
    } words[] = {{"queued", "asked"}, {"sent", "asked"}, {"notnow", "asked"}, {"error", "failed"}, {"format_error", "failed"}};

    if (q->issued)
        return "issued";
    for (size_t i = 0; q->command_state && i < sizeof(words) / sizeof(words[0]); i++) {
        if (!strcmp(words[i].command, q->command_state))
            return words[i].renewal;
    }
    return "waiting";
}

static json_t *identity_json(apr_pool_t *p, const mdm_q_identity_list_t *q)
{
    const char *how = renewal(q);

    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:o}", "fingerprint", q->fingerprint, "serial", q->serial, "device",
                     q->device_id ? json_pack("{s:s, s:s}", "id", q->device_id, "name", q->device_name) : json_null(),
                     "ends_at", mdm_adm_time(p, q->not_after), "renew_at", mdm_adm_time(p, q->renew_null ? 0 : q->renew),
                     "renewal", how, "error",
                     !strcmp(how, "failed") && q->command_error ? mdm_adm_parsed(q->command_error) : json_null());
}

static apr_status_t read_days(mdm_web_call_t *call, apr_int64_t *days)
{
    const char *text = NULL;
    char *end = NULL;
    apr_status_t rv = mdm_web_query(call->r, call->ctx, "days", &text);

    *days = DAYS_DEFAULT;
    if (rv == APR_SUCCESS && text) {
        *days = apr_strtoi64(text, &end, 10);
        if (end == text || *end || *days < 1 || *days > DAYS_MAX)
            rv = mdm_fail(call->ctx, MDM_EINPUT, "days", "must be a number from 1 to %d", DAYS_MAX);
    }
    return rv;
}

/* arg: until when, ms */
static apr_status_t page_of(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows = NULL;
    int i;
    apr_status_t rv = mdm_q_identity_list(db, *(const apr_int64_t *)arg, page->first ? APR_INT64_MIN : page->num, page->id,
                                          ctx->actor.limit, page->count + 1, &rows);

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_identity_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_identity_list_t);
        json_array_append_new(items, identity_json(ctx->pool, q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next_num(ctx, page, q->not_after, q->fingerprint);
    }
    return rv;
}

int mdm_adm_identities(mdm_web_call_t *call)
{
    static const char *const params[] = {"days", NULL};
    apr_int64_t days, until;
    mdm_adm_list_t list = {.params = params, .read = page_of, .arg = &until, .name = "identities",
                           .columns = "fingerprint serial device:device.name device_id:device.id ends_at renew_at renewal error"};
    apr_status_t rv = read_days(call, &days);

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    until = mdm_now_ms(call->ctx) + days * DAY_MS;
    list.sig = apr_psprintf(call->r->pool, "identities\n%" APR_INT64_T_FMT, days);
    return mdm_adm_list(call, &list);
}
