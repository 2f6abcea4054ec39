/* Owns what can be done to an Apple device now, and why the rest can't (DEV-07): one pure table over what is known of the device. Who offers
 * actions (console, quick tasks) and who takes orders asks the same table. */
#ifndef MDM_ACTION_H
#define MDM_ACTION_H

#include <jansson.h>
#include "db/mdm_db.h"

/* What applicability depends on. */
typedef struct mdm_action_facts_t {
    const char *device_id, *name, *state, *os_version; /* of the device object */
    const char *record_id, *record_state;              /* NULL: no live Apple record */
    int supervised;      /* 1, 0; −1 unknown */
    int user_enrolled;   /* Apple's user enrolment: the server may do less */
    int lost;            /* in lost mode, as the device said last */
    int unlock;          /* we have its unlock token */
    const char *model, *serial, *platform, *login, *person, *mail; /* for names made of them; may be NULL */
    const char *leaving; /* state of the removal or wipe that is pending by Apple's channel; NULL = none */
    const char *mail_state; /* of its mail clients: "leaving", else "enrolled"; NULL: it has none */
    int mail_fetched;    /* a mail client has been told to wipe, and has not acknowledged it */
} mdm_action_facts_t;
/* APR_NOTFOUND: no such device. */
apr_status_t mdm_action_facts(mdm_db_t *db, const char *device_id, mdm_action_facts_t **out);
/* Of those devices in a JSON list of ids that there are, in no order. */
apr_status_t mdm_action_facts_of(mdm_db_t *db, json_t *ids, apr_array_header_t **out /* of mdm_action_facts_t */);

typedef struct mdm_action_t {
    const char *name;    /* "lock", "wipe", … */
    const char *command; /* the command it becomes; NULL: done by another call */
    unsigned needs;
    const char *min_os;  /* NULL: any */
    const char *after;   /* what is asked of the device when it has done it; NULL: nothing */
} mdm_action_t;
/* The table, ends with name == NULL. */
extern const mdm_action_t mdm_actions[];
/* The row of this name, NULL if there is none. */
const mdm_action_t *mdm_action_named(const char *name);
/* True if this command puts something onto the device or takes it off, or sets it: who may only help (device:task) may not. */
int mdm_action_changes(const char *request_type);
/* Pure. NULL: it applies; else a word for programs, and *why = a sentence for people. */
const char *mdm_action_refused(const mdm_action_t *action, const mdm_action_facts_t *facts, const char **why);
/* The sentence of such a word; NULL: there is no such word. */
const char *mdm_action_why(const char *reason);
/* All of them for one device: [{"action", "command", "applies", "reason", "why", "keys"}]. New reference. */
apr_status_t mdm_action_json(mdm_db_t *db, const char *device_id, json_t **out);

typedef struct mdm_action_order_t {
    const char *device_id, *request_type;
    const char *record_id;  /* a channel of one of its users instead of the device (IOS-01); NULL: the device */
    json_t *payload;        /* borrowed; may be NULL */
    int raw;                /* IOS-12: any type and keys; only who may is asked before */
    const char *task_id;    /* quick task, may be NULL */
    const char *reason;     /* why, kept in the audit; NULL or "": not said */
    apr_int64_t expires_ms; /* 0 = never */
    apr_int64_t wake_after_ms; /* the device is woken so much later; 0 = now */
} mdm_action_order_t;
/* Queues a command that an administrator ordered, and the question that shows what came of it. Audited: names of keys, no values. MDM_ECONFLICT
 * with the sentence if it does not apply; leaving is no command (mdm_unenroll_apple). APR_NOTFOUND: no such device, or it has no such user.
 * MDM_EINPUT: users' channels don't take it. In a transaction. */
apr_status_t mdm_action_order(mdm_db_t *db, const mdm_action_order_t *order, const char **id);

#endif
