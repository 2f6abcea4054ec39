/* One connection to a directory per call: opened and judged, or taken from those that were kept, used by one thread. Every wait has a limit. */
#include "domain/mdm_ldap.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <apr_strings.h>
#include <ldap.h>
#include "base/mdm_wait.h"
#include "domain/mdm_ldap_priv.h"

#define PAGE_SIZE 500
#define GROUPS_PAGE 20 /* each may have everybody in it */
#define GROUPS_MAX 1000
#define TEXT_BYTES 200
#define DN_BYTES 1000
#define ANSWER_MAX (8 * 1024 * 1024)

static apr_status_t away(mdm_ldap_t *l, const char *doing, int rc)
{
    l->whole = 0;
    l->lost |= rc == LDAP_SERVER_DOWN || rc == LDAP_TIMEOUT || rc == LDAP_CONNECT_ERROR || rc == LDAP_TIMELIMIT_EXCEEDED
               || rc == LDAP_UNAVAILABLE || rc == LDAP_BUSY;
    return mdm_fail(l->ctx, MDM_EUNAVAIL, NULL, "%s: %s", doing, ldap_err2string(rc));
}

static struct timeval limit(const mdm_ldap_t *l)
{
    return (struct timeval){l->conf->timeout_ms / 1000, (l->conf->timeout_ms % 1000) * 1000};
}

static apr_status_t closed(void *data)
{
    mdm_ldap_close(data);
    return APR_SUCCESS;
}

void mdm_ldap_line_end(mdm_ldap_line_t *line)
{
    if (line->ld) {
        line->until = 0; /* a good-bye that can't be said at once is not said */
        ldap_unbind_ext_s(line->ld, NULL, NULL);
    }
    free(line);
}

/* How a line was made and judged: one that was made otherwise is another one. Who is bound is asked anew each time. */
static const char *line_key(const mdm_ldap_t *l)
{
    const mdm_ldap_conf_t *c = l->conf;

    return apr_psprintf(l->ctx->pool, "%d %d %s %s", (int)c->tls, c->timeout_ms, c->pin,
                        *c->ca ? mdm_sha256_hex(l->ctx->pool, c->ca, strlen(c->ca)) : "");
}

static void put_down(mdm_ldap_t *l)
{
    if (l->line && l->place && l->whole) {
        mdm_ldap_gate_keep(l->ctx, l->place, line_key(l), l->line, l->made);
    }
    else if (l->line) {
        mdm_ldap_line_end(l->line);
    }
    l->line = NULL;
    l->ld = NULL;
}

void mdm_ldap_close(mdm_ldap_t *l)
{
    apr_pool_cleanup_kill(l->ctx->pool, l, closed);
    put_down(l);
    if (l->place) {
        mdm_ldap_gate_leave(l->ctx, l->place, !l->lost);
        l->place = NULL;
    }
}

const apr_array_header_t *mdm_ldap_containers(const mdm_ldap_t *l)
{
    return l->conf->containers;
}

/* Everything that a system-wide ldap.conf could change and that matters is said here. */
/* Called with the address that a connection has come about to, before anything is sent. */
static int on_connect(LDAP *ld, Sockbuf *sb, LDAPURLDesc *url, struct sockaddr *addr, struct ldap_conncb *cb)
{
    mdm_ldap_line_t *line = cb->lc_arg;

    if (line->made) {
        return -1;
    }
    line->refused = mdm_addr_refused(line->ctx, addr);
    return line->refused ? -1 : 0;
}

static void on_close(LDAP *ld, Sockbuf *sb, struct ldap_conncb *cb)
{
}

