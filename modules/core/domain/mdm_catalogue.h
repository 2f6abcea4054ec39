/* Owns the catalogue of policy settings (POL-04): the tables that conf/settings.json becomes at build time, and what follows from them alone –
 * presets, checks of what an administrator wrote, dependencies. Engine, API, console, documentation read the same rows. Pure. */
#ifndef MDM_CATALOGUE_H
#define MDM_CATALOGUE_H

#include "base/mdm_json.h"

/* What a value may be in a policy's JSON. "inherit" and null (not set) always may. */
typedef enum {
    MDM_SET_BOOL,   /* true, false */
    MDM_SET_INT,    /* min … max */
    MDM_SET_CHOICE, /* the id of one of the choices, a string */
    MDM_SET_TEXT,   /* min … max bytes of UTF-8, no control characters */
    MDM_SET_SERVER  /* id of an ActiveSync server; that it exists is checked where the database is */
} mdm_set_kind_e;

/* Which of two values is the stricter one; also how several settings join that are carried by one key. */
typedef enum {
    MDM_STRICT_NONE,     /* neither: the nearer policy decides */
    MDM_STRICT_OR,       /* true */
    MDM_STRICT_AND,      /* false */
    MDM_STRICT_MAX,
    MDM_STRICT_MIN,
    MDM_STRICT_MIN_POSITIVE /* 0 = no limit, the weakest */
} mdm_strict_e;

enum { MDM_LEVEL_NONE, MDM_LEVEL_LOW, MDM_LEVEL_MODERATE, MDM_LEVEL_STRICT, MDM_LEVEL_HIGH, MDM_LEVELS };

typedef struct mdm_choice_t {
    const char *id, *group; /* group: region of a rating, "" = none */
    double number;          /* what is sent */
} mdm_choice_t;

/* How one channel carries a setting. A setting may have several carriers in a channel, several settings may share a key: `strict` joins them. */
typedef struct mdm_carrier_t {
    const char *channel;       /* apple, eas, android */
    const char *payload;       /* Apple payload type; "" elsewhere */
    const char *key;           /* payload key, EASProvisionDoc element, agent key */
    const char *as;            /* same: the value; not: its inverse; const: `number` if the value is true, else nothing;
                                * const_bool: true/false by `number` if the value is true, else nothing; number: a choice's number as an integer;
                                * real: as a real number; text; from: `number` if the value is at least `min`, else nothing;
                                * account: decides what the compiler writes there of the mail account */
    double number;             /* const*: the value; same with integers: the factor (minutes to seconds: 60) */
    apr_int64_t min, max;      /* clamp of integers; both 0: none */
    mdm_strict_e strict;
    const char *since, *until; /* OS version (EAS: protocol version) that knows it first, and the first that no longer does; NULL */
    const char *deprecated;    /* version since when it may have no effect; NULL */
    int supervised;            /* 1: on supervised devices only */
    const char *supervised_since; /* with supervised: older OS versions do it without; NULL: all need it */
    int user_enrollment;       /* 1: legal there; 0: not sent */
    const char *unless;        /* id of a setting that, being true, takes this carrier away; NULL */
} mdm_carrier_t;

typedef struct mdm_depend_t {
    const char *setting;
    const char *value; /* JSON that the other one must have */
    int inherit;       /* 1: "inherit" will do as well */
} mdm_depend_t;

typedef struct mdm_setting_t {
    const char *id;       /* apple.camera, security.min_length, email.account_name */
    const char *type;     /* device_control security email */
    const char *platform; /* apple, android, eas; "" = all */
    const char *tab;
    mdm_set_kind_e kind;
    apr_int64_t min, max;
    mdm_strict_e strict;
    const char *pair;     /* settings of other platforms with the same word mean the same thing (POL-07); NULL */
    const char *levels[MDM_LEVELS]; /* JSON of the preset: NONE is "inherit", null = not set */
    const mdm_choice_t *choices;   /* ends with id == NULL; NULL: none */
    const mdm_depend_t *depends;   /* all must hold; ends with setting == NULL; NULL: none */
    const mdm_carrier_t *carriers; /* ends with channel == NULL; NULL: stored, sent nowhere */
} mdm_setting_t;

/* The table, in the order of the file; ends with id == NULL. */
extern const mdm_setting_t mdm_settings[];
/* Indices of the same rows by id, for searching. */
extern const unsigned short mdm_settings_by_id[];
extern const apr_size_t mdm_settings_count;
/* The file itself, compact JSON, for the console's editor. */
extern const char mdm_settings_json[];

/* NULL if there is none. */
const mdm_setting_t *mdm_setting_find(const char *id);
/* The number behind a choice's id; NULL if it is none of them. */
const mdm_choice_t *mdm_setting_choice(const mdm_setting_t *s, const char *id);
/* Index of "none" … "high"; −1. */
int mdm_level_named(const char *name);
/* Settings of a type with both columns preset: {"<setting>": {"corporate": v, "personal": v}}; what is "inherit" in both is left out. New
 * reference. */
json_t *mdm_level_settings(const char *type, int corporate, int personal);
/* True if v is possible for s, "inherit" and null included. */
int mdm_setting_value_ok(const mdm_setting_t *s, const json_t *v);
/* Checks the settings of a version, {"<setting>": {"corporate": v, "personal": v}}, an absent one is "inherit": known, of this type, both columns
 * possible, dependencies kept in each column (a child that has a value while its parent has one that forbids it; false says no more than the parent
 * does, so it is always possible). MDM_EINPUT names "settings.<id>.<column>" and what is possible. */
apr_status_t mdm_settings_check(mdm_ctx_t *ctx, const char *type, json_t *settings);
/* True if the dependencies of s hold among effective values: {"<setting>": v}. What is absent or null restricts nothing: a switch is off, something
 * to allow is allowed. They always hold for false, which matters where the device does not obey the parent. */
int mdm_setting_depends_ok(const mdm_setting_t *s, const json_t *values);
/* -1, 0, 1: a is weaker than b, alike, stricter. */
int mdm_strict_compare(mdm_strict_e strict, double a, double b);
/* The stricter of two values of s (borrowed); NULL and null mean not set and are the weaker one. Where neither is stricter: a. */
const json_t *mdm_setting_stricter(const mdm_setting_t *s, const json_t *a, const json_t *b);

#endif
