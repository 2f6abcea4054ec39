/* Both query forms fill one table of parameters; what they mean is decided once, so that they can't be judged differently (R45). */
#include "wire/mdm_eas_query.h"

#include <limits.h>
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define PARAMS_MAX 32     /* parameters of one query, known or not */
#define DEVICE_TYPE_MAX 64
#define BASIC_MAX 1024
#define FLAG_SAVE_IN_SENT 0x01
#define FLAG_MULTIPART 0x02

typedef enum {
    P_CMD, P_USER, P_DEVICE_ID, P_DEVICE_TYPE, P_ATTACHMENT, P_COLLECTION, P_ITEM, P_LONG, P_OCCURRENCE, P_SAVE, P_COUNT
} param_e;

/* The plain form's names in the order of the protocol's grammar; the base64 form's tags, -1: not a tagged value. */
static const struct {
    const char *name;
    int tag;
    int plus_is_space; /* as the servers read it; in a User it is a character of a mail address */
} params[P_COUNT] = {
    {"Cmd", -1, 1},          {"User", 8, 0},   {"DeviceId", -1, 1}, {"DeviceType", -1, 1}, {"AttachmentName", 0, 1},
    {"CollectionId", 1, 1},  {"ItemId", 3, 1}, {"LongId", 4, 1},    {"Occurrence", 6, 1},  {"SaveInSent", -1, 1},
};

enum { TAG_OPTIONS = 7 };

static const char *const cmd_names[MDM_EAS_CMD_COUNT] = {
    "Sync", "SendMail", "SmartForward", "SmartReply", "GetAttachment", "GetHierarchy", "CreateCollection", "DeleteCollection",
    "MoveCollection", "FolderSync", "FolderCreate", "FolderDelete", "FolderUpdate", "MoveItems", "GetItemEstimate",
    "MeetingResponse", "Search", "Settings", "Ping", "ItemOperations", "Provision", "ResolveRecipients", "ValidateCert", "Find",
};

static const struct {
    const char *text;
    int number;
    int base64;
} versions[] = {
    {"2.5", 25, 0}, {"12.0", 120, 0}, {"12.1", 121, 1}, {"14.0", 140, 1}, {"14.1", 141, 1}, {"16.0", 160, 1}, {"16.1", 161, 1},
};

/* What was found before it is judged. */
typedef struct found_t {
    const char *val[P_COUNT]; /* NULL: not sent, or empty */
    unsigned seen;            /* bit per parameter, bit P_COUNT: options */
    mdm_blob_t id;
    int base64, version, code, flags;
    unsigned locale;
    int has_key;
    apr_uint32_t key;
} found_t;

const char *mdm_eas_cmd_name(int cmd)
{
    if (cmd == MDM_EAS_OPTIONS)
        return "OPTIONS";
    return cmd >= 0 && cmd < MDM_EAS_CMD_COUNT ? cmd_names[cmd] : NULL;
}

mdm_eas_cmd_e mdm_eas_cmd_by_name(const char *name)
{
    int i;

    for (i = 0; i < MDM_EAS_CMD_COUNT; i++) {
        if (strcasecmp(name, cmd_names[i]) == 0)
            break;
    }
    return (mdm_eas_cmd_e)i;
}

int mdm_eas_version_number(const char *text)
{
    unsigned i;

    for (i = 0; text && i < sizeof(versions) / sizeof(versions[0]); i++) {
        if (strcmp(text, versions[i].text) == 0)
            return versions[i].number;
    }
    return 0;
}

const char *mdm_eas_version_text(int version)
{
    unsigned i;

    for (i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        if (version == versions[i].number)
            return versions[i].text;
    }
    return NULL;
}

/* The versions that have a base64 form. */
static int version_in_base64(int version)
{
    unsigned i;

    for (i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        if (version == versions[i].number)
            return versions[i].base64;
    }
    return 0;
}

int mdm_eas_path_ok(const char *path)
{
    static const char base[] = "/Microsoft-Server-ActiveSync";

    if (!path || strncasecmp(path, base, sizeof(base) - 1) != 0)
        return 0;
    path += sizeof(base) - 1;
    return !*path || strcmp(path, "/") == 0 || strcasecmp(path, "/default.eas") == 0;
}

