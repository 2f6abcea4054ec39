/* The empty mailbox. Keys of our inbox: "MDMQ-1", then "MDMQ-<n>m<id>" with message <id> in it, "MDMQ-<n>d<id>" where the person has deleted
 * that; n counts answers. Message ids: its kind as a letter and when it came, in hex. */
#include "wire/mdm_eas_mailbox.h"

#include <stdlib.h>
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define PREFIX "MDMQ-"
#define MESSAGE PREFIX "m"
#define MAX_COLLECTIONS 300
#define KEY_MAX 64
#define COUNT_MAX 999999

/* ---------------------------------------------------------------- keys and ids */

/* What an inbox of ours holds. */
typedef struct has_t {
    int n;       /* of the answer */
    char what;   /* 0: nothing yet; m: a message; d: none, it was deleted */
    char kind;   /* 'a' to 'z' */
    unsigned at; /* when it came, in seconds */
} has_t;

static const char *content(const mdm_wbnode_t *node, int tag)
{
    const mdm_wbnode_t *n = mdm_wbxml_get(node, tag);

    return n && n->content.data ? (const char *)n->content.data : "";
}

static int begins(const char *s)
{
    return strncmp(s, PREFIX, sizeof(PREFIX) - 1) == 0;
}

/* "a65531f2c" → kind and time. */
static int read_id(const char *s, char *kind, unsigned *at)
{
    char *end;

    if (*s < 'a' || *s > 'z' || strlen(s) != 9 || strspn(s + 1, "0123456789abcdef") != 8) {
        return 0;
    }
    *kind = *s;
    *at = (unsigned)strtoul(s + 1, &end, 16);
    return *end == '\0';
}

static int read_key(const char *key, has_t *out)
{
    char *end;
    long n;

    memset(out, 0, sizeof(*out));
    if (!begins(key) || strlen(key) > KEY_MAX || !apr_isdigit(key[sizeof(PREFIX) - 1])) {
        return 0;
    }
    n = strtol(key + sizeof(PREFIX) - 1, &end, 10);
    if (n < 1 || n > COUNT_MAX) {
        return 0;
    }
    out->n = (int)n;
    out->what = *end;
    return *end == '\0' || ((*end == 'm' || *end == 'd') && read_id(end + 1, &out->kind, &out->at));
}

static const char *write_key(apr_pool_t *p, const has_t *has)
{
    int n = has->n < COUNT_MAX ? has->n + 1 : 2;

    return has->what ? apr_psprintf(p, PREFIX "%d%c%c%08x", n, has->what, has->kind, has->at) : apr_psprintf(p, PREFIX "%d", n);
}

static const char *message_id(apr_pool_t *p, const has_t *has)
{
    return apr_psprintf(p, MESSAGE "%c%08x", has->kind, has->at);
}

static char kind_of(const mdm_eas_mailbox_t *box)
{
    return box->note ? (char)('a' + box->note->kind % 26) : 0;
}

static int is_inbox(const mdm_wbnode_t *node, int tag)
{
    return strcmp(content(node, tag), MDM_EAS_OUR_INBOX) == 0;
}

/* ---------------------------------------------------------------- what is ours */

int mdm_eas_key_is_ours(mdm_eas_cmd_e cmd, const mdm_wbnode_t *root)
{
    const mdm_wbnode_t *list = mdm_wbxml_get(root, cmd == MDM_EAS_PING ? MDM_WB_PG_Folders : MDM_WB_AS_Collections), *n;

    if (cmd == MDM_EAS_FOLDER_SYNC) {
        return begins(content(root, MDM_WB_FH_SyncKey));
    }
    if (cmd != MDM_EAS_SYNC && cmd != MDM_EAS_PING) {
        return 0;
    }
    for (n = list ? list->child : NULL; n; n = n->next) {
        if (cmd == MDM_EAS_PING ? is_inbox(n, MDM_WB_PG_Id)
                                : begins(content(n, MDM_WB_AS_SyncKey)) || is_inbox(n, MDM_WB_AS_CollectionId)) {
            return 1;
        }
    }
    return 0;
}

static mdm_blob_t only_status(apr_pool_t *p, int root, int tag, int status)
{
    mdm_wbout_t o;

    mdm_wbxml_begin(&o, p);
    mdm_wbxml_open(&o, root);
    mdm_wbxml_put_int(&o, tag, status);
    return mdm_wbxml_end(&o);
}

