/* ActiveSync request lines in both forms, and Basic credentials (GATE-01, R44, R45). */
#include "ctxtest.h"

#include <string.h>
#include <apr_strings.h>
#include "wire/mdm_eas_query.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PLAIN "User=dom%5Calice&DeviceId=v140Device&DeviceType=SmartPhone"

static mdm_eas_query_t *parsed(const char *query, const char *version, const char *key)
{
    mdm_eas_input_t in = {0, query, version, key, NULL};
    mdm_eas_query_t *q;

    if (mdm_eas_query_parse(ctx, &in, &q) != APR_SUCCESS)
        fail_msg("%s: %s %s", query, ctx->fail_field, ctx->fail_text);
    return q;
}

static void refused(const mdm_eas_input_t *in, const char *field)
{
    mdm_eas_query_t *q;
    apr_status_t rv = mdm_eas_query_parse(ctx, in, &q);

    if (rv != MDM_EINPUT || strcmp(ctx->fail_field, field) != 0)
        fail_msg("%.100s: %d, %s %s instead of %s", in->query ? in->query : "-", rv, ctx->fail_field, ctx->fail_text, field);
    assert_null(q);
}

static void refused_plain(const char *query, const char *field)
{
    mdm_eas_input_t in = {0, query, "14.1", NULL, NULL};

    refused(&in, field);
}

static void refused_bytes(const void *bytes, apr_size_t len, const char *field)
{
    mdm_eas_input_t in = {0, mdm_b64(pool, bytes, len), NULL, NULL, NULL};

    refused(&in, field);
}

static void same_text(const char *a, const char *b)
{
    if (!a || !b)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

/* Everything a decision can rest on. */
static void same(const mdm_eas_query_t *a, const mdm_eas_query_t *b)
{
    assert_int_equal(a->cmd, b->cmd);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->key, b->key);
    assert_int_equal(a->policy_key, b->policy_key);
    assert_int_equal(a->save_in_sent, b->save_in_sent);
    assert_int_equal(a->multipart, b->multipart);
    same_text(a->device_id, b->device_id);
    same_text(a->device_type, b->device_type);
    same_text(a->user, b->user);
    same_text(a->attachment_name, b->attachment_name);
    same_text(a->collection_id, b->collection_id);
    same_text(a->item_id, b->item_id);
    same_text(a->long_id, b->long_id);
    same_text(a->occurrence, b->occurrence);
}

static void test_base64_example(void **state)
{
    static const char *const spelled[] = {"jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l", "jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25%6C"};
    unsigned i;

    for (i = 0; i < COUNT(spelled); i++) {
        mdm_eas_query_t *q = parsed(spelled[i], NULL, NULL);

        assert_int_equal(q->form, MDM_EAS_FORM_BASE64);
        assert_int_equal(q->version, 140);
        assert_int_equal(q->cmd, MDM_EAS_SYNC);
        assert_int_equal(q->locale, 0x0409);
        assert_string_equal(q->device_id, "V140DEVICE");
        assert_int_equal(q->device_id_sent.len, 10);
        assert_memory_equal(q->device_id_sent.data, "v140Device", 10);
        assert_string_equal(q->device_type, "SmartPhone");
        assert_int_equal(q->key, MDM_EAS_KEY_NONE);
        assert_null(q->user);
    }
}

static void test_padding(void **state)
{
    /* lengths of all three remainders, with padding, escaped padding and none */
    static const char *const types[] = {"Smart", "SmartP", "SmartPh"};
    unsigned i;

    for (i = 0; i < COUNT(types); i++) {
        char raw[64];
        apr_size_t len = (apr_size_t)apr_snprintf(raw, sizeof(raw), "\x8c\x12%c%c\x02" "d1%c%c%s", 9, 4, 0, (int)strlen(types[i]),
                                                  types[i]);
        char *text = mdm_b64(pool, raw, len), *bare = apr_pstrdup(pool, text), *eq = strchr(bare, '=');

        same(parsed(text, NULL, NULL), parsed(text, "14.0", NULL));
        if (!eq)
            continue;
        same(parsed(text, NULL, NULL),
             parsed(apr_pstrcat(pool, apr_pstrmemdup(pool, text, (apr_size_t)(eq - bare)), eq[1] ? "%3D%3d" : "%3D", NULL), NULL,
                    NULL));
        *eq = '\0';
        same(parsed(text, NULL, NULL), parsed(bare, NULL, NULL));
    }
}

