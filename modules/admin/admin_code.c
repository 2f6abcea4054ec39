/* Links and codes of enrolments, and what the zone says of them (PEN-07, PEN-09). That one was looked at is audited. */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_enroll_conf.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_otp.h"
#include "wire/mdm_qr.h"
#include "mdm_sql_gen.h"

/* What is shown of an enrolment that is open. */
typedef struct code_t {
    const char *base, *token, *otp; /* otp NULL: not asked for */
    const char *platform;
} code_t;

static apr_status_t code_read(mdm_web_call_t *call, mdm_db_t *db, const char *id, int otp, code_t *out)
{
    mdm_ctx_t *ctx = call->ctx;
    mdm_pending_t *e = NULL;
    apr_status_t rv = mdm_pending_get(db, id, &e);

    out->otp = NULL;
    if (rv == APR_SUCCESS && !mdm_pending_open(e))
        rv = mdm_fail(ctx, MDM_ECONFLICT, "state", "The link was used, cancelled or has expired.");
    if (rv == APR_SUCCESS)
        rv = otp ? mdm_otp_view(db, id, &out->otp, &out->token) : mdm_pending_token(db, id, &out->token);
    if (rv == APR_SUCCESS && otp && !out->otp)
        rv = mdm_fail(ctx, MDM_ECONFLICT, "otp", "There is no one-time password that can be used.");
    if (rv == APR_SUCCESS)
        rv = mdm_enroll_base(db, call->svc->public_url(call->r->server), &out->base);
    if (rv == APR_SUCCESS)
        out->platform = e->platform;
    return rv;
}

/* ---------------------------------------------------------------- the link */

static apr_status_t link_read(mdm_web_call_t *call, const char **link)
{
    static const char *const flags[] = {"0", "1", NULL}, *const params[] = {"otp", NULL};
    const char *id = NULL, *otp = "";
    mdm_db_t *db = NULL;
    code_t code;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_params(call, params);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "otp", flags, &otp);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = code_read(call, db, id, *otp == '1', &code);
    if (rv == APR_SUCCESS && !code.otp)
        rv = mdm_audit(db, "pending.link", "pending", id, "", "done", NULL);
    rv = mdm_adm_end(db, rv);
    if (rv == APR_SUCCESS)
        *link = mdm_enroll_link(call->r->pool, code.base, code.token, code.otp);
    return rv;
}

int mdm_adm_pending_link(mdm_web_call_t *call)
{
    const char *link = NULL;
    apr_status_t rv = link_read(call, &link);

    return rv == APR_SUCCESS ? mdm_web_json(call->r, HTTP_OK, json_pack("{s:s}", "link", link)) : mdm_adm_fail(call, rv);
}

typedef apr_status_t (*draw_fn)(mdm_ctx_t *ctx, const char *text, mdm_blob_t *out);

static int picture(mdm_web_call_t *call, apr_status_t rv, const char *type, draw_fn draw, const char *text)
{
    mdm_blob_t out;

    if (rv == APR_SUCCESS)
        rv = draw(call->ctx, text, &out);
    return rv == APR_SUCCESS ? mdm_web_bytes(call->r, HTTP_OK, type, out.data, out.len) : mdm_adm_fail(call, rv);
}

int mdm_adm_pending_qr(mdm_web_call_t *call)
{
    const char *link = NULL;
    apr_status_t rv = link_read(call, &link);

    return picture(call, rv, "image/svg+xml", mdm_qr_svg, link);
}

int mdm_adm_pending_qr_png(mdm_web_call_t *call)
{
    const char *link = NULL;
    apr_status_t rv = link_read(call, &link);

    return picture(call, rv, "image/png", mdm_qr_png, link);
}

/* ---------------------------------------------------------------- the one-time password */

int mdm_adm_pending_otp(mdm_web_call_t *call)
{
    mdm_q_otp_row_t *row = NULL;
    const char *id = NULL;
    mdm_db_t *db = NULL;
    code_t code;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = code_read(call, db, id, 1, &code);
    if (rv == APR_SUCCESS)
        rv = mdm_q_otp_row(db, id, &row);
    rv = mdm_adm_end(db, rv);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    return mdm_web_json(call->r, HTTP_OK, json_pack("{s:s, s:s, s:s, s:o}", "otp", code.otp, "token", code.token, "url",
                                                    mdm_enroll_link(call->ctx->pool, code.base, code.token, NULL), "expires_at",
                                                    mdm_adm_time(call->ctx->pool, row->otp_expires_ms)));
}

