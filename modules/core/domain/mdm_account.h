/* Owns account-driven enrolment (IOS-08, facts 2.5): somebody types his managed Apple account into the settings of his device, which finds
 * this server by the account's domain. Settings, what discovery answers, the log-in's access tokens, and whether a device shows its own. */
#ifndef MDM_ACCOUNT_H
#define MDM_ACCOUNT_H

#include "domain/mdm_enroll.h"
#include "domain/mdm_people.h"
#include "mdm_types.h"

#define MDM_ACCOUNT_BYOD "byod"   /* Apple's user enrolment: the device is its owner's, the server sees and may little */
#define MDM_ACCOUNT_ADDE "adde"   /* device enrolment */
#define MDM_ACCOUNT_TOKEN_MS (10 * 60 * 1000LL)  /* so long a token may first be used; then it lives as long as what it is for */
#define MDM_ACCOUNT_LIFE_MS (60 * 60 * 1000LL)   /* of an enrolment that is begun and not finished */
#define MDM_ACCOUNT_LIMIT (64 * 1024)            /* longest report of a device */
#define MDM_ACCOUNT_ID_MAX 255

typedef struct mdm_account_conf_t {
    const char *mode;   /* "off", "byod", "adde", "both": what can do device enrolment does that */
    const char *domain; /* of managed Apple accounts; "": that of people's mail addresses */
} mdm_account_conf_t;

/* The zone's settings, or their defaults (off). In ctx's pool. */
apr_status_t mdm_account_conf(mdm_db_t *db, mdm_account_conf_t *out);
/* {"mode", "domain"}; new reference. */
json_t *mdm_account_conf_json(const mdm_account_conf_t *conf);
/* Reads what is given over what stands in out. MDM_EINPUT names the member. */
apr_status_t mdm_account_conf_read(mdm_ctx_t *ctx, json_t *set, mdm_account_conf_t *out);
apr_status_t mdm_account_conf_set(mdm_db_t *db, const mdm_account_conf_t *conf);
/* Whether this kind ("byod", "adde") is switched on. */
int mdm_account_offers(const mdm_account_conf_t *conf, const char *kind);
/* What discovery answers, whoever asks: {"Servers": [{"Version", "BaseURL"}]}, in the order of preference. base: the kind follows it. New
 * reference. */
json_t *mdm_account_servers(const mdm_account_conf_t *conf, const char *base);
/* The managed Apple account of a person; NULL: he has none. */
const char *mdm_account_of(apr_pool_t *p, const mdm_account_conf_t *conf, const mdm_person_t *person);

/* What a device says of itself with its first and second request: CMS with a property list inside, signed by itself. Identifiers of the device are
 * taken from a device enrolment alone. MDM_EINPUT, MDM_EIDENTITY, MDM_ETOOBIG. */
apr_status_t mdm_account_read(mdm_ctx_t *ctx, const mdm_blob_t *der, const char *kind, mdm_enroll_facts_t *out);

/* Whether this person may enrol this way; account: what was typed on the device, NULL or "": not known. *policy says whether ownership is asked.
 * MDM_EDENIED: field "off", "other" (somebody else's account), "none" (he has none), "otp" (this zone asks for one-time passwords), else of the
 * policy. */
apr_status_t mdm_account_may(mdm_db_t *db, const mdm_person_t *person, const char *kind, const char *account, mdm_enroll_policy_t **policy);
/* After the log-in: the pending enrolment, and the token that the device goes on with. In a transaction; audited. */
apr_status_t mdm_account_begin(mdm_db_t *db, const mdm_person_t *person, const char *kind, const char *account, const char *ownership,
                               const char **token);
/* A token for a device of this person that is enrolled and was asked to log in again. In a transaction; audited. */
apr_status_t mdm_account_again(mdm_db_t *db, const mdm_person_t *person, const char **token);
/* The enrolment that a device with this token may have the profile of; it may ask again until it has its identity. MDM_EAUTH: no such token, too
 * old, of another kind, or used up, by one path. MDM_EDENIED: not let in, which is noted where people look. Outside of a transaction. */
apr_status_t mdm_account_admit(mdm_db_t *db, const char *token, const char *kind, const mdm_enroll_facts_t *facts, mdm_pending_t **out);

/* True if it is the token of this enrolment: APR_SUCCESS, else MDM_EAUTH. */
apr_status_t mdm_account_shown_first(mdm_db_t *db, const mdm_pending_t *pending, const char *token);
/* Whether the device of a record shows its token, or a new one of its person, which takes the old one's place. MDM_EAUTH: it does not. bearer: the hash
 * that the record has, "" none is asked for. Not in a transaction. */
apr_status_t mdm_account_shown(mdm_db_t *db, const char *record_id, const char *bearer, const char *token);
/* The same by the cached record: without SQL if the token fits. */
apr_status_t mdm_account_bearer(mdm_ctx_t *ctx, const mdm_devrec_t *rec, const char *token);
/* How the cached record keeps the hash (64 lower-case hex): its first 64 bits. */
void mdm_account_mark(mdm_devrec_t *rec, const char *hash);

#endif
