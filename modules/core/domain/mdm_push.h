/* Owns waking Apple devices: one row per record that must be woken, sent as a stream, judged by APNs' answers (facts 5.1). */
#ifndef MDM_PUSH_H
#define MDM_PUSH_H

#include <jansson.h>

#include "db/mdm_db.h"
#include "wire/mdm_http.h"

#define MDM_PUSH_JOB "apns.push"
#define MDM_PUSH_URL "https://api.push.apple.com"
#define MDM_PUSH_BATCH 100

/* Asks for a push after delay_ms (0 = now; then the job is moved forward as well). A wake while a push is under way is not lost.
 * Nothing happens for a record that can't be pushed. After commit call services->job_wake() to be quick. */
apr_status_t mdm_push_wake(mdm_db_t *db, const char *record_id, apr_int64_t delay_ms);
/* Many: list = [{"record", "due": ms since 1970}]; the job is moved forward if one is due now. */
apr_status_t mdm_push_wake_many(mdm_db_t *db, json_t *list);
/* The delay of one record when many are to be woken within window_ms: the same each time, evenly spread. */
apr_int64_t mdm_push_spread_ms(const char *record_id, apr_int64_t window_ms);

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
    /* Apple refused the certificate ("apns.stopped"): the reason, and until when nothing is sent but one push now and then. */
    const char *stopped;
    apr_int64_t stopped_until_ms;
} mdm_push_conf_t;
/* APR_NOTFOUND: there is no push certificate. */
apr_status_t mdm_push_conf(mdm_db_t *db, const mdm_push_server_t *server, mdm_push_conf_t **out);
/* Notes that Apple refuses the certificate (reason), or that it does not any more (NULL). */
apr_status_t mdm_push_stopped_set(mdm_db_t *db, const mdm_push_conf_t *conf, const char *reason);

/* ---- judging (mdm_push_judge.c) */

typedef enum {
    MDM_PUSH_SENT,  /* forget the row */
    MDM_PUSH_DEAD,  /* the token is of no use: off until TokenUpdate */
    MDM_PUSH_AGAIN, /* back off */
    MDM_PUSH_STOP,  /* the certificate or topic is refused: nothing is sent with it, administrators are told once */
    MDM_PUSH_FAULT  /* our request is wrong: not again, administrators are told */
} mdm_push_verdict_e;
/* What an answer means. timestamp_ms: Apple's with 410, 0 = none; token_ms: when the device brought its token; attempts: failed ones
 * before this. A 410 that is older than the token is about an earlier one: tried again, but not for ever, as clocks may be wrong.
 * *again_ms: the first pause, with MDM_PUSH_AGAIN. Pure. */
mdm_push_verdict_e mdm_push_verdict(int status, const char *reason, apr_int64_t timestamp_ms, apr_int64_t token_ms, int attempts,
                                    apr_int64_t *again_ms);
/* The same for a request that has ended; *reason is APNs' word, or the class of the failure on the way to it. */
mdm_push_verdict_e mdm_push_judge(mdm_ctx_t *ctx, const mdm_http_req_t *req, apr_int64_t token_ms, int attempts,
                                  const char **reason, apr_int64_t *again_ms);
/* The headers and the body of one push; NULL if token or magic can't be used. */
mdm_http_req_t *mdm_push_request(mdm_ctx_t *ctx, const mdm_push_conf_t *conf, const char *token, const char *magic);

/* ---- sending (mdm_push_run.c) */

/* The way to APNs: mdm_http_t in httpd, a script in tests. */
typedef struct mdm_push_wire_t {
    void *baton;
    /* Before the first request of a run; nothing is under way. Connections of an earlier run with the same hash are used again. */
    apr_status_t (*open)(void *baton, mdm_ctx_t *ctx, const mdm_push_conf_t *conf);
    int (*room)(void *baton);
    void (*add)(void *baton, mdm_ctx_t *ctx, mdm_http_req_t *req);
    /* The next that has ended, after at most wait_ms, which also pass if nothing is under way; NULL: none. */
    mdm_http_req_t *(*step)(void *baton, mdm_ctx_t *ctx, int wait_ms);
    void (*abandon)(void *baton);
    void (*renew)(void *baton); /* new connections when nothing is under way */
} mdm_push_wire_t;

/* What a sender remembers from run to run; zeroed by its owner at first. */
typedef struct mdm_push_state_t {
    int away;               /* weighed failures on the way, in a row; many: the service is away */
    int rate;               /* pushes per second, doubling: after an outage; 0 = no limit */
    apr_int64_t rate_ms;    /* when it doubled last */
    apr_int64_t window_ms;  /* of the second that is counted */
    int window_sent;
} mdm_push_state_t;

/* One run of the job: claims due rows as there is room, sends without holding a connection, settles what has ended while the rest is
 * under way. Ends when nothing is due, when the service is away or refuses, on *stop, or after two minutes (*more: come again at
 * once). Not configured and rows wait: administrators get one message. *sent = accepted by APNs. */
apr_status_t mdm_push_run(mdm_ctx_t *ctx, const mdm_push_server_t *server, const mdm_push_wire_t *wire, mdm_push_state_t *state,
                          volatile int *stop, int *sent, int *more);

/* ---- the test of certificate and way (NOD-04, PSH-05) */

/* One push to a token of zeros over a client without connections: BadDeviceToken means that everything works. JSON object:
 * "ok", "step" (dns, tcp, tls, http, apns), "status", "reason", "text". */
json_t *mdm_push_test(mdm_ctx_t *ctx, const mdm_push_conf_t *conf);

#endif
