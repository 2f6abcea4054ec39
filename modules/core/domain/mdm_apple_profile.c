#include "domain/mdm_apple_profile.h"
#include <apr_file_io.h>
#include <apr_strings.h>
#include <openssl/evp.h>
#include <string.h>
#include "domain/mdm_account.h"
#include "wire/mdm_cms.h"
#include "wire/mdm_plist.h"
#include "mdm_sql_gen.h"

#define ID_ENROLL                                                                                  \
    "org.mod-mdm.enroll" /* stable: a profile is updated by one of the same identifier */
#define ID_TRUST "org.mod-mdm.trust"
#define ANCHORS_MAX (64 * 1024)
#define ACCESS_RIGHTS 8191 /* all: bits 1 to 4096 */
#define KEY_USAGE_BOTH 5   /* 1 sign + 4 encrypt */

/* The keys that every payload has. NULL if there is no randomness for its UUID. */
static const char *head(mdm_ctx_t *ctx, mdm_plist_t *d, const char *type, const char *id,
                        const char *name, const char *text)
{
    const char *uuid = mdm_uuid(ctx->pool);

    mdm_plist_add_str(ctx->pool, d, "PayloadType", type);
    mdm_plist_add_str(ctx->pool, d, "PayloadIdentifier", id);
    mdm_plist_add_str(ctx->pool, d, "PayloadUUID", uuid);
    mdm_plist_add_int(ctx->pool, d, "PayloadVersion", 1);
    mdm_plist_add_str(ctx->pool, d, "PayloadDisplayName", name);
    mdm_plist_add_str(ctx->pool, d, "PayloadDescription", text);
    return uuid;
}

static const char *organisation(const mdm_apple_conf_t *conf)
{
    return conf->organisation && *conf->organisation ? conf->organisation : "MDM";
}

/* ------------------------------------------------------------------ roots */

static apr_status_t add_root(mdm_ctx_t *ctx, mdm_plist_t *list, const mdm_cert_t *cert,
                             const char *id)
{
    mdm_plist_t *d = mdm_plist_add_dict(ctx->pool, list, NULL);
    mdm_blob_t der = mdm_cert_der(cert);
    mdm_certinfo_t info;
    apr_status_t rv = mdm_cert_info(ctx, cert, &info);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!head(ctx, d, "com.apple.security.root", id, info.cn ? info.cn : info.subject,
              "Lets this device trust the organisation's servers.")) {
        return MDM_EUNAVAIL;
    }
    mdm_plist_add_str(ctx->pool, d, "PayloadCertificateFileName",
                      apr_pstrcat(ctx->pool, id, ".cer", NULL));
    mdm_plist_add_data(ctx->pool, d, "PayloadContent", der.data, der.len);
    return APR_SUCCESS;
}

static int same_cert(const mdm_cert_t *a, const mdm_cert_t *b)
{
    mdm_blob_t x = mdm_cert_der(a), y = mdm_cert_der(b);

    return x.len == y.len && !memcmp(x.data, y.data, x.len);
}

/* The configured anchors, each once and without our own CA. */
static apr_status_t add_anchors(mdm_ctx_t *ctx, mdm_plist_t *list, const mdm_apple_conf_t *conf,
                                const mdm_cert_t *but, const char *base)
{
    apr_array_header_t *certs;
    apr_status_t rv;
    int i, k, known;

    if (!conf->anchors_pem) {
        return APR_SUCCESS;
    }
    rv = mdm_certs_from_pem(ctx, conf->anchors_pem, &certs);
    for (i = 0; rv == APR_SUCCESS && i < certs->nelts; i++) {
        const mdm_cert_t *cert = APR_ARRAY_IDX(certs, i, mdm_cert_t *);

        known = but && same_cert(cert, but);
        for (k = 0; k < i && !known; k++) {
            known = same_cert(cert, APR_ARRAY_IDX(certs, k, mdm_cert_t *));
        }
        if (!known) {
            rv = add_root(ctx, list, cert, apr_psprintf(ctx->pool, "%s.anchor.%d", base, i + 1));
        }
    }
    return rv;
}

