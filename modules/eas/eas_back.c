/* Owns the connections to back ends. mod_proxy makes and keeps them (address, TLS by SSLProxy*, pool, life time); what goes over them is
 * written and read here, because mod_proxy's own handler keeps a thread while it waits. */
#include <dlfcn.h>
#include <string.h>

#include <openssl/ssl.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <ap_mpm.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <mod_proxy.h>
#include <util_filter.h>

#include "eas_back.h"
#include "mdm_web.h"

APLOG_USE_MODULE(mdm_eas);

#define SCHEME "EAS" /* in mod_proxy's log lines */
#define IO_LONGEST apr_time_from_sec(60)
#define CONNECT_LONGEST apr_time_from_sec(5)
#define IDLE_LONGEST apr_time_from_sec(55)
#define IDLE_KEPT 64
#define LINE_LONGEST 8190
#define LINES_MAX 100
#define INTERIM_MAX 10
#define TLS_LOOKS 8

/* What is used of mod_proxy. It may be loaded after this module, so nothing is linked. */
#define CALLS(X) \
    X(define_worker) X(initialize_worker) X(get_worker) X(acquire_connection) X(release_connection) X(determine_connection) \
    X(connect_backend) X(connection_create_ex) X(buckets_lifetime_transform)
#define CALL_FIELD(name) __typeof__(ap_proxy_##name) *name;
#define CALL_FIND(name) \
    proxy.name = (__typeof__(ap_proxy_##name) *)dlsym(RTLD_DEFAULT, "ap_proxy_" #name); \
    found &= proxy.name != NULL;
static struct {
    CALLS(CALL_FIELD)
} proxy;

struct eas_back_t {
    request_rec *r, *answer; /* the client's; the back end's as httpd's filters want to see it */
    proxy_conn_rec *conn;
    apr_bucket_brigade *out, *in;
    int used, whole, keep;
};

static struct {
    apr_thread_mutex_t *lock;
    apr_pool_t *pool;
    apr_hash_t *pools; /* address and pin -> proxy_worker */
    int most;
} own;

/* ---------------------------------------------------------------- accepted certificates */

/* mod_ssl's hook, as its header (not among Debian's) declares it. */
typedef int ssl_HOOK_pre_handshake_t(conn_rec *c, SSL *ssl, int is_proxy);

static int pin_index = -1;
static __thread const char *pin_wanted; /* of the connection that this thread is making; hex */
static __thread const char *pin_host;

/* Called for each certificate of the chain, and for each fault: the server's own decides (EAS-01). */
static int check_pin(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509 *cert = X509_STORE_CTX_get0_cert(store);
    const char *pin = SSL_get_ex_data(ssl, pin_index);
    unsigned char sum[EVP_MAX_MD_SIZE], want[32];
    unsigned len = 0, i;
    int good = pin && strlen(pin) == 64 && cert && X509_digest(cert, EVP_sha256(), sum, &len) && len == 32;

    for (i = 0; good && i < 32; i++) {
        char two[3] = {pin[2 * i], pin[2 * i + 1], 0}, *end;

        want[i] = (unsigned char)strtoul(two, &end, 16);
        good = !*end;
    }
    good = good && mdm_bytes_equal(sum, want, 32);
    X509_STORE_CTX_set_error(store, good ? X509_V_OK : X509_V_ERR_CERT_REJECTED);
    return good;
}

static int before_handshake(conn_rec *c, SSL *ssl, int is_proxy)
{
    if (is_proxy && pin_wanted) {
        SSL_set_ex_data(ssl, pin_index, (void *)pin_wanted);
        SSL_set_verify(ssl, SSL_VERIFY_PEER, check_pin);
        SSL_set_tlsext_host_name(ssl, pin_host); /* mod_ssl does it only where it checks the name as well */
    }
    return OK;
}

/* ---------------------------------------------------------------- pools */

apr_status_t eas_back_child(apr_pool_t *p)
{
    int threads = 0, found = 1;

    CALLS(CALL_FIND)
    if (!found) {
        return APR_ENOTIMPL;
    }
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    apr_pool_create(&own.pool, p);
    own.pools = apr_hash_make(p);
    own.most = threads;
    pin_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return apr_thread_mutex_create(&own.lock, APR_THREAD_MUTEX_DEFAULT, p);
}

void eas_back_register(void)
{
    APR_OPTIONAL_HOOK(ssl, pre_handshake, before_handshake, NULL, NULL, APR_HOOK_MIDDLE);
}

static char *address_of(apr_pool_t *p, const mdm_eas_server_t *s)
{
    int is_v6 = strchr(s->host, ':') != NULL;

    return apr_pstrcat(p, s->tls ? "https://" : "http://", is_v6 ? "[" : "", s->host, is_v6 ? "]:" : ":", apr_itoa(p, s->port), NULL);
}

static proxy_worker *make_pool(request_rec *r, const char *address)
{
    /* A list for it alone: mod_proxy's own are not for changing at run time, and growing they would move what is in them. */
    proxy_server_conf list = {.workers = apr_array_make(own.pool, 1, sizeof(proxy_worker))};
    proxy_worker *w = NULL;
    char *err = proxy.define_worker(own.pool, &w, NULL, &list, address, 0);

    if (err || !w) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MDM0830: no connections to %s: %s", address, err ? err : "");
        return NULL;
    }
    w->s->smax = IDLE_KEPT;
    w->s->ttl = IDLE_LONGEST;
    w->s->hmax = own.most + (int)mdm_web_services()->conf_int(NULL, "MDMEasMaxHeld");
    w->s->acquire = w->s->conn_timeout = CONNECT_LONGEST;
    w->s->timeout = IO_LONGEST;
    w->s->acquire_set = w->s->conn_timeout_set = w->s->timeout_set = w->s->retry_set = w->s->keepalive = w->s->keepalive_set = 1;
    w->s->address_ttl = 60;
    w->s->address_ttl_set = 1;
    w->s->status |= PROXY_WORKER_IGNORE_ERRORS; /* whether a server is away, each request finds out */
    return proxy.initialize_worker(w, r->server, own.pool) == APR_SUCCESS ? w : NULL;
}

/* Those of an address that the configuration names (<Proxy>), else ours. With a certificate to hold it to, only ours: other connections
 * would have been checked otherwise. */
static proxy_worker *pool_for(request_rec *r, const mdm_eas_server_t *s, const char *address, proxy_server_conf *conf)
{
    int pinned = s->tls && *s->pin;
    proxy_worker *w = pinned ? NULL : proxy.get_worker(r->pool, NULL, conf, address);
    const char *key = apr_pstrcat(r->pool, address, " ", pinned ? s->pin : "", NULL);

    if (w && !(w->s->status & PROXY_WORKER_GENERIC)) {
        return w;
    }
    apr_thread_mutex_lock(own.lock);
    w = apr_hash_get(own.pools, key, APR_HASH_KEY_STRING);
    if (!w && (w = make_pool(r, apr_pstrdup(own.pool, address))) != NULL) {
        w->context = pinned ? apr_pstrdup(own.pool, s->pin) : NULL;
        apr_hash_set(own.pools, apr_pstrdup(own.pool, key), APR_HASH_KEY_STRING, w);
    }
    apr_thread_mutex_unlock(own.lock);
    return w;
}

/* ---------------------------------------------------------------- connection */

static apr_status_t give_up(void *data)
{
    eas_back_close(data);
    return APR_SUCCESS;
}

static int connect_to(eas_back_t *b, const mdm_eas_server_t *s, proxy_worker *w, proxy_server_conf *conf, char *url)
{
    request_rec *r = b->r;
    proxy_conn_rec *conn = b->conn;
    apr_uri_t *uri = apr_palloc(r->pool, sizeof(*uri));
    char port[32];
    int rc;

    conn->is_ssl = s->tls != 0;
    rc = proxy.determine_connection(r->pool, r, conf, w, conn, uri, &url, NULL, 0, port, sizeof(port));
    b->used = conn->connection != NULL;
    if (rc != OK || (rc = proxy.connect_backend(SCHEME, conn, w, r->server)) != OK) {
        return rc;
    }
    b->used = b->used && conn->connection; /* a dead one was replaced */
    if (!conn->connection) {
        pin_wanted = w->context;
        pin_host = s->host;
        rc = proxy.connection_create_ex(SCHEME, conn, r);
        if (conn->connection && pin_wanted) {
            apr_table_unset(conn->connection->notes, "proxy-request-hostname");
        } else if (conn->connection && conn->ssl_hostname) {
            apr_table_setn(conn->connection->notes, "proxy-request-hostname", conn->ssl_hostname);
        }
        pin_wanted = NULL;
    }
    return rc;
}

apr_status_t eas_back_open(request_rec *r, const mdm_eas_server_t *server, eas_back_t **out)
{
    proxy_server_conf *conf = ap_get_module_config(r->server->module_config, ap_find_linked_module("mod_proxy.c"));
    eas_back_t *b = apr_pcalloc(r->pool, sizeof(*b));
    char *address = address_of(r->pool, server);
    proxy_worker *w = pool_for(r, server, address, conf);

    *out = NULL;
    b->r = r;
    if (!w || proxy.acquire_connection(SCHEME, &b->conn, w, r->server) != OK) {
        return MDM_EUNAVAIL;
    }
    apr_pool_cleanup_register(r->pool, b, give_up, apr_pool_cleanup_null);
    if (connect_to(b, server, w, conf, apr_pstrcat(r->pool, address, "/", NULL)) != OK) {
        eas_back_close(b);
        return MDM_EUNAVAIL;
    }
    apr_socket_timeout_set(b->conn->sock, conf->timeout_set && conf->timeout < IO_LONGEST ? conf->timeout : IO_LONGEST);
    apr_socket_opt_set(b->conn->sock, APR_SO_KEEPALIVE, 1);
    b->out = apr_brigade_create(r->pool, b->conn->connection->bucket_alloc);
    *out = b;
    return APR_SUCCESS;
}

int eas_back_used(const eas_back_t *b)
{
    return b->used;
}

int eas_back_fd(const eas_back_t *b)
{
    apr_os_sock_t fd = -1;

    apr_os_sock_get(&fd, b->conn->sock);
    return fd;
}

void eas_back_rest(eas_back_t *b)
{
    mdm_web_trim(b->conn->pool);
}

void eas_back_close(eas_back_t *b)
{
    if (!b || !b->conn) {
        return;
    }
    apr_pool_cleanup_kill(b->r->pool, b, give_up);
    b->conn->close = !(b->keep && b->whole);
    if (b->out) {
        apr_brigade_destroy(b->out);
    }
    if (b->in) {
        apr_brigade_destroy(b->in);
    }
    proxy.release_connection(SCHEME, b->conn, b->r->server);
    b->conn = NULL;
}

/* ---------------------------------------------------------------- writing */

static apr_status_t send_out(eas_back_t *b)
{
    apr_status_t rv = ap_pass_brigade(b->conn->connection->output_filters, b->out);

    apr_brigade_cleanup(b->out);
    return rv != APR_SUCCESS ? rv : b->conn->connection->aborted ? APR_ECONNABORTED : APR_SUCCESS;
}

void eas_back_write(eas_back_t *b, const char *data, apr_size_t len)
{
    APR_BRIGADE_INSERT_TAIL(b->out, apr_bucket_transient_create(data, len, b->out->bucket_alloc));
}

apr_status_t eas_back_pass(eas_back_t *b, apr_bucket_brigade *bb, int framed)
{
    apr_bucket *e;
    apr_off_t len = 0;
    apr_status_t rv = APR_SUCCESS;

    apr_brigade_length(bb, 1, &len);
    if (framed && len > 0) {
        apr_brigade_printf(b->out, NULL, NULL, "%" APR_UINT64_T_HEX_FMT "\r\n", (apr_uint64_t)len);
    }
    for (e = APR_BRIGADE_FIRST(bb); rv == APR_SUCCESS && e != APR_BRIGADE_SENTINEL(bb); e = APR_BUCKET_NEXT(e)) {
        const char *data;
        apr_size_t n;

        if (!APR_BUCKET_IS_METADATA(e) && (rv = apr_bucket_read(e, &data, &n, APR_BLOCK_READ)) == APR_SUCCESS && n) {
            APR_BRIGADE_INSERT_TAIL(b->out, apr_bucket_transient_create(data, n, b->out->bucket_alloc));
        }
    }
    if (framed && len > 0) {
        apr_brigade_puts(b->out, NULL, NULL, "\r\n");
    }
    rv = rv == APR_SUCCESS ? eas_back_flush(b) : rv; /* transient: it has to go out before the client's brigade is emptied */
    apr_brigade_cleanup(bb);
    return rv;
}

apr_status_t eas_back_flush(eas_back_t *b)
{
    APR_BRIGADE_INSERT_TAIL(b->out, apr_bucket_flush_create(b->out->bucket_alloc));
    return send_out(b);
}

/* ---------------------------------------------------------------- reading */

static apr_status_t peek_once(eas_back_t *b)
{
    conn_rec *c = b->conn->connection;
    apr_bucket_brigade *bb = apr_brigade_create(b->r->pool, c->bucket_alloc);
    apr_status_t rv = ap_get_brigade(c->input_filters, bb, AP_MODE_SPECULATIVE, APR_NONBLOCK_READ, 1);

    if (rv == APR_SUCCESS && APR_BRIGADE_EMPTY(bb)) {
        rv = APR_EAGAIN;
    } else if (rv == APR_SUCCESS && APR_BUCKET_IS_EOS(APR_BRIGADE_FIRST(bb))) {
        rv = APR_EOF;
    }
    apr_brigade_destroy(bb);
    return APR_STATUS_IS_EAGAIN(rv) ? APR_EAGAIN : rv;
}

/* Over TLS one look takes up one record, and the first ones may be tickets, with the answer behind them in some buffer where the descriptor
 * does not show it. */
apr_status_t eas_back_peek(eas_back_t *b)
{
    int i, looks = b->conn->is_ssl ? TLS_LOOKS : 1;
    apr_status_t rv = APR_EAGAIN;

    for (i = 0; i < looks && rv == APR_EAGAIN; i++) {
        rv = peek_once(b);
    }
    return rv;
}

/* A request record that httpd's line reader and its filter for bodies can work with. */
static void prepare_answer(eas_back_t *b)
{
    conn_rec *c = b->conn->connection;
    apr_pool_t *p = b->r->pool; /* not a pool of the connection's, whose memory would stay with it */
    request_rec *a = apr_pcalloc(p, sizeof(*a));

    a->pool = p;
    a->connection = c;
    a->server = b->r->server;
    a->per_dir_config = b->r->server->lookup_defaults;
    a->request_config = ap_create_request_config(p);
    a->request_time = apr_time_now();
    a->status = HTTP_OK;
    a->proxyreq = PROXYREQ_RESPONSE;
    a->headers_in = apr_table_make(p, 2);
    a->headers_out = apr_table_make(p, 1);
    a->err_headers_out = apr_table_make(p, 1);
    a->trailers_in = apr_table_make(p, 1);
    a->trailers_out = apr_table_make(p, 1);
    a->notes = apr_table_make(p, 1);
    a->subprocess_env = apr_table_make(p, 1);
    a->input_filters = a->proto_input_filters = c->input_filters;
    a->output_filters = a->proto_output_filters = c->output_filters;
    a->useragent_addr = c->client_addr;
    a->useragent_ip = c->client_ip;
    b->answer = a;
    b->in = apr_brigade_create(p, c->bucket_alloc);
}

/* One line without its end; MDM_EINPUT if it is too long or has a NUL in it. */
static apr_status_t read_line(eas_back_t *b, char **line)
{
    apr_size_t len = 0;
    apr_status_t rv;

    *line = NULL;
    rv = ap_rgetline(line, LINE_LONGEST + 2, &len, b->answer, 0, b->in);
    apr_brigade_cleanup(b->in);
    if (rv == APR_ENOSPC) {
        return MDM_EINPUT;
    }
    return rv != APR_SUCCESS ? rv : !*line || strlen(*line) != len ? MDM_EINPUT : APR_SUCCESS;
}

/* "HTTP/1.1 200 OK"; *minor is the version's. */
static int status_of(const char *line, int *minor)
{
    if (strncmp(line, "HTTP/1.", 7) || (line[7] != '0' && line[7] != '1') || line[8] != ' ' || line[9] < '1' || line[9] > '5' ||
        !apr_isdigit(line[10]) || !apr_isdigit(line[11]) || (line[12] && line[12] != ' ')) {
        return 0;
    }
    *minor = line[7] - '0';
    return (line[9] - '0') * 100 + (line[10] - '0') * 10 + line[11] - '0';
}

static apr_status_t read_headers(eas_back_t *b, apr_table_t *out)
{
    char *line, *colon, *value, *end;
    apr_status_t rv;
    int n;

    for (n = 0; (rv = read_line(b, &line)) == APR_SUCCESS && *line; n++) {
        colon = strchr(line, ':');
        if (n == LINES_MAX || !colon || colon == line || ap_scan_http_token(line) != colon) { /* folded lines, too */
            return MDM_EINPUT;
        }
        *colon = '\0';
        for (value = colon + 1; *value == ' ' || *value == '\t'; value++)
            ;
        for (end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t'); *--end = '\0')
            ;
        if (*ap_scan_http_field_content(value)) {
            return MDM_EINPUT;
        }
        apr_table_add(out, line, value);
    }
    return rv;
}

typedef struct {
    apr_pool_t *pool;
    const char *length, *coding;
    int lengths, codings, close, keep;
} framing_t;

static int note_framing(void *into, const char *name, const char *value)
{
    framing_t *f = into;

    if (!strcasecmp(name, "Content-Length")) {
        f->length = value;
        f->lengths++;
    } else if (!strcasecmp(name, "Transfer-Encoding")) {
        f->coding = value;
        f->codings++;
    } else if (!strcasecmp(name, "Connection")) {
        f->close |= ap_find_token(f->pool, value, "close");
        f->keep |= ap_find_token(f->pool, value, "keep-alive");
    }
    return 1;
}

/* Where the body ends: by one length or one coding, never both; the filter gets what was checked, and nothing else. */
static apr_status_t frame(eas_back_t *b, eas_head_t *head, int minor)
{
    framing_t f = {b->r->pool, NULL, NULL, 0, 0, 0, 0};
    apr_off_t length = -1;

    apr_table_do(note_framing, &f, head->headers, "Content-Length", "Transfer-Encoding", "Connection", NULL);
    if (f.lengths + f.codings > 1 || (f.coding && strcasecmp(f.coding, "chunked")) || (f.coding && !minor) ||
        (f.length && !ap_parse_strict_length(&length, f.length))) {
        return MDM_EINPUT;
    }
    head->bare = length == 0 || head->status == 204 || head->status == 304;
    b->keep = (minor ? !f.close : f.keep && !f.close) && (head->bare || f.length || f.coding);
    b->whole = head->bare;
    if (!head->bare) {
        if (f.length) {
            apr_table_setn(b->answer->headers_in, "Content-Length", apr_pstrdup(b->answer->pool, f.length));
        } else if (f.coding) {
            apr_table_setn(b->answer->headers_in, "Transfer-Encoding", "chunked");
        }
        ap_add_input_filter("HTTP_IN", NULL, b->answer, b->conn->connection);
    }
    return APR_SUCCESS;
}

apr_status_t eas_back_head(eas_back_t *b, eas_head_t *out)
{
    apr_status_t rv;
    char *line;
    int i, minor = 0;

    prepare_answer(b);
    for (i = 0; i < INTERIM_MAX; i++) {
        out->headers = apr_table_make(b->r->pool, 12);
        rv = read_line(b, &line);
        if (rv == APR_SUCCESS && !(out->status = status_of(line, &minor))) {
            rv = MDM_EINPUT;
        }
        if (rv == APR_SUCCESS) {
            rv = read_headers(b, out->headers);
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
        if (out->status >= 200) {
            return frame(b, out, minor);
        }
        if (out->status == HTTP_SWITCHING_PROTOCOLS) {
            break;
        }
    }
    return MDM_EINPUT;
}

apr_status_t eas_back_read(eas_back_t *b, apr_bucket_brigade *bb, int block)
{
    apr_status_t rv;

    apr_brigade_cleanup(b->in);
    if (b->whole) {
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
        return APR_SUCCESS;
    }
    rv = ap_get_brigade(b->answer->input_filters, b->in, AP_MODE_READBYTES, block ? APR_BLOCK_READ : APR_NONBLOCK_READ, AP_IOBUFSIZE);
    if (rv == APR_SUCCESS && APR_BRIGADE_EMPTY(b->in)) {
        rv = APR_EAGAIN;
    }
    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_EAGAIN(rv) ? APR_EAGAIN : rv;
    }
    b->whole = APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(b->in));
    return proxy.buckets_lifetime_transform(b->r, b->in, bb);
}
