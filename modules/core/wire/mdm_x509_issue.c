/* Makes requests, certificates and revocation lists. All contents come from the server; of a
 * request only the public key is taken. */
#include "wire/mdm_pki_int.h"
#include <apr_strings.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#define MAX_SANS 100

typedef struct profile_t {
    int ca;
    unsigned usage; /* KU_* */
    int ekus[3];    /* NIDs, 0 ends */
} profile_t;

static const profile_t profiles[] = {
    [MDM_CERT_CA] = {.ca = 1, .usage = KU_KEY_CERT_SIGN | KU_CRL_SIGN},
    [MDM_CERT_RA] = {.usage = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT},
    [MDM_CERT_IDENTITY] = {.usage = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
                           .ekus = {NID_client_auth}},
    [MDM_CERT_TLS] = {.usage = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
                      .ekus = {NID_server_auth}},
    [MDM_CERT_SIGNER] = {.usage = KU_DIGITAL_SIGNATURE, .ekus = {NID_email_protect, NID_code_sign}},
};

/* ------------------------------------------------------------------ names, numbers, times */

static X509_NAME *make_name(const char *const *pairs)
{
    X509_NAME *name = X509_NAME_new();

    for (; name && pairs && pairs[0] && pairs[1]; pairs += 2) {
        if (!X509_NAME_add_entry_by_txt(name, pairs[0], MBSTRING_UTF8,
                                        (const unsigned char *)pairs[1], -1, -1, 0)) {
            X509_NAME_free(name);
            return NULL;
        }
    }
    return name;
}

static int set_serial(X509 *x)
{
    unsigned char raw[16];
    BIGNUM *bn = NULL;
    int ok = 0;

    if (mdm_random(raw, sizeof(raw)) != APR_SUCCESS) {
        return 0;
    }
    raw[0] |= 0x40; /* always 16 bytes, never negative */
    raw[0] &= 0x7f;
    bn = BN_bin2bn(raw, sizeof(raw), NULL);
    ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)) != NULL;
    BN_free(bn);
    return ok;
}

static ASN1_TIME *make_time(apr_int64_t ms)
{
    return ASN1_TIME_set(NULL, (time_t)(ms / 1000));
}

static int set_times(X509 *x, apr_int64_t from_ms, apr_int64_t to_ms)
{
    ASN1_TIME *from = make_time(from_ms), *to = make_time(to_ms);
    int ok = from && to && X509_set1_notBefore(x, from) && X509_set1_notAfter(x, to);

    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    return ok;
}

/* ------------------------------------------------------------------ extensions */

static int add_constraints(X509 *x, int ca)
{
    BASIC_CONSTRAINTS *bc = BASIC_CONSTRAINTS_new();
    int ok = bc != NULL;

    if (ok && ca) {
        bc->ca = 0xff;
        bc->pathlen = ASN1_INTEGER_new();
        ok = bc->pathlen && ASN1_INTEGER_set(bc->pathlen, 0);
    }
    ok = ok && X509_add1_ext_i2d(x, NID_basic_constraints, bc, 1, X509V3_ADD_DEFAULT) == 1;
    BASIC_CONSTRAINTS_free(bc);
    return ok;
}

static int add_usage(X509 *x, unsigned usage)
{
    static const struct {
        unsigned bit;
        int number;
    } bits[] = {
        {KU_DIGITAL_SIGNATURE, 0},
        {KU_KEY_ENCIPHERMENT, 2},
        {KU_KEY_CERT_SIGN, 5},
        {KU_CRL_SIGN, 6},
    };
    ASN1_BIT_STRING *ku = ASN1_BIT_STRING_new();
    int ok = ku != NULL;
    unsigned i;

    for (i = 0; ok && i < sizeof(bits) / sizeof(bits[0]); i++) {
        if (usage & bits[i].bit) {
            ok = ASN1_BIT_STRING_set_bit(ku, bits[i].number, 1);
        }
    }
    ok = ok && X509_add1_ext_i2d(x, NID_key_usage, ku, 1, X509V3_ADD_DEFAULT) == 1;
    ASN1_BIT_STRING_free(ku);
    return ok;
}

static int add_ekus(X509 *x, const int *nids)
{
    EXTENDED_KEY_USAGE *eku;
    int ok;

    if (!nids[0]) {
        return 1;
    }
    eku = EXTENDED_KEY_USAGE_new();
    ok = eku != NULL;
    for (; ok && *nids; nids++) {
        ok = sk_ASN1_OBJECT_push(eku, OBJ_nid2obj(*nids)) > 0;
    }
    ok = ok && X509_add1_ext_i2d(x, NID_ext_key_usage, eku, 0, X509V3_ADD_DEFAULT) == 1;
    EXTENDED_KEY_USAGE_free(eku);
    return ok;
}

static int add_key_id(X509 *x)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    int ok = id && X509_pubkey_digest(x, EVP_sha1(), md, &len) &&
             ASN1_OCTET_STRING_set(id, md, (int)len) &&
             X509_add1_ext_i2d(x, NID_subject_key_identifier, id, 0, X509V3_ADD_DEFAULT) == 1;

    ASN1_OCTET_STRING_free(id);
    return ok;
}

