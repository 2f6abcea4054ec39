/* Inside of mod_mdm_enroll: its configuration, its files and texts, and the tables of its handlers. */
#ifndef MDM_MOD_ENROLL_H
#define MDM_MOD_ENROLL_H

#include "mdm_web.h"
#include "domain/mdm_apple_profile.h"
#include "domain/mdm_enroll.h"
#include "wire/mdm_html.h"

#define ENROLL_BASE "/enroll"
#define ENROLL_DISCOVERY "/.well-known/com.apple.remotemanagement" /* Apple's word: a device asks its account's domain for it */

/* One file of the pages: read once at start, answered from memory. */
typedef struct enroll_file_t {
    const char *name, *type;
    const char *data;
    apr_size_t len;
    const char *etag; /* quoted */
} enroll_file_t;

typedef struct enroll_files_t {
    const enroll_file_t *list;
    int n;
    const char *version; /* of all of them: part of their addresses */
    json_t *texts[2];    /* catalogues, by enroll_lang_e */
} enroll_files_t;

typedef enum { LANG_EN = 0, LANG_DE = 1 } enroll_lang_e;

typedef struct enroll_conf_t {
    const char *dir;    /* MDMPortalFiles */
    const char *portal; /* path of the portal's location */
    const enroll_files_t *files;
} enroll_conf_t;

/* ---- enroll_files.c */
/* Reads all files of the table below dir; NULL after logging which one is missing. */
const enroll_files_t *enroll_files_load(server_rec *s, apr_pool_t *p, const char *dir);
int enroll_files_answer(mdm_web_call_t *call, const char *name);
/* The reader's language by Accept-Language, and a text in it (the key itself if there is none). */
enroll_lang_e enroll_lang(request_rec *r);
const char *enroll_lang_name(enroll_lang_e lang);
const char *enroll_text(const enroll_conf_t *conf, enroll_lang_e lang, const char *key);

/* ---- enroll_match.c */
extern const mdm_jobkind_t enroll_match_kind;

/* ---- enroll_bulk.c */
extern const mdm_jobkind_t enroll_bulk_kind;

/* ---- enroll_pages.c */
typedef struct enroll_page_t {
    mdm_web_call_t *call;
    const enroll_conf_t *conf;
    mdm_html_t *h;
    enroll_lang_e lang;
} enroll_page_t;

/* Begins a page: head, header, <main>. script: file name of its module, or NULL. */
enroll_page_t *enroll_page_begin(mdm_web_call_t *call, const char *title_key, const char *script);
/* The text of a key, escaped. */
void enroll_page_text(enroll_page_t *page, const char *key);
int enroll_page_end(enroll_page_t *page, int status);
/* A whole page that says what is wrong and where to go. */
int enroll_page_error(mdm_web_call_t *call, int status, const char *title_key, const char *text_key);

int enroll_page_home(mdm_web_call_t *call);
int enroll_page_login(mdm_web_call_t *call);
int enroll_page_login_post(mdm_web_call_t *call);
int enroll_page_start(mdm_web_call_t *call);
int enroll_page_start_post(mdm_web_call_t *call);

/* A labelled field of a form. */
typedef struct enroll_field_t {
    const char *name, *type, *label, *complete, *value; /* label: key of its text */
    int required;
} enroll_field_t;
void enroll_page_field(enroll_page_t *page, const enroll_field_t *f);
/* Asks whose device it is: "ownership" of the form. */
void enroll_page_ownership(enroll_page_t *page, int corporate);
/* The form of a log-in: where it goes, the key of what it says it is for, and what was typed before. */
typedef struct enroll_login_t {
    const char *action, *lead, *login, *domain;
} enroll_login_t;
/* error_key: why it was refused; NULL: it was not. */
int enroll_login_page(mdm_web_call_t *call, const enroll_login_t *form, int status, const char *error_key);
/* What a log-in that failed is answered with: status, and key of the text; Retry-After is set, our own trouble logged. */
int enroll_login_why(mdm_web_call_t *call, apr_status_t rv, const char **key);
/* While the database is away the field of the domain stays out: the log-in would fail anyway, and says why. */
int enroll_with_domain(mdm_web_call_t *call);

/* ---- enroll_prove.c */
/* What this browser still has to prove for this enrolment: "" (nothing), "otp", "password", "both", "either". */
apr_status_t enroll_need(mdm_web_call_t *call, mdm_db_t *db, const mdm_pending_t *e, const char **need);
/* The page that asks for it, and what was given. */
int enroll_prove_page(mdm_web_call_t *call, const char *need);
int enroll_prove_post(mdm_web_call_t *call);

