/* Documents that the gate answers itself. Trees are small; only the hold tap sees bodies of any size. */
#include "wire/mdm_eas_doc.h"

#include <string.h>
#include <apr_strings.h>

#define INFO_BYTES 200 /* of one value of the device information */

static const struct {
    int status, http;
} by_status[] = {
    {101, 400}, {102, 400}, {103, 400}, {108, 400}, {109, 400}, {110, 500}, {111, 503}, {113, 507}, {114, 503},
    {126, 403}, {129, 403}, {130, 403}, {131, 403}, {137, 501}, {138, 400}, {139, 403}, {140, 449}, {141, 449},
    {142, 449}, {143, 449}, {144, 449}, {145, 403}, {165, 400}, {177, 403},
};

/* Root and status of each command's answer; 0: the command has no document of ours. */
static const struct {
    int root, status;
} by_cmd[MDM_EAS_CMD_COUNT] = {
    [MDM_EAS_SYNC] = {MDM_WB_AS_Sync, MDM_WB_AS_Status},
    [MDM_EAS_SEND_MAIL] = {MDM_WB_CM_SendMail, MDM_WB_CM_Status},
    [MDM_EAS_SMART_FORWARD] = {MDM_WB_CM_SmartForward, MDM_WB_CM_Status},
    [MDM_EAS_SMART_REPLY] = {MDM_WB_CM_SmartReply, MDM_WB_CM_Status},
    [MDM_EAS_FOLDER_SYNC] = {MDM_WB_FH_FolderSync, MDM_WB_FH_Status},
    [MDM_EAS_FOLDER_CREATE] = {MDM_WB_FH_FolderCreate, MDM_WB_FH_Status},
    [MDM_EAS_FOLDER_DELETE] = {MDM_WB_FH_FolderDelete, MDM_WB_FH_Status},
    [MDM_EAS_FOLDER_UPDATE] = {MDM_WB_FH_FolderUpdate, MDM_WB_FH_Status},
    [MDM_EAS_MOVE_ITEMS] = {MDM_WB_MV_MoveItems, MDM_WB_MV_Status},
    [MDM_EAS_GET_ITEM_ESTIMATE] = {MDM_WB_GE_GetItemEstimate, MDM_WB_GE_Status},
    [MDM_EAS_MEETING_RESPONSE] = {MDM_WB_MR_MeetingResponse, MDM_WB_MR_Status},
    [MDM_EAS_SEARCH] = {MDM_WB_SR_Search, MDM_WB_SR_Status},
    [MDM_EAS_SETTINGS] = {MDM_WB_ST_Settings, MDM_WB_ST_Status},
    [MDM_EAS_PING] = {MDM_WB_PG_Ping, MDM_WB_PG_Status},
    [MDM_EAS_ITEM_OPERATIONS] = {MDM_WB_IO_ItemOperations, MDM_WB_IO_Status},
    [MDM_EAS_PROVISION] = {MDM_WB_PV_Provision, MDM_WB_PV_Status},
    [MDM_EAS_RESOLVE_RECIPIENTS] = {MDM_WB_RR_ResolveRecipients, MDM_WB_RR_Status},
    [MDM_EAS_VALIDATE_CERT] = {MDM_WB_VC_ValidateCert, MDM_WB_VC_Status},
    [MDM_EAS_FIND] = {MDM_WB_FI_Find, MDM_WB_FI_Status},
};

/* ---- status ---- */

int mdm_eas_status_http(int status, int has_key)
{
    unsigned i;

    if (status == MDM_EAS_ST_WIPE && !has_key)
        return 403;
    for (i = 0; i < sizeof(by_status) / sizeof(by_status[0]); i++) {
        if (by_status[i].status == status)
            return by_status[i].http;
    }
    return 400;
}

void mdm_eas_status_answer(apr_pool_t *p, const mdm_eas_query_t *q, int status, mdm_eas_answer_t *out)
{
    mdm_wbout_t o;

    memset(out, 0, sizeof(*out));
    if (q->version < 140 || q->cmd < 0 || !by_cmd[q->cmd].root) {
        out->http = mdm_eas_status_http(status, q->key != MDM_EAS_KEY_NONE);
        if (out->http == 449)
            out->line = "449 Retry after sending a PROVISION command";
        return;
    }
    out->http = 200;
    mdm_wbxml_begin(&o, p);
    mdm_wbxml_open(&o, by_cmd[q->cmd].root);
    mdm_wbxml_put_int(&o, by_cmd[q->cmd].status, status);
    out->body = mdm_wbxml_end(&o);
}

