/* Notices: written, listed, tried again; their templates. */
#include "domain/mdm_notice_priv.h"

#include <string.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

apr_status_t mdm_notice_hasten(mdm_db_t *db, const char *job)
{
    return mdm_q_push_hasten(db, job, mdm_now_ms(mdm_db_ctx(db)), NULL);
}

static const char *text_of(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s && *s ? s : NULL;
}

/* As the statement wants it: every member there. */
static json_t *row_of(mdm_ctx_t *ctx, const json_t *n)
{
    json_int_t quiet = json_integer_value(json_object_get(n, "quiet"));
    const char *id = mdm_uuid(ctx->pool), *mail = text_of(n, "mail"), *name = text_of(n, "name"), *phone = text_of(n, "phone");
    const json_t *vars = json_object_get(n, "vars");

    return id ? json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?, s:s?, s:s, s:s, s:s, s:s, s:I}", "id", id, "key",
                          phone ? apr_pstrcat(ctx->pool, text_of(n, "key"), "#sms", NULL) : text_of(n, "key"), "channel", phone ? "sms" : "mail", "event",
                          text_of(n, "event"), "person", text_of(n, "person"), "device", text_of(n, "device"), "pending", text_of(n, "pending"), "mail",
                          mail && !phone ? mail : "", "phone", phone ? phone : "", "name", name ? name : "", "vars",
                          json_is_object(vars) ? mdm_json_text(ctx->pool, vars) : "{}", "since",
                          quiet ? (json_int_t)mdm_now_ms(ctx) - quiet : (json_int_t)0) : NULL;
}

static apr_status_t check(mdm_ctx_t *ctx, const json_t *n)
{
    const char *event = text_of(n, "event");
    const mdm_notice_kind_t *kind = event ? mdm_notice_kind(event) : NULL;

    if (!kind || !text_of(n, "key")) {
        return mdm_fail(ctx, MDM_EINPUT, "event", "there is no such notice");
    }
    if (text_of(n, "phone") && !mdm_notice_has_sms(kind)) {
        return mdm_fail(ctx, MDM_EINPUT, "phone", "this notice goes by mail only");
    }
    return APR_SUCCESS;
}

apr_status_t mdm_notice_add_many(mdm_db_t *db, json_t *list)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *rows = mdm_json_own(ctx, json_array());
    apr_int64_t now = mdm_now_ms(ctx);
    const json_t *n;
    size_t i;
    int added = 0, phones = 0, mails = 0;
    apr_status_t rv;

    json_array_foreach(list, i, n) {
        if ((rv = check(ctx, n)) != APR_SUCCESS) {
            return rv;
        }
        if (json_array_append_new(rows, row_of(ctx, n)) != 0) {
            return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no random numbers, or no memory");
        }
        *(text_of(n, "phone") ? &phones : &mails) += 1;
    }
    if (!json_array_size(rows)) {
        return APR_SUCCESS;
    }
    rv = mdm_q_notice_add(db, mdm_json_text(ctx->pool, rows), now, now + MDM_NOTICE_LIFE_MS, &added);
    if (rv == APR_SUCCESS && added && mails) {
        rv = mdm_notice_hasten(db, MDM_NOTICE_JOB);
    }
    return rv == APR_SUCCESS && added && phones ? mdm_notice_hasten(db, MDM_NOTICE_SMS_JOB) : rv;
}

static json_t *one(const mdm_notice_t *n, const char *key, const char *mail, const char *name)
{
    return json_pack("{s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:O?, s:I}", "event", n->event, "key", key, "person", n->person_id, "device",
                     n->device_id, "pending", n->pending_id, "phone", n->phone, "mail", mail, "name", name, "vars", n->vars, "quiet",
                     (json_int_t)n->quiet_ms);
}

apr_status_t mdm_notice_add(mdm_db_t *db, const mdm_notice_t *n)
{
    return mdm_notice_add_many(db, mdm_json_own(mdm_db_ctx(db), json_pack("[o]", one(n, n->key, n->to, n->to_name))));
}

apr_status_t mdm_notice_admins(mdm_db_t *db, const mdm_notice_t *n)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *list = mdm_json_own(ctx, json_array());
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_notice_admins(db, n->device_id ? n->device_id : "", &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_notice_admins_t *a = &APR_ARRAY_IDX(rows, i, mdm_q_notice_admins_t);
        json_array_append_new(list, one(n, apr_pstrcat(ctx->pool, n->key, ":", a->id, NULL), a->mail, a->name));
    }
    return rv == APR_SUCCESS ? mdm_notice_add_many(db, list) : rv;
}

