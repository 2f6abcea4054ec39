/* Quick tasks: preview, start, progress, devices, taking back (DEV-07, API-01). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_action.h"
#include "domain/mdm_roles.h"
#include "domain/mdm_task.h"

#define MINUTES_MAX 525600
#define SPREAD_MAX 10080

/* ---- what is asked for */

/* The filter of the device list, as an object with the same names. */
static apr_status_t read_filter(mdm_ctx_t *ctx, json_t *in, mdm_device_filter_t *f)
{
    apr_status_t rv = mdm_device_filter_read(ctx, in, f);

    if (rv == MDM_EINPUT)
        ctx->fail_field = apr_pstrcat(ctx->pool, "filter.", ctx->fail_field, NULL);
    return rv;
}

/* A kind that wants more than the right to give orders. */
static apr_status_t may_kind(mdm_web_call_t *call, const char *kind)
{
    const mdm_action_t *action = mdm_action_named(kind);

    if (strcmp(kind, "raw") == 0 && !mdm_rights_cover(call->caller->rights, "{\"command\": [\"raw\"]}"))
        return mdm_fail(call->ctx, MDM_EDENIED, NULL, "Your role lacks the right command:raw.");
    if (action && mdm_action_changes(action->command) && !mdm_rights_cover(call->caller->rights, "{\"device\": [\"write\"]}"))
        return mdm_fail(call->ctx, MDM_EDENIED, NULL, "Your role lacks the right device:write.");
    return APR_SUCCESS;
}

/* preview: the kind may be missing. */
static apr_status_t read_spec(mdm_web_call_t *call, int preview, mdm_task_spec_t *s)
{
    mdm_ctx_t *ctx = call->ctx;
    json_t *filter = NULL;
    const mdm_jfield_t fields[] = {{"kind", MDM_JF_STR, !preview, 1, 40, NULL, 0, &s->kind, NULL},
                                   {"options", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &s->options, NULL},
                                   {"devices", MDM_JF_ARRAY, 0, 1, MDM_TASK_LIST, NULL, 0, &s->devices, NULL},
                                   {"filter", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &filter, NULL},
                                   {"spread_minutes", MDM_JF_INT, 0, 0, SPREAD_MAX, NULL, 0, &s->spread_minutes, NULL},
                                   {"expires_minutes", MDM_JF_INT, 0, 1, MINUTES_MAX, NULL, 1, &s->expires_minutes, NULL},
                                   {"confirm", MDM_JF_INT, 0, 0, APR_INT32_MAX, NULL, 0, &s->confirm, NULL},
                                   {NULL}};
    apr_status_t rv;

    memset(s, 0, sizeof(*s));
    s->expires_minutes = -1;
    rv = mdm_json_fields(ctx, call->body, fields);
    if (rv == APR_SUCCESS && !filter == !s->devices)
        rv = mdm_fail(ctx, MDM_EINPUT, filter ? "filter" : "devices", "Either devices or a filter must be given.");
    if (rv == APR_SUCCESS && filter)
        rv = read_filter(ctx, filter, &s->filter);
    if (rv != APR_SUCCESS)
        return rv;
    if (!s->kind)
        return s->options ? mdm_fail(ctx, MDM_EINPUT, "kind", "is missing: whose options are these?") : APR_SUCCESS;
    if (s->expires_minutes < 0)
        s->expires_minutes = strcmp(s->kind, "unenroll") ? MDM_TASK_EXPIRY_MIN : 0;
    return may_kind(call, s->kind);
}

static apr_status_t preview(mdm_db_t *db, const void *arg, json_t **out)
{
    return mdm_task_preview(db, arg, out);
}

int mdm_adm_task_preview(mdm_web_call_t *call)
{
    mdm_task_spec_t spec;

    return mdm_adm_ask(call, read_spec(call, 1, &spec), preview, &spec);
}

int mdm_adm_task_create(mdm_web_call_t *call)
{
    mdm_task_spec_t spec;
    const char *id = NULL;
    json_t *body = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = read_spec(call, 0, &spec);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = mdm_task_create(db, &spec, &id);
    if (rv == APR_SUCCESS)
        rv = mdm_task_json(db, id, &body);
    rv = mdm_adm_end(db, rv);
    if (rv != APR_SUCCESS) {
        json_decref(body);
        return mdm_adm_fail(call, rv);
    }
    call->svc->job_wake();
    apr_table_setn(call->r->headers_out, "Location",
                   apr_pstrcat(call->r->pool, mdm_adm_req(call)->base, "/api/v1/tasks/", id, NULL));
    return mdm_web_json(call->r, HTTP_ACCEPTED, body);
}

