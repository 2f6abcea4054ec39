/* Both ends of very many held requests (PRF-05): phones that wait in a Ping, and a mail server that lets them wait and wakes them all.
 *
 * eas_hold server --listen HOST:PORT
 *     Holds each request with Cmd=Ping; all others are answered at once.
 * eas_hold phones --connect HOST:PORT --query Q --count N [--ca FILE] [--header LINE]... [--source ADDRESS] [--busy N]
 *        [--first N]
 *     N connections, with TLS if there is --ca; @ in Q becomes the phone's number in six digits, from --first on. --busy: so many are
 *     made at a time.
 *
 * Both read commands from standard input, one per line, and answer each with one line of JSON; times are those of CLOCK_MONOTONIC. They
 * end with their input.
 *     server: wake (answers all held ones), state
 *     phones: open (all that are not open connect and ask), again (all that wait for nothing ask once more), leave [N] (that many, or
 *             all, close), state */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WBXML "application/vnd.ms-sync.wbxml"
#define IN_MAX 8192

/* AT_WORK: connecting, sending or reading; HELD: the request is out, or has come in, and waits for its answer. */
typedef enum state_t { CLOSED, AT_WORK, HELD, RESTING } state_t;

typedef struct conn_t {
    SSL *ssl;
    char *in; /* what came so far; kept only while incomplete */
    int fd, number;
    unsigned in_len, sent;
    state_t state;
} conn_t;

static struct {
    const char *host, *ca, *query, *source;
    int port, count, first, busy;
} opt = {.busy = 64};
static char headers[2048]; /* whole lines */

static int epfd, listener = -1;
static conn_t *conns; /* of phones; by descriptor at the server */
static int nconns, working, next_one, wanted;
static long held, answered, bad, gone, requests, cut, errors;
static double last_answer, last_gone;
static SSL_CTX *tls;

/* Ping, status 2, one folder; and a FolderSync without news. */
static const char news[] = "\x03\x01\x6a\0\0\x0d\x45\x47\x03" "2\0\x01\x49\x4a\x03" "5\0\x01\x01\x01";
static const char nothing[] = "\x03\x01\x6a\0\0\x07\x56\x4c\x03" "1\0\x01\x52\x03" "F1\0\x01\x4e\x57\x03" "0\0\x01\x01\x01";
/* Ping: heartbeat 3540 s, folder 5. */
static const char ping[] = "\x03\x01\x6a\0\0\x0d\x45\x48\x03" "3540\0\x01\x49\x4a\x4b\x03" "5\0\x01\x4c\x03" "Email\0\x01\x01\x01\x01";

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "eas_hold: %s: %s\n", what, errno ? strerror(errno) : "failed");
    ERR_print_errors_fp(stderr);
    exit(2);
}

static void watch(int fd, void *data, unsigned events)
{
    struct epoll_event ev = {.events = events, .data.ptr = data};
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0) die("epoll");
}

static struct sockaddr_in address(const char *host, int port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    if (inet_pton(AF_INET, host, &sa.sin_addr) != 1) die(host);
    return sa;
}

static void set_state(conn_t *c, state_t state)
{
    working += (state == AT_WORK) - (c->state == AT_WORK);
    held += (state == HELD) - (c->state == HELD);
    c->state = state;
}

static void drop_input(conn_t *c)
{
    free(c->in);
    c->in = NULL;
    c->in_len = 0;
}

static void conn_close(conn_t *c)
{
    set_state(c, CLOSED);
    drop_input(c);
    SSL_free(c->ssl);
    c->ssl = NULL;
    close(c->fd);
}

/* ---- bytes: > 0 so many, 0 would block, -1 the connection is over */

