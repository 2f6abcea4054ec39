/* The command queue (IOS-05, DEV-14): order by sequence, one statement per offer; an answer and the next offer are one, too. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_apple_user.h"
#include "domain/mdm_command.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_push.h"
#include "domain/mdm_recompute.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"

#define PAYLOAD_PURPOSE "command.payload:"
#define MAX_BROKEN 8 /* commands whose body can't be made, ended in one request */

/* ---------------------------------------------------------------- adding */

apr_status_t mdm_command_payload(mdm_ctx_t *ctx, const mdm_command_add_t *add, const char *id, int *sealed, const char **out)
{
    const char *text = add->payload ? mdm_json_text(ctx->pool, add->payload) : "{}";

    *sealed = add->secret || add->raw || (json_object_size(add->payload) && mdm_command_secret(add->request_type));
    if (strlen(text) > MDM_COMMAND_MAX_BYTES) {
        return mdm_fail(ctx, MDM_ETOOBIG, "payload", "A command may have %d bytes at most.", MDM_COMMAND_MAX_BYTES);
    }
    if (!*sealed) {
        *out = text;
        return APR_SUCCESS;
    }
    return mdm_seal(ctx, apr_pstrcat(ctx->pool, PAYLOAD_PURPOSE, id, NULL), text, strlen(text), out);
}

static apr_status_t may_add(mdm_ctx_t *ctx, const mdm_command_add_t *add, const mdm_q_command_seq_t *seq)
{
    if (!seq->device_id) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "The enrolment has no device yet.");
    }
    if (!strcmp(seq->state, "leaving") && !add->leaving) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "The device is being unenrolled.");
    }
    if (seq->waiting >= MDM_COMMAND_MAX_OPEN && !add->leaving) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "%d commands are waiting for this device already.", MDM_COMMAND_MAX_OPEN);
    }
    return APR_SUCCESS;
}

