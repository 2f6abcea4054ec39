/* Sealing with AES-256-GCM, look-up indexes, password hashes. Key bytes never enter a pool. */
#include "base/mdm_seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <apr_strings.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define KEY_BYTES 32
#define KEY_ID_MAX 32
#define KEYS_MAX 64
#define FILE_MAX 16384
#define NONCE_BYTES 12
#define TAG_BYTES 16
#define SEAL_MAX (16 * 1024 * 1024)

typedef struct ringkey_t {
    char id[KEY_ID_MAX + 1];
    unsigned char key[KEY_BYTES];
} ringkey_t;

/* Lives in pages of its own, see secret_pages(). */
struct mdm_keyring_t {
    int n;
    ringkey_t keys[KEYS_MAX]; /* newest first */
};

/* ---- keyring */

/* Anonymous pages that no core dump contains. */
static void *secret_pages(apr_size_t len)
{
    /* cppcheck-suppress invalidFunctionArg */
    void *m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (m == MAP_FAILED)
        return NULL;
    if (madvise(m, len, MADV_DONTDUMP) != 0) {
        munmap(m, len);
        return NULL;
    }
    return m;
}

static void secret_free(void *m, apr_size_t len)
{
    mdm_wipe(m, len);
    munmap(m, len);
}

static apr_status_t text_free(void *text)
{
    secret_free(text, strlen(text) + 1);
    return APR_SUCCESS;
}

char *mdm_secret_dup(apr_pool_t *p, const char *s)
{
    apr_size_t len = s ? strlen(s) + 1 : 0;
    char *copy = len ? secret_pages(len) : NULL;

    if (copy) {
        memcpy(copy, s, len);
        apr_pool_cleanup_register(p, copy, text_free, apr_pool_cleanup_null);
    }
    return copy;
}

static apr_status_t ring_free(void *ring)
{
    secret_free(ring, sizeof(mdm_keyring_t));
    return APR_SUCCESS;
}

