/* Versions of policies: what they hold, the sandbox, what differs, publishing (POL-01, POL-03, EML-05). */
#include "domain/mdm_policies_priv.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_catalogue.h"
#include "domain/mdm_enroll.h"

#define INHERIT "inherit"

static const char *const columns[] = {"corporate", "personal", NULL};

/* ---------------------------------------------------------------- contents */

/* Every server that is named is there, and stays until this is written. */
static apr_status_t server_check(mdm_db_t *db, const char *setting, const char *column, const json_t *v)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_policy_server_hold_t *q;
    apr_status_t rv;

    if (!json_is_string(v) || !strcmp(json_string_value(v), INHERIT))
        return APR_SUCCESS;
    rv = mdm_q_policy_server_hold(db, json_string_value(v), &q);
    return rv == APR_NOTFOUND ? mdm_fail(ctx, MDM_EINPUT, apr_psprintf(ctx->pool, "settings.%s.%s", setting, column),
                                         "is no ActiveSync server of this zone") : rv;
}

int mdm_policy_enrolls(const char *type)
{
    return !strcmp(type, MDM_POLICY_ENROLLMENT);
}

apr_status_t mdm_policy_settings_ok(mdm_db_t *db, const char *type, json_t *settings)
{
    int enrolls = mdm_policy_enrolls(type);
    apr_status_t rv = enrolls ? mdm_enroll_policy_check(mdm_db_ctx(db), settings) : mdm_settings_check(mdm_db_ctx(db), type, settings);
    const char *id;
    json_t *row;
    int c;

    if (rv != APR_SUCCESS || enrolls)
        return rv == APR_SUCCESS ? mdm_enroll_policy_there(db, settings) : rv;
    json_object_foreach(settings, id, row) {
        const mdm_setting_t *s = mdm_setting_find(id);

        for (c = 0; rv == APR_SUCCESS && s->kind == MDM_SET_SERVER && columns[c]; c++)
            rv = server_check(db, id, columns[c], json_object_get(row, columns[c]));
        if (rv != APR_SUCCESS)
            return rv;
    }
    return APR_SUCCESS;
}

static int is_inherit(const json_t *v)
{
    return !v || (json_is_string(v) && !strcmp(json_string_value(v), INHERIT));
}

/* Both columns of each setting; a setting that says nothing is left out. */
static json_t *tidy(mdm_ctx_t *ctx, const json_t *settings)
{
    json_t *out = mdm_json_own(ctx, json_object()), *row;
    const char *id;

    json_object_foreach((json_t *)settings, id, row) {
        json_t *c = json_object_get(row, columns[0]), *p = json_object_get(row, columns[1]);

        if (!is_inherit(c) || !is_inherit(p))
            json_object_set_new(out, id, json_pack("{s:o, s:o}", columns[0], c ? json_incref(c) : json_string(INHERIT), columns[1],
                                                   p ? json_incref(p) : json_string(INHERIT)));
    }
    return out;
}

/* No columns and no levels: what is given, else what it was, else the defaults. */
static apr_status_t enroll_content(mdm_db_t *db, const mdm_policy_content_t *c, const mdm_policy_stored_t *before, mdm_policy_stored_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);

    *out = (mdm_policy_stored_t){c->settings ? c->settings : before->settings, "none", "none", c->note ? c->note : before->note};
    if (c->corporate || c->personal)
        return mdm_fail(ctx, MDM_EINPUT, "levels", "are not for enrollment policies");
    return out->settings ? mdm_policy_settings_ok(db, MDM_POLICY_ENROLLMENT, out->settings) : mdm_enroll_policy_default(ctx, &out->settings);
}

apr_status_t mdm_policy_content_make(mdm_db_t *db, const char *type, const mdm_policy_content_t *c, const mdm_policy_stored_t *before,
                                     mdm_policy_stored_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = APR_SUCCESS;

    if (mdm_policy_enrolls(type))
        return enroll_content(db, c, before, out);
    out->corporate = c->corporate ? c->corporate : before->corporate;
    out->personal = c->personal ? c->personal : before->personal;
    out->note = c->note ? c->note : before->note;
    if (c->settings)
        rv = mdm_policy_settings_ok(db, type, c->settings);
    out->settings = c->settings ? tidy(ctx, c->settings)
                                : mdm_json_own(ctx, mdm_level_settings(type, mdm_level_named(out->corporate), mdm_level_named(out->personal)));
    return rv == APR_SUCCESS && !out->settings ? APR_ENOMEM : rv;
}

static apr_status_t stored_json(mdm_ctx_t *ctx, const char *id, const char *text, json_t **out)
{
    apr_status_t rv = mdm_json_parse(ctx, text, strlen(text), out);

    if (rv == MDM_EINPUT)
        rv = mdm_fail(ctx, MDM_EUNAVAIL, NULL, "The settings of policy %s can not be read.", id);
    return rv;
}

static apr_status_t no_version(mdm_ctx_t *ctx, apr_status_t rv, apr_int64_t number)
{
    if (rv != APR_NOTFOUND)
        return rv;
    return number ? mdm_fail(ctx, APR_NOTFOUND, "number", "This policy has no version %" APR_INT64_T_FMT ".", number)
                  : mdm_fail(ctx, APR_NOTFOUND, NULL, "This policy has no sandbox.");
}

apr_status_t mdm_policy_version_load(mdm_db_t *db, const char *id, apr_int64_t number, mdm_policy_stored_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_policy_version_get_t *q;
    apr_status_t rv = no_version(ctx, mdm_q_policy_version_get(db, id, number, &q), number);

    if (rv == APR_SUCCESS) {
        *out = (mdm_policy_stored_t){NULL, q->level_corporate, q->level_personal, q->note};
        rv = stored_json(ctx, id, q->settings, &out->settings);
    }
    return rv;
}