/* One row more in the queue; nobody is told yet. */
static apr_status_t append(mdm_db_t *db, const mdm_command_add_t *add, const char **id, const char **device_id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_q_command_seq_t *seq = NULL;
    const char *uuid = mdm_uuid(ctx->pool), *text;
    int sealed;
    apr_status_t rv = !uuid ? MDM_EUNAVAIL : add->raw ? APR_SUCCESS : mdm_command_check(ctx, add->request_type, add->payload);

    if (rv == APR_SUCCESS) {
        rv = mdm_command_payload(ctx, add, uuid, &sealed, &text);
    }
    if (rv == APR_SUCCESS && add->coalesce_key) {
        rv = mdm_q_command_supersede(db, add->record_id, add->coalesce_key, now, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_command_seq(db, add->record_id, &seq);
    }
    if (rv == APR_SUCCESS) {
        rv = may_add(ctx, add, seq);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_command_insert(db, uuid, add->record_id, seq->device_id, seq->seq, add->request_type, text, sealed,
                                  add->task_id ? NULL : add->coalesce_key, add->leaving, add->task_id, now, ctx->actor.name,
                                  add->expires_ms ? &add->expires_ms : NULL, NULL);
    }
    if (rv == APR_SUCCESS) {
        *id = uuid;
        *device_id = seq->device_id;
    }
    return rv;
}

/* Always announced: a cache may have seen the queue empty a moment ago, and then a device would not be told for a minute. */
static apr_status_t tell(mdm_db_t *db, const char *record_id, const char *device_id, apr_int64_t wake_after_ms)
{
    apr_status_t rv = mdm_change_add(db, "device", device_id);

    return rv == APR_SUCCESS ? mdm_push_wake(db, record_id, wake_after_ms) : rv;
}

apr_status_t mdm_command_enqueue(mdm_db_t *db, const mdm_command_add_t *add, const char **id)
{
    const char *uuid, *device_id;
    apr_status_t rv = append(db, add, &uuid, &device_id);

    if (rv == APR_SUCCESS) {
        rv = tell(db, add->record_id, device_id, add->wake_after_ms);
    }
    if (rv == APR_SUCCESS && id) {
        *id = uuid;
    }
    return rv;
}

const char *const mdm_command_refreshes[] = {"DeviceInformation", "SecurityInfo", "InstalledApplicationList",
                                             "ManagedApplicationList", "ProfileList", "CertificateList", "Restrictions", NULL};

/* What policies changed for the device is queued before the questions, so that a refresh always brings it (DEV-08). owners: user enrolment, as it was
 * enrolled (IOS-08) or has said. */
static apr_status_t before_refresh(mdm_db_t *db, const char *record_id, int *owners)
{
    mdm_q_command_known_t *row;
    json_t *inventory;
    apr_status_t rv = mdm_q_command_known(db, record_id, &row);

    *owners = 0;
    if (rv == APR_SUCCESS) {
        inventory = mdm_json_own(mdm_db_ctx(db), json_loads(row->inventory, 0, NULL));
        *owners = !strcmp(row->account, "byod") || json_is_true(json_object_get(json_object_get(json_object_get(inventory, "security"), "ManagementStatus"),
                                               "IsUserEnrollment"));
        rv = mdm_recompute_now(db, row->device_id);
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

/* What is to be known and done first, then the questions onto `out`; *first = the place of the first one, which a task follows. */
static apr_status_t questions(mdm_db_t *db, const mdm_command_add_t *add, apr_array_header_t *out, int *first)
{
    int owners = 0;
    apr_status_t rv = before_refresh(db, add->record_id, &owners);

    *first = out->nelts;
    if (rv == APR_SUCCESS) { /* before it is asked what it has */
        rv = mdm_delivery_refresh(db, add->record_id);
    }
    for (const char *const *type = mdm_command_refreshes; rv == APR_SUCCESS && *type; type++) {
        mdm_command_add_t *ask;

        if (owners && !strcmp(*type, "Restrictions")) {
            continue; /* such a device answers it with an error */
        }
        ask = apr_array_push(out);
        *ask = (mdm_command_add_t){.record_id = add->record_id, .request_type = *type, .coalesce_key = *type,
                                   .wake_after_ms = add->wake_after_ms};
        if (type == mdm_command_refreshes) {
            ask->task_id = add->task_id;
            ask->expires_ms = add->expires_ms;
        }
    }
    return rv;
}

apr_status_t mdm_command_refresh_task(mdm_db_t *db, const mdm_command_add_t *add, const char **id)
{
    apr_array_header_t *asks = apr_array_make(mdm_db_ctx(db)->pool, 8, sizeof(mdm_command_add_t));
    const char *device_id = NULL, *uuid = NULL;
    int first = 0;
    apr_status_t rv = mdm_delivery_hold(db, mdm_json_own(mdm_db_ctx(db), json_pack("[s]", add->record_id)));

    if (rv == APR_SUCCESS) {
        rv = questions(db, add, asks, &first);
    }

    for (int i = 0; rv == APR_SUCCESS && i < asks->nelts; i++) {
        rv = append(db, &APR_ARRAY_IDX(asks, i, mdm_command_add_t), &uuid, &device_id);
        *id = i == first ? uuid : *id;
    }
    return rv == APR_SUCCESS ? tell(db, add->record_id, device_id, add->wake_after_ms) : rv;
}

apr_status_t mdm_command_refresh_many(mdm_db_t *db, const apr_array_header_t *adds, const char **ids)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    apr_array_header_t *asks = apr_array_make(p, adds->nelts * 8 + 1, sizeof(mdm_command_add_t)),
                       *firsts = apr_array_make(p, adds->nelts + 1, sizeof(int));
    json_t *records = mdm_json_own(mdm_db_ctx(db), json_array());
    const char **all;
    apr_status_t rv;

    for (int i = 0; i < adds->nelts; i++) {
        json_array_append_new(records, json_string(APR_ARRAY_IDX(adds, i, mdm_command_add_t).record_id));
    }
    rv = mdm_delivery_hold(db, records);
    for (int i = 0; rv == APR_SUCCESS && i < adds->nelts; i++) {
        rv = questions(db, &APR_ARRAY_IDX(adds, i, mdm_command_add_t), asks, apr_array_push(firsts));
    }
    if (rv != APR_SUCCESS || !asks->nelts) {
        return rv;
    }
    all = apr_pcalloc(p, sizeof *all * (size_t)(unsigned)asks->nelts);
    rv = mdm_command_enqueue_many(db, asks, all);
    for (int i = 0; rv == APR_SUCCESS && i < adds->nelts; i++) {
        ids[i] = all[APR_ARRAY_IDX(firsts, i, int)];
    }
    return rv;
}

apr_status_t mdm_command_refresh(mdm_db_t *db, const char *record_id)
{
    mdm_command_add_t add = {.record_id = record_id};
    const char *id = NULL;

    return mdm_command_refresh_task(db, &add, &id);
}

apr_status_t mdm_command_record(mdm_db_t *db, const char *device_id, const char **record_id)
{
    mdm_q_command_record_t *row;
    apr_status_t rv = mdm_q_command_record(db, device_id, &row);

    if (rv == APR_SUCCESS) {
        *record_id = row->id;
    }
    return rv;
}

/* ---------------------------------------------------------------- showing, taking back */

/* Why a command is where it is (IOS-05): a stable word, what the sentence has in it, and the sentence. */
typedef struct why_t {
    const char *code, *value, *text;
} why_t;

static why_t because(const char *code, const char *text)
{
    return (why_t){code, NULL, text};
}

/* Why no device at all can be woken; no code: nothing is known against it. */
static apr_status_t nobody_wakes(mdm_db_t *db, why_t *out)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    json_t *j;
    apr_status_t rv = mdm_setting_get(db, "apns.certificate", &j);

    *out = because(NULL, NULL);
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        *out = because("no_certificate", "No device can be woken: there is no Apple push certificate. It gets this at its next contact.");
        return APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_setting_get(db, "apns.stopped", &j);
    }
    if (rv == APR_SUCCESS && json_is_string(json_object_get(j, "reason"))) {
        out->code = "certificate_refused";
        out->value = json_string_value(json_object_get(j, "reason"));
        out->text = apr_psprintf(p, "No device can be woken: Apple refuses the push certificate (%s). It gets this at its next contact.",
                                 out->value);
    }
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

static int is_queued(const mdm_q_command_list_t *r)
{
    return r->open && !strcmp(r->state, "queued");
}

static why_t why_sent(const mdm_q_command_list_t *r)
{
    return r->offers >= 5 ? because("sent_often", "Sent many times without an answer; other commands go before it now.")
           : r->offers > 1 ? because("sent_again", "Sent more than once without an answer; it is offered again at the next contact.")
                           : because("sent", "Sent; the answer is awaited.");
}

static why_t why(mdm_ctx_t *ctx, const mdm_q_command_list_t *r, const why_t *nobody)
{
    if (!r->open) {
        return because(NULL, NULL);
    }
    if (r->expires_ms && !r->expires_ms_null && r->expires_ms <= mdm_now_ms(ctx)) {
        return because("expired", "Its time is over: it is not sent any more.");
    }
    if (strcmp(r->record_state, "leaving") == 0 && !r->leaving) {
        return because("leaving", "The device is being unenrolled and gets nothing else.");
    }
    if (strcmp(r->record_state, "authenticated") == 0) {
        return because("enrolling", "The device has begun to enrol again and has not sent its push token; until then it gets nothing.");
    }
    if (r->refusals) {
        const char *times = apr_psprintf(ctx->pool, "%" APR_INT64_T_FMT, r->refusals);
        return (why_t){"refused", times, apr_psprintf(ctx->pool, "The device has refused it %s times; it is offered again.", times)};
    }
    if (!strcmp(r->state, "notnow")) {
        return because("notnow", "The device was locked or busy and put it off; it is offered again at its next contact.");
    }
    if (!strcmp(r->state, "sent")) {
        return why_sent(r);
    }
    if (nobody->code) {
        return *nobody;
    }
    if (!r->push_ok) {
        return because("no_token", "The device can't be woken: its push token is missing or was refused. It gets this at its next contact.");
    }
    if (r->push_error && *r->push_error) {
        return (why_t){"push_failed", r->push_error,
                       apr_psprintf(ctx->pool, "Waking the device failed (%s) and is tried again.", r->push_error)};
    }
    return because("waiting", "Waiting for the device to contact the server.");
}

apr_status_t mdm_command_list(mdm_db_t *db, const char *device_id, int limit, apr_array_header_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    why_t nobody = {NULL, NULL, NULL}, found;
    int queued = 0;
    apr_status_t rv = mdm_q_command_list(db, device_id, limit, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        queued |= is_queued(&APR_ARRAY_IDX(rows, i, mdm_q_command_list_t));
    }
    if (rv == APR_SUCCESS && queued) {
        rv = nobody_wakes(db, &nobody);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    *out = apr_array_make(ctx->pool, rows->nelts, sizeof(mdm_command_t));
    for (int i = 0; i < rows->nelts; i++) {
        const mdm_q_command_list_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_command_list_t);
        mdm_command_t *c = apr_array_push(*out);
        found = why(ctx, r, &nobody);
        *c = (mdm_command_t){.id = r->id, .request_type = r->request_type, .state = r->state, .created_by = r->created_by,
                             .error = r->error, .seq = r->seq, .open = r->open, .leaving = r->leaving, .offers = r->offers,
                             .created_ms = r->created_ms, .result = r->result, .user = mdm_apple_user_name(r->class),
                             .task_id = r->task_id, .why = found.text, .why_code = found.code, .why_value = found.value};
        c->sent_ms = r->sent_ms_null ? 0 : r->sent_ms;
        c->notnow_ms = r->notnow_ms_null ? 0 : r->notnow_ms;
        c->done_ms = r->done_ms_null ? 0 : r->done_ms;
        c->expires_ms = r->expires_ms_null ? 0 : r->expires_ms;
    }
    return APR_SUCCESS;
}

apr_status_t mdm_command_cancel(mdm_db_t *db, const char *device_id, const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_command_cancel_t *row;
    mdm_q_command_exists_t *there;
    apr_status_t rv = mdm_q_command_cancel(db, id, device_id, mdm_now_ms(ctx), &row);

    if (APR_STATUS_IS_NOTFOUND(rv)) {
        rv = mdm_q_command_exists(db, id, device_id, &there);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, there->open ? "The device has it already." : "The command has ended.");
    }
    if (rv == APR_SUCCESS && !row->leaving) {
        return mdm_q_delivery_cancelled(db, id, mdm_said(ctx->pool, "said_cancelled", NULL), mdm_now_ms(ctx), NULL);
    }
    return rv == APR_SUCCESS ? mdm_leave_cancelled(db, row->record_id, device_id) : rv;
}

