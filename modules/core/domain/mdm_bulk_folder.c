/* Folders as the rows of bulk files name them. */
#include "domain/mdm_bulk.h"

#include <string.h>
#include <apr_strings.h>
#include "domain/mdm_folder.h"
#include "mdm_sql_gen.h"

struct mdm_bulk_folders_t {
    apr_array_header_t *rows; /* those that the administrator may see */
    apr_hash_t *by_id;
};

apr_status_t mdm_bulk_folders(mdm_db_t *db, mdm_bulk_folders_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_bulk_folders_t *f = apr_pcalloc(ctx->pool, sizeof(*f));
    apr_status_t rv = mdm_q_bulk_folders(db, ctx->actor.limit, MDM_FOLDERS_MAX, &f->rows);
    int i;

    f->by_id = apr_hash_make(ctx->pool);
    for (i = 0; rv == APR_SUCCESS && i < f->rows->nelts; i++) {
        mdm_q_bulk_folders_t *row = &APR_ARRAY_IDX(f->rows, i, mdm_q_bulk_folders_t);

        apr_hash_set(f->by_id, row->id, APR_HASH_KEY_STRING, row);
    }
    *out = f;
    return rv;
}

/* Whether the folder's name, and those of the folders above it, are the end of this path; path is in lower case. */
static int ends_in(apr_pool_t *p, const mdm_bulk_folders_t *f, const mdm_q_bulk_folders_t *row, const char *path)
{
    apr_size_t left = strlen(path);

    for (; row; row = row->parent_id ? apr_hash_get(f->by_id, row->parent_id, APR_HASH_KEY_STRING) : NULL) {
        const char *name = mdm_lower(p, row->name);
        apr_size_t n = strlen(name);

        if (n > left || memcmp(path + left - n, name, n) != 0) {
            return 0;
        }
        left -= n;
        while (left && path[left - 1] == ' ') {
            left--;
        }
        if (!left) {
            return 1;
        }
        if (path[--left] != '/') {
            return 0;
        }
        while (left && path[left - 1] == ' ') {
            left--;
        }
    }
    return 0;
}

const char *mdm_bulk_folder(apr_pool_t *p, const mdm_bulk_folders_t *f, const char *text, const char **id)
{
    const char *path = mdm_lower(p, text + (*text == '/'));
    const mdm_q_bulk_folders_t *found = apr_hash_get(f->by_id, path, APR_HASH_KEY_STRING);
    int i;

    for (i = 0; i < f->rows->nelts && !apr_hash_get(f->by_id, path, APR_HASH_KEY_STRING); i++) {
        const mdm_q_bulk_folders_t *row = &APR_ARRAY_IDX(f->rows, i, mdm_q_bulk_folders_t);

        if (ends_in(p, f, row, path)) {
            if (found) {
                return "is the name of several folders: give the path, like Europe/Berlin";
            }
            found = row;
        }
    }
    if (!found || !strcmp(found->kind, "pending")) {
        return "is no folder that you may use";
    }
    *id = found->id;
    return NULL;
}
