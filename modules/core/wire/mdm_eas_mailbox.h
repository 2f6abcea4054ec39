/* Owns the mailbox of a device without mail (GATE-02, PRV-05): an account that works, with an empty inbox, or one message in it that says why.
 * What a device has of it stands in our keys and ids alone, nothing is remembered of it here. A back end does not know them: a device that may have
 * its mail now is told to load its folders anew. */
#ifndef MDM_EAS_MAILBOX_H
#define MDM_EAS_MAILBOX_H

#include "wire/mdm_eas_doc.h"

#define MDM_EAS_OUR_KEY "MDMQ-1" /* the SyncKey of our folder list, and of our inbox while it is empty */
#define MDM_EAS_OUR_INBOX "MDMQ-inbox"

/* The one message; NULL where there is none. */
typedef struct mdm_eas_note_t {
    int kind;                             /* 0 to 25: which of our messages; another one takes its place */
    const char *from, *to;                /* as they stand in a header */
    const char *subject, *text, *html;    /* UTF-8 */
    mdm_blob_t mime;                      /* the same as a whole message */
} mdm_eas_note_t;

/* The same for all answers. */
typedef struct mdm_eas_mailbox_t {
    const mdm_eas_note_t *note;
    const char *inbox;  /* the folder's name */
    int version;        /* of the protocol */
    apr_int64_t now_ms; /* when a message comes in */
} mdm_eas_mailbox_t;

/* True if a FolderSync, Sync or Ping request carries a key or folder of ours. */
int mdm_eas_key_is_ours(mdm_eas_cmd_e cmd, const mdm_wbnode_t *root);
/* Answers such a request of a device that may have its mail: all folders are to be loaded anew. */
mdm_blob_t mdm_eas_left_answer(apr_pool_t *p, mdm_eas_cmd_e cmd, const mdm_wbnode_t *root);

mdm_blob_t mdm_eas_folders_answer(apr_pool_t *p, const mdm_wbnode_t *root, const mdm_eas_mailbox_t *box);
/* An empty blob: nothing is to be said, the device may wait as long as it likes. root NULL: the device wants its last request to be known. */
mdm_blob_t mdm_eas_sync_answer(apr_pool_t *p, const mdm_wbnode_t *root, const mdm_eas_mailbox_t *box);
mdm_blob_t mdm_eas_estimate_answer(apr_pool_t *p, const mdm_wbnode_t *root, const mdm_eas_mailbox_t *box);
mdm_blob_t mdm_eas_items_answer(apr_pool_t *p, const mdm_wbnode_t *root, const mdm_eas_mailbox_t *box);
/* Nothing can be moved. */
mdm_blob_t mdm_eas_move_answer(apr_pool_t *p, const mdm_wbnode_t *root);
/* Ping: a status (and the limit for status 5). */
mdm_blob_t mdm_eas_ping_answer(apr_pool_t *p, int status, int heartbeat);
/* What is wrong with a Ping as it came, as a status: 3 nothing in it, 7 other folders than ours; 0: it may wait. */
int mdm_eas_ping_fault(const mdm_wbnode_t *root);

#endif
