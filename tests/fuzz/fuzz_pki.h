/* What the fuzz targets of the PKI codecs share: one RSA certificate and its key. */
#ifndef FUZZ_PKI_H
#define FUZZ_PKI_H

#include <apr_general.h>
#include <stdint.h>
#include <stdlib.h>
#include "wire/mdm_pki_int.h"

static apr_pool_t *root;
static mdm_env_t env;
static mdm_cert_t *cert;
static mdm_key_t *key;
/* The leak check does not look into pools. */
static X509 *held_cert;
static EVP_PKEY *held_key;

static void start(void)
{
    static const char *subject[] = {"CN", "fuzz", NULL};
    mdm_issue_t what = {.profile = MDM_CERT_RA,
                        .subject = subject,
                        .not_before_ms = 0,
                        .not_after_ms = 4000000000000LL};
    mdm_ctx_t *ctx;

    apr_initialize();
    apr_pool_create(&root, NULL);
    ctx = mdm_ctx_make(root, &env, NULL, NULL);
    if (mdm_key_generate(ctx, MDM_KEY_RSA2048, &key) != APR_SUCCESS ||
        mdm_cert_issue(ctx, &what, NULL, key, &cert) != APR_SUCCESS) {
        abort();
    }
    held_cert = cert->x;
    held_key = key->pkey;
}

#endif
