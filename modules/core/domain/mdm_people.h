/* Owns people and their sources: finding, creating, checking log-ins (local source here; LDAP joins behind the same call). */
#ifndef MDM_PEOPLE_H
#define MDM_PEOPLE_H

#include "db/mdm_db.h"

typedef struct mdm_person_t {
    const char *id, *source_id, *login, *name, *mail, *phone, *folder_id; /* folder_id may be NULL */
    int disabled;
    apr_int64_t version;
    /* After a log-in through a directory: its name, and whether one of the groups whose members may authorise has this person, as the
     * directory has said just now (PEN-01). NULL and 0 otherwise. */
    const char *directory;
    int authoriser;
} mdm_person_t;

/* Splits what somebody typed: user, DOMAIN\user, user@domain, plus a domain field (may be NULL or ""). */
apr_status_t mdm_login_split(mdm_ctx_t *ctx, const char *typed, const char *domain_field, const char **user, const char **domain);

/* Whom a log-in leads to, found before its password is looked at. */
typedef struct mdm_login_t mdm_login_t;
/* Finds out; a name that leads nowhere is found as well. Opens and closes its own connection. */
apr_status_t mdm_login_find(mdm_ctx_t *ctx, const char *typed, const char *domain, mdm_login_t **out);
/* What failed log-ins are counted by (USR-10): every way to write one log-in of one source (blanks, case, domain alias, a known
 * address) gives the same text, which is no address of a client. */
const char *mdm_login_account(const mdm_login_t *login);
/* Checks the password. MDM_EAUTH for everything that is the person's fault (unknown, wrong, disabled: same work, same answer, R21),
 * MDM_EUNAVAIL if the source can't be asked. An empty password is MDM_EAUTH without asking. The caller throttles.
 * Opens and closes its own connections: hashing and directories never hold one. */
apr_status_t mdm_login_check(mdm_ctx_t *ctx, const mdm_login_t *login, const char *password, mdm_person_t **out);
/* Both at once. */
apr_status_t mdm_people_login(mdm_ctx_t *ctx, const char *typed, const char *domain, const char *password, mdm_person_t **out);

/* The person here that a log-in leads to, without asking any directory or password; APR_NOTFOUND: none that may log in. Opens and
 * closes its own connection. */
apr_status_t mdm_people_known(mdm_ctx_t *ctx, const char *typed, mdm_person_t **out);

/* True if some source is not the simple one: the log-in page then shows a domain field. */
apr_status_t mdm_domain_needed(mdm_db_t *db, int *needed);
apr_status_t mdm_person_get(mdm_db_t *db, const char *id, mdm_person_t **out);
/* Makes the local source if there is none (name "Local", simple). */
apr_status_t mdm_local_source(mdm_db_t *db, const char **id);
/* MDM_EINPUT: what would be refused of a person, whatever the others are called. No database. */
apr_status_t mdm_person_ok(mdm_ctx_t *ctx, const char *login, const char *name, const char *mail, const char *phone, const char *password);
/* Adds a person to the local source; ECONFLICT if the log-in is taken. Audited. */
apr_status_t mdm_person_create(mdm_ctx_t *ctx, const char *login, const char *name, const char *mail, const char *phone,
                               const char *password, const char **id);
apr_status_t mdm_person_password(mdm_ctx_t *ctx, const char *id, const char *password); /* ends the person's sessions (R35) */

/* ---- what people and administrators have in common */
/* MDM_EINPUT through ctx: a log-in that may be given, a password that is long enough, a text of a field. */
apr_status_t mdm_login_ok(mdm_ctx_t *ctx, const char *login);
apr_status_t mdm_password_ok(mdm_ctx_t *ctx, const char *password);
apr_status_t mdm_text_check(mdm_ctx_t *ctx, const char *field, const char *value);
/* mdm_password_check() with a limit that costs the same work; the one answer to everything that is the person's fault. */
apr_status_t mdm_login_password(mdm_ctx_t *ctx, const char *password, const char *stored);
apr_status_t mdm_login_refused(mdm_ctx_t *ctx);

#endif