static void test_plain(void **state)
{
    mdm_eas_query_t *q = parsed("user=a+b%40example.org&DEVICEID=ApplXY12&DeviceType=iPhone&cmd=sendmail&SaveInSent=t"
                                "&CollectionId=5%3A1&ItemId=a+b&Unknown=1&&LongId=",
                                "14.1", "4294967295");

    assert_int_equal(q->form, MDM_EAS_FORM_PLAIN);
    assert_int_equal(q->cmd, MDM_EAS_SEND_MAIL);
    assert_int_equal(q->version, 141);
    assert_string_equal(q->user, "a+b@example.org");
    assert_string_equal(q->device_id, "APPLXY12");
    assert_string_equal(q->device_type, "iPhone");
    assert_string_equal(q->collection_id, "5:1");
    assert_string_equal(q->item_id, "a b");
    assert_null(q->long_id);
    assert_int_equal(q->save_in_sent, 1);
    assert_int_equal(q->key, MDM_EAS_KEY_GIVEN);
    assert_true(q->policy_key == 4294967295u);
    assert_string_equal(parsed("Cmd=Ping&User=M%FCller&DeviceId=a&DeviceType=x", "12.1", NULL)->user, "Müller");
}

/* The 16 raw bytes of a GUID are the hex of the plain form, byte order kept; 16 characters are themselves. */
static void test_raw_device_id(void **state)
{
    static const unsigned char raw[] = {0x8d, 0x11, 0x07, 0x04, 0x10, 0x79, 0x6a, 0xcd, 0x8c, 0x98, 0x00, 0x29, 0x5f, 0xaa, 0xbb,
                                        0xcc, 0xdd, 0xee, 0xff, 0x12, 0x13, 0x00, 0x02, 'W', 'P'};
    static const char text[] = "\x8d\x11\x07\x04\x10" "androidc12345-_6" "\0\x02WP";
    mdm_eas_query_t *q;

    q = parsed(mdm_b64(pool, raw, sizeof(raw)), NULL, NULL);
    assert_string_equal(q->device_id, "796ACD8C9800295FAABBCCDDEEFF1213");
    same(q, parsed("Cmd=Settings&DeviceId=796acd8c9800295faabbccddeeff1213&DeviceType=WP", "14.1", NULL));
    q = parsed(mdm_b64(pool, text, sizeof(text) - 1), NULL, NULL);
    assert_string_equal(q->device_id, "ANDROIDC12345-_6");
    same(q, parsed("Cmd=Settings&DeviceId=androidC12345-_6&DeviceType=WP", "14.1", NULL));
}

/* R45: every command, version and parameter, written in both forms, is judged the same. */
static void test_both_forms_agree(void **state)
{
    static const int numbers[] = {121, 140, 141, 160, 161};
    int cmd;
    unsigned v;

    for (cmd = 0; cmd < MDM_EAS_CMD_COUNT; cmd++) {
        if (cmd >= MDM_EAS_GET_HIERARCHY && cmd <= MDM_EAS_MOVE_COLLECTION)
            continue;
        for (v = 0; v < COUNT(numbers); v++) {
            mdm_eas_input_t in = {0, NULL, mdm_eas_version_text(numbers[v]), "77", "T"};
            mdm_eas_rebuild_t how = {MDM_EAS_FORM_BASE64, NULL, 1, 77};
            mdm_eas_query_t *plain, *base64, *again;
            mdm_eas_line_t line;

            in.query = apr_pstrcat(pool, "Cmd=", mdm_eas_cmd_name(cmd), "&" PLAIN "&AttachmentName=%E4b%26%3D&CollectionId=1"
                                   "&ItemId=2%3A3&LongId=4&Occurrence=2026-11-21&SaveInSent=T", NULL);
            assert_int_equal(mdm_eas_query_parse(ctx, &in, &plain), APR_SUCCESS);
            assert_int_equal(mdm_eas_query_build(ctx, plain, &how, &line), APR_SUCCESS);
            assert_null(line.version);
            assert_null(line.policy_key);
            assert_null(line.multipart);
            base64 = parsed(line.query, NULL, NULL);
            same(plain, base64);
            assert_string_equal(base64->user, "dom\\alice");
            how.form = MDM_EAS_FORM_PLAIN;
            assert_int_equal(mdm_eas_query_build(ctx, base64, &how, &line), APR_SUCCESS);
            assert_string_equal(line.multipart, "T");
            in = (mdm_eas_input_t){0, line.query, line.version, line.policy_key, line.multipart};
            assert_int_equal(mdm_eas_query_parse(ctx, &in, &again), APR_SUCCESS);
            same(plain, again);
        }
    }
}

