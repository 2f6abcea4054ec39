/* What a mail client is, from what it says of itself; what it may do, from its record. No database here. */
#include "domain/mdm_eas_priv.h"

#include <stdlib.h>
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define KEY_MIN 8
#define WORD_MAX 40

/* ---------------------------------------------------------------- verdict */

mdm_eas_verdict_e mdm_eas_decide(const mdm_devrec_t *rec)
{
    if (!rec) {
        return MDM_EAS_UNKNOWN;
    }
    if (rec->kind != MDM_KIND_EAS || (rec->flags & MDM_DEVF_EXPELLED)) {
        return MDM_EAS_BLOCKED;
    }
    if (rec->flags & MDM_DEVF_LEAVING) {
        return MDM_EAS_WIPE;
    }
    switch (rec->state) {
    case MDM_DEV_PENDING:
        return MDM_EAS_PENDING;
    case MDM_DEV_ACTIVE:
        if (!(rec->flags & MDM_DEVF_ENROLLED)) {
            return MDM_EAS_UNKNOWN;
        }
        return rec->flags & MDM_DEVF_SERVER_ONLY ? MDM_EAS_SERVER_ONLY : MDM_EAS_ALLOW;
    case MDM_DEV_REMOVED:
        return MDM_EAS_UNKNOWN;
    default:
        return MDM_EAS_BLOCKED;
    }
}

const char *mdm_eas_verdict_text(mdm_eas_verdict_e v)
{
    static const char *const texts[] = {"unknown", "allow", "pending", "server_only", "blocked", "wipe", "denied"};

    return (unsigned)v < sizeof(texts) / sizeof(texts[0]) ? texts[v] : "unknown";
}

/* ---------------------------------------------------------------- kind of client */

static int begins(const char *s, const char *prefix)
{
    return s && strncasecmp(s, prefix, strlen(prefix)) == 0;
}

static int begins_one(const char *s, const char *const *list)
{
    for (; *list; ++list) {
        if (begins(s, *list)) {
            return 1;
        }
    }
    return 0;
}

/* Families by the beginning of device type or user agent, as seen in the field (facts 7.2). */
static const struct {
    const char *prefix, *platform;
} families[] = {
    {"iPhone", "ios"},          {"iPad", "ios"},          {"iPod", "ios"},          {"Apple-iP", "ios"},
    {"SAMSUNG", "android"},     {"Android", "android"},   {"SM-", "android"},       {"GT-", "android"},
    {"SGH-", "android"},        {"Moto", "android"},      {"WindowsPhone", "windows"}, {"WP", "windows"},
    {"MSFT-WP", "windows"},     {"WindowsMail", "windows"}, {"BlackBerry", "blackberry"}, {"RIM-", "blackberry"}};

/* Apps that say a system's device type but are not its own mail client. */
static const char *const foreign[] = {"Nine", "TouchDown", "Boxer", "Aqua", "Spark", "Evolution", "Thunderbird", NULL};
static const char *const desktop[] = {"WindowsOutlook", "Windows Outlook", "MacOutlook", NULL};

static const char *family(const char *s)
{
    unsigned i;

    for (i = 0; i < sizeof(families) / sizeof(families[0]); ++i) {
        if (begins(s, families[i].prefix)) {
            return families[i].platform;
        }
    }
    return NULL;
}

const char *mdm_eas_platform(const char *device_type, const char *user_agent)
{
    const char *by_type = family(device_type), *by_agent = family(user_agent);

    return by_type ? by_type : by_agent ? by_agent : "unknown";
}

/* Lower-case word of letters, digits and hyphens up to the version. */
static char *word(apr_pool_t *p, const char *s)
{
    char *out = apr_palloc(p, WORD_MAX + 1), *o = out;

    for (; *s && *s != '/' && o - out < WORD_MAX; ++s) {
        if (apr_isalnum(*s)) {
            *o++ = (char)apr_tolower(*s);
        } else if (o > out && o[-1] != '-') {
            *o++ = '-';
        }
    }
    while (o > out && o[-1] == '-') {
        --o;
    }
    *o = '\0';
    return out;
}

