/* Commands for many records at once (POL-09): the statements of one, each for the whole batch. */
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_command.h"
#include "domain/mdm_push.h"
#include "mdm_sql_gen.h"

typedef struct place_t { /* of one record */
    const char *record_id, *device_id; /* device_id NULL: it takes nothing */
    apr_int64_t n, seq, delay_ms;      /* commands; number of the last one that was given out */
} place_t;

typedef struct many_t {
    mdm_ctx_t *ctx;
    mdm_db_t *db;
    apr_hash_t *places;
    json_t *replace, *numbers, *rows, *changes, *wakes;
} many_t;

static place_t *place_of(many_t *m, const char *record_id)
{
    place_t *at = apr_hash_get(m->places, record_id, APR_HASH_KEY_STRING);

    if (!at) {
        at = apr_pcalloc(m->ctx->pool, sizeof *at);
        at->record_id = record_id;
        apr_hash_set(m->places, record_id, APR_HASH_KEY_STRING, at);
    }
    return at;
}

/* Who gets how many, and what they replace. */
static void count(many_t *m, const apr_array_header_t *adds)
{
    apr_hash_index_t *hi;

    for (int i = 0; i < adds->nelts; i++) {
        const mdm_command_add_t *add = &APR_ARRAY_IDX(adds, i, mdm_command_add_t);
        place_t *at = place_of(m, add->record_id);

        at->delay_ms = at->n && at->delay_ms < add->wake_after_ms ? at->delay_ms : add->wake_after_ms;
        at->n++;
        if (add->coalesce_key) {
            json_array_append_new(m->replace, json_pack("{s:s, s:s}", "record", add->record_id, "key", add->coalesce_key));
        }
    }
    for (hi = apr_hash_first(m->ctx->pool, m->places); hi; hi = apr_hash_next(hi)) {
        const place_t *at = apr_hash_this_val(hi);
        json_array_append_new(m->numbers, json_pack("{s:s, s:I}", "record", at->record_id, "n", (json_int_t)at->n));
    }
}

static apr_status_t numbers(many_t *m)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_commands_seq(m->db, mdm_json_text(m->ctx->pool, m->numbers), &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_commands_seq_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_commands_seq_t);
        place_t *at = place_of(m, r->id);

        if (r->device_id && strcmp(r->state, "leaving") != 0 && r->waiting + at->n <= MDM_COMMAND_MAX_OPEN) {
            at->device_id = r->device_id;
            at->seq = r->seq - at->n;
            json_array_append_new(m->changes, json_string(at->device_id));
            json_array_append_new(m->wakes, json_pack("{s:s, s:I}", "record", at->record_id, "due",
                                                      (json_int_t)(mdm_now_ms(m->ctx) + at->delay_ms)));
        }
    }
    return rv;
}

static apr_status_t row(many_t *m, const mdm_command_add_t *add, const char **id)
{
    place_t *at = place_of(m, add->record_id);
    const char *text = "{}";
    int sealed = 0;
    json_t *j;
    apr_status_t rv = APR_SUCCESS;

    *id = NULL;
    if (!at->device_id) {
        return APR_SUCCESS;
    }
    *id = mdm_uuid(m->ctx->pool);
    if (!*id) {
        return MDM_EUNAVAIL;
    }
    if (!add->stored) {
        rv = mdm_command_check(m->ctx, add->request_type, add->payload);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_command_payload(m->ctx, add, *id, &sealed, &text);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    j = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:i, s:s?, s:s?, s:s?}", "id", *id, "record", add->record_id, "device", at->device_id, "seq",
                  (json_int_t)++at->seq, "type", add->request_type, "payload", text, "sealed", sealed, "stored", add->stored, "key",
                  add->task_id ? NULL : add->coalesce_key, "task", add->task_id);
    if (add->expires_ms) {
        json_object_set_new(j, "expires", json_integer(add->expires_ms));
    }
    json_array_append_new(m->rows, j);
    return APR_SUCCESS;
}

apr_status_t mdm_command_enqueue_many(mdm_db_t *db, const apr_array_header_t *adds, const char **ids)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    many_t m = {.ctx = ctx, .db = db, .places = apr_hash_make(ctx->pool), .replace = mdm_json_own(ctx, json_array()),
                .numbers = mdm_json_own(ctx, json_array()), .rows = mdm_json_own(ctx, json_array()),
                .changes = mdm_json_own(ctx, json_array()), .wakes = mdm_json_own(ctx, json_array())};
    apr_int64_t now = mdm_now_ms(ctx);
    apr_status_t rv = APR_SUCCESS;

    count(&m, adds);
    if (json_array_size(m.replace)) {
        rv = mdm_q_commands_supersede(db, mdm_json_text(ctx->pool, m.replace), now, NULL);
    }
    if (rv == APR_SUCCESS && adds->nelts) {
        rv = numbers(&m);
    }
    for (int i = 0; rv == APR_SUCCESS && i < adds->nelts; i++) {
        rv = row(&m, &APR_ARRAY_IDX(adds, i, mdm_command_add_t), &ids[i]);
    }
    if (rv == APR_SUCCESS && json_array_size(m.rows)) {
        rv = mdm_q_commands_insert(db, mdm_json_text(ctx->pool, m.rows), now, ctx->actor.name, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_change_add_many(db, "device", m.changes);
    }
    return rv == APR_SUCCESS ? mdm_push_wake_many(db, m.wakes) : rv;
}