static int options(mdm_ldap_t *l)
{
    struct timeval tv = limit(l);
    int v3 = LDAP_VERSION3, never = LDAP_OPT_X_TLS_NEVER, deref = LDAP_DEREF_NEVER, none = 0, client = 0;
    ber_len_t most = ANSWER_MAX;
    Sockbuf *sb = NULL;

    l->line->on_connect = (struct ldap_conncb){on_connect, on_close, l->line};
    if (ldap_set_option(l->ld, LDAP_OPT_CONNECT_CB, &l->line->on_connect) || ldap_set_option(l->ld, LDAP_OPT_PROTOCOL_VERSION, &v3)
        || ldap_set_option(l->ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF)
        || ldap_set_option(l->ld, LDAP_OPT_NETWORK_TIMEOUT, &tv) || ldap_set_option(l->ld, LDAP_OPT_TIMEOUT, &tv)
        || ldap_set_option(l->ld, LDAP_OPT_DEREF, &deref) || ldap_set_option(l->ld, LDAP_OPT_SIZELIMIT, &none)) {
        return LDAP_LOCAL_ERROR;
    }
    if (ldap_get_option(l->ld, LDAP_OPT_SOCKBUF, &sb) == LDAP_OPT_SUCCESS && sb) {
        ber_sockbuf_ctrl(sb, LBER_SB_OPT_SET_MAX_INCOMING, &most);
    }
    if (l->conf->tls == MDM_LDAP_NONE) {
        return LDAP_SUCCESS;
    }
    /* We judge the certificate ourselves, right after the handshake and before anything is sent. */
    return ldap_set_option(l->ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &never) || ldap_set_option(l->ld, LDAP_OPT_X_TLS_NEWCTX, &client)
               ? LDAP_LOCAL_ERROR : LDAP_SUCCESS;
}

/* ---- libldap waits without a limit while it shakes hands or reads the rest of a message: this layer below TLS does not let it. */

static int io_setup(Sockbuf_IO_Desc *d, void *arg)
{
    d->sbiod_pvt = arg;
    return 0;
}

static int io_ready(Sockbuf_IO_Desc *d, short events)
{
    const mdm_ldap_line_t *line = d->sbiod_pvt;
    apr_interval_time_t left = line->until - mdm_ticks();
    ber_socket_t fd = -1;
    struct pollfd p;

    ber_sockbuf_ctrl(d->sbiod_sb, LBER_SB_OPT_GET_FD, &fd);
    p = (struct pollfd){fd, events, 0};
    if (left > 0 && poll(&p, 1, (int)apr_time_as_msec(left) + 1) > 0) {
        return 1;
    }
    errno = ETIMEDOUT;
    return 0;
}

static int io_ctrl(Sockbuf_IO_Desc *d, int opt, void *arg)
{
    return d->sbiod_next && d->sbiod_next->sbiod_io->sbi_ctrl ? d->sbiod_next->sbiod_io->sbi_ctrl(d->sbiod_next, opt, arg) : 0;
}

static ber_slen_t io_read(Sockbuf_IO_Desc *d, void *buf, ber_len_t len)
{
    return io_ready(d, POLLIN) ? d->sbiod_next->sbiod_io->sbi_read(d->sbiod_next, buf, len) : -1;
}

static ber_slen_t io_write(Sockbuf_IO_Desc *d, void *buf, ber_len_t len)
{
    return io_ready(d, POLLOUT) ? d->sbiod_next->sbiod_io->sbi_write(d->sbiod_next, buf, len) : -1;
}

static const Sockbuf_IO io_limited = {io_setup, NULL, io_ctrl, io_read, io_write, NULL};

/* Each operation has the source's time from here on. */
static LDAP *armed(mdm_ldap_t *l)
{
    l->line->until = mdm_ticks() + apr_time_from_msec(l->conf->timeout_ms);
    return l->ld;
}

static int put_limit(mdm_ldap_t *l)
{
    Sockbuf *sb = NULL;

    /* libldap does not write into the table, it only forgot to say so */
    return ldap_get_option(l->ld, LDAP_OPT_SOCKBUF, &sb) == LDAP_OPT_SUCCESS && sb
                   && ber_sockbuf_add_io(sb, (Sockbuf_IO *)&io_limited, LBER_SBIOD_LEVEL_PROVIDER + 5, l->line) == 0
               ? LDAP_SUCCESS : LDAP_LOCAL_ERROR;
}

