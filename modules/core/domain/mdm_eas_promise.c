/* Enrolments for mail only that were made for somebody (PEN-01, PEN-06): the first mail app of that person that fits uses one up. */
#include "domain/mdm_eas_priv.h"

#include <string.h>
#include "base/mdm_json.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_match_run.h"

apr_status_t mdm_eas_promised(mdm_db_t *db, const char *person_id, const char *platform, const char *serial, mdm_q_eas_promised_t **out)
{
    apr_status_t rv = mdm_q_eas_promised(db, person_id, platform, serial ? serial : "", mdm_now_ms(mdm_db_ctx(db)), out);

    if (rv == APR_NOTFOUND) {
        *out = NULL;
        rv = APR_SUCCESS;
    }
    return rv;
}

apr_status_t mdm_eas_promise_use(mdm_db_t *db, const char *pending_id, const char *device_id, const char *name)
{
    json_t *detail = mdm_json_own(mdm_db_ctx(db), json_pack("{s:s, s:s}", "device", device_id, "name", name));
    apr_status_t rv = mdm_q_pending_set_device(db, pending_id, device_id);

    if (rv == APR_SUCCESS && (rv = mdm_pending_step(db, pending_id, "completed", NULL)) == APR_SUCCESS) {
        rv = mdm_audit(db, "pending.complete", "pending", pending_id, "", "done", detail);
    }
    return rv;
}

/* Nothing is left to ask: what system it has is known, and no other device of the person could be the same (MAT-05). */
static apr_status_t is_settled(mdm_db_t *db, const char *person_id, const char *device_id, const mdm_enroll_policy_t *policy, int *settled)
{
    json_t *items = NULL;
    apr_status_t rv = policy->manual_reconcile ? mdm_match_choices(db, person_id, device_id, NULL, &items) : APR_SUCCESS;

    *settled = rv == APR_SUCCESS && json_array_size(items) == 0;
    json_decref(items);
    return rv;
}

apr_status_t mdm_eas_promise_keep(mdm_db_t *db, const char *person_id, const char *device_id, const char *platform, const mdm_enroll_policy_t *policy,
                                  int *kept)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *field = ctx->fail_field, *text = ctx->fail_text;
    mdm_q_eas_promised_t *promised;
    int settled = 0;
    apr_status_t rv = APR_SUCCESS;

    *kept = 0;
    if (!strcmp(platform, "unknown") || (rv = mdm_eas_promised(db, person_id, platform, NULL, &promised)) != APR_SUCCESS || !promised) {
        return rv;
    }
    if ((rv = is_settled(db, person_id, device_id, policy, &settled)) != APR_SUCCESS || !settled) {
        return rv;
    }
    rv = mdm_eas_complete(db, person_id, device_id, promised->ownership, NULL);
    *kept = rv == APR_SUCCESS;
    if (rv == MDM_EDENIED || rv == MDM_ECONFLICT) { /* by rule or limit: its person reads why in the portal */
        ctx->fail_field = field;
        ctx->fail_text = text;
        rv = APR_SUCCESS;
    }
    return rv;
}
