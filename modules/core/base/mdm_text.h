/* Owns small, safe text and byte helpers. */
#ifndef MDM_TEXT_H
#define MDM_TEXT_H

#include "base/mdm_ctx.h"

/* Bytes with a length; data is NUL-terminated behind len for convenience when made by this library. */
typedef struct mdm_blob_t {
    const unsigned char *data;
    apr_size_t len;
} mdm_blob_t;

/* Lower-case hex. */
char *mdm_hex(apr_pool_t *p, const void *data, apr_size_t len);
/* Exact inverse; MDM_EINPUT for an odd length or a foreign character. */
apr_status_t mdm_unhex(apr_pool_t *p, const char *hex, mdm_blob_t *out);

/* Standard base64 with padding, and base64url without. Decoding ignores white space, refuses all else. */
char *mdm_b64(apr_pool_t *p, const void *data, apr_size_t len);
char *mdm_b64url(apr_pool_t *p, const void *data, apr_size_t len);
apr_status_t mdm_unb64(apr_pool_t *p, const char *text, apr_size_t len, mdm_blob_t *out);
apr_status_t mdm_unb64url(apr_pool_t *p, const char *text, mdm_blob_t *out);

/* True if equal; time depends on the lengths only. NULL never equals anything. */
int mdm_secret_equal(const char *a, const char *b);
int mdm_bytes_equal(const void *a, const void *b, apr_size_t len);

/* Overwrites memory in a way the compiler keeps. */
void mdm_wipe(void *data, apr_size_t len);

/* Random bytes from OpenSSL's CSPRNG; MDM_EUNAVAIL if it fails. */
apr_status_t mdm_random(void *out, apr_size_t len);
/* A random token of nbytes as base64url text; NULL if there is no randomness. */
char *mdm_token(apr_pool_t *p, apr_size_t nbytes);
/* A new random (version 4) UUID in lower-case text. Aborts the call's pool never: NULL if there is no randomness. */
char *mdm_uuid(apr_pool_t *p);
/* True for 8-4-4-4-12 hex text. */
int mdm_is_uuid(const char *s);
/* 36-character text to 16 bytes; MDM_EINPUT otherwise. And back. */
apr_status_t mdm_uuid_bytes(const char *s, unsigned char out[16]);
char *mdm_uuid_text(apr_pool_t *p, const unsigned char in[16]);

/* SHA-256 as bytes and as 64 hex characters. */
void mdm_sha256(const void *data, apr_size_t len, unsigned char out[32]);
char *mdm_sha256_hex(apr_pool_t *p, const void *data, apr_size_t len);

/* True if s[0..len) is well-formed UTF-8 without NUL (RFC 3629: no surrogates, no overlong forms). */
int mdm_utf8_valid(const char *s, apr_size_t len);
/* A copy that is valid UTF-8, without control characters, at most max bytes, cut between characters, trimmed. */
char *mdm_clean(apr_pool_t *p, const char *s, apr_size_t max);
/* True for what can be a host name or an IP address: letters, digits and -._: only, at most 255 bytes. */
int mdm_is_host(const char *s);
/* ASCII lower-case copy. */
char *mdm_lower(apr_pool_t *p, const char *s);

/* Whole string is a decimal number in [min,max]; MDM_EINPUT otherwise. */
apr_status_t mdm_parse_i64(const char *s, apr_int64_t min, apr_int64_t max, apr_int64_t *out);
/* True if dotted version a is at least b; what is no version is 0. */
int mdm_version_at_least(const char *a, const char *b);
/* RFC 3339 UTC text with milliseconds for ms since 1970, e.g. 2026-11-21T10:00:00.000Z. */
char *mdm_time_text(apr_pool_t *p, apr_int64_t ms);
/* A moment as people and programs write it: RFC 3339 with its offset, or, without one, a time of this server's zone ("2026-12-01T08:00", with a blank for
 * the T, with seconds or without any time of day). Years 1970 to 9998. MDM_EINPUT: neither. */
apr_status_t mdm_time_read(const char *s, apr_int64_t *ms);
/* As this server's clock on the wall says it: "2026-12-01 08:00 CET". */
char *mdm_time_local(apr_pool_t *p, apr_int64_t ms);
/* First 4 characters and "…": how identifiers look in logs at info and above. */
char *mdm_mask(apr_pool_t *p, const char *s);

#endif
