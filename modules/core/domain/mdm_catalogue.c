/* What follows from the catalogue's rows alone. */
#include "domain/mdm_catalogue.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define INHERIT "inherit"
#define CHOICES_NAMED 20 /* in a refusal */

static const char *const level_names[MDM_LEVELS] = {"none", "low", "moderate", "strict", "high"};
static const char *const columns[] = {"corporate", "personal"};
enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };

static int by_id(const void *key, const void *entry)
{
    return strcmp(key, mdm_settings[*(const unsigned short *)entry].id);
}

const mdm_setting_t *mdm_setting_find(const char *id)
{
    const unsigned short *hit = id ? bsearch(id, mdm_settings_by_id, mdm_settings_count, sizeof(unsigned short), by_id) : NULL;

    return hit ? &mdm_settings[*hit] : NULL;
}

const mdm_choice_t *mdm_setting_choice(const mdm_setting_t *s, const char *id)
{
    const mdm_choice_t *c;

    for (c = s->choices; c && c->id; c++) {
        if (id && strcmp(c->id, id) == 0)
            return c;
    }
    return NULL;
}

int mdm_level_named(const char *name)
{
    int i;

    for (i = 0; i < MDM_LEVELS; i++) {
        if (name && strcmp(level_names[i], name) == 0)
            return i;
    }
    return -1;
}

static json_t *json_of(const char *text)
{
    return json_loads(text, JSON_DECODE_ANY, NULL);
}

static int is_inherit(const json_t *v)
{
    return !v || (json_is_string(v) && strcmp(json_string_value(v), INHERIT) == 0);
}

json_t *mdm_level_settings(const char *type, int corporate, int personal)
{
    json_t *out = json_object();
    const mdm_setting_t *s;

    if (corporate < 0 || corporate >= MDM_LEVELS || personal < 0 || personal >= MDM_LEVELS)
        return out;
    for (s = mdm_settings; s->id; s++) {
        json_t *c, *p;

        if (strcmp(s->type, type) != 0)
            continue;
        c = json_of(s->levels[corporate]);
        p = json_of(s->levels[personal]);
        if (!is_inherit(c) || !is_inherit(p))
            json_object_set_new(out, s->id, json_pack("{s:O, s:O}", columns[0], c, columns[1], p));
        json_decref(c);
        json_decref(p);
    }
    return out;
}

/* Control characters have no place in what a device shows; C1 ones neither. */
static int plain_text(const char *s, apr_size_t len)
{
    apr_size_t i;

    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c < 0x20 || c == 0x7f || (c == 0xc2 && i + 1 < len && (unsigned char)s[i + 1] < 0xa0))
            return 0;
    }
    return mdm_utf8_valid(s, len);
}

int mdm_setting_value_ok(const mdm_setting_t *s, const json_t *v)
{
    const char *text = json_string_value(v);

    if (json_is_null(v) || (v && is_inherit(v)))
        return 1;
    switch (s->kind) {
    case MDM_SET_BOOL: return json_is_boolean(v);
    case MDM_SET_INT: return json_is_integer(v) && json_integer_value(v) >= s->min && json_integer_value(v) <= s->max;
    case MDM_SET_CHOICE: return text && mdm_setting_choice(s, text) != NULL;
    case MDM_SET_TEXT:
        return text && (apr_int64_t)json_string_length(v) >= s->min && (apr_int64_t)json_string_length(v) <= s->max &&
               plain_text(text, json_string_length(v));
    case MDM_SET_SERVER: return text && mdm_is_uuid(text);
    }
    return 0;
}

