/* The work of bulk runs: checking rows, making their enrolments, removing. A check is the same work, rolled back: what it says is what the run would do.
 * Each batch is one transaction that also says how far the run is (PEN-06). */
#include <string.h>

#include <apr_strings.h>

#include "base/mdm_json.h"
#include "domain/mdm_bulk.h"
#include "domain/mdm_otp.h"
#include "mdm_sql_gen.h"

#define BATCH 50          /* rows of one transaction */
#define REMOVE_BATCH 1000 /* rows removed in one */
#define SLICE_MS 10000    /* then others of the same class have their turn */
#define AGAIN_MS 30000    /* after trouble of ours, at most: it never fails for good by that */
#define TRIES 3           /* of a row that ends its transaction */
#define PROGRESS 20       /* batches between two looks at the lease */

/* What one run of the job remembers from batch to batch. */
typedef struct place_t {
    int more;             /* there is another batch */
    int alone;            /* so many rows go one by one: one of them has ended its transaction */
    int tries;            /* of the row that goes alone */
    int failed;           /* it can't go on: the run tells why */
    apr_int64_t walked, total;
} place_t;

/* One row of the batch, and what becomes of it. */
typedef struct item_t {
    apr_int64_t n, made;
    mdm_bulk_row_t row;
    const char *result, *field, *note;
    mdm_person_t *person;
    mdm_enroll_policy_t *policy; /* NULL: not found together with those of the others */
} item_t;

typedef struct run_t {
    mdm_ctx_t *ctx; /* of this batch */
    mdm_db_t *db;
    const char *id;
    mdm_q_bulk_work_t *work;
    mdm_bulk_options_t options;
    mdm_otp_conf_t *conf;
    int at[MDM_BULK_COLUMNS], real; /* real: not only a check */
    item_t *items;
    int n;
    place_t *place;
} run_t;

/* ---------------------------------------------------------------- reading the batch */

static void bad(item_t *it, const char *field, const char *note)
{
    it->result = "bad";
    it->field = field ? field : "";
    it->note = note;
}

static apr_status_t read_items(run_t *r)
{
    mdm_csv_row_t head = mdm_bulk_head(r->ctx, r->work->titles), cells;
    apr_array_header_t *rows;
    int i;
    apr_status_t rv = mdm_csv_head(r->ctx, &head, mdm_bulk_columns, MDM_BULK_COLUMNS, r->at);

    mdm_bulk_options_read(r->ctx, r->work->options, &r->options);
    if (rv == APR_SUCCESS) {
        rv = mdm_q_bulk_rows(r->db, r->id, r->work->walked, r->place->alone ? 1 : BATCH, &rows);
    }
    r->n = rv == APR_SUCCESS ? rows->nelts : 0;
    r->items = apr_pcalloc(r->ctx->pool, ((apr_size_t)r->n + 1) * sizeof(*r->items));
    for (i = 0; rv == APR_SUCCESS && i < r->n; i++) {
        const mdm_q_bulk_rows_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_bulk_rows_t);
        item_t *it = &r->items[i];

        *it = (item_t){.n = q->n, .result = "good", .field = "", .note = ""};
        if (!*q->cells) { /* it could not be read when it came */
            bad(it, "", q->note);
        } else if (mdm_bulk_cells(r->ctx, r->id, q->n, q->cells, &cells) != APR_SUCCESS) {
            r->place->failed = 1;
            return mdm_fail(r->ctx, MDM_EUNAVAIL, NULL, "The rows of this run don't open: their sealing key is gone.");
        } else {
            mdm_bulk_row_read(r->ctx, &cells, r->at, &r->options, &it->row);
            if (it->row.error) {
                bad(it, it->row.field, it->row.error);
            }
        }
    }
    return rv;
}

/* ---------------------------------------------------------------- people */

