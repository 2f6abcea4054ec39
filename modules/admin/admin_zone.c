/* The zone as a whole: counts, audit, jobs. */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "domain/mdm_device.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_notice.h"
#include "domain/mdm_start.h"
#include "mdm_sql_gen.h"

#define DAY_MS (24 * 3600 * 1000LL)

/* Adds n to the member of an object of counts. */
static void count(json_t *to, const char *name, apr_int64_t n)
{
    json_object_set_new(to, name, json_integer(json_integer_value(json_object_get(to, name)) + n));
}

static apr_status_t overview(mdm_db_t *db, json_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    json_t *state = json_object(), *platform = json_object(), *mode = json_object();
    apr_array_header_t *rows = NULL;
    mdm_q_admin_counts_t *c = NULL;
    mdm_notice_conf_t *mail = NULL;
    apr_int64_t total = 0;
    apr_status_t rv;
    int i;

    json_object_set_new(out, "devices_by_state", state);
    json_object_set_new(out, "devices_by_platform", platform);
    json_object_set_new(out, "devices_by_mode", mode);
    rv = mdm_q_admin_count_devices(db, ctx->actor.limit, &rows);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_admin_count_devices_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admin_count_devices_t);
        count(state, q->state, q->n);
        count(platform, q->platform, q->n);
        count(mode, q->mode, q->n);
        total += q->n;
    }
    if (rv == APR_SUCCESS)
        rv = mdm_q_admin_counts(db, now, now - DAY_MS, ctx->actor.limit, &c);
    if (rv != APR_SUCCESS)
        return rv;
    rv = mdm_notice_conf(db, &mail);
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND)
        return rv;
    json_object_set_new(out, "mail_server", json_boolean(rv == APR_SUCCESS));
    {
        const struct {
            const char *name;
            apr_int64_t n;
        } all[] = {{"devices", total}, {"devices_lost", c->lost}, {"devices_waiting", c->commands_open},
                   {"enrolled_24h", c->enrolled_day}, {"contact_24h", c->contact_day}, {"people", c->people},
                   {"people_local", c->local_people}, {"sources", c->sources}, {"pending_open", c->pending_open},
                   {"jobs_waiting", c->jobs_waiting}, {"jobs_failed", c->jobs_failed}, {"messages_open", c->messages_open},
                   {"nodes", c->nodes}, {"nodes_live", c->nodes_live}};
        unsigned k;
        for (k = 0; k < sizeof(all) / sizeof(all[0]); k++)
            json_object_set_new(out, all[k].name, json_integer(all[k].n));
    }
    return APR_SUCCESS;
}

int mdm_adm_overview(mdm_web_call_t *call)
{
    json_t *out = json_object();
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_params(call, NULL);

    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv == APR_SUCCESS) {
        rv = overview(db, out);
        mdm_db_close(db);
    }
    if (rv == APR_SUCCESS)
        return mdm_adm_json(call, out);
    json_decref(out);
    return mdm_adm_fail(call, rv);
}

static apr_status_t start(mdm_db_t *db, const char *id, json_t **out)
{
    return mdm_start_json(db, out);
}

int mdm_adm_start(mdm_web_call_t *call)
{
    return mdm_adm_look(call, start);
}

/* ---- audit */

#define AUDIT_JSON(p, q)                                                                                                \
    json_pack("{s:s, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:o, s:s}", "id", (q)->id, "at", mdm_adm_time(p, (q)->at_ms),    \
              "actor",                                                                                                  \
              json_pack("{s:s, s:s, s:s, s:s}", "kind", (q)->actor_kind, "id", (q)->actor_id, "name", (q)->actor_name,   \
                        "ip", (q)->ip),                                                                                 \
              "action", (q)->action, "object_kind", (q)->object_kind, "object_id", (q)->object_id, "object_name",       \
              (q)->object_name, "outcome", (q)->outcome, "detail", mdm_adm_parsed((q)->detail), "request_id",           \
              (q)->request_id)

#define AUDIT_COLUMNS \
    "id at actor_kind:actor.kind actor:actor.name ip:actor.ip action object_kind object_id object_name outcome detail request_id"

static apr_status_t audit_all(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows = NULL;
    int i;
    apr_status_t rv = mdm_q_admin_audit_list(db, page->first ? APR_INT64_MAX : page->num, page->id, ctx->actor.limit,
                                             page->count + 1, &rows);

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_admin_audit_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admin_audit_list_t);
        json_array_append_new(items, AUDIT_JSON(ctx->pool, q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next_num(ctx, page, q->at_ms, q->id);
    }
    return rv;
}

