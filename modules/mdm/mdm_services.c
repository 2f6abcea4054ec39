/* Owns the service table, contexts bound to requests or the server, and the way from an identity to its cached record. */
#include <arpa/inet.h>
#include "domain/mdm_cidr.h"
#include "domain/mdm_devload.h"
#include "mdm_private.h"

#define FRESH_MS 60000
#define STALE_MS (4 * 3600000LL)

/* ---------------------------------------------------------------- contexts */

static int log_enabled_r(void *baton, int level)
{
    return APLOG_R_IS_LEVEL((request_rec *)baton, level);
}

static void log_write_r(void *baton, int level, const char *id, apr_status_t rv, const char *text)
{
    ap_log_rerror(APLOG_MARK, level, rv >= APR_OS_START_USERERR && rv < APR_OS_START_EAIERR ? 0 : rv, (request_rec *)baton,
                  "%s: %s", id, text);
}

static int log_enabled_s(void *baton, int level)
{
    return APLOG_IS_LEVEL((server_rec *)baton, level);
}

static void log_write_s(void *baton, int level, const char *id, apr_status_t rv, const char *text)
{
    ap_log_error(APLOG_MARK, level, rv >= APR_OS_START_USERERR && rv < APR_OS_START_EAIERR ? 0 : rv, (server_rec *)baton,
                 "%s: %s", id, text);
}

static const mdm_logsink_t sink_r = {log_enabled_r, log_write_r};
static const mdm_logsink_t sink_s = {log_enabled_s, log_write_s};

void mdm_core_forget(apr_pool_t *scratch, const char *kind, const char *key)
{
    mdm_blob_t cert;

    mdm_devload_forget(mdm_core.cache, scratch, kind, key);
    if (!strcmp(kind, "cert") && mdm_unhex(scratch, key, &cert) == APR_SUCCESS && cert.len == 32) {
        mdm_devkey_t k = mdm_devkey_cert(mdm_core.cache, cert.data);
        mdm_stranger_forget(&mdm_core.shm->strangers, &k);
    } else if (!strcmp(kind, "all")) {
        mdm_strangers_clear(&mdm_core.shm->strangers);
    }
    if (!strcmp(kind, "person")) {
        mdm_logincache_drop(mdm_core.logins, key);
    } else if (!strcmp(kind, "source") || !strcmp(kind, "all")) { /* whom a name means may be another now */
        mdm_logincache_clear(mdm_core.logins);
    }
    mdm_hold_changed(kind, key);
}

/* After a commit in this process: this node's cache forgets at once, others within a second. */
static void changed(void *baton, const char *kind, const char *key)
{
    apr_pool_t *p;

    if (mdm_core.cache && apr_pool_create(&p, NULL) == APR_SUCCESS) {
        mdm_core_forget(p, kind, key);
        apr_pool_destroy(p);
    }
}

static apr_int64_t contact(void *baton, const char *record_id)
{
    unsigned char record[16];

    return mdm_core.cache && mdm_uuid_bytes(record_id, record) == APR_SUCCESS
               ? mdm_devcache_contact_ms(mdm_core.cache, record) : 0;
}

void mdm_core_env_init(void)
{
    mdm_core.env.changed = changed;
    mdm_core.env.contact = contact;
}

mdm_ctx_t *mdm_core_ctx(apr_pool_t *p)
{
    return mdm_ctx_make(p, &mdm_core.env, &sink_s, mdm_core.main);
}

mdm_rconf_t *mdm_core_rconf(request_rec *r)
{
    mdm_rconf_t *rc = ap_get_module_config(r->request_config, &mdm_module);

    if (!rc) {
        rc = apr_pcalloc(r->pool, sizeof(*rc));
        ap_set_module_config(r->request_config, &mdm_module, rc);
    }
    return rc;
}

mdm_ctx_t *mdm_core_request_ctx(request_rec *r)
{
    mdm_rconf_t *rc = mdm_core_rconf(r);
    const char *id;

    if (!rc->ctx) {
        rc->ctx = mdm_ctx_make(r->pool, &mdm_core.env, &sink_r, r);
        rc->born = mdm_slots_now();
        id = r->log_id ? r->log_id : apr_table_get(r->subprocess_env, "UNIQUE_ID");
        rc->ctx->actor.ip = r->useragent_ip ? r->useragent_ip : "";
        rc->ctx->actor.request_id = id ? id : "";
    }
    return rc->ctx;
}

static const mdm_env_t *env(void)
{
    return &mdm_core.env;
}

/* ---------------------------------------------------------------- devices */

typedef struct {
    const unsigned char *sha256; /* or */
    const char *native_id;       /* UDID, or with */
    const char *person_id;       /* DeviceId */
} ident_t;

static mdm_devkey_t key_of(const ident_t *who)
{
    return who->sha256      ? mdm_devkey_cert(mdm_core.cache, who->sha256)
           : who->person_id ? mdm_devkey_eas(mdm_core.cache, who->person_id, who->native_id)
                            : mdm_devkey_native(mdm_core.cache, who->native_id);
}

