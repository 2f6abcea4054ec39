/* Notices by mail: the mail server, its test, templates, the outbox (MAIL-01, MAIL-02). */
#include "mdm_admin.h"

#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_enroll_conf.h"
#include "domain/mdm_notice.h"
#include "wire/mdm_mail.h"
#include "wire/mdm_qr.h"
#include "wire/mdm_sms.h"

/* ---- what all of them say */

int mdm_adm_notice_zone(mdm_web_call_t *call)
{
    return mdm_adm_look(call, mdm_notice_zone_json);
}

int mdm_adm_notice_zone_save(mdm_web_call_t *call)
{
    return mdm_adm_set(call, mdm_notice_zone_edit, mdm_notice_zone_json);
}

/* ---- the mail server */

static apr_status_t conf_json(mdm_db_t *db, const char *id, json_t **out)
{
    return mdm_notice_conf_json(db, out);
}

int mdm_adm_notice_server(mdm_web_call_t *call)
{
    return mdm_adm_look(call, conf_json);
}

/* Mail that waits for another server is sent at once. */
static int change(mdm_web_call_t *call, mdm_adm_set_fn fn)
{
    int rc = mdm_adm_set(call, fn, conf_json);

    if (call->r->status == HTTP_OK)
        call->svc->job_wake();
    return rc;
}

int mdm_adm_notice_server_save(mdm_web_call_t *call)
{
    return change(call, mdm_notice_conf_edit);
}

static apr_status_t pin(mdm_db_t *db, json_t *body)
{
    const char *sha256 = "";
    const mdm_jfield_t fields[] = {{"sha256", MDM_JF_STR, 1, 0, 64, NULL, 0, &sha256, NULL}, {NULL}};
    apr_status_t rv = mdm_json_fields(mdm_db_ctx(db), body, fields);

    return rv == APR_SUCCESS ? mdm_notice_conf_pin(db, sha256) : rv;
}

int mdm_adm_notice_server_certificate(mdm_web_call_t *call)
{
    return change(call, pin);
}

static void test(mdm_probe_t *p, const void *what)
{
    mdm_notice_test(p, what);
}

int mdm_adm_notice_server_test(mdm_web_call_t *call)
{
    mdm_notice_test_t t = {.ca_file = call->svc->conf_str(NULL, "MDMOutboundCAFile")};
    const mdm_jfield_t fields[] = {{"to", MDM_JF_STR, 1, 1, MDM_MAIL_ADDRESS_MAX, NULL, 0, &t.to, NULL}, {NULL}};
    mdm_notice_conf_t *conf = NULL;
    mdm_notice_zone_t *zone = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_json_fields(call->ctx, call->body, fields);

    if (rv == APR_SUCCESS && !mdm_mail_address_ok(t.to))
        rv = mdm_fail(call->ctx, MDM_EINPUT, "to", "must be a mail address");
    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    rv = mdm_notice_conf(db, &conf);
    if (rv == APR_SUCCESS)
        rv = mdm_notice_zone(db, &zone);
    mdm_db_close(db);
    if (rv == APR_NOTFOUND)
        rv = mdm_fail(call->ctx, MDM_ECONFLICT, NULL, "No mail server is set.");
    t.conf = conf;
    t.language = zone ? zone->language : NULL;
    return rv == APR_SUCCESS ? mdm_adm_probe(call, test, &t) : mdm_adm_fail(call, rv);
}

/* ---- templates */

int mdm_adm_notice_templates(mdm_web_call_t *call)
{
    json_t *items = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_params(call, NULL);

    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv == APR_SUCCESS) {
        rv = mdm_notice_templates(db, &items);
        mdm_db_close(db);
    }
    return rv == APR_SUCCESS ? mdm_adm_items(call, items, NULL) : mdm_adm_fail(call, rv);
}

/* The template in the path as it is now, or rv as a problem. */
static int show(mdm_web_call_t *call, apr_status_t rv)
{
    apr_int64_t version = 0;
    json_t *body = NULL;
    mdm_db_t *db = NULL;

    if (rv == APR_SUCCESS)
        rv = mdm_db_open(call->ctx, &db);
    if (rv == APR_SUCCESS) {
        rv = mdm_notice_template(db, call->args[0], call->args[1], &body, &version);
        mdm_db_close(db);
    }
    return rv == APR_SUCCESS ? mdm_adm_object(call, body, version) : mdm_adm_fail(call, rv);
}

int mdm_adm_notice_template(mdm_web_call_t *call)
{
    return show(call, mdm_adm_params(call, NULL));
}

static apr_status_t read_text(mdm_web_call_t *call, mdm_notice_text_t *t)
{
    const mdm_jfield_t fields[] = {{"subject", MDM_JF_STR, 1, 1, MDM_NOTICE_SUBJECT_MAX, NULL, 0, &t->subject, NULL},
                                   {"text", MDM_JF_STR, 1, 1, MDM_NOTICE_BODY_MAX, NULL, 0, &t->text, NULL},
                                   {"html", MDM_JF_STR, 1, 1, MDM_NOTICE_BODY_MAX, NULL, 0, &t->html, NULL},
                                   {"sms", MDM_JF_STR, 0, 0, MDM_NOTICE_SMS_MAX, NULL, 1, &t->sms, NULL},
                                   {NULL}};
    apr_status_t rv;

    t->language = call->args[1];
    t->sms = "";
    rv = mdm_json_fields(call->ctx, call->body, fields);
    t->sms = t->sms ? t->sms : "";
    return rv;
}

static int save(mdm_web_call_t *call, const mdm_notice_text_t *t, apr_int64_t version)
{
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_adm_begin(call, &db);

    if (rv == APR_SUCCESS)
        rv = mdm_notice_template_save(db, call->args[0], call->args[1], t, version);
    return show(call, mdm_adm_end(db, rv));
}

