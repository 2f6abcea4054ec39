/* Which mail record belongs to which managed one: certain keys first, then likeness (MAT-01, MAT-02, MAT-09). */
#include "domain/mdm_match.h"

#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>

#define DAY_MS (24 * 3600 * 1000LL)

/* Measured on the corpus of tests/unit/test_match_corpus.c; the first six are those of the facts (7.4). */
#define S_MODEL 6.0
#define S_MAKER 1.5
#define S_TYPE 0.7
#define S_BUILD 3.0
#define S_BUILD_NOT -0.5
#define S_MAJOR 1.0
#define S_MAJOR_NOT -2.0
#define S_PHONE 8.0
#define S_PHONE_NOT -4.0
#define S_SOON 1.0       /* the mail account came with the enrolment or in the days after it */
#define S_LATER -1.5     /* long before it or long after it */
#define SOON_BEFORE DAY_MS
#define SOON_AFTER (14 * DAY_MS)

#define STRONG 6.5 /* alone enough ... */
#define MARGIN 2.5 /* ... if the next one is that far behind */
#define SOLE 1.0   /* if there is no other one at all, and nothing speaks against it */

const char *const mdm_match_modes[] = {"strict", "standard", "outlook_sole", NULL};

typedef struct decide_t {
    apr_pool_t *p;
    const mdm_match_record_t *all;
    int n;
    const mdm_match_split_t *splits;
    int n_splits;
    mdm_match_mode_e mode;
    apr_array_header_t *found; /* of mdm_match_found_t */
} decide_t;

static int eq(const char *a, const char *b)
{
    return *a && strcmp(a, b) == 0;
}

static int differ(const char *a, const char *b)
{
    return *a && *b && strcmp(a, b) != 0;
}

/* ---------------------------------------------------------------- places */

/* Of some classes a device has any number of clients. */
static int is_single(const mdm_match_record_t *e)
{
    return strncmp(e->class, "other", 5) != 0;
}

/* Somebody else is there already. What is certain goes before what was guessed, and before what has been silent. */
static int holds_place(const decide_t *d, const mdm_match_record_t *e, const mdm_match_record_t *m, int certain)
{
    int i;

    for (i = 0; is_single(e) && i < d->n; ++i) {
        const mdm_match_record_t *o = &d->all[i];

        if (o->mail && o != e && (certain ? o->linked >= MDM_MATCH_FIRM && !o->silent : o->linked != MDM_MATCH_FREE) && o->told <= e->told && !strcmp(o->class, e->class) && eq(o->device_id, m->device_id)) {
            return 1;
        }
    }
    return 0;
}