/* True if s has a control character, also one of U+0080 to U+009F. */
static int has_control(const char *s)
{
    const unsigned char *u = (const unsigned char *)s;

    for (; *u; u++) {
        if (*u < 0x20 || *u == 0x7f || (*u == 0xc2 && u[1] >= 0x80 && u[1] < 0xa0))
            return 1;
    }
    return 0;
}

/* s[0..len) as UTF-8; text that is not, is taken for Windows-1252, once. */
static char *as_utf8(apr_pool_t *p, const char *s, apr_size_t len)
{
    static const unsigned short high[32] = {
        0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d, 0x8f,
        0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
    };
    char *out, *o;
    apr_size_t i;

    if (mdm_utf8_valid(s, len))
        return apr_pstrmemdup(p, s, len);
    o = out = apr_palloc(p, len * 3 + 1);
    for (i = 0; i < len; i++) {
        unsigned c = (unsigned char)s[i];

        if (c >= 0x80 && c < 0xa0)
            c = high[c - 0x80];
        if (c < 0x80) {
            *o++ = (char)c;
        } else if (c < 0x800) {
            *o++ = (char)(0xc0 | c >> 6);
            *o++ = (char)(0x80 | (c & 63));
        } else {
            *o++ = (char)(0xe0 | c >> 12);
            *o++ = (char)(0x80 | (c >> 6 & 63));
            *o++ = (char)(0x80 | (c & 63));
        }
    }
    *o = '\0';
    return out;
}

static int hex_value(char c)
{
    return apr_isdigit(c) ? c - '0' : apr_isxdigit(c) ? (c | 32) - 'a' + 10 : -1;
}

/* Percent decoding; NULL for a broken escape or an encoded NUL. */
static char *unescape(apr_pool_t *p, const char *s, apr_size_t len, int plus_is_space)
{
    char *out = apr_palloc(p, len + 1), *o = out;
    apr_size_t i;

    for (i = 0; i < len; i++) {
        if (s[i] == '%') {
            int high = i + 2 < len ? hex_value(s[i + 1]) : -1, low = high >= 0 ? hex_value(s[i + 2]) : -1;

            if (low < 0 || !(high | low))
                return NULL;
            *o++ = (char)(high << 4 | low);
            i += 2;
        } else {
            *o++ = s[i] == '+' && plus_is_space ? ' ' : s[i];
        }
    }
    *o = '\0';
    return out;
}

static apr_status_t twice(mdm_ctx_t *ctx, const char *name)
{
    return mdm_fail(ctx, MDM_EINPUT, name, "is there twice");
}

/* Notes a parameter's value; both forms pass here. */
static apr_status_t note(mdm_ctx_t *ctx, found_t *f, param_e param, const char *value)
{
    if (f->seen & 1u << param)
        return twice(ctx, params[param].name);
    f->seen |= 1u << param;
    if (has_control(param == P_USER || param == P_DEVICE_TYPE ? as_utf8(ctx->pool, value, strlen(value)) : value))
        return mdm_fail(ctx, MDM_EINPUT, params[param].name, "has a control character");
    f->val[param] = *value ? value : NULL;
    return APR_SUCCESS;
}

/* ---- plain form ---- */

static apr_status_t plain_param(mdm_ctx_t *ctx, found_t *f, const char *s, apr_size_t len)
{
    const char *eq = memchr(s, '=', len), *name, *value;
    apr_size_t name_len = eq ? (apr_size_t)(eq - s) : len;
    int i;

    name = unescape(ctx->pool, s, name_len, 1);
    for (i = 0; name && i < P_COUNT; i++) {
        if (strcasecmp(name, params[i].name) == 0)
            break;
    }
    if (!name)
        return mdm_fail(ctx, MDM_EINPUT, "query", "a broken %% escape");
    if (i == P_COUNT)
        return APR_SUCCESS;
    value = eq ? unescape(ctx->pool, eq + 1, len - name_len - 1, params[i].plus_is_space) : "";
    if (!value)
        return mdm_fail(ctx, MDM_EINPUT, params[i].name, "a broken %% escape");
    return note(ctx, f, (param_e)i, value);
}