/* What is asked for one row, keyed by its number in the batch. */
static json_t *question(run_t *r, int i)
{
    const char *typed = r->items[i].row.user, *user, *domain;
    json_t *j;
    char key[12];

    if (mdm_login_split(r->ctx, typed, NULL, &user, &domain) != APR_SUCCESS) {
        return NULL;
    }
    apr_snprintf(key, sizeof(key), "%d", i);
    j = json_pack("{s:s, s:s, s:s, s:s}", "k", key, "u", mdm_lower(r->ctx->pool, user), "d", domain, "m",
                  strchr(typed, '@') && !strchr(typed, '\\') ? mdm_lower(r->ctx->pool, typed) : "");
    return j;
}

/* A log-in says more than an address; an address of two people is nobody's. */
static void answer(item_t *it, const mdm_q_bulk_people_t *q, apr_pool_t *p, int *how)
{
    if (q->how > *how) {
        return;
    }
    if (it->person && q->how == *how && strcmp(it->person->id, q->id) != 0) {
        bad(it, "username", "is the address of several people");
        return;
    }
    it->person = apr_pcalloc(p, sizeof(*it->person));
    *it->person = (mdm_person_t){.id = q->id, .source_id = q->source_id, .login = q->login, .name = q->name, .mail = q->mail, .phone = q->phone,
                                 .folder_id = q->folder_id, .disabled = (int)q->disabled, .version = q->version};
    *how = (int)q->how;
    it->result = "good";
}

static apr_status_t find_people(run_t *r)
{
    json_t *list = mdm_json_own(r->ctx, json_array());
    int *how = apr_pcalloc(r->ctx->pool, ((apr_size_t)r->n + 1) * sizeof(*how)), i;
    apr_array_header_t *rows;
    apr_status_t rv;

    for (i = 0; i < r->n; i++) {
        json_t *q = r->items[i].row.error || *r->items[i].result != 'g' ? NULL : question(r, i);

        how[i] = 2;
        if (q) {
            json_array_append_new(list, q);
        }
    }
    rv = json_array_size(list) ? mdm_q_bulk_people(r->db, mdm_json_text(r->ctx->pool, list), &rows) : APR_SUCCESS;
    for (i = 0; rv == APR_SUCCESS && json_array_size(list) && i < rows->nelts; i++) {
        const mdm_q_bulk_people_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_bulk_people_t);
        apr_int64_t k = 0;

        if (mdm_parse_i64(q->k, 0, r->n - 1, &k) == APR_SUCCESS) {
            answer(&r->items[k], q, r->ctx->pool, &how[k]);
        }
    }
    for (i = 0; rv == APR_SUCCESS && i < r->n; i++) {
        item_t *it = &r->items[i];

        if (*it->result == 'b') {
            continue;
        }
        if (!it->person || it->person->disabled) {
            bad(it, "username", it->person ? "may not log in" : "is nobody who is known here");
            continue;
        }
        mdm_bulk_row_person(&it->row, it->person);
        if (it->row.error) {
            bad(it, it->row.field, it->row.error);
        }
    }
    return rv;
}

/* ---------------------------------------------------------------- what else rows name */

static apr_status_t find_folders(run_t *r)
{
    mdm_bulk_folders_t *folders = NULL;
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; rv == APR_SUCCESS && i < r->n; i++) {
        item_t *it = &r->items[i];
        const char *fault;

        if (*it->result == 'b' || !*it->row.folder || (!folders && (rv = mdm_bulk_folders(r->db, &folders)) != APR_SUCCESS)) {
            continue;
        }
        if ((fault = mdm_bulk_folder(r->ctx->pool, folders, it->row.folder, &it->row.folder_id)) != NULL) {
            bad(it, "folder", fault);
        }
    }
    return rv;
}

