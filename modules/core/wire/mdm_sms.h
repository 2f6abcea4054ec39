/* Owns text messages by one templated HTTP request (PEN-05): the request is checked and filled in, what the gateway answers is judged, texts are counted.
 * No network.
 *
 * Templates are the URL, the values of headers, and the body. A variable is ${name|encoder|…}; names are to (the number), text, sender, id (the same when a
 * message is sent again) and secret.NAME; encoders url, form, json, xml, base64, and for the number e164 (digits), e164_plus, national. Without an encoder
 * of the first five the place decides: url in the URL, by the Content-Type in the body (JSON, form, XML), none in headers; none says that it stays as it is. */
#ifndef MDM_SMS_H
#define MDM_SMS_H

#include <jansson.h>
#include "wire/mdm_http.h"

#define MDM_SMS_HEADERS_MAX 20
#define MDM_SMS_ANSWER_MAX 65536
#define MDM_SMS_REGEX "re:"
#define MDM_SMS_DENIED "this address may not be asked: it is not public and in no allowed network; for addresses of this host MDMOutboundLocal decides"

typedef struct mdm_sms_gate_t {
    const char *method;         /* GET, POST, PUT */
    const char *url;            /* https://host/…: no variable before the path */
    const json_t *headers;      /* [{"name", "value"}] */
    const char *body;           /* "" = none; never with GET */
    const json_t *secrets;      /* {"name": "value"} */
    const char *sender;
    const char *country;        /* "49": numbers of this country are national ones; "" = none is */
    /* Places in the answer: a JSON pointer, or "re:" and an extended regular expression, whose first group counts, else all that fits. */
    const char *ok_pointer;     /* what says that it went well, besides a status 200 to 299; "" = nothing else does */
    const char *ok_value;       /* what stands there then; "" = anything but null and false */
    const char *id_pointer;     /* what the gateway calls the message; "" = nothing */
    const char *error_pointer;  /* its words about an error; "" = the beginning of the answer */
    int insecure;               /* http: is allowed */
} mdm_sms_gate_t;

typedef struct mdm_sms_t {
    const char *to;   /* mdm_sms_number_ok() */
    const char *text, *id;
} mdm_sms_t;

typedef enum {
    MDM_SMS_SENT,
    MDM_SMS_REFUSED, /* this message never will be */
    MDM_SMS_AWAY     /* the gateway can't be reached, or takes nothing from us */
} mdm_sms_result_e;

/* In the pool of the call; texts hold no secret, no number and nothing of the message. */
typedef struct mdm_sms_said_t {
    mdm_sms_result_e result;
    int touched;              /* MDM_SMS_AWAY: it may be this message that the gateway stumbles over */
    const char *words;        /* what the gateway said, or what went wrong; clean, never NULL */
    const char *ref;          /* what it calls the message; never NULL */
    apr_int64_t wait_ms;      /* so long it asks us to wait, at most a day; 0: it does not say */
} mdm_sms_said_t;

/* A member of one of the headers; "" if it has none. */
const char *mdm_sms_header(const json_t *header, const char *member);
/* E.164 with "+". */
int mdm_sms_number_ok(const char *to);
/* MDM_EINPUT names the member at fault: url, headers, body, a pointer. */
apr_status_t mdm_sms_check(mdm_ctx_t *ctx, const mdm_sms_gate_t *g);
/* Method, URL, headers, body, limits; the rest of *req is zero. */
void mdm_sms_request(apr_pool_t *p, const mdm_sms_gate_t *g, const mdm_sms_t *m, mdm_http_req_t *req);
/* What came of a request that has ended. */
void mdm_sms_judge(mdm_ctx_t *ctx, const mdm_sms_gate_t *g, const mdm_sms_t *m, const mdm_http_req_t *req, mdm_sms_said_t *out);
/* A text of the gateway without the secrets, the number and the message, clean and at most `max` bytes. */
const char *mdm_sms_redact(apr_pool_t *p, const mdm_sms_gate_t *g, const mdm_sms_t *m, const char *text, apr_size_t max);

/* How a text goes over the air: "gsm" (160 characters, 153 in each of several parts) or "ucs2" (70, 67). */
typedef struct mdm_sms_length_t {
    const char *encoding;
    int units, parts; /* units: septets, or 16-bit units */
} mdm_sms_length_t;
void mdm_sms_count(const char *text, mdm_sms_length_t *out);

#endif