static apr_status_t read_plain(mdm_ctx_t *ctx, found_t *f, const char *query)
{
    unsigned count = 0;
    apr_status_t rv;

    while (*query) {
        apr_size_t len = strcspn(query, "&");

        if (len && ++count > PARAMS_MAX)
            return mdm_fail(ctx, MDM_EINPUT, "query", "too many parameters");
        if (len && (rv = plain_param(ctx, f, query, len)) != APR_SUCCESS)
            return rv;
        query += len + (query[len] == '&');
    }
    if (f->val[P_DEVICE_ID]) {
        f->id.data = (const unsigned char *)f->val[P_DEVICE_ID];
        f->id.len = strlen(f->val[P_DEVICE_ID]);
    }
    return APR_SUCCESS;
}

/* ---- base64 form ---- */

typedef struct reader_t {
    const unsigned char *at, *end;
    int bad; /* read past the end */
} reader_t;

static const unsigned char *take(reader_t *r, apr_size_t len)
{
    const unsigned char *at = r->at;

    if (r->bad || (apr_size_t)(r->end - at) < len) {
        r->bad = 1;
        return NULL;
    }
    r->at += len;
    return at;
}

static unsigned take_byte(reader_t *r)
{
    const unsigned char *at = take(r, 1);

    return at ? *at : 0;
}

/* A value behind its length byte; one with a NUL inside is broken. */
static const char *take_text(mdm_ctx_t *ctx, reader_t *r)
{
    unsigned len = take_byte(r);
    const unsigned char *at = take(r, len);

    if (!at || memchr(at, 0, len)) {
        r->bad = 1;
        return "";
    }
    return apr_pstrmemdup(ctx->pool, (const char *)at, len);
}

static apr_status_t tagged_param(mdm_ctx_t *ctx, found_t *f, reader_t *r)
{
    int tag = (int)take_byte(r), i;

    if (tag == TAG_OPTIONS) {
        if (take_byte(r) != 1)
            r->bad = 1;
        f->flags = (int)take_byte(r);
        if (f->seen & 1u << P_COUNT)
            return twice(ctx, "Options");
        f->seen |= 1u << P_COUNT;
        return APR_SUCCESS;
    }
    for (i = 0; i < P_COUNT; i++) {
        if (params[i].tag == tag) {
            const char *value = take_text(ctx, r);

            return r->bad ? APR_SUCCESS : note(ctx, f, (param_e)i, value);
        }
    }
    take(r, take_byte(r));
    return APR_SUCCESS;
}

static apr_status_t read_base64(mdm_ctx_t *ctx, found_t *f, const char *query)
{
    const char *text = unescape(ctx->pool, query, strlen(query), 0), *type;
    apr_size_t len = text ? strlen(text) : 0;
    unsigned count = 0, key_len;
    const unsigned char *key;
    mdm_blob_t blob;
    reader_t r;
    apr_status_t rv;

    /* some clients leave the padding away */
    if (text && len % 4 > 1 && text[len - 1] != '=') {
        text = apr_pstrcat(ctx->pool, text, len % 4 == 2 ? "==" : "=", NULL);
        len = strlen(text);
    }
    if (!text || strpbrk(text, " \t\r\n\v\f") || mdm_unb64(ctx->pool, text, len, &blob) != APR_SUCCESS)
        return mdm_fail(ctx, MDM_EINPUT, "query", "neither parameters nor base64");
    r.at = blob.data;
    r.end = blob.data + blob.len;
    r.bad = 0;
    f->base64 = 1;
    f->version = (int)take_byte(&r);
    f->code = (int)take_byte(&r);
    f->locale = take_byte(&r);
    f->locale |= take_byte(&r) << 8;
    f->id.len = take_byte(&r);
    f->id.data = take(&r, f->id.len);
    key_len = take_byte(&r);
    key = take(&r, key_len);
    if (key_len == 4 && key) {
        f->has_key = 1;
        f->key = key[0] | (apr_uint32_t)key[1] << 8 | (apr_uint32_t)key[2] << 16 | (apr_uint32_t)key[3] << 24;
    } else if (key_len) {
        r.bad = 1;
    }
    type = take_text(ctx, &r);
    if (!r.bad && (rv = note(ctx, f, P_DEVICE_TYPE, type)) != APR_SUCCESS)
        return rv;
    while (!r.bad && r.at < r.end) {
        if (++count > PARAMS_MAX)
            return mdm_fail(ctx, MDM_EINPUT, "query", "too many parameters");
        if ((rv = tagged_param(ctx, f, &r)) != APR_SUCCESS)
            return rv;
    }
    return r.bad ? mdm_fail(ctx, MDM_EINPUT, "query", "cut off or malformed") : APR_SUCCESS;
}