apr_status_t mdm_command_clear(mdm_db_t *db, const char *record_id)
{
    apr_status_t rv = mdm_q_command_clear(db, record_id, mdm_now_ms(mdm_db_ctx(db)), NULL);

    if (rv == APR_SUCCESS) {
        rv = mdm_delivery_cleared(db, record_id);
    }
    return rv == APR_SUCCESS ? mdm_q_push_drop(db, record_id, NULL) : rv;
}

/* ---------------------------------------------------------------- offering, ending */

static apr_status_t make_body(mdm_db_t *db, const char *record_id, mdm_q_command_next_t *row, mdm_command_offer_t *offer)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_blob_t text = {(const unsigned char *)row->payload, strlen(row->payload)};
    mdm_q_command_unlock_t *unlock = NULL;
    mdm_q_command_stored_t *late;
    json_t *payload;
    apr_status_t rv = APR_SUCCESS;

    if (row->sealed) {
        rv = mdm_unseal(ctx, apr_pstrcat(ctx->pool, PAYLOAD_PURPOSE, row->id, NULL), row->payload, &text);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_json_parse(ctx, (const char *)text.data, text.len, &payload);
    }
    if (rv == APR_SUCCESS && row->stored && !row->body) {
        rv = mdm_q_command_stored(db, row->stored, &late);
        row->body = rv == APR_SUCCESS ? late->body : NULL;
    }
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        rv = mdm_fail(ctx, APR_NOTFOUND, NULL, "Its content is not kept any more: a newer one has taken its place.");
    }
    if (rv == APR_SUCCESS && row->body) {
        json_object_set_new(payload, "Payload", json_pack("{s:s}", "$data", row->body));
    }
    if (rv == APR_SUCCESS && !strcmp(row->request_type, "ClearPasscode")) {
        rv = mdm_q_command_unlock(db, record_id, &unlock);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_command_body(ctx, record_id, row->id, row->request_type, payload, unlock ? unlock->unlock_token : NULL,
                              row->account && !strcmp(row->account, "byod"), &offer->body);
    }
    offer->id = row->id;
    offer->request_type = row->request_type;
    return rv;
}

