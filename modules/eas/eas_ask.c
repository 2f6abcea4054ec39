/* Requests of our own to a back end, in a person's name: small ones, whose whole answer is read. */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <http_core.h>

#include "eas_back.h"

static apr_status_t read_whole(eas_call_t *c, eas_back_t *back, eas_reply_t *out)
{
    apr_bucket_brigade *bb = apr_brigade_create(c->r->pool, c->r->connection->bucket_alloc);
    apr_size_t room = EAS_REPLY_MAX, used = 0;
    char *buf = NULL;
    apr_status_t rv;
    int end = 0;

    while (!end && (rv = eas_back_read(back, bb, 1)) == APR_SUCCESS) {
        apr_off_t len = 0;
        apr_size_t n;

        end = APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb));
        apr_brigade_length(bb, 1, &len);
        if ((apr_size_t)len > EAS_REPLY_MAX - used) {
            return MDM_ETOOBIG;
        }
        if (!buf || room < used + (apr_size_t)len) {
            char *more = apr_palloc(c->r->pool, room = end ? used + (apr_size_t)len + 1 : EAS_REPLY_MAX);

            buf = used ? memcpy(more, buf, used) : more;
        }
        n = (apr_size_t)len;
        apr_brigade_flatten(bb, buf + used, &n);
        used += n;
        apr_brigade_cleanup(bb);
    }
    out->body.data = (unsigned char *)buf;
    out->body.len = used;
    return end ? APR_SUCCESS : rv;
}

static apr_status_t ask(eas_call_t *c, eas_back_t *back, const char *text, const mdm_blob_t *body, eas_head_t *head)
{
    apr_status_t rv;

    eas_back_write(back, text, strlen(text));
    if (body->len) {
        eas_back_write(back, (const char *)body->data, body->len);
    }
    rv = eas_back_flush(back);
    return rv == APR_SUCCESS ? eas_back_head(back, head) : rv;
}

apr_status_t eas_back_ask(eas_call_t *c, const mdm_eas_server_t *server, mdm_eas_cmd_e cmd, apr_uint32_t policy_key,
                          const mdm_blob_t *body, eas_reply_t *out)
{
    mdm_eas_query_t query = *c->query;
    const eas_out_t o = {server, &query, 1, policy_key, 1};
    char *text;
    eas_back_t *back = NULL;
    eas_head_t head;
    apr_status_t rv;
    int i, again = 1;

    memset(out, 0, sizeof(*out));
    query.cmd = cmd;
    query.attachment_name = query.collection_id = query.item_id = query.long_id = query.occurrence = NULL;
    query.save_in_sent = query.multipart = 0;
    rv = eas_out_head(c, &o, apr_psprintf(c->r->pool, "%sContent-Length: %" APR_SIZE_T_FMT "\r\n\r\n",
                                          body->len ? "Content-Type: application/vnd.ms-sync.wbxml\r\n" : "", body->len), &text);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (i = 0; i < 2 && again; i++) { /* twice if a kept connection was dead */
        rv = eas_back_open(c->r, server, &back);
        again = rv == APR_SUCCESS && eas_back_used(back);
        if (rv == APR_SUCCESS && (rv = ask(c, back, text, body, &head)) != APR_SUCCESS) {
            eas_back_close(back);
            back = NULL;
        } else {
            again = 0;
        }
    }
    free(text);
    if (rv == APR_SUCCESS) {
        out->http = head.status;
        out->headers = eas_out_kept(c->r->pool, server, head.headers);
        rv = read_whole(c, back, out);
    }
    eas_back_close(back);
    return rv == APR_SUCCESS ? rv : mdm_fail(c->ctx, MDM_EUNAVAIL, NULL, "mail server %s can't be asked", server->name);
}
