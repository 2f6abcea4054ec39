/* Pending enrolments are made: by people for themselves, by administrators, and by bulk runs (PEN-01, PEN-06). */
#include "domain/mdm_otp.h"

#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_match.h"
#include "domain/mdm_notice.h"
#include "mdm_sql_gen.h"

#define PHONE_MIN 7
#define PHONE_MAX 15
#define SERIAL_MAX 40

apr_status_t mdm_phone_check(mdm_ctx_t *ctx, const char *field, const char *text, const char **out)
{
    char *num = apr_palloc(ctx->pool, strlen(text) + 2), *o = num;
    const char *s = text;

    s += strspn(s, " \t");
    if (!*s) {
        *out = "";
        return APR_SUCCESS;
    }
    if (*s == '+' || !strncmp(s, "00", 2)) {
        s += *s == '+' ? 1 : 2;
        for (*o++ = '+'; *s; ++s) {
            if (apr_isdigit(*s)) {
                *o++ = *s;
            }
            else if (!strchr(" -()./\t", *s)) {
                break;
            }
        }
    }
    *o = '\0';
    if (*s || num[0] != '+' || num[1] == '0' || o - num - 1 < PHONE_MIN || o - num - 1 > PHONE_MAX) {
        return mdm_fail(ctx, MDM_EINPUT, field, "must be a phone number with country code, like +49 30 1234567");
    }
    *out = num;
    return APR_SUCCESS;
}

apr_status_t mdm_serial_check(mdm_ctx_t *ctx, const char *field, const char *text, const char **out)
{
    const char *plain = mdm_match_serial(ctx->pool, text), *s = text;

    while (apr_isalnum(*s) || (*s && strchr(" -.:/_", *s))) {
        ++s;
    }
    *out = plain && !*s ? plain : "";
    return *text && (!**out || strlen(*out) > SERIAL_MAX) ? mdm_fail(ctx, MDM_EINPUT, field, "is no serial number") : APR_SUCCESS;
}

apr_status_t mdm_imei_check(mdm_ctx_t *ctx, const char *field, const char *text, const char **out)
{
    const char *plain = mdm_match_imei(ctx->pool, text);

    *out = plain ? plain : "";
    return *text && !plain ? mdm_fail(ctx, MDM_EINPUT, field, "is no IMEI: 14 to 16 digits, of which the 15th fits the others") : APR_SUCCESS;
}

static apr_status_t room_check(mdm_db_t *db, const mdm_person_t *person, const mdm_enroll_policy_t *policy, const char *origin)
{
    int self = !strcmp(origin, "self"), most = strcmp(origin, "bulk") ? MDM_PENDING_MAX_OPEN : MDM_PENDING_MAX_BULK;
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_person_lock_t *locked;
    mdm_q_pending_counts_t *n;
    apr_status_t rv = mdm_q_person_lock(db, person->id, &locked);

    if (rv != APR_SUCCESS || (rv = mdm_q_pending_counts(db, person->id, mdm_now_ms(ctx), &n)) != APR_SUCCESS) {
        return rv;
    }
    if (n->open >= most) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, self ? "You have %d unfinished enrolments. Finish or cancel one first."
                        : "This person has %d unfinished enrolments. Cancel one first.", (int)n->open);
    }
    if (policy->max_devices && n->devices >= policy->max_devices) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, self ? "You have reached the number of devices that you may enrol (%d)."
                        : "This person has reached the number of devices of the enrolment policy (%d).", policy->max_devices);
    }
    return APR_SUCCESS;
}

static const char *text_of(const char *s)
{
    return s ? s : "";
}

/* One that is being made. */
typedef struct make_t {
    mdm_db_t *db;
    mdm_ctx_t *ctx;
    const mdm_person_t *person;
    const mdm_provision_t *how;
    const char *id, *platform, *ownership, *level, *phone, *otp;
    apr_int64_t now, expires;
    const mdm_otp_conf_t *conf;
    mdm_enroll_policy_t *policy;
    int self;
} make_t;

