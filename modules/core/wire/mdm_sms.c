/* The gateway's templates: read, checked, filled in. */
#include "wire/mdm_sms.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "wire/mdm_html.h"

#define ENCODERS_MAX 3
#define WORD_MAX 40
#define NAME_SET "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_."
#define HEADER_SET "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* ---------------------------------------------------------------- encoders */

static const char *percent(apr_pool_t *p, const char *s, int form)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = apr_palloc(p, strlen(s) * 3 + 1), *o = out;

    for (const unsigned char *c = (const unsigned char *)s; *c; c++) {
        if (apr_isalnum(*c) || strchr("-._~", *c)) {
            *o++ = (char)*c;
        } else if (form && *c == ' ') {
            *o++ = '+';
        } else {
            *o++ = '%';
            *o++ = hex[*c >> 4];
            *o++ = hex[*c & 15];
        }
    }
    *o = '\0';
    return out;
}

static const char *enc_url(apr_pool_t *p, const mdm_sms_gate_t *g, const char *s)
{
    return percent(p, s, 0);
}

static const char *enc_form(apr_pool_t *p, const mdm_sms_gate_t *g, const char *s)
{
    return percent(p, s, 1);
}

/* What stands between the quotes of a JSON string. */
static const char *enc_json(apr_pool_t *p, const mdm_sms_gate_t *g, const char *s)
{
    json_t *j = json_string(s);
    char *text = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
    const char *out = text && strlen(text) >= 2 ? apr_pstrmemdup(p, text + 1, strlen(text) - 2) : "";

    free(text);
    json_decref(j);
    return out;
}

static const char *enc_xml(apr_pool_t *p, const mdm_sms_gate_t *g, const char *s)
{
    mdm_html_t *h = mdm_html_make(p);

    mdm_html_text(h, s);
    return *s ? (const char *)mdm_html_out(h).data : "";
}

static const char *enc_base64(apr_pool_t *p, const mdm_sms_gate_t *g, const char *s)
{
    return mdm_b64(p, s, strlen(s));
}

static const char *enc_none(apr_pool_t *p, const mdm_sms_gate_t *g, const char *s)
{
    return s;
}

static const char *enc_digits(apr_pool_t *p, const mdm_sms_gate_t *g, const char *s)
{
    return s + (*s == '+');
}

static const char *enc_national(apr_pool_t *p, const mdm_sms_gate_t *g, const char *s)
{
    apr_size_t n = strlen(g->country);

    return *s != '+' ? s : n && !strncmp(s + 1, g->country, n) ? apr_pstrcat(p, "0", s + 1 + n, NULL) : apr_pstrcat(p, "00", s + 1, NULL);
}

typedef const char *(*encode_fn)(apr_pool_t *p, const mdm_sms_gate_t *g, const char *s);

static const struct {
    const char *name;
    encode_fn fn;
    int number; /* a form of the number, not a way to write it into a place */
} encoders[] = {{"url", enc_url, 0}, {"form", enc_form, 0}, {"json", enc_json, 0}, {"xml", enc_xml, 0}, {"base64", enc_base64, 0}, {"none", enc_none, 0},
                {"e164", enc_digits, 1}, {"e164_plus", enc_none, 1}, {"national", enc_national, 1}};

static int encoder(const char *name)
{
    for (unsigned i = 0; i < sizeof(encoders) / sizeof(encoders[0]); i++) {
        if (!strcmp(encoders[i].name, name)) {
            return (int)i;
        }
    }
    return -1;
}

/* ---------------------------------------------------------------- templates */

/* One variable of a template. */
typedef struct var_t {
    char name[WORD_MAX + 1];
    int encoders[ENCODERS_MAX], n;
    int placed;      /* one of the encoders writes it into its place */
    const char *end; /* behind it */
} var_t;

/* s: at "${". 0: it is none. */
static int read_var(const char *s, var_t *v)
{
    apr_size_t len;

    v->n = v->placed = 0;
    s += 2;
    len = strspn(s, NAME_SET);
    if (!len || len > WORD_MAX) {
        return 0;
    }
    apr_cpystrn(v->name, s, len + 1);
    for (s += len; *s == '|'; s += len) {
        char word[WORD_MAX + 1];

        len = strspn(++s, NAME_SET);
        if (v->n == ENCODERS_MAX || len > WORD_MAX) {
            return 0;
        }
        apr_cpystrn(word, s, len + 1);
        if ((v->encoders[v->n] = encoder(word)) < 0 || (encoders[v->encoders[v->n]].number && strcmp(v->name, "to") != 0)) {
            return 0;
        }
        v->placed |= !encoders[v->encoders[v->n++]].number;
    }
    v->end = s + 1;
    return *s == '}';
}

