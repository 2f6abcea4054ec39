/* Mail records that leave a device which is not theirs: what the match took away comes back (MAT-03, MAT-06). */
#include "domain/mdm_match_priv.h"

#include <string.h>
#include "domain/mdm_enroll.h"
#include "domain/mdm_log_rows.h"

#define NAME_PATTERN "${device.model} ${user.name}"

static int is(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

apr_status_t mdm_eas_undo_note(mdm_db_t *db, const char *record_id, const char *from, const char *to, int by_person)
{
    apr_status_t rv = mdm_q_match_undo_drop(db, record_id, NULL);

    return rv == APR_SUCCESS ? mdm_q_match_undo_put(db, record_id, from, to, by_person, mdm_now_ms(mdm_db_ctx(db)), NULL) : rv;
}

/* One that was only told of has no object: it waits for its first contact again. */
static apr_status_t told_off(mdm_db_t *db, const mdm_q_match_mail_t *q)
{
    mdm_q_eas_told_place_t *loose;

    return mdm_q_eas_told_place(db, q->id, NULL, "{}", &loose);
}

/* It has never had an object, or nobody knows which. */
static apr_status_t object_new(mdm_db_t *db, const mdm_q_match_mail_t *q, const char **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const mdm_enroll_facts_t facts = {.kind = "eas", .native_id = q->native_id, .product = q->product, .model = q->model, .build = q->build,
                                      .platform = q->platform};
    apr_int64_t now = mdm_now_ms(ctx);
    mdm_person_t *person;
    const char *name;
    apr_status_t rv = mdm_person_get(db, q->person_id, &person);

    if (rv != APR_SUCCESS || (rv = mdm_enroll_name(db, person, &facts, NAME_PATTERN, &name)) != APR_SUCCESS) {
        return rv;
    }
    if (!(*out = mdm_uuid(ctx->pool))) {
        return MDM_EUNAVAIL;
    }
    rv = mdm_q_eas_device_add(db, *out, name, mdm_lower(ctx->pool, name), q->person_id, q->ownership, q->platform, q->model, q->product, q->build,
                              q->native_id, now, NULL);
    if (rv == APR_SUCCESS && (rv = mdm_q_eas_device_place(db, *out, name, mdm_lower(ctx->pool, name), q->folder_id)) == APR_SUCCESS) {
        rv = mdm_q_eas_device_complete(db, *out, "pending", q->ownership, now);
    }
    return rv;
}

/* The object that went, with what came along with it. */
static apr_status_t object_back(mdm_db_t *db, const mdm_q_match_mail_t *q, const mdm_q_match_undo_t *u, const char *state)
{
    apr_status_t rv = mdm_q_match_undo_device(db, q->id, state, mdm_now_ms(mdm_db_ctx(db)));

    if (rv != APR_SUCCESS || (rv = mdm_q_match_undo_kept(db, q->id, NULL)) != APR_SUCCESS
        || (rv = mdm_q_match_undo_events(db, u->event_ids, u->id, NULL)) != APR_SUCCESS
        || (rv = mdm_q_match_undo_groups(db, u->group_ids, u->id, q->device_id, NULL)) != APR_SUCCESS) {
        return rv;
    }
    return mdm_q_match_undo_assignments(db, u->assignment_ids, u->id, q->device_id, NULL);
}

apr_status_t mdm_eas_part(mdm_db_t *db, const char *record_id, int as_it_was, const char **out)
{
    mdm_q_match_undo_t *u = NULL;
    mdm_q_match_mail_t *q;
    const char *state = "active";
    apr_status_t rv = mdm_q_match_mail(db, record_id, &q);

    if (rv != APR_SUCCESS || is(q->state, "discovered")) {
        *out = rv == APR_SUCCESS ? q->device_id : NULL;
        return rv == APR_SUCCESS ? told_off(db, q) : rv;
    }
    rv = mdm_q_match_undo(db, record_id, q->device_id, &u);
    if (rv == APR_SUCCESS) {
        state = as_it_was || strcmp(u->state, "pending") != 0 ? u->state : state;
        *out = u->id;
        rv = object_back(db, q, u, state);
    } else if (rv == APR_NOTFOUND) {
        rv = object_new(db, q, out);
    }
    if (rv == APR_SUCCESS
        && (rv = mdm_q_eas_record_state(db, record_id, *out, is(state, "pending") ? "authenticated" : "enrolled", mdm_now_ms(mdm_db_ctx(db)))) == APR_SUCCESS
        && (rv = mdm_q_match_undo_drop(db, record_id, NULL)) == APR_SUCCESS && (rv = mdm_q_match_left(db, q->device_id, NULL)) == APR_SUCCESS
        && (rv = mdm_q_match_rule_set(db, record_id, "{}")) == APR_SUCCESS && (rv = mdm_change_add(db, "device", q->device_id)) == APR_SUCCESS) {
        rv = mdm_change_add(db, "device", *out);
    }
    return rv;
}
