/* mdmctl: administration on the server's command line. Options, the table of commands, the way in and out. */
#include "ctl.h"

#include <stdlib.h>
#include <termios.h>
#include <sys/stat.h>
#include <unistd.h>
#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_user.h>

#define FILE_MAX (256 * 1024)
#define LINE_LEN 1024

enum { NEED_NOTHING = 0, NEED_KEYS = 1, NEED_DB = 2, NEED_SCHEMA = 6 /* and the database */ };

typedef struct command_t {
    const char *word, *sub; /* sub NULL: one word */
    int (*run)(ctl_t *c);
    int needs;
    const char *usage, *help;
} command_t;

static const command_t commands[] = {
    {"migrate", NULL, ctl_migrate, NEED_DB, "", "bring the database schema up to date"},
    {"check", NULL, ctl_check, NEED_DB, "", "say what is missing: database, schema, keys, authority, push certificate"},
    {"ca", "ensure", ctl_ca_ensure, NEED_SCHEMA | NEED_KEYS, "[--organisation NAME] [--rsa]",
     "make the certification authority if there is none"},
    {"admin", "add", ctl_admin_add, NEED_SCHEMA,
     "LOGIN [--name NAME] [--role ROLE] [--password-stdin | --external]", "add an administrator (role: super_admin)"},
    {"admin", "password", ctl_admin_password, NEED_SCHEMA, "LOGIN [--password-stdin]", "set a new password"},
    {"admin", "list", ctl_admin_list, NEED_SCHEMA, "", "list administrators"},
    {"token", "add", ctl_token_add, NEED_SCHEMA, "ADMIN NAME [--days N]", "make an API token for an administrator"},
    {"user", "add", ctl_user_add, NEED_SCHEMA,
     "LOGIN [--name NAME] [--mail MAIL] [--phone PHONE] [--password-stdin]", "add a person to the local source"},
    {"user", "password", ctl_user_password, NEED_SCHEMA, "LOGIN [--password-stdin]", "set a new password"},
    {"user", "list", ctl_user_list, NEED_SCHEMA, "", "list people"},
    {"user", "import", ctl_user_import, NEED_SCHEMA, "FILE.csv | -", "add people to the local source: login, password, name, mail, phone"},
    {"key", "new", ctl_key_new, NEED_NOTHING, "", "print a key file with one fresh key; to rotate, put its line on top of the old file"},
    {"key", "check", ctl_key_check, NEED_SCHEMA | NEED_KEYS, "", "count what is still sealed under an older key"},
    {"reseal", NULL, ctl_reseal, NEED_SCHEMA | NEED_KEYS, "", "seal everything under the newest key"},
    {"setting", "get", ctl_setting_get, NEED_SCHEMA, "NAME", "print a zone setting (JSON); secret ones need the keys"},
    {"setting", "set", ctl_setting_set, NEED_SCHEMA, "NAME JSON [--secret]",
     "write a zone setting; JSON \"-\" reads standard input"},
    {"push-cert", "import", ctl_push_cert, NEED_SCHEMA | NEED_KEYS, "CERT.pem KEY.pem [--new-topic]",
     "store Apple's push certificate and its key"},
    {"push-cert", "renew", ctl_push_renew, NEED_SCHEMA | NEED_KEYS, "CERT.pem",
     "store the certificate that Apple made of the request, or renewed for the same key"},
    {"push-cert", "request", ctl_push_request, NEED_SCHEMA | NEED_KEYS,
     "--organisation O --country CC --mail APPLE-ACCOUNT [--unit OU] [--name CN] [--place L] [--state ST] [--keep-key]",
     "make a key and a certificate request, and print the request"},
    {"push-cert", "show", ctl_push_show, NEED_SCHEMA | NEED_KEYS, "", "show topic, subject, serial and end of the push certificate"},
    {"import", "nanomdm", ctl_import_nanomdm, NEED_SCHEMA | NEED_KEYS, "'host=… dbname=…' [--dry-run]",
     "take over the devices of a NanoMDM server from its PostgreSQL database"},
    {"import", "jsonl", ctl_import_jsonl, NEED_SCHEMA | NEED_KEYS, "FILE [--dry-run]",
     "take over devices of another server, one JSON object a line; \"-\" reads standard input"},
    {"policy", "demo", ctl_policy_demo, NEED_SCHEMA, "", "make an enrolment policy for everybody in the local source"},
};
#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *to)
{
    fputs("usage: mdmctl [--db DB] [--keys FILE] [--verbose] COMMAND …\n\n"
          "  --db DB      sqlite3:/path/of/the/file or pgsql:host=… dbname=… (or in the environment: MDM_DB)\n"
          "  --keys FILE  sealing keys (or in the environment: MDM_KEYS)\n\n", to);
    for (size_t i = 0; i < NCOMMANDS; i++) {
        const command_t *k = &commands[i];

        fprintf(to, "  %s%s%s%s%s\n      %s\n", k->word, k->sub ? " " : "", k->sub ? k->sub : "", *k->usage ? " " : "",
                k->usage, k->help);
    }
    fputs("\nPasswords are read from standard input, never from the command line.\n"
          "Exit codes: 0 done, 1 failed, 2 wrong command line.\n", to);
}

