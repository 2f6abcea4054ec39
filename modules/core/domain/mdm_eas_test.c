/* Test authentication (EAS-02): what a phone would do first at an ActiveSync server, step by step. */
#include "domain/mdm_eas_server.h"

#include <string.h>
#include <strings.h>
#include <apr_strings.h>
#include "domain/mdm_people.h"
#include "mdm_sql_gen.h"
#include "wire/mdm_eas_doc.h"
#include "wire/mdm_http.h"

#define PATH "/Microsoft-Server-ActiveSync"
#define CONNECT_MS 5000
#define REQUEST_MS 10000
#define ANSWER_MAX 65536
#define OLDEST 121
/* One partnership at the mail server, whoever tests how often. */
#define DEVICE_ID "MODMDMTEST000001"
#define DEVICE_TYPE "modmdm"

apr_status_t mdm_eas_test_read(mdm_ctx_t *ctx, const char *id, mdm_eas_test_t *t)
{
    mdm_q_eas_server_get_t *q;
    mdm_person_t *person;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_eas_server_get(db, id, &q);
    mdm_db_close(db);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    t->server = (mdm_eas_server_t){q->id, q->name, q->host, q->domain, q->user_form, q->pin, (int)q->port, (int)q->tls, q->enabled != 0};
    rv = mdm_people_known(ctx, t->user, &person);
    if (rv == APR_SUCCESS) {
        t->known = 1;
        t->login = person->login;
        t->mail = person->mail;
    }
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

/* ---------------------------------------------------------------- who */

/* The name that the server gets; NULL: none can be made, and ctx->fail_text says why. Who is unknown here is tried as typed. */
static const char *name_for(mdm_ctx_t *ctx, const mdm_eas_test_t *t)
{
    mdm_eas_login_t who = {t->user, t->login, t->mail};
    const char *user = NULL, *domain;
    apr_status_t rv = APR_SUCCESS;

    if (!t->known) {
        who.mail = strchr(t->user, '\\') ? NULL : strchr(t->user, '@') ? t->user : NULL;
        rv = mdm_login_split(ctx, t->user, NULL, &who.login, &domain);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_eas_server_user(ctx, &t->server, &who, &user);
    }
    return rv == APR_SUCCESS ? user : NULL;
}

/* ---------------------------------------------------------------- one request */

typedef struct talk_t {
    mdm_probe_t *p;
    const mdm_eas_test_t *t;
    mdm_http_t *http;
    const char *user, *why, *base; /* user NULL: why none could be made */
    const char *version; /* the newest that both sides know */
    mdm_http_req_t req;
} talk_t;

static apr_table_t *headers(const talk_t *x)
{
    apr_pool_t *pool = x->p->ctx->pool;
    apr_table_t *h = apr_table_make(pool, 6);
    char *both;

    if (!x->user) {
        return h;
    }
    both = apr_pstrcat(pool, x->user, ":", x->t->password, NULL);
    apr_table_setn(h, "Authorization", apr_pstrcat(pool, "Basic ", mdm_b64(pool, both, strlen(both)), NULL));
    mdm_wipe(both, strlen(both));
    return h;
}

static void run(talk_t *x)
{
    mdm_http_req_t *one = &x->req;

    x->req.connect_ms = CONNECT_MS;
    x->req.timeout_ms = REQUEST_MS;
    x->req.max_response = ANSWER_MAX;
    if (mdm_http_run(x->p->ctx, x->http, &one, 1, NULL) != APR_SUCCESS && x->req.rv == APR_SUCCESS) {
        x->req.rv = MDM_EUNAVAIL;
    }
}

static const char *header(const talk_t *x, const char *name)
{
    const char *value = x->req.response_headers ? apr_table_get(x->req.response_headers, name) : NULL;

    return value ? mdm_clean(x->p->ctx->pool, value, 300) : NULL;
}

static const struct {
    int status;
    const char *text;
} answers[] = {
    {301, "the address leads elsewhere"},
    {302, "the address leads elsewhere"},
    {400, "400: the server does not understand the request: is this its ActiveSync address?"},
    {401, "401: user name or password is wrong for this server, or it wants another form of the name"},
    {403, "403: the server does not let this account use ActiveSync, or not from here"},
    {404, "404: there is no ActiveSync at this address"},
    {449, "449: the server wants its own policy acknowledged first, as phones do: the account works"},
    {451, "451: the mailbox is on another server"},
    {456, "456: the account is locked"},
    {457, "457: the password has expired"},
    {501, "501: there is no ActiveSync at this address"},
    {503, "503: the server is busy or away: try again later"},
    {507, "507: the mailbox is full"},
};

/* Why an answer with this HTTP status is none. */
static const char *refusal(const talk_t *x)
{
    const char *where = header(x, x->req.status == 451 ? "x-ms-location" : "location"), *text = NULL;
    unsigned i;

    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        if (answers[i].status == x->req.status) {
            text = answers[i].text;
        }
    }
    if (!text) {
        return apr_psprintf(x->p->ctx->pool, "the server answered %d", x->req.status);
    }
    return where ? apr_pstrcat(x->p->ctx->pool, text, ": ", where, NULL) : text;
}

