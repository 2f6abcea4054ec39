/* Owns ActiveSync documents that the gate reads and answers itself: status answers, Provision, device information, peeks. */
#ifndef MDM_EAS_DOC_H
#define MDM_EAS_DOC_H

#include "wire/mdm_eas_query.h"
#include "wire/mdm_wbxml.h"

/* Status values that the gate sends; below 14.0 the HTTP code of the same meaning. */
enum {
    MDM_EAS_ST_OK = 1, MDM_EAS_ST_BAD_WBXML = 102, MDM_EAS_ST_NO_DEVICE_ID = 108, MDM_EAS_ST_NO_DEVICE_TYPE = 109,
    MDM_EAS_ST_ERROR = 110, MDM_EAS_ST_RETRY = 111, MDM_EAS_ST_USER_DISABLED = 126, MDM_EAS_ST_DEVICE_BLOCKED = 129,
    MDM_EAS_ST_DENIED = 130, MDM_EAS_ST_NO_COMMAND = 137, MDM_EAS_ST_NO_VERSION = 138, MDM_EAS_ST_NOT_FULLY = 139,
    MDM_EAS_ST_WIPE = 140, MDM_EAS_ST_LEGACY = 141, MDM_EAS_ST_NOT_PROVISIONED = 142, MDM_EAS_ST_POLICY_REFRESH = 143,
    MDM_EAS_ST_BAD_KEY = 144, MDM_EAS_ST_MANAGED_ELSEWHERE = 145, MDM_EAS_ST_INFO_NEEDED = 165, MDM_EAS_ST_TOO_MANY_DEVICES = 177
};

/* An answer to a device. line is set where httpd has no words for the code; body.len 0: no Content-Type. */
typedef struct mdm_eas_answer_t {
    int http;
    const char *line; /* "449 Retry after sending a PROVISION command", or NULL */
    mdm_blob_t body;
} mdm_eas_answer_t;

/* The HTTP code that stands for a status up to 12.1: 400 for a status that is not in the table. */
int mdm_eas_status_http(int status, int has_key);
/* Root and Status in the body from 14.0, the HTTP code before, and for commands that have no document. */
void mdm_eas_status_answer(apr_pool_t *p, const mdm_eas_query_t *q, int status, mdm_eas_answer_t *out);
/* Status below the root of a back end's answer to cmd, from its first bytes; -1: none. A cut document is fine. */
int mdm_eas_status_peek(mdm_eas_cmd_e cmd, const void *buf, apr_size_t len);

/* ---- device information (PRV-04) ---- */

/* Clean UTF-8; NULL: not sent. */
typedef struct mdm_eas_info_t {
    const char *model, *imei, *friendly_name, *os, *os_language, *phone_number, *user_agent, *operator_name;
} mdm_eas_info_t;

/* The DeviceInformation{Set} below a Settings or Provision document; NULL: there is none. */
const mdm_eas_info_t *mdm_eas_info_read(apr_pool_t *p, const mdm_wbnode_t *root);
/* True if a Settings document asks for anything else too. */
int mdm_eas_settings_has_more(const mdm_wbnode_t *root);
/* Our own answer to Settings: information is taken, everything else denied, in the order of the request. */
mdm_blob_t mdm_eas_settings_answer(apr_pool_t *p, const mdm_wbnode_t *root);

/* ---- policy document (PRV-01, PRV-02) ---- */

typedef enum {
    MDM_EAS_RULE_OR, MDM_EAS_RULE_AND, MDM_EAS_RULE_MAX, MDM_EAS_RULE_MIN,
    MDM_EAS_RULE_MIN_POSITIVE, /* 0 means no limit */
    MDM_EAS_RULE_MIN_FROM_0,   /* negative means no limit */
    MDM_EAS_RULE_CIPHER,       /* RequireEncryptionSMIMEAlgorithm: 0, then 2, then the others */
    MDM_EAS_RULE_BACK_END      /* the back end's value or none */
} mdm_eas_rule_e;

enum { MDM_EAS_UNSET_EMPTY = -1000, MDM_EAS_UNSET_OMIT = -1001 };

/* One setting of EASProvisionDoc. */
typedef struct mdm_eas_setting_t {
    const char *name; /* of the element */
    int tag;
    int since; /* protocol version */
    apr_int64_t min, max;
    int unset; /* what is written for an unset one: a number, an empty tag, nothing */
    mdm_eas_rule_e rule;
    int password; /* counts only with DevicePasswordEnabled */
} mdm_eas_setting_t;

enum { MDM_EAS_SETTING_COUNT = 40 };
extern const mdm_eas_setting_t mdm_eas_settings[MDM_EAS_SETTING_COUNT];

