/* What records know, in one form: identifiers, makers, models, versions (MAT-01, MAT-02). */
#include "domain/mdm_match.h"

#include <stdlib.h>
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <openssl/evp.h>
#include "domain/mdm_eas.h"

#define IMEI 14
#define WORD_MAX 64
#define SHA1 20

static int some(const char *s)
{
    return s && *s;
}

/* Upper-case letters, digits and commas of a text. */
static const char *squeeze(apr_pool_t *p, const char *s)
{
    char *out = apr_palloc(p, WORD_MAX + 1), *o = out;

    for (; s && *s && o - out < WORD_MAX; ++s) {
        if (apr_isalnum(*s) || *s == ',') {
            *o++ = (char)apr_toupper(*s);
        }
    }
    *o = '\0';
    return out;
}

static int is_one_of(const char *s, const char *const *list)
{
    for (; *list && strcmp(s, *list) != 0; ++list)
        ;
    return *list != NULL;
}

static int all_same(const char *s)
{
    return strspn(s, (const char[]){*s, '\0'}) == strlen(s);
}

/* ---------------------------------------------------------------- IMEI, MEID, serial number */

static char luhn(const char *digits)
{
    int i, sum = 0;

    for (i = 0; i < IMEI; ++i) {
        int d = digits[i] - '0';

        d = i & 1 ? 2 * d : d;
        sum += d / 10 + d % 10;
    }
    return (char)('0' + (10 - sum % 10) % 10);
}

const char *mdm_match_imei(apr_pool_t *p, const char *text)
{
    static const char *const placeholders[] = {"12345678901234", "00499901064000", NULL};
    char *out = apr_palloc(p, 20), *o = out;

    for (; some(text); ++text) {
        if (apr_isdigit(*text) && o - out < 17) {
            *o++ = *text;
        } else if (!strchr(" -./", *text)) { /* "35****05…" is masked: nothing is known */
            return NULL;
        }
    }
    *o = '\0';
    if (o - out < IMEI || o - out > IMEI + 2 || (o - out == IMEI + 1 && out[IMEI] != '0' && out[IMEI] != luhn(out))) {
        return NULL;
    }
    out[IMEI] = '\0';
    return all_same(out) || is_one_of(out, placeholders) ? NULL : out;
}

/* 14 hexadecimal digits with a letter among them, or 18 decimal ones. */
static const char *meid(apr_pool_t *p, const char *text)
{
    const char *s = squeeze(p, text);
    apr_size_t len = strlen(s);

    if (len == 18 && strspn(s, "0123456789") == len) {
        s = apr_psprintf(p, "%08lX%06lX", strtoul(apr_pstrmemdup(p, s, 10), NULL, 10) & 0xffffffffUL,
                         strtoul(s + 10, NULL, 10) & 0xffffffUL);
        return all_same(s) ? "" : s;
    }
    return len == IMEI && strspn(s, "0123456789ABCDEF") == len && strpbrk(s, "ABCDEF") && !all_same(s) ? s : "";
}

const char *mdm_match_serial(apr_pool_t *p, const char *text)
{
    static const char *const placeholders[] = {"UNKNOWN", "0123456789ABCDEF", "123456789012", "NONE", "NA", NULL};
    const char *s = squeeze(p, text);

    return strlen(s) < 6 || is_one_of(s, placeholders) || all_same(s) ? NULL : s;
}

/* ---------------------------------------------------------------- DeviceIds that are made of something */

