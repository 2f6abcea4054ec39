/* Who may talk mail (GATE-01, -04, -05): request line, log-in, device, decision. Nothing here reads a body (R09). */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>

#include "domain/mdm_eas_gate.h"
#include "eas.h"
#include "mdm_web.h"

#define WBXML_TYPE "application/vnd.ms-sync.wbxml"
#define RETRY_S 60
#define RETRY_PENDING_S 120
#define RETRY_DENIED_S 900

typedef int (*action_t)(eas_call_t *c, mdm_eas_verdict_e verdict);

static int no_policy(eas_call_t *c, mdm_eas_verdict_e verdict);

/* What a verdict makes of a command (facts 4), and when a device that gets no mail is to come again. */
static const struct {
    mdm_eas_verdict_e verdict;
    int keyed; /* its requests carry a policy key */
    action_t provision, settings, others;
    int retry_s;
} verdicts[] = {
    {MDM_EAS_ALLOW, 1, eas_provision, eas_settings, eas_pass, 0},
    {MDM_EAS_PENDING, 1, eas_provision, eas_settings, eas_mailbox, RETRY_PENDING_S},
    {MDM_EAS_SERVER_ONLY, 1, eas_provision, eas_settings, eas_mailbox, RETRY_DENIED_S},
    {MDM_EAS_BLOCKED, 0, eas_refuse, eas_refuse, eas_refuse, 0},
    {MDM_EAS_WIPE, 0, eas_provision, eas_wiping, eas_wiping, 0},
    {MDM_EAS_DENIED, 0, no_policy, eas_settings, eas_mailbox, RETRY_DENIED_S},
};
#define VERDICTS (sizeof(verdicts) / sizeof(verdicts[0]))

/* The zone's mode, in memory of the child. */
static struct {
    int detect, german;
} mode;

apr_status_t eas_gate_read(mdm_ctx_t *ctx)
{
    mdm_eas_gate_t gate;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_eas_gate(db, &gate);
        mdm_db_close(db);
    }
    if (rv == APR_SUCCESS) {
        __atomic_store_n(&mode.german, strcmp(gate.language, "de") == 0, __ATOMIC_RELAXED);
        __atomic_store_n(&mode.detect, gate.detect, __ATOMIC_RELAXED);
    }
    return rv;
}

const char *eas_gate_language(void)
{
    return __atomic_load_n(&mode.german, __ATOMIC_RELAXED) ? "de" : "en";
}

static int detecting(void)
{
    return __atomic_load_n(&mode.detect, __ATOMIC_RELAXED);
}

/* ---------------------------------------------------------------- answers */

static void retry_after(request_rec *r, int seconds)
{
    if (seconds > 0) {
        apr_table_setn(r->headers_out, "Retry-After", apr_itoa(r->pool, seconds));
    }
}

int eas_answer(eas_call_t *c, int http, const char *line, const char *why, int retry_s)
{
    int rc;

    apr_table_setn(c->r->notes, "mdm-decision", why);
    retry_after(c->r, retry_s);
    rc = mdm_web_empty(c->r, http);
    if (line) { /* httpd sends 500 for codes that it has no words for */
        c->r->status_line = line;
    }
    return rc;
}

int eas_unavailable(eas_call_t *c, const char *id, apr_status_t rv, const char *why)
{
    int known = rv == MDM_EUNAVAIL || rv == MDM_ETHROTTLED; /* what is away was logged when it went */

    const char *text = c->ctx->fail_text ? c->ctx->fail_text : "";

    c->svc->count(MDM_N_MAIL_UNAVAILABLE, 1);
    mdm_log(c->ctx, known ? MDM_LOG_INFO : MDM_LOG_ERR, id, rv, "%s%s%s", why, *text ? ": " : "", text);
    return eas_answer(c, HTTP_SERVICE_UNAVAILABLE, NULL, "unavailable", c->ctx->retry_after > 0 ? c->ctx->retry_after : RETRY_S);
}

