/* The push certificate from request to import. What is secret is a sealed setting: "apns.key", "apns.request_key". */
#include "domain/mdm_push_cert.h"

#include <stddef.h>
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"
#include "wire/mdm_http.h"
#include "wire/mdm_pushreq.h"

#define TOPIC_PREFIX "com.apple.mgmt."
#define MAX_FIELD 64
#define MAX_MAIL 128
#define SIGN_MS 20000
#define MAX_SIGNED (256 * 1024)

/* ---------------------------------------------------------------- settings */

/* The text of a setting in the call's pool; NULL if there is none. */
static apr_status_t text_get(mdm_db_t *db, const char *name, const char **out)
{
    json_t *j;
    apr_status_t rv = mdm_setting_get(db, name, &j);

    *out = rv == APR_SUCCESS ? apr_pstrdup(mdm_db_ctx(db)->pool, json_string_value(j)) : NULL;
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

static apr_status_t text_set(mdm_db_t *db, const char *name, const char *value, int secret)
{
    return mdm_setting_set(db, name, mdm_json_own(mdm_db_ctx(db), json_string(value)), secret);
}

static apr_status_t request_get(mdm_db_t *db, json_t **out)
{
    apr_status_t rv = mdm_setting_get(db, "apns.request", out);

    return rv == APR_SUCCESS && !json_object_get(*out, "csr") ? APR_NOTFOUND : rv;
}

static apr_status_t no_request(mdm_ctx_t *ctx, apr_status_t rv)
{
    return APR_STATUS_IS_NOTFOUND(rv) ? mdm_fail(ctx, MDM_ECONFLICT, NULL, "There is no request: make one first.") : rv;
}

static const char *member(mdm_ctx_t *ctx, const json_t *j, const char *name)
{
    return apr_pstrdup(ctx->pool, json_string_value(json_object_get(j, name)));
}

static apr_status_t request_der(mdm_ctx_t *ctx, const json_t *request, mdm_blob_t *der)
{
    const char *csr = member(ctx, request, "csr");

    return csr ? mdm_unb64(ctx->pool, csr, strlen(csr), der) : APR_NOTFOUND;
}

/* NOD-03: somebody must be there to use it. A zone whose servers were never started has no nodes yet. */
static apr_status_t need_node(mdm_db_t *db)
{
    apr_array_header_t *nodes;
    apr_status_t rv = mdm_q_push_nodes(db, &nodes);
    int able = 0;

    for (int i = 0; rv == APR_SUCCESS && i < nodes->nelts; i++) {
        able |= APR_ARRAY_IDX(nodes, i, mdm_q_push_nodes_t).mdm_role != 0;
    }
    return rv == APR_SUCCESS && nodes->nelts && !able
               ? mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, "node", "No node has the MDM role: give it to one on the page Nodes first.")
               : rv;
}

/* One transaction of its own with an audit row. */
typedef apr_status_t (*change_fn)(mdm_db_t *db, const void *arg);

