/* The steps that every connection test begins with. */
#include "wire/mdm_probe.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <apr_network_io.h>
#include <apr_strings.h>
#include "wire/mdm_x509.h"

/* ---------------------------------------------------------------- addresses */

static int v4_local(apr_uint32_t a)
{
    static const struct {
        apr_uint32_t net, mask;
    } nets[] = {
        {0x00000000, 0xff000000}, /* this host */
        {0x7f000000, 0xff000000}, /* loopback */
        {0xa9fe0000, 0xffff0000}, /* link-local, with the usual metadata address */
        {0x646464c8, 0xffffffff}, /* a cloud's metadata address, 100.100.100.200 */
        {0xe0000000, 0xe0000000}, /* multicast, reserved, broadcast */
    };
    unsigned i;

    for (i = 0; i < sizeof(nets) / sizeof(nets[0]); i++) {
        if ((a & nets[i].mask) == nets[i].net)
            return 1;
    }
    return 0;
}

/* The IPv4 address that an IPv6 one hides; NULL: none. */
static const unsigned char *v4_in(const unsigned char *a)
{
    static const unsigned char zero[16];
    static const unsigned char nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    if (memcmp(a, zero, 12) == 0 || memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0)
        return a + 12; /* ::, ::1 and the old form ::a.b.c.d fall into 0.0.0.0/8 or are judged as IPv4 */
    return a[0] == 0x20 && a[1] == 0x02 ? a + 2 : NULL; /* 6to4 */
}

static apr_uint32_t v4_of(const unsigned char *a)
{
    return (apr_uint32_t)a[0] << 24 | (apr_uint32_t)a[1] << 16 | (apr_uint32_t)a[2] << 8 | a[3];
}

static int v6_local(const unsigned char *a)
{
    static const unsigned char metadata[16] = {0xfd, 0x00, 0x0e, 0xc2, 0, 0, 0, 0,
                                               0,    0,    0,    0,    0, 0, 0x02, 0x54};
    const unsigned char *v4 = v4_in(a);

    if (v4)
        return v4_local(v4_of(v4));
    return a[0] == 0xff || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80) || memcmp(a, metadata, 16) == 0;
}

static int v4_private(apr_uint32_t a)
{
    static const struct {
        apr_uint32_t net, mask;
    } nets[] = {{0x0a000000, 0xff000000}, {0xac100000, 0xfff00000}, {0xc0a80000, 0xffff0000}, {0x64400000, 0xffc00000}, {0xc6120000, 0xfffe0000}};

    for (unsigned i = 0; i < sizeof(nets) / sizeof(nets[0]); i++) {
        if ((a & nets[i].mask) == nets[i].net)
            return 1;
    }
    return v4_local(a);
}

int mdm_addr_local(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET)
        return v4_local(ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr));
    if (sa->sa_family == AF_INET6)
        return v6_local(((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr.s6_addr);
    return 1;
}

int mdm_addr_private(const struct sockaddr *sa)
{
    const unsigned char *a, *v4;

    if (sa->sa_family == AF_INET)
        return v4_private(ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr));
    if (sa->sa_family != AF_INET6)
        return 1;
    a = ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr.s6_addr;
    v4 = v4_in(a);
    return v4 ? v4_private(v4_of(v4)) : (a[0] & 0xfe) == 0xfc || (a[0] == 0xfe && (a[1] & 0xc0) == 0xc0) || v6_local(a);
}

int mdm_addr_refused(const mdm_ctx_t *ctx, const struct sockaddr *sa)
{
    return !(ctx->env && ctx->env->outbound_local) && mdm_addr_local(sa);
}

/* ---------------------------------------------------------------- steps */