static apr_status_t secure(mdm_ldap_t *l)
{
    int starttls = l->conf->tls == MDM_LDAP_STARTTLS;
    int rc = starttls ? ldap_start_tls_s(armed(l), NULL, NULL) : ldap_install_tls(armed(l));
    struct berval der = {0, NULL};

    if (rc != LDAP_SUCCESS) {
        return away(l, starttls ? "StartTLS" : "TLS", rc);
    }
    if (ldap_get_option(l->ld, LDAP_OPT_X_TLS_PEERCERT, &der) != LDAP_OPT_SUCCESS || !der.bv_val) {
        return mdm_fail(l->ctx, MDM_EUNAVAIL, NULL, "TLS: the server showed no certificate");
    }
    l->cert.data = apr_pmemdup(l->ctx->pool, der.bv_val, der.bv_len);
    l->cert.len = der.bv_len;
    ldap_memfree(der.bv_val);
    return APR_SUCCESS;
}

apr_status_t mdm_ldap_connect(mdm_ctx_t *ctx, const mdm_ldap_conf_t *conf, mdm_ldap_t **out)
{
    mdm_ldap_t *l = apr_pcalloc(ctx->pool, sizeof(*l));
    const char *uri = apr_psprintf(ctx->pool, strchr(conf->host, ':') ? "ldap://[%s]:%d" : "ldap://%s:%d", conf->host, conf->port);
    int rc;

    *out = l;
    l->ctx = ctx;
    l->conf = conf;
    l->made = mdm_ticks();
    apr_pool_cleanup_register(ctx->pool, l, closed, apr_pool_cleanup_null);
    if (!(l->line = calloc(1, sizeof(*l->line))) || ldap_initialize(&l->line->ld, uri) != LDAP_SUCCESS) {
        return away(l, "set-up", LDAP_NO_MEMORY);
    }
    l->ld = l->line->ld;
    l->line->ctx = ctx;
    if ((rc = options(l)) != LDAP_SUCCESS || (rc = ldap_connect(armed(l))) != LDAP_SUCCESS || (rc = put_limit(l)) != LDAP_SUCCESS) {
        return l->line->refused ? mdm_fail(ctx, MDM_EUNAVAIL, NULL, MDM_ADDR_REFUSED) : away(l, "connection", rc);
    }
    l->line->made = 1;
    return conf->tls == MDM_LDAP_NONE ? APR_SUCCESS : secure(l);
}

static int bind_as(mdm_ldap_t *l, const char *dn, const char *password)
{
    struct berval cred = {strlen(password), (char *)password};

    return ldap_sasl_bind_s(armed(l), dn, LDAP_SASL_SIMPLE, &cred, NULL, NULL, NULL);
}

/* A bind without one succeeds as nobody. */
static int has_password(const mdm_ldap_conf_t *conf)
{
    return !*conf->bind_dn || *conf->bind_password;
}

static int service_bind(mdm_ldap_t *l)
{
    return bind_as(l, l->conf->bind_dn, *l->conf->bind_dn ? l->conf->bind_password : "");
}

apr_status_t mdm_ldap_bind(mdm_ldap_t *l)
{
    int rc;

    if (!has_password(l->conf)) {
        return mdm_fail(l->ctx, MDM_EUNAVAIL, NULL, "bind: the source's account has no password");
    }
    rc = service_bind(l);
    return rc == LDAP_SUCCESS ? APR_SUCCESS : away(l, "bind", rc);
}

/* A connection of an earlier call, bound again as the source's account. NULL: there is none, or it has gone meanwhile. *rv: it is there, and does
 * not answer, or refuses the account. */