static apr_status_t change(mdm_ctx_t *ctx, const char *action, const char *name, json_t *detail, change_fn fn, const void *arg)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    mdm_json_own(ctx, detail);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS) {
        rv = need_node(db);
    }
    if (rv == APR_SUCCESS) {
        rv = fn(db, arg);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_audit(db, action, "zone", "apns", name, "done", detail);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

/* ---------------------------------------------------------------- the request (PSH-02) */

static const struct {
    const char *field, *rdn;
    size_t at;
    int needed, max;
} subject_fields[] = {
    {"country", "C", offsetof(mdm_push_subject_t, country), 1, 2},
    {"state", "ST", offsetof(mdm_push_subject_t, state), 0, MAX_FIELD},
    {"place", "L", offsetof(mdm_push_subject_t, place), 0, MAX_FIELD},
    {"organisation", "O", offsetof(mdm_push_subject_t, organisation), 1, MAX_FIELD},
    {"unit", "OU", offsetof(mdm_push_subject_t, unit), 0, MAX_FIELD},
    {"name", "CN", offsetof(mdm_push_subject_t, name), 0, MAX_FIELD},
    {"mail", "emailAddress", offsetof(mdm_push_subject_t, mail), 1, MAX_MAIL},
};
#define SUBJECT_FIELDS (sizeof subject_fields / sizeof subject_fields[0])

static const char *subject_field(const mdm_push_subject_t *s, size_t i)
{
    const char *v = *(const char *const *)(const void *)((const char *)s + subject_fields[i].at);

    return v ? v : "";
}

static apr_status_t subject_check(mdm_ctx_t *ctx, const mdm_push_subject_t *s)
{
    for (size_t i = 0; i < SUBJECT_FIELDS; i++) {
        const char *v = subject_field(s, i);

        if (subject_fields[i].needed && !*v) {
            return mdm_fail(ctx, MDM_EINPUT, subject_fields[i].field, "must be given");
        }
        if (strlen(v) > (size_t)subject_fields[i].max || strpbrk(v, "\n\t")) {
            return mdm_fail(ctx, MDM_EINPUT, subject_fields[i].field, "must be one line of at most %d bytes", subject_fields[i].max);
        }
    }
    if (strlen(s->country) != 2 || strspn(s->country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 2) {
        return mdm_fail(ctx, MDM_EINPUT, "country", "must be the two capital letters of a country");
    }
    return strchr(s->mail, '@') ? APR_SUCCESS : mdm_fail(ctx, MDM_EINPUT, "mail", "must be a mail address");
}

/* The key to make the request with: outside any connection, as making one takes time. */
static apr_status_t request_key(mdm_ctx_t *ctx, int keep, mdm_key_t **key)
{
    const char *pem = NULL;
    mdm_db_t *db;
    apr_status_t rv = keep ? mdm_db_open(ctx, &db) : APR_SUCCESS;

    if (keep && rv == APR_SUCCESS) {
        rv = text_get(db, "apns.key", &pem);
        if (rv == APR_SUCCESS && !pem) {
            rv = text_get(db, "apns.request_key", &pem);
        }
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    return pem ? mdm_key_from_pem(ctx, pem, NULL, key) : mdm_key_generate(ctx, MDM_KEY_RSA2048, key);
}

typedef struct request_t {
    json_t *json;
    const char *key_pem;
} request_t;

static apr_status_t request_put(mdm_db_t *db, const void *arg)
{
    const request_t *r = arg;
    apr_status_t rv = mdm_setting_set(db, "apns.request", r->json, 0);

    return rv == APR_SUCCESS && r->key_pem ? text_set(db, "apns.request_key", r->key_pem, 1) : rv;
}

apr_status_t mdm_push_request_make(mdm_ctx_t *ctx, const mdm_push_subject_t *subject, int keep_key)
{
    const char *pairs[2 * SUBJECT_FIELDS + 1];
    request_t r = {mdm_json_own(ctx, json_object()), NULL};
    mdm_key_t *key;
    mdm_blob_t der;
    int n = 0;
    apr_status_t rv = subject_check(ctx, subject);

    if (rv == APR_SUCCESS) {
        rv = request_key(ctx, keep_key, &key);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (size_t i = 0; i < SUBJECT_FIELDS; i++) {
        const char *v = subject_field(subject, i);

        json_object_set_new(r.json, subject_fields[i].field, json_string(v));
        if (*v) {
            pairs[n++] = subject_fields[i].rdn;
            pairs[n++] = v;
        }
    }
    pairs[n] = NULL;
    rv = mdm_csr_make(ctx, pairs, key, &der);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    r.key_pem = mdm_key_pem(ctx->pool, key);
    json_object_set_new(r.json, "csr", json_string(mdm_b64(ctx->pool, der.data, der.len)));
    json_object_set_new(r.json, "made_ms", json_integer(mdm_now_ms(ctx)));
    return change(ctx, "push_certificate.request", subject->organisation, json_pack("{s:b}", "same_key", keep_key), request_put, &r);
}

apr_status_t mdm_push_request_files(mdm_db_t *db, const char **pem, const char **signed_file)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *request;
    mdm_blob_t der;
    apr_status_t rv = request_get(db, &request);

    if (rv == APR_SUCCESS) {
        rv = request_der(ctx, request, &der);
    }
    if (rv == APR_SUCCESS) {
        *pem = mdm_csr_pem(ctx->pool, &der);
        *signed_file = member(ctx, request, "signed");
    }
    return rv;
}

static apr_status_t request_read(mdm_ctx_t *ctx, json_t **out)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = request_get(db, out);
        mdm_db_close(db);
    }
    return no_request(ctx, rv);
}

/* The request may have been made anew meanwhile. */
static apr_status_t signed_put(mdm_db_t *db, const void *arg)
{
    const request_t *r = arg;
    json_t *now;
    apr_status_t rv = request_get(db, &now);

    if (rv == APR_SUCCESS && !json_equal(json_object_get(now, "csr"), json_object_get(r->json, "csr"))) {
        rv = mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, "file", "is about another request than the present one");
    }
    return rv == APR_SUCCESS ? request_put(db, r) : rv;
}

