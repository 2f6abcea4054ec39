/* Decides which records of one person are one phone (spec 04): what a managed record (Apple MDM, agent) and a mail record know is brought into one form,
 * then compared. Pure: no database, no clock; the result does not depend on the order of the records. mdm_match_run.h applies it. */
#ifndef MDM_MATCH_H
#define MDM_MATCH_H

#include <apr_tables.h>
#include "base/mdm_text.h"

/* How firmly a mail record stands where it stands. */
enum {
    MDM_MATCH_FREE,   /* its place is to be found */
    MDM_MATCH_GUESS,  /* on a managed device by likeness: a certain key is stronger */
    MDM_MATCH_FIRM,   /* by a certain key */
    MDM_MATCH_SAID    /* somebody said so, whatever keys say; one that says otherwise is told */
};

/* Whether somebody else has the DeviceId of a mail record, too: a mailbox that several people read, a phone that changed hands, a log-in that is another's by now. */
enum {
    MDM_MATCH_OURS,
    MDM_MATCH_SHARED, /* another person's mail app has it */
    MDM_MATCH_THEIRS  /* another person's device has told it */
};

/* What a record says of its phone, as it came; NULL or "": nothing. */
typedef struct mdm_match_said_t {
    const char *id;
    const char *device_id;   /* the object that it stands on */
    const char *class;       /* mail: "native", "outlook:<app>", "other:<n>"; NULL: a managed record */
    const char *eas_id;      /* mail: its DeviceId; managed: the one that it has told, or that was set on it by us */
    const char *serial, *imei, *imei2, *meid;
    const char *platform, *maker, *model, *product, *os_version, *build, *phone;
    const char *device_type, *user_agent; /* of a mail client */
    apr_int64_t first_ms;    /* managed: when it was enrolled; mail: first contact; 0: not known */
    int linked;              /* mail: MDM_MATCH_FREE … */
    int whose;               /* mail: MDM_MATCH_OURS …; else only certain keys count */
    int told;                /* mail: only a mail server has told of it */
    int silent;              /* mail: for so long that it holds no place against what is certain */
} mdm_match_said_t;

#define MDM_MATCH_IDS 2
#define MDM_MATCH_DERIVED 3

/* The same in one form; "" where nothing is known. */
typedef struct mdm_match_record_t {
    const char *id, *device_id, *class;
    int mail, linked, whose, told, silent;
    const char *eas_id;                        /* as mdm_eas_key() */
    const char *serial;
    const char *imei[MDM_MATCH_IDS], *meid;    /* 14 digits; 14 hexadecimal digits */
    const char *from_serial;                   /* DeviceId that old Apple devices make of their serial number */
    const char *from_imei[MDM_MATCH_IDS][MDM_MATCH_DERIVED]; /* DeviceIds that Android's clients make of an IMEI */
    const char *platform, *maker, *model, *type, *build, *phone;
    int os_major;                              /* 0: not known */
    apr_int64_t first_ms;
} mdm_match_record_t;

/* Everything lives as long as p. */
void mdm_match_read(apr_pool_t *p, const mdm_match_said_t *said, mdm_match_record_t *out);
/* The first 14 digits of an IMEI or IMEISV; NULL for a masked, placeholder or wrong one (MAT-01). */
const char *mdm_match_imei(apr_pool_t *p, const char *text);
/* A serial number as it is compared: capitals and digits alone; NULL for a placeholder or what is too short to be one. */
const char *mdm_match_serial(apr_pool_t *p, const char *text);

/* How far likeness goes; each takes more than the one before. */
typedef enum mdm_match_mode_e {
    MDM_MATCH_STRICT,       /* certain keys, and one candidate that is far ahead of all others ("strong") */
    MDM_MATCH_STANDARD,     /* and the only one, if nothing speaks against it ("sole") */
    MDM_MATCH_OUTLOOK_SOLE  /* and the only Outlook of a person with one managed device ("outlook_sole") */
} mdm_match_mode_e;
extern const char *const mdm_match_modes[]; /* by that; NULL-terminated */

/* One managed record as candidate of a mail record. */
typedef struct mdm_match_candidate_t {
    int managed;          /* index */
    double score;
    const char *why;      /* what was equal and what not: "model=,maker=,build!" */
    const char *excluded; /* NULL, or why it can't be: "platform", "model", "imei", "easid", "serial", "split", "maker", "type", "taken", "person" */
} mdm_match_candidate_t;

/* What became of one mail record. */
typedef struct mdm_match_found_t {
    int mail, managed;             /* indexes; managed -1: none */
    const char *tier;              /* "exact" or "attr" */
    const char *rule, *value;      /* exact: "easid", "serial", "imei", "imei_id"; attr: "strong", "sole" or "outlook_sole", and what was compared */
    double score, second;          /* attr: of this candidate and of the best other one on either side */
    const char *code;              /* without a match: "multiple_exact", "slot_taken", "ambiguous", "no_candidate", "contradicts" (what somebody has said),
                                    * "owner_conflict" */
    apr_array_header_t *candidates; /* of mdm_match_candidate_t, the best first; every managed record of the person is one */
} mdm_match_found_t;

/* A pair that an administrator has split: never again (MAT-03). */
typedef struct mdm_match_split_t {
    const char *a, *b; /* ids of records, in any order */
} mdm_match_split_t;

#define MDM_MATCH_MAX 50 /* records of a kind that are compared; more of one person are for people */

/* One that was only told of is in nobody's way that is here: it takes a place that nobody else has.
 * Answers one row for each mail record of the array that is free, and for those that a certain key puts elsewhere or on the same device (not: what somebody
 * has said to be there), in the order of their ids. records: of mdm_match_record_t of one person. */
apr_array_header_t *mdm_match_decide(apr_pool_t *p, const apr_array_header_t *records, const mdm_match_split_t *splits, int n_splits, mdm_match_mode_e mode);

#endif
