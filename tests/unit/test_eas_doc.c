/* ActiveSync documents: status answers, Provision, policy document, information, waiting (PRV-01..05, R18). */
#include "ctxtest.h"

#include <string.h>
#include <apr_strings.h>
#include "wire/mdm_eas_doc.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define HEAD "\x03\x01\x6a\x00"
#define BYTES(s) s, sizeof(s) - 1

static mdm_wbnode_t *tree(const void *data, apr_size_t len)
{
    mdm_wbnode_t *root;

    if (mdm_wbxml_parse(ctx, data, len, &root) != APR_SUCCESS)
        fail_msg("%s", ctx->fail_text);
    return root;
}

static mdm_wbnode_t *tree_of(mdm_blob_t doc)
{
    return tree(doc.data, doc.len);
}

static void same_bytes(mdm_blob_t got, const void *want, apr_size_t len)
{
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, want, len);
}

/* ---- status ---- */

/* The whole table of the protocol: page, root and status token of each command. */
static void test_status_answers(void **state)
{
    static const struct { mdm_eas_cmd_e cmd; unsigned char page, root, status; } rows[] = {
        {MDM_EAS_SYNC, 0, 5, 0xe}, {MDM_EAS_FOLDER_SYNC, 7, 0x16, 0xc}, {MDM_EAS_FOLDER_CREATE, 7, 0x13, 0xc},
        {MDM_EAS_FOLDER_DELETE, 7, 0x14, 0xc}, {MDM_EAS_FOLDER_UPDATE, 7, 0x15, 0xc}, {MDM_EAS_MOVE_ITEMS, 5, 5, 0xb},
        {MDM_EAS_GET_ITEM_ESTIMATE, 6, 5, 0xe}, {MDM_EAS_MEETING_RESPONSE, 8, 7, 0xb}, {MDM_EAS_RESOLVE_RECIPIENTS, 0xa, 5, 7},
        {MDM_EAS_VALIDATE_CERT, 0xb, 5, 0xa}, {MDM_EAS_PING, 0xd, 5, 7}, {MDM_EAS_PROVISION, 0xe, 5, 0xb},
        {MDM_EAS_SEARCH, 0xf, 5, 0xc}, {MDM_EAS_SETTINGS, 0x12, 5, 6}, {MDM_EAS_ITEM_OPERATIONS, 0x14, 5, 0xd},
        {MDM_EAS_SEND_MAIL, 0x15, 5, 0x12}, {MDM_EAS_SMART_FORWARD, 0x15, 6, 0x12}, {MDM_EAS_SMART_REPLY, 0x15, 7, 0x12},
        {MDM_EAS_FIND, 0x19, 5, 0xa},
    };
    unsigned i;

    for (i = 0; i < COUNT(rows); i++) {
        mdm_eas_query_t q = {.cmd = rows[i].cmd, .version = 140};
        mdm_eas_answer_t a;
        mdm_wbnode_t *root;
        apr_size_t cut;

        mdm_eas_status_answer(pool, &q, MDM_EAS_ST_NOT_PROVISIONED, &a);
        assert_int_equal(a.http, 200);
        assert_null(a.line);
        root = tree_of(a.body);
        assert_int_equal(root->tag, rows[i].page << 8 | rows[i].root);
        assert_int_equal(root->child->tag, rows[i].page << 8 | rows[i].status);
        assert_string_equal(root->child->content.data, "142");
        assert_null(root->child->next);
        assert_int_equal(mdm_eas_status_peek(rows[i].cmd, a.body.data, a.body.len), 142);
        assert_int_equal(mdm_eas_status_peek(rows[i].cmd, a.body.data, a.body.len - 1), 142);
        for (cut = 0; cut < a.body.len - 1; cut++)
            assert_int_equal(mdm_eas_status_peek(rows[i].cmd, a.body.data, cut), -1);
        q.version = 121;
        mdm_eas_status_answer(pool, &q, MDM_EAS_ST_NOT_PROVISIONED, &a);
        assert_int_equal(a.http, 449);
        assert_memory_equal(a.line, "449 ", 4);
        assert_int_equal(a.body.len, 0);
    }
}

