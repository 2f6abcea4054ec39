/* The background matcher: people with marks, in batches. */
#include "domain/mdm_match_priv.h"

#include <stdlib.h>
#include <string.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include "base/mdm_json.h"
#include "domain/mdm_enroll.h"
#include "domain/mdm_log_rows.h"
#include "domain/mdm_notice.h"

#define SET_MINUTES "match.minutes"
#define SET_MODE "match.mode"
#define MINUTES 2
#define MINUTE_MS 60000LL
#define BATCH 200   /* marks of a transaction */
#define BUSY_MS 5000 /* when somebody was at work with one of those to be looked at */
#define DAY_MS (24 * 3600 * 1000LL)
#define ASKED_AGAIN_MS (3 * DAY_MS)
#define ASKED_END_MS (14 * DAY_MS)
#define SHOWN 10    /* candidates that an exception tells of */

static int is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* ---------------------------------------------------------------- one person */

/* DeviceInformation and what the request said, as the gate keeps it. */
static const char *attr(json_t *attrs, const char *name)
{
    return json_string_value(json_object_get(attrs, name));
}

/* Only a mail server has told of it (EAS-05). */
static int is_told(const mdm_q_match_records_t *q)
{
    return is(q->state, "discovered");
}

#define PROVISIONAL_MS DAY_MS

/* When this record came to be known. */
static apr_int64_t came(const mdm_q_match_records_t *q)
{
    return is(q->kind, "eas") || q->enrolled_ms_null ? q->first_seen_ms : q->enrolled_ms;
}

/* What was guessed in the last day is judged again when another record of the person has come since: who comes first must not matter (facts 7.11). */
static int is_provisional(mdm_ctx_t *ctx, const apr_array_header_t *rows, int from, int to, const mdm_q_match_records_t *q, apr_int64_t at_ms)
{
    int i;

    for (i = from; at_ms > mdm_now_ms(ctx) - PROVISIONAL_MS && i < to; ++i) {
        const mdm_q_match_records_t *o = &APR_ARRAY_IDX(rows, i, mdm_q_match_records_t);

        if (o != q && !is_told(o) && came(o) > at_ms) {
            return 1;
        }
    }
    return 0;
}

/* On a managed device, or said to be a phone of its own. */
static int stands(mdm_ctx_t *ctx, const apr_array_header_t *rows, int from, int to, const mdm_q_match_records_t *q)
{
    json_t *rule = mdm_json_own(ctx, json_loads(q->match_rule, 0, NULL));
    const char *tier = attr(rule, "tier");

    if (is(tier, "manual")) {
        return MDM_MATCH_SAID;
    }
    if (!q->device_id || !strcmp(q->device_mode, "eas")) {
        return MDM_MATCH_FREE;
    }
    return !is(tier, "attr") ? MDM_MATCH_FIRM
           : q->foreign_key || is_provisional(ctx, rows, from, to, q, json_integer_value(json_object_get(rule, "at_ms"))) ? MDM_MATCH_FREE : MDM_MATCH_GUESS;
}

static mdm_match_said_t said_of(mdm_ctx_t *ctx, const apr_array_header_t *rows, int from, int to, const mdm_q_match_records_t *q)
{
    mdm_match_said_t s = {.id = q->id, .device_id = q->device_id, .platform = q->platform};

    if (is(q->kind, "eas")) {
        json_t *attrs = mdm_json_own(ctx, json_loads(q->attrs, 0, NULL));

        s.class = q->class;
        s.eas_id = q->native_id;
        s.device_type = attr(attrs, "type");
        s.user_agent = attr(attrs, "user_agent");
        s.model = attr(attrs, "model");
        s.imei = attr(attrs, "imei");
        s.phone = attr(attrs, "phone_number");
        s.os_version = attr(attrs, "os");
        s.first_ms = q->first_seen_ms;
        s.linked = stands(ctx, rows, from, to, q);
        s.whose = q->foreign_key ? MDM_MATCH_THEIRS : q->shared ? MDM_MATCH_SHARED : MDM_MATCH_OURS;
        s.told = is_told(q);
        s.silent = q->last_ms <= mdm_now_ms(ctx) - MDM_EAS_SILENT_MS;
        return s;
    }
    s.eas_id = q->told;
    s.serial = q->serial;
    s.imei = q->imei;
    s.model = q->model;
    s.product = q->product;
    s.os_version = q->os_version;
    s.build = q->build;
    s.phone = q->phone;
    s.first_ms = q->enrolled_ms_null ? 0 : q->enrolled_ms;
    return s;
}