apr_status_t mdm_push_request_signed(mdm_ctx_t *ctx, const char *text)
{
    request_t r = {NULL, NULL};
    const char *file;
    mdm_blob_t der;
    apr_status_t rv = request_read(ctx, &r.json);

    if (rv == APR_SUCCESS) {
        rv = request_der(ctx, r.json, &der);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_pushreq_signed(ctx, text, strlen(text), &der, &file);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    json_object_set_new(r.json, "signed", json_string(file));
    return change(ctx, "push_certificate.signed", "", NULL, signed_put, &r);
}

/* ---- a signing service */

static apr_status_t signing_put(mdm_db_t *db, const void *arg)
{
    const request_t *r = arg;

    return mdm_setting_set(db, "apns.signing", r->json, 0);
}

apr_status_t mdm_push_signing_set(mdm_ctx_t *ctx, const char *url)
{
    request_t r = {NULL, NULL};

    if (*url && (strncmp(url, "https://", 8) != 0 || strlen(url) > 500 || strpbrk(url, " \n\t"))) {
        return mdm_fail(ctx, MDM_EINPUT, "url", "must begin with https://");
    }
    r.json = mdm_json_own(ctx, json_pack("{s:s}", "url", url));
    return change(ctx, "push_certificate.signing", "", json_pack("{s:s}", "url", url), signing_put, &r);
}

static apr_status_t signing_read(mdm_ctx_t *ctx, json_t **signing, json_t **request)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_setting_get(db, "apns.signing", signing);
    if (APR_STATUS_IS_NOTFOUND(rv) || (rv == APR_SUCCESS && !*json_string_value(json_object_get(*signing, "url")))) {
        rv = mdm_fail(ctx, MDM_ECONFLICT, "url", "There is no signing service: set its address first.");
    } else if (rv == APR_SUCCESS) {
        rv = no_request(ctx, request_get(db, request));
    }
    mdm_db_close(db);
    return rv;
}

