/* The HTTP client against hostile and broken servers (REL-04, SEC-08, R36, R37). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>
#include <apr_strings.h>
#include "wire/mdm_http.h"

static apr_pool_t *pool;
static mdm_ctx_t *ctx;
static mdm_env_t env;
static apr_time_t now;
static int port;
static pid_t server;

/* ---- a small bad server */

static void say(int fd, const char *s)
{
    if (send(fd, s, strlen(s), MSG_NOSIGNAL) < 0)
        _exit(0);
}

static void say_many(int fd, const char *s, int n)
{
    while (n-- > 0)
        say(fd, s);
}

static void serve_echo(int fd, const char *request)
{
    char head[128];

    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", strlen(request));
    say(fd, head);
    say(fd, request);
}

static void serve(int fd)
{
    char buf[8192] = "", path[64] = "";
    ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);
    static const char kb[] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    if (n <= 0 || sscanf(buf, "%*s %63s", path) != 1)
        return;
    buf[n] = '\0';
    if (strcmp(path, "/ok") == 0)
        say(fd, "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 201 Created\r\nX-Thing: a\x01 b\r\n"
                "Content-Length: 5\r\n\r\nhello");
    else if (strcmp(path, "/echo") == 0)
        serve_echo(fd, buf);
    else if (strcmp(path, "/redirect") == 0)
        say(fd, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n");
    else if (strcmp(path, "/big") == 0)
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n");
    else if (strcmp(path, "/stream") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        say_many(fd, kb, 50000);
    } else if (strcmp(path, "/headers") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\n");
        say_many(fd, "X-A: b\r\n", 5000);
    } else if (strcmp(path, "/half") == 0)
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    else if (strcmp(path, "/garbage") == 0)
        say(fd, "\x16\x03\x01 what is this\r\n\r\n");
    else if (strcmp(path, "/empty") == 0)
        return;
    else
        pause(); /* hangs */
}

static void serve_all(int listener)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0)
            _exit(0);
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            serve(fd);
            shutdown(fd, SHUT_WR);
            _exit(0);
        }
        close(fd);
    }
}

/* A bound socket of the loopback address; *got is its port. */
static int bound(int *got)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *got = ntohs(a.sin_port);
    return fd;
}

static pid_t start(int fd)
{
    pid_t pid;

    assert_int_equal(listen(fd, 64), 0);
    pid = fork();
    if (pid == 0)
        serve_all(fd);
    close(fd);
    return pid;
}

/* ---- the tests */

static apr_time_t test_clock(void *baton)
{
    return now;
}

static int setup(void **state)
{
    apr_pool_create(&pool, NULL);
    memset(&env, 0, sizeof(env));
    now = apr_time_now();
    env.clock = test_clock;
    ctx = mdm_ctx_make(pool, &env, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    apr_pool_destroy(pool);
    return 0;
}

static mdm_http_t *client(int deny_local)
{
    mdm_http_conf_t conf = {.deny_local = deny_local, .max_parallel = 8};
    mdm_http_t *h;

    assert_int_equal(mdm_http_make(ctx, pool, &conf, &h), APR_SUCCESS);
    return h;
}

static mdm_http_req_t *request(const char *path)
{
    mdm_http_req_t *r = apr_pcalloc(pool, sizeof(*r));

    r->url = *path == '/' ? apr_psprintf(pool, "http://127.0.0.1:%d%s", port, path) : path;
    r->timeout_ms = 60000;
    return r;
}

static void run_one(mdm_http_t *h, mdm_http_req_t *r)
{
    assert_int_equal(mdm_http_run(ctx, h, &r, 1, NULL), APR_SUCCESS);
}

static void test_answer(void **state)
{
    mdm_http_req_t *r = request("/ok");

    run_one(client(0), r);
    assert_int_equal(r->rv, APR_SUCCESS);
    assert_int_equal(r->status, 201);
    assert_string_equal((const char *)r->response.data, "hello");
    assert_int_equal(r->response.len, 5);
    assert_string_equal(apr_table_get(r->response_headers, "x-thing"), "a b");
    assert_null(apr_table_get(r->response_headers, "x-early"));
}

static void test_what_is_sent(void **state)
{
    mdm_http_req_t *r = request("/echo");
    apr_table_t *t = apr_table_make(pool, 2);
    const char *sent;

    apr_table_set(t, "X-Topic", "a b");
    apr_table_set(t, "X-Empty", "");
    r->headers = t;
    r->method = "PUT";
    r->body = "body!";
    r->body_len = 5;
    run_one(client(0), r);
    assert_int_equal(r->rv, APR_SUCCESS);
    sent = (const char *)r->response.data;
    assert_int_equal(strncmp(sent, "PUT /echo HTTP/1.1\r\n", 20), 0);
    assert_non_null(strstr(sent, "\r\nX-Topic: a b\r\n"));
    assert_non_null(strstr(sent, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(sent, "Content-Length: 5\r\n"));
    assert_null(strstr(sent, "Expect"));
    assert_null(strstr(sent, "Content-Type"));
}

static void test_no_redirect(void **state)
{
    mdm_http_req_t *r = request("/redirect");

    run_one(client(0), r);
    assert_int_equal(r->rv, APR_SUCCESS);
    assert_int_equal(r->status, 302);
}

static void test_header_injection_sec05(void **state)
{
    static const char *const bad[][2] = {
        {"X-A", "a\r\nX-B: c"}, {"X-A", "a\nb"}, {"X-A\r\nX-B", "c"}, {"", "c"}, {"X A", "c"}, {"X:", "c"}};
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mdm_http_req_t *r = request("/echo");
        apr_table_t *t = apr_table_make(pool, 1);

        apr_table_set(t, bad[i][0], bad[i][1]);
        r->headers = t;
        run_one(client(0), r);
        assert_int_equal(r->rv, MDM_EINPUT);
    }
}

static void test_bad_urls(void **state)
{
    static const char *const bad[] = {"file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "x", "",
                                      "http://", "http://user:pw@127.0.0.1/", "http://127.0.0.1/\r\nX: y",
                                      "http://127.0.0.1:99999/"};
    mdm_http_t *h = client(0);
    mdm_http_req_t *r;
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        r = request(bad[i]);
        run_one(h, r);
        if (r->rv != MDM_EINPUT)
            fail_msg("%s", bad[i]);
    }
    r = request("/ok");
    r->url = NULL;
    run_one(h, r);
    assert_int_equal(r->rv, MDM_EINPUT);
    r = request("/ok");
    r->method = "GET / HTTP/1.1\r\nX: y";
    run_one(h, r);
    assert_int_equal(r->rv, MDM_EINPUT);
}