/* NULL: there is no such name. */
static const char *value_of(const mdm_sms_gate_t *g, const mdm_sms_t *m, const char *name)
{
    const struct {
        const char *name, *value;
    } values[] = {{"to", m->to}, {"text", m->text}, {"sender", g->sender}, {"id", m->id}};

    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (!strcmp(values[i].name, name)) {
            return values[i].value;
        }
    }
    return strncmp(name, "secret.", 7) ? NULL : json_string_value(json_object_get(g->secrets, name + 7));
}

static const char *fill(apr_pool_t *p, const mdm_sms_gate_t *g, const mdm_sms_t *m, const char *s, encode_fn place)
{
    mdm_html_t *h = mdm_html_make(p);
    const char *at;
    var_t v;

    for (; (at = strstr(s, "${")) != NULL; s = v.end) {
        const char *value;

        mdm_html_put(h, s, (apr_size_t)(at - s));
        if (!read_var(at, &v) || !(value = value_of(g, m, v.name))) { /* mdm_sms_check() lets none through */
            v.end = at + 2;
            continue;
        }
        for (int i = 0; i < v.n; i++) {
            value = encoders[v.encoders[i]].fn(p, g, value);
        }
        value = v.placed ? value : place(p, g, value);
        mdm_html_put(h, value, strlen(value));
    }
    mdm_html_put(h, s, strlen(s) + 1); /* with its end */
    return (const char *)mdm_html_out(h).data;
}

static encode_fn body_place(const mdm_sms_gate_t *g)
{
    static const struct {
        const char *part;
        encode_fn fn;
    } types[] = {{"json", enc_json}, {"x-www-form-urlencoded", enc_form}, {"xml", enc_xml}};
    const json_t *header;
    size_t i;

    json_array_foreach(g->headers, i, header) {
        const char *type = mdm_sms_header(header, "value");

        if (!strcasecmp(mdm_sms_header(header, "name"), "content-type")) {
            for (unsigned k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
                if (strcasestr(type, types[k].part)) {
                    return types[k].fn;
                }
            }
        }
    }
    return enc_none;
}

void mdm_sms_request(apr_pool_t *p, const mdm_sms_gate_t *g, const mdm_sms_t *m, mdm_http_req_t *req)
{
    apr_table_t *headers = apr_table_make(p, MDM_SMS_HEADERS_MAX);
    const json_t *header;
    size_t i;

    json_array_foreach(g->headers, i, header) {
        const char *value = fill(p, g, m, mdm_sms_header(header, "value"), enc_none);

        apr_table_add(headers, mdm_sms_header(header, "name"), mdm_clean(p, value, strlen(value)));
    }
    *req = (mdm_http_req_t){.method = g->method, .url = fill(p, g, m, g->url, enc_url), .headers = headers, .timeout_ms = 15000, .connect_ms = 5000,
                            .max_response = MDM_SMS_ANSWER_MAX};
    if (*g->body) {
        req->body = fill(p, g, m, g->body, body_place(g));
        req->body_len = strlen(req->body);
    }
}

/* ---------------------------------------------------------------- checking */

int mdm_sms_number_ok(const char *to)
{
    apr_size_t n = *to == '+' ? strspn(to + 1, "0123456789") : 0;

    return n >= 7 && n <= 15 && !to[n + 1] && to[1] != '0';
}

static apr_status_t check_vars(mdm_ctx_t *ctx, const mdm_sms_gate_t *g, const char *field, const char *s, int *has_to, int *has_text)
{
    static const mdm_sms_t none = {"", "", ""};
    var_t v;

    for (s = strstr(s, "${"); s; s = strstr(v.end, "${")) {
        if (!read_var(s, &v) || !value_of(g, &none, v.name)) {
            return mdm_fail(ctx, MDM_EINPUT, field, "has a variable or an encoder that is not known: %s. Known are ${to}, ${text}, ${sender}, ${id} and "
                            "${secret.NAME}, with url, form, json, xml, base64, none, and for the number e164, e164_plus, national.",
                            mdm_clean(ctx->pool, apr_pstrndup(ctx->pool, s, 40), 40));
        }
        *has_to |= !strcmp(v.name, "to");
        *has_text |= !strcmp(v.name, "text");
    }
    return APR_SUCCESS;
}