static void put_collection(apr_pool_t *p, mdm_wbout_t *o, const mdm_wbnode_t *c, const char *key, int status)
{
    mdm_wbxml_open(o, MDM_WB_AS_Collection);
    mdm_wbxml_put(o, MDM_WB_AS_Class, mdm_wbxml_str(p, c, MDM_WB_AS_Class, KEY_MAX));
    mdm_wbxml_put(o, MDM_WB_AS_SyncKey, key);
    mdm_wbxml_put(o, MDM_WB_AS_CollectionId, mdm_wbxml_str(p, c, MDM_WB_AS_CollectionId, KEY_MAX));
    mdm_wbxml_put_int(o, MDM_WB_AS_Status, status);
}

mdm_blob_t mdm_eas_left_answer(apr_pool_t *p, mdm_eas_cmd_e cmd, const mdm_wbnode_t *root)
{
    const mdm_wbnode_t *list = mdm_wbxml_get(root, MDM_WB_AS_Collections), *n;
    int count = 0, keys = 0;
    mdm_wbout_t o;

    if (cmd == MDM_EAS_FOLDER_SYNC) {
        return only_status(p, MDM_WB_FH_FolderSync, MDM_WB_FH_Status, 9);
    }
    if (cmd == MDM_EAS_PING) {
        return mdm_eas_ping_answer(p, 7, 0);
    }
    mdm_wbxml_begin(&o, p);
    mdm_wbxml_open(&o, MDM_WB_AS_Sync);
    mdm_wbxml_open(&o, MDM_WB_AS_Collections);
    for (n = list ? list->child : NULL; n && count < MAX_COLLECTIONS; n = n->next, count++) {
        if (begins(content(n, MDM_WB_AS_SyncKey))) {
            put_collection(p, &o, n, "0", 3);
            mdm_wbxml_close(&o);
            keys++;
        }
    }
    /* Its folder is not there any more: the list of folders has changed. */
    return keys ? mdm_wbxml_end(&o) : only_status(p, MDM_WB_AS_Sync, MDM_WB_AS_Status, 12);
}

/* ---------------------------------------------------------------- FolderSync, GetItemEstimate, MoveItems, Ping */

mdm_blob_t mdm_eas_folders_answer(apr_pool_t *p, const mdm_wbnode_t *root, const mdm_eas_mailbox_t *box)
{
    const char *key = content(root, MDM_WB_FH_SyncKey);
    int first = strcmp(key, "0") == 0;
    mdm_wbout_t o;

    if (!first && strcmp(key, MDM_EAS_OUR_KEY) != 0) {
        return only_status(p, MDM_WB_FH_FolderSync, MDM_WB_FH_Status, 9);
    }
    mdm_wbxml_begin(&o, p);
    mdm_wbxml_open(&o, MDM_WB_FH_FolderSync);
    mdm_wbxml_put_int(&o, MDM_WB_FH_Status, 1);
    mdm_wbxml_put(&o, MDM_WB_FH_SyncKey, MDM_EAS_OUR_KEY);
    mdm_wbxml_open(&o, MDM_WB_FH_Changes);
    mdm_wbxml_put_int(&o, MDM_WB_FH_Count, first);
    if (first) {
        mdm_wbxml_open(&o, MDM_WB_FH_Add);
        mdm_wbxml_put(&o, MDM_WB_FH_ServerId, MDM_EAS_OUR_INBOX);
        mdm_wbxml_put(&o, MDM_WB_FH_ParentId, "0");
        mdm_wbxml_put(&o, MDM_WB_FH_DisplayName, box->inbox);
        mdm_wbxml_put_int(&o, MDM_WB_FH_Type, 2);
    }
    return mdm_wbxml_end(&o);
}

/* Whether a message is to come into an inbox in this state. */
static int comes(const mdm_eas_mailbox_t *box, const has_t *has)
{
    return box->note && (!has->what || has->kind != kind_of(box));
}

