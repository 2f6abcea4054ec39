/* Policy keys and the two steps of Provision. */
#include "domain/mdm_eas_provision.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"

#define LAX_SETTING "email.unprovisioned"

/* ---------------------------------------------------------------- pure */

apr_uint32_t mdm_eas_key_flags(const mdm_eas_keys_t *k, apr_int64_t now_ms)
{
    int stuck = k->tries >= MDM_EAS_TRIES && k->tries_rev == k->rev && k->tries_ms > now_ms - MDM_EAS_TRIES_MS;

    return (k->rev ? MDM_DEVF_POLICY : 0) | (k->key && k->key_rev != k->rev ? MDM_DEVF_KEY_OLD : 0) |
           (stuck ? MDM_DEVF_STUCK : 0) | (stuck && k->lax ? MDM_DEVF_LAX : 0);
}

int mdm_eas_key_judge(const mdm_devrec_t *rec, const mdm_eas_query_t *q)
{
    int ours = rec->policy_key && q->key == MDM_EAS_KEY_GIVEN && q->policy_key == rec->policy_key;

    if (q->cmd == MDM_EAS_PROVISION || q->cmd == MDM_EAS_PING || q->cmd == MDM_EAS_OPTIONS ||
        (!rec->policy_key && !(rec->flags & MDM_DEVF_POLICY)) ||
        (ours && !(rec->flags & MDM_DEVF_KEY_OLD) && rec->key_version == q->version)) {
        return 0;
    }
    if (rec->flags & MDM_DEVF_STUCK) {
        return rec->flags & MDM_DEVF_LAX ? 0 : q->version >= 140 && q->key == MDM_EAS_KEY_NONE ? MDM_EAS_ST_LEGACY : MDM_EAS_ST_DEVICE_BLOCKED;
    }
    if (ours) {
        return MDM_EAS_ST_POLICY_REFRESH;
    }
    return !rec->policy_key || q->key == MDM_EAS_KEY_NONE || (q->key == MDM_EAS_KEY_GIVEN && !q->policy_key) ? MDM_EAS_ST_NOT_PROVISIONED
                                                                                                            : MDM_EAS_ST_BAD_KEY;
}

/* ---------------------------------------------------------------- the row */

typedef struct client_t {
    mdm_db_t *db;
    mdm_ctx_t *ctx;
    const char *record_id;
    mdm_q_eas_client_t *row;
    apr_uint32_t rev; /* asked for now */
} client_t;

typedef apr_status_t (*work_t)(client_t *c, void *baton);

/* Runs work in a transaction. hold: of record and device, for what changes more than the keys. */
static apr_status_t with_client(mdm_ctx_t *ctx, const mdm_devrec_t *rec, int hold, work_t work, void *baton)
{
    client_t c = {.ctx = ctx, .record_id = mdm_uuid_text(ctx->pool, rec->record)};
    apr_status_t rv = mdm_db_open(ctx, &c.db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_db_begin(c.db)) == APR_SUCCESS
        && (!hold || (rv = mdm_delivery_hold(c.db, mdm_json_own(ctx, json_pack("[s]", c.record_id)))) == APR_SUCCESS)
        && (rv = mdm_q_eas_client(c.db, c.record_id, &c.row)) == APR_SUCCESS) {
        c.rev = mdm_delivery_rev(c.row->policy);
        rv = work(&c, baton);
    }
    rv = mdm_db_end(c.db, rv);
    mdm_db_close(c.db);
    return rv == APR_NOTFOUND ? MDM_EUNAVAIL : rv; /* the record has gone: the next request finds out */
}

/* Mail for those that don't take policies, unless the e-mail policy says no. */
static int is_lax(client_t *c)
{
    json_t *settings = mdm_json_own(c->ctx, c->row->email ? json_loads(c->row->email, 0, NULL) : NULL);

    return !json_is_false(json_object_get(json_object_get(settings, LAX_SETTING), "value"));
}