/* Who does it for somebody else reads which policy refuses, and what. */
static apr_status_t refused(const make_t *m, apr_status_t rv)
{
    static const struct {
        const char *field, *what;
    } words[] = {{"platform", "this kind of device"}, {"level", "this kind of management"}, {"ownership", "this owner of a device"}};
    const char *field = m->ctx->fail_field ? m->ctx->fail_field : "";
    unsigned i;

    for (i = 0; rv == MDM_EDENIED && !m->self && i < sizeof(words) / sizeof(words[0]); ++i) {
        if (!strcmp(words[i].field, field)) {
            return mdm_fail(m->ctx, rv, field, "The enrolment policy \"%s\" of this person does not allow %s.", m->policy->policy_name, words[i].what);
        }
    }
    return rv;
}

/* An unknown platform is allowed if one of its level is. */
static apr_status_t policy_check(make_t *m)
{
    const mdm_provision_t *how = m->how;
    apr_status_t rv;

    if (m->person->disabled) {
        return mdm_fail(m->ctx, MDM_EDENIED, NULL, "This person may not enrol devices.");
    }
    m->policy = how->policy;
    if (!m->policy && (rv = mdm_enroll_policy(m->db, m->person, &m->policy)) != APR_SUCCESS) {
        return m->self || rv != MDM_EDENIED ? rv : mdm_fail(m->ctx, rv, NULL, "No enrolment policy applies to this person.");
    }
    m->ownership = *text_of(how->ownership) ? how->ownership : strcmp(m->policy->ownership, "choose") ? m->policy->ownership : "personal";
    m->level = *text_of(how->level) ? how->level : strcmp(m->policy->level, "choose") ? m->policy->level : "managed";
    m->platform = *text_of(how->platform) ? how->platform : "unknown";
    rv = mdm_enroll_allowed(m->ctx, m->policy, strcmp(m->platform, "unknown") ? m->platform : m->policy->ios ? "ios" : "android",
                            m->ownership, m->level);
    if (rv != APR_SUCCESS) {
        return refused(m, rv);
    }
    return how->expected_imei && *how->expected_imei && !strcmp(m->level, "email_only")
               ? mdm_fail(m->ctx, MDM_EINPUT, "imei", "can't be held against a mail app") : APR_SUCCESS;
}

static apr_status_t conf_read(make_t *m)
{
    mdm_otp_conf_t *conf = NULL;
    apr_status_t rv = m->how->conf ? APR_SUCCESS : mdm_otp_conf(m->db, &conf);

    m->conf = m->how->conf ? m->how->conf : conf;
    return rv;
}

/* Mail enrolments are proved by the log-in of the mail app; they have no password of ours. */
static apr_status_t otp_choose(make_t *m)
{
    const mdm_provision_t *how = m->how;
    const char *need = mdm_otp_need(m->conf, m->platform, how->origin);
    apr_int64_t life = how->otp_life_ms ? how->otp_life_ms : m->conf->life_ms;
    apr_status_t rv;

    if (how->valid_from_ms > m->now + MDM_PENDING_AHEAD_MS) {
        return mdm_fail(m->ctx, MDM_EINPUT, "valid_from", "is more than a year ahead");
    }
    m->expires = (how->valid_from_ms > m->now ? how->valid_from_ms : m->now) + (m->self ? MDM_PENDING_LIFE_MS : life);
    if (!strcmp(m->level, "email_only") || !*need || !strcmp(need, "password")) {
        m->otp = NULL;
        return APR_SUCCESS;
    }
    if (!how->otp) {
        return mdm_otp_text(m->ctx, m->conf, &m->otp);
    }
    rv = mdm_otp_check(m->ctx, m->conf, how->otp, &m->otp);
    return rv == APR_SUCCESS ? mdm_otp_free(m->db, m->otp) : rv;
}