static apr_status_t check_url(mdm_ctx_t *ctx, const mdm_sms_gate_t *g)
{
    int tls = !strncmp(g->url, "https://", 8), plain = !strncmp(g->url, "http://", 7);
    const char *host = g->url + (tls ? 8 : 7);
    apr_size_t len = tls || plain ? strcspn(host, "/?#") : 0;

    if (!len || memchr(host, '@', len) || !mdm_is_host(apr_pstrmemdup(ctx->pool, host, strcspn(host, ":/?#[")))) {
        return mdm_fail(ctx, MDM_EINPUT, "url", "must be an address like https://gateway.example/send, without a variable before the path");
    }
    if (plain && !g->insecure) {
        return mdm_fail(ctx, MDM_EINPUT, "url", "must begin with https://, unless http: is allowed");
    }
    if (strpbrk(g->url, " \t\r\n\"<>\\^`") || strchr(g->url, '#')) {
        return mdm_fail(ctx, MDM_EINPUT, "url", "holds characters that an address can't have");
    }
    return APR_SUCCESS;
}

const char *mdm_sms_header(const json_t *header, const char *member)
{
    const char *s = json_string_value(json_object_get(header, member));

    return s ? s : "";
}

static apr_status_t check_headers(mdm_ctx_t *ctx, const mdm_sms_gate_t *g, int *has_to, int *has_text)
{
    static const char *const ours[] = {"host", "content-length", "transfer-encoding", "connection", "expect", NULL};
    const json_t *header;
    size_t i;
    apr_status_t rv = APR_SUCCESS;

    if (json_array_size(g->headers) > MDM_SMS_HEADERS_MAX) {
        return mdm_fail(ctx, MDM_EINPUT, "headers", "must be at most %d", MDM_SMS_HEADERS_MAX);
    }
    json_array_foreach(g->headers, i, header) {
        const char *name = mdm_sms_header(header, "name"), *value = mdm_sms_header(header, "value");

        if (!*name || strspn(name, HEADER_SET) != strlen(name) || strpbrk(value, "\r\n")) {
            return mdm_fail(ctx, MDM_EINPUT, "headers", "must be names and values of one line");
        }
        for (int k = 0; ours[k]; k++) {
            if (!strcasecmp(name, ours[k])) {
                return mdm_fail(ctx, MDM_EINPUT, "headers", "can't set %s", ours[k]);
            }
        }
        if ((rv = check_vars(ctx, g, "headers", value, has_to, has_text)) != APR_SUCCESS) {
            return rv;
        }
    }
    return rv;
}

/* What could take long or much memory is none of ours: back-references, counts. */
static int regex_ok(const char *s)
{
    apr_size_t n = strlen(MDM_SMS_REGEX);
    regex_t re;
    int ok = !strncmp(s, MDM_SMS_REGEX, n) && s[n] && !strchr(s, '{');

    for (const char *c = s; ok && (c = strchr(c, '\\')) != NULL; c += 2) {
        ok = c[1] && !apr_isdigit(c[1]);
    }
    if (!ok || regcomp(&re, s + n, REG_EXTENDED)) {
        return 0;
    }
    regfree(&re);
    return 1;
}

static apr_status_t check_pointers(mdm_ctx_t *ctx, const mdm_sms_gate_t *g)
{
    const struct {
        const char *field, *value;
    } pointers[] = {{"ok_pointer", g->ok_pointer}, {"id_pointer", g->id_pointer}, {"error_pointer", g->error_pointer}};

    for (unsigned i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++) {
        const char *s = pointers[i].value;

        if (*s && *s != '/' && !regex_ok(s)) {
            return mdm_fail(ctx, MDM_EINPUT, pointers[i].field, "must be a JSON pointer like /messages/0/id, or re: and an extended regular expression "
                            "without back-references and counts in braces");
        }
    }
    return *g->ok_value && !*g->ok_pointer ? mdm_fail(ctx, MDM_EINPUT, "ok_value", "needs ok_pointer") : APR_SUCCESS;
}

apr_status_t mdm_sms_check(mdm_ctx_t *ctx, const mdm_sms_gate_t *g)
{
    int has_to = 0, has_text = 0;
    apr_status_t rv = check_url(ctx, g);

    if (rv != APR_SUCCESS || (rv = check_vars(ctx, g, "url", g->url, &has_to, &has_text)) != APR_SUCCESS
        || (rv = check_headers(ctx, g, &has_to, &has_text)) != APR_SUCCESS
        || (rv = check_vars(ctx, g, "body", g->body, &has_to, &has_text)) != APR_SUCCESS) {
        return rv;
    }
    if (*g->body && !strcmp(g->method, "GET")) {
        return mdm_fail(ctx, MDM_EINPUT, "body", "must be empty with GET");
    }
    if (!has_to || !has_text) {
        return mdm_fail(ctx, MDM_EINPUT, *g->body || strcmp(g->method, "GET") != 0 ? "body" : "url", "must hold ${%s}", has_to ? "text" : "to");
    }
    return check_pointers(ctx, g);
}
