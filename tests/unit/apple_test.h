/* What the tests of the Apple side share: a zone with one person, and devices made with few words. */
#ifndef APPLE_TEST_H
#define APPLE_TEST_H

#include "dbtest.h"

#include "base/mdm_json.h"
#include "base/mdm_seal.h"
#include "enroll_test.h"
#include "domain/mdm_apple.h"
#include "domain/mdm_command.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_push.h"
#include "wire/mdm_plist.h"

#define UNUSED __attribute__((unused))
#define KEYS "k1 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"

typedef struct zone_t {
    dbtest_t *t;
    mdm_db_t *db;
    mdm_person_t *person;
} zone_t;

/* One device as the tests see it. */
typedef struct phone_t {
    const char *device, *record, *udid, *fingerprint;
    mdm_devrec_t rec;
} phone_t;

static UNUSED zone_t *zone_make(void)
{
    dbtest_t *t = dbtest_make(1);
    zone_t *z = apr_pcalloc(t->pool, sizeof *z);
    mdm_keyring_t *keys;
    const char *source, *person;

    z->t = t;
    assert_int_equal(mdm_keyring_parse(t->ctx, t->pool, KEYS, &keys), APR_SUCCESS);
    t->env.keys = keys;
    assert_int_equal(mdm_db_open(t->ctx, &z->db), APR_SUCCESS);
    assert_int_equal(mdm_local_source(z->db, &source), APR_SUCCESS);
    assert_int_equal(mdm_enroll_policy_create_demo(z->db, source), APR_SUCCESS);
    mdm_db_close(z->db);
    assert_int_equal(mdm_person_create(t->ctx, "anna", "Anna Example", "anna@example.org", "", "correct horse battery", &person),
                     APR_SUCCESS);
    assert_int_equal(mdm_db_open(t->ctx, &z->db), APR_SUCCESS);
    assert_int_equal(mdm_person_get(z->db, person, &z->person), APR_SUCCESS);
    mdm_db_close(z->db);
    z->db = NULL;
    return z;
}

static UNUSED void sql(zone_t *z, const char *fmt, ...)
{
    va_list ap;
    char *text;

    va_start(ap, fmt);
    text = apr_pvsprintf(z->t->pool, fmt, ap);
    va_end(ap);
    assert_int_equal(dbtest_sql(z->t, text), 0);
}

/* The first column of the first row as text; "" if there is none or it is NULL. */
static UNUSED const char *ask(zone_t *z, const char *fmt, ...)
{
    const apr_dbd_driver_t *driver;
    const char *name, *rest, *value;
    apr_dbd_results_t *res = NULL;
    apr_dbd_row_t *row = NULL;
    apr_dbd_t *handle;
    apr_pool_t *p;
    va_list ap;
    char *text;

    apr_pool_create(&p, z->t->pool);
    va_start(ap, fmt);
    text = apr_pvsprintf(p, fmt, ap);
    va_end(ap);
    assert_int_equal(mdm_db_params(z->t->ctx, z->t->params, &name, &rest), APR_SUCCESS);
    assert_int_equal(apr_dbd_get_driver(p, name, &driver), APR_SUCCESS);
    assert_int_equal(apr_dbd_open(driver, p, rest, &handle), APR_SUCCESS);
    assert_int_equal(apr_dbd_select(driver, p, handle, &res, text, 1), 0);
    value = apr_dbd_get_row(driver, p, res, &row, -1) == 0 ? apr_dbd_get_entry(driver, row, 0) : NULL;
    value = apr_pstrdup(z->t->pool, value ? value : "");
    while (apr_dbd_get_row(driver, p, res, &row, -1) == 0) {
    }
    apr_dbd_close(driver, handle);
    apr_pool_destroy(p);
    return value;
}

/* What the cache would know now. */
static UNUSED void reload(zone_t *z, phone_t *d)
{
    const char *flags[] = {"EXISTS (SELECT 1 FROM command q WHERE q.record_id = source_record.id AND q.open = 1)", "state = 'leaving'", "expelled = 1", "state = 'enrolled'"};
    const apr_uint32_t bits[] = {MDM_DEVF_QUEUED, MDM_DEVF_LEAVING, MDM_DEVF_EXPELLED, MDM_DEVF_ENROLLED};

    memset(&d->rec, 0, sizeof d->rec);
    d->rec.kind = MDM_KIND_MDM;
    d->record = ask(z, "SELECT record_id FROM certificate WHERE fingerprint = '%s'", d->fingerprint);
    if (strcmp(ask(z, "SELECT status FROM certificate WHERE fingerprint = '%s'", d->fingerprint), "issued")) {
        d->rec.flags |= strcmp(ask(z, "SELECT status FROM certificate WHERE fingerprint = '%s'", d->fingerprint), "active")
                            ? MDM_DEVF_REVOKED : 0;
    }
    if (!*d->record) {
        return;
    }
    d->device = ask(z, "SELECT device_id FROM source_record WHERE id = '%s'", d->record);
    d->rec.flags |= MDM_DEVF_LINKED;
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        if (*ask(z, "SELECT id FROM source_record WHERE id = '%s' AND %s", d->record, flags[i])) {
            d->rec.flags |= bits[i];
        }
    }
    assert_int_equal(mdm_uuid_bytes(d->record, d->rec.record), APR_SUCCESS);
    assert_int_equal(mdm_uuid_bytes(d->device, d->rec.device), APR_SUCCESS);
}