/* What our policies ask, as this version gets it: SHA-256 of the document. */
static apr_status_t ours(client_t *c, int version, mdm_eas_policy_t *policy, apr_uint32_t *rev, const char **doc)
{
    apr_status_t rv;
    mdm_wbout_t o;
    mdm_blob_t b;

    memset(policy, 0, sizeof(*policy));
    *rev = 0;
    rv = mdm_delivery_eas(c->db, c->row->device_id, version, policy, rev);
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        return rv;
    }
    mdm_wbxml_begin(&o, c->ctx->pool);
    mdm_eas_policy_write(&o, policy, version);
    b = mdm_wbxml_end(&o);
    *doc = mdm_sha256_hex(c->ctx->pool, b.data, b.len);
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- the end of asking */

static apr_status_t refused(client_t *c, apr_uint32_t rev, const char *word)
{
    const char *text = mdm_said(c->ctx->pool, word, NULL), *why = mdm_said_text(c->ctx->pool, text);
    json_t *detail = mdm_json_own(c->ctx, json_pack("{s:s, s:b}", "error", why, "mail", is_lax(c)));
    apr_status_t rv = mdm_delivery_eas_said(c->db, c->row->device_id, rev, text);

    if (rv == APR_SUCCESS) {
        rv = mdm_device_event(c->db, c->row->device_id, NULL, "mail.policy_refused", detail);
    }
    return rv == APR_SUCCESS ? mdm_message(c->db, "device", c->row->device_id, MDM_MSG_WARNING, "eas.policy", text) : rv;
}

/* Counts n tries; the one that ends the asking tells people. */
static apr_status_t tried(client_t *c, int n, apr_int64_t *tries)
{
    apr_int64_t now = mdm_now_ms(c->ctx);
    mdm_q_eas_client_tried_t *row;
    apr_status_t rv = mdm_q_eas_client_tried(c->db, c->record_id, c->rev, n, now - MDM_EAS_TRIES_MS, now, &row);

    if (rv == APR_SUCCESS) {
        *tries = row->tries;
        if (row->tries >= MDM_EAS_TRIES) { /* what the cache shows of it has changed */
            rv = mdm_q_eas_client_lax(c->db, c->record_id, is_lax(c) ? c->row->email_id : NULL, NULL);
            rv = rv == APR_SUCCESS ? mdm_change_add(c->db, "device", c->row->device_id) : rv;
        }
    }
    return rv;
}

/* *gave_up: this one was the last. */
static apr_status_t tried_once(client_t *c, int *gave_up)
{
    apr_int64_t tries;
    apr_status_t rv = tried(c, 1, &tries);

    *gave_up = rv == APR_SUCCESS && tries == MDM_EAS_TRIES;
    return *gave_up ? refused(c, c->rev, "said_eas_again") : rv;
}

/* ---------------------------------------------------------------- a request without the right key */

typedef struct check_t {
    mdm_devrec_t *rec;
    const mdm_eas_query_t *q;
    int status, gave_up;
} check_t;

static void bring_up(client_t *c, mdm_devrec_t *rec)
{
    const mdm_q_eas_client_t *r = c->row;
    const mdm_eas_keys_t keys = {.rev = c->rev, .key = (apr_uint32_t)r->policy_key, .key_rev = (apr_uint32_t)r->key_rev, .tries = r->tries,
                                 .tries_ms = r->tries_ms, .tries_rev = (apr_uint32_t)r->tries_rev, .lax = is_lax(c)};

    rec->policy_key = keys.key;
    rec->key_version = (apr_uint16_t)r->key_version;
    rec->back_key = (apr_uint32_t)r->back_key;
    rec->flags &= ~(MDM_DEVF_POLICY | MDM_DEVF_KEY_OLD | MDM_DEVF_STUCK | MDM_DEVF_LAX);
    rec->flags |= mdm_eas_key_flags(&keys, mdm_now_ms(c->ctx));
}