static void test_broken_servers_rel04(void **state)
{
    static const struct {
        const char *path, *error;
        apr_status_t rv;
    } rows[] = {
        {"/big", "too big", MDM_ETOOBIG},      {"/stream", "too big", MDM_ETOOBIG},
        {"/headers", "too big", MDM_ETOOBIG},  {"/half", "protocol", MDM_EUNAVAIL},
        {"/garbage", "protocol", MDM_EUNAVAIL}, {"/empty", "reset", MDM_EUNAVAIL},
    };
    mdm_http_t *h = client(0);
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mdm_http_req_t *r = request(rows[i].path);

        run_one(h, r);
        if (r->rv != rows[i].rv || strcmp(r->error, rows[i].error) != 0)
            fail_msg("%s: %d %s", rows[i].path, r->rv, r->error);
        assert_int_equal(r->response.len, 0);
    }
}

static void test_hanging_one_does_not_stop_others_rel04(void **state)
{
    mdm_http_req_t *reqs[20];
    int i;

    for (i = 0; i < 20; i++)
        reqs[i] = request(i == 3 ? "/hang" : "/ok");
    reqs[3]->timeout_ms = 400;
    assert_int_equal(mdm_http_run(ctx, client(0), reqs, 20, NULL), APR_SUCCESS);
    for (i = 0; i < 20; i++) {
        assert_int_equal(reqs[i]->rv, i == 3 ? MDM_EUNAVAIL : APR_SUCCESS);
        assert_int_equal(reqs[i]->status, i == 3 ? 0 : 201);
    }
    assert_string_equal(reqs[3]->error, "timeout");
}

static void test_stop(void **state)
{
    mdm_http_req_t *reqs[2] = {request("/hang"), request("/hang")};
    volatile int stop = 1;

    assert_int_equal(mdm_http_run(ctx, client(0), reqs, 2, &stop), APR_EINTR);
    assert_int_equal(reqs[0]->rv, APR_EINTR);
    assert_int_equal(reqs[1]->rv, APR_EINTR);
}

static void test_local_addresses_sec08(void **state)
{
    static const char *const urls[] = {
        "http://127.0.0.1:%d/ok", "http://localhost:%d/ok", "http://[::1]:%d/ok", "http://127.1:%d/ok",
        "http://0x7f000001:%d/ok", "http://[::ffff:127.0.0.1]:%d/ok", "http://0.0.0.0:%d/ok",
        "http://169.254.169.254:%d/", "http://[fe80::1]:%d/", "http://[::]:%d/",
        "http://[64:ff9b::7f00:1]:%d/", "http://[2002:7f00:1::]:%d/", "http://[fd00:ec2::254]:%d/",
        "http://100.100.100.200:%d/", "http://224.0.0.1:%d/", "http://255.255.255.255:%d/"};
    mdm_http_t *h = client(1);
    unsigned i;

    for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        mdm_http_req_t *r = request(apr_psprintf(pool, urls[i], port));

        run_one(h, r);
        if (r->rv != MDM_EDENIED)
            fail_msg("%s: %d %s", r->url, r->rv, r->error);
    }
}

