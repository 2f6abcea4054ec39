/* The checklist of a new zone: few questions to the database, one judgement for each line. */
#include "domain/mdm_start.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_nodes.h"
#include "domain/mdm_notice.h"
#include "domain/mdm_push_cert.h"
#include "domain/mdm_said.h"
#include "domain/mdm_sms_conf.h"
#include "mdm_sql_gen.h"

enum { ENROLLMENT, EMAIL, SECURITY, POLICIES };

/* What the lines are judged by. */
typedef struct facts_t {
    apr_pool_t *p;
    mdm_q_start_counts_t *n;
    struct {
        apr_int64_t there, published, assigned;
    } policies[POLICIES];
    const char *unsynced, *unsynced_why; /* a source that its directory does not answer; NULL */
    mdm_push_brief_t push;
    json_t *smtp, *sms;
} facts_t;

/* What a line says: not done, and why. */
typedef struct verdict_t {
    const char *state, *why;
} verdict_t;

static verdict_t done(void)
{
    return (verdict_t){"done", NULL};
}

static verdict_t unless(int ok, const char *state, const char *why)
{
    return ok ? done() : (verdict_t){state, why};
}

static verdict_t source(const facts_t *f)
{
    if (f->unsynced) {
        return unless(0, "attention", mdm_said(f->p, "said_start_unsynced", f->unsynced, f->unsynced_why, NULL));
    }
    if (!f->n->directories && !f->n->local_people && f->n->directories_off) {
        return unless(0, "attention", mdm_said(f->p, "said_start_sources_off", NULL));
    }
    return unless(f->n->directories || f->n->local_people, "open", mdm_said(f->p, "said_start_no_source", NULL));
}

static verdict_t policy(const facts_t *f, int which)
{
    if (!f->policies[which].there) {
        return unless(0, "open", mdm_said(f->p, "said_start_no_policy", NULL));
    }
    if (!f->policies[which].published) {
        return unless(0, "attention", mdm_said(f->p, "said_start_unpublished", NULL));
    }
    return unless(f->policies[which].assigned > 0, "attention", mdm_said(f->p, "said_start_unassigned", NULL));
}

static verdict_t enrollment(const facts_t *f)
{
    return policy(f, ENROLLMENT);
}

static verdict_t email(const facts_t *f)
{
    return policy(f, EMAIL);
}

static verdict_t security(const facts_t *f)
{
    return policy(f, SECURITY);
}

static verdict_t node(const facts_t *f)
{
    return unless(f->n->nodes_live > 0, f->n->nodes ? "attention" : "open",
                  mdm_said(f->p, f->n->nodes ? "said_start_nodes_down" : "said_start_no_node", NULL));
}

static verdict_t push(const facts_t *f)
{
    if (!f->push.there) {
        return unless(0, "open", mdm_said(f->p, f->push.request == MDM_PUSH_SIGNED ? "said_start_push_signed"
                                          : f->push.request == MDM_PUSH_MADE ? "said_start_push_made" : "said_start_no_push", NULL));
    }
    return unless(!f->push.trouble, "attention", f->push.trouble);
}

static verdict_t eas(const facts_t *f)
{
    return unless(f->n->eas_linked > 0, f->n->eas_servers ? "attention" : "open",
                  mdm_said(f->p, f->n->eas_servers ? "said_start_eas_unlinked" : "said_start_no_eas", NULL));
}

/* A way out of notices: set, and taking them. */
static verdict_t way_out(const facts_t *f, const json_t *way, const char *none, const char *away)
{
    const char *why = json_string_value(json_object_get(way, "trouble"));

    if (!json_is_true(json_object_get(way, "configured"))) {
        return unless(0, "open", mdm_said(f->p, none, NULL));
    }
    return unless(json_is_null(json_object_get(way, "away_since")), "attention", mdm_said(f->p, away, why ? why : "", NULL));
}

static verdict_t smtp(const facts_t *f)
{
    return way_out(f, f->smtp, "said_start_no_smtp", "said_start_smtp_away");
}

static verdict_t sms(const facts_t *f)
{
    return way_out(f, f->sms, "said_start_no_sms", "said_start_sms_away");
}

static verdict_t device(const facts_t *f)
{
    return unless(f->n->devices > 0, "open", mdm_said(f->p, "said_start_no_device", NULL));
}

