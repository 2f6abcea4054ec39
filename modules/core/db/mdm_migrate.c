/* The schema: which version is there, and bringing it up to date. */
#include <apr_strings.h>
#include "db/mdm_db_priv.h"

apr_status_t mdm_schema_found(mdm_db_t *db, int *version)
{
    mdm_q_schema_table_there_t *there;
    mdm_q_schema_version_found_t *row;
    apr_status_t rv;

    *version = 0;
    rv = mdm_q_schema_table_there(db, &there);
    if (rv != APR_SUCCESS || !there->found) {
        return rv;
    }
    rv = mdm_q_schema_version_found(db, &row);
    if (rv == APR_SUCCESS) {
        *version = (int)row->version;
    }
    return rv;
}

static apr_status_t apply(mdm_db_t *db, const mdm_migration_t *m)
{
    const char *const *sql = mdm_db_is_sqlite(db) ? m->sqlite : m->pgsql;
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_status_t rv = APR_SUCCESS;

    for (int i = 0; sql[i] && rv == APR_SUCCESS; i++) {
        rv = mdm_db_plain(db, apr_psprintf(ctx->pool, "migration %04d_%s, statement %d", m->version, m->name, i + 1),
                          sql[i]);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_schema_version_add(db, m->version, m->name, mdm_now_ms(ctx));
    }
    return rv;
}

/* The next migration, in one transaction under the lock. *found: the version before. */
static apr_status_t step(mdm_db_t *db, int *found)
{
    mdm_q_schema_lock_t *lock;
    apr_status_t rv;

    rv = mdm_db_begin(db);
    if (rv == APR_SUCCESS) {
        rv = mdm_q_schema_lock(db, &lock);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_schema_table_make(db, NULL);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_schema_found(db, found);
    }
    if (rv == APR_SUCCESS && *found < mdm_schema_version) {
        rv = apply(db, &mdm_migrations[*found]);
    }
    return mdm_db_end(db, rv);
}

apr_status_t mdm_migrate(mdm_ctx_t *ctx, int *applied)
{
    mdm_db_t *db;
    apr_status_t rv;
    int found = 0;

    *applied = 0;
    rv = mdm_db_open(ctx, &db);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    do {
        rv = step(db, &found);
    } while (rv == APR_SUCCESS && found < mdm_schema_version && ++*applied);
    mdm_db_close(db);
    if (rv == APR_SUCCESS && found > mdm_schema_version) {
        return mdm_fail(ctx, MDM_ECONFLICT, NULL, "the database has schema %d, this program knows %d: install the newer "
                        "version", found, mdm_schema_version);
    }
    return rv;
}