static mdm_ldap_t *reopen(mdm_ctx_t *ctx, const mdm_ldap_conf_t *conf, mdm_ldap_place_t *place, apr_status_t *rv)
{
    mdm_ldap_t *l = apr_pcalloc(ctx->pool, sizeof(*l));
    int rc = LDAP_SERVER_DOWN;

    *l = (mdm_ldap_t){.ctx = ctx, .conf = conf};
    while (place && has_password(conf) && (l->line = mdm_ldap_gate_take(ctx, place, line_key(l), &l->made))) {
        l->ld = l->line->ld;
        rc = service_bind(l);
        if (rc == LDAP_SUCCESS || rc == LDAP_TIMEOUT || LDAP_SECURITY_ERROR(rc)) {
            break;
        }
        mdm_ldap_line_end(l->line);
        l->line = NULL;
    }
    if (!l->line) {
        return NULL;
    }
    l->place = place;
    apr_pool_cleanup_register(ctx->pool, l, closed, apr_pool_cleanup_null);
    *rv = rc == LDAP_SUCCESS ? APR_SUCCESS : away(l, "bind", rc);
    return l;
}

apr_status_t mdm_ldap_open(mdm_ctx_t *ctx, const mdm_ldap_conf_t *conf, mdm_ldap_t **out)
{
    mdm_ldap_place_t *place = NULL;
    apr_status_t rv = ctx->env && ctx->env->ldap_gate ? mdm_ldap_gate_enter(ctx, conf->host, conf->port, &place) : APR_SUCCESS;

    *out = NULL;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!(*out = reopen(ctx, conf, place, &rv))) {
        rv = mdm_ldap_connect(ctx, conf, out);
        (*out)->place = place;
        if (rv == APR_SUCCESS && conf->tls != MDM_LDAP_NONE) {
            rv = mdm_ldap_judge(ctx, conf, (*out)->cert);
        }
        if (rv == APR_SUCCESS) {
            rv = mdm_ldap_bind(*out);
        }
    }
    (*out)->whole = rv == APR_SUCCESS;
    if (rv != APR_SUCCESS) {
        mdm_ldap_close(*out);
        *out = NULL;
    }
    return rv;
}

/* ---------------------------------------------------------------- entries */

static const char *text_value(mdm_ldap_t *l, apr_pool_t *p, LDAPMessage *entry, const char *attr, apr_size_t max)
{
    struct berval **vals = *attr ? ldap_get_values_len(l->ld, entry, attr) : NULL;
    const char *text = "";

    if (vals && vals[0]) { /* a NUL byte ends the value here: what stands behind it is not compared anywhere */
        apr_size_t n = vals[0]->bv_len < 4 * max ? vals[0]->bv_len : 4 * max;
        text = mdm_clean(p, apr_pstrmemdup(p, vals[0]->bv_val, n), max);
    }
    if (vals) {
        ldap_value_free_len(vals);
    }
    return text;
}

static const char *hex_value(mdm_ldap_t *l, apr_pool_t *p, LDAPMessage *entry, const char *attr)
{
    struct berval **vals = *attr ? ldap_get_values_len(l->ld, entry, attr) : NULL;
    const char *text = "";

    if (vals && vals[0] && vals[0]->bv_len && vals[0]->bv_len <= 64) {
        text = mdm_hex(p, vals[0]->bv_val, vals[0]->bv_len);
    }
    if (vals) {
        ldap_value_free_len(vals);
    }
    return text;
}

/* The account's switch, as each kind of directory keeps it. */
static int is_disabled(const char *attr, const char *value)
{
    apr_int64_t n = 0;

    if (!strcasecmp(attr, "userAccountControl")) {
        return mdm_parse_i64(value, 0, APR_INT64_MAX, &n) == APR_SUCCESS && (n & 2);
    }
    return !strcasecmp(value, "TRUE") || !strcmp(value, "000001010000Z");
}

