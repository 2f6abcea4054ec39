#include "domain/mdm_compile.h"

#include <apr_strings.h>
#include <string.h>

#include "domain/mdm_said.h"

#define NOT_SENT "not_sent"

/* Why a value does not go out. */
enum { SENT, NOTHING, PARENT, UNSUPPORTED, USER_ENROLLMENT, SHARED_IPAD, SUPERVISION, TOO_OLD, GONE, NO_ACCOUNT };
static const char *const reasons[] = {
    [NOTHING] = "nothing",         [PARENT] = "parent",           [UNSUPPORTED] = "unsupported", [USER_ENROLLMENT] = "user_enrollment",
    [SHARED_IPAD] = "shared_ipad", [SUPERVISION] = "supervision", [TOO_OLD] = "os_too_old",      [GONE] = "os_too_new",
    [NO_ACCOUNT] = "no_account",
};

static const struct {
    const char *name;
    unsigned bit;
} channels[] = {{"apple", MDM_CH_APPLE}, {"eas", MDM_CH_EAS}, {"android", MDM_CH_AGENT}};
#define CHANNELS (sizeof(channels) / sizeof(channels[0]))

typedef struct compile_t {
    mdm_ctx_t *ctx;
    const mdm_compile_facts_t *facts;
    json_t *values; /* {"<setting>": v} of all types, stricter-of done; owned by the pool */
    json_t *eas;    /* {"<element>": number} */
    mdm_compiled_t *out;
    int account;    /* an e-mail account can be made */
} compile_t;

/* The channel that a setting of one platform speaks to; 0 = all. */
static unsigned channel_of(const char *platform)
{
    unsigned i;

    for (i = 0; i < CHANNELS; i++) {
        if (strcmp(platform, channels[i].name) == 0)
            return channels[i].bit;
    }
    return 0;
}

/* ---- values */

static void take_values(json_t *values, json_t *settings)
{
    const char *id;
    json_t *found;

    json_object_foreach(settings, id, found) {
        json_t *v = json_object_get(found, "value");

        if (v && !json_is_null(v))
            json_object_set(values, id, v);
    }
}

/* POL-07: what several channels of one device have in common takes the stricter value on each of them. */
static void join_pairs(compile_t *c)
{
    const mdm_setting_t *s, *o;

    for (s = mdm_settings; s->id; s++) {
        const json_t *v = json_object_get(c->values, s->id), *best = v;

        if (!s->pair || !(channel_of(s->platform) & c->facts->channels))
            continue;
        for (o = mdm_settings; o->id; o++) {
            const json_t *theirs = json_object_get(c->values, o->id);

            if (o != s && o->pair && strcmp(o->pair, s->pair) == 0 && (channel_of(o->platform) & c->facts->channels) && theirs)
                best = mdm_setting_stricter(s, best, theirs);
        }
        if (best && best != v)
            json_object_set(c->values, s->id, (json_t *)best);
    }
}

/* ---- one carrier */

/* A Shared iPad has neither a passcode nor an account of its own: those are its users'. */
static int not_on_shared(const char *payload)
{
    return strcmp(payload, "com.apple.mobiledevice.passwordpolicy") == 0 || strcmp(payload, "com.apple.eas.account") == 0;
}

/* Whether this device takes it; SENT or the reason. */
static int gate(const compile_t *c, const mdm_carrier_t *k)
{
    const mdm_compile_facts_t *f = c->facts;

    if (strcmp(k->channel, "apple") != 0)
        return SENT; /* ActiveSync's versions are known where its document is written, the agent says itself what it can do */
    if (f->user_enrolled && !k->user_enrollment)
        return USER_ENROLLMENT;
    if (f->shared_ipad && not_on_shared(k->payload))
        return SHARED_IPAD;
    if (*f->os_version && k->since && !mdm_version_at_least(f->os_version, k->since))
        return TOO_OLD;
    if (*f->os_version && k->until && mdm_version_at_least(f->os_version, k->until))
        return GONE;
    if (k->supervised && f->supervised != 1
        && (!k->supervised_since || !*f->os_version || mdm_version_at_least(f->os_version, k->supervised_since)))
        return SUPERVISION;
    return SENT;
}

