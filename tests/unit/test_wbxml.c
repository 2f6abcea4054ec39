/* WBXML: reading in any division, trees, writing; the decoder of another project agrees (R08, PXY-01, PRV-01). */
#include "ctxtest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <apr_strings.h>
#include "wire/mdm_wbxml.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define HEAD "\x03\x01\x6a\x00"
#define BYTES(s) s, sizeof(s) - 1

/* ---- a plain rendering: <Name>text</Name>, unknown tags by number ---- */

static char rendered[100000];

static void say(const char *text, apr_size_t len)
{
    apr_size_t used = strlen(rendered);

    assert_true(used + len < sizeof(rendered));
    memcpy(rendered + used, text, len);
    rendered[used + len] = '\0';
}

static void say_tag(const char *form, int tag)
{
    const char *name = mdm_wbxml_name(tag);
    char *text = apr_psprintf(pool, form, name ? name : apr_psprintf(pool, "x%04X", tag));

    say(text, strlen(text));
}

static apr_status_t on_start(void *baton, int tag)
{
    say_tag("<%s>", tag);
    return APR_SUCCESS;
}

static apr_status_t on_text(void *baton, const unsigned char *text, apr_size_t len, int opaque)
{
    say((const char *)text, len);
    return APR_SUCCESS;
}

static apr_status_t on_end(void *baton, int tag)
{
    say_tag("</%s>", tag);
    return APR_SUCCESS;
}

static const mdm_wbxml_sink_t render_sink = {on_start, on_text, on_end};

static apr_status_t render(const void *data, apr_size_t len, apr_size_t chunk)
{
    const char *at = data;
    mdm_wbxml_t w;

    rendered[0] = '\0';
    mdm_wbxml_init(&w, &render_sink, NULL);
    while (len) {
        apr_size_t n = chunk < len ? chunk : len;

        mdm_wbxml_push(&w, at, n);
        at += n;
        len -= n;
    }
    return mdm_wbxml_finish(&w);
}

static void test_any_division(void **state)
{
    static const struct { const char *doc; apr_size_t len; const char *text; } rows[] = {
        {BYTES(HEAD "\x00\x0d\x45\x48\x03" "480\0\x01\x49\x4a\x4b\x03" "5\0\x01\x4c\x03" "Email\0\x01\x01\x01\x01"),
         "<Ping><HeartbeatInterval>480</HeartbeatInterval><Folders><Folder><Id>5</Id><Class>Email</Class></Folder></Folders></Ping>"},
        {BYTES(HEAD "\x00\x07\x56\x52\x03" "0\0\x01\x01"), "<FolderSync><SyncKey>0</SyncKey></FolderSync>"},
        /* a page stays until it is changed, unknown pages and tags pass */
        {BYTES(HEAD "\x00\xfe\x45\x03" "note\0\x00\x0e\x05\x7f\x05\x01\x00\xfe\x05\x01"),
         "<xFE05>note<Provision></Provision><x0E3F><Provision></Provision></x0E3F><xFE05></xFE05></xFE05>"},
        /* two strings in an element, an empty one, opaque bytes, an empty opaque value */
        {BYTES(HEAD "\x45\x03" "a\0\x03\0\x03" "b\0\xc3\x02" "cd\xc3\x00\xc3\x80\x00\x01"), "<Sync>abcd</Sync>"},
        /* another encoder's header: public id as a string of the table */
        {BYTES("\x03\x00\x00\x6a\x05" "-//X\0\x00\x0e\x05"), "<Provision></Provision>"},
        {BYTES("\x01\x01\x03\x00\x05"), "<Sync></Sync>"},
    };
    unsigned i;
    apr_size_t chunk;

    for (i = 0; i < COUNT(rows); i++) {
        for (chunk = 1; chunk <= rows[i].len; chunk++) {
            assert_int_equal(render(rows[i].doc, rows[i].len, chunk), APR_SUCCESS);
            assert_string_equal(rendered, rows[i].text);
        }
    }
}