int mdm_adm_audit(mdm_web_call_t *call)
{
    const mdm_adm_list_t list = {.sig = "audit", .read = audit_all, .name = "audit", .columns = AUDIT_COLUMNS};

    return mdm_adm_list(call, &list);
}

/* arg: the device, which may be gone: the audit outlives it. */
static apr_status_t audit_of(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows = NULL;
    int i;
    apr_status_t rv = mdm_q_admin_audit_object(db, arg, page->first ? APR_INT64_MAX : page->num, page->id, page->count + 1, &rows);

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_admin_audit_object_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admin_audit_object_t);
        json_array_append_new(items, AUDIT_JSON(ctx->pool, q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next_num(ctx, page, q->at_ms, q->id);
    }
    return rv;
}

int mdm_adm_device_audit(mdm_web_call_t *call)
{
    const char *id = NULL;
    mdm_adm_list_t list = {.read = audit_of, .name = "audit", .columns = AUDIT_COLUMNS};
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.sig = apr_pstrcat(call->r->pool, "audit\n", id, NULL);
    list.arg = id;
    return mdm_adm_list(call, &list);
}

/* ---- jobs */

#define JOB_JSON(p, q)                                                                                                  \
    json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:b, s:o, s:o, s:s, s:o}", "id", (q)->id, "kind", (q)->kind,     \
              "state", (q)->state, "run_at", mdm_adm_time(p, (q)->run_at_ms), "attempts", (json_int_t)(q)->attempts,     \
              "max_attempts", (json_int_t)(q)->max_attempts, "progress_done", (json_int_t)(q)->progress_done,           \
              "progress_total", (json_int_t)(q)->progress_total, "cancel_asked", (q)->cancel_asked != 0, "result",      \
              (q)->result ? mdm_adm_parsed((q)->result) : json_null(), "created_at",                                    \
              mdm_adm_time(p, (q)->created_ms), "created_by", (q)->created_by, "finished_at",                           \
              mdm_adm_time(p, (q)->finished_ms_null ? 0 : (q)->finished_ms))

static apr_status_t jobs(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows = NULL;
    int i;
    apr_status_t rv = mdm_q_admin_jobs_list(db, page->first ? APR_INT64_MAX : page->num, page->id, arg, page->count + 1, &rows);

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_admin_jobs_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admin_jobs_list_t);
        json_array_append_new(items, JOB_JSON(ctx->pool, q));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next_num(ctx, page, q->created_ms, q->id);
    }
    return rv;
}

int mdm_adm_jobs(mdm_web_call_t *call)
{
    static const char *const params[] = {"state", NULL},
                             *const states[] = {"waiting", "running", "done", "failed", "cancelled", NULL};
    const char *state = NULL;
    mdm_adm_list_t list = {.params = params, .read = jobs, .name = "jobs",
                           .columns = "id kind state run_at attempts max_attempts progress_done progress_total result created_at created_by "
                                      "finished_at"};
    apr_status_t rv = mdm_adm_word(call, "state", states, &state);

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.sig = apr_pstrcat(call->r->pool, "jobs\n", state, NULL);
    list.arg = state;
    return mdm_adm_list(call, &list);
}

static apr_status_t job(mdm_db_t *db, const char *id, json_t **out)
{
    mdm_q_admin_job_t *q = NULL;
    apr_status_t rv = mdm_q_admin_job(db, id, &q);

    if (rv == APR_SUCCESS)
        *out = JOB_JSON(mdm_db_ctx(db)->pool, q);
    return rv;
}

int mdm_adm_job(mdm_web_call_t *call)
{
    return mdm_adm_look(call, job);
}

static apr_status_t do_cancel(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    mdm_q_admin_job_t *q = NULL;
    int n = 0;
    apr_status_t rv = mdm_q_admin_job(db, id, &q);

    if (rv == APR_SUCCESS)
        rv = mdm_q_admin_job_cancel(db, id, &n);
    if (rv == APR_SUCCESS && !n)
        rv = mdm_fail(call->ctx, MDM_ECONFLICT, "state", "The job has ended.");
    return rv == APR_SUCCESS ? mdm_audit(db, "job.cancel", "job", id, q->kind, "done", NULL) : rv;
}

int mdm_adm_job_cancel(mdm_web_call_t *call)
{
    return mdm_adm_act(call, do_cancel, NULL, HTTP_ACCEPTED);
}