/* Left records and objects that wait for an administrator are nobody's candidates. */
static int takes_part(const mdm_q_match_records_t *q)
{
    if (is(q->kind, "eas")) {
        return is_told(q) || ((is(q->state, "authenticated") || is(q->state, "enrolled"))
                              && (is(q->device_state, "pending") || is(q->device_state, "active")));
    }
    return is(q->state, "enrolled") && is(q->device_state, "active");
}

apr_array_header_t *mdm_match_person(mdm_ctx_t *ctx, const apr_array_header_t *rows, int from, int to, int told, const apr_array_header_t *splits,
                                     mdm_match_mode_e mode, apr_array_header_t **records)
{
    int i;

    *records = apr_array_make(ctx->pool, to - from, sizeof(mdm_match_record_t));
    for (i = from; i < to; ++i) {
        const mdm_q_match_records_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_match_records_t);

        if (takes_part(q) && (told || !is_told(q))) {
            const mdm_match_said_t said = said_of(ctx, rows, from, to, q);

            mdm_match_read(ctx->pool, &said, apr_array_push(*records));
        }
    }
    return mdm_match_decide(ctx->pool, *records, (const mdm_match_split_t *)splits->elts, splits->nelts, mode);
}

const mdm_q_match_records_t *mdm_match_row(const apr_array_header_t *rows, int from, int to, const char *record_id)
{
    int i;

    for (i = from; i < to; ++i) {
        if (strcmp(APR_ARRAY_IDX(rows, i, mdm_q_match_records_t).id, record_id) == 0) {
            return &APR_ARRAY_IDX(rows, i, mdm_q_match_records_t);
        }
    }
    return NULL;
}

apr_status_t mdm_match_read_people(mdm_db_t *db, const char *people, apr_array_header_t **rows, apr_array_header_t **splits)
{
    apr_array_header_t *parted;
    apr_status_t rv = mdm_q_match_records(db, people, rows);
    int i;

    if (rv != APR_SUCCESS || (rv = mdm_q_match_splits(db, people, &parted)) != APR_SUCCESS) {
        return rv;
    }
    *splits = apr_array_make(mdm_db_ctx(db)->pool, parted->nelts, sizeof(mdm_match_split_t));
    for (i = 0; i < parted->nelts; ++i) {
        const mdm_q_match_splits_t *q = &APR_ARRAY_IDX(parted, i, mdm_q_match_splits_t);

        APR_ARRAY_PUSH(*splits, mdm_match_split_t) = (mdm_match_split_t){q->a, q->b};
    }
    return APR_SUCCESS;
}

/* ---------------------------------------------------------------- one batch */

/* A match that is to be written. */
typedef struct link_t {
    const mdm_q_match_records_t *mail, *managed;
    mdm_eas_join_t join;
} link_t;

typedef struct batch_t {
    mdm_db_t *db;
    mdm_ctx_t *ctx;          /* its pool lives as long as the batch */
    mdm_match_mode_e mode;
    apr_hash_t *policies;    /* mdm_enroll_policies() of the people */
    apr_array_header_t *links; /* of link_t; managed NULL: it comes off the device that it was guessed to be on */
    json_t *seqs, *people, *exceptions, *keep; /* keep: ids of the records with exceptions */
    int n_people, n_exact, n_attr, n_marks, n_busy;
} batch_t;

static json_t *candidates_json(const apr_array_header_t *rows, int from, int to, const apr_array_header_t *records, const mdm_match_found_t *f)
{
    json_t *out = json_array();
    int i;

    for (i = 0; i < f->candidates->nelts && i < SHOWN; ++i) {
        const mdm_match_candidate_t *c = &APR_ARRAY_IDX(f->candidates, i, mdm_match_candidate_t);
        const mdm_q_match_records_t *q = mdm_match_row(rows, from, to, APR_ARRAY_IDX(records, c->managed, mdm_match_record_t).id);

        json_array_append_new(out, json_pack("{s:s, s:s, s:f, s:s, s:s?}", "device", q->device_id, "name", q->device_name, "score", c->score, "why",
                                             c->why, "excluded", c->excluded));
    }
    return out;
}

