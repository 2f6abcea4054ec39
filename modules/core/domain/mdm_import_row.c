/* Rows of a migration: read, checked, brought into one form. Nothing here touches the database. */
#include "domain/mdm_import.h"

#include <ctype.h>
#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "wire/mdm_plist.h"
#include "wire/mdm_x509.h"

#define MAX_ID 255
#define MAX_NAME 120
#define MAX_TOKEN 200         /* bytes */
#define MAX_SECRET_TEXT 90000 /* base64 of 64 KB */
#define MAX_PEM 16384

static const char *const ownerships[] = {"corporate", "personal", NULL};

/* ---------------------------------------------------------------- from a line */

static apr_status_t read_certs(mdm_ctx_t *ctx, json_t *list, mdm_import_row_t *out)
{
    size_t i;
    json_t *item;

    json_array_foreach(list, i, item) {
        if (!json_is_string(item) || json_string_length(item) > MAX_PEM) {
            return mdm_fail(ctx, MDM_EINPUT, "certificates", "Each must be a text: PEM, or SHA-256 in hex.");
        }
        out->certs[out->ncerts++] = apr_pstrdup(ctx->pool, json_string_value(item));
    }
    return APR_SUCCESS;
}

apr_status_t mdm_import_from_json(mdm_ctx_t *ctx, json_t *line, mdm_import_row_t *out)
{
    const char *enrollment = NULL;
    json_t *certs = NULL;
    const mdm_jfield_t fields[] = {
        {.name = "udid", .type = MDM_JF_STR, .min = 1, .max = MAX_ID, .out = &out->udid},
        {.name = "enrollment_id", .type = MDM_JF_STR, .min = 1, .max = MAX_ID, .out = &enrollment},
        {.name = "topic", .type = MDM_JF_STR, .required = 1, .min = 1, .max = MAX_ID, .out = &out->topic},
        {.name = "push_magic", .type = MDM_JF_STR, .required = 1, .min = 1, .max = MAX_ID, .out = &out->magic},
        {.name = "token", .type = MDM_JF_STR, .required = 1, .min = 2, .max = 2 * MAX_TOKEN, .out = &out->token},
        {.name = "certificates", .type = MDM_JF_ARRAY, .required = 1, .min = 1, .max = MDM_IMPORT_CERTS, .out = &certs},
        {.name = "unlock_token", .type = MDM_JF_STR, .max = MAX_SECRET_TEXT, .out = &out->unlock},
        {.name = "bootstrap_token", .type = MDM_JF_STR, .max = MAX_SECRET_TEXT, .out = &out->bootstrap},
        {.name = "serial", .type = MDM_JF_STR, .max = MAX_ID, .out = &out->serial},
        {.name = "imei", .type = MDM_JF_STR, .max = MAX_ID, .out = &out->imei},
        {.name = "name", .type = MDM_JF_STR, .max = MAX_ID, .out = &out->name},
        {.name = "product", .type = MDM_JF_STR, .max = MAX_ID, .out = &out->product},
        {.name = "model", .type = MDM_JF_STR, .max = MAX_ID, .out = &out->model},
        {.name = "os_version", .type = MDM_JF_STR, .max = MAX_ID, .out = &out->os_version},
        {.name = "build", .type = MDM_JF_STR, .max = MAX_ID, .out = &out->build},
        {.name = "login", .type = MDM_JF_STR, .max = MAX_ID, .out = &out->login},
        {.name = "ownership", .type = MDM_JF_ENUM, .choices = ownerships, .out = &out->ownership},
        {.name = "token_ms", .type = MDM_JF_INT, .min = 0, .max = APR_INT64_MAX, .out = &out->token_ms},
        {.name = "seen_ms", .type = MDM_JF_INT, .min = 0, .max = APR_INT64_MAX, .out = &out->seen_ms},
        {.name = "enrolled_ms", .type = MDM_JF_INT, .min = 0, .max = APR_INT64_MAX, .out = &out->enrolled_ms},
        {NULL}};
    apr_status_t rv;

    memset(out, 0, sizeof(*out));
    rv = mdm_json_fields(ctx, line, fields);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    out->native_id = enrollment ? enrollment : out->udid;
    if (!out->native_id) {
        return mdm_fail(ctx, MDM_EINPUT, "udid", "A device needs udid or enrollment_id.");
    }
    return read_certs(ctx, certs, out);
}

/* ---------------------------------------------------------------- from the device's own words */

static apr_status_t message(mdm_ctx_t *ctx, const char *xml, const char *type, const mdm_plist_t **out)
{
    mdm_plist_t *msg;
    apr_status_t rv = mdm_plist_parse(ctx, xml, strlen(xml), &msg);
    const char *is;

    if (rv != APR_SUCCESS) {
        return mdm_fail(ctx, MDM_EINPUT, type, "The stored message can't be read.");
    }
    is = msg->type == MDM_PL_DICT ? mdm_plist_str(msg, "MessageType") : NULL;
    if (!is || strcmp(is, type) != 0) {
        return mdm_fail(ctx, MDM_EINPUT, type, "The stored message is another one.");
    }
    *out = msg;
    return APR_SUCCESS;
}

static void take(const mdm_plist_t *msg, const char *key, const char **to)
{
    if (!*to) {
        *to = mdm_plist_str(msg, key);
    }
}

