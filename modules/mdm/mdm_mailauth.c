/* Owns the log-in of mail clients (USR-09): what shared memory knows, else one question to the user source, and what may be
 * believed while the database is away (GATE-04). */
#include "domain/mdm_eas_home.h"
#include "domain/mdm_people.h"
#include "mdm_private.h"

#define GOOD_MS (5 * 60000LL)
#define BAD_MS 10000LL
#define AWAY_MS (4 * 3600000LL)
#define WAIT_MS 3000 /* for another request that asks the same */

/* What is remembered decides: *rv is the answer. *known: was right within the last hours. */
static int remembered(mdm_ctx_t *ctx, const mdm_loginkey_t *key, mdm_mail_login_t *out, int *known, apr_status_t *rv)
{
    apr_int64_t at = 0, age;
    mdm_login_e is = mdm_logincache_get(mdm_core.logins, key, out, &at);
    int away = mdm_dbglue_away();

    age = mdm_now_ms(ctx) - at;
    *known = is == MDM_LOGIN_GOOD && age >= 0 && age < AWAY_MS;
    if (*known && (age < GOOD_MS || away)) {
        *rv = APR_SUCCESS;
        age < GOOD_MS ? MDM_COUNT(mail_cached) : MDM_COUNT(mail_stale);
        return 1;
    }
    memset(out, 0, sizeof(*out));
    if (is == MDM_LOGIN_BAD && age >= 0 && age < BAD_MS) {
        MDM_COUNT(mail_cached);
        *rv = mdm_fail(ctx, MDM_EAUTH, NULL, "User name or password is wrong.");
        return 1;
    }
    *rv = away ? mdm_fail(ctx, MDM_EUNAVAIL, NULL, "the database is away") : APR_NOTFOUND;
    return away;
}

static apr_status_t may_try(mdm_ctx_t *ctx, const char *account)
{
    int by_account = mdm_throttle_check("login", account), by_address = mdm_throttle_check("login", ctx->actor.ip);
    int wait = by_account > by_address ? by_account : by_address;

    if (!wait) {
        return APR_SUCCESS;
    }
    ctx->retry_after = wait;
    return mdm_fail(ctx, MDM_ETHROTTLED, NULL, "Too many tries. Wait %d seconds.", wait);
}

/* Without the server that has the mail one is found again. */
static void describe(mdm_ctx_t *ctx, const mdm_person_t *person, mdm_mail_login_t *out)
{
    mdm_db_t *db;

    apr_cpystrn(out->person_id, person->id, sizeof(out->person_id));
    apr_cpystrn(out->source_id, person->source_id, sizeof(out->source_id));
    apr_cpystrn(out->login, person->login, sizeof(out->login));
    apr_cpystrn(out->mail, person->mail, sizeof(out->mail));
    if (mdm_db_open(ctx, &db) == APR_SUCCESS) {
        (void)mdm_eas_home(db, out);
        mdm_db_close(db);
    }
}

/* Asks the source. A password that was right a while ago is no guess: it is asked for even when others have guessed too often. */
static apr_status_t check(mdm_ctx_t *ctx, const char *typed, const char *password, const mdm_loginkey_t *key, int known,
                          mdm_mail_login_t *out)
{
    apr_uint64_t ticket = mdm_logincache_ticket(mdm_core.logins);
    mdm_person_t *person;
    const char *account;
    mdm_login_t *login;
    apr_status_t rv = mdm_login_find(ctx, typed, NULL, &login);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    account = mdm_login_account(login);
    if (!known && (rv = may_try(ctx, account)) != APR_SUCCESS) {
        return rv;
    }
    MDM_COUNT(mail_checked);
    rv = mdm_login_check(ctx, login, password, &person);
    if (rv == APR_SUCCESS) {
        describe(ctx, person, out);
        mdm_logincache_put(mdm_core.logins, key, ticket, mdm_now_ms(ctx), out);
        mdm_throttle_note("login", account, 1);
    } else if (rv == MDM_EAUTH) {
        MDM_COUNT(mail_refused);
        mdm_logincache_put(mdm_core.logins, key, ticket, mdm_now_ms(ctx), NULL);
        mdm_throttle_note("login", account, 0);
        mdm_throttle_note("login", ctx->actor.ip, 0);
        mdm_log(ctx, MDM_LOG_INFO, "MDM0260", 0, "mail log-in of %s refused",
                mdm_mask(ctx->pool, mdm_clean(ctx->pool, typed, 256)));
    }
    return rv;
}

apr_status_t mdm_mailauth_login(mdm_ctx_t *ctx, const char *typed, const char *password, mdm_mail_login_t *out)
{
    mdm_loginkey_t key;
    apr_status_t rv;
    int known, waited;

    memset(out, 0, sizeof(*out));
    if (!typed || !*typed || !password || !*password) {
        return mdm_fail(ctx, MDM_EAUTH, NULL, "User name or password is missing.");
    }
    if ((rv = mdm_logincache_key(mdm_core.logins, typed, password, &key)) != APR_SUCCESS) {
        return rv;
    }
    /* A phone asks several things at once: one of its requests goes to the source, a wrong password counts once. */
    for (waited = 0; !remembered(ctx, &key, out, &known, &rv); waited += 20) {
        if (mdm_logincache_begin(mdm_core.logins, &key, mdm_now_ms(ctx))) {
            rv = check(ctx, typed, password, &key, known, out);
            mdm_logincache_end(mdm_core.logins, &key);
            if (rv != APR_SUCCESS && rv != MDM_EAUTH && mdm_dbglue_away()) {
                remembered(ctx, &key, out, &known, &rv); /* it has gone away under our hands */
            }
            break;
        }
        if (waited >= WAIT_MS) {
            rv = mdm_fail(ctx, MDM_EUNAVAIL, NULL, "This log-in is being checked.");
            break;
        }
        apr_sleep(apr_time_from_msec(20));
    }
    mdm_wipe(&key, sizeof(key));
    return rv;
}