static const char *trouble(const talk_t *x)
{
    if (x->req.rv == MDM_EDENIED) {
        return MDM_ADDR_REFUSED;
    }
    return x->req.detail ? x->req.detail : x->req.error ? x->req.error : "no answer";
}

/* ---------------------------------------------------------------- TLS, OPTIONS, versions */

/* Is told from the first request; its credentials were sent only if the certificate is accepted. */
static int tls_step(talk_t *x)
{
    const char *pin = x->t->server.pin, *text;
    apr_time_t sent = x->p->began;
    int ok = x->req.tls_ms >= 0 && (x->req.rv == APR_SUCCESS || !x->req.error || strcmp(x->req.error, "tls") != 0);

    if (!x->t->server.tls) {
        x->p->began = apr_time_now();
        mdm_probe_step(x->p, "tls", 1, "not used: passwords travel in clear");
        x->p->began = sent;
        return 1;
    }
    if (!ok && *pin && x->req.peer.data) {
        text = "the server shows another certificate than the accepted one: compare it and accept it";
    } else {
        text = !ok ? trouble(x) : *pin ? "the accepted certificate" : "a certificate of a trusted authority";
    }
    if (ok) {
        x->p->began = apr_time_now() - apr_time_from_msec(x->req.tls_ms);
    }
    mdm_probe_tls(x->p, x->req.peer, ok, text);
    x->p->began = sent + (ok ? apr_time_from_msec(x->req.tls_ms) : 0); /* the rest of the time was the answer's */
    return ok;
}

static int name_step(talk_t *x)
{
    mdm_probe_t *p = x->p;
    const mdm_eas_test_t *t = x->t;
    const char *text = !x->user   ? x->why
                       : t->known ? x->user
                       : strchr(t->user, '@') && !strchr(t->user, '\\')
                           ? "no person of a user source has this address, so phones can't log in with it: enter it in the user source"
                           : "no user source knows this log-in: phones are checked there, not by the mail server";
    apr_time_t sent = p->began;

    p->began = apr_time_now();
    mdm_probe_step(p, "user", x->user && t->known, text);
    p->began = sent; /* the answer's time goes on */
    return x->user != NULL;
}

/* "12.1,14.0": *best is the newest that the gate speaks, NULL if there is none. */
static void pick_version(const char *list, const char **best)
{
    char item[8];
    int top = 0;

    *best = NULL;
    while (*list) {
        apr_size_t len = strcspn(list, ", ");

        if (len && len < sizeof(item)) {
            int n;

            apr_cpystrn(item, list, len + 1);
            n = mdm_eas_version_number(item);
            if (n >= OLDEST && n > top) {
                top = n;
                *best = mdm_eas_version_text(n);
            }
        }
        list += len;
        list += strspn(list, ", ");
    }
}

static int options_step(talk_t *x, const char **versions)
{
    mdm_probe_t *p = x->p;
    int ok = 0;
    const char *text;

    *versions = header(x, "ms-asprotocolversions");
    if (x->req.rv != APR_SUCCESS) {
        text = trouble(x);
    } else if (x->req.status != 200) {
        text = refusal(x);
    } else if (!*versions || !**versions) {
        text = "a web page instead of ActiveSync answered: is the address right?";
    } else {
        ok = 1;
        text = header(x, "ms-server-activesync");
        text = text && *text ? apr_pstrcat(p->ctx->pool, "ActiveSync ", text, NULL) : "ActiveSync";
    }
    mdm_probe_step(p, "options", ok, text);
    return ok;
}

static int version_step(talk_t *x, const char *versions)
{
    pick_version(versions, &x->version);
    mdm_probe_step(x->p, "versions", x->version != NULL,
                   x->version ? versions : apr_psprintf(x->p->ctx->pool, "none from 12.1 to 16.1: %s", versions));
    return x->version != NULL;
}

static int first_request(talk_t *x)
{
    mdm_ctx_t *ctx = x->p->ctx;
    const char *versions;

    x->user = name_for(ctx, x->t);
    x->why = ctx->fail_text;
    x->req = (mdm_http_req_t){.method = "OPTIONS", .url = apr_pstrcat(ctx->pool, x->base, PATH, NULL), .headers = headers(x)};
    run(x);
    return tls_step(x) && name_step(x) && options_step(x, &versions) && version_step(x, versions);
}

/* ---------------------------------------------------------------- FolderSync */

static const struct {
    int status, ok;
    const char *text;
} folder_answers[] = {
    {MDM_EAS_ST_USER_DISABLED, 0, "the server does not let this account use ActiveSync"},
    {MDM_EAS_ST_DEVICE_BLOCKED, 0, "the server blocks or quarantines devices that it does not know"},
    {MDM_EAS_ST_DENIED, 0, "the server denies access"},
    {MDM_EAS_ST_NOT_PROVISIONED, 1, "the server wants its own policy acknowledged first, as phones do: the account works"},
    {MDM_EAS_ST_POLICY_REFRESH, 1, "the server wants its own policy acknowledged first, as phones do: the account works"},
    {MDM_EAS_ST_BAD_KEY, 1, "the server wants its own policy acknowledged first, as phones do: the account works"},
    {MDM_EAS_ST_TOO_MANY_DEVICES, 0, "the account has too many devices at the mail server"},
};

