/* Log-in through a directory, and what is kept of it. The network is asked first, the database afterwards, never both at once. */
#include "domain/mdm_directory.h"

#include <string.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include "base/mdm_seal.h"
#include "mdm_sql_gen.h"

#define MEMBERS_BATCH 500 /* log-ins that bring the same membership wait for so many at most */
#define THERE_BATCH 2000
#define TRY_AGAIN "The user directory can't be asked right now. Try again later."

apr_status_t mdm_directory_conf(mdm_ctx_t *ctx, const mdm_dirsource_t *source, mdm_ldap_conf_t **out)
{
    mdm_blob_t secret;
    json_t *config;
    apr_status_t rv = mdm_json_parse(ctx, source->config, strlen(source->config), &config);

    if (rv == APR_SUCCESS) {
        rv = mdm_ldap_conf(ctx, config, out);
    }
    if (rv == APR_SUCCESS && source->secret) {
        rv = mdm_unseal(ctx, apr_pstrcat(ctx->pool, "user_source.secret:", source->id, NULL), source->secret, &secret);
        if (rv == APR_SUCCESS) {
            (*out)->bind_password = apr_pstrmemdup(ctx->pool, (const char *)secret.data, secret.len);
        }
    }
    return rv == APR_SUCCESS ? rv : mdm_fail(ctx, MDM_EUNAVAIL, NULL, "the source's configuration can't be read");
}

/* ---------------------------------------------------------------- rows */

/* The id of a cached row: the same entry of the same source always has the same. */
static const char *row_id(apr_pool_t *p, const char *kind, const char *source_id, const char *key)
{
    const char *text = apr_pstrcat(p, kind, ":", source_id, ":", key, NULL);
    unsigned char hash[32];

    mdm_sha256(text, strlen(text), hash);
    hash[6] = (unsigned char)((hash[6] & 0x0f) | 0x80); /* RFC 9562, version 8 */
    hash[8] = (unsigned char)((hash[8] & 0x3f) | 0x80);
    return mdm_uuid_text(p, hash);
}

static const char *person_row(apr_pool_t *p, const char *source_id, const mdm_ldap_person_t *who)
{
    return *who->guid ? row_id(p, "guid", source_id, who->guid) : row_id(p, "dn", source_id, who->dn_key);
}

/* What people call a container: the value of its first part. */
static const char *folder_name(apr_pool_t *p, const char *dn)
{
    const char *from = strchr(dn, '=');
    apr_size_t n = from ? strcspn(from + 1, ",+") : 0;

    return n ? mdm_clean(p, apr_pstrmemdup(p, from + 1, n), 200) : mdm_clean(p, dn, 200);
}

static const char *folder_row(apr_pool_t *p, const char *source_id, const char *dn)
{
    const char *key = mdm_ldap_dn_key(p, dn);

    return row_id(p, "folder", source_id, key ? key : dn);
}

static apr_status_t put_folder(mdm_db_t *db, const char *source_id, const char *dn, const char **id)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;

    *id = folder_row(p, source_id, dn);
    return mdm_q_dir_folder_put(db, *id, source_id, folder_name(p, dn), dn, NULL);
}

static apr_status_t put_person(mdm_db_t *db, const char *source_id, const char *folder_id, const mdm_ldap_person_t *who,
                               const char *id)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_int64_t now = mdm_now_ms(ctx);
    const char *login_key = mdm_lower(ctx->pool, who->login);
    apr_array_header_t *earlier;
    apr_status_t rv = mdm_q_dir_login_taken(db, source_id, login_key, id, now, &earlier);

    for (int i = 0; rv == APR_SUCCESS && i < earlier->nelts; i++) {
        rv = mdm_change_add(db, "person", APR_ARRAY_IDX(earlier, i, mdm_q_dir_login_taken_t).id);
    }
    return rv == APR_SUCCESS
               ? mdm_q_dir_person_put(db, id, source_id, folder_id, who->login, login_key, who->name, who->mail,
                                      mdm_lower(ctx->pool, who->mail), who->phone, who->guid, who->dn, now, NULL)
               : rv;
}

static const char *group_row(apr_pool_t *p, const char *source_id, const mdm_ldap_group_t *group)
{
    return row_id(p, "group", source_id, group->dn_key);
}

