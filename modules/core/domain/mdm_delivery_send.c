/* Queueing what is due (IOS-10): ten changes before the device comes are one delivery, and after each the device is asked what it has. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_command.h"
#include "domain/mdm_delivery_priv.h"
#include "domain/mdm_push.h"

#define FULL_MS (3600 * 1000LL)            /* a full queue is tried again */
#define SILENT_MS (2 * 3600 * 1000LL)      /* longer than any Ping may wait: an account that is there asks more often */
#define SWEEP_AGE_MS (24 * 3600 * 1000LL)
#define TIDY_ROWS 200
#define SWEEP_ROWS 50

typedef mdm_delivery_due_t due_t;

static mdm_command_add_t *add(apr_array_header_t *adds, const due_t *d, const char *type, const char *key, apr_int64_t spread_ms)
{
    mdm_command_add_t *a = apr_array_push(adds);

    *a = (mdm_command_add_t){.record_id = d->record_id, .request_type = type, .coalesce_key = key,
                             .wake_after_ms = mdm_push_spread_ms(d->record_id, spread_ms)};
    return a;
}

static void carry(mdm_ctx_t *ctx, apr_array_header_t *adds, const due_t *d, apr_int64_t spread_ms)
{
    const char *key = apr_pstrcat(ctx->pool, MDM_DELIVERY_KEY, d->type, NULL);
    int type = mdm_policy_type_of(d->type);

    if (*d->hash) {
        add(adds, d, "InstallProfile", key, spread_ms)->stored = d->hash;
    } else {
        add(adds, d, "RemoveProfile", key, spread_ms)->payload =
            mdm_json_own(ctx, json_pack("{s:s}", "Identifier", type < 0 ? "" : mdm_policy_profile_ids[type]));
    }
}

/* The commands of a batch that is sorted by device; at[i] = place of the i-th row's own. What follows asks for the truth. */
static apr_array_header_t *commands(mdm_ctx_t *ctx, const due_t *due, int n, apr_int64_t spread_ms, int *at)
{
    apr_array_header_t *adds = apr_array_make(ctx->pool, n * 2, sizeof(mdm_command_add_t));
    int security = 0;

    for (int i = 0; i < n; i++) {
        at[i] = adds->nelts;
        carry(ctx, adds, &due[i], spread_ms);
        security |= !strcmp(due[i].type, mdm_policy_types[MDM_POLICY_SECURITY]);
        if (i + 1 < n && !strcmp(due[i].device_id, due[i + 1].device_id)) {
            continue;
        }
        add(adds, &due[i], "ProfileList", "ProfileList", spread_ms);
        if (security) {
            add(adds, &due[i], "SecurityInfo", "SecurityInfo", spread_ms);
        }
        security = 0;
    }
    return adds;
}

static int by_device(const void *x, const void *y)
{
    const due_t *a = x, *b = y;
    int c = strcmp(a->device_id, b->device_id);

    return c ? c : strcmp(a->type, b->type);
}

apr_status_t mdm_delivery_queue(mdm_db_t *db, mdm_delivery_due_t *due, int n, apr_int64_t spread_ms)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    int *at = apr_pcalloc(ctx->pool, sizeof(int) * (apr_size_t)(n + 1));
    apr_array_header_t *adds;
    const char **ids;
    apr_status_t rv;

    if (!n) {
        return APR_SUCCESS;
    }
    qsort(due, (size_t)n, sizeof *due, by_device);
    adds = commands(ctx, due, n, spread_ms, at);
    ids = apr_pcalloc(ctx->pool, sizeof(char *) * (apr_size_t)adds->nelts);
    rv = mdm_command_enqueue_many(db, adds, ids);
    for (int i = 0; rv == APR_SUCCESS && i < n; i++) {
        due[i].command_id = ids[at[i]];
        due[i].due_ms = mdm_now_ms(ctx) + FULL_MS;
    }
    return rv;
}

static apr_status_t send_rows(mdm_db_t *db, due_t *due, int n, apr_int64_t spread_ms)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *list = mdm_json_own(ctx, json_array());
    apr_status_t rv = mdm_delivery_queue(db, due, n, spread_ms);

    for (int i = 0; rv == APR_SUCCESS && i < n; i++) {
        json_t *j = json_pack("{s:s, s:s, s:s?}", "device", due[i].device_id, "type", due[i].type, "command", due[i].command_id);
        json_object_set_new(j, "due", due[i].command_id ? json_null() : json_integer(due[i].due_ms));
        json_array_append_new(list, j);
    }
    return rv == APR_SUCCESS ? mdm_q_delivery_queued(db, mdm_json_text(ctx->pool, list), mdm_now_ms(ctx), NULL) : rv;
}

