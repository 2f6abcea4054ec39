/* Shared by the files of mod_mdm.so only: the state of this process and of the node. */
#ifndef MDM_PRIVATE_H
#define MDM_PRIVATE_H

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>
#include "base/mdm_seal.h"
#include "db/mdm_db.h"
#include "domain/mdm_devcache.h"
#include "domain/mdm_strangers.h"
#include "domain/mdm_logincache.h"
#include "domain/mdm_mailuse.h"
#include "mdm_services.h"

extern module __attribute__((visibility("default"))) mdm_module;
#ifndef MDM_RECORD_FILE
APLOG_USE_MODULE(mdm);
#endif

/* ---- configuration (mdm_conf.c): one row per directive */
enum {
    MDM_C_PUBLIC_URL, MDM_C_NODE_NAME, MDM_C_KEY_FILE, MDM_C_CACHE_SIZE, MDM_C_DB_TIMEOUT, MDM_C_DB_CONNECTIONS,
    MDM_C_JOB_THREADS, MDM_C_ORGANISATION, MDM_C_SIGN_MESSAGE, MDM_C_PROFILE_SERVICE, MDM_C_SCEP_LEGACY, MDM_C_TRUST_ANCHORS, MDM_C_APNS_URL,
    MDM_C_APNS_CA, MDM_C_OUTBOUND_CA, MDM_C_OUTBOUND_LOCAL, MDM_C_OUTBOUND, MDM_C_CHANGE_INTERVAL, MDM_C_MAX_HELD, MDM_C_DRAIN, MDM_C_AUDIT_DAYS, MDM_C_CORE_DUMPS,
    MDM_C_COUNT
};

typedef struct {
    const char *str[MDM_C_COUNT];
    apr_int64_t num[MDM_C_COUNT];
    unsigned set; /* bit per row: given explicitly */
} mdm_sconf_t;

typedef struct {
    const char *login;   /* MDMLogin: where somebody without a session goes */
    const char *session; /* MDMSession: "admin" or "portal" */
} mdm_dconf_t;

extern const command_rec mdm_conf_commands[];
void *mdm_conf_server(apr_pool_t *p, server_rec *s);
void *mdm_conf_server_merge(apr_pool_t *p, void *base, void *add);
void *mdm_conf_dir(apr_pool_t *p, char *dir);
void *mdm_conf_dir_merge(apr_pool_t *p, void *base, void *add);
int mdm_conf_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
const char *mdm_conf_str(server_rec *s, const char *directive);
apr_int64_t mdm_conf_int(server_rec *s, const char *directive);
const char *mdm_conf_text(int row); /* of the main server */
apr_int64_t mdm_conf_num(int row);

/* ---- node state in shared memory (mdm_shm.c); everything is changed by atomic operations only */
enum { MDM_SCHEMA_UNKNOWN, MDM_SCHEMA_FITS, MDM_SCHEMA_MISMATCH };

typedef struct {
    apr_uint64_t key, state; /* mdm_throttle.c */
} mdm_counter_t;

#define MDM_COUNTERS 16384u

typedef struct { /* what one child has just now; it counts while the child lives */
    apr_uint32_t pid, db_in_use, listening, held;
} mdm_child_t;

#define MDM_CHILDREN 1024

typedef struct { /* a Ping that other children may hold an older one of */
    unsigned char record[16];
    apr_uint32_t pid, seq; /* seq: its place, from 1; 0: being written */
} mdm_newer_t;

#define MDM_NEWER 256u
#define MDM_PINGS 65536u