const char *mdm_directory_group_id(apr_pool_t *p, const char *source_id, const char *dn)
{
    const char *key = mdm_ldap_dn_key(p, dn);

    return key ? row_id(p, "group", source_id, key) : NULL;
}

static int by_dn(const void *a, const void *b)
{
    return strcmp(((const mdm_ldap_group_t *)a)->dn_key, ((const mdm_ldap_group_t *)b)->dn_key);
}

/* All groups before any membership, and in one order: a log-in and a sync that store the same ones wait for each other, and are no deadlock. */
static apr_status_t put_groups(mdm_db_t *db, const char *source_id, const apr_array_header_t *groups)
{
    apr_array_header_t *sorted = apr_array_copy(mdm_db_ctx(db)->pool, groups);
    apr_status_t rv = APR_SUCCESS;

    qsort(sorted->elts, (size_t)sorted->nelts, (size_t)sorted->elt_size, by_dn);
    for (int i = 0; rv == APR_SUCCESS && i < sorted->nelts; i++) {
        const mdm_ldap_group_t *group = &APR_ARRAY_IDX(sorted, i, mdm_ldap_group_t);

        rv = mdm_q_dir_group_put(db, group_row(mdm_db_ctx(db)->pool, source_id, group), source_id, group->name, group->dn, NULL);
    }
    return rv;
}

/* Mostly nothing is new, and nothing is written. */
static apr_status_t put_groups_of(mdm_db_t *db, const char *source_id, const char *person_id, const apr_array_header_t *groups)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    json_t *ids = mdm_json_own(mdm_db_ctx(db), json_array());
    apr_array_header_t *rows = NULL, *fresh = apr_array_make(p, 8, sizeof(mdm_ldap_group_t));
    apr_hash_t *there = apr_hash_make(p);
    apr_status_t rv = mdm_q_dir_person_groups(db, person_id, &rows);
    const char *id;

    for (int i = 0; rv == APR_SUCCESS && i < rows->nelts; i++) {
        apr_hash_set(there, APR_ARRAY_IDX(rows, i, mdm_q_dir_person_groups_t).group_id, APR_HASH_KEY_STRING, "");
    }
    for (int i = 0; rv == APR_SUCCESS && i < groups->nelts; i++) {
        id = group_row(p, source_id, &APR_ARRAY_IDX(groups, i, mdm_ldap_group_t));
        if (!apr_hash_get(there, id, APR_HASH_KEY_STRING)) {
            APR_ARRAY_PUSH(fresh, mdm_ldap_group_t) = APR_ARRAY_IDX(groups, i, mdm_ldap_group_t);
        }
        apr_hash_set(there, id, APR_HASH_KEY_STRING, NULL);
        json_array_append_new(ids, json_string(id));
    }
    if (rv == APR_SUCCESS) {
        rv = put_groups(db, source_id, fresh);
    }
    for (int i = 0; rv == APR_SUCCESS && i < fresh->nelts; i++) {
        rv = mdm_q_dir_member_put(db, group_row(p, source_id, &APR_ARRAY_IDX(fresh, i, mdm_ldap_group_t)), person_id, NULL);
    }
    return rv == APR_SUCCESS && apr_hash_count(there) ? mdm_q_dir_person_groups_drop(db, person_id, mdm_json_text(p, ids), NULL) : rv;
}

/* ---------------------------------------------------------------- log-in */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Ids of groups as dir_person_now lists them. */
static const char *ids_of(apr_pool_t *p, const char *source_id, const apr_array_header_t *groups)
{
    apr_array_header_t *ids = apr_array_make(p, groups->nelts, sizeof(const char *));
    apr_array_header_t *once = apr_array_make(p, groups->nelts, sizeof(const char *));

    for (int i = 0; i < groups->nelts; i++) {
        APR_ARRAY_PUSH(ids, const char *) = group_row(p, source_id, &APR_ARRAY_IDX(groups, i, mdm_ldap_group_t));
    }
    qsort(ids->elts, (size_t)ids->nelts, (size_t)ids->elt_size, by_text);
    for (int i = 0; i < ids->nelts; i++) { /* containers may lie inside each other */
        if (!i || strcmp(APR_ARRAY_IDX(ids, i, const char *), APR_ARRAY_IDX(ids, i - 1, const char *)) != 0) {
            APR_ARRAY_PUSH(once, const char *) = APR_ARRAY_IDX(ids, i, const char *);
        }
    }
    return apr_array_pstrcat(p, once, ',');
}

