/* Owns the project's status codes and their one mapping to HTTP. Knows no httpd. */
#ifndef MDM_ERROR_H
#define MDM_ERROR_H

#include <apr_errno.h>

/* Domain errors live in APR's user range, so they travel as apr_status_t beside system errors.
 * "Not found" is APR_NOTFOUND everywhere. */
#define MDM_E_BASE       (APR_OS_START_USERERR + 0x4D00)
#define MDM_EINPUT       (MDM_E_BASE + 1)  /* the caller's data is wrong: 400 */
#define MDM_EIDENTITY    (MDM_E_BASE + 2)  /* device identity missing, foreign or mismatching: 400 */
#define MDM_EDENIED      (MDM_E_BASE + 3)  /* known caller, not allowed: 403 */
#define MDM_ECONFLICT    (MDM_E_BASE + 4)  /* name taken, state forbids: 409 */
#define MDM_ESTALE       (MDM_E_BASE + 5)  /* If-Match does not fit: 412 */
#define MDM_ETOOBIG      (MDM_E_BASE + 6)  /* over a size limit: 413 */
#define MDM_ETHROTTLED   (MDM_E_BASE + 7)  /* too many tries: 429 */
#define MDM_EUNAVAIL     (MDM_E_BASE + 8)  /* our trouble (database, back end, schema): 503 */
#define MDM_EAUTH        (MDM_E_BASE + 9)  /* not logged in or wrong credentials: 401, never on MDM URLs */
#define MDM_EMEDIA       (MDM_E_BASE + 10) /* wrong Content-Type: 415 */
#define MDM_EPRECOND     (MDM_E_BASE + 11) /* If-Match needed and missing: 428 */
#define MDM_E_LAST       MDM_EPRECOND

/* HTTP status for a result of this project: 200 for APR_SUCCESS, 404 for APR_NOTFOUND, the codes above,
 * and 503 for every other (system) error, because a fault of ours is never the client's. */
int mdm_http_status(apr_status_t rv);

/* Constant English text for a domain error; NULL if rv is not one of ours. */
const char *mdm_error_text(apr_status_t rv);

#endif