static const struct {
    const char *id, *group, *page, *right, *help;
    verdict_t (*judge)(const facts_t *f);
} lines[] = {{"source", "first", "sources", "source:read", "people.html#adding-a-directory", source},
             {"enrollment", "first", "policies?type=enrollment", "policy:read", "policies.html#enrollment-policies", enrollment},
             {"node", "first", "nodes", "zone:read", "operations.html#nodes", node},
             {"push", "first", "push", "zone:read", "push.html#the-four-steps", push},
             {"eas", "first", "eas", "mail:read", "mail.html#servers", eas},
             {"email", "first", "policies?type=email", "policy:read", "policies.html#the-mail-account", email},
             {"smtp", "first", "notifications?tab=server", "zone:read", "notifications.html#the-mail-server", smtp},
             {"security", "then", "policies?type=security", "policy:read", "policies.html#who-gets-which-policy", security},
             {"sms", "then", "notifications?tab=sms", "zone:read", "notifications.html#the-sms-gateway", sms},
             {"device", "then", "pending", "pending:read", "iphone.html#4-safari", device}};
#define LINES (sizeof lines / sizeof lines[0])

/* ---------------------------------------------------------------- what is there */

static apr_status_t read_policies(mdm_db_t *db, facts_t *f)
{
    static const char *const types[] = {"enrollment", "email", "security", "device_control"}; /* the last two protect devices, each in its way */
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_start_policies(db, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_start_policies_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_start_policies_t);

        for (int k = 0; k <= POLICIES; k++) {
            if (strcmp(q->type, types[k]) == 0) {
                int at = k < POLICIES ? k : SECURITY;
                f->policies[at].there += q->there;
                f->policies[at].published += q->published;
                f->policies[at].assigned += q->assigned;
            }
        }
    }
    return rv;
}

/* The first source whose last sync went wrong. */
static apr_status_t read_syncs(mdm_db_t *db, facts_t *f)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_start_syncs(db, &rows);

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts && !f->unsynced; i++) {
        const mdm_q_start_syncs_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_start_syncs_t);
        json_t *result = mdm_json_own(mdm_db_ctx(db), json_loads(q->result, 0, NULL));

        if (json_is_string(json_object_get(result, "error"))) {
            f->unsynced = q->name;
            f->unsynced_why = json_string_value(json_object_get(result, "error"));
        }
    }
    return rv;
}

static apr_status_t read_facts(mdm_db_t *db, facts_t *f)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = mdm_q_start_counts(db, mdm_now_ms(ctx) - MDM_NODE_DOWN_MS, &f->n);

    if (rv == APR_SUCCESS) {
        rv = read_policies(db, f);
    }
    if (rv == APR_SUCCESS) {
        rv = read_syncs(db, f);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_push_cert_brief(db, &f->push);
    }
    if (rv == APR_SUCCESS && (rv = mdm_notice_conf_json(db, &f->smtp)) == APR_SUCCESS) {
        mdm_json_own(ctx, f->smtp);
    }
    if (rv == APR_SUCCESS && (rv = mdm_sms_conf_json(db, NULL, &f->sms)) == APR_SUCCESS) {
        mdm_json_own(ctx, f->sms);
    }
    return rv;
}

apr_status_t mdm_start_json(mdm_db_t *db, json_t **out)
{
    facts_t f = {.p = mdm_db_ctx(db)->pool};
    json_t *items;
    int total = 0, ready = 0;
    apr_status_t rv = read_facts(db, &f);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    items = json_array();
    for (unsigned i = 0; i < LINES; i++) {
        verdict_t v = lines[i].judge(&f);

        if (strcmp(lines[i].group, "first") == 0) {
            total++;
            ready += !v.why;
        }
        json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:s}", "id", lines[i].id, "group", lines[i].group, "state", v.state,
                                               "said", v.why ? mdm_said_json(f.p, v.why) : json_null(), "text", v.why ? mdm_said_text(f.p, v.why) : "",
                                               "page", lines[i].page, "right", lines[i].right, "help", lines[i].help));
    }
    *out = json_pack("{s:o, s:i, s:i, s:b}", "items", items, "done", ready, "total", total, "fresh", !f.n->devices);
    return APR_SUCCESS;
}