const char *mdm_eas_class(apr_pool_t *p, const char *device_type, const char *user_agent)
{
    if (begins_one(device_type, desktop)) {
        return "other";
    }
    if (begins(device_type, "Outlook") || begins(user_agent, "Outlook")) {
        const char *app = begins(user_agent, "Outlook") ? word(p, user_agent + strlen("Outlook")) : "";

        app += *app == '-';
        return apr_pstrcat(p, "outlook:", *app ? app : "app", NULL);
    }
    if (begins_one(device_type, foreign) || begins_one(user_agent, foreign)) {
        return "other";
    }
    return family(device_type) || family(user_agent) ? "native" : "other";
}

/* ---------------------------------------------------------------- hardware */

/* NNLL.bbb[000xx] → NN, letter LL, bbb, letter xx: 1606.250 is 16F250. */
static const char *apple_build(apr_pool_t *p, const char *s)
{
    char *end;
    long major = strtol(s, &end, 10), letter, number, extra = 0;

    if (end == s || end - s > 4 || *end != '.' || !apr_isdigit(end[1]) || strlen(end + 1) > 9) {
        return "";
    }
    number = strtol(end + 1, NULL, 10);
    if (strlen(end + 1) > 4) {
        extra = number % 100000;
        number /= 100000;
    }
    letter = major % 100;
    major /= 100;
    if (letter < 1 || letter > 26 || major < 1 || extra > 26) {
        return "";
    }
    return apr_psprintf(p, extra ? "%ld%c%ld%c" : "%ld%c%ld", major, (int)('A' + letter - 1), number, (int)('a' + extra - 1));
}

/* "Apple-iPhone10C5/1606.250". */
static int apple_agent(apr_pool_t *p, const char *agent, mdm_eas_hardware_t *hw)
{
    const char *slash = strchr(agent, '/');
    char *product, *c;

    if (!begins(agent, "Apple-iP") || !slash) {
        return 0;
    }
    product = apr_pstrmemdup(p, agent + strlen("Apple-"), (apr_size_t)(slash - agent) - strlen("Apple-"));
    c = strrchr(product, 'C');
    if (c && c > product && apr_isdigit(c[-1]) && apr_isdigit(c[1])) {
        *c = ',';
    }
    hw->product = mdm_clean(p, product, WORD_MAX);
    hw->build = apple_build(p, slash + 1);
    return 1;
}

/* "Android-SAMSUNG-SM-A515F/101.10", "SAMSUNG-SGH-I317M/…", "SAMSUNG GT-S5830/…". */
static int samsung_agent(apr_pool_t *p, const char *agent, mdm_eas_hardware_t *hw)
{
    const char *slash;

    agent += begins(agent, "Android-") ? strlen("Android-") : 0;
    slash = strchr(agent, '/');
    if (!begins(agent, "SAMSUNG") || !slash || slash - agent < 9 || (agent[7] != '-' && agent[7] != ' ')) {
        return 0;
    }
    hw->model = mdm_clean(p, apr_pstrmemdup(p, agent + 8, (apr_size_t)(slash - agent) - 8), WORD_MAX);
    return 1;
}

mdm_eas_hardware_t mdm_eas_hardware(apr_pool_t *p, const char *device_type, const char *user_agent)
{
    mdm_eas_hardware_t hw = {"", "", ""};

    if (user_agent && (apple_agent(p, user_agent, &hw) || samsung_agent(p, user_agent, &hw))) {
        return hw;
    }
    if (device_type && *device_type) {
        hw.model = mdm_clean(p, device_type, WORD_MAX);
    }
    return hw;
}

const char *mdm_eas_key(apr_pool_t *p, const char *device_id)
{
    char *out, *o;

    if (!device_id || strlen(device_id) > 255) {
        return NULL;
    }
    out = o = apr_palloc(p, strlen(device_id) + 1);
    for (; *device_id; ++device_id) {
        if (apr_isalnum(*device_id)) {
            *o++ = (char)apr_toupper(*device_id);
        }
    }
    *o = '\0';
    return o - out >= KEY_MIN ? out : NULL;
}
