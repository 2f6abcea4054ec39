/* Commands for many records at once (POL-09): the statements of one, each for the whole batch. What waits of the same key and was not sent is given
 * the new content where that keeps the order: a policy that changes again before its devices come writes one row of each, and no new ones. */
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_command.h"
#include "domain/mdm_push.h"
#include "mdm_sql_gen.h"

typedef struct place_t { /* of one record */
    const char *record_id, *device_id;    /* device_id NULL: it takes nothing */
    apr_int64_t n, seq, delay_ms;         /* new commands; number of the last one that was given out */
    apr_int64_t kept;                     /* number of the last one that stays */
    int granted;                          /* it takes new ones */
} place_t;

/* A command of a key that waits already and was not sent. */
typedef struct waiting_t {
    const mdm_q_commands_waiting_t *row;
    struct waiting_t *older;
} waiting_t;

typedef struct many_t {
    mdm_ctx_t *ctx;
    mdm_db_t *db;
    apr_hash_t *places, *waiting;
    const mdm_q_commands_waiting_t **kept; /* of each of the adds: the one that carries it, NULL = a new one */
    json_t *ended, *renewed, *numbers, *rows, *changes, *wakes;
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

static const char *waiting_key(many_t *m, const char *record_id, const char *key)
{
    return apr_pstrcat(m->ctx->pool, record_id, " ", key, NULL);
}

/* Puts what is not in it yet into a JSON list. */
static void once(json_t *list, apr_hash_t *seen, const char *what)
{
    if (!apr_hash_get(seen, what, APR_HASH_KEY_STRING)) {
        apr_hash_set(seen, what, APR_HASH_KEY_STRING, what);
        json_array_append_new(list, json_string(what));
    }
}

/* What waits of the keys that are asked for, newest first. */
static apr_status_t look(many_t *m, const apr_array_header_t *adds)
{
    json_t *records = mdm_json_own(m->ctx, json_array()), *keys = mdm_json_own(m->ctx, json_array());
    apr_hash_t *seen = apr_hash_make(m->ctx->pool), *known = apr_hash_make(m->ctx->pool);
    apr_array_header_t *rows;
    apr_status_t rv;

    for (int i = 0; i < adds->nelts; i++) {
        const mdm_command_add_t *add = &APR_ARRAY_IDX(adds, i, mdm_command_add_t);

        if (add->coalesce_key) {
            once(records, seen, add->record_id);
            once(keys, known, add->coalesce_key);
        }
    }
    if (!json_array_size(keys)) {
        return APR_SUCCESS;
    }
    rv = mdm_q_commands_waiting(m->db, mdm_json_text(m->ctx->pool, records), mdm_json_text(m->ctx->pool, keys), &rows);
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        waiting_t *w = apr_pcalloc(m->ctx->pool, sizeof *w);
        const char *key;

        w->row = &APR_ARRAY_IDX(rows, i, mdm_q_commands_waiting_t);
        key = waiting_key(m, w->row->record_id, w->row->coalesce_key);
        w->older = apr_hash_get(m->waiting, key, APR_HASH_KEY_STRING);
        apr_hash_set(m->waiting, key, APR_HASH_KEY_STRING, w);
    }
    return rv;
}

/* The one that waits may carry what is added, if that does not bring it before what was added before. A device that has put a command off has
 * forgotten it; a task follows its own. */
static int carries(const place_t *at, const mdm_command_add_t *add, const waiting_t *w)
{
    return w && !at->n && w->row->seq > at->kept && !add->task_id && !add->expires_ms && !strcmp(w->row->state, "queued");
}

/* Who gets how many new ones, and what carries the others. */
static void place(many_t *m, const apr_array_header_t *adds)
{
    apr_hash_index_t *hi;

    for (int i = 0; i < adds->nelts; i++) {
        const mdm_command_add_t *add = &APR_ARRAY_IDX(adds, i, mdm_command_add_t);
        const char *key = add->coalesce_key ? waiting_key(m, add->record_id, add->coalesce_key) : "";
        waiting_t *w = *key ? apr_hash_get(m->waiting, key, APR_HASH_KEY_STRING) : NULL;
        place_t *at = place_of(m, add->record_id);

        at->delay_ms = (at->n || at->kept) && at->delay_ms < add->wake_after_ms ? at->delay_ms : add->wake_after_ms;
        if (w) {
            apr_hash_set(m->waiting, key, APR_HASH_KEY_STRING, NULL);
        }
        if (carries(at, add, w)) {
            m->kept[i] = w->row;
            at->kept = w->row->seq;
            at->device_id = w->row->device_id;
            w = w->older;
        } else {
            at->n++;
        }
        for (; w; w = w->older) {
            json_array_append_new(m->ended, json_string(w->row->id));
        }
    }
    for (hi = apr_hash_first(m->ctx->pool, m->places); hi; hi = apr_hash_next(hi)) {
        const place_t *at = apr_hash_this_val(hi);

        if (at->n) {
            json_array_append_new(m->numbers, json_pack("{s:s, s:I}", "record", at->record_id, "n", (json_int_t)at->n));
        }
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
            at->granted = 1;
        }
    }
    return rv;
}