static void test_status_codes(void **state)
{
    static const struct { int status, http; } rows[] = {
        {101, 400}, {102, 400}, {103, 400}, {110, 500}, {111, 503}, {113, 507}, {126, 403}, {129, 403}, {130, 403}, {131, 403},
        {137, 501}, {138, 400}, {141, 449}, {142, 449}, {143, 449}, {144, 449}, {177, 403}, {999, 400},
    };
    mdm_eas_query_t q = {.cmd = MDM_EAS_OPTIONS, .version = 161, .key = MDM_EAS_KEY_FOREIGN};
    mdm_eas_answer_t a;
    unsigned i;

    for (i = 0; i < COUNT(rows); i++)
        assert_int_equal(mdm_eas_status_http(rows[i].status, 0), rows[i].http);
    assert_int_equal(mdm_eas_status_http(140, 0), 403);
    assert_int_equal(mdm_eas_status_http(140, 1), 449);
    mdm_eas_status_answer(pool, &q, MDM_EAS_ST_DEVICE_BLOCKED, &a);
    assert_int_equal(a.http, 403);
    q.cmd = MDM_EAS_GET_ATTACHMENT;
    mdm_eas_status_answer(pool, &q, MDM_EAS_ST_WIPE, &a);
    assert_int_equal(a.http, 449);
}

static void test_status_peek(void **state)
{
    /* the root's own status only, also behind other elements; another root, other text */
    static const char nested[] = HEAD "\x45\x5c\x4f\x4e\x03" "8\0\x01\x01\x01\x4e\x03" "14\0\x03" "1\0\x01\x01";
    static const char text[] = HEAD "\x45\x4e\x03" "abc\0\x01\x01", lengthy[] = HEAD "\x45\x4e\x03" "00000000000000000001\0\x01\x01";
    static const char parts[] = HEAD "\x45\x4e\x03" "142\0\x03" "00000000000000000001\0\x01\x01";

    assert_int_equal(mdm_eas_status_peek(MDM_EAS_SYNC, BYTES(nested)), 141);
    assert_int_equal(mdm_eas_status_peek(MDM_EAS_PING, BYTES(nested)), -1);
    assert_int_equal(mdm_eas_status_peek(MDM_EAS_SYNC, BYTES(text)), -1);
    assert_int_equal(mdm_eas_status_peek(MDM_EAS_SYNC, BYTES(lengthy)), -1);
    assert_int_equal(mdm_eas_status_peek(MDM_EAS_SYNC, BYTES(parts)), -1);
    assert_int_equal(mdm_eas_status_peek(MDM_EAS_SYNC, BYTES("<html>")), -1);
    assert_int_equal(mdm_eas_status_peek(MDM_EAS_OPTIONS, BYTES(nested)), -1);
    assert_int_equal(mdm_eas_status_peek(MDM_EAS_GET_ATTACHMENT, BYTES(nested)), -1);
}

/* ---- information ---- */

static mdm_blob_t settings(int more)
{
    mdm_wbout_t o;

    mdm_wbxml_begin(&o, pool);
    mdm_wbxml_open(&o, MDM_WB_ST_Settings);
    if (more) {
        mdm_wbxml_open(&o, MDM_WB_ST_Oof);
        mdm_wbxml_empty(&o, MDM_WB_ST_Get);
        mdm_wbxml_close(&o);
        mdm_wbxml_empty(&o, MDM_WB_PG_Ping);
    }
    mdm_wbxml_open(&o, MDM_WB_ST_DeviceInformation);
    mdm_wbxml_open(&o, MDM_WB_ST_Set);
    mdm_wbxml_put(&o, MDM_WB_ST_Model, "iPhone14,2");
    mdm_wbxml_put(&o, MDM_WB_ST_IMEI, "35 1");
    mdm_wbxml_put(&o, MDM_WB_ST_FriendlyName, "J\xc3\xbcrgen\r\n<b>\xff");
    mdm_wbxml_put(&o, MDM_WB_ST_OS, "iOS 18.1");
    mdm_wbxml_put(&o, MDM_WB_ST_OSLanguage, "de");
    mdm_wbxml_put(&o, MDM_WB_ST_PhoneNumber, "");
    mdm_wbxml_put(&o, MDM_WB_ST_UserAgent, memset(apr_pcalloc(pool, 1000), 'u', 999));
    return mdm_wbxml_end(&o);
}