mdm_blob_t mdm_eas_estimate_answer(apr_pool_t *p, const mdm_wbnode_t *root, const mdm_eas_mailbox_t *box)
{
    const mdm_wbnode_t *list = mdm_wbxml_get(root, MDM_WB_GE_Collections), *n;
    int count = 0;
    mdm_wbout_t o;

    mdm_wbxml_begin(&o, p);
    mdm_wbxml_open(&o, MDM_WB_GE_GetItemEstimate);
    for (n = list ? list->child : NULL; n && count < MAX_COLLECTIONS; n = n->next, count++) {
        has_t has;
        int known = is_inbox(n, MDM_WB_GE_CollectionId), ok = known && read_key(content(n, MDM_WB_AS_SyncKey), &has);

        mdm_wbxml_open(&o, MDM_WB_GE_Response);
        mdm_wbxml_put_int(&o, MDM_WB_GE_Status, !known ? 2 : !ok ? 3 : 1);
        if (ok) {
            mdm_wbxml_open(&o, MDM_WB_GE_Collection);
            mdm_wbxml_put(&o, MDM_WB_GE_Class, mdm_wbxml_str(p, n, MDM_WB_GE_Class, KEY_MAX));
            mdm_wbxml_put(&o, MDM_WB_GE_CollectionId, MDM_EAS_OUR_INBOX);
            mdm_wbxml_put_int(&o, MDM_WB_GE_Estimate, comes(box, &has));
            mdm_wbxml_close(&o);
        }
        mdm_wbxml_close(&o);
    }
    return mdm_wbxml_end(&o);
}

mdm_blob_t mdm_eas_move_answer(apr_pool_t *p, const mdm_wbnode_t *root)
{
    const mdm_wbnode_t *n;
    int count = 0;
    mdm_wbout_t o;

    mdm_wbxml_begin(&o, p);
    mdm_wbxml_open(&o, MDM_WB_MV_MoveItems);
    for (n = root ? root->child : NULL; n && count < MAX_COLLECTIONS; n = n->next, count++) {
        if (n->tag == MDM_WB_MV_Move) {
            mdm_wbxml_open(&o, MDM_WB_MV_Response);
            mdm_wbxml_put(&o, MDM_WB_MV_SrcMsgId, mdm_wbxml_str(p, n, MDM_WB_MV_SrcMsgId, KEY_MAX));
            mdm_wbxml_put_int(&o, MDM_WB_MV_Status, 5); /* locked: it stays where it is */
            mdm_wbxml_close(&o);
        }
    }
    return mdm_wbxml_end(&o);
}

mdm_blob_t mdm_eas_ping_answer(apr_pool_t *p, int status, int heartbeat)
{
    mdm_wbout_t o;

    mdm_wbxml_begin(&o, p);
    mdm_wbxml_open(&o, MDM_WB_PG_Ping);
    mdm_wbxml_put_int(&o, MDM_WB_PG_Status, status);
    if (status == 5) {
        mdm_wbxml_put_int(&o, MDM_WB_PG_HeartbeatInterval, heartbeat);
    }
    return mdm_wbxml_end(&o);
}

int mdm_eas_ping_fault(const mdm_wbnode_t *root)
{
    const mdm_wbnode_t *list = mdm_wbxml_get(root, MDM_WB_PG_Folders), *n;

    for (n = list ? list->child : NULL; n; n = n->next) {
        if (!is_inbox(n, MDM_WB_PG_Id)) {
            return 7;
        }
    }
    return list ? 0 : 3;
}

/* ---------------------------------------------------------------- the message */

enum { PLAIN = 1, HTML = 2, MIME = 4 };

/* How the device wants a body: its first wish that can be met. */
typedef struct wish_t {
    int type;
    apr_size_t most; /* bytes */
} wish_t;

static wish_t wish_of(const mdm_wbnode_t *options)
{
    const mdm_wbnode_t *n = options ? options->child : NULL;
    wish_t wish = {0, APR_SIZE_MAX};
    apr_int64_t type;

    if (mdm_wbxml_int(options, MDM_WB_AS_MIMESupport, 0, 2, 0) == 2) {
        wish.type = MIME;
    }
    for (; n; n = n->next) {
        type = n->tag == MDM_WB_AB_BodyPreference ? mdm_wbxml_int(n, MDM_WB_AB_Type, 1, 4, 0) : 0;
        if ((type == PLAIN || type == HTML || type == MIME) && (!wish.type || wish.type == type)) {
            wish.type = (int)type;
            wish.most = (apr_size_t)mdm_wbxml_int(n, MDM_WB_AB_TruncationSize, 0, APR_UINT32_MAX, APR_UINT32_MAX);
            break;
        }
    }
    wish.type = wish.type ? wish.type : PLAIN;
    return wish;
}