/* A device with mail alone that its person has finished is nothing that somebody must look at, unless it may be one of the others. */
static int is_exception(const mdm_q_match_records_t *q, const char *code)
{
    return !is(code, "no_candidate") || is_told(q) || is(q->device_state, "pending");
}

/* Its owner is asked in the portal: nobody else has to look at it for a while (MAT-05). */
static int is_asked(const batch_t *b, const mdm_q_match_records_t *q, const char *code)
{
    const mdm_enroll_policy_t *policy = apr_hash_get(b->policies, q->person_id, APR_HASH_KEY_STRING);

    return policy && policy->manual_reconcile && !is_told(q) && is(q->device_state, "pending") && (is(code, "ambiguous") || is(code, "no_candidate"));
}

static void except(batch_t *b, const mdm_q_match_records_t *q, const char *code, json_t *candidates)
{
    code = is_asked(b, q, code) ? "manual_pending" : code;
    if (is_exception(q, code)) {
        json_array_append_new(b->keep, json_string(q->id));
        json_array_append_new(b->exceptions, json_pack("{s:s, s:s, s:s, s:s}", "record_id", q->id, "person_id", q->person_id, "code", code, "candidates",
                                                       mdm_json_text(b->ctx->pool, candidates)));
    }
    json_decref(candidates);
}

static void person(batch_t *b, const apr_array_header_t *rows, int from, int to, int told, const apr_array_header_t *splits)
{
    apr_array_header_t *records, *found = mdm_match_person(b->ctx, rows, from, to, told, splits, b->mode, &records);
    int i;

    b->n_people++;
    for (i = 0; i < found->nelts; ++i) {
        const mdm_match_found_t *f = &APR_ARRAY_IDX(found, i, mdm_match_found_t);
        const mdm_q_match_records_t *q = mdm_match_row(rows, from, to, APR_ARRAY_IDX(records, f->mail, mdm_match_record_t).id);
        link_t *l;

        if (!f->tier && !is(f->code, "contradicts") && q->device_id && strcmp(q->device_mode, "eas") != 0) {
            l = apr_array_push(b->links);
            *l = (link_t){.mail = q};
        }
        if (f->tier && !strcmp(f->tier, "attr") && is(q->device_id, APR_ARRAY_IDX(records, f->managed, mdm_match_record_t).device_id)) {
            continue; /* judged again, and the same */
        }
        if (!f->tier) {
            except(b, q, f->code, candidates_json(rows, from, to, records, f));
            continue;
        }
        l = apr_array_push(b->links);
        l->mail = q;
        l->managed = mdm_match_row(rows, from, to, APR_ARRAY_IDX(records, f->managed, mdm_match_record_t).id);
        l->join = (mdm_eas_join_t){.device_id = l->managed->device_id, .tier = f->tier, .rule = f->rule, .value = f->value,
                                   .score = is(f->tier, "attr") ? f->score : 0};
    }
}

/* More than anybody has: left to people, since the comparison is of each with each. */
static void too_many(batch_t *b, const apr_array_header_t *rows, int from, int to, int all)
{
    int i;

    for (i = from; i < to; ++i) {
        const mdm_q_match_records_t *q = &APR_ARRAY_IDX(rows, i, mdm_q_match_records_t);

        if (is(q->kind, "eas") && (is_told(q) ? !q->device_id : all && is(q->device_mode, "eas")) && takes_part(q)) {
            except(b, q, "too_many", json_array());
        }
    }
}

static void decide(batch_t *b, const apr_array_header_t *rows, const apr_array_header_t *splits)
{
    int from, to, told;

    for (from = 0; from < rows->nelts; from = to) {
        const char *id = APR_ARRAY_IDX(rows, from, mdm_q_match_records_t).person_id;

        for (to = from, told = 0; to < rows->nelts && is(APR_ARRAY_IDX(rows, to, mdm_q_match_records_t).person_id, id); ++to) {
            told += is_told(&APR_ARRAY_IDX(rows, to, mdm_q_match_records_t));
        }
        if (to - from - told > 2 * MDM_MATCH_MAX) {
            too_many(b, rows, from, to, 1);
            continue;
        }
        if (to - from > 2 * MDM_MATCH_MAX) {
            too_many(b, rows, from, to, told = 0); /* what is here is matched nevertheless */
        }
        person(b, rows, from, to, told > 0, splits);
    }
}