static void test_information(void **state)
{
    const mdm_eas_info_t *info = mdm_eas_info_read(pool, tree_of(settings(0)));
    mdm_wbnode_t *answer, *more = tree_of(settings(1));

    assert_string_equal(info->model, "iPhone14,2");
    assert_string_equal(info->imei, "35 1");
    assert_string_equal(info->friendly_name, "Jürgen  <b>");
    assert_string_equal(info->os, "iOS 18.1");
    assert_string_equal(info->os_language, "de");
    assert_string_equal(info->phone_number, "");
    assert_null(info->operator_name);
    assert_int_equal(strlen(info->user_agent), 200);
    assert_false(mdm_eas_settings_has_more(tree_of(settings(0))));
    assert_true(mdm_eas_settings_has_more(more));
    assert_null(mdm_eas_info_read(pool, tree(BYTES(HEAD "\x00\x12\x45\x56\x01\x01"))));
    same_bytes(mdm_eas_settings_answer(pool, tree_of(settings(0))),
               BYTES(HEAD "\x00\x12\x45\x46\x03" "1\0\x01\x56\x46\x03" "1\0\x01\x01\x01"));
    answer = tree_of(mdm_eas_settings_answer(pool, more));
    assert_int_equal(mdm_wbxml_int(mdm_wbxml_get(answer, MDM_WB_ST_Oof), MDM_WB_ST_Status, 0, 9, 0), 3);
    assert_int_equal(mdm_wbxml_int(mdm_wbxml_get(answer, MDM_WB_ST_DeviceInformation), MDM_WB_ST_Status, 0, 9, 0), 1);
    assert_null(mdm_wbxml_get(answer, MDM_WB_PG_Ping));
}

/* ---- policy ---- */

static apr_int64_t value(const mdm_eas_policy_t *policy, int tag)
{
    int i = mdm_eas_setting_index(tag);

    assert_true(i >= 0);
    return policy->set[i] ? policy->value[i] : -99;
}

static mdm_eas_policy_t policy_of(mdm_blob_t doc)
{
    mdm_eas_policy_t policy;

    mdm_eas_policy_read(pool, tree_of(doc), &policy);
    return policy;
}

static mdm_blob_t written(const mdm_eas_policy_t *policy, int version)
{
    mdm_wbout_t o;

    mdm_wbxml_begin(&o, pool);
    mdm_eas_policy_write(&o, policy, version);
    return mdm_wbxml_end(&o);
}

static void test_policy_table(void **state)
{
    static const int not_simple[] = {MDM_WB_PV_UnapprovedInROMApplicationList, MDM_WB_PV_ApplicationName,
                                     MDM_WB_PV_ApprovedApplicationList, MDM_WB_PV_Hash, MDM_WB_PV_AccountOnlyRemoteWipe};
    int tag, found = 0;
    unsigned i;

    for (tag = MDM_WB_PV_DevicePasswordEnabled; tag <= MDM_WB_PV_AccountOnlyRemoteWipe; tag++) {
        for (i = 0; i < COUNT(not_simple) && not_simple[i] != tag; i++)
            ;
        found += i == COUNT(not_simple) && mdm_wbxml_name(tag) != NULL;
        assert_int_equal(mdm_eas_setting_index(tag) >= 0, i == COUNT(not_simple) && mdm_wbxml_name(tag) != NULL);
    }
    assert_int_equal(found, MDM_EAS_SETTING_COUNT);
    assert_int_equal(mdm_eas_setting_index(MDM_WB_PV_DevicePasswordEnabled), 0);
}

/* An unset setting is sent as its default or as an empty tag, so that a device forgets an older value. */
static void test_policy_written(void **state)
{
    mdm_eas_policy_t policy = {.set = {0}}, back;
    mdm_wbnode_t *doc = tree_of(written(&policy, 141));
    const mdm_wbnode_t *n;

    assert_string_equal(mdm_wbxml_str(pool, doc, MDM_WB_PV_DevicePasswordEnabled, 9), "0");
    assert_string_equal(mdm_wbxml_str(pool, doc, MDM_WB_PV_MinDevicePasswordLength, 9), "");
    assert_string_equal(mdm_wbxml_str(pool, doc, MDM_WB_PV_AllowCamera, 9), "1");
    assert_string_equal(mdm_wbxml_str(pool, doc, MDM_WB_PV_MaxEmailBodyTruncationSize, 9), "-1");
    assert_null(mdm_wbxml_get(doc, MDM_WB_PV_RequireSignedSMIMEAlgorithm));
    assert_null(mdm_wbxml_get(doc, MDM_WB_PV_ApprovedApplicationList));
    for (n = tree_of(written(&policy, 120))->child; n; n = n->next)
        assert_true(n->tag <= MDM_WB_PV_DevicePasswordHistory);

    assert_true(mdm_eas_policy_set(&policy, MDM_WB_PV_DevicePasswordEnabled, 1));
    assert_true(mdm_eas_policy_set(&policy, MDM_WB_PV_MinDevicePasswordLength, 8));
    assert_false(mdm_eas_policy_set(&policy, MDM_WB_PV_MinDevicePasswordLength, 17));
    assert_false(mdm_eas_policy_set(&policy, MDM_WB_PV_AllowCamera, 2));
    assert_false(mdm_eas_policy_set(&policy, MDM_WB_PV_Hash, 1));
    policy.unapproved = (mdm_eas_strings_t){1, (const char *[]){"solitaire.exe"}};
    back = policy_of(written(&policy, 161));
    assert_int_equal(value(&back, MDM_WB_PV_MinDevicePasswordLength), 8);
    assert_int_equal(back.unapproved.count, 1);
    assert_string_equal(back.unapproved.item[0], "solitaire.exe");
}

