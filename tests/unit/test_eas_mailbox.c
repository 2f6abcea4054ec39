/* The mailbox of a device without mail: folders, the one message in all versions, what the device does with it, the end of it (GATE-02, PRV-05). */
#include "ctxtest.h"

#include <string.h>
#include <apr_strings.h>
#include "domain/mdm_eas_gate.h"

#define HEAD "\x03\x01\x6a\x00"
#define BYTES(s) s, sizeof(s) - 1
#define NOW 1700000000000LL
#define AT "6553f100" /* NOW in hex seconds */

static const mdm_eas_note_t note = {.kind = 0, .from = "IT <a@b.c>", .to = "anna@b.c", .subject = "One step", .text = "Gr\xc3\xbc\xc3\x9f""e", .html = "<p>x</p>",
                                    .mime = {(const unsigned char *)"MIME", 4}};
static const mdm_eas_note_t other = {.kind = 1, .from = "f", .to = "t", .subject = "Other", .text = "x", .html = "y"};

static mdm_wbnode_t *tree_of(mdm_blob_t doc)
{
    mdm_wbnode_t *root;

    if (mdm_wbxml_parse(ctx, doc.data, doc.len, &root) != APR_SUCCESS)
        fail_msg("%s", ctx->fail_text);
    return root;
}

static mdm_eas_mailbox_t box(const mdm_eas_note_t *n, int version)
{
    return (mdm_eas_mailbox_t){n, "Inbox", version, NOW};
}

static const mdm_wbnode_t *at(const mdm_wbnode_t *n, int a, int b, int c)
{
    n = a ? mdm_wbxml_get(n, a) : n;
    n = b ? mdm_wbxml_get(n, b) : n;
    return c ? mdm_wbxml_get(n, c) : n;
}

static const char *str(const mdm_wbnode_t *n, int tag)
{
    const char *s = mdm_wbxml_str(pool, n, tag, 4000);

    return s ? s : "(none)";
}

static mdm_wbnode_t *folder_sync(const char *key)
{
    mdm_wbout_t o;

    mdm_wbxml_begin(&o, pool);
    mdm_wbxml_open(&o, MDM_WB_FH_FolderSync);
    mdm_wbxml_put(&o, MDM_WB_FH_SyncKey, key);
    return tree_of(mdm_wbxml_end(&o));
}

typedef struct ask_t {
    const char *key, *folder, *command_id;
    int command, type, most; /* of a command, of a wish for the body */
} ask_t;

static mdm_wbnode_t *sync_ask(ask_t a)
{
    mdm_wbout_t o;

    mdm_wbxml_begin(&o, pool);
    mdm_wbxml_open(&o, MDM_WB_AS_Sync);
    mdm_wbxml_open(&o, MDM_WB_AS_Collections);
    mdm_wbxml_open(&o, MDM_WB_AS_Collection);
    mdm_wbxml_put(&o, MDM_WB_AS_SyncKey, a.key);
    mdm_wbxml_put(&o, MDM_WB_AS_CollectionId, a.folder ? a.folder : MDM_EAS_OUR_INBOX);
    if (a.type) {
        mdm_wbxml_open(&o, MDM_WB_AS_Options);
        mdm_wbxml_open(&o, MDM_WB_AB_BodyPreference);
        mdm_wbxml_put_int(&o, MDM_WB_AB_Type, a.type);
        if (a.most)
            mdm_wbxml_put_int(&o, MDM_WB_AB_TruncationSize, a.most);
        mdm_wbxml_close(&o);
        mdm_wbxml_close(&o);
    }
    if (a.command) {
        mdm_wbxml_open(&o, MDM_WB_AS_Commands);
        mdm_wbxml_open(&o, a.command);
        mdm_wbxml_put(&o, a.command == MDM_WB_AS_Add ? MDM_WB_AS_ClientId : MDM_WB_AS_ServerId, a.command_id);
    }
    return tree_of(mdm_wbxml_end(&o));
}

