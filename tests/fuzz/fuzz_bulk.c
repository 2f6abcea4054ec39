/* Fuzz target: rows of bulk files (SEC-03, PEN-06). Whatever a cell says, the row is one that can be made, or tells its fault by a column's title. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <apr_general.h>
#include "domain/mdm_bulk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct file_t {
    mdm_ctx_t *ctx;
    int titles, at[MDM_BULK_COLUMNS];
} file_t;

static void one_of(const char *said, const char *words)
{
    const char *at = strstr(words, said);

    if (*said && (!at || (at[strlen(said)] && at[strlen(said)] != ' ')))
        abort();
}

static void look(const mdm_bulk_row_t *row)
{
    const char *texts[] = {row->user, row->mail, row->phone, row->otp, row->folder, row->serial, row->imei, row->ownership, row->platform, row->level,
                           row->notify, row->language};
    unsigned i;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i] ? !mdm_utf8_valid(texts[i], strlen(texts[i])) : !row->error)
            abort();
    if (!row->error != !row->field || (row->field && (!*row->field || strchr(row->field, '|'))))
        abort();
    if (row->error)
        return;
    one_of(row->ownership, "corporate personal");
    one_of(row->platform, "ios android");
    one_of(row->level, "managed email_only");
    one_of(row->notify, "mail sms both");
    one_of(row->language, "en de");
    if (!*row->user || row->count < 1 || row->count > MDM_BULK_COUNT || row->otp_life_ms < 0 || row->valid_from_ms < 0)
        abort();
    if ((*row->phone && *row->phone != '+') || (*row->imei && (strlen(row->imei) != 14 || strspn(row->imei, "0123456789") != 14)))
        abort();
}

static apr_status_t take(void *data, const mdm_csv_row_t *row)
{
    static const mdm_bulk_options_t none = {"", "", "", "", "", 0};
    file_t *f = data;
    mdm_ctx_t *sub;
    mdm_bulk_row_t out;

    if (!f->titles) {
        f->titles = 1;
        return mdm_csv_head(f->ctx, row, mdm_bulk_columns, MDM_BULK_COLUMNS, f->at);
    }
    if (!row->error) {
        sub = mdm_ctx_sub(f->ctx);
        mdm_bulk_row_read(sub, row, f->at, &none, &out);
        look(&out);
        apr_pool_destroy(sub->pool);
    }
    return APR_SUCCESS;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const mdm_env_t env = {0};
    static apr_pool_t *root;
    file_t f = {0};
    mdm_csv_reader_t *r;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    f.ctx = mdm_ctx_make(root, &env, NULL, NULL);
    r = mdm_csv_reader(f.ctx->pool, take, &f);
    if (mdm_csv_feed(r, (const char *)data, size) == APR_SUCCESS)
        mdm_csv_end(r);
    apr_pool_clear(root);
    return 0;
}