typedef struct peek_t {
    int root, tag, depth, inside;
    char text[16];
    unsigned used;
    int done;
} peek_t;

static apr_status_t peek_start(void *baton, int tag)
{
    peek_t *k = baton;

    if (k->depth == 0 && tag != k->root)
        return APR_EOF;
    k->inside = k->depth++ == 1 && tag == k->tag;
    return APR_SUCCESS;
}

static apr_status_t peek_text(void *baton, const unsigned char *data, apr_size_t len, int opaque)
{
    peek_t *k = baton;

    if (!k->inside)
        return APR_SUCCESS;
    if (len >= sizeof(k->text) - k->used)
        return APR_EOF; /* no status is that long */
    memcpy(k->text + k->used, data, len);
    k->used += (unsigned)len;
    return APR_SUCCESS;
}

static apr_status_t peek_end(void *baton, int tag)
{
    peek_t *k = baton;

    k->depth--;
    k->done = k->inside;
    return k->inside ? APR_EOF : APR_SUCCESS;
}

int mdm_eas_status_peek(mdm_eas_cmd_e cmd, const void *buf, apr_size_t len)
{
    static const mdm_wbxml_sink_t sink = {peek_start, peek_text, peek_end};
    peek_t k = {.depth = 0};
    apr_int64_t status;
    mdm_wbxml_t w;

    if (cmd < 0 || cmd >= MDM_EAS_CMD_COUNT || !by_cmd[cmd].root)
        return -1;
    k.root = by_cmd[cmd].root;
    k.tag = by_cmd[cmd].status;
    mdm_wbxml_init(&w, &sink, &k);
    mdm_wbxml_push(&w, buf, len);
    return k.done && mdm_parse_i64(k.text, 0, 999, &status) == APR_SUCCESS ? (int)status : -1;
}

/* ---- device information ---- */

static const struct {
    int tag;
    apr_size_t offset;
} info_fields[] = {
    {MDM_WB_ST_Model, APR_OFFSETOF(mdm_eas_info_t, model)},
    {MDM_WB_ST_IMEI, APR_OFFSETOF(mdm_eas_info_t, imei)},
    {MDM_WB_ST_FriendlyName, APR_OFFSETOF(mdm_eas_info_t, friendly_name)},
    {MDM_WB_ST_OS, APR_OFFSETOF(mdm_eas_info_t, os)},
    {MDM_WB_ST_OSLanguage, APR_OFFSETOF(mdm_eas_info_t, os_language)},
    {MDM_WB_ST_PhoneNumber, APR_OFFSETOF(mdm_eas_info_t, phone_number)},
    {MDM_WB_ST_UserAgent, APR_OFFSETOF(mdm_eas_info_t, user_agent)},
    {MDM_WB_ST_MobileOperator, APR_OFFSETOF(mdm_eas_info_t, operator_name)},
};
#define INFO_FIELDS (sizeof(info_fields) / sizeof(info_fields[0]))

const mdm_eas_info_t *mdm_eas_info_read(apr_pool_t *p, const mdm_wbnode_t *root)
{
    const mdm_wbnode_t *set = mdm_wbxml_get(mdm_wbxml_get(root, MDM_WB_ST_DeviceInformation), MDM_WB_ST_Set);
    mdm_eas_info_t *info = apr_pcalloc(p, sizeof(*info));
    unsigned i;

    for (i = 0; set && i < INFO_FIELDS; i++)
        *(const char **)((char *)info + info_fields[i].offset) = mdm_wbxml_str(p, set, info_fields[i].tag, INFO_BYTES);
    return set ? info : NULL;
}

int mdm_eas_settings_has_more(const mdm_wbnode_t *root)
{
    const mdm_wbnode_t *n = root ? root->child : NULL;

    while (n && n->tag == MDM_WB_ST_DeviceInformation)
        n = n->next;
    return n != NULL;
}