/* Another revision or version, and still the same document? */
static apr_status_t look_closer(client_t *c, check_t *k)
{
    mdm_eas_policy_t policy;
    apr_uint32_t rev;
    const char *doc;
    apr_status_t rv = ours(c, k->q->version, &policy, &rev, &doc);

    if (rv != APR_SUCCESS || strcmp(doc, c->row->key_doc) != 0) {
        return rv;
    }
    k->status = 0;
    rv = mdm_q_eas_client_same(c->db, c->record_id, c->rev, k->q->version, NULL);
    return rv == APR_SUCCESS ? mdm_change_add(c->db, "device", c->row->device_id) : rv;
}

static apr_status_t check(client_t *c, void *baton)
{
    check_t *k = baton;
    apr_status_t rv = APR_SUCCESS;

    bring_up(c, k->rec);
    k->status = mdm_eas_key_judge(k->rec, k->q);
    if (k->status == MDM_EAS_ST_POLICY_REFRESH) {
        rv = look_closer(c, k);
    }
    if (!k->status && k->rec->flags & MDM_DEVF_LAX && (!c->row->lax || strcmp(c->row->lax, c->row->email_id) != 0)) {
        rv = mdm_q_eas_client_lax(c->db, c->record_id, c->row->email_id, NULL);
        return rv == APR_SUCCESS ? mdm_change_add(c->db, "device", c->row->device_id) : rv;
    }
    return rv == APR_SUCCESS && k->status && !(k->rec->flags & MDM_DEVF_STUCK) ? tried_once(c, &k->gave_up) : rv;
}

apr_status_t mdm_eas_key_check(mdm_ctx_t *ctx, mdm_devrec_t *rec, const mdm_eas_query_t *q, int *status, int *gave_up)
{
    check_t k = {.rec = rec, .q = q};
    apr_status_t rv = with_client(ctx, rec, 0, check, &k);

    *status = k.status;
    *gave_up = k.gave_up;
    return rv;
}

/* ---------------------------------------------------------------- step 1 */

typedef struct offer_t {
    const mdm_eas_query_t *q;
    const mdm_eas_back_t *back;
    mdm_eas_policy_t policy;
    apr_uint32_t key;
    int gave_up;
} offer_t;

static apr_status_t new_key(apr_uint32_t *key)
{
    apr_status_t rv;

    do {
        rv = mdm_random(key, sizeof(*key));
    } while (rv == APR_SUCCESS && !*key);
    return rv;
}

static apr_status_t offer(client_t *c, void *baton)
{
    offer_t *o = baton;
    apr_uint32_t rev;
    const char *doc;
    apr_status_t rv = new_key(&o->key);

    if (rv == APR_SUCCESS) {
        rv = tried_once(c, &o->gave_up);
    }
    if (rv == APR_SUCCESS) {
        rv = ours(c, o->q->version, &o->policy, &rev, &doc);
    }
    return rv == APR_SUCCESS ? mdm_q_eas_client_offer(c->db, c->record_id, o->key, rev, o->q->version, doc, o->back->key, NULL) : rv;
}

apr_status_t mdm_eas_offer(mdm_ctx_t *ctx, const mdm_devrec_t *rec, const mdm_eas_query_t *q, const mdm_eas_back_t *back, int has_info, mdm_blob_t *answer,
                           int *gave_up)
{
    offer_t o = {.q = q, .back = back};
    apr_status_t rv = with_client(ctx, rec, 0, offer, &o);

    if (rv == APR_SUCCESS) {
        if (back->policy) {
            mdm_eas_policy_merge(ctx->pool, &o.policy, back->policy, &o.policy);
        }
        *answer = mdm_eas_provision_offer(ctx->pool, &o.policy, q->version, o.key, has_info);
    }
    *gave_up = o.gave_up;
    return rv;
}

/* ---------------------------------------------------------------- step 2 */