static const char *reason_json(mdm_ctx_t *ctx, const char *why_text)
{
    json_t *j = json_pack("{s:s}", "reason", why_text);
    const char *text = mdm_json_text(ctx->pool, j);

    json_decref(j);
    return text;
}

apr_status_t mdm_command_fail(mdm_db_t *db, const char *record_id, const char *id, const char *why_text)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);

    return mdm_q_command_fail(db, id, record_id, reason_json(ctx, why_text), mdm_now_ms(ctx), NULL);
}

/* Then "unavailable" means a secret that can't be opened, and not a database that is away. */
static int has_secret(const mdm_q_command_next_t *row)
{
    return row->sealed || !strcmp(row->request_type, "ClearPasscode");
}

/* Makes the body of a fetched row; one that can't be made is ended, and the next is fetched (a bad command blocks nothing). */
static apr_status_t offer(mdm_db_t *db, const char *record_id, mdm_q_command_next_t *row, int skip_notnow,
                          mdm_command_offer_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv;

    *out = apr_pcalloc(ctx->pool, sizeof **out);
    for (int broken = 0; broken < MAX_BROKEN; broken++) {
        rv = make_body(db, record_id, row, *out);
        if (rv == APR_SUCCESS || (rv == MDM_EUNAVAIL && !has_secret(row))) {
            return rv;
        }
        mdm_log(ctx, row->stored ? MDM_LOG_INFO : MDM_LOG_ERR, "MDM0400", rv, "the command %s (%s) can't be made and is ended: %s", row->id,
                row->request_type, ctx->fail_text ? ctx->fail_text : "its secret can't be opened");
        rv = mdm_command_fail(db, record_id, row->id, ctx->fail_text ? ctx->fail_text : "The secret in it can't be opened.");
        if (rv == APR_SUCCESS) {
            rv = mdm_q_command_next(db, record_id, mdm_now_ms(ctx), skip_notnow, &row);
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return APR_NOTFOUND;
}

apr_status_t mdm_command_next(mdm_db_t *db, const char *record_id, int skip_notnow, mdm_command_offer_t **out)
{
    mdm_q_command_next_t *row;
    apr_status_t rv = mdm_q_command_next(db, record_id, mdm_now_ms(mdm_db_ctx(db)), skip_notnow, &row);

    return rv == APR_SUCCESS ? offer(db, record_id, row, skip_notnow, out) : rv;
}

apr_status_t mdm_command_answer(mdm_db_t *db, const char *record_id, const mdm_command_said_t *said,
                                mdm_command_done_t **done, mdm_command_offer_t **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    mdm_q_command_next_t *row = NULL;
    apr_status_t rv = mdm_q_command_answer(db, record_id, said->id, said->leaving, said->state, said->error, said->result,
                                           mdm_now_ms(ctx), &rows);

    *done = NULL;
    *next = NULL;
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_command_answer_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_command_answer_t);
        if (!strcmp(r->id, said->id)) {
            *done = apr_pcalloc(ctx->pool, sizeof **done);
            **done = (mdm_command_done_t){r->id, r->request_type, r->coalesce_key, (int)r->leaving};
        } else {
            row = apr_pcalloc(ctx->pool, sizeof *row);
            row->id = r->id;
            row->request_type = r->request_type;
            row->payload = r->payload;
            row->sealed = r->sealed;
            row->stored = r->stored;
            row->body = r->body;
            row->account = r->account;
        }
    }
    if (rv == APR_SUCCESS && row) {
        rv = offer(db, record_id, row, 1, next);
        if (APR_STATUS_IS_NOTFOUND(rv)) {
            *next = NULL;
            rv = APR_SUCCESS;
        }
    }
    return rv;
}

apr_status_t mdm_command_notnow(mdm_db_t *db, const char *record_id, const char *id, int *offers)
{
    mdm_q_command_notnow_t *row;
    apr_status_t rv = mdm_q_command_notnow(db, id, record_id, mdm_now_ms(mdm_db_ctx(db)), &row);

    if (rv == APR_SUCCESS) {
        *offers = (int)row->offers;
    }
    return rv;
}

apr_status_t mdm_command_expire(mdm_db_t *db, int *count)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_command_expire(db, mdm_now_ms(mdm_db_ctx(db)), &rows);

    *count = rv == APR_SUCCESS ? rows->nelts : 0;
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_command_expire_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_command_expire_t);
        rv = r->device_id ? mdm_change_add(db, "device", r->device_id) : APR_SUCCESS;
    }
    return rv;
}