/* The issuer may be the certificate that is being made: no call that makes it cache itself. */
static AUTHORITY_KEYID *make_authority(X509 *issuer)
{
    ASN1_OCTET_STRING *id = X509_get_ext_d2i(issuer, NID_subject_key_identifier, NULL, NULL);
    AUTHORITY_KEYID *akid = id ? AUTHORITY_KEYID_new() : NULL;

    if (akid) {
        akid->keyid = id;
    } else {
        ASN1_OCTET_STRING_free(id);
    }
    return akid;
}

static int add_authority(X509 *x, X509 *issuer)
{
    AUTHORITY_KEYID *akid = make_authority(issuer);
    int ok = akid &&
             X509_add1_ext_i2d(x, NID_authority_key_identifier, akid, 0, X509V3_ADD_DEFAULT) == 1;

    AUTHORITY_KEYID_free(akid);
    return ok;
}

static GENERAL_NAME *string_name(int type, const char *text)
{
    GENERAL_NAME *gn = GENERAL_NAME_new();
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();

    if (!gn || !s || !ASN1_STRING_set(s, text, -1)) {
        GENERAL_NAME_free(gn);
        ASN1_IA5STRING_free(s);
        return NULL;
    }
    GENERAL_NAME_set0_value(gn, type, s);
    return gn;
}

static GENERAL_NAME *san_name(const char *san)
{
    GENERAL_NAME *gn;
    ASN1_OCTET_STRING *ip;

    if (!strncmp(san, "DNS:", 4) && san[4]) {
        return string_name(GEN_DNS, san + 4);
    }
    if (strncmp(san, "IP:", 3) != 0) {
        return NULL;
    }
    ip = a2i_IPADDRESS(san + 3);
    gn = ip ? GENERAL_NAME_new() : NULL;
    if (!gn) {
        ASN1_OCTET_STRING_free(ip);
        return NULL;
    }
    GENERAL_NAME_set0_value(gn, GEN_IPADD, ip);
    return gn;
}

static int push_name(GENERAL_NAMES *names, GENERAL_NAME *gn)
{
    if (gn && sk_GENERAL_NAME_push(names, gn) > 0) {
        return 1;
    }
    GENERAL_NAME_free(gn);
    return 0;
}

static int add_sans(X509 *x, const char *const *sans)
{
    GENERAL_NAMES *names;
    int ok, n = 0;

    if (!sans || !sans[0]) {
        return 1;
    }
    names = GENERAL_NAMES_new();
    ok = names != NULL;
    for (; ok && *sans; sans++) {
        ok = ++n <= MAX_SANS && push_name(names, san_name(*sans));
    }
    ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

static int add_crl_url(X509 *x, const char *url)
{
    CRL_DIST_POINTS *points;
    DIST_POINT *point;
    int ok;

    if (!url) {
        return 1;
    }
    points = CRL_DIST_POINTS_new();
    point = DIST_POINT_new();
    if (!points || !point || !sk_DIST_POINT_push(points, point)) {
        CRL_DIST_POINTS_free(points);
        DIST_POINT_free(point);
        return 0;
    }
    point->distpoint = DIST_POINT_NAME_new();
    if (point->distpoint) {
        point->distpoint->type = 0; /* full name */
    }
    ok = point->distpoint && (point->distpoint->name.fullname = GENERAL_NAMES_new()) &&
         push_name(point->distpoint->name.fullname, string_name(GEN_URI, url)) &&
         X509_add1_ext_i2d(x, NID_crl_distribution_points, points, 0, X509V3_ADD_DEFAULT) == 1;
    CRL_DIST_POINTS_free(points);
    return ok;
}

/* ------------------------------------------------------------------ certificates */

static int fill_cert(X509 *x, const mdm_issue_t *what, EVP_PKEY *pub, X509 *issuer)
{
    const profile_t *profile = &profiles[what->profile];
    unsigned usage = profile->usage;
    X509_NAME *subject = make_name(what->subject);
    int ok;

    if (EVP_PKEY_get_base_id(pub) != EVP_PKEY_RSA) {
        usage &= ~(unsigned)KU_KEY_ENCIPHERMENT; /* means nothing with an elliptic curve key */
    }
    ok = subject && X509_set_version(x, X509_VERSION_3) && set_serial(x) &&
         X509_set_subject_name(x, subject) &&
         X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : subject) &&
         set_times(x, what->not_before_ms, what->not_after_ms) && X509_set_pubkey(x, pub) &&
         add_constraints(x, profile->ca) && add_usage(x, usage) && add_ekus(x, profile->ekus) &&
         add_key_id(x) && add_authority(x, issuer ? issuer : x) && add_sans(x, what->sans) &&
         add_crl_url(x, what->crl_url);
    X509_NAME_free(subject);
    return ok;
}