static void test_every_cut_is_refused(void **state)
{
    static const char doc[] = HEAD "\x00\x0d\x45\x48\x03" "480\0\x01\x49\xc3\x02" "ab\x01\x01";
    apr_size_t len;

    for (len = 0; len < sizeof(doc) - 1; len++)
        assert_int_equal(render(doc, len, 3), MDM_EINPUT);
    assert_int_equal(render(doc, sizeof(doc) - 1, 3), APR_SUCCESS);
}

static void test_refused(void **state)
{
    static const struct { const char *doc; apr_size_t len; } rows[] = {
        {BYTES("<Sync/>")}, {BYTES("\x04\x01\x6a\x00\x05")}, {BYTES("\x03\x01\x04\x00\x05")}, {BYTES("\x03\x01\x87\x68\x00\x05")},
        {BYTES("\x03\x01\x6a\xff\xff\xff\xff\xff\x05")}, {BYTES("\x03\x90\x80\x80\x80\x00\x6a\x00\x05")},
        {BYTES(HEAD "\x01")}, {BYTES(HEAD "\x03" "a\0")}, {BYTES(HEAD "\xc3\x01" "a")}, {BYTES(HEAD "\x05\x05")},
        {BYTES(HEAD "\x05\x01")}, {BYTES(HEAD "\x05\x00\x00")}, {BYTES(HEAD "\x45\x01\x03" "a\0")},
        {BYTES(HEAD "\x85\x01\x01")}, {BYTES(HEAD "\xc5\x01\x01\x01")}, {BYTES(HEAD "\x45\x02\x20\x01")},
        {BYTES(HEAD "\x45\x04\x00\x01")}, {BYTES(HEAD "\x44\x00\x01")}, {BYTES(HEAD "\x45\x40" "a\0\x01")},
        {BYTES(HEAD "\x45\x43\x01\x01")}, {BYTES(HEAD "\x45\x83\x00\x01")}, {BYTES(HEAD "\x45\x80\x00\x01")},
        {BYTES(HEAD "\x45\xc4\x00\x01")}, {BYTES(HEAD "\x45\xc3\x8f\xff\xff\xff\x7f" "a")},
        {BYTES(HEAD "\x45\xc3\xff\xff\xff\xff\xff\xff\x01")}, {BYTES(HEAD "\x45\xc3\x90\x80\x80\x80\x00\x01")},
    };
    unsigned i;

    for (i = 0; i < COUNT(rows); i++) {
        apr_status_t rv = render(rows[i].doc, rows[i].len, rows[i].len);

        if (rv != MDM_EINPUT)
            fail_msg("row %u: %d", i, rv);
        assert_int_equal(render(rows[i].doc, rows[i].len, 1), rv);
    }
    assert_int_equal(render(BYTES("\x03\x01\x6a\x88\x01"), 9), MDM_ETOOBIG);
}

/* R08: bombs end at the limits. */
static void test_limits(void **state)
{
    unsigned char *deep = memset(apr_palloc(pool, 100000), 0x45, 100000), *wide = memset(apr_palloc(pool, 60000), 0x05, 60000);
    mdm_wbnode_t *tree;

    memcpy(deep, HEAD, 4);
    memcpy(wide, HEAD "\x45", 5);
    assert_int_equal(render(deep, 100000, 4096), MDM_ETOOBIG);
    assert_int_equal(mdm_wbxml_parse(ctx, deep, 60000, &tree), MDM_ETOOBIG);
    memset(deep + 4 + MDM_WBXML_MAX_DEPTH, 0x01, MDM_WBXML_MAX_DEPTH);
    assert_int_equal(mdm_wbxml_parse(ctx, deep, 4 + 2 * MDM_WBXML_MAX_DEPTH, &tree), APR_SUCCESS);
    wide[59999] = 0x01;
    assert_int_equal(mdm_wbxml_parse(ctx, wide, 60000, &tree), MDM_ETOOBIG);
    assert_null(tree);
    assert_int_equal(mdm_wbxml_parse(ctx, wide, MDM_WBXML_MAX_TREE + 1, &tree), MDM_ETOOBIG);
}