apr_status_t mdm_notice_pending(mdm_db_t *db, const char *pending_id, const char *event, const char *notify)
{
    mdm_notice_t n = {.event = event, .key = apr_pstrcat(mdm_db_ctx(db)->pool, event, ":", pending_id, NULL), .pending_id = pending_id};
    int both = !strcmp(notify, "both");
    mdm_q_notice_pending_t *e;
    apr_status_t rv = *notify ? mdm_q_notice_pending(db, pending_id, &e) : APR_NOTFOUND;

    if (rv != APR_SUCCESS) {
        return *notify ? rv : APR_SUCCESS;
    }
    n.person_id = e->person_id;
    n.to_name = e->person_name;
    if (both || !strcmp(notify, "mail")) {
        n.to = *e->mail ? e->mail : NULL;
        rv = mdm_notice_add(db, &n);
    }
    if (rv == APR_SUCCESS && *e->phone && (both || !strcmp(notify, "sms"))) {
        n.phone = e->phone;
        rv = mdm_notice_add(db, &n);
    }
    return rv;
}

/* ---------------------------------------------------------------- the outbox */

static json_t *when(apr_pool_t *p, apr_int64_t ms)
{
    return ms ? json_string(mdm_time_text(p, ms)) : json_null();
}

#define PUT_ROW(q)                                                                                                                           \
    json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:s, s:s?, s:s, s:I, s:o, s:s, s:o, s:o}", "id",        \
        (q)->id, "event", (q)->event, "channel", (q)->channel, "phone", (q)->phone, "ref", (q)->ref, "state", (q)->state, "person_id", (q)->person_id, "name", (q)->to_name, "mail", (q)->mail, "device_id", (q)->device_id, \
        "device_name", (q)->device_name, "attempts", (json_int_t)(q)->attempts, "next_at",                                                 \
        when(ctx->pool, strcmp((q)->state, "waiting") ? 0 : (q)->due_ms), "error", (q)->error, "created_at",                               \
        when(ctx->pool, (q)->created_ms), "done_at", when(ctx->pool, (q)->done_ms_null ? 0 : (q)->done_ms)))

apr_status_t mdm_notice_list(mdm_db_t *db, const mdm_page_t *page, const char *state, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t after = page->first ? APR_INT64_MAX : page->num, last_ms = 0;
    const char *last_id = NULL;
    apr_array_header_t *rows;
    apr_status_t rv = *state ? mdm_q_notice_list_state(db, state, after, page->id, ctx->actor.limit, page->count + 1, &rows)
                             : mdm_q_notice_list(db, after, page->id, ctx->actor.limit, page->count + 1, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        if (*state) {
            const mdm_q_notice_list_state_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_notice_list_state_t);
            PUT_ROW(q);
            last_ms = q->created_ms;
            last_id = q->id;
        } else {
            const mdm_q_notice_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_notice_list_t);
            PUT_ROW(q);
            last_ms = q->created_ms;
            last_id = q->id;
        }
    }
    if (rv == APR_SUCCESS && rows->nelts > page->count) {
        *next = mdm_page_next_num(ctx, page, last_ms, last_id);
    }
    return rv;
}

apr_status_t mdm_notice_retry(mdm_db_t *db, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_q_notice_get_t *n;
    int done = 0;
    apr_status_t rv = mdm_q_notice_get(db, id, ctx->actor.limit, &n);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_notice_retry(db, id, now, now + MDM_NOTICE_LIFE_MS, &done);
    }
    if (rv == MDM_ECONFLICT) {
        return mdm_fail(ctx, rv, NULL, "A newer notice of the same kind waits already.");
    }
    if (rv == APR_SUCCESS && !done) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "This notice was sent, or is being sent now.");
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_notice_hasten(db, strcmp(n->channel, "sms") ? MDM_NOTICE_JOB : MDM_NOTICE_SMS_JOB);
    }
    return rv == APR_SUCCESS ? mdm_audit(db, "notice.retry", "notice", id, n->event, "done", NULL) : rv;
}

apr_status_t mdm_notice_cancel(mdm_db_t *db, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_notice_get_t *n;
    int done = 0;
    apr_status_t rv = mdm_q_notice_get(db, id, ctx->actor.limit, &n);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_notice_cancel(db, id, mdm_now_ms(ctx), &done);
    }
    if (rv == APR_SUCCESS && !done) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "This notice does not wait any more, or is being sent now.");
    }
    return rv == APR_SUCCESS ? mdm_audit(db, "notice.cancel", "notice", id, n->event, "done", NULL) : rv;
}

apr_status_t mdm_notice_told(mdm_db_t *db, const json_t *pending_ids, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_notice_told_of(db, mdm_json_text(ctx->pool, pending_ids), &rows);

    *out = rv == APR_SUCCESS ? json_object() : NULL;
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_notice_told_of_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_notice_told_of_t);
        json_t *list = json_object_get(*out, q->pending_id);

        if (!list) {
            json_object_set_new(*out, q->pending_id, list = json_array());
        }
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "id", q->id, "event", q->event, "channel", q->channel, "state", q->state,
            "error", q->error, "next_at", when(ctx->pool, strcmp(q->state, "waiting") ? 0 : q->due_ms), "done_at",
            when(ctx->pool, q->done_ms_null ? 0 : q->done_ms)));
    }
    return rv;
}

/* ---------------------------------------------------------------- templates */

