/* Owns sealing of secrets for the database: AES-256-GCM (NIST SP 800-38D) under key files outside it (SEC-04). */
#ifndef MDM_SEAL_H
#define MDM_SEAL_H

#include "base/mdm_text.h"

/* The key file has one key per line: "<key id> <base64 of 32 bytes>", newest first; lines that begin with '#' are
 * comments. The first seals; all unseal. Rotation = put a new line on top, then `mdmctl reseal`.
 * The keys live in memory excluded from core dumps, freed with p. Refuses a file that group or others may read
 * (MDM_EINPUT, ctx->fail_text says so), no key, a bad key, two keys of one id. */
apr_status_t mdm_keyring_load(mdm_ctx_t *ctx, apr_pool_t *p, const char *path, mdm_keyring_t **out);
/* Same from memory: for tests and for a parent that read the file as root. */
apr_status_t mdm_keyring_parse(mdm_ctx_t *ctx, apr_pool_t *p, const char *text, mdm_keyring_t **out);
/* Text of a new key file with one fresh key. */
char *mdm_keyring_new(apr_pool_t *p);

/* A copy of a secret text in memory that core dumps leave out, wiped and freed with p; NULL if there is no memory.
 * Takes whole pages: for few long-lived secrets. */
char *mdm_secret_dup(apr_pool_t *p, const char *s);

/* Seals data for one purpose. The result is text "s1.<key id>.<base64url of nonce|ciphertext|tag>". `purpose` is bound
 * as additional data: use "<table>.<column>:<row id>", so that a sealed value copied to another row does not open. */
apr_status_t mdm_seal(mdm_ctx_t *ctx, const char *purpose, const void *data, apr_size_t len, const char **out);
/* Opens what mdm_seal made. MDM_EUNAVAIL if the key is unknown or the text was changed: the log names the key id only. */
apr_status_t mdm_unseal(mdm_ctx_t *ctx, const char *purpose, const char *sealed, mdm_blob_t *out);

/* HMAC-SHA-256 under a key derived from the newest key's ring and `label`: for look-up indexes of secrets.
 * Stable over rotation: derived from the ring's oldest key. 64 hex characters. */
apr_status_t mdm_seal_index(mdm_ctx_t *ctx, const char *label, const char *value, const char **out);

/* Password hashing with scrypt (RFC 7914: N=16384 r=8 p=1, 16 MB): "scrypt$14$8$1$<salt>$<hash>", base64url. */
apr_status_t mdm_password_hash(mdm_ctx_t *ctx, const char *password, const char **out);
/* APR_SUCCESS if it fits, MDM_EAUTH if not. stored == NULL does the same work and fails, so that an unknown person
 * costs as much as a wrong password (R21). */
apr_status_t mdm_password_check(mdm_ctx_t *ctx, const char *password, const char *stored);

#endif