static apr_status_t reset(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_otp_reset(db, id, arg);
}

int mdm_adm_pending_otp_reset(mdm_web_call_t *call)
{
    const char *notify = NULL;
    const mdm_jfield_t fields[] = {{"notify", MDM_JF_ENUM, 0, 0, 0, mdm_adm_notify, 1, &notify, NULL}, {NULL}};
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    return rv == APR_SUCCESS ? mdm_adm_act(call, reset, notify, HTTP_NO_CONTENT) : mdm_adm_fail(call, rv);
}

/* ---------------------------------------------------------------- the code for a factory-fresh Android device */

static apr_status_t owner_text(mdm_web_call_t *call, mdm_db_t *db, const char *id, const mdm_android_ask_t *ask, const char **text)
{
    mdm_ctx_t *ctx = call->ctx;
    mdm_android_agent_t agent;
    code_t code;
    apr_status_t rv = code_read(call, db, id, ask->otp, &code);

    if (rv == APR_SUCCESS && strcmp(code.platform, "android") != 0 && strcmp(code.platform, "unknown") != 0)
        rv = mdm_fail(ctx, MDM_ECONFLICT, "platform", "This enrolment is not for an Android device.");
    if (rv == APR_SUCCESS) {
        rv = mdm_enroll_agent(db, &agent);
        if (rv == APR_NOTFOUND)
            rv = mdm_fail(ctx, MDM_ECONFLICT, "agent", "The zone's settings name no package of an agent.");
    }
    if (rv == APR_SUCCESS) {
        const char *const values[MDM_ANDROID_VARS] = {[MDM_ANDROID_SERVER] = code.base,
                                                      [MDM_ANDROID_LINK] = mdm_enroll_link(ctx->pool, code.base, code.token, NULL),
                                                      [MDM_ANDROID_TOKEN] = code.token,
                                                      [MDM_ANDROID_OTP] = code.otp};
        rv = mdm_android_owner_text(ctx, &agent, ask, values, text);
    }
    return rv == APR_SUCCESS ? mdm_audit(db, "pending.device_owner", "pending", id, "", "done", NULL) : rv;
}

/* The answer may hold the password of a network, which came with the request and stays nowhere. */
int mdm_adm_pending_device_owner(mdm_web_call_t *call)
{
    static const char *const formats[] = {"svg", "png", "json", NULL}, *const params[] = {"format", NULL};
    const char *id = NULL, *format = "", *text = NULL;
    mdm_android_ask_t ask;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_id(call, &id);

    if (rv == APR_SUCCESS)
        rv = mdm_adm_params(call, params);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_word(call, "format", formats, &format);
    if (rv == APR_SUCCESS)
        rv = mdm_android_ask_read(call->ctx, call->body, &ask);
    if (rv == APR_SUCCESS)
        rv = mdm_adm_begin(call, &db);
    if (rv == APR_SUCCESS)
        rv = owner_text(call, db, id, &ask, &text);
    rv = mdm_adm_end(db, rv);
    if (rv == APR_SUCCESS && !strcmp(format, "json"))
        return mdm_web_bytes(call->r, HTTP_OK, "application/json", text, strlen(text));
    return !strcmp(format, "png") ? picture(call, rv, "image/png", mdm_qr_png, text) : picture(call, rv, "image/svg+xml", mdm_qr_svg, text);
}

/* ---------------------------------------------------------------- settings */

int mdm_adm_otp_settings(mdm_web_call_t *call)
{
    return mdm_adm_look(call, mdm_otp_conf_json);
}

int mdm_adm_otp_settings_save(mdm_web_call_t *call)
{
    return mdm_adm_set(call, mdm_otp_conf_edit, mdm_otp_conf_json);
}

int mdm_adm_enrollment_settings(mdm_web_call_t *call)
{
    json_t *body = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_params(call, NULL);

    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv == APR_SUCCESS) {
        rv = mdm_enroll_conf_json(db, NULL, &body);
        mdm_db_close(db);
    }
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    json_object_set_new(body, "default_url", json_string(call->svc->public_url(call->r->server)));
    return mdm_adm_json(call, body);
}

int mdm_adm_enrollment_settings_save(mdm_web_call_t *call)
{
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_begin(call, &db);

    if (rv == APR_SUCCESS)
        rv = mdm_enroll_conf_edit(db, call->body);
    rv = mdm_adm_end(db, rv);
    return rv == APR_SUCCESS ? mdm_adm_enrollment_settings(call) : mdm_adm_fail(call, rv);
}