static int key_id_ok(const char *id, apr_size_t len)
{
    static const char set[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    return len >= 1 && len <= KEY_ID_MAX && strspn(id, set) >= len;
}

/* 44 characters of canonical base64 to 32 bytes. */
static int key_decode(const char *text, apr_size_t len, unsigned char out[KEY_BYTES])
{
    unsigned char in[45], raw[KEY_BYTES + 1], back[45];
    int ok;

    if (len != 44)
        return 0;
    memcpy(in, text, 44);
    in[44] = '\0';
    ok = EVP_DecodeBlock(raw, in, 44) == KEY_BYTES + 1;
    if (ok) {
        EVP_EncodeBlock(back, raw, KEY_BYTES);
        ok = mdm_bytes_equal(back, in, 44);
    }
    if (ok)
        memcpy(out, raw, KEY_BYTES);
    mdm_wipe(raw, sizeof(raw));
    mdm_wipe(in, sizeof(in));
    mdm_wipe(back, sizeof(back));
    return ok;
}

/* One line of the key file; NULL or what is wrong with it. */
static const char *ring_line(mdm_keyring_t *ring, const char *line, apr_size_t len)
{
    apr_size_t idlen, gap;
    ringkey_t *k;
    int i;

    while (len && (line[len - 1] == ' ' || line[len - 1] == '\r' || line[len - 1] == '\t'))
        len--;
    if (!len || line[0] == '#')
        return NULL;
    for (idlen = 0; idlen < len && line[idlen] != ' ' && line[idlen] != '\t'; idlen++)
        ;
    for (gap = idlen; gap < len && (line[gap] == ' ' || line[gap] == '\t'); gap++)
        ;
    if (!key_id_ok(line, idlen))
        return "the key id is not 1 to 32 letters, digits, '-' or '_'";
    if (ring->n == KEYS_MAX)
        return "there are too many keys";
    k = &ring->keys[ring->n];
    memcpy(k->id, line, idlen);
    k->id[idlen] = '\0';
    for (i = 0; i < ring->n; i++) {
        if (strcmp(ring->keys[i].id, k->id) == 0)
            return "the key id is there twice";
    }
    if (!key_decode(line + gap, len - gap, k->key))
        return "the key is not base64 of 32 bytes";
    ring->n++;
    return NULL;
}

apr_status_t mdm_keyring_parse(mdm_ctx_t *ctx, apr_pool_t *p, const char *text, mdm_keyring_t **out)
{
    mdm_keyring_t *ring = secret_pages(sizeof(*ring));
    const char *why = NULL, *line;
    int n = 0;

    *out = NULL;
    if (!ring)
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no memory for the sealing keys");
    for (line = text ? text : ""; *line && !why;) {
        const char *end = strchr(line, '\n');
        apr_size_t len = end ? (apr_size_t)(end - line) : strlen(line);

        n++;
        why = ring_line(ring, line, len);
        line += len + (end ? 1 : 0);
    }
    if (why || !ring->n) {
        ring_free(ring);
        if (why)
            return mdm_fail(ctx, MDM_EINPUT, NULL, "key file, line %d: %s", n, why);
        return mdm_fail(ctx, MDM_EINPUT, NULL, "the key file holds no key");
    }
    apr_pool_cleanup_register(p, ring, ring_free, apr_pool_cleanup_null);
    *out = ring;
    return APR_SUCCESS;
}

/* Reads fd whole into text (FILE_MAX bytes and a NUL). */
static apr_status_t read_whole(int fd, char *text)
{
    apr_size_t used = 0;
    ssize_t n;

    while ((n = read(fd, text + used, FILE_MAX - used)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        used += (apr_size_t)n;
        if (used == FILE_MAX)
            return MDM_ETOOBIG;
    }
    text[used] = '\0';
    return strlen(text) == used ? APR_SUCCESS : MDM_EINPUT;
}

apr_status_t mdm_keyring_load(mdm_ctx_t *ctx, apr_pool_t *p, const char *path, mdm_keyring_t **out)
{
    char buf[128], *text = NULL;
    struct stat st;
    apr_status_t rv;
    int fd;

    *out = NULL;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        rv = errno;
        mdm_fail(ctx, rv, NULL, "%s: %s", path, apr_strerror(rv, buf, sizeof(buf)));
        goto out;
    }
    rv = MDM_EINPUT;
    if (!S_ISREG(st.st_mode)) {
        mdm_fail(ctx, rv, NULL, "%s: not a file", path);
        goto out;
    }
    if (st.st_mode & 077) {
        mdm_fail(ctx, rv, NULL, "%s: others than its owner may use this key file; run chmod 600",
                 path);
        goto out;
    }
    text = secret_pages(FILE_MAX + 1);
    rv = text ? read_whole(fd, text) : APR_ENOMEM;
    if (rv != APR_SUCCESS) {
        rv = rv == APR_ENOMEM ? MDM_EUNAVAIL : MDM_EINPUT;
        mdm_fail(ctx, rv, NULL, "%s: not a readable text of less than %d bytes", path, FILE_MAX);
        goto out;
    }
    rv = mdm_keyring_parse(ctx, p, text, out);
    if (rv != APR_SUCCESS)
        mdm_fail(ctx, rv, NULL, "%s: %s", path, ctx->fail_text);
out:
    if (text)
        secret_free(text, FILE_MAX + 1);
    if (fd >= 0)
        close(fd);
    return rv;
}

char *mdm_keyring_new(apr_pool_t *p)
{
    unsigned char key[KEY_BYTES], id[4];
    char *text;

    if (mdm_random(key, sizeof(key)) != APR_SUCCESS || mdm_random(id, sizeof(id)) != APR_SUCCESS)
        return NULL;
    text = apr_pstrcat(p, "# Sealing keys of the zone, newest first. Keep this file safe: without it the sealed\n"
                          "# values of the database can't be read.\nk", mdm_hex(p, id, sizeof(id)),
                       " ", mdm_b64(p, key, sizeof(key)), "\n", NULL);
    mdm_wipe(key, sizeof(key));
    return text;
}

/* ---- sealing */

static const mdm_keyring_t *ring_of(mdm_ctx_t *ctx)
{
    return ctx->env ? ctx->env->keys : NULL;
}

static apr_status_t no_ring(mdm_ctx_t *ctx)
{
    return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no sealing key is configured");
}

/* Encrypts in[0..len) to out = ciphertext|tag. */
static int gcm_seal(const unsigned char *key, const unsigned char *nonce, const char *aad,
                    const unsigned char *in, int len, unsigned char *out)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0, ok;

    ok = c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
         EVP_EncryptUpdate(c, NULL, &n, (const unsigned char *)aad, (int)strlen(aad)) == 1 &&
         (len == 0 || EVP_EncryptUpdate(c, out, &n, in, len) == 1) &&
         EVP_EncryptFinal_ex(c, out + len, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, out + len) == 1;
    EVP_CIPHER_CTX_free(c);
    return ok;
}

/* Opens in = ciphertext[0..len)|tag to out[0..len). */
static int gcm_open(const unsigned char *key, const unsigned char *nonce, const char *aad,
                    const unsigned char *in, int len, unsigned char *out)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    unsigned char tag[TAG_BYTES];
    int n = 0, ok;

    memcpy(tag, in + len, TAG_BYTES);
    ok = c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
         EVP_DecryptUpdate(c, NULL, &n, (const unsigned char *)aad, (int)strlen(aad)) == 1 &&
         (len == 0 || EVP_DecryptUpdate(c, out, &n, in, len) == 1) &&
         EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
         EVP_DecryptFinal_ex(c, out + len, &n) == 1;
    EVP_CIPHER_CTX_free(c);
    return ok;
}