/* As two vendors' mail clients make them of the text of an IMEI (facts 7.2). */
static void derive(apr_pool_t *p, const char *imei, const char *out[MDM_MATCH_DERIVED])
{
    char text[IMEI + 2];
    unsigned char d[SHA1];
    unsigned at, number;

    memcpy(text, imei, IMEI);
    text[IMEI] = luhn(imei);
    text[IMEI + 1] = '\0';
    if (!EVP_Digest(text, IMEI + 1, d, NULL, EVP_sha1(), NULL)) {
        return;
    }
    at = d[SHA1 - 1] & 15;
    number = ((unsigned)d[at] & 127) << 24 | (unsigned)d[at + 1] << 16 | (unsigned)d[at + 2] << 8 | d[at + 3];
    out[0] = apr_psprintf(p, "SEC1%02X%02X%02X%02X%02X%02X", d[0], d[1], d[2], d[3], d[4], d[5]);
    out[1] = apr_psprintf(p, "ANDROIDC%u", number);
    out[2] = apr_pstrcat(p, "SAMSUNG1", text, NULL);
}

/* ---------------------------------------------------------------- maker, model, type */

static const struct {
    const char *prefix, *maker;
} makers[] = {
    {"SAMSUNG", "SAMSUNG"}, {"HUAWEI", "HUAWEI"}, {"HONOR", "HONOR"},     {"MOTOROLA", "MOTOROLA"}, {"XIAOMI", "XIAOMI"},   {"REDMI", "XIAOMI"},
    {"POCO", "XIAOMI"},     {"GOOGLE", "GOOGLE"}, {"APPLE", "APPLE"},     {"SONY", "SONY"},         {"OPPO", "OPPO"},       {"REALME", "REALME"},
    {"ONEPLUS", "ONEPLUS"}, {"NOKIA", "NOKIA"},   {"HMD", "NOKIA"},       {"ZEBRA", "ZEBRA"},       {"FAIRPHONE", "FAIRPHONE"}};

/* Of a model; the longest first where one begins the other. */
static const struct {
    const char *prefix, *maker;
} families[] = {{"IPHONE", "APPLE"}, {"IPAD", "APPLE"},   {"IPOD", "APPLE"}, {"SM", "SAMSUNG"},   {"GT", "SAMSUNG"}, {"SGH", "SAMSUNG"},
                {"PIXEL", "GOOGLE"}, {"CPH", "OPPO"},     {"RMX", "REALME"}, {"XQ", "SONY"},      {"TC", "ZEBRA"},   {"MC", "ZEBRA"},
                {"MOTO", "MOTOROLA"}, {"XT", "MOTOROLA"}, {"REDMI", "XIAOMI"}, {"POCO", "XIAOMI"}, {"NOKIA", "NOKIA"}, {"FP", "FAIRPHONE"}};

static const char *const tablets[] = {"IPAD", "SMT", "SMX", "SMP", "GTP", "GTN", NULL};
/* What mail clients say instead of a model. */
static const char *const no_models[] = {"ANDROID", "IPHONE", "IPAD", "IPOD", "SAMSUNG", "OUTLOOK", "SMARTPHONE", "PHONE", "TABLET", "POCKETPC", "MAIL",
                                        NULL};