typedef struct {
    unsigned char secret[16];
    apr_uint32_t away, schema;    /* breaker; schema of the database */
    apr_int64_t away_ms, probe_ms; /* since when; lease of the prober */
    apr_int64_t change_mark;      /* up to here changes have been applied to this segment */
    apr_int64_t contacts_ms, node_ms, ensure_ms; /* leases of work that one child does for all */
    apr_int64_t clock_ms;         /* the time of day less mdm_ms(), as it was a moment ago; 0: not known yet */
    apr_int64_t node_seen_ms;     /* our last row in `node`; 0 = the name is not ours */
    apr_int64_t node_rival_ms;    /* what we saw of the other holder */
    apr_uint32_t node_refused;    /* logged already */
    apr_uint32_t stewards;        /* children alive */
    apr_uint64_t db_statements, db_opened, db_refused, db_cut, db_away_times, jobs_run, jobs_failed, contacts_written,
        polls, mail_requests, notifications, listen_lost, mail_cached, mail_checked, mail_refused, mail_stale;
    apr_uint64_t tallies[MDM_N_COUNT];
    apr_uint32_t hold_told;       /* logged already that the MPM can't hold */
    apr_uint64_t woken[MDM_WOKE_COUNT];
    apr_uint16_t pings[MDM_PINGS]; /* held Pings of all children, by a part of the record's id */
    apr_uint32_t newer_pos;
    mdm_newer_t newer[MDM_NEWER];
    mdm_child_t children[MDM_CHILDREN];
    mdm_counter_t counters[MDM_COUNTERS];
    mdm_strangers_t strangers;
} mdm_shm_t;

/* Makes mdm_core's shm, cache, logins and uses. */
apr_status_t mdm_shm_make(apr_pool_t *pconf, apr_size_t cache_size);
/* This child's own figures: its place in the segment (or one beside it, if there are too many children), and giving it back. */
mdm_child_t *mdm_shm_child(void);
void mdm_shm_child_end(void);
/* All children that live, added up; pid: how many they are. */
mdm_child_t mdm_shm_children(void);
/* True for the one caller that may do something now that is due every `every_ms`. */
int mdm_shm_turn(apr_int64_t *lease, apr_int64_t every_ms);
/* Milliseconds of the clock that nobody sets (mdm_ticks): for intervals. */
apr_int64_t mdm_ms(void);
#define MDM_COUNT(field) __atomic_fetch_add(&mdm_core.shm->field, 1, __ATOMIC_RELAXED)

/* ---- process state */
typedef struct {
    server_rec *main;
    mdm_shm_t *shm;        /* NULL before post_config's second pass */
    mdm_child_t *child;    /* never NULL from child_init on */
    mdm_devcache_t *cache;
    mdm_logincache_t *logins;
    mdm_mailuse_t *uses;
    int newer_fd;          /* eventfd of all children of this generation: a Ping was announced */
    mdm_env_t env;
    mdm_dbpool_t dbpool;
    const char *holder;    /* random per server start, kept over graceful restarts */
    int no_role;           /* atomic: the MDM role was taken from this node (mdm_node.c) */
    const char *given_url; /* atomic: the address that an administrator chose for this node; NULL: the configuration's */
    int threads_up;        /* child_init has run */
    volatile int stop;     /* this child ends */
} mdm_core_t;

extern mdm_core_t mdm_core;

/* ---- contexts and services (mdm_services.c) */
/* What the library asks of this node: once per configuration, before the first context. */
void mdm_core_env_init(void);
mdm_ctx_t *mdm_core_ctx(apr_pool_t *p);
mdm_ctx_t *mdm_core_request_ctx(request_rec *r);
const mdm_services_t *mdm_core_services(void);
typedef struct { /* request_config */
    mdm_ctx_t *ctx;
    const char *caller_kind; /* session kind that was asked for; NULL: not yet */
    const mdm_caller_t *caller;
    apr_status_t caller_rv;
    apr_uint64_t born;       /* mdm_slots_now() when the request began, or was judged last */
} mdm_rconf_t;
mdm_rconf_t *mdm_core_rconf(request_rec *r);

/* Drops what a row of the change table names from this node's memory. */
void mdm_core_forget(apr_pool_t *scratch, const char *kind, const char *key);
/* Log-ins of mail clients (mdm_mailauth.c); see mdm_services.h. */
apr_status_t mdm_mailauth_login(mdm_ctx_t *ctx, const char *typed, const char *password, mdm_mail_login_t *out);

