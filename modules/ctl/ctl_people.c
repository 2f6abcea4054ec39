/* mdmctl user, admin, token. */
#include "ctl.h"

#include <errno.h>
#include <string.h>
#include "domain/mdm_admins.h"
#include "domain/mdm_people.h"
#include "domain/mdm_people_import.h"
#include "mdm_sql_gen.h"

#define DAY_MS (86400 * 1000LL)
#define TOKEN_DAYS_MAX 365

/* Runs one query with a connection of its own. */
#define WITH_DB(c, rv, call)                                    \
    do {                                                        \
        mdm_db_t *db;                                           \
        rv = mdm_db_open((c)->ctx, &db);                        \
        if (rv == APR_SUCCESS) {                                \
            rv = call;                                          \
            mdm_db_close(db);                                   \
        }                                                       \
    } while (0)

int ctl_user_add(ctl_t *c)
{
    const char *name = "", *mail = "", *phone = "", *password, *id;
    int from_stdin = 0;
    const ctl_option_t options[] = {{"name", &name, NULL}, {"mail", &mail, NULL}, {"phone", &phone, NULL},
                                    {"password-stdin", NULL, &from_stdin}, {NULL, NULL, NULL}};
    apr_status_t rv;

    if (!ctl_args(c, options, 1) || !(password = ctl_password(c))) {
        return CTL_USAGE;
    }
    rv = mdm_person_create(c->ctx, c->pos[0], *name ? name : c->pos[0], mail, phone, password, &id);
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, c->pos[0]);
    }
    printf("%s\n", id);
    return CTL_OK;
}

int ctl_user_password(ctl_t *c)
{
    int from_stdin = 0;
    const ctl_option_t options[] = {{"password-stdin", NULL, &from_stdin}, {NULL, NULL, NULL}};
    mdm_q_ctl_person_t *person;
    const char *password;
    apr_status_t rv;

    if (!ctl_args(c, options, 1) || !(password = ctl_password(c))) {
        return CTL_USAGE;
    }
    WITH_DB(c, rv, mdm_q_ctl_person(db, mdm_lower(c->p, c->pos[0]), &person));
    if (rv == APR_SUCCESS) {
        rv = mdm_person_password(c->ctx, person->id, password);
    }
    return rv == APR_SUCCESS ? CTL_OK : ctl_fail(c, rv, c->pos[0]);
}

int ctl_user_list(ctl_t *c)
{
    apr_array_header_t *rows;
    apr_status_t rv;

    if (!ctl_args(c, NULL, 0)) {
        return CTL_USAGE;
    }
    WITH_DB(c, rv, mdm_q_ctl_people(db, &rows));
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, "people");
    }
    for (int i = 0; i < rows->nelts; i++) {
        const mdm_q_ctl_people_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_ctl_people_t);

        printf("%s\t%s\t%s\t%s\t%s%s\n", r->id, r->login, r->name, r->mail, r->source ? r->source : "no source",
               r->disabled ? "\tdisabled" : "");
    }
    return CTL_OK;
}

/* ---- people from a CSV file (USR-06) */

typedef struct import_t {
    int made, bad;
} import_t;

/* A wrong row is told and left out; what is our trouble ends it. */
static apr_status_t import_row(void *data, mdm_ctx_t *ctx, mdm_people_row_t *row)
{
    import_t *im = data;
    apr_status_t rv = mdm_people_row_make(ctx, row);

    if (row->error) {
        im->bad++;
        fprintf(stderr, "line %d: %s%s%s\n", row->line, row->field ? row->field : "", row->field ? " " : "", row->error);
    }
    else if (rv == APR_SUCCESS) {
        im->made++;
    }
    return rv;
}

int ctl_user_import(ctl_t *c)
{
    const ctl_option_t options[] = {{NULL, NULL, NULL}};
    import_t im = {0, 0};
    mdm_people_csv_t *csv = mdm_people_csv(c->ctx, import_row, &im);
    char piece[16384];
    apr_status_t rv = APR_SUCCESS;
    size_t n;
    FILE *file;

    if (!ctl_args(c, options, 1)) {
        return CTL_USAGE;
    }
    if (!(file = strcmp(c->pos[0], "-") ? fopen(c->pos[0], "r") : stdin)) {
        return ctl_fail(c, APR_FROM_OS_ERROR(errno), c->pos[0]);
    }
    while (rv == APR_SUCCESS && (n = fread(piece, 1, sizeof(piece), file)) > 0) {
        rv = mdm_people_csv_feed(csv, piece, n);
    }
    rv = rv == APR_SUCCESS ? mdm_people_csv_end(csv) : rv;
    if (file != stdin) {
        fclose(file);
    }
    printf("%d added, %d left out\n", im.made, im.bad);
    return rv != APR_SUCCESS ? ctl_fail(c, rv, c->pos[0]) : im.bad ? CTL_FAILED : CTL_OK;
}

