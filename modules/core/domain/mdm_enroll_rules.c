/* Where the rules of an enrolment policy put a device and how they name it (ENR-04), and why or why not. */
#include "domain/mdm_enroll_priv.h"

#include <string.h>
#include <apr_fnmatch.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "mdm_sql_gen.h"

#define ROOT_FOLDER "00000000-0000-4000-8000-000000000001"
#define NAME_TRIES 1000000

const char *mdm_text_or(const char *s, const char *fallback)
{
    return s && *s ? s : fallback;
}

const char *mdm_some(const char *s)
{
    return s && *s ? s : NULL;
}

mdm_begin_t mdm_begin_make(mdm_db_t *db, const mdm_pending_t *pending, const mdm_enroll_facts_t *facts)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);

    return (mdm_begin_t){.db = db, .ctx = ctx, .pending = pending, .facts = facts, .udid = mdm_some(facts->udid),
                     .serial = mdm_some(facts->serial), .imei = mdm_some(facts->imei),
                     .model = mdm_text_or(facts->model, mdm_text_or(facts->product, "Device")),
                     .platform = mdm_text_or(facts->platform, pending->platform), .self = "", .now = mdm_now_ms(ctx)};
}

/* ---------------------------------------------------------------- rules and names (ENR-04) */

/* value: a word or a list of words; each may be a pattern with * and ?. */
static int word_fits(json_t *want, const char *have)
{
    size_t i;
    json_t *item;

    if (!want) {
        return 1;
    }
    if (json_is_string(want)) {
        return apr_fnmatch(json_string_value(want), have, APR_FNM_CASE_BLIND | APR_FNM_NOESCAPE) == APR_SUCCESS;
    }
    json_array_foreach(want, i, item) {
        if (json_is_string(item)
            && apr_fnmatch(json_string_value(item), have, APR_FNM_CASE_BLIND | APR_FNM_NOESCAPE) == APR_SUCCESS) {
            return 1;
        }
    }
    return 0;
}

/* The i-th of a word or a list of words; NULL behind the last. */
static const char *nth(json_t *value, size_t i)
{
    return json_string_value(json_is_array(value) ? json_array_get(value, i) : i ? NULL : value);
}

/* *fits: the person is in one of the groups, and in or below one of the folders. */
static apr_status_t member_fits(mdm_begin_t *b, json_t *match, int *fits)
{
    json_t *groups = json_object_get(match, "user_group"), *folders = json_object_get(match, "user_folder");
    mdm_q_person_in_user_group_t *in_group;
    mdm_q_person_in_user_folder_t *in_folder;
    apr_status_t rv = APR_SUCCESS;
    const char *id;
    size_t i;

    *fits = !groups;
    for (i = 0; rv == APR_SUCCESS && !*fits && (id = nth(groups, i)); ++i) {
        if ((rv = mdm_q_person_in_user_group(b->db, b->person->id, id, &in_group)) == APR_SUCCESS) {
            *fits = in_group->n > 0;
        }
    }
    if (rv != APR_SUCCESS || !*fits) {
        return rv;
    }
    *fits = !folders;
    for (i = 0; rv == APR_SUCCESS && !*fits && (id = nth(folders, i)); ++i) {
        if ((rv = mdm_q_person_in_user_folder(b->db, b->person->id, id, &in_folder)) == APR_SUCCESS) {
            *fits = in_folder->n > 0;
        }
    }
    return rv;
}

/* *why: the criterion that a rule asks for in vain, NULL if it fits. */
static apr_status_t rule_miss(mdm_begin_t *b, json_t *match, const char **why)
{
    const struct {
        const char *key, *have;
    } words[] = {{"platform", b->platform}, {"ownership", b->pending->ownership}, {"level", b->pending->level}, {"model", b->model}};
    const char *os_min = json_string_value(json_object_get(match, "os_min"));
    int fits = 1;
    apr_status_t rv;
    unsigned i;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); ++i) {
        if (!word_fits(json_object_get(match, words[i].key), words[i].have)) {
            *why = words[i].key;
            return APR_SUCCESS;
        }
    }
    if (os_min && !(b->preview && !mdm_some(b->facts->os_version)) && !mdm_version_at_least(b->facts->os_version, os_min)) {
        *why = "os_min";
        return APR_SUCCESS;
    }
    rv = member_fits(b, match, &fits);
    *why = fits ? NULL : "person";
    return rv;
}

