/* One row of a bulk file: what its cells say (facts 8.3). No database. */
#include "domain/mdm_bulk.h"

#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define USER_MAX 256
#define MAIL_MAX 254
#define HOURS_MAX 720
#define HOUR_MS (3600 * 1000LL)

const mdm_csv_column_t mdm_bulk_columns[MDM_BULK_COLUMNS] = {
    [MDM_BULK_USERNAME] = {"username|user|login|upn", 1}, [MDM_BULK_EMAIL] = {"email|mail", 0}, [MDM_BULK_MOBILE] = {"mobile|phone", 0},
    [MDM_BULK_OWNERSHIP] = {"ownership", 0}, [MDM_BULK_PLATFORM] = {"platform", 0}, [MDM_BULK_OTP] = {"otp", 0},
    [MDM_BULK_OTP_HOURS] = {"otp_ttl_hours|otp_hours", 0}, [MDM_BULK_NOTIFY] = {"notify", 0}, [MDM_BULK_LANGUAGE] = {"language", 0},
    [MDM_BULK_SERIAL] = {"serial|serial_number", 0}, [MDM_BULK_IMEI] = {"imei", 0}, [MDM_BULK_COUNT_OF] = {"count", 0}};

/* ---------------------------------------------------------------- words */

typedef struct word_t {
    const char *said, *means;
} word_t;

static const word_t ownerships[] = {{"corporate", "corporate"}, {"c", "corporate"}, {"personal", "personal"}, {"p", "personal"}, {NULL, NULL}};
static const word_t platforms[] = {{"any", ""}, {"ios", "ios"}, {"android", "android"}, {"macos", "macos"}, {"windows", "windows"}, {NULL, NULL}};
static const word_t notifies[] = {{"none", ""}, {"email", "mail"}, {"mail", "mail"}, {"sms", "sms"}, {"both", "both"}, {NULL, NULL}};

/* NULL: none of them. */
static const char *meaning(const word_t *words, const char *said)
{
    for (; words->said; words++) {
        if (!strcasecmp(words->said, said)) {
            return words->means;
        }
    }
    return NULL;
}

static int is_language(const char *s)
{
    apr_size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

    if (n < 2 || n > 8 || strlen(s) > 35) {
        return 0;
    }
    for (s += n; *s == '-'; s += n) {
        n = strspn(++s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
        if (!n || n > 8) {
            return 0;
        }
    }
    return !*s;
}

/* What an address must be like to be written to; that it exists is for the mail server to say. */
static int is_mail(const char *s)
{
    const char *at = strrchr(s, '@'), *c;

    if (!at || at == s || !at[1] || strlen(s) > MAIL_MAX || !mdm_is_host(at + 1) || !strcspn(at + 1, ".-") || strstr(at, "..")) {
        return 0;
    }
    for (c = s; c < at; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("<>()[],;:\\\"@", *c)) {
            return 0;
        }
    }
    return at - s <= 64;
}

/* Upper case, without what people put in between; "" if it can't be one. */
static const char *serial_of(apr_pool_t *p, const char *s)
{
    char *out = apr_palloc(p, strlen(s) + 1), *o = out;

    for (; *s; s++) {
        if (apr_isalnum(*s)) {
            *o++ = (char)apr_toupper(*s);
        } else if (!strchr(" -.:/", *s)) {
            return "";
        }
    }
    *o = '\0';
    return o - out >= 4 && o - out <= 40 ? out : "";
}

static const char *imei_of(apr_pool_t *p, const char *s)
{
    char *out = apr_palloc(p, strlen(s) + 1), *o = out;

    for (; *s; s++) {
        if (apr_isdigit(*s)) {
            *o++ = *s;
        } else if (!strchr(" -./", *s)) {
            return "";
        }
    }
    *o = '\0';
    return o - out >= 14 && o - out <= 16 ? out : "";
}

/* ---------------------------------------------------------------- the row */

/* The first fault is the one that is told. */
static void wrong(mdm_bulk_row_t *row, int column, const char *error)
{
    if (!row->error) {
        row->field = mdm_bulk_columns[column].titles; /* cut to the first one at the end */
        row->error = error;
    }
}

/* What a spreadsheet was kept from taking for a formula, in a file that we have written, is what it was before. */
static const char *cell(apr_pool_t *p, const mdm_csv_row_t *cells, int at)
{
    const char *s = mdm_csv_cell(p, cells, at);

    return s[0] == '\'' && s[1] && strchr("=+-@", s[1]) ? s + 1 : s;
}

static void numbers(apr_pool_t *p, const mdm_csv_row_t *cells, const int *at, const mdm_bulk_options_t *o, mdm_bulk_row_t *out)
{
    const char *hours = cell(p, cells, at[MDM_BULK_OTP_HOURS]), *count = cell(p, cells, at[MDM_BULK_COUNT_OF]);
    apr_int64_t n = o->otp_hours;

    if (*hours && mdm_parse_i64(hours, 1, HOURS_MAX, &n) != APR_SUCCESS) {
        wrong(out, MDM_BULK_OTP_HOURS, "must be a number of hours from 1 to 720");
    }
    out->otp_life_ms = n * HOUR_MS;
    out->count = 1;
    if (*count && mdm_parse_i64(count, 1, MDM_BULK_COUNT, &out->count) != APR_SUCCESS) {
        wrong(out, MDM_BULK_COUNT_OF, "must be a number from 1 to 20");
    }
    if (out->count > 1 && (*out->otp || *out->serial || *out->imei)) {
        wrong(out, MDM_BULK_COUNT_OF, "can't be more than 1 where a one-time password or a device is named");
    }
}