static void test_policy_read(void **state)
{
    mdm_wbout_t o;
    mdm_eas_policy_t policy;

    mdm_wbxml_begin(&o, pool);
    mdm_wbxml_open(&o, MDM_WB_PV_EASProvisionDoc);
    mdm_wbxml_put(&o, MDM_WB_PV_MinDevicePasswordLength, "40");
    mdm_wbxml_put(&o, MDM_WB_PV_MaxDevicePasswordFailedAttempts, "2");
    mdm_wbxml_put(&o, MDM_WB_PV_MaxAttachmentSize, "-1");
    mdm_wbxml_put(&o, MDM_WB_PV_AllowCamera, "2");
    mdm_wbxml_put(&o, MDM_WB_PV_AllowWiFi, "0");
    mdm_wbxml_put(&o, MDM_WB_PV_AllowWiFi, "1");
    mdm_wbxml_put(&o, MDM_WB_PV_AllowBluetooth, "x");
    mdm_wbxml_put(&o, MDM_WB_PV_DevicePasswordHistory, "");
    mdm_wbxml_put(&o, 0x0e3f, "1");
    mdm_wbxml_put(&o, MDM_WB_AS_Sync, "1");
    policy = policy_of(mdm_wbxml_end(&o));
    assert_int_equal(value(&policy, MDM_WB_PV_MinDevicePasswordLength), 16);
    assert_int_equal(value(&policy, MDM_WB_PV_MaxDevicePasswordFailedAttempts), -99);
    assert_int_equal(value(&policy, MDM_WB_PV_MaxAttachmentSize), -99);
    assert_int_equal(value(&policy, MDM_WB_PV_AllowCamera), -99);
    assert_int_equal(value(&policy, MDM_WB_PV_AllowWiFi), 0);
    assert_int_equal(value(&policy, MDM_WB_PV_AllowBluetooth), -99);
    assert_int_equal(value(&policy, MDM_WB_PV_DevicePasswordHistory), -99);
    mdm_eas_policy_read(pool, NULL, &policy);
    assert_int_equal(value(&policy, MDM_WB_PV_AllowWiFi), -99);
}

