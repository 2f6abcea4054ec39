/* Inside of mod_mdm_eas: one request on its way through gate and relay, and the servers behind it. */
#ifndef EAS_H
#define EAS_H

#include <httpd.h>
#include "domain/mdm_eas.h"
#include "domain/mdm_eas_server.h"
#include "mdm_services.h"
#include "wire/mdm_eas_doc.h"

/* What each step has found out; in r->pool. */
typedef struct eas_call_t {
    request_rec *r;
    const mdm_services_t *svc;
    mdm_ctx_t *ctx;
    mdm_eas_query_t *query;
    mdm_basic_t basic;
    mdm_mail_login_t who;
    mdm_devrec_t rec;       /* of (person, DeviceId); all zero for OPTIONS */
    mdm_eas_verdict_e held; /* what the verdict would be if detect mode did not let it through; else the same */
    const char *denied;     /* word of the text in the inbox (mdm_eas_note_ask_t) where the verdict is MDM_EAS_DENIED; "": none */
    int has_back_key;       /* requests to the back end carry back_key; 0: none */
    apr_uint32_t back_key;
    struct eas_walk_t *walk; /* eas_servers.c: which servers were asked */
    mdm_eas_verdict_e verdict; /* by which it is passed on */
    int served;             /* it had its answer from a mailbox, the person's or the empty one */
    int heartbeat_s;        /* how long it asked to wait; 0: not */
    apr_uint64_t bytes_in;  /* of its body */
} eas_call_t;

/* ---- the gate: everything that is decided before a byte goes to a back end */
int eas_handler(request_rec *r, const mdm_services_t *svc);
/* A held request judges again after MDM_WOKE_CHANGED and MDM_WOKE_FILTERS: true if it would be passed on as it was. Reads the log-in again. */
int eas_still(eas_call_t *c, mdm_woke_e why);
/* The password is needed while something is made of it, not while a request waits: then it is read again from its header. */
void eas_recall_password(eas_call_t *c);
void eas_forget_password(eas_call_t *c);

/* ---- answers of our own; each is a hook result */
/* An empty answer. line: NULL, or for codes that httpd has no words for. why: for %{mdm-decision}n. retry_s > 0: Retry-After. */
int eas_answer(eas_call_t *c, int http, const char *line, const char *why, int retry_s);
/* 503 + Retry-After, whatever is wrong: a phone takes 401 for a wrong password and 500 for a reason to load folders again. */
int eas_unavailable(eas_call_t *c, const char *id, apr_status_t rv, const char *why);
/* A WBXML document with 200; an empty one has no type. */
int eas_document(eas_call_t *c, const char *why, mdm_blob_t body);
/* A status of the protocol: root and Status from 14.0 on, the HTTP code before. retry_s > 0: Retry-After. */
int eas_status(eas_call_t *c, int status, const char *why, int retry_s);

/* Reads the gate's mode again (mdm_change_fn). */
apr_status_t eas_gate_read(mdm_ctx_t *ctx);
/* The language of devices that don't say theirs. */
const char *eas_gate_language(void);

/* ---- what the gate does with a device's request, by its table of verdicts and commands; each is a hook result */
/* Whatever a device with a wipe asks for. */
int eas_wiping(eas_call_t *c, mdm_eas_verdict_e verdict);
/* Its Provision: what it is to do; what it says of it; and what its mail server wants it to do (account: the account only). */
int eas_wipe_tell(eas_call_t *c, mdm_eas_verdict_e verdict);
int eas_wipe_said(eas_call_t *c, const mdm_eas_provision_t *said, int *by_server);
int eas_wipe_by_server(eas_call_t *c, int account);
/* The policy key of a request. DECLINED: it is the right one, or none is needed (detect: or only noted), and back_key is
 * set; else the answer has been made. */
int eas_key_check(eas_call_t *c, int detect);
/* On to the person's server. */
int eas_pass(eas_call_t *c, mdm_eas_verdict_e verdict);
/* No mail for this device. */
int eas_refuse(eas_call_t *c, mdm_eas_verdict_e verdict);
/* Provision: our policy, the device's word on it, a wipe. */
int eas_provision(eas_call_t *c, mdm_eas_verdict_e verdict);
/* Settings: what the device says of itself. */
int eas_settings(eas_call_t *c, mdm_eas_verdict_e verdict);
/* Every other command of a device without mail: an account that works and is empty. */
int eas_mailbox(eas_call_t *c, mdm_eas_verdict_e verdict);

/* What a device says of itself, with a request or in its DeviceInformation (PRV-04): kept in its record if it is news. Cheap. */
void eas_note_agent(eas_call_t *c);
void eas_note_info(eas_call_t *c, const mdm_eas_info_t *info);
apr_status_t eas_settings_child(apr_pool_t *p);

/* True if the request comes from the time when this device had our own mailbox: it was told to load its folders anew, *rc is the
 * result. Else the request's body is as it was. */
int eas_mailbox_left(eas_call_t *c, int *rc);

/* The one call of this request, from when its address was recognised. */
eas_call_t *eas_call_of(request_rec *r);
/* What devices did, for their pages (PXY-06, eas_count.c): noted when a request has ended, held or not. A log_transaction hook. */
int eas_count(request_rec *r);