/* ------------------------------------------------------------------ identity and management */

static void add_rdn(apr_pool_t *p, mdm_plist_t *subject, const char *type, const char *value)
{
    mdm_plist_t *pair = mdm_plist_add_array(p, mdm_plist_add_array(p, subject, NULL), NULL);

    mdm_plist_add_str(p, pair, NULL, type);
    mdm_plist_add_str(p, pair, NULL, value);
}

/* *uuid: what the management payload refers to. */
static apr_status_t add_scep(mdm_ctx_t *ctx, mdm_plist_t *list, const mdm_ca_t *ca,
                             const mdm_apple_conf_t *conf, const char *cn, const char *challenge,
                             const char **uuid)
{
    apr_pool_t *p = ctx->pool;
    mdm_plist_t *d = mdm_plist_add_dict(p, list, NULL), *content, *subject;
    mdm_blob_t der = mdm_cert_der(ca->ca);
    unsigned char print[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    *uuid = head(ctx, d, "com.apple.security.scep", ID_ENROLL ".scep", "Device identity",
                 "Gets this device its own certificate.");
    if (!*uuid || !EVP_Digest(der.data, der.len, print, &len, EVP_sha1(), NULL)) {
        return MDM_EUNAVAIL;
    }
    content = mdm_plist_add_dict(p, d, "PayloadContent");
    mdm_plist_add_str(p, content, "URL", apr_pstrcat(p, conf->public_url, "/scep", NULL));
    mdm_plist_add_str(p, content, "Challenge", challenge);
    mdm_plist_add_int(p, content, "Keysize", conf->rsa_bits >= 2048 ? conf->rsa_bits : 2048);
    mdm_plist_add_str(p, content, "Key Type", "RSA");
    mdm_plist_add_int(p, content, "Key Usage", KEY_USAGE_BOTH);
    mdm_plist_add_data(p, content, "CAFingerprint", print, len);
    subject = mdm_plist_add_array(p, content, "Subject");
    add_rdn(p, subject, "CN", cn);
    return APR_SUCCESS;
}

static apr_status_t add_mdm(mdm_ctx_t *ctx, mdm_plist_t *list, const mdm_apple_conf_t *conf,
                            const char *identity)
{
    apr_pool_t *p = ctx->pool;
    mdm_plist_t *d = mdm_plist_add_dict(p, list, NULL), *can;

    if (!head(ctx, d, "com.apple.mdm", ID_ENROLL ".mdm", "Device management",
              apr_psprintf(p, "Lets %s manage this device.", organisation(conf)))) {
        return MDM_EUNAVAIL;
    }
    mdm_plist_add_str(p, d, "ServerURL", apr_pstrcat(p, conf->public_url, "/mdm/connect", NULL));
    mdm_plist_add_str(p, d, "CheckInURL", apr_pstrcat(p, conf->public_url, "/mdm/checkin", NULL));
    mdm_plist_add_str(p, d, "Topic", conf->topic);
    mdm_plist_add_str(p, d, "IdentityCertificateUUID", identity);
    if (conf->account && *conf->account) { /* the rights of such enrolments are the system's to give */
        mdm_plist_add_str(p, d, "EnrollmentMode", strcmp(conf->account, MDM_ACCOUNT_BYOD) ? "ADDE" : "BYOD");
        mdm_plist_add_str(p, d, "AssignedManagedAppleID", conf->apple_account);
    } else {
        mdm_plist_add_int(p, d, "AccessRights", ACCESS_RIGHTS);
    }
    mdm_plist_add_bool(p, d, "SignMessage", conf->sign_message != 0);
    mdm_plist_add_bool(p, d, "CheckOutWhenRemoved", 1);
    can = mdm_plist_add_array(p, d, "ServerCapabilities"); /* what is implemented, and nothing else */
    mdm_plist_add_str(p, can, NULL, "com.apple.mdm.per-user-connections");
    mdm_plist_add_str(p, can, NULL, "com.apple.mdm.bootstraptoken");
    return APR_SUCCESS;
}

/* ------------------------------------------------------------------ the whole */

static apr_status_t sign(mdm_ctx_t *ctx, const mdm_ca_t *ca, const mdm_plist_t *root,
                         mdm_blob_t *out)
{
    apr_array_header_t *chain = apr_array_make(ctx->pool, 1, sizeof(mdm_cert_t *));
    mdm_blob_t xml;
    apr_status_t rv = mdm_plist_write(ctx->pool, root, &xml);

    APR_ARRAY_PUSH(chain, mdm_cert_t *) = ca->ca;
    return rv == APR_SUCCESS ? mdm_cms_sign(ctx, &xml, ca->signer, ca->signer_key, chain, out) : rv;
}

apr_status_t mdm_apple_profile_with(mdm_ctx_t *ctx, const mdm_ca_t *ca, const mdm_apple_conf_t *conf, const char *cn,
                                     const char *challenge, mdm_blob_t *out)
{
    mdm_plist_t *root = mdm_plist_dict(ctx->pool), *list;
    const char *identity;
    apr_status_t rv;

    if (!head(ctx, root, "Configuration", ID_ENROLL,
              apr_pstrcat(ctx->pool, organisation(conf), " device management", NULL),
              "Enrols this device with the organisation.")) {
        return MDM_EUNAVAIL;
    }
    mdm_plist_add_str(ctx->pool, root, "PayloadOrganization", organisation(conf));
    list = mdm_plist_add_array(ctx->pool, root, "PayloadContent");
    rv = add_root(ctx, list, ca->ca, ID_ENROLL ".ca");
    if (rv == APR_SUCCESS) {
        rv = add_anchors(ctx, list, conf, ca->ca, ID_ENROLL);
    }
    if (rv == APR_SUCCESS) {
        rv = add_scep(ctx, list, ca, conf, cn, challenge, &identity);
    }
    if (rv == APR_SUCCESS) {
        rv = add_mdm(ctx, list, conf, identity);
    }
    return rv == APR_SUCCESS ? sign(ctx, ca, root, out) : rv;
}

apr_status_t mdm_apple_enroll_profile(mdm_db_t *db, const mdm_ca_t *ca,
                                      const mdm_apple_conf_t *conf, const mdm_pending_t *pending,
                                      mdm_blob_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_apple_conf_t own = *conf;
    const char *challenge;
    apr_status_t rv;

    own.account = pending->account;
    own.apple_account = pending->apple_account;
    if (!conf->topic || !*conf->topic) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL,
                        "Apple devices can't be enrolled yet: the push certificate is missing.");
    }
    rv = mdm_q_pending_url(db, pending->id, conf->public_url, NULL);
    if (rv == APR_SUCCESS) {
        rv = mdm_challenge_create(db, pending, pending->id, &challenge);
    }
    return rv == APR_SUCCESS ? mdm_apple_profile_with(ctx, ca, &own, pending->id, challenge, out) : rv;
}

