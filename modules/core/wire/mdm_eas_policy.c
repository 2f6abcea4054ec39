/* EASProvisionDoc: one table says type, default and which of two values is stricter. */
#include "wire/mdm_eas_doc.h"

#include <string.h>
#include <apr_strings.h>

#define STRINGS_MAX 500
#define STRING_BYTES 250
#define UINT32 4294967295LL
#define BOOL(tag, since, unset, rule, password) {#tag, MDM_WB_PV_##tag, since, 0, 1, unset, MDM_EAS_RULE_##rule, password}
#define RANGE(tag, since, min, max, unset, rule, password) {#tag, MDM_WB_PV_##tag, since, min, max, unset, MDM_EAS_RULE_##rule, password}
#define EMPTY MDM_EAS_UNSET_EMPTY
#define OMIT MDM_EAS_UNSET_OMIT

const mdm_eas_setting_t mdm_eas_settings[MDM_EAS_SETTING_COUNT] = {
    BOOL(DevicePasswordEnabled, 120, 0, OR, 0),
    BOOL(AlphanumericDevicePasswordRequired, 120, 0, OR, 1),
    BOOL(RequireStorageCardEncryption, 120, 0, OR, 0),
    BOOL(PasswordRecoveryEnabled, 120, 0, BACK_END, 1),
    BOOL(AttachmentsEnabled, 120, 1, AND, 0),
    RANGE(MinDevicePasswordLength, 120, 1, 16, EMPTY, MAX, 1),
    RANGE(MaxInactivityTimeDeviceLock, 120, 1, UINT32, EMPTY, MIN, 1),
    RANGE(MaxDevicePasswordFailedAttempts, 120, 4, 16, EMPTY, MIN, 1),
    RANGE(MaxAttachmentSize, 120, 0, UINT32, EMPTY, MIN, 0),
    BOOL(AllowSimpleDevicePassword, 120, 1, AND, 1),
    RANGE(DevicePasswordExpiration, 120, 0, UINT32, EMPTY, MIN_POSITIVE, 1),
    RANGE(DevicePasswordHistory, 120, 0, UINT32, 0, MAX, 1),
    BOOL(AllowStorageCard, 121, 1, AND, 0),
    BOOL(AllowCamera, 121, 1, AND, 0),
    BOOL(RequireDeviceEncryption, 121, 0, OR, 0),
    BOOL(AllowUnsignedApplications, 121, 1, AND, 0),
    BOOL(AllowUnsignedInstallationPackages, 121, 1, AND, 0),
    RANGE(MinDevicePasswordComplexCharacters, 121, 1, 4, OMIT, MAX, 1),
    BOOL(AllowWiFi, 121, 1, AND, 0),
    BOOL(AllowTextMessaging, 121, 1, AND, 0),
    BOOL(AllowPOPIMAPEmail, 121, 1, AND, 0),
    RANGE(AllowBluetooth, 121, 0, 2, 2, MIN, 0),
    BOOL(AllowIrDA, 121, 1, AND, 0),
    BOOL(RequireManualSyncWhenRoaming, 121, 0, OR, 0),
    BOOL(AllowDesktopSync, 121, 1, AND, 0),
    RANGE(MaxCalendarAgeFilter, 121, 0, 7, 0, MIN_POSITIVE, 0),
    BOOL(AllowHTMLEmail, 121, 1, AND, 0),
    RANGE(MaxEmailAgeFilter, 121, 0, 5, 0, MIN_POSITIVE, 0),
    RANGE(MaxEmailBodyTruncationSize, 121, -1, 2147483647, -1, MIN_FROM_0, 0),
    RANGE(MaxEmailHTMLBodyTruncationSize, 121, -1, 2147483647, -1, MIN_FROM_0, 0),
    BOOL(RequireSignedSMIMEMessages, 121, 0, OR, 0),
    BOOL(RequireEncryptedSMIMEMessages, 121, 0, OR, 0),
    RANGE(RequireSignedSMIMEAlgorithm, 121, 0, 1, OMIT, MIN, 0),
    RANGE(RequireEncryptionSMIMEAlgorithm, 121, 0, 4, OMIT, CIPHER, 0),
    RANGE(AllowSMIMEEncryptionAlgorithmNegotiation, 121, 0, 2, 2, MIN, 0),
    BOOL(AllowSMIMESoftCerts, 121, 1, AND, 0),
    BOOL(AllowBrowser, 121, 1, AND, 0),
    BOOL(AllowConsumerEmail, 121, 1, AND, 0),
    BOOL(AllowRemoteDesktop, 121, 1, AND, 0),
    BOOL(AllowInternetSharing, 121, 1, AND, 0),
};

