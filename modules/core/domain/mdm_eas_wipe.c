/* Wipes of mail clients, from asking to the word of the client. */
#include "domain/mdm_eas_wipe.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_apple.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_device.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_notice.h"
#include "domain/mdm_said.h"
#include "wire/mdm_eas_query.h"
#include "mdm_sql_gen.h"

#define ACCOUNT_ONLY 161 /* the protocol version that has account-only wipes */

static int is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* ---------------------------------------------------------------- asking */

static int version_of(mdm_ctx_t *ctx, const mdm_q_eas_wipe_records_t *r)
{
    json_t *attrs = mdm_json_own(ctx, json_loads(r->attrs, 0, NULL));
    const char *text = json_string_value(json_object_get(attrs, "version"));
    int first = text ? mdm_eas_version_number(text) : 0;

    return r->key_version > first ? (int)r->key_version : first;
}

static apr_status_t begin_one(mdm_db_t *db, const char *record_id, const char *what, const char *then, const char *was)
{
    apr_int64_t now = mdm_now_ms(mdm_db_ctx(db));
    apr_status_t rv = mdm_q_eas_wipe_record_state(db, record_id, "leaving", now, NULL); /* the record first: whoever changes both does so */

    return rv == APR_SUCCESS ? mdm_q_eas_wipe_begin(db, record_id, what, "admin", "asked", then, was, now, NULL) : rv;
}

/* Nothing but a certain match makes the mail client follow the phone: a wrong guess would erase another one. */
static int follows(mdm_ctx_t *ctx, const mdm_q_eas_wipe_records_t *r)
{
    json_t *rule = mdm_json_own(ctx, json_loads(r->match_rule, 0, NULL));

    return is(r->class, "native") && is(json_string_value(json_object_get(rule, "tier")), "exact");
}

/* Asks those clients that can do it; *asked = how many. The others leave. along: the phone is erased by its management. */
static apr_status_t begin_all(mdm_db_t *db, const char *device_id, int full, int along, const char *then, const char *was, int *asked)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_eas_wipe_records(db, device_id, &rows);

    *asked = 0;
    if (rv == APR_SUCCESS && !rows->nelts) {
        return APR_NOTFOUND;
    }
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_eas_wipe_records_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_eas_wipe_records_t);
        int can = is(r->state, "enrolled") && (full || version_of(ctx, r) >= ACCOUNT_ONLY) && (!along || follows(ctx, r));

        if (is(r->state, "leaving")) {
            return mdm_fail(ctx, MDM_ECONFLICT, NULL, "The device is being unenrolled already.");
        }
        rv = can ? begin_one(db, r->id, full ? "full" : "account", then, was) : mdm_q_eas_wipe_record_state(db, r->id, "left", now, NULL);
        *asked += can;
    }
    return rv;
}

static apr_status_t tell_asked(mdm_db_t *db, const char *device_id, const char *name, int full, int asked, const char *then, const char *reason)
{
    json_t *detail = mdm_json_own(mdm_db_ctx(db), json_pack("{s:s, s:s, s:s}", "how", !asked ? "none" : full ? "wipe" : "selective", "then", then,
                                                            "reason", reason ? reason : ""));
    apr_status_t rv = mdm_audit(db, "device.unenroll", "device", device_id, name, "done", detail);

    if (rv == APR_SUCCESS) {
        rv = mdm_device_event(db, device_id, NULL, asked ? "unenroll.asked" : "unenroll.done", detail);
    }
    return rv == APR_SUCCESS ? mdm_change_add(db, "device", device_id) : rv;
}

static apr_status_t tell_person(mdm_db_t *db, const char *device_id)
{
    const mdm_notice_t told = {.event = "device_unenrolled", .device_id = device_id,
                               .key = apr_pstrcat(mdm_db_ctx(db)->pool, "device_unenrolled:", device_id, NULL)};

    return mdm_notice_add(db, &told);
}

/* All mail clients have gone: so has the object, or its mail. */
static apr_status_t gone(mdm_db_t *db, const char *device_id, const char *then)
{
    apr_status_t rv = tell_person(db, device_id);

    if (rv == APR_SUCCESS) {
        rv = is(then, "delete") ? mdm_device_delete(db, device_id, "wiped") : mdm_q_eas_device_left(db, device_id, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_count_left(db, device_id, NULL);
    }
    return rv == APR_SUCCESS ? mdm_change_add(db, "device", device_id) : rv;
}

apr_status_t mdm_eas_unenroll(mdm_db_t *db, const char *device_id, int full, int del, const char *reason)
{
    const char *then = del ? "delete" : "retire";
    mdm_q_eas_wipe_device_t *d;
    mdm_q_unenroll_device_t *device;
    int asked;
    apr_status_t rv = mdm_device_hold(db, device_id);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_wipe_device(db, device_id, &d);
    }
    if (rv == APR_SUCCESS) {
        rv = begin_all(db, device_id, full, 0, then, d->state, &asked);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_unenroll_device(db, device_id, del && asked ? "wipe_pending" : "retired", &device);
    }
    if (rv == APR_SUCCESS) {
        rv = tell_asked(db, device_id, d->name, full, asked, then, reason);
    }
    return rv == APR_SUCCESS && !asked ? gone(db, device_id, then) : rv;
}