static mdm_blob_t body_of(const mdm_eas_note_t *note, int type)
{
    const char *s = type == HTML ? note->html : note->text;

    return type == MIME ? note->mime : (mdm_blob_t){(const unsigned char *)s, strlen(s)};
}

/* At most so many bytes of it, and no half of a letter. */
static const char *cut(apr_pool_t *p, mdm_blob_t b, apr_size_t most)
{
    apr_size_t n = b.len < most ? b.len : most;

    while (n < b.len && n > 0 && (b.data[n] & 0xc0) == 0x80) {
        n--;
    }
    return apr_pstrmemdup(p, (const char *)b.data, n);
}

static void put_body(mdm_wbout_t *o, const mdm_eas_mailbox_t *box, const wish_t *wish)
{
    mdm_blob_t whole = body_of(box->note, box->version < 120 ? PLAIN : wish->type);
    const char *text = cut(o->pool, whole, wish->most);
    int truncated = strlen(text) < whole.len;

    if (box->version < 120) {
        mdm_wbxml_put_int(o, MDM_WB_EM_BodySize, (apr_int64_t)whole.len);
        mdm_wbxml_put_int(o, MDM_WB_EM_BodyTruncated, truncated);
        mdm_wbxml_put(o, MDM_WB_EM_Body, text);
        return;
    }
    mdm_wbxml_open(o, MDM_WB_AB_Body);
    mdm_wbxml_put_int(o, MDM_WB_AB_Type, wish->type);
    mdm_wbxml_put_int(o, MDM_WB_AB_EstimatedDataSize, (apr_int64_t)whole.len);
    if (truncated) {
        mdm_wbxml_put_int(o, MDM_WB_AB_Truncated, 1);
    }
    mdm_wbxml_put(o, MDM_WB_AB_Data, text);
    mdm_wbxml_close(o);
}

/* The properties of the message, as ApplicationData and Properties hold them. */
static void put_message(mdm_wbout_t *o, const mdm_eas_mailbox_t *box, const has_t *has, const wish_t *wish)
{
    const mdm_eas_note_t *note = box->note;
    char when[APR_RFC822_DATE_LEN];
    apr_time_exp_t t;
    apr_size_t len;

    apr_time_exp_gmt(&t, apr_time_from_sec(has->at));
    apr_strftime(when, &len, sizeof(when), "%Y-%m-%dT%H:%M:%S.000Z", &t);
    mdm_wbxml_put(o, MDM_WB_EM_To, note->to);
    mdm_wbxml_put(o, MDM_WB_EM_From, note->from);
    mdm_wbxml_put(o, MDM_WB_EM_Subject, note->subject);
    mdm_wbxml_put(o, MDM_WB_EM_DateReceived, when);
    mdm_wbxml_put(o, MDM_WB_EM_DisplayTo, note->to);
    mdm_wbxml_put_int(o, MDM_WB_EM_Importance, 1);
    mdm_wbxml_put_int(o, MDM_WB_EM_Read, 0);
    put_body(o, box, wish);
    mdm_wbxml_put(o, MDM_WB_EM_MessageClass, "IPM.Note");
    mdm_wbxml_put_int(o, MDM_WB_EM_InternetCPID, 65001);
    if (box->version >= 120) {
        mdm_wbxml_put(o, MDM_WB_EM_ContentClass, "urn:content-classes:message");
        mdm_wbxml_put_int(o, MDM_WB_AB_NativeBodyType, HTML);
    }
}

/* True if id names the message that the box has for the device. */
static int is_message(const mdm_eas_mailbox_t *box, const char *id, has_t *has)
{
    memset(has, 0, sizeof(*has));
    return box->note && strncmp(id, MESSAGE, sizeof(MESSAGE) - 1) == 0 && read_id(id + sizeof(MESSAGE) - 1, &has->kind, &has->at)
           && has->kind == kind_of(box);
}

/* ---------------------------------------------------------------- Sync */

typedef struct sync_t {
    apr_pool_t *p;
    mdm_wbout_t *o;
    const mdm_eas_mailbox_t *box;
    const mdm_wbnode_t *c; /* the collection */
    wish_t wish;
    has_t has;
} sync_t;