static apr_status_t rule_find(mdm_begin_t *b, json_t **out)
{
    json_t *rules = (json_t *)b->policy->rules, *rule;
    size_t i;

    *out = NULL;
    json_array_foreach(rules, i, rule) {
        const char *why = NULL;
        apr_status_t rv = rule_miss(b, json_object_get(rule, "match"), &why);

        if (rv != APR_SUCCESS) {
            return rv;
        }
        if (!why) {
            b->rule = (int)i + 1;
            *out = rule;
            return APR_SUCCESS;
        }
        if (b->missed) {
            json_array_append_new(b->missed, json_pack("{s:i, s:s}", "rule", (int)i + 1, "why", why));
        }
    }
    return mdm_fail(b->ctx, MDM_EDENIED, NULL, "No enrolment rule of your organisation fits this device. Ask your IT support.");
}

static const char *numbered(mdm_begin_t *b, const char *base, int n)
{
    return n == 1 ? base : apr_psprintf(b->ctx->pool, "%s (%d)", base, n);
}

static apr_status_t name_taken(mdm_begin_t *b, const char *base, int n, int *taken)
{
    mdm_q_device_name_taken_t *row;
    apr_status_t rv = mdm_q_device_name_taken(b->db, mdm_lower(b->ctx->pool, numbered(b, base, n)), b->self, &row);

    *taken = rv == APR_SUCCESS;
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

/* The first free of "name", "name (2)", …: doubled until one is free, then halved, so that a thousand phones of one name cost
 * twenty look-ups in the index and never a scan. */
static apr_status_t name_free(mdm_begin_t *b, const char *base, const char **out)
{
    int low = 0, high = 1, taken;
    apr_status_t rv;

    for (;; high *= 2) {
        if ((rv = name_taken(b, base, high, &taken)) != APR_SUCCESS) {
            return rv;
        }
        if (!taken || high > NAME_TRIES) {
            break;
        }
        low = high;
    }
    while (high - low > 1) {
        int middle = low + (high - low) / 2;

        if ((rv = name_taken(b, base, middle, &taken)) != APR_SUCCESS) {
            return rv;
        }
        *(taken ? &low : &high) = middle;
    }
    *out = numbered(b, base, high);
    return APR_SUCCESS;
}

/* A first message may know "iPhone12,8" only: people call that an iPhone. */
static const char *family(mdm_begin_t *b)
{
    apr_size_t len = strcspn(b->model, "0123456789,");

    return mdm_some(b->facts->model) || !len ? b->model : apr_pstrmemdup(b->ctx->pool, b->model, len);
}

static apr_status_t name_make(mdm_begin_t *b, const char *pattern, const char **out)
{
    const char *values[MDM_ENROLL_VARS] = {b->person->login, b->person->name, b->person->mail, family(b),
                                           b->serial,        b->platform,     NULL};
    const char *base;
    mdm_q_device_seq_next_t *seq;
    apr_status_t rv;

    if (strstr(pattern, "${seq}")) {
        if ((rv = mdm_q_device_seq_next(b->db, b->now, &seq)) != APR_SUCCESS) {
            return rv;
        }
        values[MDM_ENROLL_VARS - 1] = seq->value;
    }
    base = mdm_clean(b->ctx->pool, mdm_enroll_expand(b->ctx->pool, pattern, values), MDM_NAME_BYTES);
    return name_free(b, *base ? base : b->model, out);
}

/* Folder and name by the first rule that fits. */
apr_status_t mdm_begin_place(mdm_begin_t *b, const char **folder, const char **name)
{
    mdm_q_enroll_folder_exists_t *found;
    json_t *rule;
    apr_status_t rv = rule_find(b, &rule);

    if (rv != APR_SUCCESS || (rv = name_make(b, json_string_value(json_object_get(rule, "name")), name)) != APR_SUCCESS) {
        return rv;
    }
    if (mdm_some(b->pending->folder_id) && (rv = mdm_q_enroll_folder_exists(b->db, b->pending->folder_id, &found)) != APR_NOTFOUND) {
        *folder = b->pending->folder_id;
        return rv;
    }
    *folder = json_string_value(json_object_get(rule, "folder"));
    rv = mdm_q_enroll_folder_exists(b->db, *folder, &found);
    if (rv == APR_NOTFOUND) {
        *folder = ROOT_FOLDER; /* the rule's folder was removed since */
        rv = APR_SUCCESS;
    }
    return rv;
}

/* ---------------------------------------------------------------- for enrolments without a link */

apr_status_t mdm_enroll_room(mdm_db_t *db, const mdm_enroll_policy_t *policy, const char *person_id, int has)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_pending_counts_t *n;
    apr_status_t rv;

    if (!policy->max_devices) {
        return APR_SUCCESS;
    }
    if ((rv = mdm_q_pending_counts(db, person_id, mdm_now_ms(ctx), &n)) != APR_SUCCESS) {
        return rv;
    }
    if (n->devices - has >= policy->max_devices) {
        return mdm_fail(ctx, MDM_EDENIED, NULL, "You have reached the number of devices that you may enrol (%d).",
                        policy->max_devices);
    }
    return APR_SUCCESS;
}