static apr_status_t load(mdm_ctx_t *ctx, const ident_t *who, mdm_devrec_t *out)
{
    mdm_devcache_t *cache = mdm_core.cache;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = who->sha256      ? mdm_devload_by_cert(db, cache, who->sha256, out)
         : who->person_id ? mdm_devload_by_eas(db, cache, who->person_id, who->native_id, out)
                          : mdm_devload_by_native(db, cache, who->native_id, out);
    mdm_db_close(db);
    return rv;
}

/* Of an IPv6 address the network: one site has billions of them. */
static apr_uint64_t address_of(const mdm_ctx_t *ctx)
{
    mdm_addr_t a = {0, 0};

    if (mdm_addr_parse(ctx->actor.ip, &a) == APR_SUCCESS && a.hi) {
        a.lo = 0;
    }
    return mdm_devcache_key(mdm_core.cache, 'a', &a, sizeof(a)).hi;
}

/* A certificate that the cache does not hold. What nobody knows costs no query each time (SEC-03); a change that comes while the database is
 * asked wins. */
static apr_status_t load_cert(mdm_ctx_t *ctx, const ident_t *who, const mdm_devkey_t *key, apr_uint32_t ticket, mdm_devrec_t *out)
{
    mdm_strangers_t *s = &mdm_core.shm->strangers;
    apr_uint64_t address = address_of(ctx);
    apr_status_t rv;

    if (mdm_stranger_known(s, key, mdm_now_ms(ctx))) {
        return APR_NOTFOUND;
    }
    if (mdm_strangers_full(s, address, mdm_now_ms(ctx))) {
        return mdm_fail(ctx, MDM_ETHROTTLED, NULL, "Too many unknown certificates come from this address.");
    }
    rv = load(ctx, who, out);
    if (rv == APR_NOTFOUND) {
        mdm_strangers_count(s, address, mdm_now_ms(ctx));
        mdm_stranger_note(s, key, mdm_now_ms(ctx));
        if (mdm_devcache_ticket(mdm_core.cache, key) != ticket) {
            mdm_stranger_forget(s, key);
        }
    }
    return rv;
}

#define PERSON_SHARE 8 /* unknown DeviceIds of one person cost so many times what certificates cost of an address */

/* A DeviceId that the cache does not hold. Each one that nobody knows may become a record, or is refused with a row that says why: so
 * only so many of an address, and fewer of a person, are looked for (GATE-02). */
static apr_status_t load_mail(mdm_ctx_t *ctx, const ident_t *who, mdm_devrec_t *out)
{
    mdm_strangers_t *s = &mdm_core.shm->strangers;
    apr_uint64_t address = address_of(ctx);
    apr_uint64_t person = mdm_devcache_key(mdm_core.cache, 'p', who->person_id, strlen(who->person_id)).hi;
    apr_int64_t now = mdm_now_ms(ctx);
    apr_status_t rv;
    int i;

    if (mdm_strangers_full(s, address, now) || mdm_strangers_full(s, person, now)) {
        return mdm_fail(ctx, MDM_ETHROTTLED, NULL, "Too many unknown mail devices come from this address or person.");
    }
    rv = load(ctx, who, out);
    if (rv == APR_NOTFOUND) {
        mdm_strangers_count(s, address, now);
        for (i = 0; i < PERSON_SHARE; i++) {
            mdm_strangers_count(s, person, now);
        }
    }
    return rv;
}

/* From the cache if the database said so within a minute, else from the database, and into the cache. While the database is
 * away nothing is known for sure: only mail may live on what was known hours ago (GATE-04). */
static apr_status_t device(mdm_ctx_t *ctx, const ident_t *who, mdm_devrec_t *out)
{
    mdm_devcache_t *cache = mdm_core.cache;
    mdm_devkey_t key = key_of(who);
    apr_int64_t age = -1;
    apr_uint32_t ticket;
    mdm_devrec_t old;
    apr_status_t rv;

    if (mdm_devcache_get(cache, &key, &old) == APR_SUCCESS) {
        age = mdm_now_ms(ctx) - old.loaded_ms;
    }
    if (age >= 0 && age < FRESH_MS && !mdm_dbglue_away()) {
        *out = old;
        return APR_SUCCESS;
    }
    memset(out, 0, sizeof(*out));
    ticket = mdm_devcache_ticket(cache, &key);
    rv = mdm_dbglue_away() ? mdm_fail(ctx, MDM_EUNAVAIL, NULL, "the database is away")
         : age >= 0       ? load(ctx, who, out)
         : who->sha256    ? load_cert(ctx, who, &key, ticket, out)
         : who->person_id ? load_mail(ctx, who, out)
                          : load(ctx, who, out);
    if (rv == APR_NOTFOUND) {
        if (age >= 0) {
            mdm_devcache_drop(cache, &key);
        }
    } else if (rv == APR_SUCCESS && (out->flags & MDM_DEVF_LINKED) &&
               (out->keys[MDM_DK_DEVICE].hi | out->keys[MDM_DK_DEVICE].lo)) {
        mdm_devcache_put(cache, out, &key, ticket); /* refused if it changed meanwhile: the next request loads again */
    } else if (rv != APR_SUCCESS && who->person_id && mdm_dbglue_away() && age >= 0 && age < STALE_MS) {
        *out = old;
        return APR_SUCCESS;
    } else if (rv != APR_SUCCESS) {
        memset(out, 0, sizeof(*out));
    }
    return rv;
}