/* The ids of rows that were held, as a set. A row of each of the three statements is its id. */
static apr_hash_t *set_of(apr_pool_t *p, const apr_array_header_t *rows)
{
    apr_hash_t *set = apr_hash_make(p);
    int i;

    for (i = 0; i < rows->nelts; ++i) {
        const char *id = *(const char *const *)(rows->elts + i * rows->elt_size);

        apr_hash_set(set, id, APR_HASH_KEY_STRING, id);
    }
    return set;
}

static int has(apr_hash_t *set, const char *id)
{
    return apr_hash_get(set, id, APR_HASH_KEY_STRING) != NULL;
}

/* One of them; the record is held. What is another one by now is left: a mark tells of it. */
static apr_status_t write_link(batch_t *b, const link_t *l)
{
    mdm_ctx_t *ctx = b->ctx;
    mdm_q_eas_record_t *r;
    const char *own;
    apr_status_t rv;

    if (!l->managed) {
        if ((rv = mdm_eas_part(b->db, l->mail->id, 0, &own)) == APR_SUCCESS) {
            rv = mdm_device_event(b->db, own, NULL, "mail.unmatched", mdm_json_own(ctx, json_pack("{s:s, s:s}", "device_id", l->mail->native_id, "from",
                                                                                                      l->mail->device_name)));
        }
    } else {
        rv = mdm_q_eas_record(b->db, l->mail->person_id, l->mail->native_id, &r);
        rv = rv == APR_SUCCESS ? mdm_eas_take(b->db, r, &l->join) : rv;
        if (rv == APR_SUCCESS) {
            ++*(is(l->join.tier, "exact") ? &b->n_exact : &b->n_attr);
        }
    }
    return rv == APR_NOTFOUND || rv == MDM_ECONFLICT ? APR_SUCCESS : rv;
}

static void name_held(const mdm_q_match_records_t *q, json_t *records, json_t *devices)
{
    json_array_append_new(records, json_string(q->id));
    if (q->device_id) {
        json_array_append_new(devices, json_string(q->device_id));
    }
}

static int is_held(const mdm_q_match_records_t *q, apr_hash_t *records, apr_hash_t *devices)
{
    return has(records, q->id) && (!q->device_id || has(devices, q->device_id));
}

/* Writes the matches whose records and devices nobody else is at work with; the others get a mark again. */
static apr_status_t write_links(batch_t *b)
{
    json_t *records = mdm_json_own(b->ctx, json_array()), *devices = mdm_json_own(b->ctx, json_array());
    apr_array_header_t *got_records, *got_devices;
    apr_hash_t *have_records, *have_devices;
    apr_status_t rv;
    int i;

    for (i = 0; i < b->links->nelts; ++i) {
        const link_t *l = &APR_ARRAY_IDX(b->links, i, link_t);

        name_held(l->mail, records, devices);
        if (l->managed) {
            name_held(l->managed, records, devices);
        }
    }
    if (!b->links->nelts) {
        return APR_SUCCESS;
    }
    if ((rv = mdm_q_match_hold_records(b->db, mdm_json_text(b->ctx->pool, records), &got_records)) != APR_SUCCESS
        || (rv = mdm_q_match_hold_devices(b->db, mdm_json_text(b->ctx->pool, devices), &got_devices)) != APR_SUCCESS) {
        return rv;
    }
    have_records = set_of(b->ctx->pool, got_records);
    have_devices = set_of(b->ctx->pool, got_devices);
    for (i = 0; rv == APR_SUCCESS && i < b->links->nelts; ++i) {
        const link_t *l = &APR_ARRAY_IDX(b->links, i, link_t);

        if (is_held(l->mail, have_records, have_devices) && (!l->managed || is_held(l->managed, have_records, have_devices))) {
            rv = write_link(b, l);
        } else {
            rv = mdm_q_match_mark_add(b->db, l->mail->person_id, NULL);
            b->n_busy++;
        }
    }
    return rv;
}

