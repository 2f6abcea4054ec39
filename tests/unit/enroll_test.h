/* A pending enrolment in one line. */
#ifndef ENROLL_TEST_H
#define ENROLL_TEST_H

#include "domain/mdm_enroll.h"

static inline apr_status_t pending_create(mdm_db_t *db, const mdm_person_t *person, const char *platform, const char *ownership, const char *level,
                                          const char *origin, mdm_pending_t **out, const char **token)
{
    const mdm_provision_t how = {.platform = platform, .ownership = ownership, .level = level, .origin = origin};
    int made;

    return mdm_pending_provision(db, person, &how, out, token, &made);
}

#endif
