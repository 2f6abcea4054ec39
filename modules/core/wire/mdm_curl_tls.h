/* Owns how our clients judge a server's certificate (R46): trusted roots and the name, or the one certificate that an administrator accepted. */
#ifndef MDM_CURL_TLS_H
#define MDM_CURL_TLS_H

#include <curl/curl.h>
#include "base/mdm_text.h"

typedef struct mdm_curl_tls_t {
    apr_pool_t *pool;    /* takes the certificate that is kept */
    const char *ca_file; /* PEM with trusted roots; NULL or "": the system's */
    const char *ca_pem;  /* trusted roots in memory instead; NULL: none */
    const char *pin;     /* NULL: nothing is kept. "": trusted roots and the name decide. Else SHA-256 (hex) of the one certificate */
    mdm_blob_t *peer;    /* with pin: gets the DER of the server's certificate, accepted or not, on a new connection */
} mdm_curl_tls_t;

/* Sets TLS 1.2 and newer, roots and judgement. t must live as long as the handle. */
void mdm_curl_tls_set(CURL *easy, mdm_curl_tls_t *t);
/* A PEM text as a blob option that is not copied; NULL sets nothing. */
void mdm_curl_blob(CURL *easy, CURLoption opt, const char *pem);

#endif
