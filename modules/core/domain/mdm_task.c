/* Quick tasks as administrators see them: preview, beginning, showing, taking back. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_task.h"
#include "mdm_sql_gen.h"

#define MINUTE_MS 60000LL
#define EXAMPLES 5
#define LIVE_ONE 1000 /* devices of a task up to which it is counted anew whenever it is looked at */
#define LIVE_LIST 50  /* the same in a list of tasks */
#define STRETCH 5000  /* devices of a task that are looked at for one page */

static const char *const states[] = {"initiated", "notified", "delivered", "succeeded", "failed", "expired", "cancelled",
                                     "not_applicable", NULL};
#define STATES_OPEN 3 /* the first ones have not ended */

int mdm_task_is_state(const char *state)
{
    const char *const *s = states;

    while (*s && strcmp(*s, state) != 0) {
        s++;
    }
    return !*state || *s != NULL;
}

/* ---------------------------------------------------------------- who is meant */

/* What is done with a page of devices: [{"id", "name"}]. */
typedef apr_status_t (*page_fn)(mdm_db_t *db, void *baton, json_t *list);

static apr_status_t of_list(mdm_db_t *db, const mdm_task_spec_t *spec, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    size_t i, n = json_array_size(spec->devices);
    apr_array_header_t *rows;
    json_t *v;
    apr_status_t rv;

    if (!n || n > MDM_TASK_LIST) {
        return mdm_fail(ctx, MDM_EINPUT, "devices", "must be a list of 1 to %d devices", MDM_TASK_LIST);
    }
    json_array_foreach(spec->devices, i, v) {
        if (!json_is_string(v) || !mdm_is_uuid(json_string_value(v))) {
            return mdm_fail(ctx, MDM_EINPUT, "devices", "must hold ids of devices");
        }
    }
    rv = mdm_q_task_devices_of_list(db, mdm_json_text(ctx->pool, spec->devices), ctx->actor.limit, &rows);
    if (rv == APR_SUCCESS && rows->nelts != (int)n) {
        return mdm_fail(ctx, MDM_EINPUT, "devices", "names a device that does not exist, or one twice");
    }
    *out = mdm_json_own(ctx, json_array());
    for (int k = 0; rv == APR_SUCCESS && k < rows->nelts; k++) {
        const mdm_q_task_devices_of_list_t *r = &APR_ARRAY_IDX(rows, k, mdm_q_task_devices_of_list_t);
        json_array_append_new(*out, json_pack("{s:s, s:s}", "id", r->id, "name", r->name));
    }
    return rv;
}

/* Calls fn for the list, or for pages of the filter until they are over or MDM_TASK_LOOK were seen (*complete = 0). */
static apr_status_t each_page(mdm_db_t *db, const mdm_task_spec_t *spec, page_fn fn, void *baton, int *complete)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *sig = mdm_device_filter_sig(ctx->pool, &spec->filter), *next = NULL;
    apr_array_header_t *rows;
    json_t *list = NULL;
    mdm_page_t page;
    int seen = 0;
    apr_status_t rv = APR_SUCCESS;

    *complete = 1;
    if (spec->devices) {
        rv = of_list(db, spec, &list);
        return rv == APR_SUCCESS ? fn(db, baton, list) : rv;
    }
    do {
        rv = mdm_page_read(ctx, sig, "200", next, &page);
        if (rv == APR_SUCCESS) {
            rv = mdm_device_list(db, &spec->filter, &page, &rows, &next);
        }
        list = mdm_json_own(ctx, json_array());
        for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
            const mdm_device_row_t *r = &APR_ARRAY_IDX(rows, i, mdm_device_row_t);
            json_array_append_new(list, json_pack("{s:s, s:s}", "id", r->id, "name", r->name));
        }
        if (rv == APR_SUCCESS) {
            seen += rows->nelts;
            rv = fn(db, baton, list);
        }
    } while (rv == APR_SUCCESS && next && seen < MDM_TASK_LOOK);
    *complete = !next;
    return rv;
}

/* ---------------------------------------------------------------- preview */

