/* Words with values, and their sentences. */
#include "domain/mdm_said.h"

#include <stdarg.h>
#include <string.h>
#include <apr_strings.h>
#include "base/mdm_text.h"

const mdm_said_t mdm_said_table[] = {
    {"said_identity_ending", "The device's identity ends in {0} days and could not be renewed. Then the device has to be enrolled again."},
    {"said_identity_ended", "The device's identity has ended and could not be renewed. The device has to be enrolled again."},
    {"said_push_ending", "The Apple push certificate ends on {0}, in days: {1}. Renew it at Apple with the same Apple account."},
    {"said_push_ended", "The Apple push certificate ended on {0}: no Apple device can be woken. Renew it at Apple, do not make a new one."},
    {"said_certificate_ending", "The certificate {2} ends on {0}, in days: {1}. Replace it before then."},
    {"said_certificate_ended", "The certificate {2} ended on {0}. Replace it."},
    {"said_push_unconfigured", "Devices wait to be woken, but there is no Apple push certificate."},
    {"said_push_refused", "Apple's push service refuses our certificate or topic ({0}): devices can't be woken."},
    {"said_push_fault", "Apple's push service does not understand our requests ({0}): please report this."},
    {"said_push_topic", "Many devices were enrolled with another push certificate: was it replaced instead of renewed? They must enrol again, or the "
                        "old certificate must be renewed and imported."},
    {"said_otp_guessing", "Somebody guesses one-time passwords of enrolments: more than 1,000 wrong ones in a minute. Links ask everybody to wait; a password of ten "
                          "characters of both kinds can't be guessed."},
    {"said_mail_away", "The mail server takes no mail ({0}): {1}. Notices wait."},
    {"said_sms_away", "The SMS gateway takes no messages ({0}): {1}. Notices wait."},
    {"said_wipe_refused", "The device refused to erase itself, and its management has ended here. What is on it is still there."},
    {"said_enroll_refused", "{0} tried to enrol this device again: {1}"},
    {"said_second_person", "Somebody else's mail account ({0}) was used with the DeviceId of this device."},
    {"said_match_corrected", "A mail app was on the device {0}, joined by likeness. It has turned out to be on this device."},
    {"said_policy_failed", "The device did not take its policy ({0}): {1}"},
    {"said_policy_drift", "The device no longer has what its policies ask for. They are sent again."},
    {"said_no_reason", "The device gave no reason."},
    /* these have no values; rows of older versions hold their sentences */
    {"said_mail_app_part", "The mail app does only a part of its policy."},
    {"said_mail_app_not", "The mail app does not obey its policy."},
    {"said_mail_app_elsewhere", "The mail app says that another management is in charge of the device."},
    {"said_no_server_accepts", "No linked ActiveSync server accepts this person: the device gets policies, but no mail."},
    {"said_mail_by_hand", "A mail account that was made by hand is on this device. It has to be removed before the account of the e-mail policy can be "
                          "installed."},
    {"said_mail_no_policy", "No e-mail policy applies to this device any more: corporate mail does not flow."},
    {"said_held", "The person has to remove the mail account that was made by hand first."},
    {"said_several", "Nothing of this policy can be sent to this device; each setting says why."},
    {"said_nothing", "The policy asks for nothing that this device could be told."},
    {"said_mail_app_nothing", "Mail apps can be asked for nothing of this policy."},
    {"said_mail_app_account", "A mail app's account is its person's own; this policy decides whether mail goes through the proxy."},
    {"said_agent_none", "The Android agent takes no policies yet."},
    {"said_profile_lost", "The device says each time that it has taken the profile, and does not have it."},
    {"said_cancelled", "An administrator took its command back."},
    {"said_eas_again", "The mail app was asked for its policy again and again, and did not take it."},
    {"said_eas_wipe_failed", "The mail app says that it could not wipe. It gets no mail, and is asked again whenever it comes."},
    {"said_eas_wipe_server", "Its mail server has told the mail app to wipe."},
    /* of the checklist of a new zone, never stored */
    {"said_start_no_source", "Nobody can log in at the portal yet: add a directory, or people to the built-in source."},
    {"said_start_sources_off", "All directories are switched off, and the built-in source has no people."},
    {"said_start_unsynced", "{0} could not be synchronised: {1}"},
    {"said_start_no_policy", "There is no such policy yet."},
    {"said_start_unpublished", "There is a policy, but none is published."},
    {"said_start_unassigned", "A policy is published, but assigned to nobody."},
    {"said_start_no_node", "No server has joined the zone yet."},
    {"said_start_nodes_down", "No running node has the MDM role: devices find no server."},
    {"said_start_no_push", "Without Apple's push certificate no Apple device can enrol."},
    {"said_start_push_made", "The request is made. It has to be signed next."},
    {"said_start_push_signed", "The request is signed. Take it to Apple, and import the certificate that you get there."},
    {"said_start_no_eas", "Only needed for mail: no ActiveSync server is known yet."},
    {"said_start_eas_unlinked", "No server is both switched on and linked with a user source."},
    {"said_start_no_smtp", "No mail server is set: notices wait, at most seven days."},
    {"said_start_smtp_away", "The mail server takes no mail: {0}"},
    {"said_start_no_sms", "Only needed for SMS: no gateway is set."},
    {"said_start_sms_away", "The SMS gateway takes nothing: {0}"},
    {"said_start_no_device", "No device has enrolled yet."},
    /* of settings, as domain/mdm_compile.c says them */
    {"out_nothing", "This value asks for nothing here."},
    {"out_parent", "A setting that this one depends on has a value that leaves it without meaning."},
    {"out_unsupported", "This platform has no such setting."},
    {"out_user_enrollment", "Devices under user enrolment do not obey it."},
    {"out_shared_ipad", "A Shared iPad does not accept it."},
    {"out_supervision", "Only supervised devices obey it."},
    {"out_os_too_old", "The device's system is too old for it."},
    {"out_os_too_new", "The device's system does not know it any more."},
    {"out_no_account", "The owner has no mail address, or there is no server that he could use."},
    {NULL, NULL}};

