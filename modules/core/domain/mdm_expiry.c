#include "domain/mdm_expiry.h"

#include <string.h>
#include <apr_strings.h>
#include <apr_uri.h>

#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_notice.h"
#include "domain/mdm_push_cert.h"
#include "domain/mdm_said.h"
#include "mdm_sql_gen.h"
#include "wire/mdm_http.h"
#include "wire/mdm_x509.h"

#define DAY_MS (86400 * 1000LL)
#define URGENT 7     /* days: from then on it is an error */
#define BATCH 200

/* What is known of one thing that ends. */
typedef struct ending_t {
    const char *name, *serial, *detail; /* another serial begins anew */
    apr_int64_t until_ms;
} ending_t;

typedef struct run_t {
    mdm_ctx_t *ctx;
    mdm_db_t *db;
    const ending_t *tls; /* NULL: not known */
} run_t;

/* Something that ends. */
typedef struct thing_t {
    const char *id;     /* the object of its messages; "<id>.warned" keeps what was told */
    const int *marks;   /* days before the end, falling, the last one 0 */
    const char *event, *code, *action;
    const char *ending, *ended; /* words: until, days, name */
    apr_status_t (*read)(run_t *r, const char *id, ending_t *out); /* APR_NOTFOUND: there is none */
} thing_t;

/* ---------------------------------------------------------------- what there is */

static ending_t of_info(const mdm_certinfo_t *i)
{
    return (ending_t){i->cn ? i->cn : i->subject, i->serial, i->uid ? i->uid : "", i->not_after_ms};
}

static apr_status_t of_cert(run_t *r, const mdm_cert_t *cert, ending_t *out)
{
    mdm_certinfo_t i;
    apr_status_t rv = mdm_cert_info(r->ctx, cert, &i);

    if (rv == APR_SUCCESS) {
        *out = of_info(&i);
    }
    return rv;
}

static apr_status_t read_push(run_t *r, const char *id, ending_t *out)
{
    mdm_certinfo_t i;
    apr_status_t rv = mdm_push_cert_info(r->db, &i);

    if (rv == APR_SUCCESS) {
        *out = of_info(&i);
    }
    return rv;
}

/* Authority, its helper for SCEP and the signer of profiles, by their kind. The helpers are renewed by themselves, long before. */
static apr_status_t read_ca(run_t *r, const char *id, ending_t *out)
{
    mdm_q_ca_find_t *row;
    mdm_cert_t *cert;
    apr_status_t rv = mdm_q_ca_find(r->db, id, &row);

    if (rv == APR_SUCCESS) {
        rv = mdm_cert_from_pem(r->ctx, row->certificate, &cert);
    }
    return rv == APR_SUCCESS ? of_cert(r, cert, out) : rv;
}

static apr_status_t read_tls(run_t *r, const char *id, ending_t *out)
{
    if (!r->tls) {
        return APR_NOTFOUND;
    }
    *out = *r->tls;
    return APR_SUCCESS;
}

static const int push_marks[] = {30, 14, 7, 1, 0}, marks[] = {30, 7, 1, 0};

#define CERTIFICATE "certificate_expiring", "certificate.expiring", "certificate.expiring", "said_certificate_ending", "said_certificate_ended"

static const thing_t things[] = {
    {"apns", push_marks, "push_expiring", "push.expiring", "push_certificate.expiring", "said_push_ending", "said_push_ended", read_push},
    {"ca", marks, CERTIFICATE, read_ca},
    {"ra", marks, CERTIFICATE, read_ca},
    {"profile", marks, CERTIFICATE, read_ca},
    {"tls", marks, CERTIFICATE, read_tls}};

/* ---------------------------------------------------------------- telling */

/* Days that are left, rounded up; 0 or less: over. */
static int days_left(apr_int64_t now, apr_int64_t until)
{
    return (int)((until - now + (until > now ? DAY_MS - 1 : 0)) / DAY_MS);
}

/* The mark that has been passed; -1: none yet. */
static int mark(const thing_t *t, int days)
{
    int passed = -1;

    for (const int *m = t->marks; days <= *m; m++) {
        passed = *m;
        if (!*m) {
            break;
        }
    }
    return passed;
}

static const char *setting(run_t *r, const thing_t *t)
{
    return apr_pstrcat(r->ctx->pool, t->id, ".warned", NULL);
}

/* *told: the mark that was told of this very one; -1: none. APR_NOTFOUND: nothing was ever told. */
static apr_status_t last_told(run_t *r, const thing_t *t, const ending_t *e, int *told)
{
    const char *of = NULL;
    int at = 0;
    json_t *j;
    apr_status_t rv = mdm_setting_get(r->db, setting(r, t), &j);

    *told = rv == APR_SUCCESS && json_unpack(j, "{s:s, s:i}", "serial", &of, "mark", &at) == 0 && !strcmp(of, e->serial) ? at : -1;
    return rv;
}

