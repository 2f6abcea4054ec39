/* What a gateway answers, and how long a text is. */
#include "wire/mdm_sms.h"

#include <limits.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <apr_date.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "wire/mdm_html.h"
#include "wire/mdm_probe.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define WORDS_MAX 300
#define REGEX_TEXT_MAX 4096 /* of an answer that is searched */
#define NEEDLE_MIN 4
#define HIDDEN "***"

/* ---------------------------------------------------------------- redaction */

static const char *hide(apr_pool_t *p, const char *text, const char *needle)
{
    apr_size_t len = needle ? strlen(needle) : 0;
    mdm_html_t *h = mdm_html_make(p);
    const char *at;

    if (len < NEEDLE_MIN || !strstr(text, needle)) {
        return text;
    }
    for (; (at = strstr(text, needle)) != NULL; text = at + len) {
        mdm_html_put(h, text, (apr_size_t)(at - text));
        mdm_html_raw(h, HIDDEN);
    }
    mdm_html_put(h, text, strlen(text) + 1); /* with its end */
    return (const char *)mdm_html_out(h).data;
}

/* In the forms that the request may have had it in. */
static const char *hide_forms(apr_pool_t *p, const mdm_sms_gate_t *g, const char *text, const char *value)
{
    static const char *const forms[] = {"${secret.x|none}", "${secret.x|url}", "${secret.x|form}", "${secret.x|json}", "${secret.x|xml}", "${secret.x|base64}"};
    const mdm_sms_t none = {"", "", ""};
    json_t *secrets = json_pack("{s:s}", "x", value);

    for (unsigned i = 0; secrets && i < sizeof(forms) / sizeof(forms[0]); i++) {
        const mdm_sms_gate_t one = {.method = "PUT", .url = "", .body = forms[i], .secrets = secrets, .sender = "", .country = ""};
        mdm_http_req_t req;

        mdm_sms_request(p, &one, &none, &req);
        text = hide(p, text, req.body);
    }
    json_decref(secrets);
    return text;
}

const char *mdm_sms_redact(apr_pool_t *p, const mdm_sms_gate_t *g, const mdm_sms_t *m, const char *text, apr_size_t max)
{
    const char *name, *prefix = apr_pstrcat(p, "+", g->country, NULL);
    const json_t *value;

    text = apr_pstrndup(p, text, MDM_SMS_ANSWER_MAX);
    json_object_foreach((json_t *)g->secrets, name, value) {
        text = hide_forms(p, g, text, json_string_value(value));
    }
    text = hide_forms(p, g, text, m->text);
    text = hide_forms(p, g, text, m->to);
    text = hide(p, text, m->to + (*m->to == '+'));
    if (!strncmp(m->to, prefix, strlen(prefix))) {
        text = hide(p, text, m->to + strlen(prefix)); /* the national form ends so */
    }
    return mdm_clean(p, text, max);
}

/* ---------------------------------------------------------------- judging */

/* RFC 6901; NULL: there is nothing. */
static const json_t *find(apr_pool_t *p, const json_t *j, const char *pointer)
{
    char *last, *part, *copy = apr_pstrdup(p, pointer);

    for (part = apr_strtok(copy, "/", &last); j && part; part = apr_strtok(NULL, "/", &last)) {
        char *o = part;
        apr_int64_t at;

        for (const char *s = part; *s; s++) {
            int escaped = s[0] == '~' && (s[1] == '0' || s[1] == '1');

            *o++ = !escaped ? *s : s[1] == '0' ? '~' : '/';
            s += escaped;
        }
        *o = '\0';
        if (json_is_array(j)) {
            j = mdm_parse_i64(part, 0, INT_MAX, &at) == APR_SUCCESS ? json_array_get(j, (size_t)at) : NULL;
        } else {
            j = json_object_get(j, part);
        }
    }
    return j;
}

/* What came: as it is, and as JSON if it is some. */
typedef struct answer_t {
    const char *text;
    json_t *json;
} answer_t;