typedef struct mdm_eas_strings_t {
    unsigned count;
    const char **item;
} mdm_eas_strings_t;

typedef struct mdm_eas_policy_t {
    unsigned char set[MDM_EAS_SETTING_COUNT];
    apr_int64_t value[MDM_EAS_SETTING_COUNT];
    mdm_eas_strings_t unapproved; /* names of built-in applications that must not run */
    mdm_eas_strings_t approved;   /* SHA-1 in base64 of the only ones that may; none: all may */
} mdm_eas_policy_t;

/* The row of an element by its name; NULL if it is none of them. */
const mdm_eas_setting_t *mdm_eas_setting_named(const char *name);
/* Index of a tag in the table; -1 if it is none of them. */
int mdm_eas_setting_index(int tag);
/* True if value is possible for the tag: it is set then. */
int mdm_eas_policy_set(mdm_eas_policy_t *policy, int tag, apr_int64_t value);
/* Reads an EASProvisionDoc; unknown elements and impossible values are left out, too large ones become the largest. */
void mdm_eas_policy_read(apr_pool_t *p, const mdm_wbnode_t *doc, mdm_eas_policy_t *out);
/* Writes one with all settings that the version knows. */
void mdm_eas_policy_write(mdm_wbout_t *o, const mdm_eas_policy_t *policy, int version);
/* The stricter of both, setting by setting. */
void mdm_eas_policy_merge(apr_pool_t *p, const mdm_eas_policy_t *ours, const mdm_eas_policy_t *back_end, mdm_eas_policy_t *out);

/* ---- Provision ---- */

#define MDM_EAS_POLICY_TYPE "MS-EAS-Provisioning-WBXML"

typedef enum { MDM_EAS_PROV_ASK, MDM_EAS_PROV_ACK, MDM_EAS_PROV_WIPE_ACK, MDM_EAS_PROV_ACCOUNT_WIPE_ACK } mdm_eas_prov_e;

/* What a device says; an empty request asks. */
typedef struct mdm_eas_provision_t {
    mdm_eas_prov_e kind;
    const char *policy_type; /* NULL: none named */
    mdm_eas_key_e key;
    apr_uint32_t policy_key;
    int status; /* of an acknowledgement: 1 applied, 2 partly, 3 not, 4 managed elsewhere; wipe: 1 done, 2 failed; 0: none or other */
    const mdm_eas_info_t *info;
} mdm_eas_provision_t;

apr_status_t mdm_eas_provision_read(mdm_ctx_t *ctx, const void *buf, apr_size_t len, mdm_eas_provision_t *out);

/* What a back end says. */
typedef struct mdm_eas_provided_t {
    int status, policy_status; /* 0: none */
    mdm_eas_key_e key;
    apr_uint32_t policy_key;
    int wipe, account_wipe;
    const mdm_wbnode_t *doc; /* EASProvisionDoc; NULL: none */
} mdm_eas_provided_t;

apr_status_t mdm_eas_provided_read(mdm_ctx_t *ctx, const void *buf, apr_size_t len, mdm_eas_provided_t *out);

/* Answers: a policy with its temporary key; the final key; a refusal (policy status 2 to 5); a wipe (account only, or all). */
mdm_blob_t mdm_eas_provision_offer(apr_pool_t *p, const mdm_eas_policy_t *policy, int version, apr_uint32_t key, int has_info);
mdm_blob_t mdm_eas_provision_final(apr_pool_t *p, apr_uint32_t key);
mdm_blob_t mdm_eas_provision_refuse(apr_pool_t *p, int policy_status);
mdm_blob_t mdm_eas_provision_wipe(apr_pool_t *p, int account_only);
mdm_blob_t mdm_eas_provision_wiped(apr_pool_t *p, int done, int account_only);
/* Requests to a back end in the device's name: step 1 (information from 14.1 on; NULL: none), step 2. */
mdm_blob_t mdm_eas_provision_ask(apr_pool_t *p, const mdm_eas_info_t *info);
mdm_blob_t mdm_eas_provision_ack(apr_pool_t *p, apr_uint32_t key, int status);

/* ---- how long a request wants to wait ---- */

/* A tap for Ping and Sync bodies of any size, pushed as they pass. */
typedef struct mdm_eas_hold_t {
    mdm_wbxml_t wbxml;
    int depth, tag;  /* the tag whose text is read */
    char text[16];
    unsigned used;
    int seconds;     /* wanted; 0: not said (yet), the server has it from an earlier request */
    unsigned folders; /* of a Ping */
} mdm_eas_hold_t;

void mdm_eas_hold_init(mdm_eas_hold_t *h);
/* Never fails: what can't be read says nothing. */
void mdm_eas_hold_push(mdm_eas_hold_t *h, const void *data, apr_size_t len);

#endif
