/* Settings of a device (PRV-04): what it says of itself is kept, and passed on if it may have mail; else it is answered here. */
#include <string.h>

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <http_protocol.h>

#include "eas.h"
#include "mdm_web.h"

#define PLACES 8192u
#define WINDOW_MS (10 * 60000) /* of a device that says now this and now that so many changes are kept in this time */
#define CHANGES 5

/* What was heard last of a device, by hash: small and lossy, so that nothing is asked or written twice. Of each child. */
typedef struct heard_t {
    unsigned char record[16];
    apr_uint64_t sum;
    apr_int64_t since; /* of the window */
    int changes;
} heard_t;

static struct {
    apr_thread_mutex_t *lock;
    heard_t *places; /* first half: agent and version; second: information */
} heard;

apr_status_t eas_settings_child(apr_pool_t *p)
{
    heard.places = apr_pcalloc(p, 2 * PLACES * sizeof(*heard.places));
    return apr_thread_mutex_create(&heard.lock, APR_THREAD_MUTEX_DEFAULT, p);
}

/* True if this is to be looked at: it is new here, and not too much was of late. */
static int is_news(eas_call_t *c, int half, const char *text)
{
    unsigned char hash[32];
    apr_uint64_t sum;
    apr_uint32_t n;
    heard_t *h;
    apr_int64_t now = mdm_now_ms(c->ctx);
    int same, news;

    mdm_sha256(text, strlen(text), hash);
    memcpy(&sum, hash, sizeof(sum));
    memcpy(&n, c->rec.record, sizeof(n));
    h = &heard.places[(unsigned)half * PLACES + n % PLACES];
    apr_thread_mutex_lock(heard.lock);
    same = memcmp(h->record, c->rec.record, sizeof(h->record)) == 0;
    if (!same || now - h->since >= WINDOW_MS) {
        h->since = now;
        h->changes = 0;
    }
    news = !same || (h->sum != sum && h->changes < CHANGES);
    if (news) {
        memcpy(h->record, c->rec.record, sizeof(h->record));
        h->sum = sum;
        h->changes++;
    }
    apr_thread_mutex_unlock(heard.lock);
    return news;
}

static int has_record(const eas_call_t *c)
{
    static const unsigned char none[16];

    return memcmp(c->rec.record, none, sizeof(none)) != 0;
}

static void said(eas_call_t *c, const char *agent, const mdm_eas_info_t *info)
{
    apr_status_t rv = mdm_eas_said(c->ctx, mdm_uuid_text(c->r->pool, c->rec.record), agent, agent ? c->query->version : 0, info);

    if (rv != APR_SUCCESS) {
        mdm_log(c->ctx, rv == MDM_EUNAVAIL ? MDM_LOG_INFO : MDM_LOG_ERR, "MDM0860", rv, "what a mail client says of itself can't be kept");
    }
}

void eas_note_agent(eas_call_t *c)
{
    const char *agent = apr_table_get(c->r->headers_in, "User-Agent");

    agent = agent ? mdm_clean(c->r->pool, agent, 200) : "";
    if (has_record(c) && !c->svc->db_away() && is_news(c, 0, apr_psprintf(c->r->pool, "%d %s", c->query->version, agent))) {
        said(c, agent, NULL);
    }
}

void eas_note_info(eas_call_t *c, const mdm_eas_info_t *info)
{
    const char *all = apr_pstrcat(c->r->pool, info->model ? info->model : "", "|", info->imei ? info->imei : "", "|",
                                  info->friendly_name ? info->friendly_name : "", "|", info->os ? info->os : "", "|",
                                  info->os_language ? info->os_language : "", "|", info->phone_number ? info->phone_number : "", "|",
                                  info->operator_name ? info->operator_name : "", "|", info->user_agent ? info->user_agent : "", NULL);

    if (has_record(c) && !c->svc->db_away() && is_news(c, 1, all)) {
        said(c, NULL, info);
    }
}

int eas_settings(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    const mdm_eas_info_t *info;
    mdm_wbnode_t *root = NULL;
    mdm_blob_t body;
    int ours = verdict != MDM_EAS_ALLOW;
    apr_status_t rv = eas_body_peek(c->r, MDM_WBXML_MAX_TREE, &body);

    if (rv == APR_SUCCESS && body.len) {
        rv = mdm_wbxml_parse(c->ctx, body.data, body.len, &root);
    } else if (rv != APR_SUCCESS && rv != MDM_ETOOBIG) {
        return eas_answer(c, ap_map_http_request_error(rv, HTTP_BAD_REQUEST), NULL, "bad request", 0);
    }
    info = mdm_eas_info_read(c->r->pool, root);
    if (info) {
        eas_note_info(c, info);
    }
    if (!ours) {
        return eas_pass(c, verdict); /* also what could not be read: the server may understand it */
    }
    c->bytes_in = body.len;
    c->svc->count(MDM_N_MAIL_WITHHELD, 1);
    if (rv != APR_SUCCESS) {
        return eas_answer(c, rv == MDM_ETOOBIG ? HTTP_REQUEST_ENTITY_TOO_LARGE : HTTP_BAD_REQUEST, NULL, "bad request", 0);
    }
    return eas_document(c, mdm_eas_verdict_text(verdict), mdm_eas_settings_answer(c->r->pool, root));
}
