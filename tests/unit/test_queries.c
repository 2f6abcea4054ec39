/* Every query of sql/queries is prepared and executed on the engine, in a transaction that is rolled back (house 3.7.2). */
#include "dbtest.h"

static dbtest_t *t;

static apr_status_t any_row(void *baton, const mdm_cell_t *cells)
{
    return APR_SUCCESS;
}

/* Texts are a valid JSON array, so that they also pass where a query takes one apart. */
static void dummies(const mdm_query_t *q, mdm_arg_t *args, int null)
{
    for (int i = 0; i < q->nargs; i++) {
        args[i] = (mdm_arg_t){q->args[i], null, "[]", 1, 1.5};
    }
}

static void run_query(int id, int null)
{
    const mdm_query_t *q = &mdm_queries[id];
    mdm_arg_t args[64];
    apr_status_t rv;
    mdm_db_t *db;

    assert_true(q->nargs <= 64);
    dummies(q, args, null);
    assert_int_equal(mdm_db_open(t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    rv = q->ncols ? mdm_db_select(db, id, args, any_row, NULL) : mdm_db_exec(db, id, args, NULL);
    mdm_db_rollback(db);
    mdm_db_close(db);
    if (rv != APR_SUCCESS && rv != MDM_ECONFLICT) {
        fail_msg("%s with %s: status %d", q->name, null ? "NULLs" : "values", rv);
    }
}

static void test_each_query_runs(void **state)
{
    assert_true(MDM_Q_COUNT > 20);
    for (int id = 0; id < MDM_Q_COUNT; id++) {
        run_query(id, 0);
    }
}

/* PostgreSQL prepares them under a name once they are asked often: each takes the types of parameters that it gets then. */
static void test_each_kept_query_runs_when_it_is_kept(void **state)
{
    int keeps = 0;

    for (int id = 0; id < MDM_Q_COUNT; id++) {
        keeps += mdm_queries[id].keep;
        for (int i = 0; mdm_queries[id].keep && i < 10; i++) {
            run_query(id, 0);
        }
    }
    assert_true(keeps > 20);
}

static int writes(const mdm_query_t *q)
{
    return strstr(q->sql_pgsql, "INSERT ") || strstr(q->sql_pgsql, "UPDATE ") || strstr(q->sql_pgsql, "DELETE ");
}

/* A column that must not be NULL refuses it when it is written; what reads must take it, and PostgreSQL know its type. */
static void test_each_read_takes_nulls(void **state)
{
    for (int id = 0; id < MDM_Q_COUNT; id++) {
        if (!writes(&mdm_queries[id]) && !strstr(mdm_queries[id].sql_pgsql, "LIMIT")) {
            run_query(id, 1);
        }
    }
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_query_runs),
        cmocka_unit_test(test_each_kept_query_runs_when_it_is_kept),
        cmocka_unit_test(test_each_read_takes_nulls),
    };
    int rc;

    apr_initialize();
    rc = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return rc;
}
