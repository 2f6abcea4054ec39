/* The kinds of quick tasks and their options: one table; options in, the order out. Pure. */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_command.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_task.h"
#include "wire/mdm_plist.h"

#define TEXT_MAX 500
#define NEW_NAME_MAX 200
#define REQUEST_TYPE_MAX 64

enum {
    O_REASON = 1, O_MESSAGE = 2, O_PHONE = 4, O_FOOTNOTE = 8, O_PROFILE = 16, O_IDENTIFIER = 32, O_COMMAND = 64, O_WIPE = 128,
    O_THEN = 256, O_ERASE = 512, O_NAME = 1024
};

static const struct kind_t {
    const char *name, *action;
    unsigned allowed, required;
} kinds[] = {
    {"refresh", "refresh", O_REASON, 0},
    {"lock", "lock", O_REASON | O_MESSAGE | O_PHONE, 0},
    {"unenroll", NULL, O_REASON | O_WIPE | O_THEN | O_ERASE, O_WIPE | O_THEN},
    {"lost_on", "lost_on", O_REASON | O_MESSAGE | O_PHONE | O_FOOTNOTE, 0},
    {"lost_off", "lost_off", O_REASON, 0},
    {"play_sound", "play_sound", O_REASON, 0},
    {"locate", "locate", O_REASON, 0},
    {"restart", "restart", O_REASON, 0},
    {"shut_down", "shut_down", O_REASON, 0},
    {"rename", "rename", O_REASON | O_NAME, O_NAME},
    {"install_profile", "install_profile", O_REASON | O_PROFILE, O_PROFILE},
    {"remove_profile", "remove_profile", O_REASON | O_IDENTIFIER, O_IDENTIFIER},
    {"raw", NULL, O_REASON | O_COMMAND, O_COMMAND},
};

/* What was given, by name. */
typedef struct given_t {
    const char *reason, *message, *phone, *footnote, *profile, *identifier, *wipe, *then, *name;
    json_t *command, *erase;
} given_t;

static apr_status_t bad(mdm_ctx_t *ctx, const char *option, const char *text)
{
    return mdm_fail(ctx, MDM_EINPUT, apr_pstrcat(ctx->pool, "options.", option, NULL), "%s", text);
}

static apr_status_t allowed(mdm_ctx_t *ctx, const struct kind_t *k, const given_t *g)
{
    const struct {
        unsigned bit;
        const char *name;
        int there;
    } all[] = {{O_REASON, "reason", g->reason != NULL}, {O_MESSAGE, "message", g->message != NULL}, {O_PHONE, "phone", g->phone != NULL},
               {O_FOOTNOTE, "footnote", g->footnote != NULL}, {O_PROFILE, "profile", g->profile != NULL},
               {O_IDENTIFIER, "identifier", g->identifier != NULL}, {O_COMMAND, "command", g->command != NULL},
               {O_WIPE, "wipe", g->wipe != NULL}, {O_THEN, "then", g->then != NULL}, {O_ERASE, "erase", g->erase != NULL},
               {O_NAME, "name", g->name != NULL}};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].there && !(k->allowed & all[i].bit)) {
            return bad(ctx, all[i].name, "is no option of this kind of task");
        }
        if (!all[i].there && k->required & all[i].bit) {
            return bad(ctx, all[i].name, "is missing");
        }
    }
    return APR_SUCCESS;
}

static apr_status_t options_read(mdm_ctx_t *ctx, const struct kind_t *k, json_t *options, given_t *g)
{
    static const char *const wipes[] = {"selective", "full", NULL}, *const thens[] = {"retire", "delete", NULL};
    const mdm_jfield_t fields[] = {{"reason", MDM_JF_STR, 0, 0, TEXT_MAX, NULL, 0, &g->reason, NULL},
                                   {"message", MDM_JF_STR, 0, 1, TEXT_MAX, NULL, 0, &g->message, NULL},
                                   {"phone", MDM_JF_STR, 0, 1, 64, NULL, 0, &g->phone, NULL},
                                   {"footnote", MDM_JF_STR, 0, 1, TEXT_MAX, NULL, 0, &g->footnote, NULL},
                                   {"profile", MDM_JF_STR, 0, 1, MDM_TASK_PROFILE_MAX * 2, NULL, 0, &g->profile, NULL},
                                   {"identifier", MDM_JF_STR, 0, 1, 250, NULL, 0, &g->identifier, NULL},
                                   {"name", MDM_JF_STR, 0, 1, NEW_NAME_MAX, NULL, 0, &g->name, NULL},
                                   {"command", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &g->command, NULL},
                                   {"wipe", MDM_JF_ENUM, 0, 0, 0, wipes, 0, &g->wipe, NULL},
                                   {"then", MDM_JF_ENUM, 0, 0, 0, thens, 0, &g->then, NULL},
                                   {"erase", MDM_JF_OBJECT, 0, 0, 0, NULL, 0, &g->erase, NULL},
                                   {NULL}};
    apr_status_t rv = options ? mdm_json_fields(ctx, options, fields) : APR_SUCCESS;

    if (rv != APR_SUCCESS) {
        ctx->fail_field = apr_pstrcat(ctx->pool, "options.", ctx->fail_field, NULL);
        return rv;
    }
    return allowed(ctx, k, g);
}