/* ---- what it means ---- */

static int id_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
}

/* Windows Phone sends the 16 bytes of a GUID in the base64 form, and the same as hex in the plain form. */
static apr_status_t set_device_id(mdm_ctx_t *ctx, mdm_eas_query_t *q, const found_t *f)
{
    apr_size_t i;
    char *id, *c;

    for (i = 0; i < f->id.len && id_char(f->id.data[i]); i++)
        ;
    if (i < f->id.len && !(f->base64 && f->id.len == 16))
        return mdm_fail(ctx, MDM_EINPUT, "DeviceId", "may have letters and digits only");
    if (f->id.len > MDM_EAS_DEVICE_ID_MAX)
        return mdm_fail(ctx, MDM_EINPUT, "DeviceId", "is longer than %d characters", MDM_EAS_DEVICE_ID_MAX);
    id = i < f->id.len ? mdm_hex(ctx->pool, f->id.data, f->id.len)
                       : apr_pstrmemdup(ctx->pool, (const char *)f->id.data, f->id.len);
    for (c = id; *c; c++)
        *c = (char)apr_toupper(*c);
    q->device_id = id;
    q->device_id_sent = f->id;
    return APR_SUCCESS;
}

static apr_status_t set_device(mdm_ctx_t *ctx, mdm_eas_query_t *q, const found_t *f, int options)
{
    const char *type = f->val[P_DEVICE_TYPE];

    q->device_id = q->device_type = "";
    if (!f->id.len && !options)
        return mdm_fail(ctx, MDM_EINPUT, "DeviceId", "is missing");
    if (!type && !options)
        return mdm_fail(ctx, MDM_EINPUT, "DeviceType", "is missing");
    if (type)
        q->device_type = as_utf8(ctx->pool, type, strlen(type));
    if (strlen(q->device_type) > DEVICE_TYPE_MAX)
        return mdm_fail(ctx, MDM_EINPUT, "DeviceType", "is longer than %d bytes", DEVICE_TYPE_MAX);
    return f->id.len ? set_device_id(ctx, q, f) : APR_SUCCESS;
}

static apr_status_t set_command(mdm_ctx_t *ctx, mdm_eas_query_t *q, const found_t *f, int options)
{
    q->cmd = MDM_EAS_OPTIONS;
    if (options)
        return APR_SUCCESS;
    if (!f->base64 && !f->val[P_CMD])
        return mdm_fail(ctx, MDM_EINPUT, "Cmd", "is missing");
    q->cmd = f->base64 ? (mdm_eas_cmd_e)f->code : mdm_eas_cmd_by_name(f->val[P_CMD]);
    if (q->cmd >= MDM_EAS_CMD_COUNT ||
        (f->base64 && q->cmd >= MDM_EAS_GET_HIERARCHY && q->cmd <= MDM_EAS_MOVE_COLLECTION))
        return mdm_fail(ctx, MDM_EINPUT, "Cmd", "is not a command");
    return APR_SUCCESS;
}

static apr_status_t set_version(mdm_ctx_t *ctx, mdm_eas_query_t *q, const found_t *f, const mdm_eas_input_t *in)
{
    static const char field[] = "MS-ASProtocolVersion";
    int header = mdm_eas_version_number(in->version);

    if (f->base64 && !version_in_base64(f->version))
        return mdm_fail(ctx, MDM_EINPUT, field, "the query has a version that does not exist");
    q->version = f->base64 ? f->version : header;
    if (f->base64 && in->version && header != f->version)
        return mdm_fail(ctx, MDM_EINPUT, field, "header and query differ");
    if (!in->options && !q->version)
        return mdm_fail(ctx, MDM_EINPUT, field, in->version ? "this version does not exist" : "is missing");
    return APR_SUCCESS;
}