static void test_command_codes(void **state)
{
    static const struct { int code; const char *name; } rows[] = {
        {0, "Sync"}, {1, "SendMail"}, {2, "SmartForward"}, {3, "SmartReply"}, {4, "GetAttachment"}, {9, "FolderSync"},
        {10, "FolderCreate"}, {11, "FolderDelete"}, {12, "FolderUpdate"}, {13, "MoveItems"}, {14, "GetItemEstimate"},
        {15, "MeetingResponse"}, {16, "Search"}, {17, "Settings"}, {18, "Ping"}, {19, "ItemOperations"}, {20, "Provision"},
        {21, "ResolveRecipients"}, {22, "ValidateCert"}, {23, "Find"},
    };
    unsigned i;

    for (i = 0; i < COUNT(rows); i++) {
        assert_string_equal(mdm_eas_cmd_name(rows[i].code), rows[i].name);
        assert_int_equal(mdm_eas_cmd_by_name(rows[i].name), rows[i].code);
    }
    assert_string_equal(mdm_eas_cmd_name(MDM_EAS_OPTIONS), "OPTIONS");
    assert_null(mdm_eas_cmd_name(MDM_EAS_CMD_COUNT));
    assert_int_equal(mdm_eas_cmd_by_name("OPTIONS"), MDM_EAS_CMD_COUNT);
    assert_int_equal(mdm_eas_version_number("14.10"), 0);
    assert_null(mdm_eas_version_text(142));
}

static void test_bad_plain(void **state)
{
    static const struct { const char *query, *field; } rows[] = {
        {PLAIN "&Cmd=Sync&Cmd=Sync", "Cmd"}, {PLAIN "&Cmd=Sync&cmd=Ping", "Cmd"}, {PLAIN "&Cmd=Sync&%43md=Ping", "Cmd"},
        {PLAIN "&Cmd=Sync&DeviceId=v140Device", "DeviceId"}, {PLAIN "&Cmd=Sync&deviceid=", "DeviceId"},
        {PLAIN "&Cmd=Sync&User=bob", "User"}, {PLAIN "&Cmd=Sync&User", "User"}, {PLAIN "&Cmd=Sync&DeviceType=a", "DeviceType"},
        {PLAIN, "Cmd"}, {PLAIN "&Cmd=", "Cmd"}, {PLAIN "&Cmd=Nope", "Cmd"}, {PLAIN "&Cmd=OPTIONS", "Cmd"},
        {PLAIN "&Cmd=Sync%20", "Cmd"}, {PLAIN "&Cmd=Sync%00", "Cmd"}, {PLAIN "&Cmd=%5", "Cmd"}, {PLAIN "&%zz=1", "query"},
        {"Cmd=Sync&DeviceType=a", "DeviceId"}, {"Cmd=Sync&DeviceId=&DeviceType=a", "DeviceId"},
        {"Cmd=Sync&DeviceId=a", "DeviceType"}, {"Cmd=Sync&DeviceId=a&DeviceType=", "DeviceType"},
        {"Cmd=Sync&DeviceId=a%2Fb&DeviceType=a", "DeviceId"}, {"Cmd=Sync&DeviceId=a+b&DeviceType=a", "DeviceId"},
        {"Cmd=Sync&DeviceId=..%2F&DeviceType=a", "DeviceId"}, {"Cmd=Sync&DeviceId=%C3%A4&DeviceType=a", "DeviceId"},
        {"Cmd=Sync&DeviceId=1234567890123456789012345678901234567890123456789012345678901234a&DeviceType=a", "DeviceId"},
        {"Cmd=Sync&DeviceId=a%0D%0AX:1&DeviceType=a", "DeviceId"}, {"Cmd=Sync&DeviceId=a&DeviceType=a%0Ab", "DeviceType"},
        {"Cmd=Sync&DeviceId=a&DeviceType=a%C2%85b", "DeviceType"}, {"Cmd=Sync&DeviceId=a&DeviceType=a%81b", "DeviceType"},
        {"Cmd=Sync&DeviceId=a&DeviceType=1234567890123456789012345678901234567890123456789012345678901234a", "DeviceType"},
        {PLAIN "&Cmd=SendMail&SaveInSent=yes", "SaveInSent"}, {PLAIN "&Cmd=Sync&ItemId=a%0d", "ItemId"},
        {PLAIN "&Cmd=Sync&a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q&r&s&t&u&v&w&x&y&z&1&2&3&4", "query"},
        {"", "query"}, {"Cmd", "query"}, {"Cmd=", "query"}, {"=", "query"}, {"====", "query"}, {"%", "query"},
    };
    mdm_eas_input_t in = {0, NULL, "14.1", NULL, NULL};
    unsigned i;

    refused(&in, "query");
    for (i = 0; i < COUNT(rows); i++)
        refused_plain(rows[i].query, rows[i].field);
    in.query = apr_pstrcat(pool, "Cmd=Sync&" PLAIN "&x=", memset(apr_pcalloc(pool, 8193), 'a', 8192), NULL);
    refused(&in, "query");
}