/* True if everything is stored already as the directory says it: then a log-in only reads, and waits for nobody who writes. */
static int known_so(apr_pool_t *p, const char *source_id, const mdm_ldap_person_t *who, const apr_array_header_t *groups,
                    const mdm_q_dir_person_now_t *row)
{
    return row->gone_ms_null && row->folder_id && !strcmp(row->folder_id, folder_row(p, source_id, who->container))
           && !strcmp(row->login, who->login) && !strcmp(row->name, who->name) && !strcmp(row->mail, who->mail)
           && !strcmp(row->phone, who->phone) && row->dn && !strcmp(row->dn, who->dn)
           && !strcmp(row->groups, ids_of(p, source_id, groups));
}

static apr_status_t remember(mdm_db_t *db, const char *source_id, const mdm_ldap_person_t *who, const apr_array_header_t *groups,
                             const char *id)
{
    const char *folder;
    apr_status_t rv = mdm_db_begin(db);

    if (rv == APR_SUCCESS && (rv = put_folder(db, source_id, who->container, &folder)) == APR_SUCCESS
        && (rv = put_person(db, source_id, folder, who, id)) == APR_SUCCESS) {
        rv = put_groups_of(db, source_id, id, groups);
    }
    return mdm_db_end(db, rv);
}

static apr_status_t person_of(mdm_ctx_t *ctx, const char *source_id, const mdm_ldap_person_t *who, const apr_array_header_t *groups,
                              mdm_person_t **out)
{
    const char *id = person_row(ctx->pool, source_id, who);
    mdm_q_dir_person_now_t *row;
    mdm_person_t *person;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_dir_person_now(db, id, &row);
    if (rv == APR_SUCCESS && known_so(ctx->pool, source_id, who, groups, row)) {
        person = apr_pcalloc(ctx->pool, sizeof(*person));
        *person = (mdm_person_t){.id = id, .source_id = source_id, .folder_id = row->folder_id, .login = row->login, .name = row->name,
                                 .mail = row->mail, .phone = row->phone, .disabled = row->disabled != 0, .version = row->version};
        *out = person;
    }
    else if (rv == APR_SUCCESS || rv == APR_NOTFOUND) {
        rv = remember(db, source_id, who, groups, id);
        rv = rv == APR_SUCCESS ? mdm_person_get(db, id, out) : rv;
    }
    mdm_db_close(db);
    return rv;
}

/* One of the groups that the directory has just named is among those whose members may authorise (PEN-01). */
static int may_authorise(const mdm_ldap_conf_t *conf, const apr_array_header_t *groups)
{
    for (int i = 0; i < groups->nelts; i++) {
        for (int k = 0; k < conf->authorisers->nelts; k++) {
            if (!strcmp(APR_ARRAY_IDX(groups, i, mdm_ldap_group_t).dn_key, APR_ARRAY_IDX(conf->authorisers, k, const char *))) {
                return 1;
            }
        }
    }
    return 0;
}

static apr_status_t find(mdm_ldap_t *l, const char *user, const char *mail, mdm_ldap_person_t **who)
{
    apr_status_t rv = user ? mdm_ldap_find(l, user, 0, who) : APR_NOTFOUND;

    return rv == APR_NOTFOUND && mail ? mdm_ldap_find(l, mail, 1, who) : rv;
}

static apr_status_t ask(mdm_ldap_t *l, const char *user, const char *mail, const char *password, int ask_nobody,
                        mdm_ldap_person_t **who, apr_array_header_t **groups)
{
    apr_status_t rv = find(l, user, mail, who);

    if (rv == APR_NOTFOUND && ask_nobody) {
        mdm_ldap_person_t nobody = {.dn = APR_ARRAY_IDX(mdm_ldap_containers(l), 0, const char *)};

        rv = mdm_ldap_groups_of(l, &nobody, groups);
        return rv == APR_SUCCESS ? mdm_ldap_check(l, NULL, password) : rv;
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_ldap_groups_of(l, *who, groups); /* before the bind: afterwards we speak as the person */
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_ldap_check(l, *who, password);
    }
    return rv == APR_SUCCESS && (*who)->disabled ? MDM_EAUTH : rv;
}

