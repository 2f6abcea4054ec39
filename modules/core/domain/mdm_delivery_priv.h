/* What the files of delivery share: rendering policies for a device. */
#ifndef MDM_DELIVERY_PRIV_H
#define MDM_DELIVERY_PRIV_H

#include <apr_hash.h>

#include "domain/mdm_compile.h"
#include "domain/mdm_delivery.h"
#include "mdm_sql_gen.h"

/* What one combination of facts and policies becomes. The e-mail account is the one part that differs between people. */
typedef struct mdm_delivery_rendered_t {
    mdm_compiled_t *c;
    mdm_policy_profile_t profile[MDM_POLICY_TYPES]; /* hash NULL: not rendered; e-mail never here */
    const char *eas_hash;                           /* of the ActiveSync document; "" = it asks for nothing */
    const char *why[MDM_POLICY_TYPES];              /* nothing goes to Apple's channel: the reason */
    int eas[MDM_POLICY_TYPES];                      /* something of this type goes to the mail app */
} mdm_delivery_rendered_t;

/* Renders each combination once. */
typedef struct mdm_delivery_render_t {
    mdm_ctx_t *ctx;
    mdm_db_t *db;
    const char *public_host; /* "" = the host that the device knows */
    apr_hash_t *memo, *servers, *sources;
} mdm_delivery_render_t;
void mdm_delivery_render_init(mdm_delivery_render_t *s, mdm_db_t *db);
/* What mail accounts are made of; before mdm_delivery_account(). */
apr_status_t mdm_delivery_read_servers(mdm_delivery_render_t *s);
/* The mail account that its e-mail policy configures for its person; NULL: none can be made. */
const mdm_compile_account_t *mdm_delivery_account(mdm_delivery_render_t *s, const mdm_delivery_device_t *d, const mdm_q_delivery_facts_t *f);
apr_status_t mdm_delivery_render(mdm_delivery_render_t *s, const mdm_delivery_device_t *d, const mdm_q_delivery_facts_t *f,
                                 const mdm_compile_account_t *account, mdm_delivery_rendered_t **out);
/* The account's profile: what was rendered, with this person's account in it. */
apr_status_t mdm_delivery_email_profile(mdm_delivery_render_t *s, const mdm_delivery_rendered_t *r, const mdm_q_delivery_facts_t *f,
                                        const mdm_compile_account_t *a, mdm_policy_profile_t *out);
/* What Apple's channel gets of a type; NULL: nothing. */
json_t *mdm_delivery_payloads(const mdm_delivery_rendered_t *r, int type);
/* Its e-mail policy goes past our proxy. */
int mdm_delivery_direct(const mdm_delivery_device_t *d);

/* A row of `delivery` that is to be queued. */
typedef struct mdm_delivery_due_t {
    const char *device_id, *type, *hash, *record_id;
    json_t *row;            /* the caller's own, may be NULL */
    const char *command_id; /* set: NULL = the queue takes nothing now */
    apr_int64_t due_ms;     /* set: when it is tried again then */
} mdm_delivery_due_t;
/* Queues them, and the questions that verify them. Sorts the list; writes no delivery row. */
apr_status_t mdm_delivery_queue(mdm_db_t *db, mdm_delivery_due_t *due, int n, apr_int64_t spread_ms);

#endif