/* What the device says of messages: a deleted one stays away. Returns how much of it there is. */
static int hear(sync_t *s, const mdm_wbnode_t *commands)
{
    const mdm_wbnode_t *n;
    int count = 0;

    for (n = commands ? commands->child : NULL; n && count < MAX_COLLECTIONS; n = n->next, count++) {
        if (n->tag == MDM_WB_AS_Delete && s->has.what == 'm'
            && strcmp(content(n, MDM_WB_AS_ServerId), message_id(s->p, &s->has)) == 0) {
            s->has.what = 'd';
        }
    }
    return count;
}

static void respond_one(sync_t *s, const mdm_wbnode_t *n)
{
    has_t has;
    int found;

    if (n->tag == MDM_WB_AS_Add) {
        mdm_wbxml_open(s->o, MDM_WB_AS_Add);
        mdm_wbxml_put(s->o, MDM_WB_AS_ClientId, mdm_wbxml_str(s->p, n, MDM_WB_AS_ClientId, KEY_MAX));
        mdm_wbxml_put_int(s->o, MDM_WB_AS_Status, 6); /* can't be stored */
        mdm_wbxml_close(s->o);
    } else if (n->tag == MDM_WB_AS_Fetch) {
        found = is_message(s->box, content(n, MDM_WB_AS_ServerId), &has);
        mdm_wbxml_open(s->o, MDM_WB_AS_Fetch);
        mdm_wbxml_put(s->o, MDM_WB_AS_ServerId, mdm_wbxml_str(s->p, n, MDM_WB_AS_ServerId, KEY_MAX));
        mdm_wbxml_put_int(s->o, MDM_WB_AS_Status, found ? 1 : 8);
        if (found) {
            mdm_wbxml_open(s->o, MDM_WB_AS_ApplicationData);
            put_message(s->o, s->box, &has, &s->wish);
            mdm_wbxml_close(s->o);
        }
        mdm_wbxml_close(s->o);
    }
}

/* Changes and deletions need no answer of their own. */
static void respond(sync_t *s, const mdm_wbnode_t *commands)
{
    const mdm_wbnode_t *n;
    int count = 0, open = 0;

    for (n = commands ? commands->child : NULL; n && count < MAX_COLLECTIONS; n = n->next, count++) {
        if (n->tag == MDM_WB_AS_Add || n->tag == MDM_WB_AS_Fetch) {
            if (!open++) {
                mdm_wbxml_open(s->o, MDM_WB_AS_Responses);
            }
            respond_one(s, n);
        }
    }
    if (open) {
        mdm_wbxml_close(s->o);
    }
}

/* The message that is in the inbox and that which should be. */
static void put_changes(sync_t *s, const has_t *old, const has_t *now)
{
    mdm_wbxml_open(s->o, MDM_WB_AS_Commands);
    if (old->what == 'm') {
        mdm_wbxml_open(s->o, MDM_WB_AS_Delete);
        mdm_wbxml_put(s->o, MDM_WB_AS_ServerId, message_id(s->p, old));
        mdm_wbxml_close(s->o);
    }
    if (now->what == 'm') {
        mdm_wbxml_open(s->o, MDM_WB_AS_Add);
        mdm_wbxml_put(s->o, MDM_WB_AS_ServerId, message_id(s->p, now));
        mdm_wbxml_open(s->o, MDM_WB_AS_ApplicationData);
        put_message(s->o, s->box, now, &s->wish);
        mdm_wbxml_close(s->o);
        mdm_wbxml_close(s->o);
    }
    mdm_wbxml_close(s->o);
}

static has_t now_has(const sync_t *s)
{
    has_t now = s->has;

    if (comes(s->box, &s->has)) {
        now.what = 'm';
        now.kind = kind_of(s->box);
        now.at = (unsigned)(s->box->now_ms / 1000);
    } else if (!s->box->note) {
        now.what = 0;
    }
    return now;
}