static const char *dn_of(mdm_ldap_t *l, apr_pool_t *p, LDAPMessage *entry)
{
    char *dn = ldap_get_dn(l->ld, entry);
    const char *out = dn && strlen(dn) <= DN_BYTES && mdm_utf8_valid(dn, strlen(dn)) ? apr_pstrdup(p, dn) : NULL;

    ldap_memfree(dn);
    return out;
}

/* 0 if the entry is of no use: no DN or no log-in. */
static int read_person(mdm_ldap_t *l, apr_pool_t *p, LDAPMessage *entry, const char *container, mdm_ldap_person_t *out)
{
    const char *const *a = l->conf->attr;

    memset(out, 0, sizeof(*out));
    out->dn = dn_of(l, p, entry);
    out->dn_key = out->dn ? mdm_ldap_dn_key(p, out->dn) : NULL;
    out->login = text_value(l, p, entry, a[MDM_LA_LOGIN], TEXT_BYTES);
    out->mail = text_value(l, p, entry, a[MDM_LA_MAIL], TEXT_BYTES);
    out->name = text_value(l, p, entry, a[MDM_LA_NAME], TEXT_BYTES);
    out->phone = text_value(l, p, entry, a[MDM_LA_PHONE], 60);
    out->guid = hex_value(l, p, entry, a[MDM_LA_GUID]);
    out->disabled = is_disabled(a[MDM_LA_DISABLED], text_value(l, p, entry, a[MDM_LA_DISABLED], 40));
    out->container = container;
    if (!*out->name) {
        out->name = out->login;
    }
    return out->dn_key && *out->login;
}

static char **person_attrs(mdm_ldap_t *l)
{
    char **list = apr_pcalloc(l->ctx->pool, 8 * sizeof(char *));
    int i, n = 0;

    for (i = MDM_LA_LOGIN; i <= MDM_LA_DISABLED; i++) {
        if (*l->conf->attr[i]) {
            list[n++] = (char *)l->conf->attr[i];
        }
    }
    return list;
}

static const char *person_filter(mdm_ldap_t *l, const char *test)
{
    const char *person = l->conf->attr[MDM_LA_PERSON_CLASS];

    /* where computers are users too; elsewhere the class may be unknown, and nothing at all would fit */
    return apr_pstrcat(l->ctx->pool, "(&(objectClass=", person, ")", strcmp(person, "user") != 0 ? "" : "(!(objectClass=computer))",
                       test, ")", NULL);
}

static const char *group_filter(mdm_ldap_t *l, const char *test)
{
    return apr_pstrcat(l->ctx->pool, "(&(objectClass=", l->conf->attr[MDM_LA_GROUP_CLASS], ")", test, ")", NULL);
}

/* True for a dynamic group that the source hides (USR-01). */
static int hidden(mdm_ldap_t *l, LDAPMessage *entry)
{
    const char *dynamic = l->conf->attr[MDM_LA_DYNAMIC_CLASS];
    struct berval **vals = l->conf->ignore_dynamic && *dynamic ? ldap_get_values_len(l->ld, entry, "objectClass") : NULL;
    int i, is = 0;

    for (i = 0; vals && vals[i] && !is; i++) {
        is = vals[i]->bv_len == strlen(dynamic) && !strncasecmp(vals[i]->bv_val, dynamic, vals[i]->bv_len);
    }
    if (vals) {
        ldap_value_free_len(vals);
    }
    return is;
}

/* ---------------------------------------------------------------- finding one */