/* The collection of the answer; NULL: nothing was said. */
static const mdm_wbnode_t *synced(const mdm_eas_note_t *n, int version, ask_t a)
{
    mdm_eas_mailbox_t b = box(n, version);
    mdm_blob_t got = mdm_eas_sync_answer(pool, sync_ask(a), &b);

    return got.len ? at(tree_of(got), MDM_WB_AS_Collections, MDM_WB_AS_Collection, 0) : NULL;
}

static int status_of(const mdm_wbnode_t *n, int tag)
{
    return (int)mdm_wbxml_int(n, tag, 0, 999, -1);
}

static void test_folders(void **state)
{
    mdm_eas_mailbox_t b = box(NULL, 141);
    mdm_wbnode_t *got = tree_of(mdm_eas_folders_answer(pool, folder_sync("0"), &b));
    const mdm_wbnode_t *add = at(got, MDM_WB_FH_Changes, MDM_WB_FH_Add, 0);

    assert_int_equal(status_of(got, MDM_WB_FH_Status), 1);
    assert_string_equal(str(got, MDM_WB_FH_SyncKey), MDM_EAS_OUR_KEY);
    assert_string_equal(str(add, MDM_WB_FH_DisplayName), "Inbox");
    assert_int_equal(status_of(add, MDM_WB_FH_Type), 2);
    got = tree_of(mdm_eas_folders_answer(pool, folder_sync(MDM_EAS_OUR_KEY), &b));
    assert_int_equal(status_of(at(got, MDM_WB_FH_Changes, 0, 0), MDM_WB_FH_Count), 0);
    assert_int_equal(status_of(tree_of(mdm_eas_folders_answer(pool, folder_sync("12"), &b)), MDM_WB_FH_Status), 9);
    assert_int_equal(status_of(tree_of(mdm_eas_folders_answer(pool, NULL, &b)), MDM_WB_FH_Status), 9);
}

/* Empty, then the message once, then nothing: until another one takes its place, or none is to be there. */
static void test_message_comes_once(void **state)
{
    const mdm_wbnode_t *c = synced(&note, 141, (ask_t){.key = "0"}), *add;

    assert_string_equal(str(c, MDM_WB_AS_SyncKey), MDM_EAS_OUR_KEY);
    assert_null(mdm_wbxml_get(c, MDM_WB_AS_Commands));
    c = synced(&note, 141, (ask_t){.key = MDM_EAS_OUR_KEY});
    assert_string_equal(str(c, MDM_WB_AS_SyncKey), "MDMQ-2ma" AT);
    add = at(c, MDM_WB_AS_Commands, MDM_WB_AS_Add, 0);
    assert_string_equal(str(add, MDM_WB_AS_ServerId), "MDMQ-ma" AT);
    add = mdm_wbxml_get(add, MDM_WB_AS_ApplicationData);
    assert_string_equal(str(add, MDM_WB_EM_Subject), "One step");
    assert_string_equal(str(add, MDM_WB_EM_From), note.from);
    assert_string_equal(str(add, MDM_WB_EM_DateReceived), "2023-11-14T22:13:20.000Z");
    assert_null(synced(&note, 141, (ask_t){.key = "MDMQ-2ma" AT}));
    c = synced(&other, 141, (ask_t){.key = "MDMQ-2ma" AT});
    assert_string_equal(str(c, MDM_WB_AS_SyncKey), "MDMQ-3mb" AT);
    assert_string_equal(str(at(c, MDM_WB_AS_Commands, MDM_WB_AS_Delete, 0), MDM_WB_AS_ServerId), "MDMQ-ma" AT);
    assert_string_equal(str(at(c, MDM_WB_AS_Commands, MDM_WB_AS_Add, MDM_WB_AS_ApplicationData), MDM_WB_EM_Subject), "Other");
    c = synced(NULL, 141, (ask_t){.key = "MDMQ-3mb" AT});
    assert_string_equal(str(c, MDM_WB_AS_SyncKey), "MDMQ-4");
    assert_non_null(at(c, MDM_WB_AS_Commands, MDM_WB_AS_Delete, 0));
    assert_null(synced(NULL, 141, (ask_t){.key = "MDMQ-4"}));
    assert_string_equal(str(synced(NULL, 25, (ask_t){.key = "MDMQ-4"}), MDM_WB_AS_SyncKey), "MDMQ-4"); /* no empty answers before 12.1 */
}

