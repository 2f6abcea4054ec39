/* Two people of the built-in source, on a real database, with keys. */
#ifndef PEOPLE_TEST_H
#define PEOPLE_TEST_H

#include "dbtest.h"

#include "base/mdm_seal.h"
#include "domain/mdm_enroll.h"

typedef struct fix_t {
    dbtest_t *t;
    mdm_db_t *db;
    mdm_person_t *anna, *ben; /* who has no mail address */
    const char *source;
} fix_t;

static inline int people_setup(void **state)
{
    dbtest_t *t = dbtest_make(1);
    fix_t *f = apr_pcalloc(t->pool, sizeof(*f));
    const char *anna, *ben;
    mdm_keyring_t *keys;

    f->t = t;
    assert_int_equal(mdm_keyring_parse(t->ctx, t->pool, mdm_keyring_new(t->pool), &keys), APR_SUCCESS);
    t->env.keys = keys;
    assert_int_equal(mdm_person_create(t->ctx, "anna", "Anna Example", "Anna@Example.org", "", "right-Pass-1", &anna), APR_SUCCESS);
    assert_int_equal(mdm_person_create(t->ctx, "ben", "Ben Example", "", "", "right-Pass-1", &ben), APR_SUCCESS);
    assert_int_equal(mdm_db_open(t->ctx, &f->db), APR_SUCCESS);
    assert_int_equal(mdm_local_source(f->db, &f->source), APR_SUCCESS);
    assert_int_equal(mdm_person_get(f->db, anna, &f->anna), APR_SUCCESS);
    assert_int_equal(mdm_person_get(f->db, ben, &f->ben), APR_SUCCESS);
    *state = f;
    return 0;
}

/* The same, who may enrol. */
static inline int people_setup_demo(void **state)
{
    fix_t *f;

    people_setup(state);
    f = *state;
    assert_int_equal(mdm_enroll_policy_create_demo(f->db, f->source), APR_SUCCESS);
    return 0;
}

static inline int people_teardown(void **state)
{
    fix_t *f = *state;

    mdm_db_close(f->db);
    dbtest_end(f->t);
    return 0;
}

#endif
