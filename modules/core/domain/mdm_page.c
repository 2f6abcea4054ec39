/* Cursors are base64url of JSON ["<mac>", "<key>", "<id>"]; the mac binds them to the list that made them. */
#include "domain/mdm_page.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "base/mdm_seal.h"

#define CURSOR_MAX 2048
#define MAC_CHARS 32

static const char *mac_of(mdm_ctx_t *ctx, const char *sig, const char *key, const char *id)
{
    /* Lengths first, so that no two different triples read the same. */
    const char *text = apr_psprintf(ctx->pool, "%" APR_SIZE_T_FMT ":%s|%" APR_SIZE_T_FMT ":%s|%s", strlen(sig), sig,
                                    strlen(key), key, id);
    const char *hex;

    return mdm_seal_index(ctx, "cursor", text, &hex) == APR_SUCCESS ? apr_pstrndup(ctx->pool, hex, MAC_CHARS) : NULL;
}

static apr_status_t read_cursor(mdm_ctx_t *ctx, const char *cursor, mdm_page_t *page)
{
    static const char why[] = "is not a cursor of this list with this order and these filters";
    const char *mac, *key, *id, *want;
    mdm_blob_t raw;
    json_t *j;

    if (strlen(cursor) > CURSOR_MAX || mdm_unb64url(ctx->pool, cursor, &raw) != APR_SUCCESS
        || mdm_json_parse(ctx, (const char *)raw.data, raw.len, &j) != APR_SUCCESS)
        return mdm_fail(ctx, MDM_EINPUT, "cursor", why);
    mac = json_string_value(json_array_get(j, 0));
    key = json_string_value(json_array_get(j, 1));
    id = json_string_value(json_array_get(j, 2));
    want = mac && key && id ? mac_of(ctx, page->sig, key, id) : NULL;
    if (!mac || !key || !id || (want && !mdm_secret_equal(mac, want)))
        return mdm_fail(ctx, MDM_EINPUT, "cursor", why);
    if (!want)
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "The server has no sealing key.");
    page->first = 0;
    page->key = apr_pstrdup(ctx->pool, key);
    page->id = apr_pstrdup(ctx->pool, id);
    if (mdm_parse_i64(page->key, APR_INT64_MIN, APR_INT64_MAX, &page->num) != APR_SUCCESS)
        page->num = 0; /* a text key */
    return APR_SUCCESS;
}

apr_status_t mdm_page_read(mdm_ctx_t *ctx, const char *sig, const char *limit, const char *cursor, mdm_page_t *page)
{
    apr_int64_t n = MDM_PAGE_DEFAULT;

    if (limit && mdm_parse_i64(limit, 1, MDM_PAGE_MAX, &n) != APR_SUCCESS)
        return mdm_fail(ctx, MDM_EINPUT, "limit", "must be a number from 1 to %d", MDM_PAGE_MAX);
    page->sig = sig;
    page->count = (int)n;
    page->first = 1;
    page->key = page->id = "";
    page->num = 0;
    return cursor ? read_cursor(ctx, cursor, page) : APR_SUCCESS;
}

const char *mdm_page_next(mdm_ctx_t *ctx, const mdm_page_t *page, const char *key, const char *id)
{
    const char *mac = mac_of(ctx, page->sig, key, id), *text;
    json_t *j;

    if (!mac)
        return NULL;
    j = json_pack("[s, s, s]", mac, key, id);
    text = mdm_json_text(ctx->pool, j);
    json_decref(j);
    return text ? mdm_b64url(ctx->pool, text, strlen(text)) : NULL;
}

const char *mdm_page_next_num(mdm_ctx_t *ctx, const mdm_page_t *page, apr_int64_t key, const char *id)
{
    return mdm_page_next(ctx, page, apr_psprintf(ctx->pool, "%" APR_INT64_T_FMT, key), id);
}