static apr_status_t take_marks(batch_t *b)
{
    apr_array_header_t *marks, *held;
    mdm_q_match_person_t *there;
    json_t *all = mdm_json_own(b->ctx, json_array());
    apr_hash_t *got;
    apr_status_t rv = mdm_q_match_marks(b->db, BATCH, &marks);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < marks->nelts; ++i) {
        json_array_append_new(all, json_string(APR_ARRAY_IDX(marks, i, mdm_q_match_marks_t).person_id));
    }
    if (rv != APR_SUCCESS || !marks->nelts || (rv = mdm_q_match_hold_people(b->db, mdm_json_text(b->ctx->pool, all), &held)) != APR_SUCCESS) {
        return rv;
    }
    b->n_marks = marks->nelts;
    got = set_of(b->ctx->pool, held);
    for (i = 0; i < held->nelts; ++i) {
        json_array_append_new(b->people, json_string(APR_ARRAY_IDX(held, i, mdm_q_match_hold_people_t).id));
    }
    for (i = 0; i < marks->nelts; ++i) {
        const mdm_q_match_marks_t *m = &APR_ARRAY_IDX(marks, i, mdm_q_match_marks_t);

        json_array_append_new(b->seqs, json_integer(m->seq));
        if (!has(got, m->person_id) && mdm_q_match_person(b->db, m->person_id, &there) == APR_SUCCESS) {
            if ((rv = mdm_q_match_mark_add(b->db, m->person_id, NULL)) != APR_SUCCESS) {
                return rv;
            }
            b->n_busy++;
        }
    }
    return rv;
}

static apr_status_t work(batch_t *b)
{
    apr_array_header_t *rows, *splits;
    const char *people;
    apr_status_t rv = take_marks(b);

    if (rv != APR_SUCCESS || !b->n_marks) {
        return rv;
    }
    people = mdm_json_text(b->ctx->pool, b->people);
    if ((rv = mdm_match_read_people(b->db, people, &rows, &splits)) != APR_SUCCESS
        || (rv = mdm_enroll_policies(b->db, b->people, &b->policies)) != APR_SUCCESS) {
        return rv;
    }
    decide(b, rows, splits);
    if ((rv = mdm_q_match_marks_drop(b->db, mdm_json_text(b->ctx->pool, b->seqs), NULL)) != APR_SUCCESS || (rv = write_links(b)) != APR_SUCCESS
        || (rv = mdm_q_match_exceptions_solved(b->db, people, mdm_json_text(b->ctx->pool, b->keep), NULL)) != APR_SUCCESS) {
        return rv;
    }
    return json_array_size(b->exceptions)
               ? mdm_q_match_exceptions_put(b->db, mdm_json_text(b->ctx->pool, b->exceptions), mdm_now_ms(b->ctx), NULL)
               : APR_SUCCESS;
}

/* ---------------------------------------------------------------- the job */

/* What the zone has set. */
typedef struct conf_t {
    apr_int64_t minutes;
    mdm_match_mode_e mode;
} conf_t;

typedef struct run_t {
    int people, exact, attr, marks, busy;
    apr_int64_t left, exceptions;
    conf_t conf;
} run_t;

/* One transaction. *more: there may be more marks. */
static apr_status_t batch(mdm_ctx_t *parent, run_t *run, int *more)
{
    mdm_ctx_t *ctx = mdm_ctx_sub(parent);
    batch_t b = {.ctx = ctx, .mode = run->conf.mode, .links = apr_array_make(ctx->pool, 16, sizeof(link_t)), .seqs = mdm_json_own(ctx, json_array()),
                 .people = mdm_json_own(ctx, json_array()), .exceptions = mdm_json_own(ctx, json_array()), .keep = mdm_json_own(ctx, json_array())};
    apr_status_t rv = mdm_db_open(ctx, &b.db);

    if (rv == APR_SUCCESS) {
        if ((rv = mdm_db_begin(b.db)) == APR_SUCCESS) {
            rv = work(&b);
        }
        rv = mdm_db_end(b.db, rv);
        mdm_db_close(b.db);
    }
    if (rv == APR_SUCCESS) {
        run->people += b.n_people;
        run->exact += b.n_exact;
        run->attr += b.n_attr;
        run->marks += b.n_marks;
        run->busy += b.n_busy;
    }
    *more = rv == APR_SUCCESS && b.n_marks > 0;
    apr_pool_destroy(ctx->pool);
    return rv;
}

