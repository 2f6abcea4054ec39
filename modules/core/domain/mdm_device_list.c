/* The list of devices: filters, orders, search. Whatever is asked, a page costs a bounded number of visited rows (PRF-09). */
#include "domain/mdm_device.h"

#include <stdlib.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "mdm_sql_gen.h"

#define QUERY_MAX_BYTES 100
#define LAST_CHARACTER "\xf4\x8f\xbf\xbf" /* U+10FFFF */
#define WALK_ROWS 5000 /* visited for one page */

static const char *const states[] = {"pending", "active", "wipe_pending", "retired", "blocked", "removed", NULL};
static const char *const modes[] = {"ios_mdm", "ios_mdm_eas", "android_app", "android_app_eas", "eas", "unknown", NULL};
static const char *const platforms[] = {"ios", "android", "windows", "blackberry", "unknown", NULL};
static const char *const ownerships[] = {"corporate", "personal", NULL};
static const char *const sorts[] = {"name", "-name", "last_contact", "-last_contact", NULL};

static apr_status_t one_of(mdm_ctx_t *ctx, const char *field, const char *const *words, const char **value)
{
    int i;

    *value = *value ? *value : "";
    if (!**value || !words)
        return !**value || mdm_is_uuid(*value) ? APR_SUCCESS : mdm_fail(ctx, MDM_EINPUT, field, "must be a UUID");
    for (i = 0; words[i]; i++) {
        if (strcmp(words[i], *value) == 0) {
            *value = words[i];
            return APR_SUCCESS;
        }
    }
    return mdm_fail(ctx, MDM_EINPUT, field, "is none of the known values");
}

apr_status_t mdm_device_filter_check(mdm_ctx_t *ctx, mdm_device_filter_t *f)
{
    const struct {
        const char *field;
        const char *const *words; /* NULL: an id */
        const char **value;
    } all[] = {{"state", states, &f->state}, {"mode", modes, &f->mode}, {"platform", platforms, &f->platform},
               {"ownership", ownerships, &f->ownership}, {"sort", sorts, &f->sort}, {"person", NULL, &f->person},
               {"folder", NULL, &f->folder}, {"group", NULL, &f->group}, {"node", NULL, &f->node}, {"admin", NULL, &f->admin}};
    unsigned i;

    if (*ctx->actor.limit) /* here, so that no list forgets it */
        f->admin = ctx->actor.limit;
    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        apr_status_t rv = one_of(ctx, all[i].field, all[i].words, all[i].value);
        if (rv != APR_SUCCESS)
            return rv;
    }
    if (!*f->sort)
        f->sort = "name";
    f->q = f->q ? f->q : "";
    if (strlen(f->q) > QUERY_MAX_BYTES)
        return mdm_fail(ctx, MDM_EINPUT, "q", "must be at most %d bytes of text", QUERY_MAX_BYTES);
    f->q = mdm_clean(ctx->pool, f->q, QUERY_MAX_BYTES);
    f->lost = f->lost != 0;
    f->orphan = f->orphan != 0;
    return APR_SUCCESS;
}

json_t *mdm_device_filter_json(const mdm_device_filter_t *f)
{
    const struct {
        const char *name, *value;
    } all[] = {{"q", f->q}, {"state", f->state}, {"mode", f->mode}, {"platform", f->platform}, {"ownership", f->ownership},
               {"person", f->person}, {"folder", f->folder}, {"group", f->group}, {"node", f->node}};
    json_t *out = json_object();
    unsigned i;

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].value && *all[i].value)
            json_object_set_new(out, all[i].name, json_string(all[i].value));
    }
    if (f->lost)
        json_object_set_new(out, "lost", json_true());
    if (f->orphan)
        json_object_set_new(out, "source_removed", json_true());
    return out;
}