static void test_bad_base64(void **state)
{
#define ID "\x09\x04\x02" "d1"
    static const struct { const char *bytes; apr_size_t len; const char *field; } rows[] = {
#define ROW(bytes, field) {bytes, sizeof(bytes) - 1, field}
        ROW("\x8c", "query"), ROW("\x8c\x00", "query"), ROW("\x8c\x00\x09\x04", "query"), ROW("\x8c\x00\x09\x04\x05" "d1", "query"),
        ROW("\x8c\x00" ID, "query"), ROW("\x8c\x00" ID "\x00", "query"), ROW("\x8c\x00" ID "\x01" "a\x01" "t", "query"),
        ROW("\x8c\x00" ID "\x05" "abcde\x01" "t", "query"), ROW("\x8c\x00" ID "\x04" "abc", "query"),
        ROW("\x8c\x00" ID "\x00\x02" "t", "query"), ROW("\x8c\x00" ID "\x00\x01" "t\x08", "query"),
        ROW("\x8c\x00" ID "\x00\x01" "t\x08\xff" "a", "query"), ROW("\x8c\x00" ID "\x00\x01" "t\x63\x02" "a", "query"),
        ROW("\x8c\x00" ID "\x00\x01" "t\x08\x01" "a\x08\x01" "a", "User"), ROW("\x8c\x00" ID "\x00\x01" "t\x08\x02" "a\0", "query"),
        ROW("\x8c\x00" ID "\x00\x01" "t\x07\x01\x01\x07\x01\x01", "Options"), ROW("\x8c\x00" ID "\x00\x01" "t\x07\x02\x01\x01", "query"),
        ROW("\x8c\x00" ID "\x00\x01" "t\x07\x00", "query"), ROW("\x8c\x00" ID "\x00\x01" "t\x03\x01\n", "ItemId"),
        ROW("\x8c\x00" ID "\x00\x00", "DeviceType"), ROW("\x8c\x00" ID "\x00\x01\x01", "DeviceType"),
        ROW("\x8c\x00\x09\x04\x00\x00\x01" "t", "DeviceId"), ROW("\x8c\x00\x09\x04\x02" "\x01\x02\x00\x01" "t", "DeviceId"),
        ROW("\x8c\x00\x09\x04\x11" "\x01" "1234567890123456\x00\x01" "t", "DeviceId"),
        ROW("\x8c\x05" ID "\x00\x01" "t", "Cmd"), ROW("\x8c\x08" ID "\x00\x01" "t", "Cmd"), ROW("\x8c\x18" ID "\x00\x01" "t", "Cmd"),
        ROW("\x8c\xff" ID "\x00\x01" "t", "Cmd"), ROW("\x78\x00" ID "\x00\x01" "t", "MS-ASProtocolVersion"),
        ROW("\x19\x00" ID "\x00\x01" "t", "MS-ASProtocolVersion"), ROW("\x00\x00" ID "\x00\x01" "t", "MS-ASProtocolVersion"),
        ROW("\xff\x00" ID "\x00\x01" "t", "MS-ASProtocolVersion"),
#undef ROW
    };
    static const char *const texts[] = {"jAAJ BAp2", "jAAJ%20BAp2", "jAAJ-_p2", "jAAJ=", "jAAJBA=", "j", "jAAJB", "a=b=="};
    unsigned char many[9 + 33 * 2] = "\x8c\x00\x09\x04\x01" "a\x00\x01" "t"; /* and 33 unknown parameters */
    unsigned i;

    for (i = 0; i < COUNT(rows); i++)
        refused_bytes(rows[i].bytes, rows[i].len, rows[i].field);
    for (i = 0; i < COUNT(texts); i++)
        refused_plain(texts[i], i == COUNT(texts) - 1 ? "Cmd" : "query");
    for (i = 9; i + 1 < sizeof(many); i += 2)
        many[i] = 99;
    refused_bytes(many, sizeof(many), "query");
}

