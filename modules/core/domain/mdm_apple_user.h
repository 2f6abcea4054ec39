/* Owns the user channels of Apple devices: macOS users and those of a Shared iPad. A channel is a source record of its own (kind "mdm",
 * class "user:<user>", native id "<device>:<user>") with its own push token and queue; it lives as long as the device's record does. */
#ifndef MDM_APPLE_USER_H
#define MDM_APPLE_USER_H

#include "domain/mdm_apple_priv.h"

#define MDM_APPLE_MAX_USERS 64 /* live channels of a device: the one that was silent longest makes room */

/* What a TokenUpdate brings, device or user. */
typedef struct mdm_apple_token_t {
    const char *topic, *magic, *token; /* token: hex */
    apr_int64_t awaiting;
} mdm_apple_token_t;

/* The user that a message speaks for, and the channel's native id; *user is NULL if it is the device that speaks. A Shared iPad sends
 * one UserID for all: its short name then is the user. */
apr_status_t mdm_apple_user(mdm_ctx_t *ctx, const mdm_plist_t *msg, const char *device_native, const char **user,
                            const char **native);
/* TokenUpdate of a user of the device's record: makes the channel, or renews its token. In no transaction. MDM_EDENIED: the device is
 * not (or no longer) enrolled. *wake: commands wait. *news: something changed. */
apr_status_t mdm_apple_user_token(mdm_db_t *db, const char *record_id, const char *device_id, const char *user, const char *native,
                                  const mdm_plist_t *msg, const mdm_apple_token_t *token, int *news, int *wake);
/* CheckOut of a user: that channel ends. APR_SUCCESS, too, if there is none. In no transaction. */
apr_status_t mdm_apple_user_leave(mdm_db_t *db, const char *device_id, const char *native);
/* The user of a record of this class; NULL if it is no channel of a user. Part of the text. */
const char *mdm_apple_user_name(const char *class);
/* The live channels of a device for people: [{"id", "user", "short_name", "long_name", "push_ok", "waiting", "first_seen_at", "last_seen_at",
 * "profiles": [{"identifier", "name"}] as it said last, or null}]. New reference. */
apr_status_t mdm_apple_users_json(mdm_db_t *db, const char *device_id, json_t **out);
/* All channels of a device end with its own. In a transaction. */
apr_status_t mdm_apple_users_end(mdm_db_t *db, const char *device_id);

#endif
