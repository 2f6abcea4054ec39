/* JSON with limits: nesting is judged before jansson allocates, fields by a table. */
#include "base/mdm_json.h"

#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>

static apr_status_t release(void *data)
{
    json_decref(data);
    return APR_SUCCESS;
}

json_t *mdm_json_own(const mdm_ctx_t *ctx, json_t *j)
{
    if (j)
        apr_pool_cleanup_register(ctx->pool, j, release, apr_pool_cleanup_null);
    return j;
}

/* Deepest nesting of brackets outside strings. */
static int depth_of(const char *text, apr_size_t len)
{
    int depth = 0, deepest = 0, quoted = 0;
    apr_size_t i;

    for (i = 0; i < len; i++) {
        char c = text[i];

        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = 0;
        } else if (c == '"') {
            quoted = 1;
        } else if (c == '{' || c == '[') {
            if (++depth > deepest)
                deepest = depth;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return deepest;
}

apr_status_t mdm_json_parse(mdm_ctx_t *ctx, const char *text, apr_size_t len, json_t **out)
{
    json_error_t err;
    json_t *j;

    *out = NULL;
    if (!text || !len)
        return mdm_fail(ctx, MDM_EINPUT, NULL, "JSON expected, nothing came");
    if (depth_of(text, len) > MDM_JSON_MAX_DEPTH)
        return mdm_fail(ctx, MDM_EINPUT, NULL, "JSON is nested deeper than %d levels",
                        MDM_JSON_MAX_DEPTH);
    j = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &err);
    if (!j)
        return mdm_fail(ctx, MDM_EINPUT, NULL, "JSON, line %d: %s", err.line,
                        mdm_clean(ctx->pool, err.text, sizeof(err.text)));
    *out = mdm_json_own(ctx, j);
    return APR_SUCCESS;
}

char *mdm_json_text(apr_pool_t *p, const json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY), *copy;

    copy = apr_pstrdup(p, text ? text : "null");
    free(text);
    return copy;
}

/* Control characters other than \n and \t have no place in names and texts; C1 ones neither. */
static int plain_text(const char *s, apr_size_t len)
{
    apr_size_t i;

    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            return 0;
        if (c == 0xc2 && i + 1 < len && (unsigned char)s[i + 1] < 0xa0)
            return 0;
    }
    return mdm_utf8_valid(s, len);
}

static int in_range(const mdm_jfield_t *f, apr_int64_t n)
{
    return (!f->min && !f->max) || (n >= f->min && n <= f->max);
}

static apr_status_t range_error(mdm_ctx_t *ctx, const mdm_jfield_t *f, const char *what)
{
    return mdm_fail(ctx, MDM_EINPUT, f->name,
                    "%s must be from %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT, what, f->min,
                    f->max);
}

static apr_status_t read_choice(mdm_ctx_t *ctx, const mdm_jfield_t *f, const char *s)
{
    const char *all = "";
    int i;

    for (i = 0; f->choices && f->choices[i]; i++) {
        if (strcmp(f->choices[i], s) == 0)
            return APR_SUCCESS;
        all = apr_pstrcat(ctx->pool, all, i ? ", " : "", f->choices[i], NULL);
    }
    return mdm_fail(ctx, MDM_EINPUT, f->name, "must be one of: %s", all);
}

static apr_status_t read_string(mdm_ctx_t *ctx, const mdm_jfield_t *f, const json_t *v)
{
    const char *s = json_string_value(v);
    apr_size_t len = json_string_length(v);

    if (!s)
        return mdm_fail(ctx, MDM_EINPUT, f->name, "must be a string");
    if (!plain_text(s, len))
        return mdm_fail(ctx, MDM_EINPUT, f->name, "must be text without control characters");
    if (f->type == MDM_JF_UUID && !mdm_is_uuid(s))
        return mdm_fail(ctx, MDM_EINPUT, f->name, "must be a UUID");
    if (f->type == MDM_JF_ENUM) {
        apr_status_t rv = read_choice(ctx, f, s);

        if (rv != APR_SUCCESS)
            return rv;
    }
    if (f->type == MDM_JF_STR && !in_range(f, (apr_int64_t)len)) {
        if (f->min > 0 && !len)
            return mdm_fail(ctx, MDM_EINPUT, f->name, "must not be empty");
        return range_error(ctx, f, "the length in bytes");
    }
    if (f->out)
        *(const char **)f->out = f->type == MDM_JF_UUID ? mdm_lower(ctx->pool, s)
                                                        : apr_pstrmemdup(ctx->pool, s, len);
    return APR_SUCCESS;
}