apr_status_t mdm_directory_login(mdm_ctx_t *ctx, const mdm_dirsource_t *source, const char *user, const char *mail,
                                 const char *password, int ask_nobody, mdm_person_t **out)
{
    apr_array_header_t *groups = NULL;
    mdm_ldap_person_t *who = NULL;
    mdm_ldap_conf_t *conf;
    mdm_ldap_t *l = NULL;
    apr_status_t rv = mdm_directory_conf(ctx, source, &conf);

    if (rv == APR_SUCCESS) {
        rv = mdm_ldap_open(ctx, conf, &l);
    }
    if (rv == APR_SUCCESS) {
        rv = ask(l, user, mail, password, ask_nobody, &who, &groups);
        mdm_ldap_close(l);
    }
    if (rv == MDM_EUNAVAIL) {
        /* that the way is closed was said when it was */
        mdm_log(ctx, ctx->retry_after ? MDM_LOG_INFO : MDM_LOG_ERR, "MDM0120", 0, "user source %s can't be asked for a log-in: %s", source->name,
                ctx->fail_text ? ctx->fail_text : "");
        return mdm_fail(ctx, MDM_EUNAVAIL, NULL, TRY_AGAIN);
    }
    if (rv == APR_SUCCESS && !who) {
        return MDM_EAUTH; /* nobody never logs in */
    }
    if (rv == APR_SUCCESS && (rv = person_of(ctx, source->id, who, groups, out)) == APR_SUCCESS) {
        (*out)->directory = source->name;
        (*out)->authoriser = may_authorise(conf, groups);
    }
    return rv;
}

/* ---------------------------------------------------------------- sync */

typedef struct sync_t {
    mdm_ctx_t *ctx;
    mdm_job_t *job;
    int lease_s;
    const mdm_dirsource_t *source;
    apr_hash_t *people; /* dn key -> person id, for the groups */
    apr_hash_t *ids;    /* the same people by id */
    json_t *seen;       /* ids of groups */
    apr_int64_t began, done, disabled, groups, gone;
} sync_t;

apr_status_t mdm_directory_sync_ask(mdm_db_t *db, const char *source_id)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    mdm_job_add_t add = {.kind = "ldap.sync", .unique_key = apr_pstrcat(p, "ldap.sync:", source_id, NULL),
                         .payload = mdm_json_own(mdm_db_ctx(db), json_pack("{s:s}", "source", source_id))};

    return mdm_job_add(db, &add, NULL);
}

static json_t *person_json(apr_pool_t *p, const mdm_ldap_person_t *who, const char *id)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "id", id, "login", who->login, "login_key", mdm_lower(p, who->login), "name",
                     who->name, "mail", who->mail, "mail_key", mdm_lower(p, who->mail), "phone", who->phone, "guid", who->guid, "dn", who->dn);
}

/* Puts a page's people into a list that one statement stores; who has an id or log-in that stands there already is stored alone, behind them. */
typedef struct batch_t {
    json_t *list;
    apr_hash_t *there;         /* ids, log-ins */
    apr_array_header_t *alone; /* const mdm_ldap_person_t * */
} batch_t;

static void collect(batch_t *b, apr_pool_t *p, const mdm_ldap_person_t *who, const char *id)
{
    const char *login = apr_pstrcat(p, "@", mdm_lower(p, who->login), NULL);
    json_t *row = NULL;

    if (!apr_hash_get(b->there, id, APR_HASH_KEY_STRING) && !apr_hash_get(b->there, login, APR_HASH_KEY_STRING)) {
        row = person_json(p, who, id);
    }
    if (!row) {
        APR_ARRAY_PUSH(b->alone, const mdm_ldap_person_t *) = who;
        return;
    }
    apr_hash_set(b->there, id, APR_HASH_KEY_STRING, who);
    apr_hash_set(b->there, login, APR_HASH_KEY_STRING, who);
    json_array_append_new(b->list, row);
}