static apr_status_t refuse(void *baton, int tag)
{
    return tag == MDM_WB_PG_Folder ? APR_EOF : APR_SUCCESS;
}

static void test_reader_may_end_it(void **state)
{
    static const mdm_wbxml_sink_t sink = {refuse, NULL, NULL};
    static const char doc[] = HEAD "\x00\x0d\x45\x49\x4a\x01\x01\x01";
    mdm_wbxml_t w;

    mdm_wbxml_init(&w, &sink, NULL);
    assert_int_equal(mdm_wbxml_push(&w, doc, sizeof(doc) - 1), APR_EOF);
    assert_int_equal(mdm_wbxml_push(&w, doc, sizeof(doc) - 1), APR_EOF);
    assert_int_equal(mdm_wbxml_finish(&w), APR_EOF);
}

static void test_tree(void **state)
{
    static const char doc[] = HEAD "\x00\x0d\x45\x48\x03" "48\0\x03" "0\0\x01\x49\x4a\x4b\xc3\x03" "a\0b\x01\x01\x0a\x01"
                              "\x47\x03" " x\n\0\x01\x06\x01";
    mdm_wbnode_t *tree;
    const mdm_wbnode_t *folders;
    mdm_wbout_t o;
    mdm_blob_t copy;

    assert_int_equal(mdm_wbxml_parse(ctx, doc, sizeof(doc) - 1, &tree), APR_SUCCESS);
    assert_int_equal(tree->tag, MDM_WB_PG_Ping);
    assert_int_equal(mdm_wbxml_int(tree, MDM_WB_PG_HeartbeatInterval, 1, 3600, -1), 480);
    assert_int_equal(mdm_wbxml_int(tree, MDM_WB_PG_HeartbeatInterval, 1, 479, -1), -1);
    assert_int_equal(mdm_wbxml_int(tree, MDM_WB_PG_Status, 0, 9, -1), -1);
    assert_int_equal(mdm_wbxml_int(tree, MDM_WB_PG_AutdState, 0, 9, -1), -1);
    assert_int_equal(mdm_wbxml_int(tree, MDM_WB_PG_MaxFolders, 0, 9, -1), -1);
    assert_string_equal(mdm_wbxml_str(pool, tree, MDM_WB_PG_Status, 10), "x");
    assert_string_equal(mdm_wbxml_str(pool, tree, MDM_WB_PG_AutdState, 10), "");
    assert_null(mdm_wbxml_str(pool, tree, MDM_WB_PG_MaxFolders, 10));
    assert_null(mdm_wbxml_get(NULL, MDM_WB_PG_Ping));
    folders = mdm_wbxml_get(tree, MDM_WB_PG_Folders);
    assert_int_equal(folders->child->child->content.len, 3);
    assert_true(folders->child->child->opaque);
    assert_int_equal(mdm_wbxml_int(folders->child, MDM_WB_PG_Id, 0, 9, -1), -1);
    assert_int_equal(folders->child->next->tag, MDM_WB_PG_Folder);
    assert_null(folders->child->next->next);
    mdm_wbxml_begin(&o, pool);
    mdm_wbxml_put_node(&o, tree);
    copy = mdm_wbxml_end(&o);
    assert_int_equal(render(doc, sizeof(doc) - 1, 100), APR_SUCCESS);
    assert_memory_equal(copy.data, HEAD "\x00\x0d\x45\x48\x03" "480\0\x01\x49\x4a\x4b\xc3\x03" "a\0b\x01\x01\x0a\x01", 26);
}