int ctl_admin_add(ctl_t *c)
{
    const char *name = "", *role = "super_admin", *password, *id = "";
    int from_stdin = 0, external = 0;
    const ctl_option_t options[] = {{"name", &name, NULL}, {"role", &role, NULL},
                                    {"password-stdin", NULL, &from_stdin}, {"external", NULL, &external},
                                    {NULL, NULL, NULL}};
    apr_status_t rv;

    if (!ctl_args(c, options, 1)) {
        return CTL_USAGE;
    }
    if (external) {
        rv = mdm_admin_create_named(c->ctx, "external", c->pos[0], name, role, NULL, &id);
    } else if ((password = ctl_password(c))) {
        rv = mdm_admin_create_named(c->ctx, "local", c->pos[0], name, role, password, &id);
    } else {
        return CTL_USAGE;
    }
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, c->pos[0]);
    }
    printf("%s\n", id);
    return CTL_OK;
}

int ctl_admin_password(ctl_t *c)
{
    int from_stdin = 0;
    const ctl_option_t options[] = {{"password-stdin", NULL, &from_stdin}, {NULL, NULL, NULL}};
    const char *password, *id = NULL, *role;
    apr_status_t rv;

    if (!ctl_args(c, options, 1) || !(password = ctl_password(c))) {
        return CTL_USAGE;
    }
    WITH_DB(c, rv, mdm_admin_find(db, c->pos[0], &id, &role));
    if (rv == APR_SUCCESS) {
        rv = mdm_admin_password(c->ctx, id, password, 0);
    }
    return rv == APR_SUCCESS ? CTL_OK : ctl_fail(c, rv, c->pos[0]);
}

int ctl_admin_list(ctl_t *c)
{
    apr_array_header_t *rows;
    apr_status_t rv;

    if (!ctl_args(c, NULL, 0)) {
        return CTL_USAGE;
    }
    WITH_DB(c, rv, mdm_q_ctl_admins(db, &rows));
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, "administrators");
    }
    for (int i = 0; i < rows->nelts; i++) {
        const mdm_q_ctl_admins_t *r = &APR_ARRAY_IDX(rows, i, mdm_q_ctl_admins_t);

        printf("%s\t%s\t%s\t%s\t%s%s\n", r->id, r->login, r->name, r->kind, r->role, r->disabled ? "\tdisabled" : "");
    }
    return CTL_OK;
}

static apr_status_t add_token(ctl_t *c, mdm_db_t *db, const char *admin, apr_int64_t expires_ms, const char **token)
{
    const char *id;
    apr_status_t rv = mdm_db_begin(db);

    if (rv == APR_SUCCESS) {
        rv = mdm_admin_token(db, admin, NULL, c->pos[1], expires_ms, &id, token);
    }
    return mdm_db_end(db, rv);
}

int ctl_token_add(ctl_t *c)
{
    const char *days_text = "365", *token, *id = NULL, *role;
    const ctl_option_t options[] = {{"days", &days_text, NULL}, {NULL, NULL, NULL}};
    apr_int64_t days;
    apr_status_t rv;

    if (!ctl_args(c, options, 2)) {
        return CTL_USAGE;
    }
    if (mdm_parse_i64(days_text, 1, TOKEN_DAYS_MAX, &days) != APR_SUCCESS) {
        fprintf(stderr, "mdmctl: --days must be from 1 to %d\n", TOKEN_DAYS_MAX);
        return CTL_USAGE;
    }
    WITH_DB(c, rv, mdm_admin_find(db, c->pos[0], &id, &role));
    if (rv == APR_SUCCESS) {
        WITH_DB(c, rv, add_token(c, db, id, mdm_now_ms(c->ctx) + days * DAY_MS, &token));
    }
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, c->pos[0]);
    }
    printf("%s\n", token); /* shown once: only its hash is kept */
    return CTL_OK;
}