static apr_status_t put_batch(mdm_db_t *db, const char *source_id, const char *folder, const batch_t *b)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *list = mdm_json_text(ctx->pool, b->list);
    apr_array_header_t *earlier = NULL;
    apr_status_t rv = mdm_q_dir_logins_taken(db, source_id, list, mdm_now_ms(ctx), &earlier);

    for (int i = 0; rv == APR_SUCCESS && i < earlier->nelts; i++) {
        rv = mdm_change_add(db, "person", APR_ARRAY_IDX(earlier, i, mdm_q_dir_logins_taken_t).id);
    }
    if (rv == APR_SUCCESS) {
        rv = mdm_q_dir_people_put(db, source_id, folder, list, mdm_now_ms(ctx), NULL);
    }
    for (int i = 0; rv == APR_SUCCESS && i < b->alone->nelts; i++) {
        const mdm_ldap_person_t *who = APR_ARRAY_IDX(b->alone, i, const mdm_ldap_person_t *);

        rv = put_person(db, source_id, folder, who, person_row(ctx->pool, source_id, who));
    }
    return rv;
}

static apr_status_t disable(sync_t *s, mdm_db_t *db, const char *id)
{
    int gone = 0;
    apr_status_t rv = mdm_q_dir_person_gone(db, s->source->id, id, 0, mdm_now_ms(mdm_db_ctx(db)), &gone);

    s->disabled++;
    return rv == APR_SUCCESS && gone > 0 ? mdm_change_add(db, "person", id) : rv;
}

/* In a transaction. */
static apr_status_t store_page(sync_t *s, mdm_db_t *db, const apr_array_header_t *page)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_pool_t *keep = s->ctx->pool;
    batch_t b = {mdm_json_own(ctx, json_array()), apr_hash_make(ctx->pool), apr_array_make(ctx->pool, 4, sizeof(const mdm_ldap_person_t *))};
    const char *folder;
    apr_status_t rv = put_folder(db, s->source->id, APR_ARRAY_IDX(page, 0, mdm_ldap_person_t).container, &folder);

    for (int i = 0; rv == APR_SUCCESS && i < page->nelts; i++) {
        const mdm_ldap_person_t *who = &APR_ARRAY_IDX(page, i, mdm_ldap_person_t);
        const char *id = person_row(ctx->pool, s->source->id, who);

        if (who->disabled) {
            rv = disable(s, db, id);
        }
        else if (!apr_hash_get(s->people, who->dn_key, APR_HASH_KEY_STRING)) {
            collect(&b, ctx->pool, who, id);
            id = apr_pstrdup(keep, id);
            apr_hash_set(s->people, apr_pstrdup(keep, who->dn_key), APR_HASH_KEY_STRING, id);
            apr_hash_set(s->ids, id, APR_HASH_KEY_STRING, id);
            s->done++;
        }
    }
    return rv == APR_SUCCESS ? put_batch(db, s->source->id, folder, &b) : rv;
}

/* A transaction of what fn does; no longer than that, because log-ins of the same people and groups wait for it. */
typedef apr_status_t (*store_fn)(sync_t *s, mdm_db_t *db, const void *arg);
static apr_status_t in_tx(sync_t *s, mdm_ctx_t *ctx, store_fn fn, const void *arg)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_db_begin(db);
        rv = mdm_db_end(db, rv == APR_SUCCESS ? fn(s, db, arg) : rv);
        mdm_db_close(db);
    }
    return rv;
}

static apr_status_t people_in(sync_t *s, mdm_db_t *db, const void *arg)
{
    return store_page(s, db, arg);
}

static apr_status_t store_people(sync_t *s, mdm_ctx_t *ctx, const apr_array_header_t *page)
{
    return page->nelts ? in_tx(s, ctx, people_in, page) : APR_SUCCESS;
}

static apr_status_t groups_in(sync_t *s, mdm_db_t *db, const void *arg)
{
    return put_groups(db, s->source->id, arg);
}

/* Members of one group, as a JSON list of ids. */
typedef struct members_t {
    const char *group, *people;
} members_t;

static apr_status_t members_out(sync_t *s, mdm_db_t *db, const void *arg)
{
    const members_t *m = arg;

    return mdm_q_dir_group_people_drop(db, m->group, m->people, NULL);
}

static apr_status_t members_in(sync_t *s, mdm_db_t *db, const void *arg)
{
    const members_t *m = arg;

    return mdm_q_dir_group_people_put(db, m->group, m->people, NULL);
}

/* The last n of the list go into a list of their own. */
static json_t *cut(json_t *list, size_t n)
{
    json_t *part = json_array();

    for (size_t have = json_array_size(list); have && n; n--) {
        json_array_append(part, json_array_get(list, --have));
        json_array_remove(list, have);
    }
    return part;
}

