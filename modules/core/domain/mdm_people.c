/* People and their sources: finding, creating, checking log-ins. */
#include "domain/mdm_people.h"

#include <string.h>
#include <apr_strings.h>
#include "base/mdm_seal.h"
#include "domain/mdm_directory.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_session.h"
#include "mdm_sql_gen.h"

#define LOGIN_MAX 256
#define NAME_MAX_BYTES 200
#define PASSWORD_MIN 8
#define PASSWORD_MAX 1024

/* ---------------------------------------------------------------- what somebody typed */

static int text_ok(const char *s, apr_size_t max)
{
    apr_size_t len = strlen(s);

    if (len > max || !mdm_utf8_valid(s, len)) {
        return 0;
    }
    for (; *s; ++s) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f) {
            return 0;
        }
    }
    return 1;
}

static char *trimmed(apr_pool_t *p, const char *s)
{
    apr_size_t len;

    while (*s == ' ' || *s == '\t') {
        ++s;
    }
    for (len = strlen(s); len && (s[len - 1] == ' ' || s[len - 1] == '\t');) {
        --len;
    }
    return apr_pstrmemdup(p, s, len);
}

apr_status_t mdm_login_split(mdm_ctx_t *ctx, const char *typed, const char *domain_field, const char **user,
                             const char **domain)
{
    char *name, *at;

    *user = *domain = "";
    if (!typed || !text_ok(typed, LOGIN_MAX)) {
        return mdm_fail(ctx, MDM_EINPUT, "user", "is not a user name");
    }
    if (domain_field && !text_ok(domain_field, LOGIN_MAX)) {
        return mdm_fail(ctx, MDM_EINPUT, "domain", "is not a domain");
    }
    name = trimmed(ctx->pool, typed);
    *domain = domain_field ? mdm_lower(ctx->pool, trimmed(ctx->pool, domain_field)) : "";
    if ((at = strchr(name, '\\'))) { /* DOMAIN\user says more than the field */
        *at++ = '\0';
        *domain = mdm_lower(ctx->pool, trimmed(ctx->pool, name));
        name = trimmed(ctx->pool, at);
    }
    else if (!**domain && (at = strrchr(name, '@'))) {
        *at++ = '\0';
        *domain = mdm_lower(ctx->pool, at);
    }
    if (!*name) {
        return mdm_fail(ctx, MDM_EINPUT, "user", "must not be empty");
    }
    *user = name;
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- log-in of people */

/* Who might be meant; password NULL if nobody who may log in was found. */
typedef struct candidate_t {
    const char *id, *password;
    apr_array_header_t *ask; /* of mdm_dirsource_t: the directories that know; else NULL */
    const char *user, *mail; /* what to ask them for, each may be NULL */
    const char *source_id, *login; /* where the name leads, whoever has it; source NULL: nowhere known */
} candidate_t;

typedef struct source_t {
    const char *kind;
    int enabled;
    mdm_dirsource_t dir;
} source_t;

#define SOURCE(q) {(q)->kind, (int)(q)->enabled, {(q)->id, (q)->name, (q)->config, (q)->secret}}

static apr_status_t source_find(mdm_db_t *db, const char *domain, source_t *out)
{
    mdm_q_user_source_simple_t *simple;
    mdm_q_user_source_by_domain_t *alias;
    mdm_q_user_source_by_name_t *named;
    apr_status_t rv;

    if (!*domain) {
        if ((rv = mdm_q_user_source_simple(db, &simple)) == APR_SUCCESS) {
            *out = (source_t)SOURCE(simple);
        }
        return rv;
    }
    if ((rv = mdm_q_user_source_by_domain(db, domain, &alias)) == APR_SUCCESS) {
        *out = (source_t)SOURCE(alias);
        return rv;
    }
    if (rv == APR_NOTFOUND && (rv = mdm_q_user_source_by_name(db, domain, &named)) == APR_SUCCESS) {
        *out = (source_t)SOURCE(named);
    }
    return rv;
}

static void ask_add(mdm_ctx_t *ctx, candidate_t *out, mdm_dirsource_t source)
{
    if (!out->ask) {
        out->ask = apr_array_make(ctx->pool, 1, sizeof(mdm_dirsource_t));
    }
    APR_ARRAY_PUSH(out->ask, mdm_dirsource_t) = source;
}

static apr_status_t ask_source(mdm_db_t *db, const char *id, candidate_t *out)
{
    mdm_q_source_ask_t *row;
    apr_status_t rv = mdm_q_source_ask(db, id, &row);

    if (rv == APR_SUCCESS) {
        ask_add(mdm_db_ctx(db), out, (mdm_dirsource_t){row->id, row->name, row->config, row->secret});
    }
    return rv;
}

/* An address that nobody here is known by yet: any directory may know it. */
static apr_status_t ask_all(mdm_db_t *db, candidate_t *out)
{
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_source_ask_all(db, &rows);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        const mdm_q_source_ask_all_t *row = &APR_ARRAY_IDX(rows, i, mdm_q_source_ask_all_t);

        ask_add(mdm_db_ctx(db), out, (mdm_dirsource_t){row->id, row->name, row->config, row->secret});
    }
    return rv == APR_SUCCESS && !out->ask ? APR_NOTFOUND : rv;
}