/* A check is rolled back, so that enrolments alone don't tell of a one-time password that an earlier row has. */
static apr_status_t find_twins(run_t *r)
{
    apr_array_header_t *rows;
    int i, given = 0;
    apr_status_t rv;

    for (i = 0; i < r->n; i++) {
        given |= *r->items[i].result != 'b' && *r->items[i].row.otp;
    }
    rv = given ? mdm_q_bulk_otp_twice(r->db, r->id, r->items[0].n, r->items[r->n - 1].n, &rows) : APR_SUCCESS;
    for (i = 0; rv == APR_SUCCESS && given && i < rows->nelts; i++) {
        const mdm_q_bulk_otp_twice_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_bulk_otp_twice_t);
        item_t *it = &r->items[q->n - r->items[0].n];

        if (*it->result != 'b') {
            bad(it, "otp", apr_psprintf(r->ctx->pool, "is that of line %" APR_INT64_T_FMT " too", q->line));
        }
    }
    return rv;
}

/* A password that nobody will be asked for is not kept: who gave it should know. */
static void judge_otp(const run_t *r, item_t *it)
{
    const mdm_bulk_row_t *row = &it->row;
    const char *level = *row->level || !it->policy ? row->level : it->policy->level;
    const char *need = mdm_otp_need(r->conf, *row->platform ? row->platform : "unknown", "bulk");

    if (*row->otp && !row->warning && (!*need || !strcmp(need, "password") || !strcmp(level, "email_only"))) {
        it->row.warning = "No one-time password is asked for: the one that is given is not used.";
    }
}

/* For the whole batch at once, with what else is the same for all: alone it is the dearest question of an enrolment. */
static apr_status_t find_policies(run_t *r)
{
    json_t *ids = mdm_json_own(r->ctx, json_array());
    apr_hash_t *policies;
    int i;
    apr_status_t rv;

    for (i = 0; i < r->n; i++) {
        if (r->items[i].person) {
            json_array_append_new(ids, json_string(r->items[i].person->id));
        }
    }
    rv = mdm_enroll_policies(r->db, ids, &policies);
    rv = rv == APR_SUCCESS ? mdm_otp_conf(r->db, &r->conf) : rv;
    for (i = 0; rv == APR_SUCCESS && i < r->n; i++) {
        item_t *it = &r->items[i];

        it->policy = it->person ? apr_hash_get(policies, it->person->id, APR_HASH_KEY_STRING) : NULL;
        if (*it->result != 'b') {
            judge_otp(r, it);
        }
    }
    return rv;
}

/* ---------------------------------------------------------------- making enrolments */

/* What is the row's own fault, and has not ended the transaction by itself. */
static int of_the_row(apr_status_t rv)
{
    return rv == MDM_EDENIED || rv == MDM_EINPUT || rv == MDM_ECONFLICT || APR_STATUS_IS_NOTFOUND(rv);
}

static apr_status_t provision(run_t *r, item_t *it)
{
    const mdm_bulk_row_t *row = &it->row;
    mdm_provision_t how = {.platform = row->platform, .ownership = row->ownership, .level = row->level, .phone = *row->phone ? row->phone : NULL,
                           .mail = *row->mail ? row->mail : NULL, .origin = "bulk", .authorised_by = r->work->created_by, .run_id = r->id,
                           .notify = row->notify, .otp = *row->otp ? row->otp : NULL, .otp_life_ms = row->otp_life_ms,
                           .valid_from_ms = row->valid_from_ms, .folder_id = row->folder_id,
                           .expected_serial = *row->serial ? row->serial : NULL, .expected_imei = *row->imei ? row->imei : NULL,
                           .language = *row->language ? row->language : NULL, .policy = it->policy, .conf = r->conf};
    apr_status_t rv = APR_SUCCESS;
    apr_int64_t i;

    for (i = 0; rv == APR_SUCCESS && i < row->count; i++) {
        const char *token;
        int made = 0;

        how.run_row = it->n * 100 + i;
        rv = mdm_pending_provision(r->db, it->person, &how, NULL, &token, &made);
        it->made += rv == APR_SUCCESS;
    }
    return rv;
}

