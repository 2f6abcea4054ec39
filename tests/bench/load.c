/* A load generator for kept-alive mutual-TLS connections: each sends its own request again and again and checks each answer.
 *
 * load --connect HOST:PORT --ca FILE --list FILE --connections N --seconds S [--method PUT] [--path /mdm] [--type T]
 *      [--header LINE]... [--expect-bytes N] [--new-connections] [--cycle]
 * The list has one line per client: "<PEM file with certificate and key, or -> <body file, or -> [<result file>]". With --cycle a
 * command in the answer to the body is acknowledged: by the result file, whose 36 characters "@" become its CommandUUID. Then the
 * body is sent again. Prints one JSON object. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct client_t {
    SSL_CTX *tls;
    char *request, *result, *uuid; /* uuid: where it stands in result; one connection per client then */
    size_t request_len, result_len;
} client_t;

typedef struct conn_t {
    client_t *client;
    SSL *ssl;
    const char *out;
    size_t out_len;
    int fd, connecting, want_write;
    size_t sent;
    char in[16384];
    size_t in_len;
    double began;
} conn_t;

static struct {
    const char *host, *ca, *list, *method, *path, *type;
    int port, connections, fresh, cycle;
    long expect;
    double seconds;
} opt = { .host = "127.0.0.1", .method = "PUT", .path = "/mdm", .type = "application/x-apple-aspen-mdm", .connections = 32,
          .expect = -1, .seconds = 5 };
static char headers[2048]; /* whole lines */

static client_t *clients;
static int nclients, epfd;
static long done, failed, cut, reconnects, cycles;
static float *latency;
static long nlatency;
#define MAX_LATENCY 4000000L
#define HEAD_MAX 4096

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "failed");
    ERR_print_errors_fp(stderr);
    exit(2);
}

static char *slurp(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    char *data = calloc(1, 1 << 20);
    if (!f || !data) die(path);
    *len = fread(data, 1, (1 << 20) - 1, f);
    fclose(f);
    return data;
}

static char *make_request(const char *body_file, size_t *len)
{
    size_t body_len = 0;
    char *body = strcmp(body_file, "-") ? slurp(body_file, &body_len) : NULL, *out = calloc(1, body_len + HEAD_MAX + 1);
    int head;

    if (!out) die("memory");
    if (body)
        head = snprintf(out, HEAD_MAX, "%s %s HTTP/1.1\r\nHost: localhost:%d\r\nUser-Agent: MDM/1.0\r\nContent-Type: %s\r\n"
                        "Content-Length: %zu\r\n%s\r\n", opt.method, opt.path, opt.port, opt.type, body_len, headers);
    else
        head = snprintf(out, HEAD_MAX, "%s %s HTTP/1.1\r\nHost: localhost:%d\r\nUser-Agent: MDM/1.0\r\n%s\r\n", opt.method,
                        opt.path, opt.port, headers);
    if (head >= HEAD_MAX) die("path and headers are too long: request");
    if (body) memcpy(out + head, body, body_len);
    *len = (size_t)head + body_len;
    free(body);
    return out;
}

static void add_client(const char *pem, const char *body_file, const char *result_file)
{
    client_t *c = &clients[nclients++];

    c->tls = SSL_CTX_new(TLS_client_method());
    if (!c->tls || SSL_CTX_load_verify_locations(c->tls, opt.ca, NULL) != 1) die(opt.ca);
    SSL_CTX_set_verify(c->tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(c->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (strcmp(pem, "-") && (SSL_CTX_use_certificate_file(c->tls, pem, SSL_FILETYPE_PEM) != 1 ||
                             SSL_CTX_use_PrivateKey_file(c->tls, pem, SSL_FILETYPE_PEM) != 1)) die(pem);
    c->request = make_request(body_file, &c->request_len);
    if (!opt.cycle) return;
    c->result = make_request(result_file, &c->result_len);
    c->uuid = strstr(c->result, "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@");
    if (!c->uuid) die("the result has no place for the CommandUUID");
}

static void read_list(void)
{
    char line[8192], pem[2048], body[2048], result[2048];
    FILE *f = fopen(opt.list, "r");
    if (!f) die(opt.list);
    clients = calloc(100000, sizeof *clients);
    while (nclients < 100000 && fgets(line, sizeof line, f)) {
        strcpy(result, "-");
        if (sscanf(line, "%2047s %2047s %2047s", pem, body, result) >= 2) add_client(pem, body, result);
    }
    fclose(f);
    if (!nclients) die("the list is empty");
}

static void conn_open(conn_t *c)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((unsigned short)opt.port) };
    struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };
    int one = 1;

    inet_pton(AF_INET, opt.host, &sa.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&sa, sizeof sa) < 0 && errno != EINPROGRESS) die("connect");
    c->ssl = SSL_new(c->client->tls);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_tlsext_host_name(c->ssl, "localhost");
    SSL_set1_host(c->ssl, "localhost");
    SSL_set_connect_state(c->ssl);
    c->out = c->client->request;
    c->out_len = c->client->request_len;
    c->sent = c->in_len = 0;
    c->began = now();
    epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &ev);
}

static void conn_again(conn_t *c)
{
    SSL_free(c->ssl);
    close(c->fd);
    reconnects++;
    conn_open(c);
}

