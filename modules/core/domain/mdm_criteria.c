/* Criteria of dynamic groups: two tables, a check and a match. */
#include "domain/mdm_criteria.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <apr_strings.h>

typedef enum { TEXT, NUMBER, TRUTH, VERSION, LIST } type_e;

static const char *const type_names[] = {"text", "number", "boolean", "version", "list"};

/* path: below the device; a list is of texts, or of objects with `member`. */
static const struct field_t {
    const char *name, *path[3], *member;
    type_e type;
} fields[] = {
    {"name", {"name"}, NULL, TEXT},
    {"platform", {"platform"}, NULL, TEXT},
    {"model", {"model"}, NULL, TEXT},
    {"product", {"product"}, NULL, TEXT},
    {"serial", {"serial"}, NULL, TEXT},
    {"udid", {"udid"}, NULL, TEXT},
    {"imei", {"imei"}, NULL, TEXT},
    {"eas_device_id", {"eas_device_id"}, NULL, TEXT},
    {"os_version", {"os_version"}, NULL, VERSION},
    {"build", {"build"}, NULL, TEXT},
    {"phone", {"phone"}, NULL, TEXT},
    {"state", {"state"}, NULL, TEXT},
    {"mode", {"mode"}, NULL, TEXT},
    {"level", {"level"}, NULL, TEXT},
    {"ownership", {"ownership"}, NULL, TEXT},
    {"compliance", {"compliance"}, NULL, TEXT},
    {"department", {"department"}, NULL, TEXT},
    {"site", {"site"}, NULL, TEXT},
    {"location", {"location"}, NULL, TEXT},
    {"supervised", {"supervised"}, NULL, TRUTH},
    {"test_device", {"test_device"}, NULL, TRUTH},
    {"passcode_present", {"passcode_present"}, NULL, TRUTH},
    {"passcode_compliant", {"passcode_compliant"}, NULL, TRUTH},
    {"encryption", {"encryption"}, NULL, NUMBER},
    {"battery", {"battery"}, NULL, NUMBER},
    {"capacity_gb", {"capacity_gb"}, NULL, NUMBER},
    {"free_gb", {"free_gb"}, NULL, NUMBER},
    {"contact_days", {"contact_days"}, NULL, NUMBER},
    {"enrolled_days", {"enrolled_days"}, NULL, NUMBER},
    {"app", {"apps"}, NULL, LIST},
    {"profile", {"inventory", "profiles"}, "identifier", LIST},
    {"roaming", {"inventory", "device", "IsRoaming"}, NULL, TRUTH},
    {"data_roaming", {"inventory", "device", "DataRoamingEnabled"}, NULL, TRUTH},
    {"activation_lock", {"inventory", "device", "IsActivationLockEnabled"}, NULL, TRUTH},
    {"locator", {"inventory", "device", "IsDeviceLocatorServiceEnabled"}, NULL, TRUTH},
    {"cloud_backup", {"inventory", "device", "IsCloudBackupEnabled"}, NULL, TRUTH},
    {"store_account", {"inventory", "device", "iTunesStoreAccountIsActive"}, NULL, TRUTH},
    {"lost_mode", {"inventory", "device", "IsMDMLostModeEnabled"}, NULL, TRUTH},
    {"shared_ipad", {"inventory", "device", "IsMultiUser"}, NULL, TRUTH},
    {"carrier", {"inventory", "device", "SIMCarrierNetwork"}, NULL, TEXT},
    {"modem_firmware", {"inventory", "device", "ModemFirmwareVersion"}, NULL, VERSION},
};
#define NFIELDS (sizeof fields / sizeof fields[0])

typedef enum { EQ, NE, IN, CONTAINS, STARTS, ENDS, LT, LE, GT, GE, IS, HAS, LACKS, SET } op_e;

/* Operators, and the types of fields that they go with. */
static const struct {
    const char *name;
    unsigned types; /* bits of type_e */
} ops[] = {
    [EQ] = {"eq", 1 << TEXT | 1 << NUMBER | 1 << VERSION},
    [NE] = {"ne", 1 << TEXT | 1 << NUMBER | 1 << VERSION},
    [IN] = {"in", 1 << TEXT},
    [CONTAINS] = {"contains", 1 << TEXT},
    [STARTS] = {"starts", 1 << TEXT},
    [ENDS] = {"ends", 1 << TEXT},
    [LT] = {"lt", 1 << NUMBER | 1 << VERSION},
    [LE] = {"le", 1 << NUMBER | 1 << VERSION},
    [GT] = {"gt", 1 << NUMBER | 1 << VERSION},
    [GE] = {"ge", 1 << NUMBER | 1 << VERSION},
    [IS] = {"is", 1 << TRUTH},
    [HAS] = {"has", 1 << LIST},
    [LACKS] = {"lacks", 1 << LIST},
    [SET] = {"set", 1 << TEXT | 1 << NUMBER | 1 << TRUTH | 1 << VERSION | 1 << LIST},
};
#define NOPS (sizeof ops / sizeof ops[0])

