/* Provision (PRV-01, PRV-02): keys of requests, and the handshake between a device, us, and its mail server. The server's policy is asked for and
 * acknowledged in the device's place; nothing of a step is stored before all that it needs has answered. */
#include "eas.h"

#include "domain/mdm_eas_provision.h"
#include "mdm_web.h"

#define BODY_MAX 65536
#define RETRY_DENIED_S 900

/* ---------------------------------------------------------------- keys */

static void note_gave_up(eas_call_t *c, int gave_up)
{
    if (gave_up) {
        c->svc->count(MDM_N_MAIL_GAVE_UP, 1);
        mdm_log(c->ctx, MDM_LOG_WARN, "MDM0840", 0, "mail device %s of %s does not take its policy, and is asked no more until tomorrow",
                mdm_mask(c->r->pool, c->query->device_id), mdm_mask(c->r->pool, c->who.login));
    }
}

/* A key that the cached record does not know may be newer than it: the database has the last word. */
int eas_key_check(eas_call_t *c, int detect)
{
    int status = mdm_eas_key_judge(&c->rec, c->query), gave_up = 0;
    apr_status_t rv;

    if (status && detect) { /* GATE-03 */
        c->svc->count(MDM_N_MAIL_DETECTED, 1);
        apr_table_setn(c->r->notes, "mdm-detected", "policy");
        status = 0;
    }
    rv = status ? mdm_eas_key_check(c->ctx, &c->rec, c->query, &status, &gave_up) : APR_SUCCESS;

    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0841", rv, "the policy key of a mail client can't be checked");
    }
    c->back_key = c->rec.back_key;
    c->has_back_key = c->back_key != 0;
    if (!status) {
        return DECLINED;
    }
    note_gave_up(c, gave_up);
    c->svc->count(status == MDM_EAS_ST_LEGACY || status == MDM_EAS_ST_DEVICE_BLOCKED ? MDM_N_MAIL_WITHHELD : MDM_N_MAIL_TO_PROVISION, 1);
    return eas_status(c, status, "policy", status == MDM_EAS_ST_DEVICE_BLOCKED ? RETRY_DENIED_S : 0);
}

int eas_back_said_stale(eas_call_t *c, int status)
{
    apr_status_t rv;

    c->served = 0;
    rv = status == MDM_EAS_ST_WIPE ? APR_SUCCESS : mdm_eas_back_stale(c->ctx, &c->rec);

    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0842", rv, "the policy key of a mail server can't be forgotten");
    }
    return eas_status(c, status == 449 ? MDM_EAS_ST_NOT_PROVISIONED : status, "policy of the mail server", 0);
}

/* ---------------------------------------------------------------- the mail server's part */

/* Asks the person's server. DECLINED: *out is what it says (all zero: it does not know Provision); else what the device was answered. */
static int ask_server(eas_call_t *c, apr_uint32_t key, mdm_blob_t body, mdm_eas_provided_t *out)
{
    mdm_eas_server_t server;
    eas_reply_t reply = {0};
    apr_status_t rv;

    memset(out, 0, sizeof(*out));
    do {
        rv = eas_server_next(c, &server);
        if (rv == APR_SUCCESS && (rv = eas_back_ask(c, &server, MDM_EAS_PROVISION, key, &body, &reply)) == APR_SUCCESS &&
            (reply.http == HTTP_OK || reply.http == HTTP_UNAUTHORIZED)) {
            eas_server_told(c, reply.http == HTTP_OK ? EAS_TOLD_ACCEPTED : EAS_TOLD_REFUSED);
        }
    } while (rv == APR_SUCCESS && reply.http == HTTP_UNAUTHORIZED); /* then another one has the person's mail */
    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0843", MDM_EUNAVAIL, "the mail server can't be asked for its policy");
    }
    if (reply.http == HTTP_NOT_IMPLEMENTED) {
        return DECLINED;
    }
    if (reply.http != HTTP_OK || mdm_eas_provided_read(c->ctx, reply.body.data, reply.body.len, out) != APR_SUCCESS) {
        mdm_log(c->ctx, MDM_LOG_INFO, "MDM0844", 0, "mail server %s answered Provision of %s with HTTP %d and %" APR_SIZE_T_FMT " bytes", server.name,
                mdm_mask(c->r->pool, c->who.login), reply.http, reply.body.len);
        return eas_unavailable(c, "MDM0843", MDM_EUNAVAIL, "the mail server's answer about its policy is of no use");
    }
    if (out->wipe || out->account_wipe) {
        return eas_wipe_by_server(c, out->account_wipe);
    }
    return out->status > 1 ? eas_status(c, out->status, "policy of the mail server", 0) : DECLINED;
}

/* ---------------------------------------------------------------- the device's part */

