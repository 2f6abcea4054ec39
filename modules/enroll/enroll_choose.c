/* A link for any platform (PEN-09, POR-02): which kind of device it is for here; where nobody has said, the page that asks, with the code to go on on the phone. */
#include "enroll.h"

#include <apr_strings.h>
#include <http_core.h>

#define CHOSEN "on" /* parameter of the address: the kind that somebody chose */

static const char *const kinds[] = {"ios", "android"};
enum { NKINDS = sizeof(kinds) / sizeof(kinds[0]) };

static int parameter(mdm_web_call_t *call, const char *name, const char **out)
{
    if (mdm_web_query(call->r, call->ctx, name, out) != APR_SUCCESS) { /* an address that nobody of us has written */
        call->ctx->fail_text = call->ctx->fail_field = NULL;
        *out = NULL;
    }
    return *out != NULL;
}

static const char *chosen(mdm_web_call_t *call)
{
    const char *asked;
    unsigned i;

    for (i = 0; parameter(call, CHOSEN, &asked) && i < NKINDS; ++i) {
        if (!strcmp(asked, kinds[i])) {
            return kinds[i];
        }
    }
    return NULL;
}

const char *enroll_link_path(mdm_web_call_t *call)
{
    return apr_pstrcat(call->r->pool, ENROLL_BASE "/", call->args[0], NULL);
}

const char *enroll_self(mdm_web_call_t *call)
{
    const char *self = enroll_link_path(call), *kind = chosen(call);

    return kind ? apr_pstrcat(call->r->pool, self, "?" CHOSEN "=", kind, NULL) : self;
}

const char *enroll_self_wrong(mdm_web_call_t *call)
{
    return apr_pstrcat(call->r->pool, enroll_self(call), chosen(call) ? "&" : "?", ENROLL_WRONG, NULL);
}

int enroll_was_wrong(mdm_web_call_t *call)
{
    const char *value;

    return parameter(call, ENROLL_WRONG, &value);
}

int enroll_on_apple(request_rec *r)
{
    const char *agent = apr_table_get(r->headers_in, "User-Agent");

    return agent && (strstr(agent, "iPhone") || strstr(agent, "iPad") || strstr(agent, "iPod"));
}

/* What the policy of its person allows, of what the zone can manage. */
static apr_status_t offers_read(mdm_web_call_t *call, mdm_db_t *db, const mdm_pending_t *e, int offered[NKINDS])
{
    mdm_enroll_policy_t *policy;
    mdm_person_t *person;
    const char *topic;
    int agent, i;
    apr_status_t rv = e->person_id ? mdm_person_get(db, e->person_id, &person) : APR_NOTFOUND;

    if (rv != APR_SUCCESS || (rv = mdm_enroll_policy(db, person, &policy)) != APR_SUCCESS || (rv = enroll_topic(db, &topic)) != APR_SUCCESS
        || (rv = enroll_agent_there(db, &agent)) != APR_SUCCESS) {
        return rv;
    }
    for (i = 0; i < NKINDS; ++i) {
        offered[i] = (i ? agent : *topic != '\0') && call->svc->mdm_role()
                     && mdm_enroll_allowed(call->ctx, policy, kinds[i], e->ownership, e->level) == APR_SUCCESS;
    }
    return APR_SUCCESS;
}

apr_status_t enroll_kind(mdm_web_call_t *call, const mdm_pending_t *e, const char **kind)
{
    int offered[NKINDS] = {0};
    mdm_db_t *db;
    apr_status_t rv;

    *kind = strcmp(e->platform, "unknown") ? e->platform : chosen(call);
    if (!*kind && (enroll_on_android(call->r) || enroll_on_apple(call->r))) {
        *kind = kinds[enroll_on_android(call->r)];
    }
    if (*kind || strcmp(e->level, "managed") != 0 || !mdm_pending_usable(e)) {
        *kind = *kind ? *kind : "ios";
        return APR_SUCCESS;
    }
    if ((rv = mdm_db_open(call->ctx, &db)) == APR_SUCCESS) {
        rv = offers_read(call, db, e, offered);
        mdm_db_close(db);
    }
    *kind = offered[0] && offered[1] ? "" : kinds[offered[1]];
    return rv == APR_SUCCESS && !offered[0] && !offered[1] ? mdm_fail(call->ctx, MDM_EDENIED, NULL, "This link is for no device that may be enrolled.") : rv;
}

void enroll_page_code(enroll_page_t *page, const char *self, const char *text_key, int there)
{
    mdm_html_t *h = page->h;

    mdm_html_raw(h, "<aside id=\"other\" class=\"qr\"");
    if (there) {
        mdm_html_raw(h, " hidden");
    }
    mdm_html_raw(h, "><img alt=\"\" width=\"176\" height=\"176\"");
    mdm_html_url(h, "src", apr_pstrcat(page->call->r->pool, self, "/qr.svg", NULL));
    mdm_html_raw(h, "><div><h2>");
    enroll_page_text(page, "link.qr");
    mdm_html_raw(h, "</h2><p>");
    enroll_page_text(page, text_key);
    mdm_html_raw(h, "</p></div></aside>");
}

int enroll_choose_page(mdm_web_call_t *call)
{
    const char *self = enroll_link_path(call);
    enroll_page_t *page = enroll_page_begin(call, "choose.title", "android.js");
    mdm_html_t *h = page->h;
    unsigned i;

    mdm_html_raw(h, "<section class=\"card\" id=\"link\"");
    mdm_html_attr(h, "data-status", apr_pstrcat(call->r->pool, self, "/status", NULL));
    mdm_html_raw(h, "><h1>");
    enroll_page_text(page, "choose.title");
    mdm_html_raw(h, "</h1><p class=\"lead\">");
    enroll_page_text(page, "choose.lead");
    mdm_html_raw(h, "</p><p id=\"live\" class=\"live\" role=\"status\" aria-live=\"polite\"></p>");
    enroll_page_code(page, self, "choose.qr_text", 0);
    mdm_html_raw(h, "<div id=\"steps\"><h2>");
    enroll_page_text(page, "choose.here");
    mdm_html_raw(h, "</h2>");
    for (i = 0; i < NKINDS; ++i) {
        mdm_html_raw(h, "<p><a class=\"button wide second\" data-kind");
        mdm_html_url(h, "href", apr_pstrcat(call->r->pool, self, "?" CHOSEN "=", kinds[i], NULL));
        mdm_html_raw(h, ">");
        enroll_page_text(page, apr_pstrcat(call->r->pool, "kind.", kinds[i], NULL));
        mdm_html_raw(h, "</a></p>");
    }
    mdm_html_raw(h, "</div><div id=\"finished\" hidden></div></section>");
    return enroll_page_end(page, HTTP_OK);
}