static int unauthorized(eas_call_t *c)
{
    mdm_log(c->ctx, MDM_LOG_INFO, "MDM0801", 0, "mail log-in refused: %s: %s", c->ctx->fail_field ? c->ctx->fail_field : "",
            c->ctx->fail_text ? c->ctx->fail_text : "");
    apr_table_setn(c->r->headers_out, "WWW-Authenticate", "Basic realm=\"ActiveSync\", charset=\"UTF-8\"");
    return eas_answer(c, HTTP_UNAUTHORIZED, NULL, "log-in refused", c->ctx->retry_after);
}

/* A request that can't be understood, or says two things at once: the same for both query forms (R45). */
static int malformed(eas_call_t *c)
{
    const char *field = c->ctx->fail_field ? c->ctx->fail_field : "";

    mdm_log(c->ctx, MDM_LOG_INFO, "MDM0802", 0, "mail request refused: %s: %s", field, c->ctx->fail_text ? c->ctx->fail_text : "");
    return eas_answer(c, strcmp(field, "Cmd") ? HTTP_BAD_REQUEST : HTTP_NOT_IMPLEMENTED, NULL, "bad request", 0);
}

int eas_document(eas_call_t *c, const char *why, mdm_blob_t body)
{
    apr_table_setn(c->r->notes, "mdm-decision", why);
    return body.len ? mdm_web_bytes(c->r, HTTP_OK, WBXML_TYPE, body.data, body.len) : mdm_web_empty(c->r, HTTP_OK);
}

int eas_status(eas_call_t *c, int status, const char *why, int retry_s)
{
    mdm_eas_answer_t a;

    mdm_eas_status_answer(c->r->pool, c->query, status, &a);
    if (!a.body.len) {
        return eas_answer(c, a.http, a.line, why, retry_s);
    }
    retry_after(c->r, retry_s);
    return eas_document(c, why, a.body);
}

/* No mail for this device: status 129 from 14.0 on, 403 before (15-decisions). */
static int no_mail(eas_call_t *c, const char *why, int retry_s)
{
    c->svc->count(MDM_N_MAIL_WITHHELD, 1);
    return eas_status(c, MDM_EAS_ST_DEVICE_BLOCKED, why, retry_s);
}

int eas_refuse(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    unsigned i;

    for (i = 0; i < VERDICTS && verdicts[i].verdict != verdict; i++)
        ;
    return no_mail(c, mdm_eas_verdict_text(verdict), i < VERDICTS ? verdicts[i].retry_s : 0);
}

/* ---------------------------------------------------------------- what the request says */

/* The path as it came, before httpd decoded and shortened it: only the one address is ours (R44). */
static int path_is_plain(request_rec *r)
{
    const char *at = r->unparsed_uri;
    const char *scheme = at && *at != '/' ? ap_strstr_c(at, "://") : NULL;

    if (scheme) { /* absolute form */
        at = ap_strchr_c(scheme + 3, '/');
    }
    return at && mdm_eas_path_ok(apr_pstrmemdup(r->pool, at, strcspn(at, "?")));
}

static apr_status_t read_query(eas_call_t *c)
{
    apr_table_t *h = c->r->headers_in;
    const char *coding = apr_table_get(h, "Transfer-Encoding");
    const mdm_eas_input_t in = {
        .options = c->r->method_number == M_OPTIONS,
        .query = c->r->args,
        .version = apr_table_get(h, "MS-ASProtocolVersion"),
        .policy_key = apr_table_get(h, "X-MS-PolicyKey"),
        .multipart = apr_table_get(h, "MS-ASAcceptMultiPart"),
    };

    if (!path_is_plain(c->r)) {
        return mdm_fail(c->ctx, MDM_EINPUT, "path", "is not the address of ActiveSync as it is written");
    }
    if (coding && strcasecmp(coding, "chunked")) { /* no two opinions on where the body ends */
        return mdm_fail(c->ctx, MDM_EINPUT, "Transfer-Encoding", "must be chunked or absent");
    }
    return mdm_eas_query_parse(c->ctx, &in, &c->query);
}

