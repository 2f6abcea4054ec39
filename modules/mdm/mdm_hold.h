/* Between mdm_hold.c (connections and the MPM) and mdm_slots.c (what the watcher knows of them). */
#ifndef MDM_HOLD_H
#define MDM_HOLD_H

#include "mdm_private.h"

#define MDM_HOLD_IO apr_time_from_sec(60) /* for a client to take or send its bytes, whatever TimeOut is */

typedef struct mdm_slot_t mdm_slot_t;

apr_status_t mdm_slots_child(apr_pool_t *p);
/* The process ends gracefully: long polls are ended over MDMEasDrain, kept connections at once. */
void mdm_slots_drain(void);
/* Joins the watcher. */
void mdm_slots_stop(void);
/* False if this node holds as many as it may. */
int mdm_slots_room(void);

/* A free one with its eventfd; NULL: no descriptor. */
mdm_slot_t *mdm_slot_get(void);
void mdm_slot_free(mdm_slot_t *s);
int mdm_slot_fd(const mdm_slot_t *s);
/* From now on its eventfd becomes readable when the hold ends. born: when the request was judged; a change since wakes at once. */
void mdm_slot_start(mdm_slot_t *s, const mdm_hold_t *h, int client, apr_uint64_t born);
/* A kept connection: the client's receiving end is shut after this time. */
void mdm_slot_keep(mdm_slot_t *s, int client, apr_interval_time_t wait);
/* Ends either, whatever happened; afterwards nobody touches the descriptors. */
void mdm_slot_stop(mdm_slot_t *s);
mdm_woke_e mdm_slot_why(const mdm_slot_t *s);
/* Waits in this thread until it ends, and ends it. */
mdm_woke_e mdm_slot_wait(mdm_slot_t *s);

/* How many changes this process has heard of: the age of what a request was judged by. */
apr_uint64_t mdm_slots_now(void);

#endif