/* One order that was asked about. */
typedef struct choice_t {
    const char *action; /* its name among the choices */
    mdm_task_order_t order;
    json_int_t applies;
    json_t *reasons; /* word → {"reason", "why", "devices", "examples"} */
} choice_t;

typedef struct preview_t {
    choice_t choices[MDM_TASK_CHOICES];
    int n;
    json_int_t devices;
} preview_t;

static void not_this(json_t *reasons, const char *word, const char *why, const mdm_action_facts_t *f)
{
    json_t *r = json_object_get(reasons, word), *examples;

    if (!r) {
        r = json_pack("{s:s, s:s, s:i, s:[]}", "reason", word, "why", why, "devices", 0, "examples");
        json_object_set_new(reasons, word, r);
    }
    json_object_set_new(r, "devices", json_integer(json_integer_value(json_object_get(r, "devices")) + 1));
    examples = json_object_get(r, "examples");
    if (json_array_size(examples) < EXAMPLES) {
        json_array_append_new(examples, json_pack("{s:s, s:s}", "id", f->device_id, "name", f->name));
    }
}

static void preview_device(preview_t *p, const mdm_action_facts_t *f)
{
    p->devices++;
    for (choice_t *c = p->choices; c < p->choices + p->n; c++) {
        const char *why, *word = mdm_task_refused(&c->order, f, &why);

        if (word) {
            not_this(c->reasons, word, why, f);
        } else {
            c->applies++;
        }
    }
}

static apr_status_t preview_page(mdm_db_t *db, void *baton, json_t *list)
{
    json_t *ids = mdm_json_own(mdm_db_ctx(db), json_array()), *v;
    apr_array_header_t *facts;
    size_t i;
    apr_status_t rv;

    json_array_foreach(list, i, v) {
        json_array_append(ids, json_object_get(v, "id"));
    }
    rv = mdm_action_facts_of(db, ids, &facts);
    for (int k = 0; rv == APR_SUCCESS && k < facts->nelts; k++) {
        preview_device(baton, &APR_ARRAY_IDX(facts, k, mdm_action_facts_t));
    }
    return rv;
}

/* The order of the spec, or all that there are. */
static apr_status_t preview_begin(mdm_ctx_t *ctx, const mdm_task_spec_t *spec, preview_t *p)
{
    mdm_task_order_t *order;
    apr_status_t rv = APR_SUCCESS;

    memset(p, 0, sizeof *p);
    if (spec->kind) {
        rv = mdm_task_check(ctx, spec->kind, spec->options, &order);
        if (rv == APR_SUCCESS) {
            p->choices[p->n++].order = *order;
        }
    } else {
        while ((p->choices[p->n].action = mdm_task_choice(p->n, &p->choices[p->n].order)) != NULL) {
            p->n++;
        }
    }
    for (int i = 0; i < p->n; i++) {
        p->choices[i].reasons = mdm_json_own(ctx, json_object());
    }
    return rv;
}

static json_t *choice_json(const choice_t *c)
{
    json_t *reasons = json_array(), *r;
    const char *word;

    json_object_foreach(c->reasons, word, r) {
        json_array_append(reasons, r);
    }
    return json_pack("{s:s*, s:I, s:o}", "action", c->action, "applies", c->applies, "reasons", reasons);
}

apr_status_t mdm_task_preview(mdm_db_t *db, const mdm_task_spec_t *spec, json_t **out)
{
    preview_t p;
    json_t *list;
    int complete;
    apr_status_t rv = preview_begin(mdm_db_ctx(db), spec, &p);

    if (rv == APR_SUCCESS) {
        rv = each_page(db, spec, preview_page, &p, &complete);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    *out = json_pack("{s:I, s:b}", "devices", p.devices, "complete", complete);
    if (spec->kind) {
        json_t *only = mdm_json_own(mdm_db_ctx(db), choice_json(p.choices));
        json_object_update(*out, only);
        return APR_SUCCESS;
    }
    list = json_array();
    for (int i = 0; i < p.n; i++) {
        json_array_append_new(list, choice_json(&p.choices[i]));
    }
    json_object_set_new(*out, "actions", list);
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- beginning */

apr_status_t mdm_task_rows_add(mdm_db_t *db, const char *id, json_t *list, apr_int64_t walked)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);

    return json_array_size(list) ? mdm_q_task_devices_add(db, id, mdm_json_text(ctx->pool, list), walked, mdm_now_ms(ctx), NULL)
                                 : APR_SUCCESS;
}