const char *mdm_said(apr_pool_t *p, const char *word, ...)
{
    const char *out = apr_psprintf(p, "%c%s", MDM_SAID_MARK, word), *value;
    va_list values;

    va_start(values, word);
    while ((value = va_arg(values, const char *)))
        out = apr_psprintf(p, "%s%c%s", out, MDM_SAID_MARK, mdm_clean(p, value, MDM_SAID_VALUE_MAX));
    va_end(values);
    return out;
}

/* The row of a stored text and its values; NULL: it is not ours. */
static const mdm_said_t *parse(apr_pool_t *p, const char *stored, const char *values[MDM_SAID_VALUES], int *n)
{
    const mdm_said_t *row = mdm_said_table;
    char *rest, *next;

    *n = 0;
    if (*stored != MDM_SAID_MARK) {
        while (row->word && strcmp(row->text, stored) != 0)
            row++;
        return row->word ? row : NULL;
    }
    rest = strchr(stored + 1, MDM_SAID_MARK) ? apr_pstrdup(p, strchr(stored + 1, MDM_SAID_MARK) + 1) : NULL;
    while (row->word && (strncmp(row->word, stored + 1, strlen(row->word)) != 0
                         || (stored[1 + strlen(row->word)] && stored[1 + strlen(row->word)] != MDM_SAID_MARK)))
        row++;
    for (; rest && *n < MDM_SAID_VALUES; rest = next) {
        next = strchr(rest, MDM_SAID_MARK);
        if (next)
            *next++ = '\0';
        values[(*n)++] = rest;
    }
    return row->word ? row : NULL;
}

const char *mdm_said_text(apr_pool_t *p, const char *stored)
{
    const char *values[MDM_SAID_VALUES], *out = "", *s, *hole;
    int n;
    const mdm_said_t *row = parse(p, stored, values, &n);

    if (!row)
        return *stored == MDM_SAID_MARK ? mdm_clean(p, stored, MDM_SAID_VALUE_MAX) : stored; /* a word of a later version */
    for (s = row->text; (hole = strchr(s, '{')); s = hole + 3) {
        int i = hole[1] - '0';

        out = apr_pstrcat(p, out, apr_pstrmemdup(p, s, (apr_size_t)(hole - s)), i < n ? values[i] : "", NULL);
    }
    return apr_pstrcat(p, out, s, NULL);
}

json_t *mdm_said_json(apr_pool_t *p, const char *stored)
{
    const char *values[MDM_SAID_VALUES];
    int n;
    const mdm_said_t *row = parse(p, stored, values, &n);
    json_t *list = row ? json_array() : NULL;

    for (int i = 0; row && i < n; i++)
        json_array_append_new(list, json_string(values[i]));
    return row ? json_pack("{s:s, s:o}", "word", row->word, "values", list) : json_null();
}
