/* The mailbox of a device that has no mail (GATE-02, PRV-05): an account that works and is empty, or has one message that says why. No
 * database: what a device has is in the keys that it brings. */
#include <string.h>

#include <http_protocol.h>

#include "eas.h"
#include "mdm_web.h"

#define BODY_MAX MDM_WBXML_MAX_TREE
#define WAIT_MAX_S 3540 /* the longest heartbeat of the protocol; for requests that don't say one, too */
#define FULL_RETRY_S 300

static const char *header(const eas_call_t *c, const char *name)
{
    return apr_table_get(c->r->headers_in, name);
}

static mdm_eas_mailbox_t box_of(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    const char *language = mdm_eas_language(c->query->locale, header(c, "Accept-Language"), eas_gate_language());
    const char *word = verdict == MDM_EAS_PENDING ? "pending" : verdict == MDM_EAS_DENIED ? c->denied : "";
    const mdm_eas_note_ask_t ask = {word, language, c->who.login, c->who.mail, eas_link_base(c)};

    return (mdm_eas_mailbox_t){mdm_eas_note(c->ctx, &ask), mdm_eas_inbox(language), c->query->version, mdm_now_ms(c->ctx)};
}

/* ---------------------------------------------------------------- waiting */

/* A request that waits here, with no back end behind it. */
typedef struct wait_t {
    eas_call_t *c;
    apr_time_t until;
} wait_t;

static int wait_on(wait_t *w);

/* Ping: look at the list of folders again, or nothing is new. Sync: the same in its words. */
static int wait_over(eas_call_t *c, int look)
{
    apr_pool_t *p = c->r->pool;
    const char *why = mdm_eas_verdict_text(c->verdict);

    if (c->query->cmd == MDM_EAS_PING) {
        return eas_document(c, why, mdm_eas_ping_answer(p, look ? 7 : 1, 0));
    }
    return eas_document(c, why, look ? mdm_eas_left_answer(p, MDM_EAS_SYNC, NULL) : (mdm_blob_t){NULL, 0});
}

static int woken(request_rec *r, void *baton, mdm_woke_e why)
{
    wait_t *w = baton;
    int look = why == MDM_WOKE_CHANGED || why == MDM_WOKE_FILTERS, still;

    if (why == MDM_WOKE_FULL) {
        return eas_answer(w->c, HTTP_SERVICE_UNAVAILABLE, NULL, mdm_eas_verdict_text(w->c->verdict), FULL_RETRY_S);
    }
    still = look && eas_still(w->c, why);
    eas_forget_password(w->c);
    return still ? wait_on(w) : wait_over(w->c, look);
}

static int wait_on(wait_t *w)
{
    apr_interval_time_t left = w->until - apr_time_now();
    const mdm_hold_t h = {.fd = -1, .wait = left, .rec = w->c->verdict == MDM_EAS_DENIED ? NULL : &w->c->rec, .person_id = w->c->who.person_id,
                          .ping = w->c->query->cmd == MDM_EAS_PING, .woken = woken, .baton = w};

    return left > 0 ? w->c->svc->hold(w->c->r, &h) : wait_over(w->c, 0);
}

/* As long as the device likes: nothing will happen here until somebody decides otherwise. */
static int wait_here(eas_call_t *c, mdm_eas_verdict_e verdict, mdm_blob_t body)
{
    wait_t *w = apr_palloc(c->r->pool, sizeof(*w));
    mdm_eas_hold_t hold;

    mdm_eas_hold_init(&hold);
    mdm_eas_hold_push(&hold, body.data, body.len);
    c->verdict = verdict;
    c->heartbeat_s = hold.seconds;
    *w = (wait_t){c, apr_time_now() + apr_time_from_sec(hold.seconds > 0 && hold.seconds < WAIT_MAX_S ? hold.seconds : WAIT_MAX_S)};
    return wait_on(w);
}

/* ---------------------------------------------------------------- answers */