static int conn_read(conn_t *c, char *buf, int size)
{
    int n = c->ssl ? SSL_read(c->ssl, buf, size) : (int)recv(c->fd, buf, (size_t)size, 0), why;

    if (n > 0) return n;
    if (!c->ssl) return n < 0 && errno == EAGAIN ? 0 : -1;
    why = SSL_get_error(c->ssl, n);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static int conn_write(conn_t *c, const char *buf, int size)
{
    int n = c->ssl ? SSL_write(c->ssl, buf, size) : (int)send(c->fd, buf, (size_t)size, MSG_NOSIGNAL), why;

    if (n > 0) return n;
    if (!c->ssl) return n < 0 && (errno == EAGAIN || errno == ENOTCONN) ? 0 : -1;
    why = SSL_get_error(c->ssl, n);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* Reads a whole message. 1: it is in c->in, *body says where its body begins; 0: more has to come; -1: over or wrong. */
static int conn_message(conn_t *c, unsigned *body)
{
    for (;;) {
        char *end, *length;
        int n;

        if (!c->in && !(c->in = malloc(IN_MAX + 1))) die("memory");
        n = conn_read(c, c->in + c->in_len, (int)(IN_MAX - c->in_len));
        if (n == 0 && !c->in_len) drop_input(c);
        if (n <= 0) return n;
        c->in_len += (unsigned)n;
        c->in[c->in_len] = 0;
        if (!(end = strstr(c->in, "\r\n\r\n"))) continue;
        *body = (unsigned)(end - c->in) + 4;
        length = strcasestr(c->in, "\r\nContent-Length:");
        if (length && length < end) {
            if (c->in_len >= *body + strtoul(length + 17, NULL, 10)) return 1;
        } else {
            char *chunked = strcasestr(c->in, "\r\nTransfer-Encoding:");
            if (!chunked || chunked > end || (c->in_len >= *body + 5 && !memcmp(c->in + c->in_len - 5, "0\r\n\r\n", 5))) return 1;
        }
    }
}

/* ---- the server */

static void answer(conn_t *c, const char *more, const char *body, size_t len)
{
    char out[1024];
    int n = snprintf(out, sizeof out - 256, "HTTP/1.1 200 OK\r\nMS-Server-ActiveSync: 15.2\r\n%sContent-Length: %zu\r\n\r\n", more, len);

    memcpy(out + n, body, len);
    set_state(c, RESTING);
    if (conn_write(c, out, n + (int)len) != n + (int)len) {
        errors++;
        conn_close(c);
    }
}

static void serve(conn_t *c)
{
    unsigned body;
    int n;

    while ((n = conn_message(c, &body)) > 0) {
        char *line_end = strstr(c->in, "\r\n");

        requests++;
        *line_end = 0;
        if (strstr(c->in, "Cmd=Ping")) set_state(c, HELD);
        else if (!strncmp(c->in, "OPTIONS", 7))
            answer(c, "MS-ASProtocolVersions: 12.1,14.0,14.1,16.0,16.1\r\nMS-ASProtocolCommands: Sync,FolderSync,Ping,Provision\r\n", "", 0);
        else answer(c, "Content-Type: " WBXML "\r\n", nothing, sizeof nothing - 1);
        drop_input(c);
        if (c->state == CLOSED) return;
    }
    if (n == 0) return;
    if (c->state == HELD) {
        gone++;
        last_gone = now();
    }
    conn_close(c);
}

static void accept_all(void)
{
    int fd, one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= nconns) die("too many descriptors");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conns[fd] = (conn_t){.fd = fd, .state = RESTING};
        watch(fd, &conns[fd], EPOLLIN | EPOLLRDHUP | EPOLLET);
    }
    if (errno != EAGAIN && errno != ECONNABORTED) die("accept");
}

static void server_command(const char *line)
{
    double began = now();
    long before = held;

    if (!strcmp(line, "wake")) {
        for (int i = 0; i < nconns; i++)
            if (conns[i].state == HELD) answer(&conns[i], "Content-Type: " WBXML "\r\n", news, sizeof news - 1);
        printf("{\"woken\": %ld, \"at\": %.6f, \"took\": %.6f}\n", before, began, now() - began);
    } else {
        printf("{\"held\": %ld, \"gone\": %ld, \"last_gone\": %.6f, \"requests\": %ld, \"errors\": %ld}\n", held, gone, last_gone, requests,
               errors);
    }
}

