/* The SMTP client: one easy handle, so that libcurl keeps the connection from message to message. */
#include "wire/mdm_smtp.h"

#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <apr_strings.h>
#include <curl/curl.h>
#include "base/mdm_seal.h"
#include "wire/mdm_curl_tls.h"
#include "wire/mdm_probe.h"

#define WORDS_MAX 400
#define STOP_WAIT apr_time_from_sec(3)
#define LINES_MAX 2000 /* of answers to one message: more is no mail server */
/* Kerberos and NTLM would speak for this host, not for the user that was set. */
#define LOGIN_FORMS "AUTH=PLAIN;AUTH=LOGIN;AUTH=CRAM-MD5"

struct mdm_smtp_t {
    apr_pool_t *pool;
    mdm_smtp_conf_t conf;
    CURL *easy;
    mdm_curl_tls_t tls;
    mdm_blob_t peer, *peer_out;
    mdm_smtp_told_fn told;
    void *baton;
    /* of the message under way */
    mdm_ctx_t *ctx;
    mdm_smtp_msg_t *m;
    volatile int *stop;
    apr_size_t read;
    apr_time_t stopped; /* when the end was asked for */
    int denied, lines;
    int asked; /* we have said something */
    int ends;  /* and that was QUIT */
    int foreign; /* what answers does not speak SMTP */
    char said[WORDS_MAX]; /* the server's last answer */
    char words[CURL_ERROR_SIZE];
};

const char *mdm_smtp_step_name(mdm_smtp_step_e step)
{
    static const char *const names[] = {"connect", "tls", "login", "sender", "recipient", "message"};

    return names[step];
}

/* ---------------------------------------------------------------- what passes */

static void move_to(mdm_smtp_t *s, mdm_smtp_step_e step)
{
    if (step > s->m->step) {
        if (s->told) {
            s->told(s->baton, s->m->step, s->said);
        }
        s->m->step = step;
    }
}

/* By what we say: a command that begins a step. Lines of a log-in are base64, which has neither blank nor colon. */
static void on_command(mdm_smtp_t *s, const char *data, size_t len)
{
    static const struct {
        const char *verb;
        mdm_smtp_step_e step;
    } verbs[] = {{"STARTTLS\r\n", MDM_SMTP_AT_TLS}, {"AUTH ", MDM_SMTP_AT_LOGIN}, {"MAIL FROM:", MDM_SMTP_AT_SENDER},
                 {"RCPT TO:", MDM_SMTP_AT_RECIPIENT}};

    for (unsigned i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (len >= strlen(verbs[i].verb) && memcmp(data, verbs[i].verb, strlen(verbs[i].verb)) == 0) {
            move_to(s, verbs[i].step);
        }
    }
    if (len == 6 && memcmp(data, "DATA\r\n", 6) == 0 && s->m->step == MDM_SMTP_AT_RECIPIENT) {
        move_to(s, MDM_SMTP_AT_MESSAGE);
    }
    s->asked = 1;
    s->ends = len == 6 && memcmp(data, "QUIT\r\n", 6) == 0;
}

static void on_answer(mdm_smtp_t *s, const char *data, size_t len)
{
    int code = 0;

    for (size_t i = 0; i < 3 && i < len; i++) {
        code = data[i] >= '0' && data[i] <= '9' ? code * 10 + data[i] - '0' : -1000;
    }
    s->lines++;
    if (code < 100 || code > 599 || (len > 3 && !strchr(" -\r\n", data[3]))) {
        s->foreign = 1;
    } else {
        s->m->code = code;
        apr_cpystrn(s->said, mdm_clean(s->ctx->pool, apr_pstrmemdup(s->ctx->pool, data, len > WORDS_MAX ? WORDS_MAX : len), WORDS_MAX - 1),
                    sizeof(s->said));
    }
}

static int on_debug(CURL *easy, curl_infotype type, char *data, size_t len, void *baton)
{
    mdm_smtp_t *s = baton;

    if (!s->m || s->ends) { /* what is said to QUIT is about nothing */
        return 0;
    }
    if (type == CURLINFO_HEADER_OUT) {
        on_command(s, data, len);
    } else if (type == CURLINFO_HEADER_IN && s->lines < LINES_MAX) {
        on_answer(s, data, len);
    }
    return 0;
}