static const char *fitting(apr_pool_t *p, const char *text, const char *pattern)
{
    const char *piece = apr_pstrndup(p, text, REGEX_TEXT_MAX), *out = NULL;
    regmatch_t m[2];
    regex_t re;
    int k;

    if (regcomp(&re, pattern, REG_EXTENDED)) {
        return NULL;
    }
    if (!regexec(&re, piece, 2, m, 0)) {
        k = re.re_nsub && m[1].rm_so >= 0;
        out = apr_pstrmemdup(p, piece + m[k].rm_so, (apr_size_t)(m[k].rm_eo - m[k].rm_so));
    }
    regfree(&re);
    return out;
}

/* What stands at a place, as text; NULL: nothing. */
static const char *text_at(apr_pool_t *p, const answer_t *answer, const char *place)
{
    const json_t *j = *place == '/' ? find(p, answer->json, place) : NULL;
    char *text;
    const char *out = NULL;

    if (!strncmp(place, MDM_SMS_REGEX, strlen(MDM_SMS_REGEX))) {
        return fitting(p, answer->text, place + strlen(MDM_SMS_REGEX));
    }
    if (!j || json_is_string(j)) {
        return json_string_value(j);
    }
    if ((text = json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT)) != NULL) {
        out = apr_pstrdup(p, text);
        free(text);
    }
    return out;
}

static apr_int64_t wait_of(mdm_ctx_t *ctx, const mdm_http_req_t *req)
{
    const char *after = req->response_headers ? apr_table_get(req->response_headers, "retry-after") : NULL;
    apr_int64_t s = 0, at;

    if (!after) {
        return 0;
    }
    if (mdm_parse_i64(after, 0, APR_INT64_MAX / 1000, &s) == APR_SUCCESS) {
        s *= 1000;
    } else if ((at = apr_time_as_msec(apr_date_parse_http(after))) > 0) {
        s = at - mdm_now_ms(ctx);
    }
    return s < 0 ? 0 : s < DAY_MS ? s : DAY_MS;
}

static int listed(int status, const int *list)
{
    while (*list && *list != status) {
        list++;
    }
    return *list != 0;
}

/* An answer came. */
static void judge_answer(mdm_ctx_t *ctx, const mdm_sms_gate_t *g, const mdm_http_req_t *req, const answer_t *answer, mdm_sms_said_t *out)
{
    static const int wrong[] = {400, 406, 409, 410, 413, 414, 415, 416, 422, 0}; /* it is about this message */
    static const int busy[] = {429, 503, 0};                                      /* it is about all of them */
    const char *value = text_at(ctx->pool, answer, g->ok_pointer);

    if (req->status >= 200 && req->status <= 299) {
        int ok = !*g->ok_pointer || (value && (*g->ok_value ? !strcmp(value, g->ok_value) : strcmp(value, "null") != 0 && strcmp(value, "false") != 0));

        out->result = ok ? MDM_SMS_SENT : MDM_SMS_REFUSED;
    } else if (listed(req->status, wrong)) {
        out->result = MDM_SMS_REFUSED;
    } else {
        out->result = MDM_SMS_AWAY;
        out->touched = !listed(req->status, busy);
        out->wait_ms = wait_of(ctx, req);
    }
}

static void judge_failure(mdm_ctx_t *ctx, const mdm_http_req_t *req, mdm_sms_said_t *out)
{
    static const char *const unsaid[] = {"dns", "connect", "tls", "breaker open", NULL}; /* the gateway has heard nothing */
    int i = 0;

    while (unsaid[i] && strcmp(unsaid[i], req->error) != 0) {
        i++;
    }
    out->result = req->rv == MDM_ETOOBIG || req->rv == MDM_EINPUT ? MDM_SMS_REFUSED : MDM_SMS_AWAY;
    out->touched = !unsaid[i] && req->rv != MDM_EDENIED;
    out->words = req->rv == MDM_EDENIED ? MDM_SMS_DENIED
               : req->rv == MDM_ETOOBIG ? "The gateway's answer is too large: whether the message was sent is not known."
               : req->detail            ? apr_pstrcat(ctx->pool, req->error, ": ", req->detail, NULL)
                                        : req->error;
}

