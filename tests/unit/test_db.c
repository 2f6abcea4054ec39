/* The SQL engine over apr_dbd on a real database (house 3.7.4; REL-01, REL-04). MDM_TEST_DB chooses the engine. */
#include "dbtest.h"
#include "db/mdm_db_priv.h"

#include <apr_thread_proc.h>
#include <libpq-fe.h>

static dbtest_t *t;

static int setup(void **state)
{
    t = dbtest_make(1);
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(t);
    return 0;
}

static mdm_db_t *opened(mdm_ctx_t *ctx)
{
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(ctx, &db), APR_SUCCESS);
    return db;
}

static apr_status_t put(mdm_db_t *db, const char *name, const char *value)
{
    return mdm_q_setting_put(db, name, value, 0, 1);
}

static const char *get(mdm_db_t *db, const char *name)
{
    mdm_q_setting_get_t *row;
    apr_status_t rv = mdm_q_setting_get(db, name, &row);

    if (rv == APR_NOTFOUND) {
        assert_null(row);
        return NULL;
    }
    assert_int_equal(rv, APR_SUCCESS);
    return row->value;
}

static apr_status_t node(mdm_db_t *db, const char *id, const char *name)
{
    return mdm_q_device_event_add(db, id, NULL, NULL, 1, name, "{}");
}

static void test_params(void **state)
{
    static const char *const bad[] = {"", "sqlite3", "sqlite3:", "mysql:x", "SQLITE3:/x", " pgsql:x"};
    const char *driver, *rest;
    const mdm_dbpool_t *pool;

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mdm_db_params(t->ctx, bad[i], &driver, &rest), MDM_EINPUT);
        assert_int_equal(mdm_dbpool_direct(t->pool, bad[i], &pool), MDM_EINPUT);
    }
    assert_int_equal(mdm_db_params(t->ctx, "pgsql:host=/run dbname=x", &driver, &rest), APR_SUCCESS);
    assert_string_equal(driver, "pgsql");
    assert_string_equal(rest, "host=/run dbname=x");
}

static void test_text_comes_back(void **state)
{
    static const char *const values[] = {"", "x", "%s %lld %% $1 ? :name", "it's \"q\" \\ \n\t", "äöü € 😀", "null"};
    mdm_db_t *db = opened(t->ctx);

    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        assert_int_equal(put(db, values[i], values[i]), APR_SUCCESS);
        assert_string_equal(get(db, values[i]), values[i]);
    }
    assert_null(get(db, "absent"));
    mdm_db_close(db);
}

static void test_null_is_not_empty(void **state)
{
    mdm_db_t *db = opened(t->ctx);
    mdm_q_job_add_t *added;
    mdm_q_job_claim_t *job;

    assert_int_equal(mdm_q_job_add(db, "j1", "k", NULL, "{}", 1, 1, 1, "", 0, &added), APR_SUCCESS);
    assert_int_equal(mdm_q_job_claim(db, "k", "me", 5, 10, &job), APR_SUCCESS);
    assert_null(job->unique_key);
    assert_int_equal(mdm_q_job_add(db, "j2", "k", "", "{}", 1, 1, 1, "", 0, &added), APR_SUCCESS);
    assert_int_equal(mdm_q_job_claim(db, "k", "me", 5, 10, &job), APR_SUCCESS);
    assert_string_equal(job->unique_key, "");
    mdm_db_close(db);
}

/* The keys of changes since a mark, in order; answers the mark of the next look. */
static apr_int64_t changes(mdm_db_t *db, apr_int64_t mark, apr_array_header_t **keys)
{
    apr_array_header_t *rows;

    assert_int_equal(mdm_q_cache_changes(db, mark, &rows), APR_SUCCESS);
    assert_true(rows->nelts > 0);
    *keys = apr_array_make(mdm_db_ctx(db)->pool, rows->nelts, sizeof(const char *));
    for (int i = 0; i < rows->nelts; i++) {
        const mdm_q_cache_changes_t *row = &APR_ARRAY_IDX(rows, i, mdm_q_cache_changes_t);

        if (!row->seq_null) {
            APR_ARRAY_PUSH(*keys, const char *) = row->key;
        }
        mark = row->mark;
    }
    return mark;
}