static apr_int64_t clamp(const mdm_carrier_t *k, apr_int64_t i)
{
    if (!k->min && !k->max)
        return i;
    return i < k->min ? k->min : i > k->max ? k->max : i;
}

/* What a carrier makes of a value. New reference; NULL: nothing. */
static json_t *carried(const mdm_setting_t *s, const mdm_carrier_t *k, const json_t *v)
{
    const mdm_choice_t *choice = s->kind == MDM_SET_CHOICE ? mdm_setting_choice(s, json_string_value(v)) : NULL;

    if (strcmp(k->as, "const") == 0)
        return json_is_true(v) ? json_integer((json_int_t)k->number) : NULL;
    if (strcmp(k->as, "const_bool") == 0)
        return json_is_true(v) ? json_boolean(k->number != 0) : NULL;
    if (strcmp(k->as, "from") == 0)
        return json_integer_value(v) >= k->min ? json_integer((json_int_t)k->number) : NULL;
    if (strcmp(k->as, "not") == 0)
        return json_is_boolean(v) ? json_boolean(!json_is_true(v)) : NULL;
    if (choice && strcmp(k->as, "real") == 0)
        return json_real(choice->number);
    if (choice && strcmp(k->as, "number") == 0)
        return json_integer(clamp(k, (apr_int64_t)choice->number));
    if (choice)
        return json_string(choice->id);
    if (json_is_integer(v))
        return json_integer(clamp(k, json_integer_value(v) * (apr_int64_t)k->number));
    return json_is_null(v) ? NULL : json_copy((json_t *)v);
}

static double number(const json_t *v)
{
    return json_is_boolean(v) ? json_is_true(v) : json_number_value(v);
}

/* Puts a value at its key; two settings at one key: the stricter one stays. Takes the reference. */
static void put(json_t *keys, const mdm_carrier_t *k, json_t *v)
{
    const json_t *there = json_object_get(keys, k->key);

    if (!there || mdm_strict_compare(k->strict, number(v), number(there)) > 0)
        json_object_set_new(keys, k->key, v);
    else
        json_decref(v);
}

static json_t *below(json_t *in, const char *key)
{
    json_t *o = json_object_get(in, key);

    if (!o) {
        o = json_object();
        json_object_set_new(in, key, o);
    }
    return o;
}

/* ---- one setting */

static void outcome(compile_t *c, const mdm_setting_t *s, const char *channel, int reason, const mdm_carrier_t *k)
{
    json_t *o = json_pack("{s:s}", "state", reason == SENT ? "sent" : NOT_SENT);

    if (reason != SENT) {
        const char *said = mdm_said(c->ctx->pool, apr_pstrcat(c->ctx->pool, MDM_COMPILE_SAID, reasons[reason], NULL), NULL);

        json_object_set_new(o, "reason", json_string(reasons[reason]));
        json_object_set_new(o, "why", json_string(mdm_said_text(c->ctx->pool, said)));
    }
    if (k && reason == SENT && k->deprecated && *c->facts->os_version && mdm_version_at_least(c->facts->os_version, k->deprecated))
        json_object_set_new(o, "deprecated", json_string(k->deprecated));
    json_object_set_new(below(c->out->outcomes, s->id), channel, o);
}

/* Where the keys of a carrier are collected. */
static json_t *place(compile_t *c, const mdm_setting_t *s, const mdm_carrier_t *k)
{
    if (strcmp(k->channel, "apple") == 0)
        return below(below(c->out->apple, s->type), k->payload);
    return strcmp(k->channel, "eas") == 0 ? c->eas : c->out->android;
}

/* All carriers of a setting in one channel. */
static void transmit(compile_t *c, const mdm_setting_t *s, const json_t *v, unsigned ch)
{
    const mdm_carrier_t *k, *sent = NULL;
    int reason = UNSUPPORTED;

    for (k = s->carriers; k && k->channel; k++) {
        int r = strcmp(k->channel, channels[ch].name) == 0 ? gate(c, k) : -1;
        json_t *value;

        if (r < 0 || (k->unless && json_is_true(json_object_get(c->values, k->unless))))
            continue;
        value = r == SENT ? carried(s, k, v) : NULL;
        if (value) {
            put(place(c, s, k), k, value);
            sent = k;
        } else if (reason == UNSUPPORTED) {
            reason = r == SENT ? NOTHING : r;
        }
    }
    outcome(c, s, channels[ch].name, sent ? SENT : reason, sent);
}