/* The name is one of them, or was one. */
static mdm_match_mode_e mode_of(const char *name)
{
    int i;

    for (i = 0; mdm_match_modes[i] && !is(name, mdm_match_modes[i]); ++i)
        ;
    return mdm_match_modes[i] ? (mdm_match_mode_e)i : MDM_MATCH_STANDARD;
}

static apr_status_t conf_read(mdm_db_t *db, conf_t *out)
{
    json_t *minutes = NULL, *mode = NULL;
    apr_status_t rv = mdm_setting_get(db, SET_MINUTES, &minutes);

    *out = (conf_t){json_is_integer(minutes) ? json_integer_value(minutes) : MINUTES, MDM_MATCH_STANDARD};
    if (rv == APR_SUCCESS || rv == APR_NOTFOUND) {
        rv = mdm_setting_get(db, SET_MODE, &mode);
        out->mode = mode ? mode_of(json_string_value(mode)) : out->mode;
    }
    return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
}

static apr_status_t count(mdm_ctx_t *ctx, run_t *run)
{
    mdm_q_match_marks_left_t *left;
    mdm_q_match_exception_count_t *open;
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = mdm_q_match_marks_left(db, &left)) == APR_SUCCESS && (rv = mdm_q_match_exception_count(db, &open)) == APR_SUCCESS) {
        run->left = left->n;
        run->exceptions = open->n;
        rv = conf_read(db, &run->conf);
    }
    mdm_db_close(db);
    return rv;
}

/* People who were asked: once more after a time, and not for ever. */
static apr_status_t asked(mdm_ctx_t *ctx, mdm_db_t *db)
{
    apr_int64_t now = mdm_now_ms(ctx);
    apr_array_header_t *rows;
    apr_status_t rv = mdm_q_match_asked_ended(db, now - ASKED_END_MS, NULL);
    int i;

    rv = rv == APR_SUCCESS ? mdm_q_match_asked_again(db, now - ASKED_AGAIN_MS, now, BATCH, &rows) : rv;
    for (i = 0; rv == APR_SUCCESS && i < rows->nelts; ++i) {
        const char *device_id = APR_ARRAY_IDX(rows, i, mdm_q_match_asked_again_t).device_id;
        const mdm_notice_t again = {.event = "enroll_complete", .device_id = device_id, .key = apr_pstrcat(ctx->pool, "enroll_complete:", device_id, ":again", NULL)};

        rv = device_id ? mdm_notice_add(db, &again) : APR_SUCCESS;
    }
    return rv;
}

static apr_status_t asked_in_tx(mdm_ctx_t *parent)
{
    mdm_ctx_t *ctx = mdm_ctx_sub(parent);
    mdm_db_t *db;
    apr_status_t rv = mdm_db_open(ctx, &db);

    if (rv == APR_SUCCESS) {
        if ((rv = mdm_db_begin(db)) == APR_SUCCESS) {
            rv = asked(ctx, db);
        }
        rv = mdm_db_end(db, rv);
        mdm_db_close(db);
    }
    apr_pool_destroy(ctx->pool);
    return rv;
}

apr_status_t mdm_match_run(mdm_ctx_t *ctx, mdm_job_t *job, int lease_s)
{
    run_t run = {.conf = {MINUTES, MDM_MATCH_STANDARD}};
    apr_int64_t began = mdm_now_ms(ctx);
    apr_status_t rv = count(ctx, &run);
    apr_int64_t todo = run.left; /* those that come meanwhile, or are put back, are for the next run */
    int more = todo > 0;

    while (rv == APR_SUCCESS && more && run.marks < todo && !mdm_job_stopping(job)) {
        rv = batch(ctx, &run, &more);
        if (rv == APR_SUCCESS) {
            rv = mdm_job_progress(ctx, job, run.marks, todo, lease_s);
        }
    }
    if (rv == APR_SUCCESS && (rv = asked_in_tx(ctx)) == APR_SUCCESS) {
        rv = count(ctx, &run);
    }
    job->again_ms = mdm_now_ms(ctx) + (run.busy ? BUSY_MS : run.conf.minutes * MINUTE_MS);
    job->result = json_pack("{s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "people", run.people, "exact", run.exact, "attr", run.attr, "exceptions",
                            (json_int_t)run.exceptions, "left", (json_int_t)run.left, "began_ms", (json_int_t)began, "took_ms",
                            (json_int_t)(mdm_now_ms(ctx) - began));
    return rv;
}

