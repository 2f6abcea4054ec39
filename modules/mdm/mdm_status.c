/* Owns what an operator sees of this node: a section of mod_status, JSON from SetHandler mdm-status, and metrics from mdm-metrics. */
#include <jansson.h>
#include <mod_status.h>
#include "mdm_private.h"
#include "mdm_web.h"

typedef struct {
    const char *name;
    int counts; /* only grows, until the server starts anew */
    const char *help;
    apr_uint64_t value;
} figure_t;

#define MAX_FIGURES 96

/* The one list: mod_status, JSON and metrics show it. */
static int figures(figure_t *f)
{
    const mdm_shm_t *m = mdm_core.shm;
    mdm_child_t all = mdm_shm_children();
    mdm_devcache_stats_t st;
    int n = 0;

    mdm_devcache_stats(mdm_core.cache, &st);
#define NOW(label, v, text) f[n++] = (figure_t){label, 0, text, (apr_uint64_t)(v)}
#define SUM(label, v, text) f[n++] = (figure_t){label, 1, text, (apr_uint64_t)(v)}
#define TALLY(id, label, text) SUM(label, m->tallies[id], text);
    NOW("cache_slots", st.slots, "places of the device cache");
    NOW("cache_used", st.used, "places of the device cache that are taken");
    SUM("cache_hits", st.hits, "look-ups of devices that shared memory answered");
    SUM("cache_misses", st.misses, "look-ups of devices that the database had to answer");
    SUM("cache_puts", st.puts, "records put into the device cache");
    SUM("cache_evictions", st.evictions, "records that had to go because the device cache was full");
    SUM("cache_drops", st.drops, "records forgotten because something changed");
    SUM("cache_reclaimed", st.reclaimed, "places taken back from processes that were killed");
    NOW("db_away", m->away, "1 while the database is away");
    NOW("db_schema_fits", m->schema == MDM_SCHEMA_FITS, "1 if the schema is the one of this software");
    SUM("db_away_times", m->db_away_times, "times that the database went away");
    NOW("db_in_use", all.db_in_use, "database connections in use");
    SUM("db_opened", m->db_opened, "database connections borrowed");
    SUM("db_refused", m->db_refused, "requests that got no database connection in time");
    SUM("db_cut", m->db_cut, "statements cut because they took too long");
    SUM("db_statements", m->db_statements, "SQL statements");
    SUM("jobs_run", m->jobs_run, "background jobs run");
    SUM("jobs_failed", m->jobs_failed, "background jobs that failed");
    SUM("polls", m->polls, "requests of managed devices");
    SUM("contacts_written", m->contacts_written, "contact times written behind");
    SUM("listen_lost", m->listen_lost, "times that a connection for changes was lost");
    SUM("notifications", m->notifications, "notifications of changes");
    SUM("mail_requests", m->mail_requests, "requests of known mail clients");
    SUM("mail_logins_cached", m->mail_cached, "mail log-ins that shared memory answered");
    SUM("mail_logins_checked", m->mail_checked, "mail log-ins that a user source was asked for");
    SUM("mail_logins_refused", m->mail_refused, "mail log-ins that a user source refused");
    SUM("mail_logins_stale", m->mail_stale, "older mail log-ins believed while the database was away");
    NOW("held", all.held, "requests of mail clients that wait without a thread");
    SUM("held_answered", m->woken[MDM_WOKE_READY], "waiting requests that got their answer");
    SUM("held_left", m->woken[MDM_WOKE_GONE], "waiting requests whose client left");
    SUM("held_expired", m->woken[MDM_WOKE_DEADLINE], "waiting requests that nobody answered in time");
    SUM("held_changed", m->woken[MDM_WOKE_CHANGED] + m->woken[MDM_WOKE_FILTERS], "waiting requests judged again after a change");
    SUM("held_newer", m->woken[MDM_WOKE_NEWER], "waiting Pings that a newer one of the same device ended");
    SUM("held_stopped", m->woken[MDM_WOKE_STOPPING], "waiting requests ended because a process stopped");
    SUM("held_refused", m->woken[MDM_WOKE_FULL], "requests that could not wait because MDMEasMaxHeld were waiting");
    MDM_TALLIES(TALLY)
    NOW("node_registered", m->node_seen_ms != 0, "1 if this server holds its node name");
    NOW("children", all.pid, "child processes");
    NOW("children_listening", all.listening, "child processes that hear of changes at once");
#undef NOW
#undef SUM
#undef TALLY
    return n;
}