static apr_status_t find_in(mdm_ldap_t *l, const char *container, const char *filter, int *hits, mdm_ldap_person_t *out)
{
    struct timeval tv = limit(l);
    LDAPMessage *result = NULL, *entry;
    mdm_ldap_person_t one;
    int rc = ldap_search_ext_s(armed(l), container, LDAP_SCOPE_SUBTREE, filter, person_attrs(l), 0, NULL, NULL, &tv, 2, &result);

    if (rc == LDAP_SUCCESS || rc == LDAP_SIZELIMIT_EXCEEDED) {
        for (entry = ldap_first_entry(l->ld, result); entry; entry = ldap_next_entry(l->ld, entry)) {
            /* containers may lie inside each other: the same entry twice is one person */
            if (read_person(l, l->ctx->pool, entry, container, &one) && (!*hits || strcmp(one.dn_key, out->dn_key) != 0)) {
                ++*hits;
                *out = one;
            }
        }
    }
    ldap_msgfree(result);
    return rc == LDAP_SUCCESS || rc == LDAP_SIZELIMIT_EXCEEDED ? APR_SUCCESS : away(l, "search", rc);
}

apr_status_t mdm_ldap_find(mdm_ldap_t *l, const char *value, int by_mail, mdm_ldap_person_t **out)
{
    const char *test = mdm_ldap_equals(l->ctx->pool, l->conf->attr[by_mail ? MDM_LA_MAIL : MDM_LA_LOGIN], value), *filter;
    mdm_ldap_person_t *found = apr_pcalloc(l->ctx->pool, sizeof(*found));
    apr_status_t rv;
    int i, hits = 0;

    if (!*test || !*value) {
        return APR_NOTFOUND;
    }
    filter = person_filter(l, test);
    for (i = 0; i < l->conf->containers->nelts; i++) {
        if ((rv = find_in(l, APR_ARRAY_IDX(l->conf->containers, i, const char *), filter, &hits, found)) != APR_SUCCESS) {
            return rv;
        }
    }
    *out = found;
    return hits == 1 ? APR_SUCCESS : APR_NOTFOUND;
}

apr_status_t mdm_ldap_check(mdm_ldap_t *l, const mdm_ldap_person_t *person, const char *password)
{
    const char *dn = person ? person->dn : NULL;
    int rc;

    if (!password || !*password) {
        return MDM_EAUTH;
    }
    if (!dn) { /* a name that nobody has, so that the answer costs what a wrong password costs */
        dn = apr_pstrcat(l->ctx->pool, "cn=", mdm_uuid(l->ctx->pool), ",", APR_ARRAY_IDX(l->conf->containers, 0, const char *),
                         NULL);
    }
    rc = bind_as(l, dn, password);
    if (rc == LDAP_SUCCESS) {
        return person ? APR_SUCCESS : MDM_EAUTH;
    }
    return LDAP_SECURITY_ERROR(rc) || rc == LDAP_NO_SUCH_OBJECT || rc == LDAP_UNWILLING_TO_PERFORM || rc == LDAP_INVALID_DN_SYNTAX
                   || rc == LDAP_CONSTRAINT_VIOLATION
               ? MDM_EAUTH : away(l, "bind", rc);
}

/* ---------------------------------------------------------------- groups */

static int nbases(const mdm_ldap_t *l, int groups)
{
    return groups && *l->conf->root ? 1 : l->conf->containers->nelts;
}

static const char *base_of(const mdm_ldap_t *l, int groups, int i)
{
    return groups && *l->conf->root ? l->conf->root : APR_ARRAY_IDX(l->conf->containers, i, const char *);
}

static apr_array_header_t *members_of(mdm_ldap_t *l, apr_pool_t *p, LDAPMessage *entry)
{
    struct berval **vals = ldap_get_values_len(l->ld, entry, l->conf->attr[MDM_LA_MEMBER]);
    apr_array_header_t *out = apr_array_make(p, 16, sizeof(const char *));
    int i;

    for (i = 0; vals && vals[i]; i++) {
        const char *key = vals[i]->bv_len <= DN_BYTES ? mdm_ldap_dn_key(p, apr_pstrmemdup(p, vals[i]->bv_val, vals[i]->bv_len))
                                                      : NULL;
        if (key) {
            APR_ARRAY_PUSH(out, const char *) = key;
        }
    }
    if (vals) {
        ldap_value_free_len(vals);
    }
    return out;
}