static void folder_status(talk_t *x)
{
    apr_pool_t *pool = x->p->ctx->pool;
    mdm_blob_t body = x->req.response;
    int status = mdm_eas_status_peek(MDM_EAS_FOLDER_SYNC, body.data, body.len);
    const char *type = header(x, "content-type"), *text = NULL;
    mdm_wbnode_t *root = NULL;
    int ok = 0;
    unsigned i;

    if (status < 0 || !type || strncasecmp(type, "application/vnd.ms-sync", 23) != 0) {
        text = "a web page instead of ActiveSync answered: is the address right?";
    } else if (status == MDM_EAS_ST_OK) {
        apr_int64_t n = -1;

        ok = 1;
        if (mdm_wbxml_parse(x->p->ctx, body.data, body.len, &root) == APR_SUCCESS) {
            n = mdm_wbxml_int(mdm_wbxml_get(root, MDM_WB_FH_Changes), MDM_WB_FH_Count, 0, 100000, -1);
        }
        text = n < 0 ? "the mailbox answers" : apr_psprintf(pool, "%d folders", (int)n);
    }
    for (i = 0; !text && i < sizeof(folder_answers) / sizeof(folder_answers[0]); i++) {
        if (folder_answers[i].status == status) {
            ok = folder_answers[i].ok;
            text = folder_answers[i].text;
        }
    }
    mdm_probe_step(x->p, "foldersync", ok, text ? text : apr_psprintf(pool, "the server answered with status %d", status));
}

static void folder_step(talk_t *x)
{
    mdm_ctx_t *ctx = x->p->ctx;
    mdm_eas_query_t q = {.form = MDM_EAS_FORM_PLAIN, .cmd = MDM_EAS_FOLDER_SYNC, .version = mdm_eas_version_number(x->version),
                         .device_id = DEVICE_ID, .device_id_sent = {(const unsigned char *)DEVICE_ID, sizeof(DEVICE_ID) - 1},
                         .device_type = DEVICE_TYPE, .user = x->user};
    mdm_eas_rebuild_t how = {MDM_EAS_FORM_PLAIN, x->user, 0, 0};
    apr_table_t *h = headers(x);
    mdm_eas_line_t line;
    mdm_wbout_t out;
    mdm_blob_t body;

    if (mdm_eas_query_build(ctx, &q, &how, &line) != APR_SUCCESS) {
        mdm_probe_step(x->p, "foldersync", 0, ctx->fail_text);
        return;
    }
    mdm_wbxml_begin(&out, ctx->pool);
    mdm_wbxml_open(&out, MDM_WB_FH_FolderSync);
    mdm_wbxml_put(&out, MDM_WB_FH_SyncKey, "0");
    body = mdm_wbxml_end(&out);
    apr_table_setn(h, "MS-ASProtocolVersion", x->version);
    apr_table_setn(h, "Content-Type", "application/vnd.ms-sync.wbxml");
    x->req = (mdm_http_req_t){.method = "POST", .url = apr_pstrcat(ctx->pool, x->base, PATH "?", line.query, NULL), .headers = h,
                              .body = body.data, .body_len = body.len};
    run(x);
    if (x->req.rv == APR_SUCCESS && x->req.status == 200) {
        folder_status(x);
    } else {
        mdm_probe_step(x->p, "foldersync", x->req.rv == APR_SUCCESS && x->req.status == 449,
                       x->req.rv == APR_SUCCESS ? refusal(x) : trouble(x));
    }
}

void mdm_eas_test(mdm_probe_t *p, const mdm_eas_test_t *t)
{
    const mdm_eas_server_t *s = &t->server;
    mdm_http_conf_t conf = {.ca_file = t->ca_file && *t->ca_file ? t->ca_file : NULL, .pin = s->pin, .max_connections = 1,
                            .deny_local = !(p->ctx->env && p->ctx->env->outbound_local)};
    int is_v6 = strchr(s->host, ':') != NULL;
    talk_t x = {.p = p, .t = t};

    x.base = apr_psprintf(p->ctx->pool, "%s://%s%s%s:%d", s->tls ? "https" : "http", is_v6 ? "[" : "", s->host, is_v6 ? "]" : "", s->port);
    if (!mdm_probe_reach(p, s->host, s->port, CONNECT_MS)) {
        return;
    }
    if (mdm_http_make(p->ctx, p->ctx->pool, &conf, &x.http) != APR_SUCCESS) {
        mdm_probe_step(p, "options", 0, p->ctx->fail_text);
        return;
    }
    if (first_request(&x)) {
        folder_step(&x);
    }
}
