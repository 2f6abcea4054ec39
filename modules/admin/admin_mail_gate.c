/* How strict the mail gate is (GATE-03). */
#include "mdm_admin.h"

#include "base/mdm_json.h"
#include "domain/mdm_eas_gate.h"

int mdm_adm_mail_gate(mdm_web_call_t *call)
{
    return mdm_adm_look(call, mdm_eas_gate_json);
}

int mdm_adm_mail_gate_save(mdm_web_call_t *call)
{
    return mdm_adm_set(call, mdm_eas_gate_edit, mdm_eas_gate_json);
}

static apr_status_t set_device(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_eas_gate_device(db, id, arg);
}

int mdm_adm_device_mail_gate(mdm_web_call_t *call)
{
    static const char *const words[] = {"allow", "block", NULL};
    const char *word = NULL;
    const mdm_jfield_t fields[] = {{.name = "exception", .type = MDM_JF_ENUM, .required = 1, .choices = words, .nullable = 1, .out = &word}, {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_adm_act(call, set_device, word ? word : "", HTTP_NO_CONTENT) : mdm_adm_fail(call, rv);
}