static apr_status_t device_by_cert(mdm_ctx_t *ctx, const unsigned char sha256[32], mdm_devrec_t *out)
{
    ident_t who = {sha256, NULL, NULL};
    mdm_devkey_t key = mdm_devkey_cert(mdm_core.cache, sha256);
    apr_status_t rv = device(ctx, &who, out);

    if (rv == APR_SUCCESS && mdm_bytes_equal(&key, &out->keys[MDM_DK_CERT_NEXT], sizeof(key))
        && !mdm_bytes_equal(&key, &out->keys[MDM_DK_CERT], sizeof(key))) {
        out->flags |= MDM_DEVF_NEXT;
    }
    return rv;
}

static apr_status_t device_by_udid(mdm_ctx_t *ctx, const char *udid, mdm_devrec_t *out)
{
    ident_t who = {NULL, udid, NULL};

    return device(ctx, &who, out);
}

static apr_status_t device_by_eas(mdm_ctx_t *ctx, const char *person_id, const char *device_id, mdm_devrec_t *out)
{
    ident_t who = {NULL, device_id, person_id};

    return device(ctx, &who, out);
}

static int device_is_native(const mdm_devrec_t *rec, const char *native_id)
{
    mdm_devkey_t k = mdm_devkey_native(mdm_core.cache, native_id);

    return mdm_bytes_equal(&k, &rec->keys[MDM_DK_NATIVE], sizeof(k));
}

/* As 16 bytes, IPv4 mapped; all 0 if it is none. */
static void addr_bytes(const char *text, unsigned char out[16])
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    memcpy(out, mapped, sizeof(mapped));
    if (!text || (inet_pton(AF_INET, text, out + 12) != 1 && inet_pton(AF_INET6, text, out) != 1)) {
        memset(out, 0, 16);
    }
}

static void device_contact(mdm_ctx_t *ctx, const mdm_devrec_t *rec, const char *addr, const char *peer)
{
    unsigned char a[16], b[16];

    addr_bytes(addr, a);
    addr_bytes(peer, b);
    mdm_devcache_contact(mdm_core.cache, rec, mdm_now_ms(ctx), a, b);
    rec->kind == MDM_KIND_EAS ? MDM_COUNT(mail_requests) : MDM_COUNT(polls);
}

static void mail_use(const mdm_mailsum_t *sum)
{
    mdm_mailuse_add(mdm_core.uses, sum);
}

/* ---------------------------------------------------------------- the table */

static const char *public_url(server_rec *s)
{
    const char *given = __atomic_load_n(&mdm_core.given_url, __ATOMIC_ACQUIRE);

    return given ? given : mdm_conf_str(s, "MDMPublicURL");
}

static const char *node_name(void)
{
    return mdm_conf_text(MDM_C_NODE_NAME);
}

static int mdm_role(void)
{
    return !__atomic_load_n(&mdm_core.no_role, __ATOMIC_RELAXED);
}

static void count(mdm_tally_e which, apr_uint64_t n)
{
    if ((unsigned)which < MDM_N_COUNT) {
        __atomic_fetch_add(&mdm_core.shm->tallies[which], n, __ATOMIC_RELAXED);
    }
}

static const mdm_services_t table = {
    .api = MDM_SERVICES_API, .size = sizeof(mdm_services_t), .env = env, .request_ctx = mdm_core_request_ctx,
    .server_ctx = mdm_core_ctx, .device_by_cert = device_by_cert, .device_by_udid = device_by_udid,
    .device_is_native = device_is_native, .device_contact = device_contact, .db_away = mdm_dbglue_away,
    .job_kind = mdm_jobs_kind, .job_wake = mdm_jobs_wake, .throttle_check = mdm_throttle_check,
    .throttle_note = mdm_throttle_note, .caller = mdm_auth_caller, .public_url = public_url, .node_name = node_name,
    .conf_str = mdm_conf_str, .conf_int = mdm_conf_int,
    .mail_login = mdm_mailauth_login, .device_by_eas = device_by_eas, .change_watch = mdm_changes_watch,
    .count = count, .mdm_role = mdm_role, .hold = mdm_hold, .hold_at = mdm_hold_at, .mail_use = mail_use};

const mdm_services_t *mdm_core_services(void)
{
    return &table;
}