apr_status_t mdm_push_request_send(mdm_ctx_t *ctx, const char *ca_file)
{
    json_t *signing = NULL, *request = NULL;
    mdm_http_conf_t conf = {.deny_local = !ctx->env->outbound_local, .ca_file = ca_file && *ca_file ? ca_file : NULL};
    mdm_http_req_t req = {.method = "POST", .timeout_ms = SIGN_MS, .max_response = MAX_SIGNED}, *one = &req;
    apr_table_t *headers = apr_table_make(ctx->pool, 2);
    mdm_blob_t der;
    mdm_http_t *h;
    apr_status_t rv = signing_read(ctx, &signing, &request);

    if (rv == APR_SUCCESS) {
        rv = request_der(ctx, request, &der);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_table_setn(headers, "content-type", "application/x-pem-file");
    req.url = member(ctx, signing, "url");
    req.headers = headers;
    req.body = mdm_csr_pem(ctx->pool, &der);
    req.body_len = strlen(req.body);
    rv = mdm_http_make(ctx, ctx->pool, &conf, &h);
    if (rv == APR_SUCCESS) {
        rv = mdm_http_run(ctx, h, &one, 1, NULL);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (req.rv != APR_SUCCESS) {
        return mdm_fail(ctx, MDM_ECONFLICT, "url", "The signing service can't be reached: %s.", req.detail ? req.detail : req.error);
    }
    if (req.status != 200) {
        return mdm_fail(ctx, MDM_ECONFLICT, "url", "The signing service refused: HTTP status %d.", req.status);
    }
    return mdm_push_request_signed(ctx, apr_pstrmemdup(ctx->pool, (const char *)req.response.data, req.response.len));
}

/* ---------------------------------------------------------------- import (PSH-03, PSH-04) */

typedef struct found_t {
    apr_array_header_t *certs;
    mdm_cert_t *cert;
    mdm_key_t *key;
    mdm_certinfo_t info;
    int new_topic, own; /* the key came with it */
} found_t;

static apr_status_t read_given(mdm_ctx_t *ctx, const mdm_push_import_t *in, found_t *f)
{
    mdm_blob_t p12;
    apr_status_t rv;

    if ((in->p12 != NULL) == (in->certificate != NULL)) {
        return mdm_fail(ctx, MDM_EINPUT, "certificate", "give either a certificate or a PKCS#12 file");
    }
    if (in->p12) {
        if (mdm_unb64(ctx->pool, in->p12, strlen(in->p12), &p12) != APR_SUCCESS) {
            return mdm_fail(ctx, MDM_EINPUT, "p12", "must be base64");
        }
        rv = mdm_pkcs12_open(ctx, p12.data, p12.len, in->password, &f->key, &f->certs);
    } else {
        rv = mdm_certs_from_pem(ctx, in->certificate, &f->certs);
        if (rv == APR_SUCCESS && in->key) {
            rv = mdm_key_from_pem(ctx, in->key, in->password, &f->key);
        }
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    f->own = f->key != NULL;
    f->cert = APR_ARRAY_IDX(f->certs, 0, mdm_cert_t *);
    return mdm_cert_info(ctx, f->cert, &f->info);
}

/* PSH-03: our clock and its dates, so that people see which one is wrong. */
static apr_status_t judge(mdm_ctx_t *ctx, const mdm_certinfo_t *info)
{
    apr_int64_t now = mdm_now_ms(ctx);

    if (!info->uid || strncmp(info->uid, TOPIC_PREFIX, strlen(TOPIC_PREFIX)) != 0) {
        return mdm_fail(ctx, MDM_EINPUT, "certificate", "is no MDM push certificate: its subject has no UID that begins with " TOPIC_PREFIX);
    }
    if (now < info->not_before_ms) {
        return mdm_fail(ctx, MDM_EINPUT, "certificate", "is valid from %s only, and this server's clock says %s: set the clock right, "
                        "or wait", mdm_time_text(ctx->pool, info->not_before_ms), mdm_time_text(ctx->pool, now));
    }
    if (now > info->not_after_ms) {
        return mdm_fail(ctx, MDM_EINPUT, "certificate", "was valid until %s, and this server's clock says %s: renew it at Apple",
                        mdm_time_text(ctx->pool, info->not_after_ms), mdm_time_text(ctx->pool, now));
    }
    return APR_SUCCESS;
}

/* Without a key of its own: the one of the request, else that of the present certificate. */
static apr_status_t find_key(mdm_db_t *db, found_t *f)
{
    static const char *const names[] = {"apns.request_key", "apns.key"};
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    int any = 0;

    for (int i = 0; !f->key && i < 2; i++) {
        const char *pem;
        mdm_key_t *key;
        apr_status_t rv = text_get(db, names[i], &pem);

        if (rv == APR_SUCCESS && pem) {
            rv = mdm_key_from_pem(ctx, pem, NULL, &key);
            any = 1;
            f->key = rv == APR_SUCCESS && mdm_cert_fits_key(f->cert, key) ? key : NULL;
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return f->key ? APR_SUCCESS
                  : mdm_fail(ctx, MDM_EINPUT, "certificate", any ? "does not fit the key of the request: it was made for another request"
                                                                 : "came without a key, and no request was made here");
}

static apr_status_t same_topic(mdm_db_t *db, const found_t *f)
{
    const char *old;
    mdm_q_push_devices_t *n;
    apr_status_t rv = text_get(db, "apns.topic", &old);

    if (rv != APR_SUCCESS || !old || !*old || !strcmp(old, f->info.uid) || f->new_topic) {
        return rv;
    }
    rv = mdm_q_push_devices(db, old, &n);
    return rv == APR_SUCCESS
               ? mdm_fail(mdm_db_ctx(db), MDM_ECONFLICT, "new_topic", "This is another certificate, not a renewed one: the topic would "
                          "change from %s to %s. %" APR_INT64_T_FMT " devices could not be reached any more and must enrol again. Renew "
                          "the old certificate at Apple instead, or confirm.", old, f->info.uid, n->n)
               : rv;
}

static apr_status_t cert_put(mdm_db_t *db, const void *arg)
{
    found_t f = *(const found_t *)arg;
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    const char *pem = "";
    apr_status_t rv = same_topic(db, &f);

    if (rv == APR_SUCCESS) {
        rv = find_key(db, &f);
    }
    for (int i = 0; i < f.certs->nelts; i++) {
        pem = apr_pstrcat(ctx->pool, pem, mdm_cert_pem(ctx->pool, APR_ARRAY_IDX(f.certs, i, mdm_cert_t *)), NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = text_set(db, "apns.certificate", pem, 0);
    }
    if (rv == APR_SUCCESS) {
        rv = text_set(db, "apns.key", mdm_key_pem(ctx->pool, f.key), 1);
    }
    if (rv == APR_SUCCESS) {
        rv = text_set(db, "apns.topic", f.info.uid, 0);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_push_setting_drop(db, "apns.stopped", NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_push_messages_done(db, now, ctx->actor.name, NULL);
    }
    return rv == APR_SUCCESS ? mdm_q_push_retry(db, now, NULL) : rv;
}

apr_status_t mdm_push_cert_import(mdm_ctx_t *ctx, const mdm_push_import_t *in)
{
    found_t f = {.new_topic = in->new_topic};
    apr_status_t rv = read_given(ctx, in, &f);

    if (rv == APR_SUCCESS) {
        rv = judge(ctx, &f.info);
    }
    if (rv == APR_SUCCESS && f.key && !mdm_cert_fits_key(f.cert, f.key)) {
        rv = mdm_fail(ctx, MDM_EINPUT, "key", "is not the certificate's");
    }
    return rv == APR_SUCCESS
               ? change(ctx, "push_certificate.import", f.info.uid,
                        json_pack("{s:s, s:s, s:b}", "serial", f.info.serial, "until", mdm_time_text(ctx->pool, f.info.not_after_ms),
                                  "own_key", f.own), cert_put, &f)
               : rv;
}

apr_status_t mdm_push_cert_remove(mdm_db_t *db)
{
    static const char *const names[] = {"apns.certificate", "apns.key", "apns.topic", "apns.request", "apns.request_key",
                                        "apns.stopped", "apns.warned"};
    apr_status_t rv = APR_SUCCESS;

    for (size_t i = 0; rv == APR_SUCCESS && i < sizeof names / sizeof names[0]; i++) {
        rv = mdm_q_push_setting_drop(db, names[i], NULL);
        if (rv == APR_SUCCESS) {
            rv = mdm_change_add(db, "zone", names[i]);
        }
    }
    return rv == APR_SUCCESS ? mdm_audit(db, "push_certificate.delete", "zone", "apns", "", "done", NULL) : rv;
}