/* Rows that fail after a part of their enrolments keep that part: the row tells how many. */
static apr_status_t make(run_t *r)
{
    int i;
    apr_status_t rv = APR_SUCCESS;

    for (i = 0; rv == APR_SUCCESS && i < r->n; i++) {
        item_t *it = &r->items[i];

        if (*it->result == 'b') {
            continue;
        }
        r->ctx->fail_field = r->ctx->fail_text = NULL;
        rv = provision(r, it);
        if (of_the_row(rv)) {
            bad(it, r->ctx->fail_field, r->ctx->fail_text ? r->ctx->fail_text : "It was refused.");
            rv = APR_SUCCESS;
        } else if (rv == APR_SUCCESS && it->row.warning) {
            it->result = "warning";
            it->note = it->row.warning;
        }
    }
    return rv;
}

static apr_status_t write_down(run_t *r)
{
    json_t *list = mdm_json_own(r->ctx, json_array());
    apr_int64_t good = 0, wrong = 0, warned = 0, made = 0;
    int i;
    apr_status_t rv;

    for (i = 0; i < r->n; i++) {
        const item_t *it = &r->items[i];

        json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s, s:I}", "n", (json_int_t)it->n, "result", it->result, "field", it->field, "note",
                                              mdm_clean(r->ctx->pool, it->note, 300), "made", (json_int_t)(r->real ? it->made : 0)));
        good += *it->result != 'b';
        wrong += *it->result == 'b';
        warned += *it->result == 'w';
        made += r->real ? it->made : 0;
    }
    rv = mdm_q_bulk_rows_set(r->db, r->id, mdm_json_text(r->ctx->pool, list), NULL);
    return rv != APR_SUCCESS ? rv : mdm_q_bulk_walked(r->db, r->id, r->work->state, r->work->walked, r->items[r->n - 1].n, good, wrong, warned, made);
}

static apr_status_t in_tx(run_t *r, apr_status_t (*fn)(run_t *), int keep)
{
    apr_status_t rv = mdm_db_begin(r->db);

    rv = rv == APR_SUCCESS ? fn(r) : rv;
    if (keep || rv != APR_SUCCESS) {
        return mdm_db_end(r->db, rv);
    }
    mdm_db_rollback(r->db);
    return rv;
}

static apr_status_t make_and_write(run_t *r)
{
    apr_status_t rv = make(r);

    return rv == APR_SUCCESS ? write_down(r) : rv;
}

/* The batch was rolled back by something that is not a row's plain fault. Each of its rows then goes alone; who ends his transaction again and
 * again, while the database answers, is bad by himself. */
static apr_status_t parted(run_t *r, apr_status_t rv)
{
    place_t *at = r->place;

    at->more = 1;
    if (!at->alone) {
        at->alone = r->n;
        at->tries = 0;
        return APR_SUCCESS;
    }
    if (++at->tries < TRIES) {
        return APR_SUCCESS;
    }
    r->items[0].made = 0;
    bad(&r->items[0], r->ctx->fail_field, r->ctx->fail_text && of_the_row(rv) ? r->ctx->fail_text : "It could not be made.");
    at->tries = 0;
    at->alone--;
    return in_tx(r, write_down, 1);
}

static apr_status_t rows_step(run_t *r)
{
    apr_status_t rv = read_items(r);

    r->real = !strcmp(r->work->state, "running");
    if (rv == APR_SUCCESS && !r->n) {
        return mdm_q_bulk_ended(r->db, r->id, r->work->state, r->real ? "done" : "checked", mdm_now_ms(r->ctx));
    }
    rv = rv == APR_SUCCESS ? find_people(r) : rv;
    rv = rv == APR_SUCCESS ? find_folders(r) : rv;
    rv = rv == APR_SUCCESS ? find_twins(r) : rv;
    rv = rv == APR_SUCCESS ? find_policies(r) : rv;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = r->real ? in_tx(r, make_and_write, 1) : in_tx(r, make, 0);
    if (rv == APR_SUCCESS && !r->real) {
        rv = in_tx(r, write_down, 1);
    }
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        r->place->more = 1; /* the run has changed: it was cancelled, or another one goes on with it */
        return APR_SUCCESS;
    }
    if (rv != APR_SUCCESS) {
        return parted(r, rv);
    }
    r->place->alone -= r->place->alone > 0;
    r->place->more = 1;
    return rv;
}

