/* The message in the inbox of a device that has no mail: texts of conf/notices.json, filled in for one person. */
#include "domain/mdm_eas.h"

#include <string.h>
#include <apr_strings.h>
#include <apr_uri.h>
#include "base/mdm_json.h"
#include "domain/mdm_notice_text.h"
#include "wire/mdm_mail.h"

#define GERMAN 0x07 /* primary language of an LCID */
#define PRIMARY 0x3ff

static const struct {
    const char *language, *inbox, *sender;
} words[] = {{"en", "Inbox", "Device management"}, {"de", "Posteingang", "Geräteverwaltung"}};

static unsigned index_of(const char *language)
{
    return language && !strncasecmp(language, "de", 2) && language[2] != 'x' ? 1 : 0;
}

const char *mdm_eas_language(unsigned lcid, const char *accept, const char *zone)
{
    if (lcid & PRIMARY) {
        return words[(lcid & PRIMARY) == GERMAN].language;
    }
    return words[index_of(accept && *accept && *accept != '*' ? accept : zone)].language;
}

const char *mdm_eas_inbox(const char *language)
{
    return words[index_of(language)].inbox;
}

static const mdm_notice_kind_t *kind_of(const char *word, int *index)
{
    const mdm_notice_kind_t *k = mdm_notice_mailbox;

    for (*index = 0; k->event && strcmp(k->event, word) != 0; k++) {
        ++*index;
    }
    return k->event ? k : NULL;
}

/* Nobody reads what is sent there. */
static const char *sender_of(apr_pool_t *p, const char *public_url)
{
    apr_uri_t uri;
    const char *address = "no-reply@mdm.invalid";

    if (apr_uri_parse(p, public_url, &uri) == APR_SUCCESS && uri.hostname) {
        const char *made = apr_pstrcat(p, "no-reply@", uri.hostname, NULL);

        address = mdm_mail_address_ok(made) ? made : address;
    }
    return address;
}

/* "Name <address>"; the names are ours, or have no characters of their own meaning. */
static const char *mailbox(apr_pool_t *p, const char *name, const char *address)
{
    return apr_pstrcat(p, "\"", name, "\" <", address, ">", NULL);
}

const mdm_eas_note_t *mdm_eas_note(mdm_ctx_t *ctx, const mdm_eas_note_ask_t *ask)
{
    apr_pool_t *p = ctx->pool;
    unsigned lang = index_of(ask->language);
    mdm_eas_note_t *note = apr_pcalloc(p, sizeof(*note));
    const mdm_notice_kind_t *kind = kind_of(ask->word, &note->kind);
    mdm_mail_t m = {.from = sender_of(p, ask->public_url), .from_name = words[lang].sender, .to_name = "", .date_ms = mdm_now_ms(ctx)};
    mdm_notice_text_t text;

    if (!kind) {
        return NULL;
    }
    mdm_notice_render(p, mdm_notice_default(kind, words[lang].language),
                      mdm_json_own(ctx, json_pack("{s:s, s:s}", "to.name", ask->name, "portal.url",
                                                  apr_pstrcat(p, ask->public_url, "/enroll/", NULL))), &text);
    m.to = mdm_mail_address_ok(ask->mail) ? ask->mail : m.from;
    m.subject = text.subject;
    m.text = text.text;
    m.html = text.html;
    m.language = words[lang].language;
    m.id = apr_pstrcat(p, "mailbox-", kind->event, NULL);
    if (mdm_mail_compose(ctx, &m, &note->mime) != APR_SUCCESS) {
        return NULL;
    }
    note->from = mailbox(p, m.from_name, m.from);
    note->to = m.to;
    note->subject = text.subject;
    note->text = text.text;
    note->html = text.html;
    return note;
}