static void test_message_is_deleted_or_read(void **state)
{
    const mdm_wbnode_t *c = synced(&note, 161, (ask_t){.key = "MDMQ-2ma" AT, .command = MDM_WB_AS_Delete, .command_id = "MDMQ-ma" AT});

    assert_string_equal(str(c, MDM_WB_AS_SyncKey), "MDMQ-3da" AT);
    assert_int_equal(status_of(c, MDM_WB_AS_Status), 1);
    assert_null(synced(&note, 161, (ask_t){.key = "MDMQ-3da" AT}));
    assert_non_null(at(synced(&other, 161, (ask_t){.key = "MDMQ-3da" AT}), MDM_WB_AS_Commands, MDM_WB_AS_Add, 0));
    c = synced(&note, 161, (ask_t){.key = "MDMQ-2ma" AT, .command = MDM_WB_AS_Change, .command_id = "MDMQ-ma" AT});
    assert_string_equal(str(c, MDM_WB_AS_SyncKey), "MDMQ-3ma" AT);
    c = synced(&note, 161, (ask_t){.key = "MDMQ-2ma" AT, .command = MDM_WB_AS_Add, .command_id = "draft"});
    assert_int_equal(status_of(at(c, MDM_WB_AS_Responses, MDM_WB_AS_Add, 0), MDM_WB_AS_Status), 6);
    c = synced(&note, 120, (ask_t){.key = "MDMQ-2ma" AT, .command = MDM_WB_AS_Fetch, .command_id = "MDMQ-ma" AT});
    assert_string_equal(str(at(c, MDM_WB_AS_Responses, MDM_WB_AS_Fetch, MDM_WB_AS_ApplicationData), MDM_WB_EM_Subject), "One step");
    c = synced(&note, 120, (ask_t){.key = "MDMQ-2ma" AT, .command = MDM_WB_AS_Fetch, .command_id = "MDMQ-mb" AT});
    assert_int_equal(status_of(at(c, MDM_WB_AS_Responses, MDM_WB_AS_Fetch, 0), MDM_WB_AS_Status), 8);
}

static const mdm_wbnode_t *data_in(int version, int type, int most)
{
    return at(synced(&note, version, (ask_t){.key = "MDMQ-1", .type = type, .most = most}), MDM_WB_AS_Commands, MDM_WB_AS_Add,
              MDM_WB_AS_ApplicationData);
}

/* GATE-02: a body in the form of each version and as it is wished for; cut between letters. */
static void test_bodies(void **state)
{
    static const struct { int type; const char *want; } forms[] = {{0, "Gr\xc3\xbc\xc3\x9f""e"}, {1, "Gr\xc3\xbc\xc3\x9f""e"}, {2, "<p>x</p>"}, {4, "MIME"}};
    const mdm_wbnode_t *d = data_in(25, 1, 0), *body;
    unsigned i;

    assert_string_equal(str(d, MDM_WB_EM_Body), note.text);
    assert_null(mdm_wbxml_get(d, MDM_WB_AB_Body));
    for (i = 0; i < 4; i++) {
        body = mdm_wbxml_get(data_in(i % 2 ? 121 : 160, forms[i].type, 0), MDM_WB_AB_Body);
        assert_string_equal(str(body, MDM_WB_AB_Data), forms[i].want);
        assert_int_equal(status_of(body, MDM_WB_AB_Type), forms[i].type ? forms[i].type : 1);
        assert_null(mdm_wbxml_get(body, MDM_WB_AB_Truncated));
    }
    body = mdm_wbxml_get(data_in(141, 1, 3), MDM_WB_AB_Body);
    assert_string_equal(str(body, MDM_WB_AB_Data), "Gr");
    assert_int_equal(status_of(body, MDM_WB_AB_EstimatedDataSize), 7);
    assert_int_equal(status_of(body, MDM_WB_AB_Truncated), 1);
}