/* ---------------------------------------------------------------- removing */

static apr_status_t remove_batch(run_t *r)
{
    apr_array_header_t *open = NULL;
    int i, n = 0;
    apr_status_t rv = APR_SUCCESS;

    if (r->work->cancel_open) {
        rv = mdm_q_bulk_open(r->db, r->id, mdm_now_ms(r->ctx), BATCH, &open);
    }
    for (i = 0; rv == APR_SUCCESS && open && i < open->nelts; i++) {
        rv = mdm_pending_cancel(r->db, APR_ARRAY_IDX(open, i, mdm_q_bulk_open_t).id);
        rv = rv == MDM_ECONFLICT ? APR_SUCCESS : rv; /* somebody has used it just now */
    }
    if (rv != APR_SUCCESS || (open && open->nelts)) {
        return rv;
    }
    rv = mdm_q_bulk_rows_drop(r->db, r->id, REMOVE_BATCH, &n);
    if (rv == APR_SUCCESS && n < REMOVE_BATCH) {
        rv = mdm_q_bulk_drop(r->db, r->id, NULL);
        r->place->more = 0;
    }
    return rv;
}

/* ---------------------------------------------------------------- the job */

/* As whoever uploaded it: his name stands in the audit, his limits hold. */
static void act_for(run_t *r)
{
    r->ctx->actor.kind = "admin";
    r->ctx->actor.id = r->work->admin_id;
    r->ctx->actor.name = r->work->created_by;
    r->ctx->actor.limit = r->work->limit_admin;
}

static apr_status_t step(mdm_ctx_t *parent, const char *id, place_t *at)
{
    run_t r = {.ctx = mdm_ctx_sub(parent), .id = id, .place = at};
    apr_status_t rv = mdm_db_open(r.ctx, &r.db);

    at->more = 0;
    if (rv == APR_SUCCESS) {
        rv = mdm_q_bulk_work(r.db, id, &r.work);
        if (rv == APR_SUCCESS) {
            act_for(&r);
            at->walked = r.work->walked;
            at->total = r.work->total;
            if (!strcmp(r.work->state, "removing")) {
                at->more = 1;
                rv = in_tx(&r, remove_batch, 1);
            } else if (!strcmp(r.work->state, "checking") || !strcmp(r.work->state, "running")) {
                rv = rows_step(&r);
            }
        }
        if (rv != APR_SUCCESS && !APR_STATUS_IS_NOTFOUND(rv) && r.ctx->fail_text) {
            mdm_q_bulk_failed(r.db, id, mdm_clean(r.ctx->pool, r.ctx->fail_text, 300), NULL);
        }
        mdm_db_close(r.db);
    }
    apr_pool_destroy(r.ctx->pool);
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
}

apr_status_t mdm_bulk_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s)
{
    const char *id = json_string_value(json_object_get(job->payload, "run"));
    apr_int64_t began = mdm_now_ms(ctx), now = began;
    place_t at = {.more = 1};
    int batches = 0;
    apr_status_t rv = APR_SUCCESS;

    while (id && rv == APR_SUCCESS && at.more && !mdm_job_stopping(job) && now >= began && now - began < SLICE_MS) {
        rv = step(ctx, id, &at);
        now = mdm_now_ms(ctx);
        if (rv == APR_SUCCESS && batches++ % PROGRESS == 0) {
            mdm_ctx_t *sub = mdm_ctx_sub(ctx);

            rv = mdm_job_progress(sub, job, at.walked, at.total, lease_s);
            rv = APR_STATUS_IS_NOTFOUND(rv) ? APR_SUCCESS : rv;
            apr_pool_destroy(sub->pool);
        }
    }
    if (rv == APR_SUCCESS && at.more && id) {
        job->again_ms = now; /* others have their turn, or the child stops: it goes on */
    } else if (rv != APR_SUCCESS && !at.failed) {
        job->again_ms = now + AGAIN_MS;
    }
    return at.failed ? APR_SUCCESS : rv;
}
