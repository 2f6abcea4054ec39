/* Inside of mod_mdm_admin: what its files share. Routes are in admin_routes.def, one handler function for each. */
#ifndef MDM_ADMIN_H
#define MDM_ADMIN_H

#include <apr_hash.h>
#include "mdm_web.h"
#include "db/mdm_db.h"
#include "domain/mdm_page.h"
#include "wire/mdm_probe.h"

/* A console file, read into memory at start: no path ever comes from a request. */
typedef struct mdm_admin_file_t {
    const char *name, *type, *etag, *gzip_etag;
    mdm_blob_t data, gzip; /* gzip.len 0: it would not be smaller */
} mdm_admin_file_t;

/* What a request's handlers get as call->data. */
typedef struct mdm_admin_req_t {
    const char *base;             /* "/admin" */
    const apr_hash_t *files;      /* name -> mdm_admin_file_t */
} mdm_admin_req_t;

const mdm_admin_req_t *mdm_adm_req(const mdm_web_call_t *call);
/* Reads the console's files below dir (one level of folders) into p. Errors are logged to s; the table holds what could be read. */
apr_hash_t *mdm_adm_files_load(server_rec *s, apr_pool_t *p, const char *dir);

/* The route table. */
const mdm_route_t *mdm_adm_routes(int *n);

/* ---- answers */
int mdm_adm_fail(mdm_web_call_t *call, apr_status_t rv);
/* 200 with a weak ETag over the body, or 304 if the client has it (live lists poll with it). Takes the reference. */
int mdm_adm_json(mdm_web_call_t *call, json_t *body);
/* {"items": …, "next": …}; takes the reference. */
int mdm_adm_items(mdm_web_call_t *call, json_t *items, const char *next);
/* 200 with ETag "<version>". Takes the reference. */
int mdm_adm_object(mdm_web_call_t *call, json_t *body, apr_int64_t version);
/* 201 with Location `<base>/api/v1/<kind>/<id>`. Takes the reference. */
int mdm_adm_created(mdm_web_call_t *call, const char *kind, const char *id, json_t *body);

/* Headers of an answer that is sent in parts. */
void mdm_adm_stream(request_rec *r, const char *type);
/* Sends a part at once; false if the client has gone away. */
int mdm_adm_send(request_rec *r, const char *text);
/* Ends an answer that has begun in a way that the client sees: without the last chunk (admin_csv.c). */
int mdm_adm_cut_off(request_rec *r);
/* The whole of a route that tests a connection: {"steps": […]}, or with "Accept: application/x-ndjson" each step as a line of its own
 * as soon as it has ended. */
typedef void (*mdm_adm_probe_fn)(mdm_probe_t *p, const void *arg);
int mdm_adm_probe(mdm_web_call_t *call, mdm_adm_probe_fn fn, const void *arg);

/* ---- requests */
/* Refuses query parameters that are not in the NULL-terminated list, by name. */
apr_status_t mdm_adm_params(mdm_web_call_t *call, const char *const *allowed);
/* Hands the uploaded file on in pieces (mdm_web_body_pieces), at most `limit` bytes; says what is wrong where fn has not. */
apr_status_t mdm_adm_upload(mdm_web_call_t *call, int limit, mdm_web_piece_fn fn, void *data);
/* limit and cursor of a list with this signature; other parameters must be in `allowed` (NULL: none). */
apr_status_t mdm_adm_page(mdm_web_call_t *call, const char *const *allowed, const char *sig, mdm_page_t *page);
/* The version in If-Match: MDM_EPRECOND if it is missing, MDM_ESTALE if it is none of ours. */
apr_status_t mdm_adm_if_match(mdm_web_call_t *call, apr_int64_t *version);
/* The id in the path; APR_NOTFOUND if it is no UUID. */
apr_status_t mdm_adm_id(mdm_web_call_t *call, const char **id);

/* A query parameter that is one of the words (NULL-terminated); "" if it is absent. */
apr_status_t mdm_adm_word(mdm_web_call_t *call, const char *name, const char *const *words, const char **out);
/* "levels" of a policy: {"corporate", "personal"}, NULL: none (admin_policy.c). */
struct mdm_policy_content_t;
apr_status_t mdm_adm_policy_levels(mdm_ctx_t *ctx, json_t *levels, struct mdm_policy_content_t *c);

/* Reads one object as JSON members of the API; *version is its ETag. */
typedef apr_status_t (*mdm_adm_read_fn)(mdm_db_t *db, const char *id, json_t **out, apr_int64_t *version);
apr_status_t mdm_adm_read(mdm_web_call_t *call, mdm_adm_read_fn fn, const char *id, json_t **out, apr_int64_t *version);
/* The end of a route that made an object: 201 with the object as it is now, or rv as a problem. */
int mdm_adm_made(mdm_web_call_t *call, apr_status_t rv, const char *kind, const char *id, mdm_adm_read_fn fn);
/* The whole of a route that shows the object in its path. */
int mdm_adm_one(mdm_web_call_t *call, mdm_adm_read_fn fn);

/* The whole of a route that shows what has no version, of the object in its path if there is one (id is NULL else); its ETag is over the bytes. */
typedef apr_status_t (*mdm_adm_look_fn)(mdm_db_t *db, const char *id, json_t **out);
int mdm_adm_look(mdm_web_call_t *call, mdm_adm_look_fn fn);