apr_status_t mdm_apple_service_profile(mdm_db_t *db, const mdm_ca_t *ca, const mdm_apple_conf_t *conf, const mdm_pending_t *pending,
                                       const char *url, mdm_blob_t *out)
{
    static const char *const wanted[] = {"UDID", "SERIAL", "PRODUCT", "VERSION", "IMEI"}; /* what decides, and no more */
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_pool_t *p = ctx->pool;
    mdm_plist_t *root = mdm_plist_dict(p), *content, *list;
    const char *challenge;
    apr_status_t rv = mdm_challenge_create_for(db, pending, pending->id, MDM_CHALLENGE_SERVICE, &challenge);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!head(ctx, root, "Profile Service", ID_ENROLL, apr_pstrcat(p, organisation(conf), " device management", NULL),
              "Tells the organisation which device this is, then enrols it.")) {
        return MDM_EUNAVAIL;
    }
    mdm_plist_add_str(p, root, "PayloadOrganization", organisation(conf));
    content = mdm_plist_add_dict(p, root, "PayloadContent");
    mdm_plist_add_str(p, content, "URL", url);
    list = mdm_plist_add_array(p, content, "DeviceAttributes");
    for (unsigned i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        mdm_plist_add_str(p, list, NULL, wanted[i]);
    }
    mdm_plist_add_str(p, content, "Challenge", challenge);
    return sign(ctx, ca, root, out);
}