apr_status_t mdm_seal(mdm_ctx_t *ctx, const char *purpose, const void *data, apr_size_t len,
                      const char **out)
{
    const mdm_keyring_t *ring = ring_of(ctx);
    unsigned char *buf;
    int ok;

    *out = NULL;
    if (!ring)
        return no_ring(ctx);
    if (len > SEAL_MAX)
        return mdm_fail(ctx, MDM_ETOOBIG, NULL, "too large to be sealed");
    buf = apr_palloc(ctx->pool, NONCE_BYTES + len + TAG_BYTES);
    if (mdm_random(buf, NONCE_BYTES) != APR_SUCCESS)
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "no randomness");
    ERR_set_mark();
    ok = gcm_seal(ring->keys[0].key, buf, purpose, data, (int)len, buf + NONCE_BYTES);
    ERR_pop_to_mark();
    if (!ok)
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "sealing failed");
    *out = apr_pstrcat(ctx->pool, "s1.", ring->keys[0].id, ".",
                       mdm_b64url(ctx->pool, buf, NONCE_BYTES + len + TAG_BYTES), NULL);
    return APR_SUCCESS;
}

/* The key that a sealed text names, and where its payload begins; NULL if there is none. */
static const ringkey_t *key_of(const mdm_keyring_t *ring, const char *sealed, const char **id,
                               const char **payload)
{
    const char *dot = NULL;
    char name[KEY_ID_MAX + 1];
    int i;

    *id = NULL;
    if (!sealed || strncmp(sealed, "s1.", 3) != 0 || !(dot = strchr(sealed + 3, '.')) ||
        !key_id_ok(sealed + 3, (apr_size_t)(dot - sealed - 3)))
        return NULL;
    *id = sealed + 3;
    *payload = dot + 1;
    apr_cpystrn(name, sealed + 3, (apr_size_t)(dot - sealed - 3) + 1);
    for (i = 0; i < ring->n; i++) {
        if (strcmp(ring->keys[i].id, name) == 0)
            return &ring->keys[i];
    }
    return NULL;
}

apr_status_t mdm_unseal(mdm_ctx_t *ctx, const char *purpose, const char *sealed, mdm_blob_t *out)
{
    const mdm_keyring_t *ring = ring_of(ctx);
    const char *id, *payload = NULL;
    const ringkey_t *k;
    unsigned char *plain;
    mdm_blob_t raw;
    int ok;

    out->data = NULL;
    out->len = 0;
    if (!ring)
        return no_ring(ctx);
    k = key_of(ring, sealed, &id, &payload);
    if (!k) {
        mdm_log(ctx, MDM_LOG_ERR, "MDM0001", MDM_EUNAVAIL,
                "a sealed value of %.40s needs key %.*s, which the key file does not have", purpose,
                id ? (int)(payload - id - 1) : 1, id ? id : "?");
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "a stored secret can't be opened: its key is missing");
    }
    ok = mdm_unb64url(ctx->pool, payload, &raw) == APR_SUCCESS &&
         raw.len >= NONCE_BYTES + TAG_BYTES && raw.len <= SEAL_MAX + NONCE_BYTES + TAG_BYTES;
    if (ok) {
        out->len = raw.len - NONCE_BYTES - TAG_BYTES;
        plain = apr_palloc(ctx->pool, out->len + 1);
        ERR_set_mark();
        ok = gcm_open(k->key, raw.data, purpose, raw.data + NONCE_BYTES, (int)out->len, plain);
        ERR_pop_to_mark();
        if (!ok)
            mdm_wipe(plain, out->len);
        plain[out->len] = '\0';
        out->data = plain;
    }
    if (!ok) {
        out->data = NULL;
        out->len = 0;
        mdm_log(ctx, MDM_LOG_ERR, "MDM0002", MDM_EUNAVAIL,
                "a sealed value of %.40s (key %s) was changed or copied from elsewhere", purpose,
                k->id);
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "a stored secret can't be opened");
    }
    return APR_SUCCESS;
}

static int hmac256(const unsigned char *key, const char *text, unsigned char out[32])
{
    unsigned n = 0;

    return HMAC(EVP_sha256(), key, KEY_BYTES, (const unsigned char *)text, strlen(text), out, &n) &&
           n == 32;
}