apr_status_t mdm_import_from_messages(mdm_ctx_t *ctx, const char *authenticate, const char *token_update, mdm_import_row_t *row)
{
    const mdm_plist_t *msg;
    const mdm_blob_t *unlock;
    apr_status_t rv = APR_SUCCESS;

    if (authenticate && (rv = message(ctx, authenticate, "Authenticate", &msg)) == APR_SUCCESS) {
        const struct {
            const char *key, **to;
        } words[] = {{"UDID", &row->udid}, {"SerialNumber", &row->serial}, {"IMEI", &row->imei}, {"ProductName", &row->product},
                     {"ModelName", &row->model}, {"DeviceName", &row->name}, {"OSVersion", &row->os_version},
                     {"BuildVersion", &row->build}};

        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            take(msg, words[i].key, words[i].to);
        }
    }
    if (rv == APR_SUCCESS && token_update && (rv = message(ctx, token_update, "TokenUpdate", &msg)) == APR_SUCCESS) {
        unlock = mdm_plist_data(msg, "UnlockToken");
        if (!row->unlock && unlock && unlock->len) {
            row->unlock = mdm_b64(ctx->pool, unlock->data, unlock->len);
        }
    }
    return rv;
}

/* ---------------------------------------------------------------- the form that is stored */

static apr_status_t check_id(mdm_ctx_t *ctx, const char *field, const char *s)
{
    if (!s || !*s || strlen(s) > MAX_ID || strcmp(s, mdm_clean(ctx->pool, s, MAX_ID)) != 0) {
        return mdm_fail(ctx, MDM_EINPUT, field, "It must be a text of 1 to %d bytes.", MAX_ID);
    }
    return APR_SUCCESS;
}

static apr_status_t check_native(mdm_ctx_t *ctx, const char *id)
{
    apr_status_t rv = check_id(ctx, "udid", id);

    return rv == APR_SUCCESS && strchr(id, ':') ? mdm_fail(ctx, MDM_EINPUT, "udid", "It is a user's channel, not a device.") : rv;
}

static apr_status_t check_token(mdm_ctx_t *ctx, mdm_import_row_t *row)
{
    mdm_blob_t token;

    if (!row->token || mdm_unhex(ctx->pool, row->token, &token) != APR_SUCCESS || token.len == 0 || token.len > MAX_TOKEN) {
        return mdm_fail(ctx, MDM_EINPUT, "token", "The push token must be 1 to %d bytes in hex.", MAX_TOKEN);
    }
    row->token = mdm_hex(ctx->pool, token.data, token.len);
    return APR_SUCCESS;
}

static apr_status_t check_secret(mdm_ctx_t *ctx, const char *field, const char **text)
{
    mdm_blob_t data;

    if (*text && !**text) {
        *text = NULL;
    }
    if (*text && (strlen(*text) > MAX_SECRET_TEXT || mdm_unb64(ctx->pool, *text, strlen(*text), &data) != APR_SUCCESS)) {
        return mdm_fail(ctx, MDM_EINPUT, field, "It must be base64 of at most 64 KB.");
    }
    return APR_SUCCESS;
}

/* PEM stays (its dates are worth knowing), a hash loses the colons that tools print. */
static apr_status_t check_cert(mdm_ctx_t *ctx, const char **text)
{
    char *hex = apr_pstrdup(ctx->pool, *text), *to = hex;
    mdm_cert_t *cert;
    mdm_blob_t hash;

    if (strstr(*text, "-----BEGIN")) {
        return mdm_cert_from_pem(ctx, *text, &cert) == APR_SUCCESS
            ? APR_SUCCESS : mdm_fail(ctx, MDM_EINPUT, "certificates", "The certificate can't be read.");
    }
    for (const char *s = *text; *s; s++) {
        if (*s != ':' && !isspace((unsigned char)*s)) {
            *to++ = *s;
        }
    }
    *to = '\0';
    if (mdm_unhex(ctx->pool, hex, &hash) != APR_SUCCESS || hash.len != 32) {
        return mdm_fail(ctx, MDM_EINPUT, "certificates", "A certificate's hash must be SHA-256: 64 hex digits.");
    }
    *text = mdm_hex(ctx->pool, hash.data, hash.len);
    return APR_SUCCESS;
}

static apr_status_t check_certs(mdm_ctx_t *ctx, mdm_import_row_t *row)
{
    apr_status_t rv = APR_SUCCESS;

    if (row->ncerts < 1) {
        return mdm_fail(ctx, MDM_EINPUT, "certificates", "No identity is known: the device could not prove who it is.");
    }
    for (int i = 0; rv == APR_SUCCESS && i < row->ncerts; i++) {
        rv = check_cert(ctx, &row->certs[i]);
    }
    return rv;
}

static void clean(mdm_ctx_t *ctx, const char **text)
{
    *text = *text ? mdm_clean(ctx->pool, *text, MAX_NAME) : NULL;
    if (*text && !**text) {
        *text = NULL;
    }
}

apr_status_t mdm_import_check(mdm_ctx_t *ctx, mdm_import_row_t *row)
{
    apr_int64_t now = mdm_now_ms(ctx), *const times[] = {&row->token_ms, &row->seen_ms, &row->enrolled_ms};
    const char **const texts[] = {&row->udid, &row->serial, &row->imei, &row->product, &row->model, &row->os_version, &row->build,
                                  &row->name, &row->login};
    apr_status_t rv;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        clean(ctx, texts[i]);
    }
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        *times[i] = *times[i] < 0 ? 0 : *times[i] > now ? now : *times[i];
    }
    if ((rv = check_native(ctx, row->native_id)) != APR_SUCCESS || (rv = check_id(ctx, "topic", row->topic)) != APR_SUCCESS
        || (rv = check_id(ctx, "push_magic", row->magic)) != APR_SUCCESS || (rv = check_token(ctx, row)) != APR_SUCCESS
        || (rv = check_secret(ctx, "unlock_token", &row->unlock)) != APR_SUCCESS
        || (rv = check_secret(ctx, "bootstrap_token", &row->bootstrap)) != APR_SUCCESS) {
        return rv;
    }
    return check_certs(ctx, row);
}
