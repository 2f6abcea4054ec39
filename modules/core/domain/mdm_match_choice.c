/* What a person may say that a mail app is on (MAT-05). */
#include "domain/mdm_match_priv.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"

#define CHOICES 50
#define HINT 4

static int is(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static const char *hint(apr_pool_t *p, const char *serial, const char *imei)
{
    const char *s = serial && *serial ? serial : imei ? imei : "";
    apr_size_t len = strlen(s);

    return len > HINT ? s + len - HINT : apr_pstrdup(p, "");
}

static json_t *contact(apr_int64_t ms)
{
    return ms ? json_integer((json_int_t)ms) : json_null();
}

static json_t *managed_json(mdm_ctx_t *ctx, const mdm_q_match_records_t *q)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s}", "id", q->device_id, "name", q->device_name, "model", *q->model ? q->model : q->product,
                     "os_version", q->os_version, "hint", hint(ctx->pool, q->serial, q->imei), "last_contact", contact(q->contact_ms), "is", "managed");
}

static json_t *mail_json(mdm_ctx_t *ctx, const mdm_q_match_mail_devices_t *d)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s}", "id", d->id, "name", d->name, "model", *d->model ? d->model : d->product, "os_version",
                     d->os_version, "hint", hint(ctx->pool, d->serial, d->imei), "last_contact", contact(d->last_ms), "is",
                     is(d->state, "removed") ? "expected" : "mail");
}

static int of_platform(const char *has, const char *wanted)
{
    return !wanted || is(wanted, "unknown") || is(has, "unknown") || is(has, wanted);
}

/* The one that waits on this device, or is asked about. */
static const mdm_q_match_records_t *waiting(const apr_array_header_t *rows, const char *device_id)
{
    int i;

    for (i = 0; i < rows->nelts; ++i) {
        const mdm_q_match_records_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_match_records_t);

        if (is(q->kind, "eas") && is(q->device_id, device_id) && (is(q->state, "authenticated") || is(q->state, "enrolled"))) {
            return q;
        }
    }
    return NULL;
}

/* Possible for people to know better: not another platform, and not where another client of the kind lives. */
static void add_managed(mdm_ctx_t *ctx, const apr_array_header_t *rows, const apr_array_header_t *splits, const char *record_id, const char *platform, json_t *out)
{
    apr_array_header_t *records, *found = mdm_match_person(ctx, rows, 0, rows->nelts, 0, splits, MDM_MATCH_STRICT, &records);
    int i, c;

    for (i = 0; i < found->nelts; ++i) {
        const mdm_match_found_t *f = &APR_ARRAY_IDX(found, i, mdm_match_found_t);

        for (c = 0; is(APR_ARRAY_IDX(records, f->mail, mdm_match_record_t).id, record_id) && c < f->candidates->nelts && json_array_size(out) < CHOICES; ++c) {
            const mdm_match_candidate_t *at = &APR_ARRAY_IDX(f->candidates, c, mdm_match_candidate_t);
            const mdm_q_match_records_t *q = mdm_match_row(rows, 0, rows->nelts, APR_ARRAY_IDX(records, at->managed, mdm_match_record_t).id);

            if (!is(at->excluded, "platform") && !is(at->excluded, "taken") && of_platform(q->platform, platform)) {
                json_array_append_new(out, managed_json(ctx, q));
            }
        }
    }
}

/* expected: those that were released to come back; else those that are in use. */
static void add_mail(mdm_ctx_t *ctx, const apr_array_header_t *devices, int expected, const char *platform, json_t *out)
{
    int i;

    for (i = 0; i < devices->nelts && json_array_size(out) < CHOICES; ++i) {
        const mdm_q_match_mail_devices_t *d = &APR_ARRAY_IDX(devices, i, mdm_q_match_mail_devices_t);

        if (is(d->state, "removed") == expected && of_platform(d->platform, platform)) {
            json_array_append_new(out, mail_json(ctx, d));
        }
    }
}

apr_status_t mdm_match_choices(mdm_db_t *db, const char *person_id, const char *device_id, const char *platform, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *people = mdm_json_text(ctx->pool, mdm_json_own(ctx, json_pack("[s]", person_id)));
    const mdm_q_match_records_t *e;
    apr_array_header_t *rows, *splits, *devices;
    apr_status_t rv = mdm_match_read_people(db, people, &rows, &splits);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    *out = json_array();
    if (!(e = waiting(rows, device_id))) {
        return APR_SUCCESS;
    }
    platform = platform ? platform : e->platform;
    rv = mdm_q_match_mail_devices(db, person_id, device_id, strncmp(e->class, "other", 5) ? e->class : "", mdm_now_ms(ctx) - MDM_EAS_SILENT_MS, &devices);
    if (rv == APR_SUCCESS) {
        add_mail(ctx, devices, 1, platform, *out);
        add_managed(ctx, rows, splits, e->id, platform, *out);
        add_mail(ctx, devices, 0, platform, *out);
    } else {
        json_decref(*out);
    }
    return rv;
}
