/* What the tests of mail records share: the zone of apple_test.h, made for each test, with a second person. */
#ifndef MAIL_TEST_H
#define MAIL_TEST_H

#include "apple_test.h"

static zone_t *z;
static const char *ben;

static int setup(void **state)
{
    z = zone_make();
    assert_int_equal(mdm_person_create(z->t->ctx, "ben", "Ben Example", "", "", "correct horse battery", &ben), APR_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

#endif