/* PRV-02: each rule of the table; -99 is unset. */
static void test_stricter(void **state)
{
    static const struct { int tag; int a, b, want; } rows[] = {
        {MDM_WB_PV_AlphanumericDevicePasswordRequired, 0, 1, 1}, {MDM_WB_PV_RequireDeviceEncryption, -99, 1, 1},
        {MDM_WB_PV_AllowCamera, 1, 0, 0}, {MDM_WB_PV_AllowCamera, 1, 1, 1}, {MDM_WB_PV_AllowCamera, -99, -99, -99},
        {MDM_WB_PV_MinDevicePasswordLength, 6, 4, 6}, {MDM_WB_PV_MinDevicePasswordLength, 4, -99, 4},
        {MDM_WB_PV_MaxInactivityTimeDeviceLock, 300, 9999, 300}, {MDM_WB_PV_MaxDevicePasswordFailedAttempts, 10, 4, 4},
        {MDM_WB_PV_DevicePasswordExpiration, 0, 90, 90}, {MDM_WB_PV_DevicePasswordExpiration, 30, 90, 30},
        {MDM_WB_PV_DevicePasswordExpiration, 0, 0, 0}, {MDM_WB_PV_DevicePasswordHistory, 3, 5, 5},
        {MDM_WB_PV_AllowBluetooth, 2, 1, 1}, {MDM_WB_PV_MaxCalendarAgeFilter, 0, 4, 4}, {MDM_WB_PV_MaxEmailAgeFilter, 3, 0, 3},
        {MDM_WB_PV_MaxEmailBodyTruncationSize, -1, 500, 500}, {MDM_WB_PV_MaxEmailBodyTruncationSize, 0, 500, 0},
        {MDM_WB_PV_RequireSignedSMIMEAlgorithm, 1, 0, 0}, {MDM_WB_PV_RequireEncryptionSMIMEAlgorithm, 1, 2, 2},
        {MDM_WB_PV_RequireEncryptionSMIMEAlgorithm, 0, 2, 0}, {MDM_WB_PV_RequireEncryptionSMIMEAlgorithm, 4, 1, 1},
        {MDM_WB_PV_AllowSMIMEEncryptionAlgorithmNegotiation, 2, 1, 1}, {MDM_WB_PV_PasswordRecoveryEnabled, 1, -99, -99},
        {MDM_WB_PV_PasswordRecoveryEnabled, 1, 0, 0}, {MDM_WB_PV_PasswordRecoveryEnabled, -99, 1, 1},
    };
    unsigned i;

    for (i = 0; i < COUNT(rows); i++) {
        mdm_eas_policy_t a = {.set = {0}}, b = {.set = {0}}, got;

        mdm_eas_policy_set(&a, MDM_WB_PV_DevicePasswordEnabled, 1);
        mdm_eas_policy_set(&b, MDM_WB_PV_DevicePasswordEnabled, 1);
        assert_int_equal(mdm_eas_policy_set(&a, rows[i].tag, rows[i].a), rows[i].a != -99);
        assert_int_equal(mdm_eas_policy_set(&b, rows[i].tag, rows[i].b), rows[i].b != -99);
        mdm_eas_policy_merge(pool, &a, &b, &got);
        if (value(&got, rows[i].tag) != rows[i].want)
            fail_msg("%s: %d", mdm_wbxml_name(rows[i].tag), (int)value(&got, rows[i].tag));
    }
}

static void test_password_counts_only_if_required(void **state)
{
    mdm_eas_policy_t a = {.set = {0}}, b = {.set = {0}}, got;

    mdm_eas_policy_set(&a, MDM_WB_PV_DevicePasswordEnabled, 1);
    mdm_eas_policy_set(&a, MDM_WB_PV_MinDevicePasswordLength, 4);
    mdm_eas_policy_set(&b, MDM_WB_PV_DevicePasswordEnabled, 0);
    mdm_eas_policy_set(&b, MDM_WB_PV_MinDevicePasswordLength, 16);
    mdm_eas_policy_merge(pool, &a, &b, &got);
    assert_int_equal(value(&got, MDM_WB_PV_DevicePasswordEnabled), 1);
    assert_int_equal(value(&got, MDM_WB_PV_MinDevicePasswordLength), 4);
}

static void test_application_lists(void **state)
{
    mdm_eas_policy_t a = {.set = {0}}, b = {.set = {0}}, got;

    a.unapproved = a.approved = (mdm_eas_strings_t){2, (const char *[]){"x", "y"}};
    b.unapproved = b.approved = (mdm_eas_strings_t){2, (const char *[]){"y", "z"}};
    mdm_eas_policy_merge(pool, &a, &b, &got);
    assert_int_equal(got.unapproved.count, 3);
    assert_int_equal(got.approved.count, 1);
    assert_string_equal(got.approved.item[0], "y");
    b.approved = (mdm_eas_strings_t){1, (const char *[]){"z"}};
    mdm_eas_policy_merge(pool, &a, &b, &got);
    assert_int_equal(got.approved.count, 2);
    a.approved.count = 0;
    mdm_eas_policy_merge(pool, &a, &b, &got);
    assert_int_equal(got.approved.count, 1);
    assert_string_equal(got.approved.item[0], "z");
}

/* ---- Provision ---- */