const mdm_eas_setting_t *mdm_eas_setting_named(const char *name)
{
    int i;

    for (i = 0; i < MDM_EAS_SETTING_COUNT; i++) {
        if (strcmp(mdm_eas_settings[i].name, name) == 0)
            return &mdm_eas_settings[i];
    }
    return NULL;
}

int mdm_eas_setting_index(int tag)
{
    int i;

    for (i = 0; i < MDM_EAS_SETTING_COUNT; i++) {
        if (mdm_eas_settings[i].tag == tag)
            return i;
    }
    return -1;
}

int mdm_eas_policy_set(mdm_eas_policy_t *policy, int tag, apr_int64_t value)
{
    int i = mdm_eas_setting_index(tag);

    if (i < 0 || value < mdm_eas_settings[i].min || value > mdm_eas_settings[i].max)
        return 0;
    policy->set[i] = 1;
    policy->value[i] = value;
    return 1;
}

static void read_strings(apr_pool_t *p, const mdm_wbnode_t *list, int tag, mdm_eas_strings_t *out)
{
    const mdm_wbnode_t *n;

    out->item = apr_pcalloc(p, STRINGS_MAX * sizeof(char *));
    for (n = list->child; n && out->count < STRINGS_MAX; n = n->next) {
        char *text = n->tag == tag ? mdm_clean(p, (const char *)n->content.data, STRING_BYTES) : NULL;

        if (text && *text)
            out->item[out->count++] = text;
    }
}

void mdm_eas_policy_read(apr_pool_t *p, const mdm_wbnode_t *doc, mdm_eas_policy_t *out)
{
    const mdm_wbnode_t *n;

    memset(out, 0, sizeof(*out));
    for (n = doc ? doc->child : NULL; n; n = n->next) {
        int i = mdm_eas_setting_index(n->tag);
        apr_int64_t value;

        if (n->tag == MDM_WB_PV_UnapprovedInROMApplicationList && !out->unapproved.item)
            read_strings(p, n, MDM_WB_PV_ApplicationName, &out->unapproved);
        else if (n->tag == MDM_WB_PV_ApprovedApplicationList && !out->approved.item)
            read_strings(p, n, MDM_WB_PV_Hash, &out->approved);
        if (i < 0 || out->set[i] ||
            mdm_parse_i64((const char *)n->content.data, APR_INT64_MIN, APR_INT64_MAX, &value) != APR_SUCCESS)
            continue;
        if (value > mdm_eas_settings[i].max && mdm_eas_settings[i].max > 1)
            value = mdm_eas_settings[i].max;
        mdm_eas_policy_set(out, n->tag, value);
    }
}

static void write_strings(mdm_wbout_t *o, const mdm_eas_strings_t *list, int outer, int inner)
{
    unsigned i;

    if (!list->count)
        return;
    mdm_wbxml_open(o, outer);
    for (i = 0; i < list->count; i++)
        mdm_wbxml_put(o, inner, list->item[i]);
    mdm_wbxml_close(o);
}