/* ---- bodies (eas_body.c) */
/* Reads the body if it has at most `most` bytes, and puts it back for whoever reads it next. APR_SUCCESS; MDM_ETOOBIG: it is longer, and also
 * all there still; else the client broke off. */
apr_status_t eas_body_peek(request_rec *r, apr_size_t most, mdm_blob_t *out);
void eas_body_register(void);

/* ---- those who may not have the device that they bring: remembered for a minute, so that they cost nothing (eas_denied.c) */
apr_status_t eas_denied_child(apr_pool_t *p);
/* The word that goes with (person, DeviceId), "" for none; NULL: not remembered. */
const char *eas_denied_known(eas_call_t *c);
void eas_denied_note(eas_call_t *c, const char *word);
/* Enrolment policies or people have changed (mdm_change_fn). */
apr_status_t eas_denied_forget(mdm_ctx_t *ctx);

/* ---- the relay: hands an allowed request to the person's server and answers with what comes back. Held requests stay in here;
 * who calls it need not know how they wait. */
int eas_relay(eas_call_t *c);
/* OPTIONS of those who have no mailbox at any server: what is spoken here (PXY-05). */
int eas_own_options(eas_call_t *c);

/* ---- the back end */
/* What a back end answered to a request of our own. http 0: nothing came. */
typedef struct eas_reply_t {
    int http;
    apr_table_t *headers; /* those that a phone may see */
    mdm_blob_t body;      /* whole, in r->pool */
} eas_reply_t;
#define EAS_REPLY_MAX (256 * 1024)
/* A request of our own in the person's name (Provision, FolderSync, …) with the device's ids and version; waits for the whole answer.
 * policy_key 0 is sent as 0. body.len 0: none. MDM_EUNAVAIL with mdm_fail: the server can't be reached, broke off, or answered more
 * than EAS_REPLY_MAX; else APR_SUCCESS whatever the code is. */
apr_status_t eas_back_ask(eas_call_t *c, const mdm_eas_server_t *server, mdm_eas_cmd_e cmd, apr_uint32_t policy_key,
                          const mdm_blob_t *body, eas_reply_t *out);
/* A back end said to a relayed request that its policy was not taken: HTTP 449, or status 140 to 144 in the body. Nothing of its answer
 * has been sent. Answers the client; hook result. */
int eas_back_said_stale(eas_call_t *c, int status);

/* ---- Autodiscover: both of its addresses; hook result */
int eas_autodiscover(request_rec *r, const mdm_services_t *svc);

/* ---- servers, in memory of the child */
apr_status_t eas_servers_child(apr_pool_t *p);
/* Reads the list again (mdm_change_fn). */
apr_status_t eas_servers_read(mdm_ctx_t *ctx);

/* The server to ask now, copied into r->pool: the one that has the person's mail, else the first in the source's order. The same again with each
 * call, until eas_server_told() said that it refuses or is away; then the next. Those that are known to be away or to refuse the person cost nothing: they are
 * passed over. APR_EAGAIN: the list has not been read yet. APR_NOTFOUND: no enabled server serves the source. MDM_EUNAVAIL with
 * ctx->retry_after: none is left, and one that might have the mail is away. MDM_EDENIED: none is left, all refuse the person; that is
 * written down, and the person is server-only from the next request on. */
apr_status_t eas_server_next(eas_call_t *c, mdm_eas_server_t *out);
/* What came of the server that eas_server_next() gave. Nothing told: nothing learned. */
typedef enum {
    EAS_TOLD_REACHED,  /* connected, TLS included: tell it before waiting, so that nobody else waits for the outcome */
    EAS_TOLD_ACCEPTED, /* answered a command as one of the person's (anything but 401, 5xx, pages; an answer to OPTIONS proves nothing): the mail
                        * is there from now on */
    EAS_TOLD_REFUSED,  /* 401 */
    EAS_TOLD_AWAY      /* no connection, or none that TLS accepts */
} eas_told_e;
void eas_server_told(eas_call_t *c, eas_told_e told);
/* What the servers make of a verdict: who is allowed, but whom none accepts or whose source has none, is server-only (spec 03). */
mdm_eas_verdict_e eas_servers_verdict(eas_call_t *c, mdm_eas_verdict_e verdict);
/* The enabled server with this host name, of whatever source; APR_NOTFOUND. */
apr_status_t eas_server_at(apr_pool_t *p, const char *host, mdm_eas_server_t *out);

/* The name that mail clients are given, as the zone sets it (eas.public_host); "": the public address's. */
const char *eas_public_host(apr_pool_t *p);
/* What links for people begin with (mdm_enroll_base, PEN-09). */
const char *eas_link_base(const eas_call_t *c);

/* What a server offers, cut to what we know (PXY-05). */
typedef struct eas_offer_t {
    char server[37];
    char versions[64];   /* "12.1,14.0,…" */
    char commands[512];
    apr_time_t since;
} eas_offer_t;

/* Cuts both lists; 0 if no version is left. */
int eas_offer_make(eas_offer_t *out, const char *server_id, const char *versions, const char *commands);
/* All that is known here. */
void eas_offer_own(eas_offer_t *out);
void eas_offer_put(const eas_offer_t *offer);
/* True and a copy if one is kept, however old. */
int eas_offer_get(const char *server_id, eas_offer_t *out);

#endif
