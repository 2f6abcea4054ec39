/* Handler "mdm-device": check-in and connect over HTTP (facts 3.1). */
#include <string.h>

#include <apr_strings.h>
#include <http_protocol.h>

#include "base/mdm_text.h"
#include "domain/mdm_apple.h"
#include "ios.h"

#define CHECKIN_TYPE "application/x-apple-aspen-mdm-checkin"
#define CONNECT_TYPE "application/x-apple-aspen-mdm"
#define CHECKIN_LIMIT (1024 * 1024)
#define CONNECT_LIMIT (8 * 1024 * 1024) /* lists of apps and certificates */
#define RETRY_S "30"
#define LOGIN_AGAIN "/enroll/account/again/login"
#define HEAD_LIMIT (64 * 1024)          /* kept of an answer that is too long: it names its command there */
#define WASTE_LIMIT (64 * 1024 * 1024)  /* so much of it is read and thrown away, so that the device sees what we say */

typedef apr_status_t (*engine_fn)(mdm_ctx_t *ctx, const mdm_apple_who_t *who, const mdm_blob_t *body, mdm_apple_answer_t **out);

typedef struct endpoint_t {
    engine_fn engine;
    engine_fn too_long; /* what to do with more than the limit, given its head; NULL: 413 */
    apr_size_t limit;
    const char *id; /* of the log line when it refuses */
} endpoint_t;

static const endpoint_t checkin = {mdm_apple_checkin, NULL, CHECKIN_LIMIT, "MDM0410"};
static const endpoint_t polling = {mdm_apple_connect, mdm_apple_connect_long, CONNECT_LIMIT, "MDM0411"};

static int type_is(const char *type, const char *want)
{
    apr_size_t n = strlen(want);

    return type && !strncasecmp(type, want, n) && (!type[n] || type[n] == ';' || type[n] == ' ');
}

static int ends_with(const char *s, const char *end)
{
    apr_size_t n = strlen(s), m = strlen(end);

    return n >= m && !strcmp(s + n - m, end);
}

/* One URL or two: the content type says which; some clients send none on polls. */
static const endpoint_t *endpoint(request_rec *r)
{
    const char *type = apr_table_get(r->headers_in, "Content-Type");

    if (type_is(type, CHECKIN_TYPE)) {
        return &checkin;
    }
    if (type_is(type, CONNECT_TYPE)) {
        return &polling;
    }
    if (type && *type) {
        return NULL;
    }
    return ends_with(r->uri, "/checkin") ? &checkin : &polling;
}

static void note(request_rec *r, const mdm_apple_answer_t *a)
{
    if (a->device_id) {
        apr_table_setn(r->notes, "mdm-device", a->device_id);
    }
    if (a->action && *a->action) {
        apr_table_setn(r->notes, "mdm-action", mdm_clean(r->pool, a->action, 40));
    }
    if (a->decision && *a->decision) {
        apr_table_setn(r->notes, "mdm-decision", a->decision);
    }
}

static int refuse(request_rec *r, mdm_ctx_t *ctx, const char *id, apr_status_t rv)
{
    apr_table_setn(r->notes, "mdm-decision", "refused");
    return mdm_web_device_fail(r, ctx, id, rv);
}

/* While the database is known to be away, and on a node without the MDM role, nothing is read or tried; the state was logged when it began. */
static int away(request_rec *r, const char *why)
{
    apr_table_setn(r->headers_out, "Retry-After", RETRY_S);
    apr_table_setn(r->notes, "mdm-decision", why);
    return mdm_web_empty(r, HTTP_SERVICE_UNAVAILABLE);
}

static void name_actor(request_rec *r, mdm_ctx_t *ctx, const mdm_devrec_t *rec)
{
    static const unsigned char none[16];

    ctx->actor.kind = "device";
    if (memcmp(rec->device, none, sizeof none)) {
        ctx->actor.id = mdm_uuid_text(r->pool, rec->device);
        apr_table_setn(r->notes, "mdm-device", ctx->actor.id);
    }
}

/* *longer: the body is longer than the endpoint takes, but the identity is proved without it; it holds what was read. */
static apr_status_t read_and_prove(request_rec *r, mdm_ctx_t *ctx, const endpoint_t *e, mdm_blob_t *body, ios_identity_t id[2], int *two,
                                   int *longer)
{
    apr_status_t rv = ios_identity(r, ctx, NULL, &id[0], &id[1], two); /* before a byte of the body is read (R09, R10) */
    apr_status_t read;

    if (rv != APR_SUCCESS && rv != APR_INCOMPLETE) {
        return APR_STATUS_IS_NOTFOUND(rv) ? MDM_EIDENTITY : rv;
    }
    read = mdm_web_body(r, e->limit, body);
    *longer = read == MDM_ETOOBIG && rv == APR_SUCCESS && e->too_long;
    if (read != APR_SUCCESS && !*longer) {
        return mdm_fail(ctx, read, NULL, read == MDM_ETOOBIG ? "The message is too long." : "The message was cut off.");
    }
    return rv == APR_INCOMPLETE ? ios_identity(r, ctx, body, &id[0], &id[1], two) : rv;
}