/* Whether its dependencies leave it a meaning in a channel. A parent that forbids takes it away only where the device is told so and obeys: Safari
 * is there for an unsupervised phone, and so is what Safari has to do. */
static int has_meaning(const compile_t *c, const mdm_setting_t *s, const char *channel)
{
    const mdm_depend_t *d;
    json_t *obeyed;
    int ok = mdm_setting_depends_ok(s, c->values);

    if (ok || !s->depends)
        return ok;
    obeyed = json_copy(c->values);
    for (d = s->depends; d->setting; d++) {
        const mdm_setting_t *parent = mdm_setting_find(d->setting);
        json_t *o = json_object_get(json_object_get(c->out->outcomes, d->setting), channel);

        if (parent && parent->strict == MDM_STRICT_AND && json_object_get(o, "reason"))
            json_object_del(obeyed, d->setting);
    }
    ok = mdm_setting_depends_ok(s, obeyed);
    json_decref(obeyed);
    return ok;
}

static void compile_one(compile_t *c, const mdm_setting_t *s)
{
    const json_t *v = json_object_get(c->values, s->id);
    unsigned only = channel_of(s->platform), i;

    for (i = 0; v && i < CHANNELS; i++) {
        if (!(channels[i].bit & c->facts->channels) || (only && !(only & channels[i].bit)))
            continue;
        if (!has_meaning(c, s, channels[i].name))
            outcome(c, s, channels[i].name, PARENT, NULL);
        else if (strcmp(s->type, "email") == 0 && !c->account)
            outcome(c, s, channels[i].name, NO_ACCOUNT, NULL);
        else
            transmit(c, s, v, i);
    }
}

/* ---- the rest of each channel's document */

static void account_keys(compile_t *c, const mdm_compile_in_t *in)
{
    json_t *keys;

    if (!in->email || !in->account || !c->account || !(c->facts->channels & MDM_CH_APPLE) || c->facts->shared_ipad)
        return;
    keys = below(below(c->out->apple, "email"), "com.apple.eas.account");
    json_object_set_new(keys, "Host", json_string(in->account->host));
    json_object_set_new(keys, "SSL", json_true());
    json_object_set_new(keys, "UserName", json_string(in->account->user));
    json_object_set_new(keys, "EmailAddress", json_string(in->account->mail));
}

static void eas_policy(compile_t *c)
{
    const char *element;
    json_t *v;

    if (!(c->facts->channels & MDM_CH_EAS))
        return;
    c->out->eas = apr_pcalloc(c->ctx->pool, sizeof(*c->out->eas));
    json_object_foreach(c->eas, element, v) {
        const mdm_eas_setting_t *s = mdm_eas_setting_named(element);

        if (s)
            mdm_eas_policy_set(c->out->eas, s->tag, json_is_boolean(v) ? json_is_true(v) : json_integer_value(v));
    }
}

apr_status_t mdm_compile(mdm_ctx_t *ctx, const mdm_compile_facts_t *facts, const mdm_compile_in_t *in, mdm_compiled_t **out)
{
    compile_t c = {ctx, facts, mdm_json_own(ctx, json_object()), mdm_json_own(ctx, json_object()), NULL, 0};
    const mdm_setting_t *s;

    c.out = apr_pcalloc(ctx->pool, sizeof(*c.out));
    c.out->apple = mdm_json_own(ctx, json_object());
    c.out->outcomes = mdm_json_own(ctx, json_object());
    c.out->android = facts->channels & MDM_CH_AGENT ? mdm_json_own(ctx, json_object()) : NULL;
    c.account = in->account && in->account->host && in->account->mail && *in->account->mail;
    take_values(c.values, in->device_control);
    take_values(c.values, in->security);
    take_values(c.values, in->email);
    join_pairs(&c);
    for (s = mdm_settings; s->id; s++)
        compile_one(&c, s);
    account_keys(&c, in);
    eas_policy(&c);
    *out = c.out;
    return APR_SUCCESS;
}