apr_status_t mdm_device_filter_read(mdm_ctx_t *ctx, json_t *in, mdm_device_filter_t *f)
{
    const mdm_jfield_t fields[] = {{"q", MDM_JF_STR, 0, 0, QUERY_MAX_BYTES, NULL, 0, &f->q, NULL},
                                   {"state", MDM_JF_STR, 0, 0, 40, NULL, 0, &f->state, NULL},
                                   {"mode", MDM_JF_STR, 0, 0, 40, NULL, 0, &f->mode, NULL},
                                   {"platform", MDM_JF_STR, 0, 0, 40, NULL, 0, &f->platform, NULL},
                                   {"ownership", MDM_JF_STR, 0, 0, 40, NULL, 0, &f->ownership, NULL},
                                   {"person", MDM_JF_UUID, 0, 0, 0, NULL, 0, &f->person, NULL},
                                   {"folder", MDM_JF_UUID, 0, 0, 0, NULL, 0, &f->folder, NULL},
                                   {"group", MDM_JF_UUID, 0, 0, 0, NULL, 0, &f->group, NULL},
                                   {"node", MDM_JF_UUID, 0, 0, 0, NULL, 0, &f->node, NULL},
                                   {"lost", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &f->lost, NULL},
                                   {"source_removed", MDM_JF_BOOL, 0, 0, 0, NULL, 0, &f->orphan, NULL},
                                   {NULL}};
    apr_status_t rv;

    memset(f, 0, sizeof(*f));
    rv = mdm_json_fields(ctx, in, fields);
    return rv == APR_SUCCESS ? mdm_device_filter_check(ctx, f) : rv;
}

const char *mdm_device_filter_sig(apr_pool_t *p, const mdm_device_filter_t *f)
{
    return apr_psprintf(p, "device\n%s\n%s\n%s\n%s\n%s\n%s\n%d\n%d\n%s\n%s\n%s\n%s\n%s", f->sort, f->state, f->mode, f->platform,
                        f->ownership, f->person, f->lost, f->orphan, f->folder, f->group, f->node, f->admin, f->q);
}

#define FILTERS(f) \
    (f)->state, (f)->mode, (f)->platform, (f)->ownership, (f)->person, (f)->lost, (f)->orphan, (f)->folder, (f)->group, (f)->node, (f)->admin

/* ---- orders */

static int order_name(const void *a, const void *b)
{
    const mdm_device_row_t *x = a, *y = b;
    int c = strcmp(x->name_key, y->name_key);

    return c ? c : strcmp(x->id, y->id);
}

static int order_name_down(const void *a, const void *b)
{
    return order_name(b, a);
}

static int order_contact(const void *a, const void *b)
{
    const mdm_device_row_t *x = a, *y = b;

    if (x->last_contact_ms != y->last_contact_ms)
        return x->last_contact_ms < y->last_contact_ms ? -1 : 1;
    return strcmp(x->id, y->id);
}

static int order_contact_down(const void *a, const void *b)
{
    return order_contact(b, a);
}

/* ---- walking an index: ids of one page, and the last row that was looked at if the stretch ended before the page was full */

typedef struct walk_t {
    mdm_db_t *db;
    const mdm_device_filter_t *f;
    const mdm_page_t *page;
    int count;
    apr_array_header_t *ids; /* of char * */
    const char *end_id, *end_key; /* NULL: there is nothing behind */
    apr_int64_t end_num;
} walk_t;

/* The generated row types differ in name only. by_num: the key is a number. */
#define WALK(fn, query, end_query, key_field, arguments)                                            \
    static apr_status_t fn(walk_t *w)                                                               \
    {                                                                                               \
        end_query##_t *end;                                                                         \
        apr_array_header_t *rows;                                                                   \
        int i;                                                                                      \
        apr_status_t rv = query(w->db, arguments FILTERS(w->f), WALK_ROWS, w->count, &rows);        \
        for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++)                                      \
            APR_ARRAY_PUSH(w->ids, const char *) = APR_ARRAY_IDX(rows, i, query##_t).id;         \
        if (rv != APR_SUCCESS || w->ids->nelts == w->count)                                         \
            return rv;                                                                              \
        rv = end_query(w->db, arguments WALK_ROWS, &end);                                           \
        if (rv == APR_SUCCESS) {                                                                    \
            w->end_id = end->id;                                                                    \
            w->key_field = end->key;                                                                \
        }                                                                                           \
        return rv == APR_NOTFOUND ? APR_SUCCESS : rv;                                               \
    }

#define AFTER_NAME w->page->key, w->page->id,
#define AFTER_NUM w->page->first ? -1 : w->page->num, w->page->id,
#define BEFORE_NUM w->page->first ? APR_INT64_MAX : w->page->num, w->page->id,
#define FROM_THE_END