static const struct field_t *field_of(const json_t *part)
{
    const char *name = json_string_value(json_object_get(part, "field"));

    for (size_t i = 0; name && i < NFIELDS; i++) {
        if (!strcmp(fields[i].name, name))
            return &fields[i];
    }
    return NULL;
}

static int op_of(const json_t *part)
{
    const char *name = json_string_value(json_object_get(part, "op"));

    for (size_t i = 0; name && i < NOPS; i++) {
        if (!strcmp(ops[i].name, name))
            return (int)i;
    }
    return -1;
}

json_t *mdm_criteria_fields(void)
{
    json_t *out = json_array();

    for (size_t i = 0; i < NFIELDS; i++) {
        json_t *names = json_array();
        for (size_t k = 0; k < NOPS; k++) {
            if (ops[k].types & 1u << fields[i].type)
                json_array_append_new(names, json_string(ops[k].name));
        }
        json_array_append_new(out, json_pack("{s:s, s:s, s:o}", "field", fields[i].name, "type", type_names[fields[i].type], "ops", names));
    }
    return out;
}

/* ---------------------------------------------------------------- check */

typedef struct check_t {
    mdm_ctx_t *ctx;
    int parts;
} check_t;

static apr_status_t bad(check_t *c, const char *path, const char *member, const char *why)
{
    return mdm_fail(c->ctx, MDM_EINPUT, apr_pstrcat(c->ctx->pool, path, member ? "." : "", member ? member : "", NULL), "%s", why);
}

static int good_text(const json_t *v)
{
    return json_is_string(v) && json_string_length(v) > 0 && json_string_length(v) <= MDM_CRITERIA_TEXT
           && strlen(json_string_value(v)) == json_string_length(v);
}

static int good_version(const json_t *v)
{
    const char *s = json_string_value(v);

    if (!s || !isdigit((unsigned char)*s) || strlen(s) > 40)
        return 0;
    for (; *s; s++) {
        if (!isdigit((unsigned char)*s) && !(*s == '.' && isdigit((unsigned char)s[1])))
            return 0;
    }
    return 1;
}

static apr_status_t check_value(check_t *c, const char *path, type_e type, op_e op, const json_t *v)
{
    size_t i;

    if (op == IS || op == SET)
        return json_is_boolean(v) ? APR_SUCCESS : bad(c, path, "value", "must be true or false");
    if (op == IN) {
        if (!json_array_size(v) || json_array_size(v) > MDM_CRITERIA_LIST)
            return bad(c, path, "value", apr_psprintf(c->ctx->pool, "must be a list of 1 to %d texts", MDM_CRITERIA_LIST));
        for (i = 0; i < json_array_size(v); i++) {
            if (!good_text(json_array_get(v, i)))
                return bad(c, path, apr_psprintf(c->ctx->pool, "value[%" APR_SIZE_T_FMT "]", i), "must be a text of 1 to 200 bytes");
        }
        return APR_SUCCESS;
    }
    if (type == NUMBER)
        return json_is_number(v) ? APR_SUCCESS : bad(c, path, "value", "must be a number");
    if (type == VERSION)
        return good_version(v) ? APR_SUCCESS : bad(c, path, "value", "must be a version like 17.2 or 18");
    return good_text(v) ? APR_SUCCESS : bad(c, path, "value", "must be a text of 1 to 200 bytes");
}

static apr_status_t check_condition(check_t *c, const char *path, const json_t *part)
{
    const struct field_t *f = field_of(part);
    int op = op_of(part);
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)part, key, v) {
        if (strcmp(key, "field") != 0 && strcmp(key, "op") != 0 && strcmp(key, "value") != 0)
            return bad(c, path, mdm_clean(c->ctx->pool, key, 60), "is not a member of a condition");
    }
    if (!f)
        return bad(c, path, "field", "is no field that devices have");
    if (op < 0)
        return bad(c, path, "op", "is no operator");
    if (!(ops[op].types & 1u << f->type))
        return bad(c, path, "op", apr_psprintf(c->ctx->pool, "does not go with a field of type %s", type_names[f->type]));
    if (!json_object_get(part, "value"))
        return bad(c, path, "value", "is missing");
    return check_value(c, path, f->type, (op_e)op, json_object_get(part, "value"));
}

static apr_status_t check_part(check_t *c, const char *path, const json_t *part, int depth)
{
    static const char *const joints[] = {"all", "any", "not"};
    const json_t *inner = NULL;
    apr_status_t rv = APR_SUCCESS;
    size_t i, k;

    if (!json_is_object(part))
        return bad(c, path, NULL, "must be an object");
    if (depth > MDM_CRITERIA_DEPTH)
        return bad(c, path, NULL, apr_psprintf(c->ctx->pool, "goes deeper than %d steps", MDM_CRITERIA_DEPTH));
    if (++c->parts > MDM_CRITERIA_PARTS)
        return bad(c, path, NULL, apr_psprintf(c->ctx->pool, "is more than %d conditions", MDM_CRITERIA_PARTS));
    for (i = 0; i < 3 && !inner; i++)
        inner = json_object_get(part, joints[i]);
    if (!inner)
        return check_condition(c, path, part);
    path = apr_pstrcat(c->ctx->pool, path, ".", joints[i - 1], NULL);
    if (json_object_size(part) != 1)
        return bad(c, path, NULL, "must stand alone in its object");
    if (i == 3)
        return check_part(c, path, inner, depth + 1);
    if (!json_array_size(inner))
        return bad(c, path, NULL, "must be a list with something in it");
    for (k = 0; rv == APR_SUCCESS && k < json_array_size(inner); k++)
        rv = check_part(c, apr_psprintf(c->ctx->pool, "%s[%" APR_SIZE_T_FMT "]", path, k), json_array_get(inner, k), depth + 1);
    return rv;
}

