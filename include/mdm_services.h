/* The one way from a feature module to the state that mod_mdm owns: a versioned table, fetched by optional function.
 * Feature modules link the httpd-free library (libmdmcore) and the stateless glue (libmdmweb) themselves. */
#ifndef MDM_SERVICES_H
#define MDM_SERVICES_H

#include <apr_optional.h>
#include <apr_pools.h>
#include "mdm_types.h"

struct request_rec;
struct server_rec;
struct mdm_ctx_t;
struct mdm_env_t;
struct mdm_job_t;
struct mdm_mailsum_t;

#define MDM_SERVICES_API 1

/* Session cookies, as mdm_web_cookie_set() and _get() take them: different, because __Host- ignores ports. */
#define MDM_COOKIE_ADMIN "mdm_admin"
#define MDM_COOKIE_PORTAL "mdm_portal"

/* One kind of background work. Registered once per server start, in post_config or optional_fn_retrieve. */
typedef struct mdm_jobkind_t {
    const char *name;         /* job.kind */
    /* Limit group: "cpu", "push", "ldap", "smtp", …: one slow class never stops another. "push", "test", "apple", "store" and "sms" go out
     * to the internet: only nodes with the MDM role and MDMOutbound On claim them (NOD-05). */
    const char *target_class;
    int lease_s;              /* longer than the longest batch */
    apr_int64_t period_ms;    /* > 0: one row with this period is kept, first run at once; 0: only when somebody adds one */
    /* Runs one job; may be killed between any two statements, run twice or on two nodes. Polls mdm_job_stopping(job).
     * APR_SUCCESS: done (or next period). Any error: retried with back-off until max_attempts. */
    apr_status_t (*run)(struct mdm_ctx_t *ctx, struct mdm_job_t *job);
} mdm_jobkind_t;

/* Who an authenticated request is (AuthType MDM sessions, bearer API tokens, or r->user of another httpd module). */
typedef struct mdm_caller_t {
    enum { MDM_CALLER_NONE = 0, MDM_CALLER_ADMIN, MDM_CALLER_PERSON } kind;
    const char *id;     /* admin.id or person.id */
    const char *login;
    const char *name;
    const char *role;   /* admin: role name */
    const char *rights; /* admin: role.rights JSON */
    int limited;        /* admin: only devices of some folders */
    int by_group;       /* admin: through membership of a directory group; id is the group's */
    int by_token;       /* bearer API token: no same-origin check needed */
    const char *session_hash; /* session.token_hash if by cookie */
} mdm_caller_t;

/* What feature modules count. A row here is a figure in mod_status, its JSON and the metrics of the node: enum, name, meaning. */
#define MDM_TALLIES(X) \
    X(MDM_N_ACCESS_ADMIN, "access_denied_admin", "requests to the console that an address filter refused") \
    X(MDM_N_ACCESS_ENDPOINT, "access_denied_endpoint", "requests of devices and to the portal that an address filter refused") \
    X(MDM_N_ACCESS_TOOLS, "access_denied_tools", "downloads that an address filter refused") \
    X(MDM_N_MAIL_ALLOWED, "mail_allowed", "requests of mail clients that may have their mail") \
    X(MDM_N_MAIL_WITHHELD, "mail_withheld", "requests of mail clients that may have no mail") \
    X(MDM_N_MAIL_TO_PROVISION, "mail_told_to_provision", "requests of mail clients that were told to take their policy first") \
    X(MDM_N_MAIL_GAVE_UP, "mail_gave_up", "mail clients that were told so again and again, in vain") \
    X(MDM_N_MAIL_DETECTED, "mail_detected", "requests of mail clients that only detect mode let through") \
    X(MDM_N_MAIL_UNAVAILABLE, "mail_unavailable", "requests of mail clients that were told to come again") \
    X(MDM_N_PUSHES, "pushes_accepted", "pushes that Apple's service has accepted")
#define MDM_TALLY_ENUM(id, name, help) id,
typedef enum { MDM_TALLIES(MDM_TALLY_ENUM) MDM_N_COUNT } mdm_tally_e;

