/* Owns the texts of notices (MAIL-02): the templates of conf/notices.json, their check before one is changed, filling them in. No database. */
#ifndef MDM_NOTICE_TEXT_H
#define MDM_NOTICE_TEXT_H

#include <jansson.h>
#include "base/mdm_text.h"
#include "wire/mdm_mail.h"

#define MDM_NOTICE_LANGUAGES 2
#define MDM_NOTICE_SUBJECT_MAX 200
#define MDM_NOTICE_BODY_MAX 16384
#define MDM_NOTICE_SMS_MAX 1000
#define MDM_NOTICE_QR_IMG "<img src=\"" MDM_MAIL_PNG "\" width=\"240\" height=\"240\" alt=\"QR\">"

typedef struct mdm_notice_text_t {
    const char *language;
    const char *subject;
    const char *text; /* paragraphs with an empty line between them */
    const char *html; /* what stands in <body> */
    const char *sms;  /* the form for a phone; "": there is none */
} mdm_notice_text_t;

typedef struct mdm_notice_kind_t {
    const char *event;
    int admins;           /* 1: goes to administrators who receive alerts, else to a person */
    const char *vars;     /* " a b ": what the template may use, each with a blank before and behind it */
    const char *required; /* of these, what each form must hold */
    const char *needed;   /* of these, what must have a value when it is told */
    mdm_notice_text_t texts[MDM_NOTICE_LANGUAGES]; /* in the order of mdm_notice_languages */
} mdm_notice_kind_t;

extern const mdm_notice_kind_t mdm_notice_kinds[]; /* ends without an event */
extern const mdm_notice_kind_t mdm_notice_mailbox[]; /* what stands in the inbox of a device without mail (GATE-02); nobody edits these */
extern const char *const mdm_notice_languages[];   /* NULL-terminated; the first one is the default */

const mdm_notice_kind_t *mdm_notice_kind(const char *event);       /* NULL: unknown */
const mdm_notice_text_t *mdm_notice_default(const mdm_notice_kind_t *kind, const char *language); /* NULL: unknown */

/* True if notices of this kind may go to a phone. */
int mdm_notice_has_sms(const mdm_notice_kind_t *kind);

/* MDM_EINPUT names the member: an unknown variable, one that is missing, markup that a mail should not have, a variable inside of a tag that is no address
 * of ours, an SMS of a kind that has none. */
apr_status_t mdm_notice_check(mdm_ctx_t *ctx, const mdm_notice_kind_t *kind, const mdm_notice_text_t *t);
/* ${enrol.qr} of the HTML is a picture, MDM_MAIL_PNG of wire/mdm_mail.h, in the other forms nothing.
 * Fills in: values {"device.name": "…"}; what has no value is empty, and a line that names a one-time password, or from when it is good, is left out where there is
 * none. In HTML values are text, whatever they hold; elsewhere they are one line. The HTML becomes a whole document. */
void mdm_notice_render(apr_pool_t *p, const mdm_notice_text_t *t, const json_t *values, mdm_notice_text_t *out);
/* What the QR code in the HTML of this text says; NULL: there is none in it. Borrowed from values. */
const char *mdm_notice_qr(const mdm_notice_text_t *t, const json_t *values);
/* True if all that the kind needs has a value: what it was to tell is still there. */
int mdm_notice_tellable(const mdm_notice_kind_t *kind, const json_t *values);
/* Values that show how it will look. Owned by the pool of ctx. */
json_t *mdm_notice_sample(mdm_ctx_t *ctx, const char *portal_url);

#endif