static int answer(eas_call_t *c, mdm_eas_verdict_e verdict, const mdm_wbnode_t *root, mdm_blob_t asked)
{
    const mdm_eas_mailbox_t all = box_of(c, verdict), *box = &all;
    const char *why = mdm_eas_verdict_text(verdict);
    apr_pool_t *p = c->r->pool;
    mdm_blob_t body;
    int fault, waits;

    switch (c->query->cmd) {
    case MDM_EAS_FOLDER_SYNC:
        return eas_document(c, why, mdm_eas_folders_answer(p, root, box));
    case MDM_EAS_GET_ITEM_ESTIMATE:
        return eas_document(c, why, mdm_eas_estimate_answer(p, root, box));
    case MDM_EAS_ITEM_OPERATIONS:
        return eas_document(c, why, mdm_eas_items_answer(p, root, box));
    case MDM_EAS_MOVE_ITEMS:
        return eas_document(c, why, mdm_eas_move_answer(p, root));
    case MDM_EAS_PING:
        fault = mdm_eas_ping_fault(root);
        return fault ? eas_document(c, why, mdm_eas_ping_answer(p, fault, 0)) : wait_here(c, verdict, asked);
    default:
        body = mdm_eas_sync_answer(p, root, box);
        waits = mdm_wbxml_get(root, MDM_WB_AS_Wait) || mdm_wbxml_get(root, MDM_WB_AS_HeartbeatInterval);
        return !body.len && waits ? wait_here(c, verdict, asked) : eas_document(c, why, body);
    }
}

int eas_mailbox(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    const char *why = mdm_eas_verdict_text(verdict);
    mdm_wbnode_t *root = NULL;
    mdm_blob_t body;
    apr_status_t rv;

    c->svc->count(MDM_N_MAIL_WITHHELD, 1);
    switch (c->query->cmd) {
    case MDM_EAS_FOLDER_SYNC: case MDM_EAS_SYNC: case MDM_EAS_PING: case MDM_EAS_GET_ITEM_ESTIMATE: case MDM_EAS_ITEM_OPERATIONS:
    case MDM_EAS_MOVE_ITEMS:
        break;
    default: /* nothing is sent, searched or made from here, and no body is read for it (R09) */
        return eas_status(c, MDM_EAS_ST_DENIED, why, 0);
    }
    rv = mdm_web_body(c->r, BODY_MAX, &body);
    c->bytes_in = body.len;
    c->served = 1;
    if (rv == APR_SUCCESS && body.len) {
        rv = mdm_wbxml_parse(c->ctx, body.data, body.len, &root);
    }
    if (rv != APR_SUCCESS) {
        return rv == MDM_ETOOBIG ? eas_answer(c, HTTP_REQUEST_ENTITY_TOO_LARGE, NULL, "too large", 0)
                                 : eas_answer(c, HTTP_BAD_REQUEST, NULL, "bad request", 0);
    }
    return answer(c, verdict, root, body);
}

int eas_mailbox_left(eas_call_t *c, int *rc)
{
    mdm_ctx_t *look;
    mdm_wbnode_t *root;
    mdm_blob_t body;
    apr_status_t rv;
    int ours;

    if (c->query->cmd != MDM_EAS_FOLDER_SYNC && c->query->cmd != MDM_EAS_SYNC && c->query->cmd != MDM_EAS_PING) {
        return 0;
    }
    rv = eas_body_peek(c->r, BODY_MAX, &body);
    if (rv == MDM_ETOOBIG) {
        return 0; /* what has our key is short */
    }
    if (rv != APR_SUCCESS) {
        *rc = eas_answer(c, ap_map_http_request_error(rv, HTTP_BAD_REQUEST), NULL, "bad request", 0);
        return 1;
    }
    look = mdm_ctx_sub(c->ctx); /* a Ping waits for long: the tree of it does not */
    ours = body.len && mdm_wbxml_parse(look, body.data, body.len, &root) == APR_SUCCESS && mdm_eas_key_is_ours(c->query->cmd, root);
    if (ours) {
        *rc = eas_document(c, "allow", mdm_eas_left_answer(c->r->pool, c->query->cmd, root));
    }
    apr_pool_destroy(look->pool);
    return ours;
}