static apr_status_t by_login(mdm_db_t *db, const char *user, const char *domain, candidate_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_person_login_local_t *row;
    source_t source;
    apr_status_t rv = source_find(db, domain, &source);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    out->source_id = source.dir.id;
    out->login = mdm_lower(ctx->pool, user);
    if (!source.enabled) {
        return APR_NOTFOUND;
    }
    if (strcmp(source.kind, "local") != 0) {
        out->user = user;
        ask_add(ctx, out, source.dir);
        return APR_SUCCESS;
    }
    rv = mdm_q_person_login_local(db, source.dir.id, out->login, &row);
    if (rv == APR_SUCCESS) {
        out->id = row->id;
        out->password = row->disabled || !row->gone_ms_null ? NULL : row->password;
    }
    return rv;
}

static apr_status_t by_mail(mdm_db_t *db, const char *typed, candidate_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_array_header_t *rows;
    const mdm_q_person_login_mail_t *row;
    apr_status_t rv = mdm_q_person_login_mail(db, mdm_lower(ctx->pool, typed), &rows);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (rows->nelts == 0) {
        return ask_all(db, out);
    }
    if (rows->nelts != 1) {
        return APR_NOTFOUND;
    }
    row = &APR_ARRAY_IDX(rows, 0, mdm_q_person_login_mail_t);
    out->source_id = row->source_id;
    out->login = row->login_key;
    if (strcmp(row->source_kind, "local") != 0) {
        return ask_source(db, row->source_id, out);
    }
    out->id = row->id;
    out->password = row->disabled || !row->gone_ms_null ? NULL : row->password;
    return APR_SUCCESS;
}

static apr_status_t candidate_find(mdm_ctx_t *ctx, const char *typed, const char *domain_field, candidate_t *out)
{
    const char *user, *domain;
    mdm_db_t *db;
    apr_status_t rv = mdm_login_split(ctx, typed, domain_field, &user, &domain);

    if (rv != APR_SUCCESS) {
        return APR_NOTFOUND; /* what can't be a name is nobody's: it costs and answers the same */
    }
    if ((rv = mdm_db_open(ctx, &db)) != APR_SUCCESS) {
        return rv;
    }
    rv = by_login(db, user, domain, out);
    if (strchr(typed, '@') && !strchr(typed, '\\')) {
        out->mail = trimmed(ctx->pool, typed);
        if (rv == APR_NOTFOUND) {
            rv = by_mail(db, out->mail, out);
        }
    }
    mdm_db_close(db);
    return rv;
}

apr_status_t mdm_login_refused(mdm_ctx_t *ctx)
{
    return mdm_fail(ctx, MDM_EAUTH, NULL, "User name or password is wrong.");
}

/* Asks the directories in their order. One that can't be asked might be the one that knows: then nobody is refused for good. */
static apr_status_t ask_directories(mdm_ctx_t *ctx, const candidate_t *who, const char *password, mdm_person_t **out)
{
    apr_status_t rv = APR_NOTFOUND, away = APR_SUCCESS;
    int i;

    for (i = 0; rv == APR_NOTFOUND && i < who->ask->nelts; i++) {
        rv = mdm_directory_login(ctx, &APR_ARRAY_IDX(who->ask, i, mdm_dirsource_t), who->user, who->mail, password,
                                 i == who->ask->nelts - 1 && away == APR_SUCCESS, out);
        if (rv == MDM_EUNAVAIL) {
            away = rv;
            rv = APR_NOTFOUND;
        }
    }
    if (rv == APR_NOTFOUND && away != APR_SUCCESS) {
        return away; /* its sentence stands in ctx already */
    }
    return rv == APR_NOTFOUND ? MDM_EAUTH : rv;
}

apr_status_t mdm_login_password(mdm_ctx_t *ctx, const char *password, const char *stored)
{
    /* An overlong password is hashed as a short wrong one: the same work, whatever was sent. */
    int fits = strlen(password) <= PASSWORD_MAX;
    apr_status_t rv = mdm_password_check(ctx, fits ? password : "", stored);

    return rv == APR_SUCCESS && !fits ? MDM_EAUTH : rv;
}

struct mdm_login_t {
    candidate_t who;
    const char *account;
};