apr_status_t mdm_delivery_send(mdm_db_t *db, json_t *ids, apr_int64_t spread_ms, int *count)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_delivery_due_of(db, mdm_json_text(ctx->pool, ids), mdm_now_ms(ctx), &rows);
    int n = rv == APR_SUCCESS ? rows->nelts : 0;
    due_t *due = apr_pcalloc(ctx->pool, sizeof *due * (apr_size_t)(n + 1));

    for (int i = 0; i < n; i++) {
        const mdm_q_delivery_due_of_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_delivery_due_of_t);
        due[i] = (due_t){.device_id = r->device_id, .type = r->type, .hash = r->hash, .record_id = r->record_id};
    }
    if (count) {
        *count = n;
    }
    return n ? send_rows(db, due, n, spread_ms) : rv;
}

apr_status_t mdm_delivery_hold(mdm_db_t *db, json_t *records)
{
    apr_array_header_t *rows;

    if (!json_array_size(records)) {
        return APR_SUCCESS;
    }
    return mdm_q_delivery_hold(db, mdm_json_text(mdm_db_ctx(db)->pool, records), &rows);
}

static apr_status_t send_one(mdm_db_t *db, const char *device_id)
{
    return mdm_delivery_send(db, mdm_json_own(mdm_db_ctx(db), json_pack("[s]", device_id)), 0, NULL);
}

apr_status_t mdm_delivery_refresh(mdm_db_t *db, const char *record_id)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_delivery_refresh(db, record_id, mdm_now_ms(mdm_db_ctx(db)), &rows);

    return rv == APR_SUCCESS && rows->nelts ? send_one(db, APR_ARRAY_IDX(rows, 0, mdm_q_delivery_refresh_t).device_id) : rv;
}

apr_status_t mdm_delivery_cleared(mdm_db_t *db, const char *record_id)
{
    return mdm_q_delivery_cleared(db, record_id, mdm_now_ms(mdm_db_ctx(db)), NULL);
}

apr_status_t mdm_delivery_left(mdm_db_t *db, const char *device_id)
{
    return mdm_q_delivery_left(db, device_id, NULL);
}

apr_status_t mdm_delivery_release(mdm_db_t *db, const char *device_id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *record_id;
    apr_status_t rv = mdm_command_record(db, device_id, &record_id);

    if (rv == APR_SUCCESS) {
        rv = mdm_delivery_hold(db, mdm_json_own(ctx, json_pack("[s]", record_id)));
    }
    if (rv == APR_SUCCESS || APR_STATUS_IS_NOTFOUND(rv)) {
        rv = mdm_q_delivery_release(db, device_id, mdm_now_ms(ctx));
    }

    if (APR_STATUS_IS_NOTFOUND(rv)) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "No mail account of this device has to be removed.");
    }
    return rv == APR_SUCCESS ? send_one(db, device_id) : rv;
}

/* Whom a step of tidying comes to: `silent` are released, `due` is queued for all. */
static apr_status_t tidy_list(mdm_db_t *db, apr_int64_t now, json_t *records, json_t *silent, json_t *due)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_delivery_silent(db, now - SILENT_MS, TIDY_ROWS, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_delivery_silent_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_delivery_silent_t);
        json_array_append_new(silent, json_string(r->device_id));
        json_array_append_new(due, json_string(r->device_id));
        json_array_append_new(records, r->record_id ? json_string(r->record_id) : json_null());
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_delivery_due(db, now, TIDY_ROWS, &rows);
    }
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_delivery_due_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_delivery_due_t);
        json_array_append_new(due, json_string(r->device_id));
        json_array_append_new(records, json_string(r->record_id));
    }
    return rv;
}

apr_status_t mdm_delivery_tidy(mdm_db_t *db, int *count)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    json_t *records = mdm_json_own(ctx, json_array()), *silent = mdm_json_own(ctx, json_array()), *due = mdm_json_own(ctx, json_array()), *id;
    int n = 0, swept = 0;
    size_t i;
    apr_status_t rv = tidy_list(db, now, records, silent, due);

    if (rv == APR_SUCCESS) {
        rv = mdm_delivery_hold(db, records);
    }
    json_array_foreach(silent, i, id) {
        if (rv == APR_SUCCESS) {
            rv = mdm_q_delivery_release(db, json_string_value(id), now);
            rv = APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv; /* somebody said so meanwhile */
        }
    }
    if (rv == APR_SUCCESS && json_array_size(due)) {
        rv = mdm_delivery_send(db, due, 0, &n);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_delivery_sweep(db, now - SWEEP_AGE_MS, SWEEP_ROWS, &swept);
    }
    *count = n + swept;
    return rv;
}