apr_status_t mdm_eas_wipe_along(mdm_db_t *db, const char *device_id)
{
    int asked;
    apr_status_t rv = begin_all(db, device_id, 1, 1, "", "", &asked);

    if (rv == APR_NOTFOUND) {
        return APR_SUCCESS;
    }
    return rv == APR_SUCCESS ? mdm_change_add(db, "device", device_id) : rv;
}

/* ---------------------------------------------------------------- taking back, giving up, deleting */

/* The first client that still has to acknowledge. APR_NOTFOUND: none; *fetched: one of them has been told. */
static apr_status_t pending(mdm_db_t *db, const char *device_id, const mdm_q_eas_wipe_records_t **first, int *fetched)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_eas_wipe_records(db, device_id, &rows);

    *first = NULL;
    *fetched = 0;
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_eas_wipe_records_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_eas_wipe_records_t);

        if (is(r->state, "leaving")) {
            *first = *first ? *first : r;
            *fetched |= is(r->wipe_state, "sent");
        }
    }
    return rv == APR_SUCCESS && !*first ? APR_NOTFOUND : rv;
}

int mdm_eas_wipe_pending(mdm_db_t *db, const char *device_id)
{
    const mdm_q_eas_wipe_records_t *r;
    int fetched;

    return pending(db, device_id, &r, &fetched) == APR_SUCCESS;
}

/* Its leaving clients are of this state from now on, without a wipe. */
static apr_status_t clear(mdm_db_t *db, const char *device_id, const char *state)
{
    apr_status_t rv = mdm_q_eas_wipe_clear(db, device_id, NULL);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_wipe_back(db, device_id, state, NULL);
    }
    return rv == APR_SUCCESS ? mdm_change_add(db, "device", device_id) : rv;
}

apr_status_t mdm_eas_wipe_cancel(mdm_db_t *db, const char *device_id, const char **was)
{
    const mdm_q_eas_wipe_records_t *r;
    mdm_q_unenroll_device_t *device;
    int fetched;
    apr_status_t rv = pending(db, device_id, &r, &fetched);

    *was = NULL;
    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
    }
    if (fetched) {
        return mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, NULL, "The device has its removal or wipe already.");
    }
    *was = r->wipe_was;
    rv = clear(db, device_id, "enrolled");
    if (rv == APR_SUCCESS && **was) {
        rv = mdm_q_unenroll_device(db, device_id, *was, &device);
        rv = rv == APR_SUCCESS ? mdm_audit(db, "device.unenroll_cancel", "device", device_id, device->name, "done", NULL) : rv;
    }
    return rv;
}

apr_status_t mdm_eas_wipe_give_up(mdm_db_t *db, const char *device_id)
{
    const mdm_q_eas_wipe_records_t *r;
    int fetched;
    apr_status_t rv = pending(db, device_id, &r, &fetched);

    if (rv == APR_SUCCESS) {
        rv = clear(db, device_id, "left");
    }
    return rv == APR_SUCCESS ? gone(db, device_id, r->wipe_then) : rv;
}

apr_status_t mdm_eas_wipe_detach(mdm_db_t *db, const char *device_id)
{
    return mdm_q_eas_wipe_detach(db, device_id, NULL);
}

/* ---------------------------------------------------------------- the client */

typedef struct wiping_t {
    mdm_db_t *db;
    mdm_ctx_t *ctx;
    const char *record_id;
    mdm_q_eas_wipe_t *row;
    mdm_eas_wipe_e what;
    int done, by_server;
} wiping_t;

static const char *const names[] = {"", "full", "account"};

static apr_status_t with_record(mdm_ctx_t *ctx, const mdm_devrec_t *rec, wiping_t *w, apr_status_t (*work)(wiping_t *w))
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_db_open(ctx, &w->db);

    w->ctx = ctx;
    w->record_id = mdm_uuid_text(ctx->pool, rec->record);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_db_begin(w->db)) == APR_SUCCESS
        && (rv = mdm_q_eas_hold_record(w->db, w->record_id, &rows)) == APR_SUCCESS
        && (rv = mdm_q_eas_wipe(w->db, w->record_id, &w->row)) == APR_SUCCESS) {
        rv = work(w);
    }
    rv = mdm_db_end(w->db, rv);
    mdm_db_close(w->db);
    return rv == APR_NOTFOUND ? MDM_EUNAVAIL : rv;
}

static apr_status_t event(const wiping_t *w, const char *kind)
{
    json_t *detail = mdm_json_own(w->ctx, json_pack("{s:s, s:s, s:s}", "how", w->row->wipe, "by", w->row->wipe_by, "device_id", w->row->native_id));

    return w->row->device_id ? mdm_device_event(w->db, w->row->device_id, NULL, kind, detail) : APR_SUCCESS;
}