/* ---------------------------------------------------------------- for the commands */

int ctl_args(ctl_t *c, const ctl_option_t *options, int n)
{
    int found = 0;

    for (int i = 0; i < c->argc; i++) {
        const char *arg = c->argv[i];
        const ctl_option_t *o = options;

        if (strncmp(arg, "--", 2)) {
            if (found == n) {
                fprintf(stderr, "mdmctl: '%s' is one word too many\n", arg);
                return 0;
            }
            c->pos[found++] = arg;
            continue;
        }
        for (; o && o->name && strcmp(o->name, arg + 2); o++) {
        }
        if (!o || !o->name) {
            fprintf(stderr, "mdmctl: unknown option '%s'\n", arg);
            return 0;
        }
        if (o->flag) {
            *o->flag = 1;
        } else if (i + 1 < c->argc) {
            *o->value = c->argv[++i];
        } else {
            fprintf(stderr, "mdmctl: '%s' needs a value\n", arg);
            return 0;
        }
    }
    if (found < n) {
        fprintf(stderr, "mdmctl: something is missing, see mdmctl --help\n");
    }
    return found == n;
}

int ctl_fail(const ctl_t *c, apr_status_t rv, const char *what)
{
    const char *why = c->ctx->fail_text && *c->ctx->fail_text ? c->ctx->fail_text : mdm_error_text(rv);
    char buf[200];

    if (rv == APR_NOTFOUND && !(c->ctx->fail_text && *c->ctx->fail_text)) {
        why = "there is none of this name";
    }
    fprintf(stderr, "mdmctl: %s: %s%s%s\n", what, c->ctx->fail_field && *c->ctx->fail_field ? c->ctx->fail_field : "",
            c->ctx->fail_field && *c->ctx->fail_field ? " " : "", why ? why : apr_strerror(rv, buf, sizeof(buf)));
    return rv == MDM_EINPUT ? CTL_USAGE : CTL_FAILED;
}

/* One line without its end; NULL at end of file or if it is too long. */
static const char *read_line(apr_pool_t *p)
{
    char buf[LINE_LEN], *end;
    const char *line = NULL;

    if (fgets(buf, sizeof(buf), stdin)) {
        end = strpbrk(buf, "\r\n");
        if (end || feof(stdin)) {
            line = apr_pstrmemdup(p, buf, end ? (apr_size_t)(end - buf) : strlen(buf));
        }
    }
    mdm_wipe(buf, sizeof(buf));
    return line;
}

static const char *ask(apr_pool_t *p, const char *prompt)
{
    struct termios was, quiet;
    const char *line;

    tcgetattr(STDIN_FILENO, &was);
    quiet = was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fputs(prompt, stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    line = read_line(p);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
    fputc('\n', stderr);
    return line;
}

const char *ctl_password(ctl_t *c)
{
    const char *first, *again;

    if (isatty(STDIN_FILENO)) {
        first = ask(c->p, "Password: ");
        again = ask(c->p, "Again: ");
        if (first && again && strcmp(first, again)) {
            fputs("mdmctl: the two passwords differ\n", stderr);
            return NULL;
        }
    } else {
        first = read_line(c->p);
    }
    if (!first || !*first) {
        fputs("mdmctl: no password on standard input\n", stderr);
        return NULL;
    }
    return first;
}

const char *ctl_file(ctl_t *c, const char *path)
{
    char *buf = apr_pcalloc(c->p, FILE_MAX + 1);
    apr_size_t len = 0;
    apr_file_t *f;
    apr_status_t rv;
    char why[200];

    rv = apr_file_open(&f, path, APR_FOPEN_READ, 0, c->p);
    if (rv == APR_SUCCESS) {
        rv = apr_file_read_full(f, buf, FILE_MAX + 1, &len);
        apr_file_close(f);
    }
    if (rv == APR_SUCCESS || len > FILE_MAX) {
        fprintf(stderr, "mdmctl: %s is larger than %d KB\n", path, FILE_MAX / 1024);
        return NULL;
    }
    if (rv != APR_EOF) {
        fprintf(stderr, "mdmctl: %s: %s\n", path, apr_strerror(rv, why, sizeof(why)));
        return NULL;
    }
    return buf;
}

/* ---------------------------------------------------------------- in and out */

static int schema_fits(ctl_t *c)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(c->ctx, &db);
    int found;

    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, "database");
    }
    rv = mdm_schema_found(db, &found);
    mdm_db_close(db);
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, "database");
    }
    if (found != mdm_schema_version) {
        fprintf(stderr, "mdmctl: the database has schema %d, this program needs %d: %s\n", found, mdm_schema_version,
                found < mdm_schema_version ? "run mdmctl migrate" : "install the newer version");
        return CTL_FAILED;
    }
    return CTL_OK;
}

