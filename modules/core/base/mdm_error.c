/* One table: status code, HTTP status, words. */
#include "base/mdm_error.h"

#include <stddef.h>

static const struct {
    apr_status_t rv;
    int http;
    const char *text;
} rows[] = {
    {MDM_EINPUT, 400, "the data sent is not valid"},
    {MDM_EIDENTITY, 400, "the device identity is missing or does not fit"},
    {MDM_EDENIED, 403, "not allowed"},
    {MDM_ECONFLICT, 409, "the state of the object does not allow this"},
    {MDM_ESTALE, 412, "the object was changed meanwhile"},
    {MDM_ETOOBIG, 413, "too large"},
    {MDM_ETHROTTLED, 429, "too many tries"},
    {MDM_EUNAVAIL, 503, "temporarily not available"},
    {MDM_EAUTH, 401, "not logged in, or the credentials are wrong"},
    {MDM_EMEDIA, 415, "this content type is not accepted"},
    {MDM_EPRECOND, 428, "If-Match is needed"},
};

_Static_assert(sizeof(rows) / sizeof(rows[0]) == MDM_E_LAST - MDM_E_BASE, "one row per code");

int mdm_http_status(apr_status_t rv)
{
    if (rv == APR_SUCCESS)
        return 200;
    if (APR_STATUS_IS_NOTFOUND(rv))
        return 404;
    if (rv > MDM_E_BASE && rv <= MDM_E_LAST)
        return rows[rv - MDM_E_BASE - 1].http;
    return 503;
}

const char *mdm_error_text(apr_status_t rv)
{
    if (rv > MDM_E_BASE && rv <= MDM_E_LAST)
        return rows[rv - MDM_E_BASE - 1].text;
    return NULL;
}
