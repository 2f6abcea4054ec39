#include <string.h>
#include <apr_strings.h>
#include "domain/mdm_devload.h"
#include "domain/mdm_account.h"
#include "domain/mdm_ca.h"
#include "domain/mdm_delivery.h"
#include "domain/mdm_eas_provision.h"
#include "mdm_sql_gen.h"

typedef struct {
    const char *text;
    apr_uint32_t value;
} word_t;

static const word_t kinds[] = {{"mdm", MDM_KIND_MDM}, {"agent", MDM_KIND_AGENT}, {"eas", MDM_KIND_EAS},
                               {"ade", MDM_KIND_ADE}, {NULL, 0}};
static const word_t states[] = {{"pending", MDM_DEV_PENDING}, {"active", MDM_DEV_ACTIVE},
                                {"wipe_pending", MDM_DEV_WIPE_PENDING}, {"retired", MDM_DEV_RETIRED},
                                {"blocked", MDM_DEV_BLOCKED}, {"removed", MDM_DEV_REMOVED}, {NULL, 0}};

static apr_uint32_t number(const word_t *w, const char *text)
{
    for (; text && w->text; w++) {
        if (!strcmp(w->text, text)) {
            return w->value;
        }
    }
    return 0;
}

mdm_devkey_t mdm_devkey_cert(const mdm_devcache_t *cache, const unsigned char sha256[32])
{
    return mdm_devcache_key(cache, 'c', sha256, 32);
}

mdm_devkey_t mdm_devkey_native(const mdm_devcache_t *cache, const char *native_id)
{
    return mdm_devcache_key(cache, 'u', native_id, strlen(native_id));
}

mdm_devkey_t mdm_devkey_eas(const mdm_devcache_t *cache, const char *person_id, const char *device_id)
{
    char buf[256]; /* person ids are 36 characters, DeviceIds at most 32: longer ones are no record's */
    apr_size_t n = 0;

    if (strlen(person_id) + strlen(device_id) + 2 <= sizeof(buf)) {
        n = (apr_size_t)apr_snprintf(buf, sizeof(buf), "%s\n%s", person_id, device_id);
    }
    return mdm_devcache_key(cache, 'e', buf, n);
}

static mdm_devkey_t devkey_device(const mdm_devcache_t *cache, const unsigned char uuid[16])
{
    return mdm_devcache_key(cache, 'd', uuid, 16);
}

/* The certificate key of a stored fingerprint; none if it is missing or malformed. */
static mdm_devkey_t stored_cert(mdm_db_t *db, const mdm_devcache_t *cache, const char *hex)
{
    mdm_devkey_t none = {0, 0};
    mdm_blob_t b;

    if (!hex || mdm_unhex(mdm_db_ctx(db)->pool, hex, &b) != APR_SUCCESS || b.len != 32) {
        return none;
    }
    return mdm_devkey_cert(cache, b.data);
}

/* What all ways know of a record. */
typedef struct {
    const char *record_id, *kind, *native_id, *person_id, *state, *device_id, *device_state, *current_fp, *next_fp, *bearer;
    int live, expelled, queued, lost;
} facts_t;

static apr_status_t fill(mdm_db_t *db, const mdm_devcache_t *cache, const facts_t *f, mdm_devrec_t *out)
{
    apr_status_t rv = mdm_uuid_bytes(f->record_id, out->record);

    if (rv == APR_SUCCESS && f->device_id) {
        rv = mdm_uuid_bytes(f->device_id, out->device);
        out->keys[MDM_DK_DEVICE] = devkey_device(cache, out->device);
    }
    if (rv != APR_SUCCESS) {
        return mdm_fail(mdm_db_ctx(db), MDM_EUNAVAIL, NULL, "an id in the database is not a UUID");
    }
    out->kind = number(kinds, f->kind);
    out->state = f->live ? number(states, f->device_state) : MDM_DEV_REMOVED;
    out->flags |= MDM_DEVF_LINKED | (f->queued ? MDM_DEVF_QUEUED : 0) | (f->expelled ? MDM_DEVF_EXPELLED : 0) |
                  (f->lost ? MDM_DEVF_LOST : 0);
    if (f->bearer && *f->bearer) {
        mdm_account_mark(out, f->bearer);
    }
    if (!strcmp(f->state, "leaving")) {
        out->flags |= MDM_DEVF_LEAVING | MDM_DEVF_ENROLLED;
    } else if (!strcmp(f->state, "enrolled")) {
        out->flags |= MDM_DEVF_ENROLLED;
    }
    if (f->live && !(out->flags & MDM_DEVF_REVOKED)) {
        out->keys[MDM_DK_NATIVE] = f->person_id ? mdm_devkey_eas(cache, f->person_id, f->native_id)
                                                : mdm_devkey_native(cache, f->native_id);
        out->keys[MDM_DK_CERT] = stored_cert(db, cache, f->current_fp);
        out->keys[MDM_DK_CERT_NEXT] = stored_cert(db, cache, f->next_fp);
    }
    return APR_SUCCESS;
}

