#include "domain/mdm_compliance.h"

#include <apr_strings.h>
#include <string.h>

#include "domain/mdm_said.h"

#define CAPS_ALL 3

static void add(json_t *reasons, const char *reason, const char *why)
{
    if (reasons) {
        json_array_append_new(reasons, json_pack("{s:s, s:s}", "reason", reason, "why", why));
    }
}

static const char *text(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));

    return s ? s : "";
}

typedef struct judged_t {
    int bad, waits, good; /* what is wrong, what is not confirmed yet, what is confirmed */
} judged_t;

/* One channel of the security policy. */
static void judge(mdm_ctx_t *ctx, const json_t *row, json_t *reasons, judged_t *j)
{
    const char *state = text(row, "state"), *error = text(row, "error");
    int mail = !strcmp(text(row, "channel"), "eas");

    if (!strcmp(state, "applied")) {
        j->good++;
    } else if (!strcmp(state, "failed")) {
        j->bad++;
        add(reasons, mail ? "mail_app" : "policy_failed",
            apr_psprintf(ctx->pool, mail ? "The mail app does not comply with the security policy%s%s" : "The security policy could not be installed%s%s",
                         *error ? ": " : ".", mdm_said_text(ctx->pool, error)));
    } else if (!strcmp(state, "pending") || !strcmp(state, "sent")) {
        if (json_integer_value(json_object_get(row, "attempts")) > 0) {
            j->bad++;
            add(reasons, "policy_missing", "The security policy is missing on the device and is sent again.");
        } else {
            j->waits++;
            add(reasons, "policy_awaited", "It is not confirmed yet that the device has the security policy.");
        }
    }
}

const char *mdm_compliance(mdm_ctx_t *ctx, const mdm_compliance_in_t *in, json_t *reasons)
{
    judged_t j = {0};
    int encrypt = 0;
    json_t *row;
    size_t i;

    json_array_foreach(in->deliveries, i, row) {
        if (!strcmp(text(row, "type"), "security")) {
            judge(ctx, row, reasons, &j);
            encrypt |= strcmp(text(row, "state"), "not_applicable") != 0 && json_integer_value(json_object_get(row, "encrypt")) != 0;
        }
    }
    if (in->passcode_compliant == 0) {
        j.bad++;
        add(reasons, "passcode", in->passcode_present == 0 ? "The device has no passcode, and one is required."
                                                           : "The passcode does not meet what is required.");
    }
    if (encrypt && ((in->encryption >= 0 && in->encryption < CAPS_ALL) || in->passcode_present == 0)) {
        j.bad++;
        add(reasons, "encryption", "The data on the device is not encrypted, as the security policy asks.");
    }
    return j.bad ? "noncompliant" : j.good && !j.waits ? "compliant" : "unknown";
}