/* ---- showing */

static apr_status_t list_page(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    return mdm_task_list(db, page, arg, items, next);
}

int mdm_adm_tasks(mdm_web_call_t *call)
{
    static const char *const params[] = {"hidden", "state", NULL}, *const hiddens[] = {"0", "1", "only", NULL},
                      *const states[] = {"running", "ended", NULL};
    mdm_task_filter_t f;
    const char *hidden, *state;
    apr_status_t rv = mdm_adm_word(call, "hidden", hiddens, &hidden);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "state", states, &state);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    f = (mdm_task_filter_t){*hidden == '1' ? MDM_TASK_HIDDEN_TOO : *hidden == 'o' ? MDM_TASK_HIDDEN_ONLY : MDM_TASK_SHOWN,
                            *state == 'r' ? MDM_TASK_RUNNING : *state == 'e' ? MDM_TASK_ENDED : MDM_TASK_ANY};
    return mdm_adm_list(call, &(mdm_adm_list_t){
        apr_pstrcat(call->r->pool, "tasks\n", hidden, "\n", state, NULL), params, list_page, &f, "tasks",
        "id kind state total created_at created_by initiated:counts.initiated notified:counts.notified delivered:counts.delivered "
        "succeeded:counts.succeeded failed:counts.failed expired:counts.expired cancelled:counts.cancelled "
        "not_applicable:counts.not_applicable"});
}

int mdm_adm_task(mdm_web_call_t *call)
{
    return mdm_adm_look(call, mdm_task_json);
}

static const char *const device_params[] = {"state", NULL};

static apr_status_t read_state(mdm_web_call_t *call, const char **state)
{
    apr_status_t rv = mdm_web_query(call->r, call->ctx, "state", state);

    *state = *state ? *state : "";
    return rv == APR_SUCCESS && !mdm_task_is_state(*state) ? mdm_fail(call->ctx, MDM_EINPUT, "state", "is none of the known values") : rv;
}

static const char *device_sig(apr_pool_t *p, const char *id, const char *state)
{
    return apr_pstrcat(p, "task\n", id, "\n", state, NULL);
}

typedef struct which_t {
    const char *id, *state;
} which_t;

static apr_status_t device_page(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    const which_t *w = arg;
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    apr_array_header_t *rows;
    apr_status_t rv = mdm_task_devices(db, w->id, w->state, page, &rows, next);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_task_device_t *d = &APR_ARRAY_IDX(rows, i, mdm_task_device_t);

        json_array_append_new(
            items, json_pack("{s:s, s:s, s:b, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", d->device_id, "name", d->name,
                             "there", d->there, "state", d->state, "reason", mdm_adm_text(d->reason), "why", mdm_adm_text(d->why),
                             "command", mdm_adm_text(d->command_id), "error", d->error ? mdm_adm_parsed(d->error) : json_null(), "result",
                             d->result ? mdm_adm_parsed(d->result) : json_null(), "ordered_at", mdm_adm_time(p, d->created_ms),
                             "sent_at", mdm_adm_time(p, d->sent_ms), "done_at", mdm_adm_time(p, d->done_ms), "expires_at",
                             mdm_adm_time(p, d->expires_ms)));
    }
    return rv;
}

int mdm_adm_task_devices(mdm_web_call_t *call)
{
    which_t w = {NULL, NULL};
    apr_status_t rv = mdm_adm_id(call, &w.id);

    if (rv == APR_SUCCESS)
        rv = read_state(call, &w.state);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    return mdm_adm_list(call, &(mdm_adm_list_t){
        device_sig(call->r->pool, w.id, w.state), device_params, device_page, &w, "task",
        "id name state reason why error ordered_at sent_at done_at expires_at"});
}

/* ---- changing */

static apr_status_t do_cancel(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_task_cancel(db, id);
}

int mdm_adm_task_cancel(mdm_web_call_t *call)
{
    int rc = mdm_adm_act(call, do_cancel, NULL, HTTP_ACCEPTED);

    if (call->r->status == HTTP_ACCEPTED)
        call->svc->job_wake();
    return rc;
}

static apr_status_t do_hide(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_task_hide(db, id, arg != NULL);
}

int mdm_adm_task_hide(mdm_web_call_t *call)
{
    return mdm_adm_act(call, do_hide, "hide", HTTP_NO_CONTENT);
}

int mdm_adm_task_show(mdm_web_call_t *call)
{
    return mdm_adm_act(call, do_hide, NULL, HTTP_NO_CONTENT);
}