static apr_status_t tell(run_t *r, const thing_t *t, const ending_t *e, int days, int now)
{
    mdm_ctx_t *ctx = r->ctx;
    const char *until = mdm_time_text(ctx->pool, e->until_ms), *left = apr_itoa(ctx->pool, days > 0 ? days : 0);
    json_t *detail = mdm_json_own(ctx, json_pack("{s:s, s:i, s:s}", "until", until, "days", days, "name", e->name));
    json_t *note = mdm_json_own(ctx, json_pack("{s:s, s:i}", "serial", e->serial, "mark", now));
    const mdm_notice_t told = {.event = t->event, .key = apr_pstrcat(ctx->pool, t->event, ":", t->id, NULL), .vars = mdm_json_own(ctx,
        json_pack("{s:o, s:s, s:s}", "date", json_sprintf("%.10s", until), "days", left, "certificate.name", e->name))};
    apr_status_t rv = mdm_message(r->db, "zone", t->id, now > URGENT ? MDM_MSG_WARNING : MDM_MSG_ERROR, t->code,
                                  mdm_said(ctx->pool, now ? t->ending : t->ended, until, left, e->name, NULL));

    mdm_log(ctx, MDM_LOG_NOTICE, "MDM0096", 0, "the certificate %s (%s) ends on %s", e->name, t->id, until);
    if (rv == APR_SUCCESS) {
        rv = mdm_audit(r->db, t->action, "zone", t->id, e->detail, "done", detail);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_notice_admins(r->db, &told);
    }
    return rv == APR_SUCCESS ? mdm_setting_set(r->db, setting(r, t), note, 0) : rv;
}

/* Another one is there, and good for long: what was said of the old one is over. */
static apr_status_t settle(run_t *r, const thing_t *t)
{
    apr_status_t rv = mdm_q_push_setting_drop(r->db, setting(r, t), NULL);

    return rv == APR_SUCCESS ? mdm_q_notice_message_done(r->db, t->id, mdm_now_ms(r->ctx), r->ctx->actor.name, NULL) : rv;
}

static apr_status_t look(run_t *r, const thing_t *t)
{
    ending_t e;
    int days, now, told;
    apr_status_t rv = t->read(r, t->id, &e), was;

    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
    }
    days = days_left(mdm_now_ms(r->ctx), e.until_ms);
    now = mark(t, days);
    was = last_told(r, t, &e, &told);
    if (was != APR_SUCCESS && !APR_STATUS_IS_NOTFOUND(was)) {
        return was;
    }
    if (now < 0) {
        return was == APR_SUCCESS && told < 0 ? settle(r, t) : APR_SUCCESS;
    }
    return told >= 0 && told <= now ? APR_SUCCESS : tell(r, t, &e, days, now);
}

/* ---------------------------------------------------------------- enrolments */

static apr_status_t remind(run_t *r, int *more)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_db_begin(r->db);

    *more = 0;
    if (rv == APR_SUCCESS && (rv = mdm_q_notice_remind(r->db, mdm_now_ms(r->ctx), BATCH, &rows)) == APR_SUCCESS) {
        *more = rows->nelts == BATCH;
    }
    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_notice_remind_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_notice_remind_t);

        rv = mdm_notice_pending(r->db, q->id, "enroll_expiring", q->notify);
    }
    return mdm_db_end(r->db, rv);
}

/* ---------------------------------------------------------------- the job */

/* The certificate that devices see at the public address, whether it is trusted or not; NULL: nobody knows. */
static const ending_t *ask_tls(mdm_ctx_t *ctx, const mdm_job_t *job, const char *url)
{
    const mdm_http_conf_t conf = {.pin = "", .max_parallel = 1, .max_connections = 1};
    mdm_http_req_t req = {.method = "HEAD", .url = url, .timeout_ms = 10000, .connect_ms = 5000}, *list = &req;
    run_t r = {.ctx = ctx};
    ending_t *out = apr_pcalloc(ctx->pool, sizeof(*out));
    apr_uri_t uri = {0};
    mdm_cert_t *cert;
    mdm_http_t *http;

    if (!url || strncmp(url, "https://", 8) != 0 || apr_uri_parse(ctx->pool, url, &uri) != APR_SUCCESS || !uri.hostinfo
        || mdm_http_make(ctx, ctx->pool, &conf, &http) != APR_SUCCESS) {
        return NULL;
    }
    mdm_http_run(ctx, http, &list, 1, job ? job->stop : NULL);
    if (!req.peer.len || mdm_cert_from_der(ctx, req.peer.data, req.peer.len, &cert) != APR_SUCCESS || of_cert(&r, cert, out) != APR_SUCCESS) {
        return NULL;
    }
    out->name = uri.hostinfo;
    return out;
}

apr_status_t mdm_expiry_run(mdm_ctx_t *ctx, const mdm_job_t *job, const mdm_expiry_t *what)
{
    run_t r = {.ctx = ctx, .tls = ask_tls(ctx, job, what->public_url)};
    apr_status_t rv = mdm_db_open(ctx, &r.db);
    int more = 1;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (unsigned i = 0; rv == APR_SUCCESS && i < sizeof(things) / sizeof(things[0]); i++) {
        rv = mdm_db_begin(r.db);
        rv = rv == APR_SUCCESS ? mdm_db_end(r.db, look(&r, &things[i])) : rv;
    }
    while (rv == APR_SUCCESS && more) {
        rv = remind(&r, &more);
    }
    mdm_db_close(r.db);
    return rv;
}
