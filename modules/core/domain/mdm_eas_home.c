/* Which server has a person's mail, as it was found out. */
#include "domain/mdm_eas_home.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_log_rows.h"
#include "mdm_sql_gen.h"

apr_status_t mdm_eas_home(mdm_db_t *db, mdm_mail_login_t *who)
{
    mdm_q_mail_home_get_t *row;
    apr_status_t rv = mdm_q_mail_home_get(db, who->person_id, &row);

    *who->server_id = '\0';
    who->refused = 0;
    if (rv == APR_SUCCESS) {
        apr_cpystrn(who->server_id, row->server_id ? row->server_id : "", sizeof(who->server_id));
        who->refused = !row->refused_ms_null && row->refused_ms > mdm_now_ms(mdm_db_ctx(db)) - MDM_EAS_REFUSED_MS;
    }
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

/* A line on the timeline of each mail device; text: a message there, too. */
static apr_status_t tell_devices(mdm_db_t *db, const char *person_id, const char *event, json_t *detail, const char *text)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_mail_home_devices(db, person_id, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const char *id = APR_ARRAY_IDX(rows, i, mdm_q_mail_home_devices_t).device_id;

        rv = mdm_device_event(db, id, NULL, event, detail);
        if (rv == APR_SUCCESS && text) {
            rv = mdm_message(db, "device", id, MDM_MSG_WARNING, "eas.refused", text);
        }
    }
    return rv;
}

static apr_status_t found(mdm_db_t *db, const char *person_id, const char *server_id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_mail_home_get_t *was = NULL;
    mdm_q_eas_server_get_t *server;
    json_t *detail;
    apr_status_t rv = mdm_q_mail_home_get(db, person_id, &was);

    if (rv == APR_NOTFOUND) {
        was = NULL;
    } else if (rv != APR_SUCCESS || (was->server_id && !strcmp(was->server_id, server_id) && was->refused_ms_null)) {
        return rv; /* another child was quicker */
    }
    if ((rv = mdm_q_eas_server_get(db, server_id, &server)) != APR_SUCCESS
        || (rv = mdm_q_mail_home_put(db, person_id, server_id, mdm_now_ms(ctx), NULL)) != APR_SUCCESS) {
        return rv;
    }
    detail = mdm_json_own(ctx, json_pack("{s:s}", "server", server->name));
    rv = tell_devices(db, person_id, "mail.server", detail, NULL);
    return rv == APR_SUCCESS && was && !was->refused_ms_null ? mdm_change_add(db, "person", person_id) : rv;
}

static apr_status_t refused(mdm_db_t *db, const char *person_id, apr_int64_t stamp)
{
    int n = 0;
    apr_status_t rv = mdm_q_mail_home_refuse(db, person_id, mdm_now_ms(mdm_db_ctx(db)), stamp, &n);

    if (rv == APR_SUCCESS && n) {
        rv = tell_devices(db, person_id, "mail.refused", NULL,
                          "No linked ActiveSync server accepts this person: the device gets policies, but no mail.");
    }
    return rv == APR_SUCCESS ? mdm_change_add(db, "person", person_id) : rv;
}

/* One of the two, in a transaction: found on this server, or refused by all. */
static apr_status_t write_down(mdm_ctx_t *ctx, const char *person_id, const char *server_id, apr_int64_t stamp)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
        rv = server_id ? found(db, person_id, server_id) : refused(db, person_id, stamp);
    }
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

apr_status_t mdm_eas_home_found(mdm_ctx_t *ctx, const char *person_id, const char *server_id)
{
    return write_down(ctx, person_id, server_id, 0);
}

apr_status_t mdm_eas_home_refused(mdm_ctx_t *ctx, const char *person_id, apr_int64_t stamp)
{
    return write_down(ctx, person_id, NULL, stamp);
}

apr_status_t mdm_eas_home_again(mdm_db_t *db)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_mail_home_again(db, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        rv = mdm_change_add(db, "person", APR_ARRAY_IDX(rows, i, mdm_q_mail_home_again_t).person_id);
    }
    return rv;
}

apr_status_t mdm_eas_home_direct(mdm_db_t *db, const char *person_id, const char **name, const char **url)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    mdm_q_mail_home_direct_t *row;
    apr_status_t rv = mdm_q_mail_home_direct(db, person_id, &row);

    *url = NULL;
    if (rv == APR_SUCCESS) {
        *name = row->name;
        if (row->host) {
            int is_v6 = strchr(row->host, ':') != NULL, usual = row->port == (row->tls ? 443 : 80);

            *url = apr_pstrcat(p, row->tls ? "https://" : "http://", is_v6 ? "[" : "", row->host, is_v6 ? "]" : "", usual ? "" : ":",
                               usual ? "" : apr_itoa(p, (int)row->port), NULL);
        }
    }
    return rv;
}