static void identifiers(apr_pool_t *p, const char *serial, const char *imei, mdm_bulk_row_t *out)
{
    out->serial = serial_of(p, serial);
    out->imei = imei_of(p, imei);
    if (*serial && !*out->serial) {
        wrong(out, MDM_BULK_SERIAL, "is no serial number");
    }
    if (*imei && !*out->imei) {
        wrong(out, MDM_BULK_IMEI, "is no IMEI: 14 to 16 digits");
    }
}

static const char *word(mdm_bulk_row_t *out, int column, const word_t *words, const char *said, const char *otherwise, const char *error)
{
    const char *means = meaning(words, *said ? said : otherwise);

    if (!means && (*said || *otherwise)) {
        wrong(out, column, error);
    }
    return means ? means : "";
}

void mdm_bulk_row_read(mdm_ctx_t *ctx, const mdm_csv_row_t *cells, const int at[MDM_BULK_COLUMNS], const mdm_bulk_options_t *o, mdm_bulk_row_t *out)
{
    apr_pool_t *p = ctx->pool;

    memset(out, 0, sizeof(*out));
    out->user = cell(p, cells, at[MDM_BULK_USERNAME]);
    out->mail = cell(p, cells, at[MDM_BULK_EMAIL]);
    out->otp = cell(p, cells, at[MDM_BULK_OTP]);
    if (!*out->user || strlen(out->user) > USER_MAX) {
        wrong(out, MDM_BULK_USERNAME, *out->user ? "is too long" : "is missing");
    }
    if (*out->mail && !is_mail(out->mail)) {
        wrong(out, MDM_BULK_EMAIL, "is no address");
    }
    if (mdm_phone_check(ctx, "mobile", cell(p, cells, at[MDM_BULK_MOBILE]), &out->phone) != APR_SUCCESS) {
        wrong(out, MDM_BULK_MOBILE, ctx->fail_text);
    }
    out->ownership = word(out, MDM_BULK_OWNERSHIP, ownerships, cell(p, cells, at[MDM_BULK_OWNERSHIP]), o->ownership, "must be corporate or personal");
    out->platform = word(out, MDM_BULK_PLATFORM, platforms, cell(p, cells, at[MDM_BULK_PLATFORM]), o->platform,
                         "must be any, ios, android, macos or windows");
    out->notify = word(out, MDM_BULK_NOTIFY, notifies, cell(p, cells, at[MDM_BULK_NOTIFY]), o->notify, "must be email, sms, both or none");
    out->language = cell(p, cells, at[MDM_BULK_LANGUAGE]);
    out->language = *out->language ? out->language : o->language;
    if (*out->language && !is_language(out->language)) {
        wrong(out, MDM_BULK_LANGUAGE, "is no language: de and en-GB are");
    }
    identifiers(p, cell(p, cells, at[MDM_BULK_SERIAL]), cell(p, cells, at[MDM_BULK_IMEI]), out);
    numbers(p, cells, at, o, out);
    if (out->field) {
        out->field = apr_pstrmemdup(p, out->field, strcspn(out->field, "|"));
    }
}

void mdm_bulk_row_person(mdm_bulk_row_t *row, const mdm_person_t *person)
{
    int sms = !strcmp(row->notify, "sms") || !strcmp(row->notify, "both");

    if (sms && !*row->phone && !*person->phone) {
        wrong(row, MDM_BULK_MOBILE, "is needed for a text message");
        row->field = "mobile";
    } else if (*row->mail && *person->mail && strcasecmp(row->mail, person->mail) != 0) {
        row->warning = "The address is not the one that this person has here.";
    }
}

static apr_status_t option(mdm_ctx_t *ctx, const char *name, const word_t *words, const char *said)
{
    return !*said || meaning(words, said) ? APR_SUCCESS : mdm_fail(ctx, MDM_EINPUT, name, "is none of the known values");
}

apr_status_t mdm_bulk_options_check(mdm_ctx_t *ctx, const mdm_bulk_options_t *o)
{
    apr_status_t rv = option(ctx, "ownership", ownerships, o->ownership);

    rv = rv == APR_SUCCESS ? option(ctx, "platform", platforms, o->platform) : rv;
    rv = rv == APR_SUCCESS ? option(ctx, "notify", notifies, o->notify) : rv;
    if (rv == APR_SUCCESS && *o->language && !is_language(o->language)) {
        rv = mdm_fail(ctx, MDM_EINPUT, "language", "is no language");
    }
    if (rv == APR_SUCCESS && (o->otp_hours < 0 || o->otp_hours > HOURS_MAX)) {
        rv = mdm_fail(ctx, MDM_EINPUT, "otp_hours", "must be from 1 to %d", HOURS_MAX);
    }
    return rv;
}