static void test_foreign_keys_and_folders(void **state)
{
    static const char *const bad[] = {"77", "", "MDMQ-", "MDMQ-0", "MDMQ-2m", "MDMQ-2ma" AT "0", "MDMQ-2mA" AT, "MDMQ-2xa" AT, "MDMQ-99999999999999999999", "MDMQ-2ma6553f1zz"};
    mdm_eas_mailbox_t b = box(&note, 141);
    unsigned i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const mdm_wbnode_t *c = synced(&note, 141, (ask_t){.key = bad[i]});

        assert_int_equal(status_of(c, MDM_WB_AS_Status), 3);
        assert_string_equal(str(c, MDM_WB_AS_SyncKey), "0");
    }
    assert_int_equal(status_of(tree_of(mdm_eas_sync_answer(pool, sync_ask((ask_t){.key = "S5", .folder = "5"}), &b)), MDM_WB_AS_Status), 12);
    assert_int_equal(status_of(tree_of(mdm_eas_sync_answer(pool, NULL, &b)), MDM_WB_AS_Status), 13);
}

static mdm_wbnode_t *ping(const char *folder)
{
    mdm_wbout_t o;

    mdm_wbxml_begin(&o, pool);
    mdm_wbxml_open(&o, MDM_WB_PG_Ping);
    mdm_wbxml_put_int(&o, MDM_WB_PG_HeartbeatInterval, 60);
    if (folder) {
        mdm_wbxml_open(&o, MDM_WB_PG_Folders);
        mdm_wbxml_open(&o, MDM_WB_PG_Folder);
        mdm_wbxml_put(&o, MDM_WB_PG_Id, folder);
    }
    return tree_of(mdm_wbxml_end(&o));
}

/* On release everything that is ours is known, and nothing else. */
static void test_the_end(void **state)
{
    mdm_wbnode_t *left;

    assert_true(mdm_eas_key_is_ours(MDM_EAS_FOLDER_SYNC, folder_sync(MDM_EAS_OUR_KEY)));
    assert_false(mdm_eas_key_is_ours(MDM_EAS_FOLDER_SYNC, folder_sync("0")));
    assert_false(mdm_eas_key_is_ours(MDM_EAS_FOLDER_SYNC, NULL));
    assert_true(mdm_eas_key_is_ours(MDM_EAS_SYNC, sync_ask((ask_t){.key = "MDMQ-2ma" AT, .folder = "5"})));
    assert_true(mdm_eas_key_is_ours(MDM_EAS_SYNC, sync_ask((ask_t){.key = "0"})));
    assert_false(mdm_eas_key_is_ours(MDM_EAS_SYNC, sync_ask((ask_t){.key = "S4", .folder = "5"})));
    assert_true(mdm_eas_key_is_ours(MDM_EAS_PING, ping(MDM_EAS_OUR_INBOX)));
    assert_false(mdm_eas_key_is_ours(MDM_EAS_PING, ping("5")));
    assert_false(mdm_eas_key_is_ours(MDM_EAS_SETTINGS, folder_sync(MDM_EAS_OUR_KEY)));
    assert_int_equal(status_of(tree_of(mdm_eas_left_answer(pool, MDM_EAS_FOLDER_SYNC, NULL)), MDM_WB_FH_Status), 9);
    left = tree_of(mdm_eas_left_answer(pool, MDM_EAS_SYNC, sync_ask((ask_t){.key = "MDMQ-2ma" AT})));
    assert_int_equal(status_of(at(left, MDM_WB_AS_Collections, MDM_WB_AS_Collection, 0), MDM_WB_AS_Status), 3);
    assert_int_equal(status_of(tree_of(mdm_eas_left_answer(pool, MDM_EAS_SYNC, sync_ask((ask_t){.key = "0"}))), MDM_WB_AS_Status), 12);
    assert_int_equal(status_of(tree_of(mdm_eas_left_answer(pool, MDM_EAS_PING, ping("5"))), MDM_WB_PG_Status), 7);
}

