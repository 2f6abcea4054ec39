/* Fuzz target: Provision, Settings, Sync and FolderSync documents. What is made of them can be read again; a policy that was written
 * reads the same, and combining it with itself changes nothing (PRV-01, PRV-02, R08). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "wire/mdm_eas_mailbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static mdm_wbnode_t *must_read(mdm_ctx_t *ctx, mdm_blob_t doc)
{
    mdm_wbnode_t *root = NULL;

    if (doc.len && doc.len <= MDM_WBXML_MAX_TREE && mdm_wbxml_parse(ctx, doc.data, doc.len, &root) != APR_SUCCESS)
        abort();
    return root;
}

static void must_be_same(const mdm_eas_policy_t *a, const mdm_eas_policy_t *b)
{
    int i;

    for (i = 0; i < MDM_EAS_SETTING_COUNT; i++) {
        int unset = mdm_eas_settings[i].unset;
        apr_int64_t x = a->set[i] ? a->value[i] : unset, y = b->set[i] ? b->value[i] : unset;

        if (x != y)
            abort();
    }
    if (a->unapproved.count != b->unapproved.count || a->approved.count != b->approved.count)
        abort();
}

static void policy_round_trip(mdm_ctx_t *ctx, const mdm_wbnode_t *doc)
{
    mdm_eas_policy_t first, second, both;
    mdm_eas_provided_t got;
    mdm_blob_t text;

    mdm_eas_policy_read(ctx->pool, doc, &first);
    text = mdm_eas_provision_offer(ctx->pool, &first, 161, 7, 1);
    if (text.len > MDM_WBXML_MAX_TREE)
        return;
    if (mdm_eas_provided_read(ctx, text.data, text.len, &got) != APR_SUCCESS || got.policy_key != 7)
        abort();
    mdm_eas_policy_read(ctx->pool, got.doc, &second);
    must_be_same(&first, &second);
    mdm_eas_policy_merge(ctx->pool, &first, &second, &both);
    mdm_eas_policy_merge(ctx->pool, &both, &both, &second);
    if (second.unapproved.count < both.unapproved.count || second.approved.count < both.approved.count)
        abort();
    must_be_same(&second, &both);
}

static void mailbox(mdm_ctx_t *ctx, const mdm_wbnode_t *root)
{
    const mdm_eas_note_t note = {.from = "a", .to = "b", .subject = "c", .text = "d", .html = "e", .mime = {(const unsigned char *)"f", 1}};
    const mdm_eas_mailbox_t boxes[] = {{&note, "Inbox", 161, 1700000000000LL}, {NULL, "Inbox", 25, 1700000000000LL}};
    int i, cmd;

    for (i = 0; i < 2; i++) {
        must_read(ctx, mdm_eas_folders_answer(ctx->pool, root, &boxes[i]));
        must_read(ctx, mdm_eas_sync_answer(ctx->pool, root, &boxes[i]));
        must_read(ctx, mdm_eas_estimate_answer(ctx->pool, root, &boxes[i]));
        must_read(ctx, mdm_eas_items_answer(ctx->pool, root, &boxes[i]));
    }
    must_read(ctx, mdm_eas_move_answer(ctx->pool, root));
    for (cmd = MDM_EAS_OPTIONS; cmd < MDM_EAS_CMD_COUNT; cmd++) {
        if (mdm_eas_key_is_ours((mdm_eas_cmd_e)cmd, root))
            must_read(ctx, mdm_eas_left_answer(ctx->pool, (mdm_eas_cmd_e)cmd, root));
    }
    mdm_eas_ping_fault(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *pool;
    mdm_eas_provision_t asked;
    mdm_eas_provided_t got;
    mdm_eas_hold_t hold;
    mdm_wbnode_t *root;
    mdm_ctx_t *ctx;
    int cmd;

    if (!pool) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
    }
    ctx = mdm_ctx_make(pool, NULL, NULL, NULL);
    mdm_eas_hold_init(&hold);
    mdm_eas_hold_push(&hold, data, size);
    for (cmd = MDM_EAS_OPTIONS; cmd < MDM_EAS_CMD_COUNT; cmd++)
        mdm_eas_status_peek((mdm_eas_cmd_e)cmd, data, size);
    if (mdm_eas_provision_read(ctx, data, size, &asked) == APR_SUCCESS && asked.info)
        must_read(ctx, mdm_eas_provision_ask(pool, asked.info));
    if (mdm_eas_provided_read(ctx, data, size, &got) == APR_SUCCESS && got.doc)
        policy_round_trip(ctx, got.doc);
    if (mdm_wbxml_parse(ctx, data, size, &root) == APR_SUCCESS) {
        must_read(ctx, mdm_eas_settings_answer(pool, root));
        mailbox(ctx, root);
        mdm_eas_settings_has_more(root);
        policy_round_trip(ctx, root);
    }
    apr_pool_clear(pool);
    return 0;
}
