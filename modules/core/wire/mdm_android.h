/* Owns what a factory-fresh Android device reads from a QR code to become a managed one (device owner, PEN-07): the agent's package, the network to
 * fetch it by, and what the agent is told. Pure: knows no database, keeps nothing. */
#ifndef MDM_ANDROID_H
#define MDM_ANDROID_H

#include <jansson.h>
#include "base/mdm_text.h"

/* The agent that the device fetches. Texts live in ctx's pool. */
typedef struct mdm_android_agent_t {
    const char *component;   /* "org.example.agent/.AdminReceiver" */
    const char *url;         /* https, of the package */
    const char *checksum;    /* SHA-256 as base64url */
    const char *checksum_of; /* "signature": of the certificate that signed the package, which outlives its versions; "package": of the file */
    int system_apps;         /* those of the maker stay enabled */
    json_t *extras;          /* {"name": "text with ${…}"}: what the agent is told; owned by ctx's pool */
} mdm_android_agent_t;

/* Variables of extras. */
enum { MDM_ANDROID_SERVER, MDM_ANDROID_LINK, MDM_ANDROID_TOKEN, MDM_ANDROID_OTP, MDM_ANDROID_VARS };
extern const char *const mdm_android_vars[MDM_ANDROID_VARS]; /* "server.url", "enrol.link", "enrol.token", "enrol.otp" */

/* Reads and checks what an administrator says of the agent. The check sum may be given as hex, with colons or without, and as base64 of either kind.
 * Without extras they are those of our own names. MDM_EINPUT names the member. */
apr_status_t mdm_android_agent_read(mdm_ctx_t *ctx, json_t *body, mdm_android_agent_t *out);
/* As the API shows it; new reference. */
json_t *mdm_android_agent_json(const mdm_android_agent_t *agent);

/* What is asked for one code. Never kept: it may hold the password of a wireless network. */
typedef struct mdm_android_ask_t {
    const char *ssid;      /* NULL: the device is asked for its network, or uses mobile data */
    const char *security;  /* "none", "wpa", "wep" */
    const char *password;
    int hidden, mobile_data;
    const char *locale;    /* "de_DE"; NULL: the device asks */
    const char *time_zone; /* "Europe/Berlin"; NULL */
    int otp;               /* the one-time password goes into the code */
} mdm_android_ask_t;

/* {"wifi_ssid", "wifi_security", "wifi_password", "wifi_hidden", "mobile_data", "locale", "time_zone", "otp"}; MDM_EINPUT names the member. */
apr_status_t mdm_android_ask_read(mdm_ctx_t *ctx, json_t *body, mdm_android_ask_t *out);

/* The text of the code: one line of JSON in ASCII. values[i] belongs to mdm_android_vars[i]; an extra that uses one which is NULL is left out. */
apr_status_t mdm_android_owner_text(mdm_ctx_t *ctx, const mdm_android_agent_t *agent, const mdm_android_ask_t *ask,
                                    const char *const values[MDM_ANDROID_VARS], const char **out);

#endif