mdm_blob_t mdm_eas_settings_answer(apr_pool_t *p, const mdm_wbnode_t *root)
{
    const mdm_wbnode_t *n;
    mdm_wbout_t o;

    mdm_wbxml_begin(&o, p);
    mdm_wbxml_open(&o, MDM_WB_ST_Settings);
    mdm_wbxml_put_int(&o, MDM_WB_ST_Status, 1);
    for (n = root ? root->child : NULL; n; n = n->next) {
        if (n->tag >> 8 != MDM_WB_ST_Settings >> 8)
            continue;
        mdm_wbxml_open(&o, n->tag);
        mdm_wbxml_put_int(&o, MDM_WB_ST_Status, n->tag == MDM_WB_ST_DeviceInformation ? 1 : 3);
        mdm_wbxml_close(&o);
    }
    return mdm_wbxml_end(&o);
}

/* ---- Provision ---- */

static void read_key(const mdm_wbnode_t *policy, mdm_eas_key_e *key, apr_uint32_t *value)
{
    const mdm_wbnode_t *n = mdm_wbxml_get(policy, MDM_WB_PV_PolicyKey);
    apr_int64_t number = mdm_wbxml_int(policy, MDM_WB_PV_PolicyKey, 0, APR_UINT32_MAX, -1);

    *key = !n || !n->content.len ? MDM_EAS_KEY_NONE : number < 0 ? MDM_EAS_KEY_FOREIGN : MDM_EAS_KEY_GIVEN;
    *value = number < 0 ? 0 : (apr_uint32_t)number;
}

/* The policy of our type, else the first. */
static const mdm_wbnode_t *the_policy(const mdm_wbnode_t *root)
{
    const mdm_wbnode_t *policies = mdm_wbxml_get(root, MDM_WB_PV_Policies), *n = policies ? policies->child : NULL;

    for (; n; n = n->next) {
        const mdm_wbnode_t *type = mdm_wbxml_get(n, MDM_WB_PV_PolicyType);

        if (n->tag == MDM_WB_PV_Policy && type && strcmp((const char *)type->content.data, MDM_EAS_POLICY_TYPE) == 0)
            return n;
    }
    return mdm_wbxml_get(policies, MDM_WB_PV_Policy);
}

static apr_status_t read_root(mdm_ctx_t *ctx, const void *buf, apr_size_t len, mdm_wbnode_t **root)
{
    apr_status_t rv = mdm_wbxml_parse(ctx, buf, len, root);

    if (rv == APR_SUCCESS && (*root)->tag != MDM_WB_PV_Provision)
        return mdm_fail(ctx, MDM_EINPUT, NULL, "this is not a Provision document");
    return rv;
}

apr_status_t mdm_eas_provision_read(mdm_ctx_t *ctx, const void *buf, apr_size_t len, mdm_eas_provision_t *out)
{
    static const struct { int tag; mdm_eas_prov_e kind; } wipes[] = {
        {MDM_WB_PV_RemoteWipe, MDM_EAS_PROV_WIPE_ACK}, {MDM_WB_PV_AccountOnlyRemoteWipe, MDM_EAS_PROV_ACCOUNT_WIPE_ACK},
    };
    const mdm_wbnode_t *policy, *wipe;
    mdm_wbnode_t *root;
    apr_status_t rv;
    unsigned i;

    memset(out, 0, sizeof(*out));
    if (!len)
        return APR_SUCCESS;
    if ((rv = read_root(ctx, buf, len, &root)) != APR_SUCCESS)
        return rv;
    out->info = mdm_eas_info_read(ctx->pool, root);
    policy = the_policy(root);
    out->policy_type = mdm_wbxml_str(ctx->pool, policy, MDM_WB_PV_PolicyType, INFO_BYTES);
    read_key(policy, &out->key, &out->policy_key);
    if (mdm_wbxml_get(policy, MDM_WB_PV_Status)) {
        out->kind = MDM_EAS_PROV_ACK;
        out->status = (int)mdm_wbxml_int(policy, MDM_WB_PV_Status, 1, 4, 0);
    }
    for (i = 0; i < 2; i++) {
        if ((wipe = mdm_wbxml_get(root, wipes[i].tag)) != NULL) {
            out->kind = wipes[i].kind;
            out->status = (int)mdm_wbxml_int(wipe, MDM_WB_PV_Status, 1, 2, 0);
            break;
        }
    }
    return APR_SUCCESS;
}

