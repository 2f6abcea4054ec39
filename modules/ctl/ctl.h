/* What the commands of mdmctl share. Each command is one function in the table of mdmctl.c. */
#ifndef MDM_CTL_H
#define MDM_CTL_H

#include <stdio.h>
#include <string.h>
#include <apr_strings.h>
#include "base/mdm_seal.h"
#include "db/mdm_db.h"

/* Exit codes: 0 done, 1 it failed, 2 the command line is wrong. */
enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

#define CTL_POSITIONAL 3

/* One option of a command: "--name VALUE" fills value, a switch sets flag. */
typedef struct ctl_option_t {
    const char *name;
    const char **value;
    int *flag;
} ctl_option_t;

typedef struct ctl_t {
    apr_pool_t *p;
    mdm_ctx_t *ctx;
    mdm_env_t *env;
    const char *db, *keys;
    int argc; /* what follows the command's words */
    const char *const *argv;
    const char *pos[CTL_POSITIONAL]; /* filled by ctl_args() */
} ctl_t;

/* Reads options (table ends with name NULL) and exactly `n` other words into c->pos. Says what is wrong; true if fine. */
int ctl_args(ctl_t *c, const ctl_option_t *options, int n);
/* Prints why the last call failed and gives the exit code. */
int ctl_fail(const ctl_t *c, apr_status_t rv, const char *what);
/* A password from standard input: one line; asked for twice without echo if that is a terminal. NULL: said why. */
const char *ctl_password(ctl_t *c);
/* A file of at most 256 KB as text. NULL: said why. */
const char *ctl_file(ctl_t *c, const char *path);

int ctl_migrate(ctl_t *c);
int ctl_check(ctl_t *c);
int ctl_user_add(ctl_t *c);
int ctl_user_password(ctl_t *c);
int ctl_user_list(ctl_t *c);
int ctl_user_import(ctl_t *c);
int ctl_admin_add(ctl_t *c);
int ctl_admin_password(ctl_t *c);
int ctl_admin_list(ctl_t *c);
int ctl_token_add(ctl_t *c);
int ctl_key_new(ctl_t *c);
int ctl_key_check(ctl_t *c);
int ctl_reseal(ctl_t *c);
int ctl_setting_get(ctl_t *c);
int ctl_setting_set(ctl_t *c);
int ctl_push_cert(ctl_t *c);
int ctl_push_renew(ctl_t *c);
int ctl_push_show(ctl_t *c);
int ctl_push_request(ctl_t *c);
int ctl_ca_ensure(ctl_t *c);
int ctl_policy_demo(ctl_t *c);
int ctl_import_jsonl(ctl_t *c);
int ctl_import_nanomdm(ctl_t *c);

#endif
