/* Between the files of mdm_ldap only. */
#ifndef MDM_LDAP_PRIV_H
#define MDM_LDAP_PRIV_H

#include <ldap.h>
#include "domain/mdm_ldap.h"
#include "domain/mdm_ldap_gate.h"

/* A connection. One that was of use and stayed whole outlives the call that made it (mdm_ldap_gate.h). */
struct mdm_ldap_line_t {
    LDAP *ld;
    struct ldap_conncb on_connect;
    const mdm_ctx_t *ctx; /* while it is being made */
    int made;             /* libldap would connect again by itself, to a server that nobody has judged: it may not */
    int refused;          /* by us: the server has a local address (SEC-08) */
    apr_time_t until;     /* when the operation under way must have ended */
};

struct mdm_ldap_t {
    mdm_ctx_t *ctx;
    const mdm_ldap_conf_t *conf;
    LDAP *ld; /* the line's */
    mdm_ldap_line_t *line;
    apr_time_t made; /* the line, ticks */
    mdm_blob_t cert; /* what the server showed, DER */
    int lost;        /* it did not answer */
    int whole;       /* judged and bound, and everything was answered since: the line may be kept */
    mdm_ldap_place_t *place; /* of the process's gate; NULL: none was taken */
};

/* Connects and shakes hands, past the gate; sends nothing else. *out is set even if it fails and holds the certificate if there was one. */
apr_status_t mdm_ldap_connect(mdm_ctx_t *ctx, const mdm_ldap_conf_t *conf, mdm_ldap_t **out);
/* Is this the certificate that an administrator accepted (USR-02)? Without an act of theirs, none is. */
apr_status_t mdm_ldap_judge(mdm_ctx_t *ctx, const mdm_ldap_conf_t *conf, mdm_blob_t der);
/* Binds as the source's own account. */
apr_status_t mdm_ldap_bind(mdm_ldap_t *l);
/* People in a container, counted up to a page. */
apr_status_t mdm_ldap_count(mdm_ldap_t *l, const char *container, int *n);

#endif