apr_status_t mdm_devload_by_cert(mdm_db_t *db, const mdm_devcache_t *cache, const unsigned char sha256[32],
                                 mdm_devrec_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_devkey_t key = mdm_devkey_cert(cache, sha256);
    mdm_q_cache_by_cert_t *row;
    apr_status_t rv = mdm_q_cache_by_cert(db, mdm_hex(ctx->pool, sha256, 32), mdm_now_ms(ctx) - MDM_IDENTITY_GRACE_MS, &row);

    memset(out, 0, sizeof(*out));
    if (rv != APR_SUCCESS) {
        return rv;
    }
    out->loaded_ms = mdm_now_ms(ctx);
    if (strcmp(row->status, "issued") != 0 && strcmp(row->status, "active") != 0) {
        out->flags |= MDM_DEVF_REVOKED;
    }
    if (row->record_id) {
        facts_t f = {.record_id = row->record_id, .kind = row->kind, .native_id = row->native_id, .state = row->state,
                     .device_id = row->device_id, .device_state = row->device_state, .current_fp = row->current_fp,
                     .next_fp = row->next_fp, .bearer = row->bearer, .live = row->live != 0, .expelled = row->expelled != 0,
                     .queued = row->queued > 0, .lost = !row->lost_ms_null};

        rv = fill(db, cache, &f, out);
    } else {
        out->kind = MDM_KIND_MDM;
    }
    /* The certificate that was asked for stands in the record in any case. */
    if (memcmp(&out->keys[MDM_DK_CERT], &key, sizeof(key)) != 0
        && memcmp(&out->keys[MDM_DK_CERT_NEXT], &key, sizeof(key)) != 0) {
        out->keys[MDM_DK_CERT] = key;
    }
    return rv;
}

apr_status_t mdm_devload_by_native(mdm_db_t *db, const mdm_devcache_t *cache, const char *native_id, mdm_devrec_t *out)
{
    mdm_q_cache_by_native_t *row;
    apr_status_t rv = mdm_q_cache_by_native(db, native_id, &row);

    memset(out, 0, sizeof(*out));
    if (rv != APR_SUCCESS) {
        return rv;
    }
    out->loaded_ms = mdm_now_ms(mdm_db_ctx(db));
    {
        facts_t f = {.record_id = row->record_id, .kind = row->kind, .native_id = row->native_id, .state = row->state,
                     .device_id = row->device_id, .device_state = row->device_state, .current_fp = row->current_fp,
                     .next_fp = row->next_fp, .bearer = row->bearer, .live = 1, .expelled = row->expelled != 0, .queued = row->queued > 0,
                     .lost = !row->lost_ms_null};

        return fill(db, cache, &f, out);
    }
}

apr_status_t mdm_devload_by_eas(mdm_db_t *db, const mdm_devcache_t *cache, const char *person_id, const char *device_id,
                                mdm_devrec_t *out)
{
    mdm_q_cache_by_eas_t *row;
    apr_status_t rv = mdm_q_cache_by_eas(db, person_id, device_id, &row);

    memset(out, 0, sizeof(*out));
    if (rv == APR_SUCCESS) {
        facts_t f = {.record_id = row->record_id, .kind = "eas", .native_id = device_id, .person_id = person_id,
                     .state = row->state, .device_id = row->device_id, .device_state = row->device_state, .live = 1,
                     .expelled = row->expelled != 0, .lost = !row->lost_ms_null};

        out->loaded_ms = mdm_now_ms(mdm_db_ctx(db));
        rv = fill(db, cache, &f, out);
        out->flags |= (row->server_only ? MDM_DEVF_SERVER_ONLY : 0) | (row->account ? MDM_DEVF_ACCOUNT : 0);
        out->flags |= !row->gate || !*row->gate ? 0 : strcmp(row->gate, "allow") == 0 ? MDM_DEVF_MAIL_ALLOW : MDM_DEVF_MAIL_BLOCK;
        out->policy_key = (apr_uint32_t)row->policy_key;
        out->key_version = (apr_uint16_t)row->key_version;
        out->back_key = (apr_uint32_t)row->back_key;
        out->flags |= mdm_eas_key_flags(&(mdm_eas_keys_t){.rev = mdm_delivery_rev(row->policy), .key = out->policy_key,
                                                          .key_rev = (apr_uint32_t)row->key_rev, .tries = row->tries,
                                                          .tries_rev = (apr_uint32_t)row->tries_rev, .tries_ms = row->tries_ms,
                                                          .lax = row->lax != 0}, out->loaded_ms);
    }
    return rv;
}

void mdm_devload_forget(mdm_devcache_t *cache, apr_pool_t *scratch, const char *kind, const char *key)
{
    mdm_devkey_t k;
    mdm_blob_t b;
    unsigned char uuid[16];

    if (!strcmp(kind, "device") && mdm_uuid_bytes(key, uuid) == APR_SUCCESS) {
        k = devkey_device(cache, uuid);
        mdm_devcache_drop(cache, &k);
    } else if (!strcmp(kind, "cert") && mdm_unhex(scratch, key, &b) == APR_SUCCESS && b.len == 32) {
        k = mdm_devkey_cert(cache, b.data);
        mdm_devcache_drop(cache, &k);
    } else if (!strcmp(kind, "all")) {
        mdm_devcache_clear(cache);
    }
}
