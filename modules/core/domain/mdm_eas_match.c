/* A managed Apple device finds its mail: the DeviceId that it has told, or the one that is derived from its serial number. */
#include "domain/mdm_eas_priv.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_said.h"

/* ---------------------------------------------------------------- one record onto one device */

/* The mail's own object goes; what belongs to the phone moves (MAT-08). One that was in use keeps name and place if it is the older one (MAT-07). */
static apr_status_t merge(mdm_db_t *db, const mdm_q_eas_record_t *r, const char *to)
{
    const char *from = r->device_id;
    apr_status_t rv;

    if ((rv = mdm_q_eas_move_events(db, from, to, NULL)) != APR_SUCCESS
        || (rv = mdm_q_eas_move_messages(db, from, to, NULL)) != APR_SUCCESS
        || (rv = mdm_q_eas_move_groups(db, from, to, NULL)) != APR_SUCCESS
        || (rv = mdm_q_eas_move_assignments(db, from, to, NULL)) != APR_SUCCESS) {
        return rv;
    }
    if (strcmp(r->device_state, "pending") != 0 && (rv = mdm_q_eas_move_identity(db, from, to, NULL)) != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_eas_device_drop(db, from, NULL);
    return rv == APR_SUCCESS ? mdm_change_add(db, "device", from) : rv;
}

static int is(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* One that was only told of takes nobody's place, but that of its like if the device itself says so. */
static apr_status_t told_room(mdm_db_t *db, const mdm_q_eas_record_t *mail, const char *device_id, const char *exact)
{
    mdm_q_eas_slot_t *slot;
    apr_status_t rv = mdm_q_eas_slot(db, device_id, mail->class, mail->id, &slot);

    if (rv == APR_SUCCESS && !(is(exact, "easid") && is(slot->state, "discovered"))) {
        return mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, NULL, "The device has another mail client of this kind.");
    }
    return rv == APR_SUCCESS ? mdm_eas_slot_free(db, device_id, mail->class, mail->id, exact) : rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

/* It stands on a device that turns out not to be its own. */
static apr_status_t comes_off(mdm_db_t *db, const mdm_q_eas_record_t **mail, const mdm_eas_join_t *j)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *wrong = (*mail)->device_name, *person_id, *own;
    mdm_q_match_mail_t *q;
    mdm_q_eas_record_t *now;
    apr_status_t rv = mdm_q_match_mail(db, (*mail)->id, &q);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    person_id = q->person_id;
    if ((rv = mdm_eas_part(db, (*mail)->id, 0, &own)) == APR_SUCCESS
        && (rv = mdm_message(db, "device", j->device_id, MDM_MSG_WARNING, "match.corrected", mdm_said(ctx->pool, "said_match_corrected", wrong, NULL))) == APR_SUCCESS
        && (rv = mdm_q_eas_record(db, person_id, (*mail)->native_id, &now)) == APR_SUCCESS) {
        *mail = now;
    }
    return rv;
}

apr_status_t mdm_eas_take(mdm_db_t *db, const mdm_q_eas_record_t *mail, const mdm_eas_join_t *j)
{
    const char *exact = !j->tier || is(j->tier, "exact") ? j->rule : NULL;
    int told = is(mail->state, "discovered"), moves = !told && !is(mail->device_id, j->device_id);
    mdm_eas_join_t join = *j;
    apr_status_t rv = APR_SUCCESS;

    if (moves && !is(mail->device_level, "email_only") && (rv = comes_off(db, &mail, j)) != APR_SUCCESS) {
        return rv;
    }
    join.told = told;
    join.record_id = mail->id;
    join.native_id = mail->native_id;
    join.merged = moves ? mail->device_name : NULL;
    if (!strncmp(mail->class, "other", 5) && !is(mail->device_id, j->device_id) && (rv = mdm_q_eas_other_class(db, mail->id, j->device_id, NULL)) != APR_SUCCESS) {
        return rv;
    }
    rv = !strncmp(mail->class, "other", 5) ? APR_SUCCESS : told ? told_room(db, mail, j->device_id, exact) : mdm_eas_slot_free(db, j->device_id, mail->class, mail->id, exact);
    if (rv == APR_SUCCESS && moves) {
        rv = mdm_eas_undo_note(db, mail->id, mail->device_id, j->device_id, is(j->tier, "manual") && is(j->rule, "person"));
    }
    if (rv == APR_SUCCESS && (rv = mdm_eas_join(db, &join)) == APR_SUCCESS && moves) {
        rv = merge(db, mail, j->device_id);
    }
    return rv;
}

/* ---------------------------------------------------------------- what a managed device says of its mail */

typedef struct match_t {
    mdm_db_t *db;
    mdm_ctx_t *ctx;
    mdm_q_eas_apple_t *apple;
    const char *told; /* its own DeviceId, as a key; NULL: not known */
} match_t;

/* What it tells now becomes its one key; else what it has told before holds. */
static apr_status_t keep_key(match_t *m, const char *record_id, const char *told)
{
    int fresh = 0;
    apr_status_t rv;

    m->told = mdm_eas_key(m->ctx->pool, told);
    if (!m->told) {
        m->told = m->apple->told;
        return APR_SUCCESS;
    }
    if ((rv = mdm_q_eas_key_drop(m->db, record_id, m->told, NULL)) == APR_SUCCESS) {
        rv = mdm_q_eas_key_put(m->db, record_id, m->told, &fresh);
    }
    return rv == APR_SUCCESS && fresh ? mdm_q_match_mark_told(m->db, m->apple->person_id, m->told, NULL) : rv; /* somebody may have said otherwise */
}

/* Only what the system's own client of an iPhone may have said; and nothing that an administrator has put aside (MAT-09). A guess is corrected. */
static int fits(const match_t *m, const mdm_q_eas_record_t *r)
{
    int here = is(r->device_id, m->apple->device_id);
    int mail_only = is(r->device_level, "email_only") && (is(r->device_mode, "eas") || is(r->device_mode, "unknown"));
    int open = is(r->device_state, "pending") || is(r->device_state, "active") || is(r->device_state, "removed");
    int told = is(r->state, "discovered"), guessed = is(r->state, "enrolled") && is(mdm_eas_tier(m->ctx, r->match_rule), "attr");

    if (strcmp(r->class, "native") != 0 || is(r->state, "leaving")
        || (strcmp(r->device_platform, "ios") != 0 && strcmp(r->device_platform, "unknown") != 0)) {
        return 0;
    }
    return told ? !r->device_id : here ? guessed || strcmp(r->state, "enrolled") != 0 : guessed || (mail_only && open);
}

static apr_status_t look(match_t *m, const char *native_id, const char *rule, const char *value)
{
    const mdm_eas_join_t j = {.device_id = m->apple->device_id, .rule = rule, .value = value};
    mdm_q_eas_record_t *r;
    apr_status_t rv = mdm_q_eas_record(m->db, m->apple->person_id, native_id, &r);

    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && !fits(m, r))) {
        return APR_SUCCESS;
    }
    rv = rv == APR_SUCCESS ? mdm_eas_take(m->db, r, &j) : rv;
    return rv == MDM_ECONFLICT ? APR_SUCCESS : rv; /* two clients say that they are this phone: both stay as they are */
}

apr_status_t mdm_eas_match_apple(mdm_db_t *db, const char *record_id, const char *told)
{
    match_t m = {.db = db, .ctx = mdm_db_ctx(db)};
    const char *derived;
    apr_status_t rv = mdm_q_eas_apple(db, record_id, &m.apple);

    if (rv == APR_NOTFOUND) {
        return APR_SUCCESS; /* an ownerless device has nobody's mail */
    }
    if (rv != APR_SUCCESS || (rv = mdm_eas_hold(db, m.apple->person_id)) != APR_SUCCESS) {
        return rv;
    }
    if ((rv = keep_key(&m, record_id, told)) != APR_SUCCESS || strcmp(m.apple->state, "active") != 0) {
        return rv;
    }
    if (m.told && (rv = look(&m, m.told, "easid", m.told)) != APR_SUCCESS) {
        return rv;
    }
    derived = m.apple->serial ? mdm_eas_key(m.ctx->pool, apr_pstrcat(m.ctx->pool, "APPL", m.apple->serial, NULL)) : NULL;
    if (!derived || (m.told && strcmp(m.told, derived) != 0)) {
        return APR_SUCCESS;
    }
    return look(&m, derived, "serial", m.apple->serial);
}