/* Reads again what somebody has changed, in the child's background thread: once after the start, then after each change row
 * of its kind, within MDMChangeInterval. An error: asked again at the next tick. */
typedef apr_status_t (*mdm_change_fn)(struct mdm_ctx_t *ctx);

/* Why a held request goes on. */
typedef enum {
    MDM_WOKE_READY,    /* its descriptor can be read, or the peer has closed it */
    MDM_WOKE_GONE,     /* the client has left: nobody reads an answer */
    MDM_WOKE_DEADLINE,
    MDM_WOKE_CHANGED,  /* something of its device or person: judge again; it may be held on */
    MDM_WOKE_FILTERS,  /* address filters: judge again */
    MDM_WOKE_NEWER,    /* the device has sent a newer one */
    MDM_WOKE_STOPPING, /* this process ends: answer and close the connection */
    MDM_WOKE_FULL,     /* it was not held: MDMEasMaxHeld are */
    MDM_WOKE_COUNT
} mdm_woke_e;

/* What a held request waits for; copied. */
typedef struct mdm_hold_t {
    int fd;                   /* must stay open until woken; -1: none, only the other reasons end it */
    apr_interval_time_t wait; /* DEADLINE after this */
    const mdm_devrec_t *rec;  /* whose device; NULL: no changes wake it */
    const char *person_id;    /* NULL: none */
    int idle;                 /* a long poll: only such are ended by STOPPING and refused by FULL */
    int ping;                 /* the next one of the same record with this set ends it: NEWER */
    /* Goes on with the request, in some worker thread, exactly once for each call of hold(); its result is the handler's. It may answer,
     * or hold again. baton: in r->pool. */
    int (*woken)(struct request_rec *r, void *baton, mdm_woke_e why);
    void *baton;
} mdm_hold_t;

