/* Owns the life cycle of the zone's Apple push certificate: request, vendor signature, import, renewal, expiry (PSH-02..05). */
#ifndef MDM_PUSH_CERT_H
#define MDM_PUSH_CERT_H

#include <jansson.h>

#include "db/mdm_db.h"
#include "wire/mdm_x509.h"

#define MDM_PUSH_TEST "apns.test"     /* job kind "apns.test@<node>": each node runs its own (NOD-04) */

/* What stands in the request. Organisation, country and mail (the Apple account that will own the certificate) are needed. */
typedef struct mdm_push_subject_t {
    const char *organisation, *unit, *name, *place, *state, *country, *mail;
} mdm_push_subject_t;
/* Makes a request. keep_key: with the key of the present certificate, else of the present request; without one, or 0: a new key. */
apr_status_t mdm_push_request_make(mdm_ctx_t *ctx, const mdm_push_subject_t *subject, int keep_key);
/* The request as PEM; *signed_file: the vendor's signed file, NULL while there is none. APR_NOTFOUND: no request. */
apr_status_t mdm_push_request_files(mdm_db_t *db, const char **pem, const char **signed_file);
/* Takes the vendor's signed file of the present request. */
apr_status_t mdm_push_request_signed(mdm_ctx_t *ctx, const char *text);
/* Where a signing service is: https, "" = none. */
apr_status_t mdm_push_signing_set(mdm_ctx_t *ctx, const char *url);
/* Has the present request signed there: POST of the request as PEM; the answer is the signed file. No connection is held meanwhile.
 * ca_file: roots to trust, NULL = the system's. Addresses of this host only with MDMOutboundLocal (SEC-08). */
apr_status_t mdm_push_request_send(mdm_ctx_t *ctx, const char *ca_file);

typedef struct mdm_push_import_t {
    const char *certificate; /* PEM; chain behind it; or: */
    const char *p12;         /* base64 of a PKCS#12 file */
    const char *key;         /* PEM; NULL: that of the request, or of the present certificate */
    const char *password;    /* of key or p12; NULL: none */
    int new_topic;           /* confirmed: devices of another topic must enrol again */
} mdm_push_import_t;
apr_status_t mdm_push_cert_import(mdm_ctx_t *ctx, const mdm_push_import_t *in);

/* Everything that an administrator sees: certificate, request, signing service, stop, waiting pushes. */
apr_status_t mdm_push_cert_state(mdm_db_t *db, json_t **out);
/* What a checklist needs of it. */
typedef struct mdm_push_brief_t {
    enum { MDM_PUSH_NO_REQUEST, MDM_PUSH_MADE, MDM_PUSH_SIGNED } request;
    int there;           /* the certificate is */
    const char *trouble; /* a word of domain/mdm_said.h: it ends soon or has ended, or Apple refuses it; NULL */
} mdm_push_brief_t;
apr_status_t mdm_push_cert_brief(mdm_db_t *db, mdm_push_brief_t *out);
/* Forgets certificate and request: the last node lost the MDM role (NOD-03). In the caller's transaction. */
apr_status_t mdm_push_cert_remove(mdm_db_t *db);

/* APR_NOTFOUND: there is none. In ctx's pool. */
apr_status_t mdm_push_cert_info(mdm_db_t *db, mdm_certinfo_t *info);

/* Asks every node with the MDM role and outbound access to test the certificate. */
apr_status_t mdm_push_test_ask(mdm_db_t *db);
/* What came of it: a list of {node, state, at, ok, step, status, reason, text}; state: never, waiting, running, done, down. */
apr_status_t mdm_push_test_results(mdm_db_t *db, json_t **out);

#endif