typedef struct ack_t {
    apr_uint32_t temp, back_temp, again;
} ack_t;

static apr_status_t ack(client_t *c, void *baton)
{
    ack_t *a = baton;

    if (!a->temp || a->temp != (apr_uint32_t)c->row->temp_key) {
        return mdm_fail(c->ctx, MDM_EDENIED, "PolicyKey", "is not what was offered");
    }
    a->back_temp = (apr_uint32_t)c->row->back_temp;
    a->again = c->row->temp_done ? (apr_uint32_t)c->row->policy_key : 0;
    return APR_SUCCESS;
}

apr_status_t mdm_eas_ack(mdm_ctx_t *ctx, const mdm_devrec_t *rec, apr_uint32_t temp, apr_uint32_t *back_temp, apr_uint32_t *again)
{
    ack_t a = {.temp = temp};
    apr_status_t rv = with_client(ctx, rec, 0, ack, &a);

    *back_temp = a.back_temp;
    *again = a.again;
    return rv;
}

typedef struct taken_t {
    const mdm_eas_provision_t *said;
    apr_uint32_t back_key, key;
    int status;
} taken_t;

/* What a client says that does not do it all, and what it is told if its policy insists. */
static const struct {
    const char *word;
    int status;
} answers[] = {
    [2] = {"said_mail_app_part", MDM_EAS_ST_NOT_FULLY},
    [3] = {"said_mail_app_not", MDM_EAS_ST_NOT_FULLY},
    [4] = {"said_mail_app_elsewhere", MDM_EAS_ST_MANAGED_ELSEWHERE},
};

static apr_status_t give_key(client_t *c, taken_t *t)
{
    apr_status_t rv = new_key(&t->key);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_eas_client_taken(c->db, c->record_id, t->said->policy_key, t->key, t->back_key);
    }
    return rv == APR_SUCCESS ? mdm_change_add(c->db, "device", c->row->device_id) : rv;
}

static apr_status_t taken(client_t *c, void *baton)
{
    taken_t *t = baton;
    apr_uint32_t rev = (apr_uint32_t)c->row->temp_rev;
    int status = t->said->status;
    apr_int64_t tries;
    apr_status_t rv;

    if (status == 4 && strcmp(c->row->mode, "eas") != 0) { /* that management is ours */
        status = 1;
    }
    if (status == 1) {
        rv = mdm_delivery_eas_said(c->db, c->row->device_id, rev, NULL);
        return rv == APR_SUCCESS ? give_key(c, t) : rv;
    }
    rv = refused(c, rev, answers[status].word);
    if (rv == APR_SUCCESS && is_lax(c)) {
        return give_key(c, t);
    }
    t->status = answers[status].status;
    return rv == APR_SUCCESS ? tried(c, MDM_EAS_TRIES, &tries) : rv;
}

apr_status_t mdm_eas_taken(mdm_ctx_t *ctx, const mdm_devrec_t *rec, const mdm_eas_provision_t *said, apr_uint32_t back_key, apr_uint32_t *key, int *status)
{
    taken_t t = {.said = said, .back_key = back_key};
    apr_status_t rv = with_client(ctx, rec, 1, taken, &t);

    *key = t.key;
    *status = t.status;
    return rv;
}

/* ---------------------------------------------------------------- the mail server's key */

static apr_status_t stale(client_t *c, void *baton)
{
    const apr_uint32_t *back_key = baton;
    int n = 0;
    apr_status_t rv = mdm_q_eas_client_stale(c->db, c->record_id, *back_key, &n);

    return rv == APR_SUCCESS && n ? mdm_change_add(c->db, "device", c->row->device_id) : rv;
}

apr_status_t mdm_eas_back_stale(mdm_ctx_t *ctx, const mdm_devrec_t *rec)
{
    apr_uint32_t back_key = rec->back_key;

    return with_client(ctx, rec, 0, stale, &back_key);
}