/* 1: an answer is complete and right; 0: more is needed; -1: wrong. */
static int parse(conn_t *c)
{
    char *end, *field;
    size_t head, length;

    c->in[c->in_len] = 0;
    end = strstr(c->in, "\r\n\r\n");
    if (!end) return c->in_len + 1 >= sizeof c->in ? -1 : 0;
    head = (size_t)(end - c->in) + 4;
    *end = 0;
    field = strcasestr(c->in, "\r\nContent-Length:");
    length = field ? strtoul(field + 17, NULL, 10) : 0;
    if (strncmp(c->in, "HTTP/1.1 200", 12) || (opt.expect >= 0 && length != (size_t)opt.expect)) return -1;
    *end = '\r';
    if (c->in_len < head + length) return head + length + 1 >= sizeof c->in ? -1 : 0;
    return c->in_len == head + length ? 1 : -1;
}

/* What comes after this answer. */
static void choose(conn_t *c)
{
    static const char key[] = "<key>CommandUUID</key>", open[] = "<string>";
    char *at = c->out == c->client->request ? strstr(c->in, key) : NULL;

    cycles += c->out == c->client->result;
    c->out = c->client->request;
    c->out_len = c->client->request_len;
    at = at ? strstr(at, open) : NULL;
    if (!at || strlen(at) < sizeof open - 1 + 36) return;
    memcpy(c->client->uuid, at + sizeof open - 1, 36);
    c->out = c->client->result;
    c->out_len = c->client->result_len;
}

static void finish(conn_t *c)
{
    double t = now();
    if (opt.cycle) choose(c);
    done++;
    if (nlatency < MAX_LATENCY) latency[nlatency++] = (float)(t - c->began);
    c->sent = c->in_len = 0;
    c->began = t;
}

/* Runs a connection until it would block. */
static void drive(conn_t *c)
{
    for (;;) {
        int n, why;
        if (c->sent < c->out_len) {
            n = SSL_write(c->ssl, c->out + c->sent, (int)(c->out_len - c->sent));
            if (n > 0) { c->sent += (size_t)n; continue; }
        } else {
            n = SSL_read(c->ssl, c->in + c->in_len, (int)(sizeof c->in - 1 - c->in_len));
            if (n > 0) {
                int got;
                c->in_len += (size_t)n;
                got = parse(c);
                if (got == 0) continue;
                if (got > 0) finish(c);
                else if (failed++ < 3) fprintf(stderr, "load: wrong answer: %.200s\n", c->in);
                if (got < 0 || opt.fresh) { conn_again(c); }
                continue;
            }
        }
        why = SSL_get_error(c->ssl, n);
        ERR_clear_error();
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return;
        cut++; /* closed under a request: httpd does so when all its workers are busy */
        conn_again(c);
        return;
    }
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void report(double took)
{
    qsort(latency, (size_t)nlatency, sizeof *latency, by_value);
    printf("{\"requests\": %ld, \"cycles\": %ld, \"failed\": %ld, \"cut\": %ld, \"reconnects\": %ld, \"seconds\": %.3f, \"per_second\": %.1f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f}\n", done, cycles, failed, cut, reconnects, took, (double)done / took,
           nlatency ? (double)latency[nlatency / 2] * 1e3 : 0, nlatency ? (double)latency[nlatency * 99 / 100] * 1e3 : 0);
}

static void options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *v = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--new-connections")) { opt.fresh = 1; continue; }
        if (!strcmp(argv[i], "--cycle")) { opt.cycle = 1; continue; }
        if (!strcmp(argv[i], "--connect")) {
            char *colon = strdup(v);
            opt.host = strtok(colon, ":");
            opt.port = atoi(strrchr(v, ':') + 1);
        } else if (!strcmp(argv[i], "--ca")) opt.ca = v;
        else if (!strcmp(argv[i], "--list")) opt.list = v;
        else if (!strcmp(argv[i], "--method")) opt.method = v;
        else if (!strcmp(argv[i], "--path")) opt.path = v;
        else if (!strcmp(argv[i], "--type")) opt.type = v;
        else if (!strcmp(argv[i], "--header")) {
            size_t used = strlen(headers);
            if ((size_t)snprintf(headers + used, sizeof headers - used, "%s\r\n", v) >= sizeof headers - used) die(v);
        }
        else if (!strcmp(argv[i], "--connections")) opt.connections = atoi(v);
        else if (!strcmp(argv[i], "--seconds")) opt.seconds = atof(v);
        else if (!strcmp(argv[i], "--expect-bytes")) opt.expect = atol(v);
        else { fprintf(stderr, "load: unknown option %s\n", argv[i]); exit(2); }
        i++;
    }
    if (!opt.port || !opt.ca || !opt.list) { fprintf(stderr, "load: --connect, --ca and --list are needed\n"); exit(2); }
}

int main(int argc, char **argv)
{
    struct epoll_event events[256];
    conn_t *conns;
    double began, warm;

    options(argc, argv);
    read_list();
    if (opt.cycle) opt.connections = nclients;
    epfd = epoll_create1(0);
    conns = calloc((size_t)opt.connections, sizeof *conns);
    latency = malloc(MAX_LATENCY * sizeof *latency);
    if (!conns || !latency) die("memory");
    for (int i = 0; i < opt.connections; i++) {
        conns[i].client = &clients[i % nclients];
        conn_open(&conns[i]);
    }
    /* The first second (handshakes, cold cache) does not count. The caller reads the server's CPU time at "go". */
    warm = now() + 1;
    for (began = 0;;) {
        double t = now();
        int n = epoll_wait(epfd, events, 256, 100);
        for (int i = 0; i < n; i++) drive(events[i].data.ptr);
        if (!began && t >= warm) {
            began = now();
            done = failed = cut = reconnects = cycles = nlatency = 0;
            fprintf(stderr, "go\n");
        }
        if (began && t >= began + opt.seconds) break;
    }
    report(now() - began);
    return failed ? 1 : 0;
}