static void test_numbers_keep_their_size(void **state)
{
    apr_array_header_t *rows;
    mdm_db_t *db = opened(t->ctx);
    apr_int64_t mark = changes(db, 0, &rows);

    assert_int_equal(rows->nelts, 0);
    assert_int_equal(mdm_q_change_add(db, "a", "b", APR_INT64_MIN, NULL), APR_SUCCESS);
    assert_int_equal(mdm_q_change_add(db, "a", "c", APR_INT64_MAX, NULL), APR_SUCCESS);
    changes(db, mark, &rows);
    assert_int_equal(rows->nelts, 2);
    assert_string_equal(APR_ARRAY_IDX(rows, 1, const char *), "c");
    mark = changes(db, mark, &rows);
    changes(db, mark, &rows);
    assert_int_equal(rows->nelts, 0);
    assert_int_equal(mdm_q_change_prune(db, APR_INT64_MAX, NULL), APR_SUCCESS);
    changes(db, 0, &rows);
    assert_int_equal(rows->nelts, 1);
    assert_string_equal(APR_ARRAY_IDX(rows, 0, const char *), "c");
    mdm_db_close(db);
}

static void test_affected_and_exec1(void **state)
{
    mdm_db_t *db = opened(t->ctx);
    int n = -1;

    assert_int_equal(mdm_q_change_prune(db, 1, &n), APR_SUCCESS);
    assert_int_equal(n, 0);
    assert_int_equal(mdm_q_job_end(db, "none", "x", "done", 1, NULL), APR_NOTFOUND);
    mdm_db_close(db);
}

static void test_conflict_is_told_apart(void **state)
{
    mdm_db_t *db = opened(t->ctx);

    assert_int_equal(node(db, "e1", "x"), APR_SUCCESS);
    assert_int_equal(node(db, "e1", "x"), MDM_ECONFLICT);
    assert_non_null(t->ctx->fail_text);
    /* foreign key: no such device */
    assert_int_equal(mdm_q_device_event_add(db, "e2", "nobody", NULL, 1, "x", "{}"), MDM_ECONFLICT);
    /* and the connection goes on */
    assert_int_equal(node(db, "e3", "x"), APR_SUCCESS);
    mdm_db_close(db);
}

static void test_text_that_is_not_utf8_is_the_callers_fault(void **state)
{
    mdm_db_t *db = opened(t->ctx);

    assert_int_equal(put(db, "a\xff", "x"), MDM_EINPUT);
    assert_int_equal(put(db, "a", "\xed\xa0\x80"), MDM_EINPUT);
    assert_int_equal(put(db, "a", "x"), APR_SUCCESS);
    mdm_db_close(db);
}

