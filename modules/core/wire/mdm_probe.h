/* Owns what connection tests share: their steps, the first two of them (DNS, TCP), what a certificate says; and to which addresses
 * nobody is connected on behalf of an administrator (SEC-08). */
#ifndef MDM_PROBE_H
#define MDM_PROBE_H

#include <jansson.h>
#include "base/mdm_text.h"

struct sockaddr;

/* True for loopback, link-local, multicast and the usual metadata addresses, also when they hide in IPv6. */
int mdm_addr_local(const struct sockaddr *sa);
/* True if a service that an administrator has named may not be asked at this address: a local one, without MDMOutboundLocal. */
int mdm_addr_refused(const mdm_ctx_t *ctx, const struct sockaddr *sa);
#define MDM_ADDR_REFUSED "this is a loopback, link-local or metadata address; MDMOutboundLocal allows them"

/* True for addresses that the internet does not route to a place of its own: private ones of IPv4 and IPv6, shared ones of providers, and the local ones. */
int mdm_addr_private(const struct sockaddr *sa);

/* A test under way. */
typedef struct mdm_probe_t {
    mdm_ctx_t *ctx;
    json_t *steps; /* array of {step, ok, ms, text}, "tls" also with "certificate"; the caller's */
    void (*told)(void *baton, const json_t *step); /* each step as soon as it has ended; may be NULL */
    void *baton;
    int (*may)(void *baton, const struct sockaddr *sa); /* which addresses may be asked beside those that mdm_addr_refused() lets; NULL: all */
    void *may_baton;
    const char *may_words; /* why another one is not */
    apr_time_t began; /* the step under way; mdm_probe_step() begins the next one */
} mdm_probe_t;

/* A step has ended. text is cleaned. */
void mdm_probe_step(mdm_probe_t *p, const char *name, int ok, const char *text);
/* The step "tls", with the certificate that the server showed (DER; data NULL: none) and whether it is accepted. */
void mdm_probe_tls(mdm_probe_t *p, mdm_blob_t der, int ok, const char *text);
/* The steps "dns" and "tcp". True if the port answers and may be asked. */
int mdm_probe_reach(mdm_probe_t *p, const char *host, int port, int timeout_ms);

#endif