apr_status_t mdm_policy_version_store(mdm_db_t *db, const char *id, apr_int64_t number, const mdm_policy_stored_t *s)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    json_t *server = json_object_get(s->settings, "email.direct_server");
    apr_status_t rv = mdm_q_policy_version_put(db, id, number, mdm_json_text(ctx->pool, s->settings), s->corporate, s->personal, s->note,
                                               mdm_now_ms(ctx), ctx->actor.name, NULL);

    if (rv != APR_SUCCESS || !server || number == MDM_POLICY_SANDBOX)
        return rv;
    return mdm_q_policy_servers_keep(db, id, number, json_string_value(json_object_get(server, columns[0])),
                                     json_string_value(json_object_get(server, columns[1])), NULL);
}

/* ---------------------------------------------------------------- reading */

#define VERSION_JSON(p, q, policy)                                                                                                 \
    json_pack("{s:I, s:b, s:{s:s, s:s}, s:s, s:s, s:s}", "number", (json_int_t)(q)->number, "in_force",                              \
              (q)->number && (q)->number == (policy)->published, "levels", columns[0], (q)->level_corporate, columns[1],            \
              (q)->level_personal, "note", (q)->note, "created_at", mdm_time_text(p, (q)->created_ms), "created_by", (q)->created_by)

apr_status_t mdm_policy_versions_json(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t *items, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_policy_get_t *policy;
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_policy_get(db, id, &policy);
    int i;

    *next = NULL;
    if (rv == APR_SUCCESS)
        rv = mdm_q_policy_version_list(db, id, page->first ? APR_INT64_MAX : page->num, page->count + 1, &rows);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts && i < page->count; i++) {
        const mdm_q_policy_version_list_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_policy_version_list_t);

        json_array_append_new(items, VERSION_JSON(ctx->pool, q, policy));
        if (i == page->count - 1 && rows->nelts > page->count)
            *next = mdm_page_next_num(ctx, page, q->number, id);
    }
    return rv;
}

apr_status_t mdm_policy_version_json(mdm_db_t *db, const char *id, apr_int64_t number, json_t **out, apr_int64_t *version)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_policy_get_t *policy;
    mdm_q_policy_version_get_t *q;
    json_t *settings = NULL;
    apr_status_t rv = mdm_q_policy_get(db, id, &policy);

    if (rv == APR_SUCCESS)
        rv = no_version(ctx, mdm_q_policy_version_get(db, id, number, &q), number);
    if (rv == APR_SUCCESS)
        rv = stored_json(ctx, id, q->settings, &settings);
    if (rv != APR_SUCCESS)
        return rv;
    *out = VERSION_JSON(ctx->pool, q, policy);
    json_object_set(*out, "settings", settings);
    json_object_set_new(*out, "presets", mdm_level_settings(policy->type, mdm_level_named(q->level_corporate),
                                                            mdm_level_named(q->level_personal)));
    *version = policy->version;
    return APR_SUCCESS;
}

apr_status_t mdm_policy_sandbox_json(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version)
{
    return mdm_policy_version_json(db, id, MDM_POLICY_SANDBOX, out, version);
}

/* Absent is "inherit". */
static void diff_rows(json_t *out, const char *id, json_t *a, json_t *b)
{
    json_t *inherit = json_string(INHERIT);
    int c;

    for (c = 0; columns[c]; c++) {
        json_t *x = json_object_get(a, columns[c]), *y = json_object_get(b, columns[c]);

        x = x ? x : inherit;
        y = y ? y : inherit;
        if (!json_equal(x, y))
            json_array_append_new(out, json_pack("{s:s, s:s, s:O, s:O}", "setting", id, "column", columns[c], "before", x, "after", y));
    }
    json_decref(inherit);
}

/* Without columns; absent is null. */
static void diff_row(json_t *out, const char *id, json_t *a, json_t *b)
{
    if (!a || !b || !json_equal(a, b))
        json_array_append_new(out, json_pack("{s:s, s:n, s:O?, s:O?}", "setting", id, "column", "before", a, "after", b));
}

json_t *mdm_policy_diff(const char *type, const json_t *a, const json_t *b)
{
    json_t *out = json_array(), *row;
    void (*rows)(json_t *, const char *, json_t *, json_t *) = mdm_policy_enrolls(type) ? diff_row : diff_rows;
    const char *id;

    json_object_foreach((json_t *)a, id, row)
        rows(out, id, row, json_object_get(b, id));
    json_object_foreach((json_t *)b, id, row) {
        if (!json_object_get(a, id))
            rows(out, id, NULL, row);
    }
    return out;
}

apr_status_t mdm_policy_diff_json(mdm_db_t *db, const char *id, apr_int64_t from, apr_int64_t to, json_t **out)
{
    mdm_policy_stored_t a, b;
    mdm_q_policy_get_t *policy;
    apr_status_t rv = mdm_q_policy_get(db, id, &policy);

    if (rv == APR_SUCCESS)
        rv = mdm_policy_version_load(db, id, from < 0 ? policy->published : from, &a);
    if (rv == APR_SUCCESS)
        rv = mdm_policy_version_load(db, id, to < 0 ? MDM_POLICY_SANDBOX : to, &b);
    if (rv == APR_SUCCESS)
        *out = mdm_policy_diff(policy->type, a.settings, b.settings);
    return rv;
}