static void test_commit_keeps_and_rollback_forgets(void **state)
{
    mdm_db_t *db = opened(t->ctx);

    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_true(mdm_db_in_tx(db));
    assert_int_equal(mdm_db_begin(db), MDM_EUNAVAIL);
    assert_int_equal(put(db, "a", "1"), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    assert_false(mdm_db_in_tx(db));
    assert_int_equal(mdm_db_commit(db), MDM_EUNAVAIL);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(put(db, "a", "2"), APR_SUCCESS);
    mdm_db_rollback(db);
    mdm_db_rollback(db);
    assert_string_equal(get(db, "a"), "1");
    mdm_db_close(db);
}

/* E5c of house.md: a raw COMMIT after an error saves half on SQLite and nothing on PostgreSQL. */
static void test_commit_after_a_failed_statement_saves_nothing(void **state)
{
    mdm_db_t *db = opened(t->ctx);

    assert_int_equal(node(db, "e1", "x"), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(put(db, "half", "1"), APR_SUCCESS);
    assert_int_equal(node(db, "e1", "x"), MDM_ECONFLICT);
    assert_int_equal(put(db, "other", "1"), MDM_ECONFLICT);
    assert_int_equal(mdm_db_commit(db), MDM_ECONFLICT);
    assert_null(get(db, "half"));
    assert_null(get(db, "other"));
    assert_int_equal(put(db, "later", "1"), APR_SUCCESS);
    mdm_db_close(db);
}

static void test_a_forgotten_transaction_is_rolled_back(void **state)
{
    mdm_ctx_t *sub = mdm_ctx_sub(t->ctx);
    mdm_db_t *db = opened(sub);

    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(put(db, "lost", "1"), APR_SUCCESS);
    apr_pool_destroy(sub->pool);
    db = opened(t->ctx);
    assert_null(get(db, "lost"));
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    mdm_db_close(db);
}

typedef struct seen_t {
    int n;
    char last[80];
} seen_t;

static void note_change(void *baton, const char *kind, const char *key)
{
    seen_t *s = baton;

    s->n++;
    snprintf(s->last, sizeof(s->last), "%s/%s", kind, key);
}

static void test_changes_are_announced_after_commit_only(void **state)
{
    seen_t seen = {0, ""};
    mdm_db_t *db;

    t->env.changed = note_change;
    t->env.changed_baton = &seen;
    db = opened(t->ctx);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_change_add(db, "device", "a"), APR_SUCCESS);
    assert_int_equal(seen.n, 0);
    mdm_db_rollback(db);
    assert_int_equal(seen.n, 0);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(mdm_change_add(db, "device", "a"), APR_SUCCESS);
    assert_int_equal(mdm_change_add(db, "device", "b"), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    assert_int_equal(seen.n, 2);
    assert_string_equal(seen.last, "device/b");
    assert_int_equal(mdm_change_add(db, "zone", "c"), APR_SUCCESS);
    assert_int_equal(seen.n, 3);
    mdm_db_close(db);
}

/* A change of an open transaction is not passed over: it is seen once it commits, though a later one was seen before (and
 * is seen again: readers know what they have applied). */
static void test_changes_are_never_overtaken(void **state)
{
    mdm_ctx_t *other = dbtest_ctx(t, NULL, NULL);
    apr_array_header_t *rows;
    apr_int64_t mark;
    mdm_db_t *a = opened(t->ctx), *b = opened(other);

    if (mdm_db_is_sqlite(a)) { /* one writer at a time: nothing to overtake */
        assert_int_equal(mdm_db_begin(a), APR_SUCCESS);
        assert_int_equal(mdm_db_begin(b), MDM_EUNAVAIL);
    } else {
        mark = changes(a, 0, &rows);
        assert_int_equal(mdm_db_begin(a), APR_SUCCESS);
        assert_int_equal(mdm_change_add(a, "device", "first"), APR_SUCCESS);
        assert_int_equal(mdm_change_add(b, "device", "second"), APR_SUCCESS);
        mark = changes(b, mark, &rows);
        assert_int_equal(rows->nelts, 1);
        assert_string_equal(APR_ARRAY_IDX(rows, 0, const char *), "second");
        assert_int_equal(mdm_db_commit(a), APR_SUCCESS);
        mark = changes(b, mark, &rows);
        assert_int_equal(rows->nelts, 2);
        assert_string_equal(APR_ARRAY_IDX(rows, 0, const char *), "first");
        changes(b, mark, &rows);
        assert_int_equal(rows->nelts, 0);
    }
    mdm_db_close(a);
    mdm_db_close(b);
}

static void test_schema_change_by_another_connection(void **state)
{
    mdm_db_t *db = opened(t->ctx);

    assert_int_equal(put(db, "a", "1"), APR_SUCCESS);
    assert_string_equal(get(db, "a"), "1");
    assert_int_equal(dbtest_sql(t, "ALTER TABLE zone_setting ADD COLUMN extra TEXT"), 0);
    assert_string_equal(get(db, "a"), "1");
    assert_int_equal(dbtest_sql(t, "ALTER TABLE zone_setting ADD COLUMN more TEXT"), 0);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(put(db, "a", "2"), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    assert_string_equal(get(db, "a"), "2");
    mdm_db_close(db);
}

/* Ends the server process of a connection, as a restart of the database server does. */
static void cut(mdm_db_t *db)
{
    mdm_q_schema_version_found_t *row;

    assert_int_equal(mdm_q_schema_version_found(db, &row), APR_SUCCESS);
    dbtest_sql(t, "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity " /* waits until it is gone */
                  "WHERE datname = current_database() AND pid <> pg_backend_pid()");
}

static void test_lost_connection(void **state)
{
    mdm_ctx_t *quiet = mdm_ctx_make(t->pool, &t->env, NULL, NULL);
    mdm_db_t *db = opened(quiet);

    if (mdm_db_is_sqlite(db)) { /* there is no connection to lose */
        mdm_db_close(db);
        return;
    }
    assert_int_equal(put(db, "a", "1"), APR_SUCCESS);
    cut(db);
    assert_string_equal(get(db, "a"), "1"); /* reads are repeated */
    cut(db);
    assert_int_equal(put(db, "b", "1"), MDM_EUNAVAIL); /* writes are not */
    assert_int_equal(put(db, "b", "1"), APR_SUCCESS);  /* but the next one has a new connection */
    cut(db);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS); /* nothing was done yet: repeated */
    assert_int_equal(put(db, "c", "1"), APR_SUCCESS);
    cut(db);
    assert_int_equal(put(db, "d", "1"), MDM_EUNAVAIL);
    assert_int_equal(mdm_db_commit(db), MDM_EUNAVAIL);
    assert_null(get(db, "c"));
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(put(db, "e", "1"), APR_SUCCESS);
    cut(db);
    assert_int_equal(mdm_db_commit(db), MDM_EUNAVAIL);
    assert_null(get(db, "e"));
    mdm_db_close(db);
}

typedef struct captured_t {
    char text[1000];
    int level;
} captured_t;

static int all_levels(void *baton, int level)
{
    return 1;
}

static void capture(void *baton, int level, const char *id, apr_status_t rv, const char *text)
{
    captured_t *c = baton;

    c->level = level;
    snprintf(c->text, sizeof(c->text), "%s", text);
}

static const mdm_logsink_t capture_sink = {all_levels, capture};

/* PostgreSQL's texts quote the row: "Key (id)=(…) already exists". */
static void test_log_lines_have_no_row_values(void **state)
{
    captured_t c = {"", 0};
    mdm_ctx_t *ctx = mdm_ctx_make(t->pool, &t->env, &capture_sink, &c);
    mdm_db_t *db = opened(ctx);

    assert_int_equal(node(db, "the-secret", "x"), APR_SUCCESS);
    assert_int_equal(node(db, "the-secret", "x"), MDM_ECONFLICT);
    assert_int_equal(c.level, MDM_LOG_DEBUG);
    assert_null(strstr(c.text, "the-secret"));
    assert_null(strchr(c.text, '\n'));
    assert_non_null(strstr(c.text, "device_event_add"));
    mdm_db_close(db);
    dbtest_sql(t, "DROP TABLE zone_setting");
    db = opened(ctx);
    assert_int_equal(put(db, "the-secret", "the-secret"), MDM_EUNAVAIL);
    assert_int_equal(c.level, MDM_LOG_ERR);
    assert_null(strstr(c.text, "the-secret"));
    mdm_db_close(db);
}

static void test_statements_are_counted(void **state)
{
    mdm_db_t *db = opened(t->ctx);
    apr_uint64_t before = t->statements;

    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(put(db, "a", "1"), APR_SUCCESS);
    assert_int_equal(put(db, "b", "1"), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    assert_int_equal(t->statements - before, 2);
    mdm_db_close(db);
}

static const char *pragma(const mdm_conn_t *conn, const char *sql)
{
    apr_dbd_results_t *res = NULL;
    apr_dbd_row_t *row = NULL;
    const char *value;

    assert_int_equal(apr_dbd_select(conn->driver, t->pool, conn->handle, &res, sql, 1), 0);
    assert_int_equal(apr_dbd_get_row(conn->driver, t->pool, res, &row, -1), 0);
    value = apr_pstrdup(t->pool, apr_dbd_get_entry(conn->driver, row, 0));
    while (apr_dbd_get_row(conn->driver, t->pool, res, &row, -1) == 0) {
    }
    return value;
}

/* What is acknowledged is on disk (REL-01), and references hold. */
static void test_connections_are_durable_and_strict(void **state)
{
    mdm_conn_t *conn;
    mdm_db_t *db = opened(t->ctx);

    mdm_db_close(db);
    assert_int_equal(t->dbpool.acquire(t->dbpool.baton, t->ctx, &conn), APR_SUCCESS);
    assert_int_equal(mdm_conn_setup(conn), APR_SUCCESS);
    if (conn->sqlite) {
        assert_string_equal(pragma(conn, "PRAGMA journal_mode"), "wal");
        assert_string_equal(pragma(conn, "PRAGMA synchronous"), "2");
        assert_string_equal(pragma(conn, "PRAGMA foreign_keys"), "1");
    } else {
        assert_string_equal(pragma(conn, "SHOW synchronous_commit"), "on");
    }
    t->dbpool.release(t->dbpool.baton, conn, 0);
}

static void test_one_connection_is_lent_once(void **state)
{
    mdm_db_t *a = opened(t->ctx), *b;

    assert_int_equal(mdm_db_open(t->ctx, &b), MDM_EUNAVAIL);
    assert_null(b);
    mdm_db_close(a);
    b = opened(t->ctx);
    mdm_db_close(b);
    mdm_db_close(NULL);
}

static void test_no_database_is_unavailable(void **state)
{
    mdm_env_t none = {0};
    mdm_ctx_t *ctx = mdm_ctx_make(t->pool, &none, NULL, NULL);
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(ctx, &db), MDM_EUNAVAIL);
    assert_int_equal(mdm_dbpool_direct(t->pool, "sqlite3:/nowhere/at/all.db", &none.dbpool), APR_SUCCESS);
    assert_int_equal(mdm_db_open(ctx, &db), MDM_EUNAVAIL);
    assert_int_equal(mdm_dbpool_direct(t->pool, "pgsql:host=/nowhere dbname=x", &none.dbpool), APR_SUCCESS);
    assert_int_equal(mdm_db_open(ctx, &db), MDM_EUNAVAIL);
}

/* ---------------------------------------------------------------- migrations */

static void test_migrate_from_nothing_and_again(void **state)
{
    dbtest_t *own = dbtest_make(0);
    mdm_db_t *db = opened(own->ctx);
    int n = -1;

    assert_int_equal(mdm_schema_found(db, &n), APR_SUCCESS);
    assert_int_equal(n, 0);
    mdm_db_close(db);
    assert_int_equal(mdm_migrate(own->ctx, &n), APR_SUCCESS);
    assert_int_equal(n, mdm_schema_version);
    assert_int_equal(mdm_migrate(own->ctx, &n), APR_SUCCESS);
    assert_int_equal(n, 0);
    db = opened(own->ctx);
    assert_int_equal(mdm_schema_found(db, &n), APR_SUCCESS);
    assert_int_equal(n, mdm_schema_version);
    assert_int_equal(mdm_q_schema_version_add(db, mdm_schema_version + 1, "future", 1), APR_SUCCESS);
    mdm_db_close(db);
    assert_int_equal(mdm_migrate(own->ctx, &n), MDM_ECONFLICT);
    dbtest_end(own);
}

typedef struct racer_t {
    mdm_ctx_t *ctx;
    apr_status_t rv;
    int applied;
} racer_t;

static void *APR_THREAD_FUNC race(apr_thread_t *thread, void *data)
{
    racer_t *r = data;

    r->rv = mdm_migrate(r->ctx, &r->applied);
    return NULL;
}

static void test_two_nodes_migrate_at_once(void **state)
{
    dbtest_t *own = dbtest_make(0);
    apr_thread_t *threads[3];
    racer_t racers[3];
    apr_status_t rv;
    int total = 0;

    for (int i = 0; i < 3; i++) {
        apr_pool_t *p;

        apr_pool_create(&p, NULL); /* pools of threads are not related */
        racers[i].ctx = mdm_ctx_make(p, apr_pmemdup(p, &own->env, sizeof(own->env)), &mdm_log_stderr,
                                     (void *)(intptr_t)MDM_LOG_ERR);
        assert_int_equal(mdm_dbpool_direct(p, own->params, &((mdm_env_t *)racers[i].ctx->env)->dbpool), APR_SUCCESS);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(apr_thread_create(&threads[i], NULL, race, &racers[i], own->pool), APR_SUCCESS);
    }
    for (int i = 0; i < 3; i++) {
        apr_thread_join(&rv, threads[i]);
        assert_int_equal(racers[i].rv, APR_SUCCESS);
        total += racers[i].applied;
        apr_pool_destroy(racers[i].ctx->pool);
    }
    assert_int_equal(total, mdm_schema_version);
    dbtest_end(own);
}

/* ---------------------------------------------------------------- SQLite's one writer */

typedef struct writer_t {
    mdm_ctx_t *ctx;
    int id, failed;
} writer_t;

static void *APR_THREAD_FUNC write_some(apr_thread_t *thread, void *data)
{
    writer_t *w = data;

    for (int i = 0; i < 20; i++) {
        mdm_db_t *db;

        if (mdm_db_open(w->ctx, &db) != APR_SUCCESS) {
            w->failed++;
            continue;
        }
        if (mdm_db_begin(db) != APR_SUCCESS ||
            put(db, apr_psprintf(w->ctx->pool, "w%d.%d", w->id, i), "x") != APR_SUCCESS ||
            mdm_db_commit(db) != APR_SUCCESS) {
            w->failed++;
        }
        mdm_db_close(db);
    }
    return NULL;
}

static void test_writers_wait_for_each_other(void **state)
{
    apr_thread_t *threads[4];
    writer_t writers[4];
    apr_status_t rv;

    for (int i = 0; i < 4; i++) {
        apr_pool_t *p;

        apr_pool_create(&p, NULL);
        writers[i].ctx = mdm_ctx_make(p, apr_pmemdup(p, &t->env, sizeof(t->env)), &mdm_log_stderr,
                                      (void *)(intptr_t)MDM_LOG_ERR);
        assert_int_equal(mdm_dbpool_direct(p, t->params, &((mdm_env_t *)writers[i].ctx->env)->dbpool), APR_SUCCESS);
        writers[i].id = i;
        writers[i].failed = 0;
        assert_int_equal(apr_thread_create(&threads[i], NULL, write_some, &writers[i], t->pool), APR_SUCCESS);
    }
    for (int i = 0; i < 4; i++) {
        apr_thread_join(&rv, threads[i]);
        assert_int_equal(writers[i].failed, 0);
        apr_pool_destroy(writers[i].ctx->pool);
    }
}

/* ---------------------------------------------------------------- statements that PostgreSQL keeps (mdm_db_keep.c) */

/* On the connection of the tests, between two calls of the engine. */
static const char *beside(const char *sql)
{
    apr_dbd_results_t *res = NULL;
    apr_dbd_row_t *row = NULL;
    const char *value = NULL;
    mdm_conn_t *conn;
    int n;

    assert_int_equal(t->dbpool.acquire(t->dbpool.baton, t->ctx, &conn), APR_SUCCESS);
    if (strncmp(sql, "SELECT", 6)) {
        assert_int_equal(apr_dbd_query(conn->driver, conn->handle, &n, sql), 0);
    } else {
        assert_int_equal(apr_dbd_select(conn->driver, t->pool, conn->handle, &res, sql, 1), 0);
        assert_int_equal(apr_dbd_get_row(conn->driver, t->pool, res, &row, -1), 0);
        value = apr_pstrdup(t->pool, apr_dbd_get_entry(conn->driver, row, 0));
        while (apr_dbd_get_row(conn->driver, t->pool, res, &row, -1) == 0) {
        }
    }
    t->dbpool.release(t->dbpool.baton, conn, 0);
    return value;
}

static int kept(void)
{
    return atoi(beside("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'mdm~_%' ESCAPE '~'"));
}

static void asked(mdm_ctx_t *ctx, int times)
{
    mdm_db_t *db = opened(ctx);

    for (int i = 0; i < times; i++) {
        assert_string_equal(get(db, "a"), "1");
    }
    mdm_db_close(db);
}

/* A setting that is asked for often; NULL: not on this engine. */
static mdm_ctx_t *often(void)
{
    mdm_ctx_t *quiet = mdm_ctx_make(t->pool, &t->env, NULL, NULL);
    mdm_db_t *db = opened(quiet);
    int sqlite = mdm_db_is_sqlite(db);

    assert_int_equal(put(db, "a", "1"), APR_SUCCESS);
    mdm_db_close(db);
    asked(quiet, 20);
    return sqlite ? NULL : quiet;
}

static void test_a_statement_is_kept_once_it_is_asked_often(void **state)
{
    mdm_ctx_t *ctx = often();
    mdm_db_t *db;

    if (ctx) {
        assert_int_equal(kept(), 1);
        db = opened(ctx);
        assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
        for (int i = 0; i < 20; i++) {
            assert_int_equal(mdm_change_add(db, "device", apr_psprintf(t->pool, "%d", i)), APR_SUCCESS);
            assert_int_equal(put(db, "b", "2"), APR_SUCCESS); /* has no "-- keep" */
        }
        mdm_db_rollback(db);
        mdm_db_close(db);
        assert_int_equal(kept(), 2); /* a roll-back keeps what was prepared in it */
        asked(ctx, 1);
    }
}

static void test_kept_statements_are_made_again_after_a_while(void **state)
{
    mdm_ctx_t *ctx = often();

    if (ctx) {
        const char *first = beside("SELECT name FROM pg_prepared_statements");

        beside("PREPARE another AS SELECT 1");
        asked(ctx, 6000);
        assert_int_equal(kept(), 1);
        assert_string_equal(beside("SELECT count(*) FROM pg_prepared_statements WHERE name = 'another'"), "1");
        assert_string_not_equal(first, beside("SELECT name FROM pg_prepared_statements WHERE name <> 'another'"));
    }
}

/* What a pooler between us and the server does, and who thinks that the connection is his. */
static void test_kept_statements_that_are_gone(void **state)
{
    mdm_ctx_t *ctx = often();
    mdm_db_t *db;

    if (!ctx) {
        return;
    }
    beside("DISCARD ALL");
    asked(ctx, 20); /* said again */
    assert_int_equal(kept(), 1);
    beside("DEALLOCATE ALL");
    db = opened(ctx);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS); /* in a transaction it can't be: that has ended by the error */
    assert_int_equal(put(db, "a", "2"), APR_SUCCESS);
    assert_int_equal(mdm_db_select(db, MDM_Q_SETTING_GET, (mdm_arg_t[]){{MDM_T_TEXT, 0, "a", 0, 0.0}}, NULL, NULL), MDM_EUNAVAIL);
    assert_int_equal(mdm_db_commit(db), MDM_EUNAVAIL);
    mdm_db_close(db);
    asked(ctx, 20); /* the next one is good */
    assert_int_equal(kept(), 1);
    beside("DISCARD ALL");
    asked(ctx, 40);
    assert_int_equal(kept(), 0); /* three times are enough */
}

static void test_kept_statements_after_a_restart(void **state)
{
    mdm_ctx_t *ctx = often();
    mdm_conn_t *conn;

    if (ctx) {
        dbtest_sql(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
        asked(ctx, 20);
        assert_int_equal(kept(), 1);
        /* as mod_dbd does it: the same connection, reset */
        assert_int_equal(t->dbpool.acquire(t->dbpool.baton, t->ctx, &conn), APR_SUCCESS);
        PQreset(apr_dbd_native_handle(conn->driver, conn->handle));
        t->dbpool.release(t->dbpool.baton, conn, 0);
        for (int i = 0; i < 5; i++) { /* and that is no reason to keep none */
            asked(ctx, 20);
            assert_int_equal(kept(), 1);
        }
    }
}

static void test_kept_statements_after_a_migration(void **state)
{
    mdm_ctx_t *ctx = often();

    if (ctx) {
        assert_int_equal(dbtest_sql(t, "ALTER TABLE zone_setting ALTER COLUMN sealed TYPE INTEGER"), 0);
        asked(ctx, 20);
        assert_int_equal(dbtest_sql(t, "ALTER TABLE zone_setting ALTER COLUMN sealed TYPE BIGINT"), 0);
        asked(ctx, 20);
        assert_int_equal(kept(), 3); /* those of before are of no use, and go with the connection */
    }
}

static void (*direct_release)(void *baton, mdm_conn_t *conn, int broken);

/* As mod_dbd does it: a connection is given out again, whatever the last one has said of it. */
static void given_back(void *baton, mdm_conn_t *conn, int broken)
{
    direct_release(baton, conn, 0);
}

/* REL-02: a transaction that nobody ends would hold the lock of SQLite's writers until the server is restarted. */
static void test_a_connection_of_no_use_has_no_open_transaction(void **state)
{
    mdm_ctx_t *quiet = mdm_ctx_make(t->pool, &t->env, NULL, NULL);
    mdm_db_t *db = opened(quiet);

    direct_release = t->dbpool.release;
    t->dbpool.release = given_back;
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(put(db, "a", "1"), APR_SUCCESS);
    if (mdm_db_is_sqlite(db)) { /* no descriptors left, as far as it can tell */
        assert_int_equal(mdm_db_plain(db, "test", "ATTACH '/nowhere/at/all' AS other"), MDM_EUNAVAIL);
    } else { /* a standby by now */
        assert_int_equal(mdm_db_plain(db, "test", "SET TRANSACTION READ ONLY"), APR_SUCCESS);
        assert_int_equal(put(db, "b", "1"), MDM_EUNAVAIL);
    }
    assert_int_equal(mdm_db_commit(db), MDM_EUNAVAIL);
    mdm_db_close(db);
    db = opened(quiet);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(put(db, "c", "1"), APR_SUCCESS);
    assert_int_equal(mdm_db_commit(db), APR_SUCCESS);
    assert_null(get(db, "a"));
    mdm_db_close(db);
}

/* Whatever is refused before it is sent spoils the transaction as well. */
static void test_commit_after_a_refused_text_saves_nothing(void **state)
{
    mdm_db_t *db = opened(t->ctx);

    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    assert_int_equal(put(db, "a", "1"), APR_SUCCESS);
    assert_int_equal(put(db, "b", "\xff"), MDM_EINPUT);
    assert_int_equal(put(db, "c", "1"), MDM_EINPUT);
    assert_int_equal(mdm_db_commit(db), MDM_EINPUT);
    assert_null(get(db, "a"));
    mdm_db_close(db);
}

/* A pooler between us and the server may give one connection what another one has kept, perhaps of another version of ours. */
static void test_labels_are_a_connections_own(void **state)
{
    mdm_ctx_t *ctx = often();
    const char *first;
    mdm_conn_t *conn;

    if (ctx) {
        first = beside("SELECT name FROM pg_prepared_statements");
        assert_int_equal(t->dbpool.acquire(t->dbpool.baton, t->ctx, &conn), APR_SUCCESS);
        t->dbpool.release(t->dbpool.baton, conn, 1);
        asked(ctx, 20);
        assert_string_not_equal(first, beside("SELECT name FROM pg_prepared_statements"));
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_params),
        T(test_text_comes_back),
        T(test_null_is_not_empty),
        T(test_numbers_keep_their_size),
        T(test_affected_and_exec1),
        T(test_conflict_is_told_apart),
        T(test_text_that_is_not_utf8_is_the_callers_fault),
        T(test_commit_keeps_and_rollback_forgets),
        T(test_commit_after_a_failed_statement_saves_nothing),
        T(test_a_forgotten_transaction_is_rolled_back),
        T(test_changes_are_announced_after_commit_only),
        T(test_changes_are_never_overtaken),
        T(test_schema_change_by_another_connection),
        T(test_lost_connection),
        T(test_log_lines_have_no_row_values),
        T(test_statements_are_counted),
        T(test_connections_are_durable_and_strict),
        T(test_one_connection_is_lent_once),
        T(test_no_database_is_unavailable),
        T(test_writers_wait_for_each_other),
        T(test_a_statement_is_kept_once_it_is_asked_often),
        T(test_kept_statements_are_made_again_after_a_while),
        T(test_kept_statements_that_are_gone),
        T(test_kept_statements_after_a_restart),
        T(test_kept_statements_after_a_migration),
        T(test_labels_are_a_connections_own),
        T(test_a_connection_of_no_use_has_no_open_transaction),
        T(test_commit_after_a_refused_text_saves_nothing),
        cmocka_unit_test(test_migrate_from_nothing_and_again),
        cmocka_unit_test(test_two_nodes_migrate_at_once),
    };
    int rc;

    apr_initialize();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rc;
}