static json_t *names(mdm_ctx_t *ctx, const char *list)
{
    char *last, *copy = apr_pstrdup(ctx->pool, list);
    json_t *out = json_array();

    for (char *name = apr_strtok(copy, " ", &last); name; name = apr_strtok(NULL, " ", &last)) {
        json_array_append_new(out, json_string(name));
    }
    return out;
}

static json_t *template_json(mdm_ctx_t *ctx, const mdm_notice_kind_t *k, const mdm_notice_text_t *t, apr_int64_t version, apr_int64_t changed_ms)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:s?, s:b, s:o, s:I}", "event", k->event, "audience", k->admins ? "administrators" : "person",
                     "language", t->language, "variables", names(ctx, k->vars), "required", names(ctx, k->required), "subject", t->subject, "text", t->text,
                     "html", t->html, "sms", mdm_notice_has_sms(k) ? t->sms : NULL, "changed", version > 0, "changed_at", when(ctx->pool, changed_ms), "version", (json_int_t)version);
}

static const mdm_q_notice_templates_t *changed(const apr_array_header_t *rows, const char *event, const char *language)
{
    for (int i = 0; i < rows->nelts; i++) {
        const mdm_q_notice_templates_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_notice_templates_t);

        if (!strcmp(q->event, event) && !strcmp(q->language, language)) {
            return q;
        }
    }
    return NULL;
}

apr_status_t mdm_notice_templates(mdm_db_t *db, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_notice_templates(db, &rows);

    *out = rv == APR_SUCCESS ? json_array() : NULL;
    for (const mdm_notice_kind_t *k = mdm_notice_kinds; rv == APR_SUCCESS && k->event; k++) {
        for (int i = 0; i < MDM_NOTICE_LANGUAGES; i++) {
            const mdm_notice_text_t *t = &k->texts[i];
            const mdm_q_notice_templates_t *q = changed(rows, k->event, t->language);
            mdm_notice_text_t own = {t->language, q ? q->subject : t->subject, q ? q->text : t->text, q ? q->html : t->html,
                                     q ? q->sms : t->sms};

            json_array_append_new(*out, template_json(ctx, k, &own, q ? q->version : 0, q ? q->updated_ms : 0));
        }
    }
    return rv;
}

/* The text that counts, with what is kept of its change. */
static apr_status_t current(mdm_db_t *db, const mdm_notice_kind_t *kind, const char *language, mdm_notice_text_t *t, mdm_q_notice_template_t **q)
{
    const mdm_notice_text_t *shipped = kind ? mdm_notice_default(kind, language) : NULL;
    apr_status_t rv = shipped ? mdm_q_notice_template(db, kind->event, language, q) : APR_NOTFOUND;

    if (rv == APR_SUCCESS) {
        *t = (mdm_notice_text_t){shipped->language, (*q)->subject, (*q)->text, (*q)->html, (*q)->sms};
    } else if (shipped && APR_STATUS_IS_NOTFOUND(rv)) {
        *q = NULL;
        *t = *shipped;
        rv = APR_SUCCESS;
    }
    return rv;
}

apr_status_t mdm_notice_text(mdm_db_t *db, const mdm_notice_kind_t *kind, const char *language, mdm_notice_text_t *out)
{
    mdm_q_notice_template_t *q;

    return current(db, kind, language, out, &q);
}

apr_status_t mdm_notice_template(mdm_db_t *db, const char *event, const char *language, json_t **out, apr_int64_t *version)
{
    const mdm_notice_kind_t *kind = mdm_notice_kind(event);
    mdm_q_notice_template_t *q;
    mdm_notice_text_t t;
    apr_status_t rv = current(db, kind, language, &t, &q);

    if (rv == APR_SUCCESS) {
        *version = q ? q->version : 0;
        *out = template_json(mdm_db_ctx(db), kind, &t, *version, q ? q->updated_ms : 0);
    }
    return rv;
}

apr_status_t mdm_notice_template_save(mdm_db_t *db, const char *event, const char *language, const mdm_notice_text_t *t, apr_int64_t version)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const mdm_notice_kind_t *kind = mdm_notice_kind(event);
    json_t *detail = mdm_json_own(ctx, json_pack("{s:s}", "language", language));
    mdm_q_notice_template_t *q;
    mdm_notice_text_t was;
    int n = 0;
    apr_status_t rv = current(db, kind, language, &was, &q);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((q ? q->version : 0) != version) {
        return mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this text meanwhile: load it again.");
    }
    if (t && (rv = mdm_notice_check(ctx, kind, t)) != APR_SUCCESS) {
        return rv;
    }
    rv = t ? mdm_q_notice_template_put(db, event, language, t->subject, t->text, t->html, t->sms, version, mdm_now_ms(ctx), &n)
           : mdm_q_notice_template_drop(db, event, language, version, &n);
    if (rv == APR_SUCCESS && t && !n) {
        return mdm_fail(ctx, MDM_ESTALE, NULL, "Somebody has changed this text meanwhile: load it again.");
    }
    return rv == APR_SUCCESS ? mdm_audit(db, t ? "notice.template" : "notice.template_reset", "notice_template", "", event, "done", detail) : rv;
}