static int offer(eas_call_t *c, const mdm_eas_provision_t *asked, const mdm_eas_provided_t *server)
{
    mdm_eas_policy_t policy;
    mdm_eas_back_t back = {NULL, 0};
    mdm_blob_t answer;
    int gave_up;
    apr_status_t rv;

    if (server->policy_status == 1 && server->key == MDM_EAS_KEY_GIVEN) {
        mdm_eas_policy_read(c->r->pool, server->doc, &policy);
        back = (mdm_eas_back_t){&policy, server->policy_key};
    }
    rv = mdm_eas_offer(c->ctx, &c->rec, c->query, &back, asked->info != NULL, &answer, &gave_up);
    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0845", rv, "a mail client's policy can't be offered");
    }
    note_gave_up(c, gave_up);
    if (asked->info) {
        eas_note_info(c, asked->info);
    }
    return eas_document(c, "policy", answer);
}

static int ask(eas_call_t *c, mdm_eas_verdict_e verdict, const mdm_eas_provision_t *asked)
{
    mdm_eas_provided_t server = {0};
    int rc = DECLINED;

    if (asked->policy_type && strcmp(asked->policy_type, MDM_EAS_POLICY_TYPE) != 0) {
        return eas_document(c, "policy", mdm_eas_provision_refuse(c->r->pool, 3));
    }
    if (verdict == MDM_EAS_ALLOW) {
        rc = ask_server(c, 0, mdm_eas_provision_ask(c->r->pool, c->query->version >= 141 ? asked->info : NULL), &server);
    }
    return rc == DECLINED ? offer(c, asked, &server) : rc;
}

static int acknowledge(eas_call_t *c, mdm_eas_verdict_e verdict, const mdm_eas_provision_t *said)
{
    mdm_eas_provided_t server = {0};
    apr_uint32_t back_temp, again, key;
    int status, rc = DECLINED;
    apr_status_t rv = mdm_eas_ack(c->ctx, &c->rec, said->policy_key, &back_temp, &again);

    if (rv == APR_SUCCESS && !again && back_temp && verdict == MDM_EAS_ALLOW) {
        rc = ask_server(c, back_temp, mdm_eas_provision_ack(c->r->pool, back_temp, said->status), &server);
        if (rc != DECLINED) {
            return rc;
        }
        rv = server.policy_status == 1 && server.key == MDM_EAS_KEY_GIVEN ? APR_SUCCESS : MDM_EDENIED; /* it has forgotten what it offered */
    }
    if (rv == MDM_EDENIED) {
        return eas_document(c, "policy", mdm_eas_provision_refuse(c->r->pool, 5));
    }
    if (rv == APR_SUCCESS && again) {
        return eas_document(c, "policy", mdm_eas_provision_final(c->r->pool, again));
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_eas_taken(c->ctx, &c->rec, said, server.policy_key, &key, &status);
    }
    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0845", rv, "what a mail client says of its policy can't be stored");
    }
    return status ? eas_status(c, status, "policy", 0) : eas_document(c, "policy", mdm_eas_provision_final(c->r->pool, key));
}

/* A wipe that the mail server wanted: it hears of it, too. The device is wiped whether or not that arrives. */
static int wiped(eas_call_t *c, const mdm_eas_provision_t *said, const mdm_blob_t *body)
{
    mdm_eas_server_t server;
    eas_reply_t reply;
    int by_server, rc = eas_wipe_said(c, said, &by_server);

    if (by_server && c->r->status == HTTP_OK && eas_server_next(c, &server) == APR_SUCCESS) {
        eas_back_ask(c, &server, MDM_EAS_PROVISION, 0, body, &reply);
    }
    return rc;
}

int eas_provision(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    mdm_eas_provision_t said;
    mdm_blob_t body;
    apr_status_t rv = mdm_web_body(c->r, BODY_MAX, &body);

    c->bytes_in = body.len;
    if (rv == MDM_ETOOBIG) {
        return eas_answer(c, HTTP_REQUEST_ENTITY_TOO_LARGE, NULL, "too large", 0);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_eas_provision_read(c->ctx, body.data, body.len, &said);
    }
    if (rv != APR_SUCCESS || (said.kind == MDM_EAS_PROV_ACK && !said.status)) {
        mdm_log(c->ctx, MDM_LOG_INFO, "MDM0846", 0, "Provision of %s can't be read: %s", mdm_mask(c->r->pool, c->query->device_id),
                c->ctx->fail_text ? c->ctx->fail_text : "no status");
        return eas_status(c, 2, "bad request", 0);
    }
    if (said.kind == MDM_EAS_PROV_WIPE_ACK || said.kind == MDM_EAS_PROV_ACCOUNT_WIPE_ACK) {
        return wiped(c, &said, &body);
    }
    if (verdict == MDM_EAS_WIPE) {
        return eas_wipe_tell(c, verdict);
    }
    return said.kind == MDM_EAS_PROV_ASK ? ask(c, verdict, &said) : acknowledge(c, verdict, &said);
}