/* ---------------------------------------------------------------- what becomes of them */

static void put(json_t *to, const char *key, const char *value)
{
    if (value && *value) {
        json_object_set_new(to, key, json_string(value));
    }
}

/* A profile that Apple's devices could take: a property list of type Configuration, or a signed one. *name: how it calls itself. */
static apr_status_t profile_read(mdm_ctx_t *ctx, const char *text, const char **name)
{
    mdm_plist_t *plist;
    const char *id;
    mdm_blob_t raw;

    *name = "";
    if (mdm_unb64(ctx->pool, text, strlen(text), &raw) != APR_SUCCESS || !raw.len) {
        return bad(ctx, "profile", "must be the file's bytes in base64");
    }
    if (raw.len > MDM_TASK_PROFILE_MAX) {
        return bad(ctx, "profile", "The profile is too big: 256 KB are the most.");
    }
    if (raw.data[0] == 0x30) {
        return APR_SUCCESS; /* signed: the device will tell */
    }
    if (mdm_plist_parse(ctx, raw.data, raw.len, &plist) != APR_SUCCESS) {
        return bad(ctx, "profile", "is no configuration profile: neither a property list nor a signed one");
    }
    id = mdm_plist_str(plist, "PayloadIdentifier");
    if (!mdm_plist_str(plist, "PayloadType") || strcmp(mdm_plist_str(plist, "PayloadType"), "Configuration") != 0 || !id || !*id) {
        return bad(ctx, "profile", "is no configuration profile: its PayloadType must be Configuration, with a PayloadIdentifier");
    }
    if (!strcmp(id, MDM_ENROLL_PROFILE_ID)) {
        return bad(ctx, "profile", "has the identifier of the management profile");
    }
    *name = apr_pstrdup(ctx->pool, mdm_plist_str(plist, "PayloadDisplayName") ? mdm_plist_str(plist, "PayloadDisplayName") : id);
    return APR_SUCCESS;
}

static apr_status_t take_profile(mdm_ctx_t *ctx, mdm_task_order_t *o, const given_t *g)
{
    const char *name;
    apr_status_t rv = profile_read(ctx, g->profile, &name);

    if (rv == APR_SUCCESS) {
        json_object_set_new(o->payload, "Payload", json_pack("{s:s}", "$data", g->profile));
        put(o->summary, "profile", mdm_clean(ctx->pool, name, 200));
    }
    return rv;
}

static apr_status_t take_raw(mdm_ctx_t *ctx, mdm_task_order_t *o, const given_t *g)
{
    const char *type = json_string_value(json_object_get(g->command, "RequestType"));
    mdm_plist_t *plist;

    if (!type || !*type || strlen(type) > REQUEST_TYPE_MAX) {
        return bad(ctx, "command", "must be a dictionary with a RequestType");
    }
    if (mdm_plist_from_json(ctx, g->command, &plist) != APR_SUCCESS) {
        return bad(ctx, "command", "holds something that no property list can carry");
    }
    if (strlen(mdm_json_text(ctx->pool, g->command)) > MDM_TASK_PROFILE_MAX) {
        return bad(ctx, "command", "The command is too big: 256 KB are the most.");
    }
    if (!strcmp(type, "EraseDevice")) {
        return bad(ctx, "command", "Wiping is done by unenrolling.");
    }
    o->request_type = apr_pstrdup(ctx->pool, type);
    json_object_update(o->payload, g->command);
    json_object_del(o->payload, "RequestType");
    put(o->summary, "command", type);
    return APR_SUCCESS;
}

static apr_status_t take_unenroll(mdm_ctx_t *ctx, mdm_task_order_t *o, const given_t *g)
{
    o->wipe = !strcmp(g->wipe, "full");
    o->del = !strcmp(g->then, "delete");
    o->action = mdm_action_named(o->wipe ? "wipe" : "unenroll");
    put(o->summary, "wipe", g->wipe);
    put(o->summary, "then", g->then);
    if (g->erase && !o->wipe) {
        return bad(ctx, "erase", "belongs to a full wipe");
    }
    if (g->erase && mdm_command_check(ctx, "EraseDevice", g->erase) != APR_SUCCESS) {
        return bad(ctx, "erase", ctx->fail_text);
    }
    o->erase = g->erase ? mdm_json_own(ctx, json_deep_copy(g->erase)) : NULL;
    o->by_mail = o->erase ? NULL : mdm_action_named(o->wipe ? "mail_wipe" : "mail_unenroll"); /* a mail app knows no such keys */
    return APR_SUCCESS;
}