apr_status_t mdm_apple_report_profile(mdm_db_t *db, const mdm_ca_t *ca, const mdm_apple_conf_t *conf, const mdm_pending_t *pending,
                                      mdm_blob_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_plist_t *root = mdm_plist_dict(ctx->pool);
    const char *challenge, *subject = apr_pstrcat(ctx->pool, "report ", pending->id, NULL), *identity;
    apr_status_t rv = mdm_challenge_create_for(db, pending, subject, MDM_CHALLENGE_REPORT, &challenge);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!head(ctx, root, "Configuration", ID_ENROLL ".report", apr_pstrcat(ctx->pool, organisation(conf), " device management", NULL),
              "Gets this device a certificate for its enrolment.")) {
        return MDM_EUNAVAIL;
    }
    mdm_plist_add_str(ctx->pool, root, "PayloadOrganization", organisation(conf));
    rv = add_scep(ctx, mdm_plist_add_array(ctx->pool, root, "PayloadContent"), ca, conf, subject, challenge, &identity);
    return rv == APR_SUCCESS ? sign(ctx, ca, root, out) : rv;
}

const char *mdm_apple_anchors(mdm_ctx_t *ctx, const char *path)
{
    apr_size_t len = 0;
    apr_file_t *f;
    char *buf;
    apr_status_t rv;

    if (!path || !*path) {
        return NULL;
    }
    rv = apr_file_open(&f, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_FPROT_OS_DEFAULT, ctx->pool);
    if (rv == APR_SUCCESS) {
        buf = apr_pcalloc(ctx->pool, ANCHORS_MAX + 1);
        rv = apr_file_read_full(f, buf, ANCHORS_MAX, &len);
        apr_file_close(f);
        if (rv == APR_EOF && len) {
            return buf;
        }
    }
    mdm_log(ctx, MDM_LOG_ERR, "MDM0605", rv, "MDMTrustAnchors %s can't be read, or is larger than 64 KB", path);
    return NULL;
}

apr_status_t mdm_apple_trust_profile(mdm_ctx_t *ctx, const mdm_ca_t *ca,
                                     const mdm_apple_conf_t *conf, mdm_blob_t *out)
{
    mdm_plist_t *root = mdm_plist_dict(ctx->pool), *list;
    apr_status_t rv;

    if (!conf->anchors_pem) {
        return mdm_fail(ctx, APR_NOTFOUND, NULL,
                        "This server's certificate is publicly trusted: no certificate is needed.");
    }
    if (!head(ctx, root, "Configuration", ID_TRUST,
              apr_pstrcat(ctx->pool, organisation(conf), " certificates", NULL),
              "Lets this device trust the organisation's servers.")) {
        return MDM_EUNAVAIL;
    }
    mdm_plist_add_str(ctx->pool, root, "PayloadOrganization", organisation(conf));
    list = mdm_plist_add_array(ctx->pool, root, "PayloadContent");
    rv = add_anchors(ctx, list, conf, NULL, ID_TRUST);
    return rv == APR_SUCCESS ? sign(ctx, ca, root, out) : rv;
}