/* What a value may be, for a refusal. */
static const char *possible(apr_pool_t *p, const mdm_setting_t *s)
{
    const mdm_choice_t *c;
    const char *all = "";
    int n = 0;

    switch (s->kind) {
    case MDM_SET_BOOL: return "true or false";
    case MDM_SET_INT:
        return apr_psprintf(p, "a whole number from %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT, s->min, s->max);
    case MDM_SET_CHOICE:
        for (c = s->choices; c && c->id && n < CHOICES_NAMED; c++, n++)
            all = apr_pstrcat(p, all, n ? ", " : "one of ", c->id, NULL);
        return c && c->id ? apr_pstrcat(p, all, ", \xe2\x80\xa6", NULL) : all;
    case MDM_SET_TEXT:
        return apr_psprintf(p, "text of %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT " bytes without control characters", s->min, s->max);
    case MDM_SET_SERVER: return "the id of an ActiveSync server";
    }
    return "";
}

/* What a device does by itself where nothing is set. */
static int off_value(const mdm_setting_t *s)
{
    return s->strict == MDM_STRICT_AND;
}

static int is_value(const json_t *v, const char *text)
{
    json_t *wanted = json_of(text);
    int same = v && json_equal(v, wanted);

    json_decref(wanted);
    return same;
}

int mdm_setting_depends_ok(const mdm_setting_t *s, const json_t *values)
{
    const mdm_depend_t *d;

    if (json_is_false(json_object_get(values, s->id))) /* never more than the parent says, and all there is where the parent can't be enforced */
        return 1;
    for (d = s->depends; d && d->setting; d++) {
        const json_t *v = json_object_get(values, d->setting);
        const mdm_setting_t *parent = mdm_setting_find(d->setting);

        if (v && !json_is_null(v) ? !is_value(v, d->value) : !parent || !is_value(off_value(parent) ? json_true() : json_false(), d->value))
            return 0;
    }
    return 1;
}

static apr_status_t check_depends(mdm_ctx_t *ctx, const mdm_setting_t *s, const char *column, json_t *settings)
{
    const mdm_depend_t *d;

    for (d = s->depends; d && d->setting; d++) {
        const json_t *v = json_object_get(json_object_get(settings, d->setting), column);

        if (is_inherit(v) ? !d->inherit : !is_value(v, d->value))
            return mdm_fail(ctx, MDM_EINPUT, apr_psprintf(ctx->pool, "settings.%s.%s", s->id, column), "is possible only if %s is %s%s",
                            d->setting, d->value, d->inherit ? " or \"" INHERIT "\"" : "");
    }
    return APR_SUCCESS;
}

static apr_status_t check_row(mdm_ctx_t *ctx, const mdm_setting_t *s, json_t *row, json_t *settings)
{
    const char *column;
    apr_status_t rv;
    json_t *v;

    json_object_foreach(row, column, v) {
        const char *field = apr_psprintf(ctx->pool, "settings.%s.%s", s->id, mdm_clean(ctx->pool, column, 40));

        if (strcmp(column, columns[0]) != 0 && strcmp(column, columns[1]) != 0)
            return mdm_fail(ctx, MDM_EINPUT, field, "is no column: corporate and personal are");
        if (!mdm_setting_value_ok(s, v))
            return mdm_fail(ctx, MDM_EINPUT, field, "must be %s, \"" INHERIT "\" or null (not set)", possible(ctx->pool, s));
        /* "no" to what the parent forbids anyway says the same */
        if (is_inherit(v) || json_is_null(v) || json_is_false(v))
            continue;
        rv = check_depends(ctx, s, column, settings);
        if (rv != APR_SUCCESS)
            return rv;
    }
    return APR_SUCCESS;
}

apr_status_t mdm_settings_check(mdm_ctx_t *ctx, const char *type, json_t *settings)
{
    const char *id;
    json_t *row;

    if (!json_is_object(settings))
        return mdm_fail(ctx, MDM_EINPUT, "settings", "must be an object of settings with the columns corporate and personal");
    json_object_foreach(settings, id, row) {
        const mdm_setting_t *s = mdm_setting_find(id);
        const char *field = apr_psprintf(ctx->pool, "settings.%s", mdm_clean(ctx->pool, id, 60));
        apr_status_t rv;

        if (!s || strcmp(s->type, type) != 0)
            return mdm_fail(ctx, MDM_EINPUT, field, s ? "belongs to policies of type %s" : "is not a setting of the catalogue%s", s ? s->type : "");
        if (!json_is_object(row))
            return mdm_fail(ctx, MDM_EINPUT, field, "must be an object with the columns corporate and personal");
        rv = check_row(ctx, s, row, settings);
        if (rv != APR_SUCCESS)
            return rv;
    }
    return APR_SUCCESS;
}

/* A value as a number on the scale of its kind. */
static double rank(const mdm_setting_t *s, const json_t *v)
{
    const mdm_choice_t *c = s->kind == MDM_SET_CHOICE ? mdm_setting_choice(s, json_string_value(v)) : NULL;

    return c ? c->number : json_is_boolean(v) ? json_is_true(v) : json_number_value(v);
}

int mdm_strict_compare(mdm_strict_e strict, double a, double b)
{
    int up = (a > b) - (a < b);

    switch (strict) {
    case MDM_STRICT_OR:
    case MDM_STRICT_MAX: return up;
    case MDM_STRICT_AND:
    case MDM_STRICT_MIN: return -up;
    case MDM_STRICT_MIN_POSITIVE: return (a <= 0) != (b <= 0) ? (a <= 0 ? -1 : 1) : a <= 0 ? 0 : -up;
    case MDM_STRICT_NONE: break;
    }
    return 0;
}

const json_t *mdm_setting_stricter(const mdm_setting_t *s, const json_t *a, const json_t *b)
{
    if (!b || json_is_null(b))
        return a;
    if (!a || json_is_null(a))
        return b;
    return mdm_strict_compare(s->strict, rank(s, b), rank(s, a)) > 0 ? b : a;
}