static apr_status_t set_key(mdm_ctx_t *ctx, mdm_eas_query_t *q, const found_t *f, const mdm_eas_input_t *in)
{
    static const char field[] = "X-MS-PolicyKey";
    apr_int64_t number;

    if (f->has_key) {
        q->key = MDM_EAS_KEY_GIVEN;
        q->policy_key = f->key;
    }
    if (!in->policy_key || !*in->policy_key)
        return APR_SUCCESS;
    if (strlen(in->policy_key) > MDM_EAS_POLICY_KEY_MAX || has_control(in->policy_key))
        return mdm_fail(ctx, MDM_EINPUT, field, "is malformed");
    if (mdm_parse_i64(in->policy_key, 0, APR_UINT32_MAX, &number) != APR_SUCCESS) {
        if (f->has_key)
            return mdm_fail(ctx, MDM_EINPUT, field, "header and query differ");
        q->key = MDM_EAS_KEY_FOREIGN;
        return APR_SUCCESS;
    }
    if (f->has_key && f->key != (apr_uint32_t)number)
        return mdm_fail(ctx, MDM_EINPUT, field, "header and query differ");
    q->key = MDM_EAS_KEY_GIVEN;
    q->policy_key = (apr_uint32_t)number;
    return APR_SUCCESS;
}

static apr_status_t set_rest(mdm_ctx_t *ctx, mdm_eas_query_t *q, const found_t *f, const mdm_eas_input_t *in)
{
    const char *save = f->val[P_SAVE], *multi = in->multipart;

    if (save && strcasecmp(save, "T") != 0 && strcasecmp(save, "F") != 0)
        return mdm_fail(ctx, MDM_EINPUT, "SaveInSent", "must be T or F");
    q->save_in_sent = (save && apr_toupper(*save) == 'T') || (f->flags & FLAG_SAVE_IN_SENT);
    q->multipart = (multi && strcasecmp(multi, "T") == 0) || (f->flags & FLAG_MULTIPART);
    if (f->val[P_USER])
        q->user = as_utf8(ctx->pool, f->val[P_USER], strlen(f->val[P_USER]));
    q->attachment_name = f->val[P_ATTACHMENT];
    q->collection_id = f->val[P_COLLECTION];
    q->item_id = f->val[P_ITEM];
    q->long_id = f->val[P_LONG];
    q->occurrence = f->val[P_OCCURRENCE];
    return APR_SUCCESS;
}

/* A query without "&" whose "=" are at its end only has no parameter with a value: it is the base64 form. */
static int looks_base64(const char *query)
{
    apr_size_t eq = strcspn(query, "=");

    return !strchr(query, '&') && query[eq + strspn(query + eq, "=")] == '\0';
}

apr_status_t mdm_eas_query_parse(mdm_ctx_t *ctx, const mdm_eas_input_t *in, mdm_eas_query_t **out)
{
    const char *query = in->query ? in->query : "";
    mdm_eas_query_t *q = apr_pcalloc(ctx->pool, sizeof(*q));
    found_t f = {.id = {(const unsigned char *)"", 0}};
    apr_status_t rv;

    *out = NULL;
    if (strlen(query) > MDM_EAS_QUERY_MAX)
        return mdm_fail(ctx, MDM_EINPUT, "query", "is longer than %d bytes", MDM_EAS_QUERY_MAX);
    if (!*query && !in->options)
        return mdm_fail(ctx, MDM_EINPUT, "query", "is missing");
    rv = *query && looks_base64(query) ? read_base64(ctx, &f, query) : read_plain(ctx, &f, query);
    if (rv != APR_SUCCESS || (rv = set_command(ctx, q, &f, in->options)) != APR_SUCCESS ||
        (rv = set_version(ctx, q, &f, in)) != APR_SUCCESS || (rv = set_device(ctx, q, &f, in->options)) != APR_SUCCESS ||
        (rv = set_key(ctx, q, &f, in)) != APR_SUCCESS || (rv = set_rest(ctx, q, &f, in)) != APR_SUCCESS)
        return rv;
    /* OPTIONS has no command code, so only the plain form can say it again */
    q->form = f.base64 && !in->options ? MDM_EAS_FORM_BASE64 : MDM_EAS_FORM_PLAIN;
    q->locale = f.locale;
    *out = q;
    return APR_SUCCESS;
}