static apr_status_t fetch(wiping_t *w)
{
    apr_status_t rv;

    w->what = is(w->row->wipe, "account") ? MDM_EAS_WIPE_ACCOUNT : is(w->row->wipe, "full") ? MDM_EAS_WIPE_FULL : MDM_EAS_WIPE_NONE;
    if (w->what == MDM_EAS_WIPE_NONE || is(w->row->wipe_state, "sent")) {
        return APR_SUCCESS;
    }
    rv = mdm_q_eas_wipe_state(w->db, w->record_id, "sent", mdm_now_ms(w->ctx), NULL);
    return rv == APR_SUCCESS ? event(w, "mail.wipe_sent") : rv;
}

apr_status_t mdm_eas_wipe_fetch(mdm_ctx_t *ctx, const mdm_devrec_t *rec, mdm_eas_wipe_e *what)
{
    wiping_t w = {0};
    apr_status_t rv = with_record(ctx, rec, &w, fetch);

    *what = w.what;
    return rv;
}

static apr_status_t failed(wiping_t *w)
{
    const char *text = mdm_said(w->ctx->pool, "said_eas_wipe_failed", NULL);
    apr_status_t rv = mdm_q_eas_wipe_state(w->db, w->record_id, "failed", mdm_now_ms(w->ctx), NULL);

    if (rv == APR_SUCCESS) {
        rv = event(w, "mail.wipe_failed");
    }
    return rv == APR_SUCCESS && w->row->device_id
               ? mdm_message(w->db, "device", w->row->device_id, MDM_MSG_ERROR, "wipe.refused", text) : rv;
}

/* What that means for its device. */
static apr_status_t device_after(wiping_t *w)
{
    const mdm_q_eas_wipe_t *r = w->row;
    mdm_q_unenroll_device_t *device;
    apr_status_t rv;

    if (r->apple_id && is(r->state, "leaving")) { /* erased as a whole: its management will not answer any more */
        return mdm_apple_leave(w->db, r->apple_id, "wiped");
    }
    if (r->others) {
        return mdm_change_add(w->db, "device", r->device_id);
    }
    if (is(r->state, "leaving")) {
        return gone(w->db, r->device_id, r->wipe_then);
    }
    rv = is(r->mode, "eas") ? mdm_q_unenroll_device(w->db, r->device_id, "retired", &device) : APR_SUCCESS; /* the mail server's wipe */
    return rv == APR_SUCCESS ? gone(w->db, r->device_id, "retire") : rv;
}

static apr_status_t said(wiping_t *w)
{
    const mdm_q_eas_wipe_t *r = w->row;
    apr_int64_t now = mdm_now_ms(w->ctx);
    json_t *detail = mdm_json_own(w->ctx, json_pack("{s:s, s:s, s:s}", "how", r->wipe, "by", r->wipe_by, "device_id", r->native_id));
    apr_status_t rv;

    w->by_server = is(r->wipe_by, "server");
    if (!is(r->wipe, names[w->what]) || !(is(r->wipe_state, "sent") || is(r->wipe_state, "failed")) || !(w->by_server || is(r->state, "leaving"))) {
        return mdm_fail(w->ctx, MDM_EDENIED, NULL, "acknowledges a wipe that it was not told");
    }
    if (!w->done) {
        return failed(w);
    }
    rv = mdm_q_eas_wipe_state(w->db, w->record_id, "done", now, NULL);
    if (rv == APR_SUCCESS) {
        rv = mdm_audit(w->db, "device.wiped", "device", r->device_id ? r->device_id : "", r->device_name ? r->device_name : r->native_id, "done", detail);
    }
    if (rv == APR_SUCCESS) {
        rv = event(w, "mail.wiped");
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_wipe_record_state(w->db, w->record_id, "left", now, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = r->device_id ? device_after(w) : mdm_q_eas_wipe_forget(w->db, w->record_id, NULL);
    }
    return rv;
}

apr_status_t mdm_eas_wipe_said(mdm_ctx_t *ctx, const mdm_devrec_t *rec, mdm_eas_wipe_e what, int done, int *by_server)
{
    wiping_t w = {.what = what, .done = done};
    apr_status_t rv = with_record(ctx, rec, &w, said);

    if (by_server) {
        *by_server = w.by_server;
    }
    return rv;
}

static apr_status_t by_server(wiping_t *w)
{
    apr_status_t rv;

    if (is(w->row->wipe_by, "server") && is(w->row->wipe_state, "sent")) {
        return APR_SUCCESS;
    }
    rv = mdm_q_eas_wipe_begin(w->db, w->record_id, names[w->what], "server", "sent", "", "", mdm_now_ms(w->ctx), NULL);
    w->row->wipe = names[w->what];
    w->row->wipe_by = "server";
    if (rv == APR_SUCCESS) {
        rv = event(w, "mail.wipe_sent");
    }
    return rv == APR_SUCCESS && w->row->device_id
               ? mdm_message(w->db, "device", w->row->device_id, MDM_MSG_WARNING, "wipe.server", mdm_said(w->ctx->pool, "said_eas_wipe_server", NULL)) : rv;
}

apr_status_t mdm_eas_wipe_by_server(mdm_ctx_t *ctx, const mdm_devrec_t *rec, mdm_eas_wipe_e what)
{
    wiping_t w = {.what = what};

    return with_record(ctx, rec, &w, by_server);
}