typedef struct freeze_t {
    const char *id;
    apr_int64_t n;
} freeze_t;

static apr_status_t freeze_page(mdm_db_t *db, void *baton, json_t *list)
{
    freeze_t *f = baton;
    apr_int64_t was = f->n;
    apr_status_t rv = mdm_task_rows_add(db, f->id, list, was);

    f->n += (apr_int64_t)json_array_size(list);
    return rv == APR_SUCCESS ? mdm_q_task_walked(db, f->id, NULL, f->n, was) : rv;
}

/* Devices that are asked to leave are counted before. */
static apr_status_t confirmed(mdm_ctx_t *ctx, const mdm_task_spec_t *spec, apr_int64_t n, int complete)
{
    if (!complete) {
        return mdm_fail(ctx, MDM_ECONFLICT, "filter", "These are more than %d devices: unenroll them in parts.", MDM_TASK_LOOK);
    }
    if (n > 1 && spec->confirm != n) {
        return mdm_fail(ctx, spec->confirm ? MDM_ECONFLICT : MDM_EINPUT, "confirm",
                        "%" APR_INT64_T_FMT " devices would be unenrolled: send this number as confirm.", n);
    }
    return APR_SUCCESS;
}

static apr_status_t insert(mdm_db_t *db, const mdm_task_spec_t *spec, const mdm_task_order_t *order, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *options = spec->options ? mdm_json_text(ctx->pool, spec->options) : "{}", *sealed;
    json_t *target = mdm_json_own(ctx, spec->devices ? json_pack("{s:I}", "devices", (json_int_t)json_array_size(spec->devices))
                                                     : json_pack("{s:o}", "filter", mdm_device_filter_json(&spec->filter)));
    apr_status_t rv = mdm_seal(ctx, apr_pstrcat(ctx->pool, "quick_task.options:", id, NULL), options, strlen(options), &sealed);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_task_add(db, id, order->kind, mdm_json_text(ctx->pool, order->summary), sealed, mdm_json_text(ctx->pool, target),
                            ctx->actor.limit, mdm_now_ms(ctx), ctx->actor.name, spec->spread_minutes * MINUTE_MS,
                            spec->expires_minutes * MINUTE_MS, "preparing", NULL);
    }
    if (rv == APR_SUCCESS) {
        json_t *detail = mdm_json_own(ctx, json_pack("{s:O, s:O}", "options", order->summary, "target", target));
        rv = mdm_audit(db, "task.start", "task", id, order->kind, "done", detail);
    }
    return rv;
}

static apr_status_t job_add(mdm_db_t *db, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_job_add_t add = {.kind = MDM_TASK_JOB, .unique_key = apr_pstrcat(ctx->pool, "task:", id, NULL),
                         .payload = mdm_json_own(ctx, json_pack("{s:s}", "task", id)), .max_attempts = 1000};

    return mdm_job_add(db, &add, NULL);
}

apr_status_t mdm_task_create(mdm_db_t *db, const mdm_task_spec_t *spec, const char **id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_task_order_t *order;
    int leaving, complete = 0;
    freeze_t f = {NULL, 0};
    apr_status_t rv = mdm_task_check(ctx, spec->kind, spec->options, &order);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    leaving = !strcmp(order->kind, "unenroll");
    if (leaving && spec->expires_minutes) {
        return mdm_fail(ctx, MDM_EINPUT, "expires_minutes", "An unenrolment does not expire: it can be cancelled until it is delivered.");
    }
    if (!(*id = f.id = mdm_uuid(ctx->pool))) {
        return MDM_EUNAVAIL;
    }
    rv = insert(db, spec, order, *id);
    if (rv == APR_SUCCESS && (leaving || spec->devices)) { /* frozen now, else by the job */
        rv = each_page(db, spec, freeze_page, &f, &complete);
    }
    if (rv == APR_SUCCESS && complete) {
        rv = mdm_q_task_state_set(db, *id, "preparing", "running", NULL);
    }
    if (rv == APR_SUCCESS && leaving) {
        rv = confirmed(ctx, spec, f.n, complete);
    }
    return rv == APR_SUCCESS ? job_add(db, *id) : rv;
}

