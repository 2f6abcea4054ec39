/* Looks at a small body before it goes on: what was read comes out again of a filter, as if nobody had been there. */
#include <util_filter.h>

#include <http_protocol.h>

#include "eas.h"

static ap_filter_rec_t *again_filter;

/* What was read comes first. */
static apr_status_t again_in(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block, apr_off_t n)
{
    apr_bucket_brigade *kept = f->ctx;
    apr_bucket *end;
    apr_status_t rv;

    if (APR_BRIGADE_EMPTY(kept)) {
        ap_remove_input_filter(f);
        return ap_get_brigade(f->next, bb, mode, block, n);
    }
    if (mode != AP_MODE_READBYTES) {
        return mode == AP_MODE_INIT || mode == AP_MODE_EATCRLF ? APR_SUCCESS : APR_ENOTIMPL;
    }
    rv = apr_brigade_partition(kept, n, &end);
    if (rv != APR_SUCCESS && rv != APR_INCOMPLETE) {
        return rv;
    }
    while (APR_BRIGADE_FIRST(kept) != end && !APR_BRIGADE_EMPTY(kept)) {
        apr_bucket *b = APR_BRIGADE_FIRST(kept);

        APR_BUCKET_REMOVE(b);
        APR_BRIGADE_INSERT_TAIL(bb, b);
    }
    if (!APR_BRIGADE_EMPTY(kept) && APR_BUCKET_IS_EOS(APR_BRIGADE_FIRST(kept))) { /* not in a turn of its own */
        apr_bucket *eos = APR_BRIGADE_FIRST(kept);

        APR_BUCKET_REMOVE(eos);
        APR_BRIGADE_INSERT_TAIL(bb, eos);
    }
    return APR_SUCCESS;
}

void eas_body_register(void)
{
    again_filter = ap_register_input_filter("MDM_EAS_AGAIN", again_in, NULL, AP_FTYPE_CONTENT_SET);
}

/* Moves what has come into kept; *len grows by it, *eos is set at the end. */
static apr_status_t keep(apr_bucket_brigade *bb, apr_bucket_brigade *kept, apr_pool_t *p, apr_size_t *len, int *eos)
{
    apr_status_t rv = APR_SUCCESS;

    while (!APR_BRIGADE_EMPTY(bb) && rv == APR_SUCCESS) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);
        const char *data;
        apr_size_t n = 0;

        if (AP_BUCKET_IS_ERROR(b)) {
            return APR_EGENERAL;
        }
        if (APR_BUCKET_IS_EOS(b)) {
            *eos = 1;
        } else if (!APR_BUCKET_IS_METADATA(b)) {
            rv = apr_bucket_read(b, &data, &n, APR_BLOCK_READ);
        }
        if (rv == APR_SUCCESS) {
            rv = apr_bucket_setaside(b, p);
        }
        APR_BUCKET_REMOVE(b);
        APR_BRIGADE_INSERT_TAIL(kept, b);
        *len += n;
    }
    return rv == APR_ENOTIMPL ? APR_SUCCESS : rv;
}

apr_status_t eas_body_peek(request_rec *r, apr_size_t most, mdm_blob_t *out)
{
    const char *text = apr_table_get(r->headers_in, "Content-Length");
    apr_bucket_brigade *bb, *kept;
    apr_size_t len = 0;
    apr_off_t announced = 0;
    int eos = 0;
    char *data;
    apr_status_t rv = APR_SUCCESS;

    *out = (mdm_blob_t){(const unsigned char *)"", 0};
    if (text && (!ap_parse_strict_length(&announced, text) || announced > (apr_off_t)most)) {
        return MDM_ETOOBIG;
    }
    if (!announced && !apr_table_get(r->headers_in, "Transfer-Encoding")) {
        return APR_SUCCESS;
    }
    bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    kept = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    while (!eos && len <= most && rv == APR_SUCCESS) {
        rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, HUGE_STRING_LEN);
        if (rv == APR_SUCCESS) {
            rv = keep(bb, kept, r->pool, &len, &eos);
        }
        apr_brigade_cleanup(bb);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    ap_add_input_filter_handle(again_filter, kept, r, r->connection);
    if (len > most) {
        return MDM_ETOOBIG;
    }
    rv = apr_brigade_pflatten(kept, &data, &len, r->pool);
    *out = (mdm_blob_t){(const unsigned char *)data, len};
    return rv;
}