static void test_ping(void **state)
{
    mdm_blob_t got = mdm_eas_ping_answer(pool, 1, 0);

    assert_memory_equal(got.data, HEAD "\x00\x0d\x45\x47\x03" "1\0\x01\x01", got.len);
    got = mdm_eas_ping_answer(pool, 5, 60);
    assert_memory_equal(got.data, HEAD "\x00\x0d\x45\x47\x03" "5\0\x01\x48\x03" "60\0\x01\x01", got.len);
    assert_int_equal(mdm_eas_ping_fault(NULL), 3);
    assert_int_equal(mdm_eas_ping_fault(ping(NULL)), 3);
    assert_int_equal(mdm_eas_ping_fault(ping("5")), 7);
    assert_int_equal(mdm_eas_ping_fault(ping(MDM_EAS_OUR_INBOX)), 0);
}

static void test_estimate_items_and_moves(void **state)
{
    mdm_eas_mailbox_t b = box(&note, 141);
    const mdm_wbnode_t *got;
    mdm_wbout_t o;
    int i;

    for (i = 0; i < 2; i++) {
        mdm_wbxml_begin(&o, pool);
        mdm_wbxml_open(&o, MDM_WB_GE_GetItemEstimate);
        mdm_wbxml_open(&o, MDM_WB_GE_Collections);
        mdm_wbxml_open(&o, MDM_WB_GE_Collection);
        mdm_wbxml_put(&o, MDM_WB_AS_SyncKey, i ? "MDMQ-2ma" AT : MDM_EAS_OUR_KEY);
        mdm_wbxml_put(&o, MDM_WB_GE_CollectionId, MDM_EAS_OUR_INBOX);
        got = mdm_wbxml_get(tree_of(mdm_eas_estimate_answer(pool, tree_of(mdm_wbxml_end(&o)), &b)), MDM_WB_GE_Response);
        assert_int_equal(status_of(got, MDM_WB_GE_Status), 1);
        assert_int_equal(status_of(mdm_wbxml_get(got, MDM_WB_GE_Collection), MDM_WB_GE_Estimate), !i);

        mdm_wbxml_begin(&o, pool);
        mdm_wbxml_open(&o, MDM_WB_IO_ItemOperations);
        mdm_wbxml_open(&o, MDM_WB_IO_Fetch);
        mdm_wbxml_put(&o, MDM_WB_AS_ServerId, i ? "5:1" : "MDMQ-ma" AT);
        mdm_wbxml_open(&o, MDM_WB_IO_Options);
        mdm_wbxml_put_int(&o, MDM_WB_AS_MIMESupport, 2);
        got = at(tree_of(mdm_eas_items_answer(pool, tree_of(mdm_wbxml_end(&o)), &b)), MDM_WB_IO_Response, MDM_WB_IO_Fetch, 0);
        assert_int_equal(status_of(got, MDM_WB_IO_Status), i ? 6 : 1);
        got = at(got, MDM_WB_IO_Properties, MDM_WB_AB_Body, 0);
        assert_string_equal(str(got, MDM_WB_AB_Data), i ? "(none)" : "MIME");
    }
    mdm_wbxml_begin(&o, pool);
    mdm_wbxml_open(&o, MDM_WB_MV_MoveItems);
    mdm_wbxml_open(&o, MDM_WB_MV_Move);
    mdm_wbxml_put(&o, MDM_WB_MV_SrcMsgId, "MDMQ-ma" AT);
    got = mdm_wbxml_get(tree_of(mdm_eas_move_answer(pool, tree_of(mdm_wbxml_end(&o)))), MDM_WB_MV_Response);
    assert_int_equal(status_of(got, MDM_WB_MV_Status), 5);
}

