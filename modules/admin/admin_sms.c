/* The SMS gateway: settings, preview, test (PEN-05). */
#include "mdm_admin.h"

#include "base/mdm_json.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_sms_conf.h"

int mdm_adm_sms(mdm_web_call_t *call)
{
    return mdm_adm_look(call, mdm_sms_conf_json);
}

/* Messages that wait for another gateway are sent at once. */
int mdm_adm_sms_save(mdm_web_call_t *call)
{
    int rc = mdm_adm_set(call, mdm_sms_conf_edit, mdm_sms_conf_json);

    if (call->r->status == HTTP_OK)
        call->svc->job_wake();
    return rc;
}

int mdm_adm_sms_preview(mdm_web_call_t *call)
{
    json_t *out = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_sms_preview(db, call->body, &out);
        mdm_db_close(db);
    }
    return rv == APR_SUCCESS ? mdm_web_json(call->r, HTTP_OK, out) : mdm_adm_fail(call, rv);
}

static void test(mdm_probe_t *p, const void *what)
{
    mdm_sms_test(p, what);
}

int mdm_adm_sms_test(mdm_web_call_t *call)
{
    mdm_sms_test_t t = {.ca_file = call->svc->conf_str(NULL, "MDMOutboundCAFile")};
    const mdm_jfield_t fields[] = {{"to", MDM_JF_STR, 1, 1, 40, NULL, 0, &t.to, NULL}, {"text", MDM_JF_STR, 1, 1, MDM_SMS_TEXT_MAX, NULL, 0, &t.text, NULL}, {NULL}};
    mdm_sms_conf_t *conf = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS)
        rv = mdm_phone_check(call->ctx, "to", t.to, &t.to);
    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = mdm_sms_conf(db, &conf);
    mdm_db_close(db);
    if (rv == APR_NOTFOUND)
        rv = mdm_fail(call->ctx, MDM_ECONFLICT, NULL, "No SMS gateway is set.");
    if (rv == APR_SUCCESS)
        rv = mdm_sms_allowed(call->ctx, conf, t.to);
    t.conf = conf;
    return rv == APR_SUCCESS ? mdm_adm_probe(call, test, &t) : mdm_adm_fail(call, rv);
}