apr_status_t mdm_eas_provided_read(mdm_ctx_t *ctx, const void *buf, apr_size_t len, mdm_eas_provided_t *out)
{
    const mdm_wbnode_t *policy;
    mdm_wbnode_t *root;
    apr_status_t rv;

    memset(out, 0, sizeof(*out));
    if ((rv = read_root(ctx, buf, len, &root)) != APR_SUCCESS)
        return rv;
    policy = the_policy(root);
    out->status = (int)mdm_wbxml_int(root, MDM_WB_PV_Status, 1, 999, 0);
    out->policy_status = (int)mdm_wbxml_int(policy, MDM_WB_PV_Status, 1, 999, 0);
    read_key(policy, &out->key, &out->policy_key);
    out->wipe = mdm_wbxml_get(root, MDM_WB_PV_RemoteWipe) != NULL;
    out->account_wipe = mdm_wbxml_get(root, MDM_WB_PV_AccountOnlyRemoteWipe) != NULL;
    out->doc = mdm_wbxml_get(mdm_wbxml_get(policy, MDM_WB_PV_Data), MDM_WB_PV_EASProvisionDoc);
    return APR_SUCCESS;
}

/* Opens Policies and Policy, writes the type, and status and key if there are any. */
static void open_policy(mdm_wbout_t *o, int status, const apr_uint32_t *key)
{
    mdm_wbxml_open(o, MDM_WB_PV_Policies);
    mdm_wbxml_open(o, MDM_WB_PV_Policy);
    mdm_wbxml_put(o, MDM_WB_PV_PolicyType, MDM_EAS_POLICY_TYPE);
    if (status)
        mdm_wbxml_put_int(o, MDM_WB_PV_Status, status);
    if (key)
        mdm_wbxml_put_int(o, MDM_WB_PV_PolicyKey, *key);
}

static void open_provision(mdm_wbout_t *o, apr_pool_t *p)
{
    mdm_wbxml_begin(o, p);
    mdm_wbxml_open(o, MDM_WB_PV_Provision);
}

mdm_blob_t mdm_eas_provision_offer(apr_pool_t *p, const mdm_eas_policy_t *policy, int version, apr_uint32_t key, int has_info)
{
    mdm_wbout_t o;

    open_provision(&o, p);
    if (has_info) {
        mdm_wbxml_open(&o, MDM_WB_ST_DeviceInformation);
        mdm_wbxml_put_int(&o, MDM_WB_ST_Status, 1);
        mdm_wbxml_close(&o);
    }
    mdm_wbxml_put_int(&o, MDM_WB_PV_Status, 1);
    open_policy(&o, 1, &key);
    mdm_wbxml_open(&o, MDM_WB_PV_Data);
    mdm_eas_policy_write(&o, policy, version);
    return mdm_wbxml_end(&o);
}

mdm_blob_t mdm_eas_provision_final(apr_pool_t *p, apr_uint32_t key)
{
    mdm_wbout_t o;

    open_provision(&o, p);
    mdm_wbxml_put_int(&o, MDM_WB_PV_Status, 1);
    open_policy(&o, 1, &key);
    return mdm_wbxml_end(&o);
}

mdm_blob_t mdm_eas_provision_refuse(apr_pool_t *p, int policy_status)
{
    mdm_wbout_t o;

    open_provision(&o, p);
    mdm_wbxml_put_int(&o, MDM_WB_PV_Status, 1);
    open_policy(&o, policy_status, NULL);
    return mdm_wbxml_end(&o);
}

mdm_blob_t mdm_eas_provision_wiped(apr_pool_t *p, int done, int account_only)
{
    mdm_wbout_t o;

    open_provision(&o, p);
    mdm_wbxml_put_int(&o, MDM_WB_PV_Status, done ? 1 : 2);
    if (!done)
        mdm_wbxml_empty(&o, account_only ? MDM_WB_PV_AccountOnlyRemoteWipe : MDM_WB_PV_RemoteWipe);
    return mdm_wbxml_end(&o);
}

