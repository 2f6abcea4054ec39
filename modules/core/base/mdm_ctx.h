/* Owns the call context: what every function of the library may rely on and nothing global. */
#ifndef MDM_CTX_H
#define MDM_CTX_H

#include <apr_pools.h>
#include <apr_time.h>
#include "base/mdm_error.h"

typedef struct mdm_db_t mdm_db_t;           /* one borrowed database connection, see db/mdm_db.h */
typedef struct mdm_dbpool_t mdm_dbpool_t;   /* where connections come from, injected */
typedef struct mdm_keyring_t mdm_keyring_t; /* sealing keys, see base/mdm_seal.h */
typedef struct mdm_ldap_gate_t mdm_ldap_gate_t; /* the way to directories, see domain/mdm_ldap_gate.h */

/* Log levels have syslog's and httpd's numbers. */
enum { MDM_LOG_ERR = 3, MDM_LOG_WARN = 4, MDM_LOG_NOTICE = 5, MDM_LOG_INFO = 6, MDM_LOG_DEBUG = 7, MDM_LOG_TRACE = 8 };

/* Where log lines go. In httpd the baton is a request_rec or server_rec, in tools stderr. */
typedef struct mdm_logsink_t {
    int (*enabled)(void *baton, int level);
    void (*write)(void *baton, int level, const char *id, apr_status_t rv, const char *text);
} mdm_logsink_t;

/* Process-wide services that the library needs; const after start, outlives every context. */
typedef struct mdm_env_t {
    const mdm_dbpool_t *dbpool; /* NULL: no database in this process (pure tests) */
    const mdm_keyring_t *keys;  /* NULL: sealing refuses with MDM_EUNAVAIL */
    mdm_ldap_gate_t *ldap_gate; /* NULL: directories are asked without limits of this process */
    apr_time_t (*clock)(void *baton); /* NULL: apr_time_now(); microseconds since 1970 */
    void *clock_baton;
    /* After a transaction with change rows has committed: drop these keys from this node's cache now. May be NULL. */
    void (*changed)(void *baton, const char *kind, const char *key);
    void *changed_baton;
    /* The last contact of a source record that this node has noted, written to the database or not yet; 0 = none. May be NULL. */
    apr_int64_t (*contact)(void *baton, const char *record_id);
    void *contact_baton;
    int outbound_local; /* MDMOutboundLocal: services that administrators name may have addresses of this host (SEC-08) */
} mdm_env_t;

/* Who acts: written into audit rows. All strings live in the context's pool, never NULL. */
typedef struct mdm_actor_t {
    const char *kind; /* "admin", "person", "device", "token", "system" */
    const char *id;   /* uuid or "" */
    const char *name; /* log-in or "" */
    const char *ip;   /* effective client address or "" */
    const char *request_id;
    const char *rights; /* an administrator's role.rights; "" = none. Tools ("system") need none */
    const char *limit;  /* admin id whose folders (admin_folder) bound which devices are seen and acted on; "" = all devices */
} mdm_actor_t;

/* One call (request, job item, command of a tool). One thread at a time. */
typedef struct mdm_ctx_t {
    apr_pool_t *pool; /* results and scratch: both live as long as the call */
    const mdm_env_t *env;
    const mdm_logsink_t *log; /* may be NULL: silent */
    void *log_baton;
    mdm_actor_t actor;
    /* Set by mdm_fail(): the field at fault ("" if none) and a sentence that says what to do. */
    const char *fail_field;
    const char *fail_text;
    int retry_after; /* seconds to announce with MDM_EUNAVAIL / MDM_ETHROTTLED; 0 = default */
} mdm_ctx_t;

/* Makes a context in pool p with actor "system". env must outlive it. */
mdm_ctx_t *mdm_ctx_make(apr_pool_t *p, const mdm_env_t *env, const mdm_logsink_t *log, void *log_baton);

/* A shallow copy of ctx whose pool is a new sub-pool: for loops that must not pile memory up.
 * Destroy with apr_pool_destroy(sub->pool). */
mdm_ctx_t *mdm_ctx_sub(const mdm_ctx_t *ctx);

/* Milliseconds since 1970 by the injected clock. Every time in the database has this form. */
apr_int64_t mdm_now_ms(const mdm_ctx_t *ctx);

/* Records why a call fails (field may be NULL) and returns rv, so that
 *     return mdm_fail(ctx, MDM_EINPUT, "name", "must not be empty");
 * is the one way to refuse something. Text is for people: no secrets, no row values of others. */
apr_status_t mdm_fail(mdm_ctx_t *ctx, apr_status_t rv, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
#ifdef __clang_analyzer__ /* does not see from outside that the answer is rv, so that a refusal is never a success */
#define mdm_fail(ctx, rv, ...) ((void)mdm_fail(ctx, rv, __VA_ARGS__), (rv))
#endif

/* Log with a unique id "MDMnnnn" (docs/messages.md lists cause and cure). Control characters of the
 * finished line are escaped, and it is cut at 2,000 bytes. Never pass secrets. */
void mdm_log(const mdm_ctx_t *ctx, int level, const char *id, apr_status_t rv, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* True if a line of this level would be written: ask before building costly arguments. */
int mdm_log_enabled(const mdm_ctx_t *ctx, int level);

/* A sink that writes lines to stderr, for tools and tests; baton: (void *)(intptr_t) highest level. */
extern const mdm_logsink_t mdm_log_stderr;

#endif