/* Who is told, and when he is woken. */
static void tell(many_t *m)
{
    for (apr_hash_index_t *hi = apr_hash_first(m->ctx->pool, m->places); hi; hi = apr_hash_next(hi)) {
        const place_t *at = apr_hash_this_val(hi);

        if (at->device_id) {
            json_int_t due = mdm_now_ms(m->ctx) + at->delay_ms;

            json_array_append_new(m->changes, json_string(at->device_id));
            json_array_append_new(m->wakes, json_pack("{s:s, s:I}", "record", at->record_id, "due", due));
        }
    }
}

static int same(const mdm_q_commands_waiting_t *kept, const mdm_command_add_t *add, const char *payload)
{
    return !strcmp(kept->request_type, add->request_type) && !strcmp(kept->payload, payload)
           && !strcmp(kept->stored ? kept->stored : "", add->stored ? add->stored : "");
}

/* One of the adds: a new row, or what waits is told its new content. */
static apr_status_t row(many_t *m, const mdm_command_add_t *add, const mdm_q_commands_waiting_t *kept, const char **id)
{
    place_t *at = place_of(m, add->record_id);
    const char *text = "{}";
    int sealed = 0;
    json_t *j;
    apr_status_t rv = APR_SUCCESS;

    *id = NULL;
    if (!kept && !at->granted) {
        return APR_SUCCESS;
    }
    *id = kept ? kept->id : mdm_uuid(m->ctx->pool);
    if (!*id) {
        return MDM_EUNAVAIL;
    }
    if (!add->stored) {
        rv = mdm_command_check(m->ctx, add->request_type, add->payload);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_command_payload(m->ctx, add, *id, &sealed, &text);
    }
    if (rv != APR_SUCCESS || (kept && same(kept, add, text))) {
        return rv;
    }
    j = json_pack("{s:s, s:s, s:s, s:i, s:s?}", "id", *id, "type", add->request_type, "payload", text, "sealed", sealed, "stored", add->stored);
    if (kept) {
        json_array_append_new(m->renewed, j);
        return APR_SUCCESS;
    }
    json_object_update_new(j, json_pack("{s:s, s:s, s:I, s:s?, s:s?}", "record", add->record_id, "device", at->device_id, "seq",
                                        (json_int_t)++at->seq, "key", add->task_id ? NULL : add->coalesce_key, "task", add->task_id));
    if (add->expires_ms) {
        json_object_set_new(j, "expires", json_integer(add->expires_ms));
    }
    json_array_append_new(m->rows, j);
    return APR_SUCCESS;
}

static apr_status_t write_all(many_t *m)
{
    apr_pool_t *p = m->ctx->pool;
    apr_int64_t now = mdm_now_ms(m->ctx);
    apr_status_t rv = APR_SUCCESS;

    if (json_array_size(m->renewed)) {
        rv = mdm_q_commands_renew(m->db, mdm_json_text(p, m->renewed), NULL);
    }
    if (rv == APR_SUCCESS && json_array_size(m->rows)) {
        rv = mdm_q_commands_insert(m->db, mdm_json_text(p, m->rows), now, m->ctx->actor.name, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_change_add_many(m->db, "device", m->changes);
    }
    return rv == APR_SUCCESS ? mdm_push_wake_many(m->db, m->wakes) : rv;
}

apr_status_t mdm_command_enqueue_many(mdm_db_t *db, const apr_array_header_t *adds, const char **ids)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    many_t m = {.ctx = ctx, .db = db, .places = apr_hash_make(ctx->pool), .waiting = apr_hash_make(ctx->pool),
                .kept = apr_pcalloc(ctx->pool, sizeof(*m.kept) * (apr_size_t)(adds->nelts + 1))};
    json_t **lists[] = {&m.ended, &m.renewed, &m.numbers, &m.rows, &m.changes, &m.wakes};
    apr_status_t rv;

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        *lists[i] = mdm_json_own(ctx, json_array());
    }
    rv = look(&m, adds);
    if (rv == APR_SUCCESS) {
        place(&m, adds);
    }
    if (rv == APR_SUCCESS && json_array_size(m.ended)) {
        rv = mdm_q_commands_supersede(db, mdm_json_text(ctx->pool, m.ended), mdm_now_ms(ctx), NULL);
    }
    if (rv == APR_SUCCESS && json_array_size(m.numbers)) {
        rv = numbers(&m);
    }
    for (int i = 0; rv == APR_SUCCESS && i < adds->nelts; i++) {
        rv = row(&m, &APR_ARRAY_IDX(adds, i, mdm_command_add_t), m.kept[i], &ids[i]);
    }
    if (rv == APR_SUCCESS) {
        tell(&m);
        rv = write_all(&m);
    }
    return rv;
}