apr_status_t mdm_cert_issue(mdm_ctx_t *ctx, const mdm_issue_t *what, const mdm_cert_t *issuer,
                            const mdm_key_t *signer, mdm_cert_t **out)
{
    mdm_blob_t der = {NULL, 0};
    EVP_PKEY *pub;
    BIO *bio = NULL;
    X509 *x;

    if (issuer && !mdm_cert_fits_key(issuer, signer)) {
        return mdm_fail(ctx, MDM_EINPUT, "key",
                        "the signing key does not belong to the issuer's certificate");
    }
    ERR_set_mark();
    pub = what->csr   ? X509_REQ_get0_pubkey(what->csr->req)
          : what->key ? what->key->pkey
                      : signer->pkey;
    x = pub ? X509_new() : NULL;
    if (x && fill_cert(x, what, pub, issuer ? issuer->x : NULL) &&
        X509_sign(x, signer->pkey, EVP_sha256()) > 0 && (bio = BIO_new(BIO_s_mem())) &&
        i2d_X509_bio(bio, x)) {
        der = mdm_pki_take(ctx->pool, bio);
    }
    X509_free(x);
    BIO_free(bio);
    ERR_pop_to_mark();
    if (!der.data) {
        return mdm_fail(ctx, MDM_EINPUT, "subject",
                        "a certificate can't be made of this subject, these names or this key");
    }
    /* Read back: the object being made has cached what it was before it was complete. */
    return mdm_cert_from_der(ctx, der.data, der.len, out);
}

/* ------------------------------------------------------------------ revocation lists */

static int add_revoked(X509_CRL *crl, const mdm_revoked_t *row)
{
    X509_REVOKED *rev = X509_REVOKED_new();
    ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();
    ASN1_TIME *at = make_time(row->at_ms);
    ASN1_INTEGER *serial = NULL;
    BIGNUM *bn = NULL;
    int ok;

    ok = rev && reason && at && row->serial[0] &&
         BN_hex2bn(&bn, row->serial) == (int)strlen(row->serial) &&
         (serial = BN_to_ASN1_INTEGER(bn, NULL)) && X509_REVOKED_set_serialNumber(rev, serial) &&
         X509_REVOKED_set_revocationDate(rev, at);
    if (ok && row->reason > 0) { /* "unspecified" is said by leaving it out (RFC 5280, 5.3.1) */
        ok = ASN1_ENUMERATED_set(reason, row->reason) &&
             X509_REVOKED_add1_ext_i2d(rev, NID_crl_reason, reason, 0, 0) == 1;
    }
    ok = ok && X509_CRL_add0_revoked(crl, rev);
    if (!ok) {
        X509_REVOKED_free(rev);
    }
    ASN1_ENUMERATED_free(reason);
    ASN1_TIME_free(at);
    ASN1_INTEGER_free(serial);
    BN_free(bn);
    return ok;
}

static int fill_crl(X509_CRL *crl, const mdm_cert_t *ca, apr_int64_t number, apr_int64_t this_ms,
                    apr_int64_t next_ms)
{
    ASN1_TIME *from = make_time(this_ms), *to = make_time(next_ms);
    ASN1_INTEGER *n = ASN1_INTEGER_new();
    AUTHORITY_KEYID *akid = make_authority(ca->x);
    int ok = from && to && n && akid && X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
             X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->x)) &&
             X509_CRL_set1_lastUpdate(crl, from) && X509_CRL_set1_nextUpdate(crl, to) &&
             ASN1_INTEGER_set_int64(n, number) &&
             X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1 &&
             X509_CRL_add1_ext_i2d(crl, NID_authority_key_identifier, akid, 0, 0) == 1;

    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    ASN1_INTEGER_free(n);
    AUTHORITY_KEYID_free(akid);
    return ok;
}

apr_status_t mdm_crl_make(mdm_ctx_t *ctx, const mdm_cert_t *ca, const mdm_key_t *key,
                          const mdm_revoked_t *list, int n, apr_int64_t number, apr_int64_t this_ms,
                          apr_int64_t next_ms, mdm_blob_t *der)
{
    X509_CRL *crl;
    BIO *bio = NULL;
    int ok, i;

    ERR_set_mark();
    crl = X509_CRL_new();
    ok = crl && fill_crl(crl, ca, number, this_ms, next_ms);
    for (i = 0; ok && i < n; i++) {
        ok = add_revoked(crl, &list[i]);
    }
    ok = ok && X509_CRL_sort(crl) && X509_CRL_sign(crl, key->pkey, EVP_sha256()) > 0 &&
         (bio = BIO_new(BIO_s_mem())) && i2d_X509_CRL_bio(bio, crl);
    if (ok) {
        *der = mdm_pki_take(ctx->pool, bio);
    }
    BIO_free(bio);
    X509_CRL_free(crl);
    ERR_pop_to_mark();
    return ok ? APR_SUCCESS
              : mdm_fail(ctx, MDM_EINPUT, "serial",
                         "a revocation list can't be made of these serials");
}
