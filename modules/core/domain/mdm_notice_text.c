/* Templates: checked when they are saved, filled in when they are sent. */
#include "domain/mdm_notice_text.h"

#include <string.h>
#include <strings.h>
#include <apr_strings.h>

#include "base/mdm_json.h"
#include "wire/mdm_html.h"

#define VALUE_MAX 300
#define URL "portal.url" /* the values that may stand in a tag: we make them */
#define LINK "enrol.link"
#define OTP "enrol.otp"
#define FROM "enrol.from"
#define QR "enrol.qr" /* stands in HTML, as a picture of what is its value */

const mdm_notice_kind_t *mdm_notice_kind(const char *event)
{
    for (const mdm_notice_kind_t *k = mdm_notice_kinds; k->event; k++) {
        if (strcmp(k->event, event) == 0) {
            return k;
        }
    }
    return NULL;
}

const mdm_notice_text_t *mdm_notice_default(const mdm_notice_kind_t *kind, const char *language)
{
    for (int i = 0; i < MDM_NOTICE_LANGUAGES; i++) {
        if (strcmp(kind->texts[i].language, language) == 0) {
            return &kind->texts[i];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- checking */

static int listed(apr_pool_t *p, const char *list, const char *word)
{
    return !strpbrk(word, " ") && strstr(list, apr_pstrcat(p, " ", word, " ", NULL)) != NULL;
}

/* The name in ${…} at s; *end is behind it. NULL: it has no end, or is no name. */
static const char *variable(apr_pool_t *p, const char *s, const char **end)
{
    const char *close = strchr(s + 2, '}');
    apr_size_t len = close ? (apr_size_t)(close - s - 2) : 0;

    if (!close || !len || strspn(s + 2, "abcdefghijklmnopqrstuvwxyz._") != len) {
        return NULL;
    }
    *end = close + 1;
    return apr_pstrmemdup(p, s + 2, len);
}

static apr_status_t check_vars(mdm_ctx_t *ctx, const mdm_notice_kind_t *kind, const char *field, const char *text)
{
    const char *end, *name;

    for (const char *s = strstr(text, "${"); s; s = strstr(end, "${")) {
        name = variable(ctx->pool, s, &end);
        if (name && !strcmp(name, QR) && strcmp(field, "html") != 0 && listed(ctx->pool, kind->vars, name)) {
            return mdm_fail(ctx, MDM_EINPUT, field, "can't hold ${" QR "}: a picture is for the HTML alone");
        }
        if (!name || !listed(ctx->pool, kind->vars, name)) {
            return mdm_fail(ctx, MDM_EINPUT, field, "has a variable that is not known here: %s. Known are:%s",
                            mdm_clean(ctx->pool, apr_pstrndup(ctx->pool, s, 40), 40), kind->vars);
        }
    }
    return APR_SUCCESS;
}

int mdm_notice_has_sms(const mdm_notice_kind_t *kind)
{
    return *kind->texts[0].sms != '\0';
}

static apr_status_t check_required(mdm_ctx_t *ctx, const mdm_notice_kind_t *kind, const char *field, const char *text)
{
    char *last, *names = apr_pstrdup(ctx->pool, kind->required);

    for (char *name = apr_strtok(names, " ", &last); name; name = apr_strtok(NULL, " ", &last)) {
        if (!strstr(text, apr_pstrcat(ctx->pool, "${", name, "}", NULL))) {
            return mdm_fail(ctx, MDM_EINPUT, field, "must hold ${%s}", name);
        }
    }
    return APR_SUCCESS;
}

static const char tags[] = " p br hr b i u em strong small h1 h2 h3 ul ol li dl dt dd a div span table thead tbody tr th td blockquote pre code ";
static const char attributes[] = " href style class align width border cellpadding cellspacing colspan rowspan title lang dir ";

/* Links lead to the web, to a mailbox, a phone, or where we say. */
static int address_ok(const char *value)
{
    static const char *const begins[] = {"https://", "http://", "mailto:", "tel:", "${" URL "}", "${" LINK "}", NULL};

    for (int i = 0; begins[i]; i++) {
        if (strncasecmp(value, begins[i], strlen(begins[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

/* name="value" of a tag, one after the other; 0 if one is not to be. */
static int attributes_ok(apr_pool_t *p, const char *s)
{
    for (;;) {
        apr_size_t n;
        const char *name, *close, *value;

        s += strspn(s, " \t\r\n");
        if (!*s || strcmp(s, "/") == 0) {
            return 1;
        }
        n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");
        name = mdm_lower(p, apr_pstrmemdup(p, s, n));
        if (!n || s[n] != '=' || s[n + 1] != '"' || !(close = strchr(s + n + 2, '"')) || !listed(p, attributes, name)) {
            return 0;
        }
        value = apr_pstrmemdup(p, s + n + 2, (apr_size_t)(close - s) - n - 2);
        if (strcmp(name, "href") == 0 ? !address_ok(value) || strstr(value + 1, "${") : strstr(value, "${") != NULL) {
            return 0;
        }
        s = close + 1;
    }
}

/* Markup of a mail: no scripts, forms, pictures from elsewhere. */
static apr_status_t check_html(mdm_ctx_t *ctx, const char *html)
{
    for (const char *s = strchr(html, '<'); s; s = strchr(s + 1, '<')) {
        const char *close = strchr(s, '>'), *name = s + 1 + (s[1] == '/');
        apr_size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ123456");
        const char *tag = mdm_lower(ctx->pool, apr_pstrmemdup(ctx->pool, name, n));

        if (!close || !n || !listed(ctx->pool, tags, tag)
            || !attributes_ok(ctx->pool, apr_pstrmemdup(ctx->pool, name + n, (apr_size_t)(close - name) - n))) {
            return mdm_fail(ctx, MDM_EINPUT, "html", "has markup that a notice can't have: %s. Write &lt; for the character itself; allowed are the tags%sand "
                            "links to https:, mailto:, tel:, ${" URL "} or ${" LINK "}.", mdm_clean(ctx->pool, apr_pstrndup(ctx->pool, s, 60), 60), tags);
        }
        s = close;
    }
    return APR_SUCCESS;
}

apr_status_t mdm_notice_check(mdm_ctx_t *ctx, const mdm_notice_kind_t *kind, const mdm_notice_text_t *t)
{
    apr_status_t rv;

    if (strpbrk(t->subject, "\r\n")) {
        return mdm_fail(ctx, MDM_EINPUT, "subject", "must be one line");
    }
    if ((rv = check_vars(ctx, kind, "subject", t->subject)) != APR_SUCCESS || (rv = check_vars(ctx, kind, "text", t->text)) != APR_SUCCESS
        || (rv = check_required(ctx, kind, "text", t->text)) != APR_SUCCESS || (rv = check_vars(ctx, kind, "html", t->html)) != APR_SUCCESS
        || (rv = check_required(ctx, kind, "html", t->html)) != APR_SUCCESS) {
        return rv;
    }
    if (!mdm_notice_has_sms(kind) && *t->sms) {
        return mdm_fail(ctx, MDM_EINPUT, "sms", "must be empty: this notice goes by mail only");
    }
    if (mdm_notice_has_sms(kind) && ((rv = check_vars(ctx, kind, "sms", t->sms)) != APR_SUCCESS
                                     || (rv = check_required(ctx, kind, "sms", t->sms)) != APR_SUCCESS)) {
        return rv;
    }
    return check_html(ctx, t->html);
}

/* ---------------------------------------------------------------- filling in */

/* Without marks that turn the direction of what follows: a name keeps to itself. */
static const char *one_line(apr_pool_t *p, const char *value)
{
    char *out = mdm_clean(p, value, VALUE_MAX), *to = out;

    for (const unsigned char *s = (const unsigned char *)out; *s; s++) {
        if (s[0] == 0xe2 && ((s[1] == 0x80 && s[2] >= 0xaa && s[2] <= 0xae) || (s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9))) {
            s += 2;
        } else {
            *to++ = (char)*s;
        }
    }
    *to = '\0';
    return out;
}

static void put_value(mdm_html_t *h, apr_pool_t *p, const json_t *values, const char *name, int html)
{
    const char *value = json_string_value(json_object_get(values, name));

    value = one_line(p, value ? value : "");
    if (!strcmp(name, QR)) {
        mdm_html_put(h, MDM_NOTICE_QR_IMG, html && *value ? strlen(MDM_NOTICE_QR_IMG) : 0);
    } else if (html) {
        mdm_html_text(h, value);
    } else {
        mdm_html_put(h, value, strlen(value));
    }
}

/* Without the lines that name a variable that has no value, and without the empty line behind each. */
static const char *without(apr_pool_t *p, const char *s, const char *name, const json_t *values)
{
    mdm_html_t *h = mdm_html_make(p);
    const char *said = apr_pstrcat(p, "${", name, "}", NULL);

    if (json_object_get(values, name) || !strstr(s, said)) {
        return s;
    }

    while (*s) {
        apr_size_t len = strcspn(s, "\n") + 1;
        const char *line = apr_pstrmemdup(p, s, s[len - 1] ? len : len - 1);

        s += strlen(line);
        if (!strstr(line, said)) {
            mdm_html_put(h, line, strlen(line));
        } else if (*s == '\n') {
            s++;
        }
    }
    return (const char *)mdm_html_out(h).data;
}

static const char *fill(apr_pool_t *p, const char *s, const json_t *values, int html)
{
    mdm_html_t *h = mdm_html_make(p);
    const char *at, *end, *name;

    s = without(p, without(p, s, OTP, values), FROM, values);
    while ((at = strstr(s, "${")) != NULL) {
        mdm_html_put(h, s, (apr_size_t)(at - s));
        name = variable(p, at, &end);
        if (name) {
            put_value(h, p, values, name, html);
        } else {
            mdm_html_put(h, at, 2);
            end = at + 2;
        }
        s = end;
    }
    mdm_html_put(h, s, strlen(s));
    return (const char *)mdm_html_out(h).data;
}

/* A blank at the end of an SMS is paid for. */
static const char *without_tail(apr_pool_t *p, const char *s)
{
    apr_size_t n = strlen(s);

    while (n && strchr(" \n", s[n - 1])) {
        n--;
    }
    return apr_pstrmemdup(p, s, n);
}

void mdm_notice_render(apr_pool_t *p, const mdm_notice_text_t *t, const json_t *values, mdm_notice_text_t *out)
{
    mdm_html_t *h = mdm_html_make(p);

    out->language = t->language;
    out->subject = fill(p, t->subject, values, 0);
    out->text = fill(p, t->text, values, 0);
    out->sms = without_tail(p, fill(p, t->sms, values, 0));
    mdm_html_raw(h, "<!DOCTYPE html>\n<html");
    mdm_html_attr(h, "lang", t->language);
    mdm_html_raw(h, ">\n<head><meta charset=\"utf-8\"><title>");
    mdm_html_text(h, out->subject);
    mdm_html_raw(h, "</title></head>\n<body>\n");
    out->html = fill(p, t->html, values, 1);
    mdm_html_put(h, out->html, strlen(out->html));
    mdm_html_raw(h, "</body>\n</html>\n");
    out->html = (const char *)mdm_html_out(h).data;
}

const char *mdm_notice_qr(const mdm_notice_text_t *t, const json_t *values)
{
    return strstr(t->html, "${" QR "}") ? json_string_value(json_object_get(values, QR)) : NULL;
}

int mdm_notice_tellable(const mdm_notice_kind_t *kind, const json_t *values)
{
    char name[64];
    apr_size_t len;

    for (const char *s = kind->needed + 1; *s; s += len + 1) {
        len = strcspn(s, " ");
        apr_cpystrn(name, s, len < sizeof(name) ? len + 1 : sizeof(name));
        if (len && !json_object_get(values, name)) {
            return 0;
        }
    }
    return 1;
}

json_t *mdm_notice_sample(mdm_ctx_t *ctx, const char *portal_url)
{
    static const char *const samples[][2] = {{"to.name", "Anna Adler"}, {"person.name", "Anna Adler"}, {"person.login", "anna"}, {"admin.name", "Ada Okoye"},
                                             {"device.name", "iPhone Anna Adler"}, {"date", "2031-05-12"}, {"days", "14"}, {"mail.server", "mail.example.org"},
                                             {"mail.user", "EXAMPLE\\anna"}, {"mail.address", "anna.adler@example.org"}, {OTP, "4093 7716"},
                                             {"enrol.expires", "2031-05-12 16:30 UTC"}, {FROM, "2031-05-10 06:00 UTC"}, {"enrol.token", "mS7xq0YbT1aVwR4k2LdN9g"},
                                             {"enrol.ownership", "corporate"}, {"to.login", "anna"}, {"device.model", "iPhone 15"}, {"device.platform", "ios"},
                                             {"certificate.name", "mdm.example.org"}, {"org.name", "Example"}, {"support.mail", "help@example.org"},
                                             {"support.phone", "+49 30 1234567"}};
    json_t *values = mdm_json_own(ctx, json_object());

    for (unsigned i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        json_object_set_new(values, samples[i][0], json_string(samples[i][1]));
    }
    json_object_set_new(values, URL, json_string(portal_url));
    json_object_set_new(values, LINK, json_string(apr_pstrcat(ctx->pool, portal_url, "mS7xq0YbT1aVwR4k2LdN9g", NULL)));
    json_object_set(values, QR, json_object_get(values, LINK));
    return values;
}