/* A certificate as SCEP leaves it, for a new enrolment of the person. */
static UNUSED phone_t *dev_issue(zone_t *z, const char *udid)
{
    phone_t *d = apr_pcalloc(z->t->pool, sizeof *d);
    mdm_pending_t *pending;
    const char *token;
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(pending_create(db, z->person, "ios", "corporate", "managed", "self", &pending, &token), APR_SUCCESS);
    assert_int_equal(mdm_pending_step(db, pending->id, "issued", NULL), APR_SUCCESS);
    mdm_db_close(db);
    d->udid = udid;
    d->fingerprint = mdm_sha256_hex(z->t->pool, token, strlen(token));
    sql(z, "INSERT INTO certificate (fingerprint, serial, subject, pending_id, status, not_before_ms, not_after_ms, issued_ms, der) "
           "VALUES ('%s', '%s', 'CN=x', '%s', 'issued', 0, 4000000000000, 0, '')", d->fingerprint, d->fingerprint, pending->id);
    reload(z, d);
    return d;
}

static UNUSED mdm_plist_t *message(zone_t *z, const phone_t *d, const char *type)
{
    mdm_plist_t *m = mdm_plist_dict(z->t->pool);

    mdm_plist_add_str(z->t->pool, m, "MessageType", type);
    mdm_plist_add_str(z->t->pool, m, "UDID", d->udid);
    return m;
}

/* Sends; the statements that it took are in *statements (may be NULL). */
static UNUSED apr_status_t say(zone_t *z, phone_t *d, const mdm_plist_t *m, mdm_apple_answer_t **a, apr_uint64_t *statements)
{
    mdm_apple_who_t who = {.fingerprint = d->fingerprint, .rec = &d->rec};
    apr_uint64_t before = z->t->statements;
    mdm_blob_t body;
    apr_status_t rv;

    assert_int_equal(mdm_plist_write(z->t->pool, m, &body), APR_SUCCESS);
    z->t->ctx->fail_text = NULL;
    rv = mdm_plist_get(m, "MessageType") ? mdm_apple_checkin(z->t->ctx, &who, &body, a)
                                         : mdm_apple_connect(z->t->ctx, &who, &body, a);
    if (statements) {
        *statements = z->t->statements - before;
    }
    return rv;
}

static UNUSED mdm_plist_t *authenticate_msg(zone_t *z, const phone_t *d)
{
    mdm_plist_t *m = message(z, d, "Authenticate");

    mdm_plist_add_str(z->t->pool, m, "Topic", "com.apple.mgmt.External.test");
    mdm_plist_add_str(z->t->pool, m, "OSVersion", "17.6.1");
    mdm_plist_add_str(z->t->pool, m, "BuildVersion", "21G93");
    mdm_plist_add_str(z->t->pool, m, "ProductName", "iPhone14,5");
    mdm_plist_add_str(z->t->pool, m, "SerialNumber", apr_pstrcat(z->t->pool, "SN", d->udid, NULL));
    return m;
}

static UNUSED mdm_plist_t *token_msg(zone_t *z, const phone_t *d, const char *token, const char *unlock)
{
    mdm_plist_t *m = message(z, d, "TokenUpdate");

    mdm_plist_add_str(z->t->pool, m, "Topic", "com.apple.mgmt.External.test");
    mdm_plist_add_data(z->t->pool, m, "Token", token, strlen(token));
    mdm_plist_add_str(z->t->pool, m, "PushMagic", "MAGIC-1");
    if (unlock) {
        mdm_plist_add_data(z->t->pool, m, "UnlockToken", unlock, strlen(unlock));
    }
    return m;
}

/* The whole way to an enrolled device, with its queue emptied. */
static UNUSED phone_t *dev_enrolled(zone_t *z, const char *udid)
{
    phone_t *d = dev_issue(z, udid);
    mdm_apple_answer_t *a;

    assert_int_equal(say(z, d, authenticate_msg(z, d), &a, NULL), APR_SUCCESS);
    reload(z, d);
    assert_int_equal(say(z, d, token_msg(z, d, udid, "unlock-me"), &a, NULL), APR_SUCCESS);
    sql(z, "UPDATE command SET open = 0, state = 'acknowledged' WHERE record_id = '%s'", d->record);
    sql(z, "DELETE FROM push");
    reload(z, d);
    return d;
}

static UNUSED mdm_plist_t *status_msg(zone_t *z, const phone_t *d, const char *status, const char *uuid)
{
    mdm_plist_t *m = mdm_plist_dict(z->t->pool);

    mdm_plist_add_str(z->t->pool, m, "UDID", d->udid);
    mdm_plist_add_str(z->t->pool, m, "Status", status);
    mdm_plist_add_str(z->t->pool, m, "CommandUUID", uuid);
    return m;
}

/* Queues a command in a transaction of its own; its id. */
static UNUSED const char *queue(zone_t *z, phone_t *d, const mdm_command_add_t *add)
{
    mdm_command_add_t a = *add;
    const char *id = NULL;
    mdm_db_t *db;

    a.record_id = d->record;
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_command_enqueue(db, &a, &id), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    mdm_db_close(db);
    reload(z, d);
    return id;
}

/* The command in an answer: its RequestType and id (lower case); "" if it is empty. */
static UNUSED const char *offered(zone_t *z, const mdm_apple_answer_t *a, const char **id)
{
    mdm_plist_t *root;

    if (id) {
        *id = "";
    }
    if (!a->body.len) {
        return "";
    }
    assert_string_equal(a->type, "application/xml");
    assert_int_equal(mdm_plist_parse(z->t->ctx, a->body.data, a->body.len, &root), APR_SUCCESS);
    if (id) {
        *id = mdm_lower(z->t->pool, mdm_plist_str(root, "CommandUUID"));
    }
    return mdm_plist_str(mdm_plist_get(root, "Command"), "RequestType");
}

#endif