/* ---- database (mdm_dbglue.c, mdm_dbguard.c) */
apr_status_t mdm_dbglue_child(apr_pool_t *p);
int mdm_dbglue_away(void);
void mdm_dbglue_open_breaker(const char *why);
/* Touches the database although the breaker is open; closes it if all is well. */
void mdm_dbglue_probe(mdm_ctx_t *ctx);
apr_status_t mdm_dbguard_child(apr_pool_t *p);
void mdm_dbguard_begin(void *baton, mdm_conn_t *conn);
void mdm_dbguard_end(void *baton, mdm_conn_t *conn, int failed);
void mdm_dbguard_scan(void);

/* ---- background (mdm_steward.c and what it calls) */
apr_status_t mdm_steward_start(apr_pool_t *pchild);
void mdm_steward_tick(void);
void mdm_steward_stop(void);
void mdm_steward_hurry(void); /* read the changes now */
/* LISTEN (mdm_listen.c): begins with the first connection (PGconn) that the pool has made, to the same database. */
apr_status_t mdm_listen_child(apr_pool_t *p);
void mdm_listen_like(void *pg);
void mdm_listen_stop(void);
apr_status_t mdm_changes_poll(mdm_ctx_t *ctx);
apr_status_t mdm_changes_watch(const char *kind, mdm_change_fn fn);
void mdm_contacts_flush(mdm_ctx_t *ctx);
void mdm_mailuse_flush(mdm_ctx_t *ctx);
/* Once per configuration: its names, its job, what it wants to be told. */
void mdm_node_configure(apr_pool_t *pconf, server_rec *s);
/* This node has the MDM role and may reach the internet (NOD-05). */
int mdm_node_goes_out(void);
void mdm_node_seen(mdm_ctx_t *ctx);
void mdm_node_release(mdm_ctx_t *ctx);
extern const mdm_jobkind_t mdm_prune_kind, mdm_history_kind; /* mdm_prune.c */
extern const mdm_jobkind_t mdm_commands_kind, mdm_tasks_kind; /* mdm_commands.c */
extern const mdm_jobkind_t mdm_schedule_kinds[]; /* mdm_schedules.c; ends without a name */
extern const mdm_jobkind_t mdm_policy_kinds[]; /* mdm_policies.c; ends without a name */
extern const mdm_jobkind_t mdm_ldapsync_kind, mdm_login_change_kind; /* mdm_ldapsync.c */
extern const mdm_jobkind_t mdm_mail_kind, mdm_sms_kind, mdm_expiry_kind; /* mdm_mailer.c */
apr_status_t mdm_jobs_kind(const mdm_jobkind_t *kind);
apr_status_t mdm_jobs_start(apr_pool_t *pchild);
void mdm_jobs_wake(void);
void mdm_jobs_stop(void);
void mdm_jobs_ensure(mdm_ctx_t *ctx);

/* ---- held requests (mdm_hold.c); see mdm_services.h */
int mdm_hold(request_rec *r, const mdm_hold_t *h);
apr_status_t mdm_hold_at(server_rec *s);
/* Something changed: those that it touches are judged again. */
void mdm_hold_changed(const char *kind, const char *key);
void mdm_hold_filters(void);
apr_status_t mdm_hold_child(apr_pool_t *p);
void mdm_hold_register(void);
apr_uint64_t mdm_slots_now(void);
void mdm_slots_stop(void);

/* ---- throttle, who is it, status */
int mdm_throttle_check(const char *kind, const char *key);
void mdm_throttle_note(const char *kind, const char *key, int ok);
const mdm_caller_t *mdm_auth_caller(request_rec *r, const char *session_kind);
int mdm_auth_check(request_rec *r);
int mdm_status_handler(request_rec *r);
void mdm_status_register(apr_pool_t *p);

#endif