/* Name without DOMAIN\ and @domain; *sep: which of the two it had, or 0; *domain, *dlen: the part that was cut off. */
static const char *bare(apr_pool_t *p, const char *user, char *sep, const char **domain)
{
    const char *slash = strpbrk(user, "\\/"), *at = strrchr(user, '@');

    *sep = 0;
    *domain = "";
    if (slash) {
        *sep = '\\';
        *domain = apr_pstrmemdup(p, user, (apr_size_t)(slash - user));
        return slash + 1;
    }
    if (at && at > user) {
        *sep = '@';
        *domain = at + 1;
        return apr_pstrmemdup(p, user, (apr_size_t)(at - user));
    }
    return user;
}

/* User= says nothing about who it is, but it must not contradict the log-in: the same name, in whatever form. */
static int user_fits(eas_call_t *c)
{
    const char *user = c->query->user, *name, *typed, *domain, *typed_domain;
    char sep, typed_sep;

    if (!user || !strcasecmp(user, c->basic.login) || !strcasecmp(user, c->who.login) ||
        (*c->who.mail && !strcasecmp(user, c->who.mail))) {
        return 1;
    }
    name = bare(c->r->pool, user, &sep, &domain);
    typed = bare(c->r->pool, c->basic.login, &typed_sep, &typed_domain);
    return !strcasecmp(name, typed) && (sep != typed_sep || !strcasecmp(domain, typed_domain));
}

/* ---------------------------------------------------------------- who, and with what */

static apr_status_t log_in(eas_call_t *c)
{
    apr_status_t rv = mdm_basic_parse(c->ctx, apr_table_get(c->r->headers_in, "Authorization"), &c->basic);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = c->svc->mail_login(c->ctx, c->basic.login, c->basic.password, &c->who);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    c->ctx->actor.kind = "person";
    c->ctx->actor.id = c->who.person_id;
    c->ctx->actor.name = c->who.login;
    c->r->user = apr_pstrdup(c->r->pool, c->who.login);
    c->r->ap_auth_type = apr_pstrdup(c->r->pool, "Basic");
    apr_table_setn(c->r->notes, "mdm-user", c->r->user);
    return user_fits(c) ? APR_SUCCESS : mdm_fail(c->ctx, MDM_EINPUT, "User", "is another name than that of the log-in");
}

