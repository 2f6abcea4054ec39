/* Owns rows that people read later: audit, device events, messages. */
#ifndef MDM_LOG_ROWS_H
#define MDM_LOG_ROWS_H

#include <jansson.h>
#include "db/mdm_db.h"

/* Writes an audit row in the same transaction as the act (R49: the act fails if this fails). Actor, address and request id come from the
 * context. detail (borrowed, may be NULL) must hold no secrets. */
apr_status_t mdm_audit(mdm_db_t *db, const char *action, const char *object_kind, const char *object_id,
                       const char *object_name, const char *outcome, json_t *detail);

/* A refused log-in, in a transaction of its own: what was refused changed nothing. The name is masked, since people type passwords into the
 * wrong field. */
apr_status_t mdm_audit_refused(mdm_ctx_t *ctx, const char *action, const char *object_kind, const char *name);

/* One step on a device's timeline; device_id or pending_id may be NULL. detail is borrowed. */
apr_status_t mdm_device_event(mdm_db_t *db, const char *device_id, const char *pending_id, const char *kind, json_t *detail);

enum { MDM_MSG_NORMAL = 1, MDM_MSG_WARNING = 2, MDM_MSG_ERROR = 3 };
/* A message for administrators; text: by mdm_said(). The same open (object, code) is not doubled: its time and text are renewed. */
apr_status_t mdm_message(mdm_db_t *db, const char *object_kind, const char *object_id, int severity, const char *code,
                         const char *text);

/* Zone settings: small JSON values; secret ones are sealed ("zone_setting.value:<name>"). APR_NOTFOUND if unset. */
apr_status_t mdm_setting_get(mdm_db_t *db, const char *name, json_t **out);
apr_status_t mdm_setting_set(mdm_db_t *db, const char *name, json_t *value, int secret);

#endif