apr_status_t mdm_enroll_place(mdm_db_t *db, mdm_person_t *person, mdm_enroll_policy_t *policy, const mdm_enroll_facts_t *facts,
                              const char *ownership, const char *level, const char *self, const char **folder,
                              const char **name)
{
    mdm_pending_t as = {.ownership = ownership, .level = level, .platform = "unknown"};
    mdm_begin_t b = mdm_begin_make(db, &as, facts);

    b.person = person;
    b.policy = policy;
    b.self = self;
    return mdm_begin_place(&b, folder, name);
}

apr_status_t mdm_enroll_name(mdm_db_t *db, mdm_person_t *person, const mdm_enroll_facts_t *facts, const char *pattern,
                             const char **name)
{
    mdm_pending_t as = {.platform = "unknown"};
    mdm_begin_t b = mdm_begin_make(db, &as, facts);

    b.person = person;
    return name_make(&b, pattern, name);
}

/* ---------------------------------------------------------------- why, and why not */

/* Everything that mdm_enroll_begin() asks of a new device, in its order. */
static apr_status_t why_not(mdm_begin_t *b, json_t *out)
{
    mdm_q_enroll_folder_exists_t *there;
    const char *folder, *name;
    apr_status_t rv = b->person->disabled ? mdm_fail(b->ctx, MDM_EDENIED, "person", "This person may not log in.") : APR_SUCCESS;

    if (rv == APR_SUCCESS) {
        rv = mdm_enroll_allowed(b->ctx, b->policy, b->platform, b->pending->ownership, b->pending->level);
    }
    if (rv == APR_SUCCESS && strcmp(b->pending->level, "email_only") != 0) { /* of mail apps the protocol counts */
        rv = mdm_enroll_system(b->ctx, b->policy, b->platform, mdm_some(b->facts->os_version));
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_enroll_room(b->db, b->policy, b->person->id, 0);
    }
    if (rv != APR_SUCCESS || (rv = mdm_begin_place(b, &folder, &name)) != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_enroll_folder_exists(b->db, folder, &there);
    if (rv == APR_SUCCESS) {
        json_object_set_new(out, "rule", json_integer(b->rule));
        json_object_set_new(out, "name", json_string(name));
        json_object_set_new(out, "folder", json_pack("{s:s, s:s}", "id", folder, "name", there->name));
    }
    return rv;
}

static apr_status_t why_policy(mdm_begin_t *b, json_t *out)
{
    mdm_policy_reason_t from;
    apr_status_t rv = mdm_enroll_policy_why(b->db, b->person, &b->policy, &from);

    if (rv == APR_SUCCESS) {
        json_object_set_new(out, "policy", json_pack("{s:s, s:s, s:{s:s, s:s, s:s}}", "id", b->policy->policy_id, "name", b->policy->policy_name,
                                                     "target", "kind", from.kind, "id", from.id, "name", from.name));
        json_object_set_new(out, "ownership", json_string(b->policy->ownership));
        json_object_set_new(out, "level", json_string(b->policy->level));
    }
    return rv;
}

apr_status_t mdm_enroll_why_json(mdm_db_t *db, const char *person_id, const mdm_enroll_facts_t *facts, const char *ownership, const char *level,
                                 json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_pending_t as = {.ownership = ownership, .level = level, .platform = "ios"};
    mdm_begin_t b = mdm_begin_make(db, &as, facts);
    json_t *o = mdm_json_own(ctx, json_pack("{s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:[]}", "policy", "ownership", "level", "rule", "name", "folder",
                                            "reason", "field", "missed"));
    apr_status_t rv = mdm_person_get(db, person_id, &b.person);

    if (rv != APR_SUCCESS || (rv = mdm_db_begin(db)) != APR_SUCCESS) {
        return rv;
    }
    b.preview = 1;
    b.missed = json_object_get(o, "missed");
    if ((rv = why_policy(&b, o)) == APR_SUCCESS) {
        as.ownership = *ownership ? ownership : strcmp(b.policy->ownership, "choose") != 0 ? b.policy->ownership : "personal";
        as.level = *level ? level : strcmp(b.policy->level, "choose") != 0 ? b.policy->level : "managed";
        rv = why_not(&b, o);
    }
    mdm_db_rollback(db); /* a number of ${seq} is taken by enrolling alone */
    json_object_set_new(o, "allowed", json_boolean(rv == APR_SUCCESS));
    if (rv == MDM_EDENIED) {
        json_object_set_new(o, "reason", json_string(ctx->fail_text));
        json_object_set_new(o, "field", ctx->fail_field && *ctx->fail_field ? json_string(ctx->fail_field) : json_null());
        rv = APR_SUCCESS;
    }
    *out = rv == APR_SUCCESS ? json_incref(o) : NULL;
    return rv;
}
