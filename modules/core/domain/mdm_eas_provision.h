/* Owns what is agreed with mail clients by Provision (PRV-01, PRV-02): which key a request has to carry, both steps of the handshake, what a client
 * says of its policy, and the end of asking one that never takes it. A key belongs to one record and stands for one policy as one protocol version
 * gets it. */
#ifndef MDM_EAS_PROVISION_H
#define MDM_EAS_PROVISION_H

#include "domain/mdm_eas.h"
#include "wire/mdm_eas_doc.h"

#define MDM_EAS_TRIES 20                        /* so often a client is told to provision, for one policy within a day */
#define MDM_EAS_TRIES_MS (24 * 3600 * 1000LL)

/* ---- what a request has to carry: pure */

typedef struct mdm_eas_keys_t {
    apr_uint32_t rev;          /* of the policy that is asked now; 0: nothing is */
    apr_uint32_t key, key_rev; /* given to the client, and for what; 0: none */
    apr_int64_t tries, tries_ms;
    apr_uint32_t tries_rev;
    int lax;                   /* its e-mail policy gives those mail that don't take policies */
} mdm_eas_keys_t;
/* Flags of mdm_devrec_t: MDM_DEVF_POLICY, _KEY_OLD, _STUCK, _LAX. */
apr_uint32_t mdm_eas_key_flags(const mdm_eas_keys_t *k, apr_int64_t now_ms);
/* 0: the request may pass; else the status to answer (142 no key, 144 a wrong one, 143 an old one; 141 or 129 for a client that was asked often
 * enough). Provision, Ping and OPTIONS carry no key. */
int mdm_eas_key_judge(const mdm_devrec_t *rec, const mdm_eas_query_t *q);

/* ---- each of these opens a connection and a transaction of its own; MDM_EUNAVAIL: nothing has changed */

/* The last word on a request that mdm_eas_key_judge() stops by the cached record: by the database, with keys in *rec brought up to date. *status as
 * there. A client that is stopped is counted; the one that brings the count to its end gets a message on its device (*gave_up = 1). */
apr_status_t mdm_eas_key_check(mdm_ctx_t *ctx, mdm_devrec_t *rec, const mdm_eas_query_t *q, int *status, int *gave_up);

/* What the mail server offers in the device's place. */
typedef struct mdm_eas_back_t {
    const mdm_eas_policy_t *policy; /* NULL: it has none */
    apr_uint32_t key;               /* step 1: its temporary key; step 2: its final one; 0: none */
} mdm_eas_back_t;

/* Step 1: the stricter of our policy and the server's, with a temporary key. has_info: the request brought device information. */
apr_status_t mdm_eas_offer(mdm_ctx_t *ctx, const mdm_devrec_t *rec, const mdm_eas_query_t *q, const mdm_eas_back_t *back, int has_info, mdm_blob_t *answer,
                           int *gave_up);

/* Step 2 begins: *back_temp is the server's temporary key, to be acknowledged before mdm_eas_taken(); 0: none. *again: it was said before, and the same
 * key is the answer (0 = not). MDM_EDENIED: this temporary key was not offered. */
apr_status_t mdm_eas_ack(mdm_ctx_t *ctx, const mdm_devrec_t *rec, apr_uint32_t temp, apr_uint32_t *back_temp, apr_uint32_t *again);
/* Step 2 ends: what the client said (1 applied, 2 in part, 3 not, 4 managed elsewhere) stands on the device. *key: its key; 0: it gets none, and *status
 * says why. */
apr_status_t mdm_eas_taken(mdm_ctx_t *ctx, const mdm_devrec_t *rec, const mdm_eas_provision_t *said, apr_uint32_t back_key, apr_uint32_t *key, int *status);

/* The mail server refused the key that stands in rec: it is forgotten, and the client has to provision again. */
apr_status_t mdm_eas_back_stale(mdm_ctx_t *ctx, const mdm_devrec_t *rec);

#endif