static int is_split(const decide_t *d, const mdm_match_record_t *a, const mdm_match_record_t *b)
{
    int i;

    for (i = 0; i < d->n_splits; ++i) {
        const mdm_match_split_t *s = &d->splits[i];

        if ((eq(a->id, s->a) && eq(b->id, s->b)) || (eq(a->id, s->b) && eq(b->id, s->a))) {
            return 1;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------- certain keys */

static const char *imei_rule(const mdm_match_record_t *e, const mdm_match_record_t *m, const char **value)
{
    int i, k;

    for (i = 0; i < MDM_MATCH_IDS; ++i) {
        for (k = 0; k < MDM_MATCH_IDS; ++k) {
            if (eq(e->imei[i], m->imei[k])) {
                *value = e->imei[i];
                return "imei";
            }
        }
        for (k = 0; k < MDM_MATCH_DERIVED; ++k) {
            if (eq(e->eas_id, m->from_imei[i][k])) {
                *value = e->eas_id;
                return "imei_id";
            }
        }
    }
    *value = e->meid;
    return eq(e->meid, m->meid) ? "imei" : NULL;
}

/* The rule by which both are certainly one phone, or NULL. What a device has told of itself stands above what is made of numbers. */
static const char *exact_rule(const mdm_match_record_t *e, const mdm_match_record_t *m, const char **value)
{
    *value = e->eas_id;
    if (eq(e->eas_id, m->eas_id)) {
        return "easid";
    }
    if (!strcmp(e->class, "native") && *m->eas_id) {
        return NULL; /* it has told another one for its own client */
    }
    if (eq(e->eas_id, m->from_serial)) {
        return "serial";
    }
    if (eq(e->serial, m->serial)) {
        *value = e->serial;
        return "serial";
    }
    return imei_rule(e, m, value);
}

static int known_and_disjoint(const char *const a[MDM_MATCH_IDS], const char *const b[MDM_MATCH_IDS])
{
    int i, k;

    if (!*a[0] || !*b[0]) {
        return 0;
    }
    for (i = 0; i < MDM_MATCH_IDS; ++i) {
        for (k = 0; k < MDM_MATCH_IDS; ++k) {
            if (eq(a[i], b[k])) {
                return 0;
            }
        }
    }
    return 1;
}

/* What always excludes, whatever else is equal (MAT-02). */
static const char *contradiction(const decide_t *d, const mdm_match_record_t *e, const mdm_match_record_t *m)
{
    return differ(e->platform, m->platform) ? "platform"
           : differ(e->serial, m->serial)   ? "serial"
           : is_split(d, e, m)              ? "split"
                                            : NULL;
}

/* ---------------------------------------------------------------- likeness */

static const char *unlike(const mdm_match_record_t *e, const mdm_match_record_t *m)
{
    return e->whose != MDM_MATCH_OURS                                   ? "person"
           : !strcmp(e->class, "native") && differ(e->eas_id, m->eas_id) ? "easid"
           : known_and_disjoint(e->imei, m->imei)                      ? "imei"
           : differ(e->model, m->model)                                ? "model"
           : differ(e->maker, m->maker)                                ? "maker"
           : differ(e->type, m->type)                                  ? "type"
                                                                       : NULL;
}

typedef struct tally_t {
    apr_pool_t *p;
    double score;
    const char *why;
} tally_t;

static void add(tally_t *t, const char *what, int equal, double yes, double no)
{
    t->score += equal ? yes : no;
    t->why = apr_pstrcat(t->p, t->why, *t->why ? "," : "", what, equal ? "=" : "!", NULL);
}

static double likeness(apr_pool_t *p, const mdm_match_record_t *e, const mdm_match_record_t *m, const char **why)
{
    tally_t t = {p, 0, ""};
    apr_int64_t after = e->first_ms - m->first_ms;

    if (eq(e->model, m->model)) {
        add(&t, "model", 1, S_MODEL, 0);
    }
    if (eq(e->maker, m->maker)) {
        add(&t, "maker", 1, S_MAKER, 0);
    }
    if (eq(e->type, m->type)) {
        add(&t, "type", 1, S_TYPE, 0);
    }
    if (*e->build && *m->build) {
        add(&t, "build", eq(e->build, m->build), S_BUILD, S_BUILD_NOT);
    } else if (e->os_major && m->os_major) {
        add(&t, "os", e->os_major == m->os_major, S_MAJOR, S_MAJOR_NOT);
    }
    if (*e->phone && *m->phone) {
        add(&t, "phone", eq(e->phone, m->phone), S_PHONE, S_PHONE_NOT);
    }
    if (e->first_ms && m->first_ms) {
        add(&t, "time", after >= -SOON_BEFORE && after <= SOON_AFTER, S_SOON, S_LATER);
    }
    *why = t.why;
    return t.score;
}

/* ---------------------------------------------------------------- the candidates of one mail record */

static mdm_match_candidate_t *candidate(mdm_match_found_t *f, int i)
{
    return &APR_ARRAY_IDX(f->candidates, i, mdm_match_candidate_t);
}

static int by_score(const void *a, const void *b)
{
    const mdm_match_candidate_t *x = a, *y = b;

    if (!x->excluded != !y->excluded) {
        return x->excluded ? 1 : -1;
    }
    return x->score != y->score ? (x->score < y->score ? 1 : -1) : x->managed - y->managed;
}

static void look(decide_t *d, int mail)
{
    mdm_match_found_t *f = apr_array_push(d->found);
    const mdm_match_record_t *e = &d->all[mail];
    const char *rule, *value;
    int i, hits = 0, taken = 0;

    memset(f, 0, sizeof(*f));
    f->mail = mail;
    f->managed = -1;
    f->candidates = apr_array_make(d->p, 4, sizeof(mdm_match_candidate_t));
    for (i = 0; i < d->n; ++i) {
        const mdm_match_record_t *m = &d->all[i];
        mdm_match_candidate_t *c;

        if (m->mail) {
            continue;
        }
        c = apr_array_push(f->candidates);
        c->managed = i;
        c->score = likeness(d->p, e, m, &c->why);
        c->excluded = contradiction(d, e, m);
        if (!c->excluded && (rule = exact_rule(e, m, &value))) {
            hits++;
            taken = holds_place(d, e, m, 1);
            f->managed = i;
            f->rule = rule;
            f->value = value;
        } else if (!c->excluded && !(c->excluded = unlike(e, m)) && holds_place(d, e, m, 0)) {
            c->excluded = "taken";
        }
    }
    qsort(f->candidates->elts, (size_t)f->candidates->nelts, sizeof(mdm_match_candidate_t), by_score);
    if (hits == 1 && !taken) {
        f->tier = "exact";
    } else if (hits) {
        f->managed = -1;
        f->code = hits > 1 ? "multiple_exact" : "slot_taken";
    }
}

/* One that has its place is of interest only if a certain key knows better, or as well where there was a guess. */
static void look_again(decide_t *d, int mail)
{
    const mdm_match_record_t *e = &d->all[mail];
    mdm_match_found_t *f;
    int here;

    look(d, mail);
    f = &APR_ARRAY_IDX(d->found, d->found->nelts - 1, mdm_match_found_t);
    here = f->tier && eq(e->device_id, d->all[f->managed].device_id);
    if (!f->tier || (here && e->linked == MDM_MATCH_SAID)) {
        apr_array_pop(d->found);
    } else if (e->linked == MDM_MATCH_SAID) {
        f->tier = f->rule = NULL;
        f->managed = -1;
        f->code = "contradicts";
    }
}

/* ---------------------------------------------------------------- the choice */

static mdm_match_found_t *found(const decide_t *d, int i)
{
    return &APR_ARRAY_IDX(d->found, i, mdm_match_found_t);
}

/* b wants the place that a wants. */
static int in_the_way(const decide_t *d, const mdm_match_found_t *a, const mdm_match_found_t *b)
{
    const mdm_match_record_t *x = &d->all[a->mail], *y = &d->all[b->mail];

    return is_single(x) && y->told <= x->told && !strcmp(x->class, y->class);
}

/* Two records that are certainly the same phone, and have one place: what the device has told itself wins, else people decide. */
static void settle_exact(decide_t *d)
{
    int i, k;

    for (i = 0; i < d->found->nelts; ++i) {
        mdm_match_found_t *a = found(d, i);

        for (k = 0; a->tier && k < d->found->nelts; ++k) {
            const mdm_match_found_t *b = found(d, k);

            if (k != i && b->rule && b->managed == a->managed && in_the_way(d, a, b)
                && (strcmp(a->rule, "easid") != 0 || !strcmp(b->rule, "easid"))) {
                a->tier = NULL; /* the others see its rule still, so that the order does not matter */
            }
        }
    }
    for (i = 0; i < d->found->nelts; ++i) {
        mdm_match_found_t *a = found(d, i);

        if (a->rule && !a->tier && !a->code) {
            a->managed = -1;
            a->code = "slot_taken";
        }
    }
}

/* Candidates whose place a certain match has taken are none any more. */
static void leave_out(decide_t *d)
{
    int i, k, c;

    for (i = 0; i < d->found->nelts; ++i) {
        for (k = 0; !found(d, i)->tier && k < d->found->nelts; ++k) {
            for (c = 0; found(d, k)->tier && in_the_way(d, found(d, i), found(d, k)) && c < found(d, i)->candidates->nelts; ++c) {
                mdm_match_candidate_t *at = candidate(found(d, i), c);

                if (at->managed == found(d, k)->managed && !at->excluded) {
                    at->excluded = "taken";
                }
            }
        }
        qsort(found(d, i)->candidates->elts, (size_t)found(d, i)->candidates->nelts, sizeof(mdm_match_candidate_t), by_score);
    }
}

/* The best other candidate of this mail record, and the best other mail record of this managed one. *others: how many there are. */
static double next_best(decide_t *d, int i, int *others)
{
    const mdm_match_found_t *f = found(d, i);
    int managed = candidate(found(d, i), 0)->managed, k, c;
    double best = -1000;

    *others = 0;
    for (c = 1; c < f->candidates->nelts && !candidate(found(d, i), c)->excluded; ++c) {
        ++*others;
        best = candidate(found(d, i), c)->score > best ? candidate(found(d, i), c)->score : best;
    }
    for (k = 0; k < d->found->nelts; ++k) {
        mdm_match_found_t *o = found(d, k);

        for (c = 0; k != i && !o->tier && in_the_way(d, f, o) && c < o->candidates->nelts && !candidate(o, c)->excluded; ++c) {
            if (candidate(o, c)->managed == managed) {
                ++*others;
                best = candidate(o, c)->score > best ? candidate(o, c)->score : best;
            }
        }
    }
    return best;
}

/* A mail record and the best of its candidates. */
typedef struct pair_t {
    const mdm_match_record_t *e, *m;
    const char *why;
    double score, second;
    int others; /* that either of both could be joined with */
} pair_t;

static int is_strong(const decide_t *d, const pair_t *x)
{
    return x->score >= STRONG && (!x->others || x->score - x->second >= MARGIN);
}

/* Without another one, likeness in few things is enough, if nothing speaks against it. */
static int is_sole(const decide_t *d, const pair_t *x)
{
    int alike = (eq(x->e->maker, x->m->maker) && eq(x->e->type, x->m->type))
                || (strstr(x->why, "os=") && (!x->e->first_ms || strstr(x->why, "time=")));

    return !x->others && alike && x->score >= SOLE && !strchr(x->why, '!');
}

static int is_outlook(const mdm_match_record_t *e)
{
    return strncmp(e->class, "outlook", 7) == 0;
}

/* Outlook tells nothing of its phone: a person with one managed device and one Outlook has it there, more often than not; not if a mail app shows that there is
 * another phone. */
static int is_outlook_sole(const decide_t *d, const pair_t *x)
{
    int i, managed = 0, outlooks = 0, other_phones = 0;

    for (i = 0; i < d->n; ++i) {
        managed += !d->all[i].mail;
        outlooks += is_outlook(&d->all[i]);
    }
    for (i = 0; i < d->found->nelts; ++i) {
        other_phones += !found(d, i)->tier && found(d, i)->candidates->nelts && candidate(found(d, i), 0)->excluded;
    }
    return is_outlook(x->e) && managed == 1 && outlooks == 1 && !other_phones && !strchr(x->why, '!');
}

/* By which likeness joins, the surest first, and from which mode on. */
static const struct {
    const char *name;
    mdm_match_mode_e from;
    int (*holds)(const decide_t *d, const pair_t *x);
} rules[] = {{"strong", MDM_MATCH_STRICT, is_strong}, {"sole", MDM_MATCH_STANDARD, is_sole}, {"outlook_sole", MDM_MATCH_OUTLOOK_SOLE, is_outlook_sole}};

/* All are judged before one is matched: the order of arrival does not matter. */
static void choose(decide_t *d, int i, mdm_match_found_t *out)
{
    const mdm_match_candidate_t *best;
    pair_t x;
    unsigned r;

    *out = *found(d, i);
    if (!out->tier && d->all[out->mail].whose != MDM_MATCH_OURS && !(out->code && !strcmp(out->code, "contradicts"))) {
        out->managed = -1;
        out->code = "owner_conflict";
    }
    if (out->tier || out->code) {
        return;
    }
    if (!out->candidates->nelts || candidate(out, 0)->excluded) {
        out->code = "no_candidate";
        return;
    }
    best = candidate(out, 0);
    x = (pair_t){.e = &d->all[out->mail], .m = &d->all[best->managed], .why = best->why, .score = out->score = best->score};
    x.second = out->second = next_best(d, i, &x.others);
    for (r = 0; r < sizeof(rules) / sizeof(rules[0]) && (rules[r].from > d->mode || !rules[r].holds(d, &x)); ++r)
        ;
    if (r == sizeof(rules) / sizeof(rules[0])) {
        out->code = "ambiguous";
        return;
    }
    out->rule = rules[r].name;
    out->tier = "attr";
    out->value = best->why;
    out->managed = best->managed;
}

static int by_id(const void *a, const void *b)
{
    const mdm_match_record_t *x = a, *y = b;

    return strcmp(x->id, y->id);
}

apr_array_header_t *mdm_match_decide(apr_pool_t *p, const apr_array_header_t *records, const mdm_match_split_t *splits, int n_splits, mdm_match_mode_e mode)
{
    decide_t d = {.p = p, .all = (const mdm_match_record_t *)records->elts, .n = records->nelts, .splits = splits, .n_splits = n_splits, .mode = mode,
                  .found = apr_array_make(p, records->nelts, sizeof(mdm_match_found_t))};
    apr_array_header_t *out;
    int i;

    qsort(records->elts, (size_t)records->nelts, sizeof(mdm_match_record_t), by_id);
    for (i = 0; i < d.n; ++i) {
        if (d.all[i].mail && d.all[i].linked == MDM_MATCH_FREE) {
            look(&d, i);
        } else if (d.all[i].mail && d.all[i].linked != MDM_MATCH_FIRM) {
            look_again(&d, i);
        }
    }
    settle_exact(&d);
    leave_out(&d);
    out = apr_array_make(p, d.found->nelts, sizeof(mdm_match_found_t));
    for (i = 0; i < d.found->nelts; ++i) {
        choose(&d, i, apr_array_push(out));
    }
    return out;
}