/* ---- writing ---- */

static const char *param_value(const mdm_eas_query_t *q, const mdm_eas_rebuild_t *how, param_e param)
{
    switch (param) {
    case P_USER: return how->user ? how->user : q->user;
    case P_ATTACHMENT: return q->attachment_name;
    case P_COLLECTION: return q->collection_id;
    case P_ITEM: return q->item_id;
    case P_LONG: return q->long_id;
    case P_OCCURRENCE: return q->occurrence;
    case P_CMD: return q->cmd == MDM_EAS_OPTIONS ? NULL : mdm_eas_cmd_name(q->cmd);
    case P_DEVICE_ID: {
        apr_size_t i;

        for (i = 0; i < q->device_id_sent.len && id_char(q->device_id_sent.data[i]); i++)
            ;
        return i < q->device_id_sent.len || !i ? q->device_id : (const char *)q->device_id_sent.data;
    }
    case P_DEVICE_TYPE: return q->device_type;
    case P_SAVE: return q->save_in_sent ? "T" : NULL;
    default: return NULL;
    }
}

static void build_plain(mdm_ctx_t *ctx, const mdm_eas_query_t *q, const mdm_eas_rebuild_t *how, mdm_eas_line_t *out)
{
    static const char hex[] = "0123456789ABCDEF";
    apr_size_t size = 1;
    char *o, *start;
    int i;

    for (i = 0; i < P_COUNT; i++) {
        const char *value = param_value(q, how, (param_e)i);

        size += value ? strlen(params[i].name) + 2 + 3 * (i == P_DEVICE_ID ? strlen(q->device_id) : strlen(value)) : 0;
    }
    o = start = apr_palloc(ctx->pool, size);
    for (i = 0; i < P_COUNT; i++) {
        const char *value = param_value(q, how, (param_e)i), *end;

        if (!value || !*value)
            continue;
        end = value + (i == P_DEVICE_ID ? strlen(q->device_id) : strlen(value));
        if (o > start)
            *o++ = '&';
        o = apr_cpystrn(o, params[i].name, strlen(params[i].name) + 1);
        *o++ = '=';
        for (; value < end; value++) {
            unsigned char c = (unsigned char)*value;

            if (id_char(c) || c == '.' || c == '~') {
                *o++ = (char)c;
            } else {
                *o++ = '%';
                *o++ = hex[c >> 4];
                *o++ = hex[c & 15];
            }
        }
    }
    *o = '\0';
    out->query = start;
    out->version = mdm_eas_version_text(q->version);
    out->policy_key = how->has_key ? apr_psprintf(ctx->pool, "%u", how->policy_key) : NULL;
    out->multipart = q->multipart ? "T" : NULL;
}

static unsigned char *put_value(unsigned char *o, const void *value, apr_size_t len)
{
    *o++ = (unsigned char)len;
    memcpy(o, value, len);
    return o + len;
}

