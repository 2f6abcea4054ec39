/* Owns device objects as administrators see and change them: list, search, reading, editing, retiring, deleting
 * (DEV-02..04, DEV-12, DEV-13). What channels write (inventory, contacts, commands) is elsewhere. */
#ifndef MDM_DEVICE_H
#define MDM_DEVICE_H

#include <jansson.h>
#include "db/mdm_db.h"
#include "domain/mdm_page.h"

/* Most devices that a search, or a filter that is asked as a set, looks at. */
#define MDM_DEVICE_HITS 1000

typedef struct mdm_device_filter_t {
    const char *q;         /* prefix of name, serial, UDID, IMEI, ActiveSync DeviceId, log-in or name of the person; "" = all */
    const char *state, *mode, *platform, *ownership, *person; /* "" = any */
    const char *folder;    /* with all below it */
    const char *group;
    const char *node;      /* whose enrolment knows an address of this node (NOD-02) */
    const char *admin;     /* an administrator who may see the devices of his folders only; "" = whole zone */
    int lost;              /* 1: lost ones only */
    int orphan;            /* 1: those whose owner's user source was removed (USR-08) */
    const char *sort;      /* "name", "-name", "last_contact", "-last_contact" */
} mdm_device_filter_t;

/* Puts NULL fields to their defaults and refuses values that are none; the name at fault is the query parameter's. */
apr_status_t mdm_device_filter_check(mdm_ctx_t *ctx, mdm_device_filter_t *f);
/* A filter as an object that names it as the list's parameters do, flags as booleans; who asks, and the order, are no part of it. New reference. */
json_t *mdm_device_filter_json(const mdm_device_filter_t *f);
/* The same back, checked. */
apr_status_t mdm_device_filter_read(mdm_ctx_t *ctx, json_t *in, mdm_device_filter_t *f);
/* What a cursor of this list is bound to. */
const char *mdm_device_filter_sig(apr_pool_t *p, const mdm_device_filter_t *f);

typedef struct mdm_device_row_t {
    const char *id, *name, *name_key, *person_id, *person_name, *person_login; /* person_*: NULL without owner */
    const char *state, *mode, *level, *ownership, *platform, *model, *product, *serial, *os_version, *compliance;
    const char *folder_id, *folder_name;
    int test_device, worst; /* worst: severity of the worst unacknowledged message, 0 = none */
    apr_int64_t lost_ms, created_ms, enrolled_ms, last_contact_ms, last_eas_ms; /* 0 = never */
    apr_int64_t commands_open, version;
} mdm_device_row_t;

/* One page. *next is NULL at the end, else the cursor of the following page. A page may be short, even empty, with more behind it:
 * no page visits more than a bounded number of rows (PRF-09). */
apr_status_t mdm_device_list(mdm_db_t *db, const mdm_device_filter_t *f, const mdm_page_t *page,
                             apr_array_header_t **rows /* of mdm_device_row_t */, const char **next);

/* APR_NOTFOUND if the actor is limited to folders and the device is in none of them (or there is none); lists obey the limit themselves. */
apr_status_t mdm_device_within(mdm_db_t *db, const char *id);

/* All of one device as JSON members in API form (times as text); *name and *version may be NULL. New reference in *out. */
apr_status_t mdm_device_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);
/* The source records of a device with their channel's state: JSON array, no tokens or secrets. New reference. */
apr_status_t mdm_device_records(mdm_db_t *db, const char *id, json_t **out);
/* Installed apps, one page by identifier: JSON array. New reference. */
apr_status_t mdm_device_apps(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next);
/* One of the long lists of the inventory: "profiles", "certificates", "provisioning", "restrictions" ([{"name", "value"}]). New
 * reference; APR_NOTFOUND: no such device. */
apr_status_t mdm_device_section(mdm_db_t *db, const char *id, const char *section, const mdm_page_t *page, json_t **out,
                                const char **next);
/* Takes what has a list of its own, and what is kept for comparison, out of an inventory. */
void mdm_device_lists_drop(json_t *inventory);
/* The timeline, newest first. New reference. */
apr_status_t mdm_device_events(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next);

/* What may be edited; NULL and -1 = leave as it is. */
typedef struct mdm_device_edit_t {
    const char *name, *ownership, *department, *site, *location, *notes;
    int test_device;
} mdm_device_edit_t;
/* Edits under optimistic lock, audited with before and after: MDM_ESTALE if the version is not this one, APR_NOTFOUND. In a transaction. */
apr_status_t mdm_device_edit(mdm_db_t *db, const char *id, apr_int64_t version, const mdm_device_edit_t *edit);

/* Holds all live records of the device, and then itself, until the transaction ends; to be called before any of them is changed by whoever changes
 * several: one order for all (REL-06). */
apr_status_t mdm_device_hold(mdm_db_t *db, const char *id);
/* Ends management from our side without asking the device: its identities are revoked, open commands closed. In a transaction; audited.
 * Retire keeps object and history; MDM_ECONFLICT if it is retired already. */
apr_status_t mdm_device_retire(mdm_db_t *db, const char *id, const char *reason);
/* Lets the person enrol a retired device again onto this object. MDM_ECONFLICT if it is not retired, or its removal or wipe is pending. */
apr_status_t mdm_device_unretire(mdm_db_t *db, const char *id, const char *reason);
/* Deletes the object with its history, in any state. A wipe that is pending is kept with its identities and delivered if the device
 * returns; else management ends. Revoked identities stay known to the authority. */
apr_status_t mdm_device_delete(mdm_db_t *db, const char *id, const char *reason);

#endif