/* Answers one collection. Returns 0 if nothing is to be said of it. */
static int sync_collection(sync_t *s)
{
    const char *key = content(s->c, MDM_WB_AS_SyncKey);
    const mdm_wbnode_t *commands = mdm_wbxml_get(s->c, MDM_WB_AS_Commands);
    int quiet = strcmp(content(s->c, MDM_WB_AS_GetChanges), "0") == 0 && mdm_wbxml_get(s->c, MDM_WB_AS_GetChanges) != NULL;
    has_t now;
    int changed, heard;

    if (strcmp(key, "0") == 0 || !read_key(key, &s->has)) {
        put_collection(s->p, s->o, s->c, strcmp(key, "0") == 0 ? MDM_EAS_OUR_KEY : "0", strcmp(key, "0") == 0 ? 1 : 3);
        mdm_wbxml_close(s->o);
        return 1;
    }
    heard = hear(s, commands);
    now = quiet ? s->has : now_has(s);
    changed = now.what != s->has.what || now.kind != s->has.kind;
    if (!changed && !heard && s->box->version >= 121) {
        return 0;
    }
    put_collection(s->p, s->o, s->c, changed || heard ? write_key(s->p, &now) : key, 1);
    respond(s, commands);
    if (changed) {
        put_changes(s, &s->has, &now);
    }
    mdm_wbxml_close(s->o);
    return 1;
}

mdm_blob_t mdm_eas_sync_answer(apr_pool_t *p, const mdm_wbnode_t *root, const mdm_eas_mailbox_t *box)
{
    const mdm_wbnode_t *list = mdm_wbxml_get(root, MDM_WB_AS_Collections), *n;
    int said = 0, count = 0;
    mdm_wbout_t o;

    if (!list) {
        return only_status(p, MDM_WB_AS_Sync, MDM_WB_AS_Status, 13);
    }
    mdm_wbxml_begin(&o, p);
    mdm_wbxml_open(&o, MDM_WB_AS_Sync);
    mdm_wbxml_open(&o, MDM_WB_AS_Collections);
    for (n = list->child; n && count < MAX_COLLECTIONS; n = n->next, count++) {
        sync_t s = {.p = p, .o = &o, .box = box, .c = n, .wish = wish_of(mdm_wbxml_get(n, MDM_WB_AS_Options))};

        if (!is_inbox(n, MDM_WB_AS_CollectionId)) { /* there is none of that name any more */
            return only_status(p, MDM_WB_AS_Sync, MDM_WB_AS_Status, 12);
        }
        said |= sync_collection(&s);
    }
    return said ? mdm_wbxml_end(&o) : (mdm_blob_t){(const unsigned char *)"", 0};
}

/* ---------------------------------------------------------------- ItemOperations */

static void put_item(mdm_wbout_t *o, const mdm_wbnode_t *n, const mdm_eas_mailbox_t *box)
{
    apr_pool_t *p = o->pool;
    wish_t wish = wish_of(mdm_wbxml_get(n, MDM_WB_IO_Options));
    int found;
    has_t has;

    found = n->tag == MDM_WB_IO_Fetch && is_message(box, content(n, MDM_WB_AS_ServerId), &has);
    mdm_wbxml_open(o, n->tag);
    mdm_wbxml_put_int(o, MDM_WB_IO_Status, found ? 1 : n->tag == MDM_WB_IO_Fetch ? 6 : 3); /* there is none; refused */
    mdm_wbxml_put(o, MDM_WB_AS_CollectionId, mdm_wbxml_str(p, n, MDM_WB_AS_CollectionId, KEY_MAX));
    mdm_wbxml_put(o, MDM_WB_AS_ServerId, mdm_wbxml_str(p, n, MDM_WB_AS_ServerId, KEY_MAX));
    if (found) {
        mdm_wbxml_put(o, MDM_WB_AS_Class, "Email");
        mdm_wbxml_open(o, MDM_WB_IO_Properties);
        put_message(o, box, &has, &wish);
        mdm_wbxml_close(o);
    }
    mdm_wbxml_close(o);
}

mdm_blob_t mdm_eas_items_answer(apr_pool_t *p, const mdm_wbnode_t *root, const mdm_eas_mailbox_t *box)
{
    const mdm_wbnode_t *n;
    int count = 0;
    mdm_wbout_t o;

    mdm_wbxml_begin(&o, p);
    mdm_wbxml_open(&o, MDM_WB_IO_ItemOperations);
    mdm_wbxml_put_int(&o, MDM_WB_IO_Status, 1);
    mdm_wbxml_open(&o, MDM_WB_IO_Response);
    for (n = root ? root->child : NULL; n && count < MAX_COLLECTIONS; n = n->next, count++) {
        if (n->tag >> 8 == MDM_WB_IO_Fetch >> 8) {
            put_item(&o, n, box);
        }
    }
    return mdm_wbxml_end(&o);
}