/* The end of a route that asks something by its body and changes nothing: 200 with what fn answers to arg, or rv as a problem. */
typedef apr_status_t (*mdm_adm_ask_fn)(mdm_db_t *db, const void *arg, json_t **out);
int mdm_adm_ask(mdm_web_call_t *call, apr_status_t rv, mdm_adm_ask_fn fn, const void *arg);

/* One page of a list: pushes rows onto items; *next is the cursor behind the last one if there are more. arg: the filters. */
typedef apr_status_t (*mdm_adm_page_fn)(mdm_db_t *db, const mdm_page_t *page, const void *arg, json_t *items, const char **next);
typedef struct mdm_adm_list_t {
    const char *sig;            /* names the list and its filters: a cursor of one is refused by every other */
    const char *const *params;  /* query parameters beside the paging ones, read already; NULL: none */
    mdm_adm_page_fn read;
    const void *arg;
    const char *name, *columns; /* of its CSV: file name; "id name person:person.name", title and path where they differ. NULL: no CSV */
} mdm_adm_list_t;
/* The whole of a route that lists: a page, or all of it as CSV with ?format=csv. */
int mdm_adm_list(mdm_web_call_t *call, const mdm_adm_list_t *list);
/* The CSV alone (admin_csv.c). */
int mdm_adm_csv(mdm_web_call_t *call, const mdm_adm_list_t *list);

/* ---- transactions */
/* The whole of a route that changes the object in its path under If-Match, in one transaction; answers with the object as it is
 * then, or 204 if read is NULL. */
typedef apr_status_t (*mdm_adm_edit_fn)(mdm_web_call_t *call, mdm_db_t *db, const char *id, apr_int64_t version, const void *arg);
int mdm_adm_edit(mdm_web_call_t *call, mdm_adm_edit_fn fn, const void *arg, mdm_adm_read_fn read);
/* The whole of a route that deletes the object in its path under If-Match: 204. */
typedef apr_status_t (*mdm_adm_drop_fn)(mdm_db_t *db, const char *id, apr_int64_t version);
int mdm_adm_drop(mdm_web_call_t *call, mdm_adm_drop_fn fn);
/* The same for what many devices have: ?confirm=<devices>, 0 if it is absent. */
typedef apr_status_t (*mdm_adm_drop_many_fn)(mdm_db_t *db, const char *id, apr_int64_t version, apr_int64_t confirm);
int mdm_adm_drop_many(mdm_web_call_t *call, mdm_adm_drop_many_fn fn);
/* The whole of a route that sets something of the zone by its body and answers with it as it is then. */
typedef apr_status_t (*mdm_adm_set_fn)(mdm_db_t *db, json_t *body);
int mdm_adm_set(mdm_web_call_t *call, mdm_adm_set_fn fn, mdm_adm_look_fn read);
/* The whole of a route that does something to the object in its path, in one transaction; answers `status` without a body. */
typedef apr_status_t (*mdm_adm_act_fn)(mdm_web_call_t *call, mdm_db_t *db, const char *id, const void *arg);
int mdm_adm_act(mdm_web_call_t *call, mdm_adm_act_fn fn, const void *arg, int status);
apr_status_t mdm_adm_begin(mdm_web_call_t *call, mdm_db_t **db);
/* Commits or rolls back by rv, closes, and answers what came of it. */
apr_status_t mdm_adm_end(mdm_db_t *db, apr_status_t rv);

/* The whole of a route that lists something of the device in its path; an unknown device is 404, not empty (admin_device.c). */
typedef apr_status_t (*mdm_adm_sub_fn)(mdm_db_t *db, const char *id, const mdm_page_t *page, json_t **out, const char **next);
int mdm_adm_sub_list(mdm_web_call_t *call, const char *what, mdm_adm_sub_fn fn);
/* Audits an act on a device under its name; APR_NOTFOUND if there is none. */
apr_status_t mdm_adm_audit_device(mdm_db_t *db, const char *action, const char *id, json_t *detail);

/* How people are told of an enrolment: "", "mail", "sms", "both", NULL (admin_pending.c). */
extern const char *const mdm_adm_notify[];
/* "notices" for each of these pending enrolments (objects with "id"): what their people were told (PEN-05). admin_notice.c */
apr_status_t mdm_adm_told(mdm_db_t *db, json_t *items);
/* ---- log-ins: both an account and an address can run out of tries. Answers seconds to wait (admin_session.c). */
int mdm_adm_must_wait(mdm_web_call_t *call, const char *account);
void mdm_adm_note_try(mdm_web_call_t *call, const char *account, int ok);

/* ---- JSON bits */
json_t *mdm_adm_time(apr_pool_t *p, apr_int64_t ms); /* null for 0 */
json_t *mdm_adm_text(const char *s);                 /* null for NULL and "" */
json_t *mdm_adm_parsed(const char *text);            /* stored JSON; {} if it is none */

#define ROUTE(method, pattern, auth, right, limit, json, run) int run(mdm_web_call_t *call);
#include "admin_routes.def"
#undef ROUTE

#endif