/* Header and query must not tell different stories. */
static void test_contradictions(void **state)
{
    static const char keyed[] = "\x8c\x00" ID "\x04\x07\x00\x00\x00\x01" "t";
    const char *query = mdm_b64(pool, keyed, sizeof(keyed) - 1);
    mdm_eas_input_t in = {0, query, "14.1", NULL, NULL};

    refused(&in, "MS-ASProtocolVersion");
    in.version = "14.0, 14.0";
    refused(&in, "MS-ASProtocolVersion");
    in.version = "";
    refused(&in, "MS-ASProtocolVersion");
    in.version = "14.0";
    in.policy_key = "8";
    refused(&in, "X-MS-PolicyKey");
    in.policy_key = "x";
    refused(&in, "X-MS-PolicyKey");
    assert_int_equal(parsed(query, "14.0", "7")->policy_key, 7);
    assert_int_equal(parsed(query, NULL, "")->policy_key, 7);
    in = (mdm_eas_input_t){0, "Cmd=Sync&" PLAIN, "14.2", NULL, NULL};
    refused(&in, "MS-ASProtocolVersion");
    in.version = NULL;
    refused(&in, "MS-ASProtocolVersion");
}

static void test_policy_key_header(void **state)
{
    static const char *const foreign[] = {"4294967296", "-1", "abc", "1 2", "0x10", "99999999999999999999999"};
    mdm_eas_input_t in = {0, "Cmd=Sync&" PLAIN, "14.1", NULL, NULL};
    unsigned i;

    assert_int_equal(parsed(in.query, "14.1", NULL)->key, MDM_EAS_KEY_NONE);
    assert_int_equal(parsed(in.query, "14.1", "")->key, MDM_EAS_KEY_NONE);
    assert_int_equal(parsed(in.query, "14.1", "0")->key, MDM_EAS_KEY_GIVEN);
    for (i = 0; i < COUNT(foreign); i++) {
        mdm_eas_query_t *q = parsed(in.query, "14.1", foreign[i]);

        assert_int_equal(q->key, MDM_EAS_KEY_FOREIGN);
        assert_int_equal(q->policy_key, 0);
    }
    in.policy_key = "1\r\n2";
    refused(&in, "X-MS-PolicyKey");
    in.policy_key = "12345678901234567890123456789012345678901234567890123456789012345";
    refused(&in, "X-MS-PolicyKey");
}