static apr_status_t write_rows(make_t *m, const mdm_pending_link_t *link)
{
    const mdm_provision_t *how = m->how;
    apr_int64_t run_row = how->run_row;
    const char *step = apr_psprintf(m->ctx->pool, "{\"created\":%" APR_INT64_T_FMT "}", m->now);
    const char *sealed = NULL, *index = NULL;
    json_t *detail = NULL;
    apr_status_t rv = m->otp ? mdm_otp_seal(m->ctx, m->id, m->otp, &sealed, &index) : APR_SUCCESS;

    if (rv == APR_SUCCESS) {
        rv = mdm_q_pending_add(m->db, m->id, link->hash, link->sealed, link->head, m->person->id, m->policy->policy_id, m->ownership, m->level,
                               m->platform, how->origin, step, m->now, m->ctx->actor.name, how->valid_from_ms, m->expires, m->phone,
                               text_of(how->mail), text_of(how->notify), text_of(how->language), text_of(how->authorised_by), how->expected_serial,
                               how->expected_imei, how->folder_id, sealed, index, m->otp ? &m->expires : NULL, how->run_id,
                               how->run_id ? &run_row : NULL, NULL);
    }
    if (how->authorised_by) {
        detail = mdm_json_own(m->ctx, json_pack("{s:s}", "authorised_by", how->authorised_by));
    }
    return rv == APR_SUCCESS ? mdm_audit(m->db, "pending.create", "pending", m->id, m->person->login, "done", detail) : rv;
}

/* Its person as the caller says, and administrators of what one of them has done for somebody (MAIL-02); bulk runs have their page. */
static apr_status_t tell(const make_t *m)
{
    const mdm_notice_t admins = {.event = "enroll_provisioned_admin", .key = apr_pstrcat(m->ctx->pool, "enroll_provisioned_admin:", m->id, NULL),
                                 .pending_id = m->id};
    const char *notify = text_of(m->how->notify);
    int own = m->self && m->otp; /* who made it himself has to type the password */
    apr_status_t rv = mdm_notice_pending(m->db, m->id, own ? "enroll_otp" : "enroll_provisioned", own && !*notify ? "mail" : notify);

    return rv == APR_SUCCESS && !strcmp(m->how->origin, "single") ? mdm_notice_admins(m->db, &admins) : rv;
}

static apr_status_t made_before(mdm_db_t *db, const mdm_provision_t *how, mdm_pending_t **out, const char **token)
{
    mdm_q_pending_of_run_t *row;
    apr_status_t rv = how->run_id ? mdm_q_pending_of_run(db, how->run_id, how->run_row, &row) : APR_NOTFOUND;

    if (rv == APR_SUCCESS && out) {
        rv = mdm_pending_get(db, row->id, out);
    }
    return rv == APR_SUCCESS ? mdm_pending_token(db, row->id, token) : rv;
}

apr_status_t mdm_pending_provision(mdm_db_t *db, const mdm_person_t *person, const mdm_provision_t *how, mdm_pending_t **out,
                                   const char **token, int *made)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    make_t m = {.db = db, .ctx = ctx, .person = person, .how = how, .id = mdm_uuid(ctx->pool), .now = mdm_now_ms(ctx),
                .self = !strcmp(how->origin, "self")};
    mdm_pending_link_t link;
    apr_status_t rv = made_before(db, how, out, token);

    *made = 0;
    if (rv != APR_NOTFOUND) {
        return rv;
    }
    if (!m.id) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no random numbers");
    }
    if ((rv = conf_read(&m)) != APR_SUCCESS || (rv = policy_check(&m)) != APR_SUCCESS
        || (rv = mdm_phone_check(ctx, "phone", text_of(how->phone), &m.phone)) != APR_SUCCESS || (rv = otp_choose(&m)) != APR_SUCCESS
        || (rv = room_check(db, person, m.policy, how->origin)) != APR_SUCCESS || (rv = mdm_pending_link_make(ctx, m.id, &link)) != APR_SUCCESS
        || (rv = write_rows(&m, &link)) != APR_SUCCESS || (rv = tell(&m)) != APR_SUCCESS) {
        return rv;
    }
    *token = link.token;
    *made = 1;
    return out ? mdm_pending_get(db, m.id, out) : APR_SUCCESS;
}