/* The record of (person, DeviceId) (R17) and what it means; MDM_EAS_UNKNOWN if there is none. */
static apr_status_t look_up(eas_call_t *c, mdm_eas_verdict_e *verdict)
{
    apr_status_t rv = c->svc->device_by_eas(c->ctx, c->who.person_id, c->query->device_id, &c->rec);

    *verdict = mdm_eas_decide(rv == APR_SUCCESS ? &c->rec : NULL);
    c->held = mdm_eas_enforce(*verdict, c->rec.flags, 0);
    *verdict = eas_servers_verdict(c, mdm_eas_enforce(*verdict, c->rec.flags, detecting()));
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static apr_status_t first_contact(eas_call_t *c)
{
    const char *agent = apr_table_get(c->r->headers_in, "User-Agent");
    const mdm_eas_query_t *q = c->query;
    const mdm_eas_client_t client = {c->who.person_id, q->device_id, q->device_type, agent ? mdm_clean(c->r->pool, agent, 200) : "",
                                     q->version};

    return mdm_eas_first_contact(c->ctx, &client);
}

static void note_device(eas_call_t *c)
{
    static const unsigned char none[16];
    const mdm_devrec_t *rec = &c->rec;

    if (memcmp(rec->device, none, sizeof(none))) {
        apr_table_setn(c->r->notes, "mdm-device", mdm_uuid_text(c->r->pool, rec->device));
    }
    c->svc->device_contact(c->ctx, rec, c->r->useragent_ip, c->r->connection->client_ip);
}

/* LimitRequestBody by the announced length; chunked bodies are counted on their way (eas_relay.c). */
static int body_fits(request_rec *r)
{
    const char *text = apr_table_get(r->headers_in, "Content-Length");
    apr_off_t length, limit = ap_get_limit_req_body(r);

    return !text || limit <= 0 || (ap_parse_strict_length(&length, text) && length <= limit);
}

int eas_pass(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    int rc;

    if (!body_fits(c->r)) {
        return eas_answer(c, HTTP_REQUEST_ENTITY_TOO_LARGE, NULL, "too large", 0);
    }
    apr_table_setn(c->r->notes, "mdm-decision", mdm_eas_verdict_text(verdict));
    c->svc->count(MDM_N_MAIL_ALLOWED, 1);
    c->verdict = verdict;
    c->served = 1;
    return eas_mailbox_left(c, &rc) ? rc : eas_relay(c);
}

/* There is no record that could have a policy. */
static int no_policy(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    return eas_document(c, mdm_eas_verdict_text(verdict), mdm_eas_provision_refuse(c->r->pool, 2));
}

static int obey(eas_call_t *c, mdm_eas_verdict_e verdict)
{
    unsigned i;
    int rc;

    for (i = 0; i < VERDICTS && verdicts[i].verdict != verdict; i++)
        ;
    if (i == VERDICTS) {
        return eas_unavailable(c, "MDM0804", MDM_EUNAVAIL, "the device of a mail client is not known yet");
    }
    if (verdicts[i].keyed && (rc = eas_key_check(c, detecting())) != DECLINED) {
        return rc;
    }
    switch (c->query->cmd) {
    case MDM_EAS_PROVISION:
        return verdicts[i].provision(c, verdict);
    case MDM_EAS_SETTINGS:
        return verdicts[i].settings(c, verdict);
    default:
        return verdicts[i].others(c, verdict);
    }
}

/* What only detect mode lets through (GATE-03). */
static void note_detected(eas_call_t *c)
{
    const char *held = mdm_eas_verdict_text(c->held);

    c->svc->count(MDM_N_MAIL_DETECTED, 1);
    mdm_log(c->ctx, MDM_LOG_INFO, "MDM0861", 0, "detect mode: %s of device %s of %s would have been held (%s)",
            mdm_eas_cmd_name(c->query->cmd), mdm_mask(c->r->pool, c->query->device_id), mdm_mask(c->r->pool, c->who.login), held);
    apr_table_setn(c->r->notes, "mdm-detected", held);
}

/* The person may not have this device. Remembered, so that a device that asks again and again costs nothing. */
static int deny(eas_call_t *c, const char *word)
{
    c->denied = word;
    if (detecting()) {
        c->held = MDM_EAS_DENIED;
        note_detected(c);
        return eas_pass(c, MDM_EAS_ALLOW);
    }
    return *word ? obey(c, MDM_EAS_DENIED) : eas_refuse(c, MDM_EAS_DENIED);
}

static int deny_anew(eas_call_t *c)
{
    const char *word = c->ctx->fail_field ? c->ctx->fail_field : "";

    mdm_log(c->ctx, MDM_LOG_INFO, "MDM0803", 0, "no mail for device %s of %s: %s", mdm_mask(c->r->pool, c->query->device_id),
            mdm_mask(c->r->pool, c->who.login), c->ctx->fail_text ? c->ctx->fail_text : "not allowed");
    eas_denied_note(c, word);
    return deny(c, word);
}

/* The first request of a device makes its record. */
static int decide(eas_call_t *c)
{
    const char *word = eas_denied_known(c);
    mdm_eas_verdict_e verdict;
    apr_status_t rv;

    if (word) {
        return deny(c, word);
    }
    rv = look_up(c, &verdict);
    if (rv == APR_SUCCESS && verdict == MDM_EAS_UNKNOWN) {
        rv = first_contact(c);
        if (rv == MDM_EDENIED) {
            return deny_anew(c);
        }
        if (rv == APR_SUCCESS) {
            rv = look_up(c, &verdict);
        }
    }
    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0806", rv, "the device of a mail client can't be looked up");
    }
    if (verdict != MDM_EAS_UNKNOWN) {
        note_device(c);
        eas_note_agent(c);
    }
    if (verdict == MDM_EAS_ALLOW && c->held != verdict) {
        note_detected(c);
    }
    return obey(c, verdict);
}