int mdm_adm_notice_template_save(mdm_web_call_t *call)
{
    apr_int64_t version = 0;
    mdm_notice_text_t t;
    apr_status_t rv = mdm_adm_if_match(call, &version);

    if (rv == APR_SUCCESS)
        rv = read_text(call, &t);
    return rv == APR_SUCCESS ? save(call, &t, version) : mdm_adm_fail(call, rv);
}

int mdm_adm_notice_template_reset(mdm_web_call_t *call)
{
    apr_int64_t version = 0;
    apr_status_t rv = mdm_adm_if_match(call, &version);

    return rv == APR_SUCCESS ? save(call, NULL, version) : mdm_adm_fail(call, rv);
}

static apr_status_t portal_url(mdm_web_call_t *call, const char **out)
{
    const char *base = NULL;
    mdm_db_t *db = NULL;
    apr_status_t rv = mdm_db_open(call->ctx, &db);

    if (rv != APR_SUCCESS)
        return rv;
    if ((rv = mdm_enroll_base(db, call->svc->public_url(call->r->server), &base)) == APR_SUCCESS)
        *out = mdm_enroll_link(call->ctx->pool, base, "", NULL);
    mdm_db_close(db);
    return rv;
}

/* The HTML with the QR code drawn in place: the picture of a mail comes with the mail. */
static const char *shown_html(mdm_ctx_t *ctx, const mdm_notice_text_t *t, const char *qr)
{
    const char *img = qr ? strstr(t->html, MDM_NOTICE_QR_IMG) : NULL, *svg;
    mdm_blob_t code;

    if (!img || mdm_qr_svg(ctx, qr, &code) != APR_SUCCESS)
        return t->html;
    svg = strstr(apr_pstrmemdup(ctx->pool, (const char *)code.data, code.len), "<svg ");
    return !svg ? t->html : apr_pstrcat(ctx->pool, apr_pstrmemdup(ctx->pool, t->html, (apr_size_t)(img - t->html)), "<svg width=\"240\" height=\"240\" ",
                                        svg + strlen("<svg "), img + strlen(MDM_NOTICE_QR_IMG), NULL);
}

/* How a text looks with values of an invented person; checked as it is when it is saved. */
int mdm_adm_notice_template_preview(mdm_web_call_t *call)
{
    const mdm_notice_kind_t *kind = mdm_notice_kind(call->args[0]);
    mdm_ctx_t *ctx = call->ctx;
    mdm_notice_text_t t, out;
    mdm_sms_length_t len;
    json_t *values;
    const char *url = NULL;
    apr_status_t rv = kind && mdm_notice_default(kind, call->args[1]) ? read_text(call, &t) : APR_NOTFOUND;

    if (rv == APR_SUCCESS)
        rv = mdm_notice_check(ctx, kind, &t);
    if (rv == APR_SUCCESS)
        rv = portal_url(call, &url);
    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    values = mdm_notice_sample(ctx, url);
    mdm_notice_render(ctx->pool, &t, values, &out);
    mdm_sms_count(out.sms, &len);
    return mdm_web_json(call->r, HTTP_OK, json_pack("{s:s, s:s, s:s, s:s?, s:o}", "subject", out.subject, "text", out.text, "html", shown_html(ctx, &out, mdm_notice_qr(&t, values)), "sms",
                                                    mdm_notice_has_sms(kind) ? out.sms : NULL, "sms_length", mdm_notice_has_sms(kind)
                                                    ? json_pack("{s:s, s:i, s:i}", "encoding", len.encoding, "units", len.units, "parts", len.parts)
                                                    : json_null()));
}

/* ---- the outbox */

apr_status_t mdm_adm_told(mdm_db_t *db, json_t *items)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *ids = mdm_json_own(ctx, json_array()), *told = NULL, *item;
    apr_status_t rv = APR_SUCCESS;
    size_t i;

    json_array_foreach(items, i, item)
        json_array_append(ids, json_object_get(item, "id"));
    if (json_array_size(ids))
        rv = mdm_notice_told(db, ids, &told);
    mdm_json_own(ctx, told);
    json_array_foreach(items, i, item) {
        json_t *list = json_object_get(told, json_string_value(json_object_get(item, "id")));
        json_object_set_new(item, "notices", list ? json_incref(list) : json_array());
    }
    return rv;
}

static apr_status_t outbox(mdm_db_t *db, const mdm_page_t *page, const void *state, json_t *items, const char **next)
{
    return mdm_notice_list(db, page, state, items, next);
}

int mdm_adm_notices(mdm_web_call_t *call)
{
    static const char *const params[] = {"state", NULL}, *const states[] = {"waiting", "sent", "failed", "cancelled", NULL};
    const char *state = NULL;
    mdm_adm_list_t list = {.params = params, .read = outbox, .name = "notices",
                           .columns = "id event channel state name mail phone device:device_name attempts next_at error created_at done_at"};
    apr_status_t rv = mdm_adm_word(call, "state", states, &state);

    if (rv != APR_SUCCESS)
        return mdm_adm_fail(call, rv);
    list.sig = apr_pstrcat(call->r->pool, "notices\n", state, NULL);
    list.arg = state;
    return mdm_adm_list(call, &list);
}

static apr_status_t retry(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_notice_retry(db, id);
}

int mdm_adm_notice_retry(mdm_web_call_t *call)
{
    return mdm_adm_act(call, retry, NULL, HTTP_NO_CONTENT);
}

static apr_status_t cancel(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg)
{
    return mdm_notice_cancel(db, id);
}

int mdm_adm_notice_cancel(mdm_web_call_t *call)
{
    return mdm_adm_act(call, cancel, NULL, HTTP_NO_CONTENT);
}