/* ---------------------------------------------------------------- showing */

apr_status_t mdm_task_counts(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *open)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_task_counts(db, id, mdm_now_ms(mdm_db_ctx(db)), &rows);

    *open = 0;
    *out = json_object();
    for (const char *const *s = states; rv == APR_SUCCESS && *s; s++) {
        apr_int64_t n = 0;

        for (int i = 0; i < rows->nelts; i++) {
            const mdm_q_task_counts_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_task_counts_t);
            n += strcmp(r->state, *s) ? 0 : r->n;
        }
        json_object_set_new(*out, *s, json_integer(n));
        *open += s - states < STATES_OPEN ? n : 0;
    }
    return rv;
}

static json_int_t sum(json_t *counts)
{
    const char *key;
    json_t *v;
    json_int_t n = 0;

    json_object_foreach(counts, key, v) {
        n += json_integer_value(v);
    }
    return n;
}

/* As the task's job has counted them last; before it has, all wait. */
static json_t *kept_counts(const char *kept, apr_int64_t walked)
{
    json_t *out = json_loads(kept, 0, NULL);

    for (const char *const *s = states; !json_object_size(out) && *s; s++) {
        json_object_set_new(out, *s, json_integer(s == states ? walked : 0));
        walked = 0;
    }
    return out;
}

/* The generated row types of one task and of the list have the same columns. */
typedef mdm_q_task_get_t row_t;

/* live: how many devices a task may have to be counted anew, as long as some of them have not ended. */
static apr_status_t row_json(mdm_db_t *db, const row_t *q, int live, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *counts;
    apr_int64_t open = q->open, at = q->checked_ms;
    apr_status_t rv = APR_SUCCESS;

    if (q->open && q->walked <= live) {
        rv = mdm_task_counts(db, q->id, &counts, &open);
        at = 0;
    } else {
        counts = kept_counts(q->counts, q->walked);
    }
    *out = json_pack("{s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:I, s:I, s:o, s:b, s:s, s:s}", "id", q->id, "kind", q->kind, "options",
                     json_loads(q->summary, 0, NULL), "target", json_loads(q->target, 0, NULL), "state",
                     !open && !strcmp(q->state, "running") ? "done" : q->state, "counts", counts, "counted_at",
                     at ? json_string(mdm_time_text(ctx->pool, at)) : json_null(), "total",
                     strcmp(q->state, "preparing") ? sum(counts) : (json_int_t)q->walked, "spread_minutes",
                     (json_int_t)(q->spread_ms / MINUTE_MS), "expires_minutes",
                     q->expiry_ms ? json_integer(q->expiry_ms / MINUTE_MS) : json_null(), "hidden", q->hidden != 0, "created_at",
                     mdm_time_text(ctx->pool, q->created_ms), "created_by", q->created_by);
    return rv;
}

static apr_status_t get(mdm_db_t *db, const char *id, row_t **q)
{
    return mdm_q_task_get(db, id, mdm_db_ctx(db)->actor.limit, q);
}

apr_status_t mdm_task_json(mdm_db_t *db, const char *id, json_t **out)
{
    row_t *q;
    apr_status_t rv = get(db, id, &q);

    return rv == APR_SUCCESS ? row_json(db, q, LIVE_ONE, out) : rv;
}

/* Running ones may have ended meanwhile: what a row is called decides, so that a page may be short. */
static int wanted(const mdm_task_filter_t *f, json_t *row)
{
    const char *state = json_string_value(json_object_get(row, "state"));
    int ended = !strcmp(state, "done") || !strcmp(state, "cancelled");

    return f->state == MDM_TASK_ANY || (f->state == MDM_TASK_ENDED) == ended;
}