apr_status_t mdm_match_soon(mdm_db_t *db)
{
    const mdm_job_add_t add = {.kind = MDM_MATCH_JOB, .unique_key = "period:" MDM_MATCH_JOB};

    return mdm_job_add(db, &add, NULL);
}

apr_status_t mdm_match_all(mdm_db_t *db)
{
    apr_status_t rv = mdm_q_match_mark_all(db, NULL);

    rv = rv == APR_SUCCESS ? mdm_match_soon(db) : rv;
    return rv == APR_SUCCESS ? mdm_audit(db, "match.run", "zone", "", "", "done", NULL) : rv;
}

/* ---------------------------------------------------------------- what is known of the runs */

apr_status_t mdm_match_state(mdm_db_t *db, const char *id, json_t **out)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    mdm_q_match_marks_left_t *left;
    mdm_q_match_exception_count_t *open;
    mdm_q_match_last_t *last = NULL;
    conf_t conf;
    apr_status_t rv;

    if ((rv = mdm_q_match_marks_left(db, &left)) != APR_SUCCESS || (rv = mdm_q_match_exception_count(db, &open)) != APR_SUCCESS
        || (rv = conf_read(db, &conf)) != APR_SUCCESS || ((rv = mdm_q_match_last(db, &last)) != APR_SUCCESS && rv != APR_NOTFOUND)) {
        return rv;
    }
    *out = json_pack("{s:I, s:s, s:I, s:I, s:o, s:o}", "minutes", (json_int_t)conf.minutes, "mode", mdm_match_modes[conf.mode], "open", (json_int_t)open->n, "waiting", (json_int_t)left->n, "next",
                     last ? json_string(mdm_time_text(ctx->pool, last->run_at_ms)) : json_null(), "last",
                     last && last->result ? json_loads(last->result, 0, NULL) : json_null());
    return APR_SUCCESS;
}

apr_status_t mdm_match_set(mdm_db_t *db, json_t *body)
{
    mdm_ctx_t *ctx = mdm_db_ctx(db);
    const char *mode = NULL;
    apr_int64_t minutes = 0;
    const mdm_jfield_t fields[] = {{.name = "minutes", .type = MDM_JF_INT, .required = 1, .min = 1, .max = 1440, .out = &minutes},
                                   {.name = "mode", .type = MDM_JF_ENUM, .choices = mdm_match_modes, .out = &mode},
                                   {.name = NULL}};
    conf_t was;
    apr_status_t rv = mdm_json_fields(ctx, body, fields);

    if (rv != APR_SUCCESS || (rv = conf_read(db, &was)) != APR_SUCCESS
        || (rv = mdm_setting_set(db, SET_MINUTES, mdm_json_own(ctx, json_integer(minutes)), 0)) != APR_SUCCESS) {
        return rv;
    }
    mode = mode ? mode : mdm_match_modes[was.mode];
    if (!is(mode, mdm_match_modes[was.mode])) { /* what was left may be clear by now */
        rv = mdm_setting_set(db, SET_MODE, mdm_json_own(ctx, json_string(mode)), 0);
        rv = rv == APR_SUCCESS ? mdm_q_match_mark_all(db, NULL) : rv;
    }
    rv = rv == APR_SUCCESS ? mdm_match_soon(db) : rv;
    return rv == APR_SUCCESS ? mdm_audit(db, "match.settings", "zone", "", "", "done",
                                         mdm_json_own(ctx, json_pack("{s:I, s:s}", "minutes", (json_int_t)minutes, "mode", mode)))
                             : rv;
}