void mdm_sms_judge(mdm_ctx_t *ctx, const mdm_sms_gate_t *g, const mdm_sms_t *m, const mdm_http_req_t *req, mdm_sms_said_t *out)
{
    const char *text = req->rv == APR_SUCCESS && req->response.len ? (const char *)req->response.data : "", *words, *ref;
    answer_t answer = {text, NULL};
    mdm_ctx_t quiet = *ctx; /* that it is no JSON is no failure of the call */

    *out = (mdm_sms_said_t){.words = "", .ref = ""};
    if (req->rv != APR_SUCCESS) {
        judge_failure(ctx, req, out);
        out->words = mdm_sms_redact(ctx->pool, g, m, out->words, WORDS_MAX);
        return;
    }
    if (strchr("{[", text[strspn(text, " \t\r\n")]) && *text) {
        mdm_json_parse(&quiet, text, strlen(text), &answer.json);
    }
    judge_answer(ctx, g, req, &answer, out);
    words = text_at(ctx->pool, &answer, g->error_pointer);
    ref = text_at(ctx->pool, &answer, g->id_pointer);
    words = mdm_sms_redact(ctx->pool, g, m, words ? words : text, WORDS_MAX);
    out->words = apr_psprintf(ctx->pool, "HTTP %d%s%s", req->status, *words ? ": " : "", words);
    out->ref = ref ? mdm_sms_redact(ctx->pool, g, m, ref, 100) : "";
}

/* ---------------------------------------------------------------- length */

/* The characters of GSM 03.38 beyond ASCII; those of the second list, and eight of ASCII, take two septets. */
static int septets(unsigned c)
{
    static const unsigned short basic[] = {0xa3, 0xa5, 0xe8, 0xe9, 0xf9, 0xec, 0xf2, 0xc7, 0xd8, 0xf8, 0xc5, 0xe5, 0x394, 0x3a6, 0x393, 0x39b, 0x3a9, 0x3a0,
                                           0x3a8, 0x3a3, 0x398, 0x39e, 0xc6, 0xe6, 0xdf, 0xc9, 0xa4, 0xa1, 0xc4, 0xd6, 0xd1, 0xdc, 0xa7, 0xbf, 0xe4, 0xf6,
                                           0xf1, 0xfc, 0xe0, 0};

    if (c < 0x80) {
        return strchr("^{}\\[~]|", (int)c) ? 2 : c == '`' || (c < ' ' && c != '\n' && c != '\r') ? 0 : 1;
    }
    if (c == 0x20ac) {
        return 2;
    }
    for (int i = 0; basic[i]; i++) {
        if (basic[i] == c) {
            return 1;
        }
    }
    return 0;
}

/* The next character of valid UTF-8. */
static unsigned next_char(const unsigned char **s)
{
    unsigned c = *(*s)++;
    int more = c < 0xc0 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;

    c &= more == 3 ? 0x07 : more == 2 ? 0x0f : more == 1 ? 0x1f : 0x7f;
    while (more-- && **s) {
        c = c << 6 | (*(*s)++ & 0x3f);
    }
    return c;
}

/* Characters are not cut in two at the end of a part. */
static int parts_of(const char *text, int gsm, int room)
{
    int parts = 1, used = 0;

    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        unsigned c = next_char(&s);
        int n = gsm ? septets(c) : c > 0xffff ? 2 : 1;

        if (used + n > room) {
            parts++;
            used = 0;
        }
        used += n;
    }
    return parts;
}

void mdm_sms_count(const char *text, mdm_sms_length_t *out)
{
    int gsm = 1, wide = 0, narrow = 0;

    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        unsigned c = next_char(&s);

        gsm &= septets(c) > 0;
        narrow += septets(c);
        wide += c > 0xffff ? 2 : 1;
    }
    out->encoding = gsm ? "gsm" : "ucs2";
    out->units = gsm ? narrow : wide;
    out->parts = out->units <= (gsm ? 160 : 70) ? 1 : parts_of(text, gsm, gsm ? 153 : 67);
}