static apr_status_t store_group(sync_t *s, mdm_ctx_t *ctx, const mdm_ldap_group_t *group)
{
    json_t *people = mdm_json_own(ctx, json_array());
    members_t m = {.group = group_row(ctx->pool, s->source->id, group)};
    const char *person;
    apr_status_t rv;

    for (int i = 0; i < group->members->nelts; i++) {
        person = apr_hash_get(s->people, APR_ARRAY_IDX(group->members, i, const char *), APR_HASH_KEY_STRING);
        if (person) {
            json_array_append_new(people, json_string(person));
        }
    }
    m.people = mdm_json_text(ctx->pool, people);
    rv = in_tx(s, ctx, members_out, &m);
    while (rv == APR_SUCCESS && json_array_size(people)) {
        json_t *part = cut(people, MEMBERS_BATCH);

        m.people = mdm_json_text(ctx->pool, part);
        json_decref(part);
        rv = in_tx(s, ctx, members_in, &m);
    }
    json_array_append_new(s->seen, json_string(m.group));
    s->groups++;
    return rv;
}

static apr_status_t store_groups(sync_t *s, mdm_ctx_t *ctx, const apr_array_header_t *page)
{
    apr_status_t rv = in_tx(s, ctx, groups_in, page);

    for (int i = 0; rv == APR_SUCCESS && i < page->nelts; i++) {
        mdm_ctx_t *sub = mdm_ctx_sub(ctx); /* the lists of a group may be long */

        rv = store_group(s, sub, &APR_ARRAY_IDX(page, i, mdm_ldap_group_t));
        apr_pool_destroy(sub->pool);
    }
    return rv;
}

/* Reads one list to its end. */
static apr_status_t walk(sync_t *s, mdm_ldap_t *l,
                         apr_status_t (*read)(mdm_ldap_t *, apr_pool_t *, mdm_ldap_cursor_t *, apr_array_header_t **),
                         apr_status_t (*store)(sync_t *, mdm_ctx_t *, const apr_array_header_t *))
{
    mdm_ldap_cursor_t cursor = {0, NULL, 0};
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && !mdm_job_stopping(s->job)) {
        mdm_ctx_t *sub = mdm_ctx_sub(s->ctx);
        apr_array_header_t *page = NULL;

        rv = read(l, sub->pool, &cursor, &page);
        if (rv == APR_SUCCESS && (rv = store(s, sub, page)) == APR_SUCCESS) {
            rv = mdm_job_progress(sub, s->job, s->done + s->groups, 0, s->lease_s);
        }
        apr_pool_destroy(sub->pool);
    }
    mdm_ldap_cursor_end(&cursor);
    return rv == APR_EOF ? APR_SUCCESS : rv;
}

/* A group that was not seen has nobody any more, and goes itself with the next synchronisation, unless something is assigned to it: it may come back. As
 * with people, none at all is rather a mistake in a container. */
static apr_status_t empty_groups(sync_t *s, mdm_db_t *db)
{
    const char *seen = mdm_json_text(mdm_db_ctx(db)->pool, s->seen);
    apr_status_t rv = s->groups ? mdm_q_dir_groups_drop(db, s->source->id, seen, NULL) : APR_SUCCESS;

    return s->groups && rv == APR_SUCCESS ? mdm_q_dir_groups_empty(db, s->source->id, seen, NULL) : rv;
}

/* In a transaction: those of a page who were not seen are gone. A log-in since the beginning has written who is new. */
static apr_status_t bury_page(sync_t *s, mdm_db_t *db, const void *arg)
{
    const apr_array_header_t *page = arg;
    apr_int64_t now = mdm_now_ms(mdm_db_ctx(db));
    apr_status_t rv = APR_SUCCESS;

    for (int i = 0; rv == APR_SUCCESS && i < page->nelts; i++) {
        const char *id = APR_ARRAY_IDX(page, i, mdm_q_dir_people_there_t).id;
        int n = 0;

        if (!apr_hash_get(s->ids, id, APR_HASH_KEY_STRING)
            && (rv = mdm_q_dir_person_gone(db, s->source->id, id, s->began, now, &n)) == APR_SUCCESS && n > 0) {
            s->gone++;
            rv = mdm_change_add(db, "person", id);
        }
    }
    return rv;
}

static apr_status_t there(sync_t *s, mdm_ctx_t *ctx, const char *after, apr_array_header_t **page)
{
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_dir_people_there(db, s->source->id, s->began, after, THERE_BATCH, page);
        mdm_db_close(db);
    }
    return rv;
}