apr_status_t mdm_login_find(mdm_ctx_t *ctx, const char *typed, const char *domain, mdm_login_t **out)
{
    mdm_login_t *l = apr_pcalloc(ctx->pool, sizeof(*l));
    apr_status_t rv = candidate_find(ctx, typed ? typed : "", domain, &l->who);
    const char *name = typed ? trimmed(ctx->pool, mdm_clean(ctx->pool, typed, LOGIN_MAX)) : "";

    *out = l;
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        return rv;
    }
    l->account = apr_pstrcat(ctx->pool, "user:", l->who.source_id ? l->who.source_id : "", ":",
                             l->who.source_id ? l->who.login : mdm_lower(ctx->pool, name), NULL);
    return APR_SUCCESS;
}

const char *mdm_login_account(const mdm_login_t *login)
{
    return login->account;
}

static apr_status_t check_local(mdm_ctx_t *ctx, const candidate_t *who, const char *password, mdm_person_t **out)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_login_password(ctx, password, who->password);

    if (rv == APR_SUCCESS && (rv = mdm_db_open(ctx, &db)) == APR_SUCCESS) {
        rv = mdm_person_get(db, who->id, out);
        mdm_db_close(db);
    }
    return rv;
}

apr_status_t mdm_login_check(mdm_ctx_t *ctx, const mdm_login_t *login, const char *password, mdm_person_t **out)
{
    const candidate_t *who = &login->who;
    apr_status_t rv;

    *out = NULL;
    if (!password || !*password) {
        return mdm_login_refused(ctx);
    }
    if (who->ask) {
        rv = strlen(password) <= PASSWORD_MAX ? ask_directories(ctx, who, password, out) : MDM_EAUTH;
    }
    else {
        rv = check_local(ctx, who, password, out);
    }
    /* Disabled or removed while we were asking. */
    return rv == MDM_EAUTH || rv == APR_NOTFOUND || (rv == APR_SUCCESS && (*out)->disabled) ? mdm_login_refused(ctx) : rv;
}

apr_status_t mdm_people_login(mdm_ctx_t *ctx, const char *typed, const char *domain, const char *password,
                              mdm_person_t **out)
{
    mdm_login_t *login;
    apr_status_t rv = password && *password ? mdm_login_find(ctx, typed, domain, &login) : mdm_login_refused(ctx);

    *out = NULL;
    return rv == APR_SUCCESS ? mdm_login_check(ctx, login, password, out) : rv;
}