static mdm_blob_t provision(void)
{
    mdm_wbout_t o;

    mdm_wbxml_begin(&o, pool);
    mdm_wbxml_open(&o, MDM_WB_PV_Provision);
    mdm_wbxml_open(&o, MDM_WB_ST_DeviceInformation);
    mdm_wbxml_open(&o, MDM_WB_ST_Set);
    mdm_wbxml_put(&o, MDM_WB_ST_Model, "iPhone14,2");
    mdm_wbxml_put(&o, MDM_WB_ST_FriendlyName, "Jürgens <Phone> & Co");
    mdm_wbxml_put(&o, MDM_WB_ST_IMEI, NULL);
    mdm_wbxml_close(&o);
    mdm_wbxml_close(&o);
    mdm_wbxml_put_int(&o, MDM_WB_PV_Status, 1);
    mdm_wbxml_open(&o, MDM_WB_PV_Policies);
    mdm_wbxml_open(&o, MDM_WB_PV_Policy);
    mdm_wbxml_put(&o, MDM_WB_PV_PolicyType, "MS-EAS-Provisioning-WBXML");
    mdm_wbxml_put_int(&o, MDM_WB_PV_PolicyKey, 4294967295);
    mdm_wbxml_open(&o, MDM_WB_PV_Data);
    mdm_wbxml_open(&o, MDM_WB_PV_EASProvisionDoc);
    mdm_wbxml_put(&o, MDM_WB_PV_MinDevicePasswordLength, "");
    mdm_wbxml_empty(&o, MDM_WB_PV_RemoteWipe);
    return mdm_wbxml_end(&o);
}

static void test_writer(void **state)
{
    mdm_blob_t doc = provision();
    char *big = memset(apr_palloc(pool, 20000), 'x', 20000);
    mdm_wbout_t o;

    assert_memory_equal(doc.data, HEAD "\x00\x0e\x45\x00\x12\x56\x48\x57\x03iPhone14,2\0\x01", 25);
    assert_int_equal(render(doc.data, doc.len, doc.len), APR_SUCCESS);
    assert_string_equal(rendered, "<Provision><DeviceInformation><Set><Model>iPhone14,2</Model><FriendlyName>Jürgens <Phone> & Co</FriendlyName>"
                                  "</Set></DeviceInformation><Status>1</Status><Policies><Policy><PolicyType>MS-EAS-Provisioning-WBXML"
                                  "</PolicyType><PolicyKey>4294967295</PolicyKey><Data><EASProvisionDoc><MinDevicePasswordLength>"
                                  "</MinDevicePasswordLength><RemoteWipe></RemoteWipe></EASProvisionDoc></Data></Policy></Policies></Provision>");
    mdm_wbxml_begin(&o, pool);
    mdm_wbxml_open(&o, MDM_WB_CM_SendMail);
    mdm_wbxml_put_opaque(&o, MDM_WB_CM_Mime, big, 20000);
    doc = mdm_wbxml_end(&o);
    assert_memory_equal(doc.data + 4, "\x00\x15\x45\x50\xc3\x81\x9c\x20xx", 10);
    assert_int_equal(render(doc.data, doc.len, 1000), APR_SUCCESS);
    assert_int_equal(strlen(rendered), 20000 + strlen("<SendMail><Mime></Mime></SendMail>"));
}

static void test_names(void **state)
{
    int tag, last = -1, seen = 0;

    for (tag = 0; tag < 0x10000; tag++) {
        if (mdm_wbxml_name(tag)) {
            assert_non_null(mdm_wbxml_space(tag));
            assert_true(tag > last && (tag & 0xff) >= 5 && (tag & 0xff) < 0x40);
            last = tag;
            seen++;
        }
    }
    assert_true(seen > 150);
    assert_string_equal(mdm_wbxml_name(MDM_WB_PV_AccountOnlyRemoteWipe), "AccountOnlyRemoteWipe");
    assert_string_equal(mdm_wbxml_space(MDM_WB_IO_Fetch), "ItemOperations");
    assert_null(mdm_wbxml_name(MDM_WB_NONE));
    assert_null(mdm_wbxml_space(0xfe05));
}

/* ---- the independent decoder ---- */

