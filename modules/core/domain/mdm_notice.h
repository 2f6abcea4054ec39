/* Owns notices by mail and SMS (MAIL-01, MAIL-02, PEN-05): written in the transaction of what they tell, sent by the jobs `mail` and `sms`, until the mail
 * server or the gateway has taken or refused them for good. Nothing is sent from a request. */
#ifndef MDM_NOTICE_H
#define MDM_NOTICE_H

#include "db/mdm_db.h"
#include "domain/mdm_job.h"
#include "domain/mdm_notice_text.h"
#include "domain/mdm_page.h"
#include "wire/mdm_probe.h"

#define MDM_NOTICE_JOB "mail"
#define MDM_NOTICE_SMS_JOB "sms"
#define MDM_NOTICE_LIFE_MS (7 * 24 * 3600 * 1000LL) /* so long it is tried; also while no mail server or gateway is set */

typedef struct mdm_notice_t {
    const char *event;     /* of conf/notices.json */
    const char *key;       /* a second notice of the same key joins the one that still waits */
    const char *person_id; /* NULL: the person of the device */
    const char *device_id; /* NULL: none */
    const char *to, *to_name; /* an address instead of a person; NULL */
    const char *pending_id; /* the pending enrolment whose link and one-time password it tells: read when it is sent; NULL */
    const char *phone;     /* E.164: it goes by SMS, if its kind has that form, else MDM_EINPUT; NULL: by mail */
    json_t *vars;          /* {"date": "…"}: what is not known by itself; borrowed, may be NULL */
    apr_int64_t quiet_ms;  /* > 0: nothing happens if the same key was told within this time */
} mdm_notice_t;

/* In the caller's transaction. Where there is nobody to tell, nothing happens. */
apr_status_t mdm_notice_add(mdm_db_t *db, const mdm_notice_t *n);
/* Many in one statement: [{"event", "key", "person"?, "device"?, "pending"?, "mail"?, "phone"?, "name"?, "vars"? (object), "quiet"?}], no key twice by mail or
 * by SMS. */
apr_status_t mdm_notice_add_many(mdm_db_t *db, json_t *list);
/* One by mail for each administrator who receives alerts; of a device only for those who may see it. n->key is made one of each. */
apr_status_t mdm_notice_admins(mdm_db_t *db, const mdm_notice_t *n);
/* Tells the person of a pending enrolment, with "enroll_provisioned" or "enroll_otp": notify "mail", "sms", "both", or "" for nobody. Mail goes to the
 * enrolment's address or the person's, SMS to its phone; where there is none, nothing goes. */
apr_status_t mdm_notice_pending(mdm_db_t *db, const char *pending_id, const char *event, const char *notify);

/* ---- the outbox */
/* state: "" = all. */
apr_status_t mdm_notice_list(mdm_db_t *db, const mdm_page_t *page, const char *state, json_t *items, const char **next);
/* Tries one again at once: one that failed, or waits for its next try. MDM_ECONFLICT: it was sent, or a newer one of the same key waits. Audited. */
apr_status_t mdm_notice_retry(mdm_db_t *db, const char *id);

/* Takes one back that waits. MDM_ECONFLICT: it does not, or is being sent. Audited. */
apr_status_t mdm_notice_cancel(mdm_db_t *db, const char *id);
/* What people were told of their pending enrolments, the latest first: {"<pending>": [{"id", "event", "channel", "state", "error", "next_at", "done_at"}]}
 * of a JSON list of ids. New reference. */
apr_status_t mdm_notice_told(mdm_db_t *db, const json_t *pending_ids, json_t **out);

/* ---- templates */
/* [{event, audience, language, variables, required, subject, text, html, sms (null: by mail only), changed, changed_at, version}] of all; version 0: as
 * shipped. */
apr_status_t mdm_notice_templates(mdm_db_t *db, json_t **out);
apr_status_t mdm_notice_template(mdm_db_t *db, const char *event, const char *language, json_t **out, apr_int64_t *version);
/* t NULL: as shipped again. MDM_ESTALE: it is not `version` any more. In a transaction; audited. */
apr_status_t mdm_notice_template_save(mdm_db_t *db, const char *event, const char *language, const mdm_notice_text_t *t, apr_int64_t version);
/* The text that counts now; in ctx's pool. */
apr_status_t mdm_notice_text(mdm_db_t *db, const mdm_notice_kind_t *kind, const char *language, mdm_notice_text_t *out);

/* ---- what the zone says of itself in its notices */
typedef struct mdm_notice_zone_t {
    const char *language;                         /* for whom no other one is known */
    const char *org, *support_mail, *support_phone; /* "": not said */
} mdm_notice_zone_t;

/* In ctx's pool. */
apr_status_t mdm_notice_zone(mdm_db_t *db, mdm_notice_zone_t **out);
/* {"language", "organisation", "support_mail", "support_phone"}. New reference. id: not used. */
apr_status_t mdm_notice_zone_json(mdm_db_t *db, const char *id, json_t **out);
/* Sets what is given. MDM_EINPUT names the member. In a transaction; audited. */
apr_status_t mdm_notice_zone_edit(mdm_db_t *db, json_t *body);

/* ---- the mail server */
typedef struct mdm_notice_conf_t {
    const char *host, *tls /* none starttls tls */, *user, *password, *from, *from_name, *pin;
    int port;
} mdm_notice_conf_t;

/* APR_NOTFOUND: no mail server is set. In ctx's pool. */
apr_status_t mdm_notice_conf(mdm_db_t *db, mdm_notice_conf_t **out);
/* Settings without the password, what waits, and since when the server is away. New reference. */
apr_status_t mdm_notice_conf_json(mdm_db_t *db, json_t **out);
/* Sets what is given; "host": "" forgets the server. What waits is tried at once. In a transaction; audited. */
apr_status_t mdm_notice_conf_edit(mdm_db_t *db, json_t *body);
/* The one certificate that this server may show; "": roots and the name decide again. In a transaction; audited. */
apr_status_t mdm_notice_conf_pin(mdm_db_t *db, const char *sha256);
/* A test message to an address, step by step. Holds no connection to the database. */
typedef struct mdm_notice_test_t {
    const mdm_notice_conf_t *conf;
    const char *ca_file, *to, *language;
} mdm_notice_test_t;
void mdm_notice_test(mdm_probe_t *p, const mdm_notice_test_t *t);

/* ---- the jobs */
typedef struct mdm_notice_run_t {
    const char *public_url, *ca_file;
    int lease_s;
} mdm_notice_run_t;
/* Sends what is due over the job's way, one message after the other; each is settled before the next one goes. May be killed anywhere: at most one message
 * comes twice then, with the same Message-ID, or the same ${id} for the gateway. */
apr_status_t mdm_notice_run(mdm_ctx_t *ctx, mdm_job_t *job, const mdm_notice_run_t *how);

#endif