static apr_status_t build_base64(mdm_ctx_t *ctx, const mdm_eas_query_t *q, const mdm_eas_rebuild_t *how, mdm_eas_line_t *out)
{
    unsigned char buf[16 + 257 * (P_COUNT + 2)], *o = buf;
    int i, flags = (q->save_in_sent ? FLAG_SAVE_IN_SENT : 0) | (q->multipart ? FLAG_MULTIPART : 0);

    if (!version_in_base64(q->version))
        return mdm_fail(ctx, MDM_EINPUT, "MS-ASProtocolVersion", "has no base64 form");
    if (q->cmd < 0 || (q->cmd >= MDM_EAS_GET_HIERARCHY && q->cmd <= MDM_EAS_MOVE_COLLECTION))
        return mdm_fail(ctx, MDM_EINPUT, "Cmd", "has no base64 form");
    *o++ = (unsigned char)q->version;
    *o++ = (unsigned char)q->cmd;
    *o++ = (unsigned char)q->locale;
    *o++ = (unsigned char)(q->locale >> 8);
    o = put_value(o, q->device_id_sent.data, q->device_id_sent.len);
    *o++ = how->has_key ? 4 : 0;
    for (i = 0; how->has_key && i < 4; i++)
        *o++ = (unsigned char)(how->policy_key >> 8 * i);
    o = put_value(o, q->device_type, strlen(q->device_type));
    for (i = 0; i < P_COUNT; i++) {
        const char *value = params[i].tag < 0 ? NULL : param_value(q, how, (param_e)i);
        apr_size_t len = value ? strlen(value) : 0;

        if (len > UCHAR_MAX)
            return mdm_fail(ctx, MDM_EINPUT, params[i].name, "is longer than 255 bytes");
        if (len) {
            *o++ = (unsigned char)params[i].tag;
            o = put_value(o, value, len);
        }
    }
    if (flags) {
        *o++ = TAG_OPTIONS;
        *o++ = 1;
        *o++ = (unsigned char)flags;
    }
    out->query = mdm_b64(ctx->pool, buf, (apr_size_t)(o - buf));
    out->version = out->policy_key = out->multipart = NULL;
    return APR_SUCCESS;
}

apr_status_t mdm_eas_query_build(mdm_ctx_t *ctx, const mdm_eas_query_t *q, const mdm_eas_rebuild_t *how, mdm_eas_line_t *out)
{
    mdm_eas_form_e form = how->form == MDM_EAS_FORM_SAME ? q->form : how->form;

    if (form == MDM_EAS_FORM_BASE64)
        return build_base64(ctx, q, how, out);
    build_plain(ctx, q, how, out);
    return APR_SUCCESS;
}

/* ---- credentials ---- */

/* DOMAIN\name and, rarely, DOMAIN/name; else name@domain. */
static void split_login(mdm_ctx_t *ctx, mdm_basic_t *out)
{
    const char *slash = strpbrk(out->login, "\\/"), *at = strrchr(out->login, '@');

    out->name = out->login;
    out->domain = "";
    out->is_mail = 0;
    if (slash) {
        out->domain = apr_pstrmemdup(ctx->pool, out->login, (apr_size_t)(slash - out->login));
        out->name = slash + 1;
    } else if (at && at > out->login && at[1]) {
        out->name = apr_pstrmemdup(ctx->pool, out->login, (apr_size_t)(at - out->login));
        out->domain = at + 1;
        out->is_mail = 1;
    }
}

apr_status_t mdm_basic_parse(mdm_ctx_t *ctx, const char *header, mdm_basic_t *out)
{
    static const char field[] = "Authorization";
    mdm_blob_t blob;
    char *text, *colon;

    memset(out, 0, sizeof(*out));
    if (!header || strlen(header) > BASIC_MAX || strncasecmp(header, "Basic ", 6) != 0)
        return mdm_fail(ctx, MDM_EAUTH, field, "log in with name and password");
    header += 6 + strspn(header + 6, " ");
    if (mdm_unb64(ctx->pool, header, strlen(header), &blob) != APR_SUCCESS || memchr(blob.data, 0, blob.len))
        return mdm_fail(ctx, MDM_EAUTH, field, "is malformed");
    text = as_utf8(ctx->pool, (const char *)blob.data, blob.len);
    mdm_wipe((void *)blob.data, blob.len);
    if (!(colon = strchr(text, ':'))) {
        mdm_wipe(text, strlen(text));
        return mdm_fail(ctx, MDM_EAUTH, field, "is malformed");
    }
    *colon = '\0';
    out->login = text;
    split_login(ctx, out);
    if (!*out->name || !colon[1] || has_control(text)) {
        mdm_wipe(colon + 1, strlen(colon + 1));
        memset(out, 0, sizeof(*out));
        return mdm_fail(ctx, MDM_EAUTH, field, "name and password must not be empty");
    }
    out->password = colon + 1;
    return APR_SUCCESS;
}
