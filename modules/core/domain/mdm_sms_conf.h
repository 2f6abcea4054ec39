/* Owns the settings of the SMS gateway (PEN-05): sealed as a whole, secrets written only; their preview and test. */
#ifndef MDM_SMS_CONF_H
#define MDM_SMS_CONF_H

#include "db/mdm_db.h"
#include "wire/mdm_probe.h"
#include "wire/mdm_sms.h"

#define MDM_SMS_TEXT_MAX 1000

typedef struct mdm_sms_conf_t {
    mdm_sms_gate_t gate;  /* url "": no gateway is set */
    int per_second;       /* 1 … 100 */
    int daily_cap;        /* messages of a day (UTC); 0: no limit */
    const json_t *prefixes; /* ["+49"]: where it may send to; empty: everywhere */
    const apr_array_header_t *networks; /* of mdm_range_t: where a gateway may be that has no public address */
    int local;            /* MDMOutboundLocal */
} mdm_sms_conf_t;

/* APR_NOTFOUND: no gateway is set. In ctx's pool. */
apr_status_t mdm_sms_conf(mdm_db_t *db, mdm_sms_conf_t **out);
/* Settings with the names of the secrets, what waits, what was sent today, and since when the gateway is away. New reference. id: not used. */
apr_status_t mdm_sms_conf_json(mdm_db_t *db, const char *id, json_t **out);
/* Sets what is given; "url": "" forgets the gateway with all its settings. What waits is tried at once. In a transaction; audited. */
apr_status_t mdm_sms_conf_edit(mdm_db_t *db, json_t *body);
/* The request that these settings would send to an invented number, without secrets: {"method", "url", "headers", "body"}. Nothing is kept. New reference. */
apr_status_t mdm_sms_preview(mdm_db_t *db, json_t *body, json_t **out);
/* MDM_EINPUT, field "to": no number, or one that the settings don't allow. */
apr_status_t mdm_sms_allowed(mdm_ctx_t *ctx, const mdm_sms_conf_t *conf, const char *to);
/* True if a gateway may have this address: a public one, or one of the allowed networks; one of this host is the business of MDMOutboundLocal alone.
 * conf: const mdm_sms_conf_t *. */
int mdm_sms_may(void *conf, const struct sockaddr *sa);
/* A client for the gateway, in ctx's pool; conf outlives it. It connects to public addresses and those of the allowed networks only. */
apr_status_t mdm_sms_client(mdm_ctx_t *ctx, const mdm_sms_conf_t *conf, const char *ca_file, mdm_http_t **out);

/* A message to a number, step by step. Holds no connection to the database. */
typedef struct mdm_sms_test_t {
    const mdm_sms_conf_t *conf;
    const char *ca_file, *to, *text;
} mdm_sms_test_t;
void mdm_sms_test(mdm_probe_t *p, const mdm_sms_test_t *t);

#endif
