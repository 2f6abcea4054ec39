/* What of the server's settings waiting requests need (PXY-02, PXY-03): said at the start, where something falls short. */
#include <string.h>
#include <sys/resource.h>

#include <ap_mpm.h>
#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <util_cfgtree.h>

#include "eas_back.h"
#include "mdm_web.h"

APLOG_USE_MODULE(mdm_eas);

#define LONGEST apr_time_from_sec(3600)
#define FACTOR_DEFAULT 2 /* of AsyncRequestWorkerFactor */
#define DESCRIPTORS 3    /* client, mail server, and the one that the MPM polls */
#define DESCRIPTORS_ELSE 1024

/* Looks through d and what is below it, but for other virtual hosts than that of s. */
static int find(const ap_directive_t *d, const server_rec *s, const char *name, const char *value, const char **args)
{
    int found = 0;

    for (; d; d = d->next) {
        int other = !strcasecmp(d->directive, "<VirtualHost") &&
                    (!s->defn_name || strcmp(d->filename, s->defn_name) || (unsigned)d->line_num != s->defn_line_number);

        if (!strcasecmp(d->directive, name) && (!value || !strcasecmp(d->args, value))) {
            *args = d->args;
            found = 1;
        }
        found |= !other && d->first_child && find(d->first_child, s, name, value, args);
    }
    return found;
}

const char *eas_directive(const server_rec *s, const char *name, const char *value)
{
    const char *args = NULL;

    return find(ap_conftree, s, name, value, &args) ? args : NULL;
}

void eas_check_place(server_rec *s)
{
    if (s->timeout < LONGEST || !eas_directive(s, "KeepAliveTimeout", NULL)) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "MDM0825: TimeOut is %d s: httpd ends waiting requests then: set TimeOut 3700, and "
                     "KeepAliveTimeout beside it, in the virtual host of mail clients", (int)apr_time_sec(s->timeout));
    }
}

void eas_check_server(server_rec *s)
{
    const mdm_services_t *svc = mdm_web_services();
    int can = 0, threads = 0, daemons = 0, spare = 0;
    apr_int64_t held = svc->conf_int(NULL, "MDMEasMaxHeld"), fits, share;
    const char *factor = eas_directive(s, "AsyncRequestWorkerFactor", NULL);
    struct rlimit files;

    if (ap_mpm_query(AP_MPMQ_CAN_WAITIO, &can) != APR_SUCCESS || !can) {
        return; /* mod_mdm says so when the first one waits */
    }
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &daemons);
    ap_mpm_query(AP_MPMQ_MAX_SPARE_THREADS, &spare);
    fits = (apr_int64_t)((double)threads * (1 + (factor ? atof(factor) : FACTOR_DEFAULT))) * daemons;
    if (fits < held) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "MDM0826: AsyncRequestWorkerFactor lets this server have about %" APR_INT64_T_FMT
                     " connections, MDMEasMaxHeld is %" APR_INT64_T_FMT ": set the factor to 1000", fits, held);
    }
    if (spare < daemons * threads) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "MDM0827: MaxSpareThreads is %d: httpd ends processes in quiet hours, and with them the "
                     "requests that wait there: set it to %d, as MaxRequestWorkers", spare, daemons * threads);
    }
    share = held / (daemons > 0 ? daemons : 1) * DESCRIPTORS + DESCRIPTORS_ELSE;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY && (apr_int64_t)files.rlim_cur < share) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "MDM0828: a process may have %ld open files, and for MDMEasMaxHeld it takes %"
                     APR_INT64_T_FMT ": raise LimitNOFILE, or lower MDMEasMaxHeld", (long)files.rlim_cur, share);
    }
}
