/* Owns talking to LDAP directories: what a source is configured to, one connection per call, finding people and groups, checking
 * passwords by bind (USR-01..03, USR-11, R27, R46). Knows no database; never call it while one is held. */
#ifndef MDM_LDAP_H
#define MDM_LDAP_H

#include <apr_tables.h>
#include "base/mdm_json.h"
#include "wire/mdm_probe.h"

typedef enum { MDM_LDAP_NONE, MDM_LDAP_LDAPS, MDM_LDAP_STARTTLS } mdm_ldap_tls_e;

/* What a directory calls things; a preset has them all, a source may override each. "" = it has none. */
enum {
    MDM_LA_PERSON_CLASS, MDM_LA_LOGIN, MDM_LA_MAIL, MDM_LA_NAME, MDM_LA_PHONE, MDM_LA_GUID, MDM_LA_DISABLED, MDM_LA_GROUP_CLASS,
    MDM_LA_GROUP_NAME, MDM_LA_MEMBER, MDM_LA_DYNAMIC_CLASS, MDM_LA_COUNT
};
extern const char *const mdm_ldap_attr_names[MDM_LA_COUNT + 1]; /* their names in JSON: "person_class", "login", … */
extern const char *const mdm_ldap_types[];                      /* the presets: "edirectory", … NULL-terminated */

typedef struct mdm_ldap_conf_t {
    const char *type, *host;
    int port;
    mdm_ldap_tls_e tls;
    const char *root;                /* "" = none: groups are looked for in the containers */
    const char *bind_dn;             /* "" = anonymous */
    const char *bind_password;       /* set by the caller; not part of the JSON */
    apr_array_header_t *containers;  /* of const char * */
    apr_array_header_t *authorisers; /* of const char *, dn keys: groups whose members may authorise enrolments (PEN-01) */
    int ignore_dynamic;
    int timeout_ms, sync_minutes;
    const char *pin;                 /* SHA-256 of the accepted server certificate, 64 hex; "" = none */
    const char *ca;                  /* PEM of the authority that must have signed it, with the host's name; "" = none */
    const char *attr[MDM_LA_COUNT];
} mdm_ldap_conf_t;

/* Reads and checks user_source.config; MDM_EINPUT names the field. */
apr_status_t mdm_ldap_conf(mdm_ctx_t *ctx, json_t *config, mdm_ldap_conf_t **out);

/* A value for a filter, every byte that could mean something escaped (RFC 4515 section 3). */
char *mdm_ldap_escape(apr_pool_t *p, const char *value);
/* "(attr=value)" with the value escaped; "" if there is no such attribute. */
char *mdm_ldap_equals(apr_pool_t *p, const char *attr, const char *value);
/* A form of the DN in which equal ones are equal text; NULL if it is no DN. */
char *mdm_ldap_dn_key(apr_pool_t *p, const char *dn);

typedef struct mdm_ldap_t mdm_ldap_t;

typedef struct mdm_ldap_person_t {
    const char *dn, *dn_key, *guid /* hex; "" = none */, *login, *mail, *name, *phone;
    const char *container; /* as configured */
    int disabled;
} mdm_ldap_person_t;

typedef struct mdm_ldap_group_t {
    const char *dn, *dn_key, *name;
    apr_array_header_t *members; /* of const char *, dn keys; only from mdm_ldap_groups_page() */
} mdm_ldap_group_t;

/* Connects, judges the certificate, binds as the source's account. MDM_EUNAVAIL with the reason in ctx->fail_text; with
 * ctx->retry_after > 0 it was not even tried (mdm_ldap_gate.h). */
apr_status_t mdm_ldap_open(mdm_ctx_t *ctx, const mdm_ldap_conf_t *conf, mdm_ldap_t **out);
void mdm_ldap_close(mdm_ldap_t *l);
/* The containers of the source that l is connected to. */
const apr_array_header_t *mdm_ldap_containers(const mdm_ldap_t *l);

/* The one person with this log-in or (by_mail) address. APR_NOTFOUND: none, or more than one. */
apr_status_t mdm_ldap_find(mdm_ldap_t *l, const char *value, int by_mail, mdm_ldap_person_t **out);
/* The groups that name the person as a member, at most 1,000. */
apr_status_t mdm_ldap_groups_of(mdm_ldap_t *l, const mdm_ldap_person_t *person, apr_array_header_t **out /* of mdm_ldap_group_t */);
/* Checks a password by bind; the connection is of no other use afterwards. person NULL: the same question for nobody (R21).
 * MDM_EAUTH if the directory says no. An empty password is MDM_EAUTH without asking. */
apr_status_t mdm_ldap_check(mdm_ldap_t *l, const mdm_ldap_person_t *person, const char *password);

/* Lists of everything, page by page (RFC 2696). Begin with a zeroed cursor; APR_EOF after the last page. Results are in p. */
typedef struct mdm_ldap_cursor_t {
    int base;           /* which container is being read */
    void *cookie;       /* private */
    int end;
} mdm_ldap_cursor_t;
apr_status_t mdm_ldap_people_page(mdm_ldap_t *l, apr_pool_t *p, mdm_ldap_cursor_t *c,
                                  apr_array_header_t **out /* of mdm_ldap_person_t */);
void mdm_ldap_cursor_end(mdm_ldap_cursor_t *c);
apr_status_t mdm_ldap_groups_page(mdm_ldap_t *l, apr_pool_t *p, mdm_ldap_cursor_t *c,
                                  apr_array_header_t **out /* of mdm_ldap_group_t */);

/* Walks DNS, TCP, TLS, bind and a search in each container (USR-03). Stops at the first failure. */
void mdm_ldap_test(mdm_probe_t *p, const mdm_ldap_conf_t *conf);

#endif