WALK(walk_name_up, mdm_q_device_walk_name_up, mdm_q_device_walk_end_name_up, end_key, AFTER_NAME)
WALK(walk_name_down, mdm_q_device_walk_name_down, mdm_q_device_walk_end_name_down, end_key, AFTER_NAME)
WALK(walk_name_last, mdm_q_device_walk_name_last, mdm_q_device_walk_end_name_last, end_key, FROM_THE_END)
WALK(walk_contact_up, mdm_q_device_walk_contact_up, mdm_q_device_walk_end_contact_up, end_num, AFTER_NUM)
WALK(walk_contact_down, mdm_q_device_walk_contact_down, mdm_q_device_walk_end_contact_down, end_num, BEFORE_NUM)

static const struct sort_t {
    const char *name;
    apr_status_t (*first)(walk_t *), (*next)(walk_t *);
    int (*order)(const void *, const void *);
    int by_num;
} orders[] = {{"name", walk_name_up, walk_name_up, order_name, 0},
              {"-name", walk_name_last, walk_name_down, order_name_down, 0},
              {"last_contact", walk_contact_up, walk_contact_up, order_contact, 1},
              {"-last_contact", walk_contact_down, walk_contact_down, order_contact_down, 1}};

static const struct sort_t *sort_of(const char *name)
{
    unsigned i;

    for (i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        if (strcmp(orders[i].name, name) == 0)
            return &orders[i];
    }
    return &orders[0];
}

/* ---- ids and rows */

static apr_status_t search(mdm_db_t *db, const char *q, apr_array_header_t *ids)
{
    apr_pool_t *p = mdm_db_ctx(db)->pool;
    char *upper = apr_pstrdup(p, q), *c;
    apr_array_header_t *rows;
    apr_status_t rv;
    int i;

    for (c = upper; *c; c++)
        *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
    rv = mdm_q_device_search(db, mdm_lower(p, q), upper, q, LAST_CHARACTER, MDM_DEVICE_HITS, &rows);
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; i++)
        APR_ARRAY_PUSH(ids, const char *) = APR_ARRAY_IDX(rows, i, mdm_q_device_search_t).id;
    return rv;
}

/* *found: some filter passes few devices, and ids holds them. Filters are asked in the order in which they are likely to be rare. */
static apr_status_t few(mdm_db_t *db, const mdm_device_filter_t *f, apr_array_header_t *ids, int *found)
{
    const struct {
        const char *kind, *value;
    } all[] = {{"person", f->person},
               {"group", f->group},
               {"lost", f->lost ? "1" : ""},
               {"orphan", f->orphan ? "1" : ""},
               {"platform", strcmp(f->platform, "ios") ? f->platform : ""},
               {"mode", strcmp(f->mode, "ios_mdm") ? f->mode : ""},
               {"folder", f->folder},
               {"node", f->node},
               {"state", f->state},
               {"admin", f->admin}};
    apr_array_header_t *rows;
    apr_status_t rv;
    unsigned i;
    int n;

    *found = 0;
    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (!*all[i].value)
            continue;
        if ((rv = mdm_q_device_ids_of(db, all[i].kind, all[i].value, MDM_DEVICE_HITS + 1, &rows)) != APR_SUCCESS)
            return rv;
        if (rows->nelts <= MDM_DEVICE_HITS) {
            for (n = 0; n < rows->nelts; n++)
                APR_ARRAY_PUSH(ids, const char *) = APR_ARRAY_IDX(rows, n, mdm_q_device_ids_of_t).id;
            *found = 1;
            return APR_SUCCESS;
        }
    }
    return APR_SUCCESS;
}

static void take(mdm_device_row_t *r, const mdm_q_device_rows_t *q)
{
    *r = (mdm_device_row_t){
        .id = q->id, .name = q->name, .name_key = q->name_key, .person_id = q->person_id, .person_name = q->person_name,
        .person_login = q->person_login, .state = q->state, .mode = q->mode, .level = q->level, .ownership = q->ownership,
        .platform = q->platform, .model = q->model, .product = q->product, .serial = q->serial, .os_version = q->os_version,
        .compliance = q->compliance, .folder_id = q->folder_id, .folder_name = q->folder_name,
        .test_device = q->test_device != 0, .worst = (int)q->worst, .lost_ms = q->lost_ms_null ? 0 : q->lost_ms,
        .created_ms = q->created_ms, .enrolled_ms = q->enrolled_ms_null ? 0 : q->enrolled_ms,
        .last_contact_ms = q->contact_key, .last_eas_ms = q->last_eas_ms_null ? 0 : q->last_eas_ms,
        .commands_open = q->commands_open, .version = q->version};
}