static int provide(ctl_t *c, int needs)
{
    mdm_keyring_t *ring;
    const char *driver, *rest;
    apr_status_t rv;

    if (needs == NEED_NOTHING) {
        return CTL_OK;
    }
    if (c->keys) {
        rv = mdm_keyring_load(c->ctx, c->p, c->keys, &ring);
        if (rv != APR_SUCCESS) {
            ctl_fail(c, rv, "sealing keys");
            return CTL_FAILED;
        }
        c->env->keys = ring;
    } else if (needs & NEED_KEYS) {
        fputs("mdmctl: this command needs --keys FILE (or MDM_KEYS)\n", stderr);
        return CTL_USAGE;
    }
    if (!(needs & NEED_DB)) {
        return CTL_OK;
    }
    if (!c->db) {
        fputs("mdmctl: this command needs --db DB (or MDM_DB)\n", stderr);
        return CTL_USAGE;
    }
    rv = mdm_db_params(c->ctx, c->db, &driver, &rest);
    if (rv == APR_SUCCESS) {
        rv = mdm_dbpool_direct(c->p, c->db, &c->env->dbpool);
    }
    if (rv != APR_SUCCESS) {
        return ctl_fail(c, rv, "--db");
    }
    return (needs & NEED_SCHEMA) == NEED_SCHEMA ? schema_fits(c) : CTL_OK;
}

static const command_t *find_command(int argc, const char *const *argv)
{
    for (size_t i = 0; i < NCOMMANDS && argc > 0; i++) {
        if (!strcmp(commands[i].word, argv[0]) &&
            (!commands[i].sub || (argc > 1 && !strcmp(commands[i].sub, argv[1])))) {
            return &commands[i];
        }
    }
    return NULL;
}

/* Who did it, for the audit log. */
static const char *operator_name(apr_pool_t *p)
{
    char *name = NULL;
    apr_uid_t uid;
    apr_gid_t gid;

    if (apr_uid_current(&uid, &gid, p) != APR_SUCCESS || apr_uid_name_get(&name, uid, p) != APR_SUCCESS) {
        name = apr_itoa(p, (int)getuid());
    }
    return apr_pstrcat(p, "mdmctl:", name, NULL);
}

static int run(apr_pool_t *p, int argc, const char *const *argv)
{
    ctl_t *c = apr_pcalloc(p, sizeof(*c));
    const command_t *k;
    int verbose = 0, i, rc;

    c->p = p;
    c->db = getenv("MDM_DB");
    c->keys = getenv("MDM_KEYS");
    for (i = 1; i < argc && !strncmp(argv[i], "--", 2); i++) {
        if (!strcmp(argv[i], "--db") && i + 1 < argc) {
            c->db = argv[++i];
        } else if (!strcmp(argv[i], "--keys") && i + 1 < argc) {
            c->keys = argv[++i];
        } else if (!strcmp(argv[i], "--verbose")) {
            verbose = 1;
        } else if (!strcmp(argv[i], "--help")) {
            usage(stdout);
            return CTL_OK;
        } else {
            fprintf(stderr, "mdmctl: unknown option '%s', see mdmctl --help\n", argv[i]);
            return CTL_USAGE;
        }
    }
    k = find_command(argc - i, argv + i);
    if (!k) {
        usage(stderr);
        return CTL_USAGE;
    }
    c->env = apr_pcalloc(p, sizeof(*c->env));
    c->ctx = mdm_ctx_make(p, c->env, &mdm_log_stderr, (void *)(intptr_t)(verbose ? MDM_LOG_DEBUG : MDM_LOG_WARN));
    c->ctx->actor.name = operator_name(p);
    c->argc = argc - i - (k->sub ? 2 : 1);
    c->argv = argv + i + (k->sub ? 2 : 1);
    if (c->argc == 1 && !strcmp(c->argv[0], "--help")) {
        printf("mdmctl %s%s%s %s\n  %s\n", k->word, k->sub ? " " : "", k->sub ? k->sub : "", k->usage, k->help);
        return CTL_OK;
    }
    rc = provide(c, k->needs);
    return rc == CTL_OK ? k->run(c) : rc;
}

int main(int argc, const char *const *argv)
{
    apr_pool_t *p;
    int rc;

    umask(0027); /* a database file that we make is nobody else's */
    apr_app_initialize(&argc, &argv, NULL);
    apr_pool_create(&p, NULL);
    rc = run(p, argc, argv);
    apr_pool_destroy(p);
    apr_terminate();
    return fflush(stdout) == 0 ? rc : CTL_FAILED;
}