apr_status_t mdm_people_known(mdm_ctx_t *ctx, const char *typed, mdm_person_t **out)
{
    candidate_t who = {NULL};
    mdm_q_person_login_local_t *row;
    mdm_db_t *db;
    apr_status_t rv = candidate_find(ctx, typed, NULL, &who);

    *out = NULL;
    if (rv == APR_SUCCESS && !who.source_id) {
        rv = APR_NOTFOUND; /* only a directory may know */
    }
    if (rv != APR_SUCCESS || (rv = mdm_db_open(ctx, &db)) != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_person_login_local(db, who.source_id, who.login, &row);
    if (rv == APR_SUCCESS && (row->disabled || !row->gone_ms_null)) {
        rv = APR_NOTFOUND;
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_person_get(db, row->id, out);
    }
    mdm_db_close(db);
    return rv;
}

apr_status_t mdm_domain_needed(mdm_db_t *db, int *needed)
{
    mdm_q_user_domain_needed_t *row;
    apr_status_t rv = mdm_q_user_domain_needed(db, &row);

    *needed = rv == APR_SUCCESS && row->n > 0;
    return rv;
}

/* ---------------------------------------------------------------- people */

apr_status_t mdm_person_get(mdm_db_t *db, const char *id, mdm_person_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_person_get_t *row;
    mdm_person_t *person;
    apr_status_t rv = mdm_q_person_get(db, id, &row);

    *out = NULL;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    person = apr_pcalloc(ctx->pool, sizeof(*person));
    person->id = row->id;
    person->source_id = row->source_id;
    person->folder_id = row->folder_id;
    person->login = row->login;
    person->name = row->name;
    person->mail = row->mail;
    person->phone = row->phone;
    /* Somebody whose source or entry is gone may do nothing either (USR-08). */
    person->disabled = row->disabled || !row->gone_ms_null || !row->source_id;
    person->version = row->version;
    *out = person;
    return APR_SUCCESS;
}

apr_status_t mdm_local_source(mdm_db_t *db, const char **id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_user_source_local_t *row;
    const char *uuid;
    apr_status_t rv = mdm_q_user_source_local(db, &row);

    if (rv == APR_NOTFOUND) {
        if (!(uuid = mdm_uuid(ctx->pool))) {
            return MDM_EUNAVAIL;
        }
        if ((rv = mdm_q_user_source_add_local(db, uuid, "Local", mdm_now_ms(ctx), NULL)) == APR_SUCCESS) {
            rv = mdm_q_user_source_local(db, &row); /* ours, or that of a node that was faster */
        }
    }
    if (rv == APR_SUCCESS) {
        *id = row->id;
    }
    return rv;
}

apr_status_t mdm_password_ok(mdm_ctx_t *ctx, const char *password)
{
    apr_size_t len = password ? strlen(password) : 0;

    if (len < PASSWORD_MIN || len > PASSWORD_MAX) {
        return mdm_fail(ctx, MDM_EINPUT, "password", "must have %d to %d bytes", PASSWORD_MIN, PASSWORD_MAX);
    }
    return APR_SUCCESS;
}

apr_status_t mdm_login_ok(mdm_ctx_t *ctx, const char *login)
{
    if (!login || !*login || !text_ok(login, LOGIN_MAX) || strpbrk(login, "\\@/\"<>")
        || strcmp(login, trimmed(ctx->pool, login)) != 0) {
        return mdm_fail(ctx, MDM_EINPUT, "login", "must be a name without \\ @ / \" < > and outer spaces");
    }
    return APR_SUCCESS;
}

apr_status_t mdm_text_check(mdm_ctx_t *ctx, const char *field, const char *value)
{
    return !value || text_ok(value, NAME_MAX_BYTES)
               ? APR_SUCCESS
               : mdm_fail(ctx, MDM_EINPUT, field, "must be at most %d bytes of text", NAME_MAX_BYTES);
}

static apr_status_t finish(mdm_db_t *db, apr_status_t rv)
{
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

apr_status_t mdm_person_ok(mdm_ctx_t *ctx, const char *login, const char *name, const char *mail, const char *phone, const char *password)
{
    apr_status_t rv;

    if ((rv = mdm_login_ok(ctx, login)) != APR_SUCCESS || (rv = mdm_text_check(ctx, "name", name)) != APR_SUCCESS
        || (rv = mdm_text_check(ctx, "mail", mail)) != APR_SUCCESS || (rv = mdm_text_check(ctx, "phone", phone)) != APR_SUCCESS) {
        return rv;
    }
    return mdm_password_ok(ctx, password);
}

apr_status_t mdm_person_create(mdm_ctx_t *ctx, const char *login, const char *name, const char *mail, const char *phone,
                               const char *password, const char **id)
{
    const char *hash, *source = NULL, *uuid = mdm_uuid(ctx->pool);
    mdm_db_t *db;
    apr_status_t rv;

    if (!uuid) {
        return MDM_EUNAVAIL;
    }
    if ((rv = mdm_person_ok(ctx, login, name, mail, phone, password)) != APR_SUCCESS
        || (rv = mdm_password_hash(ctx, password, &hash)) != APR_SUCCESS
        || (rv = mdm_db_open(ctx, &db)) != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_db_begin(db)) == APR_SUCCESS && (rv = mdm_local_source(db, &source)) == APR_SUCCESS) {
        rv = mdm_q_person_add(db, uuid, source, login, mdm_lower(ctx->pool, login), name && *name ? name : login,
                              mail ? mail : "", mail ? mdm_lower(ctx->pool, mail) : "", phone ? phone : "", hash,
                              mdm_now_ms(ctx), NULL);
        if (rv == MDM_ECONFLICT) {
            mdm_fail(ctx, rv, "login", "is taken");
        }
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_audit(db, "person.create", "person", uuid, login, "done", NULL);
    }
    if ((rv = finish(db, rv)) == APR_SUCCESS && id) {
        *id = uuid;
    }
    return rv;
}

apr_status_t mdm_person_password(mdm_ctx_t *ctx, const char *id, const char *password)
{
    mdm_q_person_source_kind_t *person;
    const char *hash;
    mdm_db_t *db;
    apr_status_t rv;

    if ((rv = mdm_password_ok(ctx, password)) != APR_SUCCESS || (rv = mdm_password_hash(ctx, password, &hash)) != APR_SUCCESS
        || (rv = mdm_db_open(ctx, &db)) != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_db_begin(db)) == APR_SUCCESS && (rv = mdm_q_person_source_kind(db, id, &person)) == APR_SUCCESS) {
        if (!person->kind || strcmp(person->kind, "local") != 0) {
            rv = mdm_fail(ctx, MDM_ECONFLICT, NULL, "This person's password is kept in another directory.");
        }
        else if ((rv = mdm_q_person_set_password(db, id, hash)) == APR_SUCCESS
                 && (rv = mdm_sessions_end_all(db, "portal", id)) == APR_SUCCESS
                 && (rv = mdm_change_add(db, "person", id)) == APR_SUCCESS) {
            rv = mdm_audit(db, "person.password", "person", id, person->login, "done", NULL);
        }
    }
    return finish(db, rv);
}
