/* Owns one-time passwords of pending enrolments and what an enrolment has to be proved by (PEN-03, PEN-04): settings, making, showing, trying,
 * locking. */
#ifndef MDM_OTP_H
#define MDM_OTP_H

#include "domain/mdm_enroll.h"

#define MDM_OTP_LENGTH_MIN 6
#define MDM_OTP_LENGTH_MAX 16

struct mdm_otp_conf_t {
    int length;               /* MDM_OTP_LENGTH_MIN … _MAX */
    const char *alphabet;     /* "digits", "letters" (without look-alikes), "both" */
    apr_int64_t life_ms;      /* of the password, and of the enrolment that an administrator made with it */
    int tries;                /* wrong ones that lock the enrolment, 1 … 10 */
    const char *ios, *android; /* what enrolling needs: "otp", "password", "both", "either" */
    int authorise;            /* an administrator who provisions somebody gives the credentials of who authorises it (PEN-01) */
    const char *phone;        /* the portal asks for a number: "off", "optional", "required" (POR-02) */
};

/* The settings of the zone, or their defaults. In ctx's pool. */
apr_status_t mdm_otp_conf(mdm_db_t *db, mdm_otp_conf_t **out);
/* As the API shows them: {"length", "alphabet", "life_hours", "tries", "ios", "android", "authorise", "phone"}. New reference. id: not used. */
apr_status_t mdm_otp_conf_json(mdm_db_t *db, const char *id, json_t **out);
/* Sets what is given. MDM_EINPUT names the member. In a transaction; audited. Enrolments that are open follow what they need from then on. */
apr_status_t mdm_otp_conf_edit(mdm_db_t *db, json_t *body);

/* What an enrolment of this platform and origin still has to be proved by: "otp", "password", "both", "either", or "" (the link alone: a person
 * made it who logged in for it). An unknown platform needs what the strictest does. */
const char *mdm_otp_need(const mdm_otp_conf_t *conf, const char *platform, const char *origin);

/* A new one by the settings; every text of the alphabet is equally likely. MDM_EUNAVAIL without randomness. */
apr_status_t mdm_otp_text(mdm_ctx_t *ctx, const mdm_otp_conf_t *conf, const char **out);
/* One that somebody chose (bulk): without blanks and dashes, in capitals. MDM_EINPUT, field "otp", if its length or a character doesn't fit. */
apr_status_t mdm_otp_check(mdm_ctx_t *ctx, const mdm_otp_conf_t *conf, const char *text, const char **out);
/* By which equal ones are found, and nothing else (mdm_seal_index); otp as it counts. */
apr_status_t mdm_otp_index(mdm_ctx_t *ctx, const char *otp, const char **out);
/* MDM_EINPUT, field "otp": an open enrolment has it already. */
apr_status_t mdm_otp_free(mdm_db_t *db, const char *otp);
/* As an enrolment keeps it. */
apr_status_t mdm_otp_seal(mdm_ctx_t *ctx, const char *pending_id, const char *otp, const char **sealed, const char **index);
/* Gives an enrolment this one-time password; an earlier one and what was proved by it are dead at once. In a transaction. */
apr_status_t mdm_otp_put(mdm_db_t *db, const char *pending_id, const char *otp, apr_int64_t expires_ms);
/* As people read it: in groups of four, or of five where that comes out even. */
const char *mdm_otp_grouped(apr_pool_t *p, const char *otp);
/* As it counts: blanks and dashes away, in capitals. And what it is sealed for. */
const char *mdm_otp_plain(apr_pool_t *p, const char *typed);
const char *mdm_otp_purpose(mdm_ctx_t *ctx, const char *pending_id);
/* Shows it, without audit: for notices. APR_NOTFOUND: none, used, expired, or the enrolment has ended. */
apr_status_t mdm_otp_reveal(mdm_db_t *db, const char *pending_id, const char **otp);
/* Shows it and the token of the link to an administrator (*otp NULL: there is none to show). MDM_ECONFLICT: the link is over. In a transaction;
 * audited. */
apr_status_t mdm_otp_view(mdm_db_t *db, const char *pending_id, const char **otp, const char **token);
/* A new one with a new life, which the enrolment gets as well; tries begin at 0, and what was shown, proved or handed out before is void at once, also the
 * identity of a device that has begun with it and not finished. How people are told: notify ("", "mail", "sms", "both"; NULL: as when it was made).
 * MDM_ECONFLICT: it has ended, or has no one-time password. In a transaction that is rolled back on failure; audited. */
apr_status_t mdm_otp_reset(mdm_db_t *db, const char *pending_id, const char *notify);
/* {"state": "none" | "open" | "used" | "locked" | "expired", "expires_at", "tries"}. New reference. */
json_t *mdm_otp_state_json(mdm_ctx_t *ctx, const char *state, int has, const apr_int64_t *expires_ms, const apr_int64_t *used_ms, apr_int64_t tries);

/* ---- proving (mdm_otp_try.c) */
typedef struct mdm_otp_given_t {
    const char *otp;       /* as typed; NULL or "": none */
    const char *person_id; /* whose log-in was checked for this; NULL: nobody's */
} mdm_otp_given_t;
/* Judges what somebody with a link has given against what the enrolment needs. *grant: what his browser shows from now on; NULL: refused, for whatever
 * reason: unknown link, wrong, used, expired or another enrolment's password, another person's log-in, locked, all by the same path and with the same
 * work. A wrong try counts; the set number of them locks the enrolment, whoever made them. In a transaction that is committed whatever comes
 * out; audited. The caller throttles by address. */
apr_status_t mdm_otp_try(mdm_db_t *db, const char *token, const mdm_otp_given_t *given, const char **grant);
/* Whether this browser has proved what the enrolment needs. person_id: who is logged in at the portal there; both may be NULL. */
int mdm_otp_proved(mdm_ctx_t *ctx, const mdm_otp_conf_t *conf, const mdm_pending_t *e, const char *grant, const char *person_id);

#endif
