/* Owns what the zone says of enrolment links and codes: the address that links begin with (PEN-09), the agent's package for Android (PEN-07), and enrolment
 * that begins with an account on the device (IOS-08). */
#ifndef MDM_ENROLL_CONF_H
#define MDM_ENROLL_CONF_H

#include "db/mdm_db.h"
#include "wire/mdm_android.h"

/* {"public_url": "https://…" or "" (the server's own), "agent": null or as mdm_android_agent_json(), "account": as
 * mdm_account_conf_json()}. New reference. id: not used. */
apr_status_t mdm_enroll_conf_json(mdm_db_t *db, const char *id, json_t **out);
/* Sets what is given; "agent": null forgets it. MDM_EINPUT names the member. In a transaction; audited. */
apr_status_t mdm_enroll_conf_edit(mdm_db_t *db, json_t *body);

/* The agent's package; APR_NOTFOUND: none is set. */
apr_status_t mdm_enroll_agent(mdm_db_t *db, mdm_android_agent_t *out);
/* What links begin with, without a slash at the end: the zone's setting, else public_url (mdm_services_t). In ctx's pool. */
apr_status_t mdm_enroll_base(mdm_db_t *db, const char *public_url, const char **out);
/* The link of this token; the one-time password only ever in its fragment, which no server sees. otp NULL: not in it. */
const char *mdm_enroll_link(apr_pool_t *p, const char *base, const char *token, const char *otp);

#endif