/* ---- enroll_api.c */
/* Checks a log-in, with throttle; a refusal is audited. */
apr_status_t enroll_check(mdm_web_call_t *call, const char *login, const char *domain, const char *password, mdm_person_t **out);
/* Log-in with throttle; APR_SUCCESS: the cookie is set. */
apr_status_t enroll_login(mdm_web_call_t *call, const char *login, const char *domain, const char *password);
/* New pending enrolment for the caller. link: its address for others; NULL: not asked for. */
apr_status_t enroll_create(mdm_web_call_t *call, const mdm_provision_t *asked, mdm_pending_t **out, const char **token, const char **link);
extern const mdm_route_t enroll_portal_routes[];
extern const int enroll_portal_nroutes;

/* ---- enroll_link.c */
/* Masks the token in what logs show of the request; for its end, or before it is refused with a logged address (R28). */
void enroll_hide_token(request_rec *r);
/* What profiles are made from, but for the topic. */
void enroll_conf_fill(mdm_web_call_t *call, mdm_apple_conf_t *conf);
/* The page for links that lead nowhere any more, or our own trouble. */
int enroll_bad_link(mdm_web_call_t *call, apr_status_t rv);
extern const mdm_route_t enroll_link_routes[];
extern const int enroll_link_nroutes;

/* ---- enroll_choose.c: a link for any platform */
#define ENROLL_WRONG "wrong" /* parameter of a link's address: what was given just now was not right */
/* The path of this link, to which those of its files are added. */
const char *enroll_link_path(mdm_web_call_t *call);
/* The address of this link's page, with the kind of device that somebody has chosen; and the same after something wrong was given. */
const char *enroll_self(mdm_web_call_t *call);
const char *enroll_self_wrong(mdm_web_call_t *call);
int enroll_was_wrong(mdm_web_call_t *call);
/* True if the browser is one of an iPhone or iPad, and says so: iPads may look like Macs. */
int enroll_on_apple(request_rec *r);
/* *kind: what the link is for here: as it was made, chosen, as the browser is, or as the policy leaves it; "": somebody has to choose. MDM_EDENIED: it
 * is for any platform, and the policy of its person allows none. */
apr_status_t enroll_kind(mdm_web_call_t *call, const mdm_pending_t *e, const char **kind);
int enroll_choose_page(mdm_web_call_t *call);
/* The code of the link, to go on on the device; there: this is the device. */
void enroll_page_code(enroll_page_t *page, const char *self, const char *text_key, int there);

/* ---- enroll_android.c: a link on an Android device (POR-04) */
/* True if the browser is one of an Android device. */
int enroll_on_android(request_rec *r);
/* *there: the zone says which agent such devices fetch. */
apr_status_t enroll_agent_there(mdm_db_t *db, int *there);
/* known: this browser has shown that it is the person's. */
int enroll_android_page(mdm_web_call_t *call, const mdm_pending_t *e, int known);
/* The code for a factory-fresh device of the organisation, as SVG. */
int enroll_android_owner(mdm_web_call_t *call);

/* ---- enroll_service.c */
/* A device's answer to the Profile Service of a link. */
int enroll_service_post(mdm_web_call_t *call);

/* A signed message of a device, at most `limit` bytes; nothing of the database yet. MDM_EMEDIA, MDM_ETOOBIG, MDM_EINPUT. */
apr_status_t enroll_signed_body(mdm_web_call_t *call, apr_size_t limit, mdm_blob_t *out);

/* ---- enroll_account.c: enrolment that begins in the settings of a device (IOS-08) */
int enroll_account_post(mdm_web_call_t *call);
int enroll_account_login(mdm_web_call_t *call);
int enroll_account_login_post(mdm_web_call_t *call);
int enroll_account_start(mdm_web_call_t *call);
int enroll_account_start_post(mdm_web_call_t *call);
extern const mdm_route_t enroll_discovery_routes[];
extern const int enroll_discovery_nroutes;

/* ---- enroll_mail.c: account settings for mail apps, and the end of their enrolment */
/* True if an ActiveSync server is there for this person. */
apr_status_t enroll_mail_ready(mdm_db_t *db, const char *person_id, int *ready);
/* True if the device waits for its person to complete its enrolment (policy may be NULL: none applies). */
int enroll_mail_waits(const mdm_enroll_policy_t *policy, const char *state, const char *level, const char *mode);
int enroll_mail_get(mdm_web_call_t *call);
int enroll_mail_complete(mdm_web_call_t *call);
int enroll_mail_undo(mdm_web_call_t *call); /* POST devices/{id}/undo: {"id"} of the mail app's own object */
int enroll_mail_choices(mdm_web_call_t *call);

/* ---- enroll_zone.c: what the zone has and lacks */
/* The whole address of a link (PEN-09). */
apr_status_t enroll_link_url(mdm_web_call_t *call, mdm_db_t *db, const char *token, const char **out);
/* The push topic; "" if there is none. */
apr_status_t enroll_topic(mdm_db_t *db, const char **topic);
/* Roots for devices that don't trust our TLS: text of the file of MDMTrustAnchors, NULL if there is none. */
const char *enroll_anchors(mdm_web_call_t *call);
/* Answers JSON with an ETag, or 304. */
int enroll_json_etag(mdm_web_call_t *call, json_t *body);

#endif