static void server_start(void)
{
    struct sockaddr_in sa = address(opt.host, opt.port);
    struct rlimit limit;
    int one = 1;

    getrlimit(RLIMIT_NOFILE, &limit);
    nconns = (int)limit.rlim_cur;
    conns = calloc((size_t)nconns, sizeof *conns);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one); /* more than one process where descriptors don't suffice */
    if (!conns || bind(listener, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(listener, 16384) < 0) die("listen");
    watch(listener, &listener, EPOLLIN | EPOLLET);
}

/* ---- the phones */

static void conn_open(conn_t *c)
{
    struct sockaddr_in to = address(opt.host, opt.port);
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (opt.source) {
        struct sockaddr_in from = address(opt.source, 0);
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) die(opt.source);
    }
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) die("connect");
    if (tls) {
        c->ssl = SSL_new(tls);
        SSL_set_fd(c->ssl, c->fd);
        SSL_set_tlsext_host_name(c->ssl, "localhost");
        SSL_set1_host(c->ssl, "localhost");
        SSL_set_connect_state(c->ssl);
    }
    c->sent = 0;
    set_state(c, AT_WORK);
    watch(c->fd, c, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

/* The whole request; in a buffer that the next one uses again. */
static const char *request_of(const conn_t *c, unsigned *len)
{
    static char out[8192];
    const char *at = strchr(opt.query, '@');
    int n = snprintf(out, sizeof out - sizeof ping, "POST /Microsoft-Server-ActiveSync?%.*s%06d%s HTTP/1.1\r\nHost: localhost:%d\r\n"
                     "Content-Type: " WBXML "\r\n%sContent-Length: %zu\r\n\r\n", (int)(at - opt.query), opt.query, c->number, at + 1,
                     opt.port, headers, sizeof ping - 1);

    memcpy(out + n, ping, sizeof ping - 1);
    *len = (unsigned)n + sizeof ping - 1;
    return out;
}

/* A Ping's answer: 200 with a document that says 1 or 2. */
static int is_right(const conn_t *c, unsigned body)
{
    return !strncmp(c->in, "HTTP/1.1 200", 12) && c->in_len >= body + 11 && !memcmp(c->in + body, ping, 7) &&
           (c->in[body + 9] == '1' || c->in[body + 9] == '2');
}

static void note_bad(conn_t *c)
{
    if (bad++ < 3) fprintf(stderr, "eas_hold: wrong answer to phone %d: %.200s\n", c->number, c->in);
}

/* Runs a phone until it would block. */
static void drive(conn_t *c)
{
    unsigned len, body;
    const char *request;
    int n = 0;

    while (c->state == AT_WORK) {
        request = request_of(c, &len);
        if ((n = conn_write(c, request + c->sent, (int)(len - c->sent))) <= 0) break;
        if ((c->sent += (unsigned)n) == len) set_state(c, HELD);
    }
    if (n >= 0) n = conn_message(c, &body);
    if (n > 0 && c->state == HELD) {
        if (is_right(c, body)) answered++;
        else note_bad(c);
        last_answer = now();
        set_state(c, RESTING);
        drop_input(c);
        n = conn_message(c, &body); /* nothing, or its end */
    }
    if (n != 0) {
        cut += c->state != RESTING;
        gone += c->state == RESTING; /* a kept connection that the other side closed */
        conn_close(c);
    }
}

static void phones_work(void)
{
    while (next_one < wanted && working < opt.busy) {
        conn_t *c = &conns[next_one++];
        if (c->state == CLOSED) conn_open(c);
    }
}

static void phones_command(const char *line)
{
    double at = now();
    long n = 0;

    if (!strcmp(line, "open")) {
        next_one = 0;
        wanted = nconns;
    } else if (!strcmp(line, "again")) {
        answered = 0;
        for (int i = 0; i < nconns; i++) {
            if (conns[i].state != RESTING) continue;
            conns[i].sent = 0;
            set_state(&conns[i], AT_WORK);
            drive(&conns[i]);
        }
    } else if (!strncmp(line, "leave", 5)) {
        long most = line[5] ? atol(line + 5) : nconns;
        for (int i = 0; i < nconns && n < most; i++) {
            if (conns[i].state == CLOSED) continue;
            conn_close(&conns[i]);
            n++;
        }
        wanted = 0;
    }
    printf("{\"at\": %.6f, \"left\": %ld, \"held\": %ld, \"working\": %d, \"to_open\": %d, \"answered\": %ld, \"last\": %.6f, \"bad\": %ld, "
           "\"cut\": %ld, \"closed\": %ld}\n", at, n, held, working, wanted - next_one > 0 ? wanted - next_one : 0, answered, last_answer, bad,
           cut, gone);
}

static void phones_start(void)
{
    if (opt.ca) {
        tls = SSL_CTX_new(TLS_client_method());
        if (!tls || SSL_CTX_load_verify_locations(tls, opt.ca, NULL) != 1) die(opt.ca);
        SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    }
    nconns = opt.count;
    conns = calloc((size_t)nconns, sizeof *conns);
    if (!conns) die("memory");
    for (int i = 0; i < nconns; i++) conns[i].number = opt.first + i;
}

/* ---- both */

static void options(int argc, char **argv)
{
    for (int i = 2; i + 1 < argc; i += 2) {
        const char *v = argv[i + 1];
        size_t used = strlen(headers);

        if (!strcmp(argv[i], "--connect") || !strcmp(argv[i], "--listen")) {
            char *host = strdup(v), *colon = host ? strrchr(host, ':') : NULL;
            if (!colon) die(v);
            *colon = 0;
            opt.host = host;
            opt.port = atoi(colon + 1);
        } else if (!strcmp(argv[i], "--ca")) opt.ca = v;
        else if (!strcmp(argv[i], "--query")) opt.query = v;
        else if (!strcmp(argv[i], "--source")) opt.source = v;
        else if (!strcmp(argv[i], "--count")) opt.count = atoi(v);
        else if (!strcmp(argv[i], "--first")) opt.first = atoi(v);
        else if (!strcmp(argv[i], "--busy")) opt.busy = atoi(v);
        else if (!strcmp(argv[i], "--header")) {
            if ((size_t)snprintf(headers + used, sizeof headers - used, "%s\r\n", v) >= sizeof headers - used) die(v);
        } else die(argv[i]);
    }
}

/* False at the end of input. */
static int commands(void (*command)(const char *))
{
    static char text[4096];
    static size_t used;
    ssize_t n = read(0, text + used, sizeof text - 1 - used);
    char *end;

    if (n <= 0) return n < 0 && errno == EAGAIN;
    used += (size_t)n;
    text[used] = 0;
    while ((end = strchr(text, '\n'))) {
        *end = 0;
        command(text);
        fflush(stdout);
        used -= (size_t)(end + 1 - text);
        memmove(text, end + 1, used + 1);
    }
    return 1;
}

int main(int argc, char **argv)
{
    struct epoll_event events[512];
    int server = argc > 1 && !strcmp(argv[1], "server"), input;

    options(argc, argv);
    if (!opt.port || (!server && (!opt.count || !opt.query || !strchr(opt.query, '@')))) die("options");
    signal(SIGPIPE, SIG_IGN);
    epfd = epoll_create1(0);
    server ? server_start() : phones_start();
    fcntl(0, F_SETFL, O_NONBLOCK);
    watch(0, &input, EPOLLIN);
    for (;;) {
        int n = epoll_wait(epfd, events, 512, -1);
        for (int i = 0; i < n; i++) {
            void *what = events[i].data.ptr;
            if (what == &input) {
                if (!commands(server ? server_command : phones_command)) return 0;
            } else if (what == &listener) accept_all();
            else if (((conn_t *)what)->state != CLOSED) (server ? serve : drive)(what);
        }
        if (!server) phones_work();
    }
}