apr_status_t mdm_seal_index(mdm_ctx_t *ctx, const char *label, const char *value, const char **out)
{
    const mdm_keyring_t *ring = ring_of(ctx);
    unsigned char derived[32], mac[32];
    int ok;

    *out = NULL;
    if (!ring)
        return no_ring(ctx);
    ERR_set_mark();
    ok = hmac256(ring->keys[ring->n - 1].key, apr_pstrcat(ctx->pool, "index:", label, NULL),
                 derived) &&
         hmac256(derived, value, mac);
    ERR_pop_to_mark();
    if (ok)
        *out = mdm_hex(ctx->pool, mac, sizeof(mac));
    mdm_wipe(derived, sizeof(derived));
    return ok ? APR_SUCCESS : mdm_fail(ctx, MDM_EUNAVAIL, NULL, "hashing failed");
}

/* ---- passwords */

#define SALT_BYTES 16
#define HASH_BYTES 32
#define PASSWORD_MAX 1024
#define SCRYPT_MEM (256u * 1024 * 1024)

typedef struct scrypt_t {
    int log_n, r, p;
    mdm_blob_t salt, hash;
} scrypt_t;

static int scrypt_run(const scrypt_t *s, const char *password, unsigned char out[HASH_BYTES])
{
    int ok;

    ERR_set_mark();
    ok = EVP_PBE_scrypt(password, strlen(password), s->salt.data, s->salt.len,
                        (uint64_t)1 << s->log_n, (uint64_t)s->r, (uint64_t)s->p, SCRYPT_MEM, out,
                        HASH_BYTES) == 1;
    ERR_pop_to_mark();
    return ok;
}

apr_status_t mdm_password_hash(mdm_ctx_t *ctx, const char *password, const char **out)
{
    unsigned char salt[SALT_BYTES], hash[HASH_BYTES];
    scrypt_t s = {14, 8, 1, {salt, SALT_BYTES}, {hash, HASH_BYTES}};

    *out = NULL;
    if (!password || !*password)
        return mdm_fail(ctx, MDM_EINPUT, "password", "must not be empty");
    if (strlen(password) > PASSWORD_MAX)
        return mdm_fail(ctx, MDM_EINPUT, "password", "must not be longer than %d bytes", PASSWORD_MAX);
    if (mdm_random(salt, sizeof(salt)) != APR_SUCCESS || !scrypt_run(&s, password, hash))
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "hashing failed");
    *out = apr_pstrcat(ctx->pool, "scrypt$14$8$1$", mdm_b64url(ctx->pool, salt, sizeof(salt)), "$",
                       mdm_b64url(ctx->pool, hash, sizeof(hash)), NULL);
    return APR_SUCCESS;
}

/* "scrypt$14$8$1$salt$hash" with sane costs. */
static int scrypt_read(apr_pool_t *p, const char *stored, scrypt_t *s)
{
    char *copy = apr_pstrdup(p, stored ? stored : ""), *last, *part[6], *t;
    apr_int64_t n, r, par;
    int i = 0;

    for (t = apr_strtok(copy, "$", &last); t && i < 6; t = apr_strtok(NULL, "$", &last))
        part[i++] = t;
    if (i != 6 || t || strcmp(part[0], "scrypt") != 0 ||
        mdm_parse_i64(part[1], 10, 17, &n) != APR_SUCCESS ||
        mdm_parse_i64(part[2], 1, 8, &r) != APR_SUCCESS ||
        mdm_parse_i64(part[3], 1, 4, &par) != APR_SUCCESS ||
        mdm_unb64url(p, part[4], &s->salt) != APR_SUCCESS ||
        mdm_unb64url(p, part[5], &s->hash) != APR_SUCCESS || s->hash.len != HASH_BYTES ||
        s->salt.len < 8)
        return 0;
    s->log_n = (int)n;
    s->r = (int)r;
    s->p = (int)par;
    return 1;
}

apr_status_t mdm_password_check(mdm_ctx_t *ctx, const char *password, const char *stored)
{
    static const unsigned char zero[HASH_BYTES];
    unsigned char hash[HASH_BYTES];
    scrypt_t s;
    int known = scrypt_read(ctx->pool, stored, &s), fits;

    if (!known)
        s = (scrypt_t){14, 8, 1, {zero, SALT_BYTES}, {zero, HASH_BYTES}};
    if (!password || strlen(password) > PASSWORD_MAX) {
        password = "";
        known = 0;
    }
    if (!scrypt_run(&s, password, hash))
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, "hashing failed");
    fits = mdm_bytes_equal(hash, s.hash.data, HASH_BYTES);
    mdm_wipe(hash, sizeof(hash));
    return known && fits ? APR_SUCCESS : MDM_EAUTH;
}