/* Its XML without declaration, namespaces, indentation; an empty element with two tags. */
static char *plain_xml(const char *xml)
{
    char *out = apr_palloc(pool, strlen(xml) * 2 + 1), *o = out;
    const char *at = strchr(xml, '>'), *name = NULL;

    at = at ? strstr(at, "<!DOCTYPE") : NULL;
    at = at ? strchr(at, '>') + 1 : xml;
    for (; *at; at++) {
        if (*at != '<') {
            if (*at != '\n')
                *o++ = *at;
            continue;
        }
        name = o + 1;
        while (*at && *at != ' ' && *at != '>' && *at != '/')
            *o++ = *at++;
        if (at[-1] == '<')
            *o++ = *at++;
        while (*at && *at != '>' && *at != ' ' && *at != '/')
            *o++ = *at++;
        while (*at && *at != '>')
            at++;
        *o++ = '>';
        if (at[-1] == '/') {
            apr_size_t len = (apr_size_t)(o - name);

            *o++ = '<';
            *o++ = '/';
            memmove(o, name, len);
            o += len;
        }
    }
    *o = '\0';
    return out;
}

static const char *decoded_elsewhere(mdm_blob_t doc)
{
    char in[] = "/tmp/mdm-wbxml-XXXXXX", *text = apr_pcalloc(pool, 100001);
    int fd = mkstemp(in);
    FILE *xml;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, doc.data, doc.len), doc.len);
    close(fd);
    xml = popen(apr_psprintf(pool, "wbxml2xml -l ACTIVESYNC -m 0 -o - %s 2>&1", in), "r");
    assert_non_null(xml);
    assert_true(fread(text, 1, 100000, xml) > 0);
    if (pclose(xml) != 0)
        fail_msg("%s", text);
    unlink(in);
    return plain_xml(text);
}

/* Every tag of the table that the other decoder knows, below its page's first tag: same name, same structure. */
static void test_another_decoder_agrees(void **state)
{
    static const int roots[] = {MDM_WB_AS_Sync, MDM_WB_MV_MoveItems, MDM_WB_GE_GetItemEstimate, MDM_WB_FH_FolderSync,
                                MDM_WB_MR_MeetingResponse, MDM_WB_RR_ResolveRecipients, MDM_WB_VC_ValidateCert, MDM_WB_PG_Ping,
                                MDM_WB_PV_Provision, MDM_WB_SR_Search, MDM_WB_ST_Settings, MDM_WB_IO_ItemOperations,
                                MDM_WB_CM_SendMail};
    /* 0.11.8 does not know the first, misspells the second and has an older name of the third */
    static const int odd[] = {MDM_WB_PV_AccountOnlyRemoteWipe, MDM_WB_ST_RightsManagementInformation,
                              MDM_WB_PV_RequireStorageCardEncryption};
    unsigned i;
    int tag;

    for (i = 0; i < COUNT(roots); i++) {
        mdm_wbout_t o;
        mdm_blob_t doc;

        mdm_wbxml_begin(&o, pool);
        mdm_wbxml_open(&o, roots[i]);
        for (tag = roots[i] & ~0xff; tag < (roots[i] | 0xff); tag++) {
            if (mdm_wbxml_name(tag) && tag != odd[0] && tag != odd[1] && tag != odd[2] && tag != MDM_WB_CM_Mime) {
                mdm_wbxml_put(&o, tag, "v");
                mdm_wbxml_empty(&o, tag);
            }
        }
        doc = mdm_wbxml_end(&o);
        assert_int_equal(render(doc.data, doc.len, 7), APR_SUCCESS);
        if (strcasecmp(decoded_elsewhere(doc), rendered) != 0) /* it writes SmtpAddress */
            fail_msg("%s\n%s", decoded_elsewhere(doc), rendered);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_division), cmocka_unit_test(test_every_cut_is_refused), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_reader_may_end_it), cmocka_unit_test(test_tree),
        cmocka_unit_test(test_writer), cmocka_unit_test(test_names), cmocka_unit_test(test_another_decoder_agrees),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