static void test_provision_requests(void **state)
{
    static const char wiped[] = HEAD "\x00\x0e\x45\x4c\x4b\x03" "1\0\x01\x01\x01";
    static const char account[] = HEAD "\x00\x0e\x45\x7b\x4b\x03" "2\0\x01\x01\x01";
    static const char bare_wipe[] = HEAD "\x00\x0e\x45\x0c\x01";
    /* status and key before the type, as the protocol's own example has it */
    static const char ack[] = HEAD "\x00\x0e\x45\x46\x47\x49\x03" "1307199584\0\x01\x4b\x03" "2\0\x01\x48\x03"
                              "MS-EAS-Provisioning-WBXML\0\x01\x01\x01\x01";
    static const char foreign[] = HEAD "\x00\x0e\x45\x46\x47\x49\x03" "4294967296\0\x01\x4b\x03" "7\0\x01\x01\x01\x01";
    mdm_eas_info_t info = {.model = "SM-G991B", .os = "Android 15"};
    mdm_eas_provision_t got;
    mdm_blob_t ask = mdm_eas_provision_ask(pool, &info);

    assert_int_equal(mdm_eas_provision_read(ctx, ask.data, ask.len, &got), APR_SUCCESS);
    assert_int_equal(got.kind, MDM_EAS_PROV_ASK);
    assert_string_equal(got.policy_type, MDM_EAS_POLICY_TYPE);
    assert_int_equal(got.key, MDM_EAS_KEY_NONE);
    assert_string_equal(got.info->model, "SM-G991B");
    assert_null(got.info->imei);
    ask = mdm_eas_provision_ask(pool, NULL);
    assert_int_equal(mdm_eas_provision_read(ctx, ask.data, ask.len, &got), APR_SUCCESS);
    assert_null(got.info);
    assert_int_equal(mdm_eas_provision_read(ctx, "", 0, &got), APR_SUCCESS);
    assert_int_equal(got.kind, MDM_EAS_PROV_ASK);
    assert_null(got.policy_type);
    assert_int_equal(mdm_eas_provision_read(ctx, BYTES(HEAD "\x00\x0e\x05"), &got), APR_SUCCESS);
    assert_int_equal(got.kind, MDM_EAS_PROV_ASK);
    assert_int_equal(mdm_eas_provision_read(ctx, BYTES(ack), &got), APR_SUCCESS);
    assert_int_equal(got.kind, MDM_EAS_PROV_ACK);
    assert_int_equal(got.key, MDM_EAS_KEY_GIVEN);
    assert_true(got.policy_key == 1307199584u);
    assert_int_equal(got.status, 2);
    assert_int_equal(mdm_eas_provision_read(ctx, BYTES(foreign), &got), APR_SUCCESS);
    assert_int_equal(got.kind, MDM_EAS_PROV_ACK);
    assert_int_equal(got.key, MDM_EAS_KEY_FOREIGN);
    assert_int_equal(got.status, 0);
    assert_int_equal(mdm_eas_provision_read(ctx, BYTES(wiped), &got), APR_SUCCESS);
    assert_int_equal(got.kind, MDM_EAS_PROV_WIPE_ACK);
    assert_int_equal(got.status, 1);
    assert_int_equal(mdm_eas_provision_read(ctx, BYTES(account), &got), APR_SUCCESS);
    assert_int_equal(got.kind, MDM_EAS_PROV_ACCOUNT_WIPE_ACK);
    assert_int_equal(got.status, 2);
    assert_int_equal(mdm_eas_provision_read(ctx, BYTES(bare_wipe), &got), APR_SUCCESS);
    assert_int_equal(got.status, 0);
    assert_int_equal(mdm_eas_provision_read(ctx, BYTES(HEAD "\x05"), &got), MDM_EINPUT);
    assert_int_equal(mdm_eas_provision_read(ctx, BYTES("<html>"), &got), MDM_EINPUT);
}

static mdm_eas_provided_t provided(mdm_blob_t doc)
{
    mdm_eas_provided_t got;

    assert_int_equal(mdm_eas_provided_read(ctx, doc.data, doc.len, &got), APR_SUCCESS);
    return got;
}