/* The texts: each reason its own, in the device's language, with the link; names can't break the headers. */
static void test_notes(void **state)
{
    static const char *const words[] = {"pending", "policy", "limit", "unfinished", "kind"};
    const mdm_eas_note_t *n;
    unsigned i, de;

    for (i = 0; i < 5; i++) {
        for (de = 0; de < 2; de++) {
            const mdm_eas_note_ask_t ask = {words[i], de ? "de" : "en", "anna\r\nBcc: x", de ? "anna@example.org" : "", "https://mdm.example.org"};

            n = mdm_eas_note(ctx, &ask);
            assert_int_equal(n->kind, i);
            assert_non_null(strstr(n->text, de ? "Ihr" : "our"));
            assert_non_null(strstr(n->text, "https://mdm.example.org/enroll/"));
            assert_non_null(strstr(n->html, "<a href=\"https://mdm.example.org/enroll/\">"));
            assert_null(strstr((const char *)n->mime.data, "\nBcc:"));
            assert_string_equal(n->to, de ? "anna@example.org" : "no-reply@mdm.example.org");
        }
    }
    assert_null(mdm_eas_note(ctx, &(mdm_eas_note_ask_t){"", "en", "a", "", "http://127.0.0.1:8080"}));
    assert_non_null(mdm_eas_note(ctx, &(mdm_eas_note_ask_t){"kind", "en", "a", "", "http://[::1]:8080"}));
    assert_string_equal(mdm_eas_language(0x0c07, "en", "en"), "de"); /* Austria */
    assert_string_equal(mdm_eas_language(0x0409, "de", "de"), "en");
    assert_string_equal(mdm_eas_language(0, "de-DE,de;q=0.9", "en"), "de");
    assert_string_equal(mdm_eas_language(0, "en-GB", "de"), "en");
    assert_string_equal(mdm_eas_language(0, NULL, "de"), "de");
    assert_string_equal(mdm_eas_inbox("de"), "Posteingang");
}

/* GATE-03: exceptions first; detect mode lets pass what is held; a wipe, and what is unknown, never. */
static void test_enforced(void **state)
{
    static const struct { mdm_eas_verdict_e is, on, detect, allow, block; } rows[] = {
        {MDM_EAS_UNKNOWN, MDM_EAS_UNKNOWN, MDM_EAS_UNKNOWN, MDM_EAS_UNKNOWN, MDM_EAS_UNKNOWN},
        {MDM_EAS_ALLOW, MDM_EAS_ALLOW, MDM_EAS_ALLOW, MDM_EAS_ALLOW, MDM_EAS_BLOCKED},
        {MDM_EAS_PENDING, MDM_EAS_PENDING, MDM_EAS_ALLOW, MDM_EAS_ALLOW, MDM_EAS_BLOCKED},
        {MDM_EAS_SERVER_ONLY, MDM_EAS_SERVER_ONLY, MDM_EAS_ALLOW, MDM_EAS_ALLOW, MDM_EAS_BLOCKED},
        {MDM_EAS_BLOCKED, MDM_EAS_BLOCKED, MDM_EAS_ALLOW, MDM_EAS_BLOCKED, MDM_EAS_BLOCKED},
        {MDM_EAS_WIPE, MDM_EAS_WIPE, MDM_EAS_WIPE, MDM_EAS_WIPE, MDM_EAS_WIPE},
        {MDM_EAS_DENIED, MDM_EAS_DENIED, MDM_EAS_ALLOW, MDM_EAS_DENIED, MDM_EAS_DENIED},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(mdm_eas_enforce(rows[i].is, 0, 0), rows[i].on);
        assert_int_equal(mdm_eas_enforce(rows[i].is, 0, 1), rows[i].detect);
        assert_int_equal(mdm_eas_enforce(rows[i].is, MDM_DEVF_MAIL_ALLOW, 0), rows[i].allow);
        assert_int_equal(mdm_eas_enforce(rows[i].is, MDM_DEVF_MAIL_BLOCK, 0), rows[i].block);
        assert_int_equal(mdm_eas_enforce(rows[i].is, MDM_DEVF_MAIL_BLOCK, 1), rows[i].block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folders), cmocka_unit_test(test_message_comes_once), cmocka_unit_test(test_message_is_deleted_or_read),
        cmocka_unit_test(test_bodies), cmocka_unit_test(test_foreign_keys_and_folders), cmocka_unit_test(test_the_end),
        cmocka_unit_test(test_ping), cmocka_unit_test(test_estimate_items_and_moves), cmocka_unit_test(test_notes), cmocka_unit_test(test_enforced),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
