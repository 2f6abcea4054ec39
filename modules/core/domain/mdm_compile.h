/* Owns what effective settings become for a channel (POL-07, CAT): the keys of Apple's payloads, the values of ActiveSync's policy document, the
 * agent's settings; and why a setting is not sent. Pure; driven by the catalogue. */
#ifndef MDM_COMPILE_H
#define MDM_COMPILE_H

#include "domain/mdm_catalogue.h"
#include "wire/mdm_eas_doc.h"

#define MDM_COMPILE_SAID "out_" /* before a reason: its word of mdm_said_table */

#define MDM_CH_APPLE 1u
#define MDM_CH_EAS 2u
#define MDM_CH_AGENT 4u

/* What is known of the device. */
typedef struct mdm_compile_facts_t {
    unsigned channels;     /* MDM_CH_*: those that it has */
    const char *os_version; /* "" = unknown: nothing is held back for its sake */
    int supervised;        /* 1, 0, −1 unknown (counts as not) */
    int user_enrolled, shared_ipad;
} mdm_compile_facts_t;

/* Whose mail account an e-mail policy configures (EML-02); NULL host: none can be made. */
typedef struct mdm_compile_account_t {
    const char *host, *user, *mail;
} mdm_compile_account_t;

typedef struct mdm_compiled_t {
    json_t *apple;         /* {"device_control": {"<payload type>": {"<key>": value}}, "security": …, "email": …}; a type without anything to send is
                            * absent. Reals are JSON reals, so that 2.0 is written as <real> */
    mdm_eas_policy_t *eas; /* NULL: the device has no such channel */
    json_t *android;       /* {"<key>": value} or NULL */
    json_t *outcomes;      /* {"<setting>": {"<channel>": {"state": "sent" | "not_sent", "reason": word, "why": sentence}}} for settings with a
                            * value; channels that the device has */
} mdm_compiled_t;

/* settings: per type what the resolver gave, {"<setting>": {"value": v, …}}; NULL: no policy of that type. All owned by ctx->pool. */
typedef struct mdm_compile_in_t {
    json_t *device_control, *security, *email;
    const mdm_compile_account_t *account; /* NULL: no e-mail account */
} mdm_compile_in_t;
apr_status_t mdm_compile(mdm_ctx_t *ctx, const mdm_compile_facts_t *facts, const mdm_compile_in_t *in, mdm_compiled_t **out);

#endif