apr_status_t mdm_task_list(mdm_db_t *db, const mdm_page_t *page, const mdm_task_filter_t *f, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_task_list(db, ctx->actor.limit, f->hidden == MDM_TASK_HIDDEN_ONLY, f->hidden != MDM_TASK_SHOWN, f->state,
                                      page->first ? APR_INT64_MAX : page->num, page->id, page->count + 1, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_task_list_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_task_list_t);
        const row_t q = {.id = r->id, .kind = r->kind, .summary = r->summary, .target = r->target, .created_ms = r->created_ms,
                         .created_by = r->created_by, .spread_ms = r->spread_ms, .expiry_ms = r->expiry_ms, .hidden = r->hidden,
                         .state = r->state, .counts = r->counts, .walked = r->walked, .open = r->open,
                         .checked_ms = r->checked_ms};
        json_t *one = NULL;

        rv = row_json(db, &q, LIVE_LIST, &one);
        if (rv == APR_SUCCESS && wanted(f, one)) {
            json_array_append(items, one);
        }
        json_decref(one);
        if (i == page->count - 1 && rows->nelts > page->count) {
            *next = mdm_page_next_num(ctx, page, r->created_ms, r->id);
        }
    }
    return rv;
}

apr_status_t mdm_task_devices(mdm_db_t *db, const char *id, const char *state, const mdm_page_t *page, apr_array_header_t **out,
                              const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    row_t *q;
    apr_status_t rv = get(db, id, &q);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_task_devices(db, id, state, page->num, page->num + STRETCH, mdm_now_ms(ctx), page->count + 1, &rows);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    *next = NULL;
    *out = apr_array_make(ctx->pool, rows->nelts + 1, sizeof(mdm_task_device_t));
    if (rows->nelts <= page->count && page->num + STRETCH < q->walked) {
        *next = mdm_page_next_num(ctx, page, page->num + STRETCH, "");
    }
    for (int i = 0; i < rows->nelts && i < page->count; i++) {
        const mdm_q_task_devices_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_task_devices_t);
        mdm_task_device_t *d = apr_array_push(*out);

        *d = (mdm_task_device_t){.device_id = r->device_id, .name = r->name, .state = r->state,
                                 .reason = mdm_action_why(r->reason) ? r->reason : "",
                                 .why = mdm_action_why(r->reason) ? mdm_action_why(r->reason) : r->reason, .command_id = r->command_id, .error = r->error, .result = r->result, .there = (int)r->there, .n = r->n,
                                 .created_ms = r->created_ms_null ? 0 : r->created_ms, .sent_ms = r->sent_ms_null ? 0 : r->sent_ms,
                                 .done_ms = r->done_ms_null ? 0 : r->done_ms, .expires_ms = r->expires_ms_null ? 0 : r->expires_ms};
        if (i == page->count - 1 && rows->nelts > page->count) {
            *next = mdm_page_next_num(ctx, page, r->n, r->device_id);
        }
    }
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- changing */

apr_status_t mdm_task_cancel(mdm_db_t *db, const char *id)
{
    row_t *q;
    json_t *counts = NULL;
    apr_int64_t open;
    int n = 0;
    apr_status_t rv = get(db, id, &q);

    open = rv == APR_SUCCESS ? q->open : 0;
    if (open && !strcmp(q->state, "running") && q->walked <= LIVE_ONE) {
        rv = mdm_task_counts(db, id, &counts, &open);
        json_decref(counts);
    }
    if (rv == APR_SUCCESS && open) {
        rv = mdm_q_task_cancel(db, id, &n);
    }
    if (rv == APR_SUCCESS && !n) {
        return mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, NULL, "The task has ended.");
    }
    if (rv == APR_SUCCESS) {
        rv = job_add(db, id);
    }
    return rv == APR_SUCCESS ? mdm_audit(db, "task.cancel", "task", id, q->kind, "done", NULL) : rv;
}

apr_status_t mdm_task_hide(mdm_db_t *db, const char *id, int hidden)
{
    row_t *q;
    apr_status_t rv = get(db, id, &q);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_task_hide(db, id, hidden);
    }
    return rv == APR_SUCCESS ? mdm_audit(db, hidden ? "task.hide" : "task.show", "task", id, q->kind, "done", NULL) : rv;
}
