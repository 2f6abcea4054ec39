/* One row of a bulk file: what its cells say (facts 8.3). No database. */
#include "domain/mdm_bulk.h"

#include <string.h>
#include <apr_strings.h>
#include "domain/mdm_notice_text.h"
#include "domain/mdm_otp.h"

#define USER_MAX 256
#define MAIL_MAX 254
#define HOURS_MAX 720
#define HOUR_MS (3600 * 1000LL)

const mdm_csv_column_t mdm_bulk_columns[MDM_BULK_COLUMNS] = {
    [MDM_BULK_USERNAME] = {"username|user|login|upn", 1}, [MDM_BULK_EMAIL] = {"email|mail", 0}, [MDM_BULK_MOBILE] = {"mobile|phone", 0},
    [MDM_BULK_OWNERSHIP] = {"ownership", 0}, [MDM_BULK_PLATFORM] = {"platform", 0}, [MDM_BULK_MODE] = {"mode", 0}, [MDM_BULK_COUNT_OF] = {"count", 0},
    [MDM_BULK_OTP] = {"otp", 0}, [MDM_BULK_OTP_HOURS] = {"otp_ttl_hours|otp_hours", 0}, [MDM_BULK_VALID_FROM] = {"valid_from", 0},
    [MDM_BULK_NOTIFY] = {"notify", 0}, [MDM_BULK_LANGUAGE] = {"language", 0}, [MDM_BULK_SERIAL] = {"serial|serial_number", 0},
    [MDM_BULK_IMEI] = {"imei", 0}, [MDM_BULK_FOLDER] = {"folder", 0}};

/* ---------------------------------------------------------------- words */

typedef struct word_t {
    const char *said, *means;
} word_t;

static const word_t ownerships[] = {{"corporate", "corporate"}, {"c", "corporate"}, {"personal", "personal"}, {"p", "personal"}, {NULL, NULL}};
static const word_t platforms[] = {{"any", ""}, {"ios", "ios"}, {"android", "android"}, {NULL, NULL}};
static const word_t modes[] = {{"mdm", "managed"}, {"mail", "email_only"}, {NULL, NULL}};
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

/* The language of templates that is meant: "de" for "de-AT" too. NULL: there are none in it. */
static const char *language_of(const char *said)
{
    apr_size_t n = strcspn(said, "-_");
    int i;

    for (i = 0; mdm_notice_languages[i]; i++) {
        if (!strncasecmp(mdm_notice_languages[i], said, n) && !mdm_notice_languages[i][n]) {
            return mdm_notice_languages[i];
        }
    }
    return NULL;
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

static void identifiers(mdm_ctx_t *ctx, const char *serial, const char *imei, mdm_bulk_row_t *out)
{
    if (mdm_serial_check(ctx, "serial", serial, &out->serial) != APR_SUCCESS) {
        wrong(out, MDM_BULK_SERIAL, ctx->fail_text);
    }
    if (mdm_imei_check(ctx, "imei", imei, &out->imei) != APR_SUCCESS) {
        wrong(out, MDM_BULK_IMEI, ctx->fail_text);
    }
    if (*imei && !strcmp(out->level, "email_only")) {
        wrong(out, MDM_BULK_IMEI, "can't be held against a mail app");
    }
}

static void times(apr_pool_t *p, apr_int64_t now, const char *from, mdm_bulk_row_t *out)
{
    if (*from && mdm_time_read(from, &out->valid_from_ms) != APR_SUCCESS) {
        wrong(out, MDM_BULK_VALID_FROM, "must be a time like 2026-12-01T08:00, or with an offset, 2026-12-01T08:00+01:00");
    } else if (*from && out->valid_from_ms < now) {
        out->warning = "valid_from is over: it can be used at once.";
        out->valid_from_ms = 0;
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

static const char *languages(mdm_bulk_row_t *out, const char *said, const char *otherwise)
{
    const char *found = *said || *otherwise ? language_of(*said ? said : otherwise) : "";

    if (!found) {
        wrong(out, MDM_BULK_LANGUAGE, "is none of the languages that notices are written in");
    }
    return found ? found : "";
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
    out->platform = word(out, MDM_BULK_PLATFORM, platforms, cell(p, cells, at[MDM_BULK_PLATFORM]), o->platform, "must be any, ios or android");
    out->level = word(out, MDM_BULK_MODE, modes, cell(p, cells, at[MDM_BULK_MODE]), "", "must be mdm or mail");
    out->notify = word(out, MDM_BULK_NOTIFY, notifies, cell(p, cells, at[MDM_BULK_NOTIFY]), o->notify, "must be email, sms, both or none");
    out->language = languages(out, cell(p, cells, at[MDM_BULK_LANGUAGE]), o->language);
    out->folder = cell(p, cells, at[MDM_BULK_FOLDER]);
    times(p, mdm_now_ms(ctx), cell(p, cells, at[MDM_BULK_VALID_FROM]), out);
    identifiers(ctx, cell(p, cells, at[MDM_BULK_SERIAL]), cell(p, cells, at[MDM_BULK_IMEI]), out);
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

apr_status_t mdm_bulk_row_otp(mdm_ctx_t *ctx, const mdm_csv_row_t *cells, int at, const char **index)
{
    const char *otp = mdm_otp_plain(ctx->pool, cell(ctx->pool, cells, at));

    *index = "";
    return *otp ? mdm_otp_index(ctx, otp, index) : APR_SUCCESS;
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
    if (rv == APR_SUCCESS && *o->language && !language_of(o->language)) {
        rv = mdm_fail(ctx, MDM_EINPUT, "language", "is none of the languages that notices are written in");
    }
    if (rv == APR_SUCCESS && (o->otp_hours < 0 || o->otp_hours > HOURS_MAX)) {
        rv = mdm_fail(ctx, MDM_EINPUT, "otp_hours", "must be from 1 to %d", HOURS_MAX);
    }
    return rv;
}