typedef struct mdm_services_t {
    unsigned api, size; /* caller checks api == MDM_SERVICES_API && size >= sizeof(mdm_services_t) */

    /* The library environment of this process; valid from child_init on. */
    const struct mdm_env_t *(*env)(void);
    /* A context bound to a request (log sink, client address, request id); the same one for each call with this r. */
    struct mdm_ctx_t *(*request_ctx)(struct request_rec *r);
    /* A context outside requests, logging to the main server. */
    struct mdm_ctx_t *(*server_ctx)(apr_pool_t *p);

    /* ---- device cache: APR_SUCCESS and a copy, from shared memory or the database; APR_NOTFOUND: no such identity;
     * MDM_EUNAVAIL: the database is away and the answer is not known (or the breaker is open and the caller is not mail). MDM_ETHROTTLED:
     * the client's address has brought too many certificates that nobody knows. */
    apr_status_t (*device_by_cert)(struct mdm_ctx_t *ctx, const unsigned char sha256[32], mdm_devrec_t *out);
    apr_status_t (*device_by_udid)(struct mdm_ctx_t *ctx, const char *udid, mdm_devrec_t *out);
    /* True if rec's certificate binding fits this UDID or EnrollmentID (compares the keyed hash). */
    int (*device_is_native)(const mdm_devrec_t *rec, const char *native_id);
    /* Notes a contact for the write-behind (PRF-12). addr: r->useragent_ip; peer: that of the connection. */
    void (*device_contact)(struct mdm_ctx_t *ctx, const mdm_devrec_t *rec, const char *addr, const char *peer);
    /* True while the database is known to be away: device endpoints answer 503 at once. */
    int (*db_away)(void);

    /* ---- jobs */
    apr_status_t (*job_kind)(const mdm_jobkind_t *kind); /* kind must stay valid for the server's life */
    void (*job_wake)(void);                               /* look for due jobs now instead of at the next tick */

    /* ---- throttle (USR-10): counters in shared memory, shared by all children.
     * Answers 0 if another try may be made, else seconds to wait. kind: "login", "otp", "scep", …; key: account or address, of which an IPv6 one stands
     * for its /64. "otp" counts by the minute: an address, and MDM_THROTTLE_ALL for all of them together. */
#define MDM_THROTTLE_ALL "*"
    int (*throttle_check)(const char *kind, const char *key);
    /* Counts a failure (ok == 0) or clears the key (ok == 1). */
    void (*throttle_note)(const char *kind, const char *key, int ok);

    /* ---- who is it */
    const mdm_caller_t *(*caller)(struct request_rec *r, const char *session_kind /* "admin" or "portal" */);

    /* ---- configuration that several modules need (from directives, after merge) */
    /* MDMPublicURL, or the name that an administrator chose (NOD-06): "https://mdm.example.org", no trailing slash. */
    const char *(*public_url)(struct server_rec *s);
    const char *(*node_name)(void);
    /* Any of mod_mdm's directives by name; s == NULL: the main server. conf_str: text, path, URL ("" or NULL if unset and
     * without default). conf_int: numbers; sizes in bytes, times in milliseconds, flags 0 or 1. The rows are in
     * modules/mdm/mdm_conf.c: MDMOrganisation, MDMSignMessage, MDMScepLegacy, MDMTrustAnchors, MDMApnsURL, … */
    const char *(*conf_str)(struct server_rec *s, const char *directive);
    apr_int64_t (*conf_int)(struct server_rec *s, const char *directive);

    /* ---- mail */
    /* Checks a mail client's credentials against shared memory, else the user source (USR-09). A keyed hash is kept 5 minutes for
     * success and 10 seconds for failure; while the database is away a success counts for 4 hours (GATE-04). A change of the person is
     * obeyed at once, on other nodes within a second. Counts in the throttle of log-ins by account and address (ctx->actor.ip), but
     * what was right within 4 hours is checked whatever others have tried. The password is not kept.
     * MDM_EAUTH: wrong (401). MDM_ETHROTTLED: too many tries, not checked; ctx->retry_after has the seconds (for mail clients 503 with
     * Retry-After: 401 would make them ask for a password). MDM_EUNAVAIL: can't be asked now (503); ctx->retry_after may be 0. */
    apr_status_t (*mail_login)(struct mdm_ctx_t *ctx, const char *typed, const char *password, mdm_mail_login_t *out);
    /* The record of (person, DeviceId). APR_NOTFOUND: none; while the database is away a known one up to 4 hours old (GATE-04), else
     * MDM_EUNAVAIL. device_id: canonical, mdm_eas_query_t.device_id. */
    apr_status_t (*device_by_eas)(struct mdm_ctx_t *ctx, const char *person_id, const char *device_id, mdm_devrec_t *out);

    /* ---- changes: registered like jobs, before children exist. */
    apr_status_t (*change_watch)(const char *kind, mdm_change_fn fn);

    /* ---- figures: adds n to a count of the node (ACC-08, OBS-01). Cheap; from any thread. */
    void (*count)(mdm_tally_e which, apr_uint64_t n);

    /* ---- 0: the MDM role was taken from this node (NOD-02): it serves no devices and makes no profiles. */
    int (*mdm_role)(void);

    /* ---- held requests (PXY-02): puts a request aside until something happens, without a thread where the MPM can (mdm_hold.c). For
     * handlers only, before anything was sent: "return svc->hold(r, &h);". */
    int (*hold)(struct request_rec *r, const mdm_hold_t *h);
    /* Connections to this server's ports may be held; before children exist. */
    apr_status_t (*hold_at)(struct server_rec *s);

    /* ---- what a mail client did, written behind (PXY-06): see domain/mdm_mailuse.h. Cheap; from any thread. */
    void (*mail_use)(const struct mdm_mailsum_t *sum);
} mdm_services_t;

APR_DECLARE_OPTIONAL_FN(const mdm_services_t *, mdm_services, (void));

/* The rules for addresses in httpd.conf of this node, from mod_mdm_access: rules of category c (mdm_access_e) as an array of
 * mdm_filter_t; *database = 0: MDMAccessRules Off. Absent if that module is not loaded. */
struct apr_array_header_t;
APR_DECLARE_OPTIONAL_FN(const struct apr_array_header_t *, mdm_access_conf, (int category, int *database));
/* True if the address filters still let this request in, which they did when it began. */
APR_DECLARE_OPTIONAL_FN(int, mdm_access_still, (struct request_rec *r));

#endif