static apr_status_t read_scalar(mdm_ctx_t *ctx, const mdm_jfield_t *f, const json_t *v)
{
    if (f->type == MDM_JF_INT) {
        if (!json_is_integer(v))
            return mdm_fail(ctx, MDM_EINPUT, f->name, "must be a whole number");
        if (!in_range(f, json_integer_value(v)))
            return range_error(ctx, f, "the number");
        if (f->out)
            *(apr_int64_t *)f->out = json_integer_value(v);
        return APR_SUCCESS;
    }
    if (!json_is_boolean(v))
        return mdm_fail(ctx, MDM_EINPUT, f->name, "must be true or false");
    if (f->out)
        *(int *)f->out = json_is_true(v);
    return APR_SUCCESS;
}

static apr_status_t read_container(mdm_ctx_t *ctx, const mdm_jfield_t *f, json_t *v)
{
    if (f->type == MDM_JF_OBJECT ? !json_is_object(v) : !json_is_array(v))
        return mdm_fail(ctx, MDM_EINPUT, f->name, "must be an %s",
                        f->type == MDM_JF_OBJECT ? "object" : "array");
    if (f->type == MDM_JF_ARRAY && !in_range(f, (apr_int64_t)json_array_size(v)))
        return range_error(ctx, f, "the number of entries");
    if (f->out)
        *(json_t **)f->out = v;
    return APR_SUCCESS;
}

static apr_status_t read_null(mdm_ctx_t *ctx, const mdm_jfield_t *f)
{
    if (!f->nullable)
        return mdm_fail(ctx, MDM_EINPUT, f->name, "must not be null");
    if (!f->out)
        return APR_SUCCESS;
    if (f->type == MDM_JF_INT)
        *(apr_int64_t *)f->out = 0;
    else if (f->type == MDM_JF_BOOL)
        *(int *)f->out = 0;
    else
        *(void **)f->out = NULL;
    return APR_SUCCESS;
}

static apr_status_t read_field(mdm_ctx_t *ctx, const mdm_jfield_t *f, json_t *v)
{
    if (f->given)
        *f->given = 1;
    if (json_is_null(v))
        return read_null(ctx, f);
    switch (f->type) {
    case MDM_JF_STR:
    case MDM_JF_UUID:
    case MDM_JF_ENUM:
        return read_string(ctx, f, v);
    case MDM_JF_INT:
    case MDM_JF_BOOL:
        return read_scalar(ctx, f, v);
    default:
        return read_container(ctx, f, v);
    }
}

apr_status_t mdm_json_fields(mdm_ctx_t *ctx, json_t *obj, const mdm_jfield_t *fields)
{
    const mdm_jfield_t *f;
    const char *key;
    json_t *v;

    if (!json_is_object(obj))
        return mdm_fail(ctx, MDM_EINPUT, NULL, "a JSON object is expected");
    json_object_foreach(obj, key, v) {
        for (f = fields; f->name && strcmp(f->name, key) != 0; f++)
            ;
        if (!f->name)
            return mdm_fail(ctx, MDM_EINPUT, mdm_clean(ctx->pool, key, 64), "unknown field");
    }
    for (f = fields; f->name; f++) {
        apr_status_t rv = APR_SUCCESS;

        v = json_object_get(obj, f->name);
        if (v)
            rv = read_field(ctx, f, v);
        else if (f->required)
            rv = mdm_fail(ctx, MDM_EINPUT, f->name, "is missing");
        if (rv != APR_SUCCESS)
            return rv;
    }
    return APR_SUCCESS;
}