void mdm_eas_policy_write(mdm_wbout_t *o, const mdm_eas_policy_t *policy, int version)
{
    int i;

    mdm_wbxml_open(o, MDM_WB_PV_EASProvisionDoc);
    for (i = 0; i < MDM_EAS_SETTING_COUNT; i++) {
        const mdm_eas_setting_t *s = &mdm_eas_settings[i];

        if (s->since > version || (!policy->set[i] && s->unset == OMIT))
            continue;
        if (!policy->set[i] && s->unset == EMPTY)
            mdm_wbxml_empty(o, s->tag);
        else
            mdm_wbxml_put_int(o, s->tag, policy->set[i] ? policy->value[i] : s->unset);
    }
    if (version >= 121) {
        write_strings(o, &policy->unapproved, MDM_WB_PV_UnapprovedInROMApplicationList, MDM_WB_PV_ApplicationName);
        write_strings(o, &policy->approved, MDM_WB_PV_ApprovedApplicationList, MDM_WB_PV_Hash);
    }
    mdm_wbxml_close(o);
}

static apr_int64_t least_above(apr_int64_t a, apr_int64_t b, apr_int64_t limit)
{
    if (a < limit || b < limit)
        return a < limit ? b : a;
    return a < b ? a : b;
}

static apr_int64_t stricter(mdm_eas_rule_e rule, apr_int64_t ours, apr_int64_t theirs)
{
    static const int cipher_rank[] = {0, 2, 1, 3, 4};

    switch (rule) {
    case MDM_EAS_RULE_OR:
    case MDM_EAS_RULE_MAX: return ours > theirs ? ours : theirs;
    case MDM_EAS_RULE_AND:
    case MDM_EAS_RULE_MIN: return ours < theirs ? ours : theirs;
    case MDM_EAS_RULE_MIN_POSITIVE: return least_above(ours, theirs, 1);
    case MDM_EAS_RULE_MIN_FROM_0: return least_above(ours, theirs, 0);
    case MDM_EAS_RULE_CIPHER: return cipher_rank[ours] < cipher_rank[theirs] ? ours : theirs;
    default: return theirs;
    }
}

static int has(const mdm_eas_strings_t *list, const char *text)
{
    unsigned i;

    for (i = 0; i < list->count && strcmp(list->item[i], text) != 0; i++)
        ;
    return i < list->count;
}

/* All of a, and those of b that are (not) in a. */
static void join(apr_pool_t *p, const mdm_eas_strings_t *a, const mdm_eas_strings_t *b, int common, mdm_eas_strings_t *out)
{
    unsigned i;

    out->count = 0;
    out->item = apr_pcalloc(p, (a->count + b->count + 1) * sizeof(char *));
    for (i = 0; i < a->count && !common; i++)
        out->item[out->count++] = a->item[i];
    for (i = 0; i < b->count; i++) {
        if (has(a, b->item[i]) == common)
            out->item[out->count++] = b->item[i];
    }
}

/* Password settings without a required password mean nothing, so they don't take part. */
static int counts(const mdm_eas_policy_t *policy, int i)
{
    return policy->set[i] && (!mdm_eas_settings[i].password || (policy->set[0] && policy->value[0]));
}

void mdm_eas_policy_merge(apr_pool_t *p, const mdm_eas_policy_t *ours, const mdm_eas_policy_t *back_end, mdm_eas_policy_t *out)
{
    mdm_eas_policy_t result = {.set = {0}};
    int i;

    for (i = 0; i < MDM_EAS_SETTING_COUNT; i++) {
        mdm_eas_rule_e rule = mdm_eas_settings[i].rule;
        int a = counts(ours, i) && rule != MDM_EAS_RULE_BACK_END, b = counts(back_end, i);

        result.set[i] = (unsigned char)(a || b);
        if (a && b)
            result.value[i] = stricter(rule, ours->value[i], back_end->value[i]);
        else if (a || b)
            result.value[i] = a ? ours->value[i] : back_end->value[i];
    }
    join(p, &ours->unapproved, &back_end->unapproved, 0, &result.unapproved);
    join(p, &ours->approved, &back_end->approved, ours->approved.count && back_end->approved.count, &result.approved);
    /* an empty list would allow everything: lists without a common application leave ours */
    if (ours->approved.count && !result.approved.count)
        result.approved = ours->approved;
    *out = result;
}