static void test_options(void **state)
{
    static const struct { const char *query, *id; } rows[] = {
        {NULL, ""}, {"", ""}, {"Cmd=OPTIONS&" PLAIN, "V140DEVICE"}, {PLAIN, "V140DEVICE"}, {"User=a", ""},
        {"jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l", "V140DEVICE"},
    };
    mdm_eas_rebuild_t how = {MDM_EAS_FORM_SAME, NULL, 0, 0};
    mdm_eas_query_t *q;
    mdm_eas_line_t line;
    unsigned i;

    for (i = 0; i < COUNT(rows); i++) {
        mdm_eas_input_t in = {1, rows[i].query, NULL, NULL, NULL};

        assert_int_equal(mdm_eas_query_parse(ctx, &in, &q), APR_SUCCESS);
        assert_int_equal(q->cmd, MDM_EAS_OPTIONS);
        assert_string_equal(q->device_id, rows[i].id);
        assert_int_equal(mdm_eas_query_build(ctx, q, &how, &line), APR_SUCCESS);
        assert_null(strstr(line.query, "Cmd"));
    }
    refused(&(mdm_eas_input_t){1, PLAIN "&DeviceId=b", NULL, NULL, NULL}, "DeviceId");
    how.form = MDM_EAS_FORM_BASE64;
    assert_int_equal(mdm_eas_query_build(ctx, q, &how, &line), MDM_EINPUT);
}

/* R44: the line for the back end has one order and spelling, our key and name, and nothing that was not understood. */
static void test_build(void **state)
{
    static const char keyless[] = "\x8c\x00\x07\x04\x02" "d1\x00\x01" "t\x63\x01" "z\x08\x01" "a";
    static const char wanted[] = "\x8c\x00\x07\x04\x02" "d1\x04\x04\x03\x02\x01\x01" "t\x08\x03" "b\xc3\xa4";
    mdm_eas_rebuild_t how = {MDM_EAS_FORM_SAME, NULL, 1, 0x01020304};
    mdm_eas_query_t *q;
    mdm_eas_line_t line;
    mdm_blob_t blob;

    q = parsed("x=%2e%2e/&DeviceType=i%50hone&&cmd=ping&deviceid=aB1&USER=a/b%3Fc+d&SaveInSent=F", "16.1", "1");
    assert_int_equal(mdm_eas_query_build(ctx, q, &how, &line), APR_SUCCESS);
    assert_string_equal(line.query, "Cmd=Ping&User=a%2Fb%3Fc%2Bd&DeviceId=aB1&DeviceType=iPhone");
    assert_string_equal(line.version, "16.1");
    assert_string_equal(line.policy_key, "16909060");
    how.has_key = 0;
    how.user = "EX\\ä";
    assert_int_equal(mdm_eas_query_build(ctx, q, &how, &line), APR_SUCCESS);
    assert_string_equal(line.query, "Cmd=Ping&User=EX%5C%C3%A4&DeviceId=aB1&DeviceType=iPhone");
    assert_null(line.policy_key);

    how.has_key = 1;
    how.user = "bä";
    q = parsed(mdm_b64(pool, keyless, sizeof(keyless) - 1), NULL, NULL);
    assert_int_equal(mdm_eas_query_build(ctx, q, &how, &line), APR_SUCCESS);
    assert_int_equal(mdm_unb64(pool, line.query, strlen(line.query), &blob), APR_SUCCESS);
    assert_int_equal(blob.len, sizeof(wanted) - 1);
    assert_memory_equal(blob.data, wanted, blob.len);

    how.user = memset(apr_pcalloc(pool, 257), 'u', 256);
    assert_int_equal(mdm_eas_query_build(ctx, q, &how, &line), MDM_EINPUT);
    how.form = MDM_EAS_FORM_BASE64;
    how.user = NULL;
    q = parsed("Cmd=Sync&" PLAIN, "12.0", NULL);
    assert_int_equal(mdm_eas_query_build(ctx, q, &how, &line), MDM_EINPUT);
    q = parsed("Cmd=GetHierarchy&" PLAIN, "12.1", NULL);
    assert_int_equal(mdm_eas_query_build(ctx, q, &how, &line), MDM_EINPUT);
}

