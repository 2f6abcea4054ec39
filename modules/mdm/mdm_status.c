/* Owns what an operator sees of this node: a section of mod_status, and JSON from SetHandler mdm-status. */
#include <jansson.h>
#include <mod_status.h>
#include "mdm_private.h"
#include "mdm_web.h"

typedef struct {
    const char *name;
    apr_uint64_t value;
} figure_t;

#define MAX_FIGURES 64

static int figures(figure_t *f)
{
    const mdm_shm_t *m = mdm_core.shm;
    mdm_devcache_stats_t st;
    int n = 0;

    mdm_devcache_stats(mdm_core.cache, &st);
#define ADD(label, v) f[n].name = label, f[n++].value = (apr_uint64_t)(v)
    ADD("cache_slots", st.slots);
    ADD("cache_used", st.used);
    ADD("cache_hits", st.hits);
    ADD("cache_misses", st.misses);
    ADD("cache_puts", st.puts);
    ADD("cache_evictions", st.evictions);
    ADD("cache_drops", st.drops);
    ADD("cache_reclaimed", st.reclaimed);
    ADD("db_away", m->away);
    ADD("db_schema_fits", m->schema == MDM_SCHEMA_FITS);
    ADD("db_away_times", m->db_away_times);
    ADD("db_opened", m->db_opened);
    ADD("db_refused", m->db_refused);
    ADD("db_cut", m->db_cut);
    ADD("db_statements", m->db_statements);
    ADD("jobs_run", m->jobs_run);
    ADD("jobs_failed", m->jobs_failed);
    ADD("contacts_written", m->contacts_written);
    ADD("listen_up", mdm_listen_up()); /* of the child that answers */
    ADD("listen_lost", m->listen_lost);
    ADD("notifications", m->notifications);
    ADD("mail_logins_cached", m->mail_cached);
    ADD("mail_logins_checked", m->mail_checked);
    ADD("mail_logins_refused", m->mail_refused);
    ADD("mail_logins_stale", m->mail_stale);
    ADD("node_registered", m->node_seen_ms != 0);
    ADD("children", m->stewards);
#undef ADD
    return n;
}

int mdm_status_handler(request_rec *r)
{
    figure_t f[MAX_FIGURES];
    json_t *out;
    int i, n;

    if (!r->handler || strcmp(r->handler, "mdm-status") != 0) {
        return DECLINED;
    }
    if (r->method_number != M_GET) {
        return mdm_web_method_not_allowed(r, "GET, HEAD");
    }
    out = json_pack("{s:s, s:s}", "version", MDM_VERSION, "node", mdm_conf_text(MDM_C_NODE_NAME));
    n = figures(f);
    for (i = 0; i < n; i++) {
        json_object_set_new(out, f[i].name, json_integer((json_int_t)f[i].value));
    }
    return mdm_web_json(r, 200, out);
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
