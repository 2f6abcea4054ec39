/* Messages for administrators: list, acknowledge one or all, delete (DEV-03). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include "base/mdm_json.h"
#include "domain/mdm_device.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"

#define ACK_STEP 1000

typedef struct message_filter_t {
    const char *object;
    int open, severity; /* severity: at least */
} message_filter_t;

static apr_status_t messages(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const message_filter_t *f = arg;
    apr_array_header_t *rows = NULL;
    int i;
    apr_status_t rv = mdm_q_admin_messages_list(db, page->first ? APR_INT64_MAX : page->num, page->id, f->object, f->open, f->severity,
                                                ctx->actor.limit, page->count + 1, &rows);

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_admin_messages_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_admin_messages_list_t);
        json_array_append_new(
            items, json_pack("{s:s, s:s, s:s, s:o, s:o, s:I, s:s, s:s, s:o, s:o, s:o}", "id", q->id, "object_kind",
                             q->object_kind, "object_id", q->object_id, "object_name", mdm_adm_text(q->object_name), "at",
                             mdm_adm_time(ctx->pool, q->at_ms), "severity", (json_int_t)q->severity, "code", q->code,
                             "text", mdm_said_text(ctx->pool, q->text), "said", mdm_said_json(ctx->pool, q->text), "acknowledged_at", mdm_adm_time(ctx->pool, q->ack_ms_null ? 0 : q->ack_ms),
                             "acknowledged_by", mdm_adm_text(q->ack_by)));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next_num(ctx, page, q->at_ms, q->id);
    }
    return rv;
}

int mdm_adm_messages(mdm_web_call_t *call)
{
    static const char *const params[] = {"object", "open", "severity", NULL}, *const flags[] = {"0", "1", NULL},
                             *const severities[] = {"1", "2", "3", NULL};
    const char *open = "", *severity = "";
    mdm_ctx_t *ctx = call->ctx;
    message_filter_t f = {NULL, 0, 0};
    mdm_adm_list_t list = {.params = params, .read = messages, .arg = &f, .name = "messages",
                           .columns = "id at severity code text object_kind object_id object_name acknowledged_at acknowledged_by"};
    apr_status_t rv = mdm_web_query(call->r, ctx, "object", &f.object);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "open", flags, &open);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "severity", severities, &severity);
    f.open = *open == '1';
    f.severity = *severity ? *severity - '0' : 0;
    f.object = f.object ? f.object : "";
    if (rv == APR_SUCCESS && *f.object && !mdm_is_uuid(f.object))
        rv = mdm_fail(ctx, MDM_EINPUT, "object", "must be a UUID");
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.sig = apr_psprintf(ctx->pool, "messages\n%s\n%d\n%d", f.object, f.open, f.severity);
    return mdm_adm_list(call, &list);
}

/* A message that this administrator may see. */
static apr_status_t message_get(mdm_web_call_t *call, mdm_db_t *db, const char *id, mdm_q_admin_message_t **m)
{
    apr_status_t rv = mdm_q_admin_message(db, id, m);

    if (rv != APR_SUCCESS || !*call->ctx->actor.limit)
        return rv;
    return strcmp((*m)->object_kind, "device") == 0 ? mdm_device_within(db, (*m)->object_id) : APR_NOTFOUND;
}

static apr_status_t ack(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    mdm_q_admin_message_t *m = NULL;
    int n = 0;
    apr_status_t rv = message_get(call, db, id, &m);

    if (rv == APR_SUCCESS)
        rv = mdm_q_admin_message_ack(db, id, mdm_now_ms(call->ctx), call->caller->login, &n);
    return rv == APR_SUCCESS && n ? mdm_audit(db, "message.acknowledge", "message", m->object_id, m->code, "done", NULL) : rv;
}

int mdm_adm_message_ack(mdm_web_call_t *call)
{
    return mdm_adm_act(call, ack, NULL, HTTP_NO_CONTENT);
}

static apr_status_t drop(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    mdm_q_admin_message_t *m = NULL;
    apr_status_t rv = message_get(call, db, id, &m);

    if (rv == APR_SUCCESS)
        rv = mdm_q_admin_message_delete(db, id);
    return rv == APR_SUCCESS ? mdm_audit(db, "message.delete", "message", m->object_id, m->code, "done", NULL) : rv;
}

int mdm_adm_message_delete(mdm_web_call_t *call)
{
    return mdm_adm_act(call, drop, NULL, HTTP_NO_CONTENT);
}

/* All that are open, of one object or of all that this administrator may see: in steps, so that no transaction is long. */
int mdm_adm_messages_ack(mdm_web_call_t *call)
{
    mdm_ctx_t *ctx = call->ctx;
    const char *object = "";
    const mdm_jfield_t fields[] = {{"object", MDM_JF_UUID, 0, 0, 0, NULL, 0, &object, NULL}, {NULL}};
    apr_int64_t before = mdm_now_ms(ctx), all = 0;
    apr_status_t rv = mdm_json_fields(ctx, call->body, fields);
    int n = ACK_STEP;

    while (rv == APR_SUCCESS && n == ACK_STEP) {
        mdm_db_t *db = NULL;

        rv = mdm_adm_begin(call, &db);
        if (rv == APR_SUCCESS)
            rv = mdm_q_admin_messages_ack(db, object, ctx->actor.limit, before, call->caller->login, ACK_STEP, &n);
        if (rv == APR_SUCCESS && n) {
            json_t *detail = json_pack("{s:i}", "messages", n);
            rv = mdm_audit(db, "message.acknowledge", "message", object, "", "done", detail);
            json_decref(detail);
        }
        rv = mdm_adm_end(db, rv);
        all += rv == APR_SUCCESS ? n : 0;
    }
    return rv == APR_SUCCESS ? mdm_web_json(call->r, HTTP_OK, json_pack("{s:I}", "acknowledged", (json_int_t)all)) : mdm_adm_fail(call, rv);
}
