/* Migration in: a row of another server becomes device object, record and bound identities. */
#include "domain/mdm_import.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "domain/mdm_eas.h"
#include "domain/mdm_log_rows.h"
#include "wire/mdm_x509.h"
#include "mdm_sql_gen.h"

#define NO_END_MS 253402300799000LL /* "no well-defined end" of RFC 5280: all that a hash tells */
#define NAME_BYTES 120

/* One identity: what of it is known. */
typedef struct cert_t {
    const char *fingerprint, *subject, *der;
    apr_int64_t begin, end;
    int here; /* bound to this row's record already */
} cert_t;

typedef struct put_t {
    mdm_db_t *db;
    mdm_ctx_t *ctx;
    const mdm_import_row_t *row;
    cert_t certs[MDM_IMPORT_CERTS];
    const char *person_id, *device_id, *record_id;
    const char *unlock, *bootstrap; /* sealed; NULL: not given, or as it was */
    const char *note;
    apr_int64_t now;
} put_t;

static const char *text(const char *s)
{
    return s ? s : "";
}

static int same(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

static apr_int64_t *known(apr_pool_t *p, apr_int64_t ms)
{
    return ms ? apr_pmemdup(p, &ms, sizeof ms) : NULL;
}

/* ---------------------------------------------------------------- identities */

static apr_status_t cert_read(put_t *w, const char *from, cert_t *out)
{
    mdm_certinfo_t info;
    mdm_cert_t *cert;
    mdm_blob_t der;
    apr_status_t rv;

    *out = (cert_t){.fingerprint = from, .subject = "", .der = "", .begin = w->now, .end = NO_END_MS};
    if (!strstr(from, "-----BEGIN")) {
        return APR_SUCCESS;
    }
    rv = mdm_cert_from_pem(w->ctx, from, &cert);
    if (rv == APR_SUCCESS && (rv = mdm_cert_info(w->ctx, cert, &info)) == APR_SUCCESS) {
        der = mdm_cert_der(cert);
        *out = (cert_t){.fingerprint = info.fingerprint, .subject = info.subject, .der = mdm_b64(w->ctx->pool, der.data, der.len),
                        .begin = info.not_before_ms, .end = info.not_after_ms};
    }
    return rv;
}

/* Reads all of a row; *left: one of them was this device's and is no more. */
static apr_status_t certs_look(put_t *w, int *left)
{
    mdm_q_import_certificate_t *had;
    apr_status_t rv = APR_SUCCESS;

    *left = 0;
    for (int i = 0; rv == APR_SUCCESS && i < w->row->ncerts; i++) {
        cert_t *c = &w->certs[i];

        if ((rv = cert_read(w, w->row->certs[i], c)) != APR_SUCCESS) {
            return rv;
        }
        for (int j = 0; j < i; j++) {
            c->here = c->here || !strcmp(c->fingerprint, w->certs[j].fingerprint);
        }
        rv = mdm_q_import_certificate(w->db, c->fingerprint, &had);
        if (rv == APR_NOTFOUND) {
            rv = APR_SUCCESS;
        } else if (rv == APR_SUCCESS && (!had->record_id || same(had->native_id, w->row->native_id))) {
            c->here = 1;
            *left = *left || !had->live; /* no record: its device was wiped, and its object deleted */
        } else if (rv == APR_SUCCESS) {
            rv = mdm_fail(w->ctx, MDM_EDENIED, "certificates", "The identity belongs to another device here.");
        }
    }
    if (rv == APR_SUCCESS && w->certs[0].end <= w->now) {
        w->note = "its identity has expired: it must be enrolled anew";
    }
    return rv;
}

/* The first is the newest: whoever asks for the one in use gets it. */
static apr_status_t certs_bind(put_t *w, int *added)
{
    apr_status_t rv = APR_SUCCESS;

    for (int i = 0; rv == APR_SUCCESS && i < w->row->ncerts; i++) {
        const cert_t *c = &w->certs[i];

        if (!c->here) {
            rv = mdm_q_import_certificate_add(w->db, c->fingerprint, c->subject, w->record_id, c->begin, c->end, w->now - i, c->der);
            ++*added;
            if (rv == APR_SUCCESS) { /* who called in before was told that nobody knows it */
                rv = mdm_change_add(w->db, "cert", c->fingerprint);
            }
        }
    }
    return rv;
}

/* ---------------------------------------------------------------- secrets */

/* Sealed for the record, or NULL if there is none or the stored one says the same. */
static apr_status_t secret(put_t *w, const char *column, const char *b64, const char *stored, const char **out)
{
    const char *purpose = apr_pstrcat(w->ctx->pool, "source_record.", column, ":", w->record_id, NULL);
    mdm_blob_t data, old;

    *out = NULL;
    if (!b64 || mdm_unb64(w->ctx->pool, b64, strlen(b64), &data) != APR_SUCCESS) {
        return APR_SUCCESS;
    }
    if (stored && mdm_unseal(w->ctx, purpose, stored, &old) == APR_SUCCESS && old.len == data.len
        && mdm_bytes_equal(old.data, data.data, data.len)) {
        return APR_SUCCESS;
    }
    return mdm_seal(w->ctx, purpose, data.data, data.len, out);
}

static apr_status_t secrets(put_t *w, const char *unlock, const char *bootstrap)
{
    apr_status_t rv = secret(w, "unlock_token", w->row->unlock, unlock, &w->unlock);

    return rv == APR_SUCCESS ? secret(w, "bootstrap_token", w->row->bootstrap, bootstrap, &w->bootstrap) : rv;
}

/* ---------------------------------------------------------------- whose, and which object */

static apr_status_t person_find(put_t *w)
{
    apr_array_header_t *rows;
    apr_status_t rv;

    if (!w->row->login) {
        return APR_SUCCESS;
    }
    rv = mdm_q_import_person(w->db, mdm_lower(w->ctx->pool, w->row->login), &rows);
    if (rv == APR_SUCCESS && rows->nelts == 1) {
        w->person_id = APR_ARRAY_IDX(rows, 0, mdm_q_import_person_t).id;
    } else if (rv == APR_SUCCESS) {
        w->note = apr_psprintf(w->ctx->pool, "%s of the name %s: imported without owner", rows->nelts ? "there are two people" :
                               "there is nobody", w->row->login);
    }
    return rv;
}

/* An object of this device that is managed no more goes on; one that is managed, blocked or retired stands in the way. */
static apr_status_t object_find(put_t *w)
{
    apr_array_header_t *rows, *records;
    apr_status_t rv = mdm_q_enroll_device_known(w->db, w->row->udid, w->row->serial, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_enroll_device_known_t *d = &APR_ARRAY_IDX(rows, i, mdm_q_enroll_device_known_t);

        if (!strcmp(d->state, "blocked") || !strcmp(d->state, "retired") || !strcmp(d->state, "wipe_pending")) {
            return mdm_fail(w->ctx, MDM_EDENIED, "serial", "The device %s here is %s.", d->name, d->state);
        }
        rv = mdm_q_enroll_device_records(w->db, d->id, "mdm", &records);
        if (rv == APR_SUCCESS && records->nelts) {
            return mdm_fail(w->ctx, MDM_EDENIED, "serial", "The device %s is managed here by another enrolment.", d->name);
        }
        if (!w->device_id) {
            w->device_id = d->id;
        }
    }
    return rv;
}

/* Its own name if that is free; else what tells it from the others is added. */
static apr_status_t name_find(put_t *w, const char **out)
{
    const mdm_import_row_t *r = w->row;
    const char *base = r->name ? r->name : r->model ? r->model : r->product ? r->product : "Device";
    const char *mark = r->serial ? r->serial : r->native_id;
    mdm_q_device_name_taken_t *taken;
    apr_status_t rv = r->name ? mdm_q_device_name_taken(w->db, mdm_lower(w->ctx->pool, base), "", &taken) : APR_SUCCESS;

    if (rv == APR_NOTFOUND) {
        *out = base;
        return APR_SUCCESS;
    }
    *out = mdm_clean(w->ctx->pool, apr_psprintf(w->ctx->pool, "%.80s (%.36s)", base, mark), NAME_BYTES);
    return rv;
}

static apr_status_t object_add(put_t *w)
{
    const mdm_import_row_t *r = w->row;
    const char *name;
    apr_status_t rv = name_find(w, &name);

    if (rv != APR_SUCCESS || !(w->device_id = mdm_uuid(w->ctx->pool))) {
        return rv != APR_SUCCESS ? rv : MDM_EUNAVAIL;
    }
    return mdm_q_import_device_add(w->db, w->device_id, name, mdm_lower(w->ctx->pool, name), w->person_id,
                                   r->ownership ? r->ownership : "personal", text(r->model), text(r->product), r->serial, r->udid,
                                   r->imei, text(r->os_version), text(r->build), r->enrolled_ms ? r->enrolled_ms : w->now,
                                   known(w->ctx->pool, r->seen_ms), w->now);
}

static apr_status_t object_again(put_t *w)
{
    const mdm_import_row_t *r = w->row;
    apr_status_t rv = mdm_q_import_device_again(w->db, w->device_id, w->person_id, text(r->model), text(r->product), r->serial, r->udid,
                                                r->imei, text(r->os_version), text(r->build), r->enrolled_ms ? r->enrolled_ms : w->now,
                                                known(w->ctx->pool, r->seen_ms));

    return rv == APR_SUCCESS ? mdm_change_add(w->db, "device", w->device_id) : rv;
}

/* ---------------------------------------------------------------- a new one */

static const char *attributes(put_t *w)
{
    json_t *attrs = mdm_json_own(w->ctx, json_pack("{s:I}", "imported", (json_int_t)w->row->token_ms));

    if (w->row->name) {
        json_object_set_new(attrs, "name", json_string(w->row->name));
    }
    return mdm_json_text(w->ctx->pool, attrs);
}

static apr_status_t keys_add(put_t *w)
{
    const struct {
        const char *space, *value;
    } keys[] = {{"udid", w->row->udid}, {"serial", w->row->serial}, {"imei", w->row->imei}};
    apr_status_t rv = APR_SUCCESS;

    for (size_t i = 0; rv == APR_SUCCESS && i < sizeof keys / sizeof keys[0]; i++) {
        if (keys[i].value) {
            rv = mdm_q_match_key_add(w->db, keys[i].space, mdm_lower(w->ctx->pool, keys[i].value), w->record_id, NULL);
        }
    }
    return rv;
}

static apr_status_t add(put_t *w)
{
    const mdm_import_row_t *r = w->row;
    int added = 0;
    apr_status_t rv;

    if ((rv = object_find(w)) != APR_SUCCESS || (rv = person_find(w)) != APR_SUCCESS) {
        return rv;
    }
    if (!(w->record_id = mdm_uuid(w->ctx->pool))) {
        return MDM_EUNAVAIL;
    }
    if ((rv = secrets(w, NULL, NULL)) != APR_SUCCESS || (rv = w->device_id ? object_again(w) : object_add(w)) != APR_SUCCESS
        || (rv = mdm_q_import_record_add(w->db, w->record_id, w->device_id, w->person_id, r->native_id, r->topic, r->token, r->magic,
                                         r->token_ms, w->unlock, w->bootstrap, attributes(w), w->now)) != APR_SUCCESS
        || (rv = keys_add(w)) != APR_SUCCESS || (rv = certs_bind(w, &added)) != APR_SUCCESS
        || (rv = mdm_device_event(w->db, w->device_id, NULL, "import", NULL)) != APR_SUCCESS) {
        return rv;
    }
    return w->person_id ? mdm_eas_match_apple(w->db, w->record_id, NULL) : APR_SUCCESS;
}

/* ---------------------------------------------------------------- one that was imported before */

/* True as long as nothing but an import has written its token, and no contact was noted. */
static int untouched(const mdm_q_import_record_t *old)
{
    json_t *attrs = json_loads(old->attrs, 0, NULL), *mark = json_object_get(attrs, "imported");
    int yes = json_is_integer(mark) && json_integer_value(mark) == old->push_token_ms && !*old->ip;

    json_decref(attrs);
    return yes;
}

static apr_status_t owner(put_t *w, const mdm_q_import_record_t *old, int *changes)
{
    apr_status_t rv = old->has_person ? APR_SUCCESS : person_find(w);

    if (rv != APR_SUCCESS || !w->person_id || !old->device_id) {
        return rv;
    }
    ++*changes;
    rv = mdm_q_import_record_person(w->db, old->id, w->person_id);
    return rv == APR_SUCCESS ? mdm_q_import_device_person(w->db, old->device_id, w->person_id, NULL) : rv;
}

static apr_status_t update(put_t *w, const mdm_q_import_record_t *old, mdm_import_outcome_e *outcome)
{
    const mdm_import_row_t *r = w->row;
    int changes = 0;
    apr_status_t rv;

    w->record_id = old->id;
    if ((rv = secrets(w, old->unlock_token, old->bootstrap_token)) != APR_SUCCESS || (rv = certs_bind(w, &changes)) != APR_SUCCESS
        || (rv = owner(w, old, &changes)) != APR_SUCCESS) {
        return rv;
    }
    if (w->unlock || w->bootstrap || !same(old->topic, r->topic) || !same(old->push_token, r->token)
        || !same(old->push_magic, r->magic) || old->push_token_ms != r->token_ms) {
        changes++;
        rv = mdm_q_import_record_set(w->db, old->id, r->topic, r->token, r->magic, r->token_ms, w->unlock, w->bootstrap, attributes(w));
    }
    *outcome = changes ? MDM_IMPORT_UPDATED : MDM_IMPORT_UNCHANGED;
    return rv == APR_SUCCESS && changes && old->device_id ? mdm_change_add(w->db, "device", old->device_id) : rv;
}

/* ---------------------------------------------------------------- the whole */

apr_status_t mdm_import_put(mdm_db_t *db, const mdm_import_row_t *row, mdm_import_outcome_e *outcome, const char **note)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    put_t w = {.db = db, .ctx = ctx, .row = row, .now = mdm_now_ms(ctx)};
    mdm_q_import_record_t *old = NULL;
    apr_status_t rv = mdm_q_import_record(db, row->native_id, &old);
    int left = 0;

    *note = NULL;
    *outcome = MDM_IMPORT_KEPT;
    if (rv == APR_SUCCESS && !untouched(old)) {
        return APR_SUCCESS;
    }
    if (rv == APR_SUCCESS || rv == APR_NOTFOUND) {
        apr_status_t looked = certs_look(&w, &left);

        if (looked != APR_SUCCESS || left) {
            return looked;
        }
        if (rv == APR_SUCCESS) {
            rv = update(&w, old, outcome);
        } else {
            *outcome = MDM_IMPORT_ADDED;
            rv = add(&w);
        }
        *note = w.note;
    }
    return rv;
}