mdm_blob_t mdm_eas_provision_wipe(apr_pool_t *p, int account_only)
{
    mdm_wbout_t o;

    open_provision(&o, p);
    mdm_wbxml_put_int(&o, MDM_WB_PV_Status, 1);
    mdm_wbxml_empty(&o, account_only ? MDM_WB_PV_AccountOnlyRemoteWipe : MDM_WB_PV_RemoteWipe);
    return mdm_wbxml_end(&o);
}

mdm_blob_t mdm_eas_provision_ask(apr_pool_t *p, const mdm_eas_info_t *info)
{
    mdm_wbout_t o;
    unsigned i;

    open_provision(&o, p);
    if (info) {
        mdm_wbxml_open(&o, MDM_WB_ST_DeviceInformation);
        mdm_wbxml_open(&o, MDM_WB_ST_Set);
        for (i = 0; i < INFO_FIELDS; i++)
            mdm_wbxml_put(&o, info_fields[i].tag, *(const char *const *)((const char *)info + info_fields[i].offset));
        mdm_wbxml_close(&o);
        mdm_wbxml_close(&o);
    }
    open_policy(&o, 0, NULL);
    return mdm_wbxml_end(&o);
}

mdm_blob_t mdm_eas_provision_ack(apr_pool_t *p, apr_uint32_t key, int status)
{
    mdm_wbout_t o;

    open_provision(&o, p);
    open_policy(&o, 0, &key);
    mdm_wbxml_put_int(&o, MDM_WB_PV_Status, status);
    return mdm_wbxml_end(&o);
}

/* ---- waiting ---- */

static const struct {
    int tag, unit; /* seconds */
} wait_tags[] = {{MDM_WB_AS_Wait, 60}, {MDM_WB_AS_HeartbeatInterval, 1}, {MDM_WB_PG_HeartbeatInterval, 1}};

static apr_status_t hold_start(void *baton, int tag)
{
    mdm_eas_hold_t *h = baton;

    if (h->depth == 0 && tag != MDM_WB_AS_Sync && tag != MDM_WB_PG_Ping)
        return APR_EOF;
    if (h->depth == 2 && tag == MDM_WB_PG_Folder)
        h->folders++;
    h->tag = h->depth == 1 ? tag : MDM_WB_NONE;
    h->used = 0;
    h->depth++;
    return APR_SUCCESS;
}

static apr_status_t hold_text(void *baton, const unsigned char *data, apr_size_t len, int opaque)
{
    mdm_eas_hold_t *h = baton;

    if (h->depth != 2)
        return APR_SUCCESS;
    if (len >= sizeof(h->text) - h->used) {
        h->tag = MDM_WB_NONE;
        return APR_SUCCESS;
    }
    memcpy(h->text + h->used, data, len);
    h->used += (unsigned)len;
    return APR_SUCCESS;
}

static apr_status_t hold_end(void *baton, int tag)
{
    mdm_eas_hold_t *h = baton;
    apr_int64_t n;
    unsigned i;

    h->text[h->used] = '\0';
    h->depth--;
    for (i = 0; i < sizeof(wait_tags) / sizeof(wait_tags[0]); i++) {
        if (h->tag == wait_tags[i].tag && mdm_parse_i64(h->text, 1, 86400, &n) == APR_SUCCESS)
            h->seconds = (int)n * wait_tags[i].unit;
    }
    h->tag = MDM_WB_NONE;
    return APR_SUCCESS;
}

static const mdm_wbxml_sink_t hold_sink = {hold_start, hold_text, hold_end};

void mdm_eas_hold_init(mdm_eas_hold_t *h)
{
    memset(h, 0, sizeof(*h));
    h->tag = MDM_WB_NONE;
    mdm_wbxml_init(&h->wbxml, &hold_sink, h);
}

void mdm_eas_hold_push(mdm_eas_hold_t *h, const void *data, apr_size_t len)
{
    mdm_wbxml_push(&h->wbxml, data, len);
}
