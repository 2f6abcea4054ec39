/* Owns what an ActiveSync request line says: both query forms become one canonical record, and back; Basic credentials. */
#ifndef MDM_EAS_QUERY_H
#define MDM_EAS_QUERY_H

#include "base/mdm_text.h"

#define MDM_EAS_QUERY_MAX 8192    /* bytes of a query string */
#define MDM_EAS_DEVICE_ID_MAX 64  /* characters of a DeviceId; the protocol says 32 */
#define MDM_EAS_POLICY_KEY_MAX 64 /* characters of an X-MS-PolicyKey */

/* Command codes of the base64 form. 5 to 8 belong to protocol 2.5 and exist by name only. */
typedef enum {
    MDM_EAS_OPTIONS = -1, /* an OPTIONS request, which has no command */
    MDM_EAS_SYNC = 0, MDM_EAS_SEND_MAIL, MDM_EAS_SMART_FORWARD, MDM_EAS_SMART_REPLY, MDM_EAS_GET_ATTACHMENT,
    MDM_EAS_GET_HIERARCHY, MDM_EAS_CREATE_COLLECTION, MDM_EAS_DELETE_COLLECTION, MDM_EAS_MOVE_COLLECTION,
    MDM_EAS_FOLDER_SYNC, MDM_EAS_FOLDER_CREATE, MDM_EAS_FOLDER_DELETE, MDM_EAS_FOLDER_UPDATE, MDM_EAS_MOVE_ITEMS,
    MDM_EAS_GET_ITEM_ESTIMATE, MDM_EAS_MEETING_RESPONSE, MDM_EAS_SEARCH, MDM_EAS_SETTINGS, MDM_EAS_PING,
    MDM_EAS_ITEM_OPERATIONS, MDM_EAS_PROVISION, MDM_EAS_RESOLVE_RECIPIENTS, MDM_EAS_VALIDATE_CERT, MDM_EAS_FIND,
    MDM_EAS_CMD_COUNT
} mdm_eas_cmd_e;

typedef enum { MDM_EAS_FORM_SAME, MDM_EAS_FORM_PLAIN, MDM_EAS_FORM_BASE64 } mdm_eas_form_e;

typedef enum {
    MDM_EAS_KEY_NONE,   /* none was sent */
    MDM_EAS_KEY_GIVEN,  /* policy_key holds it */
    MDM_EAS_KEY_FOREIGN /* something that can't be a key of ours; policy_key is 0 */
} mdm_eas_key_e;

/* What a request brings. NULL: the header is absent, the request has no query. */
typedef struct mdm_eas_input_t {
    int options;            /* the method is OPTIONS: everything is optional then */
    const char *query;      /* as received, not decoded */
    const char *version;    /* MS-ASProtocolVersion */
    const char *policy_key; /* X-MS-PolicyKey */
    const char *multipart;  /* MS-ASAcceptMultiPart */
} mdm_eas_input_t;

/* Requests with equal content in either form differ in form, locale and device_id_sent only (R45). */
typedef struct mdm_eas_query_t {
    mdm_eas_form_e form;    /* PLAIN or BASE64 */
    mdm_eas_cmd_e cmd;
    int version;            /* 25, 120, 121, 140, 141, 160, 161; 0 only with OPTIONS */
    unsigned locale;        /* base64 form: MS-LCID; else 0 */
    const char *device_id;  /* canonical: upper-case; 16 raw bytes as hex. "" only with OPTIONS */
    mdm_blob_t device_id_sent;
    const char *device_type; /* printable UTF-8; "" only with OPTIONS */
    mdm_eas_key_e key;
    apr_uint32_t policy_key;
    const char *user;       /* UTF-8, for logs and comparison only: the log-in decides. NULL: not sent */
    int save_in_sent;
    int multipart;
    /* Parameters of single commands, bytes as decoded; NULL: not sent. */
    const char *attachment_name, *collection_id, *item_id, *long_id, *occurrence;
} mdm_eas_query_t;

/* How the query goes to the back end. */
typedef struct mdm_eas_rebuild_t {
    mdm_eas_form_e form;     /* SAME: as the client's */
    const char *user;        /* instead of the client's; NULL: the client's */
    int has_key;             /* send policy_key; 0: send none */
    apr_uint32_t policy_key;
} mdm_eas_rebuild_t;

/* Headers are NULL where the form does not have them: remove them from the request then. */
typedef struct mdm_eas_line_t {
    const char *query;
    const char *version, *policy_key, *multipart;
} mdm_eas_line_t;

/* Reads query and headers into ctx->pool. MDM_EINPUT (fail_field is the parameter's name, "query" for the whole) for what is malformed,
 * too long, unknown as a command or version, there twice, or contradicts itself; *out is NULL then. Unknown parameters are ignored. */
apr_status_t mdm_eas_query_parse(mdm_ctx_t *ctx, const mdm_eas_input_t *in, mdm_eas_query_t **out);

/* Writes the request line's query from the parsed parts and nothing else (R44): fixed order, one spelling.
 * MDM_EINPUT if the wanted form can't carry the content (base64: version before 12.1, a value over 255 bytes). */
apr_status_t mdm_eas_query_build(mdm_ctx_t *ctx, const mdm_eas_query_t *q, const mdm_eas_rebuild_t *how, mdm_eas_line_t *out);

/* True if path is the one path of the protocol, in any case of letters, with or without "/" or "/default.eas" behind it. */
int mdm_eas_path_ok(const char *path);

/* Name of a command ("Sync"), "OPTIONS", or NULL. And back, ignoring case: MDM_EAS_CMD_COUNT if there is none. */
const char *mdm_eas_cmd_name(int cmd);
mdm_eas_cmd_e mdm_eas_cmd_by_name(const char *name);
/* "14.1" to 141 and back; 0 and NULL for versions that don't exist. */
int mdm_eas_version_number(const char *text);
const char *mdm_eas_version_text(int version);

/* Log-in of a Basic credential. */
typedef struct mdm_basic_t {
    const char *login;    /* as typed, UTF-8 */
    const char *name;     /* without DOMAIN\ or DOMAIN/ and without @domain */
    const char *domain;   /* "" if none */
    int is_mail;          /* name@domain */
    const char *password; /* never empty; the caller wipes it after use */
} mdm_basic_t;

/* Reads an Authorization header: UTF-8, or Windows-1252 if it is not UTF-8; split at the first colon. MDM_EAUTH for another scheme, bad
 * base64, over 1,024 bytes, control characters in the log-in, NUL, an empty name or an empty password. */
apr_status_t mdm_basic_parse(mdm_ctx_t *ctx, const char *header, mdm_basic_t *out);

#endif