static void check_refused(mdm_http_t *h, int to, const char *error)
{
    mdm_http_req_t *r = request(apr_psprintf(pool, "http://127.0.0.1:%d/ok", to));

    run_one(h, r);
    assert_int_equal(r->rv, MDM_EUNAVAIL);
    assert_string_equal(r->error, error);
}

static void test_breaker_r36(void **state)
{
    mdm_http_t *h = client(0);
    mdm_http_req_t *reqs[3], *other;
    int closed, fd = bound(&closed), i;
    pid_t pid;

    for (i = 0; i < 5; i++)
        check_refused(h, closed, "connect");
    check_refused(h, closed, "breaker open");
    /* another target is not concerned */
    other = request("/ok");
    run_one(h, other);
    assert_int_equal(other->rv, APR_SUCCESS);
    /* after the pause one is let through, and the pause doubles */
    now += apr_time_from_msec(1300);
    check_refused(h, closed, "connect");
    now += apr_time_from_msec(1300);
    check_refused(h, closed, "breaker open");
    now += apr_time_from_msec(1300);
    pid = start(fd);
    for (i = 0; i < 3; i++)
        reqs[i] = request(apr_psprintf(pool, "http://127.0.0.1:%d/ok", closed));
    assert_int_equal(mdm_http_run(ctx, h, reqs, 3, NULL), APR_SUCCESS);
    assert_int_equal(reqs[0]->rv, APR_SUCCESS);
    assert_string_equal(reqs[1]->error, "breaker open");
    /* an answer closes it */
    assert_int_equal(mdm_http_run(ctx, h, reqs, 3, NULL), APR_SUCCESS);
    assert_int_equal(reqs[2]->rv, APR_SUCCESS);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void test_unknown_name(void **state)
{
    mdm_http_req_t *r = request("http://nothing.invalid/");

    run_one(client(0), r);
    assert_int_equal(r->rv, MDM_EUNAVAIL);
    assert_string_equal(r->error, "dns");
}

static void test_tls_to_a_plain_server(void **state)
{
    mdm_http_req_t *r = request(apr_psprintf(pool, "https://127.0.0.1:%d/garbage", port));

    run_one(client(0), r);
    assert_int_equal(r->rv, MDM_EUNAVAIL);
    assert_non_null(r->error);
}

static void test_http2_is_required(void **state)
{
    mdm_http_conf_t conf = {.http2 = 1};
    mdm_http_req_t *r = request("/ok");
    mdm_http_t *h;

    assert_int_equal(mdm_http_make(ctx, pool, &conf, &h), APR_SUCCESS);
    run_one(h, r);
    assert_int_equal(r->rv, MDM_EUNAVAIL);
    assert_string_equal(r->error, "protocol");
}

static void test_backoff_saturates_r36(void **state)
{
    apr_int64_t lo = APR_INT64_MAX, hi = 0;
    int i;

    for (i = 0; i < 10000; i++) {
        apr_int64_t d = mdm_backoff_ms(i, 1000, 300000);

        assert_true(d >= 750 && d <= 375000);
        if (i >= 9)
            assert_true(d >= 225000);
        d = mdm_backoff_ms(0, 1000, 300000);
        lo = d < lo ? d : lo;
        hi = d > hi ? d : hi;
    }
    assert_true(lo < 800 && hi > 1200 && lo >= 750 && hi <= 1250);
    assert_true(mdm_backoff_ms(-5, 0, 0) >= 1);
    assert_true(mdm_backoff_ms(0x7fffffff, APR_INT64_MAX, APR_INT64_MAX / 2) > 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_answer), T(test_what_is_sent), T(test_no_redirect), T(test_header_injection_sec05),
        T(test_bad_urls), T(test_broken_servers_rel04), T(test_hanging_one_does_not_stop_others_rel04),
        T(test_stop), T(test_local_addresses_sec08), T(test_breaker_r36), T(test_unknown_name),
        T(test_tls_to_a_plain_server), T(test_http2_is_required), T(test_backoff_saturates_r36)};
    int rc, fd;

    apr_initialize();
    fd = bound(&port);
    server = start(fd);
    mdm_http_global_init();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    apr_terminate();
    return rc;
}