static void put_step(mdm_probe_t *p, const char *name, int ok, const char *text, json_t *certificate)
{
    apr_time_t now = apr_time_now();
    json_t *step = json_pack("{s:s, s:b, s:I, s:s}", "step", name, "ok", ok, "ms", (json_int_t)apr_time_as_msec(now - p->began), "text",
                             mdm_clean(p->ctx->pool, text, 1000));

    if (certificate) {
        json_object_set_new(step, "certificate", certificate);
    }
    json_array_append_new(p->steps, step);
    if (p->told) {
        p->told(p->baton, step);
    }
    p->began = apr_time_now();
}

void mdm_probe_step(mdm_probe_t *p, const char *name, int ok, const char *text)
{
    put_step(p, name, ok, text, NULL);
}

void mdm_probe_tls(mdm_probe_t *p, mdm_blob_t der, int ok, const char *text)
{
    mdm_ctx_t *ctx = p->ctx;
    json_t *certificate = NULL;
    mdm_certinfo_t info;
    mdm_cert_t *cert;

    if (der.data && mdm_cert_from_der(ctx, der.data, der.len, &cert) == APR_SUCCESS && mdm_cert_info(ctx, cert, &info) == APR_SUCCESS) {
        certificate = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "subject", mdm_clean(ctx->pool, info.subject, 500), "issuer",
                                mdm_clean(ctx->pool, info.issuer, 500), "not_before", mdm_time_text(ctx->pool, info.not_before_ms),
                                "not_after", mdm_time_text(ctx->pool, info.not_after_ms), "sha256", info.fingerprint, "accepted", ok);
    }
    put_step(p, "tls", ok, text, certificate);
}

static int reach_one(const struct addrinfo *ai, int timeout_ms)
{
    int err = 0, s = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pollfd p = {s, POLLOUT, 0};
    socklen_t len = sizeof(err);

    if (s < 0) {
        return errno;
    }
    if (connect(s, ai->ai_addr, ai->ai_addrlen) != 0 && (err = errno) == EINPROGRESS) {
        if (poll(&p, 1, timeout_ms) != 1) {
            err = ETIMEDOUT;
        }
        else if (getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &len) != 0) {
            err = errno;
        }
    }
    close(s);
    return err;
}

/* The first address that may be asked; NULL: none. */
static const struct addrinfo *allowed(const mdm_probe_t *p, const struct addrinfo *ai)
{
    while (ai && (mdm_addr_refused(p->ctx, ai->ai_addr) || (p->may && !p->may(p->may_baton, ai->ai_addr)))) {
        ai = ai->ai_next;
    }
    return ai;
}

static const struct addrinfo *resolve(mdm_probe_t *p, const char *host, int port, struct addrinfo **found)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char text[NI_MAXHOST] = "";
    int rc;
    const struct addrinfo *ai;

    *found = NULL;
    rc = getaddrinfo(host, apr_itoa(p->ctx->pool, port), &hints, found);
    ai = rc ? NULL : allowed(p, *found);
    if (ai) {
        getnameinfo(ai->ai_addr, ai->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST);
    }
    mdm_probe_step(p, "dns", ai != NULL, rc ? gai_strerror(rc) : ai ? text : p->may ? p->may_words : MDM_ADDR_REFUSED);
    return ai;
}

int mdm_probe_reach(mdm_probe_t *p, const char *host, int port, int timeout_ms)
{
    struct addrinfo *found;
    const struct addrinfo *ai;
    int err = EHOSTUNREACH, tries;
    char text[120];

    p->began = apr_time_now();
    ai = resolve(p, host, port, &found);
    if (ai) {
        for (tries = 0; ai && err && tries < 4; ai = allowed(p, ai->ai_next), tries++) {
            err = reach_one(ai, timeout_ms);
        }
        apr_strerror(APR_FROM_OS_ERROR(err), text, sizeof(text));
        mdm_probe_step(p, "tcp", !err, err ? text : apr_psprintf(p->ctx->pool, "port %d", port));
    }
    if (found) {
        freeaddrinfo(found);
    }
    return !err;
}