static void test_path(void **state)
{
    static const char *const good[] = {"/Microsoft-Server-ActiveSync", "/microsoft-server-activesync/",
                                       "/MICROSOFT-SERVER-ACTIVESYNC/Default.eas"};
    static const char *const bad[] = {"", "/", "/Microsoft-Server-ActiveSyncX", "/Microsoft-Server-ActiveSync//",
                                      "/Microsoft-Server-ActiveSync/../PowerShell", "/Microsoft-Server-ActiveSync/x",
                                      "/EWS/Microsoft-Server-ActiveSync", "Microsoft-Server-ActiveSync"};
    unsigned i;

    for (i = 0; i < COUNT(good); i++)
        assert_true(mdm_eas_path_ok(good[i]));
    for (i = 0; i < COUNT(bad); i++)
        assert_false(mdm_eas_path_ok(bad[i]));
    assert_false(mdm_eas_path_ok(NULL));
}

static const char *basic(const char *text)
{
    return apr_pstrcat(pool, "Basic ", mdm_b64(pool, text, strlen(text)), NULL);
}

static void test_basic(void **state)
{
    static const struct { const char *text, *login, *name, *domain, *password; int is_mail; } rows[] = {
        {"alice:secret", "alice", "alice", "", "secret", 0}, {"alice:a:b:", "alice", "alice", "", "a:b:", 0},
        {"DOM\\alice:x", "DOM\\alice", "alice", "DOM", "x", 0}, {"DOM/alice:x", "DOM/alice", "alice", "DOM", "x", 0},
        {"\\alice:x", "\\alice", "alice", "", "x", 0}, {"alice@ex.org:x", "alice@ex.org", "alice", "ex.org", "x", 1},
        {"DOM\\a@b:x", "DOM\\a@b", "a@b", "DOM", "x", 0}, {"@x:y", "@x", "@x", "", "y", 0}, {"a@:y", "a@", "a@", "", "y", 0},
        {"jürgen:pä\x7f", "jürgen", "jürgen", "", "pä\x7f", 0}, {"j\xfcrgen:p\x80\xe4", "jürgen", "jürgen", "", "p€ä", 0},
        {"a: ", "a", "a", "", " ", 0},
    };
    mdm_basic_t got;
    unsigned i;

    for (i = 0; i < COUNT(rows); i++) {
        assert_int_equal(mdm_basic_parse(ctx, basic(rows[i].text), &got), APR_SUCCESS);
        assert_string_equal(got.login, rows[i].login);
        assert_string_equal(got.name, rows[i].name);
        assert_string_equal(got.domain, rows[i].domain);
        assert_string_equal(got.password, rows[i].password);
        assert_int_equal(got.is_mail, rows[i].is_mail);
    }
    assert_int_equal(mdm_basic_parse(ctx, "bAsIc   YTpi", &got), APR_SUCCESS);
    assert_string_equal(got.password, "b");
}

static void test_bad_basic(void **state)
{
    const char *rows[] = {
        NULL, "", "Basic", "Basic ", "Basic !", "Basic YTpi=", "Basic YQ==", "Bearer YTpi", "BasicYTpi", basic(""), basic(":"),
        basic("a:"), basic(":p"), basic("DOM\\:p"), basic("a\nb:p"), basic("a\x7f:p"), basic("a\xc2\x85:p"), basic("a\x81:p"),
        "Basic YQBiOnA=", "Basic YTpwAA==",
        apr_pstrcat(pool, "Basic ", mdm_b64(pool, memset(apr_pcalloc(pool, 900), 'a', 900), 900), NULL),
    };
    mdm_basic_t got;
    unsigned i;

    for (i = 0; i < COUNT(rows); i++) {
        if (mdm_basic_parse(ctx, rows[i], &got) != MDM_EAUTH)
            fail_msg("%u: %s", i, rows[i]);
        assert_null(got.password);
        assert_null(got.login);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_example), cmocka_unit_test(test_padding), cmocka_unit_test(test_plain),
        cmocka_unit_test(test_raw_device_id), cmocka_unit_test(test_both_forms_agree), cmocka_unit_test(test_command_codes),
        cmocka_unit_test(test_bad_plain), cmocka_unit_test(test_bad_base64), cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_policy_key_header), cmocka_unit_test(test_options), cmocka_unit_test(test_build),
        cmocka_unit_test(test_path), cmocka_unit_test(test_basic), cmocka_unit_test(test_bad_basic),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