/* The rows of these ids that pass the filters, in the order of the ids. */
static apr_status_t rows_of(mdm_db_t *db, const mdm_device_filter_t *f, const apr_array_header_t *ids, apr_array_header_t *out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    apr_hash_t *by_id = apr_hash_make(ctx->pool);
    json_t *list = mdm_json_own(ctx, json_array());
    apr_array_header_t *rows;
    apr_status_t rv;
    int i;

    if (!ids->nelts)
        return APR_SUCCESS;
    for (i = 0; i < ids->nelts; i++)
        json_array_append_new(list, json_string(APR_ARRAY_IDX(ids, i, const char *)));
    if ((rv = mdm_q_device_rows(db, mdm_json_text(ctx->pool, list), FILTERS(f), &rows)) != APR_SUCCESS)
        return rv;
    for (i = 0; i < rows->nelts; i++) {
        const mdm_q_device_rows_t *row = &APR_ARRAY_IDX(rows, i, mdm_q_device_rows_t);
        apr_hash_set(by_id, row->id, APR_HASH_KEY_STRING, row);
    }
    for (i = 0; i < ids->nelts; i++) {
        const mdm_q_device_rows_t *row = apr_hash_get(by_id, APR_ARRAY_IDX(ids, i, const char *), APR_HASH_KEY_STRING);
        if (row)
            take(apr_array_push(out), row);
    }
    return APR_SUCCESS;
}

/* ---- pages */

static const char *cursor(mdm_ctx_t *ctx, const mdm_page_t *page, const struct sort_t *sort, const char *key, apr_int64_t num,
                          const char *id)
{
    return sort->by_num ? mdm_page_next_num(ctx, page, num, id) : mdm_page_next(ctx, page, key, id);
}

/* Of a set: what stands behind the cursor, in an order that depends on no database. */
static void behind(apr_array_header_t *all, const mdm_page_t *page, const struct sort_t *sort, int count,
                   apr_array_header_t *out)
{
    mdm_device_row_t seen = {.id = page->id, .name_key = page->key, .last_contact_ms = page->num};
    int i;

    if (all->nelts)
        qsort(all->elts, (size_t)all->nelts, sizeof(mdm_device_row_t), sort->order);
    for (i = 0; i < all->nelts && out->nelts < count; i++) {
        const mdm_device_row_t *row = &APR_ARRAY_IDX(all, i, mdm_device_row_t);
        if (page->first || sort->order(row, &seen) > 0)
            *(mdm_device_row_t *)apr_array_push(out) = *row;
    }
}

apr_status_t mdm_device_list(mdm_db_t *db, const mdm_device_filter_t *f, const mdm_page_t *page,
                             apr_array_header_t **rows, const char **next)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const struct sort_t *sort = sort_of(f->sort);
    apr_array_header_t *ids = apr_array_make(ctx->pool, page->count + 1, sizeof(char *)),
                       *all = apr_array_make(ctx->pool, page->count + 1, sizeof(mdm_device_row_t)),
                       *out = apr_array_make(ctx->pool, page->count + 1, sizeof(mdm_device_row_t));
    walk_t w = {db, f, page, page->count + 1, ids, NULL, NULL, 0};
    int set = *f->q != '\0', more;
    apr_status_t rv = set ? search(db, f->q, ids) : few(db, f, ids, &set);

    *next = NULL;
    if (rv == APR_SUCCESS && !set)
        rv = page->first ? sort->first(&w) : sort->next(&w);
    if (rv == APR_SUCCESS)
        rv = rows_of(db, f, ids, all);
    if (rv != APR_SUCCESS)
        return rv;
    if (set)
        behind(all, page, sort, page->count + 1, out);
    else
        out = all;
    more = out->nelts > page->count;
    if (more) {
        const mdm_device_row_t *last = &APR_ARRAY_IDX(out, page->count - 1, mdm_device_row_t);

        out->nelts = page->count;
        *next = cursor(ctx, page, sort, last->name_key, last->last_contact_ms, last->id);
    } else if (w.end_id) {
        more = 1;
        *next = cursor(ctx, page, sort, w.end_key, w.end_num, w.end_id);
    }
    *rows = out;
    return more && !*next ? MDM_EUNAVAIL : APR_SUCCESS;
}