static json_t *named(mdm_ctx_t *ctx, const char *name)
{
    return mdm_json_own(ctx, json_pack("{s:[{s:s, s:s}]}", "Settings", "Item", "DeviceName", "DeviceName", name));
}

/* The template is checked here, and filled in for each device. */
static apr_status_t take_name(mdm_ctx_t *ctx, mdm_task_order_t *o, const given_t *g)
{
    if (strstr(g->name, "${seq}")) {
        return bad(ctx, "name", "has no number: a device may be renamed twice");
    }
    if (mdm_enroll_template_check(ctx, g->name) != APR_SUCCESS) {
        return bad(ctx, "name", ctx->fail_text);
    }
    o->name = apr_pstrdup(ctx->pool, g->name);
    o->payload = named(ctx, o->name);
    put(o->summary, "name", g->name);
    return APR_SUCCESS;
}

json_t *mdm_task_payload(mdm_ctx_t *ctx, const mdm_task_order_t *o, const mdm_action_facts_t *f)
{
    const char *values[MDM_ENROLL_VARS] = {f->login, f->person, f->mail, f->model, f->serial, f->platform, NULL}, *name;

    if (!o->name) {
        return o->payload;
    }
    name = mdm_clean(ctx->pool, mdm_enroll_expand(ctx->pool, o->name, values), NEW_NAME_MAX);
    return named(ctx, *name ? name : f->name);
}

static apr_status_t take(mdm_ctx_t *ctx, mdm_task_order_t *o, const given_t *g)
{
    put(o->summary, "reason", g->reason);
    put(o->summary, "message", g->message);
    put(o->summary, "phone", g->phone);
    put(o->summary, "footnote", g->footnote);
    put(o->summary, "identifier", g->identifier);
    put(o->payload, "Message", g->message);
    put(o->payload, "PhoneNumber", g->phone);
    put(o->payload, "Footnote", g->footnote);
    put(o->payload, "Identifier", g->identifier);
    if (g->profile) {
        return take_profile(ctx, o, g);
    }
    if (g->name) {
        return take_name(ctx, o, g);
    }
    if (g->command) {
        return take_raw(ctx, o, g);
    }
    if (g->wipe) {
        return take_unenroll(ctx, o, g);
    }
    if (g->identifier && !strcmp(g->identifier, MDM_ENROLL_PROFILE_ID)) {
        return bad(ctx, "identifier", "Management itself is removed by unenrolling.");
    }
    if (o->request_type && mdm_command_check(ctx, o->request_type, o->payload) != APR_SUCCESS) {
        return mdm_fail(ctx, MDM_EINPUT, "options", "%s", ctx->fail_text);
    }
    return APR_SUCCESS;
}

apr_status_t mdm_task_check(mdm_ctx_t *ctx, const char *kind, json_t *options, mdm_task_order_t **out)
{
    const struct kind_t *k = NULL;
    mdm_task_order_t *o = apr_pcalloc(ctx->pool, sizeof *o);
    given_t g = {NULL};
    apr_status_t rv;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        k = !strcmp(kinds[i].name, kind) ? &kinds[i] : k;
    }
    if (!k) {
        return mdm_fail(ctx, MDM_EINPUT, "kind", "There is no such kind of task.");
    }
    rv = options_read(ctx, k, options, &g);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    o->kind = k->name;
    o->action = k->action ? mdm_action_named(k->action) : NULL;
    o->request_type = o->action ? o->action->command : NULL;
    o->payload = mdm_json_own(ctx, json_object());
    o->summary = mdm_json_own(ctx, json_object());
    o->reason = g.reason ? g.reason : "";
    *out = o;
    return take(ctx, o, &g);
}

const char *mdm_task_choice(int i, mdm_task_order_t *out)
{
    const int n = (int)(sizeof kinds / sizeof kinds[0]);
    const char *name = i < n ? kinds[i].name : "wipe";

    if (i > n) {
        return NULL;
    }
    *out = (mdm_task_order_t){.kind = name, .action = mdm_action_named(name),
                              .by_mail = mdm_action_named(!strcmp(name, "wipe") ? "mail_wipe" : !strcmp(name, "unenroll") ? "mail_unenroll" : "")};
    return name;
}

const char *mdm_task_refused(const mdm_task_order_t *order, const mdm_action_facts_t *facts, const char **why)
{
    const char *other, *mail = order->by_mail ? mdm_action_refused(order->by_mail, facts, &other) : NULL;
    /* raw commands need what every question needs: management */
    const char *word = mdm_action_refused(order->action ? order->action : mdm_action_named("refresh"), facts, why);

    if (!word || !order->by_mail || (mail && !strcmp(mail, "not_by_mail"))) {
        return word;
    }
    *why = other;
    return mail;
}
