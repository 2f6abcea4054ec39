/* Owns waking Apple devices: one row per record that must be woken, sent in batches, judged by APNs' answers (facts 5.1). */
#ifndef MDM_PUSH_H
#define MDM_PUSH_H

#include "db/mdm_db.h"
#include "wire/mdm_http.h"

#define MDM_PUSH_JOB "apns.push"
#define MDM_PUSH_URL "https://api.push.apple.com"
#define MDM_PUSH_BATCH 100

/* Asks for a push after delay_ms (0 = now; then the job is moved forward as well). A wake while a push is under way is not lost.
 * Nothing happens for a record that can't be pushed. After commit call services->job_wake() to be quick. */
apr_status_t mdm_push_wake(mdm_db_t *db, const char *record_id, apr_int64_t delay_ms);

/* Where to: from directives. */
typedef struct mdm_push_server_t {
    const char *url;     /* NULL = MDM_PUSH_URL */
    const char *ca_file; /* NULL = the system's roots */
} mdm_push_server_t;

/* With what: from zone settings "apns.certificate" (PEM text), "apns.key" (PEM text, sealed), "apns.topic". */
typedef struct mdm_push_conf_t {
    const char *cert_pem, *key_pem, *topic;
    mdm_push_server_t server;
    const char *hash; /* changes with any of them: make a new client then */
} mdm_push_conf_t;

/* Sends; as mdm_http_run(). */
typedef apr_status_t (*mdm_push_send_fn)(void *baton, mdm_ctx_t *ctx, const mdm_push_conf_t *conf, mdm_http_req_t **reqs, int n,
                                         volatile int *stop);
/* One run of the job: claims due rows in batches until none is left, sends without holding a connection, settles. Not
 * configured and rows wait: administrators get one message. *sent = accepted by APNs. */
apr_status_t mdm_push_run(mdm_ctx_t *ctx, const mdm_push_server_t *server, mdm_push_send_fn send, void *baton, volatile int *stop,
                          int *sent);

typedef enum {
    MDM_PUSH_SENT,     /* forget the row */
    MDM_PUSH_DEAD,     /* the token is of no use: off until TokenUpdate */
    MDM_PUSH_AGAIN,    /* back off */
    MDM_PUSH_TROUBLE   /* certificate or our fault: stop the run, tell administrators */
} mdm_push_verdict_e;
/* Judges one answer; *reason is APNs' word, or the class of the transport failure. */
mdm_push_verdict_e mdm_push_judge(mdm_ctx_t *ctx, const mdm_http_req_t *req, const char **reason);

#endif