static int begins(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static const char *maker_of(apr_pool_t *p, const char *said, const char *model)
{
    const char *s = squeeze(p, said);
    unsigned i;

    for (i = 0; *s && i < sizeof(makers) / sizeof(makers[0]); ++i) {
        if (begins(s, makers[i].prefix)) {
            return makers[i].maker;
        }
    }
    for (i = 0; !*s && i < sizeof(families) / sizeof(families[0]); ++i) {
        apr_size_t len = strlen(families[i].prefix);

        /* a short prefix must be followed by a digit or be one of Samsung's, lest every "MC…" word is a scanner */
        if (begins(model, families[i].prefix) && (len > 2 || !strcmp(families[i].prefix, "SM") || apr_isdigit(model[len]))) {
            return families[i].maker;
        }
    }
    return s;
}

static const char *type_of(const char *model, const char *family)
{
    int i;

    for (i = 0; tablets[i]; ++i) {
        if (begins(model, tablets[i]) || begins(family, tablets[i])) {
            return "tablet";
        }
    }
    return *model || begins(family, "IPHONE") ? "phone" : "";
}

static const char *model_of(apr_pool_t *p, const char *product, const char *model)
{
    static const char vendor[] = "SAMSUNG"; /* stands before the model in device types */
    const char *s = squeeze(p, some(product) ? product : model);

    s += begins(s, vendor) && s[sizeof(vendor) - 1] ? sizeof(vendor) - 1 : 0;
    return is_one_of(s, no_models) || (begins(s, "IP") && !strchr(s, ',')) ? "" : s;
}

/* ---------------------------------------------------------------- the record */

static const char *word(apr_pool_t *p, const char *s)
{
    return some(s) ? apr_pstrdup(p, s) : "";
}

static int major_of(const char *os)
{
    long major = os ? strtol(os + strcspn(os, "0123456789"), NULL, 10) : 0;

    return major > 0 && major < 100 ? (int)major : 0;
}

/* The last nine digits: with or without the country. */
static const char *phone_of(apr_pool_t *p, const char *s)
{
    char *out = apr_palloc(p, 33), *o = out;

    for (; s && *s && o - out < 32; ++s) {
        if (apr_isdigit(*s)) {
            *o++ = *s;
        }
    }
    *o = '\0';
    return o - out < 6 || all_same(out) ? "" : o - out > 9 ? o - 9 : out;
}

static void ids_read(apr_pool_t *p, const mdm_match_said_t *said, mdm_match_record_t *out)
{
    const char *imei[MDM_MATCH_IDS] = {mdm_match_imei(p, said->imei), mdm_match_imei(p, said->imei2)};
    const char *key = mdm_eas_key(p, said->eas_id), *number = mdm_match_serial(p, said->serial);
    int i, n = 0;

    out->eas_id = key ? key : "";
    out->serial = number ? number : "";
    out->meid = meid(p, said->meid);
    out->from_serial = *out->serial && !out->mail && !strcmp(out->platform, "ios") ? apr_pstrcat(p, "APPL", out->serial, NULL) : "";
    for (i = 0; i < MDM_MATCH_IDS; ++i) {
        out->imei[i] = out->from_imei[i][0] = out->from_imei[i][1] = out->from_imei[i][2] = "";
        if (imei[i] && (!n || strcmp(imei[i], out->imei[0]) != 0)) {
            out->imei[n] = imei[i];
            if (!out->mail) {
                derive(p, imei[i], out->from_imei[n]);
            }
            n++;
        }
    }
}

void mdm_match_read(apr_pool_t *p, const mdm_match_said_t *said, mdm_match_record_t *out)
{
    mdm_eas_hardware_t hw = {"", "", ""};
    const char *platform = some(said->platform) && strcmp(said->platform, "unknown") != 0 ? said->platform : NULL;
    const char *family = squeeze(p, said->class ? said->device_type : some(said->product) ? said->product : said->model);

    memset(out, 0, sizeof(*out));
    out->mail = said->class != NULL;
    if (out->mail) {
        hw = mdm_eas_hardware(p, said->device_type, said->user_agent);
        platform = platform ? platform : mdm_eas_platform(said->device_type, said->user_agent);
        platform = strcmp(platform, "unknown") ? platform : "";
    }
    out->id = word(p, said->id);
    out->device_id = word(p, said->device_id);
    out->class = word(p, said->class);
    out->linked = said->linked;
    out->told = said->told;
    out->silent = said->silent;
    out->first_ms = said->first_ms;
    out->platform = word(p, platform);
    out->model = model_of(p, some(said->product) ? said->product : hw.product, some(said->model) ? said->model : hw.model);
    if (out->mail && !*out->model) { /* what is said in DeviceInformation may be no model, and the user agent one */
        out->model = model_of(p, hw.product, hw.model);
    }
    out->maker = maker_of(p, said->maker, *out->model ? out->model : family);
    out->type = type_of(out->model, family);
    out->build = squeeze(p, some(said->build) ? said->build : hw.build);
    out->os_major = major_of(said->os_version);
    out->phone = phone_of(p, said->phone);
    ids_read(p, said, out);
    out->whose = *out->eas_id ? said->whose : MDM_MATCH_OURS; /* too short to tell anybody apart */
}