static apr_status_t bury_unseen(sync_t *s)
{
    const char *after = "";
    int n = THERE_BATCH;
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && n == THERE_BATCH && !mdm_job_stopping(s->job)) {
        mdm_ctx_t *sub = mdm_ctx_sub(s->ctx);
        apr_array_header_t *page = NULL;

        if ((rv = there(s, sub, after, &page)) == APR_SUCCESS && (n = page->nelts) > 0) {
            rv = in_tx(s, sub, bury_page, page);
            after = apr_pstrdup(s->ctx->pool, APR_ARRAY_IDX(page, n - 1, mdm_q_dir_people_there_t).login_key);
        }
        apr_pool_destroy(sub->pool);
    }
    return rv;
}

static apr_status_t groups_out(sync_t *s, mdm_db_t *db, const void *arg)
{
    return empty_groups(s, db);
}

/* Whoever was not seen is gone. Nobody seen at all is rather a mistake in a container than the end of all people. */
static apr_status_t bury(sync_t *s)
{
    mdm_q_dir_people_count_t *n;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(s->ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = mdm_q_dir_people_count(db, s->source->id, &n);
    mdm_db_close(db);
    if (rv == APR_SUCCESS && n->n > 0 && !s->done && !s->disabled) {
        rv = mdm_fail(s->ctx, MDM_EUNAVAIL, NULL, "the directory shows nobody: check containers and rights; nobody was marked gone");
    }
    if (rv == APR_SUCCESS) {
        rv = in_tx(s, s->ctx, groups_out, NULL);
    }
    return rv == APR_SUCCESS ? bury_unseen(s) : rv;
}

static apr_status_t source_of(mdm_ctx_t *ctx, const mdm_job_t *job, mdm_dirsource_t *out)
{
    const char *id = json_string_value(json_object_get(job->payload, "source"));
    mdm_q_source_ask_t *row;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv == APR_SUCCESS) {
        rv = mdm_q_source_ask(db, id ? id : "", &row);
        mdm_db_close(db);
    }
    if (rv == APR_SUCCESS) {
        *out = (mdm_dirsource_t){row->id, row->name, row->config, row->secret};
    }
    return rv;
}

apr_status_t mdm_directory_sync(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s)
{
    mdm_dirsource_t source = {"", "", "", NULL};
    sync_t s = {.ctx = ctx, .job = job, .lease_s = lease_s, .source = &source, .people = apr_hash_make(ctx->pool), .ids = apr_hash_make(ctx->pool),
                .seen = mdm_json_own(ctx, json_array()), .began = mdm_now_ms(ctx)};
    mdm_ldap_conf_t *conf;
    mdm_ldap_t *l;
    apr_status_t rv = source_of(ctx, job, &source);

    if (rv == APR_NOTFOUND) {
        return APR_SUCCESS; /* deleted or switched off: it is not asked any more */
    }
    if (rv == APR_SUCCESS && (rv = mdm_directory_conf(ctx, &source, &conf)) == APR_SUCCESS) {
        job->again_ms = s.began + conf->sync_minutes * 60000LL;
        rv = mdm_ldap_open(ctx, conf, &l);
    }
    if (rv == APR_SUCCESS) {
        if ((rv = walk(&s, l, mdm_ldap_people_page, store_people)) == APR_SUCCESS && !mdm_job_stopping(job)) {
            rv = walk(&s, l, mdm_ldap_groups_page, store_groups);
        }
        mdm_ldap_close(l);
    }
    if (rv == APR_SUCCESS && !mdm_job_stopping(job)) {
        rv = bury(&s);
    }
    if (rv == MDM_EUNAVAIL) {
        mdm_log(ctx, ctx->retry_after ? MDM_LOG_INFO : MDM_LOG_ERR, "MDM0121", 0, "user source %s can't be synchronised: %s", source.name,
                ctx->fail_text ? ctx->fail_text : "");
    }
    job->result = mdm_json_own(ctx, json_pack("{s:s, s:I, s:I, s:I, s:I}", "source", source.name, "people", (json_int_t)s.done,
                                              "disabled", (json_int_t)s.disabled, "groups", (json_int_t)s.groups, "gone",
                                              (json_int_t)s.gone));
    return rv;
}