static int read_group(mdm_ldap_t *l, apr_pool_t *p, LDAPMessage *entry, int members, mdm_ldap_group_t *out)
{
    memset(out, 0, sizeof(*out));
    out->dn = dn_of(l, p, entry);
    out->dn_key = out->dn ? mdm_ldap_dn_key(p, out->dn) : NULL;
    out->name = text_value(l, p, entry, l->conf->attr[MDM_LA_GROUP_NAME], TEXT_BYTES);
    if (members) {
        out->members = members_of(l, p, entry);
    }
    return out->dn_key && *out->name && !hidden(l, entry);
}

apr_status_t mdm_ldap_groups_of(mdm_ldap_t *l, const mdm_ldap_person_t *person, apr_array_header_t **out)
{
    const char *const *a = l->conf->attr;
    char classes[] = "objectClass", *attrs[] = {(char *)a[MDM_LA_GROUP_NAME], classes, NULL};
    const char *test = mdm_ldap_equals(l->ctx->pool, a[MDM_LA_MEMBER], person->dn);
    struct timeval tv = limit(l);
    int i, rc = LDAP_SUCCESS;

    *out = apr_array_make(l->ctx->pool, 8, sizeof(mdm_ldap_group_t));
    if (!*a[MDM_LA_GROUP_CLASS] || !*a[MDM_LA_GROUP_NAME] || !*test) {
        return APR_SUCCESS;
    }
    for (i = 0; i < nbases(l, 1); i++) {
        LDAPMessage *result = NULL, *entry;
        mdm_ldap_group_t one;

        rc = ldap_search_ext_s(armed(l), base_of(l, 1, i), LDAP_SCOPE_SUBTREE, group_filter(l, test), attrs, 0, NULL, NULL, &tv,
                               GROUPS_MAX, &result);
        if (rc == LDAP_SIZELIMIT_EXCEEDED) {
            rc = LDAP_SUCCESS;
        }
        for (entry = rc ? NULL : ldap_first_entry(l->ld, result); entry; entry = ldap_next_entry(l->ld, entry)) {
            if (read_group(l, l->ctx->pool, entry, 0, &one) && (*out)->nelts < GROUPS_MAX) {
                APR_ARRAY_PUSH(*out, mdm_ldap_group_t) = one;
            }
        }
        ldap_msgfree(result);
        if (rc != LDAP_SUCCESS) {
            return away(l, "search of groups", rc);
        }
    }
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- everything, in pages */

void mdm_ldap_cursor_end(mdm_ldap_cursor_t *c)
{
    ber_bvfree(c->cookie);
    c->cookie = NULL;
}

/* One page of the cursor's base; moves the cursor on. */
static apr_status_t page(mdm_ldap_t *l, mdm_ldap_cursor_t *c, int groups, const char *filter, char **attrs, LDAPMessage **result)
{
    struct berval *was = c->cookie, next = {0, NULL};
    LDAPControl *ask = NULL, *asked[2] = {NULL, NULL}, **got = NULL, *pages;
    struct timeval tv = limit(l);
    ber_int_t total = 0;
    int code = LDAP_OTHER, rc = ldap_create_page_control(l->ld, groups ? GROUPS_PAGE : PAGE_SIZE, was, 1, &ask);

    *result = NULL;
    if (rc == LDAP_SUCCESS) {
        asked[0] = ask;
        rc = ldap_search_ext_s(armed(l), base_of(l, groups, c->base), LDAP_SCOPE_SUBTREE, filter, attrs, 0, asked, NULL, &tv, 0,
                               result);
    }
    if (rc == LDAP_SUCCESS) {
        rc = ldap_parse_result(l->ld, *result, &code, NULL, NULL, NULL, &got, 0);
    }
    mdm_ldap_cursor_end(c);
    if (rc == LDAP_SUCCESS && (rc = code) == LDAP_SUCCESS) {
        pages = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, got, NULL);
        if (pages && (rc = ldap_parse_pageresponse_control(l->ld, pages, &total, &next)) == LDAP_SUCCESS && next.bv_len) {
            c->cookie = ber_bvdup(&next);
        }
        ldap_memfree(next.bv_val);
    }
    if (!c->cookie && ++c->base >= nbases(l, groups)) {
        c->end = 1;
    }
    ldap_control_free(ask);
    ldap_controls_free(got);
    return rc == LDAP_SUCCESS ? APR_SUCCESS : away(l, "search", rc);
}

