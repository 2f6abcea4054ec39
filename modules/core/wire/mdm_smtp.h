/* Owns outgoing mail (MAIL-01): SMTP by libcurl, several messages over one connection, deadlines, and what the server said to each. */
#ifndef MDM_SMTP_H
#define MDM_SMTP_H

#include "base/mdm_text.h"

typedef enum { MDM_SMTP_NONE, MDM_SMTP_STARTTLS, MDM_SMTP_TLS } mdm_smtp_tls_e; /* STARTTLS: a server without it gets nothing */

/* Steps of a connection, in order; connect: the server's greeting and EHLO. */
typedef enum { MDM_SMTP_AT_CONNECT, MDM_SMTP_AT_TLS, MDM_SMTP_AT_LOGIN, MDM_SMTP_AT_SENDER, MDM_SMTP_AT_RECIPIENT, MDM_SMTP_AT_MESSAGE } mdm_smtp_step_e;
const char *mdm_smtp_step_name(mdm_smtp_step_e step);

typedef struct mdm_smtp_conf_t {
    const char *host;
    int port;
    mdm_smtp_tls_e tls;
    const char *user, *password; /* "" = no log-in; never without TLS */
    const char *ca_file;         /* as in mdm_http_conf_t */
    const char *pin;             /* as in mdm_http_conf_t, never NULL */
    int connect_ms;              /* until the server's greeting; default 10,000 */
    int timeout_ms;              /* each message with all that goes before; default 60,000 */
    int deny_local;              /* refuse loopback, link-local and metadata addresses after resolution (SEC-08) */
} mdm_smtp_conf_t;

typedef enum {
    MDM_SMTP_SENT,    /* the server has taken it */
    MDM_SMTP_REFUSED, /* it never will: 5xx to this recipient or this message */
    MDM_SMTP_LATER,   /* not now: 4xx to this recipient or this message */
    MDM_SMTP_AWAY     /* nothing is wrong with the message: the server can't be reached, or takes nothing from us */
} mdm_smtp_result_e;

typedef struct mdm_smtp_msg_t {
    const char *from, *to; /* checked addresses */
    mdm_blob_t body;       /* mdm_mail_compose() */
    /* results, in the call's pool */
    mdm_smtp_result_e result;
    mdm_smtp_step_e step;  /* where it ended */
    int code;              /* of the server's last answer; 0: none */
    const char *words;     /* what the server said last, or what went wrong; cleaned, never NULL */
} mdm_smtp_msg_t;

typedef struct mdm_smtp_t mdm_smtp_t; /* a connection that is made when needed; one thread at a time */

/* step has ended well and the next one begins; may be NULL. */
typedef void (*mdm_smtp_told_fn)(void *baton, mdm_smtp_step_e step, const char *words);

/* In ctx->pool, closed with it. peer (may be NULL) gets the DER of the server's certificate. MDM_EINPUT: the settings can't be used. */
apr_status_t mdm_smtp_make(mdm_ctx_t *ctx, const mdm_smtp_conf_t *conf, mdm_blob_t *peer, mdm_smtp_t **out);
void mdm_smtp_tell(mdm_smtp_t *s, mdm_smtp_told_fn told, void *baton);
/* Sends one message. ctx: its pool takes the results. stop may be NULL: *stop != 0 ends early with MDM_SMTP_AWAY. */
void mdm_smtp_send(mdm_ctx_t *ctx, mdm_smtp_t *s, mdm_smtp_msg_t *m, volatile int *stop);
/* Ends the connection politely. */
void mdm_smtp_close(mdm_smtp_t *s);

#endif
