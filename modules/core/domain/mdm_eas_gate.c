/* How strict the gate is. Modes are zone settings: without_policy has a name of its own, since the look-up of a device asks for it. */
#include "domain/mdm_eas_gate.h"

#include <string.h>
#include "base/mdm_json.h"
#include "domain/mdm_device.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

#define GATE "mail.gate"
#define WITHOUT "mail.without_policy"

mdm_eas_verdict_e mdm_eas_enforce(mdm_eas_verdict_e verdict, apr_uint32_t flags, int detect)
{
    int held = verdict == MDM_EAS_PENDING || verdict == MDM_EAS_SERVER_ONLY;

    if (flags & MDM_DEVF_MAIL_BLOCK) {
        return verdict == MDM_EAS_ALLOW || held ? MDM_EAS_BLOCKED : verdict;
    }
    if (held && (flags & MDM_DEVF_MAIL_ALLOW)) {
        return MDM_EAS_ALLOW;
    }
    return detect && (held || verdict == MDM_EAS_BLOCKED || verdict == MDM_EAS_DENIED) ? MDM_EAS_ALLOW : verdict;
}

typedef struct words_t {
    const char *mode, *without, *language;
} words_t;

/* A stored word, or def; owned by the pool. */
static apr_status_t word_of(mdm_db_t *db, const char *name, const char *member, const char *def, const char **out)
{
    json_t *value;
    apr_status_t rv = mdm_setting_get(db, name, &value);
    const char *s = rv == APR_SUCCESS ? json_string_value(member ? json_object_get(value, member) : value) : NULL;

    *out = s ? s : def;
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static apr_status_t words_read(mdm_db_t *db, words_t *out)
{
    apr_status_t rv = word_of(db, GATE, "mode", "on", &out->mode);

    if (rv == APR_SUCCESS) {
        rv = word_of(db, GATE, "language", "en", &out->language);
    }
    return rv == APR_SUCCESS ? word_of(db, WITHOUT, NULL, "auto", &out->without) : rv;
}

static json_t *words_json(const words_t *w)
{
    return json_pack("{s:s, s:s, s:s}", "mode", w->mode, "without_policy", w->without, "language", w->language);
}

apr_status_t mdm_eas_gate(mdm_db_t *db, mdm_eas_gate_t *out)
{
    words_t w;
    apr_status_t rv = words_read(db, &w);

    if (rv == APR_SUCCESS) {
        *out = (mdm_eas_gate_t){strcmp(w.mode, "detect") == 0, w.language};
    }
    return rv;
}

apr_status_t mdm_eas_gate_json(mdm_db_t *db, const char *id, json_t **out)
{
    words_t w;
    apr_status_t rv = words_read(db, &w);

    *out = rv == APR_SUCCESS ? words_json(&w) : NULL;
    return rv;
}

apr_status_t mdm_eas_gate_edit(mdm_db_t *db, json_t *body)
{
    static const char *const modes[] = {"on", "detect", NULL}, *const withouts[] = {"auto", "server_only", "allow", NULL},
                      *const languages[] = {"en", "de", NULL};
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    words_t was, now;
    const mdm_jfield_t fields[] = {{.name = "mode", .type = MDM_JF_ENUM, .choices = modes, .out = &now.mode},
                                   {.name = "without_policy", .type = MDM_JF_ENUM, .choices = withouts, .out = &now.without},
                                   {.name = "language", .type = MDM_JF_ENUM, .choices = languages, .out = &now.language},
                                   {NULL}};
    json_t *detail;
    apr_status_t rv = words_read(db, &was);

    now = was;
    if (rv != APR_SUCCESS || (rv = mdm_json_fields(ctx, body, fields)) != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_setting_set(db, GATE, mdm_json_own(ctx, json_pack("{s:s, s:s}", "mode", now.mode, "language", now.language)), 0);
    if (rv == APR_SUCCESS && strcmp(was.without, now.without) != 0) {
        rv = mdm_setting_set(db, WITHOUT, mdm_json_own(ctx, json_string(now.without)), 0);
        rv = rv == APR_SUCCESS ? mdm_change_add(db, "all", "") : rv; /* each device's record says what follows from it */
    }
    detail = mdm_json_own(ctx, json_pack("{s:o, s:o}", "before", words_json(&was), "after", words_json(&now)));
    return rv == APR_SUCCESS ? mdm_audit(db, "mail.gate", "zone", "", "", "done", detail) : rv;
}

apr_status_t mdm_eas_gate_device(mdm_db_t *db, const char *device_id, const char *word)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *detail = mdm_json_own(ctx, json_pack("{s:s}", "mail_gate", word));
    mdm_q_eas_gate_device_t *device;
    apr_status_t rv = mdm_q_eas_gate_device(db, device_id, word, &device);

    if (rv == APR_SUCCESS && (rv = mdm_device_event(db, device_id, NULL, "mail.gate", detail)) == APR_SUCCESS
        && (rv = mdm_audit(db, "device.mail_gate", "device", device_id, device->name, "done", detail)) == APR_SUCCESS) {
        rv = mdm_change_add(db, "device", device_id);
    }
    return rv;
}