static size_t on_nothing(char *data, size_t one, size_t len, void *baton)
{
    return len * one;
}

static size_t on_read(char *to, size_t one, size_t n, void *baton)
{
    mdm_smtp_t *s = baton;
    size_t left = s->m->body.len - s->read, len = left < one * n ? left : one * n;

    memcpy(to, s->m->body.data + s->read, len);
    s->read += len;
    return len;
}

/* A message that is being handed over gets a moment to end: who knows whether it has arrived. */
static int on_progress(void *baton, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    mdm_smtp_t *s = baton;

    if (s->foreign || !s->stop || !*s->stop) {
        return s->foreign || s->lines >= LINES_MAX;
    }
    s->stopped = s->stopped ? s->stopped : apr_time_now();
    return s->m->step < MDM_SMTP_AT_MESSAGE || apr_time_now() - s->stopped > STOP_WAIT;
}

/* Called with each resolved address, so a name that points to a forbidden one is caught as well. */
static curl_socket_t on_socket(void *baton, curlsocktype purpose, struct curl_sockaddr *a)
{
    mdm_smtp_t *s = baton;

    if (s->conf.deny_local && mdm_addr_local(&a->addr)) {
        s->denied = 1;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---------------------------------------------------------------- the handle */

static apr_status_t cleanup(void *data)
{
    mdm_smtp_close(data);
    return APR_SUCCESS;
}

void mdm_smtp_close(mdm_smtp_t *s)
{
    curl_socket_t fd = CURL_SOCKET_BAD;

    if (s->easy) {
        /* QUIT is said, its answer is not waited for: some servers never give it */
        if (curl_easy_getinfo(s->easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK && fd != CURL_SOCKET_BAD) {
            shutdown(fd, SHUT_RD);
        }
        curl_easy_cleanup(s->easy);
        s->easy = NULL;
    }
}

static void set_limits(mdm_smtp_t *s)
{
    const mdm_smtp_conf_t *c = &s->conf;
    CURL *e = s->easy;

    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(c->connect_ms > 0 ? c->connect_ms : 10000));
    curl_easy_setopt(e, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)((c->timeout_ms > 0 ? c->timeout_ms : 60000) + 999) / 1000);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(c->timeout_ms > 0 ? c->timeout_ms : 60000));
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, s->words);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, s);
    curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(e, CURLOPT_XFERINFODATA, s);
    curl_easy_setopt(e, CURLOPT_VERBOSE, 1L); /* the one way to hear all answers; nothing of it is written anywhere */
    curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, on_debug);
    curl_easy_setopt(e, CURLOPT_DEBUGDATA, s);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_nothing);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_nothing);
}

apr_status_t mdm_smtp_make(mdm_ctx_t *ctx, const mdm_smtp_conf_t *conf, mdm_blob_t *peer, mdm_smtp_t **out)
{
    mdm_smtp_t *s = apr_pcalloc(ctx->pool, sizeof(*s));
    int is_v6 = strchr(conf->host, ':') != NULL;
    const char *url = apr_psprintf(ctx->pool, "%s://%s%s%s:%d/", conf->tls == MDM_SMTP_TLS ? "smtps" : "smtp", is_v6 ? "[" : "", conf->host,
                                   is_v6 ? "]" : "", conf->port);

    *out = NULL;
    if (!mdm_is_host(conf->host) || conf->port < 1 || conf->port > 65535) {
        return mdm_fail(ctx, MDM_EINPUT, "host", "The mail server's address can't be used.");
    }
    if (*conf->user && conf->tls == MDM_SMTP_NONE) {
        return mdm_fail(ctx, MDM_EINPUT, "tls", "A password is only sent over TLS.");
    }
    s->pool = ctx->pool;
    s->conf = *conf;
    s->peer_out = peer;
    s->easy = curl_easy_init();
    if (!s->easy || curl_easy_setopt(s->easy, CURLOPT_URL, url) != CURLE_OK) {
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no memory for a mail client");
    }
    apr_pool_cleanup_register(ctx->pool, s, cleanup, apr_pool_cleanup_null);
    s->tls = (mdm_curl_tls_t){ctx->pool, conf->ca_file, NULL, conf->pin ? conf->pin : "", peer ? peer : &s->peer};
    mdm_curl_tls_set(s->easy, &s->tls);
    if (conf->tls == MDM_SMTP_STARTTLS) {
        curl_easy_setopt(s->easy, CURLOPT_USE_SSL, (long)CURLUSESSL_ALL);
    }
    if (*conf->user) {
        curl_easy_setopt(s->easy, CURLOPT_USERNAME, conf->user);
        curl_easy_setopt(s->easy, CURLOPT_PASSWORD, conf->password);
        curl_easy_setopt(s->easy, CURLOPT_LOGIN_OPTIONS, LOGIN_FORMS);
    }
    set_limits(s);
    *out = s;
    return APR_SUCCESS;
}