/* Two channels with two certificates: right only while a device changes from one to the other, on a connection that is still open. */
static apr_status_t agree(const mdm_services_t *svc, mdm_ctx_t *ctx, const mdm_devrec_t *rec, const ios_identity_t *other)
{
    mdm_devrec_t also;
    apr_status_t rv = svc->device_by_cert(ctx, other->sha256, &also);

    if (rv == APR_SUCCESS && (also.flags & rec->flags & MDM_DEVF_LINKED) && !(also.flags & MDM_DEVF_REVOKED)
        && !memcmp(also.record, rec->record, sizeof also.record)) {
        return APR_SUCCESS;
    }
    return rv == APR_SUCCESS || APR_STATUS_IS_NOTFOUND(rv)
               ? mdm_fail(ctx, MDM_EIDENTITY, NULL, "The request brings the identities of two devices.") : rv;
}

static int answer(request_rec *r, const mdm_services_t *svc, mdm_ctx_t *ctx, const endpoint_t *e)
{
    ios_identity_t id[2];
    mdm_blob_t body;
    mdm_devrec_t rec;
    int two, longer;
    mdm_apple_who_t who = {NULL, &rec, mdm_web_bearer(r), svc->device_is_native, svc->device_by_udid};
    mdm_apple_answer_t *a = NULL;
    apr_status_t rv = read_and_prove(r, ctx, e, &body, id, &two, &longer);

    if (rv == APR_SUCCESS) {
        rv = svc->device_by_cert(ctx, id[0].sha256, &rec);
        if (APR_STATUS_IS_NOTFOUND(rv)) {
            rv = mdm_fail(ctx, MDM_EIDENTITY, NULL, "The certificate was not issued by this server.");
        }
    }
    if (rv == APR_SUCCESS && two) {
        rv = agree(svc, ctx, &rec, &id[1]);
    }
    if (rv == MDM_ETHROTTLED) { /* of a flood nothing is logged but the requests */
        return away(r, "too many unknown certificates");
    }
    if (rv != APR_SUCCESS) {
        return refuse(r, ctx, e->id, rv);
    }
    name_actor(r, ctx, &rec);
    who.fingerprint = id[0].hex;
    if (longer) { /* only of a device that we know is anything thrown away for its sake */
        mdm_web_body_waste(r, HEAD_LIMIT, WASTE_LIMIT, &body);
    }
    rv = (longer ? e->too_long : e->engine)(ctx, &who, &body, &a);
    if (a) {
        note(r, a);
    }
    if (rv != APR_SUCCESS) {
        return refuse(r, ctx, e->id, rv);
    }
    if ((rec.flags & MDM_DEVF_LINKED) && !(rec.flags & MDM_DEVF_REVOKED)) {
        svc->device_contact(ctx, &rec, r->useragent_ip, r->connection->client_ip);
    }
    if (a->wake) {
        svc->job_wake();
    }
    if (a->status == HTTP_UNAUTHORIZED) { /* the one case of 401 here: of account-driven enrolments (IOS-08) */
        apr_table_setn(r->headers_out, "WWW-Authenticate",
                       apr_pstrcat(r->pool, "Bearer method=\"apple-as-web\", url=\"", svc->public_url(r->server), LOGIN_AGAIN "\"", NULL));
    }
    return mdm_web_bytes(r, a->status, a->type, a->body.data, a->body.len);
}

int ios_device_handler(request_rec *r, const mdm_services_t *svc)
{
    const endpoint_t *e;
    mdm_ctx_t *ctx;

    if (r->method_number != M_PUT) {
        return mdm_web_method_not_allowed(r, "PUT");
    }
    if (svc->db_away() || !svc->mdm_role()) {
        return away(r, svc->db_away() ? "database away" : "no MDM role");
    }
    ctx = svc->request_ctx(r);
    e = endpoint(r);
    if (!e) {
        mdm_fail(ctx, MDM_EINPUT, "Content-Type", "The content type is not one of Apple's protocol.");
        return refuse(r, ctx, "MDM0412", MDM_EINPUT);
    }
    return answer(r, svc, ctx, e);
}