static int gate(eas_call_t *c)
{
    apr_status_t rv = read_query(c);

    if (rv == APR_SUCCESS) {
        apr_table_setn(c->r->notes, "mdm-action", mdm_eas_cmd_name(c->query->cmd));
        rv = log_in(c);
    }
    if (rv == MDM_EAUTH) {
        return unauthorized(c);
    }
    if (rv == MDM_EINPUT) {
        return malformed(c);
    }
    if (rv != APR_SUCCESS) {
        return eas_unavailable(c, "MDM0805", rv, "a mail client's log-in can't be checked");
    }
    /* What is spoken is no secret of the device's: it is told to all who can log in. */
    if (c->query->cmd == MDM_EAS_OPTIONS) {
        return eas_servers_verdict(c, MDM_EAS_ALLOW) == MDM_EAS_ALLOW ? eas_relay(c) : eas_own_options(c);
    }
    return decide(c);
}

/* A new effective policy counts as well: the phone has to come to hear of it. */
int eas_still(eas_call_t *c, mdm_woke_e why)
{
    const apr_uint32_t asked = MDM_DEVF_POLICY | MDM_DEVF_KEY_OLD, before = c->rec.flags & asked, key = c->rec.policy_key;
    mdm_eas_verdict_e verdict;
    apr_status_t rv;

    if (why == MDM_WOKE_FILTERS) {
        APR_OPTIONAL_FN_TYPE(mdm_access_still) *still = APR_RETRIEVE_OPTIONAL_FN(mdm_access_still);

        return !still || still(c->r);
    }
    rv = log_in(c);
    if (rv == APR_SUCCESS) {
        rv = look_up(c, &verdict);
    }
    if (rv == MDM_EUNAVAIL || rv == MDM_ETHROTTLED) { /* nothing is known that speaks against it */
        return 1;
    }
    return rv == APR_SUCCESS && verdict == c->verdict && (c->rec.flags & asked) == before && c->rec.policy_key == key;
}

void eas_recall_password(eas_call_t *c)
{
    mdm_basic_parse(c->ctx, apr_table_get(c->r->headers_in, "Authorization"), &c->basic); /* which was parsed before */
}

void eas_forget_password(eas_call_t *c)
{
    if (c->basic.password) {
        mdm_wipe((char *)c->basic.password, strlen(c->basic.password));
        c->basic.password = NULL;
    }
}

int eas_handler(request_rec *r, const mdm_services_t *svc)
{
    eas_call_t *c = eas_call_of(r);
    int rc;

    c->svc = svc;
    c->ctx = svc->request_ctx(r);
    apr_table_unset(r->headers_in, "Range"); /* answers of the protocol are whole: httpd would cut those that it has at once */
    apr_table_unset(r->headers_in, "Request-Range");
    if (r->method_number != M_POST && r->method_number != M_OPTIONS) {
        apr_table_setn(r->headers_out, "Allow", "OPTIONS,POST");
        return eas_answer(c, HTTP_NOT_IMPLEMENTED, NULL, "bad request", 0);
    }
    rc = gate(c);
    if (rc != SUSPENDED) { /* else it may be gone already */
        eas_forget_password(c);
    }
    return rc;
}