void mdm_smtp_tell(mdm_smtp_t *s, mdm_smtp_told_fn told, void *baton)
{
    s->told = told;
    s->baton = baton;
}

/* ---------------------------------------------------------------- one message */

/* Who is at fault: only an answer about this recipient or this message says something about the message. */
static mdm_smtp_result_e judge(const mdm_smtp_t *s, CURLcode code)
{
    const mdm_smtp_msg_t *m = s->m;

    if (code == CURLE_OK) {
        return MDM_SMTP_SENT;
    }
    if (m->step < MDM_SMTP_AT_RECIPIENT || m->code < 400 || m->code == 421 || code == CURLE_OPERATION_TIMEDOUT || code == CURLE_ABORTED_BY_CALLBACK) {
        return MDM_SMTP_AWAY;
    }
    return m->code >= 500 ? MDM_SMTP_REFUSED : MDM_SMTP_LATER;
}

static const char *words_of(mdm_smtp_t *s, CURLcode code)
{
    if (s->denied && code == CURLE_COULDNT_CONNECT) {
        return MDM_ADDR_REFUSED;
    }
    if (s->foreign) {
        return "what answers there is no mail server";
    }
    if (code == CURLE_OK || (s->m->code >= 400 && s->asked)) {
        return apr_pstrdup(s->ctx->pool, s->said);
    }
    if (code == CURLE_USE_SSL_FAILED && s->m->step <= MDM_SMTP_AT_TLS) {
        return "the server does not offer STARTTLS";
    }
    return mdm_clean(s->ctx->pool, s->words[0] ? s->words : curl_easy_strerror(code), WORDS_MAX);
}

void mdm_smtp_send(mdm_ctx_t *ctx, mdm_smtp_t *s, mdm_smtp_msg_t *m, volatile int *stop)
{
    struct curl_slist *to = curl_slist_append(NULL, apr_pstrcat(ctx->pool, "<", m->to, ">", NULL));
    CURLcode code;

    s->ctx = ctx;
    s->m = m;
    s->stop = stop;
    s->read = 0;
    s->stopped = 0;
    s->denied = s->lines = s->asked = s->ends = s->foreign = 0;
    s->said[0] = s->words[0] = '\0';
    m->step = s->conf.tls == MDM_SMTP_TLS ? MDM_SMTP_AT_TLS : MDM_SMTP_AT_CONNECT;
    m->code = 0;
    curl_easy_setopt(s->easy, CURLOPT_MAIL_FROM, apr_pstrcat(ctx->pool, "<", m->from, ">", NULL));
    curl_easy_setopt(s->easy, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(s->easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(s->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)m->body.len);
    curl_easy_setopt(s->easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(s->easy, CURLOPT_READDATA, s);
    code = to ? curl_easy_perform(s->easy) : CURLE_OUT_OF_MEMORY;
    curl_easy_setopt(s->easy, CURLOPT_MAIL_RCPT, NULL);
    curl_slist_free_all(to);
    m->result = judge(s, code);
    m->words = words_of(s, code);
    if (code == CURLE_OK && s->told) {
        s->told(s->baton, m->step, s->said);
    }
    s->ctx = NULL;
    s->m = NULL;
}