apr_status_t mdm_ldap_people_page(mdm_ldap_t *l, apr_pool_t *p, mdm_ldap_cursor_t *c, apr_array_header_t **out)
{
    const char *test = apr_pstrcat(p, "(", l->conf->attr[MDM_LA_LOGIN], "=*)", NULL), *container;
    LDAPMessage *result, *entry;
    mdm_ldap_person_t one;
    apr_status_t rv;

    if (c->end) {
        return APR_EOF;
    }
    container = base_of(l, 0, c->base);
    *out = apr_array_make(p, PAGE_SIZE, sizeof(mdm_ldap_person_t));
    rv = page(l, c, 0, person_filter(l, test), person_attrs(l), &result);
    for (entry = rv ? NULL : ldap_first_entry(l->ld, result); entry; entry = ldap_next_entry(l->ld, entry)) {
        if (read_person(l, p, entry, container, &one)) {
            APR_ARRAY_PUSH(*out, mdm_ldap_person_t) = one;
        }
    }
    ldap_msgfree(result);
    return rv;
}

apr_status_t mdm_ldap_groups_page(mdm_ldap_t *l, apr_pool_t *p, mdm_ldap_cursor_t *c, apr_array_header_t **out)
{
    const char *const *a = l->conf->attr;
    char classes[] = "objectClass", *attrs[] = {(char *)a[MDM_LA_GROUP_NAME], (char *)a[MDM_LA_MEMBER], classes, NULL};
    LDAPMessage *result, *entry;
    mdm_ldap_group_t one;
    apr_status_t rv;

    if (c->end || !*a[MDM_LA_GROUP_CLASS] || !*a[MDM_LA_GROUP_NAME] || !*a[MDM_LA_MEMBER]) {
        return APR_EOF;
    }
    *out = apr_array_make(p, GROUPS_PAGE, sizeof(mdm_ldap_group_t));
    rv = page(l, c, 1, group_filter(l, ""), attrs, &result);
    for (entry = rv ? NULL : ldap_first_entry(l->ld, result); entry; entry = ldap_next_entry(l->ld, entry)) {
        if (read_group(l, p, entry, 1, &one)) {
            APR_ARRAY_PUSH(*out, mdm_ldap_group_t) = one;
        }
    }
    ldap_msgfree(result);
    return rv;
}

/* ---------------------------------------------------------------- the test's last step */

apr_status_t mdm_ldap_count(mdm_ldap_t *l, const char *container, int *n)
{
    struct timeval tv = limit(l);
    LDAPMessage *result = NULL;
    char no_attrs[] = LDAP_NO_ATTRS, *none[] = {no_attrs, NULL};
    int rc = ldap_search_ext_s(armed(l), container, LDAP_SCOPE_SUBTREE,
                               person_filter(l, apr_pstrcat(l->ctx->pool, "(", l->conf->attr[MDM_LA_LOGIN], "=*)", NULL)), none, 0,
                               NULL, NULL, &tv, PAGE_SIZE, &result);

    *n = rc == LDAP_SUCCESS || rc == LDAP_SIZELIMIT_EXCEEDED ? ldap_count_entries(l->ld, result) : 0;
    ldap_msgfree(result);
    return rc == LDAP_SUCCESS || rc == LDAP_SIZELIMIT_EXCEEDED ? APR_SUCCESS : away(l, "search", rc);
}