static void test_provision_answers(void **state)
{
    mdm_eas_policy_t policy = {.set = {0}}, read;
    mdm_eas_provided_t got;
    mdm_blob_t doc;

    mdm_eas_policy_set(&policy, MDM_WB_PV_AllowCamera, 0);
    doc = mdm_eas_provision_offer(pool, &policy, 141, 4000000000u, 1);
    got = provided(doc);
    assert_int_equal(tree_of(doc)->child->tag, MDM_WB_ST_DeviceInformation);
    assert_int_equal(got.status, 1);
    assert_int_equal(got.policy_status, 1);
    assert_true(got.key == MDM_EAS_KEY_GIVEN && got.policy_key == 4000000000u);
    mdm_eas_policy_read(pool, got.doc, &read);
    assert_int_equal(value(&read, MDM_WB_PV_AllowCamera), 0);
    assert_false(got.wipe || got.account_wipe);
    assert_int_equal(tree_of(mdm_eas_provision_offer(pool, &policy, 140, 1, 0))->child->tag, MDM_WB_PV_Status);

    got = provided(mdm_eas_provision_final(pool, 7));
    assert_true(got.status == 1 && got.policy_status == 1 && got.policy_key == 7 && !got.doc);
    got = provided(mdm_eas_provision_refuse(pool, 5));
    assert_true(got.status == 1 && got.policy_status == 5 && got.key == MDM_EAS_KEY_NONE);
    got = provided(mdm_eas_provision_wipe(pool, 0));
    assert_true(got.status == 1 && got.wipe && !got.account_wipe);
    got = provided(mdm_eas_provision_wipe(pool, 1));
    assert_true(got.status == 1 && !got.wipe && got.account_wipe);
    got = provided(mdm_eas_provision_wiped(pool, 1, 0));
    assert_true(got.status == 1 && !got.wipe);
    got = provided(mdm_eas_provision_wiped(pool, 0, 1));
    assert_true(got.status == 2 && got.account_wipe);
    got = provided(mdm_eas_provision_ack(pool, 9, 1));
    assert_true(got.policy_key == 9 && got.policy_status == 1);
    assert_int_equal(mdm_eas_provided_read(ctx, BYTES("<html>"), &got), MDM_EINPUT);
}

/* ---- waiting ---- */

static void holds(const void *doc, apr_size_t len, int seconds, unsigned folders)
{
    apr_size_t chunk, at, n;

    for (chunk = 1; chunk <= len; chunk++) {
        mdm_eas_hold_t h;

        mdm_eas_hold_init(&h);
        for (at = 0; at < len; at += n) {
            n = chunk < len - at ? chunk : len - at;
            mdm_eas_hold_push(&h, (const char *)doc + at, n);
        }
        assert_int_equal(h.seconds, seconds);
        assert_int_equal(h.folders, folders);
    }
}

static void test_hold(void **state)
{
    holds(BYTES(HEAD "\x00\x0d\x45\x48\x03" "480\0\x01\x49\x4a\x4b\x03" "5\0\x01\x01\x4a\x01\x01\x01"), 480, 2);
    holds(BYTES(HEAD "\x00\x0d\x45\x48\x03" "48\0\x03" "0\0\x01\x01"), 480, 0);
    holds(BYTES(HEAD "\x45\x5c\x4f\x64\x03" "9\0\x01\x01\x01\x64\x03" "15\0\x01\x01"), 900, 0);
    holds(BYTES(HEAD "\x45\x69\x03" "3540\0\x01\x5c\x01\x01"), 3540, 0);
    /* wrong numbers, another document, a cut one, too long, nothing */
    holds(BYTES(HEAD "\x45\x69\x03" "-5\0\x01\x01"), 0, 0);
    holds(BYTES(HEAD "\x45\x69\x03" "99999999999\0\x01\x01"), 0, 0);
    holds(BYTES(HEAD "\x45\x69\x03" "0000000000000000000000060\0\x01\x01"), 0, 0);
    holds(BYTES(HEAD "\x45\x69\x46\x03" "60\0\x01\x01\x01"), 0, 0);
    holds(BYTES(HEAD "\x00\x07\x56\x00\x00\x69\x03" "60\0\x01\x01"), 0, 0);
    holds(BYTES(HEAD "\x45\x69\x03" "60"), 0, 0);
    holds(BYTES("GET / HTTP/1.1"), 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_answers), cmocka_unit_test(test_status_codes), cmocka_unit_test(test_status_peek),
        cmocka_unit_test(test_information), cmocka_unit_test(test_policy_table), cmocka_unit_test(test_policy_written),
        cmocka_unit_test(test_policy_read), cmocka_unit_test(test_stricter), cmocka_unit_test(test_password_counts_only_if_required),
        cmocka_unit_test(test_application_lists), cmocka_unit_test(test_provision_requests), cmocka_unit_test(test_provision_answers),
        cmocka_unit_test(test_hold),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