static int as_json(request_rec *r)
{
    json_t *out = json_pack("{s:s, s:s}", "version", MDM_VERSION, "node", mdm_conf_text(MDM_C_NODE_NAME));
    figure_t f[MAX_FIGURES];
    int i, n = figures(f);

    for (i = 0; i < n; i++) {
        json_object_set_new(out, f[i].name, json_integer((json_int_t)f[i].value));
    }
    return mdm_web_json(r, 200, out);
}

/* A label's value: backslash, quote and line feed escaped. */
static const char *label(apr_pool_t *p, const char *text)
{
    char *out = apr_palloc(p, 2 * strlen(text) + 1), *o = out;

    for (; *text; text++) {
        if (*text == '\\' || *text == '"' || *text == '\n') {
            *o++ = '\\';
        }
        *o++ = *text == '\n' ? 'n' : *text;
    }
    *o = '\0';
    return out;
}

/* The text format of Prometheus, version 0.0.4. */
static int as_metrics(request_rec *r)
{
    figure_t f[MAX_FIGURES];
    int i, n = figures(f);

    ap_set_content_type(r, "text/plain; version=0.0.4; charset=utf-8");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_rprintf(r, "# HELP mdm_info software and node\n# TYPE mdm_info gauge\nmdm_info{version=\"%s\",node=\"%s\"} 1\n", MDM_VERSION,
               label(r->pool, mdm_conf_text(MDM_C_NODE_NAME)));
    for (i = 0; i < n; i++) {
        const char *end = f[i].counts ? "_total" : "";

        ap_rprintf(r, "# HELP mdm_%s%s %s\n# TYPE mdm_%s%s %s\nmdm_%s%s %" APR_UINT64_T_FMT "\n", f[i].name, end, f[i].help, f[i].name,
                   end, f[i].counts ? "counter" : "gauge", f[i].name, end, f[i].value);
    }
    return OK;
}

int mdm_status_handler(request_rec *r)
{
    int metrics = r->handler && !strcmp(r->handler, "mdm-metrics");

    if (!r->handler || (!metrics && strcmp(r->handler, "mdm-status") != 0)) {
        return DECLINED;
    }
    if (r->method_number != M_GET) {
        return mdm_web_method_not_allowed(r, "GET, HEAD");
    }
    return metrics ? as_metrics(r) : as_json(r);
}

/* Names and numbers only: nothing here needs escaping. */
static int section(request_rec *r, int flags)
{
    figure_t f[MAX_FIGURES];
    int i, n;

    if (!mdm_core.shm) {
        return DECLINED;
    }
    n = figures(f);
    if (!(flags & AP_STATUS_SHORT)) {
        ap_rputs("<hr>\n<h2>Mobile devices (mod_mdm " MDM_VERSION ")</h2>\n<table>\n", r);
    }
    for (i = 0; i < n; i++) {
        ap_rprintf(r, flags & AP_STATUS_SHORT ? "MDM_%s: %" APR_UINT64_T_FMT "\n"
                                              : "<tr><td>%s</td><td>%" APR_UINT64_T_FMT "</td></tr>\n", f[i].name, f[i].value);
    }
    if (!(flags & AP_STATUS_SHORT)) {
        ap_rputs("</table>\n", r);
    }
    return OK;
}

void mdm_status_register(apr_pool_t *p)
{
    APR_OPTIONAL_HOOK(ap, status_hook, section, NULL, NULL, APR_HOOK_MIDDLE);
}