apr_status_t mdm_criteria_check(mdm_ctx_t *ctx, const json_t *criteria)
{
    check_t c = {.ctx = ctx};

    return check_part(&c, "criteria", criteria, 1);
}

/* ---------------------------------------------------------------- match */

/* Number by number; what stands behind the numbers ("18.0 beta") does not count. */
static int version_cmp(const char *a, const char *b)
{
    for (;;) {
        unsigned long x = 0, y = 0;

        for (; isdigit((unsigned char)*a); a++)
            x = x < 100000000 ? x * 10 + (unsigned long)(*a - '0') : x;
        for (; isdigit((unsigned char)*b); b++)
            y = y < 100000000 ? y * 10 + (unsigned long)(*b - '0') : y;
        if (x != y)
            return x < y ? -1 : 1;
        if (*a != '.' && *b != '.')
            return 0;
        a += *a == '.';
        b += *b == '.';
    }
}

static int by_order(op_e op, int cmp)
{
    switch (op) {
    case EQ: return cmp == 0;
    case NE: return cmp != 0;
    case LT: return cmp < 0;
    case LE: return cmp <= 0;
    case GT: return cmp > 0;
    case GE: return cmp >= 0;
    default: return 0;
    }
}

static int text_match(op_e op, const char *s, const json_t *value)
{
    const char *v = json_string_value(value);
    size_t i, n = strlen(s), m = v ? strlen(v) : 0;

    switch (op) {
    case CONTAINS: return strcasestr(s, v) != NULL;
    case STARTS: return !strncasecmp(s, v, m);
    case ENDS: return n >= m && !strcasecmp(s + n - m, v);
    case IN:
        for (i = 0; i < json_array_size(value); i++) {
            if (!strcasecmp(s, json_string_value(json_array_get(value, i))))
                return 1;
        }
        return 0;
    default: return by_order(op, strcasecmp(s, v ? v : ""));
    }
}

static int list_has(const struct field_t *f, const json_t *list, const char *v)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const char *s = json_string_value(f->member ? json_object_get(one, f->member) : one);
        if (s && !strcasecmp(s, v))
            return 1;
    }
    return 0;
}

static const json_t *found(const struct field_t *f, const json_t *device)
{
    const json_t *j = device;

    for (int i = 0; i < 3 && f->path[i]; i++)
        j = json_object_get(j, f->path[i]);
    if (f->type == TEXT || f->type == VERSION)
        return json_string_length(j) ? j : NULL;
    if (f->type == LIST)
        return json_array_size(j) ? j : NULL;
    return f->type == NUMBER ? json_is_number(j) ? j : NULL : json_is_boolean(j) || json_is_integer(j) ? j : NULL;
}

static int condition(const json_t *part, const json_t *device)
{
    const struct field_t *f = field_of(part);
    int op = op_of(part);
    const json_t *value = json_object_get(part, "value"), *j = f ? found(f, device) : NULL;
    double x, y;

    if (!f || op < 0)
        return 0;
    if (op == SET)
        return (j != NULL) == json_is_true(value);
    if (!j)
        return op == NE || op == LACKS;
    switch (f->type) {
    case TEXT: return text_match((op_e)op, json_string_value(j), value);
    case VERSION: return by_order((op_e)op, version_cmp(json_string_value(j), json_string_value(value)));
    case TRUTH: return (json_is_true(j) || json_integer_value(j) != 0) == json_is_true(value);
    case LIST: return list_has(f, j, json_string_value(value)) == (op == HAS);
    default:
        x = json_number_value(j);
        y = json_number_value(value);
        return by_order((op_e)op, x < y ? -1 : x > y);
    }
}

int mdm_criteria_match(const json_t *criteria, const json_t *device)
{
    const json_t *inner;
    size_t i;

    if ((inner = json_object_get(criteria, "not")))
        return !mdm_criteria_match(inner, device);
    if ((inner = json_object_get(criteria, "all"))) {
        for (i = 0; i < json_array_size(inner) && mdm_criteria_match(json_array_get(inner, i), device); i++)
            ;
        return i == json_array_size(inner);
    }
    if ((inner = json_object_get(criteria, "any"))) {
        for (i = 0; i < json_array_size(inner) && !mdm_criteria_match(json_array_get(inner, i), device); i++)
            ;
        return i < json_array_size(inner);
    }
    return condition(criteria, device);
}
